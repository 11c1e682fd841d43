"""Many sessions under one set of rules: what it came to, how sure that is, and how far it hangs on what was assumed."""

from __future__ import annotations

from argparse import Namespace
from datetime import date
from typing import Any

from rich.table import Table
from rich.text import Text

from replay import paths, setting, store, sweep
from replay.options import MODELLED
from replay.show import OK, as_json, console, progress
from replay.sweep import Try
from replay.worth import Part, Worth, equity, money, worth

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


def by_desk(source: store.Source, chosen: Namespace, settings: dict[str, str]) -> list[paths.Result]:
    """The desk itself, session by session."""
    calendar, sessions = store.sessions(source, chosen.first, chosen.last)
    config = setting.config_of(settings)
    return [
        paths.result_of(paths.live_through(config, calendar, source.day(session, calendar), chosen.delay))
        for session in progress(sessions, "the desk")
    ]


def measured(chosen: Namespace) -> dict[str, Any]:
    """The whole of a backtest, as the document that `--json` prints and a report draws."""
    source = chosen.source(chosen)
    settings = setting.settings_of(chosen.set)
    _, sessions = store.sessions(source, chosen.first, chosen.last)
    base = Try(settings, delay_s=chosen.delay)
    varied = variants(settings, chosen.delay)
    tries = [base, *(one for group in varied.values() for one in group)]
    rows = sweep.results(source, sessions, tries, chosen.cluster)
    told = by_desk(source, chosen, settings) if chosen.desk else [row[0] for row in rows]
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
        "modelled": [*source.words, MODELLED, f"bars taken to arrive {chosen.delay:g} s after their end"],
        "decided_by": "desk" if chosen.desk else "compiled path",
        "settings": settings,
        "worth": found,
        "equity": equity(trades),
        "trades": [trade._asdict() for trade in trades],
        "sensitivity": sensitivity,
    }


def backtest(chosen: Namespace) -> int:
    told = measured(chosen)
    if chosen.json:
        as_json(told)
        return OK
    found: Worth = told["worth"]
    days: list[date] = told["sessions"]
    for words in told["modelled"]:
        console.print(Text(f"MODELLED  {words}", style="yellow"))
    console.print(Text(f"{days[0]}…{days[-1]}: {found.sessions} sessions, {found.signals} signals", style="bold"))
    tell_worth(found)
    for title, parts in (("exit", found.by_reason), ("hour", found.by_hour), ("weekday", found.by_weekday)):
        console.print(parts_table(title, parts))
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


def parts_table(title: str, parts: dict[str, Part]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column(f"by {title}", min_width=18)
    for name in ("trades", "wins", "P&L"):
        table.add_column(name, justify="right")
    for name, part in parts.items():
        table.add_row(name, str(part.trades), str(part.wins), f"{money(part.pnl)}")
    return table
