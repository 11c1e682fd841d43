"""The tape: what was decided can be decided again, whatever became of the process, the disk or the day."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from config import Config
from desk.state import Memory
from disk import tape
from disk.tape import End, Recorded
from events import HalfSecondPassed, ProfileArrived, Remembered
from replay import redo
from replay.__main__ import main as replay
from strategies.registry import build
from tests.kit.deskbench import DAY, KEYS
from tests.kit.taped import Taped
from utils import SessionCalendar


@pytest.fixture
def taped(tmp_path: Path) -> Callable[..., Taped]:
    return lambda **given: Taped(tmp_path, **given)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "tape").rglob("*.zst"))


def a_trade(bench: Taped) -> None:
    bench.bought()
    assert bench.phase == "Holding"
    for bid in (600, 620, 480, 380):
        bench.tick(1.0)
        bench.quote(bid, bid + 10)
    assert bench.phase == "Flat"


def test_a_day_with_a_trade_is_decided_again_byte_for_byte(taped: Callable[..., Taped], tmp_path: Path) -> None:
    bench = taped()
    a_trade(bench)
    bench.tape.stop()
    (path,) = files(tmp_path)
    checked = redo.check(path)
    assert (checked.differing, checked.ended) == (0, "the worker stopped")
    assert checked.batches > 100
    story = redo.Story()
    for done in redo.redo(path):
        story.take(done.actions)
    assert [trade.id for trade in story.trades] == ["20261120-1"]


def test_another_answer_of_the_desk_is_found(taped: Callable[..., Taped], tmp_path: Path) -> None:
    bench = taped()
    a_trade(bench)
    bench.tape.stop()
    (path,) = files(tmp_path)
    stricter = redo.desk_of(redo.head_of(path))
    stricter.config = Config.from_env({**KEYS, "STOP_LOSS_PERCENT": "99", "MAX_GIVEBACK_PERCENT": "99"})
    assert not all(done.agrees for done in redo.redo(path, stricter))


@pytest.mark.fault("X01")
def test_a_killed_process_loses_at_most_the_cut_last_line(taped: Callable[..., Taped], tmp_path: Path) -> None:
    bench = taped()
    bench.ready()
    bench.tape._empty()  # what the tape's thread does twice a second
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    kept = [sum(isinstance(record, Recorded) for record in tape.read(path))]
    bench.surge()
    bench.tape._empty()
    grown = path.read_bytes()
    for cut in (len(whole), len(whole) + 1, (len(whole) + len(grown)) // 2, len(grown) - 1):
        path.write_bytes(grown[:cut])
        kept.append(sum(isinstance(record, Recorded) for record in tape.read(path)))
        assert redo.check(path).differing == 0
        assert redo.check(path).ended == "cut: the process was killed"
    assert kept == sorted(kept)
    assert kept[0] > 0


def test_a_life_after_a_kill_begins_a_tape_of_its_own(taped: Callable[..., Taped], tmp_path: Path) -> None:
    taped().start().tape._empty()
    taped().start().tape._empty()
    assert len(files(tmp_path)) == 2


def test_no_secret_is_on_the_tape_and_the_settings_are(taped: Callable[..., Taped], tmp_path: Path) -> None:
    bench = taped(STOP_LOSS_PERCENT="20", FALLBACK_ALERT_URLS="ntfy://ntfy.sh/very-secret-topic", DASHBOARD_TOKEN="t" * 20)
    bench.start()
    bench.tape.stop()
    (path,) = files(tmp_path)
    text = "\n".join(str(record) for record in tape.read(path))
    for secret in (*KEYS.values(), "very-secret-topic", "t" * 20):
        assert secret not in text
    again = redo.head_of(path).config()
    assert again.stop_loss_percent == 20
    assert again.non_defaults() == bench.config.non_defaults()
    assert redo.check(path).differing == 0


def test_a_new_day_begins_a_file_that_needs_no_other(taped: Callable[..., Taped], tmp_path: Path) -> None:
    bench = taped(at="23:59:50", day=DAY)
    bench.start()
    bench.tick(30.0)
    bench.tape.stop()
    first, second = files(tmp_path)
    assert (first.parent.name, second.parent.name) == ("2026-11-20", "2026-11-21")
    assert redo.check(first).ended == "the day ended"
    assert redo.check(second).batches > 10
    assert redo.check(second).differing == 0


def test_what_the_desk_could_not_decide_is_kept_and_fails_again(taped: Callable[..., Taped], tmp_path: Path) -> None:
    bench = taped()
    bench.start()
    bench.put(ProfileArrived(at=bench.now, symbol="IWM", date=str(DAY), minutes=(1.0,), sessions=()))
    bench.tick(1.0)
    bench.tape.stop()
    (path,) = files(tmp_path)
    assert [record.raised for record in tape.read(path) if isinstance(record, Recorded) and record.raised] == [
        {"vwap": "ValueError"}
    ]
    assert redo.check(path).differing == 0


def test_no_more_days_and_megabytes_than_allowed_are_kept(taped: Callable[..., Taped], tmp_path: Path) -> None:
    for day in range(1, 10):
        (tmp_path / "tape" / f"2026-10-{day:02}").mkdir(parents=True)
    bench = taped(TAPE_DAYS="3", TAPE_MEGABYTES="1")
    bench.start()
    bench.tape._empty()
    assert [str(day) for day in tape.days(tmp_path / "tape")] == ["2026-10-08", "2026-10-09", "2026-11-20"]
    bench.tape._room = 5_000
    for _ in range(3):
        bench.ready()
        bench.tape._empty()
    (path,) = files(tmp_path)
    assert path.stat().st_size < 100_000
    assert bench.tape.ended == "TAPE_MEGABYTES reached"
    assert list(tape.read(path))[-1] == End("TAPE_MEGABYTES reached")
    assert redo.check(path).differing == 0


@pytest.mark.fault("X05")
def test_a_disk_that_refuses_ends_the_tape_and_nothing_else(taped: Callable[..., Taped], tmp_path: Path) -> None:
    (tmp_path / "tape").write_text("no folder")
    bench = taped()
    a_trade(bench)
    bench.tape.stop()
    assert bench.tape.ended.startswith("the disk refused")
    assert not bench.tape._box


def test_a_damaged_tape_says_where(taped: Callable[..., Taped], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = taped()
    bench.ready()
    bench.tape.stop()
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(data)
    assert replay(["verify", "2026-11-20", "--data-dir", str(tmp_path)]) == 2
    assert "line" in capsys.readouterr().err


def test_the_commands_tell_people_and_machines(
    taped: Callable[..., Taped], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = taped()
    a_trade(bench)
    bench.tape.stop()
    where = ["2026-11-20", "--data-dir", str(tmp_path), "--json"]
    told = {}
    for command in ("verify", "inspect", "run"):
        assert replay([command, *where]) == 0
        told[command] = json.loads(capsys.readouterr().out)
        assert replay([command, *where[:-1]]) == 0
        assert "Traceback" not in capsys.readouterr().out
    assert told["verify"]["ok"] is True
    assert told["inspect"]["tapes"][0]["events"]["BarClosed"] == 80
    (trade,) = told["run"]["trades"]
    assert (trade["entry"], trade["reason"], told["run"]["modelled"]) == (0.51, "stop loss", [])
    assert replay(["inspect", "2026-11-20", "--events", "ProfileArrived", *where[1:3]]) == 0
    assert capsys.readouterr().out.count("ProfileArrived") == 1


def test_a_day_without_tape_is_a_plain_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(["verify", "2026-11-20", "--data-dir", str(tmp_path)]) == 2
    assert "no tape at all" in capsys.readouterr().err


def test_memory_survives_its_way_through_json(taped: Callable[..., Taped], tmp_path: Path) -> None:
    """Every phase and every part of the state, as the head of the next day would hold it."""
    bench = taped()
    bench.bought()
    memory = bench.desk.memory()
    again = msgspec.json.decode(msgspec.json.encode(memory), type=Memory)
    assert again == memory
    other = build(bench.config, SessionCalendar(DAY), Remembered())
    other.recall(again)
    assert other.state == bench.desk.state
    assert other.decide([HalfSecondPassed(at=bench.now + 0.5)]) is not None
