"""`python main.py --demo`: the real worker on the simulated market, and on the screen what its owner's phone would show.

Rules: the worker is the unmodified program in a process of its own, with nothing of this machine's settings. The exit
code is 0 after a BUY and its SELL, 1 if the market did not get that far, 2 for options that cannot be used.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time as real_time
from contextlib import suppress
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, NamedTuple

import startup

startup.begin((*startup.WORKER, *startup.SIMULATOR), startup.OF_WORKER, startup.OF_SIMULATOR, code=2)

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from simulator.market import Burst, MarketDay
from simulator.push import Message
from simulator.servers import Simulator
from utils import clock_text, dollars, new_york, signed_dollars, to_mills

CLOCK, DATA = "clock", "data"  # in the folder of the run, which is the worker's working directory
HOME = Path(__file__).resolve().parents[1]
DAY, START = date(2026, 11, 20), time(10, 4)
BURST_AFTER_S = 45
RIDES_ON, TURNED_ROUND = 1.25, -0.8  # what follows the burst, in parts of its climb
SPEED, SPEED_OF_BARS = 3.0, 12.0
PATIENCE_S = 120.0  # of market, to the SELL; with real bars to the BUY
PATIENCE_HOLDING_S = 1200.0  # of market, with real bars: then the worker closes its position as it is stopped
READY_WITHIN_S = 30.0
QUOTE_LINE_EVERY_S, QUOTE_LINE_OF_BARS_EVERY_S = 5.0, 30.0  # of market
MARKS = ("📊", "📈", "🚀", "🔥", "⏰", "✓", "no entry: ")
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")


class Held(NamedTuple):
    """The position as the BUY told it; prices in mills."""

    contract: str
    entry: int


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python main.py --demo", description="The worker on a simulated market.")
    options.add_argument("--seed", type=int, default=1, help="another seed is another market (1)")
    options.add_argument("--day", type=date.fromisoformat, default=DAY, help=f"a trading day, YYYY-MM-DD ({DAY})")
    options.add_argument("--speed", type=float, help=f"market seconds a second ({SPEED:g})")
    options.add_argument(
        "--bars", type=Path, help="a csv or csv.gz of real second bars, played as IWM; the day is the file's"
    )
    options.add_argument("--start", type=time.fromisoformat, help=f"New York time of day, HH:MM[:SS] ({START:%H:%M})")
    options.add_argument("--port", type=int, default=0, help="of the worker's page (any free one)")
    options.add_argument("--stay", action="store_true", help="go on after the SELL, page and all, until Ctrl-C")
    return options


def run(argv: list[str]) -> int:
    """Play the demo; its exit code."""
    chosen = parser().parse_args(argv)
    console = Console(highlight=False, width=min(Console().width, 100))
    if chosen.speed is not None and not 0 < chosen.speed <= 30:
        console.print("--speed takes a number above 0, up to 30")
        return 2
    if not 0 <= chosen.port <= 65_535:
        console.print("--port takes a number from 0 to 65535")
        return 2
    folder = Path.cwd() / "demo-data" / datetime.now().strftime("%Y%m%d-%H%M%S")  # noqa: DTZ005 - a name for a person
    try:
        folder.mkdir(parents=True, mode=0o700)
        simulator = _market(chosen, folder)
    except (ValueError, OSError) as error:
        console.print(f"The demo cannot start: {error}")
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):  # to end in order, and the worker with it
        signal.signal(number, signal.default_int_handler)
    with simulator:
        if chosen.bars is not None and chosen.start is None:
            _go_to_a_signal(simulator)
        speed = chosen.speed or (SPEED if chosen.bars is None else SPEED_OF_BARS)
        return Demo(simulator, folder, console, speed, chosen).play()


def _market(chosen: argparse.Namespace, folder: Path) -> Simulator:
    start = chosen.start or START
    bursts = None
    if chosen.bars is None:
        since_open = (start.hour - 9) * 3600 + (start.minute - 30) * 60 + start.second
        if since_open < 600:
            raise ValueError("the market needs ten minutes behind it: --start 09:40 or later")
        bursts = [Burst(since_open + BURST_AFTER_S, follow=TURNED_ROUND if turns_round(chosen.seed) else RIDES_ON)]
    clock = folder / CLOCK
    return Simulator(
        clock, day=chosen.day, seed=chosen.seed, start=start, bars=chosen.bars, bursts=bursts, half_strikes=True, speed=1.0
    )


def turns_round(seed: int) -> bool:
    """Whether the momentum of a seed's market is false: one in five, and the trade loses."""
    return seed % 5 == 2


