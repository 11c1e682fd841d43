"""The filters at their edges, the choice among what is left, and greeks against a second hand."""

from datetime import date, time
from decimal import Decimal
from math import erf, isnan, log, sqrt
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from contract_selector import choose, distance, implied, refused_by, select, skew_25, with_greeks
from events import ChainRow, Quote
from utils import SessionCalendar

CALENDAR = SessionCalendar(date(2026, 11, 20))
SESSION = CALENDAR.on(date(2026, 11, 20))
HALF_DAY = CALENDAR.on(date(2026, 11, 27))
NOW = SESSION.open_at + 3_600.0
SPOT = 215.0


def config(**changed):
    usual = {
        "symbol": "IWM",
        "delta_min": Decimal("0.30"),
        "delta_max": Decimal("0.45"),
        "delta_widen": Decimal(0),
        "min_nbbo_size": 20,
        "max_spread_percent": Decimal(4),
        "min_volume": 500,
        "min_open_interest": 1000,
        "quote_max_age_seconds": 15,
        "max_contracts_to_track": 3,
    }
    return SimpleNamespace(**usual | changed)


def quote(bid=500, ask=510, sizes=(35, 40), age=1.0, delayed=False):
    return Quote(bid, ask, *sizes, None if age is None else NOW - age, delayed)


def row(strike=216.0, *, day=SESSION.date, right="call", **changed):
    mills = round(strike * 1000)
    usual = {
        "contract": f"O:IWM{day:%y%m%d}{right[0].upper()}{mills:08d}",
        "right": right,
        "strike": mills,
        "expiration": day.isoformat(),
        "shares": 100,
        "quote": quote(),
        "delta": 0.4,
        "iv": 0.2,
        "volume": 20_000,
        "volume_at": NOW - 5,
        "open_interest": 5_000,
        "underlying": SPOT,
    }
    return ChainRow(**usual | changed)


def picked(rows, spot=SPOT, now=NOW, session=SESSION, **changed):
    return select(rows, now, config(**changed), session, spot)


# --- filters -----------------------------------------------------------------------------------------------------------

EXPIRY, SHARES, DELTA, TWO_SIDED = (
    "call that expires today",
    "100 shares a contract",
    "delta in [0.30, 0.45]",
    "0 < bid < ask",
)
SIZES, SPREAD, VOLUME = "sizes of at least 20", "spread within 4%", "day volume of at least 500"
INTEREST, AGE, LIVE = "open interest of at least 1000", "quote at most 15 s old", "quote in real time"
MIDNIGHT = SESSION.at(time(0))


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({}, None),
        ({"delta": 0.30}, None),
        ({"delta": 0.45}, None),
        ({"delta": 0.29999}, DELTA),
        ({"delta": 0.45001}, DELTA),
        ({"quote": quote(sizes=(20, 20))}, None),
        ({"quote": quote(sizes=(19, 40))}, SIZES),
        ({"quote": quote(sizes=(40, 19))}, SIZES),
        ({"quote": quote(245, 255)}, None),  # exactly 4 %
        ({"quote": quote(490, 510)}, None),
        ({"quote": quote(244, 254)}, SPREAD),
        ({"quote": quote(240, 250)}, SPREAD),
        ({"volume": 500}, None),
        ({"volume": 499}, VOLUME),
        ({"volume": None}, VOLUME),
        ({"volume_at": MIDNIGHT}, None),
        ({"open_interest": 1000}, None),
        ({"open_interest": 999}, INTEREST),
        ({"quote": quote(age=15)}, None),
        ({"quote": quote(age=15.1)}, AGE),
        ({"quote": quote(age=None)}, AGE),
        ({"quote": quote(age=-60)}, AGE),
    ],
)
def test_each_filter_at_its_edge(changed, refused):
    assert refused_by(row(**changed), NOW, config(), SESSION) == refused
    selection = picked([row(**changed)])
    assert selection.emptied_by == (refused or "")
    assert len(selection.tracked) == (refused is None)


