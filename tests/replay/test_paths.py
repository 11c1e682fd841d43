"""The compiled path against the desk: the same signals and the same trades, to the last bit of time and price."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay import kernel, made, options, paths, setting
from replay.bars import BarArrays, calendar_of, sessions_of
from replay.files.bars import read
from replay.world import Modelled, World, useful_polls
from simulator.chain import ChainModel
from simulator.market import generate_session

CALENDAR = made.calendar_for(12)
SESSIONS = made.sessions(12, CALENDAR)
LOOSE = {"MAX_SPREAD_PERCENT": "12", "DELTA_WIDEN": "0.2", "RELATIVE_VOLUME_MIN": "0.8", "SIGNAL_COOLDOWN_SECONDS": "5"}
SETTINGS = (
    {},
    LOOSE,
    {
        **LOOSE,
        "VWAP_TREND_FILTER": "off",
        "LEADERSHIP_FILTER": "off",
        "STOP_CONFIRM_QUOTES": "2",
        "EXIT_POLL_SECONDS": "0.7",
    },
    {**LOOSE, "MAX_TRADES_PER_DAY": "2", "DAILY_LOSS_HALT": "5", "FEE_PER_CONTRACT": "0.65", "ENTRY_SLIPPAGE": "0.005"},
    {
        **LOOSE,
        "ENTRY_COOLDOWN_SECONDS": "0",
        "SIGNAL_COOLDOWN_SECONDS": "0",
        "WARMUP_SECONDS": "900",
        "STOP_LOSS_PERCENT": "3.5",
    },
)


def made_day(seed: int, which: int = 0) -> paths.SessionBars:
    day = made.session_of(seed, SESSIONS[which])
    return paths.SessionBars(day.session, day.own, day.leader, day.profile, seed=seed)


def both(given: dict[str, str], day: paths.SessionBars, delay_s: float = 0.0) -> tuple[paths.Result, paths.Result]:
    config = setting.config_of(given)
    calendar = CALENDAR if day.session.date.year == 2026 else calendar_of(day.session.date, day.session.date)
    lived = paths.result_of(paths.live_through(config, calendar, day, delay_s))
    return lived, paths.fast(config, paths.ready(day, delay_s))


@pytest.mark.parametrize("given", SETTINGS, ids=str)
def test_on_generated_sessions(given: dict[str, str]) -> None:
    trades = 0
    for which in range(2):
        lived, quick = both(given, made_day(11 + which, which))
        assert quick == lived
        trades += len(lived.trades)
    assert trades or "DAILY_LOSS_HALT" in given or not given


@pytest.mark.parametrize("day", ["20131007", "20131008", "20131009"])
def test_on_real_sessions(data: Path, day: str) -> None:
    bars, _ = read(data / "seconds" / f"SPY_{day}.csv.gz", "SPY")
    (session,) = sessions_of(bars, calendar_of(date(2013, 10, 7), date(2013, 10, 9)))
    one = paths.day_of(bars, bars, session, (25_000.0,) * 390)
    for delay_s in (0.0, 2.0, 5.0):
        lived, quick = both({}, one, delay_s)
        assert quick == lived
        assert lived.signals


def test_acting_out_only_what_is_read_decides_like_acting_out_everything() -> None:
    config, day = setting.config_of(LOOSE), made_day(5)
    eager = paths.live_through(config, CALENDAR, day, eager=True)
    lazy = paths.live_through(config, CALENDAR, day)
    assert eager.trades == lazy.trades
    assert eager.signals == lazy.signals
    assert eager.trades
    assert lazy.batches < eager.batches


def test_the_same_bars_give_the_same_digest_and_others_another() -> None:
    config = setting.config_of(LOOSE)
    first, again, other = (paths.fast(config, paths.ready(made_day(seed))) for seed in (1, 1, 2))
    assert paths.digest([first]) == paths.digest([again]) != paths.digest([other])


def test_the_future_changes_nothing_before_it() -> None:
    """All that comes after an instant is replaced; what was decided until then stays as it was."""
    config, day = setting.config_of(LOOSE), made_day(3)
    other = made_day(4)
    for cut in (4_000, 11_700, 20_000):
        at = day.session.open_at + cut

        def mixed(ours: BarArrays, theirs: BarArrays, at: int = at) -> BarArrays:
            before, after = ours.between(0, at), theirs.between(at, 2**60)
            scale = before.close[-1] / after.close[0]
            prices = {name: getattr(after, name) * scale for name in ("open", "high", "low", "close", "vwap")}
            after = replace(after, **prices)
            return BarArrays(
                *(np.concatenate([getattr(part, name) for part in (before, after)]) for name in BarArrays.__slots__)
            )

        changed = day._replace(own=mixed(day.own, other.own), leader=mixed(day.leader, other.leader))
        for way in (lambda one: both(LOOSE, one)[0], lambda one: paths.fast(config, paths.ready(one))):
            was, now = way(day), way(changed)
            assert [t for t in was.signals if t < at] == [t for t in now.signals if t < at]
            assert [t for t in was.trades if t.closed_at < at] == [t for t in now.trades if t.closed_at < at]


# --- bars as feeds send them: holes, corrections, late and doubled bars, bursts, steps -----------------------------------


def streamed(config_given: dict[str, str], seed: int, frames: list[tuple[float, int, float, float, float]]) -> None:
    """Both paths over frames (at, start, close, volume, vwap) of the traded symbol in order of arrival."""
    config, session = setting.config_of(config_given), SESSIONS[0]
    day = made_day(seed)
    frames.sort(key=lambda frame: frame[0])
    at, start, close, volume, vwap = (np.array(column) for column in zip(*frames, strict=True))
    truth = {frame[1]: frame for frame in frames}
    final = sorted(truth.values(), key=lambda frame: frame[1])
    starts, closes = np.array([f[1] for f in final]), np.array([f[2] for f in final])
    own = BarArrays(starts, closes, closes, closes, closes, np.array([f[3] for f in final]), np.array([f[4] for f in final]))
    day = day._replace(own=own)
    others = setting.stream_of(day.leader, 0.0)
    quick = paths.fast(config, paths.heard(day, kernel.Stream(at, start, close, volume, vwap), others))

    from events import Bar

    leader = [(moment, False, bar) for moment, bar in zip(others.at.tolist(), day.leader.bars("SPY"), strict=True)]
    ours = [(f[0], True, Bar("IWM", f[1], f[2], f[2], f[2], f[2], f[3], f[4])) for f in frames]
    arrivals = sorted(leader + ours, key=lambda arrival: arrival[:2])
    market = Modelled(day.seed, session, own, "IWM")
    sat = World(config, CALENDAR, session, arrivals, market, day.profile, premarket=False, polls=None).play()
    assert paths.result_of(sat) == quick


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(1, 30),
    hole=st.sampled_from([0.0, 0.1, 0.4]),
    corrected=st.sampled_from([0.0, 0.02, 0.3]),
    burst_every=st.sampled_from([0, 7, 60]),
    step=st.sampled_from([0.0, 0.019, 0.05, 0.5]),
)
def test_on_bars_with_holes_corrections_and_bursts(
    seed: int, hole: float, corrected: float, burst_every: int, step: float
) -> None:
    rng = np.random.default_rng([seed, 77])
    own = made_day(seed).own.between(SESSIONS[0].open_at, SESSIONS[0].open_at + 2_400)
    frames = []
    for start, close, volume, vwap in zip(
        own.start.tolist(), own.close.tolist(), own.volume.tolist(), own.vwap.tolist(), strict=True
    ):
        if rng.random() < hole:
            continue
        if step and rng.random() < 0.01:
            close = round(close * (1 + step), 2)
        at = start + 1.0 + (0.0 if not burst_every else float(burst_every - start % burst_every))
        frames.append((at, start, close, volume, vwap))
        if rng.random() < corrected:
            later = at + float(rng.choice([0.1, 0.5, 3.0, 55.0, 300.0, 1_250.0]))
            frames.append((later, start, round(close + 0.01, 2), volume * 1.5, vwap))
    streamed({**LOOSE, "WARMUP_SECONDS": "120"}, seed, frames)


def test_on_a_simulated_feed_with_its_late_and_corrected_frames() -> None:
    day = generate_session(8, SESSIONS[0], symbols=("IWM",))
    frames = [(item.at, item.bar.start, item.bar.close, item.bar.volume, item.bar.vwap) for item in day.deliveries()]
    streamed(LOOSE, 8, frames[:9_000])


# --- the option market that both are shown -----------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 50), reference=st.floats(60, 400), at=st.floats(-900, 23_500), moved=st.floats(-0.02, 0.02))
def test_the_compiled_chain_is_the_simulators(seed: int, reference: float, at: float, moved: float) -> None:
    session = SESSIONS[0]
    model, chain = ChainModel(seed, session, reference), options.chain_of(seed, session, reference)
    moment, spot = session.open_at + at, round(reference * (1 + moved), 2)
    quotes = model.quotes(moment, spot, chain.strikes)
    volume = model.day_volume(chain.strikes, moment, np.False_)
    whole, real = options.snapshot(chain, moment, spot)
    sides = np.stack([quotes.bid, quotes.ask, quotes.bid_size, quotes.ask_size, volume], axis=1)
    assert np.array_equal(whole[:, :5], sides)
    assert np.allclose(real[:, 2], quotes.iv, rtol=0, atol=1e-12)


def test_useful_polls_are_few() -> None:
    day = made_day(1)
    polls = useful_polls(setting.config_of({}), day.session, day.own, 0.0, day.profile)
    assert 0 < len(polls) < 250
