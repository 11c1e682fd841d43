"""The figures of a report: a session, a position, an equity curve, a distribution. Pure: data in, a matplotlib figure out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import nan
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from events import Trade
from replay.by_date import ByDate
from replay.paths import Closed
from signals import Reading
from utils import NEW_YORK, clock_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")

GATES = ("1 VWAP 1m", "2 VWAP 5m", "3 rising", "4 surge", "5 momentum", "6 rel. volume", "7 leader", "all seven")
BLUE, ORANGE, GREEN, RED, GREY, PALE = "#2563eb", "#d97706", "#15803d", "#dc2626", "#6b7280", "#d1d5db"
GAP_S = 60.0
BLIND_S = 10.0
WIDTH_IN = 11.0


class Mark(NamedTuple):
    """What a position was worth at a time: mark, peak, bid and ask in dollars; NaN where a side was not known."""

    at: float
    mark: float
    peak: float
    bid: float
    ask: float


class Limits(NamedTuple):
    """The exits' limits as fractions."""

    stop: float
    hard: float
    tight: float


def new_figure(rows: Sequence[float], height: float) -> tuple[Figure, list[Any]]:
    """A figure with panels of these relative heights, one above the other, without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
    panels = figure.subplots(len(rows), 1, sharex=True, height_ratios=list(rows), squeeze=False)[:, 0]
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(visible=True, alpha=0.25)
    return figure, list(panels)


def legend_above(panel: Any, columns: int) -> None:
    """Over the panel, where it hides nothing."""
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9, ncols=columns, frameon=False, columnspacing=1.2)


def moments(times: Sequence[float]) -> list[datetime]:
    return [datetime.fromtimestamp(at, UTC).astimezone(NEW_YORK) for at in times]


def clock_axis(panel: Any, seconds: float) -> None:
    """New York time along the bottom, with seconds where the whole is short."""
    from matplotlib.dates import AutoDateLocator, DateFormatter

    locator = AutoDateLocator(tz=NEW_YORK, minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
    panel.xaxis.set_major_locator(locator)
    words = "%H:%M:%S" if seconds < 600 else "%H:%M"
    panel.xaxis.set_major_formatter(DateFormatter(words, tz=NEW_YORK))  # type: ignore[no-untyped-call]


def broken(items: Sequence[T], time_of: Callable[[T], float], gap_s: float) -> list[tuple[float, T | None]]:
    """The items with their times, and None just after each one that is followed by a gap: no line is drawn over it."""
    found: list[tuple[float, T | None]] = []
    for item, following in pairwise(items):
        found.append((time_of(item), item))
        if time_of(following) - time_of(item) > gap_s:
            found.append((time_of(item) + 1, None))
    return [*found, *((time_of(item), item) for item in items[-1:])]


# --- a session ---------------------------------------------------------------------------------------------------------


def session_figure(told: Sequence[Reading], trades: Sequence[Trade], blind: Sequence[tuple[float, float]] = ()) -> Figure:
    """Price and VWAPs with entries and exits; volume against its 95th percentile; the conditions as a strip.

    `blind`: spans of Unix seconds in which the feed was away. Lines break where a minute or more has no bar.
    """
    figure, (price, volume, strip) = new_figure((5, 2, 2.2), 8.4)
    rows = broken(told, lambda reading: reading.start, GAP_S)
    at = moments([moment for moment, _ in rows])

    def column(name: str) -> list[float]:
        values = [None if reading is None else getattr(reading, name) for _, reading in rows]
        return [nan if value is None else value for value in values]

    price.plot(at, column("close"), color=GREY, linewidth=0.8, label="close")
    price.plot(at, column("vwap_60"), color=BLUE, linewidth=1.0, label="VWAP 1 min")
    price.plot(at, column("vwap_300"), color=ORANGE, linewidth=1.2, label="VWAP 5 min")
    entries_and_exits(price, told, trades)
    for panel in (price, volume):
        for number, (first, last) in enumerate(blind):
            start, end = moments((first, last))
            panel.axvspan(start, end, color=RED, alpha=0.12, linewidth=0, label=None if number else "feed away")
    price.set_ylabel("dollars")
    legend_above(price, 6)
    volume.vlines(at, 0, column("volume"), color=GREY, linewidth=0.5, alpha=0.7)
    volume.plot(at, column("volume_p95"), color=ORANGE, linewidth=1.2, label="95th percentile")
    p95 = [value for value in column("volume_p95") if value == value]
    volume.set_ylim(0, 3 * max(p95, default=1.0))
    volume.set_ylabel("shares a second")
    volume.yaxis.set_major_formatter(lambda shares, _: f"{shares:,.0f}")
    volume.legend(loc="upper right", fontsize=9)
    gates_strip(strip, at, [reading for _, reading in rows])
    clock_axis(strip, rows[-1][0] - rows[0][0])
    return figure


def gates_strip(strip: Any, at: Sequence[datetime], rows: Sequence[Reading | None]) -> None:
    """A line for each condition and one for all: green where it holds, grey where it was not asked or nothing was heard."""
    from matplotlib.colors import ListedColormap

    held = np.full((len(GATES), len(rows)), nan)
    for place, reading in enumerate(rows):
        if reading is not None:
            held[:-1, place] = [nan if gate.off else float(gate.ok) for gate in reading.gates]
            held[-1, place] = float(reading.signal)
    colours = ListedColormap(["#ffffff", GREEN]).with_extremes(bad=PALE)
    edges = np.arange(len(GATES) + 1) + 0.5
    strip.pcolormesh(at, edges, held[:, :-1], cmap=colours, vmin=0, vmax=1, shading="flat", rasterized=True)
    strip.set_yticks(range(1, len(GATES) + 1), GATES, fontsize=8)
    strip.set_ylim(len(GATES) + 0.5, 0.5)
    strip.grid(visible=False)


def entries_and_exits(price: Any, told: Sequence[Reading], trades: Sequence[Trade]) -> None:
    """Triangles, entries under the price and exits over it, so that one does not hide the other."""
    from matplotlib.transforms import ScaledTranslation

    closes = {reading.start: reading.close for reading in told}
    for times, colour, shape, name, points in (
        ([trade.opened_at for trade in trades], GREEN, "^", "entry", -9),
        ([trade.closed_at for trade in trades], RED, "v", "exit", 9),
    ):
        heights = [near(closes, moment) for moment in times]
        aside = price.transData + ScaledTranslation(0, points / 72, price.figure.dpi_scale_trans)
        style = {"color": colour, "markersize": 9, "markeredgecolor": "white", "label": name, "zorder": 5}
        price.plot(moments(times), heights, shape, transform=aside, **style)


def near(closes: dict[int, float], at: float) -> float:
    """The close of the last second that had ended."""
    return next((closes[second] for second in range(int(at) - 1, int(at) - 60, -1) if second in closes), nan)


# --- a position --------------------------------------------------------------------------------------------------------


def position_figure(marks: Sequence[Mark], entry: float, limits: Limits, closed: Trade | None) -> Figure:
    """A position's mark between bid and ask, with its entry, peak, stop and giveback lines; `closed` None: it is still open."""
    figure, (panel,) = new_figure((1,), 4.2)
    rows = broken(marks, lambda mark: mark.at, BLIND_S)
    at = moments([moment for moment, _ in rows])

    def column(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([nan if mark is None else getattr(mark, name) for _, mark in rows])

    peak = column("peak")
    panel.fill_between(
        at, column("bid"), column("ask"), step="post", color=BLUE, alpha=0.15, linewidth=0, label="bid to ask"
    )
    panel.step(at, column("mark"), color=BLUE, linewidth=1.5, where="post", label="mark")
    panel.step(at, peak, color=GREEN, linewidth=1.2, where="post", label="peak")
    dashed = {"linewidth": 1.0, "linestyle": "--", "where": "post"}
    panel.step(at, peak * (1 - limits.tight), color=ORANGE, label=f"VWAP giveback {limits.tight:.0%}", **dashed)
    panel.step(at, peak * (1 - limits.hard), color=RED, label=f"hard giveback {limits.hard:.0%}", **dashed)
    panel.axhline(entry, color=GREY, linewidth=1.0, label="entry")
    panel.axhline(entry * (1 - limits.stop), color=RED, linewidth=1.0, linestyle=":", label=f"stop {limits.stop:.0%}")
    if closed is not None and closed.exit is not None:
        panel.plot(
            moments([closed.closed_at]), [closed.exit / 1000], "v", color=RED, markersize=10, markeredgecolor="white",
            label=f"exit {clock_text(closed.closed_at)}", zorder=5,
        )  # fmt: skip
    panel.set_ylabel("dollars")
    legend_above(panel, 8)
    clock_axis(panel, rows[-1][0] - rows[0][0])
    return figure


# --- many sessions -----------------------------------------------------------------------------------------------------


def equity_figure(dates: ByDate) -> Figure:
    """The balance at each session's end; below it the underlying bought and held, in the same unit."""
    figure, (panel, held) = new_figure((3, 2), 5.6)
    days = [day.date for day in dates.days]
    curve = np.array([day.equity for day in dates.days])
    panel.step(days, curve, where="post", color=BLUE, linewidth=1.5, label="equity")
    below = {"step": "post", "color": RED, "alpha": 0.15, "label": "below its high"}
    panel.fill_between(days, curve, np.maximum.accumulate(np.maximum(curve, 0.0)), **below)
    held.plot(
        days, [nan if day.held is None else day.held for day in dates.days], color=ORANGE, label="100 shares of IWM held"
    )
    for one in (panel, held):
        one.axhline(0, color=GREY, linewidth=0.8)
        one.set_ylabel("dollars")
        one.legend(loc="best", fontsize=9)
    return figure


def distribution_figure(trades: Sequence[Closed]) -> Figure:
    """How often which P&L; no bar holds gains and losses both."""
    figure, (panel,) = new_figure((1,), 3.6)
    edges, counts = bins_of(trades)
    colours = [GREEN if left >= 0 else RED for left in edges[:-1]]
    panel.bar(
        edges[:-1], counts, width=[right - left for left, right in pairwise(edges)], align="edge", color=colours, alpha=0.8
    )
    panel.set_xlabel("P&L of a trade, dollars")
    panel.set_ylabel("trades")
    return figure


def bins_of(trades: Sequence[Closed]) -> tuple[list[float], list[int]]:
    """Edges in dollars and counts of the distribution of P&L; zero is an edge."""
    pnl = np.array([trade.pnl / 1000 for trade in trades])
    step = max(float(np.ptp(pnl)), 1.0) / min(40, max(10, len(pnl) // 3))
    first, last = np.floor(pnl.min() / step), np.floor(pnl.max() / step)
    counts, edges = np.histogram(pnl, bins=np.arange(first, last + 2) * step)
    return edges.tolist(), counts.tolist()
