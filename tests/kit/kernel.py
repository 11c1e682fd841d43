"""What the kernel says of a process: its memory, its open descriptors, its threads."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path


def unshared_mb(pid: int) -> float:
    """Memory that would be free again if the process ended (USS), in millions of bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) * 1024 / 1e6


def thread_count(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def descriptors(pid: int, ports: Collection[int] = ()) -> tuple[int, int]:
    """Connections to these ports of loopback, and all other open descriptors."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if int(row[2].rpartition(":")[2], 16) in ports}
    targets = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            targets.append(str(descriptor.readlink()))
    there = sum(target in inodes for target in targets)
    return there, len(targets) - there
