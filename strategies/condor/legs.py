"""What may be believed of a quote, an index, a delta; four legs as one package and its prices. Pure.

Net prices are mills a share. A condor is seen here from its seller: `mid` is what its legs are worth together, `natural_credit` what
selling it at once brings, `natural_cost` what buying it back at once costs. What is doubtful is a fault in words, never a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import isfinite
from typing import Literal

from msgspec import Struct

from events import ChainRow, Quote
from events.market import Mills
from utils import SHARES, Session

ENTRY_QUOTE_S = 5.0
AHEAD_S = 0.5  # clocks of threads: as much may lie ahead
STEP = Fraction(2, 100)
SAME_UNDERLYING = Fraction(5, 1000)
VIX_LOW, VIX_HIGH = 5, 150
Role = Literal["put_long", "put_short", "call_short", "call_long"]
ROLES: tuple[Role, ...] = ("put_long", "put_short", "call_short", "call_long")
SHORT: tuple[Role, ...] = ("put_short", "call_short")


def exact(number: float) -> Fraction:
    """A number as it was written: 0.1 is a tenth."""
    return Fraction(repr(number))


def is_young(at: float, now: float, most_s: float) -> bool:
    return -AHEAD_S <= now - at <= most_s


# --- contracts ---------------------------------------------------------------------------------------------------------


def expiry_fault(expirations: Iterable[str], session: Session | None, product: str) -> str | None:
    """Whether something is listed that expires today; never the next date, never Friday's."""
    if session is None or session.date.isoformat() not in set(expirations):
        return f"no {product} expiry today"
    return None


# --- values ------------------------------------------------------------------------------------------------------------


class Level(Struct, frozen=True):
    """A value of an index and when it came; `live` says that its source vouches for real time."""

    value: float
    at: float
    live: bool = True


def vix_fault(vix: Level | None, session: Session, now: float, most_s: float) -> str | None:
    """Why VIX cannot be relied on: missing, not live, no such value, of before today's open, or too old."""
    if vix is None:
        return "no VIX"
    if not vix.live:
        return "VIX is not live"
    if not isfinite(vix.value) or not VIX_LOW <= vix.value <= VIX_HIGH:
        return "VIX is no value between 5 and 150"
    if vix.at < session.open_at:
        return "VIX is of before the open"
    if not is_young(vix.at, now, most_s):
        return f"VIX is {now - vix.at:.0f}s old"
    return None


class Index(Struct, frozen=True):
    """The index as it may be believed: `level` the last agreed value, `doubted` one that stepped and waits for the next to agree."""

    level: Level | None = None
    doubted: Level | None = None


def with_level(index: Index, new: Level) -> Index:
    """The index after one more value. A step of more than 2 % counts once the next value agrees with it."""
    if not isfinite(new.value) or new.value <= 0 or not new.live:
        return index
    if index.level is None or _near(new, index.level) or (index.doubted is not None and _near(new, index.doubted)):
        return Index(new)
    return Index(index.level, new)


def _near(one: Level, other: Level) -> bool:
    return abs(exact(one.value) / exact(other.value) - 1) <= STEP


def index_fault(index: Index, now: float, most_s: float) -> str | None:
    if index.doubted is not None:
        return "the index stepped more than 2%: waiting for the next value to agree"
    if index.level is None or not isfinite(index.level.value) or index.level.value <= 0:
        return "no value of the index"
    if not is_young(index.level.at, now, most_s):
        return f"the index is {now - index.level.at:.0f}s old"
    return None


def quote_fault(quote: Quote | None, now: float, most_s: float) -> str | None:
    """Why a leg's quote says nothing: none, not in real time, no ask, an ask of size 0, crossed, or too old."""
    if quote is None:
        return "no quote"
    if quote.delayed:
        return "quote not in real time"
    if quote.ask is None or quote.ask <= 0:
        return "no ask"
    if quote.ask_size <= 0:
        return "ask of size 0"
    if bid_of(quote) > quote.ask:
        return "bid above ask"
    if quote.quoted_at is None:
        return "quote without a time"
    if not is_young(quote.quoted_at, now, most_s):
        return f"quote {now - quote.quoted_at:.0f}s old"
    return None


def bid_of(quote: Quote) -> Mills:
    """The bid that somebody pays: left out, -1, 0 or of size 0 is none, and none is 0."""
    return quote.bid if quote.bid is not None and quote.bid > 0 and quote.bid_size > 0 else 0


def delta_fault(row: ChainRow, spot: float | None) -> str | None:
    """Why a row's delta cannot be used: missing, out of (0, 1), of the wrong sign, or by another price of the underlying."""
    delta = row.delta
    if delta is None or not isfinite(delta) or not 0 < abs(delta) < 1:
        return "no delta"
    if (delta > 0) != (row.right == "call"):
        return "delta of the wrong sign"
    if row.computed or row.underlying is None or spot is None:
        return None
    if not isfinite(row.underlying) or abs(exact(row.underlying) / exact(spot) - 1) > SAME_UNDERLYING:
        return "delta of another price of the index"
    return None


