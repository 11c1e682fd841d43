"""The feed: its formats above, pure; REST below. The sockets are in `edges/stream.py`.

Bytes become events or are dropped with a reason. A malformed event drops itself, never its frame; a malformed row drops itself, never
its chain. Prices of options become whole mills, times Unix seconds; what the feed did not say is None, never a default.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import date, datetime
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from events import Bar, ChainRow, Mills, Quote, Right
from logger import Redactor
from utils import Session, new_york, underlying_of
from wire.budget import Budget
from wire.transport import Http, Refused, Response, TryAgain, plain, retry_after

if TYPE_CHECKING:
    from config import Config
    from utils import Clock

T = TypeVar("T")

VENDOR_HOSTS = ("api.massive.com", "api.polygon.io")
FUTURE_S = 5
EARLIEST_MS = 946_684_800_000  # 2000-01-01: what is earlier is in other units
DEAREST = 1e6
VWAP_OUTSIDE = 0.01
PAGE_ROWS = 250
PAGES_MAX, PAGES_S = 20, 8.0  # all of them together, in earnest
AGGS_MAX = 50_000
ROWS_MAX = 100_000  # a day of seconds, early and late hours and all, is 57,600
SETTLED_WITHIN_S = 60


# --- frames ------------------------------------------------------------------------------------------------------------


class Status(Struct, frozen=True, gc=False, tag_field="ev", tag="status"):
    """Of any type, for a status is heeded whatever its words are."""

    status: Any = ""
    message: Any = ""


class Frame(Struct):
    """What one frame held: statuses, bars, quotes by contract, and what was dropped, by reason."""

    statuses: list[Status]
    bars: list[Bar]
    quotes: list[tuple[str, Quote]]
    dropped: dict[str, int]


class _Second(Struct, gc=False, tag_field="ev", tag="A"):
    """An `A` event: only what is used. `z` is left out, for it is at times no whole number."""

    sym: str
    s: int | float
    o: float
    h: float
    l: float  # noqa: E741 - the feed's name
    c: float
    v: float
    vw: float


class _Nbbo(Struct, gc=False, tag_field="ev", tag="Q"):
    """A `Q` event of an option."""

    sym: str
    bp: float | None = None
    ap: float | None = None
    bs: float | None = None
    ask_size: float | None = msgspec.field(name="as", default=None)
    t: int | float | None = None


class _Kind(Struct, gc=False):
    ev: str


_Event = _Second | _Nbbo | Status
_events = msgspec.json.Decoder(list[_Event])
_event = msgspec.json.Decoder(_Event)
_kind = msgspec.json.Decoder(_Kind)
_pieces = msgspec.json.Decoder(list[msgspec.Raw])
UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


def parse_frame(data: bytes | str) -> Frame:
    """A frame as it came over the socket. Never raises: what cannot be read is counted in `dropped`."""
    frame = Frame([], [], [], {})
    try:
        events = _events.decode(data)
    except UNREADABLE:
        events = _one_by_one(data, frame.dropped)
    for event in events:
        if isinstance(event, _Second):
            bar = _bar(event)
            if isinstance(bar, Bar):
                frame.bars.append(bar)
            else:
                _count_one(frame.dropped, bar)
        elif isinstance(event, _Nbbo):
            try:
                frame.quotes.append((event.sym, _quote(event)))
            except UNREADABLE:
                _count_one(frame.dropped, "quote: malformed")
        else:
            frame.statuses.append(event)
    return frame


def _one_by_one(data: bytes | str, dropped: dict[str, int]) -> list[_Event]:
    """The good events of a frame that is not good as a whole. Kinds of event that are not ours are no fault."""
    try:
        pieces = _pieces.decode(data)
    except msgspec.ValidationError:
        _count_one(dropped, "frame: not an array")
        return []
    except UNREADABLE:
        _count_one(dropped, "frame: not JSON")
        return []
    good = []
    for piece in pieces:
        try:
            good.append(_event.decode(piece))
        except UNREADABLE:
            kind = _kind_of(piece)
            if kind in ("A", "Q", "status", None):
                _count_one(dropped, {"A": "bar: malformed", "Q": "quote: malformed"}.get(kind or "", "event: malformed"))
    return good


def _kind_of(piece: msgspec.Raw) -> str | None:
    try:
        return _kind.decode(piece).ev
    except UNREADABLE:
        return None


def _count_one(counts: dict[str, int], reason: str) -> None:
    counts[reason] = counts.get(reason, 0) + 1


def _bar(event: _Second) -> Bar | str:
    start = event.s
    if start % 1000:
        return "bar: start is not a whole second"
    if start < EARLIEST_MS:
        return "bar: start is not in milliseconds"
    return Bar(event.sym, int(start) // 1000, event.o, event.h, event.l, event.c, event.v, event.vw)


def check_bar(bar: Bar, now: float) -> str | None:
    """Why a bar is malformed, by the rules for bars; None if it is not."""
    low, high = bar.low, bar.high
    if (
        0 < low <= bar.open <= high < inf
        and low <= bar.close <= high
        and low * (1 - VWAP_OUTSIDE) <= bar.vwap <= high * (1 + VWAP_OUTSIDE)
        and 0 <= bar.volume < inf
        and bar.start <= now + FUTURE_S
    ):
        return None
    if not all(map(isfinite, (bar.open, high, low, bar.close, bar.volume, bar.vwap))):
        return "bar: not finite"
    if not 0 < low <= high:
        return "bar: price or range not possible"
    if not (low <= bar.open <= high and low <= bar.close <= high):
        return "bar: open or close outside its range"
    if bar.volume < 0:
        return "bar: volume not possible"
    if bar.start > now + FUTURE_S:
        return "bar: from the future"
    return "bar: VWAP outside its range"


def _quote(event: _Nbbo) -> Quote:
    quoted_at = None if event.t is None or not 1e11 < event.t < 1e13 else event.t / 1000
    return Quote(_mills(event.bp), _mills(event.ap), _count(event.bs) or 0, _count(event.ask_size) or 0, quoted_at)


def _mills(dollars: float | None) -> Mills | None:
    """Whole mills; None for what was not given. ValueError for what is no price."""
    if dollars is None:
        return None
    if not 0 <= dollars < DEAREST:
        raise ValueError("not a price")
    return round(dollars * 1000)


# --- REST bodies -------------------------------------------------------------------------------------------------------


class _Details(Struct, gc=False):
    ticker: str
    contract_type: str
    expiration_date: str
    strike_price: float
    shares_per_contract: float


class _Day(Struct, gc=False):
    volume: float | None = None
    last_updated: int | float | None = None


class _LastQuote(Struct, gc=False):
    bid: float | None = None
    ask: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    last_updated: int | float | None = None
    timeframe: str | None = None


class _Greeks(Struct, gc=False):
    delta: float | None = None


class _Underlying(Struct, gc=False):
    price: float | None = None
    timeframe: str | None = None


class _Row(Struct, gc=False):
    details: _Details
    day: _Day | None = None
    last_quote: _LastQuote | None = None
    greeks: _Greeks | None = None
    implied_volatility: float | None = None
    open_interest: float | None = None
    underlying_asset: _Underlying | None = None


class _Chain(Struct, gc=False):
    results: list[_Row] | None = None
    next_url: str | None = None
    status: str = ""


class _LooseChain(Struct):
    results: list[msgspec.Raw] | None = None
    next_url: str | None = None
    status: str = ""


class _One(Struct):
    results: _Row | None = None
    status: str = ""


# not strict: a number may come as a string
_one = msgspec.json.Decoder(_One, strict=False)
_chain = msgspec.json.Decoder(_Chain, strict=False)
_loose_chain = msgspec.json.Decoder(_LooseChain)
_row = msgspec.json.Decoder(_Row, strict=False)


def parse_chain(body: bytes) -> tuple[list[ChainRow], str | None, dict[str, int]]:
    """One page: its rows, the next page's URL, and what was dropped. ValueError if it is no page, or has no `results`."""
    dropped: dict[str, int] = {}
    try:
        page = _chain.decode(body)
    except UNREADABLE:
        page = _row_by_row(body, dropped)
    if page.results is None:
        raise ValueError("the answer has no results")
    late = _delayed(page.status)
    rows = []
    for row in page.results:
        try:
            rows.append(_chain_row(row, late))
        except UNREADABLE:
            _count_one(dropped, "row: malformed")
    return rows, page.next_url, dropped


