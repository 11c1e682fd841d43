"""The control door: HTTP on loopback, by which a program elsewhere faults the venue and asks what happened.

`POST /` with a line of the language (`reject times=2`) answers what it did, 400 with the reason if it cannot be understood. `GET
/orders`, `/messages`, `/events`, `/misuses`, `/positions`, `/armed`, `/faults` answer JSON, `/summary` what most tests ask for.
"""

from __future__ import annotations

from typing import Any

from simulator.http import Answer, HttpServer, Request
from simulator.tws.faults import CATALOGUE
from simulator.tws.messages import Order
from simulator.tws.venue import Venue
from simulator.tws.wire import dollars


class ControlDoor(HttpServer):
    """A door to one venue."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        super().__init__(venue.floor.now)

    def answer(self, request: Request) -> Answer:
        if request.method == "POST":
            try:
                return Answer(200, {"answer": self.venue.command(request.body.decode())})
            except (ValueError, LookupError) as wrong:
                return Answer(400, {"error": str(wrong)})
        page = {
            "/orders": self._orders, "/messages": self._messages, "/events": self._events, "/misuses": self._misuses,
            "/positions": self._positions, "/armed": self._armed, "/faults": self._faults, "/summary": self._summary,
        }.get(request.path)  # fmt: skip
        return Answer(404, {"error": f"nothing at {request.path}"}) if page is None else Answer(200, self.venue.do(page))

    def _orders(self) -> Any:
        return [_order(order) for order in self.venue.record.orders]

    def _messages(self) -> Any:
        return [message._asdict() for message in self.venue.record.messages]

    def _events(self) -> Any:
        return [event._asdict() for event in self.venue.record.events]

    def _misuses(self) -> Any:
        return self.venue.record.misuses

    def _positions(self) -> Any:
        floor = self.venue.floor
        rows = []
        for con_id, held in floor.holdings.items():
            one = floor.instrument(con_id)
            rows.append({"con_id": con_id, "name": one.local_symbol if one else "", "units": held.units})
        return rows

    def _armed(self) -> Any:
        return [{"name": one.fault.name, **one.settings, "left": one.left, "taken": one.taken} for one in
                self.venue.floor.faults.armed]  # fmt: skip

    def _faults(self) -> Any:
        return [fault._asdict() for fault in CATALOGUE.values()]

    def _summary(self) -> Any:
        record = self.venue.record
        return {
            "messages": dict(record.counts()), "most_messages_a_second": record.peak_rate(),
            "most_live_orders": record.peak_live(), "most_lines": record.peak_lines,
            "lowest_limit": dollars(min(record.limits())) if record.limits() else None,
            "highest_limit": dollars(max(record.limits())) if record.limits() else None,
        }  # fmt: skip


def _order(order: Order) -> dict[str, Any]:
    return {
        "ref": order.ref, "client": order.client_id, "order_id": order.order_id, "perm_id": order.perm_id,
        "action": order.action, "symbol": order.symbol, "units": order.units, "filled": order.filled,
        "status": order.status, "average": order.average, "why": order.why, "legs": [leg._asdict() for leg in order.legs],
        "limits": [{"at": at, "limit": None if limit is None else dollars(limit)} for at, limit in order.limits],
    }  # fmt: skip
