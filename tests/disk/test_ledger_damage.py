"""A ledger that was damaged, edited, lost or taken away: it is noticed, left untouched, copied, and restored on request."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing as closing_
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from disk import book as ledger_book
from disk import ledger as ledger_module
from disk import schema as ledger_schema
from disk.ledger import DataFolder, DiskTrouble, Ledger, LedgerDamaged, LedgerError, restore, snapshots
from events import FactSet, Noted, Remembered, TradeVoided
from tests.kit.books import OPENED_AT, a_position, closing, commits, opening, whole
from tests.kit.crash import Disk

DAY = 86_400.0


@pytest.fixture
def ledger(tmp_path: Path):
    opened = Ledger.open(tmp_path, OPENED_AT)
    yield opened
    opened.close()


def filled(folder: Path, number: int = 40) -> Remembered:
    """A ledger with some history and, at its end, an open position."""
    with_history = Ledger.open(folder, OPENED_AT)
    for writes in commits(Random(3), number):
        with_history.commit(whole(writes))
    if with_history.remembered().position is None:
        with_history.commit(whole(opening(a_position("held", OPENED_AT + 900))))
    remembered = with_history.remembered()
    with_history.close()
    return remembered


def reopened(folder: Path, now: float = OPENED_AT) -> Remembered:
    again = Ledger.open(folder, now)
    try:
        return again.remembered()
    finally:
        again.close()


def reopened_or_refused(folder: Path) -> Remembered | LedgerDamaged:
    try:
        return reopened(folder)
    except LedgerDamaged as refusal:
        return refusal


def sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute(statement).fetchall()


# --- what it notices ---------------------------------------------------------------------------------------------------


def flipped(content: bytes, random: Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 4, 64))):
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def half_old(content: bytes, random: Random, older: bytes) -> bytes:
    """Some pages as they were before: what a lost write or a removed hot journal leaves."""
    pages = [content[at : at + 4096] for at in range(0, len(content), 4096)]
    for number in random.sample(range(len(older) // 4096), 3):
        pages[number] = older[number * 4096 : (number + 1) * 4096]
    return b"".join(pages)


def zeroed_page(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content) // 4096) * 4096
    return content[:at] + bytes(4096) + content[at + 4096 :]


def swapped_pages(content: bytes, random: Random) -> bytes:
    pages = [content[at : at + 4096] for at in range(0, len(content), 4096)]
    first, second = random.sample(range(len(pages)), 2)
    pages[first], pages[second] = pages[second], pages[first]
    return b"".join(pages)


SURE = (
    lambda content, random: b"",
    lambda content, random: content[: random.randrange(1, len(content))],
    lambda content, random: b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>",
    lambda content, random: b"\xef\xbb\xbf" + content,
    lambda content, random: random.randbytes(len(content)),
    lambda content, random: bytes(len(content)),
    lambda content, random: content.replace(b"SQLite format 3\0", b"SQLite format 4\0", 1),
    lambda content, random: b'{"balance": 0, "trades": []}',
)


def perhaps_damaged(count: int) -> list[Callable[[bytes, bytes, Random], bytes]]:
    kinds = (
        lambda content, older, random: flipped(content, random),
        lambda content, older, random: zeroed_page(content, random),
        lambda content, older, random: swapped_pages(content, random),
        lambda content, older, random: half_old(content, random, older),
    )
    return [kinds[number % len(kinds)] for number in range(count)]


@pytest.mark.fault("X08", "A31")
def test_two_hundred_damaged_ledgers_and_none_is_reset_or_touched(tmp_path: Path):
    """A damage that hits no stored value (unused bytes of a page) may pass, if all that is remembered is exactly there."""
    path = tmp_path / "ledger.sqlite3"
    filled(tmp_path, 20)
    older = path.read_bytes()
    with closing_(Ledger.open(tmp_path, OPENED_AT)) as more:
        for number in range(20, 40):
            more.commit(whole((FactSet("alive_at", float(number)), Noted(OPENED_AT, "near miss", {"why": "x" * 300}))))
        complete = more.remembered()
    content = path.read_bytes()
    random = Random(200)
    cases = [(True, lambda c, o, r, damage=damage: damage(c, r)) for damage in SURE for _ in range(5)]
    cases += [(False, damage) for damage in perhaps_damaged(160)]
    assert len(cases) == 200
    passed = 0
    for sure, damage in cases:
        for old in tmp_path.glob("ledger.damaged-*"):
            old.unlink()
        damaged = damage(content, older, random)
        path.write_bytes(damaged)
        found = reopened_or_refused(tmp_path)
        if isinstance(found, LedgerDamaged):
            assert path.read_bytes() == damaged
            assert found.kept_copy is not None
            assert found.kept_copy.read_bytes() == damaged
            assert "python -m pnl_tracker restore" in str(found)
        else:
            assert not sure
            assert found == complete
            passed += 1
    assert passed < 60


@pytest.mark.fault("X08")
def test_a_hot_journal_that_was_removed_is_noticed_unless_nothing_is_missing(tmp_path: Path):
    """Images of a process that died in mid-commit, its rollback journal deleted afterwards by a helpful hand."""
    random = Random(8)
    disk = Disk()
    connection = disk.connect("ledger")
    ledger_schema.configure(connection)
    ledger_schema.upgrade(connection)
    connection.execute("PRAGMA application_id").fetchall()
    states = [ledger_book.load(connection, OPENED_AT)]
    hot: list[bytes] = []

    def dies() -> None:
        journal = disk.files.get("ledger-journal")
        if journal and len(journal.current) > 512 and random.random() < 0.3:
            hot.append(bytes(disk.files["ledger"].current))

    disk.before_operation = dies
    for writes in commits(random, 60):
        ledger_book.write(connection, whole(writes))
        states.append(ledger_book.load(connection, OPENED_AT))
    refused = 0
    for image in hot:
        place = tmp_path / "ledger.sqlite3"
        place.write_bytes(image)
        found = reopened_or_refused(tmp_path)
        if isinstance(found, LedgerDamaged):
            refused += 1
            assert place.read_bytes() == image
        else:
            assert found in states
        for trace in (*tmp_path.glob("ledger*"), *snapshots(tmp_path)):
            trace.unlink()
    assert len(hot) > 60
    assert refused > 10


@pytest.mark.fault("X08")
def test_a_ledger_that_is_gone_or_older_than_its_snapshots_is_not_begun_again(tmp_path: Path):
    ledger = Ledger.open(tmp_path, OPENED_AT)
    old = ledger.path.read_bytes()
    ledger.commit(whole(opening(a_position())))
    ledger.commit(whole(closing(a_position())))
    assert ledger.snapshot_if_due(OPENED_AT + 1)
    ledger.close()
    ledger.path.write_bytes(old)
    with pytest.raises(LedgerDamaged, match="is older, or another ledger"):
        Ledger.open(tmp_path, OPENED_AT)
    ledger.path.unlink()
    with pytest.raises(LedgerDamaged, match="is gone"):
        Ledger.open(tmp_path, OPENED_AT)
    assert not ledger.path.exists()


def test_a_crash_loop_over_one_damage_keeps_one_copy(tmp_path: Path):
    filled(tmp_path)
    (tmp_path / "ledger.sqlite3").write_bytes(b"not a ledger")
    for later in range(5):
        with pytest.raises(LedgerDamaged):
            Ledger.open(tmp_path, OPENED_AT + later)
    assert len(list(tmp_path.glob("ledger.damaged-*"))) == 1


def edits() -> list[tuple[str, str]]:
    body = "json_set(body, '$.entry', 1)"
    return [
        ("was opened and never closed, and its row is gone", "DELETE FROM position"),
        ("its BUY is not in the outbox", "DELETE FROM outbox WHERE kind = 'BUY'"),
        ("is not as it was opened", f"UPDATE position SET body = {body}"),
        ("are not as the last commit left them", "UPDATE facts SET value = 5.0"),
        ("are not as the last commit left them", "DELETE FROM facts"),
        ("speaks of trade T9", "UPDATE outbox SET body = json_set(body, '$.alert.trade_id', 'T9')"),
        ("is not as it was written", f"UPDATE journal SET body = {body} WHERE kind = 'closed'"),
        ("makes? [-0-9]+|where the lines before it make", "UPDATE journal SET booked = 1000000 WHERE kind = 'closed'"),
        ("line 2 is missing", "DELETE FROM journal WHERE seq = 2"),
        ("it was sealed at line", "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)"),
        ("the seal is missing", "DELETE FROM seal"),
        ("view trades is missing or was changed", "DROP VIEW trades"),
        ("trigger cheat is not ours", "CREATE TRIGGER cheat AFTER INSERT ON facts BEGIN SELECT 1; END"),
        ("not one of our ledgers", "PRAGMA application_id = 1"),
    ]


@pytest.mark.fault("X24")
@pytest.mark.parametrize(("problem", "edit"), edits())
def test_an_edited_ledger_is_refused_and_says_what_is_impossible_in_it(tmp_path: Path, problem: str, edit: str):
    with_edits(tmp_path, edit)
    with pytest.raises(LedgerDamaged, match=problem):
        Ledger.open(tmp_path, OPENED_AT)


def with_edits(folder: Path, *edits: str) -> None:
    """A ledger of two trades, a voided one and an open position, edited by somebody who knows how to drop and restore the triggers."""
    ledger = Ledger.open(folder, OPENED_AT)
    for name in ("T1", "T2"):
        ledger.commit(whole(opening(a_position(name))))
        ledger.commit(whole(closing(a_position(name))))
    ledger.commit(whole((*opening(a_position("T0")), *closing(a_position("T0")))))
    ledger.commit(whole((TradeVoided("T0", OPENED_AT + 90, "its BUY failed"),)))
    ledger.commit(whole(opening(a_position("T3"))))
    ledger.close()
    edited(folder / "ledger.sqlite3", *edits)


def edited(path: Path, *edits: str) -> None:
    with sqlite3.connect(path) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for edit in edits:
            connection.execute(edit)
        for _, statement in triggers:
            connection.execute(statement)


def rehashed(path: Path) -> None:
    """What a forger does last: every hash and the seal made anew over what is there."""
    with sqlite3.connect(path) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        previous, balance = ledger_schema.GENESIS, 0
        for line in ledger_book.lines(connection):
            balance += line.booked
            line = replace(line, prev_hash=previous, balance=balance, hash="")
            previous = line.digest()
            connection.execute(
                "UPDATE journal SET prev_hash = ?, balance = ?, hash = ? WHERE seq = ?",
                (line.prev_hash, balance, previous, line.seq),
            )
        total = sum(
            ledger_schema.row_digest(table, key, content)
            for table, (key_column, column) in ledger_schema.WORKING.items()
            for key, content in connection.execute(f"SELECT {key_column}, {column} FROM {table}")
        )
        connection.execute("UPDATE seal SET head = ?, working = ?", (previous, f"{total % 2**256:064x}"))
        for _, statement in triggers:
            connection.execute(statement)


FORGERIES = [
    (
        "books 999000 mills where the trade says 7000",
        "UPDATE journal SET booked = 999000 WHERE kind = 'closed' AND subject = 'T2'",
    ),
    (
        "books 999000 mills where its prices make 7000",
        "UPDATE journal SET booked = 999000, body = json_set(body, '$.pnl', 999000)"
        " WHERE subject = 'T2' AND kind = 'closed'",
    ),
    (
        "is not as it was opened",
        "UPDATE journal SET body = json_set(body, '$.strike', 1) WHERE kind = 'closed' AND subject = 'T1'",
    ),
    ("the journal does not say so", "UPDATE position SET body = json_set(body, '$.id', 'T2')"),
    (
        "the balance is 14005 mills where the trades make 14000",
        "UPDATE journal SET booked = 5 WHERE kind = 'opened' AND subject = 'T1'",
    ),
    ("opened while another was open", "UPDATE journal SET kind = 'noted' WHERE kind = 'closed' AND subject = 'T1'"),
    ("was not open", "UPDATE journal SET kind = 'voided' WHERE kind = 'opened' AND subject = 'T1'"),
    ("cannot be read", "UPDATE journal SET body = '{}' WHERE kind = 'closed' AND subject = 'T1'"),
    (
        "books -6000 mills back where the trade says -7000",
        "UPDATE journal SET booked = -6000 WHERE kind = 'voided' AND subject = 'T0'",
    ),
    ("was not open", "UPDATE journal SET subject = 'T9' WHERE kind = 'voided' AND subject = 'T0'"),
]


@pytest.mark.fault("X24")
@pytest.mark.parametrize(("problem", "edit"), FORGERIES)
def test_a_forger_who_recomputes_every_hash_still_has_to_make_the_story_add_up(tmp_path: Path, problem: str, edit: str):
    with_edits(tmp_path, edit)
    rehashed(tmp_path / "ledger.sqlite3")
    with pytest.raises(LedgerDamaged, match=problem):
        Ledger.open(tmp_path, OPENED_AT)


def test_damage_that_comes_while_it_runs_is_found_by_the_check(ledger: Ledger):
    ledger.commit(whole(opening(a_position())))
    assert ledger.check() == []
    edited(ledger.path, "UPDATE journal SET subject = 'T9' WHERE seq = 1")
    assert any("is not as it was written" in problem for problem in ledger.check())


# --- snapshots and repair ----------------------------------------------------------------------------------------------


def test_a_snapshot_is_made_each_day_and_after_each_closed_trade_and_seven_are_kept(ledger: Ledger):
    assert len(snapshots(ledger.folder)) == 1
    assert ledger.snapshot_if_due(OPENED_AT + 60) is None
    for day in range(9):
        for trade in range(4):
            at = OPENED_AT + day * DAY + trade * 600
            position = a_position(f"T{day}-{trade}", at)
            ledger.commit(whole(opening(position)))
            assert ledger.snapshot_if_due(at) is None or trade == 0
            ledger.commit(whole(closing(position)))
            assert ledger.snapshot_if_due(at + 61)
            assert ledger.snapshot_if_due(at + 62) is None
    kept = snapshots(ledger.folder)
    assert len(kept) == 7
    assert [ledger_module.new_york(ledger_module._made_at(path)).day for path in kept] == [10, 10, 10, 9, 8, 7, 6]
    assert all(ledger_module.is_good(path) for path in kept)


def test_files_that_somebody_put_beside_the_snapshots_are_left_alone(ledger: Ledger):
    for name in ("ledger-mine.sqlite3", "notes.txt"):
        (ledger.folder / "snapshots" / name).write_text("mine")
    for day in range(1, 10):
        assert ledger.snapshot_if_due(OPENED_AT + day * DAY)
    assert len(snapshots(ledger.folder)) == 7
    assert (ledger.folder / "snapshots" / "ledger-mine.sqlite3").read_text() == "mine"


def test_a_damaged_ledger_is_restored_from_the_newest_good_snapshot_and_what_it_replaces_is_kept(tmp_path: Path):
    ledger = Ledger.open(tmp_path, OPENED_AT)
    for name in ("T1", "T2"):
        ledger.commit(whole(opening(a_position(name))))
        ledger.commit(whole(closing(a_position(name))))
        newest = ledger.snapshot(OPENED_AT + 60)
    good = ledger.remembered()
    ledger.commit(whole(opening(a_position("T3"))))
    spoilt = ledger.snapshot(OPENED_AT + 120)
    ledger.close()
    spoilt.write_bytes(flipped(spoilt.read_bytes(), Random(1))[:-5000])
    damaged = ledger.path.read_bytes()[:-4096]
    ledger.path.write_bytes(damaged)
    with pytest.raises(LedgerDamaged):
        Ledger.open(tmp_path, OPENED_AT)

    snapshot, kept = restore(tmp_path, OPENED_AT + 300)
    assert snapshot == newest
    assert kept is not None
    assert kept.read_bytes() == damaged
    after = reopened(tmp_path)
    assert after.trades == good.trades
    assert {outgoing.maybe_seen for outgoing in after.outbox} == {True}, "an alert could go out again without REPEAT"
    assert sql(ledger.path, "SELECT kind, body ->> '$.snapshot' FROM journal WHERE subject = 'restored'") == [
        ("noted", newest.name)
    ]
    assert ledger_module.examine(ledger.path) == []


def test_a_sound_ledger_is_not_restored_and_one_without_a_good_snapshot_is_left_alone(tmp_path: Path):
    filled(tmp_path)
    with pytest.raises(LedgerError, match="nothing to restore"):
        restore(tmp_path, OPENED_AT)
    for snapshot in snapshots(tmp_path):
        snapshot.write_bytes(b"")
    (tmp_path / "ledger.sqlite3").write_bytes(b"damaged")
    with pytest.raises(LedgerError, match="no good snapshot"):
        restore(tmp_path, OPENED_AT)
    assert (tmp_path / "ledger.sqlite3").read_bytes() == b"damaged"


def test_what_cannot_be_copied_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    filled(tmp_path)
    (tmp_path / "ledger.sqlite3").write_bytes(b"damaged")

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ledger_module, "write_durably", full)
    with pytest.raises(DiskTrouble, match="the disk is full"):
        restore(tmp_path, OPENED_AT)
    with pytest.raises(LedgerDamaged, match="no copy was made"):
        Ledger.open(tmp_path, OPENED_AT)
    assert (tmp_path / "ledger.sqlite3").read_bytes() == b"damaged"


def test_a_hot_journal_is_rolled_back_on_the_real_file_only_when_the_ledger_is_sound(tmp_path: Path):
    filled(tmp_path)
    before = reopened(tmp_path)
    child = os.fork()
    if child == 0:
        dying = Ledger.open(tmp_path, OPENED_AT)
        dying._connection.execute("PRAGMA cache_size = 1")
        dying._connection.execute("PRAGMA cache_spill = 1")
        dying._connection.execute("BEGIN IMMEDIATE")
        for number in range(400):
            dying._connection.execute("INSERT INTO facts VALUES (?, ?)", (f"half-{number}", "x" * 500))
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert (tmp_path / "ledger.sqlite3-journal").stat().st_size > 512
    assert reopened(tmp_path) == before


@pytest.mark.fault("S19", "C08")
def test_everything_it_writes_is_private_to_this_user(tmp_path: Path):
    before = os.umask(0)
    try:
        with DataFolder(tmp_path / "data").lock():
            filled(tmp_path / "data")
    finally:
        os.umask(before)
    (tmp_path / "data" / "ledger.sqlite3").write_bytes(b"<html>")
    with pytest.raises(LedgerDamaged):
        Ledger.open(tmp_path / "data", OPENED_AT)
    found = list((tmp_path / "data").rglob("*"))
    assert len(found) >= 4
    assert [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
