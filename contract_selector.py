"""A chain -> the tracked contracts -> the one contract, or which filter emptied the list. Pure.

Filters are applied one after the other to all rows, in the order of the rules; the first that leaves nothing is the answer to
"why none". What a row does not say lets it through no filter. A row keeps the greeks of the feed; where it has none (zeros are
none), where its own mid refutes its delta, and where the underlying it goes by is more than 0.5 % from the live price, it gets
delta and IV from its own mid at the live price
(Black-Scholes with r = 0 and no dividend, which within one day move a delta by less than a tick; time to the session's close).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import time
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Protocol

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.special import ndtr

from events import ChainRow, Quote
from market.greeks import YEAR_S
from utils import SHARES, Session

if TYPE_CHECKING:
    from decimal import Decimal

SAME_UNDERLYING = 0.005
REFUTED_BY = 0.15  # a quarter of an hour before the close, a delta moves by 0.15 with ten cents of IWM
NEAREST = 3
EQUAL = 1e-7
FUTURE_S = 5.0
IV_LOW, IV_HIGH, IV_STEPS = 1e-3, 10.0, 32
SKEW_DELTA = 0.25

Floats = NDArray[np.float64]


class Settings(Protocol):
    """The settings the filters need; `config.Config` has them."""

    @property
    def symbol(self) -> str: ...
    @property
    def delta_min(self) -> Decimal: ...
    @property
    def delta_max(self) -> Decimal: ...
    @property
    def delta_widen(self) -> Decimal: ...
    @property
    def min_nbbo_size(self) -> int: ...
    @property
    def max_spread_percent(self) -> Decimal: ...
    @property
    def min_volume(self) -> int: ...
    @property
    def min_open_interest(self) -> int: ...
    @property
    def quote_max_age_seconds(self) -> int: ...
    @property
    def max_contracts_to_track(self) -> int: ...


class Selection(Struct, frozen=True):
    """`tracked`: the eligible rows, most liquid first. Where there is none, `emptied_by` is the filter and `nearest` what it took."""

    tracked: tuple[ChainRow, ...]
    emptied_by: str = ""
    nearest: tuple[ChainRow, ...] = ()
    passed: dict[str, int] = {}

    def why(self) -> str:
        """`no contract: delta (nearest O:… Δ0.50, O:… Δ0.17)`; empty where there is one."""
        if self.tracked:
            return ""
        names = ", ".join(described(row) for row in self.nearest)
        return f"no contract: {self.emptied_by}" + (f" (nearest {names})" if names else "")


class Choice(Struct, frozen=True):
    row: ChainRow | None
    why: str = ""


def described(row: ChainRow) -> str:
    quote = row.quote
    delta = "Δ?" if row.delta is None else f"Δ{row.delta:.2f}"
    sides = (
        "no quote"
        if quote is None or quote.bid is None or quote.ask is None
        else f"{quote.bid / 1000:.2f}×{quote.ask / 1000:.2f}"
    )
    return f"{row.contract} {delta} {sides}"


# --- filters -----------------------------------------------------------------------------------------------------------


def spread_part(quote: Quote) -> tuple[int, int]:
    """(ask - bid)/mid as a fraction of whole numbers."""
    assert quote.bid is not None
    assert quote.ask is not None
    return 2 * (quote.ask - quote.bid), quote.bid + quote.ask


def two_sided(row: ChainRow) -> bool:
    quote = row.quote
    return quote is not None and bool(quote.bid) and bool(quote.ask) and 0 < (quote.bid or 0) < (quote.ask or 0)


def band(config: Settings) -> tuple[float, float]:
    """The delta band, widened on both sides by DELTA_WIDEN."""
    return float(config.delta_min - config.delta_widen), float(config.delta_max + config.delta_widen)


def filters(config: Settings, now: float, session: Session) -> list[tuple[str, Callable[[ChainRow], bool]]]:
    """The filters in the order of the rules, each with the words that name it. Those on quotes need a two-sided one before them."""
    today, midnight = session.date.isoformat(), session.at(time(0))
    prefix = f"O:{config.symbol}{session.date:%y%m%d}C"
    low, high = band(config)
    size, volume, interest = config.min_nbbo_size, config.min_volume, config.min_open_interest
    age = config.quote_max_age_seconds
    widest, per = (config.max_spread_percent / 100).as_integer_ratio()

    def narrow(row: ChainRow) -> bool:
        assert row.quote is not None
        part, of = spread_part(row.quote)
        return part * per <= widest * of

    def standard(row: ChainRow) -> bool:
        return row.shares == SHARES and row.contract == f"{prefix}{row.strike:08d}"

    def within(row: ChainRow) -> bool:
        return row.delta is not None and low - EQUAL < row.delta < high + EQUAL

    return [
        ("call that expires today", lambda row: row.right == "call" and row.expiration == today and now < session.close_at),
        (f"{SHARES} shares a contract", standard),
        (f"delta in [{low:.2f}, {high:.2f}]", within),
        ("0 < bid < ask", two_sided),
        (f"sizes of at least {size}", lambda row: min(row.quote.bid_size, row.quote.ask_size) >= size),
        (f"spread within {config.max_spread_percent:f}%", narrow),
        (f"day volume of at least {volume}", lambda row: at_least(volume_today(row, midnight), volume)),
        (f"open interest of at least {interest}", lambda row: at_least(row.open_interest, interest)),
        (f"quote at most {age} s old", lambda row: young(row.quote, now, age)),
        ("quote in real time", lambda row: not row.quote.delayed),
    ]


def refused_by(row: ChainRow, now: float, config: Settings, session: Session) -> str | None:
    """The first filter that a row does not pass, as it is (no greeks are made up for it); None: it is eligible."""
    return next((words for words, passes in filters(config, now, session) if not passes(row)), None)


def at_least(count: int | None, least: int) -> bool:
    return count is not None and count >= least


def volume_today(row: ChainRow, midnight: float) -> int | None:
    """The day's volume; a day bar that says it is of an earlier day is none."""
    return None if row.volume_at is not None and row.volume_at < midnight else row.volume


