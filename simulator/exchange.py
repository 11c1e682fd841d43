"""What is true on the market at the clock's time: known bars, the last price, the chain, a quote; and how to bend it.

Rules: time comes from the given clock and nothing else. Sessions are made when they are first asked for and kept while
they are of use. `force_quote` puts a quote in place of the model's until `free_quote`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.chain import CALL, PUT, ChainModel
from simulator.market import (
    OPTIONED,
    PUBLICATION_S,
    SYMBOLS,
    THRICE_A_WEEK,
    Burst,
    Columns,
    MarketDay,
    SymbolDay,
    aggregate,
    date_of_bars,
    generate_session,
    load_bars,
    opening_price,
    read_bars,
    scale_of,
)
from utils import NEW_YORK, Session, SessionCalendar, new_york

KEPT_DAYS = 6
EXPIRIES_LISTED = 3


class Time(Protocol):
    def now(self) -> float: ...

    def real_seconds(self, seconds: float) -> float: ...


class OptionQuote(NamedTuple):
    """A quote in dollars and contracts; `at` is its own time stamp."""

    bid: float
    ask: float
    bid_size: int
    ask_size: int
    at: float


class PastQuotes(NamedTuple):
    """A contract's quotes of its last day, one where something changed: time in ns, sides in mills, sizes in contracts."""

    at_ns: NDArray[np.int64]
    bid: NDArray[np.int64]
    ask: NDArray[np.int64]
    bid_size: NDArray[np.int64]
    ask_size: NDArray[np.int64]


