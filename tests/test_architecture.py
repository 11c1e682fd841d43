"""The rules of the house: imports point one way, the core reads no clock, and nothing of the machine is in the tree."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
CORE = (
    "events", "seconds", "signals", "contract_selector", "risk_manager", "pnl_tracker", "alerts", "outbox", "market",
    "desk_state", "delivery", "feed", "holding", "daily", "links", "desk",
)  # fmt: skip
EDGES = (
    "inbox", "threads", "errands", "scribe", "stream", "connection", "transport", "polygon_client", "phone", "ledger",
    "ledger_book", "ledger_audit", "ledger_schema", "data_folder", "logger",
)  # fmt: skip
MACHINERY = {"requests", "socket", "threading", "sqlite3", "time", "queue", "websocket", "urllib", "http", "os", "random"}
CLOCKS = {"time", "monotonic", "now", "today", "utcnow", "sleep", "perf_counter"}
TEXT = {".py", ".md", ".yaml", ".toml", ".txt", ".lock", ".html", ".css", ".js", ".json", "", ".example"}


def tree(module: str) -> ast.Module:
    return ast.parse((HOME / f"{module}.py").read_text())


def imports(module: str, *, lazily_too: bool = False) -> set[str]:
    """Top-level names imported by a module, those only for type checkers left out."""
    found: set[str] = set()
    body = ast.walk(tree(module)) if lazily_too else iter(tree(module).body)
    for node in body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_no_machinery_and_no_edge(module: str) -> None:
    found = imports(module)
    assert not found & MACHINERY
    assert not found & {*EDGES, "main", "diagnose", "simulator", "replay", "dashboard"}


@pytest.mark.parametrize("module", CORE)
def test_the_core_reads_no_clock(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
            owner = ast.unparse(node.func.value)
            assert owner not in {"time", "datetime", "date", "datetime.datetime"}, f"{module}: {ast.unparse(node)}"


def test_the_vocabulary_imports_nothing_of_ours() -> None:
    assert imports("events") <= {"__future__", "typing", "msgspec", "collections"}


@pytest.mark.parametrize("module", EDGES)
def test_no_edge_imports_the_desk(module: str) -> None:
    assert not imports(module, lazily_too=True) & {"desk", "desk_state", "holding", "delivery", "main"}


def test_the_map_of_the_house_has_every_room_once() -> None:
    rooms = re.findall(r"^\| (`.*?`) \|", (HOME / "docs" / "architecture.md").read_text(), re.MULTILINE)
    named = [name for row in rooms for name in re.findall(r"`(\w+)\.py`", row)]
    assert sorted(named) == sorted(file.stem for file in HOME.glob("*.py"))


def test_nobody_imports_main() -> None:
    for file in HOME.glob("*.py"):
        if file.stem not in {"main"}:
            assert "main" not in imports(file.stem, lazily_too=True), file.name


def test_only_utils_reads_the_hosts_clock() -> None:
    """`time.time()` and `datetime.now()` are utils'; an edge may measure with `time.monotonic()`."""
    for file in HOME.glob("*.py"):
        if file.name == "utils.py":
            continue
        assert not re.search(r"\btime\.time\(|datetime\.now\(|date\.today\(|\.utcnow\(", file.read_text()), file.name


@pytest.mark.fault("S17")
def test_nothing_unpickles_or_evaluates() -> None:
    for file in HOME.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in {
                    "eval",
                    "exec",
                    "pickle.loads",
                    "pickle.load",
                    "yaml.load",
                    "marshal.loads",
                }


def test_the_tree_speaks_of_itself_alone() -> None:
    """No path of a machine in what is kept."""
    listed = subprocess.run(["git", "ls-files"], cwd=HOME, capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        pytest.skip("not a git checkout")
    paths = re.compile("/" + r"(work|root|farm|home/[a-z]+)/(?!render)")
    for name in listed:
        file = HOME / name
        if file.suffix in TEXT and file.exists() and file.name not in {"requirements.lock", Path(__file__).name}:
            assert not paths.search(file.read_text(errors="replace")), name
