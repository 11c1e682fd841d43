"""Simulated days: one seed, one journal; in every world of faults the desk keeps its promises.

DAYS=N seeds (50; `make chaos` runs 1,000). A failure says its seed and the one command that repeats it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from msgspec.structs import replace

from desk import outbox, sight
from tests.kit.simday import Broken, Day
from tests.kit.worker import HOME

DAYS = int(os.environ.get("DAYS", "50"))
CHUNK = 10


def run(seed: int) -> Day:
    day = Day(seed)
    day.hash = day.run()
    return day


@pytest.mark.fault("A48", "P03", "P05", "P11", "P12", "P13", "X01", "X18")
@pytest.mark.parametrize("first", range(0, DAYS, CHUNK))
def test_whatever_fails_every_promise_holds(first):
    for seed in range(first, min(first + CHUNK, DAYS)):
        run(seed)


@pytest.mark.parametrize("seed", [0, 7, 23])
def test_one_seed_is_one_journal(seed):
    here = run(seed).hash
    assert run(seed).hash == here
    command = [sys.executable, "-m", "tests.kit.simday", str(seed)]
    told = subprocess.run(
        command, cwd=HOME, env={**os.environ, "PYTHONHASHSEED": "77"}, capture_output=True, text=True, check=True
    )
    assert told.stdout.split()[0] == here


def test_the_worlds_are_rough_and_yet_there_is_trade_in_them():
    seen: Counter[str] = Counter()
    for seed in range(60):
        day = run(seed)
        said = [text for texts in day.accepted.values() for text in texts]
        seen.update(
            trades=len(day.trades), voided=len(day.voided), restarts=day.life - 1,
            repeats=sum(text.startswith("REPEAT") for text in said), blind=sum("-BLIND-" in key for key in day.accepted),
            unseen=sum("NOT SEEN YET" in text for text in said), unrecorded=sum("NOT RECORDED" in text for text in said),
            settled=sum("Expired" in text for text in said),
        )  # fmt: skip
    assert seen["trades"] >= 50
    assert all(seen[kind] for kind in ("voided", "restarts", "repeats", "blind", "unseen", "unrecorded")), seen


def uncounted(row, now, channel="pushover"):
    return replace(row, outcome="sending")


@pytest.mark.parametrize(
    ("module", "name", "broken", "found"),
    [
        (outbox, "heading", lambda row, now, recorded=True: [], "repeated without a label|before it was durable"),
        (sight, "watch", lambda turn, market: None, "silent about it"),
        (sight, "PositionMarked", lambda position: None, "after the kill it is"),
        (outbox, "sending", uncounted, "before the last try had ended"),
    ],
    ids=["headings", "blindness", "marks", "counting"],
)
def test_a_planted_fault_is_found_with_its_seed_and_the_command_that_repeats_it(monkeypatch, module, name, broken, found):
    monkeypatch.setattr(module, name, broken)
    with pytest.raises(Broken, match=found) as fault:
        list(map(run, range(50)))
    assert "repeat it with: python -m tests.kit.simday " in str(fault.value)
