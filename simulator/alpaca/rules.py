"""What the venue allows: the account's blocks and level, hours and cut-offs, what is held, what can be paid. Each refusal has words.

Rules: an option is refused on its last day from 45 minutes before the close (15:15), on a broad-based ETF from 30 minutes before it
(15:30); what is then held is sold 15 minutes later. Short contracts are allowed only where others cover them: what is
asked for is the worst that can become of all contracts of one underlying and expiry together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from simulator.alpaca.orders import Draft, Order, Position, forbidden, invalid
from simulator.alpaca.quotes import Contract, Quotes
from utils import Session

BROAD_BASED = frozenset({"SPY", "QQQ"})
BEFORE_CLOSE_S, BEFORE_CLOSE_BROAD_S, LIQUIDATION_AFTER_S = 45 * 60, 30 * 60, 15 * 60
SHARES = 100
NOTHING = Decimal(0)


@dataclass(slots=True)
class Account:
    """Who trades, with what, and what forbids it."""

    number: str
    id: str
    cash: Decimal
    level: int = 3
    trading_blocked: bool = False
    account_blocked: bool = False
    suspended: bool = False


def last_orders(contract: Contract, session: Session) -> float | None:
    """When orders in a contract end on this day, Unix seconds; None where it does not expire on it."""
    if contract.expiry != session.date:
        return None
    return session.close_at - (BEFORE_CLOSE_BROAD_S if contract.underlying in BROAD_BASED else BEFORE_CLOSE_S)


def may_trade(account: Account, is_mleg: bool) -> None:
    """Refused where the account may not."""
    if account.account_blocked:
        raise forbidden("account is blocked")
    if account.trading_blocked:
        raise forbidden("account is restricted to liquidation only")
    if account.suspended:
        raise forbidden("new orders are rejected by user request")
    if account.level < (3 if is_mleg else 2):
        raise forbidden("account not eligible to trade this options strategy: level too low")


def in_time(asked: Draft, session: Session | None, today: date, now: float, quotes: Quotes) -> None:
    """Refused for contracts that are not listed or expired, after the last orders, and for a market order out of hours."""
    for contract, *_ in asked.legs:
        if contract.expiry < today or not quotes.is_listed(contract.symbol):
            raise invalid(f'asset "{contract.symbol}" not found')
        end = None if session is None else last_orders(contract, session)
        if end is not None and now >= end:
            raise forbidden(f"{contract.symbol} expires today: orders are no longer accepted")
    is_open = session is not None and session.open_at <= now < session.close_at
    if asked.kind == "market" and not is_open:
        raise invalid("options market orders are only allowed during market hours")


def held_for_orders(orders: Iterable[Order], symbol: str) -> int:
    """Contracts that working closes keep."""
    return sum(
        order.remaining * leg.ratio
        for order in orders
        for leg in order.legs
        if order.is_open and leg.closes and leg.contract.symbol == symbol
    )


def can_close(asked: Draft, intents: list[str], positions: dict[str, Position], orders: Iterable[Order]) -> None:
    """Refused where a close asks for more than is held and free, or for a position of the other side."""
    orders = list(orders)
    for (contract, side, _, ratio), intent in zip(asked.legs, intents, strict=True):
        position = positions.get(contract.symbol)
        held = 0 if position is None else position.qty
        closes_what_is_not_there = held <= 0 if side == "sell" else held >= 0
        if not intent.endswith("_close"):
            continue
        if closes_what_is_not_there:
            raise invalid(f"position intent mismatch, inferred: {side}_to_open, specified: {intent}")
        taken, wanted = held_for_orders(orders, contract.symbol), asked.qty * ratio
        if wanted > abs(held) - taken:
            free = max(abs(held) - taken, 0)
            raise forbidden(
                f"insufficient qty available for order (requested: {wanted}, available: {free})",
                available=str(free),
                existing_qty=str(abs(held)),
                held_for_orders=str(taken),
                symbol=contract.symbol,
            )


def no_wash(asked: Draft, orders: Iterable[Order]) -> None:
    """Refused where a simple order could trade with one of the account's own."""
    if asked.is_mleg:
        return
    contract, side, *_ = asked.legs[0]
    for order in orders:
        if order.is_mleg or not order.is_open or order.legs[0].contract != contract or order.legs[0].side == side:
            continue
        buy, sell = (asked.limit, order.limit) if side == "buy" else (order.limit, asked.limit)
        if buy is None or sell is None or buy >= sell:
            raise forbidden(
                "potential wash trade detected. use complex orders",
                existing_order_id=order.id,
                reject_reason="opposite side market/stop order exists"
                if order.limit is None
                else "opposite side order exists",
            )


def requirement(held: dict[Contract, int]) -> Decimal:
    """The worst that contracts can cost at expiry, dollars, each underlying and expiry by itself. Refused if there is no worst."""
    groups: dict[tuple[str, date], dict[Contract, int]] = defaultdict(dict)
    for contract, qty in held.items():
        groups[contract.underlying, contract.expiry][contract] = qty
    total = NOTHING
    for group in groups.values():
        if sum(qty for contract, qty in group.items() if contract.right == "C") < 0:
            raise forbidden("account not eligible to trade uncovered option contracts")
        spots = [NOTHING, *(contract.strike for contract in group)]
        worst = min(sum((qty * contract.worth(spot) for contract, qty in group.items()), NOTHING) for spot in spots)
        total += max(-worst, NOTHING) * SHARES
    return total


def holdings(positions: Iterable[Position], orders: Iterable[Order] = ()) -> dict[Contract, int]:
    """Contracts by what is held, and what working openings would add."""
    held: dict[Contract, int] = defaultdict(int)
    for position in positions:
        held[position.contract] += position.qty
    for order in orders:
        for leg in order.legs:
            if order.is_open and not leg.closes:
                held[leg.contract] += leg.sign * leg.ratio * order.remaining
    return held


def promised(orders: Iterable[Order], quotes: Quotes) -> Decimal:
    """Dollars that working openings may still cost; a market order is reckoned at the ask."""
    total = NOTHING
    for order in orders:
        if order.is_open and not all(leg.closes for leg in order.legs):
            total += cost(order.limit, order.remaining, [(leg.contract, leg.sign, leg.ratio) for leg in order.legs], quotes)
    return total


def cost(limit: Decimal | None, units: int, legs: list[tuple[Contract, int, int]], quotes: Quotes) -> Decimal:
    """Dollars that so many units cost at a limit, or at the quotes without one; negative for what is received."""
    if limit is None:
        limit = NOTHING
        for contract, sign, ratio in legs:
            quote = quotes.quote(contract.symbol)
            limit += NOTHING if quote is None else sign * ratio * (quote.ask if sign > 0 else quote.bid)
    elif len(legs) == 1:
        limit = limit * legs[0][1]
    return limit * units * SHARES
