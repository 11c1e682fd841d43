"""`trade_updates` over a WebSocket: authenticate, listen, then an event at each step of an order.

Rules: frames are binary, as on Alpaca's paper host, unless `binary` is False. Nothing is told again to who connects later.
"""

from __future__ import annotations

import queue
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from simulator.alpaca.book import Event
from simulator.alpaca.orders import money, stamp
from simulator.http import RESET

if TYPE_CHECKING:
    from simulator.alpaca.venue import Venue

STRANGE_EVENT = "moon_phase"
STREAM = "trade_updates"


class Listener:
    """One connection, and the frames that wait for it."""

    def __init__(self, connection: ServerConnection, binary: bool) -> None:
        self.connection, self.binary = connection, binary
        self.admitted, self.listens = False, False
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=self._send, daemon=True).start()

    def put(self, frame: Any) -> None:
        """Queue a frame: bytes as they are, anything else as JSON; None ends the sender."""
        self._outbox.put(frame if frame is None or isinstance(frame, bytes) else msgspec.json.encode(frame))

    def drop(self) -> None:
        """End the TCP connection without a close handshake."""
        with suppress(OSError):
            self.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        with suppress(OSError):
            self.connection.socket.shutdown(socket.SHUT_RDWR)

    def _send(self) -> None:
        with suppress(ConnectionClosed, OSError):
            while (frame := self._outbox.get()) is not None:
                self.connection.send(frame if self.binary else frame.decode())


class UpdatesServer:
    """The stream of a venue's account."""

    def __init__(self, venue: Venue, port: int = 0, *, binary: bool = True) -> None:
        self._venue, self._binary = venue, binary
        self._listeners: list[Listener] = []
        self._server: Server = serve(self._serve, "127.0.0.1", port, compression=None, ping_interval=None, close_timeout=1)
        self.port = int(self._server.socket.getsockname()[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="trade updates", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/stream"

    @property
    def listeners(self) -> int:
        """How many connections listen to trade updates now."""
        return sum(listener.listens for listener in list(self._listeners))

    def publish(self, event: Event) -> None:
        """Tell an event to all who listen; whoever calls holds the venue's lock, so that the order is as it then was."""
        faults = self._venue.faults
        if "stream-silence" in faults:
            return
        frame = msgspec.json.encode({"stream": STREAM, "data": self._body(event)})
        for listener in list(self._listeners):
            for _ in range(2 if listener.listens and "stream-double" in faults else listener.listens):
                listener.put(frame)

    def _body(self, event: Event) -> dict[str, Any]:
        faults, order = self._venue.faults, event.order
        name = STRANGE_EVENT if faults.take("unknown-event") else event.name
        at = stamp(event.at_us)
        body: dict[str, Any] = {"event": name, "at": at, "timestamp": at, "order": self._venue.rest.shown(order)}
        if event.fill is not None:
            position = self._venue.book.positions.get(event.fill.leg.contract.symbol)
            body |= {
                "execution_id": event.fill.execution_id, "price": money(event.price), "qty": str(event.qty),
                "position_qty": "0" if position is None else str(position.qty),
            }  # fmt: skip
        if event.previous is not None:
            body["previous_execution_id"] = event.previous
        return body

    def drop(self) -> None:
        """Cut every connection."""
        for listener in list(self._listeners):
            listener.drop()

    def send(self, frame: bytes) -> None:
        """Send these bytes to all who listen."""
        for listener in list(self._listeners):
            listener.put(frame)

    def close(self) -> None:
        self.drop()
        self._server.shutdown()
        self._thread.join(3)

    def _serve(self, connection: ServerConnection) -> None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener = Listener(connection, self._binary)
        self._listeners.append(listener)
        self._venue.line("stream  connected")
        try:
            for message in connection:
                self._hear(listener, message)
        except (ConnectionClosed, OSError):
            pass
        finally:
            self._listeners.remove(listener)
            listener.put(None)
            self._venue.line("stream  gone")

    def _hear(self, listener: Listener, message: str | bytes) -> None:
        try:
            said = msgspec.json.decode(message, type=dict[str, Any])
        except msgspec.DecodeError:
            listener.put({"stream": "error", "data": {"message": "invalid message"}})
            return
        data = said.get("data") or said
        match said.get("action"):
            case "authenticate" | "auth":
                key = str(data.get("key_id") or data.get("key") or "")
                good = bool(key) and "stream-refused" not in self._venue.faults and key in (self._venue.rest.keys or {key})
                listener.admitted = good
                word = "authorized" if good else "unauthorized"
                listener.put({"stream": "authorization", "data": {"action": "authenticate", "status": word}})
                self._venue.line(f"stream  {word}")
            case "listen" if listener.admitted:
                streams = [name for name in data.get("streams", []) if name == STREAM]
                with self._venue.lock:
                    listener.put({"stream": "listening", "data": {"streams": streams}})
                    listener.listens = bool(streams)
                self._venue.line(f"stream  listening to {', '.join(streams) or 'nothing'}")
            case "listen":
                listener.put({"stream": "listening", "data": {"error": "not authenticated"}})
            case _:
                listener.put({"stream": "error", "data": {"message": "unknown action"}})
