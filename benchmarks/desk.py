"""The desk over a session of real seconds, beside the bare loop of `desk_loop` on the same bars.

Every bar of IWM and of SPY is one event and one decision, in order of arrival; the loop is given them as lists, all at once. Both
are timed in turn, and the figure is the median of the rounds' ratios: whoever else uses the machine slows both. The real seconds
are those of a file (an ETF's, played as IWM) where it is at hand, else a generated session's; SPY is simulated to go with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.desk_loop import bare_loop, made_session
from benchmarks.figures import Figure
from config import Config
from desk.desk import Desk
from events import AnyEvent, Bar, BarClosed, FeedConnected, HalfSecondPassed, ProfileArrived, Remembered, WorkerStarted
from simulator.market import date_of_bars, load_bars, read_bars
from strategies.registry import build
from utils import Session, SessionCalendar

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "seconds" / "SPY_20131007.csv.gz"
ROUNDS = 7
KEYS = {"POLYGON_API_KEY": "k" * 20, "PUSHOVER_TOKEN": "a" * 30, "PUSHOVER_USER_KEY": "u" * 30}


def session_bars(file: Path = REAL) -> tuple[Session, list[Bar], list[Bar], tuple[float, ...], str]:
    """A session, its bars of IWM and SPY, a volume profile, and where they are from."""
    if not file.exists():
        return *made_session(), "a generated session"
    day: date = date_of_bars(read_bars(file))
    session = SessionCalendar(day).on(day)
    assert session is not None
    columns = load_bars(file, session).columns
    iwm, spy = (
        [bar for bar in columns[symbol].bars(symbol) if session.open_at <= bar.start < session.close_at]
        for symbol in ("IWM", "SPY")
    )
    return session, iwm, spy, (sum(bar.volume for bar in iwm) / 390,) * 390, f"real seconds, {file.name}"


def events_of(session: Session, iwm: Sequence[Bar], spy: Sequence[Bar], *, ticks: bool) -> list[AnyEvent]:
    """The session as the desk hears it: SPY's bar ahead of IWM's of the same second; with `ticks`, its half seconds too."""
    told: list[tuple[float, int, AnyEvent]] = []
    for rank, bars in enumerate((spy, iwm)):
        told += [(bar.start + 1.0, rank, BarClosed(at=bar.start + 1.0, bar=bar)) for bar in bars]
    if ticks:
        halves = (at / 2 for at in range(session.open_at * 2, session.close_at * 2))
        told += [(at, 2, HalfSecondPassed(at=at)) for at in halves]
    return [event for _, _, event in sorted(told, key=lambda item: item[:2])]


def ready_desk(session: Session, profile: tuple[float, ...]) -> Desk:
    """A desk at the open, connected and with its profile."""
    at = float(session.open_at)
    desk = build(Config.from_env(KEYS), SessionCalendar(session.date), Remembered())
    desk.decide([WorkerStarted(at=at, version="benchmark", mode="replay"), FeedConnected(at=at, feed="stocks")])
    desk.decide([ProfileArrived(at=at, symbol="IWM", date=session.date.isoformat(), minutes=profile, sessions=())])
    return desk


def decide_all(desk: Desk, events: list[AnyEvent]) -> float:
    """Seconds the desk takes for these events, one decision each."""
    decide = desk.decide
    begun = perf_counter()
    for event in events:
        decide([event])
    return perf_counter() - begun


def measure(rounds: int = ROUNDS) -> list[Figure]:
    session, iwm, spy, profile, source = session_bars()
    columns: dict[str, Any] = {name: [getattr(bar, name) for bar in iwm] for name in ("start", "close", "volume", "vwap")}
    columns |= {f"spy_{name}": [getattr(bar, name) for bar in spy] for name in ("start", "close")}
    bars, day = events_of(session, iwm, spy, ticks=False), events_of(session, iwm, spy, ticks=True)
    bare, by_bar, by_day = [], [], []
    for _ in range(rounds):
        begun = perf_counter()
        bare_loop(**columns, profile=list(profile), open_at=session.open_at)
        bare.append(perf_counter() - begun)
        by_bar.append(decide_all(ready_desk(session, profile), bars))
        by_day.append(decide_all(ready_desk(session, profile), day))
    ratios = [loop / desk for loop, desk in zip(bare, by_bar, strict=True)]
    speeds = f"{len(iwm) / min(by_bar):,.0f} bars of IWM a second, the loop {len(iwm) / min(bare):,.0f}"
    note = f"{source}; {speeds}; {min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds"
    return [
        Figure("desk over a session, of the bare loop's speed", median(ratios), "", at_least=0.3, note=note),
        Figure("the same with its half seconds", median(by_day) * 1000, "ms", note=f"{len(day):,} decisions"),
    ]
