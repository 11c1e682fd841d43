"""The host's clock is wrong by an hour and then put right, under the real worker: nothing that is due waits for the hour to pass."""

from __future__ import annotations

from datetime import time

import pytest

from simulator.http import Answer
from tests.kit.worker import Stage, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(90), pytest.mark.fault("X11", "W20")]


def chains(stage: Stage) -> int:
    return sum("/v3/snapshot/options/" in request.path for request in list(stage.market.rest.requests))


@pytest.mark.parametrize(("off_s", "word"), [(3600.0, "back"), (-3600.0, "forward")])
def test_a_clock_that_is_put_right_while_a_position_is_open_leaves_nothing_due_standing(
    stage: Stage, off_s: float, word: str
) -> None:
    stage.bought()
    stage.stop()
    stage.worker.kill()
    stage.market.set_clock(wall_offset=off_s)
    stage.launch()
    stage.go()
    stage.worker.wait_for_line("the host's clock is")
    stage.wait_for("clock")
    stage.market.set_clock(wall_offset=0.0)
    stage.worker.wait_for_line(f"the clock was put {word}")
    stage.worker.wait_for_line("the clock is right")
    before = chains(stage)
    stage.wait_for_polls(2)
    until(lambda: chains(stage) > before, 15.0, "the chain asked for again")
    blind = len(stage.messages("BLIND"))
    stage.market.push.script(r"/1/messages", Answer(503, {"status": 0}))
    stage.quote(0.80, 0.82)
    stage.wait_for("— SELL")
    assert len(stage.messages("BLIND")) == blind, "no blindness for an hour that was none"
    assert stage.worker.is_alive


@pytest.mark.parametrize(("off_s", "word"), [(3600.0, "back"), (-3600.0, "forward")])
def test_out_of_hours_too_the_clock_is_followed_and_the_worker_goes_on(stage: Stage, off_s: float, word: str) -> None:
    stage.market.set_clock(at=time(7, 0), wall_offset=off_s)
    stage.launch()
    stage.go()
    stage.worker.wait_for_line("the host's clock is")
    stage.market.set_clock(wall_offset=0.0)
    stage.worker.wait_for_line(f"the clock was put {word}")
    stage.worker.wait_for_line("the clock is right")
    stage.worker.wait_for_line("stocks socket subscribed")
    before = list(stage.market.stocks.clients)
    stage.market.stocks.drop()
    until(lambda: any(client not in before for client in list(stage.market.stocks.clients)), 20.0, "a new connection")
    stage.market.set_clock(at=time(9, 25, 30))
    stage.wait_for("GO")
