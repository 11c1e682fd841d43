"""A View -> what the page shows, section by section. Pure. Money and times come as text, ready to be shown as text; numbers
that are drawn come as numbers. A section that has not changed need not be sent again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import contract_selector
import pnl_tracker
import risk_manager
from dashboard.headline import headline
from dashboard.health import Health
from dashboard.latency import LATENCIES, latencies, latency_s, rows
from dashboard.paths import levels
from dashboard.view import View
from desk.state import ASSUMED, Held, State
from desk.strategy import Status
from events import ChainRow, Mills, Outgoing, Position, Trade
from signals import Gate
from utils import CENT, clock_text, contract_name, dollars, new_york, signed_dollars, to_mills

if TYPE_CHECKING:
    from config import Config
    from strategies.vwap.memory import Chain

Section = dict[str, Any]

TRADES_SHOWN = 30
EQUITY_SHOWN = 1_000
DAYS_SHOWN = 30
ALERTS_SHOWN = 30
NOTES_SHOWN = 40
LINES_SHOWN = 60
INCLUSIVE = (3, 6, 7)
FALLEN_SHOWN = 10


def sections(config: Config, view: View, found: Health, lines: Sequence[str]) -> dict[str, Any]:
    """Everything the page shows, but for the past of the charts."""
    state = view.state
    return {
        "clock": clock(config, view),
        "headline": head(config, view, found),
        "health": {"status": found.status, "reason": found.reason, "detail": found.detail},
        "why": why_no_buy(config, view),
        "gates": gates(config, view),
        "others": [other(status) for status in view.statuses if status.name != ASSUMED],
        "point": point(view),
        "history": None if view.windows is None else view.windows.covered_from,
        "position": position(config, view),
        "trades": trades(state),
        "marks": marks(state),
        "alerts": alerts(state),
        "notes": notes(state),
        "log": list(lines)[-LINES_SHOWN:],
    }


# --- the session -------------------------------------------------------------------------------------------------------


def clock(config: Config, view: View) -> Section:
    """Unix seconds: the page counts ages and time left by `at`."""
    state, session = view.state, view.state.session
    return {
        "at": int(view.at),
        "day": f"{new_york(view.at):%a %d %b %Y}",
        "open_at": None if session is None else session.open_at,
        "close_at": None if session is None else session.close_at,
        "cutoff_at": None if session is None else int(risk_manager.entry_cutoff(config, session)),
        "time_stop_at": None if session is None else int(risk_manager.time_stop(config, session)),
        "heard_at": int(view.heard_at) or None,
        "chain_at": None if view.vwap.chain is None else int(view.vwap.chain.received_at),
        "warm_at": None if session is None else session.open_at + config.warmup_seconds,
        "newest": view.newest + 1 if view.newest else None,
        "stopped": state.entries_stopped,
        "delay_s": round(view.delay_s, 1) if view.newest else None,
    }


def head(config: Config, view: View, found: Health) -> Section:
    """The state line, the price and what today has made; `worth` of the open position, unless it cannot be known."""
    kind, words = headline(config, view, found)
    held, reading = view.held, view.reading
    return {
        "kind": kind,
        "words": words,
        "price": "" if reading is None else f"{reading.close:,.2f}",
        "worth": "" if held is None else worth(config, view, held.position),
        "today": signed_dollars(sum(trade.pnl or 0 for trade in view.state.trades_today)),
        "count": len(view.state.trades_today),
    }


def point(view: View) -> list[float | None] | None:
    """The newest second: start, close, VWAP_60, VWAP_300, volume, its 95th percentile, the leader's close."""
    reading, windows = view.reading, view.windows
    if reading is None or windows is None:
        return None
    leader = windows.leader.close_by(reading.start)
    numbers = (reading.close, reading.vwap_60, reading.vwap_300, reading.volume, reading.volume_p95, leader)
    return [reading.start, *(None if number is None else round(number, 4) for number in numbers)]


# --- why there is no BUY -----------------------------------------------------------------------------------------------


