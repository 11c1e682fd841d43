"""No BUY behind its own SELL: what was handed to a slow phone and has not begun is taken back, as the process does it."""

from __future__ import annotations

import threading

import pytest

from simulator.http import Answer, Request
from tests.kit.hook import Hook
from tests.kit.worker import ASK, BID, Stage, alert_id, ledger_of, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]


def test_no_buy_comes_behind_its_position_when_the_lane_before_it_is_slow(stage: Stage) -> None:
    """A message hangs in the ordinary lane, the BUY lies behind it, the stop fires: nobody is told of any trade."""
    hanging = threading.Event()

    def slow(request: Request) -> Answer:
        hanging.set()
        return Answer(hang=True)

    stage.market.push.script(r"^/1/messages\.json$", slow)
    stage.start(ALERT_TIMEOUT_SECONDS="10", BUY_TTL_SECONDS="60")
    assert hanging.wait(10)
    stage.go()
    stage.worker.wait_for_line("🔥 ENTRY")
    stage.wait_for_polls(2)
    stage.quote(0.80, 0.82)
    stage.worker.wait_for_line("out of the record")
    stage.worker.signal()
    assert stage.worker.wait() == 0
    kept = ledger_of(stage.data, stage.now())
    assert (kept.position, kept.trades) == (None, ())
    assert not stage.messages("— BUY")
    assert "last_exit_at" not in kept.facts or kept.facts["last_exit_at"] is None


def test_no_buy_comes_behind_its_position_when_the_other_channel_is_slow(stage: Stage) -> None:
    """The alarm of a first loss is refused and hangs in the other channel, a second BUY lies behind it, its stop fires."""

    def alarm_is_refused_before_the_sell_is_taken(request: Request) -> Answer:
        if b"critical+loss" in request.body:
            return Answer(400, {"status": 0, "errors": ["refused"], "request": "0"})
        if b"+SELL+" in request.body:
            stage.worker.wait_for_line("HTTP 400: refused")
        return Answer()

    with Hook() as other:
        other.wait.clear()
        stage.bought(
            FALLBACK_ALERT_URLS=other.url, CRITICAL_LOSS="-20", ENTRY_COOLDOWN_SECONDS="0", SIGNAL_COOLDOWN_SECONDS="2",
            BUY_TTL_SECONDS="60",
        )  # fmt: skip
        stage.market.push.script(r"^/1/messages\.json$", alarm_is_refused_before_the_sell_is_taken, forever=True)
        stage.quote(0.80, 0.82)
        stage.wait_for("— SELL")
        stage.quote(BID, ASK)
        until(lambda: sum("🔥 ENTRY" in line for line in stage.worker.lines) == 2, 9.0, "a second entry")
        stage.wait_for_polls(2)
        stage.quote(0.50, 0.51)
        stage.worker.wait_for_line("out of the record")
        stage.worker.signal()
        other.wait.set()
        assert stage.worker.wait() == 0
        assert all("critical loss" in body["title"] for body in other.bodies)
    assert [alert_id(message) for message in stage.messages("— BUY")] == ["20261120-1-BUY"]
    assert [trade.id for trade in ledger_of(stage.data, stage.now()).trades] == ["20261120-1"]
