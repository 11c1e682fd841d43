"""Session calendar, money and time helpers, and the only clock.

Only edges hold a `Clock`; everything else is given the time. New York time comes from pytz, sessions from XNYS.
"""

from __future__ import annotations

import mmap
import re
import struct
import time
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as wall_time
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import pytz

VERSION = "1.0.0"
NEW_YORK = pytz.timezone("America/New_York")
SHARES = 100
CENT = 10  # mills
BACK_S = 1.0  # threads read a clock in any order; more than this between two readings is a clock put back
LATEST, FASTEST = 4_102_444_800.0, 1e6  # of a simulated market's clock: the year 2100, a million seconds in one


# --- time --------------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """What an edge may know of time. `now` names a moment, `steady` is for what is due: it never steps."""

    def now(self) -> float:
        """Unix seconds: the host's time at the start, or when it was last confirmed, plus what has truly passed since."""

    def steady(self) -> float:
        """Seconds that only pass, from no moment in particular: for whatever is due, or overdue."""

    def moved(self) -> float:
        """`now` less `steady`, in seconds: it changes only when `now` is put right."""

    def wall(self) -> float:
        """Unix seconds as the host's clock has them at this moment."""

    def real_seconds(self, seconds: float) -> float:
        """How long to wait in earnest for `seconds` of this clock."""

    def confirm(self) -> None:
        """The host's clock was found right: follow it from here."""


class SystemClock:
    def __init__(self) -> None:
        self.confirm()

    def now(self) -> float:
        return self._anchor + time.monotonic()

    def steady(self) -> float:
        return time.monotonic()

    def moved(self) -> float:
        return self._anchor

    def wall(self) -> float:
        return time.time()

    def real_seconds(self, seconds: float) -> float:
        return seconds

    def confirm(self) -> None:
        self._anchor = time.time() - time.monotonic()


class SharedClock:
    """A market's own time, read from a file that the simulator keeps: base (monotonic), time at base, speed, wall offset.

    The parent may stop it, speed it up or move it, and every process that reads the file agrees at once. ValueError for a file that
    is none.
    """

    _layout = struct.Struct("=dddd")

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), self._layout.size)
        base, at_base, speed, offset = self._read()
        if not (base > 0 and 0 < at_base < LATEST and 0 <= speed < FASTEST and abs(offset) < LATEST):
            raise ValueError("no clock of a simulated market")
        self._confirmed = offset
        self._steady_at, self._kept = at_base, 0.0

    @classmethod
    def create(cls, path: Path, now: float, speed: float) -> SharedClock:
        path.write_bytes(cls._layout.pack(time.monotonic(), now, speed, 0.0))
        return cls(path)

    def set(self, *, now: float | None = None, speed: float | None = None, wall_offset: float | None = None) -> None:
        base, at_base, rate, offset = self._read()
        monotonic = time.monotonic()
        current = at_base + (monotonic - base) * rate
        self._map[:] = self._layout.pack(
            monotonic,
            current if now is None else now,
            rate if speed is None else speed,
            offset if wall_offset is None else wall_offset,
        )

    def now(self) -> float:
        return self._market() + self._confirmed

    def steady(self) -> float:
        """The market's seconds; what its time is moved back by is not taken off."""
        market = self._market() + self._kept
        if market < self._steady_at - BACK_S:
            self._kept += self._steady_at - market
        self._steady_at = market = max(market, self._steady_at)
        return market

    def moved(self) -> float:
        return self._confirmed - self._kept

    def wall(self) -> float:
        return self._market() + self._read()[3]

    def real_seconds(self, seconds: float) -> float:
        speed = self._read()[2]
        return min(seconds / speed, 0.5) if speed > 0 else 0.05

    def confirm(self) -> None:
        self._confirmed = self._read()[3]

    def _market(self) -> float:
        base, at_base, speed, _ = self._read()
        return at_base + (time.monotonic() - base) * speed

    def _read(self) -> tuple[float, float, float, float]:
        base, at_base, speed, offset = self._layout.unpack(self._map[:])
        return base, at_base, speed, offset


def new_york(at: float) -> datetime:
    """The New York wall-clock time of a Unix time."""
    return datetime.fromtimestamp(at, NEW_YORK)


@lru_cache(maxsize=256)
def unix_time(day: date, moment: wall_time) -> float:
    """The Unix time of a New York wall-clock time."""
    return NEW_YORK.localize(datetime.combine(day, moment)).timestamp()


def clock_text(at: float) -> str:
    """`10:42:17`, New York."""
    return new_york(at).strftime("%H:%M:%S")


