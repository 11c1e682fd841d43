"""requests, wrapped once: a total deadline, a size cap, one host, no redirect, no proxy, and errors that give nothing away.

`requests` bounds each read and not the whole: a server that drips a byte at a time can hold it for ever. Here one thread shuts the
socket of every request that outlives its deadline, whatever it is doing. No exception of this module carries a URL, a header or a
cause, for those carry keys.
"""

from __future__ import annotations

import contextlib
import email.utils
import heapq
import itertools
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from msgspec import Struct
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as faults
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

MAX_BYTES = 8_000_000
CHUNK = 65_536
RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S = 1.0, 300.0


class TryAgain(Exception):
    """It did not work this time. `sent`: the request may have arrived. `retry_after_s`: what the server asked for."""

    def __init__(self, reason: str, *, sent: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.sent, self.retry_after_s = reason, sent, retry_after_s


class Refused(Exception):
    """The server will not, and will not the next time either."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


class Answer(Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes


# --- the deadline ------------------------------------------------------------------------------------------------------


class Deadline:
    """One request's end. `handle` is a second hand on its socket, there to shut it."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.handle: socket.socket | None = None
        self.passed = False
        self.over = False

    def cut(self) -> None:
        if not self.over:
            self.passed = True
            if self.handle is not None:
                with contextlib.suppress(OSError):
                    self.handle.shutdown(socket.SHUT_RDWR)


class Reaper:
    """One thread for all deadlines of the process, started with the first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._changed = threading.Condition()
        self._count = itertools.count()
        self._thread: threading.Thread | None = None

    def watch(self, seconds: float) -> Deadline:
        deadline = Deadline(time.monotonic() + seconds)
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            heapq.heappush(self._heap, (deadline.at, next(self._count), deadline))
            if self._heap[0][2] is deadline:
                self._changed.notify()
        return deadline

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._heap or self._heap[0][0] > time.monotonic():
                    self._changed.wait(self._heap[0][0] - time.monotonic() if self._heap else None)
                deadline = heapq.heappop(self._heap)[2]
            deadline.cut()


REAPER = Reaper()
_current = threading.local()


class _Guarded:
    """A connection that shows its socket to the deadline of the request that uses it."""

    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]
        self._handle = made.dup()  # TLS takes the socket over; shutting the copy still shuts the connection
        self._show()
        return made

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._show()
        super().request(*args, **kwargs)  # type: ignore[misc]

    def close(self) -> None:
        handle, self._handle = self._handle, None
        super().close()  # type: ignore[misc]
        if handle is not None:
            handle.close()

    def _show(self) -> None:
        deadline: Deadline | None = getattr(_current, "deadline", None)
        if deadline is not None and self._handle is not None:
            deadline.handle = self._handle
            if deadline.passed:
                deadline.cut()


class _Connection(_Guarded, HTTPConnection):
    pass


class _TlsConnection(_Guarded, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


# --- the client --------------------------------------------------------------------------------------------------------


class Http:
    """Requests to one host. Use it from one thread: it keeps its connection open from one request to the next.

    Every method gives an Answer, whatever its status but a redirect, or raises TryAgain or Refused within `deadline_s` seconds.
    """

    def __init__(
        self, base_url: str, deadline_s: float, headers: Mapping[str, str] | None = None, max_bytes: int = MAX_BYTES
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.deadline_s = deadline_s
        self.max_bytes = max_bytes
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update({"User-Agent": "iwm-5-vwap", **(headers or {})})
        adapter = _Adapter(pool_connections=1, pool_maxsize=1, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Answer:
        """`path` may be an absolute URL, as in `next_url`: only its path and query are used, always with our own base."""
        end = time.monotonic() + self.deadline_s
        try:
            return self._ask("GET", self._url(path), self.deadline_s, params=params)
        except _Stale:
            left = end - time.monotonic()
            return self._ask("GET", self._url(path), max(left, 0.01), params=params, again=True)

    def post(self, path: str, data: Mapping[str, str]) -> Answer:
        """A form. It is never sent twice: whoever calls decides what an unknown outcome means."""
        return self._ask("POST", self._url(path), self.deadline_s, data=data, again=True)

    def close(self) -> None:
        self._session.close()

    def _url(self, path: str) -> str:
        if "://" in path:
            parts = urlsplit(path)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
        return self.base_url + (path if path.startswith("/") else f"/{path}")

    def _ask(self, method: str, url: str, seconds: float, *, again: bool = False, **request: Any) -> Answer:
        deadline = REAPER.watch(seconds)
        _current.deadline = deadline
        try:
            with self._session.request(
                method, url, timeout=seconds, stream=True, allow_redirects=False, verify=True, **request
            ) as response:
                answer = Answer(response.status_code, response.headers, self._body(response))
        except (requests.RequestException, faults.HTTPError, OSError, ValueError) as fault:
            trouble = meaning(fault, deadline.passed)
        else:
            if not 300 <= answer.status < 400:
                return answer
            raise Refused(f"redirected ({answer.status}): never followed, the key stays with its host", answer.status)
        finally:
            deadline.over = True
            _current.deadline = None
        if isinstance(trouble, _Stale) and again:
            raise TryAgain(trouble.reason, sent=True)
        raise trouble

    def _body(self, response: requests.Response) -> bytes:
        parts, size = [], 0
        for part in response.iter_content(CHUNK):
            size += len(part)
            if size > self.max_bytes:
                raise _TooLarge
            parts.append(part)
        return b"".join(parts)


class _TooLarge(ValueError):
    pass


class _Stale(TryAgain):
    """The connection was closed before an answer began: perhaps only because it had been idle for long."""


def meaning(fault: BaseException, passed: bool) -> TryAgain:
    """What an exception means for the caller; its own words are not used, for they hold the URL."""
    if passed or isinstance(fault, requests.ReadTimeout):
        unsent = isinstance(fault, requests.ConnectTimeout)
        return TryAgain("no whole answer within the deadline", sent=not unsent)
    if isinstance(fault, _TooLarge):
        return TryAgain("the answer is too large", sent=True)
    cause: BaseException | None = fault
    chain = []
    while cause is not None and cause not in chain:
        chain.append(cause)
        inner = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__
    if any(isinstance(item, faults.NameResolutionError) for item in chain):
        return TryAgain("the host's name cannot be resolved")
    if any(isinstance(item, requests.exceptions.SSLError | faults.SSLError) for item in chain):
        return TryAgain("TLS failed: the certificate or the handshake is not right")
    if any(isinstance(item, faults.NewConnectionError | faults.ConnectTimeoutError) for item in chain):
        return TryAgain("no connection")
    if any(
        isinstance(item, faults.IncompleteRead | faults.DecodeError | requests.exceptions.ContentDecodingError)
        for item in chain
    ):
        return TryAgain("the answer is broken", sent=True)
    if any(isinstance(item, ConnectionError | faults.ProtocolError) for item in chain):
        return _Stale("the connection was cut", sent=True)
    return TryAgain(f"the request failed ({type(fault).__name__})", sent=True)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """`Retry-After` in seconds, from a number or a date, held between 1 and 300 s; None where it is not given."""
    given = headers.get("Retry-After")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        date = email.utils.parsedate_tz(given)
        seconds = RETRY_AFTER_MIN_S if date is None else email.utils.mktime_tz(date) - now
    if seconds != seconds:
        return RETRY_AFTER_MIN_S
    return min(max(seconds, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)
