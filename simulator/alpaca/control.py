"""The control door: faults, quotes, the clock and the record over HTTP, for a program under test in another process.

GET /faults            every name with its line, and which are on
POST /faults/NAME      turn a switch on, or do an act; its arguments are a JSON body: {"times": 2, "path": "GET /v2/account"}
DELETE /faults[/NAME]  turn one off, or all
GET /record            every request and every order with its life
POST /clock            {"at": "15:14:50", "speed": 1}: New York time of the day, market seconds a second
"""

from __future__ import annotations

from datetime import time
from typing import TYPE_CHECKING, Any

import msgspec

from simulator.alpaca.faults import catalogue
from simulator.http import Answer, HttpServer, Request
from utils import new_york

if TYPE_CHECKING:
    from simulator.alpaca.venue import Venue


class ControlServer(HttpServer):
    """Everything `Venue.fault` can do, for other processes."""

    def __init__(self, venue: Venue, port: int = 0) -> None:
        self._venue = venue
        super().__init__(venue.clock.now, port)

    def answer(self, request: Request) -> Answer:
        name = request.path.removeprefix("/faults").strip("/")
        try:
            more = msgspec.json.decode(request.body or b"{}", type=dict[str, Any])
            match request.method, request.path.split("/")[1]:
                case "GET", "faults":
                    return Answer(200, {"faults": catalogue(), "on": self._venue.faults.on})
                case "POST", "faults":
                    self._venue.fault(name, **more)
                    return Answer(200, {"on": self._venue.faults.on})
                case "DELETE", "faults":
                    self._venue.clear(*filter(None, [name]))
                    return Answer(200, {"on": self._venue.faults.on})
                case "GET", "record":
                    return Answer(200, self._venue.record())
                case "POST", "clock":
                    at = more.get("at")
                    self._venue.set_clock(at=time.fromisoformat(at) if isinstance(at, str) else at, speed=more.get("speed"))
                    return Answer(200, {"at": new_york(self._venue.clock.now()).isoformat()})
        except (ValueError, TypeError, msgspec.DecodeError) as wrong:
            return Answer(422, {"message": str(wrong)})
        return Answer(404, {"message": "ask for /faults, /record or /clock"})
