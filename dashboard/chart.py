"""The session so far as columns for the charts. Works on copies; numpy and pandas let go of the interpreter while they count."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.view import View
from signals import SAMPLE_MIN_S, SAMPLE_S

Floats = NDArray[np.float64]
COLUMNS = ("t", "close", "vwap_60", "vwap_300", "volume", "volume_p95", "leader")


def since(found: dict[str, list[float | None]], start: float) -> dict[str, list[float | None]]:
    """The same columns from the second `start` on."""
    first = bisect_left(found["t"], start)  # type: ignore[type-var]
    return {name: column[first:] for name, column in found.items()}


def columns(view: View) -> dict[str, list[float | None]]:
    """COLUMNS over the seconds that have a bar, oldest first; None where a number cannot be known."""
    windows = view.windows
    if windows is None:
        return {name: [] for name in COLUMNS}
    closes, (volumes, pv), leader = windows.closes(), windows.volumes(), windows.leader.closes()
    end = min(len(closes), len(volumes))
    close, volume, traded = np.array(closes[:end]), np.array(volumes[:end]), np.array(pv[:end])
    other = np.zeros(end)
    other[: min(end, len(leader))] = leader[:end]
    known = close > 0
    covered = windows.covered_from
    start = windows.session.open_at
    values: dict[str, Any] = {
        "t": np.arange(start, start + end),
        "close": close,
        "vwap_60": vwap(traded, volume, 60),
        "vwap_300": vwap(traded, volume, 300),
        "volume": volume,
        "volume_p95": volume_p95(volume, end if covered is None else covered - start),
        "leader": np.where(other > 0, other, np.nan),
    }
    return {name: plain(column[known]) for name, column in values.items()}


def vwap(traded: Floats, volume: Floats, seconds: int) -> Floats:
    """Volume-weighted average price over the last so many seconds."""
    above, below = rolling(traded, seconds), rolling(volume, seconds)
    averages: Floats = np.divide(above, below, out=np.full(len(volume), np.nan), where=below > 0.5)
    return averages


def rolling(values: Floats, seconds: int) -> Floats:
    total = np.cumsum(np.concatenate((np.zeros(1), values)))
    index = np.arange(1, len(values) + 1)
    summed: Floats = total[index] - total[np.maximum(index - seconds, 0)]
    return summed


def volume_p95(volume: Floats, covered: int) -> Floats:
    """The 95th percentile of up to 1,200 covered seconds before each, of which there must be 300."""
    found = np.full(len(volume), np.nan)
    if covered < len(volume):
        sample = pd.Series(volume[covered:]).rolling(SAMPLE_S, min_periods=SAMPLE_MIN_S).quantile(0.95).shift(1)
        found[covered:] = sample.to_numpy()
    return found


def plain(column: NDArray[Any]) -> list[float | None]:
    if column.dtype.kind == "i":
        return column.tolist()  # type: ignore[no-any-return]
    rounded = np.round(column, 4)
    return [None if number != number else number for number in rounded.tolist()]
