"""What the phone is told of orders, of trades made of them, and of brokers that differ from the books. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import alerts
from events import Alert, BrokerTrade, Fill, Finding, Mode
from pnl_tracker import Record
from utils import dollars, new_york, signed_dollars

LEADS: dict[Mode, str] = {
    "paper": "[PAPER]",
    "alpaca-paper": "[ALPACA PAPER]",
    "ibkr-paper": "[IBKR PAPER]",
    "alpaca-live": "[LIVE]",
    "ibkr-live": "[LIVE]",
}
URGENT = ("unresolved", "imbalance", "shortfall")


def closed_id(trade_id: str) -> str:
    return f"{trade_id}-CLOSED"


def closed(trade: BrokerTrade, fills: Sequence[Fill], record: Record, *, at: float, revision: int = 0) -> Alert:
    """A trade has ended: why, its executions, what it made, and the record of its strategy in its mode."""
    made = "unresolved" if trade.pnl is None else signed_dollars(trade.pnl)
    lines = [
        f"📊 {trade.underlying} {trade.id}",
        f"Reason: {trade.reason or 'closed'}" + (f" ({trade.detail})" if trade.detail else ""),
        *(f"{fill.side} {fill.quantity} {fill.contract.removeprefix('O:')} at {dollars(fill.price)}" for fill in fills),
        f"P&L: {made}, fees {dollars(trade.fees)}" + (", provisional" if trade.provisional else ""),
        "",
        f"{trade.strategy} {trade.mode}: {record.trades} trades, {record.wins} won, balance {signed_dollars(record.balance)}",
    ]
    suffix = f"-{revision}" if revision else ""
    title = f"{LEADS[trade.mode]} {trade.strategy} closed {trade.underlying}: {made}"
    return alerts.of_orders(f"{closed_id(trade.id)}{suffix}", "SELL", title, lines, at=at, priority=1, trade_id=trade.id)


def differs(finding: Finding, *, at: float) -> Alert:
    """Books and broker differ: entries of the account are off until a person or a later match ends it."""
    urgent = finding.kind in URGENT
    title = f"{LEADS[finding.mode]} {'ACT NOW: ' if urgent else ''}{finding.kind}"
    lines = [finding.text, "Entries of this account are off; exits are not. Look at the broker's own page."]
    name = f"{new_york(at):%Y%m%d-%H%M%S}-{finding.kind.upper().replace(' ', '-')}-{finding.subject}"
    return alerts.of_orders(name, "CRITICAL" if urgent else "OPS", title, lines, at=at, priority=2 if urgent else 1)


def act_now(mode: Mode, subject: str, what: str, *, at: float) -> Alert:
    """Something has to be done by hand."""
    name = f"{new_york(at):%Y%m%d-%H%M%S}-ACT-{subject}"
    return alerts.of_orders(name, "CRITICAL", f"{LEADS[mode]} ACT NOW", [what], at=at, priority=2)
