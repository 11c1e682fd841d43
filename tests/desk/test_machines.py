"""State machines: the position, the outbox and the feed's silence, driven at random beside a literal reading of their rules."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import risk_manager
from config import Config
from desk import outbox
from desk.outbox import Line
from edges.stream import PING_AFTER_S, PONG_WITHIN_S, Dropped, Silence, Silent
from events import Alert, AlertDelivered, AlertFailed, Outgoing, PhoneChecked, Position, Quote, ReceiptSeen
from risk_manager import Sight

KEYS = {"POLYGON_API_KEY": "k" * 20, "PUSHOVER_TOKEN": "a" * 30, "PUSHOVER_USER_KEY": "u" * 30}
PLAIN = Config.from_env(KEYS)
WITH_FALLBACK = Config.from_env({**KEYS, "FALLBACK_ALERT_URLS": "json://127.0.0.1:9/x"})
RUNS = settings(
    max_examples=200, stateful_step_count=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
PRICES = st.integers(0, 300).map(lambda cents: cents * 10)
AT = 1_795_000_000.0


# --- the position ------------------------------------------------------------------------------------------------------


class PositionMachine(RuleBasedStateMachine):
    """Quotes and bars in any order; beside them the rules' own words: all marks seen, and the table of exits read row by row."""

    @initialize(bid=st.integers(20, 200), spread=st.integers(1, 5))
    def buy(self, bid: int, spread: int) -> None:
        quote = Quote(bid * 10, (bid + spread) * 10, 30, 30, AT)
        self.entry = risk_manager.assumed_entry(PLAIN, quote)
        middle = (quote.bid + quote.ask) // 2
        self.position = Position(
            id="20261120-1", contract="O:IWM261120C00220000", strike=220_000, expiration="2026-11-20", opened_at=AT,
            entry=self.entry, entry_quote=quote, peak=middle, session_close_at=AT + 20_000, last_bid=quote.bid,
        )  # fmt: skip
        self.marks: list[int] = []
        self.peak, self.at, self.bid = middle, AT, quote.bid
        self.quote: Quote | None = None

    @rule(bid=st.none() | PRICES, ask=st.none() | PRICES, delayed=st.sampled_from([False, False, False, True]))
    def quoted(self, bid: int | None, ask: int | None, delayed: bool) -> None:
        self.at += 1
        self.quote = Quote(bid, ask, 30, 30, self.at, delayed)
        self.position = risk_manager.with_quote(PLAIN, self.position, self.quote, risk_manager.mark(self.quote), self.at)
        self.bid = bid or 0
        usable = not delayed and bid and ask and 0 < bid <= ask and Fraction(ask - bid) <= Fraction(ask + bid, 2) / 2
        assert (risk_manager.mark(self.quote) is not None) == bool(usable)
        if usable:
            self.marks.append((bid + ask) // 2)
            if len(self.marks) > 1:
                self.peak = max(self.peak, min(self.marks[-2:]))

    @rule(middle=st.integers(10, 290), spread=st.integers(0, 4))
    def quoted_well(self, middle: int, spread: int) -> None:
        self.quoted(middle * 10, (middle + spread) * 10, False)

    @invariant()
    def is_as_the_rules_say(self) -> None:
        position = self.position
        assert position.peak == self.peak
        assert position.peak <= max([self.peak, *self.marks])
        assert position.last_mark == (self.marks[-1] if self.marks else None)
        assert position.last_bid == self.bid
        assert risk_manager.assumed_entry(PLAIN, position.entry_quote) == self.entry == position.entry

    @rule(
        late=st.booleans(), below=st.booleans(), below_s=st.integers(0, 120), stalled=st.booleans(), fresh=st.booleans(),
    )  # fmt: skip
    def look_for_an_exit(self, late: bool, below: bool, below_s: int, stalled: bool, fresh: bool) -> None:
        marked = fresh and bool(self.marks)
        quote = self.quote if fresh else None
        mark = None if quote is None else risk_manager.mark(quote)
        sight = Sight(
            at=AT + 100 if late else AT, time_stop_at=AT + 100, quote=quote, mark=mark, marked=marked, below_vwap=below,
            below_s=below_s, stalled=stalled,
        )  # fmt: skip
        leave = risk_manager.exit_reason(PLAIN, self.position, sight)
        assert (leave.reason if leave else None) == self.by_the_table(late, below, below_s, stalled, marked, quote)

    def by_the_table(
        self, late: bool, below: bool, below_s: int, stalled: bool, marked: bool, quote: Quote | None
    ) -> str | None:
        if late:
            return "time stop"
        mark = Fraction(self.marks[-1]) if self.marks else None
        unusable = quote is not None and risk_manager.mark(quote) is None
        if unusable and quote.ask and Fraction(quote.ask, self.entry) <= Fraction(85, 100):
            return "stop loss"
        if marked and mark / self.entry - 1 <= -Fraction(15, 100):
            return "stop loss"
        if marked and (self.peak - mark) / self.peak >= Fraction(30, 100):
            return "hard giveback"
        if marked and below and not stalled and (self.peak - mark) / self.peak >= Fraction(20, 100):
            return "VWAP giveback"
        return "VWAP persistence" if below_s >= 60 and not stalled else None


# --- the outbox --------------------------------------------------------------------------------------------------------


class OutboxMachine(RuleBasedStateMachine):
    """One alert from queueing to its end: answers of every kind, silence, checks of the keys, deaths of the process."""

    @initialize(kind=st.sampled_from(["BUY", "SELL", "BLIND", "OPS"]), config=st.sampled_from([PLAIN, WITH_FALLBACK]))
    def queue(self, kind: str, config: Config) -> None:
        self.config, self.now = config, AT
        emergency = kind == "SELL"
        alert = Alert(
            f"20261120-1-{kind}", kind, "title", f"text\n#20261120-1-{kind}", 2 if emergency else 1, AT,
            {"BUY": AT + 20, "SELL": None, "BLIND": AT + 9_000, "OPS": AT + 14_400}[kind],
            None if kind == "OPS" else "20261120-1", 30 if emergency else None, 600 if emergency else None,
        )  # fmt: skip
        self.row = self.durable = Outgoing(alert, next_at=AT)
        self.line = Line(ok=True, checked_at=AT, proven_at=AT)
        self.perhaps_told = self.on_wire = False
        self.ended_at = float("-inf")
        self.refused_at: float | None = None
        self.proven_at = AT
        self.said: list[float] = []

    # what happens

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0, 29.0, 31.0, 601.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        kind, config = self.row.alert.kind, self.config
        step = outbox.due(self.row, self.now, config, self.line, position_open=True)
        match step:
            case "send" | "fallback":
                self.leave("pushover" if step == "send" else "fallback")
            case "reissue":
                assert kind == "SELL"
                assert self.row.acknowledged_at is None
                self.row = outbox.reissued(self.row)
                self.leave("pushover")
            case "overdue":
                self.row = outbox.overdue(self.row, self.now)
                self.perhaps_told, self.on_wire, self.ended_at = True, False, self.now - 5.0
            case "drop":
                assert kind != "SELL"
                expired = self.row.alert.expires_at is not None and self.now >= self.row.alert.expires_at
                assert expired or self.refused_at is not None
                self.row = outbox.dropped(self.row, self.now)
            case "poll":
                assert self.row.outcome == "delivered"
                self.row = outbox.polling(self.row, self.now)
        self.durable = self.row

    def leave(self, channel: str) -> None:
        """An attempt leaves: it is counted, labelled, in time, and not too soon."""
        row, now = self.row, self.now
        assert not self.on_wire
        assert row.outcome != "dropped"
        assert row.acknowledged_at is None
        if row.alert.expires_at is not None:
            assert now < row.alert.expires_at
        if channel == "pushover":
            assert now >= self.ended_at + 5.0 or self.ended_at == float("-inf") or row.reissues
            only_way = row.alert.kind == "SELL" and not self.config.fallback_alert_urls
            assert self.refused_at is None or (self.line.checked_at if only_way else self.proven_at) > self.refused_at
            assert outbox.closed(self.line, now) is None
        else:
            assert self.config.fallback_alert_urls
        if row.alert.kind == "OPS":
            assert sum(at > now - 3600 for at in self.said) < 3
        attempts = row.attempts
        self.line = outbox.line_sending(self.line, row, now)
        self.row = outbox.sending(row, now, channel)
        assert self.row.attempts == attempts + 1
        told = outbox.delivery(self.row, now, self.config)
        assert told.attempt == self.row.attempts
        assert told.text.endswith(f"#{row.alert.id}")
        assert told.text.startswith("REPEAT of #") == self.perhaps_told
        self.said.append(now)
        self.on_wire, self.channel = True, channel

    @precondition(lambda self: self.on_wire)
    @rule(
        outcome=st.sampled_from(["delivered", "failed", "unknown", "refused"]), quota=st.sampled_from([None, None, 9_000, 0])
    )
    def answered(self, outcome: str, quota: int | None) -> None:
        common = {"at": self.now, "alert_id": self.row.alert.id, "attempt": self.row.attempts, "channel": self.channel}
        quota = None if self.channel == "fallback" else quota
        if outcome == "delivered":
            event = AlertDelivered(**common, receipt="r" if self.row.alert.priority == 2 else None, quota_left=quota)
        else:
            event = AlertFailed(**common, outcome=outcome, reason="as drawn", quota_left=quota)
        self.line = outbox.line_after(self.line, self.row, event)
        before = self.row
        self.row = self.durable = outbox.after(self.row, event, self.now)
        self.perhaps_told |= outcome in ("delivered", "unknown")
        self.on_wire, self.ended_at = False, self.now
        if outcome == "refused" and self.channel == "pushover":
            self.refused_at = self.now
        if outcome == "failed" and self.row.alert.kind == "OPS":
            self.said.pop()
        assert outbox.after(self.row, AlertFailed(**common, outcome="failed", reason="again"), self.now) == self.row
        assert (self.row.outcome == "delivered") == (
            outcome == "delivered" and self.channel == "pushover"
        ) or before.outcome == "delivered"

    @rule(ok=st.sampled_from([True, True, False, None]))
    def keys_are_checked(self, ok: bool | None) -> None:
        self.line = outbox.line_checked(
            self.line, PhoneChecked(at=self.now, ok=ok, reason="as drawn", quota_left=9_000 if ok else None)
        )
        self.proven_at = max(self.proven_at, self.line.proven_at)

    @precondition(lambda self: self.row.receipt is not None)
    @rule(seen=st.booleans())
    def somebody_looked(self, seen: bool) -> None:
        event = ReceiptSeen(
            at=self.now, alert_id=self.row.alert.id, receipt=self.row.receipt, acknowledged_at=self.now if seen else None
        )
        self.row = self.durable = outbox.seen(self.row, event, self.now)

    @rule(answered_meanwhile=st.booleans())
    def the_process_dies(self, answered_meanwhile: bool) -> None:
        """What was counted is all the next life knows; what was on the wire may have arrived."""
        self.perhaps_told |= self.on_wire
        self.ended_at = self.now - 5.0 if self.on_wire else self.ended_at
        self.row = outbox.taken_up(self.durable, self.now)
        self.line = Line(ok=True, checked_at=self.now, proven_at=self.now)
        self.proven_at, self.said, self.on_wire = self.now, [], False

    # what always holds

    @invariant()
    def a_sell_is_owed_until_somebody_has_it(self) -> None:
        if self.row.alert.kind == "SELL" and not self.perhaps_told:
            assert outbox.is_open(self.row, self.now, self.config)

    @invariant()
    def the_row_knows_what_may_have_been_seen(self) -> None:
        if not self.on_wire:
            assert self.row.maybe_seen == self.perhaps_told


# --- the feed's silence ------------------------------------------------------------------------------------------------


class SilenceMachine(RuleBasedStateMachine):
    """Data, pongs and nothing at all, on a clock that runs as fast as real time."""

    @initialize()
    def connect(self) -> None:
        self.now = 1000.0
        self.silence = Silence(self.now, self.now)
        self.data_at = self.heard_at = self.now
        self.pinged_at: float | None = None
        self.watching = self.down = False
        self.why = ""

    @precondition(lambda self: self.down)
    @rule(seconds=st.sampled_from([0.5, 60.0]))
    def connect_again(self, seconds: float) -> None:
        self.now += seconds
        self.silence = Silence(self.now, self.now)
        self.data_at = self.heard_at = self.now
        self.pinged_at, self.down = None, False

    def look(self) -> None:
        """As the loop does, every quarter of a second."""
        try:
            if self.silence.should_ping(self.now, self.now, watching=self.watching, probing=False, silent_s=12.0):
                self.silence.pinging(self.now, self.now)
                self.pinged_at = self.now
        except Silent:
            self.down, self.why = True, "silent"
        except Dropped:
            self.down, self.why = True, "dead"

    @precondition(lambda self: not self.down)
    @rule(quarters=st.integers(1, 80), pongs=st.booleans(), data_every=st.sampled_from([0, 0, 3, 17, 30]))
    def time_passes(self, quarters: int, pongs: bool, data_every: int) -> None:
        for quarter in range(1, quarters + 1):
            self.now += 0.25
            if data_every and quarter % data_every == 0:
                self.silence.heard(self.now, self.now, data=True)
                self.data_at = self.heard_at = self.now
                self.pinged_at = None
            elif pongs and self.pinged_at is not None and self.now > self.pinged_at:
                self.silence.heard(self.now, self.now, data=False)
                self.pinged_at = None
            self.look()
            self.judge()
            if self.down:
                return

    @precondition(lambda self: not self.down)
    @rule()
    def the_session_opens_or_ends(self) -> None:
        self.watching = not self.watching
        if self.watching:
            self.data_at = self.now  # silence before the open means nothing
        self.look()

    def judge(self) -> None:
        quiet, wire_quiet = self.now - self.data_at, self.now - self.heard_at
        if self.down and self.why == "silent":
            assert self.watching
            assert quiet >= 12.0
        elif self.down:
            assert wire_quiet >= PING_AFTER_S + PONG_WITHIN_S
        elif self.watching:
            assert quiet < 12.0 + 0.25 + PONG_WITHIN_S
            assert quiet < PING_AFTER_S + 0.5 or self.silence.pinged is not None or self.silence.frame_at > self.data_at


for kind in (PositionMachine, OutboxMachine, SilenceMachine):
    kind.TestCase.settings = RUNS

TestPosition = pytest.mark.fault("A33", "A36", "A37")(PositionMachine.TestCase)
TestOutbox = pytest.mark.fault("P03", "P05", "A42", "A43")(OutboxMachine.TestCase)
TestSilence = pytest.mark.fault("W06", "W07")(SilenceMachine.TestCase)
