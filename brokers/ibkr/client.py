"""The broker at TWS: it carries orders and brings answers, and says of each only what TWS has said.

Rules:
- A status that comes by itself only hastens a question: what is told of an order is always read afresh from open orders, completed
  orders and executions. The library's own reading of a message (an order "cancelled" by a notice) is never told.
- An order is sent once. What became of it is accepted, rejected or unknown; `not_sent` where certainly nothing left.
- Never changed in place, never a global cancel, never data or details of a package.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from ib_async import IB, Contract, Trade
from ib_async import CommissionReport as IbReport
from ib_async import Fill as IbFill
from msgspec.structs import replace

from brokers.broker import Can
from brokers.ibkr import codes
from brokers.ibkr.contracts import Listed, chain_question, contract_of, listed, listing_fault, name_of, parsed
from brokers.ibkr.forms import (
    Execution,
    Odd,
    dollars_of,
    execution_of,
    holding_of,
    latest,
    legs_of,
    limit_order,
    order_fault,
    view_of,
)
from brokers.ibkr.link import Link, Place, Said
from events import (
    AccountView,
    AnyEvent,
    BrokerLinked,
    CancelAnswered,
    Fill,
    FillSeen,
    Holding,
    Leg,
    Mode,
    Order,
    OrderAnswered,
    OrderSeen,
    OrderState,
    OrderView,
    PreviewArrived,
    Quote,
    SnapshotTaken,
)
from utils import to_mills
from wire.transport import Refused, TryAgain

PREVIEW_S = 5.0
LOOK_AFTER_S = 0.05


class Books:
    """One complete reading of orders and executions, and which of them are ours."""

    def __init__(self, client_id: int, opened: list[Trade], completed: list[Trade], fills: list[IbFill]) -> None:
        self.client_id = client_id
        self.executions = tuple(latest(_executions(fills)).values())
        self.perms = {one.perm_id: one for one in self.executions if one.perm_id}
        live = {trade.order.permId for trade in opened}
        self.trades = [*opened, *(trade for trade in completed if trade.order.permId not in live)]

    def ref_of(self, trade: Trade) -> str:
        """Our ref of an order; empty where another client, or a person, sent it."""
        order = trade.order
        execution = self.perms.get(order.permId)
        client = order.clientId or (execution.client_id if execution is not None else 0)
        return order.orderRef if client in (0, self.client_id) else ""

    def of(self, trade: Trade) -> list[Execution]:
        """The executions of an order, by TWS's own number of it."""
        return [one for one in self.executions if one.perm_id == trade.order.permId]

    def ours(self, ref: str) -> list[Execution]:
        return [one for one in self.executions if one.ref == ref and one.client_id == self.client_id]


