"""The session's own times of the condor: when entries end, when it is left by the clock, when no order goes out any more. Pure."""

from __future__ import annotations

from strategies.condor.settings import Settings
from utils import Session

FULL_DAY_S = 23_400
LAST_S = 15.0
URGENT_BEFORE_S = 300.0


def _earlier_s(session: Session) -> int:
    """How much earlier than on a full day the session closes."""
    return FULL_DAY_S - (session.close_at - session.open_at)


def entry_until(settings: Settings, session: Session) -> float:
    """The first instant at which nothing is entered."""
    return session.at(settings.condor_entry_until) - _earlier_s(session)


def time_exit(settings: Settings, session: Session) -> float | None:
    """The instant from which the condor is left by the clock; None: it is held to settlement."""
    return None if settings.condor_time_exit is None else session.at(settings.condor_time_exit) - _earlier_s(session)


def last_order(session: Session) -> float:
    """From here on no order is sent."""
    return session.close_at - LAST_S
