"""The sockets, held literally against the conversation of feeds.md."""

import json
import threading
from datetime import time

import pytest
import websocket

from events import Bar
from simulator.feed import BAD_KEY, NO_PLAN, second_bar
from simulator.servers import DUMMY_KEY

CONTRACT = "O:IWM261120C00246000"


def test_the_conversation_is_the_documented_one(connect):
    client = connect()
    assert client.first == '[{"ev":"status","status":"connected","message":"Connected Successfully"}]'
    client.say("auth", DUMMY_KEY)
    assert client.wire.recv() == '[{"ev":"status","status":"auth_success","message":"authenticated"}]'
    client.say("subscribe", "A.IWM,AM.IWM")
    assert client.wire.recv() == (
        '[{"ev":"status","status":"success","message":"subscribed to: A.IWM"},'
        '{"ev":"status","status":"success","message":"subscribed to: AM.IWM"}]'
    )
    client.say("unsubscribe", "AM.IWM")
    assert client.wire.recv() == '[{"ev":"status","status":"success","message":"unsubscribed to: AM.IWM"}]'


def test_a_second_bar_has_the_fields_of_the_published_example_and_the_live_ones():
    bar = Bar("SPCE", 1610144868, 25.39, 25.39, 25.39, 25.39, 200.0, 25.3981)
    example = {
        "ev": "A", "sym": "SPCE", "v": 200, "av": 8642007, "op": 25.66, "vw": 25.3981, "o": 25.39, "c": 25.39, "h": 25.39,
        "l": 25.39, "a": 25.3714, "z": 50, "s": 1610144868000, "e": 1610144869000,
    }  # fmt: skip
    made = second_bar(bar, today=8642007.0, today_vwap=25.3714, opening=25.66, trades=4)
    assert {name: made[name] for name in example} == example
    assert set(made) == {*example, "dv", "dav"}
    assert float(made["dv"]) == pytest.approx(200, abs=1)
    assert made["dav"].startswith("8642007.")


