"""The server among strangers: slow, large, malformed, too many; and the friends who are served all the same."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from dashboard import edge, server
from tests.dashboard.conftest import Site, everything

Open = Callable[..., Site]
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.mark.fault("S12")
def test_two_hundred_dripping_sockets_do_not_keep_health_from_answering(site: Open) -> None:
    place = site()
    drips = [place.raw(b"GET /he") for _ in range(200)]
    began = time.monotonic()
    assert place.get("/health").status_code in (200, 503)
    assert time.monotonic() - began < 1.0
    for drip in drips:
        drip.close()


@pytest.mark.fault("S12")
def test_a_request_has_to_be_whole_in_time_however_steadily_it_drips(site: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.4)
    place = site()
    with place.raw(b"GET /health HT") as wire:
        wire.settimeout(0.05)
        answer, began = b"", time.monotonic()
        while not answer and time.monotonic() - began < 3:
            try:
                wire.sendall(b"x")
                answer = wire.recv(100)
            except TimeoutError:
                continue
            except OSError:
                break
        assert status(answer) in (0, 408)
        assert time.monotonic() - began < 1.5


@pytest.mark.fault("S12")
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 30_000 + b"\r\n\r\n", (400, 431)),
        (b"GET /" + b"a" * 2_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414,)),
        (b"POST /act HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 5_000, (413,)),
        (
            b"POST /act HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1000\r\n"
            + b"a" * 4096
            + b"\r\n1\r\na",
            (413,),
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400,)),
        (b"GET / HTTP/1.1\r\n\r\n", (400,)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 20, (400,)),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, 421)),
    ],
    ids=["head", "target", "body", "chunks", "two hosts", "no host", "TLS", "two lengths"],
)
def test_what_is_too_large_or_malformed_is_refused_with_a_word(site: Open, said: bytes, expected: tuple[int, ...]) -> None:
    assert status(site().asked(said)) in expected


def test_one_request_a_connection(site: Open) -> None:
    place = site()
    answer = place.asked(HEALTH % place.port * 2)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in answer


@pytest.mark.fault("S12")
def test_a_page_that_does_not_read_is_let_go_and_the_others_hear_on(site: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "PUBLISH_S", 0.005)
    place = site()
    ask = b"GET /events HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % place.port
    with socket.socket() as deaf, place.raw(ask) as friend:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", place.port))
        deaf.sendall(ask)
        for number in range(300):
            told = f"line {number} "
            place.lines = [told + "x" * 2_000] * 60
            heard = b""
            while told.encode() not in heard:
                heard += friend.recv(1 << 20)
            if dropped(deaf):
                break
        assert dropped(deaf)


def dropped(wire: socket.socket) -> bool:
    """Whether the other side has reset the connection; what it had sent before is not read."""
    return (
        wire.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        or wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 7
    )


def test_fifty_pages_are_served_at_once_and_one_too_many_is_told_so(site: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STREAMS_MAX", 50)
    place = site()
    ask = b"GET /events HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % place.port
    pages = [place.raw(ask) for _ in range(50)]
    for page in pages:
        assert b"200" in page.recv(4096)[:20]
    assert status(place.asked(ask)) == 503
    place.lines = ["something new"]
    for page in pages:
        heard = b""
        while b"something new" not in heard:
            heard += page.recv(1 << 16)
        page.close()


def test_a_taken_port_ends_nothing_and_the_page_comes_when_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "BIND_AGAIN_S", 0.1)
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        place = Site(HEALTH_PORT=str(squatter.getsockname()[1]))
        place.edge.start()
        deadline = time.monotonic() + 0.6
        while time.monotonic() < deadline:
            assert place.edge.is_alive
            assert place.edge.url is None
            time.sleep(0.05)
    try:
        place.wait_until_served()
    finally:
        place.close()


def test_the_thread_ends_when_it_is_told_to_with_pages_open(site: Open) -> None:
    place = site()
    with place.raw(b"GET /events HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % place.port) as page:
        page.recv(100)
        place.close()
        assert not place.edge.is_alive
        everything(page)
