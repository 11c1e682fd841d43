"""Where sessions come from: the local store that `fetch` fills, or sessions made up from a seed.

The store is `DATA_DIR/history/SYMBOL/second/YYYY-MM-DD.parquet` and `.../minute/YYYY-MM-DD.parquet`, a file a session, and
`.../option/YYYY-MM-DD/C00240000.parquet`, a file a call, with `strikes.json` once all that were wanted are there. A source is small
and can be sent to another process or machine; it loads a session where it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from config import Config
from replay import paths
from replay.bars import BarArrays, kept, write
from replay.files import bars as filed
from replay.files.bars import Account
from replay.files.profile import HOW
from replay.show import ReplayError
from signals import PROFILE_SESSIONS, ProfileError, profile_of
from utils import Session, SessionCalendar

if TYPE_CHECKING:
    import polars


STRIKES = "strikes.json"
FIRST_BAND = (0.30, 0.45)  # what folders were fetched with that do not say it: the settings as they are by default


class Stored(NamedTuple):
    """The sessions of the store. `profile` None: from the minutes of the ten full sessions before each."""

    folder: Path
    symbol: str
    leader: str
    profile: tuple[float, ...] | None = None
    seed: int = 1

    @property
    def words(self) -> list[str]:
        return []

    def session_dates(self, first: date, last: date) -> list[date]:
        found = (Path(file).stem for file in place(self.folder, self.symbol, "second").glob("*.parquet"))
        return sorted(day for name in found if first <= (day := date.fromisoformat(name)) <= last)

    def options(self, session: Session) -> Path | None:
        """Where the session's recorded quotes are, if they are there."""
        return options_of(place(self.folder, self.symbol, "second"), session.date)

    def day(self, session: Session, calendar: SessionCalendar) -> paths.SessionBars:
        own = kept(file_of(self.folder, self.symbol, "second", session.date))
        other = file_of(self.folder, self.leader, "second", session.date)
        profile = self.profile or self._profile(session, calendar)
        return paths.day_of(own, kept(other) if other.exists() else None, session, profile, self.seed)

    def _profile(self, session: Session, calendar: SessionCalendar) -> tuple[float, ...] | None:
        before = calendar.full_before(session.date, PROFILE_SESSIONS)
        rows: dict[date, list[tuple[int, float]]] = {}
        for one in before:
            file = file_of(self.folder, self.symbol, "minute", one.date)
            if file.exists():
                bars = kept(file)
                rows[one.date] = list(zip(bars.start.tolist(), bars.volume.tolist(), strict=True))
        try:
            return profile_of(rows, before).minutes
        except ProfileError:
            return None


class MadeUp(NamedTuple):
    """Sessions made up from a seed; `quote_seed` of their modelled quotes, None: the same."""

    seed: int
    quote_seed: int | None = None

    @property
    def words(self) -> list[str]:
        return ["bars made up from a seed, of no market"]

    def session_dates(self, first: date, last: date) -> list[date]:
        calendar = calendar_between(first, last)
        days = (date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1))
        return [day for day in days if (session := calendar.on(day)) is not None and session.is_full]

    def options(self, session: Session) -> Path | None:
        return None

    def day(self, session: Session, calendar: SessionCalendar) -> paths.SessionBars:
        from replay import made  # the simulator's market takes a second to load

        one = made.session_of(self.seed, session)
        quotes = self.seed if self.quote_seed is None else self.quote_seed
        return paths.SessionBars(session, one.own, one.leader, one.profile, seed=quotes)


