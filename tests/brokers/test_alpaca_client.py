"""Our client of Alpaca on the simulated venue, under each of its faults: what became of an order, and what may be concluded."""

import time
from decimal import Decimal

import pytest
from kit.alpaca_venue import CALL, HIGHER, LOWER, PUT, TEN, open_venue

from brokers.alpaca.client import Accepted, Asked, Denied, RateLimited, Rejected, TradingClient, Unknown
from brokers.alpaca.forms import Leg, NewOrder
from wire.transport import Refused, TryAgain

OPENED = TEN - 1800


@pytest.fixture
def venue():
    with open_venue() as opened:
        yield opened


@pytest.fixture
def client(venue):
    client = TradingClient(venue.rest.url, "key", "secret", now=venue.clock.now)
    yield client
    client.close()


@pytest.fixture
def hasty(venue):
    """A client of little patience, for answers that do not come."""
    client = TradingClient(venue.rest.url, "key", "secret", now=venue.clock.now, timeout_s=0.6)
    yield client
    client.close()


def buy(ref="SC-20261120-1-ENTRY-1", limit="1.44", qty=2):
    return NewOrder(ref, (Leg(CALL, "buy_to_open"),), qty, None if limit is None else Decimal(limit))


def posts(venue):
    return [call for call in venue.calls if call.method == "POST"]


def working(venue, client, ref="rests"):
    outcome = client.place(buy(ref, "1.00"))
    venue.wait_for(lambda: venue.order(ref).status == "new")
    return outcome.order


def filled(venue, client, ref="one", qty=2):
    client.place(buy(ref, "9.99", qty))
    venue.wait_for(lambda: venue.order(ref).status == "filled")


# --- placing -----------------------------------------------------------------------------------------------------------


def test_an_accepted_order_is_the_one_that_was_meant(venue, client):
    outcome = client.place(buy())
    assert isinstance(outcome, Accepted)
    assert (outcome.order.ref, outcome.order.symbol, outcome.order.limit) == ("SC-20261120-1-ENTRY-1", CALL, Decimal("1.44"))
    venue.wait_for(lambda: venue.order("SC-20261120-1-ENTRY-1").status == "filled")
    order = client.find("SC-20261120-1-ENTRY-1")
    assert (order.filled, order.average, order.has_ended) == (Decimal(2), Decimal("1.44"), True)
    assert client.remaining is not None


def test_prices_leave_as_text(venue, client):
    client.place(buy(limit="1.10"))
    assert b'"limit_price":"1.10"' in posts(venue)[0].body
    assert b'"qty":"2"' in posts(venue)[0].body


def test_a_condor_is_placed_with_its_net_and_found_with_its_legs(venue, client):
    legs = (Leg(LOWER, "buy_to_open"), Leg(PUT, "sell_to_open"), Leg(CALL, "sell_to_open"), Leg(HIGHER, "buy_to_open"))
    assert isinstance(client.place(NewOrder("IC-20261120-1-ENTRY-1", legs, 1, Decimal("-1.35"))), Accepted)
    venue.wait_for(lambda: venue.order("IC-20261120-1-ENTRY-1").status == "filled")
    order = client.find("IC-20261120-1-ENTRY-1")
    assert (order.average, order.limit) == (Decimal("-1.35"), Decimal("-1.35"))
    assert {leg.symbol: leg.average for leg in order.legs}[HIGHER] == Decimal("0.63")
    assert {p.symbol: p.qty for p in client.positions()} == {LOWER: 1, PUT: -1, CALL: -1, HIGHER: 1}
    assert len({fill.id for fill in client.fills(OPENED)}) == 4


@pytest.mark.parametrize("name", ["reject-buying-power", "reject-qty", "reject-user", "reject-422"])
def test_a_refusal_with_a_reason_is_rejected(venue, client, name):
    venue.fault(name, times=1)
    outcome = client.place(buy())
    assert isinstance(outcome, Rejected)
    assert outcome.code in (40310000, 42210000)
    assert outcome.reason
    assert not outcome.is_duplicate


@pytest.mark.parametrize("name", ["auth-401", "auth-403", "order-403-no-code"])
def test_keys_that_are_not_accepted_are_denied(venue, client, name):
    venue.fault(name)
    assert isinstance(client.place(buy()), Denied)
    assert not venue.book.orders


def test_a_limit_of_requests_says_until_when(venue, client):
    venue.fault("rate-429", times=1)
    outcome = client.place(buy())
    assert isinstance(outcome, RateLimited)
    assert 1 <= outcome.reset_at - venue.clock.now() <= 3
    venue.fault("rate-429-no-reset", times=1)
    outcome = client.place(buy())
    assert isinstance(outcome, RateLimited)
    assert outcome.reset_at == venue.clock.now() + 15
    assert isinstance(client.place(buy()), Accepted)  # the same ref, for it was never taken
    assert len(venue.book.orders) == 1


