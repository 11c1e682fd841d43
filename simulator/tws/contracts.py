"""What can be traded and what it is quoted at: instruments, quotes, the market that gives them, and packages of legs.

Rules: prices and strikes are whole mills, net prices of a package those of a BUY (+ is paid, - received). A side that is not
quoted is None. A market is asked with the time as an argument; `Book` is one that is written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple, Protocol

BAG_CON_ID = 28812380  # every package of every symbol has this one
PACKAGE_TICKS = {"SPX": 50}
DEFAULT_TICK = 10


@dataclass(frozen=True, slots=True)
class Instrument:
    """One index or option as the contract data has it. `strike` and `tick` are in mills; `expiry` is None for an index."""

    con_id: int
    symbol: str
    sec_type: str
    exchange: str = "SMART"
    expiry: date | None = None
    strike: int = 0
    right: str = ""
    multiplier: int = 1
    trading_class: str = ""
    local_symbol: str = ""
    tick: int = DEFAULT_TICK
    rules: str = "239"
    last_trade: str = ""
    under_con_id: int = 0
    trading_hours: str = ""

    @property
    def day(self) -> str:
        """The expiry as the protocol writes it: `20261120`."""
        return self.expiry.strftime("%Y%m%d") if self.expiry else ""

    @property
    def short(self) -> str:
        """`663C`, or the symbol of an index."""
        return f"{Decimal(self.strike) / 1000:f}{self.right}" if self.right else self.symbol


class Greeks(NamedTuple):
    """A model's values of one option: delta and gamma per dollar, vega a point, theta a day; `price` and `under` in dollars."""

    iv: float
    delta: float
    price: float
    gamma: float
    vega: float
    theta: float
    under: float


class Quote(NamedTuple):
    """Best prices in mills with sizes in contracts, the last price, yesterday's close; what there is not, is None."""

    bid: int | None = None
    ask: int | None = None
    bid_size: int = 0
    ask_size: int = 0
    last: int | None = None
    close: int | None = None
    greeks: Greeks | None = None


class Bar(NamedTuple):
    """One day of an index in mills."""

    day: date
    open: int
    high: int
    low: int
    close: int


class Market(Protocol):
    """Where the venue's quotes come from; `at` is Unix seconds."""

    @property
    def instruments(self) -> Mapping[int, Instrument]: ...

    def quote(self, con_id: int, at: float) -> Quote: ...

    def tradable(self, con_id: int, at: float) -> bool: ...

    def days(self, con_id: int, at: float) -> Sequence[Bar]: ...


class Book:
    """A market written by hand: what is set stands until it is set again."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._instruments = {instrument.con_id: instrument for instrument in instruments}
        self.quotes: dict[int, Quote] = {}
        self.bars: dict[int, list[Bar]] = {}
        self.closed = False

    @property
    def instruments(self) -> Mapping[int, Instrument]:
        return self._instruments

    def quote(self, con_id: int, at: float) -> Quote:
        return self.quotes.get(con_id, Quote())

    def tradable(self, con_id: int, at: float) -> bool:
        return not self.closed

    def days(self, con_id: int, at: float) -> Sequence[Bar]:
        return self.bars.get(con_id, [])


class Query(NamedTuple):
    """A contract as a client names it: twelve fields, most of them usually empty."""

    con_id: int
    symbol: str
    sec_type: str
    day: str
    strike: int
    right: str
    multiplier: str
    exchange: str
    primary: str
    currency: str
    local_symbol: str
    trading_class: str

    def fits(self, one: Instrument) -> bool:
        """Whether an instrument is meant; what is empty, and strike 0, leaves it open."""
        wanted: tuple[tuple[object, object], ...] = (
            (self.con_id, one.con_id),
            (self.symbol, one.symbol),
            (self.sec_type, one.sec_type),
            (self.strike, one.strike),
            (self.right[:1], one.right),
            (self.multiplier, str(one.multiplier)),
            (self.currency, "USD"),
            (self.local_symbol, one.local_symbol),
            (self.trading_class, one.trading_class),
        )
        return one.day.startswith(self.day) and all(not asked or asked == has for asked, has in wanted)


class Leg(NamedTuple):
    """One leg of a package: how many contracts a unit, and which way a BUY of the package trades them."""

    con_id: int
    ratio: int
    action: str
    exchange: str = "SMART"

    @property
    def sign(self) -> int:
        return 1 if self.action == "BUY" else -1


class Net(NamedTuple):
    """What a BUY of a package costs in mills: at the other side of every leg, in the middle, at our own; None: not to be had."""

    natural: int | None
    mid: int | None
    passive: int | None
    size: int


def net_of(legs: Sequence[Leg], quote: Callable[[int], Quote], sign: int = 1) -> Net:
    """The package's prices; `sign` -1 turns every leg. A leg to sell without a bid is sold at 0, one without an ask is not bought."""
    natural, passive, size = 0, 0, 1_000_000_000
    complete = True
    for leg in legs:
        said, way = quote(leg.con_id), leg.sign * sign
        bid, ask = said.bid or 0, said.ask
        if ask is None:
            complete = False
            continue
        natural += way * leg.ratio * (ask if way > 0 else bid)
        passive += way * leg.ratio * (bid if way > 0 else ask)
        shown = said.ask_size if way > 0 else said.bid_size
        if way > 0 or bid:
            size = min(size, shown // leg.ratio)
    if not complete or not legs:
        return Net(None, None, None, 0)
    return Net(natural, (natural + passive) // 2, passive, size)


def leg_prices(legs: Sequence[Leg], quote: Callable[[int], Quote], price: int, sign: int) -> list[int]:
    """What each leg trades at, in mills, so that a unit costs exactly `price`: from the far side, each improved in turn.

    What no leg's spread can take is put on the first leg of ratio 1, never below 0.
    """
    prices, rest = [], price
    for leg in legs:
        said = quote(leg.con_id)
        far = (said.ask or said.bid or 0) if leg.sign * sign > 0 else (said.bid or 0)
        prices.append(far)
        rest -= leg.sign * sign * leg.ratio * far
    for k, leg in enumerate(legs):
        said, way = quote(leg.con_id), leg.sign * sign
        near = (said.bid or 0) if way > 0 else (said.ask if said.ask is not None else prices[k])
        room = near - prices[k]  # negative for a buy, positive for a sale: both make the unit cheaper
        change = max(min(way * rest // leg.ratio, max(room, 0)), min(room, 0))
        prices[k] += change
        rest -= way * leg.ratio * change
    for k, leg in enumerate(legs):
        way = leg.sign * sign
        if rest and leg.ratio == 1 and prices[k] + way * rest >= 0:
            prices[k] += way * rest
            rest = 0
    return prices


def package_tick(symbol: str) -> int:
    """The step of a package's net price in mills."""
    return PACKAGE_TICKS.get(symbol, DEFAULT_TICK)


def worst_case(held: Iterable[tuple[Instrument, int]]) -> int:
    """The most, in mills, that options of one expiry can cost at their settlement: the margin of a defined risk.

    Unlimited risk is taken up to an index four times the highest strike.
    """
    options = [(one, units) for one, units in held if one.right and units]
    if not options:
        return 0
    strikes = sorted({one.strike for one, _ in options})

    def worth(index: int) -> int:
        total = 0
        for one, units in options:
            inside = index - one.strike if one.right == "C" else one.strike - index
            total += units * max(inside, 0) * one.multiplier
        return total

    return max(0, -min(worth(index) for index in (0, *strikes, 4 * strikes[-1])))
