"""The indices XSP, SPX and VIX of one day and the options on them: a market for condors, made from a seed.

Rules: everything is a function of (seed, day, time). XSP goes with SPY's path and SPX is ten times it; VIX moves against it and is
published every 15 s; quotes are of whole seconds. Prices are whole mills. The class SPX is settled in the morning: on its last
date it is listed and does not trade.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

import numpy as np
from numpy.typing import ArrayLike

from simulator.chain import YEAR_S, ChainModel, Floats, black_scholes
from simulator.market import MarketDay, generate_session, opening_price
from simulator.tws.contracts import Bar, Greeks, Instrument, Quote
from utils import Session, SessionCalendar

XSP, SPX, VIX = 137851301, 416904, 13455763
OF_SPY = 1.0035  # XSP in parts of SPY
VIX_EVERY_S = 15
TODAYS_FACTOR = 1.6  # an option of today has so many times VIX's volatility, in calendar time
BAR_AFTER_S = 900  # the day's bar comes so long after the close
EXPIRIES = 3
STRIKES = 141
FIRST_DAY = date(2020, 1, 1)
CLASSES = {
    "XSP": ("XSP", 1, 10, XSP),
    "SPXW": ("SPX", 10, 50, SPX),
    "SPX": ("SPX", 10, 50, SPX),
}  # symbol, scale, tick, under


class IndexChain(ChainModel):
    """One expiry's chain on the scale of XSP: volatility from VIX, spreads of one to six cents."""

    def __init__(self, seed: int, session: Session, reference: float, vix: Callable[[ArrayLike], Floats]) -> None:
        super().__init__(seed, session, reference, underlying="XSP", half_strikes=False, strikes=STRIKES, adjusted=0)
        self._vix = vix

    def iv(self, strike: ArrayLike, times: ArrayLike, spot: ArrayLike) -> Floats:
        """Today's options several vols over VIX, a fortnight's near it; higher below the money than above."""
        days = self.years(times) * 365
        level = self._vix(times) / 100 * (1 + (TODAYS_FACTOR - 1) / np.maximum(days, 1.0))
        percent = (np.asarray(strike, dtype=float) / 1000 / np.asarray(spot, dtype=float) - 1) * 100
        smile = 0.03 * (np.sqrt(1 + percent * percent) - 1) - 0.012 * percent
        iv: Floats = np.clip(level + smile, 0.06, 0.9)
        return iv

    @staticmethod
    def _width(mid: Floats, chance: Floats) -> Floats:
        """The spread in cents: one or two for a wing, then more."""
        width = np.where(mid < 12, 1 + (chance < 0.35), np.where(mid < 120, 2 + (chance < 0.4), np.clip(mid * 0.015, 3, 6)))
        return np.asarray(np.round(width), dtype=float)


