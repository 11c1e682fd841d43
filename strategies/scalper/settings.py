"""The scalper's section of the settings: what may be set, within which bounds, and what cannot hold together.

In the environment every name has the prefix SCALPER_, but for those of Alpaca. Percents are in percent, money in dollars, times
New York's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import time
from decimal import Decimal
from functools import cache
from operator import le, lt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr
from pydantic.fields import FieldInfo

from setting import (
    HTTP_WORDS,
    SOCKET_WORDS,
    ApiKey,
    Exact,
    HttpBase,
    Lower,
    Moment,
    Seconds,
    SocketUrl,
    Switch,
    Symbols,
    Whole,
    group_of,
    host_of,
    is_hidden,
    is_loopback,
    read_fields,
    setting,
    shown,
)

PREFIX = "SCALPER_"
SIGNAL, CONTRACT, EXITS, ORDERS = "Scalper: signal", "Scalper: contract", "Scalper: exits", "Scalper: orders"
DISCIPLINE, MODEL, ALPACA = "Scalper: discipline and auto-trade", "Scalper: model and flow", "Alpaca"
RULED = (SIGNAL, CONTRACT, EXITS)  # what a model file was made under
SYMBOLS = ("QQQ", "IWM", "AAPL", "AMZN", "AVGO", "GOOGL", "META", "MSFT", "NVDA", "TSLA")
FIRST, LAST = time(9, 31), time(15, 0)
MANY = 10_000_000
HOSTS = {"alpaca-paper": "paper-api.alpaca.markets", "alpaca-live": "api.alpaca.markets"}


def _symbol(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{1,5}(\.[A-Z])?", text.upper()):
        raise ValueError("no symbol")
    return text.upper()


def _account(text: str) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9]{4,20}", text):
        raise ValueError("no account")
    return SecretStr(text.upper())


Symbol = Annotated[str, BeforeValidator(_symbol)]
AccountNumber = Annotated[SecretStr, BeforeValidator(_account)]
KEY_WORDS = "8 to 128 letters, digits and _ . ~ -"


class Settings(BaseModel):
    """The section; an attribute is a setting's name in lower case, without the prefix."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    symbols: Symbols = setting(SIGNAL, "What is traded", SYMBOLS, allowed="1 to 10 symbols, parted by commas")
    benchmark: Symbol = setting(SIGNAL, "What must be outperformed; never traded", "SPY", allowed="a symbol")
    bar_grace_seconds: Seconds = setting(SIGNAL, "From a minute's end to its closing", 3.0, 1, 10)
    warm_bars: Whole = setting(SIGNAL, "Minutes of earlier sessions that EMA and RSI begin with", 250, 50, 2000)
    ema_fast: Whole = setting(SIGNAL, "Condition 1: minutes of the fast EMA", 9, 2, 100)
    ema_slow: Whole = setting(SIGNAL, "Condition 1: minutes of the slow EMA", 21, 2, 100)
    cross_bars: Whole = setting(SIGNAL, "Condition 1: the cross came at one of so many bars", 3, 1, 10)
    rsi_bars: Whole = setting(SIGNAL, "Condition 2: minutes of the RSI", 14, 2, 50)
    rsi_rule: Annotated[Literal["level", "cross"], Lower] = setting(
        SIGNAL, "Condition 2: beyond the level, or come through it too", "level"
    )
    rsi_low: Whole = setting(SIGNAL, "Condition 2: a long needs more", 30, 1, 49)
    rsi_high: Whole = setting(SIGNAL, "Condition 2: a short needs less", 70, 51, 99)
    rsi_cross_bars: Whole = setting(SIGNAL, "Condition 2, cross: it came through at one of so many bars", 30, 1, 120)
    volume_ratio: Exact = setting(SIGNAL, "Condition 3: times the mean volume", Decimal("2.0"), 1, 20)
    volume_min_bars: Whole = setting(SIGNAL, "Condition 3: least minutes of the mean", 10, 2, 60)
    volume_bars: Whole = setting(SIGNAL, "Condition 3: most minutes of the mean", 20, 2, 60)
    vwap_break_bars: Whole = setting(SIGNAL, "Condition 4: one of so many bars before was not beyond", 5, 1, 30)
    rs_minutes: Whole = setting(SIGNAL, "Condition 5: minutes of the change", 15, 1, 120)
    rs_margin: Exact = setting(SIGNAL, "Condition 5: percentage points ahead", Decimal("0.05"), 0, 5)
    window_start: Moment = setting(SIGNAL, "Condition 6: signals from", time(9, 31), FIRST, LAST)
    window_end: Moment = setting(SIGNAL, "Condition 6: signals until", time(11, 30), FIRST, LAST)
    signal_cooldown_seconds: Whole = setting(SIGNAL, "From a signal to the next of its symbol and direction", 300, 0, 7200)

    delta_min: Exact = setting(CONTRACT, "Least delta, without sign", Decimal("0.30"), 0.01, 0.99)
    delta_target: Exact = setting(CONTRACT, "Delta that is sought", Decimal("0.45"), 0.01, 0.99)
    delta_max: Exact = setting(CONTRACT, "Most delta", Decimal("0.60"), 0.01, 0.99)
    max_spread_percent: Exact = setting(CONTRACT, "Widest spread, of mid", Decimal(4), 0.1, 50)
    min_premium: Exact = setting(CONTRACT, "Least mid in dollars", Decimal("0.20"), 0.01, 10)
    min_size: Whole = setting(CONTRACT, "Least contracts on bid and on ask", 10, 1, 100_000)
    min_volume: Whole = setting(CONTRACT, "Least contracts traded today", 500, 0, MANY)
    min_open_interest: Whole = setting(CONTRACT, "Least open interest", 500, 0, MANY)
    quote_max_age_seconds: Whole = setting(CONTRACT, "Oldest quote at execution", 5, 1, 15)
    chain_poll_seconds: Seconds = setting(CONTRACT, "From one chain to the next", 30.0, 5, 60)

    target_1_percent: Exact = setting(EXITS, "Target 1, above entry", Decimal(25), 1, 500)
    target_2_percent: Exact = setting(EXITS, "Target 2, above entry", Decimal(50), 1, 500)
    target_1_part_percent: Exact = setting(EXITS, "Part that leaves at target 1, rounded up", Decimal(50), 1, 100)
    stop_after_target_percent: Exact = setting(EXITS, "Stop once target 1 has sold, below entry", Decimal(0), 0, 99)
    stop_percent: Exact = setting(EXITS, "Stop, below entry", Decimal(50), 0, 99)
    stop_confirm_quotes: Whole = setting(EXITS, "Usable quotes in a row that make the stop", 2, 1, 10)
    force_close: Moment = setting(EXITS, "All is sold (close - 60 min if earlier)", time(11, 30), time(9, 32), LAST)
    exit_step_seconds: Seconds = setting(EXITS, "From one price of a sale to the next", 2.0, 1, 10)
    on_shutdown: Annotated[Literal["close", "keep"], Lower] = setting(EXITS, "Open positions at SIGTERM", "close")

    broker: Annotated[Literal["paper", "alpaca-paper", "alpaca-live"], Lower] = setting(
        ORDERS, "Who takes the orders; each has a record of its own", "paper"
    )
    live: AccountNumber | None = setting(
        ORDERS,
        "The live account's number in full: without it no real money moves",
        None,
        allowed="an account's number, 4 to 20 letters and digits",
    )
    paper_equity: Exact = setting(ORDERS, "Dollars that paper begins with", Decimal(25_000), 1_000, MANY)
    risk_percent: Exact = setting(ORDERS, "Most premium of a trade, of equity", Decimal(2), 0.1, 2)
    max_contracts: Whole = setting(ORDERS, "Most contracts of a trade", 10, 1, 10)
    fee_per_contract: Exact = setting(ORDERS, "Dollars taken off each way", Decimal("0.05"), 0, 10)
    signal_life_seconds: Whole = setting(ORDERS, "How long a signal may be executed", 30, 5, 60)
    last_entry_minutes: Whole = setting(ORDERS, "Minutes before the force close without entries", 5, 0, 60)
    entry_step_seconds: Seconds = setting(ORDERS, "From one price of an entry to the next", 3.0, 1, 60)
    entry_life_seconds: Seconds = setting(ORDERS, "Longest entry", 12.0, 1, 60)
    max_chase_percent: Exact = setting(ORDERS, "Most paid above the first mid", Decimal(5), 0, 20)

    max_trades: Whole = setting(DISCIPLINE, "Trades a day", 4, 1, 4)
    max_losses: Whole = setting(DISCIPLINE, "Losses in a row that end the day", 2, 1, 2)
    max_positions: Whole = setting(DISCIPLINE, "Positions at a time", 2, 1, 4)
    max_rejects: Whole = setting(DISCIPLINE, "Rejected entries in a row that end the day", 3, 1, 10)
    auto_start: Moment = setting(DISCIPLINE, "Auto-trade from", time(10, 0), FIRST, LAST)
    auto_end: Moment = setting(DISCIPLINE, "Auto-trade until", time(11, 0), FIRST, LAST)
    auto_min_confidence: Exact = setting(DISCIPLINE, "Least probability of target 1", Decimal("0.80"), 0.50, 0.99)

    model_min_signals: Whole = setting(MODEL, "Least judged signals", 100, 50, 10_000)
    model_min_sessions: Whole = setting(MODEL, "Least dates they are of", 60, 20, 2000)
    model_max_age_days: Whole = setting(MODEL, "Oldest model", 120, 1, 365)
    walls_seconds: Whole = setting(MODEL, "From one reading of the gamma walls to the next", 60, 10, 600)
    flow_premium: Exact = setting(MODEL, "Dollars in five minutes that are unusual", Decimal(50_000), 1_000, MANY)
    flow_ratio: Exact = setting(MODEL, "Times the open interest that is unusual", Decimal(3), 1, 100)
    signal_alerts: Switch = setting(MODEL, "Tell the phone of every signal", True)

    alpaca_key_id: ApiKey | None = setting(ALPACA, "Key of the mode's account", None, allowed=KEY_WORDS)
    alpaca_secret_key: ApiKey | None = setting(ALPACA, "Its secret", None, allowed=KEY_WORDS)
    alpaca_url: HttpBase | None = setting(
        ALPACA, "Base without /v2: the mode's own host, or this machine", None, allowed=HTTP_WORDS
    )
    alpaca_stream_url: SocketUrl | None = setting(
        ALPACA, "trade_updates: the mode's own host, or this machine", None, allowed=SOCKET_WORDS
    )
    alpaca_timeout_seconds: Seconds = setting(ALPACA, "Whole time of one call", 5.0, 0.5, 30)


