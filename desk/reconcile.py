"""Where a broker's account and the books differ: one pure function of both, and nothing is done here.

Executions first, then orders, then positions. An incomplete snapshot concludes nothing; a missing report is not a flat position, and
one snapshot alone proves no absence: what is lacking must be lacking in two complete ones, some seconds apart, with the link up
throughout. What is not ours is shown and never touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from events import (
    BrokerAccount,
    BrokerTrade,
    Fill,
    Finding,
    Holding,
    Mode,
    Order,
    OrderView,
    SnapshotTaken,
)
from pnl_tracker import held

OURS = re.compile(
    r"(?P<trade>(?P<prefix>[A-Z]{2})-(?P<date>\d{8})-(?P<number>\d{1,6}))-(?P<role>[A-Z0-9]{2,10})-(?P<seq>\d{1,6})"
)
YOUNG_S = 10.0
Fills = Mapping[str, tuple[Fill, ...]]  # by trade


class Believed(Struct, frozen=True):
    """What the books say of one account: its open trades, their orders and executions. `prefixes` begin the ids of our trades.

    `foreign` are executions that are explained already, by their root.
    """

    mode: Mode
    trades: tuple[BrokerTrade, ...]
    orders: dict[str, Order]
    fills: dict[str, tuple[Fill, ...]]
    account: BrokerAccount
    prefixes: tuple[str, ...]
    apart_s: float


class Difference(Struct, frozen=True):
    """What comparing showed.

    `apply` are executions of ours that the books lack, by trade; `elsewhere` those without our ref that explain what is not held any
    more. `seen` are our orders as the broker tells them, `gone` refs that are certainly not there, `orphans` orders of our form that
    nobody wrote down. `lost` are trades that hold less than their fills say, without any execution that explains it.
    """

    findings: tuple[Finding, ...] = ()
    apply: tuple[tuple[str, Fill], ...] = ()
    elsewhere: tuple[tuple[str, Fill], ...] = ()
    seen: tuple[OrderView, ...] = ()
    gone: tuple[str, ...] = ()
    orphans: tuple[OrderView, ...] = ()
    lost: tuple[str, ...] = ()
    missed: dict[str, float] = {}
    short: dict[str, float] = {}


def compare(books: Believed, snapshot: SnapshotTaken) -> Difference:
    """What differs between the books and a snapshot of the same account."""
    account = books.account
    if not snapshot.complete:
        why = Finding("incomplete", books.mode, "snapshot", snapshot.reason or "not all was told", since=snapshot.as_of)
        kept = tuple(finding for finding in account.findings if finding.kind != "incomplete")
        return Difference((*kept, why), missed=account.missed, short=account.short)
    apply, drift = missed_fills(books, snapshot.fills)
    fills = {**books.fills}
    for trade_id, fill in apply:
        fills[trade_id] = upserted(fills.get(trade_id, ()), fill)
    seen, gone, missed, orphans = compare_orders(books, snapshot)
    short, elsewhere, lost, differing = compare_positions(books, fills, snapshot)
    findings = [
        *account_findings(books, snapshot),
        *(
            Finding("fill missed", books.mode, fill.ref, f"{told(fill)} was not in the books", trade_id=trade_id)
            for trade_id, fill in apply
        ),
        *drift,
        *(Finding("order gone", books.mode, ref, f"{ref} is not among the broker's orders") for ref in missed),
        *(
            Finding("orphan", books.mode, view.ref, f"{view.ref} is ours by its form, and nobody wrote it down")
            for view in orphans
        ),
        *differing,
        *trade_findings(books, fills, snapshot.as_of),
    ]
    return Difference(tuple(findings), apply, elsewhere, seen, gone, orphans, lost, missed, short)


def upserted(fills: Iterable[Fill], fill: Fill) -> tuple[Fill, ...]:
    """Executions with one more; of the same root the highest revision stands, and a fee that became known is kept."""
    kept = []
    for other in fills:
        if other.root == fill.root:
            older = fill.revision < other.revision
            same = fill.revision == other.revision and not (other.fee is None and fill.fee is not None)
            if older or same:
                return tuple(fills)
        else:
            kept.append(other)
    return (*kept, fill)


def missed_fills(books: Believed, told_fills: Iterable[Fill]) -> tuple[tuple[tuple[str, Fill], ...], list[Finding]]:
    """Executions with a ref of ours that are news; and those that contradict one of the same revision."""
    apply, drift = [], []
    for fill in told_fills:
        order = books.orders.get(fill.ref)
        if order is None:
            continue
        ours = books.fills.get(order.trade_id, ())
        if upserted(ours, fill) != tuple(ours):
            apply.append((order.trade_id, fill))
        for other in ours:
            same = other.root == fill.root and other.revision == fill.revision
            if same and (other.price, other.quantity, other.side) != (fill.price, fill.quantity, fill.side):
                drift.append(
                    Finding("drift", books.mode, fill.root, f"the books have {told(other)}, the broker {told(fill)}")
                )
    return tuple(apply), drift


def compare_orders(
    books: Believed, snapshot: SnapshotTaken
) -> tuple[tuple[OrderView, ...], tuple[str, ...], dict[str, float], tuple[OrderView, ...]]:
    """Our orders as the broker tells them; those that are certainly gone; since when others are lacking; and the orphans."""
    views = {view.ref: view for view in snapshot.orders if view.ref}
    filled = {fill.ref for fill in snapshot.fills}
    seen, gone, missed = [], [], {}
    for ref, order in books.orders.items():
        if ref in views:
            seen.append(views[ref])
        elif order.in_flight and not order.has_ended and order.state != "planned" and ref not in filled:
            since = books.account.missed.get(ref)
            if since is None:
                if snapshot.as_of >= (order.sent_at or order.created_at):
                    missed[ref] = snapshot.as_of
            elif snapshot.as_of - since >= books.apart_s:
                gone.append(ref)
            else:
                missed[ref] = since
    live = (view for view in views.values() if view.ref not in books.orders and is_ours(view.ref, books.prefixes))
    orphans = tuple(view for view in live if view.state in ("working", "cancelling") or view.filled)
    return tuple(seen), tuple(gone), missed, orphans


def compare_positions(
    books: Believed, fills: Fills, snapshot: SnapshotTaken
) -> tuple[dict[str, float], tuple[tuple[str, Fill], ...], tuple[str, ...], list[Finding]]:
    """Contract by contract: what is held beyond our fills is another's; what lacks is explained, or its trade is lost."""
    reported = {holding.contract: holding for holding in snapshot.positions}
    by_trade = {
        trade.id: held(fills.get(trade.id, ()))
        for trade in books.trades
        if snapshot.as_of < trade.session_close_at and trade.state != "unresolved"
    }
    unheld = {contract for trade in books.trades if trade.id not in by_trade for contract in held(fills.get(trade.id, ()))}
    believed: dict[str, int] = {}
    for quantities in by_trade.values():
        for contract, quantity in quantities.items():
            believed[contract] = believed.get(contract, 0) + quantity
    moving = {leg.contract for order in books.orders.values() if order.in_flight for leg in order.legs}
    young = {fill.contract for own in fills.values() for fill in own if fill.at > snapshot.as_of - YOUNG_S}
    short: dict[str, float] = {}
    elsewhere: list[tuple[str, Fill]] = []
    lost: list[str] = []
    findings: list[Finding] = []
    for contract in sorted({*reported, *believed}):
        ours = believed.get(contract, 0)
        theirs = reported[contract].quantity if contract in reported else 0
        if theirs == ours or contract in young or (contract in unheld and not ours):
            continue
        lacking = missing_of(ours, theirs)
        if not lacking:
            if contract in moving:
                continue  # an execution is on its way: it is asked for until its order's end is proven
            what = f"{contract}: {theirs - ours:+d} that no order of ours has bought or sold"
            findings.append(Finding("extra", books.mode, contract, what, ours=ours, theirs=theirs))
            continue
        since = books.account.short.get(contract)
        what = f"{contract}: our executions make {ours:+d}, the broker reports {theirs:+d}"
        if since is None or snapshot.as_of - since < books.apart_s:
            short[contract] = snapshot.as_of if since is None else since
            findings.append(
                Finding("shortfall", books.mode, contract, f"{what}; it is asked again", ours=ours, theirs=theirs)
            )
            continue
        explained = explaining(contract, lacking, books, fills, snapshot.fills)
        for trade_id in owners(by_trade, contract, lacking):
            if explained:
                elsewhere += [(trade_id, fill) for fill in explained]
                break
            lost.append(trade_id)
            findings.append(Finding("shortfall", books.mode, contract, what, trade_id, ours, theirs, snapshot.as_of))
    return short, tuple(elsewhere), tuple(dict.fromkeys(lost)), findings


