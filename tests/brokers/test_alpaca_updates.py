"""The stream of trade updates as our reader hears it from the simulated venue."""

import time
from decimal import Decimal

import pytest
from kit.alpaca_venue import CALL, open_venue

from brokers.alpaca import updates as room
from brokers.alpaca.client import TradingClient
from brokers.alpaca.forms import Leg, NewOrder
from brokers.alpaca.updates import TradeUpdates
from wire.connection import Denied, Dropped


@pytest.fixture(params=[True, False], ids=["binary", "text"])
def venue(request):
    with open_venue(binary=request.param) as opened:
        yield opened


@pytest.fixture
def client(venue):
    client = TradingClient(venue.rest.url, "key", "secret", now=venue.clock.now)
    yield client
    client.close()


@pytest.fixture
def stream(venue):
    stream = TradeUpdates(venue.stream.url, "key", "secret")
    stream.open(time.time())
    yield stream
    stream.close()


def place(client, ref, limit="1.44"):
    client.place(NewOrder(ref, (Leg(CALL, "buy_to_open"),), 2, Decimal(limit)))


def hear(stream, count):
    heard = []
    ends_at = time.monotonic() + 5
    while len(heard) < count and time.monotonic() < ends_at:
        heard += stream.read(0.2)
    return heard


def test_each_step_of_an_order_is_heard_with_our_ref(venue, client, stream):
    place(client, "one")
    heard = hear(stream, 3)
    assert [(update.event, update.ref, update.status) for update in heard] == [
        ("pending_new", "one", "pending_new"), ("new", "one", "new"), ("fill", "one", "filled"),
    ]  # fmt: skip
    assert heard[2].execution_id == client.fills(0.0)[0].execution_id


@pytest.mark.fault("B16")
def test_an_event_or_status_nobody_has_heard_of_is_told_as_it_is(venue, client, stream):
    venue.fault("unknown-event", times=1)
    venue.fault("unknown-status")
    venue.fault("empty-intent")
    place(client, "odd", "1.00")
    assert [(update.event, update.status) for update in hear(stream, 2)] == [
        ("moon_phase", "pending_review_by_moon"), ("new", "pending_review_by_moon"),
    ]  # fmt: skip


def test_garbage_is_counted_and_the_stream_lives(venue, client, stream):
    venue.fault("stream-garbage")
    venue.stream.send(b'{"stream":"trade_updates","data":{"event":7}}')
    venue.stream.send(b'{"stream":"trade_updates"}')
    venue.stream.send(b"[1]")
    place(client, "still", "1.00")
    assert [update.ref for update in hear(stream, 2)] == ["still", "still"]
    assert sum(stream.junk.values()) == 4


def test_what_is_said_twice_is_heard_twice_with_one_execution(venue, client, stream):
    venue.fault("stream-double")
    place(client, "twice")
    fills = [update for update in hear(stream, 6) if update.event == "fill"]
    assert len(fills) == 2
    assert len({update.execution_id for update in fills}) == 1


def test_a_cut_is_the_end_and_another_connection_hears_again(venue, client, stream):
    venue.fault("stream-drop")
    with pytest.raises(Dropped):
        hear(stream, 1)
    again = TradeUpdates(venue.stream.url, "key", "secret")
    again.open(time.time())
    place(client, "again", "1.00")
    assert [update.ref for update in hear(again, 2)] == ["again", "again"]
    again.close()


def test_keys_that_are_refused_are_denied(venue):
    venue.fault("stream-refused")
    stream = TradeUpdates(venue.stream.url, "key", "secret")
    with pytest.raises(Denied):
        stream.open(time.time())
    stream.close()


def test_a_quiet_stream_proves_that_it_lives_and_a_dead_one_does_not(venue, client, stream, monkeypatch):
    monkeypatch.setattr(room, "PING_AFTER_S", 0.05)
    venue.fault("stream-silence")
    ends_at = time.monotonic() + 0.6
    while time.monotonic() < ends_at:
        assert stream.read(0.1) == []
    monkeypatch.setattr(stream._connection, "send", lambda *_: None)  # no ping leaves, so no pong comes
    monkeypatch.setattr(room, "PONG_WITHIN_S", 0.3)
    with pytest.raises(Dropped, match="dead"):
        hear(stream, 1)
