"""The shell: builds the parts, starts and watches the threads, runs the 0.5 s loop that an event wakes at once, stops in order.

    python main.py            the worker, with the settings of the environment and .env
    python main.py --demo     the same worker against a simulated market, without key or account (--demo --help: its options)
    python main.py --version  its version

It stops in order at SIGTERM, SIGINT, SIGQUIT and SIGHUP; under `nohup` SIGHUP is ignored.

Exit codes: 0 stopped in order; 65 the ledger cannot be read; 70 a part failed that the worker cannot do without; 73 the data
folder cannot be used; 75 another worker holds the data folder; 78 a setting is missing or wrong.
"""

from __future__ import annotations

import signal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
BROKEN = 70
if __name__ == "__main__":  # what asks to stop waits until it can be heard: the imports below take most of a second
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)

import startup

startup.begin(startup.WORKER, startup.OF_WORKER, code=BROKEN)

import faulthandler
import gc
import os
import resource
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType

import alerts
import logger
from brokers.registry import made
from config import Config, ConfigError, load
from dashboard.edge import Heartbeat, Pages
from dashboard.metrics import Work
from dashboard.view import LOOK_S, View, look
from desk import outbox
from desk.desk import FAULTS_MAX, FAULTS_WITHIN_S, Fault
from desk.lives import CRASHES_MAX, crashes_of
from desk.state import DESK
from disk.folder import DataFolder, DiskTrouble, FolderBusy, temporary_place
from disk.tape import Tape
from edges.broker import Courier
from edges.chain import ChainPoller
from edges.edge import STUCK_S, Edge
from edges.inbox import Inbox
from edges.lookups import Errands
from edges.phone import Phone, PhoneLane
from edges.quotes import Quotes
from edges.scribe import Scribe
from edges.stream import OptionsSocket, StocksSocket
from events import (
    Alert,
    AnyAction,
    AnyEvent,
    Backfill,
    CancelOrder,
    CancelReceipt,
    CheckPhone,
    Commit,
    Deliver,
    Exit,
    Explain,
    FetchMinutes,
    FetchProfile,
    FetchSettlement,
    FindOrder,
    HalfSecondPassed,
    Mode,
    Outgoing,
    PlaceOrder,
    PollReceipt,
    PreviewOrder,
    ReadModel,
    RefreshQuotes,
    Remembered,
    ShowQuote,
    StopRequested,
    TakeBack,
    TakeSnapshot,
    ThreadFailed,
    TookLong,
    Watch,
    WorkerStarted,
)
from failpoints import hit
from strategies.registry import build
from utils import VERSION, Clock, Session, SessionCalendar, SharedClock, SystemClock, new_york
from wire.budget import Budget

TICK_S = 0.5
TOO_LONG_S = 0.25
FAULT_SAID_S = 10.0
REPLACEMENTS_MAX = 5
CRASH_PAUSE_MAX_S = 60.0
REPLACEMENTS_WITHIN_S = 300.0

OK, BAD_LEDGER, BAD_FOLDER, BUSY, BAD_SETTINGS = 0, 65, 73, 75, 78
PHONE_RANKS = {"BUY": 0, "BLIND": 1, "CRITICAL": 2, "NEWS": 3, "OPS": 3}


