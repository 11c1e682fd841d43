"""The feed's formats: what is taken, what is left out and why, and what is never believed."""

from __future__ import annotations

import json
from datetime import date
from math import isnan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import Bar, Quote
from polygon_client import (
    check_bar,
    parse_aggs,
    parse_chain,
    parse_contract,
    parse_frame,
    parse_market_time,
)
from tests.kit.feed import bar, quote, status, text

AT = 1_795_188_540  # 2026-11-20 10:29 New York
DAY = date(2026, 11, 20)
CONTRACT = "O:IWM261120C00220000"


# --- frames ------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("A15", "R14")
def test_a_second_is_read_by_its_own_fields_and_not_by_the_sessions() -> None:
    event = bar(
        "IWM", AT, 220.5, 1200, vw=220.47, a=218.0, av=9_000_000, o=220.4, h=220.6, l=220.4, z=17.5, otc=True, op=None
    )
    assert parse_frame(text(event)).bars == [Bar("IWM", AT, 220.4, 220.6, 220.4, 220.5, 1200.0, 220.47)]


def test_the_published_example_is_read() -> None:
    example = (
        b'[{"ev":"A","sym":"SPCE","v":200,"av":8642007,"op":25.66,"vw":25.3981,"o":25.39,"c":25.39,"h":25.39,"l":25.39,'
        b'"a":25.3714,"z":50,"s":1610144868000,"e":1610144869000}]'
    )
    frame = parse_frame(example)
    assert frame.bars == [Bar("SPCE", 1_610_144_868, 25.39, 25.39, 25.39, 25.39, 200.0, 25.3981)]
    assert frame.dropped == {}
    option = (
        b'[{"ev":"Q","sym":"O:SPY241220P00720000","bx":302,"ax":302,"bp":9.71,"ap":9.81,"bs":17,"as":24,"t":1644506128351}]'
    )
    assert parse_frame(option).quotes == [("O:SPY241220P00720000", Quote(9710, 9810, 17, 24, 1644506128.351))]


@pytest.mark.fault("W21")
def test_one_frame_may_hold_everything_and_what_is_not_ours_is_no_fault() -> None:
    mixed = text(
        status("success", "subscribed to: A.IWM"),
        bar("IWM", AT),
        {"ev": "T", "sym": "IWM", "p": 220.1},
        bar("SPY", AT, 600.0),
        {"ev": "LULD", "T": "IWM", "t": 1_601_316_752_683_746_000},
        quote(CONTRACT, 0.49, 0.5, AT * 1000),
        status("error", "no"),
    )
    frame = parse_frame(mixed)
    assert [one.symbol for one in frame.bars] == ["IWM", "SPY"]
    assert [one.status for one in frame.statuses] == ["success", "error"]
    assert [contract for contract, _ in frame.quotes] == [CONTRACT]
    assert frame.dropped == {}


@pytest.mark.fault("W11", "W13")
def test_a_malformed_event_drops_itself_and_not_its_frame() -> None:
    frame = parse_frame(text(bar("IWM", AT), bar("IWM", AT + 1, c="x"), quote(CONTRACT, -1, 0.5, 1), bar("SPY", AT, 600.0)))
    assert len(frame.bars) == 2
    assert frame.quotes == []
    assert sum(frame.dropped.values()) == 2


NUMBERS = (
    st.floats(allow_nan=True, allow_infinity=True)
    | st.integers(-(10**20), 10**20)
    | st.none()
    | st.text(max_size=5)
    | st.booleans()
)


@pytest.mark.fault("W13")
@given(field=st.sampled_from(["o", "h", "l", "c", "v", "vw", "s"]), value=NUMBERS)
def test_any_field_may_be_anything_and_only_bars_by_the_rules_pass(field: str, value: object) -> None:
    spoiled = json.dumps([bar("IWM", AT, 220.0, 500, **{field: value})]).encode("utf-8", "surrogatepass")
    for one in parse_frame(spoiled).bars:
        if check_bar(one, AT + 3.0) is None:
            assert 0 < one.low <= one.open <= one.high < float("inf")
            assert one.low <= one.close <= one.high
            assert 0 <= one.volume < float("inf")
            assert one.low * 0.99 <= one.vwap <= one.high * 1.01
            assert isinstance(one.start, int)
            assert one.start <= AT + 8


@pytest.mark.fault("W20")
@pytest.mark.parametrize(
    ("start", "fault"), [(AT + 5, None), (AT + 6, "bar: from the future"), (AT - 900, None), (AT - 80_000, None)]
)
def test_a_bar_may_be_old_and_five_seconds_early_and_no_more(start: int, fault: str | None) -> None:
    assert check_bar(Bar("IWM", start, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0), float(AT)) == fault


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"vwap": 222.2}, None),
        ({"vwap": 222.21}, "VWAP"),
        ({"vwap": 217.8}, None),
        ({"vwap": 217.79}, "VWAP"),
        ({"volume": 0.0}, None),
        ({"volume": -1.0}, "volume"),
        ({"close": 220.01}, "close"),
        ({"low": 220.01}, "range"),
        ({"high": float("nan")}, "finite"),
        ({"volume": float("inf")}, "finite"),
        ({"low": 0.0, "open": 0.0, "close": 0.0, "high": 0.0}, "price"),
    ],
)
def test_the_rules_for_bars_at_their_edges(change: dict[str, float], fault: str | None) -> None:
    given_ = {"open": 220.0, "high": 220.0, "low": 220.0, "close": 220.0, "volume": 500.0, "vwap": 220.0, **change}
    said = check_bar(Bar(symbol="IWM", start=AT, **given_), AT + 3.0)
    assert said is None if fault is None else fault in str(said)