def missing_of(ours: int, theirs: int) -> int:
    """How much of what we hold is not reported, with our sign; a position of the other sign reports none of it."""
    there = max(min(theirs, ours), 0) if ours > 0 else min(max(theirs, ours), 0)
    return ours - there


def owners(by_trade: Mapping[str, Mapping[str, int]], contract: str, lacking: int) -> list[str]:
    """The trades of which something is lacking, the youngest first."""
    found, left = [], abs(lacking)
    for trade_id, quantities in reversed(list(by_trade.items())):
        quantity = quantities.get(contract, 0)
        if left > 0 and quantity * lacking > 0:
            found.append(trade_id)
            left -= abs(quantity)
    return found


def explaining(contract: str, lacking: int, books: Believed, fills: Fills, told_fills: Iterable[Fill]) -> list[Fill]:
    """Executions without a ref of ours that account for all that is lacking of a contract; none if they do not."""
    booked = {fill.root for own in fills.values() for fill in own}
    side = "sell" if lacking > 0 else "buy"
    others = [
        fill
        for fill in told_fills
        if fill.contract == contract and fill.side == side and fill.ref not in books.orders and fill.root not in booked
    ]
    return others if sum(fill.quantity for fill in others) == abs(lacking) else []


def trade_findings(books: Believed, fills: Fills, as_of: float) -> list[Finding]:
    """What stands of single trades: legs that are not held alike, an expiry that has passed, what was never explained."""
    findings = []
    for trade in books.trades:
        in_hand = held(fills.get(trade.id, ()))
        if trade.state == "unresolved":
            findings.append(Finding("unresolved", books.mode, trade.id, trade.detail or "not explained", trade.id))
        elif in_hand and as_of >= trade.session_close_at:
            findings.append(Finding("expired", books.mode, trade.id, f"{trade.id} outlived its session", trade.id))
        elif in_hand and not is_even(trade, in_hand):
            legs = ", ".join(f"{contract} {quantity:+d}" for contract, quantity in sorted(in_hand.items()))
            quiet = max(fill.at for fill in fills[trade.id])
            if as_of - quiet >= YOUNG_S:
                findings.append(Finding("imbalance", books.mode, trade.id, f"the legs are not held alike: {legs}", trade.id))
    return findings


