"""A feed in virtual time: nothing waits in earnest, because asking how long to wait is what moves this clock.

`World` is the clock, the server and the wire. A stream runs in it as it runs in earnest, for hours of market in a second:

    world = World(at, arrivals)          # (when, payload) of every frame, in order
    world.stall_at = at + 60             # connections made before it bring no data from then on
    world.dead_at = at + 60              # ... and no pongs
    world.down = (at + 60, at + 300)     # nobody gets in
    world.run(stream, until)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import pytest

from edges import stream
from edges.stream import Stream
from tests.kit.feed import status, text
from wire.connection import PING, PONG, TEXT, Dropped, Message

ROUND_TRIP_S = 0.08


class World:
    """A `utils.Clock` besides. `opened` is when each connection was made, `upset` what each try is met with instead."""

    def __init__(self, at: float, arrivals: Iterable[tuple[float, bytes]] = ()) -> None:
        self.at = at
        self.stall_at = self.dead_at = float("inf")
        self.down = (float("inf"), float("-inf"))
        self.opened: list[float] = []
        self.tried: list[float] = []
        self.pings: list[float] = []
        self.upset: list[Exception] = []
        self.upset_forever: Exception | None = None
        self.after_login: list[Message] = []
        self._arrivals: Iterator[tuple[float, bytes]] = iter(arrivals)
        self._next = next(self._arrivals, None)
        self._until = float("inf")
        self._stream: Stream | None = None
        self._wire: Wire | None = None

    # the clock

    def now(self) -> float:
        return self.at

    def steady(self) -> float:
        return self.at

    def moved(self) -> float:
        return 0.0

    def wall(self) -> float:
        return self.at

    def confirm(self) -> None:
        pass

    def real_seconds(self, seconds: float) -> float:
        answered = self._wire is not None and self._wire.inbound
        self.at += ROUND_TRIP_S if answered else max(seconds, 0.001)
        if self.at >= self._until and self._stream is not None:
            self._stream.stopping.set()
        return 0.0

    # the run

    def run(self, subject: Stream, until: float, patch: pytest.MonkeyPatch) -> None:
        """The stream's own loop, from now until then."""
        for name in ("LEAST_PONG_S", "LEAST_SILENT_S", "LEAST_ANSWER_S"):
            patch.setattr(stream, name, 0.0)
        patch.setattr(stream, "Connection", self._connect)
        subject.stopping.clear()
        subject.stopping.wait = lambda timeout=None: subject.stopping.is_set()  # type: ignore[method-assign]
        self._until, self._stream = until, subject
        subject.run()

    def _connect(self) -> Wire:
        self._wire = Wire(self)
        return self._wire

    def due(self) -> list[bytes]:
        """What has arrived by now."""
        found = []
        while self._next is not None and self._next[0] <= self.at:
            found.append(self._next[1])
            self._next = next(self._arrivals, None)
        return found


class Wire:
    """A connection of that world: a `connection.Connection` to whoever uses it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.inbound: list[Message] = []
        self.made_at = world.at
        self.subscribed = False

    def open(self, url: str, seconds: float, wall: float, ca_file: str | None = None) -> None:
        world = self.world
        world.tried.append(world.at)
        if world.down[0] <= world.at < world.down[1]:
            world.at += 0.05
            raise Dropped("no connection")
        if world.upset_forever is not None:
            raise world.upset_forever
        if world.upset:
            raise world.upset.pop(0)
        world.due()  # what was said to nobody is lost
        world.opened.append(world.at)
        self.made_at = world.at
        self._say("connected", "Connected Successfully")

    def read(self, timeout_s: float) -> list[Message]:
        world, found = self.world, self.inbound
        self.inbound = []
        stalled = self.made_at <= world.stall_at <= world.at or self.made_at <= world.dead_at <= world.at
        due = world.due()
        if self.subscribed and not stalled:
            found += [(TEXT, payload) for payload in due]
        return found

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        if opcode == PING:
            self.world.pings.append(self.world.at)
            if not self.made_at <= self.world.dead_at <= self.world.at:
                self.inbound.append((PONG, payload))
            return
        said = msgspec.json.decode(payload)
        if said["action"] == "auth":
            self._say("auth_success", "authenticated")
        elif said["action"] == "subscribe":
            self._say("success", f"subscribed to: {said['params']}")
            self.subscribed = True
            self.inbound += self.world.after_login

    def abandon(self, *, politely: bool = False) -> None:
        pass

    def _say(self, kind: str, message: str) -> None:
        self.inbound.append((TEXT, text(status(kind, message))))
