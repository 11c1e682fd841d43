"""The stocks and options WebSockets: statuses, acknowledgements, `A`, `AM` and `Q` frames, on the market's time.

Rules: everything sent is a JSON array. Each connection has its own sender: a client that does not read hurts only itself.
A clock that jumps back, or ahead by more than `JUMP_S`, is followed without sending what lies between.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import msgspec
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from events import Bar
from simulator.exchange import Market
from simulator.http import RESET
from simulator.market import Columns, MarketDay, aggregate
from utils import new_york

JUMP_S = 120.0
QUOTE_EVERY_S = 0.5
OUTBOX_FRAMES = 20_000
TOPICS = {"stocks": {"A", "AM", "T", "Q", "LULD", "NOI", "FMV"}, "options": {"A", "AM", "T", "Q", "FMV"}}
BAD_KEY = "authentication failed"
NO_PLAN = "Your plan doesn't include websocket access. Visit https://massive.com/pricing to upgrade."
TOO_MANY = (
    "Maximum number of websocket connections exceeded. You have reached the connection limit for your account. "
    "Please contact support at https://massive.com/contact to increase your limit."
)


def status(kind: str, message: str) -> dict[str, str]:
    """One status of a frame."""
    return {"ev": "status", "status": kind, "message": message}


def frame(*parts: dict[str, Any]) -> str:
    """A frame as it goes over the wire."""
    return msgspec.json.encode(parts).decode()


def second_bar(
    bar: Bar, *, today: float | None = None, today_vwap: float | None = None, opening: float | None = None, trades: int = 0,
    seconds: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """The `A` event of a bar (`AM` with `seconds` 60) with every field of the live feed; `z` is at times no whole number."""
    size = bar.volume / max(trades, 1)
    part = (bar.start * 7919 % 4) / 8  # fractional shares, in `dv` alone
    total = bar.volume if today is None else today
    said: dict[str, Any] = {"ev": "A" if seconds == 1 else "AM", "sym": bar.symbol, "v": int(bar.volume), "av": int(total)}
    if opening is not None:
        said["op"] = opening
    return said | {
        "vw": bar.vwap, "o": bar.open, "c": bar.close, "h": bar.high, "l": bar.low,
        "a": bar.vwap if today_vwap is None else round(today_vwap, 4),
        "z": round(size, 1) if bar.start % 37 == 0 else int(size),
        "s": bar.start * 1000, "e": (bar.start + seconds) * 1000,
        "dv": str(bar.volume + part), "dav": f"{total + part:.6f}",
    }  # fmt: skip


class Client:
    """One connection: what it asked for, and its sender."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.topics: set[str] = set()
        self.admitted = False
        self._outbox: queue.Queue[str | bytes | tuple[int, str] | None] = queue.Queue(OUTBOX_FRAMES)
        threading.Thread(target=self._send, daemon=True).start()

    def put(self, item: str | bytes | tuple[int, str] | None) -> None:
        """Queue a frame, a close (code, reason) or the end; a client whose queue is full is dropped."""
        try:
            self._outbox.put_nowait(item)
        except queue.Full:
            self.drop()

    def drop(self) -> None:
        """End the TCP connection without a close handshake."""
        with suppress(OSError):
            self.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        with suppress(OSError):
            self.connection.socket.shutdown(socket.SHUT_RDWR)

    def wants(self, topic: str, ticker: str) -> bool:
        return f"{topic}.{ticker}" in self.topics or f"{topic}.*" in self.topics

    def _send(self) -> None:
        with suppress(ConnectionClosed, OSError):
            while (item := self._outbox.get()) is not None:
                if isinstance(item, tuple):
                    self.connection.close(*item)
                    return
                self.connection.send(item)