class Worker:
    """One life of the worker. `run` returns the exit code. `lines` gives the last lines of the log."""

    def __init__(self, config: Config, clock: Clock, lines: Callable[[], Sequence[str]] = tuple) -> None:
        self.config = config
        self.clock = clock
        self.log = logger.of("worker")
        self.redact = logger.Redactor(config.secrets())
        self.inbox = Inbox()
        self.calendar = SessionCalendar(new_york(clock.now()).date())
        self.scribe = Scribe(self.inbox.put, config.data_dir, clock)
        self.tape = Tape(config, clock, VERSION) if config.tape else None
        self.makers: dict[str, Callable[[], Edge]] = {}
        self.edges: dict[str, Edge] = {}
        self.replaced: deque[float] = deque()
        self.fault_said_at: dict[str, float] = {}
        self.lost: list[float] = []
        self.asked_to_stop: str | None = None
        self.exit_code: int | None = None
        self.beat_at = time.monotonic()
        self.ended = threading.Event()
        self.lines = lines
        self.work = Work()
        self.view: View | None = None

    # --- a life --------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP, and means it
                signal.signal(number, self._raise_flag)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        hit("main.start")
        remembered = self._open_ledger()
        if remembered is None:
            return BAD_LEDGER
        self.desk = build(self.config, self.calendar, remembered, stopwatch=time.monotonic)
        self._wait_after_crashes(remembered)
        hit("main.ledger-open")
        if self.tape is not None:
            self.tape.begin(self.desk)
        mode = "simulated" if self.config.simulated else "live"
        self.inbox.put(WorkerStarted(at=self.clock.now(), version=VERSION, mode=mode))
        gc.collect()
        gc.freeze()  # what is there by now stays there: to look through all of it again stopped every thread for 40 ms
        self._make_edges()
        self.beat_at = time.monotonic()
        threading.Thread(target=self._watch_main, name="watchdog", daemon=True).start()
        try:
            self._loop()
        finally:
            self._stop_edges()
            self.ended.set()
        return OK if self.exit_code is None else self.exit_code

    def _open_ledger(self) -> Remembered | None:
        """What the last life knew; None, after saying why, when the ledger cannot be read."""
        self.scribe.start()
        self.scribe.opened.wait()
        if self.scribe.remembered is not None:
            return self.scribe.remembered
        self.scribe.join(1.0)
        fault = self.scribe.fault
        self.log.error(f"the ledger cannot be used: {fault}")
        say_at_once(self.config, self.clock, alerts.ledger_damaged(self.config, str(fault), at=self.clock.now()))
        return None

    def _wait_after_crashes(self, remembered: Remembered) -> None:
        """A worker that ends uncleanly again and again begins ever later; never while it holds a position or owes a SELL."""
        crashes, now = crashes_of(remembered.facts), self.clock.now()
        owed = any(row.alert.kind == "SELL" and outbox.is_open(row, now, self.config) for row in remembered.outbox)
        if crashes >= CRASHES_MAX and remembered.position is None and not owed:
            pause = min(CRASH_PAUSE_MAX_S, 2.0 ** (crashes - CRASHES_MAX + 1))
            self.log.warning(f"{crashes} unclean ends in a row: the start waits", seconds=pause)
            until = time.monotonic() + pause
            while self.asked_to_stop is None and time.monotonic() < until:
                self.ended.wait(0.1)

    def _raise_flag(self, number: int, frame: FrameType | None) -> None:
        self.asked_to_stop = signal.Signals(number).name

    def _loop(self) -> None:
        """Take in what waits, decide, hand over; every half second, time itself is an event."""
        tick_at, moved = self.clock.steady(), self.clock.moved()
        stop_said = False
        while self.exit_code is None:
            self.beat_at = time.monotonic()
            hit("main.loop")
            events = self.inbox.take(self.clock.real_seconds(max(tick_at - self.clock.steady(), 0.0)))
            now, steady = self.clock.now(), self.clock.steady()
            moved_s = self.clock.moved() - moved
            if self.asked_to_stop is not None and not stop_said:
                stop_said = True
                events.append(StopRequested(at=now, reason=self.asked_to_stop))
            if steady >= tick_at or moved_s:
                tick_at, moved = max(tick_at + TICK_S, steady + TICK_S / 2), moved + moved_s
                self._watch_edges()
                events.append(HalfSecondPassed(at=now, moved_s=moved_s))
            if events:
                self._decide(events)
            if self.view is None or moved_s or time.monotonic() - self.view.made_at >= LOOK_S:
                self.view = look(self.desk, self.inbox, len(self.replaced), self.clock.now())

    def _decide(self, events: list[AnyEvent]) -> None:
        """A part of the desk that fails loses its own turn: it is written down, and the desk goes on."""
        began, waited_s = time.monotonic(), self.clock.now() - events[0].at
        try:
            hit("desk.before-decide")
            actions = self.desk.decide(events)
            hit("desk.decided")
        except Exception as raised:
            self._lose(events, raised)
            return
        for action in sorted(actions, key=patience):
            self._hand_over(action)
        for fault in self.desk.faults:
            self._tell_fault(fault, events[-1].at)
        for name, seconds in self.desk.took.items():
            if seconds >= TOO_LONG_S and name != DESK:
                self.inbox.put(TookLong(at=self.clock.now(), strategy=name, seconds=seconds))
        if self.tape is not None:
            self.tape.take(self.desk, events, actions)
        hit("desk.handed-over")
        self.work.decided(events, time.monotonic() - began, waited_s, self.desk.took)

    def _lose(self, events: list[AnyEvent], raised: Exception) -> None:
        """A decision that fails as a whole leaves the old state; its events are decided one by one, so that one alone is lost."""
        if len(events) > 1:
            for event in events:
                self._decide([event])
            return
        now = events[-1].at
        self.lost = [*(at for at in self.lost if at > now - FAULTS_WITHIN_S), now]
        over = type(events[-1]).__name__
        self.log.error("the desk could not decide; its old state stands", over=over, exc_info=raised)
        held = self.desk.state.open()
        if held and len(self.lost) >= FAULTS_MAX and self.exit_code is None:
            say_at_once(self.config, self.clock, alerts.cannot_decide(self.config, held[0].position, at=now))
            self.exit_code = BROKEN

    def _tell_fault(self, fault: Fault, now: float) -> None:
        """Three in a minute of whose position is open: have the owner look by hand, and end; a restart may cure it."""
        if time.monotonic() >= self.fault_said_at.get(fault.owner, float("-inf")) + FAULT_SAID_S:
            self.fault_said_at[fault.owner] = time.monotonic()
            event = type(fault.event).__name__
            self.log.error(f"{fault.owner} failed; what it did in that call is dropped", over=event, exc_info=fault.raised)
        state = self.desk.state
        held = state.open()
        alone = fault.owner == DESK or all(position.strategy == fault.owner for position in held)
        if held and alone and len(state.faults[fault.owner]) >= FAULTS_MAX and self.exit_code is None:
            say_at_once(self.config, self.clock, alerts.cannot_decide(self.config, held[0].position, at=now))
            self.exit_code = BROKEN

    def _hand_over(self, action: AnyAction) -> None:
        match action:
            case Commit():
                self.scribe.put(action)
            case Explain():
                getattr(self.log, action.level)(action.text, **action.fields)
            case Deliver(kind="SELL"):
                self.edges["phone sell"].put(action)
            case Deliver():
                self.edges["phone"].put(action, PHONE_RANKS[action.kind])
            case TakeBack():
                for lane in ("phone", "phone sell"):
                    self.edges[lane].put(action)
            case PollReceipt() | CancelReceipt() | CheckPhone():
                self.edges["phone"].put(action, PHONE_RANKS["OPS"])
            case PlaceOrder(order) | PreviewOrder(order):
                self.edges[f"broker {order.mode}"].put(action)
            case CancelOrder(mode=mode) | FindOrder(mode=mode) | TakeSnapshot(mode=mode) | ShowQuote(mode=mode):
                self.edges[f"broker {mode}"].put(action)
            case RefreshQuotes() | Watch():
                self.edges["quotes"].put(action)
                if (options := self.edges.get("options")) is not None:
                    options.put(action)
            case Backfill() | FetchMinutes() | FetchProfile() | FetchSettlement() | ReadModel():
                self.edges["errands"].put(action)
            case Exit(code):
                self.exit_code = code

    # --- the threads ---------------------------------------------------------------------------------------------------

    def _make_edges(self) -> None:
        config, clock, emit, budget = self.config, self.clock, self.inbox.put, Budget()
        wants = (strategy.wants for strategy in self.desk.strategies.values())
        wanted = tuple(
            {(c.underlying, c.right): (c.underlying, c.right, c.every_s) for w in wants for c in w.chains}.values()
        )
        self.makers = {
            "phone sell": lambda: PhoneLane(emit, config, clock, "phone sell", self._holds),
            "phone": lambda: PhoneLane(emit, config, clock, "phone"),
            "errands": lambda: Errands(emit, config, clock, self.calendar, budget),
            "quotes": lambda: Quotes(emit, config, clock, budget),
            "chain": lambda: ChainPoller(emit, config, clock, self._session_at, wanted, budget),
            "stocks": lambda: StocksSocket(emit, config, clock, self._in_hours, self.desk.symbols),
        }
        self.makers["http"] = lambda: Pages(emit, config, clock, self._see, self.work, self.lines, VERSION, self.calendar)
        if config.heartbeat_url is not None:
            self.makers["heartbeat"] = lambda: Heartbeat(emit, config, clock, self._see)
        if config.options_stream != "off":
            self.makers["options"] = lambda: OptionsSocket(emit, config, clock)
        for mode in sorted({mode for s in self.desk.strategies.values() if (mode := s.wants.mode) is not None}):
            self.makers[f"broker {mode}"] = partial(self._courier, mode)
        for name, make in self.makers.items():
            self.edges[name] = make()
            self.edges[name].start()

    def _courier(self, mode: Mode) -> Courier:
        """A courier, and its broker with the executions that the books have: paper positions live nowhere else."""
        kept, dealings = self.desk.remembered, self.desk.state.dealings
        trades = (*kept.broker_trades, *kept.broker_ended, *dealings.trades.values(), *dealings.ended)
        mine = {trade.id for trade in trades if trade.mode == mode}
        booked = [(trade_id, fill) for trade_id, own in dealings.fills.items() for fill in own] or list(kept.fills)
        fills = tuple(fill for trade_id, fill in booked if trade_id in mine)

        def bell() -> None:
            courier.ring()

        broker = made(mode, self.clock.now, fills, self.config.sections, bell)
        courier = Courier(self.inbox.put, self.clock, broker)
        return courier

    def _see(self) -> View | None:
        return self.view

    def _holds(self) -> bool:
        return bool(self.desk.state.open())

    def _session_at(self, at: float) -> Session | None:
        return self.calendar.at(at)

    def _in_hours(self) -> bool:
        now = self.clock.now()
        session = self.calendar.at(now)
        return session is not None and session.open_at <= now < session.close_at

    def _watch_edges(self) -> None:
        """Replace an edge that ended or hangs; a dead or stuck scribe, or one edge that dies again and again, is the end."""
        if not self.scribe.is_alive or self.scribe.is_stuck:
            self._give_up(
                f"the scribe {'hangs' if self.scribe.is_alive else f'ended: {self._described(self.scribe.fault)}'}"
            )
        for name, edge in self.edges.items():
            if edge.is_alive and not edge.is_stuck:
                continue
            reason = "no sign of life" if edge.is_alive else f"it ended: {self._described(edge.fault)}"
            self._replace(name, edge, reason)

    def _replace(self, name: str, edge: Edge, reason: str) -> None:
        now = time.monotonic()
        if not edge.is_spare:
            self.replaced.append(now)
        while self.replaced and self.replaced[0] < now - REPLACEMENTS_WITHIN_S:
            self.replaced.popleft()
        if len(self.replaced) > REPLACEMENTS_MAX:
            self._give_up(f"threads end again and again, {name} last: {reason}")
            return
        edge.stop()
        fresh = self.makers[name]()
        fresh.inherit(edge)
        self.edges[name] = fresh
        fresh.start()
        self.inbox.put(ThreadFailed(at=self.clock.now(), thread=name, reason=reason))

    def _give_up(self, reason: str) -> None:
        """The end of the process, told if it can be: a restart is the better worker. Of a row of crashes only the first are told."""
        if self.exit_code is None:
            self.log.error(f"the worker ends: {reason}")
            self.exit_code = BROKEN
            held = bool(self.desk.state.open())
            if held or crashes_of(self.desk.remembered.facts) < CRASHES_MAX:
                say_at_once(self.config, self.clock, alerts.gave_up(self.config, reason, at=self.clock.now()))

    def _described(self, fault: BaseException | None) -> str:
        """In words that may go to the phone and into the ledger: the exception of a library tells what it was called with."""
        return "without a word" if fault is None else self.redact(f"{type(fault).__name__}: {fault}")

    def _stop_edges(self) -> None:
        hit("main.stopping")
        for edge in self.edges.values():
            edge.stop()
        for edge in self.edges.values():
            edge.join(1.0)
        self.scribe.stop()
        self.scribe.join(5.0)
        if self.tape is not None:
            self.tape.stop()

    def _watch_main(self) -> None:
        """A main loop that hangs is no worker: write down where every thread stands, and end at once."""
        while time.monotonic() - self.beat_at < STUCK_S:
            if self.ended.wait(1.0):
                return
        faulthandler.dump_traceback()
        # from a thread of its own: who hangs may hold the log's lock
        threading.Thread(target=self.log.error, args=("the main loop hangs; the process ends",), daemon=True).start()
        self.ended.wait(0.5)  # the log's own threads write what was said
        os._exit(BROKEN)


