"""The decision: events in, actions out. It reads no clock, socket or file.

`Desk.decide(events)` takes in all that waited together, lets each strategy judge once on the newest second, and returns what is to be
done. What must be remembered is in the turn's one `Commit`, and nothing is said to the phone before its commit is confirmed, but for a
SELL that the disk keeps waiting. A strategy decides; positions, records, the way out and the words of trouble are the desk's.

A handler that raises costs its owner that one call: what it did is dropped, and everybody else's part stands. `state` is frozen and
replaced whole, so any thread may read it. Only the market and the strategies' windows of bars change in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

import alerts
import risk_manager
from desk import accounts, books, closing, daily, delivery, feed, lives, moments, orders, outbox, sight, trades, way_out
from desk.market import Market
from desk.state import ASSUMED, DESK, FeedDay, Held, Kept, Memory, Own, Sheet, State, Turn, trades_of
from desk.strategy import MarketEvent, PutRight, Restored, Scene, Stalled, Status, Strategy
from events import (
    AlertDelivered,
    AlertFailed,
    AnyAction,
    AnyEvent,
    BackfillFailed,
    BarClosed,
    BarsFetched,
    BrokerLinked,
    CancelAnswered,
    ChainArrived,
    ChainFailed,
    CheckPhone,
    ClockChecked,
    CommandGiven,
    CommitFailed,
    Committed,
    Exit,
    FactSet,
    FeedConnected,
    FeedDropped,
    FeedRefused,
    FillSeen,
    HalfSecondPassed,
    IndexSeen,
    JunkDropped,
    MinutesFailed,
    MinutesFetched,
    ModelRead,
    Noted,
    OperatorSpoke,
    OrderAnswered,
    OrderSeen,
    PhoneChecked,
    PreviewArrived,
    ProfileArrived,
    ProfileFailed,
    QuoteFailed,
    QuotesArrived,
    QuoteSeen,
    ReceiptSeen,
    Remembered,
    SettlementArrived,
    SnapshotTaken,
    StopRequested,
    ThreadFailed,
    TookLong,
    WorkerStarted,
)
from utils import clock_text, new_york, to_mills

if TYPE_CHECKING:
    from config import Config
    from utils import Session, SessionCalendar

LAST_WORDS_S, GOODBYE_S, LAST_ORDERS_S = 10.0, 5.0, 25.0
FAULTS_WITHIN_S, OUT_BY_GRACE_S, LOST_S = 60.0, 5.0, 60.0
FAULTS_MAX = 3
TAKEN_IN_FIRST: frozenset[type] = frozenset({WorkerStarted, BarClosed, BarsFetched, FeedConnected, FeedDropped})
TOLD_TO_ALL: frozenset[type] = frozenset(
    {
        WorkerStarted,
        ChainArrived,
        ChainFailed,
        QuotesArrived,
        ProfileArrived,
        ProfileFailed,
        MinutesFetched,
        MinutesFailed,
        ModelRead,
        HalfSecondPassed,
        StopRequested,
        PreviewArrived,
        IndexSeen,
    }
)

TOLD_BY_BROKERS: tuple[type, ...] = (BrokerLinked, OrderAnswered, CancelAnswered, OrderSeen, FillSeen, SnapshotTaken)

DeskTurn = Turn[None]


def no_stopwatch() -> float:
    """Where nobody asks how long a strategy takes."""
    return 0.0


class Fault:
    """What a part of the desk raised: whose it was, over which event."""

    def __init__(self, owner: str, event: AnyEvent, raised: Exception) -> None:
        self.owner, self.event, self.raised = owner, event, raised


class Desk:
    """One desk. `calendar` gives the sessions; `remembered` is what the ledger kept of the last life.

    `faults` are those of the last turn, and `took` is how long each strategy kept it waiting, by the `stopwatch`, in seconds.
    """

    def __init__(
        self,
        config: Config,
        calendar: SessionCalendar,
        remembered: Remembered,
        strategies: Sequence[Strategy],
        stopwatch: Callable[[], float] = no_stopwatch,
    ) -> None:
        self.config = config
        self.calendar = calendar
        self.remembered = remembered
        self.strategies: Mapping[str, Strategy] = {strategy.name: strategy for strategy in strategies}
        self.symbols = tuple(dict.fromkeys(symbol for strategy in strategies for symbol in strategy.wants.symbols))
        self.market = Market(
            (*self.symbols, *config.heartbeat_symbols),
            [name for strategy in strategies for name in strategy.wants.underlyings],
        )
        self.state = State()
        self.owners: dict[str, Own[Any]] = {DESK: Own(None)} | {s.name: Own(s.memory) for s in strategies}
        self.faults: list[Fault] = []
        self.took: dict[str, float] = {}
        self._stopwatch = stopwatch
        self._takers = {
            symbol: tuple(strategy for strategy in strategies if symbol in strategy.wants.symbols) for symbol in self.symbols
        }
        self._out_by: dict[str, float] = {}
        self._lost: dict[str, float] = {}
        self._sheet = Sheet(self.state, self.remembered.facts)
        self._turns: dict[str, Turn[Any]] = {}
        self._at = 0.0
        self._handlers: dict[type, Callable[[DeskTurn, Any], None]] = {
            WorkerStarted: self._start,
            BarsFetched: self._take_history,
            BackfillFailed: feed.miss_history,
            FeedConnected: self._take_socket,
            FeedDropped: self._take_socket,
            FeedRefused: self._take_socket,
            QuoteSeen: self._take_quote,
            QuoteFailed: sight.miss_quote,
            QuotesArrived: self._take_refresh,
            JunkDropped: feed.junk_dropped,
            Committed: self._committed,
            CommitFailed: self._commit_failed,
            AlertDelivered: delivery.settled,
            AlertFailed: books.attempt_failed,
            ReceiptSeen: delivery.receipt_seen,
            PhoneChecked: delivery.phone_checked,
            ClockChecked: way_out.clock_checked,
            SettlementArrived: self._settle,
            **dict.fromkeys(TOLD_BY_BROKERS, self._take_broker),
            HalfSecondPassed: self._tick,
            OperatorSpoke: self._obey,
            CommandGiven: self._lead,
            ThreadFailed: way_out.thread_failed,
            TookLong: self._took_long,
            StopRequested: lives.stop,
        }

    # --- a turn --------------------------------------------------------------------------------------------------------

    def decide(self, events: Sequence[AnyEvent]) -> list[AnyAction]:
        """What is to be done after these events, which waited together; now is the moment of the last.

        In order of arrival, but what tells of bars comes first: nothing is decided before all that wait are taken in.
        """
        self._at = events[-1].at
        self._sheet = Sheet(self.state, self.remembered.facts)
        self._turns = {}
        self.faults, self.took = [], {}
        bars = False
        later: list[AnyEvent] = []
        for event in events:
            if type(event) is BarClosed:
                bars = True
                self._take_bar(event)
            elif type(event) in TAKEN_IN_FIRST:
                self._call(DESK, event)
            else:
                later.append(event)
        for event in later:
            self._call(DESK, event)
        if bars:
            for strategy in self.strategies.values():
                self._guarded(strategy.name, events[-1], strategy.judge)
        actions = self._sheet.seal(self._at)
        self.state = self._sheet.state
        for name, turn in self._turns.items():
            own = self.owners[name]
            own.memory, own.said, own.due = turn.memory, turn.said, turn.due
        return actions

    def _turn(self, owner: str) -> Turn[Any]:
        turn = self._turns.get(owner)
        if turn is None:
            turn = self._turns[owner] = Turn(self.config, self._sheet, self._at, owner, self.owners[owner])
        return turn

    def _guarded(self, owner: str, event: AnyEvent, call: Callable[..., Any], *told: Any) -> Any:
        """One call in its owner's turn. One that raises leaves nothing of what it did, and harms nobody else."""
        turn = self._turn(owner)
        mark, began = turn.mark(), self._stopwatch()
        try:
            return call(turn, *told)
        except Exception as raised:
            turn.back_to(mark)
            self._count(owner, event, raised)
            return None
        finally:
            self.took[owner] = self.took.get(owner, 0.0) + self._stopwatch() - began

    def _count(self, owner: str, event: AnyEvent, raised: Exception) -> None:
        self.faults.append(Fault(owner, event, raised))
        self._blame(self._turn(DESK), owner, f"failed over {type(event).__name__}")

    def _took_long(self, turn: DeskTurn, event: TookLong) -> None:
        turn.log("warning", f"{event.strategy} kept the desk waiting", seconds=round(event.seconds, 3))
        self._blame(turn, event.strategy, f"kept the desk waiting for {event.seconds:.1f} s")

    def _blame(self, desk: DeskTurn, owner: str, what: str) -> None:
        """Three faults of a strategy in a minute end its entries, until a person or a restart allows them."""
        of_late = (*(at for at in desk.state.faults.get(owner, ()) if at > desk.at - FAULTS_WITHIN_S), desk.at)[-FAULTS_MAX:]
        desk.set(faults={**desk.state.faults, owner: of_late})
        if owner != DESK and len(of_late) >= FAULTS_MAX:
            self._bar(desk, owner, f"it {what}, the third fault in a minute")

    def _bar(self, desk: DeskTurn, owner: str, why: str) -> None:
        """No more entries of this strategy; the phone is told once, and which of its positions to look after."""
        if owner not in desk.state.barred:
            desk.set(barred={**desk.state.barred, owner: why})
            desk.log("error", f"entries of {owner} are off: {why}")
            held = [alerts.named(held.position.contract) for held in desk.state.open() if held.strategy == owner]
            delivery.say(desk, alerts.strategy_off(desk.config, owner, why, held, at=desk.at), owner)

    def _call(self, owner: str, event: AnyEvent) -> None:
        """The desk's own part of an event; then, for what is addressed to all, the strategies'."""
        handle = self._handlers.get(type(event))
        if handle is not None:
            self._guarded(owner, event, handle, event)
        if type(event) in TOLD_TO_ALL:
            self._tell(event)
        if type(event) is HalfSecondPassed:
            self._guarded(DESK, event, self._after_tick)

    def _tell(self, event: AnyEvent) -> None:
        for strategy in self.strategies.values():
            self._guarded(strategy.name, event, strategy.hear, event)

    def _take(self, event: MarketEvent, *symbols: str) -> None:
        """Into the windows of those that want these symbols, or of all.

        Windows that fail begin anew, and a minute later history fills them.
        """
        takers = [s for name in symbols for s in self._takers.get(name, ())] if symbols else self.strategies.values()
        if isinstance(event, BarsFetched) and event.strategy:
            takers = [self.strategies[event.strategy]] if event.strategy in self.strategies else []
        for strategy in takers:
            if strategy.name in self._lost and not self._found(strategy):
                continue
            try:
                strategy.take(event)
            except Exception as raised:
                told = HalfSecondPassed(at=self._at) if isinstance(event, Stalled | Restored) else event
                self._count(strategy.name, told, raised)
                self._lost[strategy.name] = self._at + LOST_S

    def _found(self, strategy: Strategy) -> bool:
        """Whether windows that had failed may be filled again."""
        if self._at < self._lost[strategy.name]:
            return False
        del self._lost[strategy.name]
        strategy.begin(self._sheet.state.session)
        feed.ask_history_alone(self._turn(DESK), strategy.name, strategy.wants.symbols)
        return True

    def memory(self) -> Memory:
        """All that is known besides the windows of bars."""
        owners = {
            name: Kept(dict(own.said), dict(own.due), Raw(msgspec.json.encode(own.memory)))
            for name, own in self.owners.items()
        }
        return Memory(self.remembered, self.state, owners)

    def recall(self, memory: Memory) -> None:
        """Go on from what another desk knew before the first bar of its day."""
        self.remembered, self.state = memory.remembered, memory.state
        for name, own in self.owners.items():
            kept = memory.owners.get(name, Kept())
            own.said, own.due = dict(kept.said), dict(kept.due)
            if own.memory is not None:
                own.memory = msgspec.json.decode(kept.memory, type=type(own.memory))
        self._begin(memory.state.session)

    def _begin(self, session: Session | None) -> None:
        self.market.new_day(session)
        self._out_by, self._lost = {}, {}
        for name, strategy in self.strategies.items():
            strategy.begin(session)
            if session is not None and (out_by := strategy.out_by(session)) is not None:
                self._out_by[name] = out_by

    # --- a life begins -------------------------------------------------------------------------------------------------

    def _start(self, turn: DeskTurn, event: WorkerStarted) -> None:
        """Take up what the last life left: cooldowns, the record, the outbox, the position."""
        kept = self.remembered
        lived = lives.begin(turn, kept, event)
        self._roll(turn)
        if kept.position is not None:
            books.resume(turn, ASSUMED, kept.position)
        for owner, position in kept.assumed:
            books.resume(turn, owner, position)
        wants = {name: strategy.wants for name, strategy in self.strategies.items()}
        accounts.start(
            turn,
            kept,
            {want.prefix: name for name, want in wants.items() if want.prefix},
            {name: want.mode for name, want in wants.items() if want.mode is not None},
        )
        if turn.state.dealings.trades:
            books.watch_quotes(turn)
        delivery.say(turn, alerts.started(turn.config, lived, kept.position, turn.state.record, at=turn.at))

    def _roll(self, turn: DeskTurn) -> None:
        """Make the day anew when New York's date changes: calendar, windows, profile, counters."""
        day = new_york(turn.at).date()
        if day == turn.state.day:
            return
        self.calendar.reach(day)
        session = self.calendar.on(day)
        noted = tuple(note for note in self.remembered.notes if new_york(note.at).date() == day)
        turn.set(day=day, session=session, stalled_since=None, noted=noted, feed=FeedDay(since=turn.at))
        for name, account in turn.state.accounts.items():
            turn.change_account(name, today=trades_of(account.trades, day))
        self._begin(session)
        hours = "no session" if session is None else f"session {clock_text(session.open_at)}-{clock_text(session.close_at)}"
        turn.log("info", f"{day:%A %Y-%m-%d}: {hours} ET")

    # --- bars and sockets ----------------------------------------------------------------------------------------------

    def _take_bar(self, event: BarClosed) -> None:
        symbol = event.bar.symbol
        if symbol not in self.market.basket:
            return
        self.market.take_bar(event)
        if symbol in self._takers:
            self._take(event, symbol)
        state = self._sheet.state
        if state.stalled_since is not None or state.feed_refused:
            restored = self._guarded(DESK, event, feed.back, self.symbols, event.bar)
            if restored is not None:
                self._take(restored)

    def _take_history(self, turn: DeskTurn, event: BarsFetched) -> None:
        if event.strategy:
            self._take(event)
            return
        self.market.take_history(event)
        self._take(event, event.symbol)
        feed.take_history(turn, event)

    def _take_socket(self, turn: DeskTurn, event: FeedConnected | FeedDropped | FeedRefused) -> None:
        if event.feed == "stocks":
            self._take(event)
        match event:
            case FeedConnected():
                feed.connected(turn, self.symbols, event)
            case FeedDropped():
                feed.dropped(turn, event)
            case _:
                feed.refused(turn, event)

    # --- quotes of open positions --------------------------------------------------------------------------------------

    def _take_quote(self, turn: DeskTurn, event: QuoteSeen) -> None:
        """Mark whatever is held of this contract; its strategy hears of a quote that is trusted."""
        for held in sight.of_contract(turn, event.contract):
            if sight.take_quote(turn, self.market, held, event):
                self._hear_of([held.strategy], event)
        if turn.state.dealings.trades:
            self._hear_of(trades.take_quote(turn, event), event)

    def _hear_of(self, names: Sequence[str], event: AnyEvent) -> None:
        for name in names:
            if (strategy := self.strategies.get(name)) is not None:
                self._guarded(name, event, strategy.hear, event)

    def _take_broker(self, turn: DeskTurn, event: accounts.BrokerEvent) -> None:
        """Book what a broker told; then whose it is hears of it."""
        self._hear_of(accounts.take(turn, event), event)

    def _lead(self, turn: DeskTurn, event: CommandGiven) -> None:
        """What is asked of a strategy is written down, and led to it."""
        turn.log("warning", f"asked of {event.strategy}: {event.command}", who=event.who)
        body = {"who": event.who, "strategy": event.strategy, "mode": event.mode, "trade": event.trade_id or None}
        turn.write(Noted(turn.at, event.command, {**body, "signal": event.signal_id or None}))
        self._hear_of([event.strategy], event)

    def _settle(self, turn: DeskTurn, event: SettlementArrived) -> None:
        books.settle(turn, event)
        if event.close is not None:
            closing.settle(turn, event.trade_id, to_mills(event.close), provisional=False)

    def _take_refresh(self, turn: DeskTurn, event: QuotesArrived) -> None:
        """The last quotes of a shutdown."""
        if turn.state.stopping is None:
            return
        for row in event.rows:
            if row.quote is not None:
                last = QuoteSeen(
                    at=turn.at, contract=row.contract, quote=row.quote, source="rest", underlying=row.underlying
                )
                self._take_quote(turn, last)

    def _close(self, turn: DeskTurn, held: Held, leave: risk_manager.Leave) -> None:
        books.close(turn, held, leave, self._scene(held.strategy, turn.at))

    def _scene(self, name: str, at: float) -> Scene:
        """Where a strategy sees the underlying; nothing of one that cannot say."""
        strategy = self.strategies.get(name)
        try:
            return Scene() if strategy is None else strategy.scene(at)
        except Exception as raised:
            self._count(name, HalfSecondPassed(at=at), raised)
            return Scene()

    # --- the way out: phone, disk, clock, threads ----------------------------------------------------------------------

    def _committed(self, turn: DeskTurn, event: Committed) -> None:
        pending = turn.state.pending.get(event.commit)
        if pending is not None and (pending.refs or event.refused):
            lost = [part for part in pending.parts if part.owner in event.refused]
            for ref in orders.committed(turn, pending.refs, lost):
                accounts.unrecorded(turn, ref)
        for owner, why in event.refused.items():
            self._bar(turn, owner, f"the ledger refuses what it writes: {why}")
        for trade_id, reason in delivery.committed(turn, event):
            books.void(turn, trade_id, reason)

    def _commit_failed(self, turn: DeskTurn, event: CommitFailed) -> None:
        pending = turn.state.pending.get(event.commit)
        for ref in orders.commit_failed(turn, () if pending is None else pending.refs):
            accounts.unrecorded(turn, ref)
        if turn.state.way_out.disk is None:
            turn.due[way_out.DISK] = turn.at + way_out.DISK_PATIENCE_S
        for trade_id, why in delivery.commit_failed(turn, event):
            books.void(turn, trade_id, why)

    # --- time ----------------------------------------------------------------------------------------------------------

    def _tick(self, turn: DeskTurn, event: HalfSecondPassed) -> None:
        """The desk's part of time, before the strategies hear of it."""
        moved_s = event.moved_s or min(turn.at - turn.state.at, 0.0)
        moved = abs(moved_s) > way_out.MAX_SKEW_S
        if moved:
            self._put_right(turn, moved_s)
        turn.set(at=turn.at)
        self._roll(turn)
        if moved:
            self._take(FeedConnected(at=turn.at, feed="stocks"))
            feed.ask_history(turn, *self.symbols)
        if (stalled := feed.watch(turn, self.market)) is not None:
            self._take(stalled)
        feed.watch_delay(turn, self.market)
        books.tick(turn)
        accounts.tick(turn)

    def _put_right(self, turn: DeskTurn, moved_s: float) -> None:
        """The clock has stepped: no remembered moment of anybody lies ahead."""
        moments.put_right(turn, self.market, moved_s)
        accounts.put_right(turn)
        for strategy in self.strategies.values():
            own = self._turn(strategy.name)
            own.due.clear()
            self._guarded(strategy.name, HalfSecondPassed(at=turn.at), strategy.hear, PutRight())

    def _after_tick(self, turn: DeskTurn) -> None:
        """And after: what was left open too long, sight, what is owed, the day's messages, the end."""
        self._close_overdue(turn)
        sight.watch(turn, self.market)
        way_out.trust_clock_by_bars(turn, self.market)
        way_out.watch_disk(turn)
        feed.ask_history_again(turn, self.symbols)
        for trade_id, why in delivery.tick(turn):
            books.void(turn, trade_id, why)
        if turn.at - turn.state.phone_asked_at >= outbox.check_every_s(turn.state.line, turn.at, turn.config):
            turn.set(phone_asked_at=turn.at)
            turn.do(CheckPhone())
        if daily.is_morning(turn) and self._first_today(turn, "morning"):
            daily.say_go(turn, self.market, self.statuses(turn.at))
        if daily.is_evening(turn) and self._first_today(turn, "summary"):
            daily.say_summary(turn, self.statuses(turn.at))
        if turn.state.way_out.starts is not None and turn.at - turn.state.started_at >= lives.STEADY_S:
            turn.set(way_out=replace(turn.state.way_out, starts=None))
            turn.write(FactSet("crashes", 0.0))
        self._stop_in_order(turn)

    def _close_overdue(self, turn: DeskTurn) -> None:
        """A position that its strategy should have left is closed without it."""
        for held in turn.state.open():
            out_by = self._out_by.get(held.strategy)
            if out_by is not None and turn.at >= max(out_by + OUT_BY_GRACE_S, held.wait_until):
                self._close(
                    turn, held, risk_manager.Leave("time stop", f"Time stop {risk_manager.hhmm(out_by)} ET, by the desk")
                )

        for trade in tuple(turn.state.dealings.trades.values()):
            if trade.out_by is not None and turn.at >= trade.out_by + OUT_BY_GRACE_S:
                closing.close(turn, trade.id, f"out by {risk_manager.hhmm(trade.out_by)} ET")

    def statuses(self, at: float) -> list[Status]:
        """What each strategy has to say of itself now; one that cannot says that."""
        said = []
        for name, strategy in self.strategies.items():
            turn = Turn(self.config, Sheet(self._sheet.state, {}), at, name, self.owners[name])
            try:
                said.append(strategy.status(turn))
            except Exception as raised:
                said.append(Status(name, refusal=f"it cannot say: {type(raised).__name__}"))
        return said

    def _first_today(self, turn: DeskTurn, topic: str) -> bool:
        """True once a day for this topic, across restarts."""
        today = str(turn.state.day)
        if turn.state.told_on.get(topic) == today:
            return False
        turn.set(told_on={**turn.state.told_on, topic: today})
        turn.write(FactSet(topic, today))
        return True

    # --- people and the end --------------------------------------------------------------------------------------------

    def _obey(self, turn: DeskTurn, event: OperatorSpoke) -> None:
        """A person's word; every one is written to the ledger."""
        turn.log("warning", f"manual: {event.command.replace('_', ' ')}", who=event.who)
        if event.command in ("took_it", "sold_it", "skipped_it"):
            books.take_word(turn, event)
            return
        turn.write(Noted(turn.at, event.command, {"who": event.who, "price": event.price}))
        match event.command:
            case "stop_entries" | "resume_entries":
                stopped = event.command == "stop_entries"
                turn.set(entries_stopped=stopped, barred=turn.state.barred if stopped else {})
                turn.write(FactSet("entries_stopped", "yes" if stopped else "no"))
            case "close_now":
                for held in turn.state.open():
                    if event.trade_id in (None, held.position.id):
                        self._close(turn, held, risk_manager.Leave("by hand", "Closed manually"))
                for trade_id in tuple(turn.state.dealings.trades):
                    if event.trade_id in (None, trade_id):
                        closing.close(turn, trade_id, f"by hand ({event.who})")
            case "resolve":
                closing.resolve(turn, event.trade_id or "", event.price, event.who, event.why)

    def _stop_in_order(self, turn: DeskTurn) -> None:
        """Close with a last quote, wait for the SELL to be told, then end; the outbox has the rest."""
        stopping = turn.state.stopping
        if stopping is None or turn.state.ended:
            return
        if turn.config.on_shutdown == "close":
            if any(held.wait_until and turn.at < held.wait_until for held in turn.state.open()):
                return
            for held in turn.state.open():
                self._close(turn, held, risk_manager.Leave("shutdown", "Shutdown"))
        if not stopping.told:
            turn.set(stopping=replace(stopping, told=True))
            delivery.say(turn, alerts.ended(turn.config, turn.state.record, stopping.reason, at=turn.at))
        if orders.in_flight(turn.state) and turn.at < stopping.since + LAST_ORDERS_S:
            return
        begun_at = max(stopping.since, *(account.last_exit_at or 0.0 for account in turn.state.accounts.values()))
        patience = LAST_WORDS_S if delivery.owes(turn.state, "SELL") else GOODBYE_S
        if not delivery.owes(turn.state) or turn.at >= begun_at + patience:
            turn.set(ended=stopping.reason)
            turn.write(FactSet("running_since", None))
            turn.write(FactSet("crashes", 0.0))
            turn.do(Exit(0))
