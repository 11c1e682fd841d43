"""Today's chain, polled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edges.edge import Edge, Emit
from events import (
    ChainArrived,
    ChainFailed,
    JunkDropped,
    Right,
)
from failpoints import hit
from polygon_client import Rest
from wire.transport import Refused, TryAgain

if TYPE_CHECKING:
    from config import Config
    from utils import Clock, Session

PUTS_POLL_S = 60.0
JUNK_EVERY_S = 60.0
CHAIN_AHEAD_S = 600.0


class ChainPoller(Edge):
    """Asks for today's calls every CHAIN_POLL_SECONDS from ten minutes before the open, and for the puts every minute."""

    name = "chain"

    def __init__(self, emit: Emit, config: Config, clock: Clock, session_at: Callable[[float], Session | None]) -> None:
        super().__init__(emit)
        self.config = config
        self.clock = clock
        self.session_at = session_at
        self.rest = Rest(config, clock)
        self.junk_at = float("-inf")
        self.listed: set[tuple[Right, str]] = set()

    def run(self) -> None:
        next_at: dict[Right, float] = dict.fromkeys(("call", "put"), float("-inf"))
        every: dict[Right, float] = {"call": self.config.chain_poll_seconds, "put": PUTS_POLL_S}
        while not self.stopping.is_set():
            self.beat()
            hit("chain.loop")
            now, steady = self.clock.now(), self.clock.steady()
            session = self.session_at(now)
            if session is not None and session.open_at - CHAIN_AHEAD_S <= now < session.close_at:
                for right, due_at in next_at.items():
                    if steady >= due_at and not self.stopping.is_set():
                        pause = self._poll(right, session)
                        next_at[right] = steady + max(every[right], pause)
                self._tell_junk(steady)
                left = max(min(next_at.values()) - self.clock.steady(), 0.02)
            else:
                left = 1.0
            self.stopping.wait(self.clock.real_seconds(min(left, 1.0)))

    def _tell_junk(self, steady: float) -> None:
        """What was malformed in the chains, once a minute."""
        if self.rest.dropped and steady >= self.junk_at:
            self.junk_at = steady + JUNK_EVERY_S
            self.emit(JunkDropped(at=self.clock.now(), feed="chain", counts=self.rest.dropped))
            self.rest.dropped = {}

    def _poll(self, right: Right, session: Session) -> float:
        """One question and its answer; how long the server wants to be left alone, in seconds."""
        self.beat()
        asked_at = self.clock.now()
        expiration = session.date.isoformat()
        try:
            rows = self.rest.chain(right, expiration)
        except TryAgain as fault:
            self.emit(ChainFailed(at=self.clock.now(), underlying=self.config.symbol, right=right, reason=fault.reason))
            return fault.retry_after_s or 0.0
        except Refused as fault:
            self.emit(
                ChainFailed(
                    at=self.clock.now(), underlying=self.config.symbol, right=right, reason=fault.reason, refused=True
                )
            )
            return PUTS_POLL_S
        if not rows and (right, expiration) in self.listed:
            self.emit(
                ChainFailed(
                    at=self.clock.now(),
                    underlying=self.config.symbol,
                    right=right,
                    reason="the answer has no rows, and had some before",
                )
            )
            return 0.0
        if rows:
            self.listed.add((right, expiration))
        self.emit(
            ChainArrived(
                at=self.clock.now(),
                underlying=self.config.symbol,
                asked_at=asked_at,
                right=right,
                expiration=expiration,
                rows=tuple(rows),
            )
        )
        return 0.0
