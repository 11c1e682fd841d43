"""History by REST from the simulated market: complete, once, and going on where it was broken off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path

import pytest

from replay import fetch, history, store
from replay.__main__ import main as replay
from replay.bars import kept
from replay.store import Stored
from simulator.servers import Simulator

DAY = date(2026, 11, 19)


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    monkeypatch.setattr(history, "REQUESTS_PER_S", 1000.0)
    monkeypatch.setattr(fetch, "QUOTES_PIECE_S", 7200)
    monkeypatch.chdir(tmp_path)
    with Simulator(tmp_path / "clock", day=date(2026, 11, 20), start=time(10, 29), speed=0.0) as simulator:
        for name, value in simulator.environment(tmp_path / "data").items():
            monkeypatch.setenv(name, value)
        yield simulator


def fetched(capsys: pytest.CaptureFixture[str], tmp_path: Path, *, code: int = 0) -> dict:
    where = ["--data-dir", str(tmp_path / "data"), "--json"]
    assert replay(["fetch", "IWM", str(DAY), str(DAY), *where]) == code
    return json.loads(capsys.readouterr().out)


def test_a_session_and_the_minutes_of_its_past_are_fetched_once(
    market: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = fetched(capsys, tmp_path)
    assert (first["sessions"], first["fetched"], first["there_already"], first["without_bars"]) == (1, 12, 0, [])
    again = fetched(capsys, tmp_path)
    assert (again["fetched"], again["there_already"], again["requests"]) == (0, 12, 0)
    day = market.market.day(DAY)
    assert day is not None
    bars = kept(store.file_of(tmp_path / "data", "IWM", "second", DAY))
    truth = day.columns["IWM"]
    inside = bars.between(day.session.open_at, day.session.close_at)
    assert inside.start.tolist() == truth.start.tolist()
    assert inside.close.tolist() == truth.close.tolist()
    calendar, (session,) = store.sessions(Stored(tmp_path / "data", "IWM", "SPY"), DAY, DAY)
    one = Stored(tmp_path / "data", "IWM", "SPY").day(session, calendar)
    assert one.profile is not None
    assert min(one.profile) > 0


def test_what_was_broken_off_goes_on_where_it_was(
    market: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYGON_REST_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(fetch, "PAUSE_MAX_S", 0.01)
    assert "goes on from here" in fetched(capsys, tmp_path, code=2)["error"]
    monkeypatch.setenv("POLYGON_REST_URL", market.rest.url)
    whole = fetched(capsys, tmp_path)
    kept = store.file_of(tmp_path / "data", "IWM", "minute", DAY)
    kept.unlink()
    missing = fetched(capsys, tmp_path)
    assert (whole["fetched"], missing["fetched"], missing["there_already"]) == (12, 1, 11)


def test_the_day_that_is_not_over_is_not_fetched(
    market: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data-dir", str(tmp_path / "data"), "--json"]
    assert replay(["fetch", "IWM", "2026-11-20", "2026-11-20", *where]) == 0
    assert json.loads(capsys.readouterr().out)["sessions"] == 0
