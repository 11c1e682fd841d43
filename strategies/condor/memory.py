"""What the condor remembers from turn to turn. A new life begins without it, from the desk's trades alone."""

from __future__ import annotations

from msgspec import Struct

from events import Order
from events.market import Mills
from strategies.condor.chase import Chase
from strategies.condor.exits import Exit, Watch
from strategies.condor.legs import Four
from strategies.condor.margin import Checked


class Hunt(Struct, frozen=True):
    """An entry on its way: its legs, its prices so far, and the margin that was found. `trade_id` is empty before its first order."""

    four: Four
    chase: Chase
    checked: Checked | None = None
    trade_id: str = ""


class Leaving(Struct, frozen=True):
    """An exit on its way. `urgent_at` is since when it has been urgent, `cost` what its last order paid."""

    exit: Exit
    began_at: float
    urgent_at: float | None = None
    cost: Mills | None = None


class Memory(Struct, frozen=True):
    """`asked` is the order whose margin is asked for, `chase_allowed_at` when one may begin after a margin that was refused."""

    hunt: Hunt | None = None
    asked: Order | None = None
    watch: Watch | None = None
    leaving: Leaving | None = None
    uneven_at: float | None = None
    blind_since: float | None = None
    chase_allowed_at: float = 0.0
    tick_refused: bool = False
