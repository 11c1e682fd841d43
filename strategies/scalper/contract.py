"""Which contract, at which prices, how many: section by section of the rules, and pure. Prices are mills.

Filters are applied one after the other; the first that leaves nothing is the answer to "why none". What a row does not say lets it
through no filter. Greeks are the feed's, or ours where it has none (`contract_selector.with_greeks`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import time
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from contract_selector import (
    EQUAL,
    Choice,
    Selection,
    at_least,
    spread_part,
    two_sided,
    volume_today,
    with_greeks,
    young,
)
from events import ChainRow, Mills, Quote, Right
from strategies.scalper.conditions import Direction
from utils import SHARES, Session, to_mills

if TYPE_CHECKING:
    from strategies.scalper.settings import Settings

CHAIN_MAX_AGE_S = 60.0
NEAREST = 3
PENNY_SYMBOLS = frozenset({"QQQ", "IWM"})
FINE_BELOW = 3_000
FINE, COARSE, COARSEST = 10, 50, 100
RIGHTS: dict[Direction, Right] = {"long": "call", "short": "put"}

Filter = tuple[str, Callable[[ChainRow], bool]]


# --- which -------------------------------------------------------------------------------------------------------------


def filters(
    settings: Settings, symbol: str, right: Right, at: float, session: Session, max_age_s: float | None
) -> list[Filter]:
    """The filters in the order of the rules, each with the words that name it; `max_age_s` None: quotes of any age."""
    today, midnight = session.date.isoformat(), session.at(time(0))
    prefix = f"O:{symbol}{session.date:%y%m%d}{right[0].upper()}"
    low, high = float(settings.delta_min), float(settings.delta_max)
    least, size = to_mills(settings.min_premium), settings.min_size
    widest, per = (settings.max_spread_percent / 100).as_integer_ratio()

    def standard(row: ChainRow) -> bool:
        return row.shares == SHARES and row.contract == f"{prefix}{row.strike:08d}"

    def within(row: ChainRow) -> bool:
        return row.delta is not None and low - EQUAL < abs(row.delta) < high + EQUAL

    def narrow(row: ChainRow) -> bool:
        assert row.quote is not None
        part, of = spread_part(row.quote)
        return part * per <= widest * of

    def has_sizes(row: ChainRow) -> bool:
        return row.quote is not None and min(row.quote.bid_size, row.quote.ask_size) >= size

    def fresh(row: ChainRow) -> bool:
        return row.quote is not None and (max_age_s is None or young(row.quote, at, max_age_s))

    def dear(row: ChainRow) -> bool:
        return row.quote is not None and (row.quote.bid or 0) + (row.quote.ask or 0) >= 2 * least

    def traded(row: ChainRow) -> bool:
        return at_least(volume_today(row, midnight), settings.min_volume)

    def held(row: ChainRow) -> bool:
        return at_least(row.open_interest, settings.min_open_interest)

    def expires(row: ChainRow) -> bool:
        return row.right == right and row.expiration == today and at < session.close_at

    return [
        (f"{right} that expires today", expires),
        (f"{SHARES} shares a contract", standard),
        (f"delta in [{low:.2f}, {high:.2f}]", within),
        ("0 < bid < ask", two_sided),
        (f"mid of at least ${settings.min_premium:f}", dear),
        (f"spread within {settings.max_spread_percent:f}%", narrow),
        (f"sizes of at least {size}", has_sizes),
        (f"day volume of at least {settings.min_volume}", traded),
        (f"open interest of at least {settings.min_open_interest}", held),
        ("quote in real time", lambda row: row.quote is not None and not row.quote.delayed),
        ("a quote" if max_age_s is None else f"quote at most {max_age_s:g} s old", fresh),
    ]


def select(
    rows: Sequence[ChainRow],
    settings: Settings,
    symbol: str,
    right: Right,
    at: float,
    session: Session,
    spot: float | None,
    max_age_s: float | None = None,
) -> Selection:
    """The rows that pass every filter, the three nearest the sought delta first; or what took the last of them."""
    target = float(settings.delta_target)

    def off(row: ChainRow) -> tuple[float, str]:
        return abs(abs(row.delta or 0.0) - target), row.contract

    once = {row.contract: row for row in rows}
    left, passed = with_greeks(list(once.values()), at, session, spot), {}
    for words, passes in filters(settings, symbol, right, at, session, max_age_s):
        kept = [row for row in left if passes(row)]
        passed[words] = len(kept)
        if not kept:
            known = sorted((row for row in left if row.delta is not None), key=off)
            return Selection((), words if rows else "the chain is empty", tuple(known[:NEAREST]), passed)
        left = kept
    return Selection(tuple(sorted(left, key=off)[:NEAREST]), passed=passed)


def choose(
    rows: Sequence[ChainRow],
    settings: Settings,
    symbol: str,
    right: Right,
    at: float,
    session: Session,
    spot: float | None,
    max_age_s: float | None = None,
) -> Choice:
    """Of the three nearest rows that pass, the one with the lowest |delta - target| + spread/mid."""
    selection = select(rows, settings, symbol, right, at, session, spot, max_age_s)
    if not selection.tracked:
        return Choice(None, selection.why())
    target = float(settings.delta_target)

    def cost(row: ChainRow) -> tuple[float, str]:
        assert row.quote is not None
        part, of = spread_part(row.quote)
        return abs(abs(row.delta or 0.0) - target) + part / of, row.contract

    return Choice(min(selection.tracked, key=cost))


# --- at which price ----------------------------------------------------------------------------------------------------


def tick_of(symbol: str, price: Mills, penny: bool | None = None) -> Mills:
    """The step of a contract's price. `penny`: whether its class is in the penny program; None: not known, a step valid in all."""
    if symbol in PENNY_SYMBOLS:
        return FINE
    if penny:
        return FINE if price < FINE_BELOW else COARSE
    return COARSE if price < FINE_BELOW else COARSEST


