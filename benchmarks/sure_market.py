"""A market on which every second of IWM is a signal and its calls cost what we say: the servers of `simulator`, time-stamped.

Rules: prices, volumes, history, profile and chain are one script, so that nothing but the worker decides how long a decision takes.
Frames leave from the caller's own thread, and stamps are monotonic: of a frame just before it is handed to the socket, of a REST
answer just before it is, of a request when its first byte has been read.
"""

from __future__ import annotations

import time as real_time
from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np

from events import Bar
from simulator.chain import CALL, PUT, ChainModel
from simulator.exchange import Market, OptionQuote
from simulator.feed import FeedServer, frame, second_bar
from simulator.http import Answer, Request
from simulator.market import SYMBOLS, Columns, MarketDay
from simulator.push import Message, PushServer
from simulator.rest import RestServer
from simulator.servers import Simulator
from utils import Session, SharedClock

DAY = date(2026, 11, 20)
SPOT = 240.0
CLIMB = 0.0005  # dollars a second
TRADED = 5000.0  # shares in the first second; each next second trades one more
USUAL_MINUTE = 60_000.0
FALL = 0.5  # what the held contract is worth when it is to be sold


class SureMarket(Market):
    """IWM climbs without a rest on growing volume, the others stand still; the chain is that of one moment, quoted now."""

    def __init__(self, clock: SharedClock) -> None:
        super().__init__(clock, 1, DAY)
        model = ChainModel(1, self.session, SPOT, half_strikes=True)
        rows = model.rows(self.session.at(time(10, 30)), SPOT)
        for row in rows:
            if (
                0.2 < row["greeks"].get("delta", 0.0) < 0.7
            ):  # what stands near the money is liquid, so that three are tracked
                quote = row["last_quote"]
                quote |= {"bid_size": 50, "ask_size": 50, "ask": round(quote["bid"] + 0.01, 2)}
                row["day"]["volume"] = row["open_interest"] = 5000
        self._rows = rows
        self._by_ticker = {row["details"]["ticker"]: row for row in rows}
        self.fallen = False

    def bar(self, symbol: str, start: int) -> Bar:
        if symbol != "IWM":
            return Bar(symbol, start, 500.0, 500.0, 500.0, 500.0, 1000.0, 500.0)
        into = start - self.session.open_at
        close = round(SPOT + CLIMB * into, 4)
        return Bar(symbol, start, close, close, close, close, TRADED + into, close)

    def day(self, day: date) -> MarketDay | None:
        """None: nothing is published by itself."""
        return None

    def known(self, symbol: str, day: date) -> Columns | None:
        return self._columns(symbol, np.arange(self.session.open_at, int(self.clock.now()))) if day == DAY else None

    def minutes(self, symbol: str, day: date) -> Columns | None:
        session = self.calendar.on(day)
        if session is None:
            return None
        starts = np.arange(session.open_at, session.close_at, 60)
        return self._columns(symbol, starts, np.full(len(starts), USUAL_MINUTE))

    def _columns(self, symbol: str, starts: Any, volume: Any = None) -> Columns:
        first, ones = self.bar(symbol, int(self.session.open_at)), np.ones(len(starts))
        climbs = symbol == "IWM"
        into = (starts - self.session.open_at) * ones
        close = np.round(first.close + (CLIMB * into if climbs else 0.0 * into), 4)
        traded = first.volume + (into if climbs else 0.0 * into)
        return Columns(
            starts, close, close, close, close, traded if volume is None else volume, close, ones.astype(np.int64)
        )

    def rows(
        self, expiry: date, rights: tuple[int, ...] = (CALL, PUT), only: str | None = None, underlying: str = "IWM"
    ) -> list[dict[str, Any]]:
        if expiry != DAY or underlying != "IWM":
            return []
        now = self.clock.now()
        if only is not None:
            row = self._by_ticker.get(only)
            return [] if row is None else [self._now(row, now, FALL if self.fallen else 1.0)]
        words = {"call" if right == CALL else "put" for right in rights}
        return [self._now(row, now, 1.0) for row in self._rows if row["details"]["contract_type"] in words]

    def _now(self, row: dict[str, Any], now: float, worth: float) -> dict[str, Any]:
        stamp, spot = int(now * 1e9), self.bar("IWM", int(now)).close
        quote = row["last_quote"] | {"last_updated": stamp if row["last_quote"]["bid"] else stamp - 10**12}
        if worth != 1.0:
            quote |= {"bid": round(quote["bid"] * worth, 2), "ask": round(quote["ask"] * worth, 2)}
        return row | {
            "last_quote": quote,
            "underlying_asset": row["underlying_asset"] | {"last_updated": stamp, "price": spot},
        }

    def fallen_quote(self, ticker: str) -> dict[str, Any]:
        """The `Q` event that says the contract has fallen."""
        quote = self._now(self._by_ticker[ticker], self.clock.now(), FALL)["last_quote"]
        return {
            "ev": "Q", "sym": ticker, "bx": 316, "ax": 302, "bp": quote["bid"], "ap": quote["ask"], "bs": 50, "as": 50,
            "t": int(self.clock.now() * 1000), "q": 1,
        }  # fmt: skip

    def quote(self, ticker: str) -> OptionQuote | None:
        """None: nothing is published by itself."""
        return None


