"""The supervisor: an edge that ends, dies or hangs is noticed and replaced, whatever it was that ended it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from datetime import time as wall_time
from pathlib import Path

import pytest

from config import Config
from desk.desk import Desk
from edges import edge as threads
from edges.edge import Edge
from edges.stream import StocksSocket
from events import Remembered
from main import Worker
from simulator.servers import Simulator

DAY = date(2026, 11, 20)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Simulator]:
    """A market at 10:29 that stands still until its clock is set."""
    with Simulator(tmp_path / "clock", day=DAY, seed=1, start=wall_time(10, 29), speed=0.0) as simulator:
        yield simulator


class Idle(Edge):
    """An edge that does what it is told: nothing."""

    def run(self) -> None:
        while not self.stopping.wait(0.05):
            self.beat()


class Ended(Idle):
    """A loop that returns as if that were all: what the vendor's own client does after a close with 1000."""

    def run(self) -> None:
        return


@pytest.fixture
def supervise(market: Simulator) -> Iterator[Callable[..., Worker]]:
    """A worker's main loop over edges of the test's own."""
    loops: list[tuple[Worker, threading.Thread]] = []

    def start(makers: dict[str, Callable[[Worker], Edge]]) -> Worker:
        config = Config.from_env(market.environment(market.clock_file.parent / "data"))
        config.data_dir.mkdir(parents=True)
        worker = Worker(config, market.clock)
        remembered = worker._open_ledger()
        assert isinstance(remembered, Remembered)
        worker.desk = Desk(config, worker.calendar, remembered)
        names = ("phone", "phone sell", "errands", "quotes", "chain", "stocks")
        for name in names:
            make = makers.get(name, lambda worker: Idle(worker.inbox.put))
            worker.makers[name] = lambda make=make: make(worker)  # type: ignore[misc]
            worker.edges[name] = worker.makers[name]()
            worker.edges[name].start()
        loop = threading.Thread(target=worker._loop)
        loops.append((worker, loop))
        loop.start()
        return worker

    yield start
    for worker, loop in loops:
        worker.exit_code = 0
        loop.join(5.0)
        worker._stop_edges()


@pytest.mark.fault("W25", "A3")
def test_a_socket_whose_loop_ends_in_silence_is_replaced_within_a_second_and_a_bit(
    supervise: Callable[..., Worker], market: Simulator
) -> None:
    made: list[float] = []

    def make(worker: Worker) -> Edge:
        made.append(time.monotonic())
        if len(made) == 1:
            return Ended(worker.inbox.put)
        return StocksSocket(worker.inbox.put, worker.config, worker.clock, lambda: True)

    market.set_clock(speed=1.0)
    worker = supervise({"stocks": make})
    market.stocks.wait_for_subscriber("A.IWM")
    assert made[1] - made[0] <= 1.0
    assert len(worker.replaced) == 1


@pytest.mark.fault("A10")
def test_an_edge_that_dies_of_anything_is_replaced_and_the_phone_is_told(
    supervise: Callable[..., Worker], market: Simulator
) -> None:
    class Doomed(Idle):
        def run(self) -> None:
            raise SystemExit  # which ends a thread in silence

    lives: list[Edge] = []

    def make(worker: Worker) -> Edge:
        lives.append((Doomed if not lives else Idle)(worker.inbox.put))
        return lives[-1]

    market.set_clock(speed=1.0)
    worker = supervise({"chain": make})

    def told() -> bool:
        return any("chain" in row.alert.title + row.alert.text for row in worker.desk.state.outbox.values())

    deadline = time.monotonic() + 5
    while not told() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert told()
    assert len(lives) == 2
    assert worker.edges["chain"].is_alive


@pytest.mark.fault("X15")
def test_an_edge_without_a_sign_of_life_is_replaced(
    supervise: Callable[..., Worker], market: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "STUCK_S", 0.7)
    blocked = threading.Event()

    class Stuck(Idle):
        def run(self) -> None:
            blocked.wait(20)

    lives: list[Edge] = []

    def make(worker: Worker) -> Edge:
        lives.append((Stuck if not lives else Idle)(worker.inbox.put))
        return lives[-1]

    market.set_clock(speed=1.0)
    worker = supervise({"chain": make})
    deadline = time.monotonic() + 5
    while len(lives) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    blocked.set()
    assert len(lives) == 2
    assert worker.exit_code is None


@pytest.mark.fault("X19")
@pytest.mark.parametrize(("crashes", "told"), [(0.0, 1), (2.0, 0)])
def test_of_a_row_of_crashes_only_the_first_are_told_as_such(
    market: Simulator, supervise: Callable[..., Worker], crashes: float, told: int
) -> None:
    worker = supervise({})
    worker.desk.remembered = Remembered(facts={"running_since": 0.0, "alive_at": 1.0, "crashes": crashes})
    worker._give_up("the disk failed")
    assert len(market.push.messages) == told
    assert worker.exit_code == 70
