"""The one door: order, waking, and what makes room when nobody takes anything out."""

from __future__ import annotations

import threading
import time

import pytest

from edges.inbox import Inbox
from events import Bar, BarClosed, HalfSecondPassed, JunkDropped, Quote, QuoteSeen, StopRequested


def bar(symbol: str, second: int) -> BarClosed:
    return BarClosed(at=float(second), bar=Bar(symbol, second, 220.0, 220.0, 220.0, 220.0, 100.0, 220.0))


def seen(at: float) -> QuoteSeen:
    return QuoteSeen(at=at, contract="O:IWM261120C00220000", quote=Quote(490, 500, 35, 40, at), source="rest")


def test_what_waits_comes_out_once_in_order() -> None:
    inbox = Inbox()
    events = [bar("IWM", 1), HalfSecondPassed(at=1.5), seen(2.0)]
    for event in events:
        inbox.put(event)
    assert inbox.take(0.0) == events
    assert inbox.take(0.0) == []


def test_whoever_waits_is_woken_at_once_and_nobody_waits_longer_than_asked() -> None:
    inbox = Inbox()
    began = time.monotonic()
    assert inbox.take(0.05) == []
    assert time.monotonic() - began < 0.5
    threading.Timer(0.05, inbox.put, [bar("IWM", 1)]).start()
    began = time.monotonic()
    assert len(inbox.take(5.0)) == 1
    assert time.monotonic() - began < 1.0


@pytest.mark.fault("W10")
def test_when_it_is_full_the_older_bars_of_each_symbol_make_room_and_nothing_else_does() -> None:
    inbox = Inbox(limit=100)
    inbox.put(StopRequested(at=0.0, reason="SIGTERM"))
    for second in range(1000):
        inbox.put(bar("IWM", second))
        if second % 50 == 0:
            inbox.put(bar("SPY", second))
            inbox.put(seen(float(second)))
    events = inbox.take(0.0)
    assert len(events) <= 102
    assert [event.at for event in events if isinstance(event, QuoteSeen)] == [float(at) for at in range(0, 1000, 50)]
    assert isinstance(events[0], StopRequested)
    starts = [event.bar.start for event in events if isinstance(event, BarClosed) and event.bar.symbol == "IWM"]
    assert starts == list(range(starts[0], 1000))
    assert [event.bar.start for event in events if isinstance(event, BarClosed) and event.bar.symbol == "SPY"][-1] == 950


@pytest.mark.fault("W10")
def test_what_made_room_is_counted_and_told_once() -> None:
    inbox = Inbox(limit=10)
    for second in range(100):
        inbox.put(bar("IWM", second))
    events = inbox.take(0.0)
    told = [event for event in events if isinstance(event, JunkDropped)]
    assert [sum(event.counts.values()) for event in told] == [100 - (len(events) - 1)]
    assert told[0].feed == "inbox"
    inbox.put(bar("IWM", 100))
    assert len(inbox.take(0.0)) == 1