class Ibkr:
    """One account at TWS. `ring` is called, on a thread of its own, when something has come by itself."""

    can = Can(preview=True, combos=True, sells_quotes=True, tells_fills=True)

    def __init__(
        self,
        mode: Mode,
        place: Place,
        now: Callable[[], float],
        *,
        exchange: str = "SMART",
        ack_s: float = 10.0,
        ring: Callable[[], None] = lambda: None,
    ) -> None:
        self.mode = mode
        self.place_ = place
        self._now, self._exchange, self._ack_s, self.ring = now, exchange, ack_s, ring
        self._link = Link(place, self._made, self._heard)
        self._news: deque[AnyEvent] = deque()
        self._sent: dict[str, Order] = {}
        self._ids: dict[str, int] = {}
        self._acks: dict[int, asyncio.Future[OrderAnswered]] = {}
        self._listed: dict[str, Listed] = {}
        self._names: dict[int, str] = {}
        self._looking: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- the link ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect. TryAgain or Refused says why not; a wrong account and an id in use are Refused."""
        self._link.open()

    def close(self) -> None:
        self._link.close()

    def _made(self, ib: IB) -> None:
        self._ids, self._acks, self._looking = {}, {}, set()
        ib.orderStatusEvent += self._on_status
        ib.execDetailsEvent += self._on_execution
        ib.commissionReportEvent += self._on_report
        ib.disconnectedEvent += self._on_lost

    def wait(self) -> list[AnyEvent]:
        """What came by itself. TryAgain once the connection is lost; what was heard before is told first."""
        news = [self._news.popleft() for _ in range(len(self._news))]
        if not news and not self._link.is_connected:
            raise TryAgain(self._link.fault or "not connected")
        return news

    @property
    def is_looking(self) -> bool:
        """Whether an order is being read afresh at this moment."""
        return bool(self._tasks)

    def _tell(self, event: AnyEvent) -> None:
        self._news.append(event)
        self.ring()

    def _on_lost(self) -> None:
        for ref, ack in list(self._acks.items()):
            if not ack.done():
                ack.set_exception(TryAgain("the connection was lost", sent=True))
            del self._acks[ref]
        self.ring()

    # --- what comes by itself, on the loop -----------------------------------------------------------------------------

    def _heard(self, request: int, code: int, text: str) -> None:
        at = self._now()
        if code == codes.LINK_LOST:
            self._tell(BrokerLinked(at=at, mode=self.mode, linked=False, reason=self._link.fault or text))
        elif code in (codes.DATA_LOST, codes.LINK_BACK):
            self._tell(BrokerLinked(at=at, mode=self.mode, linked=True))
        ref = next((ref for ref, order_id in self._ids.items() if order_id == request), None)
        if ref is None or request <= 0:
            return
        meaning, ack = codes.of_order(code, text), self._acks.get(request)
        if ack is not None and not ack.done() and meaning != "warning":
            answer = "rejected" if meaning == "refused" else "unknown"
            ack.set_result(self._answered(ref, answer, f"{code} {text}", request))
        else:
            self._look_soon(ref)

    def _on_status(self, trade: Trade) -> None:
        """A change of state: what the library made of a message is not one of TWS's."""
        order_id, ref = trade.order.orderId, trade.order.orderRef
        if trade.order.clientId != self.place_.client_id or ref not in self._ids:
            return
        ack = self._acks.get(order_id)
        by_message = bool(trade.log and trade.log[-1].errorCode)
        if (
            not by_message
            and ack is not None
            and not ack.done()
            and trade.orderStatus.status not in ("PendingSubmit", "Inactive")
        ):
            ack.set_result(self._answered(ref, "accepted", "", order_id))
        self._look_soon(ref)

    def _on_execution(self, trade: Trade, fill: IbFill) -> None:
        ack = self._acks.get(trade.order.orderId)
        if ack is not None and not ack.done() and trade.order.clientId == self.place_.client_id:
            ack.set_result(self._answered(trade.order.orderRef, "accepted", "", trade.order.orderId))
        self._tell_fills([fill])
        if trade.order.orderRef in self._ids:
            self._look_soon(trade.order.orderRef)

    def _on_report(self, _: Trade, fill: IbFill, __: IbReport) -> None:
        self._tell_fills([fill])

    def _tell_fills(self, fills: Iterable[IbFill]) -> None:
        for one in _executions(fills, strict=False):
            if one.fill is not None and one.client_id == self.place_.client_id and one.ref:
                self._tell(FillSeen(at=self._now(), mode=self.mode, fill=one.fill))

    def _look_soon(self, ref: str) -> None:
        if ref not in self._looking:
            self._looking.add(ref)
            self._begin(self._look(ref))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, ref: str) -> None:
        """Read an order afresh after something was said of it; without an answer the desk asks again."""
        await asyncio.sleep(LOOK_AFTER_S)
        self._looking.discard(ref)
        try:
            self._tell(await self._find(ref))
        except (TryAgain, Refused):
            return

    # --- orders --------------------------------------------------------------------------------------------------------

    def place(self, order: Order) -> OrderAnswered:
        try:
            return self._link.run(self._place(order), self._ack_s + 3 * self.place_.timeout_s)
        except TryAgain as fault:
            answer = "unknown" if order.ref in self._sent else "not_sent"
            return self._answered(order.ref, answer, fault.reason)

    async def _place(self, order: Order) -> OrderAnswered:
        if order.ref in self._sent:
            return await self._sent_before(order.ref)
        if fault := order_fault(order):
            return self._answered(order.ref, "rejected", fault)
        try:
            contract = await self._contract(order.legs)
        except Odd as odd:
            return self._answered(order.ref, "rejected", str(odd))
        ib = self._link.ib
        if self._link.fault is not None or ib is None or not self._link.is_connected:
            raise TryAgain(self._link.fault or "not connected")
        if too_many := self._closing_fault(ib, order):
            return self._answered(order.ref, "rejected", too_many)
        order_id = ib.client.getReqId()
        ack: asyncio.Future[OrderAnswered] = asyncio.get_running_loop().create_future()
        self._acks[order_id], self._ids[order.ref], self._sent[order.ref] = ack, order_id, order
        try:
            ib.placeOrder(contract, limit_order(order, order_id, self._link.account))
            return await asyncio.wait_for(ack, self._ack_s)
        except TimeoutError:
            return self._answered(order.ref, "unknown", f"no answer within {self._ack_s:g} s", order_id)
        except TryAgain as lost:
            return self._answered(order.ref, "unknown", lost.reason, order_id)
        finally:
            self._acks.pop(order_id, None)

    async def _sent_before(self, ref: str) -> OrderAnswered:
        """What is answered where a ref comes a second time: nothing is sent, and what became of the first is read."""
        view = (await self._find(ref)).order
        if view is None or view.state == "unknown":
            return self._answered(ref, "unknown", "it was sent before")
        return self._answered(ref, "rejected" if view.state == "rejected" else "accepted", "", self._ids.get(ref, 0))

    def _closing_fault(self, ib: IB, order: Order) -> str | None:
        """Whether a leg would close more than is held, and so open the other way, by TWS's report and by our executions alike."""
        for leg in order.legs:
            if leg.opens:
                continue
            sign, con_id = (1 if leg.side == "sell" else -1), self._listed[leg.contract].con_id
            reported = sum(int(one.position) for one in ib.positions(self._link.account) if one.contract.conId == con_id)
            counts = [one.fill for one in latest(_executions(ib.fills(), strict=False)).values() if one.fill]
            filled = sum(one.quantity * (1 if one.side == "buy" else -1) for one in counts if one.contract == leg.contract)
            if max(sign * reported, sign * filled) - self._being_closed(ib, leg) < leg.ratio * order.units:
                return f"it would close more of {leg.contract} than is held"
        return None

    def _being_closed(self, ib: IB, leg: Leg) -> int:
        """How much of a contract our working orders close already."""
        taken = 0
        for trade in ib.openTrades():
            theirs = self._sent.get(trade.order.orderRef)
            for other in theirs.legs if theirs is not None else ():
                if (other.contract, other.side, other.opens) == (leg.contract, leg.side, False):
                    taken += other.ratio * max(0, int(trade.order.totalQuantity - trade.filled()))
        return taken

    def _answered(self, ref: str, answer: Any, reason: str, order_id: int = 0) -> OrderAnswered:
        broker_id = str(order_id) if order_id else ""
        return OrderAnswered(at=self._now(), mode=self.mode, ref=ref, answer=answer, reason=reason, broker_id=broker_id)

    def cancel(self, ref: str, broker_id: str) -> CancelAnswered:
        try:
            reason = self._link.run(self._cancel(ref, broker_id), 2 * self.place_.timeout_s)
        except TryAgain as fault:
            reason = fault.reason
        return CancelAnswered(at=self._now(), mode=self.mode, ref=ref, heard=not reason, reason=reason)

    async def _cancel(self, ref: str, broker_id: str) -> str:
        """Ask for an order's end by its number, not by the library's copy of it. Why not, or nothing."""
        order_id = int(broker_id) if broker_id.isdecimal() else self._ids.get(ref, 0)
        if not order_id:
            opened = await self._ask("open orders", lambda ib: ib.reqAllOpenOrdersAsync())
            order_id = next((trade.order.orderId for trade in opened if self._is_ours(trade, ref)), 0)
        ib = self._link.ib
        if not order_id:
            return "no such order is open"
        if self._link.fault is not None or ib is None:
            return self._link.fault or "not connected"
        self._ids.setdefault(ref, order_id)
        ib.client.cancelOrder(order_id, "")  # type: ignore[no-untyped-call]
        return ""

    def _is_ours(self, trade: Trade, ref: str) -> bool:
        return trade.order.orderRef == ref and trade.order.clientId == self.place_.client_id

    def find(self, ref: str) -> OrderSeen:
        return self._link.run(self._find(ref), 3 * self.place_.timeout_s)

    async def _find(self, ref: str) -> OrderSeen:
        books = await self._books()
        view: OrderView | None = None
        for trade in books.trades:
            if books.ref_of(trade) == ref:
                view = await self._view(books, trade, ref)
        if view is None and (found := books.ours(ref)):
            view = self._view_of_executions(ref, found)
        return OrderSeen(at=self._now(), mode=self.mode, ref=ref, order=view)

    def _view_of_executions(self, ref: str, found: list[Execution]) -> OrderView:
        """An order of which only its executions are told: what we sent says of how many units it was."""
        sent = self._sent.get(ref)
        units = max(one.units for one in found)
        asked = sent.units if sent is not None else units
        state: OrderState = "filled" if units >= asked else "unknown"
        return OrderView(ref, str(found[0].order_id or ""), state, asked, units, sent.legs if sent else ())

    async def _books(self) -> Books:
        """Open orders, completed orders, and after them the executions; each ours is told."""
        opened = await self._ask("open orders", lambda ib: ib.reqAllOpenOrdersAsync())
        completed = await self._ask("completed orders", lambda ib: ib.reqCompletedOrdersAsync(False))
        fills = await self._link.ask("executions", lambda ib: ib.reqExecutionsAsync(), has_id=True)
        fees = {one.execution.execId: one.commissionReport for one in (self._link.ib.fills() if self._link.ib else ())}
        fills = [one._replace(commissionReport=fees.get(one.execution.execId, one.commissionReport)) for one in fills]
        try:
            books = Books(self.place_.client_id, opened, completed, fills)
        except Odd as fault:
            raise TryAgain(str(fault)) from None
        self._tell_fills(fills)
        return books

    async def _ask(self, name: str, question: Callable[[IB], Any]) -> Any:
        return await self._link.ask(name, question, has_id=False)

    async def _view(self, books: Books, trade: Trade, ref: str) -> OrderView:
        for leg in trade.contract.comboLegs or ():
            await self._name(leg.conId)
        legs, order_id = legs_of(trade, self._names), trade.order.orderId
        if ref and order_id > 0:
            self._ids.setdefault(ref, order_id)
        broker_id = str(self._ids.get(ref) or (order_id if order_id > 0 else trade.order.permId))
        try:
            return view_of(trade, ref, broker_id, legs, books.of(trade))
        except Odd as fault:
            raise TryAgain(str(fault)) from None

    def preview(self, order: Order) -> PreviewArrived:
        """What TWS says that the order would bind. It never answers some; after five seconds there is no answer."""
        return self._link.run(self._preview(order), PREVIEW_S + 2 * self.place_.timeout_s)

    async def _preview(self, order: Order) -> PreviewArrived:
        def said(
            margin: float | None, reason: str = "", *, fee: float | None = None, refused: bool = False
        ) -> PreviewArrived:
            return PreviewArrived(
                at=self._now(), mode=self.mode, ref=order.ref, margin=None if margin is None else to_mills(margin),
                fee=None if fee is None else to_mills(fee), reason=reason, refused=refused,
            )  # fmt: skip

        if fault := order_fault(order):
            return said(None, fault, refused=True)
        try:
            contract = await self._contract(order.legs)
        except Odd as odd:
            return said(None, str(odd), refused=True)
        asked = limit_order(order, 0, self._link.account)
        try:
            state = await self._link.ask(
                "the margin", lambda ib: ib.whatIfOrderAsync(contract, asked), has_id=True, within_s=PREVIEW_S
            )
        except Said as told:
            return said(None, told.reason, refused=codes.of_order(told.code, told.text) == "refused")
        margin = dollars_of(state.initMarginChange)
        fee = dollars_of(state.maxCommission) or dollars_of(state.commission)
        return said(margin, "" if margin is not None else "TWS gave no margin", fee=fee)

    # --- contracts -----------------------------------------------------------------------------------------------------

    async def _contract(self, legs: tuple[Leg, ...]) -> Contract:
        """What an order is for, of contracts that TWS lists and that are what their names say. Odd for any other."""
        return contract_of(legs, [(await self._listing(leg.contract)).con_id for leg in legs], self._exchange)

    async def _listing(self, contract: str) -> Listed:
        name = parsed(contract)
        if name is None:
            raise Odd(f"{contract} is no option")
        if contract not in self._listed:
            question = chain_question(name.trading_class, name.expires, name.right, self._exchange)
            try:
                details = await self._link.ask("a chain", lambda ib: ib.reqContractDetailsAsync(question), has_id=True)
            except Said as told:
                if told.code != 200:
                    raise
                details = []
            for one in filter(None, map(listed, details)):
                self._listed[one.contract] = one
                self._names[one.con_id] = one.contract
        found = self._listed.get(contract)
        if found is None:
            raise Odd(f"{contract} is not listed")
        if fault := listing_fault(found, name.trading_class, name.expires):
            raise Odd(fault)
        return found

    async def _name(self, con_id: int) -> str:
        """Our name of a contract that is told by its number alone."""
        if con_id not in self._names:
            question = Contract(conId=con_id, exchange=self._exchange)
            try:
                details = await self._link.ask("a contract", lambda ib: ib.reqContractDetailsAsync(question), has_id=True)
            except Said:
                details = []
            contract = details[0].contract if details else None
            self._names[con_id] = name_of(contract) if contract is not None else f"BAG:{con_id}"
        return self._names[con_id]

    # --- all at once ---------------------------------------------------------------------------------------------------

    def snapshot(self, since: float) -> SnapshotTaken:
        as_of = self._now()
        try:
            return self._link.run(self._snapshot(since, as_of), 6 * self.place_.timeout_s)
        except (TryAgain, Odd) as fault:
            return SnapshotTaken(at=self._now(), mode=self.mode, as_of=as_of, complete=False, reason=str(fault))

    async def _snapshot(self, since: float, as_of: float) -> SnapshotTaken:
        """Orders, executions, positions, each from an answer of its own, over one link."""
        ib = self._link.ib
        books = await self._books()
        told = await self._ask("positions", lambda ib: ib.reqPositionsAsync())
        if ib is not self._link.ib or self._link.fault is not None:
            raise TryAgain(self._link.fault or "the link changed in between")
        orders = []
        for trade in books.trades:
            if trade.order.account in ("", self._link.account):
                orders.append(await self._view(books, trade, books.ref_of(trade)))
        seen = {view.ref for view in orders}
        for ref in {one.ref for one in books.executions if one.client_id == self.place_.client_id and one.ref} - seen:
            orders.append(self._view_of_executions(ref, books.ours(ref)))
        return SnapshotTaken(
            at=self._now(), mode=self.mode, as_of=as_of, complete=True, orders=tuple(orders),
            fills=tuple(self._fills(books, since)),
            positions=tuple(self._holdings(told)), account=self._account(),
        )  # fmt: skip

    def _fills(self, books: Books, since: float) -> Iterable[Fill]:
        """The executions of contracts since a moment; without a ref those that are not ours."""
        for one in books.executions:
            if one.fill is not None and one.fill.at >= since:
                yield one.fill if one.client_id == self.place_.client_id else replace(one.fill, ref="")

    def _holdings(self, told: Iterable[Any]) -> Iterable[Holding]:
        for position in told:
            if position.account == self._link.account:
                try:
                    held = holding_of(position)
                except Odd:
                    if position.contract.secType == "OPT":
                        raise
                    continue
                if held.quantity:
                    yield held

    def _account(self) -> AccountView:
        ib = self._link.ib
        values = {
            one.tag: dollars_of(one.value) for one in (ib.accountValues(self._link.account) if ib else ()) if one.value
        }
        equity, power = values.get("NetLiquidation"), values.get("AvailableFunds")
        return AccountView(
            self._link.account, not self.place_.is_live, None if equity is None else to_mills(equity),
            None if power is None else to_mills(power),
        )  # fmt: skip

    def show(self, contract: str, quote: Quote, at: float) -> None:
        """It fills by its own market."""


def _executions(fills: Iterable[IbFill], *, strict: bool = True) -> Iterable[Execution]:
    """The executions of an answer. Odd for what is none of them, unless what cannot be read may be left out."""
    for fill in fills:
        try:
            yield execution_of(fill)
        except Odd:
            if strict and fill.contract.secType in ("OPT", "BAG"):
                raise
