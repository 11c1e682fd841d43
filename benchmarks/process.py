"""The whole worker as a process of its own, and what the kernel says of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulator.servers import Simulator

HOME = Path(__file__).resolve().parents[1]
TICKS_S = os.sysconf("SC_CLK_TCK")
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


@contextmanager
def worker(servers: Simulator, folder: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`main.py`, unmodified, on these servers, with its data in `folder`; ended in order. RuntimeError if it could not be."""
    environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    environment |= {"PYTHONUTF8": "1", **servers.environment(folder / "data", **settings)}
    with (folder / "console").open("wb") as console:
        process = subprocess.Popen(
            [sys.executable, str(HOME / "main.py")], cwd=folder, env=environment, stdout=console, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        died = process.poll()
        if died is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        else:
            tail = (folder / "console").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the worker ended by itself with exit code {died}:\n{tail}")


def cpu_s(pid: int) -> float:
    """Processor seconds of all its threads so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def resident_mb(pid: int) -> float:
    """Resident memory in millions of bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024 / 1e6
