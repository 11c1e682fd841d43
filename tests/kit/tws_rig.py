"""The broker at TWS under the conformance suite: the real library, a TWS on loopback, and the bench's time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from time import monotonic, sleep

import brokers.ibkr.client
import brokers.ibkr.link
from brokers.broker import Broker
from brokers.ibkr.client import Ibkr
from brokers.ibkr.link import Place
from events import AnyEvent, Mode
from simulator.tws.contracts import Book, Instrument, Quote
from simulator.tws.venue import Venue
from tests.kit.dealing import OrderBench, Tiny
from tests.kit.rigs import CALL_240, HIGHER, Faulty, Rig
from utils import SessionCalendar

DAY = date(2026, 11, 20)
FAST = 100_000
IDS = {CALL_240: 240, HIGHER: 242}


class BenchClock:
    """The bench's time, or that of its beginning while there is no bench."""

    def __init__(self) -> None:
        session = SessionCalendar(DAY).on(DAY)
        assert session is not None
        self.at = session.open_at + 3600.0

    def now(self) -> float:
        return self.at

    def real_seconds(self, seconds: float) -> float:
        return seconds


def market() -> Book:
    options = [
        Instrument(con_id, "IWM", "OPT", "SMART", DAY, con_id * 1000, "C", 100, "IWM", f"IWM   {name.removeprefix('O:IWM')}")
        for name, con_id in IDS.items()
    ]
    return Book(options)


class Heard(Faulty):
    """What comes by itself is lost as what is asked for is: by the bench's word."""

    def __init__(self, broker: Broker, bench: OrderBench) -> None:
        super().__init__(broker)
        self.bench = bench

    def wait(self) -> list[AnyEvent]:
        return [event for event in super().wait() if not self.bench.lost(event)]


class TwsRig(Rig):
    mode: Mode = "ibkr-paper"
    survives = True
    contract = CALL_240

    def __init__(self, venue: Venue, clock: BenchClock) -> None:
        self.venue, self.clock = venue, clock
        self.faults = None
        self.ours: Ibkr | None = None
        self.bench = OrderBench(self.made, strategy=Tiny(self.mode, contract=CALL_240), now=clock.at)

    def made(self, bench: OrderBench) -> Broker:
        self.bench = bench
        doctor = None if self.faults is None else self.faults.doctor
        if self.ours is not None:
            self.ours.close()
        place = Place("127.0.0.1", self.venue.port, 21, is_live=False, timeout_s=5.0)
        self.ours = Ibkr(self.mode, place, lambda: bench.now, ack_s=2.0)
        self.ours.open()
        self.faults = Heard(self.ours, bench)
        if doctor is not None:
            self.faults.doctor = doctor
        return self.faults

    def heard(self) -> None:
        """All that the venue has said has come: what the broker looks up by itself is answered."""
        assert self.ours is not None
        self.venue.nudge()
        ends = monotonic() + 5
        while self.ours.is_looking and monotonic() < ends:
            sleep(0.002)

    def pass_time(self, seconds: float = 0.5) -> None:
        end = self.bench.now + seconds
        while self.bench.now < end - 1e-9:
            self.clock.at = min(self.bench.now + 0.5, end)
            self.bench.tick(min(0.5, end - self.bench.now))
            self.heard()

    def market(self, bid: int, ask: int, size: int = 50, contract: str | None = None) -> None:
        self.clock.at = self.bench.now
        self.venue.set_quote(IDS[contract or self.contract], Quote(bid, ask, size, size))
        self.heard()

    def quote(self, bid: int, ask: int, size: int = 50) -> None:
        super().quote(bid, ask, size)
        for order in self.bench.flying:
            self.bench.put(self.broker.find(order.ref))
        for event in self.broker.wait():
            self.bench.put(event)

    def scanty(self, bid: int, ask: int) -> None:
        if self.bench.desk.state.dealings.trades:
            self.quote(bid, ask, 1)
        else:
            self.market(bid, ask, 1)
        self.venue.set_quote(IDS[self.contract], Quote(None, None))

    def stranger(self, quantity: int) -> None:
        self.venue.hold(IDS[HIGHER], quantity)


@contextmanager
def tws_rig(monkeypatch) -> Iterator[TwsRig]:
    monkeypatch.setattr(brokers.ibkr.client, "LOOK_AFTER_S", 0.0)
    monkeypatch.setattr(brokers.ibkr.link, "MESSAGES_A_SECOND", FAST)  # the bench's seconds are short
    clock = BenchClock()
    with Venue(market(), clock, beat_s=0, fee=0.05) as venue:
        venue.floor.cash, venue.floor.messages_a_second = 25_000_000, FAST
        rig = TwsRig(venue, clock)
        yield rig
        rig.close()
