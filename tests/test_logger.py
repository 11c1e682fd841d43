"""The log: one line a record, no secret in any shape, and nobody waits for a console or a disk."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

import logger
from config import Config
from tests.kit.logs import put_back

ROOT = Path(__file__).resolve().parents[1]
POLYGON_KEY, TOKEN, USER_KEY = (
    "pk_Canary0123456789+".replace("+", "x"),
    "aCanaryToken0123456789abcdefgh",
    "uCanaryUser0123456789abcdefghi",
)
KEYS = {"POLYGON_API_KEY": POLYGON_KEY, "PUSHOVER_TOKEN": TOKEN, "PUSHOVER_USER_KEY": USER_KEY}
TOPIC = "canary/topic&name?x=1"
AT = 1759416137.25  # 2025-10-02 10:42:17.250 in New York


class StoppedClock:
    def now(self) -> float:
        return AT

    def steady(self) -> float:
        return AT

    def moved(self) -> float:
        return 0.0

    def wall(self) -> float:
        return AT

    def real_seconds(self, seconds: float) -> float:
        return seconds

    def confirm(self) -> None:
        pass


Start = Callable[..., logger.Log]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Sets the log up in a folder of its own, as often as asked; everything is put back afterwards."""
    logs: list[logger.Log] = []

    def set_up(console: int | None = None, **settings: str) -> logger.Log:
        logs.append(
            logger.setup(Config.from_env(KEYS | {"DATA_DIR": str(tmp_path)} | settings), StoppedClock(), console=console)
        )
        return logs[-1]

    with put_back():
        yield set_up
        for log in logs:
            log.close(0.2)


def lines_of(log: logger.Log, folder: Path) -> list[str]:
    log.close()
    return (folder / "iwm_momentum.log").read_text(encoding="utf-8").split("\n")[:-1]


# --- the line ----------------------------------------------------------------------------------------------------------


def test_a_line_has_new_york_time_level_words_and_fields(start: Start, tmp_path: Path) -> None:
    log = start()
    logger.of("desk").info("🔥 ENTRY: O:IWM251002C00215000 @ $1.45", id="20251002-1", peak=1.405, note="two words")
    (line,) = lines_of(log, tmp_path)
    assert (
        line
        == '2025-10-02 10:42:17.250 INFO    🔥 ENTRY: O:IWM251002C00215000 @ $1.45 id=20251002-1 peak=1.405 note="two words"'
    )


def test_json_lines_are_for_machines(start: Start, tmp_path: Path) -> None:
    log = start(LOG_FORMAT="json")
    logger.of("desk").warning("📊 Data feed active", price=220.5, bad=float("nan"), nested={"a": (1, None)}, line="a\nb")
    (line,) = lines_of(log, tmp_path)
    assert json.loads(line) == {
        "timestamp": "2025-10-02T10:42:17.250-04:00",
        "level": "warning",
        "event": "📊 Data feed active",
        "price": 220.5,
        "bad": "nan",
        "nested": {"a": [1, None]},
        "line": "a\nb",
    }


@pytest.mark.fault("S10")
@pytest.mark.parametrize("form", ["text", "json"])
@given(text=st.text(st.characters(codec=None), max_size=80))
def test_whatever_comes_in_one_record_is_one_printable_line(form: str, text: str) -> None:
    render = logger.Renderer(StoppedClock(), logger.Redactor(()), as_json=form == "json")
    line = render(None, "info", {"event": text, "field": text, "level": "info"})
    assert line.encode()
    assert len(line.splitlines()) == 1
    assert line.replace("\u200d", "").isprintable() or not re.search(
        "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", line
    )


@pytest.mark.fault("S10")
def test_line_breaks_and_escape_codes_from_the_feed_are_shown_not_obeyed(start: Start, tmp_path: Path) -> None:
    log = start()
    logger.of("feed").info("bad\r\n2025-10-02 00:00:00 INFO forged\x1b[2J\u2028\u202eevil", symbol="\x9b31m\n")
    logging.getLogger("library").warning("also\nhere")
    first, second = lines_of(log, tmp_path)
    assert r"bad\r\n2025-10-02 00:00:00 INFO forged\x1b[2J\u2028\u202eevil" in first
    assert r"also\nhere" in second


def test_a_huge_record_is_cut_in_the_middle(start: Start, tmp_path: Path) -> None:
    log = start()
    logger.of("feed").info("x" * 1_000_000, end="tail")
    (line,) = lines_of(log, tmp_path)
    assert len(line) < logger.LINE_LIMIT + 100
    assert line.endswith("end=tail")


