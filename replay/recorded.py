"""Recorded option quotes: a file of a day's (or several days') contracts, or a day's calls as `fetch` has kept them.

`replay.files.quotes` reads the files and names their columns. A minute's last quote is used once the minute has ended and until the
next one is there; how old it is then is not known, so it passes for current. That is an assumption, and it is said.

With the column `quoted_ns_utc` (as `fetch` writes it) each quote counts from its own time stamp on, and is as old as it is;
`day_volume` then is what had traded by that time. Where a quote is older than three minutes there is a hole: no quote.
"""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from events import ChainRow, Quote
from replay.bars import NS
from replay.files.quotes import quotes
from replay.show import ReplayError
from replay.store import STRIKES, contract_files
from utils import Session, new_york, to_mills

if TYPE_CHECKING:
    import polars

BY_MINUTE = "option quotes recorded once a minute, taken as current until the next"
BY_SECOND = "option quotes recorded, the last of each second"
NO_INTEREST = "open interest was not recorded: taken as enough"
MINUTE_S = 60
KEPT_S = 180


class Call(NamedTuple):
    """One contract's quotes: from when each is known, its own time stamp where recorded, and the quote; volume by then."""

    strike: int
    known_at: list[float]
    quoted_at: list[float] | None
    bid: list[float | None]
    ask: list[float | None]
    bid_size: list[int]
    ask_size: list[int]
    volume: list[int]
    open_interest: list[int | None] | None


class Recorded:
    """The quotes of one session's calls, and what is `assumed` of them; `least_interest` is given for what no file recorded."""

    kind = "recorded"

    def __init__(self, path: Path, session: Session, least_interest: int = 0) -> None:
        self.session, self.least_interest = session, least_interest
        table = calls_of(path, session)
        if not len(table) and not is_of_store(path):
            raise ReplayError(nothing_of(path, session))
        parts = table.partition_by("occ", as_dict=True) if len(table) else {}
        self._known = {str(name): call_of(part) for (name,), part in sorted(parts.items())}
        self.assumed = [BY_SECOND if "quoted_ns_utc" in table.columns else BY_MINUTE]
        if "open_interest" not in table.columns:
            self.assumed.append(NO_INTEREST)

    def rows(self, at: float, contracts: tuple[str, ...] | None = None) -> tuple[ChainRow, ...]:
        found = ((name, self._last(name, at)) for name in contracts or self._known)
        return tuple(self._row(name, place, at) for name, place in found if place is not None)

    def quote(self, contract: str, at: float) -> Quote | None:
        place = self._last(contract, at)
        return None if place is None else quote_of(self._known[contract], place, at)

    def _last(self, name: str, at: float) -> int | None:
        """The last row that was known, if it is not long past."""
        call = self._known.get(name)
        if call is None:
            return None
        place = bisect_right(call.known_at, at) - 1
        return place if place >= 0 and at - call.known_at[place] <= KEPT_S else None

    def _row(self, name: str, place: int, at: float) -> ChainRow:
        call = self._known[name]
        return ChainRow(
            contract=name,
            right="call",
            strike=call.strike,
            expiration=self.session.date.isoformat(),
            shares=100,
            quote=quote_of(call, place, at),
            volume=call.volume[place],
            volume_at=at,
            open_interest=self.least_interest if call.open_interest is None else call.open_interest[place],
        )


def quote_of(call: Call, place: int, at: float) -> Quote | None:
    bid, ask = call.bid[place], call.ask[place]
    if bid is None and ask is None:
        return None
    return Quote(
        None if bid is None else to_mills(bid),
        None if ask is None else to_mills(ask),
        call.bid_size[place],
        call.ask_size[place],
        quoted_at=at if call.quoted_at is None else call.quoted_at[place],
    )


def call_of(part: polars.DataFrame) -> Call:
    """The rows of one contract, in order of time."""

    def whole(name: str) -> list[int]:
        return part[name].fill_null(0).cast(int).to_list()

    stamps = part["quoted_ns_utc"].to_numpy() / NS if "quoted_ns_utc" in part.columns else None
    if "day_volume" in part.columns:
        volume = whole("day_volume")
    else:
        volume = np.cumsum(whole("trade_volume")).tolist() if "trade_volume" in part.columns else [0] * len(part)
    interest = part["open_interest"].cast(int).to_list() if "open_interest" in part.columns else None
    return Call(
        to_mills(float(part["strike"][0])),
        (part["timestamp_ns_utc"].to_numpy() / NS + MINUTE_S if stamps is None else stamps).tolist(),
        None if stamps is None else stamps.tolist(),
        part["bid_close"].cast(float).to_list(),
        part["ask_close"].cast(float).to_list(),
        whole("bid_size"),
        whole("ask_size"),
        volume,
        interest,
    )


def calls_of(path: Path, session: Session) -> polars.DataFrame:
    """The rows of the day's calls, in order of time. ReplayError where the file or folder cannot be used."""
    import polars

    try:
        table = (
            polars.concat([polars.read_parquet(file) for file in contract_files(path)])
            if is_of_store(path)
            else quotes(path)
        )
        today = polars.col("expiration").cast(polars.String) == session.date.isoformat()
        calls = table.filter(today & (polars.col("right") == "C"))
        by = "quoted_ns_utc" if "quoted_ns_utc" in calls.columns else "timestamp_ns_utc"
        within = polars.col(by).is_between((session.open_at - MINUTE_S) * NS, session.close_at * NS)
        return calls.filter(within).sort(by, maintain_order=True)
    except polars.exceptions.PolarsError as fault:
        raise ReplayError(f"{path} cannot be read: {str(fault).splitlines()[0]}") from None


def is_of_store(path: Path) -> bool:
    """Whether this is a day of calls as `fetch` keeps it."""
    return (path / STRIKES).exists()


def holds(path: Path, session: Session) -> bool:
    """Whether a file has quotes of the session's calls, in its hours."""
    return len(calls_of(path, session)) > 0


def nothing_of(path: Path, session: Session) -> str:
    """What to say of a file that has no quote of a session's calls."""
    table = quotes(path)
    first, last = (new_york(float(at) / NS) for at in (table["timestamp_ns_utc"].min(), table["timestamp_ns_utc"].max()))  # type: ignore[arg-type]
    days = sorted(set(table["expiration"].to_list()))
    return (
        f"no row of this file matched: {path} has no call that expires on {session.date} with a quote in that session; its"
        f" {len(table):,} rows are from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} New York and expire on"
        f" {', '.join(days[:5])}{' …' if len(days) > 5 else ''}"
    )
