"""Is the worker well? Pure. A reason has no numbers, so that a stranger may read it; the detail has them."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from dashboard.view import View
from risk_manager import CHAIN_MAX_AGE_S

STUCK_S = 5.0
UNDECIDED_S = 10.0
SELL_WAITS_S = 30.0
DISK_WAITS_S = 2.0

Status = Literal["ok", "amber", "starting", "stuck", "blind", "unable to exit", "stale", "stopping"]


class Health(Struct, frozen=True):
    """`is_well`: what /health answers with 200."""

    status: Status
    reason: str = ""
    detail: str = ""

    @property
    def is_well(self) -> bool:
        return self.status in ("ok", "amber")


def health(view: View | None, now: float, monotonic: float) -> Health:
    """The worst of what is wrong. `now` is the worker's time at this moment, `monotonic` the machine's."""
    if view is None or view.state.started_at == 0.0:
        return Health("starting", "the desk has not begun yet")
    return (
        stuck(view, now, monotonic)
        or stopping(view)
        or blind(view, now)
        or no_way_out(view, now)
        or stale(view, now)
        or amber(view, now)
        or Health("ok")
    )


def readiness(view: View | None, now: float, monotonic: float) -> Health:
    """Whether the worker is up and decides: what a platform may restart it for. Blindness is not: a restart cures no feed."""
    if view is None or view.state.started_at == 0.0:
        return Health("starting", "the desk has not begun yet")
    return stuck(view, now, monotonic) or stopping(view) or Health("ok")


def stuck(view: View, now: float, monotonic: float) -> Health | None:
    looked = monotonic - view.made_at
    if looked > STUCK_S:
        return Health("stuck", "the main loop does not turn", f"for {looked:.0f} s")
    decided = now - view.state.at
    if abs(decided) > UNDECIDED_S:  # one from the future was made by a clock that has been put back since
        return Health("stuck", "the desk cannot decide", f"for {abs(decided):.0f} s")
    return None


def stopping(view: View) -> Health | None:
    state = view.state
    return None if state.stopping is None else Health("stopping", "the worker ends", state.stopping.reason)


def blind(view: View, now: float) -> Health | None:
    since = view.state.blind_since
    if since is None:
        return None
    why = "" if view.held is None else view.held.distrust
    return Health(
        "blind", "no trusted price of the held contract: stops cannot fire", f"for {now - since:.0f} s; {why}".rstrip("; ")
    )


def no_way_out(view: View, now: float) -> Health | None:
    """A SELL could not be said, or not be written, or one waits."""
    state, way_out = view.state, view.state.way_out
    waiting = [
        now - row.alert.created_at
        for row in state.outbox.values()
        if row.alert.kind == "SELL" and row.outcome not in ("delivered", "dropped") and row.fallback != "delivered"
    ]
    if waiting and max(waiting) > SELL_WAITS_S:
        return Health("unable to exit", "a SELL waits for the phone", f"for {max(waiting):.0f} s")
    for what, fault in (("phone", way_out.phone), ("disk", way_out.disk), ("clock", way_out.clock)):
        if fault is not None:
            return Health("unable to exit", f"the {what} is in doubt", fault)
    return None


def stale(view: View, now: float) -> Health | None:
    state = view.state
    session = state.session
    if session is None or not session.open_at <= now < session.close_at:
        return None
    if state.feed_refused:
        return Health("stale", "the feed refuses us", state.feed_refused)
    if view.is_delayed:
        return Health("stale", "the feed is delayed", f"its bars come {view.delay_s:.0f} s late")
    if state.stalled_since is not None:
        return Health("stale", "no bars come", f"for {now - state.stalled_since:.0f} s")
    chain = view.vwap.chain
    since = max(state.started_at, session.open_at) if chain is None else chain.received_at
    if now - since > CHAIN_MAX_AGE_S:
        return Health("stale", "no chain of today's calls comes", f"for {now - since:.0f} s")
    return None


def amber(view: View, now: float) -> Health | None:
    state = view.state
    oldest = min((pending.since for pending in state.pending.values()), default=now)
    if now - oldest > DISK_WAITS_S:
        return Health("amber", "the disk is slow", f"a commit waits for {now - oldest:.0f} s")
    if state.way_out.starts is not None:
        return Health("amber", "it was started again and again", state.way_out.starts)
    return None
