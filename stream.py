"""The feed's sockets, by websocket-client's own connection and a loop of ours: connect, log in, subscribe, listen, begin again.

Rules:
- Everything has a deadline: connecting and upgrading 10 s in all, the login 10 s, every subscription's acknowledgement 10 s.
- Only bars are health. A pong proves a wire, a login proves nothing: the server takes one connection a key, and tells only later.
- Silence of all symbols in regular hours: ping at 5 s; without a pong in 2 s, or with one at 12 s, a new connection. A reconnect that
  brought nothing new makes the next one more patient, so that a halt of the market is no storm.
- Back-off grows until ten seconds of data have come. A refused key is left alone for ten minutes, a taken one for one.
- Nobody waits for a close handshake.
"""

from __future__ import annotations

import random
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import certifi
import msgspec
import websocket
from websocket._abnf import frame_buffer

from events import BarClosed, FeedConnected, FeedDropped, FeedRefused, JunkDropped, QuoteSeen, UnwatchContract, WatchContract
from polygon_client import Frame, Status, check_bar, parse_frame
from threads import Edge, Emit
from transport import REAPER

if TYPE_CHECKING:
    from config import Config
    from utils import Clock

OPEN_S = 10.0
LOGIN_S = 10.0
ACK_S = 10.0
PING_AFTER_S = 5.0
PONG_WITHIN_S = 2.0
SILENT_S = 12.0
SILENT_MAX_S = 120.0
IDLE_PING_S = 25.0
IDLE_PONG_S = 10.0
HEALTHY_S = 10.0
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 30.0
FRUITLESS_MAX = 5
FRUITLESS_S = 60.0
BUSY_S = 60.0
REFUSED_S = 600.0
JUNK_EVERY_S = 60.0
STEP_S = 0.25
MAX_MESSAGE = 1 << 20
READ_BYTES = 1 << 16


