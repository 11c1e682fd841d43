"""Named places where a test may let the worker die, fail, hang or end: `FAILPOINT=name:action:n` in the environment.

Without that variable `hit` compares with None and returns. Actions, taken at the n-th hit (`2`), or from it on (`2+`):
`kill` SIGKILL to the own process, `raise` a RuntimeError, `exit` SystemExit, which ends a thread in silence, `sleep` for ten minutes,
`pause` for a second, said on stderr.
"""

from __future__ import annotations

import os
import signal
import threading
import time

SLEEP_S, PAUSE_S = 600.0, 1.0
ACTIONS = ("kill", "raise", "exit", "sleep", "pause")


class Failpoint:
    """One armed place. ValueError if it is not `name:action:n`."""

    def __init__(self, text: str) -> None:
        parts = text.rsplit(":", 2)
        if len(parts) != 3 or parts[1] not in ACTIONS or not parts[2].rstrip("+").isdigit():
            raise ValueError(f"FAILPOINT is name:action:n with action {', '.join(ACTIONS)}, not {text!r}")
        self.name, self.action = parts[0], parts[1]
        self.at, self.again = int(parts[2].rstrip("+")), parts[2].endswith("+")
        self._hits = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        with self._lock:
            self._hits += 1
            due = self._hits == self.at or (self.again and self._hits > self.at)
        if due:
            self._act()

    def _act(self) -> None:
        match self.action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(SLEEP_S)  # the signal is on its way: nothing more may happen in this thread
            case "raise":
                raise RuntimeError(f"failpoint {self.name}")
            case "sleep":
                time.sleep(SLEEP_S)
            case "pause":
                os.write(2, f"paused at {self.name}\n".encode())
                time.sleep(PAUSE_S)
            case "exit":
                raise SystemExit(3)


_armed = Failpoint(os.environ["FAILPOINT"]) if os.environ.get("FAILPOINT") else None


def hit(name: str) -> None:
    """The place `name` is passed."""
    if _armed is not None and _armed.name == name:
        _armed.take()
