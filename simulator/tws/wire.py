"""Frames and fields of the TWS socket protocol: a length in four bytes, then texts that each end with a NUL.

Rules: prices are whole mills here and exact decimals on the wire; an empty text is "not given". Whatever cannot be read is a
ValueError, which the session answers as TWS does, and goes on.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

SERVER_VERSION = 178
HELLO = b"API\0"
UNSET = "1.7976931348623157E308"
UNSET_WHOLE = "2147483647"
LONGEST_FRAME = 1 << 20


def text(value: object) -> str:
    """A value as the protocol writes it: nothing for None, 1 and 0 for truth."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


def dollars(mills: int) -> str:
    """Whole mills as a decimal of dollars: -380 is `-0.38`."""
    return format(Decimal(mills).scaleb(-3).normalize(), "f")


def frame(*fields: object) -> bytes:
    """One message, ready to be sent."""
    body = "".join(text(field) + "\0" for field in fields).encode()
    return struct.pack(">I", len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The body of the next message; IncompleteReadError at the end of the connection."""
    (size,) = struct.unpack(">I", await reader.readexactly(4))
    if size > LONGEST_FRAME:
        raise ConnectionError(f"a message of {size} bytes")
    return await reader.readexactly(size)


class Fields:
    """Reads a message's fields from the front."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.all = list(fields)
        self._at = 0

    @classmethod
    def of(cls, body: bytes) -> Fields:
        return cls(body.decode(errors="backslashreplace").split("\0")[:-1])

    def text(self) -> str:
        if self._at >= len(self.all):
            raise ValueError(f"the message ends after {len(self.all)} fields")
        self._at += 1
        return self.all[self._at - 1]

    def texts(self, count: int) -> list[str]:
        return [self.text() for _ in range(count)]

    def whole(self) -> int:
        """A whole number; 0 where nothing is given."""
        return int(self.text() or 0)

    def flag(self) -> bool:
        return self.text() in ("1", "true", "True")

    def decimal(self) -> Decimal | None:
        """A finite number; None where nothing is given."""
        said = self.text()
        if said in ("", UNSET):
            return None
        try:
            value = Decimal(said)
        except InvalidOperation:
            raise ValueError(f"{said!r} is no number") from None
        if not value.is_finite():
            raise ValueError(f"{said!r} is no finite number")
        return value