@pytest.mark.fault("R09", "A25")
@pytest.mark.parametrize(
    ("bid", "ask"), [(0, 510), (500, 0), (0, 0), (None, 510), (500, None), (500, 500), (520, 510), (-1000, 510), (-10, -5)]
)
def test_no_bid_no_ask_locked_crossed_and_negative_are_never_entered(bid, ask):
    assert picked([row(quote=quote(bid, ask))]).emptied_by == TWO_SIDED
    assert picked([row(quote=quote(bid, ask), delta=None)]).emptied_by == DELTA  # nor is a greek made up from them


def test_a_spread_of_the_whole_mid_is_never_entered():
    assert picked([row(quote=quote(10, 1000))]).emptied_by == SPREAD


@pytest.mark.fault("R10", "A25")
@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"quote": quote(age=60)}, AGE),
        ({"quote": quote(delayed=True)}, LIVE),
        ({"volume_at": MIDNIGHT - 1}, VOLUME),
    ],
)
def test_what_is_old_delayed_or_of_yesterday_is_not_entered(changed, refused):
    assert picked([row(**changed)]).emptied_by == refused


@pytest.mark.fault("R08", "A26")
@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"open_interest": None}, INTEREST),
        ({"volume": None}, VOLUME),
        ({"quote": None}, TWO_SIDED),
        ({"quote": None, "delta": None, "iv": None}, DELTA),
    ],
)
def test_what_a_row_does_not_say_lets_it_through_no_filter_however_low(changed, refused):
    least = {"min_volume": 0, "min_open_interest": 0}
    whole = row(217, delta=0.31)
    assert picked([row(**changed), whole]).tracked == (whole,)
    assert picked([row(**changed)], **least).emptied_by.split(" of ")[0] == refused.split(" of ")[0]


@pytest.mark.fault("A26")
def test_no_open_interest_is_a_number_and_missing_is_not():
    assert picked([row(open_interest=0)], min_open_interest=0).tracked
    assert not picked([row(open_interest=None)], min_open_interest=0).tracked
    assert picked([row(open_interest=0)]).emptied_by == INTEREST


@pytest.mark.fault("A19", "R12")
def test_without_an_expiry_of_today_there_is_no_contract_whatever_else_is_listed():
    monday, next_week = date(2026, 11, 23), date(2026, 11, 27)
    selection = picked([row(day=monday), row(day=next_week), row(right="put", delta=-0.4)])
    assert (selection.tracked, selection.emptied_by) == ((), EXPIRY)
    today = row(217)
    assert picked([row(day=monday), today]).tracked == (today,)
    mislabelled = row(day=monday, expiration=SESSION.date.isoformat())
    assert not picked([mislabelled]).tracked


@pytest.mark.fault("A20")
@pytest.mark.parametrize(("session", "closes"), [(SESSION, time(16)), (HALF_DAY, time(13))])
def test_a_contract_that_is_already_settled_is_refused(session, closes):
    close = session.at(closes)
    for now, refused in ((close - 1, None), (close, EXPIRY), (close + 3_600, EXPIRY)):
        one = row(day=session.date, quote=replace(quote(), quoted_at=now - 1), volume_at=now)
        assert refused_by(one, now, config(), session) == refused


@pytest.mark.fault("A21")
def test_today_is_new_yorks_when_utc_is_a_day_ahead():
    evening = CALENDAR.on(date(2026, 11, 19)).at(time(20, 30))  # Friday in UTC
    session = CALENDAR.at(evening)
    assert session.date == date(2026, 11, 19)
    assert picked([row(day=date(2026, 11, 20))], now=evening, session=session).emptied_by == EXPIRY


@pytest.mark.fault("R12", "A27")
@pytest.mark.parametrize(
    ("changed", "ok"),
    [
        ({}, True),
        ({"strike": 215.5}, True),
        ({"shares": 10}, False),
        ({"contract": "O:IWM1261120C00216000"}, False),  # adjusted
        ({"contract": "O:IWM261120P00216000"}, False),
        ({"contract": "O:IWM261120C00217000"}, False),  # another strike
        ({"contract": "O:IWM261120C0021600"}, False),
    ],
)
def test_adjusted_and_contradictory_contracts_are_refused(changed, ok):
    assert (picked([row(**changed)]).emptied_by == "") is ok


