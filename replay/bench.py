"""How fast the two paths are, on seeded sessions of 23,400 bars, and whether they decide the same.

Both are timed with the data's conversion, from arrays as a file gives them, compiled code warm; the best of a few rounds counts.
"""

from __future__ import annotations

from argparse import Namespace
from time import perf_counter

from replay import made, paths
from replay.setting import config_of
from replay.show import DIFFERS, OK, as_json, console, progress

ROUNDS = 3


def days_of(count: int, seed: int) -> list[paths.SessionBars]:
    calendar = made.calendar_for(count)
    found = []
    for session in progress(made.sessions(count, calendar), "making sessions"):
        day = made.session_of(seed, session)
        found.append(paths.SessionBars(session, day.own, day.leader, day.profile, seed=seed))
    return found


def bench(chosen: Namespace) -> int:
    """`{"bars", "event_bars_per_s", "fast_bars_per_s", "trades", "digest_event", "digest_fast"}`; 1 if the digests differ."""
    days, config = days_of(chosen.days, chosen.seed), config_of({})
    calendar = made.calendar_for(chosen.days)
    bars = sum(len(day.own) for day in days)
    paths.fast(config, paths.ready(days[0]))
    paths.live_through(config, calendar, days[0])

    begun = perf_counter()
    lived = [paths.result_of(paths.live_through(config, calendar, day)) for day in progress(days, "the desk")]
    event_s = perf_counter() - begun
    fast_s = float("inf")
    for _ in range(ROUNDS):
        begun = perf_counter()
        quick = [paths.fast(config, paths.ready(day)) for day in days]
        fast_s = min(fast_s, perf_counter() - begun)

    told = {
        "bars": bars,
        "event_bars_per_s": round(bars / event_s),
        "fast_bars_per_s": round(bars / fast_s),
        "trades": sum(len(result.trades) for result in quick),
        "digest_event": paths.digest(lived),
        "digest_fast": paths.digest(quick),
    }
    if chosen.json:
        as_json(told)
    else:
        for name, value in told.items():
            console.print(f"{name:>17}  {value:,}" if isinstance(value, int) else f"{name:>17}  {value}")
    return OK if told["digest_event"] == told["digest_fast"] else DIFFERS
