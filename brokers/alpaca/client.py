"""Alpaca's trading REST: each call ends within its deadline, nothing is sent twice, and what became of an order is one of five types.

Rules:
- `place` never guesses. An order is Accepted, Rejected, Denied or RateLimited where Alpaca says so readably; anything else (no answer,
  a cut, 5xx, a page of HTML, the answer of another order) is Unknown, and is asked for by its ref before anything else is done.
- "client_order_id must be unique" is no refusal: the order under that id is read, and adopted where it is the one that was meant.
- To a cancel 204 and 422 both mean "look".
- Questions give their answer, or raise TryAgain or Refused as everywhere on the wire; Refused (401, 403) means that the keys are not
  accepted. Pages are followed until an empty one, whatever their size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from msgspec import Struct

from brokers.alpaca.forms import (
    MUST_BE_UNIQUE,
    Account,
    Fill,
    MarketClock,
    NewOrder,
    Order,
    Position,
    Unreadable,
    iso_time,
    just_before,
    read_account,
    read_clock,
    read_error,
    read_fills,
    read_order,
    read_orders,
    read_positions,
    write_order,
)
from wire.transport import Http, Refused, Response, TryAgain, plain, retry_after

TIMEOUT_S = 5.0
SNAPSHOT_S = 10.0
LEAST_S = 0.05
RESET_MIN_S, RESET_MAX_S, NO_RESET_S = 1.0, 120.0, 15.0
PAGE_ORDERS, PAGE_FILLS = 500, 100
MOST_PAGES = 200
T = TypeVar("T")
Query = dict[str, str | int]


class Accepted(Struct, frozen=True):
    """Alpaca has the order. `adopted`: it had it already."""

    order: Order
    adopted: bool = False


class Rejected(Struct, frozen=True):
    """Alpaca has refused, with its reason. `is_duplicate`: another order than the one meant lives under this ref."""

    reason: str
    code: int | None = None
    is_duplicate: bool = False


class Unknown(Struct, frozen=True):
    """Nobody knows. `sent` False: no byte has left, so the order is certainly not there."""

    reason: str
    sent: bool = True


class RateLimited(Struct, frozen=True):
    """Not taken, for too much was asked; the same may be sent again from `reset_at` (Unix seconds) on."""

    reset_at: float


class Denied(Struct, frozen=True):
    """The keys are not accepted: nothing will be, until a person has looked."""

    reason: str


class Asked(Struct, frozen=True):
    """A cancel was heard (204), or there was nothing to cancel (422): look at the order and its fills."""

    reason: str = ""


class Snapshot(Struct, frozen=True):
    """What Alpaca says of the account. Only a complete one allows a conclusion; `as_of`, Unix seconds, is when the asking began."""

    as_of: float
    complete: bool
    reason: str = ""
    account: Account | None = None
    positions: tuple[Position, ...] = ()
    orders: tuple[Order, ...] = ()
    fills: tuple[Fill, ...] = ()


Outcome = Accepted | Rejected | Unknown | RateLimited | Denied
CancelOutcome = Asked | Rejected | Unknown | RateLimited | Denied


class TradingClient:
    """One account at Alpaca; use it from one thread. `remaining`: requests left in this minute, as last heard.

    `url` is the base without `/v2`. `now` gives Unix seconds, by which Reset is understood.
    """

    def __init__(
        self,
        url: str,
        key_id: str,
        secret_key: str,
        *,
        now: Callable[[], float],
        timeout_s: float = TIMEOUT_S,
        snapshot_s: float = SNAPSHOT_S,
        ca_file: str | None = None,
    ) -> None:
        headers = {"APCA-API-KEY-ID": key_id, "APCA-API-SECRET-KEY": secret_key}
        self._http = Http(url, timeout_s, headers, ca_file=ca_file)
        self._now, self._timeout_s, self._snapshot_s = now, timeout_s, snapshot_s
        self._ends_at: float | None = None
        self.remaining: int | None = None

    def close(self) -> None:
        self._http.close()

    # --- orders --------------------------------------------------------------------------------------------------------

    def place(self, order: NewOrder) -> Outcome:
        """Send an order, once. ValueError for one that may not be sent."""
        body = write_order(order)
        try:
            answer = self._ask(lambda: self._http.post_json("/v2/orders", body))
        except TryAgain as fault:
            return Unknown(fault.reason, sent=fault.sent)
        except Refused as fault:
            return Unknown(fault.reason)
        if 200 <= answer.status < 300:
            return self._taken(order, answer)
        refusal = self._refusal(answer)
        if isinstance(refusal, Rejected) and refusal.code == MUST_BE_UNIQUE and "unique" in refusal.reason:
            return self._adopted(order, refusal)
        return refusal

    def _taken(self, meant: NewOrder, answer: Response) -> Outcome:
        try:
            order = read_order(answer.body)
        except Unreadable as fault:
            return Unknown(f"accepted, but unreadable ({fault})")
        if not order.is_of(meant):
            return Unknown("accepted, but the answer is of another order")
        return Accepted(order)

    def _adopted(self, meant: NewOrder, refusal: Rejected) -> Outcome:
        try:
            order = self.find(meant.ref)
        except (TryAgain, Refused) as fault:
            return Unknown(f"{refusal.reason}; looking it up failed: {fault.reason}")
        if order is None:
            return Unknown(f"{refusal.reason}; but there is no such order")
        if not order.is_of(meant):
            return Rejected("another order lives under this ref", refusal.code, is_duplicate=True)
        return Accepted(order, adopted=True)

    def cancel(self, order_id: str) -> CancelOutcome:
        """Ask for an order's end, once. Nothing that comes back proves it."""
        try:
            answer = self._ask(lambda: self._http.delete(f"/v2/orders/{order_id}"))
        except TryAgain as fault:
            return Unknown(fault.reason, sent=fault.sent)
        except Refused as fault:
            return Unknown(fault.reason)
        if 200 <= answer.status < 300:
            return Asked()
        refusal = self._refusal(answer)
        return Asked(refusal.reason) if answer.status == 422 and isinstance(refusal, Rejected) else refusal

    def _refusal(self, answer: Response) -> Rejected | Unknown | RateLimited | Denied:
        """What an answer that is no 2xx means for an order or a cancel."""
        said = read_error(answer.body)
        code, message = (None, "") if said is None else (said[0], plain(said[1]))
        match answer.status:
            case 401:
                return Denied(message or "the keys are not accepted (401)")
            case 403 if code is None:
                return Denied(message or "the keys are not accepted (403)")
            case 429:
                return RateLimited(self._reset_at(answer.headers))
            case 400 | 403 | 404 | 422 if said is not None:
                return Rejected(message or f"refused ({answer.status})", code)
        return Unknown(f"answered {answer.status}{f': {message}' if message else ''}")

    def _reset_at(self, headers: Mapping[str, str]) -> float:
        """When to ask again: Reset, else Retry-After, else 15 s from now; never sooner than a second, never later than two minutes."""
        now = self._now()
        try:
            reset = float(headers["X-RateLimit-Reset"])
        except (KeyError, ValueError):
            reset = now + (retry_after(headers, now) or NO_RESET_S)
        return min(max(reset, now + RESET_MIN_S), now + RESET_MAX_S)

    # --- questions -----------------------------------------------------------------------------------------------------

    def find(self, ref: str) -> Order | None:
        """The order under our own ref; None if Alpaca says that there is none."""
        answer = self._ask(
            lambda: self._http.get("/v2/orders:by_client_order_id", {"client_order_id": ref, "nested": "true"})
        )
        if answer.status == 404 and read_error(answer.body) is not None:
            return None
        order = self._readable(answer, read_order)
        if order.ref != ref:
            raise TryAgain("the answer is of another order", sent=True)
        return order

    def order(self, order_id: str) -> Order | None:
        """The order of Alpaca's id; None if Alpaca says that there is none."""
        answer = self._ask(lambda: self._http.get(f"/v2/orders/{order_id}", {"nested": "true"}))
        if answer.status == 404 and read_error(answer.body) is not None:
            return None
        return self._readable(answer, read_order)

    def orders(self, since: float) -> list[Order]:
        """Every order submitted after a Unix time, in any state, oldest first, over all pages."""
        found: dict[str, Order] = {}
        after = iso_time(since)
        for _ in range(MOST_PAGES):
            query: Query = {"status": "all", "direction": "asc", "nested": "true", "limit": PAGE_ORDERS, "after": after}
            page = self._get("/v2/orders", read_orders, query)
            if not page:
                return list(found.values())
            is_news = any(order.id not in found for order in page)
            found |= {order.id: order for order in page}
            after = self._readably(just_before, page[-1].submitted) if is_news else page[-1].submitted
        raise TryAgain("the list of orders does not end", sent=True)

    def fills(self, since: float) -> list[Fill]:
        """Every FILL activity after a Unix time, oldest first, over all pages."""
        found: dict[str, Fill] = {}
        query: Query = {
            "activity_types": "FILL", "direction": "asc", "page_size": PAGE_FILLS, "after": iso_time(since),
        }  # fmt: skip
        for _ in range(MOST_PAGES):
            page = self._get("/v2/account/activities", read_fills, query)
            if not page or all(fill.id in found for fill in page):
                return list(found.values())
            found |= {fill.id: fill for fill in page}
            query["page_token"] = page[-1].id
        raise TryAgain("the list of activities does not end", sent=True)

    def positions(self) -> list[Position]:
        return self._get("/v2/positions", read_positions)

    def account(self) -> Account:
        return self._get("/v2/account", read_account)

    def clock(self) -> MarketClock:
        return self._get("/v2/clock", read_clock)

    def snapshot(self, since: float) -> Snapshot:
        """Account, positions, and the orders and fills after a Unix time, all within ten seconds, or why not.

        Fills are read last: what a position shows is then never older than the fills that explain it. Nothing is raised.
        """
        as_of, self._ends_at = self._now(), time.monotonic() + self._snapshot_s
        try:
            account, positions = self.account(), self.positions()
            orders, fills = self.orders(since), self.fills(since)
        except (TryAgain, Refused) as fault:
            return Snapshot(as_of, complete=False, reason=fault.reason)
        finally:
            self._ends_at = None
        return Snapshot(
            as_of, complete=True, account=account, positions=tuple(positions), orders=tuple(orders), fills=tuple(fills)
        )

    # --- one call ------------------------------------------------------------------------------------------------------

    def _get(self, path: str, read: Callable[[bytes], T], query: Query | None = None) -> T:
        return self._readable(self._ask(lambda: self._http.get(path, query)), read)

    def _ask(self, call: Callable[[], Response]) -> Response:
        """One call within its own deadline, and that of the snapshot it is part of."""
        left = self._timeout_s if self._ends_at is None else min(self._timeout_s, self._ends_at - time.monotonic())
        if left < LEAST_S:
            raise TryAgain(f"not all was told within {self._snapshot_s:g} s")
        self._http.deadline_s = left
        answer = call()
        remaining = answer.headers.get("X-RateLimit-Remaining", "")
        self.remaining = int(remaining) if remaining.isascii() and remaining.isdigit() else None
        return answer

    def _readable(self, answer: Response, read: Callable[[bytes], T]) -> T:
        """The value in the answer to a question. TryAgain or Refused where there is none."""
        if answer.status == 200:
            return self._readably(read, answer.body)
        refusal = self._refusal(answer)
        if isinstance(refusal, Denied):
            raise Refused(refusal.reason, answer.status)
        if isinstance(refusal, RateLimited):
            raise TryAgain("too many requests (429)", sent=True, retry_after_s=refusal.reset_at - self._now())
        raise TryAgain(refusal.reason, sent=True)

    @staticmethod
    def _readably(read: Callable[..., T], body: bytes | str) -> T:
        try:
            return read(body)
        except Unreadable as fault:
            reason = str(fault)
        raise TryAgain(f"unreadable: {reason}", sent=True)
