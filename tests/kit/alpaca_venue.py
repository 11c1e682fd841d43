"""A venue with two calls and two puts quoted by hand at 10:00 on a Friday, and the real SDK on it."""

from datetime import datetime
from decimal import Decimal

from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient

from simulator.alpaca.quotes import Quote, WrittenQuotes
from simulator.alpaca.venue import Venue
from utils import NEW_YORK

CALL, HIGHER = "IWM261120C00240000", "IWM261120C00242000"
PUT, LOWER = "IWM261120P00238000", "IWM261120P00236000"
SPY_CALL = "SPY261120C00680000"
NEXT_WEEK = "IWM261127C00240000"
TEN = NEW_YORK.localize(datetime(2026, 11, 20, 10, 0)).timestamp()  # noqa: DTZ001 - localized here


def quotes() -> WrittenQuotes:
    def quoted(bid: str, ask: str) -> Quote:
        return Quote(Decimal(bid), Decimal(ask), 50, 50)

    return WrittenQuotes(
        **{
            CALL: quoted("1.40", "1.44"), HIGHER: quoted("0.60", "0.63"), PUT: quoted("1.10", "1.13"),
            LOWER: quoted("0.50", "0.52"), SPY_CALL: quoted("2.00", "2.02"), NEXT_WEEK: quoted("3.00", "3.06"),
        }
    )  # fmt: skip


def open_venue(**options) -> Venue:
    return Venue(quotes(), **{"now": TEN, **options})


class Impatient(TradingClient):
    """The SDK with its pause before a retry cut from three seconds to none, and nothing else changed."""

    def __init__(self, url: str) -> None:
        super().__init__("key", "secret", url_override=url)
        self._retry_wait = 0


def refusal(call, *arguments, **named):
    """Status, code and message of the SDK's error."""
    try:
        call(*arguments, **named)
    except APIError as error:
        return error.status_code, error.code, error.message
    raise AssertionError("not refused")
