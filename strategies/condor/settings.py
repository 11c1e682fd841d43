"""The condor's section of the settings: what may be set, within which bounds, and what cannot hold together.

Dollars a share are net prices of the package; dollars a unit are a hundred times that. Percents are in percent, times New York's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import time
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from setting import Exact, HostName, Lower, Moment, Seconds, Switch, Upper, Whole, cleaned, fault, is_loopback, setting
from utils import SHARES, to_mills

CONDOR, ENTRY, CHASE, EXIT = "Condor", "Condor: entry", "Condor: orders", "Condor: exits"
SIGHT, IBKR = "Condor: sight", "Interactive Brokers"
MILLION = 1_000_000
OPENS_TO = 4  # legs, each with its fee
SCALED = ("CONDOR_WING_WIDTH", "CONDOR_MIN_CREDIT", "CONDOR_MAX_MARGIN", "CONDOR_STOP_DOLLARS", "CONDOR_LET_EXPIRE")


def _account(text: str) -> SecretStr:
    if not (4 <= len(text) <= 16 and text.isascii() and text.isalnum()):
        raise ValueError("no account")
    return SecretStr(text.upper())


def _until(text: object) -> object:
    return None if isinstance(text, str) and text.lower() == "off" else text


AccountId = Annotated[SecretStr, BeforeValidator(_account)]
ACCOUNT_WORDS = "an account's id, 4 to 16 letters and digits"


class Settings(BaseModel):
    """The section, by names in lower case. Amounts are as they are set; `mills` of them are exact."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    condor_broker: Annotated[Literal["paper", "ibkr-paper", "ibkr-live"], Lower] = setting(
        CONDOR, "Who takes the orders; each has a record of its own", "paper"
    )
    condor_live: AccountId | None = setting(
        CONDOR, "The live account's id in full: without it no real money moves", None, allowed=ACCOUNT_WORDS
    )
    condor_quotes: Annotated[Literal["auto", "ibkr", "massive"], Lower] = setting(
        CONDOR, "Whose quotes are believed; auto: the broker's own, with paper Massive's", "auto"
    )
    condor_product: Annotated[Literal["XSP", "SPX"], Upper] = setting(CONDOR, "The index whose options are sold", "XSP")
    condor_exchange: Annotated[Literal["SMART", "CBOE"], Upper] = setting(CONDOR, "Where the package is sent", "SMART")
    condor_close_fallback: Annotated[Literal["legs", "sides", "none"], Lower] = setting(
        CONDOR, "How far a package that nobody takes may be taken apart to close it", "legs"
    )
    condor_touch_exit: Switch = setting(EXIT, "Out when the index reaches a short strike", True)
    condor_on_shutdown: Annotated[Literal["keep", "close"], Lower] = setting(EXIT, "An open condor at SIGTERM", "keep")

    condor_entry_from: Moment = setting(ENTRY, "Entries from", time(9, 35), time(9, 30), time(15, 0))
    condor_entry_until: Moment = setting(
        ENTRY, "Entries until; as much earlier as the close is", time(14, 0), time(9, 31), time(15, 30)
    )
    condor_scan_seconds: Whole = setting(ENTRY, "From one scan to the next", 30, 2, 600)
    condor_vix_min: Exact = setting(ENTRY, "Least VIX", Decimal(10), 5, 150)
    condor_vix_max: Exact = setting(ENTRY, "Most VIX", Decimal(25), 5, 150)
    condor_delta: Exact = setting(ENTRY, "Delta of the shorts, without sign", Decimal("0.10"), 0.02, 0.4)
    condor_delta_tolerance: Exact = setting(ENTRY, "How far from it a short's may be", Decimal("0.03"), 0.005, 0.15)
    condor_wing_width: Exact = setting(ENTRY, "Dollars from a short to its wing", Decimal(2), 0.5, 100)
    condor_min_credit: Exact = setting(ENTRY, "Least credit, dollars a share", Decimal("0.20"), 0.01, 50)
    condor_max_credit_percent: Exact = setting(ENTRY, "Most credit, of the width", Decimal(40), 1, 90)
    condor_natural_min_percent: Exact = setting(ENTRY, "Least natural credit, of mid", Decimal(50), 0, 100)
    condor_delta_credit_factor: Exact = setting(ENTRY, "Most mid, in widths times both deltas", Decimal("1.25"), 1, 10)
    condor_max_margin: Exact = setting(ENTRY, "Most margin, dollars for all units", Decimal(300), 10, MILLION)
    condor_units: Whole = setting(ENTRY, "Condors at a time, as one trade", 1, 1, 10)
    condor_max_trades_per_day: Whole = setting(ENTRY, "Trades opened a day", 2, 1, 20)
    condor_daily_loss_halt: Exact = setting(ENTRY, "Dollars lost today that end entries; 0 = off", Decimal(200), 0, MILLION)
    condor_entry_cooldown_seconds: Whole = setting(ENTRY, "From an exit to the next entry", 1800, 0, 23_400)

    condor_chase_cooldown_seconds: Whole = setting(CHASE, "From a failed chase on; doubled to 1800", 300, 0, 23_400)
    condor_chase_steps: Whole = setting(CHASE, "Most new prices in a chase", 8, 0, 50)
    condor_step_seconds: Seconds = setting(CHASE, "From a patient price to the next", 10.0, 1, 120)
    condor_chase_seconds: Seconds = setting(CHASE, "Longest chase", 180.0, 5, 900)
    condor_cancel_seconds: Seconds = setting(CHASE, "Longest wait for a cancel", 25.0, 1, 120)
    condor_exit_step_seconds: Seconds = setting(CHASE, "From an urgent price to the next", 5.0, 1, 60)
    condor_ack_seconds: Seconds = setting(CHASE, "No answer to an order for so long is unknown", 10.0, 1, 60)
    condor_settle_seconds: Seconds = setting(CHASE, "Quiet after an end before it counts", 2.0, 0.2, 30)
    condor_net_tick: Exact = setting(CHASE, "Tick of the package in dollars; 0 = the product's", Decimal(0), 0, 1)

    condor_stop_credit_multiple: Exact = setting(EXIT, "Stop: loss in credits", Decimal(2), 0.5, 20)
    condor_stop_dollars: Exact = setting(EXIT, "Stop: loss in dollars a unit, if that is less", Decimal(140), 1, MILLION)
    condor_exit_delta: Exact = setting(EXIT, "Out at a short's delta; 0 = off", Decimal(0), 0, 0.9)
    condor_time_exit: Annotated[Moment | None, BeforeValidator(_until)] = setting(
        EXIT,
        "Out by the clock; as much earlier as the close is",
        time(15, 45),
        time(10, 0),
        time(15, 59),
        allowed="a time from 10:00 to 15:59, or off",
    )
    condor_let_expire: Exact = setting(EXIT, "Cost to close at which it is left to expire", Decimal("0.05"), 0, 5)
    condor_profit_target_percent: Exact = setting(EXIT, "Profit, of the net credit; 0 = off", Decimal(50), 0, 100)
    condor_confirm_quotes: Whole = setting(EXIT, "Marks in a row that make a level", 3, 1, 20)
    condor_exit_alarm_seconds: Seconds = setting(EXIT, "An exit open for so long rings", 60.0, 5, 600)

    condor_blind_seconds: Seconds = setting(SIGHT, "No mark for so long is blind", 30.0, 5, 300)
    condor_fee_per_contract: Exact = setting(SIGHT, "Dollars a contract until the broker has said", Decimal("1.23"), 0, 20)
    condor_critical_loss: Exact = setting(SIGHT, "A mode's dollars that raise an alarm", Decimal(-500), -MILLION, -1)
    condor_quote_max_age_seconds: Seconds = setting(SIGHT, "Oldest quote of a leg", 15.0, 1, 60)
    condor_vix_max_age_seconds: Seconds = setting(SIGHT, "Oldest VIX", 120.0, 15, 600)
    condor_underlying_max_age_seconds: Seconds = setting(SIGHT, "Oldest value of the index", 30.0, 5, 120)
    condor_max_lines: Whole = setting(SIGHT, "Most market data lines", 60, 20, 95)
    condor_reconcile_seconds: Whole = setting(SIGHT, "From one snapshot to the next", 60, 5, 600)
    condor_paper_fill_chance: Exact = setting(SIGHT, "Paper: chance of a fill at natural", Decimal("0.25"), 0, 1)
    condor_paper_seed: Whole = setting(SIGHT, "Paper: the draws", 1, 0, 10**9)

    ibkr_host: HostName = setting(IBKR, "TWS or IB Gateway", "127.0.0.1", allowed="an address or host name")
    ibkr_port: Whole = setting(IBKR, "Its port", 7497, 1, 65_535)
    ibkr_client_id: Whole = setting(IBKR, "Our client id", 21, 1, 9999)
    ibkr_account: AccountId | None = setting(IBKR, "The account, if the session has several", None, allowed=ACCOUNT_WORDS)
    ibkr_timeout_seconds: Seconds = setting(IBKR, "Whole time of one answer", 10.0, 1, 60)


