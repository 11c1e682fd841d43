"""The two paths of replay beside the bare loop, in one interleaved run over the same seeded sessions of 23,400 bars; and the tape.

Times are of the process's own processor time where one thread works, so that neighbours on the machine weigh less; the figure for
two threads is of the wall clock. Data conversion is in the time, compilation is not. Of each, the best of the rounds counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.desk_loop import bare_loop
from benchmarks.figures import Figure, percentile
from disk.tape import Tape
from events import Bar, BarClosed, Remembered
from replay import made, paths
from replay.bench import days_of
from replay.setting import config_of
from replay.sweep import keep_memory
from strategies.registry import build
from utils import SystemClock

DAYS, ROUNDS, LONG = 4, 5, 60
TAKES = 20_000


def measure() -> list[Figure]:
    days, config, calendar = days_of(DAYS, 1), config_of({}), made.calendar_for(DAYS)
    bars = sum(len(day.own) for day in days)
    columns = [
        (
            *(getattr(day.own, name).tolist() for name in ("start", "close", "volume", "vwap")),
            *(getattr(day.leader, name).tolist() for name in ("start", "close")),
            list(day.profile or ()),
            day.session.open_at,
        )
        for day in days
    ]

    def bare() -> None:
        for column in columns:
            bare_loop(*column)

    def event() -> None:
        for day in days:
            paths.live_through(config, calendar, day)

    def fast(some: list[paths.SessionBars] = days) -> None:
        for day in some:
            paths.fast(config, paths.ready(day))

    hands = ThreadPoolExecutor(2)

    def on_two() -> None:
        list(hands.map(fast, (days[::2] * LONG, days[1::2] * LONG)))

    keep_memory()  # as every sweep does
    fast()
    best = {name: float("inf") for name in ("bare", "event", "fast", "one", "two")}
    for _ in range(ROUNDS):
        for name, work, clock in (
            ("bare", bare, process_time),
            ("event", event, process_time),
            ("fast", fast, process_time),
            ("one", lambda: fast(days * LONG), perf_counter),
            ("two", on_two, perf_counter),
        ):
            best[name] = min(best[name], timed(work, clock))
    note = f"the bare loop does {bars / best['bare']:,.0f} bars a second here"
    return [
        Figure("event path, of the bare loop", best["bare"] / best["event"], "×", at_least=0.3, note=note),
        Figure("fast path, of the bare loop", best["bare"] / best["fast"], "×", at_least=20, note=note),
        Figure("fast path on two threads, of one", best["one"] / best["two"], "×", at_least=1.4, note="wall clock"),
        Figure("a batch handed to the tape, median", tape_cost_us(), "µs", at_most=20),
    ]


def timed(work: Callable[[], None], clock: Callable[[], float]) -> float:
    begun = clock()
    work()
    return clock() - begun


def tape_cost_us() -> float:
    """What `Tape.take` costs the main loop while its thread writes."""
    with tempfile.TemporaryDirectory() as folder:
        config = config_of({}).model_copy(update={"data_dir": Path(folder)})
        clock = SystemClock()
        desk = build(config, made.calendar_for(1), Remembered())
        tape = Tape(config, clock, "benchmark")
        tape.begin(desk)
        costs = []
        for k in range(TAKES):
            events = [BarClosed(at=clock.now(), bar=Bar("IWM", k, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0))]
            begun = perf_counter()
            tape.take(desk, events, [])
            costs.append(perf_counter() - begun)
        tape.stop()
    return percentile(costs, 50) * 1e6