class Demo:
    """One showing: the worker's process, what it says, what the phone gets, and what its contract is worth meanwhile."""

    def __init__(
        self, simulator: Simulator, folder: Path, console: Console, speed: float, chosen: argparse.Namespace
    ) -> None:
        self.simulator, self.folder, self.console, self.speed = simulator, folder, console, speed
        self.real, self.port, self.stays = chosen.bars is not None, chosen.port, chosen.stay
        self.lines: queue.Queue[str] = queue.Queue()
        self.shown = 0
        self.held: Held | None = None
        self.sold = False
        self.in_time = True
        self.quoted_at = 0.0
        self.quote_line_every_s = QUOTE_LINE_OF_BARS_EVERY_S if self.real else QUOTE_LINE_EVERY_S
        self.worker = self._start_worker()

    def play(self) -> int:
        try:
            self._greet()
            self._wait_until_ready()
            began = self.simulator.clock.now()
            self.simulator.set_clock(speed=self.speed)
            while not self.sold and self.worker.poll() is None and self.in_time:
                self._show()
                real_time.sleep(0.05)
                self.in_time = self._is_in_time(began)
            real_time.sleep(0.5)  # its own confirmation of the SELL
            self._show()
            if self.stays:
                self._stay()
        except KeyboardInterrupt:
            self.console.print("\nStopped by hand.")
        finally:
            code = self._stop_worker()
        self._show()
        return self._farewell(code)

    def _stay(self) -> None:
        """The market goes on at its natural speed, and so does the worker, until somebody stops it."""
        self.simulator.set_clock(speed=1.0)
        self._say("demo", "it stays as it is, page and all: Ctrl-C ends it", "cyan")
        while self.worker.poll() is None:
            self._show()
            real_time.sleep(0.2)

    def _is_in_time(self, began: float) -> bool:
        limit = PATIENCE_HOLDING_S if self.real and self.held else PATIENCE_S
        return self.simulator.clock.now() - began < limit

    # --- the worker ----------------------------------------------------------------------------------------------------

    def _start_worker(self) -> subprocess.Popen[str]:
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        places = self.simulator.environment(self.folder / DATA, CLOCK_FILE=CLOCK, HEALTH_PORT=str(self.port))
        environment |= {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", **places}
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, str(HOME / "main.py")],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.put(line.rstrip())

    def _wait_until_ready(self) -> None:
        """Until the worker is subscribed and has its chain, history and profile; the market goes at its natural speed."""
        wanted = {"chain": "/v3/snapshot/", "seconds": "/1/second/", "minutes": "/1/minute/"}
        deadline = real_time.monotonic() + READY_WITHIN_S
        while real_time.monotonic() < deadline and self.worker.poll() is None:
            self._show()
            asked = [request.path for request in list(self.simulator.rest.requests)]
            answered = all(any(part in path for path in asked) for part in wanted.values())
            if answered and any("A.IWM" in client.topics for client in list(self.simulator.stocks.clients)):
                return
            real_time.sleep(0.05)

    def _stop_worker(self) -> int | None:
        self.simulator.set_clock(speed=1.0)
        if self.worker.poll() is None:
            self.worker.send_signal(signal.SIGTERM)
        try:
            return self.worker.wait(20)
        except subprocess.TimeoutExpired:
            self.worker.kill()
            self.worker.wait(5)
            return None

    # --- the screen ----------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        now = new_york(self.simulator.clock.now())
        what = "real seconds of a file, played as IWM; option quotes are modelled" if self.real else "a simulated market"
        self.console.print()
        self.console.print(Text("IWM-5-VWAP", style="bold"), Text("· the real worker on " + what, style="dim"))
        self.console.print(
            Text(
                f"{now:%A %d %B %Y}, {now:%H:%M:%S} New York · {self.speed:g} × real time · no key, no account", style="dim"
            )
        )
        self.console.print()

    def _show(self) -> None:
        """Everything new: the worker's lines, the phone's messages, the contract's quote."""
        with suppress(queue.Empty):
            while True:
                self._show_line(self.lines.get_nowait())
        for message in self.simulator.push.messages[self.shown :]:
            self.shown += 1
            self._show_message(message)
        now = self.simulator.clock.now()
        if self.held and not self.sold and now - self.quoted_at >= self.quote_line_every_s:
            self.quoted_at = now
            self._show_quote(self.held, now)

    def _show_line(self, line: str) -> None:
        at = min((line.index(mark) for mark in MARKS if mark in line), default=-1)
        if at >= 0 and "Alert sent" not in line:
            self._say("worker", line[at:].partition(" id=")[0], "cyan")
        elif served := re.search(r"page are served url=(\S+)", line):
            self._say("worker", f"its page: {served[1]}", "cyan")
        elif re.search(r"\b(error|critical)\b", line, re.IGNORECASE):
            self._say("worker", line, "red")

    def _show_message(self, message: Message) -> None:
        kind = "SELL" if "SELL" in message.title else "BUY" if "BUY" in message.title else ""
        style = {"BUY": "green", "SELL": "magenta"}.get(kind, "blue")
        body = Text(message.text)
        where = f"phone · {clock_text(message.market_at)} ET · priority {message.priority}"
        panel = Panel(
            body, title=Text(message.title, style="bold"), title_align="left", subtitle=where, subtitle_align="right",
            border_style=style, width=min(self.console.width, 66), padding=(0, 1),
        )  # fmt: skip
        self.console.print(panel)
        if kind == "BUY" and (held := _held(message.text)):
            self.held = held
        if kind == "SELL":
            self.sold = True

    def _show_quote(self, held: Held, now: float) -> None:
        quote = self.simulator.market.quote(held.contract)
        if quote is None:
            return
        bid, ask = to_mills(quote.bid), to_mills(quote.ask)
        mark = (bid + ask) // 2
        change = mark / held.entry - 1
        spot = self.simulator.market.spot(now)
        text = Text(f"IWM {spot:.2f}  {quote.bid:.2f} × {quote.ask:.2f}  mark {mark / 1000:.3f} ")
        text.append(f"{change:+6.1%}", style="green" if change > 0 else "red")
        self._say("market", text, "yellow")

    def _say(self, who: str, what: str | Text, style: str) -> None:
        line = Table.grid(padding=(0, 1))
        line.add_row(Text(clock_text(self.simulator.clock.now()), style="dim"), Text(f"{who:<6}", style=style), what)
        self.console.print(line)

    # --- the end -------------------------------------------------------------------------------------------------------

    def _farewell(self, code: int | None) -> int:
        self.console.print()
        if code != 0:
            words = "had to be killed" if code is None else f"ended with exit code {code}"
            self.console.print(Text(f"The worker {words}; its log says why.", style="red"))
        elif not self.in_time:
            what = "its position was closed as it stopped" if self.held else "the worker had not bought; its log says why"
            self.console.print(f"The showing ended by the clock: {what}. Another --seed is another market.")
        account = self._account()
        trades = account.get("trades", [])
        if trades:
            self.console.print(_table(trades, account["record"]["balance"]))
        where = Table.grid(padding=(0, 2))
        for name, path in (("ledger", "ledger.*"), ("log", "*.log")):
            found = sorted(self.folder.rglob(path))
            where.add_row(Text(name, style="dim"), Text(_near(found[0] if found else self.folder), style="bold"))
        day = self.simulator.market.session.date
        again = f"{_near(Path(sys.executable))} -m replay verify {day} --data-dir {_near(self.folder / DATA)}"
        self.console.print(Group(where))
        self.console.print(Text(f"\nThe same decisions again:\n{again}", style="dim"), soft_wrap=True)
        return 0 if code == 0 and self.sold and trades and (self.in_time or self.real) else 1

    def _account(self) -> dict[str, Any]:
        """Trades and record as the worker's own program reads them from the ledger; nothing if it could not."""
        command = [sys.executable, "-m", "pnl_tracker", "export", "--json", "--data-dir", str(self.folder / DATA)]
        done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
        try:
            account: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            return {}
        return account if account.get("ok") else {}


