"""An open condor: the seven exits in their order, what confirms them, and the prices of the orders that close it."""

from datetime import time
from fractions import Fraction
from math import nan

import pytest
from hypothesis import given
from hypothesis import settings as checked_by
from hypothesis import strategies as st
from msgspec.structs import replace

from events import Quote
from strategies.condor import exits
from strategies.condor.closing import Closing, opening
from strategies.condor.exits import Exit, Watch
from strategies.condor.legs import Index, Level, Prices
from tests.kit.condors import DAY, FOUR, SESSION, TEN, condor, picture, quotes, settings
from utils import unix_time

S = settings()
LATE = unix_time(DAY, time(15, 45))


def watched(pictures, held=None, found=S, watch=None):
    """The exits that held, picture by picture."""
    watch, told = watch or Watch(TEN), []
    for seen in pictures:
        watch, left = exits.look(found, held or condor(), watch, seen)
        told.append(left and left.name)
    return told


def marks(*mids, every=1.0, start=TEN):
    return [picture(mid, start + number * every) for number, mid in enumerate(mids)]


# --- levels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credit", "given", "level", "text"),
    [
        (260, {}, 520, "stop at -$52 a unit (30% of max loss)"),
        (580, {}, 1160, "stop at -$116 a unit (82% of max loss)"),
        (580, {"condor_stop_credit_multiple": "3"}, 1400, "no stop"),
        (700, {}, 1400, "no stop"),
        (260, {"condor_stop_dollars": "40"}, 400, "stop at -$40 a unit (23% of max loss)"),
    ],
)
def test_the_stop_is_the_lesser_and_says_what_it_is_worth(credit, given, level, text):
    """A 2-wide sold at 0.58 can lose $142: a stop at -$140 is 99 % of that, and none."""
    assert exits.stop_loss(settings(**given), condor(credit)) == level
    assert exits.stop_text(settings(**given), condor(credit)) == text


def test_the_profit_is_net_of_eight_commissions():
    """Half of (26 - 4.92) is 10.54; with 4.92 to come, closing may cost 26 - 4.92 - 4.92 - 10.54 = 5.62 dollars."""
    held = condor(260, fees=4920)
    assert exits.profit_cost(S, held) == Fraction("56.2")
    assert exits.pnl(held, 56) == 26_000 - 5600 - 4920
    assert exits.profit_cost(S, condor(260, units=2, fees=9840)) == Fraction("56.2")


# --- confirmation ------------------------------------------------------------------------------------------------------


def test_three_marks_in_a_row_make_the_stop():
    assert watched(marks(780, 780, 780)) == [None, None, "stop"]
    assert watched(marks(779, 779, 779, 779)) == [None] * 4
    assert watched(marks(780), found=settings(condor_confirm_quotes="1")) == ["stop"]


def test_a_wild_quote_between_begins_again():
    assert watched(marks(900, 900, 260, 900, 900, 900)) == [None] * 5 + ["stop"]
    crossed = replace(picture(900, TEN + 2), quotes=(Quote(900, 100, 1, 1, TEN + 2), *quotes(900, at=TEN + 2)[1:]))
    assert watched([*marks(900, 900), crossed, *marks(900, 900, start=TEN + 3)]) == [None] * 5
    beyond = marks(2100, start=TEN + 2)
    assert watched([*marks(900, 900), *beyond, *marks(900, 900, start=TEN + 3)]) == [None] * 5


def test_the_same_quotes_again_are_no_mark_and_no_end_of_one():
    first, second = picture(900, TEN), picture(900, TEN + 1)
    again = replace(second, at=TEN + 2)
    assert watched([first, second, again, again, picture(900, TEN + 3)]) == [None, None, None, None, "stop"]


def test_marks_within_a_second_count_once():
    assert watched(marks(*[900] * 5, every=0.4)) == [None] * 5
    assert watched(marks(*[900] * 7, every=0.4)) == [None] * 6 + ["stop"]


