"""Many sessions under one set of rules: what it came to, how sure that is, and how far it hangs on what was assumed."""

from __future__ import annotations

from argparse import Namespace
from datetime import date
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from replay import by_desk, paths, quotes, setting, store, sweep
from replay.options import MODELLED
from replay.show import OK, as_json, console, mark_of
from replay.sweep import Try
from replay.worth import Part, Worth, equity, money, parts, worth
from utils import Session

DELAYS_S = (0.0, 2.0, 5.0)
FEES = ("0", "0.65", "1.00")
STOPS = ("10", "15", "20", "25")
SPREADS = ("3", "4", "6", "8")


def variants(settings: dict[str, str], delay_s: float) -> dict[str, list[Try]]:
    """What is varied, one thing at a time."""
    return {
        "fill": [Try(settings, fill, delay_s) for fill in setting.FILLS],
        "fee each way": [Try({**settings, "FEE_PER_CONTRACT": fee}, delay_s=delay_s) for fee in FEES],
        "stop loss %": [Try({**settings, "STOP_LOSS_PERCENT": stop}, delay_s=delay_s) for stop in STOPS],
        "widest spread %": [Try({**settings, "MAX_SPREAD_PERCENT": spread}, delay_s=delay_s) for spread in SPREADS],
        "feed delay": [Try(settings, delay_s=delay) for delay in DELAYS_S],
    }


def name_of(kind: str, one: Try) -> str:
    match kind:
        case "fill":
            return one.fill
        case "feed delay":
            return f"{one.delay_s:g} s"
        case "fee each way":
            return f"${one.settings['FEE_PER_CONTRACT']}"
        case "stop loss %":
            return one.settings["STOP_LOSS_PERCENT"]
    return one.settings["MAX_SPREAD_PERCENT"]


def measured(chosen: Namespace) -> dict[str, Any]:
    """The whole of a backtest, as the document that `--json` prints and a report draws."""
    source = chosen.source(chosen)
    settings = setting.settings_of(chosen.set)
    _, sessions = store.sessions(source, chosen.first, chosen.last)
    base = Try(settings, delay_s=chosen.delay)
    varied = variants(settings, chosen.delay)
    tries = [base, *(one for group in varied.values() for one in group)]
    recorded = quotes.recorded_of(source, sessions, chosen.options)
    rows, assumed = decided(source, sessions, tries, recorded, chosen.cluster)
    if chosen.desk:
        told = [done.results[0] for done in by_desk.results(source, sessions, [base], recorded, chosen.cluster)]
    else:
        told = [row[0] for row in rows]
    trades = [trade for result in told for trade in result.trades]
    found = worth(trades, len(sessions), sum(len(result.signals) for result in told))
    sensitivity: dict[str, dict[str, Worth]] = {}
    which = 1
    for kind, group in varied.items():
        sensitivity[kind] = {}
        for one in group:
            sensitivity[kind][name_of(kind, one)] = sweep.worth_of(rows, which)
            which += 1
    return {
        "ok": True,
        "sessions": [session.date for session in sessions],
        "modelled": [*source.words, *assumed, f"bars taken to arrive {chosen.delay:g} s after their end"],
        "decided_by": "desk" if chosen.desk or len(recorded) == len(sessions) else "compiled path",
        "sessions_of_recorded_quotes": len(recorded),
        "settings": settings,
        "worth": found,
        "equity": equity(trades),
        "trades": [trade._asdict() for trade in trades],
        "by_quotes": parts(trades, lambda trade: trade.quotes),
        "sensitivity": sensitivity,
    }


def decided(
    source: store.Source, sessions: list[Session], tries: list[Try], recorded: dict[date, Path], address: str | None
) -> tuple[list[list[paths.Result]], list[str]]:
    """Each session under each try, and what is assumed of the quotes: recorded ones are the desk's, the rest the compiled path's."""
    by_model = [session for session in sessions if session.date not in recorded]
    by_record = [session for session in sessions if session.date in recorded]
    fast = sweep.results(source, by_model, tries, address) if by_model else []
    slow = by_desk.results(source, by_record, tries, recorded, address)
    rows = {session.date: row for session, row in zip(by_model, fast, strict=True)}
    rows |= {session.date: done.results for session, done in zip(by_record, slow, strict=True)}
    words = quotes.counted([*([MODELLED] for _ in by_model), *(done.assumed for done in slow)])
    return [rows[session.date] for session in sessions], [*words, by_desk.OTHER_FILLS] if slow else words


def backtest(chosen: Namespace) -> int:
    told = measured(chosen)
    if chosen.json:
        as_json(told)
        return OK
    found: Worth = told["worth"]
    days: list[date] = told["sessions"]
    for words in told["modelled"]:
        console.print(Text(f"{mark_of(words)}  {words}", style="yellow"))
    console.print(Text(f"{days[0]}…{days[-1]}: {found.sessions} sessions, {found.signals} signals", style="bold"))
    tell_worth(found)
    groups = [("exit", found.by_reason), ("hour", found.by_hour), ("weekday", found.by_weekday)]
    for title, group in [*groups, ("quotes", told["by_quotes"])]:
        console.print(parts_table(title, group))
    for kind, group in told["sensitivity"].items():
        table = Table(title=f"if {kind} were", title_justify="left", box=None, header_style="dim", pad_edge=False)
        for name in ("", "P&L", "trades", "win rate", "95 %", "expectancy", "drawdown"):
            table.add_column(name, justify="right" if name else "left")
        for name, value in group.items():
            table.add_row(name, *sweep.figures(value))
        console.print(table)
    return OK


def tell_worth(found: Worth) -> None:
    if found.win_rate is None or found.win_rate_low is None or found.win_rate_high is None or found.expectancy is None:
        console.print("no trade")
        return
    console.print(
        f"{found.trades} trades, {found.wins}W-{found.losses}L: win rate {found.win_rate:.1%}"
        f" (95 %: {found.win_rate_low:.1%} to {found.win_rate_high:.1%})"
    )
    error = "" if found.expectancy_error is None else f" ± {found.expectancy_error:,.2f} (standard error)"
    factor = "none lost" if found.profit_factor is None else f"{found.profit_factor:.2f}"
    console.print(f"P&L {money(found.pnl)}, expectancy {money(found.expectancy)}{error} a trade, profit factor {factor}")
    console.print(
        f"best {money(found.best)}, worst {money(found.worst)}, worst drawdown ${found.drawdown:,.2f},"
        f" held {found.mean_hold_s or 0:,.0f} s on average"
    )


def parts_table(title: str, group: dict[str, Part]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column(f"by {title}", min_width=18)
    for name in ("trades", "wins", "P&L"):
        table.add_column(name, justify="right")
    for name, part in group.items():
        table.add_row(name, str(part.trades), str(part.wins), f"{money(part.pnl)}")
    return table