def test_bars_are_published_two_seconds_after_their_end_and_only_as_subscribed(connect, sim):
    client = connect().logged_in("A.IWM")
    sim.set_clock(at=time(10, 29, 10))
    events = client.hear()
    assert {event["sym"] for event in events} == {"IWM"}
    now = sim.clock.now()
    assert all(event["e"] / 1000 <= now - 2 for event in events)
    assert all(event["e"] - event["s"] == 1000 for event in events)
    bars = {bar.start: bar for bar in sim.market.known("IWM", sim.market.session.date).bars("IWM")}
    assert all(bars[event["s"] // 1000].close == event["c"] for event in events)
    volume = [event["av"] for event in sorted(events, key=lambda event: event["s"])]
    assert volume == sorted(volume)


def test_minute_bars_have_the_same_fields_over_sixty_seconds(connect, sim):
    client = connect().logged_in("AM.SPY")
    sim.set_clock(at=time(10, 30, 5))
    events = client.hear()
    assert [(event["ev"], event["sym"], event["e"] - event["s"]) for event in events] == [("AM", "SPY", 60_000)] * 2
    seconds = sim.market.known("SPY", sim.market.session.date)
    inside = (seconds.start >= events[1]["s"] / 1000) & (seconds.start < events[1]["e"] / 1000)
    assert events[1]["c"] == seconds.close[inside][-1]


def test_the_average_size_is_at_times_no_whole_number():
    bar = Bar("IWM", 37 * 48_000_000, 240.0, 240.1, 239.9, 240.0, 555.0, 240.01)
    assert isinstance(second_bar(bar, trades=4)["z"], float)


def test_a_clock_that_is_moved_far_leaves_a_gap_and_not_a_flood(connect, sim):
    client = connect().logged_in("A.IWM")
    sim.set_clock(at=time(15, 54, 50))
    sim.set_clock(at=time(15, 54, 55))
    events = client.hear()
    assert len(events) < 20
    assert all(event["s"] / 1000 > sim.clock.now() - 600 for event in events)


@pytest.mark.parametrize(("plan", "message"), [(True, BAD_KEY), (False, NO_PLAN)])
def test_a_refused_login_says_auth_failed_and_drops_the_connection_without_a_close(connect, sim, plan, message):
    sim.stocks.keys, sim.stocks.plan = {"the good one"}, plan
    client = connect()
    client.say("auth", "a bad one")
    assert client.hear() == [{"ev": "status", "status": "auth_failed", "message": message}]
    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
        client.wire.recv()


def test_unknown_topics_are_silently_dropped_and_repeats_not_answered(connect):
    client = connect().logged_in("A.IWM")
    client.say("subscribe", "ZZ.IWM,AS.IWM,A.IWM")
    client.say("subscribe", "A.NOSUCH")
    assert client.hear() == [{"ev": "status", "status": "success", "message": "subscribed to: A.NOSUCH"}]


def test_before_the_login_nothing_can_be_subscribed(connect):
    client = connect()
    client.say("subscribe", "A.IWM")
    assert client.hear() == [{"ev": "status", "status": "error", "message": "not authorized"}]


@pytest.mark.parametrize("evict", ["older", "newer"])
def test_over_the_limit_one_is_told_so_after_its_acknowledgement_and_closed_with_1008(connect, sim, evict):
    sim.stocks.max_connections, sim.stocks.evict = 1, evict
    first = connect().logged_in("A.IWM")
    second = connect().logged_in("A.IWM")
    killed = first if evict == "older" else second
    said = killed.hear()[0]
    assert said["status"] == "max_connections"
    assert said["message"].startswith("Maximum number of websocket connections exceeded.")
    code, data = killed.wire.recv_data()
    assert code == websocket.ABNF.OPCODE_CLOSE
    assert int.from_bytes(data[:2], "big") == 1008


def test_the_clusters_count_their_connections_apart(connect, sim):
    sim.stocks.max_connections = sim.options.max_connections = 1
    stocks, options = connect().logged_in("A.IWM"), connect("options").logged_in(f"Q.{CONTRACT}")
    sim.stocks.send('[{"ev":"status","status":"success","message":"still here"}]')
    assert stocks.hear()[0]["message"] == "still here"
    assert options.hear()[0]["ev"] == "Q"


def test_option_quotes_come_when_they_change_with_the_documented_fields(connect, sim):
    client = connect("options").logged_in(f"Q.{CONTRACT}")
    first = client.hear()[0]
    assert set(first) == {"ev", "sym", "bx", "ax", "bp", "ap", "bs", "as", "t", "q"}
    sim.force_quote(CONTRACT, 1.11, 1.13)
    second = client.hear()[0]
    assert (second["bp"], second["ap"], second["sym"]) == (1.11, 1.13, CONTRACT)
    assert second["q"] > first["q"]
    assert second["t"] == pytest.approx(sim.clock.now() * 1000, abs=5)


def test_quotes_know_no_wildcard(connect):
    client = connect("options").logged_in()
    client.say("subscribe", "Q.*")
    client.say("subscribe", f"Q.{CONTRACT}")
    assert [said["message"] for said in client.hear()] == [f"subscribed to: Q.{CONTRACT}"]


def test_silence_stops_the_data_and_not_the_pongs(connect, sim):
    client = connect().logged_in("A.SPY")
    sim.stocks.silence()
    sim.set_clock(at=time(10, 29, 20))
    client.wire.ping("are you there")
    opcode, _ = client.wire.recv_data(control_frame=True)
    assert opcode == websocket.ABNF.OPCODE_PONG
    sim.stocks.resume()
    sim.set_clock(at=time(10, 29, 30))
    starts = [event["s"] / 1000 for event in client.hear()]
    assert min(starts) > sim.market.session.at(time(10, 29, 10)), "what was due meanwhile is lost"


def test_one_symbol_can_fall_silent_alone(connect, sim):
    client = connect().logged_in("A.IWM", "A.SPY")
    sim.stocks.silence("IWM")
    sim.set_clock(at=time(10, 29, 20))
    assert {event["sym"] for event in client.hear()} == {"SPY"}


def test_raw_frames_go_out_as_they_are(connect, sim):
    client = connect().logged_in()
    sim.stocks.send('[{"ev":"A","sym":"IWM","c":NaN}]')
    sim.stocks.send(b"\xff\x00")
    assert client.wire.recv() == '[{"ev":"A","sym":"IWM","c":NaN}]'
    assert client.wire.recv_data()[1] == b"\xff\x00"


def test_a_flood_of_frames_arrives_whole_and_in_order(connect, sim):
    client = connect().logged_in()
    flood = threading.Thread(target=sim.stocks.flood, args=([f'[{{"n":{k}}}]' for k in range(5000)],))
    flood.start()
    assert [client.hear()[0]["n"] for _ in range(5000)] == list(range(5000))
    flood.join()


def test_a_dropped_connection_ends_without_a_close_frame_and_a_closed_one_with_its_code(connect, sim):
    client = connect().logged_in()
    sim.stocks.close(1001, "going away")
    code, data = client.wire.recv_data()
    assert (code, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1001)
    client = connect().logged_in()
    sim.stocks.drop()
    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
        client.wire.recv()


def test_a_handshake_can_be_refused_and_an_unknown_path_is_404(connect, sim):
    sim.stocks.handshake = 503
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect()
    assert refused.value.status_code == 503
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect("crypto")
    assert refused.value.status_code == 404


def test_acknowledgements_and_logins_can_be_withheld(connect, sim):
    sim.stocks.unacknowledged = {"A.SPY"}
    client = connect().logged_in()
    client.say("subscribe", "A.SPY,A.IWM")
    assert [said["message"] for said in client.hear()] == ["subscribed to: A.IWM"]
    sim.stocks.mute_auth = True
    client = connect()
    client.say("auth", DUMMY_KEY)
    sim.stocks.wait_for(lambda: len(sim.stocks.received) == 3)
    client.wire.settimeout(0.1)
    with pytest.raises(websocket.WebSocketTimeoutException):
        client.wire.recv()


def test_every_frame_is_a_json_array(connect, sim):
    client = connect().logged_in("A.*")
    sim.set_clock(at=time(10, 29, 5))
    assert isinstance(json.loads(client.wire.recv()), list)
