"""The commands over tapes: `verify` decides a day again and compares, `inspect` says what is on it, `run` shows its trades."""

from __future__ import annotations

from argparse import Namespace
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

import msgspec
from rich.table import Table
from rich.text import Text

import pnl_tracker
from config import Config
from disk import tape
from disk.tape import Recorded
from events import AnyEvent
from replay import head, redo
from replay.head import Head
from replay.show import DIFFERS, OK, ReplayError, as_json, console, many, named, progress, trade_row, trades_table
from utils import clock_text, signed_dollars

RECORDED = "everything as the worker recorded it on its tape: bars, chains, quotes and answers"


def files_of(chosen: Namespace, day: date) -> list[Path]:
    return tape.files_of(chosen.data_dir / "tape", day)


def day_of(chosen: Namespace) -> date | None:
    """The recorded day that is meant; None for files of bars, and for a day that was fetched and has no tape."""
    day = redo.day_of(chosen.what[0])
    if day is None or day in tape.days(chosen.data_dir / "tape"):
        return day

    from replay import store  # what brings compiled code is imported where it is needed

    fetched = store.file_of(chosen.data_dir, Config.symbol, "second", day).exists()
    return None if fetched else day


def verify(chosen: Namespace) -> int:
    """Every life of the day decided again: 0 when all agree byte for byte, 1 when one does not."""
    files = files_of(chosen, chosen.date)
    top = head_of(chosen, chosen.date, files)
    checked = [redo.check(path) for path in progress(files, "verifying")]
    agree = all(not item.differing for item in checked)
    if chosen.json:
        as_json({"ok": agree, "head": top, "date": chosen.date, "tapes": checked})
        return OK if agree else DIFFERS
    head.tell(top)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("tape", "version", "from", "to", "batches", "events", "actions", "", "then"):
        table.add_column(name, justify="right" if name in ("batches", "events", "actions") else "left", no_wrap=True)
    for item in checked:
        verdict = Text(f"{item.differing} differ", style="red") if item.differing else Text("the same", style="green")
        if item.earlier:
            verdict = Text("of an earlier version: shown, not verified", style="dim")
        counts = (f"{item.batches:,}", f"{item.events:,}", f"{item.actions:,}")
        table.add_row(
            item.file, item.version, clock_text(item.begun_at), clock_text(item.until), *counts, verdict, item.ended
        )
    console.print(table)
    for item in checked:
        if item.first_difference is not None:
            tell_difference(item.first_difference)
    return OK if agree else DIFFERS


def tell_difference(first: redo.Difference) -> None:
    """The first batch that differs, field by field."""
    console.print(Text(f"batch {first.batch}, {first.at}, of {', '.join(first.events)}:", style="bold"))
    for field in first.fields:
        console.print(Text(f"  {field.field}"))
        console.print(Text(f"    recorded  {field.recorded or '(nothing)'}", style="dim"))
        console.print(Text(f"    decided   {field.decided or '(nothing)'}"))
    if first.more:
        console.print(Text(f"  and {first.more} more fields", style="dim"))


def head_of(chosen: Namespace, day: date, files: list[Path]) -> Head:
    """The head of an answer from a day's tapes: the settings are those of its last life."""
    config = redo.head_of(files[-1]).config()
    return head.made(chosen, [day], config, [RECORDED], simulated=config.simulated)


def inspect(chosen: Namespace) -> int:
    """What is on the tapes of a day; with `--events`, the events of these kinds, a line each."""
    files = files_of(chosen, chosen.date)
    if chosen.events:
        return _lines(chosen, files, kinds_of(chosen.events))
    looks = [redo.look(path) for path in progress(files, "reading")]
    top = head_of(chosen, chosen.date, files)
    if chosen.json:
        as_json({"ok": True, "head": top, "date": chosen.date, "tapes": looks})
        return OK
    head.tell(top)
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


def kinds_of(text: str) -> frozenset[str]:
    """Names of events, parted by commas. ReplayError for one that is none."""
    known = {kind.__name__ for kind in get_args(AnyEvent)}
    kinds = frozenset(name.strip() for name in text.split(","))
    if unknown := sorted(kinds - known):
        near = get_close_matches(unknown[0], known, 1)
        raise ReplayError(f"{unknown[0]} is no kind of event" + (f"; {near[0]} is the nearest" if near else ""))
    return kinds


def _lines(chosen: Namespace, files: list[Path], kinds: frozenset[str]) -> int:
    """The events of these kinds: a line each, or one JSON document."""
    found = (
        event
        for path in files
        for record in tape.read(path)
        for event in (record.events if isinstance(record, Recorded) else ())
        if type(event).__name__ in kinds
    )
    if chosen.json:
        as_json({"ok": True, "head": head_of(chosen, chosen.date, files), "date": chosen.date, "events": list(found)})
        return OK
    for event in found:
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
    top = head_of(chosen, day, files)
    if chosen.json:
        as_json(
            {
                "ok": True,
                "head": top,
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
                "wins": record.wins,
                "losses": record.losses,
            }
        )
        return OK
    head.tell(top)
    console.print(trades_table(story.trades, f"{day}, from its tape"))
    for position, reason in story.voided:
        console.print(Text(f"{position.id} voided: {reason}", style="dim"))
    for note in story.noted:
        console.print(
            Text(f"{clock_text(note.at)} {note.kind} {named(str(note.body.get('refused') or ''))}".rstrip(), style="dim")
        )
    console.print(f"{many(record.wins, 'win')}, {many(record.losses, 'loss')}, {signed_dollars(record.balance)}")
    if differing:
        console.print(Text(f"{differing} batches were decided otherwise when they were live: see verify", style="red"))
    return OK


def only(chosen: Namespace) -> None:
    if chosen.given - {"--data-dir", "--events"} or chosen.set or len(chosen.what) > 1:
        raise ReplayError("a tape has its own SPY, profile, quotes and settings: the options are for files of bars")
