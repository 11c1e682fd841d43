"""A WebSocket over a socket of ours: opened within a deadline by websocket-client, read a piece at a time, closed without ceremony.

Rules:
- One `read` is one wait on the socket, so nobody who trickles bytes can hold it; frames are put together from however they were cut.
- A frame, a message in fragments and the answer to the upgrade are bounded. No extension is offered, so none is accepted.
- Redirects are never followed, TLS is always verified, and no reason that is given holds more than a server's short words.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from urllib.parse import urlsplit

import websocket

from wire.sockets import dial, tls_context, within
from wire.transport import retry_after

MAX_MESSAGE = 1 << 20
MAX_FRAGMENTS = 4096
MAX_UPGRADE = 1 << 16
READ_BYTES = 1 << 16
SEND_S = 2.0
GOODBYE_S = 0.25
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FINAL, EXTENSION, MASKED = 0x80, 0x70, 0x80

Message = tuple[int, bytes]


class Dropped(Exception):
    """The connection is of no use any more. `retry_after_s`: what the server asked for."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.retry_after_s = reason, retry_after_s


class Denied(Dropped):
    """The server will not have us: the key, the plan, or (`busy`) another process on the same key."""

    def __init__(self, reason: str, *, busy: bool = False) -> None:
        super().__init__(reason)
        self.busy = busy


# --- frames: pure ------------------------------------------------------------------------------------------------------


