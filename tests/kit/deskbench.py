"""A desk on the bench: the real one, with a hand on its clock, a disk that always writes and a phone that answers as told.

`Bench().ready()` is a desk at 10:30 with half an hour of history, a profile, a chain and every proof it asks for; `surge()` makes the
next second a signal. `log` holds everything the desk did, in order, in words.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from msgspec.structs import replace

from config import Config
from desk.state import Held
from events import (
    AlertDelivered,
    AlertFailed,
    AnyAction,
    AnyEvent,
    Backfill,
    Bar,
    BarClosed,
    BarsFetched,
    ChainArrived,
    ChainRow,
    CheckPhone,
    ClockChecked,
    Commit,
    CommitFailed,
    Committed,
    Deliver,
    Exit,
    FetchProfile,
    HalfSecondPassed,
    PhoneChecked,
    ProfileArrived,
    Quote,
    QuotesArrived,
    QuoteSeen,
    RefreshQuotes,
    Remembered,
    Watch,
    WorkerStarted,
)
from strategies.registry import build
from strategies.vwap.memory import Memory
from strategies.vwap.windows import Underlying
from utils import SessionCalendar, clock_text

KEYS = {"POLYGON_API_KEY": "k" * 20, "PUSHOVER_TOKEN": "a" * 30, "PUSHOVER_USER_KEY": "u" * 30}
DAY = date(2026, 11, 20)
CONTRACT = "O:IWM261120C00220000"
OTHER = "O:IWM261120C00221000"
VOLUME = 500.0


def row(
    contract: str = CONTRACT, bid: int = 490, ask: int = 500, *, at: float, delta: float = 0.40, **parts: object
) -> ChainRow:
    """An eligible row of today's calls."""
    given = {
        "right": "call",
        "strike": int(contract[-8:]),
        "expiration": DAY.isoformat(),
        "shares": 100,
        "quote": Quote(bid, ask, 35, 40, at),
        "delta": delta,
        "iv": 0.2,
        "volume": 9_000,
        "volume_at": at,
        "open_interest": 4_000,
        **parts,
    }
    return ChainRow(contract=contract, **given)  # type: ignore[arg-type]


