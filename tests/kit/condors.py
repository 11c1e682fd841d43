"""A chain of XSP written by hand, and one condor on it: what tests of the condor share."""

from datetime import date, time
from fractions import Fraction

from events import ChainRow, Quote
from strategies.condor.exits import Condor, Picture
from strategies.condor.legs import Four, Index, Level
from strategies.condor.settings import Settings, read
from strategies.condor.strikes import Market
from utils import Session, unix_time

DAY = date(2026, 11, 20)
SESSION = Session(DAY, int(unix_time(DAY, time(9, 30))), int(unix_time(DAY, time(16))))
TEN = unix_time(DAY, time(10))
SPOT = 690.0


def settings(**given: str) -> Settings:
    found, faults = read({name.upper(): value for name, value in given.items()})
    assert found is not None, faults
    return found


def name(strike: float, right: str) -> str:
    return f"O:XSP261120{right[0].upper()}{round(strike * 1000):08d}"


def row(strike, right, bid, ask, delta=None, *, size=10, at=TEN, **more):
    """One contract; bid and ask in mills."""
    quote = Quote(bid, ask, size, size, at)
    told = {"underlying": SPOT, **more}
    return ChainRow(name(strike, right), right, round(strike * 1000), "2026-11-20", 100, quote, delta, **told)


# The four legs bring a mid of 0.26, a natural credit of 0.22 and a natural cost of 0.30.
ROWS = (
    row(682, "put", 240, 260, -0.10),
    row(680, "put", 130, 150, -0.06),
    row(684, "put", 420, 440, -0.17),
    row(698, "call", 250, 270, 0.11),
    row(700, "call", 100, 120, 0.05),
    row(696, "call", 440, 460, 0.18),
)
FOUR = Four(name(680, "put"), name(682, "put"), name(698, "call"), name(700, "call"), (680_000, 682_000, 698_000, 700_000))


def market(rows=ROWS, *, at=TEN, vix=18.8, spot=SPOT, held=()):
    return Market(
        at=at,
        session=SESSION,
        rows={one.contract: one for one in rows},
        index=Index(Level(spot, at)),
        vix=None if vix is None else Level(vix, at),
        held=held,
    )


def quotes(mid=260, *, at=TEN, half=10, wings=(140, 110)):
    """Four quotes in the order of the roles that make a package of this mid."""
    put_wing, call_wing = wings
    shorts = mid + put_wing + call_wing
    put = shorts // 20 * 10
    prices = (put_wing, put, shorts - put, call_wing)
    return tuple(Quote(price - half, price + half, 10, 10, at) for price in prices)


def condor(credit=260, units=1, **more):
    return Condor(FOUR, units, Fraction(credit), TEN, **more)


def picture(mid=260, at=TEN, *, spot=SPOT, **more):
    given = {"quotes": quotes(mid, at=at), "index": Index(Level(spot, at)), **more}
    return Picture(at=at, session=SESSION, **given)