def why_no_buy(config: Config, view: View) -> str:
    """One sentence, the first that holds."""
    reading, chain = view.reading, view.vwap.chain
    if view.held is not None:
        return f"A position is open: {contract_name(view.held.position.contract)}."
    if view.settling is not None:
        return "A position of an earlier session is being settled."
    if view.vwap.seeking is not None:
        return "A signal: fresh quotes of the tracked contracts are being asked for."
    if view.refusal is not None:
        return f"No BUY: {view.refusal}."
    if reading is None:
        return f"No BUY: no bars of {config.symbol} yet."
    if reading.coverage_s < config.warmup_seconds:
        return f"No BUY: warming up, {reading.coverage_s} of {config.warmup_seconds} s are known."
    missing = [gate_words(gate) for gate in reading.gates if not gate.ok]
    if missing:
        return f"No BUY: {'; '.join(missing)}."
    why = "" if chain is None else chain.selection.why()
    return f"No BUY: {why}." if why else "All conditions hold."


def gate_words(gate: Gate) -> str:
    if gate.reason:
        return f"{gate.name}: {gate.reason}"
    return f"{gate.name} {shown(gate.number, gate.value)}, wanted {shown(gate.number, gate.threshold)}"


def shown(number: int, value: float | None) -> str:
    """A gate's value in its unit."""
    if value is None:
        return "unknown"
    match number:
        case 1 | 2:
            return f"${value:,.3f}"
        case 3:
            return f"{value:.0f} s"
        case 4:
            return f"{value:,.0f}"
        case 5:
            return f"{value:+.4f} %/s".replace("-", "−")
        case 6:
            return f"{value:.2f}×"
    return f"{value:+.3f} pp".replace("-", "−")


def margin_shown(gate: Gate) -> str:
    if gate.margin is None or gate.off:
        return ""
    sign = "+" if gate.margin >= 0 else "−"
    return sign + shown(gate.number, abs(gate.margin)).replace("+", "")


def gates(config: Config, view: View) -> list[Section]:
    """The nine conditions as lights."""
    reading = view.reading
    lights = [gate_light(gate) for gate in (() if reading is None else reading.gates)]
    warm = 0 if reading is None else reading.coverage_s
    lights.append(light("", "warmed up", warm >= config.warmup_seconds, f"{warm:,} s", f"≥ {config.warmup_seconds} s"))
    lights.append(light("8–9", "desk and data", view.refusal is None, reason=view.refusal or ""))
    return lights


def other(status: Status) -> Section:
    """What another strategy that is on says of itself: why it takes no entry, and its conditions as lights."""
    lights = [
        light(str(gate.number), gate.name, gate.ok, number(gate.value), number(gate.threshold), gate.reason)
        for gate in status.gates
    ]
    return {"name": status.name, "why": status.refusal or "", "gates": lights}


def number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def gate_light(gate: Gate) -> Section:
    comparison = "≥" if gate.number in INCLUSIVE else ">"
    wanted = "" if gate.threshold is None else f"{comparison} {shown(gate.number, gate.threshold)}"
    value = "" if gate.value is None else shown(gate.number, gate.value)
    found = light(str(gate.number), gate.name, gate.ok, value, wanted, gate.reason)
    return found | {"light": "off" if gate.off else found["light"], "margin": margin_shown(gate)}


def light(number: str, name: str, ok: bool, value: str = "", wanted: str = "", reason: str = "") -> Section:
    return {
        "number": number, "name": name, "light": "yes" if ok else "no", "value": value, "wanted": wanted, "margin": "",
        "reason": reason,
    }  # fmt: skip


# --- contracts ---------------------------------------------------------------------------------------------------------


def contracts(config: Config, view: View, chain: Chain | None) -> Section:
    """The tracked contracts, and why those around the money are not."""
    session, vwap = view.state.session, view.vwap
    if chain is None or session is None:
        return {"tracked": [], "fallen": [], "emptied_by": "", "skew": ""}
    tracked = {row.contract for row in chain.selection.tracked}
    spot = next((row.underlying for row in chain.rows if row.underlying is not None), None)
    others = sorted(
        (row for row in chain.rows if row.contract not in tracked),
        key=lambda row: (abs(row.strike / 1000 - spot) if spot is not None else row.strike, row.contract),
    )[:FALLEN_SHOWN]
    fallen = sorted(others, key=lambda row: (row.strike, row.contract))
    fresh = vwap.skew is not None and chain.received_at - vwap.skew_at <= risk_manager.CHAIN_MAX_AGE_S
    return {
        "tracked": [contract(row) for row in chain.selection.tracked],
        "fallen": [
            contract(row)
            | {
                "why": contract_selector.refused_by(row, chain.received_at, config, session)
                or "less liquid than the tracked"
            }
            for row in fallen
        ],
        "emptied_by": chain.selection.emptied_by,
        "skew": f"{100 * vwap.skew:+.1f} pp" if fresh and vwap.skew is not None else "",
    }


