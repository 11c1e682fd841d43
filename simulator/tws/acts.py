"""Faults that act at once, and the one language in which a script, a person and the control door speak.

Rules: `NAME key=value ...` arms or does a fault; `clear [NAME]`, `armed`, `faults`, `orders`, `positions`, `help` are the other words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from simulator.tws import messages
from simulator.tws.contracts import Instrument, Leg, Query, Quote
from simulator.tws.faults import CATALOGUE, Settings, Value, catalogue_text, checked_settings, known, parse, words
from simulator.tws.fills import Fills
from simulator.tws.floor import Floor, Holding
from simulator.tws.messages import Order
from simulator.tws.orders import Orders
from simulator.tws.session import Session
from utils import new_york

HELP = "NAME key=value ... (a fault) | clear [NAME] | armed | faults | orders | positions | misuses | help"
FOREIGN_ORDER_ID = 1_000_000


class Door(Protocol):
    """What acts need of the venue's connections."""

    def sessions(self) -> list[Session]: ...

    def set_down(self, down: bool) -> None: ...


def mills(dollars: Value) -> int:
    return round(float(dollars) * 1000)


class Acts:
    """Does things to a floor by their names."""

    def __init__(self, floor: Floor, orders: Orders, fills: Fills, door: Door) -> None:
        self.floor, self.orders, self.fills, self.door = floor, orders, fills, door
        self._strange_ids = FOREIGN_ORDER_ID
        self._acts: dict[str, Callable[[Settings], object]] = {
            "quote": self._quote, "free-quote": self._free_quote, "competing-session": self._competing, "drop": self._drop,
            "down": lambda _: door.set_down(True), "up": lambda _: door.set_down(False), "link-lost": self._link_lost,
            "link-back": lambda _: self._link_back(1102), "link-back-data-lost": lambda _: self._link_back(1101),
            "farm-lost": lambda said: self._farm(said, False), "farm-back": lambda said: self._farm(said, True),
            "notice": self._notice, "fill": self._fill, "fill-away": self._fill_away,
            "release": lambda said: fills.release(str(said["ref"])), "echo": self._echo,
            "cancel-by-venue": self._cancel, "foreign-position": self._foreign_position,
            "foreign-order": self._foreign_order, "orphan": self._foreign_order, "closed-elsewhere": self._closed_elsewhere,
            "settle": self._settle,
        }  # fmt: skip
        assert set(self._acts) == {fault.name for fault in CATALOGUE.values() if fault.at_once}

    def act(self, name: str, given: Settings) -> None:
        """Do one; ValueError says what it lacks."""
        self._acts[name](checked_settings(known(name), given))
        self.floor.note("fault", None, f"fault: {name} {_pairs(given)}".rstrip())

    def command(self, line: str) -> str:
        """One line of the language; the answer is text, and ValueError says what cannot be understood."""
        name, settings = parse(line) if "=" in line else (line.split()[0] if line.split() else "help", {})
        rest = line.split()[1:]
        plain: dict[str, Callable[[], str]] = {
            "armed": self._armed, "orders": self._orders, "positions": self._positions, "faults": catalogue_text,
            "misuses": lambda: "\n".join(self.floor.record.misuses) or "none", "help": lambda: HELP,
        }  # fmt: skip
        if name == "clear":
            self.floor.faults.clear(rest[0] if rest else "")
            return "cleared"
        if name in plain and not rest:
            return plain[name]()
        if not settings and rest:
            parse(line)  # says what is wrong with it
        if known(name).at_once:
            self.act(name, settings)
            return "done"
        self.floor.faults.arm(name, settings)
        self.floor.note("fault", None, f"armed: {name} {_pairs(settings)}".rstrip())
        return "armed"

    # --- what is there -------------------------------------------------------------------------------------------------

    def _armed(self) -> str:
        said = [f"{one.fault.name} {_pairs(one.settings)} left={one.left or 'always'} taken={one.taken}" for one in
                self.floor.faults.armed]  # fmt: skip
        return "\n".join(said) or "none"

    def _orders(self) -> str:
        rows = [f"{order.ref or order.order_id} client {order.client_id} {order.status} {order.filled}/{order.units} "
                f"{self.orders.describe(order)}" for order in self.floor.record.orders]  # fmt: skip
        return "\n".join(rows) or "none"

    def _positions(self) -> str:
        rows = []
        for con_id, held in self.floor.holdings.items():
            one = self.floor.instrument(con_id)
            rows.append(f"{held.units:+d} {one.local_symbol if one else con_id}")
        return "\n".join(rows) or "none"

    # --- the link and the data -----------------------------------------------------------------------------------------

    def _drop(self, said: Settings) -> None:
        for session in self.door.sessions():
            if said["client"] in (-1, session.client_id):
                session.drop()

    def _link_lost(self, said: Settings) -> None:
        self.floor.linked = False
        self.floor.tell_all(1100, words(1100))

    def _link_back(self, code: int) -> None:
        self.floor.linked = True
        self.floor.tell_all(code, words(code))
        if code == 1101:
            for session in self.door.sessions():
                session.lose_lines()

    def _farm(self, said: Settings, back: bool) -> None:
        self.floor.farm = back
        self.floor.tell_all(int(said["code"]), words(int(said["code"])))
        for session in self.door.sessions() if back else ():
            for line in session.lines.values():
                line.told = None

    def _competing(self, said: Settings) -> None:
        for session in self.door.sessions():
            session.lose_lines(10197)

    def _notice(self, said: Settings) -> None:
        code = int(said["code"])
        text = words(code, said["text"])
        if not said["ref"]:
            self.floor.tell_all(code, text)
            return
        for order in self._of(said, live=False):
            self.floor.tell(order.client_id, messages.error(order.order_id, code, text))

    def _quote(self, said: Settings) -> None:
        one = self.floor.find(said["contract"])
        now = self.floor.market.quote(one.con_id, self.floor.now())
        size, bid = int(said["size"]), mills(said["bid"])
        self.floor.forced[one.con_id] = Quote(
            bid if bid > 0 else None, mills(said["ask"]), size if bid > 0 else 0, size, now.last, now.close, now.greeks
        )

    def _free_quote(self, said: Settings) -> None:
        if said["contract"]:
            self.floor.forced.pop(self.floor.find(said["contract"]).con_id, None)
        else:
            self.floor.forced.clear()

    # --- orders and positions ------------------------------------------------------------------------------------------

    def _of(self, said: Settings, *, live: bool = True) -> list[Order]:
        """The orders of a ref (all live ones for none); ValueError if there are none."""
        ref = str(said["ref"])
        found = list(self.floor.live_orders(ref)) if live else self.floor.record.of(f"^{ref}$")[-1:]
        if not found:
            raise ValueError(f"no {'live ' if live else ''}order{f' has the ref {ref}' if ref else ''}")
        return found

    def _fill(self, said: Settings) -> None:
        for order in self._of(said):
            self.orders.fill(order, int(said["units"]), mills(said["price"]) if said["price"] != "" else None)

    def _fill_away(self, said: Settings) -> None:
        orders = self._of(said)
        gone = self.door.sessions()
        for session in gone:
            session.drop()
            self.floor.listeners.pop(session.client_id, None)
        for order in orders:
            self.orders.fill(order)

    def _echo(self, said: Settings) -> None:
        for order in self._of(said):
            self.orders.echo(order, mills(said["limit"]))

    def _cancel(self, said: Settings) -> None:
        for order in self._of(said):
            self.orders.end(order)

    def _foreign_position(self, said: Settings) -> None:
        one = self.floor.find(said["contract"]) if said["contract"] else self._some_call()
        self.floor.holdings[one.con_id] = Holding(int(said["units"]), mills(said["cost"]) * one.multiplier)
        self.floor.send_position(one.con_id)

    def _some_call(self) -> Instrument:
        calls = sorted(
            (one for one in self.floor.market.instruments.values() if one.right == "C"), key=lambda one: one.strike
        )
        if not calls:
            raise ValueError("the market lists no call")
        return calls[-1]

    def _foreign_order(self, said: Settings) -> None:
        """A package of the two highest calls that works and that no session here sent."""
        calls = sorted(
            (one for one in self.floor.market.instruments.values() if one.right == "C"), key=lambda one: one.strike
        )
        if len(calls) < 2:
            raise ValueError("the market lists too few calls")
        low, high = calls[-2], calls[-1]
        legs = (Leg(low.con_id, 1, "SELL"), Leg(high.con_id, 1, "BUY"))
        self._strange_ids += 1
        order = Order(
            self._strange_ids, int(said["client"]), 800_000_000 + self._strange_ids,
            Query(0, low.symbol, "BAG", "", 0, "", "", "SMART", "", "USD", "", ""), low.symbol, "BUY", 1, "LMT",
            mills(said["limit"]), "DAY", self.floor.account, str(said["ref"]), legs, self.floor.now(), status="Submitted",
            held=True,
        )  # fmt: skip
        self.floor.orders[order.client_id, order.order_id] = order
        self.floor.record.began(order)
        self.floor.record.priced(order, order.placed_at)

    def _closed_elsewhere(self, said: Settings) -> None:
        """Close every position of this market, or one, at its mid, as a liquidation or a hand would."""
        only = self.floor.find(said["contract"]).con_id if said["contract"] else 0
        for con_id, held in list(self.floor.holdings.items()):
            one, quote = self.floor.instrument(con_id), self.floor.quote(con_id)
            if one is not None and only in (0, con_id):
                price = ((quote.bid or 0) + (quote.ask or 0)) // 2 // one.tick * one.tick
                self.fills.by_another_hand(one, -held.units, price)

    def _settle(self, said: Settings) -> None:
        """Take positions out whose expiry is past, or today after the close."""
        now = self.floor.now()
        for con_id, held in list(self.floor.holdings.items()):
            one = self.floor.instrument(con_id)
            over = one is not None and one.expiry is not None and (
                one.expiry < new_york(now).date() or not self.floor.market.tradable(con_id, now)
            )  # fmt: skip
            if over:
                self.floor.holdings[con_id] = replace(held, units=0)
                self.floor.send_position(con_id)
                del self.floor.holdings[con_id]


def _pairs(settings: Settings) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items() if value != "")
