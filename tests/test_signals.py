"""The windows against a slow, literal reading of the rules, second by second; then the edge of each rule by table."""

import csv
import gzip
import random
from datetime import date, time
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import Bar
from signals import Leader, ProfileError, Windows, above, at_least, profile_of
from utils import Session, SessionCalendar

OPEN = 1_795_185_000
SESSION = Session(date(2026, 11, 20), OPEN, OPEN + 23_400)
FLAT_PROFILE = (60_000.0,) * 390
TOLERANCE = Fraction(1, 10**7)


def config(**changed):
    usual = {
        "warmup_seconds": 300,
        "vwap_trend_filter": True,
        "relative_volume_filter": True,
        "leadership_filter": True,
        "relative_volume_min": 1.5,
        "spy_iwm_lag_threshold": 0.20,
    }
    return SimpleNamespace(**usual | changed)


def bar(second, close=100.0, volume=100.0, vwap=None, symbol="IWM"):
    """A bar of `second` seconds after the open."""
    vwap = close if vwap is None else vwap
    return Bar(symbol, OPEN + second, close, max(close, vwap), min(close, vwap), close, volume, vwap)


def windows(*bars, profile=FLAT_PROFILE, **changed):
    made = Windows(config(**changed), SESSION, profile)
    for each in bars:
        made.add(each)
    return made


# --- the rules, as slowly as they read ---------------------------------------------------------------------------------


UNIT = 2**60