# --- four legs ---------------------------------------------------------------------------------------------------------


class Four(Struct, frozen=True):
    """A condor's contracts and strikes (mills), the lowest strike first."""

    put_long: str
    put_short: str
    call_short: str
    call_long: str
    strikes: tuple[Mills, Mills, Mills, Mills]

    @property
    def contracts(self) -> tuple[str, str, str, str]:
        return self.put_long, self.put_short, self.call_short, self.call_long

    @property
    def width(self) -> Mills:
        """The wider of both sides: the most that it can cost."""
        return max(self.strikes[1] - self.strikes[0], self.strikes[3] - self.strikes[2])

    def role_of(self, contract: str) -> Role:
        return ROLES[self.contracts.index(contract)]

    def text(self) -> str:
        """`682P/680P 703C/705C`: each short before its wing."""
        long_put, short_put, short_call, long_call = (f"{strike / 1000:g}" for strike in self.strikes)
        return f"{short_put}P/{long_put}P {short_call}C/{long_call}C"


class Package(Struct, frozen=True):
    """Four usable quotes as one price. `size` is how many units the least displayed size allows to sell."""

    mid: Fraction
    natural_credit: Mills
    natural_cost: Mills
    size: int
    stamps: tuple[float, ...]


def package_fault(quotes: Sequence[Quote | None], now: float, most_s: float) -> str | None:
    """The first leg that is not usable, by name; `quotes` in the order of ROLES."""
    for role, quote in zip(ROLES, quotes, strict=True):
        if fault := quote_fault(quote, now, most_s):
            return f"{role.replace('_', ' ')}: {fault}"
    return None


def package(quotes: Sequence[Quote | None], now: float, most_s: float) -> Package | None:
    """The package of four usable quotes in the order of ROLES, else None. A wing without bid counts 0."""
    if package_fault(quotes, now, most_s):
        return None
    known = [quote for quote in quotes if quote is not None]
    bids, asks = [bid_of(quote) for quote in known], [quote.ask or 0 for quote in known]
    twice = [
        bid + ask if bid else (0 if role not in SHORT else ask) for role, bid, ask in zip(ROLES, bids, asks, strict=True)
    ]
    sizes = [q.bid_size if role in SHORT else q.ask_size for role, q in zip(ROLES, known, strict=True)]
    return Package(
        mid=Fraction(twice[1] + twice[2] - twice[0] - twice[3], 2),
        natural_credit=bids[1] + bids[2] - asks[0] - asks[3],
        natural_cost=asks[1] + asks[2] - bids[0] - bids[3],
        size=min(sizes),
        stamps=tuple(quote.quoted_at or 0.0 for quote in known),
    )


def mark(found: Package | None, width: Mills) -> Fraction | None:
    """The package's mid where it can be one: between 0 and its width."""
    return found.mid if found is not None and 0 <= found.mid <= width else None


class Prices(Struct, frozen=True):
    """What buying back some of the legs costs: at once, and in the middle. None where quotes do not tell."""

    natural: Mills | None
    mid: Fraction | None


def prices_to_close(
    roles: Sequence[Role], quotes: Sequence[Quote | None], width: Mills, now: float, most_s: float
) -> Prices:
    """The prices of buying back the shorts and selling the wings among `roles`; `quotes` of all four, in the order of ROLES.

    Natural needs a fresh ask of each short; a wing without a fresh bid brings nothing. A mid out of 0 and the width is none.
    """
    natural, twice, whole = 0, 0, True
    for role, quote in zip(ROLES, quotes, strict=True):
        if role not in roles:
            continue
        if quote is None or quote.ask is None or quote_fault(quote, now, most_s):
            if role in SHORT:
                return Prices(None, None)
            whole = False
        elif role in SHORT:
            natural += quote.ask
            twice += bid_of(quote) + quote.ask
        elif bid := bid_of(quote):
            natural -= bid
            twice -= bid + quote.ask
    mid = Fraction(twice, 2)
    low, high = (0, width) if any(role in SHORT for role in roles) else (-width, 0)
    return Prices(natural, mid if whole and low <= mid <= high else None)


def cost_to_close(quotes: Sequence[Quote | None], now: float, most_s: float) -> Mills | None:
    """What buying all four back at once costs; None while a short has no fresh ask."""
    return prices_to_close(ROLES, quotes, 0, now, most_s).natural


def down(price: Fraction | int, tick: Mills) -> Mills:
    """A price down to a tick."""
    return int(Fraction(price) // tick) * tick


def up(price: Fraction | int, tick: Mills) -> Mills:
    """A price up to a tick."""
    return -int(-Fraction(price) // tick) * tick


def margin(width: Mills, units: int) -> Mills:
    """What a condor binds, computed: its width for every share of all units, credit not taken off. Mills."""
    return width * SHARES * units
