"""Today's chain -> the four legs, and the ten conditions an entry needs, at the scan and again at every step of a chase. Pure.

Every condition tells its value, its bound, how far it is from it and why not. A missing input makes a condition false. Thresholds are
inclusive; prices, deltas and VIX are compared as they were written, never as rounded reals.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction

from msgspec import Struct

from events import ChainRow, Quote
from events.market import Mills, Right
from signals import Gate
from strategies.condor.legs import (
    ENTRY_QUOTE_S,
    ROLES,
    Four,
    Index,
    Level,
    Package,
    bid_of,
    delta_fault,
    down,
    exact,
    index_fault,
    margin,
    package,
    package_fault,
    quote_fault,
    vix_fault,
)
from strategies.condor.margin import Checked
from strategies.condor.settings import CLASSES, Settings, floor, tick, width
from strategies.condor.times import entry_until
from utils import SHARES, Session, clock_text, to_mills

NAMES = ("window", "desk", "way out", "VIX", "shorts", "wings", "credit", "sane", "margin", "alone")
SIDES: tuple[Right, ...] = ("put", "call")


class Side(Struct, frozen=True):
    """A short and its wing."""

    short: ChainRow
    wing: ChainRow


class Choice(Struct, frozen=True):
    """Four legs and what they are worth together. `deltas` are the shorts', without sign: put, call."""

    four: Four
    package: Package
    deltas: tuple[Fraction, Fraction]
    computed: bool = False


class Market(Struct, frozen=True):
    """What the market says at one instant. `held` are contracts in which the broker reports what is not this trade's."""

    at: float
    session: Session
    rows: Mapping[str, ChainRow]
    index: Index = Index()
    vix: Level | None = None
    held: Collection[str] = ()


class Verdict(Struct, frozen=True):
    """The ten conditions, and the choice as far as there is one."""

    gates: tuple[Gate, ...]
    choice: Choice | None = None

    @property
    def ok(self) -> bool:
        return all(gate.ok for gate in self.gates)

    @property
    def refusal(self) -> str | None:
        """The first condition that is false, in words."""
        return next((f"{gate.name}: {gate.reason}" for gate in self.gates if not gate.ok), None)


# --- the legs ----------------------------------------------------------------------------------------------------------


def is_todays(settings: Settings, session: Session, row: ChainRow) -> bool:
    """Whether a row is a standard contract of the product's class that expires today: never the next expiry, never Friday's."""
    standard = f"O:{CLASSES[settings.condor_product]}{session.date:%y%m%d}{row.right[0].upper()}{row.strike:08d}"
    return row.expiration == session.date.isoformat() and row.shares == SHARES and row.contract == standard


def shorts(settings: Settings, market: Market, right: Right, *, spare: bool = True) -> list[ChainRow]:
    """The shorts of one side that may be taken, the delta nearest CONDOR_DELTA first, then further out.

    `spare` leaves out what the broker holds besides.
    """
    if market.index.level is None:
        return []
    spot, tolerance = market.index.level.value, Fraction(settings.condor_delta_tolerance)
    out = -1 if right == "put" else 1
    found = []
    for row in market.rows.values():
        if (
            not is_todays(settings, market.session, row)
            or row.right != right
            or out * (row.strike - exact(spot) * 1000) <= 0
            or (spare and row.contract in market.held)
        ):
            continue
        if quote_fault(row.quote, market.at, settings.condor_quote_max_age_seconds) or delta_fault(row, spot):
            continue
        assert row.quote is not None
        assert row.delta is not None
        away = abs(abs(exact(row.delta)) - Fraction(settings.condor_delta))
        if bid_of(row.quote) and away <= tolerance:
            found.append((away, -out * row.strike, row))
    return [row for *_, row in sorted(found, key=lambda one: one[:2])]


def wing_of(settings: Settings, market: Market, short: ChainRow, *, spare: bool = True) -> ChainRow | None:
    """The wing exactly CONDOR_WING_WIDTH further out, listed and quoted; its bid may be none."""
    strike = short.strike + (width(settings) if short.right == "call" else -width(settings))
    for row in market.rows.values():
        if (row.right, row.strike) != (short.right, strike) or not is_todays(settings, market.session, row):
            continue
        if spare and row.contract in market.held:
            return None
        return None if quote_fault(row.quote, market.at, settings.condor_quote_max_age_seconds) else row
    return None


def side(settings: Settings, market: Market, right: Right, *, spare: bool = True) -> Side | None:
    """The first short that has its wing."""
    for short in shorts(settings, market, right, spare=spare):
        if wing := wing_of(settings, market, short, spare=spare):
            return Side(short, wing)
    return None


