"""What an order, a fill and a position are at the venue, how a request for an order is read, and how each is shown.

Rules: money is Decimal dollars a share, quantities are whole contracts (of an mleg order: units). Times are whole microseconds of
Unix time, each later than the one before it, so that lists can be paged by them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from simulator.alpaca.quotes import Contract
from simulator.http import Answer

TERMINAL = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})
INTENTS = ("buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close")
KINDS = ("market", "limit", "stop", "stop_limit")
LONGEST_REF = 128


class Refused(Exception):
    """A request that gets an error, with the venue's own words."""

    def __init__(self, status: int, code: int, message: str, **more: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"code": code, "message": message, **more})


def invalid(message: str) -> Refused:
    """The 422 of a request that makes no sense."""
    return Refused(422, 42210000, message)


def forbidden(message: str, **more: str) -> Refused:
    """The 403 of a request that is understood and not allowed."""
    return Refused(403, 40310000, message, **more)


class Moment(NamedTuple):
    """One step of an order's life: when, in what state, how much had been filled."""

    at_us: int
    status: str
    filled: int


@dataclass(slots=True)
class Leg:
    """One contract of an order; a simple order has one. `paid` is the sum of price × contracts."""

    id: str
    ref: str
    contract: Contract
    side: str
    intent: str
    ratio: int = 1
    filled: int = 0
    paid: Decimal = Decimal(0)

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def closes(self) -> bool:
        return self.intent.endswith("_close")


@dataclass(slots=True)
class Order:
    """An order and its whole life. `limit` of an mleg order is net: positive is paid, negative received."""

    id: str
    ref: str
    legs: list[Leg]
    qty: int
    kind: str
    tif: str
    limit: Decimal | None
    stop: Decimal | None
    is_mleg: bool
    owner: str  # client, venue, foreign
    submitted_us: int
    status: str = "pending_new"
    filled: int = 0
    paid: Decimal = Decimal(0)
    stamps: dict[str, int] = field(default_factory=dict)
    replaces: str | None = None
    replaced_by: str | None = None
    triggered: bool = False
    fate: str = ""  # what a fault has in store for it: fill, one, stuck, refuse
    life: list[Moment] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.status not in TERMINAL

    @property
    def remaining(self) -> int:
        return self.qty - self.filled

    @property
    def average(self) -> Decimal | None:
        return None if not self.filled else self.paid / self.filled

    def words(self) -> str:
        """`buy 2 IWM261120C00240000 @ 1.43`."""
        what = " ".join(f"{leg.side} {leg.ratio} {leg.contract.symbol}" for leg in self.legs)
        if not self.is_mleg:
            what = f"{self.legs[0].side} {self.qty} {self.legs[0].contract.symbol}"
        price = self.kind if self.limit is None else f"@ {self.limit}"
        return f"{self.qty} × [{what}] {price}" if self.is_mleg else f"{what} {price}"


@dataclass(slots=True)
class Position:
    """Contracts held, negative for short, and what they cost a share on average."""

    contract: Contract
    qty: int
    average: Decimal


