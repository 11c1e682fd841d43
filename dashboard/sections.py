"""The page's sections as JSON: what the stream of news is made of, and a past day's seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from dashboard import frame
from dashboard.health import Health
from dashboard.view import View

if TYPE_CHECKING:
    from config import Config

_encode = msgspec.json.Encoder().encode


class Sections:
    """One page's sections; those of the contracts are made once a chain."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._chain: Any = self
        self._contracts = b""

    def of(self, view: View, found: Health, lines: Sequence[str]) -> dict[str, bytes]:
        parts = frame.sections(self._config, view, found, lines)
        chain = view.vwap.chain
        if chain is not self._chain:
            self._chain, self._contracts = chain, _encode(frame.contracts(self._config, view, chain))
        return {name: _encode(part) for name, part in parts.items()} | {"contracts": self._contracts}


def joined(sections: Mapping[str, bytes]) -> bytes:
    """One JSON object of sections that are JSON already."""
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), section) for name, section in sections.items()) + b"}"
