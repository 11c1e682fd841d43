"""A report: one HTML page that needs nothing else, and its figures as PNG files beside it.

One session: the price with both VWAPs, volume against its 95th percentile, the conditions as a strip, entries and exits, and each
position's mark with its peak and its giveback lines. Many: the equity curve, the distribution of P&L, and what it hangs on.
"""

from __future__ import annotations

import base64
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from io import BytesIO
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from replay import backtest, paths, setting, store
from replay.of_bars import readings
from replay.options import MODELLED
from replay.paths import Closed
from replay.show import OK, ReplayError, as_json, console, progress
from replay.worth import Part, Worth, drawdown, equity, money, worth
from signals import Reading
from utils import NEW_YORK, clock_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GATES = ("1 VWAP 1m", "2 VWAP 5m", "3 rising", "4 surge", "5 momentum", "6 rel. volume", "7 leader")
BLUE, ORANGE, GREEN, RED, GREY = "#2563eb", "#d97706", "#15803d", "#dc2626", "#6b7280"
STYLE = """
:root{color-scheme:light dark;--line:#d1d5db;--dim:#6b7280;--warn:#b45309}
@media(prefers-color-scheme:dark){:root{--line:#374151;--dim:#9ca3af;--warn:#fbbf24}img{filter:invert(.92) hue-rotate(180deg)}}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
.warn{color:var(--warn);margin:.15rem 0}.dim{color:var(--dim)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1rem 0}
.cards div{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .75rem}
.cards b{display:block;font-size:1.25rem;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:.25rem .75rem .25rem 0;text-align:right;border-bottom:1px solid var(--line)}
th:first-child,td:first-child,td.left{text-align:left}td.left{white-space:normal;min-width:14rem}
img{width:100%;height:auto;display:block;background:#fff;border-radius:.5rem}
@media(max-width:40rem){.wide{min-width:46rem}}
"""


# --- figures -----------------------------------------------------------------------------------------------------------


def new_figure(rows: Sequence[float], width: float = 11.0, height: float = 7.0) -> tuple[Figure, list[Any]]:
    """A figure with panels of these relative heights, one above the other, without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(len(rows), 1, sharex=True, height_ratios=list(rows), squeeze=False)[:, 0]
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(visible=True, alpha=0.25)
    return figure, list(panels)


def moments(times: Sequence[float]) -> list[datetime]:
    return [datetime.fromtimestamp(at, UTC).astimezone(NEW_YORK) for at in times]


def clock_axis(panel: Any, words: str = "%H:%M") -> None:
    from matplotlib.dates import DateFormatter

    panel.xaxis.set_major_formatter(DateFormatter(words, tz=NEW_YORK))  # type: ignore[no-untyped-call]


def session_figure(told: Sequence[Reading], trades: Sequence[Closed]) -> Figure:
    """Price and VWAPs with entries and exits; volume against its 95th percentile; the conditions as a strip."""
    figure, (price, volume, strip) = new_figure((5, 2, 2), height=8.0)
    at = moments([reading.start for reading in told])

    def column(name: str) -> list[float]:
        return [nan if (value := getattr(reading, name)) is None else value for reading in told]

    price.plot(at, column("close"), color=GREY, linewidth=0.8, label="close")
    price.plot(at, column("vwap_60"), color=BLUE, linewidth=1.0, label="VWAP 1 min")
    price.plot(at, column("vwap_300"), color=ORANGE, linewidth=1.2, label="VWAP 5 min")
    closes = {reading.start: reading.close for reading in told}
    for times, colour, mark, name in (
        ([trade.opened_at for trade in trades], GREEN, "^", "entry"),
        ([trade.closed_at for trade in trades], RED, "v", "exit"),
    ):
        heights = [near(closes, moment) for moment in times]
        price.plot(moments(times), heights, mark, color=colour, markersize=9, label=name)
    price.set_ylabel("dollars")
    price.legend(loc="best", fontsize=8, ncols=5)
    volume.vlines(at, 0, column("volume"), color=GREY, linewidth=0.5, alpha=0.7)
    volume.plot(at, column("volume_p95"), color=ORANGE, linewidth=1.0, label="95th percentile")
    p95 = [value for value in column("volume_p95") if value == value]
    volume.set_ylim(0, 3 * max(p95, default=1.0))
    volume.set_ylabel("shares a second")
    volume.legend(loc="upper right", fontsize=8)
    gates = np.array([[gate.ok and not gate.off for gate in reading.gates] for reading in told], dtype=float).T
    strip.pcolormesh(at, np.arange(1, 9) - 0.5, gates[:, :-1], cmap="Greens", vmin=0, vmax=1.3, shading="flat")
    strip.set_yticks(range(1, 8), GATES, fontsize=7)
    strip.invert_yaxis()
    strip.grid(visible=False)
    clock_axis(strip)
    return figure


def near(closes: dict[int, float], at: float) -> float:
    """The close of the last second that had ended."""
    return next((closes[second] for second in range(int(at) - 1, int(at) - 60, -1) if second in closes), nan)


def position_figure(
    marks: Sequence[tuple[float, float, float]], trade: Closed, hard: float, tight: float, stop: float
) -> Figure:
    """A position's mark (time, mark, peak in dollars) with its entry, peak, stop and giveback lines."""
    figure, (panel,) = new_figure((1,), height=3.6)
    at = moments([moment for moment, _, _ in marks])
    peak = np.array([high for _, _, high in marks])
    panel.plot(at, [mark for _, mark, _ in marks], color=BLUE, linewidth=1.4, label="mark")
    panel.step(at, peak, color=GREEN, linewidth=1.0, where="post", label="peak")
    panel.step(at, peak * (1 - tight), color=ORANGE, linewidth=0.9, linestyle="--", where="post", label="VWAP giveback")
    panel.step(at, peak * (1 - hard), color=RED, linewidth=0.9, linestyle="--", where="post", label="hard giveback")
    panel.axhline(trade.entry / 1000, color=GREY, linewidth=0.9, label="entry")
    panel.axhline(trade.entry / 1000 * (1 - stop), color=RED, linewidth=0.9, linestyle=":", label="stop")
    panel.plot(moments([trade.closed_at]), [trade.exit / 1000], "v", color=RED, markersize=9, label="exit")
    panel.set_ylabel("dollars")
    panel.legend(loc="best", fontsize=8, ncols=4)
    clock_axis(panel, "%H:%M:%S")
    return figure


