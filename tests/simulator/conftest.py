"""A simulated market that stands still at 10:29 until a test says otherwise."""

import json
from collections.abc import Callable, Iterator
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from simulator.servers import DUMMY_KEY, Simulator

DAY = date(2026, 11, 20)


@pytest.fixture
def open_market(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    opened: list[Simulator] = []

    def opener(**options: Any) -> Simulator:
        options = {"day": DAY, "seed": 1, "start": time(10, 29), "speed": 0.0, **options}
        opened.append(Simulator(tmp_path / f"clock{len(opened)}", **options))
        return opened[-1]

    yield opener
    for simulator in opened:
        simulator.close()


@pytest.fixture
def sim(open_market: Callable[..., Simulator]) -> Simulator:
    return open_market(half_strikes=True)


@pytest.fixture
def get(sim: Simulator) -> Iterator[Callable[..., Any]]:
    """GET a path or an absolute URL with a good key; the response."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {DUMMY_KEY}"

        def ask(path: str, **params: Any) -> requests.Response:
            return session.get(path if path.startswith("http") else sim.rest.url + path, params=params, timeout=5)

        yield ask


class Socket:
    """A client that has shaken hands with a cluster and reads frames as JSON."""

    def __init__(self, url: str) -> None:
        self.wire = websocket.create_connection(url, timeout=5)
        self.first = self.wire.recv()

    def say(self, action: str, params: str) -> None:
        self.wire.send(json.dumps({"action": action, "params": params}))

    def hear(self) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = json.loads(self.wire.recv())
        return said

    def logged_in(self, *topics: str) -> "Socket":
        self.say("auth", DUMMY_KEY)
        assert self.hear()[0]["status"] == "auth_success"
        if topics:
            self.say("subscribe", ",".join(topics))
            assert [said["message"] for said in self.hear()] == [f"subscribed to: {topic}" for topic in topics]
        return self


@pytest.fixture
def connect(sim: Simulator) -> Iterator[Callable[..., Socket]]:
    sockets: list[Socket] = []

    def connector(cluster: str = "stocks") -> Socket:
        sockets.append(Socket(sim.feeds.url(cluster)))
        return sockets[-1]

    yield connector
    for socket in sockets:
        socket.wire.shutdown()
