"""The feed's sockets, by websocket-client's own connection and a loop of ours: connect, log in, subscribe, listen, begin again.

Rules:
- Everything has a deadline: connecting and upgrading 10 s in all, the login 10 s, every subscription's acknowledgement 10 s.
- Only bars are health. A pong proves a wire, a login proves nothing: the server takes one connection a key, and tells only later.
- Silence of all symbols in regular hours: ping at 5 s; without a pong in 2 s, or with one at 12 s, a new connection. A reconnect that
  brought nothing makes the next one more patient, up to a minute, so that a halt of the market is no storm.
- Back-off grows until ten seconds of data have come. A refused key is left alone for five minutes, a taken one for one.
- FeedConnected: subscribed and acknowledged. FeedDropped or FeedRefused ends every try, connected or not.
- Nobody waits for a close handshake.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import msgspec

import logger
from edges.edge import Edge, Emit
from events import BarClosed, FeedConnected, FeedDropped, FeedRefused, JunkDropped, QuoteSeen, Watch
from failpoints import hit
from logger import Redactor
from polygon_client import Frame, Status, check_bar, parse_frame
from wire.connection import BINARY, CLOSE, PING, TEXT, Connection, Denied, Dropped, Message
from wire.transport import plain

if TYPE_CHECKING:
    from config import Config
    from utils import Clock

log = logger.of("stream")

OPEN_S = 10.0
LOGIN_S = 10.0
ACK_S = 10.0
PING_AFTER_S, PONG_WITHIN_S = 5.0, 2.0
SILENT_S, SILENT_MAX_S = 12.0, 60.0
IDLE_PING_AFTER_S, IDLE_PONG_WITHIN_S = 25.0, 10.0
HEALTHY_S = 10.0
SETTLED_S = 60.0
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 30.0
HOLLOW_MAX, HOLLOW_S = 5, 60.0
BUSY_S = 60.0
REFUSED_S = 300.0
JUNK_EVERY_S = NOTE_EVERY_S = 60.0
STEP_S = 0.2
# a market that runs faster than time must not be cut by a busy machine: these are seconds in earnest
LEAST_PONG_S, LEAST_SILENT_S, LEAST_ANSWER_S = 0.5, 1.0, 1.0


class Silent(Dropped):
    """It lives and says nothing: our own verdict."""


# --- patience: pure ----------------------------------------------------------------------------------------------------


class Patience:
    """How long silence is borne, and how long to wait before the next try. Reads no clock."""

    def __init__(self) -> None:
        self.failures = 0
        self.hollow = 0
        self.silent_s = SILENT_S

    def after(self, end: Dropped, *, accepted: bool, lived_s: float, data_s: float | None) -> float:
        """Seconds to wait. `lived_s` since it was subscribed; `data_s` from the first to the last piece of data, None: none came."""
        if data_s is not None and data_s >= HEALTHY_S:
            self.failures = self.hollow = 0
        if isinstance(end, Denied):
            return (BUSY_S if end.busy else REFUSED_S) * random.uniform(1.0, 1.1)  # noqa: S311 - jitter
        if isinstance(end, Silent):
            if data_s is None:
                self.silent_s = min(self.silent_s * 2, SILENT_MAX_S)
            return BACKOFF_FIRST_S / 2
        self.failures += 1
        if accepted:
            hollow = lived_s < SETTLED_S and (data_s is None or data_s < HEALTHY_S)
            self.hollow = self.hollow + 1 if hollow else 0
        if self.hollow >= HOLLOW_MAX:
            return max(HOLLOW_S, end.retry_after_s)
        grown = min(BACKOFF_FIRST_S * 2.0 ** min(self.failures - 1, 10), BACKOFF_MAX_S)
        return max(grown * random.uniform(0.5, 1.0), end.retry_after_s)  # noqa: S311 - jitter

    def heard(self) -> None:
        self.silent_s = SILENT_S


class Silence:
    """What silence means. It is told what was heard, in market time and in earnest, and says when to ping or to give up."""

    def __init__(self, now: float, real: float) -> None:
        self.data_at, self.data_real = now, real
        self.frame_at = self.asked_at = now
        self.pinged: tuple[float, float] | None = None
        self._watching = False

    def heard(self, now: float, real: float, *, data: bool) -> None:
        self.frame_at, self.pinged = now, None
        if data:
            self.data_at, self.data_real = now, real

    def pinging(self, now: float, real: float) -> None:
        self.asked_at, self.pinged = now, (now, real)

    def should_ping(self, now: float, real: float, *, watching: bool, probing: bool, silent_s: float) -> bool:
        """`watching`: no data means something now; `probing`: a wire that is silent must prove itself soon. May raise."""
        if watching and not self._watching:
            self.data_at, self.data_real = now, real
        self._watching = watching
        soon = watching or probing
        after_s, within_s = (PING_AFTER_S, PONG_WITHIN_S) if soon else (IDLE_PING_AFTER_S, IDLE_PONG_WITHIN_S)
        if self.pinged is not None:
            if now - self.pinged[0] >= within_s and real - self.pinged[1] >= LEAST_PONG_S:
                raise Dropped(f"the connection is dead: no answer to a ping in {within_s:g} s")
            return False
        silence = now - self.data_at
        if watching and silence >= silent_s and real - self.data_real >= LEAST_SILENT_S:
            raise Silent(f"connected, but no data for {silence:.0f} s")
        return now - max(self.data_at if watching else self.frame_at, self.asked_at) >= after_s


# --- one socket, again and again ---------------------------------------------------------------------------------------

Phase = Literal["greeting", "login", "subscribing", "live"]
TOO_LATE = {"greeting": "no greeting from the server", "login": "no answer to the login"}


class Stream(Edge):
    """Keeps one socket subscribed. What comes is emitted; nothing is decided."""

    feed: Literal["stocks", "options"]
    probing = False  # whether a silent wire must prove itself soon at any hour
    ca_file: str | None = None  # a certificate authority of one's own

    def __init__(self, emit: Emit, config: Config, clock: Clock, url: str) -> None:
        super().__init__(emit)
        self.clock = clock
        self.url = url
        self.patience = Patience()
        self._key = config.polygon_api_key.get_secret_value()
        self._redacted = Redactor(config.secrets())
        self._junk: Counter[str] = Counter()
        self._junk_at = float("-inf")
        self._begin()

    # what a kind of stream adds

    def topics(self) -> set[str]:
        """What is to be subscribed to now."""
        raise NotImplementedError

    def watching(self) -> bool:
        """Whether silence of all topics means something now."""
        raise NotImplementedError

    def wanted(self) -> bool:
        """Whether there is a reason to be connected."""
        return True

    def take(self, frame: Frame, now: float) -> int:
        """Emit what a frame held; how many pieces of data it was."""
        raise NotImplementedError

    # life after life

    def _begin(self) -> None:
        self._connection = Connection()
        self._phase: Phase = "greeting"
        self._subscribed: set[str] = set()
        self._awaited: set[str] = set()
        self._live_at: float | None = None
        self._data_at: tuple[float, float] | None = None  # first and last
        self._last_words = ""
        self._note_at = 0.0

    def run(self) -> None:
        while not self.stopping.is_set():
            if self.wanted():
                self._one_life()
            else:
                self._wait(STEP_S)
        self._tell_junk(force=True)

    def _one_life(self) -> None:
        """One connection, from its opening to its end, and the pause after it."""
        self._begin()
        accepted, polite = False, True
        self.beat()
        try:
            self._connection.open(self.url, OPEN_S, self.clock.wall(), self.ca_file)
            accepted = True
            self._converse()
        except Dropped as end:
            polite = isinstance(end, Silent)
            lived_s = 0.0 if self._live_at is None else self.clock.steady() - self._live_at
            data_s = None if self._data_at is None else self._data_at[1] - self._data_at[0]
            pause = self.patience.after(end, accepted=accepted, lived_s=lived_s, data_s=data_s)
            self._tell_end(end, pause)
        else:
            pause = 0.0
        finally:
            self._connection.abandon(politely=polite)
        until = self.clock.steady() + pause
        while not self.stopping.is_set() and self.wanted() and (left := until - self.clock.steady()) > 0:
            self._wait(min(1.0, left))

    def _tell_end(self, end: Dropped, pause: float) -> None:
        now = self.clock.now()
        if isinstance(end, Denied):
            self.emit(FeedRefused(at=now, feed=self.feed, reason=end.reason, busy=end.busy))
            return
        reason = f"{end.reason} ({self._last_words})" if self._last_words else end.reason
        self.emit(FeedDropped(at=now, feed=self.feed, reason=reason, retry_in_s=pause))

    def _wait(self, seconds: float) -> None:
        self.beat()
        self._tell_junk()
        self.stopping.wait(max(self.clock.real_seconds(seconds), 0.001))

    # one conversation

    def _converse(self) -> None:
        self._await("greeting", LOGIN_S)
        self._silence = Silence(self.clock.steady(), time.monotonic())
        while not self.stopping.is_set() and self.wanted():
            self.beat()
            hit(f"{self.name}.loop")
            messages = self._connection.read(max(self.clock.real_seconds(STEP_S), 0.001))
            now = self.clock.now()
            heard = sum(self._hear(message, now) for message in messages)
            if self._phase != "live":
                self._check_answer()
            elif heard:
                continue
            elif self.topics() != self._subscribed:
                self._change_topics()
            else:
                self._check_silence()
            self._tell_junk()

    def _await(self, phase: Phase, seconds: float) -> None:
        self._phase = phase
        self._due, self._asked_real = self.clock.steady() + seconds, time.monotonic()

    def _check_answer(self) -> None:
        if self.clock.steady() >= self._due and time.monotonic() - self._asked_real >= LEAST_ANSWER_S:
            raise Dropped(TOO_LATE.get(self._phase) or f"not acknowledged: {', '.join(sorted(self._awaited))}")

    def _check_silence(self) -> None:
        now, real = self.clock.steady(), time.monotonic()
        if self._silence.should_ping(
            now, real, watching=self.watching(), probing=self.probing, silent_s=self.patience.silent_s
        ):
            self._connection.send(b"still there?", PING)
            self._silence.pinging(now, real)

    def _hear(self, message: Message, now: float) -> int:
        """Take in what came; how many pieces of data were in it."""
        opcode, payload = message
        if opcode == CLOSE:
            raise self._closed(payload)
        pieces = 0
        end: Dropped | None = None
        if opcode in (TEXT, BINARY):
            frame = parse_frame(payload)
            if frame.dropped:
                self._junk.update(frame.dropped)
            for status in frame.statuses:
                end = end or self._heed(status)
            pieces = self.take(frame, now)
        steady = self.clock.steady()
        self._silence.heard(steady, time.monotonic(), data=pieces > 0)
        if pieces:
            if self._data_at is None:
                self.patience.heard()
            self._data_at = (steady if self._data_at is None else self._data_at[0], steady)
        if end is not None:
            raise end
        return pieces

    def _heed(self, status: Status) -> Dropped | None:
        """Act on a status; what it means if it is the end."""
        said = plain(self._redacted(str(status.message or "")))
        match status.status:
            case "connected" if self._phase == "greeting":
                self._say("auth", self._key)
                self._await("login", LOGIN_S)
            case "auth_success" | "success" if self._phase == "login":
                self._change_topics()
            case "success" if self._phase == "subscribing" and said.startswith("subscribed to:"):
                self._acknowledged({topic.strip() for topic in said.partition(":")[2].split(",")})
            case "auth_failed":
                return Denied(_login_refused(said))
            case "max_connections":
                return Denied(f"another process uses this key (max_connections: {said})", busy=True)
            case "error" if self._phase == "subscribing" and "not authorized" in said.lower():
                return Denied(f"subscription refused, the plan does not include {', '.join(sorted(self._awaited))}: {said}")
            case "error" | "slow_consumer" | "force_disconnect" as kind:
                self._last_words = f"{kind}: {said}"
                self._note(self._last_words)
            case "connected" | "auth_success" | "success":
                pass
            case kind:
                self._note(f"{plain(self._redacted(str(kind)))}: {said}")
        return None

    def _note(self, words: str) -> None:
        """What the feed says of itself, once a minute at most."""
        now = time.monotonic()
        if now >= self._note_at:
            self._note_at = now + NOTE_EVERY_S
            log.warning(f"{self.feed} feed says {words}")

    def _change_topics(self) -> None:
        """Ask for what is wanted and not subscribed to, and have the rest no more."""
        wanted = self.topics()
        gone, self._awaited = self._subscribed - wanted, wanted - self._subscribed
        if gone:
            self._say("unsubscribe", ",".join(sorted(gone)))
            self._subscribed -= gone
        if self._awaited:
            self._say("subscribe", ",".join(sorted(self._awaited)))
        self._await("subscribing", ACK_S)
        self._acknowledged(set())

    def _acknowledged(self, topics: set[str]) -> None:
        self._subscribed |= topics & self._awaited
        self._awaited -= topics
        if not self._awaited:
            self._phase = "live"
            steady = self.clock.steady()
            self._live_at = steady if self._live_at is None else self._live_at
            self._silence = Silence(steady, time.monotonic())
            self.emit(FeedConnected(at=self.clock.now(), feed=self.feed))

    def _say(self, action: str, params: str) -> None:
        self._connection.send(msgspec.json.encode({"action": action, "params": params}))

    def _closed(self, payload: bytes) -> Dropped:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
        words = plain(self._redacted(payload[2:].decode("utf-8", "replace")))
        if code == 1008:
            return Denied(f"another process uses this key, or a rule was broken (closed with 1008: {words})", busy=True)
        return Dropped(f"the server closed the connection ({code or 'no code'}{': ' + words if words else ''})")

    def _tell_junk(self, *, force: bool = False) -> None:
        if self._junk and (force or self.clock.steady() - self._junk_at >= JUNK_EVERY_S):
            self._junk_at = self.clock.steady()
            self.emit(JunkDropped(at=self.clock.now(), feed=self.feed, counts=dict(self._junk)))
            self._junk.clear()


def _login_refused(said: str) -> str:
    """A bad key and a poor plan have the same status; only the prose differs."""
    if "plan" in said.lower() or "upgrade" in said.lower():
        return f"the plan does not include this feed: {said}"
    return f"the key is not accepted: {said or 'no reason given'}"


# --- the two of them ---------------------------------------------------------------------------------------------------


class StocksSocket(Stream):
    """Second bars of what is traded, of SPY and of the heartbeat basket. `in_hours`: whether their silence means anything."""

    name = "stocks"
    feed = "stocks"

    def __init__(
        self, emit: Emit, config: Config, clock: Clock, in_hours: Callable[[], bool], symbols: Iterable[str] = ()
    ) -> None:
        super().__init__(emit, config, clock, config.polygon_ws_url)
        self.in_hours = in_hours
        self.symbols = frozenset((config.symbol, config.leader, *config.heartbeat_symbols, *symbols))
        self._topics = {f"A.{symbol}" for symbol in self.symbols}

    def topics(self) -> set[str]:
        return self._topics

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
    """Quotes of what is held, while anything is. Connected only then: the key allows one connection.

    A quiet contract is no fault, since REST asks for its quote anyway; but a silent wire must prove itself as soon as in the stocks'
    case, because an unchanged quote is trusted while the connection lives.
    """

    name = "options"
    feed = "options"
    probing = True

    def __init__(self, emit: Emit, config: Config, clock: Clock) -> None:
        super().__init__(emit, config, clock, config.polygon_options_ws_url)
        self.contracts: frozenset[str] = frozenset()

    def put(self, action: Any, rank: int = 0) -> None:
        if isinstance(action, Watch):
            self.contracts = frozenset(action.contracts)

    def inherit(self, other: Edge) -> None:
        assert isinstance(other, OptionsSocket)
        self.contracts = other.contracts

    def wanted(self) -> bool:
        return bool(self.contracts)

    def topics(self) -> set[str]:
        return {f"Q.{contract}" for contract in self.contracts}

    def watching(self) -> bool:
        return False

    def take(self, frame: Frame, now: float) -> int:
        pieces = 0
        for contract, quote in frame.quotes:
            if contract in self.contracts:
                self.emit(QuoteSeen(at=now, contract=contract, quote=quote, source="stream"))
                pieces += 1
        return pieces
