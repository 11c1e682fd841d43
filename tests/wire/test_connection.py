"""The connection by itself: frames out of bytes however they are cut, and an opening that is bounded in time, size and reach."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.feed import BINARY, CLOSE, CONT, PING, PONG, TEXT, Feed, bar, frame, text
from tests.kit.relay import Relay
from wire.connection import MAX_MESSAGE, Connection, Denied, Dropped, Message, Reader

PAYLOADS = st.binary(max_size=300)
MESSAGES = st.lists(
    st.tuples(st.sampled_from([TEXT, BINARY, TEXT, TEXT]), PAYLOADS)
    | st.tuples(st.sampled_from([PING, PONG, CLOSE]), st.binary(max_size=125)),
    max_size=8,
)


def opened(url: str, ca_file: str | None = None, seconds: float = 2.0) -> Connection:
    connection = Connection()
    connection.open(url, seconds, time.time(), ca_file)
    return connection


def refused(url: str, ca_file: str | None = None, seconds: float = 2.0) -> Dropped:
    with pytest.raises(Dropped) as caught:
        opened(url, ca_file, seconds)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def read_until(connection: Connection, enough: Callable[[list[Message]], bool], timeout_s: float = 5.0) -> list[Message]:
    heard: list[Message] = []
    end = time.monotonic() + timeout_s
    while not enough(heard) and time.monotonic() < end:
        heard += connection.read(0.2)
    return heard


# --- frames ------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("W23")
@given(messages=MESSAGES, data=st.data())
def test_messages_come_out_whole_however_they_are_fragmented_and_cut(messages: list[Message], data: st.DataObject) -> None:
    wire = bytearray()
    for opcode, payload in messages:
        if opcode in (TEXT, BINARY) and data.draw(st.booleans()):
            cuts = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=4)))
            pieces = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
            for index, piece in enumerate(pieces):
                wire += frame(CONT if index else opcode, piece, fin=index == len(pieces) - 1)
        else:
            wire += frame(opcode, payload)
    reader, heard = Reader(), []
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        heard += reader.feed(bytes(wire[:size]))
        del wire[:size]
    assert heard == messages


def test_a_ping_between_the_pieces_of_a_message_is_no_piece_of_it() -> None:
    heard = Reader().feed(frame(TEXT, b"[1", fin=False) + frame(PING, b"?") + frame(CONT, b"]"))
    assert heard == [(PING, b"?"), (TEXT, b"[1]")]


@pytest.mark.fault("W22")
@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(frame(TEXT, b"", length=MAX_MESSAGE + 1), id="a frame of more than a megabyte, by its head alone"),
        pytest.param(frame(BINARY, b"", length=1 << 62), id="a frame of exabytes"),
        pytest.param(
            frame(TEXT, bytes(MAX_MESSAGE // 2), fin=False)
            + frame(CONT, bytes(MAX_MESSAGE // 2), fin=False)
            + frame(CONT, b"x"),
            id="a message of more, in pieces",
        ),
        pytest.param(frame(TEXT, b"", fin=False) + 5000 * frame(CONT, b"", fin=False), id="pieces of nothing without end"),
        pytest.param(frame(TEXT, b"\x00" * 50, rsv=0b100), id="compressed, which nobody agreed on"),
    ],
)
def test_what_is_too_large_or_compressed_ends_the_connection(wire: bytes) -> None:
    with pytest.raises(Dropped):
        Reader().feed(wire)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(frame(TEXT, b"[]", mask=b"abcd"), id="masked"),
        pytest.param(frame(TEXT, bytes(200), mask=b"abcd"), id="masked and longer"),
        pytest.param(frame(CONT, b"[]"), id="the end of nothing"),
        pytest.param(frame(TEXT, b"[", fin=False) + frame(TEXT, b"]"), id="a message inside another"),
        pytest.param(frame(PING, bytes(126)), id="a long ping"),
        pytest.param(frame(PING, b"", fin=False), id="a ping in pieces"),
        pytest.param(frame(0x3, b""), id="an unknown kind"),
        pytest.param(frame(0xB, b""), id="an unknown control frame"),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(wire: bytes) -> None:
    with pytest.raises(Dropped, match="protocol"):
        Reader().feed(wire)


@given(st.binary(max_size=4000))
def test_any_bytes_are_messages_or_the_end_and_never_another_error(data: bytes) -> None:
    with suppress(Dropped):
        Reader().feed(data)


def test_a_megabyte_in_crumbs_costs_no_more_than_its_bytes() -> None:
    wire, reader, heard = frame(TEXT, bytes(MAX_MESSAGE)), Reader(), []
    began = time.process_time()
    for index in range(0, len(wire), 16):
        heard += reader.feed(wire[index : index + 16])
    assert [len(payload) for _, payload in heard] == [MAX_MESSAGE]
    assert time.process_time() - began < 2.0


# --- opening -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def feed() -> Iterator[Feed]:
    with Feed() as server:
        yield server


@pytest.mark.fault("W22")
def test_no_extension_is_offered(feed: Feed) -> None:
    connection = opened(feed.url)
    head = feed.wait_for(lambda: feed.heads)[0].lower()
    assert "sec-websocket-extensions" not in head
    assert "origin" not in head
    connection.abandon()


def test_a_ping_of_the_servers_is_answered(feed: Feed) -> None:
    connection = opened(feed.url)
    read_until(connection, lambda heard: bool(heard))
    client = feed.wait_for(lambda: feed.clients)[0]
    client.raw(frame(PING, b"1") + frame(PING, b"2"))
    assert read_until(connection, lambda heard: len(heard) >= 2) == [(PING, b"1"), (PING, b"2")]
    feed.wait_for(lambda: client.pongs == [b"2"])
    connection.abandon()


@pytest.mark.fault("W23")
def test_a_frame_that_trickles_in_byte_by_byte_arrives_and_never_holds_a_read(feed: Feed) -> None:
    with Relay(feed.port) as relay:
        connection = opened(f"ws://127.0.0.1:{relay.port}/stocks")
        read_until(connection, lambda heard: bool(heard))
        relay.slice, relay.every_s = 1, 0.002
        client = feed.wait_for(lambda: feed.clients)[0]
        client.send(bar("IWM", 1))
        reads = longest = 0.0
        heard: list[Message] = []
        while not heard:
            began = time.monotonic()
            heard = connection.read(0.1)
            reads, longest = reads + 1, max(longest, time.monotonic() - began)
        assert heard == [(TEXT, text(bar("IWM", 1)))]
        assert reads > 20
        assert longest < 0.3
        connection.abandon()


@pytest.mark.fault("W02")
@pytest.mark.parametrize(
    ("answer", "is_denied", "words", "retry_after_s"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", True, "401", 0),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", True, "403", 0),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", True, "404", 0),
        (b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 70\r\n\r\n", False, "429", 70),
        (b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 20\r\n\r\n", False, "503", 20),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", False, "200", 0),
        (b"nonsense\r\n\r\n", False, "protocol", 0),
        (b"HTTP/1.1\r\n\r\n", False, "protocol", 0),
        (b"HTTP/1.1 abc OK\r\n\r\n", False, "protocol", 0),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", False, "", 0),
        (b"", False, "cut", 0),
    ],
)
def test_an_upgrade_that_is_refused_is_denied_or_tried_again_by_its_status(
    feed: Feed, answer: bytes, is_denied: bool, words: str, retry_after_s: float
) -> None:
    feed.upgrade = answer
    end = refused(feed.url)
    assert isinstance(end, Denied) == is_denied
    assert words in end.reason
    assert end.retry_after_s == retry_after_s


@pytest.mark.fault("W02", "S16")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(feed: Feed, status: int) -> None:
    with Feed() as other:
        feed.upgrade = f"HTTP/1.1 {status} Found\r\nLocation: {other.url}\r\n\r\n".encode()
        end = refused(feed.url)
        assert isinstance(end, Denied)
        assert str(status) in end.reason
        assert other.accepted == 0


@pytest.mark.fault("W02")
def test_an_endless_answer_to_the_upgrade_is_cut_by_its_size_and_a_dripped_one_by_the_deadline(feed: Feed) -> None:
    feed.upgrade = b"HTTP/1.1 400 Bad\r\nContent-Length: 99999999\r\n\r\n" + bytes(1 << 18)
    began = time.monotonic()
    refused(feed.url)
    feed.upgrade = b"HTTP/1.1 101 Switching Protocols\r\n" + b"X-Filler: y\r\n" * 200
    with Relay(feed.port) as relay:
        relay.slice, relay.every_s = 1, 0.02
        began = time.monotonic()
        assert "deadline" in refused(f"ws://127.0.0.1:{relay.port}/stocks", seconds=0.5).reason
    assert 0.4 < time.monotonic() - began < 0.9


@pytest.mark.fault("W01")
def test_a_closed_port_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert refused(f"ws://127.0.0.1:{port}/stocks").reason == "no connection"


@pytest.mark.fault("W01")
def test_a_server_that_accepts_and_never_answers_is_left_at_the_deadline(feed: Feed) -> None:
    with Relay(feed.port) as relay:
        relay.hole = True
        began = time.monotonic()
        assert "deadline" in refused(f"ws://127.0.0.1:{relay.port}/stocks", seconds=0.4).reason
    assert 0.35 < time.monotonic() - began < 0.8


@pytest.mark.fault("W01")
def test_a_syn_that_is_never_answered_is_left_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        crowd = []
        for _ in range(4):  # fills the backlog: further SYNs are dropped in silence
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            crowd.append(one)
        began = time.monotonic()
        end = refused(f"ws://127.0.0.1:{port}/stocks", seconds=0.4)
        for one in crowd:
            one.close()
    assert "deadline" in end.reason
    assert time.monotonic() - began < 0.8


@pytest.mark.fault("W01")
def test_a_lookup_that_hangs_is_left_at_the_deadline_and_one_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = threading.Event()
    genuine = socket.getaddrinfo

    def stub(host: str, *rest: object, flags: int = 0, **more: object) -> object:
        if flags & socket.AI_NUMERICHOST:
            return genuine(host, *rest, flags=flags, **more)  # type: ignore[arg-type]
        if host == "hangs.test":
            resolved.wait(5)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", stub)
    began = time.monotonic()
    assert "deadline" in refused("ws://hangs.test/stocks", seconds=0.4).reason
    assert 0.35 < time.monotonic() - began < 0.8
    resolved.set()
    assert "name" in refused("ws://unknown.test/stocks").reason


# --- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: object) -> tuple[trustme.CA, str]:
    made = trustme.CA()
    file = os.path.join(str(tmp_path), "ca.pem")
    made.cert_pem.write_to_path(file)
    return made, file


def server_context(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.fault("W01", "S16")
def test_a_certificate_of_an_unknown_authority_or_another_name_is_refused(authority: tuple[trustme.CA, str]) -> None:
    ca, file = authority
    with Feed(tls=server_context(ca, "localhost")) as good, Feed(tls=server_context(ca, "other.test")) as bad:
        assert "TLS" in refused(good.url).reason
        assert "TLS" in refused(bad.url, file).reason
        assert not good.heads
        assert not bad.heads
        connection = opened(good.url, file)
        assert read_until(connection, lambda heard: bool(heard))[0][0] == TEXT
        connection.abandon()


def test_over_tls_a_read_waits_no_longer_than_it_is_told_and_an_end_is_an_end(authority: tuple[trustme.CA, str]) -> None:
    ca, file = authority
    with Feed(tls=server_context(ca, "localhost")) as feed:
        connection = opened(feed.url, file)
        read_until(connection, lambda heard: bool(heard))
        began = time.monotonic()
        assert connection.read(0.1) == []
        assert time.monotonic() - began < 0.3
        client = feed.wait_for(lambda: feed.clients)[0]
        many = [bar("IWM", second) for second in range(400)]
        client.raw(b"".join(frame(TEXT, text(one)) for one in many))
        assert len(read_until(connection, lambda heard: len(heard) >= 400)) == 400
        feed.end()
        with pytest.raises(Dropped, match="cut"):
            read_until(connection, lambda heard: False)
        connection.abandon()
