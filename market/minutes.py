"""Minutes folded from second bars: what was known when each closed, and what corrected it later.

There is a place for every minute of a session, numbered from the open. Rules:
- Seconds come in by the rules of `market.seconds`. A minute is first open, last close, high, low, Σ v, and Σ v·vw / Σ v.
- A minute is closed at the first turn some grace after its end, all symbols in one turn. The forming one enters nothing.
- A minute is whole if the socket was subscribed from its start to its closing. Whole without a trade: there is no bar of it.
- One that is not whole is missing until REST's minute has replaced it. A whole one is never replaced.
- A second that comes or is corrected later changes its minute, and so what is decided after that.

Prices are dollars, volumes shares; a minute is known by the Unix second it starts at. No clock, socket or file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from events import Bar
from market.seconds import APART, LONGEST_WINDOW_S, OPEN, Seconds, Taken
from utils import Session, clock_text

MINUTE_S = 60
ASK_AFTER_S = 10.0
HALT_S, HALT_BARS = 120.0, 5
FORMING, MISSING, WHOLE, FETCHED = range(4)


class Minutes(Seconds):
    """The minutes of one symbol's session.

    `before` are regular-hours minutes of earlier sessions, oldest first. `closed` is how many minutes are closed.
    `revised` is the place of the first closed minute that changed since the reader last set it; below 0: `before` did.
    """

    __slots__ = ("_bars", "_kept", "_live_from", "_oldest", "_seconds", "_states", "before", "closed", "revised", "symbol")

    def __init__(self, symbol: str, session: Session) -> None:
        super().__init__(session)
        count = (session.close_at - session.open_at) // MINUTE_S
        self.symbol = symbol
        self.before: tuple[Bar, ...] = ()
        self.closed = 0
        self.revised = -1
        self._bars: list[Bar | None] = [None] * count
        self._states = bytearray(count)
        self._seconds: dict[int, dict[int, Bar]] = {}  # of each minute, while one of them may still be corrected
        self._oldest = 0
        self._live_from = inf

    # --- in ---

    def live(self, at: float) -> None:
        """The socket is subscribed from this moment on; what was told before is not known to be all."""
        self._live_from = at

    def lost(self) -> None:
        """The socket is gone: no minute that is still open can become whole."""
        self._live_from = inf

    def add(self, bar: Bar) -> Taken:
        """Take in a live second, and say what became of it."""
        index = bar.start - self._zero
        last = self._closes[self._newest]
        if self._newest < index < self._end and abs(bar.close - last) <= last * APART and self._held is None:
            return self._put(index, bar, 2)
        return self._sift(index, bar)

    def _put(self, index: int, bar: Bar, kind: int) -> Taken:
        place = (index - OPEN) // MINUTE_S
        self._seconds.setdefault(place, {})[index] = bar
        taken = super()._put(index, bar, kind)
        if self._states[place] == WHOLE:
            self._settle(place, self._fold(place), WHOLE)
        self.changed.clear()
        return taken

    def close(self, at: float, grace_s: float) -> bool:
        """Close what is due; whether a minute was. Seconds that can no longer be corrected are let go."""
        before = self.closed
        while self.closed < len(self._bars) and at >= self.start_of(self.closed + 1) + grace_s:
            place = self.closed
            self.closed += 1
            if self._states[place] == FORMING:
                whole = self._live_from <= self.start_of(place)
                self._settle(place, self._fold(place) if whole else None, WHOLE if whole else MISSING)
        while self._oldest < min(self.closed, (self._newest - LONGEST_WINDOW_S - OPEN) // MINUTE_S):
            self._seconds.pop(self._oldest, None)
            self._oldest += 1
        return self.closed > before

    def fill(self, start: int, bars: Sequence[Bar]) -> None:
        """REST's minutes of regular hours from `start` on, in order: those of earlier sessions, and today's where none is whole.

        A missing minute without a bar had no trade if a later one is there; else it may only be late.
        """
        if earlier := tuple(bar for bar in bars if bar.start < self.session.open_at):
            self.before = earlier
            self.revised = -1
        offered = {self.place_of(bar.start): bar for bar in bars if self.session.open_at <= bar.start}
        for place in range(max(self.place_of(start), 0), min(self.closed, max(offered, default=-1) + 1)):
            if place in offered and self._states[place] != WHOLE:
                self._settle(place, offered[place], FETCHED)
            elif self._states[place] == MISSING:
                self._settle(place, None, FETCHED)

    def _settle(self, place: int, bar: Bar | None, state: int) -> None:
        self._bars[place] = bar
        self._states[place] = state
        self.revised = min(self.revised, place)

    def _fold(self, place: int) -> Bar | None:
        return folded(self.symbol, self.start_of(place), self._seconds.get(place, {}))

    # --- out ---

    def start_of(self, place: int) -> int:
        return self.session.open_at + place * MINUTE_S

    def place_of(self, start: float) -> int:
        return int(start - self.session.open_at) // MINUTE_S

    def bar(self, place: int) -> Bar | None:
        """The bar of a closed minute; None: it had no trade, is missing, or is not closed."""
        return self._bars[place] if 0 <= place < self.closed else None

    def bars(self, first: int, end: int) -> list[Bar | None]:
        """The bars of the places in [first, end), all of them closed."""
        return self._bars[max(first, 0) : max(min(end, self.closed), 0)]

    def first_missing(self, first: int, end: int) -> int | None:
        """The first place in [first, end) that is closed and still missing."""
        found = self._states.find(MISSING, max(first, 0), max(min(end, self.closed), 0))
        return None if found < 0 else found

    def lacks(self, first: int, end: int) -> str:
        """`minute 10:41 missing`, of the first that is; empty where none is."""
        place = self.first_missing(first, end)
        return "" if place is None else f"minute {hhmm(self.start_of(place))} missing"

    def wanted(self, at: float) -> tuple[int, int] | None:
        """[start, end) of what is to be asked for: from the first to the last missing minute that ended ten seconds ago."""
        end = min(self.closed, self.place_of(at - ASK_AFTER_S))
        first, last = self.first_missing(0, end), self._states.rfind(MISSING, 0, max(end, 0))
        return None if first is None else (self.start_of(first), self.start_of(last + 1))


def folded(symbol: str, start: int, seconds: dict[int, Bar]) -> Bar | None:
    """The minute that these seconds make, whatever order they came in; None of none."""
    if not seconds:
        return None
    bars = [seconds[index] for index in sorted(seconds)]
    volume = sum(bar.volume for bar in bars)
    vwap = sum(bar.volume * bar.vwap for bar in bars) / volume if volume > 0.0 else bars[-1].close
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    return Bar(symbol, start, bars[0].open, high, low, bars[-1].close, volume, vwap)


def hhmm(at: float) -> str:
    """`10:41`, New York."""
    return clock_text(at)[:5]


class Board:
    """The minutes of several symbols on one socket, and which of them are silent while the others speak.

    Silence is how long the others have been heard since this one was; the common silence of a stall is nobody's own.
    """

    def __init__(self, symbols: Iterable[str], session: Session, grace_s: float) -> None:
        self.session = session
        self.minutes = {symbol: Minutes(symbol, session) for symbol in symbols}
        self._grace_s = grace_s
        self._heard = dict.fromkeys(self.minutes, -inf)
        self._newest_heard = -inf
        self._since = float(session.open_at)
        self._paused = True
        self._resumed: dict[str, int] = {}

    def take(self, bar: Bar, at: float) -> None:
        minutes = self.minutes.get(bar.symbol)
        if minutes is None or not self.session.open_at <= bar.start < self.session.close_at:
            return
        if self._paused:
            self._paused, self._since = False, max(at, self._since)
        self._newest_heard = max(self._newest_heard, at)
        if self.silence(bar.symbol) >= HALT_S:
            self._resumed[bar.symbol] = minutes.place_of(bar.start)
        self._heard[bar.symbol] = at
        minutes.add(bar)

    def live(self, at: float) -> None:
        self._paused = True
        for minutes in self.minutes.values():
            minutes.live(at)

    def lost(self) -> None:
        self._paused = True
        for minutes in self.minutes.values():
            minutes.lost()

    def stalled(self) -> None:
        """All are silent: from the next bar on, silence is counted anew."""
        self._paused = True

    def close(self, at: float) -> int:
        """Close what is due, of all symbols in one turn; how many minutes of the session are closed now."""
        for minutes in self.minutes.values():
            minutes.close(at, self._grace_s)
        return min((minutes.closed for minutes in self.minutes.values()), default=0)

    def silence(self, symbol: str) -> float:
        """For how many seconds the others have been heard without this one; 0 while all are silent."""
        if self._paused:
            return 0.0
        return max(self._newest_heard - max(self._heard[symbol], self._since), 0.0)

    def halted(self, symbol: str) -> str:
        """Why no condition of it may hold: a silence of 120 s, or fewer than five bars closed since. Empty: none."""
        if self.silence(symbol) >= HALT_S:
            return f"silent for {self.silence(symbol):.0f} s"
        resumed = self._resumed.get(symbol)
        if resumed is None:
            return ""
        minutes = self.minutes[symbol]
        since = sum(bar is not None for bar in minutes.bars(resumed, minutes.closed))
        return "" if since >= HALT_BARS else f"{since} of {HALT_BARS} bars since a halt"

    def wanted(self, at: float) -> dict[str, tuple[int, int]]:
        """What is to be asked for by REST, [start, end) of each symbol that lacks something."""
        asked = {symbol: minutes.wanted(at) for symbol, minutes in self.minutes.items()}
        return {symbol: span for symbol, span in asked.items() if span is not None}
