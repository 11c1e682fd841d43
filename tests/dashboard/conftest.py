"""The http thread on a free port of loopback, over a desk on the bench."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests

from dashboard import frame, past
from dashboard.edge import Pages
from dashboard.metrics import Work
from dashboard.view import View, look
from edges.inbox import Inbox
from events import AnyEvent, OperatorSpoke
from tests.kit.deskbench import Bench
from tests.kit.taped import Taped

TOKEN = "a-token-of-24-characters"
WITH_TOKEN = {"DASHBOARD_TOKEN": TOKEN}
MONDAY = date(2026, 11, 23)


class BenchClock:
    """The bench's time, for an edge."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def now(self) -> float:
        return self.bench.now

    def steady(self) -> float:
        return self.bench.now

    def moved(self) -> float:
        return 0.0

    def wall(self) -> float:
        return self.bench.now

    def real_seconds(self, seconds: float) -> float:
        return seconds

    def confirm(self) -> None:
        pass


class Site:
    """`heard` is what the page put into the inbox; `show` lets it see the desk as it is now."""

    def __init__(self, bench: Bench | None = None, **settings: str) -> None:
        self.bench = bench or Bench(**{"HEALTH_PORT": "0", **settings})
        self.heard: list[AnyEvent] = []
        self.lines: list[str] = []
        self.view: View | None = None
        self.work = Work()
        self.edge = Pages(
            self.heard.append,
            self.bench.config,
            BenchClock(self.bench),
            lambda: self.view,
            self.work,
            lambda: self.lines,
            "1.0.0",
            self.bench.calendar,
        )

    def start(self) -> Site:
        self.edge.start()
        return self.wait_until_served()

    def wait_until_served(self) -> Site:
        deadline = time.monotonic() + 5
        while self.edge.url is None:
            assert time.monotonic() < deadline, "the server did not begin"
            time.sleep(0.005)
        return self

    def show(self) -> Site:
        self.view = look(self.bench.desk, Inbox(), 0, self.bench.now)
        return self

    def close(self) -> None:
        self.edge.stop()
        self.edge.join(3)

    @property
    def base(self) -> str:
        assert self.edge.url is not None
        return self.edge.url.rstrip("/")

    @property
    def port(self) -> int:
        return int(self.base.rsplit(":", 1)[1])

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(
            self.base + path, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=5
        )

    def post(self, path: str, body: Any, **headers: str) -> requests.Response:
        named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.post(self.base + path, data=json.dumps(body), headers=named, timeout=5)

    def act(self, command: str, **more: str) -> requests.Response:
        """A press, by one who has the token."""
        return self.post("/act", {"command": command, **more}, Authorization=f"Bearer {TOKEN}")

    def twice(self, command: str, **more: str) -> requests.Response:
        first = self.act(command, **more)
        assert first.status_code == 202, first.text
        return self.act(command, confirm=first.json()["confirm"], **more)

    def words(self) -> list[tuple[str, str, int | None]]:
        return [(event.command, event.who, event.price) for event in self.heard if isinstance(event, OperatorSpoke)]

    def raw(self, said: bytes = b"") -> socket.socket:
        wire = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        wire.sendall(said)
        return wire

    def asked(self, said: bytes) -> bytes:
        """What a raw request is answered with, to the end."""
        with self.raw(said) as wire:
            return everything(wire)


def everything(wire: socket.socket) -> bytes:
    parts = []
    try:
        while part := wire.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@pytest.fixture
def site() -> Iterator[Callable[..., Site]]:
    opened: list[Site] = []

    def opener(bench: Bench | None = None, **settings: str) -> Site:
        opened.append(Site(bench, **settings).start().show())
        return opened[-1]

    yield opener
    for each in opened:
        each.close()


# --- a past day -------------------------------------------------------------------------------------------------------


class Lived(Taped):
    """A short day on the tape: bought, sold at the stop, and a while after. `seen` is what the page showed at each second."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seen: dict[int, dict[str, Any]] = {}
        self.bought()
        for bid in (600, 620, 480, 380):
            self.tick(1.0)
            self.quote(bid, bid + 10)
        for step in range(20):
            self.bar(self.price - 0.01 * (step % 3))
        self.tape.stop()

    def bar(self, *given: Any, **named: Any) -> None:
        super().bar(*given, **named)
        view = look(self.desk, Inbox(), 0, self.now)
        self.seen[int(self.now)] = {"gates": frame.gates(self.config, view)[:8], "point": frame.point(view)}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return Lived(tmp_path_factory.mktemp("lived"))


@pytest.fixture
def data(lived: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the tape of a Friday; who makes it gives way to nobody, for tests have no time."""
    monkeypatch.setattr(past, "NICE", 0)
    shutil.copytree(lived.config.data_dir / "tape", tmp_path / "tape")
    return tmp_path


def on_monday(data: Path, at: str = "08:00:00", **settings: str) -> Bench:
    return Bench(day=MONDAY, at=at, HEALTH_PORT="0", DATA_DIR=str(data), **settings).start()
