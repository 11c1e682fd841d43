"""Which of a host's addresses is connected to, on real sockets: a dead one costs no second, and costs it once."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from simulator.http import Answer as Scripted
from simulator.http import HttpServer, Request
from tests.kit.feed import Feed
from tests.kit.hole import Hole
from tests.kit.relay import Relay
from wire import sockets
from wire.connection import Connection, Dropped
from wire.transport import Http, TryAgain

LIVE, DEAD = "127.0.0.1", "127.0.0.2"
V4, V6 = socket.AF_INET, socket.AF_INET6


class Echo(HttpServer):
    """Answers everything with 200 and its path."""

    def answer(self, request: Request) -> Scripted:
        return Scripted(200, {"path": request.path})


@pytest.fixture
def server() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives a name its addresses, in this order."""
    genuine = socket.getaddrinfo
    known: dict[str, tuple[str, ...]] = {}

    def resolver(host: str, port: int, *rest: Any, flags: int = 0, **more: Any) -> Any:
        if host not in known:
            return genuine(host, port, *rest, flags=flags, **more)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [one for address in known[host] for one in genuine(address, port, *rest, flags=flags, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    monkeypatch.setattr(sockets, "_last", {})

    def name(host: str, *addresses: str) -> None:
        known[host] = addresses

    return name


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were tried, in order."""
    addresses: list[str] = []
    genuine = sockets._begin

    def begin(racing: Any, found: Any) -> bool:
        addresses.append(found[4][0])
        return genuine(racing, found)

    monkeypatch.setattr(sockets, "_begin", begin)
    return addresses


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Every socket with which a connection was begun."""
    ours: list[socket.socket] = []

    class Noted(sockets._Socket):
        def __init__(self, *which: int) -> None:
            super().__init__(*which)
            ours.append(self)

    monkeypatch.setattr(sockets, "_Socket", Noted)
    return ours


def are_open(ours: list[socket.socket]) -> list[bool]:
    return [one.fileno() >= 0 for one in ours]


def timed(ask: Callable[[], object]) -> float:
    began = time.monotonic()
    ask()
    return time.monotonic() - began


# --- HTTP --------------------------------------------------------------------------------------------------------------


def test_a_dead_first_address_costs_a_part_of_a_second_and_only_once(
    server: Echo, named: Callable[..., None], tried: list[str], made: list[socket.socket]
) -> None:
    named("two.test", DEAD, LIVE)
    one, other = (Http(f"http://two.test:{server.port}", 3.0) for _ in range(2))
    with Hole(DEAD, server.port):
        first = timed(lambda: one.get("/x"))
        one.close()
        one.post("/x", {"a": "b"})
        other.get("/x")
    assert 0.2 < first < 1.0
    assert tried == [DEAD, LIVE, LIVE, LIVE], "what one client learned, another knows"
    assert {request.headers["host"] for request in server.requests} == {f"two.test:{server.port}"}
    assert are_open(made) == [False, False, True, True], "what lost the race was closed"
    one.close()
    other.close()
    assert not any(are_open(made))


def test_an_address_that_refuses_is_passed_over_at_once(
    server: Echo, named: Callable[..., None], tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "STAGGER_S", 60.0)
    named("two.test", DEAD, "127.0.0.3", LIVE)
    assert timed(lambda: Http(f"http://two.test:{server.port}", 12.0).get("/x")) < 1.5, "it waited for its turn"
    assert tried == [DEAD, "127.0.0.3", LIVE]


def test_when_the_address_that_worked_dies_the_others_are_raced_again(
    server: Echo, named: Callable[..., None], tried: list[str]
) -> None:
    other = "127.0.0.4"
    named("two.test", other, LIVE)
    with Relay(server.port, host=other, port=server.port) as relay:
        http = Http(f"http://two.test:{server.port}", 3.0)
        http.get("/x")
        assert relay.accepted == 1
    with Hole(other, server.port):
        assert timed(lambda: http.get("/x")) < 1.0
        http.close()
        http.get("/x")
    assert tried == [other, other, LIVE, LIVE]


def test_an_address_that_connects_and_never_answers_is_not_the_one_to_begin_with(
    server: Echo, named: Callable[..., None], tried: list[str]
) -> None:
    other = "127.0.0.5"
    named("two.test", other, LIVE)
    with Relay(server.port, host=other, port=server.port) as relay:
        relay.hole = True
        http = Http(f"http://two.test:{server.port}", 0.4)
        with pytest.raises(TryAgain, match="whole answer"):
            http.post("/x", {"a": "b"})
        http.deadline_s = 3.0
        http.post("/x", {"a": "b"})
    assert tried == [other, LIVE]


@pytest.mark.fault("R03")
def test_addresses_that_are_all_dead_end_at_the_deadline_and_leave_nothing_open(
    named: Callable[..., None], made: list[socket.socket]
) -> None:
    named("dead.test", DEAD, "127.0.0.3", "127.0.0.4")
    with Hole(DEAD) as first, Hole("127.0.0.3", first.port), Hole("127.0.0.4", first.port):
        http = Http(f"http://dead.test:{first.port}", 0.6)
        began = time.monotonic()
        with pytest.raises(TryAgain) as caught:
            http.post("/x", {"a": "b"})
        assert 0.55 < time.monotonic() - began < 1.0
        assert (caught.value.sent, caught.value.reason) == (False, "no connection within the deadline")
        assert are_open(made) == [False] * 3


def test_within_a_short_deadline_every_address_has_its_turn(server: Echo, named: Callable[..., None]) -> None:
    named("many.test", "127.0.0.2", "127.0.0.3", "127.0.0.4", LIVE)
    with Hole("127.0.0.2", server.port), Hole("127.0.0.3", server.port), Hole("127.0.0.4", server.port):
        assert Http(f"http://many.test:{server.port}", 0.9).get("/x").status == 200


def test_many_threads_at_once_each_get_their_connection(server: Echo, named: Callable[..., None]) -> None:
    named("two.test", DEAD, LIVE)
    took: list[float] = []

    def ask() -> None:
        http = Http(f"http://two.test:{server.port}", 5.0)
        took.append(timed(lambda: http.get("/x")))
        http.close()

    with Hole(DEAD, server.port):
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10.0)
    assert len(took) == len(server.requests) == 20
    assert max(took) < 2.0


# --- TLS and the sockets -----------------------------------------------------------------------------------------------


def test_over_tls_the_name_is_verified_whichever_address_answers(named: Callable[..., None], tmp_path: Path) -> None:
    ca, file = trustme.CA(), str(tmp_path / "ca.pem")
    ca.cert_pem.write_to_path(file)
    for name, is_good in (("two.test", True), ("other.test", False)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(context)
        with Feed(tls=context) as feed, Hole(DEAD, feed.port):
            named("two.test", DEAD, LIVE)
            connection = Connection()
            url = f"wss://two.test:{feed.port}/stocks"
            if is_good:
                connection.open(url, 3.0, time.time(), file)
            else:
                with pytest.raises(Dropped, match="TLS"):
                    connection.open(url, 3.0, time.time(), file)
            connection.abandon()


@pytest.mark.fault("W01")
def test_a_websocket_behind_a_dead_first_address_is_open_within_the_second(
    named: Callable[..., None], tried: list[str]
) -> None:
    named("two.test", DEAD, LIVE)
    with Feed() as feed, Hole(DEAD, feed.port):
        for _ in range(2):
            connection = Connection()
            assert timed(lambda c=connection: c.open(f"ws://two.test:{feed.port}/stocks", 3.0, time.time())) < 1.0
            connection.abandon()
    assert tried == [DEAD, LIVE, LIVE]


# --- their order -------------------------------------------------------------------------------------------------------


def order(found: list[tuple[int, str]], last: tuple[str, bool] | None = None) -> list[str]:
    rows = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in found]
    return [row[4] for row in sockets._in_turn(rows, last)]


def test_families_take_turns_as_the_standard_has_it() -> None:
    found = [(V6, "six"), (V6, "six b"), (V6, "six c"), (V4, "four"), (V4, "four b")]
    assert order(found) == ["six", "four", "six b", "four b", "six c"]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (("b", True), ["b", "c", "a"]),
        (("b", False), ["c", "a", "b"]),
        (("c", False), ["a", "b", "c"]),
        (("gone", True), ["a", "b", "c"]),
        (None, ["a", "b", "c"]),
    ],
)
def test_the_address_that_answered_last_comes_first_and_one_that_did_not_last(
    last: tuple[str, bool] | None, expected: list[str]
) -> None:
    assert order([(V4, "a"), (V4, "b"), (V4, "c")], last) == expected
