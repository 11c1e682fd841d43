"""`python -m simulator`: the simulated market by itself, until it is interrupted. Prints one JSON line of its places.

`python -m simulator alpaca` or `tws`: a broker instead; each has a --help of its own.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
from datetime import date, time
from importlib import import_module
from pathlib import Path

import startup

startup.begin(startup.SIMULATOR, startup.OF_SIMULATOR, code=2)

from simulator.market import Burst
from simulator.servers import Simulator

DEFAULT_DAY = date(2026, 11, 20)
BROKERS = {"alpaca": "simulator.alpaca.program", "tws": "simulator.tws.program"}


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m simulator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seed", type=int, default=1, help="the same seed and day give the same market (1)")
    options.add_argument(
        "--day", "--date", type=date.fromisoformat, default=DEFAULT_DAY, help=f"a trading day ({DEFAULT_DAY})"
    )
    options.add_argument("--start", type=time.fromisoformat, default=time(10, 29), help="New York time of day (10:29:00)")
    options.add_argument("--speed", type=float, default=1.0, help="market seconds a second; 0 stands still (1)")
    options.add_argument(
        "--bars", type=Path, help="a csv or csv.gz of real second bars, played as IWM; the day is the file's"
    )
    options.add_argument(
        "--burst",
        type=float,
        action="append",
        metavar="S",
        help="a sure burst so many seconds after the start; may be repeated",
    )
    options.add_argument("--clock-file", type=Path, help="where the market's clock is kept (a temporary file)")
    options.add_argument("--ports-file", type=Path, help="write the JSON line here as well")
    return options


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in BROKERS:
        return int(import_module(BROKERS[argv[0]]).main(argv[1:]))
    chosen = parser().parse_args(argv)
    bursts = None
    if chosen.burst:
        since_open = (chosen.start.hour - 9) * 3600 + (chosen.start.minute - 30) * 60 + chosen.start.second
        bursts = [Burst(since_open + after) for after in chosen.burst]
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        place = tempfile.TemporaryDirectory()
    except OSError as error:
        print(f"cannot start: {error.strerror or error}; set TMPDIR to a folder that can be written")
        return 2
    with place as folder:
        clock_file = chosen.clock_file or Path(folder) / "clock"
        try:
            market = Simulator(
                clock_file,
                day=chosen.day,
                seed=chosen.seed,
                start=chosen.start,
                speed=chosen.speed,
                bars=chosen.bars,
                bursts=bursts,
            )
        except (ValueError, OSError) as error:
            print(f"cannot start: {error}")
            return 2
        with market:
            line = json.dumps({**market.urls, "clock_file": str(clock_file), "day": str(market.market.session.date)})
            if chosen.ports_file:
                chosen.ports_file.write_text(line + "\n")
            print(line, flush=True)
            ended.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
