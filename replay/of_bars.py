"""The commands over files of second bars: `run` lives through their sessions, `signals` tells every second's readings.

The bars are taken for those of the traded symbol, whatever the file calls them. What is modelled or assumed stands in the head of
every answer.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.text import Text

import pnl_tracker
from config import Config
from events import Bar, Noted, Trade
from replay import head, paths, redo, setting, store
from replay.bars import NS
from replay.files.bars import Account
from replay.files.profile import profile
from replay.head import Head
from replay.quotes import assumed_of, quotes_of, recorded_of
from replay.show import OK, ReplayError, as_json, console, many, mark_of, named, progress, trade_row, trades_table
from replay.world import Options
from signals import Reading, Windows
from utils import Session, SessionCalendar, clock_text, signed_dollars


@dataclass(frozen=True)
class Given:
    """What the command line gives: settings, sessions with their bars, and where the option quotes come from."""

    config: Config
    calendar: SessionCalendar
    source: store.Source
    sessions: list[Session]
    recorded: dict[date, Path]
    delay_s: float

    @cached_property
    def days(self) -> list[paths.SessionBars]:
        """The bars of each session."""
        return [self.source.day(session, self.calendar) for session in self.sessions]

    @cached_property
    def markets(self) -> list[Options]:
        """The option quotes of each session."""
        return [quotes_of(day, self.config, self.recorded.get(day.session.date)) for day in self.days]

    @property
    def assumed(self) -> list[str]:
        """What of the result is modelled or assumed, and what was read, in words."""
        return [*assumed_of(self.markets), f"bars taken to arrive {self.delay_s:g} s after their end", *self.source.words]

    @property
    def accounts(self) -> list[Account]:
        """What became of every row of the files of bars."""
        return self.source.accounts if isinstance(self.source, store.Filed) else []


def given(chosen: Namespace) -> Given:
    """The sessions of the files. ReplayError where a file cannot be used."""
    if day := redo.day_of(chosen.what[0]):
        return of_store(chosen, day)
    config = setting.config_of(setting.settings_of(chosen.set))
    minutes = profile(chosen.profile) if chosen.profile else None
    source = store.Filed(tuple(Path(name) for name in chosen.what), chosen.spy, minutes, chosen.seed)
    dates = source.session_dates(date.min, date.max)
    calendar, sessions = store.sessions(source, dates[0], dates[-1])
    return Given(config, calendar, source, sessions, recorded_of(source, sessions, chosen.options), chosen.delay)


def of_store(chosen: Namespace, day: date) -> Given:
    """A session that was fetched."""
    if chosen.spy or len(chosen.what) > 1:
        raise ReplayError("a day of the store is one day, with the SPY of the store")
    config = setting.config_of(setting.settings_of(chosen.set))
    minutes = profile(chosen.profile) if chosen.profile else None
    source = store.Stored(chosen.data_dir, config.symbol, config.leader, minutes, chosen.seed)
    calendar, sessions = store.sessions(source, day, day)
    return Given(config, calendar, source, sessions, recorded_of(source, sessions, chosen.options), chosen.delay)


def run(chosen: Namespace) -> int:
    """The trades of the sessions, by the desk that runs live."""
    known = given(chosen)
    trades: list[Trade] = []
    quotes: list[str] = []
    noted: list[Noted] = []
    for day, market in zip(progress(known.days, "replaying"), known.markets, strict=True):
        sat = paths.live_through(known.config, known.calendar, day, known.delay_s, quotes=market)
        trades += sat.trades
        quotes += [market.kind] * len(sat.trades)
        noted += sat.noted
    record = pnl_tracker.fold(trades)
    signals = [note for note in noted if note.kind == "signal"]
    top = head_of(chosen, known)
    if chosen.json:
        as_json(
            {
                "ok": True,
                "head": top,
                "source": "files",
                "sessions": [day.session.date for day in known.days],
                "files": known.accounts,
                "bars": sum(len(day.own) for day in known.days),
                "modelled": top.words,
                "settings": known.config.non_defaults(),
                "signals": len(signals),
                "refused": [
                    {"at": note.at, "et": clock_text(note.at), "why": note.body["refused"]} for note in refused(noted)
                ],
                "trades": [trade_row(trade) | {"quotes": kind} for trade, kind in zip(trades, quotes, strict=True)],
                "pnl": record.balance / 1000,
                "wins": record.wins,
                "losses": record.losses,
            }
        )
        return OK
    head.tell(top)
    console.print(trades_table(trades, f"{known.days[0].session.date}…{known.days[-1].session.date}", quotes))
    for note in refused(noted):
        console.print(Text(f"{clock_text(note.at)} {note.kind}: {named(str(note.body['refused']))}", style="dim"))
    counts = (many(len(signals), "signal"), many(record.wins, "win"), many(record.losses, "loss"))
    console.print(f"{', '.join(counts)}, {signed_dollars(record.balance)}")
    return OK


def refused(noted: list[Noted]) -> list[Noted]:
    """The signals and near misses that led to no entry."""
    return [note for note in noted if note.kind in ("signal", "near miss") and note.body.get("refused")]


def head_of(chosen: Namespace, known: Given) -> Head:
    """The head of an answer about these sessions."""
    days = [day.session.date for day in known.days]
    return head.made(chosen, days, known.config, known.assumed, seeds=head.seeds_of(chosen, known.assumed))


# --- every second's readings -------------------------------------------------------------------------------------------

COLUMNS = (
    "timestamp_ns_utc", "close", "vwap_60", "vwap_300", "rising_s", "volume_p95", "volume_z", "slope_pct_s", "relative_volume",
    "leadership_pp", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "signal",
)  # fmt: skip


def readings(config: Config, day: paths.SessionBars) -> Iterator[Reading]:
    """The desk's reading at every bar of a session, in order."""
    windows = Windows(config, day.session, day.profile)
    if day.premarket:
        windows.add(Bar(config.symbol, day.session.open_at - 1, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0))
    leaders = day.leader.bars(config.leader)
    ahead = next(leaders, None)
    for bar in day.own.bars(config.symbol):
        while ahead is not None and ahead.start <= bar.start:
            windows.leader.add(ahead)
            ahead = next(leaders, None)
        if windows.add(bar) == "new" and (reading := windows.reading()) is not None:
            yield reading


