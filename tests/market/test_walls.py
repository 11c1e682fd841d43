"""Gamma walls against vectors and a literal sum, each reason to have none, and unusual volume by differences of snapshots."""

from __future__ import annotations

from datetime import date
from math import exp, log, pi, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import ChainRow, Quote, Right
from market.walls import Exposures, Snapshots, gex, walls, zero_gamma
from utils import dollars

CLOSE_AT = 1_795_208_400.0
AT = CLOSE_AT - 19_800.0
LAST = date(2026, 11, 19)


def a_row(right: Right, strike: int, **parts: object) -> ChainRow:
    given = {"iv": 0.8, "volume": 900, "open_interest": 1000, "shares": 100, "quote": Quote(490, 510, 20, 20, AT)} | parts
    letter = "C" if right == "call" else "P"
    name = f"O:QQQ261120{letter}{strike:08d}"
    return ChainRow(contract=name, right=right, strike=strike, expiration="2026-11-20", **given)  # type: ignore[arg-type]


def a_chain(**parts: object) -> list[ChainRow]:
    """Twelve strikes of each right around 100; the most interest in the call of 102 and the put of 98."""
    strikes = range(94_000, 106_000, 1_000)
    return [
        a_row("call" if right == "call" else "put", strike, open_interest=5_000 if strike == far else 1_000, **parts)
        for right, far in (("call", 102_000), ("put", 98_000))
        for strike in strikes
    ]


def found(rows: list[ChainRow], **changed: object):
    given = {"at": AT, "as_of": AT, "spot": 100.0, "close_at": CLOSE_AT, "last_session": LAST} | changed
    return walls(rows, **given)  # type: ignore[arg-type]


# --- vectors -----------------------------------------------------------------------------------------------------------


def test_gex_of_the_known_answers() -> None:
    call, put = gex(0.0080, 10_000, 520.0), gex(0.0075, -15_000, 520.0)
    assert (round(float(call)), round(float(put)), round(float(call + put))) == (21_632_000, -30_420_000, -8_788_000)


def test_zero_gamma_of_the_closed_form() -> None:
    """One call K2, one put K1, equal interest and volatility: the root is sqrt(K1 K2) e^(-s²/2)."""
    pair = Exposures([a_row("call", 105_000, iv=0.2), a_row("put", 95_000, iv=0.2)], lambda row: row.open_interest)
    assert zero_gamma(pair, 100.0, 1 / 365) == pytest.approx(99.869449328669, abs=2e-3)
    assert zero_gamma(pair, 104.0, 1 / 365) is None
    assert zero_gamma(Exposures([a_row("call", 105_000)], lambda row: row.open_interest), 100.0, 1 / 365) is None


def test_the_walls_are_where_most_is_held_on_their_own_side_of_the_price() -> None:
    made = found(a_chain())
    assert made.ok
    assert (made.call_wall, made.put_wall) == (102_000, 98_000)
    assert (made.spot, made.as_of, made.reason) == (100.0, AT, "")
    assert made.interest == "open interest undated, taken as of 2026-11-19"
    assert found(a_chain(), spot=103.5).call_wall == 104_000
    assert found(a_chain(), spot=97.5).put_wall == 97_000
    assert found(a_chain(), spot=106.0).call_wall is None


@settings(deadline=None)
@given(st.integers(95, 105), st.lists(st.tuples(st.integers(0, 9_000), st.integers(5, 80)), min_size=24, max_size=24))
def test_net_and_walls_are_those_of_a_literal_sum(spot: int, drawn: list[tuple[int, int]]) -> None:
    rows = [
        a_row(row.right, row.strike, open_interest=interest + 1, iv=iv / 100)
        for row, (interest, iv) in zip(a_chain(), drawn, strict=True)
    ]
    years = 19_800 / (365 * 86_400)
    values = {}
    for row in rows:
        wide = row.iv * sqrt(years)
        d1 = log(spot / (row.strike / 1000)) / wide + wide / 2
        density = exp(-d1 * d1 / 2) / sqrt(2 * pi) / (spot * wide)
        values[row.right, row.strike] = (
            density * row.open_interest * 100 * spot**2 / 100 * (1 if row.right == "call" else -1)
        )
    made = found(rows, spot=float(spot))
    calls = {strike: value for (right, strike), value in values.items() if right == "call" and strike >= 1000 * spot}
    puts = {strike: value for (right, strike), value in values.items() if right == "put" and strike <= 1000 * spot}
    assert made.net_gex == pytest.approx(sum(values.values()), rel=1e-9, abs=1e-3)
    assert calls[made.call_wall] == pytest.approx(max(calls.values()), rel=1e-9) if calls else made.call_wall is None
    assert puts[made.put_wall] == pytest.approx(min(puts.values()), rel=1e-9) if puts else made.put_wall is None


def test_beside_the_open_interest_stand_the_walls_by_todays_volume() -> None:
    rows = [*a_chain(volume=10), a_row("call", 101_000, volume=80_000, open_interest=None)]
    beside = found(rows).by_volume
    assert beside is not None
    assert (beside.call_wall, beside.interest) == (101_000, "volume of today")
    assert found(a_chain(volume=None)).by_volume is None