@cache
def exact(value):
    """A price or volume in whole units of 2**-60."""
    top, bottom = value.as_integer_ratio()
    assert UNIT % bottom == 0
    return top * (UNIT // bottom)


class Slow:
    """The rules for bars and entries, literally: exact rationals, every window gathered anew from all bars known.

    Sums are of whole numbers of 2**-60, of which every price and volume is a multiple: as exact as fractions, and bearable.
    """

    def __init__(self, profile, leader_bars=()):
        self.bars, self.live, self.passed = {}, set(), []
        self.profile = profile
        self.leader = {each.start: each for each in leader_bars}
        self.held, self.newest, self.fall = None, None, None
        self.unknown_from, self.gaps = OPEN, []
        self.below_since = None

    def covered_from(self):
        return self.gaps[-1][1] if self.gaps else OPEN

    def add(self, new):
        if not SESSION.open_at <= new.start < SESSION.close_at:
            return False
        if self.newest is not None and new.start < self.newest - 1200:
            return False
        if self.held is not None and self.held.start != new.start:
            held, self.held = self.held, None
            if not self.far(new.close, held.close):
                return any([self.take(held), self.take(new)])
        self.held = None
        if self.newest is not None and self.far(new.close, self.bars[self.newest].close):
            self.held = new
            return False
        return self.take(new)

    @staticmethod
    def far(close, other):
        return abs(Fraction(close) / Fraction(other) - 1) > Fraction(2, 100) + TOLERANCE

    def take(self, new):
        self.bars[new.start] = new
        self.live.add(new.start)
        if self.newest is not None and new.start <= self.newest:
            return False
        self.newest = new.start
        if self.unknown_from is not None and new.start >= self.unknown_from:
            self.live_from(new.start)
        if self.passed and self.passed[-1][0] < self.covered_from():
            self.passed, self.below_since = [], None
        self.pass_by(new)
        return True

    def live_from(self, start):
        lost, self.unknown_from = self.unknown_from, None
        if start > lost:
            self.gaps.append((lost, start))
            self.replay()

    def pass_by(self, new):
        vwap = self.vwap(new.start, 60)
        before = self.passed[-1][1] if self.passed else None
        self.passed.append((new.start, vwap))
        if before is None or vwap is None or above(before, vwap):
            self.fall = new.start, vwap
        if vwap is None or not above(vwap, Fraction(new.close)):
            self.below_since = None
        elif self.below_since is None:
            self.below_since = new.start

    def gap(self, start):
        self.unknown_from = max(start, OPEN) if self.unknown_from is None else min(self.unknown_from, max(start, OPEN))

    def history(self, start, end, bars):
        for each in bars:
            if each.start not in self.live:
                self.bars[each.start] = each
        known = set(range(max(start, OPEN), end))
        open_end = SESSION.close_at
        unknown = {second for a, b in self.gaps for second in range(a, b)} - known
        if self.unknown_from is not None:
            unknown |= set(range(self.unknown_from, open_end)) - known
        edges = sorted(unknown)
        runs = [[edges[0], edges[0] + 1]] if edges else []
        for earlier, later in pairwise(edges):
            if later == earlier + 1:
                runs[-1][1] = later + 1
            else:
                runs.append([later, later + 1])
        self.unknown_from = runs.pop()[0] if runs and runs[-1][1] == open_end else None
        self.gaps = [tuple(run) for run in runs]
        self.newest = max(self.bars)
        self.replay()

    def replay(self):
        everything, self.bars, self.passed, self.below_since = self.bars, {}, [], None
        for second in sorted(everything):
            self.bars[second] = everything[second]
            if second >= self.covered_from():
                self.pass_by(everything[second])

    def inside(self, t, seconds):
        return [self.bars[second] for second in range(t - seconds + 1, t + 1) if second in self.bars]

    def vwap(self, t, seconds):
        known = self.inside(t, seconds)
        total = sum(exact(each.volume) for each in known)
        paid = sum(exact(each.volume) * exact(each.vwap) for each in known)
        return Fraction(paid, total * UNIT) if total else None

    def sample(self, t):
        seconds = range(max(t - 1200, self.covered_from()), t)
        return [self.bars[second].volume if second in self.bars else 0.0 for second in seconds]

    def p95(self, t):
        ordered = sorted(self.sample(t))
        if len(ordered) < 300:
            return None
        place = Fraction(95, 100) * (len(ordered) - 1)
        low, high = Fraction(ordered[int(place)]), Fraction(ordered[int(place) + 1])
        return low + (high - low) * (place - int(place))

    def slope(self, t):
        known = self.inside(t, 30)
        if len(known) < 10:
            return None
        n, xs, ys = len(known), [each.start for each in known], [exact(each.close) for each in known]
        above_line = n * sum(x * y for x, y in zip(xs, ys, strict=True)) - sum(xs) * sum(ys)
        return Fraction(above_line, n * sum(x * x for x in xs) - sum(xs) ** 2) / ys[-1] * 100

    def relative_volume(self, t):
        usual = sum(exact(self.profile[(second - OPEN) // 60]) for second in range(max(t - 59, OPEN), t + 1))
        return Fraction(60 * sum(exact(each.volume) for each in self.inside(t, 60)), usual)

    def leadership(self, t):
        def close_by(bars, bound):
            return next((Fraction(bars[second].close) for second in range(bound, bound - 11, -1) if second in bars), None)

        now, then = Fraction(self.bars[t].close), close_by(self.bars, t - 300)
        lead, lead_then = close_by(self.leader, t - 1), close_by(self.leader, t - 301)
        return None if None in (then, lead, lead_then) else ((now / then - 1) - (lead / lead_then - 1)) * 100

    def rising(self):
        start, vwap = self.fall
        last, now = self.passed[-1]
        rose = None not in (vwap, now) and above(now, vwap)
        return last - start, last - start >= 30 and rose

    def warm(self):
        return self.newest - self.covered_from() >= 300

    def readings(self):
        t = self.newest
        return {
            "vwap_60": self.passed[-1][1],
            "vwap_300": self.vwap(t, 300),
            "volume_p95": self.p95(t),
            "slope_pct_s": self.slope(t),
            "relative_volume": self.relative_volume(t),
            "leadership_pp": self.leadership(t),
        }

    def conditions(self, readings):
        close, volume = (Fraction(value) for value in (self.bars[self.newest].close, self.bars[self.newest].volume))
        vwap_60, vwap_300, p95, slope, relative, lead = readings.values()
        return [
            vwap_60 is not None and above(close, vwap_60),
            vwap_300 is not None and above(close, vwap_300),
            self.rising()[1],
            p95 is not None and above(volume, p95),
            slope is not None and above(slope, 0),
            at_least(relative, Fraction(3, 2)),
            lead is not None and at_least(lead, Fraction(-2, 10)),
        ]


def agree(fast, slow):
    """The reading of the windows is the slow one, at the slow one's newest second."""
    reading, t = fast.reading(), slow.newest
    assert reading.start == t
    assert fast.covered_from == slow.covered_from()
    assert fast.below_since == slow.below_since
    assert reading.close == slow.bars[t].close
    assert reading.rising_s == slow.rising()[0]
    sample = np.array(slow.sample(t))
    readings = slow.readings()
    for name, value in readings.items():
        found = getattr(reading, name)
        assert (found is None) == (value is None), name
        assert value is None or abs(Fraction(found) - value) <= Fraction(1, 10**9) * max(abs(value), 1), name
    if len(sample) >= 300 and sample.std() > 0:
        assert abs(reading.volume_z - (slow.bars[t].volume - sample.mean()) / sample.std()) < 1e-9
    conditions = slow.conditions(readings)
    assert [gate.ok for gate in reading.gates] == conditions
    warm = slow.warm()
    assert (reading.momentum, reading.signal) == (warm and all(conditions[:5]), warm and all(conditions))
    assert (fast.momentum(), fast.signal()) == (reading.momentum, reading.signal)
    return reading.signal


def made_tape(seed, seconds, holes=0.2, disorder=0.0, spikes=0.0):
    """Bars in order of arrival: some seconds empty, some bars sent twice with more volume, late, in bursts, or absurd."""
    rng = random.Random(seed)
    price, drift, arrivals = 100.0, 0.0, []
    for second in range(seconds):
        drift = 0.98 * drift + rng.gauss(0, 0.004)
        price += drift + rng.gauss(0, 0.01)
        if rng.random() < holes:
            continue
        close = round(price, 2)
        volume = 0.0 if rng.random() < 0.03 else float(int(rng.paretovariate(1.1) * 100))
        made = bar(second, close, volume, round(close + rng.gauss(0, 0.01), 4))
        delay = rng.choice((0, 3, 40, 900, 1300)) if rng.random() < disorder else 0
        arrivals.append((second + delay, made))
        if rng.random() < disorder:
            arrivals.append((second + rng.choice((0, 1, 20, 600)), bar(second, close + 0.01, volume + 500, close)))
        if rng.random() < spikes:
            arrivals.append((second, bar(second, round(close * rng.choice((0.1, 0.97, 1.03, 10)), 2), volume)))
    return [made for _, made in sorted(arrivals, key=lambda arrival: arrival[0])]


@given(
    seed=st.integers(0, 2**32),
    holes=st.sampled_from((0.0, 0.1, 0.5, 0.9)),
    disorder=st.sampled_from((0.0, 0.05, 0.3)),
    spikes=st.sampled_from((0.0, 0.01)),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_holes_corrections_late_bars_and_bursts_read_as_the_rules_say(seed, holes, disorder, spikes):
    tape = made_tape(seed, 1700, holes, disorder, spikes)
    leader_tape = made_tape(seed + 1, 1700, holes)
    slow = Slow(FLAT_PROFILE, leader_tape)
    leader = Leader(SESSION)
    for each in leader_tape:
        leader.add(each)
    fast = Windows(config(), SESSION, FLAT_PROFILE, leader)
    rng = random.Random(seed)
    for each in tape:
        new = slow.add(each)
        assert (fast.add(each) == "new") == new
        if new and rng.random() < 0.4:
            agree(fast, slow)


@given(seed=st.integers(0, 2**32), lost_at=st.integers(310, 900), lost_s=st.integers(1, 400), data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_gaps_filled_in_part_or_whole_read_as_the_rules_say(seed, lost_at, lost_s, data):
    tape = made_tape(seed, 1500)
    slow, fast = Slow(FLAT_PROFILE), Windows(config(), SESSION, FLAT_PROFILE)
    start = data.draw(st.integers(lost_at - 200, lost_at + lost_s), label="history from")
    end = data.draw(st.integers(start, lost_at + lost_s + 100), label="history to")
    told = data.draw(st.booleans(), label="the socket says from when it is live")
    asked_at = data.draw(st.integers(0, 1499), label="history comes after second")
    for each in tape:
        second = each.start - OPEN
        if lost_at <= second < lost_at + lost_s:
            continue
        if slow.unknown_from is None and not slow.gaps and second >= lost_at + lost_s:
            slow.gap(OPEN + lost_at)
            fast.gap(OPEN + lost_at)
            if told:
                slow.live_from(OPEN + lost_at + lost_s - 3)
                fast.live(OPEN + lost_at + lost_s - 3)
        new = slow.add(each)
        assert (fast.add(each) == "new") == new
        if asked_at is not None and second >= max(asked_at, end):
            rows = [bar_ for bar_ in tape if start <= bar_.start - OPEN < end]
            slow.history(OPEN + start, OPEN + end, rows)
            fast.history(OPEN + start, OPEN + end, rows)
            asked_at = None
            new = bool(slow.passed)
        if new and (asked_at is None or second % 7 == 0):
            agree(fast, slow)


DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "seconds"


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded seconds are not beside this checkout")
def test_a_real_session_reads_as_the_rules_say():
    day = date(2013, 10, 8)
    session = SessionCalendar(day).on(day)
    shift = OPEN - session.open_at
    with gzip.open(DATA / "SPY_20131008.csv.gz", "rt") as file:
        tape = [
            Bar("SPY", int(row["timestamp_ns_utc"]) // 10**9 + shift, *(float(row[name]) for name in
                ("open", "high", "low", "close", "volume", "vwap")))
            for row in csv.DictReader(file)
        ]  # fmt: skip
    regular = [each for each in tape if 0 <= each.start - OPEN < 23_400]
    minutes = [0.0] * 390
    for each in regular:
        minutes[(each.start - OPEN) // 60] += each.volume * 0.7
    slow, fast = Slow(minutes, regular), Windows(config(), SESSION, tuple(minutes))
    fast.leader.history(OPEN, OPEN + 23_400, regular)
    signals = 0
    for each in tape:
        if slow.newest is None and each.start < OPEN:
            slow.unknown_from = None  # the feed was there before the open
        new = slow.add(each)
        assert (fast.add(each) == "new") == new
        if not new:
            continue
        signals += agree(fast, slow)
    assert signals > 20
    assert fast.covered_from == OPEN


# --- the edges ---------------------------------------------------------------------------------------------------------


def climb(windows_, start, seconds, price=100.0, step=0.01, volume=100.0):
    """Bars that rise a step a second."""
    for second in range(start, start + seconds):
        price += step
        windows_.add(bar(second, price, volume))
    return price


@pytest.mark.parametrize(
    ("a", "b", "is_above", "is_at_least"),
    [(1.0, 1.0, False, True), (1.00000009, 1.0, False, True), (1.00000011, 1.0, True, True), (0.99999991, 1.0, False, True),
     (0.99999989, 1.0, False, False), (2.0, 1.0, True, True), (nan, 1.0, False, False)],
)  # fmt: skip
def test_differences_under_a_ten_millionth_are_none(a, b, is_above, is_at_least):
    assert (above(a, b), at_least(a, b)) == (is_above, is_at_least)


@pytest.mark.parametrize(("seconds", "ok"), [(29, False), (30, True), (31, True)])
def test_the_vwap_must_have_risen_for_thirty_seconds_since_it_last_fell(seconds, ok):
    made = windows(*(bar(second) for second in range(400)), bar(400, 99.0))
    price = climb(made, 401, seconds, price=100.0)
    assert price > 100
    gate = made.reading().gate(3)
    assert (gate.value, gate.ok, gate.margin) == (seconds, ok, seconds - 30)


def test_a_level_vwap_does_not_fall_but_has_not_risen_either():
    gate = windows(*(bar(second) for second in range(60))).reading().gate(3)
    assert (gate.value, gate.ok, gate.reason) == (59, False, "VWAP is not above where the run began")


def test_a_fall_of_less_than_a_ten_millionth_ends_no_run():
    made = windows(*(bar(second) for second in range(60)), bar(60, 100.0, vwap=100.0 - 5e-6))
    assert made.reading().rising_s == 60
    made.add(bar(61, 100.0, vwap=100.0 - 1e-4))
    assert made.reading().rising_s == 0


def test_the_price_must_stand_above_both_vwaps_by_more_than_nothing():
    made = windows(*(bar(second, 100.0, vwap=100.0) for second in range(310)), bar(310, 100.0 + 9e-8, 0.0, 100.0))
    assert [made.reading().gate(number).ok for number in (1, 2)] == [False, False]
    made.add(bar(311, 100.0 + 2e-7, 0.0, 100.0))
    assert [made.reading().gate(number).ok for number in (1, 2)] == [True, True]


@pytest.mark.fault("A14")
def test_without_volume_there_is_no_vwap_and_no_entry_never_the_price_in_its_place():
    made = windows(*(bar(second, 100 + second / 100, 0.0) for second in range(400)))
    reading = made.reading()
    assert (reading.vwap_60, reading.vwap_300) == (None, None)
    assert [reading.gate(number).ok for number in (1, 2, 3)] == [False, False, False]
    assert [reading.gate(number).reason for number in (1, 2, 3)] == [
        "no volume in the last 60 s", "no volume in the last 300 s", "no volume in the last 60 s"]  # fmt: skip
    assert not made.momentum()
    assert made.below_since is None


@pytest.mark.fault("A15")
def test_the_vwap_is_made_of_each_seconds_own():
    made = windows(bar(0, 100.0, 100.0, vwap=99.0), bar(1, 100.0, 300.0, vwap=101.0))
    assert made.reading().vwap_60 == 100.5


@pytest.mark.parametrize(
    ("volume", "ok"), [(285.05, False), (285.05 + 9e-8, False), (285.0501, True), (286.0, True), (285.0, False)]
)
def test_a_surge_is_more_than_the_interpolated_95th_percentile_of_the_seconds_before(volume, ok):
    made = windows(*(bar(second, volume=float(second + 1)) for second in range(300)), bar(300, volume=volume))
    reading = made.reading()
    assert reading.volume_p95 == pytest.approx(285.05, abs=1e-9)
    assert reading.gate(4).ok is ok
    assert reading.volume_z == pytest.approx((volume - 150.5) / np.arange(1, 301).std())


def test_all_volumes_alike_have_no_z():
    assert windows(*(bar(second) for second in range(310))).reading().volume_z is None


@pytest.mark.parametrize(("seconds", "known"), [(299, False), (300, True)])
def test_a_percentile_needs_three_hundred_covered_seconds(seconds, known):
    made = windows(bar(0, volume=5.0), bar(seconds, volume=10.0))
    reading = made.reading()
    assert reading.coverage_s == seconds
    assert (reading.volume_p95 == 0.0) is known
    assert reading.gate(4).ok is known
    assert reading.gate(4).reason == ("" if known else "volume known for 299 s of 300")


def test_the_sample_reaches_back_twenty_minutes_and_no_further():
    loud = [bar(second, volume=1000.0) for second in range(61)]
    assert windows(*loud, bar(1200, volume=1.0)).reading().volume_p95 == 1000.0
    # of 1,200 seconds 60 are loud: the rank is 1,139.05, and 1,140 of them are quiet
    assert windows(*loud, bar(1201, volume=1.0)).reading().volume_p95 == 50.0
    assert windows(*loud, bar(1202, volume=1.0)).reading().volume_p95 == 0.0


@pytest.mark.fault("A7", "W18")
def test_quiet_seconds_count_as_no_volume_and_add_nothing_to_vwap_or_slope():
    sparse = windows(*(bar(second, 100 + second / 1000, 100.0) for second in range(0, 1200, 10)), bar(1200, 101.3, 150.0))
    reading = sparse.reading()
    assert reading.volume_p95 == 100.0  # a tenth of the seconds traded: the percentile lies among them
    assert reading.vwap_60 == pytest.approx((sum(100 + s / 1000 for s in range(1150, 1200, 10)) * 100 + 101.3 * 150) / 650)
    assert reading.slope_pct_s is None
    assert reading.gate(5).reason == "fewer than 10 bars in the last 30 s"


@pytest.mark.fault("A7")
def test_the_time_below_the_vwap_runs_by_the_clock_and_not_by_bars():
    made = windows(*(bar(second) for second in range(100)), bar(100, 99.9), bar(158, 99.8))
    assert made.below_since == OPEN + 100
    made.add(bar(161, 99.7))
    assert made.newest - made.below_since == 61
    made.add(bar(162, 100.9))
    assert made.below_since is None


def test_a_stall_resets_the_run_below_and_history_does_not_bring_it_back():
    made = windows(*(bar(second) for second in range(100)), bar(100, 99.9), bar(101, 99.9))
    made.reset_below()
    assert made.below_since is None
    made.gap(OPEN + 102)
    made.add(bar(180, 99.7))
    made.reset_below(OPEN + 180)
    made.history(OPEN, OPEN + 181, [bar(second, 99.8) for second in range(102, 170)])
    assert made.below_since == OPEN + 180, "the bar that ended the stall may begin a run, no second of the stall does"
    made.reset_below()
    made.history(OPEN, OPEN + 181, [])
    assert made.below_since is None
    made.add(bar(181, 99.6))
    assert made.below_since == OPEN + 181


@pytest.mark.parametrize(("bars", "known"), [(9, False), (10, True)])
def test_a_slope_needs_ten_bars_in_thirty_seconds(bars, known):
    made = windows(*(bar(300 - 29 + 3 * place, 100 + place) for place in range(bars - 1)), bar(300, 110.0))
    assert (made.reading().slope_pct_s is not None) is known
    outside = windows(bar(270), *(bar(300 - 3 * place) for place in reversed(range(9))))
    assert outside.reading().slope_pct_s is None


def test_the_slope_is_in_percent_of_the_close_per_second():
    made = Windows(config(), SESSION)
    price = climb(made, 0, 40, step=0.05)
    reading = made.reading()
    assert reading.slope_pct_s == pytest.approx(0.05 / price * 100)
    assert reading.gate(5).ok
    assert not windows(*(bar(second) for second in range(40))).reading().gate(5).ok


def test_relative_volume_weighs_the_minutes_by_their_overlap():
    profile = (600.0, 1200.0, 0.0) + (600.0,) * 387
    made = windows(*(bar(second, volume=12.0) for second in range(90)), profile=profile)
    assert made.reading().relative_volume == pytest.approx(60 * 12 / (30 * 10 + 30 * 20))
    made = windows(*(bar(second, volume=12.0) for second in range(60)), profile=profile)
    assert made.reading().relative_volume == pytest.approx(1.2)
    made = windows(*(bar(second, volume=12.0) for second in range(180)), profile=profile)
    assert (made.reading().relative_volume, made.reading().gate(6).reason) == (None, "the profile expects no volume")


@pytest.mark.parametrize(("volume", "ok"), [(15.0, True), (15.0 - 1e-7, True), (14.99999, False)])
def test_relative_volume_of_exactly_the_least_is_enough(volume, ok):
    made = windows(*(bar(second, volume=volume) for second in range(120)), profile=(600.0,) * 390)
    assert made.reading().gate(6).ok is ok


def test_without_a_profile_condition_six_is_false_until_it_comes():
    made = windows(*(bar(second) for second in range(60)), profile=None)
    assert (made.reading().gate(6).ok, made.reading().gate(6).reason) == (False, "no volume profile")
    made.profile = FLAT_PROFILE
    assert made.reading().relative_volume == pytest.approx(0.1)
    with pytest.raises(ValueError, match="390"):
        made.profile = (1.0,) * 210


def lead_of(own, leader):
    """Condition 7 from closes by second: the newest own second is the one that decides."""
    made = windows(*(bar(second, close) for second, close in own.items()))
    for second, close in leader.items():
        made.leader.add(bar(second, close, symbol="SPY"))
    return made.reading().gate(7)


@pytest.mark.parametrize(
    ("own", "leader", "ok"),
    [
        ({0: 100.0, 300: 100.0}, {0: 500.0, 299: 501.0}, False),  # the leader's earlier bar: none at or before second -1
        ({1: 100.0, 301: 100.0}, {0: 500.0, 300: 501.0}, True),  # exactly 0.20 points behind
        ({1: 100.0, 301: 100.0}, {0: 500.0, 300: 501.01}, False),
        ({1: 100.0, 301: 100.5}, {0: 500.0, 300: 503.0}, True),
        ({1: 100.0, 301: 100.0}, {0: 500.0, 300: 501.0, 301: 509.0}, True),  # its own second is not looked at
        ({2: 100.0, 301: 100.0}, {0: 500.0, 300: 501.0}, False),  # no own bar at or before second 1
        ({1: 100.0, 311: 100.0}, {0: 500.0, 310: 500.0}, True),  # ten seconds old is young enough
        ({1: 100.0, 312: 100.0}, {1: 500.0, 311: 500.0}, False),  # eleven is not
        ({12: 100.0, 312: 100.0}, {0: 500.0, 311: 500.0}, False),  # nor is it for the leader
        ({12: 100.0, 312: 100.0}, {1: 500.0, 301: 500.0}, True),
        ({12: 100.0, 312: 100.0}, {1: 500.0, 300: 500.0}, False),
        ({1: 100.0, 301: 100.0}, {}, False),
    ],
)
def test_iwm_may_lag_spy_by_two_tenths_of_a_point_and_no_bar_may_be_stale(own, leader, ok):
    gate = lead_of(own, leader)
    assert gate.ok is ok
    assert (gate.value is None) == bool(gate.reason)


def test_filters_that_are_off_hold_and_say_so_while_their_value_is_still_shown():
    off = {"vwap_trend_filter": False, "relative_volume_filter": False, "leadership_filter": False}
    made = windows(*(bar(second, 100 - second / 1000) for second in range(400)), profile=None, **off)
    gates = made.reading().gates
    assert [gate.off for gate in gates] == [False, True, False, False, False, True, True]
    assert all(gate.ok and gate.reason == "switched off" for gate in gates if gate.off)
    assert gates[1].margin < 0


def surge(**changed):
    """A market that has just given a signal, at second 431."""
    made = windows(*(bar(second, 100.0, 100.0, 100.0) for second in range(400)), profile=(6_000.0,) * 390, **changed)
    for second in range(100, 432):
        made.leader.add(bar(second, 500.0, symbol="SPY"))
    climb(made, 400, 31, volume=150.0)
    made.add(bar(431, 100.35, 20_000.0))
    return made


def test_a_signal_is_all_seven_after_the_warm_up():
    made = surge()
    assert made.signal()
    assert made.momentum()
    assert made.reading().signal
    assert not surge(warmup_seconds=432).signal()
    assert not surge(warmup_seconds=432).reading().momentum
    assert surge(warmup_seconds=431).signal()


@pytest.mark.parametrize(("seconds", "signals"), [(29, False), (30, True)])
def test_a_signal_comes_with_the_thirtieth_second_of_the_rise_and_not_before(seconds, signals):
    made = windows(*(bar(second) for second in range(400)), bar(400, 99.9), relative_volume_filter=False)
    made.config.leadership_filter = False
    climb(made, 401, seconds - 1, price=100.0)
    made.add(bar(400 + seconds, 101.0, 20_000.0))
    assert [gate.ok for gate in made.reading().gates] == [True, True, signals, True, True, True, True]
    assert (made.momentum(), made.signal(), made.reading().signal) == (signals,) * 3


def test_a_surge_above_a_level_vwap_is_no_signal():
    made = windows(*(bar(second) for second in range(400)), relative_volume_filter=False, leadership_filter=False)
    for second in range(400, 431):
        made.add(bar(second, 100 + (second - 399) / 100, 20_000.0 if second == 430 else 100.0, vwap=100.0))
    assert [gate.ok for gate in made.reading().gates] == [True, True, False, True, True, True, True]
    assert not made.momentum()


def below_the_trend():
    made = windows(*(bar(second, 101.0) for second in range(370)), *(bar(second) for second in range(370, 430)))
    climb(made, 430, 33, step=0.001)
    made.add(bar(463, 100.2, 20_000.0))
    return made


def falling_closes():
    made = windows(*(bar(second) for second in range(400)))
    for second in range(400, 432):
        made.add(bar(second, 101.3 - second / 1000, 20_000.0 if second == 431 else 100.0, 96 + second / 100))
    return made


def usual_volume():
    made = surge()
    made.profile = (60_000.0,) * 390
    return made


def behind_the_leader():
    made = surge()
    made.leader.add(bar(430, 505.0, symbol="SPY"))
    return made


@pytest.mark.parametrize(
    ("market", "number"), [(below_the_trend, 2), (falling_closes, 5), (usual_volume, 6), (behind_the_leader, 7)]
)
def test_one_condition_is_enough_to_forbid(market, number):
    made = market()
    if number < 6:
        made.profile = (600.0,) * 390
        made.leader.history(OPEN, OPEN + 470, [bar(second, 500 - second / 20, symbol="SPY") for second in range(470)])
    assert [gate.number for gate in made.reading().gates if not gate.ok] == [number]
    assert (made.momentum(), made.signal(), made.reading().signal) == (number > 5, False, False)


@pytest.mark.parametrize(
    ("without", "changed"),
    [(2, {"vwap_trend_filter": False}), (6, {"relative_volume_filter": False}), (7, {"leadership_filter": False})],
)
def test_a_filter_switched_off_lets_the_signal_through(without, changed):
    made = surge(**changed)
    if without == 6:
        made.profile = None
    if without == 7:
        made.leader = Leader(SESSION)
    assert made.signal()
    assert made.reading().signal
    assert made.reading().gate(without).off


# --- bars as they come -------------------------------------------------------------------------------------------------


@pytest.mark.fault("A6", "W15", "W17")
def test_a_second_sent_again_counts_once_and_decides_nothing():
    made = surge()
    before = made.reading()
    assert made.add(bar(431, 100.35, 20_000.0)) == "corrected"
    assert made.reading() == before
    assert made.add(bar(200, 100.0, 900.0)) == "corrected"
    assert made.add(bar(200, 100.0, 500.0)) == "corrected"
    assert (made.newest, made.last) == (OPEN + 431, 100.35)
    once = windows(*(bar(second, 100.0, 500.0 if second == 200 else 100.0) for second in range(400)))
    again = windows(*(bar(second) for second in range(400)), bar(200, 100.0, 900.0), bar(200, 100.0, 500.0))
    assert once.reading() == again.reading()


@pytest.mark.fault("W17")
def test_a_correction_of_fifteen_minutes_ago_changes_what_later_seconds_see():
    made = windows(*(bar(second) for second in range(1000)))
    for second in range(100, 180):
        assert made.add(bar(second, 100.0, 9_000.0)) == "corrected"
    assert made.last == 100.0
    made.add(bar(1000))
    assert made.reading().volume_p95 == 9_000.0


@pytest.mark.fault("A6", "W16")
@pytest.mark.parametrize("seed", range(5))
def test_out_of_order_bars_end_as_in_order_and_the_last_price_never_goes_back(seed):
    rng = random.Random(seed)
    tape = [bar(second, round(100 + rng.gauss(0, 0.2), 2), float(rng.randint(1, 900))) for second in range(700)]
    shuffled = sorted(tape, key=lambda each: each.start + rng.uniform(0, 30))
    made, newest = windows(bar(-1)), 0
    for each in [*shuffled, bar(700)]:
        taken = made.add(each)
        assert taken == ("new" if each.start > newest else "late")
        newest = max(newest, each.start)
        assert made.newest == newest
    assert made.last == 100.0
    ordered = windows(bar(-1), *tape, bar(700)).reading()
    for name in ("vwap_300", "volume_p95", "volume_z", "slope_pct_s", "relative_volume"):
        assert getattr(made.reading(), name) == getattr(ordered, name), name


def test_bars_outside_regular_hours_and_older_than_every_window_are_dropped_and_counted():
    made = windows(bar(1300))
    assert made.add(bar(100)) == "late"
    assert made.add(bar(99)) == "dropped:too old"
    assert made.add(bar(-1)) == "dropped:outside hours"
    assert made.add(bar(23_400)) == "dropped:outside hours"
    assert made.add(bar(23_399)) == "new"
    assert made.dropped == {"too old": 1, "outside hours": 2}


@pytest.mark.fault("W13")
@pytest.mark.parametrize("field", ["close", "volume", "vwap"])
@given(value=st.one_of(st.sampled_from((nan, inf, -inf, -1.0, -0.01)), st.floats(max_value=-1e-9)))
@settings(max_examples=25, deadline=None)
def test_a_number_that_is_none_never_reaches_a_window(field, value):
    made = surge()
    before = made.reading()
    bad = {"close": 100.3, "volume": 100.0, "vwap": 100.3} | {field: value}
    for start in (432, 431, 300):
        poisoned = Bar("IWM", OPEN + start, 100.3, 100.3, 100.3, bad["close"], bad["volume"], bad["vwap"])
        assert made.add(poisoned) == "dropped:malformed"
        assert Leader(SESSION).add(poisoned) == "dropped:malformed"
    made.history(OPEN, OPEN + 500, [poisoned])
    assert made.reading() == before


@pytest.mark.fault("W14")
def test_a_wild_price_waits_for_the_next_second_to_agree():
    made = windows(*(bar(second) for second in range(10)))
    assert made.add(bar(10, 1000.0)) == "held"
    assert (made.newest, made.last) == (OPEN + 9, 100.0)
    assert made.add(bar(10, 1000.0, 500.0)) == "held"  # the same second again is no second opinion
    assert made.add(bar(11, 100.1)) == "new"
    assert (made.last, made.dropped) == (100.1, {"disagreed": 1})
    assert made.add(bar(10, 100.05)) == "late"


@pytest.mark.fault("W14")
def test_a_real_jump_is_taken_with_the_bar_that_agrees():
    made = windows(*(bar(second) for second in range(10)))
    assert made.add(bar(10, 103.0)) == "held"
    assert made.add(bar(12, 103.5)) == "new"
    assert (made.newest, made.last, made.dropped) == (OPEN + 12, 103.5, {})
    assert made.reading().vwap_60 == pytest.approx((10 * 100 + 103 + 103.5) / 12)


@pytest.mark.parametrize(("close", "taken"), [(102.0, "new"), (102.001, "held"), (98.0, "new"), (97.999, "held")])
def test_two_percent_is_not_yet_wild(close, taken):
    assert windows(bar(0)).add(bar(1, close)) == taken


def test_a_wild_correction_is_held_too_and_a_second_wild_bar_takes_its_place():
    made = windows(*(bar(second) for second in range(10)))
    assert made.add(bar(5, 10.0)) == "held"
    assert made.add(bar(10, 200.0)) == "held"
    assert made.add(bar(9, 199.0)) == "new"
    assert made.last == 200.0
    assert made.dropped == {"disagreed": 1}


def test_a_wild_first_price_is_outvoted_by_the_next_two():
    made = windows(bar(0, 1000.0))
    assert made.add(bar(1, 100.0)) == "held"
    assert made.add(bar(2, 100.1)) == "new"
    assert made.last == 100.1


def test_the_leader_keeps_the_same_rules():
    leader = Leader(SESSION)
    tape = ((0, 500.0), (0, 500.1), (3, 501.0), (2, 500.5), (4, 5.0))
    assert [leader.add(bar(second, close)) for second, close in tape] == ["new", "corrected", "new", "late", "held"]
    assert (leader.close_by(OPEN + 1), leader.close_by(OPEN + 2)) == (500.1, 500.5)
    assert (leader.close_by(OPEN + 13), leader.close_by(OPEN + 14), leader.close_by(OPEN - 1)) == (501.0, None, None)
    leader.history(OPEN, OPEN + 9, [bar(1, 500.2), bar(3, 1.0), bar(8, 501.2)])
    assert [leader.close_by(OPEN + second) for second in (1, 3, 8)] == [500.2, 501.0, 501.2]
    assert leader.newest == OPEN + 8


# --- coverage ----------------------------------------------------------------------------------------------------------


def test_coverage_starts_with_the_first_bar_or_at_the_open_for_a_feed_that_spoke_before():
    assert Windows(config(), SESSION).covered_from is None
    assert Windows(config(), SESSION).reading() is None
    assert not Windows(config(), SESSION).signal()
    assert windows(bar(7)).covered_from == OPEN + 7
    assert windows(bar(-400), bar(7)).covered_from == OPEN
    assert windows(bar(-40_000), bar(7)).covered_from == OPEN + 7
    made = Windows(config(), SESSION)
    made.live(OPEN - 60)
    assert made.covered_from == OPEN


def test_a_gap_starts_coverage_anew_unless_the_feed_or_history_closes_it():
    made = windows(*(bar(second) for second in range(400)))
    made.gap(OPEN + 400)
    assert made.covered_from == OPEN
    made.add(bar(398))
    made.add(bar(410))
    assert made.covered_from == OPEN + 410
    assert made.reading().coverage_s == 0
    assert made.reading().volume_p95 is None
    made.history(OPEN + 395, OPEN + 405, [])
    assert made.covered_from == OPEN + 410
    made.history(OPEN + 405, OPEN + 410, [bar(406, 100.0, 50.0)])
    assert made.covered_from == OPEN
    assert made.reading() == windows(*(bar(second) for second in range(400)), bar(406, 100.0, 50.0), bar(410)).reading()


def test_a_feed_that_is_back_before_anything_was_missed_leaves_no_gap():
    made = windows(*(bar(second) for second in range(400)))
    made.gap(OPEN + 400)
    made.live(OPEN + 400)
    made.add(bar(410))
    assert made.covered_from == OPEN
    made.gap(OPEN + 411)
    made.live(OPEN + 420)
    made.add(bar(425))
    assert made.covered_from == OPEN + 420


def test_an_old_second_sent_again_after_a_loss_proves_nothing_of_those_after_it():
    made = windows(*(bar(second) for second in range(400)))
    made.gap(OPEN + 400)
    made.live(OPEN + 460)
    made.add(bar(410))
    assert made.covered_from == OPEN + 460
    made.add(bar(463))
    assert (made.covered_from, made.reading().coverage_s, made.reading().rising_s) == (OPEN + 460, 3, 0)


def test_the_volume_of_the_session_is_that_of_every_bar_known():
    made = windows(bar(0, volume=10.5), bar(2, volume=20.0), bar(2, volume=30.0), bar(1, volume=0.5))
    assert made.session_volume == 41.0


def test_a_bar_from_before_the_gap_does_not_close_it():
    made = windows(*(bar(second) for second in range(400)))
    made.gap(OPEN + 405)
    made.add(bar(402))
    made.add(bar(410))
    assert made.covered_from == OPEN + 410


def test_what_was_seen_live_beats_history_and_history_is_corrected_by_what_is_live():
    made = windows(bar(10, 100.0, 700.0))
    made.history(OPEN, OPEN + 20, [bar(9, 100.0, 1.0), bar(10, 101.0, 1.0), bar(12, 100.0, 1.0)])
    assert (made.newest, made.covered_from) == (OPEN + 12, OPEN)
    assert made.add(bar(12, 100.5, 2.0)) == "corrected"
    assert made.add(bar(11, 100.0, 3.0)) == "late"
    made.add(bar(21, 100.5, 10.0))
    assert made.covered_from == OPEN
    assert made.reading().relative_volume == pytest.approx((1 + 700 + 3 + 2 + 10) / (1000 * 22))


def test_history_before_any_bar_leaves_what_follows_it_unknown_until_the_feed_is_live():
    for live_from, covered_from in ((None, 21), (21, 21), (20, 0)):
        made = Windows(config(), SESSION)
        made.history(OPEN, OPEN + 20, [bar(12)])
        assert (made.newest, made.covered_from) == (OPEN + 12, OPEN)
        if live_from is not None:
            made.live(OPEN + live_from)
        made.add(bar(21))
        assert made.covered_from == OPEN + covered_from


def test_wild_prices_in_history_need_a_neighbour_that_agrees():
    made = windows(bar(20, 100.0))
    made.history(OPEN, OPEN + 20, [bar(0), bar(1, 1000.0), bar(2), bar(3, 104.0), bar(4, 104.0), bar(19, 3.0)])
    assert made.dropped == {"disagreed": 2}
    made.add(bar(21, 100.0))
    assert made.reading().vwap_60 == pytest.approx((100 + 100 + 104 + 104 + 100 + 100) / 6)


@pytest.mark.fault("A16")
def test_a_start_at_eleven_holds_entries_until_it_is_warm():
    cold = Windows(config(), SESSION, (6_000.0,) * 390)
    at_eleven = 5_400
    for second in range(at_eleven - 20, at_eleven + 290):
        cold.leader.add(bar(second, 500.0, symbol="SPY"))
    signalled = []
    for second in range(at_eleven, at_eleven + 290):
        cold.add(bar(second, 100 + (second - at_eleven) / 100, 100.0 + 20 * (second - at_eleven)))
        signalled.append(cold.signal())
    assert not any(signalled)
    assert cold.reading().gate(4).reason == "volume known for 289 s of 300"


@pytest.mark.fault("A16")
def test_a_start_at_eleven_with_history_reads_as_if_it_had_never_stopped():
    tape = made_tape(7, 7_200)
    leader_tape = made_tape(8, 7_200)
    whole, restarted = (Windows(config(), SESSION, FLAT_PROFILE) for _ in range(2))
    restarted.history(OPEN + 3_600, OPEN + 5_400, [each for each in tape if 3_600 <= each.start - OPEN < 5_400])
    restarted.live(OPEN + 5_400)
    for leader in (whole.leader, restarted.leader):
        leader.history(OPEN, OPEN + 7_200, leader_tape)
    for each in tape:
        whole.add(each)
        if each.start < OPEN + 5_400:
            continue
        restarted.add(each)
        reading, again = whole.reading(), restarted.reading()
        assert again.gates == reading.gates
        assert (again.signal, again.volume_z, again.vwap_60) == (reading.signal, reading.volume_z, reading.vwap_60)
    assert restarted.covered_from == OPEN + 3_600


# --- truth -------------------------------------------------------------------------------------------------------------


def test_sums_do_not_drift_over_a_session_even_after_a_monstrous_second():
    rng = random.Random(3)
    slow, fast = Slow(FLAT_PROFILE), Windows(config(), SESSION, FLAT_PROFILE)
    for second in range(12_000):
        price = 100 + rng.random() / 3
        volume = 1e15 if second == 50 else rng.random() * 10
        each = bar(second, price, volume, price + rng.random() / 100)
        slow.bars[each.start] = each
        fast.add(each)
        if second > 400 and second % 500 == 0:
            t, reading = each.start, fast.reading()
            for value, exactly in (
                (reading.vwap_60, slow.vwap(t, 60)),
                (reading.vwap_300, slow.vwap(t, 300)),
                (reading.slope_pct_s, slow.slope(t)),
            ):
                assert abs(Fraction(value) - exactly) < Fraction(1, 10**11)


@pytest.mark.parametrize("seed", range(3))
def test_the_future_changes_nothing_before_it(seed):
    tape = made_tape(seed, 1_500, disorder=0.1)
    other = [*tape[:700], *(bar(each.start - OPEN, each.close * 1.01, each.volume * 3) for each in tape[700:])]

    def readings(bars):
        made = Windows(config(), SESSION, FLAT_PROFILE)
        return [made.reading() for each in bars if made.add(each) == "new"]

    as_it_was, otherwise = readings(tape), readings(other)
    decided = len(readings(tape[:700]))
    assert as_it_was[:decided] == otherwise[:decided]
    assert as_it_was[decided:] != otherwise[decided:]


# --- the volume profile ------------------------------------------------------------------------------------------------


def minute_rows(session, volume):
    """Every regular minute, and two beside them that do not count."""
    return [(session.open_at + 60 * minute, volume + minute) for minute in range(-1, 391)]


@pytest.mark.parametrize("day", [date(2026, 3, 13), date(2026, 11, 6), date(2026, 12, 1)])
def test_the_profile_follows_new_york_through_daylight_saving_and_past_half_days(day):
    sessions = SessionCalendar(day).full_before(day, 12)
    assert date(2026, 11, 27) not in {session.date for session in sessions}  # closes at 13:00
    rows = {session.date: minute_rows(session, 100.0 * place) for place, session in enumerate(sessions)}
    minutes, found = profile_of(rows, sessions)
    assert found == tuple(session.date for session in sessions[-10:])
    assert minutes == tuple(650.0 + minute for minute in range(390))
    assert all(session.at(time(9, 30)) == session.open_at for session in sessions)


def test_a_missing_minute_traded_nothing_and_a_half_day_is_skipped():
    calendar = SessionCalendar(date(2026, 12, 1))
    sessions = [*calendar.full_before(date(2026, 12, 1), 9), calendar.on(date(2026, 11, 27))]
    rows = {session.date: minute_rows(session, 90.0) for session in sessions}
    del rows[sessions[0].date][1]
    minutes, found = profile_of(rows, sessions)
    assert len(found) == 9
    assert minutes[0] == 80.0
    assert minutes[1] == 91.0


@pytest.mark.parametrize("count", [0, 7])
def test_seven_sessions_are_no_profile(count):
    sessions = SessionCalendar(date(2026, 11, 20)).full_before(date(2026, 11, 20), 10)
    rows = {session.date: minute_rows(session, 1.0) for session in sessions[:count]} | {sessions[9].date: []}
    with pytest.raises(ProfileError, match=f"{count} full sessions found, 8 are needed"):
        profile_of(rows, sessions)


def test_a_half_day_uses_the_first_minutes_of_the_profile():
    session = SessionCalendar(date(2026, 11, 27)).on(date(2026, 11, 27))
    made = Windows(config(), session, tuple(float(60 * minute) for minute in range(390)))
    last = session.close_at - 1
    for start in range(last - 59, last + 1):
        made.add(Bar("IWM", start, 100.0, 100.0, 100.0, 100.0, 418.0, 100.0))
    assert made.reading().relative_volume == pytest.approx(2.0)
    assert made.add(Bar("IWM", last + 1, 100.0, 100.0, 100.0, 100.0, 1.0, 100.0)) == "dropped:outside hours"
