"""Which broker a mode means: its own host, or the place that the settings name; and that it answers."""

from __future__ import annotations

import pytest

from brokers.alpaca.broker import Alpaca
from brokers.paper import Paper
from brokers.registry import made
from strategies.scalper.settings import read
from tests.kit.alpaca_venue import TEN, open_venue

KEYS = {"ALPACA_KEY_ID": "K" * 20, "ALPACA_SECRET_KEY": "S" * 40}


def sections(**given: str):
    settings, faults = read({"SCALPER_BROKER": "alpaca-paper", **KEYS, **given})
    assert settings is not None, faults
    return {"scalper": settings}


def test_paper_is_made_of_the_executions_that_the_books_have() -> None:
    assert isinstance(made("paper", lambda: TEN, (), {}), Paper)


def test_an_account_at_alpaca_is_asked_where_the_settings_say() -> None:
    with open_venue() as venue:
        broker = made(
            "alpaca-paper", lambda: TEN, (), sections(ALPACA_URL=venue.rest.url, ALPACA_STREAM_URL="ws://127.0.0.1:1/s")
        )
        assert isinstance(broker, Alpaca)
        try:
            taken = broker.snapshot(TEN - 3600)
            assert (taken.complete, taken.reason, taken.mode) == (True, "", "alpaca-paper")
        finally:
            broker.close()


def test_a_mode_that_nobody_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no broker for ibkr-live"):
        made("ibkr-live", lambda: TEN, (), {})
