"""What a quote of the held contract may do and may not: a side is left out, an answer comes late, one quote is asked for twice."""

from __future__ import annotations

import pytest

from events import PositionClosed, Quote, QuoteSeen
from tests.kit.deskbench import CONTRACT, Bench


def closed(bench: Bench) -> PositionClosed:
    (write,) = (
        write for action in bench.actions for write in getattr(action, "writes", ()) if isinstance(write, PositionClosed)
    )
    return write


@pytest.mark.parametrize(("bid", "ask", "sold"), [(None, 400, 0), (0, 400, 0), (450, 400, 400), (390, 400, 390)])
def test_no_exit_is_booked_above_the_ask_of_the_quote_that_fired_it(bid: int | None, ask: int, sold: int) -> None:
    bench = Bench().bought()
    bench.quote(500, 510)
    bench.quote(bid, ask)
    trade = closed(bench).trade
    assert (trade.reason, trade.exit, trade.stale) == ("stop loss", sold, False)


def test_an_answer_that_a_newer_quote_overtook_says_nothing_against_the_newer_one() -> None:
    bench = Bench().bought()
    bench.quote(500, 510)
    for late in (
        Quote(10, 20, 30, 30, bench.now),
        Quote(500, 510, 30, 30, bench.now, delayed=True),
        Quote(None, None, 0, 0),
    ):
        bench.put(QuoteSeen(at=bench.now, contract=CONTRACT, quote=late, source="rest", asked_at=bench.now - 0.2))
    assert bench.phase == "Holding"
    assert bench.held.distrust == ""


@pytest.mark.parametrize("stamped", [True, False])
def test_one_unchanged_quote_asked_for_again_and_again_confirms_no_stop(stamped: bool) -> None:
    bench = Bench(STOP_CONFIRM_QUOTES="2", MAX_GIVEBACK_PERCENT="90", TIGHTEN_GIVEBACK_PERCENT="80").bought()
    bench.quote(500, 510)
    bad = Quote(420, 430, 30, 30, bench.now if stamped else None)
    for _ in range(5):
        bench.tick(1)
        bench.put(QuoteSeen(at=bench.now, contract=CONTRACT, quote=bad, source="rest", asked_at=bench.now))
    assert bench.phase == "Holding"
    bench.quote(420, 430) if stamped else bench.quote(415, 425)
    assert closed(bench).trade.reason == "stop loss"
