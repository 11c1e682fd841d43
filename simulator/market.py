"""Second bars of whole sessions, made from a seed: regimes, bursts, U-shaped volume, holes, late and corrected bars.

Rules: the same (seed, date, symbol) always gives the same bars, whichever symbols are asked for together. A bar's columns
are its final truth; `first` is what the feed said before a correction. Minute history is the same sessions, summed. Units
are those of `events.Bar`; a session's times are whole Unix seconds in [open_at, close_at).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

from events import Bar
from utils import Session, new_york

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SYMBOLS = ("IWM", "SPY", "QQQ", "AAPL", "NVDA")
OPTIONED = ("IWM", "QQQ", "AAPL", "NVDA")
THRICE_A_WEEK = ("AAPL", "NVDA")  # their options expire on Mondays, Wednesdays and Fridays
PUBLICATION_S = 2.0  # the feed publishes a second two seconds after its end
CORRECTION_WINDOW_S = 900
COLUMN_NAMES = ("start", "open", "high", "low", "close", "volume", "vwap", "trades")
RAMP_S, RIDE_S, FADE_S = 75, 30, 45  # a burst climbs before its instant, rides on, and fades


class Temper(NamedTuple):
    """What sets a symbol apart: price, beta to the market, own noise and trades a second, shares a trade, clumping."""

    price: float
    beta: float
    own_sigma: float
    trades: float
    shares: float
    clump: float


TEMPERS = {
    "IWM": Temper(240.0, 1.10, 0.0030, 7.0, 190.0, 0.8),
    "SPY": Temper(660.0, 1.00, 0.0008, 32.0, 85.0, 1.6),
    "QQQ": Temper(600.0, 1.20, 0.0020, 26.0, 75.0, 1.4),
    "AAPL": Temper(270.0, 1.00, 0.0060, 20.0, 105.0, 1.2),
    "NVDA": Temper(185.0, 1.60, 0.0110, 60.0, 130.0, 1.3),
}
MARKET_SIGMA = 0.0042  # of the common factor over one full session's regular hours


class Burst(NamedTuple):
    """A momentum burst whose conditions hold `after` seconds from the open; `strength` 1.0 is +0.16 % by then.

    `follow` is the ride after it and `fade` what is given back, both in parts of the climb. Without `lead` SPY runs
    ahead; `calm`: the minutes before it are quiet, so that it is sure to be seen.
    """

    after: float
    strength: float = 1.0
    follow: float = 1.25
    fade: float = 1.9
    lead: bool = True
    calm: bool = True


@dataclass(frozen=True, slots=True)
class Columns:
    """Bars of one symbol as equally long arrays, in order of `start` (Unix seconds)."""

    start: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    vwap: Floats
    trades: Ints

    def __len__(self) -> int:
        return len(self.start)

    def take(self, which: NDArray[np.bool_] | Ints | slice) -> Columns:
        return Columns(*(getattr(self, name)[which] for name in COLUMN_NAMES))

    @classmethod
    def joined(cls, parts: Sequence[Columns]) -> Columns:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in COLUMN_NAMES))

    @classmethod
    def none(cls) -> Columns:
        """No bars."""
        whole, real = np.empty(0, np.int64), np.empty(0)
        return cls(whole, real, real, real, real, real, real, whole)

    def bars(self, symbol: str) -> Iterator[Bar]:
        columns = (self.start, self.open, self.high, self.low, self.close, self.volume, self.vwap)
        for row in zip(*(column.tolist() for column in columns), strict=True):
            yield Bar(symbol, *row)


class Delivery(NamedTuple):
    """One frame of the feed: when it arrives, what it says, and whether that second was said before."""

    at: float
    bar: Bar
    corrected: bool


@dataclass(frozen=True, slots=True)
class SymbolDay:
    """One symbol's session: the final bars, the first saying of each, when that came, when it was corrected (inf: never)."""

    symbol: str
    final: Columns
    first: Columns
    known_at: Floats
    corrected_at: Floats

    def as_of(self, now: float) -> Columns:
        """The bars known at `now`, each as it was last said by then."""
        corrected = self.corrected_at <= now
        mixed = Columns(
            self.final.start,
            *(np.where(corrected, getattr(self.final, name), getattr(self.first, name)) for name in COLUMN_NAMES[1:]),
        )
        return mixed.take(self.known_at <= now)


