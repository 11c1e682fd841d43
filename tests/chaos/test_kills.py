"""Killed at random moments and at every named place: nothing lost, nothing repeated without saying so, every cent where it was.

CHAOS=N kills in the first mode and a third as many in the second; the seed of a failure is in its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.kills import FAILPOINTS, Play, played
from tests.kit.worker import Stage

KILLS = int(os.environ.get("CHAOS", "60"))
PARTS = 2 if KILLS < 100 else 4  # each a play of its own: on two cores, two at a time
SHORT_PARTS = max(1, KILLS // 3 // 40)  # the market that does not wait has two hours to give

pytestmark = [pytest.mark.process, pytest.mark.timeout(120 + 15 * KILLS)]


@pytest.fixture
def steady(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "market", steady=True)
    yield stage
    stage.close()


def judged(play: Play, record) -> None:
    faults = play.faults()
    record("toll", str(play.toll))
    print(f"\n{'runs on' if play.runs_on else 'stands still'}: {play.toll}; {len(play.trades())} trades")
    assert not faults, "\n".join(faults)


@pytest.mark.fault("X01", "X18", "P11", "A28", "A29", "A43")
@pytest.mark.parametrize("seed", range(PARTS))
def test_a_session_of_kills_is_to_the_cent_the_uninterrupted_session(steady, tmp_path, seed, record_property):
    places = FAILPOINTS[seed::PARTS]
    killed = played(tmp_path / "killed", steady, seed, places, kills=KILLS // PARTS)
    judged(killed, record_property)
    assert set(killed.toll.places) == set(places) or KILLS < 60
    story, results = killed.story(), [(trade.id, trade.reason, trade.pnl, trade.peak) for trade in killed.trades()]
    buys, expired = list(killed.told("BUY")), killed.expired()
    whole = played(tmp_path / "whole", steady, seed, trades=len(story))
    assert not whole.faults()
    assert whole.story() == story
    assert [(trade.id, trade.reason, trade.pnl, trade.peak) for trade in whole.trades()] == results
    assert [buy for buy in whole.told("BUY") if buy not in expired] == [buy for buy in buys if buy not in expired]
    assert killed.toll.open_or_pending >= 0.6 * killed.toll.kills


@pytest.mark.fault("X01", "X21")
@pytest.mark.parametrize("seed", range(1000, 1000 + SHORT_PARTS))
def test_when_the_market_does_not_wait_ledger_and_phone_still_agree(steady, tmp_path, seed, record_property):
    judged(played(tmp_path / "killed", steady, seed, kills=KILLS // 3 // SHORT_PARTS, runs_on=True), record_property)
