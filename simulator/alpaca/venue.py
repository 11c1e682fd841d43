"""The whole venue in one process, on free ports of loopback: trading REST, trade updates, the control door.

    with Venue(WrittenQuotes(IWM261120C00240000=Quote(Decimal("1.40"), Decimal("1.44"))), now=...) as venue:
        TradingClient("key", "secret", url_override=venue.rest.url)
        venue.fault("order-504-after", times=1)
        venue.wait_for(lambda: venue.order("my-id").status == "filled")

Rules: one lock holds the book, so a request, a match and an event never overlap. Matching happens when something was asked for, and
every 50 ms besides.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from copy import copy
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import UUID

from simulator.alpaca.book import Book, Event
from simulator.alpaca.control import ControlServer
from simulator.alpaca.faults import ACTS, Faults
from simulator.alpaca.orders import TERMINAL, Fill, Order, Position, stamp
from simulator.alpaca.quotes import Quote, Quotes
from simulator.alpaca.rest import TradingServer
from simulator.alpaca.rules import Account
from simulator.alpaca.stream import UpdatesServer
from simulator.http import Answer, Request
from utils import NEW_YORK, SessionCalendar, SharedClock, new_york

STEP_S = 0.05
KEPT_CALLS = 50_000
ACCOUNT_NUMBER = "PA3SIM000001"


class Call(NamedTuple):
    """One request and its answer. `at` is monotonic seconds at its first byte, `market_at` the venue's time then."""

    at: float
    market_at: float
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    status: int | None
    fault: str | None