def _row_by_row(body: bytes, dropped: dict[str, int]) -> _Chain:
    try:
        page = _loose_chain.decode(body)
    except UNREADABLE:
        raise ValueError("the answer is not a chain") from None
    return _Chain(_good(_row, page.results, "row: malformed", dropped), page.next_url, page.status)


def _good(
    decoder: msgspec.json.Decoder[T], pieces: list[msgspec.Raw] | None, otherwise: str, dropped: dict[str, int]
) -> list[T] | None:
    """Those of the pieces that can be read."""
    if pieces is None:
        return None
    good = []
    for piece in pieces:
        try:
            good.append(decoder.decode(piece))
        except UNREADABLE:
            _count_one(dropped, otherwise)
    return good


def _chain_row(row: _Row, late: bool) -> ChainRow:
    """`late`: the whole answer is marked as delayed. ValueError for a row that cannot be what it says."""
    details, quote, day, underlying = row.details, row.last_quote, row.day, row.underlying_asset
    right = details.contract_type.lower()
    if right not in ("call", "put"):
        raise ValueError("neither a call nor a put")
    strike = _mills(details.strike_price)
    ticker, day_text = details.ticker, details.expiration_date
    if strike is None or ticker[-15:] != f"{day_text[2:4]}{day_text[5:7]}{day_text[8:]}{right[0].upper()}{strike:08}":
        raise ValueError("the ticker says otherwise")
    if details.shares_per_contract % 1:
        raise ValueError("no whole number of shares")
    delta = None if row.greeks is None else row.greeks.delta
    return ChainRow(
        contract=ticker,
        right="call" if right == "call" else "put",
        strike=strike,
        expiration=day_text,
        shares=int(details.shares_per_contract),
        quote=None if quote is None else _last_quote(quote, late),
        delta=delta if delta is not None and -1 <= delta <= 1 else None,
        iv=_positive(row.implied_volatility),
        volume=None if day is None else _count(day.volume),
        volume_at=None if day is None else _seconds(day.last_updated),
        open_interest=_count(row.open_interest),
        underlying=None if underlying is None or _delayed(underlying.timeframe) else _positive(underlying.price),
    )


