"""Slow questions, asked apart so that nothing waits for them: history, the volume profile, settlements, the time."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import logger
from edges.edge import Boxed, Emit
from events import (
    Backfill,
    BackfillFailed,
    Bar,
    BarsFetched,
    ClockChecked,
    FetchMinutes,
    FetchProfile,
    FetchSettlement,
    MinutesFailed,
    MinutesFetched,
    ModelRead,
    ProfileArrived,
    ProfileFailed,
    ReadModel,
    SettlementArrived,
)
from failpoints import hit
from polygon_client import Rest
from signals import PROFILE_SESSIONS, profile_of
from utils import new_york
from wire.budget import Budget
from wire.transport import Refused, TryAgain

if TYPE_CHECKING:
    from config import Config
    from utils import Clock, SessionCalendar

log = logger.of("errands")

CLOCK_CHECK_S = 300.0
CLOCK_RETRY_S = 30.0
JUMP_S = 2.0
SESSIONS_MAX = 8


class Errands(Boxed):
    name = "errands"

    def __init__(self, emit: Emit, config: Config, clock: Clock, calendar: SessionCalendar, budget: Budget) -> None:
        super().__init__(emit)
        self.config = config
        self.clock = clock
        self.calendar = calendar
        self.rest = Rest(config, clock, budget)
        self.skew_s = 0.0

    def run(self) -> None:
        check_at = float("-inf")
        while not self.stopping.is_set():
            hit("errands.loop")
            if self.clock.steady() >= check_at or self._jumped():
                check_at = self.clock.steady() + self._check_clock()
            match self.next(self.clock.real_seconds(1.0)):
                case Backfill() as action:
                    for symbol in action.symbols:
                        self.beat()
                        self._backfill(action, symbol)
                case FetchMinutes() as action:
                    self._minutes(action)
                case ReadModel(strategy, name):
                    self._model(strategy, name)
                case FetchProfile(symbol, day):
                    self._profile(symbol, date.fromisoformat(day))
                case FetchSettlement(trade_id, symbol, day):
                    self._settlement(trade_id, symbol, date.fromisoformat(day))

    # --- history -------------------------------------------------------------------------------------------------------

    def _backfill(self, asked: Backfill, symbol: str) -> None:
        start, end = asked.start, asked.end
        try:
            bars = self.rest.second_bars(symbol, start, end)
        except (TryAgain, Refused) as fault:
            refused = isinstance(fault, Refused)
            self.emit(BackfillFailed(at=self.clock.now(), symbol=symbol, reason=fault.reason, refused=refused))
            return
        fetched = BarsFetched(
            at=self.clock.now(), symbol=symbol, start=start, end=end, bars=tuple(bars), strategy=asked.strategy
        )
        self.emit(fetched)

    def _minutes(self, asked: FetchMinutes) -> None:
        """Minutes of regular hours: of [start, end), and the last `before` of earlier sessions, over as many as that takes."""
        today = new_york(asked.start).date()
        earlier: list[Bar] = []
        try:
            for session in reversed(self.calendar.before(today, SESSIONS_MAX) if asked.before else []):
                if len(earlier) >= asked.before:
                    break
                self.beat()
                earlier = [*self.rest.minutes_of(asked.symbol, session.open_at, session.close_at), *earlier]
            bars = self.rest.minutes_of(asked.symbol, asked.start, asked.end) if asked.end > asked.start else []
        except (TryAgain, Refused) as fault:
            refused = isinstance(fault, Refused)
            self.emit(MinutesFailed(at=self.clock.now(), symbol=asked.symbol, reason=fault.reason, refused=refused))
            return
        kept = (*earlier[len(earlier) - min(len(earlier), asked.before) :], *bars)
        self.emit(MinutesFetched(at=self.clock.now(), symbol=asked.symbol, start=asked.start, bars=kept))

    def _model(self, strategy: str, name: str) -> None:
        """A model file as it is; one that is not there, or cannot be read, is none."""
        try:
            text = (self.config.data_dir / name).read_text(errors="replace")
        except OSError:
            text = None
        self.emit(ModelRead(at=self.clock.now(), strategy=strategy, text=text))

    def _profile(self, symbol: str, day: date) -> None:
        """The profile of a day, from the cache if it was made today already."""
        cache = self.config.data_dir / "cache" / f"profile-{symbol}-{day}.json"
        profile = cached(cache)
        if profile is None:
            sessions = self.calendar.full_before(day, PROFILE_SESSIONS)
            try:
                rows = self.rest.minute_bars(symbol, sessions[0].date, sessions[-1].date)
                minutes, found = profile_of(rows, sessions)
            except (TryAgain, Refused) as fault:
                self.emit(ProfileFailed(at=self.clock.now(), symbol=symbol, date=day.isoformat(), reason=fault.reason))
                return
            except ValueError as fault:
                self.emit(ProfileFailed(at=self.clock.now(), symbol=symbol, date=day.isoformat(), reason=str(fault)))
                return
            profile = Profile(minutes, tuple(session.isoformat() for session in found))
            try:
                keep(cache, profile)
            except OSError as fault:
                log.warning("the volume profile could not be kept for the day", reason=fault.strerror)
        self.emit(
            ProfileArrived(
                at=self.clock.now(), symbol=symbol, date=day.isoformat(), minutes=profile.minutes, sessions=profile.sessions
            )
        )

    def _settlement(self, trade_id: str, symbol: str, day: date) -> None:
        session = self.calendar.on(day)
        try:
            close = None if session is None else self.rest.session_close(symbol, session)
            reason = "" if close is not None else "the feed has no close for that day"
        except (TryAgain, Refused) as fault:
            close, reason = None, fault.reason
        self.emit(SettlementArrived(at=self.clock.now(), trade_id=trade_id, close=close, reason=reason))

    # --- the time ------------------------------------------------------------------------------------------------------

    def _jumped(self) -> bool:
        """Whether the host's clock was moved since it was last asked about."""
        return abs(self.clock.wall() - self.clock.now() - self.skew_s) > JUMP_S

    def _check_clock(self) -> float:
        """Compare with the market's time; when to ask again, in seconds.

        `now` runs steadily from what the host said at the start. If the host's clock was moved and the market agrees with it,
        `now` follows it; if the market agrees with `now`, the host is wrong and is left alone.
        """
        self.skew_s = self.clock.wall() - self.clock.now()
        jumped = abs(self.skew_s) > JUMP_S
        try:
            asked_at = self.clock.now()
            market = self.rest.market_time()
            answered_at = self.clock.now()
        except (TryAgain, Refused):
            skew = self.skew_s if jumped else None
            self.emit(ClockChecked(at=self.clock.now(), skew_s=skew, source="its own start", by_itself=True))
            return CLOCK_RETRY_S
        skew = (asked_at + answered_at) / 2 - market
        if jumped and abs(skew + self.skew_s) <= JUMP_S < abs(skew):
            self.clock.confirm()
            skew, self.skew_s = skew + self.skew_s, 0.0
        self.emit(ClockChecked(at=self.clock.now(), skew_s=skew, source="the market's time"))
        return CLOCK_CHECK_S


class Profile(msgspec.Struct, frozen=True):
    minutes: tuple[float, ...]
    sessions: tuple[str, ...]


def cached(path: Path) -> Profile | None:
    """The profile kept for the day; a file that cannot be read is as good as none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Profile)
    except (OSError, msgspec.MsgspecError):
        return None


def keep(path: Path, profile: Profile) -> None:
    """Write the day's profile whole or not at all, and forget those of other days."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(profile))
    fresh.replace(path)
    for old in path.parent.glob("profile-*.json"):
        if old != path:
            old.unlink(missing_ok=True)