class Filed(NamedTuple):
    """The sessions of files of second bars; `span`: only those between two days are asked for."""

    files: tuple[Path, ...]
    leader: Path | None
    profile: tuple[float, ...] | None
    seed: int = 1
    span: tuple[date, date] = (date.min, date.max)

    @property
    def accounts(self) -> list[Account]:
        """What became of every row of the files."""
        ours = filed.held(self.files, Config.symbol).accounts
        return [*ours, *(filed.held((self.leader,), Config.leader).accounts if self.leader else ())]

    @property
    def words(self) -> list[str]:
        own = self._dates()
        told = [account.words for account in self.accounts]
        if self.leader is None:
            told.append(f"no {Config.leader} given: condition 7 cannot hold")
        elif lacks := [day for day in own if day not in filed.held((self.leader,), Config.leader).files_of]:
            told.append(f"{self.leader} has no {Config.leader} of {listed(lacks)}: condition 7 cannot hold there")
        return told if self.profile else [*told, f"no profile given: condition 6 cannot hold; {HOW}"]

    def _dates(self) -> list[date]:
        first, last = self.span
        return sorted(day for day in filed.held(self.files, Config.symbol).files_of if first <= day <= last)

    def session_dates(self, first: date, last: date) -> list[date]:
        found = [day for day in filed.held(self.files, Config.symbol).files_of if first <= day <= last]
        if not found:
            told = "; ".join(account.words for account in filed.held(self.files, Config.symbol).accounts)
            asked = "" if (first, last) == (date.min, date.max) else f" between {first} and {last}"
            raise ReplayError(f"the files have no bar in regular hours of a trading day{asked} ({told})")
        return sorted(found)

    def options(self, session: Session) -> Path | None:
        return next((found for file in self.files if (found := options_of(file.parent, session.date))), None)

    def day(self, session: Session, calendar: SessionCalendar) -> paths.SessionBars:
        files = filed.held(self.files, Config.symbol).files_of.get(session.date)
        if files is None:
            raise ReplayError(f"no bar of {session.date} in the files")
        leader = None if self.leader is None else filed.read(self.leader, Config.leader).bars
        return paths.day_of(filed.joined(files, Config.symbol), leader, session, self.profile, self.seed)


def listed(days: Sequence[date]) -> str:
    """Up to five days, and how many more there are."""
    more = f" and {len(days) - 5} more sessions" if len(days) > 5 else ""
    return ", ".join(map(str, days[:5])) + more


Source = Stored | MadeUp | Filed


def place(folder: Path, symbol: str, span: str) -> Path:
    return folder / "history" / symbol / span


def file_of(folder: Path, symbol: str, span: str, day: date) -> Path:
    return place(folder, symbol, span) / f"{day}.parquet"


def keep(folder: Path, symbol: str, span: str, day: date, bars: BarArrays) -> None:
    write(file_of(folder, symbol, span, day), bars)


# --- option quotes -----------------------------------------------------------------------------------------------------


def contract_file(folder: Path, symbol: str, day: date, strike: int) -> Path:
    return place(folder, symbol, "option") / str(day) / f"C{strike:08d}.parquet"


def keep_table(file: Path, table: polars.DataFrame) -> None:
    """A table as Parquet, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    table.write_parquet(fresh)
    fresh.replace(file)


class Calls(Struct, frozen=True):
    """Which calls of a session were asked for (strikes in mills), and the delta band that they cover."""

    strikes: list[int]
    delta: tuple[float, float]


def keep_calls(folder: Path, symbol: str, day: date, calls: Calls) -> None:
    """The session's calls are complete: all of these were asked for. What was kept of a wider band before stays."""
    file = place(folder, symbol, "option") / str(day) / STRIKES
    with suppress(ReplayError):
        before = calls_in(file.parent)
        (low, high), (least, most) = before.delta, calls.delta
        calls = Calls(sorted({*before.strikes, *calls.strikes}), (min(low, least), max(high, most)))
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(calls))
    fresh.replace(file)


def calls_in(folder: Path) -> Calls:
    """What a complete folder of calls holds. ReplayError for one that is not."""
    try:
        found = msgspec.json.decode((folder / STRIKES).read_bytes(), type=Calls | list[int])
    except (OSError, msgspec.MsgspecError):
        raise ReplayError(f"{folder} is no complete day of calls: `python -m replay fetch` goes on with it") from None
    return found if isinstance(found, Calls) else Calls(found, FIRST_BAND)


def options_of(seconds: Path, day: date) -> Path | None:
    """The complete folder of a day's calls beside a folder of the store's second bars; None where there is none."""
    folder = seconds.parent / "option" / str(day)
    return folder if seconds.name == "second" and (folder / STRIKES).exists() else None


def contract_files(folder: Path) -> list[Path]:
    """The files of a complete folder of calls. ReplayError for one that is not."""
    return [folder / f"C{strike:08d}.parquet" for strike in calls_in(folder).strikes]


@lru_cache(maxsize=8)
def calendar_between(first: date, last: date) -> SessionCalendar:
    """The calendar of some years, read once in a process."""
    return SessionCalendar(date(first.year, 1, 1), date(last.year, 12, 31))


def sessions(source: Source, first: date, last: date) -> tuple[SessionCalendar, list[Session]]:
    """The sessions of a source between two days; ReplayError where there is none."""
    if last < first:
        raise ReplayError(f"{last} is before {first}")
    calendar = calendar_between(first, last)
    found = [session for day in source.session_dates(first, last) if (session := calendar.on(day)) is not None]
    if not found:
        raise ReplayError(
            f"no session between {first} and {last} is there: `python -m replay fetch IWM {first} {last}` brings them"
        )
    return calendar, found
