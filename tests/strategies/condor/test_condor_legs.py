"""What may be believed of contracts, quotes, indices and deltas; four legs as one package."""

from fractions import Fraction
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import settings as checked_by
from hypothesis import strategies as st

from events import Quote
from strategies.condor import legs
from strategies.condor.legs import ROLES, Index, Level
from tests.kit.condors import FOUR, SESSION, TEN, quotes, row


def test_the_morning_of_a_weekly_sells_nothing():
    """A Monday whose next listed expiry is Friday's has none today."""
    assert legs.expiry_fault(["2026-11-23", "2026-11-27"], SESSION, "XSP") == "no XSP expiry today"
    assert legs.expiry_fault(["2026-11-20"], SESSION, "XSP") is None
    assert legs.expiry_fault(["2026-11-20"], None, "XSP") == "no XSP expiry today"


@pytest.mark.parametrize(
    ("quote", "said"),
    [
        (None, "no quote"),
        (Quote(100, 120, 1, 1, TEN, delayed=True), "quote not in real time"),
        (Quote(100, None, 1, 0, TEN), "no ask"),
        (Quote(100, -1000, 1, 1, TEN), "no ask"),
        (Quote(100, 120, 1, 0, TEN), "ask of size 0"),
        (Quote(130, 120, 1, 1, TEN), "bid above ask"),
        (Quote(100, 120, 1, 1, None), "quote without a time"),
        (Quote(100, 120, 1, 1, TEN - 16), "quote 16s old"),
        (Quote(100, 120, 1, 1, TEN + 9), "quote -9s old"),
        (Quote(100, 120, 1, 1, TEN - 15), None),
        (Quote(120, 120, 1, 1, TEN), None),
    ],
)
def test_a_quote_that_says_nothing_is_named(quote, said):
    assert legs.quote_fault(quote, TEN, 15) == said


@pytest.mark.fault("T11", "C16")
@pytest.mark.parametrize(
    "bid", [Quote(None, 50, 0, 5, TEN), Quote(-1000, 50, 5, 5, TEN), Quote(0, 50, 5, 5, TEN), Quote(40, 50, 0, 5, TEN)]
)
def test_a_bid_that_nobody_pays_is_none(bid):
    """A wing without a bid counts nothing; the cost to close is then the asks of the shorts."""
    assert legs.bid_of(bid) == 0
    four = list(quotes(260))
    four[0] = bid
    found = legs.package(four, TEN, 15)
    whole = legs.package(quotes(260), TEN, 15)
    assert found.mid == whole.mid + 140
    assert found.natural_cost == whole.natural_cost + 130


def test_a_package_is_its_legs():
    found = legs.package(quotes(260), TEN, 15)
    assert (found.mid, found.natural_credit, found.natural_cost, found.size) == (260, 220, 300, 10)
    assert legs.mark(found, 2000) == 260
    assert legs.mark(found, 250) is None
    assert legs.mark(legs.package(quotes(-20), TEN, 15), 2000) is None


def test_the_leg_that_is_not_usable_is_named():
    four = list(quotes())
    four[1] = Quote(None, None, 0, 0, TEN)
    assert legs.package_fault(four, TEN, 15) == "put short: no ask"
    assert legs.package(four, TEN, 15) is None
    assert legs.cost_to_close(four, TEN, 15) is None


def test_what_a_wing_does_not_say_costs_no_exit():
    four = list(quotes())
    four[3] = None
    assert legs.package(four, TEN, 15) is None
    assert legs.cost_to_close(four, TEN, 15) == 300 + 100


@pytest.mark.parametrize(
    ("vix", "said"),
    [
        (None, "no VIX"),
        (Level(18, TEN, live=False), "VIX is not live"),
        (Level(nan, TEN), "VIX is no value between 5 and 150"),
        (Level(4.99, TEN), "VIX is no value between 5 and 150"),
        (Level(18, SESSION.open_at - 1), "VIX is of before the open"),
        (Level(18, TEN - 121), "VIX is 121s old"),
        (Level(18, TEN - 120), None),
    ],
)
def test_vix_is_of_today_live_and_young(vix, said):
    assert legs.vix_fault(vix, SESSION, TEN, 120) == said


def test_a_step_of_the_index_waits_for_the_next_value():
    index = legs.with_level(Index(Level(690, TEN)), Level(703.9, TEN + 1))
    assert "waiting" in legs.index_fault(index, TEN + 1, 30)
    assert index.level.value == 690
    assert legs.index_fault(legs.with_level(index, Level(704.1, TEN + 2)), TEN + 2, 30) is None
    assert legs.with_level(index, Level(690.5, TEN + 2)) == Index(Level(690.5, TEN + 2))
    assert legs.with_level(Index(Level(690, TEN)), Level(703.8, TEN + 1)).doubted is None
    for nothing in (nan, inf, 0.0, -1.0):
        assert legs.with_level(index, Level(nothing, TEN + 2)) == index
    assert legs.with_level(Index(), Level(690, TEN, live=False)) == Index()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"delta": None}, "no delta"),
        ({"delta": nan}, "no delta"),
        ({"delta": 0.0}, "no delta"),
        ({"delta": -1.0}, "no delta"),
        ({"delta": 0.1}, "delta of the wrong sign"),
        ({"underlying": 690.0 * 1.0051}, "delta of another price of the index"),
        ({"underlying": nan}, "delta of another price of the index"),
        ({"underlying": 693.45}, None),
    ],
)
def test_a_delta_is_there_of_its_side_and_of_our_price(changes, said):
    assert legs.delta_fault(row(682, "put", 240, 260, **{"delta": -0.1} | changes), 690.0) == said


PRICE = st.none() | st.integers(-1000, 3000)
QUOTE = st.builds(
    Quote, PRICE, PRICE, st.integers(0, 5), st.integers(0, 5), st.sampled_from([None, TEN, TEN - 20]), st.booleans()
)


@checked_by(deadline=None)
@given(st.tuples(*[st.none() | QUOTE] * 4))
def test_no_quote_makes_a_price_that_its_sides_do_not_hold(four):
    found = legs.package(four, TEN, 15)
    assert (found is None) == (legs.package_fault(four, TEN, 15) is not None)
    if found is not None:
        assert found.natural_credit <= found.mid <= found.natural_cost or any(not legs.bid_of(quote) for quote in four)
        assert found.natural_credit <= found.natural_cost
    mid = legs.prices_to_close(ROLES, four, 2000, TEN, 15).mid
    assert mid is None or mid == found.mid


@checked_by(deadline=None)
@given(st.fractions(-5000, 5000, max_denominator=2), st.sampled_from([10, 50]))
def test_ticks_hold_a_price_between_them(price, tick):
    low, high = legs.down(price, tick), legs.up(price, tick)
    assert low <= price <= high
    assert high - low in (0, tick)
    assert low % tick == high % tick == 0


def test_a_condor_is_told_as_it_is_said():
    assert FOUR.text() == "682P/680P 698C/700C"
    assert FOUR.width == 2000
    assert FOUR.role_of(FOUR.call_long) == "call_long"
    assert legs.margin(2000, 2) == 400_000
    assert Fraction(13, 100) == legs.exact(0.13)
