"""IWM as the strategy sees it: the day's windows, and which of their seconds is still to be judged.

The one part of the strategy that changes in place, for speed: a bar costs a few microseconds. Reads no clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from events import BarClosed, BarsFetched
from signals import Reading, Windows
from utils import Session

if TYPE_CHECKING:
    from config import Config

FRESH_CLOSE_S = 10.0
TOO_YOUNG_S = 2.0


class Underlying:
    """`newest_live` is the start of the newest second that came live: what is to be judged next."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.symbol = config.symbol
        self.leader = config.leader
        self.windows: Windows | None = None
        self.newest_live = 0

    def new_day(self, session: Session | None) -> None:
        self.windows = None if session is None else Windows(self.config, session)
        self.newest_live = 0

    # --- in ---

    def take_bar(self, event: BarClosed) -> None:
        windows, bar = self.windows, event.bar
        if windows is None:
            return
        if bar.symbol == self.symbol:
            if windows.add(bar) == "new":
                self.newest_live = self.newest_start()
        elif bar.symbol == self.leader:
            windows.leader.add(bar)

    def take_history(self, event: BarsFetched) -> None:
        if self.windows is None:
            return
        if event.symbol == self.symbol:
            self.windows.history(event.start, event.end, event.bars)
        elif event.symbol == self.leader:
            self.windows.leader.history(event.start, event.end, event.bars)

    def take_profile(self, minutes: tuple[float, ...]) -> None:
        if self.windows is not None:
            self.windows.profile = minutes

    def lost_sight(self) -> None:
        """The socket is gone: what comes after the newest bar is unknown until history fills it."""
        if self.windows is not None:
            newest = self.windows.newest
            self.windows.gap(self.windows.session.open_at if newest is None else newest + 1)

    def in_sight(self, at: float) -> None:
        """The socket is subscribed: from this second on every one is told, and one without a bar was quiet."""
        if self.windows is not None:
            self.windows.live(int(at))

    def reset_below(self, first: int | None = None) -> None:
        if self.windows is not None:
            self.windows.reset_below(first)

    # --- out ---

    def signal(self) -> bool:
        return self.windows is not None and self.windows.signal()

    def reading(self) -> Reading | None:
        return None if self.windows is None else self.windows.reading()

    def above_vwap(self) -> bool:
        """Condition 1 at the newest second."""
        reading = self.reading()
        return reading is not None and reading.gate(1).ok

    def has_profile(self) -> bool:
        return self.windows is not None and self.windows.profile is not None

    def newest_start(self) -> int:
        """Start of the newest bar of the traded symbol; 0 before the first."""
        newest = None if self.windows is None else self.windows.newest
        return newest or 0

    def below_vwap(self) -> bool:
        """Whether the newest bar closed below VWAP_60, as it was when it passed."""
        return self.below_since() is not None

    def coverage_s(self) -> int:
        reading = self.reading()
        return 0 if reading is None else reading.coverage_s

    def below_since(self) -> int | None:
        return None if self.windows is None else self.windows.below_since

    def first_from(self, start: int) -> int | None:
        return None if self.windows is None else self.windows.first_from(start)

    def fresh_close(self, at: float) -> float | None:
        """The last price, if its bar ended at most ten seconds ago, and not in the future."""
        if self.windows is None or not -TOO_YOUNG_S <= at - self.newest_start() - 1 <= FRESH_CLOSE_S:
            return None
        return self.windows.last

    def spot_and_vwap(self, at: float) -> tuple[float | None, float | None]:
        """The last price while it is fresh, and VWAP_60 beside it."""
        reading = self.reading()
        return (None, None) if reading is None or self.fresh_close(at) is None else (reading.close, reading.vwap_60)

    def seconds_known(self) -> tuple[int, int]:
        """How many seconds of the session so far have a bar, and of how many."""
        closes = [] if self.windows is None else self.windows.closes()
        return sum(close > 0 for close in closes), len(closes)

    def session_volume(self) -> float:
        """Shares in all bars of the session that are known."""
        return 0.0 if self.windows is None else self.windows.session_volume


def numbers(reading: Reading) -> dict[str, float | str | None]:
    """A reading as the journal keeps it."""
    return {
        "close": reading.close,
        "vwap_60": reading.vwap_60,
        "vwap_300": reading.vwap_300,
        "rising_s": float(reading.rising_s),
        "volume": reading.volume,
        "volume_p95": reading.volume_p95,
        "volume_z": reading.volume_z,
        "slope_pct_s": reading.slope_pct_s,
        "relative_volume": reading.relative_volume,
        "leadership_pp": reading.leadership_pp,
    }
