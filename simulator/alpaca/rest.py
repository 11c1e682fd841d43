"""The venue's trading REST, under `/v2`.

Rules: pages of orders go by `after` and `until` (exclusive, on `submitted_at`), pages of activities by `page_token`, the last id of
the page before. Any key is good, unless `keys` names the good ones.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from simulator.alpaca.orders import (
    Order,
    Position,
    Refused,
    activity_body,
    asset_id,
    invalid,
    money,
    order_body,
    position_body,
)
from simulator.alpaca.quotes import ALL_PENNIES, Listed
from simulator.alpaca.rules import held_for_orders, requirement
from simulator.exchange import midnight
from simulator.http import Answer, HttpServer, Request
from utils import new_york

if TYPE_CHECKING:
    from simulator.alpaca.venue import Venue

SKEW_US = 90_000_000
STRANGE_STATUS = "pending_review_by_moon"
RATE_WINDOW_S = 60.0
Route = tuple[str, str, Callable[..., Answer]]


class TradingServer(HttpServer):
    """Alpaca's trading REST over a venue. `per_minute`: the limit of requests, None for none."""

    def __init__(self, venue: Venue, port: int = 0) -> None:
        self.venue, self.book, self.faults = venue, venue.book, venue.faults
        self.keys: set[str] = set()
        self.per_minute: int | None = None
        self._asked: deque[float] = deque()
        self._routes: tuple[Route, ...] = (
            ("GET", r"/v2/account", self._account),
            ("GET", r"/v2/clock", self._clock),
            ("GET", r"/v2/calendar", self._calendar),
            ("POST", r"/v2/orders", self._place),
            ("GET", r"/v2/orders", self._orders),
            ("DELETE", r"/v2/orders", self._cancel_all),
            ("GET", r"/v2/orders:by_client_order_id", self._by_ref),
            ("GET", r"/v2/orders/([^/]+)", self._order),
            ("PATCH", r"/v2/orders/([^/]+)", self._replace),
            ("DELETE", r"/v2/orders/([^/]+)", self._cancel),
            ("GET", r"/v2/positions", self._positions),
            ("GET", r"/v2/positions/([^/]+)", self._position),
            ("DELETE", r"/v2/positions/([^/]+)", self._close_position),
            ("GET", r"/v2/options/contracts", self._contracts),
            ("GET", r"/v2/options/contracts/([^/]+)", self._contract),
            ("GET", r"/v2/account/activities(?:/FILL)?", self._activities),
        )
        super().__init__(venue.clock.now, port)

    # --- one request ---------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        fault = self.faults.for_request(request.method, request.path)
        manner = None if fault is None else fault[1].answer
        if manner is None or manner.status is None or manner.process:
            normal = self._normal(request)
            if manner is None:
                said = normal
            elif manner.status is None:
                said = replace(manner, status=normal.status, body=normal.body, headers=normal.headers)
            else:
                said = manner
        else:
            said = manner
        if fault is None or fault[0] != "rate-429-no-reset":
            said = replace(said, headers={**self._rate_headers(limited=said.status == 429), **said.headers})
        self.venue.called(request, said, None if fault is None else fault[0])
        return said

    def _normal(self, request: Request) -> Answer:
        try:
            self._admit(request)
            with self.venue.lock:
                for method, pattern, route in self._routes:
                    if method == request.method and (match := re.fullmatch(pattern, request.path)):
                        return route(request, *match.groups())
            raise Refused(404, 40410000, "endpoint not found")
        except Refused as refused:
            return refused.answer
        except (ValueError, msgspec.DecodeError) as wrong:
            return Answer(422, {"code": 42210000, "message": str(wrong)})

    def _admit(self, request: Request) -> None:
        key, secret = (request.headers.get(f"apca-api-{name}", "") for name in ("key-id", "secret-key"))
        if not key or not secret or (self.keys and key not in self.keys):
            raise Refused(401, 40110000, "request is not authorized")
        if self.per_minute is not None:
            now = time.monotonic()
            while self._asked and self._asked[0] <= now - RATE_WINDOW_S:
                self._asked.popleft()
            if len(self._asked) >= self.per_minute:
                raise Refused(429, 42910000, "rate limit exceeded")
            self._asked.append(now)

    def _rate_headers(self, *, limited: bool) -> dict[str, str]:
        limit = self.per_minute or 200
        left = 0 if limited else max(limit - len(self._asked), 0)
        wait = 2.0 if self.per_minute is None or not self._asked else self._asked[0] + RATE_WINDOW_S - time.monotonic()
        return {
            "X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(int(self.now() + max(wait, 0)) + 1), "X-Request-ID": self.venue.request_id(),
        }  # fmt: skip

    def shown(self, order: Order) -> dict[str, Any]:
        """An order as the faults let it be seen."""
        return order_body(
            order,
            status=STRANGE_STATUS if "unknown-status" in self.faults else None,
            intent="empty-intent" not in self.faults,
            ahead_us=SKEW_US if "clock-skew" in self.faults else 0,
        )

    # --- account, clock ------------------------------------------------------------------------------------------------

    def _account(self, _: Request) -> Answer:
        account = self.book.standing
        equity, power = self.book.equity(), max(self.book.buying_power(), Decimal(0))
        needed = requirement({p.contract: p.qty for p in self.book.positions.values()})
        long, short = (
            sum((self.book.worth(p) for p in self.book.positions.values() if (p.qty > 0) == is_long), Decimal(0))
            for is_long in (True, False)
        )
        level = account.level
        amounts = {
            "cash": account.cash, "equity": equity, "last_equity": self.book.opening_equity, "portfolio_value": equity,
            "buying_power": power, "regt_buying_power": power, "non_marginable_buying_power": power, "options_buying_power": power,
            "long_market_value": long, "short_market_value": short, "position_market_value": long + short,
            "initial_margin": needed, "maintenance_margin": needed, "last_maintenance_margin": Decimal(0), "sma": Decimal(0),
            "accrued_fees": Decimal(0), "effective_buying_power": power,
        }  # fmt: skip
        return Answer(
            200,
            {
                "id": account.id, "account_number": account.number,
                "status": "ACTIVE", "crypto_status": "INACTIVE", "currency": "USD", "created_at": "2026-01-02T15:00:00.000000Z",
                "trading_blocked": account.trading_blocked, "account_blocked": account.account_blocked, "transfers_blocked": False,
                "trade_suspended_by_user": account.suspended, "shorting_enabled": True, "multiplier": "1",
                "options_trading_level": level, "options_approved_level": level,
                **{name: money(value) for name, value in amounts.items()},
            },
        )  # fmt: skip

    def _clock(self, _: Request) -> Answer:
        now = self.now() + (SKEW_US / 1e6 if "clock-skew" in self.faults else 0)
        session = self.book.session(now)
        is_open = session is not None and session.open_at <= now < session.close_at
        following = self.venue.calendar.next_after(new_york(now).date())
        next_open = session if session is not None and now < session.open_at else following
        next_close = session if session is not None and now < session.close_at else following
        assert next_open is not None
        assert next_close is not None
        moments = {"timestamp": now, "next_open": next_open.open_at, "next_close": next_close.close_at}
        return Answer(200, {"is_open": is_open, **{name: new_york(at).isoformat() for name, at in moments.items()}})

    def _calendar(self, request: Request) -> Answer:
        today = new_york(self.now()).date()
        day = _day(request.query.get("start"), today)
        end = _day(request.query.get("end"), today + timedelta(days=30))
        rows = []
        while day <= min(end, self.venue.calendar.last):
            if session := self.venue.calendar.on(day):
                opens, closes = new_york(session.open_at), new_york(session.close_at)
                rows.append(
                    {
                        "date": day.isoformat(), "open": f"{opens:%H:%M}", "close": f"{closes:%H:%M}", "session_open": "0400",
                        "session_close": "2000", "settlement_date": day.isoformat(),
                    }
                )  # fmt: skip
            day += timedelta(days=1)
        return Answer(200, rows)

    # --- orders --------------------------------------------------------------------------------------------------------

    def _place(self, request: Request) -> Answer:
        order = self.book.place(_json(request), self.now())
        said = self.shown(order)
        self.venue.nudge()
        return Answer(200, said)

    def _orders(self, request: Request) -> Answer:
        query = request.query
        status, limit = query.get("status", "open"), _limit(query, "limit", 50, 500)
        after, until = _when(query.get("after")), _when(query.get("until"))
        symbols = set(filter(None, query.get("symbols", "").split(",")))
        found = [
            order
            for order in self.book.orders.values()
            if (status == "all" or order.is_open == (status == "open"))
            and (after is None or order.submitted_us > after)
            and (until is None or order.submitted_us < until)
            and (not symbols or any(leg.contract.symbol in symbols for leg in order.legs))
            and query.get("side", order.legs[0].side) == order.legs[0].side
        ]
        found.sort(key=lambda order: order.submitted_us, reverse=query.get("direction", "desc") == "desc")
        follows = after is not None and any(order.submitted_us <= after + 1 for order in self.book.orders.values())
        return Answer(200, [self.shown(order) for order in self._page(found, limit, follows=follows)])

    def _page(self, rows: list[Any], limit: int, *, follows: bool) -> list[Any]:
        if follows and self.faults.take("page-500"):
            raise Refused(500, 50010000, "internal server error")
        return rows[: min(limit, 2) if "short-pages" in self.faults else limit]

    def _by_ref(self, request: Request) -> Answer:
        ref = request.query.get("client_order_id", "")
        order = self.book.by_ref(ref)
        if order is None:
            raise Refused(404, 40410000, f"order not found for {ref}")
        return Answer(200, self.shown(order))

    def _order(self, _: Request, order_id: str) -> Answer:
        return Answer(200, self.shown(self.book.order(order_id)))

    def _replace(self, request: Request, order_id: str) -> Answer:
        said = self.shown(self.book.replace(self.book.order(order_id), _json(request), self.now()))
        self.venue.nudge()
        return Answer(200, said)

    def _cancel(self, _: Request, order_id: str) -> Answer:
        self.book.cancel(self.book.order(order_id), self.now())
        self.venue.nudge()
        return Answer(204, b"")

    def _cancel_all(self, _: Request) -> Answer:
        rows = []
        for order in self.book.working:
            try:
                self.book.cancel(order, self.now())
                rows.append({"id": order.id, "status": 200})
            except Refused:
                rows.append({"id": order.id, "status": 422})
        self.venue.nudge()
        return Answer(207, rows)

    # --- positions, fills ----------------------------------------------------------------------------------------------

    def _positions(self, _: Request) -> Answer:
        return Answer(200, [self._shown_position(position) for position in self.venue.positions])

    def _shown_position(self, position: Position) -> dict[str, Any]:
        symbol = position.contract.symbol
        quote = self.book.quotes.quote(symbol)
        held = held_for_orders(self.book.orders.values(), symbol)
        return position_body(position, held, None if quote is None else quote.mid)

    def _held(self, name: str) -> Position:
        for position in self.venue.positions:
            if name in (position.contract.symbol, asset_id(position.contract.symbol)):
                return position
        raise Refused(404, 40410000, "position does not exist")

    def _position(self, _: Request, name: str) -> Answer:
        return Answer(200, self._shown_position(self._held(name)))

    def _close_position(self, request: Request, name: str) -> Answer:
        position = self._held(name)
        part = Decimal(request.query.get("percentage", "100")) / 100
        qty = request.query.get("qty") or str(int(abs(position.qty) * part))
        side = "sell" if position.qty > 0 else "buy"
        order = self.book.place(
            {"symbol": position.contract.symbol, "qty": qty, "side": side, "type": "market", "time_in_force": "day",
             "position_intent": f"{side}_to_close"},
            self.now(),
        )  # fmt: skip
        said = self.shown(order)
        self.venue.nudge()
        return Answer(200, said)

    def _activities(self, request: Request) -> Answer:
        query = request.query
        kinds = (
            {"FILL"} if request.path.endswith("/FILL") else set(filter(None, query.get("activity_types", "FILL").split(",")))
        )
        size, token = _limit(query, "page_size", 100, 100), query.get("page_token")
        after, until = _when(query.get("after")), _when(query.get("until"))
        if day := query.get("date"):
            after, until = (
                _midnight_us(date.fromisoformat(day)) - 1,
                _midnight_us(date.fromisoformat(day) + timedelta(days=1)),
            )
        found = [
            fill
            for fill in (self.venue.activities if "FILL" in kinds else [])
            if (after is None or fill.at_us > after) and (until is None or fill.at_us < until)
        ]
        if query.get("direction", "desc") == "desc":
            found.reverse()
        if token:
            ids = [fill.activity_id for fill in found]
            if token not in ids:
                raise invalid("page_token is not valid")
            found = found[ids.index(token) + 1 :]
        return Answer(200, [activity_body(fill) for fill in self._page(found, size, follows=bool(token))])

    # --- contracts -----------------------------------------------------------------------------------------------------

    def _contracts(self, request: Request) -> Answer:
        query, today = request.query, new_york(self.now()).date()
        limit, offset = _limit(query, "limit", 100, 10_000), int(query.get("page_token") or 0)
        weekend = today + timedelta(days=max(4 - today.weekday(), 0))
        first = _day(query.get("expiration_date_gte") or query.get("expiration_date"), today)
        last = _day(query.get("expiration_date_lte") or query.get("expiration_date"), weekend)
        low, high = (Decimal(query[name]) if query.get(name) else None for name in ("strike_price_gte", "strike_price_lte"))
        roots = set(filter(None, query.get("underlying_symbols", "").split(",")))
        right = {"call": "C", "put": "P"}.get(query.get("type", ""), "")
        rows = [
            row
            for row in self.book.quotes.listed()
            if first <= row.contract.expiry <= last
            and (not roots or row.contract.underlying in roots)
            and (not right or row.contract.right == right)
            and (low is None or row.contract.strike >= low)
            and (high is None or row.contract.strike <= high)
        ]
        token = str(offset + limit) if offset + limit < len(rows) else None
        shown = [self._shown_contract(row) for row in rows[offset : offset + limit]]
        return Answer(200, {"option_contracts": shown, "next_page_token": token})

    def _contract(self, _: Request, symbol: str) -> Answer:
        for row in self.book.quotes.listed():
            if row.contract.symbol == symbol:
                return Answer(200, self._shown_contract(row))
        raise Refused(404, 40410000, "option contract not found")

    def _shown_contract(self, row: Listed) -> dict[str, Any]:
        contract, kind = row.contract, "call" if row.contract.right == "C" else "put"
        night = self.venue.session_before(new_york(self.now()).date())
        return {
            "id": asset_id(contract.symbol), "symbol": contract.symbol, "status": "active", "tradable": True,
            "name": f"{contract.underlying} {contract.expiry} {money(contract.strike)} {kind}", "type": kind, "style": "american",
            "expiration_date": contract.expiry.isoformat(), "root_symbol": contract.underlying, "size": "100", "multiplier": "100",
            "underlying_symbol": contract.underlying, "underlying_asset_id": asset_id(contract.underlying),
            "strike_price": money(contract.strike), "ppind": contract.underlying in ALL_PENNIES,
            "open_interest": None if row.open_interest is None else str(row.open_interest),
            "open_interest_date": None if row.open_interest is None or night is None else night.isoformat(),
            "close_price": None, "close_price_date": None,
        }  # fmt: skip


# --- what a query says -------------------------------------------------------------------------------------------------


def _json(request: Request) -> Any:
    try:
        return msgspec.json.decode(request.body)
    except msgspec.DecodeError:
        raise Refused(400, 40010000, "request body format is invalid") from None


def _limit(query: dict[str, str], name: str, usual: int, most: int) -> int:
    limit = int(query.get(name) or usual)
    if not 1 <= limit <= most:
        raise invalid(f"{name} must be between 1 and {most}")
    return limit


def _day(text: str | None, usual: date) -> date:
    return usual if not text else date.fromisoformat(text[:10])


def _when(text: str | None) -> int | None:
    """Microseconds of an ISO time, or of the midnight of a date."""
    if not text:
        return None
    moment = datetime.fromisoformat(text.replace(" ", "+"))
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)


def _midnight_us(day: date) -> int:
    return int(midnight(day) * 1_000_000)
