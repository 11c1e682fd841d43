"""A column of times -> nanoseconds since 1970 in UTC: Unix time in ns, µs, ms or s, or text with its zone.

The unit is told by the size of the numbers, not by the column's name. A time without a zone is refused: it may be any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from replay.bars import NS
from replay.show import ReplayError

if TYPE_CHECKING:
    import polars


EARLIEST_S, LATEST_S = 631_152_000, 4_102_444_800  # the years 1990 to 2099
UNITS = {"seconds": NS, "milliseconds": 1_000_000, "microseconds": 1_000, "nanoseconds": 1}
ZONE = r"(?:Z|z| ?UTC|[+-]\d\d:?\d\d)$"
FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M%z")


class Stamps(NamedTuple):
    """Nanoseconds, null where a row's time cannot be read; and the unit in which they were written."""

    at: polars.Series
    unit: str


def stamps(where: str, column: polars.Series) -> Stamps:
    """The times of a column. ReplayError, with file and column, where it is none."""
    import polars

    name = f"{where}, column {column.name}"
    if isinstance(column.dtype, polars.Datetime):
        if column.dtype.time_zone is None:
            raise ReplayError(
                f"{name}: times without a zone ({column.drop_nulls().to_list()[:1]}): write them in UTC, or as Unix time"
            )
        return Stamps(column.dt.epoch("ns"), "times with a zone")
    if column.dtype == polars.String:
        return of_text(name, column)
    if not column.dtype.is_numeric():
        raise ReplayError(f"{name}: no times ({column.dtype})")
    return of_numbers(name, column)


def of_text(name: str, column: polars.Series) -> Stamps:
    import polars

    given = column.drop_nulls()
    given = given.filter(given != "")
    if not len(given):
        raise ReplayError(f"{name}: empty")
    if rounded := given.filter(given.str.contains(r"^\d[.,]?\d*[eE]\+?\d+$")).to_list():
        raise ReplayError(f"{name}: {rounded[0]} was rounded by a spreadsheet; export the times as text, or the file anew")
    if given.str.contains(r"^\d+(\.\d+)?$").mean() >= 0.5:  # type: ignore[operator]
        whole = column.str.replace(r"\.0*$", "")
        exact = whole.cast(polars.Int64, strict=False)
        return of_numbers(
            name, exact if exact.null_count() == column.null_count() else column.cast(polars.Float64, strict=False)
        )
    if not given.str.contains(r"^\d{4}-\d\d-\d\d").any():
        raise ReplayError(f"{name}: {given.to_list()[0]!r} is no time: Unix time, or 2026-11-20T14:30:00Z")
    if given.str.contains(ZONE).mean() < 0.5:  # type: ignore[operator]
        raise ReplayError(
            f"{name}: times without a zone ({given.to_list()[0]}): write them in UTC with a Z or an offset, or as Unix time"
        )
    plain = column.str.replace(r"^(\d{4}-\d\d-\d\d) ", "${1}T").str.replace(r"(?:Z|z| ?UTC)$", "+0000")
    found = polars.Series(column.name, [None] * len(column), dtype=polars.Datetime("ns", "UTC"))
    for form in FORMATS:
        found = found.zip_with(found.is_not_null(), plain.str.to_datetime(form, time_unit="ns", strict=False))
    return Stamps(found.dt.epoch("ns"), "times with a zone")


def of_numbers(name: str, column: polars.Series) -> Stamps:
    import polars

    known = column.cast(polars.Float64).fill_nan(None).drop_nulls().to_numpy()
    middle = float(np.median(known)) if len(known) else 0.0
    unit = next((unit for unit, ns in UNITS.items() if EARLIEST_S <= middle * ns / NS < LATEST_S), None)
    if unit is None:
        raise ReplayError(f"{name}: {middle:.16g} is no Unix time in ns, µs, ms or s")
    ns = UNITS[unit]
    sound = (column >= EARLIEST_S * (NS // ns)) & (column < LATEST_S * (NS // ns))
    kept = column.to_frame().select(polars.when(sound).then(polars.col(column.name)))[column.name]
    if kept.dtype.is_float():
        kept = (kept * ns).round()
        return Stamps(kept.cast(polars.Int64, strict=False), unit)
    return Stamps(kept.cast(polars.Int64) * ns, unit)
