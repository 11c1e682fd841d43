"""The real worker as a process on a scripted market: started, watched by its lines and its alerts, killed, started again.

The market of a `Stage` is quiet until 10:05:00 and then rises on growing volume, so that soon every second is a signal: a cent a
second for a minute and a half, then it falls as long, and so on (`steady`: a twentieth of a cent, for ever). One contract alone is
eligible, at a quote that stands until the test sets another. Time stands still until `go`; everything is awaited by events, so how
fast this machine is decides nothing.

    stage.start(); stage.go(); buy = stage.wait_for("BUY"); stage.quote(0.80, 0.82); sell = stage.wait_for("SELL")
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time as real_time
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from disk.ledger import read
from events import Remembered
from simulator.push import Message
from simulator.servers import Simulator
from utils import NEW_YORK

HOME = Path(__file__).resolve().parents[2]
DAY = date(2026, 11, 20)
OPEN = NEW_YORK.localize(datetime.combine(DAY, time(9, 30)))
QUIET_S, SWING_S, SCRIPT_S = 2100, 90, 7200
IN_RISE, LATE_IN_RISE, IN_NEXT_RISE = time(10, 5, 30), time(10, 6, 10), time(10, 8, 40)
STRIKE = 221
CONTRACT = f"O:IWM{DAY:%y%m%d}C{STRIKE * 1000:08d}"
BID, ASK = 1.00, 1.01
READY = (
    "stocks socket subscribed", "history of IWM", "history of SPY", "volume profile ready", f"tracked contracts: {CONTRACT}",
    "phone checked: keys are valid", "the clock is right",
)  # fmt: skip
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


def script_bars(path: Path, *, steady: bool) -> Path:
    """The scripted session as a file of bars."""
    rows = ["timestamp_ns_utc,open,high,low,close,volume,vwap,transactions"]
    price = 220.0
    for second in range(SCRIPT_S):
        swing, rising = second - QUIET_S, steady or (second - QUIET_S) // SWING_S % 2 == 0
        if swing >= 0:
            price = round(price + (0.0005 if steady else 0.01 if rising else -0.01), 4)
        volume = 500 if swing < 0 or not rising else 3000 + second
        start = int((OPEN + timedelta(seconds=second)).timestamp()) * 1_000_000_000
        rows.append(f"{start},{price},{price},{price},{price},{volume},{price},5")
    path.write_text("\n".join(rows) + "\n")
    return path


class WorkerProcess:
    """One life of the worker. `lines` is all it has said on its console so far, the crash dump included."""

    def __init__(
        self, environment: dict[str, str], cwd: Path, program: tuple[str, ...] = ("main.py",), within: tuple[str, ...] = ()
    ) -> None:
        kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [*within, sys.executable, str(HOME / program[0]), *program[1:]],
            cwd=cwd,
            env=kept | {"PYTHONUTF8": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for_line(self, *containing: str, timeout_s: float = 20.0) -> str:
        """The first line with any of these in it. AssertionError, with the last lines, if the worker ends or time does."""

        def found() -> str | None:
            return next((line for line in self.lines if any(part in line for part in containing)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, timeout_s)
            line = found()
        assert line is not None, f"never said {containing}; its last lines:\n" + "\n".join(self.lines[-25:])
        return line

    def wait_until_ready(self, parts: tuple[str, ...] = READY) -> WorkerProcess:
        for part in parts:
            self.wait_for_line(part)
        return self

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 20.0) -> int:
        """Its exit code, once all that it said was read."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError("it did not end; its last lines:\n" + "\n".join(self.lines[-25:])) from None
        with self._changed:
            self._changed.wait_for(lambda: self._ended, 5.0)
        return code

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None


