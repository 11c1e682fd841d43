"""The checks before the start: what is right, what is wrong with its cure, and an exit code that means it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path

import pytest

from disk.folder import DataFolder
from simulator.http import Answer
from simulator.servers import Simulator

HOME = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("market") / "clock", day=date(2026, 11, 20), bursts=[(30, 1.0)]) as simulator:
        key = simulator.environment(Path("unused"))["POLYGON_API_KEY"]
        simulator.stocks.keys = simulator.rest.keys = {key}
        yield simulator


def diagnose(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    whole = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment}
    done = subprocess.run(
        [sys.executable, "diagnose.py", *arguments],
        cwd=HOME,
        env=whole,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout


def test_a_worker_that_could_trade_passes_every_check_and_the_test_alert_arrives(market: Simulator, tmp_path: Path) -> None:
    code, told = diagnose(market.environment(tmp_path), "--send")
    assert code == 0, told
    assert "✗" not in told
    for what in (
        "packages",
        "settings",
        "session today",
        "can be written",
        "ledger",
        "clock:",
        "in real time",
        "volume profile of 10 sessions",
        "logged in",
        "keys are valid",
    ):
        assert f"{what}" in told
    assert any("test" in message.title for message in market.push.messages)


@pytest.mark.parametrize(
    ("changed", "said", "cure"),
    [
        ({"POLYGON_API_KEY": "another-key-0123456789"}, "the key is not accepted", "check the key"),
        ({"PUSHOVER_URL": "http://127.0.0.1:9"}, "phone: .*no connection", "check PUSHOVER_TOKEN"),
        ({"POLYGON_REST_URL": "http://127.0.0.1:9"}, "no connection", "POLYGON_REST_URL"),
        ({"DELTA_MIN": "0.9"}, "DELTA_MIN", ""),
    ],
)
def test_what_is_wrong_is_said_with_its_cure(
    market: Simulator, tmp_path: Path, changed: dict[str, str], said: str, cure: str
) -> None:
    environment = {**market.environment(tmp_path), **changed}
    code, told = diagnose(environment)
    assert code == 1
    assert re.search(f"(?s)✗.*{said}", told), told
    assert cure in told
    assert not any(value in told for name, value in environment.items() if "TOKEN" in name or "KEY" in name)


def test_beside_a_running_worker_its_feed_is_left_alone(market: Simulator, tmp_path: Path) -> None:
    before = market.stocks.connections
    with DataFolder(tmp_path).lock():
        code, told = diagnose(market.environment(tmp_path))
    assert code == 0, told
    assert "– stocks socket: not tried" in told
    assert market.stocks.connections == before


def test_after_the_cutoff_nothing_is_wrong_but_no_position_could_be_opened(tmp_path: Path) -> None:
    late = {"day": date(2026, 11, 27), "start": time(12, 31)}
    with Simulator(tmp_path / "clock", **late) as market:  # type: ignore[arg-type]
        code, told = diagnose(market.environment(tmp_path / "data"))
    assert code == 2, told
    assert "EARLY CLOSE" in told
    assert "no entries any more today: they ended at 12:30:00 ET" in told


def test_a_plan_without_second_bars_is_said(market: Simulator, tmp_path: Path) -> None:
    market.rest.script("/range/1/second/", Answer(403, {"status": "NOT_AUTHORIZED", "message": "not in your plan"}))
    code, told = diagnose(market.environment(tmp_path))
    assert code == 1
    assert re.search("✗ history: the plan does not include this", told), told


def test_offline_asks_nobody_and_says_so(tmp_path: Path) -> None:
    keys = {
        "POLYGON_API_KEY": "k" * 20,
        "PUSHOVER_TOKEN": "a" * 30,
        "PUSHOVER_USER_KEY": "u" * 30,
        "DATA_DIR": str(tmp_path),
    }
    code, told = diagnose({**keys, "POLYGON_REST_URL": "http://127.0.0.1:9"}, "--offline")
    assert code in (0, 2)  # a weekend is no fault
    assert "✗" not in told