@pytest.mark.fault("A27")
@pytest.mark.parametrize("symbol", ["C", "C0", "P0C0", "XC0P0C"])
def test_an_underlying_may_look_like_a_right(symbol):
    contract = f"O:{symbol}261120C00215500"
    assert picked([row(215.5, contract=contract)], symbol=symbol).tracked
    assert not picked([row(215.5, contract=contract)], symbol="IWM").tracked


@pytest.mark.fault("R12")
def test_a_row_sent_twice_is_one_contract():
    assert len(picked([row(), row()]).tracked) == 1


def test_delta_widen_widens_the_band_on_both_sides():
    rows = [row(214, delta=0.26, underlying=None), row(217, delta=0.49, underlying=None)]
    assert picked(rows).emptied_by == DELTA
    widened = picked(rows, delta_widen=Decimal("0.04"))
    assert {each.delta for each in widened.tracked} == {0.26, 0.49}
    assert picked(rows, delta_widen=Decimal("0.03")).emptied_by == "delta in [0.27, 0.48]"


# --- ranking and choice ------------------------------------------------------------------------------------------------


def test_tracked_are_the_three_most_liquid_by_volume_times_mid():
    rows = [
        row(214, volume=1_000, quote=quote(900, 910)),
        row(215, volume=3_000, quote=quote(500, 510)),
        row(216, volume=4_000, quote=quote(300, 310)),
        row(217, volume=2_000, quote=quote(250, 260)),
    ]
    assert [each.strike for each in picked(rows).tracked] == [215_000, 216_000, 214_000]
    assert [each.strike for each in picked(rows, max_contracts_to_track=1).tracked] == [215_000]


def test_chosen_is_the_lowest_of_distance_from_the_middle_and_spread():
    near = row(215, delta=0.38, quote=quote(490, 510))  # 0.005 / 0.075 + 4 % / 4 %
    tight = row(216, delta=0.41, quote=quote(500, 510))  # 0.035 / 0.075 + 1.98 % / 4 %
    assert distance(near, config()) == pytest.approx(1 / 15 + 1)
    assert distance(tight, config()) == pytest.approx(7 / 15 + 100 * 20 / 1010 / 4)
    assert choose([near, tight], NOW, config(), SESSION, SPOT).row == tight
    assert choose([near, replace(tight, delta=0.45)], NOW, config(), SESSION, SPOT).row == near


def test_a_tie_goes_to_the_more_liquid_whatever_the_order():
    one, other = row(215, volume=9_000), row(216, volume=10_000)
    for rows in ([one, other], [other, one]):
        assert choose(rows, NOW, config(), SESSION, SPOT).row == other


def test_a_refreshed_row_that_no_longer_passes_is_not_chosen():
    tracked = picked([row()]).tracked
    later = NOW + 16
    assert choose(tracked, later, config(), SESSION, SPOT).row is None
    assert choose(tracked, NOW + 10, config(), SESSION, SPOT).row == tracked[0]


def test_none_says_which_filter_emptied_the_list_and_names_the_nearest():
    given = {215: 0.50, 216: 0.17, 213: 0.80, 212: 0.90}
    rows = [row(strike, delta=delta, underlying=None) for strike, delta in given.items()]
    choice = choose(rows, NOW, config(), SESSION, SPOT)
    assert choice.row is None
    assert choice.why == (
        "no contract: delta in [0.30, 0.45] (nearest O:IWM261120C00215000 Δ0.50 0.50×0.51, "
        "O:IWM261120C00216000 Δ0.17 0.50×0.51, O:IWM261120C00213000 Δ0.80 0.50×0.51)"
    )
    selection = picked([*rows, row(217, quote=quote(240, 250), underlying=None)])
    assert selection.why() == "no contract: spread within 4% (nearest O:IWM261120C00217000 Δ0.40 0.24×0.25)"
    assert selection.passed[DELTA] == 1
    assert selection.passed[SPREAD] == 0
    assert choose([], NOW, config(), SESSION, SPOT).why == "no contract: the chain is empty"


