"""Why there was a BUY, a SELL or neither at a second: each gate with its margin, the desk's own refusal, and the sentence of it.

A second is a bar's, and the clock's: what was decided on the bar of that second or within it counts. An alert's or a trade's id
leads to the second at which it was decided. The same for a recorded day and for files of bars: the desk is led through the day,
and looked at on its way.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import time
from pathlib import Path
from typing import Any

from msgspec import Struct
from rich.table import Table
from rich.text import Text

import alerts
import risk_manager
from desk.desk import Desk
from events import (
    AlertChanged,
    AnyAction,
    AnyEvent,
    AnyWrite,
    BarClosed,
    Commit,
    Noted,
    PositionClosed,
    PositionOpened,
    PositionVoided,
)
from replay import head, of_bars, of_tape, paths, redo
from replay.head import Head
from replay.show import OK, ReplayError, as_json, bar, console
from signals import Gate, Reading
from strategies.vwap.page import look_at
from utils import clock_text, contract_name, dollars, signed_dollars

Watcher = Callable[[Desk, list[AnyEvent], list[AnyAction]], None]


class Enough(Exception):
    """What was looked for has been seen."""


class Happened(Struct, frozen=True):
    """What the desk did: BUY or SELL of a trade, a BUY voided, or another alert, with its reason."""

    at: float
    what: str
    trade: str | None
    contract: str | None
    reason: str
    alert: str | None = None

    @property
    def sentence(self) -> str:
        name = "" if self.contract is None else f" {contract_name(self.contract)} ({self.contract})"
        return f"{clock_text(self.at)}: {self.what}{name}: {self.reason}"


class SecondSeen(Struct, frozen=True):
    """The desk just after it had decided on the bar of a second."""

    at: float
    reading: Reading
    refusal: str | None
    contracts: str
    passed: dict[str, int]
    position: dict[str, Any] | None
    done: list[str]


TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
ID = re.compile(r"#?((\d{4})(\d{2})(\d{2})-[A-Za-z0-9-]{1,60})")


def moment(text: str) -> time:
    """HH:MM or HH:MM:SS."""
    if not TIME.fullmatch(text):
        raise ReplayError(
            f"{text} is neither a time (HH:MM or HH:MM:SS, New York) nor an alert's or a trade's id (20261120-1-BUY)"
        )
    hours, minutes, seconds = (*map(int, text.split(":")), 0)[:3]
    try:
        return time(hours, minutes, seconds)
    except ValueError as fault:
        raise ReplayError(f"{text} is no time: {fault}") from None


def id_of(chosen: Namespace) -> str | None:
    """The id that is asked for, None where it is a time; an id names its day where no other is given."""
    match = ID.fullmatch(chosen.time)
    if match is not None and not chosen.what:
        chosen.what = ["-".join(match.group(2, 3, 4))]
    if not chosen.what:
        raise ReplayError("a time needs its DATE or its FILE")
    return None if match is None else match[1]


def lead_through(chosen: Namespace, watcher: Watcher) -> Head:
    """Lead the desk through the day, `watcher` looking on after each turn; the head of the answer."""
    day = of_tape.day_of(chosen)
    if day is not None:
        of_tape.only(chosen)
        files = of_tape.files_of(chosen, day)
        with suppress(Enough):
            lead_through_tapes(files, watcher)
        return of_tape.head_of(chosen, day, files)
    known = of_bars.given(chosen)
    with suppress(Enough):
        for one, market in zip(known.days, known.markets, strict=True):
            paths.live_through(known.config, known.calendar, one, known.delay_s, quotes=market, eager=True, watch=watcher)
    return of_bars.head_of(chosen, known)


def lead_through_tapes(files: list[Path], watcher: Watcher) -> None:
    for path in files:
        desk = redo.desk_of(redo.head_of(path))
        for done in redo.redo(path, desk):
            watcher(desk, done.events, done.actions)


# --- one second --------------------------------------------------------------------------------------------------------


def seen_of(desk: Desk, at: float, actions: list[AnyAction]) -> SecondSeen | None:
    iwm, memory = look_at(desk)
    reading = iwm.reading()
    if reading is None:
        return None
    chain = memory.chain
    selection = None if chain is None else chain.selection
    contracts = "no chain" if selection is None else selection.why() or ", ".join(row.contract for row in selection.tracked)
    done = [getattr(action, "text", "") for action in actions]
    return SecondSeen(
        at,
        reading,
        desk.statuses(at)[0].refusal,
        contracts,
        {} if selection is None else selection.passed,
        position_of(desk, at),
        [text for text in done if text],
    )


def position_of(desk: Desk, at: float) -> dict[str, Any] | None:
    """The open position against each of its exits."""
    held, session = next(iter(desk.state.open()), None), desk.state.session
    if held is None or session is None:
        return None
    position, config = held.position, desk.config
    mark = position.last_mark
    iwm, _ = look_at(desk)
    below = iwm.below_since()
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
        "below_vwap_s": None if below is None else iwm.newest_start() - max(below, int(position.opened_at)),
        "persistence_s": risk_manager.PERSISTENCE_S,
        "time_stop": clock_text(risk_manager.time_stop(config, session)),
    }


def done_by(at: float, actions: list[AnyAction]) -> Iterator[Happened]:
    """What these actions did to a position, and the alerts that were queued."""
    for write in (write for action in actions if isinstance(action, Commit) for write in action.writes):
        match write:
            case PositionOpened(position):
                price = dollars(position.entry)
                reason = f"all conditions held and this contract passed every filter, assumed bought at {price}"
                yield Happened(at, "BUY", position.id, position.contract, reason, alerts.buy_id(position.id))
            case PositionClosed(trade):
                known = trade.pnl is not None and trade.exit is not None
                end = f"{dollars(trade.exit or 0)}, {signed_dollars(trade.pnl or 0)}" if known else "unresolved"
                reason = f"{trade.detail or trade.reason}; {end}"
                yield Happened(at, "SELL", trade.id, trade.contract, reason, alerts.sell_id(trade.id))
            case PositionVoided(position, _, reason):
                yield Happened(at, "BUY voided", position.id, position.contract, reason)
            case AlertChanged(line) if line.alert.kind not in ("BUY", "SELL"):
                first = line.alert.text.split("\n")[0]
                yield Happened(at, line.alert.title, None, None, first, line.alert.id)


class Search:
    """Looks on while the desk is led through a day, until what was asked for has passed."""

    def __init__(self, wanted: time | None, name: str | None) -> None:
        self.wanted, self.name = wanted, name
        self.seen: SecondSeen | None = None
        self.signal: SecondSeen | None = None
        self.happened: list[Happened] = []

    def look(self, desk: Desk, events: list[AnyEvent], actions: list[AnyAction]) -> None:
        if desk.state.session is None:
            return
        at = events[-1].at
        done = list(done_by(at, actions))
        if any(isinstance(write, Noted) and write.kind == "signal" for write in writes_of(actions)):
            self.signal = seen_of(desk, at, actions)
        if self.name is not None:
            self._by_id(desk, at, done, actions)
        else:
            self._by_time(desk, events, done, actions)

    def _by_id(self, desk: Desk, at: float, done: list[Happened], actions: list[AnyAction]) -> None:
        found = [one for one in done if self.name in (one.alert, one.trade)]
        if found:
            self.happened += found
            self.seen = self.signal if found[0].what == "BUY" else seen_of(desk, at, actions)
            if self.name == found[0].alert:
                raise Enough

    def _by_time(self, desk: Desk, events: list[AnyEvent], done: list[Happened], actions: list[AnyAction]) -> None:
        session, at, newest = desk.state.session, events[-1].at, look_at(desk)[0].newest_start()
        assert session is not None
        assert self.wanted is not None
        second = session.at(self.wanted)
        mine = [one for one in done if one.what in ("BUY", "SELL", "BUY voided")]
        if newest == second or second <= at < second + 1:
            self.happened += mine
        if newest > second and at >= second + 1:
            raise Enough
        if not any(isinstance(event, BarClosed) for event in events):
            return
        if newest and newest <= second and (self.seen is None or newest > self.seen.reading.start):
            self.seen = seen_of(desk, at, actions) if newest >= second - 60 else None


def writes_of(actions: list[AnyAction]) -> Iterator[AnyWrite]:
    for action in actions:
        if isinstance(action, Commit):
            yield from action.writes


def why(chosen: Namespace) -> int:
    """Each gate at a second, or where an alert was decided, and the sentence."""
    name = id_of(chosen)
    search = Search(None if name is not None else moment(chosen.time), name)
    top = lead_through(chosen, search.look)
    bought = next((one for one in search.happened if one.what == "BUY"), None)
    seen = search.signal if bought is not None and search.signal is not None and name is None else search.seen
    if name is not None and not search.happened:
        raise ReplayError(f"{name} is no alert and no trade of this day")
    if seen is None:
        raise ReplayError(f"no bar of the traded symbol in the minute before {chosen.time}")
    tell(chosen, seen, search.happened, top)
    return OK


def tell(chosen: Namespace, seen: SecondSeen, happened: list[Happened], top: Head) -> None:
    sentence = "\n".join(one.sentence for one in happened) or sentence_of(seen)
    if chosen.json:
        as_json(
            {
                "ok": True,
                "head": top,
                "second": clock_text(seen.reading.start),
                "decided_at": seen.at,
                "sentence": sentence,
                "happened": happened,
                "gates": seen.reading.gates,
                "reading": seen.reading,
                "refusal": seen.refusal,
                "contracts": seen.contracts,
                "contracts_left_after_each_filter": seen.passed,
                "position": seen.position,
                "said": seen.done,
                "modelled": top.words,
            }
        )
        return
    head.tell(top)
    console.print(gates_table(seen.reading))
    console.print(f"desk and data: {seen.refusal or 'nothing against an entry'}")
    console.print(f"contracts: {seen.contracts}")
    for name, value in (seen.position or {}).items():
        console.print(
            Text(f"  {name.replace('_percent', ', %').replace('_s', ', s').replace('_', ' ')}: {value}", style="dim")
        )
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


def sentence_of(seen: SecondSeen) -> str:
    """Why there was no BUY at this second, or that there was a signal; for a position, how far its exits are."""
    when, reading = clock_text(seen.reading.start), seen.reading
    failing = [lacking(gate) for gate in reading.gates if not gate.ok]
    for text in seen.done:
        if text.startswith(("🔥", "🚪", "🚀", "no entry", "signal not taken")):
            return f"{when}: {text}"
    if seen.position is not None:
        held = seen.position
        return (
            f"{when}: holding {contract_name(held['contract'])}, mark {dollars(round((held['mark'] or 0) * 1000))}: giveback"
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
                newest = look_at(desk)[0].newest_start()
                missing = "contract" if "no contract" in text else "desk or data"
                found.append(Miss(clock_text(newest), newest, missing, None, None, text))
        newest = look_at(desk)[0].newest_start()
        if newest > last and isinstance(events[-1], BarClosed) and (reading := look_at(desk)[0].reading()) is not None:
            last = newest
            failing = [gate for gate in reading.gates if not gate.ok]
            if len(failing) == 1 and reading.coverage_s >= desk.config.warmup_seconds:
                gate = failing[0]
                found.append(Miss(clock_text(newest), newest, gate.name, gate.value, gate.threshold, lacking(gate)))

    with bar("looking at every second", None):
        top = lead_through(chosen, look)
    counts: dict[str, int] = {}
    for miss in found:
        counts[miss.missing] = counts.get(miss.missing, 0) + 1
    if chosen.json:
        as_json({"ok": True, "head": top, "counts": counts, "near_misses": found, "modelled": top.words})
        return OK
    head.tell(top)
    for miss in found:
        console.print(Text(f"{miss.et}  {miss.why}"))
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        console.print(Text(f"{count:>6}  only {name} was missing", style="bold"))
    return OK