class Stage:
    """The scripted market, and the worker's lives on it. `fresh` gives the next test a market as new and a folder of its own."""

    def __init__(self, folder: Path, *, steady: bool = False, **market: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.market = Simulator(
            folder / "clock", bars=script_bars(folder / "bars.csv", steady=steady), seed=1, start=IN_RISE, speed=0.0,
            half_strikes=False, corrections=False, publication_s=0.5, **market,
        )  # fmt: skip
        self.lives: list[WorkerProcess] = []
        self.folder = folder

    # --- between tests -------------------------------------------------------------------------------------------------

    def fresh(self, folder: Path, at: time = IN_RISE) -> Stage:
        self.folder = folder
        market = self.market
        market.set_clock(at=at, speed=0.0, wall_offset=0.0)
        market.push.unscript()
        market.rest.unscript()
        for feed in (market.stocks, market.options):
            feed.resume()
        market.push.messages.clear()
        market.push.receipts.clear()
        market.push.requests.clear()
        market.rest.requests.clear()
        chain = market.market.chain(DAY)
        assert chain is not None
        for ticker in chain.tickers[0]:
            market.market.force_quote(ticker, 0.10, 0.30, 1, 1)
        self.quote(BID, ASK)
        return self

    def end_lives(self) -> None:
        for life in self.lives:
            life.kill()
        self.lives.clear()

    def close(self) -> None:
        self.end_lives()
        self.market.close()

    # --- the worker ----------------------------------------------------------------------------------------------------

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def worker(self) -> WorkerProcess:
        return self.lives[-1]

    def launch(self, failpoint: str = "", within: tuple[str, ...] = (), **settings: str) -> WorkerProcess:
        """Begin a life and do not wait for it. `within`: a command that starts the worker's own."""
        settings = {"DELTA_MIN": "0.05", "DELTA_MAX": "0.95", "OPTIONS_STREAM": "off", **settings}
        environment = self.market.environment(self.data, **settings)
        if failpoint:
            environment["FAILPOINT"] = failpoint
        self.lives.append(WorkerProcess(environment, self.folder, within=within))
        return self.worker

    def start(
        self, failpoint: str = "", within: tuple[str, ...] = (), *, ready: tuple[str, ...] = READY, **settings: str
    ) -> WorkerProcess:
        """Begin a life; returns when it has all it needs for an entry."""
        return self.launch(failpoint, within, **settings).wait_until_ready(ready)

    # --- the market ----------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.market.clock.now()

    def go(self, speed: float = 6.0) -> None:
        """Let time pass, at this many market seconds a second."""
        self.market.set_clock(speed=speed)

    def stop(self) -> None:
        self.market.set_clock(speed=0.0)

    def quote(self, bid: float, ask: float) -> None:
        self.market.force_quote(CONTRACT, bid, ask)

    def polls(self) -> int:
        """How often the held contract's quote has been asked for."""
        return sum(request.path.endswith(f"/{CONTRACT}") for request in list(self.market.rest.requests))

    def wait_for_polls(self, more: int, timeout_s: float = 15.0) -> None:
        """Until the held contract's quote was asked for so many times more: all but the last answer were taken in."""
        goal = self.polls() + more
        until(lambda: self.polls() >= goal, timeout_s, f"{more} more quotes asked for")

    # --- the phone -----------------------------------------------------------------------------------------------------

    def wait_for(self, containing: str, count: int = 1, timeout_s: float = 20.0) -> Message:
        """The `count`-th accepted message with this in its title or text."""

        def found() -> Message | None:
            those = [m for m in list(self.market.push.messages) if containing in m.title or containing in m.text]
            return those[count - 1] if len(those) >= count else None

        try:
            message = self.market.push.wait_for(found, timeout_s)
        except TimeoutError:
            said = [m.title for m in self.market.push.messages]
            lines = "\n".join(self.worker.lines[-25:])
            raise AssertionError(
                f"the phone never got {containing!r}, only {said}; the worker's last lines:\n{lines}"
            ) from None
        assert isinstance(message, Message)
        return message

    def messages(self, containing: str = "") -> list[Message]:
        return [m for m in list(self.market.push.messages) if containing in m.title or containing in m.text]

    def bought(self, failpoint: str = "", within: tuple[str, ...] = (), **settings: str) -> Message:
        """A worker, started and holding: its BUY."""
        self.start(failpoint, within, ready=READY, **settings)
        self.go()
        buy = self.wait_for("— BUY")
        self.worker.wait_for_line("Alert sent: 🔥")
        return buy


def until(condition: Callable[[], Any], timeout_s: float, what: str) -> None:
    """For what no event tells of: looked at every few milliseconds."""
    deadline = real_time.monotonic() + timeout_s
    while not condition():
        assert real_time.monotonic() < deadline, f"not seen within {timeout_s:g} s: {what}"
        real_time.sleep(0.005)


def ledger_of(data: Path, now: float) -> Remembered:
    """What a sound ledger holds, looked at on a copy."""
    findings, kept = read(data, now)
    assert kept is not None, findings
    return kept


def alert_id(message: Message) -> str:
    """The id at the end of a message's text."""
    return message.text.rsplit("\n#", 1)[1]


HEADING = re.compile(r"REPEAT of #|⚠️ NOT SEEN YET|LATE: |NOT RECORDED")


def body(message: Message) -> str:
    """The text without the headings of a repetition."""
    return "\n".join(line for line in message.text.split("\n") if not HEADING.match(line))


def is_repeat(message: Message) -> bool:
    return any(HEADING.match(line) for line in message.text.split("\n")[:3])
