"""Many settings over many sessions, on all cores or on a cluster; and what the best in sample is worth out of sample.

A task is one session under every setting: it loads its session where it runs, so that no bar travels and memory stays small. The
compiled path lets go of the interpreter's lock, so threads are enough on one machine. On a cluster the workers need this project
and, for a store, the same folder.
"""

from __future__ import annotations

import ctypes
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import date
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path
from socket import create_connection
from typing import Any, NamedTuple

import msgspec
from joblib import Parallel, delayed, parallel_config
from rich.table import Table
from rich.text import Text

from config import Config
from replay import head, kernel, options, paths, setting, store
from replay.show import OK, ReplayError, as_json, console, progress
from replay.worth import Worth, money, worth
from utils import Session

GRID_MAX = 20_000
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
FOLDS = 4


class Try(NamedTuple):
    """One thing to try: settings, how fills are assumed, how late bars come; `seed` of the modelled quotes, None: the source's."""

    settings: dict[str, str]
    fill: str = "as ruled"
    delay_s: float = 0.0
    seed: int | None = None

    @property
    def name(self) -> str:
        parts = [f"{name}={value}" for name, value in self.settings.items()]
        if self.fill != "as ruled":
            parts.append(f"fill {self.fill}")
        if self.delay_s:
            parts.append(f"bars {self.delay_s:g} s late")
        if self.seed is not None:
            parts.append(f"quotes of seed {self.seed}")
        return " ".join(parts) or "defaults"


class Prepared(NamedTuple):
    config: Config
    rules: kernel.Rules
    delay_s: float
    seed: int | None


def prepared(tries: Sequence[Try]) -> list[Prepared]:
    """Every try's settings, checked before anything runs; once in a process."""
    return _prepared(msgspec.json.encode(tries))


@lru_cache(maxsize=4)
def _prepared(tries: bytes) -> list[Prepared]:
    found = []
    for one in msgspec.json.decode(tries, type=list[Try]):
        config = setting.config_of(one.settings)
        found.append(Prepared(config, setting.rules_of(config, one.fill), one.delay_s, one.seed))
    return found


def of_session(source: store.Source, session: Session, tries: Sequence[Try], span: tuple[date, date]) -> list[paths.Result]:
    """One session under every try."""
    day = source.day(session, store.calendar_between(*span))
    ready = {delay_s: paths.ready(day, delay_s) for delay_s in {one.delay_s for one in tries}}
    first = float(day.own.open[0])
    seeds = {one.seed for one in tries}
    chains = {seed: options.chain_of(day.seed if seed is None else seed, session, first) for seed in seeds}
    prices = (first, float(day.own.close[-1]))
    return [
        paths.fast(one.config, ready[one.delay_s]._replace(chain=chains[one.seed]), one.rules)._replace(prices=prices)
        for one in prepared(tries)
    ]


@contextmanager
def cluster(address: str | None) -> Iterator[AbstractContextManager[object]]:
    """Where the tasks run: this machine's threads, or a Dask or Ray cluster by its address."""
    if address is None:
        yield parallel_config(backend="threading", n_jobs=-1)
        return
    kind, _, where = address.partition("://")
    if kind == "dask":
        try:
            from distributed import Client

            client: Any = Client(f"tcp://{where}", timeout=10)  # type: ignore[no-untyped-call]
        except (ImportError, OSError, TimeoutError, ValueError) as fault:
            raise ReplayError(f"the cluster {address} cannot be reached: {fault}") from None
        with client:
            yield parallel_config(backend="dask", wait_for_workers_timeout=10)
    elif kind == "ray":
        with ray_cluster(address):
            yield parallel_config(backend="ray", n_jobs=-1)
    else:
        raise ReplayError(f"{address} is no cluster: dask://host:port or ray://host:port")


@contextmanager
def ray_cluster(address: str) -> Iterator[None]:
    """Ray's client on a cluster, and its backend known to joblib."""
    try:
        import ray  # type: ignore[import-not-found, unused-ignore]
        from ray.util.joblib import register_ray  # type: ignore[import-not-found, unused-ignore]

        host, _, port = address.removeprefix("ray://").rpartition(":")
        create_connection((host, int(port)), 10).close()  # Ray itself would wait for half a minute
        ray.init(address, log_to_driver=False, logging_level="warning")
    except ImportError:
        raise ReplayError(
            "a Ray cluster needs Ray's client, of the cluster's version: pip install \"ray[client]\""
        ) from None
    except (OSError, RuntimeError, ValueError) as fault:
        lines = str(fault).strip().splitlines() or [type(fault).__name__]  # the server's traceback may be among them
        raise ReplayError(f"the cluster {address} cannot be reached: {lines[-1]}") from None
    try:
        register_ray()
        yield
    finally:
        ray.shutdown()


