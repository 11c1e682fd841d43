"""The broker at TWS: the real library over a real socket, through every way in which it misleads."""

import threading

import pytest

from events import BrokerLinked
from tests.kit.tws import NOON, REF, Desk, closing, desk, entry, name, tws
from wire.transport import Refused, TryAgain


@pytest.fixture
def venue():
    with tws() as made:
        yield made


def view(of, ref=REF):
    return of.broker.find(ref).order


def snapshot(of):
    return of.broker.snapshot(NOON - 3600)


# --- an order's life ---------------------------------------------------------------------------------------------------


def test_an_order_is_bought_as_a_package_and_found_as_it_was_meant(venue):
    with desk(venue) as ours:
        answer = ours.broker.place(entry())
        assert (answer.answer, answer.reason) == ("accepted", "")
        found = view(ours)
        assert (found.state, found.units, found.filled, found.limit) == ("working", 1, 0, -900)
        assert [(leg.contract, leg.side) for leg in found.legs] == [(leg.contract, leg.side) for leg in entry().legs]
    sent = venue.order(REF)
    assert (sent.action, sent.kind, sent.tif, sent.account, sent.limit) == ("BUY", "LMT", "DAY", "DU1234567", -900)
    assert venue.record.misuses == []


def test_a_fill_is_told_leg_by_leg_with_its_fee(venue):
    with desk(venue) as ours:
        assert ours.broker.place(entry(limit=-600)).answer == "accepted"
        ours.until(lambda: "filled" in ours.states())
        ours.until(lambda: len({fill.root for fill in ours.fills() if fill.fee is not None}) == 4)
        found = snapshot(ours)
        assert found.complete
        assert {fill.contract: fill.side for fill in found.fills} == {leg.contract: leg.side for leg in entry().legs}
        assert sum(fill.price * (1 if fill.side == "sell" else -1) for fill in found.fills) >= 600
        assert all(fill.fee == 1230 and fill.ref == REF for fill in found.fills)
        assert {one.contract: one.quantity for one in found.positions} == {
            name("P", 655): -1, name("P", 653): 1, name("C", 665): -1, name("C", 667): 1,
        }  # fmt: skip


def test_a_condor_is_closed_by_a_bought_package_and_a_single_leg_too(venue):
    with desk(venue) as ours:
        ours.broker.place(entry(limit=-600, units=2))
        ours.until(lambda: "filled" in ours.states())
        assert ours.broker.place(closing()).answer == "accepted"
        ours.until(lambda: "filled" in ours.states("IC-20261120-1-EXIT-1"))
        single = closing("IC-20261120-1-LEG-1", limit=1200, only=1)
        assert ours.broker.place(single).answer == "accepted"
        ours.until(lambda: "filled" in ours.states("IC-20261120-1-LEG-1"))
        assert view(ours, "IC-20261120-1-LEG-1").limit == 1200
        assert name("P", 655) not in {one.contract for one in snapshot(ours).positions}
    assert venue.record.misuses == []


def test_a_wing_alone_is_sold_at_what_is_received(venue):
    with desk(venue) as ours:
        ours.broker.place(entry(limit=-600))
        ours.until(lambda: "filled" in ours.states())
        wing = closing("IC-20261120-1-LEG-1", limit=-5000)
        sold = type(wing)(**{f: getattr(wing, f) for f in wing.__struct_fields__} | {"legs": wing.legs[1:2]})
        assert ours.broker.place(sold).answer == "accepted"
        assert view(ours, "IC-20261120-1-LEG-1").limit == -5000
    assert (venue.order("IC-20261120-1-LEG-1").action, venue.order("IC-20261120-1-LEG-1").limit) == ("SELL", 5000)


def test_what_is_not_held_is_not_closed(venue):
    with desk(venue) as ours:
        assert "more of" in ours.broker.place(closing()).reason
        ours.broker.place(entry(limit=-600))
        ours.until(lambda: "filled" in ours.states())
        assert ours.broker.place(closing(limit=10)).answer == "accepted"
        assert ours.broker.place(closing("IC-20261120-1-EXIT-2", limit=10)).answer == "rejected"
    assert len(venue.record.orders) == 2


def test_a_ref_is_sent_once(venue):
    with desk(venue) as ours:
        assert [ours.broker.place(entry()).answer for _ in range(3)] == ["accepted"] * 3
    assert len(venue.record.of(REF)) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limit": None}, "market order"),
        ({"units": 0}, "no units"),
        ({"ref": "x", "legs": "O:XSP261120P00600000"}, "is not listed"),
        ({"ref": "x", "legs": "AAPL"}, "is no option"),
    ],
)
def test_what_must_not_be_sent_is_not(venue, changes, said):
    order = entry()
    if "legs" in changes:
        leg = order.legs[0]
        changes = {**changes, "legs": (type(leg)(changes["legs"], leg.side, leg.opens), *order.legs[1:])}
    order = type(order)(**{f: getattr(order, f) for f in order.__struct_fields__} | changes)
    with desk(venue) as ours:
        answer = ours.broker.place(order)
        assert answer.answer == "rejected"
        assert said in answer.reason
    assert not venue.record.orders


