"""The ledger's side of trades made of orders, and of assumed positions of other strategies than vwap: tables, entering, reading.

`positions` has a row for each such trade or position that is open, `orders` one for each order until a month after its trade has
ended; both are under the seal. The journal's lines of them are `begun` and `ended`, `ordered` (the intent), `order` (each change of
state) and `filled` (each execution, under its trade's id). A line's balance is that of its strategy in its mode. vwap's table and
views stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from disk.schema import Connection, Contradiction, to_json
from disk.tables import OF_VWAP
from events import (
    AnyWrite,
    BrokerTrade,
    Fill,
    FillBooked,
    Leg,
    Mills,
    Order,
    OrderChanged,
    OrderPlanned,
    Position,
    PositionClosed,
    PositionMarked,
    PositionOpened,
    PositionVoided,
    Trade,
    TradeBegun,
    TradeChanged,
    TradeEnded,
)
from pnl_tracker import held, made_of

ASSUMED = "assumed"
VWAP = ("vwap", ASSUMED)
Record = tuple[str, str]
FIXED = ("id", "strategy", "mode", "underlying", "expiration", "legs", "created_at", "fee")


class AssumedRow(Struct, frozen=True):
    """An assumed position of a strategy other than vwap; `closed` is the trade it became, `voided` why it was none."""

    strategy: str
    assumed: Position
    closed: Trade | None = None
    voided: str = ""
    mode: str = ASSUMED


class BookedFill(Struct, frozen=True):
    """An execution, and whose it is."""

    strategy: str
    mode: str
    trade_id: str
    fill: Fill


class Book(Protocol):
    """What entering needs of the ledger inside one transaction."""

    sql: Connection

    def line(self, at: float, kind: str, subject: str, body: str, booked: Mills = 0, record: Record = VWAP) -> None: ...
    def put(self, table: str, key: int | str, content: float | str | None) -> None: ...
    def lines_of(self, subject: str, *kinds: str) -> list[str]: ...


def enter(book: Book, item: AnyWrite, owner: str) -> bool:
    """Enter a write that is of this room; False: it is another's."""
    match item:
        case TradeBegun(trade):
            _begin(book, trade)
        case TradeChanged(trade):
            _same(book, trade)
            book.put("positions", trade.id, to_json(trade))
        case TradeEnded(at, trade):
            _end(book, at, trade)
        case OrderPlanned(order):
            _plan(book, order)
        case OrderChanged(at, order):
            _change(book, at, order)
        case FillBooked(at, trade_id, fill):
            _fill(book, at, trade_id, fill)
        case _ if owner in ("desk", VWAP[0]):
            return False
        case PositionOpened() | PositionMarked() | PositionClosed() | PositionVoided():
            _assume(book, item, owner)
        case _:
            return False
    return True


# --- trades made of orders ---------------------------------------------------------------------------------------------


def _begin(book: Book, trade: BrokerTrade) -> None:
    if book.lines_of(trade.id, "begun", "opened"):
        raise Contradiction(f"trade {trade.id} was begun before")
    book.line(trade.created_at, "begun", trade.id, to_json(trade), record=trade.record)
    book.put("positions", trade.id, to_json(trade))


def _open_trade(book: Book, trade_id: str) -> BrokerTrade | None:
    row = book.sql.execute("SELECT body FROM positions WHERE id = ?", (trade_id,)).fetchone()
    return msgspec.json.decode(row[0], type=BrokerTrade) if row else None


def _same(book: Book, trade: BrokerTrade) -> None:
    before = _open_trade(book, trade.id)
    if before is None:
        raise Contradiction(f"trade {trade.id} is not open")
    if fixed(before) != fixed(trade):
        raise Contradiction(f"trade {trade.id} is not as it was begun")


def _end(book: Book, at: float, trade: BrokerTrade) -> None:
    fills = standing(booked_fills(book, trade.id))
    if wrong := wrong_sum(trade, fills):
        raise Contradiction(wrong)
    earlier = book.lines_of(trade.id, "ended")
    if not earlier:
        _same(book, trade)
        book.line(at, "ended", trade.id, to_json(trade), trade.pnl or 0, trade.record)
        book.put("positions", trade.id, None)
        return
    before = msgspec.json.decode(earlier[-1], type=BrokerTrade)
    if fixed(before) != fixed(trade):
        raise Contradiction(f"trade {trade.id} is not as it was begun")
    book.line(at, "ended", trade.id, to_json(trade), (trade.pnl or 0) - (before.pnl or 0), trade.record)


