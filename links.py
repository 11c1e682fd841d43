"""The link of an alert: a signed word that lets its owner act on one trade from the phone. Pure.

It is good until the next session opens, and so as long as there is anything to say of its trade; it is made when a message leaves.
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
    from utils import Session

LONGEST_CLOSURE_S = 4 * 86_400


def link(config: Config, trade_id: str, until: int) -> str | None:
    """Where the owner may act on this trade before `until`; None without PUBLIC_URL (which needs DASHBOARD_TOKEN)."""
    if config.public_url is None or config.dashboard_token is None:
        return None
    return f"{config.public_url}/act#{word(config.dashboard_token.get_secret_value(), trade_id, until)}"


def good_until(session: Session | None, now: float) -> int:
    """When the next session opens; on a day without one, which does not say so, as long as the exchange may stay closed."""
    if session is not None and now < session.open_at:
        return session.open_at
    if session is not None and session.next_open_at is not None:
        return session.next_open_at
    return int(now) + LONGEST_CLOSURE_S


def word(secret: str, trade_id: str, until: int) -> str:
    signature = hmac.digest(secret.encode(), f"link\0{trade_id}\0{until}".encode(), sha256)
    return f"{trade_id}.{until}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def trade_of(secret: str, given: str, now: float) -> str | None:
    """The trade that a link's word is about; None if it is not ours, or too old."""
    parts = re.fullmatch(r"([A-Za-z0-9-]{1,40})\.([0-9]{1,12})\.[A-Za-z0-9_-]{43}", given)
    if parts is None or not hmac.compare_digest(given.encode(), word(secret, parts[1], int(parts[2])).encode()):
        return None
    return parts[1] if now < int(parts[2]) else None
