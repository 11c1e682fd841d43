"""Many sessions: statistics, sweeps here and on a cluster, the store and the report."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from replay import made, paths, store, sweep, worth
from replay.__main__ import main as replay
from replay.show import ReplayError
from replay.store import MadeUp, Stored
from replay.sweep import Try

HOME = Path(__file__).resolve().parents[2]
FIRST, LAST = date(2026, 1, 5), date(2026, 1, 12)
WHEN = [str(FIRST), str(LAST), "--made", "3"]
TRIES = [Try({}), Try({"MAX_SPREAD_PERCENT": "8"}), Try({}, "mid"), Try({}, delay_s=5.0)]


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict:
    assert replay([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def closed(pnl: int, at: float = 1_767_625_200.0) -> paths.Closed:
    return paths.Closed(at, at + 60, 240_000, 500, 500 + pnl // 100, 600, "stop loss", pnl)


def test_worth_of_a_few_trades_by_hand() -> None:
    found = worth.worth([closed(pnl) for pnl in (10_000, -4_000, -6_000, 20_000, 0)], 2, 7)
    assert (found.trades, found.wins, found.losses, found.pnl) == (5, 2, 3, 20.0)
    assert (found.expectancy, found.profit_factor, found.drawdown) == (4.0, 3.0, 10.0)
    assert found.win_rate_low == pytest.approx(0.1176, abs=1e-4)  # Wilson's interval of 2 in 5
    assert found.win_rate_high == pytest.approx(0.7693, abs=1e-4)
    assert found.by_reason["stop loss"] == worth.Part(5, 2, 20.0)
    empty = worth.worth([], 3)
    assert (empty.win_rate, empty.expectancy, empty.profit_factor, empty.pnl) == (None, None, None, 0.0)


def test_a_backtest_says_what_is_modelled_first_and_how_sure_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    answer = told(capsys, "backtest", *WHEN, "--set", "MAX_SPREAD_PERCENT=8")
    assert any("made up" in words for words in answer["modelled"])
    found = answer["worth"]
    assert found["sessions"] == 6
    assert found["win_rate_low"] <= found["win_rate"] <= found["win_rate_high"]
    assert len(answer["equity"]) == found["trades"] == len(answer["trades"])
    varied = {"fill", "fee each way", "stop loss %", "widest spread %", "feed delay", "seed of modelled quotes"}
    assert set(answer["sensitivity"]) == varied
    assert len({found["pnl"] for found in answer["sensitivity"]["seed of modelled quotes"].values()}) > 1
    fills = answer["sensitivity"]["fill"]
    assert fills["mid"]["pnl"] > fills["as ruled"]["pnl"] > fills["one tick worse"]["pnl"]
    fees = answer["sensitivity"]["fee each way"]
    assert fees["$1.00"]["pnl"] == pytest.approx(fees["$0"]["pnl"] - 2 * fees["$0"]["trades"])
    desk = told(capsys, "backtest", *WHEN, "--set", "MAX_SPREAD_PERCENT=8", "--desk")
    assert desk["trades"] == answer["trades"]


def test_a_sweep_shows_the_best_out_of_sample_and_warns(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    grid = tmp_path / "grid.json"
    grid.write_text('{"STOP_LOSS_PERCENT": [10, 20], "MAX_SPREAD_PERCENT": [4, 8], "DELAY": [0, 2]}')
    answer = told(capsys, "sweep", *WHEN, "--grid", str(grid))
    pnl = [item["worth"]["pnl"] for item in answer["settings"]]
    assert len(pnl) == 8
    assert pnl == sorted(pnl, reverse=True)
    assert "8 settings were tried" in answer["warning"]
    for fold in answer["walk_forward"]:
        assert fold["chosen_on"][1] < fold["judged_on"][0]
    parts, whole = [fold["out_of_sample"] for fold in answer["walk_forward"]], answer["out_of_sample"]
    assert whole["pnl"] == pytest.approx(sum(part["pnl"] for part in parts))
    assert (whole["trades"], whole["sessions"]) == (sum(part["trades"] for part in parts), 5)


def test_what_is_chosen_has_not_seen_what_it_is_judged_on() -> None:
    sessions = made.sessions(5, made.calendar_for(5))
    good, bad = paths.Result((closed(1_000),), ()), paths.Result((closed(-1_000),), ())
    rows = [[good, bad]] * 3 + [[bad, good]] * 2  # what was better turns worse after the third session
    folds = sweep.walk_forward(sessions, rows, [Try({"MIN_VOLUME": "1"}), Try({"MIN_VOLUME": "2"})])
    assert folds[2].setting == "MIN_VOLUME=1"
    assert folds[2].out_of_sample.pnl < 0 < folds[2].in_sample.pnl


def test_a_sweep_on_a_real_dask_cluster_gives_the_same() -> None:
    distributed = pytest.importorskip("distributed")
    calendar = made.calendar_for(2)
    sessions = made.sessions(2, calendar)
    here = sweep.results(MadeUp(3), sessions, TRIES)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as there:
        address = there.scheduler_address.replace("tcp://", "dask://")
        assert sweep.results(MadeUp(3), sessions, TRIES, address) == here
    assert any(result.trades for row in here for result in row)


def test_a_sweep_on_a_real_ray_cluster_gives_the_same() -> None:
    pytest.importorskip("ray", reason='no Ray: pip install "ray[client]"')
    sessions = made.sessions(2, made.calendar_for(2))
    here = sweep.results(MadeUp(3), sessions, TRIES)
    with ray_head() as address:
        assert sweep.results(MadeUp(3), sessions, TRIES, address) == here


@contextlib.contextmanager
def ray_head() -> Iterator[str]:
    """A Ray cluster of one node with two workers; its client's address."""
    ports = [free_port() for _ in range(3)]
    folder = tempfile.mkdtemp(prefix="ray")  # the names of its sockets must be short
    options = {
        "node-ip-address": "127.0.0.1", "port": ports[0], "ray-client-server-port": ports[1], "num-cpus": 2,
        "include-dashboard": "false", "object-store-memory": 100_000_000, "temp-dir": folder,
        "min-worker-port": 0, "max-worker-port": 0, "dashboard-agent-listen-port": ports[2],
    }  # fmt: skip
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    head = subprocess.Popen(
        [*command, *(f"--{name}={value}" for name, value in options.items())],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in (str(HOME), *sys.path) if path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert head.stdout is not None
        said = list(itertools.takewhile(lambda line: "Ray runtime started" not in line, head.stdout))
        assert head.poll() is None, "".join(said[-20:])
        yield f"ray://127.0.0.1:{ports[1]}"
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.terminate()  # it ends its children
            head.communicate(timeout=20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"STOP_LOSS_PERCENT": [10, 200]}', "STOP_LOSS_PERCENT is 200"),
        ('{"STOP_LOS_PERCENT": [10]}', "STOP_LOSS_PERCENT is the nearest"),
        ('{"LOG_LEVEL": ["DEBUG"]}', "LOG_LEVEL changes nothing here"),
        ('{"STOP_LOSS_PERCENT": []}', "has no value"),
        ('{"DELAY": ["soon"]}', "DELAY soon is no number"),
        ("[]", "no grid"),
        ('{"FILL": ["free"]}', "FILL free"),
    ],
)
def test_a_grid_that_cannot_be_is_a_plain_error(
    text: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    grid = tmp_path / "grid.json"
    grid.write_text(text)
    assert replay(["sweep", *WHEN, "--grid", str(grid)]) == 2
    assert words in capsys.readouterr().err.replace("\n", " ")


def test_a_cluster_that_is_not_there_is_a_plain_error() -> None:
    words = "needs Ray's client" if importlib.util.find_spec("ray") is None else "cannot be reached"
    for address, reason in (("moon://1", "no cluster"), ("ray://127.0.0.1:1", words)):
        with pytest.raises(ReplayError, match=reason), sweep.cluster(address):
            pass


def test_the_store_gives_back_sessions_with_the_profile_of_their_past(tmp_path: Path) -> None:
    calendar = made.calendar_for(11)
    sessions = made.sessions(11, calendar)
    for session in sessions:
        day = made.session_of(1, session)
        store.keep(tmp_path, "IWM", "second", session.date, day.own)
        store.keep(tmp_path, "SPY", "second", session.date, day.leader)
        store.keep(tmp_path, "IWM", "minute", session.date, day.own.take(slice(0, None, 60)))
    source = Stored(tmp_path, "IWM", "SPY")
    _, found = store.sessions(source, sessions[0].date, sessions[-1].date)
    assert found == sessions
    day = source.day(sessions[-1], calendar)
    assert len(day.own) == 23_400
    assert day.profile is not None
    first_minutes = [made.session_of(1, session).own.volume[0] for session in sessions[:-1]]
    assert day.profile[0] == pytest.approx(sum(first_minutes) / 10)
    assert source.day(sessions[0], calendar).profile is None
    with pytest.raises(ReplayError, match="fetch IWM"):
        store.sessions(Stored(tmp_path / "none", "IWM", "SPY"), FIRST, LAST)


@pytest.mark.parametrize("last", [FIRST, LAST])
def test_a_report_is_one_page_that_needs_nothing_else(
    last: date, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    answer = told(
        capsys, "report", str(FIRST), str(last), "--made", "3", "--set", "MAX_SPREAD_PERCENT=8", "--out", str(page)
    )
    text = page.read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert text.index("MODELLED") < text.index('class="plot"')
    assert all(Path(figure).stat().st_size > 5_000 for figure in answer["figures"])
    assert len(answer["figures"]) >= 2