def _last_quote(quote: _LastQuote, late: bool) -> Quote:
    return Quote(
        bid=_mills(quote.bid),
        ask=_mills(quote.ask),
        bid_size=_count(quote.bid_size) or 0,
        ask_size=_count(quote.ask_size) or 0,
        quoted_at=_seconds(quote.last_updated),
        delayed=late if quote.timeframe is None else _delayed(quote.timeframe),
    )


def _delayed(timeframe: str | None) -> bool:
    return timeframe is not None and timeframe.upper() == "DELAYED"


def _positive(number: float | None) -> float | None:
    return number if number is not None and 0 < number < inf else None


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
        answer = _one.decode(body)
    except UNREADABLE:
        raise ValueError("the answer is not a contract") from None
    if answer.results is None:
        raise ValueError("the answer has no results")
    return _chain_row(answer.results, _delayed(answer.status))


class _Agg(Struct, gc=False):
    t: int | float
    o: float
    h: float
    l: float  # noqa: E741 - the feed's name
    c: float
    v: float
    vw: float | None = None


class _Aggs(Struct):
    status: str
    results: list[msgspec.Raw] | None = None
    next_url: str | None = None


_aggs = msgspec.json.Decoder(_Aggs)
_agg = msgspec.json.Decoder(_Agg, strict=False)


