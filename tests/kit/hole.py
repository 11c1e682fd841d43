"""An address that swallows: whoever connects to it is never answered, and never refused."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

CROWD = 4


class Hole:
    """A listener whose backlog is full, so that the kernel drops every further SYN in silence."""

    def __init__(self, host: str, port: int = 0) -> None:
        self._listener = socket.create_server((host, port), backlog=0)
        self.port = int(self._listener.getsockname()[1])
        self._crowd = [socket.socket() for _ in range(CROWD)]
        for one in self._crowd:
            one.setblocking(False)
            one.connect_ex((host, self.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for one in (*self._crowd, self._listener):
            one.close()