@pytest.mark.fault("C20")
def test_a_contract_whose_dates_disagree_is_refused(venue):
    venue.arm("dates-disagree")
    with desk(venue) as ours:
        assert "disagrees about its expiry" in ours.broker.place(entry()).reason
    assert not venue.record.orders


# --- refusals, silence -------------------------------------------------------------------------------------------------


@pytest.mark.fault("C31")
def test_a_rejected_order_is_rejected_with_its_reason(venue):
    venue.arm("reject", text="riskless combination")
    with desk(venue) as ours:
        answer = ours.broker.place(entry())
        assert (answer.answer, answer.reason) == ("rejected", "201 riskless combination")


def test_read_only_is_named(venue):
    venue.arm("read-only")
    with desk(venue) as ours:
        answer = ours.broker.place(entry())
        assert answer.answer == "rejected"
        assert "Read-Only" in answer.reason


@pytest.mark.fault("C3")
def test_110_is_no_end_whatever_the_library_makes_of_it(venue):
    venue.arm("off-tick", **{"as": "warn"})
    with desk(venue) as ours:
        answer = ours.broker.place(entry())
        assert answer.answer in ("accepted", "unknown")
        ours.until(lambda: ours.states())
        assert set(ours.states()) == {"working"}
        assert view(ours).limit == -900


def test_a_price_off_its_tick_is_told_by_its_number(venue):
    venue.arm("off-tick")
    with desk(venue) as ours:
        answer = ours.broker.place(entry())
        assert answer.answer == "unknown"
        assert answer.reason.startswith("110 ")
        assert view(ours).state == "rejected"


@pytest.mark.fault("C4")
def test_silence_is_unknown_and_the_order_is_found_by_its_ref(venue):
    venue.arm("silent-order")
    with desk(venue) as ours:
        assert ours.broker.place(entry()).answer == "unknown"
        assert view(ours).state == "working"
    venue.arm("lost-order")
    with desk(venue) as ours:
        assert ours.broker.place(entry("IC-20261120-1-ENTRY-2")).answer == "unknown"
        assert view(ours, "IC-20261120-1-ENTRY-2") is None


def test_a_cancel_proves_nothing_by_itself(venue):
    with desk(venue) as ours:
        broker_id = ours.broker.place(entry()).broker_id
        venue.arm("cancel-ignored")
        assert ours.broker.cancel(REF, broker_id).heard
        assert view(ours).state in ("working", "cancelling")
        assert ours.broker.cancel(REF, "").heard
        ours.until(lambda: "cancelled" in ours.states())
        assert not ours.broker.cancel("IC-20261120-9-ENTRY-1", "").heard


@pytest.mark.parametrize("code", [161, 10147, 10148])
def test_a_number_that_answers_a_cancel_is_no_end(venue, code):
    with desk(venue) as ours:
        ours.broker.place(entry())
        venue.arm("cancel-answer", code=code)
        ours.broker.cancel(REF, "")
        ours.until(lambda: len(ours.states()) >= 2)
        assert set(ours.states()) <= {"working", "cancelling"}


# --- the fourteen ------------------------------------------------------------------------------------------------------


@pytest.mark.fault("T1", "T4")
@pytest.mark.parametrize("code", [10349, 399, 2109, 2161, 321, 404])
def test_1_and_4_a_message_on_a_live_order_leaves_it_live(venue, code):
    with desk(venue) as ours:
        ours.broker.place(entry())
        ours.until(lambda: "working" in ours.states())
        ours.told.clear()
        venue.arm("notice", code=code, ref=REF)
        ours.until(lambda: ours.states())
        assert set(ours.states()) == {"working"}
        assert view(ours).state == "working"


@pytest.mark.fault("T2", "C1")
@pytest.mark.parametrize("first", ["10148", "fill"])
def test_2_a_cancel_that_meets_the_fill_is_a_fill(venue, first):
    with desk(venue) as ours:
        ours.broker.place(entry())
        venue.arm("fill-in-cancel", first=first)
        ours.broker.cancel(REF, "")
        ours.until(lambda: "filled" in ours.states())
        assert "cancelled" not in ours.states()
        assert view(ours).filled == 1