class IndexMarket:
    """A day of the indices and their chains, for the TWS on loopback. ValueError for a day without a session.

    `path` gives XSP in dollars at each of many times; without it SPY's path of the same seed is taken.
    """

    def __init__(self, seed: int, day: date, *, path: Callable[[ArrayLike], Floats] | None = None) -> None:
        calendar = SessionCalendar(day)
        session = calendar.on(day)
        if session is None:
            raise ValueError(f"{day} is not a trading day")
        self.seed, self.session = seed, session
        self._path = path or _spy(generate_session(seed, session, symbols=("SPY",)))
        rng = np.random.default_rng([seed, day.toordinal(), 300])
        self._calm, self._phase = float(rng.uniform(12.5, 18.5)), float(rng.uniform(0, 6.28))
        self._opening = float(self.xsp(session.open_at))
        self._before = opening_price(seed, day - timedelta(days=1), "SPY") * OF_SPY
        expiries = [found for k in range(12) if (found := calendar.on(day + timedelta(days=k)))][:EXPIRIES]
        self._chains = {one.date: IndexChain(seed, one, self._opening, self.vix) for one in expiries}
        self._sessions = {one.date: one for one in expiries}
        self._monthly = _third_friday(day)
        self._instruments = {one.con_id: one for one in (*self._indices(), *self._options())}
        self._strikes: dict[tuple[str, date], dict[int, int]] = {}
        for one in self._instruments.values():
            if one.right and one.expiry:
                row = self._strikes.setdefault((one.trading_class, one.expiry), {})
                row[one.con_id] = len(row)
        self._quoted: dict[tuple[str, date], tuple[int, list[Quote]]] = {}

    # --- values --------------------------------------------------------------------------------------------------------

    def xsp(self, at: ArrayLike) -> Floats:
        """XSP in dollars; after the close its last value."""
        return np.asarray(self._path(np.floor(np.asarray(at, dtype=float))), dtype=float)

    def vix(self, at: ArrayLike) -> Floats:
        """VIX as last published."""
        times = np.floor(np.asarray(at, dtype=float) / VIX_EVERY_S) * VIX_EVERY_S
        fallen = -np.log(self.xsp(np.maximum(times, self.session.open_at)) / self._opening)
        level: Floats = np.round(self._calm * np.exp(4 * fallen) + 0.12 * np.sin(times / 700 + self._phase), 2)
        return np.clip(level, 9.0, 80.0)

    @property
    def instruments(self) -> Mapping[int, Instrument]:
        return self._instruments

    def tradable(self, con_id: int, at: float) -> bool:
        one = self._instruments.get(con_id)
        if one is None or one.expiry is None or not self.session.open_at <= at < self.session.close_at:
            return False
        return one.expiry > self.session.date or one.trading_class != "SPX"

    def quote(self, con_id: int, at: float) -> Quote:
        """The quote of an index or option at a time; nothing before the open."""
        one = self._instruments.get(con_id)
        if one is None or at < self.session.open_at:
            return Quote()
        if one.expiry is None:
            return self._of_index(con_id, at)
        if not self.tradable(con_id, at) or one.expiry not in self._chains:
            return Quote()
        key = (one.trading_class, one.expiry)
        second, quotes = self._quoted.get(key, (-1, []))
        if second != int(at):
            quotes = self._of_chain(one.trading_class, one.expiry, int(at))
            self._quoted[key] = (int(at), quotes)
        return quotes[self._strikes[key][con_id]]

    def days(self, con_id: int, at: float) -> Sequence[Bar]:
        """The day's bar of an index, from a quarter of an hour after the close on."""
        if con_id not in (XSP, SPX, VIX) or at < self.session.close_at + BAR_AFTER_S:
            return []
        times = np.arange(self.session.open_at, self.session.close_at + 1)
        values = self.vix(times) if con_id == VIX else self.xsp(times) * (10 if con_id == SPX else 1)
        first, last, low, high = values[0], values[-1], values.min(), values.max()
        return [Bar(self.session.date, *(_cents(float(value)) for value in (first, high, low, last)))]

    def _of_index(self, con_id: int, at: float) -> Quote:
        if con_id == VIX:
            return Quote(last=_cents(float(self.vix(at))), close=_cents(self._calm))
        scale = 10 if con_id == SPX else 1
        return Quote(last=_cents(float(self.xsp(at)) * scale), close=_cents(self._before * scale))

    def _of_chain(self, name: str, expiry: date, at: int) -> list[Quote]:
        """Every quote of a class and expiry in the order of its contracts."""
        _, scale, tick, _ = CLASSES[name]
        ones = [self._instruments[con_id] for con_id in self._strikes[name, expiry]]
        strike = np.array([one.strike // scale for one in ones], dtype=np.int64)
        put = np.array([one.right == "P" for one in ones])
        chain, spot = self._chains[expiry], float(self.xsp(at))
        said = chain.quotes(np.full(len(ones), at), spot, strike, put)
        model = black_scholes(spot, strike / 1000, np.maximum(chain.years(at), 60 / YEAR_S), said.iv, put)
        quotes = []
        for k in range(len(ones)):
            bid, ask = (int(side[k]) * scale // tick * tick for side in (said.bid, said.ask))
            greeks = Greeks(
                float(said.iv[k]), float(model.delta[k]), float(said.mid[k]) * scale, float(model.gamma[k]) / scale,
                float(model.vega[k]) * scale, float(model.theta[k]) * scale, spot * scale,
            )  # fmt: skip
            known = 0.002 < abs(greeks.delta) < 0.998
            quotes.append(
                Quote(
                    bid or None,
                    max(ask, tick),
                    int(said.bid_size[k]) if bid else 0,
                    int(said.ask_size[k]),
                    greeks=greeks if known else None,
                )
            )
        return quotes

    # --- what is listed ------------------------------------------------------------------------------------------------

    def _indices(self) -> list[Instrument]:
        return [Instrument(con_id, name, "IND", "CBOE", local_symbol=name, trading_class=name)
                for con_id, name in ((XSP, "XSP"), (SPX, "SPX"), (VIX, "VIX"))]  # fmt: skip

    def _options(self) -> list[Instrument]:
        """Contracts of each class; far from the money some strikes are not listed."""
        made = []
        for number, name in enumerate(CLASSES):
            for expiry in [self._monthly] if name == "SPX" else list(self._chains):
                for strike in self._grid(fine=name != "XSP"):
                    away = abs(strike / 1000 - self._opening)
                    if away > 15 and (strike // 500 * 7 + expiry.toordinal()) % 11 == 0:
                        continue
                    made += [self._option(number, name, expiry, strike, right) for right in "PC"]
        return made

    def _grid(self, *, fine: bool) -> list[int]:
        """Strikes on XSP's scale, mills: whole dollars; or, as SPX has them, half dollars near the money and 2.50 beyond."""
        middle, reach = round(self._opening), STRIKES // 2
        if not fine:
            return [(middle + k) * 1000 for k in range(-reach, reach + 1)]
        halves = range((middle - reach) * 1000, (middle + reach) * 1000 + 1, 500)
        return [strike for strike in halves if strike % 2500 == 0 or abs(strike - middle * 1000) <= 25_000]

    def _option(self, number: int, name: str, expiry: date, on_xsp: int, right: str) -> Instrument:
        symbol, scale, tick, under = CLASSES[name]
        days = (expiry - FIRST_DAY).days % 3000
        con_id = 600_000_000 + number * 60_000_000 + days * 20_000 + on_xsp // 500 * 2 + (right == "C")
        strike = on_xsp * scale
        session = self._sessions.get(expiry)
        hours, last = "", "15:00:00"
        if session is not None:
            closes = 15 if session.is_full else 12  # Chicago's time
            hours, last = f"{expiry:%Y%m%d}:0830-{expiry:%Y%m%d}:{closes}00", f"{closes}:00:00"
        return Instrument(
            con_id, symbol, "OPT", "SMART", expiry, strike, right, 100, name, f"{name:6}{expiry:%y%m%d}{right}{strike:08d}",
            tick, "109" if scale == 10 else "239", last, under, hours,
        )  # fmt: skip


def _cents(dollars: float) -> int:
    """Mills of dollars, to the cent."""
    return round(dollars * 100) * 10


def _spy(day: MarketDay) -> Callable[[ArrayLike], Floats]:
    """XSP from SPY's seconds."""

    def path(at: ArrayLike) -> Floats:
        return np.round(day.spot("SPY", np.asarray(at, dtype=float)) * OF_SPY, 2)

    return path


def _third_friday(day: date) -> date:
    """The first third Friday of a month from a day on."""
    for ahead in range(62):
        one = day + timedelta(days=ahead)
        if one.weekday() == 4 and 15 <= one.day <= 21:
            return one
    raise AssertionError("every two months have a third Friday")
