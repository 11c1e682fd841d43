"""The feed: its formats above, pure; REST below. The sockets are in `stream.py`.

Bytes become events or are dropped with a reason. A malformed event drops itself, never its frame; a malformed row drops itself, never
its chain. Prices of options become whole mills, times Unix seconds; what the feed did not say is None, never a default.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from events import Bar, ChainRow, Mills, Quote, Right
from transport import Answer, Http, Refused, TryAgain, retry_after
from utils import Session, new_york

if TYPE_CHECKING:
    from config import Config
    from utils import Clock

OCC = re.compile(r"^O:([A-Z]{1,6})(\d{2})(\d{2})(\d{2})([CP])(\d{8})$", re.ASCII)
FUTURE_S = 5
VWAP_OUTSIDE = 0.01
PAGE_ROWS = 250
PAGES_MAX = 20
AGGS_MAX = 50_000
SETTLED_WITHIN_S = 60


# --- frames ------------------------------------------------------------------------------------------------------------


class Status(Struct, frozen=True):
    status: str
    message: str


class Frame(Struct):
    """What one frame held: statuses, bars, quotes by contract, and what was dropped, by reason."""

    statuses: list[Status]
    bars: list[Bar]
    quotes: list[tuple[str, Quote]]
    dropped: dict[str, int]


class _Event(Struct, gc=False):
    """Any event of the feed. Needed fields are checked where they are used; unknown ones are ignored."""

    ev: str
    sym: str = ""
    s: int | float | None = None
    o: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741 - the feed's name
    c: Any = None
    v: float | None = None
    vw: float | None = None
    bp: float | None = None
    ap: float | None = None
    bs: Any = None
    # `as` and `ax` of a quote: one is a Python word
    ask_size: Any = msgspec.field(name="as", default=None)
    t: Any = None
    status: Any = None
    message: Any = None


_events = msgspec.json.Decoder(list[_Event])
_anything = msgspec.json.Decoder()


def parse_frame(data: bytes | str) -> Frame:
    """A frame as it came over the socket. Never raises: what cannot be read is counted in `dropped`."""
    try:
        events: list[_Event] = _events.decode(data)
        dropped: Counter[str] = Counter()
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        events, dropped = _one_by_one(data)
    frame = Frame([], [], [], {})
    for event in events:
        kind = event.ev
        if kind == "A":
            bar = _bar(event)
            if isinstance(bar, str):
                dropped[bar] += 1
            else:
                frame.bars.append(bar)
        elif kind == "Q":
            if (quote := _quote(event)) is None:
                dropped["quote: malformed"] += 1
            else:
                frame.quotes.append((event.sym, quote))
        elif kind == "status":
            frame.statuses.append(Status(str(event.status or ""), str(event.message or "")))
    if dropped:
        frame.dropped = dict(dropped)
    return frame


def _one_by_one(data: bytes | str) -> tuple[list[_Event], Counter[str]]:
    """The good events of a frame that is not good as a whole."""
    dropped: Counter[str] = Counter()
    try:
        items = _anything.decode(data)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        dropped["frame: not JSON"] += 1
        return [], dropped
    if not isinstance(items, list):
        dropped["frame: not an array"] += 1
        return [], dropped
    good = []
    for item in items:
        try:
            good.append(msgspec.convert(item, _Event))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            dropped["event: malformed"] += 1
    return good, dropped


def _bar(event: _Event) -> Bar | str:
    start, close = event.s, event.c
    if (
        start is None or event.o is None or event.h is None or event.l is None or event.v is None or event.vw is None
        or not isinstance(close, int | float) or isinstance(close, bool)
    ):  # fmt: skip
        return "bar: a field is missing"
    if start % 1000:
        return "bar: start is not a whole second"
    return Bar(event.sym, int(start) // 1000, event.o, event.h, event.l, float(close), event.v, event.vw)


def check_bar(bar: Bar, now: float) -> str | None:
    """Why a bar is malformed, by the rules for bars; None if it is not."""
    low, high = bar.low, bar.high
    if not (isfinite(bar.open) and isfinite(high) and isfinite(low) and isfinite(bar.close) and isfinite(bar.vwap)):
        return "bar: not finite"
    if not 0 < low <= high:
        return "bar: price or range not possible"
    if not (low <= bar.open <= high and low <= bar.close <= high):
        return "bar: open or close outside its range"
    if not low * (1 - VWAP_OUTSIDE) <= bar.vwap <= high * (1 + VWAP_OUTSIDE):
        return "bar: VWAP outside its range"
    if not 0 <= bar.volume < float("inf"):
        return "bar: volume not possible"
    if bar.start > now + FUTURE_S:
        return "bar: from the future"
    return None


def _quote(event: _Event) -> Quote | None:
    try:
        quoted_at = None if event.t is None else int(event.t) / 1000
        return Quote(_mills(event.bp), _mills(event.ap), _whole(event.bs), _whole(event.ask_size), quoted_at)
    except (TypeError, ValueError, OverflowError):
        return None


def _mills(dollars: float | None) -> Mills | None:
    """Whole mills; None for what was not given. ValueError for what is no price."""
    if dollars is None:
        return None
    if not 0 <= dollars < 1e9:
        raise ValueError("not a price")
    return round(dollars * 1000)


def _whole(number: Any) -> int:
    if number is None or isinstance(number, bool):
        return 0
    return max(int(float(number)), 0)


# --- REST bodies -------------------------------------------------------------------------------------------------------


def parse_occ(contract: str) -> tuple[str, str, Right, Mills]:
    """(root, expiration, right, strike in mills) of `O:IWM251002C00215000`, read from the right. ValueError if it is none."""
    found = OCC.match(contract)
    if found is None:
        raise ValueError("not an option's ticker")
    root, year, month, day, right, strike = found.groups()
    return root, f"20{year}-{month}-{day}", "call" if right == "C" else "put", int(strike)


class _Details(Struct):
    ticker: str
    contract_type: str
    expiration_date: str
    strike_price: float
    shares_per_contract: float


class _Day(Struct):
    volume: float | None = None
    last_updated: int | float | None = None


class _LastQuote(Struct):
    bid: float | None = None
    ask: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    last_updated: int | float | None = None
    timeframe: str | None = None


class _Greeks(Struct):
    delta: float | None = None


class _Underlying(Struct):
    price: float | None = None
    timeframe: str | None = None


class _Row(Struct):
    details: _Details
    day: _Day | None = None
    last_quote: _LastQuote | None = None
    greeks: _Greeks | None = None
    implied_volatility: float | None = None
    open_interest: float | None = None
    underlying_asset: _Underlying | None = None


class _Chain(Struct):
    results: list[_Row] | None = None
    next_url: str | None = None


class _LooseChain(Struct):
    results: list[Any] | None = None
    next_url: str | None = None


class _One(Struct):
    results: _Row | None = None


_one = msgspec.json.Decoder(_One, strict=False)
_chain = msgspec.json.Decoder(_Chain, strict=False)
_loose_chain = msgspec.json.Decoder(_LooseChain, strict=False)


def parse_chain(body: bytes) -> tuple[list[ChainRow], str | None, dict[str, int]]:
    """One page: its rows, the next page's URL, and what was dropped. ValueError if it is no page, or has no `results`."""
    dropped: Counter[str] = Counter()
    try:
        page: _Chain | _LooseChain = _chain.decode(body)
        raw: list[Any] | None = page.results
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        try:
            page = _loose_chain.decode(body)
        except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
            raise ValueError("the answer is not a chain") from None
        raw = None if page.results is None else list(_good_rows(page.results, dropped))
    if raw is None:
        raise ValueError("the answer has no results")
    rows = []
    for item in raw:
        try:
            rows.append(_chain_row(item))
        except (ValueError, OverflowError):
            dropped["row: malformed"] += 1
    return rows, page.next_url, dict(dropped)


