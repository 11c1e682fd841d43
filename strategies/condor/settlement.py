"""What becomes of a condor at the close: cash, by the index's daily close. Pure. Prices are mills a share."""

from __future__ import annotations

from fractions import Fraction

from events.market import Mills
from strategies.condor.exits import Condor
from strategies.condor.legs import Four
from utils import SHARES, Session

FIRST_S, OFTEN_S = 1200.0, 600.0
EVENING_S = 37_800.0  # from the open to 20:00
SELDOM_S, LAST_S = 3600.0, 7 * 86_400.0


def value(four: Four, index: Fraction) -> Fraction:
    """max(0, Kps - S) - max(0, Kpl - S) + max(0, S - Kcs) - max(0, S - Kcl), with the index S in mills."""
    put_long, put_short, call_short, call_long = four.strikes
    return (
        max(Fraction(0), put_short - index)
        - max(Fraction(0), put_long - index)
        + (max(Fraction(0), index - call_short) - max(Fraction(0), index - call_long))
    )


def pnl(held: Condor, index: Fraction) -> Mills:
    """(C - V) for every share of all units, fees off; to the nearest mill."""
    return round((held.credit - value(held.four, index)) * SHARES * held.units) - held.fees


def ask_next(session: Session, at: float, asked_at: float | None) -> float | None:
    """When to ask for the daily close: from 20 minutes after the close every 10 until 20:00, then hourly, for a week; then None."""
    first = session.close_at + FIRST_S
    if asked_at is None:
        return max(first, at)
    evening = session.open_at + EVENING_S
    due = max(first, asked_at + (OFTEN_S if asked_at + OFTEN_S <= evening else SELDOM_S))
    return due if due <= session.close_at + LAST_S else None
