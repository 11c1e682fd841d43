"""Alpaca as a courier's broker: its client's answers in the desk's words. REST is the truth; the stream only hastens a question.

An order's fills are its FILL activities, keyed by their execution. Alpaca tells no fee of an option's fill by itself. A limit of one
contract is a price there, of several a net price; here it is always net, negative where it is received.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import time as clock_time
from decimal import Decimal

from msgspec.structs import replace

from brokers.alpaca import forms
from brokers.alpaca.client import (
    TIMEOUT_S,
    Accepted,
    Asked,
    Denied,
    RateLimited,
    Rejected,
    TradingClient,
    Unknown,
)
from brokers.alpaca.updates import TradeUpdates
from brokers.broker import Can
from events import (
    AccountView,
    AnyEvent,
    CancelAnswered,
    Fill,
    FillSeen,
    Holding,
    Leg,
    Mills,
    Mode,
    Order,
    OrderAnswered,
    OrderSeen,
    OrderState,
    OrderView,
    PreviewArrived,
    Quote,
    SnapshotTaken,
)
from utils import new_york, to_mills, unix_time
from wire.connection import Denied as StreamDenied
from wire.connection import Dropped
from wire.transport import Refused, TryAgain

PAPER_PREFIX = "PA"
STATES: dict[str, OrderState] = {
    "filled": "filled",
    "canceled": "cancelled",
    "replaced": "cancelled",
    "expired": "expired",
    "rejected": "rejected",
    "pending_cancel": "cancelling",
}
READ_S = 1.0
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 30.0


class Alpaca:
    """One account at Alpaca. `bell` is rung when the stream tells something; `stream_url` empty: there is no stream."""

    can = Can(preview=False, combos=True, sells_quotes=False, tells_fills=True)

    def __init__(
        self,
        mode: Mode,
        url: str,
        stream_url: str,
        keys: tuple[str, str],
        *,
        now: Callable[[], float],
        bell: Callable[[], None] = lambda: None,
        timeout_s: float = TIMEOUT_S,
        ca_file: str | None = None,
    ) -> None:
        self.mode = mode
        self.now = now
        self.bell = bell
        self._client = TradingClient(url, *keys, now=now, timeout_s=timeout_s, ca_file=ca_file)
        self._stream_url, self._keys, self._ca_file = stream_url, keys, ca_file
        self._refs: dict[str, str] = {}  # our ref of an id of theirs, and of each leg's
        self._told: set[str] = set()
        self._news: deque[AnyEvent] = deque()
        self._updates: deque[forms.Update | None] = deque()  # None: the stream was opened anew, and nothing is told again
        self._stopping = threading.Event()
        self._listener: threading.Thread | None = None

    # --- the link ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Ask who we are; then listen, if there is a stream."""
        self._client.account()
        if self._stream_url and self._listener is None:
            self._listener = threading.Thread(target=self._listen, name=f"{self.mode} updates", daemon=True)
            self._listener.start()

    def close(self) -> None:
        self._stopping.set()
        self._client.close()

    def _listen(self) -> None:
        """The stream, one connection after another; what it says waits for the courier."""
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            updates = TradeUpdates(self._stream_url, *self._keys, ca_file=self._ca_file)
            with suppress(Dropped, StreamDenied):
                updates.open(self.now())
                pause_s = FIRST_PAUSE_S
                self._hear(None)
                while not self._stopping.is_set():
                    for update in updates.read(READ_S):
                        self._hear(update)
            updates.close()
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)

    def _hear(self, update: forms.Update | None) -> None:
        self._updates.append(update)
        self.bell()

    def wait(self) -> list[AnyEvent]:
        """What the stream has hastened, as REST tells it."""
        refs: dict[str, None] = {}
        anew = False
        while self._updates:
            update = self._updates.popleft()
            if update is None:
                anew = True
            elif update.ref:
                refs[update.ref] = None
            else:
                refs.setdefault(self._refs.get(update.order_id, ""), None)
        for ref in refs:
            if ref:
                with suppress(TryAgain):
                    self._news.append(self.find(ref))
        if anew:
            self._news.append(self.snapshot(self._day()))
        news = list(self._news)
        self._news.clear()
        return sorted(news, key=lambda event: not isinstance(event, FillSeen))

    # --- orders --------------------------------------------------------------------------------------------------------

    def place(self, order: Order) -> OrderAnswered:
        intents = tuple(forms.Leg(symbol_of(leg.contract), intent_of(leg), leg.ratio) for leg in order.legs)
        outcome = self._client.place(forms.NewOrder(order.ref, intents, order.units, dollars_of(order)))
        answer = OrderAnswered(at=self.now(), mode=self.mode, ref=order.ref, answer="unknown")
        match outcome:
            case Accepted(theirs):
                self._know(theirs)
                return replace(answer, answer="accepted", broker_id=theirs.id)
            case Rejected(reason) | Denied(reason):
                return replace(answer, answer="rejected", reason=reason)
            case RateLimited(reset_at):
                return replace(answer, answer="later", reason="too many requests", again_at=reset_at)
            case Unknown(reason, sent):
                return replace(answer, answer="unknown" if sent else "not_sent", reason=reason)

    def cancel(self, ref: str, broker_id: str) -> CancelAnswered:
        """Ask for its end by Alpaca's id, which is looked up where it is not known."""
        heard, reason = False, ""
        try:
            if not broker_id:
                theirs = self._client.find(ref)
                broker_id = "" if theirs is None else theirs.id
            if not broker_id:
                reason = "there is no such order"
            else:
                outcome = self._client.cancel(broker_id)
                heard = isinstance(outcome, Asked)
                reason = "too many requests" if isinstance(outcome, RateLimited) else outcome.reason
        except (TryAgain, Refused) as fault:
            reason = fault.reason
        return CancelAnswered(at=self.now(), mode=self.mode, ref=ref, heard=heard, reason=reason)

    def find(self, ref: str) -> OrderSeen:
        """The order afresh; where it tells of units that no fill has explained, its fills are asked for too."""
        theirs = self._client.find(ref)
        if theirs is None:
            return OrderSeen(at=self.now(), mode=self.mode, ref=ref, order=None)
        self._know(theirs)
        if theirs.filled > 0 and theirs.id + str(theirs.filled) not in self._told:
            with suppress(TryAgain):
                fills = self._fills(self._client.fills(self._day()))
                self._news += [FillSeen(at=self.now(), mode=self.mode, fill=fill) for fill in fills if fill.ref == ref]
                if sum(fill.quantity for fill in fills if fill.ref == ref) >= theirs.filled:
                    self._told.add(theirs.id + str(theirs.filled))
        return OrderSeen(at=self.now(), mode=self.mode, ref=ref, order=view_of(theirs))

    def preview(self, order: Order) -> PreviewArrived:
        return PreviewArrived(at=self.now(), mode=self.mode, ref=order.ref, margin=None, reason="Alpaca has no what-if")

    def snapshot(self, since: float) -> SnapshotTaken:
        told = self._client.snapshot(since)
        at = self.now()
        if not told.complete or told.account is None:
            return SnapshotTaken(at=at, mode=self.mode, as_of=told.as_of, complete=False, reason=told.reason)
        for theirs in told.orders:
            self._know(theirs)
        return SnapshotTaken(
            at=at, mode=self.mode, as_of=told.as_of, complete=True, orders=tuple(map(view_of, told.orders)),
            fills=tuple(self._fills(told.fills)), positions=tuple(map(holding_of, told.positions)),
            account=account_of(told.account),
        )  # fmt: skip

    def show(self, contract: str, quote: Quote, at: float) -> None:
        """It has its own quotes."""

    # --- its words and ours --------------------------------------------------------------------------------------------

    def _day(self) -> float:
        """Midnight in New York, from which today's orders and fills are asked."""
        return unix_time(new_york(self.now()).date(), clock_time(0))

    def _know(self, theirs: forms.Order) -> None:
        """Which ref a fill belongs to: of several legs each has an id of its own."""
        for part in (theirs, *theirs.legs):
            self._refs[part.id] = theirs.ref

    def _fills(self, told: Iterable[forms.Fill]) -> list[Fill]:
        return [
            Fill(
                root=fill.execution_id,
                ref=self._refs.get(fill.order_id, ""),
                contract=contract_of(fill.symbol),
                side="buy" if fill.side.startswith("buy") else "sell",
                quantity=int(fill.qty),
                price=to_mills(fill.price),
                at=fill.at,
            )
            for fill in told
        ]