class Reader:
    """Messages out of bytes, by RFC 6455, section 5. Reads no socket."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._opcode: int | None = None  # of a message in fragments
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Message]:
        """Opcode and payload of all that is whole by now. Dropped if it breaks the protocol or its bounds."""
        messages: list[Message] = []
        held = self._bytes
        held += data
        at, size = 0, len(held)
        while size - at >= 2:
            first, length, start = held[at], held[at + 1], at + 2
            if length >= 126:
                if length & MASKED:
                    raise Dropped("the server breaks the protocol: a masked frame")
                start += 2 if length == 126 else 8
                if start > size:
                    break
                length = int.from_bytes(held[at + 2 : start], "big")
                if length > MAX_MESSAGE:
                    raise Dropped("a frame larger than 1 MiB")
            end = start + length
            if end > size:
                break
            payload = bytes(held[start:end])
            at = end
            if first == FINAL | TEXT and self._opcode is None:
                messages.append((TEXT, payload))
            elif (message := self._other(first, payload)) is not None:
                messages.append(message)
        del held[:at]
        return messages

    def _other(self, first: int, payload: bytes) -> Message | None:
        """A frame that is not simply a text: a control frame, or a piece of a message."""
        opcode, final = first & 0x0F, bool(first & FINAL)
        if first & EXTENSION:
            raise Dropped("the server breaks the protocol: an extension that was not agreed on")
        if opcode in (CLOSE, PING, PONG):
            if not final or len(payload) > 125:
                raise Dropped("the server breaks the protocol: a control frame too long or in pieces")
            return opcode, payload
        if opcode not in (CONT, TEXT, BINARY) or (opcode == CONT) == (self._opcode is None):
            raise Dropped("the server breaks the protocol: a frame out of its place")
        if opcode != CONT:
            self._opcode, self._parts, self._size = opcode, [], 0
        self._parts.append(payload)
        self._size += len(payload)
        if self._size > MAX_MESSAGE or len(self._parts) > MAX_FRAGMENTS:
            raise Dropped("a message larger than 1 MiB, or in too many fragments")
        if not final:
            return None
        assert self._opcode is not None
        message = self._opcode, b"".join(self._parts)
        self._opcode, self._parts = None, []
        return message


# --- the connection ----------------------------------------------------------------------------------------------------


class Connection:
    """One connection's life."""

    def __init__(self) -> None:
        self._ws = websocket.WebSocket(enable_multithread=False, skip_utf8_validation=True)
        self._reader = Reader()
        self._timeout_s = 0.0

    def open(self, url: str, seconds: float, wall: float, ca_file: str | None = None) -> None:
        """Connect, TLS, upgrade, all within `seconds`. Dropped or Denied says why not. `wall`: what the host's clock says."""
        try:
            with within(seconds, MAX_UPGRADE) as call:
                self._open(url, ca_file)
        except websocket.WebSocketBadStatusException as fault:
            end = _not_upgraded(fault.status_code, fault.resp_headers, wall)
        except (websocket.WebSocketException, OSError, ValueError, LookupError) as fault:
            if (status := self._ws.getstatus()) is not None:
                end = _not_upgraded(status, {}, wall)
            else:
                late = call.is_late or isinstance(fault, TimeoutError | websocket.WebSocketTimeoutException)
                end = Dropped(call.unconnected or ("no connection within the deadline" if late else _why(fault)))
        else:
            return
        raise end

    def _open(self, url: str, ca_file: str | None) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "wss"
        host = parts.hostname or ""
        sock = dial(host, parts.port or (443 if secure else 80))
        try:
            if secure:
                sock = tls_context(ca_file).wrap_socket(sock, server_hostname=host)
            self._ws.connect(url, socket=sock, suppress_origin=True, redirect_limit=0)  # type: ignore[no-untyped-call]
        except BaseException:
            sock.close()
            raise

    def read(self, timeout_s: float) -> list[Message]:
        """What one wait brought, none if nothing came in time; the last ping is answered. Dropped when it is over."""
        data = b""
        reason = "the connection was cut"
        try:
            self._set_timeout(timeout_s)
            assert self._ws.sock is not None
            data = self._ws.sock.recv(READ_BYTES)
        except TimeoutError:
            return []
        except (OSError, ValueError) as fault:
            reason = _why(fault)
        if not data:
            raise Dropped(reason)
        messages = self._reader.feed(data)
        if pings := [payload for opcode, payload in messages if opcode == PING]:
            self.send(pings[-1], PONG)
        return messages

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        try:
            self._set_timeout(SEND_S)
            self._ws.send(payload, opcode)
        except (websocket.WebSocketException, OSError, ValueError) as fault:
            reason = "nothing could be sent" if isinstance(fault, websocket.WebSocketTimeoutException) else _why(fault)
        else:
            return
        raise Dropped(reason)

    def abandon(self, *, politely: bool = False) -> None:
        """Close, waiting for nobody. Politely: with a close frame, so that the server frees our place at once."""
        if politely and self._ws.connected:
            with suppress(websocket.WebSocketException, OSError):  # it is only manners
                self._set_timeout(GOODBYE_S)
                self._ws.send_close()
        self._ws.shutdown()  # type: ignore[no-untyped-call]

    def _set_timeout(self, seconds: float) -> None:
        if seconds != self._timeout_s:
            self._timeout_s = seconds
            self._ws.settimeout(seconds)


def _not_upgraded(status: int | None, headers: dict[str, str] | None, wall: float) -> Dropped:
    """A 4xx will be the same the next time; 429 and 5xx will not."""
    if status in (401, 403):
        return Denied(f"the server refuses the connection ({status}): the key or the plan is not accepted")
    if status is not None and 400 <= status < 500 and status not in (408, 425, 429):
        return Denied(f"the server refuses the connection ({status}): is the address of the socket right?")
    if status is not None and 300 <= status < 400:
        return Denied(f"the server wants to redirect ({status}): never followed")
    pause = retry_after({name.title(): value for name, value in (headers or {}).items()}, wall)
    return Dropped(f"the server answers {status} instead of a WebSocket", pause or 0.0)


def _why(fault: BaseException) -> str:
    """What went wrong; the fault's own words are not used."""
    if isinstance(fault, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError):
        return "the connection was cut"
    if isinstance(fault, ssl.SSLError):
        return "TLS failed: the certificate or the handshake is not right"
    if isinstance(fault, websocket.WebSocketConnectionClosedException):
        return "the connection was cut"
    if isinstance(fault, websocket.WebSocketException | ValueError | LookupError):
        return "the server does not speak the protocol"
    return f"the connection was lost ({type(fault).__name__})"
