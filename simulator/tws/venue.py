"""The venue itself: a TWS on a port of loopback with a thread of its own, which is faulted, asked and waited for from any other.

    with Venue(market, clock) as tws:
        tws.arm("fill-in-cancel", ref="ENTRY")
        await ib.connectAsync("127.0.0.1", tws.port, clientId=21)
        tws.record.wait_for(lambda: tws.record.of("ENTRY"))

Rules: everything happens on the venue's own thread, one thing at a time; a call from another waits for its turn.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self, TypeVar

from simulator.tws import faults
from simulator.tws.acts import Acts
from simulator.tws.contracts import Market, Quote
from simulator.tws.faults import CATALOGUE, Armed, Value
from simulator.tws.fills import Fills
from simulator.tws.floor import Floor, Holding, Time
from simulator.tws.messages import Order
from simulator.tws.orders import Orders
from simulator.tws.record import Event, Record
from simulator.tws.session import Session

T = TypeVar("T")
PAPER_ACCOUNT = "DU1234567"
BEAT_S = 0.25
PATIENCE_S = 10.0


class Venue:
    """A TWS that is up from its making to `close`. `beat_s` 0: quotes are told and orders matched at `nudge` alone."""

    def __init__(
        self,
        market: Market,
        clock: Time,
        *,
        port: int = 0,
        accounts: Sequence[str] = (PAPER_ACCOUNT,),
        matching: str = "natural",
        seed: int = 1,
        beat_s: float = BEAT_S,
        fee: float = 1.23,
        heard: Callable[[Event], None] | None = None,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._beat_s = beat_s
        self._sessions: set[Session] = set()
        self._server: asyncio.Server | None = None
        self.floor = Floor(market, clock, tuple(accounts), self._loop.call_later, fee=round(fee * 1000))
        if heard is not None:
            self.floor.record.heard = heard
        self.fills = Fills(self.floor)
        self.orders = Orders(self.floor, self.fills, matching=matching, seed=seed)
        self._acts = Acts(self.floor, self.orders, self.fills, self)
        for con_id in market.instruments:
            market.quote(con_id, clock.now())  # so that no client waits for a chain's first quotes
        door = socket.create_server(("127.0.0.1", port))
        self.port = int(door.getsockname()[1])
        self._thread = threading.Thread(target=self._run, args=(door,), name="tws", daemon=True)
        self._thread.start()

    # --- for tests and programs ----------------------------------------------------------------------------------------

    @property
    def record(self) -> Record:
        return self.floor.record

    def arm(self, name: str, /, **settings: Value) -> None:
        """Arm a fault, or do one that acts at once; UnknownFault or ValueError says what is wrong with it."""
        self.do(lambda: self._arm(name, settings))

    def clear(self, name: str = "") -> None:
        """Disarm a fault, or all."""
        self.do(lambda: self.floor.faults.clear(name))

    def armed(self) -> list[Armed]:
        return self.do(lambda: list(self.floor.faults.armed))

    def command(self, line: str) -> str:
        """`reject times=2`, `clear reject`, `orders`, `positions`: what a script, a person or the control door says."""
        return self.do(lambda: self._acts.command(line))

    def nudge(self) -> None:
        """Look at the market now: tell every line, match every order."""
        self.do(self._beat)

    def order(self, ref: str) -> Order:
        """The newest order of a ref; LookupError if there is none."""
        found = [order for order in self.record.orders if order.ref == ref]
        if not found:
            raise LookupError(f"no order has the ref {ref}")
        return found[-1]

    def fill(self, ref: str, units: int = 0, price: int | None = None) -> None:
        """Fill a live order of a ref, at a net price in mills or its limit."""
        order = self.order(ref)
        self.do(lambda: self.orders.fill(order, units, price))

    def set_quote(self, con_id: int, quote: Quote) -> None:
        """Quote a contract so from now on."""
        self.do(lambda: self.floor.forced.__setitem__(con_id, quote))

    def hold(self, con_id: int, units: int, cost: int = 0) -> None:
        """Put a position into the account, as from an earlier day."""
        self.do(lambda: self.floor.holdings.__setitem__(con_id, Holding(units, cost)))

    def positions(self) -> dict[int, int]:
        """Contract id → contracts with their sign."""
        return self.do(lambda: {con_id: held.units for con_id, held in self.floor.holdings.items()})

    def drop(self) -> None:
        """Cut every connection."""
        self.arm("drop")

    def do(self, work: Callable[[], T]) -> T:
        """Run something on the venue's thread and wait for it."""
        if threading.current_thread() is self._thread:
            return work()
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(PATIENCE_S)

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- its thread ----------------------------------------------------------------------------------------------------

    def _run(self, door: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        self._listen(door)
        if self._beat_s:
            self._loop.call_later(self._beat_s, self._beat_again)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._end())
            self._loop.close()

    def _listen(self, door: socket.socket) -> None:
        """Accept what comes to a socket that listens already, so that nobody who is early is refused."""

        async def listen() -> None:
            self._server = await asyncio.start_server(self._serve, sock=door)

        self._listening = self._loop.create_task(listen())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(self.floor, self.orders, reader, writer)
        self._sessions.add(session)
        try:
            await session.run()
        except Exception as error:  # ours, not the client's: loud, and for this session alone
            self._loop.call_exception_handler({"message": "a session of the venue failed", "exception": error})
        finally:
            self._sessions.discard(session)
            session.closed()
            writer.close()

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.drop()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _beat_again(self) -> None:
        self._beat()
        self._loop.call_later(self._beat_s, self._beat_again)

    def _beat(self) -> None:
        for session in list(self._sessions):
            session.beat()
        self.orders.match_all()

    # --- for its acts --------------------------------------------------------------------------------------------------

    def _arm(self, name: str, settings: dict[str, Value]) -> None:
        if CATALOGUE[faults.known(name).name].at_once:
            self._acts.act(name, settings)
        else:
            self.floor.faults.arm(name, settings)

    def sessions(self) -> list[Session]:
        return list(self._sessions)

    def set_down(self, down: bool) -> None:
        """Refuse connections, or accept them again on the same port."""
        if down and self._server is not None:
            self._server.close()
            self._server = None
            for session in self.sessions():
                session.drop()
        elif not down and self._server is None:
            self._listen(socket.create_server(("127.0.0.1", self.port)))