def choose(settings: Settings, market: Market, *, spare: bool = True) -> Choice | None:
    """The condor that the rules would sell now; None where a side has none, or its four quotes are no package."""
    put, call = side(settings, market, "put", spare=spare), side(settings, market, "call", spare=spare)
    return None if put is None or call is None else choice_of(settings, market, four_of(put, call))


def four_of(put: Side, call: Side) -> Four:
    return Four(
        put.wing.contract,
        put.short.contract,
        call.short.contract,
        call.wing.contract,
        (put.wing.strike, put.short.strike, call.short.strike, call.wing.strike),
    )


def quotes_of(market: Market, four: Four) -> list[Quote | None]:
    """The four quotes in the order of ROLES."""
    rows = [market.rows.get(contract) for contract in four.contracts]
    return [None if row is None else row.quote for row in rows]


def choice_of(settings: Settings, market: Market, four: Four) -> Choice | None:
    """Given legs with what they are worth now; None where a leg or a short's delta is not usable."""
    found = package(quotes_of(market, four), market.at, settings.condor_quote_max_age_seconds)
    put, call = market.rows.get(four.put_short), market.rows.get(four.call_short)
    spot = None if market.index.level is None else market.index.level.value
    if found is None or put is None or call is None or delta_fault(put, spot) or delta_fault(call, spot):
        return None
    if not all(is_todays(settings, market.session, market.rows[contract]) for contract in four.contracts):
        return None
    assert put.delta is not None
    assert call.delta is not None
    deltas = abs(exact(put.delta)), abs(exact(call.delta))
    return Choice(four, found, deltas, put.computed or call.computed)


# --- the conditions ----------------------------------------------------------------------------------------------------


def conditions(
    settings: Settings,
    market: Market,
    *,
    desk: str | None,
    way_out: str | None,
    chased: Four | None = None,
    checked: Checked | None = None,
) -> Verdict:
    """The ten conditions now. `desk` and `way_out` are what refuses there, in words.

    In a chase the legs stay (`chased`), the tolerance is doubled, and `checked` is what the broker said of the margin.
    """
    choice = choice_of(settings, market, chased) if chased else choose(settings, market)
    gates = (
        window(settings, market),
        said(2, desk),
        said(3, way_out),
        vix(settings, market),
        near(settings, market, choice, chased),
        wings(settings, market, choice, chased),
        credit(settings, market, choice),
        sane(settings, choice),
        affordable(settings, checked),
        alone(settings, market, choice, chased),
    )
    return Verdict(gates, choice)


def gate(
    number: int,
    reason: str,
    value: Fraction | float | None = None,
    bound: Fraction | float | None = None,
    *,
    most: bool = False,
) -> Gate:
    """A condition; it holds where nothing is said against it. `most`: its bound is the most, so that less leaves a margin."""
    left = None if value is None or bound is None else float(bound - value if most else value - bound)
    return Gate(
        number,
        NAMES[number - 1],
        not reason,
        None if value is None else float(value),
        None if bound is None else float(bound),
        left,
        reason,
    )


def said(number: int, refusal: str | None) -> Gate:
    return gate(number, refusal or "")


def window(settings: Settings, market: Market) -> Gate:
    """1: from CONDOR_ENTRY_FROM to the end, which comes earlier with the close. The value and margin are seconds."""
    begins, ends = market.session.at(settings.condor_entry_from), entry_until(settings, market.session)
    reason = ""
    if market.at < begins:
        reason = f"before {clock_text(begins)[:5]} ET"
    elif market.at >= ends:
        reason = f"no entries after {clock_text(ends)[:5]} ET"
    return gate(1, reason, market.at, begins if market.at < begins else ends, most=market.at >= begins)


def vix(settings: Settings, market: Market) -> Gate:
    """4: CONDOR_VIX_MIN ≤ VIX ≤ CONDOR_VIX_MAX."""
    fault = vix_fault(market.vix, market.session, market.at, settings.condor_vix_max_age_seconds)
    if fault or market.vix is None:
        return gate(4, fault or "no VIX")
    value = exact(market.vix.value)
    low, high = Fraction(settings.condor_vix_min), Fraction(settings.condor_vix_max)
    if value < low:
        return gate(4, f"{market.vix.value:g} < {settings.condor_vix_min:f}", value, low)
    return gate(4, f"{market.vix.value:g} > {settings.condor_vix_max:f}" if value > high else "", value, high, most=True)