def row_of(reading: Reading, day: paths.SessionBars, *, only_momentum: bool) -> tuple[float | int | None, ...]:
    """A line of the table; a condition that was not asked, or has no input at all, is None."""
    lacks = {6: day.profile is None or only_momentum, 7: not len(day.leader) or only_momentum}
    gates = [None if gate.off or lacks.get(gate.number) else int(gate.ok) for gate in reading.gates]
    return (
        reading.start * NS,
        reading.close,
        reading.vwap_60,
        reading.vwap_300,
        reading.rising_s,
        reading.volume_p95,
        reading.volume_z,
        reading.slope_pct_s,
        reading.relative_volume,
        reading.leadership_pp,
        *gates,
        int(reading.momentum if only_momentum else reading.signal),
    )


def signals(chosen: Namespace) -> int:
    """The table of every second's readings, as CSV or Parquet."""
    import polars

    chosen.options, chosen.seed, chosen.delay = None, 1, 0.0
    known = given(chosen)
    total = sum(len(day.own) for day in known.days)
    seconds = ((reading, day) for day in known.days for reading in readings(known.config, day))
    rows = [row_of(reading, day, only_momentum=chosen.only_momentum) for reading, day in progress(seconds, "reading", total)]
    whole = {"timestamp_ns_utc", "rising_s", "signal", *(f"c{k}" for k in range(1, 8))}
    schema: dict[str, Any] = {name: polars.Int64 if name in whole else polars.Float64 for name in COLUMNS}
    table = polars.DataFrame(rows, schema=schema, orient="row")
    try:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        if chosen.out.suffix == ".parquet":
            table.write_parquet(chosen.out)
        else:
            table.write_csv(chosen.out)
    except OSError as fault:
        raise ReplayError(f"{chosen.out} cannot be written: {fault.strerror}") from None
    held = int(table["signal"].sum())
    if chosen.json:
        as_json(
            {
                "ok": True,
                "out": chosen.out,
                "rows": len(table),
                "signals": held,
                "files": known.accounts,
                "read": known.source.words,
                "settings": known.config.non_defaults(),
            }
        )
    else:
        for words in known.source.words:
            console.print(Text(f"{mark_of(words)}  {words}", style="yellow"))
        console.print(f"{len(table):,} seconds, {held} of them signals: {chosen.out}")
    return OK