def gathered(tasks: Iterable[Any], address: str | None, words: str, total: int) -> list[Any]:
    """What the tasks give, in their order; Ray's backend gives it all at once, the others one by one."""
    whole = address is not None and address.startswith("ray://")
    done = Parallel(return_as="list" if whole else "generator")(tasks)
    return list(progress(done, words, total))


def keep_memory() -> None:
    """Have the C library keep the memory of one session's arrays for the next: the pages come anew under a lock of all threads."""
    with suppress(OSError, AttributeError):  # what is not glibc has its own ways
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, 256 << 20)


def results(
    source: store.Source, sessions: Sequence[Session], tries: Sequence[Try], address: str | None = None
) -> list[list[paths.Result]]:
    """The result of each session (outer) under each try (inner)."""
    prepared(tries)
    keep_memory()
    with cluster(address) as where, where:
        span = (sessions[0].date, sessions[-1].date)
        tasks = (delayed(of_session)(source, session, tries, span) for session in sessions)
        return gathered(tasks, address, f"{len(tries)} settings", len(sessions))


# --- the grid ----------------------------------------------------------------------------------------------------------


def grid_of(path: Path, base: Try, *, delay_given: bool = False) -> list[Try]:
    """Every combination of a JSON object of lists over `base`: `{"STOP_LOSS_PERCENT": [10, 15], "FILL": ["mid"], "DELAY": [0, 2]}`.

    ReplayError names what is no list, no setting of a sweep, or said twice.
    """
    try:
        given = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str | int | float | bool]])
    except OSError as fault:
        raise ReplayError(f"{path} cannot be read: {fault.strerror}") from None
    except msgspec.MsgspecError as fault:
        raise ReplayError(f"{path} is no grid (a JSON object of lists): {fault}") from None
    if empty := [name for name, values in given.items() if not values]:
        raise ReplayError(f"{path}: {empty[0]} has no value")
    setting.check_names([name for name in given if name not in ("FILL", "DELAY")])
    if twice := [name for name in given if name in base.settings]:
        raise ReplayError(f"{twice[0]} is given by --set and by the grid: one of them")
    if "DELAY" in given and delay_given:
        raise ReplayError("DELAY is given by --delay and by the grid: one of them")
    found = []
    for values in product(*given.values()):
        chosen = dict(zip(given, map(text_of, values), strict=True))
        fill, delay = chosen.pop("FILL", base.fill), delay_of(chosen.pop("DELAY", None), base.delay_s)
        if fill not in setting.FILLS:
            raise ReplayError(f"FILL {fill} is none of {', '.join(setting.FILLS)}")
        found.append(Try(base.settings | chosen, fill, delay))
        if len(found) > GRID_MAX:
            raise ReplayError(f"the grid has more than {GRID_MAX:,} settings")
    return found


def delay_of(text: str | None, otherwise: float) -> float:
    """Seconds from a bar's end to its arrival; ReplayError unless from 0 to 60."""
    try:
        delay = otherwise if text is None else float(text)
    except ValueError:
        delay = -1.0
    if not 0 <= delay <= 60:
        raise ReplayError(f"DELAY {text} is no number of seconds from 0 to 60")
    return delay


def text_of(value: str | int | float | bool) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


# --- in sample, out of sample ------------------------------------------------------------------------------------------


class Fold(msgspec.Struct, frozen=True):
    """Sessions to choose by, and the later ones that the choice had not seen."""

    chosen_on: tuple[date, date]
    judged_on: tuple[date, date]
    setting: str
    in_sample: Worth
    out_of_sample: Worth


def worth_of(rows: Sequence[Sequence[paths.Result]], which: int) -> Worth:
    trades = [trade for row in rows for trade in row[which].trades]
    return worth(trades, len(rows), sum(len(row[which].signals) for row in rows))


def best_of(rows: Sequence[Sequence[paths.Result]], count: int) -> int:
    """The try with the most P&L; of equals, the first."""
    totals = [sum(trade.pnl for row in rows for trade in row[which].trades) for which in range(count)]
    return totals.index(max(totals))


def cuts_of(sessions: int) -> list[tuple[int, int]]:
    """Where sessions are cut: choose on all before the first number, judge on those up to the second."""
    count = min(FOLDS, sessions - 1)
    return list(pairwise(round(sessions * (k + 1) / (count + 1)) for k in range(count + 1))) if count > 0 else []


