"""The edge threads: each has one job, its own connections and a box; none of them decides.

An edge ends when it is told to. One that ends by itself, or shows no sign of life, is replaced by a fresh one; the scribe is not: who
cannot write any more must not go on.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from events import (
    AnyEvent,
    ChainArrived,
    ChainFailed,
    ChainRow,
    CheckPhone,
    Deliver,
    JunkDropped,
    PollReceipt,
    QuoteFailed,
    QuotesArrived,
    QuoteSeen,
    RefreshQuotes,
    Right,
    UnwatchContract,
    WatchContract,
)
from failpoints import hit
from phone import Phone
from polygon_client import Rest
from transport import Refused, TryAgain

if TYPE_CHECKING:
    from config import Config
    from utils import Clock, Session

Emit = Callable[[AnyEvent], None]

STUCK_S = 30.0
PUTS_POLL_S = 60.0
JUNK_EVERY_S = 60.0
CHAIN_AHEAD_S = 600.0


class Edge:
    """One thread's life. `run` returns when `stopping` is set; it shows that it lives by calling `beat`."""

    name = "edge"
    is_spare = False  # the worker can do without it: that it ends again and again is no reason to end too

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.stopping = threading.Event()
        self.fault: BaseException | None = None
        self.beat_at = time.monotonic()
        self._thread = threading.Thread(target=self._live, name=self.name, daemon=True)

    def start(self) -> None:
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        self.beat_at = time.monotonic()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_stuck(self) -> bool:
        return time.monotonic() - self.beat_at > STUCK_S

    def stop(self) -> None:
        self.stopping.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def put(self, action: Any, rank: int = 0) -> None:
        """Something to do, for the edges that are told."""

    def inherit(self, other: Edge) -> None:
        """Take over from the edge that this one replaces."""

    def _live(self) -> None:
        try:
            self.run()
        except BaseException as fault:  # whatever ended it, the supervisor must know: SystemExit ends a thread in silence
            self.fault = fault

    @abstractmethod
    def run(self) -> None: ...


class Boxed(Edge):
    """An edge that waits for what is put into its box, the most urgent first."""

    def __init__(self, emit: Emit) -> None:
        super().__init__(emit)
        self._box: queue.PriorityQueue[tuple[int, int, Any]] = queue.PriorityQueue()
        self._count = itertools.count()

    def put(self, action: Any, rank: int = 0) -> None:
        self._box.put((rank, next(self._count), action))

    def stop(self) -> None:
        super().stop()
        self._box.put((99, next(self._count), None))

    def next(self, timeout_s: float) -> Any:
        """The next thing to do, or None."""
        self.beat()
        try:
            return self._box.get(timeout=min(timeout_s, STUCK_S / 6))[2]
        except queue.Empty:
            return None

    def inherit(self, other: Edge) -> None:
        """Take over what still waits in the box of the edge that this one replaces."""
        assert isinstance(other, Boxed)
        with suppress(queue.Empty):
            while True:
                rank, _, action = other._box.get_nowait()
                if action is not None:
                    self.put(action, rank)


# --- the chain ---------------------------------------------------------------------------------------------------------


class ChainPoller(Edge):
    """Asks for today's calls every CHAIN_POLL_SECONDS from ten minutes before the open, and for the puts every minute."""

    name = "chain"

    def __init__(self, emit: Emit, config: Config, clock: Clock, session_at: Callable[[float], Session | None]) -> None:
        super().__init__(emit)
        self.config = config
        self.clock = clock
        self.session_at = session_at
        self.rest = Rest(config, clock)
        self.junk_at = 0.0
        self.listed: set[tuple[Right, str]] = set()

    def run(self) -> None:
        next_at: dict[Right, float] = {"call": 0.0, "put": 0.0}
        every: dict[Right, float] = {"call": self.config.chain_poll_seconds, "put": PUTS_POLL_S}
        while not self.stopping.is_set():
            self.beat()
            hit("chain.loop")
            now = self.clock.now()
            session = self.session_at(now)
            if session is not None and session.open_at - CHAIN_AHEAD_S <= now < session.close_at:
                for right, due_at in next_at.items():
                    if now >= due_at and not self.stopping.is_set():
                        pause = self._poll(right, session)
                        next_at[right] = now + max(every[right], pause)
                self._tell_junk(now)
                left = max(min(next_at.values()) - self.clock.now(), 0.02)
            else:
                left = 1.0
            self.stopping.wait(self.clock.real_seconds(min(left, 1.0)))

    def _tell_junk(self, now: float) -> None:
        """What was malformed in the chains, once a minute."""
        if self.rest.dropped and now >= self.junk_at:
            self.junk_at = now + JUNK_EVERY_S
            self.emit(JunkDropped(at=now, feed="chain", counts=self.rest.dropped))
            self.rest.dropped = {}

    def _poll(self, right: Right, session: Session) -> float:
        """One question and its answer; how long the server wants to be left alone, in seconds."""
        self.beat()
        asked_at = self.clock.now()
        expiration = session.date.isoformat()
        try:
            rows = self.rest.chain(right, expiration)
        except TryAgain as fault:
            self.emit(ChainFailed(at=self.clock.now(), right=right, reason=fault.reason))
            return fault.retry_after_s or 0.0
        except Refused as fault:
            self.emit(ChainFailed(at=self.clock.now(), right=right, reason=fault.reason, refused=True))
            return PUTS_POLL_S
        if not rows and (right, expiration) in self.listed:
            self.emit(ChainFailed(at=self.clock.now(), right=right, reason="the answer has no rows, and had some before"))
            return 0.0
        if rows:
            self.listed.add((right, expiration))
        self.emit(ChainArrived(at=self.clock.now(), asked_at=asked_at, right=right, expiration=expiration, rows=tuple(rows)))
        return 0.0


