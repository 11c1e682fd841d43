"""Indicators against published known answers, against a second library, and after corrections."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talipp.indicators import EMA, RSI

from market.indicators import Trend, ema, rsi

# ChartSchool, cs-rsi and cs-movavg sheets (StockCharts)
RSI_CLOSES = (
    44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931, 46.0328, 45.614,
    46.282, 46.282, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439, 46.2122, 46.2521, 45.7137, 46.4515, 45.7835, 45.3548,
    44.0288, 44.1783, 44.2181, 44.5672, 43.4205, 42.6628, 43.1314,
)  # fmt: skip
RSI_ANSWERS = (
    70.5328, 66.3186, 66.5498, 69.4063, 66.3552, 57.9749, 62.9296, 63.2571, 56.0593, 62.3771, 54.7076, 50.4228, 39.9898,
    41.4605, 41.8689, 45.4632, 37.3040, 33.0795, 37.7730,
)  # fmt: skip
EMA_CLOSES = (
    22.2734, 22.194, 22.0847, 22.1741, 22.184, 22.1344, 22.2337, 22.4323, 22.2436, 22.2933, 22.1542, 22.3926, 22.3816,
    22.6109, 23.3558, 24.0519, 23.753, 23.8324, 23.9516, 23.6338, 23.8225, 23.8722, 23.6537, 23.187, 23.0976, 23.326,
    22.6805, 23.0976, 22.4025, 22.1725,
)  # fmt: skip
EMA_ANSWERS = (
    22.2248, 22.2119, 22.2448, 22.2697, 22.3317, 22.5179, 22.7968, 22.9707, 23.1273, 23.2772, 23.3420, 23.4294, 23.5099,
    23.5361, 23.4726, 23.4044, 23.3902, 23.2611, 23.2314, 23.0807, 22.9156,
)  # fmt: skip
SHEET = 6e-5  # the sheets are rounded to four decimals
closes = st.lists(st.integers(9_000, 11_000).map(lambda cents: cents / 100), min_size=1, max_size=120)


def test_rsi_gives_the_published_answers() -> None:
    values = rsi(RSI_CLOSES, 14)
    assert values[:14] == [None] * 14
    assert values[14:] == pytest.approx(RSI_ANSWERS, abs=SHEET)


def test_ema_gives_the_published_answers_seeded_with_the_plain_mean() -> None:
    values = ema(EMA_CLOSES, 10)
    assert values[:9] == [None] * 9
    assert values[9:] == pytest.approx(EMA_ANSWERS, abs=SHEET)


@pytest.mark.parametrize(
    ("series", "answer"), [((10.0,) * 40, 50.0), (range(1, 41), 100.0), (range(41, 1, -1), 0.0)], ids=["flat", "up", "down"]
)
def test_rsi_of_a_flat_series_is_50_and_of_one_way_100_or_0(series: tuple[float, ...], answer: float) -> None:
    assert rsi(map(float, series), 14)[-1] == answer


@settings(max_examples=100, deadline=None)
@given(closes, st.integers(2, 30))
def test_ema_agrees_with_another_library(series: list[float], bars: int) -> None:
    assert ema(series, bars) == pytest.approx(list(EMA(bars, input_values=series)), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(closes, st.integers(2, 30))
def test_rsi_agrees_with_another_library_but_for_a_series_that_never_moved(series: list[float], bars: int) -> None:
    theirs, moved = list(RSI(bars, input_values=series)), False
    for place, (mine, other) in enumerate(zip(rsi(series, bars), theirs, strict=True)):
        moved |= place > 0 and series[place] != series[place - 1]
        assert mine == (pytest.approx(other, abs=1e-7) if moved or other is None else 50.0)


@settings(deadline=None)
@given(closes, closes, st.integers(0, 120))
def test_a_series_gone_over_again_from_a_correction_is_the_series_made_anew(
    before: list[float], after: list[float], at: int
) -> None:
    again, anew = Trend(9, 21, 14), Trend(9, 21, 14)
    for close in before:
        again.add(close)
    again.cut(min(at, len(before)))
    for close in after:
        again.add(close)
    for close in before[:at] + after:
        anew.add(close)
    assert (again.closes, again.fast, again.slow, again.rsi) == (anew.closes, anew.fast, anew.slow, anew.rsi)
