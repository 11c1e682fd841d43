"""Whether the desk may enter at all: the second condition, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from events.market import Mills
from strategies.condor.settings import Settings
from utils import signed_dollars, to_mills

REJECTS_END_THE_DAY = 2


class Desk(Struct, frozen=True):
    """What the second condition looks at. `account` and `unresolved` are faults in words; `rejected` counts today's rejected orders.

    `tick_refused`: the broker has refused a price for its tick (error 110), and no tick is guessed.
    """

    account: str | None = None
    unresolved: str | None = None
    open_trade: str = ""
    unproven: int = 0
    stopping: bool = False
    stopped: bool = False
    opened_today: int = 0
    last_exit_at: float | None = None
    chase_allowed_at: float = 0.0
    pnl_today: Mills = 0
    rejected: int = 0
    tick_refused: bool = False
    expiry: str | None = None


def refusals(settings: Settings, desk: Desk, at: float) -> Iterator[str]:
    """Every reason against an entry, the gravest first."""
    yield from (fault for fault in (desk.account, desk.unresolved, desk.expiry) if fault)
    if desk.stopping:
        yield "stopping"
    if desk.stopped:
        yield "entries stopped by hand"
    if desk.open_trade:
        yield f"{desk.open_trade} is open"
    if desk.unproven:
        yield "an order whose end is not proven"
    if why := lasting(settings, desk.rejected, desk.tick_refused):
        yield why
    if desk.opened_today >= settings.condor_max_trades_per_day:
        yield f"{desk.opened_today} opened today, CONDOR_MAX_TRADES_PER_DAY reached"
    if settings.condor_daily_loss_halt and desk.pnl_today <= -to_mills(settings.condor_daily_loss_halt):
        yield f"{signed_dollars(desk.pnl_today)} today, CONDOR_DAILY_LOSS_HALT reached"
    if desk.last_exit_at is not None and (left := settings.condor_entry_cooldown_seconds - (at - desk.last_exit_at)) > 0:
        yield f"entry cooldown, {left:.0f}s left"
    if (left := desk.chase_allowed_at - at) > 0:
        yield f"chase cooldown, {left:.0f}s left"


def lasting(settings: Settings, rejected: int, tick_refused: bool) -> str | None:
    """What does not pass by itself: a tick that was refused, too many rejected orders."""
    if tick_refused and not settings.condor_net_tick:
        return "the broker refused a price for its tick: set CONDOR_NET_TICK"
    if rejected >= REJECTS_END_THE_DAY:
        return f"{rejected} orders were rejected today"
    return None


def refusal(settings: Settings, desk: Desk, at: float) -> str | None:
    """Why the desk takes no entry now; None: it would."""
    return next(refusals(settings, desk, at), None)
