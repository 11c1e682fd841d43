"""`python -m simulator alpaca`: Alpaca's trading API on this machine, for any client. Prints its places, then a line an event."""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import threading
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

from simulator.alpaca.faults import ACTS, REQUESTS, SWITCHES, parsed
from simulator.alpaca.quotes import MarketQuotes
from simulator.alpaca.venue import ACCOUNT_NUMBER, Venue
from simulator.exchange import Market
from utils import NEW_YORK, SharedClock

DEFAULT_DAY = date(2026, 11, 20)
FASTEST = 600.0
HINT = """
the keys are yours to choose; every fault of --faults can also be switched while it runs:
  curl -X POST CONTROL/faults/order-504-after -d '{"times": 1}'
  curl -X DELETE CONTROL/faults
"""


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m simulator alpaca",
        description=__doc__,
        epilog=HINT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--faults", action="store_true", help="list every fault with one line, and end")
    options.add_argument(
        "--fault", action="append", default=[], metavar="NAME[=TIMES]", help="switch a fault on; may be repeated"
    )
    options.add_argument("--port", type=int, default=0, help="of the trading API (a free one)")
    options.add_argument("--stream-port", type=int, default=0, help="of the trade updates (a free one)")
    options.add_argument("--control-port", type=int, default=0, help="of the control door (a free one)")
    options.add_argument("--seed", type=int, default=1, help="the same seed and day give the same market (1)")
    options.add_argument("--day", type=date.fromisoformat, default=DEFAULT_DAY, help=f"a trading day ({DEFAULT_DAY})")
    options.add_argument("--start", type=time.fromisoformat, default=time(10, 0), help="New York time of day (10:00:00)")
    options.add_argument("--speed", type=float, default=1.0, help="market seconds a second; 0 stands still (1)")
    options.add_argument("--cash", type=Decimal, default=Decimal(25_000), help="dollars in the account (25000)")
    options.add_argument("--account", default=ACCOUNT_NUMBER, help=f"the account's number ({ACCOUNT_NUMBER})")
    options.add_argument("--level", type=int, choices=range(4), default=3, help="level of options trading (3)")
    options.add_argument("--per-minute", type=int, default=200, help="requests a minute before 429; 0 for no limit (200)")
    options.add_argument("--text-frames", action="store_true", help="trade updates as text, as on the live host")
    options.add_argument("--quiet", action="store_true", help="print the places and nothing else")
    options.add_argument("--ports-file", type=Path, help="write the JSON line of places here as well")
    return options


def fault_lines() -> list[str]:
    """The catalogue for a terminal, a group at a time."""
    groups = {
        "answers (switches)": {name: fault.says for name, fault in REQUESTS.items()},
        "orders, account, pages, stream (switches)": SWITCHES,
        "acts (once, at once)": ACTS,
    }
    lines = []
    for title, faults in groups.items():
        lines += ["", title, *(f"  {name:<22} {says}" for name, says in sorted(faults.items()))]
    return lines[1:]


def main(argv: list[str]) -> int:
    chosen = parser().parse_args(argv)
    if chosen.faults:
        print("\n".join(fault_lines()))
        return 0
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        if not 0 <= chosen.speed <= FASTEST:
            raise ValueError(f"--speed takes a number from 0 to {FASTEST:g}")
        faults = parsed(chosen.fault)
        with tempfile.TemporaryDirectory() as folder, _venue(chosen, Path(folder) / "clock") as venue:
            places = json.dumps(
                {**venue.urls, "contract": _example(venue), "account": chosen.account, "day": str(chosen.day)}
            )
            if chosen.ports_file:
                chosen.ports_file.write_text(places + "\n")
            print(places, flush=True)
            for name, times in faults:
                venue.fault(name, times=times)
            ended.wait()
    except (ValueError, OSError) as error:
        print(f"cannot start: {error}")
        return 2
    return 0


def _venue(chosen: argparse.Namespace, clock_file: Path) -> Venue:
    start = NEW_YORK.localize(datetime.combine(chosen.day, chosen.start)).timestamp()
    clock = SharedClock.create(clock_file, start, chosen.speed)
    venue = Venue(
        MarketQuotes(Market(clock, chosen.seed, chosen.day)),
        clock=clock,
        seed=chosen.seed,
        cash=chosen.cash,
        number=chosen.account,
        level=chosen.level,
        ports=(chosen.port, chosen.stream_port, chosen.control_port),
        binary=not chosen.text_frames,
        say=(lambda _: None) if chosen.quiet else lambda line: print(line, flush=True),
    )
    venue.rest.per_minute = chosen.per_minute or None
    return venue


def _example(venue: Venue) -> str:
    """A call of today that costs about a dollar, to try the venue with."""
    today = [row.contract for row in venue.book.quotes.listed() if row.contract.right == "C"]
    quoted = [(contract, venue.book.quotes.quote(contract.symbol)) for contract in today[:80]]
    near = [(abs(quote.mid - 1), contract.symbol) for contract, quote in quoted if quote is not None and quote.bid > 0]
    return min(near)[1] if near else ""
