"""`python -m simulator tws`: a TWS on loopback with a simulated day of XSP, SPX and VIX, for anybody's own client.

Connect to the port as to a paper TWS. What clients do is printed, one line an order event. Faults are armed with --fault, by a
script, by lines on the standard input, or by POST to the control door; `--faults` lists them.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import NamedTuple

from simulator.tws.door import ControlDoor
from simulator.tws.faults import CATALOGUE, catalogue_text, checked_settings, known, parse
from simulator.tws.orders import MATCHING
from simulator.tws.record import Event
from simulator.tws.venue import PAPER_ACCOUNT, Venue
from utils import NEW_YORK, SharedClock, clock_text

DEFAULT_DAY = date(2026, 11, 20)
MARKS = {
    "joined": "→", "left": "←", "refused": "✗", "order": "＋", "what-if": "?", "fill": "●", "cancel": "…", "cancelled": "－",
    "reject": "✗", "modify": "~", "fault": "⚡",
}  # fmt: skip


class Cue(NamedTuple):
    """A line of a script: when, in market seconds since the epoch, and what is said."""

    at: float
    line: str


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m simulator tws", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--port", type=int, default=7497, help="as a paper TWS has it; 0 takes a free one (7497)")
    options.add_argument("--seed", type=int, default=1, help="the same seed and day give the same market (1)")
    options.add_argument("--day", type=date.fromisoformat, default=DEFAULT_DAY, help=f"a trading day ({DEFAULT_DAY})")
    options.add_argument("--start", type=time.fromisoformat, default=time(10, 0), help="New York time of day (10:00)")
    options.add_argument("--speed", type=float, default=1.0, help="market seconds a second; 0 stands still (1)")
    options.add_argument("--account", action="append", metavar="ID", help=f"may be repeated ({PAPER_ACCOUNT})")
    options.add_argument(
        "--matching", choices=MATCHING, default="makers", help="at natural, or where makers meet it (makers)"
    )
    options.add_argument("--fee", type=float, default=1.23, help="commission in dollars a contract (1.23)")
    options.add_argument("--fault", action="append", default=[], metavar="LINE", help="'reject times=2'; may be repeated")
    options.add_argument("--script", type=Path, help="lines '+30 drop' or '10:31:00 reject times=2', in order of time")
    options.add_argument("--faults", action="store_true", help="list the faults by name, and end")
    options.add_argument("--quiet", action="store_true", help="print only where it is")
    options.add_argument("--clock-file", type=Path, help="the market's clock: kept here, or shared if it is there already")
    options.add_argument("--ports-file", type=Path, help="write the places as a JSON line here")
    return options


def cues_of(text: str, start: float, day: date) -> list[Cue]:
    """A script's cues in order; `+30` counts from the start. ValueError says which line is wrong."""
    cues = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        when, _, said = line.partition(" ")
        try:
            if re.fullmatch(r"\+\d+(\.\d+)?", when):
                at = start + float(when)
            else:
                at = NEW_YORK.localize(datetime.combine(day, time.fromisoformat(when))).timestamp()
            name, _ = parse(said)
            if name not in CATALOGUE and name != "clear":
                raise ValueError(f"no fault is called {name!r}")
        except ValueError as wrong:
            raise ValueError(f"line {number} of the script: {wrong}") from None
        cues.append(Cue(at, said.strip()))
    return sorted(cues, key=lambda cue: cue.at)


def play(cues: Sequence[Cue], venue: Venue, clock: SharedClock, ended: threading.Event) -> None:
    """Say each cue at its time."""
    for cue in cues:
        while (left := cue.at - clock.now()) > 0:
            if ended.wait(clock.real_seconds(left)):
                return
        answer(venue, cue.line)


def answer(venue: Venue, line: str) -> None:
    """Say a line to the venue and print what it says, or what is wrong with it."""
    try:
        print(venue.command(line), flush=True)
    except (ValueError, LookupError) as wrong:
        print(f"not understood: {wrong}", flush=True)


def listen(venue: Venue) -> None:
    """Lines of the standard input, until it ends."""
    for line in sys.stdin:
        if line.strip():
            answer(venue, line.strip())


def teller(quiet: bool) -> Callable[[Event], None]:
    """Prints an event as one line, if anything is to be printed."""

    def tell(event: Event) -> None:
        who = f"{event.client:>4}" if event.client >= 0 else "    "
        ref = f"{event.ref:24} " if event.ref else ""
        print(f"{clock_text(event.at)} {MARKS.get(event.kind, ' ')} {who}  {ref}{event.words}", flush=True)

    return (lambda _: None) if quiet else tell


def main(argv: list[str] | None = None) -> int:
    chosen = parser().parse_args(argv)
    if chosen.faults:
        print(catalogue_text())
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            for line in chosen.fault:
                checked_settings(known(parse(line)[0]), parse(line)[1])
            return run(chosen, chosen.clock_file or Path(folder) / "clock")
        except (ValueError, OSError) as wrong:
            print(f"cannot start: {wrong}")
            return 2


def run(chosen: argparse.Namespace, clock_file: Path) -> int:
    """The venue until it is interrupted; ValueError or OSError if it cannot begin."""
    from simulator.index import IndexMarket

    start = NEW_YORK.localize(datetime.combine(chosen.day, chosen.start)).timestamp()
    market = IndexMarket(chosen.seed, chosen.day)
    cues = cues_of(chosen.script.read_text(), start, chosen.day) if chosen.script else []
    shared = clock_file.exists()
    clock = SharedClock(clock_file) if shared else SharedClock.create(clock_file, start, chosen.speed)
    accounts = chosen.account or [PAPER_ACCOUNT]
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Venue(
        market, clock, port=chosen.port, accounts=accounts, matching=chosen.matching, seed=chosen.seed, fee=chosen.fee,
        heard=teller(chosen.quiet),
    ) as venue:  # fmt: skip
        door = ControlDoor(venue)
        places = json.dumps({"port": venue.port, "control": door.url, "account": accounts[0], "clock_file": str(clock_file)})
        if chosen.ports_file:
            chosen.ports_file.write_text(places + "\n")
        print(places, flush=True)
        for line in chosen.fault:
            venue.command(line)
        if not chosen.quiet:
            print(f"XSP {float(market.xsp(clock.now())):.2f}, VIX {float(market.vix(clock.now())):.2f}, {chosen.day} "
                  f"{clock_text(clock.now())}. Say `help` here; Ctrl-C ends it.", flush=True)  # fmt: skip
        threading.Thread(target=listen, args=(venue,), daemon=True).start()
        threading.Thread(target=play, args=(cues, venue, clock, ended), daemon=True).start()
        ended.wait()
        door.close()
    return 0
