"""The commands over tapes: `verify` decides a day again and compares, `inspect` says what is on it, `run` shows its trades."""

from __future__ import annotations

from argparse import Namespace
from datetime import date
from pathlib import Path

import msgspec
from rich.table import Table
from rich.text import Text

import pnl_tracker
from config import Config
from disk import tape
from disk.tape import Recorded
from replay import redo, store
from replay.show import DIFFERS, OK, ReplayError, as_json, console, progress, trade_row, trades_table
from utils import clock_text, signed_dollars


def files_of(chosen: Namespace, day: date) -> list[Path]:
    return tape.files_of(chosen.data_dir / "tape", day)


def day_of(chosen: Namespace) -> date | None:
    """The recorded day that is meant; None for files of bars, and for a day that was fetched and has no tape."""
    day = redo.day_of(chosen.what[0])
    if day is None or day in tape.days(chosen.data_dir / "tape"):
        return day
    fetched = store.file_of(chosen.data_dir, Config.symbol, "second", day).exists()
    return None if fetched else day


def verify(chosen: Namespace) -> int:
    """Every life of the day decided again: 0 when all agree byte for byte, 1 when one does not."""
    checked = [redo.check(path) for path in progress(files_of(chosen, chosen.date), "verifying")]
    agree = all(not item.differing for item in checked)
    if chosen.json:
        as_json({"ok": agree, "date": chosen.date, "tapes": checked})
        return OK if agree else DIFFERS
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("tape", "version", "from", "to", "batches", "events", "actions", "", "then"):
        table.add_column(name, justify="right" if name in ("batches", "events", "actions") else "left", no_wrap=True)
    for item in checked:
        verdict = Text(f"{item.differing} differ", style="red") if item.differing else Text("the same", style="green")
        counts = (f"{item.batches:,}", f"{item.events:,}", f"{item.actions:,}")
        table.add_row(
            item.file, item.version, clock_text(item.begun_at), clock_text(item.until), *counts, verdict, item.ended
        )
    console.print(table)
    for item in checked:
        for name, text in (item.first_difference or {}).items():
            console.print(Text(f"{name:>9}  {text}"))
    return OK if agree else DIFFERS


def inspect(chosen: Namespace) -> int:
    """What is on the tapes of a day; with `--events`, the events of these kinds, a line each."""
    files = files_of(chosen, chosen.date)
    if chosen.events:
        return _lines(files, frozenset(chosen.events.split(",")))
    looks = [redo.look(path) for path in progress(files, "reading")]
    if chosen.json:
        as_json({"ok": True, "date": chosen.date, "tapes": looks})
        return OK
    for look in looks:
        console.print(Text(look.file, style="bold"), Text(f"{look.bytes / 1e6:.2f} MB, version {look.version}", style="dim"))
        console.print(
            f"  {clock_text(look.begun_at)}-{clock_text(look.until)} ET, {look.batches:,} batches; then: {look.ended}"
        )
        for name, count in look.events.items():
            console.print(f"  {count:>9,}  {name}")
        if look.raised:
            console.print(Text(f"  {look.raised} batches could not be decided", style="red"))
        for name, text in look.settings.items():
            console.print(Text(f"  {name}={text}", style="dim"))
    return OK


def _lines(files: list[Path], kinds: frozenset[str]) -> int:
    """Events as JSON lines, whether for people or machines."""
    for path in files:
        for record in tape.read(path):
            for event in record.events if isinstance(record, Recorded) else ():
                if type(event).__name__ in kinds:
                    print(f"{clock_text(event.at)} {msgspec.json.encode(event).decode()}")
    return OK


def run(chosen: Namespace, day: date) -> int:
    """The day's trades as the desk decides them from its tape."""
    story = redo.Story()
    differing = 0
    files = files_of(chosen, day)
    for path in progress(files, "replaying"):
        for done in redo.redo(path):
            story.take(done.actions)
            differing += not done.agrees
    record = pnl_tracker.fold(story.trades)
    if chosen.json:
        as_json(
            {
                "ok": True,
                "date": day,
                "source": "tape",
                "modelled": [],
                "agrees": not differing,
                "signals": len(signals := [note for note in story.noted if note.kind == "signal"]),
                "refused": [
                    {"at": note.at, "et": clock_text(note.at), **note.body} for note in signals if note.body["refused"]
                ],
                "trades": [trade_row(trade) for trade in story.trades],
                "voided": [{"id": position.id, "reason": reason} for position, reason in story.voided],
                "pnl": record.balance / 1000,
            }
        )
        return OK
    console.print(trades_table(story.trades, f"{day}, from its tape"))
    for position, reason in story.voided:
        console.print(Text(f"{position.id} voided: {reason}", style="dim"))
    for note in story.noted:
        console.print(Text(f"{clock_text(note.at)} {note.kind} {note.body.get('refused') or ''}".rstrip(), style="dim"))
    console.print(f"{record.wins}W-{record.losses}L, {signed_dollars(record.balance)}")
    if differing:
        console.print(Text(f"{differing} batches were decided otherwise when they were live: see verify", style="red"))
    return OK


def only(chosen: Namespace) -> None:
    if chosen.spy or chosen.profile or chosen.options or chosen.set or chosen.delay or len(chosen.what) > 1:
        raise ReplayError("a tape has its own SPY, profile, quotes and settings: the options are for files of bars")
