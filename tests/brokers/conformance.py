"""What every broker must do, written once: its own answers, and what the desk makes of them through faults, restarts and silence.

A test module of a broker gives the fixture `rig` and takes these cases over by name.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from desk import orders
from events import CancelOrder, Fill, FillSeen, Leg, OperatorSpoke, Order, OrderView, PlaceOrder, SnapshotTaken
from pnl_tracker import held
from tests.kit.rigs import HIGHER, Rig, spread

REF = "TY-20261120-9-ENTRY-1"


def an_order(rig: Rig, ref: str = REF, limit: int | None = 1440, units: int = 2, *legs: Leg) -> Order:
    legs = legs or (Leg(rig.contract, "buy", opens=True),)
    trade_id, role, seq = ref.rsplit("-", 2)
    at = rig.bench.now
    return Order(ref, "tiny", trade_id, rig.mode, role, int(seq), legs, units, limit, at, at + 60)


def placed(rig: Rig, ref: str = REF, limit: int | None = 1000, units: int = 2, *legs: Leg) -> Order:
    order = an_order(rig, ref, limit, units, *legs)
    assert rig.broker.place(order).answer == "accepted"
    return order


def bought(rig: Rig, ref: str = REF, units: int = 2) -> Order:
    """Straight at the broker, past the desk."""
    order = placed(rig, ref, 1440, units)
    rig.bench.now += 0.5
    rig.market(1400, 1440)
    return order


def seen(rig: Rig, ref: str = REF) -> OrderView:
    view = rig.broker.find(ref).order
    assert view is not None
    return view


def snapshot(rig: Rig) -> SnapshotTaken:
    return rig.broker.snapshot(rig.bench.session.open_at)


def closing(rig: Rig) -> Leg:
    return Leg(rig.contract, "sell", opens=False)


# --- the broker itself -------------------------------------------------------------------------------------------------


def test_an_accepted_order_is_found_as_it_was_meant(rig: Rig):
    order = placed(rig)
    view = seen(rig)
    assert (view.state, view.units, view.filled, view.limit, view.legs) == ("working", 2, 0, 1000, order.legs)
    assert view.broker_id


def test_an_order_that_never_was_is_not_found(rig: Rig):
    assert rig.broker.find("TY-20261120-77-ENTRY-1").order is None


def test_the_same_ref_sent_twice_is_one_order(rig: Rig):
    order = placed(rig)
    assert rig.broker.place(order).answer == "accepted"
    assert len(snapshot(rig).orders) == 1


def test_a_buy_at_the_ask_fills_there(rig: Rig):
    bought(rig)
    (fill,) = snapshot(rig).fills
    assert (fill.ref, fill.contract, fill.side, fill.quantity, fill.price) == (REF, rig.contract, "buy", 2, 1440)


def test_a_buy_under_the_ask_rests(rig: Rig):
    placed(rig, limit=1390)
    rig.bench.now += 1
    rig.market(1400, 1440)
    assert seen(rig).state == "working"
    assert snapshot(rig).fills == ()


def test_what_rests_fills_when_the_market_comes_to_it(rig: Rig):
    placed(rig, limit=1390)
    rig.bench.now += 1
    rig.market(1350, 1390)
    assert seen(rig).state == "filled"
    assert snapshot(rig).fills[0].price == 1390


def test_a_market_sell_fills_at_the_bid(rig: Rig):
    bought(rig)
    placed(rig, "TY-20261120-9-FLATTEN-1", None, 2, closing(rig))
    rig.bench.now += 1
    rig.market(1500, 1540)
    assert {fill.price for fill in snapshot(rig).fills if fill.side == "sell"} <= {1400, 1500}
    assert seen(rig, "TY-20261120-9-FLATTEN-1").state == "filled"


def test_a_sell_of_what_is_not_held_is_rejected_with_a_reason(rig: Rig):
    answer = rig.broker.place(an_order(rig, "TY-20261120-9-EXIT-1", -1400, 1, closing(rig)))
    assert answer.answer == "rejected"
    assert answer.reason


def test_a_sell_of_more_than_is_held_is_rejected(rig: Rig):
    bought(rig)
    assert rig.broker.place(an_order(rig, "TY-20261120-9-EXIT-1", -1400, 3, closing(rig))).answer == "rejected"


def test_two_sells_together_cannot_be_of_more_than_is_held(rig: Rig):
    bought(rig)
    placed(rig, "TY-20261120-9-EXIT-1", -3000, 2, closing(rig))
    assert rig.broker.place(an_order(rig, "TY-20261120-9-EXIT-2", -3000, 1, closing(rig))).answer == "rejected"


def test_the_limit_of_a_sell_is_received_and_so_negative(rig: Rig):
    bought(rig)
    placed(rig, "TY-20261120-9-EXIT-1", -3000, 2, closing(rig))
    assert seen(rig, "TY-20261120-9-EXIT-1").limit == -3000


def test_a_rejected_order_leaves_nothing_behind(rig: Rig):
    rig.broker.place(an_order(rig, "TY-20261120-9-EXIT-1", -1400, 1, closing(rig)))
    view = rig.broker.find("TY-20261120-9-EXIT-1").order
    assert view is None or view.state == "rejected"


def test_a_cancelled_order_ends_cancelled(rig: Rig):
    placed(rig)
    assert rig.broker.cancel(REF, seen(rig).broker_id).heard
    rig.pass_time(1)
    assert (seen(rig).state, seen(rig).filled) == ("cancelled", 0)


def test_an_order_is_cancelled_by_our_ref_alone(rig: Rig):
    placed(rig)
    rig.broker.cancel(REF, "")
    rig.pass_time(1)
    assert seen(rig).state == "cancelled"


def test_the_cancel_of_a_filled_order_changes_nothing(rig: Rig):
    bought(rig)
    rig.broker.cancel(REF, seen(rig).broker_id)
    assert (seen(rig).state, seen(rig).filled) == ("filled", 2)


def test_the_cancel_of_what_never_was_is_answered(rig: Rig):
    assert not rig.broker.cancel("TY-20261120-77-ENTRY-1", "").heard


def test_a_second_cancel_does_no_harm(rig: Rig):
    placed(rig)
    for _ in range(2):
        rig.broker.cancel(REF, "")
    rig.pass_time(1)
    assert seen(rig).state == "cancelled"


def test_a_snapshot_says_since_when_and_of_which_account(rig: Rig):
    told = snapshot(rig)
    assert told.complete
    assert told.as_of <= rig.bench.now
    assert told.account is not None
    assert told.account.is_paper
    assert told.account.number
    assert told.account.equity == 25_000_000
    assert told.account.blocks == ()


def test_positions_are_what_executions_leave(rig: Rig):
    bought(rig)
    told = snapshot(rig)
    assert {holding.contract: holding.quantity for holding in told.positions} == held(told.fills) == {rig.contract: 2}


def test_what_a_working_sell_keeps_is_not_reported_as_another_position(rig: Rig):
    bought(rig)
    placed(rig, "TY-20261120-9-EXIT-1", -3000, 1, closing(rig))
    (holding,) = snapshot(rig).positions
    assert holding.quantity == 2
    assert holding.available in (1, 2)


def test_what_was_sold_is_no_position(rig: Rig):
    bought(rig)
    placed(rig, "TY-20261120-9-EXIT-1", -1400, 2, closing(rig))
    rig.bench.now += 1
    rig.market(1400, 1440)
    assert snapshot(rig).positions == ()
    assert len(snapshot(rig).orders) == 2


def test_executions_keep_their_roots(rig: Rig):
    bought(rig)
    bought(rig, "TY-20261120-8-ENTRY-1", 1)
    first, second = snapshot(rig).fills, snapshot(rig).fills
    assert [fill.root for fill in first] == [fill.root for fill in second]
    assert len({fill.root for fill in first}) == len(first) == 2


def test_units_filled_are_those_of_the_executions(rig: Rig):
    bought(rig, units=3)
    assert seen(rig).filled == sum(fill.quantity for fill in snapshot(rig).fills) == 3


def test_a_part_is_filled_and_the_rest_works_on(rig: Rig):
    rig.market(1500, 1540)
    placed(rig, limit=1440)
    rig.bench.now += 0.5
    rig.scanty(1400, 1440)
    assert (seen(rig).state, seen(rig).filled) == ("working", 1)


def test_what_was_filled_in_part_stays_after_a_cancel(rig: Rig):
    rig.market(1500, 1540)
    placed(rig, limit=1440)
    rig.bench.now += 0.5
    rig.scanty(1400, 1440)
    rig.broker.cancel(REF, "")
    rig.pass_time(1)
    assert (seen(rig).state, seen(rig).filled) == ("cancelled", 1)
    assert [holding.quantity for holding in snapshot(rig).positions] == [1]


def test_a_package_fills_leg_by_leg_at_its_net_price(rig: Rig):
    rig.market(1400, 1440)
    rig.market(600, 630, contract=HIGHER)
    placed(rig, REF, 840, 1, *spread((rig.contract, "buy"), (HIGHER, "sell")))
    rig.bench.now += 1
    rig.market(1400, 1440)
    fills = snapshot(rig).fills
    assert held(fills) == {rig.contract: 1, HIGHER: -1}
    assert sum(fill.price if fill.side == "buy" else -fill.price for fill in fills) == 840


def test_a_package_that_is_received_has_a_negative_limit(rig: Rig):
    rig.market(1400, 1440)
    rig.market(600, 630, contract=HIGHER)
    placed(rig, REF, -830, 1, *spread((rig.contract, "sell"), (HIGHER, "buy")))
    assert seen(rig).limit == -830


def test_a_package_at_mid_or_better_waits(rig: Rig):
    rig.market(1400, 1440)
    rig.market(600, 630, contract=HIGHER)
    placed(rig, REF, 700, 1, *spread((rig.contract, "buy"), (HIGHER, "sell")))
    rig.pass_time(12)
    assert seen(rig).state == "working"


def test_a_preview_says_what_it_costs_or_why_it_cannot(rig: Rig):
    told = rig.broker.preview(an_order(rig))
    assert told.margin is not None or told.reason
    assert rig.broker.can.preview == (told.margin is not None)


# --- through the desk --------------------------------------------------------------------------------------------------


def entered(rig: Rig) -> Order:
    """The desk's entry, on its way."""
    rig.bench.tiny.wish = True
    rig.pass_time(1)
    return rig.bench.placed[-1]


