"""What the numbers mean that TWS sends with its messages, for orders and for the link. Its library's own reading of them is not used:
it takes warnings for ends, and ends for warnings.
"""

from __future__ import annotations

from typing import Final, Literal

REFUSED: Final = frozenset({200, 201, 203, 10058})
WARNINGS: Final = frozenset({165, 321, 329, 399, 404, 434, 492, 10167, 10349})
LINK_LOST, DATA_LOST, LINK_BACK = 1100, 1101, 1102
CLIENT_ID_TAKEN, NOT_VALID = 326, 321


def of_order(code: int, text: str) -> Literal["refused", "look", "warning"]:
    """What a message to an order means. `look`: nothing by itself, so its state and executions are read again."""
    if code in REFUSED or is_read_only(code, text):
        return "refused"
    if code in WARNINGS or 2100 <= code < 2200:
        return "warning"
    return "look"


def is_read_only(code: int, text: str) -> bool:
    """Whether TWS takes no order from any program, as its settings have it."""
    return code == NOT_VALID and "read-only" in text.lower()
