"""`python main.py --demo`, whole: the worker and the market as processes, a BUY and its SELL on the screen."""

import os
import re
import subprocess
import sys
from datetime import time
from pathlib import Path

import pytest

from simulator.demo import BURST_AFTER_S, DAY, START, first_signal, parser, run

HOME = Path(__file__).resolve().parents[2]
SECONDS = HOME.parent / "shared" / "data" / "seconds"


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HOME / "main.py"), "--demo", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.process
def test_the_demo_shows_a_buy_its_position_and_a_sell_and_says_where_the_account_is(tmp_path):
    shown = demo(tmp_path, "--speed", "8")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert shown.stdout.index("CALL — BUY") < shown.stdout.index("mark 0.") < shown.stdout.index("CALL — SELL")
    assert "📈 Signal conditions" in shown.stdout
    assert re.search(r"lifetime +[+-]?\$\d+\.\d\d", shown.stdout)
    for name in ("ledger", "log"):
        (place,) = re.findall(rf"^{name} +(\S+)", shown.stdout, re.MULTILINE)
        assert (tmp_path / place).is_file()
    assert "Traceback" not in shown.stdout + shown.stderr
    again = shown.stdout.splitlines()[-1].split()
    decided = subprocess.run(
        again, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(HOME)}, capture_output=True, text=True
    )
    assert decided.returncode == 0, decided.stdout + decided.stderr
    assert "the same" in decided.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--day", "2026-11-26"], "2026-11-26 is not a trading day"),
        (["--speed", "0"], "--speed takes a number above 0"),
        (["--bars", "nowhere.csv"], "No such file"),
        (["--start", "09:31"], "ten minutes behind it"),
    ],
)
def test_options_that_cannot_be_used_are_refused_in_a_sentence(tmp_path, monkeypatch, capsys, options, said):
    monkeypatch.chdir(tmp_path)
    assert run(options) == 2
    assert said in " ".join(capsys.readouterr().out.split())


def test_the_default_showing_has_its_signal_within_a_minute_of_market(open_market):
    since_open = (START.hour - 9) * 3600 + (START.minute - 30) * 60
    chosen = parser().parse_args([])
    sim = open_market(day=DAY, seed=chosen.seed, start=START, bursts=[(since_open + BURST_AFTER_S, 1.0)], half_strikes=True)
    begin = sim.market.session.at(START)
    at = first_signal(sim, sim.market.day(DAY), begin + 5)
    assert at is not None
    assert at <= begin + BURST_AFTER_S + 5
    sim.set_clock(at=at + 3.0)
    rows = [row for row in sim.market.rows(DAY) if 0.30 <= row["greeks"].get("delta", 0) <= 0.45]
    quotes = [row["last_quote"] for row in rows]
    assert any((quote["ask"] - quote["bid"]) / quote["midpoint"] <= 0.04 for quote in quotes), (
        "a contract passes the filters"
    )


@pytest.mark.skipif(not SECONDS.exists(), reason="the recorded seconds are not here")
def test_a_file_of_real_seconds_begins_before_its_first_signal(open_market):
    sim = open_market(bars=SECONDS / "SPY_20131007.csv.gz", start=START)
    day = sim.market.day(sim.market.session.date)
    at = first_signal(sim, day, sim.market.session.at(time(10, 4)))
    assert at is not None
    assert at > sim.market.session.at(time(10, 4))
