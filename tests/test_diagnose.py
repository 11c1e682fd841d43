"""The checks before the start: what is right, what is wrong with its cure, and an exit code that means it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date, datetime, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from disk.folder import DataFolder
from simulator.http import Answer
from simulator.servers import Simulator
from utils import NEW_YORK, SharedClock

HOME = Path(__file__).resolve().parents[1]
KEYS = {"POLYGON_API_KEY": "k" * 20, "PUSHOVER_TOKEN": "a" * 30, "PUSHOVER_USER_KEY": "u" * 30}


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
        ({"PUSHOVER_URL": "http://127.0.0.1:9"}, "phone: .*no connection", "check the network and PUSHOVER_URL"),
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


def test_every_channel_that_is_set_gets_a_test_and_the_dead_man_service_a_ping(market: Simulator, tmp_path: Path) -> None:
    class Hook(BaseHTTPRequestHandler):
        heard: ClassVar[list[str]] = []

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.heard.append(f"{self.command} {self.path} {self.rfile.read(length).decode()}")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_port}"
        channels = {"FALLBACK_ALERT_URLS": f"json://{place}/hook-canary", "HEARTBEAT_URL": f"http://{place}/ping-canary"}
        code, told = diagnose({**market.environment(tmp_path), **channels}, "--send")
        server.shutdown()
    assert code == 0, told
    assert "✓ test alert by FALLBACK_ALERT_URLS sent" in told
    assert "✓ HEARTBEAT_URL was pinged" in told
    assert any("/hook-canary" in line and "A test alert" in line for line in Hook.heard)
    assert any(line.startswith("GET /ping-canary") for line in Hook.heard)
    assert "canary" not in told
    dead = {"FALLBACK_ALERT_URLS": "json://127.0.0.1:9/x", "HEARTBEAT_URL": "http://127.0.0.1:9/x"}
    code, told = diagnose({**market.environment(tmp_path), **dead}, "--send")
    assert code == 1
    assert "✗ test alert by FALLBACK_ALERT_URLS: " in told
    assert "✗ the heartbeat did not get through: no connection" in told


def test_without_a_network_no_key_is_blamed(tmp_path: Path) -> None:
    nobody = "127.0.0.1:9"
    places = {"POLYGON_REST_URL": f"http://{nobody}", "PUSHOVER_URL": f"http://{nobody}"}
    sockets = {"POLYGON_WS_URL": f"ws://{nobody}/x", "POLYGON_OPTIONS_WS_URL": f"ws://{nobody}/x"}
    code, told = diagnose({**KEYS, "DATA_DIR": str(tmp_path), **places, **sockets})
    assert code == 1
    cures = re.findall(r"→ (.*)", told)
    assert cures
    assert all("the network" in cure for cure in cures), told
    assert not any(name in told for name in KEYS)


def test_it_says_where_settings_were_looked_for(tmp_path: Path) -> None:
    code, told = diagnose({})
    assert code == 1
    assert f"settings are read from the environment and from {HOME / '.env'}" in told
    _, told = diagnose({**KEYS, "DATA_DIR": str(tmp_path)}, "--offline")
    assert f"✓ settings: the environment, and {HOME / '.env'}" in told


def test_on_a_saturday_it_speaks_of_saturday(tmp_path: Path) -> None:
    saturday = NEW_YORK.localize(datetime.combine(date(2026, 11, 28), time(11))).timestamp()
    SharedClock.create(tmp_path / "clock", saturday, 0.0)
    here = "127.0.0.1:9"
    places = {"POLYGON_REST_URL": f"http://{here}", "PUSHOVER_URL": f"http://{here}", "POLYGON_WS_URL": f"ws://{here}/x"}
    clock = {"CLOCK_FILE": str(tmp_path / "clock"), "POLYGON_OPTIONS_WS_URL": f"ws://{here}/x"}
    code, told = diagnose({**KEYS, "DATA_DIR": str(tmp_path / "data"), **places, **clock}, "--offline")
    assert code == 2
    last = told.splitlines()[-1]
    assert "no session today, Saturday 2026-11-28, the next one is Monday 2026-11-30" in last
    assert "any more" not in told


def test_a_console_that_is_not_utf8_gets_words_for_marks(tmp_path: Path) -> None:
    code, told = diagnose({**KEYS, "DATA_DIR": str(tmp_path), "PYTHONIOENCODING": "ascii"}, "--offline")
    assert code in (0, 2)
    assert "ok packages" in told
    assert told.isascii()


def test_offline_asks_nobody_and_says_so(tmp_path: Path) -> None:
    code, told = diagnose({**KEYS, "DATA_DIR": str(tmp_path), "POLYGON_REST_URL": "http://127.0.0.1:9"}, "--offline")
    assert code in (0, 2)  # a weekend is no fault
    assert "✗" not in told
