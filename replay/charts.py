"""The figures of a report that a pointer can read: pure descriptions in plotly's terms, drawn by `static/report.js`.

Colours are names of the page's own (`--price`), columns stand beside the traces and are named in them (`@close`). Times are
milliseconds of New York's wall clock. Price and 5-minute VWAP differ in dash and width too, gains and losses in their symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any, Literal

from msgspec import Struct

from events import Trade
from replay.by_date import ByDate
from replay.figures import BLIND_S, GAP_S, GATES, Limits, Mark, bins_of, broken, near
from replay.paths import Closed
from replay.show import many
from replay.worth import money
from signals import Reading
from utils import clock_text, contract_name, dollars, new_york, signed_dollars

Trace = dict[str, Any]
SAID = {"hovertemplate": "%{customdata}"}


class Panel(Struct, frozen=True):
    """One of the panels above each other: its share of the height, its title, and what is particular to its axis."""

    share: float
    title: str
    axis: dict[str, Any] = {}


class Figure(Struct, frozen=True):
    """`x`: what runs along the bottom; heights in pixels on a wide and on a narrow screen."""

    name: str
    title: str
    x: Literal["time", "date", "number"]
    panels: list[Panel]
    traces: list[Trace]
    columns: dict[str, list[Any]] = {}
    shapes: list[dict[str, Any]] = []
    height: int = 420
    narrow_height: int = 340
    x_title: str = ""
    legend: bool = True


def wall(at: float) -> int:
    """Milliseconds of New York's wall clock, as if it were UTC: what a date axis without a time zone shows."""
    offset = new_york(at).utcoffset()
    return round((at + (0 if offset is None else offset.total_seconds())) * 1000)


def line(name: str, x: str, y: str, colour: str, width: float = 1.5, **more: Any) -> Trace:
    look = {"color": colour, "width": width, **more.pop("line", {})}
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": look, **more}


def rounded(value: float | None, places: int) -> float | None:
    return None if value is None or isnan(value) else round(value, places)


# --- a session ---------------------------------------------------------------------------------------------------------


def session_chart(told: Sequence[Reading], trades: Sequence[Trade], blind: Sequence[tuple[float, float]] = ()) -> Figure:
    """Price and VWAPs with entries and exits; volume against its 95th percentile; a line for each condition while it holds."""
    rows = broken(told, lambda reading: reading.start, GAP_S)
    columns: dict[str, list[Any]] = {"t": [wall(at) for at, _ in rows]}
    for name, places in (("close", 4), ("vwap_60", 4), ("vwap_300", 4), ("volume", 0), ("volume_p95", 1)):
        columns[name] = [None if reading is None else rounded(getattr(reading, name), places) for _, reading in rows]
    columns["gates"] = [None if reading is None else bits_of(reading) for _, reading in rows]
    p95 = sorted(value for value in columns["volume_p95"] if value is not None)
    traces = [
        line("VWAP 1m", "@t", "@vwap_60", "--vwap", 1.2, hovertemplate="%{y:.2f}"),
        line("VWAP 5m", "@t", "@vwap_300", "--trend", 2.6, line={"dash": "dash"}, hovertemplate="%{y:.2f}"),
        line("price", "@t", "@close", "--price", 1.4, hovertemplate="%{y:.2f}"),
        *trade_marks(told, trades),
        line("volume", "@t", "@volume", "--volume", 0.8, yaxis="y2", fill="tozeroy", hovertemplate="%{y:,.0f}"),
        line("95th percentile", "@t", "@volume_p95", "--trend", 1.6, yaxis="y2", hovertemplate="%{y:,.0f}"),
        *(gate_trace(place, name) for place, name in enumerate(GATES, 1)),
        {
            **line("conditions that hold", "@t", "@close", "--text 0", 1, showlegend=False),
            "customdata": "@gates:all",
            **SAID,
        },
    ]
    panels = [
        Panel(5, "dollars", {"tickformat": ".2f"}),
        Panel(1.8, "shares a second", {"range": [0, 3 * (p95[-1] if p95 else 1.0)], "tickformat": "~s"}),
        Panel(2.2, "", gates_axis()),
    ]
    return Figure("session", "Price, volume and conditions", "time", panels, traces, columns, spans(trades, blind), 760, 640)