@dataclass(slots=True)
class Fill:
    """One execution of one leg. `net` and `units` are the order's."""

    execution_id: str
    at_us: int
    order: Order
    leg: Leg
    qty: int
    price: Decimal
    cumulative: int
    activity_id: str = ""

    def __post_init__(self) -> None:
        moment = datetime.fromtimestamp(self.at_us // 1_000_000, UTC)
        self.activity_id = f"{moment:%Y%m%d%H%M%S}{self.at_us // 1000 % 1000:03d}::{self.execution_id}"


# --- reading -----------------------------------------------------------------------------------------------------------


class Draft(NamedTuple):
    """A request for an order that makes sense in itself."""

    ref: str | None
    legs: tuple[tuple[Contract, str | None, str | None, int], ...]  # contract, side, intent, ratio
    qty: int
    kind: str
    tif: str
    limit: Decimal | None
    stop: Decimal | None
    is_mleg: bool


def draft(body: Any) -> Draft:
    """Refused if it makes no sense, whatever is held or quoted."""
    if not isinstance(body, dict):
        raise Refused(400, 40010000, "request body format is invalid")
    kind, tif, group = str(body.get("type") or ""), str(body.get("time_in_force") or ""), body.get("order_class") or "simple"
    is_mleg = group == "mleg"
    if group not in ("simple", "mleg"):
        raise invalid(f"order_class {group} is not supported for options trading")
    if kind not in (KINDS[:2] if is_mleg else KINDS):
        raise invalid(f"invalid order type for options trading: {kind}")
    if tif not in ("day", "gtc"):
        raise invalid("order_time_in_force provided not supported for options trading")
    ref = body.get("client_order_id")
    if ref is not None and (not isinstance(ref, str) or len(ref) > LONGEST_REF):
        raise Refused(422, 40010001, f"client_order_id must be no more than {LONGEST_REF} characters")
    limit, stop = _price(body, "limit_price", "limit" in kind), _price(body, "stop_price", "stop" in kind)
    if limit is not None and limit <= 0 and not is_mleg:
        raise invalid("limit price must be > 0")
    return Draft(ref or None, _legs(body, is_mleg), _whole(body.get("qty"), "qty"), kind, tif, limit, stop, is_mleg)


def _legs(body: dict[str, Any], is_mleg: bool) -> tuple[tuple[Contract, str | None, str | None, int], ...]:
    said = body.get("legs") if is_mleg else [body]
    if not isinstance(said, list) or (is_mleg and not 2 <= len(said) <= 4):
        raise invalid("mleg orders must have 2 to 4 legs")
    legs = []
    for leg in said:
        symbol, side, intent = str(leg.get("symbol") or ""), leg.get("side") or None, leg.get("position_intent") or None
        contract = Contract.of(symbol)
        if contract is None:
            raise invalid(f'asset "{symbol}" not found')
        if intent is not None and intent not in INTENTS:
            raise invalid(f"invalid position_intent: {intent}")
        if side is None and intent is not None and is_mleg:
            side = intent.partition("_")[0]
        if side not in ("buy", "sell"):
            raise invalid("side must be one of buy, sell")
        if intent is not None and not intent.startswith(side):
            raise invalid(f"invalid position_intent {intent} for side {side}")
        legs.append((contract, side, intent, _whole(leg.get("ratio_qty"), "ratio_qty") if is_mleg else 1))
    if len({leg[0].symbol for leg in legs}) < len(legs):
        raise invalid("mleg orders must have unique symbols")
    return tuple(legs)


def _price(body: dict[str, Any], name: str, needed: bool) -> Decimal | None:
    value = body.get(name)
    if value is None and needed:
        raise invalid(f"{name} is required for this order type")
    if value is None:
        return None
    if not needed:
        raise invalid(f"{name} is not allowed for this order type")
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        raise invalid(f"{name} must be a number") from None
    if not price.is_finite():
        raise invalid(f"{name} must be a number")
    return price


def _whole(value: Any, name: str) -> int:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise invalid(f"{name} is required") from None
    if not number.is_finite() or number <= 0 or number != int(number):
        raise invalid(f"{name} must be a whole number > 0 for options trading")
    return int(number)


def on_tick(leg: Contract, price: Decimal) -> None:
    """Refused if a price lies between two ticks."""
    if price % leg.tick(price):
        raise invalid(f"invalid limit_price {price}. sub-penny increment does not fulfill minimum pricing criteria")


# --- showing -----------------------------------------------------------------------------------------------------------


def stamp(at_us: int | None) -> str | None:
    """`2026-11-20T15:30:00.000001Z`."""
    if at_us is None:
        return None
    seconds, rest = divmod(at_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


def money(value: Decimal | None) -> str | None:
    """A Decimal as the venue writes it: plain, without needless zeros."""
    if value is None:
        return None
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def order_body(order: Order, *, status: str | None = None, intent: bool = True, ahead_us: int = 0) -> dict[str, Any]:
    """An order as REST and stream show it; the legs of an mleg order nested."""

    def shown(at_us: int | None) -> str | None:
        return None if at_us is None else stamp(at_us + ahead_us)

    whole = {
        "created_at": shown(order.submitted_us), "submitted_at": shown(order.submitted_us),
        "updated_at": shown(order.stamps.get("updated", order.submitted_us)),
        **{f"{name}_at": shown(order.stamps.get(name)) for name in ("filled", "expired", "canceled", "failed", "replaced")},
        "replaced_by": order.replaced_by, "replaces": order.replaces, "notional": None, "order_class": "mleg" if order.is_mleg else "",
        "time_in_force": order.tif, "status": status or order.status, "extended_hours": False, "trail_percent": None,
        "trail_price": None, "hwm": None, "subtag": None, "source": None, "expires_at": None,
    }  # fmt: skip
    legs = [
        {
            **whole, "id": leg.id, "client_order_id": leg.ref, "asset_id": asset_id(leg.contract.symbol), "asset_class": "us_option",
            "symbol": leg.contract.symbol, "qty": str(order.qty * leg.ratio), "filled_qty": str(leg.filled),
            "filled_avg_price": money(leg.paid / leg.filled) if leg.filled else None, "side": leg.side, "limit_price": None,
            "stop_price": None, "position_intent": leg.intent if intent else "", "legs": None, "ratio_qty": str(leg.ratio),
            "order_type": "", "type": "",
        }
        for leg in order.legs
    ]  # fmt: skip
    own = {
        "id": order.id, "client_order_id": order.ref, "qty": str(order.qty), "filled_qty": str(order.filled),
        "filled_avg_price": money(order.average), "order_type": order.kind, "type": order.kind,
        "limit_price": money(order.limit), "stop_price": money(order.stop),
    }  # fmt: skip
    if order.is_mleg:
        return {
            **whole, **own, "asset_id": "", "symbol": "", "asset_class": "", "side": "", "position_intent": "", "ratio_qty": None,
            "legs": legs,
        }  # fmt: skip
    return {**legs[0], **own, "ratio_qty": None}


def asset_id(symbol: str) -> str:
    """A constant id of a symbol, in the form of a UUID."""
    from uuid import NAMESPACE_URL, uuid5

    return str(uuid5(NAMESPACE_URL, f"option:{symbol}"))


def position_body(position: Position, held: int, price: Decimal | None) -> dict[str, Any]:
    """A position; `held` contracts are taken by working orders, `price` is the middle of the quote."""
    cost = position.average * position.qty * 100
    worth = None if price is None else price * position.qty * 100
    profit = None if worth is None else worth - cost
    part = None if profit is None or not cost else profit / abs(cost)
    return {
        "asset_id": asset_id(position.contract.symbol), "symbol": position.contract.symbol, "exchange": "",
        "asset_class": "us_option", "asset_marginable": False, "qty": str(position.qty),
        "qty_available": str((abs(position.qty) - held) * (1 if position.qty > 0 else -1)),
        "avg_entry_price": money(position.average), "side": "long" if position.qty > 0 else "short",
        "market_value": money(worth), "cost_basis": money(cost), "unrealized_pl": money(profit), "unrealized_plpc": money(part),
        "unrealized_intraday_pl": money(profit), "unrealized_intraday_plpc": money(part), "current_price": money(price),
        "lastday_price": money(position.average), "change_today": money(part),
    }  # fmt: skip


def activity_body(fill: Fill) -> dict[str, Any]:
    """A FILL among the account's activities."""
    order, leg = fill.order, fill.leg
    whole = order.qty * leg.ratio
    return {
        "id": fill.activity_id, "activity_type": "FILL", "transaction_time": stamp(fill.at_us),
        "type": "fill" if fill.cumulative == whole else "partial_fill", "price": money(fill.price), "qty": str(fill.qty),
        "side": leg.side, "symbol": leg.contract.symbol, "leaves_qty": str(whole - fill.cumulative),
        "order_id": leg.id if order.is_mleg else order.id, "cum_qty": str(fill.cumulative),
        "order_status": "filled" if fill.cumulative == whole else "partially_filled",
    }  # fmt: skip
