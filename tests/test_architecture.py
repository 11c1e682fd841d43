"""The rules of the house: imports point one way, the core reads no clock, and nothing of the machine is in the tree."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
FOLDERS = ("events", "market", "desk", "strategies", "edges", "brokers", "wire", "disk", "dashboard", "replay", "simulator")
ROOT = {file.stem for file in HOME.glob("*.py")}
FILES = sorted([*HOME.glob("*.py"), *(file for folder in FOLDERS for file in (HOME / folder).rglob("*.py"))])

VALUES = {"events", "utils"}
RULES = VALUES | {
    "market",
    "config",
    "setting",
    "links",
    "signals",
    "contract_selector",
    "risk_manager",
    "pnl_tracker",
    "alerts",
}
MAY_IMPORT = {  # room: the rooms it may know; those that are not named (main, replay, simulator, diagnose) may know all
    "startup": set(),
    "utils": set(),
    "events": set(),
    "failpoints": {"utils"},
    "setting": {"utils"},
    "config": {"setting", "utils"},
    "links": {"config", "utils"},
    "logger": {"config", "utils"},
    "market": VALUES,
    "signals": VALUES | {"market", "config"},
    "contract_selector": VALUES | {"config", "market"},
    "risk_manager": VALUES | {"config"},
    "pnl_tracker": VALUES | {"config", "disk", "startup"},
    "alerts": VALUES | {"config"},
    "desk": RULES,
    "strategies": RULES | {"desk"},
    "wire": VALUES | {"config", "failpoints", "logger"},
    "polygon_client": VALUES | {"config", "logger", "wire"},
    "disk": VALUES | {"config", "failpoints", "logger", "pnl_tracker", "setting"},
    "edges": VALUES | {"alerts", "brokers", "config", "disk", "failpoints", "logger", "polygon_client", "signals", "wire"},
    "brokers": VALUES | {"config", "logger", "pnl_tracker", "wire"},
    "dashboard": RULES | {"desk", "disk", "edges", "logger", "wire", "strategies"},
}
CORE = (
    "events",
    "market",
    "signals",
    "contract_selector",
    "risk_manager",
    "pnl_tracker",
    "alerts",
    "links",
    "desk",
    "strategies",
)
MACHINERY = {"requests", "socket", "threading", "sqlite3", "time", "queue", "websocket", "urllib", "http", "os", "random"}
CLOCKS = {"time", "monotonic", "now", "today", "utcnow", "sleep", "perf_counter"}
UNSAFE = {"eval", "exec", "pickle.loads", "pickle.load", "yaml.load", "marshal.loads"}
TEXT = {".py", ".md", ".yaml", ".toml", ".txt", ".lock", ".html", ".css", ".js", ".json", "", ".example"}


def room_of(file: Path) -> str:
    """The root module or the folder that a file belongs to."""
    return file.relative_to(HOME).parts[0].removesuffix(".py")


def named(file: Path) -> str:
    return str(file.relative_to(HOME))


def modules(file: Path, *, lazily_too: bool) -> set[str]:
    """The modules that a file imports, in full; those for type checkers alone only with `lazily_too`."""
    tree = ast.parse(file.read_text())
    found: set[str] = set()
    for node in ast.walk(tree) if lazily_too else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms(file: Path, *, lazily_too: bool = True) -> set[str]:
    return {module.split(".")[0] for module in modules(file, lazily_too=lazily_too)}


OURS = [file for file in FILES if room_of(file) in MAY_IMPORT]
PURE = [file for file in FILES if room_of(file) in CORE]


@pytest.mark.parametrize("file", OURS, ids=named)
def test_imports_point_one_way(file: Path) -> None:
    room = room_of(file)
    assert rooms(file) & (ROOT | set(FOLDERS)) - {room} <= MAY_IMPORT[room]


@pytest.mark.parametrize("file", PURE, ids=named)
def test_the_core_imports_no_machinery(file: Path) -> None:
    assert not rooms(file, lazily_too=False) & MACHINERY


@pytest.mark.parametrize("file", PURE, ids=named)
def test_the_core_reads_no_clock(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
            owner = ast.unparse(node.func.value)
            assert owner not in {"time", "datetime", "date", "datetime.datetime"}, ast.unparse(node)


def test_no_strategy_knows_another() -> None:
    for file in (HOME / "strategies").glob("*/*.py"):
        others = {f"strategies.{other.name}" for other in (HOME / "strategies").iterdir() if other.name != file.parent.name}
        assert not {".".join(module.split(".")[:2]) for module in modules(file, lazily_too=True)} & others, named(file)


def test_no_file_waits_for_another_in_a_circle() -> None:
    """What is imported when a module is loaded makes no circle."""
    names = {".".join(file.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES}
    knows = {name: modules(file, lazily_too=False) & set(names) - {name} for name, file in names.items()}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in knows[name]:
                walk(other, (*path, name))
            done.add(name)

    for name in names:
        walk(name, ())


def test_the_vocabulary_imports_nothing_of_ours() -> None:
    for file in (HOME / "events").glob("*.py"):
        assert rooms(file) <= {"__future__", "typing", "msgspec", "collections", "events"}, named(file)


def test_the_map_of_the_house_has_every_room_once() -> None:
    table = re.findall(r"^\| (`.*?`) \|", (HOME / "docs" / "architecture.md").read_text(), re.MULTILINE)
    on_the_map = [name for row in table for name in re.findall(r"`([\w/]+?)(?:\.py|/)`", row)]
    assert sorted(on_the_map) == sorted([*ROOT, *FOLDERS])


def test_nobody_imports_main() -> None:
    for file in FILES:
        if file.name != "main.py":
            assert "main" not in rooms(file) or room_of(file) in {"simulator", "replay"}, named(file)


def test_only_utils_reads_the_hosts_clock() -> None:
    """`time.time()` and `datetime.now()` are utils'; an edge may measure with `time.monotonic()`."""
    for file in OURS:
        if file.name != "utils.py":
            assert not re.search(r"\btime\.time\(|datetime\.now\(|date\.today\(|\.utcnow\(", file.read_text()), named(file)


@pytest.mark.fault("S17")
def test_nothing_unpickles_or_evaluates() -> None:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in UNSAFE, named(file)


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