class Dropped(Exception):
    """The connection is of no use any more."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Denied(Dropped):
    """The server will not have us: the key, the plan, or (`busy`) another process on the same key."""

    def __init__(self, reason: str, *, busy: bool = False) -> None:
        super().__init__(reason)
        self.busy = busy


# --- the connection ----------------------------------------------------------------------------------------------------


class _Bounded(frame_buffer):
    """websocket-client takes any length a server names; this takes a megabyte."""

    def recv_length(self) -> None:
        super().recv_length()
        if self.length is not None and self.length > MAX_MESSAGE:
            raise Dropped("a frame larger than 1 MiB")


class Connection(websocket.WebSocket):
    """A WebSocket over a socket of ours: opened within a deadline, read in large pieces, closed without ceremony."""

    def __init__(self) -> None:
        super().__init__(enable_multithread=False, skip_utf8_validation=True)
        self.frame_buffer = _Bounded(self._recv, True)
        self._buffer = b""
        self._at = 0

    def open(self, url: str, seconds: float) -> None:
        """Connect, TLS, upgrade, all within `seconds`. Dropped or Denied says why not."""
        parts = urlsplit(url)
        secure = parts.scheme == "wss"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        deadline = REAPER.watch(seconds)
        try:
            raw = socket.create_connection((host, port), timeout=seconds)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            deadline.handle = raw.dup()
            if secure:
                raw = ssl.create_default_context(cafile=certifi.where()).wrap_socket(raw, server_hostname=host)
            self.settimeout(seconds)
            self.connect(url, socket=raw, suppress_origin=True, redirect_limit=1)  # type: ignore[no-untyped-call]
        except websocket.WebSocketBadStatusException as fault:
            raise _upgrade_refused(fault.status_code) from None
        except (websocket.WebSocketException, ssl.SSLError, OSError, ValueError) as fault:
            raise Dropped("no connection within the deadline" if deadline.passed else _why(fault)) from None
        finally:
            deadline.over = True
            if deadline.handle is not None:
                deadline.handle.close()
        if self.getstatus() != 101:
            raise _upgrade_refused(self.getstatus())

    def _recv(self, bufsize: int) -> bytes:
        if self._at >= len(self._buffer):
            self._buffer, self._at = super()._recv(READ_BYTES), 0  # type: ignore[no-untyped-call]
        piece = self._buffer[self._at : self._at + bufsize]
        self._at += len(piece)
        return piece

    def abandon(self) -> None:
        if self.sock is not None:
            self.sock.close()


def _upgrade_refused(status: int | None) -> Dropped:
    if status in (401, 403):
        return Denied(f"the server refuses the connection ({status})")
    return Dropped(f"the server answers {status} instead of a WebSocket")


def _why(fault: BaseException) -> str:
    if isinstance(fault, ssl.SSLError):
        return "TLS failed: the certificate or the handshake is not right"
    if isinstance(fault, socket.gaierror):
        return "the host's name cannot be resolved"
    if isinstance(fault, TimeoutError | websocket.WebSocketTimeoutException):
        return "no connection within the deadline"
    if isinstance(fault, ConnectionRefusedError):
        return "connection refused"
    return f"the connection was lost ({type(fault).__name__})"


# --- one socket, again and again ---------------------------------------------------------------------------------------


class Stream(Edge):
    """Keeps one socket subscribed. What comes is emitted; nothing is decided."""

    feed: Any = "stocks"

    def __init__(self, emit: Emit, config: Config, clock: Clock, url: str) -> None:
        super().__init__(emit)
        self.config = config
        self.clock = clock
        self.url = url
        self.fruitless = 0
        self.patience_s = SILENT_S
        self._junk: Counter[str] = Counter()
        self._junk_at = 0.0
        self._heard_first = self._heard_last = 0.0
        self._awaited: set[str] = set()
        self._pong_at = 0.0

    # what a kind of stream adds

    def topics(self) -> list[str]:
        raise NotImplementedError

    def watching(self) -> bool:
        """Whether silence means something now."""
        raise NotImplementedError

    def wanted(self) -> bool:
        """Whether there is a reason to be connected."""
        return True

    def take(self, frame: Frame, now: float) -> int:
        """Emit what a frame held; how many pieces of data it was."""
        raise NotImplementedError

    # the loop

    def run(self) -> None:
        while not self.stopping.is_set():
            if not self.wanted():
                self._wait(STEP_S)
                continue
            connection = Connection()
            self._heard_first = self._heard_last = 0.0
            try:
                connection.open(self.url, OPEN_S)
                self._listen(connection)
            except Denied as denied:
                self.emit(FeedRefused(at=self.clock.now(), feed=self.feed, reason=denied.reason, busy=denied.busy))
                self._pause(BUSY_S if denied.busy else REFUSED_S)
            except Dropped as dropped:
                pause = self._backoff()
                self.emit(FeedDropped(at=self.clock.now(), feed=self.feed, reason=dropped.reason, retry_in_s=pause))
                self._pause(pause)
            finally:
                connection.abandon()
                self._tell_junk(self.clock.now(), force=True)

    def _backoff(self) -> float:
        """Seconds until the next try: short after a healthy life, longer with every one that brought no data."""
        if self._heard_last - self._heard_first >= HEALTHY_S:
            self.fruitless = 0
            self.patience_s = SILENT_S
        else:
            self.fruitless += 1
            self.patience_s = min(self.patience_s * 2, SILENT_MAX_S) if self.fruitless > 1 else self.patience_s
        if self.fruitless > FRUITLESS_MAX:
            return FRUITLESS_S
        return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0**self.fruitless) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    def _pause(self, seconds: float) -> None:
        until = self.clock.now() + seconds
        while not self.stopping.is_set() and self.clock.now() < until:
            self._wait(min(1.0, until - self.clock.now()))

    def _wait(self, seconds: float) -> None:
        self.beat()
        self.stopping.wait(self.clock.real_seconds(max(seconds, 0.01)))

    # one life of a connection

    def _listen(self, connection: Connection) -> None:
        self._log_in(connection)
        topics = self.topics()
        if topics:
            self._subscribe(connection, topics)
        self.emit(FeedConnected(at=self.clock.now(), feed=self.feed))
        quiet_since, ping_at = self.clock.now(), 0.0
        self._pong_at = 0.0
        while not self.stopping.is_set() and self.wanted():
            self.beat()
            self.adjust(connection)
            heard = self._receive(connection)
            now = self.clock.now()
            if heard:
                quiet_since, ping_at = now, 0.0
                continue
            quiet_since, ping_at = self._watch_silence(connection, now, quiet_since, ping_at)

    def adjust(self, connection: Connection) -> None:
        """Change the subscriptions of a live connection, if they should be others now."""

    def _watch_silence(self, connection: Connection, now: float, quiet_since: float, ping_at: float) -> tuple[float, float]:
        """Ping what is silent, give up what does not answer or goes on being silent."""
        silent = now - quiet_since
        watching = self.watching()
        after_s, within_s = (PING_AFTER_S, PONG_WITHIN_S) if watching else (IDLE_PING_S, IDLE_PONG_S)
        if ping_at and self._pong_at < ping_at:
            if now - ping_at >= within_s:
                raise Dropped(f"no answer to a ping after {silent:.0f}s of silence")
        elif watching and silent >= self.patience_s:
            raise Dropped(f"connected, but no bars for {silent:.0f}s")
        elif silent >= after_s and (not ping_at or now - ping_at >= IDLE_PING_S):
            self._send(connection, None)
            return quiet_since, now
        if not watching and silent >= IDLE_PING_S and ping_at and self._pong_at >= ping_at:
            return now, 0.0
        return quiet_since, ping_at

    def _log_in(self, connection: Connection) -> None:
        end = self.clock.now() + LOGIN_S
        self._expect(connection, end, lambda status: status.status == "connected", "no greeting from the server")
        self._send(connection, {"action": "auth", "params": self.config.polygon_api_key.get_secret_value()})
        self._expect(connection, end, _authenticated, "no answer to the login")

    def _subscribe(self, connection: Connection, topics: list[str]) -> None:
        self._awaited = set(topics)
        self._send(connection, {"action": "subscribe", "params": ",".join(topics)})
        end = self.clock.now() + ACK_S
        while self._awaited and not self.stopping.is_set():
            self.beat()
            if self.clock.now() >= end:
                raise Dropped(f"not acknowledged: {', '.join(sorted(self._awaited))}")
            self._receive(connection)

    def _expect(self, connection: Connection, end: float, is_it: Callable[[Status], bool], otherwise: str) -> None:
        while not self.stopping.is_set():
            self.beat()
            if self.clock.now() >= end:
                raise Dropped(otherwise)
            if any(is_it(status) for status in self._frame(connection).statuses):
                return

    def _receive(self, connection: Connection) -> int:
        frame = self._frame(connection)
        now = self.clock.now()
        pieces = self.take(frame, now)
        if pieces:
            self._heard_first = self._heard_first or now
            self._heard_last = now
        if self._junk:
            self._tell_junk(now)
        return pieces

    def _frame(self, connection: Connection) -> Frame:
        """The next frame, or an empty one when none came within a step. Statuses that end everything are raised."""
        try:
            connection.settimeout(self.clock.real_seconds(STEP_S))
            opcode, message = connection.recv_data_frame(control_frame=True)
        except websocket.WebSocketTimeoutException:
            return Frame([], [], [], {})
        except Dropped:
            raise
        except (websocket.WebSocketException, OSError, ValueError, AttributeError) as fault:
            raise Dropped(_why(fault)) from None
        if opcode == websocket.ABNF.OPCODE_PONG:
            self._pong_at = self.clock.now()
            return Frame([], [], [], {})
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise _closed(message.data)
        if opcode not in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            return Frame([], [], [], {})
        frame = parse_frame(message.data)
        self._junk.update(frame.dropped)
        for status in frame.statuses:
            self._heed(status)
        return frame

    def _heed(self, status: Status) -> None:
        match status.status:
            case "auth_failed":
                raise Denied(f"login refused: {status.message or 'no reason given'}"[:200])
            case "max_connections":
                raise Denied("another process uses this key (max_connections)", busy=True)
            case "error" if "not authorized" in status.message.lower():
                raise Denied(f"subscription refused: {status.message}, the plan does not include it"[:200])
            case "success" if ": " in status.message:
                self._awaited.discard(status.message.rsplit(": ", 1)[1].strip())
            case "slow_consumer" | "force_disconnect":
                raise Dropped(f"the server ends the connection: {status.status}")

    def _send(self, connection: Connection, message: dict[str, str] | None) -> None:
        """A message, or a ping."""
        try:
            connection.settimeout(self.clock.real_seconds(PONG_WITHIN_S))
            if message is None:
                connection.ping("still there?")
            else:
                connection.send(msgspec.json.encode(message))
        except (websocket.WebSocketException, OSError, AttributeError) as fault:
            raise Dropped(_why(fault)) from None

    def _tell_junk(self, now: float, *, force: bool = False) -> None:
        if self._junk and (force or now - self._junk_at >= JUNK_EVERY_S):
            self._junk_at = now
            self.emit(JunkDropped(at=now, feed=self.feed, counts=dict(self._junk)))
            self._junk.clear()


def _authenticated(status: Status) -> bool:
    return status.status == "auth_success" or (status.status == "success" and status.message == "authenticated")


def _closed(data: bytes) -> Dropped:
    code = int.from_bytes(data[:2], "big") if len(data) >= 2 else None
    reason = data[2:].decode("utf-8", "replace")[:120]
    if code == 1008 and "connection" in reason.lower():
        return Denied("another process uses this key (closed with 1008)", busy=True)
    return Dropped(f"the server closed the connection ({code}{': ' + reason if reason else ''})")


# --- the two of them ---------------------------------------------------------------------------------------------------


class StocksSocket(Stream):
    """Second bars of the traded symbol, of SPY and of the heartbeat basket. `in_hours`: whether their silence means anything."""

    name = "stocks"
    feed = "stocks"

    def __init__(self, emit: Emit, config: Config, clock: Clock, in_hours: Callable[[], bool]) -> None:
        super().__init__(emit, config, clock, config.polygon_ws_url)
        self.in_hours = in_hours
        self.symbols = frozenset((config.symbol, config.leader, *config.heartbeat_symbols))

    def topics(self) -> list[str]:
        return [f"A.{symbol}" for symbol in sorted(self.symbols)]

    def watching(self) -> bool:
        return self.in_hours()

    def take(self, frame: Frame, now: float) -> int:
        pieces = 0
        for bar in frame.bars:
            if bar.symbol not in self.symbols:
                self._junk["bar: not subscribed"] += 1
            elif (fault := check_bar(bar, now)) is not None:
                self._junk[fault] += 1
            else:
                self.emit(BarClosed(at=now, bar=bar))
                pieces += 1
        return pieces


class OptionsSocket(Stream):
    """Quotes of the held contract, while there is one. Connected only then: the key allows one connection."""

    name = "options"
    feed = "options"

    def __init__(self, emit: Emit, config: Config, clock: Clock) -> None:
        super().__init__(emit, config, clock, config.polygon_options_ws_url)
        self.contract: str | None = None
        self.subscribed: str | None = None

    def put(self, action: Any, rank: int = 0) -> None:
        match action:
            case WatchContract(contract):
                self.contract = contract
            case UnwatchContract():
                self.contract = None

    def inherit(self, other: Edge) -> None:
        assert isinstance(other, OptionsSocket)
        self.contract = other.contract

    def wanted(self) -> bool:
        return self.contract is not None

    def topics(self) -> list[str]:
        self.subscribed = self.contract
        return [f"Q.{self.subscribed}"]

    def adjust(self, connection: Connection) -> None:
        if self.contract is not None and self.contract != self.subscribed:
            self._send(connection, {"action": "unsubscribe", "params": f"Q.{self.subscribed}"})
            self._subscribe(connection, self.topics())

    def watching(self) -> bool:
        """A quiet contract is no fault: REST asks for its quote every second anyway."""
        return False

    def take(self, frame: Frame, now: float) -> int:
        pieces = 0
        for contract, quote in frame.quotes:
            if contract == self.contract:
                self.emit(QuoteSeen(at=now, contract=contract, quote=quote, source="stream"))
                pieces += 1
        return pieces