# --- quotes: the exit monitor ------------------------------------------------------------------------------------------


class Quotes(Boxed):
    """Flat: refreshes the tracked contracts when asked. Holding: asks for the held contract's quote every EXIT_POLL_SECONDS."""

    name = "quotes"

    def __init__(self, emit: Emit, config: Config, clock: Clock) -> None:
        super().__init__(emit)
        self.config = config
        self.clock = clock
        self.rest = Rest(config, clock)
        self.hands = ThreadPoolExecutor(config.max_contracts_to_track, thread_name_prefix="refresh")
        self.own = threading.local()
        self.watched: str | None = None

    def inherit(self, other: Edge) -> None:
        """A position that was followed goes on being followed, whoever did it before."""
        assert isinstance(other, Quotes)
        self.watched = other.watched
        super().inherit(other)

    def run(self) -> None:
        try:
            self._follow()
        finally:
            self.hands.shutdown(wait=False, cancel_futures=True)

    def _follow(self) -> None:
        next_at = 0.0
        while not self.stopping.is_set():
            hit("quotes.loop")
            now = self.clock.now()
            if self.watched is not None and now >= next_at:
                self._ask(self.watched)
                next_at = max(next_at + self.config.exit_poll_seconds, now + self.config.exit_poll_seconds / 2)
            left = max(next_at - self.clock.now(), 0.0) if self.watched is not None else 1.0
            match self.next(self.clock.real_seconds(left)):
                case WatchContract(contract):
                    self.watched, next_at = contract, 0.0
                case UnwatchContract():
                    self.watched = None
                case RefreshQuotes() as action:
                    self._refresh(action)

    def _ask(self, contract: str) -> None:
        asked_at = self.clock.now()
        try:
            row = self.rest.contract(contract)
        except (TryAgain, Refused) as fault:
            self.emit(QuoteFailed(at=self.clock.now(), contract=contract, reason=fault.reason))
            return
        if row.quote is None:
            self.emit(QuoteFailed(at=self.clock.now(), contract=contract, reason="the answer has no quote"))
            return
        seen = QuoteSeen(
            at=self.clock.now(),
            contract=contract,
            quote=row.quote,
            source="rest",
            underlying=row.underlying,
            asked_at=asked_at,
        )
        self.emit(seen)

    def _refresh(self, action: RefreshQuotes) -> None:
        """All at once, each over its own connection; what has not come within the deadline is left out."""
        asked = {self.hands.submit(self._row, contract): contract for contract in action.contracts}
        done, late = wait(asked, timeout=self.config.http_timeout_seconds)
        rows, faults = [], [f"{asked[future]}: no answer in time" for future in late]
        for future in done:
            fault = future.exception()
            if fault is None:
                rows.append(future.result())
            elif isinstance(fault, TryAgain | Refused):
                faults.append(f"{asked[future]}: {fault.reason}")
            else:
                raise fault
        reason = "; ".join(faults) or None
        self.emit(QuotesArrived(at=self.clock.now(), ticket=action.ticket, rows=tuple(rows), reason=reason))

    def _row(self, contract: str) -> ChainRow:
        if not hasattr(self.own, "rest"):
            self.own.rest = Rest(self.config, self.clock)
        row: ChainRow = self.own.rest.contract(contract)
        return row


# --- the phone ---------------------------------------------------------------------------------------------------------


class PhoneLane(Boxed):
    """One delivery at a time. The SELL has a lane of its own, so nothing is ever ahead of it."""

    def __init__(self, emit: Emit, config: Config, clock: Clock, name: str) -> None:
        self.name = name
        super().__init__(emit)
        self.phone = Phone(config, clock)
        self.clock = clock

    def run(self) -> None:
        while True:
            match self.next(STUCK_S):
                case Deliver() as action:
                    hit(f"{self.name}.before-wire")
                    answer = self.phone.deliver(action)
                    hit(f"{self.name}.after-answer")
                    self.emit(answer)
                case PollReceipt() as action:
                    if (seen := self.phone.receipt(action)) is not None:
                        self.emit(seen)
                case CheckPhone():
                    self.emit(self.phone.check())
                case None if self.stopping.is_set():
                    return
