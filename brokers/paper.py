"""The paper broker: it fills by written rules from quotes that are trusted, the same in a live worker, a test and a replay.

One contract: 0.2 s after it was placed, each new usable quote fills a buy whose limit is at the ask or above at the ask, a sell whose
limit is at the bid or below (or a market order) at the bid, at most half the size shown and at least one; else it waits. A market sell
into a bid of nothing fills at 0.

Several legs: at natural or worse it fills at once at natural, at mid or better never. In between there is one draw, half way through
its step: its chance grows with how far it concedes from mid to natural, and is drawn from the seed and the ref. Units are at most
the least size shown. Whatever rests is gone with the process; executions live in the ledger, from which a new life begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from brokers.broker import Can
from events import (
    AccountView,
    AnyEvent,
    CancelAnswered,
    Fill,
    FillSeen,
    Holding,
    Leg,
    Mills,
    Mode,
    Order,
    OrderAnswered,
    OrderSeen,
    OrderState,
    OrderView,
    PreviewArrived,
    Quote,
    SnapshotTaken,
)
from pnl_tracker import held
from utils import SHARES

LATENCY_S = 0.2
NUMBER = "PAPER"


class Rules(Struct, frozen=True):
    """How it fills. `chance` is that of a package whose limit is all but natural, `step_s` how long it is expected to rest.

    `equity` is what the account has, in mills.
    """

    chance: float = 0.25
    seed: int = 1
    step_s: float = 10.0
    equity: Mills = 25_000_000


class Resting(Struct, frozen=True):
    order: Order
    placed_at: float
    filled: int = 0
    drawn: bool = False


class Shown(Struct, frozen=True):
    quote: Quote
    at: float


class Paper:
    """One paper account. `fills` are those that the ledger has of open trades: what they left is held."""

    mode: Mode = "paper"
    can = Can(preview=True, combos=True, sells_quotes=False, tells_fills=True)

    def __init__(self, now: Callable[[], float], rules: Rules = Rules(), fills: Iterable[Fill] = ()) -> None:  # noqa: B008
        self.now = now
        self.rules = rules
        self.fills = list(fills)
        self.resting: dict[str, Resting] = {}
        self.views: dict[str, OrderView] = {}
        self.quotes: dict[str, Shown] = {}
        self._news: list[AnyEvent] = []

    def open(self) -> None:
        """It is always there."""

    def close(self) -> None:
        """What rests is gone."""

    # --- orders --------------------------------------------------------------------------------------------------------

    def place(self, order: Order) -> OrderAnswered:
        """Take an order; the same ref again is the same order, and one that closes more than is held is refused."""
        at = self.now()
        if order.ref not in self.views:
            refusal = self._refusal(order)
            if refusal is not None:
                return OrderAnswered(at=at, mode=self.mode, ref=order.ref, answer="rejected", reason=refusal)
            self.resting[order.ref] = Resting(order, at)
            self._see(order, "working", 0)
            self._try(order.ref, fresh=False)
        return OrderAnswered(at=at, mode=self.mode, ref=order.ref, answer="accepted", broker_id=f"paper-{order.ref}")

    def _refusal(self, order: Order) -> str | None:
        in_hand = held(self.fills)
        for leg in order.legs:
            sign = 1 if leg.side == "sell" else -1
            taken = sum(
                (other.order.units - other.filled) * theirs.ratio
                for other in self.resting.values()
                for theirs in other.order.legs
                if theirs.contract == leg.contract and theirs.side == leg.side and not theirs.opens
            )
            if not leg.opens and sign * in_hand.get(leg.contract, 0) - taken < leg.ratio * order.units:
                return f"insufficient quantity of {leg.contract}"
        return "a market order has one leg" if order.limit is None and len(order.legs) > 1 else None

    def cancel(self, ref: str, broker_id: str) -> CancelAnswered:
        resting = self.resting.pop(ref, None)
        if resting is not None:
            self._see(resting.order, "cancelled", resting.filled)
            self._news.append(OrderSeen(at=self.now(), mode=self.mode, ref=ref, order=self.views[ref]))
        return CancelAnswered(at=self.now(), mode=self.mode, ref=ref, heard=resting is not None)

    def find(self, ref: str) -> OrderSeen:
        return OrderSeen(at=self.now(), mode=self.mode, ref=ref, order=self.views.get(ref))

    def preview(self, order: Order) -> PreviewArrived:
        """A package of sold and bought spreads can lose the wider side less what is received; anything else, what is paid."""
        at, limit = self.now(), order.limit or 0
        widths = []
        for right in "CP":
            strikes = [int(leg.contract[-8:]) for leg in order.legs if leg.contract[-9] == right]
            widths.append(max(strikes) - min(strikes) if len(strikes) > 1 else 0)
        margin = max((*widths, 0)) + limit if any(widths) else max(limit, 0)
        return PreviewArrived(at=at, mode=self.mode, ref=order.ref, margin=margin * SHARES * order.units)

    def snapshot(self, since: float) -> SnapshotTaken:
        at = self.now()
        in_hand = held(self.fills)
        positions = tuple(Holding(contract, quantity, quantity) for contract, quantity in sorted(in_hand.items()))
        return SnapshotTaken(
            at=at, mode=self.mode, as_of=at, complete=True, orders=tuple(self.views.values()),
            fills=tuple(fill for fill in self.fills if fill.at >= since), positions=positions,
            account=AccountView(NUMBER, is_paper=True, equity=self.rules.equity, level=3),
        )  # fmt: skip

    # --- fills ---------------------------------------------------------------------------------------------------------

    def show(self, contract: str, quote: Quote, at: float) -> None:
        self.quotes[contract] = Shown(quote, at)
        for ref, resting in tuple(self.resting.items()):
            if any(leg.contract == contract for leg in resting.order.legs):
                self._try(ref, fresh=True)

    def wait(self) -> list[AnyEvent]:
        for ref, resting in tuple(self.resting.items()):
            if len(resting.order.legs) > 1 and not resting.drawn:
                self._try(ref, fresh=False)
        news, self._news = self._news, []
        return news

    def _try(self, ref: str, *, fresh: bool) -> None:
        """Fill what may be filled now. `fresh`: a new quote came."""
        resting = self.resting[ref]
        order = resting.order
        if len(order.legs) == 1:
            if fresh and self.quotes[order.legs[0].contract].at - resting.placed_at >= LATENCY_S - 1e-9:
                self._try_single(resting)
            return
        self._try_package(resting)

    def _try_single(self, resting: Resting) -> None:
        order, leg = resting.order, resting.order.legs[0]
        quote = self.quotes[leg.contract].quote
        if quote.delayed or quote.ask is None or (quote.bid or 0) > quote.ask:
            return
        if leg.side == "buy":
            crosses, price, size = order.limit is None or order.limit >= quote.ask, quote.ask, quote.ask_size
        else:
            bid = quote.bid or 0
            crosses, price, size = order.limit is None or (bid > 0 and -order.limit <= bid), bid, quote.bid_size
        if crosses:
            self._fill(resting, max(1, size // 2), (price,))

    def _try_package(self, resting: Resting) -> None:
        order = resting.order
        sides = [self._sides(leg) for leg in order.legs]
        known = [side for side in sides if side is not None]
        if len(known) < len(sides) or order.limit is None:
            return
        natural = tuple(price for price, _, _ in known)
        net = sum(sign(leg) * price * leg.ratio for leg, price in zip(order.legs, natural, strict=True))
        twice_mid = sum(sign(leg) * mid * leg.ratio for leg, (_, mid, _) in zip(order.legs, known, strict=True))
        size = min(size // leg.ratio for leg, (_, _, size) in zip(order.legs, known, strict=True))
        if size < 1:
            return
        if order.limit >= net:
            self._fill(resting, size, natural)
        elif not resting.drawn and self.now() >= resting.placed_at + self.rules.step_s / 2:
            self.resting[order.ref] = resting = replace(resting, drawn=True)
            if 2 * order.limit > twice_mid:
                share = (2 * order.limit - twice_mid) / (2 * net - twice_mid)
                if uniform(self.rules.seed, order.ref) < self.rules.chance * share:
                    self._fill(resting, size, improved(order.legs, natural, net - order.limit))

    def _sides(self, leg: Leg) -> tuple[Mills, Mills, int] | None:
        """Natural price of a leg, twice its mid, and the size shown; a sold wing without a bid is worth nothing when it closes."""
        shown = self.quotes.get(leg.contract)
        if shown is None or shown.quote.delayed or shown.quote.ask is None:
            return None
        quote, ask = shown.quote, shown.quote.ask
        bid = quote.bid or 0
        if leg.side == "buy":
            return ask, bid + ask, quote.ask_size
        if bid == 0 and leg.opens:
            return None
        return bid, bid + ask, quote.bid_size if bid else 1_000_000

    def _fill(self, resting: Resting, most: int, prices: tuple[Mills, ...]) -> None:
        order, at = resting.order, self.now()
        units = min(most, order.units - resting.filled)
        filled = resting.filled + units
        for number, (leg, price) in enumerate(zip(order.legs, prices, strict=True), start=1):
            root = f"paper:{order.ref}:{filled}:{number}"
            fill = Fill(root, order.ref, leg.contract, leg.side, units * leg.ratio, price, at)
            self.fills.append(fill)
            self._news.append(FillSeen(at=at, mode=self.mode, fill=fill))
        if filled == order.units:
            del self.resting[order.ref]
            self._see(order, "filled", filled)
        else:
            self.resting[order.ref] = replace(resting, filled=filled)
            self._see(order, "working", filled)

    def _see(self, order: Order, state: OrderState, filled: int) -> None:
        self.views[order.ref] = OrderView(
            order.ref, f"paper-{order.ref}", state, order.units, filled, order.legs, order.limit
        )


def sign(leg: Leg) -> int:
    return 1 if leg.side == "buy" else -1


def uniform(seed: int, ref: str) -> float:
    """A number in [0, 1) that is the same in every life and replay."""
    return int.from_bytes(sha256(f"{seed}:{ref}".encode()).digest()[:8], "big") / 2.0**64


def improved(legs: tuple[Leg, ...], natural: tuple[Mills, ...], by: Mills) -> tuple[Mills, ...]:
    """Leg prices whose net is better than natural by so much: bought for less first, then sold for more."""
    prices, left = list(natural), by
    for number, leg in enumerate(legs):
        if leg.side == "buy" and left > 0:
            step = min(left // leg.ratio, prices[number])
            prices[number] -= step
            left -= step * leg.ratio
    for number, leg in enumerate(legs):
        if leg.side == "sell" and left >= leg.ratio:
            step = left // leg.ratio
            prices[number] += step
            left -= step * leg.ratio
    return tuple(prices)
