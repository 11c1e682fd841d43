"""What is answered to whom: a fixed table of paths, and the same head on every answer. No path of the disk comes from a URL."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

import logger
from dashboard.guard import Guard
from dashboard.health import Health, health, readiness
from dashboard.metrics import CONTENT_TYPE, ViewCollector, Work, exposition
from dashboard.page import Page
from dashboard.server import Reply, Request
from dashboard.view import View

if TYPE_CHECKING:
    from config import Config
    from utils import Clock

log = logger.of("http")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; "
    "worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
)
HEAD = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
    ("Cache-Control", "no-store"),
)
HSTS = (("Strict-Transport-Security", "max-age=31536000"),)
JSON = "application/json"
PROBED = ("/health", "/ready")
VISITED = ("/", "/act")
REFUSED_TOLD_MAX = 20
HOST_MAX_CHARS = 100


class Routes:
    """Answers requests from the last View. `page` is None with DASHBOARD=off."""

    def __init__(
        self, config: Config, clock: Clock, guard: Guard, sees: Callable[[], View | None], work: Work, page: Page | None
    ) -> None:
        self._clock, self._guard, self._sees, self._work = clock, guard, sees, work
        self._page = page
        self._refused: set[str] = set()
        self.head = HEAD + (HSTS if guard.is_encrypted else ())
        self._seen = ViewCollector(sees, clock.now, self._health)

    def answer(self, request: Request) -> Reply:
        is_ours = self._guard.is_ours(request.headers.get("host"))
        if not is_ours and request.path not in PROBED:
            self._say_refused(request.headers.get("host", ""))
            return Reply(421, b"this server does not go by that name\n")
        followed = request.path in VISITED and self._guard.is_visit(request)
        if not followed and not self._guard.is_same_site(request, strictly=request.method not in ("GET", "HEAD")):
            return Reply(403, b"not from another site\n")
        if request.path in (*PROBED, "/metrics"):
            return self._numbers(request, is_ours) if request.method in ("GET", "HEAD") else not_allowed("GET, HEAD")
        if self._page is None:
            return Reply(404, b"there is nothing here\n")
        return self._page.answer(request)

    def _say_refused(self, host: str) -> None:
        """Each name once: whoever owns this server reads here how to let it in."""
        if host in self._refused or len(self._refused) >= REFUSED_TOLD_MAX:
            return
        self._refused.add(host)
        log.warning(
            "a request for another name was refused; if the page is yours by that name, set PUBLIC_URL to its address",
            host=host[:HOST_MAX_CHARS] or "none",
        )

    def _numbers(self, request: Request, is_ours: bool) -> Reply:
        """A prober may call us what it likes; by a name that is not ours, only a token earns numbers."""
        now = self._clock.now()
        knows = self._guard.reader(request, now) if is_ours else self._guard.knows_token(request, now)
        if request.path == "/health":
            return told(self._health(), knows)
        if request.path == "/ready":
            return told(readiness(self._sees(), self._clock.now(), time.monotonic()), knows)
        if not knows:
            return Reply(401, b"a token is needed\n", headers=(("WWW-Authenticate", "Bearer"),))
        return Reply(200, exposition(self._work.registry, self._seen), CONTENT_TYPE)

    def _health(self) -> Health:
        return health(self._sees(), self._clock.now(), time.monotonic())


def told(found: Health, knows: bool) -> Reply:
    """A stranger learns the reason, and no number."""
    said = {"status": found.status, "reason": found.reason} | ({"detail": found.detail} if knows else {})
    return Reply(200 if found.is_well else 503, msgspec.json.encode(said) + b"\n", JSON)


def not_allowed(methods: str) -> Reply:
    return Reply(405, b"not by this method\n", headers=(("Allow", methods),))
