"""Desk, courier and venue in any interleaving: answers, fills, cancels, drops, silent disks and restarts, whatever the order.

The venue takes whatever it is sent, even a second order or a sale of what is not held, so that it would show. At every moment no trade
has two live orders there and nothing is sold that was not held; at the end books and venue agree in every execution and cent.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from desk import orders
from events import (
    AccountView,
    AnyAction,
    AnyEvent,
    BrokerLinked,
    CancelAnswered,
    CancelOrder,
    Fill,
    FillSeen,
    FindOrder,
    HalfSecondPassed,
    Holding,
    Order,
    OrderAnswered,
    OrderSeen,
    OrderView,
    PlaceOrder,
    Quote,
    SnapshotTaken,
    TakeSnapshot,
)
from pnl_tracker import held, made_of
from tests.kit.dealing import CALL, OrderBench

EXAMPLES = int(os.environ.get("ORDER_MACHINES", "25"))


class Venue:
    """Takes every order that is not there yet, and is filled, cancelled and asked by hand."""

    mode = "paper"

    def __init__(self) -> None:
        self.orders: dict[str, OrderView] = {}
        self.placed: dict[str, Order] = {}
        self.fills: list[Fill] = []
        self.oversold = False

    def live(self) -> list[str]:
        return [ref for ref, view in self.orders.items() if view.state == "working"]

    def show(self, contract: str, quote: Quote, at: float) -> None:
        """It is filled by hand."""

    def wait(self) -> list[AnyEvent]:
        return []

    def carry(self, action: AnyAction, at: float) -> list[AnyEvent]:
        match action:
            case PlaceOrder(order):
                if order.ref not in self.orders:
                    self.placed[order.ref] = order
                    self.orders[order.ref] = OrderView(
                        order.ref, f"v-{order.ref}", "working", order.units, 0, order.legs, order.limit
                    )
                return [OrderAnswered(at=at, mode="paper", ref=order.ref, answer="accepted", broker_id=f"v-{order.ref}")]
            case CancelOrder(_, ref):
                if ref in self.live():
                    self.orders[ref] = replace(self.orders[ref], state="cancelled")
                return [CancelAnswered(at=at, mode="paper", ref=ref, heard=True)]
            case FindOrder(_, ref):
                return [OrderSeen(at=at, mode="paper", ref=ref, order=self.orders.get(ref))]
            case TakeSnapshot():
                positions = tuple(Holding(contract, quantity, quantity) for contract, quantity in held(self.fills).items())
                account = AccountView("PAPER", is_paper=True)
                return [
                    SnapshotTaken(
                        at=at, mode="paper", as_of=at, complete=True, orders=tuple(self.orders.values()),
                        fills=tuple(self.fills), positions=positions, account=account,
                    )
                ]  # fmt: skip
        return []

    def fill(self, ref: str, units: int, price: int, at: float) -> FillSeen:
        view = self.orders[ref]
        units = min(units, view.units - view.filled)
        filled = view.filled + units
        self.orders[ref] = replace(view, filled=filled, state="filled" if filled == view.units else "working")
        leg = view.legs[0]
        fill = Fill(f"{ref}:{filled}", ref, leg.contract, leg.side, units, price, at)
        self.fills.append(fill)
        self.oversold |= held(self.fills).get(CALL, 0) < 0
        return FillSeen(at=at, mode="paper", fill=fill)


class Bench(OrderBench):
    """What goes to the venue and what comes back lies on two tables, until somebody carries it."""

    def __init__(self) -> None:
        self.venue = Venue()
        self.outgoing: list[AnyAction] = []
        self.incoming: list[AnyEvent] = []
        super().__init__(lambda bench: bench.venue)  # type: ignore[attr-defined]

    def answer(self, action: AnyAction) -> list[AnyEvent]:
        if isinstance(action, PlaceOrder | CancelOrder | FindOrder | TakeSnapshot):
            self.outgoing.append(action)
            return []
        return super().answer(action)

    def tick(self, seconds: float = 0.5) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(self.now + 0.5, end)
            self.put(HalfSecondPassed(at=self.now))


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.carry_all()

    def carry_all(self) -> None:
        while self.bench.outgoing or self.bench.incoming:
            if self.bench.outgoing:
                self.bench.incoming += self.bench.venue.carry(self.bench.outgoing.pop(0), self.bench.now)
            else:
                self.bench.put(replace(self.bench.incoming.pop(0), at=self.bench.now))

    @rule()
    def want(self) -> None:
        """An entry is wished for, on a desk that has been told all."""
        self.bench.disk = True
        self.bench.flush()
        self.bench.put(BrokerLinked(at=self.bench.now, mode="paper", linked=True))
        self.carry_all()
        self.bench.tiny.wish = True
        self.bench.tick(0.5)

    @rule(units=st.integers(1, 2))
    def buy(self, units: int) -> None:
        """A position of one or two, whatever else is going on."""
        self.want()
        self.carry_all()
        for ref in self.bench.venue.live():
            if self.bench.venue.placed[ref].opens:
                self.bench.incoming.append(self.bench.venue.fill(ref, units, 1440, self.bench.now))
        self.carry_all()

    @rule()
    def sell_out(self) -> None:
        """What is held is sold at its target, if nothing stands in the way."""
        self.bench.quote(1900, 1940)
        self.bench.flush()
        self.carry_all()
        for ref in self.bench.venue.live():
            if not self.bench.venue.placed[ref].opens:
                self.bench.incoming.append(self.bench.venue.fill(ref, 2, 1900, self.bench.now))
        self.carry_all()

    @rule(halves=st.sampled_from([1, 2, 3, 4, 10, 30]))
    def time(self, halves: int) -> None:
        self.bench.tick(halves / 2)

    @rule(bid=st.sampled_from([1400, 1800, 1800, 1900]))
    def quote(self, bid: int) -> None:
        self.bench.quote(bid, bid + 40)

    @precondition(lambda self: self.bench.outgoing)
    @rule(data=st.data())
    def carry(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.bench.outgoing) - 1))
        self.bench.incoming += self.bench.venue.carry(self.bench.outgoing.pop(number), self.bench.now)

    @precondition(lambda self: self.bench.incoming)
    @rule(data=st.data(), twice=st.booleans())
    def deliver(self, data: st.DataObject, twice: bool) -> None:
        event = self.bench.incoming.pop(data.draw(st.integers(0, len(self.bench.incoming) - 1)))
        for _ in range(1 + twice):
            self.bench.put(replace(event, at=self.bench.now))

    @rule()
    def carry_on(self) -> None:
        self.carry_all()

    @precondition(lambda self: self.bench.incoming)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        del self.bench.incoming[data.draw(st.integers(0, len(self.bench.incoming) - 1))]

    @precondition(lambda self: self.bench.venue.live())
    @rule(data=st.data(), units=st.integers(1, 2), told=st.booleans())
    def fill(self, data: st.DataObject, units: int, told: bool) -> None:
        ref = data.draw(st.sampled_from(self.bench.venue.live()))
        price = 1440 if self.bench.venue.orders[ref].legs[0].opens else 1800
        seen = self.bench.venue.fill(ref, units, price, self.bench.now)
        if told:
            self.bench.incoming.append(seen)

    @precondition(lambda self: self.bench.venue.live())
    @rule(data=st.data())
    def end_there(self, data: st.DataObject) -> None:
        ref = data.draw(st.sampled_from(self.bench.venue.live()))
        self.bench.venue.orders[ref] = replace(self.bench.venue.orders[ref], state="expired")

    @rule(up=st.sampled_from([True, True, False]))
    def link(self, up: bool) -> None:
        self.bench.put(BrokerLinked(at=self.bench.now, mode="paper", linked=up, reason="" if up else "cut"))

    @rule(answers=st.sampled_from([True, None, False]))
    def disk(self, answers: bool | None) -> None:
        self.bench.disk = answers
        if answers:
            self.bench.flush()

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A kill: what was on its way may have arrived, and what the disk had not confirmed may be lost."""
        for action in self.bench.outgoing:
            if data.draw(st.booleans()):
                self.bench.venue.carry(action, self.bench.now)
        self.bench.disk = True
        self.bench.outgoing, self.bench.incoming = [], []
        self.bench.begin()

    @invariant()
    def no_trade_has_two_live_orders(self) -> None:
        trades = [self.bench.venue.placed[ref].trade_id for ref in self.bench.venue.live()]
        assert len(trades) == len(set(trades)), trades

    @invariant()
    def nothing_is_sold_that_is_not_held(self) -> None:
        assert not self.bench.venue.oversold
        venue = self.bench.venue
        selling = sum(
            venue.orders[ref].units - venue.orders[ref].filled for ref in venue.live() if not venue.placed[ref].opens
        )
        assert selling <= held(venue.fills).get(CALL, 0)

    def teardown(self) -> None:
        """Everything is carried from here on: what is in doubt is cleared, and books and venue agree."""
        bench = self.bench
        bench.disk = True
        self.bench.flush()
        bench.tiny.wish = False
        bench.put(BrokerLinked(at=bench.now, mode="paper", linked=True))
        for _ in range(240):
            self.carry_all()
            bench.tick()
        self.carry_all()
        assert orders.in_flight(bench.desk.state) == []
        assert bench.venue.live() == []
        assert bench.problems() == []
        dealings = bench.desk.state.dealings
        ours = {fill.root: (fill.quantity, fill.price) for fills in dealings.fills.values() for fill in fills}
        assert ours == {fill.root: (fill.quantity, fill.price) for fill in bench.venue.fills}
        pnl = sum(made_of(dealings.fills.get(trade.id, ()), trade.fee)[0] for trade in dealings.ended)
        assert sum(trade.pnl or 0 for trade in dealings.ended) == pnl
        told = [row[0] for row in bench.sql("SELECT id FROM outbox WHERE id LIKE '%-CLOSED'")]
        assert sorted(told) == sorted(f"{trade.id}-CLOSED" for trade in dealings.ended if trade.opened_at is not None)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
