"""The ledger on the disk: one SQLite file in the data folder, committed durably, watched, copied, and never begun again.

`journal_mode=TRUNCATE` with `synchronous=EXTRA` and one connection, used by one thread: what `commit` returned from
survives a power cut. A file that does not verify is never written to: it is judged on a copy, a byte-exact copy is kept
beside it, and `LedgerDamaged` says how to go on. A file that is gone where there was one is damage too. A newer schema is
left untouched. Snapshots are made each day and after each closed trade, verified when made, and seven are kept: the last
three, then the last of each earlier day. Settled alerts leave the outbox after 30 days; what they told stays in the
journal, which is never cut and takes about 1 KB a line. Everything is private to this user (0600).
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from disk import audit as ledger_audit
from disk import book as ledger_book
from disk import schema as ledger_schema
from disk.folder import DataFolder, DiskFailed, DiskTrouble, FolderBusy, sync_folder, trouble, write_durably
from disk.schema import Contradiction
from events import Part, PositionClosed, Remembered, TradeEnded
from utils import new_york

__all__ = [
    "Contradiction",
    "DataFolder",
    "DiskFailed",
    "DiskTrouble",
    "FolderBusy",
    "Ledger",
    "LedgerBusy",
    "LedgerDamaged",
    "LedgerError",
    "LedgerTooNew",
    "WrongThread",
    "examine",
    "is_good",
    "read",
    "restore",
    "snapshots",
]  # fmt: skip

FILE = "ledger.sqlite3"
SNAPSHOTS = "snapshots"
SNAPSHOT_NAME = re.compile(r"ledger-\d{8,}-\d{8}T\d{6}\.\d{6}Z\.sqlite3")
KEPT_SNAPSHOTS = 7
KEPT_NEWEST = 3
OUTBOX_DAYS = 30
TAKEN_BACK_WITHIN_S = 5.0
REPAIR = "see `python -m pnl_tracker verify`, then `python -m pnl_tracker restore`"


class LedgerError(Exception):
    """The ledger cannot do what was asked; the message says why, in words for its owner."""


class LedgerDamaged(LedgerError):
    """The ledger is not what it was, and was left as it is; `kept_copy` is a byte-exact copy, where one could be made."""

    def __init__(self, reason: str, kept_copy: Path | None) -> None:
        kept = f"a copy is kept as {kept_copy.name}" if kept_copy else "no copy was made"
        super().__init__(f"The ledger is damaged: {reason}. Nothing was changed, {kept}; {REPAIR}")
        self.reason, self.kept_copy = reason, kept_copy


class LedgerTooNew(LedgerError):
    """A newer version of the program wrote it; it was left untouched."""


class LedgerBusy(DiskTrouble):
    """Another program held the ledger for longer than we wait. Nothing was written; trying again is safe."""


class WrongThread(RuntimeError):
    """The ledger has one owner, a thread of one process; somebody else used it."""


class Ledger:
    """The open ledger. Its owner is the thread that opened it."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, now: float) -> None:
        self.folder, self.path = folder, folder / FILE
        self._connection = connection
        self._now = now
        self._failed: DiskFailed | None = None
        self._snapshot_due = False
        self._owner = (os.getpid(), threading.get_ident())

    @classmethod
    def open(cls, data_dir: Path, now: float) -> Ledger:
        """The ledger of a folder that this process has locked; made if there never was one.

        LedgerDamaged, LedgerTooNew or DiskTrouble, each with the file untouched.
        """
        folder, path = data_dir.absolute(), data_dir.absolute() / FILE
        with _told(folder, now):
            if not path.exists():
                if traces := _traces(folder):
                    gone = f"{FILE} is gone, and {traces[0].name} shows that there was one"
                    raise LedgerDamaged(gone, keep_copy(folder, now))
                _create(path)
            problems = examine(path)
            if not problems:
                problems = _missing_lines(folder, path)
            if problems:
                raise LedgerDamaged("; ".join(problems), keep_copy(folder, now))
            ledger = cls(folder, _connect(path), now)
            try:
                ledger._upgrade()
                if not snapshots(folder):
                    ledger.snapshot(now)
            except BaseException:
                ledger.close()
                raise
            return ledger

    def remembered(self) -> Remembered:
        """All that the last life knew, to its last commit."""
        with self._owned():
            return ledger_book.load(self._connection, self._now)

    def commit(self, parts: Sequence[Part]) -> dict[str, str]:
        """All parts in one durable transaction, or none; but one that contradicts the ledger is left out: by owner, why.

        Contradiction: the desk's own part contradicts it. DiskTrouble, if not `must_stop`: try again later. LedgerDamaged: stop.
        """
        refused: dict[str, str] = {}
        with self._owned():
            if parts:
                refused = ledger_book.write(self._connection, parts)
        written = (item for part in parts if part.owner not in refused for item in part.writes)
        self._snapshot_due |= any(isinstance(item, PositionClosed | TradeEnded) for item in written)
        return refused

    def holds_position(self) -> bool:
        """Whether a position is open: then nothing that takes long may stand in a commit's way."""
        with self._owned():
            return ledger_book.holds_position(self._connection)

    def check(self) -> list[str]:
        """Everything that does not add up: SQLite's integrity, hash chain, sums, seal, invariants. Empty: all is well."""
        with self._owned():
            return ledger_audit.problems_in(ledger_audit.audit(self._connection))

    def snapshot_if_due(self, now: float) -> Path | None:
        """A snapshot if a trade was closed since the last one, or a new New York day began; then old alerts leave too."""
        made = [new_york(_made_at(path)).date() for path in snapshots(self.folder)[:1]]
        if not self._snapshot_due and new_york(now).date() in made:
            return None
        with self._owned():
            ledger_book.prune(self._connection, now - OUTBOX_DAYS * ledger_book.DAY_S)
        return self.snapshot(now)

    def snapshot(self, now: float) -> Path:
        """Copy the ledger to `snapshots/`, verify the copy, make it durable, and let the oldest go."""
        self._now = now
        folder = self.folder / SNAPSHOTS
        with self._owned():
            folder.mkdir(mode=0o700, exist_ok=True)
            seq, _ = ledger_book.head(self._connection)
            path = folder / f"ledger-{seq:08d}-{_stamp(now)}.sqlite3"
            _copy_live(self._connection, path)
            for old in _superseded(snapshots(self.folder)):
                old.unlink()
        self._snapshot_due = False
        return path

    def close(self) -> None:
        self._own()
        self._connection.close()

    def _own(self) -> None:
        if self._owner != (os.getpid(), threading.get_ident()):
            raise WrongThread("the ledger was used by a thread or process that does not own it")

    @contextmanager
    def _owned(self) -> Iterator[None]:
        self._own()
        if self._failed:
            raise self._failed
        try:
            with _told(self.folder, self._now):
                yield
        except DiskFailed as error:
            self._failed = error
            raise

    def _upgrade(self) -> None:
        """Bring an older ledger to the newest schema: a copy of the old one is kept; a kill leaves the old or the new."""
        version = ledger_schema.schema_version(self._connection)
        if version == len(ledger_schema.UPGRADES):
            return
        kept = self.folder / f"ledger.schema-{version}.sqlite3"
        write_durably(kept, self.path.read_bytes())
        ledger_schema.upgrade(self._connection)


