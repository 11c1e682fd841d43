"""python -m replay: the desk fed from files.

    run DATE|FILE...            the trades of a recorded day, or of files of second bars
    verify DATE                 a recorded day decided again, byte for byte
    inspect DATE                what is on the tape of a day

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
    run.add_argument("what", nargs="+", metavar="DATE|FILE", help="a recorded day, or files of second bars")
    verify = command("verify", "decide a recorded day again and compare every action")
    verify.add_argument("date", type=date.fromisoformat, metavar="DATE")
    inspect = command("inspect", "what is on the tape of a day")
    inspect.add_argument("date", type=date.fromisoformat, metavar="DATE")
    inspect.add_argument("--events", metavar="NAMES", help="show the events of these kinds, such as ChainFailed,FeedDropped")
    bench = command("bench", "how fast the two paths are on seeded sessions, and whether they decide the same")
    bench.add_argument("--days", type=whole, default=5, help="sessions of 23,400 bars (5)")
    bench.add_argument("--seed", type=int, default=1)
    return top


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
    from replay import of_tape, redo

    match chosen.command:
        case "bench":
            from replay.bench import bench

            return bench(chosen)
        case "verify":
            return of_tape.verify(chosen)
        case "inspect":
            return of_tape.inspect(chosen)
        case "run":
            day = redo.day_of(chosen.what[0])
            if day is None or len(chosen.what) > 1:
                raise ReplayError(f"{chosen.what[0]} is no date: YYYY-MM-DD")
            return of_tape.run(chosen, day)
    raise AssertionError(chosen.command)


if __name__ == "__main__":
    sys.exit(main())
