"""python -m replay: the desk fed from files.

    run DATE|FILE...            the trades of a recorded day, or of files of second bars
    signals FILE... --out FILE  every second's readings and conditions as a table
    why HH:MM[:SS] DATE|FILE    each gate at that second, and the sentence that says why there was no BUY
    near-misses DATE|FILE       the seconds with one gate missing, and which contract filter emptied the list
    verify DATE                 a recorded day decided again, byte for byte
    inspect DATE                what is on the tape of a day
    bench --days N              the speed of the two paths, and whether they decide the same

FILE holds second bars (timestamp_ns_utc, open, high, low, close, volume, vwap; CSV, gzip or Parquet).

Every command takes --json. Exit codes: 0 done; 1 a difference was found; 2 it could not be done, and why is on the error stream.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import date
from pathlib import Path

from dotenv import dotenv_values

from replay.show import CANNOT, ReplayError, as_json, errors


def data_dir() -> Path:
    """The worker's data folder, as its settings name it."""
    given = os.environ.get("DATA_DIR") or dotenv_values(".env", interpolate=False).get("DATA_DIR") or "data"
    return Path(given).expanduser()


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, words: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=words, description=words)
        made.add_argument("--json", action="store_true", help="one JSON document on standard output")
        made.add_argument("--data-dir", type=Path, default=data_dir(), help="the worker's data folder (DATA_DIR)")
        return made

    run = command("run", "the day's trades, exits and P&L")
    of_files(run, "a recorded day, or files of second bars")
    signals = command("signals", "every second's readings and conditions 1-7 as a table")
    of_files(signals, "files of second bars", quotes=False)
    signals.add_argument("--out", type=Path, required=True, metavar="FILE", help="CSV, or Parquet by its name")
    signals.add_argument("--only-momentum", action="store_true", help="conditions 1-5 alone")
    why = command("why", "each gate at a second: value, threshold, margin, and why there was no BUY or exit")
    why.add_argument("time", metavar="HH:MM[:SS]", help="New York time of the second")
    of_files(why, "a recorded day, or files of second bars")
    near = command("near-misses", "the seconds of a day with one gate missing, and which contract filter emptied the list")
    of_files(near, "a recorded day, or files of second bars")
    verify = command("verify", "decide a recorded day again and compare every action")
    verify.add_argument("date", type=date.fromisoformat, metavar="DATE")
    inspect = command("inspect", "what is on the tape of a day")
    inspect.add_argument("date", type=date.fromisoformat, metavar="DATE")
    inspect.add_argument("--events", metavar="NAMES", help="show the events of these kinds, such as ChainFailed,FeedDropped")
    bench = command("bench", "how fast the two paths are on seeded sessions, and whether they decide the same")
    bench.add_argument("--days", type=whole, default=5, help="sessions of 23,400 bars (5)")
    bench.add_argument("--seed", type=int, default=1)
    return top


def of_files(command: argparse.ArgumentParser, words: str, *, quotes: bool = True) -> None:
    """The options of a command that takes files of bars."""
    command.add_argument("what", nargs="+", metavar="DATE|FILE" if quotes else "FILE", help=words)
    command.add_argument("--spy", type=Path, metavar="FILE", help="second bars of the leader, for condition 7")
    command.add_argument(
        "--profile", type=Path, metavar="FILE", help="390 average minute volumes, for condition 6 (JSON or CSV)"
    )
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the worker")
    if quotes:
        command.add_argument(
            "--options", type=Path, metavar="FILE", help="recorded minute NBBO; without it quotes are modelled"
        )
        command.add_argument(
            "--delay", type=seconds, default=0.0, metavar="S", help="seconds from a bar's end to its arrival (0)"
        )
        command.add_argument("--seed", type=int, default=1, help="of the modelled quotes (1)")


def seconds(text: str) -> float:
    """A delay from 0 to 60 seconds."""
    value = float(text)
    if not 0 <= value <= 60:
        raise argparse.ArgumentTypeError("from 0 to 60")
    return value


def whole(text: str) -> int:
    """A count above zero."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


def main(arguments: list[str] | None = None) -> int:
    chosen = parser().parse_args(arguments)
    import tape

    try:
        return act(chosen)
    except (ReplayError, tape.TapeError) as fault:
        if chosen.json:
            as_json({"ok": False, "error": str(fault)})
        errors.print(str(fault), style="red", markup=False, soft_wrap=True)
        return CANNOT
    except BrokenPipeError:
        sys.stderr.close()
        return CANNOT


def act(chosen: argparse.Namespace) -> int:
    """Carry out a command; what it needs is imported only now."""
    match chosen.command:
        case "run":
            from replay import of_bars, of_tape, redo

            day = redo.day_of(chosen.what[0])
            if day is None:
                return of_bars.run(chosen)
            of_tape.only(chosen)
            return of_tape.run(chosen, day)
        case "verify" | "inspect":
            from replay import of_tape

            return of_tape.verify(chosen) if chosen.command == "verify" else of_tape.inspect(chosen)
        case "signals":
            from replay import of_bars

            return of_bars.signals(chosen)
        case "why" | "near-misses":
            from replay import why

            return why.why(chosen) if chosen.command == "why" else why.near_misses(chosen)
        case "bench":
            from replay.bench import bench

            return bench(chosen)
    raise AssertionError(chosen.command)


if __name__ == "__main__":
    sys.exit(main())
