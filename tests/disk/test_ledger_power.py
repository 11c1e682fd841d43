"""Power cuts, failing disks and sudden deaths under the ledger: what was acknowledged is there, and whole."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from random import Random

import apsw
import pytest

from disk import audit as ledger_audit
from disk import book as ledger_book
from disk import ledger as ledger_module
from disk import schema as ledger_schema
from disk.ledger import DataFolder, DiskFailed, DiskTrouble, Ledger, LedgerBusy, LedgerDamaged, LedgerTooNew
from events import FactSet, Noted, PositionMarked, Remembered
from tests.kit.books import OPENED_AT, a_position, closing, commits, opening, whole
from tests.kit.crash import AsSqlite3, Disk

POWER_CUTS = int(os.environ.get("POWER_CUTS", "2000"))
HARMLESS = tuple(pragma for pragma in ledger_schema.PRAGMAS if "journal_mode" not in pragma and "synchronous" not in pragma)
WAL_NORMAL = (*HARMLESS, "PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL")
DELETE_FULL = (*HARMLESS, "PRAGMA journal_mode = DELETE", "PRAGMA synchronous = FULL")
fork = multiprocessing.get_context("fork")


class Tally:
    """What became of crash images: `lost` ones miss an acknowledged commit, `broken` ones hold half of one."""

    def __init__(self) -> None:
        self.images = self.lost = self.broken = 0
        self.first_fault = ""

    def judge(self, image: Disk, pragmas: Sequence[str], states: Sequence[Remembered], acknowledged: int) -> None:
        self.images += 1
        try:
            connection = configured(image, pragmas)
            problems = ledger_audit.problems_in(ledger_audit.audit(connection))
            found = ledger_book.load(connection, OPENED_AT)
            connection.close()
        except apsw.Error as error:
            problems, found = [str(error)], Remembered()
        if problems or found not in states:
            self.broken += 1
            self.first_fault = self.first_fault or "; ".join(problems)
        elif found not in states[acknowledged:]:
            self.lost += 1
        image.close()


def configured(disk: Disk, pragmas: Sequence[str]) -> apsw.Connection:
    connection = disk.connect("ledger")
    for pragma in pragmas:
        connection.execute(pragma).fetchall()
    return connection


def cut_power(pragmas: Sequence[str], images: int) -> Tally:
    """Days of commits, and the power cut at random moments of them, recoveries included, until there are enough images."""
    tally = Tally()
    for seed in count():
        random = Random(seed)
        empty = Disk()
        ledger_schema.upgrade(configured(empty, ledger_schema.PRAGMAS))
        disk = Disk(empty.contents())
        connection = configured(disk, pragmas)
        states = [ledger_book.load(connection, OPENED_AT)]
        cuts: list[tuple[int, Disk]] = []

        def perhaps(cuts=cuts, states=states, random=random, disk=disk) -> None:
            if random.random() < 0.08:
                cuts.append((len(states) - 1, disk.power_cut(random)))

        disk.before_operation = perhaps
        for writes in commits(random, 20):
            ledger_book.write(connection, whole(writes))
            states.append(ledger_book.load(connection, OPENED_AT))
        disk.before_operation = lambda: None
        connection.close()
        for acknowledged, image in cuts:
            again = image.power_cut(random) if random.random() < 0.2 else None
            tally.judge(again or image, pragmas, states, acknowledged)
            if tally.images == images:
                return tally
        disk.close()
        empty.close()
    raise AssertionError


# --- the power goes ----------------------------------------------------------------------------------------------------


def test_no_acknowledged_commit_is_lost_in_a_power_cut_and_none_is_there_by_half():
    tally = cut_power(ledger_schema.PRAGMAS, POWER_CUTS)
    assert tally.images == POWER_CUTS
    assert (tally.lost, tally.broken) == (0, 0), tally.first_fault


def test_the_same_harness_catches_wal_with_synchronous_normal_losing_commits():
    tally = cut_power(WAL_NORMAL, 300)
    assert tally.lost > 30
    assert tally.broken == 0


def test_the_same_harness_catches_sqlites_default_losing_the_last_commit():
    assert cut_power(DELETE_FULL, 300).lost > 10


def test_a_power_cut_while_the_power_comes_back_loses_nothing_either():
    random = Random(5)
    disk = Disk()
    connection = configured(disk, ledger_schema.PRAGMAS)
    ledger_schema.upgrade(connection)
    states, hot = [ledger_book.load(connection, OPENED_AT)], []
    disk.before_operation = lambda: hot.append((len(states) - 1, disk.power_cut(random)))
    for writes in commits(random, 8):
        ledger_book.write(connection, whole(writes))
        states.append(ledger_book.load(connection, OPENED_AT))
    tally = Tally()
    for acknowledged, image in hot:
        again: list[Disk] = []
        image.before_operation = lambda image=image, again=again: again.append(image.power_cut(random))
        configured(image, ledger_schema.PRAGMAS).execute("SELECT * FROM seal").fetchall()
        image.before_operation = lambda: None
        for second in again:
            tally.judge(second, ledger_schema.PRAGMAS, states, acknowledged)
    assert tally.images > 20
    assert (tally.lost, tally.broken) == (0, 0), tally.first_fault


# --- a new schema ------------------------------------------------------------------------------------------------------

NOW = len(ledger_schema.UPGRADES)
NEXT = (
    "CREATE TABLE fills (seq INTEGER PRIMARY KEY, price INTEGER NOT NULL) STRICT",
    "ALTER TABLE outbox ADD COLUMN priority INTEGER AS (json_extract(body, '$.alert.priority'))",
    "INSERT INTO fills SELECT seq, booked FROM journal",
    "CREATE VIEW notes AS SELECT time, subject, body FROM journal WHERE kind = 'noted'",
)


@pytest.fixture
def next_schema(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The program of tomorrow: one more step in the schema. Call it to become that program."""

    def become() -> None:
        monkeypatch.setattr(ledger_schema, "UPGRADES", (*ledger_schema.UPGRADES, NEXT))
        ledger_audit._expected_schema.cache_clear()

    yield become
    monkeypatch.undo()
    ledger_audit._expected_schema.cache_clear()


