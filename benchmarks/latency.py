"""From a bar on the socket to the BUY on the wire, and from a quote to the SELL: the whole worker, some hundreds of trades.

Every second of the scripted market is a signal; each BUY is sold as soon as it is out, by a REST quote and by the options stream in
turn. The market's clock runs faster than time, so the worker has several seconds' work to do in one; cooldowns are off. A BUY is
measured from the frames' hand-over to the socket to the first byte of its request: refresh of three contracts and durable
commit included, and the time the simulated servers take for their answers. Both alerts wait for one durable commit (five syncs of
the disk), so how long the disk alone takes for one is measured between the trades and told beside them.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from benchmarks.figures import Figure, percentile
from benchmarks.process import worker
from benchmarks.sure_market import SureServers

BUYS = 520
SPEED = 4.0
PATIENCE_S = 3.0
WARMING_S = 0.1
SETTINGS = {
    "ENTRY_COOLDOWN_SECONDS": "0",
    "SIGNAL_COOLDOWN_SECONDS": "0",
    "EXIT_POLL_SECONDS": "0.2",
    "OPTIONS_STREAM": "on",
    "DELTA_WIDEN": "0.2",
    "MAX_SPREAD_PERCENT": "10",
    "CRITICAL_LOSS": "-1000000",
}


def trades(servers: SureServers, buys: int, disk: BinaryIO) -> dict[str, list[float]]:
    """Milliseconds of each BUY, and of each SELL by the way its quote came. What was not answered in time is left out."""
    taken: dict[str, list[float]] = {"BUY": [], "SELL rest": [], "SELL stream": [], "sync": []}
    servers.wait_until_subscribed()
    for _ in range(2 * buys):
        at = servers.next_second()
        bought = servers.wait_for_alert("BUY", PATIENCE_S if taken["BUY"] else WARMING_S)
        if bought is None:
            continue
        taken["BUY"].append((bought.at - at) * 1000)
        held = re.search(r"O:IWM\w+", bought.text)
        if len(taken["BUY"]) % 2 and held:
            way, told = "SELL stream", servers.fall_on_stream(held[0], PATIENCE_S)
        else:
            way, told = "SELL rest", servers.fall_on_rest(PATIENCE_S)
        if told is None:
            servers.fall_on_rest(PATIENCE_S)
        else:
            quoted_at, sold = told
            taken[way].append((sold.at - quoted_at) * 1000)
        taken["sync"].append(sync_ms(disk))
        if len(taken["BUY"]) >= buys:
            break
    return taken


def sync_ms(disk: BinaryIO) -> float:
    """How long the disk takes to make 4 KiB durable."""
    begun = monotonic()
    disk.write(bytes(4096))
    os.fdatasync(disk.fileno())
    return (monotonic() - begun) * 1000


def measure(buys: int = BUYS, speed: float = SPEED) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name, SureServers(Path(name) / "clock", speed) as servers:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(0.0005)  # our own servers should answer at once
        try:
            with worker(servers, Path(name), **SETTINGS), (Path(name) / "disk").open("wb", buffering=0) as disk:
                taken = trades(servers, buys, disk)
        finally:
            sys.setswitchinterval(usual)
    figures = []
    for kind, words in (("BUY", "bar → BUY"), ("SELL rest", "REST quote → SELL"), ("SELL stream", "stream quote → SELL")):
        values = taken[kind]
        note = f"{len(values)} of them, {speed:g} a second; highest {max(values, default=float('nan')):.0f} ms"
        figures.append(Figure(f"{words}, p50", percentile(values, 50), "ms", at_most=15, note=note))
        figures.append(Figure(f"{words}, p99", percentile(values, 99), "ms", at_most=50))
    sync = f"between the trades; p99 {percentile(taken['sync'], 99):.1f} ms"
    return [*figures, Figure("the disk alone: 4 KiB durable, p50", percentile(taken["sync"], 50), "ms", note=sync)]
