"""An entry's prices, one after another: each order's credit, and when it is over. Pure.

Credits are mills a share; the order's net limit is the credit with a minus. No credit is ever under the floor.
"""

from __future__ import annotations

from msgspec import Struct

from events.market import Mills
from strategies.condor.legs import Package, down
from strategies.condor.settings import Settings, floor, tick
from strategies.condor.strikes import Verdict
from strategies.condor.times import last_order
from utils import Session

LONGEST_COOLDOWN_S = 1800.0


class Chase(Struct, frozen=True):
    """What was tried so far: the credits in order, and the best that the market showed. `filled` counts units."""

    began_at: float
    units: int
    credits: tuple[Mills, ...] = ()
    filled: int = 0
    best_mid: Mills | None = None
    best_natural: Mills | None = None


class Next(Struct, frozen=True):
    """The order to send: what is left of the units at this credit."""

    credit: Mills
    units: int


class Over(Struct, frozen=True):
    """The chase has ended. `filled`: all of it, or a part, which is then the position."""

    why: str
    filled: int


def next_credit(settings: Settings, last: Mills | None, found: Package) -> Mills:
    """The credit to ask for now; the first is the mid down to a tick.

    A later one is a tick lower, or the mid if that is less; not more than a tick under natural, and never above the last.
    """
    step, middle = tick(settings), down(found.mid, tick(settings))
    if last is None:
        return middle
    return min(last, max(min(last - step, middle), down(found.natural_credit, step) - step))


def step(settings: Settings, chase: Chase, verdict: Verdict, session: Session, at: float) -> tuple[Chase, Next | Over]:
    """What follows, the last order's end being proven: the chase with what it has seen, and the next order or its end."""
    if chase.filled >= chase.units:
        return chase, Over("filled", chase.filled)
    if chase.credits:
        if len(chase.credits) > settings.condor_chase_steps:
            return chase, Over(f"{settings.condor_chase_steps} new prices", chase.filled)
        if at - chase.began_at >= settings.condor_chase_seconds:
            return chase, Over(f"{settings.condor_chase_seconds:g} s", chase.filled)
    if at >= last_order(session):
        return chase, Over("the last seconds before the close", chase.filled)
    chase = seen(settings, chase, verdict)
    if (refusal := verdict.refusal) or verdict.choice is None:
        return chase, Over(refusal or "no four usable legs", chase.filled)
    credit = next_credit(settings, chase.credits[-1] if chase.credits else None, verdict.choice.package)
    if credit < floor(settings):
        return chase, Over(f"{credit / 1000:.2f} is under the floor of {floor(settings) / 1000:.2f}", chase.filled)
    asked = Chase(chase.began_at, chase.units, (*chase.credits, credit), chase.filled, chase.best_mid, chase.best_natural)
    return asked, Next(credit, chase.units - chase.filled)


def seen(settings: Settings, chase: Chase, verdict: Verdict) -> Chase:
    """The chase with the best mid and natural credit that the market has shown."""
    if verdict.choice is None:
        return chase
    found = verdict.choice.package
    middle = down(found.mid, tick(settings))
    return Chase(
        chase.began_at,
        chase.units,
        chase.credits,
        chase.filled,
        middle if chase.best_mid is None else max(middle, chase.best_mid),
        found.natural_credit if chase.best_natural is None else max(found.natural_credit, chase.best_natural),
    )


def summary(chase: Chase, over: Over) -> str:
    """One line for the phone: the prices tried, the best mid and natural, why it ended."""
    tried = ", ".join(f"{credit / 1000:.2f}" for credit in chase.credits) or "no price"

    def told(price: Mills | None) -> str:
        return "none" if price is None else f"{price / 1000:.2f}"

    return f"tried {tried}; best mid {told(chase.best_mid)}, best natural {told(chase.best_natural)}; {over.why}"


def cooldown(settings: Settings, failed_in_a_row: int) -> float:
    """Seconds from a failed chase to the next: doubled by each further one in a row, up to half an hour."""
    first = float(settings.condor_chase_cooldown_seconds)
    longest = max(first, LONGEST_COOLDOWN_S)
    for _ in range(1, failed_in_a_row):
        if first >= longest:
            break
        first *= 2
    return min(first, longest)
