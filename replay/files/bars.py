"""Second bars from people's files, and an account of every row: used, outside regular hours, repeated, quiet, refused, another's.

Columns go by the product's names or by the feed's: REST (`t`, `o`, `h`, `l`, `c`, `v`, `vw`) and flat files (`window_start`,
`ticker`). A stamp is the start of the bar. Of a second that is there twice, the last counts; a row of volume 0 is a quiet second and
no bar. A malformed row is passed over and told; where they are more than one in a hundred, the file is damaged and refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from replay.bars import NAMES, NS, VWAP_OUTSIDE, BarArrays, Floats, Ints, calendar_of, days_of, sessions_of
from replay.files.stamps import stamps
from replay.files.table import Table, numbers, tables
from replay.show import ReplayError
from utils import new_york

if TYPE_CHECKING:
    import polars

STAMPS = ("timestamp_ns_utc", "window_start", "timestamp", "t", "time", "datetime", "ts", "start", "date")
SYMBOLS = ("ticker", "symbol", "sym")
PRICES = {
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "v"),
    "vwap": ("vwap", "vw"),
}
DAMAGED = 0.01
DEAREST = 10_000  # dollars: no share that has options of one day costs as much
COARSE_S = 5
DAY_S = 86_400
NEW_YORK_OPEN_S = 34_200  # 09:30, were it UTC
Mask = NDArray[np.bool_]


class Account(Struct, frozen=True):
    """What became of every row of a file; their sum is `rows`. Times are New York's. `notes` are what else should be known."""

    file: str
    rows: int
    used: int
    outside_hours: int = 0
    first_outside: str | None = None
    last_outside: str | None = None
    repeated: int = 0
    quiet: int = 0
    refused: int = 0
    first_refused: str | None = None
    other_symbols: dict[str, int] = {}
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """One sentence for the head of an answer."""
        parts = [f"{self.used:,} used"]
        if self.outside_hours:
            parts.append(
                f"{self.outside_hours:,} outside regular hours (New York {self.first_outside} to {self.last_outside})"
            )
        if self.repeated:
            parts.append(f"{self.repeated:,} of a second that is there again (the last counts)")
        if self.quiet:
            parts.append(f"{self.quiet:,} of volume 0 (quiet seconds)")
        if self.refused:
            parts.append(f"{self.refused:,} refused ({self.first_refused})")
        parts += [f"{count:,} of {symbol}" for symbol, count in self.other_symbols.items()]
        return f"rows of {self.file}: {self.rows:,}: " + "; ".join([", ".join(parts), *self.notes])


class Filed(NamedTuple):
    """The bars of a file or folder, in order and each second once, and its account."""

    bars: BarArrays
    account: Account


class Raw(NamedTuple):
    """The rows as they stand: nanoseconds (0 where unknown), the six columns (NaN where unknown), and whose they are."""

    at: Ints
    columns: dict[str, Floats]
    symbol: NDArray[np.str_] | None
    names: list[str]
    ends: list[int]
    notes: list[str]

    def where(self, row: int) -> str:
        """`file, row 17`: rows are counted from 1, the line of column names apart."""
        part = int(np.searchsorted(self.ends, row, side="right"))
        return f"{self.names[part]}, row {row - ([0, *self.ends][part]) + 1}"


def read(path: Path, symbol: str, *, seconds: bool = True) -> Filed:
    """The bars of `symbol` in a file, a zip or a folder. ReplayError says what is wrong with it.

    A file of one symbol is taken for the one that was asked for. With `seconds` False, bars may be longer, as minutes are.
    """
    with _lock:
        try:
            known = path.stat()
        except OSError:
            return _read(path, symbol, seconds, 0, 0)
        return _read(path, symbol, seconds, known.st_mtime_ns, known.st_size)


class Held(NamedTuple):
    """Which files hold bars of which session, and what became of their rows."""

    files_of: dict[date, tuple[Path, ...]]
    accounts: tuple[Account, ...]


def held(paths: Sequence[Path], symbol: str) -> Held:
    """The sessions of several files. ReplayError where one of them cannot be used."""
    changed = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)
    return _held(tuple(paths), symbol, changed)


@lru_cache(maxsize=4)
def _held(paths: tuple[Path, ...], symbol: str, _changed: tuple[int, ...]) -> Held:
    files_of: dict[date, tuple[Path, ...]] = {}
    accounts = []
    for path in paths:
        bars, account = read(path, symbol)
        accounts.append(account)
        for session in sessions_of(bars, calendar_of(*days_of(bars.start))):
            files_of[session.date] = (*files_of.get(session.date, ()), path)
    return Held(files_of, tuple(accounts))


def joined(paths: Sequence[Path], symbol: str) -> BarArrays:
    """The bars of several files, in order of time. ReplayError where two of them hold the same seconds."""
    parts = sorted(((read(path, symbol).bars, path) for path in paths), key=lambda part: int(part[0].start[0]))
    for (before, one), (after, other) in pairwise(parts):
        if after.start[0] <= before.start[-1]:
            raise ReplayError(f"{one} and {other} hold the same seconds")
    if len(parts) == 1:
        return parts[0][0]
    return BarArrays(*(np.concatenate([getattr(bars, name) for bars, _ in parts]) for name in ("start", *NAMES)))


