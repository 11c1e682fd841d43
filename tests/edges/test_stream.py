"""The sockets in earnest: a scripted feed on loopback says everything a feed may say, in any pieces, and ends in every way."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from datetime import time as wall_time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from config import Config
from edges import stream
from edges.edge import STUCK_S
from edges.inbox import Inbox
from edges.stream import OptionsSocket, StocksSocket, Stream
from events import (
    BarClosed,
    FeedConnected,
    FeedDropped,
    FeedRefused,
    JunkDropped,
    QuoteSeen,
    UnwatchContract,
    WatchContract,
)
from simulator.servers import Simulator
from tests.kit.deskbench import KEYS
from tests.kit.ears import Ears
from tests.kit.feed import BAD_KEY, CONT, NO_PLAN, PING, TEXT, TOO_MANY, Feed, bar, frame, quote, status, text
from tests.kit.relay import Relay
from utils import SharedClock
from wire.connection import MAX_MESSAGE

AT = 1_795_188_540  # 2026-11-20 10:29 New York
KEY = "canary~key.0123456789"
CONTRACT, OTHER = "O:IWM261120C00220000", "O:IWM261120C00221000"
NVDA = ("NVDA",)


@pytest.fixture
def feed() -> Iterator[Feed]:
    with Feed() as server:
        yield server


class Rig:
    """Streams of a test, on one clock, with what they said."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self.clock = SharedClock.create(path / "clock", AT, 1.0)
        self.patch = patch
        self.streams: list[Stream] = []
        patch.setattr(stream, "STEP_S", 0.05)

    def hurry(self, speed: float) -> None:
        """Market time runs faster; what may not fall below some seconds in earnest may here."""
        self.clock.set(speed=speed)
        for name in ("LEAST_PONG_S", "LEAST_SILENT_S", "LEAST_ANSWER_S"):
            self.patch.setattr(stream, name, 0.05)

    def stocks(self, url: str, emit: Callable[[Any], None] | None = None, *, in_hours: bool = True) -> Ears:
        ears = Ears()
        config = Config.from_env({**KEYS, "POLYGON_API_KEY": KEY, "POLYGON_WS_URL": url})
        self.start(StocksSocket(emit or ears, config, self.clock, lambda: in_hours))
        return ears

    def options(self, url: str) -> tuple[OptionsSocket, Ears]:
        ears = Ears()
        config = Config.from_env({**KEYS, "POLYGON_API_KEY": KEY, "POLYGON_OPTIONS_WS_URL": url})
        made = OptionsSocket(ears, config, self.clock)
        self.start(made)
        return made, ears

    def start(self, made: Stream) -> None:
        self.streams.append(made)
        made.start()

    def end(self) -> None:
        for one in self.streams:
            one.stop()
        for one in self.streams:
            one.join(5.0)
            assert not one.is_alive
            assert one.fault is None


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    made = Rig(tmp_path, monkeypatch)
    yield made
    made.end()


def is_live(feed: Feed) -> None:
    feed.wait_for(lambda: feed.live)


# --- the conversation --------------------------------------------------------------------------------------------------


def test_it_greets_logs_in_and_subscribes_to_the_basket_and_bars_come_through(feed: Feed, rig: Rig) -> None:
    ears = rig.stocks(feed.url)
    is_live(feed)
    feed.send(bar("SPY", AT - 3, 600.0), bar("IWM", AT - 3, 220.5, volume=1200))
    heard = ears.wait_for(BarClosed, 2).bar
    assert (heard.symbol, heard.start, heard.close, heard.volume, heard.vwap) == ("IWM", AT - 3, 220.5, 1200.0, 220.5)
    assert feed.heard[0] == {"action": "auth", "params": KEY}
    assert feed.heard[1]["action"] == "subscribe"
    assert set(feed.heard[1]["params"].split(",")) == {"A.IWM", "A.SPY", "A.QQQ", "A.AAPL", "A.NVDA"}
    assert len(ears.of(FeedConnected)) == 1


def test_an_older_server_acknowledges_the_login_with_success(feed: Feed, rig: Rig) -> None:
    feed.login = "success"
    rig.stocks(feed.url)
    is_live(feed)


