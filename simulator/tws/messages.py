"""What the messages say: requests read into values, values written as the fields of answers, at server version 178.

Rules: nothing here knows of a connection, a clock or a fault. An answer is a tuple of fields, its number first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from simulator.tws.contracts import BAG_CON_ID, Bar, Greeks, Instrument, Leg, Query
from simulator.tws.wire import UNSET, UNSET_WHOLE, Fields, dollars
from utils import new_york

Answer = tuple[object, ...]

REQUESTS = {
    1: "data", 2: "data-end", 3: "order", 4: "cancel", 5: "open-orders", 6: "account", 7: "executions", 8: "ids",
    9: "details", 15: "auto-bind", 16: "all-open-orders", 17: "accounts", 20: "history", 25: "history-end", 49: "time",
    58: "global-cancel", 59: "data-type", 61: "positions", 62: "summary", 63: "summary-end", 64: "positions-end",
    71: "start", 76: "account-multi", 77: "account-multi-end", 78: "chain", 91: "market-rule", 99: "completed-orders",
}  # fmt: skip
RULES = {26: ((0, 10),), 109: ((0, 50), (3000, 100)), 239: ((0, 10),)}  # number → (from this price on, step), mills


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order as a client sends it; `limit` in dollars as it stands, `prices_of_legs` what it never should have."""

    order_id: int
    query: Query
    action: str
    units: Decimal
    kind: str
    limit: Decimal | None
    tif: str
    account: str
    ref: str
    what_if: bool
    outside_hours: bool
    legs: tuple[Leg, ...] = ()
    prices_of_legs: int = 0


