"""Alpaca's answers as values: exact, strict in what is needed, indifferent to the rest."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.alpaca import forms
from brokers.alpaca.forms import Leg, NewOrder, Unreadable

ORDER = {
    "id": "a", "client_order_id": "r", "status": "new",
    "submitted_at": "2026-11-20T15:00:00.123456789Z", "filled_qty": "0",
    "symbol": "IWM261120C00240000", "side": "buy", "position_intent": "buy_to_open",
    "qty": "2", "type": "limit", "limit_price": "1.43",
    "filled_avg_price": None, "legs": None,
}  # fmt: skip
ACCOUNT = {
    "account_number": "PA1", "status": "ACTIVE", "options_trading_level": 2,
    "cash": "1.10", "equity": "2", "options_buying_power": "3",
    "trading_blocked": False, "account_blocked": False, "trade_suspended_by_user": False,
}  # fmt: skip
FILL = {
    "id": "20261120150000000::e1", "activity_type": "FILL", "order_id": "a", "symbol": "S", "side": "buy", "qty": "1", "price": "1.43",
    "transaction_time": "2026-11-20T15:00:00.5Z",
}  # fmt: skip
POSITION = {
    "symbol": "S",
    "asset_class": "us_option",
    "qty": "2",
    "side": "long",
    "avg_entry_price": "1.1",
    "qty_available": "1",
}


def said(form, **changes):
    return json.dumps({**form, **changes}).encode()


def test_money_keeps_every_digit():
    assert forms.read_account(said(ACCOUNT, cash="0.1234567890123456789")).cash == Decimal("0.1234567890123456789")
    assert forms.read_order(said(ORDER).replace(b'"1.43"', b"1.43")).limit == Decimal("1.43")


def test_what_is_new_is_passed_over():
    assert forms.read_order(said(ORDER, colour="red", status="pending_moon")).status == "pending_moon"
    assert forms.read_account(said(ACCOUNT, pattern_day_trader=None)).level == 2


@pytest.mark.parametrize("name", ["id", "client_order_id", "status", "submitted_at", "filled_qty"])
def test_an_order_needs_its(name):
    with pytest.raises(Unreadable):
        forms.read_order(json.dumps({key: value for key, value in ORDER.items() if key != name}).encode())


@pytest.mark.parametrize("name", list(ACCOUNT))
def test_an_account_needs_its(name):
    with pytest.raises(Unreadable):
        forms.read_account(json.dumps({key: value for key, value in ACCOUNT.items() if key != name}).encode())


@pytest.mark.parametrize("name", list(FILL))
def test_a_fill_needs_its(name):
    row = {key: value for key, value in FILL.items() if key != name}
    with pytest.raises(Unreadable):
        forms.read_fills(json.dumps([row]).encode())


@pytest.mark.parametrize("name", list(POSITION))
def test_a_position_needs_its(name):
    row = {key: value for key, value in POSITION.items() if key != name}
    with pytest.raises(Unreadable):
        forms.read_positions(json.dumps([row]).encode())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "", "two", True])
def test_a_number_is_a_number(number):
    with pytest.raises(Unreadable):
        forms.read_order(said(ORDER, filled_qty=number))
    with pytest.raises(Unreadable):
        forms.read_positions(b"[" + said(POSITION, qty=number) + b"]")


@pytest.mark.parametrize("qty", ["2", "-2"])
def test_a_short_position_is_negative_whichever_way_it_is_signed(qty):
    (position,) = forms.read_positions(b"[" + said(POSITION, side="short", qty=qty) + b"]")
    assert (position.qty, position.available) == (-2, -1)
    with pytest.raises(Unreadable):
        forms.read_positions(b"[" + said(POSITION, side="sideways") + b"]")


def test_a_fill_has_the_id_of_its_activity_and_of_its_execution():
    (fill,) = forms.read_fills(b"[" + said(FILL) + b"]")
    assert (fill.id, fill.execution_id, fill.at) == ("20261120150000000::e1", "e1", 1795186800.5)
    assert forms.read_fills(b"[" + said(FILL, activity_type="FEE") + b"]") == []
    with pytest.raises(Unreadable):
        forms.read_fills(b"[" + said(FILL, transaction_time="2026-11-20T15:00:00") + b"]")  # of no zone


def test_a_refusal_may_have_no_code_and_a_page_is_none():
    assert forms.read_error(b'{"message":"unauthorized"}') == (None, "unauthorized")
    assert forms.read_error(b'{"code":40310000,"message":"no"}') == (40310000, "no")
    assert forms.read_error(b"<html>") is None
    assert forms.read_error(b"[]") is None


def test_the_time_just_before_is_earlier_by_less_than_two_microseconds():
    assert forms.just_before(ORDER["submitted_at"])[:-1] < ORDER["submitted_at"][:-1]
    assert forms.just_before("2026-11-20T15:00:00Z") == "2026-11-20T14:59:59.999999Z"
    assert forms.just_before("2026-11-20T10:00:00-05:00") == "2026-11-20T14:59:59.999999Z"
    for wrong in ("", "soon", "2026-11-20T15:00:00"):
        with pytest.raises(Unreadable):
            forms.just_before(wrong)


def test_an_order_is_the_one_meant_only_if_all_of_it_is():
    meant = NewOrder("r", (Leg("IWM261120C00240000", "buy_to_open"),), 2, Decimal("1.430"))
    assert forms.read_order(said(ORDER)).is_of(meant)
    assert forms.read_order(said(ORDER, position_intent="")).is_of(meant)
    other = {"client_order_id": "q", "symbol": "X", "side": "sell", "qty": "3", "limit_price": "1.44", "type": "stop_limit",
             "position_intent": "buy_to_close"}  # fmt: skip
    for name, value in other.items():
        assert not forms.read_order(said(ORDER, **{name: value})).is_of(meant), name


def test_an_order_is_written_in_text_and_whole():
    one = json.loads(forms.write_order(NewOrder("r", (Leg("S", "sell_to_close"),), 3, None)))
    assert one == {
        "client_order_id": "r", "qty": "3", "time_in_force": "day", "type": "market", "symbol": "S", "side": "sell",
        "position_intent": "sell_to_close",
    }  # fmt: skip
    two = json.loads(
        forms.write_order(NewOrder("r", (Leg("S", "buy_to_open"), Leg("T", "sell_to_open", 2)), 1, Decimal("-0.55")))
    )
    assert (two["order_class"], two["limit_price"], "symbol" in two) == ("mleg", "-0.55", False)
    assert two["legs"][1] == {"symbol": "T", "side": "sell", "position_intent": "sell_to_open", "ratio_qty": "2"}


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), st.lists).map(
    lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_comes_is_read_or_called_unreadable(body):
    for read in (
        forms.read_order,
        forms.read_orders,
        forms.read_fills,
        forms.read_positions,
        forms.read_account,
        forms.read_clock,
    ):
        try:
            read(body)
        except Unreadable as fault:
            assert len(str(fault)) < 200  # noqa: PT017 - either is right
    forms.read_error(body)
