"""One delivery to the phone, one check of its keys, one look at a receipt: by Pushover, or by the fallback channel.

Nothing is repeated here: whether and when to try again is the desk's decision. What an answer means (Pushover's own rules):
- HTTP 200 with status 1: accepted, unless it reserves something (`info`: nobody has a device) or an emergency got no receipt:
  that is as good as refused, so that the other channel has it and no BUY goes out in doubt.
- A 4xx or status 0: refused, never ask again. A 5xx, a broken answer, a cut or a deadline after the request left: unknown, it
  may have been accepted. No connection: it certainly was not.
- `retry` and `expire` belong to priority 2, `ttl` to all others. Text is sent as it is: no HTML, no markup.
- The token travels in the body; where the service wants it in the query, the address appears in no message.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from alerts import TEXT_LIMIT, TITLE_LIMIT, URL_LIMIT, URL_TITLE_LIMIT, clean, fit
from edges.edge import STUCK_S, Boxed, Edge, Emit
from events import (
    AlertDelivered,
    AlertFailed,
    CancelReceipt,
    CheckPhone,
    Deliver,
    PhoneChecked,
    PollReceipt,
    ReceiptSeen,
    TakeBack,
)
from failpoints import hit
from logger import Redactor
from utils import Clock
from wire.transport import Http, Refused, Response, TryAgain

if TYPE_CHECKING:
    from config import Config

IDLE_S = 30.0
WARM_S = 20.0
FALLBACK_DEADLINE_S = 10.0
FALLBACK_THREADS_MAX = 6
REASON_LIMIT = 200
MAX_ANSWER_BYTES = 100_000


class Phone:
    """Use it from one thread. No method raises for what the network does, and each ends within its deadline."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._clock = clock
        self._token = config.pushover_token.get_secret_value()
        self._user = config.pushover_user_key.get_secret_value()
        self._redact = Redactor(config.secrets())
        self._http = Http(config.pushover_url, config.alert_timeout_seconds, max_bytes=MAX_ANSWER_BYTES)
        self._used_at = self._renewed_at = -inf
        self._fallback = Fallback([url.get_secret_value() for url in config.fallback_alert_urls])

    def deliver(self, action: Deliver) -> AlertDelivered | AlertFailed:
        """One attempt, by the channel the action names."""
        if action.channel == "fallback":
            return self._by_fallback(action)
        try:
            answer = self._post("/1/messages.json", self._form(action))
        except TryAgain as fault:
            return self._failed(action, "unknown" if fault.sent else "failed", fault.reason)
        except Refused as fault:
            return self._failed(action, "refused", fault.reason)
        said = decoded(answer)
        quota = quota_of(answer)
        if answer.status == 200 and said.get("status") == 1:
            receipt = said.get("receipt")
            receipt = receipt if isinstance(receipt, str) and re.fullmatch(r"\w{1,64}", receipt) else None
            if said.get("info") or (action.priority == 2 and receipt is None):
                reserve = clean(str(said.get("info") or "no receipt for an emergency"))
                return self._failed(
                    action, "refused", fit(f"accepted for nobody: {self._redact(reserve)}", REASON_LIMIT), **quota
                )
            return AlertDelivered(
                at=self._clock.now(), alert_id=action.alert_id, attempt=action.attempt, receipt=receipt, **quota
            )
        if answer.status == 429 and quota["quota_left"] is None:
            quota["quota_left"] = 0
        refused = 400 <= answer.status < 500 or (said.get("status") == 0 and answer.status < 500)
        return self._failed(action, "refused" if refused else "unknown", self._reason(answer, said), **quota)

    def check(self) -> PhoneChecked:
        """Whether the keys are valid, and how many messages are left. Sends and costs none."""
        try:
            answer = self._post("/1/users/validate.json", {"token": self._token, "user": self._user})
        except (TryAgain, Refused) as fault:
            return PhoneChecked(at=self._clock.now(), ok=None, reason=fault.reason)
        said = decoded(answer)
        if said.get("status") == 1 and answer.status == 200 and said.get("devices") == [] and not said.get("group"):
            return PhoneChecked(at=self._clock.now(), ok=False, reason="the user has no active device")
        if said.get("status") == 1 and answer.status == 200:
            unusable = self._fallback.unusable()
            reason = "keys are valid" + (f"; {unusable} of FALLBACK_ALERT_URLS cannot be used" if unusable else "")
            return PhoneChecked(at=self._clock.now(), ok=True, reason=reason, **self._limits())
        refused = said.get("status") == 0 and 400 <= answer.status < 500 and answer.status != 429
        return PhoneChecked(at=self._clock.now(), ok=False if refused else None, reason=self._reason(answer, said))

    def receipt(self, action: PollReceipt) -> ReceiptSeen | None:
        """What became of an emergency; None when it could not be asked. A receipt that is not known any more has expired."""
        try:
            answer = self._http.get(f"/1/receipts/{action.receipt}.json", {"token": self._token})
        except TryAgain:
            return None
        except Refused as fault:
            return self._seen(action, expired=400 <= fault.status < 500)
        said = decoded(answer)
        if answer.status != 200 or said.get("status") != 1:
            return self._seen(action, expired=True) if 400 <= answer.status < 500 and answer.status != 429 else None
        if said.get("acknowledged") != 1:
            return self._seen(action, expired=said.get("expired") == 1)
        # `acknowledged_by` is the user's key, a secret: the device has to do
        device = clean(str(said.get("acknowledged_by_device") or "")).strip()[:25]
        at = said.get("acknowledged_at")
        seen_at = float(at) if isinstance(at, int) and at > 0 else self._clock.now()
        return self._seen(action, expired=False, at=seen_at, by=self._redact(device) or "a device")

    def cancel(self, action: CancelReceipt) -> ReceiptSeen | None:
        """End an emergency's ringing; None when it could not be asked. A receipt that is not known any more rings no more."""
        try:
            answer = self._post(f"/1/receipts/{action.receipt}/cancel.json", {"token": self._token})
        except TryAgain:
            return None
        except Refused as fault:
            return self._seen(action, expired=True) if 400 <= fault.status < 500 else None
        ended = answer.status == 200 or (400 <= answer.status < 500 and answer.status != 429)
        return self._seen(action, expired=True) if ended else None

    def certainly_not(self, action: Deliver, why: str) -> AlertFailed:
        """The answer for an attempt that did not begin."""
        return self._failed(action, "failed", why)

    def keep_warm(self) -> None:
        """Have the next message find a connection that is open and not `IDLE_S` old. In a thread of its own: no message waits for it.

        Nothing is asked over it: a new connection is neither counted nor answered by the service, and is certainly alive.
        """
        now = time.monotonic()
        if now - max(self._used_at, self._renewed_at) >= WARM_S:
            self._renewed_at = now
            threading.Thread(target=self._renew, name="phone warm", daemon=True).start()

    def _renew(self) -> None:
        if self._http.renew():
            self._used_at = time.monotonic()

    def close(self) -> None:
        self._http.close()

    # --- Pushover ------------------------------------------------------------------------------------------------------

    def _post(self, path: str, form: Mapping[str, str]) -> Response:
        """A connection that has been idle for long may be dead, and a dead one would make the outcome unknown."""
        if time.monotonic() - self._used_at > IDLE_S:
            self._http.close()
        try:
            return self._http.post(path, form)
        finally:
            self._used_at = time.monotonic()

    def _form(self, action: Deliver) -> dict[str, str]:
        form = {
            "token": self._token,
            "user": self._user,
            "title": fit(clean(action.title).replace("\n", " ").strip() or action.kind, TITLE_LIMIT),
            "message": fit(clean(action.text).strip() or action.kind, TEXT_LIMIT),
            "priority": str(action.priority),
            "timestamp": str(int(action.created_at or self._clock.now())),
        }
        if action.priority == 2:
            form |= {"retry": str(action.retry_s or 30), "expire": str(action.expire_s or 600)}
        elif action.ttl_s is not None:
            form["ttl"] = str(max(1, action.ttl_s))
        if action.sound is not None:
            form["sound"] = action.sound
        if action.url is not None and len(action.url) <= URL_LIMIT:
            form |= {"url": action.url, "url_title": fit(clean(action.url_title or "Open"), URL_TITLE_LIMIT)}
        return form

    def _limits(self) -> dict[str, Any]:
        try:
            said = decoded(self._http.get("/1/apps/limits.json", {"token": self._token}))
        except (TryAgain, Refused):
            said = {}
        return {"quota_left": count(said.get("remaining")), "quota_reset_at": moment(said.get("reset"))}

    def _reason(self, answer: Response, said: Mapping[str, Any]) -> str:
        errors = said.get("errors")
        words = "; ".join(map(str, errors)) if isinstance(errors, list) else ""
        told = f"HTTP {answer.status}: {words or ('no JSON' if not said else 'not accepted')}"
        return fit(clean(self._redact(told)).replace("\n", " "), REASON_LIMIT)

    def _failed(
        self, action: Deliver, outcome: Literal["failed", "unknown", "refused"], reason: str, **quota: Any
    ) -> AlertFailed:
        return AlertFailed(
            at=self._clock.now(),
            alert_id=action.alert_id,
            attempt=action.attempt,
            outcome=outcome,
            reason=reason,
            channel=action.channel,
            **quota,
        )

    def _seen(
        self, action: PollReceipt | CancelReceipt, *, expired: bool, at: float | None = None, by: str | None = None
    ) -> ReceiptSeen:
        return ReceiptSeen(
            at=self._clock.now(),
            alert_id=action.alert_id,
            receipt=action.receipt,
            acknowledged_at=at,
            acknowledged_by=by,
            expired=expired,
        )

    # --- the other channel ---------------------------------------------------------------------------------------------

    def _by_fallback(self, action: Deliver) -> AlertDelivered | AlertFailed:
        outcome, reason = self._fallback.tell(clean(action.title), clean(action.text))
        if outcome != "delivered":
            return self._failed(action, outcome, reason)
        return AlertDelivered(at=self._clock.now(), alert_id=action.alert_id, attempt=action.attempt, channel="fallback")


