"""A simulated stretch of a day: the real desk and the real ledger's books on a virtual clock, and a world that fails by its seed.

The world keeps the market (bars, chain, quotes of two calls), the phone, the disk and the process itself: bars are lost, late,
repeated, corrected; sockets drop; quotes are missing, delayed, without a bid; the chain is old; a commit is slow or refused; a message
is refused, lost, or accepted without an answer; the worker is killed and begins again with what its ledger holds. What must hold at
every instant is checked after every decision, the rest at the end; `hash` is that of everything the desk was given and answered.

    python -m tests.kit.simday 17          # repeats one seed, and prints its story
"""

from __future__ import annotations

import heapq
import itertools
import re
import sqlite3
import sys
from collections.abc import Callable
from datetime import date, time
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace

import risk_manager
from config import Config
from desk.desk import Desk
from disk import audit as ledger_audit
from disk import book as ledger_book
from disk import schema as ledger_schema
from disk.folder import DiskTrouble
from edges.scribe import Scribe
from events import (
    AlertDelivered,
    AlertFailed,
    AnyAction,
    AnyEvent,
    Backfill,
    BackfillFailed,
    Bar,
    BarClosed,
    BarsFetched,
    ChainArrived,
    ChainFailed,
    ChainRow,
    CheckPhone,
    ClockChecked,
    Commit,
    Deliver,
    Exit,
    Explain,
    FeedConnected,
    FeedDropped,
    FeedRefused,
    FetchProfile,
    FetchSettlement,
    HalfSecondPassed,
    OperatorSpoke,
    Part,
    PhoneChecked,
    PollReceipt,
    Position,
    PositionClosed,
    PositionOpened,
    PositionVoided,
    ProfileArrived,
    ProfileFailed,
    Quote,
    QuoteFailed,
    QuotesArrived,
    QuoteSeen,
    ReceiptSeen,
    RefreshQuotes,
    SettlementArrived,
    StopRequested,
    ThreadFailed,
    TradeVoided,
    Watch,
    WorkerStarted,
)
from strategies.registry import build
from utils import Session, SessionCalendar, clock_text

KEYS = {"POLYGON_API_KEY": "k" * 20, "PUSHOVER_TOKEN": "a" * 30, "PUSHOVER_USER_KEY": "u" * 30}
FULL, HALF = date(2026, 11, 20), date(2026, 11, 27)
BEGINNINGS = (
    (FULL, time(10, 30)), (FULL, time(9, 29)), (FULL, time(15, 20)), (FULL, time(15, 25)), (HALF, time(12, 20)), (HALF, time(12, 25)),
)  # fmt: skip
LENGTH_S = 1500
TOGETHER_S = 0.02
TICK_S = 0.5
STRIKES = (220_000, 221_000)
HEADINGS = ("REPEAT of #", "⚠️ NOT SEEN YET", "LATE: ", "NOT RECORDED")
calendars = {day: SessionCalendar(day) for day in (FULL, HALF)}


class Broken(AssertionError):
    """An invariant does not hold; the message says which, when, and how to see it again."""


class NoClock:
    """For the scribe, whose events are given their time when they are taken in."""

    def now(self) -> float:
        return 0.0

    steady = now