# --- greeks ------------------------------------------------------------------------------------------------------------


def normal(x):
    return (1 + erf(x / sqrt(2))) / 2


def black_scholes(spot, strike, years, iv, right="call"):
    """Price and delta, r = 0, written out by hand."""
    d1 = (log(spot / strike) + iv * iv * years / 2) / (iv * sqrt(years))
    price = spot * normal(d1) - strike * normal(d1 - iv * sqrt(years))
    return (price, normal(d1)) if right == "call" else (price - spot + strike, normal(d1) - 1)


@given(
    strike=st.floats(0.985, 1.015).map(lambda part: part * SPOT),
    years=st.floats(0.25 / 8_760, 6.5 / 8_760),
    iv=st.floats(0.1, 1.5),
    right=st.sampled_from(["call", "put"]),
)
@settings(max_examples=150, deadline=None)
def test_a_price_gives_back_its_volatility_and_delta(strike, years, iv, right):
    price, delta = black_scholes(SPOT, strike, years, iv, right)
    extrinsic = price - max(SPOT - strike if right == "call" else strike - SPOT, 0)
    found_iv, found_delta = implied(
        np.array([price]), np.array([SPOT]), np.array([strike]), years, np.array([right == "call"])
    )
    if extrinsic > 1e-4:
        assert found_iv[0] == pytest.approx(iv, abs=1e-5)
        assert found_delta[0] == pytest.approx(delta, abs=1e-6)


def test_a_price_below_its_intrinsic_value_or_above_the_underlying_has_no_greeks():
    iv, delta = implied(
        np.array([14.9, 216.0]), np.array([215.0, 215.0]), np.array([200.0, 200.0]), 1 / 2000, np.array([True, True])
    )
    assert all(map(isnan, (*iv, *delta)))


def priced(strike, session, now, iv=0.2, spot=SPOT, **changed):
    """A row quoted at its Black-Scholes price to the hundredth of a cent, without greeks, and the delta it should have."""
    price, delta = black_scholes(spot, strike, (session.close_at - now) / (365 * 86_400), iv)
    mid = round(price * 1000)
    return row(strike, day=session.date, delta=None, iv=None, quote=quote(mid - 1, mid + 1), **changed), delta


@pytest.mark.fault("A22", "A24")
@pytest.mark.parametrize("session", [SESSION, HALF_DAY])
@pytest.mark.parametrize("after_open", [60, 5_400, 12_000])
def test_missing_greeks_come_from_the_rows_own_mid_to_the_close_of_that_session(session, after_open):
    now = session.open_at + after_open
    one, delta = priced(215, session, now)
    (found,) = with_greeks([one], now, session, SPOT)
    assert found.computed
    assert found.delta == pytest.approx(delta, abs=0.002)
    assert found.iv == pytest.approx(0.2, abs=0.002)


@pytest.mark.fault("A22")
def test_greeks_of_the_feed_are_kept_and_not_marked():
    one = row(delta=0.41, iv=0.3)
    assert with_greeks([one, row(217, delta=None)], NOW, SESSION, SPOT)[0] == one
    assert with_greeks([one], NOW, SESSION, 215.9)[0] == one  # 0.4 % away


@pytest.mark.fault("R08")
def test_a_delta_without_an_iv_stays_the_feeds_and_only_the_iv_is_computed():
    one, delta = priced(215, SESSION, NOW)
    given = replace(one, delta=0.38)
    assert abs(delta - 0.38) > 0.05
    (found,) = with_greeks([given], NOW, SESSION, SPOT)
    assert (found.delta, found.computed) == (0.38, False)
    assert found.iv == pytest.approx(0.2, abs=0.002)


@pytest.mark.fault("A23")
def test_a_delta_of_another_price_of_the_underlying_is_made_anew_at_the_live_one():
    moved = 218.0
    one, delta = priced(218.5, SESSION, NOW, spot=moved)
    stale = replace(one, delta=0.05, iv=0.2, underlying=SPOT)
    (found,) = with_greeks([stale], NOW, SESSION, moved)
    assert found.computed
    assert found.delta == pytest.approx(delta, abs=0.002)
    assert picked([stale], spot=moved).tracked == (found,)
    unquoted = replace(stale, delta=0.4, quote=None)
    assert picked([unquoted], spot=moved).emptied_by == DELTA


