"""Seeded sessions of second bars, made by the simulator's market: for benchmarks, tests and sweeps without data. MADE UP."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from replay.bars import NAMES, BarArrays
from signals import MINUTES
from simulator.market import TEMPERS, Columns, generate_session, usual_shape
from utils import Session, SessionCalendar

FIRST_DAY = date(2026, 1, 5)


class Made(NamedTuple):
    """A session with its bars: one for every second of the traded symbol, the leader's with holes."""

    session: Session
    own: BarArrays
    leader: BarArrays
    profile: tuple[float, ...]


def calendar_for(days: int, first: date = FIRST_DAY) -> SessionCalendar:
    return SessionCalendar(first, first + timedelta(days=round(days * 1.5) + 10))


def sessions(days: int, calendar: SessionCalendar, first: date = FIRST_DAY) -> list[Session]:
    """The next `days` full sessions from `first` on."""
    found: list[Session] = []
    day = first
    while len(found) < days:
        session = calendar.on(day)
        if session is not None and session.is_full:
            found.append(session)
        day += timedelta(days=1)
    return found


def session_of(seed: int, session: Session) -> Made:
    day = generate_session(seed, session, symbols=("IWM", "SPY"), publication_s=0.0, corrections=False)
    own, leader = day.symbols["IWM"].final, day.symbols["SPY"].final
    return Made(session, filled(own, session), seconds_of(leader), usual_profile())


def seconds_of(columns: Columns) -> BarArrays:
    return BarArrays(columns.start, *(getattr(columns, name) for name in NAMES))


def filled(columns: Columns, session: Session) -> BarArrays:
    """A bar for every second: where nothing traded, one share at the last price."""
    every = np.arange(session.open_at, session.close_at)
    at = np.maximum(np.searchsorted(columns.start, every, side="right") - 1, 0)
    there = columns.start[at] == every
    last = columns.close[at]
    prices = {name: np.where(there, getattr(columns, name)[at], last) for name in NAMES if name != "volume"}
    return BarArrays(every, **prices, volume=np.where(there, columns.volume[at], 1.0))


def usual_profile() -> tuple[float, ...]:
    """What the simulator's IWM usually trades in each minute."""
    usual = TEMPERS["IWM"].trades * TEMPERS["IWM"].shares * usual_shape(MINUTES * 60)
    return tuple(usual.reshape(MINUTES, 60).sum(axis=1).tolist())
