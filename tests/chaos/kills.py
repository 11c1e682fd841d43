"""A session of trades under a worker that is killed again and again, and what the phone and the ledger say of it afterwards.

The market answers the phone: flat until a BUY is told, then a rise that several quotes confirm, then a fall until the SELL is told;
so the trades are the same whenever the worker dies. Mode `stands`: time stands still while no worker is up, and everything must be as
in an uninterrupted run. Mode `runs on`: it does not; then phone and ledger must agree. Three unclean ends in a row rightly forbid
entries (X19, tested elsewhere), so every third time the count is set back in the ledger, and it is this process that recovers it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from random import Random

from msgspec import Struct

from disk.ledger import DataFolder, Ledger, read
from events import FactSet, Remembered, Trade
from simulator.push import Message
from tests.kit.worker import ASK, BID, CONTRACT, Stage, alert_id, body, is_repeat

SPEED = 8.0
# a BUY lives as long as it may: few rows of kills outlast it
SETTINGS = {
    "ENTRY_COOLDOWN_SECONDS": "0", "SIGNAL_COOLDOWN_SECONDS": "5", "CHAIN_POLL_SECONDS": "2", "ON_SHUTDOWN": "keep",
    "BUY_TTL_SECONDS": "120", "BUY_VOID_SECONDS": "600",
}  # fmt: skip
READY = (
    "stocks socket subscribed", "history of IWM", "history of SPY", "volume profile ready", "phone checked: keys are valid",
    "the clock is right",
)  # fmt: skip
# what the quote rises to, if it does, and falls to: a giveback with a gain, a stop, a giveback with a loss, a good trade
TRADES = (((1.60, 1.62), (1.10, 1.12)), (None, (0.80, 0.82)), ((1.30, 1.32), (0.90, 0.92)), ((2.00, 2.02), (1.35, 1.37)))
PEAK_QUOTES = 16
FAILPOINTS = (
    "scribe.before-commit", "scribe.after-commit", "scribe.loop", "phone.before-wire", "phone.after-answer",
    "phone sell.before-wire", "phone sell.after-answer", "chain.loop", "quotes.loop", "errands.loop", "stocks.loop", "main.start",
    "main.ledger-open", "main.loop", "desk.before-decide", "desk.decided", "desk.handed-over",
)  # fmt: skip
EARLY = ("main.start", "main.ledger-open")
FAULTS = ("cut after", "500 after", "cut before", "500", "503")
PATIENCE_S = 5.0
UNSETTLED = ("queued", "sending", "failed", "unknown")
LOOK_AGAIN_S = 0.5


class Toll(Struct):
    """How the kills fell: in all, at which failpoint, and those that hit an open position or an undelivered alert."""

    kills: int = 0
    places: dict[str, int] = {}
    open_or_pending: int = 0
    while_starting: int = 0
    repeats: int = 0
    expired: int = 0

    def __str__(self) -> str:
        share = self.open_or_pending / self.kills if self.kills else 0.0
        return (
            f"{self.kills} kills, {sum(self.places.values())} of them at {len(self.places)} failpoints, {self.while_starting} while "
            f"starting; {share:.0%} with a position open or an alert pending; {self.repeats} labelled repeats, "
            f"{self.expired} BUY too old to be told"
        )


class Trader:
    """The market's side of the play: sees the phone, sets the quote."""

    def __init__(self, stage: Stage, is_held_unheard: Callable[[], bool]) -> None:
        self.stage = stage
        self.is_held_unheard = is_held_unheard
        self.looked_at = 0.0
        self.told: set[str] = set()
        self.scene = "flat"
        self.polls_at = 0
        self.last = False

    @property
    def sold(self) -> int:
        return len({alert_id(m) for m in self.stage.messages("— SELL")})

    def new_life(self) -> None:
        self.polls_at = self.stage.polls()

    def look(self) -> None:
        """Go on to the next scene if its cue has come."""
        stage = self.stage
        for message in stage.messages("— SELL"):
            if message.receipt is not None:
                stage.market.push.acknowledge(message.receipt)
        sold = self.sold
        up, down = TRADES[len(self.told) % len(TRADES)]
        if sold > len(self.told):
            self.told = {alert_id(m) for m in stage.messages("— SELL")}
            self._set("end" if self.last else "flat", None if self.last else (BID, ASK), 50)
        elif self.scene == "flat" and self._is_held():
            self._set("up" if up else "down", up or down, 1)
        elif self.scene == "up" and stage.polls() - self.polls_at >= PEAK_QUOTES:
            self._set("down", down, 1)

    def _is_held(self) -> bool:
        """A BUY was told; or one grew too old to be told, and nobody knows that it never arrived."""
        bought = {alert_id(m).removesuffix("-BUY") for m in self.stage.messages("— BUY")}
        if bought - {name.removesuffix("-SELL") for name in self.told}:
            return True
        if time.monotonic() - self.looked_at < LOOK_AGAIN_S:
            return False
        self.looked_at = time.monotonic()
        return self.is_held_unheard()

    def _set(self, scene: str, quote: tuple[float, float] | None, size: int) -> None:
        self.scene = scene
        if quote is not None:
            self.stage.market.force_quote(CONTRACT, *quote, bid_size=size, ask_size=size)
        self.polls_at = self.stage.polls()