def test_the_same_words_come_once_a_second_and_say_how_often_they_were_meant(start: Start, tmp_path: Path) -> None:
    log = start()
    for _ in range(200):
        logger.of("feed").warning("bar dropped", reason="malformed")
        logger.of("feed").warning("bar dropped", reason="too old")
    time.sleep(logger.SAME_WITHIN_S + 0.05)
    logger.of("feed").warning("bar dropped", reason="malformed")
    lines = lines_of(log, tmp_path)
    assert len(lines) == 3
    assert lines[-1].endswith("reason=malformed repeated=199")


def test_the_last_lines_are_kept_for_the_page(start: Start) -> None:
    log = start()
    for number in range(500):
        logger.of("desk").info(f"line {number} {TOKEN}")
    assert len(log.recent) == logger.RECENT_LINES
    assert log.recent[-1].endswith("line 499 ***")


# --- secrets -----------------------------------------------------------------------------------------------------------


def assert_clean(text: str) -> None:
    for secret in (POLYGON_KEY, TOKEN, USER_KEY, TOPIC):
        assert secret not in text
        assert quote(secret, safe="") not in text
        for around in ("", "x", "xy"):
            core = base64.b64encode((around + secret + around).encode()).decode()[4:-4]
            assert core not in text


@pytest.mark.fault("S01", "S04")
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_leaves_in_any_shape(start: Start, tmp_path: Path, form: str) -> None:
    log = start(LOG_FORMAT=form, LOG_LEVEL="DEBUG", FALLBACK_ALERT_URLS=f"json://127.0.0.1/{TOPIC}")
    desk, library = logger.of("desk"), logging.getLogger("some.library")
    for secret in (POLYGON_KEY, TOKEN, USER_KEY, TOPIC):
        desk.info(
            f"GET /v3?apiKey={secret}&x", url=f"https://x/?k={quote(secret, safe='')}", nested={"k": [secret], secret: 1}
        )
        desk.info("basic", header="Basic " + base64.b64encode(f"user:{secret}".encode()).decode())
        desk.info("urlsafe", header=base64.urlsafe_b64encode(f"me:{secret}!".encode()).decode(), hexed=secret.encode().hex())
        library.debug("sent %s", {"Authorization": f"Bearer {secret}"})
        library.warning("%(key)s", {"key": secret})
        try:
            try:
                raise ValueError(f"inner {secret}")
            except ValueError as error:
                raise RuntimeError(f"outer {secret}") from error
        except RuntimeError:
            desk.exception("it failed", stack_info=True)
            library.exception("so it did", stack_info=True)
        warnings.warn(f"careful with {secret}", stacklevel=1)
    lines = lines_of(log, tmp_path)
    assert len(lines) == 4 * 8
    assert_clean("\n".join(lines))
    assert "***" in lines[0]
    assert "outer ***" in "".join(lines)


@pytest.mark.fault("S01")
def test_a_secret_at_the_cut_of_a_huge_record_leaves_no_half(start: Start, tmp_path: Path) -> None:
    log = start()
    for before in range(logger.LINE_LIMIT - 1200, logger.LINE_LIMIT - 900, 7):
        logger.of("feed").info("x" * before + TOKEN + "y" * 20_000)
    assert TOKEN[:8] not in "".join(lines_of(log, tmp_path))


@pytest.mark.fault("S02")
def test_libraries_keep_quiet_at_debug(start: Start, tmp_path: Path) -> None:
    log = start(LOG_LEVEL="DEBUG")
    with pytest.raises(requests.ConnectionError):
        requests.get("http://127.0.0.1:9/", params={"apiKey": POLYGON_KEY}, timeout=1)
    for name in logger.QUIET_LIBRARIES:
        logging.getLogger(name).debug("sending %s", POLYGON_KEY)
        logging.getLogger(f"{name}.deep").info("sending %s", POLYGON_KEY)
    logger.of("desk").debug("heard")
    (line,) = lines_of(log, tmp_path)
    assert line.endswith("heard")


@pytest.mark.fault("S01", "S03")
def test_an_error_of_the_http_library_tells_no_key(start: Start, tmp_path: Path) -> None:
    log = start()
    try:
        requests.get("http://127.0.0.1:9/", params={"apiKey": POLYGON_KEY}, timeout=1)
    except requests.ConnectionError:
        logger.of("rest").exception("no chain")
    (line,) = lines_of(log, tmp_path)
    assert "apiKey=***" in line
    assert_clean(line)


