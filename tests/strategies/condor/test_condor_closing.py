"""Which legs the next closing order has, what an entry brought, and what is left at the close."""

from datetime import date, time
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as checked_by
from hypothesis import strategies as st
from msgspec.structs import replace

from events.orders import Fill
from strategies.condor import closing, credit, exits, settlement
from strategies.condor.closing import Tried, held_by, opening, plan
from tests.kit.condors import DAY, FOUR, SESSION, TEN, condor, settings
from utils import Session, unix_time

S = settings()
SIGNS = (1, -1, -1, 1)
BIDS = {"put_long": 40, "call_long": 30}


def counts(*units):
    return dict(zip(FOUR.contracts, (sign * count for sign, count in zip(SIGNS, units, strict=True)), strict=True))


def held(ours=(1, 1, 1, 1), reported=None):
    return held_by(FOUR, counts(*ours), counts(*(reported or ours)))


def shown(found):
    """`EXIT 1 +put_short -put_long …`"""
    if found is None:
        return None
    told = " ".join(("+" if leg.side == "buy" else "-") + FOUR.role_of(leg.contract) for leg in found.legs)
    return f"{found.rung} {found.units} {told}"


NOTHING = Tried()
WHOLE = "+put_short -put_long +call_short -call_long"


def asked(of=None, bids=BIDS, tried=NOTHING, found=S, tested="PUTS"):
    return shown(plan(found, of or held(), bids, tested, tried))


@pytest.mark.fault("C8")
def test_the_package_is_closed_as_it_was_opened_each_action_turned_once():
    assert asked() == f"EXIT 1 {WHOLE}"
    opened = {leg.contract: leg.side for leg in opening(FOUR)}
    closed = plan(S, held(), BIDS, "PUTS", Tried()).legs
    assert {leg.contract for leg in closed} == set(opened)
    assert all(leg.side != opened[leg.contract] and not leg.opens for leg in closed)
    assert all(leg.opens and leg.ratio == 1 for leg in opening(FOUR))


def test_a_wing_without_a_bid_stays_in_the_package():
    assert asked(bids={}) == f"EXIT 1 {WHOLE}"


@pytest.mark.parametrize(
    ("ours", "reported", "then"),
    [
        ((3, 3, 3, 3), (2, 3, 2, 3), "LEG 1 +put_short"),  # a short whose wing is not reported is bought back first
        ((3, 3, 3, 3), (3, 2, 3, 3), f"EXIT 2 {WHOLE}"),
        ((1, 1, 1, 1), (5, 5, 5, 5), f"EXIT 1 {WHOLE}"),  # the account holds more: it is not ours
        ((1, 1, 1, 1), (0, 0, 0, 0), None),
        ((1, 1, 1, 1), (1, -1, 1, 1), "CALLS 1 +call_short -call_long"),  # reported with the other sign: left
        ((0, 1, 1, 1), (0, 1, 1, 1), "LEG 1 +put_short"),
        ((1, 1, 0, 0), (1, 1, 0, 0), "PUTS 1 +put_short -put_long"),
        ((1, 0, 1, 1), (1, 0, 1, 1), "CALLS 1 +call_short -call_long"),
        ((1, 0, 0, 1), (1, 0, 0, 1), None),
    ],
)
def test_never_more_than_the_broker_reports_and_never_across_zero(ours, reported, then):
    assert asked(held(ours, reported)) == then


@pytest.mark.fault("C7")
def test_an_uncovered_short_is_bought_back_at_any_price():
    found = plan(S, held((0, 1, 1, 1)), BIDS, "CALLS", Tried())
    assert found.ring
    assert exits.cap_of(S, FOUR, found) is None


def test_what_is_reported_otherwise_is_told():
    assert closing.odd_legs(held((1, 1, 1, 1), (1, 1, 0, 1))) == (f"{FOUR.call_short}: ours -1, reported +0",)
    assert closing.spare(held((2, 1, 1, 1))) == (FOUR.put_long,)


@pytest.mark.parametrize(
    ("rejects", "urgent_s", "bids", "fallback", "then"),
    [
        ({"EXIT": 1}, 0, BIDS, "legs", f"EXIT 1 {WHOLE}"),
        ({"EXIT": 2}, 0, BIDS, "legs", "PUTS 1 +put_short -put_long"),
        ({"EXIT": 2}, 0, BIDS, "sides", "PUTS 1 +put_short -put_long"),
        ({"EXIT": 9}, 99, {}, "none", f"EXIT 1 {WHOLE}"),
        ({}, 60, BIDS, "legs", f"EXIT 1 {WHOLE}"),  # both wings have a bid: the package goes on
        ({}, 60, {"call_long": 30}, "legs", "PUTS 1 +put_short"),  # a wing without a bid is left out
        ({}, 59, {"call_long": 30}, "legs", f"EXIT 1 {WHOLE}"),
        ({"EXIT": 2, "PUTS": 2}, 0, BIDS, "legs", "LEG 1 +put_short"),
        ({"EXIT": 2, "PUTS": 2}, 0, BIDS, "sides", "CALLS 1 +call_short -call_long"),
    ],
)
def test_the_rungs(rejects, urgent_s, bids, fallback, then):
    assert asked(bids=bids, tried=Tried(rejects, urgent_s), found=settings(condor_close_fallback=fallback)) == then