_lock = Lock()


@lru_cache(maxsize=4)  # a backtest asks for the same file session after session
def _read(path: Path, symbol: str, seconds: bool, _changed: int, _size: int) -> Filed:
    raw = raw_of(tables(path))
    return sifted(str(path), raw, symbol, seconds)


# --- columns -----------------------------------------------------------------------------------------------------------


def raw_of(found: list[Table]) -> Raw:
    """The tables' rows, one below the other, under the product's names."""
    parts = [columns_of(table) for table in found]
    ends = np.cumsum([len(at) for at, _, _, _ in parts]).tolist()
    symbols = [own for _, _, own, _ in parts]
    named = [np.full(len(at), "") if own is None else own for at, _, own, _ in parts]
    return Raw(
        np.concatenate([at for at, _, _, _ in parts]),
        {name: np.concatenate([columns[name] for _, columns, _, _ in parts]) for name in NAMES},
        None if all(own is None for own in symbols) else np.concatenate(named),
        [table.name for table in found],
        ends,
        list(dict.fromkeys(note for _, _, _, notes in parts for note in notes)),
    )


def columns_of(table: Table) -> tuple[Ints, dict[str, Floats], NDArray[np.str_] | None, list[str]]:
    """A table's stamps, its six columns, its symbols and what must be said of them."""
    name, frame = table
    stamp = next((one for one in STAMPS if one in frame.columns), None)
    given = {one: next((alias for alias in aliases if alias in frame.columns), None) for one, aliases in PRICES.items()}
    lacking = [] if stamp else ["timestamp_ns_utc"]
    lacking += [one for one, column in given.items() if column is None and one != "vwap"]
    if lacking or stamp is None:
        raise ReplayError(f"{name} has no column {', '.join(lacking)}")
    notes = []
    times = stamps(name, frame[stamp])
    if stamp == "timestamp_ns_utc" and times.unit != "nanoseconds":
        notes.append(f"its stamps are {times.unit}")
    columns = {one: as_array(frame[column]) for one, column in given.items() if column is not None}
    if given["vwap"] is None:
        columns["vwap"] = (columns["high"] + columns["low"] + columns["close"]) / 3
        notes.append("it has no vwap: (high + low + close) / 3 is taken")
    whose = next((one for one in SYMBOLS if one in frame.columns), None)
    symbol = None if whose is None else symbols_of(frame[whose])
    return times.at.fill_null(0).to_numpy(writable=True), columns, symbol, notes


def as_array(column: polars.Series) -> Floats:
    found: Floats = numbers(column).to_numpy(writable=True)  # a null is NaN
    return found


def symbols_of(column: polars.Series) -> NDArray[np.str_]:
    import polars

    return column.cast(polars.String).fill_null("").str.to_uppercase().to_numpy().astype(np.str_)


# --- rows --------------------------------------------------------------------------------------------------------------