def young(quote: Quote, now: float, max_age_s: float) -> bool:
    return quote.quoted_at is not None and -FUTURE_S <= now - quote.quoted_at <= max_age_s


def select(rows: Sequence[ChainRow], now: float, config: Settings, session: Session, spot: float | None) -> Selection:
    """The rows that pass every filter, the best MAX_CONTRACTS_TO_TRACK by day volume x mid; or what took the last of them."""
    once = {row.contract: row for row in rows}
    left, passed = with_greeks(list(once.values()), now, session, spot), {}
    for words, passes in filters(config, now, session):
        kept = [row for row in left if passes(row)]
        passed[words] = len(kept)
        if not kept:
            return Selection((), words if rows else "the chain is empty", nearest(left, config), passed)
        left = kept
    left.sort(key=liquidity, reverse=True)
    return Selection(tuple(left[: config.max_contracts_to_track]), passed=passed)


def choose(rows: Sequence[ChainRow], now: float, config: Settings, session: Session, spot: float | None) -> Choice:
    """Of the rows that still pass, the one nearest the middle of the band with the narrowest spread."""
    selection = select(rows, now, config, session, spot)
    if not selection.tracked:
        return Choice(None, selection.why())
    return Choice(min(selection.tracked, key=lambda row: (distance(row, config), -liquidity(row), row.contract)))


def liquidity(row: ChainRow) -> int:
    """Day volume x mid, in half mills."""
    quote = row.quote
    return (row.volume or 0) * ((quote.bid or 0) + (quote.ask or 0)) if quote is not None else 0


def distance(row: ChainRow, config: Settings) -> float:
    """|delta - band middle| / half band + spread / MAX_SPREAD_PERCENT."""
    assert row.delta is not None
    assert row.quote is not None
    low, high = band(config)
    middle, half = (low + high) / 2, (high - low) / 2
    part, of = spread_part(row.quote)
    return abs(row.delta - middle) / half + 100 * part / of / float(config.max_spread_percent)


def nearest(rows: Iterable[ChainRow], config: Settings) -> tuple[ChainRow, ...]:
    """The rows nearest the middle of the delta band."""
    middle = sum(band(config)) / 2
    known = [row for row in rows if row.delta is not None]
    return tuple(sorted(known, key=lambda row: (abs((row.delta or 0.0) - middle), row.contract))[:NEAREST])


# --- greeks ------------------------------------------------------------------------------------------------------------


def with_greeks(rows: Sequence[ChainRow], now: float, session: Session, spot: float | None) -> list[ChainRow]:
    """The rows, with delta and IV from their mids where the feed gave none, those of another day, or of another underlying price.

    `spot` is the live price; None when there is none, and then the row's own has to do.
    """
    years = (session.close_at - now) / YEAR_S
    if years <= 0:
        return list(rows)
    kept = unrefuted([unzeroed(row) for row in rows], years)
    todo, prices = {}, []
    for index, row in enumerate(kept):
        moved = spot is not None and row.underlying is not None and abs(row.underlying / spot - 1) > SAME_UNDERLYING
        given = row.delta is not None and not row.computed and not moved
        if given and row.iv is not None:
            continue
        price = spot if spot is not None else row.underlying
        if price is None or not two_sided(row):
            kept[index] = replace(row, delta=None, iv=None) if moved else row
            continue
        todo[index] = given
        prices.append(price)
    if todo:
        quotes = [kept[index].quote for index in todo]
        mids = np.array([((quote.bid or 0) + (quote.ask or 0)) / 2000 for quote in quotes if quote is not None])
        strikes = np.array([kept[index].strike / 1000 for index in todo])
        calls = np.array([kept[index].right == "call" for index in todo])
        ivs, deltas = implied(mids, np.array(prices), strikes, years, calls)
        for (index, given), iv, delta in zip(todo.items(), ivs.tolist(), deltas.tolist(), strict=True):
            known = isfinite(iv)
            if given:
                kept[index] = replace(kept[index], iv=iv if known else None)
            else:
                kept[index] = replace(kept[index], delta=delta if known else None, iv=iv if known else None, computed=known)
    return kept


