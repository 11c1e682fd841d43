"""Every fault of the venue by its name, seen through Alpaca's own SDK, plain HTTP, the command line and the control door."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
import websocket
from alpaca.common.exceptions import APIError
from alpaca.trading.requests import LimitOrderRequest, ReplaceOrderRequest
from kit.alpaca_venue import CALL, HIGHER, Impatient, open_venue, refusal

from simulator.alpaca.faults import ACTS, REQUESTS, SWITCHES, catalogue

HOME = Path(__file__).resolve().parents[2]
KEYS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}


@pytest.fixture
def venue():
    with open_venue() as opened:
        yield opened


@pytest.fixture
def client(venue):
    return Impatient(venue.rest.url)


def order(ref, price=1.44, qty=2, side="buy", symbol=CALL):
    intent = "buy_to_open" if side == "buy" else "sell_to_close"
    return LimitOrderRequest(
        symbol=symbol, qty=qty, side=side, time_in_force="day", limit_price=price, client_order_id=ref, position_intent=intent
    )  # fmt: skip


def body(ref, price="1.44", qty="2"):
    return {
        "symbol": CALL, "qty": qty, "side": "buy", "type": "limit", "limit_price": price, "time_in_force": "day",
        "client_order_id": ref, "position_intent": "buy_to_open",
    }  # fmt: skip


def post(venue, ref, timeout=5.0):
    return requests.post(f"{venue.rest.url}/v2/orders", json=body(ref), headers=KEYS, timeout=timeout)


def ask(venue, path, **query):
    return requests.get(venue.rest.url + path, params=query, headers=KEYS, timeout=3)


def filled(venue, client, ref="one", qty=2, symbol=CALL):
    client.submit_order(order(ref, 9.99, qty, symbol=symbol))
    venue.wait_for(lambda: venue.order(ref).status == "filled")
    return venue.order(ref)


def working(venue, client, ref="one"):
    client.submit_order(order(ref, 1.00))
    venue.wait_for(lambda: venue.order(ref).status == "new")
    return venue.order(ref)


class Ears:
    """A listener of trade updates, by hand."""

    def __init__(self, venue):
        self.wire = websocket.create_connection(venue.stream.url, timeout=3)
        self.say("authenticate", key_id="key", secret_key="secret")
        self.first = self.hear()
        self.say("listen", streams=["trade_updates"])
        self.second = self.hear()

    def say(self, action, **data):
        self.wire.send(json.dumps({"action": action, "data": data}))

    def hear(self):
        opcode, self.raw = self.wire.recv_data()
        assert opcode == websocket.ABNF.OPCODE_BINARY
        return json.loads(self.raw)

    def events(self, count):
        return [self.hear()["data"] for _ in range(count)]


@pytest.fixture
def ears(venue):
    heard = Ears(venue)
    yield heard
    heard.wire.shutdown()


# --- the answer to an order --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "code", "words"),
    [
        ("reject-buying-power", 403, 40310000, "insufficient options buying power"),
        ("reject-qty", 403, 40310000, "insufficient qty"),
        ("reject-user", 403, 40310000, "user request"),
        ("reject-422", 422, 42210000, "invalid order"),
        ("duplicate-id", 422, 40010001, "must be unique"),
        ("order-504-before", 504, 50410000, "timeout"),
    ],
)
def test_a_refused_order_is_nowhere(venue, client, name, status, code, words):
    client._retry_codes = []
    venue.fault(name, times=1)
    said = refusal(client.submit_order, order("no"))
    assert said[:2] == (status, code)
    assert words in said[2]
    assert not venue.book.orders
    client.submit_order(order("no"))  # it happened as often as was asked


@pytest.mark.parametrize("name", ["auth-401", "auth-403", "order-403-no-code"])
def test_a_refusal_without_a_code_is_one(venue, name):
    venue.fault(name, times=1)
    answer = post(venue, "no")
    assert answer.status_code == (401 if "401" in name else 403)
    assert "code" not in answer.json()
    assert not venue.book.orders


@pytest.mark.parametrize(
    "name",
    ["order-timeout-after", "order-cut-after", "order-cut-within", "order-504-after", "order-500-after", "order-unreadable",
     "order-html"],
)  # fmt: skip
def test_after_means_that_the_order_lives_and_only_its_answer_is_lost(venue, name):
    venue.fault(name, times=1)
    try:
        answer = post(venue, "lost", 0.3 if "timeout" in name else 5.0)
        assert answer.status_code >= 500 or _unreadable(answer)
    except requests.RequestException:
        pass
    venue.wait_for(lambda: venue.order("lost").status == "filled")
    assert ask(venue, "/v2/orders:by_client_order_id", client_order_id="lost").json()["filled_qty"] == "2"
    assert [call.fault for call in venue.calls if call.method == "POST"] == [name]


def _unreadable(answer):
    try:
        answer.json()
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("name", ["order-timeout-before", "order-cut-before", "timeout"])
def test_before_means_that_it_never_was(venue, name):
    venue.fault(name, times=1)
    with pytest.raises(requests.RequestException):
        post(venue, "never", 0.3)
    assert not venue.book.orders
    assert len([call for call in venue.calls if call.method == "POST"]) == 1


def test_the_sdk_makes_two_orders_of_one_where_it_sends_no_id_of_its_own(venue, client):
    venue.fault("order-504-after", times=1)
    nameless = order(None, 1.00)
    client.submit_order(nameless)
    assert len(venue.book.orders) == 2
    assert len(venue.overlaps()) == 1


def test_with_an_id_the_sdks_second_try_meets_its_first(venue, client):
    venue.fault("order-504-after", times=1)
    assert refusal(client.submit_order, order("mine", 1.00)) == (422, 40010001, "client_order_id must be unique")
    assert [o.ref for o in venue.book.orders.values()] == ["mine"]
    assert len([call for call in venue.calls if call.method == "POST"]) == 2
    assert venue.overlaps() == []


def test_a_limit_of_requests_is_said_with_its_end_and_without(venue, client):
    venue.fault("rate-429", times=1)
    answer = ask(venue, "/v2/account")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["X-RateLimit-Reset"]) - venue.clock.now() <= 3
    venue.fault("rate-429-no-reset", times=1)
    assert not [name for name in ask(venue, "/v2/account").headers if "RateLimit" in name]
    venue.fault("rate-429", times=1)
    assert client.get_account().cash == "25000"  # the SDK asks again


def test_the_venue_counts_requests_itself(venue):
    venue.rest.per_minute = 2
    answers = [ask(venue, "/v2/clock") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]


def test_pages_of_html_are_no_json(venue, client):
    for name, status in (("html-502", 502), ("html-200", 200)):
        venue.fault(name, times=1)
        answer = ask(venue, "/v2/account")
        assert (answer.status_code, answer.content[:6]) == (status, b"<html>")
    venue.fault("html-502", times=1)
    with pytest.raises(APIError) as refused:
        client.get_account()
    with pytest.raises(json.JSONDecodeError):
        refused.value.code  # noqa: B018 - the SDK's own trap


def test_an_answer_may_be_slow_or_drip_or_fail(venue):
    venue.fault("slow", times=1)
    begun = time.monotonic()
    assert ask(venue, "/v2/clock").status_code == 200
    assert time.monotonic() - begun >= 1
    venue.fault("drip", times=1)
    with socket.create_connection(("127.0.0.1", venue.rest.port), timeout=3) as wire:
        wire.sendall(b"GET /v2/clock HTTP/1.1\r\nHost: h\r\nAPCA-API-KEY-ID: k\r\nAPCA-API-SECRET-KEY: s\r\n\r\n")
        begun = time.monotonic()
        assert b"".join(wire.recv(1) for _ in range(8)) == b"HTTP/1.1"
        assert time.monotonic() - begun >= 7 * 0.02
    venue.fault("error-500", times=1)
    assert ask(venue, "/v2/clock").status_code == 500


# --- the life of an order ----------------------------------------------------------------------------------------------


def test_an_order_may_be_rejected_after_it_was_taken(venue, client):
    venue.fault("reject-later", times=1)
    assert client.submit_order(order("late")).status.value == "pending_new"
    venue.wait_for(lambda: venue.order("late").status == "rejected")
    assert client.get_order_by_client_id("late").failed_at is not None


def test_fills_may_be_partial_or_none(venue, client):
    venue.fault("partial-fill")
    client.submit_order(order("part", qty=3))
    venue.wait_for(lambda: venue.order("part").filled == 1)
    venue.set_clock(at=venue.clock.now() + 5)
    assert venue.order("part").filled == 1
    venue.fault("no-fill")
    venue.clear("partial-fill")
    assert venue.order("part").filled == 1
    venue.clear()
    assert venue.order("part").status == "filled"


def test_a_fill_may_come_between_a_cancel_and_its_effect(venue, client):
    one = working(venue, client)
    venue.fault("fill-in-cancel", times=1)
    client.cancel_order_by_id(one.id)
    venue.wait_for(lambda: not one.is_open)
    assert (one.status, one.filled) == ("filled", 2)
    two = working(venue, client, "two")
    venue.fault("partial-in-cancel", times=1)
    client.cancel_order_by_id(two.id)
    venue.wait_for(lambda: not two.is_open)
    assert (two.status, two.filled) == ("canceled", 1)
    assert client.get_all_positions()[0].qty == "3"


def test_a_cancel_may_prove_nothing(venue, client):
    one = working(venue, client)
    venue.fault("cancel-422", times=1)
    assert refusal(client.cancel_order_by_id, one.id)[0] == 422
    assert client.get_order_by_id(one.id).status.value == "new"
    venue.fault("cancel-stuck")
    client.cancel_order_by_id(one.id)
    venue.match()
    assert client.get_order_by_id(one.id).status.value == "pending_cancel"
    venue.clear("cancel-stuck")
    assert one.status == "canceled"


def test_a_cancel_may_be_done_and_never_answered(venue, client):
    one = working(venue, client)
    venue.fault("cancel-timeout-after", times=1)
    with pytest.raises(requests.RequestException):
        requests.delete(f"{venue.rest.url}/v2/orders/{one.id}", headers=KEYS, timeout=0.3)
    venue.wait_for(lambda: one.status == "canceled")


def test_a_replacement_may_be_refused_after_its_200(venue, client, ears):
    one = working(venue, client)
    venue.fault("replace-refused", times=1)
    new = client.replace_order_by_id(one.id, ReplaceOrderRequest(limit_price=1.10))
    venue.wait_for(lambda: venue.book.orders[str(new.id)].status == "rejected")
    assert (one.status, str(one.limit)) == ("new", "1.0")
    assert "order_replace_rejected" in [event["event"] for event in ears.events(4)]


# --- what is shown -----------------------------------------------------------------------------------------------------


def test_lists_may_be_empty_though_things_are_there(venue, client):
    filled(venue, client)
    paths = {"empty-orders": "/v2/orders", "empty-positions": "/v2/positions", "empty-activities": "/v2/account/activities"}
    for name, path in paths.items():
        assert ask(venue, path, status="all").json()
        venue.fault(name, times=1)
        assert ask(venue, path, status="all").json() == []
    venue.fault("no-such-order", times=1)
    assert refusal(client.get_order_by_client_id, "one")[0] == 404


def test_what_is_held_back_comes_when_the_fault_ends(venue, client):
    venue.fault("late-activities")
    venue.fault("late-positions")
    filled(venue, client)
    assert ask(venue, "/v2/account/activities").json() == []
    assert client.get_all_positions() == []
    venue.clear()
    assert [row["qty"] for row in ask(venue, "/v2/account/activities").json()] == ["2"]
    assert len(client.get_all_positions()) == 1


def test_a_page_after_the_first_may_fail(venue, client):
    for k in range(3):
        working(venue, client, f"o{k}")
    venue.fault("short-pages")
    venue.fault("page-500", times=1)
    page = ask(venue, "/v2/orders", direction="asc").json()
    assert len(page) == 2
    follow = {"direction": "asc", "after": page[-1]["submitted_at"]}
    assert [ask(venue, "/v2/orders", **follow).status_code for _ in range(2)] == [500, 200]


def test_words_nobody_has_heard_of(venue, client, ears):
    venue.fault("unknown-status")
    venue.fault("empty-intent")
    venue.fault("unknown-event", times=1)
    requests.post(f"{venue.rest.url}/v2/orders", json=body("odd", "1.00"), headers=KEYS, timeout=3)
    shown = ask(venue, "/v2/orders:by_client_order_id", client_order_id="odd").json()
    assert (shown["status"], shown["position_intent"]) == ("pending_review_by_moon", "")
    assert [event["event"] for event in ears.events(2)] == ["moon_phase", "new"]
    with pytest.raises(ValueError, match="pending_review_by_moon"):
        client.get_order_by_client_id("odd")  # where the SDK gives up


def test_the_account_may_be_blocked_or_another(venue, client):
    shown = {
        "block-trading": "trading_blocked",
        "block-account": "account_blocked",
        "suspend-by-user": "trade_suspended_by_user",
    }
    for name, flag in shown.items():
        venue.fault(name)
        assert getattr(client.get_account(), flag) is True
        assert refusal(client.submit_order, order("no"))[0] == 403
        venue.clear(name)
        assert getattr(client.get_account(), flag) is False
    number = client.get_account().account_number
    venue.fault("other-account")
    assert client.get_account().account_number != number


def test_the_venues_clock_may_be_wrong(venue, client):
    right = client.get_clock().timestamp
    venue.fault("clock-skew")
    assert (client.get_clock().timestamp - right).total_seconds() == 90


# --- what others do ----------------------------------------------------------------------------------------------------


def test_positions_come_and_go_without_us(venue, client):
    venue.fault("foreign-position", symbol=HIGHER, qty=3)
    assert client.get_all_positions()[0].qty == "3"
    assert ask(venue, "/v2/account/activities").json() == []
    venue.fault("foreign-fill", symbol=HIGHER, qty=1, side="sell")
    (row,) = ask(venue, "/v2/account/activities").json()
    assert (row["side"], row["price"], client.get_all_positions()[0].qty) == ("sell", "0.6", "2")
    venue.fault("position-gone", symbol=HIGHER)
    assert client.get_all_positions() == []


def test_a_trade_may_be_corrected_and_busted(venue, client, ears):
    filled(venue, client)
    venue.fault("trade-correct")
    assert client.get_account().cash == str(25_000 - 290)
    assert ask(venue, "/v2/account/activities").json()[0]["price"] == "1.45"
    venue.fault("trade-bust")
    assert (client.get_account().cash, client.get_all_positions()) == ("25000", [])
    assert ask(venue, "/v2/account/activities").json() == []
    *_, fill, correct, bust = ears.events(5)
    assert [event["event"] for event in (fill, correct, bust)] == ["fill", "trade_correct", "trade_bust"]
    assert correct["previous_execution_id"] == fill["execution_id"]
    with pytest.raises(ValueError, match="nothing has filled"):
        venue.fault("trade-bust")


def test_the_venue_may_sell_everything(venue, client):
    filled(venue, client)
    working(venue, client, "rests")
    venue.fault("liquidate")
    assert client.get_all_positions() == []
    assert venue.order("rests").status == "canceled"
    assert [o.owner for o in venue.book.orders.values()] == ["client", "client", "venue"]


def test_a_quote_may_go_and_come(venue, client):
    venue.fault("no-quote", symbol=CALL)
    client.submit_order(order("waits"))
    venue.wait_for(lambda: venue.order("waits").status == "new")
    assert client.get_option_contract(CALL).symbol == CALL
    venue.fault("force-quote", symbol=CALL, bid="1.30", ask="1.35")
    assert str(venue.order("waits").average) == "1.35"


# --- the stream --------------------------------------------------------------------------------------------------------


def test_the_stream_says_each_step_in_binary_frames(venue, client, ears):
    assert (ears.first["data"]["status"], ears.second["data"]["streams"]) == ("authorized", ["trade_updates"])
    filled(venue, client)
    said = ears.events(3)
    assert [(event["event"], event["order"]["status"]) for event in said] == [
        ("pending_new", "pending_new"), ("new", "new"), ("fill", "filled"),
    ]  # fmt: skip
    assert (said[2]["price"], said[2]["qty"], said[2]["position_qty"]) == ("1.44", "2", "2")
    assert said[2]["execution_id"] == venue.activities[0].execution_id


def test_the_stream_may_be_cut_or_silent_or_double_or_garbled(venue, client, ears):
    venue.fault("stream-silence")
    working(venue, client, "unheard")
    venue.clear()
    venue.fault("stream-double")
    working(venue, client, "twice")
    assert [event["order"]["client_order_id"] for event in ears.events(4)] == ["twice"] * 4
    venue.fault("stream-garbage")
    assert ears.wire.recv() == b"{not json"
    venue.fault("stream-drop")
    with pytest.raises((websocket.WebSocketException, OSError)):
        ears.wire.recv()
    assert Ears(venue).second["data"]["streams"] == ["trade_updates"]


def test_the_stream_may_refuse_the_keys(venue):
    venue.fault("stream-refused")
    assert Ears(venue).first["data"]["status"] == "unauthorized"


# --- the switches ------------------------------------------------------------------------------------------------------


def test_every_name_is_one_thing_and_has_its_line():
    assert len(catalogue()) == len(REQUESTS) + len(SWITCHES) + len(ACTS)
    assert all(10 < len(says) < 100 for says in catalogue().values())


def test_every_name_is_tried_here():
    text = Path(__file__).read_text() + Path(__file__).with_name("test_alpaca_life.py").read_text()
    assert sorted(name for name in catalogue() if f'"{name}"' not in text) == []


def test_a_name_that_is_none_is_refused_and_a_pattern_puts_a_fault_elsewhere(venue):
    with pytest.raises(ValueError, match="no fault"):
        venue.fault("gremlins")
    venue.fault("error-500", path="GET /v2/account$")
    assert [ask(venue, path).status_code for path in ("/v2/clock", "/v2/account")] == [200, 500]
    venue.fault("order-cut-within", path="GET /v2/clock$", times=1)
    with pytest.raises(requests.RequestException):
        ask(venue, "/v2/clock")


def test_the_control_door_does_what_python_does(venue, client):
    door = venue.control.url
    assert requests.get(f"{door}/faults", timeout=3).json()["faults"] == catalogue()
    assert requests.post(f"{door}/faults/no-fill", json={"times": 2}, timeout=3).json() == {"on": {"no-fill": 2}}
    assert requests.delete(f"{door}/faults/no-fill", timeout=3).json() == {"on": {}}
    assert requests.post(f"{door}/faults/gremlins", timeout=3).status_code == 422
    assert requests.post(f"{door}/faults/slow", json={"colour": 1}, timeout=3).status_code == 422
    working(venue, client)
    requests.post(f"{door}/faults/force-quote", json={"symbol": CALL, "bid": "0.95", "ask": "0.98"}, timeout=3)
    assert venue.order("one").status == "filled"
    assert requests.post(f"{door}/clock", json={"at": "15:20"}, timeout=3).json()["at"].startswith("2026-11-20T15:20")
    record = requests.get(f"{door}/record", timeout=3).json()
    assert [call["path"] for call in record["calls"]] == ["/v2/orders"]
    assert [step["status"] for step in record["orders"][0]["life"]] == ["pending_new", "new", "filled"]
    assert requests.get(f"{door}/elsewhere", timeout=3).status_code == 404


@pytest.mark.process
def test_the_program_serves_anybodys_client_and_says_what_it_does():
    command = [sys.executable, "-m", "simulator", "alpaca", "--fault", "order-504-after=1", "--speed", "0"]
    process = subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, text=True)
    try:
        places = json.loads(process.stdout.readline())
        client = Impatient(places["trading"])
        assert refusal(client.submit_order, order("a1", 9.99, symbol=places["contract"]))[1] == 40010001
        lines = [process.stdout.readline() for _ in range(6)]
        assert "fault   order-504-after × 1" in lines[0]
        assert any("POST    /v2/orders  → 504" in line and "[order-504-after]" in line for line in lines)
        assert any("a1  buy 2" in line and "fill" in line for line in lines)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        process.stdout.close()


@pytest.mark.process
def test_the_program_lists_every_fault():
    listed = subprocess.run(
        [sys.executable, "-m", "simulator", "alpaca", "--faults"], cwd=HOME, capture_output=True, text=True, check=True
    ).stdout
    assert all(f"  {name} " in listed for name in catalogue())


@pytest.mark.process
def test_the_example_of_the_documents_does_what_it_says():
    text = (HOME / "docs" / "venues.md").read_text().partition("## Alpaca")[2]
    example = text.partition("```python\n")[2].partition("```")[0]
    ran = subprocess.run([sys.executable, "-c", example], cwd=HOME, capture_output=True, text=True, timeout=100)
    first, second = ran.stdout.splitlines()
    assert first == "2 orders without a client order id"
    assert second == "no answer, and it lives: mine-1"
    assert first in text
    assert second in text