# --- sessions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    """A trading day: its New York date and its regular hours [open_at, close_at) in Unix seconds; when the next one opens."""

    date: date
    open_at: int
    close_at: int
    next_open_at: int | None = field(default=None, compare=False)

    @property
    def is_full(self) -> bool:
        return self.close_at - self.open_at == 23_400

    def at(self, moment: wall_time) -> float:
        """The Unix time of a New York wall-clock time on this day."""
        return unix_time(self.date, moment)


class SessionCalendar:
    """The exchange's sessions around a date (or from it to `until`), from the XNYS calendar: holidays, early closes, DST.

    Whoever is up for weeks calls `reach` each day; all who hold the calendar then see further, from any thread.
    """

    def __init__(self, around: date, until: date | None = None) -> None:
        self._read(around, until)

    def reach(self, day: date) -> None:
        """Read the exchange's calendar again unless `day` lies well inside what was read."""
        if not self.first + timedelta(days=40) <= day <= self.last - timedelta(days=7):
            self._read(day)

    def _read(self, around: date, until: date | None = None) -> None:
        from exchange_calendars import get_calendar

        self.first, self.last = around - timedelta(days=60), (until or around) + timedelta(days=45)
        schedule = get_calendar("XNYS", start=self.first.isoformat(), end=self.last.isoformat()).schedule
        opens = [int(moment.timestamp()) for moment in schedule["open"]]
        closes = [int(moment.timestamp()) for moment in schedule["close"]]
        self._sessions = {
            day.date(): Session(day.date(), opened, closed, after)
            for day, opened, closed, after in zip(schedule.index, opens, closes, [*opens[1:], None], strict=True)
        }

    def on(self, day: date) -> Session | None:
        """The session of a New York date; None on holidays and weekends."""
        return self._sessions.get(day)

    def at(self, at: float) -> Session | None:
        """The session of the New York date of a Unix time; None on holidays and weekends."""
        return self._sessions.get(new_york(at).date())

    def next_after(self, day: date) -> Session | None:
        return next((session for date_, session in sorted(self._sessions.items()) if date_ > day), None)

    def before(self, day: date, count: int) -> list[Session]:
        """The last `count` sessions before `day`, oldest first, half-days too."""
        return [session for date_, session in sorted(self._sessions.items()) if date_ < day][-count:]

    def full_before(self, day: date, count: int) -> list[Session]:
        """The last `count` full sessions before `day`, oldest first; half-days are not counted."""
        full = [session for date_, session in sorted(self._sessions.items()) if date_ < day and session.is_full]
        return full[-count:]


# --- money -------------------------------------------------------------------------------------------------------------


def to_mills(dollars: float | str | Decimal) -> int:
    """Whole mills of a price; finer quotes than a mill are rounded half to even. ValueError if not finite."""
    value = Decimal(str(dollars))
    if not value.is_finite():
        raise ValueError("a price must be a finite number")
    return int((value * 1000).quantize(Decimal(1), ROUND_HALF_EVEN))


def dollars(mills: int, places: int | None = None) -> str:
    """`$1.43`, or `$1.405` where the tenth of a cent matters, `-$8.00` below zero; `places` fixes the decimals."""
    if places is None:
        places = 2 if mills % CENT == 0 else 3
    return f"{'-' if mills < 0 else ''}${Decimal(abs(mills)).scaleb(-3):,.{places}f}"


def signed_dollars(mills: int) -> str:
    """`+$120.00`, `-$3.50`, `$0.00`: exact, with its sign in front."""
    return f"{'+' if mills > 0 else ''}{dollars(mills)}"


def underlying_of(contract: str) -> str:
    """`IWM` of `O:IWM261120C00226000`."""
    return contract.removeprefix("O:")[:-15]


def contract_name(contract: str) -> str:
    """`O:IWM261120C00226000` as `IWM 226C 20 Nov`."""
    parts = re.fullmatch(r"(?:O:)?([A-Z]{1,6})([0-9]{6})([CP])([0-9]{8})", contract)
    try:
        day = None if parts is None else datetime.strptime(parts[2], "%y%m%d")  # noqa: DTZ007 - a date, of no clock
    except ValueError:
        day = None
    if parts is None or day is None:
        return contract
    strike = f"{Decimal(parts[4]).scaleb(-3).normalize():f}"
    return f"{parts[1]} {strike}{parts[3]} {day.day} {day:%b}"


def up_to_cent(mills: int) -> int:
    return -(-mills // CENT) * CENT


def down_to_cent(mills: int) -> int:
    return mills // CENT * CENT