def contract(row: ChainRow) -> Section:
    quote = row.quote
    middle = None if quote is None else risk_manager.mid(quote)
    spread = ""
    if quote is not None and middle and quote.bid is not None and quote.ask is not None:
        spread = f"{float(Fraction(quote.ask - quote.bid, middle)):.1%}"
    return {
        "contract": row.contract,
        "name": contract_name(row.contract),
        "strike": dollars(row.strike),
        "delta": "" if row.delta is None else f"{row.delta:.2f}",
        "iv": "" if row.iv is None else f"{row.iv:.1%}",
        "computed": row.computed,
        "quote": "" if quote is None else f"{price(quote.bid)} × {price(quote.ask)}",
        "size": "" if quote is None else f"{quote.bid_size} × {quote.ask_size}",
        "spread": spread,
        "volume": "" if row.volume is None else f"{row.volume:,}",
        "interest": "" if row.open_interest is None else f"{row.open_interest:,}",
        "score": "" if row.volume is None or middle is None else f"{row.volume * middle / 1000:,.0f}",
    }


def price(mills: Mills | None) -> str:
    return "–" if mills is None else dollars(mills)


# --- the position ------------------------------------------------------------------------------------------------------


def position(config: Config, view: View) -> Section | None:
    if view.settling is not None:
        held = view.settling.position
        return {"id": held.id, "contract": held.contract, "settling": True, "name": contract_name(held.contract)}
    seen = view.held
    if seen is None:
        return None
    held, mark = seen.position, seen.position.last_mark
    age = None if seen.quote_at is None else int(seen.quote_at)
    return {
        "id": held.id,
        "contract": held.contract,
        "name": contract_name(held.contract),
        "settling": False,
        "opened": clock_text(held.opened_at),
        "opened_at": int(held.opened_at),
        "entry": dollars(held.entry),
        "mark": price(mark),
        "quote": "" if seen.quote is None else f"{price(seen.quote.bid)} × {price(seen.quote.ask)}",
        "quote_at": age,
        "peak": dollars(held.peak),
        "change": "" if mark is None else f"{float(Fraction(mark, held.entry) - 1):+.1%}",
        "worth": worth(config, view, held),
        "real_entry": "" if held.real_entry is None else dollars(held.real_entry),
        "real_exit": "" if held.real_exit is None else dollars(held.real_exit),
        "skipped": held.skipped,
        "real_worth": real_worth(config, view, held),
        "blind": blindness(view, seen),
        "nearest": nearest(config, view, seen),
        "exits": exits(config, view, seen),
    }


def worth(config: Config, view: View, held: Position) -> str:
    """What selling now would make, fees off; empty while no price is trusted."""
    is_blind = view.state.blind_since is not None
    return "" if is_blind else signed(pnl_tracker.if_sold_now(held, to_mills(config.fee_per_contract)))


def real_worth(config: Config, view: View, held: Position) -> str:
    """What the owner has made of it, or would by selling now, fees off; empty if he told nothing, or no price is trusted."""
    is_unknown = view.state.blind_since is not None and held.real_exit is None
    return "" if is_unknown else signed(pnl_tracker.own_if_sold_now(held, to_mills(config.fee_per_contract)))


def signed(mills: Mills | None) -> str:
    return "" if mills is None else signed_dollars(mills)


def blindness(view: View, holding: Held) -> str:
    """Why the stops cannot fire now; empty while they can."""
    since = view.state.blind_since
    if since is not None:
        return f"YOUR STOP CANNOT FIRE since {clock_text(since)}: no trusted price" + (
            f" ({holding.distrust})" if holding.distrust else ""
        )
    return f"Quotes are not trusted: {holding.distrust}" if holding.distrust else ""


