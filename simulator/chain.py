"""Option chains from a model: Black-Scholes over a smile, with spreads, sizes, volumes and dead rows like real 0DTE chains.

Rules: everything is a function of (seed, session, time, spot), so a chain asked for twice is the same chain. Prices are
whole mills on a tick of one cent; time to expiry is calendar time to that session's close; interest and dividends are nil.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from utils import Session

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

YEAR_S = 365 * 86_400.0
ROOT_TWO_PI = float(np.sqrt(2 * np.pi))
CALL, PUT = 0, 1
USUAL_PRICE = 240.0  # a cheaper underlying is given more volatility, so that its calls cost what IWM's do
BREATH_S = (97.0, 411.0, 1307.0)  # volatility rises and falls in waves of minutes


@dataclass(frozen=True, slots=True)
class Greeks:
    """Black-Scholes values of calls or puts: price and break-downs, theta a day, vega a point of volatility."""

    price: Floats
    delta: Floats
    gamma: Floats
    theta: Floats
    vega: Floats


def black_scholes(spot: ArrayLike, strike: ArrayLike, years: ArrayLike, iv: ArrayLike, put: ArrayLike) -> Greeks:
    """European value without interest (Black & Scholes 1973), element by element; `put` is true for puts."""
    spot, strike, iv = (np.asarray(value, dtype=float) for value in (spot, strike, iv))
    root = np.sqrt(np.maximum(years, 1 / YEAR_S))
    deviation = iv * root
    d1 = np.log(spot / strike) / deviation + deviation / 2
    side = np.where(put, -1.0, 1.0)
    density = np.exp(-d1 * d1 / 2) / ROOT_TWO_PI
    price = side * (spot * ndtr(side * d1) - strike * ndtr(side * (d1 - deviation)))
    return Greeks(
        price=np.maximum(price, 0.0),
        delta=side * ndtr(side * d1),
        gamma=density / (spot * deviation),
        theta=-spot * density * iv / (2 * root) / 365,
        vega=spot * density * root / 100,
    )


@dataclass(frozen=True, slots=True)
class Quotes:
    """Best bids and asks in mills with sizes in contracts; a side without a bid is 0. `age_s` is how old each quote is."""

    bid: Ints
    ask: Ints
    bid_size: Ints
    ask_size: Ints
    age_s: Floats
    mid: Floats
    iv: Floats


class Contract(NamedTuple):
    """All there is to say of one contract at a moment; strike, bid and ask in mills. `quiet`: the feed gives no greeks."""

    ticker: str
    strike: int
    adjusted: bool
    bid: int
    ask: int
    bid_size: int
    ask_size: int
    age_s: float
    iv: float
    delta: float
    gamma: float
    theta: float
    vega: float
    volume: int
    interest: int
    quiet: bool


class Shape(NamedTuple):
    """What the seed drew for a day: level of volatility at the money, its morning extra, tilt, waves; and the price factor."""

    at_the_money: float
    morning: float
    tilt: float
    waves: tuple[float, float, float]
    dearer: float


class ChainModel:
    """The chain of one expiry: $1 strikes, and half dollars near the money where `half_strikes` (None: the seed) says so.

    `number` tells the draws of one underlying from those of another.
    """

    def __init__(
        self,
        seed: int,
        session: Session,
        reference: float,
        *,
        underlying: str = "IWM",
        number: int = 0,
        half_strikes: bool | None = None,
        strikes: int = 81,
        adjusted: int = 2,
    ) -> None:
        self.seed, self.session, self.reference, self.underlying = seed, session, reference, underlying
        rng = np.random.default_rng([seed, session.date.toordinal(), 200 + number])
        self.half_strikes = bool(rng.random() < 0.5) if half_strikes is None else half_strikes
        self._dearer = min(max(USUAL_PRICE / reference, 1.0), 2.0)
        self._at_the_money = float(rng.uniform(0.175, 0.21))
        self._morning = float(rng.uniform(0.02, 0.045))
        self._tilt = float(rng.uniform(0.002, 0.006))
        self._waves = rng.uniform(0, 2 * np.pi, 3)
        self.strikes = self._grid(strikes - adjusted, adjusted)
        self.adjusted = np.zeros(len(self.strikes), bool)
        self.adjusted[len(self.strikes) - adjusted :] = True

    def _grid(self, count: int, adjusted: int) -> Ints:
        """Strikes in mills, lowest first; the adjusted contracts' come last."""
        middle = round(self.reference)
        halves = [middle * 1000 + 500 + 1000 * k for k in range(-10, 10)] if self.half_strikes else []
        whole = count - len(halves)
        dollars = [(middle + k - whole // 2) * 1000 for k in range(whole)]
        odd = [(middle + 3 * k) * 1000 for k in range(adjusted)]
        return np.array(sorted(dollars + halves) + odd, dtype=np.int64)

    @property
    def shape(self) -> Shape:
        first, second, third = self._waves.tolist()
        return Shape(self._at_the_money, self._morning, self._tilt, (first, second, third), self._dearer)

    # --- values --------------------------------------------------------------------------------------------------------

    def years(self, times: ArrayLike) -> Floats:
        """Calendar years to the close; a second at least."""
        years: Floats = np.maximum(self.session.close_at - np.asarray(times, dtype=float), 1.0) / YEAR_S
        return years

    def iv(self, strike: ArrayLike, times: ArrayLike, spot: ArrayLike) -> Floats:
        """The smile: lowest a little above the money, higher below than above, higher early in the day."""
        times, spot = np.asarray(times, dtype=float), np.asarray(spot, dtype=float)
        hours = np.maximum(times - self.session.open_at, 0.0) / 3600
        breath = sum(0.004 * np.sin(times / period + phase) for period, phase in zip(BREATH_S, self._waves, strict=True))
        level = (self._at_the_money + self._morning * np.exp(-hours / 1.5) + breath) * self._dearer
        percent = (np.asarray(strike, dtype=float) / 1000 / spot - 1) * 100
        smile = 0.028 * (np.sqrt(1 + percent * percent) - 1) - self._tilt * percent
        iv: Floats = np.clip(level + smile, 0.08, 0.6)
        return iv

    def quotes(self, times: ArrayLike, spot: ArrayLike, strike: ArrayLike, put: ArrayLike = False) -> Quotes:
        """Quotes element by element over arrays (or one strike over arrays of times and spots); strikes in mills."""
        times, spot = np.asarray(times, dtype=float), np.asarray(spot, dtype=float)
        strike, put = np.asarray(strike, dtype=np.int64), np.asarray(put, dtype=bool)
        iv = self.iv(strike, times, spot)
        fair = black_scholes(spot, strike / 1000, self.years(times), iv, put).price * 100  # cents
        second = np.floor(times).astype(np.int64)
        contract = strike * 2 + put
        mid = np.maximum(fair + 0.3 * (self._chance(1, contract, second) - 0.5), 0.0)
        width = self._width(mid, self._chance(2, contract, second // 5))
        bid = np.maximum(np.round(mid - width / 2), 0.0)
        ask = np.maximum(bid + width, 1.0)
        dead = mid < 0.6
        bid = np.where(dead, 0.0, bid)
        near = np.exp(-np.abs(strike / 1000 - spot) / 8)
        return Quotes(
            bid=(bid * 10).astype(np.int64),
            ask=(ask * 10).astype(np.int64),
            bid_size=np.where(dead, 0, self._size(3, contract, second // 2, near)).astype(np.int64),
            ask_size=self._size(4, contract, second // 2, near).astype(np.int64),
            age_s=np.where(
                dead, 40 + 4000 * self._chance(5, contract, second // 60), 1.5 * self._chance(5, contract, second) / near
            ),
            mid=mid / 100,
            iv=iv,
        )

    @staticmethod
    def _width(mid: Floats, chance: Floats) -> Floats:
        """The spread in cents: one below 60 cents of premium, two to seven at $1-2, wider deep in the money."""
        middling = np.where(chance < 0.8, 2.0, 3.0)
        dear = np.clip(np.round(mid * (0.02 + 0.02 * chance)), 2, 7)
        deep = np.round(np.maximum(mid * 0.015, 5) + 12 * chance)
        width = np.where(mid < 60, 1.0, np.where(mid < 100, middling, np.where(mid < 250, dear, deep)))
        return np.asarray(width, dtype=float)

    def _size(self, salt: int, contract: Ints, bucket: Ints, near: Floats) -> Floats:
        chance = np.clip(self._chance(salt, contract, bucket), 0.004, 0.996)
        spread = np.log(chance / (1 - chance)) * 0.27  # logistic, deviation about 0.5
        return np.maximum(np.round((25 + 75 * near) * np.exp(spread)), 1.0)

    def _chance(self, salt: int, contract: Ints, bucket: Ints | int = 0) -> Floats:
        """A number in [0, 1) for a contract and a stretch of time: splitmix64 of both."""
        with np.errstate(over="ignore"):
            key = np.uint64(self.seed * 1_000_003 + self.session.date.toordinal() * 101 + salt)
            x = np.asarray(contract).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
            x = x ^ (np.asarray(bucket).astype(np.uint64) * np.uint64(0xD1B54A32D192ED03))
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
        return np.asarray((x >> np.uint64(11)).astype(np.float64) / float(2**53))

    # --- the standing of a contract ------------------------------------------------------------------------------------

    def day_volume(self, strike: Ints, times: ArrayLike, put: Bools) -> Ints:
        """Contracts traded today by `times`: tens of thousands around the money by eleven, few far away, then none."""
        away = np.abs(strike / 1000 - self.reference)
        whole = np.where(strike % 1000 == 0, 1.0, 0.4)
        whim = np.exp(1.0 * (self._chance(11, strike * 2 + put) - 0.5))
        hours = np.clip(np.asarray(times, dtype=float) - self.session.open_at, 0, None) / 3600
        by_now = (1 - np.exp(-hours / 1.2)) * 0.75 + 0.12 * hours
        traded: Ints = np.floor(52_000 * np.exp(-away / 2.2) * whole * whim * by_now).astype(np.int64)
        return traded

    def open_interest(self, strike: Ints, put: Bools) -> Ints:
        """Contracts open since last night: thousands near the money, most on round strikes, none far away."""
        away = np.abs(strike / 1000 - self.reference)
        whole = np.where(strike % 5000 == 0, 2.0, np.where(strike % 1000 == 0, 1.0, 0.6))
        whim = np.exp(1.6 * (self._chance(12, strike * 2 + put) - 0.5))
        held: Ints = np.floor(4_600 * np.exp(-away / 9) * whole * whim).astype(np.int64)
        return held

    @cached_property
    def tickers(self) -> tuple[list[str], list[str]]:
        """OCC tickers of the calls and of the puts, in the order of `strikes`; adjusted contracts have their own root."""
        roots = [self.underlying + ("1" if odd else "") for odd in self.adjusted.tolist()]
        day = self.session.date.strftime("%y%m%d")
        calls, puts = (
            [f"O:{root}{day}{letter}{strike:08d}" for root, strike in zip(roots, self.strikes.tolist(), strict=True)]
            for letter in "CP"
        )
        return calls, puts

    # --- rows as the snapshot has them ---------------------------------------------------------------------------------

    def rows(
        self,
        at: float,
        spot: float,
        rights: tuple[int, ...] = (CALL, PUT),
        *,
        only: str | None = None,
        timeframe: str = "REAL-TIME",
        forced: dict[str, dict[str, float]] | None = None,
    ) -> list[dict[str, Any]]:
        """The snapshot's rows at a time and spot, by ticker; `only` one contract; `forced` overrides quotes by ticker."""
        rows: list[dict[str, Any]] = []
        for right in rights:
            tickers = self.tickers[right]
            chosen = np.array([k for k, ticker in enumerate(tickers) if only in (None, ticker)], np.int64)
            if len(chosen):
                rows += self._rows_of(right, chosen, at, spot, timeframe, forced or {})
        return sorted(rows, key=lambda row: str(row["details"]["ticker"]))

    def _rows_of(
        self, right: int, chosen: Ints, at: float, spot: float, timeframe: str, forced: dict[str, dict[str, float]]
    ) -> list[dict[str, Any]]:
        strike = self.strikes[chosen]
        put = np.full(len(chosen), right == PUT)
        quotes = self.quotes(at, spot, strike, put)
        greeks = black_scholes(spot, strike / 1000, self.years(at), quotes.iv, put)
        volume = np.where(self.adjusted[chosen], 0, self.day_volume(strike, at, put))
        interest = np.where(self.adjusted[chosen], 11, self.open_interest(strike, put))
        quiet = (np.abs(greeks.delta) < 0.004) | (np.abs(greeks.delta) > 0.996) | self.adjusted[chosen]
        quiet |= self._chance(13, strike * 2 + put) < 0.03
        columns = (
            strike, self.adjusted[chosen], quotes.bid, quotes.ask, quotes.bid_size, quotes.ask_size, quotes.age_s, quotes.iv,
            greeks.delta, greeks.gamma, greeks.theta, greeks.vega, volume, interest, quiet,
        )  # fmt: skip
        names = [self.tickers[right][k] for k in chosen.tolist()]
        contracts = map(Contract._make, zip(names, *(column.tolist() for column in columns), strict=True))
        return [self._row(c, right, at, spot, timeframe, forced.get(c.ticker, {})) for c in contracts]

    def _row(
        self, c: Contract, right: int, at: float, spot: float, timeframe: str, forced: dict[str, float]
    ) -> dict[str, Any]:
        quote = {"bid": c.bid / 1000, "ask": c.ask / 1000, "bid_size": c.bid_size, "ask_size": c.ask_size, "age_s": c.age_s}
        quote |= forced
        middle = (quote["bid"] + quote["ask"]) / 2
        even = c.strike / 1000 + (middle if right == CALL else -middle)
        row: dict[str, Any] = {
            "break_even_price": round(even, 4),
            "day": self._day(at, middle, c.volume) if c.volume else {},
            "details": {
                "contract_type": "put" if right == PUT else "call",
                "exercise_style": "american",
                "expiration_date": self.session.date.isoformat(),
                "shares_per_contract": 107 if c.adjusted else 100,
                "strike_price": c.strike // 1000 if c.strike % 1000 == 0 else c.strike / 1000,
                "ticker": c.ticker,
            },
            "greeks": {},
            "last_quote": {
                "ask": quote["ask"], "ask_size": quote["ask_size"], "ask_exchange": 302,
                "bid": quote["bid"], "bid_size": quote["bid_size"], "bid_exchange": 316,
                "last_updated": int((at - quote["age_s"]) * 1e9), "midpoint": round(middle, 4), "timeframe": timeframe,
            },
            "open_interest": c.interest,
            "underlying_asset": {
                "change_to_break_even": round(even - spot, 4), "last_updated": int(at * 1e9), "price": spot,
                "ticker": self.underlying, "timeframe": timeframe,
            },
        }  # fmt: skip
        if c.volume:
            row["last_trade"] = {
                "conditions": [209], "exchange": 313, "price": quote["ask"], "sip_timestamp": int((at - 2 * c.age_s) * 1e9),
                "size": 1 + c.strike // 1000 % 9, "timeframe": timeframe,
            }  # fmt: skip
        if not c.quiet:
            row["greeks"] = {"delta": c.delta, "gamma": c.gamma, "theta": c.theta, "vega": c.vega}
            row["implied_volatility"] = c.iv
        return row

    @staticmethod
    def _day(at: float, middle: float, volume: int) -> dict[str, Any]:
        first = round(middle * 1.1 + 0.02, 2)
        return {
            "change": round(middle - first, 4), "change_percent": round((middle / first - 1) * 100, 4),
            "close": round(middle, 2),
            "high": round(max(first, middle) * 1.3 + 0.01, 2), "last_updated": int(at // 60 * 60) * 1_000_000_000,
            "low": round(min(first, middle) * 0.7, 2), "open": first, "previous_close": round(first * 1.2, 2),
            "volume": volume, "vwap": round((first + middle) / 2, 4),
        }  # fmt: skip