def _good_rows(items: list[Any], dropped: Counter[str]) -> Iterator[_Row]:
    for item in items:
        try:
            yield msgspec.convert(item, _Row, strict=False)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            dropped["row: malformed"] += 1


def _chain_row(row: _Row) -> ChainRow:
    details, quote, day, underlying = row.details, row.last_quote, row.day, row.underlying_asset
    right = details.contract_type.lower()
    if right not in ("call", "put"):
        raise ValueError("neither a call nor a put")
    strike = _mills(details.strike_price)
    if strike is None or not isfinite(details.shares_per_contract):
        raise ValueError("no strike")
    delta = None if row.greeks is None else row.greeks.delta
    return ChainRow(
        contract=details.ticker,
        right="call" if right == "call" else "put",
        strike=strike,
        expiration=details.expiration_date,
        shares=int(details.shares_per_contract),
        quote=None if quote is None else _last_quote(quote),
        delta=delta if delta is not None and -1 <= delta <= 1 else None,
        iv=_positive(row.implied_volatility),
        volume=None if day is None else _count(day.volume),
        volume_at=None if day is None else _seconds(day.last_updated),
        open_interest=_count(row.open_interest),
        underlying=None if underlying is None or _delayed(underlying.timeframe) else _positive(underlying.price),
    )


