"""python -m replay: the desk fed from files.

    run DATE|FILE...            the trades of a recorded day, or of files of second bars
    signals FILE... --out FILE  every second's readings and conditions as a table
    why HH:MM[:SS] DATE|FILE    each gate at that second, and the sentence that says why there was no BUY
    near-misses DATE|FILE       the seconds with one gate missing, and which contract filter emptied the list
    verify DATE                 a recorded day decided again, byte for byte
    inspect DATE                what is on the tape of a day
    profile FILE... --out FILE  the average minute volumes that condition 6 needs, made of minute or second bars
    fetch SYMBOL FROM TO        history by REST into the local store
    backtest FROM TO            many sessions: win rate with its interval, and what it hangs on
    sweep --grid FILE FROM TO   many settings over many sessions, on all cores or a cluster
    report DATE|FROM TO         one HTML page, with its figures
    bench --days N              the speed of the two paths, and whether they decide the same

FILE holds second bars: CSV, Parquet or the feed's JSON, packed or not, a zip or a folder; columns timestamp_ns_utc, open, high, low,
close, volume, vwap, or the feed's own (t, o, h, l, c, v, vw; window_start, ticker).

Every command takes --json. Exit codes: 0 done; 1 a difference was found; 2 it could not be done, and why is on the error stream.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import startup

startup.begin((*startup.WORKER, "rich"), startup.OF_WORKER, startup.OF_REPLAY, code=2)

from config import ConfigError, data_dir
from replay.show import CANNOT, ReplayError, as_json, errors
from utils import VERSION

if TYPE_CHECKING:
    from replay.store import Source


class Given(argparse.Action):
    """Stores a value, and that its option was written: so that one which a command does not obey is refused, never dropped."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        setattr(namespace, self.dest, values)
        if option_string is not None:
            namespace.given = getattr(namespace, "given", frozenset()) | {self.option_strings[0]}


class Parser(argparse.ArgumentParser):
    """Options in full only, and what cannot be read is refused in JSON too."""

    as_json = False

    def __init__(self, **given: Any) -> None:
        super().__init__(**given, allow_abbrev=False)
        for name in (None, "store"):
            self.register("action", name, Given)

    def error(self, message: str) -> NoReturn:
        if Parser.as_json:
            as_json({"ok": False, "error": message})
        super().error(message)


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="python -m replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--version", action="version", version=VERSION)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, words: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=words, description=words)
        made.add_argument("--json", action="store_true", help="one JSON document on standard output")
        made.add_argument("--data-dir", type=Path, help="the worker's data folder (DATA_DIR, as the worker reads it)")
        return made

    run = command("run", "the day's trades, exits and P&L")
    of_files(run, "a recorded day, or files of second bars")
    signals = command("signals", "every second's readings and conditions 1-7 as a table")
    of_files(signals, "files of second bars", quotes=False)
    signals.add_argument("--out", type=Path, required=True, metavar="FILE", help="CSV, or Parquet by its name")
    signals.add_argument("--only-momentum", action="store_true", help="conditions 1-5 alone")
    why = command("why", "each gate at a second: value, threshold, margin, and why there was no BUY or exit")
    why.add_argument("time", metavar="HH:MM[:SS]|ID", help="New York time of the second, or an alert's or a trade's id")
    of_files(why, "a recorded day, or files of second bars; without it, the day that the id begins with", needed=False)
    near = command("near-misses", "the seconds of a day with one gate missing, and which contract filter emptied the list")
    of_files(near, "a recorded day, or files of second bars")
    verify = command("verify", "decide a recorded day again and compare every action")
    verify.add_argument("date", type=date.fromisoformat, metavar="DATE")
    inspect = command("inspect", "what is on the tape of a day")
    inspect.add_argument("date", type=date.fromisoformat, metavar="DATE")
    inspect.add_argument("--events", metavar="NAMES", help="show the events of these kinds, such as ChainFailed,FeedDropped")
    profile = command(
        "profile", "a file for --profile: average minute volumes of the last ten full sessions in files of bars"
    )
    profile.add_argument("what", nargs="+", type=Path, metavar="FILE", help="files of minute or second bars")
    profile.add_argument("--out", type=Path, default=Path("profile.json"), metavar="FILE", help="(profile.json)")
    fetch = command("fetch", "history by REST into the local store, resumable")
    fetch.add_argument("symbol", metavar="SYMBOL", type=str.upper)
    between(fetch)
    fetch.add_argument("--bars-only", action="store_true", help="no option quotes (they need a plan that includes them)")
    backtest = command("backtest", "many sessions under one set of rules")
    of_sessions(backtest)
    backtest.add_argument("--trades", type=Path, metavar="FILE", help="every trade with its quotes and readings, as CSV")
    backtest.add_argument("--desk", action="store_true", help="decide by the desk itself, event by event (slower, the same)")
    sweep = command("sweep", "many settings over many sessions")
    of_sessions(sweep)
    sweep.add_argument("--grid", type=Path, required=True, metavar="FILE", help='JSON: {"STOP_LOSS_PERCENT": [10, 15], ...}')
    sweep.add_argument("--top", type=whole, default=15, help="how many of the best are shown (15)")
    report = command("report", "one self-contained HTML page and its figures as PNG, of a day or of a backtest")
    of_sessions(report, one_day=True)
    report.set_defaults(desk=False)
    for one in (backtest, sweep, report):
        one.add_argument(
            "--options",
            type=Path,
            metavar="FILE",
            help="recorded minute NBBO of the sessions, instead of the store's quotes",
        )
    report.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE", help="the page (report.html)")
    bench = command("bench", "how fast the two paths are on seeded sessions, and whether they decide the same")
    bench.add_argument("--days", type=whole, default=5, help="sessions of 23,400 bars (5)")
    bench.add_argument("--seed", type=seed, default=1, help="of the sessions (1)")
    return top


