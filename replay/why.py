"""Why there was a BUY, or none, at a second: each gate with its margin, the desk's own refusal, and the sentence that sums it up.

The same for a recorded day and for files of bars: the desk is led through the day, and looked at on its way.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable
from datetime import date, time
from typing import Any

from msgspec import Struct
from rich.table import Table
from rich.text import Text

import risk_manager
from desk.desk import Desk
from desk.state import Holding
from events import AnyAction, AnyEvent, BarClosed
from replay import of_bars, of_tape, paths, redo
from replay.show import OK, ReplayError, as_json, bar, console, mark_of
from signals import Gate, Reading
from utils import clock_text, dollars

Watcher = Callable[[Desk, list[AnyEvent], list[AnyAction]], None]


class Enough(Exception):
    """What was looked for has been seen."""


class Seen(Struct, frozen=True):
    """The desk just after it had decided on the bar of a second."""

    at: float
    reading: Reading
    refusal: str | None
    contracts: str
    passed: dict[str, int]
    position: dict[str, Any] | None
    done: list[str]


def moment(text: str) -> time:
    """HH:MM or HH:MM:SS."""
    if not re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
        raise ReplayError(f"{text} is no time: HH:MM or HH:MM:SS, New York")
    hours, minutes, seconds = (*map(int, text.split(":")), 0)[:3]
    try:
        return time(hours, minutes, seconds)
    except ValueError as fault:
        raise ReplayError(f"{text} is no time: {fault}") from None


def lead_through(chosen: Namespace, watcher: Watcher) -> list[str]:
    """Lead the desk through the day, `watcher` looking on after each turn; what of it is modelled."""
    day = of_tape.day_of(chosen)
    try:
        if day is not None:
            lead_through_tape(chosen, day, watcher)
            return []
        known = of_bars.given(chosen)
        for one, market in zip(known.days, known.markets, strict=True):
            paths.live_through(known.config, known.calendar, one, known.delay_s, quotes=market, eager=True, watch=watcher)
    except Enough:
        pass
    return [] if day is not None else known.assumed


def lead_through_tape(chosen: Namespace, day: date, watcher: Watcher) -> None:
    of_tape.only(chosen)
    for path in of_tape.files_of(chosen, day):
        desk = redo.desk_of(redo.head_of(path))
        for done in redo.redo(path, desk):
            watcher(desk, done.events, done.actions)


# --- one second --------------------------------------------------------------------------------------------------------


def seen_of(desk: Desk, at: float, actions: list[AnyAction]) -> Seen | None:
    reading = desk.market.reading()
    if reading is None:
        return None
    chain = desk.state.chain
    selection = None if chain is None else chain.selection
    contracts = "no chain" if selection is None else selection.why() or ", ".join(row.contract for row in selection.tracked)
    done = [getattr(action, "text", "") for action in actions]
    return Seen(
        at,
        reading,
        desk.refusal(at),
        contracts,
        {} if selection is None else selection.passed,
        position_of(desk, at),
        [text for text in done if text],
    )


def position_of(desk: Desk, at: float) -> dict[str, Any] | None:
    """The open position against each of its exits."""
    phase, session = desk.state.phase, desk.state.session
    if not isinstance(phase, Holding) or session is None:
        return None
    position, config = phase.position, desk.config
    mark = position.last_mark
    below = desk.market.below_since()
    return {
        "id": position.id,
        "contract": position.contract,
        "entry": position.entry / 1000,
        "mark": None if mark is None else mark / 1000,
        "peak": position.peak / 1000,
        "change_percent": None if mark is None else round((mark / position.entry - 1) * 100, 2),
        "stop_loss_percent": -float(config.stop_loss_percent),
        "giveback_percent": round(float(risk_manager.giveback(position)) * 100, 2),
        "hard_giveback_percent": float(config.max_giveback_percent),
        "vwap_giveback_percent": float(config.tighten_giveback_percent),
        "below_vwap_s": None if below is None else desk.market.newest_start() - max(below, int(position.opened_at)),
        "persistence_s": risk_manager.PERSISTENCE_S,
        "time_stop": clock_text(risk_manager.time_stop(config, session)),
    }


def why(chosen: Namespace) -> int:
    """Each gate at a second, and the sentence."""
    wanted = moment(chosen.time)
    found: list[Seen] = []

    def look(desk: Desk, events: list[AnyEvent], actions: list[AnyAction]) -> None:
        session = desk.state.session
        if session is None or not any(isinstance(event, BarClosed) for event in events):
            return
        second = session.at(wanted)
        newest = desk.market.newest_start()
        if newest and newest <= second and (not found or newest > found[-1].reading.start):
            seen = seen_of(desk, events[-1].at, actions) if newest >= second - 60 else None
            found[:] = [seen] if seen is not None else found
        if newest >= second:
            raise Enough

    assumed = lead_through(chosen, look)
    if not found:
        raise ReplayError(f"no bar of the traded symbol in the minute before {chosen.time}")
    tell(chosen, found[-1], assumed)
    return OK


def tell(chosen: Namespace, seen: Seen, assumed: list[str]) -> None:
    sentence = sentence_of(seen)
    if chosen.json:
        as_json(
            {
                "ok": True,
                "second": clock_text(seen.reading.start),
                "decided_at": seen.at,
                "sentence": sentence,
                "gates": seen.reading.gates,
                "reading": seen.reading,
                "refusal": seen.refusal,
                "contracts": seen.contracts,
                "contracts_left_after_each_filter": seen.passed,
                "position": seen.position,
                "said": seen.done,
                "modelled": assumed,
            }
        )
        return
    for words in assumed:
        console.print(Text(f"{mark_of(words)}  {words}", style="yellow"))
    console.print(gates_table(seen.reading))
    console.print(f"desk and data: {seen.refusal or 'nothing against an entry'}")
    console.print(f"contracts: {seen.contracts}")
    for name, value in (seen.position or {}).items():
        console.print(Text(f"  {name}: {value}", style="dim"))
    console.print(Text(sentence, style="bold"))


def gates_table(reading: Reading) -> Table:
    table = Table(title=f"second {clock_text(reading.start)} ET, close {reading.close:.2f}", title_justify="left", box=None)
    for name in ("", "condition", "value", "threshold", "margin", "reason"):
        table.add_column(name, justify="right" if name in ("value", "threshold", "margin") else "left", no_wrap=True)
    for gate in reading.gates:
        mark = Text("–", style="dim") if gate.off else Text("✓", style="green") if gate.ok else Text("✗", style="red")
        table.add_row(
            mark, f"{gate.number} {gate.name}", *map(number, (gate.value, gate.threshold, gate.margin)), gate.reason
        )
    return table


def number(value: float | None) -> str:
    return "" if value is None else f"{value:,.5g}" if abs(value) < 1000 else f"{value:,.0f}"


def lacking(gate: Gate) -> str:
    """`volume surge (1,200, needs more than 3,400)`, or why it could not be said."""
    if gate.reason:
        return f"{gate.name}: {gate.reason}"
    return f"{gate.name} ({number(gate.value)} against {number(gate.threshold)})"


def sentence_of(seen: Seen) -> str:
    """Why there was no BUY at this second, or that there was a signal; for a position, how far its exits are."""
    when, reading = clock_text(seen.reading.start), seen.reading
    failing = [lacking(gate) for gate in reading.gates if not gate.ok]
    for text in seen.done:
        if text.startswith(("🔥", "🚪", "🚀", "no entry", "signal not taken")):
            return f"{when}: {text}"
    if seen.position is not None:
        held = seen.position
        return (
            f"{when}: holding {held['contract']}, mark {dollars(round((held['mark'] or 0) * 1000))}: giveback"
            f" {held['giveback_percent']} % of {held['hard_giveback_percent']:g} %, no exit holds"
        )
    if failing:
        return f"{when}: no BUY, for {' and '.join(failing)}"
    if not reading.signal:
        return f"{when}: no BUY, for the seconds are known for only {reading.coverage_s} s"
    return f"{when}: all conditions held; {seen.refusal or 'the signal cooldown had not passed'}"


# --- near misses -------------------------------------------------------------------------------------------------------


class Miss(Struct, frozen=True):
    """A second with one gate missing, or a signal that bought nothing."""

    et: str
    start: int
    missing: str
    value: float | None
    threshold: float | None
    why: str


def near_misses(chosen: Namespace) -> int:
    """The seconds of the day with one gate missing, and the signals that the desk or the contracts refused."""
    found: list[Miss] = []
    last = 0

    def look(desk: Desk, events: list[AnyEvent], actions: list[AnyAction]) -> None:
        nonlocal last
        for action in actions:
            text = getattr(action, "text", "")
            if text.startswith(("no entry", "signal not taken")):
                newest = desk.market.newest_start()
                missing = "contract" if "no contract" in text else "desk or data"
                found.append(Miss(clock_text(newest), newest, missing, None, None, text))
        newest = desk.market.newest_start()
        if newest > last and isinstance(events[-1], BarClosed) and (reading := desk.market.reading()) is not None:
            last = newest
            failing = [gate for gate in reading.gates if not gate.ok]
            if len(failing) == 1 and reading.coverage_s >= desk.config.warmup_seconds:
                gate = failing[0]
                found.append(Miss(clock_text(newest), newest, gate.name, gate.value, gate.threshold, lacking(gate)))

    with bar("looking at every second", None):
        assumed = lead_through(chosen, look)
    counts: dict[str, int] = {}
    for miss in found:
        counts[miss.missing] = counts.get(miss.missing, 0) + 1
    if chosen.json:
        as_json({"ok": True, "counts": counts, "near_misses": found, "modelled": assumed})
        return OK
    for miss in found:
        console.print(Text(f"{miss.et}  {miss.why}"))
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        console.print(Text(f"{count:>6}  only {name} was missing", style="bold"))
    for words in assumed:
        console.print(Text(f"{mark_of(words)}  {words}", style="yellow"))
    return OK
