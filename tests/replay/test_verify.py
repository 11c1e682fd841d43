"""verify and why over a bench's tape: what no tape can know is no difference, and what was done is said with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from filelock import FileLock

from disk import tape
from disk.folder import LOCK_FILE
from replay import redo
from replay.__main__ import main as replay
from tests.kit.deskbench import DAY
from tests.kit.taped import Taped

LINKED = {"PUBLIC_URL": "https://desk.example.com", "DASHBOARD_TOKEN": "another-token-than-the-replays"}


@pytest.fixture
def traded(tmp_path: Path) -> Path:
    """A day with a BUY, whose text has a signed link, and its SELL."""
    bench = Taped(tmp_path, **LINKED)
    bench.bought()
    for bid in (600, 620, 480, 380):
        bench.tick(1.0)
        bench.quote(bid, bid + 10)
    assert bench.phase == "Flat"
    bench.tape.stop()
    return tmp_path


def file_of(folder: Path) -> Path:
    (path,) = tape.files_of(folder / "tape", DAY)
    return path


def asked(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str, code: int = 0) -> dict:
    assert replay([*arguments, "--data-dir", str(folder), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_links_signature_is_no_difference(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert any(
        b"/act#" in bytes(record.actions) for record in tape.read(file_of(traded)) if isinstance(record, tape.Recorded)
    )
    answer = asked(capsys, traded, "verify", str(DAY))
    assert answer["ok"] is True
    assert answer["head"]["command"] == "verify"
    signed = b'{"text":"https://desk.example.com/act#20261120-1.1795100820.' + b"A" * 43 + b'"}'
    assert (
        redo.unsigned(signed)
        == redo.unsigned(signed.replace(b"A", b"B"))
        != redo.unsigned(signed.replace(b"1120-1", b"1120-2"))
    )


def test_a_difference_is_shown_field_by_field(traded: Path) -> None:
    done = next(done for done in redo.redo(file_of(traded)) if b"PositionOpened" in done.recorded)
    other = msgspec.json.decode(done.recorded)
    other[0]["text"] = "something else"
    changed = msgspec.structs.replace(done, decided=msgspec.json.encode(other[:-1]), raised={"desk": "KeyError"})
    fields = {field.field: (field.recorded, field.decided) for field in redo.difference_of(7, changed).fields}
    assert fields.pop("raised") == ("", "KeyError")
    assert fields[f"1 {other[0]['type']}.text"][1] == "something else"
    (missing,) = [both for name, both in fields.items() if name == f"{len(other)} {other[-1]['type']}"]
    assert missing[0]
    assert not missing[1]


def test_a_tape_without_its_end_is_open_while_its_worker_lives(tmp_path: Path) -> None:
    bench = Taped(tmp_path)
    bench.ready()
    bench.tape._empty()
    with FileLock(tmp_path / LOCK_FILE):
        assert redo.check(file_of(tmp_path)).ended == redo.OPEN
    assert redo.check(file_of(tmp_path)).ended == redo.KILLED
    bench.tape.stop()


@pytest.mark.parametrize(("name", "what"), [("20261120-1-BUY", "BUY"), ("#20261120-1-SELL", "SELL")])
def test_why_says_buy_or_sell_with_its_reason_by_id_and_by_time(
    name: str, what: str, traded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_id = asked(capsys, traded, "why", name)  # the id names its day
    (happened,) = by_id["happened"]
    assert happened["what"] == what
    assert f": {what} IWM " in by_id["sentence"]
    assert ("Stop loss" if what == "SELL" else "all conditions held") in by_id["sentence"] or "Giveback" in by_id["sentence"]
    by_time = asked(capsys, traded, "why", by_id["sentence"][:8], str(DAY))
    assert by_id["sentence"] in by_time["sentence"].split("\n")
    refused = asked(capsys, traded, "why", "20261120-9-BUY", code=2)
    assert "no alert and no trade" in refused["error"]


def test_inspect_gives_one_document_and_knows_its_events(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = asked(capsys, traded, "inspect", str(DAY), "--events", "WorkerStarted")
    assert [event["type"] for event in answer["events"]] == ["WorkerStarted"]
    assert (
        "ChainFailed is the nearest" in asked(capsys, traded, "inspect", str(DAY), "--events", "ChainFaild", code=2)["error"]
    )