def of_files(command: argparse.ArgumentParser, words: str, *, quotes: bool = True, needed: bool = True) -> None:
    """The options of a command that takes files of bars."""
    command.add_argument("what", nargs="+" if needed else "*", metavar="DATE|FILE" if quotes else "FILE", help=words)
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
        command.add_argument("--seed", type=seed, default=1, help="of the modelled quotes (1)")


def between(command: argparse.ArgumentParser, *, one_day: bool = False) -> None:
    command.add_argument("first", type=date.fromisoformat, metavar="DATE|FROM" if one_day else "FROM")
    words = "the last day; without it, one day: from its tape where there is one"
    command.add_argument("last", type=date.fromisoformat, metavar="TO", nargs="?" if one_day else None, help=words * one_day)


def of_sessions(command: argparse.ArgumentParser, *, one_day: bool = False) -> None:
    """The options of a command that goes through many sessions."""
    between(command, one_day=one_day)
    where = command.add_mutually_exclusive_group()
    where.add_argument("--bars", type=Path, nargs="+", metavar="FILE", help="files of second bars instead of the store")
    where.add_argument("--made", type=seed, metavar="SEED", help="sessions made up from a seed instead of the store")
    command.add_argument("--spy", type=Path, metavar="FILE", help="with --bars: the leader's second bars")
    command.add_argument(
        "--profile", type=Path, metavar="FILE", help="390 average minute volumes instead of the store's minutes"
    )
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the worker")
    command.add_argument(
        "--delay", type=seconds, default=2.0, metavar="S", help="seconds from a bar's end to its arrival (2)"
    )
    command.add_argument("--cluster", metavar="ADDRESS", help="dask://host:port or ray://host:port instead of this machine")
    command.add_argument("--seed", type=seed, help="of the modelled quotes (1; with --made, its own)")
    command.set_defaults(source=source_of)


def source_of(chosen: argparse.Namespace) -> Source:
    """Where the sessions come from, as the command line says."""
    from config import Config
    from replay import store
    from replay.files.profile import profile

    if chosen.seed is None:
        chosen.seed = 1 if chosen.made is None else chosen.made
    refuse_unheard(chosen)
    if chosen.made is not None:
        return store.MadeUp(chosen.made, chosen.seed)
    minutes = profile(chosen.profile) if chosen.profile else None
    if chosen.bars:
        return store.Filed(tuple(chosen.bars), chosen.spy, minutes, chosen.seed, (chosen.first, chosen.last or chosen.first))
    return store.Stored(chosen.data_dir, Config.symbol, Config.leader, minutes, chosen.seed)


