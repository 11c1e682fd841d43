"""The edge threads: who polls what when, what a slow or dead server does to them, and what a replacement takes over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from datetime import time as wall_time
from itertools import pairwise
from pathlib import Path

import pytest

import polygon_client
from config import Config
from edges.chain import ChainPoller, Wanted
from edges.edge import STUCK_S, Edge
from edges.quotes import Quotes
from events import (
    ChainArrived,
    ChainFailed,
    JunkDropped,
    QuoteFailed,
    QuotesArrived,
    QuoteSeen,
    RefreshQuotes,
    Watch,
)
from simulator.http import Answer
from simulator.servers import Simulator
from tests.kit.ears import Ears
from utils import SessionCalendar
from wire.budget import Budget

DAY = date(2026, 11, 20)
CONTRACT = "O:IWM261120C00220000"
CHAIN, ONE = r"/options/IWM$", r"/options/IWM/O:"


def wanted(config: Config) -> list[Wanted]:
    """The chains that vwap wants."""
    return [("IWM", "call", config.chain_poll_seconds), ("IWM", "put", 60.0)]


@pytest.fixture
def edges() -> Iterator[list[Edge]]:
    """Edges that a test has started; they are stopped after it."""
    started: list[Edge] = []
    yield started
    for edge in started:
        edge.stop()
    for edge in started:
        edge.join(5.0)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Simulator]:
    """A market at 10:29 that stands still until its clock is set."""
    with Simulator(tmp_path / "clock", day=DAY, seed=1, start=wall_time(10, 29), speed=0.0) as simulator:
        yield simulator


def settings(market: Simulator, **more: str) -> Config:
    return Config.from_env(market.environment(market.clock_file.parent / "data", **more))


@pytest.fixture
def quotes(market: Simulator, edges: list[Edge]) -> Callable[..., tuple[Quotes, Ears]]:
    def start(**more: str) -> tuple[Quotes, Ears]:
        ears = Ears()
        edges.append(Quotes(ears, settings(market, **more), market.clock, Budget()))
        edges[-1].start()
        return edges[-1], ears  # type: ignore[return-value]

    return start


def poller(market: Simulator, edges: list[Edge], **more: str) -> Ears:
    ears, calendar = Ears(), SessionCalendar(DAY)
    edges.append(
        ChainPoller(ears, settings(market, **more), market.clock, calendar.at, wanted(settings(market, **more)), Budget())
    )
    edges[-1].start()
    return ears


def asked(market: Simulator, right: str) -> list[float]:
    """When the chain of a right was asked for, in market time."""
    return [request.market_at for request in market.rest.requests if request.query.get("contract_type") == right]


# --- the chain poller --------------------------------------------------------------------------------------------------


def test_the_calls_are_asked_for_every_ten_seconds_and_the_puts_every_minute(market: Simulator, edges: list[Edge]) -> None:
    ears = poller(market, edges)
    ears.wait_for(ChainArrived, 2)
    began = market.clock.now()
    market.set_clock(speed=60.0)
    ears.wait_for(ChainArrived, 2 + 12 + 2)
    calls = [at - began for at in asked(market, "call")]
    assert all(8 < after - before < 20 for before, after in pairwise(calls[1:]))
    assert 4 <= len(asked(market, "call")) / len(asked(market, "put")) <= 6.5
    first = next(event for event in ears.of(ChainArrived) if event.right == "call")
    assert (first.right, first.expiration, len(first.rows)) == ("call", "2026-11-20", 81)
    assert first.asked_at <= first.at


def test_nothing_is_asked_before_twenty_past_nine_nor_after_the_close(market: Simulator, edges: list[Edge]) -> None:
    market.set_clock(at=wall_time(9, 19, 55))
    ears = poller(market, edges)
    assert not ears.all
    market.set_clock(at=wall_time(9, 20, 1))
    ears.wait_for(ChainArrived)
    market.set_clock(at=wall_time(16, 0, 0))
    ears.wait_for(ChainArrived, 2)
    known = len(market.rest.requests)
    market.set_clock(speed=120.0)
    time.sleep(0.3)
    assert len(market.rest.requests) == known


@pytest.mark.fault("A12")
def test_an_edge_with_nothing_to_do_sleeps(edges: list[Edge], market: Simulator) -> None:
    looked: list[float] = []
    market.set_clock(at=wall_time(20, 0), speed=1.0)
    config = settings(market)
    edges.append(ChainPoller(Ears(), config, market.clock, lambda at: looked.append(at), wanted(config), Budget()))
    edges.append(Quotes(Ears(), config, market.clock, Budget()))
    before = time.process_time()
    for edge in edges:
        edge.start()
    time.sleep(1.0)
    assert len(looked) <= 4
    assert time.process_time() - before < 0.3


@pytest.mark.fault("R01")
def test_a_chain_that_is_asked_too_often_waits_as_told_while_the_held_contract_is_asked_on(
    market: Simulator, edges: list[Edge], quotes: Callable[..., tuple[Quotes, Ears]]
) -> None:
    market.rest.script(CHAIN, Answer(429, {"status": "ERROR", "error": "too many"}, {"Retry-After": "120"}), forever=True)
    ears = poller(market, edges)
    ears.wait_for(ChainFailed, 2)
    edge, followed = quotes()
    edge.put(Watch((CONTRACT,)))
    began = market.clock.now()
    market.set_clock(speed=40.0)
    ears.wait_for(ChainFailed, 4)
    calls = asked(market, "call")
    assert calls[1] - calls[0] >= 120
    assert len(followed.of(QuoteSeen)) >= (market.clock.now() - began) / 4


@pytest.mark.fault("R13")
def test_a_refused_chain_is_told_as_refused_and_asked_for_once_a_minute(market: Simulator, edges: list[Edge]) -> None:
    market.rest.script(CHAIN, Answer(403, {"status": "NOT_AUTHORIZED", "message": "You are not entitled"}), forever=True)
    ears = poller(market, edges)
    failed = ears.wait_for(ChainFailed)
    assert failed.refused
    assert "You are not entitled" in failed.reason
    market.set_clock(speed=60.0)
    ears.wait_for(ChainFailed, 4)
    calls = asked(market, "call")
    assert calls[1] - calls[0] >= 60


@pytest.mark.fault("R02", "R07")
def test_a_page_that_is_no_chain_is_a_failure_and_never_an_empty_chain(market: Simulator, edges: list[Edge]) -> None:
    market.rest.script(
        CHAIN, Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"), Answer(200, {"status": "OK"})
    )
    ears = poller(market, edges)
    ears.wait_for(ChainFailed, 2)
    assert not ears.of(ChainArrived)


@pytest.mark.fault("R07")
def test_a_day_without_rows_is_an_empty_chain_and_a_chain_that_loses_all_its_rows_is_a_failure(
    market: Simulator, edges: list[Edge]
) -> None:
    market.rest.script(CHAIN, Answer(200, {"status": "OK", "results": []}), Answer(200, {"status": "OK", "results": []}))
    ears = poller(market, edges)
    ears.wait_for(ChainArrived, 2)
    assert [event.rows for event in ears.of(ChainArrived)] == [(), ()]
    market.set_clock(speed=60.0)
    ears.wait_for(ChainArrived, where=lambda event: event.right == "call" and len(event.rows) > 50)
    market.rest.script(CHAIN, Answer(200, {"status": "OK", "results": []}))
    assert "no rows" in ears.wait_for(ChainFailed).reason


@pytest.mark.fault("R14")
def test_malformed_rows_are_left_out_and_told_once_a_minute(market: Simulator, edges: list[Edge]) -> None:
    rows = market.market.rows(DAY, (0,))[:3]
    rows[1]["details"]["strike_price"] = "many"
    market.rest.script(CHAIN, Answer(200, {"status": "OK", "results": rows}), forever=True)
    ears = poller(market, edges)
    assert len(ears.wait_for(ChainArrived).rows) == 2
    told = ears.wait_for(JunkDropped)
    assert (told.feed, sum(told.counts.values()) >= 1) == ("chain", True)
    market.set_clock(speed=60.0)
    ears.wait_for(ChainArrived, 6)
    assert len(ears.of(JunkDropped)) <= 2


@pytest.mark.fault("R11")
def test_pages_that_are_slow_without_end_are_left_before_the_thread_looks_dead(
    market: Simulator, edges: list[Edge], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 2 * polygon_client.PAGES_S + 2 * 2.0 < STUCK_S  # begun again once, each time with a last answer that is late
    monkeypatch.setattr(polygon_client, "PAGES_S", 0.3)
    market.rest.pages_of = 5
    market.rest.script(CHAIN, Answer(delay_s=0.12), forever=True)
    ears = poller(market, edges)
    assert "never end" in ears.wait_for(ChainFailed).reason
    assert len(asked(market, "call")) <= 5
    assert len(asked(market, "put")) <= 5


# --- quotes ------------------------------------------------------------------------------------------------------------


def test_the_held_contract_is_asked_for_every_second_until_it_is_let_go(
    market: Simulator, quotes: Callable[..., tuple[Quotes, Ears]]
) -> None:
    edge, ears = quotes()
    began = market.clock.now()
    market.set_clock(speed=20.0)
    edge.put(Watch((CONTRACT,)))
    ears.wait_for(QuoteSeen, 10)
    edge.put(Watch(()))
    edge.put(RefreshQuotes(1, (CONTRACT,)))
    ears.wait_for(QuotesArrived)
    took = market.clock.now() - began
    assert took >= 8
    known = len(ears.of(QuoteSeen))
    assert known <= took + 2
    market.set_clock(at=market.clock.now() + 60)
    time.sleep(0.1)
    assert len(ears.of(QuoteSeen)) == known
    seen = ears.of(QuoteSeen)[0]
    assert (seen.contract, seen.source) == (CONTRACT, "rest")


@pytest.mark.fault("R03", "R04")
@pytest.mark.parametrize("manner", [Answer(hang=True), Answer(byte_every_s=0.05)], ids=["silent", "dripping"])
def test_a_server_that_holds_the_held_contracts_answer_back_is_left_at_the_deadline(
    market: Simulator, quotes: Callable[..., tuple[Quotes, Ears]], manner: Answer
) -> None:
    edge, ears = quotes(HTTP_TIMEOUT_SECONDS="0.5")
    market.rest.script(ONE, manner)
    began = time.monotonic()
    edge.put(Watch((CONTRACT,)))
    failed = ears.wait_for(QuoteFailed)
    assert 0.45 <= time.monotonic() - began < 0.9
    assert failed.contract == CONTRACT
    market.set_clock(speed=5.0)
    assert ears.wait_for(QuoteSeen).contract == CONTRACT


@pytest.mark.fault("R18")
def test_a_contract_that_the_server_does_not_know_any_more_is_a_failed_quote_and_not_a_price(
    market: Simulator, quotes: Callable[..., tuple[Quotes, Ears]]
) -> None:
    edge, ears = quotes()
    market.rest.script(ONE, Answer(404, {"status": "NOT_FOUND", "message": "Options contract not found."}), forever=True)
    edge.put(Watch((CONTRACT,)))
    assert "404" in ears.wait_for(QuoteFailed).reason
    market.set_clock(speed=20.0)
    ears.wait_for(QuoteFailed, 3)
    market.rest.unscript()
    ears.wait_for(QuoteSeen)


@pytest.mark.fault("R08")
def test_an_answer_without_a_quote_is_a_failed_quote(market: Simulator, quotes: Callable[..., tuple[Quotes, Ears]]) -> None:
    edge, ears = quotes()
    row = market.market.rows(DAY, (0, 1), only=CONTRACT)[0]
    row.pop("last_quote")
    market.rest.script(ONE, Answer(200, {"status": "OK", "results": row}))
    edge.put(Watch((CONTRACT,)))
    assert "no quote" in ears.wait_for(QuoteFailed).reason


def test_a_refresh_brings_what_came_in_time_and_says_what_did_not(
    market: Simulator, quotes: Callable[..., tuple[Quotes, Ears]]
) -> None:
    edge, ears = quotes(HTTP_TIMEOUT_SECONDS="0.4")
    names = tuple(f"O:IWM261120C00{strike}000" for strike in (219, 220, 221))
    market.rest.script(names[1], Answer(hang=True))
    began = time.monotonic()
    edge.put(RefreshQuotes(7, names))
    arrived = ears.wait_for(QuotesArrived)
    assert time.monotonic() - began < 0.8
    assert arrived.ticket == 7
    assert {row.contract for row in arrived.rows} == {names[0], names[2]}
    assert arrived.reason is not None
    assert names[1] in arrived.reason
    assert names[0] not in arrived.reason


def test_whoever_replaces_the_one_who_follows_a_position_follows_it(
    market: Simulator, quotes: Callable[..., tuple[Quotes, Ears]], edges: list[Edge]
) -> None:
    dead, ears = quotes()
    dead.put(Watch((CONTRACT,)))
    ears.wait_for(QuoteSeen)
    dead.stop()
    dead.join(5.0)
    heard = Ears()
    edges.append(Quotes(heard, settings(market), market.clock, Budget()))
    edges[-1].inherit(dead)
    edges[-1].start()
    assert heard.wait_for(QuoteSeen).contract == CONTRACT


@pytest.mark.fault("A11")
def test_a_thousand_failed_refreshes_and_a_hung_one_leave_no_thread_behind(
    market: Simulator, quotes: Callable[..., tuple[Quotes, Ears]]
) -> None:
    edge, ears = quotes(HTTP_TIMEOUT_SECONDS="0.5")
    names = tuple(f"O:IWM261120C00{strike}000" for strike in (219, 220, 221))
    for ticket in range(30):  # until every hand has had something to do
        edge.put(RefreshQuotes(ticket, names))
    ears.wait_for(QuotesArrived, 30, timeout_s=60)
    threads_before = threading.active_count()
    market.rest.down()
    for ticket in range(30, 1030):
        edge.put(RefreshQuotes(ticket, names))
    ears.wait_for(QuotesArrived, 1030, timeout_s=60)
    assert threading.active_count() <= threads_before
    market.rest.up()
    market.rest.script(ONE, Answer(hang=True), forever=True)
    edge.put(RefreshQuotes(2000, names))
    began = time.monotonic()
    edge.stop()
    edge.join(5.0)
    assert not edge.is_alive
    assert time.monotonic() - began < 1.5
