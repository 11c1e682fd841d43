"""What a user sees of simulated days, in words: alerts with their texts and times, trades, notes, and the log's lines of decisions.

python -m tests.kit.frozen [FIRST [COUNT]]     # the hash of each seed, and of all
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from hashlib import sha256

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
from tests.kit.simday import Day
from utils import clock_text

SEEDS = 48
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


class Seen(Day):
    """A day that keeps what can be seen of it. The order within one instant is nobody's to see."""

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


def hash_of(seed: int) -> str:
    day = Seen(seed)
    day.run()
    return sha256("\n".join(day.lines).encode()).hexdigest()[:16]


if __name__ == "__main__":
    first, count = (*map(int, sys.argv[1:]), *(0, SEEDS)[len(sys.argv) - 1 :])
    for seed in range(first, first + count):
        print(seed, hash_of(seed), flush=True)
