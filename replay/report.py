"""A report: one HTML page that needs nothing else, and its figures as PNG files beside it.

One session, from its tape or from bars: the price with both VWAPs, volume against its 95th percentile, the conditions as a strip,
entries and exits, and each position's mark with its peak and its giveback lines. Many: the equity by date, the distribution of P&L,
the funnel from signals to trades, and what it hangs on.
"""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import Config
from desk.desk import Desk
from disk import tape
from events import (
    AlertChanged,
    AnyAction,
    AnyEvent,
    Commit,
    FeedConnected,
    FeedDropped,
    Noted,
    Outgoing,
    Position,
    Quote,
    Trade,
)
from replay import backtest, charts, figures, funnel, head, of_tape, paths, redo, setting, store
from replay.backtest import Measured
from replay.by_date import DayTotal as OfDay
from replay.figures import Limits, Mark
from replay.page import Cell, Page, table
from replay.quotes import assumed_of, quotes_of, recorded_of
from replay.show import OK, ReplayError, as_json, console, many, named, progress
from replay.sweep import figures as texts_of
from replay.world import Sat
from replay.worth import Part, Worth, money, parts, worth
from signals import Reading
from strategies.vwap.page import look_at
from utils import clock_text, contract_name, dollars, new_york, signed_dollars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


# --- the page ----------------------------------------------------------------------------------------------------------


class Report:
    """A page, and its figures as PNG files beside it."""

    def __init__(self, title: str, out: Path) -> None:
        self.page, self.out = Page(title, out), out
        self.pictures: list[Path] = []

    def figure(self, chart: charts.Figure, draw: Callable[[], Figure]) -> None:
        """A figure for a pointer on the page, and its picture as a file."""
        self.page.figure(chart)
        self.picture(chart, draw)

    def picture(self, chart: charts.Figure, draw: Callable[[], Figure]) -> None:
        file = self.out.with_name(f"{self.out.stem}-{chart.name}.png")
        draw().savefig(file, format="png", dpi=DPI)
        self.pictures.append(file)


def facts_of(found: Worth) -> dict[str, Cell]:
    known = found.win_rate is not None and found.win_rate_low is not None and found.win_rate_high is not None
    interval = f"{found.win_rate_low:.0%} to {found.win_rate_high:.0%}" if known else "–"
    return {
        "P&L": money_cell(found.pnl),
        "trades": Cell(f"{found.trades:,}"),
        "wins / losses": Cell(f"{found.wins} / {found.losses}"),
        "win rate": Cell("–" if found.win_rate is None else f"{found.win_rate:.1%}"),
        "95 % interval": Cell(interval, "Wilson's, trades taken as independent"),
        "expectancy": Cell(money(found.expectancy) or "–", "the mean P&L of a trade"),
        "profit factor": Cell("–" if found.profit_factor is None else f"{found.profit_factor:.2f}"),
        "max drawdown": Cell(f"${found.drawdown:,.2f}", "of the balance after each trade"),
        "signals": Cell(f"{found.signals:,}"),
    }


def money_cell(sum_: float | None) -> Cell:
    return Cell(money(sum_) or "–", "", "" if not sum_ else "gain" if sum_ > 0 else "loss")


def contract_cell(contract: str) -> Cell:
    return Cell(contract_name(contract), contract)


# --- one session -------------------------------------------------------------------------------------------------------


@dataclass
class Session:
    """What a page of one session shows: gathered turn by turn while the desk is led through it."""

    readings: list[Reading] = field(default_factory=list)
    marks: dict[str, list[Mark]] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    noted: list[Noted] = field(default_factory=list)
    _quoted_at: float | None = None

    def look(self, desk: Desk, events: Sequence[AnyEvent], actions: Sequence[AnyAction]) -> None:
        iwm, _ = look_at(desk)
        newest = iwm.newest_start()
        if newest and (not self.readings or newest > self.readings[-1].start):
            reading = iwm.reading()
            if reading is not None:
                self.readings.append(reading)
        for held in desk.state.open():
            position = held.position
            self.positions[position.id] = position
            if position.last_mark is not None and held.quote_at != self._quoted_at:
                self._quoted_at = held.quote_at
                mark = mark_at(events[-1].at, position.last_mark, position.peak, held.quote)
                self.marks.setdefault(position.id, []).append(mark)

    @property
    def signals(self) -> list[Noted]:
        return [note for note in self.noted if note.kind == "signal"]


def mark_at(at: float, mark: int, peak: int, quote: Quote | None) -> Mark:
    sides = (None, None) if quote is None else (quote.bid, quote.ask)
    bid, ask = (nan if side is None else side / 1000 for side in sides)
    return Mark(at, mark / 1000, peak / 1000, bid, ask)