def down_to_tick(price: Fraction | Mills, symbol: str, penny: bool | None = None) -> Mills:
    """The highest valid price that is not above."""
    step = tick_of(symbol, int(price), penny)
    return int(Fraction(price) // step) * step


def up_to_tick(price: Fraction | Mills, symbol: str, penny: bool | None = None) -> Mills:
    """The lowest valid price that is not below."""
    step = tick_of(symbol, int(price), penny)
    return -int(-Fraction(price) // step) * step


def worst_of(settings: Settings, symbol: str, first: Quote, penny: bool | None = None) -> Mills:
    """What no order of an entry may exceed: the lower of the first ask and a tick, and the first mid and 5 %; down to a tick."""
    assert first.bid is not None
    assert first.ask is not None
    chased = Fraction(first.bid + first.ask, 2) * (1 + Fraction(settings.max_chase_percent) / 100)
    return down_to_tick(min(Fraction(first.ask + tick_of(symbol, first.ask, penny)), chased), symbol, penny)


def entry_limit(attempt: int, quote: Quote, worst: Mills, symbol: str, penny: bool | None = None) -> Mills:
    """The limit of an entry's attempt, from 0 on: the mid (up to a tick), half way to the ask, the ask; never above `worst`."""
    assert quote.bid is not None
    assert quote.ask is not None
    mid = Fraction(quote.bid + quote.ask, 2)
    wanted = mid if attempt == 0 else (mid + quote.ask) / 2 if attempt == 1 else Fraction(quote.ask)
    return min(up_to_tick(wanted, symbol, penny), worst)


# --- how many ----------------------------------------------------------------------------------------------------------


class Size(Struct, frozen=True):
    """How many contracts, 0 with the code and the words of the refusal; `cap` is the most there could be."""

    contracts: int
    cap: int
    code: Literal["", "too_small", "over_cap"] = ""
    says: str = ""


def size_of(
    settings: Settings, asked: int | None, ask_size: int, worst: Mills, equity: Mills, buying_power: Mills | None
) -> Size:
    """Contracts of an entry: the whole premium and both fees are the risk. More asked than the cap is refused, never cut."""
    fees = 2 * to_mills(settings.fee_per_contract)
    each = worst * SHARES + fees
    caps = {
        "the setting": settings.max_contracts,
        "half the ask's size": ask_size // 2,
        f"{settings.risk_percent:f}% of equity": int(Fraction(settings.risk_percent) / 100 * max(equity, 0) // each),
    }
    if buying_power is not None:
        caps["buying power"] = max(buying_power, 0) // each
    by = min(caps, key=lambda name: caps[name])
    cap = caps[by]
    if cap < 1:
        return Size(0, 0, "too_small", f"not one contract by {by}")
    if asked is not None and asked > cap:
        return Size(0, cap, "over_cap", f"{asked} asked, {cap} by {by}")
    return Size(cap if asked is None else asked, cap)
