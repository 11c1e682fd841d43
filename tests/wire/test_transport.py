"""The wire for HTTP: a call ends when it said it would, says whether it may have arrived, goes to one host, and gives nothing away."""

from __future__ import annotations

import gzip
import logging
import socket
import ssl
import threading
import time
import traceback
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme

from simulator.http import Answer as Scripted
from simulator.http import HttpServer, Request
from tests.kit.relay import Relay
from wire.transport import Http, Refused, TryAgain, plain, retry_after

KEY = "canary/key+0123456789="
HEADERS = {"Authorization": f"Bearer {KEY}"}


class Echo(HttpServer):
    """Answers everything with 200 and its path."""

    def answer(self, request: Request) -> Scripted:
        return Scripted(200, {"path": request.path})


@pytest.fixture
def server() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


def client(server: HttpServer | Relay | str, deadline_s: float = 1.0, **more: Any) -> Http:
    url = server if isinstance(server, str) else f"http://127.0.0.1:{server.port}"
    return Http(url, deadline_s, HEADERS, **more)


def failure(ask: Callable[[], object]) -> TryAgain:
    with pytest.raises(TryAgain) as caught:
        ask()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def timed(ask: Callable[[], object]) -> tuple[TryAgain, float]:
    began = time.monotonic()
    fault = failure(ask)
    return fault, time.monotonic() - began


# --- the deadline ------------------------------------------------------------------------------------------------------


@pytest.mark.fault("R03", "R04", "A11")
@pytest.mark.parametrize("manner", [Scripted(hang=True), Scripted(byte_every_s=0.03)], ids=["no answer", "its head dripped"])
def test_every_call_ends_at_its_deadline_and_not_before(server: Echo, manner: Scripted) -> None:
    server.script("/x", manner)
    fault, took = timed(lambda: client(server, 0.6).get("/x"))
    assert 0.55 < took < 0.75
    assert fault.reason == "no whole answer within 0.6 s"
    assert fault.sent


