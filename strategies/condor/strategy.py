"""The iron condor: it scans today's chain, chases an entry, and hands what is filled to its exits. The desk keeps the books.

Rules: one condor at a time. Every order rests for one step; the desk cancels it and proves its end, and only then is the next planned.
A new life has no memory: an entry that was on its way is dropped, a position is taken up from the desk's trade.
"""

from __future__ import annotations

from msgspec.structs import replace

from contract_selector import with_greeks
from desk import delivery, orders, trades
from desk.state import State, Turn
from desk.strategy import MarketEvent, PutRight, Scene, Status, Wants
from events import (
    AnyEvent,
    BrokerTrade,
    ChainArrived,
    ChainRow,
    HalfSecondPassed,
    IndexSeen,
    Order,
    OrderAnswered,
    PreviewArrived,
    PreviewOrder,
    QuoteSeen,
    StopRequested,
)
from risk_manager import way_out_refusal
from strategies.condor import chase, closing, discipline, words
from strategies.condor.chase import Chase, Over
from strategies.condor.discipline import Desk
from strategies.condor.held import Eyes, condor_of, manage, once
from strategies.condor.legs import Four, Index, Level, expiry_fault, with_level
from strategies.condor.margin import Checked, Preview, checked
from strategies.condor.memory import Hunt, Memory
from strategies.condor.settings import Settings
from strategies.condor.strikes import Market, Verdict, conditions, quoted
from utils import Session, new_york, to_mills

PREFIX = "IC"
PREVIEW_S = 5.0