# --- rows --------------------------------------------------------------------------------------------------------------


def a_row(**parts: Any) -> dict[str, Any]:
    return {
        "details": {
            "ticker": CONTRACT,
            "contract_type": "call",
            "exercise_style": "american",
            "expiration_date": "2026-11-20",
            "shares_per_contract": 100,
            "strike_price": 220,
        },
        "day": {"volume": 9000, "last_updated": AT * 10**9},
        "last_quote": {
            "bid": 0.49,
            "ask": 0.5,
            "bid_size": 35,
            "ask_size": 40,
            "last_updated": AT * 10**9 + 5 * 10**8,
            "timeframe": "REAL-TIME",
        },
        "greeks": {"delta": 0.41, "gamma": 0.1, "theta": -0.2, "vega": 0.05},
        "implied_volatility": 0.21,
        "open_interest": 4000,
        "underlying_asset": {"ticker": "IWM", "price": 219.9, "timeframe": "REAL-TIME"},
        **parts,
    }


def page(*rows: Any, **parts: Any) -> bytes:
    return json.dumps({"request_id": "x", "status": "OK", "results": list(rows), **parts}).encode()


def test_a_row_is_whole_mills_seconds_and_counts() -> None:
    (row,), url, dropped = parse_chain(page(a_row(), next_url="https://api.massive.com/v3/x?cursor=1"))
    assert (row.contract, row.right, row.strike, row.expiration, row.shares) == (
        CONTRACT,
        "call",
        220_000,
        "2026-11-20",
        100,
    )
    assert row.quote == Quote(490, 500, 35, 40, AT + 0.5)
    assert (row.delta, row.iv, row.computed, row.volume, row.volume_at, row.open_interest, row.underlying) == (
        0.41,
        0.21,
        False,
        9000,
        AT,
        4000,
        219.9,
    )
    assert (url, dropped) == ("https://api.massive.com/v3/x?cursor=1", {})


@pytest.mark.fault("R08")
@pytest.mark.parametrize("part", ["greeks", "implied_volatility", "open_interest", "last_quote", "day", "underlying_asset"])
@pytest.mark.parametrize("value", ["absent", None, {}])
def test_what_a_row_does_not_say_is_none_and_never_a_default(part: str, value: object) -> None:
    if part in ("implied_volatility", "open_interest") and value == {}:
        return
    row = a_row(**{part: value})
    if value == "absent":
        del row[part]
    (read,), _, dropped = parse_chain(page(row))
    assert dropped == {}
    missing = {
        "greeks": read.delta,
        "implied_volatility": read.iv,
        "open_interest": read.open_interest,
        "day": read.volume,
        "underlying_asset": read.underlying,
        "last_quote": None if read.quote is None else read.quote.bid,
    }
    assert missing.pop(part) is None
    assert None not in missing.values()


@pytest.mark.fault("R09")
@pytest.mark.parametrize(
    ("bid", "ask", "read"),
    [
        (0, 0.05, (0, 50)),
        (0.05, 0, (50, 0)),
        (0.5, 0.5, (500, 500)),
        (0.6, 0.5, (600, 500)),
        (None, 0.5, (None, 500)),
        (0.4905, 0.5, (490, 500)),
        (0.01, 5, (10, 5000)),
    ],
)
def test_odd_quotes_are_read_as_they_are_for_the_desk_to_judge(
    bid: float | None, ask: float | None, read: tuple[int, int]
) -> None:
    (row,), _, _ = parse_chain(page(a_row(last_quote={"bid": bid, "ask": ask})))
    assert row.quote is not None
    assert (row.quote.bid, row.quote.ask) == read
    assert (row.quote.bid_size, row.quote.ask_size, row.quote.quoted_at) == (0, 0, None)


@pytest.mark.fault("R09", "R14")
@pytest.mark.parametrize(
    "row",
    [
        a_row(last_quote={"bid": -1.0, "ask": 0.5}),
        a_row(last_quote={"bid": 0.5, "ask": 1e12}),
        a_row(details=None),
        a_row(details={}),
        a_row(details={**a_row()["details"], "strike_price": "many"}),
        a_row(details={**a_row()["details"], "strike_price": -5}),
        a_row(details={**a_row()["details"], "contract_type": "other"}),
        a_row(details={**a_row()["details"], "strike_price": 221}),
        a_row(details={**a_row()["details"], "expiration_date": "2026-11-21"}),
        a_row(details={**a_row()["details"], "shares_per_contract": 100.5}),
        a_row(greeks={"delta": [1]}),
        a_row(open_interest="lots"),
        None,
        5,
        [],
    ],
)
def test_a_malformed_row_drops_itself_and_not_its_chain(row: Any) -> None:
    rows, _, dropped = parse_chain(page(row, a_row()))
    assert [one.contract for one in rows] == [CONTRACT]
    assert dropped == {"row: malformed": 1}
    with pytest.raises(ValueError, match=r"."):
        parse_contract(json.dumps({"status": "OK", "results": row}).encode())