@pytest.mark.fault("R03", "R05")
@pytest.mark.parametrize(
    "half",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"],
)
def test_half_an_answer_and_then_silence_ends_at_the_deadline(half: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            one, _ = listener.accept()
            one.recv(1000)
            one.sendall(half)
            while one.recv(1000):
                pass
            one.close()

        threading.Thread(target=serve, daemon=True).start()
        fault, took = timed(lambda: client(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.4).get("/x"))
    assert 0.35 < took < 0.55
    assert fault.sent


@pytest.mark.fault("R04")
def test_a_body_that_drips_for_ever_is_cut_at_the_deadline_though_every_read_succeeds(server: Echo) -> None:
    with Relay(server.port) as relay:
        http = client(relay, 0.6)
        http.get("/x")
        relay.slice, relay.every_s = 1, 0.02
        fault, took = timed(lambda: http.get("/x"))
    assert 0.55 < took < 0.75
    assert fault.sent


@pytest.mark.fault("R03")
def test_a_wire_that_swallows_everything_is_left_at_the_deadline(server: Echo) -> None:
    with Relay(server.port) as relay:
        relay.hole = True
        fault, took = timed(lambda: client(relay, 0.5).get("/x"))
    assert 0.45 < took < 0.65
    assert fault.sent


def test_an_upload_that_nobody_reads_is_left_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        http = client(f"http://127.0.0.1:{deaf.getsockname()[1]}", 0.5)
        fault, took = timed(lambda: http.post("/x", {"message": "x" * 20_000_000}))
    assert 0.45 < took < 0.8
    assert fault.sent


@pytest.mark.fault("R03")
def test_a_lookup_that_hangs_is_left_at_the_deadline_and_no_more_than_one_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    genuine = socket.getaddrinfo

    def resolver(host: str, *rest: Any, flags: int = 0, **more: Any) -> Any:
        if flags & socket.AI_NUMERICHOST:
            return genuine(host, *rest, flags=flags, **more)
        release.wait(5)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    before = threading.active_count()
    http = client("https://hangs.test", 0.3)
    for _ in range(3):
        fault, took = timed(lambda: http.get("/x"))
        assert 0.25 < took < 0.45
        assert not fault.sent
    assert threading.active_count() <= before + 1
    release.set()


# --- whether it arrived ------------------------------------------------------------------------------------------------


@pytest.mark.fault("P04", "P05", "P07")
def test_what_certainly_did_not_arrive_is_told_from_what_may_have(server: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    form = {"message": "hello"}
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    refused = failure(lambda: client(f"http://127.0.0.1:{port}").post("/x", form))
    assert (refused.sent, refused.reason) == (False, "no connection")
    server.script("/x", Scripted(cut_after=0), Scripted(cut_after=30), Scripted(hang=True), Scripted(raw=b"garbage\r\n\r\n"))
    http = client(server, 0.4)
    said = [failure(lambda: http.post("/x", form)) for _ in range(4)]
    assert [fault.sent for fault in said] == [True] * 4
    assert "cut" in said[0].reason
    assert "within" in said[2].reason

    def no_name(host: str, *rest: Any, flags: int = 0, **more: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    unknown = failure(lambda: client("https://nowhere.test").post("/x", form))
    assert (unknown.sent, unknown.reason) == (False, "the host's name cannot be resolved")


@pytest.mark.fault("S16", "P07")
def test_a_certificate_nobody_trusts_or_of_another_name_carries_nothing_away(tmp_path: Path) -> None:
    ca, file = trustme.CA(), str(tmp_path / "ca.pem")
    ca.cert_pem.write_to_path(file)
    for name, trusted in (("localhost", None), ("other.test", file)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(context)
        with TlsOnce(context) as port:
            fault = failure(
                lambda port=port, trusted=trusted: client(f"https://localhost:{port}", ca_file=trusted).post(
                    "/x", {"a": "b"}
                )
            )
            assert not fault.sent
            assert "TLS" in fault.reason


class TlsOnce:
    """Shakes hands by TLS with whoever comes, and answers 200 to who gets through."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.heard: list[bytes] = []

    def __enter__(self) -> int:
        self.server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._run, daemon=True).start()
        return int(self.server.getsockname()[1])

    def __exit__(self, *rest: object) -> None:
        self.server.close()
        assert not self.heard

    def _run(self) -> None:
        while True:
            try:
                one, _ = self.server.accept()
                with self.context.wrap_socket(one, server_side=True) as wrapped:
                    self.heard.append(wrapped.recv(1000))
            except OSError:
                if self.server.fileno() < 0:
                    return


@pytest.mark.fault("R17")
def test_a_dead_keep_alive_connection_is_replaced_in_silence_for_a_get_alone(server: Echo) -> None:
    with Relay(server.port) as relay:
        http = client(relay)
        assert http.get("/x").status == 200
        relay.cut_after(0)  # the next answer's first byte
        assert http.get("/x").status == 200
        assert relay.accepted == 2
        relay.cut_after(0)
        fault = failure(lambda: http.post("/x", {"a": "b"}))
        assert fault.sent
    paths = [(request.method, request.connection) for request in server.requests]
    assert paths == [("GET", 1), ("GET", 1), ("GET", 2), ("POST", 2)]


@pytest.mark.fault("R17")
def test_connections_closed_while_idle_cost_nothing(server: Echo) -> None:
    http = client(server)
    for _ in range(3):
        assert http.get("/x").status == 200
        server.drop_connections()
        time.sleep(0.02)
    assert http.post("/x", {"a": "b"}).status == 200


def test_a_fresh_connection_that_is_cut_is_not_tried_twice(server: Echo) -> None:
    server.script("/x", Scripted(cut_after=0), forever=True)
    assert failure(lambda: client(server).get("/x")).sent
    assert len(server.requests) == 1


def test_one_connection_serves_request_after_request(server: Echo) -> None:
    http = client(server)
    for _ in range(20):
        http.get("/x")
    assert {request.connection for request in server.requests} == {1}


def test_a_renewed_connection_is_the_one_that_the_next_request_goes_over(server: Echo) -> None:
    http = client(server)
    assert http.renew()
    assert http.post("/x", {"a": "b"}).status == 200
    assert http.renew()
    assert http.renew()
    assert http.get("/x").status == 200
    assert [request.connection for request in server.requests] == [1, 3]
    server.wait_for(lambda: list(server._open) == [3])


def test_a_renewed_connection_that_the_server_closed_meanwhile_costs_no_doubt(server: Echo) -> None:
    http = client(server)
    assert http.renew()
    server.wait_for(lambda: server._open)
    server.drop_connections()
    server.wait_for(lambda: not server._open)
    assert http.post("/x", {"a": "b"}).status == 200


def test_no_request_waits_for_a_renewal_that_hangs(tmp_path: Path) -> None:
    ca, file, hung = trustme.CA(), str(tmp_path / "ca.pem"), threading.Event()
    ca.cert_pem.write_to_path(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    with socket.create_server(("localhost", 0)) as listener:

        def serve() -> None:
            silent, _ = listener.accept()
            hung.set()
            one, _ = listener.accept()
            with silent, context.wrap_socket(one, server_side=True) as wrapped:
                wrapped.recv(1000)
                wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                done.wait(5)

        done = threading.Event()
        threading.Thread(target=serve, daemon=True).start()
        http = client(f"https://localhost:{listener.getsockname()[1]}", 4.0, ca_file=file)
        renewed: list[bool] = []
        renewal = threading.Thread(target=lambda: renewed.append(http.renew()))
        renewal.start()
        assert hung.wait(2)
        began = time.monotonic()
        assert http.post("/x", {"a": "b"}).status == 200
        assert time.monotonic() - began < 2.0
        assert renewal.is_alive()
        done.set()
        renewal.join(6)
    assert renewed == [False]


def test_a_connection_that_cannot_be_renewed_is_made_by_the_next_request(server: Echo) -> None:
    http = client(server)
    server.down()
    assert not http.renew()
    server.up()
    assert http.post("/x", {"a": "b"}).status == 200


# --- broken answers ----------------------------------------------------------------------------------------------------


@pytest.mark.fault("R05")
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n9\r\nhal",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nnogzi",
        b"",
        b"\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
    ],
)
def test_a_broken_answer_is_an_error_and_never_half_an_answer(server: Echo, raw: bytes) -> None:
    server.script("/x", Scripted(raw=raw))
    assert failure(lambda: client(server).get("/x")).sent


def zeros(megabytes: int) -> bytes:
    """So many megabytes of zeros, gzipped; its end is missing, for nobody should get there."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first, block = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + block * (megabytes - 1)


@pytest.mark.fault("R06")
def test_a_gigabyte_of_zeros_gzipped_costs_neither_memory_nor_time(server: Echo) -> None:
    bomb = zeros(1024)
    server.script("/x", Scripted(200, bomb, {"Content-Encoding": "gzip"}))
    http = client(server, 2.0)
    before = peak_kb()
    fault, took = timed(lambda: http.get("/x"))
    assert "larger than" in fault.reason
    assert took < 1.0
    assert peak_kb() - before < 100_000


def peak_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


@pytest.mark.fault("R06")
@pytest.mark.parametrize("encoding", ["", "gzip", "deflate", "gzip, gzip"])
def test_an_answer_of_more_than_eight_megabytes_is_an_error_however_it_is_packed(server: Echo, encoding: str) -> None:
    body = bytes(9_000_000)
    for layer in encoding.split(", "):
        body = {"gzip": gzip.compress, "deflate": zlib.compress, "": bytes}[layer](body)
    server.script("/x", Scripted(200, body, {"Content-Encoding": encoding} if encoding else {"X": "y"}))
    assert "larger" in failure(lambda: client(server, 3.0).get("/x")).reason


@pytest.mark.fault("R06")
def test_only_gzip_is_asked_for_and_a_wrong_encoding_is_an_error(server: Echo) -> None:
    http = client(server)
    http.get("/x")
    assert server.requests[0].headers["accept-encoding"] == "gzip"
    server.script("/x", Scripted(200, b"plain text, not gzip", {"Content-Encoding": "gzip"}))
    assert failure(lambda: http.get("/x")).reason == "the answer is broken"


# --- one host ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("R15", "S16")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_redirect_is_refused_and_the_key_stays_at_home(server: Echo, status: int, method: str) -> None:
    other = Echo()
    server.script("/x", Scripted(status, {}, {"Location": f"{other.url}/y"}))
    http = client(server)
    with pytest.raises(Refused, match="redirected"):
        http.get("/x") if method == "get" else http.post("/x", {"a": "b"})
    assert not other.requests
    other.close()


@pytest.mark.fault("S16", "R11")
@pytest.mark.parametrize(
    "url",
    [
        "http://evil.test/v3/x?cursor=1",
        "https://evil.test/",
        "http://127.0.0.1:1@evil.test/",
        "http://[::1",
        "http://127.0.0.2/x",
    ],
)
def test_an_absolute_url_on_another_host_is_not_asked(server: Echo, url: str) -> None:
    assert "another host" in failure(lambda: client(server).get(url)).reason
    assert not server.requests


@pytest.mark.fault("S16", "R11")
def test_of_an_absolute_url_only_path_and_query_count(server: Echo) -> None:
    http = client(server, allowed_hosts=("api.massive.com",))
    http.get("https://api.massive.com/v3/x?cursor=abc%3D&limit=2")
    http.get("//evil.test/x")
    first, second = server.requests
    assert (first.path, first.query) == ("/v3/x", {"cursor": "abc=", "limit": "2"})
    assert second.headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.fault("S16")
def test_proxies_and_credentials_of_the_environment_are_not_used(
    server: Echo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert client(server).get("/x").status == 200
    assert server.requests[0].headers["authorization"] == HEADERS["Authorization"]


# --- nothing given away ------------------------------------------------------------------------------------------------


@pytest.mark.fault("S01", "S02")
def test_no_fault_of_any_kind_carries_the_key(server: Echo, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    forms = {KEY, quote(KEY, safe=""), b64encode(KEY.encode()).decode()}
    manners = [
        Scripted(cut_after=0), Scripted(cut_after=40), Scripted(hang=True), Scripted(raw=b"nonsense\r\n\r\n"),
        Scripted(302, {}, {"Location": f"http://evil.test/?apiKey={KEY}"}), Scripted(200, bytes(9_000_000)),
        Scripted(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    ]  # fmt: skip
    http = client(server, 0.4)
    asks: list[Callable[[], object]] = []
    for _ in manners:
        asks += [lambda: http.get(f"/x?apiKey={KEY}"), lambda: http.post("/x", {"token": KEY})]
    server.script("/x", *[manner for manner in manners for _ in range(2)])
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    asks += [
        lambda: client(f"http://127.0.0.1:{port}").get(f"/x?apiKey={KEY}"),
        lambda: http.get(f"http://evil.test/?apiKey={KEY}"),
    ]
    told = []
    for ask in asks:
        try:
            ask()
        except (TryAgain, Refused) as fault:
            told.append("".join(traceback.TracebackException.from_exception(fault).format()) + repr(fault.__dict__))
    assert len(told) >= len(asks) - 2
    for text in told:
        own = "\n".join(line for line in text.splitlines() if "ask()" not in line)
        assert not [form for form in forms if form in own], own


# --- what servers say --------------------------------------------------------------------------------------------------


@pytest.mark.fault("R01")
@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("7", 7.0), (" 7.5 ", 7.5), ("0", 1.0), ("-5", 1.0), ("1000000000", 300.0), ("inf", 300.0), ("nan", 1.0), ("soon", 1.0),
        ("", 1.0), ("Fri, 20 Nov 2026 15:30:42 GMT", 42.0), ("Fri, 20 Nov 2026 15:29:00 GMT", 1.0),
        ("Fri, 20 Nov 2099 15:29:00 GMT", 300.0), ("Fri, 99 Nov 2026 15:29:00 GMT", 1.0),
    ],
)  # fmt: skip
def test_how_long_a_server_wants_to_be_left_alone_is_held_between_one_second_and_five_minutes(
    given: str, seconds: float
) -> None:
    assert retry_after({"Retry-After": given}, 1_795_188_600.0) == seconds
    assert retry_after({}, 0.0) is None


@pytest.mark.fault("S10")
def test_a_servers_words_are_one_short_printable_line() -> None:
    said = plain("bad\r\nkey\x1b[31m\u2028\u202e" + "x" * 10_000)
    assert said.isprintable()
    assert len(said) == 200
    assert said.startswith("bad key")
    assert plain(None) == "None"
