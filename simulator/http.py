"""A small HTTP/1.1 server on loopback that records every request and fails as it is told.

Rules: keep-alive, TCP_NODELAY, gzip where it is asked for; a thread a connection. A request's `at` is the monotonic time of
its first byte. `script` puts answers in front of the normal ones, in order; see `Answer` for what can go wrong.
"""

from __future__ import annotations

import gzip
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

_STATUSES = {int(status) for status in HTTPStatus}
KEPT_REQUESTS = 20_000
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came. `at`, monotonic seconds, is its first byte; `market_at` is the market's time then."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    at: float
    market_at: float
    connection: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer and how. `status` None: the normal answer, in this manner. `raw` is sent instead, then the end.

    `delay_s` waits before the first byte; `byte_every_s` drips; after `cut_after` bytes of the answer the connection is
    reset (0: at once); `hang` never answers. `process` handles the request as usual first: it counts, its answer is lost.
    """

    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    byte_every_s: float = 0.0
    cut_after: int | None = None
    raw: bytes | None = None
    hang: bool = False
    process: bool = False


Scripted = Answer | Callable[[Request], Answer]


@dataclass(slots=True)
class _Script:
    pattern: re.Pattern[str]
    answers: deque[Scripted]
    forever: bool


class HttpServer:
    """A server whose normal answers come from `answer`, overridden below. Starts at once, on a free port where none is given."""

    def __init__(self, now: Callable[[], float] = time.time, port: int = 0) -> None:
        self.now = now
        self.requests: deque[Request] = deque(maxlen=KEPT_REQUESTS)
        self.peak_connections = 0
        self._scripts: list[_Script] = []
        self._changed = threading.Condition()
        self._open: dict[int, socket.socket] = {}
        self._count = 0
        self._stopped = threading.Event()
        self._listener = self._listen(port)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listener,), name=type(self).__name__, daemon=True).start()

    # --- for tests -----------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, pattern: str, *answers: Scripted, forever: bool = False) -> None:
        """Answer the next requests whose path matches a regular expression with these; `forever`: the last one stays."""
        with self._changed:
            self._scripts.append(_Script(re.compile(pattern), deque(answers), forever))

    def unscript(self) -> None:
        with self._changed:
            self._scripts.clear()

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        """Wait until a condition on what was recorded is true; its value, or TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise TimeoutError(f"not seen within {timeout_s:g} s")
            return condition()

    def down(self) -> None:
        """Refuse connections and drop those that are open."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes its thread
        self._listener.close()
        self.drop_connections()

    def up(self) -> None:
        """Listen again on the same port."""
        self._listener = self._listen(self.port)
        threading.Thread(target=self._accept, args=(self._listener,), name=type(self).__name__, daemon=True).start()

    def drop_connections(self, *, reset: bool = False) -> None:
        """Close every connection, kept-alive ones too."""
        for connection in list(self._open.values()):
            _end(connection, reset=reset)

    def close(self) -> None:
        self._stopped.set()
        self.down()

    # --- for servers ---------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        """The normal answer."""
        raise NotImplementedError

    def changed(self) -> None:
        """Wake whoever waits for something recorded."""
        with self._changed:
            self._changed.notify_all()

    # --- the wire ------------------------------------------------------------------------------------------------------

    @staticmethod
    def _listen(port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=64)
        listener.settimeout(None)
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # closed: the end
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._changed:
                    self._count += 1
                    number = self._count
                    self._open[number] = connection
                    self.peak_connections = max(self.peak_connections, len(self._open))
                threading.Thread(target=self._serve, args=(number, connection), daemon=True).start()

    def _serve(self, number: int, connection: socket.socket) -> None:
        waiting = bytearray()
        try:
            while (request := self._read(number, connection, waiting)) is not None:
                if not self._reply(connection, request):
                    break
        except (OSError, ValueError):  # the client went away, or does not speak HTTP
            pass
        finally:
            _end(connection)
            with self._changed:
                self._open.pop(number, None)
                self._changed.notify_all()

    def _read(self, number: int, connection: socket.socket, waiting: bytearray) -> Request | None:
        """The next request of a connection; None at its end. ValueError if it is no HTTP."""
        at, market_at = time.monotonic(), self.now()
        while b"\r\n\r\n" not in waiting:
            if len(waiting) > 65_536:
                raise ValueError("the head is too long")
            data = connection.recv(65_536)
            if not data:
                return None
            if not waiting:
                at, market_at = time.monotonic(), self.now()
            waiting += data
        head, _, _ = bytes(waiting).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        pairs = (line.split(":", 1) for line in lines if ":" in line)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        size, end = int(headers.get("content-length", "0")), len(head) + 4
        while len(waiting) < end + size:
            data = connection.recv(65_536)
            if not data:
                return None
            waiting += data
        body = bytes(waiting[end : end + size])
        del waiting[: end + size]
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return Request(method, unquote(parts.path), query, headers, body, at, market_at, number)

    def _reply(self, connection: socket.socket, request: Request) -> bool:
        """Answer one request; False if the connection is to end."""
        scripted = self._scripted(request)
        manner = scripted(request) if callable(scripted) else scripted
        if manner is None:
            answer = self.answer(request)
        elif (manner.status is None and manner.raw is None) or manner.process:
            normal = self.answer(request)
            answer = normal if manner.status is None else manner
        else:
            answer = manner
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        manner = manner or answer
        if manner.delay_s:
            self._stopped.wait(manner.delay_s)
        if manner.hang:
            self._stopped.wait(3600)
            return False
        return _send(connection, _encoded(answer, request) if manner.raw is None else manner.raw, manner, request)

    def _scripted(self, request: Request) -> Scripted | None:
        with self._changed:
            for script in self._scripts:
                if script.answers and script.pattern.search(request.path):
                    if script.forever and len(script.answers) == 1:
                        return script.answers[0]
                    return script.answers.popleft()
        return None


def _encoded(answer: Answer, request: Request) -> bytes:
    body = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
    headers = {"Content-Type": "application/json", **answer.headers}
    if len(body) > 1400 and "gzip" in request.headers.get("accept-encoding", "") and "Content-Encoding" not in headers:
        body = gzip.compress(body, 1)
        headers["Content-Encoding"] = "gzip"
    headers.setdefault("Content-Length", str(len(body)))
    status = answer.status or 200
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {_phrase(status)}\r\n{lines}\r\n".encode("latin-1") + body


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in _STATUSES else "Status"


def _send(connection: socket.socket, data: bytes, manner: Answer, request: Request) -> bool:
    if manner.cut_after is not None:
        data = data[: manner.cut_after]
    if manner.byte_every_s:
        for k in range(len(data)):
            connection.sendall(data[k : k + 1])
            time.sleep(manner.byte_every_s)
    else:
        connection.sendall(data)
    if manner.cut_after is not None:
        _end(connection, reset=True)
    return manner.cut_after is None and manner.raw is None and request.headers.get("connection", "").lower() != "close"


def _end(connection: socket.socket, *, reset: bool = False) -> None:
    with suppress(OSError):
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        else:
            connection.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        connection.close()
