"""A report: one HTML page that needs nothing else, and its figures as PNG files beside it.

One session, from its tape or from bars: the price with both VWAPs, volume against its 95th percentile, the conditions as a strip,
entries and exits, and each position's mark with its peak and its giveback lines. Many: the equity curve, the distribution of P&L,
and what it hangs on.
"""

from __future__ import annotations

import base64
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from html import escape
from io import BytesIO
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import PAGES, PLACES, Config, fields, group_of
from desk.desk import Desk
from desk.state import Holding
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
from replay import backtest, of_tape, paths, redo, setting, store
from replay.figures import (
    NARROW_IN,
    WIDE_IN,
    Limits,
    Mark,
    distribution_figure,
    equity_figure,
    position_figure,
    session_figure,
)
from replay.paths import Closed
from replay.quotes import assumed_of, quotes_of, recorded_of
from replay.show import OK, ReplayError, as_json, console, mark_of, progress
from replay.world import Sat
from replay.worth import Part, Worth, drawdown, equity, money, worth
from signals import Reading
from utils import clock_text, new_york

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE_DPI, NARROW_DPI = 110, 160
LONG = 48  # letters of a cell that is broken into lines
STYLE = """
:root{color-scheme:light dark;--line:#d1d5db;--dim:#6b7280;--warn:#b45309;--good:#15803d;--bad:#b91c1c}
@media(prefers-color-scheme:dark){
:root{--line:#374151;--dim:#9ca3af;--warn:#fbbf24;--good:#4ade80;--bad:#f87171}img{filter:invert(.92) hue-rotate(180deg)}}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
p{margin:.15rem 0}.warn{color:var(--warn)}.good{color:var(--good)}.bad{color:var(--bad)}.dim{color:var(--dim)}
.cards{display:grid;grid-template-columns:repeat(4,1fr);gap:.75rem;margin:1rem 0}
.cards div{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .75rem}
.cards b{display:block;font-size:1.25rem;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:.25rem 1rem .25rem 0;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--dim)}
th:first-child,td:first-child,.left{text-align:left}.long{white-space:normal;min-width:20rem}
img{width:100%;height:auto;display:block;background:#fff;border-radius:.5rem}
@media(max-width:40rem){.cards{grid-template-columns:1fr 1fr}h1{font-size:1.2rem}}
"""


# --- the page ----------------------------------------------------------------------------------------------------------


class Page:
    """Collects the parts of a page and writes it with its figures."""

    def __init__(self, title: str, out: Path) -> None:
        self.title, self.out = title, out
        self.parts: list[str] = [f"<h1>{escape(title)}</h1>"]
        self.figures: list[Path] = []

    def warn(self, words: Sequence[str]) -> None:
        """What is modelled or assumed, and what was recorded."""
        for text in words:
            mark = mark_of(text)
            self.say(f"{mark}: {text}", "good" if mark == "RECORDED" else "warn")

    def say(self, text: str, manner: str = "dim") -> None:
        self.parts.append(f'<p class="{manner}">{escape(text)}</p>')

    def cards(self, values: dict[str, str]) -> None:
        inner = "".join(
            f"<div><span class=dim>{escape(name)}</span><b>{escape(text)}</b></div>" for name, text in values.items()
        )
        self.parts.append(f'<div class="cards">{inner}</div>')

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], title: str, left: Sequence[int] = ()) -> None:
        """Rows of texts; the first column and those of `left` stand to the left, as sentences do. Without rows it says none."""
        self.parts.append(f"<h2>{escape(title)}</h2>")
        if not rows:
            self.say("none")
            return
        lines = [head, *rows]
        cells = ["".join(cell(text, place in left, line is head) for place, text in enumerate(line)) for line in lines]
        body = "".join(f"<tr>{line}</tr>" for line in cells)
        self.parts.append(f'<div class="scroll" tabindex="0"><table>{body}</table></div>')

    def figure(self, draw: Callable[..., Figure], name: str, words: str) -> None:
        """What `draw(width=inches)` draws, for a wide screen and for a narrow one; the wide one as a PNG beside the page too."""
        wide, narrow = png_of(draw(width=WIDE_IN), WIDE_DPI), png_of(draw(width=NARROW_IN), NARROW_DPI)
        file = self.out.with_name(f"{self.out.stem}-{name}.png")
        file.write_bytes(wide)
        self.figures.append(file)
        told = escape(words)
        small = f'<source media="(max-width:40rem)" srcset="{data_of(narrow)}">'
        self.parts.append(f'<h2>{told}</h2><picture>{small}<img alt="{told}" src="{data_of(wide)}"></picture>')

    def write(self) -> None:
        view = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        head = f"{view}<title>{escape(self.title)}</title>"
        body = "".join(self.parts)
        text = f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>'
        self.out.write_text(text, encoding="utf-8")