@pytest.mark.fault("T3", "C2", "T5")
def test_3_and_5_nothing_is_changed_in_place_and_an_echo_changes_no_price_of_ours(venue):
    order = entry()
    with desk(venue) as ours:
        ours.broker.place(order)
        venue.arm("echo", ref=REF, limit=-0.5)
        assert order.limit == -900
        assert view(ours).limit == -900
        ours.broker.cancel(REF, "")
        ours.until(lambda: "cancelled" in ours.states())
        ours.broker.place(entry("IC-20261120-1-ENTRY-2", -890))
    assert venue.record.limits() == [-900, -890]
    assert venue.record.misuses == []


@pytest.mark.fault("T6", "C5")
@pytest.mark.parametrize("fault", ["what-if-unset", "what-if-empty", "what-if-silent"])
def test_6_a_what_if_that_never_ends_is_no_margin(venue, fault, monkeypatch):
    monkeypatch.setattr("brokers.ibkr.client.PREVIEW_S", 0.2)
    with desk(venue) as ours:
        venue.arm(fault)
        with pytest.raises(TryAgain, match="no answer for the margin"):
            ours.broker.preview(entry())
        told = ours.broker.preview(entry())
        assert (told.margin, told.reason) == (200_000, "")
        venue.arm("what-if-rejected", text="no funds")
        told = ours.broker.preview(entry())
        assert (told.margin, told.refused, told.reason) == (None, True, "201 no funds")
    assert not venue.record.orders


@pytest.mark.fault("T7", "T11")
def test_7_and_11_neither_details_nor_data_of_a_package_are_asked_for(venue):
    with desk(venue) as ours:
        ours.broker.preview(entry())
        ours.broker.place(entry(limit=-600))
        ours.until(lambda: "filled" in ours.states())
        snapshot(ours)
    assert venue.record.misuses == []
    assert venue.record.asked("data") == []


