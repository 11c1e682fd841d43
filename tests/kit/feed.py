"""Feed: a scripted WebSocket server on loopback, made of bare sockets, so that every byte it says can be a wrong one.

    with Feed() as feed:                        # greets, lets anybody in, acknowledges what is asked for, answers pings
        feed.wait_for(lambda: feed.live)        # somebody is subscribed
        feed.send(bar("IWM", second))           # one frame, to all that are live
        feed.raw(frame(TEXT, b"[]", fin=False)) # bytes as they are
        feed.close(1001, "going away")          # a close frame; `end()` is an EOF and `reset()` an RST

What it does is its attributes, to be set before a client comes: `greet`, `login`, `acknowledge`, `pongs`, `upgrade` (raw bytes in
place of the upgrade), and `then`, called with each Client once it is live. `heard` is every message of every client, decoded.
For its own market, at any speed, see simulator.feed; this one says only what a test tells it to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
BAD_KEY = "authentication failed"
NO_PLAN = "Your plan doesn't include websocket access. Visit https://massive.com/pricing to upgrade."
TOO_MANY = (
    "Maximum number of websocket connections exceeded. You have reached the connection limit for your account. "
    "Please contact support at https://massive.com/contact to increase your limit."
)


def bar(symbol: str, start: int, price: float = 220.0, volume: int = 500, **more: Any) -> dict[str, Any]:
    """An `A` event as the live feed writes it; `more` changes or adds fields."""
    return {
        "ev": "A", "sym": symbol, "v": volume, "av": 10 * volume, "op": 219.5, "vw": price, "o": price, "c": price, "h": price,
        "l": price, "a": 219.9, "z": 57, "s": start * 1000, "e": start * 1000 + 1000, "dv": f"{volume}.0", "dav": f"{volume}0.25",
        **more,
    }  # fmt: skip


def quote(contract: str, bid: float, ask: float, at_ms: int, **more: Any) -> dict[str, Any]:
    """A `Q` event of an option."""
    return {
        "ev": "Q", "sym": contract, "bx": 302, "ax": 302, "bp": bid, "ap": ask, "bs": 35, "as": 40, "t": at_ms, "q": 84, **more
    }  # fmt: skip


def status(kind: str, message: str) -> dict[str, str]:
    return {"ev": "status", "status": kind, "message": message}


def text(*events: dict[str, Any]) -> bytes:
    """The payload of one frame."""
    return json.dumps(events).encode()


def frame(
    opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, length: int | None = None, mask: bytes = b""
) -> bytes:
    """One frame's bytes; `length` lies about the payload's, `mask` masks it as only clients may."""
    size = len(payload) if length is None else length
    first, bit = (fin << 7) | (rsv << 4) | opcode, 0x80 if mask else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 1 << 16:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)) if mask else payload
    return head + mask + masked


class Client:
    """One connection, as the server sees it."""

    def __init__(self, feed: Feed, sock: socket.socket) -> None:
        self.feed, self.sock = feed, sock
        self.head = b""
        self.topics: set[str] = set()
        self.pings = 0
        self.pongs: list[bytes] = []
        self._rest = b""

    def raw(self, data: bytes) -> None:
        with suppress(OSError):
            self.sock.sendall(data)

    def send(self, *events: dict[str, Any]) -> None:
        self.raw(frame(TEXT, text(*events)))

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """A close frame, and nothing after it: TCP stays open until the client ends it."""
        self.raw(frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode()))

    def end(self, *, reset: bool = False) -> None:
        with suppress(OSError):
            if reset:  # wakes the reader, and says nothing: the RST goes out at the close
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                self.sock.shutdown(socket.SHUT_RD)
            else:
                self.sock.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self.sock.close()

    def read(self, count: int) -> bytes:
        while len(self._rest) < count:
            data = self.sock.recv(65_536)
            if not data:
                raise ConnectionError
            self._rest += data
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def read_head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)
        return head

    def hear(self) -> tuple[int, bytes]:
        """The next frame of the client's: opcode and payload, unmasked."""
        first, second = self.read(2)
        size = second & 0x7F
        size = int.from_bytes(self.read(2 if size == 126 else 8), "big") if size > 125 else size
        mask = self.read(4)
        return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.read(size)))


