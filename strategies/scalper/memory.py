"""What the scalper remembers from one turn to the next; what must outlive a process is in trades, orders and facts."""

from __future__ import annotations

from msgspec import Struct

from events import ChainRow, Quote
from market.walls import Flow, Walls
from strategies.scalper.conditions import Direction, Reading
from strategies.scalper.discipline import Code
from strategies.scalper.exits import Role
from strategies.scalper.model import Model, Verdict


class Signal(Struct, frozen=True):
    """All six held at a minute: counted and told whether or not it may be traded. `trade_id` once it was executed.

    `contract` is the one that would have been bought then, where there was one; `refusal` why it could not be traded.
    """

    id: str
    symbol: str
    direction: Direction
    at: float
    expires_at: float
    reading: Reading
    confidence: float | None = None
    verdict: Verdict = "not calibrated"
    why: str = ""
    contract: str | None = None
    refusal: str = ""
    trade_id: str = ""


class Chain(Struct, frozen=True):
    """The newest rows of one symbol and right that expire today; none: nothing does."""

    asked_at: float
    received_at: float
    rows: tuple[ChainRow, ...]


class Answer(Struct, frozen=True):
    """What became of a command under its key: accepted with its trade, refused with the code, or still being looked at."""

    at: float
    code: Code | None = None
    says: str = ""
    trade_id: str = ""
    order_ref: str = ""
    signal_id: str = ""
    quantity: int | None = None
    pending: bool = False


class Seeking(Struct, frozen=True):
    """A signal is being executed: fresh quotes were asked for under `ticket`."""

    ticket: int
    since: float
    signal_id: str
    key: str
    who: str
    asked: int | None


class Entry(Struct, frozen=True):
    """An entry on its way: how many attempts left, and the mid that it began with."""

    trade_id: str
    begun_at: float
    attempts: int


class Leaving(Struct, frozen=True):
    """What is remembered of an open trade's exits: `hits` of the stop in a row, and the stop or flatten that is on its way.

    `blind_told` and `rejects_told` are what the phone knows of it; `sold_told` how many sold contracts were said.
    """

    hits: int = 0
    quote: Quote | None = None
    role: Role | None = None
    why: str = ""
    since: float = 0.0
    bought_told: bool = False
    blind_told: bool = False
    rejects_told: tuple[str, ...] = ()
    sold_told: int = 0


class Memory(Struct, frozen=True):
    """`judged` is the start of the newest minute that was judged. `chains` by `QQQ call`, `cooldowns` by `QQQ-L`."""

    judged: int = 0
    killed: bool = False
    readings: dict[str, Reading] = {}
    signals: tuple[Signal, ...] = ()
    cooldowns: dict[str, float] = {}
    chains: dict[str, Chain] = {}
    walls: dict[str, Walls] = {}
    flows: dict[str, Flow] = {}
    model: Model = Model()
    model_on: str = ""
    seeking: Seeking | None = None
    entries: dict[str, Entry] = {}
    leaving: dict[str, Leaving] = {}
    answers: dict[str, Answer] = {}
