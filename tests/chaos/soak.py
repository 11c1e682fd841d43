"""Whole sessions in one life of the worker, with faults all along, and what the kernel says of it each evening.

What is played: consecutive sessions of the exchange from Tuesday 24 November 2026 on (the first seven have Thanksgiving, an early
close and a weekend among them), every second of every one, on a simulated market that signals by itself several times a day. The
market runs `FAST` times as fast as time while nothing happens, `HELD` while a position is open, `SLOW` around a signal and through a
fault. Of the nights only the seconds around each midnight are played, and the minutes before the open: the clock is moved in between.
In `brief` sessions the clock is moved once more: after the first signal come the faults at once, and then the minute before the time
stop.

    with Soak(folder, seed=1) as soak:
        soak.live(7)
        print(soak.table())
        assert not soak.faults()
"""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from msgspec import Struct

import logger
from config import Config
from disk.ledger import KEPT_SNAPSHOTS
from events import Bar, Remembered
from risk_manager import time_stop
from simulator.demo import first_signal
from simulator.exchange import midnight
from simulator.feed import TOO_MANY, second_bar
from simulator.http import Answer
from simulator.market import COLUMN_NAMES
from simulator.push import FAILURES
from simulator.servers import DUMMY_KEY, Simulator
from tests.chaos.kills import Play
from tests.kit.feed import bar, text
from tests.kit.kernel import descriptors, thread_count, unshared_mb
from tests.kit.mutate import mutated
from tests.kit.relay import Relay
from tests.kit.worker import HOME, Stage, alert_id, until
from utils import Session, new_york

FIRST_DAY = date(2026, 11, 24)
FAST, HELD, SLOW = 300.0, 120.0, 10.0
BEFORE_OPEN_S = 310.0
SIGNAL_AHEAD_S, SIGNAL_LASTS_S = 6.0, 12.0
EVENING_S = 90.0
TAPE_DAYS, TAPE_MEGABYTES = 3, 40
SETTINGS = {
    "OPTIONS_STREAM": "auto", "DELTA_MIN": "0.20", "DELTA_MAX": "0.55", "MAX_SPREAD_PERCENT": "10",
    "TAPE_DAYS": str(TAPE_DAYS), "TAPE_MEGABYTES": str(TAPE_MEGABYTES),
}  # fmt: skip
READY = ("stocks socket subscribed", "phone checked: keys are valid", "the clock is right")
REST, CHAIN = r"^/v[123]/", r"^/v3/snapshot/options/IWM$"
PHONE_FAULTS = ("cut after", "500 after", "cut before", "500", "503", "html", "status 0")
KEPT_ALIVE_MAX = 9  # one each for chain, quotes, errands, both lanes to the phone, and the hands that refresh quotes
MEMORY_GROWTH_MB = 25.0  # what the allocators keep of the busiest moments; it comes in the first days, and stays
LOG_KB_A_SESSION, LEDGER_KB_A_SESSION = 1000, 1000
ALERTS_OPEN_MAX = 200  # three an hour leave the worker, and each time a busy machine loses its breath is told
# of what the log calls an error: it was told so; prices were taken away while it held; and at this speed a quarter of a second of
# a busy machine is a minute
EXPLAINED = ("another process uses this key", "BLIND: ", "its bars come ")


class Evening(Struct):
    """What is left of a day once it is over. Memory is what the process alone holds (USS), by the kernel."""

    day: date
    played_s: float
    took_s: float
    trades: int
    alerts: int
    faults: int
    connections: int
    memory_mb: float
    descriptors: int
    kept_alive: int
    threads: int
    log_kb: float
    ledger_kb: float
    tape_mb: float
    tape_days: int
    snapshots: int
    alerts_open: int

    def cells(self) -> list[tuple[str, str]]:
        """Heading and figure of each column."""
        return [
            ("day", str(self.day)),
            ("played", f"{self.played_s / 3600:.1f} h"),
            ("took", f"{self.took_s:.0f} s"),
            *((name, str(getattr(self, name))) for name in ("trades", "alerts", "faults", "connections")),
            ("memory MB", f"{self.memory_mb:.1f}"),
            ("descriptors", f"{self.descriptors} + {self.kept_alive}"),
            ("threads", str(self.threads)),
            ("log kB", f"{self.log_kb:.0f}"),
            ("ledger kB", f"{self.ledger_kb:.0f}"),
            ("tape MB", f"{self.tape_mb:.1f}"),
            ("days of tape", str(self.tape_days)),
            ("snapshots", str(self.snapshots)),
            ("alerts open", str(self.alerts_open)),
        ]


