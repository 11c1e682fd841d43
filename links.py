"""The link in an alert: a signed word that lets its owner act on one trade from the phone, for a quarter of an hour. Pure.

It stands behind the `#` of the address, which a browser keeps to itself: no server, proxy or log on the way ever sees it.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config import Config

LIFE_S = 900


def link(config: Config, trade_id: str, at: float) -> str | None:
    """Where the owner may act on this trade; None without PUBLIC_URL (which needs DASHBOARD_TOKEN)."""
    if config.public_url is None or config.dashboard_token is None:
        return None
    return f"{config.public_url}/act#{word(config.dashboard_token.get_secret_value(), trade_id, int(at) + LIFE_S)}"


def word(secret: str, trade_id: str, until: int) -> str:
    signature = hmac.digest(secret.encode(), f"link\0{trade_id}\0{until}".encode(), sha256)
    return f"{trade_id}.{until}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def trade_of(secret: str, given: str, now: float) -> str | None:
    """The trade that a link's word is about; None if it is not ours, or too old."""
    parts = re.fullmatch(r"([A-Za-z0-9-]{1,40})\.([0-9]{1,12})\.[A-Za-z0-9_-]{43}", given)
    if parts is None or not hmac.compare_digest(given.encode(), word(secret, parts[1], int(parts[2])).encode()):
        return None
    return parts[1] if now < int(parts[2]) else None
