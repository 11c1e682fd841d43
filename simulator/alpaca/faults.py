"""Everything that can go wrong at the venue, by name, with one line each.

A *switch* stays on until it is turned off or has happened as often as was asked. An *act* happens once, at once. `after` in a name:
the venue has done what was asked and only its answer is lost. `before`: it has not.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulator.http import Answer

HTML = b"<html><body><h1>Bad Gateway</h1></body></html>"
BROKEN = b'{"id":"61e69015-8549-4bfd-b9c3-01e75843f47d","client_ord'
ORDER, CANCEL, READ, ANY = r"POST /v2/orders$", r"DELETE /v2/orders/", r"GET ", r""


class Request(NamedTuple):
    """A fault of the answer to one kind of request: where, as a pattern on `METHOD /path`, and what is answered instead."""

    where: str
    answer: Answer
    says: str


def _refusal(status: int, code: int | None, message: str, **more: Any) -> Answer:
    return Answer(status, {**({} if code is None else {"code": code}), "message": message, **more})


def _html(status: int, *, process: bool = False) -> Answer:
    return Answer(status, HTML, {"Content-Type": "text/html"}, process=process)


REQUESTS: dict[str, Request] = {
    "reject-buying-power": Request(
        ORDER, _refusal(403, 40310000, "insufficient options buying power"), "an order is refused: 403 with its reason"
    ),
    "reject-qty": Request(
        ORDER,
        _refusal(403, 40310000, "insufficient qty available for order (requested: 1, available: 0)"),
        "an order is refused as if the contracts were held for another: 403 with its reason",
    ),
    "reject-user": Request(
        ORDER,
        _refusal(403, 40310000, "new orders are rejected by user request"),
        "an order is refused as if its owner had suspended trading: 403 with its reason",
    ),
    "reject-422": Request(
        ORDER, _refusal(422, 42210000, "invalid order: rejected by the venue"), "an order is refused: 422 with its reason"
    ),
    "duplicate-id": Request(
        ORDER,
        _refusal(422, 40010001, "client_order_id must be unique"),
        "an order is refused as a duplicate, though nothing has its id",
    ),
    "order-403-no-code": Request(ORDER, _refusal(403, None, "forbidden."), "an order is answered 403 without a code"),
    "order-timeout-before": Request(ORDER, Answer(hang=True, status=200), "an order is not taken and never answered"),
    "order-timeout-after": Request(ORDER, Answer(hang=True), "an order is taken and never answered"),
    "order-504-before": Request(ORDER, _refusal(504, 50410000, "gateway timeout"), "an order is not taken: 504"),
    "order-504-after": Request(
        ORDER, Answer(504, {"code": 50410000, "message": "gateway timeout"}, process=True), "an order is taken: 504"
    ),
    "order-500-after": Request(
        ORDER, Answer(500, {"code": 50010000, "message": "internal server error"}, process=True), "an order is taken: 500"
    ),
    "order-cut-before": Request(ORDER, Answer(200, b"", cut_after=0), "an order is not taken, the connection is cut"),
    "order-cut-after": Request(ORDER, Answer(cut_after=0), "an order is taken, the connection is cut"),
    "order-cut-within": Request(ORDER, Answer(cut_after=300), "an order is taken, the connection is cut within the answer"),
    "order-unreadable": Request(ORDER, Answer(200, BROKEN, process=True), "an order is taken, the answer is broken JSON"),
    "order-html": Request(ORDER, _html(200, process=True), "an order is taken, the answer is a page of HTML"),
    "cancel-422": Request(
        CANCEL,
        _refusal(422, 42210000, "order is not cancelable"),
        "a cancel is answered 422, though the order works on",
    ),
    "cancel-timeout-after": Request(CANCEL, Answer(hang=True), "a cancel is done and never answered"),
    "auth-401": Request(ANY, _refusal(401, None, "unauthorized"), "any request is answered 401 without a code"),
    "auth-403": Request(ANY, _refusal(403, None, "forbidden."), "any request is answered 403 without a code"),
    "rate-429": Request(ANY, _refusal(429, 42910000, "rate limit exceeded"), "any request is answered 429, Reset in 2 s"),
    "rate-429-no-reset": Request(
        ANY, _refusal(429, 42910000, "rate limit exceeded"), "any request is answered 429 without any header"
    ),
    "error-500": Request(ANY, _refusal(500, 50010000, "internal server error"), "any request is answered 500"),
    "html-502": Request(ANY, _html(502), "any request is answered 502 with a page of HTML"),
    "html-200": Request(READ, _html(200), "a question is answered 200 with a page of HTML"),
    "timeout": Request(ANY, Answer(200, hang=True), "any request hangs and is not done"),
    "slow": Request(ANY, Answer(delay_s=1.0), "any answer comes a second late"),
    "drip": Request(ANY, Answer(byte_every_s=0.02), "any answer drips, a byte every 20 ms"),
    "empty-orders": Request(r"GET /v2/orders$", Answer(200, []), "the list of orders is empty"),
    "empty-positions": Request(r"GET /v2/positions$", Answer(200, []), "the list of positions is empty"),
    "empty-activities": Request(r"GET /v2/account/activities", Answer(200, []), "the list of activities is empty"),
    "no-such-order": Request(
        r"GET /v2/orders:by_client_order_id$",
        _refusal(404, 40410000, "order not found"),
        "a look-up by client order id finds nothing",
    ),
}

SWITCHES: dict[str, str] = {
    "reject-later": "an order is taken with 200, then rejected by an event",
    "no-fill": "nothing fills",
    "partial-fill": "each order fills one contract and no more",
    "fill-in-cancel": "a cancel is answered 204, and the order fills whole before it is there",
    "partial-in-cancel": "a cancel is answered 204, and one contract fills before the rest is canceled",
    "cancel-stuck": "a cancel is answered 204, and the order stays pending_cancel until this is turned off",
    "replace-refused": "a PATCH is answered 200, then refused by an event; the old order works on",
    "late-activities": "fills are missing among the activities until this is turned off",
    "late-positions": "positions stand still as they are now until this is turned off",
    "short-pages": "a page of orders or activities holds two at most",
    "page-500": "a page of orders or activities that follows another is answered 500",
    "unknown-status": "orders are shown with a status nobody has heard of",
    "empty-intent": "orders are shown with an empty position_intent",
    "clock-skew": "the venue's clock and stamps are 90 s ahead",
    "block-trading": "the account's trading is blocked",
    "block-account": "the account is blocked",
    "suspend-by-user": "the account's owner has suspended trading",
    "level-1": "the account's level of options trading is 1",
    "other-account": "the account has another number",
    "stream-silence": "the stream says nothing, though it is open",
    "stream-refused": "the stream refuses the keys",
    "stream-double": "the stream says everything twice",
    "unknown-event": "the stream names events nobody has heard of",
}

ACTS: dict[str, str] = {
    "stream-drop": "every stream is cut",
    "stream-garbage": "every stream is sent a frame that is no JSON",
    "foreign-position": "a position appears that no order made: symbol, qty (1)",
    "foreign-fill": "an order of somebody else fills at once: symbol, qty (1), side (buy)",
    "position-gone": "a position disappears without a fill: symbol",
    "trade-bust": "the last fill is busted",
    "trade-correct": "the last fill is corrected by a cent a share",
    "liquidate": "the venue cancels everything and sells what is held, as after the cut-off",
    "force-quote": "a contract is quoted so from now on: symbol, bid, ask, bid_size (50), ask_size (50)",
    "no-quote": "a contract is quoted no more: symbol",
}


def catalogue() -> dict[str, str]:
    """Every name with its line."""
    return {**{name: fault.says for name, fault in REQUESTS.items()}, **SWITCHES, **ACTS}


@dataclass(slots=True)
class _On:
    times: int | None
    path: re.Pattern[str] | None


class Faults:
    """Which switches are on, and how often they may still happen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._on: dict[str, _On] = {}

    def set(self, name: str, times: int | None = None, path: str | None = None) -> None:
        """Turn a switch on: for so many times, or until it is turned off. `path`, a pattern on `METHOD /path`, puts a fault of answers
        on other requests than its own. ValueError for a name that is no switch.
        """
        if name not in REQUESTS and name not in SWITCHES:
            raise ValueError(f"{name} is no fault that can be switched on")
        if times is not None and times < 1:
            raise ValueError("times must be 1 or more")
        with self._lock:
            self._on[name] = _On(times, None if path is None else re.compile(path))

    def clear(self, *names: str) -> None:
        """Turn switches off; without a name, all."""
        with self._lock:
            for name in names or tuple(self._on):
                self._on.pop(name, None)

    @property
    def on(self) -> dict[str, int | None]:
        """What is on, and how many times are left."""
        with self._lock:
            return {name: state.times for name, state in self._on.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._on

    def take(self, name: str) -> bool:
        """Whether a switch is on, and one time less of it."""
        with self._lock:
            state = self._on.get(name)
            if state is None:
                return False
            self._count(name, state)
            return True

    def for_request(self, method: str, path: str) -> tuple[str, Request] | None:
        """The first fault that is on for a request, in the order of the catalogue, and one time less of it."""
        said = f"{method} {path}"
        with self._lock:
            for name, fault in REQUESTS.items():
                state = self._on.get(name)
                if state is not None and re.search((state.path or re.compile(fault.where)).pattern, said):
                    self._count(name, state)
                    return name, fault
        return None

    def _count(self, name: str, state: _On) -> None:
        if state.times is not None:
            state.times -= 1
            if state.times <= 0:
                del self._on[name]


def parsed(texts: Iterable[str]) -> list[tuple[str, int | None]]:
    """`name` or `name=times` of the command line. ValueError with the reason."""
    found: list[tuple[str, int | None]] = []
    for text in texts:
        name, _, times = text.partition("=")
        if times and not times.isdigit():
            raise ValueError(f"{text}: after = stands how many times")
        found.append((name, int(times) if times else None))
    return found
