"""Ears: what an edge emits, kept in order, and waiting for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from events import AnyEvent

Kind = TypeVar("Kind", bound=AnyEvent)


class Ears:
    """Pass it as an edge's `emit`. `all` is everything heard so far."""

    def __init__(self) -> None:
        self.all: list[AnyEvent] = []
        self._changed = threading.Condition()

    def __call__(self, event: AnyEvent) -> None:
        with self._changed:
            self.all.append(event)
            self._changed.notify_all()

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.all if isinstance(event, kind)]

    def wait_for(
        self,
        kind: type[Kind],
        count: int = 1,
        *,
        where: Callable[[Kind], bool] = lambda event: True,
        timeout_s: float = 10.0,
    ) -> Kind:
        """The `count`-th event of a kind; TimeoutError with what was heard instead."""

        def found() -> list[Kind]:
            return [event for event in self.of(kind) if where(event)]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout_s):
                raise TimeoutError(f"{len(found())} of {count} {kind.__name__} in {timeout_s:g} s; last: {self.all[-5:]}")
            return found()[count - 1]
