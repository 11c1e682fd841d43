"""Options by name as the house writes them and as TWS lists them, and numbers that are none."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as checked_by
from hypothesis import strategies as st
from ib_async import Contract, Option
from msgspec.structs import replace

from brokers.ibkr import codes, contracts
from brokers.ibkr.contracts import Listed, Name
from brokers.ibkr.forms import dollars_of

HOME = Path(__file__).resolve().parents[2]
DAY = date(2026, 11, 20)
GOOD = Listed("O:XSP261120P00682000", 1, "XSP", "2026-11-20", "2026-11-20", "100", "XSP   261120P00682000", 0.01)


@pytest.mark.fault("C19", "C20")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"trading_class": "SPX"}, "of the class SPX, not XSP"),
        ({"multiplier": "10"}, "multiplier 10"),
        ({"local_symbol": "XSP   261121P00682000"}, "disagrees about its expiry"),
        ({"really": "2026-11-27"}, "disagrees about its expiry"),
        ({"local_symbol": "garbage"}, "disagrees about its expiry"),
        (
            {"expires": "2026-11-27", "really": "2026-11-27", "local_symbol": "XSP   261127P00682000"},
            "expires on 2026-11-27",
        ),
    ],
)
def test_only_a_contract_of_today_is_listed(changes, said):
    fault = contracts.listing_fault(replace(GOOD, **changes), "XSP", DAY)
    assert fault is None if said is None else said in (fault or "")


@checked_by(deadline=None)
@given(
    st.sampled_from(["XSP", "SPXW", "SPX", "IWM"]),
    st.dates(date(2020, 1, 1), date(2040, 1, 1)),
    st.sampled_from("CP"),
    st.integers(1, 19_999_999),
)
def test_a_name_goes_to_tws_and_back(trading_class, day, right, strike):
    name = Name(trading_class, day, right, strike)
    assert contracts.parsed(name.text) == name
    at_tws = Option(name.symbol, f"{day:%Y%m%d}", strike / 1000, right, "SMART", "100", "USD", tradingClass=trading_class)
    assert contracts.name_of(at_tws) == name.text


def test_spxw_is_asked_for_under_spx_and_its_class():
    question = contracts.chain_question("SPXW", DAY, "P", "SMART")
    assert (question.symbol, question.tradingClass, question.strike) == ("SPX", "SPXW", 0.0)


@pytest.mark.parametrize("name", ["AAPL", "O:XSP261320P00682000", "O:XSP261120X00682000", "", "XSP261120P00682000"])
def test_what_is_no_option_has_no_parts(name):
    assert contracts.parsed(name) is None


def test_what_is_no_option_keeps_a_name():
    assert contracts.name_of(Contract(secType="STK", symbol="AAPL", localSymbol="AAPL")) == "STK:AAPL"


@pytest.mark.fault("C12")
@pytest.mark.parametrize(
    ("number", "whole"),
    [(1.0, 1), ("24", 24), (-3, -3), (1.5, None), ("x", None), (float("nan"), None), (float("inf"), None)],
)
def test_a_quantity_is_whole_or_none(number, whole):
    assert contracts.whole(number) == whole


@pytest.mark.parametrize(
    ("number", "mills"), [(0.26, 260), ("-0.195", -195), (0.0001, None), (float("nan"), None), ("", None)]
)
def test_a_price_is_exact_or_none(number, mills):
    assert contracts.mills(number) == mills


@pytest.mark.parametrize(
    ("text", "dollars"),
    [("200", 200.0), ("", None), ("1.7976931348623157E308", None), ("nan", None), ("x", None), (None, None)],
)
def test_a_margin_is_a_number_or_none(text, dollars):
    assert dollars_of(text) == dollars


@pytest.mark.parametrize(
    ("code", "text", "meaning"),
    [
        (201, "Order rejected", "refused"),
        (321, "The API interface is currently in Read-Only mode.", "refused"),
        (321, "Error validating request", "warning"),
        (399, "", "warning"),
        (10349, "", "warning"),
        (2109, "", "warning"),
        (202, "", "look"),
        (10148, "", "look"),
        (110, "", "look"),
        (99999, "never heard of", "look"),
    ],
)
def test_what_a_message_to_an_order_means(code, text, meaning):
    assert codes.of_order(code, text) == meaning


def test_a_worker_that_does_not_ask_for_it_loads_none_of_it():
    asked = "import sys, main, strategies.registry; print([name for name in sys.modules if 'ibkr' in name or 'ib_async' in name])"
    told = subprocess.run([sys.executable, "-c", asked], cwd=HOME, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
