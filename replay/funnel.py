"""Why signals became no trades: one short reason for each, the same from the desk's own words and from the compiled path."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

import risk_manager
from config import Config
from contract_selector import filters
from events import Noted
from utils import Session, new_york

OLD_BAR = "newest bar is too old"


def plain(why: str) -> str:
    """`entry cooldown, 42s left` and `no contract: delta in [0.30, 0.45] (nearest ...)` without what differs each time."""
    if why.startswith("newest bar is"):
        return OLD_BAR
    if "MAX_TRADES_PER_DAY" in why:
        return "MAX_TRADES_PER_DAY reached"
    return re.sub(r", \d+s left$| \(nearest .*", "", why)


def reasons_of(noted: Iterable[Noted]) -> tuple[str, ...]:
    """The reason of each signal without an entry, in order, from the desk's notes: refused at once, or when its quotes were there."""
    return tuple(
        plain(str(note.body["refused"]))
        for note in noted
        if note.kind in ("signal", "near miss") and note.body.get("refused")
    )


def words_of(config: Config, session: Session) -> tuple[str, ...]:
    """The reasons in the order of the compiled path's codes (`replay.positions`)."""
    names = tuple(name for name, _ in filters(config, session.open_at, session))
    return _words(risk_manager.entry_cutoff(config, session), config.symbol, names)


@lru_cache(maxsize=256)
def _words(cutoff_at: float, symbol: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return (
        "",
        "session closed",
        f"no entries after {new_york(cutoff_at):%H:%M} ET",
        "entry cooldown",
        "MAX_TRADES_PER_DAY reached",
        "DAILY_LOSS_HALT reached",
        "position open",
        "a contract is being chosen",
        f"{symbol} fell back to its 1-minute VWAP",
        OLD_BAR,
        *(f"no contract: {name}" for name in names),
    )


def counted(reasons: Iterable[str]) -> dict[str, int]:
    """How often each reason, the most frequent first."""
    return dict(Counter(reasons).most_common())
