"""The worker's folder: one owner at a time, writable, private, and on a disk that stays.

The lock is the kernel's (flock on `worker.lock`): it is free the moment its holder dies, however it dies. The file says
which process holds it, and its date since when, for people.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from utils import new_york

if TYPE_CHECKING:
    from filelock import FileLock

LOCK_FILE = "worker.lock"
REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EIO: "the disk fails",
}
MEMORY_FILESYSTEMS = ("tmpfs", "ramfs")


class FolderBusy(Exception):
    """Another worker holds the folder; the message says which."""


class DiskTrouble(OSError):
    """Nothing was written, and nothing is lost. Unless `must_stop`, trying again later is safe."""

    must_stop: ClassVar[bool] = False


class DiskFailed(DiskTrouble):
    """The disk failed while writing. Stop the process, never retry: only a new start knows what is on the disk."""

    must_stop = True


def is_held(folder: Path) -> bool:
    """Whether a living worker holds the folder. The kernel's list is asked where there is one, so that no start is in the way."""
    try:
        seen = (folder / LOCK_FILE).stat()
        own = f"{os.major(seen.st_dev):02x}:{os.minor(seen.st_dev):02x}:{seen.st_ino}"
        locks = Path("/proc/locks")
        if locks.exists():
            return any("FLOCK" in line and own in line.split() for line in locks.read_text().splitlines())
        with (folder / LOCK_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class DataFolder:
    """The folder `path`. `lock` takes it for this process; leaving the `with` block, or dying, frees it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: FileLock | None = None

    def lock(self) -> DataFolder:
        """Make the folder (0700) if need be, take it at once, and prove that it can be written; use it as `with`.

        FolderBusy if another process has it, DiskTrouble if it cannot be made, locked or written.
        """
        from filelock import FileLock, Timeout

        file = self.path / LOCK_FILE
        lock = FileLock(file, timeout=0, mode=0o600, thread_local=False, fallback_to_soft=False, preserve_lock_file=True)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire()
            self._lock = lock
            self._probe()
            file.write_text(f"{os.getpid()}\n")
        except Timeout:
            raise FolderBusy(f"{self.path} is held by another worker, {self.holder()}") from None
        except (OSError, NotImplementedError) as error:
            self.release()
            raise trouble(error, f"{self.path} cannot be used") from error
        return self

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> DataFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def holder(self) -> str:
        """Who holds the folder, or held it last: `process 123, since 2025-10-02 09:12:00 EDT`."""
        try:
            process = (self.path / LOCK_FILE).read_text(errors="replace").strip()[:20]
            since = new_york((self.path / LOCK_FILE).stat().st_mtime)
        except OSError as error:
            return f"which does not say who it is ({why(error)})"
        return f"process {process}, since {since:%Y-%m-%d %H:%M:%S %Z}"

    def warnings(self, environ: Mapping[str, str]) -> list[str]:
        """What the owner should know: a folder that the next deploy would empty, or one that others can read."""
        found = []
        mount = next(folder for folder in (self.path, *self.path.parents) if folder.is_mount())
        kind = _filesystem(mount)
        if kind in MEMORY_FILESYSTEMS:
            found.append(f"{self.path} is in memory ({kind}): the ledger is gone at the next restart")
        elif environ.get("RENDER") and mount == Path("/"):
            found.append(
                f"{self.path} is not on a Render disk: the next deploy deletes the ledger, and two workers do not see each"
                " other's lock; add a disk and set DATA_DIR to its mount path"
            )
        if self.path.stat().st_mode & 0o077:
            found.append(f"{self.path} can be read by other users: chmod 700 it")
        return found

    def _probe(self) -> None:
        probe = self.path / f".probe-{os.getpid()}"
        try:
            write_durably(probe, b"\0" * 4096)
        finally:
            probe.unlink(missing_ok=True)


# --- files -------------------------------------------------------------------------------------------------------------


def why(error: BaseException) -> str:
    """The reason of an OSError in plain words."""
    if isinstance(error, OSError) and error.errno is not None:
        return REASONS.get(error.errno) or os.strerror(error.errno)
    return str(error) or type(error).__name__


def trouble(error: BaseException, what: str) -> DiskTrouble:
    """An OSError as what it means; an I/O error is the one that must stop the process."""
    failed = isinstance(error, OSError) and error.errno == errno.EIO
    return (DiskFailed if failed else DiskTrouble)(f"{what}: {why(error)}")


def temporary_place(folder: Path) -> str:
    """See that there is a place for temporary files: where this machine has none that can be written, `tmp` in `folder` is it.

    What the owner should know of that, or nothing. DiskTrouble if it cannot be written either.
    """
    try:
        tempfile.gettempdir()
    except OSError:
        place = folder.absolute() / "tmp"
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.environ["TMPDIR"] = tempfile.tempdir = str(place)
            with tempfile.TemporaryFile():
                pass
        except OSError as error:
            raise trouble(error, "there is no temporary directory that can be written (set TMPDIR)") from error
        return f"there is no temporary directory that can be written: {place} is used (TMPDIR names another)"
    return ""


def write_durably(path: Path, content: bytes) -> None:
    """A private file (0600), whole under its name and on the disk when this returns. Any OSError of the disk."""
    part = path.with_name(f"{path.name}.part")
    descriptor = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        part.unlink(missing_ok=True)
        raise
    part.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _filesystem(mount: Path) -> str:
    """The type of the file system mounted there, as Linux says it; empty where it is not said."""
    try:
        rows = [row.split() for row in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return ""
    return next((row[2] for row in reversed(rows) if len(row) > 2 and row[1] == str(mount)), "")
