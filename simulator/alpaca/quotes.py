"""What the venue matches against: the quote of a contract at a moment, and which contracts are listed.

Rules: symbols are OSI without padding and without `O:`, as Alpaca writes them. Prices are Decimal dollars, sizes contracts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from simulator.exchange import Market

SYMBOL = re.compile(r"([A-Z]{1,6})(\d{6})([CP])(\d{8})")
CENT, NICKEL, DIME, THREE = Decimal("0.01"), Decimal("0.05"), Decimal("0.10"), Decimal(3)
ALL_PENNIES = frozenset({"IWM", "SPY", "QQQ"})  # a cent at any price; others of the penny program from $3 a nickel


class Contract(NamedTuple):
    """An option as its symbol tells it; the strike in dollars."""

    symbol: str
    underlying: str
    expiry: date
    right: str
    strike: Decimal

    @classmethod
    def of(cls, symbol: str) -> Contract | None:
        """None for what is no option's symbol."""
        match = SYMBOL.fullmatch(symbol)
        if match is None:
            return None
        root, day, right, strike = match.groups()
        try:
            expiry = date(2000 + int(day[:2]), int(day[2:4]), int(day[4:]))
        except ValueError:
            return None
        return cls(symbol, root, expiry, right, Decimal(strike) / 1000)

    def tick(self, price: Decimal) -> Decimal:
        """The step of prices around this one, as in a penny program's class."""
        return CENT if self.underlying in ALL_PENNIES or price < THREE else NICKEL

    def worth(self, spot: Decimal) -> Decimal:
        """What it pays at expiry, a share."""
        return max(Decimal(0), spot - self.strike if self.right == "C" else self.strike - spot)


class Quote(NamedTuple):
    """Two sides in dollars with their sizes; a side of size 0 is empty. `at`, Unix seconds, tells one quote from the next."""

    bid: Decimal
    ask: Decimal
    bid_size: int = 50
    ask_size: int = 50
    at: float = 0.0

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2


class Listed(NamedTuple):
    """A listed contract with last night's open interest; None where that is not known."""

    contract: Contract
    open_interest: int | None = None


class Quotes(Protocol):
    """A market to match against."""

    def quote(self, symbol: str) -> Quote | None:
        """The quote now; None if there is none, or no such contract."""

    def is_listed(self, symbol: str) -> bool:
        """Whether the contract may be traded."""

    def listed(self) -> Iterable[Listed]:
        """Every contract that may be traded."""

    def force(self, symbol: str, quote: Quote | None) -> None:
        """Quote a contract so from now on; None takes the quote away."""


class WrittenQuotes:
    """A market written by hand: it lists what was quoted in it."""

    def __init__(self, **quotes: Quote) -> None:
        self._quotes: dict[str, Quote | None] = dict(quotes)

    def quote(self, symbol: str) -> Quote | None:
        return self._quotes.get(symbol)

    def is_listed(self, symbol: str) -> bool:
        return symbol in self._quotes

    def listed(self) -> Iterable[Listed]:
        found = (Contract.of(symbol) for symbol in list(self._quotes))
        return [Listed(contract) for contract in found if contract is not None]

    def force(self, symbol: str, quote: Quote | None) -> None:
        self._quotes[symbol] = quote


class MarketQuotes:
    """The simulated market's chains. What is forced here is seen on the market's own REST and stream too."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._gone: set[str] = set()

    def quote(self, symbol: str) -> Quote | None:
        said = None if symbol in self._gone else self._market.quote(f"O:{symbol}")
        if said is None:
            return None
        return Quote(Decimal(str(said.bid)), Decimal(str(said.ask)), said.bid_size, said.ask_size, said.at)

    def is_listed(self, symbol: str) -> bool:
        return self._market.quote(f"O:{symbol}") is not None

    def listed(self) -> Iterable[Listed]:
        rows: list[dict[str, Any]] = []
        for expiry in self._market.expirations():
            rows += self._market.rows(expiry)
        found = ((Contract.of(row["details"]["ticker"].removeprefix("O:")), row["open_interest"]) for row in rows)
        return [Listed(contract, interest) for contract, interest in found if contract is not None]

    def force(self, symbol: str, quote: Quote | None) -> None:
        if quote is None:
            self._gone.add(symbol)
            return
        self._gone.discard(symbol)
        self._market.force_quote(f"O:{symbol}", float(quote.bid), float(quote.ask), quote.bid_size, quote.ask_size)
