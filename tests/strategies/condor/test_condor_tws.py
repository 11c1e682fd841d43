"""The condor's whole story through the real library, on a TWS on loopback: what-if, chase, fills, exits, a restart, a cut."""

from datetime import time
from time import monotonic, sleep

import pytest

import brokers.ibkr.client
import brokers.ibkr.link
from brokers.ibkr.client import Ibkr
from brokers.ibkr.link import Place
from events import PreviewArrived, PreviewOrder
from simulator.tws.contracts import Book, Instrument, Quote
from simulator.tws.venue import Venue
from strategies.condor.strategy import IronCondor
from tests.kit.condors import DAY, FOUR, ROWS, SPOT, settings
from tests.kit.dealing import OrderBench
from tests.kit.tws_rig import FAST, BenchClock, Heard
from tests.strategies.condor.test_condor_story import Story
from utils import unix_time
from wire.transport import TryAgain

IDS = {row.contract: number for number, row in enumerate(ROWS, start=1001)}


class Bench(OrderBench):
    """A bench that also leads questions for a margin to its broker."""

    def answer(self, action):
        if not isinstance(action, PreviewOrder):
            return super().answer(action)
        try:
            return [self.broker.preview(action.order)]
        except TryAgain as silent:
            return [
                PreviewArrived(at=self.now, mode=self.broker.mode, ref=action.order.ref, margin=None, reason=silent.reason)
            ]


class TwsStory(Story):
    def __init__(self, venue: Venue, clock: BenchClock, **given: str) -> None:
        self.settings = settings(condor_scan_seconds="2", condor_broker="ibkr-paper", **given)
        self.venue, self.clock, self.ours = venue, clock, None
        self.rows = {row.contract: row for row in ROWS}
        self.spot, self.vix = SPOT, 18.8
        for row in ROWS:
            self.move(row.contract, row.quote.bid, row.quote.ask)
        self.bench = Bench(self.made, strategy=IronCondor(self.settings), day=DAY, now=clock.at)
        self.tell()

    def made(self, bench: OrderBench):
        if self.ours is not None:
            self.ours.close()
        place = Place("127.0.0.1", self.venue.port, 21, is_live=False, timeout_s=5.0)
        self.ours = Ibkr("ibkr-paper", place, lambda: bench.now, ack_s=2.0)
        self.ours.open()
        return Heard(self.ours, bench)

    def move(self, contract: str, bid: int, ask: int, **more) -> None:
        super().move(contract, bid, ask, **more)
        self.venue.set_quote(IDS[contract], Quote(bid, ask, 10, 10))

    def go_on(self, seconds: float, step: float = 0.5) -> None:
        for _ in range(round(seconds / step)):
            self.clock.at = self.bench.now + step
            self.venue.nudge()
            self.bench.tick(step)
            ends = monotonic() + 5
            while self.ours.is_looking and monotonic() < ends:
                sleep(0.002)
            self.tell()


@pytest.fixture
def story(monkeypatch):
    monkeypatch.setattr(brokers.ibkr.client, "LOOK_AFTER_S", 0.0)
    monkeypatch.setattr(brokers.ibkr.client, "PREVIEW_S", 0.3)
    monkeypatch.setattr(brokers.ibkr.link, "MESSAGES_A_SECOND", FAST)
    options = [
        Instrument(
            IDS[row.contract], "XSP", "OPT", "SMART", DAY, row.strike, row.right[0].upper(), 100, "XSP",
            f"XSP   {row.contract.removeprefix('O:XSP')}",
        )
        for row in ROWS
    ]  # fmt: skip
    clock = BenchClock()
    clock.at = unix_time(DAY, time(10))
    with Venue(Book(options), clock, beat_s=0) as venue:
        venue.floor.messages_a_second = FAST
        made: list[TwsStory] = []

        def begun(**given: str) -> TwsStory:
            made.append(TwsStory(venue, clock, **given))
            return made[-1]

        begun.venue = venue
        yield begun
        for one in made:
            one.ours.close()


