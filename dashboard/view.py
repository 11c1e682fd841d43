"""What main lets the http thread see: one frozen View, a few times a second, made in less than a millisecond.

Its parts are frozen themselves, but for `windows`, of which other threads may take the copies that `closes` and `volumes` give.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

from desk.state import State
from signals import Reading, Windows

if TYPE_CHECKING:
    from desk.desk import Desk
    from edges.inbox import Inbox

LOOK_S = 0.25


class View(Struct, frozen=True):
    """`at` is the worker's time, `made_at` the monotonic one. `refusal`: why the desk takes no entry, whatever the bars say.

    `heard_at` is when any symbol of the basket was last heard, `newest` the start of the newest bar (0: none).
    """

    at: float
    made_at: float
    state: State
    reading: Reading | None
    refusal: str | None
    newest: int
    delay_s: float
    is_delayed: bool
    heard_at: float
    windows: Windows | None
    waiting: int
    shed: int
    replaced: int


def look(desk: Desk, inbox: Inbox, replaced: int, now: float) -> View:
    """The desk as it is now. To be called by the thread that decides."""
    market = desk.market
    return View(
        at=now,
        made_at=time.monotonic(),
        state=desk.state,
        reading=market.reading(),
        refusal=desk.refusal(now),
        newest=market.newest_start(),
        delay_s=market.delay_s,
        is_delayed=market.is_delayed,
        heard_at=max(market.heard.values(), default=0.0),
        windows=market.windows,
        waiting=len(inbox),
        shed=inbox.shed,
        replaced=replaced,
    )
