"""The REST side: chain snapshots, single contracts, aggregates, past option quotes and market status, as Massive answers them.

Rules: answers are of the market's time. `next_url` is absolute and holds a cursor, never a key. `keys` empty accepts any
key; `plan` False answers 403 to snapshots and quotes; `per_minute` limits requests a minute of market time; `pages_of` cuts pages.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np
from exchange_calendars import get_calendar
from numpy.typing import NDArray

from simulator.chain import CALL, PUT
from simulator.exchange import Market, expiry_of, midnight
from simulator.http import Answer, HttpServer, Request
from simulator.market import COLUMN_NAMES, Columns, aggregate
from utils import new_york

NS = 1_000_000_000
SPANS_S = {"second": 1, "minute": 60, "hour": 3600}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "": lambda a, b: a == b, ".gte": lambda a, b: a >= b, ".gt": lambda a, b: a > b,
    ".lte": lambda a, b: a <= b, ".lt": lambda a, b: a < b,
}  # fmt: skip
NOT_ENTITLED = "You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing"
TOO_FAST = (
    "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue. "
    "https://massive.com/pricing"
)


class Refused(Exception):
    """A request that gets an error: its status and the body's own words."""

    def __init__(self, code: int, **body: str) -> None:
        super().__init__(str(body))
        self.answer = Answer(code, {**body, "request_id": uuid4().hex})


