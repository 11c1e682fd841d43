"""Exits: partial ones for every quantity, the stop and its break-even, the clock, prices of a sale, and a life of any quotes."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from events import Quote
from strategies.scalper.exits import (
    Hold,
    first_part,
    flatten,
    follow,
    goal,
    has_first,
    pause_after,
    sale_limit,
    stop_price,
)
from tests.strategies.test_scalper_conditions import configured

SETTINGS = configured()
ENTRY = 1_000


def held(bought: int = 2, entry: int = ENTRY, **parts: object) -> Hold:
    return Hold(bought, entry * bought, **parts)  # type: ignore[arg-type]


def quote(bid: int | None, ask: int | None, at: float = 0.0, **parts: object) -> Quote:
    return Quote(bid, ask, 30, 30, at, **parts)  # type: ignore[arg-type]


def after(hold: Hold, *quotes: Quote) -> Hold:
    for place, each in enumerate(quotes):
        hold = follow(SETTINGS, hold, replace(each, quoted_at=float(place)))
    return hold


def wanted(hold: Hold, seen: Quote | None) -> tuple[str, int] | None:
    made = goal(SETTINGS, hold, seen)
    return None if made is None else (made.role, made.contracts)


# --- targets -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("B4")
@pytest.mark.parametrize(("bought", "first"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (10, 5)])
def test_target_1_sells_half_rounded_up_and_one_contract_leaves_whole(bought: int, first: int) -> None:
    assert wanted(held(bought), quote(1_250, 1_270)) == ("TP1", first)
    assert wanted(held(bought), quote(1_249, 1_270)) is None
    assert wanted(held(bought, sold=first, sold_tp1=first), quote(1_250, 1_270)) is None


@pytest.mark.fault("B4")
def test_a_part_filled_target_sells_what_lacks() -> None:
    assert wanted(held(5, sold=1, sold_tp1=1), quote(1_260, 1_280)) == ("TP1", 2)


@pytest.mark.fault("B4")
def test_target_2_sells_all_that_is_left_whether_or_not_target_1_came_first() -> None:
    assert wanted(held(3), quote(1_500, 1_520)) == ("TP2", 3)
    assert wanted(held(3, sold=2, sold_tp1=2), quote(1_500, 1_520)) == ("TP2", 1)
    assert wanted(held(3, sold=3, sold_tp1=2), quote(1_500, 1_520)) is None


def test_targets_are_of_the_average_fill_in_exact_arithmetic() -> None:
    """Two at 1.43 and one at 1.44: target 1 lies at 1.79166…"""
    hold = Hold(3, 4_300)
    assert wanted(hold, quote(1_791, 1_800)) is None
    assert wanted(hold, quote(1_792, 1_800)) == ("TP1", 2)


@pytest.mark.parametrize("seen", [None, quote(None, 1_300), quote(0, 1_300), quote(1_600, 1_620, delayed=True)])
def test_a_target_needs_a_fresh_bid(seen: Quote | None) -> None:
    assert wanted(held(), seen) is None


# --- stops -------------------------------------------------------------------------------------------------------------


def test_the_stop_is_two_usable_quotes_in_a_row() -> None:
    once = after(held(), quote(490, 510))
    assert wanted(once, quote(490, 510)) is None
    assert wanted(after(held(), quote(490, 510), quote(480, 500)), None) == ("STOP", 2)
    assert wanted(after(held(), quote(490, 510), quote(500, 510), quote(490, 510)), None) is None


def test_the_same_quote_asked_for_twice_is_one_and_an_unusable_one_breaks_no_row() -> None:
    same = quote(490, 510, 7.0)
    assert follow(SETTINGS, follow(SETTINGS, held(), same), same).leaving is None
    assert after(held(), quote(490, 510), quote(100, 900), quote(490, 510)).leaving == "STOP"


def test_a_fresh_ask_at_the_stop_is_the_stop_at_once() -> None:
    assert after(held(), quote(10, 500)).leaving == "STOP"
    assert after(held(), quote(10, 501)).leaving is None
    assert after(held(), quote(10, 500, delayed=True)).leaving is None


def test_a_stop_once_begun_goes_on_whatever_the_price_does() -> None:
    stopped = after(held(), quote(490, 510), quote(490, 510), quote(1_600, 1_620))
    assert wanted(stopped, quote(1_600, 1_620)) == ("STOP", 2)


@pytest.mark.fault("B4")
def test_after_target_1_the_stop_lies_at_break_even() -> None:
    rest = held(3, sold=2, sold_tp1=2)
    assert has_first(SETTINGS, rest)
    assert stop_price(SETTINGS, rest) == ENTRY
    assert after(rest, quote(990, 1_010), quote(990, 1_010)).leaving == "STOP"
    assert after(rest, quote(992, 1_010), quote(992, 1_010)).leaving is None
    part = held(3, sold=1, sold_tp1=1)
    assert stop_price(SETTINGS, part) == Fraction(ENTRY, 2)
    letter = configured(stop_after_target_percent=50)
    assert stop_price(letter, rest) == Fraction(ENTRY, 2)


# --- flatten -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("B5")
def test_flatten_sells_all_without_a_quote_and_overrules_a_stop() -> None:
    assert wanted(flatten(held(3, sold=1), "force close"), None) == ("FLATTEN", 2)
    stopped = after(held(), quote(490, 510), quote(490, 510))
    assert wanted(flatten(stopped, "force close"), None) == ("FLATTEN", 2)


@pytest.mark.fault("B5")
def test_a_sale_begins_at_the_bid_goes_down_by_ticks_and_then_to_the_market() -> None:
    seen = quote(500, 520)
    assert [sale_limit("STOP", attempt, seen, 10, False) for attempt in range(5)] == [500, 490, 480, None, None]
    assert sale_limit("TP1", 4, seen, 10, False) == 500
    assert sale_limit("FLATTEN", 2, quote(20, 24), 10, False) == 10


@pytest.mark.fault("B5")
@pytest.mark.parametrize("seen", [None, quote(None, 500), quote(0, 10), quote(100, 900), quote(500, 520, delayed=True)])
def test_without_a_usable_quote_it_is_the_market_at_once_and_where_that_is_refused_one_tick(seen: Quote | None) -> None:
    assert sale_limit("FLATTEN", 0, seen, 10, False) is None
    assert sale_limit("FLATTEN", 1, seen, 10, True) == 10


@pytest.mark.fault("B5")
def test_pauses_after_rejected_closes_grow_to_half_a_minute() -> None:
    assert [pause_after(count) for count in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


# --- any life ----------------------------------------------------------------------------------------------------------

prices = st.tuples(st.integers(0, 180), st.integers(1, 40), st.integers(0, 3))


@settings(deadline=None)
@given(st.integers(1, 10), st.lists(prices, max_size=40))
def test_no_life_sells_more_than_was_bought_and_every_exit_has_its_price(
    bought: int, drawn: list[tuple[int, int, int]]
) -> None:
    """Each goal is filled in part or whole; at the end the clock takes what is left."""
    hold = held(bought)
    for place, (bid, wide, taken) in enumerate(drawn):
        seen = quote(bid * 10, (bid + wide) * 10, float(place))
        hold = follow(SETTINGS, hold, seen)
        made = goal(SETTINGS, hold, seen)
        if made is None:
            continue
        assert 1 <= made.contracts <= hold.left
        if made.role == "TP1":
            assert bid * 10 >= ENTRY * 1.25
            assert hold.sold_tp1 + made.contracts <= first_part(SETTINGS, bought)
        if made.role == "TP2":
            assert bid * 10 >= ENTRY * 1.5
        sold = min(taken, made.contracts)
        hold = replace(hold, sold=hold.sold + sold, sold_tp1=hold.sold_tp1 + sold * (made.role == "TP1"))
    last = goal(SETTINGS, flatten(hold, "force close"), None)
    assert (last.contracts if last else 0) == hold.left >= 0
