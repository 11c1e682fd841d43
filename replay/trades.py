"""The trades of a backtest, each with its readings and quotes, as a table for a spreadsheet.

The desk itself decides the sessions that have a trade once more, for only it knows the words and the quotes of each.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from events import Quote, Trade
from replay import paths, setting, store
from replay.paths import Result
from replay.quotes import quotes_of
from replay.show import ReplayError, progress
from replay.sweep import Try
from utils import Session, contract_name, new_york

FEW = 4  # sessions that are done before other processes have begun
READINGS = (
    "close", "vwap_60", "vwap_300", "rising_s", "volume", "volume_p95", "volume_z", "slope_pct_s", "relative_volume",
    "leadership_pp",
)  # fmt: skip
COLUMNS = (
    "date", "opened_et", "closed_et", "held_s", "contract", "ticker", "entry", "exit", "peak", "fees", "pnl", "pnl_percent", "reason",
    "detail", "quotes", "entry_bid", "entry_ask", "exit_bid", "exit_ask", *READINGS,
)  # fmt: skip


def lived(
    source: store.Source, session: Session, one: Try, span: tuple[date, date], recorded: Path | None
) -> tuple[list[Trade], str]:
    """The trades of a session by the desk, and where its quotes came from."""
    config, calendar = setting.config_of(one.settings), store.calendar_between(*span)
    day = source.day(session, calendar)
    market = quotes_of(day, config, recorded)
    return paths.live_through(config, calendar, day, one.delay_s, quotes=market).trades, market.kind


def of_sessions(
    source: store.Source,
    sessions: Sequence[Session],
    results: Sequence[Result],
    one: Try,
    recorded: dict[date, Path],
) -> list[tuple[Trade, str]]:
    """Each trade of these results in order, as the desk has it, and where its quotes came from."""
    span = (sessions[0].date, sessions[-1].date)
    traded = [session for session, result in zip(sessions, results, strict=True) if result.trades]
    tasks = (delayed(lived)(source, session, one, span, recorded.get(session.date)) for session in traded)
    told = Parallel(n_jobs=1 if len(traded) < FEW else -1, return_as="generator")(tasks)
    return [(trade, kind) for trades, kind in progress(told, "trades", len(traded)) for trade in trades]


def row_of(trade: Trade, quotes: str) -> dict[str, Any]:
    """One trade: New York times, prices and P&L in dollars of one contract, its readings as they were at the signal."""
    opened, closed = new_york(trade.opened_at), new_york(trade.closed_at)
    cells: dict[str, Any] = {
        "date": f"{opened:%Y-%m-%d}",
        "opened_et": f"{opened:%H:%M:%S}",
        "closed_et": f"{closed:%H:%M:%S}",
        "held_s": round(trade.closed_at - trade.opened_at, 1),
        "contract": contract_name(trade.contract),
        "ticker": trade.contract,
        "entry": trade.entry / 1000,
        "exit": None if trade.exit is None else trade.exit / 1000,
        "peak": trade.peak / 1000,
        "fees": trade.fees / 1000,
        "pnl": None if trade.pnl is None else trade.pnl / 1000,
        "pnl_percent": None if trade.exit is None else round((trade.exit / trade.entry - 1) * 100, 2),
        "reason": trade.reason,
        "detail": trade.detail,
        "quotes": quotes,
        **sides("entry", trade.entry_quote),
        **sides("exit", trade.exit_quote),
    }
    return cells | {name: trade.signal.get(name) for name in READINGS}


def sides(when: str, quote: Quote | None) -> dict[str, float | None]:
    bid, ask = (None, None) if quote is None else (quote.bid, quote.ask)
    return {f"{when}_bid": None if bid is None else bid / 1000, f"{when}_ask": None if ask is None else ask / 1000}


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """The rows as CSV with a header, whole or not at all. ReplayError where it cannot be written."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        fresh.replace(path)
    except OSError as fault:
        raise ReplayError(f"{path} cannot be written: {fault.strerror}") from None
