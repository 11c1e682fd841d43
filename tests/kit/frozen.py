"""What a user sees of simulated days and of real sessions, in words: alerts with texts and times, trades, notes, decisions in the log.

python -m tests.kit.frozen            # prints what tests/frozen.json should hold
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from pathlib import Path

from config import Config
from events import (
    AlertChanged,
    AnyAction,
    AnyEvent,
    Commit,
    Deliver,
    Explain,
    Noted,
    PositionClosed,
    PositionOpened,
    PositionVoided,
)
from tests.kit.simday import KEYS, Day
from utils import SessionCalendar, clock_text

SEEDS = range(48)
REAL = (date(2013, 10, 7), date(2013, 10, 8), date(2013, 10, 9))
SECONDS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "seconds"
DECISIONS = (
    "🚀",
    "🔥",
    "🚪",
    "⏰",
    "no entry",
    "signal not taken",
    "BLIND",
    "sight restored",
    "position voided",
    "position possibly",
)


def visible(actions: list[AnyAction]) -> Iterator[str]:
    for action in actions:
        match action:
            case Deliver():
                yield f"{action.channel} {action.priority} {action.title}\n{action.text}"
            case Explain(level, text) if text.startswith(DECISIONS):
                yield f"{level} {text}"
            case Commit():
                for write in action.writes:
                    match write:
                        case PositionOpened(position):
                            yield f"opened {position.id} {position.contract} {position.entry}"
                        case PositionClosed(trade):
                            yield f"closed {trade.id} {trade.exit} {trade.pnl} {trade.reason} {trade.detail} {trade.stale}"
                        case PositionVoided(position, _, reason):
                            yield f"voided {position.id} {reason}"
                        case Noted(_, kind, body):
                            yield f"noted {kind} {sorted(body.items(), key=str)}"
                        case AlertChanged(row) if row.attempts == 0 and row.outcome == "queued":
                            yield f"queued {row.alert.id}"


class VisibleDay(Day):
    """A simulated day that keeps what can be seen of it. The order within one instant is nobody's to see."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.lines: list[str] = []

    def decide(self, events: list[AnyEvent]) -> None:
        decide = self.desk.decide
        self.desk.decide = lambda batch: self._look(decide(batch))
        try:
            super().decide(events)
        finally:
            self.desk.__dict__.pop("decide", None)

    def _look(self, actions: list[AnyAction]) -> list[AnyAction]:
        self.lines += sorted(f"{clock_text(self.now)} {line}" for line in visible(actions))
        return actions


def of_seed(seed: int) -> str:
    day = VisibleDay(seed)
    day.run()
    return hashed(day.lines)


def of_session(day: date) -> str:
    """A recorded session of SPY as if it were IWM's, SPY's own beside it, with modelled quotes."""
    from replay import paths
    from replay.files.bars import joined

    bars = joined([SECONDS / f"SPY_{day:%Y%m%d}.csv.gz"], "SPY")
    calendar = SessionCalendar(day)
    session = calendar.on(day)
    assert session is not None
    config = Config.from_env({**KEYS, "RELATIVE_VOLUME_FILTER": "off", "DELTA_MIN": "0.15", "DELTA_MAX": "0.70"})
    lines: list[str] = []

    def look(_desk: object, events: list[AnyEvent], actions: list[AnyAction]) -> None:
        lines.extend(sorted(f"{clock_text(events[-1].at)} {line}" for line in visible(actions)))

    paths.live_through(config, calendar, paths.day_of(bars, bars, session, None), 2.0, watch=look)
    return hashed(lines)


def hashed(lines: list[str]) -> str:
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


if __name__ == "__main__":
    frozen = {"seeds": {str(seed): of_seed(seed) for seed in SEEDS}, "sessions": {str(day): of_session(day) for day in REAL}}
    print(json.dumps(frozen, indent=1))
