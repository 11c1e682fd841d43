"""A bench whose every batch goes onto a tape."""

from __future__ import annotations

from pathlib import Path

from disk.tape import Tape
from events import AnyAction, AnyEvent
from strategies.registry import build
from tests.kit.deskbench import DAY, Bench
from utils import SessionCalendar


class Still:
    """A clock that says what the bench says."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def now(self) -> float:
        return self.bench.now

    wall = steady = now

    def moved(self) -> float:
        return 0.0

    def real_seconds(self, seconds: float) -> float:
        return seconds

    def confirm(self) -> None:
        pass


class Taped(Bench):
    """A bench whose every batch goes onto a tape in `folder`."""

    def __init__(self, folder: Path, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]
        self.config = self.config.model_copy(update={"data_dir": folder})
        self.desk = build(self.config, SessionCalendar(DAY), self.desk.remembered)
        self.tape = Tape(self.config, Still(self), "1.0.0")
        self.tape.begin(self.desk)
        decide = self.desk.decide

        def decide_and_keep(events: list[AnyEvent]) -> list[AnyAction]:
            try:
                actions = decide(events)
            except Exception as fault:
                self.tape.take(self.desk, events, raised=type(fault).__name__)
                raise
            self.tape.take(self.desk, events, actions)
            return actions

        self.desk.decide = decide_and_keep  # type: ignore[method-assign, assignment]
