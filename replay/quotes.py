"""Where a session's option quotes come from, recorded or modelled, and what of them is assumed, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from config import Config
from contract_selector import band
from replay import paths, store
from replay.recorded import Recorded, holds, is_of_store, nothing_of
from replay.show import ReplayError
from replay.world import Modelled, Options
from utils import Session


def quotes_of(day: paths.SessionBars, config: Config, recorded: Path | None) -> Options:
    """A session's option quotes: the recorded ones, or modelled ones where there are none."""
    if recorded is not None:
        found = Recorded(recorded, day.session, config.min_open_interest)
        found.assumed += beyond(recorded, config)
        return found
    return Modelled(day.seed, day.session, day.own, config.symbol)


def beyond(path: Path, config: Config) -> list[str]:
    """What to say where the settings ask for calls of deltas that were not fetched."""
    if not is_of_store(path):
        return []
    (low, high), (least, most) = store.calls_in(path).delta, band(config)
    if low <= least and most <= high:
        return []
    return [
        f"recorded calls cover deltas {low:g} to {high:g}, the settings ask for {least:g} to {most:g}: others were not fetched"
        " (`python -m replay fetch` with these settings brings the rest)"
    ]


def assumed_of(markets: Sequence[Options]) -> list[str]:
    """What is modelled or assumed of the quotes, in words."""
    return counted([market.assumed for market in markets])


def counted(told: Sequence[Sequence[str]]) -> list[str]:
    """The words of many sessions, each once; with the number of sessions where it is not all of them."""
    counts = Counter(words for group in told for words in group)
    total = len(told)
    return [words if count == total else f"{words} ({count} of {total} sessions)" for words, count in counts.items()]


def recorded_of(source: store.Source, sessions: Sequence[Session], given: Path | None) -> dict[date, Path]:
    """Where the recorded quotes of the sessions are: in the file that was given, else in the store."""
    found = {}
    for session in sessions:
        path = given if given is not None and holds(given, session) else source.options(session)
        if path is not None:
            found[session.date] = path
    if given is not None and given not in found.values():
        raise ReplayError(nothing_of(given, sessions[0]))
    return found
