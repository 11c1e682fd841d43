"""A feed that invents a hundred thousand names: no map, no list and no process grows by it, and IWM is decided on all the same."""

from __future__ import annotations

import gc
import itertools
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

from config import Config
from edges.inbox import Inbox
from edges.stream import StocksSocket
from events import AnyEvent, BarClosed
from polygon_client import Rest
from simulator.http import Answer, Request
from simulator.servers import Simulator
from tests.kit.deskbench import KEYS, Bench
from tests.kit.feed import TEXT, Feed, bar, frame, quote, text
from tests.kit.kernel import unshared_mb
from tests.kit.worker import CONTRACT, DAY, IN_RISE, Stage
from tests.test_polygon_client import a_row
from utils import SharedClock
from wire.transport import TryAgain

CHAIN = r"^/v3/snapshot/options/IWM$"
NAMES, A_FRAME = 100_000, 500
CONTAINERS = (dict, list, set, deque, tuple, frozenset)
NOT_ENTERED = (ModuleType, FunctionType, type, threading.Thread)
GROWTH_MB = 30.0


def strange_frames(at: int) -> list[bytes]:
    """A bar of each of so many symbols, and a quote of as many contracts, as the feed writes them."""
    bars = (bar(f"Z{k:05d}", at) for k in range(NAMES))
    quotes = (quote(f"O:IWM261120C{k:08d}", 1.0, 1.01, at * 1000) for k in range(NAMES))
    pairs = itertools.chain.from_iterable(zip(bars, quotes, strict=True))
    return [text(*events) for events in iter(lambda: tuple(itertools.islice(pairs, A_FRAME)), ())]


def strange_chain(pages_of: int) -> Callable[[Request], Answer]:
    """A chain of that many rows, each another contract of today's, on as many pages as it takes."""

    def page(request: Request) -> Answer:
        first = int(request.query.get("cursor", "0"))
        rows = [contract(first + k) for k in range(pages_of)]
        more = {"next_url": f"https://api.massive.com/v3/snapshot/options/IWM?cursor={first + pages_of}"}
        return Answer(200, {"status": "OK", "results": rows} | (more if first + pages_of < NAMES else {}))

    return page


def contract(number: int) -> dict[str, Any]:
    strike = 100_000 + number
    given = a_row()
    details = given["details"] | {"ticker": f"O:IWM{DAY:%y%m%d}C{strike:08d}", "strike_price": strike / 1000}
    return given | {"details": details}


def held_items(*roots: object) -> int:
    """How many items all containers hold that can be reached from these, modules and code left aside."""
    waiting, seen, total = list(roots), set(), 0
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, NOT_ENTERED):
            continue
        seen.add(id(item))
        if isinstance(item, CONTAINERS):
            total += len(item)
        waiting += gc.get_referents(item)
    return total


@pytest.mark.fault("S22")
def test_a_hundred_thousand_symbols_leave_no_trace_in_socket_inbox_and_desk_and_the_next_surge_is_a_buy(
    tmp_path: Path,
) -> None:
    bench, inbox = Bench().ready(), Inbox()
    clock = SharedClock.create(tmp_path / "clock", bench.now, 0.0)
    with Feed() as feed:
        config = Config.from_env({**KEYS, "POLYGON_WS_URL": feed.url})
        socket = StocksSocket(inbox.put, config, clock, lambda: True)
        socket.start()
        feed.wait_for(lambda: feed.live)
        at = int(bench.now) - 1
        known = bar("SPY", at, 600.0)

        def taken_in() -> None:
            """Until the desk has had a bar that was sent behind all the rest."""
            feed.send(known)
            events: list[AnyEvent] = []
            while not any(isinstance(event, BarClosed) for event in events):
                events = inbox.take(5.0)
                assert events, "the socket is silent"
                bench.put(*events)

        taken_in()
        before = held_items(socket, inbox, bench.desk)
        for payload in strange_frames(at):
            feed.raw(frame(TEXT, payload))
        taken_in()
        grown = held_items(socket, inbox, bench.desk) - before
        socket.stop()
        socket.join(5.0)
        bench.put(*inbox.take(0.0))
    assert grown < 100
    assert socket.fault is None
    assert feed.accepted == 1
    assert bench.desk.state.feed.junk == NAMES
    assert set(bench.desk.market.heard) <= bench.desk.market.basket
    bench.surge()
    assert [alert.kind for alert in bench.delivered if alert.kind == "BUY"] == ["BUY"]


@pytest.mark.fault("S22")
@pytest.mark.parametrize("pages_of", [250, 5_000])
def test_a_chain_of_a_hundred_thousand_contracts_is_not_taken_in_however_large_its_pages_are(
    tmp_path: Path, pages_of: int
) -> None:
    with Simulator(tmp_path / "clock", day=DAY, seed=1, start=IN_RISE, speed=0.0) as market:
        rest = Rest(Config.from_env(market.environment(tmp_path)), market.clock)
        market.rest.script(CHAIN, strange_chain(pages_of), forever=True)
        with pytest.raises(TryAgain, match="never end" if pages_of == 250 else "more rows than were asked for"):
            rest.chain("IWM", "call", DAY.isoformat())
        market.rest.unscript()
        assert len(rest.chain("IWM", "call", DAY.isoformat())) > 50


@pytest.mark.fault("S22")
@pytest.mark.process
@pytest.mark.timeout(90)
def test_the_worker_grows_by_a_few_megabytes_at_most_and_buys_as_if_nothing_had_been(stage: Stage) -> None:
    worker = stage.start(OPTIONS_STREAM="auto")
    pid = worker.process.pid
    before, connections = unshared_mb(pid), stage.market.stocks.connections
    frames = [payload.decode() for payload in strange_frames(int(stage.now()) - 1)]
    stage.market.stocks.flood(frames)
    stage.market.rest.script(CHAIN, strange_chain(5_000), forever=True)
    stage.go()
    stage.wait_for("— BUY")
    stage.market.options.wait_for_subscriber(f"Q.{CONTRACT}")
    stage.stop()  # nothing else is on the wire meanwhile
    stage.market.options.flood(frames)
    stage.go()
    stage.wait_for_polls(20)
    worker.wait_for_line("chain of calls could not be had: the answer has more rows than were asked for")
    stage.quote(0.80, 0.82)
    stage.wait_for("— SELL")
    stage.go(60.0)
    worker.wait_for_line("bar: not subscribed=")
    grown = unshared_mb(pid) - before
    assert grown < GROWTH_MB
    assert stage.market.stocks.connections == connections  # and it never had to be connected again
