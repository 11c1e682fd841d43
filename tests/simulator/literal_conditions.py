"""Conditions 1-7 of the strategy written down as slowly and literally as they read, for one second of a session."""

from itertools import pairwise

import numpy as np

from simulator.market import Columns


def vwap(bars: Columns, t: int, w: int) -> float:
    inside = (bars.start > t - w) & (bars.start <= t)
    return float((bars.volume[inside] * bars.vwap[inside]).sum() / bars.volume[inside].sum())


def slope(bars: Columns, t: int) -> float | None:
    inside = (bars.start > t - 30) & (bars.start <= t)
    if inside.sum() < 10:
        return None
    x, y = bars.start[inside] - t, bars.close[inside]
    return float(np.polyfit(x, y, 1)[0] / bars.close[inside][-1] * 100)


def rate_of_change(bars: Columns, t: int) -> float | None:
    def close_by(bound: int) -> float | None:
        known = bars.start <= bound
        if not known.any() or bars.start[known][-1] < bound - 10:
            return None
        return float(bars.close[known][-1])

    now, then = close_by(t), close_by(t - 300)
    return None if now is None or then is None else (now / then - 1) * 100


def volume_of_minute_of_day(profile: np.ndarray, since_open: int) -> float:
    """Average volume of (since_open - 60, since_open] where minutes weigh by their overlap; bars are [s, s + 1)."""
    total = 0.0
    for minute, volume in enumerate(profile):
        overlap = min(since_open + 1, 60 * minute + 60) - max(since_open - 59, 60 * minute)
        total += volume * max(overlap, 0) / 60
    return total


def conditions(iwm: Columns, spy: Columns, t: int, open_at: int, profile: np.ndarray) -> list[bool]:
    """Whether each of the conditions 1-7 holds at the second `t`, from bars of regular hours up to it."""
    iwm = iwm.take((iwm.start <= t) & (iwm.start >= open_at))
    spy = spy.take((spy.start <= t) & (spy.start >= open_at))
    if not (iwm.start == t).any():
        return [False] * 7
    close, volume = float(iwm.close[-1]), float(iwm.volume[-1])
    run = [(int(s), vwap(iwm, int(s), 60)) for s in iwm.start[iwm.start > t - 400]]
    fell = [(s, value) for (_, earlier), (s, value) in pairwise(run) if value < earlier - 1e-7]
    fell_at, fell_to = fell[-1] if fell else run[0]
    sample = iwm.volume[(iwm.start < t) & (iwm.start >= t - 1200)]
    seconds = min(1200, t - open_at)
    sample = np.concatenate((sample, np.zeros(seconds - len(sample))))
    trend = slope(iwm, t)
    last_minute = float(iwm.volume[iwm.start > t - 60].sum())
    usual = volume_of_minute_of_day(profile, t - open_at)
    own, leader = rate_of_change(iwm, t), rate_of_change(spy, t - 1)
    return [
        close > vwap(iwm, t, 60) + 1e-7,
        close > vwap(iwm, t, 300) + 1e-7,
        t - fell_at >= 30 and vwap(iwm, t, 60) > fell_to + 1e-7,
        seconds >= 300 and volume > np.percentile(sample, 95) + 1e-7,
        trend is not None and trend > 1e-7,
        last_minute / usual >= 1.5 - 1e-7,
        own is not None and leader is not None and own >= leader - 0.20 - 1e-7,
    ]
