"""History by REST into the local store: second and minute bars, and of the traded symbol the quotes of the calls that mattered.

What is there is not asked for again. At most `REQUESTS_PER_S` questions a second; a server that asks for patience gets it; a session's
bars and a contract's quotes are written whole or not at all, so a fetch that was broken off goes on where it was.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from config import Config, ConfigError, load
from contract_selector import band
from events import Bar
from replay import store
from replay.bars import NAMES, BarArrays, kept
from replay.history import PIECE_S as QUOTES_PIECE_S
from replay.history import History, strikes_of, table_of
from replay.show import OK, ReplayError, as_json, console, progress
from utils import Clock, Session, SessionCalendar, SharedClock, SystemClock
from wire.transport import Refused, TryAgain

T = TypeVar("T")

TRIES = 5
PAUSE_MAX_S = 60.0
BEFORE_OPEN_S = 1800
PIECE_S = 3600
OVER_S = 900.0  # corrections come for a quarter of an hour


class Fetcher:
    """Asks one question after the other, each again for a while if there is no answer."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self.rest = History(config, clock)

    def ask(self, symbol: str, question: Callable[[], T]) -> T:
        """The answer; ReplayError when it cannot be had after several tries, or never."""
        reason = ""
        for attempt in range(TRIES):
            try:
                return question()
            except TryAgain as fault:
                reason = fault.reason
                self.rest.wait(min(fault.retry_after_s or 2.0**attempt, PAUSE_MAX_S))
            except Refused as fault:
                raise ReplayError(f"{symbol}: {fault.reason}") from None
        raise ReplayError(f"{symbol}: {reason}, {TRIES} times; the same command goes on from here")

    def bars(self, symbol: str, span: str, session: Session) -> BarArrays:
        """A session's second or minute bars, the half hour before its open among them."""
        start, end = session.open_at - BEFORE_OPEN_S, session.close_at
        step = PIECE_S if span == "second" else end - start
        ask = self.rest.second_bars if span == "second" else self.rest.minutes_of
        bars: list[Bar] = []
        for piece in range(start, end, step):
            bars += self.ask(symbol, lambda at=piece: ask(symbol, at, min(at + step, end)))  # type: ignore[misc]
        columns = (np.array([getattr(bar, name) for bar in bars], dtype=np.float64) for name in NAMES)
        return BarArrays(np.array([bar.start for bar in bars], dtype=np.int64), *columns)

    def contract(self, contract: str, session: Session, strike: int, file: Path) -> tuple[bool, bool]:
        """Keep a contract's quotes of its last day; whether it traded, and whether there are quotes."""
        traded = self.ask(contract, lambda: self.rest.traded(contract, session))
        quotes = []
        for piece in range(session.open_at, session.close_at, QUOTES_PIECE_S) if traded else ():
            end = min(piece + QUOTES_PIECE_S, session.close_at)
            quotes += self.ask(contract, lambda at=piece, end=end: self.rest.quotes(contract, at, end))  # type: ignore[misc]
        store.keep_table(file, table_of(contract, session, strike, traded, quotes))
        return bool(traded), bool(quotes)


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
    fetcher = Fetcher(config, clock)
    told = {"ok": True, "symbol": chosen.symbol, "sessions": len(sessions)}
    told |= fetch_bars(fetcher, chosen, calendar, sessions)
    if chosen.symbol == config.symbol and not chosen.bars_only:
        told |= fetch_options(fetcher, chosen, sessions)
    told |= {"requests": fetcher.rest.asked, "dropped": fetcher.rest.dropped}
    if chosen.json:
        as_json(told)
    else:
        tell(told)
    return OK


def fetch_bars(fetcher: Fetcher, chosen: Namespace, calendar: SessionCalendar, sessions: list[Session]) -> dict[str, Any]:
    """The sessions' second bars, and minute bars of them and of the ten full ones before."""
    before = calendar.full_before(sessions[0].date, 10) if sessions else []
    wanted = [("second", session) for session in sessions] + [("minute", session) for session in (*before, *sessions)]
    missing = [
        (span, session)
        for span, session in wanted
        if not store.file_of(chosen.data_dir, chosen.symbol, span, session.date).exists()
    ]
    empty = []
    for span, session in progress(missing, f"fetching {chosen.symbol}"):
        bars = fetcher.bars(chosen.symbol, span, session)
        if len(bars):
            store.keep(chosen.data_dir, chosen.symbol, span, session.date, bars)
        else:
            empty.append(f"{session.date} {span}")
    return {
        "fetched": len(missing) - len(empty),
        "there_already": len(wanted) - len(missing),
        "without_bars": empty,
    }


def fetch_options(fetcher: Fetcher, chosen: Namespace, sessions: list[Session]) -> dict[str, Any]:
    """The quotes of each session's calls near the money; a session counts as fetched when all its strikes are there."""
    folder, symbol = chosen.data_dir, chosen.symbol
    wanted: dict[date, list[int]] = {}
    for session in sessions:
        file = store.file_of(folder, symbol, "second", session.date)
        inside = kept(file).between(session.open_at, session.close_at) if file.exists() else BarArrays.none()
        if len(inside):
            wanted[session.date] = strikes_of(fetcher.config, session, float(inside.low.min()), float(inside.high.max()))
    jobs = [
        (session, strike)
        for session in sessions
        for strike in wanted.get(session.date, ())
        if not store.contract_file(folder, symbol, session.date, strike).exists()
    ]
    not_traded, holes = 0, []
    try:
        for session, strike in progress(jobs, f"fetching calls of {symbol}"):
            contract = f"O:{symbol}{session.date:%y%m%d}C{strike:08d}"
            file = store.contract_file(folder, symbol, session.date, strike)
            traded, quoted = fetcher.contract(contract, session, strike, file)
            not_traded += not traded
            if traded and not quoted:
                holes.append(contract)
    except ReplayError as fault:
        raise ReplayError(f"{fault} (the bars are there; --bars-only asks for no option quotes)") from None
    finally:
        for day, strikes in wanted.items():
            if all(store.contract_file(folder, symbol, day, strike).exists() for strike in strikes):
                store.keep_calls(folder, symbol, day, store.Calls(strikes, band(fetcher.config)))
    return {
        "contracts_fetched": len(jobs) - not_traded,
        "contracts_there_already": sum(map(len, wanted.values())) - len(jobs),
        "contracts_that_did_not_trade": not_traded,
        "contracts_without_quotes": holes,
    }


def tell(told: dict[str, Any]) -> None:
    console.print(f"{told['fetched']} files of bars fetched, {told['there_already']} were there")
    if "contracts_fetched" in told:
        console.print(
            f"quotes of {told['contracts_fetched']} calls fetched, {told['contracts_there_already']} strikes were there,"
            f" {told['contracts_that_did_not_trade']} did not trade"
        )
    console.print(f"{told['requests']} requests")
    for name in told["without_bars"]:
        console.print(f"no bars: {name}")
    for name in told.get("contracts_without_quotes", ()):
        console.print(f"traded, but no quotes: {name}")
