"""Entries and exits at their edges: every threshold is inclusive and exact."""

from __future__ import annotations

from datetime import date

import pytest
from msgspec.structs import replace

import risk_manager
from config import Config
from events import Position, Quote
from risk_manager import Desk8, Leave, Sight
from utils import SessionCalendar

KEYS = {"POLYGON_API_KEY": "k" * 20, "PUSHOVER_TOKEN": "t" * 30, "PUSHOVER_USER_KEY": "u" * 30}
CONFIG = Config.from_env(KEYS)
CALENDAR = SessionCalendar(date(2026, 11, 20))
FULL = CALENDAR.on(date(2026, 11, 20))
HALF = CALENDAR.on(date(2026, 11, 27))
assert FULL is not None
assert HALF is not None
T = FULL.open_at + 3600.0


def quote(bid: int | None, ask: int | None, *, delayed: bool = False) -> Quote:
    return Quote(bid, ask, 30, 30, T, delayed)


def position(entry: int = 1000, peak: int = 1000, **parts: object) -> Position:
    base = Position(
        id="20261120-1",
        contract="O:IWM261120C00240000",
        strike=240_000,
        expiration="2026-11-20",
        opened_at=T,
        entry=entry,
        entry_quote=quote(990, 1000),
        peak=peak,
        session_close_at=float(FULL.close_at),
        last_bid=990,
    )
    return replace(base, **parts)


def sight(**parts: object) -> Sight:
    made = replace(Sight(at=T + 60, time_stop_at=T + 10_000, marked=True), **parts)
    return made if made.quote is None else replace(made, mark=risk_manager.mark(made.quote))


def leave_after(before: Position, seen: Quote, config: Config = CONFIG, **parts: object) -> Leave | None:
    after = risk_manager.with_quote(config, before, seen, risk_manager.mark(seen), T + 60)
    marked = risk_manager.mark(seen) is not None
    return risk_manager.exit_reason(config, after, sight(quote=seen, marked=marked, **parts))


# --- the session's times -----------------------------------------------------------------------------------------------


@pytest.mark.fault("A38", "X13")
def test_cutoff_and_time_stop_move_with_an_early_close() -> None:
    assert risk_manager.hhmm(risk_manager.entry_cutoff(CONFIG, FULL)) == "15:30"
    assert risk_manager.hhmm(risk_manager.time_stop(CONFIG, FULL)) == "15:55"
    assert risk_manager.hhmm(risk_manager.entry_cutoff(CONFIG, HALF)) == "12:30"
    assert risk_manager.hhmm(risk_manager.time_stop(CONFIG, HALF)) == "12:55"


def test_an_entry_needs_a_time_before_the_cutoff_and_the_time_stop_holds_from_its_instant() -> None:
    cutoff, stop = risk_manager.entry_cutoff(CONFIG, FULL), risk_manager.time_stop(CONFIG, FULL)
    assert risk_manager.desk_refusal(CONFIG, desk(at=cutoff - 0.001)) is None
    assert risk_manager.desk_refusal(CONFIG, desk(at=cutoff)) == "no entries after 15:30 ET"
    assert risk_manager.exit_reason(CONFIG, position(), sight(at=stop - 0.001, time_stop_at=stop)) is None
    assert risk_manager.exit_reason(CONFIG, position(), sight(at=stop, time_stop_at=stop)).reason == "time stop"


# --- prices ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bid", "ask", "entry"),
    [
        (1390, 1420, 1430),  # one tick over the ask
        (490, 500, 510),
        (1300, 1500, 1500),  # mid + 5 cents is below the ask: never under the ask
        (1390, 1430, 1440),
        (1380, 1470, 1475 + 5),  # capped at mid 1.425 + 0.05 = 1.475, rounded up to a cent
    ],
)
def test_the_assumed_fill_is_one_tick_over_the_ask_capped_at_mid_plus_slippage(bid: int, ask: int, entry: int) -> None:
    assert risk_manager.assumed_entry(CONFIG, quote(bid, ask)) == entry


@pytest.mark.fault("A25", "R09")
@pytest.mark.parametrize(
    ("bid", "ask", "mark"),
    [
        (1000, 1000, 1000),  # locked is usable
        (600, 1000, 800),  # exactly 50 % of mid
        (590, 1000, None),
        (1010, 1000, None),
        (0, 50, None),
        (0, 0, None),
        (None, 50, None),
        (50, None, None),
    ],
)
def test_a_quote_is_usable_up_to_a_spread_of_half_its_mid(bid: int | None, ask: int | None, mark: int | None) -> None:
    assert risk_manager.mark(quote(bid, ask)) == mark


def test_a_delayed_quote_has_no_mark() -> None:
    assert risk_manager.mark(quote(1000, 1010, delayed=True)) is None


# --- peak --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("A33")
def test_the_peak_is_what_the_next_usable_mark_confirms() -> None:
    held = position(peak=995)
    for bid, ask, peak in [(1190, 1210, 995), (1090, 1110, 1100), (50, 9000, 1100), (1290, 1310, 1100), (1390, 1410, 1300)]:
        held = risk_manager.with_quote(CONFIG, held, quote(bid, ask), risk_manager.mark(quote(bid, ask)), T + 1)
        assert held.peak == peak


