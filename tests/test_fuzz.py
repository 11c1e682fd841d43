"""100,000 spoiled frames over a socket and 20,000 spoiled chains: nothing dies, nobody reconnects, and no invalid value gets in."""

from __future__ import annotations

import json
import time
from datetime import date
from datetime import time as wall_time
from math import isfinite
from pathlib import Path
from random import Random

import pytest

from config import Config
from contract_selector import select
from edges.stream import StocksSocket
from events import AnyEvent, Bar, BarClosed, ChainRow, FeedConnected, JunkDropped, Quote
from polygon_client import parse_aggs, parse_chain, parse_contract, parse_frame, parse_market_time
from simulator.servers import Simulator
from tests.kit.deskbench import KEYS, Bench
from tests.kit.feed import TEXT, Feed, bar, frame, quote, status, text
from tests.kit.mutate import mutated
from utils import SessionCalendar, SharedClock

AT = 1_795_188_540  # 2026-11-20 10:29 New York
DAY = date(2026, 11, 20)
FRAMES = (
    text(bar("IWM", AT)),
    text(bar("IWM", AT - 1, 220.01, 900), bar("SPY", AT - 1, 600.5)),
    text(bar("IWM", AT, 219.99, o=220.0, h=220.05, l=219.9, vw=219.97)),
    text(status("success", "subscribed to: A.IWM"), bar("IWM", AT - 2)),
    text(quote("O:IWM261120C00220000", 0.49, 0.5, AT * 1000)),
)
NAMES = {"IWM", "SPY", "QQQ", "AAPL", "NVDA"}


def is_right(one: Bar, now: float) -> bool:
    """The rules for bars, word by word."""
    numbers = (one.open, one.high, one.low, one.close, one.volume, one.vwap)
    return (
        all(isinstance(number, float) and isfinite(number) for number in numbers)
        and min(one.open, one.high, one.low, one.close, one.vwap) > 0
        and one.volume >= 0
        and one.high >= one.low
        and one.low <= one.open <= one.high
        and one.low <= one.close <= one.high
        and one.low * 0.99 <= one.vwap <= one.high * 1.01
        and isinstance(one.start, int)
        and one.start <= now + 5
        and one.symbol in NAMES
    )


@pytest.mark.fault("W11", "W12", "W13")
@pytest.mark.parametrize("seed", range(4))
def test_spoiled_frames_kill_nothing_and_let_no_invalid_bar_in(seed: int, tmp_path: Path) -> None:
    random, heard = Random(seed), list[AnyEvent]()
    clock = SharedClock.create(tmp_path / "clock", AT + 3.0, 0.0)
    with Feed() as feed:
        config = Config.from_env({**KEYS, "POLYGON_WS_URL": feed.url})
        edge = StocksSocket(heard.append, config, clock, lambda: False)
        edge.start()
        feed.wait_for(lambda: feed.live)
        for _ in range(25):
            feed.raw(b"".join(frame(TEXT, mutated(random, random.choice(FRAMES))) for _ in range(1000)))
        feed.send(bar("IWM", AT + 1, 220.25))
        deadline = time.monotonic() + 30
        while not (heard and isinstance(heard[-1], BarClosed) and heard[-1].bar.close == 220.25):
            assert edge.is_alive, edge.fault
            assert time.monotonic() < deadline, f"seed {seed}: {heard[-1:]}"
            time.sleep(0.005)
        edge.stop()
        edge.join(5.0)
        assert (feed.accepted, edge.fault) == (1, None)
    bars = [event.bar for event in heard if isinstance(event, BarClosed)]
    wrong = [one for one in bars if not is_right(one, AT + 3.0)]
    assert not wrong, f"seed {seed}: {wrong[:3]}"
    assert {type(event) for event in heard} == {FeedConnected, BarClosed, JunkDropped}
    assert len(bars) > 2000
    assert sum(sum(event.counts.values()) for event in heard if isinstance(event, JunkDropped)) > 5000
    bench = Bench(at="10:28:00").ready()
    for at in range(0, len(bars), 50):
        bench.now = AT + 3.0 + at / 1000
        bench.put(*(BarClosed(at=bench.now, bar=one) for one in bars[at : at + 50]))
        reading = bench.desk.market.reading()
        assert reading is None or isfinite(reading.close)
    assert not bench.said("BUY")


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Answers of the simulated market's REST: eight rows around the money, one contract, ten bars, the time."""
    folder = tmp_path_factory.mktemp("market")
    with Simulator(folder / "clock", day=DAY, seed=1, start=wall_time(10, 29), speed=0.0) as market:
        rows = [row for row in market.market.rows(DAY, (0,)) if 0.15 < row.get("greeks", {}).get("delta", 0) < 0.75][:8]
        assert len(rows) >= 3
        for row in rows[:3]:  # so that some may be chosen
            row["greeks"]["delta"], row["open_interest"], row["day"]["volume"] = 0.38, 5000, 9000
            row["last_quote"] |= {"bid": 0.49, "ask": 0.5, "bid_size": 40, "ask_size": 40, "last_updated": AT * 10**9}
        seconds = [{"t": (AT + k) * 1000, "o": 220, "h": 220, "l": 220, "c": 220, "v": 10, "vw": 220.0} for k in range(10)]
        return {
            "chain": json.dumps(
                {"status": "OK", "results": rows, "next_url": "https://api.massive.com/v3/x?cursor=1"}
            ).encode(),
            "contract": json.dumps({"status": "OK", "results": rows[0]}).encode(),
            "aggs": json.dumps({"status": "OK", "results": seconds}).encode(),
            "time": json.dumps({"serverTime": "2026-11-20T10:29:00-05:00", "market": "open"}).encode(),
        }


