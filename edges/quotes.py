"""Quotes by REST: the tracked contracts once, the held one every second."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from edges.edge import Boxed, Edge, Emit
from events import (
    ChainRow,
    QuoteFailed,
    QuotesArrived,
    QuoteSeen,
    RefreshQuotes,
    UnwatchContract,
    WatchContract,
)
from failpoints import hit
from polygon_client import Rest
from wire.transport import Refused, TryAgain

if TYPE_CHECKING:
    from config import Config
    from utils import Clock


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
        next_at = float("-inf")
        while not self.stopping.is_set():
            hit("quotes.loop")
            now = self.clock.steady()
            if self.watched is not None and now >= next_at:
                self._ask(self.watched)
                next_at = max(next_at + self.config.exit_poll_seconds, now + self.config.exit_poll_seconds / 2)
            left = max(next_at - self.clock.steady(), 0.0) if self.watched is not None else 1.0
            match self.next(self.clock.real_seconds(left)):
                case WatchContract(contract):
                    self.watched, next_at = contract, float("-inf")
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
