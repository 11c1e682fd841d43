"""Second bars in columns, as the store keeps them (Parquet), and which of a session's bars are true.

`timestamp_ns_utc` is the start of the bar. Bars of many days may be together; `sessions_of` parts them. What people bring as files is
read by `replay.files`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from events import Bar
from market.seconds import APART
from replay.show import ReplayError
from signals import Leader
from utils import Session, SessionCalendar, new_york

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NAMES = ("open", "high", "low", "close", "volume", "vwap")
NS = 1_000_000_000
VWAP_OUTSIDE = 0.01


@dataclass(frozen=True, slots=True)
class BarArrays:
    """Bars of one symbol in order of `start` (Unix seconds); prices in dollars, volume in shares."""

    start: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    vwap: Floats

    def __len__(self) -> int:
        return len(self.start)

    def take(self, which: slice | NDArray[np.bool_]) -> BarArrays:
        return BarArrays(self.start[which], *(getattr(self, name)[which] for name in NAMES))

    def between(self, first: int, last: int) -> BarArrays:
        """The bars that start in [first, last)."""
        a, b = np.searchsorted(self.start, (first, last))
        return self.take(slice(int(a), int(b)))

    def bars(self, symbol: str) -> Iterator[Bar]:
        columns = (self.start, *(getattr(self, name) for name in NAMES))
        return (Bar(symbol, *row) for row in zip(*(column.tolist() for column in columns), strict=True))

    @classmethod
    def none(cls) -> BarArrays:
        empty = np.empty(0)
        return cls(np.empty(0, np.int64), empty, empty, empty, empty, empty, empty)


def kept(path: Path) -> BarArrays:
    """The bars of a file of the store, as `write` wrote it. ReplayError where it is damaged."""
    import polars

    try:
        table = polars.read_parquet(path, parallel="none")  # the sessions are side by side already
        # all columns at once: a page of memory that is new costs more than what is written to it; whole seconds are exact so
        every = table.select("timestamp_ns_utc", *NAMES).cast(polars.Float64).to_numpy(writable=True)
        bars = BarArrays((every[:, 0] / NS).astype(np.int64), *(every[:, place] for place in range(1, len(NAMES) + 1)))
    except FileNotFoundError:
        raise ReplayError(f"{path} is not there") from None
    except (OSError, polars.exceptions.PolarsError, polars.exceptions.PanicException, TypeError) as fault:
        raise ReplayError(f"{path} is damaged: {(str(fault).splitlines() or [''])[0]}") from None
    if not is_sound(bars):
        raise ReplayError(f"{path} is damaged: it holds what the feed would not send")
    return bars


def is_sound(bars: BarArrays) -> bool:
    """Whether the bars are in order, and none is what the feed's own rules would drop."""
    low, high = bars.low, bars.high
    sound = (bars.volume >= 0) & (bars.volume < np.inf) & (low > 0) & (high < np.inf)
    for price in (bars.open, bars.close):
        sound &= (low <= price) & (price <= high)
    sound &= (bars.vwap >= low * (1 - VWAP_OUTSIDE)) & (bars.vwap <= high * (1 + VWAP_OUTSIDE))
    return bool(sound.all() and (bars.start[1:] > bars.start[:-1]).all())


def calendar_of(first: date, last: date) -> SessionCalendar:
    return SessionCalendar(first, last)


def days_of(starts: Ints) -> tuple[date, date]:
    """The New York dates of the first and the last bar."""
    return new_york(float(starts[0])).date(), new_york(float(starts[-1])).date()


def sessions_of(bars: BarArrays, calendar: SessionCalendar) -> list[Session]:
    """The sessions in whose regular hours the bars have at least one second."""
    noons = np.unique(bars.start // 86_400)
    found = {
        session.date: session for noon in noons.tolist() if (session := calendar.at(noon * 86_400 + 57_600)) is not None
    }
    return [session for session in found.values() if len(bars.between(session.open_at, session.close_at))]


def true_bars(bars: BarArrays, session: Session) -> BarArrays:
    """The bars of a session that the windows take for true, once all are known: bad prints are left out.

    Two neighbours more than 2 % apart are rare, and where there are none every bar is true; else the windows' own rule is asked.
    """
    inside = bars.between(session.open_at, session.close_at)
    if (np.abs(np.diff(inside.close)) <= inside.close[:-1] * APART).all():
        return inside
    windows = Leader(session)
    for bar in inside.bars(""):
        windows.add(bar)
    closes = np.array(windows.closes())
    places = inside.start - session.open_at
    taken = places < len(closes)
    taken[taken] = closes[places[taken]] > 0
    return inside.take(taken)


def opening_price(bars: BarArrays) -> float:
    """Where the underlying opened by its true bars: the first that the next agrees with, so that one bad print moves no chain."""
    close = bars.close
    agree = np.flatnonzero(np.abs(np.diff(close)) <= close[:-1] * APART)
    first = int(agree[0]) if len(agree) else 0
    opened = float(bars.open[first])
    return opened if abs(opened - close[first]) <= close[first] * APART else float(close[first])


def write(path: Path, bars: BarArrays) -> None:
    """The bars as Parquet, whole or not at all: LZ4, for it is read in half the time of the usual compression."""
    import polars

    columns = {"timestamp_ns_utc": bars.start * NS, **{name: getattr(bars, name) for name in NAMES}}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    polars.DataFrame(columns).write_parquet(fresh, compression="lz4")
    fresh.replace(path)