@pytest.mark.fault("A23")
def test_greeks_of_ours_follow_the_live_price():
    one, _ = priced(216, SESSION, NOW)
    (ours,) = with_greeks([one], NOW, SESSION, SPOT)
    (again,) = with_greeks([ours], NOW, SESSION, 215.4)
    assert again.delta > ours.delta


def test_without_any_price_of_the_underlying_there_are_no_greeks():
    one, delta = priced(216, SESSION, NOW, underlying=None)
    assert with_greeks([one], NOW, SESSION, None) == [one]
    from_row, _ = priced(216, SESSION, NOW)
    assert with_greeks([from_row], NOW, SESSION, None)[0].delta == pytest.approx(delta, abs=0.002)


def test_after_the_close_nothing_is_computed():
    one, _ = priced(216, SESSION, NOW)
    assert with_greeks([one], SESSION.close_at, SESSION, SPOT) == [one]


# --- skew --------------------------------------------------------------------------------------------------------------


def smile(*points, right="call"):
    sign = 1 if right == "call" else -1
    return [row(215 + sign * place, right=right, delta=sign * delta, iv=iv) for place, (delta, iv) in enumerate(points)]


def test_skew_is_put_less_call_volatility_at_a_delta_of_a_quarter():
    calls = smile((0.45, 0.18), (0.30, 0.19), (0.20, 0.21))
    puts = smile((0.40, 0.20), (0.25, 0.23), (0.10, 0.30), right="put")
    assert skew_25(calls, puts) == pytest.approx(0.23 - 0.20)
    assert skew_25(list(reversed(calls)), puts) == pytest.approx(0.03)


def test_skew_is_not_guessed_beyond_the_rows_there_are():
    calls, puts = smile((0.45, 0.18), (0.20, 0.21)), smile((0.40, 0.20), (0.10, 0.30), right="put")
    assert skew_25(calls[:1], puts) is None
    assert skew_25(calls, []) is None
    assert skew_25([replace(each, iv=None) for each in calls], puts) is None


def test_a_day_bar_that_does_not_say_its_day_is_taken_as_given():
    assert picked([row(volume_at=None)]).tracked


@pytest.mark.parametrize("zeros", [{"delta": 0.0, "iv": 0.0}, {"delta": 0.0}, {"delta": 0.0, "iv": None}])
def test_greeks_of_zero_beside_a_bid_are_none_and_are_computed_and_say_so(zeros):
    (ours,) = with_greeks([row(delta=None, iv=None)], NOW, SESSION, SPOT)
    (found,) = with_greeks([row(**zeros)], NOW, SESSION, SPOT)
    assert found == ours
    assert found.computed
    assert 0.2 < found.delta < 0.5
    assert found.iv > 0.1


@pytest.mark.parametrize("spot", [SPOT, None])
@pytest.mark.parametrize("yesterdays", [0.03, 0.97])
def test_a_delta_that_its_own_mid_refutes_is_computed_and_says_so(yesterdays, spot):
    (ours,) = with_greeks([row(delta=None, iv=None)], NOW, SESSION, spot)
    (found,) = with_greeks([row(delta=yesterdays, iv=0.9)], NOW, SESSION, spot)
    assert found == ours
    assert found.computed


def test_a_delta_as_good_as_its_mid_and_one_without_a_second_side_stay_as_the_feed_gave_them():
    (ours,) = with_greeks([row(delta=None, iv=None)], NOW, SESSION, SPOT)
    near = row(delta=ours.delta + 0.1)
    unquoted = row(delta=0.97, quote=quote(bid=None))
    far_out = row(delta=0.0, iv=0.0, quote=quote(bid=0, ask=10))
    assert with_greeks([near, unquoted, far_out], NOW, SESSION, SPOT)[:2] == [near, unquoted]