@cache
def fields() -> dict[str, FieldInfo]:
    """The settings by name, in order."""
    return {name.upper(): field for name, field in Settings.model_fields.items()}


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    field = fields()[name]
    kind: Any = Annotated[(field.annotation, name, *field.metadata)]
    return TypeAdapter(kind)


def read(given: Mapping[str, str]) -> tuple[Settings | None, list[str]]:
    """The section in a mapping of names to texts, or every fault of it; names that are not its own are passed over."""
    values: dict[str, Any] = {}
    faults, bad = [], set()
    for name, field in fields().items():
        text = given.get(name, "")
        try:
            if text := cleaned(text):
                values[name] = _adapter(name).validate_python(text)
        except (ValidationError, ValueError, KeyError):
            faults.append(fault(name, field, text))
            bad.add(name)
    faults += contradictions(values, bad, bool(given.get("CLOCK_FILE")))
    if faults:
        return None, faults
    return Settings.model_construct(**{name.lower(): value for name, value in values.items()}), []


# --- what cannot hold together -----------------------------------------------------------------------------------------


def _pays_its_fees(credit: Decimal, fee: Decimal) -> bool:
    return credit * SHARES > OPENS_TO * fee


def _is_live_armed(broker: str, live: SecretStr | None, account: SecretStr | None) -> bool:
    return broker != "ibkr-live" or (live is not None and account is not None and live == account)