def exits(config: Config, view: View, holding: Held) -> list[Section]:
    """Each exit, and how far it is: in dollars of the mark and in percent of it, or in seconds."""
    held, session = holding.position, view.state.session
    basis = risk_manager.stop_basis(held)
    stop, hard, tight = levels(config, held)
    below = is_below(view)
    since = held.below_since
    below_s = 0 if since is None or not view.newest else max(0, view.newest - since)
    stalled = view.state.stalled_since is not None
    paused = "paused: the feed has stalled" if stalled else ""
    time_stop_at = None if session is None else int(risk_manager.time_stop(config, session))
    stop_text = "" if time_stop_at is None else clock_text(time_stop_at)
    lasted = paused or (f"below VWAP for {below_s} s" if since is not None else "above VWAP")
    patience_s = risk_manager.PERSISTENCE_S
    return [
        way("time stop", stop_text) | {"at": time_stop_at},
        distance("stop loss", stop, held, "of your fill" if basis != held.entry else ""),
        distance("hard giveback", hard, held, ""),
        distance("VWAP giveback", tight, held, paused or ("armed: below VWAP" if below else "only while below VWAP")),
        way("VWAP persistence", f"{patience_s} s", f"{max(0, patience_s - below_s)} s", lasted),
    ]


def is_below(view: View) -> bool:
    """Whether the underlying stands below its one-minute VWAP."""
    reading = view.reading
    return reading is not None and reading.vwap_60 is not None and reading.close < reading.vwap_60


def nearest(config: Config, view: View, holding: Held) -> Section | None:
    """The price exit that the mark would reach first, of those that can fire; None while no price is trusted."""
    held = holding.position
    stop, hard, tight = levels(config, held)
    can_fire = [("stop loss", stop), ("hard giveback", hard)]
    if is_below(view) and view.state.stalled_since is None:
        can_fire.append(("VWAP giveback", tight))
    name, level = max(can_fire, key=lambda way: way[1])
    return None if held.last_mark is None or view.state.blind_since is not None else distance(name, level, held, "")


def way(name: str, level: str, away: str = "", note: str = "") -> Section:
    return {"name": name, "at": None, "level": level, "away": away, "note": note}


def distance(name: str, level: Fraction, held: Position, note: str) -> Section:
    mark = held.last_mark
    away = ""
    if mark is not None:
        sign = "-" if mark < level else ""
        away = f"{sign}${abs(float(mark - level)) / 1000:,.3f} ({float((mark - level) / mark):.1%})"
    return way(name, f"${float(level) / 1000:,.3f}", away, note)


# --- what was ----------------------------------------------------------------------------------------------------------


def trades(state: State) -> Section:
    record = state.record
    own, told = pnl_tracker.real_balance(state.trades)
    balance, curve = 0, []
    for trade in state.trades:
        if trade.pnl is not None:
            balance += trade.pnl
            curve.append([int(trade.closed_at), balance / 1000])
    return {
        "rows": [trade_row(trade) for trade in reversed(state.trades[-TRADES_SHOWN:])],
        "today": None if state.day is None else state.day.isoformat(),
        "days": days(state.trades),
        "curve": curve[-EQUITY_SHOWN:],
        "balance": signed_dollars(record.balance),
        "real": f"{signed_dollars(own)} in {told}" if told else "",
        "count": f"{record.wins}W-{record.losses}L",
        "expectancy": ""
        if not record.resolved
        else signed_dollars(round(Fraction(record.balance, record.resolved * CENT)) * CENT),
        "rate": "" if record.win_rate is None else f"{record.win_rate:.1%}",
        "drawdown": signed_dollars(-record.max_drawdown),
    }


def days(trades: Sequence[Trade]) -> list[Section]:
    """What each of the last days with a trade has made, newest first."""
    found: dict[date, list[Mills]] = {}
    for trade in trades:
        made = found.setdefault(new_york(trade.closed_at).date(), [])
        if trade.pnl is not None:
            made.append(trade.pnl)
    return [
        {
            "day": f"{day:%a} {day.day} {day:%b %Y}",
            "count": f"{sum(pnl > 0 for pnl in made)}W-{sum(pnl <= 0 for pnl in made)}L",
            "pnl": signed_dollars(sum(made)),
        }
        for day, made in sorted(found.items(), reverse=True)[:DAYS_SHOWN]
    ]


