"""What the phone and the log are told, in which words. Pure: no clock, socket or file.

An Alert's id is that of its trade or moment, never of its text; its text ends in `#id`. A number that is not known is left
out. Texts are cut at code points; title, first lines and id survive. When and how often an alert is tried is `outbox`'s.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

from events import Alert, AlertKind, ChainRow, Mills, Position, Trade, WorkerStarted
from utils import Session, clock_text, contract_name, dollars, down_to_cent, new_york, signed_dollars

if TYPE_CHECKING:
    from config import Config

TITLE_LIMIT = 250
TEXT_LIMIT = 1024
URL_LIMIT = 512
URL_TITLE_LIMIT = 100
HEADINGS_MAX = 260  # kept free, so that a repeat has the same text under its headings
AFTER_CLOSE_S = 900.0
OPS_LIFE_S = 4 * 3600.0
RING_EVERY_S = 30
RINGS_MAX = 50


class SignalReading(Protocol):
    """What a text takes of a reading (`signals.Reading` has it); None is what is not known."""

    @property
    def close(self) -> float: ...
    @property
    def vwap_60(self) -> float | None: ...
    @property
    def slope_pct_s(self) -> float | None: ...
    @property
    def volume_z(self) -> float | None: ...
    @property
    def relative_volume(self) -> float | None: ...


class Tally(Protocol):
    """The lifetime record (`pnl_tracker.Record` has it); `balance` in mills."""

    @property
    def balance(self) -> Mills: ...
    @property
    def wins(self) -> int: ...
    @property
    def losses(self) -> int: ...


# --- words -------------------------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """Text that any receiver can show as it is: no surrogates, controls or direction marks; line ends are `\\n`."""
    text = re.sub(r"\r\n?|[\u2028\u2029\x0b\x0c\x85]", "\n", text)
    return "".join(char for char in text if char in "\n\u200d" or unicodedata.category(char) not in ("Cc", "Cf", "Cs"))


def fit(text: str, limit: int, tail: str = "") -> str:
    """`text` and then `tail`, in at most `limit` code points; what does not fit is cut out before the tail, and marked."""
    if len(text) + len(tail) <= limit:
        return text + tail
    return text[: max(0, limit - len(tail) - 1)] + "…" + tail


def stock(price: float) -> str:
    return f"${price:,.2f}"


def spot_text(config: Config, price: float | None) -> str | None:
    return None if price is None else f"{config.symbol} {stock(price)}"


def plain(number: Decimal) -> str:
    """`30`, `1.5`: without an exponent or idle zeros."""
    return f"{number.normalize():f}"


def strike_text(strike: Mills) -> str:
    return plain(Decimal(strike).scaleb(-3)) + "c"


def short(side: Position | Trade) -> str:
    """`226C`: all of a contract that a lock screen has room for."""
    return strike_text(side.strike).upper()


def named(contract: str) -> str:
    """`IWM 226C 20 Nov (O:IWM261120C00226000)`."""
    name = contract_name(contract)
    return contract if name == contract else f"{name} ({contract})"


def reason_of(trade: Trade) -> str:
    """Why a trade ended, in a word or two."""
    return "manual" if trade.reason == "by hand" else trade.reason


def signed_percent(part: Fraction) -> str:
    """`+0.7%`, `-15.2%`, `0.0%`."""
    return "0.0%" if part == 0 else f"{float(part):+.1%}"


def lasting(seconds: float) -> str:
    """`42 s`, `4 m 12 s`, `2 h 5 m`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} m {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} m"


def joined(*parts: str | None, by: str = " | ") -> str:
    """The parts that are there."""
    return by.join(part for part in parts if part)


def lifetime(record: Tally) -> list[str]:
    resolved = record.wins + record.losses
    rate = f" ({record.wins / resolved:.1%})" if resolved else ""
    return [f"💰 LIFETIME: {signed_dollars(record.balance)}", f"📈 {record.wins}W-{record.losses}L{rate}"]


