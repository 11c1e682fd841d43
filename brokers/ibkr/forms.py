"""TWS's answers as the house's values: orders, executions, positions, margins. Pure; what is odd is a fault in words, never a number.

An execution's id has its revision behind the last point: of one root the highest counts. A package's own execution says only how many
units were filled; the legs' executions have the prices. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import isfinite

from ib_async import Fill as IbFill
from ib_async import LimitOrder, Position, Trade
from msgspec import Struct

from brokers.ibkr.contracts import mills, name_of, whole
from events.market import Mills
from events.orders import Fill, Holding, Leg, Order, OrderState, OrderView, Side
from utils import to_mills

UNSET = 1e300
STATES: dict[str, OrderState] = {
    "ApiPending": "working",
    "PendingSubmit": "working",
    "PreSubmitted": "working",
    "Submitted": "working",
    "ValidationError": "working",
    "PendingCancel": "cancelling",
    "Filled": "filled",
    "Cancelled": "cancelled",
    "ApiCancelled": "cancelled",
    "Inactive": "rejected",
}
SIDES: dict[str, Side] = {"BOT": "buy", "SLD": "sell"}


class Odd(ValueError):
    """An answer with something in it that cannot be understood; its words say what."""


class Execution(Struct, frozen=True):
    """One execution. `fill` None: it is a package's own. `units` of those, contracts of a leg's."""

    root: str
    revision: int
    ref: str
    client_id: int
    order_id: int
    perm_id: int
    units: int
    fill: Fill | None
    legs: int = 1


# --- what is sent ------------------------------------------------------------------------------------------------------


def order_fault(order: Order) -> str | None:
    """Why an order is never sent as it is."""
    if order.limit is None:
        return "a market order is never sent"
    if order.units < 1:
        return "no units"
    if len(order.legs) == 1 and order.legs[0].ratio != 1:
        return "a single leg has a ratio"
    return None


def limit_order(order: Order, order_id: int, account: str) -> LimitOrder:
    """The order as it is sent. A package is always bought, at its signed net price; a single leg is bought or sold."""
    assert order.limit is not None
    single = len(order.legs) == 1 and order.legs[0].side == "sell"
    price = -order.limit if single else order.limit
    return LimitOrder(
        "SELL" if single else "BUY",
        order.units,
        price / 1000,
        orderId=order_id,
        orderRef=order.ref,
        account=account,
        tif="DAY",
        outsideRth=False,
        transmit=True,
    )


# --- what is answered --------------------------------------------------------------------------------------------------


def execution_of(fill: IbFill) -> Execution:
    """An execution, exact; Odd for quantities and prices that are none."""
    told, contract = fill.execution, fill.contract
    root, _, revision = told.execId.rpartition(".")
    units, name = whole(told.shares), name_of(contract)
    if not root or not revision.isdecimal():
        raise Odd(f"the execution {told.execId!r} has no revision")
    if units is None or units < 1:
        raise Odd(f"the execution {told.execId} is of {told.shares} contracts")
    one = None
    if contract.secType != "BAG":
        price, side = mills(told.price), SIDES.get(told.side)
        if price is None or price < 0 or side is None:
            raise Odd(f"the execution {told.execId} says {told.side} at {told.price}")
        one = Fill(root, told.orderRef, name, side, units, price, told.time.timestamp(), int(revision), _fee(fill))
    return Execution(root, int(revision), told.orderRef, told.clientId, told.orderId, told.permId, units, one)


def _fee(fill: IbFill) -> Mills | None:
    """What was taken for it, once its report has come."""
    report = fill.commissionReport
    return (
        to_mills(report.commission) if report.execId and isfinite(report.commission) and report.commission < UNSET else None
    )


def latest(executions: Iterable[Execution]) -> dict[str, Execution]:
    """By root the highest revision."""
    newest: dict[str, Execution] = {}
    for one in executions:
        if one.root not in newest or one.revision >= newest[one.root].revision:
            newest[one.root] = one
    return newest


def units_filled(executions: Sequence[Execution], legs: Sequence[Leg]) -> int:
    """Units by executions of one order: the least filled leg's, or the package's own count where that is more."""
    found = latest(executions).values()
    by_leg = dict.fromkeys((leg.contract for leg in legs), 0)
    ratios = {leg.contract: leg.ratio for leg in legs}
    package = 0
    for one in found:
        if one.fill is None:
            package += one.units
        elif one.fill.contract in by_leg:
            by_leg[one.fill.contract] += one.units
    least = min((count // ratios[contract] for contract, count in by_leg.items()), default=0)
    return max(package, least)


def legs_of(trade: Trade, names: Mapping[int, str]) -> tuple[Leg, ...]:
    """An order's legs by our names. TWS does not tell whether they open or close: the role in the ref does."""
    opens = trade.order.orderRef.split("-")[-2:-1] == ["ENTRY"]
    if trade.contract.secType != "BAG":
        side: Side = "buy" if trade.order.action == "BUY" else "sell"
        return (Leg(name_of(trade.contract), side, opens),)
    turned = trade.order.action != "BUY"
    return tuple(
        Leg(
            names.get(leg.conId, f"BAG:{leg.conId}"),
            "buy" if (leg.action == "BUY") != turned else "sell",
            opens,
            leg.ratio,
        )
        for leg in trade.contract.comboLegs
    )


def view_of(trade: Trade, ref: str, broker_id: str, legs: tuple[Leg, ...], executions: Sequence[Execution]) -> OrderView:
    """An order as an answer has it, and its executions. The count that is more counts; all of its units are its end."""
    order, status = trade.order, trade.orderStatus
    told = [
        whole(order.totalQuantity),
        whole(order.filledQuantity if _is_set(order.filledQuantity) else 0),
        whole(status.filled),
    ]
    if None in told:
        raise Odd(f"the order {ref or broker_id} is of {order.totalQuantity} units")
    asked, completed, counted = (count or 0 for count in told)
    filled = max(completed, counted, units_filled(executions, legs))
    units = max(asked, filled)
    state = STATES.get(status.status, "unknown")
    if filled >= units > 0:
        state = "filled"
    elif state == "filled":
        filled = units
    price = mills(order.lmtPrice) if order.orderType == "LMT" and _is_set(order.lmtPrice) else None
    limit = -price if price is not None and order.action == "SELL" and trade.contract.secType != "BAG" else price
    return OrderView(ref, broker_id, state, units, filled, legs, limit)


def _is_set(number: object) -> bool:
    """Whether a number was given: the library has a huge one, or none, in its place."""
    return isinstance(number, float | int | Decimal) and isfinite(number) and abs(float(number)) < UNSET


def holding_of(position: Position) -> Holding:
    """A position, exact; Odd for a quantity that is none."""
    quantity = whole(position.position)
    if quantity is None:
        raise Odd(f"the position in {name_of(position.contract)} is {position.position}")
    return Holding(name_of(position.contract), quantity, quantity)


def dollars_of(text: object) -> float | None:
    """A margin in dollars as it is told; None where it is empty, unset or no finite number."""
    try:
        number = float(str(text))
    except ValueError:
        return None
    return number if _is_set(number) else None