class Feed:
    def __init__(self, then: Callable[[Client], None] = lambda client: None, *, tls: ssl.SSLContext | None = None) -> None:
        self.greet = self.pongs = True
        self.login: str | None = "auth_success"  # "auth_failed" refuses, None is silence
        self.login_says = "authenticated"
        self.acknowledge: Callable[[str], bool] = lambda topic: True
        self.upgrade: bytes | None = None
        self.then = then
        self.clients: list[Client] = []
        self.heads: list[str] = []
        self.heard: list[dict[str, Any]] = []
        self.accepted = 0
        self._tls = tls
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="feed", daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'ws' if self._tls is None else 'wss'}://localhost:{self.port}/stocks"

    @property
    def live(self) -> list[Client]:
        """Those that are subscribed to something."""
        return [client for client in self.clients if client.topics]

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        """Wait until it is true of what the server has seen; its value, or TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise TimeoutError(f"not seen within {timeout_s:g} s")
            return condition()

    def send(self, *events: dict[str, Any]) -> None:
        self.raw(frame(TEXT, text(*events)))

    def raw(self, data: bytes) -> None:
        for client in self.live:
            client.raw(data)

    def say(self, kind: str, message: str) -> None:
        self.send(status(kind, message))

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        for client in self.live:
            client.close(code, reason)

    def end(self, *, reset: bool = False) -> None:
        for client in self.clients[:]:
            client.end(reset=reset)

    def shut(self) -> None:
        """Listen no more, and end every connection."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.shut()

    def _accept(self) -> None:
        with suppress(OSError):  # closed: the end
            while True:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(sock,), name="feed", daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with self._changed:
            self.accepted += 1
            self._changed.notify_all()
        client = Client(self, sock)
        try:
            if self._tls is not None:
                client.sock = self._tls.wrap_socket(sock, server_side=True)
            self.clients.append(client)
            if self._shake_hands(client):
                self._listen(client)
        except (OSError, ValueError):
            pass
        finally:
            client.end()
            with self._changed:
                client.topics.clear()
                if client in self.clients:
                    self.clients.remove(client)
                self._changed.notify_all()

    def _shake_hands(self, client: Client) -> bool:
        head = client.read_head().decode("latin-1")
        with self._changed:
            self.heads.append(head)
            self._changed.notify_all()
        if self.upgrade is not None:
            client.raw(self.upgrade)
            return False
        given = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.splitlines()[1:])}
        accept = base64.b64encode(hashlib.sha1(given["sec-websocket-key"].encode() + GUID).digest()).decode()
        client.raw(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        if self.greet:
            client.send(status("connected", "Connected Successfully"))
        return True

    def _listen(self, client: Client) -> None:
        while True:
            opcode, payload = client.hear()
            if opcode == PING:
                client.pings += 1
                if self.pongs:
                    client.raw(frame(PONG, payload))
            elif opcode == PONG:
                client.pongs.append(payload)
            elif opcode == CLOSE:
                return
            elif opcode in (TEXT, BINARY):
                self._answer(client, json.loads(payload))
            with self._changed:
                self._changed.notify_all()

    def _answer(self, client: Client, said: dict[str, Any]) -> None:
        self.heard.append(said)
        names = [name.strip() for name in said["params"].split(",")]
        if said["action"] == "auth" and self.login is not None:
            client.send(status(self.login, self.login_says))
            if self.login == "auth_failed":
                client.end()
        elif said["action"] == "subscribe":
            known = [name for name in names if self.acknowledge(name)]
            if known:
                client.send(*(status("success", f"subscribed to: {name}") for name in known))
            was_live = bool(client.topics)
            client.topics.update(known)
            if not was_live:
                self.then(client)
        elif said["action"] == "unsubscribe":
            client.topics.difference_update(names)
            client.send(*(status("success", f"unsubscribed to: {name}") for name in names))


GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
