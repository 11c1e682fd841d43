"""When an alert is tried again, by which channel, and when it is given up: answers are scripted, time is a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from config import Config
from desk import outbox
from desk.outbox import Line
from events import Alert, AlertFailed, AlertKind, Deliver, Outgoing, PhoneChecked, ReceiptSeen
from tests.kit.push import AT, PROVEN, Answer, Courier, HandClock, alert, scripted

KEYS = {"POLYGON_API_KEY": "k" * 32, "PUSHOVER_TOKEN": "a" * 30, "PUSHOVER_USER_KEY": "u" * 30}
ALONE = Config.from_env(KEYS)
WITH_FALLBACK = Config.from_env(KEYS | {"FALLBACK_ALERT_URLS": "json://127.0.0.1:9/hook"})


def courier(config: Config, answer: Callable[[Deliver, float], Answer], **more: Any) -> Courier:
    return Courier(config, scripted(answer), **more)


def always(answer: Answer) -> Callable[[Deliver, float], Answer]:
    return lambda deliver, now: answer


def in_turn(*answers: Answer) -> Callable[[Deliver, float], Answer]:
    left = list(answers)
    return lambda deliver, now: left.pop(0) if len(left) > 1 else left[0]


# --- again, and how --------------------------------------------------------------------------------------------------


@pytest.mark.fault("P01")
def test_after_a_refusal_nothing_of_the_workers_own_is_sent_until_the_phone_is_proven_again() -> None:
    ops, refused = Outgoing(alert("OPS")), replace(PROVEN, refusals=(AT + 1.0,))
    assert outbox.due(ops, AT + 2.0, ALONE, PROVEN) == "send"
    assert outbox.due(ops, AT + 2.0, ALONE, refused) is None
    assert outbox.due(Outgoing(alert("SELL")), AT + 2.0, ALONE, refused) == "send"
    assert outbox.due(ops, AT + 2.0, ALONE, replace(refused, checked_at=AT + 1.5)) == "send"


def test_what_was_delivered_is_sent_once() -> None:
    desk = courier(ALONE, always("delivered")).say(alert("BLIND")).run(3600)
    assert desk.moments() == [0.0]
    assert desk.texts() == ["the text\n#20251002-1-SELL"]


def test_a_sell_without_connection_is_tried_for_an_hour_with_growing_pauses_and_then_called_late() -> None:
    desk = courier(ALONE, lambda deliver, now: "failed" if now < AT + 3600 else "delivered").say(alert()).run(3800)
    moments = desk.moments()
    pauses = [later - earlier - desk.takes for earlier, later in pairwise(moments)]
    assert pauses[:5] == [5.0, 10.0, 20.0, 40.0, 60.0]
    assert min(pauses) >= 5
    assert max(pauses) <= 60.5
    last = desk.texts()[-1]
    assert last.startswith("LATE: decided at 10:42:17 ET, said at 11:42:")
    assert not any("REPEAT" in text for text in desk.texts())
    assert desk.rows["20251002-1-SELL"].outcome == "delivered"


def test_after_an_answer_that_never_came_it_is_said_as_a_repeat_of_the_same_id() -> None:
    desk = courier(ALONE, in_turn("unknown", "failed", "delivered")).say(alert()).run(60)
    first, second, third = desk.texts()
    assert first == "the text\n#20251002-1-SELL"
    assert second == third == "REPEAT of #20251002-1-SELL\nthe text\n#20251002-1-SELL"


def test_a_repeated_buy_warns_not_to_buy_twice() -> None:
    desk = courier(ALONE, in_turn("unknown", "delivered")).say(alert("BUY", "20251002-1-BUY")).run(60)
    assert desk.texts()[1].startswith("REPEAT of #20251002-1-BUY, do not buy twice\n")


def test_after_certain_failures_nothing_is_called_a_repeat() -> None:
    desk = courier(ALONE, in_turn("failed", "failed", "delivered")).say(alert("BUY", "20251002-1-BUY")).run(60)
    assert desk.moments() == [0.0, 6.0, 12.0]
    assert not any("REPEAT" in text for text in desk.texts())


def test_what_was_on_the_wire_when_the_process_died_is_repeated_as_such() -> None:
    row = outbox.taken_up(outbox.sending(Outgoing(alert()), AT), AT + 100)
    assert (row.outcome, row.maybe_seen, row.attempts) == ("unknown", True, 1)
    desk = courier(ALONE, always("delivered"), rows={row.alert.id: row}, clock=HandClock(AT + 100)).run(5)
    assert desk.moments() == [100.0]
    assert desk.texts()[0].startswith("REPEAT of #20251002-1-SELL\n")
    assert outbox.taken_up(Outgoing(alert()), AT) == Outgoing(alert())


def test_an_attempt_that_is_never_answered_is_taken_for_unknown_and_made_again() -> None:
    desk = courier(ALONE, in_turn("silence", "delivered")).say(alert()).run(60)
    assert desk.moments() == [0.0, outbox.IN_FLIGHT_S + 0.5]
    assert desk.texts()[1].startswith("REPEAT")


def test_a_late_failure_of_an_attempt_that_was_given_up_changes_nothing() -> None:
    row = outbox.sending(outbox.overdue(outbox.sending(Outgoing(alert()), AT), AT + 30), AT + 30)
    late = AlertFailed(at=AT + 31, alert_id=row.alert.id, attempt=1, outcome="refused", reason="late")
    assert outbox.after(row, late, AT + 31) == row


def test_a_sell_the_ledger_could_not_take_says_so() -> None:
    deliver = outbox.delivery(outbox.sending(Outgoing(alert()), AT), AT, ALONE, recorded=False)
    assert deliver.text.startswith("NOT RECORDED: ")
    assert deliver.text.endswith("\n#20251002-1-SELL")


# --- a BUY lives twenty seconds ----------------------------------------------------------------------------------------


@pytest.mark.fault("P13", "A47")
def test_a_buy_that_cannot_be_delivered_is_tried_every_five_seconds_and_dropped_after_twenty() -> None:
    desk = courier(ALONE, always("failed")).say(alert("BUY", "20251002-1-BUY")).run(60)
    assert desk.moments() == [0.0, 6.0, 12.0, 18.0]
    assert desk.dropped == [(20.0, "20251002-1-BUY")]
    assert desk.rows["20251002-1-BUY"].maybe_seen is False


@pytest.mark.fault("P13")
def test_a_buy_found_a_minute_later_is_not_sent() -> None:
    desk = courier(ALONE, always("delivered"), clock=HandClock(AT + 60)).say(alert("BUY", "20251002-1-BUY")).run(5)
    assert desk.sent == []
    assert desk.dropped == [(60.0, "20251002-1-BUY")]


def test_a_buy_that_may_be_on_the_phone_is_dropped_as_possibly_announced() -> None:
    desk = courier(ALONE, always("unknown")).say(alert("BUY", "20251002-1-BUY")).run(60)
    assert desk.dropped == [(20.0, "20251002-1-BUY")]
    assert desk.rows["20251002-1-BUY"].maybe_seen is True


def test_a_buy_whose_position_is_closed_is_not_sent_any_more() -> None:
    desk = courier(ALONE, always("failed")).say(alert("BUY", "20251002-1-BUY")).run(3)
    desk.position_open = False
    desk.run(30)
    assert desk.moments() == [0.0]
    assert len(desk.dropped) == 1


def test_the_phone_forgets_a_buy_when_it_is_void() -> None:
    row = outbox.sending(Outgoing(alert("BUY", "20251002-1-BUY")), AT)
    assert outbox.delivery(row, AT + 7, ALONE).ttl_s == 53
    assert outbox.delivery(outbox.sending(Outgoing(alert()), AT), AT, ALONE).ttl_s is None


# --- refused -----------------------------------------------------------------------------------------------------------


def test_a_refused_sell_is_never_asked_again_and_goes_to_the_other_channel_at_once() -> None:
    desk = courier(WITH_FALLBACK, lambda deliver, now: "refused" if deliver.channel == "pushover" else "delivered")
    desk.say(alert()).run(3600)
    assert desk.moments() == [0.0]
    assert desk.moments("fallback") == [1.0]
    assert "REPEAT" not in desk.texts()[1]
    assert not outbox.is_open(desk.rows["20251002-1-SELL"], desk.now, WITH_FALLBACK)


def test_a_refused_sell_without_another_channel_waits_until_the_keys_are_found_good() -> None:
    desk = courier(ALONE, in_turn("refused", "delivered")).say(alert()).run(3600)
    assert desk.moments() == [0.0]
    assert outbox.is_open(desk.rows["20251002-1-SELL"], desk.now, ALONE)
    for ok, sent in ((None, 1), (False, 1), (True, 2)):
        desk.line = outbox.line_checked(desk.line, PhoneChecked(at=desk.now, ok=ok, reason="as drawn"))
        desk.run(60)
        assert len(desk.sent) == sent
    assert "REPEAT" not in desk.texts()[-1]


@pytest.mark.fault("P15")
def test_a_sell_that_is_refused_by_good_keys_is_asked_again_seldom_until_it_is_delivered() -> None:
    desk = courier(ALONE, in_turn("refused", "refused", "refused", "refused", "delivered")).say(alert())
    checked_at = desk.now
    while desk.rows["20251002-1-SELL"].outcome != "delivered":
        if desk.now >= checked_at + outbox.check_every_s(desk.line, desk.now, ALONE):
            checked_at = desk.now
            desk.line = outbox.line_checked(desk.line, PhoneChecked(at=desk.now, ok=True, reason="valid"))
        desk.run(5)
    moments = desk.moments()
    assert len(moments) == 5
    assert all(later - earlier >= 60 for earlier, later in pairwise(moments))
    assert all(sum(at - 300 < moment <= at for moment in moments) <= 3 for at in moments)


@pytest.mark.parametrize("kind", ["BUY", "BLIND", "CRITICAL"])
def test_what_is_urgent_goes_to_the_other_channel_when_refused(kind: AlertKind) -> None:
    desk = courier(WITH_FALLBACK, lambda deliver, now: "refused" if deliver.channel == "pushover" else "delivered")
    desk.say(alert(kind, f"x-{kind}")).run(60)
    assert desk.moments("fallback") == [1.0]


def test_a_refused_message_of_the_worker_is_dropped() -> None:
    desk = courier(WITH_FALLBACK, always("refused")).say(alert("OPS", "x-STARTED")).run(60)
    assert len(desk.sent) == 1
    assert desk.dropped == [(1.0, "x-STARTED")]


def test_a_refusal_doubts_the_phone_and_if_it_cannot_be_proven_for_a_while_the_sell_is_sent_when_it_is() -> None:
    desk = courier(ALONE, in_turn("refused", "delivered")).say(alert()).run(10)
    assert "refused" in (outbox.doubt(desk.line, desk.now, ALONE) or "")
    desk.line = outbox.line_checked(desk.line, PhoneChecked(at=desk.now, ok=None, reason="HTTP 403: no JSON"))
    desk.run(10)
    assert len(desk.sent) == 1
    desk.line = outbox.line_checked(desk.line, PhoneChecked(at=desk.now, ok=True, reason="keys are valid"))
    assert outbox.doubt(desk.line, desk.now, ALONE) is None
    desk.run(10)
    assert len(desk.sent) == 2


def test_the_phone_is_checked_often_while_in_doubt_and_seldom_when_it_refuses() -> None:
    assert outbox.check_every_s(PROVEN, AT, ALONE) == 3600
    assert outbox.check_every_s(Line(), AT, ALONE) == 60
    assert outbox.check_every_s(replace(PROVEN, ok=False), AT, ALONE) == 600
    assert outbox.check_every_s(replace(PROVEN, stopped=True), AT, ALONE) == 600


def test_a_buy_refused_everywhere_dies_unheard() -> None:
    desk = courier(ALONE, always("refused")).say(alert("BUY", "20251002-1-BUY")).run(60)
    assert desk.dropped == [(1.0, "20251002-1-BUY")]
    assert desk.rows["20251002-1-BUY"].maybe_seen is False


def test_the_other_channel_is_tried_until_a_sell_is_delivered() -> None:
    answers = {"pushover": in_turn("refused"), "fallback": in_turn("failed", "unknown", "delivered")}
    desk = courier(WITH_FALLBACK, lambda deliver, now: answers[deliver.channel](deliver, now)).say(alert()).run(300)
    assert len(desk.moments("fallback")) == 3
    assert [("REPEAT" in text) for text in desk.texts()] == [False, False, False, True]


def test_three_refusals_in_five_minutes_close_the_line_until_it_is_proven_again() -> None:
    desk = courier(ALONE, always("refused")).say(*(alert("CRITICAL", f"x-{number}") for number in range(3))).run(10)
    assert len(desk.sent) == 3
    assert outbox.closed(desk.line, desk.now) == "3 requests refused within 5 minutes"
    assert outbox.doubt(desk.line, desk.now, ALONE) is not None
    desk.deliver = scripted(always("delivered"))
    desk.say(alert("CRITICAL", "x-later"), alert("OPS", "x-ops")).run(900)
    assert len(desk.sent) == 3
    desk.line = outbox.line_checked(desk.line, PhoneChecked(at=desk.now, ok=True, reason="valid"))
    desk.run(30)
    assert sorted(deliver.alert_id for _, deliver in desk.sent[3:]) == ["x-later", "x-ops"]


def test_refusals_far_apart_do_not_close_the_line() -> None:
    line = PROVEN
    for number in range(10):
        refused = AlertFailed(at=AT + 151 * number, alert_id="x", attempt=1, outcome="refused", reason="too long")
        line = outbox.line_after(line, Outgoing(alert()), refused)
        assert outbox.closed(line, refused.at) is None


def test_a_used_up_quota_is_not_asked_again_before_its_reset() -> None:
    line = outbox.line_after(
        PROVEN,
        Outgoing(alert()),
        AlertFailed(at=AT, alert_id="x", attempt=1, outcome="refused", reason="429", quota_left=0, quota_reset_at=AT + 500),
    )
    assert outbox.closed(line, AT + 499) == "the month's messages are used up"
    assert outbox.closed(line, AT + 500) is None
    desk = courier(WITH_FALLBACK, always("delivered"), line=line).say(alert()).run(30)
    assert (desk.moments(), desk.moments("fallback")) == ([], [0.0])


@pytest.mark.parametrize(
    ("line", "doubted"),
    [
        (PROVEN, False),
        (replace(PROVEN, quota_left=None, quota_reset_at=None), False),
        (replace(PROVEN, quota_left=200), False),
        (replace(PROVEN, quota_left=199), True),
        (replace(PROVEN, quota_left=199, quota_reset_at=AT - 1), False),
        (replace(PROVEN, quota_left=0), True),
        (replace(PROVEN, ok=None), True),
        (replace(PROVEN, ok=False), True),
        (replace(PROVEN, stopped=True), True),
    ],
)
def test_no_buy_unless_the_phone_is_proven_with_messages_to_spare(line: Line, doubted: bool) -> None:
    assert (outbox.doubt(line, AT, ALONE) is not None) is doubted


def test_a_check_that_could_not_be_made_takes_nothing_back() -> None:
    asked = PhoneChecked(at=AT, ok=None, reason="no connection")
    assert outbox.line_checked(PROVEN, asked).ok is True
    unproven = outbox.line_checked(Line(), asked)
    assert outbox.doubt(unproven, AT, ALONE) == "the phone has not been proven: no connection"


# --- unseen ------------------------------------------------------------------------------------------------------------


def test_an_unseen_sell_is_said_once_more_and_then_elsewhere_with_the_warning() -> None:
    desk = courier(WITH_FALLBACK, always("delivered")).say(alert()).run(3600)
    assert desk.moments() == [0.0, 601.5]
    assert desk.moments("fallback") == [1202.5]
    for text in desk.texts()[1:]:
        assert text.startswith(
            "REPEAT of #20251002-1-SELL\n⚠️ NOT SEEN YET: a call in the money at 16:00 becomes 100 shares\n"
        )
    assert not outbox.is_open(desk.rows["20251002-1-SELL"], desk.now, WITH_FALLBACK)


def test_receipts_are_polled_no_faster_than_every_five_seconds_and_not_after_they_were_seen() -> None:
    desk = courier(WITH_FALLBACK, always("delivered")).say(alert()).run(60)
    pauses = [later - earlier for earlier, later in pairwise(desk.polls)]
    assert len(desk.polls) >= 10
    assert min(pauses) >= outbox.RECEIPT_POLL_S
    row = desk.rows["20251002-1-SELL"]
    foreign = ReceiptSeen(at=desk.now, alert_id=row.alert.id, receipt="x" * 30, acknowledged_at=desk.now)
    assert outbox.seen(row, foreign, desk.now) == row
    mine = ReceiptSeen(
        at=desk.now, alert_id=row.alert.id, receipt="r" * 30, acknowledged_at=desk.now, acknowledged_by="phone"
    )
    desk.rows[row.alert.id] = outbox.seen(row, mine, desk.now)
    polled = len(desk.polls)
    desk.run(3600)
    assert (len(desk.polls), len(desk.sent)) == (polled, 1)
    assert desk.rows[row.alert.id].acknowledged_by == "phone"


def test_a_lost_receipt_counts_as_unseen() -> None:
    row = replace(Outgoing(alert()), outcome="delivered", attempts=1, settled_at=AT, maybe_seen=True)
    desk = courier(ALONE, always("delivered"), rows={row.alert.id: row}).run(700)
    assert desk.polls[0] > 600
    assert desk.moments() == [600.5]


def test_without_another_channel_an_unseen_sell_rings_twice_and_rests() -> None:
    desk = courier(ALONE, always("delivered")).say(alert()).run(7200)
    assert len(desk.sent) == 2
    assert not outbox.is_open(desk.rows["20251002-1-SELL"], desk.now, ALONE)


# --- the worker's own messages -----------------------------------------------------------------------------------------


def flaps(count: int) -> Iterable[Alert]:
    return (alert("OPS", f"20251002-{number}-STALL", AT) for number in range(count))


@pytest.mark.fault("P17", "A49")
def test_two_hundred_flaps_make_three_messages_an_hour_and_hide_no_sell() -> None:
    desk = courier(ALONE, always("delivered"))
    for number, one in enumerate(flaps(200)):
        desk.say(one)
        if number == 150:
            desk.say(alert(), alert("BLIND", "20251002-1-BLIND"))
        desk.run(30)
    by_kind: dict[str, list[float]] = {}
    for at, deliver in desk.sent:
        by_kind.setdefault(deliver.kind, []).append(at)
    ops = by_kind["OPS"]
    assert max(sum(at <= other < at + 3600 for other in ops) for at in ops) == 3
    assert len(ops) >= 5
    assert (len(by_kind["BLIND"]), by_kind["SELL"][0]) == (1, 4500.0)
    said = "".join(desk.texts())
    grouped = [deliver for _, deliver in desk.sent if "messages of the worker" in deliver.title]
    assert grouped
    assert "title of 20251002-3-STALL" in said


def test_three_messages_go_out_as_they_are() -> None:
    desk = courier(ALONE, always("delivered")).say(*flaps(3)).run(10)
    assert [deliver.alert_id for _, deliver in desk.sent] == [f"20251002-{number}-STALL" for number in range(3)]


def test_a_message_of_the_worker_that_certainly_failed_does_not_use_up_the_hour() -> None:
    desk = courier(ALONE, in_turn("failed", "failed", "failed", "failed", "delivered")).say(*flaps(1)).run(600)
    assert len(desk.sent) == 5
    assert desk.rows["20251002-0-STALL"].outcome == "delivered"
    assert len(desk.line.ops_at) == 1


@pytest.mark.fault("P19", "A44")
def test_two_alerts_with_the_same_words_in_the_same_second_are_both_sent() -> None:
    twins = [replace(alert("CRITICAL", name), text="the same", title="the same") for name in ("x-1", "x-2")]
    desk = courier(ALONE, always("delivered")).say(*twins).run(10)
    assert [deliver.alert_id for _, deliver in desk.sent] == ["x-1", "x-2"]


# --- whatever happens --------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    answers=st.lists(st.sampled_from(["failed", "unknown", "refused", "silence", "delivered"]), min_size=1, max_size=12),
    fallback=st.booleans(),
    kind=st.sampled_from(["BUY", "SELL", "BLIND", "CRITICAL", "OPS"]),
    takes=st.sampled_from([0.0, 1.0, 3.0]),
)
def test_nothing_that_may_have_arrived_is_repeated_without_saying_so(
    answers: list[Answer], fallback: bool, kind: AlertKind, takes: float
) -> None:
    config = WITH_FALLBACK if fallback else ALONE
    outcomes: list[tuple[str, Answer]] = []
    script = in_turn(*answers)

    def answer(deliver: Deliver, now: float) -> Answer:
        outcomes.append((deliver.channel, script(deliver, now)))
        return outcomes[-1][1]

    desk = courier(config, answer, takes=takes).say(alert(kind, "x-1")).run(1500)
    arrived = False
    for (_, deliver), (_, outcome) in zip(desk.sent, outcomes, strict=True):
        assert deliver.text.startswith("REPEAT of #x-1") is arrived
        arrived = arrived or outcome in ("unknown", "silence", "delivered")
    refused = [index for index, (channel, outcome) in enumerate(outcomes) if channel == "pushover" and outcome == "refused"]
    if refused:
        assert not any(channel == "pushover" for channel, _ in outcomes[refused[0] + 1 :])
    if kind == "BUY":
        assert all(at < 20 for at, _ in desk.sent)
    for earlier, later in pairwise(desk.sent):
        assert later[0] - earlier[0] >= 5 or later[1].channel != earlier[1].channel