def test_the_touch_needs_two_values_and_no_option():
    def values(*told, every=1.0):
        nothing = (None,) * 4
        return [
            picture(at=TEN + n * every, quotes=nothing, index=Index(Level(v, TEN + n * every))) for n, v in enumerate(told)
        ]

    assert watched(values(682.0, 682.0)) == [None, "touch"]
    assert watched(values(698.0, 698.3)) == [None, "touch"]
    assert watched(values(682.0, 682.01, 682.0)) == [None] * 3
    assert watched(values(682.0, 682.0, every=0.5)) == [None, None]
    assert watched(values(681.0, nan, 681.0)) == [None] * 3
    assert watched(values(682.0, 682.0), found=settings(condor_touch_exit="off")) == [None, None]
    old = [replace(seen, at=seen.at + 31) for seen in values(682.0, 682.0)]
    assert watched(old) == [None, None]


def test_a_delta_counts_like_a_level_and_only_where_it_is_asked():
    unknown = [replace(seen, deltas=(nan, None)) for seen in marks(300, 300, 300)]
    assert watched(unknown, found=settings(condor_exit_delta="0.3")) == [None] * 3
    deep = [replace(seen, deltas=(-0.3, 0.05)) for seen in marks(300, 300, 300)]
    assert watched(deep) == [None] * 3
    assert watched(deep, found=settings(condor_exit_delta="0.3")) == [None, None, "delta"]
    assert watched(deep, found=settings(condor_exit_delta="0.31")) == [None] * 3


# --- the order of the seven --------------------------------------------------------------------------------------------


def test_the_first_of_the_seven_decides():
    bad = [
        replace(seen, index=Index(Level(681.0, seen.at)), deltas=(-0.5, 0.1)) for seen in marks(900, 900, 900, start=LATE)
    ]
    found = settings(condor_exit_delta="0.3", condor_on_shutdown="close")
    assert watched(bad, found=found, watch=Watch(LATE))[-1] == "stop"
    assert watched([replace(bad[0], close_now=True)], found=found)[-1] == "by hand"
    calm = [replace(seen, quotes=quotes(300, at=seen.at)) for seen in bad]
    assert watched(calm, found=found, watch=Watch(LATE))[-1] == "touch"
    inside = [replace(seen, index=Index(Level(690.0, seen.at))) for seen in calm]
    assert watched(inside, found=found, watch=Watch(LATE))[-1] == "delta"
    assert watched(inside, watch=Watch(LATE))[-1] == "time"


def test_the_time_exit_leaves_what_costs_next_to_nothing():
    def at_time(mid, at=LATE, half=10, **more):
        return picture(mid, at, quotes=quotes(mid, at=at, half=half, wings=(20, 20)), **more)

    assert watched([at_time(260, LATE - 1)]) == [None]
    assert watched([at_time(260)]) == ["time"]
    assert watched([at_time(10)], condor(200), settings(condor_profit_target_percent="0")) == [None]
    assert watched([at_time(20)], condor(200), settings(condor_profit_target_percent="0")) == ["time"]
    assert watched([at_time(260)], found=settings(condor_time_exit="off")) == [None]
    urgent = exits.look(S, condor(), Watch(TEN), at_time(260, SESSION.close_at - 300))[1]
    patient = exits.look(S, condor(), Watch(TEN), at_time(260, SESSION.close_at - 300.1))[1]
    assert (urgent.urgent, patient.urgent) == (True, False)


def test_with_no_cost_known_the_time_exit_waits_until_it_is_blind():
    nothing = picture(at=LATE, quotes=(None,) * 4)
    assert watched([nothing], watch=Watch(LATE - 29)) == [None]
    assert watched([nothing], watch=Watch(LATE - 30)) == ["time"]
    assert exits.is_blind(S, Watch(LATE - 30), LATE)


def test_the_profit_target():
    rich = condor(260, fees=4920)

    def cheap(*costs):
        return [
            picture(at=TEN + n, quotes=quotes(cost - 20, at=TEN + n, half=5, wings=(20, 20))) for n, cost in enumerate(costs)
        ]

    assert watched(cheap(50, 50, 50), rich) == [None, None, "profit"]
    assert watched(cheap(60, 60, 60), rich) == [None] * 3
    assert watched(cheap(50, 50, 60, 50, 50), rich) == [None] * 5
    assert watched(cheap(50, 50, 50), rich, settings(condor_profit_target_percent="0")) == [None] * 3


@pytest.mark.fault("C28")
def test_a_shutdown_keeps_the_condor_unless_it_was_told_to_close():
    ending = picture(shutting_down=True)
    assert watched([ending]) == [None]
    assert watched([ending], found=settings(condor_on_shutdown="close")) == ["shutdown"]


