"""Today's chain -> four legs and ten conditions."""

from datetime import date, time
from fractions import Fraction
from math import nan

import pytest
from hypothesis import given
from hypothesis import settings as checked_by
from hypothesis import strategies as st
from msgspec.structs import replace

from events import Quote
from strategies.condor import discipline, times
from strategies.condor.discipline import Desk
from strategies.condor.legs import Index, Level
from strategies.condor.margin import NOT_VERIFIED, Preview, checked
from strategies.condor.strikes import choose, conditions, quoted
from tests.kit.condors import DAY, FOUR, ROWS, SESSION, SPOT, TEN, market, name, row, settings
from utils import Session, unix_time

S = settings()


def verdict(of=None, found=S, *, desk=None, way_out=None, **more):
    return conditions(found, of or market(), desk=desk, way_out=way_out, **more)


def false(of=None, found=S, **more):
    return {gate.number: gate.reason for gate in verdict(of, found, **more).gates if not gate.ok}


def changed(contract, **changes):
    return tuple(replace(one, **changes) if one.contract == contract else one for one in ROWS)


def requoted(contract, *prices, sizes=(10, 10), at=TEN):
    return changed(contract, quote=Quote(*prices, *sizes, at))


def test_the_condor_nearest_the_delta_is_chosen():
    found = verdict()
    assert found.ok
    assert found.refusal is None
    assert found.choice.four == FOUR
    assert found.choice.deltas == (Fraction(1, 10), Fraction(11, 100))
    assert [gate.number for gate in found.gates] == list(range(1, 11))
    assert quoted(FOUR, market())["put_short"] == (240, 260)
    credit = found.gates[6]
    assert (credit.value, credit.threshold, credit.margin) == (0.26, 0.2, pytest.approx(0.06))


def test_ties_go_further_out():
    rows = (row(682, "put", 240, 260, -0.11), row(681, "put", 200, 220, -0.09), *ROWS[1:], row(679, "put", 90, 110, -0.04))
    assert choose(S, market(rows)).four.put_short == name(681, "put")


def test_a_delta_on_the_very_edge_of_the_band_is_in_it():
    assert not false(market(changed(FOUR.put_short, delta=-0.13)))
    assert 5 in false(market(changed(FOUR.put_short, delta=-0.1300001)))
    assert not false(market(changed(FOUR.put_short, delta=-0.07)))


@pytest.mark.parametrize(
    ("rows", "gate", "said"),
    [
        (changed(FOUR.put_short, delta=None), 5, "no put near delta 0.10"),
        (changed(FOUR.call_short, delta=-0.11), 5, "no call near delta 0.10"),
        (changed(FOUR.put_short, underlying=700.0), 5, "no put near delta 0.10"),
        (requoted(FOUR.put_short, None, 260), 5, "no put near delta 0.10"),
        (requoted(FOUR.put_short, None, None), 5, "no put near delta 0.10"),
        ([one for one in ROWS if one.contract != FOUR.put_long], 6, "no put wing 2 further out"),
        (requoted(FOUR.call_long, 100, 120, at=TEN - 16), 6, "no call wing 2 further out"),
        (requoted(FOUR.call_long, 100, 120, at=TEN - 6), 7, "a leg's quote is 6s old"),
        (requoted(FOUR.put_short, 170, 190), 7, "0.19 < 0.20"),
    ],
)
def test_what_is_not_usable_makes_its_condition_false_with_its_reason(rows, gate, said):
    assert false(market(rows))[gate] == said


def test_a_wing_without_a_bid_may_be_bought():
    assert not false(
        market(requoted(FOUR.put_long, None, 150, sizes=(0, 10)), spot=SPOT), settings(condor_natural_min_percent="0")
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"expiration": "2026-11-27"},
        {"contract": "O:XSP261127P00682000", "expiration": "2026-11-27"},
        {"contract": "O:SPX261120P00682000"},
        {"shares": 10},
    ],
)
@pytest.mark.parametrize("chased", [None, FOUR])
def test_a_weekly_or_another_class_is_sold_at_no_point(changes, chased):
    rows = {one.contract: replace(one, **changes) if one.contract == FOUR.put_short else one for one in ROWS}
    found = verdict(replace(market(), rows=rows), chased=chased)
    assert found.choice is None
    assert not found.ok


def test_a_wing_that_is_not_there_makes_the_next_short_of_the_band():
    rows = (row(683, "put", 300, 320, -0.10), *changed(FOUR.put_short, delta=-0.09))
    assert choose(S, market(rows)).four.put_short == name(682, "put")
    assert choose(S, market((*rows, row(681, "put", 190, 210, -0.08)))).four.put_long == name(681, "put")


