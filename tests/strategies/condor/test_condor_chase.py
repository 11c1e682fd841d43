"""An entry's prices: from mid towards natural, never under the floor, never above the last."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import settings as checked_by
from hypothesis import strategies as st

from signals import Gate
from strategies.condor import chase
from strategies.condor.chase import Chase, Next, Over
from strategies.condor.legs import Package
from strategies.condor.strikes import Choice, Verdict
from tests.kit.condors import FOUR, SESSION, TEN, settings

S = settings()


def package(mid, natural):
    return Package(Fraction(mid), natural, 2 * round(mid) - natural, 10, (TEN,) * 4)


def verdict(mid=260, natural=220, refusal=""):
    gate = Gate(4, "VIX", not refusal, None, None, None, refusal)
    return Verdict((gate,), Choice(FOUR, package(mid, natural), (Fraction(1, 10), Fraction(1, 10))))


def run(markets, *, found=S, units=1, every=10.0):
    """A chase whose orders are never filled; its credits and its end."""
    now, going = TEN, Chase(TEN, units)
    for mid, natural in markets:
        going, after = chase.step(found, going, verdict(mid, natural), SESSION, now)
        if isinstance(after, Over):
            return going.credits, after
        assert after == Next(going.credits[-1], units)
        now += every
    raise AssertionError("the chase did not end")


def test_the_first_price_is_the_mid_down_to_a_tick():
    assert chase.next_credit(S, None, package(265, 220)) == 260
    assert chase.next_credit(settings(condor_net_tick="0.05"), None, package(265, 220)) == 250


@pytest.mark.parametrize(
    ("last", "mid", "natural", "then"),
    [
        (260, 260, 220, 250),  # a tick lower
        (260, 240, 200, 240),  # the mid, if that is less
        (260, 300, 200, 250),  # a mid that rose changes nothing
        (230, 230, 230, 220),
        (220, 230, 230, 220),  # not more than a tick under natural
        (260, 300, 290, 260),  # and never above the last
    ],
)
def test_the_next_price(last, mid, natural, then):
    assert chase.next_credit(S, last, package(mid, natural)) == then


@pytest.mark.fault("C18")
def test_the_logs_chase_ends_at_the_floor_and_not_under_it():
    """Scanned over the floor, filled at 0.07: there is no such limit."""
    credits, over = run([(240, 130)] * 20)
    assert credits == (240, 230, 220, 210, 200)
    assert over == Over("0.19 is under the floor of 0.20", 0)
    assert chase.summary(chase.Chase(TEN, 1, credits, 0, 240, 130), over) == (
        "tried 0.24, 0.23, 0.22, 0.21, 0.20; best mid 0.24, best natural 0.13; 0.19 is under the floor of 0.20"
    )


def test_it_ends_after_its_steps_and_after_its_time():
    credits, over = run([(550, 100)] * 20)
    assert len(credits) == 9
    assert over.why == "8 new prices"
    assert run([(550, 100)] * 20, every=60)[1].why == "180 s"
    assert len(run([(550, 100)] * 20, every=60)[0]) == 3
    assert run([(550, 100)] * 20, found=settings(condor_chase_steps="0"))[0] == (550,)


def test_a_condition_that_is_false_ends_it():
    going = Chase(TEN, 1, (260,))
    assert chase.step(S, going, verdict(refusal="26 > 25"), SESSION, TEN)[1] == Over("VIX: 26 > 25", 0)
    gone = Verdict((Gate(7, "credit", True, None, None, None),))
    assert chase.step(S, going, gone, SESSION, TEN)[1] == Over("no four usable legs", 0)


def test_no_order_in_the_last_seconds():
    late = SESSION.close_at - 15.0
    assert chase.step(S, Chase(late, 1), verdict(), SESSION, late)[1] == Over("the last seconds before the close", 0)
    assert isinstance(chase.step(S, Chase(late, 1), verdict(), SESSION, late - 0.01)[1], Next)


@pytest.mark.fault("C1", "T9")
def test_what_is_filled_is_not_asked_for_again():
    part = Chase(TEN, 3, (260,), filled=2)
    assert chase.step(S, part, verdict(), SESSION, TEN + 10)[1] == Next(250, 1)
    assert chase.step(S, Chase(TEN, 2, (260,), filled=2), verdict(), SESSION, TEN + 10)[1] == Over("filled", 2)
    assert chase.step(S, part, verdict(refusal="x"), SESSION, TEN + 10)[1] == Over("VIX: x", 2)


MARKET = st.tuples(st.fractions(0, 2000, max_denominator=2), st.integers(-500, 2000))


@checked_by(deadline=None)
@given(
    st.lists(MARKET, min_size=1, max_size=70), st.sampled_from([0, 8, 50]), st.sampled_from(["0", "0.05"]), st.integers(1, 3)
)
def test_no_credit_is_ever_under_the_floor_or_above_the_one_before(markets, steps, tick, units):
    found = settings(condor_chase_steps=str(steps), condor_net_tick=tick, condor_units=str(units), condor_max_margin="1000")
    going, last = Chase(TEN, units), None
    for number, (mid, natural) in enumerate(markets):
        going, after = chase.step(found, going, verdict(mid, min(natural, int(mid))), SESSION, TEN + number)
        if isinstance(after, Over):
            break
        assert after.credit >= 200
        assert last is None or after.credit <= last
        assert after.credit % (50 if tick != "0" else 10) == 0
        last = after.credit
    assert len(going.credits) <= steps + 1


def test_each_failed_chase_doubles_the_wait_up_to_half_an_hour():
    assert [chase.cooldown(S, count) for count in (1, 2, 3, 4, 50)] == [300, 600, 1200, 1800, 1800]
    assert chase.cooldown(settings(condor_chase_cooldown_seconds="0"), 9) == 0
    assert chase.cooldown(settings(condor_chase_cooldown_seconds="3600"), 3) == 3600