def open_trade(rig: Rig) -> None:
    entered(rig)
    rig.pass_time(0.5)
    rig.quote(1400, 1440)
    rig.pass_time(3)
    assert rig.bench.trade.state == "open", rig.bench.trade


def live_orders(rig: Rig) -> list[OrderView]:
    return [view for view in snapshot(rig).orders if view.state in ("working", "cancelling")]


def agree(rig: Rig) -> None:
    """Books and broker agree in every execution and cent, the ledger adds up, each trade is told once."""
    state = rig.bench.desk.state.dealings
    ours = {fill.root: (fill.quantity, fill.price) for fills in state.fills.values() for fill in fills}
    theirs = {fill.root: (fill.quantity, fill.price) for fill in snapshot(rig).fills if fill.ref}
    assert theirs.items() <= ours.items() if not rig.survives else theirs == ours
    told = [action.alert_id for action in rig.bench.delivered if action.alert_id.endswith("-CLOSED")]
    assert len(told) == len(set(told)) == sum(trade.opened_at is not None for trade in state.ended)
    assert rig.bench.problems() == []


def test_a_whole_life_makes_the_pnl_of_its_executions(rig: Rig):
    open_trade(rig)
    rig.quote(1800, 1840)
    rig.pass_time(1)
    rig.quote(1800, 1840)
    rig.pass_time(4)
    assert rig.bench.trade.state == "closed"
    assert rig.bench.trade.pnl == 2 * (1800 - 1440) * 100 - 4 * 50
    agree(rig)