def cell(text: str, left: bool, is_head: bool) -> str:
    kind = "th" if is_head else "td"
    classes = [name for name, holds in (("left", left), ("long", len(text) > LONG)) if holds]
    manner = f' class="{" ".join(classes)}"' if classes else ""
    return f"<{kind}{manner}>{escape(text)}</{kind}>"


def png_of(figure: Figure, dpi: int) -> bytes:
    raw = BytesIO()
    figure.savefig(raw, format="png", dpi=dpi)
    return raw.getvalue()


def data_of(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def figures_of(found: Worth) -> dict[str, str]:
    known = found.win_rate is not None and found.win_rate_low is not None and found.win_rate_high is not None
    rate = f"{found.win_rate:.1%}" if found.win_rate is not None else "–"
    interval = f"{found.win_rate_low:.0%} to {found.win_rate_high:.0%}" if known else "–"
    return {
        "P&L": money(found.pnl),
        "trades": str(found.trades),
        "win rate": rate,
        "95 % interval": interval,
        "a trade": money(found.expectancy) or "–",
        "profit factor": "–" if found.profit_factor is None else f"{found.profit_factor:.2f}",
        "worst drawdown": f"${found.drawdown:,.2f}",
        "signals": str(found.signals),
    }


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
        newest = desk.market.newest_start()
        if newest and (not self.readings or newest > self.readings[-1].start):
            reading = desk.market.reading()
            if reading is not None:
                self.readings.append(reading)
        phase = desk.state.phase
        if isinstance(phase, Holding):
            self.positions[phase.position.id] = phase.position
            if phase.position.last_mark is not None and phase.quote_at != self._quoted_at:
                self._quoted_at = phase.quote_at
                mark = mark_at(events[-1].at, phase.position.last_mark, phase.position.peak, phase.quote)
                self.marks.setdefault(phase.position.id, []).append(mark)

    @property
    def signals(self) -> list[Noted]:
        return [note for note in self.noted if note.kind == "signal"]


def mark_at(at: float, mark: int, peak: int, quote: Quote | None) -> Mark:
    sides = (None, None) if quote is None else (quote.bid, quote.ask)
    bid, ask = (nan if side is None else side / 1000 for side in sides)
    return Mark(at, mark / 1000, peak / 1000, bid, ask)


def show(page: Page, config: Config, told: Session, quotes: str, blind: Sequence[tuple[float, float]] = ()) -> None:
    """The figures and tables of one session, whose quotes were modelled or recorded."""
    if len(told.readings) > 1:
        page.figure(partial(session_figure, told.readings, told.trades, blind), "session", "Price, volume and conditions")
    page.table(TRADE_HEAD, [[*trade_row(trade), quotes] for trade in told.trades], "Trades", left=(7, 8, 9))
    limits = Limits(*(float(percent) / 100 for percent in (
        config.stop_loss_percent, config.max_giveback_percent, config.tighten_giveback_percent
    )))  # fmt: skip
    closed = {trade.id: trade for trade in told.trades}
    for key, position in told.positions.items():
        trade, marks = closed.get(key), told.marks.get(key, [])
        if trade is not None and trade.exit_quote is not None and trade.exit is not None:
            middle = marks[-1].mark if marks else nan
            if trade.exit_quote.bid and trade.exit_quote.ask:
                middle = (trade.exit_quote.bid + trade.exit_quote.ask) / 2000
            marks = [*marks, mark_at(trade.closed_at, round(middle * 1000), trade.peak, trade.exit_quote)]
        if len(marks) > 1:
            words = "still open where the record ends" if trade is None else trade.detail
            draw = partial(position_figure, marks, position.entry / 1000, limits, trade)
            page.figure(draw, key, f"{position.contract} {clock_text(position.opened_at)}: {words}")
    refused = [(note, str(note.body["refused"])) for note in told.noted if note.body.get("refused")]
    rows = [[clock_text(note.at), note.kind, words] for note, words in refused]
    page.table(("at", "what", "why it bought nothing"), rows, "Signals without an entry", left=(1, 2))


TRADE_HEAD = ("bought", "sold", "entry", "exit", "P&L", "%", "peak", "contract", "why", "quotes")


def trade_row(trade: Trade) -> list[str]:
    done = trade.exit is not None and trade.pnl is not None
    return [
        clock_text(trade.opened_at),
        clock_text(trade.closed_at),
        f"${trade.entry / 1000:.2f}",
        f"${trade.exit / 1000:.2f}" if trade.exit is not None else "?",
        money(trade.pnl / 1000) if trade.pnl is not None else "unresolved",
        f"{trade.exit / trade.entry - 1:+.1%}" if done and trade.exit is not None else "",
        f"${trade.peak / 1000:.3f}",
        trade.contract,
        trade.detail,
    ]


def worth_of(trades: Sequence[Trade], signals: int) -> Worth:
    """What is resolved of a session's trades."""
    resolved = [trade for trade in trades if trade.pnl is not None]
    return worth(paths.result_of(Sat(trades=resolved)).trades, 1, signals)


def of_bars(chosen: Namespace, page: Page) -> None:
    """The page of one session of bars, decided by the desk."""
    source = chosen.source(chosen)
    calendar, (session,) = store.sessions(source, chosen.first, chosen.last)
    config = setting.config_of(setting.settings_of(chosen.set))
    day = source.day(session, calendar)
    market = quotes_of(day, config, recorded_of(source, [session], chosen.options).get(session.date))
    page.warn([*source.words, *assumed_of([market]), f"bars taken to arrive {chosen.delay:g} s after their end"])
    told = Session()
    sat = paths.live_through(config, calendar, day, chosen.delay, quotes=market, watch=told.look)
    told.trades, told.noted = sat.trades, sat.noted
    page.cards(figures_of(worth_of(sat.trades, len(sat.signals))))
    show(page, config, told, market.kind)


# --- a recorded day ----------------------------------------------------------------------------------------------------


@dataclass
class Day(Session):
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
        head = redo.head_of(path)
        desk, story, config = redo.desk_of(head), redo.Story(), head.config()
        differing, until = 0, head.begun_at
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
        ended = next((record.reason for record in tape.read(path) if isinstance(record, tape.End)), redo.KILLED)
        self.lives.append([clock_text(head.begun_at), clock_text(until), head.version, ended])
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


def of_day(chosen: Namespace, page: Page) -> bool:
    """The page of a recorded day, decided again from its tape; whether every decision was the same."""
    told = Day()
    for path in progress(of_tape.files_of(chosen, chosen.first), "replaying"):
        config = told.life(path)
    page.say("From the worker's own tape: bars, chains, quotes and alerts as they came. Nothing is modelled.", "good")
    if told.differing:
        page.say(
            f"{told.differing} batches are decided otherwise now than they were live: see verify {chosen.first}.", "bad"
        )
    page.say(f"Settings: {rules_of(config)}")
    page.cards(figures_of(worth_of(told.trades, len(told.signals))))
    show(page, config, told, "recorded", told.away)
    for position, reason in told.voided:
        page.say(f"{position.contract} of {clock_text(position.opened_at)} was voided: {reason}", "bad")
    today = [line for line in told.alerts.values() if new_york(line.alert.created_at).date() == chosen.first]
    rows = [alert_row(line) for line in sorted(today, key=lambda line: line.alert.created_at)]
    page.table(("at", "alert", "title", "outcome", "settled after", "tries", "seen"), rows, "Alerts", left=(1, 2, 3))
    page.table(("from", "until", "version", "then"), told.lives, "Lives of the worker", left=(2, 3))
    counted = [[name, f"{count:,}"] for name, count in told.counts.most_common()]
    page.table(("event", "recorded"), counted, "What is on the tape")
    return not told.differing


def rules_of(config: Config) -> str:
    """The settings that rule and differ from their defaults; no address and no folder, for a page may be shown to others."""
    told = config.non_defaults()
    rules = [name for name, setting_ in fields().items() if name in told and group_of(setting_) not in (PLACES, PAGES)]
    return ", ".join(f"{name}={told[name]}" for name in rules) or "the defaults"


def alert_row(line: Outgoing) -> list[str]:
    alert = line.alert
    after = "" if line.settled_at is None else f"{line.settled_at - alert.created_at:.1f} s"
    seen = "" if line.acknowledged_at is None else clock_text(line.acknowledged_at)
    return [clock_text(alert.created_at), alert.kind, alert.title, line.outcome, after, str(line.attempts), seen]


# --- many sessions -----------------------------------------------------------------------------------------------------


def of_many(told: dict[str, Any], page: Page) -> None:
    """The page of a backtest."""
    found: Worth = told["worth"]
    trades = [Closed(**trade) for trade in told["trades"]]
    page.cards(figures_of(found))
    if trades:
        words = f"Equity, worst drawdown ${drawdown(equity(trades)):,.2f}"
        page.figure(partial(equity_figure, trades), "equity", words)
        page.figure(partial(distribution_figure, trades), "distribution", "P&L of the trades")
    groups: tuple[tuple[str, dict[str, Part]], ...] = (
        ("By exit", found.by_reason),
        ("By hour", found.by_hour),
        ("By weekday", found.by_weekday),
        ("By quotes", told["by_quotes"]),
    )
    for title, parts in groups:
        rows = [[name, str(part.trades), str(part.wins), money(part.pnl)] for name, part in parts.items()]
        page.table(("", "trades", "wins", "P&L"), rows, title)
    from replay.sweep import figures

    for kind, group in told["sensitivity"].items():
        rows = [[name, *figures(value)] for name, value in group.items()]
        page.table(("", "P&L", "trades", "win rate", "95 %", "expectancy", "drawdown"), rows, f"If {kind} were")


# --- the command -------------------------------------------------------------------------------------------------------


def is_on_tape(chosen: Namespace) -> bool:
    """Whether a day was asked for that the worker has recorded, and nothing else in its place."""
    asked = chosen.last is None or chosen.last == chosen.first
    other = chosen.bars or chosen.made is not None or chosen.options or chosen.spy or chosen.profile or chosen.set
    return asked and not other and chosen.first in tape.days(chosen.data_dir / "tape")


def report(chosen: Namespace) -> int:
    """The page of a recorded day, or of the sessions from one day to another: of one in depth, of many in sum."""
    try:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        if is_on_tape(chosen):
            page = Page(f"IWM-5-VWAP · {chosen.first}, as recorded", chosen.out)
            told: dict[str, Any] = {"source": "tape", "agrees": of_day(chosen, page), "sessions": 1}
        else:
            page, sessions = of_sessions(chosen)
            told = {"source": "bars", "sessions": sessions}
        page.write()
    except OSError as fault:
        raise ReplayError(f"{chosen.out} cannot be written: {fault.strerror}") from None
    if chosen.json:
        as_json({"ok": True, "page": chosen.out, "figures": page.figures, **told})
    else:
        console.print(f"{chosen.out} and {len(page.figures)} figures")
    return OK


def of_sessions(chosen: Namespace) -> tuple[Page, int]:
    chosen.last = chosen.last or chosen.first
    source = chosen.source(chosen)
    _, sessions = store.sessions(source, chosen.first, chosen.last)
    days: list[date] = [session.date for session in sessions]
    when = str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}, {len(days)} sessions"
    page = Page(f"IWM-5-VWAP · {when}", chosen.out)
    if len(days) == 1:
        of_bars(chosen, page)
    else:
        told = backtest.measured(chosen)
        page.warn(told["modelled"])
        of_many(told, page)
    return page, len(days)
