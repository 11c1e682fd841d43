"""Alpaca's stream of trade updates: logged in, listening, one life a connection. What it says only hastens a question by REST.

Rules: frames are JSON in binary or text. What cannot be read is counted by its reason and costs nothing else. Nothing is told again
after a connection was lost, so whoever opens one asks by REST for all that happened before.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import msgspec

from brokers.alpaca.forms import Unreadable, Update, read_update
from wire.connection import BINARY, CLOSE, PING, TEXT, Connection, Denied, Dropped

OPEN_S, LOGIN_S = 10.0, 10.0
PING_AFTER_S, PONG_WITHIN_S = 15.0, 10.0
STREAM = "trade_updates"


class TradeUpdates:
    """One connection. `junk` counts what could not be read, by reason."""

    def __init__(self, url: str, key_id: str, secret_key: str, *, ca_file: str | None = None) -> None:
        self._url, self._key_id, self._secret_key, self._ca_file = url, key_id, secret_key, ca_file
        self._connection = Connection()
        self._heard_at = 0.0
        self._pinged_at: float | None = None
        self.junk: Counter[str] = Counter()

    def open(self, wall: float) -> None:
        """Connect, log in, listen, each within ten seconds. Dropped or Denied says why not. `wall`: what the host's clock says."""
        self._connection.open(self._url, OPEN_S, wall, self._ca_file)
        self._say("authenticate", {"key_id": self._key_id, "secret_key": self._secret_key})
        if self._await("authorization").get("status") != "authorized":
            raise Denied("the stream does not accept the keys")
        self._say("listen", {"streams": [STREAM]})
        if STREAM not in (self._await("listening").get("streams") or ()):
            raise Denied("the stream does not tell trade updates")
        self._heard_at, self._pinged_at = time.monotonic(), None

    def read(self, timeout_s: float) -> list[Update]:
        """What came within one wait, perhaps nothing. Dropped when it is over, or silent for longer than a ping takes."""
        now = time.monotonic()
        updates = [
            update
            for stream, data in self._frames(timeout_s)
            if stream == STREAM and (update := self._update(data)) is not None
        ]
        if self._pinged_at is not None and self._heard_at < self._pinged_at:
            if now - self._pinged_at > PONG_WITHIN_S:
                raise Dropped(f"the connection is dead: no answer to a ping in {PONG_WITHIN_S:g} s")
        elif now - self._heard_at > PING_AFTER_S:
            self._connection.send(b"still there?", PING)
            self._pinged_at = time.monotonic()
        return updates

    def close(self) -> None:
        """Say goodbye and wait for nobody."""
        self._connection.abandon(politely=True)

    def _say(self, action: str, data: dict[str, Any]) -> None:
        self._connection.send(msgspec.json.encode({"action": action, "data": data}))

    def _await(self, wanted: str) -> dict[str, Any]:
        """The data of the first frame of a kind. Dropped if it does not come."""
        ends_at = time.monotonic() + LOGIN_S
        while (left := ends_at - time.monotonic()) > 0:
            for stream, data in self._frames(left):
                if stream == wanted and isinstance(data, dict):
                    return data
        raise Dropped(f"no answer to the login: {wanted}")

    def _frames(self, timeout_s: float) -> list[tuple[str, Any]]:
        """Stream and data of what one wait brought."""
        frames: list[tuple[str, Any]] = []
        for opcode, payload in self._connection.read(timeout_s):
            self._heard_at = time.monotonic()
            if opcode == CLOSE:
                raise Dropped("the server ends the connection")
            if opcode in (TEXT, BINARY):
                try:
                    frame = msgspec.json.decode(payload, type=dict[str, Any])
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    self.junk["a frame that is no JSON"] += 1
                else:
                    frames.append((str(frame.get("stream")), frame.get("data")))
        return frames

    def _update(self, data: Any) -> Update | None:
        try:
            return read_update(data)
        except Unreadable as fault:
            self.junk[str(fault)] += 1
            return None
