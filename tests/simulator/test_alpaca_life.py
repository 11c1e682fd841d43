"""The venue as Alpaca's own SDK sees it: the whole life of an order, what is held and paid, hours and cut-offs."""

import asyncio
import threading
from datetime import date, time
from decimal import Decimal

import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderStatus, PositionIntent, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    GetCalendarRequest,
    GetOptionContractsRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    OptionLegRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
)
from alpaca.trading.stream import TradingStream
from kit.alpaca_venue import CALL, HIGHER, LOWER, NEXT_WEEK, PUT, SPY_CALL, Impatient, open_venue, refusal

BUY, SELL = PositionIntent.BUY_TO_OPEN, PositionIntent.SELL_TO_CLOSE


@pytest.fixture
def venue():
    with open_venue() as opened:
        yield opened


@pytest.fixture
def client(venue):
    return Impatient(venue.rest.url)


def limit(ref, price, qty=2, symbol=CALL, intent=BUY, **more):
    side = intent.value.partition("_")[0]
    return LimitOrderRequest(
        symbol=symbol, qty=qty, side=side, time_in_force="day", limit_price=price, client_order_id=ref, position_intent=intent, **more
    )  # fmt: skip


def filled(venue, ref):
    venue.wait_for(lambda: venue.order(ref).status == "filled")
    return venue.order(ref)


def bought(venue, client, qty=2, symbol=CALL):
    client.submit_order(limit("bought", 9.99, qty, symbol))
    return filled(venue, "bought")


def test_a_limit_waits_fills_at_the_ask_and_is_paid_to_the_cent(venue, client):
    taken = client.submit_order(limit("one", 1.43))
    assert taken.status in (OrderStatus.PENDING_NEW, OrderStatus.NEW)
    venue.wait_for(lambda: venue.order("one").status == "new")
    assert client.get_order_by_client_id("one").filled_qty == "0"
    venue.quote(CALL, "1.39", "1.42")
    done = client.get_order_by_id(taken.id)
    assert (done.status, done.filled_qty, done.filled_avg_price, done.limit_price) == (
        OrderStatus.FILLED,
        "2",
        "1.42",
        "1.43",
    )
    assert [moment.status for moment in venue.order("one").life] == ["pending_new", "new", "filled"]
    (position,) = client.get_all_positions()
    assert (position.symbol, position.qty, position.qty_available, position.avg_entry_price) == (CALL, "2", "2", "1.42")
    assert client.get_account().cash == str(25_000 - 284)


def test_a_fill_takes_no_more_than_the_side_shows(venue, client):
    venue.quote(CALL, "1.40", "1.44", ask_size=1)
    client.submit_order(limit("big", 1.44, qty=3))
    venue.wait_for(lambda: venue.order("big").filled == 1)
    assert client.get_order_by_client_id("big").status is OrderStatus.PARTIALLY_FILLED
    venue.match()
    assert venue.order("big").filled == 1
    venue.quote(CALL, "1.40", "1.43", ask_size=5)
    assert client.get_order_by_client_id("big").filled_avg_price == str(Decimal("1.44") / 3 + Decimal("1.43") * 2 / 3)[:11]
    assert [fill.qty for fill in venue.activities] == [1, 2]


def test_a_working_close_holds_what_it_would_sell_and_another_is_refused(venue, client):
    bought(venue, client)
    client.submit_order(limit("close", 2.00, intent=SELL))
    (position,) = client.get_all_positions()
    assert position.qty_available == "0"
    status, code, message = refusal(client.submit_order, limit("more", 2.00, 1, intent=SELL))
    assert (status, code) == (403, 40310000)
    assert "requested: 1, available: 0" in message
    assert venue.oversold == ["more: insufficient qty available for order (requested: 1, available: 0)"]
    venue.quote(CALL, "2.05", "2.09")
    assert client.get_all_positions() == []
    assert client.get_account().cash == str(25_000 - 288 + 410)


def test_what_is_not_held_cannot_be_closed_nor_sold_naked(venue, client):
    assert "position intent mismatch" in refusal(client.submit_order, limit("x", 1.40, 1, intent=SELL))[2]
    naked = limit("y", 1.40, 1, intent=PositionIntent.SELL_TO_OPEN)
    assert "uncovered" in refusal(client.submit_order, naked)[2]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"limit_price": 1.433}, "sub-penny"),
        ({"symbol": "IWM261120C00999000"}, "not found"),
        ({"time_in_force": TimeInForce.IOC}, "time_in_force"),
        ({"qty": 0.5}, "whole number"),
        ({"client_order_id": "x" * 129}, "128"),
    ],
)
def test_an_order_that_makes_no_sense_is_a_422_with_its_reason(venue, client, wrong, words):
    status, _, message = refusal(client.submit_order, limit("bad", 1.40).model_copy(update=wrong))
    assert status == 422
    assert words in message
    assert not venue.book.orders


def test_an_id_is_taken_once(venue, client):
    client.submit_order(limit("same", 1.00))
    assert refusal(client.submit_order, limit("same", 1.01)) == (422, 40010001, "client_order_id must be unique")
    assert len(venue.book.orders) == 1