class IronCondor:
    """One desk's condor. Its chain and indices are as last told; what it decides by is in its memory and in the desk's state."""

    name = "condor"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.mode = settings.condor_broker
        self.wants = Wants((), (settings.condor_product,), mode=self.mode, prefix=PREFIX)
        self.memory = Memory()
        self._rows: dict[str, ChainRow] = {}
        self._vix: Level | None = None
        self._index = Index()
        self._session: Session | None = None
        self._verdict: Verdict | None = None
        self._stopping = False

    def begin(self, session: Session | None) -> None:
        self._session, self._rows, self._vix, self._index, self._verdict = session, {}, None, Index(), None

    def take(self, event: MarketEvent) -> None:
        """It has no windows."""

    def judge(self, turn: Turn[Memory]) -> None:
        """No bar decides."""

    def out_by(self, session: Session) -> float | None:
        """What is held may be left to settle."""
        return None

    def scene(self, at: float) -> Scene:
        return Scene(None if self._index.level is None else self._index.level.value)

    def status(self, turn: Turn[Memory]) -> Status:
        verdict = self._verdict
        if verdict is None:
            return Status(self.name, "not scanned yet")
        return Status(self.name, verdict.refusal, verdict.gates)

    # --- what is heard -------------------------------------------------------------------------------------------------

    def hear(self, turn: Turn[Memory], event: AnyEvent | PutRight) -> None:
        match event:
            case ChainArrived() if event.underlying == self.settings.condor_product:
                kept = {name: row for name, row in self._rows.items() if row.right != event.right}
                self._rows = {**kept, **{row.contract: row for row in event.rows}}
            case QuoteSeen() if event.contract in self._rows:
                self._rows[event.contract] = replace(self._rows[event.contract], quote=event.quote)
            case IndexSeen(symbol="VIX"):
                self._vix = Level(event.value, event.told_at, event.live)
            case IndexSeen() if event.symbol == self.settings.condor_product:
                self._index = with_level(self._index, Level(event.value, event.told_at, event.live))
            case PreviewArrived():
                self._previewed(turn, event)
            case OrderAnswered():
                self._answered(turn, event)
            case StopRequested():
                self._stopping = True
            case HalfSecondPassed():
                self._act(turn)

    def _answered(self, turn: Turn[Memory], event: OrderAnswered) -> None:
        order = turn.state.dealings.orders.get(event.ref)
        if order is None or not order.opens:
            return
        if event.reason.startswith("110 "):
            turn.remember(tick_refused=True)

    def _act(self, turn: Turn[Memory]) -> None:
        if self._session is None:
            return
        trade = next((one for one in turn.state.dealings.trades.values() if one.strategy == self.name), None)
        hunt = turn.memory.hunt
        if trade is None:
            if hunt is not None and hunt.trade_id:
                turn.remember(hunt=None)
            if turn.memory.watch is not None or turn.memory.leaving is not None:
                turn.remember(watch=None, leaving=None, uneven_at=None, blind_since=None)
            if turn.memory.asked is not None:
                self._waited_for_margin(turn)
            elif turn.every("scan", self.settings.condor_scan_seconds):
                self._scan(turn)
        elif not trade.entered:
            self._chase(turn, trade)
        elif trade.state not in ("settling", "unresolved"):
            self._tell_open(turn, trade)
            manage(self.settings, turn, turn.state.dealings.trades[trade.id], self._eyes(turn), stopping=self._stopping)

    def _eyes(self, turn: Turn[Memory]) -> Eyes:
        assert self._session is not None
        return Eyes(self._rows, self._index, self._session)

    # --- may we enter? -------------------------------------------------------------------------------------------------

    def _market(self, turn: Turn[Memory]) -> Market:
        assert self._session is not None
        spot = None if self._index.level is None else self._index.level.value
        rows = with_greeks(list(self._rows.values()), turn.at, self._session, spot)
        return Market(
            turn.at,
            self._session,
            {row.contract: row for row in rows},
            self._index,
            self._vix,
            self._held_besides(turn.state),
        )

    def _held_besides(self, state: State) -> frozenset[str]:
        """Contracts in which the account holds anything: while no condor is open, none of it is ours."""
        account = state.dealings.accounts.get(self.mode)
        if account is None:
            return frozenset()
        ours = {leg.contract for trade in state.dealings.trades.values() for leg in trade.legs}
        return frozenset(name for name, one in account.holdings.items() if one.quantity and name not in ours)

    def _verdict_now(
        self, turn: Turn[Memory], trade_id: str = "", four: Four | None = None, found: Checked | None = None
    ) -> Verdict:
        self._verdict = conditions(
            self.settings, self._market(turn), desk=self._desk_refusal(turn, trade_id),
            way_out=way_out_refusal(turn.state.way_out), chased=four, checked=found,
        )  # fmt: skip
        return self._verdict

    def _desk_refusal(self, turn: Turn[Memory], own: str) -> str | None:
        state, memory = turn.state, turn.memory
        mine = [trade for trade in state.dealings.ended if trade.record == (self.name, self.mode) and trade.opened_at]
        today = [trade for trade in mine if new_york(trade.opened_at or 0.0).date() == state.day]
        others = [trade.id for trade in state.dealings.trades.values() if trade.strategy == self.name and trade.id != own]
        desk = Desk(
            account=orders.entry_refusal(state, self.mode, self.name, at=turn.at),
            open_trade=others[0] if others else "",
            unproven=sum(order.strategy == self.name for order in orders.in_flight(state)),
            stopping=self._stopping,
            opened_today=len(today),
            last_exit_at=max((trade.closed_at or 0.0 for trade in mine), default=None),
            chase_allowed_at=max(memory.chase_allowed_at, self._after_failed_chases(state)),
            pnl_today=sum(trade.pnl or 0 for trade in today),
            rejected=self._rejected(state),
            tick_refused=memory.tick_refused,
            expiry=self._expiry_fault(),
        )
        return discipline.refusal(self.settings, desk, turn.at)

    def _after_failed_chases(self, state: State) -> float:
        """When the next chase may begin after those in a row that brought nothing, whichever life they were in."""
        failed, last_at = 0, 0.0
        for trade in state.dealings.ended:
            if trade.record == (self.name, self.mode):
                failed = failed + 1 if trade.opened_at is None else 0
                last_at = trade.closed_at or trade.created_at
        return last_at + chase.cooldown(self.settings, failed) if failed else 0.0

    def _rejected(self, state: State) -> int:
        """Entries that the broker rejected today."""
        mine = (order for order in state.dealings.orders.values() if order.strategy == self.name and order.opens)
        return sum(order.state == "rejected" and new_york(order.created_at).date() == state.day for order in mine)

    def _expiry_fault(self) -> str | None:
        """Whether the chain, once it is there, has nothing that expires today."""
        listed = {row.expiration for row in self._rows.values()}
        return expiry_fault(listed, self._session, self.settings.condor_product) if listed else None

    def _scan(self, turn: Turn[Memory]) -> None:
        """The ten conditions; the first that is false is said when it changes."""
        assert self._session is not None
        if not self._session.open_at <= turn.at < self._session.close_at:
            return
        verdict = self._verdict_now(turn)
        turn.log_change("scan", verdict.refusal or "all conditions hold")
        if lasting := self._expiry_fault() or discipline.lasting(
            self.settings, self._rejected(turn.state), turn.memory.tick_refused
        ):
            once(turn, words.blocked(self.mode, lasting, at=turn.at))
        if verdict.refusal is not None or verdict.choice is None:
            return
        hunt = Hunt(verdict.choice.four, Chase(turn.at, self.settings.condor_units))
        if self.mode == "paper":
            self._begin(turn, replace(hunt, checked=checked(self.settings, None)))
            return
        credit = chase.next_credit(self.settings, None, verdict.choice.package)
        order = self._order(
            turn, f"{PREFIX}-{turn.state.day:%Y%m%d}-0", "ENTRY-1", 1, hunt, credit, self.settings.condor_units
        )
        turn.remember(hunt=hunt, asked=order)
        turn.do(PreviewOrder(order))

    def _previewed(self, turn: Turn[Memory], event: PreviewArrived) -> None:
        memory = turn.memory
        if memory.asked is None or memory.hunt is None or event.ref != memory.asked.ref:
            return
        change = None if event.margin is None else event.margin / 1000
        self._with_margin(turn, memory.hunt, Preview(change, event.reason if event.refused else ""))

    def _waited_for_margin(self, turn: Turn[Memory]) -> None:
        memory = turn.memory
        if memory.asked is not None and memory.hunt is not None and turn.at - memory.asked.created_at >= PREVIEW_S:
            self._with_margin(turn, memory.hunt, Preview())

    def _with_margin(self, turn: Turn[Memory], hunt: Hunt, preview: Preview) -> None:
        """Go on with the margin that was found, or not: a refusal takes no number, and waits as a failed chase does."""
        found = checked(self.settings, preview)
        turn.remember(hunt=None, asked=None)
        if found.refusal is not None:
            turn.log("warning", f"no entry: {found.refusal}")
            turn.remember(chase_allowed_at=turn.at + self.settings.condor_chase_cooldown_seconds)
            return
        self._begin(turn, replace(hunt, checked=found, chase=replace(hunt.chase, began_at=turn.at)))

    # --- the chase -----------------------------------------------------------------------------------------------------

    def _begin(self, turn: Turn[Memory], hunt: Hunt) -> None:
        """The first order, and the trade's row with it; nothing of either where a condition has gone meanwhile."""
        assert self._session is not None
        verdict = self._verdict_now(turn, four=hunt.four, found=hunt.checked)
        going, after = chase.step(self.settings, hunt.chase, verdict, self._session, turn.at)
        if isinstance(after, Over) or verdict.choice is None:
            turn.log("info", "no entry: " + (after.why if isinstance(after, Over) else "no four usable legs"))
            return
        trade_id = orders.next_trade_id(turn, PREFIX)
        found = hunt.checked
        put, call = (float(delta) for delta in verdict.choice.deltas)
        trade = BrokerTrade(
            trade_id, self.name, self.mode, self.settings.condor_product, self._session.date.isoformat(),
            closing.opening(hunt.four), self.settings.condor_units, turn.at, self._session.close_at,
            fee=to_mills(self.settings.condor_fee_per_contract), cash_settled=True,
            memo={
                "delta_put": -put, "delta_call": call, "vix": self._vix.value if self._vix else None,
                "margin": found.amount / 1000 if found else None, "margin_source": found.source if found else None,
                "note": found.note if found else "", "quotes": self._quotes(turn, hunt.four),
            },
        )  # fmt: skip
        orders.begin(turn, trade)
        hunt = replace(hunt, chase=going, trade_id=trade_id)
        turn.remember(hunt=hunt)
        self._send(turn, trade, hunt, after.credit, after.units)

    def _quotes(self, turn: Turn[Memory], four: Four) -> str:
        """The four quotes that the entry rests on, lowest strike first, as they are kept with it."""
        sides = quoted(four, self._market(turn)).values()
        return " ".join("×".join("-" if side is None else f"{side / 1000:.2f}" for side in pair) for pair in sides)

    def _send(self, turn: Turn[Memory], trade: BrokerTrade, hunt: Hunt, credit: int, units: int) -> None:
        ref, seq = orders.next_ref(turn.state, trade.id, "ENTRY")
        order = self._order(turn, trade.id, ref.removeprefix(f"{trade.id}-"), seq, hunt, credit, units)
        if why := orders.place(turn, order):
            self._end_chase(turn, trade, hunt, Over(why, hunt.chase.filled))

    def _order(self, turn: Turn[Memory], trade_id: str, role: str, seq: int, hunt: Hunt, credit: int, units: int) -> Order:
        return Order(
            ref=f"{trade_id}-{role}", strategy=self.name, trade_id=trade_id, mode=self.mode, role="ENTRY", seq=seq,
            legs=closing.opening(hunt.four), units=units, limit=-credit, created_at=turn.at,
            good_until=turn.at + self.settings.condor_step_seconds, worst=-to_mills(self.settings.condor_min_credit),
        )  # fmt: skip

    def _chase(self, turn: Turn[Memory], trade: BrokerTrade) -> None:
        """The next price, once the last order's end is proven. Without a memory of it the entry is dropped."""
        hunt = turn.memory.hunt
        if orders.in_flight(turn.state, trade.id):
            return
        if hunt is None or hunt.trade_id != trade.id or self._session is None:
            trades.enter_no_more(turn, trade.id, "dropped at the start of a new life")
            return
        filled = trade.units - orders.units_wanted(turn.state, trade)
        hunt = replace(hunt, chase=replace(hunt.chase, filled=filled))
        verdict = self._verdict_now(turn, trade.id, hunt.four, hunt.checked)
        going, after = chase.step(self.settings, hunt.chase, verdict, self._session, turn.at)
        hunt = replace(hunt, chase=going)
        turn.remember(hunt=hunt)
        if isinstance(after, Over):
            self._end_chase(turn, trade, hunt, after)
        else:
            self._send(turn, trade, hunt, after.credit, after.units)

    def _end_chase(self, turn: Turn[Memory], trade: BrokerTrade, hunt: Hunt, over: Over) -> None:
        """What filled is the position; where nothing did, it is said once, and the next has to wait."""
        turn.remember(hunt=None, watch=None, leaving=None)
        trades.enter_no_more(turn, trade.id, over.why)
        if not over.filled:
            delivery.say(turn, words.chase_failed(self.mode, trade.id, hunt.chase, over, at=turn.at))

    def _tell_open(self, turn: Turn[Memory], trade: BrokerTrade) -> None:
        """Each further fill is told once, in the commit that remembers that it was."""
        held = condor_of(turn.state, trade)
        if held.units and trade.memo.get("told") != held.units:
            note = str(trade.memo.get("note") or "")
            trades.amend(turn, replace(trade, memo={**trade.memo, "told": float(held.units)}))
            delivery.say(turn, words.opened(self.settings, trade, held, note, at=turn.at))
