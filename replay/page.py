"""One HTML page that needs nothing else: its words and tables, its figures' data, the library that draws them, and the page's colours.

Library and data stand gzipped in the page, so that it is small enough for a mail and holds no address.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from replay.show import mark_of

if TYPE_CHECKING:
    from replay.charts import Figure
    from replay.head import Head

STATIC = Path(__file__).parent / "static"
PAGE_CSS = Path(__file__).parents[1] / "dashboard" / "static" / "page.css"
LONG = 34  # letters of a cell that is broken into lines
FOOT = "Times are New York's. A pointer reads the figures; dragging zooms, a double click goes back."
BROAD = 8  # columns of a table that takes a row of its own
STACKED = 6  # columns of a table that is stacked on a phone, each row a block


class Cell(NamedTuple):
    """A cell's text, what stands behind it for a pointer, and its manner: gain, loss or none."""

    text: str
    behind: str = ""
    manner: str = ""


class Page:
    """Collects the parts of a page and writes it."""

    def __init__(self, title: str, out: Path) -> None:
        self.title, self.out = title, out
        self.top: list[str] = []
        self.parts: list[str] = []
        self.figures: list[Figure] = []
        self.told: Head | None = None

    # --- words ---

    def head(self, lines: Sequence[str], told: Head) -> None:
        """The head of the answer; what was modelled or assumed is not taken for what was recorded."""
        self.told = told
        for line in lines:
            self.say(line)
        for text in told.words:
            mark = mark_of(text)
            self.say(f"{mark}: {text}", "gain" if mark == "RECORDED" else "fair")

    def say(self, text: str, manner: str = "quiet") -> None:
        self.top.append(f'<p class="{manner}">{escape(text)}</p>')

    def facts(self, values: dict[str, Cell]) -> None:
        inner = "".join(
            f'<div><dt>{escape(name)}</dt><dd class="{cell.manner}" title="{escape(cell.behind)}">{escape(cell.text)}</dd></div>'
            for name, cell in values.items()
        )
        self.parts.append(f'<section class="card"><dl class="facts">{inner}</dl></section>')

    # --- tables and figures ---

    def tables(self, *tables: str) -> None:
        """Tables beside each other, as many as the width holds."""
        self.parts.append(f'<div class="beside">{"".join(table for table in tables if table)}</div>')

    def figure(self, figure: Figure) -> None:
        """A figure as wide as the page."""
        self.parts.append(self.drawn(figure))

    def beside(self, figures: Sequence[Figure]) -> None:
        """Figures beside each other, as many as the width holds."""
        if figures:
            self.parts.append(f'<div class="figures">{"".join(map(self.drawn, figures))}</div>')

    def drawn(self, figure: Figure) -> str:
        self.figures.append(figure)
        told, name = escape(figure.title), escape(figure.name)
        room = f"min-height:{figure.narrow_height}px"
        plot = f'<div class="plot" id="{name}" role="img" aria-label="{told}" style="{room}"></div>'
        return f'<figure class="card"><h2>{told}</h2>{plot}</figure>'

    def write(self) -> None:
        view = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        style = colours(PAGE_CSS.read_text()) + (STATIC / "report.css").read_text()
        head = f"{view}<title>{escape(self.title)}</title><style>{style}</style>"
        body = f"<header><h1>{escape(self.title)}</h1>{''.join(self.top)}</header><main>{''.join(self.parts)}</main>"
        if self.figures:
            body += f"<footer>{FOOT}</footer>"
            body += packed("library", (STATIC / "plotly-basic.min.js").read_bytes())
            body += packed("figures", msgspec.json.encode(self.figures))
            body += f"<script>{(STATIC / 'report.js').read_text()}</script>"
        self.out.write_text(
            f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>', encoding="utf-8"
        )


def packed(name: str, data: bytes) -> str:
    text = base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
    return f'<script type="text/plain" id="{name}">{text}</script>'


def colours(css: str) -> str:
    """The worker's page's own colours, light and dark, as the system asks for."""
    light, dark = (re.search(rf"(?m)^{re.escape(name)} {{([^}}]*)}}", css) for name in (":root", ':root[data-theme="dark"]'))
    if light is None or dark is None:
        raise ValueError("page.css has no colours of its own for light and dark")
    return f":root {{{light[1]}}}\n@media (prefers-color-scheme: dark) {{ :root {{{dark[1]}}} }}\n"


def table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str | Cell]], left: Sequence[int] = (), none: str = "none"
) -> str:
    """A table of texts; the first column and those of `left` stand to the left. Without rows it says `none`."""
    broad = len(head) >= BROAD
    inner = f'<p class="quiet">{escape(none)}</p>'
    if rows:
        names = "".join(f"<th{' class=left' * (place in left)}>{escape(name)}</th>" for place, name in enumerate(head))
        body = "".join(f"<tr>{''.join(td(cell, head[k], k in left) for k, cell in enumerate(row))}</tr>" for row in rows)
        stacked = " class=stacked" if len(head) >= STACKED else ""
        inner = f"<table{stacked}><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"
    classes = "card broad" if broad else "card"
    return f'<section class="{classes}" tabindex="0"><h2>{escape(title)}</h2>{inner}</section>'


def td(cell: str | Cell, name: str, left: bool) -> str:
    cell = cell if isinstance(cell, Cell) else Cell(cell)
    classes = [cell.manner, "left" * left, "long" * (len(cell.text) > LONG)]
    parts = {"class": " ".join(filter(None, classes)), "title": cell.behind, "data-name": name}
    attributes = "".join(f' {key}="{escape(text)}"' for key, text in parts.items() if text)
    return f"<td{attributes}>{escape(cell.text)}</td>"
