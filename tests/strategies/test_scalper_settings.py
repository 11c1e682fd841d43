"""The scalper's settings: what may be given, what is refused, what cannot hold together; all faults in one answer."""

from __future__ import annotations

from datetime import time
from decimal import Decimal

import pytest

from setting import allowed, description_of, shown
from strategies.scalper.settings import Settings, fields, read, ruled


def faults(**given: str) -> list[str]:
    return read(given)[1]


def settings(**given: str) -> Settings:
    made, wrong = read(given)
    assert made is not None, wrong
    return made


def test_nothing_given_is_the_rules_of_the_house() -> None:
    made = settings()
    assert made.symbols == ("QQQ", "IWM", "AAPL", "AMZN", "AVGO", "GOOGL", "META", "MSFT", "NVDA", "TSLA")
    assert (made.ema_fast, made.ema_slow, made.rsi_rule, made.volume_ratio) == (9, 21, "level", Decimal("2.0"))
    assert (made.broker, made.live, made.max_trades, made.max_losses) == ("paper", None, 4, 2)
    assert (made.force_close, made.auto_min_confidence) == (time(11, 30), Decimal("0.80"))


def test_every_setting_says_what_it_is_for_and_what_it_takes_and_takes_its_own_default() -> None:
    for name, field in fields().items():
        assert description_of(field)
        assert allowed(field)
        if field.default is not None:
            assert faults(**{name: shown(field.default)}) == []


@pytest.mark.parametrize(
    "given",
    [
        {"SCALPER_MAX_TRADES": "5"}, {"SCALPER_MAX_LOSSES": "3"}, {"SCALPER_RISK_PERCENT": "2.1"},
        {"SCALPER_MAX_CONTRACTS": "11"}, {"SCALPER_AUTO_MIN_CONFIDENCE": "1"}, {"SCALPER_RSI_RULE": "both"},
        {"SCALPER_WINDOW_START": "09:30"}, {"SCALPER_FORCE_CLOSE": "15:01"}, {"SCALPER_BENCHMARK": "S&P"},
        {"SCALPER_BROKER": "alpaca"}, {"SCALPER_EMA_FAST": "nine"}, {"SCALPER_SYMBOLS": ",".join("ABCDEFGHIJK")},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused_with_what_is_allowed(given: dict[str, str]) -> None:
    (name,) = given
    (line,) = faults(**given)
    assert line.startswith(f"{name} is ")
    assert "allowed is" in line


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"EMA_FAST": "21"}, "EMA_FAST must be below"),
        ({"VOLUME_MIN_BARS": "21"}, "VOLUME_MIN_BARS must not be above"),
        ({"WINDOW_START": "10:30", "WINDOW_END": "10:30"}, "WINDOW_START must be before"),
        ({"DELTA_MIN": "0.60"}, "DELTA_MIN must be below"),
        ({"DELTA_TARGET": "0.61"}, "DELTA_TARGET must not be above"),
        ({"DELTA_MIN": "0.46"}, "DELTA_MIN must not be above"),
        ({"TARGET_1_PERCENT": "50"}, "TARGET_1_PERCENT must be below"),
        ({"STOP_AFTER_TARGET_PERCENT": "51"}, "STOP_AFTER_TARGET_PERCENT must not be above"),
        ({"ENTRY_STEP_SECONDS": "13"}, "ENTRY_STEP_SECONDS must not be above"),
        ({"AUTO_START": "11:00"}, "AUTO_START must be before"),
        ({"WINDOW_START": "10:01"}, "WINDOW_START must not be after"),
        ({"AUTO_END": "11:31"}, "AUTO_END must not be after"),
        ({"FORCE_CLOSE": "11:29"}, "WINDOW_END must not be after"),
        ({"BENCHMARK": "QQQ"}, "cannot outperform itself"),
        ({"AUTO_MIN_CONFIDENCE": "0.66"}, "loses by its own figures"),
        ({"STOP_PERCENT": "99", "AUTO_MIN_CONFIDENCE": "0.79"}, "loses by its own figures"),
    ],
    ids=str,
)
def test_what_cannot_hold_together_stops_the_start(given: dict[str, str], words: str) -> None:
    told = faults(**{f"SCALPER_{name}": value for name, value in given.items()})
    assert any(words in line for line in told), told


KEYS = {"ALPACA_KEY_ID": "K" * 20, "ALPACA_SECRET_KEY": "S" * 40}


@pytest.mark.fault("B10")
def test_real_money_needs_two_switches_and_alpaca_its_keys_and_its_own_host() -> None:
    live = {"SCALPER_BROKER": "alpaca-live", **KEYS}
    assert faults(**live) == ["SCALPER_BROKER alpaca-live needs SCALPER_LIVE, the account's number in full"]
    assert settings(**live, SCALPER_LIVE="123456789").broker == "alpaca-live"
    assert faults(SCALPER_BROKER="alpaca-paper") == ["SCALPER_BROKER of Alpaca needs ALPACA_KEY_ID and ALPACA_SECRET_KEY"]
    paper = {"SCALPER_BROKER": "alpaca-paper", **KEYS}
    assert faults(**paper, ALPACA_URL="http://127.0.0.1:1", ALPACA_STREAM_URL="ws://127.0.0.1:1/stream") == []
    assert faults(**paper, ALPACA_URL="https://paper-api.alpaca.markets") == []
    (line,) = faults(**paper, ALPACA_URL="https://api.alpaca.markets")
    assert line == "ALPACA_URL must be SCALPER_BROKER's own host, or this machine"


def test_all_faults_come_at_once_and_none_shows_a_secret() -> None:
    told = faults(ALPACA_SECRET_KEY="not a key!", SCALPER_MAX_TRADES="9", SCALPER_EMA_FAST="50")
    assert len(told) == 3
    assert "not a key!" not in "".join(told)
    assert "K" * 20 not in repr(settings(**KEYS))


def test_a_models_rules_are_those_of_signal_contract_and_exits() -> None:
    names = set(ruled())
    assert {"SCALPER_EMA_FAST", "SCALPER_DELTA_MIN", "SCALPER_STOP_PERCENT", "SCALPER_SYMBOLS"} <= names
    assert not {"SCALPER_MAX_TRADES", "SCALPER_BROKER", "ALPACA_URL"} & names