@dataclass(frozen=True, slots=True)
class MarketDay:
    """A whole session of every symbol."""

    session: Session
    symbols: dict[str, SymbolDay]
    bursts: tuple[Burst, ...] = ()

    @property
    def columns(self) -> dict[str, Columns]:
        """The final bars of each symbol."""
        return {symbol: day.final for symbol, day in self.symbols.items()}

    def spot(self, symbol: str, times: Floats | float) -> Floats:
        """The last price of a symbol at each time: the close of the last second that had ended (before it: the open)."""
        final = self.symbols[symbol].final
        at = np.searchsorted(final.start + 1, np.asarray(times, dtype=float), side="right") - 1
        return np.where(at < 0, final.open[0], final.close[np.maximum(at, 0)])

    def arrivals(self) -> tuple[Floats, NDArray[np.int8], Columns, NDArray[np.bool_]]:
        """Every frame in order of arrival: (at, index into `symbols`, the bar as said then, corrected)."""
        at, which, said, corrected = [], [], [], []
        for index, day in enumerate(self.symbols.values()):
            again = np.isfinite(day.corrected_at)
            at += [day.known_at, day.corrected_at[again]]
            said += [day.first, day.final.take(again)]
            which.append(np.full(len(day.first) + int(again.sum()), index, np.int8))
            corrected.append(np.repeat([False, True], [len(day.first), int(again.sum())]))
        times = np.concatenate(at)
        order = np.argsort(times, kind="stable")
        return times[order], np.concatenate(which)[order], Columns.joined(said).take(order), np.concatenate(corrected)[order]

    def deliveries(self) -> Iterator[Delivery]:
        """The same frames as `Delivery` values."""
        names = list(self.symbols)
        at, which, said, corrected = self.arrivals()
        values = (said.start, said.open, said.high, said.low, said.close, said.volume, said.vwap)
        rows = zip(*(column.tolist() for column in values), strict=True)
        for when, index, again, row in zip(at.tolist(), which.tolist(), corrected.tolist(), rows, strict=True):
            yield Delivery(when, Bar(names[index], *row), again)


# --- making a session --------------------------------------------------------------------------------------------------


def generate_session(
    seed: int,
    session: Session,
    *,
    symbols: Sequence[str] = SYMBOLS,
    bursts: Iterable[Burst | tuple[float, float]] | None = None,
    prices: dict[str, float] | None = None,
    volume_scale: dict[str, float] | None = None,
    driver: Floats | None = None,
    publication_s: float = PUBLICATION_S,
    corrections: bool = True,
) -> MarketDay:
    """One session from its seed.

    `bursts` None draws some from the seed; else these alone are played. `prices` are opening prices, `volume_scale` factors
    on a symbol's usual volume. `driver`, a log-price path of one value a second, replaces the common factor of the market.
    """
    seconds = session.close_at - session.open_at
    common = np.random.default_rng([seed, session.date.toordinal(), 0])
    played = _drawn_bursts(common, seconds) if bursts is None else tuple(Burst(*burst) for burst in bursts)
    factor, heat = _common_factor(common, seconds, played)
    if driver is not None:
        factor = driver - driver[0]
    made = {}
    for symbol in symbols:
        rng = np.random.default_rng([seed, session.date.toordinal(), 1 + SYMBOLS.index(symbol)])
        temper = TEMPERS[symbol]
        opening = (prices or {}).get(symbol) or opening_price(seed, session.date, symbol)
        path = np.log(opening) + temper.beta * factor + _own_path(rng, temper, heat) + _burst_path(symbol, played, seconds)
        intensity = _intensity(rng, temper, symbol, played, seconds) * (volume_scale or {}).get(symbol, 1.0)
        final = _bars(rng, session.open_at, path, intensity, temper)
        made[symbol] = _said(rng, symbol, final, publication_s, corrections)
    return MarketDay(session, made, played)


