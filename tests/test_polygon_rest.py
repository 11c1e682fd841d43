"""The feed's REST on loopback: pages, refusals, and answers that are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from datetime import time as wall_time
from pathlib import Path
from typing import Any

import pytest

from config import Config
from polygon_client import Rest
from simulator.http import Answer, Request
from simulator.servers import Simulator
from tests.test_polygon_client import AT, CONTRACT, DAY, a_row
from utils import SessionCalendar
from wire.transport import Refused, TryAgain

CHAIN, ONE, AGGS = r"/options/IWM$", r"/options/IWM/O:", r"/v2/aggs/"


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path / "clock", day=DAY, seed=1, start=wall_time(10, 29), speed=0.0) as simulator:
        yield simulator


@pytest.fixture
def rest(market: Simulator) -> Rest:
    return rest_of(market)


def rest_of(market: Simulator, **more: str) -> Rest:
    return Rest(Config.from_env(market.environment(market.clock_file.parent / "data", **more)), market.clock)


def test_the_question_is_todays_calls_by_strike_with_the_key_in_the_header_alone(market: Simulator, rest: Rest) -> None:
    rows = rest.chain("IWM", "call", "2026-11-20")
    asked = market.rest.requests[0]
    assert len(rows) == 81
    assert asked.query == {
        "expiration_date": "2026-11-20",
        "contract_type": "call",
        "limit": "250",
        "order": "asc",
        "sort": "strike_price",
    }
    assert asked.headers["authorization"] == "Bearer simulated-market-key"
    assert rest.chain("IWM", "call", "2026-11-21") == []


def test_all_pages_are_followed_over_one_connection(market: Simulator, rest: Rest) -> None:
    market.rest.pages_of = 10
    rows = rest.chain("IWM", "put", "2026-11-20")
    assert len(rows) == len({row.contract for row in rows}) == 81
    assert len(market.rest.requests) == 9
    assert {request.connection for request in market.rest.requests} == {1}
    assert all("apiKey" not in request.query and "authorization" in request.headers for request in market.rest.requests)


def looping(request: Request) -> Answer:
    return Answer(
        200, {"status": "OK", "results": [a_row()], "next_url": "https://api.massive.com/v3/snapshot/options/IWM?cursor=x"}
    )


def endless() -> Callable[[Request], Answer]:
    count = iter(range(10**6))
    return lambda request: Answer(
        200,
        {
            "status": "OK",
            "results": [a_row()],
            "next_url": f"https://api.massive.com/v3/snapshot/options/IWM?cursor={next(count)}",
        },
    )


@pytest.mark.fault("R11")
@pytest.mark.parametrize(("manner", "most"), [(looping, 3), (endless(), 20)], ids=["in a circle", "without end"])
def test_pages_that_never_end_are_left(
    market: Simulator, rest: Rest, manner: Callable[[Request], Answer], most: int
) -> None:
    market.rest.script(CHAIN, manner, forever=True)
    with pytest.raises(TryAgain, match="never end"):
        rest.chain("IWM", "call", "2026-11-20")
    assert len(market.rest.requests) <= most


@pytest.mark.fault("R11", "S16")
def test_a_next_page_on_another_host_is_not_asked(market: Simulator, rest: Rest) -> None:
    body = {"status": "OK", "results": [a_row()], "next_url": "https://evil.test/v3/x?cursor=1"}
    market.rest.script(CHAIN, Answer(200, body))
    with pytest.raises(TryAgain, match="another host"):
        rest.chain("IWM", "call", "2026-11-20")
    assert len(market.rest.requests) == 1


@pytest.mark.fault("R11")
def test_a_next_page_that_is_gone_means_to_begin_again_once(market: Simulator, rest: Rest) -> None:
    market.rest.pages_of = 50
    gone = Answer(400, {"status": "ERROR", "error": "cursor expired"})
    market.rest.script(CHAIN, Answer(), gone)
    assert len(rest.chain("IWM", "call", "2026-11-20")) == 81
    assert len(market.rest.requests) == 4
    market.rest.script(CHAIN, Answer(), gone, Answer(), gone)
    with pytest.raises(TryAgain, match="gone"):
        rest.chain("IWM", "call", "2026-11-20")


@pytest.mark.fault("R12")
def test_rows_of_another_expiry_or_right_and_rows_twice_are_left_out(market: Simulator, rest: Rest) -> None:
    other = {**a_row()["details"], "ticker": "O:IWM261123C00220000", "expiration_date": "2026-11-23"}
    put = {**a_row()["details"], "ticker": "O:IWM261120P00220000", "contract_type": "put"}
    rows = [a_row(open_interest=1), a_row(details=other), a_row(details=put), a_row(open_interest=2)]
    market.rest.script(CHAIN, Answer(200, {"status": "OK", "results": rows}))
    (row,) = rest.chain("IWM", "call", "2026-11-20")
    assert (row.contract, row.open_interest) == (CONTRACT, 2)


@pytest.mark.fault("R01")
@pytest.mark.parametrize(
    ("given", "seconds"),
    [("7", 7.0), ("-1", 1.0), ("1000000000", 300.0), (None, 60.0), ("Fri, 20 Nov 2026 15:29:42 GMT", 42.0)],
)
def test_too_many_requests_say_how_long_to_wait(market: Simulator, rest: Rest, given: str | None, seconds: float) -> None:
    market.rest.script(CHAIN, Answer(429, {"error": "You've exceeded"}, {} if given is None else {"Retry-After": given}))
    with pytest.raises(TryAgain, match="429") as caught:
        rest.chain("IWM", "call", "2026-11-20")
    assert caught.value.retry_after_s == seconds


@pytest.mark.fault("R02", "R05")
@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, {"status": "ERROR"}),
        Answer(502, b"<html>"),
        Answer(503, {}),
        Answer(499, {}),
        Answer(200, b"<html>maintenance</html>"),
        Answer(cut_after=300),
        Answer(200, b"\x1f\x8b\x08\x00\x00", {"Content-Encoding": "gzip"}),
        Answer(200, {"status": "ERROR", "error": "x"}),
    ],
    ids=["500", "502", "503", "499", "a page of words", "cut", "gzip cut", "an error by 200"],
)
def test_whatever_goes_wrong_is_try_again_and_never_an_empty_chain(market: Simulator, rest: Rest, answer: Answer) -> None:
    market.rest.script(CHAIN, answer)
    with pytest.raises(TryAgain):
        rest.chain("IWM", "call", "2026-11-20")
    assert len(rest.chain("IWM", "call", "2026-11-20")) == 81


@pytest.mark.fault("S01")
def test_a_refusal_that_is_cut_in_the_middle_of_the_key_holds_no_part_of_it(market: Simulator, rest: Rest) -> None:
    market.rest.script(ONE, Answer(403, {"error": "x" * 190 + " simulated-market-key is not entitled"}))
    with pytest.raises(Refused) as refused:
        rest.contract(CONTRACT)
    assert "simul" not in refused.value.reason


@pytest.mark.fault("R13", "S01")
@pytest.mark.parametrize(
    ("code", "body", "words"),
    [
        (
            401,
            {"status": "ERROR", "error": "Unknown API Key simulated-market-key"},
            "the key is not accepted (401): Unknown API Key ***",
        ),
        (
            403,
            {"status": "NOT_AUTHORIZED", "message": "You are not entitled"},
            "the plan does not include this (403): You are not entitled",
        ),
        (401, b"<html>", "the key is not accepted (401): no reason given"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words_without_the_key(
    market: Simulator, rest: Rest, code: int, body: Any, words: str
) -> None:
    market.rest.script(ONE, Answer(code, body))
    with pytest.raises(Refused) as caught:
        rest.contract(CONTRACT)
    assert (caught.value.reason, caught.value.status) == (words, code)
    assert rest.contract(CONTRACT).contract == CONTRACT


@pytest.mark.fault("R15")
def test_a_redirected_question_is_refused(market: Simulator, rest: Rest) -> None:
    market.rest.script(CHAIN, Answer(302, {}, {"Location": "http://evil.test/"}))
    with pytest.raises(Refused, match="never followed"):
        rest.chain("IWM", "call", "2026-11-20")


@pytest.mark.fault("R18")
def test_a_contract_that_is_unknown_or_another_is_no_price(market: Simulator, rest: Rest) -> None:
    with pytest.raises(TryAgain, match="404"):
        rest.contract("O:IWM261120C00999000")
    market.rest.script(ONE, Answer(200, {"status": "OK", "results": a_row()}))
    with pytest.raises(TryAgain, match="another contract"):
        rest.contract("O:IWM261120C00221000")


@pytest.mark.fault("R14")
def test_what_was_malformed_is_counted(market: Simulator, rest: Rest) -> None:
    market.rest.script(CHAIN, Answer(200, {"status": "OK", "results": [a_row(), {"details": 5}, a_row(open_interest="x")]}))
    assert len(rest.chain("IWM", "call", "2026-11-20")) == 1
    assert rest.dropped == {"row: malformed": 2}


def test_seconds_are_in_order_within_their_bounds_and_sound(market: Simulator, rest: Rest) -> None:
    def second(start: int, **more: Any) -> dict[str, Any]:
        return {"t": start * 1000, "o": 220, "h": 220, "l": 220, "c": 220, "v": 5, "vw": 220, **more}

    rows = [
        second(AT - 1),
        second(AT - 3),
        second(AT - 2, c=500),
        second(AT),
        second(AT - 1, v=9),
        second(AT - 60),
        second(AT - 4, vw=None),
    ]
    market.rest.script(AGGS, Answer(200, {"status": "OK", "results": rows}))
    bars = rest.second_bars("IWM", AT - 10, AT)
    assert [(one.start, one.volume) for one in bars] == [(AT - 3, 5.0), (AT - 1, 9.0)]
    assert sum(rest.dropped.values()) == 2


def test_minutes_are_by_new_york_date(market: Simulator, rest: Rest) -> None:
    found = rest.minute_bars("IWM", date(2026, 11, 18), date(2026, 11, 19))
    assert sorted(found) == [date(2026, 11, 18), date(2026, 11, 19)]
    assert {len(minutes) for minutes in found.values()} <= set(range(380, 961))


def test_the_close_is_the_last_price_of_the_session_or_none(market: Simulator, rest: Rest) -> None:
    session = SessionCalendar(DAY).on(DAY)
    assert session is not None
    assert rest.session_close("IWM", session) is None
    market.set_clock(at=wall_time(16, 20))
    close = rest.session_close("IWM", session)
    assert close == pytest.approx(market.market.spot(session.close_at - 0.5), abs=0.05)


def test_the_markets_time_is_the_markets(market: Simulator, rest: Rest) -> None:
    assert rest.market_time() == pytest.approx(AT, abs=1.0)