def bits_of(reading: Reading) -> int:
    """A bit for each condition that holds, and the highest where all do."""
    held = sum(1 << place for place, gate in enumerate(reading.gates) if gate.ok and not gate.off)
    return held | (1 << len(GATES) - 1 if reading.signal else 0)


def gate_trace(place: int, name: str) -> Trace:
    """A condition while it holds: a line, and of all together a mark for each second."""
    trace = line(name, "@t", f"@gates:{place}", "--gain", 9, yaxis="y3", showlegend=False, hoverinfo="skip")
    if place == len(GATES):
        trace |= {"mode": "markers", "marker": {"symbol": "square", "size": 9, "color": "--accent"}}
    return trace


def gates_axis() -> dict[str, Any]:
    count = len(GATES)
    ticks = {"tickvals": list(range(count, 0, -1)), "ticktext": list(GATES)}
    return {**ticks, "range": [0.4, count + 0.6], "fixedrange": True, "tickfont": {"size": 9.5}, "automargin": True}


def trade_marks(told: Sequence[Reading], trades: Sequence[Trade]) -> list[Trace]:
    """Entries as triangles up, exits as triangles down, filled where the trade gained; each says its price and reason."""
    closes = {reading.start: reading.close for reading in told}
    entries = [
        (trade.opened_at, f"BUY {contract_name(trade.contract)} {dollars(trade.entry, 2)} at {clock_text(trade.opened_at)}")
        for trade in trades
    ]
    exits = [
        (trade.closed_at, f"SELL {exit_text(trade)} at {clock_text(trade.closed_at)}: {trade.detail}") for trade in trades
    ]
    manners = ["--gain" if (trade.pnl or 0) > 0 else "--loss" for trade in trades]
    found = []
    for name, symbol, marks, colours in (
        ("entry", "triangle-up", entries, ["--accent"] * len(trades)),
        ("exit", "triangle-down", exits, manners),
    ):
        marker = {"symbol": symbol, "size": 13, "color": colours, "line": {"color": "--card", "width": 1.5}}
        found.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [wall(at) for at, _ in marks],
                "y": [rounded(near(closes, at), 4) for at, _ in marks],
                "text": [words for _, words in marks],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": marker,
            }
        )
    return found


def exit_text(trade: Trade) -> str:
    if trade.exit is None or trade.pnl is None:
        return "unresolved"
    return f"{dollars(trade.exit, 2)}, {signed_dollars(trade.pnl)}"


