"""May we enter, must we leave? Pure: prices are mills, times are arguments, every refusal is a sentence or None.

Thresholds are inclusive and compared in whole numbers: the percent settings are exact fractions, quotes are whole mills.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from events import ExitReason, Mills, Position, Quote, Trade
from utils import CENT, Session, clock_text, dollars, to_mills, up_to_cent

if TYPE_CHECKING:
    from config import Config

FRESH_S = 5.0
BLIND_AFTER_S = 10.0
CHAIN_MAX_AGE_S = 60.0
STAMP_S = 0.001
SPREAD_LIMIT = Fraction(1, 2)
SALE_MAX_PEAKS = 10
CROSSED_S = 0.5  # threads name their moments and are heard in any order: as much may lie ahead


# --- the session's own times -------------------------------------------------------------------------------------------


def entry_cutoff(config: Config, session: Session) -> float:
    """The first instant at which no entry is allowed: NO_ENTRY_AFTER, or half an hour before an early close."""
    return min(session.at(config.no_entry_after), session.close_at - 1800.0)


def time_stop(config: Config, session: Session) -> float:
    """The instant from which a position is closed by the clock: HARD_TIME_STOP, or five minutes before an early close."""
    return min(session.at(config.hard_time_stop), session.close_at - 300.0)


def hhmm(moment: float) -> str:
    return clock_text(moment)[:5]


def is_fresh(age_s: float, limit_s: float = FRESH_S) -> bool:
    """Whether what is so old may still be relied on. What comes from the future is not fresh: one of two clocks is wrong."""
    return -CROSSED_S <= age_s <= limit_s


# --- prices ------------------------------------------------------------------------------------------------------------


def mid(quote: Quote) -> Mills | None:
    """(bid + ask)/2 of a two-sided quote; whole mills, since options are quoted in cents."""
    if quote.bid is None or quote.ask is None:
        return None
    return (quote.bid + quote.ask) // 2


def mark(quote: Quote) -> Mills | None:
    """The mark of a usable quote: 0 < bid <= ask, spread at most half of mid, not DELAYED. None when it is not usable."""
    bid, ask = quote.bid, quote.ask
    if quote.delayed or not bid or not ask or not 0 < bid <= ask:
        return None
    if Fraction(2 * (ask - bid), bid + ask) > SPREAD_LIMIT:
        return None
    return (bid + ask) // 2


def says_something(quote: Quote) -> bool:
    """Whether there is a market at all: a quote without an ask and without a bid is no price."""
    return not quote.delayed and bool(quote.ask or quote.bid)


def is_same(quote: Quote, before: Quote | None) -> bool:
    """Whether it is one quote that was asked for twice: its prices and, to the millisecond, its own time are unchanged."""
    if before is None or (quote.bid, quote.ask) != (before.bid, before.ask):
        return False
    return quote.quoted_at is None or before.quoted_at is None or abs(quote.quoted_at - before.quoted_at) < STAMP_S


def assumed_entry(config: Config, quote: Quote) -> Mills:
    """One tick over the ask, capped at mid + slippage, never under the ask; rounded up to a cent."""
    assert quote.bid is not None
    assert quote.ask is not None
    capped = Fraction(quote.bid + quote.ask, 2) + to_mills(config.entry_slippage)
    return up_to_cent(max(quote.ask, -(-min(Fraction(quote.ask + CENT), capped) // 1)))


def assumed_exit(position: Position, quote: Quote | None) -> Mills:
    """The last bid known, and never more than the last quote's ask: nobody sells dearer than others offer."""
    bid = position.last_bid or 0
    return min(bid, quote.ask) if quote is not None and quote.ask else bid


def percent(setting: Decimal) -> Fraction:
    return Fraction(setting) / 100


# --- the position's moving parts ---------------------------------------------------------------------------------------


def with_quote(
    config: Config, position: Position, quote: Quote, now: Mills | None, at: float, *, is_another: bool = True
) -> Position:
    """The position after one fresh quote of its contract, whose mark is `now`. `is_another` False: the one before, asked for again.

    The peak is the highest mark that the next usable mark confirmed (the lower of two in a row). An unusable quote moves
    neither mark nor peak, but its bid is the last bid known. A bid that is left out is empty: a bid of 0.
    """
    seen = replace(position, last_bid=quote.bid or 0, last_quote_at=at)
    if now is None:
        return seen
    peak = position.peak if position.last_mark is None else max(position.peak, min(position.last_mark, now))
    if not stopped(config, stop_basis(position), now):
        hits = 0
    else:
        hits = position.stop_hits + (is_another or position.stop_hits == 0)
    return replace(seen, last_mark=now, peak=peak, stop_hits=hits)


def stopped(config: Config, entry: Mills, price: Mills) -> bool:
    """price/entry - 1 <= -STOP_LOSS_PERCENT."""
    return Fraction(price, entry) - 1 <= -percent(config.stop_loss_percent)


def stop_basis(position: Position) -> Mills:
    """What the stop is measured from: the assumed entry, or the owner's own fill where that was dearer and so stops first."""
    return position.entry if position.real_exit is not None else max(position.entry, position.real_entry or 0)