def test_opposite_orders_that_could_meet_are_a_wash(venue, client):
    bought(venue, client)
    client.submit_order(limit("low", 1.20, 1))
    assert "wash trade" in refusal(client.submit_order, limit("sell", 1.10, intent=SELL))[2]


def test_a_cancel_is_a_wish_and_a_second_one_is_refused(venue, client):
    order = client.submit_order(limit("gone", 1.00))
    venue.wait_for(lambda: venue.order("gone").status == "new")
    client.cancel_order_by_id(order.id)
    venue.wait_for(lambda: venue.order("gone").status == "canceled")
    assert refusal(client.cancel_order_by_id, order.id)[:2] == (422, 42210000)
    assert client.get_order_by_id(order.id).canceled_at is not None


def test_a_replacement_is_another_order_and_closes_cannot_be_replaced(venue, client):
    order = client.submit_order(limit("first", 1.00))
    venue.wait_for(lambda: venue.order("first").status == "new")
    new = client.replace_order_by_id(order.id, ReplaceOrderRequest(limit_price=1.44, client_order_id="second"))
    assert filled(venue, "second").id == str(new.id)
    old = client.get_order_by_id(order.id)
    assert (old.status, old.replaced_by, new.replaces) == (OrderStatus.REPLACED, new.id, order.id)
    assert venue.overlaps() == []
    close = client.submit_order(limit("close", 2.00, intent=SELL))
    venue.wait_for(lambda: venue.order("close").status == "new")
    assert "insufficient qty" in refusal(client.replace_order_by_id, close.id, ReplaceOrderRequest(limit_price=1.90))[2]


def test_a_stop_rests_until_it_is_reached(venue, client):
    bought(venue, client)
    client.submit_order(
        StopLimitOrderRequest(
            symbol=CALL, qty=2, side="sell", time_in_force="day", stop_price=1.00, limit_price=0.90, client_order_id="stop",
            position_intent=SELL,
        )
    )  # fmt: skip
    venue.quote(CALL, "1.05", "1.10")
    assert venue.order("stop").filled == 0
    venue.quote(CALL, "0.95", "1.00")
    assert client.get_order_by_client_id("stop").filled_avg_price == "0.95"


def condor(ref, price, qty=1, *, close=False):
    opens = {LOWER: "buy", PUT: "sell", CALL: "sell", HIGHER: "buy"}
    if close:
        legs = [(symbol, f"{'sell' if side == 'buy' else 'buy'}_to_close") for symbol, side in opens.items()]
    else:
        legs = [(symbol, f"{side}_to_open") for symbol, side in opens.items()]
    return LimitOrderRequest(
        qty=qty, order_class=OrderClass.MLEG, time_in_force="day", limit_price=price, client_order_id=ref,
        legs=[OptionLegRequest(symbol=symbol, ratio_qty=1, position_intent=intent) for symbol, intent in legs],
    )  # fmt: skip


def test_a_condor_opens_for_a_credit_and_closes_for_a_debit(venue, client):
    client.submit_order(condor("open", -1.36))  # at the quotes it brings 1.40 + 1.10 - 0.63 - 0.52 = 1.35
    venue.wait_for(lambda: venue.order("open").status == "new")
    venue.quote(CALL, "1.42", "1.46")
    opened = client.get_order_by_client_id("open")
    assert (opened.status, opened.filled_avg_price, opened.symbol, opened.side) == (OrderStatus.FILLED, "-1.37", None, None)
    assert sorted(leg.filled_avg_price for leg in opened.legs) == ["0.52", "0.63", "1.1", "1.42"]
    assert {p.symbol: p.qty for p in client.get_all_positions()} == {LOWER: "1", PUT: "-1", CALL: "-1", HIGHER: "1"}
    account = client.get_account()
    assert (account.cash, account.options_buying_power) == ("25137", "24937")  # the width of 2.00 is kept
    client.submit_order(condor("shut", 1.60, close=True))
    shut = filled(venue, "shut")
    assert shut.average == Decimal("1.46") + Decimal("1.13") - Decimal("0.60") - Decimal("0.50")
    assert client.get_all_positions() == []
    assert len(venue.activities) == 8


def test_what_cannot_be_paid_is_refused(venue, client):
    assert "buying power" in refusal(client.submit_order, limit("much", 1.44, qty=174))[2]
    assert "buying power" in refusal(client.submit_order, condor("wide", -1.35, qty=385))[2]  # 65 $ at risk each
    client.submit_order(limit("first", 1.00, qty=200))
    assert "buying power" in refusal(client.submit_order, limit("next", 1.00, qty=51, symbol=PUT))[2]


def test_levels_decide_what_may_be_traded(client, venue):
    venue.fault("level-1")
    assert client.get_account().options_trading_level == 1
    assert refusal(client.submit_order, limit("x", 1.00))[0] == 403
    with open_venue(level=2) as two:
        own = Impatient(two.rest.url)
        assert "level" in refusal(own.submit_order, condor("c", -1.35))[2]
        own.submit_order(limit("long", 1.00))