def sifted(file: str, raw: Raw, symbol: str, seconds: bool) -> Filed:
    """What of the rows counts. The account is of all rows, whatever became of them."""
    notes = list(raw.notes)
    mine, others = whose_of(file, raw, symbol, notes)
    refuse_units(file, raw, mine)
    quiet_row = raw.columns["volume"] == 0
    fine, first = well_formed(raw, mine, quiet_row)
    refused = int((mine & ~fine).sum())
    rows = np.flatnonzero(mine & fine)
    rows = rows[np.argsort(raw.at[rows], kind="stable")]
    last = last_of_each(raw, rows)
    repeated = len(rows) - int(last.sum())
    kept = rows[last]
    starts = raw.at[kept] // NS
    if not len(kept):
        raise ReplayError(f"{file} has no bar")
    inside = in_hours(starts)
    traded = ~quiet_row[kept]
    outside = starts[~inside & traded]
    if began_in_new_york(starts):
        notes.append("it begins at 09:30 UTC sharp: is that New York time, written as UTC?")
    told = Account(
        file,
        len(raw.at),
        used=int((inside & traded).sum()),
        outside_hours=len(outside),
        first_outside=text_of(outside, 0),
        last_outside=text_of(outside, -1),
        repeated=repeated,
        quiet=int((~traded).sum()),
        refused=refused,
        first_refused=first,
        other_symbols=others,
        notes=tuple(notes),
    )
    if seconds and (spacing := spacing_of(starts)) >= COARSE_S:
        raise ReplayError(f"{file} holds no bars of a second: they lie {spacing:,} s apart ({told.words})")
    bars = kept[traded]
    if not len(bars):
        raise ReplayError(f"{file} has no bar: nothing was traded ({told.words})")
    return Filed(BarArrays(raw.at[bars] // NS, *(raw.columns[name][bars] for name in NAMES)), told)


def whose_of(file: str, raw: Raw, symbol: str, notes: list[str]) -> tuple[Mask, dict[str, int]]:
    """The rows of the symbol, and how many there are of each other."""
    if raw.symbol is None:
        return np.ones(len(raw.at), np.bool_), {}
    names, counts = np.unique(raw.symbol, return_counts=True)
    found = dict(zip(names.tolist(), counts.tolist(), strict=True))
    if len(found) == 1:
        (only,) = found
        if only not in (symbol, ""):
            notes.append(f"its rows are of {only}, taken for {symbol}")
        return np.ones(len(raw.at), np.bool_), {}
    if symbol not in found:
        raise ReplayError(f"{file} holds several symbols and not {symbol}: {', '.join(name or '(none)' for name in found)}")
    return raw.symbol == symbol, {name or "no symbol": count for name, count in found.items() if name != symbol}


def refuse_units(file: str, raw: Raw, mine: Mask) -> None:
    """ReplayError where prices are no dollars."""
    prices = raw.columns["close"][mine]
    prices = prices[np.isfinite(prices)]
    if len(prices) and (middle := float(np.median(prices))) >= DEAREST:
        raise ReplayError(
            f"{file}: prices around {middle:,.0f} are no dollars; where they are ten-thousandths, divide by 10,000"
        )


def well_formed(raw: Raw, mine: Mask, quiet: Mask) -> tuple[Mask, str | None]:
    """The rows that the feed's own rules would not drop, and the first that they would, with its reason.

    ReplayError where more than one row in a hundred is malformed.
    """
    of = raw.columns
    low, high, volume = of["low"], of["high"], of["volume"]
    with np.errstate(invalid="ignore"):
        rules = {
            "no time": raw.at > 0,
            "not the start of a second": raw.at % NS == 0,
            "no volume": (volume >= 0) & (volume < np.inf),
            **{f"no {name}": quiet | np.isfinite(of[name]) for name in ("open", "high", "low", "close", "vwap")},
            "a price that is not above zero": quiet | (low > 0),
            "low above high": quiet | (low <= high),
            "open outside low and high": quiet | ((low <= of["open"]) & (of["open"] <= high)),
            "close outside low and high": quiet | ((low <= of["close"]) & (of["close"] <= high)),
            "vwap more than 1 % outside low and high": quiet
            | ((of["vwap"] >= low * (1 - VWAP_OUTSIDE)) & (of["vwap"] <= high * (1 + VWAP_OUTSIDE))),
        }
    good = np.logical_and.reduce(list(rules.values()))
    bad = mine & ~good
    count = int(bad.sum())
    if not count:
        return good, None
    row = int(np.argmax(bad))
    reason = next(words for words, holds in rules.items() if not holds[row])
    first = f"{raw.where(row)}: {reason}"
    if count > DAMAGED * int(mine.sum()):
        raise ReplayError(f"{first}; {count:,} of {int(mine.sum()):,} rows are no well-formed bar of one second")
    return good, first


def last_of_each(raw: Raw, rows: Ints) -> Mask:
    """The last row of each second. ReplayError where two files hold the same one."""
    at = raw.at[rows]
    again = at[1:] == at[:-1]
    if len(raw.ends) > 1 and again.any():
        part = np.searchsorted(raw.ends, rows, side="right")
        if (crossed := np.flatnonzero(again & (part[1:] != part[:-1]))).size:
            one, other = (raw.names[int(part[crossed[0] + k])] for k in (0, 1))
            raise ReplayError(f"{one} and {other} hold the same seconds")
    return np.append(~again, len(rows) > 0)[: len(rows)]


def in_hours(starts: Ints) -> Mask:
    """Which of these times, in order, lie in regular hours."""
    calendar = calendar_of(*days_of(starts))
    sessions = [session for day in np.unique(starts // DAY_S).tolist() if (session := calendar.at(day * DAY_S + 57_600))]
    opens = np.array([session.open_at for session in sessions], np.int64)
    closes = np.array([session.close_at for session in sessions], np.int64)
    place = np.searchsorted(opens, starts, side="right") - 1
    inside: Mask = place >= 0
    inside[inside] = starts[inside] < closes[place[inside]]
    return inside


def text_of(starts: Ints, place: int) -> str | None:
    """New York date and time of one of these, where there are any."""
    return f"{new_york(float(starts[place])):%Y-%m-%d %H:%M:%S}" if len(starts) else None


def began_in_new_york(starts: Ints) -> bool:
    """Whether most days begin at 09:30 UTC to the second."""
    firsts = starts[np.flatnonzero(np.diff(starts // DAY_S, prepend=-1))]
    return bool((firsts % DAY_S == NEW_YORK_OPEN_S).mean() > 0.5)


def spacing_of(starts: Ints) -> int:
    """The usual distance of bars that all lie on multiples of the same number of seconds; 1 where they do not."""
    gaps = np.diff(starts)
    gaps = gaps[gaps < DAY_S // 2]
    if len(gaps) < 2 or int(np.gcd.reduce(gaps)) < COARSE_S:
        return 1
    values, counts = np.unique(gaps, return_counts=True)
    return int(values[np.argmax(counts)])
