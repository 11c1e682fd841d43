"""Alpaca on its venue under the conformance suite."""

import pytest

pytest.register_assert_rewrite("tests.brokers.conformance")

from tests.brokers.conformance import *  # noqa: E402, F403
from tests.kit.rigs import rig_of  # noqa: E402


@pytest.fixture
def rig():
    with rig_of("alpaca") as made:
        yield made