def test_expiring_contracts_have_their_hour_and_are_then_sold_by_the_venue(venue, client):
    bought(venue, client)
    venue.set_clock(at=time(15, 14, 59))
    client.submit_order(limit("late", 1.00))
    venue.set_clock(at=time(15, 15))
    assert "no longer accepted" in refusal(client.submit_order, limit("too late", 1.00))[2]
    client.submit_order(limit("broad", 1.50, 1, SPY_CALL))
    client.submit_order(limit("other day", 1.00, 1, NEXT_WEEK))
    venue.set_clock(at=time(15, 30))
    assert [p.symbol for p in client.get_all_positions()] == []
    assert venue.order("late").status == "canceled"
    sale = next(order for order in venue.book.orders.values() if order.owner == "venue")
    assert (sale.legs[0].side, sale.filled, sale.average) == ("sell", 2, Decimal("1.40"))
    venue.set_clock(at=time(16, 0))
    assert venue.order("other day").status == "expired"


def test_a_market_order_needs_the_market(venue, client):
    venue.set_clock(at=time(9, 0))
    market = MarketOrderRequest(symbol=CALL, qty=1, side="buy", time_in_force="day", position_intent=BUY)
    assert "market hours" in refusal(client.submit_order, market)[2]
    early = client.submit_order(limit("early", 1.44))
    assert early.status is OrderStatus.ACCEPTED
    assert not client.get_clock().is_open
    venue.set_clock(at=time(9, 30))
    assert filled(venue, "early").filled == 2


def test_orders_are_paged_by_time_without_loss(venue, client):
    venue.fault("no-fill")
    for k in range(7):
        client.submit_order(limit(f"o{k}", 1.00))
    client.cancel_order_by_id(venue.order("o0").id)
    venue.wait_for(lambda: venue.order("o0").status == "canceled")
    venue.fault("short-pages")
    seen, after = [], None
    while page := client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, after=after, direction="asc", limit=500)):
        seen += [order.client_order_id for order in page]
        after = page[-1].submitted_at
    assert seen == [f"o{k}" for k in range(7)]
    venue.clear("short-pages")
    assert len(client.get_orders()) == 6


def test_activities_are_paged_by_their_ids(venue, client):
    for k in range(3):
        client.submit_order(limit(f"f{k}", 1.44, 1))
        filled(venue, f"f{k}")
    venue.fault("short-pages")
    first = client.get("/account/activities", {"activity_types": "FILL", "direction": "asc"})
    rest = client.get("/account/activities", {"activity_types": "FILL", "direction": "asc", "page_token": first[-1]["id"]})
    assert [row["id"] for row in first + rest] == [fill.activity_id for fill in venue.activities]
    assert {row["order_id"] for row in first} == {venue.order("f0").id, venue.order("f1").id}
    assert client.get("/account/activities/FILL", {"after": "2026-11-21"}) == []


def test_contracts_calendar_and_clock_are_what_the_sdk_expects(client):
    answer = client.get_option_contracts(GetOptionContractsRequest(underlying_symbols=["IWM"], type="call", limit=1))
    assert [row.symbol for row in answer.option_contracts] == [CALL]
    assert answer.next_page_token == "1"
    row = client.get_option_contract(NEXT_WEEK)
    assert (row.strike_price, row.expiration_date) == (240.0, date(2026, 11, 27))
    days = client.get_calendar(GetCalendarRequest(start=date(2026, 11, 25), end=date(2026, 11, 27)))
    assert [(day.date.day, f"{day.close:%H:%M}") for day in days] == [(25, "16:00"), (27, "13:00")]
    assert f"{client.get_clock().next_open:%m-%d %H:%M}" == "11-23 09:30"


def test_updates_come_to_the_sdk_in_order(venue, client):
    got, enough = [], threading.Event()
    stream = TradingStream("key", "secret", url_override=venue.stream.url)

    async def heard(update):
        got.append((str(getattr(update.event, "value", update.event)), update.qty, update.price, update.order.filled_qty))
        if len(got) == 4:
            enough.set()
            await stream.stop_ws()
            await stream.close()

    stream.subscribe_trade_updates(heard)
    thread = threading.Thread(target=lambda: asyncio.run(stream._run_forever()), daemon=True)
    thread.start()
    venue.wait_for(lambda: venue.stream.listeners)
    venue.quote(CALL, "1.40", "1.44", ask_size=1)
    client.submit_order(limit("told", 1.44))
    venue.wait_for(lambda: venue.order("told").filled == 1)
    venue.quote(CALL, "1.40", "1.43")
    assert enough.wait(5)
    assert got == [
        ("pending_new", None, None, "0"),
        ("new", None, None, "0"),
        ("partial_fill", 1, 1.44, "1"),
        ("fill", 1, 1.43, "2"),
    ]
    thread.join(10)
    assert not thread.is_alive()


def test_without_keys_there_is_no_answer_but_401(venue):
    venue.rest.keys = {"good"}
    assert refusal(TradingClient("bad", "s", url_override=venue.rest.url).get_account)[:2] == (401, 40110000)
    assert TradingClient("good", "s", url_override=venue.rest.url).get_account().cash == "25000"