class Bench:
    """`phone` answers a Deliver with an event, or None for no answer; `writes` False: the disk refuses; None: it does not answer."""

    def __init__(self, remembered: Remembered | None = None, day: date = DAY, at: str = "10:30:00", **settings: str) -> None:
        self.config = Config.from_env({**KEYS, **settings})
        self.calendar = SessionCalendar(day)
        self.session = self.calendar.on(day)
        hour, minute, second = map(int, at.split(":"))
        moment = self.session or self.calendar.full_before(day, 1)[0]
        self.now = moment.open_at + (hour - 9) * 3600 + (minute - 30) * 60 + second + 0.0
        if self.session is None:
            self.now += (day - moment.date).days * 86_400
        self.desk = build(self.config, self.calendar, remembered or Remembered())
        self.writes: bool | None = True
        self.phone: Callable[[Deliver], AnyEvent | None] = self.accepts
        self.refresh: Callable[[RefreshQuotes], AnyEvent | None] = self.as_in_chain
        self.rows: tuple[ChainRow, ...] = ()
        self.price = 220.0
        self.actions: list[AnyAction] = []
        self.delivered: list[Deliver] = []
        self.log: list[str] = []
        self.exit_code: int | None = None

    # --- the world's answers ---

    def accepts(self, action: Deliver) -> AnyEvent:
        receipt = "r" * 30 if action.priority == 2 else None
        return AlertDelivered(
            at=self.now, alert_id=action.alert_id, attempt=action.attempt, channel=action.channel, receipt=receipt
        )

    def fails(self, outcome: str = "failed") -> Callable[[Deliver], AnyEvent]:
        return lambda action: AlertFailed(
            at=self.now,
            alert_id=action.alert_id,
            attempt=action.attempt,
            outcome=outcome,
            reason="as told",
            channel=action.channel,  # type: ignore[arg-type]
        )

    def as_in_chain(self, action: RefreshQuotes) -> AnyEvent:
        rows = tuple(item for item in self.rows if item.contract in action.contracts)
        return QuotesArrived(at=self.now, ticket=action.ticket, rows=rows)

    # --- what happens ---

    def put(self, *events: AnyEvent) -> list[AnyAction]:
        """Events that wait together; the world answers what the desk asks until it asks no more."""
        queue: list[list[AnyEvent]] = [list(events)]
        done: list[AnyAction] = []
        while queue:
            actions = self.desk.decide(queue.pop(0))
            done += actions
            for action in actions:
                answer = self._answer(action)
                if answer is not None:
                    queue.append([answer])
        self.actions += done
        return done

    def _answer(self, action: AnyAction) -> AnyEvent | None:
        match action:
            case Commit():
                if self.writes is None:
                    return None
                if not self.writes:
                    return CommitFailed(at=self.now, commit=action.commit, reason="the disk is full")
                return Committed(at=self.now, commit=action.commit)
            case Deliver():
                self.delivered.append(action)
                self.log.append(f"{clock_text(self.now)} {action.channel} {action.alert_id} {action.text.splitlines()[0]}")
                return self.phone(action)
            case RefreshQuotes():
                return self.refresh(action)
            case CheckPhone():
                return PhoneChecked(at=self.now, ok=True, reason="keys are valid", quota_left=9_000)
            case FetchProfile():
                return ProfileArrived(
                    at=self.now, symbol=action.symbol, date=action.date, minutes=(VOLUME * 20,) * 390, sessions=("x",) * 10
                )
            case Backfill():
                return None
            case Watch(contracts):
                self.log.append(f"{clock_text(self.now)} Watch {' '.join(contracts)}".rstrip())
            case Exit():
                self.exit_code = action.code
        return None

    def tick(self, seconds: float = 0.5) -> None:
        """Time passes, half a second at a time, and nothing else."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(self.now + 0.5, end)
            self.put(HalfSecondPassed(at=self.now))

    def start(self) -> Bench:
        self.put(WorkerStarted(at=self.now, version="1.0.0", mode="live"))
        self.tick()
        return self

    def ready(self) -> Bench:
        """Started, proven, warm: the next good second is a signal."""
        self.start()
        return self.warm()

    def warm(self) -> Bench:
        """Proven, with half an hour of history and a chain."""
        self.put(ClockChecked(at=self.now, skew_s=0.0, source="the market's time"))
        start, end = int(self.now) - 1800, int(self.now)
        for symbol in ("SPY", "IWM"):
            price = 600.0 if symbol == "SPY" else self.price
            bars = tuple(self._bar(symbol, second, price) for second in range(start, end) if symbol == "SPY" or second % 5)
            self.put(BarsFetched(at=self.now, symbol=symbol, start=start, end=end, bars=bars))
        self.chain(row(at=self.now))
        return self

    def chain(self, *rows: ChainRow) -> None:
        self.rows = rows
        at = self.now
        self.put(ChainArrived(at=at, underlying="IWM", asked_at=at, right="call", expiration=DAY.isoformat(), rows=rows))

    def bar(self, price: float | None = None, volume: float = VOLUME, symbol: str = "IWM") -> None:
        """One second later its bar is there, and SPY's before it."""
        self.price = price if price is not None and symbol == "IWM" else self.price
        second = int(self.now)
        self.tick(1.0)
        self.put(BarClosed(at=self.now, bar=self._bar("SPY", second, 600.0)))
        self.put(BarClosed(at=self.now, bar=self._bar("IWM", second, self.price, volume)))

    def _bar(self, symbol: str, second: int, price: float, volume: float = VOLUME) -> Bar:
        return Bar(symbol, second, price, price, price, price, volume, price)

    def surge(self) -> None:
        """Forty seconds of a rise on growing volume: the last of them is a signal."""
        for step in range(40):
            if step % 10 == 9:
                self.chain(*(replace(item, quote=self.young(item.quote)) for item in self.rows))
            self.bar(self.price + 0.01, VOLUME * (2 + step / 10) if step > 34 else VOLUME)

    def young(self, quote: Quote | None) -> Quote | None:
        return None if quote is None else replace(quote, quoted_at=self.now)

    def quote(self, bid: int | None, ask: int | None, contract: str = CONTRACT, **parts: object) -> None:
        quote = Quote(bid, ask, 30, 30, self.now, **parts)  # type: ignore[arg-type]
        self.put(QuoteSeen(at=self.now, contract=contract, quote=quote, source="rest"))

    def bought(self, **parts: object) -> Bench:
        """Ready, and a position opened and told: at 0.50 × 0.49, so entered at 0.51."""
        self.ready()
        self.chain(row(at=self.now, **parts))  # type: ignore[arg-type]
        self.surge()
        return self

    # --- what came of it ---

    @property
    def memory(self) -> Memory:
        """What the strategy remembers."""
        memory: Memory = self.desk.owners["vwap"].memory
        return memory

    @property
    def iwm(self) -> Underlying:
        """The strategy's windows."""
        iwm: Underlying = self.desk.strategies["vwap"].iwm  # type: ignore[attr-defined]
        return iwm

    def refusal(self) -> str | None:
        """Why the strategy takes no entry now, whatever the bars say."""
        return self.desk.statuses(self.now)[0].refusal

    @property
    def held(self) -> Held:
        """The one position."""
        (held,) = self.desk.state.held.values()
        return held

    @property
    def phase(self) -> str:
        """Where the desk stands, in a word."""
        state = self.desk.state
        if state.ended:
            return "Halted"
        for held in state.held.values():
            return "Holding" if held.settling is None else "Settling"
        return "Flat" if self.memory.seeking is None else "Seeking"

    def said(self, kind: str) -> list[Deliver]:
        return [action for action in self.delivered if action.kind == kind]

    def why_not(self) -> str | None:
        """What the desk last said of an entry it did not take."""
        texts = [getattr(action, "text", "") for action in self.actions]
        return next((text for text in reversed(texts) if text.startswith(("no entry", "signal not"))), None)
