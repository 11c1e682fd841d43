"""Books and a broker's account compared: every way in which they may differ, and what one snapshot alone does not prove."""

from __future__ import annotations

import time
from typing import Any

from msgspec.structs import replace

from desk.reconcile import Believed, Difference, compare, upserted
from events import AccountView, BrokerAccount, BrokerTrade, Fill, Holding, Leg, Order, OrderView, SnapshotTaken

CALL, OTHER = "O:IWM261120C00240000", "O:IWM261120C00242000"
NOW, CLOSE = 100_000.0, 200_000.0
TRADE = BrokerTrade("SC-20261120-1", "scalper", "paper", "IWM", "2026-11-20", (Leg(CALL, "buy", True),), 2, NOW, CLOSE)
ORDER = Order(
    "SC-20261120-1-ENTRY-1", "scalper", TRADE.id, "paper", "ENTRY", 1, TRADE.legs, 2, 1440, NOW, NOW + 9, state="working",
    sent_at=NOW,
)  # fmt: skip
FILL = Fill("x1", ORDER.ref, CALL, "buy", 2, 1440, NOW + 1)
DONE = replace(ORDER, state="filled", filled=2, proven=True)
VIEW = OrderView(ORDER.ref, "b1", "working", 2, 0, ORDER.legs, 1440)
ME = AccountView("PA1", is_paper=True)


def books(**parts: Any) -> Believed:
    given = {
        "trades": (TRADE,), "orders": {DONE.ref: DONE}, "fills": {TRADE.id: (FILL,)}, "account": BrokerAccount("paper"), **parts,
    }  # fmt: skip
    return Believed(mode="paper", prefixes=("SC", "IC"), apart_s=10.0, **given)


def told(at: float = NOW + 60, **parts: Any) -> SnapshotTaken:
    given = {"fills": (FILL,), "positions": (Holding(CALL, 2, 2),), "account": ME, "complete": True, **parts}
    return SnapshotTaken(at=at, mode="paper", as_of=at, **given)


def kinds(found: Difference) -> list[str]:
    return [finding.kind for finding in found.findings]


def test_what_agrees_is_no_finding():
    assert compare(books(), told()) == Difference()


def test_an_incomplete_snapshot_concludes_nothing_whatever_it_holds():
    found = compare(books(), told(complete=False, positions=(), fills=(), reason="slow"))
    assert (kinds(found), found.gone, found.lost, found.apply) == (["incomplete"], (), (), ())


def test_a_missed_fill_is_applied_before_positions_are_compared():
    found = compare(books(fills={}), told())
    assert (kinds(found), found.apply) == (["fill missed"], ((TRADE.id, FILL),))


def test_an_order_is_gone_only_when_two_snapshots_apart_lack_it():
    waiting = books(orders={ORDER.ref: ORDER}, fills={})
    empty = {"fills": (), "positions": ()}
    first = compare(waiting, told(NOW + 20, **empty))
    assert (kinds(first), first.gone, first.missed) == (["order gone"], (), {ORDER.ref: NOW + 20})
    again = replace(waiting, account=BrokerAccount("paper", missed=first.missed))
    assert compare(again, told(NOW + 25, **empty)).gone == ()
    assert compare(again, told(NOW + 30, **empty)).gone == (ORDER.ref,)
    assert compare(again, told(NOW + 30, orders=(VIEW,), **empty)).gone == ()


def test_a_snapshot_from_before_the_send_proves_nothing():
    waiting = books(orders={ORDER.ref: ORDER}, fills={})
    assert compare(waiting, told(NOW - 1, fills=(), positions=())).missed == {}


def test_an_order_of_our_form_that_nobody_wrote_down_is_an_orphan_and_anothers_is_not():
    ours, theirs = replace(VIEW, ref="IC-20261120-3-ENTRY-1"), replace(VIEW, ref="by-hand")
    found = compare(books(), told(orders=(ours, theirs)))
    assert (kinds(found), found.orphans) == (["orphan"], (ours,))


def test_more_than_our_executions_is_anothers():
    found = compare(books(), told(positions=(Holding(CALL, 5, 5), Holding(OTHER, -1, -1))))
    assert kinds(found) == ["extra", "extra"]
    assert [(finding.subject, finding.ours, finding.theirs) for finding in found.findings] == [(CALL, 2, 5), (OTHER, 0, -1)]
    assert found.lost == ()


