"""Recorded option quotes from people's files, checked row by row: what cannot be understood is refused with file, row and column.

Columns: `timestamp_ns_utc` (start of the minute), `occ`, `expiration`, `right`, `strike`, `bid_close`, `bid_size`, `ask_close`,
`ask_size`, and where known `trade_volume`, `open_interest`, `day_volume`, `quoted_ns_utc`. Prices are dollars. A name may be padded
as OCC pads it, and may lack its `O:`. A side that is empty or no number is a side without a quote.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from replay.files.stamps import stamps
from replay.files.table import Table, numbers, tables
from replay.show import ReplayError

if TYPE_CHECKING:
    import polars

NEEDED = ("timestamp_ns_utc", "occ", "expiration", "right", "strike", "bid_close", "bid_size", "ask_close", "ask_size")
TIMES = ("timestamp_ns_utc", "quoted_ns_utc")
PRICES = ("bid_close", "ask_close")
COUNTS = ("bid_size", "ask_size", "trade_volume", "day_volume", "open_interest")
OCC = r"^(?:O:)?([A-Z]{1,6})\s*(\d{6})([CP])(\d{8})$"
WHOLE_ENOUGH = 4  # so many prices, none with a cent: they are cents themselves


def quotes(path: Path) -> polars.DataFrame:
    """The rows of a file, a zip or a folder, in the product's types: `occ` with its `O:`, `right` "C" or "P". ReplayError."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        changed = 0
    return _quotes(path, changed)


@lru_cache(maxsize=2)  # a backtest asks for the same file session after session
def _quotes(path: Path, _changed: int) -> polars.DataFrame:
    import polars

    parts = [checked(table) for table in tables(path)]
    if len({tuple(part.columns) for part in parts}) > 1:
        raise ReplayError(f"{path}: its tables have different columns")
    return polars.concat(parts)


def checked(table: Table) -> polars.DataFrame:
    """A table in the product's types."""
    import polars

    name, frame = table
    if missing := [column for column in NEEDED if column not in frame.columns]:
        raise ReplayError(f"{name} has no column {', '.join(missing)}")
    columns = [times(name, frame[column]) for column in TIMES if column in frame.columns]
    columns += contracts(name, frame)
    columns += [amounts(name, frame[column]) for column in (*PRICES, *COUNTS) if column in frame.columns]
    sound = polars.DataFrame(columns)
    refuse_cents(name, sound)
    return sound


def times(name: str, column: polars.Series) -> polars.Series:
    found = stamps(name, column).at
    refuse(name, column, found.is_null(), "no time")
    return found.alias(column.name)


def contracts(name: str, frame: polars.DataFrame) -> list[polars.Series]:
    """Name, expiration, right and strike of each row; they must say the same as the name says."""
    import polars

    occ = frame["occ"].cast(polars.String)
    parts = occ.str.strip_chars().str.to_uppercase().str.extract_groups(OCC).struct.unnest()
    parts.columns = ["root", "day", "right", "mills"]
    refuse(name, occ, parts["mills"].is_null(), "no OCC name, such as O:IWM261120C00260000")
    day = parts["day"].str.to_date("%y%m%d", strict=False)
    refuse(name, occ, day.is_null(), "its day is no date")
    strike = numbers(frame["strike"])
    refuse(name, frame["strike"], strike.is_null() | ~strike.is_finite(), "no strike in dollars")
    apart = (strike * 1000).round() != parts["mills"].cast(polars.Float64)
    refuse(name, frame["strike"], apart, "not the strike of the contract's name, in dollars")
    said = frame["right"].cast(polars.String).fill_null("").str.strip_chars().str.to_uppercase().str.slice(0, 1)
    refuse(name, frame["right"], said != parts["right"], "not the right of the contract's name: C or P")
    given = frame["expiration"].cast(polars.String).str.strip_chars()
    compact = given.str.slice(0, 10).str.replace_all("-", "", literal=True)
    refuse(
        name,
        frame["expiration"],
        (compact != day.dt.strftime("%Y%m%d")).fill_null(True),
        "not the day of the contract's name: 2026-11-20",
    )
    full = "O:" + parts["root"] + parts["day"] + parts["right"] + parts["mills"]
    return [
        full.alias("occ"),
        day.dt.strftime("%Y-%m-%d").alias("expiration"),
        parts["right"],
        strike.alias("strike"),
    ]


def amounts(name: str, column: polars.Series) -> polars.Series:
    """Prices and counts: none below zero; an empty cell or NaN is null."""
    import polars

    found = numbers(column)
    blank = column.is_null()
    if column.dtype == polars.String:
        blank |= column.str.to_lowercase().is_in(["", "nan", "null", "none"])
    elif column.dtype.is_float():
        blank |= column.is_nan()
    refuse(name, column, found.is_null() & ~blank, "no number")
    refuse(name, column, (found.is_infinite() | (found < 0)).fill_null(False), "no price or count")
    return found


def refuse_cents(name: str, frame: polars.DataFrame) -> None:
    """ReplayError where prices can be no dollars: all of them are whole, or a call costs more than the underlying could."""
    import polars

    prices = polars.concat([frame[column] for column in PRICES]).drop_nulls()
    prices = prices.filter(prices > 0)
    if len(prices) >= WHOLE_ENOUGH and (prices == prices.round()).all():
        raise ReplayError(f"{name}, columns {', '.join(PRICES)}: every price is whole; cents? They are wanted in dollars")


def refuse(name: str, column: polars.Series, bad: polars.Series, words: str) -> None:
    """ReplayError that names the first bad row, where there is one."""
    if bad.any():
        row = bad.fill_null(False).arg_max() or 0
        raise ReplayError(f"{name}, row {row + 1}, column {column.name}: {column[row]!r} is {words} ({bad.sum()} such rows)")
