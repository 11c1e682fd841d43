"""The host's clock was wrong and is put right while the desk runs: by an hour or a day, forward and back."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from events import FetchSettlement, HalfSecondPassed, Quote, QuoteSeen, Remembered, SettlementArrived, StopRequested
from tests.kit.deskbench import CONTRACT, Bench, row


@pytest.mark.fault("X11")
@pytest.mark.parametrize("moved_s", [-3600.0, 3600.0])
def test_a_clock_that_is_put_right_leaves_nobody_waiting_and_tells_of_no_hour_that_was_not(moved_s: float) -> None:
    """As in a new life: a price comes first, then all is as with a clock that was always right."""
    bench = Bench(at="11:40:00" if moved_s < 0 else "10:40:00").bought()
    bench.quote(500, 510)
    told = len(bench.delivered)
    bench.now += moved_s
    bench.put(HalfSecondPassed(at=bench.now, moved_s=moved_s))
    bench.tick(3)
    assert bench.phase == "Holding"
    assert len(bench.delivered) == told, "no BLIND, no stall and no restored feed for an hour that was none"
    bench.quote(500, 510)
    assert bench.held.distrust == ""
    bench.phone = bench.fails("failed")
    bench.quote(400, 410)
    assert bench.phase == "Flat"
    bench.tick(6)
    assert len(bench.said("SELL")) == 2


@pytest.mark.fault("X11")
def test_no_remembered_moment_of_an_open_position_lies_ahead_once_the_clock_was_put_back() -> None:
    """Whatever the desk will ever remember: found by looking through all of its state, not by a list of names."""
    bench = Bench(at="11:40:00").bought()
    bench.phone = bench.fails("refused")
    bench.quote(500, 510)
    bench.put(StopRequested(at=bench.now, reason="SIGTERM"))
    bench.now -= 3600
    bench.put(HalfSecondPassed(at=bench.now, moved_s=-3600.0))
    of_the_record = {
        "opened_at", "created_at", "expires_at", "session", "session_close_at", "quoted_at", "entry_quote", "told", "noted"
    }  # fmt: skip

    def ahead(value: object, path: str) -> Iterator[str]:
        if path.rsplit(".", 1)[-1] in of_the_record:
            return
        if isinstance(value, msgspec.Struct):
            for name in value.__struct_fields__:
                yield from ahead(getattr(value, name), f"{path}.{name}")
        elif isinstance(value, dict):
            for key, item in value.items():
                yield from ahead(item, f"{path}[{key}]")
        elif isinstance(value, tuple):
            for item in value:
                yield from ahead(item, path)
        elif isinstance(value, float) and bench.now + 60 < value < 1e11:
            yield path

    memory = bench.desk.memory()
    assert list(ahead(memory.state, "state")) == []
    for name, kept in memory.owners.items():
        assert list(ahead(kept.due, f"due of {name}")) == []


@pytest.mark.fault("X11")
def test_a_quote_that_comes_from_the_future_is_not_fresh() -> None:
    bench = Bench().bought()
    ahead = QuoteSeen(at=bench.now + 60, contract=CONTRACT, quote=Quote(400, 410, 30, 30, bench.now), source="rest")
    bench.put(ahead, HalfSecondPassed(at=bench.now))
    assert bench.phase == "Holding"


@pytest.mark.fault("X11", "X18")
def test_an_excursion_of_the_clock_over_midnight_never_gives_an_id_again() -> None:
    bench = Bench().bought()
    bench.quote(400, 410)
    assert [trade.id for trade in bench.desk.state.trades] == ["20261120-1"]
    for moved_s in (86_400.0, -86_400.0):
        bench.now += moved_s
        bench.put(HalfSecondPassed(at=bench.now, moved_s=moved_s))
    bench.tick(700)
    bench.warm()
    bench.chain(row(at=bench.now))
    bench.surge()
    assert bench.phase == "Holding", bench.why_not()
    assert bench.held.position.id == "20261120-2"


@pytest.mark.fault("X17")
def test_a_settlement_waits_for_the_last_bars_and_takes_a_correction_before_it_is_final() -> None:
    bench = Bench().bought()
    position = bench.held.position
    bench = Bench(Remembered(position=position), at="16:00:00").start()
    bench.tick(55)
    assert not [action for action in bench.actions if isinstance(action, FetchSettlement)]
    for close in (221.00, 220.70, 220.70):
        before = len([action for action in bench.actions if isinstance(action, FetchSettlement)])
        bench.tick(31)
        assert len([action for action in bench.actions if isinstance(action, FetchSettlement)]) == before + 1
        bench.put(SettlementArrived(at=bench.now, trade_id=position.id, close=close))
    (trade,) = bench.desk.state.trades
    assert (trade.reason, trade.exit) == ("expired", 700)
    assert len(bench.said("SELL")) == 1
