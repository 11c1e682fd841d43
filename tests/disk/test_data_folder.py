"""The worker's folder has one owner, and says what is wrong with it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from disk import folder as data_folder
from disk.folder import DataFolder, DiskFailed, DiskTrouble, FolderBusy

fork = multiprocessing.get_context("fork")


def hold(path: Path, held: int) -> None:
    with DataFolder(path).lock():
        os.write(held, b"x")
        time.sleep(60)


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that has the folder `data`."""
    reader, writer = os.pipe()
    process = fork.Process(target=hold, args=(tmp_path / "data", writer))
    process.start()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read(1) == b"x"
        yield process
    process.kill()
    process.join(10)


@pytest.mark.fault("X09")
def test_the_second_worker_is_refused_at_once_and_told_who_is_there(tmp_path: Path, holder):
    started = time.monotonic()
    with pytest.raises(FolderBusy, match=f"process {holder.pid}, since 20"):
        DataFolder(tmp_path / "data").lock()
    assert time.monotonic() - started < 1


@pytest.mark.fault("X09", "X10")
def test_the_folder_is_free_the_moment_its_holder_is_killed(tmp_path: Path, holder):
    holder.kill()
    holder.join(10)
    folder = DataFolder(tmp_path / "data")
    with folder.lock():
        assert folder.holder().startswith(f"process {os.getpid()}, since")


def test_a_folder_that_was_released_can_be_taken_again(tmp_path: Path):
    for _ in range(3):
        with DataFolder(tmp_path / "data").lock(), pytest.raises(FolderBusy):
            DataFolder(tmp_path / "data").lock()


@pytest.mark.fault("X10")
def test_two_folders_do_not_lock_each_other(tmp_path: Path, holder):
    with DataFolder(tmp_path / "other").lock() as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700


@pytest.mark.fault("X10", "C07")
def test_a_folder_that_the_next_deploy_empties_is_pointed_out_on_render(tmp_path: Path):
    with DataFolder(Path("/proc/self").parent.parent / tmp_path.relative_to("/") / "data").lock() as folder:
        mount = next(place for place in (folder.path, *folder.path.parents) if place.is_mount())
        said = folder.warnings({"RENDER": "true"})
        if mount == Path("/"):
            assert any("the next deploy deletes the ledger" in text for text in said)
        assert not any("deploy" in text for text in folder.warnings({}))


@pytest.mark.fault("X10")
def test_a_folder_in_memory_is_pointed_out_anywhere():
    memory = Path("/dev/shm")
    if not (memory.is_dir() and memory.is_mount() and os.access(memory, os.W_OK)):
        pytest.skip("there is no /dev/shm here")
    folder = memory / f"iwm-{os.getpid()}"
    try:
        with DataFolder(folder).lock() as held:
            assert any("is in memory (tmpfs)" in text for text in held.warnings({}))
    finally:
        for path in folder.glob("*"):
            path.unlink()
        folder.rmdir()


@pytest.mark.fault("C08")
def test_a_folder_that_others_can_read_is_pointed_out(tmp_path: Path):
    with DataFolder(tmp_path / "data").lock() as folder:
        assert not any("other users" in text for text in folder.warnings({}))
        folder.path.chmod(0o755)
        assert any("can be read by other users" in text for text in folder.warnings({}))


@pytest.mark.fault("C07")
def test_a_file_in_the_folders_place_is_refused_and_frees_nothing(tmp_path: Path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DiskTrouble, match="cannot be used"):
        DataFolder(tmp_path / "data").lock()
    assert (tmp_path / "data").read_text() == "a file"


@pytest.mark.parametrize(
    ("number", "reason", "kind"),
    [
        (errno.ENOSPC, "the disk is full", DiskTrouble),
        (errno.EROFS, "the disk is read-only", DiskTrouble),
        (errno.EIO, "the disk fails", DiskFailed),
    ],
)
def test_a_disk_that_cannot_be_written_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str, kind: type[DiskTrouble]
):
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(data_folder.os, "fsync", fail)
    with pytest.raises(DiskTrouble, match=reason) as trouble:
        DataFolder(tmp_path / "data").lock()
    assert type(trouble.value) is kind
    assert trouble.value.must_stop is (kind is DiskFailed)
    monkeypatch.undo()
    with DataFolder(tmp_path / "data").lock() as folder:
        assert [path.name for path in folder.path.iterdir()] == ["worker.lock"]