def _plan(book: Book, order: Order) -> None:
    trade = _open_trade(book, order.trade_id)
    if trade is None or (trade.strategy, trade.mode) != (order.strategy, order.mode):
        raise Contradiction(f"order {order.ref} is of trade {order.trade_id}, which is not open")
    if book.lines_of(order.ref, "ordered"):
        raise Contradiction(f"order {order.ref} was planned before")
    rows = book.sql.execute("SELECT body FROM orders WHERE trade_id = ?", (order.trade_id,)).fetchall()
    flying = [other.ref for (body,) in rows if (other := msgspec.json.decode(body, type=Order)).in_flight]
    if flying and "adopted" not in trade.memo:
        raise Contradiction(f"order {order.ref} cannot be planned: {flying[0]} is in flight")
    if beyond := exceeds(order, standing(booked_fills(book, order.trade_id))):
        raise Contradiction(beyond)
    book.line(order.created_at, "ordered", order.ref, to_json(order), record=trade.record)
    book.put("orders", order.ref, to_json(order))


def _change(book: Book, at: float, order: Order) -> None:
    row = book.sql.execute("SELECT body FROM orders WHERE ref = ?", (order.ref,)).fetchone()
    if row is None:
        raise Contradiction(f"order {order.ref} was never planned")
    before = msgspec.json.decode(row[0], type=Order)
    if asked(before) != asked(order):
        raise Contradiction(f"order {order.ref} is not as it was planned")
    book.line(at, "order", order.ref, to_json(order), record=(order.strategy, order.mode))
    book.put("orders", order.ref, to_json(order))


def _fill(book: Book, at: float, trade_id: str, fill: Fill) -> None:
    begun = book.lines_of(trade_id, "begun")
    if not begun:
        raise Contradiction(f"execution {fill.root} is of trade {trade_id}, which was never begun")
    trade = msgspec.json.decode(begun[0], type=BrokerTrade)
    if fill.ref and not book.lines_of(fill.ref, "ordered"):
        raise Contradiction(f"execution {fill.root} is of order {fill.ref}, which was never planned")
    if not is_news(fill, booked_fills(book, trade_id)):
        raise Contradiction(f"execution {fill.root}, revision {fill.revision}, is booked already")
    body = to_json(BookedFill(trade.strategy, trade.mode, trade_id, fill))
    book.line(at, "filled", trade_id, body, record=trade.record)


def booked_fills(book: Book, trade_id: str) -> list[Fill]:
    return [msgspec.json.decode(body, type=BookedFill).fill for body in book.lines_of(trade_id, "filled")]


def fixed(trade: BrokerTrade) -> tuple[Any, ...]:
    return tuple(getattr(trade, name) for name in FIXED)


def asked(order: Order) -> tuple[Any, ...]:
    """What was asked of the broker, which never changes."""
    return order.strategy, order.trade_id, order.mode, order.role, order.seq, order.legs, order.units, order.limit


def is_news(fill: Fill, booked: Iterable[Fill]) -> bool:
    """Whether an execution says more than those of the same root: another revision above them, or a fee that was not known."""
    same = [other for other in booked if other.root == fill.root]
    if not same:
        return True
    last = max(same, key=lambda other: other.revision)
    fee_came = fill.revision == last.revision and fill.fee is not None and all(o.fee is None for o in same)
    return fill.revision > last.revision or fee_came


def standing(fills: Iterable[Fill]) -> list[Fill]:
    """Of each root the execution that counts: the highest revision, and of that the last that was booked."""
    kept: dict[str, Fill] = {}
    for fill in fills:
        before = kept.get(fill.root)
        if before is None or fill.revision >= before.revision:
            kept[fill.root] = fill
    return list(kept.values())


def wrong_sum(trade: BrokerTrade, fills: Iterable[Fill]) -> str | None:
    """What is wrong with the end of a trade: it holds something, or books other than its executions make."""
    fills = list(fills)
    if left := held(fills):
        return f"trade {trade.id} cannot end: it holds {left}"
    pnl, fees = made_of(fills, trade.fee)
    if (trade.pnl, trade.fees) != (pnl, fees):
        return f"trade {trade.id} books {trade.pnl} mills where its executions make {pnl}"
    return None


def exceeds(order: Order, fills: Iterable[Fill]) -> str | None:
    """Why an exit is more than what is held; None where it is not, or where it is no exit."""
    in_hand = held(fills)
    for leg in order.legs:
        if not leg.opens and not covered(leg, order.units, in_hand.get(leg.contract, 0)):
            return f"order {order.ref} closes {leg.ratio * order.units} {leg.contract}, and {in_hand.get(leg.contract, 0)} are held"
    return None


def covered(leg: Leg, units: int, quantity: int) -> bool:
    sign = 1 if leg.side == "sell" else -1
    return sign * quantity >= leg.ratio * units


# --- assumed positions of other strategies -----------------------------------------------------------------------------


