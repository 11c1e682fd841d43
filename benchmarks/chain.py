"""A chain of 162 contracts, 163 kB: from the bytes of the answer to the tracked contracts. `python -m benchmarks.chain`."""

from __future__ import annotations

import json
from datetime import date, time
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.figures import Figure, percentile
from config import Config
from contract_selector import select
from polygon_client import parse_chain
from simulator.chain import CALL, PUT
from simulator.servers import Simulator

DAY = date(2026, 11, 20)
ROUNDS = 400
TARGET_MS = 1.0


def answer(market: Simulator) -> bytes:
    """The whole chain of the day, calls and puts: 162 rows, spaced so that they weigh what a real answer of 163 kB does."""
    rows = market.market.rows(DAY, (CALL, PUT))
    return json.dumps({"request_id": "0" * 32, "results": rows, "status": "OK"}, indent=1).encode()


def measure() -> list[Figure]:
    with TemporaryDirectory() as folder:
        place = Path(folder)
        with Simulator(place / "clock", day=DAY, seed=1, start=time(10, 29), speed=0.0) as market:
            body, now, session = answer(market), market.clock.now(), market.market.session
            spot = float(market.market.spot(now))
            config = Config.from_env(market.environment(place / "data"))
    took = []
    for _ in range(ROUNDS):
        begun = perf_counter()
        rows, _, _ = parse_chain(body)
        selection = select(rows, now, config, session, spot)
        took.append((perf_counter() - begun) * 1000)
    best = len(selection.tracked)
    note = f"{len(rows)} contracts, {len(body) / 1000:.0f} kB, {best} tracked; p99 {percentile(took, 99):.2f} ms"
    return [Figure("chain: parsed and selected, p50", percentile(took, 50), "ms", at_most=TARGET_MS, note=note)]


if __name__ == "__main__":
    for figure in measure():
        print(f"{figure.name}: {figure.value:.2f} {figure.unit} ({figure.note})")