@pytest.mark.fault("C6")
def test_the_whole_life_of_a_condor_at_tws(story):
    """Mid 0.26, natural 0.22: four prices are cancelled, each end proven, before the fifth is taken."""
    condor = story()
    condor.go_on(90)
    assert condor.trade.state == "open", (condor.trade, condor.limits("ENTRY"))
    assert condor.limits("ENTRY") == [-260, -250, -240, -230, -220]
    assert story.venue.record.peak_live() == 1
    assert {len(order.legs) for order in story.venue.record.orders} == {4}
    assert "Margin: $200.0, broker" in condor.texts("CONDOR OPEN")[0]
    for name, price in zip(FOUR.contracts, (10, 20, 20, 20), strict=True):
        condor.move(name, price, price + 10)
    condor.go_on(60)
    assert (condor.trade.state, condor.trade.reason) == ("closed", "EXIT")
    assert condor.trade.fees == 8 * 1230
    assert condor.trade.pnl == 22_000 - condor.limits("EXIT")[-1] * 100 - 8 * 1230
    assert not any(story.venue.positions().values())
    assert story.venue.record.misuses == []
    assert condor.bench.problems() == []


@pytest.mark.fault("C5")
@pytest.mark.parametrize("fault", ["what-if-unset", "what-if-empty", "what-if-silent"])
def test_a_paper_session_that_gives_no_margin_goes_on_with_the_computed_one_and_says_so(story, fault):
    story.venue.arm(fault)
    condor = story()
    condor.go_on(80)
    assert condor.trade.state == "open"
    assert "margin not verified by the broker" in condor.texts("CONDOR OPEN")[0]


def test_a_margin_that_is_too_high_takes_no_number_and_waits(story):
    story.venue.arm("what-if-margin", margin=5000.0)
    condor = story()
    condor.go_on(30)
    assert condor.bench.placed == []
    assert not condor.bench.desk.state.dealings.ended
    assert "chase cooldown" in condor.bench.tiny.status(None).refusal


@pytest.mark.fault("C1")
def test_a_fill_that_meets_the_cancel_is_one_condor(story):
    condor = story()
    condor.go_on(5)
    story.venue.arm("fill-in-cancel")
    condor.go_on(30)
    assert condor.trade.state == "open"
    assert condor.limits("ENTRY") == [-260]
    assert {abs(units) for units in story.venue.positions().values()} == {1}
    assert len(condor.texts("CONDOR OPEN")) == 1


@pytest.mark.fault("C31")
def test_two_rejected_orders_end_the_days_entries(story):
    story.venue.arm("reject", times=2, text="riskless combination")
    condor = story(condor_chase_cooldown_seconds="0")
    condor.go_on(40)
    assert len(condor.bench.placed) == 2
    assert condor.texts("CONDOR BLOCKED")[0].startswith("2 orders were rejected today")


@pytest.mark.fault("T10", "C14")
def test_what_was_filled_while_nobody_watched_is_the_position_of_the_next_life(story):
    condor = story()
    condor.go_on(5)
    story.venue.fill(condor.bench.placed[-1].ref)
    condor.bench.begin(IronCondor(condor.settings))
    condor.tell()
    condor.go_on(15)
    assert condor.trade.state == "open"
    assert len(condor.bench.placed) == 1
    condor.spot = 681.0
    condor.go_on(40)
    assert condor.trade.state == "closed"
    assert len([title for title in condor.titles() if "closed XSP" in title]) == 1
    assert condor.bench.problems() == []


@pytest.mark.fault("C8")
def test_a_package_that_is_rejected_twice_is_closed_a_side_at_a_time(story):
    condor = story()
    condor.go_on(90)
    story.venue.arm("reject", times=2, legs=4, text="no packages today")
    condor.spot = 681.0
    condor.go_on(60)
    assert condor.trade.state == "closed", condor.trade
    roles = [order.role for order in condor.bench.placed if not order.opens]
    assert roles[:2] == ["EXIT", "EXIT"]
    assert roles[2] == "PUTS"
    assert "CALLS" in roles
    assert not any(story.venue.positions().values())
    assert condor.bench.problems() == []