# --- exits -------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("A36")
@pytest.mark.parametrize(
    ("bid", "ask", "reason"), [(845, 855, "stop loss"), (846, 856, None), (840, 850, "stop loss"), (1000, 1010, None)]
)
def test_the_stop_is_inclusive_at_fifteen_percent(bid: int, ask: int, reason: str | None) -> None:
    leave = leave_after(position(entry=1000), quote(bid, ask))
    assert (leave.reason if leave else None) == reason


@pytest.mark.fault("A36")
def test_givebacks_are_inclusive_at_thirty_and_twenty_percent() -> None:
    held = position(entry=1000, peak=2000)
    assert leave_after(held, quote(1395, 1405)).reason == "hard giveback"
    assert leave_after(held, quote(1400, 1410)) is None
    assert leave_after(held, quote(1595, 1605), below_vwap=True).reason == "VWAP giveback"
    assert leave_after(held, quote(1600, 1610), below_vwap=True) is None
    assert leave_after(held, quote(1500, 1510)) is None


def test_persistence_is_inclusive_at_sixty_seconds() -> None:
    assert risk_manager.exit_reason(CONFIG, position(), sight(below_s=59)) is None
    assert risk_manager.exit_reason(CONFIG, position(), sight(below_s=60)).reason == "VWAP persistence"


@pytest.mark.fault("A37")
def test_of_several_exits_in_one_second_the_first_in_order_closes() -> None:
    held = position(entry=2000, peak=4000)
    everything = {"below_vwap": True, "below_s": 90}
    seen = quote(1000, 1010)
    assert leave_after(held, seen, **everything, time_stop_at=T).reason == "time stop"
    assert leave_after(held, seen, **everything).reason == "stop loss"
    assert leave_after(replace(held, entry=900), seen, **everything).reason == "hard giveback"
    assert leave_after(replace(held, entry=900, peak=1300), seen, **everything).reason == "VWAP giveback"
    assert leave_after(replace(held, entry=900, peak=1100), seen, **everything).reason == "VWAP persistence"


def test_a_stall_pauses_the_exits_that_look_at_the_underlying_and_no_other() -> None:
    held = position(entry=1000, peak=2000)
    assert leave_after(held, quote(1590, 1600), below_vwap=True, below_s=90, stalled=True) is None
    assert leave_after(held, quote(1390, 1400), stalled=True).reason == "hard giveback"
    assert leave_after(held, quote(800, 810), stalled=True).reason == "stop loss"


def test_a_fresh_ask_at_the_stop_fires_whatever_the_spread() -> None:
    leave = leave_after(position(entry=1000), quote(0, 850))
    assert leave.reason == "stop loss"
    assert leave_after(position(entry=1000), quote(0, 851)) is None
    assert leave_after(position(entry=1000), quote(100, 850)).reason == "stop loss"


def test_an_old_mark_fires_no_giveback() -> None:
    held = replace(position(peak=2000), last_mark=1000)
    assert risk_manager.exit_reason(CONFIG, held, sight(marked=False)) is None


def test_the_stop_can_be_asked_to_be_confirmed() -> None:
    config = Config.from_env({**KEYS, "STOP_CONFIRM_QUOTES": "2"})
    once = risk_manager.with_quote(config, position(), quote(800, 860), 830, T + 1)
    assert risk_manager.exit_reason(config, once, sight(quote=quote(800, 860))) is None
    twice = risk_manager.with_quote(config, once, quote(800, 860), 830, T + 2)
    assert risk_manager.exit_reason(config, twice, sight(quote=quote(800, 860))).reason == "stop loss"


# --- may we enter? -----------------------------------------------------------------------------------------------------


def desk(**parts: object) -> Desk8:
    base = Desk8(
        at=T,
        session=FULL,
        cutoff_at=risk_manager.entry_cutoff(CONFIG, FULL),
        holding=False,
        last_exit_at=None,
        trades_today=0,
        pnl_today=0,
        entries_stopped=False,
    )
    return replace(base, **parts)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({}, None),
        ({"session": None}, "session closed"),
        ({"at": FULL.open_at - 0.5}, "session closed"),
        ({"at": float(FULL.open_at)}, None),
        ({"holding": True}, "position open"),
        ({"last_exit_at": T - 299.5}, "entry cooldown, 0s left"),
        ({"last_exit_at": T - 300}, None),
        ({"entries_stopped": True}, "entries stopped by hand"),
    ],
)
def test_the_desk_refuses_with_a_reason(parts: dict[str, object], why: str | None) -> None:
    assert risk_manager.desk_refusal(CONFIG, desk(**parts)) == why


def test_limits_of_trades_and_loss_are_off_by_default_and_inclusive_when_set() -> None:
    assert risk_manager.desk_refusal(CONFIG, desk(trades_today=50, pnl_today=-10_000_000)) is None
    config = Config.from_env({**KEYS, "MAX_TRADES_PER_DAY": "2", "DAILY_LOSS_HALT": "100"})
    assert risk_manager.desk_refusal(config, desk(trades_today=1, pnl_today=-99_999)) is None
    assert "MAX_TRADES_PER_DAY" in (risk_manager.desk_refusal(config, desk(trades_today=2)) or "")
    assert "DAILY_LOSS_HALT" in (risk_manager.desk_refusal(config, desk(pnl_today=-100_000)) or "")