class Play:
    """One session with `kills` kills. `runs_on`: time does not wait for the worker."""

    def __init__(self, stage: Stage, seed: int, places: tuple[str, ...] = FAILPOINTS, *, runs_on: bool = False) -> None:
        self.stage = stage
        self.deck = list(places)
        self.random = Random(seed)
        self.trader = Trader(stage, self._is_held_unheard)
        self.toll = Toll()
        self.runs_on = runs_on
        self.has_ledger = False

    # --- lives ---------------------------------------------------------------------------------------------------------

    def through(self, kills: int) -> Play:
        """Killed so many times, then once to the end of the trade it is in."""
        while self.toll.kills < kills:
            self._live_and_die()
            if self.toll.kills % 3 == 0:
                self._forgive()
        self.trader.look()
        return self.to_the_end(len(self.trader.told) + 1)

    def to_the_end(self, trades: int) -> Play:
        """One life until so many trades are told; it ends in order."""
        stage = self.stage
        self._begin("")
        self._play(lambda: len(self.trader.told) >= trades - 1, 20.0 * trades)
        self.trader.last = True
        self._play(lambda: self.trader.scene == "end" and not self._pending(), 60.0)
        stage.worker.signal()
        assert stage.worker.wait() == 0
        return self

    def _live_and_die(self) -> None:
        stage, random = self.stage, self.random
        how = random.choices(("at a moment", "at a failpoint", "while starting"), (6, 5, 1))[0]
        place = self.deck[0] if how == "at a failpoint" else ""
        count = 1 if place in EARLY or place.startswith("phone") else random.randint(1, 30)
        if random.random() < 0.3:
            stage.market.push.fail_next(random.choice(FAULTS))
        if how == "while starting" or place in EARLY:
            self._begin(f"{place}:kill:1" if place else "", wait=False)
            self._pause(5.0 if place else random.uniform(0.0, 1.2))
        else:
            self._begin(f"{place}:kill:{count}" if place else "")
            until = time.monotonic() + (PATIENCE_S if place else random.uniform(0.0, 2.0))
            self._play(lambda: time.monotonic() >= until, PATIENCE_S + 5)
        if place and not stage.worker.is_alive:
            self.toll.places[place] = self.toll.places.get(place, 0) + 1
            self.deck.append(self.deck.pop(0))  # a place that was not passed in time stays on top
        if not self.runs_on:
            stage.stop()
        stage.worker.kill()
        self.toll.kills += 1
        self.toll.while_starting += how == "while starting" or place in EARLY
        self.has_ledger = self.has_ledger or (stage.data / "ledger.sqlite3").exists()  # a first life may die before it
        kept = self.ledger() if self.has_ledger else Remembered()
        self.toll.open_or_pending += kept.position is not None or any(row.outcome in UNSETTLED for row in kept.outbox)

    def _begin(self, failpoint: str, *, wait: bool = True) -> None:
        worker = self.stage.launch(failpoint, **SETTINGS)
        self.trader.new_life()
        if wait:
            self._pause(20.0, lambda: all(any(part in line for line in worker.lines) for part in READY))
        self.stage.go(SPEED)

    def _pause(self, seconds: float, over: Callable[[], bool] = lambda: False) -> None:
        """Wait, while the market stands as it was, until this holds, the worker ends, or the time is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.stage.worker.is_alive and not over():
            time.sleep(0.01)

    def _play(self, over: Callable[[], bool], patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while self.stage.worker.is_alive and not over():
            assert time.monotonic() < deadline, f"stuck in scene {self.trader.scene!r}:\n" + "\n".join(
                self.stage.worker.lines[-30:]
            )
            self.trader.look()
            time.sleep(0.01)

    def _pending(self) -> bool:
        kinds = ("BUY", "SELL", "BLIND", "CRITICAL")
        return any(row.settled_at is None for row in self.ledger().outbox if row.alert.kind in kinds)

    def _is_held_unheard(self) -> bool:
        if not self.has_ledger:
            return False
        kept = self.ledger()
        return kept.position is not None and f"{kept.position.id}-BUY" in self.expired()

    def _forgive(self) -> None:
        with DataFolder(self.stage.data).lock():
            ledger = Ledger.open(self.stage.data, self.stage.now())
            ledger.commit((FactSet("running_since", None), FactSet("crashes", 0.0)))
            ledger.close()

    # --- afterwards ----------------------------------------------------------------------------------------------------

    def ledger(self) -> Remembered:
        """What the ledger says, which must be sound whenever it is looked at."""
        findings, kept = read(self.stage.data, self.stage.now())
        assert kept is not None, findings
        return kept

    def expired(self) -> set[str]:
        """The BUYs that grew too old to be told, as the ledger has them."""
        return {row.alert.id for row in self.ledger().outbox if row.alert.kind == "BUY" and row.outcome == "dropped"}

    def trades(self) -> tuple[Trade, ...]:
        return self.ledger().trades

    def told(self, kind: str) -> dict[str, list[Message]]:
        """The messages of a kind (BUY, SELL) by their alert's id, in order."""
        found: dict[str, list[Message]] = defaultdict(list)
        for message in self.stage.messages(f"— {kind}"):
            found[alert_id(message)].append(message)
        return found

    def faults(self) -> list[str]:
        """What is wrong with what the phone and the ledger say, in any mode."""
        found = []
        every: dict[str, list[Message]] = defaultdict(list)
        for message in self.stage.messages():
            every[alert_id(message)].append(message)
        for key, messages in every.items():
            if len({body(m) for m in messages}) > 1:
                found.append(f"{key} has two texts: {[m.text for m in messages]}")
            unlabelled = [m for m in messages[1:] if not is_repeat(m)]
            if unlabelled:
                found.append(f"{key} was repeated without a label: {[m.text for m in messages]}")
            self.toll.repeats += len(messages) - 1
        kept, sells, buys = self.ledger(), self.told("SELL"), self.told("BUY")
        self.toll.expired = len(self.expired())
        known = {trade.id for trade in kept.trades}
        if kept.position is not None:
            found.append(f"position {kept.position.id} is open at the end")
        found += [f"trade {name} has no SELL" for name in known if f"{name}-SELL" not in sells]
        found += [f"{key} is of no trade" for key in sells if key.removesuffix("-SELL") not in known]
        found += [f"{key} is of no trade" for key in buys if key.removesuffix("-BUY") not in known]
        balance = 0
        for trade in kept.trades:
            balance += trade.pnl or 0
            text = sells.get(f"{trade.id}-SELL", [None])[0]
            if (
                text is not None
                and f"LIFETIME: {'+' if balance > 0 else '-'}${abs(balance) / 1000:,.2f}" not in text.text
                and balance
            ):
                found.append(f"{trade.id}: the balance is {balance} mills, the phone says {text.text!r}")
        owed = ("BUY", "SELL", "BLIND", "CRITICAL")
        found += [
            f"{row.alert.id} was never settled" for row in kept.outbox if row.settled_at is None and row.alert.kind in owed
        ]
        return found

    def story(self) -> list[tuple[str, ...]]:
        """Each SELL without where the stock stood: what must be the same however often the worker died."""
        return [
            tuple(line for line in body(messages[0]).split("\n") if not line.startswith(("IWM ", "#")))
            for messages in self.told("SELL").values()
        ]


def played(
    folder: Path,
    stage: Stage,
    seed: int,
    places: tuple[str, ...] = FAILPOINTS,
    *,
    kills: int = 0,
    trades: int = 0,
    runs_on: bool = False,
) -> Play:
    """A play from beginning to end, on a stage made new."""
    folder.mkdir()
    play = Play(stage.fresh(folder), seed, places, runs_on=runs_on)
    try:
        return play.through(kills) if kills else play.to_the_end(trades)
    finally:
        stage.end_lives()
