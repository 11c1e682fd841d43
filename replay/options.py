"""Quotes of one day's calls for a session whose own were not recorded: the simulator's chain model, value by value, compiled.

The same formulas as `simulator.chain.ChainModel` (a test holds them equal, price for price), one contract and one instant at a
time, so that the desk and the fast path ask the very same market. All of it is MODELLED, and said to be wherever it is shown.
Prices are mills, strikes mills, times Unix seconds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from events import ChainRow, Quote
from simulator.chain import BREATH_S, YEAR_S, ChainModel
from utils import Session

MODELLED = "option quotes modelled (Black-Scholes over a smile, spreads and sizes like real 0DTE chains), not recorded"

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2, MIX_3 = np.uint64(0xD1B54A32D192ED03), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
SHIFT_30, SHIFT_27, SHIFT_31, SHIFT_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
SECOND_YEARS = 1.0 / YEAR_S
WAVE_1, WAVE_2, WAVE_3 = BREATH_S


class Chain(NamedTuple):
    """One day's calls as the compiled functions take them; `strikes` are the standard contracts', lowest first."""

    key: int
    open_at: float
    close_at: float
    reference: float
    at_the_money: float
    morning: float
    tilt: float
    wave_1: float
    wave_2: float
    wave_3: float
    dearer: float
    strikes: NDArray[np.int64]


class ModelQuote(NamedTuple):
    """A call at an instant: mills, contracts, seconds of age, delta and IV as the feed would give them."""

    bid: int
    ask: int
    bid_size: int
    ask_size: int
    age_s: float
    delta: float
    iv: float


def chain_of(seed: int, session: Session, reference: float, half_strikes: bool | None = None) -> Chain:
    """The model of a session whose underlying opened at `reference`."""
    model = ChainModel(seed, session, reference, half_strikes=half_strikes)
    shape = model.shape
    return Chain(
        seed * 1_000_003 + session.date.toordinal() * 101,
        float(session.open_at),
        float(session.close_at),
        reference,
        shape.at_the_money,
        shape.morning,
        shape.tilt,
        *shape.waves,
        shape.dearer,
        np.ascontiguousarray(model.strikes[~model.adjusted]),
    )


@njit(cache=True, nogil=True, inline="always")
def chance(key: int, salt: int, contract: int, bucket: int) -> float:
    """A number in [0, 1) for a contract and a stretch of time: splitmix64 of both."""
    x = np.uint64(contract) * GOLDEN + np.uint64(key + salt)
    x = x ^ (np.uint64(bucket) * MIX_1)
    x = (x ^ (x >> SHIFT_30)) * MIX_2
    x = (x ^ (x >> SHIFT_27)) * MIX_3
    x = x ^ (x >> SHIFT_31)
    return float(x >> SHIFT_11) / 9007199254740992.0


@njit(cache=True, nogil=True, inline="always")
def normal(x: float) -> float:
    """The standard normal distribution function, as Cephes has it."""
    z = x * 0.7071067811865476
    if abs(z) < 0.7071067811865476:
        return 0.5 + 0.5 * math.erf(z)
    tail = 0.5 * math.erfc(abs(z))
    return 1.0 - tail if z > 0.0 else tail


@njit(cache=True, nogil=True)
def level_at(chain: Chain, at: float) -> float:
    """Volatility at the money at a time of day."""
    hours = max(at - chain.open_at, 0.0) / 3600
    breath = 0.004 * math.sin(at / WAVE_1 + chain.wave_1)
    breath += 0.004 * math.sin(at / WAVE_2 + chain.wave_2)
    breath += 0.004 * math.sin(at / WAVE_3 + chain.wave_3)
    return (chain.at_the_money + chain.morning * math.exp(-hours / 1.5) + breath) * chain.dearer


@njit(cache=True, nogil=True)
def seen(chain: Chain, at: float, spot: float, strike: int) -> ModelQuote:
    """The quote of one call at an instant at which the underlying stands at `spot`."""
    price = strike / 1000
    percent = (price / spot - 1) * 100
    iv = level_at(chain, at) + (0.028 * (math.sqrt(1 + percent * percent) - 1) - chain.tilt * percent)
    iv = min(max(iv, 0.08), 0.6)
    years = max(chain.close_at - at, 1.0) / YEAR_S
    deviation = iv * math.sqrt(max(years, SECOND_YEARS))
    d1 = math.log(spot / price) / deviation + deviation / 2
    delta = normal(d1)
    fair = max(spot * delta - price * normal(d1 - deviation), 0.0) * 100
    second, contract = math.floor(at), strike * 2
    mid = max(fair + 0.3 * (chance(chain.key, 1, contract, second) - 0.5), 0.0)
    width = width_of(mid, chance(chain.key, 2, contract, second // 5))
    bid = max(np.rint(mid - width / 2), 0.0)
    ask = max(bid + width, 1.0)
    near = math.exp(-abs(price - spot) / 8)
    ask_size = size(chain.key, 4, contract, second // 2, near)
    if mid < 0.6:
        age = 40 + 4000 * chance(chain.key, 5, contract, second // 60)
        return ModelQuote(0, int(ask) * 10, 0, ask_size, age, delta, iv)
    bid_size = size(chain.key, 3, contract, second // 2, near)
    age = 1.5 * chance(chain.key, 5, contract, second) / near
    return ModelQuote(int(bid) * 10, int(ask) * 10, bid_size, ask_size, age, delta, iv)


@njit(cache=True, nogil=True, inline="always")
def width_of(mid: float, luck: float) -> float:
    """The spread in cents."""
    if mid < 60:
        return 1.0
    if mid < 100:
        return 2.0 if luck < 0.8 else 3.0
    if mid < 250:
        return min(max(float(np.rint(mid * (0.02 + 0.02 * luck))), 2.0), 7.0)
    return float(np.rint(max(mid * 0.015, 5.0) + 12 * luck))


@njit(cache=True, nogil=True, inline="always")
def size(key: int, salt: int, contract: int, bucket: int, near: float) -> int:
    luck = min(max(chance(key, salt, contract, bucket), 0.004), 0.996)
    spread = math.log(luck / (1 - luck)) * 0.27
    return int(max(np.rint((25 + 75 * near) * math.exp(spread)), 1.0))


@njit(cache=True, nogil=True)
def day_volume(chain: Chain, at: float, strike: int) -> int:
    """Contracts traded today by `at`."""
    away = abs(strike / 1000 - chain.reference)
    whole = 1.0 if strike % 1000 == 0 else 0.4
    whim = math.exp(1.0 * (chance(chain.key, 11, strike * 2, 0) - 0.5))
    hours = max(at - chain.open_at, 0.0) / 3600
    by_now = (1 - math.exp(-hours / 1.2)) * 0.75 + 0.12 * hours
    return math.floor(52_000 * math.exp(-away / 2.2) * whole * whim * by_now)


@njit(cache=True, nogil=True)
def open_interest(chain: Chain, strike: int) -> int:
    away = abs(strike / 1000 - chain.reference)
    whole = 2.0 if strike % 5000 == 0 else (1.0 if strike % 1000 == 0 else 0.6)
    whim = math.exp(1.6 * (chance(chain.key, 12, strike * 2, 0) - 0.5))
    return math.floor(4_600 * math.exp(-away / 9) * whole * whim)


@njit(cache=True, nogil=True)
def snapshot(chain: Chain, at: float, spot: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Every call at an instant: bid, ask, bid size, ask size, day volume, open interest; and age, delta, IV."""
    count = len(chain.strikes)
    whole, real = np.empty((count, 6), np.int64), np.empty((count, 3), np.float64)
    for k in range(count):
        strike = chain.strikes[k]
        now = seen(chain, at, spot, strike)
        whole[k, 0], whole[k, 1], whole[k, 2], whole[k, 3] = now.bid, now.ask, now.bid_size, now.ask_size
        whole[k, 4], whole[k, 5] = day_volume(chain, at, strike), open_interest(chain, strike)
        real[k, 0], real[k, 1], real[k, 2] = now.age_s, now.delta, now.iv
    return whole, real


# --- as the desk takes them --------------------------------------------------------------------------------------------


def quote_of(chain: Chain, at: float, spot: float, strike: int) -> Quote:
    now = seen(chain, at, spot, strike)
    return Quote(now.bid, now.ask, now.bid_size, now.ask_size, at - now.age_s)


def rows_of(chain: Chain, session: Session, underlying: str, at: float, spot: float) -> tuple[ChainRow, ...]:
    """The whole chain as a snapshot has it; the price of the underlying it goes by is the live one, and not said again."""
    whole, real = snapshot(chain, at, spot)
    day, prefix = session.date.isoformat(), f"O:{underlying}{session.date:%y%m%d}C"
    return tuple(
        ChainRow(
            contract=f"{prefix}{strike:08d}",
            right="call",
            strike=strike,
            expiration=day,
            shares=100,
            quote=Quote(bid, ask, bid_size, ask_size, at - age),
            delta=delta,
            iv=iv,
            volume=volume,
            volume_at=at,
            open_interest=interest,
        )
        for strike, (bid, ask, bid_size, ask_size, volume, interest), (age, delta, iv) in zip(
            chain.strikes.tolist(), whole.tolist(), real.tolist(), strict=True
        )
    )