def test_an_entry_that_does_not_fill_is_no_trade(rig: Rig):
    rig.market(1500, 1540)
    order = entered(rig)
    rig.pass_time(20)
    assert (rig.bench.trade.state, rig.bench.trade.opened_at, rig.bench.flying) == ("closed", None, [])
    assert seen(rig, order.ref).state == "cancelled"
    agree(rig)


def test_what_an_entry_fills_in_part_is_the_position(rig: Rig):
    rig.market(1500, 1540)
    entered(rig)
    rig.pass_time(0.5)
    rig.scanty(1400, 1440)
    rig.market(1500, 1540)
    rig.pass_time(20)
    assert rig.bench.trade.state == "open"
    assert held(rig.bench.desk.state.dealings.fills[rig.bench.trade.id]) == {rig.contract: 1}
    assert live_orders(rig) == []


def test_an_order_whose_answer_was_lost_is_found_and_not_sent_again(rig: Rig):
    rig.market(1500, 1540)
    rig.broker.places = ["lost"]
    order = entered(rig)
    rig.pass_time(3)
    assert rig.bench.desk.state.dealings.orders[order.ref].state == "working"
    assert len(rig.bench.placed) == len(snapshot(rig).orders) == 1


def test_an_order_that_never_arrived_is_not_placed_after_two_snapshots_and_not_before(rig: Rig):
    rig.broker.places = ["never"]
    order = entered(rig)
    assert rig.bench.desk.state.dealings.orders[order.ref].state == "unknown"
    rig.pass_time(20)
    assert rig.bench.desk.state.dealings.orders[order.ref].state == "not_placed"
    assert len(rig.bench.placed) == 1
    assert rig.bench.trade.opened_at is None
    agree(rig)


