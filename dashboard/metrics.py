"""The numbers of /metrics: what main counts as it works, and what can be read off a View when somebody asks."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from dashboard.health import Health
from dashboard.latency import LATENCIES, latencies
from dashboard.view import View
from desk.state import ASSUMED
from events import AnyEvent

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0)
MILL = 1000

Numbers = Iterator[tuple[str, str, float | None]]


class Work:
    """What main counts: events by kind, decisions, how long one takes and each strategy in it, how old its oldest event was."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.events = Counter("desk_events", "Events taken from the inbox", ["kind"], registry=self.registry)
        self.decide_s = Histogram(
            "desk_decide_seconds", "Duration of one decision", registry=self.registry, buckets=BUCKETS_S
        )
        self.latency_s = Histogram(
            "desk_latency_seconds", "Arrival of the oldest event to the decision", registry=self.registry, buckets=BUCKETS_S
        )
        self.strategy_s = Counter(
            "desk_strategy_seconds", "Time that each strategy has taken", ["strategy"], registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def decided(self, events: Sequence[AnyEvent], took_s: float, waited_s: float, by: Mapping[str, float]) -> None:
        for owner, seconds in by.items():
            self.strategy_s.labels(owner).inc(seconds)
        for kind, count in Tally(map(type, events)).items():
            self.events.labels(kind.__name__).inc(count)
        self.decide_s.observe(took_s)
        self.latency_s.observe(max(waited_s, 0.0) + took_s)


class ViewCollector:
    """A collector: the last View, as gauges. A number that is not known is left out."""

    def __init__(self, view: Callable[[], View | None], now: Callable[[], float], health: Callable[[], Health]) -> None:
        self._view, self._now, self._health = view, now, health

    def collect(self) -> Iterator[Metric]:
        status = self._health()
        yield GaugeMetricFamily("desk_healthy", "1 while /health answers 200", value=float(status.is_well))
        view = self._view()
        if view is None:
            return
        for name, words, value in numbers(view, self._now()):
            if value is not None:
                yield GaugeMetricFamily(name, words, value=value)
        yield from gates(view)
        yield from alert_latencies(view)


def numbers(view: View, now: float) -> Numbers:
    """Name, words, value; money in dollars, ages in seconds."""
    state = view.state
    record, held, chain = state.record, view.held, view.vwap.chain
    yield "desk_feed_age_seconds", "Since any symbol was heard", now - view.heard_at if view.heard_at else None
    yield "desk_bar_age_seconds", "Since the end of the newest bar", now - view.newest - 1 if view.newest else None
    yield "desk_bar_delay_seconds", "End of a bar to its arrival", view.delay_s if view.newest else None
    yield "desk_chain_age_seconds", "Since the last chain", None if chain is None else now - chain.received_at
    yield "desk_tracked_contracts", "Contracts followed", 0 if chain is None else len(chain.selection.tracked)
    yield "desk_inbox_events", "Events waiting", view.waiting
    yield "desk_inbox_shed", "Superseded bars let go because the inbox was full", view.shed
    yield "desk_commits_waiting", "Commits on their way to the disk", len(state.pending)
    yield "desk_alerts_open", "Alerts about which something may still have to be done", len(state.outbox)
    yield "desk_threads_replaced", "Edge threads replaced of late", view.replaced
    yield "desk_entries_stopped", "1 while entries are stopped by hand", float(state.entries_stopped)
    yield "desk_phone_quota_left", "Messages left this month", state.line.quota_left
    yield "desk_trades", "Trades closed, lifetime", record.trades
    yield "desk_wins", "Trades with a gain", record.wins
    yield "desk_losses", "Resolved trades without a gain", record.losses
    yield "desk_balance_dollars", "Lifetime P&L of the assumed fills", record.balance / MILL
    yield "desk_position_open", "1 while a position is open", float(held is not None)
    if held is not None:
        position = held.position
        mark = position.last_mark
        yield "desk_position_entry_dollars", "Assumed entry", position.entry / MILL
        yield "desk_position_peak_dollars", "Highest confirmed mark", position.peak / MILL
        yield "desk_position_mark_dollars", "Last usable mark", None if mark is None else mark / MILL
        yield (
            "desk_quote_age_seconds",
            "Since the last fresh quote",
            None if held.quote_at is None else now - held.quote_at,
        )


def gates(view: View) -> Iterator[Metric]:
    ok = GaugeMetricFamily("desk_gate_ok", "1 while the entry condition holds", labels=["gate", "name"])
    margin = GaugeMetricFamily("desk_gate_margin", "Value less threshold", labels=["gate", "name"])
    for gate in () if view.reading is None else view.reading.gates:
        ok.add_metric([str(gate.number), gate.name], float(gate.ok))
        if gate.margin is not None:
            margin.add_metric([str(gate.number), gate.name], gate.margin)
    ok.add_metric(["8+9", "desk and data"], float(view.refusal is None))
    yield ok
    yield margin
    others = [status for status in view.statuses if status.name != ASSUMED]
    if others:
        lit = GaugeMetricFamily("desk_strategy_gate_ok", "1 while it holds", labels=["strategy", "gate", "name"])
        free = GaugeMetricFamily("desk_strategy_may_enter", "1 while nothing refuses its entries", labels=["strategy"])
        for status in others:
            free.add_metric([status.name], float(status.refusal is None))
            for gate in status.gates:
                lit.add_metric([status.name, str(gate.number), gate.name], float(gate.ok))
        yield lit
        yield free


def alert_latencies(view: View) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "desk_alert_latency_seconds", "Decision to acceptance, and to acknowledgement", labels=["to", "quantile"]
    )
    for to in LATENCIES:
        found = latencies(view.state, to)
        if found is not None:
            family.add_metric([to, "0.5"], found.p50)
            family.add_metric([to, "0.95"], found.p95)
    yield family


def exposition(work: CollectorRegistry, seen: ViewCollector) -> bytes:
    """The text of /metrics."""
    view = CollectorRegistry()
    view.register(seen)
    return generate_latest(work) + generate_latest(view)