@pytest.mark.fault("R09", "R12", "R14")
@pytest.mark.parametrize("seed", range(2))
def test_spoiled_chains_raise_nothing_but_what_they_should_and_choose_nothing_invalid(
    seed: int, bodies: dict[str, bytes]
) -> None:
    random, config, session = Random(seed), Config.from_env(KEYS), SessionCalendar(DAY).on(DAY)
    assert session is not None
    chosen = refused = dropped = 0
    for number in range(10_000):
        body = mutated(random, bodies["chain"])
        try:
            rows, url, counts = parse_chain(body)
        except ValueError:
            refused += 1
            continue
        assert url is None or isinstance(url, str)
        dropped += sum(counts.values())
        for row in rows:
            assert row_is_sane(row), f"seed {seed}, number {number}: {row}"
        tracked = select(rows, AT + 1.0, config, session, None).tracked
        chosen += len(tracked)
        for row in tracked:
            assert is_eligible(row), f"seed {seed}, number {number}: {row}"
    assert chosen > 1000
    assert refused > 1000
    assert dropped > 500


def row_is_sane(row: ChainRow) -> bool:
    reals = (row.delta, row.iv, row.underlying, row.volume_at)
    wholes = (row.strike, row.shares, row.volume, row.open_interest)
    return (
        all(number is None or isfinite(number) for number in reals)
        and all(number is None or isinstance(number, int) for number in wholes)
        and row.right in ("call", "put")
        and (row.delta is None or -1 <= row.delta <= 1)
        and (row.quote is None or quote_is_sane(row.quote))
    )


def quote_is_sane(one: Quote) -> bool:
    prices = [side for side in (one.bid, one.ask) if side is not None]
    return all(isinstance(side, int) and 0 <= side < 10**10 for side in prices) and one.bid_size >= 0 and one.ask_size >= 0


def is_eligible(row: ChainRow) -> bool:
    """The filters of the contract, word by word."""
    one = row.quote
    assert one is not None
    assert one.bid is not None
    assert one.ask is not None
    assert one.quoted_at is not None
    assert row.delta is not None
    return (
        row.right == "call"
        and row.shares == 100
        and row.expiration == DAY.isoformat()
        and 0.30 - 1e-9 <= row.delta <= 0.45 + 1e-9
        and 0 < one.bid < one.ask
        and (one.ask - one.bid) * 2 <= 0.04 * (one.ask + one.bid) + 1e-9
        and min(one.bid_size, one.ask_size) >= 20
        and (row.volume or 0) >= 500
        and (row.open_interest or 0) >= 1000
        and AT + 1 - one.quoted_at <= 15
        and not one.delayed
    )


@pytest.mark.fault("R05", "R14")
@pytest.mark.parametrize("kind", ["contract", "aggs", "time"])
def test_other_spoiled_answers_are_values_or_value_errors(kind: str, bodies: dict[str, bytes]) -> None:
    random = Random(kind)
    for _ in range(4_000):
        body = mutated(random, bodies[kind])
        try:
            match kind:
                case "contract":
                    assert row_is_sane(parse_contract(body))
                case "aggs":
                    assert all(isinstance(one.start, int) for one in parse_aggs(body, "IWM")[0])
                case "time":
                    assert isfinite(parse_market_time(body))
        except ValueError:
            continue


def test_spoiled_quotes_of_the_options_stream_are_sane_or_dropped() -> None:
    random = Random(5)
    for _ in range(10_000):
        for _, one in parse_frame(mutated(random, FRAMES[4])).quotes:
            assert quote_is_sane(one)
            assert one.quoted_at is None or isfinite(one.quoted_at)