def _last_quote(quote: _LastQuote) -> Quote:
    return Quote(
        bid=_mills(quote.bid),
        ask=_mills(quote.ask),
        bid_size=_count(quote.bid_size) or 0,
        ask_size=_count(quote.ask_size) or 0,
        quoted_at=_seconds(quote.last_updated),
        delayed=_delayed(quote.timeframe),
    )


def _delayed(timeframe: str | None) -> bool:
    return timeframe is not None and timeframe.upper() == "DELAYED"


def _positive(number: float | None) -> float | None:
    return number if number is not None and 0 < number < float("inf") else None


def _count(number: float | None) -> int | None:
    return int(number) if number is not None and 0 <= number < 1e15 else None


def _seconds(nanoseconds: float | None) -> float | None:
    """Unix seconds of a time in nanoseconds; None if it is none (a feed that mixes its units has said nothing)."""
    if nanoseconds is None or not 1e17 < nanoseconds < 1e19:
        return None
    return nanoseconds / 1e9


def parse_contract(body: bytes) -> ChainRow:
    """The answer for one contract: `results` is an object. ValueError if it is not there."""
    try:
        row = _one.decode(body).results
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        raise ValueError("the answer is not a contract") from None
    if row is None:
        raise ValueError("the answer has no results")
    return _chain_row(row)


class _Agg(Struct):
    t: int | float
    o: float
    h: float
    l: float  # noqa: E741 - the feed's name
    c: float
    v: float
    vw: float | None = None


class _Aggs(Struct):
    status: str = ""
    results: list[_Agg] | None = None
    next_url: str | None = None


_aggs = msgspec.json.Decoder(_Aggs, strict=False)


