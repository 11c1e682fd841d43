"""Recorded option quotes: the minute NBBO of a day's contracts, as the file of quotes or `fetch` has it.

Columns: `timestamp_ns_utc` (start of the minute), `occ`, `expiration`, `right`, `strike`, `bid_close`, `bid_size`, `ask_close`,
`ask_size`, and where known `trade_volume`, `open_interest`. A minute's last quote is used once the minute has ended and until the
next one is there; how old it is then is not known, so it passes for current. That is an assumption, and it is said.
"""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Any

from events import ChainRow, Quote
from replay.show import ReplayError
from utils import Session, to_mills

ASSUMED = "option quotes recorded once a minute, taken as current until the next"
NEEDED = ("timestamp_ns_utc", "occ", "expiration", "right", "strike", "bid_close", "bid_size", "ask_close", "ask_size")
MINUTE_S = 60
KEPT_S = 180


class Recorded:
    """The quotes of one session's calls. `modelled` says what is assumed of them."""

    modelled = ASSUMED

    def __init__(self, path: Path, session: Session) -> None:
        self.session = session
        self._known: dict[str, tuple[list[float], list[dict[str, Any]]]] = {}
        volume: dict[str, int] = {}
        for row in rows_of(path, session):
            name = row["occ"]
            volume[name] = volume.get(name, 0) + int(row.get("trade_volume") or 0)
            times, rows = self._known.setdefault(name, ([], []))
            times.append(row["timestamp_ns_utc"] / 1e9 + MINUTE_S)
            rows.append(row | {"volume": volume[name]})
        if not self._known:
            raise ReplayError(f"{path} has no call that expires on {session.date}")

    def rows(self, at: float, contracts: tuple[str, ...] | None = None) -> tuple[ChainRow, ...]:
        names = sorted(self._known) if contracts is None else contracts
        found = ((name, self._last(name, at)) for name in names)
        return tuple(self._row(name, row, at) for name, row in found if row is not None)

    def quote(self, contract: str, at: float) -> Quote | None:
        row = self._last(contract, at)
        return None if row is None else quote_of(row, at)

    def _last(self, name: str, at: float) -> dict[str, Any] | None:
        """The last minute that had ended, if it is not long past."""
        times, rows = self._known.get(name, ([], []))
        place = bisect_right(times, at) - 1
        return rows[place] if place >= 0 and at - times[place] <= KEPT_S else None

    def _row(self, name: str, row: dict[str, Any], at: float) -> ChainRow:
        return ChainRow(
            contract=name,
            right="call",
            strike=to_mills(row["strike"]),
            expiration=str(row["expiration"]),
            shares=100,
            quote=quote_of(row, at),
            volume=row["volume"],
            volume_at=at,
            open_interest=None if row.get("open_interest") is None else int(row["open_interest"]),
        )


def quote_of(row: dict[str, Any], at: float) -> Quote | None:
    bid, ask = row["bid_close"], row["ask_close"]
    if bid is None and ask is None:
        return None
    sizes = int(row["bid_size"] or 0), int(row["ask_size"] or 0)
    return Quote(None if bid is None else to_mills(bid), None if ask is None else to_mills(ask), *sizes, quoted_at=at)


def rows_of(path: Path, session: Session) -> list[dict[str, Any]]:
    """The rows of the day's calls, in order of time. ReplayError where the file cannot be used."""
    import polars

    try:
        table = polars.read_parquet(path) if path.suffix == ".parquet" else polars.read_csv(path, infer_schema_length=None)
        if missing := [name for name in NEEDED if name not in table.columns]:
            raise ReplayError(f"{path} has no column {', '.join(missing)}")
        today = polars.col("expiration").cast(polars.String) == session.date.isoformat()
        calls = table.filter(today & polars.col("right").is_in(["C", "call"]))
    except FileNotFoundError:
        raise ReplayError(f"{path} is not there") from None
    except (OSError, polars.exceptions.PolarsError) as fault:
        raise ReplayError(f"{path} cannot be read: {str(fault).splitlines()[0]}") from None
    return calls.sort("timestamp_ns_utc").to_dicts()
