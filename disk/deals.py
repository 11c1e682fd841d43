"""The journal read as the story of trades made of orders: every order after its intent, every P&L made of its executions."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from disk.orders import (
    VWAP,
    AssumedRow,
    BookedFill,
    Record,
    asked,
    exceeds,
    fixed,
    is_news,
    standing,
    wrong_sum,
)
from disk.schema import Line
from events import BrokerTrade, Fill, Mills, Order, Outgoing
from utils import SHARES


class Deals:
    """What the journal tells of them: which were begun and ended, their orders as they are now, and their executions."""

    def __init__(self) -> None:
        self.begun: dict[str, BrokerTrade | AssumedRow] = {}
        self.ended: dict[str, BrokerTrade | AssumedRow] = {}
        self.planned: dict[str, Order] = {}
        self.orders: dict[str, Order] = {}
        self.fills: dict[str, list[Fill]] = {}

    def record_of(self, line: Line) -> Record:
        """Whose record a line belongs to. What is not about a trade of another is in vwap's."""
        trade_id = line.subject
        if not self.begun:
            return VWAP
        match line.kind:
            case "begun" | "ended" | "filled":
                pass
            case "ordered" | "order":
                order = self.planned.get(line.subject)
                trade_id = "" if order is None else order.trade_id
            case "alert":
                trade_id = msgspec.json.decode(line.body, type=Outgoing).alert.trade_id or ""
            case _:
                return VWAP
        begun = self.begun.get(trade_id)
        return VWAP if begun is None else (begun.strategy, begun.mode)

    def totals(self) -> dict[Record, Mills]:
        """What the trades of each record make."""
        sums: dict[Record, Mills] = {}
        for trade in self.ended.values():
            record = trade.strategy, trade.mode
            pnl = (trade.closed.pnl if trade.closed else 0) if isinstance(trade, AssumedRow) else trade.pnl
            sums[record] = sums.get(record, 0) + (pnl or 0)
        return sums

    def read(self, line: Line) -> str | None:
        """One line of them; what is wrong with it."""
        if line.kind != "ended" and line.booked:
            return "books a P&L, which it must not"
        match line.kind:
            case "begun":
                return self._begun(line)
            case "ordered":
                return self._ordered(msgspec.json.decode(line.body, type=Order), line)
            case "order":
                return self._changed(msgspec.json.decode(line.body, type=Order))
            case "filled":
                return self._filled(msgspec.json.decode(line.body, type=BookedFill), line)
        return self._ended(line)

    def _begun(self, line: Line) -> str | None:
        told = read_trade(line.body)
        name = told.assumed.id if isinstance(told, AssumedRow) else told.id
        problem = "begun twice, or under another name" if line.subject in self.begun or name != line.subject else None
        self.begun[line.subject] = told
        return problem

    def _ordered(self, order: Order, line: Line) -> str | None:
        trade = self.begun.get(order.trade_id)
        if order.ref in self.planned or order.ref != line.subject:
            return "was planned twice, or under another name"
        flying = [other.ref for other in self.orders.values() if other.trade_id == order.trade_id and other.in_flight]
        self.planned[order.ref] = self.orders[order.ref] = order
        if not isinstance(trade, BrokerTrade) or order.trade_id in self.ended:
            return f"is of trade {order.trade_id}, which is not open"
        if flying and "adopted" not in trade.memo:
            return f"was planned while {flying[0]} was in flight"
        return exceeds(order, standing(self.fills.get(order.trade_id, ())))

    def _changed(self, order: Order) -> str | None:
        planned = self.planned.get(order.ref)
        if planned is None:
            return "has no intent before it"
        self.orders[order.ref] = order
        return None if asked(planned) == asked(order) else "is not as it was planned"

    def _filled(self, told: BookedFill, line: Line) -> str | None:
        fills = self.fills.setdefault(told.trade_id, [])
        news = is_news(told.fill, fills)
        fills.append(told.fill)
        if told.trade_id not in self.begun or told.trade_id != line.subject:
            return f"is of trade {told.trade_id}, which was never begun"
        if told.fill.ref and told.fill.ref not in self.planned:
            return f"is of order {told.fill.ref}, which has no intent before it"
        return None if news else "was booked before"

    def _ended(self, line: Line) -> str | None:
        trade, start, before = read_trade(line.body), self.begun.get(line.subject), self.ended.get(line.subject)
        self.ended[line.subject] = trade
        if isinstance(trade, AssumedRow):
            return _assumed_problem(trade, start, before, line)
        if not isinstance(start, BrokerTrade) or fixed(start) != fixed(trade):
            return "is not as it was begun"
        booked = (before.pnl or 0) if isinstance(before, BrokerTrade) else 0
        if line.booked != (trade.pnl or 0) - booked:
            return f"books {line.booked} mills where the trade says {trade.pnl}"
        return wrong_sum(trade, standing(self.fills.get(line.subject, ())))

    def problems_of(self, rows: Mapping[str, str], kept: Mapping[str, str]) -> list[str]:
        """What the tables `positions` and `orders` say otherwise than the journal."""
        problems = []
        for trade_id, start in self.begun.items():
            if trade_id not in rows:
                if trade_id not in self.ended:
                    problems.append(f"trade {trade_id} was begun and never ended, and its row is gone")
                continue
            row = read_trade(rows[trade_id])
            if trade_id in self.ended:
                problems.append(f"trade {trade_id} has ended, and its row says that it is open")
            elif isinstance(start, BrokerTrade) and (not isinstance(row, BrokerTrade) or fixed(row) != fixed(start)):
                problems.append(f"trade {trade_id} is not as it was begun")
        problems += [
            f"trade {trade_id} is open, and the journal does not say so" for trade_id in rows if trade_id not in self.begun
        ]
        for ref, body in kept.items():
            if ref not in self.orders or msgspec.json.decode(body, type=Order) != self.orders[ref]:
                problems.append(f"order {ref} is not as the journal tells it")
        lost = (ref for ref, order in self.orders.items() if ref not in kept and order.trade_id not in self.ended)
        return problems + [f"order {ref} is of an open trade, and its row is gone" for ref in lost]


def _assumed_problem(
    trade: AssumedRow, start: BrokerTrade | AssumedRow | None, before: BrokerTrade | AssumedRow | None, line: Line
) -> str | None:
    closed = trade.closed
    if not isinstance(start, AssumedRow) or start.strategy != trade.strategy or start.assumed.entry != trade.assumed.entry:
        return "is not as it was opened"
    if before is not None and (not isinstance(before, AssumedRow) or before.closed is None or before.closed.pnl is not None):
        return "was not unresolved"
    if closed is None:
        return None if line.booked == 0 else "books a P&L, which it must not"
    expected = None if closed.exit is None else (closed.exit - closed.entry) * SHARES - closed.fees
    if closed.pnl != expected or line.booked != (closed.pnl or 0):
        return f"books {line.booked} mills where its prices make {expected}"
    return None


def read_trade(body: str) -> BrokerTrade | AssumedRow:
    if "assumed" in msgspec.json.decode(body):
        return msgspec.json.decode(body, type=AssumedRow)
    return msgspec.json.decode(body, type=BrokerTrade)
