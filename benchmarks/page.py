"""What the page costs the worker: decision latency and memory with no page, one page and fifty pages open."""

from __future__ import annotations

import selectors
import socket
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from datetime import time as wall_time
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.process import cpu_s, resident_mb, worker
from simulator.servers import Simulator

WATCHED_S = 40.0
PAGES = 50
SETTLE_S = 5.0

Histogram = dict[float, float]


def measure(seconds: float = WATCHED_S) -> list[Figure]:
    """One worker at market speed, watched three times."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        port = free_port()
        market = Simulator(folder / "clock", day=date(2026, 11, 20), seed=1, start=wall_time(10, 29), speed=1.0)
        with market, worker(market, folder, HEALTH_PORT=str(port)) as process:
            wait_until_served(port)
            found = {}
            for pages in (0, 1, PAGES):
                with opened(port, pages) as heard:
                    drain(heard, SETTLE_S)
                    before, used = histogram(port), cpu_s(process.pid)
                    events = drain(heard, seconds)
                    percent = 100 * (cpu_s(process.pid) - used) / seconds
                    found[pages] = (p99_ms(before, histogram(port)), resident_mb(process.pid), percent, events)
    return list(figures(found))


def figures(found: dict[int, tuple[float, float, float, int]]) -> Iterator[Figure]:
    base_ms, base_mb, base_percent, _ = found[0]
    yield Figure("decision latency p99, no page", base_ms, "ms")
    for pages in (1, PAGES):
        latency_ms, memory_mb, percent, events = found[pages]
        words = "1 page" if pages == 1 else f"{pages} pages"
        yield Figure(f"decision latency p99, {words}: more", latency_ms - base_ms, "ms", 10.0)
        yield Figure(f"memory, {words}: more", memory_mb - base_mb, "MB", 60.0)
        yield Figure(f"processor, {words}: more", percent - base_percent, "% of a core")
        yield Figure(f"pieces of news to {words}", events, "")


@contextmanager
def opened(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many pages: the page, its past, its stream."""
    wires = []
    for _ in range(count):
        for path in ("/", "/chart"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).read()
        wire = socket.create_connection(("127.0.0.1", port), timeout=10)
        wire.sendall(b"GET /events HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % port)
        wire.setblocking(False)
        wires.append(wire)
    yield wires
    for wire in wires:
        wire.close()


def drain(wires: list[socket.socket], seconds: float) -> int:
    """Read what comes for so long; how many events came. RuntimeError if a page was let go."""
    events, until = 0, time.monotonic() + seconds
    with selectors.DefaultSelector() as chosen:
        for wire in wires:
            chosen.register(wire, selectors.EVENT_READ)
        while (left := until - time.monotonic()) > 0:
            if not wires:
                time.sleep(left)
            for key, _ in chosen.select(left):
                piece = key.fileobj.recv(1 << 20)  # type: ignore[union-attr]
                if not piece:
                    raise RuntimeError("a page was let go")
                events += piece.count(b"data: ")
    return events


def histogram(port: int) -> Histogram:
    """Arrival of the oldest event to the decision, and the decision itself: cumulative counts by upper bound, of both."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    found: Histogram = {}
    for line in text.splitlines():
        if line.startswith("desk_latency_seconds_bucket"):
            bound = float(line.partition('le="')[2].partition('"')[0])
            found[bound] = float(line.rpartition(" ")[2])
    return found


def p99_ms(before: Histogram, after: Histogram) -> float:
    """The 99th percentile of what was counted in between, linear within its bucket."""
    counts = {bound: after[bound] - before[bound] for bound in sorted(after)}
    wanted, lower, below = 0.99 * max(counts.values()), 0.0, 0.0
    for bound, count in counts.items():
        if count >= wanted:
            return 1000 * (lower + (bound - lower) * (wanted - below) / max(count - below, 1.0))
        lower, below = bound, count
    raise RuntimeError("nothing was counted")


def free_port() -> int:
    with socket.socket() as any_one:
        any_one.bind(("127.0.0.1", 0))
        return int(any_one.getsockname()[1])


def wait_until_served(port: int, timeout_s: float = 20.0) -> None:
    until = time.monotonic() + timeout_s
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
