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
from dashboard.server import Reply
from dashboard.view import View
from desk.books import side_of
from events import Mills, OperatorSpoke
from utils import dollars, to_mills

if TYPE_CHECKING:
    from edges.edge import Emit

JSON = "application/json"
Command = Literal["stop_entries", "resume_entries", "close_now", "took_it", "sold_it", "skipped_it"]
OF_A_TRADE = ("took_it", "sold_it", "skipped_it")


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """`price` in dollars as a person writes it; `confirm` is the second press.

    `position` is the one the person was looking at; what he really paid and got may be told of a closed trade too.
    """

    command: Command
    price: str = ""
    position: str = ""
    confirm: str = ""


class Impossible(Exception):
    """It cannot be done now; the message says why."""


class Actions:
    def __init__(self, guard: Guard, sees: Callable[[], View | None], now: Callable[[], float], emit: Emit) -> None:
        self._guard, self._sees, self._now, self._emit = guard, sees, now, emit

    def act(self, body: bytes, who: Who, trade_id: str | None) -> Reply:
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
        about = asked.position or None
        self._emit(OperatorSpoke(at=self._now(), command=asked.command, who=who, price=price, trade_id=about))
        return said(200, done(asked, price))

    @staticmethod
    def _possible(asked: Asked, view: View, trade_id: str | None) -> Mills | None:
        """The price said, if one is wanted. Impossible for what cannot be done now, or not by a trade's link."""
        if trade_id is not None and asked.command == "resume_entries":
            raise Impossible("a link stops entries and does not resume them: open the page for that")
        if asked.command not in (*OF_A_TRADE, "close_now"):
            return None
        if trade_id not in (None, asked.position):
            raise Impossible("this link is about another trade")
        side = side_of(view.state, asked.position)
        followed = view.held is not None and view.held.position.id == asked.position
        if not followed and asked.command == "close_now":
            is_open = view.held is not None
            raise Impossible("that position is no longer the open one" if is_open else "no position is open")
        if side is None:
            raise Impossible("there is no such trade")
        if asked.command not in ("took_it", "sold_it"):
            return None
        try:
            price = to_mills(Decimal(asked.price.strip().lstrip("$")))
        except (InvalidOperation, ValueError, OverflowError):
            raise Impossible("at which price? Write it like 1.43") from None
        refusal = risk_manager.fill_refusal if asked.command == "took_it" else risk_manager.sale_refusal
        why = refusal(side, price)
        if why is not None:
            raise Impossible(why)
        return price


def question(asked: Asked, view: View, price: Mills | None) -> str:
    """What the second press will do."""
    held = view.held
    is_open = asked.position in view.state.held
    at = dollars(price or 0)
    match asked.command:
        case "stop_entries":
            return "No more BUY until entries are resumed, across restarts too. Press again."
        case "resume_entries":
            return "BUYs are allowed again. Press again."
        case "close_now":
            bid = None if held is None else held.position.last_bid
            about = "" if bid is None else f" at about {dollars(bid)}"
            return f"The SELL is sent now, and the position booked as closed{about}. Press again."
        case "took_it":
            runs = "your P&L and your stop run on it" if is_open else "your P&L of it is made of that"
            return f"You bought at {at}: {runs}. Press again."
        case "sold_it":
            ends = (
                "the assumed fill is followed on, and its SELL will not ring"
                if is_open
                else "your P&L of it is made of that"
            )
            return f"You sold at {at}: {ends}. Press again."
        case "skipped_it":
            then = "only the assumed fill is followed, and its SELL will not ring" if is_open else "no P&L of yours"
            return f"You did not buy: {then}. Press again."


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
        case "sold_it":
            return f"Noted: you sold it at {dollars(price or 0)}."
        case "skipped_it":
            return "Noted: you skipped it."


def said(status: int, words: str, **more: str) -> Reply:
    return Reply(status, msgspec.json.encode({"says": words, **more}), JSON)
