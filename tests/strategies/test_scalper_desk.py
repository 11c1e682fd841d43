"""The scalper on a real desk with the paper broker: a signal, its order, its fills, its exits, through kills and restarts."""

from __future__ import annotations

from tests.kit.scalping import QQQ_CALL, ScalperBench


def test_a_signal_becomes_a_position_half_is_sold_at_target_1_and_the_rest_at_target_2() -> None:
    bench = ScalperBench()
    signal = bench.signal()
    assert (signal.id, signal.contract, signal.refusal) == ("20261120-1036-QQQ-L", QQQ_CALL, "")
    assert all(gate.ok for gate in signal.reading.long)
    assert (signal.confidence, signal.verdict, signal.why) == (None, "not calibrated", "no model file")
    answer = bench.execute(2)
    assert (answer.code, answer.trade_id, answer.order_ref) == (None, "SC-20261120-1", "SC-20261120-1-ENTRY-1")
    bench.tick(8)
    assert [(order.ref, order.limit) for order in bench.placed] == [
        ("SC-20261120-1-ENTRY-1", 1_010),
        ("SC-20261120-1-ENTRY-2", 1_020),
    ]
    bench.at(1_270, 1_290).tick(5)
    assert bench.sales() == []
    bench.at(1_280, 1_300).tick(5)
    assert bench.sales() == [("TP1", 1, 1_280)]
    assert bench.trade.state == "open"
    bench.at(1_530, 1_550).tick(5)
    assert bench.sales() == [("TP1", 1, 1_280), ("TP2", 1, 1_530)]
    assert (bench.trade.state, bench.trade.reason) == ("closed", "TP2")
    assert bench.trade.pnl == (1_280 + 1_530 - 2 * 1_020) * 100 - 4 * 50
    assert bench.problems() == []
    assert bench.told() == [
        "[PAPER] ⚡ SCALPER QQQ CALL — SIGNAL",
        "[PAPER] ⚡ SCALPER QQQ CALL — BOUGHT 2",
        "[PAPER] ⚡ SCALPER QQQ CALL — SOLD 1 of 2",
        "[PAPER] scalper closed QQQ: +$76.80",
    ]
