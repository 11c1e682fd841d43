"""Which brokers there are. What no strategy asks for is not imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokers.broker import Broker
    from events import Fill, Mode


HOSTS = {"alpaca-paper": "paper-api.alpaca.markets", "alpaca-live": "api.alpaca.markets"}


def made(
    mode: Mode,
    now: Callable[[], float],
    fills: tuple[Fill, ...],
    sections: Mapping[str, Any],
    bell: Callable[[], None] = lambda: None,
) -> Broker:
    """The broker of a mode; `fills` are the executions of it that the books have. ValueError for a mode that is not at hand.

    `sections` are the settings of the strategies that are on; `bell` is rung when something comes by itself.
    """
    if mode == "paper":
        from brokers.paper import Paper

        return Paper(now, fills=fills)
    if mode in HOSTS:
        from brokers.alpaca.broker import Alpaca

        own = sections["scalper"]
        keys = own.alpaca_key_id.get_secret_value(), own.alpaca_secret_key.get_secret_value()
        url, stream = own.alpaca_url or f"https://{HOSTS[mode]}", own.alpaca_stream_url or f"wss://{HOSTS[mode]}/stream"
        return Alpaca(mode, url, stream, keys, now=now, bell=bell, timeout_s=own.alpaca_timeout_seconds)
    raise ValueError(f"there is no broker for {mode}")
