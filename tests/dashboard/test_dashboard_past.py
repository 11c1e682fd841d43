"""Past days: made from the tape by a process that nobody feels, as the page would have shown them, and handed out to nobody else."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboard import past
from dashboard.past import folder_of, index_of
from replay import past as maker
from tests.dashboard.conftest import MONDAY, TOKEN, WITH_TOKEN, Lived, Site, on_monday
from tests.kit.deskbench import DAY
from tests.kit.taped import Taped

Open = Callable[..., Site]


def waited(place: Site, path: str, **headers: str) -> Any:
    """The answer once it is not 202 any more."""
    until = time.monotonic() + 40
    while (answer := place.get(path, **headers)).status_code == 202:
        assert time.monotonic() < until, answer.text
        time.sleep(0.05)
    return answer


@pytest.fixture
def made(data: Path) -> Path:
    """The day, made in this process."""
    return maker.make(data, DAY, maker.Share(1.0))


# --- what is shown -----------------------------------------------------------------------------------------------------


def test_every_second_is_as_the_page_showed_it_then(site: Open, data: Path, lived: Lived) -> None:
    place = site(bench=on_monday(data))
    assert place.get("/days").json() == {"days": [str(DAY)]}
    first = place.get(f"/days/{DAY}")
    assert (first.status_code, first.json()["says"]) == (202, "The day is being made from its tape.")
    index = waited(place, f"/days/{DAY}").json()
    assert [kind for _, kind, *_ in index["marks"]] == ["BUY", "SELL"]
    assert (index["differing"], index["tapes"], index["gaps"]) == (0, 1, [])
    shown: dict[int, dict[str, Any]] = {}
    for number in index["pieces"]:
        now: dict[str, Any] = {}
        for second, changed in place.get(f"/days/{DAY}/{number}").json():
            now = now | changed
            shown[second] = now
    assert set(lived.seen) <= set(shown)
    for second, then in lived.seen.items():
        assert shown[second]["gates"][:8] == then["gates"], second
        assert shown[second]["point"] == then["point"], second
    bought, sold = (at for at, *_ in index["marks"])
    assert shown[bought - 1]["position"] is None
    assert shown[bought]["position"]["entry"] == "$0.51"
    assert shown[sold]["trades"]["rows"][0]["reason"].startswith("Stop loss")
    assert shown[sold - 1]["trades"]["rows"] == []
    assert shown[bought]["contracts"]["tracked"]
    assert any("BUY" in row["title"] for row in shown[bought + 1]["alerts"]["rows"])
    assert index["columns"]["t"][0] < index["from"], "what history told of before is drawn too"


def test_two_lives_and_the_time_between_them_are_one_day(data: Path, tmp_path: Path) -> None:
    later = Taped(tmp_path, at="11:00:00")
    later.ready()
    later.tick(3)
    later.tape.stop()
    import gzip
    import json

    index = json.loads(gzip.decompress(index_of(maker.make(data, DAY, maker.Share(1.0))).read_bytes()))
    [(gone, back)] = index["gaps"]
    assert index["tapes"] == 2
    assert later.session is not None
    assert gone < back == later.session.open_at + 5400


def test_a_day_is_there_once_its_session_is_over_and_other_days_never(site: Open, data: Path) -> None:
    for name in ("2026-11-21", "2026-11-26", "2027-01-04", "nonsense", "2026-11-23"):
        (data / "tape" / name).mkdir()
    assert site(bench=on_monday(data, "15:59:59")).get("/days").json()["days"] == [str(DAY)]
    assert site(bench=on_monday(data, "16:02:00")).get("/days").json()["days"] == [str(MONDAY), str(DAY)]


# --- who gets it -------------------------------------------------------------------------------------------------------


@pytest.mark.fault("S08")
@pytest.mark.parametrize("path", [
    "/days/2026-11-19", "/days/2026-13-40", "/days/2026-11-20/", "/days/2026-11-20/999", "/days/2026-11-20/0000",
    "/days/2026-11-20/-1",    "/days/../ledger.sqlite3", "/days/%2e%2e", "/days/2026-11-20/../index",
    "/days/2026-11-20.1", "/days/2026-11-20/index.json.gz",
    "/days/٢٠٢٦-11-20", "/days/2026-11-20%00", "/days//2026-11-20",
])  # fmt: skip
def test_nothing_but_a_day_that_is_listed_and_its_pieces_can_be_had(site: Open, data: Path, made: Path, path: str) -> None:
    place = site(bench=on_monday(data))
    answer = place.asked(b"GET %b HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % (path.encode(), place.port))
    assert int(answer.split(b" ", 2)[1]) in (400, 404)


@pytest.mark.fault("S13", "S15")
@pytest.mark.parametrize("path", ["/days", f"/days/{DAY}", f"/days/{DAY}/12"])
def test_a_past_day_is_guarded_as_the_page_is(site: Open, data: Path, made: Path, path: str) -> None:
    place = site(bench=on_monday(data, **WITH_TOKEN))
    assert place.get(path).status_code == 401
    assert place.get(path, Authorization=f"Bearer {TOKEN}").status_code == 200
    assert place.get(path, Authorization=f"Bearer {TOKEN}", Origin="https://evil.example").status_code == 403
    assert place.post(path, {}, Authorization=f"Bearer {TOKEN}").status_code == 405


# --- the process -------------------------------------------------------------------------------------------------------


def making(place: Site) -> past.Making:
    """The process that makes a day, while it does."""
    assert place.get(f"/days/{DAY}").status_code == 202
    found = place.edge.page.past._making  # type: ignore[union-attr]
    assert found is not None
    return found


@pytest.mark.fault("S05")
def test_the_process_gets_no_secret_and_gives_way(site: Open, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHOVER_TOKEN", "a" * 30)
    monkeypatch.setenv("DASHBOARD_TOKEN", TOKEN)
    monkeypatch.setenv("PYTHONSTARTUP", "x")
    monkeypatch.setattr(past, "NICE", 19)
    place = site(bench=on_monday(data, "11:00:00"))
    process = Path(f"/proc/{making(place)._process.pid}")
    until = time.monotonic() + 10
    while not (environment := (process / "environ").read_bytes()):  # the kernel is still about to begin it
        assert time.monotonic() < until
    told = environment + (process / "cmdline").read_bytes()
    assert b"DATA_DIR=" in environment
    assert b"a" * 30 not in told
    assert TOKEN.encode() not in told
    assert b"STARTUP" not in told
    assert b"--share\x000.2" in told
    while int((process / "stat").read_text().rpartition(")")[2].split()[16]) != 19:
        assert time.monotonic() < until, "it did not give way"
        time.sleep(0.01)


def test_one_day_is_made_at_a_time_and_the_other_waits(site: Open, data: Path) -> None:
    shutil.copytree(data / "tape" / str(DAY), data / "tape" / "2026-11-19")
    place = site(bench=on_monday(data, "11:00:00"))
    making(place)
    other = place.get("/days/2026-11-19")
    assert (other.status_code, other.json()["says"][:23]) == (202, f"{DAY} comes first. "[:23])


def test_a_tape_that_cannot_be_read_says_so_and_nothing_of_this_machine(site: Open, data: Path) -> None:
    [file] = (data / "tape" / str(DAY)).iterdir()
    file.write_bytes(file.read_bytes()[:2000] + b"\0" * 500)
    answer = waited(place := site(bench=on_monday(data)), f"/days/{DAY}")
    assert answer.status_code == 409
    assert file.name in answer.json()["says"]
    assert str(data) not in answer.text
    assert place.get(f"/days/{DAY}").status_code == 409, "it is not tried again at once"
    assert not index_of(folder_of(data, DAY)).exists()


def test_the_process_ends_with_the_server(data: Path) -> None:
    place = Site(bench=on_monday(data, "11:00:00")).start().show()
    process = making(place)._process
    place.close()
    assert process.wait(5) != 0
    assert not index_of(folder_of(data, DAY)).exists()


def test_the_process_ends_when_nobody_waits_for_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    share = maker.Share(1.0)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(maker.Impossible):
        work(share, 0.2)


def test_the_process_takes_no_more_than_its_share_of_a_core() -> None:
    began = time.monotonic()
    work(maker.Share(0.25), 0.1)
    assert time.monotonic() - began >= 0.3


def work(share: maker.Share, seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        share.give_way()


def test_only_so_many_days_are_kept_and_none_of_another_format(tmp_path: Path) -> None:
    names = [f"2026-10-{day:02}.{past.FORMAT}" for day in range(1, maker.DAYS_KEPT + 4)]
    for age, name in enumerate([*names, "2026-10-30.0", "2026-10-31.new"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    maker.prune(tmp_path, tmp_path / names[0])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [names[0], *names[-maker.DAYS_KEPT + 1 :]]