class Feed:
    """One cluster (`stocks` or `options`). The attributes are the faults a test may set at run time.

    `keys`: the good ones, empty for any. `plan` False: authentication fails for want of a plan. `mute_auth`: no answer.
    `unacknowledged`: topics that are neither confirmed nor served. `max_connections` with `evict` "older" or "newer".
    `handshake`: an HTTP status to answer the upgrade with. `close_at_once`: accept, then close. Verbs are below.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys: set[str] = set()
        self.plan = True
        self.mute_auth = False
        self.unacknowledged: set[str] = set()
        self.max_connections: int | None = None
        self.evict = "older"
        self.handshake: int | None = None
        self.close_at_once = False
        self.connections = 0  # ever accepted
        self.received: list[dict[str, Any]] = []
        self.clients: list[Client] = []
        self._silent: set[str] | None = set()
        self._changed = threading.Condition()

    # --- verbs ---------------------------------------------------------------------------------------------------------

    def send(self, raw: str | bytes) -> None:
        """Send a frame as it is (text, or binary for bytes) to every client that has logged in."""
        for client in list(self.clients):
            if client.admitted:
                client.put(raw)

    def flood(self, texts: Iterable[str]) -> None:
        """Send many frames at once to every client that has logged in, as fast as the wire takes them; returns when sent."""
        data = b"".join(Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in texts)
        for client in list(self.clients):
            if client.admitted:
                client.connection.socket.sendall(data)

    def say(self, kind: str, message: str) -> None:
        """Send a status."""
        self.send(frame(status(kind, message)))

    def silence(self, *symbols: str) -> None:
        """Send no data of these symbols, or none at all; pongs and statuses go on. What is due meanwhile is lost."""
        self._silent = set(symbols) if symbols else None

    def resume(self) -> None:
        self._silent = set()

    def drop(self) -> None:
        """Cut every connection without a close frame."""
        for client in list(self.clients):
            client.drop()

    def close(self, code: int = 1001, reason: str = "") -> None:
        """Close every connection politely."""
        for client in list(self.clients):
            client.put((code, reason))

    def wait_for(self, condition: Any, timeout_s: float = 10.0) -> None:
        """Wait until `condition()` holds; looked at whenever a client comes, goes or says something. TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise TimeoutError(f"not seen within {timeout_s:g} s")

    def wait_for_subscriber(self, topic: str, timeout_s: float = 10.0) -> None:
        """Wait until somebody is subscribed to a topic such as `A.IWM`."""
        self.wait_for(lambda: any(topic in client.topics for client in self.clients), timeout_s)

    # --- data ----------------------------------------------------------------------------------------------------------

    def publish(self, topic: str, ticker: str, event: dict[str, Any]) -> None:
        """Send one event to those who subscribed to it."""
        self.publish_all([(topic, ticker, event)])

    def publish_all(self, events: list[tuple[str, str, dict[str, Any]]]) -> None:
        """Send what is due together in one frame a client."""
        silent = self._silent
        if silent is None:
            return
        for client in list(self.clients):
            mine = [event for topic, ticker, event in events if ticker not in silent and client.wants(topic, ticker)]
            if mine:
                client.put(frame(*mine))

    def subscribed(self, topic: str) -> set[str]:
        """Tickers that anybody wants of a topic."""
        prefix = f"{topic}."
        return {
            name[len(prefix) :] for client in list(self.clients) for name in list(client.topics) if name.startswith(prefix)
        }

    # --- the conversation ----------------------------------------------------------------------------------------------

    def serve(self, connection: ServerConnection) -> None:
        client = Client(connection)
        with self._changed:
            self.connections += 1
            self.clients.append(client)
            self._changed.notify_all()
        try:
            if self.close_at_once:
                connection.close(1001)
                return
            client.put(frame(status("connected", "Connected Successfully")))
            for message in connection:
                self._hear(client, message)
        except (ConnectionClosed, OSError):
            pass
        finally:
            client.put(None)
            with self._changed:
                self.clients.remove(client)
                self._changed.notify_all()

    def _hear(self, client: Client, message: str | bytes) -> None:
        try:
            said = msgspec.json.decode(message, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError):
            client.put(frame(status("error", "invalid message")))
            return
        action, params = said.get("action"), str(said.get("params", ""))
        if action == "auth":
            self._log_in(client, params)
        elif action in ("subscribe", "unsubscribe") and client.admitted:
            names = [name.strip() for name in params.split(",")]
            (self._subscribe if action == "subscribe" else self._unsubscribe)(client, names)
        else:
            client.put(frame(status("error", "not authorized")))
        with self._changed:
            self.received.append(said)
            self._changed.notify_all()

    def _log_in(self, client: Client, key: str) -> None:
        if self.mute_auth:
            return
        if not self.plan or not key or (self.keys and key not in self.keys):
            client.connection.send(frame(status("auth_failed", BAD_KEY if self.plan else NO_PLAN)))
            with suppress(OSError):
                client.connection.socket.shutdown(socket.SHUT_RDWR)
            return
        client.admitted = True
        client.put(frame(status("auth_success", "authenticated")))

    def _subscribe(self, client: Client, names: list[str]) -> None:
        new = []
        for name in names:
            topic, _, ticker = name.partition(".")
            wild = self.name == "options" and topic == "Q" and ticker == "*"
            if topic in TOPICS[self.name] and ticker and not wild and name not in self.unacknowledged | client.topics:
                new.append(name)
        client.topics.update(new)
        if new:
            client.put(frame(*(status("success", f"subscribed to: {name}") for name in new)))
        using = [other for other in self.clients if other.topics]
        if self.max_connections is not None and len(using) > self.max_connections:
            surplus = using[: -self.max_connections] if self.evict == "older" else using[self.max_connections :]
            for other in surplus:
                other.topics.clear()
                other.put(frame(status("max_connections", TOO_MANY)))
                other.put((1008, "policy violation"))

    def _unsubscribe(self, client: Client, names: list[str]) -> None:
        gone = [name for name in names if name in client.topics]
        client.topics.difference_update(gone)
        if gone:
            client.put(frame(*(status("success", f"unsubscribed to: {name}") for name in gone)))


