"""A fault stays with its owner: beside vwap, strategies that raise, flood and write what cannot be; what a user sees of vwap stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import Struct

from desk import delivery
from desk.strategy import MarketEvent, PutRight, Scene, Status, Wants
from disk import book as ledger_book
from disk import schema as ledger_schema
from events import (
    Alert,
    AnyAction,
    AnyEvent,
    BarClosed,
    ChainFailed,
    Commit,
    Committed,
    HalfSecondPassed,
    Noted,
    OperatorSpoke,
    PositionMarked,
    QuoteFailed,
    Remembered,
    ThreadFailed,
    TookLong,
)
from strategies.registry import build
from strategies.vwap.strategy import Vwap
from tests.kit import frozen
from tests.kit.books import a_position
from tests.kit.deskbench import Bench, row
from utils import Session, clock_text


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

    def hear(self, turn: Any, event: AnyEvent | PutRight) -> None:
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

    def hear(self, turn: Any, event: AnyEvent | PutRight) -> None:
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


class Slow(Other):
    """It takes a second for each thing it hears, by the desk's own stopwatch."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def hear(self, turn: Any, event: AnyEvent | PutRight) -> None:
        self.seconds += 1.0


class Contradicts(Other):
    """It writes what the ledger refuses."""

    def hear(self, turn: Any, event: AnyEvent | PutRight) -> None:
        if isinstance(event, HalfSecondPassed) and turn.every("nonsense", 20.0):
            turn.write(PositionMarked(a_position("never-opened")))


class Floods(Other):
    """It has something to tell every half second."""

    def hear(self, turn: Any, event: AnyEvent | PutRight) -> None:
        if isinstance(event, HalfSecondPassed):
            told = Alert(f"OTHER-{turn.at}", "OPS", "other says", "again", 0, turn.at, expires_at=turn.at + 600)
            delivery.say(turn, told)


class Stage(Bench):
    """A desk on the bench over the real books, with a strategy beside vwap; what is seen of it, with its times."""

    def __init__(self, *others: Other, **settings: str) -> None:
        self.lines: list[str] = []
        super().__init__(**settings)  # type: ignore[arg-type]
        watch = (lambda: others[0].seconds) if others and isinstance(others[0], Slow) else (lambda: 0.0)
        self.desk = build(self.config, self.calendar, Remembered(), others, watch)
        self.books = sqlite3.connect(":memory:", isolation_level=None)
        ledger_schema.upgrade(self.books)

    def put(self, *events: AnyEvent) -> list[AnyAction]:
        actions = super().put(*events)
        self.lines += [f"{clock_text(self.now)} {line}" for line in frozen.visible(actions)]
        for name, seconds in list(self.desk.took.items()):
            if seconds >= 0.25 and name != "desk":
                self.put(TookLong(at=self.now, strategy=name, seconds=seconds))
        return actions

    def _answer(self, action: AnyAction) -> AnyEvent | None:
        if isinstance(action, Commit):
            refused = ledger_book.write(self.books, action.parts)
            return Committed(at=self.now, commit=action.commit, refused=refused)
        return super()._answer(action)


def story(stage: Stage) -> list[str]:
    """Signals, a BUY, a peak, a giveback, a stall, a chain that fails, a second trade, the time stop, the evening."""
    stage.ready()
    stage.surge()
    for bid in (520, 560, 600, 590, 480, 400):
        stage.tick(1)
        stage.quote(bid, bid + 10)
    stage.tick(20)
    stage.put(ChainFailed(at=stage.now, underlying="IWM", right="call", reason="503"))
    for _ in range(300):
        stage.bar()
    stage.chain(row(at=stage.now))
    stage.surge()
    stage.quote(500, 510)
    stage.put(OperatorSpoke(at=stage.now, command="close_now", who="page"))
    assert stage.session is not None
    stage.now = stage.session.close_at - 600.0
    stage.tick(700)
    return stage.lines


def without_the_other(lines: list[str]) -> list[str]:
    return [line for line in lines if "other" not in line.lower()]


@pytest.mark.parametrize("other", [Raises, Slow, Contradicts, Floods])
def test_what_is_seen_of_vwap_stays_beside_a_strategy_that(other: type[Other]) -> None:
    alone = story(Stage())
    assert sum("🔥 IWM 0DTE CALL — BUY" in line for line in alone) >= 2, "the story has trades in it"
    assert sum("🚪 IWM 0DTE CALL — SELL" in line for line in alone) >= 2
    stage = Stage(other())
    told = story(stage)
    assert without_the_other(told) == alone
    assert not any("must not be seen" in line for line in told)
    if other is not Floods:
        assert stage.desk.state.barred.keys() == {"other"}
        off = [action for action in stage.delivered if "other takes no more entries" in action.title]
        assert len(off) == 1, "the phone is told once"
    else:
        assert 0 < sum("other says" in action.title for action in stage.delivered) <= 12


def test_an_event_that_raises_loses_neither_the_second_nor_the_events_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage().ready()
    heard: list[AnyEvent] = []
    monkeypatch.setitem(stage.desk._handlers, QuoteFailed, lambda turn, event: 1 / 0)
    monkeypatch.setitem(stage.desk._handlers, ThreadFailed, lambda turn, event: heard.append(event))
    decide = stage.desk.decide

    def beside(events: Sequence[AnyEvent]) -> list[AnyAction]:
        if any(isinstance(event, BarClosed) and event.bar.symbol == "IWM" for event in events):
            bad = QuoteFailed(at=events[-1].at, contract="X", reason="")
            events = [bad, *events, ThreadFailed(at=events[-1].at, thread="x", reason="y")]
        return decide(events)

    monkeypatch.setattr(stage.desk, "decide", beside)
    stage.surge()
    assert stage.phase == "Holding", "the second of the signal was judged"
    assert heard


def test_the_desk_closes_what_its_strategy_leaves_open_five_seconds_after_it_must_be_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage().ready()
    stage.surge()
    stage.quote(500, 510)
    assert stage.session is not None
    monkeypatch.setattr(Vwap, "hear", lambda self, turn, event: 1 / 0)
    monkeypatch.setattr(Vwap, "scene", lambda self, at: 1 / 0)
    out_by = stage.desk.strategies["vwap"].out_by(stage.session)
    assert out_by is not None
    stage.now = out_by + 4.0
    stage.tick(0.5)
    assert stage.phase == "Holding"
    stage.tick(1.0)
    assert stage.phase == "Flat"
    assert "by the desk" in stage.said("SELL")[0].text