class Venue:
    """A venue for one account. `now`: where its own clock starts, Unix seconds; or `clock`, a market's.

    `say` is given a line for everything that happens.
    """

    def __init__(
        self,
        quotes: Quotes,
        *,
        now: float | None = None,
        clock: SharedClock | None = None,
        speed: float = 0.0,
        seed: int = 1,
        cash: Decimal = Decimal(25_000),
        number: str = ACCOUNT_NUMBER,
        level: int = 3,
        ports: tuple[int, int, int] = (0, 0, 0),
        binary: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder = TemporaryDirectory()
        if clock is None:
            if now is None:
                raise ValueError("a clock, or a time to start at, is needed")
            clock = SharedClock.create(Path(self._folder.name) / "clock", now, speed)
        self.clock, self._say = clock, say
        self.calendar = SessionCalendar(new_york(clock.now()).date())
        self._ids = random.Random(seed + 1_000_003)
        account = Account(number, str(UUID(int=self._ids.getrandbits(128), version=4)), cash, level)
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self.faults = Faults()
        self.book = Book(quotes, self.calendar, self.faults, self._tell, seed=seed, account=account)
        self.calls: deque[Call] = deque(maxlen=KEPT_CALLS)
        self.events: list[Event] = []
        self._shown_positions: list[Position] = []
        self._shown_fills = 0
        self._nudged, self._stopped = threading.Event(), threading.Event()
        self.rest = TradingServer(self, ports[0])
        self.stream = UpdatesServer(self, ports[1], binary=binary)
        self.control = ControlServer(self, ports[2])
        self._thread = threading.Thread(target=self._run, name="venue", daemon=True)
        self._thread.start()

    # --- for tests -----------------------------------------------------------------------------------------------------

    @property
    def urls(self) -> dict[str, str]:
        return {"trading": self.rest.url, "stream": self.stream.url, "control": self.control.url}

    def order(self, ref: str) -> Order:
        """The order under a client order id. KeyError if there is none."""
        with self.lock:
            found = self.book.by_ref(ref)
        if found is None:
            raise KeyError(ref)
        return found

    def quote(self, symbol: str, bid: str | Decimal, ask: str | Decimal, bid_size: int = 50, ask_size: int = 50) -> None:
        """Quote a contract so from now on, and let happen what follows from it."""
        with self.lock:
            self.book.quotes.force(symbol, Quote(Decimal(bid), Decimal(ask), bid_size, ask_size, self.clock.now()))
        self.match()

    def match(self) -> None:
        """Let everything happen that is due, before this returns."""
        with self._changed:
            self.book.match(self.clock.now())
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 5.0) -> Any:
        """Wait until something is true of the venue; its value, or TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise TimeoutError(f"not seen within {timeout_s:g} s")
            return condition()

    def set_clock(self, *, at: time | float | None = None, speed: float | None = None) -> None:
        """Move, stop or speed up the venue's time; `at` is a New York time of its day, or Unix seconds."""
        if isinstance(at, time):
            at = NEW_YORK.localize(datetime.combine(new_york(self.clock.now()).date(), at)).timestamp()
        self.clock.set(now=at, speed=speed)
        self.match()

    def fault(
        self, name: str, *, times: int | None = None, path: str | None = None, symbol: str = "", qty: int = 1, side: str = "buy",
        bid: str = "0", ask: str = "0", bid_size: int = 50, ask_size: int = 50,
    ) -> None:  # fmt: skip
        """Turn a switch on, or do an act, by name. ValueError for a name that is none, or an act that cannot be done."""
        self.line(f"fault   {name}{'' if times is None else f' × {times}'}")
        if name not in ACTS:
            with self.lock:
                self._shown_positions = [copy(position) for position in self.book.positions.values()]
                self._shown_fills = len(self.book.fills)
                self.faults.set(name, times, path)
            return
        with self._changed:
            now = self.clock.now()
            match name:
                case "stream-drop":
                    self.stream.drop()
                case "stream-garbage":
                    self.stream.send(b"{not json")
                case "foreign-position":
                    self.book.foreign_position(symbol, qty)
                case "foreign-fill":
                    self.book.foreign_fill(symbol, qty, side, now)
                case "position-gone":
                    self.book.gone(symbol)
                case "trade-bust":
                    self.book.bust(now)
                case "trade-correct":
                    self.book.correct(now)
                case "liquidate":
                    self.book.liquidate(now)
                case "force-quote":
                    self.quote(symbol, bid, ask, bid_size, ask_size)
                case "no-quote":
                    self.book.quotes.force(symbol, None)
            self._changed.notify_all()

    def clear(self, *names: str) -> None:
        """Turn switches off; without a name, all. What they held back happens."""
        self.faults.clear(*names)
        self.line(f"fault   off: {', '.join(names) or 'all'}")
        self.match()

    # --- the record ----------------------------------------------------------------------------------------------------

    def overlaps(
        self, intent: Callable[[Order], Any] = lambda order: (order.legs[0].contract.symbol, order.legs[0].side)
    ) -> list[str]:
        """Pairs of the client's orders of one intent that lived at the same time; an intent is told by contract and side,
        or as `intent` does. Orders that replaced one another are one.
        """
        with self.lock:
            lives = [(order, *self._life(order)) for order in self.book.orders.values() if order.owner == "client"]
        found = []
        for k, (one, begins, ends) in enumerate(lives):
            for other, begins_too, ends_too in lives[k + 1 :]:
                related = one.id == other.replaces or other.id == one.replaces
                if intent(one) == intent(other) and begins < ends_too and begins_too < ends and not related:
                    found.append(f"{one.ref} and {other.ref}")
        return found

    @staticmethod
    def _life(order: Order) -> tuple[int, float]:
        end = next((moment.at_us for moment in order.life if moment.status in TERMINAL), float("inf"))
        return order.submitted_us, end

    @property
    def oversold(self) -> list[str]:
        """Closes the client asked for beyond what was held and free: the venue's refusals of them."""
        words = ("insufficient qty", "position intent mismatch")
        return [f"{ref}: {said}" for _, ref, said in list(self.book.refused) if said.startswith(words)]

    def record(self) -> dict[str, Any]:
        """Every request and every order with its life, as data."""
        with self.lock:
            calls = [{**call._asdict(), "body": call.body.decode("utf-8", "replace")} for call in self.calls]
            orders = [
                {
                    "id": o.id, "client_order_id": o.ref, "owner": o.owner, "words": o.words(), "status": o.status, "filled": o.filled,
                    "life": [{"at": stamp(m.at_us), "status": m.status, "filled": m.filled} for m in o.life],
                }
                for o in self.book.orders.values()
            ]  # fmt: skip
        refused = [{"at": stamp(at), "client_order_id": ref, "reason": says} for at, ref, says in self.book.refused]
        return {"calls": calls, "orders": orders, "refused": refused, "overlaps": self.overlaps(), "oversold": self.oversold}

    # --- for its servers -----------------------------------------------------------------------------------------------

    @property
    def positions(self) -> list[Position]:
        """Positions as they are shown."""
        return self._shown_positions if "late-positions" in self.faults else list(self.book.positions.values())

    @property
    def activities(self) -> list[Fill]:
        """Fills as they are shown, oldest first."""
        return self.book.fills[: self._shown_fills] if "late-activities" in self.faults else list(self.book.fills)

    def session_before(self, day: date) -> date | None:
        before = self.calendar.full_before(day, 1)
        return before[0].date if before else None

    def request_id(self) -> str:
        return f"{self._ids.getrandbits(128):032x}"

    def nudge(self) -> None:
        """Match soon."""
        self._nudged.set()

    def called(self, request: Request, said: Answer, fault: str | None) -> None:
        """Keep a request and say it in a line."""
        status = None if said.hang else said.status
        call = Call(request.at, request.market_at, request.method, request.path, request.query, request.body, status, fault)
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        why = said.body.get("message", "") if isinstance(said.body, dict) and (said.status or 0) >= 400 else ""
        self.line(
            f"{request.method:<7} {request.path}  → {'no answer' if status is None else status}"
            f"{f'  {why}' if why else ''}{f'  [{fault}]' if fault else ''}"
        )

    def line(self, text: str) -> None:
        """Say one line, led by New York's time."""
        self._say(f"{new_york(self.clock.now()):%H:%M:%S.%f}"[:-3] + f"  {text}")

    def _tell(self, event: Event) -> None:
        order = event.order
        self.events.append(event)
        self.stream.publish(event)
        price = "" if event.price is None else f"  {event.qty} at {event.price}"
        self.line(f"order   {order.ref}  {order.words()}  {event.name}{price}  ({order.filled} of {order.qty})")

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._nudged.wait(STEP_S)
            self._nudged.clear()
            self.match()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(3)
        self.rest.close()
        self.stream.close()
        self.control.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
