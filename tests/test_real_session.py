"""A whole recorded session through the worker's desk: every second's reading and every signal, against the rules read literally."""

from __future__ import annotations

import csv
import gzip
from datetime import date
from pathlib import Path

import pytest
from msgspec.structs import replace

from events import Bar, BarClosed, Noted
from tests.kit.deskbench import Bench, row
from tests.test_signals import OPEN, Slow, agree

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "seconds" / "SPY_20131008.csv.gz"
DAY = date(2013, 10, 8)
FIELDS = ("open", "high", "low", "close", "volume", "vwap")


def recorded(session_open: int) -> list[Bar]:
    with gzip.open(DATA, "rt") as file:
        return [
            Bar("IWM", int(line["timestamp_ns_utc"]) // 10**9 - session_open + OPEN, *(float(line[name]) for name in FIELDS))
            for line in csv.DictReader(file)
        ]


@pytest.mark.skipif(not DATA.exists(), reason="the recorded seconds are not beside this checkout")
@pytest.mark.timeout(240)
def test_the_desk_reads_a_real_session_as_the_rules_say_and_takes_every_signal() -> None:
    bench = Bench(at="09:30:00")
    assert bench.session is not None
    real = Bench(day=DAY, at="09:30:00").session
    assert real is not None
    tape = [bar for bar in recorded(real.open_at) if 0 <= bar.start - OPEN < 23_400]
    leader = [replace(bar, symbol="SPY", close=bar.close * 2.5) for bar in tape]
    minutes = [0.0] * 390
    for bar in tape:
        minutes[(bar.start - OPEN) // 60] += bar.volume * 0.7
    bench.start()
    bench.iwm.take_profile(tuple(minutes))
    slow = Slow(minutes, leader)
    cooldown, last, expected = bench.config.signal_cooldown_seconds, float("-inf"), []
    for bar, spy in zip(tape, leader, strict=True):
        bench.now = bar.start + 2.0
        if not bench.memory.chain or bench.now - bench.memory.chain.received_at > 30:
            bench.chain(row(at=bench.now))
        bench.put(BarClosed(at=bench.now, bar=spy), BarClosed(at=bench.now, bar=bar))
        if not slow.add(bar):
            continue
        if agree(bench.iwm.windows, slow) and bench.now - last >= cooldown:
            last = bench.now
            expected.append(bench.now)
    noted = [
        write.at
        for action in bench.actions
        for write in getattr(action, "writes", ())
        if isinstance(write, Noted) and write.kind == "signal"
    ]
    assert noted == expected
    assert len(expected) > 5