class LongStage(Stage):
    """The simulated market as it is, session after session; the stocks socket goes through a relay."""

    def __init__(self, folder: Path, day: date, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.lives = folder, []
        self.market = Simulator(folder / "clock", day=day, seed=seed, speed=1.0)
        self.relay = Relay(self.market.feeds.port)

    def close(self) -> None:
        super().close()
        self.relay.close()


class Soak:
    """One life of the worker through many sessions. What went wrong is in `faults()`."""

    def __init__(self, folder: Path, seed: int, *, brief: bool = False) -> None:
        self.random = Random(seed)
        self.brief = brief
        self.hands = 1 if brief else 3  # threads that refresh quotes side by side: each is made when it is first needed
        self.stage = LongStage(folder, FIRST_DAY, seed)
        self.market, self.relay = self.stage.market, self.stage.relay
        self.evenings: list[Evening] = []
        self.injected: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.acts: dict[str, Callable[[], None]] = {
            "socket cut": self._cut, "socket closed": self._close, "silent": self._silent, "half-open": self._half_open,
            "upgrade refused": self._no_upgrade, "junk": self._junk, "corrections": self._corrections, "REST fails": self._rest_fails,
            "REST hangs": self._rest_hangs, "idle connections cut": self._idle_cut, "phone fails": self._phone_fails,
            "page": self._page, "another process": self._busy,
        }  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stage.close()

    # --- the days ------------------------------------------------------------------------------------------------------

    def live(self, sessions: int) -> Soak:
        """So many sessions in one life, which then ends in order."""
        stage = self.stage
        for number, session in enumerate(self._sessions(sessions)):
            began, market_began = time.monotonic(), session.open_at - BEFORE_OPEN_S
            if number == 0:
                self.market.set_clock(at=market_began)
                url = f"ws://127.0.0.1:{self.relay.port}/stocks"
                stage.start(ready=READY, POLYGON_WS_URL=url, MAX_CONTRACTS_TO_TRACK=str(self.hands), **SETTINGS)
            else:
                self._night(session)
            skipped = self._day(session)
            self._evening(session, session.close_at + EVENING_S - market_began - skipped, time.monotonic() - began)
        self.market.set_clock(speed=1.0)
        stage.worker.signal()
        if (code := stage.worker.wait()) != 0:
            self.wrong.append(f"it ended with exit code {code}")
        return self

    def _sessions(self, count: int) -> Iterator[Session]:
        calendar, day = self.market.market.calendar, FIRST_DAY - timedelta(days=1)
        for _ in range(count):
            session = calendar.next_after(day)
            assert session is not None
            yield session
            day = session.date

    def _night(self, session: Session) -> None:
        """Each midnight on the way, then the minutes before the open."""
        day = new_york(self.stage.now()).date()
        while day < session.date:
            day += timedelta(days=1)
            self.market.set_clock(at=midnight(day) - 5)
            self._until(midnight(day) + 5, HELD)
        self.market.set_clock(at=session.open_at - BEFORE_OPEN_S)

    def _day(self, session: Session) -> float:
        """From before the open to after the close; how many seconds of it were left out."""
        self.stage.stop()
        stop_at = time_stop(Config.from_env(self.market.environment(Path("data"))), session)
        signals = self._signals(session, stop_at)
        self._until(session.open_at + 30)
        skipped = 0.0
        if self.brief:
            skipped = self._brief_day(signals[0], stop_at - 60)
        else:
            for at, act in sorted(self._plan(session, signals, stop_at - 300), key=lambda planned: planned[0]):
                self._until(at)
                act()
        self._until(session.close_at + EVENING_S)
        return skipped

    def _plan(self, session: Session, signals: list[float], last: float) -> Iterator[tuple[float, Callable[[], None]]]:
        """Every signal of the day, and every fault once."""
        yield from ((at - SIGNAL_AHEAD_S, self._signal) for at in signals)
        for name in self.acts:
            yield self.random.uniform(session.open_at + 60, last), lambda name=name: self._inject(name)

    def _brief_day(self, signal: float, evening: float) -> float:
        """The first signal, every second fault, and the end of the trade; then the clock is moved to the evening."""
        self._until(signal - SIGNAL_AHEAD_S)
        self._slowly(SIGNAL_AHEAD_S + SIGNAL_LASTS_S, self._holds)
        for name in [name for name in self.acts if name != "REST hangs"][len(self.evenings) % 2 :: 2]:
            self._inject(name)
        self._until(evening, over=lambda: not self._holds())
        self._slowly(8.0)  # the SELL is seen
        skipped = evening - self.stage.now()
        self.market.set_clock(at=evening)
        return skipped

    def _signals(self, session: Session, until: float) -> list[float]:
        """The seconds, a cooldown apart, at which the worker will see a signal if nothing is lost; of a brief day the first."""
        day = self.market.market.day(session.date)
        assert day is not None
        found: list[float] = []
        at = first_signal(self.market, day, session.open_at)
        while at is not None and at < until:
            found.append(float(at))
            at = None if self.brief else first_signal(self.market, day, at + 360)
        return found

    # --- time passes ---------------------------------------------------------------------------------------------------

    def _until(self, at: float, speed: float = 0.0, over: Callable[[], bool] = lambda: False) -> None:
        """Let the market run to this moment, or until it is over; without a speed, as fast as what goes on allows."""
        stage, running = self.stage, -1.0
        while stage.now() < at and not over():
            assert stage.worker.is_alive, "the worker ended:\n" + "\n".join(stage.worker.lines[-30:])
            wanted = speed or (HELD if self._holds() else FAST)
            if wanted != running:
                running = wanted
                stage.go(wanted)
            self._acknowledge()
            time.sleep(0.005)
        stage.go(min(running, SLOW) if running > 0 else SLOW)

    def _slowly(self, seconds: float, over: Callable[[], bool] = lambda: False) -> None:
        self._until(self.stage.now() + seconds, SLOW, over)

    def _acknowledge(self) -> None:
        """Whoever holds the phone sees a SELL at once."""
        push = self.market.push
        for receipt, state in list(push.receipts.items()):
            if not state["acknowledged"]:
                push.acknowledge(receipt)

    def _told(self, kind: str) -> set[str]:
        return {alert_id(message).rsplit("-", 1)[0] for message in self.stage.messages(f"— {kind}")}

    def _holds(self) -> bool:
        return bool(self._told("BUY") - self._told("SELL"))

    def _signal(self) -> None:
        """Slowly through the seconds of a signal; at times something goes wrong while the position is open."""
        before = len(self._told("BUY"))
        self._slowly(SIGNAL_AHEAD_S + SIGNAL_LASTS_S, lambda: len(self._told("BUY")) > before)
        if self._holds() and self.random.random() < 0.4:
            self._inject(self.random.choice([name for name in self.acts if name != "another process"]))

    # --- faults --------------------------------------------------------------------------------------------------------

    def _inject(self, name: str) -> None:
        self.injected[name] += 1
        self.acts[name]()

    def _again(self, before: int, patience_s: float = 120.0) -> None:
        """Until the worker has a new subscribed connection."""
        stocks = self.market.stocks
        here = lambda: stocks.connections > before and any("A.IWM" in client.topics for client in stocks.clients)  # noqa: E731
        self._slowly(patience_s, here)
        if not here():
            self.wrong.append(f"no new connection within {patience_s:g} s")

    def _cut(self) -> None:
        before = self.market.stocks.connections
        self.market.stocks.drop()
        self.market.options.drop()
        self._again(before)

    def _close(self) -> None:
        before = self.market.stocks.connections
        self.market.stocks.close(1001, "going away")
        self._again(before)

    def _silent(self) -> None:
        before = self.market.stocks.connections
        self.market.stocks.silence()
        self._again(before)
        self.market.stocks.resume()

    def _half_open(self) -> None:
        """The relay swallows everything until the worker has given the connection up."""
        before, lines = self.market.stocks.connections, self.stage.worker.lines
        told = len(lines)
        self.relay.hole = True
        self._slowly(60.0, lambda: any("stocks socket lost" in line for line in lines[told:]))
        self.relay.hole = False
        self._again(before)

    def _no_upgrade(self) -> None:
        before = self.market.stocks.connections
        self.market.stocks.handshake = 503
        self.market.stocks.drop()
        self._slowly(10.0)
        self.market.stocks.handshake = None
        self._again(before)

    def _junk(self) -> None:
        now = int(self.stage.now())
        for k in range(300):
            spoiled = mutated(self.random, text(bar(self.random.choice(("IWM", "SPY", "QQQ")), now - 3 - k % 5)))
            for feed in (self.market.stocks, self.market.options):
                feed.send(spoiled)
        self._slowly(5.0)

    def _corrections(self) -> None:
        """Seconds of the last fifteen minutes are told again, with more volume."""
        known = self.market.market.known("IWM", new_york(self.stage.now()).date())
        assert known is not None
        recent = known.take(slice(-900, -5, 9))
        columns = [getattr(recent, name).tolist() for name in COLUMN_NAMES[:7]]
        for start, o, h, low, c, volume, vwap in zip(*columns, strict=True):
            again = second_bar(Bar("IWM", int(start), o, h, low, c, volume + 100, vwap))
            self.market.stocks.publish("A", "IWM", again)
        self._slowly(5.0)

    def _rest_fails(self) -> None:
        answers = [
            Answer(429, {"error": "too many"}, {"Retry-After": "2"}), Answer(500), Answer(503, b"<html>down</html>"),
            Answer(200, b"<html>hello</html>"), Answer(200, b'{"results": [', cut_after=40), Answer(200, b"", cut_after=0),
        ]  # fmt: skip
        self.market.rest.script(REST, *(self.random.choice(answers) for _ in range(10)))
        self._slowly(15.0)
        self.market.rest.unscript()

    def _rest_hangs(self) -> None:
        """Longer than the deadline of a request, which is in earnest."""
        self.market.rest.script(CHAIN, Answer(delay_s=2.5))
        self._slowly(30.0)
        self.market.rest.unscript()

    def _idle_cut(self) -> None:
        self.market.rest.drop_connections(reset=True)
        self.market.push.drop_connections(reset=True)
        self._slowly(5.0)

    def _phone_fails(self) -> None:
        """Whatever it says next, ordinary messages and alerts alike."""
        self.market.push.script(r"^/1/", *(FAILURES[self.random.choice(PHONE_FAULTS)] for _ in range(2)))
        self._slowly(5.0)

    def _busy(self) -> None:
        before = self.market.stocks.connections
        self.market.stocks.say("max_connections", TOO_MANY)
        self.market.stocks.close(1008, "policy violation")
        self._until(self.stage.now() + 55, HELD / 2)
        self._again(before)

    def _page(self) -> None:
        """Readers who come, and one who leaves in the middle of the news and of a request."""
        for _ in range(5):
            for path in ("/", "/health", "/ready", "/metrics"):
                self._ask(path)
        with suppress(OSError):
            for request in (b"GET /events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % self._port, b"GET / HT"):
                with socket.create_connection(("127.0.0.1", self._port), 2) as visitor:
                    visitor.sendall(request)
                    self._slowly(2.0)
        self._slowly(2.0)

    @property
    def _port(self) -> int:
        line = self.stage.worker.wait_for_line("are served url=")
        return urlsplit(line.rpartition("url=")[2].strip()).port or 80

    def _ask(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    # --- what is left in the evening -----------------------------------------------------------------------------------

    def _evening(self, session: Session, played_s: float, took_s: float) -> None:
        """The day is over: note what of it is missing, and what is left."""
        stage, pid, data = self.stage, self.stage.worker.process.pid, self.stage.data
        self.market.push.unscript()
        stage.go(1.0)
        until(lambda: gauge(self._ask("/metrics"), "desk_commits_waiting") == 0, 10.0, "the day's last commit")
        metrics = self._ask("/metrics")
        kept = Play(stage, 0).ledger()  # sound, or this fails
        self.wrong += [f"{session.date}: {what}" for what in missing(session, kept)]
        kept_alive, others = descriptors(pid, (self.market.rest.port, self.market.push.port))
        evening = Evening(
            day=session.date,
            played_s=played_s,
            took_s=took_s,
            trades=len(kept.trades) - self._so_far("trades"),
            alerts=len(stage.messages()) - self._so_far("alerts"),
            faults=self.injected.total() - self._so_far("faults"),
            connections=self.market.stocks.connections - self._so_far("connections"),
            memory_mb=unshared_mb(pid),
            descriptors=others,
            kept_alive=kept_alive,
            threads=thread_count(pid),
            log_kb=size(data.glob("*.log*")) / 1e3,
            ledger_kb=size(data.glob("ledger.sqlite3*")) / 1e3,
            tape_mb=size((data / "tape" / str(session.date)).iterdir()) / 1e6,
            tape_days=len(list((data / "tape").iterdir())),
            snapshots=len(list((data / "snapshots").iterdir())),
            alerts_open=int(gauge(metrics, "desk_alerts_open")),
        )
        self.evenings.append(evening)

    def _so_far(self, name: str) -> int:
        return sum(getattr(evening, name) for evening in self.evenings)

    # --- the verdict ---------------------------------------------------------------------------------------------------

    def table(self) -> str:
        rows = [evening.cells() for evening in self.evenings]
        table = [[head for head, _ in rows[0]], *([figure for _, figure in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        told = ", ".join(f"{name} {count}×" for name, count in sorted(self.injected.items()))
        return "\n".join([*lines, f"injected: {told}"])

    def faults(self) -> list[str]:
        """Everything that is not as it must be."""
        idle = [] if self._so_far("trades") >= len(self.evenings) else ["there were fewer trades than days"]
        return [*self.wrong, *idle, *Play(self.stage, 0).faults(), *self._grown(), *self._errors(), *self._unverified()]

    def _grown(self) -> Iterator[str]:
        """Each evening against the first; what may grow is bounded by a session's share."""
        first = self.evenings[0]
        hands = self.hands - (first.trades > 0)  # that may have been made since
        for number, evening in enumerate(self.evenings):
            bounds = {
                "megabytes of memory": (evening.memory_mb, first.memory_mb + MEMORY_GROWTH_MB),
                "descriptors": (evening.descriptors, first.descriptors),
                "connections kept alive": (evening.kept_alive, KEPT_ALIVE_MAX),
                "threads": (evening.threads, first.threads + hands),
                "kilobytes of log": (evening.log_kb, min((number + 1) * LOG_KB_A_SESSION, 6 * logger.FILE_BYTES / 1e3)),
                "kilobytes of ledger": (evening.ledger_kb, (number + 1) * LEDGER_KB_A_SESSION),
                "megabytes of tape": (evening.tape_mb, TAPE_MEGABYTES),
                "days of tape": (evening.tape_days, TAPE_DAYS),
                "snapshots": (evening.snapshots, KEPT_SNAPSHOTS),
                "alerts open": (evening.alerts_open, ALERTS_OPEN_MAX),
            }
            for what, (value, most) in bounds.items():
                if value > most:
                    yield f"{evening.day}: {value:g} {what}, at most {most:g} were to be there"

    def _errors(self) -> Iterator[str]:
        """What the log calls an error, and no injected fault explains."""
        for line in self.stage.worker.lines:
            said = re.search(r" (ERROR|CRITICAL) |Traceback", line)
            if said and not any(words in line for words in EXPLAINED):
                yield f"unexplained: {line}"
            if DUMMY_KEY in line:
                yield f"the key is in the log: {line}"

    def _unverified(self) -> Iterator[str]:
        command = [sys.executable, "-m", "pnl_tracker", "verify", "--data-dir", str(self.stage.data)]
        done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            yield f"the ledger does not verify: {done.stdout}{done.stderr}"


def missing(session: Session, kept: Remembered) -> Iterator[str]:
    """What a day must have left behind, and has not."""
    for message in ("morning", "summary"):
        if kept.facts.get(message) != str(session.date):
            yield f"no {message} was said"
    if kept.position is not None:
        yield "a position is left open"


def gauge(metrics: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)", metrics, re.MULTILINE)
    assert found is not None, f"{name} is not told"
    return float(found[1])


def size(files: Iterator[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.is_file())