def _alert(
    alert_id: str,
    kind: AlertKind,
    title: str,
    lines: Iterable[str],
    *,
    at: float,
    priority: int = 0,
    expires_at: float | None = None,
    trade_id: str | None = None,
    rings_s: int = 0,
) -> Alert:
    """`rings_s`: how long an emergency (priority 2) rings: at least 30 s apart and at most 50 times."""
    emergency = priority == 2
    return Alert(
        id=alert_id,
        kind=kind,
        title=fit(clean(title).replace("\n", " ").strip() or kind, TITLE_LIMIT),
        text=fit(clean("\n".join(squeezed(lines))).strip("\n") or kind, TEXT_LIMIT - HEADINGS_MAX, f"\n#{alert_id}"),
        priority=priority,
        created_at=at,
        expires_at=expires_at,
        trade_id=trade_id,
        retry_s=max(RING_EVERY_S, -(-rings_s // RINGS_MAX)) if emergency else None,
        expire_s=rings_s if emergency else None,
    )


def squeezed(lines: Iterable[str]) -> list[str]:
    """Without the second of two empty lines."""
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return kept


def with_heading(alert: Alert, heading: Iterable[str], url: str | None = None) -> str:
    """The alert's text under further first lines and above a link, within the limit; link and id stay."""
    tail = f"\n#{alert.id}"
    end = tail if url is None else f"\n\n👉 {url}{tail}"
    return fit("\n".join([*heading, alert.text.removesuffix(tail)]), TEXT_LIMIT, end)


def together(alerts: Sequence[Alert], *, at: float) -> Alert:
    """One message for several of the worker's own."""
    lines = [f"{clock_text(alert.created_at)} {alert.title}: {alert.text.split(chr(10))[0]}" for alert in alerts]
    priority = max(alert.priority for alert in alerts)
    return _ops("GROUP", f"{len(alerts)} messages of the worker", *lines, at=at, priority=priority)


def _ops(name: str, title: str, *lines: str, at: float, priority: int = 0) -> Alert:
    """`name` and the second make the id, so what can be said of several things at once has to name the thing."""
    alert_id = f"{new_york(at):%Y%m%d-%H%M%S}-{'-'.join(name.upper().split())}"
    return _alert(alert_id, "OPS", title, lines, at=at, priority=priority, expires_at=at + OPS_LIFE_S)


# --- the trade ---------------------------------------------------------------------------------------------------------


def buy_id(position_id: str) -> str:
    return f"{position_id}-BUY"


def sell_id(position_id: str) -> str:
    return f"{position_id}-SELL"


def buy(
    config: Config, position: Position, row: ChainRow, reading: SignalReading, *, skew: float | None, time_stop_at: float
) -> Alert:
    """BUY, as the rules word it. `skew` is 25-delta put IV - call IV as a fraction; None when it is not known or old."""
    quote, entry, at = position.entry_quote, position.entry, position.opened_at
    bid, ask = quote.bid or 0, quote.ask or 0
    mid = (bid + ask) // 2
    vwap, momentum, z, relative = reading.vwap_60, reading.slope_pct_s, reading.volume_z, reading.relative_volume
    pay = down_to_cent(int(entry * (1 + Fraction(config.buy_max_chase_percent) / 100)))
    void = clock_text(at + config.buy_void_seconds)
    lines = [
        joined(
            spot_text(config, reading.close),
            None if not vwap else f"VWAP {stock(vwap)} ({100 * (reading.close / vwap - 1):+.2f}%)",
        ),
        joined(
            None if momentum is None else f"Momentum {momentum:+.3f}%/s",
            None if z is None else f"Vol Z{z:.1f}",
            None if relative is None else f"RelVol {relative:.1f}x",
        ),
        "",
        f"📊 {position.contract} {position.expiration} {strike_text(position.strike)}",
        joined(
            None if row.delta is None else f"Δ{row.delta:.2f}",
            None if row.iv is None else f"IV{row.iv:.1%}",
            "(computed)" if row.computed else None,
            None if skew is None else f"Skew {100 * skew:+.1f}",
            by=" ",
        ),
        "",
        f"💰 Entry ~{dollars(entry)} (mid {dollars(mid)} {signed_dollars(entry - mid)})",
        f"Spread {float(Fraction(ask - bid, mid)):.1%} | Size {quote.bid_size}×{quote.ask_size}" if mid else "",
        "",
        f"⏱ {clock_text(at)} ET | pay ≤ {dollars(pay)} | void after {void}",
        f"⚠️ Hard Giveback {plain(config.max_giveback_percent)}% | Time Stop {clock_text(time_stop_at)[:5]} ET",
    ]
    return _alert(
        buy_id(position.id),
        "BUY",
        f"🔥 {config.symbol} 0DTE CALL — BUY {short(position)} ≤ {dollars(pay)} · void {void}",
        lines,
        at=at,
        trade_id=position.id,
        priority=config.buy_priority,
        expires_at=at + config.buy_ttl_seconds,
        rings_s=max(60, config.buy_void_seconds),
    )


def sell(
    config: Config, trade: Trade, record: Tally, *, mark: Mills | None, spot: float | None, vwap: float | None
) -> Alert:
    """SELL, as the rules word it; of a trade that expired unsold, what became of it. `mark` None: the bid is all there is.

    Whoever told that he has nothing to sell is told so at normal priority: only the assumed trade ends.
    """
    expired, idle = trade.reason == "expired", nothing_held(trade)
    if mark is not None:
        now = f" → Now {dollars(mark)}"
    else:
        now = "" if expired or trade.exit is None else f" → Now {dollars(trade.exit)} (bid)"
    lines = [
        f"Reason: {trade.detail or trade.reason.capitalize()}",
        "",
        joined(spot_text(config, spot), None if vwap is None else f"VWAP {stock(vwap)}"),
        f"Peak {dollars(trade.peak)}{now}",
        "",
        f"📊 {trade.contract}",
        result(trade),
        "" if trade.real_pnl is None else f"👤 Your fills: {signed_dollars(trade.real_pnl)}",
        "",
        *lifetime(record),
        "",
        *(["⚠️ Stale price: the last bid known, look before you trust it"] if trade.stale else []),
        idle or (way_out(trade) if expired else "✅ Close at market / best bid"),
    ]
    icon, action = ("⌛", "EXPIRED") if expired else ("🚪", "SELL")
    made = "unresolved" if trade.pnl is None else signed_dollars(trade.pnl)
    return _alert(
        sell_id(trade.id),
        "SELL",
        f"{icon} {config.symbol} 0DTE CALL — {action} {short(trade)} · {made}" + (" (not yours)" if idle else ""),
        lines,
        at=trade.closed_at,
        trade_id=trade.id,
        priority=0 if idle else config.sell_priority,
        rings_s=config.sell_expire_seconds,
    )


def nothing_held(side: Position | Trade) -> str:
    """That the owner told he has nothing to sell; empty if he may have."""
    if side.skipped:
        return "👤 You skipped it: nothing to close"
    return "" if side.real_exit is None else f"👤 You sold it at {dollars(side.real_exit)}: nothing to close"


def result(trade: Trade) -> str:
    """`🟢 P&L: +0.7% (+$1.00)`: exit/entry - 1, and the booked sum, whose sign is the colour."""
    if trade.exit is None or trade.pnl is None:
        return "⚪ P&L: unresolved, not in the record"
    light = "🟢" if trade.pnl > 0 else "🔴" if trade.pnl < 0 else "⚪"
    return f"{light} P&L: {signed_percent(Fraction(trade.exit, trade.entry) - 1)} ({signed_dollars(trade.pnl)})"


def way_out(trade: Trade) -> str:
    if trade.exit == 0:
        return "It ended worthless: nothing to close"
    return "⚠️ Look at your account: a call in the money at 16:00 becomes 100 shares"


def never_reached(config: Config, trade: Trade, record: Tally, *, at: float) -> Alert:
    """Behind a SELL that may have been heard: the BUY before it never was."""
    lines = [
        f"The BUY of {named(trade.contract)} at {clock_text(trade.opened_at)} ET failed: there is nothing to sell.",
        "Its trade is not in the record.",
        "",
        *lifetime(record),
    ]
    title = f"↩️ {config.symbol} — that BUY never reached you"
    return _alert(
        f"{trade.id}-NEVER", "CRITICAL", title, lines, at=at, priority=1, expires_at=at + OPS_LIFE_S, trade_id=trade.id
    )


def missed_buy(config: Config, position: Position | Trade, why: str, *, at: float) -> Alert:
    told = f"{named(position.contract)} at {clock_text(position.opened_at)} ET, ~{dollars(position.entry)}: {why}"
    lines = [told, "It was never announced: no position, no P&L. Do not buy it now."]
    return _alert(
        f"{position.id}-MISSED",
        "OPS",
        f"Missed {config.symbol} BUY",
        lines,
        at=at,
        priority=-1,
        expires_at=at + OPS_LIFE_S,
        trade_id=position.id,
    )


# --- a position nobody may be watching ---------------------------------------------------------------------------------


def held(position: Position) -> list[str]:
    mark = "" if position.last_mark is None else f", last mark {dollars(position.last_mark)}"
    told = [f"📊 {named(position.contract)}", f"Entry {dollars(position.entry)}, peak {dollars(position.peak)}{mark}"]
    return [*told, idle] if (idle := nothing_held(position)) else told


def _unwatched(position: Position, name: str, title: str, *lines: str, at: float) -> Alert:
    return _alert(
        f"{position.id}-{name}-{new_york(at):%H%M%S}",
        "BLIND",
        title,
        [*lines, "", *held(position)],
        at=at,
        priority=0 if nothing_held(position) else 1,
        trade_id=position.id,
        expires_at=position.session_close_at + AFTER_CLOSE_S,
    )


def blind(config: Config, position: Position, why: str, *, at: float, quoted: bool = False) -> Alert:
    """`quoted`: bars are missing, but quotes of the contract still come."""
    title = f"🙈 {config.symbol} stops cannot fire — CHECK BY HAND"
    going = "Stop loss, hard giveback and time stop go on while its quotes come."
    left = going if quoted else "Only the time stop still works."
    return _unwatched(position, "BLIND", title, f"No trusted price: {why}", left, at=at)


def sight_restored(config: Config, position: Position, blind_s: float, *, at: float) -> Alert:
    return _unwatched(position, "SEEING", f"👁 {config.symbol} stops work again", f"Blind for {lasting(blind_s)}.", at=at)


def going_down(config: Config, position: Position, *, at: float) -> Alert:
    lines = ["The worker ends and keeps the position (ON_SHUTDOWN=keep).", "Until it is back no stop can fire."]
    return _unwatched(position, "KEPT", f"⚠️ {config.symbol} going down while holding", *lines, at=at)


def cannot_decide(config: Config, position: Position, *, at: float) -> Alert:
    lines = ["The worker keeps failing to decide and ends.", "No stop can fire until it is back."]
    return _unwatched(position, "BROKEN", f"🆘 {config.symbol} worker broken — CHECK BY HAND", *lines, at=at)


def strategy_off(config: Config, name: str, why: str, held: Sequence[str], *, at: float) -> Alert:
    """A strategy that fails takes no more entries; which contracts of its to look after."""
    lines = [f"{name}: {why}.", "It takes no more entries until they are resumed, or a restart."]
    lines += [f"Look after: {', '.join(held)}"] if held else []
    return _ops(f"{name} off", f"🆘 {config.symbol} {name} takes no more entries", *lines, at=at, priority=1)


def of_orders(
    alert_id: str,
    kind: AlertKind,
    title: str,
    lines: Iterable[str],
    *,
    at: float,
    priority: int,
    trade_id: str | None = None,
) -> Alert:
    """What is said of orders and of the trades made of them; an emergency rings for ten minutes."""
    expires_at = at + OPS_LIFE_S if kind in ("NEWS", "OPS") else None
    return _alert(
        alert_id, kind, title, lines, at=at, priority=priority, expires_at=expires_at, trade_id=trade_id, rings_s=600
    )


def resolved(config: Config, trade: Trade, record: Tally, *, at: float) -> Alert:
    """What a trade that had stayed unresolved was worth after all."""
    lines = [f"📊 {named(trade.contract)}", trade.detail, result(trade), "", *lifetime(record)]
    return _ops(f"{trade.id} resolved", f"⌛ {config.symbol} 0DTE CALL — now resolved", *lines, at=at)


def critical_loss(config: Config, record: Tally, level: Mills, *, at: float) -> Alert:
    told = f"Lifetime balance {signed_dollars(record.balance)}: it has fallen to {signed_dollars(level)}."
    return _alert(
        f"{new_york(at):%Y%m%d-%H%M%S}-CRITICAL{-level // 1000}",
        "CRITICAL",
        f"🚨 {config.symbol} critical loss",
        [told, "", *lifetime(record)],
        at=at,
        priority=1,
        expires_at=at + 86_400.0,
    )


# --- the worker --------------------------------------------------------------------------------------------------------


def started(config: Config, event: WorkerStarted, position: Position | None, record: Tally, *, at: float) -> Alert:
    changed = config.non_defaults()
    away = "" if event.away_s is None else f"I was away {lasting(event.away_s)}."
    lines = [
        f"Version {event.version}, {event.mode}, {clock_text(at)} ET",
        joined(away, f"{event.crashes} unclean end{'s' * (event.crashes > 1)} of late" if event.crashes else None, by=" "),
        *taken_up(position, at),
        *lifetime(record),
        "Settings: " + (", ".join(f"{name}={value}" for name, value in changed.items()) or "all at their defaults"),
        *(f"⚠️ {warning}" for warning in config.warnings),
    ]
    return _ops("STARTED", f"🟢 {config.symbol} worker started", *lines, at=at)


def taken_up(position: Position | None, at: float) -> list[str]:
    """The position that the last life left: resumed, or, when its session has ended, settled."""
    if position is None:
        return []
    over = at >= position.session_close_at
    return ["Position of an ended session, being settled:" if over else "Position resumed:", *held(position)]


def ended(config: Config, record: Tally, reason: str, *, at: float) -> Alert:
    return _ops("ENDED", f"⚫ {config.symbol} worker ended", f"{reason}, {clock_text(at)} ET", *lifetime(record), at=at)


def gave_up(config: Config, reason: str, *, at: float) -> Alert:
    told = "It is started again by what runs it, if that can."
    return _ops("BROKEN", f"🆘 {config.symbol} worker gave up", reason, told, at=at, priority=1)


def ledger_damaged(config: Config, fault: str, *, at: float) -> Alert:
    cure = "Nothing was changed; it never starts again at $0. See: python -m pnl_tracker verify"
    return _ops(
        "LEDGER", f"🆘 {config.symbol} ledger cannot be used", fault, cure, "The worker does not run.", at=at, priority=1
    )


def data_stall(config: Config, silent_s: float, *, at: float) -> Alert:
    told = f"No bars for {lasting(silent_s)}. Signals are paused; VWAP exits too."
    return _ops("STALL", f"⏸ {config.symbol} data stall", told, at=at)


def data_restored(config: Config, stalled_s: float, *, at: float) -> Alert:
    return _ops("RESTORED", f"▶️ {config.symbol} data is back", f"After {lasting(stalled_s)}.", at=at)


def feed_refused(config: Config, what: str, reason: str, *, at: float, busy: bool = False) -> Alert:
    """`busy`: another process uses the key; else a bad key or a plan without what is needed."""
    cure = "Another process uses this key: stop it." if busy else "Check POLYGON_API_KEY and its plan (real-time is needed)."
    name = f"{what} {'busy' if busy else 'refused'}"
    return _ops(name, f"⛔ {config.symbol} {what} refused", reason, cure, "No BUY until it works.", at=at, priority=1)


def chain_apart(config: Config, off: float, *, at: float) -> Alert:
    """`off`: how far, as a fraction."""
    told = f"Its price of {config.symbol} is {off:.1%} from the stream's. No BUY until they agree."
    return _ops("CHAIN", f"⚖️ {config.symbol} option chain disagrees", told, at=at)


def bad_input(config: Config, source: str, count: int, worst: str, *, at: float) -> Alert:
    """`worst`: the most frequent fault. What is malformed is never used; that there is so much of it should be looked at."""
    told = f"{count:,} malformed pieces in a minute, most of them {worst}. They are left out."
    return _ops(f"{source} junk", f"🗑 {config.symbol} bad input from {source}", told, at=at)


def clock_off(config: Config, skew_s: float, source: str, *, at: float) -> Alert:
    side = "ahead of" if skew_s > 0 else "behind"
    told = f"The host's clock is {abs(skew_s):.1f} s {side} {source or 'the other source'}. No BUY until it is right."
    return _ops("CLOCK", f"🕰 {config.symbol} clock is off", told, at=at, priority=1)


def disk_trouble(config: Config, reason: str, *, at: float) -> Alert:
    """What keeps a BUY from being told, since its record could not be written: a full disk, or a viewer that holds the ledger."""
    cure = "No BUY until it can be. Close whatever has the ledger open, or make room on the disk."
    return _ops("disk", f"💾 {config.symbol} ledger not written", f"For a minute: {reason}.", cure, at=at, priority=1)


def thread_failed(config: Config, thread: str, reason: str, *, at: float) -> Alert:
    return _ops(f"{thread} replaced", f"🧵 {config.symbol} {thread} was replaced", reason, at=at)


def no_profile(config: Config, reason: str, *, at: float) -> Alert:
    told = "Relative volume cannot be known: no BUY until it is. It is tried again every minute."
    return _ops("PROFILE", f"📉 {config.symbol} no volume profile", reason, told, at=at)


def phone_trouble(config: Config, reason: str, *, at: float) -> Alert:
    """For the fallback channel and the log: the phone cannot be relied on."""
    alert_id, title = f"{new_york(at):%Y%m%d-%H%M%S}-PHONE", f"📵 {config.symbol} phone in doubt"
    return _alert(
        alert_id, "CRITICAL", title, [reason, "No BUY until it is proven."], at=at, priority=1, expires_at=at + 3600.0
    )


def summary(
    config: Config, session: Session, trades: Iterable[Trade], record: Tally, *, at: float, notes: Iterable[str] = ()
) -> Alert:
    """The day after its close: trades, P&L, why they were closed; `notes` are further lines."""
    today = tuple(trades)
    pnls = [trade.pnl for trade in today if trade.pnl is not None]
    wins = sum(pnl > 0 for pnl in pnls)
    ended_by = ", ".join(dict.fromkeys(reason_of(trade) for trade in today))
    lines = [
        f"{len(today)} trade{'' if len(today) == 1 else 's'}" + (f", {wins}W-{len(pnls) - wins}L" if pnls else ""),
        f"Today {signed_dollars(sum(pnls))}" if pnls else "",
        f"Closed by: {ended_by}" if ended_by else "",
        f"Unresolved: {len(today) - len(pnls)}" if len(today) > len(pnls) else "",
        *notes,
        *lifetime(record),
    ]
    return _ops("SUMMARY", f"📋 {config.symbol} {session.date:%Y-%m-%d}", *filter(None, lines), at=at)


def morning(config: Config, session: Session, checks: Iterable[tuple[str, str | None, str]], *, at: float) -> Alert:
    """GO or NO-GO before the open. A check is its name, what is wrong (None: nothing), and what was found."""
    told = list(checks)
    faults = [f"❌ {name}: {fault}" for name, fault, _ in told if fault is not None]
    good = [f"✅ {name}: {found}" if found else f"✅ {name}" for name, fault, found in told if fault is None]
    close = f"Open {clock_text(session.open_at)[:5]}, close {clock_text(session.close_at)[:5]} ET"
    lines = [close + ("" if session.is_full else " — EARLY CLOSE"), *faults, *good]
    title = f"🚫 {config.symbol} NO-GO" if faults else f"🟩 {config.symbol} GO"
    return _ops("MORNING", title, *lines, at=at, priority=1 if faults else 0)