def near(settings: Settings, market: Market, choice: Choice | None, chased: Four | None) -> Gate:
    """5: both shorts out of the money and within the tolerance; the value is the further one's distance from CONDOR_DELTA."""
    fault = index_fault(market.index, market.at, settings.condor_underlying_max_age_seconds)
    if fault:
        return gate(5, fault)
    if not chased and choice is None:
        missing = [right for right in SIDES if not shorts(settings, market, right, spare=False)]
        if missing:
            return gate(5, f"no {' and no '.join(missing)} near delta {settings.condor_delta:f}")
        return gate(5, "")
    if choice is None:
        return gate(5, "a short has no usable quote or delta")
    assert market.index.level is not None
    spot = exact(market.index.level.value) * 1000
    tolerance = Fraction(settings.condor_delta_tolerance) * (2 if chased else 1)
    away = max(abs(delta - Fraction(settings.condor_delta)) for delta in choice.deltas)
    reason = ""
    if not choice.four.strikes[1] < spot < choice.four.strikes[2]:
        reason = "a short is in the money"
    elif away > tolerance:
        reason = f"a short's delta is {float(away):.3f} from {settings.condor_delta:f}"
    return gate(5, reason, away, tolerance, most=True)


def wings(settings: Settings, market: Market, choice: Choice | None, chased: Four | None) -> Gate:
    """6: exactly CONDOR_WING_WIDTH further out, listed and quoted."""
    if choice is not None:
        return gate(6, "")
    if chased:
        fault = package_fault(quotes_of(market, chased), market.at, settings.condor_quote_max_age_seconds)
        return gate(6, fault or "a short has no usable delta")
    bare = [right for right in SIDES if side(settings, market, right, spare=False) is None]
    if bare:
        return gate(6, f"no {' and no '.join(bare)} wing {settings.condor_wing_width:f} further out")
    return gate(6, "")


def credit(settings: Settings, market: Market, choice: Choice | None) -> Gate:
    """7: the mid down to a tick is at least CONDOR_MIN_CREDIT, of four quotes no older than 5 s. Dollars a share."""
    if choice is None:
        return gate(7, "no four usable legs")
    oldest = market.at - min(choice.package.stamps)
    if oldest > ENTRY_QUOTE_S:
        return gate(7, f"a leg's quote is {oldest:.0f}s old")
    value, least = down(choice.package.mid, tick(settings)), floor(settings)
    reason = f"{value / 1000:.2f} < {least / 1000:.2f}" if value < least else ""
    return gate(7, reason, Fraction(value, 1000), Fraction(least, 1000))


def sane(settings: Settings, choice: Choice | None) -> Gate:
    """8: a credit that a width of this kind can bring, that somebody pays, and that the deltas allow. Dollars a share."""
    if choice is None:
        return gate(8, "no four usable legs")
    mid, natural, wide = choice.package.mid, choice.package.natural_credit, choice.four.width
    value = down(mid, tick(settings))
    most = Fraction(settings.condor_max_credit_percent) * wide / 100
    chance = Fraction(settings.condor_delta_credit_factor) * wide * sum(choice.deltas)
    reason = ""
    if value > most:
        reason = f"credit {value / 1000:.2f} is over {settings.condor_max_credit_percent:f}% of the width"
    elif natural <= 0 or natural * 100 < Fraction(settings.condor_natural_min_percent) * mid:
        reason = f"natural credit {natural / 1000:.2f} beside a mid of {float(mid) / 1000:.2f}"
    elif mid > chance:
        reason = f"a mid of {float(mid) / 1000:.2f} is more than the deltas allow ({float(chance) / 1000:.2f})"
    return gate(8, reason, Fraction(value, 1000), min(most, chance) / 1000, most=True)


def affordable(settings: Settings, checked: Checked | None) -> Gate:
    """9: the width of all units, and the broker's own word once it was asked, are within CONDOR_MAX_MARGIN. Dollars."""
    needed, most = margin(width(settings), settings.condor_units), to_mills(settings.condor_max_margin)
    reason = f"{needed / 1000:.0f} > {most / 1000:.0f}" if needed > most else ""
    if checked is not None:
        needed, reason = max(needed, checked.amount), reason or checked.refusal or ""
    return gate(9, reason, Fraction(needed, 1000), Fraction(most, 1000), most=True)


def alone(settings: Settings, market: Market, choice: Choice | None, chased: Four | None) -> Gate:
    """10: none of the legs is one in which the broker reports what is not this trade's."""
    four = chased
    if four is None and (choice or (choice := choose(settings, market, spare=False))):
        four = choice.four
    theirs = [] if four is None else [contract for contract in four.contracts if contract in market.held]
    return gate(10, f"the account holds {', '.join(theirs)} besides" if theirs else "")


def quoted(four: Four, market: Market) -> dict[str, tuple[Mills | None, Mills | None]]:
    """Bid and ask of each leg by its role, to be kept with an intent."""
    quotes = zip(ROLES, quotes_of(market, four), strict=True)
    return {role: (None, None) if quote is None else (quote.bid, quote.ask) for role, quote in quotes}
