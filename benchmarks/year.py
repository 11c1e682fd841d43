"""A year of seconds from the store: one backtest, and a sweep of 200 settings over 250 sessions, each a command from start to end.

Wall clock, so a busy machine shows. Making the 250 sessions is not in the time; compiled code is warm from a first, short run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from time import perf_counter

import msgspec

from benchmarks.figures import Figure
from replay import made, store

SESSIONS, ROUNDS = 250, 3
ONE: dict[str, list[int]] = {}
GRID = {
    "STOP_LOSS_PERCENT": [10, 12, 15, 18, 20],
    "MAX_GIVEBACK_PERCENT": [20, 25, 30, 35, 40],
    "WARMUP_SECONDS": [600, 900],
}
GRID |= {"SIGNAL_COOLDOWN_SECONDS": [30, 60], "MAX_SPREAD_PERCENT": [4, 6]}


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        days = made_year(folder)
        took(folder, days[:2], ONE)
        one_s = min(took(folder, days, ONE)[0] for _ in range(ROUNDS))
        grid_s, grid_mb = took(folder, days, GRID)
        whole_s, _ = took(folder, days, None)
    bars = f"{SESSIONS * 23_400:,} bars"
    return [
        Figure(
            "a year of seconds under one setting",
            one_s,
            "s",
            at_most=3,
            note=f"{bars}, start included, the best of {ROUNDS}",
        ),
        Figure("a year's backtest with all that it varies", whole_s, "s", note="18 settings, 3 feed delays"),
        Figure("250 sessions x 200 settings", grid_s, "s", at_most=120),
        Figure("250 sessions x 200 settings, memory", grid_mb, "MB", at_most=1000),
    ]


def made_year(folder: Path) -> list[date]:
    calendar = made.calendar_for(SESSIONS)
    days = []
    for session in made.sessions(SESSIONS, calendar):
        day = made.session_of(1, session)
        store.keep(folder, "IWM", "second", session.date, day.own)
        store.keep(folder, "SPY", "second", session.date, day.leader)
        days.append(session.date)
    (folder / "profile.json").write_bytes(msgspec.json.encode(made.usual_profile()))
    return days


def took(folder: Path, days: list[date], grid: dict[str, list[int]] | None) -> tuple[float, float]:
    """Seconds and megabytes of a sweep over these settings, or of a backtest."""
    command = [
        sys.executable,
        "-m",
        "replay",
        "backtest" if grid is None else "sweep",
        f"{days[0]}",
        f"{days[-1]}",
        "--json",
    ]
    command += ["--data-dir", str(folder), "--profile", str(folder / "profile.json")]
    if grid is not None:
        (folder / "grid.json").write_bytes(msgspec.json.encode(grid))
        command += ["--grid", str(folder / "grid.json")]
    begun = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[3]} ended with {process.returncode}")
    return perf_counter() - begun, used.ru_maxrss / 1024
