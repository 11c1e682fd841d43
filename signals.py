"""Per-second bars -> readings and the momentum signal: conditions 1-7 at the newest second.

- Windows are summed anew where they are needed: nothing drifts, and a corrected or late bar only has to be put in its place.
- Only a new newest second decides. What happened when a bar passed (its VWAP_60, the rising run, the run below) stays as
  it was until history is replayed.
- An input that is missing makes its condition false and says what is missing; nothing is made up.
- Computed reals closer than 1e-7 are equal: `above`, `at_least`.

Prices are dollars, volumes shares, times Unix seconds; a bar is known by the second it starts at. No clock, socket or file.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from itertools import compress, count
from math import fsum, inf, sqrt
from operator import mul
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from events import Bar
from market.seconds import APART, EQUAL, LONGEST_WINDOW_S, OPEN, Seconds, Taken
from utils import Session

if TYPE_CHECKING:
    from config import Config

SAMPLE_S = LONGEST_WINDOW_S
SAMPLE_MIN_S = 300
RISING_S = 30
SLOPE_S = 30
SLOPE_BARS = 10
ROC_S = 300
PROFILE_SESSIONS = 10
PROFILE_SESSIONS_MIN = 8
MINUTES = 390
PREMARKET_S = 19_800


def above(a: float, b: float) -> bool:
    """a > b, where a difference under 1e-7 is none."""
    return a - b >= EQUAL


def at_least(a: float, b: float) -> bool:
    """a ≥ b, where a difference under 1e-7 is none."""
    return a - b > -EQUAL


# --- what is read off --------------------------------------------------------------------------------------------------


class Gate(Struct, frozen=True, gc=False):
    """One condition; `margin` is value - threshold. `reason` says what is missing or else forbids it. `off`: not asked."""

    number: int
    name: str
    ok: bool
    value: float | None
    threshold: float | None
    margin: float | None
    reason: str = ""
    off: bool = False


class Reading(Struct, frozen=True):
    """All that is known at the newest second `start`; None is what cannot be known.

    `vwap_60`, `vwap_300` in dollars; `slope_pct_s` in % of the close per second; `leadership_pp` is ROC(IWM) - ROC(SPY) in
    percentage points; `volume_p95` and `volume_z` are of the sample before this second; `coverage_s` is how long the seconds
    have been known without a gap. `momentum` is conditions 1-5, `signal` 1-7; neither is true before the warm-up is over.
    """

    start: int
    close: float
    volume: float
    vwap_60: float | None
    vwap_300: float | None
    rising_s: int
    volume_p95: float | None
    volume_z: float | None
    slope_pct_s: float | None
    relative_volume: float | None
    leadership_pp: float | None
    coverage_s: int
    momentum: bool
    signal: bool
    gates: tuple[Gate, ...]

    def gate(self, number: int) -> Gate:
        return self.gates[number - 1]


class Leader(Seconds):
    """The symbol that IWM must not lag: SPY."""

    __slots__ = ()

    def add(self, bar: Bar) -> Taken:
        """Take in a live bar, and say what became of it."""
        index = bar.start - self._zero
        close = bar.close
        last = self._closes[self._newest]
        if self._newest < index < self._end and abs(close - last) <= last * APART and self._held is None:
            self._closes[index] = close
            self._kinds[index] = 2
            self._newest = index
            return "new"
        return self._sift(index, bar)

    def history(self, start: int, end: int, bars: Iterable[Bar]) -> None:
        """Fill in the seconds of [start, end) as REST has them. A second seen live stays as it was; nothing is decided."""
        self._merge(start, end, bars)


# --- the traded symbol -------------------------------------------------------------------------------------------------


class Windows(Seconds):
    """The traded symbol's session: its windows, its coverage, and conditions 1-7 at its newest second.

    `profile` is the average volume of each of the 390 regular minutes, None until it is known; `leader` is SPY's bars.
    `below_since` is the start of the first of the unbroken run of bars that closed below VWAP_60 as it was when each passed.
    """

    __slots__ = (
        "_below_from", "_covered", "_gaps", "_lag", "_profile", "_pv", "_relative_volume_min", "_run", "_run_vwap",
        "_sample", "_unknown", "_volumes", "_vwap", "_warmup_s", "below_since", "config", "leader",
    )  # fmt: skip

    def __init__(
        self, config: Config, session: Session, profile: tuple[float, ...] | None = None, leader: Leader | None = None
    ) -> None:
        super().__init__(session)
        self.config = config
        self.leader = Leader(session) if leader is None else leader
        self.profile = profile
        self.below_since: int | None = None
        self._warmup_s = config.warmup_seconds
        self._relative_volume_min = float(config.relative_volume_min)
        self._lag = -float(config.spy_iwm_lag_threshold)
        self._volumes = [0.0] * self._end
        self._pv = [0.0] * self._end  # volume times the second's own VWAP
        self._sample: list[float] = []  # sorted: the volumes above zero of the covered seconds before the newest
        self._vwap: float | None = None  # VWAP_60 when the newest bar passed
        self._run = OPEN  # where VWAP_60 last fell, and to what
        self._run_vwap: float | None = None
        self._below_from = 0
        self._unknown = OPEN  # from here on nothing is known; the end: all is
        self._gaps: list[tuple[int, int]] = []  # what stayed unknown before something was known again
        self._covered = self._end

    @property
    def profile(self) -> tuple[float, ...] | None:
        return self._profile

    @profile.setter
    def profile(self, minutes: tuple[float, ...] | None) -> None:
        """ValueError unless it has a volume ≥ 0 for each of the 390 minutes."""
        if minutes is not None and not (len(minutes) == MINUTES and all(0 <= volume < inf for volume in minutes)):
            raise ValueError(f"a profile is {MINUTES} volumes, none below zero")
        self._profile = minutes

    def volumes(self) -> tuple[list[float], list[float]]:
        """Volume, and volume times VWAP, of each second from the open to the newest bar; copies, for other threads too."""
        end = self._newest + 1
        return self._volumes[OPEN:end], self._pv[OPEN:end]

    # --- bars ---

    def add(self, bar: Bar) -> Taken:
        """Take in a live bar, and say what became of it. Only "new" is a reason to decide."""
        index = bar.start - self._zero
        close = bar.close
        last = self._closes[self._newest]
        if self._newest < index < self._end and abs(close - last) <= last * APART and self._held is None:
            volume, vwap = bar.volume, bar.vwap
            if 0.0 <= volume < inf and 0.0 < vwap < inf:
                if index >= self._unknown:
                    self._know(index)
                self._advance(index, close, volume, volume * vwap)
                self._kinds[index] = 2
                return "new"
        if OPEN - PREMARKET_S <= index < OPEN == self._unknown:
            self._know(OPEN)  # the feed speaks before the open: the first second is known, with or without a bar
        return self._sift(index, bar)

    def _put(self, index: int, bar: Bar, kind: int) -> Taken:
        known = self._kinds[index]
        self._kinds[index] = kind
        pv = bar.volume * bar.vwap
        if kind == 2 and index > self._newest:
            if index >= self._unknown:
                self._know(index)
            self._advance(index, bar.close, bar.volume, pv)
            return "new"
        if kind == 2 and max(self._covered, self._newest - SAMPLE_S) <= index < self._newest:
            self._resample(self._volumes[index], bar.volume)
        self._closes[index] = bar.close
        self._volumes[index] = bar.volume
        self._pv[index] = pv
        self.changed.append(self._zero + index)
        return "corrected" if known else "late"

    def _advance(self, index: int, close: float, volume: float, pv: float) -> None:
        """The newest second is now `index`: move the sample up to it and let the bar pass."""
        volumes = self._volumes
        before, covered = self._newest, self._covered
        sample = self._sample
        if before >= covered and volumes[before]:
            insort(sample, volumes[before])
        for left in range(before - SAMPLE_S, index - SAMPLE_S):
            if left >= covered and volumes[left]:
                del sample[bisect_left(sample, volumes[left])]
        self._newest = index
        self._closes[index] = close
        volumes[index] = volume
        self._pv[index] = pv
        self._pass(before, index, close)

    def _pass(self, before: int, index: int, close: float) -> None:
        """A bar passes: follow the two runs, by the values of this moment. A run of coverage starts at its first bar."""
        total = sum(self._volumes[index - 59 : index + 1])
        if total > 0.0:
            vwap = sum(self._pv[index - 59 : index + 1]) / total
            if before < self._covered or self._vwap is None or self._vwap - vwap >= EQUAL:
                self._run = index
                self._run_vwap = vwap
            if vwap - close >= EQUAL:
                if before < self._covered or self.below_since is None:
                    self.below_since = self._zero + index
            else:
                self.below_since = None
            self._vwap = vwap
        else:
            self._vwap = self._run_vwap = self.below_since = None
            self._run = index

    def _resample(self, old: float, new: float) -> None:
        if old:
            del self._sample[bisect_left(self._sample, old)]
        if new:
            insort(self._sample, new)

    def reset_below(self, first: int | None = None) -> None:
        """Forget the run below the VWAP: it can only start with a bar of second `first` or later, or else newer than the newest."""
        self._below_from = self._newest + 1 if first is None else first - self._zero
        if self.below_since is not None and self.below_since - self._zero < self._below_from:
            self.below_since = None

    @property
    def session_volume(self) -> float:
        """Shares in all seconds of the session that are known."""
        return sum(self._volumes)

    # --- coverage ---

    @property
    def covered_from(self) -> int | None:
        """The later of the open and the first second known without an unfilled gap."""
        return None if self._covered == self._end else self._zero + self._covered

    def gap(self, start: int) -> None:
        """From the second `start` on nothing is known: the socket was lost or has stalled."""
        self._unknown = min(max(start - self._zero, OPEN), self._unknown)

    def live(self, start: int) -> None:
        """From the second `start` on every second is told: the socket is subscribed.

        Say it at each subscription: without it the next bar has to stand for it, and the quiet seconds before that stay unknown.
        """
        if self._unknown < self._end:
            self._know(max(start - self._zero, OPEN))

    def history(self, start: int, end: int, bars: Iterable[Bar]) -> None:
        """Fill in [start, end) as REST has it: a gap inside it is none any more, and what it leaves open stays one.

        A second seen live stays as it was. Nothing is decided, but the runs are followed anew over all that is covered.
        """
        first, last = max(start - self._zero, OPEN), min(end - self._zero, self._end)
        if first >= last:
            return
        self._merge(start, end, bars)
        pieces = [piece for a, b in self._gaps for piece in ((a, min(b, first)), (max(a, last), b))]
        self._gaps = [(a, b) for a, b in pieces if a < b]
        if self._unknown < last:
            if self._unknown < first:
                self._gaps.append((self._unknown, first))
            self._unknown = last
        self._rebuild()

    def _know(self, index: int) -> None:
        """The open gap ends at `index`."""
        lost, self._unknown = self._unknown, self._end
        if index > lost:
            self._gaps.append((lost, index))
            self._rebuild()
        self._covered = self._gaps[-1][1] if self._gaps else OPEN

    def _rebuild(self) -> None:
        """Let all known bars of the coverage pass again, in order."""
        known = self._kinds
        self._newest = max(known.rfind(1), known.rfind(2), OPEN - 1)
        covered = self._gaps[-1][1] if self._gaps else OPEN
        self._covered = covered if self._unknown > covered else self._end
        self._sample = sorted(filter(None, self._volumes[max(covered, self._newest - SAMPLE_S) : self._newest]))
        self._vwap, self.below_since = None, None
        before = covered - 1
        for index in compress(count(covered), known[covered : self._newest + 1]):
            self._pass(before, index, self._closes[index])
            if index < self._below_from:
                self.below_since = None
            before = index

    # --- verdicts, cheapest first ---

    def momentum(self) -> bool:
        """Conditions 1-5 at the newest second, warmed up."""
        index = self._newest
        vwap, close = self._vwap, self._closes[index]
        if vwap is None or self._run_vwap is None or close - vwap < EQUAL or index - self._run < RISING_S:
            return False
        if vwap - self._run_vwap < EQUAL or index - self._covered < self._warmup_s:
            return False
        p95 = self._volume_p95(index)
        if p95 is None or self._volumes[index] - p95 < EQUAL:
            return False
        if self.config.vwap_trend_filter:
            trend = self._vwap_300(index)
            if trend is None or close - trend < EQUAL:
                return False
        slope = self._slope_pct_s(index)
        return slope is not None and slope >= EQUAL

    def signal(self) -> bool:
        """Conditions 1-7 at the newest second, warmed up."""
        if not self.momentum():
            return False
        if self.config.relative_volume_filter:
            relative = self._relative_volume(self._newest)
            if relative is None or not at_least(relative, self._relative_volume_min):
                return False
        if self.config.leadership_filter:
            lead = self._leadership_pp(self._newest)
            return lead is not None and at_least(lead, self._lag)
        return True

    # --- readings ---

    def _vwap_300(self, index: int) -> float | None:
        total = sum(self._volumes[index - 299 : index + 1])
        return sum(self._pv[index - 299 : index + 1]) / total if total > 0.0 else None

    def _sample_s(self, index: int) -> int:
        return index - max(self._covered, index - SAMPLE_S)

    def _volume_p95(self, index: int) -> float | None:
        seconds = self._sample_s(index)
        if seconds < SAMPLE_MIN_S:
            return None
        sample = self._sample
        zeros = seconds - len(sample)
        rank, hundredths = divmod((seconds - 1) * 95, 100)
        low = sample[rank - zeros] if rank >= zeros else 0.0
        high = sample[rank + 1 - zeros] if rank + 1 >= zeros else 0.0
        return low + (high - low) * hundredths / 100

    def _volume_z(self, index: int) -> float | None:
        seconds = self._sample_s(index)
        if seconds < SAMPLE_MIN_S:
            return None
        mean = fsum(self._sample) / seconds
        steps = [volume - mean for volume in self._sample]
        squares = fsum(map(mul, steps, steps)) + (seconds - len(steps)) * mean * mean
        deviation = sqrt(squares / seconds)
        return (self._volumes[index] - mean) / deviation if deviation > 0.0 else None

    def _slope_pct_s(self, index: int) -> float | None:
        """Least squares of close against time over the bars of the last 30 s, in % of the close per second."""
        window = self._closes[index - SLOPE_S + 1 : index + 1]
        times = list(compress(count(1 - SLOPE_S), window))
        bars = len(times)
        if bars < SLOPE_BARS:
            return None
        close = window[-1]
        middle = sum(times) / bars
        steps = [second - middle for second in times]
        rises = [price - close for price in window if price]
        slope: float = sum(map(mul, steps, rises)) / sum(map(mul, steps, steps))
        return slope / close * 100

    def _relative_volume(self, index: int) -> float | None:
        """Volume of the last 60 s over what the profile expects of them, its minutes weighted by their overlap."""
        if self._profile is None:
            return None
        second = index - OPEN
        minute, into = divmod(second, 60)
        expected = self._profile[minute] * (into + 1)
        if minute and into < 59:
            expected += self._profile[minute - 1] * (59 - into)
        return sum(self._volumes[index - 59 : index + 1]) * 60 / expected if expected > 0.0 else None

    def _leadership_pp(self, index: int) -> float | None:
        """ROC(IWM) at t less ROC(SPY) at t - 1, both over 300 s, in percentage points."""
        start = self._zero + index
        then = self._close_at(index - ROC_S)
        leader, leader_then = self.leader.close_by(start - 1), self.leader.close_by(start - 1 - ROC_S)
        if then is None or leader is None or leader_then is None:
            return None
        return (self._closes[index] / then - leader / leader_then) * 100

    def _leadership_lacks(self, index: int) -> str:
        start = self._zero + index
        if self._close_at(index - ROC_S) is None:
            return f"no bar of its own {ROC_S} s ago"
        return f"no bar of the leader {1 if self.leader.close_by(start - 1) is None else 1 + ROC_S} s ago"

    def reading(self) -> Reading | None:
        """What is known at the newest second, VWAP_60 and the runs as they were when it passed; None before the first."""
        index = self._newest
        if not self._kinds[index]:
            return None
        close, volume = self._closes[index], self._volumes[index]
        vwap_300, p95, slope = self._vwap_300(index), self._volume_p95(index), self._slope_pct_s(index)
        relative, lead = self._relative_volume(index), self._leadership_pp(index)
        coverage_s = max(index - self._covered, 0)
        config = self.config
        gates = (
            _gate(1, "price above VWAP 1m", close, self._vwap, "no volume in the last 60 s"),
            _gate(2, "price above VWAP 5m", close, vwap_300, "no volume in the last 300 s", on=config.vwap_trend_filter),
            self._rising_gate(index),
            _gate(4, "volume surge", volume, p95, f"volume known for {coverage_s} s of {SAMPLE_MIN_S}"),
            _gate(5, "momentum", slope, 0.0, f"fewer than {SLOPE_BARS} bars in the last {SLOPE_S} s"),
            _gate(
                6, "relative volume", relative, self._relative_volume_min,
                "no volume profile" if self._profile is None else "the profile expects no volume",
                on=config.relative_volume_filter, holds=at_least,
            ),
            _gate(
                7, "not lagging the leader", lead, self._lag, self._leadership_lacks(index),
                on=config.leadership_filter, holds=at_least,
            ),
        )  # fmt: skip
        momentum = coverage_s >= self._warmup_s and all(gate.ok for gate in gates[:5])
        return Reading(
            start=self._zero + index,
            close=close,
            volume=volume,
            vwap_60=self._vwap,
            vwap_300=vwap_300,
            rising_s=index - self._run,
            volume_p95=p95,
            volume_z=self._volume_z(index),
            slope_pct_s=slope,
            relative_volume=relative,
            leadership_pp=lead,
            coverage_s=coverage_s,
            momentum=momentum,
            signal=momentum and all(gate.ok for gate in gates[5:]),
            gates=gates,
        )

    def _rising_gate(self, index: int) -> Gate:
        rising_s = index - self._run
        if self._vwap is None or self._run_vwap is None:
            return Gate(3, "VWAP rising", False, None, RISING_S, None, "no volume in the last 60 s")
        long, higher = rising_s >= RISING_S, above(self._vwap, self._run_vwap)
        reason = "VWAP is not above where the run began" if long and not higher else ""
        return Gate(3, "VWAP rising", long and higher, rising_s, RISING_S, rising_s - RISING_S, reason)


def _gate(
    number: int,
    name: str,
    value: float | None,
    threshold: float | None,
    missing: str,
    *,
    on: bool = True,
    holds: Callable[[float, float], bool] = above,
) -> Gate:
    known = value is not None and threshold is not None
    margin = value - threshold if value is not None and threshold is not None else None
    ok = value is not None and threshold is not None and holds(value, threshold)
    reason = "switched off" if not on else "" if known else missing
    return Gate(number, name, ok or not on, value, threshold, margin, reason, not on)


# --- the volume profile ------------------------------------------------------------------------------------------------


class ProfileError(ValueError):
    """Too few sessions to say what volume is usual."""


class Profile(NamedTuple):
    """Average volume of each of the 390 regular minutes, and the sessions it was made of, oldest first."""

    minutes: tuple[float, ...]
    sessions: tuple[date, ...]


def profile_of(rows_by_session: Mapping[date, Iterable[tuple[int, float]]], sessions: Iterable[Session]) -> Profile:
    """The profile of the last 10 full sessions of `sessions`, from minute rows (start in Unix seconds, volume).

    Half-days are skipped; a session is found if it has a row in regular hours, and a minute without a row traded nothing.
    ProfileError where fewer than 8 are found.
    """
    full = sorted((session for session in sessions if session.is_full), key=lambda session: session.date)
    found: dict[date, dict[int, float]] = {}
    for session in full[-PROFILE_SESSIONS:]:
        rows = {(start - session.open_at) // 60: volume for start, volume in rows_by_session.get(session.date, ())}
        regular = {minute: volume for minute, volume in rows.items() if 0 <= minute < MINUTES}
        if regular:
            found[session.date] = regular
    if len(found) < PROFILE_SESSIONS_MIN:
        raise ProfileError(f"minute bars of {len(found)} full sessions found, {PROFILE_SESSIONS_MIN} are needed")
    minutes = (fsum(rows.get(minute, 0.0) for rows in found.values()) / len(found) for minute in range(MINUTES))
    return Profile(tuple(minutes), tuple(found))