class FeedServer:
    """Both clusters on one port, and the thread that publishes the market's bars and quotes as their time comes."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.stocks, self.options = Feed("stocks"), Feed("options")
        self._feeds = {"/stocks": self.stocks, "/options": self.options}
        self._server: Server = serve(
            self._connected,
            "127.0.0.1",
            0,
            process_request=self._handshake,
            compression=None,
            ping_interval=None,
            close_timeout=2,
        )
        self.port = int(self._server.socket.getsockname()[1])
        self._stopped = threading.Event()
        self._publishing = threading.Lock()
        self._publisher = _Publisher(market, self.stocks, self.options)
        self._publisher.publish()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, name="feed", daemon=True),
            threading.Thread(target=self._run, name="publisher", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def url(self, name: str) -> str:
        return f"ws://127.0.0.1:{self.port}/{name}"

    def nudge(self) -> None:
        """Send what is due now and look for changed quotes, before this returns."""
        with self._publishing:
            self._publisher.hurry()
            self._publisher.publish()

    def close(self) -> None:
        self._stopped.set()
        for feed in self._feeds.values():
            feed.drop()
        self._server.shutdown()
        for thread in self._threads:
            thread.join(3)

    def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        feed = self._feeds.get(request.path.partition("?")[0])
        if feed is None:
            return connection.respond(HTTPStatus.NOT_FOUND, "no such cluster\n")
        if feed.handshake is not None:
            return connection.respond(feed.handshake, "refused\n")
        return None

    def _connected(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._feeds[connection.request.path.partition("?")[0]].serve(connection)

    def _run(self) -> None:
        while not self._stopped.is_set():
            with self._publishing:
                due = self._publisher.publish()
            self._stopped.wait(min(max(due, 0.0005), 0.1))


class _Publisher:
    """What of the market is due, and its sending."""

    def __init__(self, market: Market, stocks: Feed, options: Feed) -> None:
        self.market, self.stocks, self.options = market, stocks, options
        self._last = market.clock.now()
        self._day: MarketDay | None = None
        self._at = np.empty(0)
        self._events: list[tuple[str, str, dict[str, Any]]] = []
        self._next = 0
        self._quotes: dict[str, tuple[float, float, int, int] | None] = {}
        self._quotes_at = 0.0
        self._sequence = 0

    def hurry(self) -> None:
        self._quotes_at = 0.0

    def publish(self) -> float:
        """Send what is due; real seconds until the next."""
        clock = self.market.clock
        now = clock.now()
        bars_now = now - self.market.lag_s
        self._open(bars_now)
        if not -0.5 <= now - self._last <= JUMP_S:
            self._next = int(np.searchsorted(self._at, bars_now, side="right"))
            self._quotes_at = 0.0
        self._last = now
        end = int(np.searchsorted(self._at, bars_now, side="right"))
        if end > self._next:
            self.stocks.publish_all([self._event(k) for k in range(self._next, end)])
            self._next = end
        wanted = self.options.subscribed("Q")
        if now >= self._quotes_at or wanted != self._quotes.keys():
            self._publish_quotes(now, wanted)
            self._quotes_at = now + QUOTE_EVERY_S
        following = self._at[self._next] if self._next < len(self._at) else np.inf
        return clock.real_seconds(max(min(float(following) - bars_now, self._quotes_at - now), 0.0))

    def _open(self, now: float) -> None:
        """Take up the session of the day; its bars and minutes in order of arrival."""
        day = new_york(now).date()
        if self._day is not None and self._day.session.date == day:
            return
        whole = self.market.day(day)
        if whole is None or whole is self._day:
            return
        self._day = whole
        self._names = list(whole.symbols)
        at, which, said, _ = whole.arrivals()
        minutes = [aggregate(symbol.final, 60) for symbol in whole.symbols.values()]
        ends = [columns.start + 60 + self.market.publication_s + 0.3 for columns in minutes]
        times = np.concatenate([at, *ends])
        order = np.argsort(times, kind="stable")
        self._at = times[order]
        self._bars = Columns.joined([said, *minutes]).take(order)
        self._which = np.concatenate([which, *(np.full(len(m), k, np.int8) for k, m in enumerate(minutes))])[order]
        self._minute = np.repeat([False, True], [len(at), sum(map(len, minutes))])[order]
        self._sums = {name: _sums(columns, whole.session.open_at) for name, columns in whole.columns.items()}
        self._next = int(np.searchsorted(self._at, now, side="right"))

    def _event(self, k: int) -> tuple[str, str, dict[str, Any]]:
        symbol = self._names[int(self._which[k])]
        bars = self._bars
        start = int(bars.start[k])
        seconds = 60 if self._minute[k] else 1
        starts, volume, vwap, opening = self._sums[symbol]
        row = max(int(np.searchsorted(starts, start + seconds, side="left")) - 1, 0)
        bar = Bar(
            symbol, start, float(bars.open[k]), float(bars.high[k]), float(bars.low[k]), float(bars.close[k]),
            float(bars.volume[k]), float(bars.vwap[k]),
        )  # fmt: skip
        assert self._day is not None
        event = second_bar(
            bar,
            today=float(volume[row]),
            today_vwap=float(vwap[row]),
            opening=opening if start >= self._day.session.open_at else None,
            trades=int(bars.trades[k]),
            seconds=seconds,
        )
        return event["ev"], symbol, event

    def _publish_quotes(self, now: float, wanted: set[str]) -> None:
        self._quotes = {ticker: self._quotes.get(ticker) for ticker in wanted}
        for ticker in sorted(wanted):
            quote = self.market.quote(ticker)
            if quote is None or self._quotes.get(ticker) == quote[:4]:
                continue
            self._quotes[ticker] = quote[:4]
            self._sequence += 1
            self.options.publish("Q", ticker, {
                "ev": "Q", "sym": ticker, "bx": 316, "ax": 302, "bp": quote.bid, "ap": quote.ask, "bs": quote.bid_size,
                "as": quote.ask_size, "t": int((now - self.market.lag_s) * 1000), "q": 844_090_872 + self._sequence,
            })  # fmt: skip


def _sums(bars: Columns, open_at: int) -> tuple[Any, Any, Any, float | None]:
    """Starts, accumulated volume and VWAP of a day after each of its bars, and its official opening price."""
    volume = np.cumsum(bars.volume)
    value = np.cumsum(bars.volume * bars.vwap)
    regular = bars.open[bars.start >= open_at]
    return bars.start, volume, value / np.maximum(volume, 1), float(regular[0]) if len(regular) else None
