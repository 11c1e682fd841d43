"""What main lets the http thread see: one frozen View, a few times a second, made in less than a millisecond.

Its parts are frozen themselves, but for `windows`, of which other threads may take the copies that `closes` and `volumes` give.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

from desk.state import Held, State
from desk.strategy import Status
from signals import Reading, Windows
from strategies.vwap.memory import Memory
from strategies.vwap.page import look_at

if TYPE_CHECKING:
    from desk.desk import Desk
    from edges.inbox import Inbox

LOOK_S = 0.25


class View(Struct, frozen=True):
    """`at` is the worker's time, `made_at` the monotonic one. `refusal`: why the desk takes no entry, whatever the bars say.

    `vwap` is what that strategy remembers; `statuses` is what each strategy that is on says of itself.
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
    vwap: Memory
    statuses: tuple[Status, ...]
    waiting: int
    shed: int
    replaced: int

    @property
    def held(self) -> Held | None:
        """The position that is followed to its exit, if one is open."""
        return next(iter(self.state.open()), None)

    @property
    def settling(self) -> Held | None:
        """A position that outlived its session, and is not settled yet."""
        return next((held for held in self.state.held.values() if held.settling is not None), None)


def look(desk: Desk, inbox: Inbox, replaced: int, now: float) -> View:
    """The desk as it is now. To be called by the thread that decides."""
    market, iwm, memory = desk.market, *look_at(desk)
    statuses = tuple(desk.statuses(now))
    return View(
        at=now,
        made_at=time.monotonic(),
        state=desk.state,
        reading=iwm.reading(),
        refusal=statuses[0].refusal,
        newest=iwm.newest_start(),
        delay_s=market.delay_s,
        is_delayed=market.is_delayed,
        heard_at=max(market.heard.values(), default=0.0),
        windows=iwm.windows,
        vwap=memory,
        statuses=statuses,
        waiting=len(inbox),
        shed=inbox.shed,
        replaced=replaced,
    )
