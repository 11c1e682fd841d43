"""The chain model: textbook values, and the looks of real 0DTE chains."""

from datetime import date

import numpy as np
import pytest

from simulator.chain import CALL, PUT, ChainModel, black_scholes
from utils import SessionCalendar

SESSION = SessionCalendar(date(2026, 11, 20)).on(date(2026, 11, 20))
assert SESSION is not None
ELEVEN = SESSION.open_at + 5400.0
SPOT = 240.32


def model(seed: int = 1, **options) -> ChainModel:
    return ChainModel(seed, SESSION, 240.3, **options)


def test_black_scholes_gives_the_textbook_call_and_put():
    # Hull's example: S 42, K 40, r 10 %, half a year, 20 % gives 4.76 and 0.81; here on the forward.
    growth = float(np.exp(0.05))
    call = black_scholes(42.0 * growth, 40.0, 0.5, 0.2, False)
    put = black_scholes(42.0 * growth, 40.0, 0.5, 0.2, True)
    assert float(call.price) / growth == pytest.approx(4.76, abs=0.005)
    assert float(put.price) / growth == pytest.approx(0.81, abs=0.005)
    assert float(call.delta - put.delta) == pytest.approx(1.0)
    moved = black_scholes(42.0 * growth + 0.01, 40.0, 0.5, 0.2, False)
    assert float(moved.price - call.price) / 0.01 == pytest.approx(float(call.delta), abs=1e-3)


def test_the_same_seed_time_and_spot_give_the_same_chain():
    assert model(3).rows(ELEVEN, SPOT) == model(3).rows(ELEVEN, SPOT)
    assert model(3).rows(ELEVEN, SPOT) != model(4).rows(ELEVEN, SPOT)


def test_quotes_over_arrays_are_the_rows_quotes():
    chain = model()
    strike = int(chain.strikes[40])
    times = ELEVEN + np.arange(50.0)
    quotes = chain.quotes(times, np.full(50, SPOT), strike)
    for k in (0, 17, 49):
        row = chain.rows(float(times[k]), SPOT, (CALL,), only=chain.tickers[CALL][40])[0]
        assert round(row["last_quote"]["bid"] * 1000) == quotes.bid[k]
        assert round(row["last_quote"]["ask"] * 1000) == quotes.ask[k]
        assert row["last_quote"]["bid_size"] == quotes.bid_size[k]


def test_strikes_are_a_dollar_apart_or_half_a_dollar_near_the_money():
    dollars = model(half_strikes=False).strikes[:-2]
    assert set(np.diff(dollars)) == {1000}
    halves = model(half_strikes=True).strikes[:-2]
    near = halves[np.abs(halves - 240_000) < 5000]
    assert set(np.diff(near)) == {500}


def test_the_full_chain_has_162_rows_and_the_size_of_a_real_one():
    rows = model().rows(ELEVEN, SPOT)
    assert len(rows) == 162
    assert [row["details"]["ticker"] for row in rows] == sorted(row["details"]["ticker"] for row in rows)


@pytest.mark.parametrize("seed", range(5))
def test_the_chain_looks_like_real_ones(seed):
    rows = model(seed, half_strikes=True).rows(ELEVEN, SPOT, (CALL,))
    live = [row for row in rows if row["details"]["shares_per_contract"] == 100 and row["greeks"]]
    at_money = [row for row in live if abs(row["details"]["strike_price"] - SPOT) < 1]
    for row in at_money:
        assert 0.15 <= row["implied_volatility"] <= 0.24
    assert any(3_000 <= row["day"]["volume"] <= 90_000 for row in at_money)
    assert all(300 <= row["open_interest"] <= 18_000 for row in at_money)
    for row in live:
        quote = row["last_quote"]
        width = round((quote["ask"] - quote["bid"]) * 100)
        if 0.05 < quote["midpoint"] < 0.6 and quote["bid"]:
            assert width == 1
        if 1 <= quote["midpoint"] <= 2:
            assert 2 <= width <= 7
    dead = [row for row in rows if row["last_quote"]["bid"] == 0 or not row["greeks"] or not row["day"]]
    assert len(dead) > len(rows) / 2, "most rows are far from the money and half dead"
    assert any(row["details"]["shares_per_contract"] != 100 for row in rows)


def test_a_call_of_delta_045_costs_about_half_a_dollar_in_the_morning():
    chain = model(half_strikes=True)
    strike = np.arange(239_000, 243_000, 10)
    iv = chain.iv(strike, ELEVEN - 1800, SPOT)
    values = black_scholes(SPOT, strike / 1000, chain.years(ELEVEN - 1800), iv, False)
    price = float(values.price[np.argmin(np.abs(values.delta - 0.45))])
    assert 0.35 < price < 0.65


def test_volatility_smiles_and_is_higher_early():
    chain = model()
    low, money, high = (float(chain.iv(k, ELEVEN, SPOT)) for k in (236_000, 240_000, 244_000))
    assert low > money
    assert high > money
    assert low > high, "the downside is dearer"
    early = np.mean(chain.iv(240_000, SESSION.open_at + np.arange(0, 1500.0), SPOT))
    late = np.mean(chain.iv(240_000, SESSION.open_at + np.arange(14_000, 15_500.0), SPOT))
    assert early > late + 0.005


def test_prices_are_whole_cents_and_never_crossed():
    times = SESSION.open_at + np.arange(0, 23_400, 7.0)
    for strike in (236_000, 240_000, 241_500, 250_000):
        for put in (False, True):
            quotes = model().quotes(times, np.full(len(times), SPOT), strike, put)
            assert (quotes.bid % 10 == 0).all()
            assert (quotes.ask > quotes.bid).all()


def test_day_volume_grows_through_the_day():
    chain = model()
    put = np.zeros(len(chain.strikes), bool)
    early, late = chain.day_volume(chain.strikes, ELEVEN, put), chain.day_volume(chain.strikes, ELEVEN + 7200, put)
    assert (late >= early).all()
    assert late.sum() > early.sum()


def test_a_row_has_the_fields_of_the_snapshot():
    row = next(r for r in model().rows(ELEVEN, SPOT, (PUT,)) if r["greeks"] and r["day"])
    assert set(row) == {
        "break_even_price", "day", "details", "greeks", "implied_volatility", "last_quote", "last_trade", "open_interest",
        "underlying_asset",
    }  # fmt: skip
    assert set(row["details"]) == {
        "ticker", "contract_type", "exercise_style", "expiration_date", "shares_per_contract", "strike_price",
    }  # fmt: skip
    assert set(row["greeks"]) == {"delta", "gamma", "theta", "vega"}
    assert row["last_quote"]["timeframe"] == "REAL-TIME"
    assert row["last_quote"]["last_updated"] > 10**18, "nanoseconds"
    assert row["greeks"]["delta"] < 0