@pytest.mark.fault("C17")
def test_a_phantom_credit_is_refused():
    """0.05 x 1.00: a mid of 0.52 that nobody pays."""
    rows = [
        row(682, "put", 300, 800, -0.10),
        row(680, "put", 10, 290, -0.06),
        row(698, "call", 200, 250, 0.11),
        row(700, "call", 90, 160, 0.05),
    ]
    found = verdict(market(rows))
    assert (found.choice.package.mid, found.choice.package.natural_credit) == (500, 50)
    assert false(market(rows)) == {8: "natural credit 0.05 beside a mid of 0.50"}


def test_a_credit_over_the_share_of_the_width_is_refused():
    rows = [row(682, "put", 600, 620, -0.12), ROWS[1], row(698, "call", 560, 580, 0.12), ROWS[4]]
    assert false(market(rows), settings(condor_delta_credit_factor="10"))[8] == "credit 0.93 is over 40% of the width"


def test_a_mid_that_the_deltas_do_not_allow_is_refused():
    rows = [row(682, "put", 450, 470, -0.12), ROWS[1], row(698, "call", 490, 510, 0.12), ROWS[4]]
    assert false(market(rows))[8] == "a mid of 0.71 is more than the deltas allow (0.60)"


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (time(9, 30), "before 09:35 ET"),
        (time(9, 34, 59), "before 09:35 ET"),
        (time(9, 35), None),
        (time(13, 59, 59), None),
        (time(14, 0), "no entries after 14:00 ET"),
    ],
)
def test_the_window_has_its_first_and_no_last_instant(at, said):
    moment = unix_time(DAY, at)
    rows = [replace(one, quote=replace(one.quote, quoted_at=moment)) for one in ROWS]
    assert false(market(rows, at=moment)).get(1) == said


def test_on_an_early_close_everything_is_as_much_earlier():
    day = date(2026, 11, 27)
    early = Session(day, int(unix_time(day, time(9, 30))), int(unix_time(day, time(13))))
    assert times.entry_until(S, early) == unix_time(day, time(11))
    assert times.time_exit(S, early) == unix_time(day, time(12, 45))
    assert times.last_order(early) == early.close_at - 15
    assert times.time_exit(settings(condor_time_exit="off"), early) is None


@pytest.mark.parametrize(
    ("vix", "said"),
    [
        (10, None),
        (9.99, "9.99 < 10"),
        (25.0, None),
        (25.01, "25.01 > 25"),
        (None, "no VIX"),
        (nan, "VIX is no value between 5 and 150"),
    ],
)
def test_vix_within_its_bounds(vix, said):
    assert false(market(vix=vix)).get(4) == said


def test_an_index_that_is_not_known_lets_nothing_through():
    nothing = market()
    for index in (Index(), Index(Level(SPOT, TEN - 31)), Index(Level(SPOT, TEN), Level(720, TEN))):
        assert 5 in false(replace(nothing, index=index))


@pytest.mark.fault("C9")
def test_what_the_account_holds_besides_is_no_candidate():
    assert false(market(held={FOUR.call_long}))[10] == f"the account holds {FOUR.call_long} besides"
    more = (*ROWS, row(683, "put", 300, 320, -0.12), row(681, "put", 180, 200, -0.08), row(679, "put", 90, 110, -0.04))
    assert choose(S, market(more, held={FOUR.put_short})).four.put_short == name(681, "put")
    assert false(market(held={FOUR.put_long}), chased=FOUR) == {10: f"the account holds {FOUR.put_long} besides"}


def test_in_a_chase_the_legs_stay_and_the_tolerance_is_doubled():
    moved = market(changed(FOUR.put_short, delta=-0.16))
    assert not false(moved, chased=FOUR)
    assert verdict(moved, chased=FOUR).choice.four == FOUR
    assert "0.061 from 0.10" in false(market(changed(FOUR.put_short, delta=-0.161)), chased=FOUR)[5]
    assert false(market(spot=682.0, rows=changed(FOUR.put_short, delta=-0.16, underlying=682.0)), chased=FOUR)[5]
    gone = false(market(requoted(FOUR.put_short, None, None)), chased=FOUR)
    assert gone[6] == "put short: no ask"
    assert {5, 6, 7, 8} <= set(gone)


