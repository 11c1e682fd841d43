"""What the tests of processes share: one scripted market a test process, made new for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.worker import Stage


@pytest.fixture(scope="session")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("market"))
    yield stage
    stage.close()


@pytest.fixture
def stage(shared_stage: Stage, tmp_path: Path) -> Iterator[Stage]:
    """A scripted market in the middle of a rise, standing still, and a folder for the worker."""
    yield shared_stage.fresh(tmp_path)
    shared_stage.end_lives()


LONG_FIRST = ("tests/chaos/", "tests/test_worker_process.py", "tests/replay/", "tests/dashboard/", "tests/simulator/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that no core waits for the other; what is compiled is compiled by one process."""
    for item in items:
        if item.nodeid.startswith("tests/replay/"):
            item.add_marker(pytest.mark.xdist_group("compiled"))
    rank = {place: number for number, place in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: next((rank[place] for place in LONG_FIRST if item.nodeid.startswith(place)), len(rank)))
