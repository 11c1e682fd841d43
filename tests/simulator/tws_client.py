"""What tests of the TWS share: a market of four dozen options written by hand, and the real ib_async on a real socket."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import ib_async
from ib_async import ComboLeg, Contract, LimitOrder, Option

from simulator.tws.contracts import Book, Greeks, Instrument, Quote

DAY = date(2026, 11, 20)
NOON = 1795194000.0  # that day, 12:00 in New York
XSP, VIX = 137851301, 13455763
ENTRY = ((655, "P", "SELL"), (653, "P", "BUY"), (665, "C", "SELL"), (667, "C", "BUY"))
PATIENCE_S = 3.0


class StillClock:
    def now(self) -> float:
        return NOON

    def real_seconds(self, seconds: float) -> float:
        return seconds


def con_id(strike: int, right: str) -> int:
    return strike * 10 + (right == "C")


def book() -> Book:
    """XSP at 660: puts and calls from 648 to 672, two cents either side of a mid that falls from 2.00 by 19 cents a strike."""
    indices = [
        Instrument(XSP, "XSP", "IND", "CBOE", local_symbol="XSP"),
        Instrument(VIX, "VIX", "IND", "CBOE", local_symbol="VIX"),
    ]
    options = [
        Instrument(con_id(strike, right), "XSP", "OPT", "SMART", DAY, strike * 1000, right, 100, "XSP",
                   f"XSP   261120{right}{strike * 1000:08d}", last_trade="15:00:00", under_con_id=XSP)
        for strike in range(648, 673) for right in "PC"
    ]  # fmt: skip
    market = Book(indices + options)
    market.quotes[XSP], market.quotes[VIX] = Quote(last=660_000), Quote(last=16_200)
    for one in options:
        away = one.strike // 1000 - 660
        mid = max(40, 2000 - 190 * abs(away))
        delta = (0.5 - 0.05 * away) if one.right == "C" else -(0.5 + 0.05 * away)
        market.quotes[one.con_id] = Quote(
            mid - 20, mid + 20, 10, 10, greeks=Greeks(0.2, delta, mid / 1000, 0.02, 0.01, -0.5, 660.0)
        )
    return market


def bag(legs=ENTRY, *, turned: bool = False) -> Contract:
    """The condor as a package; `turned` closes it."""
    other = {"BUY": "SELL", "SELL": "BUY"}
    combo = [ComboLeg(con_id(k, r), 1, other[action] if turned else action, "SMART") for k, r, action in legs]
    return Contract(secType="BAG", symbol="XSP", currency="USD", exchange="SMART", comboLegs=combo)


def limit(price: float, units: int = 1, ref: str = "IC-1-ENTRY-1", **more: Any) -> LimitOrder:
    return LimitOrder("BUY", units, price, **{"tif": "DAY", "orderRef": ref, "account": "DU1234567", **more})


def option(strike: int, right: str) -> Option:
    return Option("XSP", "20261120", strike, right, "SMART", "100", "USD", tradingClass="XSP", conId=con_id(strike, right))


class Client(ib_async.IB):
    """ib_async as it is, with its errors kept."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[tuple[int, int, str]] = []
        self.errorEvent += lambda *said: self.errors.append(said[:3])

    @property
    def codes(self) -> list[int]:
        return [code for _, code, _ in self.errors]

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for messages until a condition holds; its value."""

        async def waited() -> Any:
            while not (value := condition()):
                await self.updateEvent
            return value

        return await asyncio.wait_for(waited(), PATIENCE_S)


@asynccontextmanager
async def connected(port: int, client_id: int = 21) -> AsyncIterator[Client]:
    logging.getLogger("ib_async").setLevel(logging.CRITICAL + 1)
    ib = Client()
    await ib.connectAsync("127.0.0.1", port, clientId=client_id, timeout=PATIENCE_S, raiseSyncErrors=True)
    try:
        yield ib
    finally:
        ib.disconnect()


def statuses(trade: ib_async.Trade) -> list[str]:
    """The states ib_async saw, one after another."""
    return [entry.status for entry in trade.log]
