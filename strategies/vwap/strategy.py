"""IWM-5-VWAP as a strategy: seven conditions on the newest second, one 0DTE call, the exits of its position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import alerts
import contract_selector
import risk_manager
from desk import books, delivery, feed
from desk.state import Held, Turn
from desk.strategy import ChainWanted, Check, MarketEvent, PutRight, Restored, Scene, Stalled, Status, Wants
from events import (
    AnyEvent,
    BarClosed,
    BarsFetched,
    ChainArrived,
    ChainFailed,
    ChainRow,
    FactSet,
    FeedConnected,
    FetchProfile,
    HalfSecondPassed,
    Noted,
    Position,
    ProfileArrived,
    ProfileFailed,
    QuotesArrived,
    QuoteSeen,
    RefreshQuotes,
    StopRequested,
    WorkerStarted,
)
from signals import Reading
from strategies.vwap import exits, words
from strategies.vwap.memory import Chain, Memory, Seeking
from strategies.vwap.windows import Underlying, numbers
from utils import Session, dollars

if TYPE_CHECKING:
    from config import Config

RETRY_S = 60.0
REFRESH_GRACE_S = 0.5
PROGRESS_S = 60.0
CUTOFF_REMINDER_S = 300.0
APART_PATIENCE_S = 10.0
MAX_SKEW_S = 2.0
PROFILE_AHEAD_S = 3600.0
PUTS_POLL_S = 60.0

Own = Turn[Memory]


class Vwap:
    """The strategy. What changes is in its windows (`iwm`), which it fills itself, and in its turn's memory."""

    name = "vwap"

    def __init__(self, config: Config) -> None:
        self.config = config
        chains = (
            ChainWanted(config.symbol, "call", config.chain_poll_seconds),
            ChainWanted(config.symbol, "put", PUTS_POLL_S),
        )
        self.wants = Wants((config.symbol, config.leader), (config.symbol,), chains)
        self.memory = Memory()
        self.iwm = Underlying(config)

    # --- bars ----------------------------------------------------------------------------------------------------------

    def begin(self, session: Session | None) -> None:
        self.iwm.new_day(session)

    def take(self, event: MarketEvent) -> None:
        iwm = self.iwm
        match event:
            case BarClosed():
                iwm.take_bar(event)
            case BarsFetched():
                iwm.take_history(event)
            case FeedConnected():
                iwm.lost_sight()
                iwm.in_sight(event.at)
            case Stalled():
                iwm.reset_below()
            case Restored():
                iwm.reset_below(event.start)
            case _:
                iwm.lost_sight()

    def judge(self, turn: Own) -> None:
        """The newest second is known: first the exits, then the signal."""
        newest = self.iwm.newest_live
        if newest <= turn.memory.judged:
            return
        turn.remember(judged=newest)
        if (held := self._held(turn)) is not None:
            self._leave(turn, exits.follow_run(turn, self.iwm, held))
        last = turn.memory.last_signal_at
        if last is not None and turn.at - last < turn.config.signal_cooldown_seconds:
            return
        if not self.iwm.signal():
            return
        why = self._data_refusal(turn)
        if why is not None:
            turn.log_change("signal", f"signal not taken: {why}")
            return
        turn.log_change("signal", "")
        self._signal(turn)

    # --- what it hears -------------------------------------------------------------------------------------------------

    def hear(self, turn: Own, event: AnyEvent | PutRight) -> None:
        match event:
            case QuoteSeen():
                held = self._held(turn)
                if held is not None and held.position.contract == event.contract:
                    self._leave(turn, held, event)
            case HalfSecondPassed():
                self._tick(turn)
            case ChainArrived() | ChainFailed() if event.underlying not in ("", self.config.symbol):
                return
            case ChainArrived():
                self._take_chain(turn, event)
            case ChainFailed():
                self._miss_chain(turn, event)
            case QuotesArrived():
                seeking = turn.memory.seeking
                if seeking is not None and event.ticket == seeking.ticket:
                    self._enter(turn, seeking, {row.contract: row for row in event.rows}, event.reason)
            case ProfileArrived() | ProfileFailed() if event.symbol not in ("", self.config.symbol):
                return
            case ProfileArrived():
                self._take_profile(turn, event)
            case ProfileFailed():
                self._miss_profile(turn, event)
            case WorkerStarted():
                last = turn.sheet.facts.get("last_signal_at")
                turn.remember(last_signal_at=None if last is None else min(float(last), turn.at))
            case StopRequested():
                turn.remember(seeking=None)
            case PutRight():
                last = turn.memory.last_signal_at
                turn.remember(
                    seeking=None, chain=None, skew=None, last_signal_at=None if last is None else min(last, turn.at)
                )
            case _:
                return

    def _held(self, turn: Own) -> Held | None:
        return next((held for held in turn.state.open() if held.strategy == self.name), None)

    def _leave(self, turn: Own, held: Held, event: QuoteSeen | None = None) -> None:
        leave = exits.leave(turn, self.iwm, held, None if event is None else event.quote)
        if leave is not None:
            books.close(turn, held, leave, self.scene(turn.at))

    def _tick(self, turn: Own) -> None:
        """What time alone does: the time stop, an answer that does not come, the profile, the log's minute."""
        if (held := self._held(turn)) is not None:
            self._leave(turn, held)
        seeking = turn.memory.seeking
        if seeking is not None and turn.at - seeking.since >= turn.config.http_timeout_seconds + REFRESH_GRACE_S:
            self._enter(turn, seeking, {}, "no answer in time")
        self._want_profile(turn)
        if turn.in_hours():
            self._progress(turn)

    # --- the signal ----------------------------------------------------------------------------------------------------

    def _signal(self, turn: Own) -> None:
        """Conditions 1-7 and 9 hold, for the first time since the cooldown: count it, and enter if the desk may."""
        reading = self.iwm.reading()
        assert reading is not None
        turn.remember(last_signal_at=turn.at)
        turn.write(FactSet("last_signal_at", turn.at))
        turn.log("info", words.signal_line(turn.config.symbol, reading))
        chain = turn.memory.chain
        assert chain is not None
        why = self._desk_refusal(turn) or chain.selection.why() or None
        turn.write(Noted(turn.at, "signal", {**numbers(reading), "refused": why}))
        if why is not None:
            turn.log("info", f"no entry: {why}")
            return
        ticket = turn.ticket()
        turn.remember(seeking=Seeking(ticket, turn.at, reading))
        turn.do(RefreshQuotes(ticket, tuple(row.contract for row in chain.selection.tracked)))

    def _data_refusal(self, turn: Own) -> str | None:
        """Condition 9: why the data are not good enough to decide on."""
        chain = turn.memory.chain
        if turn.state.stalled_since is not None:
            return "data feed stalled"
        if turn.state.delayed:
            return "the feed is delayed: a real-time plan is needed"
        age = turn.at - self.iwm.newest_start() - 1
        if age < -MAX_SKEW_S:
            return f"newest bar is {-age:.0f}s ahead of the clock"
        if age > turn.config.signal_max_age_seconds:
            return f"newest bar is {age:.0f}s old"
        if chain is None:
            return "no chain of today's calls yet"
        if not risk_manager.is_fresh(turn.at - chain.received_at, risk_manager.CHAIN_MAX_AGE_S):
            return f"chain is {turn.at - chain.received_at:.0f}s old"
        return None

    def _desk_refusal(self, turn: Own) -> str | None:
        """Condition 8, and whether the way out is proven."""
        state = turn.state
        if state.stopping is not None:
            return "stopping"
        if turn.memory.seeking is not None:
            return "a contract is being chosen"
        desk = risk_manager.Desk8(
            at=turn.at,
            session=state.session,
            cutoff_at=0.0 if state.session is None else risk_manager.entry_cutoff(turn.config, state.session),
            holding=any(held.strategy == self.name for held in state.held.values()),
            last_exit_at=state.last_exit_at,
            trades_today=len(state.trades_today),
            pnl_today=sum(trade.pnl or 0 for trade in state.trades_today),
            entries_stopped=state.entries_stopped,
        )
        barred = state.barred.get(self.name)
        return barred or risk_manager.desk_refusal(turn.config, desk) or risk_manager.way_out_refusal(state.way_out)

    # --- the chain and the entry ---------------------------------------------------------------------------------------

    def _take_chain(self, turn: Own, event: ChainArrived) -> None:
        state, before = turn.state, turn.memory.chain
        if state.session is None or event.expiration != state.session.date.isoformat():
            return
        if event.right == "put":
            self._take_puts(turn, () if before is None else before.rows, event.rows, event.at)
            return
        if before is not None and event.asked_at < before.asked_at:
            return
        if not event.rows and before is not None and before.rows:
            self._miss_chain(
                turn, ChainFailed(at=event.at, underlying=event.underlying, right=event.right, reason="the answer is empty")
            )
            return
        selection = contract_selector.select(event.rows, turn.at, turn.config, state.session, self.iwm.fresh_close(turn.at))
        turn.remember(chain=Chain(event.at, event.asked_at, event.rows, selection, self._apart_since(turn, event)))
        if turn.memory.puts:
            self._take_puts(turn, event.rows, turn.memory.puts, turn.memory.skew_at)
        names = ", ".join(row.contract for row in selection.tracked) or f"none, {selection.emptied_by}"
        turn.log_change("chain", f"tracked contracts: {names}")

    def _take_puts(self, turn: Own, calls: tuple[ChainRow, ...], puts: tuple[ChainRow, ...], at: float) -> None:
        """The skew of calls and puts; puts that come before the first calls wait for them."""
        session, spot = turn.state.session, self.iwm.fresh_close(turn.at)
        assert session is not None
        sides = [contract_selector.with_greeks(rows, turn.at, session, spot) for rows in (calls, puts)]
        turn.remember(skew=contract_selector.skew_25(*sides), skew_at=at, puts=() if calls else puts)

    def _apart_since(self, turn: Own, event: ChainArrived) -> float | None:
        """Since when the chain has gone by another price of the underlying than the stream; said when it has for ten seconds."""
        underlying = next((row.underlying for row in event.rows if row.underlying is not None), None)
        off = self._apart(turn, underlying)
        if off is None:
            return None
        chain = turn.memory.chain
        before = None if chain is None else chain.apart_since
        since = turn.at if before is None else before
        if turn.at - since >= APART_PATIENCE_S and turn.every("chain apart", 3600.0):
            turn.log("warning", f"the chain goes by a price of {turn.config.symbol} that is {off:.1%} from the stream's")
            delivery.say(turn, alerts.chain_apart(turn.config, off, at=turn.at))
        return since

    def _miss_chain(self, turn: Own, event: ChainFailed) -> None:
        turn.tally(chain_misses=1)
        chain = turn.memory.chain
        age = None if chain is None else round(turn.at - chain.received_at)
        turn.log_change("chain", f"chain of {event.right}s could not be had: {event.reason}", "warning", last_good_age_s=age)
        if event.refused and event.right == "call":
            turn.remember(chain=None)  # who is not let in could not price what is bought: the last good chain serves no more
        if event.refused and turn.every("chain refused", 3600.0):
            delivery.say(turn, alerts.feed_refused(turn.config, "option chain", event.reason, at=turn.at))

    def _enter(self, turn: Own, seeking: Seeking, fresh: dict[str, ChainRow], reason: str | None) -> None:
        """The refreshed quotes are here, or will not come: check again, choose, and open or say why not."""
        turn.remember(seeking=None)
        session, chain, iwm = turn.state.session, turn.memory.chain, self.iwm
        if reason:
            turn.log("warning", f"quotes refreshed only in part: {reason}")
        why = self._data_refusal(turn) or self._desk_refusal(turn)
        if why is None and not iwm.above_vwap():
            why = f"{turn.config.symbol} fell back to its 1-minute VWAP"
        if why is None:
            assert chain is not None
            assert session is not None
            tracked = [fresh.get(row.contract, row) for row in chain.selection.tracked]
            rows = [row for row in tracked if self._apart(turn, row.underlying) is None]
            choice = contract_selector.choose(rows, turn.at, turn.config, session, iwm.fresh_close(turn.at))
            if choice.row is not None:
                self._open(turn, choice.row, seeking.reading)
                return
            why = choice.why if rows else "no contract: the chain goes by another price of the underlying than the stream"
        turn.write(Noted(turn.at, "near miss", {"refused": why}))
        turn.log("info", f"no entry: {why}")

    def _apart(self, turn: Own, underlying: float | None) -> float | None:
        """How far a snapshot's price of IWM is from the stream's, as a fraction, where that is too far to trust it."""
        close = self.iwm.fresh_close(turn.at)
        if underlying is None or close is None:
            return None
        off = abs(underlying / close - 1)
        return off if off > contract_selector.SAME_UNDERLYING else None

    def _open(self, turn: Own, row: ChainRow, reading: Reading) -> None:
        """Book the assumed entry and queue its BUY, in this turn's one commit."""
        session, quote = turn.state.session, row.quote
        assert session is not None
        assert quote is not None
        middle = risk_manager.mid(quote)
        assert middle is not None
        position = Position(
            id=books.next_id(turn),
            contract=row.contract,
            strike=row.strike,
            expiration=row.expiration,
            opened_at=turn.at,
            entry=risk_manager.assumed_entry(turn.config, quote),
            entry_quote=quote,
            peak=middle,
            session_close_at=float(session.close_at),
            last_bid=quote.bid,
            signal=numbers(reading),
        )
        memory = turn.memory
        young = risk_manager.is_fresh(turn.at - memory.skew_at, risk_manager.CHAIN_MAX_AGE_S)
        skew = memory.skew if young else None
        time_stop_at = risk_manager.time_stop(turn.config, session)
        buy = alerts.buy(turn.config, position, row, reading, skew=skew, time_stop_at=time_stop_at)
        books.open_position(turn, position, buy)
        at, middle_text = dollars(position.entry), dollars(middle)
        turn.log("info", f"🔥 ENTRY: {row.contract} @ {at}", id=position.id, mid=middle_text, peak=middle_text)

    # --- the profile ---------------------------------------------------------------------------------------------------

    def _take_profile(self, turn: Own, event: ProfileArrived) -> None:
        if turn.state.day is not None and event.date == turn.state.day.isoformat():
            self.iwm.take_profile(event.minutes)
            turn.log("info", "volume profile ready", sessions=len(event.sessions))

    def _miss_profile(self, turn: Own, event: ProfileFailed) -> None:
        turn.log_change("profile", f"no volume profile: {event.reason}", "warning")
        if turn.config.relative_volume_filter and turn.every(f"profile {event.date}", 86_400.0):
            delivery.say(turn, alerts.no_profile(turn.config, event.reason, at=turn.at))

    def _want_profile(self, turn: Own) -> None:
        session = turn.state.session
        near = session is not None and session.open_at - PROFILE_AHEAD_S <= turn.at < session.close_at
        if near and session is not None and not self.iwm.has_profile() and turn.every("profile", RETRY_S):
            turn.do(FetchProfile(self.config.symbol, session.date.isoformat()))

    # --- the log, and what it says of itself ---------------------------------------------------------------------------

    def _progress(self, turn: Own) -> None:
        session = turn.state.session
        assert session is not None
        if turn.every("progress", PROGRESS_S):
            volume, state = self.iwm.session_volume(), feed.condition(turn)
            for line in words.progress_lines(turn.config.symbol, self.iwm.reading(), volume, state):
                turn.log("info", line)
        cutoff = risk_manager.entry_cutoff(turn.config, session)
        if turn.at >= cutoff and turn.every("cutoff", CUTOFF_REMINDER_S):
            turn.log("info", f"⏰ No entries allowed after {risk_manager.hhmm(cutoff)} ET")

    def out_by(self, session: Session) -> float:
        return risk_manager.time_stop(self.config, session)

    def scene(self, at: float) -> Scene:
        return Scene(*self.iwm.spot_and_vwap(at))

    def status(self, turn: Own) -> Status:
        reading = self.iwm.reading()
        return Status(
            self.name,
            refusal=self.refusal(turn),
            gates=() if reading is None else reading.gates,
            checks=tuple(self._checks(turn)),
            known=self.iwm.seconds_known(),
        )

    def refusal(self, turn: Own) -> str | None:
        """Why there is no entry at this moment, whatever the bars say: conditions 8 and 9, the way out, the signal's cooldown."""
        why = self._desk_refusal(turn) or self._data_refusal(turn)
        last = turn.memory.last_signal_at
        left = 0.0 if last is None else self.config.signal_cooldown_seconds - (turn.at - last)
        return why or (f"signal cooldown, {left:.0f}s left" if left > 0 else None)

    def _checks(self, turn: Own) -> Iterator[Check]:
        """What a BUY will need today: the chain, and the profile."""
        chain = turn.memory.chain
        if chain is None:
            yield Check("chain", "none could be had yet")
        elif not chain.rows:
            yield Check("expiry", "no calls expire today")
        else:
            quotes = [row.quote for row in chain.rows if row.quote is not None]
            delayed = bool(quotes) and all(quote.delayed for quote in quotes)
            fault = "quotes are delayed: a real-time plan is needed" if delayed else None
            yield Check("chain", fault, f"{len(chain.rows)} calls expire today")
        if self.config.relative_volume_filter:
            there = self.iwm.has_profile()
            yield Check("volume profile", None if there else "not there yet, it is tried again every minute", of="desk")