def spans(trades: Sequence[Trade], blind: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    """While a position was held the panel is shaded; while the feed was away, all panels are."""
    held = [
        span(trade.opened_at, trade.closed_at, "--gain 0.13" if (trade.pnl or 0) > 0 else "--loss 0.13", "y domain")
        for trade in trades
    ]
    return [*held, *(span(first, last, "--quiet 0.3", "paper") for first, last in blind)]


def span(first: float, last: float, colour: str, over: str) -> dict[str, Any]:
    place = {"x0": wall(first), "x1": wall(last), "xref": "x", "y0": 0, "y1": 1, "yref": over}
    return {"type": "rect", "layer": "below", "line": {"width": 0}, "fillcolor": colour, **place}


# --- a position --------------------------------------------------------------------------------------------------------


def position_chart(
    name: str, title: str, marks: Sequence[Mark], entry: float, limits: Limits, closed: Trade | None
) -> Figure:
    """A position's mark between bid and ask, with its entry, peak, stop and giveback lines; `closed` None: it is still open."""
    rows = broken(marks, lambda mark: mark.at, BLIND_S)
    columns: dict[str, list[Any]] = {"t": [wall(at) for at, _ in rows]}
    for side in ("bid", "ask", "mark", "peak"):
        columns[side] = [None if mark is None else rounded(getattr(mark, side), 4) for _, mark in rows]
    for line_, part in (("tight", limits.tight), ("hard", limits.hard)):
        columns[line_] = [None if peak is None else round(peak * (1 - part), 4) for peak in columns["peak"]]
    columns["entry"] = [entry] * len(rows)
    columns["stop"] = [round(entry * (1 - limits.stop), 4)] * len(rows)
    step = {"shape": "hv"}
    more = {"hovertemplate": "$%{y:.3f}", "connectgaps": False}
    traces = [
        line("bid", "@t", "@bid", "--price", 0.6, line=step, **more),
        line("ask", "@t", "@ask", "--price", 0.6, line=step, fill="tonexty", fillcolor="--price 0.15", **more),
        line("mark", "@t", "@mark", "--price", 2.4, line=step, **more),
        line("peak", "@t", "@peak", "--gain", 1.4, line=step, **more),
        line(f"VWAP giveback {limits.tight:.0%}", "@t", "@tight", "--vwap", 1.4, line={**step, "dash": "dash"}, **more),
        line(f"hard giveback {limits.hard:.0%}", "@t", "@hard", "--loss", 1.4, line={**step, "dash": "dash"}, **more),
        line("entry", "@t", "@entry", "--quiet", 1.2, **more),
        line(f"stop {limits.stop:.0%}", "@t", "@stop", "--loss", 1.4, line={"dash": "dot"}, **more),
    ]
    if closed is not None and closed.exit is not None:
        marker = {"symbol": "triangle-down", "size": 14, "color": "--loss" if (closed.pnl or 0) <= 0 else "--gain"}
        at = {"x": [wall(closed.closed_at)], "y": [closed.exit / 1000]}
        words = f"SELL {exit_text(closed)}: {closed.detail}<extra></extra>"
        traces.append({"type": "scatter", "mode": "markers", "name": "exit", **at, "marker": marker, "hovertemplate": words})
    return Figure(name, title, "time", [Panel(1, "dollars", {"tickformat": "$.2f"})], traces, columns, [], 400, 360)


# --- many sessions -----------------------------------------------------------------------------------------------------


def equity_chart(dates: ByDate) -> Figure:
    """The balance at each session's end with its high; the P&L of each session; the underlying bought and held, in the same unit."""
    days = dates.days
    high, highs = 0.0, []
    for day in days:
        high = max(high, day.equity)
        highs.append(high)
    columns: dict[str, list[Any]] = {
        "day": [str(day.date) for day in days],
        "equity": [day.equity for day in days],
        "high": highs,
        "pnl": [day.pnl for day in days],
        "held": [day.held for day in days],
        "equity_text": [money(day.equity) for day in days],
        "high_text": [money(value) for value in highs],
        "held_text": [money(day.held) or "not known" for day in days],
        "pnl_text": [f"{money(day.pnl)}: {many(day.trades, 'trade')}, {many(day.wins, 'win')}" for day in days],
    }
    colours = ["--gain" if day.pnl > 0 else "--loss" for day in days]
    traces = [
        line("high", "@day", "@high", "--quiet", 1, line={"dash": "dot"}, customdata="@high_text", **SAID),
        line(
            "equity", "@day", "@equity", "--price", 2.2, fill="tonexty", fillcolor="--loss 0.12", customdata="@equity_text", **SAID
        ),
        {
            "type": "bar", "name": "P&L of the day", "x": "@day", "y": "@pnl", "yaxis": "y2", "marker": {"color": colours},
            "customdata": "@pnl_text", "showlegend": False, **SAID,
        },
        line("100 IWM held", "@day", "@held", "--leader", 2, yaxis="y3", customdata="@held_text", **SAID),
    ]  # fmt: skip
    dollars_ = {"tickformat": "$,.0f"}
    panels = [Panel(4, "equity, $", dollars_), Panel(2, "a day, $", dollars_), Panel(2.5, "IWM held, $", dollars_)]
    title = f"Equity by date, max drawdown ${dates.max_drawdown:,.2f} at the sessions' ends, beside IWM bought and held"
    return Figure("equity", title, "date", panels, traces, columns, [], 640, 560)


def distribution_chart(trades: Sequence[Closed]) -> Figure:
    """How often which P&L; no bar holds gains and losses both."""
    edges, counts = bins_of(trades)
    width = edges[1] - edges[0]
    bar = {
        "type": "bar",
        "x": [round(left + width / 2, 4) for left in edges[:-1]],
        "y": counts,
        "width": [width] * len(counts),
        "marker": {
            "color": ["--gain" if left >= 0 else "--loss" for left in edges[:-1]],
            "line": {"width": 1, "color": "--card"},
        },
        "text": [f"{money(left) or '$0.00'} to {money(left + width)}" for left in edges[:-1]],
        "textposition": "none",
        "hovertemplate": "%{text}: %{y} trades<extra></extra>",
    }
    panel = [Panel(1, "trades", {"rangemode": "tozero"})]
    return Figure(
        "distribution",
        "P&L of the trades",
        "number",
        panel,
        [bar],
        {},
        [],
        300,
        260,
        "P&L of a trade, dollars",
        legend=False,
    )
