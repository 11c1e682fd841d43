"""The courier on its own thread: what is asked is answered, what came by itself is told, and without a link nothing is claimed."""

from __future__ import annotations

import queue
import time

from brokers.paper import Paper
from edges.broker import Courier
from events import (
    AnyEvent,
    BrokerLinked,
    CancelAnswered,
    CancelOrder,
    FillSeen,
    Leg,
    Order,
    OrderAnswered,
    PlaceOrder,
    Quote,
    ShowQuote,
    SnapshotTaken,
    TakeSnapshot,
)
from utils import SystemClock
from wire.transport import TryAgain

CALL = "O:IWM261120C00220000"
CLOCK = SystemClock()


def an_order(ref: str = "SC-20261120-1-ENTRY-1") -> Order:
    return Order(ref, "tiny", "SC-20261120-1", "paper", "ENTRY", 1, (Leg(CALL, "buy", True),), 1, 1440, 0.0, 0.0)


def until(told: queue.Queue[AnyEvent], kind: type[AnyEvent]) -> AnyEvent:
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        event = told.get(timeout=5)
        if isinstance(event, kind):
            return event
    raise TimeoutError


def test_an_order_is_placed_filled_and_told():
    told: queue.Queue[AnyEvent] = queue.Queue()
    courier = Courier(told.put, CLOCK, Paper(CLOCK.now))
    courier.start()
    assert until(told, BrokerLinked).linked
    courier.put(PlaceOrder(an_order()))
    assert until(told, OrderAnswered).answer == "accepted"
    courier.put(ShowQuote("paper", CALL, Quote(1400, 1440, 50, 50), CLOCK.now() + 1.0))
    assert until(told, FillSeen).fill.price == 1440
    courier.put(TakeSnapshot("paper", 0.0))
    assert until(told, SnapshotTaken).positions[0].quantity == 1
    courier.stop()
    courier.join(2)
    assert not courier.is_alive


class Absent(Paper):
    def open(self) -> None:
        raise TryAgain("nobody is there")


def test_without_a_link_an_order_is_certainly_not_sent():
    told: queue.Queue[AnyEvent] = queue.Queue()
    courier = Courier(told.put, CLOCK, Absent(CLOCK.now))
    courier.start()
    down = until(told, BrokerLinked)
    assert (down.linked, down.reason) == (False, "nobody is there")
    courier.put(PlaceOrder(an_order()))
    assert until(told, OrderAnswered).answer == "not_sent"
    courier.put(TakeSnapshot("paper", 0.0))
    assert not until(told, SnapshotTaken).complete
    courier.put(CancelOrder("paper", "SC-20261120-1-ENTRY-1"))
    assert not until(told, CancelAnswered).heard
    courier.stop()
    courier.join(2)


def test_an_exit_goes_ahead_of_an_entry_and_of_questions():
    courier = Courier(lambda event: None, CLOCK, Paper(CLOCK.now))
    exit_order = Order(
        "SC-20261120-1-EXIT-1", "tiny", "SC-20261120-1", "paper", "EXIT", 1, (Leg(CALL, "sell", False),), 1, None, 0.0, 0.0
    )
    courier.put(TakeSnapshot("paper", 0.0))
    courier.put(PlaceOrder(an_order()))
    courier.put(PlaceOrder(exit_order))
    assert courier.next(1.0) == PlaceOrder(exit_order)
    assert courier.next(1.0) == PlaceOrder(an_order())
