"""A worker in mid-session: memory, processor, and how soon after its start it can buy.

The first two at real time on the simulated market as it is (five symbols, one bar a second each), with default settings, as the
kernel counts them. The start is measured on the scripted market, where the first second that is known well enough is a signal: from
the process's first instruction, imports, history, profile, chain and proofs included, to the first byte of its first BUY.
"""

from __future__ import annotations

import tempfile
import time as real_time
from datetime import time
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.process import cpu_s, resident_mb, worker
from benchmarks.sure_market import DAY, SureServers
from simulator.servers import Simulator

SETTLED_S = 10.0
WATCHED_S = 60.0
STARTS = 3
START_PATIENCE_S = 15


def measure_session(seconds: float = WATCHED_S) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Simulator(folder / "clock", day=DAY, start=time(10, 29)) as servers, worker(servers, folder) as process:
            servers.stocks.wait_for_subscriber("A.IWM", 30)
            real_time.sleep(SETTLED_S)
            begun, used = real_time.monotonic(), cpu_s(process.pid)
            real_time.sleep(seconds)
            share = (cpu_s(process.pid) - used) / (real_time.monotonic() - begun)
            resident = resident_mb(process.pid)
    note = f"over {seconds:.0f} s, one bar a second and symbol"
    return [
        Figure("mid-session: resident memory", resident, "MB", at_most=180),
        Figure("mid-session: of a core", share * 100, "%", at_most=3, note=note),
    ]


def first_buy_s() -> float:
    """Seconds from the start of a worker to its first BUY on the wire; NaN if none came."""
    with tempfile.TemporaryDirectory() as name, SureServers(Path(name) / "clock", 1.0) as servers:
        begun = real_time.monotonic()
        with worker(servers, Path(name)):
            servers.wait_until_subscribed()
            for _ in range(START_PATIENCE_S):
                servers.next_second()
                if (bought := servers.wait_for_alert("BUY", 0.5)) is not None:
                    return bought.at - begun
    return float("nan")


def measure_start(starts: int = STARTS) -> list[Figure]:
    taken = [first_buy_s() for _ in range(starts)]
    note = f"the longest of {starts}; the wait for a bar included: " + ", ".join(f"{seconds:.1f}" for seconds in taken)
    return [Figure("start → first BUY, backfill included", max(taken), "s", at_most=5, note=note)]


def measure() -> list[Figure]:
    return [*measure_session(), *measure_start()]
