"""Brokers on the bench, each with its market: the paper broker, and Alpaca's client on its simulated venue. Time is the bench's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from brokers.alpaca.broker import Alpaca
from brokers.broker import Broker, Can
from brokers.paper import Paper, Rules
from events import (
    AnyEvent,
    CancelAnswered,
    Holding,
    Leg,
    Mode,
    Order,
    OrderAnswered,
    OrderSeen,
    PreviewArrived,
    Quote,
    SnapshotTaken,
)
from tests.kit.alpaca_venue import open_venue
from tests.kit.dealing import CALL, OrderBench, Tiny

HIGHER = "O:IWM261120C00242000"
CALL_240 = "O:IWM261120C00240000"


class Faulty:
    """A broker that is used through this: what is to go wrong next is put in front of it, whichever broker it is.

    `places` and `cancels`: `lost` is done and its answer unknown, `never` is not done and its answer unknown. `doctor` changes
    snapshots.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.mode: Mode = broker.mode
        self.can: Can = broker.can
        self.places: list[str] = []
        self.cancels: list[str] = []
        self.doctor: Callable[[SnapshotTaken], SnapshotTaken] = lambda snapshot: snapshot
        self.mute = False

    def open(self) -> None:
        self.broker.open()

    def close(self) -> None:
        self.broker.close()

    def place(self, order: Order) -> OrderAnswered:
        fault = self.places.pop(0) if self.places else ""
        if fault == "never":
            return OrderAnswered(at=order.created_at, mode=self.mode, ref=order.ref, answer="unknown", reason="cut")
        answer = self.broker.place(order)
        return replace(answer, answer="unknown", reason="cut", broker_id="") if fault == "lost" else answer

    def cancel(self, ref: str, broker_id: str) -> CancelAnswered:
        fault = self.cancels.pop(0) if self.cancels else ""
        if fault == "never":
            return CancelAnswered(at=self.broker.snapshot(0.0).at, mode=self.mode, ref=ref, heard=False, reason="cut")
        answer = self.broker.cancel(ref, broker_id)
        return replace(answer, heard=False, reason="cut") if fault == "lost" else answer

    def find(self, ref: str) -> OrderSeen:
        return self.broker.find(ref)

    def preview(self, order: Order) -> PreviewArrived:
        return self.broker.preview(order)

    def snapshot(self, since: float) -> SnapshotTaken:
        return self.doctor(self.broker.snapshot(since))

    def show(self, contract: str, quote: Quote, at: float) -> None:
        self.broker.show(contract, quote, at)

    def wait(self) -> list[AnyEvent]:
        told = self.broker.wait()
        return [] if self.mute else told


class Rig:
    """A bench, a broker behind it, and a hand on its market. `survives`: what rests there outlives the worker."""

    mode: Mode = "paper"
    survives = False
    contract = CALL

    def __init__(self) -> None:
        self.faults: Faulty | None = None
        self.bench = OrderBench(self.made)
        self.bench.tiny.limit = 1440

    def made(self, bench: OrderBench) -> Broker:
        kept = [] if self.faults is None else [self.faults.doctor]
        self.faults = Faulty(Paper(lambda: bench.now, Rules(), bench.paper_fills()))
        for doctor in kept:
            self.faults.doctor = doctor
        return self.faults

    @property
    def broker(self) -> Faulty:
        assert self.faults is not None
        return self.faults

    def pass_time(self, seconds: float = 0.5) -> None:
        self.bench.tick(seconds)

    def market(self, bid: int, ask: int, size: int = 50, contract: str | None = None) -> None:
        """The market is so; the desk has not heard of it."""
        self.broker.show(contract or self.contract, Quote(bid, ask, size, size, self.bench.now), self.bench.now)

    def quote(self, bid: int, ask: int, size: int = 50) -> None:
        """The market is so, and the desk hears of it."""
        if self.survives or not self.bench.desk.state.dealings.trades:
            self.market(bid, ask, size)
        self.bench.quote(bid, ask, size, self.contract)
        for event in self.broker.wait():
            self.bench.put(event)

    def scanty(self, bid: int, ask: int) -> None:
        """The market is so, and one contract fills of whatever is asked for."""
        if self.bench.desk.state.dealings.trades:
            self.quote(bid, ask, 2)
        else:
            self.market(bid, ask, 2)

    def stranger(self, quantity: int) -> None:
        """Contracts appear that no order of ours has bought."""
        self.broker.doctor = lambda snapshot: replace(
            snapshot, positions=(*snapshot.positions, Holding(HIGHER, quantity, quantity))
        )

    def close(self) -> None:
        self.broker.close()


class AlpacaRig(Rig):
    mode: Mode = "alpaca-paper"
    survives = True
    contract = CALL_240

    def __init__(self, venue: Any) -> None:
        self.venue = venue
        self.faults = None
        self.bench = OrderBench(self.made, strategy=Tiny("alpaca-paper", contract=CALL_240), now=venue.clock.now())

    def made(self, bench: OrderBench) -> Broker:
        doctor = None if self.faults is None else self.faults.doctor
        self.faults = Faulty(
            Alpaca("alpaca-paper", self.venue.rest.url, "", ("key", "secret"), now=lambda: bench.now, timeout_s=2.0)
        )
        if doctor is not None:
            self.faults.doctor = doctor
        return self.faults

    def pass_time(self, seconds: float = 0.5) -> None:
        end = self.bench.now + seconds
        while self.bench.now < end - 1e-9:
            self.venue.set_clock(at=min(self.bench.now + 0.5, end))
            self.bench.tick(min(0.5, end - self.bench.now))

    def market(self, bid: int, ask: int, size: int = 50, contract: str | None = None) -> None:
        name = (contract or self.contract).removeprefix("O:")
        self.venue.quote(name, f"{bid / 1000:.2f}", f"{ask / 1000:.2f}", size, size)

    def quote(self, bid: int, ask: int, size: int = 50) -> None:
        super().quote(bid, ask, size)
        for order in self.bench.flying:
            self.bench.put(self.broker.find(order.ref))
        for event in self.broker.wait():
            self.bench.put(event)

    def scanty(self, bid: int, ask: int) -> None:
        self.venue.fault("partial-fill")
        if self.bench.desk.state.dealings.trades:
            self.quote(bid, ask)
        else:
            self.market(bid, ask)

    def stranger(self, quantity: int) -> None:
        self.venue.fault("foreign-position", symbol=HIGHER.removeprefix("O:"), qty=quantity)


@contextmanager
def rig_of(name: str) -> Iterator[Rig]:
    if name == "paper":
        rig = Rig()
        yield rig
        return
    with open_venue() as venue:
        rig = AlpacaRig(venue)
        yield rig
        rig.close()


def spread(*sides: tuple[str, str]) -> tuple[Leg, ...]:
    return tuple(Leg(contract, side, opens=True) for contract, side in sides)  # type: ignore[arg-type]
