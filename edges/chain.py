"""Today's chains, polled: each underlying and right at its own pace, side by side."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from edges.edge import Edge, Emit
from events import ChainArrived, ChainFailed, JunkDropped, Right
from failpoints import hit
from polygon_client import Rest
from wire.budget import Budget
from wire.transport import Refused, TryAgain

if TYPE_CHECKING:
    from config import Config
    from utils import Clock, Session

REFUSED_PAUSE_S = 60.0
JUNK_EVERY_S = 60.0
CHAIN_AHEAD_S = 600.0
HANDS = 6

Wanted = tuple[str, Right, float]  # underlying, right, seconds from one question to the next


class ChainPoller(Edge):
    """Asks for each chain that is wanted, from ten minutes before the open. One that hangs delays no other."""

    name = "chain"

    def __init__(
        self,
        emit: Emit,
        config: Config,
        clock: Clock,
        session_at: Callable[[float], Session | None],
        wanted: Sequence[Wanted],
        budget: Budget,
    ) -> None:
        super().__init__(emit)
        self.config = config
        self.clock = clock
        self.session_at = session_at
        self.wanted = wanted
        self.budget = budget
        self.own = threading.local()
        self.hands = ThreadPoolExecutor(HANDS, thread_name_prefix="chain")
        self.woken = threading.Event()
        self.asking: dict[Wanted, tuple[float, Future[float]]] = {}
        self.next_at: dict[Wanted, float] = dict.fromkeys(wanted, float("-inf"))
        self.junk: Counter[str] = Counter()
        self.junk_lock = threading.Lock()
        self.junk_at = float("-inf")
        self.listed: set[tuple[str, Right, str]] = set()

    def stop(self) -> None:
        super().stop()
        self.woken.set()

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self.beat()
                hit("chain.loop")
                now = self.clock.now()
                session = self.session_at(now)
                left = 1.0
                if session is not None and session.open_at - CHAIN_AHEAD_S <= now < session.close_at:
                    left = self._ask(session)
                self.woken.wait(self.clock.real_seconds(min(left, 1.0)))
                self.woken.clear()
        finally:
            self.hands.shutdown(wait=False, cancel_futures=True)

    def _ask(self, session: Session) -> float:
        """Ask for what is due and not being asked for; how long until the next is due, in seconds."""
        steady = self.clock.steady()
        for wanted, (asked_at, asked) in list(self.asking.items()):
            if asked.done():
                del self.asking[wanted]
                self.next_at[wanted] = asked_at + max(wanted[2], asked.result())
        for wanted, due_at in self.next_at.items():
            if wanted not in self.asking and steady >= due_at:
                asked = self.hands.submit(self._poll, wanted[0], wanted[1], session)
                asked.add_done_callback(lambda _: self.woken.set())
                self.asking[wanted] = steady, asked
        self._tell_junk(steady)
        due = min((at for wanted, at in self.next_at.items() if wanted not in self.asking), default=float("inf"))
        return max(due - self.clock.steady(), 0.0)

    def _tell_junk(self, steady: float) -> None:
        """What was malformed in the chains, once a minute."""
        with self.junk_lock:
            if self.junk and steady >= self.junk_at:
                self.junk_at = steady + JUNK_EVERY_S
                self.emit(JunkDropped(at=self.clock.now(), feed="chain", counts=dict(self.junk)))
                self.junk.clear()

    def _rest(self) -> Rest:
        if not hasattr(self.own, "rest"):
            self.own.rest = Rest(self.config, self.clock, self.budget)
        rest: Rest = self.own.rest
        return rest

    def _poll(self, underlying: str, right: Right, session: Session) -> float:
        """One question and its answer; how long the server wants to be left alone, in seconds."""
        rest, asked_at, expiration = self._rest(), self.clock.now(), session.date.isoformat()
        listed = (underlying, right, expiration)
        try:
            rows = rest.chain(*listed)
        except TryAgain as fault:
            self._miss(underlying, right, fault.reason)
            return fault.retry_after_s or 0.0
        except Refused as fault:
            self._miss(underlying, right, fault.reason, refused=True)
            return REFUSED_PAUSE_S
        finally:
            with self.junk_lock:
                self.junk.update(rest.dropped)
            rest.dropped = {}
        if not rows and listed in self.listed:
            self._miss(underlying, right, "the answer has no rows, and had some before")
            return 0.0
        if rows:
            self.listed.add(listed)
        arrived = ChainArrived(
            at=self.clock.now(),
            underlying=underlying,
            asked_at=asked_at,
            right=right,
            expiration=expiration,
            rows=tuple(rows),
        )
        self.emit(arrived)
        return 0.0

    def _miss(self, underlying: str, right: Right, reason: str, *, refused: bool = False) -> None:
        self.emit(ChainFailed(at=self.clock.now(), underlying=underlying, right=right, reason=reason, refused=refused))
