"""Quotes by REST: the tracked contracts once, the held one every second."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from edges.edge import Boxed, Edge, Emit
from events import (
    ChainRow,
    QuoteFailed,
    QuotesArrived,
    QuoteSeen,
    RefreshQuotes,
    Watch,
)
from failpoints import hit
from polygon_client import Rest
from wire.budget import Budget
from wire.transport import Refused, TryAgain

if TYPE_CHECKING:
    from config import Config
    from utils import Clock

HANDS = 8


class Quotes(Boxed):
    """Refreshes contracts when asked; and asks for the quote of each that is watched, every EXIT_POLL_SECONDS.

    All are asked side by side, each over a connection and with a deadline of its own: one that hangs delays no other.
    """

    name = "quotes"

    def __init__(self, emit: Emit, config: Config, clock: Clock, budget: Budget) -> None:
        super().__init__(emit)
        self.config = config
        self.clock = clock
        self.budget = budget
        self.own = threading.local()
        self.refreshers = ThreadPoolExecutor(HANDS, thread_name_prefix="refresh")
        self.askers = ThreadPoolExecutor(HANDS, thread_name_prefix="held")
        self.watched: tuple[str, ...] = ()
        self.asking: dict[str | int, Future[None]] = {}  # by contract, or by ticket

    def inherit(self, other: Edge) -> None:
        """Positions that were followed go on being followed, whoever did it before."""
        assert isinstance(other, Quotes)
        self.watched = other.watched
        super().inherit(other)

    def run(self) -> None:
        try:
            self._follow()
        finally:
            for hands in (self.refreshers, self.askers):
                hands.shutdown(wait=False, cancel_futures=True)

    def _follow(self) -> None:
        next_at = float("-inf")
        while not self.stopping.is_set():
            hit("quotes.loop")
            self._let_go()
            now = self.clock.steady()
            if self.watched and now >= next_at:
                self._ask_all()
                next_at = max(next_at + self.config.exit_poll_seconds, now + self.config.exit_poll_seconds / 2)
            left = max(next_at - self.clock.steady(), 0.0) if self.watched else 1.0
            match self.next(self.clock.real_seconds(left)):
                case Watch(contracts):
                    if set(contracts) - set(self.watched):
                        next_at = float("-inf")
                    self.watched = contracts
                case RefreshQuotes() as action:
                    self.asking[action.ticket] = self.askers.submit(self._refresh, action)

    def _ask_all(self) -> None:
        """Ask for each watched contract that is not still being asked for."""
        for contract in self.watched:
            if contract not in self.asking:
                self.asking[contract] = self.askers.submit(self._ask, contract)

    def _let_go(self) -> None:
        """Forget the questions that are answered; what was raised over one is this thread's end."""
        for key, asked in list(self.asking.items()):
            if asked.done():
                del self.asking[key]
                asked.result()

    def _ask(self, contract: str) -> None:
        asked_at = self.clock.now()
        try:
            row = self._row(contract)
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
        asked = {self.refreshers.submit(self._row, contract): contract for contract in action.contracts}
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
            self.own.rest = Rest(self.config, self.clock, self.budget, urgent=True)
        row: ChainRow = self.own.rest.contract(contract)
        return row
