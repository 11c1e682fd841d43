"""A newcomer's first hour: nothing installed, another Python, a strange console, a read-only disk, a demo that stays."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import startup
from tests.test_supply import named
from utils import VERSION

HOME = Path(__file__).resolve().parents[1]
KEYS = {"POLYGON_API_KEY": "k" * 20, "PUSHOVER_TOKEN": "a" * 30, "PUSHOVER_USER_KEY": "u" * 30}
NOBODY = "127.0.0.1:9"
PLACES = {
    "POLYGON_REST_URL": f"http://{NOBODY}",
    "PUSHOVER_URL": f"http://{NOBODY}",
    "POLYGON_WS_URL": f"ws://{NOBODY}/x",
    "POLYGON_OPTIONS_WS_URL": f"ws://{NOBODY}/x",
    "HEALTH_PORT": "0",
}
IMPORTED_AS = {"websocket-client": "websocket", "python-dotenv": "dotenv", "dask[distributed]": "dask"}


def run(
    *command: str, cwd: Path = HOME, env: dict[str, str] | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    whole = {**kept, **(env or {})}
    return subprocess.run(command, cwd=cwd, env=whole, capture_output=True, text=True, timeout=timeout_s, check=False)


# --- nothing installed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (("main.py",), 70),
        (("main.py", "--demo"), 70),
        (("diagnose.py",), 1),
        (("-m", "replay", "verify", "2026-11-20"), 2),
        (("-m", "pnl_tracker", "verify"), 2),
        (("-m", "simulator"), 2),
    ],
)
def test_without_packages_a_program_says_in_one_sentence_how_to_install_them(program: tuple[str, ...], code: int) -> None:
    done = run(sys.executable, "-S", *program)
    assert done.returncode == code
    assert done.stdout == ""
    (said,) = done.stderr.splitlines()
    assert "not installed: `make install`" in said
    assert re.search(r"pip install -r requirements[.\w-]+", said)


def test_a_package_that_one_command_needs_is_named_by_it(tmp_path: Path) -> None:
    """The worker's packages and rich are there; numba is not."""
    without = tmp_path / "sitecustomize.py"
    without.write_text("import sys\nsys.modules['numba'] = None\n")
    done = run(
        sys.executable, "-m", "replay", "bench", "--days", "1", env={"PYTHONPATH": str(tmp_path), "DATA_DIR": str(tmp_path)}
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "numba" in done.stderr
    assert "requirements-replay.txt" in done.stderr


def test_what_is_looked_for_is_what_the_requirements_name() -> None:
    for names, file in ((startup.WORKER, "requirements.txt"), (startup.REPLAY, "requirements-replay.txt")):
        text = re.sub(r"\[\w+\]", "", (HOME / file).read_text())
        wanted = {named(name) for name in re.findall(r"^([A-Za-z0-9_-]+)==", text, re.MULTILINE)}
        assert {IMPORTED_AS.get(name, name.replace("-", "_")) for name in wanted} == set(names)
    for name in (*startup.WORKER, *startup.REPLAY, *startup.SIMULATOR):
        assert find_spec(name) is not None, name


def test_an_older_python_is_told_which_one_is_needed() -> None:
    old = shutil.which("python3.10")
    if old is None or run(old, "--version").returncode:
        pytest.skip("there is no older Python here")
    done = run(old, "main.py")
    assert done.returncode == 70
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "Traceback" not in done.stderr


# --- what is asked of main ---------------------------------------------------------------------------------------------


def test_the_worker_says_its_version_and_names_an_option_it_does_not_know() -> None:
    assert run(sys.executable, "main.py", "--version").stdout == f"iwm-5-vwap {VERSION}\n"
    done = run(sys.executable, "main.py", "--version", "--verbose")
    assert done.returncode == 78
    assert done.stderr.startswith("--verbose is no option of the worker")
    asked = run(sys.executable, "main.py", "--help")
    assert asked.returncode == 0
    assert "--demo" in asked.stdout


def test_make_says_what_there_is_and_passes_a_seed_on() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not here")
    told = run("make").stdout
    assert told == run("make", "help").stdout
    rules = set(re.findall(r"^([a-z]+):", (HOME / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^  make (\w+)", told, re.MULTILINE)) == rules
    planned = run("make", "-n", "-o", ".venv/ready", "demo", "SEED=2", "STAY=1", "PORT=8080").stdout
    assert planned.split()[1:] == ["main.py", "--demo", "--seed", "2", "--port", "8080", "--stay"]


# --- pip install . -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution, built from what git keeps, without the network."""
    folder = tmp_path_factory.mktemp("build")
    for file in run("git", "ls-files", "-co", "--exclude-standard").stdout.splitlines():
        if (HOME / file).exists():
            (folder / "tree" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HOME / file, folder / "tree" / file)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-w", str(folder))
    done = run(sys.executable, "-m", "pip", "wheel", "-q", *options, str(folder / "tree"), timeout_s=110)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_distribution_has_every_module_every_folder_and_every_file_of_the_page(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    kept = run("git", "ls-files", "-co", "--exclude-standard").stdout.splitlines()
    rooms = {Path(file).parts[0] for file in kept if file.endswith("/__init__.py")} - {"tests", "benchmarks"}
    assert {"events", "desk", "dashboard", "replay", "simulator"} <= rooms
    wanted = {
        file
        for file in kept
        if (HOME / file).exists()
        and (Path(file).parts[0] in rooms or ("/" not in file and file.endswith(".py") and file != "setup.py"))
    }
    assert wanted <= held
    assert not any(file.startswith(("tests/", "benchmarks/")) for file in held)


def test_the_installed_commands_are_the_programs(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "installed"
    options = ("--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", "--target", str(place))
    done = run(sys.executable, "-m", "pip", "install", "-q", *options, str(wheel))
    assert done.returncode == 0, done.stderr
    found = {"PYTHONPATH": str(place), "DATA_DIR": str(tmp_path / "data")}
    scripts = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]["scripts"]
    assert {file.name for file in (place / "bin").iterdir()} == set(scripts)
    said = run(str(place / "bin" / "iwm5vwap"), "--version", cwd=tmp_path, env=found)
    assert said.stdout == f"iwm-5-vwap {VERSION}\n", said.stderr
    refused = run(str(place / "bin" / "iwm5vwap"), cwd=tmp_path, env=found)
    assert refused.returncode == 78
    assert "POLYGON_API_KEY is missing" in refused.stderr
    assert "bench" in run(str(place / "bin" / "iwm5vwap-replay"), "--help", cwd=tmp_path, env=found).stdout
    checked = run(str(place / "bin" / "iwm5vwap-diagnose"), "--offline", cwd=tmp_path, env={**found, **KEYS})
    assert checked.returncode in (0, 2), checked.stdout + checked.stderr


# --- one folder that can be written ------------------------------------------------------------------------------------

READ_ONLY = """
set -e
mount --make-rprivate /
mount -t tmpfs none "$1"
chmod 700 "$1"
for place in / /tmp /var/tmp /dev/shm "$2" "$HOME"; do mount --bind "$place" "$place"; mount -o remount,ro,bind "$place"; done
mount --bind "$1" "$1"; mount -o remount,rw,bind "$1"
cd "$2"
! touch /tmp/probe 2> /dev/null
shift 2
"$@"
"""
CAN_UNSHARE = shutil.which("unshare") is not None and run("unshare", "-m", "mount", "--make-rprivate", "/").returncode == 0


@pytest.mark.process
@pytest.mark.skipif(not CAN_UNSHARE, reason="no mounts of its own for this user")
def test_only_the_data_folder_has_to_be_writable() -> None:
    data = Path("/mnt")

    def within(*command: str, timeout_s: float = 110) -> subprocess.CompletedProcess[str]:
        env = {
            **KEYS,
            **PLACES,
            "DATA_DIR": str(data),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": os.environ.get("HOME", "/root"),
        }
        shell = ("unshare", "-m", "bash", "-c", READ_ONLY, "bash", str(data), str(HOME))
        return run(*shell, *command, env=env, timeout_s=timeout_s)

    python = sys.executable
    worker = within("timeout", "--signal=TERM", "5", python, "main.py")
    assert "stopping: SIGTERM" in worker.stdout, worker.stdout + worker.stderr
    assert f"there is no temporary directory that can be written: {data / 'tmp'} is used" in worker.stdout
    assert "ledger cannot be used" not in worker.stdout
    after_worker = f"timeout 5 {python} main.py > /dev/null; {python} -m pnl_tracker verify"
    assert "The ledger is sound." in within("bash", "-c", after_worker).stdout
    compiled = within(python, "-m", "replay", "bench", "--days", "1")
    assert compiled.returncode == 0, compiled.stderr


def test_without_any_temporary_directory_that_is_what_is_said(tmp_path: Path) -> None:
    nowhere = "import tempfile\ntempfile._candidate_tempdir_list = lambda: []\n"
    (tmp_path / "sitecustomize.py").write_text(nowhere)
    (tmp_path / "data").write_text("no folder")
    env = {"PYTHONPATH": str(tmp_path), "DATA_DIR": str(tmp_path / "data")}
    done = run(sys.executable, "-m", "pnl_tracker", "verify", env=env)
    assert done.returncode == 2
    assert "no temporary directory that can be written (set TMPDIR)" in done.stderr
    assert "ledger" not in done.stderr


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_commands_that_need_no_compiled_code_load_none(command: str, tmp_path: Path) -> None:
    look = (
        "import sys; from replay.__main__ import main\n"
        f"code = main(['{command}', '2026-11-20', '--data-dir', {str(tmp_path)!r}])\n"
        "assert not {'numba', 'llvmlite'} & set(sys.modules), 'compiled code'\nsys.exit(code)"
    )
    done = run(sys.executable, "-c", look)
    assert done.returncode == 2, done.stderr
    assert "no tape" in done.stderr


# --- the demo ----------------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_the_demo_stays_with_its_page_on_a_console_that_is_not_utf8_and_its_day_is_replayed_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ascii_only = {"PYTHONIOENCODING": "ascii", "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    options = ("--seed", "2", "--speed", "20", "--stay", "--port", str(port))
    demo = subprocess.Popen(
        [sys.executable, str(HOME / "main.py"), "--demo", *options], cwd=tmp_path, env=ascii_only, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert demo.stdout is not None
        lines: list[str] = []
        for line in demo.stdout:
            lines.append(line)
            if "Ctrl-C ends it" in line:
                break
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert answer.status == 200
        demo.send_signal(signal.SIGINT)
        lines += demo.stdout
        assert demo.wait(30) == 0, "".join(lines)
    finally:
        demo.kill()
    shown = "".join(lines)
    assert shown.isascii()
    assert "Traceback" not in shown
    assert re.search(r"lifetime +-\$\d+\.\d\d", shown), "a market that turns round loses"
    (data,) = tmp_path.glob("demo-data/*/data")
    for command in (("run", "2026-11-20"), ("why", "10:04:40", "2026-11-20"), ("verify", "2026-11-20")):
        done = run(sys.executable, "-m", "replay", *command, "--data-dir", str(data), env=ascii_only)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout.isascii()