@pytest.mark.fault("S03")
def test_a_crash_of_process_or_thread_shows_neither_locals_nor_message_secrets(start: Start, tmp_path: Path) -> None:
    log = start()

    def crash() -> None:
        kept_in_a_local = "local-canary-value"
        raise RuntimeError(f"{TOKEN} {len(kept_in_a_local)}")

    thread = threading.Thread(target=crash, name="poller")
    thread.start()
    thread.join()
    try:
        crash()
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    of_thread, of_process = lines_of(log, tmp_path)
    assert "thread poller ends by an exception" in of_thread
    assert "the process ends by an exception" in of_process
    for line in (of_thread, of_process):
        assert "RuntimeError: ***" in line
        assert 'kept_in_a_local = "local-canary-value"' not in line.replace(r"\"", '"')


def test_what_is_said_after_the_end_is_not_printed_unredacted(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    log = start()
    log.close()
    logging.getLogger("late").error("still here %s", TOKEN)
    logger.of("late").error(f"still here {TOKEN}")
    out, err = capfd.readouterr()
    assert "here" not in out + err


# --- the file ----------------------------------------------------------------------------------------------------------


def test_the_file_is_bounded_and_for_its_owner_only(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "FILE_BYTES", 20_000)
    old = tmp_path / "iwm_momentum.log"
    old.write_text("from before\n")
    old.chmod(0o644)
    log = start()
    for number in range(1500):
        logger.of("desk").info(f"line {number}", filler="x" * 100)
    log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 1 + logger.FILES_KEPT
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.stat().st_size <= 20_000
    assert "line 1499" in old.read_text()


def test_a_log_file_that_cannot_be_opened_is_said_and_done_without(start: Start, tmp_path: Path) -> None:
    (tmp_path / "folder.log").mkdir()
    reading, writing = os.pipe()
    log = start(console=writing, LOG_FILE="folder.log")
    logger.of("desk").info("going on")
    log.close()
    os.close(writing)
    with os.fdopen(reading) as console:
        said = console.read()
    assert "the log file cannot be opened: Is a directory" in said
    assert "going on" in said


def test_a_disk_that_refuses_costs_lines_and_tells_how_many(start: Start, tmp_path: Path) -> None:
    log = start()
    (sink,) = log._sinks
    write, refusing = sink._write, threading.Event()
    refusing.set()

    def full_disk(line: str) -> None:
        if refusing.is_set():
            raise OSError(28, "No space left on device")
        write(line)

    sink._write = full_disk
    for number in range(5):
        logger.of("desk").info(f"lost {number}")
    wait_until(lambda: log.dropped == 5)
    refusing.clear()
    logger.of("desk").info("kept")
    lines = lines_of(log, tmp_path)
    assert lines[0] == "(5 lines of the log could not be written here)"
    assert lines[1].endswith("kept")


# --- the console -------------------------------------------------------------------------------------------------------


def wait_until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.fault("X22")
def test_a_console_that_nobody_reads_keeps_nobody_waiting(start: Start, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    log = start(console=writing)
    longest = 0.0
    for number in range(logger.QUEUED_LINES + 3000):
        before = time.monotonic()
        logger.of("desk").info(f"line {number}", filler="x" * 200)
        longest = max(longest, time.monotonic() - before)
    assert longest < 0.5
    console, file = log._sinks
    assert console.dropped > 1000
    wait_until(file._queue.empty)
    logger.of("desk").info("the file goes on")
    wait_until(lambda: "the file goes on" in (tmp_path / "iwm_momentum.log").read_text())
    before = time.monotonic()
    log.close(0.3)
    assert time.monotonic() - before < 1.5
    os.close(reading)
    os.close(writing)


@pytest.mark.fault("X22")
@pytest.mark.parametrize("way", ["reader gone", "closed at the start"])
def test_a_process_whose_console_is_closed_lives_and_ends_in_order(tmp_path: Path, way: str) -> None:
    program = (
        "import logger, time\nfrom config import load\nfrom utils import SystemClock\n"
        "settings = load()\nfirst = open('opened-first.txt', 'w')\n"
        "log = logger.setup(settings, SystemClock())\n"
        "for n in range(50):\n    logger.of('desk').info(f'line {n}')\n    time.sleep(0.001)\n"
        "log.close()\nraise SystemExit(7)\n"
    )
    env = os.environ | KEYS | {"DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    if way == "reader gone":
        worker = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        worker.stdout.close()
    else:
        closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
        worker = subprocess.Popen(closed, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert worker.stderr is not None
    errors = worker.stderr.read()
    assert (worker.wait(30), errors) == (7, "")
    assert (tmp_path / "iwm_momentum.log").read_text().count("line 49") == 1
    assert (tmp_path / "opened-first.txt").read_text() == ""
