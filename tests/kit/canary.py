"""Canary: finds secrets where none may be: in bytes, files and folders, however they are encoded or packed, and says where.

    scanner = Scanner({"POLYGON_API_KEY": key, "PUSHOVER_TOKEN": token})
    assert scanner.in_folder(data_dir) == []
    assert scanner.in_bytes(answer.content, "GET /health") == []

It does not look for encoded secrets but decodes what it is given, so it shares no mistake with the redactor: as it is, JSON-escaped,
URL-encoded, and within each of these the runs of hex and of base64 (plain or URL-safe, at any alignment). gzip and zstd are opened
first, cut ones as far as they go. Letters count the same in either case, and the first or last PART of a secret is found like the
whole of it, so that one that was cut in two is found as well.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import zstandard

PART = 12
ZSTD, GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
HEX_RUN = re.compile(rb"[0-9A-Fa-f]{%d,}" % (2 * PART))
BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{%d,}" % PART)
URL_SAFE = bytes.maketrans(b"-_", b"+/")
JSON_CODE = re.compile(rb'\\(?:u00([0-9A-Fa-f]{2})|(["\\/]))')


class Finding(NamedTuple):
    """One secret, found: its name, how it was encoded, and where (for a file its path)."""

    secret: str
    form: str
    place: str


class Scanner:
    """Looks for `secrets`, by name. ValueError for one so short that it would be found by chance."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        if short := [name for name, secret in secrets.items() if len(secret) < PART]:
            raise ValueError(f"shorter than {PART} letters: {', '.join(short)}")
        self._pieces = {
            name: {piece.lower().encode() for piece in (secret[:PART], secret[-PART:])} for name, secret in secrets.items()
        }

    def in_bytes(self, data: bytes, place: str) -> list[Finding]:
        """What is in `data`, opened first if it is gzip or zstd; each secret once for each form."""
        found: dict[Finding, None] = {}
        for form, view in views(unpacked(data)):
            lowered = view.lower()
            for name, pieces in self._pieces.items():
                if any(piece in lowered for piece in pieces):
                    found[Finding(name, form, place)] = None
        return list(found)

    def in_text(self, lines: Iterable[str], place: str) -> list[Finding]:
        return self.in_bytes("\n".join(lines).encode("utf-8", "surrogatepass"), place)

    def in_file(self, path: Path) -> list[Finding]:
        """What is in a file, and in its name."""
        return self.in_bytes(path.name.encode(), f"the name of {path}") + self.in_bytes(path.read_bytes(), str(path))

    def in_folder(self, folder: Path) -> list[Finding]:
        """What is in a folder, at any depth, names included."""
        found = []
        for path in sorted(folder.rglob("*")):
            found += self.in_file(path) if path.is_file() else self.in_bytes(path.name.encode(), f"the name of {path}")
        return found


def views(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The bytes as they are, and as whoever knows the encodings would read them."""
    readings = {"plain": data}
    if b"\\" in data:
        readings["JSON"] = unescaped(data)
        readings["JSON in JSON"] = unescaped(readings["JSON"])
    if b"%" in data:
        readings["URL-encoded"] = unquote_to_bytes(data)
    if b"+" in data:
        readings["URL-encoded with +"] = unquote_to_bytes(data.replace(b"+", b" "))
    for name, reading in readings.items():
        yield name, reading
        within = "" if name == "plain" else f" within {name}"
        yield f"hex{within}", b"\n".join(unhexed(reading))
        yield f"base64{within}", b"\n".join(unbased(reading))


def unescaped(data: bytes) -> bytes:
    return JSON_CODE.sub(lambda code: bytes([int(code[1], 16)]) if code[1] else code[2], data)


def unhexed(data: bytes) -> Iterator[bytes]:
    for run in HEX_RUN.findall(data):
        for start in (0, 1):
            yield binascii.unhexlify(run[start : start + (len(run) - start) // 2 * 2])


def unbased(data: bytes) -> Iterator[bytes]:
    """Every run of base64, read from each of the four places where a group of it may begin."""
    for run in BASE64_RUN.findall(data):
        letters = run.translate(URL_SAFE)
        for start in range(4):
            rest = letters[start:]
            whole = len(rest) // 4 * 4
            tail = rest[whole:]
            yield binascii.a2b_base64(rest[:whole] + (tail + b"=" * (4 - len(tail)) if len(tail) > 1 else b""))


def unpacked(data: bytes) -> bytes:
    """The content of gzip or zstd, as far as it can be read; anything else as it is."""
    parts: list[bytes] = []
    try:
        if data.startswith(ZSTD):
            reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
            while part := reader.read(1 << 16):
                parts.append(part)
        elif data.startswith(GZIP):
            while data.startswith(GZIP):
                opened = zlib.decompressobj(wbits=31)
                parts += [opened.decompress(data), opened.flush()]
                data = opened.unused_data
            parts.append(data)
        else:
            return data
    except (zstandard.ZstdError, zlib.error):
        parts.append(data)
    return b"".join(parts)
