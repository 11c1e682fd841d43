"""The 390 average minute volumes of condition 6: read from a file, or made of files of minute or second bars."""

from __future__ import annotations

from argparse import Namespace
from datetime import date
from pathlib import Path

import msgspec
import numpy as np

from config import Config
from replay.bars import calendar_of, days_of
from replay.files.bars import Account, read
from replay.files.table import numbers, tables
from replay.show import OK, ReplayError, as_json, console
from signals import MINUTES, PROFILE_SESSIONS, ProfileError, profile_of

SHAPE = f'a profile is {MINUTES} volumes, none below zero: a JSON list, {{"minutes": [...]}}, or a CSV column `volume`'
HOW = "`python -m replay profile FILE... --out profile.json` makes one of minute or second bars"


def profile(path: Path) -> tuple[float, ...]:
    """The volumes of a file: a JSON list, the worker's own cache, or a CSV column named `volume`. ReplayError names the row."""
    try:
        text = path.read_bytes()
    except OSError as fault:
        raise ReplayError(f"{path} cannot be read: {fault.strerror}") from None
    if text.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"[", b"{"):
        found = of_json(path, text.removeprefix(b"\xef\xbb\xbf"))
    else:
        found = of_table(path)
    for row, volume in enumerate(found, 1):
        if not isinstance(volume, int | float) or isinstance(volume, bool) or not 0 <= volume < float("inf"):
            said = "empty" if volume is None else repr(volume)
            raise ReplayError(f"{path}, row {row} (minute {row - 1}): {said} is no volume; {SHAPE}")
    if len(found) != MINUTES:
        raise ReplayError(f"{path} has {len(found)} rows: {SHAPE}")
    return tuple(float(volume) for volume in found)  # type: ignore[arg-type]


def of_json(path: Path, text: bytes) -> list[object]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        raise ReplayError(f"{path} is no JSON; {SHAPE}") from None
    minutes = found.get("minutes") if isinstance(found, dict) else found
    if not isinstance(minutes, list):
        raise ReplayError(f"{path} is no profile; {SHAPE}")
    return minutes


def of_table(path: Path) -> list[object]:
    ((name, frame), *more) = tables(path)
    if more:
        raise ReplayError(f"{path} holds {len(more) + 1} tables; {SHAPE}")
    if "volume" not in frame.columns:
        raise ReplayError(f"{name} has no column volume; {SHAPE}")
    if "minute" in frame.columns:
        minutes = numbers(frame["minute"]).to_list()
        wrong = next((row for row, minute in enumerate(minutes) if minute != row), None)
        if wrong is not None:
            raise ReplayError(f"{name}, row {wrong + 1}: its minute is not {wrong}; {SHAPE}")
    return list(numbers(frame["volume"]).to_list())


# --- made --------------------------------------------------------------------------------------------------------------


def rows_of(path: Path, symbol: str) -> tuple[dict[date, list[tuple[int, float]]], Account]:
    """Volume by minute of each session in a file of bars (start of the minute in Unix seconds, shares)."""
    bars, account = read(path, symbol, seconds=False)
    calendar = calendar_of(*days_of(bars.start))
    found: dict[date, list[tuple[int, float]]] = {}
    minutes, places = np.unique(bars.start // 60, return_inverse=True)
    volumes = np.bincount(places, weights=bars.volume)
    for minute, volume in zip((minutes * 60).tolist(), volumes.tolist(), strict=True):
        session = calendar.at(minute)
        if session is not None and session.open_at <= minute < session.close_at:
            found.setdefault(session.date, []).append((minute, volume))
    return found, account


def make(chosen: Namespace) -> int:
    """A profile of the last ten full sessions that the files hold, by the worker's own rule: eight at least."""
    rows: dict[date, list[tuple[int, float]]] = {}
    accounts = []
    for path in chosen.what:
        found, account = rows_of(path, Config.symbol)
        if again := sorted(rows.keys() & found.keys()):
            raise ReplayError(f"{path}: {again[0]} is in another of the files too")
        rows |= found
        accounts.append(account)
    if not rows:
        raise ReplayError(f"the files have no bar in regular hours ({'; '.join(account.words for account in accounts)})")
    calendar = calendar_of(min(rows), max(rows))
    sessions = [session for day in rows if (session := calendar.on(day)) is not None]
    full = sorted(session.date for session in sessions if session.is_full)
    try:
        made = profile_of(rows, sessions)
    except ProfileError as fault:
        raise ReplayError(f"{fault} (the files hold {', '.join(map(str, full[-PROFILE_SESSIONS:])) or 'none'})") from None
    try:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_bytes(msgspec.json.encode({"minutes": made.minutes, "sessions": made.sessions}))
    except OSError as fault:
        raise ReplayError(f"{chosen.out} cannot be written: {fault.strerror}") from None
    if chosen.json:
        as_json({"ok": True, "out": chosen.out, "sessions": made.sessions, "files": accounts})
    else:
        for account in accounts:
            console.print(account.words, markup=False)
        console.print(
            f"{chosen.out}: {len(made.sessions)} sessions, {made.sessions[0]} to {made.sessions[-1]}", markup=False
        )
    return OK
