"""Sessions from a seed: the same every time, like a real feed in shape, and a forced burst is a signal."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from literal_conditions import conditions

from simulator.market import Burst, aggregate, date_of_bars, generate_session, load_bars, read_bars, scale_of
from utils import Session, SessionCalendar

DAY = date(2026, 11, 20)
CALENDAR = SessionCalendar(DAY)
SECONDS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "seconds"


@pytest.fixture(scope="module")
def session() -> Session:
    session = CALENDAR.on(DAY)
    assert session is not None
    return session


def profile(seed: int) -> np.ndarray:
    minutes = np.zeros(390)
    for earlier in CALENDAR.full_before(DAY, 10):
        bars = aggregate(generate_session(seed, earlier, symbols=("IWM",)).columns["IWM"], 60)
        minutes[(bars.start - earlier.open_at) // 60] += bars.volume / 10
    return minutes


def test_the_same_seed_and_date_give_the_same_session_whichever_symbols_are_asked_for(session):
    whole = generate_session(7, session)
    alone = generate_session(7, session, symbols=("SPY",))
    other = generate_session(8, session, symbols=("SPY",))
    for name in ("start", "open", "high", "low", "close", "volume", "vwap"):
        assert np.array_equal(getattr(whole.columns["SPY"], name), getattr(alone.columns["SPY"], name))
    assert not np.array_equal(alone.columns["SPY"].close[:1000], other.columns["SPY"].close[:1000])


def test_every_bar_is_well_formed_and_inside_the_session(session):
    for symbol, bars in generate_session(3, session).columns.items():
        assert bars.start[0] >= session.open_at
        assert bars.start[-1] < session.close_at
        assert (np.diff(bars.start) > 0).all(), symbol
        assert (bars.low <= np.minimum(bars.open, bars.close)).all()
        assert (bars.high >= np.maximum(bars.open, bars.close)).all()
        assert ((bars.low <= bars.vwap) & (bars.vwap <= bars.high)).all()
        assert (bars.volume >= 1).all()


def test_iwm_has_seconds_without_a_bar_and_the_basket_far_fewer(session):
    columns = generate_session(3, session).columns
    holes = {symbol: 1 - len(bars) / 23_400 for symbol, bars in columns.items()}
    assert 0.08 < holes["IWM"] < 0.33
    assert all(holes[symbol] < holes["IWM"] / 2 for symbol in ("SPY", "QQQ", "AAPL", "NVDA"))
    together = np.unique(np.concatenate([bars.start for bars in columns.values()]))
    assert np.diff(together).max() <= 2


def test_volume_is_u_shaped(session):
    bars = generate_session(3, session, bursts=()).columns["IWM"]
    hours = aggregate(bars, 1800, session.open_at).volume
    assert hours[0] > 1.5 * hours[5:8].mean()
    assert hours[-1] > 1.2 * hours[5:8].mean()


def test_bars_come_two_seconds_after_their_end_a_few_late_and_some_again_with_more_volume(session):
    day = generate_session(3, session, symbols=("IWM",)).symbols["IWM"]
    lag = day.known_at - day.final.start - 1
    assert lag.min() >= 2
    assert np.median(lag) < 2.1
    assert 0 < (lag > 3.5).mean() < 0.02
    again = np.isfinite(day.corrected_at)
    assert 0.005 < again.mean() < 0.03
    assert (day.final.volume[again] > day.first.volume[again]).all()
    assert (day.corrected_at[again] > day.known_at[again]).all()
    assert (day.corrected_at[again] - day.final.start[again] < 900).all()


def test_bars_as_of_a_moment_are_the_deliveries_up_to_it(session):
    day = generate_session(5, session, symbols=("IWM",))
    moment = session.open_at + 4000.0
    told = {}
    for delivery in day.deliveries():
        if delivery.at > moment:
            break
        told[delivery.bar.start] = delivery.bar
    assert list(day.symbols["IWM"].as_of(moment).bars("IWM")) == [told[start] for start in sorted(told)]


def test_deliveries_come_in_order_of_arrival_and_mark_what_was_said_before(session):
    seen, last = set(), 0.0
    for delivery in generate_session(5, session, symbols=("IWM", "SPY")).deliveries():
        assert delivery.at >= last
        last = delivery.at
        key = delivery.bar.symbol, delivery.bar.start
        assert delivery.corrected == (key in seen)
        seen.add(key)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("after", [900, 2080, 9000])
def test_a_forced_burst_satisfies_conditions_one_to_seven(session, seed, after):
    day = generate_session(seed, session, symbols=("IWM", "SPY"), bursts=[(after, 1.0)])
    iwm, spy, usual = day.columns["IWM"], day.columns["SPY"], profile(seed)
    held = [
        all(conditions(iwm, spy, session.open_at + after + k, session.open_at, usual)) for k in range(8)
    ]  # the burst's own seconds
    assert sum(held) >= 3


def test_without_a_burst_a_quiet_stretch_is_no_signal(session):
    day = generate_session(2, session, symbols=("IWM", "SPY"), bursts=())
    usual = profile(2)
    times = range(session.open_at + 9000, session.open_at + 9000 + 60)
    held = [all(conditions(day.columns["IWM"], day.columns["SPY"], t, session.open_at, usual)) for t in times]
    assert sum(held) < 6


def test_a_burst_that_spy_leads_fails_leadership_alone(session):
    burst = Burst(9000, 1.6, lead=False)
    day = generate_session(4, session, symbols=("IWM", "SPY"), bursts=[burst])
    held = conditions(day.columns["IWM"], day.columns["SPY"], session.open_at + 9006, session.open_at, profile(4))
    assert held[6] is False


def test_an_early_close_is_a_short_session():
    half = CALENDAR.on(date(2026, 11, 27))
    assert half is not None
    bars = generate_session(1, half, symbols=("IWM",)).columns["IWM"]
    assert half.close_at - half.open_at == 12_600
    assert half.open_at <= bars.start[0] < bars.start[-1] < half.close_at


def test_minutes_add_up_to_their_seconds(session):
    seconds = generate_session(1, session, symbols=("IWM",)).columns["IWM"]
    minutes = aggregate(seconds, 60)
    inside = (seconds.start >= session.open_at + 600) & (seconds.start < session.open_at + 660)
    row = 10
    assert minutes.start[row] == session.open_at + 600
    assert minutes.volume[row] == seconds.volume[inside].sum()
    assert minutes.open[row] == seconds.open[inside][0]
    assert minutes.close[row] == seconds.close[inside][-1]
    assert minutes.high[row] == seconds.high[inside].max()


@pytest.mark.skipif(not SECONDS.exists(), reason="the recorded seconds are not here")
def test_a_file_of_real_seconds_is_played_as_iwm_with_spy_near_it():
    path = SECONDS / "SPY_20131008.csv.gz"
    real = read_bars(path)
    assert date_of_bars(real) == date(2013, 10, 8)
    session = SessionCalendar(date(2013, 10, 8)).on(date(2013, 10, 8))
    assert session is not None
    day = load_bars(path, session, seed=1)
    assert np.array_equal(day.columns["IWM"].close, real.close)
    assert day.columns["IWM"].start[0] < session.open_at, "extended hours are played too"
    times = np.arange(session.open_at + 600, session.close_at, 97.0)
    lags = [day.spot("IWM", times) / day.spot("IWM", times - 300) - day.spot("SPY", times) / day.spot("SPY", times - 300)]
    assert (np.abs(lags) < 0.002).mean() > 0.9
    price, volume = scale_of(real, session)
    assert price == pytest.approx(167.4, rel=0.02)
    assert volume > 0


def test_a_file_without_the_needed_columns_is_refused_by_name(tmp_path):
    path = tmp_path / "bars.csv"
    path.write_text("timestamp_ns_utc,open,high,low,close,volume\n1,1,1,1,1,1\n")
    with pytest.raises(ValueError, match="no column vwap"):
        read_bars(path)
