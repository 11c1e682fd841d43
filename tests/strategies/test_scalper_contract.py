"""Which contract, at which prices, how many."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import ChainRow, Quote
from strategies.scalper.contract import choose, entry_limit, select, size_of, tick_of, worst_of
from strategies.scalper.settings import read
from tests.strategies.test_scalper_conditions import SESSION, configured

AT = SESSION.open_at + 3_600.0
SETTINGS = configured()


def a_row(strike: int = 500, delta: float = 0.45, bid: int = 1_000, ask: int = 1_020, **parts: object) -> ChainRow:
    """An eligible row of QQQ; `quoted_at`, `size` and `delayed` go into its quote."""
    size, quoted_at = parts.pop("size", 30), parts.pop("quoted_at", AT)
    quote = Quote(bid, ask, 30, size, quoted_at, delayed=bool(parts.pop("delayed", False)))  # type: ignore[arg-type]
    given = {"right": "call", "expiration": "2026-11-20", "shares": 100, "iv": 0.2, "volume": 900, "volume_at": AT} | parts
    letter = str(given["right"])[0].upper()
    name = f"O:QQQ261120{letter}{strike * 1000:08d}"
    return ChainRow(
        contract=name,
        strike=strike * 1000,
        quote=quote,
        delta=delta,
        open_interest=int(given.pop("open_interest", 900)),
        **given,
    )  # type: ignore[arg-type]


def chosen(*rows: ChainRow, right: str = "call", at: float = AT):
    return choose(rows, SETTINGS, "QQQ", right, at, SESSION, None, 5.0)  # type: ignore[arg-type]


def test_the_one_nearest_the_sought_delta_with_the_narrowest_spread_wins() -> None:
    near, narrow = a_row(500, 0.46, 1_000, 1_040), a_row(501, 0.43, 1_000, 1_010)
    assert chosen(near, narrow).row == narrow
    assert chosen(a_row(500, 0.46), a_row(501, 0.43)).row == a_row(500, 0.46)


def test_a_put_is_chosen_by_its_delta_without_sign() -> None:
    put = a_row(500, -0.44, right="put")
    assert chosen(a_row(), put, right="put").row == put
    assert chosen(a_row(), right="put").why.startswith("no contract: put that expires today")


def test_three_nearest_are_asked_again() -> None:
    rows = [a_row(500 + step, delta) for step, delta in enumerate((0.32, 0.38, 0.44, 0.53, 0.58))]
    picked = select(rows, SETTINGS, "QQQ", "call", AT, SESSION, None).tracked
    assert [row.delta for row in picked] == [0.44, 0.38, 0.53]


@pytest.mark.fault("B14")
@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"expiration": "2026-11-23"}, "call that expires today"),
        ({"shares": 10}, "100 shares a contract"),
        ({"delta": 0.29}, "delta in [0.30, 0.60]"),
        ({"delta": 0.61}, "delta in [0.30, 0.60]"),
        ({"bid": 1_020}, "0 < bid < ask"),
        ({"bid": 190, "ask": 200}, "mid of at least $0.20"),
        ({"bid": 1_000, "ask": 1_042}, "spread within 4%"),
        ({"size": 9}, "sizes of at least 10"),
        ({"volume": 499}, "day volume of at least 500"),
        ({"volume": None}, "day volume of at least 500"),
        ({"volume_at": AT - 86_400}, "day volume of at least 500"),
        ({"open_interest": 499}, "open interest of at least 500"),
        ({"delayed": True}, "quote in real time"),
        ({"quoted_at": AT - 5.1}, "quote at most 5 s old"),
        ({"quoted_at": None}, "quote at most 5 s old"),
    ],
    ids=str,
)
def test_the_filter_that_emptied_the_list_is_named(parts: dict[str, object], words: str) -> None:
    choice = chosen(a_row(**parts))  # type: ignore[arg-type]
    assert choice.row is None
    assert choice.why.startswith(f"no contract: {words}")
    assert chosen().why == "no contract: the chain is empty"


def test_the_edges_of_every_filter_pass() -> None:
    for parts in (
        {"delta": 0.30}, {"delta": 0.60}, {"bid": 198, "ask": 202}, {"bid": 980, "ask": 1_020}, {"size": 10},
        {"volume": 500}, {"open_interest": 500}, {"quoted_at": AT - 5},
    ):  # fmt: skip
        assert chosen(a_row(**parts)).row is not None, parts  # type: ignore[arg-type]


def test_an_old_quote_in_the_snapshot_is_asked_again_and_not_thrown_out() -> None:
    assert select([a_row(quoted_at=AT - 40)], SETTINGS, "QQQ", "call", AT, SESSION, None).tracked


# --- prices ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "price", "penny", "tick"),
    [
        ("QQQ", 9_000, None, 10), ("IWM", 1_000, None, 10), ("AAPL", 2_990, True, 10), ("AAPL", 3_000, True, 50),
        ("AAPL", 2_990, None, 50), ("AAPL", 3_000, None, 100), ("AAPL", 3_000, False, 100),
    ],
)  # fmt: skip
def test_the_tick_is_the_products_and_valid_in_every_class_where_it_is_unknown(symbol, price, penny, tick) -> None:
    assert tick_of(symbol, price, penny) == tick


def test_an_entry_asks_at_mid_then_half_way_then_at_the_ask_and_never_above_the_worst() -> None:
    first = Quote(1_400, 1_460, 30, 30)
    worst = worst_of(SETTINGS, "QQQ", first)
    assert worst == 1_470
    assert [entry_limit(step, first, worst, "QQQ") for step in range(4)] == [1_430, 1_450, 1_460, 1_460]
    assert entry_limit(0, Quote(1_400, 1_450, 30, 30), worst, "QQQ") == 1_430
    assert entry_limit(3, Quote(1_500, 1_560, 30, 30), worst, "QQQ") == 1_470
    assert worst_of(SETTINGS, "QQQ", Quote(200, 208, 30, 30)) == 210
    assert worst_of(SETTINGS, "AAPL", Quote(1_400, 1_450, 30, 30)) == 1_450


@settings(deadline=None)
@given(st.integers(20, 900), st.integers(1, 60), st.integers(0, 5), st.sampled_from(["QQQ", "AAPL"]), st.booleans())
def test_every_limit_is_a_valid_price_within_the_worst(bid: int, wide: int, attempt: int, symbol: str, penny: bool) -> None:
    quote = Quote(bid * 10, (bid + wide) * 10, 30, 30)
    worst = worst_of(SETTINGS, symbol, quote, penny)
    limit = entry_limit(attempt, quote, worst, symbol, penny)
    assert 0 <= limit <= worst <= Fraction(2 * bid + wide, 2) * 10 * Fraction(105, 100)
    assert limit % tick_of(symbol, limit, penny) == 0
    assert worst % tick_of(symbol, worst, penny) == 0


# --- size --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("B2")
@pytest.mark.parametrize(
    ("asked", "changed", "contracts", "code"),
    [
        (None, {}, 3, ""),
        (2, {}, 2, ""),
        (3, {}, 3, ""),
        (4, {}, 0, "over_cap"),
        (None, {"ask_size": 4}, 2, ""),
        (None, {"ask_size": 1}, 0, "too_small"),
        (None, {"equity": 7_000_000}, 0, "too_small"),
        (None, {"equity": 7_160_000}, 1, ""),
        (None, {"buying_power": 290_000}, 2, ""),
        (None, {"buying_power": 143_099}, 0, "too_small"),
        (None, {"equity": 10**9}, 10, ""),
        (1_200, {"equity": 10**9}, 0, "over_cap"),
        (None, {"equity": -5}, 0, "too_small"),
    ],
)
def test_size_is_the_least_of_its_caps_and_more_is_refused_not_cut(asked, changed, contracts, code) -> None:
    """One contract at worst $1.43 and fees of $0.10 risks $143.10; 2 % of $25,000 is $500."""
    given = {"ask_size": 40, "worst": 1_430, "equity": 25_000_000, "buying_power": None} | changed
    size = size_of(SETTINGS, asked, **given)
    assert (size.contracts, size.code) == (contracts, code)
    assert bool(size.says) is bool(code)
    assert SimpleNamespace(**given).ask_size // 2 >= size.cap


def test_settings_can_only_tighten_the_size() -> None:
    tight, _ = read({"SCALPER_MAX_CONTRACTS": "1"})
    assert tight is not None
    assert size_of(tight, None, 40, 1_430, 25_000_000, None).contracts == 1