RULES: tuple[tuple[str, Callable[..., bool], str], ...] = (
    ("CONDOR_ENTRY_FROM CONDOR_ENTRY_UNTIL", time.__lt__, "CONDOR_ENTRY_FROM must be before CONDOR_ENTRY_UNTIL"),
    (
        "CONDOR_ENTRY_UNTIL CONDOR_TIME_EXIT",
        lambda until, out: out is None or until < out,
        "CONDOR_ENTRY_UNTIL must be before CONDOR_TIME_EXIT",
    ),
    ("CONDOR_VIX_MIN CONDOR_VIX_MAX", Decimal.__le__, "CONDOR_VIX_MIN must not be above CONDOR_VIX_MAX"),
    ("CONDOR_DELTA CONDOR_DELTA_TOLERANCE", Decimal.__gt__, "CONDOR_DELTA must be above CONDOR_DELTA_TOLERANCE"),
    (
        "CONDOR_MIN_CREDIT CONDOR_MAX_CREDIT_PERCENT CONDOR_WING_WIDTH",
        lambda least, percent, width: least * 100 < percent * width,
        "CONDOR_MIN_CREDIT must be below CONDOR_MAX_CREDIT_PERCENT of CONDOR_WING_WIDTH",
    ),
    (
        "CONDOR_MIN_CREDIT CONDOR_FEE_PER_CONTRACT",
        _pays_its_fees,
        "CONDOR_MIN_CREDIT must be more than the fees of four legs",
    ),
    (
        "CONDOR_WING_WIDTH CONDOR_UNITS CONDOR_MAX_MARGIN",
        lambda width, units, most: width * SHARES * units <= most,
        "CONDOR_WING_WIDTH of CONDOR_UNITS must need no more than CONDOR_MAX_MARGIN",
    ),
    (
        "CONDOR_QUOTES CONDOR_BROKER",
        lambda quotes, broker: quotes != "massive" or broker == "paper",
        "CONDOR_QUOTES massive goes with CONDOR_BROKER paper only: a venue's own quotes are those that fill",
    ),
    (
        "CONDOR_BROKER CONDOR_LIVE IBKR_ACCOUNT",
        _is_live_armed,
        "CONDOR_BROKER ibkr-live needs CONDOR_LIVE and IBKR_ACCOUNT, both the account's id in full",
    ),
)


def contradictions(values: Mapping[str, Any], bad: set[str], simulated: bool) -> Iterator[str]:
    """What cannot hold together among the settings that are right by themselves; `values` are those that were given."""

    def value(name: str) -> Any:
        return values.get(name, fields()[name].default)

    for names, holds, sentence in RULES:
        if bad.isdisjoint(names.split()) and not holds(*map(value, names.split())):
            yield sentence
    if value("CONDOR_BROKER") == "ibkr-live" and "IBKR_PORT" not in {*values, *bad}:
        yield "CONDOR_BROKER ibkr-live needs IBKR_PORT to be given"
    if value("CONDOR_PRODUCT") == "SPX" and (missing := [name for name in SCALED if name not in values and name not in bad]):
        yield f"CONDOR_PRODUCT SPX needs its own {', '.join(missing)}: the defaults are in XSP's scale"
    if simulated and "IBKR_HOST" not in bad and not is_loopback(value("IBKR_HOST")):
        yield "CLOCK_FILE is for a simulated market: IBKR_HOST must be on this machine"


def cautions(settings: Settings) -> Iterator[str]:
    """What is odd and yet allowed."""
    if not is_loopback(settings.ibkr_host):
        yield "IBKR_HOST is not this machine: what is said to TWS is not encrypted"


# --- amounts as the rules take them ------------------------------------------------------------------------------------

TICKS = {"XSP": 10, "SPX": 50}  # mills: of the package, by product
CLASSES = {"XSP": "XSP", "SPX": "SPXW"}


def tick(settings: Settings) -> int:
    """The package's tick in mills."""
    return to_mills(settings.condor_net_tick) or TICKS[settings.condor_product]


def width(settings: Settings) -> int:
    """From a short to its wing, in mills."""
    return to_mills(settings.condor_wing_width)


def floor(settings: Settings) -> int:
    """The least credit in mills: no order is sent under it."""
    return to_mills(settings.condor_min_credit)


def quotes_of(settings: Settings) -> str:
    """Whose quotes are believed: `ibkr` or `massive`."""
    if settings.condor_quotes == "auto":
        return "massive" if settings.condor_broker == "paper" else "ibkr"
    return settings.condor_quotes