def _assume(book: Book, item: PositionOpened | PositionMarked | PositionClosed | PositionVoided, owner: str) -> None:
    record = (owner, ASSUMED)
    match item:
        case PositionOpened(position):
            if book.lines_of(position.id, "begun", "opened"):
                raise Contradiction(f"position {position.id} was opened before")
            body = to_json(AssumedRow(owner, position))
            book.line(position.opened_at, "begun", position.id, body, record=record)
            book.put("positions", position.id, body)
        case PositionMarked(position):
            _assumed(book, position.id, owner)
            book.put("positions", position.id, to_json(AssumedRow(owner, position)))
        case PositionVoided(position, voided_at, reason):
            row = _assumed(book, position.id, owner)
            body = to_json(AssumedRow(owner, row.assumed, voided=reason or "voided"))
            book.line(voided_at, "ended", position.id, body, record=record)
            book.put("positions", position.id, None)
        case PositionClosed(trade):
            earlier = book.lines_of(trade.id, "ended")
            if earlier:
                before = msgspec.json.decode(earlier[-1], type=AssumedRow)
                if before.closed is None or before.closed.pnl is not None or trade.pnl is None or before.strategy != owner:
                    raise Contradiction(f"trade {trade.id} is closed: it is never changed")
                row = before
            else:
                row = _assumed(book, trade.id, owner)
                book.put("positions", trade.id, None)
            body = to_json(AssumedRow(owner, row.assumed, closed=trade))
            book.line(trade.closed_at, "ended", trade.id, body, trade.pnl or 0, record)


def _assumed(book: Book, position_id: str, owner: str) -> AssumedRow:
    row = book.sql.execute("SELECT body FROM positions WHERE id = ? AND strategy = ?", (position_id, owner)).fetchone()
    if row is None:
        raise Contradiction(f"position {position_id} of {owner} is not open")
    return msgspec.json.decode(row[0], type=AssumedRow)


# --- balances ----------------------------------------------------------------------------------------------------------


def balance_of(connection: Connection, record: Record) -> Mills:
    """The last balance of one strategy in one mode."""
    if record == VWAP:
        found = connection.execute(f"SELECT balance FROM journal WHERE {OF_VWAP} ORDER BY seq DESC LIMIT 1").fetchone()  # noqa: S608
    else:
        found = connection.execute(
            "SELECT balance FROM journal WHERE kind = 'ended' AND json_extract(body, '$.strategy') = ?"
            " AND json_extract(body, '$.mode') = ? ORDER BY seq DESC LIMIT 1",
            record,
        ).fetchone()
    return found[0] if found else 0


def record_of(book: Book, trade_id: str) -> Record:
    """Whose record a trade belongs to, by its id."""
    begun = book.lines_of(trade_id, "begun")
    if not begun:
        return VWAP
    whose = msgspec.json.decode(begun[0])
    return whose["strategy"], whose["mode"]


# --- reading -----------------------------------------------------------------------------------------------------------


def load(connection: Connection, since: float) -> dict[str, Any]:
    """The parts of Remembered that are of this room; executions and ended orders are those of open trades and since a moment."""
    assumed, trades = [], []
    for (body,) in connection.execute("SELECT body FROM positions ORDER BY rowid").fetchall():
        if "assumed" in msgspec.json.decode(body):
            row = msgspec.json.decode(body, type=AssumedRow)
            assumed.append((row.strategy, row.assumed))
        else:
            trades.append(msgspec.json.decode(body, type=BrokerTrade))
    ended: dict[str, BrokerTrade] = {}
    for subject, body in connection.execute(
        "SELECT subject, body FROM journal WHERE kind = 'ended' ORDER BY seq"
    ).fetchall():
        if "assumed" not in msgspec.json.decode(body):
            ended[subject] = msgspec.json.decode(body, type=BrokerTrade)
    wanted = {trade.id for trade in trades} | {key for key, trade in ended.items() if (trade.closed_at or 0.0) >= since}
    rows = connection.execute("SELECT body FROM orders ORDER BY rowid").fetchall()
    orders = [msgspec.json.decode(body, type=Order) for (body,) in rows]
    fills: list[tuple[str, Fill]] = []
    for trade_id in sorted(wanted):
        booked_lines = "SELECT body FROM journal WHERE subject = ? AND kind = 'filled' ORDER BY seq"
        rows = connection.execute(booked_lines, (trade_id,)).fetchall()
        booked = (msgspec.json.decode(body, type=BookedFill).fill for (body,) in rows)
        fills += [(trade_id, fill) for fill in standing(booked)]
    return {
        "assumed": tuple(assumed),
        "broker_trades": tuple(trades),
        "broker_ended": tuple(ended.values()),
        "orders": tuple(order for order in orders if order.trade_id in wanted),
        "fills": tuple(fills),
    }


def old_orders(connection: Connection, before: float) -> list[str]:
    """The refs of orders whose trade ended before a moment."""
    found = connection.execute(
        "SELECT ref FROM orders WHERE trade_id IN"
        " (SELECT subject FROM journal WHERE kind = 'ended' GROUP BY subject HAVING max(at) < ?)",
        (before,),
    ).fetchall()
    return [ref for (ref,) in found]
