"""Alpaca's answers as values: orders, fills, positions, the account, the clock, updates of the stream. Pure.

Rules: money and quantities are Decimal, read from the text and never through a float; NaN and infinity are refused. What is needed
must be there, else the answer is unreadable as a whole; what is unknown besides is ignored, and a status or event nobody has heard of
is kept as its text. A net price is positive where it is paid and negative where it is received. Times are Unix seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

ENDED: Final = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})
MUST_BE_UNIQUE: Final = 40010001
MAX_REF: Final = 128
Moment = Annotated[datetime, Meta(tz=True)]


class Unreadable(ValueError):
    """An answer that is not what it should be; its words are short and hold nothing of the body."""


class Leg(Struct, frozen=True):
    """One contract of an order that is to be sent. `intent`: buy_to_open, sell_to_open, buy_to_close, sell_to_close."""

    symbol: str
    intent: str
    ratio: int = 1

    @property
    def side(self) -> str:
        return self.intent.partition("_")[0]


class NewOrder(Struct, frozen=True):
    """A day order that is to be sent under our own `ref`; `limit` None is a market order. With one leg a simple order, with more an
    mleg order with a net limit.
    """

    ref: str
    legs: tuple[Leg, ...]
    qty: int
    limit: Decimal | None


class Order(Struct, frozen=True):
    """An order as the broker shows it. Of an mleg order symbol, side and intent are empty, and `legs` has them.

    `submitted` is the time as Alpaca wrote it, exact to the digit, for asking what came after it.
    """

    id: str
    ref: str
    status: str
    symbol: str
    side: str
    intent: str
    qty: Decimal | None
    filled: Decimal
    average: Decimal | None
    kind: str
    limit: Decimal | None
    submitted: str
    replaces: str | None = None
    replaced_by: str | None = None
    legs: tuple[Order, ...] = ()

    @property
    def has_ended(self) -> bool:
        """Whether the broker calls it ended; a status that is not known does not."""
        return self.status in ENDED

    def is_of(self, order: NewOrder) -> bool:
        """Whether this is the order that we meant to send: same contracts, sides, quantity and limit. An empty intent is no
        difference.
        """
        theirs = self.legs if len(order.legs) > 1 else (self,)
        shown = sorted((leg.symbol, leg.side or leg.intent.partition("_")[0]) for leg in theirs)
        meant = sorted((leg.symbol, leg.side) for leg in order.legs)
        same_intents = all(
            leg.intent in ("", *(ours.intent for ours in order.legs if ours.symbol == leg.symbol)) for leg in theirs
        )
        return (
            self.ref == order.ref
            and shown == meant
            and same_intents
            and self.qty == order.qty
            and self.limit == order.limit
            and self.kind == ("market" if order.limit is None else "limit")
        )


class Fill(Struct, frozen=True):
    """One execution. `id` is its place among the activities and stays, `execution_id` the part that the stream names too."""

    id: str
    order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    at: float

    @property
    def execution_id(self) -> str:
        return self.id.rpartition("::")[2]


class Position(Struct, frozen=True):
    """What is held, negative for short. `available`: what no working order keeps."""

    symbol: str
    asset_class: str
    qty: Decimal
    available: Decimal
    average: Decimal


class Account(Struct, frozen=True):
    """Who we are there, what may be spent, and what forbids it. `blocks` names the blocks that are on."""

    number: str
    status: str
    level: int
    cash: Decimal
    equity: Decimal
    options_buying_power: Decimal
    blocks: tuple[str, ...]


class MarketClock(Struct, frozen=True):
    """The broker's own time and whether its market is open."""

    at: float
    is_open: bool
    next_open: float
    next_close: float


class Update(Struct, frozen=True):
    """Something happened to an order, says the stream. It only hastens a question: nothing is booked from it, nothing ends by it."""

    event: str
    ref: str
    order_id: str
    status: str
    at: str
    execution_id: str = ""


# --- what the wire holds -----------------------------------------------------------------------------------------------


class _Order(Struct):
    id: str
    status: str
    client_order_id: str
    submitted_at: str
    filled_qty: Decimal
    symbol: str | None = None
    side: str | None = None
    position_intent: str | None = None
    qty: Decimal | None = None
    filled_avg_price: Decimal | None = None
    type: str | None = None
    limit_price: Decimal | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    legs: list[_Order] | None = None


class _Activity(Struct):
    id: str
    activity_type: str
    order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    transaction_time: Moment


class _Position(Struct):
    symbol: str
    asset_class: str
    qty: Decimal
    side: str
    avg_entry_price: Decimal
    qty_available: Decimal


class _Account(Struct):
    account_number: str
    status: str
    options_trading_level: int
    cash: Decimal
    equity: Decimal
    options_buying_power: Decimal
    trading_blocked: bool
    account_blocked: bool
    trade_suspended_by_user: bool


class _Clock(Struct):
    timestamp: Moment
    is_open: bool
    next_open: Moment
    next_close: Moment


class _Error(Struct):
    message: str
    code: int | None = None


class _UpdatedOrder(Struct):
    id: str = ""
    client_order_id: str = ""
    status: str = ""


class _Update(Struct):
    event: str
    order: _UpdatedOrder
    timestamp: str = ""
    execution_id: str | None = None


T = TypeVar("T")
BLOCKS: Final = ("trading_blocked", "account_blocked", "trade_suspended_by_user")


