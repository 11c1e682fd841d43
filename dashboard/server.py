"""HTTP/1.1 for a few friends and many strangers: one thread, asyncio for the waiting, h11 for the reading.

Rules: one request a connection; a request has to be whole within REQUEST_S and an answer gone within ANSWER_S, however slowly
the other side reads or writes; sizes are capped; when all places are taken, the oldest connection that has not finished its
request makes room. Event streams are written to without waiting: a client that does not keep up is let go, and may come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Mapping

import h11
from msgspec import Struct, structs

import logger

log = logger.of("http")

CONNECTIONS_MAX = 96
STREAMS_MAX = 64
REQUEST_S = 5.0
ANSWER_S = 10.0
STREAM_S = 3600.0
HEAD_MAX_BYTES = 16_384
TARGET_MAX_BYTES = 1_024
BODY_MAX_BYTES = 4_096
BACKLOG_MAX_BYTES = 1_000_000
READ_BYTES = 8_192
AT_ONCE = struct.pack("ii", 1, 0)


class Request(Struct, frozen=True):
    """`path` is without its query; header names are in lower case, and of a header sent twice the values are joined."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


class Reply(Struct, frozen=True):
    """`stream`: the body is the first event of a stream that stays open."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    stream: bool = False


class TooMuch(Exception):
    """The request is larger than anything asked for here; `status` says in what."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


Handler = Callable[[Request], Reply]


class Server:
    """`handle` answers a request at once, `head` goes with every answer. All of it happens in the thread that runs `serve`."""

    def __init__(self, handle: Handler, head: tuple[tuple[str, str], ...] = ()) -> None:
        self.handle = handle
        self.head = head
        self.reading: dict[asyncio.StreamWriter, None] = {}
        self.connections: set[asyncio.StreamWriter] = set()
        self.streams: set[asyncio.StreamWriter] = set()

    async def serve(self, listening: socket.socket) -> asyncio.Server:
        return await asyncio.start_server(self._connected, sock=listening, limit=HEAD_MAX_BYTES)

    def broadcast(self, event: bytes) -> None:
        """One piece for every open stream."""
        piece = chunk(event)
        for writer in tuple(self.streams):
            if writer.transport.get_write_buffer_size() > BACKLOG_MAX_BYTES:
                self.streams.discard(writer)
                reset(writer)
            else:
                writer.write(piece)

    def close(self) -> None:
        for writer in tuple(self.connections):
            reset(writer)

    # --- one connection ------------------------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._has_room():
            reset(writer)
            return
        self.connections.add(writer)
        self.reading[writer] = None
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError):
            reset(writer)
        finally:
            self.reading.pop(writer, None)
            self.streams.discard(writer)
            self.connections.discard(writer)
            writer.close()

    def _has_room(self) -> bool:
        """Whether there is a place; the oldest unfinished request is sent away for it."""
        if len(self.connections) < CONNECTIONS_MAX:
            return True
        oldest = next(iter(self.reading), None)
        if oldest is None:
            return False
        del self.reading[oldest]
        self.connections.discard(oldest)
        reset(oldest)
        return True

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)
        request = None
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await read(wire, reader)
        except TooMuch as fault:
            answer = Reply(fault.status)
        except h11.RemoteProtocolError as fault:
            answer = Reply(fault.error_status_hint)
        except TimeoutError:
            answer = Reply(408)
        else:
            if request is None:
                return
            answer = self._answer(request)
        self.reading.pop(writer, None)
        writer.transport.set_write_buffer_limits(high=0)
        answer = structs.replace(answer, headers=(*answer.headers, *self.head))
        async with asyncio.timeout(ANSWER_S):
            writer.write(encoded(wire, answer, head_only=request is not None and request.method == "HEAD"))
            await writer.drain()
        if answer.stream:
            await self._keep(reader, writer)
        elif request is None:
            await self._drain(reader, writer)

    def _answer(self, request: Request) -> Reply:
        try:
            answer = self.handle(request)
        except Exception:
            log.exception("a request could not be answered", path=request.path)
            return Reply(500)
        if answer.stream and len(self.streams) >= STREAMS_MAX:
            return Reply(503, b"as many pages are open as can be served\n", headers=(("Retry-After", "30"),))
        return answer

    async def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold a stream until its client goes, or for an hour: it comes back by itself, and shows again who it is."""
        writer.transport.set_write_buffer_limits(high=BACKLOG_MAX_BYTES)
        self.streams.add(writer)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STREAM_S):
                await reader.read(1)

    @staticmethod
    async def _drain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take what a refused client is still sending, for a moment, so that it can read why it was refused."""
        with contextlib.suppress(TimeoutError, OSError):
            writer.write_eof()
            async with asyncio.timeout(0.5):
                while await reader.read(READ_BYTES):
                    pass


def reset(writer: asyncio.StreamWriter) -> None:
    """Let go of a connection at once, with all that it was still to be sent."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()


async def read(wire: h11.Connection, reader: asyncio.StreamReader) -> Request | None:
    """One whole request; None if the other side went away before it began. RemoteProtocolError or TooMuch for a bad one."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Request):
            head = event
            if len(head.target) > TARGET_MAX_BYTES:
                raise TooMuch(414)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY_MAX_BYTES:
                raise TooMuch(413)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return request_of(head, bytes(body))
        else:
            return None


def request_of(head: h11.Request, body: bytes) -> Request:
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path = head.target.decode("latin-1").partition("?")[0]
    return Request(head.method.decode("ascii"), path, headers, body)


def encoded(wire: h11.Connection, answer: Reply, *, head_only: bool = False) -> bytes:
    """The answer as it goes over the wire."""
    length = () if answer.stream else (("Content-Length", str(len(answer.body))),)
    headers = [("Content-Type", answer.content_type), ("Connection", "close"), *length, *answer.headers]
    parts = [wire.send(h11.Response(status_code=answer.status, headers=headers))]
    if answer.body and not head_only:
        parts.append(wire.send(h11.Data(data=answer.body)))
    if not answer.stream:
        parts.append(wire.send(h11.EndOfMessage()))
    return b"".join(part for part in parts if part)


def chunk(piece: bytes) -> bytes:
    """A piece of a body of unknown length, as HTTP/1.1 frames it (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)
