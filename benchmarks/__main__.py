"""`python -m benchmarks` (`make bench`): every figure beside what it must reach. Some seven minutes, most of them market time.

    python -m benchmarks                  all of them
    python -m benchmarks --only latency   one of them; may be repeated
    python -m benchmarks --json           for machines

Figures depend on the machine and on who else uses it: they are printed and judged here, and never in a test. The exit code is 1
only when something could not be measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from importlib import import_module

import msgspec
from rich.console import Console

from benchmarks.figures import Figure, table

BENCHMARKS = {
    "desk": "benchmarks.desk:measure",
    "reader": "benchmarks.reader:measure",
    "chain": "benchmarks.chain:measure",
    "start": "benchmarks.session:measure_start",
    "session": "benchmarks.session:measure_session",
    "latency": "benchmarks.latency:measure",
    "page": "benchmarks.page:measure",
    "replay": "benchmarks.replay_speed:measure",
    "year": "benchmarks.year:measure",
}


class Measured(msgspec.Struct, frozen=True):
    """One benchmark's figures, or why there are none."""

    name: str
    figures: list[Figure]
    fault: str = ""


def measured(name: str) -> Measured:
    module, _, function = BENCHMARKS[name].partition(":")
    try:
        measure: Callable[[], list[Figure]] = getattr(import_module(module), function)
        return Measured(name, measure())
    except Exception as fault:
        return Measured(name, [], f"{type(fault).__name__}: {fault}")


def as_json(results: list[Measured]) -> bytes:
    told = [
        {"benchmark": result.name, **msgspec.to_builtins(figure), "met": figure.met}
        for result in results
        for figure in result.figures
    ]
    return msgspec.json.format(msgspec.json.encode(told))


def main(argv: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    options.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    options.add_argument("--json", action="store_true", help="figures as JSON")
    chosen = options.parse_args(argv)
    progress = Console(stderr=True, quiet=chosen.json)
    load, *_ = os.getloadavg()
    results = []
    for name in chosen.only or BENCHMARKS:
        progress.print(f"[dim]{name} …[/dim]")
        results.append(measured(name))
    if chosen.json:
        sys.stdout.buffer.write(as_json(results) + b"\n")
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
        console.print(table(figure for result in results for figure in result.figures))
        where = f"{os.cpu_count()} cores, of which others used {load:.1f} when it began; Python {platform.python_version()}"
        console.print(f"\n{where}", style="dim")
    for result in results:
        if result.fault:
            print(f"{result.name} could not be measured: {result.fault}", file=sys.stderr)
    return int(any(result.fault for result in results))


if __name__ == "__main__":
    sys.exit(main())