def test_while_nobody_knows_of_one_order_no_entry_leaves(rig: Rig):
    rig.broker.places = ["never"]
    order = entered(rig)
    why = orders.entry_refusal(rig.bench.desk.state, rig.mode, "tiny", at=rig.bench.now)
    assert why == f"nobody knows what became of {order.ref}"


def test_silence_after_a_send_becomes_a_question(rig: Rig):
    rig.market(1500, 1540)
    rig.bench.lost = lambda what: type(what).__name__ in ("OrderAnswered", "OrderSeen")
    order = entered(rig)
    rig.pass_time(11)
    assert rig.bench.desk.state.dealings.orders[order.ref].state in ("unknown", "cancelling", "working")
    rig.bench.lost = lambda what: False
    rig.pass_time(25)
    assert rig.bench.flying == live_orders(rig) == []
    assert len(rig.bench.placed) == 1


def test_a_cancel_whose_answer_was_lost_ends_the_order(rig: Rig):
    rig.market(1500, 1540)
    rig.broker.cancels = ["lost"]
    entered(rig)
    rig.pass_time(25)
    assert rig.bench.flying == live_orders(rig) == []
    agree(rig)


def test_a_cancel_that_never_arrived_is_asked_for_again(rig: Rig):
    rig.market(1500, 1540)
    rig.broker.cancels = ["never"]
    entered(rig)
    rig.pass_time(60)
    assert rig.bench.flying == live_orders(rig) == []
    assert sum(isinstance(action, CancelOrder) for action in rig.bench.actions) >= 2
    agree(rig)


def test_a_fill_that_overtakes_a_cancel_is_a_position(rig: Rig):
    rig.market(1500, 1540)
    order = entered(rig)
    rig.broker.mute = True
    rig.market(1400, 1440)
    rig.broker.mute = False
    rig.pass_time(15)
    assert rig.bench.desk.state.dealings.orders[order.ref].state == "filled"
    assert rig.bench.trade.state == "open"
    agree(rig)


def test_an_exit_that_fills_in_part_is_followed_by_the_rest_and_no_more(rig: Rig):
    open_trade(rig)
    rig.market(1700, 1740)
    rig.bench.quote(1800, 1840, contract=rig.contract)
    rig.pass_time(0.5)
    rig.scanty(1800, 1840)
    rig.market(1700, 1740)
    rig.pass_time(6)
    if rig.bench.trade.state != "closed":
        rig.quote(1800, 1840)
        rig.pass_time(6)
        rig.quote(1800, 1840)
        rig.pass_time(6)
    exits = [order.units for order in rig.bench.placed if not order.opens]
    assert exits[0] == 2
    assert all(units == 1 for units in exits[1:])
    assert sum(fill.quantity for fill in snapshot(rig).fills if fill.side == "sell") <= 2
    agree(rig)


def test_a_restart_with_a_working_entry_ends_it(rig: Rig):
    rig.market(1500, 1540)
    entered(rig)
    rig.bench.begin()
    rig.pass_time(25)
    assert rig.bench.flying == live_orders(rig) == []
    assert rig.bench.trade.opened_at is None
    assert len(rig.bench.placed) == 1
    agree(rig)


def test_a_restart_between_intent_and_send_sends_nothing(rig: Rig):
    rig.bench.lost = lambda what: isinstance(what, PlaceOrder)
    rig.bench.tiny.wish = True
    rig.pass_time(1)
    rig.bench.lost = lambda what: False
    rig.bench.begin()
    rig.pass_time(25)
    assert snapshot(rig).orders == ()
    assert rig.bench.flying == []
    assert rig.bench.problems() == []