def walk_forward(sessions: Sequence[Session], rows: Sequence[Sequence[paths.Result]], tries: Sequence[Try]) -> list[Fold]:
    """Choose on all sessions before a cut, judge on those up to the next: never on what the choice has seen."""
    folds = []
    for cut, end in cuts_of(len(sessions)):
        best = best_of(rows[:cut], len(tries))
        folds.append(
            Fold(
                (sessions[0].date, sessions[cut - 1].date),
                (sessions[cut].date, sessions[end - 1].date),
                tries[best].name,
                worth_of(rows[:cut], best),
                worth_of(rows[cut:end], best),
            )
        )
    return folds


def out_of_sample(rows: Sequence[Sequence[paths.Result]], count: int) -> Worth | None:
    """All parts that walk-forward judged, together: the best of each choice on the sessions it had not seen. None without a part."""
    judged = []
    for cut, end in cuts_of(len(rows)):
        best = best_of(rows[:cut], count)
        judged += [[row[best]] for row in rows[cut:end]]
    return worth_of(judged, 0) if judged else None


def warning(tries: int, trades: int) -> str:
    return (
        f"{tries} settings were tried on {trades} trades of the best: the best of many looks good by luck alone;"
        " only its result out of sample is a measurement"
    )


def sweep(chosen: Namespace) -> int:
    """Every setting of the grid, the best ones first, and walk-forward. A row is the backtest of the same settings."""
    from replay.backtest import decided
    from replay.quotes import recorded_of

    source = chosen.source(chosen)
    base = Try(setting.settings_of(chosen.set), delay_s=chosen.delay)
    tries = grid_of(chosen.grid, base, delay_given="--delay" in chosen.given)
    _, sessions = store.sessions(source, chosen.first, chosen.last)
    rows, assumed = decided(source, sessions, tries, recorded_of(source, sessions, chosen.options), chosen.cluster)
    every = sorted(
        ((one, worth_of(rows, which)) for which, one in enumerate(tries)), key=lambda item: item[1].pnl, reverse=True
    )
    folds, judged = walk_forward(sessions, rows, tries), out_of_sample(rows, len(tries))
    told = warning(len(tries), every[0][1].trades)
    top = head.of_sessions(chosen, source, sessions, setting.config_of(base.settings), assumed)
    if chosen.json:
        shown = every[: chosen.top] if "--top" in chosen.given else every
        document: dict[str, Any] = {
            "ok": True,
            "head": top,
            "modelled": top.words,
            "warning": told,
            "sessions": len(sessions),
            "settings": [{"setting": one._asdict(), "worth": value} for one, value in shown],
            "walk_forward": folds,
            "out_of_sample": judged,
        }
        as_json(document)
        return OK
    head.tell(top)
    table = Table(
        title=f"{len(tries)} settings, {len(sessions)} sessions", title_justify="left", box=None, header_style="dim"
    )
    for name in ("P&L", "trades", "win rate", "95 %", "expectancy", "max drawdown", "setting"):
        table.add_column(name, justify="left" if name == "setting" else "right", no_wrap=name != "setting")
    for one, value in every[: chosen.top]:
        table.add_row(*figures(value), one.name)
    console.print(table)
    tell_walk(folds, judged)
    console.print(Text(told, style="bold yellow"))
    return OK


def tell_walk(folds: Sequence[Fold], judged: Worth | None) -> None:
    """Walk-forward: a line for each part, and what all parts out of sample came to."""
    for fold in folds:
        console.print(
            f"chosen on {fold.chosen_on[0]}…{fold.chosen_on[1]} ({money(fold.in_sample.pnl)}), judged on"
            f" {fold.judged_on[0]}…{fold.judged_on[1]}: {money(fold.out_of_sample.pnl)} of {fold.out_of_sample.trades} trades"
            f"  {fold.setting}"
        )
    if judged is not None:
        rate = "" if judged.win_rate is None else f", win rate {judged.win_rate:.1%}, expectancy {money(judged.expectancy)}"
        console.print(
            f"out of sample in all: {money(judged.pnl)} of {judged.trades} trades in {judged.sessions} sessions{rate},"
            f" max drawdown ${judged.drawdown:,.2f}",
            style="bold",
        )


def figures(value: Worth) -> tuple[str, ...]:
    """P&L, trades, win rate, its interval, expectancy, drawdown as texts."""
    if value.win_rate is None or value.win_rate_low is None or value.win_rate_high is None:
        return (f"{money(value.pnl)}", "0", "", "", "", "")
    return (
        f"{money(value.pnl)}",
        str(value.trades),
        f"{value.win_rate:.0%}",
        f"{value.win_rate_low:.0%}-{value.win_rate_high:.0%}",
        f"{money(value.expectancy or 0)}",
        f"${value.drawdown:,.2f}",
    )