def is_even(trade: BrokerTrade, in_hand: Mapping[str, int]) -> bool:
    """Whether all legs are held in the same number of units."""
    return len({abs(in_hand.get(leg.contract, 0)) / leg.ratio for leg in trade.legs}) <= 1


def account_findings(books: Believed, snapshot: SnapshotTaken) -> list[Finding]:
    """What is wrong with the account itself: another one than before, of the other kind of money, or blocked."""
    view, before = snapshot.account, books.account.view
    if view is None:
        return [Finding("account", books.mode, "account", "the broker does not say which account it is")]
    findings = []
    if view.is_paper == books.mode.endswith("-live"):
        kind = "a paper account" if view.is_paper else "a live account"
        findings.append(Finding("account", books.mode, "account", f"{kind} answers in mode {books.mode}"))
    if before is not None and before.number != view.number:
        text = f"account {masked(view.number)} answers, and {masked(before.number)} did before"
        findings.append(Finding("account", books.mode, "account", text))
    findings += [Finding("account", books.mode, "account", f"the account is blocked: {block}") for block in view.blocks]
    return findings


def is_ours(ref: str, prefixes: Iterable[str]) -> bool:
    """Whether a ref has the form that we give, with a prefix of one of our strategies."""
    found = OURS.fullmatch(ref)
    return found is not None and found["prefix"] in prefixes


def told(fill: Fill) -> str:
    return f"{fill.side} {fill.quantity} {fill.contract} at {fill.price} mills ({fill.ref or 'no ref'})"


def masked(number: str) -> str:
    """An account's number, of which only the end is shown."""
    return f"…{number[-3:]}"


def reported(account: BrokerAccount, contract: str) -> Holding:
    """What the broker says is held of a contract; nothing where it says nothing."""
    return account.holdings.get(contract, Holding(contract, 0, 0))
