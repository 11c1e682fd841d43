"""A courier to one broker: it carries out what the desk decided and tells what it hears. It decides nothing, and repeats nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokers.broker import Broker
from edges.edge import Boxed, Emit
from events import (
    BrokerLinked,
    CancelAnswered,
    CancelOrder,
    FindOrder,
    OrderAnswered,
    OrderSeen,
    PlaceOrder,
    PreviewArrived,
    PreviewOrder,
    ShowQuote,
    SnapshotTaken,
    TakeSnapshot,
)
from failpoints import hit
from wire.transport import Refused, TryAgain

if TYPE_CHECKING:
    from utils import Clock

LISTEN_S = 0.25
FIRST_PAUSE_S, LAST_PAUSE_S, REFUSED_PAUSE_S = 1.0, 30.0, 60.0
RANKS: dict[type, int] = {CancelOrder: 0, ShowQuote: 1, PreviewOrder: 2, FindOrder: 3, TakeSnapshot: 4}


class Courier(Boxed):
    """One thread for one broker. What waits while there is no link is answered as what it is: not sent, not known."""

    is_spare = True

    def __init__(self, emit: Emit, clock: Clock, broker: Broker) -> None:
        self.name = f"broker {broker.mode}"
        super().__init__(emit)
        self.clock = clock
        self.broker = broker

    def ring(self) -> None:
        """Something came by itself: it is told at once. For the broker's own threads."""
        super().put(None)

    def put(self, action: Any, rank: int = 0) -> None:
        """Exits and cancels go first, then entries, questions and snapshots."""
        if isinstance(action, PlaceOrder):
            rank = 2 if action.order.opens else 0
        super().put(action, RANKS.get(type(action), rank))

    def run(self) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while not self.stopping.is_set():
                try:
                    self.broker.open()
                    self._tell_link(True)
                    pause_s = FIRST_PAUSE_S
                    self._serve()
                except TryAgain as fault:
                    self._tell_link(False, fault.reason)
                    self._pause(pause_s)
                    pause_s = min(2 * pause_s, LAST_PAUSE_S)
                except Refused as fault:
                    self._tell_link(False, fault.reason)
                    self._pause(REFUSED_PAUSE_S)
        finally:
            self.broker.close()

    def _tell_link(self, linked: bool, reason: str = "") -> None:
        self.emit(BrokerLinked(at=self.clock.now(), mode=self.broker.mode, linked=linked, reason=reason))

    def _serve(self) -> None:
        """As long as the link stands: what is asked first, then what came by itself."""
        while not self.stopping.is_set():
            hit("broker.loop")
            action = self.next(LISTEN_S)
            if action is not None:
                self._do(action)
            for event in self.broker.wait():
                hit("broker.told")
                self.emit(event)

    def _do(self, action: Any) -> None:
        match action:
            case PlaceOrder(order):
                hit("broker.before-place")
                answer = self.broker.place(order)
                hit("broker.after-place")
                self.emit(answer)
            case CancelOrder(_, ref, broker_id):
                hit("broker.before-cancel")
                self.emit(self.broker.cancel(ref, broker_id))
            case FindOrder(_, ref):
                self._find(ref)
            case PreviewOrder(order):
                self.emit(self._previewed(action))
            case TakeSnapshot(_, since):
                hit("broker.before-snapshot")
                self.emit(self.broker.snapshot(since))
            case ShowQuote(_, contract, quote, at):
                self.broker.show(contract, quote, at)

    def _find(self, ref: str) -> None:
        """A question that found no answer is asked again by the desk."""
        try:
            seen = self.broker.find(ref)
        except TryAgain as fault:
            seen = OrderSeen(at=self.clock.now(), mode=self.broker.mode, ref=ref, order=None, reason=fault.reason)
        self.emit(seen)

    def _previewed(self, action: PreviewOrder) -> PreviewArrived:
        try:
            return self.broker.preview(action.order)
        except TryAgain as fault:
            return PreviewArrived(
                at=self.clock.now(), mode=self.broker.mode, ref=action.order.ref, margin=None, reason=fault.reason
            )

    def _pause(self, seconds: float) -> None:
        """Without a link: everything that is asked is answered with what is certain."""
        until = self.clock.now() + seconds
        while not self.stopping.is_set() and (left := until - self.clock.now()) > 0:
            action = self.next(self.clock.real_seconds(left))
            at, mode = self.clock.now(), self.broker.mode
            match action:
                case PlaceOrder(order):
                    self.emit(OrderAnswered(at=at, mode=mode, ref=order.ref, answer="not_sent", reason="there is no link"))
                case CancelOrder(_, ref):
                    self.emit(CancelAnswered(at=at, mode=mode, ref=ref, heard=False, reason="there is no link"))
                case TakeSnapshot():
                    self.emit(SnapshotTaken(at=at, mode=mode, as_of=at, complete=False, reason="there is no link"))
                case PreviewOrder(order):
                    self.emit(PreviewArrived(at=at, mode=mode, ref=order.ref, margin=None, reason="there is no link"))
