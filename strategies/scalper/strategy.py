"""The six-condition scalper as a strategy: minutes in, signals told, one order at a time, the exits of its positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from desk import delivery, orders
from desk.strategy import ChainWanted, Check, MarketEvent, PutRight, Scene, Stalled, Status, Wants
from events import (
    AnyEvent,
    BarClosed,
    BrokerLinked,
    BrokerTrade,
    CancelAnswered,
    ChainArrived,
    CommandGiven,
    FactSet,
    FeedConnected,
    FeedDropped,
    FeedRefused,
    FetchMinutes,
    FillSeen,
    HalfSecondPassed,
    MinutesFailed,
    MinutesFetched,
    ModelRead,
    Noted,
    OrderAnswered,
    OrderSeen,
    Quote,
    QuotesArrived,
    QuoteSeen,
    ReadModel,
    SnapshotTaken,
    StopRequested,
    WorkerStarted,
)
from market.walls import Walls, walls
from risk_manager import is_fresh
from strategies.scalper import discipline, entry, leaving, model, words
from strategies.scalper.conditions import DIRECTIONS, Direction, Reading, Rules, read, rules_of
from strategies.scalper.contract import CHAIN_MAX_AGE_S, RIGHTS, choose
from strategies.scalper.entry import NAME, PREFIX, Own
from strategies.scalper.features import features
from strategies.scalper.memory import Answer, Chain, Leaving, Memory, Signal
from strategies.scalper.windows import Floor
from utils import Session, to_mills

if TYPE_CHECKING:
    from config import Config
    from strategies.scalper.settings import Settings

MODEL_FILE = "scalper-model.json"
KILLED, COOLDOWN = "scalper killed", "scalper signal"
MINUTES_RETRY_S, WARM_RETRY_S, AHEAD_S = 15.0, 60.0, 3600.0
SIGNALS_KEPT = 100


class Scalper:
    """The strategy. What changes in place is its floor of windows; the rest is in its turn's memory."""

    name = NAME

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings: Settings = config.sections[NAME]
        symbols, mode = self.settings.symbols, self.settings.broker
        chains = tuple(
            ChainWanted(symbol, right, self.settings.chain_poll_seconds) for symbol in symbols for right in RIGHTS.values()
        )
        self.wants = Wants((*symbols, self.settings.benchmark), symbols, chains, mode, PREFIX)
        self.memory = Memory()
        self.floor: Floor | None = None
        self.rules: Rules | None = None

    # --- bars ----------------------------------------------------------------------------------------------------------

    def begin(self, session: Session | None) -> None:
        self.floor = None if session is None else Floor(self.settings, session)
        self.rules = None if session is None else rules_of(self.settings, session)

    def take(self, event: MarketEvent) -> None:
        if self.floor is None:
            return
        board = self.floor.board
        match event:
            case BarClosed(bar=bar):
                board.take(bar, event.at)
            case FeedConnected():
                board.live(event.at)
            case FeedDropped() | FeedRefused():
                board.lost()
            case Stalled():
                board.stalled()
            case _:
                return

    def judge(self, turn: Own) -> None:
        self._close_minutes(turn)

    def _close_minutes(self, turn: Own) -> None:
        """A minute closes for all symbols in one turn: read the six of each, and see what is a signal."""
        floor, rules = self.floor, self.rules
        if floor is None or rules is None:
            return
        closed = floor.board.close(turn.at)
        newest = floor.session.open_at + 60 * (closed - 1)
        if not closed or newest <= turn.memory.judged:
            return
        floor.follow()
        all_off = self._blocked(turn)
        benchmark = floor.windows[self.settings.benchmark]
        readings = {
            symbol: read(floor.windows[symbol], benchmark, closed - 1, turn.at, rules, all_off or floor.board.halted(symbol))
            for symbol in self.settings.symbols
        }
        turn.remember(judged=newest, readings=readings)
        for reading in readings.values():
            for direction in DIRECTIONS:
                if reading.holds(direction):
                    self._signal(turn, floor, reading, direction)

    def _blocked(self, turn: Own) -> str:
        """Why no condition of any symbol may hold, whatever the bars say."""
        if turn.state.stalled_since is not None:
            return "data feed stalled"
        if turn.state.feed_refused:
            return "the feed is refused"
        return "the feed is delayed" if turn.state.delayed else ""

    # --- signals -------------------------------------------------------------------------------------------------------

    def _signal(self, turn: Own, floor: Floor, reading: Reading, direction: Direction) -> None:
        """All six hold: counted and told unless one of this symbol and direction was, a moment ago."""
        key = f"{reading.symbol}-{direction[0].upper()}"
        last = turn.memory.cooldowns.get(key)
        if last is not None and turn.at - last < self.settings.signal_cooldown_seconds:
            return
        turn.remember(cooldowns={**turn.memory.cooldowns, key: turn.at})
        turn.write(FactSet(f"{COOLDOWN} {key}", turn.at))
        right = RIGHTS[direction]
        chain = turn.memory.chains.get(f"{reading.symbol} {right}")
        row = None
        if chain is not None and is_fresh(turn.at - chain.received_at, CHAIN_MAX_AGE_S):
            spot = floor.spot(reading.symbol, turn.at)
            row = choose(chain.rows, self.settings, reading.symbol, right, turn.at, floor.session, spot).row
        window, memory = floor.windows[reading.symbol], turn.memory
        asked = features(
            self.settings, window, reading, direction, row, floor.session.close_at,
            memory.walls.get(reading.symbol), memory.flows.get(reading.symbol),
        )  # fmt: skip
        confidence, verdict, why = model.confidence(memory.model, asked)
        made = Signal(
            f"{floor.session.date:%Y%m%d}-{words.clock(reading.start).replace(':', '')}-{key}",
            reading.symbol, direction, turn.at, turn.at + self.settings.signal_life_seconds, reading,
            confidence, verdict, why, None if row is None else row.contract,
        )  # fmt: skip
        refusal = entry.refusal(turn, self.settings, floor, made, self.settings.broker)
        made = replace(made, refusal="" if refusal is None else refusal.says)
        turn.remember(signals=(*turn.memory.signals, made)[-SIGNALS_KEPT:])
        turn.write(Noted(turn.at, "scalper signal", noted(made)))
        turn.log("info", f"⚡ SIGNAL {made.id}", refused=made.refusal or None, confidence=confidence)
        if self.settings.signal_alerts:
            delivery.say(turn, words.signal(self.settings, self.settings.broker, made))

    # --- what it hears -------------------------------------------------------------------------------------------------

    def hear(self, turn: Own, event: AnyEvent | PutRight) -> None:
        match event:
            case HalfSecondPassed():
                self._tick(turn)
            case QuoteSeen():
                self._manage(turn, event)
            case QuotesArrived():
                seeking = turn.memory.seeking
                if seeking is not None and event.ticket == seeking.ticket and self.floor is not None:
                    entry.begin(turn, self.settings, self.floor, event.rows, event.reason)
            case ChainArrived():
                self._take_chain(turn, event)
            case MinutesFetched():
                if self.floor is not None and event.symbol in self.floor.board.minutes:
                    self.floor.board.minutes[event.symbol].fill(event.start, event.bars)
                    turn.log_change(f"minutes of {event.symbol}", "")
            case MinutesFailed():
                topic = f"minutes of {event.symbol}"
                turn.log_change(topic, f"{topic} could not be had: {event.reason}", "warning")
            case ModelRead() if event.strategy == self.name:
                self._take_model(turn, event)
            case CommandGiven() if event.strategy == self.name:
                self._obey(turn, event)
            case WorkerStarted():
                self._start(turn)
            case StopRequested():
                turn.remember(seeking=None)
                self._manage(turn)
            case PutRight():
                cooldowns = {key: min(at, turn.at) for key, at in turn.memory.cooldowns.items()}
                turn.remember(chains={}, signals=(), cooldowns=cooldowns)
            case BrokerLinked() | OrderAnswered() | CancelAnswered() | OrderSeen() | FillSeen() | SnapshotTaken():
                self._manage(turn)
            case _:
                return

    def _start(self, turn: Own) -> None:
        """Take up what the last life left: the kill switch, the cooldowns, and the answers that its trades carry."""
        facts = turn.sheet.facts
        cooldowns = {
            name.removeprefix(f"{COOLDOWN} "): min(float(at), turn.at)
            for name, at in facts.items()
            if name.startswith(f"{COOLDOWN} ") and at is not None
        }
        answers = {}
        for trade in entry.all_trades(turn.state):
            if trade.strategy == self.name and (key := trade.memo.get("key")):
                asked = trade.memo.get("asked")
                answers[str(key)] = Answer(
                    trade.created_at, None, "", trade.id, f"{trade.id}-ENTRY-1", str(trade.memo.get("signal") or ""),
                    None if asked is None else int(asked),
                )  # fmt: skip
        turn.remember(killed=facts.get(KILLED) == "yes", cooldowns=cooldowns, answers=answers)

    def _obey(self, turn: Own, event: CommandGiven) -> None:
        match event.command:
            case "execute" if self.floor is not None:
                entry.execute(turn, self.settings, self.floor, event)
            case "kill" | "resume" if event.mode == self.settings.broker:
                turn.remember(killed=event.command == "kill", seeking=None)
                turn.write(FactSet(KILLED, "yes" if event.command == "kill" else "no"))
                self._manage(turn)
            case "close" if event.mode == self.settings.broker:
                self._close(turn, event.trade_id)
            case _:
                turn.log("warning", f"not done: {event.command}", mode=event.mode)

    def _close(self, turn: Own, trade_id: str) -> None:
        """By hand: all of one position is sold, by the ladder of a flatten."""
        if any(trade.id == trade_id for trade in entry.of_mode(turn.state, self.settings)):
            kept = turn.memory.leaving.get(trade_id) or Leaving(since=turn.at)
            flat = replace(kept, role="FLATTEN", why="by hand")
            turn.remember(leaving={**turn.memory.leaving, trade_id: flat})
            self._manage(turn)

    def _take_model(self, turn: Own, event: ModelRead) -> None:
        text = None if event.text is None else event.text.encode()
        session = turn.state.session
        if session is None:
            return
        made = model.load(text, self.settings, session.date)
        turn.remember(model=made)
        turn.log_change("model", f"confidence: {made.verdict}" + (f", {made.why}" if made.why else ""))

    # --- chains --------------------------------------------------------------------------------------------------------

    def _take_chain(self, turn: Own, event: ChainArrived) -> None:
        """The newest rows; once both rights are there, walls and flow of them."""
        floor, session = self.floor, turn.state.session
        if event.underlying not in self.settings.symbols or floor is None or session is None:
            return
        key = f"{event.underlying} {event.right}"
        known = turn.memory.chains.get(key)
        if event.expiration != session.date.isoformat() or (known is not None and event.asked_at < known.asked_at):
            return
        turn.remember(chains={**turn.memory.chains, key: Chain(event.asked_at, event.at, event.rows)})
        both = [turn.memory.chains.get(f"{event.underlying} {right}") for right in ("call", "put")]
        calls, puts = both
        if calls is None or puts is None or not turn.every(f"walls {event.underlying}", self.settings.walls_seconds):
            return
        rows, as_of = (*calls.rows, *puts.rows), min(calls.received_at, puts.received_at)
        snapshots = floor.snapshots[event.underlying]
        snapshots.take(turn.at, rows)
        flow = snapshots.flow(to_mills(self.settings.flow_premium), float(self.settings.flow_ratio))
        last, spot = floor.last_session(event.underlying), floor.spot(event.underlying, turn.at)
        if last is None:
            made = Walls(False, reason="the session before is not known yet")
        else:
            made = walls(rows, at=turn.at, as_of=as_of, spot=spot, close_at=session.close_at, last_session=last)
        turn.remember(
            walls={**turn.memory.walls, event.underlying: made}, flows={**turn.memory.flows, event.underlying: flow}
        )

    # --- time ----------------------------------------------------------------------------------------------------------

    def _tick(self, turn: Own) -> None:
        floor, session = self.floor, turn.state.session
        if floor is None or session is None:
            return
        self._close_minutes(turn)
        if session.open_at - AHEAD_S <= turn.at < session.close_at:
            self._ask(turn, floor, session)
        entry.overdue(turn, self.settings, floor)
        self._manage(turn)
        self._say_stopped(turn, floor)

    def _ask(self, turn: Own, floor: Floor, session: Session) -> None:
        """What is missing of minutes, the earlier sessions' first; and the model, once before each session."""
        day = session.date.isoformat()
        if turn.memory.model_on != day:
            turn.remember(model_on=day)
            turn.do(ReadModel(self.name, MODEL_FILE))
        for symbol, minutes in floor.board.minutes.items():
            if not minutes.before and turn.every(f"warm {symbol}", WARM_RETRY_S):
                end = max(session.open_at, int(turn.at))
                turn.do(FetchMinutes(symbol, session.open_at, end, self.settings.warm_bars))
        for symbol, (start, end) in floor.board.wanted(turn.at).items():
            if floor.board.minutes[symbol].before and turn.every(f"hole {symbol}", MINUTES_RETRY_S):
                turn.do(FetchMinutes(symbol, start, end))

    def _manage(self, turn: Own, seen: QuoteSeen | None = None) -> None:
        """What each trade of this mode asks for now: the next attempt of its entry, or its exits."""
        if self.floor is None:
            return
        for trade in entry.of_mode(turn.state, self.settings):
            if not trade.entered:
                entry.pursue(turn, self.settings, self.floor, trade)
            now = turn.state.dealings.trades.get(trade.id)
            if now is not None and now.entered:
                leaving.manage(turn, self.settings, self.floor, now, quote_for(now, seen))
        gone = [key for key in turn.memory.leaving if key not in turn.state.dealings.trades]
        if gone:
            turn.remember(leaving={key: kept for key, kept in turn.memory.leaving.items() if key not in gone})

    def _say_stopped(self, turn: Own, floor: Floor) -> None:
        """The day's own end of entries is told once."""
        why = self.day(turn, floor).why
        day = f"{floor.session.date:%Y%m%d}"
        if why and turn.at < floor.session.close_at and turn.every(f"stopped {day}", 86_400.0):
            delivery.say(turn, words.stopped(self.settings.broker, day, why, at=turn.at))

    def day(self, turn: Own, floor: Floor) -> discipline.Day:
        """Today's trades in this mode, as discipline counts them."""
        today = discipline.of_today(entry.all_trades(turn.state), floor.session, self.settings.broker, self.name)
        return discipline.day_of(self.settings, today)

    # --- what it says of itself ----------------------------------------------------------------------------------------

    def out_by(self, session: Session) -> float | None:
        return None

    def scene(self, at: float) -> Scene:
        return Scene()

    def status(self, turn: Own) -> Status:
        return Status(self.name, refusal=self.refusal(turn), checks=tuple(self._checks(turn)))

    def refusal(self, turn: Own) -> str | None:
        """Why no signal is executed now, whatever the bars say; None where one would be."""
        floor, state = self.floor, turn.state
        if floor is None:
            return "no session"
        if turn.memory.killed:
            return "the kill switch is on, until it is resumed"
        if turn.at >= entry.last_entry(self.settings, floor.session):
            return "no entry is begun so late"
        why = self.day(turn, floor).why or self._blocked(turn)
        return why or orders.entry_refusal(state, self.settings.broker, self.name, at=turn.at)

    def _checks(self, turn: Own) -> list[Check]:
        """What an entry will need today: a chain of each symbol, and its earlier minutes."""
        checks = []
        for symbol in self.settings.symbols:
            chain = turn.memory.chains.get(f"{symbol} call")
            fault = "none could be had yet" if chain is None else None if chain.rows else "no 0DTE today"
            checks.append(Check(f"{symbol} chain", fault, "" if chain is None else f"{len(chain.rows)} calls expire today"))
            before = () if self.floor is None else self.floor.board.minutes[symbol].before
            lacks = None if len(before) >= self.settings.warm_bars else f"{len(before)} of {self.settings.warm_bars} bars"
            checks.append(Check(f"{symbol} minutes", lacks))
        return checks


def quote_for(trade: BrokerTrade, seen: QuoteSeen | None) -> Quote | None:
    """The quote that came, if it is of this trade's contract."""
    return seen.quote if seen is not None and seen.contract == trade.legs[0].contract else None


def noted(made: Signal) -> dict[str, float | str | None]:
    """A signal as the journal keeps it."""
    reading = made.reading
    return {
        "strategy": NAME,
        "id": made.id,
        "direction": made.direction,
        "price": reading.price,
        "ema_fast": reading.ema_fast,
        "ema_slow": reading.ema_slow,
        "rsi": reading.rsi,
        "vwap": reading.vwap,
        "volume_ratio": reading.volume_ratio,
        "relative_strength": reading.relative_strength,
        "confidence": made.confidence,
        "contract": made.contract,
        "refused": made.refusal or None,
    }
