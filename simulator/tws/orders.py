"""Orders: taken or refused, changed, cancelled, matched against the market; and what they would cost in margin.

Rules: a package is matched at its natural price or better, or, with `makers`, at a price between mid and natural that is drawn
once for each order from the seed. Nothing fills without an ask to buy from. What a real TWS refuses is refused here.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

from simulator.tws import messages
from simulator.tws.contracts import Instrument, net_of, package_tick, worst_case
from simulator.tws.faults import Settings, words
from simulator.tws.fills import Fills, legs_text
from simulator.tws.floor import Floor
from simulator.tws.messages import Order, OrderRequest, mills_of
from simulator.tws.wire import UNSET, dollars

MATCHING = ("natural", "makers", "never")
KINDS = ("LMT", "MKT")


class Orders:
    """The venue's orders on a floor. `matching`: natural, makers or never."""

    def __init__(self, floor: Floor, fills: Fills, *, matching: str = "natural", seed: int = 1) -> None:
        if matching not in MATCHING:
            raise ValueError(f"matching is one of {', '.join(MATCHING)}")
        self.floor, self.fills, self.matching, self.seed = floor, fills, matching, seed
        self._perms = itertools.count(1_000_001)
        self._highest: dict[int, int] = {}

    def next_id(self, client: int) -> int:
        """An id above all that a client used."""
        return self._highest.get(client, 0) + 1

    # --- new orders ----------------------------------------------------------------------------------------------------

    def place(self, client: int, asked: OrderRequest) -> None:
        """A client's order: a what-if, a change of one that is there, or a new one."""
        floor, number = self.floor, len(asked.legs) or 1
        if asked.what_if:
            self._what_if(client, asked)
            return
        self._note_misuses(client, asked)
        if (old := floor.orders.get((client, asked.order_id))) is not None:
            self._modify(old, asked)
            return
        take = floor.faults.take
        if take("lost-order", ref=asked.ref, legs=number) is not None:
            return
        order = self._order(client, asked)
        refusal = self._injected(asked) or self._refusal(client, asked)
        if refusal is not None:
            self._refuse(order, *refusal)
            return
        self._highest[client] = max(self._highest.get(client, 0), asked.order_id)
        floor.orders[client, asked.order_id] = order
        floor.record.began(order)
        floor.record.priced(order, order.placed_at)
        order.status = "Submitted"
        floor.note("order", order, self.describe(order))
        order.held = take("no-fill", ref=asked.ref, legs=number) is not None
        if take("silent-order", ref=asked.ref, legs=number) is None:
            self._acknowledge(order, asked)
        self.match(order)

    def _order(self, client: int, asked: OrderRequest) -> Order:
        return Order(
            asked.order_id, client, next(self._perms), asked.query, asked.query.symbol or self._symbol(asked), asked.action,
            int(asked.units), asked.kind, mills_of(asked.limit), asked.tif or "DAY", asked.account or self.floor.account,
            asked.ref, asked.legs, self.floor.now(),
        )  # fmt: skip

    def _symbol(self, asked: OrderRequest) -> str:
        one = self.floor.instrument(asked.legs[0].con_id if asked.legs else asked.query.con_id)
        return one.symbol if one else ""

    def _acknowledge(self, order: Order, asked: OrderRequest) -> None:
        """What TWS says of a new order: taken, its warnings, working."""
        tell = self.floor.tell
        client = order.client_id
        tell(client, messages.open_order(replace_status(order, "PreSubmitted")))
        tell(client, messages.status(order, "PreSubmitted"))
        warnings = [] if asked.tif else [(10349, "")]
        faults = self.floor.faults
        off = faults.find("off-tick", ref=order.ref, legs=len(order.traded))
        if off is not None and off["as"] == "warn":
            faults.take("off-tick", ref=order.ref, legs=len(order.traded))
            warnings.append((110, ""))
        if (said := faults.take("warning", ref=order.ref, legs=len(order.traded))) is not None:
            warnings.append((int(said["code"]), str(said["text"])))
        for code, text in warnings:
            tell(client, messages.error(order.order_id, code, words(code, text)))
        tell(client, messages.open_order(order))
        tell(client, messages.status(order))

    def _injected(self, asked: OrderRequest) -> tuple[int, str] | None:
        """The refusal that a fault demands."""
        faults, number = self.floor.faults, len(asked.legs) or 1
        for name in ("reject", "read-only"):
            if (said := faults.take(name, ref=asked.ref, legs=number)) is not None:
                return int(said["code"]), words(int(said["code"]), said.get("text", ""))
        if faults.take("duplicate-id", ref=asked.ref, legs=number) is not None:
            return 103, words(103)
        off = faults.find("off-tick", ref=asked.ref, legs=number)
        if off is not None and off["as"] != "warn":
            faults.take("off-tick", ref=asked.ref, legs=number)
            return 110, words(110)
        return None

    def _refusal(self, client: int, asked: OrderRequest) -> tuple[int, str] | None:
        """Why TWS would refuse the order by itself; None if it would not."""
        floor = self.floor
        ids = [leg.con_id for leg in asked.legs] or [asked.query.con_id]
        known = [floor.instrument(con_id) for con_id in ids]
        refused: tuple[int, str] | None = None
        if asked.order_id <= self._highest.get(client, 0):
            refused = 103, words(103)
        elif (asked.query.sec_type == "BAG" and not asked.legs) or None in known:
            refused = 200, words(200)
        elif asked.prices_of_legs:
            refused = 10058, words(10058)
        elif asked.kind not in KINDS or (asked.kind == "LMT" and asked.limit is None):
            refused = 387, words(387)
        elif asked.action not in ("BUY", "SELL") or asked.units <= 0 or asked.units != int(asked.units):
            refused = 434, "The order size cannot be zero."
        elif asked.account and asked.account not in floor.accounts:
            refused = 321, "Error validating request.-'bH' : cause - The account code is required for this operation."
        elif asked.kind == "LMT" and not self._on_tick(asked):
            refused = 110, words(110)
        elif not all(floor.market.tradable(con_id, floor.now()) for con_id in ids):
            refused = 201, "Order rejected - reason:The exchange is closed."
        return refused

    def _on_tick(self, asked: OrderRequest) -> bool:
        limit, one = mills_of(asked.limit), self.floor.instrument(asked.query.con_id)
        tick = package_tick(asked.query.symbol) if asked.legs else one.tick if one else 10
        return limit is not None and limit % tick == 0

    def _refuse(self, order: Order, code: int, text: str) -> None:
        """Refuse a new order: the error alone, as TWS does. A code that is no refusal elsewhere is one here."""
        order.why = text
        self.floor.record.began(order)
        self.floor.record.priced(order, order.placed_at)
        self.fills.end(order, "Inactive")
        self.floor.orders.setdefault((order.client_id, order.order_id), order)
        self.floor.note("reject", order, f"{self.describe(order)}: refused, {code} {text}")
        self.floor.tell(order.client_id, messages.error(order.order_id, code, text))

    def _note_misuses(self, client: int, asked: OrderRequest) -> None:
        said = []
        if asked.legs and asked.action == "SELL":
            said.append("sold a package")
        if asked.kind == "MKT":
            said.append("sent a market order")
        if asked.prices_of_legs:
            said.append("gave prices of legs")
        if (client, asked.order_id) in self.floor.orders:
            said.append("changed an order in place")
        self.floor.record.misuses += [f"client {client} {words_} ({asked.ref or asked.order_id})" for words_ in said]

    def describe(self, order: Order) -> str:
        what = legs_text(self.floor, order.traded)
        price = "at market" if order.limit is None else f"at {dollars(order.limit)}"
        return f"{order.action} {order.units} × {order.symbol} {what} {price}"

    # --- changes and ends ----------------------------------------------------------------------------------------------

    def _modify(self, order: Order, asked: OrderRequest) -> None:
        floor, client, limit = self.floor, order.client_id, mills_of(asked.limit)
        refused = floor.faults.take("modify-refused", ref=order.ref)
        if refused is not None or not order.live or not self._on_tick(asked):
            code = int(refused["code"]) if refused else 110 if order.live else 104 if order.filled else 103
            floor.note("modify", order, f"change refused, {code}")
            floor.tell(client, messages.error(order.order_id, code, words(code)))
            return
        old, order.limit, order.units = order.limit, limit, max(int(asked.units), order.filled + 1)
        floor.record.priced(order, floor.now())
        floor.note("modify", order, f"changed in place: {self.describe(order)}")
        floor.tell(client, messages.open_order(order))
        floor.tell(client, messages.status(order))
        if (late := floor.faults.take("late-echo", ref=order.ref)) is not None and old is not None:
            floor.later(float(late["after_s"]), lambda: self.echo(order, old))
        self.match(order)

    def echo(self, order: Order, limit: int) -> None:
        """Tell an order again as if its limit were another."""
        self.floor.tell(order.client_id, messages.open_order(order, limit=limit))

    def cancel(self, client: int, order_id: int) -> None:
        """A client's cancel of one of its orders."""
        floor, order = self.floor, self.floor.orders.get((client, order_id))
        if order is None:
            floor.tell(client, messages.error(order_id, 10147, words(10147, id=order_id)))
            return
        floor.note("cancel", order, "cancel asked for")
        if not order.live:
            floor.tell(client, messages.error(order_id, 10148, words(10148, id=order_id, state=order.status)))
            return
        take = floor.faults.take
        if (meets := take("fill-in-cancel", ref=order.ref, legs=len(order.traded))) is not None:
            self._fill_in_cancel(order, meets)
        elif take("cancel-ignored", ref=order.ref, legs=len(order.traded)) is not None:
            return
        elif (slow := take("cancel-slow", ref=order.ref, legs=len(order.traded))) is not None:
            floor.tell(client, messages.status(order, "PendingCancel"))
            floor.later(float(slow["after_s"]), lambda: self.end(order))
        elif (said := take("cancel-answer", ref=order.ref, legs=len(order.traded))) is not None:
            code = int(said["code"])
            if code == 202:
                self.fills.end(order, "Cancelled")
                floor.note("cancelled", order, "cancelled, and no status of it is sent")
            floor.tell(client, messages.error(order_id, code, words(code, id=order_id, state=order.status)))
        else:
            self.end(order)

    def _fill_in_cancel(self, order: Order, how: Settings) -> None:
        """A cancel that comes too late for some or all of an order."""
        units = int(how["units"]) or order.remaining
        late = words(10148, id=order.order_id, state="Filled")
        whole = units >= order.remaining
        if whole and how["first"] == "10148":
            self.floor.tell(order.client_id, messages.error(order.order_id, 10148, late))
        self.fills.fill(order, units, self._own_price(order))
        if whole and how["first"] != "10148":
            self.floor.tell(order.client_id, messages.error(order.order_id, 10148, late))
        if order.live:
            self.end(order)

    def end(self, order: Order) -> None:
        """Cancel a live order and say so: the status, then 202."""
        if order.live:
            self.fills.end(order, "Cancelled")
            self.floor.note("cancelled", order, f"cancelled with {order.filled} of {order.units} filled")
            self.floor.tell(order.client_id, messages.status(order))
            self.floor.tell(order.client_id, messages.error(order.order_id, 202, words(202)))

    # --- matching ------------------------------------------------------------------------------------------------------

    def match_all(self) -> None:
        for order in self.floor.live_orders():
            self.match(order)

    def match(self, order: Order) -> None:
        """Fill what the market gives at this moment."""
        floor = self.floor
        if order.held or not order.live or not floor.linked or self.matching == "never":
            return
        if not all(floor.market.tradable(leg.con_id, floor.now()) for leg in order.traded):
            return
        price, size = self._price(order)
        if price is None or size <= 0:
            return
        units = min(order.remaining, size)
        part = floor.faults.take("partial", ref=order.ref, legs=len(order.traded))
        if part is not None:
            units, order.held = min(units, int(part["units"])), True
        self.fills.fill(order, units, price)

    def _price(self, order: Order) -> tuple[int | None, int]:
        """What an order trades at now, in the sense of its own action (mills), and for how many units; None: it does not."""
        net = net_of(order.traded, self.floor.quote, order.sign)
        if net.natural is None or net.mid is None:
            return None, 0
        if order.limit is None:
            return order.sign * net.natural, net.size
        bid = order.sign * order.limit  # what we would pay for a unit, whichever way it is named
        if bid >= net.natural:
            return order.sign * net.natural, net.size
        if self.matching == "makers" and order.package and net.natural > net.mid:
            meets = net.mid + self._chance(order) * (net.natural - net.mid)
            if bid >= meets:
                return order.limit, net.size
        return None, 0

    def _chance(self, order: Order) -> float:
        """A number in (0, 1] of this order alone."""
        drawn = hashlib.sha256(f"{self.seed}/{order.client_id}/{order.order_id}/{order.ref}".encode()).digest()
        return (int.from_bytes(drawn[:8], "big") + 1) / 2**64

    def _own_price(self, order: Order) -> int:
        """An order's limit, or for a market order the natural price."""
        if order.limit is not None:
            return order.limit
        natural = net_of(order.traded, self.floor.quote, order.sign).natural
        return order.sign * (natural or 0)

    def fill(self, order: Order, units: int = 0, price: int | None = None) -> None:
        """Fill units (0: all that is left) at a net price, whatever the market does."""
        order.held = order.held or 0 < units < order.remaining
        self.fills.fill(order, units or order.remaining, self._own_price(order) if price is None else price)

    # --- margin --------------------------------------------------------------------------------------------------------

    def margin(self, legs: dict[int, int] | None = None) -> int:
        """The margin, in mills, of what is held and of so many contracts more, expiry by expiry."""
        units = {con_id: held.units for con_id, held in self.floor.holdings.items()}
        for con_id, more in (legs or {}).items():
            units[con_id] = units.get(con_id, 0) + more
        groups: dict[tuple[str, str], list[tuple[Instrument, int]]] = {}
        for con_id, count in units.items():
            if (one := self.floor.instrument(con_id)) is not None:
                groups.setdefault((one.trading_class, one.day), []).append((one, count))
        return sum(worst_case(group) for group in groups.values())

    def _what_if(self, client: int, asked: OrderRequest) -> None:
        floor, faults, number = self.floor, self.floor.faults, len(asked.legs) or 1
        if faults.take("what-if-silent", ref=asked.ref, legs=number) is not None:
            return
        if (said := faults.take("what-if-rejected", ref=asked.ref, legs=number)) is not None:
            floor.tell(client, messages.error(asked.order_id, 201, words(201, said["text"])))
            return
        order = self._order(client, asked)
        order.perm_id = 0
        sign = order.sign * max(order.units, 1)
        legs = {leg.con_id: leg.sign * leg.ratio * sign for leg in order.traded}
        if any(floor.instrument(con_id) is None for con_id in legs):
            floor.tell(client, messages.error(asked.order_id, 200, words(200)))
            return
        before = self.margin()
        change = self.margin(legs) - before
        fee = floor.fee * sum(abs(units) for units in legs.values())
        margin: messages.Answer = messages.margin_answer(before, change, floor.equity(), fee)
        if (said := faults.take("what-if-margin", ref=asked.ref, legs=number)) is not None:
            margin = messages.margin_answer(before, round(float(said["margin"]) * 1000), floor.equity(), fee)
        elif faults.take("what-if-unset", ref=asked.ref, legs=number) is not None:
            margin = messages.NO_MARGIN
        elif faults.take("what-if-empty", ref=asked.ref, legs=number) is not None:
            margin = tuple("" if value == UNSET else value for value in messages.NO_MARGIN)
        floor.note("what-if", order, f"what if {self.describe(order)}: margin {margin[3] or 'empty'}")
        floor.tell(client, messages.open_order(order, margin=margin, what_if=True))


def replace_status(order: Order, status: str) -> Order:
    """The order as it would be with another status."""
    return replace(order, status=status)
