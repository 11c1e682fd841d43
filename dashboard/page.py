"""The page: its files, its stream of news, its charts' past, and the way in. Files are read once, at the start."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import links
from dashboard import frame
from dashboard.actions import Actions
from dashboard.chart import columns, since
from dashboard.guard import Guard
from dashboard.health import health
from dashboard.past import Past
from dashboard.paths import Paths
from dashboard.sections import Sections, joined
from dashboard.server import Reply, Request
from dashboard.view import View

if TYPE_CHECKING:
    from config import Config
    from edges.edge import Emit
    from signals import Windows
    from utils import Clock

JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml", ".png": "image/png", ".webmanifest": "application/manifest+json"}  # fmt: skip
STATIC = Path(__file__).parent / "static"
PUBLIC = ("login.html", "login.js", "act.html", "act.js", "page.css", "icon.svg", "shared.js", "manual.js", "service.js",
          "desk.webmanifest", "icon-180.png", "icon-192.png", "icon-512.png")  # fmt: skip
PRIVATE = ("index.html", "page.js", "cards.js", "chart.js", "session.js", "option.js", "equity.js", "signals.js", "past.js",
           "lightweight-charts.js")  # fmt: skip
CHART_KEPT_S = 5.0
CORRECTED_EVERY_S = 2.0
SILENCE_S = 15.0
RETRY_MS = 1_000


class Page:
    """Everything below `/` that is not a number for machines. Runs in the http thread alone."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        guard: Guard,
        sees: Callable[[], View | None],
        lines: Callable[[], Sequence[str]],
        emit: Emit,
        version: str,
        past: Past,
    ) -> None:
        self._config, self._clock, self._guard, self._sees, self._lines = config, clock, guard, sees, lines
        self._about = {
            "version": version,
            "mode": "simulated" if config.simulated else "live",
            "symbol": config.symbol,
            "leader": config.leader,
        }
        self.past = past
        self.paths = Paths(config)
        self._secret = None if config.dashboard_token is None else config.dashboard_token.get_secret_value()
        self._actions = Actions(guard, sees, clock.now, emit)
        self._files = {name: (STATIC / name).read_bytes() for name in (*PUBLIC, *PRIVATE)}
        self._sent: dict[str, bytes] = {}
        self._sent_at = 0.0
        self._made = Sections(config)
        self._corrected = Corrected()
        self._columns: dict[str, list[float | None]] = {}
        self._columns_at = float("-inf")
        self._chart: tuple[float, bytes] = (float("-inf"), b"")

    def look(self) -> None:
        """Take down what only the moment shows; to be called often, whether anybody looks or not."""
        if (view := self._sees()) is not None:
            self.paths.look(view)

    # --- the stream ---

    def news(self) -> bytes:
        """What has changed since it was last called, as an event; a sign of life when nothing has for long; or nothing."""
        view = self._sees()
        if view is None:
            return b""
        now = time.monotonic()
        encoded = self._sections(view)
        changed = {name: section for name, section in encoded.items() if self._sent.get(name) != section}
        self._sent = encoded
        if changed:
            self._sent_at = now
            return event(changed)
        if now - self._sent_at >= SILENCE_S:
            self._sent_at = now
            return b": nothing new\n\n"
        return b""

    def _sections(self, view: View) -> dict[str, bytes]:
        now = time.monotonic()
        found = health(view, self._clock.now(), now)
        corrected = msgspec.json.encode(self._corrected.look(view, now))
        more = {"corrected": corrected, "option": msgspec.json.encode(self.paths.newest())}
        return self._made.of(view, found, self._lines()) | more

    # --- requests ---

    def answer(self, request: Request) -> Reply:
        match request.method, request.path:
            case "POST", "/login":
                return self._log_in(request)
            case "POST", "/act":
                return self._act(request)
            case "GET" | "HEAD", "/link":
                return self._link(request)
            case "GET" | "HEAD", "/act":
                return self._file("act.html")
            case "GET" | "HEAD", path if path[1:] in PUBLIC:
                return self._file(path[1:])
            case "GET" | "HEAD", path:
                return self._private(request, path)
        return Reply(405, b"not by this method\n", headers=(("Allow", "GET, HEAD"),))

    def _private(self, request: Request, path: str) -> Reply:
        knows = self._guard.reader(request, self._clock.now())
        if path == "/":
            if not knows and self._guard.is_from_elsewhere(request):
                return Reply(200, b"", TYPES[".html"], headers=(("Refresh", "0; url=/"),))
            return self._file("index.html" if knows else "login.html")
        second = re.fullmatch(r"/chart/([0-9]{1,12})", path)
        trade = re.fullmatch(r"/trade/([A-Za-z0-9-]{1,40})", path)
        day = re.fullmatch(r"/days/([0-9]{4}-[0-9]{2}-[0-9]{2})(?:/([0-9]{1,3}))?", path)
        if path not in ("/events", "/chart", "/me", "/days") and not (second or day or trade) and path[1:] not in PRIVATE:
            return Reply(404, b"there is nothing here\n")
        if not knows:
            return Reply(401, b"a token is needed\n")
        if path == "/events":
            return self._stream(request)
        if path == "/chart" or second is not None:
            return self._chart_answer(None if second is None else int(second[1]))
        if trade is not None:
            return self._trade_answer(trade[1])
        if path == "/days":
            return self.past.listed()
        if day is not None:
            return self.past.index(day[1]) if day[2] is None else self.past.piece(day[1], int(day[2]))
        if path == "/me":
            may_act = not self._guard.is_open
            return told(200, {**self._about, "may_act": may_act, "word": self._guard.page_word(request) if may_act else ""})
        return self._file(path[1:])

    def _file(self, name: str) -> Reply:
        return Reply(200, self._files[name], TYPES[Path(name).suffix])

    def _stream(self, request: Request) -> Reply:
        if request.method == "HEAD":
            return Reply(405, headers=(("Allow", "GET"),))
        view = self._sees()
        first = b"retry: %d\n" % RETRY_MS + (b"\n" if view is None else event(self._sections(view)))
        return Reply(200, first, EVENTS, headers=(("X-Accel-Buffering", "no"),), stream=True)

    def _chart_answer(self, start: int | None) -> Reply:
        """The charts' past, whole or from a second on; made anew when it is old, or misses a correction that was told."""
        view, now = self._sees(), time.monotonic()
        if view is None:
            return told(503, {"says": "the desk has not begun yet"})
        if now - self._columns_at >= CHART_KEPT_S or self._columns_at < self._corrected.told_at:
            self._columns, self._columns_at = columns(view), now
        if start is not None:
            return zipped(since(self._columns, start))
        if self._chart[0] < self._columns_at:
            self._chart = self._columns_at, zipped(self._columns).body
        return Reply(200, self._chart[1], JSON, headers=(("Content-Encoding", "gzip"),))

    def _trade_answer(self, trade_id: str) -> Reply:
        """The way of an option, null when this life of the worker has not seen it; and its trade, null while that is open."""
        view, columns = self._sees(), self.paths.of(trade_id)
        if view is None:
            return told(503, {"says": "the desk has not begun yet"})
        trade = next((trade for trade in reversed(view.state.trades) if trade.id == trade_id), None)
        if trade is None and columns is None:
            return Reply(404, b"there is nothing here\n")
        return zipped({"columns": columns, "trade": None if trade is None else frame.trade_row(trade)})

    # --- the way in, and what may be done ---

    def _log_in(self, request: Request) -> Reply:
        if not is_json(request):
            return Reply(415)
        try:
            given = msgspec.json.decode(request.body, type=dict[str, str]).get("token", "")
        except msgspec.MsgspecError:
            return Reply(400)
        if not self._guard.is_token(given):
            return told(401, {"says": "That is not the token."})
        return Reply(204, headers=(("Set-Cookie", self._guard.session_cookie(self._clock.now())),))

    def _act(self, request: Request) -> Reply:
        if not is_json(request):
            return Reply(415)
        trade_id = self._linked(request)
        who = "link" if trade_id is not None else self._guard.doer(request, self._clock.now())
        if who is None:
            needed = "Set DASHBOARD_TOKEN to act from here." if self._guard.is_open else "The token is needed for this."
            return told(401, {"says": needed})
        return self._actions.act(request.body, who, trade_id)

    def _linked(self, request: Request) -> str | None:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if self._secret is None or kind.lower() != "link":
            return None
        return links.trade_of(self._secret, given.strip(), self._clock.now())

    def _link(self, request: Request) -> Reply:
        """What the page behind an alert's link is about."""
        trade_id, view = self._linked(request), self._sees()
        if trade_id is None or view is None:
            return told(401, {"says": "This link is too old, or not one of ours. Open the page instead."})
        is_open = any(held.position.id == trade_id for held in view.state.open())
        held = frame.position(self._config, view) if is_open else None
        closed = next((frame.trade_row(trade) for trade in view.state.trades if trade.id == trade_id), None)
        stopped = view.state.entries_stopped
        return told(200, {"position": held, "trade": trade_id, "closed": closed, "stopped": stopped, **self._about})


