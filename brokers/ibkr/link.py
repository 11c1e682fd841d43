"""One connection to TWS or IB Gateway: a thread with a loop of its own, and a new `IB` that lives as long as the connection.

Rules: one question at a time, each with a deadline; an answer counts only if it came whole, within it, over a link that stood all the
while. A question without an id of its own that was not answered ends the connection, since its late answer would pass for the next
one's. The library's log, in which accounts stand in full, goes nowhere; what it could not read is counted.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from ib_async import IB
from ib_async.wrapper import RequestError
from msgspec import Struct

from brokers.ibkr import codes
from wire.transport import Refused, TryAgain

T = TypeVar("T")
MESSAGES_A_SECOND = 40
SPARE_S = 2.0  # a deadline ends on the loop's thread first


class Place(Struct, frozen=True):
    """Where TWS is and who we are there. `account` None: the session's only one."""

    host: str
    port: int
    client_id: int
    is_live: bool
    account: str | None = None
    timeout_s: float = 10.0


class Unreadable(logging.Handler):
    """Counts what the library's decoder could not read on one thread: an answer with a hole in it is none."""

    def __init__(self, thread: int | None) -> None:
        super().__init__(logging.ERROR)
        self._thread = thread
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.thread == self._thread


def hush() -> logging.Logger:
    """The library's log goes nowhere; its decoder's logger."""
    logging.getLogger("ib_async").setLevel(logging.CRITICAL + 1)
    decoder = logging.getLogger("ib_async.Decoder")
    decoder.setLevel(logging.ERROR)
    decoder.propagate = False
    return decoder


def account_fault(place: Place, accounts: list[str]) -> str | None:
    """Why no order may go to this session: the account is of the other kind, or it is not clear which is meant."""
    if place.account is None and len(accounts) != 1:
        return f"the session has {len(accounts)} accounts: name one in IBKR_ACCOUNT"
    account = place.account or accounts[0]
    if account not in accounts:
        return "IBKR_ACCOUNT is not an account of this session"
    if account.startswith(("DU", "DF")) == place.is_live:
        return f"the account …{account[-3:]} is {'a paper' if place.is_live else 'no paper'} account"
    return None


class Link:
    """A connection from `open` to `close`; every method but these two runs on its own loop.

    `heard` is called there with each message of TWS: request or order id, code, text. `made` is called with each new IB.
    """

    def __init__(self, place: Place, made: Callable[[IB], None], heard: Callable[[int, int, str], None]) -> None:
        self.place, self._made, self._heard = place, made, heard
        self.account = ""
        self.fault: str | None = "not connected"
        self.ib: IB | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = asyncio.Lock()
        self._unreadable = Unreadable(None)
        self._named: list[str] = []
        self._taken = asyncio.Event()

    # --- for the broker's thread ---------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, and see that the account is the one that is meant. TryAgain or Refused says why not."""
        self.close()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name="ibkr", daemon=True)
        self._thread.start()
        try:
            self.run(self._connect(), 4 * self.place.timeout_s)
        except (TryAgain, Refused):
            self.close()
            raise

    def close(self) -> None:
        """Leave, and end the thread."""
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        self.fault = "not connected"
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SPARE_S)

    def run(self, work: Coroutine[Any, Any, T], within_s: float) -> T:
        """Do something on the loop. TryAgain where there is none, or where it does not end in time."""
        if self._loop is None:
            work.close()
            raise TryAgain(self.fault or "not connected")
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return done.result(within_s + SPARE_S)
        except TimeoutError:
            done.cancel()
            raise TryAgain("TWS did not answer in time", sent=True) from None

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        self._lock, self._taken, self._named = asyncio.Lock(), asyncio.Event(), []
        decoder, self._unreadable = hush(), Unreadable(threading.get_ident())
        decoder.addHandler(self._unreadable)
        try:
            loop.run_forever()
        finally:
            if self.ib is not None:
                self.ib.disconnect()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            decoder.removeHandler(self._unreadable)
            loop.close()

    # --- on the loop ---------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        place = self.place
        self.ib = ib = IB()
        ib.RaiseRequestErrors = True
        ib.client.MaxRequests = MESSAGES_A_SECOND
        ib.errorEvent += self._message
        ib.disconnectedEvent += self._lost
        asked = asyncio.ensure_future(
            ib.connectAsync(
                place.host, place.port, place.client_id, place.timeout_s, account=place.account or "", raiseSyncErrors=True
            )
        )
        taken = asyncio.ensure_future(self._taken.wait())
        await asyncio.wait({asked, taken}, return_when=asyncio.FIRST_COMPLETED)
        taken.cancel()
        if not asked.done():
            asked.cancel()
        try:
            await asked
        except (Exception, asyncio.CancelledError) as error:
            if self._named:
                raise Refused(self._named[0], 0) from None
            raise TryAgain(f"TWS cannot be reached: {_words(error)}") from None
        if fault := account_fault(place, ib.client.getAccounts()):
            ib.disconnect()
            raise Refused(fault, 0)
        self.account = place.account or ib.client.getAccounts()[0]
        self.fault = None
        self._made(ib)

    def _message(self, request: int, code: int, text: str, _: object) -> None:
        """What TWS says. What keeps a connection from being made is named, where the library knows of a time-out alone."""
        if code == codes.CLIENT_ID_TAKEN:
            self._named.append(f"client id {self.place.client_id} is in use by another program (326)")
            self._taken.set()
        elif codes.is_read_only(code, text):
            self._named.append("the API of TWS is set to read-only (321)")
        elif code == codes.LINK_LOST:
            self.fault = "TWS has lost its link to Interactive Brokers (1100)"
        elif code in (codes.DATA_LOST, codes.LINK_BACK):
            self.fault = None
        self._heard(request, code, text)

    def _lost(self) -> None:
        self.fault = "the connection to TWS was lost"

    def _give_up(self, name: str, *, has_id: bool) -> None:
        """A question was left without its answer, which may still come and would pass for the next one's."""
        if not has_id and self.ib is not None:
            self.ib.disconnect()
            self.fault = f"TWS did not answer for {name}"

    @property
    def is_connected(self) -> bool:
        return self.ib is not None and self.ib.isConnected()

    async def ask(
        self, name: str, question: Callable[[IB], Awaitable[T]], *, has_id: bool, within_s: float | None = None
    ) -> T:
        """One answer, whole. TryAgain where there is none; `has_id`: the question has an id, so that a late answer harms nothing."""
        async with self._lock:
            if self.fault is not None or self.ib is None or not self.is_connected:
                raise TryAgain(self.fault or "not connected")
            unread = self._unreadable.count
            try:
                answer = await asyncio.wait_for(question(self.ib), within_s or self.place.timeout_s)
            except asyncio.CancelledError:
                self._give_up(name, has_id=has_id)
                raise
            except TimeoutError:
                self._give_up(name, has_id=has_id)
                raise TryAgain(f"no answer for {name} within {within_s or self.place.timeout_s:g} s", sent=True) from None
            except RequestError as error:
                raise Said(error.code, error.message) from None
            except ConnectionError as error:
                raise TryAgain(self.fault or _words(error), sent=True) from None
            if self._unreadable.count != unread:
                raise TryAgain(f"a part of the answer for {name} could not be read", sent=True)
            if self.fault is not None:
                raise TryAgain(self.fault, sent=True)
            return answer


class Said(TryAgain):
    """TWS answered a question with a message."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}", sent=True)
        self.code, self.text = code, text


def _words(error: BaseException) -> str:
    with suppress(Exception):
        if text := str(error):
            return text[:200]
    return type(error).__name__
