"""Events in any order, however odd: the desk never raises, and what it writes never contradicts the ledger."""

from __future__ import annotations

import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

import alerts
from desk.state import Holding
from disk import audit as ledger_audit
from disk import book as ledger_book
from disk import schema as ledger_schema
from edges import scribe
from events import (
    AlertDelivered,
    AlertFailed,
    AnyAction,
    AnyEvent,
    AnyWrite,
    BackfillFailed,
    Bar,
    BarClosed,
    BarsFetched,
    ChainArrived,
    ChainFailed,
    ClockChecked,
    Commit,
    CommitFailed,
    Committed,
    Deliver,
    FeedConnected,
    FeedDropped,
    FeedRefused,
    HalfSecondPassed,
    JunkDropped,
    OperatorSpoke,
    PhoneChecked,
    ProfileArrived,
    ProfileFailed,
    Quote,
    QuoteFailed,
    QuotesArrived,
    QuoteSeen,
    ReceiptSeen,
    SettlementArrived,
    StopRequested,
    ThreadFailed,
)
from tests.kit.deskbench import CONTRACT, DAY, OTHER, VOLUME, Bench, row

CONTRACTS = st.sampled_from([CONTRACT, OTHER])
PRICES = st.sampled_from([None, 0, 10, 300, 400, 430, 440, 490, 500, 510, 700, 900])
SYMBOLS = st.sampled_from(["IWM", "SPY", "QQQ", "TSLA"])
NUMBERS = st.integers(0, 40)
RIGHTS = st.sampled_from(["call", "put"])
COMMANDS = st.sampled_from(["stop_entries", "resume_entries", "close_now", "took_it", "sold_it", "skipped_it"])
TRADES = st.sampled_from([None, f"{DAY:%Y%m%d}-1"])
FEEDS = st.sampled_from(["stocks", "options"])


class Storm(Bench):
    """A bench whose world answers nothing by itself; `asked` is what waits for an answer, `books` a real ledger in memory."""

    def __init__(self, **settings_given: str) -> None:
        super().__init__(**settings_given)
        self.books = sqlite3.connect(":memory:", isolation_level=None)
        ledger_schema.upgrade(self.books)
        self.owed: list[AnyWrite] = []
        self.commits: list[Commit] = []
        self.sold: set[str] = set()
        self.proven = True

    def _answer(self, action: AnyAction) -> AnyEvent | None:
        if not self.proven:
            if isinstance(action, Commit):
                self.commits.append(action)
            if isinstance(action, Deliver):
                self.check(action)
                self.delivered.append(action)
            return None
        answer = super()._answer(action)
        if isinstance(action, Commit):
            ledger_book.write(self.books, action.writes)
        return answer

    def check(self, action: Deliver) -> None:
        trade = action.alert_id.rsplit("-", 1)[0]
        if action.kind == "SELL":
            self.sold.add(trade)
        if action.kind == "BUY":
            assert trade not in self.sold, "a BUY after its SELL"
            phase = self.desk.state.phase
            assert isinstance(phase, Holding), "a BUY without a position"
            assert alerts.buy_id(phase.position.id) == action.alert_id

    def settle(self, *, refused: bool) -> AnyEvent | None:
        """The disk's answer to the commit that has waited longest, as the scribe gives it."""
        if not self.commits:
            return None
        commit = self.commits.pop(0)
        writes = [*self.owed, *commit.writes]
        if refused:
            self.owed = scribe.latest(writes)
            return CommitFailed(at=self.now, commit=commit.commit, reason="the disk is full")
        self.owed = []
        ledger_book.write(self.books, writes)
        return Committed(at=self.now, commit=commit.commit)


def quotes(storm: Storm) -> st.SearchStrategy[Quote]:
    ages = st.sampled_from([0.0, 1.0, 4.0, 30.0, -90.0])
    made = lambda bid, ask, age, delayed: Quote(bid, ask, 30, 30, storm.now - age, delayed)  # noqa: E731
    return st.builds(made, PRICES, PRICES, ages, st.sampled_from([False, False, True]))


