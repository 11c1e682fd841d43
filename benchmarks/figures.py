"""A measured figure beside what it must reach, and the table they are printed as.

Every benchmark of this folder has `measure() -> list[Figure]`; `python -m benchmarks` calls them and prints what they say.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from msgspec import Struct
from rich.table import Table
from rich.text import Text


class Figure(Struct, frozen=True):
    """`value` in `unit`; `at_most` or `at_least` is the target, neither: told for what it is worth. `note`: how it was had."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none. What could not be measured is not."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"≤ {shown(self.at_most)} {self.unit}".rstrip()
        return "" if self.at_least is None else f"≥ {shown(self.at_least)} {self.unit}".rstrip()


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that `percent` % of them do not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[max(ceil(len(ordered) * percent / 100), 1) - 1] if ordered else float("nan")


def shown(number: float) -> str:
    if number != number:
        return "none"
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}".rstrip("0").rstrip(".")


def table(figures: Iterable[Figure]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="dim")
    made.add_column("what")
    made.add_column("figure", justify="right")
    made.add_column("target", justify="right")
    made.add_column("met", justify="center")
    made.add_column("how", style="dim")
    for figure in figures:
        verdict = {True: Text("✓", "green"), False: Text("✗", "bold red"), None: Text("")}[figure.met]
        made.add_row(figure.name, f"{shown(figure.value)} {figure.unit}".rstrip(), figure.target, verdict, figure.note)
    return made
