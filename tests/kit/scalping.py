"""The scalper on the bench: a real desk and ledger, the paper broker, a market of two symbols that a test leads.

`ScalperBench().ready()` stands at 10:36 of a flat day with all it needs; `signal()` makes the next minute a long signal; `at` sets the
price of the option. A life may be ended with `begin` at any moment.
"""

from __future__ import annotations

from msgspec.structs import replace

from disk import book
from events import (
    AnyAction,
    AnyEvent,
    Bar,
    BarClosed,
    BrokerTrade,
    ChainArrived,
    ChainRow,
    ClockChecked,
    CommandGiven,
    FeedConnected,
    FetchMinutes,
    HalfSecondPassed,
    MinutesFetched,
    ModelRead,
    PhoneChecked,
    Quote,
    QuotesArrived,
    QuoteSeen,
    ReadModel,
    RefreshQuotes,
    WorkerStarted,
)
from strategies.registry import build
from strategies.scalper.memory import Answer, Memory, Signal
from strategies.scalper.strategy import Scalper
from tests.kit.dealing import OrderBench

QQQ_CALL, QQQ_PUT = "O:QQQ261120C00100000", "O:QQQ261120P00100000"


class ScalperBench(OrderBench):
    """`price` are the symbols' prices, `volume` what QQQ trades in two seconds; `bid`, `ask` the call's and the put's."""

    def __init__(self, **settings: str) -> None:
        given = {"STRATEGIES": "vwap,scalper", "SCALPER_SYMBOLS": "QQQ"}
        given |= {f"SCALPER_{name.upper()}": text for name, text in settings.items()}
        self.price = {"QQQ": 100.0, "SPY": 600.0}
        self.volume = 100.0
        self.bid, self.ask, self.size = 1_000, 1_020, 30
        self.quoted = True
        self.model: str | None = None
        self.spoke_at = 0.0
        super().__init__(**given)

    def begin(self, strategy: object = None) -> None:
        """A new life, from what the ledger has."""
        self.waiting = []
        self.broker = self.make(self)
        self.desk = build(self.config, self.calendar, book.load(self.connection, self.now))
        self.scalper: Scalper = self.desk.strategies["scalper"]  # type: ignore[assignment]
        self.put(WorkerStarted(at=self.now, version="1.0.0", mode="live"))
        self.put(ClockChecked(at=self.now, skew_s=0.0, source="the market's time"))
        self.put(PhoneChecked(at=self.now, ok=True, reason="keys are valid", quota_left=9000))
        self.put(FeedConnected(at=self.now, feed="stocks"))
        self.link(True)

    def answer(self, action: AnyAction) -> list[AnyEvent]:
        match action:
            case FetchMinutes():
                return [MinutesFetched(at=self.now, symbol=action.symbol, start=action.start, bars=self.minutes(action))]
            case ReadModel(strategy, _):
                return [ModelRead(at=self.now, strategy=strategy, text=self.model)]
            case RefreshQuotes(ticket, contracts):
                rows = tuple(row for row in self.rows() if row.contract in contracts and self.quoted)
                return [QuotesArrived(at=self.now, ticket=ticket, rows=rows)]
        return super().answer(action)

    def minutes(self, action: FetchMinutes) -> tuple[Bar, ...]:
        """A flat past: as many minutes of yesterday as are asked for, and today's."""
        close = 100.0 if action.symbol == "QQQ" else 600.0
        before = [self.session.open_at - 86_400 + 60 * step for step in range(390 - action.before, 390)]
        today = range(action.start, action.end - action.end % 60, 60)
        return tuple(
            Bar(action.symbol, start, close, close, close, close, 3_000.0, close)
            for start in (*(before if action.before else ()), *today)
        )

    def rows(self) -> tuple[ChainRow, ...]:
        quote = Quote(self.bid, self.ask, self.size, self.size, self.now)
        call = ChainRow(
            QQQ_CALL, "call", 100_000, "2026-11-20", 100, quote, delta=0.45, iv=0.2, volume=9_000, volume_at=self.now,
            open_interest=4_000,
        )  # fmt: skip
        return call, replace(call, contract=QQQ_PUT, right="put", delta=-0.45)

    # --- what happens ---

    def tick(self, seconds: float = 0.5) -> None:
        """Time passes; every two seconds both symbols trade, and every second what is held is quoted."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(self.now + 0.5, end)
            if self.now >= self.spoke_at + 2.0:
                self.spoke_at = self.now
                self.put(*(BarClosed(at=self.now, bar=self.bar(symbol)) for symbol in self.price))
            if self.now % 30 == 0:
                self.chains()
            self.put(HalfSecondPassed(at=self.now))
            if self.quoted and self.now % 1 == 0:
                self.quotes()
            for event in self.broker.wait():
                self.put(event)

    def bar(self, symbol: str) -> Bar:
        price, volume = self.price[symbol], self.volume if symbol == "QQQ" else 100.0
        return Bar(symbol, int(self.now) - 2, price, price, price, price, volume, price)

    def chains(self) -> None:
        for row in self.rows():
            self.put(
                ChainArrived(
                    at=self.now, underlying="QQQ", asked_at=self.now, right=row.right, expiration="2026-11-20", rows=(row,)
                )
            )

    def quotes(self) -> None:
        """The quote of each contract that is held or wanted."""
        for trade in self.desk.state.dealings.trades.values():
            for leg in trade.legs:
                self.quote(self.bid, self.ask, self.size, leg.contract)

    def quote(self, bid: int | None, ask: int | None, size: int = 30, contract: str = QQQ_CALL) -> None:
        quote = Quote(bid, ask, size, size, self.now)
        self.put(QuoteSeen(at=self.now, contract=contract, quote=quote, source="rest", asked_at=self.now))

    def until(self, clock: str) -> ScalperBench:
        """Time passes until a moment of the session, `11:30:00`."""
        hour, minute, second = map(int, clock.split(":"))
        self.tick(self.session.open_at + (hour - 9) * 3600 + (minute - 30) * 60 + second - self.now)
        return self

    def at(self, bid: int, ask: int) -> ScalperBench:
        """The price of the option from now on."""
        self.bid, self.ask = bid, ask
        return self

    def ready(self) -> ScalperBench:
        return self.until("10:36:00")

    def signal(self, down: bool = False) -> Signal:
        """A minute of a jump on volume: at its closing there is a signal."""
        self.ready()
        self.price["QQQ"], self.volume = (99.5 if down else 100.5), 500.0
        self.until("10:37:03")
        return self.memory.signals[-1]

    def execute(self, quantity: int | None = 2, key: str = "key-0001", mode: str = "paper") -> Answer:
        signal = self.memory.signals[-1]
        self.put(
            CommandGiven(
                at=self.now, strategy="scalper", command="execute", who="test", mode=mode, key=key, signal_id=signal.id,
                quantity=quantity,
            )
        )  # fmt: skip
        return self.memory.answers[key]

    def ask_for(self, command: str, trade_id: str = "") -> None:
        self.put(
            CommandGiven(
                at=self.now,
                strategy="scalper",
                command=command,  # type: ignore[arg-type]
                who="test",
                mode="paper",
                trade_id=trade_id,
            )
        )

    def bought(self, quantity: int = 2) -> ScalperBench:
        """A position bought at 1.02."""
        self.signal()
        answer = self.execute(quantity)
        assert answer.code is None, answer
        self.tick(8)
        assert self.trade.state == "open", self.trade
        return self

    def bought_again(self, number: int) -> ScalperBench:
        """The next trade of the day, after a quarter of an hour at rest."""
        if number > 1:
            self.price["QQQ"], self.volume = 100.0, 100.0
            self.until(f"{10 + (37 + 20 * (number - 1)) // 60}:{(37 + 20 * (number - 1)) % 60}:00")
            self.price["QQQ"], self.volume = 101.0, 900.0
            self.tick(63)
        else:
            self.signal()
        answer = self.execute(2, f"key-000{number}")
        assert answer.code is None, answer
        self.tick(8)
        assert self.trade.state == "open", self.trade
        return self

    # --- what came of it ---

    @property
    def memory(self) -> Memory:
        memory: Memory = self.desk.owners["scalper"].memory
        return memory

    @property
    def trade(self) -> BrokerTrade:
        dealings = self.desk.state.dealings
        mine = [*dealings.ended, *dealings.trades.values()]
        return mine[-1]

    def sales(self) -> list[tuple[str, int, float | None]]:
        """Role, contracts and limit in mills of every exit that was sent."""
        return [
            (order.role, order.units, None if order.limit is None else -order.limit)
            for order in self.placed
            if not order.opens
        ]

    def told(self) -> list[str]:
        """The titles of what the phone was told by the scalper, and of its closed trades."""
        return [each.title for each in self.delivered if "SCALPER" in each.title or "scalper" in each.title]