@pytest.mark.parametrize(
    "name",
    ["order-timeout-after", "order-cut-after", "order-cut-within", "order-504-after", "order-500-after", "order-unreadable",
     "order-html", "drip"],
)  # fmt: skip
def test_a_lost_answer_is_unknown_sent_once_and_found_by_our_ref(venue, client, hasty, name):
    venue.fault(name, times=1)
    begun = time.monotonic()
    outcome = hasty.place(buy())
    assert time.monotonic() - begun < 3
    assert isinstance(outcome, Unknown)
    assert outcome.sent
    assert len(posts(venue)) == 1
    assert client.find("SC-20261120-1-ENTRY-1").ref == "SC-20261120-1-ENTRY-1"
    assert len(venue.book.orders) == 1


@pytest.mark.parametrize(
    "name", ["order-timeout-before", "order-cut-before", "order-504-before", "timeout", "html-502", "error-500"]
)
def test_what_never_arrived_is_unknown_too_until_it_was_looked_for(venue, client, hasty, name):
    venue.fault(name, times=1)
    assert isinstance(hasty.place(buy()), Unknown)
    assert client.find("SC-20261120-1-ENTRY-1") is None
    assert len(posts(venue)) == 1


def test_where_nobody_listens_no_byte_has_left(venue, client):
    venue.rest.down()
    outcome = client.place(buy())
    assert isinstance(outcome, Unknown)
    assert not outcome.sent
    venue.rest.up()


def test_a_connection_that_died_while_it_was_idle_costs_no_order(venue, client):
    client.account()
    venue.rest.drop_connections()
    assert isinstance(client.place(buy()), Accepted)
    assert len(posts(venue)) == 1


def test_a_second_post_of_the_same_order_adopts_the_first(venue, client):
    venue.fault("order-cut-after", times=1)
    assert isinstance(client.place(buy()), Unknown)
    outcome = client.place(buy())
    assert isinstance(outcome, Accepted)
    assert outcome.adopted
    assert len(venue.book.orders) == 1


@pytest.mark.parametrize(
    "other", [buy(limit="1.43"), buy(qty=1), buy(limit=None), NewOrder(buy().ref, (Leg(PUT, "buy_to_open"),), 2, None)]
)
def test_another_order_under_our_ref_is_an_alarm_and_not_ours(venue, client, other):
    client.place(buy())
    outcome = client.place(other)
    assert isinstance(outcome, Rejected)
    assert outcome.is_duplicate


def test_a_duplicate_that_nobody_can_show_is_unknown(venue, client):
    venue.fault("duplicate-id", times=1)
    assert isinstance(client.place(buy()), Unknown)
    client.place(buy())
    venue.fault("error-500", path="GET ")
    assert isinstance(client.place(buy()), Unknown)


def test_an_order_that_may_not_be_sent_is_not(venue, client):
    with pytest.raises(ValueError, match="ref"):
        client.place(buy(ref="x" * 129))
    with pytest.raises(ValueError, match="quantity"):
        client.place(buy(qty=0))
    assert not posts(venue)


def test_words_nobody_has_heard_of_do_not_hide_an_order(venue, client):
    venue.fault("unknown-status")
    venue.fault("empty-intent")
    outcome = client.place(buy())
    assert isinstance(outcome, Accepted)
    venue.wait_for(lambda: venue.order(buy().ref).status == "filled")
    order = client.find(buy().ref)
    assert (order.status, order.intent, order.has_ended) == ("pending_review_by_moon", "", False)


# --- cancelling --------------------------------------------------------------------------------------------------------


def test_a_cancel_is_heard_and_a_422_means_look(venue, client):
    order = working(venue, client)
    assert client.cancel(order.id) == Asked()
    venue.wait_for(lambda: venue.order("rests").status == "canceled")
    outcome = client.cancel(order.id)
    assert isinstance(outcome, Asked)
    assert "canceled" in outcome.reason
    assert client.order(order.id).has_ended


@pytest.mark.parametrize("name", ["cancel-422", "cancel-stuck"])
def test_a_cancel_that_does_nothing_is_seen_by_looking(venue, client, name):
    order = working(venue, client)
    venue.fault(name)
    assert isinstance(client.cancel(order.id), Asked)
    venue.match()
    assert not client.order(order.id).has_ended


def test_a_cancel_may_meet_a_fill(venue, client):
    order = working(venue, client)
    venue.fault("fill-in-cancel", times=1)
    assert isinstance(client.cancel(order.id), Asked)
    venue.wait_for(lambda: not venue.order("rests").is_open)
    seen = client.order(order.id)
    assert (seen.status, seen.filled) == ("filled", 2)


def test_a_cancel_without_an_answer_is_unknown(venue, client, hasty):
    order = working(venue, client)
    venue.fault("cancel-timeout-after", times=1)
    assert isinstance(hasty.cancel(order.id), Unknown)
    venue.fault("auth-401", times=1)
    assert isinstance(client.cancel(order.id), Denied)
    venue.fault("rate-429", times=1)
    assert isinstance(client.cancel(order.id), RateLimited)
    assert isinstance(client.cancel("6c2b3b8e-0000-4000-8000-000000000000"), Rejected)