def say_at_once(config: Config, clock: Clock, alert: Alert) -> None:
    """One try to tell the phone what cannot go through the outbox, because this life ends here."""
    row = outbox.sending(Outgoing(alert), clock.now())
    Phone(config, clock).deliver(outbox.delivery(row, clock.now(), config))


def patience(action: AnyAction) -> int:
    """What the phone waits for goes ahead, and the log's words last: to format them takes as long as to begin a commit."""
    return 0 if isinstance(action, (Commit, Deliver, TakeBack)) else 2 if isinstance(action, Explain) else 1


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--demo" in arguments:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        from simulator.demo import run

        return run([argument for argument in arguments if argument != "--demo"])
    match arguments:
        case []:
            pass
        case ["-h" | "--help"]:
            print(__doc__)
            return OK
        case ["--version"]:
            print(f"iwm-5-vwap {VERSION}")
            return OK
        case _:
            unknown = next((one for one in arguments if one not in ("-h", "--help", "--version")), arguments[-1])
            print(f"{unknown} is no option of the worker: --demo, --version and --help are", file=sys.stderr)
            return BAD_SETTINGS
    os.umask(0o077)
    try:
        config = load()
    except ConfigError as fault:
        print(
            f"{fault}\n\nNo keys at hand? `python main.py --demo` runs everything against a simulated market.",
            file=sys.stderr,
        )
        return BAD_SETTINGS
    clock: Clock = SharedClock(config.clock_file) if config.clock_file else SystemClock()
    return live(config, clock)


def live(config: Config, clock: Clock) -> int:
    """Take the data folder for this process, and run one life in it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the keys
    os.environ["no_proxy"] = "*"  # apprise would use one: it would see the fallback's credentials, and answer in its stead
    try:
        lock = DataFolder(config.data_dir).lock()
    except FolderBusy as busy:
        print(f"Another worker holds {config.data_dir}: {busy}", file=sys.stderr)
        return BUSY
    except DiskTrouble as trouble:
        print(f"The data folder {config.data_dir} cannot be used: {trouble}", file=sys.stderr)
        return BAD_FOLDER
    with lock:
        log = logger.setup(config, clock)
        for warning in (*config.warnings, *lock.warnings(os.environ), temporary_place(lock.path)):
            if warning:
                logger.of("worker").warning(warning)
        try:
            return Worker(config, clock, log.recent.copy).run()
        except Exception:
            logger.of("worker").exception("the worker ends: a part of it could not be built")
            return BROKEN
        finally:
            log.close()


if __name__ == "__main__":
    sys.exit(main())
