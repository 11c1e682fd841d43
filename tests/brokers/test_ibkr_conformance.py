"""The broker at TWS under the conformance suite, with the real library on a TWS on loopback."""

import pytest

pytest.register_assert_rewrite("tests.brokers.conformance")

from events import Order  # noqa: E402
from tests.brokers.conformance import *  # noqa: E402, F403
from tests.brokers.conformance import an_order, bought, closing  # noqa: E402
from tests.kit.tws_rig import TwsRig, tws_rig  # noqa: E402


@pytest.fixture
def rig(monkeypatch):
    with tws_rig(monkeypatch) as made:
        yield made


def test_a_market_sell_fills_at_the_bid(rig: TwsRig):
    """No market order leaves for TWS: it is refused here, with its reason."""
    bought(rig)
    order: Order = an_order(rig, "TY-20261120-9-FLATTEN-1", None, 2, closing(rig))
    answer = rig.broker.place(order)
    assert (answer.answer, answer.reason) == ("rejected", "a market order is never sent")
    assert rig.venue.record.misuses == []
