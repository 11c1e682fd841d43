"""`python -m simulator`, as a process of its own."""

import json
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import requests

from utils import SharedClock

HOME = Path(__file__).resolve().parents[2]


@pytest.fixture
def start(tmp_path):
    processes = []

    def started(*options):
        command = [sys.executable, "-m", "simulator", "--clock-file", str(tmp_path / "clock"), *options]
        processes.append(subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.wait(5)
        process.stdout.close()


@pytest.mark.process
def test_it_says_its_places_in_one_line_keeps_the_shared_clock_and_ends_when_asked(start, tmp_path):
    process = start("--seed", "3", "--start", "10:29", "--speed", "0", "--ports-file", str(tmp_path / "ports"))
    line = process.stdout.readline()
    places = json.loads(line)
    assert (tmp_path / "ports").read_text() == line
    assert places["day"] == "2026-11-20"
    clock = SharedClock(Path(places["clock_file"]))
    clock.set(now=clock.now() + 60)
    said = requests.get(places["rest"] + "/v1/marketstatus/now", headers={"Authorization": "Bearer k"}, timeout=5).json()
    assert datetime.fromisoformat(said["serverTime"]).timestamp() == clock.now()
    assert said["serverTime"] == "2026-11-20T10:30:00-05:00"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


@pytest.mark.process
def test_a_day_that_is_no_session_is_refused_in_words(start):
    process = start("--day", "2026-11-26")
    assert process.wait(20) == 2
    assert "2026-11-26 is not a trading day" in process.stdout.read()