def opening_price(seed: int, day: date, symbol: str) -> float:
    """A symbol's price at the open of a day: slow waves and a daily step, the same whenever it is asked for."""
    waves = np.random.default_rng([seed, 7, SYMBOLS.index(symbol)])
    ordinal, level = day.toordinal(), 0.0
    for period, depth in ((251.0, 0.06), (61.0, 0.025), (17.0, 0.012)):
        level += depth * float(np.sin(2 * np.pi * (ordinal / period + waves.random())))
    step = float(np.random.default_rng([seed, ordinal, 90 + SYMBOLS.index(symbol)]).normal(0.0, 0.003))
    return round(TEMPERS[symbol].price * float(np.exp(level + step)), 2)


def usual_shape(seconds: int) -> Floats:
    """The U of a session's volume, second by second, with mean 1."""
    t = np.arange(seconds, dtype=float)
    shape = 0.75 + 1.9 * np.exp(-t / 900) + 0.8 * np.exp(-t / 4500) + 1.7 * np.exp((t - seconds) / 900)
    mean_one: Floats = shape / shape.mean()
    return mean_one


def _drawn_bursts(rng: np.random.Generator, seconds: int) -> tuple[Burst, ...]:
    """Some six bursts a session: strong and weak, kept and faded, some led by SPY."""
    count = int(rng.poisson(6 * seconds / 23_400))
    return tuple(
        Burst(
            after=float(rng.uniform(600, seconds - 600)),
            strength=float(rng.uniform(0.5, 1.3)),
            follow=float(rng.uniform(-0.8, 1.4)),
            fade=float(rng.uniform(0.2, 2.2)),
            lead=bool(rng.random() < 0.8),
            calm=False,
        )
        for _ in range(count)
    )


def _common_factor(rng: np.random.Generator, seconds: int, bursts: Sequence[Burst]) -> tuple[Floats, Floats]:
    """The market's log path and how lively each second is (about 1): regimes of minutes, quiet before forced bursts."""
    heat, drift, chop = np.empty(seconds), np.zeros(seconds), np.zeros(seconds)
    at = 0
    while at < seconds:
        length = int(np.clip(rng.exponential(900), 240, 2400))
        kind = rng.choice(("quiet", "trend", "chop"), p=(0.45, 0.27, 0.28))
        part = slice(at, at + length)
        heat[part] = {"quiet": 0.65, "trend": 1.0, "chop": 1.1}[kind]
        if kind == "trend":
            drift[part] = rng.choice((-1, 1)) * rng.uniform(0.001, 0.003) / length
        if kind == "chop":
            chop[part] = rng.uniform(0.0003, 0.0006)
        at += length
    heat *= np.sqrt(usual_shape(seconds))
    for burst in bursts:
        if burst.calm:
            calm = slice(max(int(burst.after) - 330, 0), int(burst.after) + RIDE_S + FADE_S)
            heat[calm] *= 0.3
            drift[calm] = 0.0
            chop[calm] = 0.0
    swing = lfilter([1.0], [1.0, -0.97], rng.standard_normal(seconds)) * np.sqrt(1 - 0.97**2)
    smooth_chop = lfilter([1 / 60], [1.0, -59 / 60], chop)
    steps = rng.standard_normal(seconds) * heat * MARKET_SIGMA / np.sqrt(seconds) + drift
    return np.cumsum(steps) + swing * smooth_chop, heat


def _own_path(rng: np.random.Generator, temper: Temper, heat: Floats) -> Floats:
    path: Floats = np.cumsum(rng.standard_normal(len(heat)) * heat) * temper.own_sigma / np.sqrt(len(heat))
    return path


def _burst_path(symbol: str, bursts: Sequence[Burst], seconds: int) -> Floats:
    """The log-price a burst adds: a climb that steepens, the ride, the fade; SPY and the basket feel a part of it."""
    path = np.zeros(seconds)
    t = np.arange(seconds, dtype=float)
    for burst in bursts:
        climb = 0.0016 * burst.strength
        late, part = (0.0, 1.0) if symbol == "IWM" else (3.0, 0.35)
        if not burst.lead:
            late, part = (6.0, 0.6) if symbol == "IWM" else (-20.0, 2.6)
        since = t - burst.after - late
        risen = np.clip((since + RAMP_S) / RAMP_S, 0, 1) ** 1.15
        ridden = np.clip(since / RIDE_S, 0, 1)
        faded = np.clip((since - RIDE_S) / FADE_S, 0, 1)
        path += climb * part * (risen + burst.follow * ridden - burst.fade * faded)
    return path