# --- asking ------------------------------------------------------------------------------------------------------------


def test_all_pages_of_orders_and_fills_are_read_however_short(venue, client):
    for k in range(5):
        filled(venue, client, f"f{k}", 1)
    working(venue, client, "last")
    venue.fault("short-pages")
    assert [order.ref for order in client.orders(OPENED)] == ["f0", "f1", "f2", "f3", "f4", "last"]
    fills = client.fills(OPENED)
    assert [fill.qty for fill in fills] == [1] * 5
    assert [fill.execution_id for fill in fills] == [fill.execution_id for fill in venue.activities]
    assert client.orders(venue.clock.now() + 60) == []


def test_a_complete_snapshot_holds_everything_and_its_age(venue, client):
    filled(venue, client)
    working(venue, client)
    venue.fault("foreign-position", symbol=HIGHER, qty=3)
    snapshot = client.snapshot(OPENED)
    assert (snapshot.complete, snapshot.as_of, snapshot.reason) == (True, venue.clock.now(), "")
    assert {(p.symbol, p.qty, p.available) for p in snapshot.positions} == {(CALL, 2, 2), (HIGHER, 3, 3)}
    assert [(order.ref, order.has_ended) for order in snapshot.orders] == [("one", True), ("rests", False)]
    assert [(fill.order_id, fill.price) for fill in snapshot.fills] == [(snapshot.orders[0].id, Decimal("1.44"))]
    assert (snapshot.account.number, snapshot.account.level, snapshot.account.blocks) == ("PA3SIM000001", 3, ())
    assert snapshot.account.options_buying_power == 25_000 - 288 - 200


@pytest.mark.parametrize(
    "name", ["page-500", "error-500", "html-200", "html-502", "timeout", "rate-429", "auth-401", "drip"]
)
def test_a_snapshot_with_a_hole_is_incomplete_and_shows_nothing(venue, client, hasty, name):
    for k in range(3):
        working(venue, client, f"o{k}")
    venue.fault("short-pages")
    venue.fault(name, times=1, path=None if name == "page-500" else "GET /v2/orders$")
    snapshot = hasty.snapshot(OPENED)
    assert not snapshot.complete
    assert snapshot.reason
    assert (snapshot.account, snapshot.positions, snapshot.orders, snapshot.fills) == (None, (), (), ())
    assert client.snapshot(OPENED).complete


def test_a_snapshot_ends_within_its_own_time(venue):
    client = TradingClient(venue.rest.url, "key", "secret", now=venue.clock.now, timeout_s=3.0, snapshot_s=1.5)
    venue.fault("slow")
    begun = time.monotonic()
    snapshot = client.snapshot(OPENED)
    assert time.monotonic() - begun < 4
    assert not snapshot.complete
    client.close()


def test_an_empty_list_is_complete_and_says_so_for_the_desk_to_doubt(venue, client):
    filled(venue, client)
    venue.fault("empty-positions", times=1)
    snapshot = client.snapshot(OPENED)
    assert snapshot.complete
    assert (snapshot.positions, len(snapshot.fills)) == ((), 1)


def test_a_correction_keeps_its_place_and_changes_its_price(venue, client):
    filled(venue, client)
    (before,) = client.fills(OPENED)
    venue.fault("trade-correct")
    (after,) = client.fills(OPENED)
    assert (before.id, before.price, after.price) == (after.id, Decimal("1.44"), Decimal("1.45"))
    venue.fault("trade-bust")
    assert client.fills(OPENED) == []


def test_blocks_level_number_and_clock_are_what_the_account_says(venue, client):
    for name in ("block-trading", "block-account", "suspend-by-user", "level-1", "other-account"):
        venue.fault(name)
    account = client.account()
    assert account.blocks == ("trading_blocked", "account_blocked", "trade_suspended_by_user")
    assert (account.level, account.number) == (1, "PA3OTHER0001")
    venue.fault("clock-skew")
    clock = client.clock()
    assert (clock.at - venue.clock.now(), clock.is_open) == (90, True)


def test_a_question_that_is_refused_says_whether_to_ask_again(venue, client):
    venue.fault("auth-401", times=1)
    with pytest.raises(Refused):
        client.account()
    venue.fault("rate-429", times=1)
    with pytest.raises(TryAgain) as later:
        client.positions()
    assert 1 <= later.value.retry_after_s <= 3
    venue.fault("no-such-order", times=1)
    assert client.find("x") is None
    venue.fault("html-502", times=1)
    with pytest.raises(TryAgain):
        client.find("x")
    assert client.order("6c2b3b8e-0000-4000-8000-000000000000") is None


def test_no_secret_is_in_a_reason(venue):
    client = TradingClient(venue.rest.url, "the-key-id", "the-secret", now=venue.clock.now, timeout_s=0.3)
    for name in ("timeout", "auth-401", "html-502", "order-cut-after"):
        venue.fault(name, times=1)
        said = repr(client.place(buy(ref=name)))
        assert "the-key-id" not in said
        assert "the-secret" not in said
    client.close()