def test_desk_and_way_out_refuse_in_their_own_words():
    assert false(desk="entries stopped by hand", way_out="phone") == {2: "entries stopped by hand", 3: "phone"}
    assert verdict(desk="x").refusal == "desk: x"


@checked_by(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=4), st.floats(0, 0.3), st.integers(0, 800))
def test_no_chain_makes_an_error_and_no_choice_is_out_of_the_money(without, delta, bid):
    rows = [one for index, one in enumerate(ROWS) if index not in without]
    rows.append(row(683, "put", bid, bid + 20, -delta))
    found = verdict(market(rows))
    assert len(found.gates) == 10
    if found.choice is not None:
        four = found.choice.four
        assert four.strikes[0] < four.strikes[1] < SPOT * 1000 < four.strikes[2] < four.strikes[3]
        assert four.strikes[1] - four.strikes[0] == four.strikes[3] - four.strikes[2] == 2000
    if found.ok:
        assert found.choice.package.mid >= 200


# --- margin ------------------------------------------------------------------------------------------------------------

PAPER, LIVE = (
    {"condor_broker": "ibkr-paper"},
    {"condor_broker": "ibkr-live", "condor_live": "U1234567", "ibkr_account": "U1234567", "ibkr_port": "7496"},
)


@pytest.mark.fault("C5")
@pytest.mark.parametrize(
    ("mode", "preview", "amount", "source", "refusal", "note"),
    [
        ({}, None, 200_000, "computed", None, ""),
        (PAPER, Preview(174.0), 174_000, "broker", None, ""),
        (PAPER, Preview(300.0), 300_000, "broker", None, ""),
        (PAPER, Preview(300.01), 300_010, "broker", "the broker asks for a margin of 300.01 > 300.00", ""),
        (PAPER, Preview(), 200_000, "computed", None, NOT_VERIFIED),
        (PAPER, Preview(nan), 200_000, "computed", None, NOT_VERIFIED),
        (PAPER, Preview(0.0), 200_000, "computed", None, NOT_VERIFIED),
        (PAPER, Preview(rejected="201 riskless"), 200_000, "computed", "refused by the broker: 201 riskless", ""),
        (LIVE, Preview(200.0), 200_000, "broker", None, ""),
        (LIVE, Preview(), 200_000, "computed", "the broker gave no margin", ""),
        (LIVE, Preview(nan), 200_000, "computed", "the broker gave no margin", ""),
        (LIVE, Preview(float("inf")), 200_000, "computed", "the broker gave no margin", ""),
        (LIVE, Preview(-5.0), 200_000, "computed", "the broker gave no margin", ""),
    ],
)
def test_a_live_account_goes_on_with_a_good_number_alone(mode, preview, amount, source, refusal, note):
    found = checked(settings(**mode), preview)
    assert (found.amount, found.source, found.refusal, found.note) == (amount, source, refusal, note)
    assert false(checked=found).get(9) == refusal


# --- the desk's own ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("desk", "said"),
    [
        (Desk(), None),
        (Desk(account="not linked"), "not linked"),
        (Desk(unresolved="IC-1"), "IC-1"),
        (Desk(expiry="no XSP expiry today"), "no XSP expiry today"),
        (Desk(stopping=True), "stopping"),
        (Desk(stopped=True), "entries stopped by hand"),
        (Desk(open_trade="IC-1"), "IC-1 is open"),
        (Desk(unproven=1), "an order whose end is not proven"),
        (Desk(tick_refused=True), "the broker refused a price for its tick: set CONDOR_NET_TICK"),
        (Desk(rejected=2), "2 orders were rejected today"),
        (Desk(rejected=1, opened_today=1), None),
        (Desk(opened_today=2), "2 opened today, CONDOR_MAX_TRADES_PER_DAY reached"),
        (Desk(pnl_today=-199_990), None),
        (Desk(pnl_today=-200_000), "-$200.00 today, CONDOR_DAILY_LOSS_HALT reached"),
        (Desk(last_exit_at=TEN - 1799), "entry cooldown, 1s left"),
        (Desk(last_exit_at=TEN - 1800), None),
        (Desk(chase_allowed_at=TEN + 40), "chase cooldown, 40s left"),
    ],
)
def test_the_desk_says_why_it_enters_nothing(desk, said):
    assert discipline.refusal(S, desk, TEN) == said
    assert discipline.refusal(settings(condor_daily_loss_halt="0"), Desk(pnl_today=-(10**9)), TEN) is None


def test_the_session_is_this_days():
    assert SESSION.close_at - SESSION.open_at == times.FULL_DAY_S
