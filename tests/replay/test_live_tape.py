"""The tape of a real worker on the simulated market: a life that was killed while it held, and the one that came after it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from disk import tape
from replay import redo
from replay.__main__ import main as replay
from tests.kit.worker import DAY, Stage

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]


def live_twice(stage: Stage) -> None:
    """A life that is killed while it holds, and the next, which sells and ends in order."""
    stage.bought()
    stage.quote(1.30, 1.32)
    stage.wait_for_polls(4)
    stage.stop()
    stage.worker.kill()
    stage.start(ready=("position resumed", "the clock is right"))
    stage.go()
    stage.quote(0.80, 0.82)
    stage.wait_for("— SELL")
    stage.worker.signal()
    stage.worker.wait()


@pytest.mark.fault("X01")
def test_a_killed_life_and_the_next_are_decided_again_byte_for_byte(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    live_twice(stage)
    first, second = tape.files_of(stage.data / "tape", DAY)
    killed, ended = redo.check(first), redo.check(second)
    assert (killed.differing, ended.differing) == (0, 0)
    assert killed.ended == "cut: the process was killed"
    assert ended.ended == "the worker stopped"
    assert redo.memory_of(redo.head_of(second)).remembered.position is not None
    assert replay(["verify", str(DAY), "--data-dir", str(stage.data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    assert replay(["run", str(DAY), "--data-dir", str(stage.data), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(trade["entry"], trade["exit"]) for trade in told["trades"]] == [(1.02, 0.8)]
    assert told["agrees"] is True


@pytest.mark.fault("X01")
def test_a_day_of_two_lives_is_reported_as_it_was_recorded(
    stage: Stage, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The trade that the killed life opened and the next one closed: one figure of its mark over both, and nothing modelled."""
    live_twice(stage)
    page = tmp_path / "day.html"
    assert replay(["report", str(DAY), "--data-dir", str(stage.data), "--out", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["source"], told["agrees"], len(told["figures"])) == ("tape", True, 2)
    assert all(Path(figure).stat().st_size > 5_000 for figure in told["figures"])
    text = page.read_text()
    assert "MODELLED" not in text
    assert "://" not in text
    for words in ("as recorded", "$1.02", "$0.80", "0DTE CALL — BUY", "0DTE CALL — SELL", redo.KILLED, "the worker stopped"):
        assert words in text, words
    assert replay(["report", "2026-11-19", "--data-dir", str(stage.data), "--out", str(page)]) == 2
    assert "fetch IWM" in capsys.readouterr().err.replace("\n", " ")
