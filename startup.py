"""What every program does before anything else: say in one sentence what is not installed, and print on any console.

Imports nothing that has to be installed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

WORKER = (
    "apprise", "dotenv", "exchange_calendars", "filelock", "h11", "msgspec", "numpy", "pandas", "prometheus_client", "pydantic",
    "pytz", "requests", "scipy", "structlog", "websocket", "zstandard",
)  # fmt: skip
REPLAY = ("dask", "joblib", "matplotlib", "numba", "polars", "rich")
SIMULATOR = ("h11", "numpy", "rich", "websockets")
OF_WORKER, OF_REPLAY, OF_SIMULATOR = "requirements.lock", "requirements-replay.txt", "requirements-dev.txt"


def begin(needed: Sequence[str], *files: str, code: int) -> None:
    """Let the console print what it can; where one of the modules `needed` is missing, say that pip reads `files`, and end."""
    print_anywhere()
    if sys.version_info < (3, 11):  # noqa: UP036 - to say so is the point
        found = ".".join(map(str, sys.version_info[:3]))
        end(
            f"Python 3.11 or newer is needed, and this is {found}: `make install PYTHON=python3.13` takes another one.", code
        )
    if missing := [name for name in needed if find_spec(name) is None]:
        end(how_to_install(missing, *files), code)


def how_to_install(missing: Sequence[str], *files: str) -> str:
    """The sentence; `missing` are modules, `files` what pip would read."""
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    what = f"{', '.join(missing[:3])}{more} {'is' if len(missing) == 1 else 'are'} not installed"
    return f"{what}: `make install` makes .venv with all that is needed, or `pip install -r {' -r '.join(files)}` does"


def end(sentence: str, code: int) -> NoReturn:
    """Print the sentence on the error stream, and end the process."""
    sys.stderr.write(sentence + "\n")
    raise SystemExit(code)


def print_anywhere() -> None:
    """What a console cannot show becomes a question mark instead of an exception."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
