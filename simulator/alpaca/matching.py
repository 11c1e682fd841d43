"""What happens by itself as time and quotes go on: orders become new, fill, end; the venue sells what is held after the cut-off.

Rules: a buy fills at the ask where its limit allows, a sell at the bid, as much as that side shows; what was taken is there again with
the next quote or second. An mleg order fills at its legs' own quotes where their net allows, in whole units.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from simulator.alpaca import rules
from simulator.alpaca.orders import Leg, Order
from simulator.alpaca.quotes import Quote

if TYPE_CHECKING:
    from simulator.alpaca.book import Book


class Matching:
    """The passing of time over a book."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._taken: dict[
            tuple[str, str], tuple[tuple[Quote, int], int]
        ] = {}  # (symbol, side): the quote and second, contracts
        self._liquidated: set[tuple[str, int]] = set()  # contract, second of the day's open

    def run(self, now: float) -> None:
        """One pass over everything that works."""
        session = self._book.session(now)
        is_open = session is not None and session.open_at <= now < session.close_at
        for order in self._book.working:
            if order.is_open:  # another order's step may have ended it
                self._settle(order, now, is_open)
        if session is not None:
            self._cut_off(now)
            if now >= session.close_at:
                self._close(now)

    def _settle(self, order: Order, now: float, is_open: bool) -> None:
        """One order: what was asked of it, then a fill."""
        book = self._book
        if order.status == "pending_cancel":
            self._cancel(order, now)
        elif order.fate == "reject":
            book.step(order, "rejected", now, "rejected")
        elif order.replaces is not None and order.status in ("pending_new", "accepted"):
            self._take_place(order, now)
        elif order.status in ("pending_new", "accepted") and is_open:
            book.step(order, "new", now, "new")
        if is_open and order.status in ("new", "partially_filled"):
            self._fill(order, now)

    def _cancel(self, order: Order, now: float) -> None:
        book = self._book
        if order.fate == "stuck" and "cancel-stuck" in book.faults:
            return
        prices = [self._side(leg) or order.limit or Decimal("0.01") for leg in order.legs]
        if order.fate in ("fill", "one") and order.remaining:
            book.fill(order, order.remaining if order.fate == "fill" else 1, prices, now)
        if order.is_open:
            book.step(order, "canceled", now, "canceled")

    def _take_place(self, new: Order, now: float) -> None:
        book = self._book
        old = book.orders[str(new.replaces)]
        if new.fate == "refuse" or not old.is_open:
            book.step(new, "rejected", now)
            if old.is_open:
                book.step(old, "partially_filled" if old.filled else "new", now, "order_replace_rejected")
            return
        old.replaced_by = new.id
        book.step(old, "replaced", now, "replaced")
        book.step(new, "new", now, "new")

    # --- fills ---------------------------------------------------------------------------------------------------------

    def _fill(self, order: Order, now: float) -> None:
        faults = self._book.faults
        if "no-fill" in faults or (order.filled and "partial-fill" in faults):
            return
        quotes = [self._book.quotes.quote(leg.contract.symbol) for leg in order.legs]
        if any(quote is None for quote in quotes):
            return
        sides = [self._shown(leg, quote, now) for leg, quote in zip(order.legs, quotes, strict=True) if quote is not None]
        units = min(order.remaining, *(size // leg.ratio for leg, (_, size) in zip(order.legs, sides, strict=True)))
        prices = [price for price, _ in sides]
        if units < 1 or not self._willing(order, prices, quotes[0]):
            return
        if "partial-fill" in faults and order.qty > 1:
            units = 1
        for leg, quote in zip(order.legs, quotes, strict=True):
            self._take(leg, quote, units * leg.ratio, now)
        self._book.fill(order, units, prices, now)

    def _willing(self, order: Order, prices: list[Decimal], quote: Quote | None) -> bool:
        """Whether the order trades at these prices; a stop has to be reached first, and then stays triggered."""
        if order.is_mleg:
            net = sum((leg.sign * leg.ratio * price for leg, price in zip(order.legs, prices, strict=True)), Decimal(0))
            return order.limit is None or net <= order.limit
        price, sells = prices[0], order.legs[0].side == "sell"
        if order.stop is not None and not order.triggered:
            assert quote is not None
            order.triggered = quote.bid <= order.stop if sells else quote.ask >= order.stop
            if not order.triggered:
                return False
        return order.limit is None or (price >= order.limit if sells else price <= order.limit)

    def _side(self, leg: Leg) -> Decimal | None:
        quote = self._book.quotes.quote(leg.contract.symbol)
        return None if quote is None else quote.ask if leg.side == "buy" else quote.bid

    def _shown(self, leg: Leg, quote: Quote, now: float) -> tuple[Decimal, int]:
        """Price and what is left of the side a leg would take; an empty bid has no price."""
        price, size = (quote.ask, quote.ask_size) if leg.side == "buy" else (quote.bid, quote.bid_size)
        shown, taken = self._taken.get((leg.contract.symbol, leg.side), (None, 0))
        left = size - taken if shown == (quote, int(now)) else size
        return price, left if price > 0 else 0

    def _take(self, leg: Leg, quote: Quote | None, qty: int, now: float) -> None:
        if quote is None:
            return
        key = leg.contract.symbol, leg.side
        shown, taken = self._taken.get(key, (None, 0))
        here = quote, int(now)
        self._taken[key] = here, qty + (taken if shown == here else 0)

    # --- the day -------------------------------------------------------------------------------------------------------

    def _cut_off(self, now: float) -> None:
        """What expires today is cancelled and sold a quarter of an hour after the last orders."""
        book = self._book
        session = book.session(now)
        assert session is not None
        held = [position.contract for position in book.positions.values()]
        working = [leg.contract for order in book.working for leg in order.legs]
        for contract in dict.fromkeys([*held, *working]):
            end = rules.last_orders(contract, session)
            key = contract.symbol, session.open_at
            if end is None or key in self._liquidated or not end + rules.LIQUIDATION_AFTER_S <= now < session.close_at:
                continue
            self._liquidated.add(key)
            book.liquidate(now, contract)

    def _close(self, now: float) -> None:
        book = self._book
        session = book.session(now)
        assert session is not None
        for order in book.working:
            if order.tif == "day" or any(leg.contract.expiry == session.date for leg in order.legs):
                book.step(order, "expired", now, "expired")
        for symbol, position in list(book.positions.items()):
            if position.contract.expiry <= session.date:
                book.gone(symbol)
