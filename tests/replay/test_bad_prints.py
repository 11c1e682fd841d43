"""Bad prints and late beginnings: eager, lazy and compiled decide the same, and a print that nobody believes changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay import kernel, made, options, paths, setting
from replay.bars import BarArrays, opening_price, true_bars
from replay.world import Modelled
from strategies.vwap.page import look_at

CALENDAR = made.calendar_for(3)
(SESSION,) = made.sessions(1, CALENDAR)
LOOSE = {
    "MAX_SPREAD_PERCENT": "12", "DELTA_WIDEN": "0.2", "RELATIVE_VOLUME_MIN": "0.8", "SIGNAL_COOLDOWN_SECONDS": "5",
    "WARMUP_SECONDS": "300",
}  # fmt: skip
SPAN_S = 2_400


def day_of(seed: int, begins_s: int = 0) -> paths.SessionBars:
    day = made.session_of(seed, SESSION)
    start, end = SESSION.open_at + begins_s, SESSION.open_at + SPAN_S
    return paths.SessionBars(SESSION, day.own.between(start, end), day.leader.between(start, end), day.profile, seed=seed)


def spiked(bars: BarArrays, places: list[int], by: float) -> BarArrays:
    """The bars with closes that are off by a part of themselves at these places."""
    close = bars.close.copy()
    at = np.array([place for place in places if place < len(close)], dtype=np.int64)
    close[at] = np.round(close[at] * (1 + by), 2)
    return replace(bars, close=close, high=np.maximum(bars.high, close), low=np.minimum(bars.low, close))


def three_ways(day: paths.SessionBars, delay_s: float = 0.0) -> tuple[paths.Result, paths.Result, paths.Result]:
    config = setting.config_of(LOOSE)
    eager = paths.live_through(config, CALENDAR, day, delay_s, eager=True)
    lazy = paths.live_through(config, CALENDAR, day, delay_s)
    return paths.result_of(eager), paths.result_of(lazy), paths.fast(config, paths.ready(day, delay_s))


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(1, 40),
    begins_s=st.sampled_from([0, 3, 700]),
    own=st.lists(st.integers(0, SPAN_S - 1), max_size=25),
    leader=st.lists(st.integers(0, SPAN_S - 1), max_size=25),
    by=st.sampled_from([-0.5, -0.03, 0.021, 0.05, 9.0]),
    long=st.booleans(),
)
def test_eager_lazy_and_compiled_are_equal_with_spikes_in_both_symbols(
    seed: int, begins_s: int, own: list[int], leader: list[int], by: float, long: bool
) -> None:
    if long:  # two in a row agree with each other, and are believed
        own, leader = [*own, *(place + 1 for place in own)], [*leader, *(place + 1 for place in leader)]
    day = day_of(seed, begins_s)
    day = day._replace(own=spiked(day.own, own, by), leader=spiked(day.leader, leader, by))
    eager, lazy, compiled = three_ways(day)
    assert lazy == eager
    assert compiled == eager


def test_a_print_that_nobody_believes_moves_neither_signals_nor_options() -> None:
    day = day_of(28)
    clean = three_ways(day)
    assert clean[0].signals
    assert clean[0].trades
    for trade in clean[0].trades:
        held = int(trade.opened_at) - SESSION.open_at + 1
        damaged = day._replace(own=spiked(day.own, [held], -0.4))
        market = Modelled(day.seed, SESSION, damaged.own, "IWM")
        at, contract = trade.opened_at + 2, f"O:IWM{SESSION.date:%y%m%d}C{trade.strike:08d}"
        bid = market.quote(contract, at)
        fair = Modelled(day.seed, SESSION, day.own, "IWM").quote(contract, at)
        assert bid is not None
        assert fair is not None
        assert abs(bid.ask - fair.ask) <= 40  # mills: the second before stands in, and not a price 40 % below
        found = three_ways(damaged)
        assert found[0] == found[1] == found[2]
        assert trade.opened_at in [one.opened_at for one in found[0].trades]


def test_which_bars_are_true_is_what_the_windows_took() -> None:
    day = day_of(3)
    once, twice = spiked(day.own, [100], 0.1), spiked(day.own, [100, 101], 0.1)
    assert len(true_bars(day.own, SESSION)) == SPAN_S
    assert SESSION.open_at + 100 not in true_bars(once, SESSION).start
    assert len(true_bars(once, SESSION)) == SPAN_S - 1
    believed = true_bars(twice, SESSION)  # two that agree are believed, and so is the way back once two agree on it
    assert SESSION.open_at + 101 in believed.start
    spike_at_the_open = spiked(day.own, [0], 0.5)
    reference = opening_price(true_bars(spike_at_the_open, SESSION))
    assert abs(reference / day.own.close[1] - 1) < 0.01
    assert options.chain_of(1, SESSION, reference).reference == reference


def test_a_file_that_begins_after_the_open_is_known_from_its_first_bar() -> None:
    """Ten minutes that nobody saw are not ten minutes of volume 0: the warm-up begins with the file."""
    day = day_of(28, begins_s=600)
    config = setting.config_of(LOOSE)
    seen: list[int] = []
    paths.live_through(
        config, CALENDAR, day, watch=lambda desk, _events, _actions: seen.append(look_at(desk)[0].windows.covered_from or 0)
    )
    assert set(seen[-50:]) == {SESSION.open_at + 600}
    assert paths.ready(day).readings.covered == kernel.OPEN + 600
    eager, lazy, compiled = three_ways(day)
    assert eager == lazy == compiled
    assert all(at >= SESSION.open_at + 600 + 300 for at in eager.signals)
