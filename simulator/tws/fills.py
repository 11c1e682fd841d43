"""Fills: what is executed, at what price of each leg, what it does to positions, and how and when it is told.

Rules: a unit of a package is one execution of the package and one of each leg; the legs' prices add up to the package's. The
executions come before the status, the status before the commissions, as TWS sends them. Faults change the telling; the venue
itself always knows what it did.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from simulator.tws import messages
from simulator.tws.contracts import Instrument, Leg, Query, leg_prices
from simulator.tws.floor import Floor, Holding
from simulator.tws.messages import Execution, Order
from simulator.tws.wire import dollars


class Fills:
    """Executes orders on a floor."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self._numbers = itertools.count(1)
        self._held_back: list[tuple[Order, list[Execution]]] = []

    def fill(self, order: Order, units: int, price: int, *, prices: Mapping[int, int] | None = None) -> list[Execution]:
        """Execute units of an order at a net price in mills; `prices` are those of the legs by contract id, if they are to differ."""
        floor, faults = self.floor, self.floor.faults
        units = min(units, order.remaining)
        if units <= 0:
            return []
        order.filled += units
        order.paid += price * units
        if not order.remaining:
            self.end(order, "Filled")
        made = self._executions(order, units, price, prices or {})
        floor.executions += made
        for one in made:
            if one.instrument is not None:
                self._hold(one.instrument, one.units if one.action == "BUY" else -one.units, one.price, one.fee)
        floor.note("fill", order, f"{units} of {order.units} filled at {dollars(price)}, {order.remaining} to go")
        if faults.take("quiet-fill", ref=order.ref, legs=len(order.traded)) is not None:
            return made
        later = faults.take("late-executions", ref=order.ref, legs=len(order.traded))
        if later is None:
            self._tell_executions(made)
        else:
            for one in made:
                one.visible = False
            floor.later(float(later["after_s"]), lambda: self._reveal(made))
        floor.tell(order.client_id, messages.open_order(order))
        floor.tell(order.client_id, messages.status(order))
        if later is None:
            self._tell_commissions(made)
        self._tell_positions(order, made)
        return made

    def end(self, order: Order, status: str) -> None:
        order.status, order.ended_at = status, self.floor.now()
        self.floor.record.ended(order)

    def _executions(self, order: Order, units: int, price: int, given: Mapping[int, int]) -> list[Execution]:
        floor, now = self.floor, self.floor.now()
        root = f"0000e0d5.{next(self._numbers):08x}.01"
        prices = leg_prices(order.traded, floor.quote, order.sign * price, order.sign)
        made = []
        if order.package:
            made.append(Execution(f"{root}.01", 1, order, None, order.action, units, price, order.filled, now, 0))
        legs = list(zip(order.traded, prices, strict=True))
        missing = floor.faults.take("unequal-legs", ref=order.ref, legs=len(order.traded)) if order.package else None
        if missing:
            legs = legs[: max(len(legs) - int(missing["missing"]), 0)]
        held = floor.faults.take("held-legs", ref=order.ref, legs=len(order.traded)) if order.package else None
        zero = floor.faults.take("zero-legs", ref=order.ref, legs=len(order.traded)) if order.package else None
        odd = floor.faults.find("odd-units")
        for k, (leg, paid) in enumerate(legs, 2):
            what = floor.instrument(leg.con_id)
            assert what is not None  # an order for an unknown contract was refused
            action = "BUY" if leg.sign * order.sign > 0 else "SELL"
            one = Execution(
                f"{root}.{k:02d}", 1, order, what, action, units * leg.ratio, given.get(leg.con_id, paid),
                order.filled * leg.ratio, now, floor.fee * units * leg.ratio, visible=held is None,
                shown_units=str(odd["units"]) if odd else "",
            )  # fmt: skip
            made.append(one)
        if held is not None:
            self._held_back.append((order, [one for one in made if not one.visible]))
        if zero is not None:
            self._send_zero_first(order, made)
        return made

    def _send_zero_first(self, order: Order, made: list[Execution]) -> None:
        """Put legs at price 0 in place of the true ones, which are kept as their corrections until the release."""
        true = []
        for k, one in enumerate(made):
            if one.instrument is not None:
                later = Execution(one.root, 2, order, one.instrument, one.action, one.units, one.price, one.cumulative, one.at,
                                  one.fee, visible=False)  # fmt: skip
                made[k] = Execution(
                    one.root, 1, order, one.instrument, one.action, one.units, 0, one.cumulative, one.at, one.fee
                )
                true.append(later)
        self.floor.executions += true
        self._held_back.append((order, true))

    def release(self, ref: str = "") -> int:
        """Send what was held back of a ref (of all); how many executions that were."""
        ours = [pair for pair in self._held_back if ref in ("", pair[0].ref)]
        self._held_back = [pair for pair in self._held_back if pair not in ours]
        for _, late in ours:
            self._reveal(late)
        return sum(len(late) for _, late in ours)

    def _reveal(self, late: list[Execution]) -> None:
        for one in late:
            one.visible = True
        self._tell_executions(late)
        self._tell_commissions(late)
        self.floor.record.notify()

    def _tell_executions(self, made: list[Execution]) -> None:
        for one in made:
            if one.visible:
                self.floor.tell(one.order.client_id, messages.execution(-1, one))
        if made and (wrong := self.floor.faults.take("corrected", ref=made[0].order.ref)) is not None:
            self.correct(made, round(float(wrong["by"]) * 1000))

    def correct(self, made: list[Execution], by: int) -> None:
        """Send executions again with the next revision and a price that differs by so many mills."""
        for one in made:
            if one.visible:
                again = Execution(one.root, one.revision + 1, one.order, one.instrument, one.action, one.units, one.price + by,
                                  one.cumulative, one.at, one.fee)  # fmt: skip
                self.floor.executions.append(again)
                self.floor.tell(one.order.client_id, messages.execution(-1, again))

    def _tell_commissions(self, made: list[Execution]) -> None:
        for one in made:
            if one.visible and one.instrument is not None:
                self.floor.tell(one.order.client_id, messages.commission(one))

    def _tell_positions(self, order: Order, made: list[Execution]) -> None:
        touched = [one.instrument.con_id for one in made if one.instrument is not None]

        def tell() -> None:
            for con_id in touched:
                self.floor.send_position(con_id)

        slow = self.floor.faults.take("late-positions", ref=order.ref)
        if slow is None:
            tell()
        else:
            self.floor.later(float(slow["after_s"]), tell)

    def _hold(self, what: Instrument, units: int, price: int, fee: int) -> None:
        """Add to a position at a price; its cost is an average while it grows and stays while it shrinks."""
        held = self.floor.holdings.get(what.con_id, Holding(0, 0))
        cost = price * what.multiplier + (fee // abs(units) if units > 0 else -(fee // abs(units)))
        self.floor.cash -= units * price * what.multiplier + fee
        total = held.units + units
        if held.units * units >= 0 and total:
            held = Holding(total, (held.cost * abs(held.units) + cost * abs(units)) // abs(total))
        elif held.units * total < 0:
            held = Holding(total, cost)
        else:
            held = Holding(total, held.cost)
        if total:
            self.floor.holdings[what.con_id] = held
        else:
            self.floor.holdings.pop(what.con_id, None)

    def by_another_hand(self, what: Instrument, units: int, price: int) -> None:
        """Trade a contract with no order of a client here: its executions carry no ref and client id 0."""
        action = "BUY" if units > 0 else "SELL"
        query = Query(what.con_id, what.symbol, what.sec_type, what.day, what.strike, what.right, str(what.multiplier), "SMART",
                      "", "USD", what.local_symbol, what.trading_class)  # fmt: skip
        now = self.floor.now()
        number = next(self._numbers)
        order = Order(0, 0, 900_000_000 + number, query, what.symbol, action, abs(units), "MKT", None, "DAY",
                      self.floor.account, "", (), now, status="Filled", filled=abs(units), paid=price * abs(units),
                      ended_at=now)  # fmt: skip
        one = Execution(f"0000e0d5.{number:08x}.01.01", 1, order, what, action, abs(units), price, abs(units), now,
                        self.floor.fee * abs(units))  # fmt: skip
        self.floor.executions.append(one)
        self._hold(what, units, price, one.fee)
        for client in list(self.floor.listeners):
            self.floor.tell(client, messages.execution(-1, one))
            self.floor.tell(client, messages.commission(one))
        self.floor.send_position(what.con_id)
        self.floor.note("fill", order, f"{action} {abs(units)} × {what.short} at {dollars(price)} by another hand")


def legs_text(floor: Floor, legs: tuple[Leg, ...]) -> str:
    """`-655P +653P -665C +667C`."""
    parts = []
    for leg in legs:
        one = floor.instrument(leg.con_id)
        ratio = f"{leg.ratio}×" if leg.ratio != 1 else ""
        parts.append(f"{'+' if leg.sign > 0 else '-'}{ratio}{one.short if one else leg.con_id}")
    return " ".join(parts)
