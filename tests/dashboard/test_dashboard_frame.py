"""What the page says, and that its charts are drawn from the numbers the desk decides on."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dashboard import frame
from dashboard.chart import columns, since
from dashboard.health import Health
from dashboard.latency import latencies
from dashboard.page import Corrected
from dashboard.view import View, look
from desk.strategy import Status
from edges.inbox import Inbox
from events import Bar, BarClosed, OperatorSpoke
from signals import Gate
from tests.kit.deskbench import OTHER, Bench, row


def seen(bench: Bench) -> View:
    return look(bench.desk, Inbox(), 0, bench.now)


def why(bench: Bench) -> str:
    return frame.why_no_buy(bench.config, seen(bench))


def test_the_charts_newest_second_is_the_desks_reading() -> None:
    bench = Bench().ready()
    bench.surge()
    view = seen(bench)
    reading, drawn = view.reading, columns(view)
    assert reading is not None
    assert drawn["t"][-1] == reading.start
    for name, value in (
        ("close", reading.close), ("vwap_60", reading.vwap_60), ("vwap_300", reading.vwap_300), ("volume", reading.volume),
        ("volume_p95", reading.volume_p95),
    ):  # fmt: skip
        assert drawn[name][-1] == pytest.approx(value, abs=1e-4), name
    point = frame.point(view)
    assert point is not None
    assert point == pytest.approx([drawn[name][-1] for name in drawn])
    assert len({len(column) for column in drawn.values()}) == 1


@pytest.mark.fault("W17")
def test_a_correction_is_told_with_the_earliest_second_it_changes_and_no_oftener_than_it_can_be_drawn() -> None:
    bench = Bench().ready()
    bench.surge()
    told = Corrected()
    assert told.look(seen(bench), 100.0)[0] == told.look(seen(bench), 103.0)[0]
    count = told.look(seen(bench), 106.0)[0]
    newest = int(bench.now) - 1
    for back, symbol in ((9, "IWM"), (30, "SPY"), (3, "IWM")):
        price = 600.1 if symbol == "SPY" else 220.1
        bench.put(BarClosed(at=bench.now, bar=Bar(symbol, newest - back, price, price, price, price, 10.0, price)))
    assert told.look(seen(bench), 109.0) == [count + 1, newest - 30]
    bench.put(BarClosed(at=bench.now, bar=Bar("IWM", newest - 50, 220.1, 220.1, 220.1, 220.1, 10.0, 220.1)))
    assert told.look(seen(bench), 110.0)[0] == count + 1
    assert told.look(seen(bench), 111.5) == [count + 2, newest - 50]
    drawn = since(columns(seen(bench)), newest - 50)
    assert (drawn["t"][0], drawn["close"][0]) == (newest - 50, 220.1)


def test_before_the_first_bar_the_charts_are_empty() -> None:
    assert set(map(len, columns(seen(Bench().start())).values())) == {0}
    assert set(map(len, columns(seen(Bench())).values())) == {0}


def test_one_sentence_says_why_there_is_no_buy() -> None:
    assert why(Bench(at="08:00:00").start()) == "No BUY: session closed."
    warm = Bench().ready()
    warm.bar()
    assert why(warm).startswith("No BUY: price above VWAP 1m $220.000, wanted $220.000;")
    warm.put(OperatorSpoke(at=warm.now, command="stop_entries", who="page"))
    assert why(warm) == "No BUY: entries stopped by hand."
    assert why(Bench().bought()) == "A position is open: IWM 220C 20 Nov."


def test_the_contracts_that_fell_out_say_at_which_filter() -> None:
    bench = Bench().ready()
    bench.chain(row(at=bench.now), row(OTHER, 100, 200, at=bench.now))
    told = frame.contracts(bench.config, seen(bench), bench.memory.chain)
    assert [item["contract"] for item in told["tracked"]] == ["O:IWM261120C00220000"]
    assert [(item["strike"], item["why"]) for item in told["fallen"]] == [("$221.00", "spread within 4%")]


def test_each_exit_says_how_far_it_is_and_blindness_says_that_no_stop_can_fire() -> None:
    bench = Bench().bought()
    bench.quote(560, 580)
    held = frame.position(bench.config, seen(bench))
    assert held is not None
    assert [way["name"] for way in held["exits"]] == [
        "time stop", "stop loss", "hard giveback", "VWAP giveback", "VWAP persistence",
    ]  # fmt: skip
    assert held["exits"][1]["level"] == "$0.433"  # 0.51 less 15 %, shown to a tenth of a cent
    assert held["exits"][1]["away"] == "$0.137 (23.9%)"
    assert held["worth"] == "+$5.00"
    assert held["blind"] == ""
    bench.tick(12)
    blind = frame.position(bench.config, seen(bench))
    assert blind is not None
    assert blind["blind"].startswith("YOUR STOP CANNOT FIRE since ")


def test_what_selling_now_would_make_has_the_fees_off_as_the_booked_trade_will() -> None:
    bench = Bench(FEE_PER_CONTRACT="0.65").bought()
    bench.put(OperatorSpoke(at=bench.now, command="took_it", who="page", price=500))
    bench.quote(560, 580)
    held = frame.position(bench.config, seen(bench))
    assert held is not None
    assert (held["worth"], held["real_worth"]) == ("+$3.70", "+$4.70")
    bench.put(OperatorSpoke(at=bench.now, command="close_now", who="page"))
    (trade,) = bench.desk.state.trades
    assert (trade.pnl, trade.real_pnl) == (3_700, 4_700)


def test_latencies_are_kept_after_an_alert_is_done_with() -> None:
    bench = Bench().bought()
    bench.tick(5)
    state = bench.desk.state
    assert "20261120-1-BUY" not in state.outbox
    accepted = latencies(state, "accepted")
    assert accepted is not None
    assert accepted.count == 1
    assert latencies(state, "acknowledged") is None


def test_another_strategy_that_is_on_has_a_card_of_its_own_and_none_where_vwap_is_alone() -> None:
    bench = Bench().ready()
    view = seen(bench)
    other = Status("ten", refusal="no chain yet", gates=(Gate(1, "early", False, 9.5, 10.0, -0.5, "not ten yet"),))
    assert frame.sections(bench.config, view, Health("ok"), [])["others"] == []
    (card,) = frame.sections(bench.config, replace(view, statuses=(*view.statuses, other)), Health("ok"), [])["others"]
    assert (card["name"], card["why"]) == ("ten", "no chain yet")
    assert [(gate["name"], gate["light"], gate["reason"]) for gate in card["gates"]] == [("early", "no", "not ten yet")]
