"""The bare loop: the readings of conditions 1-7 over bars in order, with running sums and bisect and nothing else.

It is the measure of what the care costs (corrections, late bars, gaps, reasons): it takes lists, trusts them, and drifts as
running sums do. `python -m benchmarks.desk_loop` times it beside `signals.Windows` on one seeded session.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right, insort
from datetime import date
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from events import Bar
from signals import Leader, Windows
from utils import Session

EQUAL = 1e-7


def bare_loop(
    start: list[int],
    close: list[float],
    volume: list[float],
    vwap: list[float],
    spy_start: list[int],
    spy_close: list[float],
    profile: list[float],
    open_at: int,
    relative_volume_min: float = 1.5,
    lag_pp: float = 0.20,
) -> list[int]:
    """The starts at which conditions 1-7 hold. Columns of one session's bars in order of `start` (Unix s); `profile` has the
    390 average minute volumes. Every reading is computed at every bar."""
    signals: list[int] = []
    pv = [v * w for v, w in zip(volume, vwap, strict=True)]
    expected = [0.0]
    for minute in profile:
        expected.extend([minute / 60] * 60)
    for second in range(1, len(expected)):
        expected[second] += expected[second - 1]
    pv_60 = v_60 = pv_300 = v_300 = 0.0
    bars = sum_x = sum_xx = 0
    sum_y = sum_xy = 0.0
    tail_30 = tail_60 = tail_300 = tail_1200 = spy_head = spy_tail = own_tail = 0
    base = close[0]
    spy_count = len(spy_start)
    sample: list[float] = []
    vwap_before = run_vwap = 0.0
    run_start = start[0]
    first = start[0]
    for i, t in enumerate(start):
        price, traded, paid = close[i], volume[i], pv[i]
        pv_60 += paid
        v_60 += traded
        pv_300 += paid
        v_300 += traded
        while start[tail_60] <= t - 60:
            pv_60 -= pv[tail_60]
            v_60 -= volume[tail_60]
            tail_60 += 1
        while start[tail_300] <= t - 300:
            pv_300 -= pv[tail_300]
            v_300 -= volume[tail_300]
            tail_300 += 1
        vwap_60, vwap_300 = pv_60 / v_60, pv_300 / v_300
        if i == 0 or vwap_before - vwap_60 >= EQUAL:
            run_start, run_vwap = t, vwap_60
        vwap_before = vwap_60

        x, y = t - open_at, price - base
        bars += 1
        sum_x += x
        sum_xx += x * x
        sum_y += y
        sum_xy += x * y
        while start[tail_30] <= t - 30:
            x, y = start[tail_30] - open_at, close[tail_30] - base
            bars -= 1
            sum_x -= x
            sum_xx -= x * x
            sum_y -= y
            sum_xy -= x * y
            tail_30 += 1
        slope = (bars * sum_xy - sum_x * sum_y) / (bars * sum_xx - sum_x * sum_x) / price * 100 if bars >= 10 else 0.0

        while start[tail_1200] < t - 1200:
            del sample[bisect_left(sample, volume[tail_1200])]
            tail_1200 += 1
        seconds = min(1200, t - first)
        p95 = 0.0
        if seconds >= 300:
            rank, hundredths = divmod((seconds - 1) * 95, 100)
            rank -= seconds - len(sample)
            low = sample[rank] if rank >= 0 else 0.0
            high = sample[rank + 1] if rank >= -1 else 0.0
            p95 = low + (high - low) * hundredths / 100
        surge = seconds >= 300 and traded - p95 >= EQUAL
        insort(sample, traded)

        into = t - open_at
        usual = expected[into + 1] - expected[into - 59 if into > 59 else 0]
        relative = v_60 / usual if usual > 0 else 0.0

        leads = False
        while start[own_tail + 1] <= t - 300:
            own_tail += 1
        while spy_head < spy_count and spy_start[spy_head] <= t - 1:
            spy_head += 1
        while spy_tail < spy_count and spy_start[spy_tail] <= t - 301:
            spy_tail += 1
        if (
            spy_tail
            and t - 310 <= start[own_tail] <= t - 300
            and spy_start[spy_head - 1] >= t - 11
            and spy_start[spy_tail - 1] >= t - 311
        ):
            lead = (price / close[own_tail] - spy_close[spy_head - 1] / spy_close[spy_tail - 1]) * 100
            leads = lead + lag_pp > -EQUAL

        if (
            price - vwap_60 >= EQUAL
            and price - vwap_300 >= EQUAL
            and t - run_start >= 30
            and vwap_60 - run_vwap >= EQUAL
            and surge
            and slope >= EQUAL
            and relative - relative_volume_min > -EQUAL
            and leads
        ):
            signals.append(t)
    return signals


def made_session(seed: int = 1, holes: float = 0.1) -> tuple[Session, list[Bar], list[Bar], tuple[float, ...]]:
    """A full session of IWM and SPY seconds, drifting with one another, a share of the seconds missing, and a profile."""
    rng = random.Random(seed)
    session = Session(date(2026, 11, 20), 1_795_185_000, 1_795_208_400)
    bars: tuple[list[Bar], list[Bar]] = ([], [])
    iwm, spy, drift = 215.0, 600.0, 0.0
    for start in range(session.open_at, session.close_at):
        drift = 0.995 * drift + rng.gauss(0, 2e-6)
        iwm *= 1 + drift + rng.gauss(0, 3e-5)
        spy *= 1 + 0.6 * drift + rng.gauss(0, 2e-5)
        for symbol, price, into in (("IWM", iwm, bars[0]), ("SPY", spy, bars[1])):
            if rng.random() < holes:
                continue
            close = round(price, 2)
            vwap = round(price + rng.gauss(0, 0.01), 4)
            volume = float(int(rng.paretovariate(1.2) * 200))
            low, high = round(min(close, vwap) - 0.01, 2), round(max(close, vwap) + 0.01, 2)
            into.append(Bar(symbol, start, close, high, low, close, volume, vwap))
    per_minute = sum(bar.volume for bar in bars[0]) / 390
    return session, bars[0], bars[1], tuple(per_minute * 0.8 for _ in range(390))


def windows_loop(session: Session, iwm: list[Bar], spy: list[Bar], profile: tuple[float, ...]) -> list[int]:
    """The same signals from `signals.Windows`, one bar after the other, SPY's among them."""
    config: Any = SimpleNamespace(
        warmup_seconds=300,
        vwap_trend_filter=True,
        relative_volume_filter=True,
        leadership_filter=True,
        relative_volume_min=1.5,
        spy_iwm_lag_threshold=0.20,
    )
    leader = Leader(session)
    windows = Windows(config, session, profile, leader)
    spy_starts = [bar.start for bar in spy]
    signals, told = [], 0
    for bar in iwm:
        due = bisect_right(spy_starts, bar.start, told)
        while told < due:
            leader.add(spy[told])
            told += 1
        if windows.add(bar) == "new" and windows.signal():
            signals.append(bar.start)
    return signals


def main() -> None:
    session, iwm, spy, profile = made_session()
    columns = (
        [bar.start for bar in iwm],
        [bar.close for bar in iwm],
        [bar.volume for bar in iwm],
        [bar.vwap for bar in iwm],
        [bar.start for bar in spy],
        [bar.close for bar in spy],
    )
    fastest = {"bare loop": 9e9, "signals.Windows": 9e9}
    for _ in range(7):
        begun = perf_counter()
        bare = bare_loop(*columns, list(profile), session.open_at)
        between = perf_counter()
        desk = windows_loop(session, iwm, spy, profile)
        ended = perf_counter()
        fastest["bare loop"] = min(fastest["bare loop"], between - begun)
        fastest["signals.Windows"] = min(fastest["signals.Windows"], ended - between)
    print(f"{len(iwm)} bars, {len(bare)} signals, the same: {bare == desk}")
    for name, seconds in fastest.items():
        print(f"{name:16} {len(iwm) / seconds:10,.0f} bars/s  {seconds / len(iwm) * 1e6:5.2f} µs")


if __name__ == "__main__":
    main()
