"""Gamma walls and unusual volume, from snapshots of one day's real chain. Pure.

Gamma exposure (GEX) of a contract is Γ x contracts x 100 x S² x 0.01: dollars that dealers trade for 1 % of the underlying. The sign
is the naive one: dealers are long the calls and short the puts, so puts count negative. Γ is Black and Scholes' at the live price,
from the row's own volatility. Open interest is that of the last close, so today's openings are not in it; beside it stands the
same with today's volume. What cannot be known is unavailable, with the reason and without a number.

Unusual volume is read off differences of snapshots: it says that much was traded, never by whom or which way.
A row's `volume` is today's, None where that is not known. Strikes are mills, prices of the underlying dollars.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from itertools import pairwise
from math import ceil

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from events import ChainRow, Mills
from market.greeks import YEAR_S, Floats, gamma
from utils import SHARES

NEAREST_END_S = 300.0
SNAPSHOT_MAX_AGE_S = 120.0
STRIKES_MIN = 10
UNKNOWN_PART = 0.2
GRID_PARTS, GRID_STEP = 30, 0.001  # 0.97 S to 1.03 S
FLOW_S = 300.0
TOP_PART = 0.05


class Walls(Struct, frozen=True):
    """`call_wall`, `put_wall` are strikes, `zero_gamma` dollars of the underlying, `net_gex` dollars for 1 % of it.

    A wall is None where no strike on its side has interest, `zero_gamma` where the sum does not change its sign near the price.
    `spot` and `as_of` are what it was reckoned at. `reason` says why it is unavailable. `interest` names the open interest used.
    """

    ok: bool
    as_of: float | None = None
    spot: float | None = None
    call_wall: Mills | None = None
    put_wall: Mills | None = None
    zero_gamma: float | None = None
    net_gex: float | None = None
    reason: str = ""
    interest: str = ""
    by_volume: Walls | None = None


class Exposures:
    """The contracts that can be reckoned with. `counts` are contracts, a put's negative; strikes are dollars here."""

    def __init__(self, rows: Iterable[ChainRow], count: Callable[[ChainRow], int | None]) -> None:
        kept = [row for row in rows if count(row) and row.iv is not None and row.iv > 0.0 and row.shares == SHARES]
        self.keys = [(row.right, row.strike) for row in kept]
        self.strikes = np.array([row.strike / 1000 for row in kept])
        self.ivs = np.array([row.iv for row in kept], dtype=float)
        self.counts = np.array([(count(row) or 0) * (1 if row.right == "call" else -1) for row in kept], dtype=float)

    def gex(self, spots: Floats | float, years: float) -> Floats:
        """Dollars for 1 % of the underlying: of each contract, for each price a row."""
        return gex(gamma(spots, self.strikes, self.ivs, years), self.counts, spots)


def gex(gammas: Floats | float, counts: Floats | float, spots: Floats | float) -> Floats:
    """Γ x contracts x 100 x S² x 0.01."""
    return np.asarray(gammas * counts * SHARES * spots * spots * 0.01)


def walls(
    rows: Sequence[ChainRow],
    *,
    at: float,
    as_of: float,
    spot: float | None,
    close_at: float,
    last_session: date,
    interest_on: date | None = None,
) -> Walls:
    """The walls of a snapshot of both rights that was taken at `as_of`, at the live price `spot`.

    `interest_on` is the date that the feed gives its open interest; None: the feed defines it as the last close's.
    """
    reason = _unfit(rows, at - as_of, spot, last_session, interest_on)
    if reason or spot is None:
        return Walls(False, reason=reason)
    years = max(close_at - at, NEAREST_END_S) / YEAR_S
    held = Exposures(rows, lambda row: row.open_interest)
    interest = sum(row.open_interest or 0 for row in rows)
    unknown = interest - float(np.abs(held.counts).sum())
    if unknown > UNKNOWN_PART * interest:
        return Walls(False, reason=f"gamma unknown for {100 * unknown / interest:.0f}% of the open interest")
    dated = f"of {interest_on}" if interest_on else f"undated, taken as of {last_session}"
    traded = Exposures(rows, lambda row: row.volume)
    beside = _reckoned(traded, spot, years, as_of, "volume of today") if traded.keys else None
    return replace(_reckoned(held, spot, years, as_of, f"open interest {dated}"), by_volume=beside)


def _unfit(rows: Sequence[ChainRow], age_s: float, spot: float | None, last_session: date, interest_on: date | None) -> str:
    """Why no wall can be read off a snapshot; empty where one can."""
    if not rows:
        return "no chain"
    if age_s > SNAPSHOT_MAX_AGE_S:
        return f"snapshot is {age_s:.0f} s old"
    if any(row.quote is not None and row.quote.delayed for row in rows):
        return "quotes are delayed"
    if spot is None:
        return "no live price"
    if interest_on is not None and interest_on != last_session:
        return f"open interest is of {interest_on}, not of {last_session}"
    if all(row.open_interest is None for row in rows):
        return "open interest is missing"
    if not any(row.open_interest for row in rows):
        return "open interest is zero everywhere"
    for right in ("call", "put"):
        strikes = {row.strike for row in rows if row.right == right and row.open_interest}
        if len(strikes) < STRIKES_MIN:
            return f"only {len(strikes)} {right} strikes with open interest"
    return ""