class Corrected:
    """What the charts have to draw again: how often so far, and the earliest second of the last time; every two seconds at most."""

    def __init__(self) -> None:
        self.told_at = float("-inf")
        self._windows: Windows | None = None
        self._seen = (0, 0)
        self._told = [0, 0]

    def look(self, view: View, now: float) -> list[int]:
        windows = view.windows
        if windows is not self._windows:
            self._windows, self._seen, self._told = windows, (0, 0), [0, 0]
        if windows is None or now - self.told_at < CORRECTED_EVERY_S:
            return self._told
        own, other = windows.changed[self._seen[0] :], windows.leader.changed[self._seen[1] :]
        if own or other:
            self._seen = self._seen[0] + len(own), self._seen[1] + len(other)
            self._told, self.told_at = [self._told[0] + 1, min(own + other)], now
        return self._told


def event(changed: dict[str, bytes]) -> bytes:
    """A server-sent event of sections that are JSON already; JSON has no line ends."""
    return b"data: " + joined(changed) + b"\n\n"


def is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON


def zipped(what: Any) -> Reply:
    return Reply(200, gzip.compress(msgspec.json.encode(what), 1), JSON, headers=(("Content-Encoding", "gzip"),))


def told(status: int, what: Any) -> Reply:
    return Reply(status, msgspec.json.encode(what), JSON)
