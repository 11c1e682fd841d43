"""A receiver shaped like Pushover: the same limits, answers and headers, and a record of every request.

Rules: what it accepted is in `messages`, in order; every request, refused or not, is in `requests` with its arrival. Nothing
is delivered anywhere. Any 30-character token and user key are accepted unless `tokens` or `users` name the good ones.
"""

from __future__ import annotations

import re
import time
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl
from uuid import uuid4

import msgspec
import pytz

from simulator.http import Answer, HttpServer, Request

KEY = re.compile(r"[A-Za-z0-9]{30}")
LIMITS = {"message": 1024, "title": 250, "url": 512, "url_title": 100}
CENTRAL = pytz.timezone("America/Chicago")
Failure = Literal["500", "503", "html", "empty", "status 0", "400", "429", "hang", "cut before", "cut after", "500 after"]
FAILURES: dict[str, Answer] = {
    "500": Answer(500, {"status": 0, "errors": ["internal error"]}),
    "503": Answer(503, b"<html>unavailable</html>", {"Content-Type": "text/html"}),
    "html": Answer(200, b"<html>hello</html>", {"Content-Type": "text/html"}),
    "empty": Answer(200, b""),
    "status 0": Answer(200, {"status": 0, "request": "0", "errors": ["something is wrong"]}),
    "400": Answer(400, {"token": "invalid", "errors": ["application token is invalid"], "status": 0, "request": "0"}),
    "429": Answer(429, {"status": 0, "errors": ["application has exceeded its message limit"], "request": "0"}),
    "hang": Answer(200, b"", hang=True),
    "cut before": Answer(200, b"", cut_after=0),
    "cut after": Answer(200, b"", cut_after=0, process=True),
    "500 after": Answer(500, {"status": 0, "errors": ["internal error"]}, process=True),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One accepted message. `at` is the monotonic time of its request's first byte, `market_at` the market's time then."""

    at: float
    market_at: float
    title: str
    text: str
    priority: int
    fields: dict[str, str]
    receipt: str | None


class PushServer(HttpServer):
    """Pushover's API under `/1`. `limit`, `remaining` are the account's monthly quota."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.messages: list[Message] = []
        self.receipts: dict[str, dict[str, Any]] = {}
        self.tokens: set[str] = set()
        self.users: set[str] = set()
        self.limit, self.remaining = 10_000, 10_000
        super().__init__(now)

    # --- for tests -----------------------------------------------------------------------------------------------------

    def fail_next(self, how: Failure | Answer, times: int = 1) -> None:
        """Let the next messages fail: `cut after` and `500 after` accept them all the same; the others do not."""
        self.script(r"^/1/messages\.json$", *[how if isinstance(how, Answer) else FAILURES[how]] * times)

    def wait_for_message(self, containing: str, timeout_s: float = 10.0) -> Message:
        """The first accepted message with this in its title or text."""

        def found() -> Message | None:
            return next((m for m in list(self.messages) if containing in m.title or containing in m.text), None)

        message = self.wait_for(found, timeout_s)
        assert isinstance(message, Message)
        return message

    def acknowledge(self, receipt: str, by: str = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG") -> None:
        """A person pressed the button of an emergency message."""
        self.receipts[receipt] |= {
            "acknowledged": 1, "acknowledged_at": int(self.now()), "acknowledged_by": by, "acknowledged_by_device": "iphone",
        }  # fmt: skip

    # --- the API -------------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        try:
            fields = _fields(request)
        except ValueError:
            return self._refused({}, ["the request could not be read"])
        if request.path == "/1/messages.json" and request.method == "POST":
            return self._message(request, fields)
        if request.path == "/1/users/validate.json" and request.method == "POST":
            return self._validate(fields)
        if errors := self._token_errors(fields):
            return self._refused({"token": "invalid"}, errors)
        if request.path == "/1/apps/limits.json":
            return self._fine({"limit": self.limit, "remaining": self.remaining, "reset": self._reset_at()})
        if match := re.fullmatch(r"/1/receipts/(\w+)(/cancel)?\.json", request.path):
            return self._receipt(match[1], cancel=match[2] is not None)
        return Answer(404, {"status": 0, "errors": ["resource not found"], "request": str(uuid4())})

    def _message(self, request: Request, fields: dict[str, str]) -> Answer:
        wrong, errors = self._faults_of(fields)
        if errors:
            return self._refused(wrong, errors)
        if self.remaining <= 0:
            return Answer(429, FAILURES["429"].body, self._limit_headers())
        self.remaining -= 1
        priority = int(fields.get("priority") or 0)
        receipt = uuid4().hex[:30] if priority == 2 else None
        if receipt:
            at = int(self.now())
            self.receipts[receipt] = {
                "acknowledged": 0, "acknowledged_at": 0, "acknowledged_by": "", "acknowledged_by_device": "",
                "last_delivered_at": at, "expired": 0, "expires_at": at + int(fields["expire"]), "called_back": 0,
                "called_back_at": 0,
            }  # fmt: skip
        self.messages.append(
            Message(request.at, request.market_at, fields.get("title", ""), fields["message"], priority, fields, receipt)
        )
        self.changed()
        return self._fine({"receipt": receipt} if receipt else {}, self._limit_headers())

    def _validate(self, fields: dict[str, str]) -> Answer:
        if errors := self._token_errors(fields):
            return self._refused({"token": "invalid"}, errors)
        if errors := self._user_errors(fields):
            return self._refused({"user": "invalid"}, errors)
        return self._fine({"group": 0, "devices": ["iphone"], "licenses": ["iOS"]})

    def _receipt(self, receipt: str, *, cancel: bool) -> Answer:
        state = self.receipts.get(receipt)
        if state is None:
            return self._refused({"receipt": "not found"}, ["receipt not found; may be invalid or expired"], 404)
        if cancel:
            state["expired"] = 1
            return self._fine({})
        if self.now() >= state["expires_at"] and not state["acknowledged"]:
            state["expired"] = 1
        return self._fine(state)

    def _faults_of(self, fields: dict[str, str]) -> tuple[dict[str, str], list[str]]:
        wrong: dict[str, str] = {}
        errors = self._token_errors(fields)
        if errors:
            return {"token": "invalid"}, errors
        if errors := self._user_errors(fields):
            return {"user": "invalid"}, errors
        if not fields.get("message"):
            wrong["message"] = "cannot be blank"
        for name, limit in LIMITS.items():
            if len(fields.get(name, "")) > limit:
                wrong[name] = f"is too long (maximum is {limit} characters)"
        try:
            priority = int(fields.get("priority") or 0)
            retry, expire = int(fields.get("retry") or 0), int(fields.get("expire") or 0)
            ttl = int(fields.get("ttl") or 1)
        except ValueError:
            return {"priority": "is invalid"}, ["priority, retry, expire and ttl must be whole numbers"]
        if not -2 <= priority <= 2:
            wrong["priority"] = "is invalid, can only be -2, -1, 0, 1, or 2"
        if priority == 2 and retry < 30:
            wrong["retry"] = "must be supplied with priority=2 and be at least 30"
        if priority == 2 and not 0 < expire <= 10_800:
            wrong["expire"] = "must be supplied with priority=2 and be at most 10800"
        if ttl <= 0:
            wrong["ttl"] = "must be a positive number"
        if fields.get("html") == "1" and fields.get("monospace") == "1":
            wrong["html"] = "cannot be used with monospace"
        return wrong, [f"{name} {reason}" for name, reason in wrong.items()]

    def _token_errors(self, fields: dict[str, str]) -> list[str]:
        token = fields.get("token", "")
        good = KEY.fullmatch(token) and (not self.tokens or token in self.tokens)
        return [] if good else ["application token is invalid, see https://pushover.net/api"]

    def _user_errors(self, fields: dict[str, str]) -> list[str]:
        users = fields.get("user", "").split(",")
        good = all(KEY.fullmatch(user) and (not self.users or user in self.users) for user in users) and len(users) <= 50
        return (
            []
            if good
            else ["user identifier is not a valid user, group, or subscribed user key, see https://pushover.net/api"]
        )

    @staticmethod
    def _fine(body: dict[str, Any], headers: dict[str, str] | None = None) -> Answer:
        return Answer(200, {**body, "status": 1, "request": str(uuid4())}, headers or {})

    @staticmethod
    def _refused(wrong: dict[str, str], errors: list[str], status: int = 400) -> Answer:
        return Answer(status, {**wrong, "errors": errors, "status": 0, "request": str(uuid4())})

    def _limit_headers(self) -> dict[str, str]:
        names = {"Limit": self.limit, "Remaining": self.remaining, "Reset": self._reset_at()}
        return {f"X-Limit-App-{name}": str(value) for name, value in names.items()}

    def _reset_at(self) -> int:
        """00:00 Central Time on the first of the next month."""
        today = datetime.fromtimestamp(self.now(), CENTRAL)
        days = monthrange(today.year, today.month)[1] - today.day + 1
        first = datetime.fromordinal(today.date().toordinal() + days)
        return int(CENTRAL.localize(first).timestamp())


def _fields(request: Request) -> dict[str, str]:
    """The parameters of a request: the query's, and the body's as form or JSON. ValueError if the body cannot be read."""
    if not request.body:
        return request.query
    if "json" in request.headers.get("content-type", ""):
        body = msgspec.json.decode(request.body)
        if not isinstance(body, dict):
            raise ValueError("not an object")
        return request.query | {str(name): "" if value is None else str(value) for name, value in body.items()}
    return request.query | dict(parse_qsl(request.body.decode(), keep_blank_values=True))
