"""What is asked of a broker and what it tells: legs, orders, fills, accounts.

Prices are net and whole mills a share: + is paid, - is received, whichever way the legs go; to concede is always one tick up.
A status is a hint: an order's end is proven when its broker says so and its fills were read again after that.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from events.market import Mills

Mode = Literal["paper", "alpaca-paper", "alpaca-live", "ibkr-paper", "ibkr-live"]
Side = Literal["buy", "sell"]
OrderState = Literal[
    "planned", "sent", "working", "cancelling", "unknown",
    "filled", "cancelled", "rejected", "expired", "not_placed",
]  # fmt: skip
TradeState = Literal["entering", "open", "closing", "settling", "closed", "unresolved"]
FindingKind = Literal[
    "incomplete", "fill missed", "order gone", "orphan", "extra", "shortfall", "imbalance", "expired", "drift",
    "unresolved", "account",
]  # fmt: skip
Memo = dict[str, float | str | None]

ENDS: tuple[OrderState, ...] = ("filled", "cancelled", "rejected", "expired", "not_placed")


class Leg(Struct, frozen=True):
    """One contract of an order, `ratio` of it in each unit. `opens`: it adds to a position, else it closes one."""

    contract: str
    side: Side
    opens: bool
    ratio: int = 1


class Order(Struct, frozen=True):
    """What is asked of a broker, once: it is never changed there, but cancelled and followed by the next `seq`.

    `ref` is the idempotency key, `SC-20261120-1-ENTRY-1`: trade, role, seq. `limit` None is a market order; `worst` is what no later
    order of this entry may exceed. `filled` counts units. `broker_id` is the broker's own name for it, once that is known.
    `ended_at` is when its end was first said, `proven` that its fills were read again after that.
    """

    ref: str
    strategy: str
    trade_id: str
    mode: Mode
    role: str
    seq: int
    legs: tuple[Leg, ...]
    units: int
    limit: Mills | None
    created_at: float
    good_until: float
    worst: Mills | None = None
    state: OrderState = "planned"
    filled: int = 0
    reason: str = ""
    broker_id: str = ""
    sent_at: float | None = None
    ended_at: float | None = None
    proven: bool = False
    memo: Memo = {}

    @property
    def opens(self) -> bool:
        """Whether it adds to a position: an entry, which waits for its record and for every finding; an exit does not."""
        return any(leg.opens for leg in self.legs)

    @property
    def has_ended(self) -> bool:
        return self.state in ENDS

    @property
    def in_flight(self) -> bool:
        """Whether it may still be filled, as far as anybody can prove: until then its trade sends no other."""
        return not (self.has_ended and self.proven)


class Fill(Struct, frozen=True):
    """One execution of one contract. Of the same `root` only the highest `revision` counts: a correction replaces.

    `price` is a share's, never negative; `fee` is what the broker took for it, None while that is not known.
    """

    root: str
    ref: str
    contract: str
    side: Side
    quantity: int
    price: Mills
    at: float
    revision: int = 0
    fee: Mills | None = None


class OrderView(Struct, frozen=True):
    """An order as its broker tells it. `ref` is empty, or not of our form, where it is not ours."""

    ref: str
    broker_id: str
    state: OrderState
    units: int
    filled: int
    legs: tuple[Leg, ...] = ()
    limit: Mills | None = None
    reason: str = ""


class Holding(Struct, frozen=True):
    """What a broker says is held of one contract: negative is short. `available` is what no working order keeps."""

    contract: str
    quantity: int
    available: int


class AccountView(Struct, frozen=True):
    """An account as its broker tells it. `blocks` are its reasons to take no order; money is mills, None where it is not told."""

    number: str
    is_paper: bool
    equity: Mills | None = None
    buying_power: Mills | None = None
    level: int | None = None
    blocks: tuple[str, ...] = ()


class BrokerTrade(Struct, frozen=True):
    """A trade made of orders, from its first intent to its last fill.

    `units` is what was wanted; what is held follows from the fills. `out_by` is when the desk closes it without its strategy.
    `fee` is what a contract costs each way, in mills, for the fills of which no broker has told it. `cash_settled`: what is held at
    expiry becomes cash, where another becomes shares. `entered`: no more entries follow. `memo` is its strategy's own, kept with it.
    `pnl` is mills for all units, fees off; None until it is closed, and unresolved after.
    """

    id: str
    strategy: str
    mode: Mode
    underlying: str
    expiration: str
    legs: tuple[Leg, ...]
    units: int
    created_at: float
    session_close_at: float
    state: TradeState = "entering"
    out_by: float | None = None
    opened_at: float | None = None
    closed_at: float | None = None
    reason: str = ""
    detail: str = ""
    fee: Mills = 0
    cash_settled: bool = False
    entered: bool = False
    fees: Mills = 0
    pnl: Mills | None = None
    provisional: bool = False
    memo: Memo = {}

    @property
    def record(self) -> tuple[str, str]:
        """Whose record it belongs to: a record is of one strategy and mode, never of two."""
        return self.strategy, self.mode


class Finding(Struct, frozen=True):
    """Where books and broker differ, or what keeps them from being compared. `text` is the exact difference, in words.

    `subject` is the contract, order or trade that it is about; `trade_id` the trade that it concerns, where it concerns one.
    """

    kind: FindingKind
    mode: Mode
    subject: str
    text: str
    trade_id: str = ""
    ours: int = 0
    theirs: int = 0
    since: float = 0.0


class BrokerAccount(Struct, frozen=True):
    """One broker's account as the desk knows it: the link, the last complete snapshot, and where it differs from the books.

    `link_since` is when the link came up, None while it is down. `missed` and `short` hold since which complete snapshot an order
    was lacking, or a contract was held less than our fills say: one snapshot proves nothing.
    """

    mode: Mode
    link_since: float | None = None
    reason: str = "not linked yet"
    view: AccountView | None = None
    complete_at: float | None = None
    asked_at: float | None = None
    holdings: dict[str, Holding] = {}
    findings: tuple[Finding, ...] = ()
    missed: dict[str, float] = {}
    short: dict[str, float] = {}