def test_near_the_close_time_is_floored_at_five_minutes() -> None:
    late = found(a_chain(), at=CLOSE_AT - 30, as_of=CLOSE_AT - 40)
    assert late.net_gex == pytest.approx(found(a_chain(), at=CLOSE_AT - 300, as_of=CLOSE_AT - 300).net_gex)


# --- unavailable -------------------------------------------------------------------------------------------------------


@pytest.mark.fault("B13", "B14")
@pytest.mark.parametrize(
    ("rows", "changed", "reason"),
    [
        ([], {}, "no chain"),
        (a_chain(), {"as_of": AT - 121}, "snapshot is 121 s old"),
        (a_chain(quote=Quote(490, 510, 20, 20, AT, delayed=True)), {}, "quotes are delayed"),
        (a_chain(), {"spot": None}, "no live price"),
        (a_chain(), {"interest_on": date(2026, 11, 18)}, "open interest is of 2026-11-18, not of 2026-11-19"),
        ([a_row(row.right, row.strike, open_interest=None) for row in a_chain()], {}, "open interest is missing"),
        ([a_row(row.right, row.strike, open_interest=0) for row in a_chain()], {}, "open interest is zero everywhere"),
        (a_chain()[3:], {}, "only 9 call strikes with open interest"),
        (a_chain()[:-3], {}, "only 9 put strikes with open interest"),
        ([a_row(row.right, row.strike, iv=None) for row in a_chain()], {}, "gamma unknown for 100% of the open interest"),
    ],
    ids=lambda part: part if isinstance(part, str) else None,
)
def test_what_cannot_be_known_is_unavailable_without_a_number(rows, changed, reason) -> None:
    made = found(rows, **changed)
    assert (made.ok, made.reason) == (False, reason)
    assert (made.call_wall, made.put_wall, made.zero_gamma, made.net_gex, made.by_volume) == (None,) * 5


def test_a_fifth_of_the_interest_may_lack_a_volatility_and_no_more() -> None:
    rows = [a_row(row.right, row.strike) for row in a_chain()]
    few = [a_row(row.right, row.strike, iv=None) if place < 4 else row for place, row in enumerate(rows)]
    assert found(few).ok
    more = [a_row(row.right, row.strike, iv=None) if place < 5 else row for place, row in enumerate(rows)]
    assert found(more).reason == "gamma unknown for 21% of the open interest"


def test_dated_open_interest_of_the_last_session_is_used_and_named() -> None:
    assert found(a_chain(), interest_on=LAST).interest == "open interest of 2026-11-19"


# --- unusual volume ----------------------------------------------------------------------------------------------------


def flow_after(*steps: tuple[float, list[ChainRow]]):
    snapshots = Snapshots()
    for at, rows in steps:
        snapshots.take(at, rows)
    return snapshots.flow(50_000_000, 3.0)


def busy(rows: list[ChainRow], contract: int, volume: int | None, **parts: object) -> list[ChainRow]:
    return [
        a_row(row.right, row.strike, volume=volume, **parts) if place == contract else row for place, row in enumerate(rows)
    ]


CALL, PUT = 6, 18


def test_premium_is_what_was_traded_since_at_the_mid() -> None:
    flow = flow_after((AT, a_chain()), (AT + 60, busy(a_chain(), CALL, 3_900)))
    assert flow.flagged == (a_chain()[CALL].contract,)
    assert dollars(flow.call_premium) == "$150,000.00"
    assert (flow.put_premium, flow.balance) == (0, 1.0)


def test_balance_is_of_both_sides_and_of_the_last_five_minutes_alone() -> None:
    both = busy(busy(a_chain(), CALL, 3_900), PUT, 6_900)
    flow = flow_after((AT, a_chain()), (AT + 60, both))
    assert flow.balance == pytest.approx((3_000 - 6_000) / 9_000)
    later = flow_after((AT, a_chain()), (AT + 60, both), (AT + 361, both))
    assert (later.ok, later.flagged, later.balance) == (True, (), 0.0)


@pytest.mark.parametrize(
    ("volume", "parts", "uncounted"),
    [
        (1_899, {}, 0),
        (2_999, {}, 0),
        (3_900, {"open_interest": None}, 1),
        (3_900, {"open_interest": 0}, 1),
        (3_900, {"quote": None}, 0),
        (800, {}, 0),
        (None, {}, 0),
    ],
    ids=["premium", "ratio", "no interest", "zero interest", "no quote", "volume fell", "no volume"],
)
def test_what_falls_short_is_not_flagged(volume: int | None, parts: dict[str, object], uncounted: int) -> None:
    flow = flow_after((AT, a_chain()), (AT + 60, busy(a_chain(), CALL, volume, **parts)))
    assert (flow.ok, flow.flagged, flow.uncounted) == (True, (), uncounted)


def test_only_the_top_twentieth_of_the_chain_is_flagged() -> None:
    """Of 24 contracts two."""
    rows = a_chain()
    for place, volume in ((3, 4_500), (CALL, 4_900), (PUT, 5_900)):
        rows = busy(rows, place, volume)
    assert flow_after((AT, a_chain()), (AT + 60, rows)).flagged == (rows[CALL].contract, rows[PUT].contract)


def test_fewer_than_two_snapshots_say_nothing() -> None:
    assert flow_after((AT, a_chain())).reason == "1 of 2 snapshots"
    assert not Snapshots().flow(50_000_000, 3.0).ok
