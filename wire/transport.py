"""The wire, wrapped once: total deadlines, size caps, one host, TLS always verified, no proxy, and errors that give nothing away.

Rules:
- `requests` bounds each read and not the whole: a server that drips a byte at a time can hold it for ever. Here every wait of a call
  ends at the call's own deadline, for its sockets are ours (`wire.sockets`).
- A call knows whether a byte of its request left: `TryAgain.sent` False means that it certainly did not arrive.
- Redirects are refused. Of an absolute URL, as in `next_url`, only path and query are used, always with our own base.
- No exception of this module carries a URL, a header or a cause, for those carry keys.
"""

from __future__ import annotations

import email.utils
import socket
import ssl
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import requests
from msgspec import Struct
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as faults
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from wire.sockets import Call, Timed, dial, this_call, tls_context, within

MAX_BYTES = 8_000_000
CHUNK = 65_536
RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S = 1.0, 300.0
PROSE_LIMIT = 200


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


class Response(Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes


# --- over sockets of ours ---------------------------------------------------------------------------------------------


class _Dialled:
    """A connection of urllib3's over a socket of ours."""

    sock: socket.socket | None

    def _new_conn(self) -> socket.socket:
        return dial(self.host, self.port)  # type: ignore[attr-defined]

    @property
    def is_connected(self) -> bool:
        """Whether an idle connection is still there. That it can be read, as urllib3 asks, may be TLS's own doing."""
        return isinstance(self.sock, Timed) and self.sock.is_open()

    def request(self, *args: Any, **kwargs: Any) -> None:
        this_call.reused = self.sock is not None
        super().request(*args, **kwargs)  # type: ignore[misc]


class _Connection(_Dialled, HTTPConnection):
    pass


class _TlsConnection(_Dialled, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context has its authorities: requests would read their file again for every connection, which takes 13 ms."""
        conn.cert_reqs = "CERT_REQUIRED"

    def pool(self, url: str) -> HTTPConnectionPool:
        """The pool that requests to this URL take their connection from."""
        pool: Any = self.get_connection_with_tls_context(requests.Request("GET", url).prepare(), verify=True)
        self.cert_verify(pool, url, verify=True, cert=None)
        return pool  # type: ignore[no-any-return]


# --- the client --------------------------------------------------------------------------------------------------------


class Http:
    """Requests to one host. Use it from one thread, but for `renew`: it keeps its connection open from one request to the next.

    Every method gives an Response, whatever its status but a redirect, or raises TryAgain or Refused within `deadline_s` seconds.
    `allowed_hosts`: whom an absolute URL may name beside ourselves; it is our own base that is asked all the same.
    """

    def __init__(
        self,
        base_url: str,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_BYTES,
        *,
        allowed_hosts: Collection[str] = (),
        ca_file: str | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.deadline_s = deadline_s
        self.max_bytes = max_bytes
        self._allowed = {urlsplit(base_url).hostname, *allowed_hosts}
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update({"User-Agent": "iwm-5-vwap", "Accept-Encoding": "gzip", **(headers or {})})
        self._adapter = _Adapter(tls_context(ca_file))
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Response:
        """An idle connection that turns out to be dead is replaced in silence, once."""
        return self._ask("GET", self._url(path), params=params)

    def post(self, path: str, data: Mapping[str, str]) -> Response:
        """A form. It is never sent twice: whoever calls decides what an unknown outcome means."""
        return self._ask("POST", self._url(path), data=data)

    def post_json(self, path: str, body: bytes) -> Response:
        """A JSON document, as it is. It is never sent twice either."""
        return self._ask("POST", self._url(path), data=body, headers={"Content-Type": "application/json"})

    def delete(self, path: str) -> Response:
        """Sent once."""
        return self._ask("DELETE", self._url(path))

    def renew(self) -> bool:
        """Open a new connection, TLS and all, in the place of the kept one, and ask nothing over it; whether it could be had.

        From any thread, within `deadline_s`: a request that comes meanwhile waits for nothing and opens its own.
        """
        nothing = faults.HTTPError, requests.RequestException, OSError, ValueError
        with within(self.deadline_s) as call, suppress(*nothing):
            pool = self._adapter.pool(self.base_url)
            connection = pool._get_conn()
            connection.close()
            try:
                connection.connect()
                call.received = True
            except BaseException:
                connection.close()
                raise
            finally:
                pool._put_conn(connection)
        return call.received

    def close(self) -> None:
        """Let go of the connection; the next request opens another."""
        self._session.close()

    def _url(self, path: str) -> str:
        if path.startswith(("http://", "https://")):
            try:
                parts = urlsplit(path)
                host = parts.hostname
            except ValueError:
                host = None
            if host not in self._allowed:
                raise TryAgain("the next page is on another host: not asked")
            path = parts.path + (f"?{parts.query}" if parts.query else "")
        return self.base_url + (path if path.startswith("/") else f"/{path}")

    def _ask(self, method: str, url: str, **request: Any) -> Response:
        with within(self.deadline_s) as call:
            outcome = self._once(call, method, url, request)
            if isinstance(outcome, TryAgain) and method == "GET" and call.reused and not call.received and not call.is_late:
                outcome = self._once(call, method, url, request)
        if isinstance(outcome, TryAgain):
            raise outcome
        if 300 <= outcome.status < 400:
            raise Refused(f"redirected ({outcome.status}): never followed, the key stays with its host", outcome.status)
        return outcome

    def _once(self, call: Call, method: str, url: str, request: Mapping[str, Any]) -> Response | TryAgain:
        """One try. Faults are returned and not raised: what is raised while another is handled would carry it along."""
        try:
            with self._session.request(
                method, url, timeout=self.deadline_s, stream=True, allow_redirects=False, **request
            ) as response:
                return Response(response.status_code, response.headers, self._body(response))
        except (requests.RequestException, faults.HTTPError, OSError, ValueError) as fault:
            return TryAgain(self._meaning(call, fault), sent=call.sent)

    def _body(self, response: requests.Response) -> bytes:
        parts, size = [], 0
        for part in response.iter_content(CHUNK):
            size += len(part)
            if size > self.max_bytes:
                raise _TooLarge
            parts.append(part)
        return b"".join(parts)

    def _meaning(self, call: Call, fault: Exception) -> str:
        """What went wrong; the fault's own words are not used, for they hold the URL."""
        if call.unconnected is not None:
            return call.unconnected
        if call.is_late:
            return f"no {'whole answer' if call.sent else 'connection'} within {self.deadline_s:g} s"
        if isinstance(fault, _TooLarge):
            return f"the answer is larger than {self.max_bytes} bytes"
        chain = list(_causes(fault))
        if any(isinstance(item, ssl.SSLError | faults.SSLError | requests.exceptions.SSLError) for item in chain):
            return "TLS failed: the certificate or the handshake is not right"
        if any(isinstance(item, faults.IncompleteRead | faults.DecodeError | faults.InvalidChunkLength) for item in chain):
            return "the answer is broken"
        if any(isinstance(item, ConnectionError | faults.ProtocolError) for item in chain):
            return "the connection was cut"
        return f"the request failed ({type(fault).__name__})"


class _TooLarge(ValueError):
    pass


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """An exception and those it was made of, wherever requests and urllib3 keep them."""
    seen: list[BaseException] = []
    waiting: list[object] = [fault]
    while waiting:
        item = waiting.pop()
        if isinstance(item, BaseException) and item not in seen:
            seen.append(item)
            waiting += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
            yield item


# --- what servers say --------------------------------------------------------------------------------------------------


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """`Retry-After` in seconds, from a number or a date, held between 1 and 300 s; None where it is not given."""
    given = headers.get("Retry-After")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(given).timestamp() - now
        except (ValueError, OverflowError):
            return RETRY_AFTER_MIN_S
    if seconds != seconds:
        return RETRY_AFTER_MIN_S
    return min(max(seconds, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)


def plain(words: object) -> str:
    """What a server says, as one short line that can be printed anywhere."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(words)[: 10 * PROSE_LIMIT])
    return " ".join(text.split())[:PROSE_LIMIT]
