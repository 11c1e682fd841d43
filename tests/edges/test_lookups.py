"""Errands: history, the profile, settlements and the time, asked of a market on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from datetime import time as wall_time
from pathlib import Path

import pytest

from config import Config
from edges.lookups import Errands
from events import (
    Backfill,
    BackfillFailed,
    BarsFetched,
    ClockChecked,
    FetchMinutes,
    FetchProfile,
    FetchSettlement,
    MinutesFailed,
    MinutesFetched,
    ModelRead,
    ProfileArrived,
    ProfileFailed,
    ReadModel,
    SettlementArrived,
)
from simulator.http import Answer
from simulator.servers import Simulator
from tests.kit.ears import Ears
from utils import SessionCalendar, SharedClock, clock_text, new_york
from wire.budget import Budget

DAY = date(2026, 11, 20)
AGGS, STATUS = r"/v2/aggs/", r"/v1/marketstatus/now"


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Simulator]:
    """A market at 10:29 that stands still until its clock is set."""
    with Simulator(tmp_path / "clock", day=DAY, seed=1, start=wall_time(10, 29), speed=0.0) as simulator:
        yield simulator


class HostClock:
    """A host's clock beside the market's: off by `ahead` all its life, and moved by `jump` while the worker runs."""

    def __init__(self, market: SharedClock, ahead: float = 0.0) -> None:
        self.market, self.ahead, self.jump, self.followed = market, ahead, 0.0, 0.0

    def now(self) -> float:
        return self.market.now() + self.ahead + self.followed

    def steady(self) -> float:
        return self.market.steady()

    def moved(self) -> float:
        return self.ahead + self.followed

    def wall(self) -> float:
        return self.market.now() + self.ahead + self.jump

    def real_seconds(self, seconds: float) -> float:
        return self.market.real_seconds(seconds)

    def confirm(self) -> None:
        self.followed = self.jump


Start = Callable[..., tuple[Errands, Ears]]


@pytest.fixture
def start(market: Simulator) -> Iterator[Start]:
    started: list[Errands] = []

    def starter(clock: HostClock | None = None, **more: str) -> tuple[Errands, Ears]:
        ears = Ears()
        config = Config.from_env(market.environment(market.clock_file.parent / "data", **more))
        started.append(Errands(ears, config, clock or market.clock, SessionCalendar(DAY), Budget()))
        started[-1].start()
        return started[-1], ears

    yield starter
    for errands in started:
        errands.stop()
        errands.join(5.0)


# --- history -----------------------------------------------------------------------------------------------------------


def test_half_an_hour_of_seconds_is_fetched_for_each_symbol_in_order(market: Simulator, start: Start) -> None:
    errands, ears = start()
    end = int(market.clock.now())
    errands.put(Backfill(("IWM", "SPY"), end - 1800, end))
    ears.wait_for(BarsFetched, 2)
    for symbol, fetched in zip(("IWM", "SPY"), ears.of(BarsFetched), strict=True):
        starts = [bar.start for bar in fetched.bars]
        assert (fetched.symbol, fetched.start, fetched.end) == (symbol, end - 1800, end)
        assert starts == sorted(set(starts))
        assert end - 1800 <= starts[0] < starts[-1] < end
        assert len(starts) > 1400
        assert {bar.symbol for bar in fetched.bars} == {symbol}


@pytest.mark.fault("R02", "R05")
def test_history_that_cannot_be_had_is_a_failure_of_its_symbol_alone(market: Simulator, start: Start) -> None:
    errands, ears = start()
    market.rest.script(AGGS + "ticker/IWM", Answer(503, {"status": "ERROR"}), Answer(cut_after=500))
    end = int(market.clock.now())
    for _ in range(2):
        errands.put(Backfill(("IWM", "SPY"), end - 60, end))
    ears.wait_for(BarsFetched, 2)
    assert [failed.symbol for failed in ears.of(BackfillFailed)] == ["IWM", "IWM"]
    assert "503" in ears.of(BackfillFailed)[0].reason
    assert {fetched.symbol for fetched in ears.of(BarsFetched)} == {"SPY"}


# --- the profile -------------------------------------------------------------------------------------------------------


def test_the_profile_is_of_ten_full_sessions_and_made_once_a_day(market: Simulator, start: Start) -> None:
    errands, ears = start()
    errands.put(FetchProfile("IWM", "2026-11-20"))
    made = ears.wait_for(ProfileArrived)
    assert len(made.minutes) == 390
    assert min(made.minutes) > 0
    assert len(made.sessions) == 10
    assert max(made.sessions) == "2026-11-19"
    market.rest.script(AGGS, Answer(503, {"status": "ERROR"}), forever=True)
    errands.put(FetchProfile("IWM", "2026-11-20"))
    assert ears.wait_for(ProfileArrived, 2).minutes == made.minutes


def test_a_profile_that_cannot_be_had_is_said_and_not_made_up(market: Simulator, start: Start) -> None:
    errands, ears = start()
    market.rest.script(
        AGGS, Answer(403, {"status": "NOT_AUTHORIZED", "message": "upgrade your plan"}), Answer(200, {"status": "OK"})
    )
    errands.put(FetchProfile("IWM", "2026-11-20"))
    assert "403" in ears.wait_for(ProfileFailed).reason
    errands.put(FetchProfile("IWM", "2026-11-20"))
    ears.wait_for(ProfileFailed, 2)
    assert not ears.of(ProfileArrived)


# --- settlements -------------------------------------------------------------------------------------------------------


def test_a_settlement_is_the_last_price_of_the_session(market: Simulator, start: Start) -> None:
    market.set_clock(at=wall_time(16, 10))
    errands, ears = start()
    errands.put(FetchSettlement("T1", "IWM", "2026-11-20"))
    settled = ears.wait_for(SettlementArrived)
    assert settled.trade_id == "T1"
    assert settled.close == pytest.approx(market.market.spot(market.market.session.close_at - 1), abs=0.05)


def test_a_settlement_that_cannot_be_had_says_why(market: Simulator, start: Start) -> None:
    errands, ears = start()
    market.rest.script(AGGS, Answer(500, "oops"), forever=True)
    errands.put(FetchSettlement("T1", "IWM", "2026-11-20"))
    failed = ears.wait_for(SettlementArrived)
    assert failed.close is None
    assert "500" in failed.reason


# --- the time ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("W20")
@pytest.mark.parametrize("ahead", [0.0, 4.0, -7.0, 3600.0])
def test_how_far_the_hosts_clock_is_off_is_measured_against_the_markets(
    market: Simulator, start: Start, ahead: float
) -> None:
    _, ears = start(HostClock(market.clock, ahead))
    checked = ears.wait_for(ClockChecked)
    assert checked.skew_s == pytest.approx(ahead, abs=0.6)
    assert checked.source == "the market's time"


@pytest.mark.fault("W20", "X11")
def test_a_clock_that_is_put_right_while_we_run_is_followed_and_one_that_is_put_wrong_is_not(
    market: Simulator, start: Start
) -> None:
    host = HostClock(market.clock, ahead=30.0)
    _, ears = start(host)
    assert ears.wait_for(ClockChecked).skew_s == pytest.approx(30.0, abs=0.6)
    host.jump = -30.0
    assert ears.wait_for(ClockChecked, 2).skew_s == pytest.approx(0.0, abs=0.6)
    assert host.now() == pytest.approx(market.clock.now(), abs=0.01)
    host.jump = 3600.0
    assert ears.wait_for(ClockChecked, 3).skew_s == pytest.approx(0.0, abs=0.6)
    assert host.now() == pytest.approx(market.clock.now(), abs=0.01)


def test_without_the_markets_time_the_clock_is_neither_right_nor_wrong(market: Simulator, start: Start) -> None:
    market.rest.script(STATUS, Answer(503, {"status": "ERROR"}), forever=True)
    _, ears = start()
    checked = ears.wait_for(ClockChecked)
    assert checked.skew_s is None
    assert checked.by_itself


def test_minutes_are_of_regular_hours_over_as_many_sessions_as_are_asked_for(market: Simulator, start: Start) -> None:
    errands, ears = start()
    session = SessionCalendar(DAY).on(DAY)
    assert session is not None
    errands.put(FetchMinutes("IWM", session.open_at, session.open_at + 1800, before=400))
    fetched = ears.wait_for(MinutesFetched)
    earlier = [bar.start for bar in fetched.bars if bar.start < session.open_at]
    assert len(earlier) == 400
    assert earlier == sorted(set(earlier))
    days = {new_york(start).date() for start in earlier}
    assert days == {date(2026, 11, 18), date(2026, 11, 19)}
    assert all("09:30" <= clock_text(start)[:5] < "16:00" for start in earlier)
    today = [bar.start for bar in fetched.bars if bar.start >= session.open_at]
    assert today == list(range(session.open_at, session.open_at + 1800, 60))


def test_a_hole_is_fetched_alone_and_minutes_that_cannot_be_had_say_why(market: Simulator, start: Start) -> None:
    errands, ears = start()
    session = SessionCalendar(DAY).on(DAY)
    assert session is not None
    errands.put(FetchMinutes("IWM", session.open_at + 60, session.open_at + 180))
    fetched = ears.wait_for(MinutesFetched)
    assert [bar.start - session.open_at for bar in fetched.bars] == [60, 120]
    market.rest.script(AGGS, Answer(403, {"status": "ERROR"}))
    errands.put(FetchMinutes("IWM", session.open_at, session.open_at + 60))
    failed = ears.wait_for(MinutesFailed)
    assert (failed.symbol, failed.refused) == ("IWM", True)


def test_a_model_file_is_read_as_it_is(market: Simulator, start: Start) -> None:
    errands, ears = start()
    errands.put(ReadModel("scalper", "scalper-model.json"))
    assert ears.wait_for(ModelRead).text is None
    errands.config.data_dir.mkdir(exist_ok=True)
    (errands.config.data_dir / "scalper-model.json").write_text("{}")
    errands.put(ReadModel("scalper", "scalper-model.json"))
    assert ears.wait_for(ModelRead, 2).text == "{}"
