"""What a command says: a table for people, one JSON document for machines, progress on the error stream."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from events import Trade
from utils import clock_text, contract_name, dollars, new_york, signed_dollars

T = TypeVar("T")

console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
errors = Console(stderr=True, highlight=False)

OK, DIFFERS, CANNOT = 0, 1, 2


class ReplayError(Exception):
    """What was asked for cannot be done; the message says why."""


def as_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value, enc_hook=str, order="deterministic")).decode() + "\n")


def progress(items: Sequence[T] | Iterable[T], words: str, total: int | None = None) -> Iterator[T]:
    """Go through `items` with a bar on the error stream, shown once it takes longer than a second on a terminal."""
    with bar(words, len(items) if isinstance(items, Sequence) else total) as (display, task):
        for item in items:
            yield item
            display.advance(task)


class bar:
    """`with bar(words, total) as (display, task)`: a progress bar that clears itself; nothing where nobody looks."""

    def __init__(self, words: str, total: int | None) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.display = Progress(
            *columns, console=errors, transient=True, disable=not errors.is_terminal, refresh_per_second=4
        )
        self.task = self.display.add_task(words, total=total)

    def __enter__(self) -> tuple[Progress, Any]:
        self.display.start()
        return self.display, self.task

    def __exit__(self, *_: object) -> None:
        self.display.stop()


MARKS = (
    ("everything as the worker recorded it", "RECORDED"),
    ("option quotes recorded", "RECORDED"),
    ("option quotes modelled", "MODELLED"),
    ("the market was a simulator's", "SIMULATED"),
    ("rows of ", "READ"),
)


def mark_of(words: str) -> str:
    """The word before a sentence of the head: what was modelled, assumed or made up is not taken for what was recorded."""
    found = next((mark for beginning, mark in MARKS if words.startswith(beginning)), None)
    return found or ("MADE UP" if "made up" in words else "ASSUMED")


def named(text: str) -> str:
    """A sentence with the names of its contracts in place of their tickers."""
    return re.sub(r"O:[A-Z]{1,6}\d{6}[CP]\d{8}", lambda ticker: contract_name(ticker[0]), text)


def many(count: int, word: str) -> str:
    """`1 win`, `2 wins`, `0 losses`."""
    plural = f"{word}es" if word.endswith("s") else f"{word}s"
    return f"{count:,} {word if count == 1 else plural}"


def trades_table(trades: Sequence[Trade], title: str, quotes: Sequence[str] = ()) -> Table:
    """The trades, and of each where its quotes came from, where that is given."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for name in ("day", "contract", "bought", "sold"):
        table.add_column(name, no_wrap=True)
    for name in ("entry", "peak", "exit", "P&L"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why")
    if quotes:
        table.add_column("quotes", no_wrap=True)
    for place, trade in enumerate(trades):
        style = "" if not trade.pnl else "green" if trade.pnl > 0 else "red"
        table.add_row(
            f"{new_york(trade.opened_at):%Y-%m-%d}",
            Text.assemble(contract_name(trade.contract), (f" {trade.contract}", "dim")),
            clock_text(trade.opened_at),
            clock_text(trade.closed_at),
            dollars(trade.entry, 2),
            dollars(trade.peak, 3),
            "?" if trade.exit is None else dollars(trade.exit, 2),
            "unresolved" if trade.pnl is None else signed_dollars(trade.pnl),
            trade.detail,
            *quotes[place : place + 1],
            style=style,
        )
    return table


def trade_row(trade: Trade) -> dict[str, Any]:
    """A trade for machines: prices and P&L in dollars, times in Unix seconds and New York time."""
    return {
        "id": trade.id,
        "contract": trade.contract,
        "name": contract_name(trade.contract),
        "opened_at": trade.opened_at,
        "opened_et": clock_text(trade.opened_at),
        "closed_at": trade.closed_at,
        "closed_et": clock_text(trade.closed_at),
        "entry": trade.entry / 1000,
        "exit": None if trade.exit is None else trade.exit / 1000,
        "peak": trade.peak / 1000,
        "pnl": None if trade.pnl is None else trade.pnl / 1000,
        "reason": trade.reason,
        "detail": trade.detail,
        "stale": trade.stale,
    }
