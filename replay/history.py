"""Past option quotes by REST: which strikes of a session could have mattered, and the NBBO of each, second by second.

Of a contract that did not trade nothing more is asked: it passes no volume filter, or was not listed. What the vendor's history has
not is not made up: there is no open interest of the past, and a second without a quote has no row.
"""

from __future__ import annotations

import time
from math import ceil, exp, floor, sqrt
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Struct
from scipy.special import ndtri

from contract_selector import band
from market.greeks import YEAR_S
from polygon_client import Rest
from replay.bars import NS
from utils import Session

if TYPE_CHECKING:
    import polars

    from config import Config
    from utils import Clock
    from wire.transport import Response

REQUESTS_PER_S = 10.0  # the vendor asks for fewer than 100
DEADLINE_S = 20.0  # nobody waits for a decision here, and a page of quotes is megabytes
PAGE_QUOTES = 20_000
PIECE_S = 600
WIDEST_IV = 0.6
GRID = 500  # mills between two strikes, at their nearest
EARLIEST_NS, LATEST_NS = 10**17, 10**19
DEAREST = 1e6


def strikes_of(config: Config, session: Session, low: float, high: float) -> list[int]:
    """The strikes (mills) that the delta band can have reached on a day between two prices of the underlying.

    By Black and Scholes (1973) with r = 0: a call's delta is d at K = S·exp(-N⁻¹(d)·σ√T + σ²T/2). The volatility is taken wide, the
    time is the whole session's, and the grid is the narrowest there is.
    """
    least, most = (min(max(delta, 0.01), 0.99) for delta in band(config))
    wide = WIDEST_IV * sqrt((session.close_at - session.open_at) / YEAR_S)
    bottom = low * exp(min(0.0, -ndtri(most) * wide))
    top = high * exp(max(0.0, -ndtri(least) * wide + wide * wide / 2))
    return list(range(floor(bottom * 1000 / GRID) * GRID, ceil(top * 1000 / GRID) * GRID + 1, GRID))


# --- the wire's format -------------------------------------------------------------------------------------------------


class Nbbo(Struct, frozen=True, gc=False):
    """One row of `/v3/quotes`: dollars, contracts, nanoseconds; a side that is empty is 0 or left out."""

    sip_timestamp: int
    sequence_number: int = 0
    bid_price: float = 0.0
    ask_price: float = 0.0
    bid_size: float = 0.0
    ask_size: float = 0.0

    @property
    def is_sound(self) -> bool:
        numbers = (self.bid_price, self.ask_price, self.bid_size, self.ask_size)
        return EARLIEST_NS < self.sip_timestamp < LATEST_NS and all(0 <= number < DEAREST for number in numbers)


class _Page(Struct):
    status: str
    results: list[msgspec.Raw] = []
    next_url: str | None = None


_page = msgspec.json.Decoder(_Page)
_nbbo = msgspec.json.Decoder(Nbbo, strict=False)


def parse_quotes(body: bytes) -> tuple[list[Nbbo], str | None, dict[str, int]]:
    """A page's quotes, the next page's URL, and how many were malformed. ValueError if it is no page."""
    try:
        page = _page.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueError("the answer is not a page of quotes") from None
    if page.status not in ("OK", "DELAYED"):
        raise ValueError("the answer is no page of quotes")
    sound = []
    for raw in page.results:
        try:
            quote = _nbbo.decode(raw)
        except msgspec.MsgspecError:
            continue
        if quote.is_sound:
            sound.append(quote)
    bad = len(page.results) - len(sound)
    return sound, page.next_url, {"quote: malformed": bad} if bad else {}


class History(Rest):
    """Questions about the past, no faster than allowed, each page of an answer counted."""

    def __init__(self, config: Config, clock: Clock) -> None:
        super().__init__(config.model_copy(update={"http_timeout_seconds": DEADLINE_S}), clock)
        self.next_at = 0.0
        self.asked = 0

    def wait(self, seconds: float) -> None:
        """Ask nothing for so long."""
        self.next_at = max(self.next_at, time.monotonic() + seconds)

    def _answer(self, path: str, params: dict[str, Any] | None = None, *, paging: bool = False) -> Response:
        time.sleep(max(0.0, self.next_at - time.monotonic()))
        self.next_at = time.monotonic() + 1 / REQUESTS_PER_S
        self.asked += 1
        return super()._answer(path, params, paging=paging)

    def traded(self, contract: str, session: Session) -> list[tuple[int, float]]:
        """(second, contracts) wherever the contract traded in regular hours."""
        bars = self._bars(contract, "second", session.open_at * 1000, session.close_at * 1000 - 1)
        return [(bar.start, bar.volume) for bar in bars if session.open_at <= bar.start < session.close_at]

    def quotes(self, contract: str, start: int, end: int) -> list[Nbbo]:
        """The last quote of each second in [start, end), in order of time."""
        params = {
            "timestamp.gte": start * NS,
            "timestamp.lt": end * NS,
            "order": "asc",
            "sort": "timestamp",
            "limit": PAGE_QUOTES,
        }
        found = self._pages(f"/v3/quotes/{contract}", params, parse_quotes)
        found.sort(key=lambda quote: (quote.sip_timestamp, quote.sequence_number))
        last = {quote.sip_timestamp // NS: quote for quote in found}
        return [quote for second, quote in last.items() if start <= second < end]


# --- as it is kept -----------------------------------------------------------------------------------------------------


def table_of(
    contract: str, session: Session, strike: int, traded: list[tuple[int, float]], quotes: list[Nbbo]
) -> polars.DataFrame:
    """The columns of recorded quotes, a row a second; `day_volume` is what had traded by then. Without quotes it has no rows."""
    import polars

    at = np.array([quote.sip_timestamp for quote in quotes], dtype=np.int64)
    ends = np.array([start + 1 for start, _ in traded], dtype=np.int64) * NS
    sums = np.concatenate(([0.0], np.cumsum([volume for _, volume in traded])))
    columns: dict[str, Any] = {
        "timestamp_ns_utc": at // NS * NS,
        "occ": [contract] * len(quotes),
        "expiration": [session.date.isoformat()] * len(quotes),
        "right": ["C"] * len(quotes),
        "strike": np.full(len(quotes), strike / 1000),
        "bid_close": np.array([quote.bid_price for quote in quotes], dtype=np.float64),
        "bid_size": np.array([quote.bid_size for quote in quotes], dtype=np.int64),
        "ask_close": np.array([quote.ask_price for quote in quotes], dtype=np.float64),
        "ask_size": np.array([quote.ask_size for quote in quotes], dtype=np.int64),
        "day_volume": sums[np.searchsorted(ends, at, side="right")].astype(np.int64),
        "quoted_ns_utc": at,
    }
    texts = dict.fromkeys(("occ", "expiration", "right"), polars.String)
    return polars.DataFrame(columns, schema_overrides=texts)