def show(made: Report, config: Config, told: Session, quotes: str, blind: Sequence[tuple[float, float]] = ()) -> None:
    """The figures and tables of one session, whose quotes were modelled or recorded."""
    if len(told.readings) > 1:
        chart = charts.session_chart(told.readings, told.trades, blind)
        made.figure(chart, partial(figures.session_figure, told.readings, told.trades, blind))
    rows = [[*trade_row(trade), quotes] for trade in told.trades]
    made.page.tables(table("Trades", TRADE_HEAD, rows, left=(2, 9, 10), none="no trade"), funnel_of(told))
    limits = Limits(*(float(percent) / 100 for percent in (
        config.stop_loss_percent, config.max_giveback_percent, config.tighten_giveback_percent
    )))  # fmt: skip
    closed = {trade.id: trade for trade in told.trades}
    drawn = []
    for key, position in told.positions.items():
        trade, marks = closed.get(key), told.marks.get(key, [])
        if trade is not None and trade.exit_quote is not None and trade.exit is not None:
            middle = marks[-1].mark if marks else nan
            if trade.exit_quote.bid and trade.exit_quote.ask:
                middle = (trade.exit_quote.bid + trade.exit_quote.ask) / 2000
            marks = [*marks, mark_at(trade.closed_at, round(middle * 1000), trade.peak, trade.exit_quote)]
        if len(marks) > 1:
            words = "still open where the record ends" if trade is None else trade.detail
            title = f"{contract_name(position.contract)}, bought {clock_text(position.opened_at)}: {words}"
            of = (marks, position.entry / 1000, limits, trade)
            drawn.append(charts.position_chart(key, title, *of))
            made.picture(drawn[-1], partial(figures.position_figure, *of))
    made.page.beside(drawn)


def funnel_of(told: Session) -> str:
    """The signals without an entry, each with its reason."""
    refused = [(note, str(note.body["refused"])) for note in told.noted if note.body.get("refused")]
    rows: list[list[str | Cell]] = [[clock_text(note.at), note.kind, Cell(named(words), words)] for note, words in refused]
    counts = funnel.counted(funnel.reasons_of(told.noted))
    title = f"Signals without an entry: {sum(counts.values())} of {len(told.signals)}"
    return table(title, ("at", "what", "why it bought nothing"), rows, left=(1, 2))


TRADE_HEAD = ("bought", "sold", "contract", "entry", "exit", "P&L", "%", "peak", "held", "reason", "quotes")


def trade_row(trade: Trade) -> list[str | Cell]:
    done = trade.exit is not None and trade.pnl is not None
    pnl = Cell("unresolved") if trade.pnl is None else Cell(signed_dollars(trade.pnl), "", manner_of(trade.pnl))
    return [
        clock_text(trade.opened_at),
        clock_text(trade.closed_at),
        contract_cell(trade.contract),
        dollars(trade.entry, 2),
        "?" if trade.exit is None else dollars(trade.exit, 2),
        pnl,
        f"{trade.exit / trade.entry - 1:+.1%}" if done and trade.exit is not None else "",
        dollars(trade.peak, 3),
        f"{trade.closed_at - trade.opened_at:,.0f} s",
        trade.detail,
    ]


def manner_of(pnl: int) -> str:
    return "" if not pnl else "gain" if pnl > 0 else "loss"


def worth_of(trades: Sequence[Trade], signals: int) -> Worth:
    """What is resolved of a session's trades."""
    resolved = [trade for trade in trades if trade.pnl is not None]
    return worth(paths.result_of(Sat(trades=resolved)).trades, 1, signals)


def of_bars(chosen: Namespace, made: Report) -> None:
    """The page of one session of bars, decided by the desk."""
    source = chosen.source(chosen)
    calendar, sessions = store.sessions(source, chosen.first, chosen.last)
    (session,) = sessions
    config = setting.config_of(setting.settings_of(chosen.set))
    day = source.day(session, calendar)
    market = quotes_of(day, config, recorded_of(source, [session], chosen.options).get(session.date))
    top = head.of_sessions(chosen, source, sessions, config, assumed_of([market]))
    made.page.head(head.lines_of(top), top)
    told = Session()
    sat = paths.live_through(config, calendar, day, chosen.delay, quotes=market, watch=told.look)
    told.trades, told.noted = sat.trades, sat.noted
    made.page.facts(facts_of(worth_of(sat.trades, len(sat.signals))))
    show(made, config, told, market.kind)


# --- a recorded day ----------------------------------------------------------------------------------------------------


