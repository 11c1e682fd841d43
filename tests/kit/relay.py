"""Relay: a TCP relay on loopback that spoils what passes through it, in Toxiproxy's verbs.

    with Relay(server.port) as relay:
        relay.hole = True               # swallow every byte, both ways, and keep the connection open
        relay.delay_s = 0.2             # hold each piece back
        relay.slice = 1                 # pass the server's bytes in pieces of so many,
        relay.every_s = 0.01            # ... so far apart: a throttle
        relay.cut_after(100)            # reset after so many more bytes of the server's
        relay.reset()                   # reset every connection now; `end()` closes them in order (EOF)

The verbs may be set at any time; what was swallowed is lost.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST
Pair = tuple[socket.socket, socket.socket]


class Relay:
    """Listens on `port` and passes everything on to loopback's `to_port`, until it is told otherwise. `passed`: the server's bytes."""

    def __init__(self, to_port: int, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.to_port = to_port
        self.hole = False
        self.delay_s = 0.0
        self.slice: int | None = None
        self.every_s = 0.0
        self.accepted = 0
        self.passed = 0
        self._cut_at: int | None = None
        self._pairs: list[Pair] = []
        self._listener = socket.create_server((host, port))
        self.port = int(self._listener.getsockname()[1])
        _thread(self._accept)

    def cut_after(self, count: int) -> None:
        self._cut_at = self.passed + count

    def reset(self) -> None:
        """End every connection by RST, on both sides."""
        for pair in self._pairs[:]:
            self._end(pair, reset=True)

    def end(self) -> None:
        """End every connection by FIN: an EOF without a word."""
        for pair in self._pairs[:]:
            self._end(pair)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed: the end
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                try:
                    server = socket.create_connection(("127.0.0.1", self.to_port))
                except OSError:
                    client.close()
                    continue
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pair = (client, server)
                self._pairs.append(pair)
                _thread(lambda pair=pair: self._pump(pair, *pair, down=False))
                _thread(lambda pair=pair: self._pump(pair, *pair[::-1], down=True))

    def _pump(self, pair: Pair, source: socket.socket, sink: socket.socket, *, down: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if self.delay_s:
                    time.sleep(self.delay_s)
                size = self.slice if down and self.slice else len(data)
                for start in range(0, len(data), size):
                    if self.hole:
                        break
                    if not self._pass(pair, sink, data[start : start + size], down):
                        return
        if not self.hole and pair in self._pairs:
            self._end(pair)

    def _pass(self, pair: Pair, sink: socket.socket, piece: bytes, down: bool) -> bool:
        if down and self._cut_at is not None and self.passed + len(piece) > self._cut_at:
            sink.sendall(piece[: self._cut_at - self.passed])
            self._cut_at = None
            self._end(pair, reset=True)
            return False
        sink.sendall(piece)
        if down:
            self.passed += len(piece)
            if self.every_s:
                time.sleep(self.every_s)
        return True

    def _end(self, pair: Pair, *, reset: bool = False) -> None:
        if pair not in self._pairs:
            return
        self._pairs.remove(pair)
        for one in pair:
            with suppress(OSError):
                if reset:  # wakes whoever reads, and says nothing: the RST goes out at the close
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    one.shutdown(socket.SHUT_RD)
                else:
                    one.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                one.close()


def _thread(target: Callable[[], None]) -> None:
    threading.Thread(target=target, name="relay", daemon=True).start()
