"""When a position is left, by how many contracts and at which price: pure, exact, thresholds inclusive. Prices are mills.

One sale works at a time. A stop and a flatten go on until all is sold; a target is looked at anew after each order.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

import risk_manager
from events import Mills, Quote

if TYPE_CHECKING:
    from strategies.scalper.settings import Settings

Role = Literal["FLATTEN", "STOP", "TP2", "TP1"]

MARKET_FROM = 3  # attempts at limits before it
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
PAUSE_S = 30.0
LATCHED: tuple[Role, ...] = ("FLATTEN", "STOP")


class Hold(Struct, frozen=True):
    """A position as its exits see it, kept with its trade.

    `bought` contracts for `cost` mills a share in all; `sold` of them, `sold_tp1` by target 1. `stop_hits` is how many usable quotes
    in a row lay at the stop. `leaving` is the stop or flatten that is on its way, with why.
    """

    bought: int
    cost: Mills
    sold: int = 0
    sold_tp1: int = 0
    stop_hits: int = 0
    leaving: Role | None = None
    why: str = ""
    quote: Quote | None = None

    @property
    def entry(self) -> Fraction:
        """The average fill, a share's."""
        return Fraction(self.cost, self.bought)

    @property
    def left(self) -> int:
        return self.bought - self.sold


class Goal(Struct, frozen=True):
    """What is to be sold now: `contracts` of what is left, and why."""

    role: Role
    contracts: int
    why: str


def percent_of(entry: Fraction, percent: Decimal | int, sign: int = 1) -> Fraction:
    return entry * (1 + sign * Fraction(percent) / 100)


def first_part(settings: Settings, bought: int) -> int:
    """What target 1 sells in all: a part, rounded up. One contract leaves whole."""
    return -int(-bought * Fraction(settings.target_1_part_percent) / 100 // 1)


def has_first(settings: Settings, hold: Hold) -> bool:
    """Whether target 1 has sold its part."""
    return hold.sold_tp1 >= first_part(settings, hold.bought)


def stop_price(settings: Settings, hold: Hold) -> Fraction:
    """Where the stop lies: break-even once target 1 has sold."""
    below = settings.stop_after_target_percent if has_first(settings, hold) else settings.stop_percent
    return percent_of(hold.entry, below, -1)


def target(settings: Settings, hold: Hold, number: Literal[1, 2]) -> Fraction:
    return percent_of(hold.entry, settings.target_1_percent if number == 1 else settings.target_2_percent)


def follow(settings: Settings, hold: Hold, quote: Quote) -> Hold:
    """The position after one fresh quote: usable ones in a row at the stop are counted, an ask there is the stop at once.

    A quote that is only asked for again is no second one; one that is not usable counts for nothing and breaks no row.
    """
    seen = replace(hold, quote=quote)
    if hold.leaving in LATCHED or quote.delayed:
        return seen
    price, mark = stop_price(settings, hold), risk_manager.mark(quote)
    if quote.ask and quote.ask <= price:
        return replace(seen, leaving="STOP", why=f"ask {_text(quote.ask)} at the stop {_text(price)}")
    if mark is None:
        return seen
    exact = Fraction((quote.bid or 0) + (quote.ask or 0), 2)
    if exact > price:
        return replace(seen, stop_hits=0)
    hits = hold.stop_hits + (hold.stop_hits == 0 or not risk_manager.is_same(quote, hold.quote))
    if hits >= settings.stop_confirm_quotes:
        return replace(seen, stop_hits=hits, leaving="STOP", why=f"mark {_text(exact)} at the stop {_text(price)}")
    return replace(seen, stop_hits=hits)


def flatten(hold: Hold, why: str) -> Hold:
    """All is to be sold, whatever the quotes say; this overrules a stop on its way."""
    return hold if hold.leaving == "FLATTEN" else replace(hold, leaving="FLATTEN", why=why)


def goal(settings: Settings, hold: Hold, quote: Quote | None) -> Goal | None:
    """What is to be sold now, by the first rule that holds; `quote` is the newest while it is fresh, else None."""
    if hold.left <= 0:
        return None
    if hold.leaving is not None:
        return Goal(hold.leaving, hold.left, hold.why)
    if quote is None or quote.delayed or not quote.bid:
        return None
    second, first = target(settings, hold, 2), target(settings, hold, 1)
    if quote.bid >= second:
        return Goal("TP2", hold.left, f"bid {_text(quote.bid)} at target 2 {_text(second)}")
    lacks = min(first_part(settings, hold.bought) - hold.sold_tp1, hold.left)
    if quote.bid >= first and lacks > 0:
        return Goal("TP1", lacks, f"bid {_text(quote.bid)} at target 1 {_text(first)}")
    return None


def sale_limit(role: Role, attempt: int, quote: Quote | None, tick: Mills, market_refused: bool) -> Mills | None:
    """The limit of a sale's attempt, from 0 on; None: at the market.

    A target asks for the bid. A stop and a flatten ask for the bid, then one and two ticks less, then the market, and that at once
    where there is no usable fresh quote; where the market order was refused, a limit of one tick.
    """
    usable = quote is not None and risk_manager.mark(quote) is not None
    if role in ("TP1", "TP2"):
        assert quote is not None
        assert quote.bid is not None
        return quote.bid
    if not usable or attempt >= MARKET_FROM:
        return tick if market_refused else None
    assert quote is not None
    return max((quote.bid or 0) - attempt * tick, tick)


def pause_after(rejects: int) -> float:
    """Seconds from the so-manieth rejected close to the next try."""
    return PAUSES_S[rejects - 1] if rejects <= len(PAUSES_S) else PAUSE_S


def _text(price: Fraction | Mills) -> str:
    return f"${float(price) / 1000:.3f}".removesuffix("0")
