"""What the rooms of the venue share: the market and its time, the faults, the record, the account, and who is connected.

Rules: one thread touches it, the venue's. An answer goes to a client by its id, or nowhere if it is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from simulator.tws import messages
from simulator.tws.contracts import Instrument, Market, Quote
from simulator.tws.faults import Faults
from simulator.tws.messages import Execution, Order
from simulator.tws.record import Event, Record

LINES_ALLOWED = 100
MESSAGES_A_SECOND = 50


class Time(Protocol):
    def now(self) -> float: ...

    def real_seconds(self, seconds: float) -> float: ...


class Listener(Protocol):
    """A connected client, as far as others need it."""

    client_id: int
    wants_positions: bool

    def send(self, *fields: object) -> None: ...

    def drop(self) -> None: ...


@dataclass(slots=True)
class Holding:
    """A position: contracts with their sign, and what one cost in mills, multiplier and fees included."""

    units: int
    cost: int


@dataclass
class Floor:
    """The venue's state. `later` calls a function after so many real seconds."""

    market: Market
    clock: Time
    accounts: tuple[str, ...]
    later: Callable[[float, Callable[[], object]], object]
    fee: int = 1230
    cash: int = 100_000_000
    faults: Faults = field(default_factory=Faults)
    record: Record = field(default_factory=Record)
    listeners: dict[int, Listener] = field(default_factory=dict)
    orders: dict[tuple[int, int], Order] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    holdings: dict[int, Holding] = field(default_factory=dict)
    strange: dict[int, Instrument] = field(default_factory=dict)  # held, and not of this market
    forced: dict[int, Quote] = field(default_factory=dict)
    linked: bool = True
    farm: bool = True
    lines_allowed: int = LINES_ALLOWED
    messages_a_second: int = MESSAGES_A_SECOND

    @property
    def account(self) -> str:
        return self.accounts[0]

    def now(self) -> float:
        return self.clock.now()

    def instrument(self, con_id: int) -> Instrument | None:
        return self.market.instruments.get(con_id) or self.strange.get(con_id)

    def find(self, name: object) -> Instrument:
        """The contract of an id, or of `655P` among the first expiry's; ValueError if there is none."""
        wanted = str(name)
        listed = self.market.instruments
        if wanted.isdigit() and int(wanted) in listed:
            return listed[int(wanted)]
        fitting = [one for one in listed.values() if wanted in (one.short, one.local_symbol)]
        if not fitting:
            raise ValueError(f"no contract is called {wanted!r}; name it by its id or as 655P")
        return min(fitting, key=lambda one: (one.day, one.con_id))

    def quote(self, con_id: int) -> Quote:
        """The quote now, as the faults leave it."""
        said = self.forced.get(con_id) or self.market.quote(con_id, self.now())
        one = self.instrument(con_id)
        if one is not None and one.right:
            if self.faults.of_contract("no-quote", con_id, one.short):
                return said._replace(bid=None, ask=None, bid_size=0, ask_size=0)
            if self.faults.of_contract("no-bid", con_id, one.short):
                return said._replace(bid=None, bid_size=0)
        return said

    def equity(self) -> int:
        """Cash and what is held at its mid, mills; a side that is not quoted counts 0."""
        worth = self.cash
        for con_id, held in self.holdings.items():
            one, said = self.instrument(con_id), self.quote(con_id)
            worth += held.units * ((said.bid or 0) + (said.ask or 0)) // 2 * (one.multiplier if one else 1)
        return worth

    def live_orders(self, ref: str = "") -> Iterator[Order]:
        """Live orders of a ref; all of them for none."""
        return (order for order in list(self.orders.values()) if order.live and ref in ("", order.ref))

    def tell(self, client: int, answer: messages.Answer) -> None:
        if client in self.listeners:
            self.listeners[client].send(*answer)

    def tell_all(self, code: int, text: str) -> None:
        for listener in list(self.listeners.values()):
            listener.send(*messages.error(-1, code, text))

    def note(self, kind: str, order: Order | None, text: str, client: int = -1) -> None:
        """Put an event on the record."""
        whose, ref = (order.client_id, order.ref) if order else (client, "")
        self.record.event(Event(self.now(), kind, whose, ref, text))

    def send_position(self, con_id: int, to: Listener | None = None) -> None:
        one, held = self.instrument(con_id), self.holdings.get(con_id, Holding(0, 0))
        if one is None:
            return
        odd = self.faults.find("odd-units")
        said = messages.position(self.account, one, odd["units"] if odd else held.units, held.cost)
        for listener in [to] if to else list(self.listeners.values()):
            if to or listener.wants_positions:
                listener.send(*said)