@pytest.mark.fault("X20")
def test_a_power_cut_inside_an_upgrade_leaves_the_old_schema_or_the_new_one(next_schema: Callable[[], None]):
    random = Random(20)
    disk = Disk()
    connection = configured(disk, ledger_schema.PRAGMAS)
    ledger_schema.upgrade(connection)
    for writes in commits(random, 30):
        ledger_book.write(connection, whole(writes))
    before = ledger_book.load(connection, OPENED_AT)
    next_schema()
    images: list[Disk] = []
    disk.before_operation = lambda: images.extend(disk.power_cut(random) for _ in range(5))
    ledger_schema.upgrade(connection)
    versions = set()
    for image in images:
        found = configured(image, ledger_schema.PRAGMAS)
        versions.add(ledger_schema.schema_version(found))
        ledger_schema.upgrade(found)
        assert ledger_audit.problems_in(ledger_audit.audit(found)) == []
        assert ledger_book.load(found, OPENED_AT) == before
        assert (
            found.execute("SELECT count(*) FROM fills").fetchone()
            == found.execute("SELECT count(*) FROM journal").fetchone()
        )
        image.close()
    assert versions == {NOW, NOW + 1}


@pytest.mark.fault("X20")
def test_a_kill_at_each_step_of_an_upgrade_leaves_the_old_schema_or_the_new_one(
    tmp_path: Path, next_schema: Callable[[], None]
):
    folder = tmp_path / "data"
    folder.mkdir()
    with_trades(folder)
    before = reopened(folder)
    next_schema()
    versions = []
    for step in count(1):
        child = fork.Process(target=upgrade_and_die, args=(folder, step))
        child.start()
        child.join(20)
        with sqlite3.connect(folder / "ledger.sqlite3") as connection:
            versions.append(ledger_schema.schema_version(connection))
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
    assert set(versions[:-1]) <= {NOW, NOW + 1}
    assert len(versions) > len(NEXT) + 3
    assert reopened(folder) == before
    assert ledger_module.examine(folder / "ledger.sqlite3") == []
    assert (folder / f"ledger.schema-{NOW}.sqlite3").exists()


@pytest.mark.fault("X20")
def test_a_kill_at_each_step_from_every_older_schema_loses_nothing(tmp_path: Path):
    for old in range(1, NOW):
        folder = tmp_path / str(old)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as yesterday:
            yesterday.setattr(ledger_schema, "UPGRADES", ledger_schema.UPGRADES[:old])
            if old < WITH_ORDERS:
                forget_orders(yesterday)
            ledger_audit._expected_schema.cache_clear()
            with_trades(folder)
            before = reopened(folder)
        ledger_audit._expected_schema.cache_clear()
        for step in count(1):
            child = fork.Process(target=upgrade_and_die, args=(folder, step))
            child.start()
            child.join(20)
            if child.exitcode == 0:
                break
            assert child.exitcode == -signal.SIGKILL
        assert step > NOW - old
        assert reopened(folder) == before
        assert ledger_module.examine(folder / "ledger.sqlite3") == []
        assert (folder / f"ledger.schema-{old}.sqlite3").exists()


WITH_ORDERS = 4