def unzeroed(row: ChainRow) -> ChainRow:
    """A delta or an IV of zero beside a bid is none: nobody pays for what cannot come to be worth anything."""
    if row.delta != 0 and row.iv != 0:
        return row
    if row.quote is None or not row.quote.bid:
        return row
    return replace(row, delta=row.delta or None, iv=row.iv or None)


def unrefuted(rows: list[ChainRow], years: float) -> list[ChainRow]:
    """The rows without those greeks that their own mid, at their own price of the underlying, contradicts: yesterday's."""
    doubtful = [
        (index, row.quote, row.underlying, row.delta)
        for index, row in enumerate(rows)
        if row.delta is not None and not row.computed and row.underlying is not None and two_sided(row)
    ]
    if not doubtful:
        return rows
    mids = np.array([((quote.bid or 0) + (quote.ask or 0)) / 2000 for _, quote, _, _ in doubtful if quote is not None])
    spots = np.array([underlying for _, _, underlying, _ in doubtful])
    strikes = np.array([rows[index].strike / 1000 for index, *_ in doubtful])
    calls = np.array([rows[index].right == "call" for index, *_ in doubtful])
    _, deltas = implied(mids, spots, strikes, years, calls)
    for (index, _, _, given), delta in zip(doubtful, deltas.tolist(), strict=True):
        if isfinite(delta) and abs(delta - given) > REFUTED_BY:
            rows[index] = replace(rows[index], delta=None, iv=None)
    return rows


def implied(mids: Floats, spots: Floats, strikes: Floats, years: float, calls: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Implied volatility and delta of each option; NaN where no volatility between 0.1 % and 1,000 % gives its price.

    Black and Scholes (1973) with r = 0; the volatility by bisection, all rows at once, puts as the calls of their parity.
    """
    prices, moneyness, root = np.where(calls, mids, mids + spots - strikes), np.log(spots / strikes), years**0.5
    lowest, highest = IV_LOW * root, IV_HIGH * root
    possible = call(lowest, moneyness, spots, strikes)[0] <= prices
    possible &= prices <= call(highest, moneyness, spots, strikes)[0]
    step = (highest - lowest) / 2
    wide = np.full(mids.shape, lowest + step)
    for _ in range(IV_STEPS):
        step /= 2
        wide += np.copysign(step, prices - call(wide, moneyness, spots, strikes)[0])
    delta = call(wide, moneyness, spots, strikes)[1]
    return np.where(possible, wide / root, np.nan), np.where(possible, np.where(calls, delta, delta - 1), np.nan)


def call(wide: Floats | float, moneyness: Floats, spots: Floats, strikes: Floats) -> tuple[Floats, Floats]:
    """A call's price and delta by Black and Scholes (1973), r = 0, no dividend: `wide` is IV x sqrt(years), `moneyness` ln(S/K)."""
    d1 = moneyness / wide + wide / 2
    delta: Floats = ndtr(d1)
    return spots * delta - strikes * ndtr(d1 - wide), delta


# --- skew --------------------------------------------------------------------------------------------------------------


def skew_25(calls: Sequence[ChainRow], puts: Sequence[ChainRow]) -> float | None:
    """25-delta put IV - 25-delta call IV, as a fraction, each interpolated between the deltas around it; None if one is not there."""
    call, put = iv_at(calls, SKEW_DELTA), iv_at(puts, SKEW_DELTA)
    return None if call is None or put is None else put - call


def iv_at(rows: Sequence[ChainRow], delta: float) -> float | None:
    """IV at an absolute delta, linear between the two rows around it."""
    known = sorted((abs(row.delta), row.iv) for row in rows if row.delta is not None and row.iv is not None)
    for (below, iv_below), (above, iv_above) in pairwise(known):
        if below <= delta <= above and above > below:
            return iv_below + (iv_above - iv_below) * (delta - below) / (above - below)
    return None
