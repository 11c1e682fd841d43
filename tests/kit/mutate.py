"""Mutations: JSON texts spoiled by lot, in their bytes and in their values; one seed is one sequence of them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -0.0, -1, 1e-9, 0.5, 1e18, 10**30, 2**63, 2**64, -(2**63), "", "1", "NaN", "x" * 300, [], {}, [[]], {"a": 1},
    0.01, 99, 100, 101, 219.999, 220.0, 1e308, "O:IWM261120C00220000", "call", "CALL", "put", "DELAYED", "2026-11-20",
)  # fmt: skip
TOKENS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"null", b"true", b'""', b"[]", b"{}", b"1" * 5000, b"0.1" + b"1" * 400,
    b"[" * 3000, b'{"a":' * 2000, b"\xff\xfe", b"\xed\xa0\x80", b"\x00", b'"\\ud800"', b"01", b"1.", b"+1", b"'1'",
    b"/*x*/", b",", b":",
)  # fmt: skip


def mutated(random: Random, text: bytes) -> bytes:
    """The text with one to three things wrong with it: perhaps still right."""
    for _ in range(random.choice((1, 1, 2, 3))):
        text = random.choice((_value, _value, _token, _bytes, _slices))(random, text)
    return text


def _value(random: Random, text: bytes) -> bytes:
    """Another value, a renamed key, a key less, an item twice; bytes, where it is no JSON any more."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return _bytes(random, text)
    places = list(_places(tree))
    if not places:
        return _bytes(random, text)
    holder, key = random.choice(places)
    match random.randrange(8):
        case 0 if isinstance(holder, dict):
            holder[random.choice(("ev", "sym", "x", key.upper(), "details"))] = holder.pop(key)
        case 1:
            del holder[key]
        case 2 if isinstance(holder, list):
            holder.insert(0, holder[key])
        case 3 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] *= random.choice((-1, 0, 10, 0.1, 1000, 1e6, 1.0001, float("nan"), float("inf")))
        case 4:
            holder[key] = json.dumps(holder[key])[:50]
        case _:
            holder[key] = random.choice(VALUES)
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def _places(tree: Any, depth: int = 0) -> Any:
    """Every (container, key) of a tree."""
    if depth < 8 and isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield tree, key
            yield from _places(value, depth + 1)


def _token(random: Random, text: bytes) -> bytes:
    """Something that is no JSON, or rare, in place of what follows a colon."""
    colons = [index for index, byte in enumerate(text[:2000]) if byte == 0x3A]
    at = random.choice(colons) + 1 if colons else 0
    ends = [index for index in (text.find(mark, at) for mark in (b",", b"}", b"]")) if index >= 0]
    return text[:at] + random.choice(TOKENS) + text[min(ends, default=len(text)) :]


def _bytes(random: Random, text: bytes) -> bytes:
    spoiled = bytearray(text)
    for _ in range(random.choice((1, 1, 2, 8))):
        at = random.randrange(len(spoiled) + 1)
        match random.randrange(3):
            case 0:
                spoiled[at:at] = random.randbytes(1)
            case 1:
                del spoiled[at : at + 1]
            case _:
                spoiled[at : at + 1] = random.randbytes(1)
    return bytes(spoiled)


def _slices(random: Random, text: bytes) -> bytes:
    """Cut short, or a part of it twice or moved."""
    if not text:
        return text
    a, b = sorted(random.randrange(len(text)) for _ in range(2))
    return random.choice((text[:a], text[b:], text[:b] + text[a:], text[:a] + text[b:], text + text, text[b:] + text[:b]))
