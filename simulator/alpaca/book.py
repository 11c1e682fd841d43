"""The venue's book: orders and their lives, positions, cash, fills. It changes here and nowhere else.

Rules: whoever calls holds the venue's lock and passes the time. What happens is told through `tell`, in order, with the order as it
then was. An order that was taken is `pending_new` until the next match; cancels and replacements take effect there too, as at Alpaca,
where the answer to either proves nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from simulator.alpaca import rules
from simulator.alpaca.faults import Faults
from simulator.alpaca.matching import Matching
from simulator.alpaca.orders import Draft, Fill, Leg, Moment, Order, Position, Refused, draft, forbidden, invalid, on_tick
from simulator.alpaca.quotes import Contract, Quotes
from utils import Session, SessionCalendar, new_york

SHARES = rules.SHARES
OTHER_ACCOUNT = "PA3OTHER0001"


class Event(NamedTuple):
    """What happened to an order: the event's name, when, and of a fill its execution, net price and units."""

    name: str
    order: Order
    at_us: int
    fill: Fill | None = None
    price: Decimal | None = None
    qty: int | None = None
    previous: str | None = None


class Book:
    """Everything one account has at the venue."""

    def __init__(
        self,
        quotes: Quotes,
        calendar: SessionCalendar,
        faults: Faults,
        tell: Callable[[Event], None],
        *,
        seed: int,
        account: rules.Account,
    ) -> None:
        self.quotes, self.calendar, self.faults, self.tell, self.account = quotes, calendar, faults, tell, account
        self.orders: dict[str, Order] = {}
        self.positions: dict[str, Position] = {}
        self.fills: list[Fill] = []
        self.refused: list[tuple[int, str, str]] = []  # when, client order id, words
        self.opening_equity = account.cash
        self._ids = random.Random(seed)
        self._last_us = 0
        self._matching = Matching(self)

    # --- asking --------------------------------------------------------------------------------------------------------

    def by_ref(self, ref: str) -> Order | None:
        """The order under a client order id; one that was replaced keeps its own."""
        return next((order for order in self.orders.values() if order.ref == ref), None)

    def order(self, order_id: str) -> Order:
        """The order of an id, its own or a leg's. Refused if there is none."""
        found = self.orders.get(order_id)
        if found is None:
            found = next((o for o in self.orders.values() if any(leg.id == order_id for leg in o.legs)), None)
        if found is None:
            raise Refused(404, 40410000, f"order not found for {order_id}")
        return found

    @property
    def working(self) -> list[Order]:
        return [order for order in self.orders.values() if order.is_open]

    @property
    def standing(self) -> rules.Account:
        """The account as the faults that are on let it be."""
        account, on = self.account, self.faults
        return replace(
            account,
            number=OTHER_ACCOUNT if "other-account" in on else account.number,
            level=min(account.level, 1) if "level-1" in on else account.level,
            trading_blocked=account.trading_blocked or "block-trading" in on,
            account_blocked=account.account_blocked or "block-account" in on,
            suspended=account.suspended or "suspend-by-user" in on,
        )

    def session(self, now: float) -> Session | None:
        return self.calendar.at(now)

    def buying_power(self) -> Decimal:
        """Cash less what positions could cost and working orders may."""
        needed = rules.requirement(rules.holdings(self.positions.values(), self.orders.values()))
        return self.account.cash - needed - rules.promised(self.orders.values(), self.quotes)

    def worth(self, position: Position) -> Decimal:
        """Dollars at the middle of the quote, at its cost without one."""
        quote = self.quotes.quote(position.contract.symbol)
        return (position.average if quote is None else quote.mid) * position.qty * SHARES

    def equity(self) -> Decimal:
        return self.account.cash + sum(map(self.worth, self.positions.values()), rules.NOTHING)

    # --- doing ---------------------------------------------------------------------------------------------------------

    def place(self, body: Any, now: float) -> Order:
        """Take an order, `pending_new`. Refused with the venue's reason, and nothing has changed."""
        try:
            asked = draft(body)
            order = self._allowed(asked, now)
        except Refused as refused:
            ref = body.get("client_order_id") if isinstance(body, dict) else None
            self.refused.append((self.at_us(now), str(ref or ""), str(refused)))
            raise
        if self.faults.take("reject-later"):
            order.fate = "reject"
        self._enter(order)
        return order

    def _allowed(self, asked: Draft, now: float) -> Order:
        if asked.ref is not None and self.by_ref(asked.ref) is not None:
            raise Refused(422, 40010001, "client_order_id must be unique")
        rules.may_trade(self.standing, asked.is_mleg)
        rules.in_time(asked, self.session(now), new_york(now).date(), now, self.quotes)
        for price in (asked.limit, asked.stop):
            if price is not None:
                on_tick(asked.legs[0][0], price)
        intents = [intent or self._inferred(contract, side) for contract, side, intent, _ in asked.legs]
        rules.can_close(asked, intents, self.positions, self.orders.values())
        rules.no_wash(asked, self.orders.values())
        order = self._made(asked, intents, "client", now)
        if not all(leg.closes for leg in order.legs):
            self._payable(order)
        return order

    def _inferred(self, contract: Contract, side: str | None) -> str:
        position = self.positions.get(contract.symbol)
        against = position is not None and (position.qty < 0 if side == "buy" else position.qty > 0)
        return f"{side}_to_{'close' if against else 'open'}"

    def _payable(self, order: Order) -> None:
        others = list(self.orders.values())
        needed = rules.requirement(rules.holdings(self.positions.values(), [*others, order]))
        spent = rules.promised([*others, order], self.quotes)
        if self.account.cash - needed - spent < 0:
            available = max(self.buying_power(), rules.NOTHING)
            raise forbidden("insufficient options buying power", options_buying_power=str(available))

    def cancel(self, order: Order, now: float) -> None:
        """Ask for the end of an order; it comes with the next match, or does not. Refused if it has ended."""
        if not order.is_open or order.status in ("pending_cancel", "pending_replace"):
            raise invalid(f'order is already in "{order.status}" state')
        for name, fate in (("cancel-stuck", "stuck"), ("fill-in-cancel", "fill"), ("partial-in-cancel", "one")):
            if name in self.faults and (name == "cancel-stuck" or self.faults.take(name)):
                order.fate = fate
                break
        self.step(order, "pending_cancel", now)

    def replace(self, old: Order, body: Any, now: float) -> Order:
        """Take a new order in place of an old one. Refused for what has ended or is changing, and for every close."""
        if old.status not in ("new", "partially_filled"):
            raise invalid(f'cannot replace order in "{old.status}" state')
        changes = body if isinstance(body, dict) else {}
        leg = old.legs[0]
        if any(each.closes for each in old.legs):
            raise forbidden(f"insufficient qty available for order (requested: {old.remaining}, available: 0)")
        asked = draft(
            {
                "symbol": leg.contract.symbol, "side": leg.side, "position_intent": leg.intent, "type": old.kind,
                "legs": [
                    {"symbol": x.contract.symbol, "side": x.side, "position_intent": x.intent, "ratio_qty": x.ratio}
                    for x in old.legs
                ],
                "order_class": "mleg" if old.is_mleg else "simple", "qty": changes.get("qty") or old.remaining,
                "time_in_force": changes.get("time_in_force") or old.tif, "client_order_id": changes.get("client_order_id"),
                "limit_price": changes.get("limit_price") or old.limit, "stop_price": changes.get("stop_price") or old.stop,
            }
        )  # fmt: skip
        if asked.ref is not None and self.by_ref(asked.ref) is not None:
            raise Refused(422, 40010001, "client_order_id must be unique")
        if asked.limit is not None:
            on_tick(leg.contract, asked.limit)
        new = self._made(asked, [x.intent for x in old.legs], "client", now)
        new.replaces = old.id
        new.fate = "refuse" if self.faults.take("replace-refused") else ""
        self._enter(new)
        self.step(old, "pending_replace", now)
        return new

    def match(self, now: float) -> None:
        """Let everything happen that is due by now."""
        self._matching.run(now)

    # --- changing ------------------------------------------------------------------------------------------------------

    def at_us(self, now: float) -> int:
        """A stamp later than every one before it."""
        self._last_us = max(int(now * 1_000_000), self._last_us + 1)
        return self._last_us

    def new_id(self) -> str:
        return str(UUID(int=self._ids.getrandbits(128), version=4))

    def step(self, order: Order, status: str, now: float, event: str | None = None) -> None:
        """Put an order into a state, and tell it where `event` names it."""
        at_us = self.at_us(now)
        order.status = status
        order.stamps["updated"] = at_us
        if name := {"canceled": "canceled", "expired": "expired", "rejected": "failed", "replaced": "replaced"}.get(status):
            order.stamps[name] = at_us
        order.life.append(Moment(at_us, status, order.filled))
        if event is not None:
            self.tell(Event(event, order, at_us))

    def fill(self, order: Order, units: int, prices: list[Decimal], now: float) -> None:
        """Book so many units at a price a leg, and tell it."""
        at_us = self.at_us(now)
        net = rules.NOTHING
        fills = []
        for leg, price in zip(order.legs, prices, strict=True):
            qty = units * leg.ratio
            net += price * leg.ratio * (leg.sign if order.is_mleg else 1)
            leg.filled += qty
            leg.paid += price * qty
            fills.append(Fill(self.new_id(), at_us, order, leg, qty, price, leg.filled))
            self.move(leg.contract, leg.sign * qty, price)
        self.fills += fills
        order.filled += units
        order.paid += net * units
        order.stamps["updated"] = at_us
        if whole := order.filled == order.qty:
            order.stamps["filled"] = at_us
        if order.status != "pending_cancel" or whole:
            order.status = "filled" if whole else "partially_filled"
        order.life.append(Moment(at_us, order.status, order.filled))
        self.tell(Event("fill" if whole else "partial_fill", order, at_us, fills[0], net, units))

    def move(self, contract: Contract, signed: int, price: Decimal) -> None:
        """Contracts come (positive) or go at a price; cash goes the other way."""
        self.account.cash -= price * signed * SHARES
        position = self.positions.get(contract.symbol)
        if position is None:
            self.positions[contract.symbol] = Position(contract, signed, price)
            return
        before, position.qty = position.qty, position.qty + signed
        if position.qty == 0:
            del self.positions[contract.symbol]
        elif before * signed > 0:
            position.average = (position.average * abs(before) + price * abs(signed)) / abs(position.qty)
        elif before * position.qty < 0:
            position.average = price

    def _enter(self, order: Order) -> None:
        self.orders[order.id] = order
        order.life.append(Moment(order.submitted_us, order.status, 0))
        self.tell(Event("pending_new", order, order.submitted_us))

    def _made(self, asked: Draft, intents: list[str], owner: str, now: float) -> Order:
        session = self.session(now)
        is_open = session is not None and session.open_at <= now < session.close_at
        order_id = self.new_id()
        legs = []
        for (contract, side, _, ratio), intent in zip(asked.legs, intents, strict=True):
            leg_id, leg_ref = (self.new_id(), self.new_id()) if asked.is_mleg else (order_id, asked.ref or "")
            legs.append(Leg(leg_id, leg_ref, contract, str(side), intent, ratio))
        return Order(
            order_id, asked.ref or self.new_id(), legs, asked.qty, asked.kind, asked.tif, asked.limit, asked.stop, asked.is_mleg,
            owner, self.at_us(now), status="pending_new" if is_open else "accepted",
        )  # fmt: skip

    # --- what others do ------------------------------------------------------------------------------------------------

    def foreign_fill(self, symbol: str, qty: int, side: str, now: float, owner: str = "foreign") -> Order:
        """An order of somebody else's, filled at once at the quote, or for a cent without one."""
        quote = self.quotes.quote(symbol)
        ask, bid = (Decimal("0.01"), rules.NOTHING) if quote is None else (quote.ask, quote.bid)
        asked = draft({"symbol": symbol, "side": side, "qty": qty, "type": "market", "time_in_force": "day"})
        order = self._made(asked, [self._inferred(asked.legs[0][0], side)], owner, now)
        order.status = "new"
        self._enter(order)
        self.fill(order, qty, [ask if side == "buy" else bid], now)
        return order

    def foreign_position(self, symbol: str, qty: int) -> None:
        """Contracts that no order brought and nobody paid for."""
        contract = Contract.of(symbol)
        if contract is None:
            raise ValueError(f"{symbol} is no option's symbol")
        quote, cash = self.quotes.quote(symbol), self.account.cash
        self.move(contract, qty, rules.NOTHING if quote is None else quote.mid)
        self.account.cash = cash

    def gone(self, symbol: str) -> None:
        """A position that is there no more, and no fill tells of it."""
        if self.positions.pop(symbol, None) is None:
            raise ValueError(f"{symbol} is not held")

    def bust(self, now: float) -> Fill:
        """Undo the last fill. ValueError if there is none."""
        fill = self._last_fill()
        self.fills.remove(fill)
        self._amend(fill, -fill.qty, fill.price)
        self.tell(Event("trade_bust", fill.order, self.at_us(now), fill, fill.price, fill.qty, fill.execution_id))
        return fill

    def correct(self, now: float) -> Fill:
        """The last fill was a cent dearer a share; its row among the activities stays, with a new execution id."""
        fill = self._last_fill()
        previous, cent = fill.execution_id, Decimal("0.01")
        self._amend(fill, -fill.qty, fill.price)
        fill.price += cent
        fill.execution_id = self.new_id()
        self._amend(fill, fill.qty, fill.price)
        self.tell(Event("trade_correct", fill.order, self.at_us(now), fill, fill.price, fill.qty, previous))
        return fill

    def _last_fill(self) -> Fill:
        if not self.fills:
            raise ValueError("nothing has filled")
        return self.fills[-1]

    def _amend(self, fill: Fill, qty: int, price: Decimal) -> None:
        leg, order = fill.leg, fill.order
        leg.filled += qty
        leg.paid += price * qty
        if not order.is_mleg:
            order.filled, order.paid = leg.filled, leg.paid
        self.move(leg.contract, leg.sign * qty, price)

    def liquidate(self, now: float, only: Contract | None = None) -> None:
        """Cancel what works and sell what is held (of one contract, where it is given), in the venue's own name."""
        for order in self.working:
            if only is None or any(leg.contract == only for leg in order.legs):
                self.step(order, "canceled", now, "canceled")
        for symbol, position in list(self.positions.items()):
            if only is None or position.contract == only:
                self.foreign_fill(symbol, abs(position.qty), "sell" if position.qty > 0 else "buy", now, "venue")
