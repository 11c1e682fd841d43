"""What the phone is told of a condor besides its closing: opened, chase failed, blocked, blind, act now. Pure."""

from __future__ import annotations

import alerts
from desk.words import LEADS
from events import Alert, BrokerTrade, Mode
from strategies.condor.chase import Chase, Over, summary
from strategies.condor.exits import Condor, stop_text
from strategies.condor.settings import Settings
from utils import new_york


def opened(settings: Settings, trade: BrokerTrade, held: Condor, note: str, *, at: float) -> Alert:
    """What was sold and for how much, and what will take it back. Its id has the units, so that each further fill is told."""
    credit = float(held.credit) / 1000
    memo = trade.memo
    lines = [
        f"{held.four.text()} {held.units} of {trade.units}",
        f"Credit: ${credit:.2f}" + (" (provisional)" if held.provisional else ""),
        f"Deltas: {memo.get('delta_put')} {memo.get('delta_call')}, VIX {memo.get('vix')}",
        f"Margin: ${memo.get('margin')}, {memo.get('margin_source')}" + (f"; {note}" if note else ""),
        stop_text(settings, held),
        trade.id,
    ]
    title = f"{LEADS[trade.mode]} 🦅 CONDOR OPEN {trade.underlying} ${credit:.2f}"
    return alerts.of_orders(f"{trade.id}-OPEN-{held.units}", "SELL", title, lines, at=at, priority=1, trade_id=trade.id)


def chase_failed(mode: Mode, trade_id: str, chase: Chase, over: Over, *, at: float) -> Alert:
    title = f"{LEADS[mode]} 🦅 CONDOR CHASE FAILED"
    return alerts.of_orders(f"{trade_id}-CHASE", "OPS", title, [summary(chase, over)], at=at, priority=0)


def blocked(mode: Mode, why: str, *, at: float) -> Alert:
    """A reason that does not pass by itself: once a day and reason."""
    name = f"{new_york(at):%Y%m%d}-CONDOR-BLOCKED-{''.join(letter for letter in why.upper() if letter.isalnum())[:40]}"
    return alerts.of_orders(name, "OPS", f"{LEADS[mode]} 🦅 CONDOR BLOCKED", [why], at=at, priority=0)


def blind(trade: BrokerTrade, since: float, touch_sees: bool, *, at: float) -> Alert:
    """No mark for too long, and whether the index still says if a strike is touched."""
    lines = [f"No mark of {trade.id}.", "The touch still sees." if touch_sees else "The touch does not see either."]
    name = f"{trade.id}-BLIND-{since:.0f}"
    title = f"{LEADS[trade.mode]} 🙈 CONDOR BLIND"
    return alerts.of_orders(name, "BLIND", title, lines, at=at, priority=1, trade_id=trade.id)


def sees_again(trade: BrokerTrade, since: float, *, at: float) -> Alert:
    name = f"{trade.id}-SEES-{since:.0f}"
    title = f"{LEADS[trade.mode]} 🙈 CONDOR sees again"
    return alerts.of_orders(name, "OPS", title, [f"{trade.id} has a mark again."], at=at, priority=0)


def act_now(trade: BrokerTrade, name: str, what: str, *, at: float) -> Alert:
    title = f"{LEADS[trade.mode]} ⚠️ CONDOR ACT NOW"
    return alerts.of_orders(f"{trade.id}-ACT-{name}", "CRITICAL", title, [what], at=at, priority=2, trade_id=trade.id)
