"""Many sessions under one set of rules: what it came to, how sure that is, and how far it hangs on what was assumed."""

from __future__ import annotations

from argparse import Namespace
from datetime import date
from pathlib import Path
from typing import Any

from msgspec import Struct
from rich.table import Table
from rich.text import Text

from events import Trade
from replay import by_desk, head, paths, quotes, setting, store, sweep
from replay import trades as each_trade
from replay.by_date import ByDate, by_date, error_by_session
from replay.funnel import counted
from replay.head import Head
from replay.options import MODELLED
from replay.show import OK, as_json, console, many
from replay.sweep import Try
from replay.worth import Part, Worth, equity, money, parts, worth
from utils import Session, clock_text

DELAYS_S = (0.0, 2.0, 5.0)
FEES = ("0", "0.65", "1.00")
STOPS = ("10", "15", "20", "25")
SPREADS = ("3", "4", "6", "8")
SEEDS = 5
INDEPENDENT = (
    "the interval and the standard error take the trades as independent; beside it the error with sessions as the units"
)
OF_DAYS = "Sharpe and Sortino are of the daily P&L in dollars, days without a trade as 0, a year of 252 sessions, no capital assumed"
MONEY = "all money in dollars of one contract of 100 shares; IWM held is 100 shares from the first open"


def variants(settings: dict[str, str], delay_s: float, seed: int | None) -> dict[str, list[Try]]:
    """What is varied, one thing at a time; `seed` None: no quote is modelled."""
    found = {
        "fill": [Try(settings, fill, delay_s) for fill in setting.FILLS],
        "fee each way": [Try({**settings, "FEE_PER_CONTRACT": fee}, delay_s=delay_s) for fee in FEES],
        "stop loss %": [Try({**settings, "STOP_LOSS_PERCENT": stop}, delay_s=delay_s) for stop in STOPS],
        "widest spread %": [Try({**settings, "MAX_SPREAD_PERCENT": spread}, delay_s=delay_s) for spread in SPREADS],
        "feed delay": [Try(settings, delay_s=delay) for delay in DELAYS_S],
    }
    if seed is not None:
        found["seed of modelled quotes"] = [Try(settings, delay_s=delay_s, seed=seed + k) for k in range(SEEDS)]
    return found


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
        case "seed of modelled quotes":
            return str(one.seed)
    return one.settings["MAX_SPREAD_PERCENT"]


class Measured(Struct):
    """The whole of a backtest: what a command tells, `--json` prints and a report draws."""

    head: Head
    sessions: list[Session]
    results: list[paths.Result]
    decided_by: str
    recorded: dict[date, Path]
    worth: Worth
    by_date: ByDate
    error_by_session: float | None
    refused: dict[str, int]
    sensitivity: dict[str, dict[str, Worth]]
    rows: list[tuple[Trade, str]]

    @property
    def trades(self) -> list[paths.Closed]:
        return [trade for result in self.results for trade in result.trades]

    @property
    def funnel(self) -> dict[str, Any]:
        """From signals by what refused them to trades."""
        return {"signals": self.worth.signals, "refused": self.refused, "trades": self.worth.trades}


def measured(chosen: Namespace, *, with_trades: bool = False) -> Measured:
    """Decide the sessions, as they are and varied; `with_trades`: each trade with its words, quotes and readings besides."""
    source = chosen.source(chosen)
    settings = setting.settings_of(chosen.set)
    config = setting.config_of(settings)
    _, sessions = store.sessions(source, chosen.first, chosen.last)
    recorded = quotes.recorded_of(source, sessions, chosen.options)
    base = Try(settings, delay_s=chosen.delay)
    varied = variants(settings, chosen.delay, None if len(recorded) == len(sessions) else chosen.seed)
    tries = [base, *(one for group in varied.values() for one in group)]
    rows, assumed = decided(source, sessions, tries, recorded, chosen.cluster)
    results = with_prices([row[0] for row in rows], sessions, source)
    if chosen.desk:
        led = [done.results[0] for done in by_desk.results(source, sessions, [base], recorded, chosen.cluster)]
        results = [new._replace(prices=old.prices) for new, old in zip(led, results, strict=True)]
    trades = [trade for result in results for trade in result.trades]
    sensitivity: dict[str, dict[str, Worth]] = {}
    which = 1
    for kind, group in varied.items():
        sensitivity[kind] = {}
        for one in group:
            sensitivity[kind][name_of(kind, one)] = sweep.worth_of(rows, which)
            which += 1
    return Measured(
        head.of_sessions(chosen, source, sessions, config, assumed),
        sessions,
        results,
        "desk" if chosen.desk or len(recorded) == len(sessions) else "compiled path",
        recorded,
        worth(trades, len(sessions), sum(len(result.signals) for result in results)),
        by_date(sessions, results),
        error_by_session([result.trades for result in results]),
        counted(reason for result in results for reason in result.refused),
        sensitivity,
        each_trade.of_sessions(source, sessions, results, base, recorded) if with_trades else [],
    )


def with_prices(results: list[paths.Result], sessions: list[Session], source: store.Source) -> list[paths.Result]:
    """The results with the underlying's first and last price of each session, read where the path did not tell them."""
    told = []
    for result, session in zip(results, sessions, strict=True):
        if not result.prices:
            own = source.day(session, store.calendar_between(sessions[0].date, sessions[-1].date)).own
            result = result._replace(prices=(float(own.open[0]), float(own.close[-1])))
        told.append(result)
    return told


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


