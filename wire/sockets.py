"""Sockets whose every wait ends with the call it belongs to, connected to whichever address of a host answers first.

Rules:
- No library bounds a name's lookup, and each read's own time-out bounds no whole: here every wait of a call (lookup, connect, TLS,
  head, body) ends at the call's one deadline.
- Addresses are raced, as RFC 8305 has it ("happy eyeballs"): a dead first one costs `STAGGER_S`, and costs it once, for the next
  connection begins with the address that answered last.
- TLS is always verified.
"""

from __future__ import annotations

import errno
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from itertools import zip_longest
from typing import Any

import certifi

STAGGER_S = 0.25  # RFC 8305, section 8: its recommendation
UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


# --- the deadline ------------------------------------------------------------------------------------------------------


class Call(threading.local):
    """What this thread is doing on the wire: until when, how much it may still read, and how far it has come."""

    ends_at: float | None = None
    bytes_left: float = float("inf")
    unconnected: str | None = None
    dialled: tuple[str, int, Any] | None = None
    reused = False
    sent = False
    received = False

    def left(self) -> float:
        """Seconds until the deadline. TimeoutError when there are none."""
        left = 3600.0 if self.ends_at is None else self.ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    @property
    def is_late(self) -> bool:
        return self.ends_at is not None and time.monotonic() >= self.ends_at


this_call = Call()


@contextmanager
def within(seconds: float, max_bytes: float = float("inf")) -> Iterator[Call]:
    """All that this thread waits for on our sockets meanwhile ends after `seconds` in all, or `max_bytes` read, by an OSError."""
    this_call.__dict__.clear()
    this_call.ends_at, this_call.bytes_left = time.monotonic() + seconds, max_bytes
    try:
        yield this_call
    finally:
        if this_call.dialled is not None:
            host, port, address = this_call.dialled
            _last[host, port] = address, this_call.received
        this_call.ends_at, this_call.bytes_left = None, float("inf")


class Timed:
    """A socket whose waits end with the call they belong to; outside of a call it has its own time-out, as any other."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        self._hurry()
        data: bytes = super().recv(buflen, flags)  # type: ignore[misc]
        self._count(len(data))
        return data

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        self._hurry()
        size: int = super().recv_into(buffer, nbytes or 0, flags)  # type: ignore[misc]
        self._count(size)
        return size

    def send(self, data: Any, flags: int = 0) -> int:
        self._hurry()
        this_call.sent = True
        size: int = super().send(data, flags)  # type: ignore[misc]
        return size

    def sendall(self, data: Any, flags: int = 0) -> None:
        self._hurry()
        this_call.sent = True
        super().sendall(data, flags)  # type: ignore[misc]

    def is_open(self) -> bool:
        """Whether the other side has neither closed nor said a word unasked. What TLS 1.3 sends behind its handshake is no word."""
        self.settimeout(0.0)  # type: ignore[attr-defined]
        try:
            super().recv(1)  # type: ignore[misc]
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except (OSError, ValueError):
            pass
        return False

    def _hurry(self) -> None:
        if this_call.ends_at is not None:
            self.settimeout(this_call.left())  # type: ignore[attr-defined]

    @staticmethod
    def _count(size: int) -> None:
        this_call.received = this_call.received or size > 0
        this_call.bytes_left -= size
        if this_call.bytes_left < 0:
            raise OSError("more than was asked for")


class _Socket(Timed, socket.socket):
    pass


class _TlsSocket(Timed, ssl.SSLSocket):
    pass


@cache
def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Certificates and names are verified, against certifi's authorities or those of `ca_file`. One for all connections."""
    context = ssl.create_default_context(cafile=ca_file or certifi.where())
    context.sslsocket_class = _TlsSocket
    return context


# --- connecting --------------------------------------------------------------------------------------------------------

_lookups: dict[tuple[str, int], Future[list[Any]]] = {}
_lookups_lock = threading.Lock()
_last: dict[
    tuple[str, int], tuple[Any, bool]
] = {}  # by host and port: the address last connected to, and whether it answered


def _addresses(host: str, port: int) -> list[Any]:
    """What getaddrinfo says, within the call's deadline: a lookup that hangs is left to itself, and shared by who asks next."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    with _lookups_lock:
        lookup = _lookups.get((host, port))
        if lookup is None:
            lookup = _lookups[host, port] = Future()
            threading.Thread(target=_look_up, args=(host, port, lookup), name="lookup", daemon=True).start()
    return lookup.result(this_call.left())


def _look_up(host: str, port: int, lookup: Future[list[Any]]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as fault:
        lookup.set_exception(socket.gaierror(type(fault).__name__))
    else:
        lookup.set_result(found)
    finally:
        with _lookups_lock:
            del _lookups[host, port]


def dial(host: str, port: int) -> socket.socket:
    """A connected socket, within the call's deadline. ConnectionError with a plain reason."""
    reason = "no connection"
    try:
        made, address = _race(_in_turn(_addresses(host, port), _last.get((host, port))))
    except socket.gaierror:
        reason = "the host's name cannot be resolved"
    except TimeoutError:
        reason = "no connection within the deadline"
    except OSError:
        pass
    else:
        this_call.dialled = host, port, address
        return made
    this_call.unconnected = reason
    raise ConnectionError(reason)


def _in_turn(found: list[Any], last: tuple[Any, bool] | None) -> list[Any]:
    """Families by turns (RFC 8305, section 4), beginning with the address that answered last; one that did not comes at the end."""
    families: dict[Any, list[Any]] = {}
    for one in found:
        families.setdefault(one[0], []).append(one)
    ordered = [one for turn in zip_longest(*families.values()) for one in turn if one is not None]
    address, answered = last or (None, False)
    begin = next((place + (not answered) for place, one in enumerate(ordered) if one[4] == address), 0)
    return ordered[begin:] + ordered[:begin]


def _race(addresses: list[Any]) -> tuple[socket.socket, Any]:
    """The first of these to be connected, and its address: a further one is tried when the last has failed or taken `STAGGER_S`.

    TimeoutError at the call's deadline, OSError when all have failed; whatever else was begun is closed.
    """
    stagger = min(STAGGER_S, this_call.left() / (len(addresses) + 1))
    waiting, next_at = deque(addresses), 0.0
    with selectors.DefaultSelector() as racing:
        try:
            while waiting or racing.get_map():
                left, now = this_call.left(), time.monotonic()
                if waiting and now >= next_at:
                    next_at = now + stagger if _begin(racing, waiting.popleft()) else 0.0
                    continue
                for key, _ in racing.select(min(left, next_at - now) if waiting else left):
                    made: Any = key.fileobj
                    if made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                        made.settimeout(this_call.left())  # the TLS handshake takes this for its whole
                        racing.unregister(made)
                        return made, key.data
                    racing.unregister(made)
                    made.close()
                    next_at = 0.0
        finally:
            for key in list(racing.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    raise ConnectionError("no address can be connected to")


def _begin(racing: selectors.BaseSelector, found: Any) -> bool:
    """Begin to connect; False where that fails at once."""
    family, kind, protocol, _, address = found
    try:
        made = _Socket(family, kind, protocol)
    except OSError:
        return False
    made.setblocking(False)
    if made.connect_ex(address) not in UNDER_WAY:
        made.close()
        return False
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    racing.register(made, selectors.EVENT_WRITE, address)
    return True