def test_what_was_filled_while_nobody_watched_is_found(rig: Rig):
    if not rig.survives:
        pytest.skip("what rests on paper is gone with its process")
    rig.market(1500, 1540)
    entered(rig)
    rig.market(1400, 1440)
    rig.bench.begin()
    rig.pass_time(10)
    assert rig.bench.trade.state == "open"
    agree(rig)


def test_an_exit_that_filled_while_nobody_watched_is_booked_and_told_once(rig: Rig):
    if not rig.survives:
        pytest.skip("what rests on paper is gone with its process")
    open_trade(rig)
    rig.bench.quote(1800, 1840, contract=rig.contract)
    rig.market(1800, 1840)
    rig.bench.begin()
    rig.pass_time(10)
    assert rig.bench.trade.state == "closed"
    rig.bench.begin()
    rig.pass_time(10)
    agree(rig)


def test_a_position_is_taken_up_by_the_next_life(rig: Rig):
    open_trade(rig)
    for _ in range(3):
        rig.bench.begin()
        rig.pass_time(3)
    assert rig.bench.trade.state == "open"
    rig.quote(1800, 1840)
    rig.pass_time(1)
    rig.quote(1800, 1840)
    rig.pass_time(4)
    assert rig.bench.trade.pnl == 2 * (1800 - 1440) * 100 - 4 * 50
    agree(rig)


def test_an_execution_told_twice_is_booked_once(rig: Rig):
    open_trade(rig)
    for fill in snapshot(rig).fills:
        for _ in range(3):
            rig.bench.put(FillSeen(at=rig.bench.now, mode=rig.mode, fill=fill))
    assert held(rig.bench.desk.state.dealings.fills[rig.bench.trade.id]) == {rig.contract: 2}
    agree(rig)


def test_an_incomplete_snapshot_concludes_nothing_and_keeps_entries_off(rig: Rig):
    open_trade(rig)
    rig.broker.doctor = lambda told: SnapshotTaken(
        at=told.at, mode=told.mode, as_of=told.as_of, complete=False, reason="slow"
    )
    rig.pass_time(90)
    assert rig.bench.trade.state == "open"
    assert "snapshot" in str(orders.entry_refusal(rig.bench.desk.state, rig.mode, "tiny", at=rig.bench.now))


def test_one_empty_list_of_positions_proves_nothing(rig: Rig):
    open_trade(rig)
    rig.pass_time(12)
    rig.broker.doctor = lambda told: replace(told, positions=())
    rig.bench.link(True)
    rig.broker.doctor = lambda told: told
    rig.pass_time(40)
    assert rig.bench.trade.state == "open"
    assert not rig.bench.desk.state.dealings.accounts[rig.mode].findings


def test_two_empty_lists_apart_are_a_shortfall_that_a_person_resolves(rig: Rig):
    open_trade(rig)
    rig.pass_time(12)
    rig.broker.doctor = lambda told: replace(told, positions=())
    rig.pass_time(60)
    assert rig.bench.trade.state == "unresolved"
    rig.bench.begin()
    rig.pass_time(5)
    assert rig.bench.trade.state == "unresolved"
    assert str(orders.entry_refusal(rig.bench.desk.state, rig.mode, "tiny", at=rig.bench.now)).startswith("unresolved")
    assert sum("ACT NOW" in action.title for action in rig.bench.delivered) >= 1
    trade_id = rig.bench.trade.id
    word = OperatorSpoke(at=rig.bench.now, command="resolve", who="page", price=-1500, trade_id=trade_id, why="sold by hand")
    rig.bench.put(word)
    assert (rig.bench.trade.state, rig.bench.trade.pnl) == ("closed", 2 * (1500 - 1440) * 100 - 2 * 50)
    rig.pass_time(70)
    assert not rig.bench.desk.state.dealings.accounts[rig.mode].findings
    assert rig.bench.problems() == []