class Day:
    """One seed's stretch. `run` returns the hash of its journal, or raises Broken."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        self.calm = seed % 10 == 0  # every tenth world does not fail: it must trade
        day, begins = BEGINNINGS[0] if self.calm else random.choice(BEGINNINGS)
        self.calendar = calendars[day]
        session = self.calendar.on(day)
        assert session is not None
        self.session: Session = session
        self.now = session.at(begins)
        self.end = self.now + LENGTH_S
        self.config = Config.from_env(KEYS | self._settings())
        self.digest = sha256()
        self.hash = ""
        self.story: list[str] = []
        self._queue: list[tuple[float, int, int | None, Any]] = []
        self._count = itertools.count()
        self.life = 0
        self.desk: Desk | None = None
        self.lost: Position | None = None
        self.books = sqlite3.connect(":memory:", isolation_level=None)
        ledger_schema.upgrade(self.books)
        self.world_faults()
        self.bars = self._all_bars()
        self.watched: str | None = None
        self.box: list[Commit] = []
        self.exit_code: int | None = None
        # what the phone and the tests remember
        self.bodies: dict[str, str] = {}
        self.perhaps_told: set[str] = set()
        self.accepted: dict[str, list[str]] = {}
        self.answered_at: dict[str, float] = {}
        self.trades: dict[str, int | None] = {}
        self.opened_at: dict[str, float] = {}
        self.voided: set[str] = set()
        self.never_reached: set[str] = set()
        self.exits: list[float] = []
        self.signals: list[float] = []
        self.fell_silent_at = 0.0
        self.quoted_at = 0.0
        self.proven: dict[str, bool] = {}

    def _settings(self) -> dict[str, str]:
        chance = self.random
        settings = {
            "ENTRY_COOLDOWN_SECONDS": chance.choice(("60", "120", "300")),
            "SIGNAL_COOLDOWN_SECONDS": chance.choice(("20", "60")),
            "STOP_CONFIRM_QUOTES": chance.choice(("1", "1", "2")),
            "ON_SHUTDOWN": chance.choice(("close", "keep")),
            "SELL_EXPIRE_SECONDS": chance.choice(("60", "600")),
            "FEE_PER_CONTRACT": chance.choice(("0", "0.65")),
            "CRITICAL_LOSS": "-10",
            "STOP_LOSS_PERCENT": chance.choice(("15", "50")),
            "MAX_GIVEBACK_PERCENT": chance.choice(("30", "70")),
            "DELTA_MIN": "0.05",
            "DELTA_MAX": "0.95",
        }
        if chance.random() < 0.4:
            settings["FALLBACK_ALERT_URLS"] = "json://127.0.0.1:9/x"
        return settings

    def world_faults(self) -> None:
        """How likely each fault is, in this world."""
        random = self.random

        def rate(most: float) -> float:
            return 0.0 if self.calm else random.choice((0.0, 0.0, random.uniform(0.0, most)))

        self.lost_bar, self.late_bar, self.twice, self.corrected = rate(0.2), rate(0.1), rate(0.1), rate(0.1)
        self.feed_drop, self.silence, self.refusal = rate(0.004), rate(0.006), rate(0.001)
        self.bad_quote, self.no_quote, self.quote_gap, self.stale_chain = rate(0.3), rate(0.3), rate(0.1), rate(0.3)
        self.slow_disk, self.full_disk = rate(0.5), rate(0.4)
        self.phone_failed, self.phone_unknown, self.phone_refused, self.no_answer = (
            rate(0.9),
            rate(0.6),
            rate(0.2),
            rate(0.2),
        )
        self.bad_check, self.bad_clock, self.bad_history, self.bad_profile = rate(0.3), rate(0.2), rate(0.4), rate(0.4)
        self.kill, self.word, self.stop, self.thread = rate(0.004), rate(0.002), rate(0.001), rate(0.002)

    # --- the market ----------------------------------------------------------------------------------------------------

    def _all_bars(self) -> dict[str, dict[int, Bar]]:
        random = self.random
        first, last = max(self.session.open_at, int(self.now) - 1900), min(self.session.close_at, int(self.end) + 1)
        drift, spot, made = 0.0, 220.4, {"IWM": {}, "SPY": {}, "QQQ": {}}
        volume = 500.0
        for second in range(first, last):
            phase = second % 240
            if phase == 0:
                drift = random.choice((-0.004, 0.0, 0.004))
            surge = 90 <= phase < 200
            step = random.gauss(drift, 0.012) if not surge else random.gauss(0.010 if phase < 150 else -0.010, 0.003)
            spot += step + (220.4 - spot) * 0.002
            volume = random.lognormvariate(6.2, 0.5) * (1.0 + (phase - 80) / 15 if surge else 1.0)
            for symbol, price in (("IWM", spot), ("SPY", 600 + (spot - 220) * 0.8), ("QQQ", 500.0)):
                if symbol != "IWM" or random.random() > 0.1:
                    close = round(price, 2)
                    made[symbol][second] = Bar(
                        symbol, second, close, close + 0.01, close - 0.01, close, float(round(volume)), close
                    )
        return made

    def spot(self) -> float:
        at = int(self.now) - 1
        return next((bar.close for s in range(at, at - 60, -1) if (bar := self.bars["IWM"].get(s))), 220.4)

    def quote(self, strike: int, *, bad: bool = True) -> Quote:
        left = max(self.session.close_at - self.now, 0.0) / 23_400
        inside = self.spot() * 1000 - strike
        middle = max(0.0, inside * 0.5 + 420 * left**0.5 + abs(inside) * 0.2)
        bid, ask = max(0, int(middle / 10)) * 10, max(1, int(middle / 10) + 1) * 10
        quoted_at = self.now - self.random.uniform(0.0, 1.0)
        if bad and self.random.random() < self.bad_quote:
            return self.random.choice(
                (
                    Quote(0, ask, 0, 30, quoted_at), Quote(None, None, 0, 0, quoted_at), Quote(ask, bid, 30, 30, quoted_at),
                    Quote(bid, ask * 5, 30, 30, quoted_at), Quote(bid, ask, 30, 30, quoted_at, delayed=True),
                    Quote(bid, ask, 30, 30, quoted_at - 30), Quote(bid * 4, ask * 4, 30, 30, quoted_at), Quote(None, ask, 0, 5, None),
                )
            )  # fmt: skip
        return Quote(bid, ask, 35, 40, quoted_at)

    def row(self, strike: int, *, bad: bool = True) -> ChainRow:
        day = self.session.date
        return ChainRow(
            contract=f"O:IWM{day:%y%m%d}C{strike:08d}", right="call", strike=strike, expiration=day.isoformat(), shares=100,
            quote=self.quote(strike, bad=bad), delta=0.40, iv=0.2, volume=9_000, volume_at=self.now, open_interest=4_000,
            underlying=self.spot(),
        )  # fmt: skip

    # --- time ----------------------------------------------------------------------------------------------------------

    def later(self, seconds: float, event: AnyEvent | Callable[[], None], *, outlives: bool = False) -> None:
        """Let something happen: an event for this life, or a deed of the world; only what `outlives` the life survives its end."""
        heapq.heappush(self._queue, (self.now + seconds, next(self._count), None if outlives else self.life, event))

    def run(self) -> str:
        try:
            self.begin()
            self.later(0.05, self.second, outlives=True)
            while self._queue and self.exit_code is None and self.now < self.end + 120:
                self._step()
            self.at_the_end()
        except Broken:
            raise
        except Exception as fault:
            raise Broken(self.where(f"{type(fault).__name__}: {fault}")) from fault
        return self.digest.hexdigest()

    def _step(self) -> None:
        """All that happens within a moment waits together for one decision."""
        self.now = self._queue[0][0]
        together: list[AnyEvent] = []
        while self._queue and self._queue[0][0] <= self.now + TOGETHER_S:
            at, _, life, thing = heapq.heappop(self._queue)
            if life is not None and life != self.life:
                continue
            self.now = max(self.now, at)
            if callable(thing):
                thing()
            elif self.desk is not None:
                together.append(replace(thing, at=self.now))
        if together and self.desk is not None:
            self.decide(together)

    def decide(self, events: list[AnyEvent]) -> None:
        assert self.desk is not None
        actions = self.desk.decide(events)
        self.digest.update(msgspec.json.encode((events, actions)))
        for event in events:
            if isinstance(event, QuoteSeen) and event.contract == self.watched:
                self.note_quote(event)
        for action in actions:
            self.do(action)
        self.check()

    # --- a life --------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.life += 1
        self.tell(f"life {self.life} begins")
        remembered = ledger_book.load(self.books, self.now)
        self.desk = build(self.config, self.calendar, remembered)
        self.watched, self.box, self.proven = None, [], {}
        self.scribe, self.disk_busy, self.disk_full = (
            Scribe(lambda event: self.later(0.0, event), Path(), NoClock()),
            False,
            False,
        )
        self.fell_silent_at = self.quoted_at = self.now
        self.end = max(self.end, self.now + 240)
        self.decide([WorkerStarted(at=self.now, version="1", mode="simulated")])
        if self.lost is not None:
            held = next(iter(self.desk.state.held.values()), None)
            found = None if held is None else replace(held.position, last_quote_at=None)
            self.must(found == self.lost, f"the position was {self.lost}, and after the kill it is {found}")
            self.lost = None
        self.later(0.0, HalfSecondPassed(at=self.now))
        self.later(TICK_S, self.tick)
        self.later(0.3, FeedConnected(at=self.now, feed="stocks"))
        self.later(0.2, self.poll_chain)
        self.later(0.2, self.check_clock)

    def die(self) -> None:
        """SIGKILL: of the commits on their way, the first few may have become durable."""
        done = self.box[: self.random.randint(0, len(self.box))]
        self.disk_full = False
        if done:
            self.scribe._write(self, done)
        self.tell("killed")
        assert self.desk is not None
        state = self.desk.state
        if state.open() and not state.pending and not self.scribe._owed:
            self.lost = replace(state.open()[0].position, last_quote_at=None)
        self.desk = None
        self.life += 1
        beyond_the_close = self.session.close_at + 30 - self.now
        away = self.random.choice((0.5, 3.0, 40.0, 200.0, beyond_the_close if beyond_the_close < 2700 else 400.0))
        self.later(max(away, 0.5), self.begin, outlives=True)

    def tick(self) -> None:
        self.later(TICK_S, self.tick)
        self.later(0.0, HalfSecondPassed(at=self.now))

    def second(self) -> None:
        """What the world does each second, worker or not."""
        random = self.random
        self.later(1.0, self.second, outlives=True)
        if self.desk is None:
            return
        if self.now >= self.end:
            self.later(0.0, StopRequested(at=self.now, reason="SIGTERM"))
            return
        second = int(self.now) - 2
        if random.random() < self.silence:
            self.fell_silent_at = self.now + random.choice((6.0, 20.0, 60.0))
        for symbol in ("SPY", "QQQ", "IWM"):
            bar = self.bars[symbol].get(second)
            if bar is None or self.fell_silent_at > self.now or random.random() < self.lost_bar:
                continue
            wait = random.uniform(0.0, 0.4) if random.random() >= self.late_bar else random.uniform(1.0, 30.0)
            self.later(wait, BarClosed(at=self.now, bar=bar))
            if random.random() < self.twice:
                self.later(wait + 0.1, BarClosed(at=self.now, bar=bar))
            if random.random() < self.corrected:
                self.later(random.uniform(1.0, 60.0), BarClosed(at=self.now, bar=replace(bar, volume=bar.volume * 1.3)))
        if random.random() < self.feed_drop:
            self.fell_silent_at = self.now + random.choice((1.0, 8.0, 30.0))
            self.later(0.0, FeedDropped(at=self.now, feed="stocks", reason="lost", retry_in_s=1.0))
            self.later(self.fell_silent_at - self.now, FeedConnected(at=self.now, feed="stocks"))
        if random.random() < self.refusal:
            self.later(0.0, FeedRefused(at=self.now, feed="stocks", reason="another process uses this key", busy=True))
        if random.random() < self.thread:
            self.later(0.0, ThreadFailed(at=self.now, thread="chain", reason="no sign of life"))
        if random.random() < self.word:
            word = random.choice(("stop_entries", "resume_entries", "close_now"))
            self.later(0.0, OperatorSpoke(at=self.now, command=word, who="simulated"))
        if random.random() < self.stop:
            self.later(0.0, StopRequested(at=self.now, reason="SIGTERM"))
        if random.random() < self.kill * (6 if self.desk.state.open() else 1):
            self.later(random.uniform(0.0, 1.0), self.die)

    # --- the edges -----------------------------------------------------------------------------------------------------

    def poll_chain(self) -> None:
        self.later(10.0, self.poll_chain)
        if self.random.random() < self.stale_chain:
            self.later(
                0.2,
                ChainFailed(
                    at=self.now, underlying="IWM", right="call", reason="no answer", refused=self.random.random() < 0.2
                ),
            )
            return
        rows = tuple(self.row(strike) for strike in STRIKES)
        day = self.session.date.isoformat()
        self.later(
            self.random.uniform(0.05, 0.5),
            ChainArrived(at=0, underlying="IWM", asked_at=self.now, right="call", expiration=day, rows=rows),
        )

    def poll_quote(self, contract: str) -> None:
        if self.watched != contract:
            return
        self.later(1.0, lambda: self.poll_quote(contract))
        if self.random.random() < self.quote_gap:
            self.no_quotes_until = self.now + self.random.choice((6.0, 15.0, 40.0))
        if self.random.random() < self.no_quote or self.now < getattr(self, "no_quotes_until", 0.0):
            self.later(0.1, QuoteFailed(at=self.now, contract=contract, reason="no answer"))
            return
        row = self.row(int(contract[-8:]))
        assert row.quote is not None
        seen = QuoteSeen(at=0, contract=contract, quote=row.quote, source="rest", underlying=row.underlying)
        self.later(self.random.uniform(0.02, 0.3), seen)

    def check_clock(self) -> None:
        self.later(300.0 if self.random.random() < 0.9 else 30.0, self.check_clock)
        skew = None if self.random.random() < self.bad_clock else 4.0 if self.random.random() < self.bad_clock / 2 else 0.1
        self.later(0.1, ClockChecked(at=self.now, skew_s=skew, source="the market's time", by_itself=skew is None))

    def do(self, action: AnyAction) -> None:
        random = self.random
        match action:
            case Commit():
                self.on_commit(action)
            case Deliver():
                self.on_deliver(action)
            case RefreshQuotes(ticket, contracts):
                self.signals.append(self.now)
                rows = tuple(self.row(int(name[-8:])) for name in contracts if random.random() >= self.no_quote)
                if random.random() >= self.no_answer:
                    self.later(random.choice((0.03, 0.1, 1.9)), QuotesArrived(at=0, ticket=ticket, rows=rows))
            case Watch(contracts=(contract,)):
                self.watched, self.quoted_at = contract, self.now
                self.later(0.1, lambda: self.poll_quote(contract))
            case Watch():
                self.watched = None
            case CheckPhone():
                self.proven["asked"] = True
                ok = random.choice((False, None)) if random.random() < self.bad_check else True
                quota = 150 if random.random() < self.bad_check / 4 else 9_000
                self.later(0.2, PhoneChecked(at=0, ok=ok, reason="as drawn", quota_left=quota))
            case PollReceipt(alert_id, receipt):
                seen = self.now if random.random() < 0.2 else None
                self.later(
                    0.2, ReceiptSeen(at=0, alert_id=alert_id, receipt=receipt, acknowledged_at=seen, acknowledged_by="phone")
                )
            case Backfill(symbols, start, end):
                for symbol in symbols:
                    self.fetch(symbol, start, end)
            case FetchProfile(date=day):
                if random.random() < self.bad_profile:
                    self.later(0.3, ProfileFailed(at=0, symbol="IWM", date=day, reason="no answer"))
                else:
                    self.later(
                        0.3, ProfileArrived(at=0, symbol="IWM", date=day, minutes=(15_000.0,) * 390, sessions=("x",) * 10)
                    )
            case FetchSettlement(trade_id):
                close = None if random.random() < 0.5 else 220.7
                self.later(
                    0.3, SettlementArrived(at=0, trade_id=trade_id, close=close, reason="" if close else "not known yet")
                )
            case Explain(level, text, fields):
                self.tell(f"{level}: {text} {fields}")
            case Exit(code):
                self.exit_code = code
                self.disk_full = False
                self.scribe._write(self, self.box)

    def fetch(self, symbol: str, start: int, end: int) -> None:
        if self.random.random() < self.bad_history:
            self.later(0.3, BackfillFailed(at=0, symbol=symbol, reason="no answer"))
            return
        known = int(self.now) - 2
        bars = tuple(bar for second, bar in self.bars[symbol].items() if start <= second < min(end, known))
        self.later(self.random.uniform(0.1, 0.8), BarsFetched(at=0, symbol=symbol, start=start, end=end, bars=bars))

    # --- the disk ------------------------------------------------------------------------------------------------------

    def on_commit(self, commit: Commit) -> None:
        for item in commit.writes:
            match item:
                case PositionOpened(position) if position.id not in self.opened_at:
                    self.on_opened(position.id, position.opened_at)
                case PositionClosed(trade):
                    self.exits.append(trade.closed_at)
                case TradeVoided():
                    self.exits.pop()
        self.box.append(commit)
        if not self.disk_busy:
            self.disk_begins()

    def disk_begins(self) -> None:
        self.disk_busy = True
        slow = self.random.random() < self.slow_disk
        self.later(self.random.choice((0.2, 1.5, 4.0)) if slow else 0.003, self.disk_ends)

    def disk_ends(self) -> None:
        """What waits together is one transaction, by the real scribe's rule; the disk takes all of it or nothing."""
        self.disk_busy, self.disk_full = False, self.random.random() < self.full_disk
        commits, self.box = self.box, []
        self.scribe._write(self, commits)
        if self.box:
            self.disk_begins()

    def commit(self, parts: list[Part]) -> dict[str, str]:
        """The real books, in memory: what contradicts them is a fault of the desk."""
        if self.disk_full:
            raise DiskTrouble("The ledger cannot be written: the disk is full")
        refused = ledger_book.write(self.books, parts)
        self.must(not refused, f"the ledger refused: {refused}")
        for item in (item for part in parts for item in part.writes):
            match item:
                case PositionClosed(trade):
                    self.trades[trade.id] = trade.pnl
                case PositionVoided(position):
                    self.voided.add(position.id)
                case TradeVoided(trade_id):
                    del self.trades[trade_id]
                    self.voided.add(trade_id)
                    self.never_reached.add(trade_id)
        return refused

    # --- the phone -----------------------------------------------------------------------------------------------------

    def on_deliver(self, action: Deliver) -> None:
        random, key = self.random, action.alert_id
        self.check_delivery(action)
        drawn = random.random()
        outcome = "delivered"
        for name, chance in (
            ("failed", self.phone_failed),
            ("unknown", self.phone_unknown),
            ("refused", self.phone_refused),
        ):
            if drawn < chance:
                outcome = name
                break
            drawn -= chance
        arrives = outcome == "delivered" or (outcome == "unknown" and random.random() < 0.5)
        if arrives:
            self.accepted.setdefault(key, []).append(action.text)
            self.tell(f"phone: {action.channel} {key} #{action.attempt} {action.text.splitlines()[0]}")
        if outcome in ("delivered", "unknown"):
            self.perhaps_told.add(key)
        answer: AnyEvent
        wait = random.choice((0.1, 0.4, 2.9))
        if outcome == "delivered":
            receipt = f"r{self.life}x{action.attempt}" if action.priority == 2 and action.channel == "pushover" else None
            answer = AlertDelivered(
                at=0, alert_id=key, attempt=action.attempt, channel=action.channel, receipt=receipt, quota_left=9_000
            )
        else:
            answer = AlertFailed(
                at=0,
                alert_id=key,
                attempt=action.attempt,
                outcome=outcome,
                reason=f"as drawn: {outcome}",
                channel=action.channel,
            )  # type: ignore[arg-type]
        self.answered_at[key] = self.now + wait
        if random.random() >= self.no_answer:
            self.later(wait, answer)
        elif outcome != "unknown":
            self.perhaps_told.add(key)  # an answer that never comes leaves it open

    # --- what must hold ------------------------------------------------------------------------------------------------

    def where(self, what: str) -> str:
        again = f"python -m tests.kit.simday {self.seed}"
        return f"seed {self.seed}, {clock_text(self.now)}: {what}\nrepeat it with: {again}\n" + "\n".join(self.story[-12:])

    def must(self, holds: object, what: str) -> None:
        if not holds:
            raise Broken(self.where(what))

    def tell(self, what: str) -> None:
        self.story.append(f"{clock_text(self.now)} {what}")

    def on_opened(self, key: str, at: float) -> None:
        self.opened_at[key] = at
        self.must(at < risk_manager.entry_cutoff(self.config, self.session), f"{key} was opened after the cut-off")
        self.must(self.session.open_at <= at < self.session.close_at, f"{key} was opened outside of the session")
        if self.exits:
            self.must(
                at - self.exits[-1] >= self.config.entry_cooldown_seconds, f"{key} was opened in the cooldown of an exit"
            )
        self.must(self.proven.get("asked"), f"{key} was opened with an unproven phone")

    def check_delivery(self, action: Deliver) -> None:
        key = action.alert_id
        lines = action.text.split("\n")
        heads = [line for line in lines[:4] if line.startswith(HEADINGS)]
        body = "\n".join(line for line in lines if not line.startswith(HEADINGS))
        if len(action.text) < 1000:
            self.must(self.bodies.setdefault(key, body) == body, f"{key} has two texts")
        if key in self.perhaps_told:
            self.must(
                any(head.startswith(HEADINGS[:2]) for head in heads), f"{key} is repeated without a label: {action.text!r}"
            )
        row = self.books.execute("SELECT attempts FROM outbox WHERE id = ?", (key,)).fetchone()
        recorded = row is not None and row[0] >= action.attempt
        self.must(
            recorded or any("NOT RECORDED" in head for head in heads),
            f"{key} #{action.attempt} was sent before it was durable",
        )
        if action.kind == "BUY":
            self.must(recorded, f"{key} was sent without a record")
            self.must(self.now - action.created_at < self.config.buy_ttl_seconds, f"{key} was sent after its time")
        trade = key.rsplit("-", 1)[0]
        if action.kind == "BUY":
            self.must(self.desk and trade in self.desk.state.held, f"{key} was sent without its position")
        if self.answered_at.get(key, 0.0) > self.now and action.channel == "pushover":
            self.must(action.attempt == 1 or self.life > 1, f"{key} was tried again before the last try had ended")

    def note_quote(self, event: QuoteSeen) -> None:
        """A fresh usable quote at or under the stop must have closed the position by now."""
        self.quoted_at = self.now if risk_manager.says_something(event.quote) else self.quoted_at

    def check(self) -> None:
        """After every decision."""
        assert self.desk is not None
        state = self.desk.state
        pnls = [trade.pnl for trade in state.trades_today if trade.pnl is not None]
        if len(state.trades_today) == state.record.wins + state.record.losses + state.record.unresolved:
            self.must(sum(pnls) == state.record.balance, "the record is not the sum of its trades")
        for held in state.open():
            stop_at = risk_manager.time_stop(self.config, self.session)
            self.must(self.now < max(stop_at, held.wait_until) + 1.0, "held beyond the time stop")
            quiet = self.now - max(held.quote_at or 0.0, held.since)
            self.must(quiet < 11.0 or state.blind_since is not None, f"blind for {quiet:.1f} s and silent about it")
            position = held.position
            self.must(position.peak >= (risk_manager.mid(position.entry_quote) or 0), "the peak is under the mid at entry")
            fresh = held.marked_at is not None and held.marked_at == self.now
            if fresh and position.last_mark is not None and self.config.stop_confirm_quotes == 1 and state.stopping is None:
                self.must(
                    not risk_manager.stopped(self.config, position.entry, position.last_mark),
                    "held under the stop with a fresh mark",
                )
        seeking = self.desk.owners["vwap"].memory.seeking
        self.must(seeking is None or self.now - seeking.since < 4.0, "seeking for ever")

    def at_the_end(self) -> None:
        """The books are sound, and say what the phone was told."""
        problems = ledger_audit.problems_in(ledger_audit.audit(self.books))
        self.must(not problems, f"the ledger is not sound: {problems}")
        kept = ledger_book.load(self.books, self.now)
        self.must({t.id: t.pnl for t in kept.trades} == self.trades, "the ledger's trades are not those that were closed")
        rows = {row.alert.id: row for row in kept.outbox}
        for trade in kept.trades:
            self.must(trade.id not in self.voided, f"{trade.id} is voided and closed")
            sell = rows.get(f"{trade.id}-SELL")
            self.must(sell is not None, f"{trade.id} was closed without a SELL")
            assert sell is not None
            pnl = re.search(r"P&L: .*\(([+-]?)\$([\d,.]+)\)", sell.alert.text)
            if trade.pnl is not None:
                self.must(pnl, f"{trade.id}: its SELL has no result")
                assert pnl is not None
                told = round(float(pnl[2].replace(",", "")) * 1000) * (-1 if pnl[1] == "-" else 1)
                self.must(told == trade.pnl, f"{trade.id}: told {told}, booked {trade.pnl}")
            if sell.outcome == "delivered":
                self.must(self.accepted.get(sell.alert.id), f"{sell.alert.id} is called delivered, and was not")
            self.must(sell.outcome != "dropped", f"{sell.alert.id} was dropped")
        for key in self.voided:
            buy = f"{key}-BUY"
            self.must(buy not in self.accepted, f"{key} was voided, and its BUY is on the phone")
            if key not in self.never_reached:
                self.must(f"{key}-SELL" not in rows, f"{key} was voided and has a SELL")
            elif f"{key}-SELL" in self.accepted:
                self.must(f"{key}-NEVER" in rows, f"{key}: its SELL was said, its BUY was not, and nobody was told so")
        self.must(self.exit_code == 0 or self.desk is None or bool(self.desk.state.ended), "it did not end in order")
        for key, texts in self.accepted.items():
            self.must(len(texts) < 40, f"{key} was said {len(texts)} times")


if __name__ == "__main__":
    day = Day(int(sys.argv[1]))
    try:
        print(day.run())
    finally:
        print("\n".join(day.story))
        day.books.close()
