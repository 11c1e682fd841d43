"""Names as people write them."""

from __future__ import annotations

import re
from datetime import date

OCC = re.compile(r"(?:O:)?(?P<root>[A-Z]+)\d*?(?P<year>\d{2})(?P<month>\d{2})(?P<day>\d{2})(?P<right>[CP])(?P<mills>\d{8})")


def contract_name(ticker: str) -> str:
    """`IWM 226C 20 Nov` of `O:IWM261120C00226000`; what is no such ticker stays as it is."""
    parts = OCC.fullmatch(ticker)
    if parts is None:
        return ticker
    try:
        day = date(2000 + int(parts["year"]), int(parts["month"]), int(parts["day"]))
    except ValueError:
        return ticker
    strike = f"{int(parts['mills']) / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{parts['root']} {strike}{parts['right']} {day.day} {day:%b}"