def test_the_side_nearer_the_money_goes_first():
    tried = Tried({"EXIT": 2})
    assert asked(tried=tried, tested=closing.tested_side(FOUR, 697.0)).startswith("CALLS")
    assert asked(tried=tried, tested=closing.tested_side(FOUR, 683.0)).startswith("PUTS")


def test_a_short_alone_then_its_wing_once_that_is_proven():
    tried = Tried({"EXIT": 2, "PUTS": 2, "CALLS": 2})
    assert plan(S, held(), BIDS, "PUTS", tried).ring
    assert asked(held((1, 0, 1, 1)), tried=tried) == "LEG 1 -put_long"
    assert asked(held((1, 0, 1, 1)), bids={"call_long": 30}, tried=tried) == "LEG 1 +call_short"
    assert exits.cap_of(S, FOUR, plan(S, held((1, 0, 1, 1)), BIDS, "PUTS", tried)) == -10


@checked_by(deadline=None)
@given(
    st.tuples(*[st.integers(-3, 3)] * 4),
    st.tuples(*[st.integers(-3, 3)] * 4),
    st.dictionaries(st.sampled_from(["EXIT", "PUTS", "CALLS"]), st.integers(0, 3)),
    st.sampled_from([0.0, 60.0]),
    st.sampled_from([BIDS, {}]),
    st.sampled_from(["none", "sides", "legs"]),
)
def test_whatever_is_reported_no_order_opens_or_turns_a_leg(ours, reported, rejects, urgent_s, bids, fallback):
    legs = held_by(FOUR, counts(*ours), counts(*reported))
    found = plan(settings(condor_close_fallback=fallback), legs, bids, "PUTS", Tried(rejects, urgent_s))
    if found is None:
        return
    assert found.units > 0
    for leg in found.legs:
        one = legs[FOUR.role_of(leg.contract)]
        assert found.units <= min(one.sign * one.ours, one.sign * one.reported)
        assert leg.side == ("buy" if one.sign < 0 else "sell")
        assert not leg.opens


# --- what the entry brought --------------------------------------------------------------------------------------------


def fills(units=1, prices=(140, 250, 260, 110), revision=0):
    sides = ("buy", "sell", "sell", "buy")
    return [
        Fill(f"x{number}", "IC-1-ENTRY-1", contract, side, units, price, TEN, revision)
        for number, (contract, side, price) in enumerate(zip(FOUR.contracts, sides, prices, strict=True))
    ]


@pytest.mark.fault("C15")
def test_the_credit_is_that_of_the_legs_and_until_then_the_limit():
    assert credit.credit_of(FOUR, fills(), 1, 250) == credit.Credit(Fraction(260), 1, False)
    assert credit.credit_of(FOUR, fills()[:3], 1, 250) == credit.Credit(Fraction(250), 1, True)
    assert credit.credit_of(FOUR, [], 1, 250) == credit.Credit(Fraction(250), 1, True)
    assert credit.credit_of(FOUR, fills(), 2, 250) == credit.Credit(Fraction(250), 2, True)
    assert credit.credit_of(FOUR, [], 0, 250) == credit.Credit(Fraction(250), 0, True)


@pytest.mark.fault("T13")
def test_a_corrected_execution_is_one_fill():
    corrected = replace(fills()[1], price=230, revision=2)
    for order in ([*fills(), corrected], [corrected, *fills()]):
        assert credit.credit_of(FOUR, order, 1, 250) == credit.Credit(Fraction(240), 1, False)


# --- the close ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (690, 0),
        (682, 0),
        (681.5, 500),
        (680, 2000),
        (600, 2000),
        (698, 0),
        (699.25, 1250),
        (700, 2000),
        (800, 2000),
        (680.4, 1600),
    ],
)
def test_what_it_is_worth_at_the_close(index, value):
    price = Fraction(str(index)) * 1000
    assert settlement.value(FOUR, price) == value
    assert settlement.pnl(condor(260, fees=4920), price) == (260 - value) * 100 - 4920


@checked_by(deadline=None)
@given(st.fractions(600_000, 800_000, max_denominator=1000))
def test_it_can_never_cost_more_than_its_width(index):
    assert 0 <= settlement.value(FOUR, index) <= FOUR.width


@pytest.mark.fault("C24")
def test_the_daily_close_is_asked_for_until_it_comes_and_a_week_at_most():
    early_day = date(2026, 11, 27)
    early = Session(early_day, int(unix_time(early_day, time(9, 30))), int(unix_time(early_day, time(13))))
    assert settlement.ask_next(early, early.close_at, None) == unix_time(early_day, time(13, 20))
    at, asked_at = float(SESSION.close_at), []
    while (at := settlement.ask_next(SESSION, at, asked_at[-1] if asked_at else None)) is not None:
        asked_at.append(at)
    evening = unix_time(DAY, time(20))
    assert asked_at[0] == unix_time(DAY, time(16, 20))
    assert asked_at[22] == evening
    assert {later - before for before, later in pairwise(asked_at[:23])} == {600}
    assert {later - before for before, later in pairwise(asked_at[22:])} == {3600}
    assert SESSION.close_at + 7 * 86_400 - 3600 < asked_at[-1] <= SESSION.close_at + 7 * 86_400
