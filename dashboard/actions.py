"""What a person may say to the desk: checked, said back, and put into the inbox at the second press. The ledger keeps every word."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

import risk_manager
from dashboard.guard import Guard, Who
from dashboard.server import Answer
from dashboard.view import View
from desk_state import Holding
from events import Mills, OperatorSpoke
from utils import dollars, to_mills

if TYPE_CHECKING:
    from threads import Emit

JSON = "application/json"
Command = Literal["stop_entries", "resume_entries", "close_now", "took_it", "skipped_it"]
OF_A_POSITION = ("close_now", "took_it", "skipped_it")


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """`price` in dollars as a person writes it; `position` is the one the person was looking at; `confirm` is the second press."""

    command: Command
    price: str = ""
    position: str = ""
    confirm: str = ""


class Impossible(Exception):
    """It cannot be done now; the message says why."""


class Actions:
    def __init__(self, guard: Guard, sees: Callable[[], View | None], now: Callable[[], float], emit: Emit) -> None:
        self._guard, self._sees, self._now, self._emit = guard, sees, now, emit

    def act(self, body: bytes, who: Who, trade_id: str | None) -> Answer:
        """200 done, 202 press again, 400 not understood, 409 not now. `trade_id`: a link is good for that trade alone."""
        try:
            asked = msgspec.json.decode(body, type=Asked)
        except msgspec.MsgspecError:
            return said(400, "that was not understood")
        view = self._sees()
        if view is None:
            return said(409, "the desk has not begun yet")
        try:
            price = self._possible(asked, view, trade_id)
        except Impossible as why:
            return said(409, str(why))
        what = "\0".join((asked.command, asked.position, "" if price is None else str(price), who))
        if not asked.confirm:
            promise = self._guard.promise(what, self._now(), secrets.token_hex(8))
            return said(202, question(asked, view, price), confirm=promise)
        if not self._guard.kept(asked.confirm, what, self._now()):
            return said(409, "that was too late, or for something else: press twice again")
        self._emit(OperatorSpoke(at=self._now(), command=asked.command, who=who, price=price))
        return said(200, done(asked, price))

    @staticmethod
    def _possible(asked: Asked, view: View, trade_id: str | None) -> Mills | None:
        """The price said, if one is wanted. Impossible for what cannot be done now."""
        phase = view.state.phase
        if asked.command not in OF_A_POSITION:
            return None
        if not isinstance(phase, Holding):
            raise Impossible("no position is open")
        if phase.position.id != asked.position or trade_id not in (None, phase.position.id):
            raise Impossible("that position is no longer the open one")
        if asked.command != "took_it":
            return None
        try:
            price = to_mills(Decimal(asked.price.strip().lstrip("$")))
        except (InvalidOperation, ValueError, OverflowError):
            raise Impossible("at which price? Write it like 1.43") from None
        why = risk_manager.fill_refusal(phase.position, price)
        if why is not None:
            raise Impossible(why)
        return price


def question(asked: Asked, view: View, price: Mills | None) -> str:
    """What the second press will do."""
    phase = view.state.phase
    match asked.command:
        case "stop_entries":
            return "No more BUY until entries are resumed, across restarts too. Press again."
        case "resume_entries":
            return "BUYs are allowed again. Press again."
        case "close_now":
            bid = phase.position.last_bid if isinstance(phase, Holding) else None
            at = "" if bid is None else f" at about {dollars(bid)}"
            return f"The SELL is sent now, and the position booked as closed{at}. Press again."
        case "took_it":
            return f"You bought at {dollars(price or 0)}: your P&L and your stop run on it. Press again."
        case "skipped_it":
            return "You did not buy: only the assumed fill is followed. Press again."


def done(asked: Asked, price: Mills | None) -> str:
    match asked.command:
        case "stop_entries":
            return "Entries are stopped."
        case "resume_entries":
            return "Entries are allowed."
        case "close_now":
            return "The position is being closed."
        case "took_it":
            return f"Noted: you took it at {dollars(price or 0)}."
        case "skipped_it":
            return "Noted: you skipped it."


def said(status: int, words: str, **more: str) -> Answer:
    return Answer(status, msgspec.json.encode({"says": words, **more}), JSON)