def _reckoned(exposures: Exposures, spot: float, years: float, as_of: float, interest: str) -> Walls:
    each = exposures.gex(spot, years).tolist()
    sides: dict[str, dict[Mills, float]] = {"call": {}, "put": {}}
    for (right, strike), value in zip(exposures.keys, each, strict=True):
        sides[right][strike] = sides[right].get(strike, 0.0) + value
    above = {strike: value for strike, value in sides["call"].items() if strike >= spot * 1000}
    below = {strike: value for strike, value in sides["put"].items() if strike <= spot * 1000}
    return Walls(
        True,
        as_of,
        spot,
        max(above, key=lambda strike: (above[strike], -strike), default=None),
        min(below, key=lambda strike: (below[strike], -strike), default=None),
        zero_gamma(exposures, spot, years),
        sum(each),
        interest=interest,
    )


def zero_gamma(exposures: Exposures, spot: float, years: float) -> float | None:
    """The price nearest `spot` at which the sum of all GEX changes its sign, within 3 % of it; None where it does not.

    Reckoned in steps of 0.1 % and linear between two of them.
    """
    prices = spot * (1 + GRID_STEP * np.arange(-GRID_PARTS, GRID_PARTS + 1, dtype=np.float64))
    sums = exposures.gex(prices[:, None], years).sum(axis=1)
    known = list(zip(prices.tolist(), sums.tolist(), strict=True))
    roots = [price for price, value in known if value == 0.0] if sums.any() else []
    for (low, before), (high, after) in pairwise(known):
        if before * after < 0.0:
            roots.append(low + (high - low) * before / (before - after))
    return min(roots, key=lambda price: (abs(price - spot), price), default=None)


# --- unusual volume ----------------------------------------------------------------------------------------------------


class Flow(Struct, frozen=True):
    """Premiums of the flagged contracts over five minutes, in mills; `balance` is (calls - puts) / both, 0 where none is.

    `uncounted` is how many contracts traded without a known open interest: they are left out.
    """

    ok: bool
    flagged: tuple[str, ...] = ()
    call_premium: Mills = 0
    put_premium: Mills = 0
    balance: float = 0.0
    uncounted: int = 0
    reason: str = ""


class Snapshots:
    """Snapshots of one underlying's chain, both rights together: what was traded of each contract in the last five minutes."""

    def __init__(self) -> None:
        self._rows: tuple[ChainRow, ...] = ()
        self._volumes: dict[str, int] = {}
        self._steps: deque[tuple[float, dict[str, Mills]]] = deque()
        self._taken = 0

    def take(self, at: float, rows: Iterable[ChainRow]) -> None:
        """The next snapshot. A contract's first volume, and one that fell, say nothing of what was traded since."""
        self._rows = tuple(rows)
        self._taken += 1
        step: dict[str, Mills] = {}
        for row in self._rows:
            if row.volume is None:
                continue
            before, self._volumes[row.contract] = self._volumes.get(row.contract), row.volume
            if before is not None and row.volume > before and row.quote is not None and row.quote.bid and row.quote.ask:
                step[row.contract] = (row.volume - before) * (row.quote.bid + row.quote.ask) * SHARES // 2
        self._steps.append((at, step))
        while self._steps[0][0] <= at - FLOW_S:
            self._steps.popleft()

    def flow(self, least_premium: Mills, least_ratio: float) -> Flow:
        """What stands out now: `least_premium` in five minutes, `least_ratio` times the open interest today, the chain's top 5 %."""
        if self._taken < 2:
            return Flow(False, reason=f"{self._taken} of 2 snapshots")
        premiums: dict[str, Mills] = {}
        for _, step in self._steps:
            for contract, premium in step.items():
                premiums[contract] = premiums.get(contract, 0) + premium
        top = ceil(TOP_PART * len(self._rows))
        bar = sorted((premiums.get(row.contract, 0) for row in self._rows), reverse=True)[top - 1] if top else 0
        flagged, uncounted = [], 0
        for row in self._rows:
            premium = premiums.get(row.contract, 0)
            if premium and not row.open_interest:
                uncounted += 1
            elif premium >= max(least_premium, bar, 1) and (row.volume or 0) >= least_ratio * (row.open_interest or 0):
                flagged.append(row)
        calls = sum(premiums[row.contract] for row in flagged if row.right == "call")
        puts = sum(premiums[row.contract] for row in flagged if row.right == "put")
        balance = (calls - puts) / (calls + puts) if flagged else 0.0
        return Flow(True, tuple(row.contract for row in flagged), calls, puts, balance, uncounted)