@dataclass
class DayPage(Session):
    """A recorded day, through all lives of the worker; `away` are the spans without a feed, `counts` the events by name."""

    away: list[tuple[float, float]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    alerts: dict[str, Outgoing] = field(default_factory=dict)
    lives: list[list[str]] = field(default_factory=list)
    voided: list[tuple[Position | Trade, str]] = field(default_factory=list)
    differing: int = 0
    _lost_at: float | None = None

    def life(self, path: Path) -> Config:
        """Lead the desk through one life; its settings."""
        began = redo.head_of(path)
        desk, story, config = redo.desk_of(began), redo.Story(), began.config()
        differing, until = 0, began.begun_at
        for done in redo.redo(path, desk):
            for event in done.events:
                self.hear(event)
            self.look(desk, done.events, done.actions)
            story.take(done.actions)
            differing += not done.agrees
            until = done.at
        if self._lost_at is None:
            self._lost_at = until  # away until the next life hears something
        self.trades += story.trades
        self.noted += story.noted
        self.voided += story.voided
        self.differing += differing
        self.lives.append([clock_text(began.begun_at), clock_text(until), began.version, redo.ended_of(path)])
        return config

    def look(self, desk: Desk, events: Sequence[AnyEvent], actions: Sequence[AnyAction]) -> None:
        super().look(desk, events, actions)
        for action in actions:
            for write in action.writes if isinstance(action, Commit) else ():
                if isinstance(write, AlertChanged):
                    self.alerts[write.outgoing.alert.id] = write.outgoing

    def hear(self, event: AnyEvent) -> None:
        self.counts[type(event).__name__] += 1
        match event:
            case FeedDropped(feed="stocks") if self._lost_at is None:
                self._lost_at = event.at
            case FeedConnected(feed="stocks") if self._lost_at is not None:
                self.away.append((self._lost_at, event.at))
                self._lost_at = None


def of_day(chosen: Namespace, made: Report) -> bool:
    """The page of a recorded day, decided again from its tape; whether every decision was the same."""
    told, page = DayPage(), made.page
    files = of_tape.files_of(chosen, chosen.first)
    for path in progress(files, "replaying"):
        config = told.life(path)
    top = of_tape.head_of(chosen, chosen.first, files)
    page.head(head.lines_of(top), top)
    if told.differing:
        page.say(
            f"{told.differing} batches are decided otherwise now than they were live: see verify {chosen.first}.", "loss"
        )
    page.facts(facts_of(worth_of(told.trades, len(told.signals))))
    for position, reason in told.voided:
        page.say(f"{contract_name(position.contract)} of {clock_text(position.opened_at)} was voided: {reason}", "loss")
    show(made, config, told, "recorded", told.away)
    today = [line for line in told.alerts.values() if new_york(line.alert.created_at).date() == chosen.first]
    rows = [alert_row(line) for line in sorted(today, key=lambda line: line.alert.created_at)]
    counted = [[name, f"{count:,}"] for name, count in told.counts.most_common()]
    page.tables(
        table("Alerts", ("at", "alert", "title", "outcome", "settled after", "tries", "seen"), rows, left=(1, 2, 3)),
        table("Lives of the worker", ("from", "until", "version", "then"), told.lives, left=(2, 3)),
        table("What is on the tape", ("event", "recorded"), counted),
    )
    return not told.differing


def alert_row(line: Outgoing) -> list[str]:
    alert = line.alert
    after = "" if line.settled_at is None else f"{line.settled_at - alert.created_at:.1f} s"
    seen = "" if line.acknowledged_at is None else clock_text(line.acknowledged_at)
    return [clock_text(alert.created_at), alert.kind, alert.title, line.outcome, after, str(line.attempts), seen]


# --- many sessions -----------------------------------------------------------------------------------------------------


def of_many(told: Measured, made: Report) -> None:
    """The page of a backtest."""
    found, dates, page = told.worth, told.by_date, made.page
    page.head(head.lines_of(told.head), told.head)
    for words in (backtest.INDEPENDENT, backtest.OF_DAYS, backtest.MONEY):
        page.say(f"{words[0].upper()}{words[1:]}.")
    alone = "–" if found.expectancy_error is None else f"${found.expectancy_error:,.2f}"
    together = "–" if told.error_by_session is None else f"${told.error_by_session:,.2f}"
    page.facts(
        {
            **facts_of(found),
            "standard error": Cell(alone, "of the expectancy, trades taken as independent"),
            "error by session": Cell(together, "of the expectancy, sessions as the units"),
            "Sharpe, by day": Cell(backtest.ratio(dates.sharpe), backtest.OF_DAYS),
            "Sortino, by day": Cell(backtest.ratio(dates.sortino), backtest.OF_DAYS),
            "100 IWM held": money_cell(dates.days[-1].held),
        }
    )
    made.figure(charts.equity_chart(dates), partial(figures.equity_figure, dates))
    page.tables(months_of(told), funnel_table(told), days_of(dates.days))
    if told.trades:
        made.figure(charts.distribution_chart(told.trades), partial(figures.distribution_figure, told.trades))
    groups: tuple[tuple[str, dict[str, Part]], ...] = (
        ("By exit", found.by_reason),
        ("By hour", found.by_hour),
        ("By weekday", found.by_weekday),
        ("By quotes", parts(told.trades, lambda trade: trade.quotes)),
    )
    page.tables(*(parts_of(title, group) for title, group in groups))
    names = ("", "P&L", "trades", "win rate", "95 %", "expectancy", "max drawdown")
    page.tables(
        *(
            table(f"If {kind} were", names, [[name, *texts_of(value)] for name, value in group.items()])
            for kind, group in told.sensitivity.items()
        )
    )
    rows = [[f"{new_york(trade.opened_at):%Y-%m-%d}", *trade_row(trade), kind] for trade, kind in told.rows]
    page.tables(table("Trades", ("day", *TRADE_HEAD), rows, left=(3, 10, 11), none="no trade"))


def parts_of(title: str, group: dict[str, Part]) -> str:
    rows: list[list[str | Cell]] = [
        [name, str(part.trades), str(part.wins), money_cell(part.pnl)] for name, part in group.items()
    ]
    return table(title, ("", "trades", "wins", "P&L"), rows, none="no trade")


def months_of(told: Measured) -> str:
    rows: list[list[str | Cell]] = [
        [one.month, *map(str, (one.sessions, one.signals, one.trades, one.wins)), money_cell(one.pnl), money_cell(one.held)]
        for one in told.by_date.months
    ]
    return table("By month", ("month", "sessions", "signals", "trades", "wins", "P&L", "IWM held"), rows)


def days_of(days: Sequence[OfDay]) -> str:
    rows: list[list[str | Cell]] = [
        [str(one.date), *map(str, (one.signals, one.trades, one.wins)), *map(money_cell, (one.pnl, one.equity, one.held))]
        for one in days
    ]
    return table("By day", ("day", "signals", "trades", "wins", "P&L", "equity", "IWM held"), rows)


def funnel_table(told: Measured) -> str:
    """From signals by what refused them to trades."""
    rows = [[f"refused: {name}", f"{count:,}"] for name, count in told.refused.items()]
    rows = [["signals", f"{told.worth.signals:,}"], *rows, ["trades", f"{told.worth.trades:,}"]]
    return table("From signals to trades", ("", "signals"), rows)


# --- the command -------------------------------------------------------------------------------------------------------


def is_on_tape(chosen: Namespace) -> bool:
    """Whether a recorded day was asked for and nothing in its place. ReplayError for an option that a tape does not obey."""
    asked = chosen.last is None or chosen.last == chosen.first
    other = chosen.bars or chosen.made is not None or chosen.options or chosen.spy or chosen.profile or chosen.set
    found = asked and not other and chosen.first in tape.days(chosen.data_dir / "tape")
    if found and (dead := sorted(chosen.given & {"--delay", "--seed", "--cluster"})):
        raise ReplayError(f"{dead[0]} changes nothing in the report of a recorded day: its tape has it all")
    return found


def report(chosen: Namespace) -> int:
    """The page of a recorded day, or of the sessions from one day to another: of one in depth, of many in sum."""
    try:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        if is_on_tape(chosen):
            made = Report(f"IWM-5-VWAP · {chosen.first}, as recorded", chosen.out)
            told: dict[str, Any] = {"source": "tape", "agrees": of_day(chosen, made), "sessions": 1}
        else:
            made, sessions = of_sessions(chosen)
            told = {"source": "bars", "sessions": sessions}
        made.page.write()
    except OSError as fault:
        raise ReplayError(f"{chosen.out} cannot be written: {fault.strerror}") from None
    if chosen.json:
        as_json({"ok": True, "head": made.page.told, "page": chosen.out, "figures": made.pictures, **told})
    else:
        console.print(f"{chosen.out} and {many(len(made.pictures), 'figure')}")
    return OK


def of_sessions(chosen: Namespace) -> tuple[Report, int]:
    chosen.last = chosen.last or chosen.first
    source = chosen.source(chosen)
    _, sessions = store.sessions(source, chosen.first, chosen.last)
    days: list[date] = [session.date for session in sessions]
    when = str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}, {len(days)} sessions"
    made = Report(f"IWM-5-VWAP · {when}", chosen.out)
    if len(days) > 1:
        of_many(backtest.measured(chosen, with_trades=True), made)
    elif dead := sorted(chosen.given & {"--cluster"}):
        raise ReplayError(f"{dead[0]} changes nothing in the report of one session")
    else:
        of_bars(chosen, made)
    return made, len(days)
