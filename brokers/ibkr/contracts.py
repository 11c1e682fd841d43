"""Options by name, as the house writes them (`O:XSP261120P00655000`), and as TWS has them. Pure, and exact in strikes and dates.

Class SPXW is SPX's that settles in the afternoon; both have the symbol SPX.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from ib_async import ComboLeg, Contract, ContractDetails, Option
from msgspec import Struct

from events.orders import Leg
from utils import SHARES

SYMBOLS = {"SPXW": "SPX"}
NAME = re.compile(r"O:([A-Z]{1,6})(\d{6})([CP])(\d{8})")
CURRENCY = "USD"


class Name(Struct, frozen=True):
    """The parts of an option's name; `strike` in mills, `right` C or P."""

    trading_class: str
    expires: date
    right: str
    strike: int

    @property
    def text(self) -> str:
        return f"O:{self.trading_class}{self.expires:%y%m%d}{self.right}{self.strike:08d}"

    @property
    def symbol(self) -> str:
        return SYMBOLS.get(self.trading_class, self.trading_class)


class Listed(Struct, frozen=True):
    """A contract as TWS lists it. `expires` is its last trading date, `really` the one it expires on, both ISO dates."""

    contract: str
    con_id: int
    trading_class: str
    expires: str
    really: str
    multiplier: str
    local_symbol: str
    tick: float


def parsed(contract: str) -> Name | None:
    """The parts of a name; None for what is no option of ours."""
    match = NAME.fullmatch(contract)
    day = match and _date(f"20{match[2]}")
    return Name(match[1], day, match[3], int(match[4])) if match and day else None


def name_of(contract: Contract) -> str:
    """Our name of a contract of TWS; of what is no option its kind and symbol."""
    day, strike = _date(contract.lastTradeDateOrContractMonth[:8]), mills(contract.strike)
    if contract.secType in ("OPT", "") and day and strike and contract.right[:1] in ("C", "P"):
        return Name(contract.tradingClass or contract.symbol, day, contract.right[:1], strike).text
    return f"{contract.secType}:{contract.localSymbol or contract.symbol or contract.conId}"


def mills(number: object) -> int | None:
    """Whole mills of a price in dollars; None for what is no finite number, or finer."""
    try:
        value = Decimal(str(number)) * 1000
        whole = int(value)
    except (InvalidOperation, ValueError, OverflowError):
        return None
    return whole if value == whole else None


def whole(number: object) -> int | None:
    """A whole number; None for halves, NaN and words."""
    try:
        value = Decimal(str(number))
        count = int(value)
    except (InvalidOperation, ValueError, OverflowError):
        return None
    return count if value == count else None


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007  a date has no zone
    except ValueError:
        return None


def chain_question(trading_class: str, day: date, right: str, exchange: str) -> Contract:
    """What one question for all strikes of a right asks for."""
    symbol = SYMBOLS.get(trading_class, trading_class)
    return Option(symbol, f"{day:%Y%m%d}", 0.0, right, exchange, str(SHARES), CURRENCY, tradingClass=trading_class)


def listed(details: ContractDetails) -> Listed | None:
    """A contract as it is listed; None for what is no option."""
    contract = details.contract
    day = contract and _date(contract.lastTradeDateOrContractMonth[:8])
    if contract is None or not day or parsed(name_of(contract)) is None:
        return None
    really = _date(details.realExpirationDate[:8])
    return Listed(
        name_of(contract),
        contract.conId,
        contract.tradingClass,
        day.isoformat(),
        really.isoformat() if really else "",
        contract.multiplier,
        contract.localSymbol,
        details.minTick,
    )


def listing_fault(one: Listed, trading_class: str, today: date) -> str | None:
    """Why a listed contract is none of today's: its class, its multiplier, or one of its dates."""
    if one.trading_class != trading_class:
        return f"{one.contract} is of the class {one.trading_class}, not {trading_class}"
    if one.multiplier != str(SHARES):
        return f"{one.contract} has the multiplier {one.multiplier}, not {SHARES}"
    in_symbol = _date(f"20{one.local_symbol[6:12]}")
    if one.expires != one.really or in_symbol is None or in_symbol.isoformat() != one.really:
        return f"{one.contract} disagrees about its expiry: {one.expires}, {one.really}, {one.local_symbol.strip() or 'no symbol'}"
    if one.really != today.isoformat():
        return f"{one.contract} expires on {one.really}, not today"
    return None


def contract_of(legs: Sequence[Leg], con_ids: Sequence[int], exchange: str) -> Contract:
    """What an order is for: one option, or a package of its legs, each with its own action."""
    first = parsed(legs[0].contract)
    assert first is not None
    if len(legs) == 1:
        return Option(
            first.symbol,
            f"{first.expires:%Y%m%d}",
            first.strike / 1000,
            first.right,
            exchange,
            str(SHARES),
            CURRENCY,
            tradingClass=first.trading_class,
            conId=con_ids[0],
        )
    combo = [
        ComboLeg(conId=con_id, ratio=leg.ratio, action=leg.side.upper(), exchange=exchange)
        for leg, con_id in zip(legs, con_ids, strict=True)
    ]
    return Contract(secType="BAG", symbol=first.symbol, exchange=exchange, currency=CURRENCY, comboLegs=combo)
