"""What a user sees of vwap does not change: simulated days with faults, and real sessions, by the hash of it.

A change that is meant is made in a commit of its own that says which days and why: python -m tests.kit.frozen > tests/frozen.json
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from tests.kit import frozen

KEPT = json.loads((Path(__file__).parent / "frozen.json").read_text())
CHUNK = 8


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, len(frozen.SEEDS), CHUNK))
def test_what_is_seen_of_simulated_days_stays(first: int) -> None:
    seeds = range(first, first + CHUNK)
    assert {str(seed): frozen.of_seed(seed) for seed in seeds} == {str(seed): KEPT["seeds"][str(seed)] for seed in seeds}


@pytest.mark.timeout(300)
@pytest.mark.skipif(not frozen.SECONDS.exists(), reason="the recorded seconds are not beside this checkout")
@pytest.mark.parametrize("day", frozen.REAL, ids=str)
def test_what_is_seen_of_real_sessions_stays(day: date) -> None:
    assert frozen.of_session(day) == KEPT["sessions"][str(day)]