def _held(text: str) -> Held | None:
    contract, entry = re.search(r"O:IWM\w+", text), re.search(r"Entry ~\$([\d.]+)", text)
    return Held(contract[0], to_mills(entry[1])) if contract and entry else None


def _table(trades: list[dict[str, Any]], lifetime: int) -> Table:
    """The trades, prices and P&L in mills, and what they add up to."""
    table = Table(
        title="The account", title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False
    )
    for name in ("contract", "bought", "sold", "entry", "exit", "reason", "P&L"):
        table.add_column(name)
    for trade in trades:
        prices = ["?" if trade[name] is None else dollars(trade[name]) for name in ("entry", "exit")]
        moments = [clock_text(trade[name]) for name in ("opened_at", "closed_at")]
        table.add_row(trade["contract"], *moments, *prices, trade["reason"], _coloured(trade["pnl"] or 0))
    table.add_row("lifetime", "", "", "", "", "", _coloured(lifetime))
    return table


def _coloured(pnl: int) -> Text:
    return Text(signed_dollars(pnl), style="bold green" if pnl > 0 else "bold red" if pnl < 0 else "bold")


def _near(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


# --- real bars ---------------------------------------------------------------------------------------------------------


def _go_to_a_signal(simulator: Simulator) -> None:
    """Move the market to half a minute before the first second after ten o'clock at which the worker's signal would hold."""
    day = simulator.market.day(simulator.market.session.date)
    at = None if day is None else first_signal(simulator, day, simulator.market.session.at(START))
    if at is not None:
        simulator.set_clock(at=at - 30)


def first_signal(simulator: Simulator, day: MarketDay, after: float) -> int | None:
    """The first second from `after` on at which conditions 1-7 hold, by the worker's own windows; None if there is none."""
    from config import Config
    from signals import PROFILE_SESSIONS, Windows, profile_of

    market = simulator.market
    earlier = market.calendar.full_before(day.session.date, PROFILE_SESSIONS)
    minutes = {}
    for session in earlier:
        bars = market.minutes("IWM", session.date)
        if bars is not None:
            minutes[session.date] = list(zip(bars.start.tolist(), bars.volume.tolist(), strict=True))
    config = Config.from_env(simulator.environment(Path("data")))
    windows = Windows(config, day.session, profile_of(minutes, earlier).minutes)
    for delivery in day.deliveries():
        if delivery.bar.symbol == "SPY":
            windows.leader.add(delivery.bar)
        elif (
            delivery.bar.symbol == "IWM" and windows.add(delivery.bar) == "new" and delivery.at >= after and windows.signal()
        ):
            return delivery.bar.start
    return None
