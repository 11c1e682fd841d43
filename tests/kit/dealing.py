"""A desk with a broker on the bench: a real ledger, a paper broker, and a strategy that buys once and sells at a target.

`OrderBench` leads what the desk asks of its broker to it, and the answers back, in one thread; each life begins from the ledger alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import date
from typing import Any

from msgspec import Struct

from brokers.broker import Broker
from brokers.paper import Paper, Rules
from config import Config
from desk import orders, trades
from desk.state import Turn
from desk.strategy import MarketEvent, PutRight, Scene, Status, Wants
from disk import audit, book, schema
from edges.scribe import latest
from events import (
    AlertDelivered,
    AnyAction,
    AnyEvent,
    BrokerLinked,
    BrokerTrade,
    CancelOrder,
    CheckPhone,
    ClockChecked,
    Commit,
    CommitFailed,
    Committed,
    Deliver,
    FillSeen,
    FindOrder,
    HalfSecondPassed,
    Leg,
    Mode,
    Order,
    OrderAnswered,
    OrderSeen,
    Part,
    PhoneChecked,
    PlaceOrder,
    Quote,
    QuoteSeen,
    ShowQuote,
    SnapshotTaken,
    TakeSnapshot,
    WorkerStarted,
)
from strategies.registry import build
from tests.kit.deskbench import DAY, KEYS
from utils import Session, SessionCalendar

CALL = "O:IWM261120C00220000"


class TinyMemory(Struct, frozen=True):
    wanted: int = 0
    trade_id: str = ""


class Tiny:
    """Buys `wanted` when told to by its memory, sells all once the bid is a quarter above; it is also told by hand what to do."""

    name = "tiny"

    def __init__(self, mode: Mode = "paper", units: int = 2, limit: int = 1440, contract: str = CALL) -> None:
        self.contract = contract
        self.wants = Wants((), (), mode=mode, prefix="TY")
        self.memory = TinyMemory()
        self.mode, self.units, self.limit = mode, units, limit
        self.heard: list[AnyEvent] = []
        self.out_by_s: float | None = None
        self.wish = False

    def begin(self, session: Session | None) -> None: ...

    def take(self, event: MarketEvent) -> None: ...

    def judge(self, turn: Turn[TinyMemory]) -> None: ...

    def out_by(self, session: Session) -> float | None:
        return None

    def scene(self, at: float) -> Scene:
        return Scene()

    def status(self, turn: Turn[TinyMemory]) -> Status:
        return Status(self.name)

    def hear(self, turn: Turn[TinyMemory], event: AnyEvent | PutRight) -> None:
        if not isinstance(event, PutRight):
            self.heard.append(event)
        match event:
            case HalfSecondPassed() if self.wish:
                self.buy(turn)
            case QuoteSeen(quote=quote) if quote.bid is not None:
                self.sell(turn, quote.bid)
            case OrderAnswered() | OrderSeen() | FillSeen() | SnapshotTaken():
                self.follow(turn)

    def buy(self, turn: Turn[TinyMemory]) -> None:
        why = orders.entry_refusal(turn.state, self.mode, self.name, at=turn.at)
        if why is not None or turn.state.session is None:
            return
        self.wish = False
        trade_id = orders.next_trade_id(turn, "TY")
        leg = Leg(self.contract, "buy", opens=True)
        out_by = None if self.out_by_s is None else turn.at + self.out_by_s
        trade = BrokerTrade(
            trade_id, self.name, self.mode, "IWM", DAY.isoformat(), (leg,), self.units, turn.at,
            turn.state.session.close_at, fee=50, out_by=out_by,
        )  # fmt: skip
        orders.begin(turn, trade)
        order = orders.next_order(turn, trade, "ENTRY", self.limit, good_for_s=12.0)
        assert order is not None
        orders.place(turn, order)

    def follow(self, turn: Turn[TinyMemory]) -> None:
        """One entry a trade: what it filled is the position."""
        for trade in tuple(turn.state.dealings.trades.values()):
            entered = [order for order in orders.of_trade(turn.state.dealings, trade.id) if order.opens]
            if entered and not orders.in_flight(turn.state, trade.id):
                trades.enter_no_more(turn, trade.id, "not filled")

    def sell(self, turn: Turn[TinyMemory], bid: int) -> None:
        for trade in tuple(turn.state.dealings.trades.values()):
            entry = self.limit
            if trade.state == "open" and bid * 4 >= entry * 5:
                order = orders.next_order(turn, trade, "TP1", -bid, good_for_s=2.0)
                if order is not None:
                    orders.place(turn, order)


class OrderBench:
    """`disk` None: it does not answer, False: it refuses. `lost` drops the actions and events that it says True to."""

    def __init__(
        self,
        broker: Callable[[OrderBench], Broker] | None = None,
        day: date = DAY,
        strategy: Tiny | None = None,
        now: float | None = None,
        **settings: str,
    ) -> None:
        self.config = Config.from_env({**KEYS, **settings})
        self.day = day
        self.calendar = SessionCalendar(day)
        session = self.calendar.on(day)
        assert session is not None
        self.session = session
        self.now = session.open_at + 3600.0 if now is None else now
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        schema.upgrade(self.connection)
        self.disk: bool | None = True
        self.lost: Callable[[AnyAction | AnyEvent], bool] = lambda what: False
        self.make = broker or (lambda bench: Paper(lambda: bench.now, Rules(), bench.paper_fills()))
        self.actions: list[AnyAction] = []
        self.waiting: list[Commit] = []
        self.owed: list[Part] = []
        self.delivered: list[Deliver] = []
        self.placed: list[Order] = []
        self.tiny = strategy or Tiny()
        self.begin()

    def paper_fills(self) -> list[Any]:
        return [fill for _, fill in book.load(self.connection, self.now).fills]

    def begin(self, strategy: Tiny | None = None) -> None:
        """A new life, from what the ledger has."""
        self.tiny = strategy or self.tiny
        self.waiting, self.owed = [], []
        self.broker = self.make(self)
        remembered = book.load(self.connection, self.now)
        self.desk = build(self.config, self.calendar, remembered, [self.tiny])
        self.put(WorkerStarted(at=self.now, version="1.0.0", mode="live"))
        self.put(ClockChecked(at=self.now, skew_s=0.0, source="the market's time"))
        self.put(PhoneChecked(at=self.now, ok=True, reason="keys are valid", quota_left=9000))
        self.link(True)

    def link(self, up: bool, reason: str = "") -> None:
        self.put(BrokerLinked(at=self.now, mode=self.broker.mode, linked=up, reason=reason))

    # --- what happens ---

    def put(self, *events: AnyEvent) -> None:
        queue = [list(events)]
        while queue:
            for action in self.desk.decide(queue.pop(0)):
                self.actions.append(action)
                answers = [] if self.lost(action) else self.answer(action)
                queue += [[event] for event in answers if not self.lost(event)]
            assert not self.desk.faults, [fault.raised for fault in self.desk.faults]

    def answer(self, action: AnyAction) -> list[AnyEvent]:
        match action:
            case Commit():
                return self.write(action)
            case Deliver():
                self.delivered.append(action)
                return [
                    AlertDelivered(at=self.now, alert_id=action.alert_id, attempt=action.attempt, channel=action.channel)
                ]
            case CheckPhone():
                return [PhoneChecked(at=self.now, ok=True, reason="keys are valid", quota_left=9000)]
            case PlaceOrder(order):
                self.placed.append(order)
                return [self.broker.place(order), *self.broker.wait()]
            case CancelOrder(_, ref, broker_id):
                return [self.broker.cancel(ref, broker_id), *self.broker.wait()]
            case FindOrder(_, ref):
                return [self.broker.find(ref)]
            case TakeSnapshot(_, since):
                return [self.broker.snapshot(since)]
            case ShowQuote(_, contract, quote, at):
                self.broker.show(contract, quote, at)
                return self.broker.wait()
        return []

    def write(self, commit: Commit) -> list[AnyEvent]:
        """As the scribe does: what the disk refused is written ahead of the next commit, and nothing out of order."""
        if self.disk is None:
            self.waiting.append(commit)
            return []
        parts = [*self.owed, *commit.parts]
        if not self.disk:
            self.owed = latest(parts)
            return [CommitFailed(at=self.now, commit=commit.commit, reason="the disk is full")]
        self.owed = []
        refused = book.write(self.connection, parts)
        assert not refused, refused
        return [Committed(at=self.now, commit=commit.commit, refused=refused)]

    def flush(self) -> None:
        """What waited for the disk is written now."""
        waiting, self.waiting = self.waiting, []
        for commit in waiting:
            for event in self.write(commit):
                self.put(event)

    def tick(self, seconds: float = 0.5) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(self.now + 0.5, end)
            self.put(HalfSecondPassed(at=self.now))
            for event in self.broker.wait():
                self.put(event)

    def quote(self, bid: int | None, ask: int | None, size: int = 50, contract: str = CALL) -> None:
        quote = Quote(bid, ask, size, size, self.now)
        self.put(QuoteSeen(at=self.now, contract=contract, quote=quote, source="rest"))

    def bought(self) -> OrderBench:
        """A position of two, bought at 1.44 on the paper broker."""
        self.tiny.wish = True
        self.tick()
        self.tick()
        self.quote(1400, 1440)
        assert self.trade.state == "open"
        return self

    # --- what came of it ---

    @property
    def trade(self) -> BrokerTrade:
        dealings = self.desk.state.dealings
        return next(iter(dealings.trades.values()), None) or dealings.ended[-1]

    @property
    def flying(self) -> list[Order]:
        return orders.in_flight(self.desk.state)

    def problems(self) -> list[str]:
        return audit.problems_in(audit.audit(self.connection))

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(text).fetchall()
