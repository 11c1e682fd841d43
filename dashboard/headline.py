"""The line above all: in which state the desk is, the worst first. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dashboard.health import Health
from dashboard.view import View
from utils import clock_text, contract_name

if TYPE_CHECKING:
    from config import Config

Kind = Literal["blind", "dead", "stopped", "stopping", "holding", "settling", "cooldown", "waiting", "closed"]


def has_bars(view: View) -> bool:
    """Whether bars come: while a position is held, a chain that does not come is no dead feed."""
    return not view.state.feed_refused and not view.is_delayed and view.state.stalled_since is None


def headline(config: Config, view: View, found: Health) -> tuple[Kind, str]:
    """The first that holds of: BLIND, feed dead, stopped, stopping, holding, cooldown, waiting."""
    state = view.state
    if state.blind_since is not None:
        return "blind", f"BLIND since {clock_text(state.blind_since)}: stops cannot fire"
    if found.status == "stuck":
        return "dead", f"Worker dead: {found.reason}"
    if found.status == "stale" and not (view.held is not None and has_bars(view)):
        return "dead", f"Feed dead: {found.reason}"
    if state.entries_stopped:
        return "stopped", "Entries stopped (manual)"
    if state.stopping is not None:
        return "stopping", f"Stopping: {state.stopping.reason}"
    if view.held is not None:
        return "holding", f"Holding {contract_name(view.held.position.contract)}"
    if view.settling is not None:
        return "settling", f"Settling {contract_name(view.settling.position.contract)}"
    session = state.session
    if session is None or not session.open_at <= view.at < session.close_at:
        return "closed", "Session closed"
    if view.refusal is not None and "cooldown" in view.refusal:
        return "cooldown", view.refusal[0].upper() + view.refusal[1:].replace("s left", " s left")
    return "waiting", f"Waiting for {config.symbol}" if view.refusal is None else "Waiting"
