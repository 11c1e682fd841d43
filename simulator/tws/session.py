"""One connected client: its start, its questions and their answers, its market data lines, its orders handed on.

Rules: a question that cannot be read is answered with 320 and the session goes on. Data lines are told what changed since they
were last told, once a beat of the venue at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from simulator.tws import messages
from simulator.tws.contracts import Instrument, Leg, Query, Quote, net_of
from simulator.tws.faults import words
from simulator.tws.floor import Floor
from simulator.tws.messages import REQUESTS
from simulator.tws.orders import Orders
from simulator.tws.record import Received
from simulator.tws.wire import HELLO, SERVER_VERSION, Fields, frame, read_frame

LIVE, FROZEN, DELAYED = 1, 2, 3
TICKS = {LIVE: (1, 2, 4, 9, 13), FROZEN: (1, 2, 4, 9, 13), DELAYED: (66, 67, 68, 75, 83)}
REFUSED_LINE = "Error validating request.-'bE' : cause - Please enter a valid security type"
NO_BAG_DETAILS = "Error validating request.-'bI' : cause - 'BAG' isn't supported for contract data request."


@dataclass(slots=True)
class Line:
    """One market data line: what it shows, how, and what was last told."""

    request: int
    con_id: int
    legs: tuple[Leg, ...]
    kind: int
    told: Quote | None = None


class Session:
    """A client on a connection."""

    def __init__(self, floor: Floor, orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.floor, self.orders, self.reader, self.writer = floor, orders, reader, writer
        self.client_id = -1
        self.wants_positions = False
        self.lines: dict[int, Line] = {}
        self._credit, self._credit_at = 2.0 * floor.messages_a_second, time.monotonic()
        self._data_type = LIVE
        self._handlers: dict[int, Callable[[Fields], None]] = {
            1: self._data, 2: self._end_data, 3: self._order, 4: self._cancel, 5: self._own_orders, 6: self._account,
            7: self._executions, 8: self._ids, 9: self._details, 15: self._nothing, 16: self._all_orders,
            17: self._accounts, 20: self._history, 25: self._nothing, 49: self._time, 58: self._global_cancel,
            59: self._set_data_type, 61: self._positions, 62: self._summary, 63: self._nothing, 64: self._end_positions,
            76: self._account_multi, 77: self._nothing, 78: self._chain, 91: self._rule, 99: self._completed,
        }  # fmt: skip

    # --- the connection ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Shake hands, then answer until the connection ends."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            if await self.reader.readexactly(4) != HELLO:
                return
            await read_frame(self.reader)  # the versions it speaks
            self.send(SERVER_VERSION, messages.time_text(self.floor.now()))
            while not self.writer.is_closing():
                self._take(Fields.of(await read_frame(self.reader)))

    def send(self, *fields: object) -> None:
        if not self.writer.is_closing():
            self.writer.write(frame(*fields))

    def drop(self) -> None:
        """Cut the connection without a word."""
        self.writer.transport.abort()

    def closed(self) -> None:
        """The connection is over: its lines are released and its client is gone."""
        self._release_lines()
        if self.floor.listeners.get(self.client_id) is self:
            del self.floor.listeners[self.client_id]
            self.floor.note("left", None, f"client {self.client_id} left", self.client_id)

    def _take(self, fields: Fields) -> None:
        floor, now = self.floor, time.monotonic()
        try:
            number = fields.whole()
        except ValueError:
            number = 0
        name = REQUESTS.get(number, str(number))
        floor.record.message(Received(now, floor.now(), self.client_id, number, name, fields.all))
        if number == 71:
            self._start(fields)
        elif self.client_id >= 0 and self._admitted(now, name, fields):
            late = floor.faults.take_for("late-answer", name)
            if late is None:
                self._answer(number, fields)
            else:
                floor.later(float(late["after_s"]), lambda: self._answer(number, fields))

    def _admitted(self, now: float, name: str, fields: Fields) -> bool:
        """Whether a request is to be answered at all."""
        faults = self.floor.faults
        if self._is_too_fast(now):
            self.floor.record.misuses.append(
                f"client {self.client_id} sent more than {self.floor.messages_a_second} messages a second"
            )
            self.send(*messages.error(-1, 100, words(100)))
        if (paced := faults.take_for("pacing", name)) is not None:
            code = int(paced["code"])
            self.send(*messages.error(_request_of(fields), code, words(code)))
            return False
        if not self.floor.linked and name in ("order", "cancel"):
            return False
        return faults.take_for("swallow", name) is None

    def _is_too_fast(self, now: float) -> bool:
        """Whether the rate is over the limit: two seconds' worth may come at once, since the wire delays and bunches."""
        allowed = self.floor.messages_a_second
        self._credit = min(self._credit + (now - self._credit_at) * allowed, 2.0 * allowed) - 1
        self._credit_at = now
        if self._credit >= 0:
            return False
        self._credit += allowed  # told once, not for each message of the burst
        return True

    def _answer(self, number: int, fields: Fields) -> None:
        handler = self._handlers.get(number)
        try:
            if handler is None:
                raise ValueError(f"unknown message id {number}")
            handler(fields)
        except ValueError as wrong:
            self.floor.record.misuses.append(f"client {self.client_id} sent what cannot be read: {wrong}")
            self.send(*messages.error(-1, 320, f"{words(320)} {wrong}"))

    def _start(self, fields: Fields) -> None:
        fields.whole()
        client = fields.whole()
        floor = self.floor
        if client in floor.listeners or floor.faults.take("client-id-taken") is not None:
            self.send(*messages.error(-1, 326, words(326)))
            floor.note("refused", None, f"client {client} refused: the id is in use", client)
            self.writer.close()
            return
        self.client_id = client
        floor.listeners[client] = self
        self.send(15, 1, ",".join(floor.accounts))
        self.send(9, 1, self.orders.next_id(client))
        for code in (2104, 2106, 2158):
            self.send(*messages.error(-1, code, words(code)))
        floor.note("joined", None, f"client {client} joined", client)

    def _nothing(self, fields: Fields) -> None:
        """A request that needs no answer."""

    # --- the account ---------------------------------------------------------------------------------------------------

    def _ids(self, fields: Fields) -> None:
        self.send(9, 1, self.orders.next_id(self.client_id))

    def _accounts(self, fields: Fields) -> None:
        self.send(15, 1, ",".join(self.floor.accounts))

    def _time(self, fields: Fields) -> None:
        self.send(49, 1, int(self.floor.now()))

    def _positions(self, fields: Fields) -> None:
        self.wants_positions = True
        if self.floor.faults.take("empty-positions") is None:
            for con_id in list(self.floor.holdings):
                self.floor.send_position(con_id, self)
        self.send(62, 1)

    def _end_positions(self, fields: Fields) -> None:
        self.wants_positions = False

    def _values(self) -> list[tuple[str, str]]:
        """The account's figures; margin is that of the worst settlement."""
        equity, margin = self.floor.equity(), self.orders.margin()
        figures = {
            "NetLiquidation": equity, "TotalCashValue": self.floor.cash, "InitMarginReq": margin, "MaintMarginReq": margin,
            "AvailableFunds": equity - margin, "ExcessLiquidity": equity - margin, "BuyingPower": 4 * (equity - margin),
        }  # fmt: skip
        return [(name, f"{mills / 1000:.2f}") for name, mills in figures.items()]

    def _account(self, fields: Fields) -> None:
        for name, value in self._values():
            self.send(6, 2, name, value, "USD", self.floor.account)
        self.send(8, 1, messages.time_text(self.floor.now())[9:14])
        self.send(54, 1, self.floor.account)

    def _account_multi(self, fields: Fields) -> None:
        _, request, account = fields.whole(), fields.whole(), fields.text()
        for name, value in self._values():
            self.send(73, 1, request, account or self.floor.account, "", name, value, "USD")
        self.send(74, 1, request)

    def _summary(self, fields: Fields) -> None:
        _, request, _group, tags = fields.whole(), fields.whole(), fields.text(), fields.text()
        for name, value in self._values():
            if not tags or name in tags.split(","):
                self.send(63, 1, request, self.floor.account, name, value, "USD")
        self.send(64, 1, request)

    def _executions(self, fields: Fields) -> None:
        fields.whole()
        request = fields.whole()
        told = [one for one in self.floor.executions if one.visible and one.order.client_id in (self.client_id, 0)]
        for one in told:
            self.send(*messages.execution(request, one))
        for one in told:
            if one.instrument is not None:
                self.send(*messages.commission(one))
        self.send(55, 1, request)

    # --- contracts -----------------------------------------------------------------------------------------------------

    def _details(self, fields: Fields) -> None:
        fields.whole()
        request, query = fields.whole(), messages.query_of(fields)
        if query.sec_type == "BAG":
            self.floor.record.misuses.append(f"client {self.client_id} asked for the details of a package")
            self.send(*messages.error(request, 321, NO_BAG_DETAILS))
            return
        found = [one for one in self.floor.market.instruments.values() if query.fits(one)]
        if not found:
            self.send(*messages.error(request, 200, words(200)))
            return
        wrong = self.floor.faults.find("dates-disagree")
        for one in found:
            real = one.expiry - timedelta(days=1) if wrong is not None and one.expiry else one.expiry
            self.send(*messages.details(request, one, query.exchange, real))
        self.send(52, 1, request)

    def _chain(self, fields: Fields) -> None:
        """The lists of expiries and strikes, whose product has more contracts than are listed."""
        request, symbol = fields.whole(), fields.text()
        fields.texts(2)
        under = fields.whole()
        options = [one for one in self.floor.market.instruments.values() if one.right and one.under_con_id == under]
        for name in sorted({one.trading_class for one in options if one.symbol == symbol}):
            ours = [one for one in options if one.trading_class == name]
            days, strikes = sorted({one.day for one in ours}), sorted({one.strike for one in ours})
            for exchange in ("SMART", "CBOE"):
                self.send(*messages.chain_row(request, exchange, under, name, days, strikes))
        self.send(76, request)

    def _rule(self, fields: Fields) -> None:
        self.send(*messages.market_rule(fields.whole()))

    def _history(self, fields: Fields) -> None:
        """Daily bars of an index; for anything else 162, as where there is no data."""
        request, query = fields.whole(), messages.query_of(fields)
        found = [one for one in self.floor.market.instruments.values() if query.fits(one)]
        bars = list(self.floor.market.days(found[0].con_id, self.floor.now())) if len(found) == 1 else []
        if not bars or self.floor.faults.take("daily-bar-late") is not None:
            text = "Historical Market Data Service error message:HMDS query returned no data"
            self.send(*messages.error(request, 162, text))
            return
        self.send(*messages.daily_bars(request, bars))

    # --- market data ---------------------------------------------------------------------------------------------------

    def _set_data_type(self, fields: Fields) -> None:
        fields.whole()
        self._data_type = fields.whole()

    def _data(self, fields: Fields) -> None:
        fields.whole()
        request, query = fields.whole(), messages.query_of(fields)
        legs = messages.legs_of(fields, further=0) if query.sec_type == "BAG" else ()
        if fields.flag():
            fields.texts(3)
        fields.text()
        snapshot = fields.flag()
        one = self._meant(query.con_id, query)
        if legs:
            self.floor.record.misuses.append(f"client {self.client_id} asked for the data of a package")
        refusal = self._refused_line(one, legs)
        if refusal is not None:
            self.send(*messages.error(request, *refusal))
            return
        line = Line(request, one.con_id if one else 0, legs, self._kind())
        if line.kind == DELAYED:
            self.send(*messages.error(request, 10167, words(10167)))
        self.send(58, 1, request, line.kind)
        self.show(line)
        if snapshot:
            self.send(57, 1, request)
        elif request not in self.lines:
            self.lines[request] = line
            self.floor.record.line(1)

    def _meant(self, con_id: int, query: Query) -> Instrument | None:
        if con_id:
            return self.floor.market.instruments.get(con_id)
        found = [one for one in self.floor.market.instruments.values() if query.fits(one)]
        return found[0] if len(found) == 1 else None

    def _refused_line(self, one: Instrument | None, legs: tuple[Leg, ...]) -> tuple[int, str] | None:
        floor, faults = self.floor, self.floor.faults
        if legs and faults.take("bag-line-refused") is not None:
            return 321, REFUSED_LINE
        if one is None and not legs:
            return 200, words(200)
        if floor.record.lines_open >= floor.lines_allowed:
            floor.record.misuses.append(f"client {self.client_id} asked for line {floor.record.lines_open + 1}")
            return 101, words(101)
        if (refused := faults.take("not-subscribed")) is not None:
            return int(refused["code"]), words(int(refused["code"]))
        return None

    def _kind(self) -> int:
        if self.floor.faults.find("delayed") is not None:
            return DELAYED
        return FROZEN if self.floor.faults.find("frozen") is not None else LIVE

    def _end_data(self, fields: Fields) -> None:
        fields.whole()
        if self.lines.pop(fields.whole(), None) is not None:
            self.floor.record.line(-1)

    def _release_lines(self) -> None:
        self.floor.record.line(-len(self.lines))
        self.lines.clear()

    def lose_lines(self, code: int = 0) -> None:
        """Every line ends, with a message on each if there is a code."""
        for request in self.lines if code else ():
            self.send(*messages.error(request, code, words(code)))
        self._release_lines()

    def beat(self) -> None:
        """Tell every line what changed."""
        frozen = self.floor.faults.find("frozen") is not None
        if self.floor.linked and self.floor.farm and not frozen:
            for line in list(self.lines.values()):
                self.show(line)

    def show(self, line: Line) -> None:
        """Tell a line what is different from what it was last told."""
        floor = self.floor
        if not (floor.linked and floor.farm) or floor.faults.find("silent-line") is not None:
            return
        said, before = self._quote(line), line.told
        bid_kind, ask_kind, last_kind, close_kind, model_kind = TICKS[line.kind]
        if before is None or (said.bid, said.bid_size) != (before.bid, before.bid_size):
            self._price(line, bid_kind, said.bid, said.bid_size)
        if before is None or (said.ask, said.ask_size) != (before.ask, before.ask_size):
            self._price(line, ask_kind, said.ask, said.ask_size)
        if said.last is not None and (before is None or said.last != before.last):
            self._price(line, last_kind, said.last, 0)
        if said.close is not None and before is None:
            self._price(line, close_kind, said.close, 0)
        if said.greeks and (before is None or said.greeks != before.greeks) and floor.faults.find("no-greeks") is None:
            self.send(*messages.greeks_tick(line.request, model_kind, said.greeks))
        line.told = said

    def _price(self, line: Line, kind: int, price: int | None, size: int) -> None:
        self.send(*messages.price_tick(line.request, kind, price, size))

    def _quote(self, line: Line) -> Quote:
        if not line.legs:
            return self.floor.quote(line.con_id)
        net = net_of(line.legs, self.floor.quote)
        return Quote() if net.natural is None else Quote(net.passive, net.natural, max(net.size, 1), max(net.size, 1))

    # --- orders --------------------------------------------------------------------------------------------------------

    def _order(self, fields: Fields) -> None:
        self.orders.place(self.client_id, messages.order_of(fields))

    def _cancel(self, fields: Fields) -> None:
        fields.whole()
        self.orders.cancel(self.client_id, fields.whole())

    def _global_cancel(self, fields: Fields) -> None:
        self.floor.record.misuses.append(f"client {self.client_id} cancelled everything, its own or not")
        for order in self.floor.live_orders():
            self.orders.end(order)

    def _own_orders(self, fields: Fields) -> None:
        self._list_orders(only=self.client_id)

    def _all_orders(self, fields: Fields) -> None:
        self._list_orders(only=None)

    def _list_orders(self, only: int | None) -> None:
        for order in self.floor.live_orders():
            if only in (None, order.client_id):
                self.send(*messages.open_order(order))
                self.send(*messages.status(order))
        self.send(53, 1)

    def _completed(self, fields: Fields) -> None:
        for order in list(self.floor.orders.values()):
            if not order.live:
                self.send(*messages.completed_order(order))
        self.send(102)


def _request_of(fields: Fields) -> int:
    """The request's id for an error: the third field of a versioned message, else the second; -1 where it is none."""
    at = 1 if fields.all[0] in ("3", "78", "20", "91") else 2
    try:
        return int(fields.all[at])
    except (IndexError, ValueError):
        return -1