# --- what an error means -----------------------------------------------------------------------------------------------


@contextmanager
def _told(folder: Path, now: float) -> Iterator[None]:
    """Errors of SQLite and of the disk, as what they mean for the owner."""
    try:
        yield
    except sqlite3.Error as error:
        raise _meaning(error, folder, now) from error
    except DiskTrouble:
        raise
    except OSError as error:
        raise trouble(error, "The ledger cannot be used") from error
    except (UnicodeError, OverflowError) as error:
        raise Contradiction(f"cannot be stored: {error}") from None


def _meaning(error: sqlite3.Error, folder: Path, now: float) -> LedgerError | DiskTrouble:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return LedgerBusy("The ledger is held by another program")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_FORMAT:
            return LedgerDamaged(str(error), keep_copy(folder, now))
        case sqlite3.SQLITE_FULL:
            return DiskTrouble("The ledger cannot be written: the disk is full")
        case sqlite3.SQLITE_READONLY if code == sqlite3.SQLITE_READONLY_DBMOVED:
            return DiskFailed("The ledger's file was moved or deleted while it was in use")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return DiskTrouble(f"The ledger cannot be written: {error}")
        case sqlite3.SQLITE_IOERR:
            return DiskFailed(f"The disk failed under the ledger ({getattr(error, 'sqlite_errorname', error)})")
    return LedgerError(f"The ledger refused: {error}")


# --- files -------------------------------------------------------------------------------------------------------------


def examine(path: Path) -> list[str]:
    """What is wrong with a ledger or a snapshot that nobody is using, judged on a copy of it: the file is not touched.

    LedgerTooNew if a newer program wrote it; DiskTrouble if there was no room to look at it.
    """
    with _told(path.parent, 0.0), _scratch() as copy:
        _copy_parts(path, copy)
        return ledger_audit.problems_in(_judge(copy, path.name, None)[0])