@pytest.mark.fault("T8")
def test_8_one_question_at_a_time(venue):
    with desk(venue) as ours:
        ours.broker.place(entry())
        venue.arm("late-answer", request="open-orders", after_s=0.2)
        found = []
        asking = [threading.Thread(target=lambda: found.append(view(ours))) for _ in range(3)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join(5)
        assert [one.state for one in found] == ["working"] * 3


@pytest.mark.fault("T9")
def test_9_cancelled_with_one_of_two_filled_is_a_position_of_one(venue):
    with desk(venue) as ours:
        ours.broker.place(entry(units=2))
        venue.arm("fill-in-cancel", units=1)
        ours.broker.cancel(REF, "")
        ours.until(lambda: "cancelled" in ours.states())
        assert (view(ours).state, view(ours).units, view(ours).filled) == ("cancelled", 2, 1)
        assert {abs(one.quantity) for one in snapshot(ours).positions} == {1}


@pytest.mark.fault("T10", "C22")
def test_10_what_was_filled_while_away_is_found_by_its_ref(venue):
    with desk(venue) as ours:
        ours.broker.place(entry())
        venue.arm("fill-away")
        with pytest.raises(TryAgain, match="lost"):
            ours.until(lambda: False)
        assert ours.broker.place(entry("IC-20261120-1-ENTRY-2")).answer == "not_sent"
        assert not snapshot(ours).complete
        ours.broker.open()
        found = view(ours)
        assert (found.state, found.filled) == ("filled", 1)
        assert len([fill for fill in snapshot(ours).fills if fill.ref == REF]) == 4
    assert len(venue.record.orders) == 1


@pytest.mark.fault("T12", "C10")
def test_12_another_hands_package_is_not_taken_for_ours(venue):
    venue.arm("foreign-order", ref=REF)
    venue.arm("orphan", ref="IC-20261120-7-ENTRY-1")
    with desk(venue) as ours:
        assert view(ours) is None
        told = snapshot(ours)
        assert sorted(one.ref for one in told.orders) == ["", "IC-20261120-7-ENTRY-1"]
        assert not ours.broker.cancel(REF, "").heard
        orphan = next(one for one in told.orders if one.ref)
        assert ours.broker.cancel(orphan.ref, orphan.broker_id).heard
        ours.until(lambda: "cancelled" in ours.states("IC-20261120-7-ENTRY-1"))


@pytest.mark.fault("T13")
def test_13_a_corrected_execution_is_one_fill(venue):
    venue.arm("corrected")
    with desk(venue) as ours:
        ours.broker.place(entry(limit=-600))
        ours.until(lambda: any(fill.revision > 1 for fill in ours.fills()))
        told = snapshot(ours)
        assert len(told.fills) == 4
        assert all(fill.revision == 2 for fill in told.fills)
        assert view(ours).filled == 1


@pytest.mark.fault("T14", "C30")
def test_14_a_client_id_in_use_is_named_at_once(venue):
    venue.arm("client-id-taken")
    ours = Desk(venue, timeout_s=30.0)
    with pytest.raises(Refused, match="client id 21 is in use"):
        ours.broker.open()


@pytest.mark.fault("C13")
def test_a_fill_that_is_told_to_nobody_is_found_by_its_executions(venue):
    venue.arm("quiet-fill")
    with desk(venue) as ours:
        ours.broker.place(entry(limit=-600))
        found = view(ours)
        assert (found.state, found.filled) == ("filled", 1)
        assert len({fill.root for fill in snapshot(ours).fills}) == 4


# --- what the account says ---------------------------------------------------------------------------------------------


@pytest.mark.fault("C11")
def test_a_question_without_an_answer_is_no_snapshot_and_its_late_answer_is_nobodys(venue):
    with desk(venue, timeout_s=0.5) as ours:
        ours.broker.place(entry(limit=-600))
        ours.until(lambda: "filled" in ours.states())
        venue.arm("swallow", request="positions")
        told = snapshot(ours)
        assert (told.complete, told.positions) == (False, ())
        assert "positions" in told.reason
        with pytest.raises(TryAgain, match="positions"):
            ours.until(lambda: False)
        ours.broker.open()
        assert len(snapshot(ours).positions) == 4


@pytest.mark.fault("C12")
@pytest.mark.parametrize("units", ["1.50", "x", "nan"])
def test_a_quantity_that_is_none_concludes_nothing(venue, units):
    with desk(venue) as ours:
        ours.broker.place(entry(limit=-600))
        ours.until(lambda: "filled" in ours.states())
        venue.arm("odd-units", units=units, times=0)
        told = snapshot(ours)
        assert not told.complete
        assert told.reason
        venue.clear()
        assert snapshot(ours).complete


@pytest.mark.fault("C9")
def test_foreign_positions_are_reported_as_they_are(venue):
    venue.hold(6700 + 1, 24)
    with desk(venue) as ours:
        assert [(one.contract, one.quantity) for one in snapshot(ours).positions] == [(name("C", 670), 24)]


def test_executions_of_another_hand_have_no_ref_of_ours(venue):
    with desk(venue) as ours:
        ours.broker.place(entry(limit=-600))
        ours.until(lambda: "filled" in ours.states())
        venue.arm("closed-elsewhere")
        told = snapshot(ours)
        assert told.positions == ()
        assert len([fill for fill in told.fills if not fill.ref]) == 4


@pytest.mark.parametrize(
    ("account", "is_live", "said"),
    [
        (None, True, "…567 is a paper account"),
        ("U7654321", False, "is not an account of this session"),
        ("DU1234567", True, "…567 is a paper account"),
    ],
)
def test_the_account_is_the_one_that_is_meant(venue, account, is_live, said):
    with pytest.raises(Refused, match=said) as refused:
        Desk(venue, account=account, is_live=is_live).broker.open()
    assert "DU1234567" not in str(refused.value)
    assert not venue.record.orders


def test_the_accounts_number_is_told_and_what_is_in_it(venue):
    with desk(venue) as ours:
        account = snapshot(ours).account
        assert (account.number, account.is_paper) == ("DU1234567", True)
        assert account.equity > 0


# --- the link ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("C22")
@pytest.mark.parametrize("back", ["link-back", "link-back-data-lost"])
def test_while_tws_has_no_link_nothing_is_sent_and_nothing_concluded(venue, back):
    with desk(venue) as ours:
        venue.arm("link-lost")
        ours.until(lambda: [one for one in ours.told if isinstance(one, BrokerLinked) and not one.linked])
        answer = ours.broker.place(entry())
        assert answer.answer == "not_sent"
        assert "1100" in answer.reason
        assert not snapshot(ours).complete
        venue.arm(back)
        ours.until(lambda: [one for one in ours.told if isinstance(one, BrokerLinked) and one.linked])
        assert snapshot(ours).complete
        assert ours.broker.place(entry()).answer == "accepted"


def test_where_there_is_no_tws_there_is_no_link(venue):
    ours = Desk(venue)
    ours.broker.open()
    venue.arm("down")
    with pytest.raises(TryAgain, match="lost"):
        ours.until(lambda: False)
    with pytest.raises(TryAgain, match="cannot be reached"):
        ours.broker.open()
    venue.arm("up")
    ours.broker.open()
    assert snapshot(ours).complete
    ours.broker.close()
    with pytest.raises(TryAgain):
        ours.broker.wait()


def test_nothing_of_the_library_reaches_a_log(venue, caplog):
    caplog.set_level(0)
    with desk(venue) as ours:
        ours.broker.place(entry(limit=-600))
        ours.until(lambda: "filled" in ours.states())
        snapshot(ours)
    assert "DU1234567" not in caplog.text
