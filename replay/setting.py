"""From settings to what the compiled path takes, and a session's bars to streams."""

from __future__ import annotations

from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

import risk_manager
from config import Config, ConfigError, fields, misspelt
from contract_selector import band
from disk.tape import STAND_INS
from replay.bars import BarArrays, Floats
from replay.show import ReplayError
from utils import Session, to_mills

if TYPE_CHECKING:
    from replay.kernel import Hours, Rules, Stream

KEYS = {name: STAND_INS[name] for name in ("POLYGON_API_KEY", "PUSHOVER_TOKEN", "PUSHOVER_USER_KEY")}
_OF_READINGS = """
WARMUP_SECONDS VWAP_TREND_FILTER RELATIVE_VOLUME_FILTER LEADERSHIP_FILTER RELATIVE_VOLUME_MIN SPY_IWM_LAG_THRESHOLD
"""
_OF_TRADES = """
ENTRY_COOLDOWN_SECONDS SIGNAL_COOLDOWN_SECONDS SIGNAL_MAX_AGE_SECONDS MAX_TRADES_PER_DAY DAILY_LOSS_HALT DELTA_MIN DELTA_MAX
DELTA_WIDEN MIN_NBBO_SIZE MAX_SPREAD_PERCENT MIN_VOLUME MIN_OPEN_INTEREST QUOTE_MAX_AGE_SECONDS MAX_CONTRACTS_TO_TRACK
ENTRY_SLIPPAGE FEE_PER_CONTRACT STOP_LOSS_PERCENT STOP_CONFIRM_QUOTES MAX_GIVEBACK_PERCENT TIGHTEN_GIVEBACK_PERCENT
CHAIN_POLL_SECONDS EXIT_POLL_SECONDS NO_ENTRY_AFTER HARD_TIME_STOP
"""
READ = frozenset(_OF_READINGS.split())  # what the readings and conditions 1-7 read
RULED = READ | frozenset(_OF_TRADES.split())  # what the rules of a session read, whichever path decides
FILLS = {"as ruled": 0, "mid": 1, "one tick worse": 2}


def config_of(settings: dict[str, str]) -> Config:
    """The settings named, defaults for the rest; no key is needed to replay. ReplayError names every fault."""
    try:
        config = Config.from_env(KEYS | settings)
    except ConfigError as fault:
        raise ReplayError(str(fault)) from None
    if unknown := list(misspelt(settings)):
        raise ReplayError("\n".join(unknown))
    return config


def settings_of(pairs: list[str]) -> dict[str, str]:
    """`NAME=VALUE` texts as a mapping. ReplayError for what is none, is no setting, changes nothing here, or is given two values."""
    if bad := [pair for pair in pairs if "=" not in pair]:
        raise ReplayError(f"{bad[0]} is no setting: NAME=VALUE")
    given: dict[str, str] = {}
    for name, value in (pair.split("=", 1) for pair in pairs):
        if given.setdefault(name, value) != value:
            raise ReplayError(f"{name} is given twice: {given[name]} and {value}")
    check_names(list(given))
    return given


def check_names(names: list[str], obeyed: frozenset[str] = RULED) -> None:
    """ReplayError names every one that is no setting of the worker, or one that no decision of a replay reads."""
    faults = []
    for name in names:
        if name in obeyed:
            continue
        near = get_close_matches(name, obeyed, 1)
        if name in fields():
            faults.append(f"{name} changes nothing here")
        else:
            faults.append(f"{name} is no setting" + (f"; {near[0]} is the nearest" if near else ""))
    if faults:
        raise ReplayError("\n".join(faults))


def percent(value: Decimal) -> tuple[int, int]:
    """A percent setting as a fraction of whole numbers."""
    return (value / 100).as_integer_ratio()


def rules_of(config: Config, fill: str = "as ruled") -> Rules:
    from replay.kernel import Rules

    low, high = band(config)
    spread, stop = percent(config.max_spread_percent), percent(config.stop_loss_percent)
    hard, tight = percent(config.max_giveback_percent), percent(config.tighten_giveback_percent)
    return Rules(
        config.warmup_seconds,
        config.vwap_trend_filter,
        config.relative_volume_filter,
        config.leadership_filter,
        float(config.relative_volume_min),
        -float(config.spy_iwm_lag_threshold),
        float(config.entry_cooldown_seconds),
        float(config.signal_cooldown_seconds),
        float(config.signal_max_age_seconds),
        config.max_trades_per_day,
        abs(to_mills(config.daily_loss_halt)),
        low,
        high,
        config.min_nbbo_size,
        *spread,
        float(config.max_spread_percent),
        config.min_volume,
        config.min_open_interest,
        float(config.quote_max_age_seconds),
        config.max_contracts_to_track,
        to_mills(config.entry_slippage),
        to_mills(config.fee_per_contract),
        *stop,
        config.stop_confirm_quotes,
        *hard,
        *tight,
        float(config.chain_poll_seconds),
        float(config.exit_poll_seconds),
        FILLS[fill],
    )


def hours_of(config: Config, session: Session) -> Hours:
    from replay.kernel import Hours

    return Hours(
        session.open_at,
        session.close_at,
        risk_manager.entry_cutoff(config, session),
        risk_manager.time_stop(config, session),
    )


def stream_of(bars: BarArrays, delay_s: float) -> Stream:
    """Bars that come `delay_s` after their end, in order."""
    from replay.kernel import Stream

    return Stream(np.asarray(bars.start + (1.0 + delay_s), np.float64), bars.start, bars.close, bars.volume, bars.vwap)


def as_array(profile: tuple[float, ...] | None) -> Floats:
    return np.array(profile or (), dtype=np.float64)
