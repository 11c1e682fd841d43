"""One delivery, one check, one receipt: against a Pushover-shaped server and broken ones, on real sockets."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from config import Config
from desk import outbox
from edges import edge, phone
from edges.phone import Phone, PhoneLane
from events import AlertDelivered, AlertFailed, AnyEvent, CancelReceipt, CheckPhone, Deliver, PollReceipt, TakeBack
from simulator.http import Answer
from simulator.push import PushServer
from tests.kit.hook import Hook
from tests.kit.push import AT, Courier, HandClock, alert
from tests.kit.worker import until

ROOT = Path(__file__).resolve().parents[2]
TOKEN, USER = "aTokenCanary0123456789abcdefgh", "uUserCanary0123456789abcdefghi"
MESSAGES, VALIDATE, LIMITS = r"^/1/messages\.json$", r"^/1/users/validate\.json$", r"^/1/apps/limits\.json$"
BUY = Deliver("20251002-1-BUY", 1, "BUY", "🔥 IWM 0DTE CALL — BUY", "text\n#20251002-1-BUY", 1, created_at=AT, ttl_s=53)
SELL = Deliver("20251002-1-SELL", 2, "SELL", "🚪 SELL", "text", 2, created_at=AT, retry_s=30, expire_s=600, ttl_s=53)


@pytest.fixture
def push() -> Iterator[PushServer]:
    server = PushServer()
    yield server
    server.close()


def settings_for(push: PushServer, **more: str) -> Config:
    keys = {"POLYGON_API_KEY": "k" * 32, "PUSHOVER_TOKEN": TOKEN, "PUSHOVER_USER_KEY": USER, "PUSHOVER_URL": push.url}
    return Config.from_env(keys | {"ALERT_TIMEOUT_SECONDS": "0.4"} | more)


def phone_to(push: PushServer, **more: str) -> Phone:
    return Phone(settings_for(push, **more), HandClock())


def failed(answer: AlertDelivered | AlertFailed) -> AlertFailed:
    assert isinstance(answer, AlertFailed)
    return answer


def courier(push: PushServer, **more: str) -> Courier:
    """The outbox before a real phone before the push server, on a clock of its own."""
    config, clock = settings_for(push, **more), HandClock()
    real = Phone(config, clock)
    return Courier(config, lambda action, now: real.deliver(action), real.receipt, clock=clock)


def posts(push: PushServer) -> int:
    return sum(request.path == "/1/messages.json" for request in push.requests)


# --- what is sent ------------------------------------------------------------------------------------------------------


@pytest.mark.fault("P18", "P10")
def test_a_buy_is_a_form_with_the_keys_in_its_body_and_no_markup(push: PushServer) -> None:
    answer = phone_to(push).deliver(replace(BUY, text="$327 < $700 & <b>_*[\n#20251002-1-BUY"))
    assert isinstance(answer, AlertDelivered)
    assert (answer.alert_id, answer.attempt, answer.receipt, answer.quota_left) == ("20251002-1-BUY", 1, None, 9999)
    (request,) = push.requests
    assert request.query == {}
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    form = {name: value for name, (value,) in parse_qs(request.body.decode(), strict_parsing=True).items()}
    assert form == {
        "token": TOKEN,
        "user": USER,
        "title": "🔥 IWM 0DTE CALL — BUY",
        "message": "$327 < $700 & <b>_*[\n#20251002-1-BUY",
        "priority": "1",
        "timestamp": str(int(AT)),
        "ttl": "53",
    }


def test_sound_and_link_have_fields_of_their_own(push: PushServer) -> None:
    url = "https://desk.example.org/act#20251002-1.1900.signed"
    told = replace(SELL, sound="siren", url=url, url_title="Say what you sold it at\n" + "x" * 100)
    assert isinstance(phone_to(push).deliver(told), AlertDelivered)
    fields = push.messages[0].fields
    assert (fields["sound"], fields["url"], len(fields["url_title"])) == ("siren", url, 100)
    assert fields["message"] == "text"


def test_a_link_that_is_too_long_costs_no_message(push: PushServer) -> None:
    assert isinstance(phone_to(push).deliver(replace(SELL, url="https://x/" + "y" * 503, url_title="Open")), AlertDelivered)
    assert "url" not in push.messages[0].fields
    assert isinstance(phone_to(push).deliver(replace(SELL, url="https://x/" + "y" * 502, url_title="Open")), AlertDelivered)
    assert len(push.messages[1].fields["url"]) == 512


@pytest.mark.fault("P18")
def test_a_sell_is_an_emergency_with_retry_and_expire_and_never_a_ttl(push: PushServer) -> None:
    answer = phone_to(push).deliver(SELL)
    assert isinstance(answer, AlertDelivered)
    message = push.wait_for_message("SELL")
    assert (message.priority, message.fields["retry"], message.fields["expire"]) == (2, "30", "600")
    assert "ttl" not in message.fields
    assert answer.receipt == message.receipt


@pytest.mark.fault("P08")
@pytest.mark.parametrize("length", [0, 1, 1023, 1024, 1025, 100_000])
@pytest.mark.parametrize("char", ["x", "🔥"])
def test_a_text_of_any_length_is_accepted(push: PushServer, length: int, char: str) -> None:
    phone = phone_to(push, ALERT_TIMEOUT_SECONDS="10")
    answer = phone.deliver(replace(BUY, text=char * length, title=char * (length // 3)))
    assert isinstance(answer, AlertDelivered)
    assert 1 <= len(push.messages[0].text) <= 1024
    assert 1 <= len(push.messages[0].title) <= 250


@pytest.mark.fault("P09", "A46")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec=None), max_size=300))
def test_any_text_at_all_is_accepted(push: PushServer, text: str) -> None:
    phone = phone_to(push, ALERT_TIMEOUT_SECONDS="10")
    assert isinstance(phone.deliver(replace(BUY, text=text, title=text)), AlertDelivered)


# --- what an answer means ----------------------------------------------------------------------------------------------


@pytest.mark.fault("P06")
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(200, {"status": 0, "errors": ["message is blank"]}), "refused"),
        (Answer(200, b""), "unknown"),
        (Answer(200, b"<html>hello</html>"), "unknown"),
        (Answer(200, b"[]"), "unknown"),
        (Answer(200, b"[" * 100_000), "unknown"),
        (Answer(200, {"status": "1"}), "unknown"),
        (Answer(202, {"status": 1}), "unknown"),
        (Answer(400, {"status": 0, "errors": ["application token is invalid"]}), "refused"),
        (Answer(403, b"<html>blocked</html>"), "refused"),
        (Answer(404, b"nothing here"), "refused"),
        (Answer(302, b"", {"Location": "https://elsewhere.example/"}), "refused"),
        (Answer(500, {"status": 0}), "unknown"),
        (Answer(503, b"<html>down</html>"), "unknown"),
        (Answer(200, {"status": 1}, cut_after=30), "unknown"),
        (Answer(200, {"status": 1}, cut_after=0, process=True), "unknown"),
        (Answer(200, {"status": 1}, hang=True), "unknown"),
        (Answer(200, {"status": 1}, byte_every_s=0.05), "unknown"),
        (Answer(200, b"x" * 2_000_000), "unknown"),
        (Answer(raw=b"nonsense\r\n\r\n"), "unknown"),
    ],
)
def test_only_200_with_status_1_is_success(push: PushServer, answer: Answer, outcome: str) -> None:
    push.script(MESSAGES, answer)
    before = time.monotonic()
    told = failed(phone_to(push).deliver(BUY))
    assert told.outcome == outcome
    assert told.reason.isprintable()
    assert len(told.reason) <= 200
    assert time.monotonic() - before < 1.5
    assert posts(push) == 1


@pytest.mark.fault("P07")
def test_without_a_connection_it_certainly_did_not_arrive(push: PushServer) -> None:
    push.down()
    told = failed(phone_to(push).deliver(BUY))
    assert (told.outcome, told.reason) == ("failed", "no connection")


@pytest.mark.fault("P02")
def test_a_used_up_quota_is_told_with_its_reset(push: PushServer) -> None:
    push.remaining = 0
    told = failed(phone_to(push).deliver(SELL))
    assert (told.outcome, told.quota_left) == ("refused", 0)
    assert told.quota_reset_at is not None
    assert told.quota_reset_at > time.time()
    push.script(MESSAGES, Answer(429, b""))
    bare = failed(phone_to(push).deliver(SELL))
    assert (bare.outcome, bare.quota_left, bare.quota_reset_at) == ("refused", 0, None)


@pytest.mark.parametrize("nonsense", ["", "many", "-5", "1e9", "9" * 30, "٣"])
def test_nonsense_in_the_quota_headers_is_no_number(push: PushServer, nonsense: str) -> None:
    headers = {"X-Limit-App-Remaining": nonsense.encode("ascii", "replace").decode(), "X-Limit-App-Reset": "soon"}
    push.script(MESSAGES, Answer(200, {"status": 1}, headers))
    told = phone_to(push).deliver(BUY)
    assert isinstance(told, AlertDelivered)
    assert told.quota_left in (None, 0)
    assert told.quota_reset_at is None


@pytest.mark.fault("S01", "S04")
def test_no_answer_and_no_error_makes_it_tell_a_key(push: PushServer) -> None:
    echo = {"status": 0, "errors": [f"token {TOKEN} of user {USER} is wrong\r\n\x1b[2J"]}
    push.script(MESSAGES, Answer(400, echo), Answer(500, echo), Answer(200, b"", cut_after=0))
    push.script(VALIDATE, Answer(400, echo), Answer(200, b"", cut_after=0))
    real = phone_to(push)
    told = [
        real.deliver(BUY),
        real.deliver(BUY),
        real.deliver(BUY),
        real.check(),
        real.check(),
        real.receipt(PollReceipt("x", "r" * 30)),
    ]
    push.down()
    told += [real.deliver(BUY), real.check()]
    assert TOKEN not in repr(told)
    assert USER not in repr(told)
    assert "HTTP 400: token *** of user *** is wrong" in repr(told)
    assert "\\x1b" not in repr(told)


def test_a_connection_is_kept_for_the_next_alert_but_not_for_ever(push: PushServer, monkeypatch: pytest.MonkeyPatch) -> None:
    real = phone_to(push)
    real.deliver(BUY)
    real.deliver(BUY)
    monkeypatch.setattr(phone, "IDLE_S", 0.0)
    real.deliver(BUY)
    first, second, third = (request.connection for request in push.requests)
    assert first == second != third


def test_a_connection_that_the_server_closed_meanwhile_costs_no_doubt(push: PushServer) -> None:
    real = phone_to(push)
    real.deliver(BUY)
    push.drop_connections()
    assert isinstance(real.deliver(BUY), AlertDelivered)


# --- the check ---------------------------------------------------------------------------------------------------------


def test_good_keys_are_proven_without_sending_anything(push: PushServer) -> None:
    push.remaining = 1234
    told = phone_to(push).check()
    assert (told.ok, told.quota_left) == (True, 1234)
    assert told.quota_reset_at is not None
    assert push.messages == []


@pytest.mark.fault("P01", "C08")
def test_refused_keys_are_told_with_the_services_reason(push: PushServer) -> None:
    push.users = {"x" * 30}
    told = phone_to(push).check()
    assert told.ok is False
    assert "user identifier is not a valid" in told.reason


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, b"<html>not here</html>"),
        Answer(200, b"<html>welcome to the hotel</html>"),
        Answer(403, b"blocked"),
        Answer(500, {"status": 0}),
        Answer(429, {"status": 0}),
        Answer(302, b"", {"Location": "/login"}),
        Answer(200, hang=True),
        Answer(200, b"", cut_after=0),
    ],
)
def test_only_the_service_itself_can_refuse_the_keys(push: PushServer, answer: Answer) -> None:
    push.script(VALIDATE, answer)
    assert phone_to(push).check().ok is None


def test_an_unknown_quota_is_not_a_made_up_one(push: PushServer) -> None:
    push.script(LIMITS, Answer(500, b""))
    told = phone_to(push).check()
    assert (told.ok, told.quota_left, told.quota_reset_at) == (True, None, None)


# --- receipts ----------------------------------------------------------------------------------------------------------


def test_a_receipt_tells_when_and_on_which_device_it_was_seen_and_never_the_users_key(push: PushServer) -> None:
    real = phone_to(push)
    delivered = real.deliver(SELL)
    assert isinstance(delivered, AlertDelivered)
    assert delivered.receipt is not None
    poll = PollReceipt("20251002-1-SELL", delivered.receipt)
    unseen = real.receipt(poll)
    assert unseen is not None
    assert (unseen.acknowledged_at, unseen.expired) == (None, False)
    push.acknowledge(delivered.receipt, USER)
    seen = real.receipt(poll)
    assert seen is not None
    assert seen.acknowledged_by == "iphone"
    assert seen.acknowledged_at == pytest.approx(time.time(), abs=2)
    assert USER not in repr(seen)


def test_a_receipt_nobody_knows_is_over_and_one_that_cannot_be_asked_is_not(push: PushServer) -> None:
    real = phone_to(push)
    lost = real.receipt(PollReceipt("x", "z" * 30))
    assert lost is not None
    assert lost.expired
    cut = Answer(200, b"", cut_after=0)
    push.script(r"^/1/receipts/", Answer(500, b""), Answer(200, b"html"), cut, cut, Answer(429, b""))
    for _ in range(4):
        assert real.receipt(PollReceipt("x", "z" * 30)) is None


# --- outbox and phone together -----------------------------------------------------------------------------------------


@pytest.mark.fault("P01", "A45")
def test_a_bad_token_costs_one_request_closes_entries_and_the_sell_goes_elsewhere(push: PushServer) -> None:
    push.tokens = {"x" * 30}
    with Hook() as other:
        desk = courier(push, FALLBACK_ALERT_URLS=other.url).say(alert()).run(600)
        assert posts(push) == 1
        assert [body["title"] for body in other.bodies] == ["title of 20251002-1-SELL"]
    assert outbox.doubt(desk.line, desk.now, desk.config) is not None
    assert desk.rows["20251002-1-SELL"].fallback == "delivered"


@pytest.mark.fault("P02")
def test_without_quota_nothing_is_asked_again_and_the_sell_goes_elsewhere(push: PushServer) -> None:
    push.remaining = 0
    with Hook() as other:
        desk = courier(push, FALLBACK_ALERT_URLS=other.url).say(alert(), alert("OPS", "x-OPS")).run(600)
        desk.say(alert("SELL", "20251002-2-SELL")).run(600)
        assert posts(push) <= 2
        assert len(other.bodies) == 2
    assert "used up" in (outbox.closed(desk.line, desk.now) or "")


@pytest.mark.fault("P03", "A45")
def test_server_errors_are_tried_again_after_five_seconds_and_more_until_it_is_sent(push: PushServer) -> None:
    push.fail_next("500", 3)
    push.fail_next("503", 1)
    desk = courier(push).say(alert()).run(300)
    assert posts(push) == 5
    pauses = [later - earlier for earlier, later in pairwise(desk.moments())]
    assert min(pauses) >= 5 + desk.takes
    (message,) = push.messages
    assert message.text == "REPEAT of #20251002-1-SELL\nthe text\n#20251002-1-SELL"


@pytest.mark.fault("P04")
def test_a_request_cut_before_it_was_accepted_is_made_again(push: PushServer) -> None:
    push.fail_next("cut before", 2)
    courier(push).say(alert()).run(60)
    (message,) = push.messages
    assert message.text.endswith("the text\n#20251002-1-SELL")


@pytest.mark.fault("P05", "A42")
def test_what_was_accepted_unheard_comes_again_as_a_repeat_with_the_same_id(push: PushServer) -> None:
    push.fail_next("cut after", 1)
    push.fail_next("500 after", 1)
    courier(push).say(alert("BUY", "20251002-1-BUY")).run(60)
    first, second, third = push.messages
    assert "REPEAT" not in first.text
    assert second.text == third.text == f"REPEAT of #20251002-1-BUY, do not buy twice\n{first.text}"


@pytest.mark.fault("P07")
def test_an_hour_without_network_across_the_close_ends_with_a_late_sell_and_no_buy(push: PushServer) -> None:
    push.down()
    desk = courier(push)
    desk.clock.at = AT + 17_500  # 15:34
    desk.say(alert(at=desk.now), alert("BUY", "20251002-2-BUY", at=desk.now)).run(3600)
    push.up()
    desk.run(120)
    (message,) = push.messages
    assert message.text.startswith("LATE: decided at 15:33:57 ET, said at 16:3")
    assert desk.rows["20251002-2-BUY"].outcome == "dropped"


@pytest.mark.fault("P12")
def test_a_buy_is_not_sent_after_the_sell_of_its_position(push: PushServer) -> None:
    push.script(MESSAGES, lambda request: Answer(503 if b"BUY" in request.body else None), forever=True)
    desk = courier(push).say(alert("BUY", "20251002-1-BUY")).run(3)
    desk.position_open = False
    desk.say(alert()).run(60)
    push.unscript()
    desk.run(60)
    assert [message.title for message in push.messages] == ["title of 20251002-1-SELL"]


@pytest.mark.fault("P14")
def test_an_unseen_sell_rings_again_then_elsewhere_and_one_that_is_seen_rests(push: PushServer) -> None:
    with Hook() as other:
        desk = courier(push, FALLBACK_ALERT_URLS=other.url).say(alert())
        push.now = desk.clock.now
        desk.run(1300)
        assert len(push.messages) == 2
        assert "NOT SEEN YET" in push.messages[1].text
        assert "becomes 100 shares" in other.bodies[0]["message"]
    desk.say(alert("SELL", "20251002-2-SELL", desk.now)).run(10)
    receipt = push.messages[-1].receipt
    assert receipt is not None
    push.acknowledge(receipt)
    desk.run(1300)
    assert len(push.messages) == 3
    assert desk.rows["20251002-2-SELL"].acknowledged_by == "iphone"
    polls = [request for request in push.requests if "receipts" in request.path]
    assert len(polls) <= 1220 / 5 + 4


@pytest.mark.fault("P14")
def test_a_lost_receipt_is_not_asked_for_again_and_counts_as_unseen(push: PushServer) -> None:
    desk = courier(push).say(alert()).run(3)
    push.receipts.clear()
    desk.run(590)
    assert sum("receipts" in request.path for request in push.requests) == 1
    desk.run(20)
    assert len(push.messages) == 2


@pytest.mark.fault("P15")
def test_after_three_refusals_nothing_more_is_asked(push: PushServer) -> None:
    push.fail_next("400", 100)
    desk = courier(push).say(*(alert("CRITICAL", f"x-{number}") for number in range(3))).run(30)
    for number in range(10):
        desk.say(alert("SELL", f"20251002-{number}-SELL", desk.now)).run(60)
    assert posts(push) == 3


# --- the other channel -------------------------------------------------------------------------------------------------


def test_the_other_channel_is_told_the_same_words(push: PushServer) -> None:
    with Hook() as other:
        told = phone_to(push, FALLBACK_ALERT_URLS=other.url).deliver(
            replace(SELL, channel="fallback", text="🚪 a < b & c\n#id")
        )
        assert isinstance(told, AlertDelivered)
        assert (told.channel, told.attempt) == ("fallback", 2)
        (body,) = other.bodies
        assert (body["title"], body["message"]) == ("🚪 SELL", "🚪 a < b & c\n#id")
    assert push.requests == type(push.requests)()


def test_one_service_that_takes_it_is_enough(push: PushServer) -> None:
    with Hook() as broken, Hook() as good:
        broken.status = 500
        told = phone_to(push, FALLBACK_ALERT_URLS=f"{broken.url} {good.url}").deliver(replace(SELL, channel="fallback"))
        assert isinstance(told, AlertDelivered)


def test_a_service_that_fails_may_have_taken_it_all_the_same(push: PushServer) -> None:
    with Hook() as broken:
        broken.status = 500
        told = failed(phone_to(push, FALLBACK_ALERT_URLS=broken.url).deliver(replace(SELL, channel="fallback")))
        assert (told.outcome, told.channel) == ("unknown", "fallback")


def test_a_service_that_hangs_does_not_hold_the_phone(push: PushServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phone, "FALLBACK_DEADLINE_S", 0.3)
    monkeypatch.setattr(phone, "FALLBACK_THREADS_MAX", 2)
    with Hook() as hanging:
        hanging.wait.clear()
        real = phone_to(push, FALLBACK_ALERT_URLS=hanging.url)
        real.check()
        outcomes = []
        for _ in range(3):
            before = time.monotonic()
            outcomes.append(failed(real.deliver(replace(SELL, channel="fallback"))))
            assert time.monotonic() - before < 1.0
        assert [told.outcome for told in outcomes] == ["unknown", "unknown", "failed"]
        assert "still hang" in outcomes[-1].reason


def test_without_another_channel_it_certainly_did_not_arrive(push: PushServer) -> None:
    assert failed(phone_to(push).deliver(replace(SELL, channel="fallback"))).outcome == "failed"


@pytest.mark.fault("S01")
def test_urls_that_cannot_be_used_are_counted_and_never_shown(
    push: PushServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    urls = f"nosuchservice://canary-one, json://127.0.0.1:{port}/canary-two"
    real = phone_to(push, FALLBACK_ALERT_URLS=urls)
    told = real.check()
    assert (told.ok, told.reason) == (True, "keys are valid; 1 of FALLBACK_ALERT_URLS cannot be used")
    answer = real.deliver(replace(SELL, channel="fallback"))
    out, err = capfd.readouterr()
    assert "canary" not in repr(answer) + repr(told) + out + err
    assert not any("canary" in record.getMessage() for record in caplog.records if record.name.startswith("apprise"))


def test_apprise_is_not_loaded_unless_it_is_asked_for(push: PushServer) -> None:
    program = (
        "import sys\nfrom config import Config\nfrom edges.phone import Phone\nfrom utils import SystemClock\n"
        "import os\nassert Phone(Config.from_env(os.environ), SystemClock()).check().ok is True\n"
        "assert 'apprise' not in sys.modules\n"
    )
    keys = {"POLYGON_API_KEY": "k" * 32, "PUSHOVER_TOKEN": TOKEN, "PUSHOVER_USER_KEY": USER, "PUSHOVER_URL": push.url}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, env=os.environ | keys, cwd=ROOT)


# --- the lane ----------------------------------------------------------------------------------------------------------


def lane_to(push: PushServer, heard: queue.Queue[AnyEvent], **more: str) -> PhoneLane:
    lane = PhoneLane(heard.put, settings_for(push, **more), HandClock(), "phone")
    lane.start()
    return lane


def test_a_buy_behind_a_slow_key_check_is_taken_back_at_once_and_never_leaves(push: PushServer) -> None:
    push.script(VALIDATE, Answer(hang=True))
    heard: queue.Queue[AnyEvent] = queue.Queue()
    lane = lane_to(push, heard, ALERT_TIMEOUT_SECONDS="2")
    lane.put(CheckPhone(), 3)
    push.wait_for(lambda: len(push.requests))
    lane.put(BUY)
    lane.put(TakeBack(BUY.alert_id))
    told = heard.get(timeout=1.0)
    assert isinstance(told, AlertFailed)
    assert (told.alert_id, told.attempt, told.outcome) == (BUY.alert_id, 1, "failed")
    lane.put(replace(SELL, kind="BLIND", alert_id="next"))
    while not isinstance(told := heard.get(timeout=5.0), AlertDelivered):
        pass
    assert told.alert_id == "next"
    assert [message.title for message in push.messages] == [SELL.title]
    lane.stop()


def test_a_buy_behind_a_slow_fallback_is_taken_back_too_and_one_that_has_begun_is_not(push: PushServer) -> None:
    with Hook() as other:
        other.wait.clear()
        heard: queue.Queue[AnyEvent] = queue.Queue()
        lane = lane_to(push, heard, FALLBACK_ALERT_URLS=other.url)
        lane.put(replace(SELL, kind="BLIND", alert_id="first", channel="fallback"))
        until(lambda: other.bodies, 5.0, "the fallback told")
        lane.put(replace(BUY, channel="fallback"))
        lane.put(TakeBack("first"))
        lane.put(TakeBack(BUY.alert_id))
        told = heard.get(timeout=1.0)
        assert isinstance(told, AlertFailed)
        assert (told.alert_id, told.channel, told.outcome) == (BUY.alert_id, "fallback", "failed")
        other.wait.set()
        begun = heard.get(timeout=5.0)
        assert isinstance(begun, AlertDelivered)
        assert begun.alert_id == "first"
        assert len(other.bodies) == 1
        lane.stop()


def test_the_lane_asks_once_more_before_the_wire_whether_it_is_too_late(push: PushServer) -> None:
    heard: queue.Queue[AnyEvent] = queue.Queue()
    lane = lane_to(push, heard)
    lane.put(replace(BUY, not_after=AT - 0.5))
    told = heard.get(timeout=5.0)
    assert isinstance(told, AlertFailed)
    assert told.outcome == "failed"
    assert not posts(push)
    lane.stop()


def test_a_lane_that_takes_over_says_what_waited_and_not_what_was_taken_back(push: PushServer) -> None:
    heard: queue.Queue[AnyEvent] = queue.Queue()
    old = PhoneLane(heard.put, settings_for(push), HandClock(), "phone")
    old.put(BUY)
    old.put(replace(BUY, alert_id="kept"))
    old.put(TakeBack(BUY.alert_id))
    assert isinstance(heard.get(timeout=1.0), AlertFailed)
    fresh = PhoneLane(heard.put, settings_for(push), HandClock(), "phone")
    fresh.inherit(old)
    fresh.start()
    told = heard.get(timeout=5.0)
    assert isinstance(told, AlertDelivered)
    assert told.alert_id == "kept"
    fresh.stop()
    fresh.join(5.0)
    assert posts(push) == 1


def test_while_a_position_is_open_its_sell_finds_a_fresh_connection_over_which_nothing_was_asked(
    push: PushServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "STUCK_S", 0.12)  # it looks up from its box every 20 ms
    monkeypatch.setattr(phone, "WARM_S", 0.1)
    heard: queue.Queue[AnyEvent] = queue.Queue()
    holds = threading.Event()
    lane = PhoneLane(heard.put, settings_for(push), HandClock(), "phone sell", holds.is_set)
    lane.start()
    try:
        assert not push.peak_connections
        holds.set()
        until(lambda: push._count >= 3, 5.0, "a connection made ready again and again")
        assert not push.requests
        monkeypatch.setattr(phone, "WARM_S", 60.0)
        until(lambda: not [one for one in threading.enumerate() if one.name == "phone warm"], 5.0, "the last renewal's end")
        ready = push._count
        lane.put(SELL)
        assert isinstance(heard.get(timeout=5.0), AlertDelivered)
        assert [request.connection for request in push.requests] == [ready]
        until(lambda: list(push._open) == [ready], 5.0, "the end of those before it")
    finally:
        lane.stop()


def test_without_a_position_no_connection_is_made_ready(push: PushServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "STUCK_S", 0.12)
    monkeypatch.setattr(phone, "WARM_S", 0.0)
    asked = threading.Event()

    def holds() -> bool:
        asked.set()
        return False

    lane = PhoneLane(queue.Queue[AnyEvent]().put, settings_for(push), HandClock(), "phone sell", holds)
    lane.start()
    assert asked.wait(5)
    lane.stop()
    lane.join(5)
    assert not push.peak_connections


def test_an_emergency_that_is_cancelled_rings_no_more(push: PushServer) -> None:
    real = phone_to(push)
    delivered = real.deliver(replace(SELL, ttl_s=None))
    assert isinstance(delivered, AlertDelivered)
    assert delivered.receipt is not None
    ended = real.cancel(CancelReceipt(SELL.alert_id, delivered.receipt))
    assert ended is not None
    assert (ended.expired, ended.receipt) == (True, delivered.receipt)
    assert push.receipts[delivered.receipt]["expired"] == 1
    unknown = real.cancel(CancelReceipt(SELL.alert_id, "n" * 30))
    assert unknown is not None
    assert unknown.expired
    push.script(r"/cancel\.json$", Answer(503, b""), Answer(hang=True))
    assert [real.cancel(CancelReceipt(SELL.alert_id, delivered.receipt)) for _ in range(2)] == [None, None]


@pytest.mark.parametrize("action", [BUY, SELL])
def test_what_was_accepted_for_nobody_was_not_delivered(push: PushServer, action: Deliver) -> None:
    given = ROOT.parent / "shared" / "cases" / "pushover_nobody.json"
    nobody = {"info": "no active devices to send to", "status": 1, "request": "0"}
    push.script(MESSAGES, Answer(200, json.loads(given.read_text()) if given.exists() else nobody))
    told = failed(phone_to(push).deliver(action))
    assert (told.outcome, told.reason) == ("refused", "accepted for nobody: no active devices to send to")


def test_an_emergency_without_a_receipt_is_no_success(push: PushServer) -> None:
    push.script(MESSAGES, Answer(200, {"status": 1, "request": "0"}), forever=True)
    assert failed(phone_to(push).deliver(SELL)).outcome == "refused"
    assert isinstance(phone_to(push).deliver(BUY), AlertDelivered)


def test_keys_without_an_active_device_prove_no_phone(push: PushServer) -> None:
    push.script(VALIDATE, Answer(200, {"status": 1, "group": 0, "devices": [], "licenses": []}))
    checked = phone_to(push).check()
    assert (checked.ok, checked.reason) == (False, "the user has no active device")