def test_a_higher_row_takes_a_running_exit_over_and_a_lower_one_does_not():
    profit, stop = Exit("profit", False, "", 50), Exit("stop", True, "")
    assert exits.takes_over(profit, stop) == stop
    assert exits.takes_over(stop, profit) == stop
    assert exits.takes_over(profit, None) == profit
    late = Exit("time", True, "")
    assert exits.takes_over(Exit("time", False, ""), late) == late


# --- prices ------------------------------------------------------------------------------------------------------------

STOP, TIME, PROFIT = Exit("stop", True, ""), Exit("time", False, ""), Exit("profit", False, "", 50)


@pytest.mark.parametrize(
    ("left", "natural", "mid", "last", "cost"),
    [
        (STOP, 301, 260, None, 310),
        (STOP, 300, 260, 300, 310),  # a tick more
        (STOP, 400, 260, 300, 400),  # or the new natural, whichever is more
        (STOP, 5000, None, None, 1990),  # never more than the width less a tick
        (TIME, 300, 255, None, 260),
        (TIME, 300, 255, 260, 270),
        (TIME, 262, 255, 260, 270),
        (TIME, 260, 255, 260, 260),  # never beyond natural
        (PROFIT, 60, 30, None, 30),
        (PROFIT, 60, 30, 50, 50),  # never beyond the cost at which it holds
    ],
)
def test_the_next_price(left, natural, mid, last, cost):
    prices = Prices(natural, None if mid is None else Fraction(mid))
    assert exits.next_cost(S, left, prices, 1990, last, TEN, SESSION).cost == cost


@pytest.mark.parametrize(
    ("left", "natural", "mid", "at", "why", "wait"),
    [
        (STOP, None, None, TEN, "no fresh quote of what has to be bought", False),
        (TIME, 300, None, TEN, "no mark", False),
        (PROFIT, 60, None, TEN, "no mark", True),
        (PROFIT, 90, 51, TEN, "the profit has gone", True),
        (STOP, 300, 260, SESSION.close_at - 15.0, "no order is sent in the last seconds before the close", False),
    ],
)
def test_without_a_price_there_is_no_order(left, natural, mid, at, why, wait):
    prices = Prices(natural, None if mid is None else Fraction(mid))
    found = exits.next_cost(S, left, prices, 1990, None, at, SESSION)
    assert (found.cost, found.why_not, found.wait) == (None, why, wait)


@checked_by(deadline=None)
@given(
    st.sampled_from([STOP, TIME, PROFIT]),
    st.lists(
        st.tuples(st.none() | st.integers(-3000, 3000), st.none() | st.fractions(0, 2000, max_denominator=2)), max_size=40
    ),
    st.sampled_from(["0", "0.05"]),
)
def test_no_exit_ever_pays_more_than_its_cap(left, told, tick):
    found, last = settings(condor_net_tick=tick), None
    step = 50 if tick != "0" else 10
    cap = exits.cap_of(found, FOUR, Closing("EXIT", opening(FOUR), 1))
    assert cap == 2000 - step
    for natural, mid in told:
        asked = exits.next_cost(found, left, Prices(natural, mid), cap, last, TEN, SESSION)
        if asked.cost is None:
            assert asked.why_not
            continue
        assert asked.cost <= cap
        assert left.most is None or asked.cost <= left.most
        assert left.urgent or asked.cost <= -(-natural // step) * step
        assert not left.urgent or asked.cost >= min(natural, cap)
        last = asked.cost


MID = st.integers(0, 40).map(lambda tens: tens * 50)


@checked_by(deadline=None)
@given(st.lists(st.tuples(MID, st.floats(0.05, 3)), max_size=60), st.integers(1, 5))
def test_a_stop_always_has_its_marks_in_a_row_behind_it(steps, needed):
    """Whatever the path: where the stop holds, the last so many counted marks were all beyond it, and a second apart."""
    found, held = settings(condor_confirm_quotes=str(needed), condor_profit_target_percent="0"), condor(260)
    watch, at, counted = Watch(TEN), TEN, []
    for mid, passed in steps:
        at += passed
        watch, left = exits.look(found, held, watch, picture(mid, at))
        if mid - 260 < 520:
            counted = []
        elif not counted or at - counted[-1] >= 1:
            counted.append(at)
        assert (left is not None and left.name == "stop") == (len(counted) >= needed)
