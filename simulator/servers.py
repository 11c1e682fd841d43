"""The whole simulated market in one process: stocks and options sockets, REST and the phone, on free ports of loopback.

    with Simulator(clock_file, seed=1, day=date(2026, 11, 20), start=time(10, 29), speed=3) as market:
        subprocess.Popen([sys.executable, "main.py"], env=os.environ | market.environment(data_dir))
        market.push.wait_for_message("BUY")

Faults are set on its parts: `stocks`, `options` (feed.Feed), `rest`, `push` (http.HttpServer), `market` (exchange.Market).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simulator.exchange import Market
from simulator.feed import FeedServer
from simulator.market import Burst, date_of_bars, read_bars
from simulator.push import PushServer
from simulator.rest import RestServer
from utils import NEW_YORK, SharedClock

DUMMY_KEY = "simulated-market-key"
DUMMY_TOKEN = "simulatedtoken0000000000000000"  # noqa: S105 - opens nothing
DUMMY_USER = "simulateduser00000000000000000"


class Simulator:
    """A market from its seed, from `start` New York time on `day`, at `speed` market seconds a second (0 stands still).

    `bars` plays a file of real seconds as IWM; the day is then the file's. `bursts` are (seconds after the open, strength).
    """

    def __init__(
        self,
        clock_file: Path,
        *,
        day: date | None = None,
        seed: int = 1,
        start: time = time(10, 29),
        speed: float = 1.0,
        bars: Path | None = None,
        bursts: Iterable[Burst | tuple[float, float]] | None = None,
        **market: Any,
    ) -> None:
        if bars is not None:
            day = date_of_bars(read_bars(bars))
        if day is None:
            raise ValueError("a day or a file of bars is needed")
        self.clock_file = clock_file
        self.clock = SharedClock.create(clock_file, self._at(day, start), speed)
        self.market = Market(self.clock, seed, day, bars=bars, bursts=bursts, **market)
        self.feeds = FeedServer(self.market)
        self.stocks, self.options = self.feeds.stocks, self.feeds.options
        self.rest = RestServer(self.market)
        self.push = PushServer(self.clock.now)

    @staticmethod
    def _at(day: date, moment: time) -> float:
        return NEW_YORK.localize(datetime.combine(day, moment)).timestamp()

    @property
    def urls(self) -> dict[str, str]:
        return {
            "stocks": self.feeds.url("stocks"),
            "options": self.feeds.url("options"),
            "rest": self.rest.url,
            "pushover": self.push.url,
        }

    def environment(self, data_dir: Path, **settings: str) -> dict[str, str]:
        """The settings with which a worker lives on this market."""
        return {
            "POLYGON_API_KEY": DUMMY_KEY,
            "PUSHOVER_TOKEN": DUMMY_TOKEN,
            "PUSHOVER_USER_KEY": DUMMY_USER,
            "POLYGON_WS_URL": self.feeds.url("stocks"),
            "POLYGON_OPTIONS_WS_URL": self.feeds.url("options"),
            "POLYGON_REST_URL": self.rest.url,
            "PUSHOVER_URL": self.push.url,
            "DATA_DIR": str(data_dir),
            "CLOCK_FILE": str(self.clock_file),
            "HEALTH_PORT": "0",
            **settings,
        }

    def set_clock(
        self, *, at: time | float | None = None, speed: float | None = None, wall_offset: float | None = None
    ) -> None:
        """Move, stop or speed up the market; `at` is a New York time of the simulated day, or Unix seconds."""
        now = self._at(self.market.session.date, at) if isinstance(at, time) else at
        self.clock.set(now=now, speed=speed, wall_offset=wall_offset)
        self.feeds.nudge()

    def force_quote(self, ticker: str, bid: float, ask: float, **more: Any) -> None:
        """Quote a contract so from now on, on REST and stream alike (`bid_size`, `ask_size`, `age_s`)."""
        self.market.force_quote(ticker, bid, ask, **more)
        self.feeds.nudge()

    def close(self) -> None:
        self.feeds.close()
        self.rest.close()
        self.push.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
