"""The http thread and the dead-man ping. Neither is needed: the worker goes on when a port is taken or nobody answers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import logger
from dashboard.guard import Guard
from dashboard.health import health
from dashboard.metrics import Work
from dashboard.page import Page
from dashboard.past import Past
from dashboard.routes import Routes
from dashboard.server import Server
from dashboard.view import View
from edges.edge import Edge, Emit
from wire.transport import Http, Refused, TryAgain

if TYPE_CHECKING:
    from config import Config
    from utils import Clock, SessionCalendar

log = logger.of("http")

PUBLISH_S = 0.25
BIND_AGAIN_S = 30.0
AGAIN_S = 5.0
PING_S = 60.0
PING_DEADLINE_S = 10.0
PING_MAX_BYTES = 100_000
BACKLOG = 128

Sees = Callable[[], View | None]


class Pages(Edge):
    """Health, metrics and the page. `sees` gives the last View, `lines` the last lines of the log."""

    name = "http"
    is_spare = True

    def __init__(
        self,
        emit: Emit,
        config: Config,
        clock: Clock,
        sees: Sees,
        work: Work,
        lines: Callable[[], Sequence[str]],
        version: str,
        calendar: SessionCalendar,
    ) -> None:
        super().__init__(emit)
        self.config, self.clock, self.sees, self.work, self.lines, self.version = config, clock, sees, work, lines, version
        self.calendar = calendar
        self.url: str | None = None
        self.page: Page | None = None

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                asyncio.run(self._serve())
            except Exception:
                log.exception("the server ended; it begins again")
                self.stopping.wait(AGAIN_S)

    async def _serve(self) -> None:
        listening = await self._bound()
        if listening is None:
            return
        host, port = listening.getsockname()[:2]
        guard = Guard(self.config, port)
        page = None
        if self.config.dashboard:
            past = Past(self.config, self.clock, self.calendar, self.sees)
            self.page = page = Page(self.config, self.clock, guard, self.sees, self.lines, self.emit, self.version, past)
        routes = Routes(self.config, self.clock, guard, self.sees, self.work, page)
        server = Server(routes.answer, routes.head)
        running = await server.serve(listening)
        self.url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        log.info("health, metrics and page are served" if page else "health and metrics are served", url=self.url)
        try:
            while not self.stopping.is_set():
                self.beat()
                if page is not None:
                    page.look()
                if page is not None and server.streams and (news := page.news()):
                    server.broadcast(news)
                if page is not None:
                    page.past.watch()
                await asyncio.sleep(PUBLISH_S)
        finally:
            if page is not None:
                page.past.close()
            running.close()
            server.close()

    async def _bound(self) -> socket.socket | None:
        """The listening socket; while the port is taken, tried again, and told once."""
        told, try_at = False, 0.0
        while not self.stopping.is_set():
            self.beat()
            if time.monotonic() >= try_at:
                try:
                    return listen(self.config.http_host, self.config.health_port)
                except OSError as fault:
                    try_at = time.monotonic() + BIND_AGAIN_S
                    if not told:
                        told = True
                        why, port = fault.strerror or type(fault).__name__, self.config.health_port
                        log.warning(f"no health and no page: port {port} cannot be had ({why}); the worker goes on")
            await asyncio.sleep(PUBLISH_S)
        return None


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the first address of `host`. OSError when it cannot be."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


class Heartbeat(Edge):
    """Fetches HEARTBEAT_URL once a minute while all is well; when progress stops, so does it, and somebody outside notices."""

    name = "heartbeat"
    is_spare = True

    def __init__(self, emit: Emit, config: Config, clock: Clock, sees: Sees, *, every_s: float = PING_S) -> None:
        super().__init__(emit)
        assert config.heartbeat_url is not None
        self.clock, self.sees, self.every_s = clock, sees, every_s
        url = urlsplit(config.heartbeat_url.get_secret_value())
        self._path = url.path + (f"?{url.query}" if url.query else "")
        self._http = Http(f"{url.scheme}://{url.netloc}", PING_DEADLINE_S, max_bytes=PING_MAX_BYTES)
        self._said = ""

    def run(self) -> None:
        ping_at = 0.0
        while not self.stopping.wait(min(1.0, self.every_s / 4)):
            self.beat()
            if time.monotonic() < ping_at:
                continue
            found = health(self.sees(), self.clock.now(), time.monotonic())
            if found.is_well:
                ping_at = time.monotonic() + self.every_s
                self._say(self.ping())
            else:
                self._say(f"no heartbeat: {found.status}, {found.reason}")

    def ping(self) -> str:
        """Fetch it once; what went wrong, in words that hold nothing of the URL, or nothing."""
        try:
            answer = self._http.get(self._path or "/")
            return "" if answer.status < 400 else f"the heartbeat was answered with {answer.status}"
        except (TryAgain, Refused) as fault:
            return f"the heartbeat did not get through: {fault.reason}"

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            log.warning(what or "the heartbeat gets through again")