def refuse_unheard(chosen: argparse.Namespace) -> None:
    """ReplayError for an option that these sessions do not obey."""
    unheard = {"--spy", "--profile", "--options"} if chosen.made is not None else set() if chosen.bars else {"--spy"}
    if dead := sorted(unheard & chosen.given):
        why = (
            "made-up sessions have their own" if chosen.made is not None else "the store has its own, --bars takes a file's"
        )
        raise ReplayError(f"{dead[0]} changes nothing here: {why}")


def seed(text: str) -> int:
    """A seed from 0 on."""
    number = int(text)
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError("from 0 to 2147483647")
    return number


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
    words = sys.argv[1:] if arguments is None else arguments
    Parser.as_json = "--json" in words
    chosen = parser().parse_args(words, argparse.Namespace(given=frozenset()))
    from disk import tape
    from disk.folder import DiskTrouble, temporary_place

    try:
        chosen.data_dir = chosen.data_dir or data_dir()
        temporary_place(chosen.data_dir)
        keep_compiled(chosen.data_dir)
        return act(chosen)
    except (ReplayError, tape.TapeError, ConfigError, DiskTrouble) as fault:
        return cannot(chosen, str(fault))
    except ModuleNotFoundError as missing:
        startup.end(startup.how_to_install([str(missing.name)], startup.OF_WORKER, startup.OF_REPLAY), CANNOT)
    except BrokenPipeError:
        sys.stderr.close()
        return CANNOT
    except Exception as fault:
        # 1 means "a difference was found": what nobody thought of must not be taken for it
        return cannot(chosen, f"{type(fault).__name__}: {fault} (unforeseen, in {place_of(fault)})")


def cannot(chosen: argparse.Namespace, words: str) -> int:
    """Say on the error stream, and as JSON where that was asked for, why it could not be done."""
    if chosen.json:
        as_json({"ok": False, "error": words})
    errors.print(words, style="red", markup=False, soft_wrap=True)
    return CANNOT


def place_of(fault: BaseException) -> str:
    """The innermost file and line of a fault."""
    last = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def keep_compiled(folder: Path) -> None:
    """Where the project cannot be written, compiled code and what figures need are kept in the data folder instead."""
    here = Path(__file__).parent
    if os.access(here, os.W_OK) or not os.access(
        next(place for place in (folder, *folder.absolute().parents) if place.exists()), os.W_OK
    ):
        return
    os.environ.setdefault("NUMBA_CACHE_DIR", str(folder.absolute() / "compiled"))
    os.environ.setdefault("MPLCONFIGDIR", str(folder.absolute() / "compiled" / "matplotlib"))


def act(chosen: argparse.Namespace) -> int:
    """Carry out a command; what it needs is imported only now."""
    match chosen.command:
        case "run":
            from replay import of_tape

            day = of_tape.day_of(chosen)
            if day is None:
                from replay import of_bars

                return of_bars.run(chosen)
            of_tape.only(chosen)
            return of_tape.run(chosen, day)
        case "verify" | "inspect":
            from replay import of_tape

            return of_tape.verify(chosen) if chosen.command == "verify" else of_tape.inspect(chosen)
        case "signals":
            from replay import of_bars, setting

            setting.check_names(list(setting.settings_of(chosen.set)), setting.READ)
            return of_bars.signals(chosen)
        case "why" | "near-misses":
            from replay import why

            return why.why(chosen) if chosen.command == "why" else why.near_misses(chosen)
        case "profile":
            from replay.files.profile import make

            return make(chosen)
        case "fetch":
            from replay.fetch import fetch

            return fetch(chosen)
        case "backtest":
            from replay.backtest import backtest

            return backtest(chosen)
        case "sweep":
            from replay.sweep import sweep

            return sweep(chosen)
        case "report":
            from replay.report import report

            return report(chosen)
        case "bench":
            from replay.bench import bench

            return bench(chosen)
    raise AssertionError(chosen.command)


if __name__ == "__main__":
    sys.exit(main())
