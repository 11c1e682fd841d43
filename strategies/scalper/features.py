"""What a model is asked with, at one signal: thirteen numbers, and three more of walls and flow. Pure; None is unknown.

Signed ones count in the signal's direction, so that long and short speak of the same thing.
"""

from __future__ import annotations

from itertools import pairwise
from math import log, sqrt
from statistics import pstdev
from typing import TYPE_CHECKING

from contract_selector import spread_part, two_sided
from events import ChainRow
from market.greeks import YEAR_S
from market.walls import Flow, Walls
from strategies.scalper.conditions import Direction, Reading, came_through, rsi_beyond
from strategies.scalper.windows import Window

if TYPE_CHECKING:
    from strategies.scalper.settings import Settings

RSI_AGE_NONE = 30
SIGMA_RETURNS = 15
BASIS_POINTS = 10_000


def features(
    settings: Settings, own: Window, reading: Reading, direction: Direction, row: ChainRow | None, close_at: float,
    walls: Walls | None = None, flow: Flow | None = None,
) -> dict[str, float | None]:  # fmt: skip
    """Of a reading and the contract that would be bought, by name."""
    sign = 1 if direction == "long" else -1
    place = own.minutes.place_of(reading.start)
    index = own.index_of(place)
    ratio = reading.volume_ratio
    return {
        "minutes_open": place + 1.0,
        "direction": float(sign),
        "rs": _signed(reading.relative_strength, sign),
        "ln_volume_ratio": log(ratio) if ratio else None,
        "rsi": reading.rsi if sign > 0 or reading.rsi is None else 100 - reading.rsi,
        "rsi_age": None if index is None else _rsi_age(settings, own, index, sign),
        "ema_gap": _gap(reading.ema_fast, reading.ema_slow, sign),
        "vwap_gap": _gap(reading.price, reading.vwap, sign),
        "sigma": None if index is None else _sigma(own, index),
        "spy_roc": _signed(reading.benchmark_roc, sign),
        "delta": None if row is None or row.delta is None else abs(row.delta),
        "spread": _spread(row),
        "iv": None if row is None else row.iv,
        "wall": _wall(walls, row, direction, max(close_at - reading.at, 0.0)),
        "gamma_side": _side(walls, sign),
        "flow": sign * flow.balance if flow is not None and flow.ok else None,
    }


def _signed(value: float | None, sign: int) -> float | None:
    return None if value is None else sign * value


def _gap(value: float | None, of: float | None, sign: int) -> float | None:
    """How far above, in basis points and in the direction."""
    return None if value is None or not of else sign * BASIS_POINTS * (value / of - 1)


def _rsi_age(settings: Settings, own: Window, index: int, sign: int) -> float:
    """Bars since the RSI came through its level."""
    level = float(settings.rsi_low if sign > 0 else settings.rsi_high)
    ago = came_through(rsi_beyond(own, sign, level), index, RSI_AGE_NONE, own.first_today)
    return float(RSI_AGE_NONE if ago is None else ago)


def _sigma(own: Window, index: int) -> float | None:
    """Standard deviation of the last fifteen one-minute returns of today, basis points."""
    if index - SIGMA_RETURNS < own.first_today:
        return None
    closes = own.trend.closes[index - SIGMA_RETURNS : index + 1]
    returns = [after / before - 1 for before, after in pairwise(closes)]
    return BASIS_POINTS * pstdev(returns)


def _spread(row: ChainRow | None) -> float | None:
    """Of mid."""
    if row is None or row.quote is None or not two_sided(row):
        return None
    part, of = spread_part(row.quote)
    return part / of


def _wall(walls: Walls | None, row: ChainRow | None, direction: Direction, left_s: float) -> float | None:
    """How far the wall ahead is, in what the price moves until the close: σ√T."""
    if walls is None or not walls.ok or walls.spot is None or row is None or not row.iv or not left_s:
        return None
    wall = walls.call_wall if direction == "long" else walls.put_wall
    if wall is None:
        return None
    return abs(wall / 1000 - walls.spot) / (walls.spot * row.iv * sqrt(left_s / YEAR_S))


def _side(walls: Walls | None, sign: int) -> float | None:
    """Whether the price is above the zero of gamma, in the direction."""
    if walls is None or not walls.ok or walls.spot is None or walls.zero_gamma is None:
        return None
    return float(sign if walls.spot >= walls.zero_gamma else -sign)