def test_the_key_goes_to_the_server_in_the_login_and_nowhere_else(feed: Feed, rig: Rig) -> None:
    rig.stocks(feed.url)
    is_live(feed)
    assert KEY not in feed.heads[0]
    assert [said for said in feed.heard if KEY in str(said)] == [{"action": "auth", "params": KEY}]


def test_when_it_is_stopped_it_says_goodbye_so_that_its_place_is_free_at_once(feed: Feed, rig: Rig) -> None:
    rig.stocks(feed.url)
    is_live(feed)
    began = time.monotonic()
    rig.end()
    feed.wait_for(lambda: not feed.clients)
    assert time.monotonic() - began < 1.0


# --- connecting --------------------------------------------------------------------------------------------------------


@pytest.mark.fault("W01")
def test_a_closed_port_is_tried_again_until_it_opens(feed: Feed, rig: Rig) -> None:
    url = feed.url
    feed.shut()
    ears = rig.stocks(url)
    dropped = ears.wait_for(FeedDropped, 2)
    assert dropped.reason == "no connection"
    assert 0 < dropped.retry_in_s <= 1.0


@pytest.mark.fault("W01", "S16")
def test_a_certificate_nobody_trusts_is_never_accepted(rig: Rig) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with Feed(tls=context) as feed:
        ears = rig.stocks(feed.url)
        assert "TLS" in ears.wait_for(FeedDropped, 2).reason
        assert not feed.heads