@cache
def fields() -> dict[str, FieldInfo]:
    """The settings by their names in the environment, in order."""
    return {_named(name): field for name, field in Settings.model_fields.items()}


def _named(attribute: str) -> str:
    return attribute.upper() if attribute.startswith("alpaca_") else PREFIX + attribute.upper()


def read(given: Mapping[str, str]) -> tuple[Settings | None, list[str]]:
    """The section in a mapping of names to texts, or every fault of it; names that are not its own are passed over."""
    values, faults, bad = read_fields(fields(), given)
    faults += contradictions(values, bad)
    url, stream = (values.get(name) for name in ("ALPACA_URL", "ALPACA_STREAM_URL"))
    if given.get("CLOCK_FILE") and values.get("SCALPER_BROKER", "paper") != "paper" and not _both_here(url, stream):
        faults.append("CLOCK_FILE is for a simulated market: ALPACA_URL and ALPACA_STREAM_URL must be on this machine")
    if faults:
        return None, faults
    attributes = {_named(name): name for name in Settings.model_fields}
    return Settings.model_construct(**{attributes[name]: value for name, value in values.items()}), []


def non_defaults(settings: Settings) -> dict[str, str]:
    """The settings that differ from their defaults, as one would write them; of a secret only that it is set."""
    told = {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if value != field.default:
            told[_named(name)] = "(set)" if is_hidden(field) else shown(value)
    return told


# --- what cannot hold together -----------------------------------------------------------------------------------------


def _break_even(stop: Decimal, target: Decimal) -> Decimal:
    """How often target 1 must come before the stop for a bet without costs not to lose; a fraction."""
    return stop / (stop + target)


def _own_host(broker: str, url: str | None) -> bool:
    """Whether a place is the mode's own, or on this machine; paper goes nowhere."""
    host = host_of(url)
    return url is None or broker == "paper" or is_loopback(host) or host == HOSTS[broker]


def _both_here(*urls: str | None) -> bool:
    return all(url is not None and is_loopback(host_of(url)) for url in urls)


def _ordered(names: str, holds: Callable[[Any, Any], bool], words: str) -> tuple[str, Callable[..., bool], str]:
    first, second = (PREFIX + name for name in names.split())
    return f"{first} {second}", holds, f"{first} must {words} {second}"


RULES: tuple[tuple[str, Callable[..., bool], str], ...] = (
    _ordered("EMA_FAST EMA_SLOW", lt, "be below"),
    _ordered("RSI_LOW RSI_HIGH", lt, "be below"),
    _ordered("VOLUME_MIN_BARS VOLUME_BARS", le, "not be above"),
    _ordered("WINDOW_START WINDOW_END", lt, "be before"),
    _ordered("DELTA_MIN DELTA_MAX", lt, "be below"),
    _ordered("DELTA_MIN DELTA_TARGET", le, "not be above"),
    _ordered("DELTA_TARGET DELTA_MAX", le, "not be above"),
    _ordered("TARGET_1_PERCENT TARGET_2_PERCENT", lt, "be below"),
    _ordered("STOP_AFTER_TARGET_PERCENT STOP_PERCENT", le, "not be above"),
    _ordered("ENTRY_STEP_SECONDS ENTRY_LIFE_SECONDS", le, "not be above"),
    _ordered("AUTO_START AUTO_END", lt, "be before"),
    _ordered("WINDOW_START AUTO_START", le, "not be after"),
    _ordered("AUTO_END WINDOW_END", le, "not be after"),
    _ordered("WINDOW_END FORCE_CLOSE", le, "not be after"),
    (
        "SCALPER_BENCHMARK SCALPER_SYMBOLS",
        lambda benchmark, symbols: benchmark not in symbols,
        "SCALPER_BENCHMARK cannot outperform itself: leave it out of SCALPER_SYMBOLS",
    ),
    (
        "SCALPER_AUTO_MIN_CONFIDENCE SCALPER_STOP_PERCENT SCALPER_TARGET_1_PERCENT",
        lambda least, stop, target: least > _break_even(stop, target),
        "SCALPER_AUTO_MIN_CONFIDENCE must be above stop/(stop + target 1): below it the bet loses by its own figures",
    ),
    (
        "SCALPER_BROKER SCALPER_LIVE",
        lambda broker, live: broker != "alpaca-live" or live is not None,
        "SCALPER_BROKER alpaca-live needs SCALPER_LIVE, the account's number in full",
    ),
    (
        "SCALPER_BROKER ALPACA_KEY_ID ALPACA_SECRET_KEY",
        lambda broker, key, secret: broker == "paper" or (key is not None and secret is not None),
        "SCALPER_BROKER of Alpaca needs ALPACA_KEY_ID and ALPACA_SECRET_KEY",
    ),
    ("SCALPER_BROKER ALPACA_URL", _own_host, "ALPACA_URL must be SCALPER_BROKER's own host, or this machine"),
    ("SCALPER_BROKER ALPACA_STREAM_URL", _own_host, "ALPACA_STREAM_URL must be SCALPER_BROKER's own host, or this machine"),
)


def contradictions(values: Mapping[str, Any], bad: set[str]) -> Iterator[str]:
    """What cannot hold together among the settings that are right by themselves; `values` are those that were given."""
    for names, holds, sentence in RULES:
        told = names.split()
        if bad.isdisjoint(told) and not holds(*(values.get(name, fields()[name].default) for name in told)):
            yield sentence


# --- what a model was made under ---------------------------------------------------------------------------------------


def ruled() -> dict[str, FieldInfo]:
    """The settings of signal, contract and exits: a model made under others speaks of another bet."""
    return {name: field for name, field in fields().items() if group_of(field) in RULED}