def test_less_than_our_executions_is_lost_only_in_two_snapshots_apart():
    first = compare(books(), told(positions=()))
    assert (kinds(first), first.lost, first.short) == (["shortfall"], (), {CALL: NOW + 60})
    again = books(account=BrokerAccount("paper", short=first.short))
    assert compare(again, told(NOW + 65, positions=())).lost == ()
    assert compare(again, told(NOW + 70, positions=())).lost == (TRADE.id,)
    assert compare(again, told(NOW + 70)) == Difference()


def test_an_execution_without_our_ref_that_explains_all_of_it_was_elsewhere():
    again = books(account=BrokerAccount("paper", short={CALL: NOW + 60}))
    sold = Fill("hand", "", CALL, "sell", 2, 1500, NOW + 30)
    found = compare(again, told(NOW + 75, positions=(), fills=(FILL, sold)))
    assert (found.elsewhere, found.lost) == (((TRADE.id, sold),), ())
    part = replace(sold, quantity=1)
    assert compare(again, told(NOW + 75, positions=(), fills=(FILL, part))).lost == (TRADE.id,)


def test_a_fill_that_is_younger_than_the_snapshot_is_not_undone_by_it():
    young = replace(FILL, at=NOW + 58)
    assert kinds(compare(books(fills={TRADE.id: (young,)}), told(positions=(), fills=(young,)))) == []


def test_legs_that_are_not_held_alike_are_an_imbalance():
    legs = (Leg(CALL, "sell", True), Leg(OTHER, "buy", True))
    condor = replace(TRADE, legs=legs)
    fill = replace(FILL, side="sell")
    found = compare(
        books(trades=(condor,), fills={TRADE.id: (fill,)}), told(fills=(fill,), positions=(Holding(CALL, -2, -2),))
    )
    assert kinds(found) == ["imbalance"]


def test_what_outlives_its_session_is_expired_and_not_short():
    assert kinds(compare(books(), told(CLOSE + 60, positions=()))) == ["expired"]


def test_an_execution_that_says_otherwise_under_the_same_revision_is_a_drift():
    assert kinds(compare(books(), told(fills=(replace(FILL, price=1450),)))) == ["drift"]


def test_the_account_itself():
    live = replace(ME, is_paper=False)
    blocked = replace(ME, blocks=("trading_blocked",))
    other = books(account=BrokerAccount("paper", view=replace(ME, number="PA2")))
    assert kinds(compare(replace(books(), mode="alpaca-live"), told())) == ["account"]
    assert kinds(compare(replace(books(), mode="alpaca-paper"), told(account=live))) == ["account"]
    assert kinds(compare(books(), told(account=blocked))) == ["account"]
    assert kinds(compare(other, told())) == ["account"]
    assert kinds(compare(books(), told(account=None))) == ["account"]


def test_what_is_unresolved_stays_a_finding():
    assert kinds(compare(books(trades=(replace(TRADE, state="unresolved"),)), told(positions=()))) == ["unresolved"]


def test_of_one_root_the_highest_revision_counts_and_a_fee_that_came_is_kept():
    later = replace(FILL, revision=2, price=1430)
    assert upserted((FILL,), later) == (later,)
    assert upserted((later,), FILL) == (later,)
    assert upserted((FILL,), replace(FILL, fee=7)) == (replace(FILL, fee=7),)
    assert upserted((replace(FILL, fee=7),), FILL) == (replace(FILL, fee=7),)


def test_two_hundred_orders_and_fifty_positions_take_a_few_milliseconds():
    trades, orders, fills, positions = [], {}, {}, []
    for k in range(50):
        contract = f"O:IWM261120C{200_000 + k:08d}"
        legs = (Leg(contract, "buy", True),)
        trade = replace(TRADE, id=f"SC-20261120-{k}", legs=legs)
        trades.append(trade)
        positions.append(Holding(contract, 2, 2))
        for seq in range(4):
            ref = f"{trade.id}-ENTRY-{seq}"
            orders[ref] = replace(DONE, ref=ref, trade_id=trade.id, legs=legs)
        fills[trade.id] = (replace(FILL, root=trade.id, ref=f"{trade.id}-ENTRY-0", contract=contract),)
    believed = books(trades=tuple(trades), orders=orders, fills=fills)
    views = tuple(replace(VIEW, ref=ref, state="filled") for ref in orders)
    snapshot = told(orders=views, positions=tuple(positions), fills=tuple(fill for own in fills.values() for fill in own))
    took = []
    for _ in range(20):
        began = time.perf_counter()
        found = compare(believed, snapshot)
        took.append(time.perf_counter() - began)
    assert found.findings == ()
    assert min(took) < 0.005