def test_what_is_not_ours_is_shown_and_never_touched(rig: Rig):
    open_trade(rig)
    rig.stranger(24)
    rig.pass_time(60)
    (finding,) = rig.bench.desk.state.dealings.accounts[rig.mode].findings
    assert (finding.kind, finding.subject, finding.theirs) == ("extra", HIGHER, 24)
    rig.quote(1800, 1840)
    rig.pass_time(1)
    rig.quote(1800, 1840)
    rig.pass_time(4)
    assert rig.bench.trade.state == "closed"
    assert all(leg.contract != HIGHER for order in rig.bench.placed for leg in order.legs)
    legs = (Leg(HIGHER, "buy", opens=True),)
    assert "extra" in str(orders.entry_refusal(rig.bench.desk.state, rig.mode, "tiny", legs, rig.bench.now))


def test_the_desk_closes_what_its_strategy_leaves_open_too_long(rig: Rig):
    rig.bench.tiny.out_by_s = 20.0
    open_trade(rig)
    for _ in range(12):
        rig.pass_time(3)
        rig.market(1400, 1440)
        rig.bench.quote(1400, 1440, contract=rig.contract)
    rig.pass_time(5)
    assert (rig.bench.trade.state, rig.bench.trade.reason) == ("closed", "FLATTEN")
    agree(rig)


def test_a_link_that_fell_over_a_send_leaves_a_doubt_that_is_cleared(rig: Rig):
    rig.market(1500, 1540)
    rig.bench.lost = lambda what: type(what).__name__ in ("OrderAnswered", "OrderSeen")
    order = entered(rig)
    rig.bench.link(False, "cut")
    assert rig.bench.desk.state.dealings.orders[order.ref].state == "unknown"
    rig.bench.lost = lambda what: False
    rig.pass_time(2)
    rig.bench.link(True)
    rig.pass_time(25)
    assert rig.bench.flying == live_orders(rig) == []
    assert len(rig.bench.placed) == 1


def test_an_entry_waits_for_its_record_and_an_exit_not_for_ever(rig: Rig):
    open_trade(rig)
    rig.bench.disk = None
    rig.quote(1800, 1840)
    assert all(order.opens for order in rig.bench.placed)
    rig.pass_time(3)
    assert [order.role for order in rig.bench.placed] == ["ENTRY", "TP1"]
    assert any("NOT RECORDED" in str(getattr(action, "text", "")) for action in rig.bench.actions)


def test_an_entry_without_a_record_never_leaves(rig: Rig):
    rig.bench.disk = None
    entered_before = len(rig.bench.placed)
    rig.bench.tiny.wish = True
    rig.pass_time(20)
    assert len(rig.bench.placed) == entered_before
    assert snapshot(rig).orders == ()


def test_an_entry_is_dropped_where_the_disk_refuses(rig: Rig):
    rig.bench.disk = False
    rig.bench.tiny.wish = True
    rig.pass_time(2)
    rig.bench.disk = True
    rig.pass_time(5)
    assert rig.bench.placed == []
    assert snapshot(rig).orders == ()


def test_an_orphan_of_our_form_is_taken_up_and_ended(rig: Rig):
    rig.market(1500, 1540)
    placed(rig, "TY-20261120-7-ENTRY-1", 1000)
    rig.bench.link(True)
    rig.pass_time(25)
    assert live_orders(rig) == []
    assert rig.bench.problems() == []
    rig.bench.tiny.wish = True
    rig.pass_time(1)
    assert rig.bench.placed[-1].trade_id == "TY-20261120-8"


def test_an_execution_of_an_orphan_is_a_position(rig: Rig):
    bought(rig, "TY-20261120-7-ENTRY-1")
    rig.bench.link(True)
    rig.pass_time(15)
    assert (rig.bench.trade.id, rig.bench.trade.state) == ("TY-20261120-7", "open")
    agree(rig)


def test_a_corrected_execution_makes_the_pnl_anew(rig: Rig):
    open_trade(rig)
    (fill,) = rig.bench.desk.state.dealings.fills[rig.bench.trade.id]
    better = Fill(fill.root, fill.ref, fill.contract, fill.side, fill.quantity, 1430, fill.at, fill.revision + 1)
    rig.bench.put(FillSeen(at=rig.bench.now, mode=rig.mode, fill=better))
    rig.bench.put(FillSeen(at=rig.bench.now, mode=rig.mode, fill=fill))
    rig.quote(1800, 1840)
    rig.pass_time(1)
    rig.quote(1800, 1840)
    rig.pass_time(4)
    assert rig.bench.trade.pnl == 2 * (1800 - 1430) * 100 - 4 * 50
    assert rig.bench.problems() == []
