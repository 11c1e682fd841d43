"""README's commands are run as they are written: in order, in a shell, on the demo's own day."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
README = (HOME / "README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
NOT_RUN = {
    "make": "tests/test_first_hour.py looks at what make would do",
    "make demo": "run as `python main.py --demo`, faster",
    "make demo SEED=2": "tests/test_first_hour.py",
    "make demo STAY=1 PORT=8080": "tests/test_first_hour.py",
    "make test": "this is one of its tests",
    "make install": "made the environment of these tests",
    "make chaos": "an hour",
    "make soak": "a quarter of an hour",
    "make bench": "minutes",
    "make check": "part of `make test`",
    "cp .env.example .env": "would change this machine",
    "chmod 600 .env": "would change this machine",
    "pip install -r requirements.lock": "made the environment of these tests",
    "pip install .": "tests/test_first_hour.py builds and installs it",
    "python main.py": "needs keys",
    "python main.py --demo": "run for its day",
    "python diagnose.py": "needs keys",
    "python diagnose.py --send": "needs keys",
    "python -m replay": "needs a command",
    "python -m pnl_tracker restore": "for a damaged ledger",
    "python -m config": "tests/test_config.py",
}
COMMAND = re.compile(r"(?:make|pip|python|cp|chmod|export)\b")


def commands(text: str) -> list[str]:
    """Each line of a block without its comment."""
    lines = (re.sub(r"\s+#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if COMMAND.match(line)]


def in_prose() -> set[str]:
    """What stands between backticks and is a command."""
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    return {" ".join(text.split()) for text in re.findall(r"`([^`]+)`", prose) if COMMAND.match(text)}


SCRIPT = [line for block in BLOCKS for line in commands(block) if line not in NOT_RUN]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the project's in which the demo was played."""
    folder = tmp_path_factory.mktemp("project")
    for entry in HOME.iterdir():
        if not entry.name.startswith(".") and entry.name not in ("demo-data", "data"):
            (folder / entry.name).symlink_to(entry)
    done = subprocess.run(
        [sys.executable, "main.py", "--demo", "--speed", "20"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def shell(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run lines in bash, where `python` is the one that runs these tests."""
    python = f'python() {{ "{sys.executable}" "$@"; }}\nset -e\n'
    environment = {name: text for name, text in os.environ.items() if name != "DATA_DIR"}
    command = ["bash", "-c", python + script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.process
def test_every_command_of_the_readme_works_as_it_is_written(demo: Path) -> None:
    assert sum(line.startswith("python ") for line in SCRIPT) >= 7
    marked = "\n".join(f"echo '$ {line}'\n{line}" for line in SCRIPT)
    done = shell(demo, marked)
    said = {part.partition("\n")[0]: part.partition("\n")[2] for part in done.stdout.split("$ ")[1:]}
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    (why,) = (text for line, text in said.items() if " why " in line)
    assert re.search(r"7\s+not lagging the leader", why)
    (verified,) = (text for line, text in said.items() if line.startswith("python -m replay verify"))
    assert "the same" in verified


def test_no_command_of_the_readme_is_left_out_unseen() -> None:
    known = {*SCRIPT, *NOT_RUN}
    begun = {line.split(" FILE")[0] for line in known}
    for command in in_prose():
        assert command in begun or any(line.startswith(command) for line in known), command


def test_the_files_that_the_readme_names_are_there() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("http") or (HOME / link).exists(), link
    for page in [*HOME.glob("docs/*.md"), HOME / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_setting_that_the_readme_names_exists() -> None:
    from config import fields

    rows = re.findall(r"^\| ((?:`[A-Z_]+`,? ?)+)\|", README, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"[A-Z_]+", row)}
    assert {"DATA_DIR", "NO_ENTRY_AFTER"} <= named <= set(fields())