class Market:
    """One seeded market around a session `day`; with `bars`, a file of that day, IWM is played from it."""

    def __init__(
        self,
        clock: Time,
        seed: int,
        day: date,
        *,
        bars: Path | None = None,
        bursts: Iterable[Burst | tuple[float, float]] | None = None,
        half_strikes: bool | None = None,
        publication_s: float = PUBLICATION_S,
        corrections: bool = True,
    ) -> None:
        self.clock, self.seed = clock, seed
        self.half_strikes, self.publication_s, self.corrections = half_strikes, publication_s, corrections
        self.lag_s = 0.0  # 900 makes it a delayed feed
        self.without_expiry: set[date] = set()
        self.calendar = SessionCalendar(day)
        session = self.calendar.on(day)
        if session is None:
            raise ValueError(f"{day} is not a trading day")
        self.session: Session = session
        self._bursts = bursts
        self._scale = 1.0, 1.0  # price and volume of simulated days beside a real one
        self._real: MarketDay | None = None
        self._forced: dict[str, dict[str, float]] = {}
        self._making = threading.RLock()  # what follows is made once, whichever server asks
        self._days: dict[date, MarketDay] = {}
        self._symbol_days: dict[tuple[str, date], SymbolDay] = {}
        self._minutes: dict[tuple[str, date], Columns] = {}
        self._chains: dict[tuple[str, date], ChainModel] = {}
        if bars is not None:
            price, volume = scale_of(read_bars(bars), session)
            self._scale = price / opening_price(seed, day, "IWM"), volume
            self._real = load_bars(bars, session, seed=seed, publication_s=publication_s, corrections=corrections)

    @classmethod
    def of_file(cls, clock: Time, seed: int, bars: Path, **options: Any) -> Market:
        """The market of the day on which a file's bars were traded."""
        return cls(clock, seed, date_of_bars(read_bars(bars)), bars=bars, **options)

    # --- stocks --------------------------------------------------------------------------------------------------------

    def day(self, day: date) -> MarketDay | None:
        """The whole session of a date, all symbols; None on holidays."""
        session = self.calendar.on(day)
        if session is None:
            return None
        with self._making:
            if day not in self._days:
                real = self._real if day == self.session.date else None
                self._days[day] = real or self._made(session, SYMBOLS)
                while len(self._days) > 2:
                    del self._days[next(iter(self._days))]
            return self._days[day]

    def symbol_day(self, symbol: str, day: date) -> SymbolDay | None:
        """One symbol's session; None on holidays and for symbols that are not played."""
        if day == self.session.date or day in self._days:
            whole = self.day(day)
            return whole.symbols.get(symbol) if whole else None
        session = self.calendar.on(day)
        if session is None or symbol not in SYMBOLS:
            return None
        with self._making:
            if (symbol, day) not in self._symbol_days:
                self._symbol_days[symbol, day] = self._made(session, (symbol,)).symbols[symbol]
                while len(self._symbol_days) > KEPT_DAYS:
                    del self._symbol_days[next(iter(self._symbol_days))]
            return self._symbol_days[symbol, day]

    def _made(self, session: Session, symbols: tuple[str, ...]) -> MarketDay:
        price, volume = self._scale
        return generate_session(
            self.seed,
            session,
            symbols=symbols,
            bursts=self._bursts if session.date == self.session.date else None,
            prices={"IWM": round(opening_price(self.seed, session.date, "IWM") * price, 2)},
            volume_scale={"IWM": volume},
            publication_s=self.publication_s,
            corrections=self.corrections,
        )

    def known(self, symbol: str, day: date) -> Columns | None:
        """The second bars of a date as the feed has told them by now; an option's on its last day, made of what it traded."""
        if symbol.startswith("O:"):
            return self._option_seconds(symbol, day)
        whole = self.symbol_day(symbol, day)
        return None if whole is None else whole.as_of(self.clock.now() - self.lag_s)

    def minutes(self, symbol: str, day: date) -> Columns | None:
        """The minute bars of a date as known by now."""
        session = self.calendar.on(day)
        if session is None:
            return None
        past = self.clock.now() > session.close_at + 4 * 3600
        if past and (symbol, day) in self._minutes:
            return self._minutes[symbol, day]
        seconds = self.known(symbol, day)
        if seconds is None:
            return None
        made = aggregate(seconds, 60)
        if past:
            self._minutes[symbol, day] = made
        return made

    def spot(self, at: float, symbol: str = "IWM") -> float:
        """The price at a time: the close of the last second that had ended, the day before's close before the open."""
        day = new_york(at).date()
        session = self.calendar.on(day)
        whole = self.symbol_day(symbol, day) if session and at >= session.open_at else None
        if whole is None:
            earlier = [s for s in self.calendar.full_before(day, 1) if s.close_at <= at]
            whole = self.symbol_day(symbol, (earlier[-1] if earlier else self.session).date)
        if whole is None:
            raise ValueError(f"{symbol} is not played")
        return float(MarketDay(self.session, {symbol: whole}).spot(symbol, at))

    # --- options -------------------------------------------------------------------------------------------------------

    def expirations(self, underlying: str = "IWM") -> list[date]:
        """The listed expiries, nearest first: today's until its close, and the next sessions'; none where there are no options."""
        if underlying not in OPTIONED:
            return []
        now = self.clock.now()
        day = new_york(now).date()
        today = self.calendar.on(day)
        found = [today.date] if today and now < today.close_at + 900 else []
        while len(found) < EXPIRIES_LISTED and (following := self.calendar.next_after(found[-1] if found else day)):
            found.append(following.date)
        days = (0, 2, 4) if underlying in THRICE_A_WEEK else range(7)
        return [expiry for expiry in found if expiry not in self.without_expiry and expiry.weekday() in days]

    def chain(self, expiry: date, underlying: str = "IWM") -> ChainModel | None:
        """The chain of an expiry; None if that is no session, or there are no options of it."""
        session = self.calendar.on(expiry)
        if session is None or underlying not in OPTIONED:
            return None
        with self._making:
            if (underlying, expiry) not in self._chains:
                today = self.calendar.on(min(new_york(self.clock.now()).date(), expiry)) or self.session
                opened = self.symbol_day(underlying, today.date)
                assert opened is not None
                reference = float(opened.final.open[opened.final.start >= today.open_at][0])
                self._chains[underlying, expiry] = ChainModel(
                    self.seed,
                    session,
                    reference,
                    underlying=underlying,
                    number=OPTIONED.index(underlying),
                    half_strikes=self.half_strikes,
                )
            return self._chains[underlying, expiry]

    def rows(
        self, expiry: date, rights: tuple[int, ...] = (CALL, PUT), only: str | None = None, underlying: str = "IWM"
    ) -> list[dict[str, Any]]:
        """Snapshot rows of an expiry now."""
        chain = self.chain(expiry, underlying)
        if chain is None:
            return []
        now = self.clock.now()
        return chain.rows(
            now - self.lag_s,
            self.spot(now - self.lag_s, underlying),
            rights,
            only=only,
            timeframe="DELAYED" if self.lag_s else "REAL-TIME",
            forced=self._forced,
        )

    def quote(self, ticker: str) -> OptionQuote | None:
        """The quote of one listed contract now."""
        expiry, underlying = expiry_of(ticker), underlying_of(ticker)
        if expiry is None or expiry not in self.expirations(underlying):
            return None
        rows = self.rows(expiry, (CALL, PUT), only=ticker, underlying=underlying)
        if not rows:
            return None
        said = rows[0]["last_quote"]
        return OptionQuote(said["bid"], said["ask"], said["bid_size"], said["ask_size"], said["last_updated"] / 1e9)

    # --- options as they were ------------------------------------------------------------------------------------------

    def _last_day(self, ticker: str) -> tuple[ChainModel, int, int] | None:
        """The chain of a contract, whether it is a call or a put, and its strike in mills; None if there is no such contract."""
        expiry = expiry_of(ticker)
        chain = self.chain(expiry, underlying_of(ticker)) if expiry and expiry <= new_york(self.clock.now()).date() else None
        for right in (CALL, PUT):
            if chain is not None and ticker in chain.tickers[right]:
                return chain, right, int(chain.strikes[chain.tickers[right].index(ticker)])
        return None

    def past_quotes(self, ticker: str) -> PastQuotes | None:
        """Every quote of a contract's last day by now, none before the open; None if there is no such contract."""
        found = self._last_day(ticker)
        if found is None:
            return None
        chain, right, strike = found
        session = chain.session
        times = np.arange(session.open_at, max(min(session.close_at, int(self.clock.now() - self.lag_s)), session.open_at))
        quotes = chain.quotes(times, self._spots(chain, times), np.full(len(times), strike), right == PUT)
        sides = (quotes.bid, quotes.ask, quotes.bid_size, quotes.ask_size)
        changed = np.any([np.diff(side, prepend=-1) != 0 for side in sides], axis=0)
        return PastQuotes(times[changed] * 1_000_000_000, *(side[changed] for side in sides))

    def _spots(self, chain: ChainModel, times: NDArray[np.int64]) -> NDArray[np.float64]:
        symbol = chain.underlying
        opened = self.symbol_day(symbol, chain.session.date)
        assert opened is not None
        return MarketDay(chain.session, {symbol: opened}).spot(symbol, times.astype(np.float64))

    def _option_seconds(self, ticker: str, day: date) -> Columns | None:
        """Seconds in which the contract traded, at the ask."""
        found = self._last_day(ticker)
        if found is None or found[0].session.date != day:
            return None
        chain, right, strike = found
        session, put = chain.session, np.array(right == PUT)
        times = np.arange(session.open_at, max(min(session.close_at, int(self.clock.now() - self.lag_s)), session.open_at))
        strikes = np.full(len(times), strike)
        traded = np.diff(chain.day_volume(strikes, times + 1.0, put), prepend=0)
        price = chain.quotes(times, self._spots(chain, times), strikes, put).ask / 1000
        bars = Columns(times, price, price, price, price, traded.astype(np.float64), price, np.minimum(traded, 3))
        return bars.take(traded > 0)

    def force_quote(
        self, ticker: str, bid: float, ask: float, bid_size: int = 50, ask_size: int = 50, age_s: float = 0.0
    ) -> None:
        """From now on this contract is quoted so, on REST and stream alike; `age_s` is how old the quote always is."""
        self._forced[ticker] = {"bid": bid, "ask": ask, "bid_size": bid_size, "ask_size": ask_size, "age_s": age_s}

    def free_quote(self, ticker: str) -> None:
        """Give a contract back to the model."""
        self._forced.pop(ticker, None)


def underlying_of(ticker: str) -> str:
    """`IWM` of an OCC ticker, of an adjusted contract's too."""
    return ticker[2:-15].rstrip("0123456789")


def expiry_of(ticker: str) -> date | None:
    """The expiry in an OCC ticker, `O:IWM261123C00240000`; None if it is none."""
    try:
        digits = ticker[-15:-9]
        return date(2000 + int(digits[:2]), int(digits[2:4]), int(digits[4:]))
    except ValueError:
        return None


def midnight(day: date) -> float:
    """The Unix time at which a New York date begins."""
    return NEW_YORK.localize(datetime(day.year, day.month, day.day)).timestamp()  # noqa: DTZ001 - localized here