@dataclass(slots=True, eq=False)
class Order:
    """An order at the venue. Prices in mills, net for a package; `limits` is every price it ever had, with its time."""

    order_id: int
    client_id: int
    perm_id: int
    query: Query
    symbol: str
    action: str
    units: int
    kind: str
    limit: int | None
    tif: str
    account: str
    ref: str
    legs: tuple[Leg, ...]
    placed_at: float
    status: str = "PreSubmitted"
    filled: int = 0
    paid: int = 0  # mills a unit, summed over the units filled
    held: bool = False  # not to be matched until it is released
    why: str = ""
    ended_at: float | None = None
    first_seen: int = 0  # in the record's own count of changes
    last_seen: int | None = None
    limits: list[tuple[float, int | None]] = field(default_factory=list)

    @property
    def sign(self) -> int:
        return 1 if self.action == "BUY" else -1

    @property
    def live(self) -> bool:
        return self.status not in ("Filled", "Cancelled", "Inactive")

    @property
    def remaining(self) -> int:
        return self.units - self.filled

    @property
    def average(self) -> str:
        return dollars(self.paid // self.filled) if self.filled else "0.0"

    @property
    def package(self) -> bool:
        return self.query.sec_type == "BAG"

    @property
    def con_id(self) -> int:
        return BAG_CON_ID if self.package else self.query.con_id

    @property
    def traded(self) -> tuple[Leg, ...]:
        """The legs; for a single contract that one, bought once."""
        return self.legs or (Leg(self.query.con_id, 1, "BUY"),)


@dataclass(slots=True, eq=False)
class Execution:
    """One line of the execution report. `visible` False: the venue has it and tells nobody yet."""

    root: str
    revision: int
    order: Order
    instrument: Instrument | None  # None: the package itself
    action: str
    units: int
    price: int
    cumulative: int
    at: float
    fee: int
    visible: bool = True
    shown_units: str = ""  # how the number of units is written, where that is odd

    @property
    def exec_id(self) -> str:
        return f"{self.root}.{self.revision:02d}"


# --- requests ----------------------------------------------------------------------------------------------------------


def mills_of(value: Decimal | None) -> int | None:
    """Whole mills; None if nothing was given or it is finer than a mill."""
    if value is None:
        return None
    scaled = value * 1000
    return int(scaled) if scaled == scaled.to_integral_value() else None


def query_of(fields: Fields) -> Query:
    con_id, symbol, sec_type, day = fields.whole(), *fields.texts(3)
    strike = mills_of(fields.decimal()) or 0
    return Query(con_id, symbol, sec_type, day, strike, *fields.texts(7))


def legs_of(fields: Fields, *, further: int) -> tuple[Leg, ...]:
    """The legs of a package; each has `further` fields that say nothing here."""
    legs = []
    for _ in range(fields.whole()):
        legs.append(Leg(fields.whole(), fields.whole(), fields.text(), fields.text()))
        fields.texts(further)
    return tuple(legs)


def order_of(fields: Fields) -> OrderRequest:
    """An order's fields, as far as `whatIf`; ValueError where they are too few or no numbers."""
    order_id, query = fields.whole(), query_of(fields)
    fields.texts(2)
    action, units, kind, limit = fields.text(), fields.decimal(), fields.text(), fields.decimal()
    _stop, tif, _oca, account, _open, _origin, ref = fields.texts(7)
    fields.texts(6)  # transmit to trigger method
    outside, _hidden = fields.flag(), fields.text()
    legs: tuple[Leg, ...] = ()
    prices_of_legs = 0
    if query.sec_type == "BAG":
        legs = legs_of(fields, further=4)
        prices_of_legs = sum(price not in ("", UNSET) for price in fields.texts(fields.whole()))
        fields.texts(2 * fields.whole())
    what_if = _skip_to_what_if(fields)
    return OrderRequest(
        order_id, query, action, units or Decimal(0), kind, limit, tif, account, ref, what_if, outside, legs, prices_of_legs
    )


def _skip_to_what_if(fields: Fields) -> bool:
    """Read over what no order here uses, with the few groups that are only there sometimes."""
    fields.texts(7)  # deprecated shares allocation to percentage
    fields.texts(22)  # model code to volatility type
    delta_neutral, _price = fields.texts(2)
    if delta_neutral:
        fields.texts(8)
    fields.texts(6)  # continuous update to scale sizes
    increment = fields.decimal()
    if increment and increment > 0:
        fields.texts(7)
    fields.texts(3)
    if fields.text():  # a hedge
        fields.text()
    fields.texts(4)
    if fields.flag():  # a delta neutral contract
        fields.texts(3)
    if fields.text():  # an algorithm
        fields.texts(2 * fields.whole())
    fields.text()
    return fields.flag()


# --- answers -----------------------------------------------------------------------------------------------------------


def error(request: int, code: int, words: str) -> Answer:
    return (4, 2, request, code, words, "")


def time_text(at: float) -> str:
    """`20261120 10:29:00 US/Eastern`."""
    return f"{new_york(at):%Y%m%d %H:%M:%S} US/Eastern"


def details(request: int, one: Instrument, exchange: str, real_expiry: date | None) -> Answer:
    ends = f"{one.day} {one.last_trade} US/Central" if one.last_trade else one.day
    real = real_expiry.strftime("%Y%m%d") if real_expiry else ""
    long_name = {"XSP": "S&P 500 Mini Index", "SPX": "S&P 500 Stock Index", "VIX": "CBOE Volatility Index"}
    return (
        10, request, one.symbol, one.sec_type, ends, dollars(one.strike), one.right, exchange or one.exchange, "USD",
        one.local_symbol, one.trading_class, one.trading_class, one.con_id, dollars(one.tick), one.multiplier,
        "ACTIVETIM,ADJUST,ALERT,ALGO,DAY,GTC,LMT,MKT,WHATIF", "SMART,CBOE", 1, one.under_con_id,
        long_name.get(one.symbol, one.symbol), "", one.day[:6], "", "", "", "US/Central", one.trading_hours,
        one.trading_hours, "", 0, 0, 1, one.symbol, "IND", one.rules, real, "", 1, 1, 1,
    )  # fmt: skip


def chain_row(request: int, exchange: str, under: int, name: str, days: Sequence[str], strikes: Sequence[int]) -> Answer:
    written = [dollars(strike) for strike in strikes]
    return (75, request, exchange, under, name, 100, len(days), *days, len(strikes), *written)


def market_rule(number: int) -> Answer:
    steps = RULES.get(number, RULES[239])
    return (93, number, len(steps), *(dollars(value) for step in steps for value in step))


def price_tick(request: int, kind: int, price: int | None, size: int) -> Answer:
    """A price with its size; a side that is not there is -1 of size 0."""
    return (1, 6, request, kind, "-1.0" if price is None else dollars(price), 0 if price is None else size, 0)


def greeks_tick(request: int, kind: int, said: Greeks) -> Answer:
    values = (said.iv, said.delta, said.price, 0.0, said.gamma, said.vega, said.theta, said.under)
    return (21, request, kind, 0, *(f"{value:.6f}" for value in values))


def daily_bars(request: int, bars: Sequence[Bar]) -> Answer:
    first, last = (bars[0].day, bars[-1].day) if bars else (date.min, date.min)
    rows: list[object] = []
    for bar in bars:
        rows += [f"{bar.day:%Y%m%d}", *(dollars(price) for price in bar[1:]), 0, 0, 0]
    return (17, request, f"{first:%Y%m%d} 00:00:00", f"{last:%Y%m%d} 23:59:59", len(bars), *rows)


def position(account: str, one: Instrument, units: object, cost: int) -> Answer:
    """`cost` in mills a contract, multiplier and fees included."""
    return (
        61, 3, account, one.con_id, one.symbol, one.sec_type, one.day, dollars(one.strike), one.right, one.multiplier, "",
        "USD", one.local_symbol, one.trading_class, units, dollars(cost),
    )  # fmt: skip


def status(order: Order, as_status: str = "") -> Answer:
    last = dollars(order.limit or 0) if order.filled else "0.0"
    return (
        3, order.order_id, as_status or order.status, order.filled, order.remaining, order.average, order.perm_id, 0, last,
        order.client_id, "", 0,
    )  # fmt: skip


def execution(request: int, one: Execution) -> Answer:
    order, what = one.order, one.instrument
    if what is None:
        named: Answer = (BAG_CON_ID, order.symbol, "BAG", "", "0.0", "", "", "CBOE", "USD", order.symbol, "COMB")
    else:
        named = (what.con_id, what.symbol, what.sec_type, what.day, dollars(what.strike), what.right, what.multiplier,
                 "CBOE", "USD", what.local_symbol, what.trading_class)  # fmt: skip
    units = one.shown_units or one.units
    return (
        11, request, order.order_id, *named, one.exec_id, time_text(one.at), order.account, "CBOE",
        "BOT" if one.action == "BUY" else "SLD", units, dollars(one.price), order.perm_id, order.client_id, 0,
        one.cumulative, dollars(one.price), order.ref, "", "", "", 1, 0,
    )  # fmt: skip


def commission(one: Execution) -> Answer:
    return (59, 1, one.exec_id, dollars(one.fee), "USD", UNSET, UNSET, "")


def _order_head(order: Order, limit: int | None, *, completed: bool) -> list[object]:
    """The fields that open and completed orders begin with."""
    query = order.query
    named = [order.symbol, "COMB"] if order.package else [query.local_symbol, query.trading_class]
    price = UNSET if limit is None else dollars(limit)
    ids = [order.perm_id] if completed else [order.client_id, order.perm_id]
    return [
        order.con_id, order.symbol, query.sec_type, query.day, dollars(query.strike), query.right or "?", query.multiplier,
        query.exchange or "SMART", "USD", *named, order.action, order.units, order.kind, price, UNSET, order.tif, "",
        order.account, "", 0, order.ref, *ids, 0, 0, 0, "",
    ]  # fmt: skip


def _leg_fields(order: Order) -> list[object]:
    said = [value for leg in order.legs for value in (*leg, 0, 0, "", -1)]
    return ["", len(order.legs), *said, 0, 0]


NO_MARGIN: Answer = (*(UNSET for _ in range(9)), "", "", "", "", "")


def open_order(order: Order, *, margin: Answer = NO_MARGIN, what_if: bool = False, limit: int | None = None) -> Answer:
    """An order as it stands. `margin` is the answer to a what-if; `limit` is shown in place of the order's own, if given."""
    shown = order.limit if limit is None else limit
    return (
        5, order.order_id, *_order_head(order, shown, completed=False), f"{order.perm_id}.0/{order.account}/100",
        "", "", "", "", "", "", "", "", 0, "", -1, 0, "", "", "", "", "", UNSET_WHOLE, 0, 0, 0, "", 3, 0, 0, "", 0, 0, "",
        0, "None", "", 0, "", "", "", "?", 0, 0, "", 0, 0, "", "", "", "", *_leg_fields(order), UNSET_WHOLE, UNSET_WHOLE,
        "", "", 0, "", "IB", 0, 0, "", 0, what_if, "PreSubmitted" if what_if else order.status, *margin, 0, 0, 0,
        "None", UNSET, UNSET, UNSET, UNSET, UNSET, UNSET, 0, "", "", "", 0, 1, 0, 0, 0, "", "", 0, "", "", "", "", "",
    )  # fmt: skip


def completed_order(order: Order) -> Answer:
    words = {"Filled": f"Filled Size: {order.filled}", "Cancelled": "Cancelled by Trader"}
    ended = "" if order.ended_at is None else time_text(order.ended_at)
    return (
        101, *_order_head(order, order.limit, completed=True), "", "", "", "", "", "", "", "", 0, "", -1, "", "", "", "", "",
        UNSET_WHOLE, 0, 0, "", 3, 0, "", 0, "None", "", 0, 0, 0, "", 0, 0, "", "", *_leg_fields(order), UNSET_WHOLE,
        UNSET_WHOLE, "", "", "", "IB", 0, 0, "", 0, order.status, 0, 0, 0, UNSET, UNSET, "", 0, 0, "", order.filled, 0, 0,
        "", 0, 0, 0, ended, words.get(order.status, order.why), "", "", "", "", "",
    )  # fmt: skip


def margin_answer(before: int, change: int, equity: int, fee: int) -> Answer:
    """What a what-if says of margin, equity and commission; mills."""
    after = before + change
    numbers = (before, before, equity, change, change, -fee, after, after, equity - fee)
    return (*(dollars(value) for value in numbers), dollars(fee), "", "", "USD", "")