def parse_aggs(body: bytes, symbol: str) -> tuple[list[Bar], str | None, dict[str, int]]:
    """Bars of a page of aggregates (a VWAP that was not given is NaN), the next page's URL, and what was dropped.

    No `results` means there are none. ValueError if it is no page.
    """
    try:
        page = _aggs.decode(body)
    except UNREADABLE:
        raise ValueError("the answer is not a page of bars") from None
    if page.status not in ("OK", "DELAYED"):
        said = page.status if re.fullmatch(r"[A-Z_]{1,20}", page.status) else "no status"
        raise ValueError(f"the answer is no page of bars but says {said}")
    dropped: dict[str, int] = {}
    bars = []
    for row in _good(_agg, page.results, "bar: malformed", dropped) or ():
        if row.t % 1000 or row.t < EARLIEST_MS or not 0 <= row.v < inf:
            _count_one(dropped, "bar: malformed")
            continue
        vwap = nan if row.vw is None else row.vw
        bars.append(Bar(symbol, int(row.t) // 1000, row.o, row.h, row.l, row.c, row.v, vwap))
    return bars, page.next_url, dropped


class _Now(Struct):
    serverTime: str


_now = msgspec.json.Decoder(_Now)


def parse_market_time(body: bytes) -> float:
    """`serverTime` in Unix seconds. ValueError if it is not there."""
    try:
        at = datetime.fromisoformat(_now.decode(body).serverTime)
    except UNREADABLE:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError("the answer has no time")
    return at.timestamp()


# --- REST --------------------------------------------------------------------------------------------------------------


class Rest:
    """Questions to the feed. One thread, one connection. Raises TryAgain or Refused, with reasons fit for people.

    `dropped` counts, by reason, what was malformed in the answers since it was last cleared. `budget` is shared by all who ask;
    what is `urgent` (an exit's quote) does not wait for it.
    """

    def __init__(self, config: Config, clock: Clock, budget: Budget | None = None, *, urgent: bool = False) -> None:
        self.config, self.clock = config, clock
        self.budget, self.urgent = budget or Budget(), urgent
        self.dropped: dict[str, int] = {}
        self._redacted = Redactor(config.secrets())
        self.http = Http(
            config.polygon_rest_url,
            config.http_timeout_seconds,
            {"Authorization": f"Bearer {config.polygon_api_key.get_secret_value()}"},
            allowed_hosts=VENDOR_HOSTS,
        )

    def chain(self, underlying: str, right: Right, expiration: str) -> list[ChainRow]:
        """Every row of one expiry and right, none if nothing expires; a page that is gone meanwhile means to begin again, once."""
        try:
            return self._chain_pages(underlying, right, expiration)
        except _PageExpired:
            return self._chain_pages(underlying, right, expiration)

    def _chain_pages(self, underlying: str, right: Right, expiration: str) -> list[ChainRow]:
        params = {"expiration_date": expiration, "contract_type": right, "limit": PAGE_ROWS}
        params |= {"order": "asc", "sort": "strike_price"}
        rows = self._pages(f"/v3/snapshot/options/{underlying}", params, parse_chain)
        return list({row.contract: row for row in rows if row.right == right and row.expiration == expiration}.values())

    def contract(self, contract: str) -> ChainRow:
        answer = self._answer(f"/v3/snapshot/options/{underlying_of(contract)}/{contract}")
        row = self._read(parse_contract, answer.body)
        if row.contract != contract:
            raise TryAgain("the answer is of another contract")
        return row

    def second_bars(self, symbol: str, start: int, end: int) -> list[Bar]:
        """Second bars that start in [start, end), in order of time, malformed ones left out."""
        bars = self._bars(symbol, "second", start * 1000, end * 1000 - 1)
        return self._sound([bar for bar in bars if start <= bar.start < end])

    def minutes_of(self, symbol: str, start: int, end: int) -> list[Bar]:
        """Minute bars that start in [start, end), in order of time, malformed ones left out."""
        return self._sound(self._bars(symbol, "minute", start * 1000, end * 1000 - 1))

    def minute_bars(self, symbol: str, first: date, last: date) -> dict[date, list[tuple[int, float]]]:
        """(start, volume) of every minute bar of the days from `first` to `last`, by New York date."""
        found: dict[date, list[tuple[int, float]]] = {}
        for bar in self._bars(symbol, "minute", first.isoformat(), last.isoformat()):
            found.setdefault(new_york(bar.start).date(), []).append((bar.start, bar.volume))
        return found

    def session_close(self, symbol: str, session: Session) -> float | None:
        """The last price of the regular session; None if the feed has no bar of its last minute."""
        start, end = session.close_at - SETTLED_WITHIN_S, session.close_at
        seconds = self.second_bars(symbol, start, end)
        if seconds:
            return seconds[-1].close
        return next((bar.close for bar in self.minutes_of(symbol, start, end) if bar.start == start), None)

    def market_time(self) -> float:
        """What time the market says it is, in Unix seconds."""
        return self._read(parse_market_time, self._answer("/v1/marketstatus/now").body)

    # --- asking --------------------------------------------------------------------------------------------------------

    def _bars(self, symbol: str, span: str, first: int | str, last: int | str) -> list[Bar]:
        """In order of time; of a bar given twice, the later word."""
        path = f"/v2/aggs/ticker/{symbol}/range/1/{span}/{first}/{last}"
        params = {"adjusted": "true", "sort": "asc", "limit": AGGS_MAX}
        bars = {bar.start: bar for bar in self._pages(path, params, lambda body: parse_aggs(body, symbol))}
        return [bars[start] for start in sorted(bars)]

    def _sound(self, bars: list[Bar]) -> list[Bar]:
        now = self.clock.now()
        sound = []
        for bar in bars:
            fault = check_bar(bar, now)
            if fault is None:
                sound.append(bar)
            else:
                _count_one(self.dropped, fault)
        return sound

    def _pages(
        self, first: str, params: dict[str, Any], parse: Callable[[bytes], tuple[list[T], str | None, dict[str, int]]]
    ) -> list[T]:
        """The rows of a page and of those it leads to. Pages that come again, never end, or hold more than their limit are a fault."""
        found: list[T] = []
        path: str | None = first
        seen: set[str] = set()
        end = time.monotonic() + PAGES_S
        while path is not None:
            if path in seen or len(seen) >= PAGES_MAX or time.monotonic() > end:
                raise TryAgain("the pages of the answer never end")
            answer = self._answer(path, None if seen else params, paging=bool(seen))
            seen.add(path)
            rows, path, dropped = self._read(parse, answer.body)
            if len(rows) > params["limit"] or len(found) + len(rows) > ROWS_MAX:
                raise TryAgain("the answer has more rows than were asked for")
            found += rows
            for reason, count in dropped.items():
                self.dropped[reason] = self.dropped.get(reason, 0) + count
        return found

    def _read(self, parse: Callable[[bytes], T], body: bytes) -> T:
        try:
            return parse(body)
        except ValueError as fault:
            reason = self._redacted(str(fault))
        raise TryAgain(reason)

    def _answer(self, path: str, params: dict[str, Any] | None = None, *, paging: bool = False) -> Response:
        if not self.budget.take(urgent=self.urgent, patience_s=self.config.http_timeout_seconds):
            raise TryAgain("more is asked of the feed than it takes")
        answer = self.http.get(path, params)
        match answer.status:
            case 200:
                return answer
            case 401:
                raise Refused(f"the key is not accepted (401): {self._prose(answer.body)}", 401)
            case 403:
                raise Refused(f"the plan does not include this (403): {self._prose(answer.body)}", 403)
            case 429:
                pause = retry_after(answer.headers, self.clock.wall())
                raise TryAgain("too many requests (429)", retry_after_s=60.0 if pause is None else pause)
            case 400 if paging:
                raise _PageExpired("the next page is gone (400)")
            case 404:
                raise TryAgain("not found (404)")
        raise TryAgain(f"the server answers {answer.status}", retry_after_s=retry_after(answer.headers, self.clock.wall()))

    def _prose(self, body: bytes) -> str:
        """What the server says of a refusal."""
        try:
            said = _words.decode(body)
        except UNREADABLE:
            said = _Words()
        return plain(self._redacted(said.error or said.message)) or "no reason given"


class _Words(Struct):
    error: str = ""
    message: str = ""


_words = msgspec.json.Decoder(_Words)


class _PageExpired(TryAgain):
    pass
