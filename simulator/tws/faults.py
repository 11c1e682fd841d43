"""Every fault by its name: what it does in one line, what may be set, and which of them wait for the next occasion.

Rules: an armed fault is used up after `times` occasions (0: never). `ref` (a regular expression) and `legs` (their number, 1
for a single contract) narrow it to some orders. A fault that acts at once has no `times`. Times in seconds are real ones.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Value = str | int | float
Settings = Mapping[str, Value]

WORDS = {
    100: "Max rate of messages per second has been exceeded:max=50 rec=51 (1)",
    101: "Max number of tickers has been reached",
    103: "Duplicate order id",
    104: "Cannot modify a filled order.",
    105: "Order being modified does not match original order",
    110: "The price does not conform to the minimum price variation for this contract.",
    161: "Cancel attempted when order is not in a cancellable state.  Order permId =",
    200: "No security definition has been found for the request",
    201: "Order rejected - reason:Margin requirement exceeds the equity available for this order",
    202: "Order Canceled - reason:",
    320: "Error reading request.",
    321: "Error validating request.-'bI' : cause - The API interface is currently in Read-Only mode.",
    326: "Unable to connect as the client id is already in use. Retry with a unique client id.",
    354: "Requested market data is not subscribed.Delayed market data is available.",
    387: "Unsupported order type for this exchange and security type.",
    399: "Order Message:\nWarning: your order will not be placed at the exchange until 2026-11-20 09:30:00 US/Eastern",
    420: "Invalid Real-time Query:Historical data pacing violation",
    1100: "Connectivity between IBKR and Trader Workstation has been lost.",
    1101: "Connectivity between IBKR and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IBKR and Trader Workstation has been restored - data maintained.",
    2103: "Market data farm connection is broken:usopt",
    2104: "Market data farm connection is OK:usopt",
    2105: "HMDS data farm connection is broken:ushmds",
    2106: "HMDS data farm connection is OK:ushmds",
    2107: "HMDS data farm connection is inactive but should be available upon demand.ushmds",
    2108: "Market data farm connection is inactive but should be available upon demand.usopt",
    2109: "Order Event Warning: Attribute 'Outside Regular Trading Hours' is ignored based on the order type and destination.",
    2110: "Connectivity between Trader Workstation and server is broken. It will be restored automatically.",
    2158: "Sec-def data farm connection is OK:secdefnj",
    2161: "Order will be cancelled if its margin is not covered",
    10058: "Order combination legs prices are not supported for this combination type",
    10089: "Requested market data requires additional subscription for API. See link in 'Market Data Connections' dialog.",
    10090: "Part of requested market data is not subscribed.",
    10091: "Part of requested market data requires additional subscription for API.",
    10147: "OrderId {id} that needs to be cancelled is not found.",
    10148: "OrderId {id} that needs to be cancelled can not be cancelled, state: {state}.",
    10167: "Requested market data is not subscribed. Displaying delayed market data.",
    10168: "Requested market data is not subscribed. Delayed market data is not enabled.",
    10186: "Requested market data is not subscribed. Delayed market data is not enabled.",
    10197: "No market data during competing live session",
    10349: "Order TIF was set to DAY based on order preset.",
}  # fmt: skip


def words(code: int, given: Value = "", **parts: object) -> str:
    """The text of a message code, or what was given in its place."""
    return str(given) or WORDS.get(code, f"Message {code}").format(**parts)


class Fault(NamedTuple):
    """One kind of fault; `defaults` are its settings. `at_once`: it acts now; else it waits for its occasion."""

    name: str
    line: str
    defaults: Settings
    at_once: bool = False


def _armed(name: str, line: str, **defaults: Value) -> Fault:
    return Fault(name, line, defaults)


def _now(name: str, line: str, **defaults: Value) -> Fault:
    return Fault(name, line, defaults, at_once=True)


CATALOGUE = {
    fault.name: fault
    for fault in (
        # orders
        _armed("reject", "an order is refused: error 201 with its text", code=201, text=""),
        _armed("read-only", "orders are refused with 321, as by a Gateway set to read-only", code=321),
        _armed("silent-order", "an order is accepted and works, and the client is told nothing"),
        _armed("lost-order", "an order is read and forgotten: nothing at the venue, nothing told"),
        _armed("duplicate-id", "an order is refused with 103, whatever its id"),
        _armed("off-tick", "110 on an order: `as` reject refuses it, `as` warn leaves it live", **{"as": "reject"}),
        _armed("warning", "a warning on an order that stays live: 399, 2109, 2161, 10349, 321 ...", code=399, text=""),
        _armed("modify-refused", "a change in place is refused with 105 (or 104, 110); the order stays", code=105),
        _armed("late-echo", "after a change in place the old price is told once more, as a late openOrder", after_s=0.05),
        _armed("pacing", "a request is answered with 100 (or 420) and dropped", code=100, request="any"),
        # fills
        _armed("no-fill", "an order rests whatever the market does, until `fill`", times=0),
        _armed("partial", "an order fills so many units, and the rest waits for `fill`", units=1),
        _armed("late-executions", "a fill's status comes first, its executions so much later", after_s=0.5),
        _armed("held-legs", "the executions of the legs are held back (to reports too) until `release`"),
        _armed("zero-legs", "the legs are reported at price 0 and corrected at `release`"),
        _armed("unequal-legs", "so many legs of a package do not fill", missing=1),
        _armed("quiet-fill", "a fill is told to nobody; who asks is told"),
        _armed("corrected", "every execution is sent again, revised by so many dollars", by=0.01),
        _armed("odd-units", "a quantity in executions and positions is written oddly: 1.50, -1, x", units="1.50"),
        _armed("late-positions", "position updates after a fill come so much later", after_s=0.5),
        # cancels
        _armed("fill-in-cancel", "a cancel meets a fill; `first`: 10148 or fill comes first; units 0: all", first="10148", units=0),
        _armed("cancel-ignored", "a cancel is not answered and the order works on"),
        _armed("cancel-slow", "a cancel is confirmed so much later", after_s=0.5),
        _armed("cancel-answer", "161, 10147, 10148: said, the order stays. 202: cancelled, without a status", code=10147),
        # what-if
        _armed("what-if-unset", "a what-if is answered with unset margins: ib_async never returns"),
        _armed("what-if-empty", "a what-if is answered with empty margins"),
        _armed("what-if-silent", "a what-if is not answered"),
        _armed("what-if-margin", "a what-if says this margin in dollars", margin=5000.0),
        _armed("what-if-rejected", "a what-if is refused with 201", code=201, text=""),
        # what the account says
        _armed("empty-positions", "the list of positions is empty, once"),
        _armed("swallow", "a request is not answered: positions, open-orders, executions, details ...", request="positions"),
        _armed("late-answer", "a request is answered so much later", request="positions", after_s=0.3),
        _armed("dates-disagree", "an option's real expiry is a day before the one in its name", times=0),
        _armed("daily-bar-late", "the day's bar is not there yet: 162"),
        # market data
        _armed("delayed", "lines give delayed data: 10167, type 3, ticks 66-68 and 83", times=0),
        _armed("frozen", "lines say type 2, then nothing moves", times=0),
        _armed("not-subscribed", "a line is refused: 354, 10089, 10090, 10091, 10168, 10186", code=354, times=0),
        _armed("silent-line", "a line is taken and never ticks", times=0),
        _armed("no-greeks", "options tick without a model's greeks", times=0),
        _armed("no-bid", "an option has bid -1 of size 0; `contract` by id or as 655P", contract="", times=0),
        _armed("no-quote", "an option has neither side", contract="", times=0),
        _armed("bag-line-refused", "market data of a package is refused with 321 and hangs", times=0),
        _now("quote", "an option is quoted so from now on, in dollars", contract="", bid=0.05, ask=1.00, size=10),
        _now("free-quote", "an option is given back to the market", contract=""),
        _now("competing-session", "every line ends with 10197"),
        # the link
        _armed("client-id-taken", "a connection is refused with 326"),
        _now("drop", "every connection is cut", client=-1),
        _now("down", "every connection is cut and none is accepted until `up`"),
        _now("up", "connections are accepted again"),
        _now("link-lost", "1100: nothing ticks, orders are not answered until the link is back"),
        _now("link-back", "1102: all goes on"),
        _now("link-back-data-lost", "1101: all goes on, but every line is gone"),
        _now("farm-lost", "2103 (or 2105, 2110): nothing ticks until the farm is back", code=2103),
        _now("farm-back", "2104 (or 2106): lines tick again", code=2104),
        _now("notice", "any message: to an order by its ref, else to everybody", code=399, text="", ref=""),
        # what happens at the venue by itself
        _now("fill", "fill so many units of live orders (0: all), at a net price or at their limits", ref="", units=0, price=""),
        _now("fill-away", "cut every connection and fill live orders while nobody is there", ref=""),
        _now("release", "send what is held back: legs, corrections", ref=""),
        _now("echo", "tell an order's openOrder again with another limit", ref="", limit=0.0),
        _now("cancel-by-venue", "live orders are cancelled by the venue", ref=""),
        _now("foreign-position", "a position nobody here traded appears", contract="", units=24, cost=0.5),
        _now("foreign-order", "another client's package works at the venue", client=99, ref="foreign", limit=-0.5),
        _now("orphan", "an order with this client id and ref works that no session sent", client=21, ref="orphan", limit=-0.5),
        _now("closed-elsewhere", "positions are closed by another hand: executions without a ref", contract=""),
        _now("settle", "expired positions leave the account"),
    )
}  # fmt: skip


class UnknownFault(ValueError):
    """No fault of this name, or no such setting of it."""


@dataclass(slots=True)
class Armed:
    """A fault that waits for its occasion."""

    fault: Fault
    settings: Settings
    left: int
    ref: re.Pattern[str]
    legs: int
    taken: int = 0


@dataclass(slots=True)
class Faults:
    """The faults that are armed, in the order in which they were."""

    armed: list[Armed] = field(default_factory=list)

    def arm(self, name: str, settings: Settings) -> Armed:
        """Arm a fault; UnknownFault for a name or a setting that there is not."""
        fault = known(name)
        checked = checked_settings(fault, settings)
        times = checked.pop("times", fault.defaults.get("times", 1))
        one = Armed(fault, checked, int(times), re.compile(str(checked.pop("ref", ""))), int(checked.pop("legs", 0)))
        self.armed.append(one)
        return one

    def clear(self, name: str = "") -> None:
        self.armed = [one for one in self.armed if name and one.fault.name != name]

    def find(self, name: str, *, ref: str = "", legs: int = 0) -> Settings | None:
        """The settings of a fault if it is armed for this occasion, which is left to be taken."""
        one = self._first(name, ref, legs)
        return one.settings if one else None

    def take(self, name: str, *, ref: str = "", legs: int = 0) -> Settings | None:
        """The settings of a fault if this is an occasion for it, and one occasion less; None if it is not armed."""
        one = self._first(name, ref, legs)
        return self._used(one) if one else None

    def take_for(self, name: str, request: str) -> Settings | None:
        """The same for a fault of requests, whose setting `request` must name this one, or be `any`."""
        for one in self.armed:
            if one.fault.name == name and one.settings["request"] in (request, "any"):
                return self._used(one)
        return None

    def of_contract(self, name: str, con_id: int, short: str) -> bool:
        """Whether a fault that stands for a contract, or with none named for all, is armed for this one."""
        return any(
            one.fault.name == name and str(one.settings["contract"]) in ("", str(con_id), short) for one in self.armed
        )

    def _first(self, name: str, ref: str, legs: int) -> Armed | None:
        for one in self.armed:
            if one.fault.name == name and one.ref.search(ref) and one.legs in (0, legs):
                return one
        return None

    def _used(self, one: Armed) -> Settings:
        one.taken += 1
        if one.left == 1:
            self.armed.remove(one)
        one.left -= one.left > 0
        return one.settings


def known(name: str) -> Fault:
    if name not in CATALOGUE:
        near = [other for other in CATALOGUE if name and (name in other or other in name)]
        raise UnknownFault(f"no fault is called {name!r}" + (f"; is it {' or '.join(near)}?" if near else ""))
    return CATALOGUE[name]


def checked_settings(fault: Fault, given: Settings) -> dict[str, Value]:
    """The fault's settings with what was given; numbers may be given as text."""
    common: dict[str, Value] = {} if fault.at_once else {"times": 1, "ref": "", "legs": 0}
    allowed: dict[str, Value] = {**common, **fault.defaults}
    settings: dict[str, Value] = {**fault.defaults}
    for name, value in given.items():
        if name not in allowed:
            raise UnknownFault(f"{fault.name} has no setting {name!r}; it has {', '.join(allowed) or 'none'}")
        default: Value = allowed[name]
        try:
            settings[name] = str(value) if isinstance(default, str) else type(default)(float(value))
        except ValueError:
            raise UnknownFault(f"{fault.name}: {name}={value!r} is no number") from None
    return settings


def parse(line: str) -> tuple[str, dict[str, Value]]:
    """`reject times=2 text="no margin"` as a name and settings; UnknownFault if it is not of this form."""
    try:
        name, *rest = shlex.split(line)
    except ValueError as error:
        raise UnknownFault(f"{line!r} cannot be read: {error}") from None
    pairs = [word.partition("=") for word in rest]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise UnknownFault(f"{wrong[0]!r} is not of the form name=value")
    return name, {key: value for key, _, value in pairs}


def catalogue_text() -> str:
    """All faults, a line each, as `--faults` prints them."""
    lines = []
    for title, at_once in (("wait for their occasion (times=1, ref=..., legs=...)", False), ("act at once", True)):
        lines.append(f"\nFaults that {title}:\n")
        for fault in CATALOGUE.values():
            if fault.at_once == at_once:
                said = " ".join(f"{name}={value}" for name, value in fault.defaults.items() if value != "")
                lines.append(f"  {fault.name:20} {fault.line}" + (f"  [{said}]" if said else ""))
    return "\n".join(lines).lstrip("\n")
