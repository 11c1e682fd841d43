"""What the worker is made of: few packages, pinned by hash, and one whose bytes are not the pinned ones is never installed."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;#]+)", re.MULTILINE)
PACKAGES_MAX = 50


def named(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    return {named(name): version for name, version in PINNED.findall((HOME / file).read_text())}


def test_the_lock_pins_what_is_asked_for_and_every_pin_has_a_hash() -> None:
    asked, locked = pins("requirements.txt"), pins("requirements.lock")
    assert {name: locked.get(name) for name in asked} == asked
    assert len(locked) <= PACKAGES_MAX
    for entry in re.split(r"\n(?=[A-Za-z0-9])", (HOME / "requirements.lock").read_text().strip()):
        if not entry.startswith("#"):
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:60]


def test_the_make_file_installs_the_worker_by_the_lock_alone() -> None:
    lines = [
        line for line in (HOME / "Makefile").read_text().splitlines() if "-r requirements.lock" in line and "install" in line
    ]
    assert lines
    assert all("--require-hashes" in line and "--only-binary :all:" in line for line in lines)


def wheel(folder: Path, name: str, version: str) -> Path:
    """A package of that name and version whose content is ours."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "altered = True\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{name}/__init__.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def install(lock: Path, wheels: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """As the Makefile does, but from a folder instead of the index, and to another place."""
    options = [
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--no-index",
        "--find-links",
        str(wheels),
        "--no-deps",
        "--no-cache-dir",
    ]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options]
    return subprocess.run(
        [*command, "--target", str(target), "-r", str(lock)], capture_output=True, text=True, timeout=90, check=False
    )


@pytest.mark.fault("S18")
def test_one_flipped_digit_of_a_hash_and_nothing_is_installed(tmp_path: Path) -> None:
    made = wheel(tmp_path / "wheels", "lonelypackage", "1.0.0")
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    good, flipped = tmp_path / "good.lock", tmp_path / "flipped.lock"
    good.write_text(f"lonelypackage==1.0.0 \\\n    --hash=sha256:{digest}\n")
    flipped.write_text(f"lonelypackage==1.0.0 \\\n    --hash=sha256:{'1' if digest[0] == '0' else '0'}{digest[1:]}\n")
    refused = install(flipped, made.parent, tmp_path / "refused")
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (tmp_path / "refused" / "lonelypackage").exists()
    taken = install(good, made.parent, tmp_path / "taken")
    assert taken.returncode == 0, taken.stderr
    assert (tmp_path / "taken" / "lonelypackage" / "__init__.py").exists()


@pytest.mark.fault("S18")
def test_an_altered_package_under_a_pinned_name_is_refused_by_the_lock_itself(tmp_path: Path) -> None:
    made = wheel(tmp_path / "wheels", "h11", pins("requirements.lock")["h11"])
    entry = re.search(r"^h11==.*?(?=^\S|\Z)", (HOME / "requirements.lock").read_text(), re.MULTILINE | re.DOTALL)
    assert entry is not None
    lock = tmp_path / "h11.lock"
    lock.write_text(entry[0])
    refused = install(lock, made.parent, tmp_path / "target")
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