def equity_figure(trades: Sequence[Closed]) -> Figure:
    figure, (panel,) = new_figure((1,), height=4.0)
    curve = np.array([0.0, *equity(trades)])
    panel.step(range(len(curve)), curve, where="post", color=BLUE, linewidth=1.5, label="balance")
    below = {"step": "post", "color": RED, "alpha": 0.15, "label": "below its high"}
    panel.fill_between(range(len(curve)), curve, np.maximum.accumulate(curve), **below)
    panel.axhline(0, color=GREY, linewidth=0.8)
    panel.set_xlabel("trades")
    panel.set_ylabel("dollars")
    panel.legend(loc="best", fontsize=8)
    return figure


def distribution_figure(trades: Sequence[Closed]) -> Figure:
    figure, (panel,) = new_figure((1,), height=3.6)
    pnl = [trade.pnl / 1000 for trade in trades]
    counts, edges = np.histogram(pnl, bins=min(40, max(10, len(pnl) // 3)))
    colours = [GREEN if left >= 0 else RED for left in edges[:-1]]
    panel.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=colours, alpha=0.8)
    panel.set_xlabel("P&L of a trade, dollars")
    panel.set_ylabel("trades")
    return figure


# --- the page ----------------------------------------------------------------------------------------------------------


class Page:
    """Collects the parts of a page and writes it with its figures."""

    def __init__(self, title: str, out: Path) -> None:
        self.title, self.out = title, out
        self.parts: list[str] = [f"<h1>{escape(title)}</h1>"]
        self.figures: list[Path] = []

    def warn(self, words: Sequence[str]) -> None:
        self.parts += [f'<p class="warn">MODELLED: {escape(text)}</p>' for text in words]

    def cards(self, values: dict[str, str]) -> None:
        inner = "".join(
            f"<div><span class=dim>{escape(name)}</span><b>{escape(text)}</b></div>" for name, text in values.items()
        )
        self.parts.append(f'<div class="cards">{inner}</div>')

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
        top = "".join(f"<th>{escape(name)}</th>" for name in head)
        body = "".join("<tr>" + "".join(cell(text) for text in row) + "</tr>" for row in rows)
        heading = f"<h2>{escape(title)}</h2>" if title else ""
        self.parts.append(f'{heading}<div class="scroll" tabindex="0"><table><tr>{top}</tr>{body}</table></div>')

    def figure(self, figure: Figure, name: str, words: str) -> None:
        """A figure in the page, and as a PNG beside it; on a narrow screen it scrolls sideways."""
        raw = BytesIO()
        figure.savefig(raw, format="png", dpi=110)
        file = self.out.with_name(f"{self.out.stem}-{name}.png")
        file.write_bytes(raw.getvalue())
        self.figures.append(file)
        data, told = base64.b64encode(raw.getvalue()).decode(), escape(words)
        image = f'<img class="wide" alt="{told}" src="data:image/png;base64,{data}">'
        self.parts.append(f'<h2>{told}</h2><div class="scroll" tabindex="0">{image}</div>')

    def write(self) -> None:
        view = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        head = f"{view}<title>{escape(self.title)}</title>"
        body = "".join(self.parts)
        text = f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>'
        self.out.write_text(text, encoding="utf-8")


def cell(text: str) -> str:
    """Figures stand to the right, sentences to the left."""
    return f'<td class="left">{escape(text)}</td>' if " " in text and text[0].isalpha() else f"<td>{escape(text)}</td>"


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


def trade_rows(trades: Sequence[Closed]) -> list[list[str]]:
    return [
        [
            clock_text(trade.opened_at),
            clock_text(trade.closed_at),
            f"{trade.strike / 1000:g}",
            f"${trade.entry / 1000:.2f}",
            f"${trade.peak / 1000:.3f}",
            f"${trade.exit / 1000:.2f}",
            money(trade.pnl / 1000),
            trade.reason,
        ]
        for trade in trades
    ]


TRADE_HEAD = ("bought", "sold", "strike", "entry", "peak", "exit", "P&L", "why")


def of_one(chosen: Namespace, page: Page) -> None:
    """The page of one session, decided by the desk."""
    source = chosen.source(chosen)
    calendar, (session,) = store.sessions(source, chosen.first, chosen.last)
    config = setting.config_of(setting.settings_of(chosen.set))
    day = source.day(session, calendar)
    marks: dict[str, list[tuple[float, float, float]]] = {}

    def look(desk: Any, events: Any, actions: Any) -> None:
        position = getattr(desk.state.phase, "position", None)
        if position is not None and position.last_mark is not None:
            marks.setdefault(position.id, []).append((events[-1].at, position.last_mark / 1000, position.peak / 1000))

    sat = paths.live_through(config, calendar, day, chosen.delay, watch=look)
    result = paths.result_of(sat)
    found = worth(result.trades, 1, len(result.signals))
    page.cards(figures_of(found))
    told = list(progress(readings(config, day), "reading", len(day.own)))
    page.figure(session_figure(told, result.trades), "session", "Price, volume and conditions")
    page.table(TRADE_HEAD, trade_rows(result.trades), "Trades")
    hard, tight = float(config.max_giveback_percent) / 100, float(config.tighten_giveback_percent) / 100
    stop = float(config.stop_loss_percent) / 100
    for trade, closed in zip(sat.trades, result.trades, strict=True):
        if path := marks.get(trade.id):
            page.figure(position_figure(path, closed, hard, tight, stop), trade.id, f"{trade.contract}: {trade.detail}")
    near_misses = [[clock_text(note.at), str(note.body.get("refused"))] for note in sat.noted if note.body.get("refused")]
    page.table(("at", "why it bought nothing"), near_misses, "Signals without an entry")


def of_many(told: dict[str, Any], page: Page) -> None:
    """The page of a backtest."""
    found: Worth = told["worth"]
    trades = [Closed(**trade) for trade in told["trades"]]
    page.cards(figures_of(found))
    if trades:
        page.figure(equity_figure(trades), "equity", f"Equity, worst drawdown ${drawdown(equity(trades)):,.2f}")
        page.figure(distribution_figure(trades), "distribution", "P&L of the trades")
    groups: tuple[tuple[str, dict[str, Part]], ...] = (
        ("By exit", found.by_reason),
        ("By hour", found.by_hour),
        ("By weekday", found.by_weekday),
    )
    for title, parts in groups:
        rows = [[name, str(part.trades), str(part.wins), money(part.pnl)] for name, part in parts.items()]
        page.table(("", "trades", "wins", "P&L"), rows, title)
    from replay.sweep import figures

    for kind, group in told["sensitivity"].items():
        rows = [[name, *figures(value)] for name, value in group.items()]
        page.table(("", "P&L", "trades", "win rate", "95 %", "expectancy", "drawdown"), rows, f"If {kind} were")


def report(chosen: Namespace) -> int:
    """The page of the sessions from one day to another: of one in depth, of many in sum."""
    source = chosen.source(chosen)
    _, sessions = store.sessions(source, chosen.first, chosen.last)
    one = len(sessions) == 1
    when = str(sessions[0].date) if one else f"{sessions[0].date} to {sessions[-1].date}, {len(sessions)} sessions"
    page = Page(f"IWM-5-VWAP · {when}", chosen.out)
    try:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        if one:
            page.warn([*source.words, MODELLED, f"bars taken to arrive {chosen.delay:g} s after their end"])
            of_one(chosen, page)
        else:
            told = backtest.measured(chosen)
            page.warn(told["modelled"])
            of_many(told, page)
        page.write()
    except OSError as fault:
        raise ReplayError(f"{chosen.out} cannot be written: {fault.strerror}") from None
    if chosen.json:
        as_json({"ok": True, "page": chosen.out, "figures": page.figures, "sessions": len(sessions)})
    else:
        console.print(f"{chosen.out} and {len(page.figures)} figures")
    return OK