def parse_aggs(body: bytes, symbol: str) -> tuple[list[Bar], str | None]:
    """Bars of a page of aggregates (a VWAP that was not given is NaN), and the next page's URL.

    No `results` means there are none. ValueError if it is no page.
    """
    try:
        page = _aggs.decode(body)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        raise ValueError("the answer is not a page of bars") from None
    if not page.status:
        raise ValueError("the answer has no status")
    bars = [
        Bar(symbol, int(row.t) // 1000, row.o, row.h, row.l, row.c, row.v, nan if row.vw is None else row.vw)
        for row in page.results or ()
    ]
    return bars, page.next_url


def parse_market_time(body: bytes) -> float:
    """`serverTime` in Unix seconds. ValueError if it is not there."""
    from datetime import datetime

    try:
        told = msgspec.json.decode(body, type=dict[str, Any]).get("serverTime")
        at = datetime.fromisoformat(told) if isinstance(told, str) else None
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError("the answer has no time")
    return at.timestamp()


# --- REST --------------------------------------------------------------------------------------------------------------


class Rest:
    """Questions to the feed. One thread, one connection. Raises TryAgain or Refused, with reasons fit for people."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        key = config.polygon_api_key.get_secret_value()
        self.http = Http(config.polygon_rest_url, config.http_timeout_seconds, {"Authorization": f"Bearer {key}"})

    def chain(self, right: Right, expiration: str) -> list[ChainRow]:
        """Every row of one expiry and right; a page that has expired meanwhile means to begin again, once."""
        try:
            return self._pages(right, expiration)
        except _PageExpired:
            return self._pages(right, expiration)

    def _pages(self, right: Right, expiration: str) -> list[ChainRow]:
        params = {
            "expiration_date": expiration,
            "contract_type": right,
            "limit": PAGE_ROWS,
            "order": "asc",
            "sort": "strike_price",
        }
        path: str | None = f"/v3/snapshot/options/{self.config.symbol}"
        rows: dict[str, ChainRow] = {}
        seen: set[str] = set()
        while path is not None:
            if path in seen or len(seen) >= PAGES_MAX:
                raise TryAgain("the chain's pages never end")
            answer = self._answer(path, None if seen else params, paging=bool(seen))
            seen.add(path)
            page, path, _ = self._read(parse_chain, answer.body)
            for row in page:
                if row.right == right and row.expiration == expiration:
                    rows[row.contract] = row
        return list(rows.values())

    def contract(self, contract: str) -> ChainRow:
        answer = self._answer(f"/v3/snapshot/options/{self.config.symbol}/{contract}")
        row: ChainRow = self._read(parse_contract, answer.body)
        if row.contract != contract:
            raise TryAgain("the answer is of another contract")
        return row

    def second_bars(self, symbol: str, start: int, end: int) -> list[Bar]:
        """Second bars that start in [start, end), in order of time, malformed ones left out."""
        bars = self._bars(symbol, "second", start * 1000, end * 1000 - 1)
        now = self.clock.now()
        return [bar for bar in bars if start <= bar.start < end and check_bar(bar, now) is None]

    def minute_bars(self, symbol: str, first: date, last: date) -> dict[date, list[tuple[int, float]]]:
        """(start, volume) of every minute bar of the days from `first` to `last`, by New York date."""
        found: dict[date, list[tuple[int, float]]] = {}
        for bar in self._bars(symbol, "minute", first.isoformat(), last.isoformat()):
            found.setdefault(new_york(bar.start).date(), []).append((bar.start, bar.volume))
        return found

    def session_close(self, symbol: str, session: Session) -> float | None:
        """The last price of the regular session; None if the feed has no bar of its last minute."""
        start = session.close_at - SETTLED_WITHIN_S
        bars = self._bars(symbol, "second", start * 1000, session.close_at * 1000 - 1)
        inside = [bar for bar in bars if start <= bar.start < session.close_at and check_bar(bar, self.clock.now()) is None]
        if not inside:
            minutes = self._bars(symbol, "minute", start * 1000, session.close_at * 1000 - 1)
            inside = [bar for bar in minutes if bar.start == start and check_bar(bar, self.clock.now()) is None]
        return max(inside, key=lambda bar: bar.start).close if inside else None

    def market_time(self) -> float:
        at: float = self._read(parse_market_time, self._answer("/v1/marketstatus/now").body)
        return at

    def _bars(self, symbol: str, span: str, first: int | str, last: int | str) -> list[Bar]:
        path: str | None = f"/v2/aggs/ticker/{symbol}/range/1/{span}/{first}/{last}"
        params = {"adjusted": "true", "sort": "asc", "limit": AGGS_MAX}
        bars: list[Bar] = []
        seen: set[str] = set()
        while path is not None:
            if path in seen or len(seen) >= PAGES_MAX:
                raise TryAgain("the pages of bars never end")
            answer = self._answer(path, None if seen else params)
            seen.add(path)
            page, path = self._read(lambda body: parse_aggs(body, symbol), answer.body)
            bars += page
        return bars

    def _read(self, parse: Any, body: bytes) -> Any:
        try:
            return parse(body)
        except ValueError as fault:
            raise TryAgain(str(fault)) from None

    def _answer(self, path: str, params: dict[str, Any] | None = None, *, paging: bool = False) -> Answer:
        answer = self.http.get(path, params)
        match answer.status:
            case 200:
                return answer
            case 401:
                raise Refused(f"the key is not accepted (401): {prose(answer.body)}", 401)
            case 403:
                raise Refused(f"the plan does not include this (403): {prose(answer.body)}", 403)
            case 429:
                pause = retry_after(answer.headers, self.clock.now())
                raise TryAgain("too many requests (429)", retry_after_s=60.0 if pause is None else pause)
            case 400 if paging:
                raise _PageExpired("the next page is gone (400)")
            case 404:
                raise TryAgain("not found (404)")
        raise TryAgain(f"the server answers {answer.status}", retry_after_s=retry_after(answer.headers, self.clock.now()))


class _PageExpired(TryAgain):
    pass


def prose(body: bytes) -> str:
    """What the server says of a refusal, cut to a line."""
    try:
        told = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        return "no reason given"
    words = told.get("error") or told.get("message") or "no reason given"
    return " ".join(str(words).split())[:200]