def trade_row(trade: Trade) -> Section:
    return {
        "id": trade.id,
        "contract": trade.contract,
        "name": contract_name(trade.contract),
        "day": f"{new_york(trade.opened_at):%Y-%m-%d}",
        "opened": f"{new_york(trade.opened_at):%d %b %H:%M:%S}",
        "closed": clock_text(trade.closed_at),
        "opened_at": int(trade.opened_at),
        "closed_at": int(trade.closed_at),
        "why": trade.reason,
        "entry": dollars(trade.entry),
        "exit": price(trade.exit),
        "peak": dollars(trade.peak),
        "reason": trade.detail or trade.reason,
        "pnl": "unresolved" if trade.pnl is None else signed_dollars(trade.pnl),
        "sign": 0 if not trade.pnl else 1 if trade.pnl > 0 else -1,
        "real": "skipped" if trade.skipped else "" if trade.real_pnl is None else signed_dollars(trade.real_pnl),
        "real_sign": 0 if not trade.real_pnl else 1 if trade.real_pnl > 0 else -1,
        "real_prices": "" if trade.real_pnl is None else f"{side(trade.real_entry)} → {side(trade.real_exit)}",
    }


def side(told: Mills | None) -> str:
    return "assumed" if told is None else dollars(told)


def marks(state: State) -> list[list[int | str]]:
    """The day's entries and exits, for the chart: when, which, at what price and why, of which trade."""
    found: list[list[int | str]] = []
    for trade in state.trades_today:
        found.append([int(trade.opened_at), "BUY", dollars(trade.entry), trade.id])
        found.append([int(trade.closed_at), "SELL", f"{price(trade.exit)} {trade.reason}", trade.id])
    for held in (open_.position for open_ in state.open()):
        found.append([int(held.opened_at), "BUY", dollars(held.entry), held.id])
    return found


def alerts(state: State) -> Section:
    told = sorted(rows(state), key=lambda row: row.alert.created_at)[-ALERTS_SHOWN:]
    found: dict[str, str] = {}
    for to in LATENCIES:
        latency = latencies(state, to)
        found[to] = "" if latency is None else f"p50 {seconds(latency.p50)}, p95 {seconds(latency.p95)} ({latency.count})"
    return {"rows": [alert_row(row) for row in reversed(told)], **found}


def alert_row(row: Outgoing) -> Section:
    alert = row.alert
    took = latency_s(row, "accepted")
    return {
        "id": alert.id,
        "kind": alert.kind,
        "title": alert.title,
        "at": clock_text(alert.created_at),
        "outcome": f"{row.outcome}, other channel {row.fallback}" if row.fallback else row.outcome,
        "attempts": row.attempts,
        "took": "" if took is None else seconds(took),
        "seen": seen(row),
    }


def seen(row: Outgoing) -> str:
    if row.acknowledged_at is not None:
        return f"{clock_text(row.acknowledged_at)}" + (f" by {row.acknowledged_by}" if row.acknowledged_by else "")
    if row.alert.priority < 2 or row.outcome != "delivered":
        return ""
    return "not yet" if row.receipt is not None else "never"


def seconds(took: float) -> str:
    return f"{1000 * took:.0f} ms" if took < 1 else f"{took:.1f} s"


def notes(state: State) -> list[Section]:
    """The day's signals, near misses and manual words."""
    shown_notes = []
    for note in reversed(state.noted[-NOTES_SHOWN:]):
        body = note.body
        told = body | {"price": dollars(int(price)) if isinstance(price := body.get("price"), int | float) else None}
        said = ", ".join(f"{key} {told[key]}" for key in ("refused", "who", "trade", "price", "why") if told.get(key))
        shown_notes.append(
            {
                "at": clock_text(note.at),
                "kind": note.kind.replace("_", " "),
                "said": said or ("taken" if note.kind == "signal" else ""),
            }
        )
    return shown_notes
