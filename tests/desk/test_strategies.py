"""A fault stays with its owner: beside vwap, strategies that raise, flood and write what cannot be; what a user sees of vwap stays."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from desk.strategy import MarketEvent, PutBack, Scene, Status, Wants
from events import AlertDelivered, AnyAction, AnyEvent, Backfill, Deliver, Noted
from strategies.registry import build
from tests.kit import frozen, simday
from utils import Session


class Nothing(Struct, frozen=True):
    count: int = 0


class Other:
    """A strategy that wants IWM's bars and does nothing: what the bad ones begin with."""

    name = "other"
    wants = Wants(("IWM", "SPY"), ("IWM",))
    memory: Any = Nothing()

    def begin(self, session: Session | None) -> None:
        pass

    def take(self, event: MarketEvent) -> None:
        pass

    def hear(self, turn: Any, event: AnyEvent | PutBack) -> None:
        pass

    def judge(self, turn: Any) -> None:
        pass

    def out_by(self, session: Session) -> float | None:
        return None

    def scene(self, at: float) -> Scene:
        return Scene()

    def status(self, turn: Any) -> Status:
        return Status(self.name)


class Raises(Other):
    """At every event, wherever it is called."""

    def take(self, event: MarketEvent) -> None:
        raise ValueError("at every bar")

    def hear(self, turn: Any, event: AnyEvent | PutBack) -> None:
        turn.log("info", "🚀 this must not be seen")
        turn.write(Noted(turn.at, "signal", {"never": "written"}))
        raise KeyError("at every event")

    def judge(self, turn: Any) -> None:
        turn.remember(count=turn.memory.count + 1)
        raise ZeroDivisionError

    def scene(self, at: float) -> Scene:
        raise RuntimeError

    def status(self, turn: Any) -> Status:
        raise RuntimeError("no words")


def beside(monkeypatch: pytest.MonkeyPatch, *others: Other) -> None:
    """Simulated days with these strategies beside vwap."""
    monkeypatch.setattr(simday, "build", lambda config, calendar, kept: build(config, calendar, kept, others))


@pytest.mark.parametrize("seed", [0, 3, 7, 10])
def test_what_is_seen_of_vwap_stays_beside_a_strategy_that_raises_at_every_event(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = lines_of(seed)
    beside(monkeypatch, Raises())
    told = lines_of(seed)
    off = [line for line in told if "other" in line.lower()]
    assert [line for line in told if "other" not in line.lower()] == alone
    assert off
    assert not any("must not be seen" in line for line in told)


class Beside(frozen.Seen):
    """A world that answers the other strategy without a draw, so that its chances for vwap are the same."""

    def do(self, action: AnyAction) -> None:
        match action:
            case Deliver() if "OTHER" in action.alert_id:
                done = AlertDelivered(at=0, alert_id=action.alert_id, attempt=action.attempt)
                self.later(0.1, done)
            case Backfill() if action.strategy:
                return
            case _:
                super().do(action)


def lines_of(seed: int) -> list[str]:
    day = Beside(seed)
    day.run()
    return day.lines
