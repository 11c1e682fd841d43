"""An open condor: what it is worth, which of the seven exits holds, and the prices of the orders that close it. Pure.

Prices are mills a share and costs: what is paid to close. A level counts after several marks in a row, each with a new quote in it and
a second apart; one wild quote between begins again.
"""

from __future__ import annotations

from fractions import Fraction
from math import isfinite
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from events import Quote
from events.market import Mills
from strategies.condor.closing import Closing
from strategies.condor.legs import Four, Index, Prices, cost_to_close, exact, index_fault, mark, package, up
from strategies.condor.settings import Settings, tick
from strategies.condor.times import URGENT_BEFORE_S, last_order, time_exit
from utils import SHARES, Session, clock_text, to_mills

ExitName = Literal["by hand", "stop", "touch", "delta", "time", "profit", "shutdown"]
ROWS: tuple[ExitName, ...] = ("by hand", "stop", "touch", "delta", "time", "profit", "shutdown")
APART_S = 1.0
TOUCHES = 2
LEGS = 4
NO_STOP_PERCENT = 95


class Condor(Struct, frozen=True):
    """A condor as held: its credit C as filled, or its limit while the fills are not there (`provisional`). Fees are mills for all."""

    four: Four
    units: int
    credit: Fraction
    opened_at: float
    fees: Mills = 0
    provisional: bool = False


class Streak(Struct, frozen=True):
    """How often in a row a level was seen, and when last."""

    hits: int = 0
    at: float = 0.0


class Watch(Struct, frozen=True):
    """What the exits remember from picture to picture. `mark_at` is when a mark was last seen."""

    mark_at: float
    stop: Streak = Streak()
    profit: Streak = Streak()
    delta: Streak = Streak()
    touch: Streak = Streak()
    stamps: tuple[tuple[float, int, int], ...] = ()
    index_at: float | None = None


class Picture(Struct, frozen=True):
    """One look at the market. `quotes` in the order of ROLES; `deltas` the shorts', put then call, None where not usable."""

    at: float
    session: Session
    quotes: tuple[Quote | None, Quote | None, Quote | None, Quote | None]
    index: Index = Index()
    deltas: tuple[float | None, float | None] = (None, None)
    close_now: bool = False
    shutting_down: bool = False


class Exit(Struct, frozen=True):
    """The exit that holds, and how its orders are priced. `most` is a cost that its orders may not exceed."""

    name: ExitName
    urgent: bool
    detail: str
    most: Mills | None = None

    @property
    def row(self) -> int:
        return ROWS.index(self.name)


# --- levels ------------------------------------------------------------------------------------------------------------


def stop_loss(settings: Settings, held: Condor) -> Fraction:
    """The loss a share at which the stop holds: the lesser of credits and dollars, a unit."""
    return min(
        Fraction(settings.condor_stop_credit_multiple) * held.credit,
        Fraction(to_mills(settings.condor_stop_dollars), SHARES),
    )


def stop_percent(settings: Settings, held: Condor) -> Fraction:
    """The stop in percent of the most that can be lost."""
    most = held.four.width - held.credit
    return Fraction(100) if most <= 0 else 100 * stop_loss(settings, held) / most


def stop_text(settings: Settings, held: Condor) -> str:
    """What the OPEN says of the stop: from 95 % of the most that can be lost on, it is none."""
    percent = stop_percent(settings, held)
    if percent >= NO_STOP_PERCENT:
        return "no stop"
    dollars = float(stop_loss(settings, held)) * SHARES / 1000
    return f"stop at -${dollars:.0f} a unit ({float(percent):.0f}% of max loss)"


def closing_fees(settings: Settings, held: Condor) -> Mills:
    return to_mills(settings.condor_fee_per_contract) * LEGS * held.units


def profit_cost(settings: Settings, held: Condor) -> Fraction:
    """The most that closing may cost, a share, so that the profit target is met net of all fees."""
    shares = SHARES * held.units
    net = held.credit * shares - held.fees
    wanted = Fraction(settings.condor_profit_target_percent) * net / 100
    return (net - closing_fees(settings, held) - wanted) / shares


def pnl(held: Condor, cost: Fraction | Mills) -> Mills:
    """What closing at `cost` a share leaves, fees so far off; mills for all units."""
    return round((held.credit - cost) * SHARES * held.units) - held.fees


# --- one picture -------------------------------------------------------------------------------------------------------


def look(settings: Settings, held: Condor, watch: Watch, seen: Picture) -> tuple[Watch, Exit | None]:
    """What the exits remember after a picture, and the first of the seven that holds."""
    most_s = settings.condor_quote_max_age_seconds
    found = package(seen.quotes, seen.at, most_s)
    worth = mark(found, held.four.width)
    cost = cost_to_close(seen.quotes, seen.at, most_s)
    watch = follow(settings, held, watch, seen, worth, cost)
    return watch, decide(settings, held, watch, seen, worth, cost)


