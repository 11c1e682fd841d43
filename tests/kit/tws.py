"""The broker at TWS with the real library, on a TWS on loopback: what tests of it share."""

import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from brokers.ibkr.client import Ibkr
from brokers.ibkr.link import Place
from events import FillSeen, Leg, Order, OrderSeen
from simulator.tws.venue import Venue

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "simulator"))
from tws_client import NOON, StillClock, book

ENTRY = (("P", 655, "sell"), ("P", 653, "buy"), ("C", 665, "sell"), ("C", 667, "buy"))
PATIENCE_S = 5.0
REF = "IC-20261120-1-ENTRY-1"


def name(right: str, strike: int) -> str:
    return f"O:XSP261120{right}{strike * 1000:08d}"


def entry(ref: str = REF, limit: int | None = -900, units: int = 1) -> Order:
    """A condor that is sold; at -0.90 it rests, at -0.68 and over it fills at once."""
    legs = tuple(Leg(name(right, strike), side, opens=True) for right, strike, side in ENTRY)
    return Order(ref, "condor", "IC-20261120-1", "ibkr-paper", "ENTRY", 1, legs, units, limit, NOON, NOON + 600)


def closing(ref: str = "IC-20261120-1-EXIT-1", limit: int = 900, units: int = 1, only: int = 4) -> Order:
    turned = {"buy": "sell", "sell": "buy"}
    legs = tuple(Leg(name(right, strike), turned[side], opens=False) for right, strike, side in ENTRY[:only])
    return Order(ref, "condor", "IC-20261120-1", "ibkr-paper", "EXIT", 1, legs, units, limit, NOON, NOON + 600)


class Desk:
    """The broker's owner: it keeps what it was told, and waits for more."""

    def __init__(self, venue: Venue, **more) -> None:
        self.venue, self.told, self.rung = venue, [], threading.Event()
        given = {"client_id": 21, "is_live": False, "timeout_s": 1.0, **more}
        ack_s = given.pop("ack_s", 0.5)
        self.broker = Ibkr(
            "ibkr-live" if given["is_live"] else "ibkr-paper",
            Place("127.0.0.1", venue.port, **given),
            lambda: NOON,
            ack_s=ack_s,
            ring=self.rung.set,
        )

    def until(self, condition: Callable[[], object]):
        """Take what comes until a condition holds; its value."""
        ends = monotonic() + PATIENCE_S
        while not (value := condition()):
            assert monotonic() < ends, self.told
            self.rung.wait(0.2)
            self.rung.clear()
            self.told += self.broker.wait()
        return value

    def states(self, ref: str = REF) -> list[str]:
        return [one.order.state for one in self.told if isinstance(one, OrderSeen) and one.ref == ref and one.order]

    def fills(self) -> list:
        return [one.fill for one in self.told if isinstance(one, FillSeen)]


@contextmanager
def desk(venue: Venue, **more):
    made = Desk(venue, **more)
    made.broker.open()
    try:
        yield made
    finally:
        made.broker.close()


@contextmanager
def tws():
    with Venue(book(), StillClock(), beat_s=0) as venue:
        yield venue