class StampedRest(RestServer):
    """Remembers when it first said that the held contract has fallen."""

    fallen_at: float | None = None

    def answer(self, request: Request) -> Answer:
        market = self.market
        assert isinstance(market, SureMarket)
        fallen = market.fallen and "/O:" in request.path
        made = super().answer(request)
        if fallen and self.fallen_at is None:
            self.fallen_at = real_time.monotonic()
        return made


class SureServers(Simulator):
    """The simulator's servers on the scripted market, at `speed` market seconds a second from 10:30 on."""

    market: SureMarket
    rest: StampedRest

    def __init__(self, clock_file: Path, speed: float) -> None:
        self.clock_file = clock_file
        self.clock = SharedClock.create(clock_file, self._at(DAY, time(10, 30)), speed)
        self.market = SureMarket(self.clock)
        self.feeds = FeedServer(self.market)
        self.stocks, self.options = self.feeds.stocks, self.feeds.options
        self.rest = StampedRest(self.market)
        self.push = PushServer(self.clock.now)
        self._heard = 0
        self._told = int(self.clock.now())

    @property
    def session(self) -> Session:
        return self.market.session

    def wait_until_subscribed(self, timeout_s: float = 30.0) -> None:
        self.stocks.wait_for_subscriber("A.IWM", timeout_s)

    def next_second(self) -> float:
        """Wait for the next second to end, tell its bars, a frame each, IWM's last; when they left."""
        clock = self.clock
        self._told = max(self._told + 1, int(clock.now()))
        while (left := self._told + 1 - clock.now()) > 0:
            real_time.sleep(clock.real_seconds(left))
        bars = [self.market.bar(symbol, self._told) for symbol in (*SYMBOLS[1:], "IWM")]
        frames = [frame(second_bar(bar)) for bar in bars]
        at = real_time.monotonic()
        self.stocks.flood(frames)
        return at

    def wait_for_alert(self, word: str, timeout_s: float) -> Message | None:
        """The next BUY or SELL after the last one; None if it does not come. A SELL's button is pressed at once."""

        def found() -> Message | None:
            return next((message for message in self.push.messages[self._heard :] if word in message.title), None)

        try:
            message: Message = self.push.wait_for(found, timeout_s)
        except TimeoutError:
            return None
        self._heard = self.push.messages.index(message, self._heard) + 1
        if message.receipt is not None:
            self.push.acknowledge(message.receipt)
        return message

    def fall_on_rest(self, timeout_s: float) -> tuple[float, Message] | None:
        """Let the next REST quote of the held contract be a stop: when it was answered, and the SELL; None if none came."""
        self.rest.fallen_at, self.market.fallen = None, True
        sold = self.wait_for_alert("SELL", timeout_s)
        self.market.fallen = False
        return None if sold is None or self.rest.fallen_at is None else (self.rest.fallen_at, sold)

    def fall_on_stream(self, ticker: str, timeout_s: float) -> tuple[float, Message] | None:
        """Let a quote on the options stream be a stop: when it left, and the SELL; None if none came."""
        try:
            self.options.wait_for_subscriber(f"Q.{ticker}", timeout_s)
        except TimeoutError:
            return None
        text = frame(self.market.fallen_quote(ticker))
        at = real_time.monotonic()
        self.options.flood([text])
        sold = self.wait_for_alert("SELL", timeout_s)
        return None if sold is None else (at, sold)
