"""What an entry brought, from the fills of its legs. Pure. Mills a share."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from msgspec import Struct

from events.market import Mills
from events.orders import Fill
from strategies.condor.legs import Four


class Credit(Struct, frozen=True):
    """C a share, and for how many units. `provisional`: the legs' fills are not all there, and C is the limit."""

    amount: Fraction
    units: int
    provisional: bool


def latest(fills: Iterable[Fill]) -> list[Fill]:
    """Of each execution its highest revision: a correction replaces."""
    newest: dict[str, Fill] = {}
    for fill in fills:
        if fill.root not in newest or fill.revision >= newest[fill.root].revision:
            newest[fill.root] = fill
    return list(newest.values())


def credit_of(four: Four, entries: Iterable[Fill], units: int, limit: Mills) -> Credit:
    """C as filled: what the legs' fills sold for, less what they bought for, a unit.

    `entries` are the fills of entry orders alone, `units` what the broker says was filled, `limit` the credit that was asked for.
    While the legs do not add up to those units, C is the limit, provisional, and never 0. Units are then the least filled leg's, or
    the broker's own count where that is more.
    """
    sold, counts = Fraction(0), dict.fromkeys(four.contracts, 0)
    for fill in latest(entries):
        if fill.contract not in counts:
            continue
        counts[fill.contract] += fill.quantity
        sold += fill.price * fill.quantity * (1 if fill.side == "sell" else -1)
    least = min(counts.values())
    if least == max(counts.values()) == max(units, least) and least:
        return Credit(sold / least, least, provisional=False)
    return Credit(Fraction(limit), max(units, least), provisional=True)
