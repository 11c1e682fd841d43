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