@pytest.mark.fault("R14")
def test_numbers_may_be_strings_or_floats_words_of_any_case_and_new_fields_nothing() -> None:
    details = {
        **a_row()["details"],
        "contract_type": "CALL",
        "strike_price": "220.0",
        "shares_per_contract": 100.0,
        "new": {},
    }
    row = a_row(details=details, open_interest=4000.0, implied_volatility="0.21", fmv=1, last_trade={"price": None})
    (read,), _, dropped = parse_chain(page(row, new_field=[1]))
    assert (read.right, read.strike, read.shares, read.open_interest, read.iv, dropped) == (
        "call",
        220_000,
        100,
        4000,
        0.21,
        {},
    )


@pytest.mark.fault("R14", "A26")
@pytest.mark.parametrize(
    ("parts", "name", "value"),
    [
        ({"greeks": {"delta": 1.5}}, "delta", None),
        ({"greeks": {"delta": -1.0}}, "delta", -1.0),
        ({"implied_volatility": 0}, "iv", None),
        ({"open_interest": 0}, "open_interest", 0),
        ({"open_interest": -1}, "open_interest", None),
        ({"day": {"volume": 0}}, "volume", 0),
        ({"day": {"volume": 5, "last_updated": AT}}, "volume_at", None),
        ({"day": {"volume": 5, "last_updated": AT * 1000}}, "volume_at", None),
    ],
)
def test_what_cannot_be_is_none_and_zero_is_zero(parts: dict[str, Any], name: str, value: float | None) -> None:
    (read,), _, _ = parse_chain(page(a_row(**parts)))
    assert getattr(read, name) == value


@pytest.mark.fault("R10")
def test_what_is_marked_delayed_is_delayed_wherever_it_is_marked() -> None:
    late = {**a_row()["last_quote"], "timeframe": "DELAYED"}
    unmarked = {key: value for key, value in late.items() if key != "timeframe"}
    (by_quote, by_page), _, _ = parse_chain(page(a_row(last_quote=late), a_row(last_quote=unmarked), status="DELAYED"))
    assert by_quote.quote is not None
    assert by_page.quote is not None
    assert (by_quote.quote.delayed, by_page.quote.delayed) == (True, True)
    (mixed,), _, _ = parse_chain(page(a_row(underlying_asset={"price": 219.9, "timeframe": "DELAYED"})))
    assert mixed.quote is not None
    assert (mixed.quote.delayed, mixed.underlying) == (False, None)


@pytest.mark.fault("R02", "R07")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>maintenance</html>",
        b"null",
        b"[]",
        b"5",
        b'{"status":"OK"}',
        b'{"status":"OK","results":null}',
        b'{"results":{}}',
        b'{"status":"OK","results":[',
        b'{"status":"OK","results":"none"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_chain_is_an_error_and_never_an_empty_one(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        parse_chain(body)
    with pytest.raises(ValueError, match="the answer"):
        parse_contract(body)


# --- bars by REST, and the time ----------------------------------------------------------------------------------------


def test_aggregates_are_bars_and_none_are_none() -> None:
    rows = [
        {"t": AT * 1000, "o": 1, "h": 2, "l": 0.5, "c": 1.5, "v": 10.25, "vw": 1.2, "n": 3},
        {"t": (AT + 1) * 1000, "o": 1, "h": 1, "l": 1, "c": 1, "v": 0},
    ]
    bars, url, dropped = parse_aggs(json.dumps({"status": "OK", "results": rows}).encode(), "IWM")
    assert bars[0] == Bar("IWM", AT, 1.0, 2.0, 0.5, 1.5, 10.25, 1.2)
    assert isnan(bars[1].vwap)
    assert (url, dropped) == (None, {})
    assert parse_aggs(b'{"status":"OK","resultsCount":0}', "IWM") == ([], None, {})


@pytest.mark.fault("R02")
@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"status":"ERROR","error":"no"}', b'{"status":"NOT_AUTHORIZED"}', b"[]"]
)
def test_what_is_no_page_of_bars_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        parse_aggs(body, "IWM")


def test_the_markets_time_is_read_with_its_offset() -> None:
    assert parse_market_time(b'{"serverTime":"2026-11-20T10:29:00-05:00","market":"open"}') == AT
    for body in (b"{}", b'{"serverTime":"noon"}', b'{"serverTime":"2026-11-20T10:29:00"}', b'{"serverTime":5}', b""):
        with pytest.raises(ValueError, match="no time"):
            parse_market_time(body)
