"""Second bars from files: the columns of `timestamp_ns_utc, open, high, low, close, volume, vwap`, as CSV (gzip too) or Parquet.

`timestamp_ns_utc` is the start of the bar. A file may hold many days; `sessions_of` parts it. What is malformed is an error that
names file and line: a replay of damaged data is no measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from events import Bar
from replay.show import ReplayError
from utils import Session, SessionCalendar, new_york

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NAMES = ("open", "high", "low", "close", "volume", "vwap")
NEEDED = ("timestamp_ns_utc", *NAMES)
NS = 1_000_000_000
VWAP_OUTSIDE = 0.01


@dataclass(frozen=True, slots=True)
class Seconds:
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

    def take(self, which: slice | NDArray[np.bool_]) -> Seconds:
        return Seconds(self.start[which], *(getattr(self, name)[which] for name in NAMES))

    def between(self, first: int, last: int) -> Seconds:
        """The bars that start in [first, last)."""
        a, b = np.searchsorted(self.start, (first, last))
        return self.take(slice(int(a), int(b)))

    def bars(self, symbol: str) -> Iterator[Bar]:
        columns = (self.start, *(getattr(self, name) for name in NAMES))
        return (Bar(symbol, *row) for row in zip(*(column.tolist() for column in columns), strict=True))

    @classmethod
    def none(cls) -> Seconds:
        empty = np.empty(0)
        return cls(np.empty(0, np.int64), empty, empty, empty, empty, empty, empty)


def read(path: Path) -> Seconds:
    """The bars of a file, sorted; of a second that is there twice, the last. ReplayError says what is wrong with it."""
    import polars

    try:
        if path.suffix == ".parquet":
            table = polars.read_parquet(path)
        else:
            table = polars.read_csv(path, infer_schema_length=None)
    except FileNotFoundError:
        raise ReplayError(f"{path} is not there") from None
    except (OSError, polars.exceptions.PolarsError) as fault:
        raise ReplayError(f"{path} cannot be read: {str(fault).splitlines()[0]}") from None
    if missing := [name for name in NEEDED if name not in table.columns]:
        raise ReplayError(f"{path} has no column {', '.join(missing)}")
    try:
        starts = table["timestamp_ns_utc"].cast(polars.Int64).to_numpy(writable=True)
        columns = [table[name].cast(polars.Float64).to_numpy(writable=True) for name in NAMES]  # a null is NaN
    except (polars.exceptions.PolarsError, TypeError, ValueError) as fault:
        raise ReplayError(f"{path}: {str(fault).splitlines()[0]}") from None
    if not len(starts):
        raise ReplayError(f"{path} has no rows")
    bars = Seconds(starts // NS, *columns)
    refuse_malformed(path, starts, bars)
    if np.all(bars.start[1:] > bars.start[:-1]):
        return bars
    order = np.argsort(bars.start, kind="stable")
    ordered = Seconds(bars.start[order], *(getattr(bars, name)[order] for name in NAMES))
    return ordered.take(np.append(ordered.start[1:] != ordered.start[:-1], True))


def refuse_malformed(path: Path, starts: Ints, bars: Seconds) -> None:
    """ReplayError for the first row that the feed's own rules would drop."""
    good = (starts % NS == 0) & (bars.volume >= 0) & (bars.volume < np.inf) & (bars.low > 0) & (bars.high < np.inf)
    for price in (bars.open, bars.close):
        good &= (bars.low <= price) & (price <= bars.high)
    good &= (bars.vwap >= bars.low * (1 - VWAP_OUTSIDE)) & (bars.vwap <= bars.high * (1 + VWAP_OUTSIDE))
    if not good.all():
        row = int(np.argmin(good))
        raise ReplayError(f"{path}, row {row + 1}: no well-formed bar of one second ({int((~good).sum())} such rows)")


def calendar_of(first: date, last: date) -> SessionCalendar:
    return SessionCalendar(first, last)


def days_of(bars: Seconds) -> tuple[date, date]:
    """The New York dates of the first and the last bar."""
    return new_york(float(bars.start[0])).date(), new_york(float(bars.start[-1])).date()


def sessions_of(bars: Seconds, calendar: SessionCalendar) -> list[Session]:
    """The sessions in whose regular hours the bars have at least one second."""
    noons = np.unique(bars.start // 86_400)
    found = {
        session.date: session for noon in noons.tolist() if (session := calendar.at(noon * 86_400 + 57_600)) is not None
    }
    return [session for session in found.values() if len(bars.between(session.open_at, session.close_at))]


def load(paths: Sequence[Path]) -> Seconds:
    """The bars of several files, in order of time; ReplayError where two hold the same second."""
    parts = sorted((read(path) for path in paths), key=lambda part: int(part.start[0]))
    if len(parts) == 1:
        return parts[0]
    joined = Seconds(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("start", *NAMES)))
    if not np.all(joined.start[1:] > joined.start[:-1]):
        raise ReplayError("two of the files hold the same seconds")
    return joined


def write(path: Path, bars: Seconds) -> None:
    """The bars as Parquet, whole or not at all: LZ4, for it is read in half the time of the usual compression."""
    import polars

    columns = {"timestamp_ns_utc": bars.start * NS, **{name: getattr(bars, name) for name in NAMES}}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    polars.DataFrame(columns).write_parquet(fresh, compression="lz4")
    fresh.replace(path)