def _intensity(rng: np.random.Generator, temper: Temper, symbol: str, bursts: Sequence[Burst], seconds: int) -> Floats:
    """Expected trades of each second: the U, the day's own level, moods of minutes, and bursts."""
    usual = temper.trades * usual_shape(seconds)
    mood = lfilter([1.0], [1.0, -0.995], rng.standard_normal(seconds)) * np.sqrt(1 - 0.995**2)
    lively = np.exp(0.3 * mood - 0.045) * np.exp(rng.normal(0.0, 0.12))
    t = np.arange(seconds, dtype=float)
    for burst in bursts:
        since = t - burst.after
        near = np.clip((since + 42) / 15, 0, 1) * np.clip((RIDE_S + FADE_S - since) / 40, 0, 1)
        if burst.calm:
            lively = lively * (1 - near) + near
        reach = 1.0 if symbol == "IWM" else 0.3
        lively = lively * (1 + reach * near * (2.1 + 1.3 * burst.strength))
        lively[(since >= -2) & (since < 6)] *= 1 + 2.2 * reach * burst.strength
    expected: Floats = usual * lively
    return expected


def _bars(rng: np.random.Generator, open_at: int, path: Floats, intensity: Floats, temper: Temper) -> Columns:
    """Bars from a log-price path and expected trades: four prints a second at most, on cents, holes where nothing traded."""
    seconds = len(path)
    clumps = rng.gamma(temper.clump, 1 / temper.clump, seconds)
    rush = intensity > 4.0 * temper.trades * usual_shape(seconds)  # in a burst every second trades
    trades = rng.poisson(intensity * np.where(rush, np.maximum(clumps, 0.9), clumps))
    volume = np.ceil(trades * temper.shares * rng.lognormal(-0.06, 0.35, seconds))
    level = np.exp(path)
    before = np.concatenate(([level[0]], level[:-1]))
    bounce = rng.uniform(-0.006, 0.006, (4, seconds))
    prints = [np.round(before + (level - before) * (k + 1) / 4 + bounce[k], 2) for k in range(4)]
    for k in (2, 1, 0):  # fewer trades than four: fewer prints
        prints[k] = np.where(trades >= 4 - k, prints[k], prints[k + 1])
    weights = rng.uniform(0.2, 1.0, (4, seconds))
    stack = np.stack(prints)
    high, low = stack.max(axis=0), stack.min(axis=0)
    vwap = np.clip(np.round((stack * weights).sum(axis=0) / weights.sum(axis=0), 4), low, high)
    start = open_at + np.arange(seconds, dtype=np.int64)
    every = Columns(start, prints[0], high, low, prints[3], volume, vwap, trades.astype(np.int64))
    return every.take(trades > 0)


def _said(rng: np.random.Generator, symbol: str, final: Columns, publication_s: float, corrections: bool) -> SymbolDay:
    """How the feed tells the bars: about two seconds late, some much later, one in seventy first with less volume."""
    count = len(final)
    lag = publication_s + rng.exponential(0.05, count)
    late = rng.random(count) < 0.004
    lag = np.where(late, lag + rng.uniform(1.5, 9.0, count), lag)
    known_at = final.start + 1 + lag
    corrected = (rng.random(count) < 0.014) & (final.volume >= 200) & corrections
    wait = np.minimum(rng.exponential(70, count) + 1.0, CORRECTION_WINDOW_S - 20)
    corrected_at = np.where(corrected, known_at + wait, np.inf)
    missing = np.where(corrected, rng.uniform(0.02, 0.35, count), 0.0)
    narrower = corrected & (rng.random(count) < 0.2)
    first_high = np.where(narrower, np.maximum(final.open, final.close), final.high)
    first_low = np.where(narrower, np.minimum(final.open, final.close), final.low)
    nudge = np.where(corrected, rng.uniform(-0.004, 0.004, count), 0.0)
    first = replace(
        final,
        high=first_high,
        low=first_low,
        volume=np.floor(final.volume * (1 - missing)),
        vwap=np.clip(np.round(final.vwap + nudge, 4), first_low, first_high),
        trades=np.maximum(final.trades - corrected, 1),
    )
    return SymbolDay(symbol, final, first, known_at, corrected_at)