def document(told: Measured) -> dict[str, Any]:
    """The backtest as JSON: money in dollars, times in Unix seconds and New York time."""
    return {
        "ok": True,
        "head": told.head,
        "sessions": [session.date for session in told.sessions],
        "modelled": told.head.words,
        "decided_by": told.decided_by,
        "sessions_of_recorded_quotes": len(told.recorded),
        "settings": told.head.settings,
        "money": MONEY,
        "worth": told.worth,
        "expectancy_error_by_session": told.error_by_session,
        "independence": INDEPENDENT,
        "funnel": told.funnel,
        "ratios": {"sharpe": told.by_date.sharpe, "sortino": told.by_date.sortino, "of": OF_DAYS},
        "equity": equity(told.trades),
        "by_date": told.by_date,
        "trades": [in_dollars(trade) for trade in told.trades],
        "by_quotes": parts(told.trades, lambda trade: trade.quotes),
        "sensitivity": told.sensitivity,
    }


def in_dollars(trade: paths.Closed) -> dict[str, Any]:
    prices = {name: getattr(trade, name) / 1000 for name in ("strike", "entry", "exit", "peak", "pnl")}
    times = {"opened_et": clock_text(trade.opened_at), "closed_et": clock_text(trade.closed_at)}
    return trade._asdict() | prices | times


def backtest(chosen: Namespace) -> int:
    told = measured(chosen, with_trades=chosen.trades is not None)
    if chosen.trades is not None:
        each_trade.write(chosen.trades, [each_trade.row_of(*one) for one in told.rows])
    if chosen.json:
        as_json(document(told))
        return OK
    head.tell(told.head)
    tell_worth(told)
    console.print(funnel_table(told))
    console.print(months_table(told.by_date))
    console.print(days_table(told.by_date))
    found = told.worth
    groups = [("exit", found.by_reason), ("hour", found.by_hour), ("weekday", found.by_weekday)]
    for title, group in [*groups, ("quotes", parts(told.trades, lambda trade: trade.quotes))]:
        console.print(parts_table(title, group))
    for kind, varied in told.sensitivity.items():
        table = table_of(f"if {kind} were", ("", "P&L", "trades", "win rate", "95 %", "expectancy", "max drawdown"))
        for name, value in varied.items():
            table.add_row(name, *sweep.figures(value))
        console.print(table)
    if chosen.trades is not None:
        console.print(f"{len(told.rows)} trades: {chosen.trades}")
    return OK


def tell_worth(told: Measured) -> None:
    found, dates = told.worth, told.by_date
    counts = (many(found.sessions, "session"), many(found.signals, "signal"), many(found.trades, "trade"))
    console.print(", ".join(counts), style="bold")
    held = dates.days[-1].held
    if found.win_rate is None or found.win_rate_low is None or found.win_rate_high is None or found.expectancy is None:
        console.print("no trade" + ("" if held is None else f"; 100 shares of IWM held: {money(held)}"))
        return
    console.print(
        f"{many(found.wins, 'win')}, {many(found.losses, 'loss')}: win rate {found.win_rate:.1%}"
        f" (95 %: {found.win_rate_low:.1%} to {found.win_rate_high:.1%})"
    )
    factor = "no loss" if found.profit_factor is None else f"{found.profit_factor:.2f}"
    console.print(f"P&L {money(found.pnl)}, expectancy {expectancy_text(told)}, profit factor {factor}")
    console.print(
        f"best {money(found.best)}, worst {money(found.worst)}, max drawdown ${found.drawdown:,.2f},"
        f" held {found.mean_hold_s or 0:,.0f} s on average"
    )
    console.print(
        f"by day: Sharpe {ratio(dates.sharpe)}, Sortino {ratio(dates.sortino)}, best {money(dates.best_day)},"
        f" worst {money(dates.worst_day)}" + ("" if held is None else f"; 100 shares of IWM held: {money(held)}")
    )
    for words in (INDEPENDENT, OF_DAYS):
        console.print(Text(words, style="dim"))


def expectancy_text(told: Measured) -> str:
    """`+$4.20 a trade (standard error $3.10; by session $4.05)`."""
    alone, together = told.worth.expectancy_error, told.error_by_session
    errors = [] if alone is None else [f"standard error ${alone:,.2f}"]
    errors += [] if together is None else [f"by session ${together:,.2f}"]
    return money(told.worth.expectancy) + (f" ({'; '.join(errors)})" if errors else "")


def ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def table_of(title: str, names: tuple[str, ...]) -> Table:
    """A table whose first column stands to the left."""
    table = Table(title=title, title_justify="left", box=None, header_style="dim", pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place else "left")
    return table


def funnel_table(told: Measured) -> Table:
    table = table_of("signals to trades", ("", "signals"))
    for name, count in [("signals", told.worth.signals), *told.refused.items(), ("trades", told.worth.trades)]:
        table.add_row(name if name in ("signals", "trades") else f"  refused: {name}", f"{count:,}")
    return table


def months_table(dates: ByDate) -> Table:
    table = table_of("by month", ("month", "sessions", "signals", "trades", "wins", "P&L", "IWM held"))
    for one in dates.months:
        counts = (str(count) for count in (one.sessions, one.signals, one.trades, one.wins))
        table.add_row(one.month, *counts, money(one.pnl), money(one.held))
    return table


def days_table(dates: ByDate) -> Table:
    """The days that have a trade, with the equity at their end."""
    table = table_of("by day (those with a trade)", ("day", "signals", "trades", "wins", "P&L", "equity", "IWM held"))
    for one in dates.days:
        if one.trades:
            counts = (str(count) for count in (one.signals, one.trades, one.wins))
            table.add_row(str(one.date), *counts, money(one.pnl), money(one.equity), money(one.held))
    return table


def parts_table(title: str, group: dict[str, Part]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column(f"by {title}", min_width=18)
    for name in ("trades", "wins", "P&L"):
        table.add_column(name, justify="right")
    for name, part in group.items():
        table.add_row(name, str(part.trades), str(part.wins), f"{money(part.pnl)}")
    return table