class Fallback:
    """The second channel: every URL is told at once, and one that takes it is enough. apprise is loaded when it is needed.

    apprise has no deadline of its own and its log tells its URLs: it runs in threads that are left behind when they hang,
    and its log is silenced. What it calls a failure may have arrived.
    """

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self._services: list[Any] | None = None
        self._running: list[threading.Thread] = []

    def unusable(self) -> int:
        """How many of the URLs apprise cannot make anything of."""
        return len(self._urls) - len(self._ready())

    def tell(self, title: str, text: str) -> tuple[Literal["delivered", "failed", "unknown"], str]:
        """Whether a service took it within the deadline, and if not, why."""
        self._running = [thread for thread in self._running if thread.is_alive()]
        if len(self._running) >= FALLBACK_THREADS_MAX:
            return "failed", "earlier messages to the fallback channel still hang"
        ready = self._ready()
        if not ready:
            return "failed", "no fallback channel that can be used"
        answers: list[bool] = []
        answered = threading.Condition()

        def tell_one(service: Any) -> None:
            try:
                took = bool(service.notify(body=text, title=title, body_format="text"))
            except Exception:
                took = False
            with answered:
                answers.append(took)
                answered.notify()

        for service in ready:
            thread = threading.Thread(target=tell_one, args=(service,), name="fallback", daemon=True)
            self._running.append(thread)
            thread.start()
        with answered:
            answered.wait_for(lambda: any(answers) or len(answers) == len(ready), FALLBACK_DEADLINE_S)
            if any(answers):
                return "delivered", ""
            late = len(ready) - len(answers)
        return (
            "unknown",
            f"{late} of {len(ready)} fallback services did not answer" if late else "no fallback service took it",
        )

    def _ready(self) -> list[Any]:
        if self._services is None:
            self._services = []
            if self._urls:
                from apprise import Apprise

                logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
                made = [Apprise.instantiate(url, suppress_exceptions=True) for url in self._urls]
                self._services = [service for service in made if service is not None]
        return self._services


