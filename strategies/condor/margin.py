"""What the broker said of the margin of this very order, and what follows. Pure.

On a live account anything but a good number refuses; elsewhere the computed margin takes the place of one that was not given.
"""

from __future__ import annotations

from math import isfinite
from typing import Literal

from msgspec import Struct

from events.market import Mills
from strategies.condor.legs import margin
from strategies.condor.settings import Settings, width
from utils import to_mills

Source = Literal["broker", "computed"]
NOT_VERIFIED = "margin not verified by the broker"


class Preview(Struct, frozen=True):
    """A broker's answer to "what if". `change` is what its initial margin would grow by, in dollars; None: empty, unset, or silent.

    `rejected` is its refusal of the order, in words.
    """

    change: float | None = None
    rejected: str = ""


class Checked(Struct, frozen=True):
    """The margin that counts, in mills, who said it, and what refuses. `note` goes with the OPEN."""

    amount: Mills
    source: Source
    refusal: str | None = None
    note: str = ""


def checked(settings: Settings, preview: Preview | None) -> Checked:
    """What a preview means. `preview` None: this broker cannot say, as the paper one, and the computed margin counts."""
    computed, most = margin(width(settings), settings.condor_units), to_mills(settings.condor_max_margin)
    refusal = f"margin {computed / 1000:.2f} > {most / 1000:.2f}" if computed > most else None
    if preview is None:
        return Checked(computed, "computed", refusal)
    if preview.rejected:
        return Checked(computed, "computed", f"refused by the broker: {preview.rejected}")
    change = preview.change
    if change is None or not isfinite(change) or change <= 0:
        if settings.condor_broker == "ibkr-live":
            return Checked(computed, "computed", "the broker gave no margin")
        return Checked(computed, "computed", refusal, NOT_VERIFIED)
    amount = to_mills(change)
    if amount > most:
        refusal = f"the broker asks for a margin of {amount / 1000:.2f} > {most / 1000:.2f}"
    return Checked(amount, "broker", refusal)