def read(data_dir: Path, now: float) -> tuple[list[ledger_audit.Finding], Remembered | None]:
    """The audit of a folder's ledger, check by check, and, if it found nothing, what the ledger remembers.

    Works on a copy, whether a worker is running or not. LedgerError if there is none, LedgerTooNew; DiskTrouble.
    """
    folder, path = data_dir.absolute(), data_dir.absolute() / FILE
    with _told(folder, now), _scratch() as copy:
        if not path.exists():
            traces = _traces(folder)
            raise LedgerError(
                f"There is no {FILE} in {folder}" + (f", but there was: see {traces[0].name}" if traces else "")
            )
        _copy(folder, path, copy)
        findings, remembered = _judge(copy, path.name, now)
        if remembered:
            lost = tuple(_missing_lines(folder, copy))
            findings.append(ledger_audit.Finding("nothing that a snapshot holds is missing", lost))
        return findings, remembered if not ledger_audit.problems_in(findings) else None


@contextmanager
def _scratch() -> Iterator[Path]:
    """A private place for the copy of a ledger: not on its own disk, which may be what is wrong."""
    with tempfile.TemporaryDirectory(prefix="iwm-ledger-") as scratch:
        yield Path(scratch) / FILE


def _copy(folder: Path, path: Path, copy: Path) -> None:
    """A copy as of one commit. What a killed life left half done, the next one takes back as it opens: that is waited for."""
    deadline = time.monotonic() + TAKEN_BACK_WITHIN_S
    while True:
        try:
            with DataFolder(folder).lock():
                return _copy_parts(path, copy)
        except DiskTrouble:
            return _copy_parts(path, copy)
        except FolderBusy:
            pass
        try:
            with (
                closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as live,
                closing(sqlite3.connect(copy)) as target,
            ):
                return live.backup(target)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK or time.monotonic() >= deadline:
                raise
        time.sleep(0.05)


def _copy_parts(path: Path, copy: Path) -> None:
    for original in filter(Path.exists, _parts(path)):
        shutil.copyfile(original, copy.with_name(copy.name + original.name.removeprefix(path.name)))


def _judge(copy: Path, name: str, now: float | None) -> tuple[list[ledger_audit.Finding], Remembered | None]:
    """The audit of a private copy, and what it remembers if all is well and `now` is given."""
    try:
        with closing(_connect(copy)) as connection:
            version, newest = ledger_schema.schema_version(connection), len(ledger_schema.UPGRADES)
            if ledger_schema.value_of(connection, "PRAGMA application_id") == ledger_schema.APPLICATION_ID:
                if version > newest:
                    raise LedgerTooNew(f"{name} has schema {version}, this program knows {newest}: update the program")
                if 0 < version < newest:
                    ledger_schema.upgrade(connection)
            findings = ledger_audit.audit(connection)
            sound = now is not None and not ledger_audit.problems_in(findings)
            return findings, ledger_book.load(connection, now) if sound and now is not None else None
    except (sqlite3.Error, ValueError, TypeError, msgspec.MsgspecError) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise
        return [ledger_audit.Finding("the file can be read", (f"{name} cannot be read: {error}",))], None


def snapshots(data_dir: Path) -> list[Path]:
    """The snapshots of a data folder, newest first."""
    return sorted((path for path in (data_dir / SNAPSHOTS).glob("*") if SNAPSHOT_NAME.fullmatch(path.name)), reverse=True)


def is_good(snapshot: Path) -> bool:
    try:
        return not examine(snapshot)
    except LedgerTooNew:
        return False


def keep_copy(folder: Path, now: float) -> Path | None:
    """A byte-exact copy of the ledger as it lies there; None if there is nothing to copy or no room for it."""
    try:
        return _copied_aside(folder, now)
    except OSError:
        return None


def _copied_aside(folder: Path, now: float) -> Path | None:
    """The ledger and its rollback journal, copied durably; the earlier copy if nothing changed. OSError if it cannot."""
    kept, path = None, folder / FILE
    for part in _parts(path):
        if not part.exists() or (part != path and not part.stat().st_size):
            continue
        suffix, content = part.name.removeprefix(FILE), part.read_bytes()
        same = (old for old in folder.glob(f"ledger.damaged-*.sqlite3{suffix}") if old.read_bytes() == content)
        target = next(same, None) or _unused(folder / f"ledger.damaged-{_stamp(now)}.sqlite3{suffix}")
        if not target.exists():
            write_durably(target, content)
        kept = kept or target
    return kept