def test_a_certificate_of_the_given_authority_is_accepted(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca, file = trustme.CA(), str(tmp_path / "ca.pem")
    ca.cert_pem.write_to_path(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    monkeypatch.setattr(StocksSocket, "ca_file", file)
    with Feed(tls=context) as feed:
        ears = rig.stocks(feed.url)
        is_live(feed)
        feed.send(bar("IWM", AT))
        ears.wait_for(BarClosed)
        rig.end()


@pytest.mark.fault("W01")
def test_a_lookup_that_hangs_is_no_edge_without_a_sign_of_life(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    genuine = stream.Connection.open
    lookups: list[float] = []

    def open_late(self: Any, url: str, seconds: float, *rest: Any) -> None:
        lookups.append(seconds)
        return genuine(self, url, 0.3, *rest)

    monkeypatch.setattr(stream.Connection, "open", open_late)
    monkeypatch.setattr("socket.getaddrinfo", lambda *rest, **more: hang(release, **more))
    ears = rig.stocks("wss://hangs.test/stocks")
    assert "deadline" in ears.wait_for(FeedDropped, 2).reason
    release.set()
    assert not rig.streams[0].is_stuck
    assert lookups[0] + stream.LOGIN_S < STUCK_S  # in earnest, too, it beats again before it is taken for stuck


def hang(release: threading.Event, flags: int = 0, **more: Any) -> list[Any]:
    import socket

    if not flags & socket.AI_NUMERICHOST:
        release.wait(5)
    raise socket.gaierror(socket.EAI_NONAME, "no")


@pytest.mark.fault("W02")
@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_upgrade_is_told_as_a_refusal_and_not_stormed(feed: Feed, rig: Rig, code: int) -> None:
    feed.upgrade = f"HTTP/1.1 {code} No\r\nContent-Length: 0\r\n\r\n".encode()
    ears = rig.stocks(feed.url)
    refused = ears.wait_for(FeedRefused)
    assert str(code) in refused.reason
    assert not refused.busy
    time.sleep(0.3)
    assert feed.accepted == 1


@pytest.mark.fault("W02")
@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_tried_again(feed: Feed, rig: Rig, code: int) -> None:
    feed.upgrade = f"HTTP/1.1 {code} Later\r\nContent-Length: 0\r\n\r\n".encode()
    ears = rig.stocks(feed.url)
    assert str(code) in ears.wait_for(FeedDropped).reason
    feed.upgrade = None
    is_live(feed)


@pytest.mark.fault("W02", "S16")
def test_a_redirected_upgrade_takes_the_key_nowhere(feed: Feed, rig: Rig) -> None:
    with Feed() as other:
        feed.upgrade = f"HTTP/1.1 302 Found\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()
        ears = rig.stocks(feed.url)
        assert "302" in ears.wait_for(FeedRefused).reason
        time.sleep(0.2)
        assert other.accepted == 0


# --- the login and the subscriptions -----------------------------------------------------------------------------------


@pytest.mark.fault("W03")
@pytest.mark.parametrize(("words", "said"), [(BAD_KEY, "the key is not accepted"), (NO_PLAN, "the plan does not include")])
def test_a_refused_login_is_said_once_plainly_and_not_stormed(feed: Feed, rig: Rig, words: str, said: str) -> None:
    feed.login, feed.login_says = "auth_failed", words
    ears = rig.stocks(feed.url)
    refused = ears.wait_for(FeedRefused)
    assert said in refused.reason
    assert words[:20] in refused.reason
    rig.clock.set(speed=100.0)
    time.sleep(0.5)
    assert feed.accepted == 1
    assert len(ears.of(FeedRefused)) == 1


@pytest.mark.fault("S01")
@pytest.mark.parametrize("kind", ["auth_failed", "max_connections", "error", "force_disconnect"])
def test_a_key_that_the_server_repeats_is_in_no_reason(feed: Feed, rig: Rig, kind: str) -> None:
    from urllib.parse import quote as encoded

    words = f"{'x' * 190} {KEY} {encoded(KEY, safe='')} you sent {KEY}"
    feed.login, feed.login_says = ("auth_failed" if kind == "auth_failed" else "auth_success"), words
    if kind != "auth_failed":
        feed.then = lambda client: (client.send(status(kind, words)), client.close(1008, KEY))  # type: ignore[assignment]
    ears = rig.stocks(feed.url)
    ears.wait_for(FeedRefused)
    assert "canary" not in repr(ears.all)


@pytest.mark.fault("W04")
@pytest.mark.parametrize("silent_at", ["greeting", "login"])
def test_a_server_that_does_not_answer_is_left_after_ten_seconds(feed: Feed, rig: Rig, silent_at: str) -> None:
    rig.hurry(20.0)
    feed.greet, feed.login = (False, None) if silent_at == "greeting" else (True, None)
    ears = rig.stocks(feed.url)
    feed.wait_for(lambda: feed.accepted)
    began = rig.clock.now()
    dropped = ears.wait_for(FeedDropped)
    assert 8 <= dropped.at - began <= 14
    assert silent_at in dropped.reason
    feed.greet, feed.login = True, "auth_success"
    is_live(feed)


@pytest.mark.fault("W05")
def test_a_subscription_that_is_not_acknowledged_is_a_failure_that_names_it(feed: Feed, rig: Rig) -> None:
    rig.hurry(20.0)
    feed.acknowledge = lambda topic: topic != "A.NVDA"
    ears = rig.stocks(feed.url)
    dropped = ears.wait_for(FeedDropped)
    assert dropped.reason == "not acknowledged: A.NVDA"
    assert not ears.of(FeedConnected)
    feed.acknowledge = lambda topic: True
    ears.wait_for(FeedConnected)


@pytest.mark.fault("W05")
def test_a_subscription_that_the_plan_does_not_include_is_a_refusal(feed: Feed, rig: Rig) -> None:
    feed.acknowledge = lambda topic: topic != "A.SPY"
    feed.then = lambda client: client.send(status("error", "not authorized"))
    ears = rig.stocks(feed.url)
    refused = ears.wait_for(FeedRefused)
    assert "A.SPY" in refused.reason
    assert "A.IWM" not in refused.reason
    assert "not authorized" in refused.reason


# --- silence -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("W07")
def test_a_wire_that_swallows_everything_is_replaced_within_eight_seconds(feed: Feed, rig: Rig) -> None:
    with Relay(feed.port) as relay:
        rig.hurry(2.0)
        ears = rig.stocks(f"ws://127.0.0.1:{relay.port}/stocks")
        is_live(feed)
        feed.send(bar("IWM", AT))
        lost = ears.wait_for(BarClosed).at
        relay.hole = True
        dropped = ears.wait_for(FeedDropped)
        relay.hole = False
        assert "ping" in dropped.reason
        assert ears.wait_for(FeedConnected, 2).at - lost <= 8.0


@pytest.mark.fault("W06", "A5")
def test_a_feed_that_pongs_and_says_no_bars_is_replaced_within_thirteen_seconds(feed: Feed, rig: Rig) -> None:
    rig.hurry(6.0)
    ears = rig.stocks(feed.url)
    is_live(feed)
    feed.send(bar("IWM", AT))
    lost = ears.wait_for(BarClosed).at
    first = feed.live[0]
    ears.wait_for(FeedConnected, 2)
    assert first.pings >= 1
    assert ears.of(FeedConnected)[1].at - lost <= 13.0
    assert "no data" in ears.of(FeedDropped)[0].reason


# --- ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("W08", "A3")
@pytest.mark.parametrize("how", ["eof", "rst", "1000", "1001", "no code"])
def test_however_a_connection_ends_there_is_another_with_all_its_subscriptions(feed: Feed, rig: Rig, how: str) -> None:
    ears = rig.stocks(feed.url)
    is_live(feed)
    ears.wait_for(FeedConnected)
    match how:
        case "eof" | "rst":
            feed.end(reset=how == "rst")
        case "no code":
            feed.close(None)
        case code:
            feed.close(int(code), "bye")
    dropped = ears.wait_for(FeedDropped)
    if how in ("1000", "1001"):
        assert f"{how}: bye" in dropped.reason
    assert "Traceback" not in dropped.reason
    assert dropped.retry_in_s <= 0.5
    ears.wait_for(FeedConnected, 2)


@pytest.mark.fault("A4")
def test_after_a_reconnect_every_subscription_is_live_again_proved_by_its_bars(feed: Feed, rig: Rig) -> None:
    ears = rig.stocks(feed.url)
    is_live(feed)
    feed.end()
    ears.wait_for(FeedConnected, 2)
    symbols = ("IWM", "SPY", "QQQ", "AAPL", "NVDA")
    feed.wait_for(lambda: feed.live and feed.live[0].topics == {f"A.{symbol}" for symbol in symbols})
    feed.send(*(bar(symbol, AT) for symbol in symbols))
    ears.wait_for(BarClosed, 5)
    assert {event.bar.symbol for event in ears.of(BarClosed)} == set(symbols)


@pytest.mark.fault("W09", "A2")
@pytest.mark.parametrize("how", ["status", "close"])
def test_a_place_that_another_process_took_is_said_and_left_for_a_minute(feed: Feed, rig: Rig, how: str) -> None:
    def thrown_out(client: Any) -> None:
        if how == "status":
            client.send(status("max_connections", TOO_MANY))
        client.close(1008, "policy violation")

    feed.then = thrown_out
    ears = rig.stocks(feed.url)
    refused = ears.wait_for(FeedRefused)
    assert refused.busy
    assert "another process uses this key" in refused.reason
    rig.clock.set(speed=50.0)
    time.sleep(1.0)  # 50 s of the market
    assert feed.accepted == 1
    feed.wait_for(lambda: feed.accepted == 2)


@pytest.mark.fault("W09", "A1")
def test_two_on_one_key_do_not_fight_but_take_turns_by_the_minute(tmp_path: Path, rig: Rig) -> None:
    with Simulator(tmp_path / "market", day=date(2026, 11, 20), seed=1, start=wall_time(10, 29), speed=1.0) as market:
        market.stocks.max_connections = 1
        rig.clock = market.clock
        old = rig.stocks(market.feeds.url("stocks"))
        old.wait_for(BarClosed, timeout_s=5)
        new = rig.stocks(market.feeds.url("stocks"))
        assert old.wait_for(FeedRefused).busy
        new.wait_for(BarClosed, timeout_s=5)
        time.sleep(0.5)
        assert market.stocks.connections == 2
        assert len(old.of(FeedRefused)) == 1
        rig.streams[1].stop()
        market.stocks.wait_for(lambda: not market.stocks.clients)
        market.set_clock(speed=60.0)
        old.wait_for(FeedConnected, 2)
        rig.end()


@pytest.mark.parametrize("kind", ["slow_consumer", "force_disconnect"])
def test_what_the_server_said_last_is_in_the_reason(feed: Feed, rig: Rig, kind: str) -> None:
    ears = rig.stocks(feed.url)
    is_live(feed)
    feed.say(kind, "you read too slowly")
    feed.end()
    assert f"{kind}: you read too slowly" in ears.wait_for(FeedDropped).reason


# --- what comes in -----------------------------------------------------------------------------------------------------

NESTED = b"[" * 5000 + b"]" * 5000
BAD_FRAMES = {
    "no JSON": b"<html>",
    "cut": text(bar("IWM", AT))[:-20],
    "no UTF-8": b'[{"ev":"A","sym":"\xff\xfe"}]',
    "an object": b'{"ev":"status","status":"connected"}',
    "nested": NESTED,
    "nested in an event": b'[{"ev":"A","x":' + NESTED + b"}]",
    "a long integer": b'[{"ev":"A","sym":"IWM","s":' + b"9" * 5000 + b"}]",
    "NaN": text(bar("IWM", AT)).replace(b'"c": 220.0', b'"c": NaN'),
    "infinity": text(bar("IWM", AT)).replace(b'"c": 220.0', b'"c": Infinity'),
    "too large a number": text(bar("IWM", AT)).replace(b'"c": 220.0', b'"c": 1e999'),
    "null": text(bar("IWM", AT, c=None)),
    "a string": text(bar("IWM", AT, c="220")),
    "true": text(bar("IWM", AT, c=True)),
    "negative": text(bar("IWM", AT, l=-1.0)),
    "zero": text(bar("IWM", AT, o=0.0, h=0.0, l=0.0, c=0.0, vw=0.0)),
    "high below low": text(bar("IWM", AT, h=219.0, l=221.0)),
    "close outside": text(bar("IWM", AT, c=221.0)),
    "VWAP outside": text(bar("IWM", AT, vw=230.0)),
    "negative volume": text(bar("IWM", AT, v=-1)),
    "half a second": text(bar("IWM", AT, s=AT * 1000 + 500)),
    "seconds for milliseconds": text(bar("IWM", AT, s=AT)),
    "microseconds": text(bar("IWM", AT, s=AT * 1_000_000)),
    "nanoseconds": text(bar("IWM", AT, s=AT * 10**9)),
    "the future": text(bar("IWM", AT + 60)),
    "a missing field": text({k: v for k, v in bar("IWM", AT).items() if k != "vw"}),
    "another symbol": text(bar("TSLA", AT)),
}


@pytest.mark.fault("W11", "W12", "W13", "W20", "W21")
@pytest.mark.parametrize("payload", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_bad_frame_is_dropped_and_counted_and_the_connection_stays(feed: Feed, rig: Rig, payload: bytes) -> None:
    ears = rig.stocks(feed.url)
    is_live(feed)
    feed.raw(frame(TEXT, payload))
    feed.send(bar("IWM", AT, 221.0))
    assert ears.wait_for(BarClosed).bar.close == 221.0
    counted = ears.wait_for(JunkDropped)
    assert sum(counted.counts.values()) == 1
    assert counted.feed == "stocks"
    assert feed.accepted == 1


@pytest.mark.fault("W12", "W21")
def test_what_is_strange_but_no_fault_is_no_fault(feed: Feed, rig: Rig) -> None:
    ears = rig.stocks(feed.url)
    is_live(feed)
    feed.send({"ev": "XYZ", "sym": "IWM"}, {"ev": "AM", **{k: v for k, v in bar("IWM", AT).items() if k != "ev"}})
    feed.raw(frame(TEXT, b"[]"))
    feed.raw(frame(TEXT, text(bar("IWM", AT, 1.0)).replace(b'"sym": "IWM"', b'"sym": "XX", "sym": "IWM"')))
    feed.raw(frame(0x2, text(bar("IWM", AT + 1, 220.5, z=17.5, new={"field": [1]}))))
    assert ears.wait_for(BarClosed, 2).bar.close == 220.5
    assert not ears.of(JunkDropped)
    assert feed.accepted == 1


@pytest.mark.fault("W21")
def test_statuses_among_data_are_acted_on_and_the_data_are_taken_first(feed: Feed, rig: Rig) -> None:
    ears = rig.stocks(feed.url)
    is_live(feed)
    feed.send(bar("IWM", AT), status("max_connections", TOO_MANY), bar("SPY", AT, 600.0))
    assert ears.wait_for(FeedRefused).busy
    assert {event.bar.symbol for event in ears.of(BarClosed)} == {"IWM", "SPY"}


@pytest.mark.fault("W09", "W21")
def test_a_status_is_heeded_even_without_its_words(feed: Feed, rig: Rig) -> None:
    ears = rig.stocks(feed.url)
    is_live(feed)
    feed.send({"ev": "status", "status": "max_connections", "message": None})
    assert ears.wait_for(FeedRefused).busy


@pytest.mark.fault("W21")
def test_an_unknown_status_is_no_end_and_is_said(feed: Feed, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("edges.stream.log", SimpleNamespace(warning=said.append))
    ears = rig.stocks(feed.url)
    is_live(feed)
    feed.say("maintenance", "tonight")
    feed.send(
        {"ev": "status"},
        {"ev": "status", "status": "success", "message": None},
        {"ev": "status", "status": 7},
        bar("IWM", AT),
    )
    ears.wait_for(BarClosed)
    assert feed.accepted == 1
    assert said == ["stocks feed says maintenance: tonight"], "once a minute at most"


@pytest.mark.fault("W11")
def test_bad_input_is_told_at_once_and_then_once_a_minute(feed: Feed, rig: Rig) -> None:
    rig.hurry(60.0)
    ears = rig.stocks(feed.url, in_hours=False)
    is_live(feed)
    for _ in range(30):
        feed.raw(frame(TEXT, b"<html>"))
        time.sleep(0.05)
    ears.wait_for(JunkDropped, 2)
    assert len(ears.of(JunkDropped)) <= 4
    rig.end()
    assert sum(sum(told.counts.values()) for told in ears.of(JunkDropped)) == 30


@pytest.mark.fault("W22")
@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(frame(TEXT, b"", length=MAX_MESSAGE + 1), id="one frame"),
        pytest.param(frame(TEXT, bytes(MAX_MESSAGE), fin=False) + frame(CONT, b"x"), id="fragments"),
        pytest.param(frame(TEXT, bytes(1000), rsv=0b100), id="compressed"),
    ],
)
def test_more_than_a_megabyte_or_compression_costs_the_connection_and_no_more(feed: Feed, rig: Rig, wire: bytes) -> None:
    ears = rig.stocks(feed.url)
    is_live(feed)
    ears.wait_for(FeedConnected)
    feed.raw(wire)
    ears.wait_for(FeedDropped)
    ears.wait_for(FeedConnected, 2)
    feed.wait_for(lambda: feed.live)
    feed.send(bar("IWM", AT))
    ears.wait_for(BarClosed)


@pytest.mark.fault("W23")
def test_bars_in_fragments_and_single_bytes_arrive_and_show_signs_of_life_meanwhile(feed: Feed, rig: Rig) -> None:
    with Relay(feed.port) as relay:
        ears = rig.stocks(f"ws://127.0.0.1:{relay.port}/stocks")
        is_live(feed)
        ears.wait_for(FeedConnected)
        payload = text(bar("IWM", AT))
        relay.slice, relay.every_s = 1, 0.002
        feed.raw(frame(TEXT, payload[:50], fin=False) + frame(PING, b"?") + frame(CONT, payload[50:], fin=True))
        before = rig.streams[0].beat_at
        ears.wait_for(BarClosed)
        assert rig.streams[0].beat_at > before
        assert feed.accepted == 1


@pytest.mark.fault("W23", "W06")
def test_a_frame_that_never_ends_is_silence(feed: Feed, rig: Rig) -> None:
    with Relay(feed.port) as relay:
        rig.hurry(10.0)
        ears = rig.stocks(f"ws://127.0.0.1:{relay.port}/stocks")
        is_live(feed)
        relay.slice, relay.every_s = 1, 0.02
        feed.raw(frame(TEXT, bytes(50_000)))
        assert ears.wait_for(FeedDropped, timeout_s=5).at - AT < 40


# --- the reader is never held ------------------------------------------------------------------------------------------


@pytest.mark.fault("W10", "A9")
def test_a_decision_that_sleeps_holds_nobody_up_and_sheds_only_old_bars(feed: Feed, rig: Rig) -> None:
    inbox = Inbox(limit=2_000)
    rig.stocks(feed.url, emit=inbox.put)
    is_live(feed)
    for second in range(6_000):  # while nobody takes anything out
        feed.raw(frame(TEXT, text(bar("IWM", AT - 6_000 + second, 220.0))))
    feed.close(1001, "after all of it")
    heard: list[Any] = []
    deadline = time.monotonic() + 10
    while not any(isinstance(event, FeedDropped) for event in heard) and time.monotonic() < deadline:
        time.sleep(0.05)
        with inbox._lock:
            heard = list(inbox._events)
    bars = [event.bar.start for event in heard if isinstance(event, BarClosed)]
    assert len(heard) <= 2_000
    assert bars == sorted(bars)
    assert bars[-1] == AT - 1
    assert inbox.shed == 6_000 - len(bars)
    assert [type(event).__name__ for event in heard if not isinstance(event, BarClosed)][:2] == [
        "FeedConnected",
        "FeedDropped",
    ]


# --- the options socket ------------------------------------------------------------------------------------------------


def test_the_options_socket_is_connected_only_while_a_contract_is_held(feed: Feed, rig: Rig) -> None:
    edge, ears = rig.options(feed.url)
    time.sleep(0.4)
    assert feed.accepted == 0
    edge.put(WatchContract(CONTRACT))
    feed.wait_for(lambda: feed.live and feed.live[0].topics == {f"Q.{CONTRACT}"})
    feed.send(quote(CONTRACT, 0.49, 0.5, AT * 1000 + 351), quote(OTHER, 0.3, 0.31, AT * 1000))
    seen = ears.wait_for(QuoteSeen)
    assert (seen.contract, seen.source, seen.quote.bid, seen.quote.ask) == (CONTRACT, "stream", 490, 500)
    assert (seen.quote.bid_size, seen.quote.ask_size, seen.quote.quoted_at) == (35, 40, AT + 0.351)
    edge.put(UnwatchContract(CONTRACT))
    feed.wait_for(lambda: not feed.clients)
    time.sleep(0.4)
    assert feed.accepted == 1
    assert len(ears.of(QuoteSeen)) == 1
    assert not ears.of(FeedDropped)


def test_another_contract_is_another_subscription_on_the_same_connection(feed: Feed, rig: Rig) -> None:
    edge, ears = rig.options(feed.url)
    edge.put(WatchContract(CONTRACT))
    is_live(feed)
    edge.put(WatchContract(OTHER))
    feed.wait_for(lambda: feed.live and feed.live[0].topics == {f"Q.{OTHER}"})
    feed.send(quote(CONTRACT, 0.49, 0.5, AT * 1000), quote(OTHER, 0.3, 0.31, AT * 1000))
    assert ears.wait_for(QuoteSeen).contract == OTHER
    assert feed.accepted == 1


def test_a_silent_options_wire_must_prove_itself_and_a_quiet_contract_is_no_fault(feed: Feed, rig: Rig) -> None:
    rig.hurry(20.0)
    edge, ears = rig.options(feed.url)
    edge.put(WatchContract(CONTRACT))
    is_live(feed)
    client = feed.live[0]
    feed.wait_for(lambda: client.pings >= 5)
    assert not ears.of(FeedDropped)
    feed.pongs = False
    assert "ping" in ears.wait_for(FeedDropped).reason


def test_whoever_replaces_the_options_socket_watches_the_same_contract(feed: Feed, rig: Rig) -> None:
    edge, _ = rig.options(feed.url)
    edge.put(WatchContract(CONTRACT))
    is_live(feed)
    rig.end()
    feed.wait_for(lambda: not feed.clients)
    config = Config.from_env({**KEYS, "POLYGON_OPTIONS_WS_URL": feed.url})
    fresh = OptionsSocket(Ears(), config, rig.clock)
    fresh.inherit(edge)
    rig.start(fresh)
    feed.wait_for(lambda: feed.live and feed.live[0].topics == {f"Q.{CONTRACT}"})


def test_a_stopped_process_needs_no_more_than_a_second_for_its_sockets(feed: Feed, rig: Rig) -> None:
    rig.stocks(feed.url)
    edge, _ = rig.options(feed.url)
    edge.put(WatchContract(CONTRACT))
    feed.wait_for(lambda: len(feed.live) == 2)
    fds = len(os.listdir("/proc/self/fd"))
    began = time.monotonic()
    rig.end()
    assert time.monotonic() - began < 1.0
    assert len(os.listdir("/proc/self/fd")) <= fds