# --- real bars ---------------------------------------------------------------------------------------------------------


def read_bars(path: Path) -> Columns:
    """A csv or csv.gz of second bars: timestamp_ns_utc (start), open, high, low, close, volume, vwap[, transactions]."""
    table = pd.read_csv(path)
    needed = {"timestamp_ns_utc", "open", "high", "low", "close", "volume", "vwap"}
    if missing := sorted(needed - set(table.columns)):
        raise ValueError(f"{path.name} has no column {', '.join(missing)}")
    table = table.sort_values("timestamp_ns_utc", kind="stable").drop_duplicates("timestamp_ns_utc", keep="last")
    if table.empty or table[sorted(needed)].isna().to_numpy().any():
        raise ValueError(f"{path.name} has no rows, or rows with missing values")
    trades = table["transactions"] if "transactions" in table.columns else table["volume"] // 200 + 1
    o, h, low, c, v, vw = (table[name].to_numpy(np.float64) for name in COLUMN_NAMES[1:7])
    start = table["timestamp_ns_utc"].to_numpy(np.int64) // 1_000_000_000
    return Columns(start, o, h, low, c, v, vw, trades.to_numpy(np.int64))


def date_of_bars(bars: Columns) -> date:
    """The New York date of a file of bars."""
    return new_york(float(bars.start[len(bars) // 2])).date()


def load_bars(
    path: Path, session: Session, *, seed: int = 0, publication_s: float = PUBLICATION_S, corrections: bool = True
) -> MarketDay:
    """A file of real second bars played as IWM, extended hours and all; SPY and the basket are simulated to go with it.

    The others follow a common factor that is three quarters of IWM's own path: SPY is neither far ahead nor far behind.
    """
    real = read_bars(path)
    if date_of_bars(real) != session.date:
        raise ValueError(f"{path.name} is of {date_of_bars(real)}, not of {session.date}")
    every = np.arange(session.open_at, session.close_at)
    at = np.maximum(np.searchsorted(real.start, every, side="right") - 1, 0)
    driver = 0.75 * lfilter([0.5], [1.0, -0.5], np.log(real.close[at] / real.close[at[0]]))
    rest = generate_session(
        seed,
        session,
        symbols=[symbol for symbol in SYMBOLS if symbol != "IWM"],
        bursts=(),
        driver=np.asarray(driver),
        publication_s=publication_s,
        corrections=corrections,
    )
    rng = np.random.default_rng([seed, session.date.toordinal(), 50])
    return MarketDay(session, {"IWM": _said(rng, "IWM", real, publication_s, corrections), **rest.symbols})


def scale_of(bars: Columns, session: Session) -> tuple[float, float]:
    """What makes simulated history fit a file of bars: its opening price, and its volume in parts of IWM's usual one."""
    inside = bars.take((bars.start >= session.open_at) & (bars.start < session.close_at))
    if not len(inside):
        raise ValueError("the file has no bar in regular hours")
    usual = TEMPERS["IWM"].trades * TEMPERS["IWM"].shares * (session.close_at - session.open_at)
    return float(inside.open[0]), float(inside.volume.sum()) / usual


# --- sums --------------------------------------------------------------------------------------------------------------


def aggregate(bars: Columns, seconds: int, origin: int = 0) -> Columns:
    """Bars summed to windows of `seconds` that start at `origin` + a multiple; empty windows are absent."""
    if not len(bars) or seconds == 1:
        return bars
    window = (bars.start - origin) // seconds
    firsts = np.flatnonzero(np.concatenate(([True], window[1:] != window[:-1])))
    lasts = np.concatenate((firsts[1:], [len(bars)])) - 1
    volume = np.add.reduceat(bars.volume, firsts)
    value = np.add.reduceat(bars.volume * bars.vwap, firsts)
    vwap = np.divide(value, volume, out=bars.vwap[firsts].copy(), where=volume > 0)
    return Columns(
        window[firsts] * seconds + origin,
        bars.open[firsts],
        np.maximum.reduceat(bars.high, firsts),
        np.minimum.reduceat(bars.low, firsts),
        bars.close[lasts],
        volume,
        np.asarray(np.round(vwap, 4), dtype=np.float64),
        np.add.reduceat(bars.trades, firsts),
    )