class RestServer(HttpServer):
    """Massive's REST interface over a market."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.keys: set[str] = set()
        self.plan = True
        self.per_minute: int | None = None
        self.pages_of: int | None = None
        self._asked: deque[float] = deque()
        self._upcoming: dict[date, list[dict[str, str]]] = {}
        super().__init__(market.clock.now)

    def answer(self, request: Request) -> Answer:
        try:
            self._admit(request)
            body = self._body(request)
        except Refused as refused:
            return refused.answer
        except (ValueError, OverflowError) as wrong:
            return Answer(400, {"status": "ERROR", "request_id": uuid4().hex, "error": str(wrong)})
        return Answer(200, body)

    def _admit(self, request: Request) -> None:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        key = bearer.strip() if scheme.lower() == "bearer" else request.query.get("apiKey", "")
        if not key or (self.keys and key not in self.keys):
            raise Refused(401, status="ERROR", error="Unknown API Key")
        if self.per_minute is not None:
            now = self.now()
            while self._asked and self._asked[0] <= now - 60:
                self._asked.popleft()
            if len(self._asked) >= self.per_minute:
                raise Refused(429, status="ERROR", error=TOO_FAST)
            self._asked.append(now)

    def _body(self, request: Request) -> Any:
        path = request.path
        if match := re.fullmatch(r"/v3/snapshot/options/([A-Z]+)", path):
            return self._chain(match[1], request.query)
        if match := re.fullmatch(r"/v3/snapshot/options/([A-Z]+)/(O:\w+)", path):
            return self._contract(match[1], match[2])
        if match := re.fullmatch(r"/v2/aggs/ticker/([\w.:]+)/range/(\d+)/(\w+)/([\d-]+)/([\d-]+)", path):
            return self._aggregates(match[1], int(match[2]), match[3], match[4], match[5], request.query)
        if match := re.fullmatch(r"/v3/quotes/(O:\w+)", path):
            return self._quotes(match[1], request.query)
        if path == "/v1/marketstatus/now":
            return self._status()
        if path == "/v1/marketstatus/upcoming":
            return self._holidays()
        raise Refused(404, status="NOT_FOUND", message="page not found")

    # --- options -------------------------------------------------------------------------------------------------------

    def _chain(self, underlying: str, query: dict[str, str]) -> dict[str, Any]:
        if not self.plan:
            raise Refused(403, status="NOT_AUTHORIZED", message=NOT_ENTITLED)
        query, offset, limit = _page(query, 10, 250)
        right = query.get("contract_type")
        if right not in (None, "call", "put"):
            raise ValueError("contract_type must be call or put")
        rights = (CALL, PUT) if right is None else (CALL,) if right == "call" else (PUT,)
        rows = []
        for expiry in self.market.expirations(underlying):
            if _passes(query, "expiration_date", expiry.isoformat(), str):
                rows += self.market.rows(expiry, rights, underlying=underlying)
        rows = [row for row in rows if _passes(query, "strike_price", row["details"]["strike_price"], float)]
        sort = query.get("sort", "ticker")
        if sort not in ("ticker", "expiration_date", "strike_price"):
            raise ValueError("sort must be ticker, expiration_date or strike_price")
        rows.sort(key=lambda row: (row["details"][sort], row["details"]["ticker"]), reverse=query.get("order") == "desc")
        size = min(limit, self.pages_of or limit)
        body: dict[str, Any] = {"request_id": uuid4().hex, "results": rows[offset : offset + size], "status": self._word()}
        if offset + size < len(rows):
            asked = {name: value for name, value in query.items() if name != "apiKey"}
            cursor = _cursor({"query": asked, "offset": offset + size})
            body["next_url"] = f"{self.url}/v3/snapshot/options/{underlying}?cursor={cursor}"
        return body

    def _contract(self, underlying: str, ticker: str) -> dict[str, Any]:
        if not self.plan:
            raise Refused(403, status="NOT_AUTHORIZED", message=NOT_ENTITLED)
        expiry = expiry_of(ticker)
        listed = expiry in self.market.expirations(underlying)
        rows = self.market.rows(expiry, (CALL, PUT), only=ticker, underlying=underlying) if listed and expiry else []
        if not rows:
            raise Refused(404, status="NOT_FOUND", message="Options contract not found.")
        return {"request_id": uuid4().hex, "results": rows[0], "status": self._word()}

    def _quotes(self, ticker: str, query: dict[str, str]) -> dict[str, Any]:
        """Past quotes, the newest first unless asked otherwise."""
        if not self.plan:
            raise Refused(403, status="NOT_AUTHORIZED", message=NOT_ENTITLED)
        query, offset, limit = _page(query, 1000, 50_000)
        if query.get("sort", "timestamp") != "timestamp":
            raise ValueError("sort must be timestamp")
        past = self.market.past_quotes(ticker)
        chosen = np.empty(0, np.int64) if past is None else np.flatnonzero(_when(query, past.at_ns))
        if query.get("order", "desc") == "desc":
            chosen = chosen[::-1]
        size = min(limit, self.pages_of or limit)
        page = chosen[offset : offset + size]
        columns = () if past is None else (page.tolist(), *(column[page].tolist() for column in past))
        body: dict[str, Any] = {
            "request_id": uuid4().hex, "status": self._word(),
            "results": [
                {
                    "ask_exchange": 302, "ask_price": ask / 1000, "ask_size": asked, "bid_exchange": 316, "bid_price": bid / 1000,
                    "bid_size": wanted, "sequence_number": number + 1, "sip_timestamp": at,
                }
                for number, at, bid, ask, wanted, asked in zip(*columns, strict=True)
            ],
        }  # fmt: skip
        if offset + size < len(chosen):
            asked_for = {name: value for name, value in query.items() if name != "apiKey"}
            body["next_url"] = (
                f"{self.url}/v3/quotes/{ticker}?cursor={_cursor({'query': asked_for, 'offset': offset + size})}"
            )
        return body

    def _word(self) -> str:
        return "DELAYED" if self.market.lag_s else "OK"

    # --- aggregates ----------------------------------------------------------------------------------------------------

    def _aggregates(
        self, ticker: str, times: int, span: str, first: str, last: str, query: dict[str, str]
    ) -> dict[str, Any]:
        if span not in (*SPANS_S, "day") or times < 1:
            raise ValueError(f"timespan {span!r} is not served here")
        begin, end = _moment(first, end=False), _moment(last, end=True)
        limit, sort = int(query.get("limit", "5000")), query.get("sort", "asc")
        if "cursor" in query:
            kept = _uncursor(query["cursor"])
            limit, sort, begin, end = kept["limit"], kept["sort"], kept["begin"], kept["end"]
        if not 1 <= limit <= 50_000:
            raise ValueError("limit must be between 1 and 50000")
        bars = self._bars(ticker, times, span, begin, end)
        scanned = max(limit // times, 1)
        if sort == "desc":
            bars = bars.take(slice(None, None, -1))
        page = bars.take(slice(0, scanned))
        body: dict[str, Any] = {
            "ticker": ticker, "queryCount": len(page) * times, "resultsCount": len(page), "adjusted": True,
            "status": self._word(), "request_id": uuid4().hex, "count": len(page),
        }  # fmt: skip
        if len(page):
            body["results"] = [
                {"v": v, "vw": vw, "o": o, "c": c, "h": h, "l": low, "t": t * 1000, "n": n}
                for t, o, h, low, c, v, vw, n in zip(*(getattr(page, name).tolist() for name in COLUMN_NAMES), strict=True)
            ]
        if len(bars) > scanned:
            following = int(bars.start[scanned])
            begin, end = (following * 1000, end) if sort == "asc" else (begin, following * 1000)
            cursor = _cursor({"limit": limit, "sort": sort, "begin": begin, "end": end})
            body["next_url"] = f"{self.url}/v2/aggs/ticker/{ticker}/range/{times}/{span}/{begin}/{last}?cursor={cursor}"
        return body

    def _bars(self, ticker: str, times: int, span: str, begin: int, end: int) -> Columns:
        """Bars whose start lies in [begin, end] milliseconds."""
        parts: list[Columns] = []
        day, until = new_york(begin / 1000).date(), new_york(min(end / 1000, self.now() + 86_400)).date()
        day = max(day, self.market.calendar.first)
        while day <= until:
            bars = self.market.known(ticker, day) if span == "second" else self.market.minutes(ticker, day)
            if bars is not None and len(bars):
                parts.append(self._summed(bars, day, times, span))
            day += timedelta(days=1)
        if not parts:
            return Columns.none()
        bars = Columns.joined(parts)
        return bars.take((bars.start * 1000 >= begin) & (bars.start * 1000 <= end))

    def _summed(self, bars: Columns, day: date, times: int, span: str) -> Columns:
        if span != "day":
            return aggregate(bars, SPANS_S[span] * times) if (span, times) != ("minute", 1) else bars
        session = self.market.calendar.on(day)
        if session is not None:
            bars = bars.take((bars.start >= session.open_at) & (bars.start < session.close_at))
        return aggregate(bars, 86_400, int(midnight(day)))

    # --- the calendar --------------------------------------------------------------------------------------------------

    def _status(self) -> dict[str, Any]:
        now = self.now()
        moment = new_york(now)
        session = self.market.calendar.on(moment.date())
        is_open = session is not None and session.open_at <= now < session.close_at
        hour = moment.hour + moment.minute / 60
        early = session is not None and hour >= 4 and now < session.open_at
        after = session is not None and session.close_at <= now and hour < 20
        word = "open" if is_open else "extended-hours" if early or after else "closed"
        return {
            "afterHours": after, "currencies": {"crypto": "open", "fx": "open"}, "earlyHours": early,
            "exchanges": dict.fromkeys(("nasdaq", "nyse", "otc"), word),
            "indicesGroups": dict.fromkeys(("s_and_p", "dow_jones", "nasdaq", "cccy"), "open" if is_open else "closed"),
            "market": word, "serverTime": moment.isoformat(timespec="seconds"),
        }  # fmt: skip

    def _holidays(self) -> list[dict[str, str]]:
        """Closures and early closes of the coming weeks, a row an exchange."""
        today = new_york(self.now()).date()
        if today not in self._upcoming:
            calendar, last = get_calendar("XNYS"), today + timedelta(days=45)
            named = calendar.regular_holidays.holidays(str(today), str(last), return_name=True)
            found = [(day.date(), str(name)) for day, name in named.items()]
            for _, early in calendar.special_closes:
                named = early.holidays(str(today), str(last), return_name=True)
                found += [(day.date(), str(name)) for day, name in named.items()]
            self._upcoming[today] = [row for day, name in sorted(found) if day > today for row in self._rows_of(day, name)]
        return self._upcoming[today]

    def _rows_of(self, day: date, name: str) -> list[dict[str, str]]:
        session = self.market.calendar.on(day)
        row = {"date": day.isoformat(), "name": name, "status": "closed" if session is None else "early-close"}
        if session is not None:
            row |= {"open": _utc(session.open_at), "close": _utc(session.close_at)}
        return [{**row, "exchange": exchange} for exchange in ("NYSE", "NASDAQ", "OTC")]


def _utc(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _moment(text: str, *, end: bool) -> int:
    """Milliseconds of a bound: a New York date (whole, at the end) or milliseconds as they are."""
    if "-" not in text:
        return int(text)
    day = date.fromisoformat(text)
    return int(midnight(day + timedelta(days=1)) * 1000) - 1 if end else int(midnight(day) * 1000)


def _passes(query: dict[str, str], name: str, value: Any, read: Callable[[str], Any]) -> bool:
    asked = [(compare, query[name + suffix]) for suffix, compare in COMPARISONS.items() if name + suffix in query]
    return all(compare(value, read(bound)) for compare, bound in asked)


def _when(query: dict[str, str], at_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which times the `timestamp` parameters let through: nanoseconds, or dates of New York."""
    chosen = np.ones(len(at_ns), np.bool_)
    for suffix, compare in COMPARISONS.items():
        if text := query.get(f"timestamp{suffix}"):
            if "-" not in text:
                chosen &= compare(at_ns, int(text))
                continue
            first, after = (int(midnight(date.fromisoformat(text) + timedelta(days=k))) * NS for k in (0, 1))
            chosen &= compare(at_ns, first) if suffix else (at_ns >= first) & (at_ns < after)
    return chosen


def _cursor(state: dict[str, Any]) -> str:
    return urlsafe_b64encode(msgspec.json.encode(state)).decode().rstrip("=")


def _uncursor(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=dict[str, Any])
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise ValueError("the cursor is invalid or has expired") from error


def _page(query: dict[str, str], usual: int, most: int) -> tuple[dict[str, str], int, int]:
    """What is asked for, from which row on, and how many rows; a cursor carries the first question along."""
    offset = 0
    if "cursor" in query:
        kept = _uncursor(query["cursor"])
        query, offset = {str(name): str(value) for name, value in kept["query"].items()}, int(kept["offset"])
    limit = int(query.get("limit", usual))
    if not 1 <= limit <= most:
        raise ValueError(f"limit must be between 1 and {most}")
    return query, offset, limit
