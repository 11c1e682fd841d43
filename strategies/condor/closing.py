"""Which legs the next closing order has: the whole package, then a side, then a leg. Pure.

Only contracts of this trade, each action turned once; never more than the broker reports with our sign, never across zero. What is
reported with less than ours, or with the other sign, is left, and told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from events.market import Mills
from events.orders import Leg, Side
from strategies.condor.legs import ROLES, SHORT, Four, Role
from strategies.condor.settings import Settings

Rung = Literal["EXIT", "PUTS", "CALLS", "LEG"]
REJECTS = 2
SIDES: dict[str, tuple[Role, Role]] = {"PUTS": ("put_short", "put_long"), "CALLS": ("call_short", "call_long")}


class Held(Struct, frozen=True):
    """One leg by our fills and by the broker's last complete report, both signed: a short is negative."""

    role: Role
    contract: str
    ours: int
    reported: int

    @property
    def sign(self) -> int:
        return -1 if self.role in SHORT else 1

    @property
    def units(self) -> int:
        """What may be closed: the lesser of ours and theirs with our sign."""
        return max(0, min(self.sign * self.ours, self.sign * self.reported))

    @property
    def odd(self) -> str | None:
        """What is told of a leg that the broker reports otherwise than we filled it."""
        if self.sign * self.reported >= self.sign * self.ours:
            return None
        return f"{self.contract}: ours {self.ours:+d}, reported {self.reported:+d}"


class Tried(Struct, frozen=True):
    """How the exit went so far: definite rejects by rung (LEG by contract), and for how long it has been urgent without a fill."""

    rejects: Mapping[str, int] = {}
    urgent_s: float = 0.0


class Closing(Struct, frozen=True):
    """The next order's legs and units. `ring`: it is the third rung, or an uncovered short, and the phone is told to act."""

    rung: Rung
    legs: tuple[Leg, ...]
    units: int
    ring: bool = False
    uncovered: bool = False
    leave: tuple[str, ...] = ()


def held_by(four: Four, ours: Mapping[str, int], reported: Mapping[str, int]) -> dict[Role, Held]:
    """The four legs; a contract that is not reported is reported as none."""
    return {
        role: Held(role, contract, ours.get(contract, 0), reported.get(contract, 0))
        for role, contract in zip(ROLES, four.contracts, strict=True)
    }


def odd_legs(held: Mapping[Role, Held]) -> tuple[str, ...]:
    """Legs of which the broker reports less than ours, or the other sign; in words."""
    return tuple(text for one in held.values() if (text := one.odd))


def uncovered(held: Mapping[Role, Held]) -> Closing | None:
    """Shorts without their wings, to be bought back at once: undefined risk is the one thing that is not held."""
    for short, wing in SIDES.values():
        bare = held[short].units - held[wing].units
        if bare > 0:
            return Closing("LEG", (_turned(held[short]),), bare, ring=True, uncovered=True)
    return None


def spare(held: Mapping[Role, Held]) -> tuple[str, ...]:
    """Wings beyond their shorts: they are left, and told."""
    return tuple(held[wing].contract for short, wing in SIDES.values() if held[wing].units > held[short].units)


def plan(
    settings: Settings, held: Mapping[Role, Held], bids: Mapping[Role, Mills], tested: str, tried: Tried
) -> Closing | None:
    """The next order to close with, or None where nothing can be closed.

    `bids` are the wings' (0: none); `tested` is the side nearer the money, PUTS or CALLS. An uncovered short goes before all.
    """
    if bare := uncovered(held):
        return bare
    units = min(one.units for one in held.values())
    if units and not _bag_given_up(settings, bids, tried):
        return Closing(
            "EXIT", tuple(_turned(held[role]) for role in ("put_short", "put_long", "call_short", "call_long")), units
        )
    if units and settings.condor_close_fallback == "none":
        return None
    for name in (tested, "CALLS" if tested == "PUTS" else "PUTS"):
        if found := _side(settings, held, bids, name, tried):
            return found
    return None


def _bag_given_up(settings: Settings, bids: Mapping[Role, Mills], tried: Tried) -> bool:
    """After two rejects, or an alarm's time of urgent prices without a fill while a wing has no bid."""
    if settings.condor_close_fallback == "none":
        return False
    bare = any(not bids.get(wing) for _, wing in SIDES.values())
    return tried.rejects.get("EXIT", 0) >= REJECTS or (bare and tried.urgent_s >= settings.condor_exit_alarm_seconds)


def _side(
    settings: Settings, held: Mapping[Role, Held], bids: Mapping[Role, Mills], name: str, tried: Tried
) -> Closing | None:
    """A side as a package, its wing left out where nobody bids for it; after two rejects its short alone, then its wing."""
    short, wing = (held[role] for role in SIDES[name])
    sells = bool(bids.get(wing.role)) and wing.units > 0
    rung: Rung = "PUTS" if name == "PUTS" else "CALLS"
    apart = tried.rejects.get(name, 0) >= REJECTS
    if apart and settings.condor_close_fallback != "legs":
        return None
    if short.units and not apart:
        legs = (_turned(short), _turned(wing)) if sells else (_turned(short),)
        return Closing(
            rung, legs, min(short.units, wing.units) if sells else short.units, leave=() if sells else (wing.contract,)
        )
    if short.units:
        return Closing("LEG", (_turned(short),), short.units, ring=True)
    if apart and sells and short.ours == 0:
        return Closing("LEG", (_turned(wing),), wing.units, ring=True)
    return None


def _turned(one: Held) -> Leg:
    """The order's leg that closes a leg: a short is bought, a wing sold."""
    action: Side = "buy" if one.role in SHORT else "sell"
    return Leg(one.contract, action, opens=False)


def opening(four: Four) -> tuple[Leg, ...]:
    """The order's legs that open a condor."""
    actions: dict[Role, Side] = {role: "sell" if role in SHORT else "buy" for role in ROLES}
    return tuple(Leg(four.contracts[ROLES.index(role)], actions[role], opens=True) for role in ROLES)


def tested_side(four: Four, index: float) -> str:
    """The side whose short is nearer the index."""
    price = index * 1000
    return "PUTS" if price - four.strikes[1] <= four.strikes[2] - price else "CALLS"