# --- reading answers ---------------------------------------------------------------------------------------------------


def decoded(answer: Response) -> dict[str, Any]:
    """The JSON object of an answer; empty when it is anything else."""
    try:
        said = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def quota_of(answer: Response) -> dict[str, Any]:
    """What the headers say of the month's messages."""
    return {
        "quota_left": count(answer.headers.get("X-Limit-App-Remaining")),
        "quota_reset_at": moment(answer.headers.get("X-Limit-App-Reset")),
    }


def count(value: object) -> int | None:
    """A whole number, or None if it is none; fewer than nothing is nothing."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,12}", value.strip()):
        value = int(value)
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else None


def moment(value: object) -> float | None:
    number = count(value)
    return float(number) if number else None


class PhoneLane(Boxed):
    """One delivery at a time. The SELL has a lane of its own, so nothing is ever ahead of it.

    While `holds` says that a position is open, the lane has a connection ready for its SELL whenever it has nothing to do.
    An attempt that waits can be taken back until it begins: whoever takes it out of `_waiting`, the lane or who takes it back, has it.
    """

    def __init__(
        self, emit: Emit, config: Config, clock: Clock, name: str, holds: Callable[[], bool] = lambda: False
    ) -> None:
        self.name, self.holds = name, holds
        super().__init__(emit)
        self._waiting: dict[tuple[str, int], Deliver] = {}
        self.phone = Phone(config, clock)
        self.clock = clock

    def put(self, action: Any, rank: int = 0) -> None:
        if isinstance(action, TakeBack):
            self._take_back(action.alert_id)
            return
        if isinstance(action, Deliver):
            self._waiting[action.alert_id, action.attempt] = action
        super().put(action, rank)

    def _take_back(self, alert_id: str) -> None:
        for key in [key for key in tuple(self._waiting) if key[0] == alert_id]:
            if (action := self._waiting.pop(key, None)) is not None:
                self.emit(self.phone.certainly_not(action, "taken back before it began"))

    def inherit(self, other: Edge) -> None:
        """What waited there waits here; what was taken back there, or has begun, does not."""
        assert isinstance(other, PhoneLane)
        waited, other._waiting = other._waiting, {}
        super().inherit(other)
        self._waiting = {key: action for key, action in self._waiting.items() if key in waited}

    def _deliver(self, action: Deliver) -> None:
        """Ask once more before the wire: it may have been taken back, or be too late."""
        if self._waiting.pop((action.alert_id, action.attempt), None) is None:
            return
        if action.not_after is not None and self.clock.now() >= action.not_after:
            self.emit(self.phone.certainly_not(action, "too late to begin"))
            return
        hit(f"{self.name}.before-wire")
        answer = self.phone.deliver(action)
        hit(f"{self.name}.after-answer")
        self.emit(answer)

    def run(self) -> None:
        while True:
            match self.next(STUCK_S):
                case Deliver() as action:
                    self._deliver(action)
                case CancelReceipt() as action:
                    if (ended := self.phone.cancel(action)) is not None:
                        self.emit(ended)
                case PollReceipt() as action:
                    if (seen := self.phone.receipt(action)) is not None:
                        self.emit(seen)
                case CheckPhone():
                    self.emit(self.phone.check())
                case None if self.stopping.is_set():
                    return
                case None if self.holds():
                    self.phone.keep_warm()