def restore(data_dir: Path, now: float) -> tuple[Path, Path | None]:
    """Put the newest good snapshot in the place of a damaged ledger, in a folder that this process has locked.

    Returns (the snapshot, the copy kept of what it replaced). Alerts that were waiting may have been said since: they are
    marked so, and go out as REPEAT. The journal tells of the restoring. LedgerError if the ledger is sound, or if there is
    no good snapshot.
    """
    folder = data_dir.absolute()
    path = folder / FILE
    with _told(folder, now):
        if path.exists() and not examine(path) and not _missing_lines(folder, path):
            raise LedgerError("The ledger is sound: there is nothing to restore")
        snapshot = next(filter(is_good, snapshots(folder)), None)
        if snapshot is None:
            raise LedgerError("There is no good snapshot to restore: the ledger was left as it is")
        kept = _copied_aside(folder, now)
        fresh = folder / f"{FILE}.new"
        write_durably(fresh, snapshot.read_bytes())
        with closing(_connect(fresh)) as connection:
            ledger_book.mark_restored(connection, now, snapshot.name, kept.name if kept else None)
        for part in _parts(path)[1:]:
            part.unlink(missing_ok=True)
        sync_folder(folder)
        _put_in_place(fresh, path)
    return snapshot, kept


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False)
    try:
        ledger_schema.configure(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    """An empty ledger: built under another name, so that a kill leaves none or a whole one."""
    fresh = path.with_name(f"{FILE}.new")
    for part in _parts(fresh):
        part.unlink(missing_ok=True)
    write_durably(fresh, b"")
    with closing(_connect(fresh)) as connection:
        ledger_schema.upgrade(connection)
    _put_in_place(fresh, path)


def _put_in_place(fresh: Path, path: Path) -> None:
    for part in _parts(fresh)[1:]:
        part.unlink(missing_ok=True)
    fresh.replace(path)
    sync_folder(path.parent)


def _traces(folder: Path) -> list[Path]:
    """What shows that there was a ledger here before."""
    return [*snapshots(folder), *folder.glob("ledger.damaged-*"), *filter(Path.exists, _parts(folder / FILE))]


def _missing_lines(folder: Path, path: Path) -> list[str]:
    """A sound ledger that is older than its own snapshots, or another ledger altogether, is not the one we left."""
    for snapshot in snapshots(folder):
        try:
            with closing(sqlite3.connect(f"{snapshot.as_uri()}?mode=ro", uri=True)) as connection:
                seq, digest = ledger_book.head(connection)
        except sqlite3.Error:
            continue
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as connection:
            found = connection.execute("SELECT hash FROM journal WHERE seq = ?", (seq,)).fetchone()
        if seq and (not found or found[0] != digest):
            return [f"line {seq} of snapshot {snapshot.name} is not in it: it is older, or another ledger"]
        return []
    return []


def _copy_live(connection: sqlite3.Connection, target: Path) -> None:
    fresh = target.with_suffix(".new")
    write_durably(fresh, b"")
    with closing(sqlite3.connect(fresh)) as copy:
        connection.backup(copy)
    problems = examine(fresh)
    if problems:
        fresh.unlink()
        source = ledger_audit.problems_in(ledger_audit.audit(connection))
        if source:
            raise sqlite3.DatabaseError("; ".join(source))
        raise DiskTrouble("The snapshot did not read back as it was written")
    descriptor = os.open(fresh, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(target)
    sync_folder(target.parent)


def _superseded(newest_first: Sequence[Path]) -> list[Path]:
    """The snapshots to let go: all but the newest three and, up to seven in all, the last of each earlier day."""
    kept = list(newest_first[:KEPT_NEWEST])
    days = {new_york(_made_at(path)).date() for path in kept}
    for path in newest_first[KEPT_NEWEST:]:
        day = new_york(_made_at(path)).date()
        if day not in days and len(kept) < KEPT_SNAPSHOTS:
            kept.append(path)
            days.add(day)
    return [path for path in newest_first if path not in kept]


def _parts(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + suffix) for suffix in ("-journal", "-wal", "-shm"))]


def _unused(path: Path) -> Path:
    return next(
        name for name in (path, *(path.with_name(f"{path.name}.{count}") for count in range(2, 1000))) if not name.exists()
    )


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def _made_at(snapshot: Path) -> float:
    stamp = snapshot.stem.rsplit("-", 1)[-1]
    return datetime.strptime(stamp, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp()
