"""The decision: events in, actions out. It reads no clock, socket or file.

`Desk.decide(events)` takes in all that waited together, decides once on the newest second, and returns what is to be done. What
must be remembered is in the turn's one `Commit`, and nothing is said to the phone before its commit is confirmed, but for a SELL
that the disk keeps waiting. If `decide` raises, the old state stands.

`state` is frozen and replaced whole, so any thread may read it. Only the market's windows of bars change in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

import alerts
import contract_selector
import pnl_tracker
import risk_manager
from desk import daily, delivery, feed, holding, moments, outbox
from desk.state import Chain, FeedDay, Flat, Halted, Holding, Memory, Seeking, State, Stopping, Turn, trades_of
from events import (
    AlertDelivered,
    AlertFailed,
    AnyAction,
    AnyEvent,
    BackfillFailed,
    BarClosed,
    BarsFetched,
    ChainArrived,
    ChainFailed,
    CheckPhone,
    ClockChecked,
    CommitFailed,
    Committed,
    Exit,
    FactSet,
    FeedConnected,
    FeedDropped,
    FeedRefused,
    FetchProfile,
    HalfSecondPassed,
    JunkDropped,
    Noted,
    OperatorSpoke,
    PhoneChecked,
    ProfileArrived,
    ProfileFailed,
    QuoteFailed,
    QuotesArrived,
    QuoteSeen,
    ReceiptSeen,
    RefreshQuotes,
    Remembered,
    SettlementArrived,
    StopRequested,
    ThreadFailed,
    WorkerStarted,
)
from strategies.vwap.windows import Market, numbers
from utils import clock_text, new_york

if TYPE_CHECKING:
    from config import Config
    from utils import SessionCalendar

RETRY_S = 60.0
REFRESH_GRACE_S = 0.5
LAST_QUOTE_S = 2.0
LAST_WORDS_S = 10.0
GOODBYE_S = 5.0
PROGRESS_S = 60.0
CUTOFF_REMINDER_S = 300.0
APART_PATIENCE_S = 10.0
MAX_SKEW_S = 2.0
PROFILE_AHEAD_S = 3600.0
CRASHES_MAX = 3
ONCE_A_DAY = ("morning", "summary")
STEADY_S = 600.0
DISK, DISK_PATIENCE_S = "disk", 60.0
TAKEN_IN_FIRST: frozenset[type] = frozenset({WorkerStarted, BarClosed, BarsFetched, FeedConnected, FeedDropped})


class Desk:
    """One desk, one position. `calendar` gives the sessions; `remembered` is what the ledger kept of the last life."""

    def __init__(self, config: Config, calendar: SessionCalendar, remembered: Remembered) -> None:
        self.config = config
        self.calendar = calendar
        self.remembered = remembered
        self.state = State()
        self.market = Market(config)
        self._said: dict[str, str] = {}
        self._due: dict[str, float] = {}
        self._handlers: dict[type, Callable[[Turn, Any], None]] = {
            WorkerStarted: self._start,
            BarClosed: self._take_bar,
            BarsFetched: self._with_market(feed.take_history),
            BackfillFailed: feed.miss_history,
            ProfileArrived: self._take_profile,
            ProfileFailed: self._miss_profile,
            ChainArrived: self._take_chain,
            ChainFailed: self._miss_chain,
            QuotesArrived: self._take_refresh,
            QuoteSeen: self._with_market(holding.take_quote),
            QuoteFailed: self._miss_quote,
            FeedConnected: self._with_market(feed.connected),
            FeedDropped: self._with_market(feed.dropped),
            FeedRefused: self._with_market(feed.refused),
            JunkDropped: feed.junk_dropped,
            Committed: delivery.committed,
            CommitFailed: self._commit_failed,
            AlertDelivered: delivery.settled,
            AlertFailed: holding.attempt_failed,
            ReceiptSeen: delivery.receipt_seen,
            PhoneChecked: delivery.phone_checked,
            ClockChecked: self._clock_checked,
            SettlementArrived: self._with_market(holding.settle),
            HalfSecondPassed: self._tick,
            OperatorSpoke: self._obey,
            ThreadFailed: self._thread_failed,
            StopRequested: self._stop,
        }

    def decide(self, events: Sequence[AnyEvent]) -> list[AnyAction]:
        """What is to be done after these events, which waited together; now is the moment of the last.

        In order of arrival, but what tells of bars comes first: nothing is decided before all that wait are taken in.
        Raises whatever a handler raised, with the old state in place: the caller records the events and goes on.
        """
        market = self.market
        turn = Turn(self.config, self.state, events[-1].at, dict(self._said), dict(self._due))
        market.new_second = False
        handlers = self._handlers
        later: list[AnyEvent] = []
        for event in events:
            kind = type(event)
            if kind in TAKEN_IN_FIRST:
                handlers[kind](turn, event)
            else:
                later.append(event)
        for event in later:
            handlers[type(event)](turn, event)
        if market.new_second:
            self._judge_second(turn)
        actions = turn.seal()
        self.state, self._said, self._due = turn.state, turn.said, turn.due
        return actions

    def memory(self) -> Memory:
        """All that is known besides the windows of bars."""
        return Memory(self.remembered, self.state, dict(self._said), dict(self._due))

    def recall(self, memory: Memory) -> None:
        """Go on from what another desk knew before the first bar of its day."""
        self.remembered, self.state = memory.remembered, memory.state
        self._said, self._due = dict(memory.said), dict(memory.due)
        self.market.new_day(memory.state.session)

    def _with_market(self, handle: Callable[[Turn, Market, Any], None]) -> Callable[[Turn, Any], None]:
        return lambda turn, event: handle(turn, self.market, event)

    # --- a life begins -------------------------------------------------------------------------------------------------

    def _start(self, turn: Turn, event: WorkerStarted) -> None:
        """Take up what the last life left: cooldowns, the record, the outbox, the position."""
        kept, facts = self.remembered, self.remembered.facts
        last_seen_at = max(
            (at for key in ("running_since", "alive_at") if (at := number(facts.get(key))) is not None), default=None
        )
        crashes = crashes_of(facts)
        lived = replace(event, away_s=None if last_seen_at is None else max(turn.at - last_seen_at, 0.0), crashes=crashes)
        fault = f"{crashes} unclean ends in a row" if crashes >= CRASHES_MAX else None
        turn.write(FactSet("running_since", turn.at))
        turn.write(FactSet("crashes", float(crashes)))
        turn.set(
            at=turn.at,
            started_at=turn.at,
            last_exit_at=moments.past(turn.at, number(facts.get("last_exit_at"))),
            last_signal_at=moments.past(turn.at, number(facts.get("last_signal_at"))),
            entries_stopped=facts.get("entries_stopped") == "yes",
            told_on={topic: str(facts.get(topic)) for topic in ONCE_A_DAY},
            record=pnl_tracker.fold(kept.trades),
            trades=kept.trades,
            opened_on=kept.trades_opened_on,
            outbox={key: moments.of_row(row, turn.at) for key, row in delivery.taken_up(kept.outbox, turn.at).items()},
            line=replace(turn.state.line, ops_at=moments_of(facts.get("ops_at")) if crashes else ()),
            way_out=replace(turn.state.way_out, starts=fault),
        )
        self._roll(turn)
        if kept.position is not None:
            holding.resume(turn, kept.position)
        delivery.say(turn, alerts.started(turn.config, lived, kept.position, turn.state.record, at=turn.at))

    def _roll(self, turn: Turn) -> None:
        """Make the day anew when New York's date changes: calendar, windows, profile, counters."""
        day = new_york(turn.at).date()
        if day == turn.state.day:
            return
        self.calendar.reach(day)
        session = self.calendar.on(day)
        today = trades_of(turn.state.trades, day)
        noted = tuple(note for note in self.remembered.notes if new_york(note.at).date() == day)
        turn.set(
            day=day, session=session, chain=None, skew=None, trades_today=today, stalled_since=None,
            noted=noted, feed=FeedDay(since=turn.at),
        )  # fmt: skip
        self.market.new_day(session)
        hours = "no session" if session is None else f"session {clock_text(session.open_at)}-{clock_text(session.close_at)}"
        turn.log("info", f"{day:%A %Y-%m-%d}: {hours} ET")

    # --- bars ----------------------------------------------------------------------------------------------------------

    def _take_bar(self, turn: Turn, event: BarClosed) -> None:
        self.market.take_bar(event)
        if turn.state.stalled_since is not None or turn.state.feed_refused:
            feed.back(turn, self.market, event.bar)

    def _judge_second(self, turn: Turn) -> None:
        """The newest second is known: first the exits, then the signal."""
        holding.after_bars(turn, self.market)
        state = turn.state
        if state.last_signal_at is not None and turn.at - state.last_signal_at < turn.config.signal_cooldown_seconds:
            return
        if not self.market.signal():
            return
        why = self._data_refusal(turn)
        if why is not None:
            turn.log_change("signal", f"signal not taken: {why}")
            return
        turn.log_change("signal", "")
        self._signal(turn)

    def _signal(self, turn: Turn) -> None:
        """Conditions 1-7 and 9 hold, for the first time since the cooldown: count it, and enter if the desk may."""
        reading = self.market.reading()
        assert reading is not None
        turn.set(last_signal_at=turn.at)
        turn.write(FactSet("last_signal_at", turn.at))
        turn.log("info", alerts.signal_line(turn.config.symbol, reading))
        chain = turn.state.chain
        assert chain is not None
        why = self._desk_refusal(turn) or chain.selection.why() or None
        turn.write(Noted(turn.at, "signal", {**numbers(reading), "refused": why}))
        if why is not None:
            turn.log("info", f"no entry: {why}")
            return
        ticket = turn.state.ticket + 1
        turn.set(phase=Seeking(ticket, turn.at, reading), ticket=ticket)
        turn.do(RefreshQuotes(ticket, tuple(row.contract for row in chain.selection.tracked)))

    def _data_refusal(self, turn: Turn) -> str | None:
        """Condition 9: why the data are not good enough to decide on."""
        state = turn.state
        if state.stalled_since is not None:
            return "data feed stalled"
        if self.market.is_delayed:
            return "the feed is delayed: a real-time plan is needed"
        age = turn.at - self.market.newest_start() - 1
        if age < -MAX_SKEW_S:
            return f"newest bar is {-age:.0f}s ahead of the clock"
        if age > turn.config.signal_max_age_seconds:
            return f"newest bar is {age:.0f}s old"
        if state.chain is None:
            return "no chain of today's calls yet"
        if not risk_manager.is_fresh(turn.at - state.chain.received_at, risk_manager.CHAIN_MAX_AGE_S):
            return f"chain is {turn.at - state.chain.received_at:.0f}s old"
        return None

    def _desk_refusal(self, turn: Turn) -> str | None:
        """Condition 8, and whether the way out is proven."""
        state = turn.state
        if state.stopping is not None:
            return "stopping"
        if isinstance(state.phase, Seeking):
            return "a contract is being chosen"
        desk = risk_manager.Desk8(
            at=turn.at,
            session=state.session,
            cutoff_at=0.0 if state.session is None else risk_manager.entry_cutoff(turn.config, state.session),
            holding=not isinstance(state.phase, Flat),
            last_exit_at=state.last_exit_at,
            trades_today=len(state.trades_today),
            pnl_today=sum(trade.pnl or 0 for trade in state.trades_today),
            entries_stopped=state.entries_stopped,
        )
        return risk_manager.desk_refusal(turn.config, desk) or risk_manager.way_out_refusal(state.way_out)

    def refusal(self, at: float) -> str | None:
        """Why there is no entry at this moment, whatever the bars say: conditions 8 and 9, the way out, the signal's cooldown."""
        turn = Turn(self.config, self.state, at, {})
        why = self._desk_refusal(turn) or self._data_refusal(turn)
        last = self.state.last_signal_at
        left = 0.0 if last is None else self.config.signal_cooldown_seconds - (at - last)
        return why or (f"signal cooldown, {left:.0f}s left" if left > 0 else None)

    # --- the chain and the entry ---------------------------------------------------------------------------------------

    def _take_chain(self, turn: Turn, event: ChainArrived) -> None:
        state = turn.state
        if state.session is None or event.expiration != state.session.date.isoformat():
            return
        if event.right == "put":
            calls = () if state.chain is None else state.chain.rows
            spot = self.market.fresh_close(turn.at)
            sides = [contract_selector.with_greeks(rows, turn.at, state.session, spot) for rows in (calls, event.rows)]
            turn.set(skew=contract_selector.skew_25(*sides), skew_at=event.at)
            return
        if state.chain is not None and event.asked_at < state.chain.asked_at:
            return
        if not event.rows and state.chain is not None and state.chain.rows:
            self._miss_chain(turn, ChainFailed(at=event.at, right=event.right, reason="the answer is empty"))
            return
        selection = contract_selector.select(
            event.rows, turn.at, turn.config, state.session, self.market.fresh_close(turn.at)
        )
        turn.set(chain=Chain(event.at, event.asked_at, event.rows, selection, self._apart_since(turn, event)))
        names = ", ".join(row.contract for row in selection.tracked) or f"none, {selection.emptied_by}"
        turn.log_change("chain", f"tracked contracts: {names}")

    def _apart_since(self, turn: Turn, event: ChainArrived) -> float | None:
        """Since when the chain has gone by another price of the underlying than the stream; said when it has for ten seconds."""
        underlying = next((row.underlying for row in event.rows if row.underlying is not None), None)
        off = self.market.apart(turn.at, underlying)
        if off is None:
            return None
        before = None if turn.state.chain is None else turn.state.chain.apart_since
        since = turn.at if before is None else before
        if turn.at - since >= APART_PATIENCE_S and turn.every("chain apart", 3600.0):
            turn.log("warning", f"the chain goes by a price of {turn.config.symbol} that is {off:.1%} from the stream's")
            delivery.say(turn, alerts.chain_apart(turn.config, off, at=turn.at))
        return since

    def _miss_chain(self, turn: Turn, event: ChainFailed) -> None:
        turn.tally(chain_misses=1)
        age = None if turn.state.chain is None else round(turn.at - turn.state.chain.received_at)
        turn.log_change("chain", f"chain of {event.right}s could not be had: {event.reason}", "warning", last_good_age_s=age)
        if event.refused and event.right == "call":
            turn.set(chain=None)  # who is not let in could not price what is bought: the last good chain serves no more
        if event.refused and turn.every("chain refused", 3600.0):
            delivery.say(turn, alerts.feed_refused(turn.config, "option chain", event.reason, at=turn.at))

    def _take_refresh(self, turn: Turn, event: QuotesArrived) -> None:
        phase = turn.state.phase
        if isinstance(phase, Seeking) and event.ticket == phase.ticket:
            self._enter(turn, phase, {row.contract: row for row in event.rows}, event.reason)
        if isinstance(phase, Holding) and turn.state.stopping is not None:
            for row in event.rows:
                if row.quote is not None:
                    last = QuoteSeen(
                        at=turn.at, contract=row.contract, quote=row.quote, source="rest", underlying=row.underlying
                    )
                    holding.take_quote(turn, self.market, last)

    def _enter(self, turn: Turn, seeking: Seeking, fresh: dict[str, Any], reason: str | None) -> None:
        """The refreshed quotes are here, or will not come: check again, choose, and open or say why not."""
        turn.set(phase=Flat())
        state, market = turn.state, self.market
        if reason:
            turn.log("warning", f"quotes refreshed only in part: {reason}")
        why = self._data_refusal(turn) or self._desk_refusal(turn)
        if why is None and not market.above_vwap():
            why = f"{turn.config.symbol} fell back to its 1-minute VWAP"
        if why is None:
            assert state.chain is not None
            assert state.session is not None
            tracked = [fresh.get(row.contract, row) for row in state.chain.selection.tracked]
            rows = [row for row in tracked if market.apart(turn.at, row.underlying) is None]
            choice = contract_selector.choose(rows, turn.at, turn.config, state.session, market.fresh_close(turn.at))
            if choice.row is not None:
                holding.open_position(turn, market, choice.row, seeking.reading)
                return
            why = choice.why if rows else "no contract: the chain goes by another price of the underlying than the stream"
        turn.write(Noted(turn.at, "near miss", {"refused": why}))
        turn.log("info", f"no entry: {why}")

    # --- quotes of the held contract -----------------------------------------------------------------------------------

    def _miss_quote(self, turn: Turn, event: QuoteFailed) -> None:
        phase = turn.state.phase
        if isinstance(phase, Holding) and event.contract == phase.position.contract:
            turn.set(phase=replace(phase, distrust=event.reason))
            turn.log_change("quote", f"quote could not be had: {event.reason}", "warning")

    # --- the way out: phone, clock, threads ----------------------------------------------------------------------------

    def _commit_failed(self, turn: Turn, event: CommitFailed) -> None:
        if turn.state.way_out.disk is None:
            turn.due[DISK] = turn.at + DISK_PATIENCE_S
        delivery.commit_failed(turn, event, holding.void)

    def _watch_disk(self, turn: Turn) -> None:
        """A disk that refuses for a minute, or a viewer that holds the ledger for as long: no BUY, and the owner hears why."""
        reason = turn.state.way_out.disk
        if reason is not None and turn.every(DISK, 3600.0):
            delivery.say(turn, alerts.disk_trouble(turn.config, reason, at=turn.at))

    def _clock_checked(self, turn: Turn, event: ClockChecked) -> None:
        """The market's own time decides; where it cannot be had, the bars do."""
        if event.skew_s is None:
            turn.log_change("clock", "the market's time cannot be asked: the bars decide whether the clock is right")
            turn.set(clock_by_bars=True)
            return
        off = abs(event.skew_s) > MAX_SKEW_S
        fault = f"the host's clock is {event.skew_s:+.1f}s off {event.source}" if off else None
        turn.set(way_out=replace(turn.state.way_out, clock=fault), clock_by_bars=event.by_itself)
        turn.log_change("clock", fault or "the clock is right", "warning" if fault else "info", source=event.source)
        if off and turn.every("clock", 3600.0):
            delivery.say(turn, alerts.clock_off(turn.config, event.skew_s, event.source or "", at=turn.at))

    def _trust_clock_by_bars(self, turn: Turn) -> None:
        """Bars that arrive as old as bars are when they arrive say that the clock is right."""
        state = turn.state
        if state.way_out.clock is not None and state.clock_by_bars and self.market.is_in_time(turn.at):
            turn.set(way_out=replace(state.way_out, clock=None))
            turn.log_change("clock", "the clock is right, by the bars")

    def _thread_failed(self, turn: Turn, event: ThreadFailed) -> None:
        turn.log("error", f"thread {event.thread} replaced: {event.reason}")
        delivery.say(turn, alerts.thread_failed(turn.config, event.thread, event.reason, at=turn.at))

    # --- the profile ---------------------------------------------------------------------------------------------------

    def _take_profile(self, turn: Turn, event: ProfileArrived) -> None:
        if turn.state.day is not None and event.date == turn.state.day.isoformat():
            self.market.take_profile(event.minutes)
            turn.log("info", "volume profile ready", sessions=len(event.sessions))

    def _miss_profile(self, turn: Turn, event: ProfileFailed) -> None:
        turn.log_change("profile", f"no volume profile: {event.reason}", "warning")
        if turn.config.relative_volume_filter and turn.every(f"profile {event.date}", 86_400.0):
            delivery.say(turn, alerts.no_profile(turn.config, event.reason, at=turn.at))

    def _want_profile(self, turn: Turn) -> None:
        session = turn.state.session
        near = session is not None and session.open_at - PROFILE_AHEAD_S <= turn.at < session.close_at
        if near and session is not None and not self.market.has_profile() and turn.every("profile", RETRY_S):
            turn.do(FetchProfile(session.date.isoformat()))

    # --- time ----------------------------------------------------------------------------------------------------------

    def _tick(self, turn: Turn, event: HalfSecondPassed) -> None:
        moved_s = event.moved_s or min(turn.at - turn.state.at, 0.0)
        moved = abs(moved_s) > MAX_SKEW_S
        if moved:
            moments.put_right(turn, self.market, moved_s)
        turn.set(at=turn.at)
        self._roll(turn)
        if moved:
            feed.look_again(turn, self.market, turn.at)
        feed.watch(turn, self.market)
        feed.watch_delay(turn, self.market)
        holding.tick(turn, self.market)
        self._watch_seeking(turn)
        self._want_profile(turn)
        self._trust_clock_by_bars(turn)
        self._watch_disk(turn)
        feed.ask_history_again(turn)
        delivery.tick(turn, holding.void)
        if turn.at - turn.state.phone_asked_at >= outbox.check_every_s(turn.state.line, turn.at, turn.config):
            turn.set(phone_asked_at=turn.at)
            turn.do(CheckPhone())
        if turn.in_hours():
            self._progress(turn)
        if daily.is_morning(turn) and self._first_today(turn, "morning"):
            daily.say_go(turn, self.market)
        if daily.is_evening(turn) and self._first_today(turn, "summary"):
            daily.say_summary(turn, self.market)
        if turn.state.way_out.starts is not None and turn.at - turn.state.started_at >= STEADY_S:
            turn.set(way_out=replace(turn.state.way_out, starts=None))
            turn.write(FactSet("crashes", 0.0))
        self._stop_in_order(turn)

    def _watch_seeking(self, turn: Turn) -> None:
        phase = turn.state.phase
        if isinstance(phase, Seeking) and turn.at - phase.since >= turn.config.http_timeout_seconds + REFRESH_GRACE_S:
            self._enter(turn, phase, {}, "no answer in time")

    def _progress(self, turn: Turn) -> None:
        session = turn.state.session
        assert session is not None
        if turn.every("progress", PROGRESS_S):
            volume, state = self.market.session_volume(), feed.condition(turn, self.market)
            for line in alerts.progress_lines(turn.config.symbol, self.market.reading(), volume, state):
                turn.log("info", line)
        cutoff = risk_manager.entry_cutoff(turn.config, session)
        if turn.at >= cutoff and turn.every("cutoff", CUTOFF_REMINDER_S):
            turn.log("info", f"⏰ No entries allowed after {risk_manager.hhmm(cutoff)} ET")

    def _first_today(self, turn: Turn, topic: str) -> bool:
        """True once a day for this topic, across restarts."""
        today = str(turn.state.day)
        if turn.state.told_on.get(topic) == today:
            return False
        turn.set(told_on={**turn.state.told_on, topic: today})
        turn.write(FactSet(topic, today))
        return True

    # --- people and the end --------------------------------------------------------------------------------------------

    def _obey(self, turn: Turn, event: OperatorSpoke) -> None:
        """A person's word; every one is written to the ledger."""
        turn.log("warning", f"by hand: {event.command}", who=event.who)
        if event.command in ("took_it", "sold_it", "skipped_it"):
            holding.take_word(turn, event)
            return
        turn.write(Noted(turn.at, event.command, {"who": event.who, "price": event.price}))
        phase = turn.state.phase
        match event.command:
            case "stop_entries" | "resume_entries":
                stopped = event.command == "stop_entries"
                turn.set(entries_stopped=stopped)
                turn.write(FactSet("entries_stopped", "yes" if stopped else "no"))
            case "close_now":
                if isinstance(phase, Holding) and event.trade_id in (None, phase.position.id):
                    holding.close(turn, self.market, risk_manager.Leave("by hand", "Closed by hand"))

    def _stop(self, turn: Turn, event: StopRequested) -> None:
        if turn.state.stopping is not None:
            return
        turn.set(stopping=Stopping(turn.at, event.reason))
        turn.log("info", f"stopping: {event.reason}")
        phase = turn.state.phase
        if isinstance(phase, Seeking):
            turn.set(phase=Flat())
        if isinstance(phase, Holding):
            if turn.config.on_shutdown == "keep":
                if delivery.never_announced(turn.state, phase.position.id):
                    holding.void(turn, "the worker ended before its BUY could be delivered")
                else:
                    delivery.say(turn, alerts.going_down(turn.config, phase.position, at=turn.at))
            else:
                ticket = turn.state.ticket + 1
                turn.set(ticket=ticket, phase=replace(phase, wait_until=turn.at + LAST_QUOTE_S))
                turn.do(RefreshQuotes(ticket, (phase.position.contract,)))

    def _stop_in_order(self, turn: Turn) -> None:
        """Close with a last quote, wait for the SELL to be told, then end; the outbox has the rest."""
        stopping = turn.state.stopping
        if stopping is None or isinstance(turn.state.phase, Halted):
            return
        phase = turn.state.phase
        if isinstance(phase, Holding) and turn.config.on_shutdown == "close":
            if phase.wait_until and turn.at < phase.wait_until:
                return
            holding.close(turn, self.market, risk_manager.Leave("shutdown", "Shutdown"))
        if not stopping.told:
            turn.set(stopping=replace(stopping, told=True))
            delivery.say(turn, alerts.ended(turn.config, turn.state.record, stopping.reason, at=turn.at))
        begun_at = max(stopping.since, turn.state.last_exit_at or 0.0)
        patience = LAST_WORDS_S if delivery.owes(turn.state, "SELL") else GOODBYE_S
        if not delivery.owes(turn.state) or turn.at >= begun_at + patience:
            turn.set(phase=Halted(stopping.reason))
            turn.write(FactSet("running_since", None))
            turn.write(FactSet("crashes", 0.0))
            turn.do(Exit(0))


def crashes_of(facts: dict[str, float | str | None]) -> int:
    """Unclean ends in a row, the last life's included if it was one; a life of ten minutes ends the row."""
    since, last_seen = number(facts.get("running_since")), number(facts.get("alive_at"))
    if since is None:
        return 0
    steady = last_seen is not None and last_seen - since >= STEADY_S
    return 1 + (0 if steady else int(number(facts.get("crashes")) or 0))


def moments_of(fact: float | str | None) -> tuple[float, ...]:
    return tuple(map(float, str(fact or "").split()))


def number(fact: float | str | None) -> float | None:
    return float(fact) if isinstance(fact, int | float) else None
