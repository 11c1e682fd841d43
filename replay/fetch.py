"""History by REST into the local store: second and minute bars, a file a session. What is there is not asked for again.

At most `REQUESTS_PER_S` questions a second; a server that asks for patience gets it; a session is written whole or not at all, so a
fetch that was broken off goes on where it was.
"""

from __future__ import annotations

import time
from argparse import Namespace
from datetime import date

import numpy as np

from config import Config, ConfigError, load
from events import Bar
from polygon_client import Rest
from replay import store
from replay.bars import NAMES, Seconds
from replay.show import OK, ReplayError, as_json, console, progress
from transport import Refused, TryAgain
from utils import Clock, Session, SessionCalendar, SharedClock, SystemClock

REQUESTS_PER_S = 5.0
TRIES = 5
PAUSE_MAX_S = 60.0
BEFORE_OPEN_S = 1800
PIECE_S = 3600
OVER_S = 900.0  # corrections come for a quarter of an hour


class Fetcher:
    """Asks one question after the other, no faster than allowed."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.rest = Rest(config, clock)
        self.next_at = 0.0
        self.asked = 0

    def bars(self, symbol: str, span: str, start: int, end: int) -> list[Bar]:
        """The bars of [start, end); ReplayError when it cannot be had after several tries."""
        reason = ""
        for attempt in range(TRIES):
            time.sleep(max(0.0, self.next_at - time.monotonic()))
            self.next_at = time.monotonic() + 1 / REQUESTS_PER_S
            self.asked += 1
            try:
                if span == "second":
                    return self.rest.second_bars(symbol, start, end)
                return self.rest.minutes_of(symbol, start, end)
            except TryAgain as fault:
                reason = fault.reason
                self.next_at = time.monotonic() + min(fault.retry_after_s or 2.0**attempt, PAUSE_MAX_S)
            except Refused as fault:
                raise ReplayError(f"{symbol}: {fault.reason}") from None
        raise ReplayError(f"{symbol}: {reason}, {TRIES} times; the same command goes on from here")

    def session(self, symbol: str, span: str, session: Session) -> Seconds:
        start, end = session.open_at - BEFORE_OPEN_S, session.close_at
        pieces = range(start, end, PIECE_S) if span == "second" else (start,)
        step = PIECE_S if span == "second" else end - start
        bars = [bar for piece in pieces for bar in self.bars(symbol, span, piece, min(piece + step, end))]
        columns = (np.array([getattr(bar, name) for bar in bars], dtype=np.float64) for name in NAMES)
        return Seconds(np.array([bar.start for bar in bars], dtype=np.int64), *columns)


def fetch(chosen: Namespace) -> int:
    """Bring what is missing of the sessions from one day to another, today's never: it is not over."""
    try:
        config = load()
    except ConfigError as fault:
        raise ReplayError(str(fault)) from None
    first, last = chosen.first, chosen.last
    if last < first:
        raise ReplayError(f"{last} is before {first}")
    calendar = SessionCalendar(first, last)
    clock: Clock = SharedClock(config.clock_file) if config.clock_file else SystemClock()
    days = (date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1))
    sessions = [
        session for day in days if (session := calendar.on(day)) is not None and session.close_at + OVER_S < clock.now()
    ]
    before = calendar.full_before(sessions[0].date, 10) if sessions else []
    wanted = [("second", session) for session in sessions] + [("minute", session) for session in (*before, *sessions)]
    missing = [
        (span, session)
        for span, session in wanted
        if not store.file_of(chosen.data_dir, chosen.symbol, span, session.date).exists()
    ]
    fetcher, empty = Fetcher(config, clock), []
    for span, session in progress(missing, f"fetching {chosen.symbol}"):
        bars = fetcher.session(chosen.symbol, span, session)
        if len(bars):
            store.keep(chosen.data_dir, chosen.symbol, span, session.date, bars)
        else:
            empty.append(f"{session.date} {span}")
    told = {
        "ok": True,
        "symbol": chosen.symbol,
        "sessions": len(sessions),
        "fetched": len(missing) - len(empty),
        "there_already": len(wanted) - len(missing),
        "without_bars": empty,
        "requests": fetcher.asked,
        "dropped": fetcher.rest.dropped,
    }
    if chosen.json:
        as_json(told)
    else:
        console.print(f"{told['fetched']} files fetched, {told['there_already']} were there, {told['requests']} requests")
        for name in empty:
            console.print(f"no bars: {name}")
    return OK