def symbol_of(contract: str) -> str:
    return contract.removeprefix("O:")


def contract_of(symbol: str) -> str:
    """The contract of an option's symbol; shares keep their own."""
    return f"O:{symbol}" if len(symbol) > 15 else symbol


def intent_of(leg: Leg) -> str:
    return f"{leg.side}_to_{'open' if leg.opens else 'close'}"


def dollars_of(order: Order) -> Decimal | None:
    """The limit as Alpaca reads it: of one leg its price, of several the net price."""
    if order.limit is None:
        return None
    net = Decimal(order.limit).scaleb(-3)
    return net if len(order.legs) > 1 else abs(net)


def view_of(theirs: forms.Order) -> OrderView:
    """An order in our words. A status nobody has heard of is no end."""
    parts = theirs.legs or (theirs,)
    legs = tuple(leg_of(part) for part in parts if part.symbol)
    limit: Mills | None = None if theirs.limit is None else to_mills(theirs.limit)
    if limit is not None and len(legs) == 1 and legs[0].side == "sell":
        limit = -limit
    state = STATES.get(theirs.status, "working")
    return OrderView(theirs.ref, theirs.id, state, int(theirs.qty or 0), int(theirs.filled), legs, limit, theirs.status)


def leg_of(theirs: forms.Order) -> Leg:
    side = theirs.side or theirs.intent.partition("_")[0]
    opens = theirs.intent.endswith("open") if theirs.intent else side == "buy"
    return Leg(contract_of(theirs.symbol), "buy" if side == "buy" else "sell", opens)


def holding_of(theirs: forms.Position) -> Holding:
    return Holding(contract_of(theirs.symbol), int(theirs.qty), int(theirs.available))


def account_of(theirs: forms.Account) -> AccountView:
    blocks = theirs.blocks if theirs.status == "ACTIVE" else (*theirs.blocks, f"status {theirs.status}")
    return AccountView(
        number=theirs.number,
        is_paper=theirs.number.startswith(PAPER_PREFIX),
        equity=to_mills(theirs.equity),
        buying_power=to_mills(theirs.options_buying_power),
        level=theirs.level,
        blocks=blocks,
    )