def _read(body: bytes, shape: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        reason = f"{what}: {fault}" if isinstance(fault, msgspec.ValidationError) else f"{what}: no JSON"
    raise Unreadable(reason)


def _finite(value: Decimal, what: str) -> Decimal:
    if not value.is_finite():
        raise Unreadable(f"{what} is no number")
    return value


def _perhaps(value: Decimal | None, what: str) -> Decimal | None:
    return None if value is None else _finite(value, what)


def read_order(body: bytes) -> Order:
    """One order. Unreadable if it is none."""
    return _order(_read(body, _Order, "an order"))


def read_orders(body: bytes) -> list[Order]:
    """A page of orders. Unreadable if one of them is none."""
    return [_order(said) for said in _read(body, list[_Order], "orders")]


def _order(said: _Order) -> Order:
    return Order(
        id=said.id,
        ref=said.client_order_id,
        status=said.status,
        symbol=said.symbol or "",
        side=said.side or "",
        intent=said.position_intent or "",
        qty=_perhaps(said.qty, "a quantity"),
        filled=_finite(said.filled_qty, "a filled quantity"),
        average=_perhaps(said.filled_avg_price, "an average price"),
        kind=said.type or "",
        limit=_perhaps(said.limit_price, "a limit"),
        submitted=said.submitted_at,
        replaces=said.replaces,
        replaced_by=said.replaced_by,
        legs=tuple(_order(leg) for leg in said.legs or ()),
    )


def read_fills(body: bytes) -> list[Fill]:
    """A page of FILL activities; other activities are passed over."""
    return [
        Fill(
            id=said.id,
            order_id=said.order_id,
            symbol=said.symbol,
            side=said.side,
            qty=_finite(said.qty, "a quantity"),
            price=_finite(said.price, "a price"),
            at=said.transaction_time.timestamp(),
        )
        for said in _read(body, list[_Activity], "activities")
        if said.activity_type == "FILL"
    ]


def read_positions(body: bytes) -> list[Position]:
    """All positions. A short one is negative, whichever way its quantity is signed."""
    found = []
    for said in _read(body, list[_Position], "positions"):
        if said.side not in ("long", "short"):
            raise Unreadable(f"a position's side is {said.side[:20]!r}")
        sign = 1 if said.side == "long" else -1
        found.append(
            Position(
                symbol=said.symbol,
                asset_class=said.asset_class,
                qty=sign * abs(_finite(said.qty, "a quantity")),
                available=sign * abs(_finite(said.qty_available, "an available quantity")),
                average=_finite(said.avg_entry_price, "an entry price"),
            )
        )
    return found


def read_account(body: bytes) -> Account:
    """The account. A block that is not mentioned makes it unreadable, for none is assumed away."""
    said = _read(body, _Account, "the account")
    return Account(
        number=said.account_number,
        status=said.status,
        level=said.options_trading_level,
        cash=_finite(said.cash, "cash"),
        equity=_finite(said.equity, "equity"),
        options_buying_power=_finite(said.options_buying_power, "buying power"),
        blocks=tuple(name for name in BLOCKS if getattr(said, name)),
    )


def read_clock(body: bytes) -> MarketClock:
    said = _read(body, _Clock, "the clock")
    return MarketClock(said.timestamp.timestamp(), said.is_open, said.next_open.timestamp(), said.next_close.timestamp())


def read_error(body: bytes) -> tuple[int | None, str] | None:
    """Code, where there is one, and message of a refusal; None where the body is no such thing."""
    try:
        said = _read(body, _Error, "an error")
    except Unreadable:
        return None
    return said.code, said.message


def read_update(payload: Any) -> Update:
    """What a frame of trade updates holds under `data`. Every field is text and most may be missing."""
    try:
        said = msgspec.convert(payload, _Update)
    except msgspec.ValidationError as fault:
        reason = f"an update: {fault}"
    else:
        order = said.order
        return Update(said.event, order.client_order_id, order.id, order.status, said.timestamp, said.execution_id or "")
    raise Unreadable(reason)


def write_order(order: NewOrder) -> bytes:
    """The body that places an order; prices and quantities are text. ValueError for one that may not be sent."""
    if not 0 < len(order.ref) <= MAX_REF or order.qty < 1 or not order.legs:
        raise ValueError("an order needs a ref of at most 128 characters, a quantity of at least 1 and a leg")
    body: dict[str, Any] = {
        "client_order_id": order.ref,
        "qty": str(order.qty),
        "time_in_force": "day",
        "type": "market" if order.limit is None else "limit",
    }
    if order.limit is not None:
        body["limit_price"] = f"{order.limit:f}"
    if len(order.legs) == 1:
        leg = order.legs[0]
        body |= {"symbol": leg.symbol, "side": leg.side, "position_intent": leg.intent}
    else:
        body["order_class"] = "mleg"
        body["legs"] = [
            {"symbol": leg.symbol, "side": leg.side, "position_intent": leg.intent, "ratio_qty": str(leg.ratio)}
            for leg in order.legs
        ]
    return msgspec.json.encode(body)


def iso_time(at: float) -> str:
    """Unix seconds as Alpaca reads a time."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def just_before(submitted: str) -> str:
    """A microsecond before a time, so that asking for what came after includes whatever has the same stamp. Unreadable if none."""
    try:
        moment = msgspec.convert(submitted, datetime)
    except msgspec.ValidationError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Unreadable("an order's time is none")
    return (moment.astimezone(UTC) - timedelta(microseconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