def follow(
    settings: Settings, held: Condor, watch: Watch, seen: Picture, worth: Fraction | None, cost: Mills | None
) -> Watch:
    """The streaks after a picture."""
    changes: dict[str, object] = {}
    stamps = tuple((q.quoted_at or 0.0, q.bid or 0, q.ask or 0) if q is not None else (0.0, 0, 0) for q in seen.quotes)
    if stamps != watch.stamps:
        stopped = worth is not None and worth - held.credit >= stop_loss(settings, held)
        paid = worth is not None and cost is not None and bool(settings.condor_profit_target_percent)
        paid = paid and cost is not None and cost <= profit_cost(settings, held)
        far = worth is not None and _far_delta(settings, seen)
        changes = {
            "stamps": stamps,
            "stop": _counted(watch.stop, stopped, seen.at),
            "profit": _counted(watch.profit, paid, seen.at),
            "delta": _counted(watch.delta, far, seen.at),
        }
    if worth is not None:
        changes["mark_at"] = seen.at
    level = seen.index.level
    if seen.index.doubted is not None or index_fault(seen.index, seen.at, settings.condor_underlying_max_age_seconds):
        changes["touch"] = Streak()
    elif level is not None and level.at != watch.index_at:
        price = exact(level.value) * 1000
        touched = price <= held.four.strikes[1] or price >= held.four.strikes[2]
        changes |= {"touch": _counted(watch.touch, touched, level.at), "index_at": level.at}
    return replace(watch, **changes)


def _counted(streak: Streak, holds: bool, at: float) -> Streak:
    """A streak after one more look: ended, gone on, or, within a second of the last, as it was."""
    if not holds:
        return Streak()
    return streak if streak.hits and at - streak.at < APART_S else Streak(streak.hits + 1, at)


def _far_delta(settings: Settings, seen: Picture) -> bool:
    bound = Fraction(settings.condor_exit_delta)
    return bool(bound) and any(delta is not None and isfinite(delta) and abs(exact(delta)) >= bound for delta in seen.deltas)


def is_blind(settings: Settings, watch: Watch, at: float) -> bool:
    """Whether there has been no mark for CONDOR_BLIND_SECONDS."""
    return at - watch.mark_at >= settings.condor_blind_seconds


def decide(
    settings: Settings, held: Condor, watch: Watch, seen: Picture, worth: Fraction | None, cost: Mills | None
) -> Exit | None:
    """The first exit that holds, in their order; None to stay."""
    enough = settings.condor_confirm_quotes
    if seen.close_now:
        return Exit("by hand", True, "closed by hand")
    if worth is not None and watch.stop.hits >= enough:
        loss = float(worth - held.credit) * SHARES / 1000
        return Exit("stop", True, f"stop: -${loss:.0f} a unit at a mark of {float(worth) / 1000:.2f}")
    if settings.condor_touch_exit and watch.touch.hits >= TOUCHES and seen.index.level is not None:
        return Exit("touch", True, f"the index at {seen.index.level.value:g} has reached a short strike")
    if worth is not None and watch.delta.hits >= enough:
        return Exit("delta", True, f"a short's delta has reached {settings.condor_exit_delta:f}")
    if by_time := _by_time(settings, watch, seen, cost):
        return by_time
    if cost is not None and watch.profit.hits >= enough and cost <= profit_cost(settings, held):
        most = int(profit_cost(settings, held) // tick(settings)) * tick(settings)
        return Exit("profit", False, f"profit target: {cost / 1000:.2f} to close", most)
    if seen.shutting_down and settings.condor_on_shutdown == "close":
        return Exit("shutdown", True, "shutdown")
    return None


def _by_time(settings: Settings, watch: Watch, seen: Picture, cost: Mills | None) -> Exit | None:
    """5: by the clock, unless it costs so little that it may expire; with no cost known it is due once blind."""
    due = time_exit(settings, seen.session)
    if due is None or seen.at < due:
        return None
    if cost is None:
        if not is_blind(settings, watch, seen.at):
            return None
    elif cost <= to_mills(settings.condor_let_expire):
        return None
    return Exit("time", seen.at >= seen.session.close_at - URGENT_BEFORE_S, f"time exit {clock_text(due)[:5]} ET")


def takes_over(running: Exit, other: Exit | None) -> Exit:
    """The exit that prices the next order: a higher row takes a running one over, and none is taken back."""
    if other is None or other.row > running.row:
        return running
    return other


# --- prices ------------------------------------------------------------------------------------------------------------


class Asked(Struct, frozen=True):
    """An exit's next order: the most it pays. `wait`: what the exit rested on has gone, so its order is cancelled and none follows."""

    cost: Mills | None
    why_not: str = ""
    wait: bool = False


def next_cost(
    settings: Settings, left: Exit, prices: Prices, cap: Mills | None, last: Mills | None, at: float, session: Session
) -> Asked:
    """What the next closing order pays, never more than `cap`; or why there is none now.

    Urgent: the natural cost, then a tick more or the new natural. Patient: the mid, then a tick more, never beyond natural.
    """
    if at >= last_order(session):
        return Asked(None, "no order is sent in the last seconds before the close")
    step = tick(settings)
    if prices.natural is None:
        return Asked(None, "no fresh quote of what has to be bought")
    natural = up(prices.natural, step)
    most = [bound for bound in (cap, left.most) if bound is not None]
    if left.urgent:
        price = natural if last is None else max(last + step, natural)
        return Asked(min([price, *most]))
    if prices.mid is None:
        return Asked(None, "no mark", wait=left.most is not None)
    if left.most is not None and up(prices.mid, step) > left.most:
        return Asked(None, "the profit has gone", wait=True)
    price = up(prices.mid, step) if last is None else last + step
    return Asked(min([price, natural, *most]))


def cap_of(settings: Settings, four: Four, closing: Closing) -> Mills | None:
    """The most that an order may pay: the width less a tick. A wing alone is sold for a tick at least.

    None for an uncovered short: its loss has no bound, and so has its price.
    """
    step = tick(settings)
    if closing.uncovered:
        return None
    return -step if all(leg.side == "sell" for leg in closing.legs) else four.width - step