def odd(storm: Storm) -> st.SearchStrategy[AnyEvent]:
    """Any event at all, as of now or a little before."""
    now = storm.now
    at = st.sampled_from([now, now, now - 0.3, now - 8])
    second = st.integers(int(now) - 40, int(now) + 2)
    price = st.sampled_from([storm.price - 0.5, storm.price, storm.price + 0.02, storm.price * 1.03])
    bar = st.builds(
        lambda s, t, p, v: Bar(s, t, p, p, p, p, v, p), SYMBOLS, second, price, st.sampled_from([0.0, VOLUME, 9e3])
    )
    ids = st.sampled_from([action.alert_id for action in storm.delivered] or ["nobody"])
    chain_row = st.builds(lambda c, q: row(c, at=now, quote=q), CONTRACTS, quotes(storm))
    rows = st.lists(chain_row, max_size=3).map(tuple)
    return st.one_of(
        st.builds(HalfSecondPassed, at=at),
        st.builds(BarClosed, at=at, bar=bar),
        st.builds(BarsFetched, at=at, symbol=SYMBOLS, start=second, end=second, bars=st.lists(bar, max_size=4).map(tuple)),
        st.builds(BackfillFailed, at=at, symbol=SYMBOLS, reason=st.just("no answer")),
        st.builds(ProfileArrived, at=at, date=st.just(DAY.isoformat()), minutes=st.just((1e4,) * 390), sessions=st.just(())),
        st.builds(ProfileFailed, at=at, date=st.just(DAY.isoformat()), reason=st.just("no answer")),
        st.builds(ChainArrived, at=at, asked_at=at, right=RIGHTS, expiration=st.just(DAY.isoformat()), rows=rows),
        st.builds(ChainFailed, at=at, right=st.just("call"), reason=st.just("403"), refused=st.booleans()),
        st.builds(QuotesArrived, at=at, ticket=st.integers(0, 3), rows=rows, reason=st.sampled_from([None, "late"])),
        st.builds(QuoteSeen, at=at, contract=CONTRACTS, quote=quotes(storm), source=st.just("rest")),
        st.builds(QuoteFailed, at=at, contract=CONTRACTS, reason=st.just("no answer")),
        st.builds(FeedConnected, at=at, feed=FEEDS),
        st.builds(FeedDropped, at=at, feed=FEEDS, reason=st.just("cut")),
        st.builds(FeedRefused, at=at, feed=FEEDS, reason=st.just("key"), busy=st.booleans()),
        st.builds(JunkDropped, at=at, feed=FEEDS, counts=st.just({"bar": 2})),
        st.builds(AlertDelivered, at=at, alert_id=ids, attempt=st.integers(1, 3), receipt=st.sampled_from([None, "r" * 30])),
        st.builds(
            AlertFailed, at=at, alert_id=ids, attempt=st.integers(1, 3), outcome=st.sampled_from(["failed", "unknown", "refused"]),
            reason=st.just("as told"),
        ),
        st.builds(ReceiptSeen, at=at, alert_id=ids, receipt=st.just("r" * 30), acknowledged_at=st.sampled_from([None, now])),
        st.builds(PhoneChecked, at=at, ok=st.sampled_from([True, False, None]), reason=st.just("as told"), quota_left=st.just(900)),
        st.builds(ClockChecked, at=at, skew_s=st.sampled_from([0.0, None, 3.0]), source=st.just("the market's time")),
        st.builds(SettlementArrived, at=at, trade_id=st.just("20261120-1"), close=st.sampled_from([None, 221.0])),
        st.builds(OperatorSpoke, at=at, command=COMMANDS, who=st.just("x"), price=PRICES, trade_id=TRADES),
        st.builds(ThreadFailed, at=at, thread=st.sampled_from(["quotes", "errands"]), reason=st.just("it ended")),
        st.builds(StopRequested, at=at, reason=st.just("SIGTERM")),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_comes_in_whatever_order_the_desk_stands_and_the_books_agree(data: st.DataObject) -> None:
    storm = Storm()
    storm.bought() if data.draw(st.booleans(), "holding") else storm.ready()
    storm.proven = False
    for _ in range(data.draw(st.integers(1, 25), "batches")):
        batch = data.draw(st.lists(odd(storm), min_size=1, max_size=6), "batch")
        storm.put(*batch)
        for refused in data.draw(st.lists(st.booleans(), max_size=4), "disk"):
            answer = storm.settle(refused=refused)
            if answer is not None:
                storm.put(answer)
        storm.now += data.draw(st.sampled_from([0.5, 1.0, 3.0, 20.0, 3600.0, 80_000.0]), "later")
        assert storm.desk.state.record.trades == len(storm.desk.state.trades)
    while (answer := storm.settle(refused=False)) is not None:
        storm.put(answer)
    storm.commits.append(Commit(0, ()))  # the scribe's own, every five seconds
    storm.settle(refused=False)
    assert not ledger_audit.problems_in(ledger_audit.audit(storm.books))
    found = ledger_book.load(storm.books, storm.now)
    assert found.trades == storm.desk.state.trades
    phase = storm.desk.state.phase
    assert (found.position is None) == (not hasattr(phase, "position")) or type(phase).__name__ == "Halted"
