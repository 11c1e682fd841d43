"""What the phone is told by the scalper; of a closed trade the desk tells. Every title is led by the mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

import alerts
from desk.words import LEADS
from events import Alert, BrokerTrade, Mills, Mode
from strategies.scalper.contract import RIGHTS
from strategies.scalper.memory import Signal
from utils import dollars, new_york

if TYPE_CHECKING:
    from strategies.scalper.settings import Settings

COIN = "A price without edge reaches target 1 before the stop in {:.1f} % of cases: there the bet begins to pay"


def title(mode: Mode, symbol: str, right: str, what: str) -> str:
    """`[PAPER] ⚡ SCALPER QQQ CALL — BOUGHT 2`."""
    return f"{LEADS[mode]} ⚡ SCALPER {symbol} {right.upper()} — {what}"


def clock(at: float) -> str:
    """`11:30`, New York."""
    return f"{new_york(at):%H:%M}"


def right_of(trade: BrokerTrade) -> str:
    return "call" if trade.legs[0].contract[-9] == "C" else "put"


def break_even(settings: Settings) -> float:
    """How often target 1 must come first for the bet not to lose, in percent."""
    return 100 * float(settings.stop_percent / (settings.stop_percent + settings.target_1_percent))


def signal(settings: Settings, mode: Mode, made: Signal) -> Alert:
    reading = made.reading
    sure = f"Confidence {made.confidence:.2f}" if made.confidence is not None else f"Confidence: {made.verdict} ({made.why})"
    lines = [
        f"{made.symbol} ${reading.price:.2f} | VWAP ${reading.vwap:.2f}",
        f"RSI {reading.rsi:.0f} | Vol {reading.volume_ratio or 0:.1f}x | vs {settings.benchmark} {reading.relative_strength:+.2f} pp",
        sure,
        COIN.format(break_even(settings)),
        f"Contract: {made.contract.removeprefix('O:')}" if made.contract else "Contract: none",
        *([f"Not to be traded: {made.refusal}"] if made.refusal else []),
        f"⏱ {made.id} | alive until {new_york(made.expires_at):%H:%M:%S} ET",
    ]
    head = title(mode, made.symbol, RIGHTS[made.direction], "SIGNAL")
    told = alerts.of_orders(f"{made.id}-SIGNAL", "NEWS", head, lines, at=made.at, priority=0)
    return replace(told, expires_at=made.expires_at)


def bought(trade: BrokerTrade, count: int, cost: Mills, *, at: float) -> Alert:
    lines = [f"📊 {trade.legs[0].contract.removeprefix('O:')}", f"{count} at {dollars(cost // count)} on average", trade.id]
    head = title(trade.mode, trade.underlying, right_of(trade), f"BOUGHT {count}")
    return alerts.of_orders(f"{trade.id}-BOUGHT", "NEWS", head, lines, at=at, priority=0, trade_id=trade.id)


def sold(trade: BrokerTrade, count: int, of: int, why: str, *, at: float) -> Alert:
    head = title(trade.mode, trade.underlying, right_of(trade), f"SOLD {count} of {of}")
    lines = [f"📊 {trade.legs[0].contract.removeprefix('O:')}", why, trade.id]
    return alerts.of_orders(f"{trade.id}-SOLD-{count}", "NEWS", head, lines, at=at, priority=0, trade_id=trade.id)


def rejected(trade: BrokerTrade, why: str, number: int, *, at: float) -> Alert:
    head = title(trade.mode, trade.underlying, right_of(trade), "CLOSE REJECTED")
    lines = [why, f"{trade.id}: it is tried again. Look at the broker's own page, and close it by hand if it stays."]
    name = f"{trade.id}-REJECTED-{number}"
    return alerts.of_orders(name, "CRITICAL", head, lines, at=at, priority=2, trade_id=trade.id)


def blind(trade: BrokerTrade, seconds: float, *, at: float) -> Alert:
    head = title(trade.mode, trade.underlying, right_of(trade), "BLIND")
    lines = [f"No fresh quote for {seconds:.0f} s: neither stop nor targets can fire.", trade.id]
    name = f"{trade.id}-BLIND-{new_york(at):%H%M%S}"
    return alerts.of_orders(name, "CRITICAL", head, lines, at=at, priority=2, trade_id=trade.id)


def stopped(mode: Mode, day: str, why: str, *, at: float) -> Alert:
    head = f"{LEADS[mode]} ⚡ SCALPER — STOPPED FOR TODAY"
    return alerts.of_orders(f"SC-{day}-STOPPED", "NEWS", head, [why], at=at, priority=0)