def forget_orders(yesterday: pytest.MonkeyPatch) -> None:
    """The program before trades were made of orders: it knows none of their tables."""
    working = {name: ledger_schema.WORKING[name] for name in ("position", "outbox", "facts")}
    yesterday.setattr(ledger_audit, "WORKING", working)
    yesterday.setattr(ledger_audit, "_order_problems", lambda connection, story: [])
    yesterday.setattr(ledger_book.orders, "load", lambda connection, since: {})
    yesterday.setattr(ledger_book, "holds_position", lambda connection: True)
    yesterday.setattr(ledger_book.orders, "old_orders", lambda connection, before: [])


def upgrade_and_die(folder: Path, step: int) -> None:
    connect = ledger_module._connect
    left = step

    def counted(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        if path.parent == folder:
            connection.set_trace_callback(die)
        return connection

    def die(statement: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    ledger_module._connect = counted
    Ledger.open(folder, OPENED_AT).close()


@pytest.mark.fault("X20", "X08", "A31")
def test_a_ledger_of_a_newer_program_is_refused_and_left_untouched(tmp_path: Path):
    with pytest.MonkeyPatch.context() as tomorrow:
        tomorrow.setattr(ledger_schema, "UPGRADES", (*ledger_schema.UPGRADES, NEXT))
        ledger_audit._expected_schema.cache_clear()
        with_trades(tmp_path)
    ledger_audit._expected_schema.cache_clear()
    before = contents(tmp_path)
    with pytest.raises(LedgerTooNew, match=f"schema {NOW + 1}, this program knows {NOW}"):
        Ledger.open(tmp_path, OPENED_AT)
    assert contents(tmp_path) == before


# --- the process dies --------------------------------------------------------------------------------------------------


@pytest.mark.fault("X18", "A29")
def test_a_kill_in_the_middle_of_commits_loses_no_acknowledged_one(tmp_path: Path):
    acknowledged = 0
    for seed in range(12):
        reader, writer = os.pipe()
        child = fork.Process(target=commit_without_end, args=(tmp_path, acknowledged, writer))
        child.start()
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = [pipe.readline() for _ in range(Random(seed).randrange(1, 30))]
            child.kill()
            said += pipe.readlines()
        child.join(20)
        acknowledged = int(said[-1])
        remembered = reopened(tmp_path)
        done = int(remembered.facts.get("count") or 0)
        assert done in (acknowledged, acknowledged + 1)
        assert len(remembered.trades) == done // 3
        if done % 3:
            assert remembered.position is not None
            assert remembered.position.peak == (1405, 1405, 2000 + done)[done % 3]
        acknowledged = done
    assert acknowledged > 60


def commit_without_end(folder: Path, done: int, acknowledged: int) -> None:
    ledger = Ledger.open(folder, OPENED_AT)
    for number in count(done + 1):
        position = a_position(f"T{(number - 1) // 3}")
        match number % 3:
            case 1:
                writes = opening(position)
            case 2:
                writes = (PositionMarked(ledger_module.msgspec.structs.replace(position, peak=2000 + number)),)
            case _:
                writes = closing(position)
        ledger.commit(whole((*writes, FactSet("count", float(number)))))
        os.write(acknowledged, b"%d\n" % number)


# --- the disk fails ----------------------------------------------------------------------------------------------------


def on_a_bad_disk() -> tuple[Disk, Ledger]:
    disk = Disk()
    connection = AsSqlite3(disk.connect("ledger"))
    ledger_schema.configure(connection)
    ledger_schema.upgrade(connection)
    return disk, Ledger(Path("/nowhere"), connection, OPENED_AT)


@pytest.mark.fault("X07")
@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_io_error_on_fsync_ends_the_ledger_and_is_never_retried(after: int):
    disk, ledger = on_a_bad_disk()
    disk.fail("sync", after)
    with pytest.raises(DiskFailed) as failed:
        ledger.commit(whole(opening(a_position())))
    assert failed.value.must_stop
    disk.heal()
    operations = disk.operations
    with pytest.raises(DiskFailed):
        ledger.commit(whole((FactSet("again", 1.0),)))
    with pytest.raises(DiskFailed):
        ledger.remembered()
    assert disk.operations == operations, "a disk that failed was asked again"
    found = configured(disk.power_cut(Random(7)), ledger_schema.PRAGMAS)
    assert ledger_audit.problems_in(ledger_audit.audit(found)) == []


@pytest.mark.fault("X07")
def test_a_real_write_error_of_the_system_stops_the_ledger_too(tmp_path: Path):
    with_trades(tmp_path)
    before = reopened(tmp_path)
    child = fork.Process(target=write_past_the_limit, args=(tmp_path,))
    child.start()
    child.join(20)
    assert child.exitcode == 7
    assert reopened(tmp_path) == before


def write_past_the_limit(folder: Path) -> None:
    ledger = Ledger.open(folder, OPENED_AT)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = ledger.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        ledger.commit(whole((Noted(OPENED_AT, "long", {"text": "x" * 100_000}),)))
    except DiskFailed:
        os._exit(7)


@pytest.mark.fault("X04")
def test_a_full_disk_fails_the_whole_commit_and_the_next_one_may_work(tmp_path: Path):
    ledger = Ledger.open(tmp_path, OPENED_AT)
    ledger.commit(whole(opening(a_position())))
    before = ledger.remembered()
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskTrouble, match="the disk is full") as trouble:
        ledger.commit(whole((*closing(a_position()), Noted(OPENED_AT, "why", {"text": "x" * 20_000}))))
    assert not trouble.value.must_stop
    assert ledger.remembered() == before
    assert ledger.check() == []
    ledger._connection.execute("PRAGMA max_page_count = 1000000")
    ledger.commit(whole(closing(a_position())))
    assert len(ledger.remembered().trades) == 1
    ledger.close()


@pytest.mark.fault("X04")
@pytest.mark.parametrize("after", range(8))
def test_a_disk_that_fills_up_anywhere_in_a_commit_leaves_none_of_it(after: int):
    disk, ledger = on_a_bad_disk()
    ledger.commit(whole(opening(a_position())))
    before = ledger.remembered()
    disk.fail("full", after)
    with pytest.raises(DiskTrouble) as trouble:
        ledger.commit(whole(closing(a_position())))
    assert not trouble.value.must_stop
    disk.heal()
    assert ledger.remembered() == before
    assert ledger.check() == []
    ledger.commit(whole(closing(a_position())))
    assert len(ledger.remembered().trades) == 1


@pytest.mark.fault("X05")
def test_a_disk_that_turns_read_only_refuses_commits_and_still_remembers(tmp_path: Path):
    disk, ledger = on_a_bad_disk()
    ledger.commit(whole(opening(a_position())))
    disk.fail("readonly")
    with pytest.raises(DiskTrouble) as trouble:
        ledger.commit(whole(closing(a_position())))
    assert not trouble.value.must_stop
    assert ledger.remembered().position == a_position()


@pytest.mark.fault("X05", "C07")
def test_a_folder_this_user_may_not_write_is_refused_and_its_ledger_still_read():
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "data"
        folder.mkdir()
        with_trades(folder)
        for path in (Path(base), *Path(base).rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        child = fork.Process(target=work_without_rights, args=(folder, reopened_elsewhere(folder)))
        child.start()
        child.join(20)
        folder.chmod(0o755)
        (folder / "snapshots").chmod(0o755)
        assert child.exitcode == 5


def work_without_rights(folder: Path, expected: Remembered) -> None:
    if os.getuid() == 0:
        os.setuid(65534)
    with pytest.raises(DiskTrouble, match="this user may not write there"):
        DataFolder(folder).lock()
    ledger = Ledger.open(folder, OPENED_AT)
    assert ledger.remembered() == expected
    with pytest.raises(DiskTrouble) as trouble:
        ledger.commit(whole((FactSet("x", 1.0),)))
    os._exit(6 if trouble.value.must_stop else 5)


def reopened_elsewhere(folder: Path) -> Remembered:
    with tempfile.TemporaryDirectory() as place:
        shutil.copyfile(folder / "ledger.sqlite3", Path(place) / "ledger.sqlite3")
        return reopened(Path(place))


def test_a_reader_who_holds_the_ledger_too_long_makes_it_busy_not_broken(tmp_path: Path):
    ledger = Ledger.open(tmp_path, OPENED_AT)
    ledger._connection.execute("PRAGMA busy_timeout = 20")
    reader = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM trades").fetchall()
    with pytest.raises(LedgerBusy):
        ledger.commit(whole(opening(a_position())))
    reader.close()
    ledger.commit(whole(opening(a_position())))
    assert ledger.remembered().position == a_position()
    ledger.close()


@pytest.mark.fault("X08")
def test_a_ledger_deleted_under_a_running_worker_is_noticed_at_the_next_commit(tmp_path: Path):
    ledger = Ledger.open(tmp_path, OPENED_AT)
    (tmp_path / "ledger.sqlite3").unlink()
    with pytest.raises(DiskFailed, match="moved or deleted"):
        ledger.commit(whole(opening(a_position())))
    ledger.close()
    with pytest.raises(LedgerDamaged, match="is gone"):
        Ledger.open(tmp_path, OPENED_AT)


# --- helpers -----------------------------------------------------------------------------------------------------------


def with_trades(folder: Path) -> None:
    ledger = Ledger.open(folder, OPENED_AT)
    for writes in commits(Random(3), 40):
        ledger.commit(whole(writes))
    ledger.close()


def reopened(folder: Path) -> Remembered:
    ledger = Ledger.open(folder, OPENED_AT)
    try:
        return ledger.remembered()
    finally:
        ledger.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