def fill_refusal(of: Position | Trade, price: Mills) -> str | None:
    """Why a price cannot be what the owner paid: a slip of the finger must not become a stop."""
    if price <= 0 or not Fraction(1, 2) <= Fraction(price, of.entry) <= 2:
        return f"{dollars(price)} is not near the {dollars(of.entry)} of the BUY"
    return None


def sale_refusal(of: Position | Trade, price: Mills) -> str | None:
    """Why a price cannot be what the owner sold at: a point that was left out. Whoever waits may get far less or far more."""
    if not 0 <= price <= SALE_MAX_PEAKS * of.peak:
        return f"{dollars(price)} is far from anything that {of.contract} was worth (at most {dollars(of.peak)})"
    return None


def giveback(position: Position) -> Fraction:
    """(peak - mark)/peak of the last usable mark; 0 while there is none."""
    if position.last_mark is None:
        return Fraction(0)
    return Fraction(position.peak - position.last_mark, position.peak)


# --- must we leave? ----------------------------------------------------------------------------------------------------


class Sight(Struct, frozen=True):
    """What the exits may look at, at one instant: the quote that just came with its mark, and where the underlying
    stands."""

    at: float
    time_stop_at: float
    quote: Quote | None = None
    mark: Mills | None = None
    marked: bool = False
    below_vwap: bool = False
    below_s: int = 0
    stalled: bool = False


class Leave(Struct, frozen=True):
    reason: ExitReason
    detail: str


def exit_reason(config: Config, position: Position, sight: Sight) -> Leave | None:
    """The first of the exits that holds, in their order; None to stay. Source: the rules' table of exits.

    `marked` says that the position's last mark is of a fresh, usable quote; only then do the givebacks look at it.
    """
    if sight.at >= sight.time_stop_at:
        return Leave("time stop", f"Time stop {hhmm(sight.time_stop_at)} ET")
    return stop_loss(config, position, sight) or givebacks(config, position, sight) or persistence(sight)


def stop_loss(config: Config, position: Position, sight: Sight) -> Leave | None:
    basis = stop_basis(position)
    limit = f"limit -{config.stop_loss_percent:g}%" + ("" if basis == position.entry else " of your fill")
    if sight.quote is not None and sight.quote.ask and stopped(config, basis, sight.quote.ask):
        change = Fraction(sight.quote.ask, basis) - 1
        if sight.mark is None:
            return Leave("stop loss", f"Stop loss: ask {float(change):+.1%} ({limit})")
    if sight.marked and position.last_mark is not None and position.stop_hits >= config.stop_confirm_quotes:
        return Leave("stop loss", f"Stop loss {float(Fraction(position.last_mark, basis) - 1):+.1%} ({limit})")
    return None


def givebacks(config: Config, position: Position, sight: Sight) -> Leave | None:
    if not sight.marked:
        return None
    given = giveback(position)
    if given >= percent(config.max_giveback_percent):
        return Leave("hard giveback", f"Giveback {float(given):.1%} (Hard cap {config.max_giveback_percent:g}%)")
    if sight.below_vwap and not sight.stalled and given >= percent(config.tighten_giveback_percent):
        return Leave("VWAP giveback", f"Giveback {float(given):.1%} (VWAP cap {config.tighten_giveback_percent:g}%)")
    return None


PERSISTENCE_S = 60


def persistence(sight: Sight) -> Leave | None:
    if sight.stalled or sight.below_s < PERSISTENCE_S:
        return None
    return Leave("VWAP persistence", f"{sight.below_s}s below VWAP (2 × 30s)")


# --- may we enter? -----------------------------------------------------------------------------------------------------


class Desk8(Struct, frozen=True):
    """What condition 8 looks at."""

    at: float
    session: Session | None
    cutoff_at: float
    holding: bool
    last_exit_at: float | None
    trades_today: int
    pnl_today: Mills
    entries_stopped: bool


def desk_refusal(config: Config, desk: Desk8) -> str | None:
    """Condition 8: why the desk takes no entry now; the signal's own cooldown is judged where signals are counted."""
    if desk.session is None or not desk.session.open_at <= desk.at < desk.session.close_at:
        return "session closed"
    if desk.at >= desk.cutoff_at:
        return f"no entries after {hhmm(desk.cutoff_at)} ET"
    if desk.holding:
        return "position open"
    if desk.last_exit_at is not None:
        left = config.entry_cooldown_seconds - (desk.at - desk.last_exit_at)
        if left > 0:
            return f"entry cooldown, {left:.0f}s left"
    if config.max_trades_per_day and desk.trades_today >= config.max_trades_per_day:
        return f"{desk.trades_today} trades today, MAX_TRADES_PER_DAY reached"
    if config.daily_loss_halt and desk.pnl_today <= -abs(to_mills(config.daily_loss_halt)):
        return "DAILY_LOSS_HALT reached"
    if desk.entries_stopped:
        return "entries stopped by hand"
    return None


class WayOut(Struct, frozen=True):
    """Whether a SELL could be said and written if it had to be: each a fault in words, or None."""

    phone: str | None = None
    disk: str | None = None
    clock: str | None = None
    starts: str | None = None


def way_out_refusal(way_out: WayOut) -> str | None:
    """No BUY unless the way out is proven: which part of it is not."""
    return way_out.phone or way_out.disk or way_out.clock or way_out.starts
