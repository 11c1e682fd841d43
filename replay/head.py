"""The head of every answer: program, command, data, settings, seeds, and what is simulated, modelled or assumed, in true sentences."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING

from msgspec import Struct
from rich.text import Text

from config import Config, fields
from replay.setting import RULED
from replay.show import console, mark_of
from utils import VERSION, Session

if TYPE_CHECKING:
    from replay.store import Source

SIMULATED_WORDS = "the market was a simulator's: clock, bars, chains and quotes are of no real market"
FILTERED = {"condition 6": "relative_volume_filter", "condition 7": "leadership_filter"}


class Head(Struct, frozen=True):
    """`settings`: those that differ from their defaults and rule a decision. `seeds`: by what was made from them. `span`: New York
    dates, first and last; `sessions` between them. `words`: what was recorded, modelled or assumed.
    """

    version: str
    command: str
    span: tuple[date, date]
    sessions: int
    settings: dict[str, str]
    seeds: dict[str, int]
    simulated: bool
    words: list[str]


def rules_of(config: Config) -> dict[str, str]:
    """The settings that rule and differ from their defaults: no address, folder or key, for an answer may be shown to others."""
    told = config.non_defaults()
    return {name: told[name] for name in fields() if name in told and name in RULED}


def made(
    chosen: Namespace,
    days: Sequence[date],
    config: Config,
    words: Iterable[str],
    *,
    seeds: dict[str, int] | None = None,
    simulated: bool = False,
) -> Head:
    """The head of an answer about these days."""
    told = [SIMULATED_WORDS, *words] if simulated else list(words)
    return Head(
        VERSION,
        chosen.command,
        (min(days), max(days)),
        len(set(days)),
        rules_of(config),
        seeds or {},
        simulated,
        [true_of(config, text) for text in told],
    )


def of_sessions(
    chosen: Namespace, source: Source, sessions: Sequence[Session], config: Config, assumed: Sequence[str]
) -> Head:
    """The head of an answer about sessions of a source, whose quotes assume this."""
    words = [*source.words, *assumed, f"bars taken to arrive {chosen.delay:g} s after their end"]
    return made(chosen, [session.date for session in sessions], config, words, seeds=seeds_of(chosen, assumed))


def seeds_of(chosen: Namespace, assumed: Iterable[str]) -> dict[str, int]:
    """The seeds that the answer hangs on: of made-up bars, and of quotes where any is modelled."""
    seeds = {} if getattr(chosen, "made", None) is None else {"made-up bars": chosen.made}
    if any(mark_of(text) == "MODELLED" for text in assumed):
        seeds["modelled quotes"] = chosen.seed
    return seeds


def true_of(config: Config, text: str) -> str:
    """A sentence about a condition that cannot hold, where the condition is switched off: then it hinders nothing."""
    for name, switch in FILTERED.items():
        if text.endswith(f"{name} cannot hold") and not getattr(config, switch):
            return text.removesuffix("cannot hold") + "is switched off and not asked"
    return text


def lines_of(head: Head) -> list[str]:
    """The head in lines for people, but for its words."""
    first, last = head.span
    days = f"{first}" if first == last else f"{first} to {last}, {head.sessions} sessions"
    rules = ", ".join(f"{name}={value}" for name, value in head.settings.items()) or "the defaults"
    seeds = "".join(f"; seed of {name} {seed}" for name, seed in head.seeds.items())
    return [f"replay {head.command} {head.version}: {days}", f"settings: {rules}{seeds}"]


def tell(head: Head) -> None:
    """The head as a command says it, before anything else."""
    first, *rest = lines_of(head)
    console.print(Text(first, style="bold"))
    for line in rest:
        console.print(Text(line, style="dim"))
    for text in head.words:
        console.print(Text(f"{mark_of(text)}  {text}", style="yellow"))
