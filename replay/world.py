"""A session from a file of second bars, as the desk would live through it: the world answers what the desk asks.

Bars come `delay_s` after their end, those of the leader first; the desk has been up since before the open. The disk writes, the phone
takes every message and its owner sees it at once. Refreshed and held quotes come `ANSWER_S` after they were asked for.

What no decision reads is not acted out: the chain is shown at the last of its polls before a second that could be a signal (a
loose, independent reckoning says which could), and time is an event every five minutes, at the time stop and at the close. A name
of the basket is heard before each such event: a quiet second is no stall. `eager` acts out everything, and decides the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import floor, inf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import risk_manager
from config import Config
from desk.desk import Desk
from events import (
    AlertDelivered,
    AnyAction,
    AnyEvent,
    Bar,
    BarClosed,
    ChainArrived,
    ChainRow,
    CheckPhone,
    ClockChecked,
    Commit,
    Committed,
    Deliver,
    FeedConnected,
    FetchProfile,
    HalfSecondPassed,
    Noted,
    PhoneChecked,
    PositionClosed,
    ProfileArrived,
    ProfileFailed,
    Quote,
    QuotesArrived,
    QuoteSeen,
    ReceiptSeen,
    RefreshQuotes,
    Remembered,
    Trade,
    Watch,
    WorkerStarted,
)
from replay.bars import BarArrays, Floats, Ints, opening_price, true_bars
from strategies.registry import build
from utils import Session, SessionCalendar

ANSWER_S = 0.2
CHAIN_AHEAD_S = 600.0
QUIET_TICK_S = 300.0
BEFORE_OPEN_S = 60.0
HEARD_AGAIN_S = 2.0
LOOSE = 1e-6
SAMPLE_S = 1200


class Options(Protocol):
    """Where option quotes come from: their kind, "modelled" or "recorded", and what of them is modelled or assumed, in words."""

    @property
    def kind(self) -> str: ...
    @property
    def assumed(self) -> list[str]: ...

    def rows(self, at: float, contracts: tuple[str, ...] | None = None) -> tuple[ChainRow, ...]: ...

    def quote(self, contract: str, at: float) -> Quote | None: ...


class Modelled:
    """Quotes of `replay.options`, at the price that the bars say had been reached."""

    kind = "modelled"

    def __init__(self, seed: int, session: Session, bars: BarArrays, underlying: str) -> None:
        from replay import kernel, options

        self._of = options
        self.assumed = [options.MODELLED]
        self.session, self.underlying = session, underlying
        inside = true_bars(bars, session)
        self.chain = options.chain_of(seed, session, opening_price(inside))
        stream = kernel.Stream(inside.start.astype(np.float64), inside.start, inside.close, inside.volume, inside.vwap)
        self.prices = kernel.last_prices(stream, session.open_at, session.close_at - session.open_at)
        self._spots: list[float] = self.prices.tolist()

    def spot(self, at: float) -> float:
        return self._spots[min(max(floor(at) - 1 - self.session.open_at, 0), len(self._spots) - 1)]

    def rows(self, at: float, contracts: tuple[str, ...] | None = None) -> tuple[ChainRow, ...]:
        chain = self.chain
        if contracts is not None:
            chain = chain._replace(strikes=np.array([int(contract[-8:]) for contract in contracts], np.int64))
        return self._of.rows_of(chain, self.session, self.underlying, at, self.spot(at))

    def quote(self, contract: str, at: float) -> Quote | None:
        return self._of.quote_of(self.chain, at, self.spot(at), int(contract[-8:]))


@dataclass(slots=True)
class Sat:
    """What a session came to."""

    trades: list[Trade] = field(default_factory=list)
    noted: list[Noted] = field(default_factory=list)
    batches: int = 0
    events: int = 0

    @property
    def signals(self) -> list[float]:
        return [note.at for note in self.noted if note.kind == "signal"]


Arrival = tuple[float, bool, Bar]
Onlooker = Callable[[Desk, list[AnyEvent], list[AnyAction]], None]


class World:
    """One session around one desk. `arrivals` are (time, of the traded symbol?, bar) in order; `watch` sees every turn."""

    def __init__(
        self,
        config: Config,
        calendar: SessionCalendar,
        session: Session,
        arrivals: list[Arrival],
        options: Options,
        profile: tuple[float, ...] | None,
        *,
        premarket: bool,
        polls: Floats | None = None,
        watch: Onlooker | None = None,
        remembered: Remembered | None = None,
    ) -> None:
        self.config, self.session, self.arrivals, self.options = config, session, arrivals, options
        self.profile, self.premarket, self.watch = profile, premarket, watch
        self.desk = build(config, calendar, remembered or Remembered())
        self.sat = Sat()
        self.eager = polls is None
        self.polls: list[float] = [] if polls is None else polls.tolist()
        self.heartbeat = next(
            (name for name in config.heartbeat_symbols if name not in (config.symbol, config.leader)), None
        )
        self.heard_at = -inf
        inside = (bar.start for _, own, bar in arrivals if own and session.open_at <= bar.start < session.close_at)
        self.begins_at = -inf if premarket else float(next(inside, -inf))
        self._answer: tuple[float, RefreshQuotes] | None = None
        self._watched: tuple[str, float] | None = None
        self._poll = 0

    # --- a session -----------------------------------------------------------------------------------------------------

    def play(self) -> Sat:
        """From before the open to after the close."""
        session = self.session
        self._begin(session.open_at - BEFORE_OPEN_S)
        ticks = self._ticks()
        tick_at = next(ticks)
        polls = self._polls()
        poll_at = next(polls)
        waiting: list[AnyEvent] = []
        decide, sat, watch = self.desk.decide, self.sat, self.watch
        last = (inf, False, None)
        stream = iter(self.arrivals)
        at, own, bar = next(stream, last)
        while True:
            if at <= tick_at and at < poll_at and self._answer is None and self._watched is None and bar is not None:
                # nothing else is due before the next bar: the plain way
                waiting.append(BarClosed(at=at, bar=bar))
                came, is_own = at, own
                at, own, bar = next(stream, last)
                if is_own and at != came:
                    self.heard_at = came
                    sat.batches += 1
                    sat.events += len(waiting)
                    actions = decide(waiting)
                    if actions or watch is not None:
                        self._after(waiting, actions)
                    waiting = []
                continue
            next_answer = inf if self._answer is None else self._answer[0]
            next_quote = inf if self._watched is None else self._watched[1] + self._poll * self.config.exit_poll_seconds
            due = min(at, poll_at, next_answer, next_quote, tick_at)
            if due == inf:
                return self.sat
            if poll_at == due:
                waiting = self._flush(waiting)
                self._decide([self._chain(poll_at)])
                poll_at = next(polls)
            elif at == due and bar is not None:
                waiting.append(BarClosed(at=at, bar=bar))
                is_own = own
                at, own, bar = next(stream, last)
                if is_own and at != due:
                    self.heard_at = due
                    waiting = self._flush(waiting)
            elif next_answer == due:
                waiting = self._flush([*waiting, self._refreshed(due)])
            elif next_quote == due:
                waiting = self._flush([*waiting, *self._quoted(due)])
            else:
                waiting = self._flush([*waiting, *self._heartbeat(due), *self._in_sight(due), HalfSecondPassed(at=due)])
                tick_at = next(ticks)

    def _flush(self, waiting: list[AnyEvent]) -> list[AnyEvent]:
        if waiting:
            self._decide(waiting)
        return []

    def _begin(self, at: float) -> None:
        self._decide([WorkerStarted(at=at, version="replay", mode="replay")])
        self._decide([FeedConnected(at=at, feed="stocks")])
        self._decide([ClockChecked(at=at, skew_s=0.0, source="the file")])
        self._decide([PhoneChecked(at=at, ok=True, reason="a replay's")])
        self._decide([HalfSecondPassed(at=at)])
        if self.premarket:
            bar = Bar(self.config.symbol, self.session.open_at - 1, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0)
            self._decide([BarClosed(at=float(self.session.open_at), bar=bar)])

    def _ticks(self) -> Iterator[float]:
        """Times at which time itself is an event."""
        session = self.session
        if self.eager:
            times = np.arange(session.open_at, session.close_at, 0.5).tolist()
        else:
            times = np.arange(session.open_at, session.close_at, QUIET_TICK_S).tolist()
        stop_at = risk_manager.time_stop(self.config, session)
        begin = () if self.begins_at < session.open_at else (self.begins_at,)
        yield from sorted(
            {*times, *begin, stop_at, float(session.close_at), session.close_at + 60.0, session.close_at + 61.0}
        )
        yield inf

    def _polls(self) -> Iterator[float]:
        if self.eager:
            first = self.session.open_at - CHAIN_AHEAD_S
            count = int((self.session.close_at - first) / self.config.chain_poll_seconds) + 1
            for k in range(count):
                if first + k * self.config.chain_poll_seconds >= self.session.open_at - BEFORE_OPEN_S:
                    yield first + k * self.config.chain_poll_seconds
        else:
            yield from self.polls
        yield inf

    def _in_sight(self, at: float) -> list[AnyEvent]:
        """Bars that begin after the open are known from the first of them on; what was before it was not quiet but unseen."""
        return [FeedConnected(at=at, feed="stocks")] if at == self.begins_at else []

    def _heartbeat(self, at: float) -> list[AnyEvent]:
        if self.heartbeat is None or at - self.heard_at < HEARD_AGAIN_S or not self.desk.state.session:
            return []
        self.heard_at = at
        return [BarClosed(at=at, bar=Bar(self.heartbeat, int(at) - 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0))]

    # --- the desk and its questions ------------------------------------------------------------------------------------

    def _decide(self, events: list[AnyEvent]) -> None:
        """Decide, and answer at once what needs no time."""
        self.sat.batches += 1
        self.sat.events += len(events)
        self._after(events, self.desk.decide(events))

    def _after(self, events: list[AnyEvent], actions: list[AnyAction]) -> None:
        if self.watch is not None:
            self.watch(self.desk, events, actions)
        if actions and (answers := self._answers(actions, events[-1].at)):
            self._decide(answers)

    def _answers(self, actions: list[AnyAction], at: float) -> list[AnyEvent]:
        answers: list[AnyEvent] = []
        for action in actions:
            match action:
                case Commit():
                    self._keep(action)
                    answers.append(Committed(at=at, commit=action.commit))
                case Deliver():
                    receipt = "seen" if action.priority == 2 else None
                    answers.append(
                        AlertDelivered(
                            at=at,
                            alert_id=action.alert_id,
                            attempt=action.attempt,
                            channel=action.channel,
                            receipt=receipt,
                        )
                    )
                    if receipt:
                        answers.append(
                            ReceiptSeen(
                                at=at, alert_id=action.alert_id, receipt="seen", acknowledged_at=at, acknowledged_by=""
                            )
                        )
                case CheckPhone():
                    answers.append(PhoneChecked(at=at, ok=True, reason="a replay's"))
                case FetchProfile(date=day):
                    answers.append(self._profile(at, day))
                case RefreshQuotes():
                    self._answer = (at + ANSWER_S, action)
                case Watch(contracts=(contract,)):
                    self._watched, self._poll = (contract, at + ANSWER_S), 0
                case Watch():
                    self._watched = None
        return answers

    def _keep(self, commit: Commit) -> None:
        for write in commit.writes:
            match write:
                case PositionClosed(trade):
                    self.sat.trades.append(trade)
                case Noted():
                    self.sat.noted.append(write)

    def _profile(self, at: float, day: str) -> AnyEvent:
        if self.profile is None:
            return ProfileFailed(at=at, symbol="IWM", date=day, reason="none was given (--profile FILE)")
        return ProfileArrived(at=at, symbol="IWM", date=day, minutes=self.profile, sessions=("given",))

    # --- the options market --------------------------------------------------------------------------------------------

    def _chain(self, at: float) -> AnyEvent:
        day = self.session.date.isoformat()
        return ChainArrived(at=at, underlying="IWM", asked_at=at, right="call", expiration=day, rows=self.options.rows(at))

    def _refreshed(self, at: float) -> AnyEvent:
        assert self._answer is not None
        asked, self._answer = self._answer[1], None
        return QuotesArrived(at=at, ticket=asked.ticket, rows=self.options.rows(at, asked.contracts))

    def _quoted(self, at: float) -> list[AnyEvent]:
        assert self._watched is not None
        contract = self._watched[0]
        self._poll += 1
        quote = self.options.quote(contract, at)
        return [] if quote is None else [QuoteSeen(at=at, contract=contract, quote=quote, source="rest")]


# --- what could be a signal --------------------------------------------------------------------------------------------


def useful_polls(
    config: Config, session: Session, bars: BarArrays, delay_s: float, profile: tuple[float, ...] | None
) -> Floats:
    """The chain's polls that a signal might read: each the last before a second that is not certainly none.

    Loose on purpose, and by other arithmetic than the desk's: conditions 1, 3, 5 and 6 by prefix sums, 4 by counting, each with
    a tolerance far wider than theirs. Bars must be in order and final; only the true ones are reckoned on.
    """
    inside = true_bars(bars, session)
    index = inside.start - session.open_at
    seconds = session.close_at - session.open_at
    base = float(inside.close[0])
    volume = dense(index, inside.volume, seconds)
    paid = dense(index, inside.volume * (inside.vwap - base), seconds)
    total = over(volume, index, 60)
    vwap = base + over(paid, index, 60) / np.maximum(total, LOOSE)
    fell = np.concatenate(([True], vwap[1:] < vwap[:-1] - LOOSE))
    run = index[np.maximum.accumulate(np.where(fell, np.arange(len(index)), 0))]
    maybe = (inside.close > vwap - LOOSE) & (index - run >= 29) & (index >= 299) & rises(index, inside.close - base, seconds)
    if config.relative_volume_filter:
        if profile is None:
            return np.empty(0)
        per_second = np.repeat(np.array(profile) / 60, 60)[:seconds]
        maybe &= total > (float(config.relative_volume_min) - LOOSE) * over(per_second, index, 60)
    found = np.flatnonzero(maybe)
    windows = np.lib.stride_tricks.sliding_window_view(volume, 299)[index[found] - 299]
    louder = (windows >= inside.volume[found, None]).sum(axis=1)
    at = inside.start[found[louder <= 0.05 * SAMPLE_S + 2]] + (1.0 + delay_s)
    ahead = session.open_at - CHAIN_AHEAD_S
    poll_s = config.chain_poll_seconds
    return np.unique(ahead + np.floor((at - ahead) / poll_s) * poll_s)


def dense(index: Ints, column: Floats, seconds: int) -> Floats:
    """A column with a place for every second, zero where there is no bar."""
    every = np.zeros(seconds)
    every[index] = column
    return every


def over(every: Floats, index: Ints, window_s: int) -> Floats:
    """The sum over the `window_s` seconds that end with each of `index`."""
    sums = np.concatenate(([0.0], np.cumsum(every)))
    found: Floats = sums[index + 1] - sums[np.maximum(index + 1 - window_s, 0)]
    return found


def rises(index: Ints, price: Floats, seconds: int) -> NDArray[np.bool_]:
    """Whether the least-squares slope over 30 s is not certainly below zero: n·Σty - Σt·Σy, with t from the window's end."""
    t = np.arange(seconds) * 1.0
    there = dense(index, np.ones(len(index)), seconds)
    n, y, ty = (
        over(there, index, 30),
        over(dense(index, price, seconds), index, 30),
        over(t * dense(index, price, seconds), index, 30),
    )
    t_sum = over(t * there, index, 30)
    found: NDArray[np.bool_] = n * ty - t_sum * y > -1e-3
    return found


def in_order(bars: BarArrays, leader: BarArrays, config: Config, session: Session, delay_s: float) -> list[Arrival]:
    """The bars of the session as they come: `delay_s` after their end, the leader's first."""
    own, other = bars.between(session.open_at, session.close_at), leader.between(session.open_at, session.close_at)
    times = [(part.start + (1.0 + delay_s)) for part in (other, own)]
    order = np.argsort(np.concatenate(times), kind="stable").tolist()
    came = np.concatenate(times).tolist()
    said = [*other.bars(config.leader), *own.bars(config.symbol)]
    leads = len(other)
    return [(came[k], k >= leads, said[k]) for k in order]
