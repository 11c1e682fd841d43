"""The phone's receiver, held against Pushover's rules in feeds.md."""

import pytest
import requests

from simulator.servers import DUMMY_TOKEN, DUMMY_USER

KEYS = {"token": DUMMY_TOKEN, "user": DUMMY_USER}


@pytest.fixture
def post(sim):
    def send(path="/1/messages.json", *, as_json=False, **fields):
        body = {"json": KEYS | fields} if as_json else {"data": KEYS | fields}
        return requests.post(sim.push.url + path, timeout=5, **body)

    return send


@pytest.mark.parametrize("as_json", [False, True])
def test_a_message_is_accepted_recorded_and_counted(post, sim, as_json):
    answer = post(as_json=as_json, title="🔥 BUY", message="IWM $215.34\nΔ0.42", priority=1)
    assert answer.status_code == 200
    assert answer.json()["status"] == 1
    assert "receipt" not in answer.json()
    assert answer.headers["X-Limit-App-Limit"] == "10000"
    assert answer.headers["X-Limit-App-Remaining"] == "9999"
    (message,) = sim.push.messages
    assert (message.title, message.text, message.priority) == ("🔥 BUY", "IWM $215.34\nΔ0.42", 1)
    assert message.market_at == sim.clock.now()
    assert sim.push.wait_for_message("215.34") is message


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"message": ""}, "message cannot be blank"),
        ({"message": "x" * 1025}, "message is too long"),
        ({"message": "x", "title": "t" * 251}, "title is too long"),
        ({"message": "x", "priority": 2}, "retry must be supplied"),
        ({"message": "x", "priority": 2, "retry": 29, "expire": 60}, "at least 30"),
        ({"message": "x", "priority": 2, "retry": 30, "expire": 10_801}, "at most 10800"),
        ({"message": "x", "priority": 3}, "priority is invalid"),
        ({"message": "x", "html": 1, "monospace": 1}, "monospace"),
        ({"message": "x", "token": "short"}, "application token is invalid"),
        ({"message": "x", "user": "short"}, "user identifier"),
    ],
)
def test_what_breaks_a_rule_is_a_400_that_names_it(post, sim, fields, error):
    answer = post(**fields)
    assert answer.status_code == 400
    assert answer.json()["status"] == 0
    assert any(error in said for said in answer.json()["errors"])
    assert not sim.push.messages
    assert len(sim.push.requests) == 1


def test_lengths_are_counted_in_code_points(post):
    assert post(message="🔥" * 1024).status_code == 200


def test_an_emergency_has_a_receipt_that_can_be_polled_acknowledged_and_cancelled(post, sim):
    receipt = post(message="SELL", priority=2, retry=30, expire=600).json()["receipt"]
    assert len(receipt) == 30
    url = f"{sim.push.url}/1/receipts/{receipt}"
    state = requests.get(f"{url}.json", params={"token": DUMMY_TOKEN}, timeout=5).json()
    assert (state["status"], state["acknowledged"], state["expired"]) == (1, 0, 0)
    sim.push.acknowledge(receipt)
    assert requests.get(f"{url}.json", params={"token": DUMMY_TOKEN}, timeout=5).json()["acknowledged"] == 1
    assert requests.post(f"{url}/cancel.json", data={"token": DUMMY_TOKEN}, timeout=5).json()["status"] == 1


def test_an_unanswered_emergency_expires_by_the_markets_clock(post, sim):
    receipt = post(message="SELL", priority=2, retry=30, expire=600).json()["receipt"]
    sim.set_clock(at=sim.clock.now() + 601)
    state = requests.get(f"{sim.push.url}/1/receipts/{receipt}.json", params={"token": DUMMY_TOKEN}, timeout=5).json()
    assert state["expired"] == 1


def test_keys_are_validated_without_a_message(post, sim):
    assert post("/1/users/validate.json").json()["devices"] == ["iphone"]
    sim.push.users = {"u" * 30}
    answer = post("/1/users/validate.json")
    assert (answer.status_code, answer.json()["status"], answer.json()["user"]) == (400, 0, "invalid")
    assert not sim.push.messages


def test_a_used_up_quota_is_429_with_its_limits(post, sim):
    sim.push.remaining = 0
    answer = post(message="x")
    assert answer.status_code == 429
    assert answer.headers["X-Limit-App-Remaining"] == "0"
    limits = requests.get(f"{sim.push.url}/1/apps/limits.json", params={"token": DUMMY_TOKEN}, timeout=5).json()
    assert (limits["limit"], limits["remaining"]) == (10_000, 0)
    assert limits["reset"] == 1_796_104_800, "midnight Central Time of 1 December 2026"


@pytest.mark.parametrize(("how", "accepted"), [("cut before", 0), ("cut after", 1), ("500", 0), ("500 after", 1)])
def test_a_failure_says_whether_the_message_counted(post, sim, how, accepted):
    sim.push.fail_next(how)
    try:
        assert post(message="first").status_code == 500
    except requests.ConnectionError:
        assert how.startswith("cut")
    assert len(sim.push.messages) == accepted
    assert post(message="second").status_code == 200


def test_concurrent_connections_are_counted(post, sim):
    post(message="x")
    assert sim.push.peak_connections == 1
