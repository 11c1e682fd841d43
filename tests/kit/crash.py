"""A disk that loses power: an SQLite VFS, in memory, that knows which bytes were synced and which only seemed written.

At a power cut every file is made again from what was synced, and each 512-byte sector written since keeps, by lot, any of
the versions it had since then: so unsynced writes are dropped, torn and reordered, within a file and between files. The
length of a file is drawn the same way; what a longer file never got written is garbage. A new name is durable once its
file was synced (as SQLite's own VFS syncs the folder then), a deleted one when SQLite asked for that. Locks are not
modelled: one connection.

    disk = Disk()
    connection = disk.connect("ledger.sqlite3")
    image = disk.power_cut(random)          # a Disk again, as a new start finds it
    disk.fail("sync", after=3)              # the fourth sync from now is an I/O error; so is every one after it
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from random import Random
from typing import Any

import apsw

SECTOR = 512
POWERSAFE_OVERWRITE = 0x1000
NAMES = itertools.count()
FAILURES = {
    "sync": (apsw.IOError, apsw.SQLITE_IOERR_FSYNC),
    "write": (apsw.IOError, apsw.SQLITE_IOERR_WRITE),
    "full": (apsw.FullError, apsw.SQLITE_FULL),
    "readonly": (apsw.ReadOnlyError, apsw.SQLITE_READONLY),
}


class Stored:
    """One file: what is on the platter, what the system believes, and every version of each sector in between."""

    def __init__(self, content: bytes = b"", *, name_is_durable: bool = True) -> None:
        self.durable = content
        self.current = bytearray(content)
        self.versions: dict[int, list[bytes]] = {}
        self.lengths: list[int] = []
        self.name_is_durable = name_is_durable

    def write(self, data: bytes, offset: int) -> None:
        if len(self.current) < offset:
            self.current.extend(bytes(offset - len(self.current)))
        self.current[offset : offset + len(data)] = data
        for sector in range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1):
            self.versions.setdefault(sector, []).append(bytes(self.current[sector * SECTOR : (sector + 1) * SECTOR]))
        self.lengths.append(len(self.current))

    def truncate(self, size: int) -> None:
        del self.current[size:]
        self.lengths.append(len(self.current))

    def sync(self) -> None:
        self.durable = bytes(self.current)
        self.versions, self.lengths = {}, []
        self.name_is_durable = True

    def survivor(self, random: Random) -> bytes:
        """The bytes that a new start finds."""
        length = random.choice([len(self.durable), *self.lengths])
        content = bytearray(self.durable[:length])
        content.extend(random.randbytes(length - len(content)))
        for sector, versions in self.versions.items():
            start = sector * SECTOR
            chosen = random.choice([None, *versions])
            if chosen is not None and start < length:
                content[start : min(start + len(chosen), length)] = chosen[: length - start]
        return bytes(content)


class Disk:
    """A folder of files under a VFS of its own. `operations` counts writes, truncations, syncs and deletions."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = {name: Stored(content) for name, content in (files or {}).items()}
        self.deleted: dict[str, Stored] = {}
        self.operations = 0
        self.before_operation: Callable[[], None] = lambda: None
        self._failure: tuple[str, int] | None = None
        self._vfs = _Vfs(f"power-{next(NAMES)}", self)

    def connect(self, name: str) -> apsw.Connection:
        return apsw.Connection(name, vfs=self._vfs.vfs_name)

    def fail(self, kind: str, after: int = 0) -> None:
        """Let operations of a kind (sync, write, full, readonly) fail from now on, once `after` more have worked."""
        self._failure = (kind, after)

    def heal(self) -> None:
        self._failure = None

    def contents(self) -> dict[str, bytes]:
        """The files as the system believes them to be."""
        return {name: bytes(file.current) for name, file in self.files.items()}

    def power_cut(self, random: Random) -> Disk:
        """A new disk with what may be left if the power goes now."""
        left = {}
        for name, file in self.deleted.items():
            if random.random() < 0.5:
                left[name] = file.survivor(random)
        for name, file in self.files.items():
            if file.name_is_durable or random.random() < 0.5:
                left[name] = file.survivor(random)
        return Disk(left)

    def close(self) -> None:
        self._vfs.unregister()

    def happens(self, kind: str) -> None:
        """Before each operation: the test's hook, then the failure that is due."""
        self.before_operation()
        self.operations += 1
        if self._failure is None:
            return
        failing, left = self._failure
        if kind != ("sync" if failing == "sync" else "write"):
            return
        self._failure = (failing, left - 1)
        if left <= 0:
            error, code = FAILURES[failing]
            raised = error(f"simulated {failing} failure")
            raised.extendedresult = code
            raise raised


class _Vfs(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        self.vfs_name, self._disk = name, disk
        super().__init__(name, "")

    def xFullPathname(self, name: str) -> str:
        return name

    def xOpen(self, name: Any, flags: list[int]) -> _File:
        key = name.filename() if isinstance(name, apsw.URIFilename) else name or f"temporary-{next(NAMES)}"
        if key not in self._disk.files:
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError(key)
            self._disk.files[key] = Stored(name_is_durable=False)
        flags[1] = flags[0]
        return _File(self._disk, key)

    def xDelete(self, name: str, sync_folder: bool) -> None:
        self._disk.happens("delete")
        file = self._disk.files.pop(name, None)
        self._disk.deleted.pop(name, None)
        if file is not None and not sync_folder and file.name_is_durable:
            self._disk.deleted[name] = file

    def xAccess(self, name: str, flags: int) -> bool:
        return name in self._disk.files


class _File:
    def __init__(self, disk: Disk, key: str) -> None:
        self._disk, self._stored = disk, disk.files[key]

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._stored.current[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.happens("write")
        self._stored.write(bytes(data), offset)

    def xTruncate(self, size: int) -> None:
        self._disk.happens("truncate")
        self._stored.truncate(size)

    def xSync(self, flags: int) -> None:
        self._disk.happens("sync")
        self._stored.sync()

    def xFileSize(self) -> int:
        return len(self._stored.current)

    def xSectorSize(self) -> int:
        return 4096

    def xDeviceCharacteristics(self) -> int:
        return POWERSAFE_OVERWRITE

    def xFileControl(self, operation: int, pointer: int) -> bool:
        return False

    def xLock(self, level: int) -> None: ...
    def xUnlock(self, level: int) -> None: ...
    def xCheckReservedLock(self) -> bool:
        return False

    def xClose(self) -> None: ...


class AsSqlite3:
    """An apsw connection whose errors are sqlite3's, with their codes: what the ledger itself expects."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> apsw.Cursor:
        try:
            return self._connection.execute(sql, parameters)
        except apsw.Error as error:
            raised = sqlite3.OperationalError(str(error))
            raised.sqlite_errorcode = error.extendedresult
            raise raised from error

    def close(self) -> None:
        self._connection.close()
