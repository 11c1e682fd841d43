"""What the worker says to its console and its log file: structlog and the libraries' own loggers, through one formatter.

Rules:
- One record is one line: line breaks, escape codes and direction marks come out as `\\n`, `\\x1b`, `\\u202e`.
- No secret leaves: the finished line is redacted, whatever it was made of (message, fields, exception, its causes, stack).
- Nobody waits: lines are queued, one thread writes each sink; a console or disk that blocks, closes or fails costs lines,
  which are counted, and nothing else.
- Nothing says the same thing twice a second. The file is rotated and for its owner only.
- Time stamps are New York's, from the worker's clock.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import sys
import threading
import time
import unicodedata
from base64 import b64encode
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from math import isfinite
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import structlog
from structlog.typing import Processor

from utils import Clock, new_york

if TYPE_CHECKING:
    from config import Config

LINE_LIMIT = 16_000
QUEUED_LINES = 2_000
FILE_BYTES = 10_000_000
FILES_KEPT = 5
RECENT_LINES = 200
SAME_WITHIN_S = 1.0
SAME_REMEMBERED = 256
QUIET_LIBRARIES = ("urllib3", "requests", "websocket", "websockets", "apprise", "charset_normalizer", "asyncio", "markdown")


# --- redaction ---------------------------------------------------------------------------------------------------------


class Redactor:
    """Replaces every secret in a text by `***`: plain, quoted, URL-encoded, in hex, in base64 alone or inside something longer."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in forms_of(secret)}
        ordered = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(however_quoted, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub("***", text)


def however_quoted(form: str) -> str:
    """A pattern of the form, whatever repr and JSON made of it: a dict in an exception in a field is quoted three times over.

    Its first letter is taken as it stands: so a search stays quick, and what a server repeats for ever costs no more than its length.
    """
    quoted = {"\\": r"\\{1,16}", **{mark: rf"\\{{0,15}}{mark}" for mark in "\"'/"}}
    return re.escape(form[0]) + "".join(quoted.get(char) or re.escape(char) for char in form[1:])


def forms_of(secret: str) -> set[str]:
    """The shapes in which a secret may turn up in a text."""
    raw = secret.encode()
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), json.dumps(secret)[1:-1], raw.hex()}
    forms |= {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in forms} | {raw.hex().upper()}
    for offset in range(3):
        # whatever stands before it, base64 of the secret contains one of three cores
        encoded = b64encode(b"\0" * offset + raw).decode()
        core = encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        if len(core) >= 8:
            forms |= {core, core.replace("+", "-").replace("/", "_"), quote(core, safe="")}
    return forms


def one_line(text: str) -> str:
    """The text with everything escaped that could end a line, move the cursor or turn the reading direction."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape", "surrogatepass").decode()
        if char != "\u200d" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else char
        for char in text
    )


# --- one record to one line --------------------------------------------------------------------------------------------


class Renderer:
    """structlog's last processor: an event with its fields -> one redacted line."""

    def __init__(self, clock: Clock, redact: Redactor, *, as_json: bool) -> None:
        self._clock = clock
        self._redact = redact
        self._as_json = as_json

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        moment = new_york(self._clock.now())
        level = str(event.get("level", method)).upper()
        if self._as_json:
            head = {"timestamp": moment.isoformat(timespec="milliseconds"), "level": level.lower(), "event": ""}
            record = head | {str(key): jsonable(value) for key, value in event.items() if key not in ("timestamp", "level")}
            return self._redact(json.dumps(self._shortened(record), allow_nan=False))
        words = [
            f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} {level:<7} {self._text(event.get('event', ''))}"
        ]
        words += [f"{key}={self._value(value)}" for key, value in event.items() if key not in ("level", "event")]
        return shortened(one_line(self._redact(" ".join(words))))

    def _text(self, value: object) -> str:
        return value if isinstance(value, str) else str(value)

    def _value(self, value: object) -> str:
        if isinstance(value, float):
            return f"{value:.6g}"
        text = self._text(value)
        return text if re.fullmatch(r"[^\s\"=]+", text) else json.dumps(text, ensure_ascii=False)

    def _shortened(self, value: Any) -> Any:
        if isinstance(value, str):
            return shortened(self._redact(value))
        if isinstance(value, dict):
            return {self._redact(key): self._shortened(item) for key, item in value.items()}
        return [self._shortened(item) for item in value] if isinstance(value, list) else value


def jsonable(value: object) -> Any:
    """The value as JSON can hold it; what it cannot hold, as text."""
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    return str(value).encode("utf-8", "replace").decode()


def shortened(text: str) -> str:
    if len(text) <= LINE_LIMIT:
        return text
    return f"{text[: LINE_LIMIT - 1000]} …({len(text)} characters)… {text[-900:]}"


class SaidAlready(logging.Filter):
    """Lets the same words with the same fields through once a second; how often they came is told with the next."""

    def __init__(self) -> None:
        super().__init__()
        self._said: OrderedDict[tuple[str, int, str], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        verdict = record.__dict__.get("said_already")  # the same record passes here once for every sink
        if verdict is None:
            verdict = record.__dict__["said_already"] = self._held_back(record)
        return not verdict

    def _held_back(self, record: logging.LogRecord) -> bool:
        words = repr(record.msg) if isinstance(record.msg, dict) else record.getMessage()
        error = record.exc_info[1] if record.exc_info else sys.exc_info()[1]
        key = (record.name, record.levelno, words if error is None else f"{words} {error!r}")
        now = time.monotonic()
        last, times = self._said.get(key, (float("-inf"), 0))
        if now - last < SAME_WITHIN_S:
            self._said[key] = (last, times + 1)
            return True
        self._said[key] = (now, 0)
        self._said.move_to_end(key)
        while len(self._said) > SAME_REMEMBERED:
            self._said.popitem(last=False)
        if times and isinstance(record.msg, dict):
            record.msg = record.msg | {"repeated": times}
        return False


# --- the sinks ---------------------------------------------------------------------------------------------------------


class Sink(logging.Handler):
    """Formats in the caller's thread, writes in its own; a full queue or a failed write costs the line and is counted."""

    def __init__(self, name: str, write: Callable[[str], None], recent: deque[str] | None = None) -> None:
        super().__init__()
        self.dropped = 0
        self._write = write
        self._recent = recent
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUED_LINES)
        self._told = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = record.__dict__.get("line")
            if line is None:
                line = record.__dict__["line"] = self.format(record)
            if self._recent is not None:
                self._recent.append(line)
            self._queue.put_nowait(line)
        except Exception:
            self.dropped += 1

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            try:
                if self.dropped > self._told:
                    dropped = self.dropped
                    self._write(f"({dropped - self._told} lines of the log could not be written here)")
                    self._told = dropped
                self._write(line)
            except Exception:
                self.dropped += 1

    def finish(self, timeout_s: float) -> None:
        """Write what is queued, for at most this long; then let go of the sink."""
        until = time.monotonic() + timeout_s
        with suppress(queue.Full):
            self._queue.put(None, timeout=timeout_s)
            self._thread.join(max(0.0, until - time.monotonic()))
        self.close()


class PrivateRotatingFile(RotatingFileHandler):
    """A log file for its owner's eyes, of bounded size; errors are the caller's."""

    def _open(self) -> Any:
        file = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(file, 0o600)
        return open(file, self.mode, encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:
        raise

    def write(self, line: str) -> None:
        self.emit(logging.makeLogRecord({"msg": line}))


def console_writer(fd: int) -> Callable[[str], None]:
    """Writes past Python's own buffers, so that a closed pipe cannot fail again when the process ends."""

    def write(line: str) -> None:
        rest = memoryview((line + "\n").encode("utf-8", "backslashreplace"))
        while rest:
            rest = rest[os.write(fd, rest) :]

    return write


# --- set-up ------------------------------------------------------------------------------------------------------------


class Log:
    """The log in use. `recent` holds the last lines, redacted; `dropped` counts lines a sink could not take."""

    def __init__(self, sinks: list[Sink], recent: deque[str], redact: Redactor) -> None:
        self._sinks = sinks
        self.recent = recent
        self.redact = redact

    @property
    def dropped(self) -> int:
        return sum(sink.dropped for sink in self._sinks)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is queued and let go of the log; safe to call twice."""
        root = logging.getLogger()
        if self._sinks:
            root.addHandler(logging.NullHandler())  # else the library would print what comes late, unredacted
        for sink in self._sinks:
            root.removeHandler(sink)
            sink.finish(timeout_s)


def of(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a part: `log.info("words", key=value)`."""
    log: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return log


def setup(config: Config, clock: Clock, *, console: int | None = 1) -> Log:
    """Send every logger of the process to the console (a file descriptor, None for none) and the log file, redacted.

    What would go to stderr by itself (uncaught exceptions of any thread, warnings) goes the same way. A log file that cannot
    be opened is said on the console and done without.
    """
    plug_closed_descriptors()
    if console == 1 and sys.__stdout__ is None:
        console = None  # it was closed at the start: what has the number 1 now is somebody else's file or socket
    redact = Redactor(config.secrets())
    recent: deque[str] = deque(maxlen=RECENT_LINES)
    sinks = [] if console is None else [Sink("log-console", console_writer(console))]
    trouble = ""
    try:
        file = PrivateRotatingFile(config.log_path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
        sinks.append(Sink("log-file", file.write, recent))
    except OSError as error:
        trouble = f"the log file cannot be opened: {error.strerror}"
    renderer = Renderer(clock, redact, as_json=config.log_format == "json")
    level: Processor = structlog.stdlib.add_log_level
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        foreign_pre_chain=[level],
    )
    said_already = SaidAlready()
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for sink in sinks:
        sink.setFormatter(formatter)
        sink.addFilter(said_already)
        root.addHandler(sink)
    root.setLevel(config.log_level)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    take_over_hooks()
    if trouble:
        of("logger").error(trouble)
    return Log(sinks, recent, redact)


def plug_closed_descriptors() -> None:
    """Nothing that is opened later may get the number of a standard stream, and with it what is written there."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)


def take_over_hooks() -> None:
    """Uncaught exceptions go to the log instead of, unredacted, to stderr."""
    log = logging.getLogger("uncaught")

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            log.warning("interrupted")
        else:
            log.critical("the process ends by an exception", exc_info=(kind, error, trace))

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            name = "?" if args.thread is None else args.thread.name
            log.error("thread %s ends by an exception", name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            log.warning(
                args.err_msg or "an exception was ignored", exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
            )

    sys.excepthook = of_process
    threading.excepthook = of_thread
    sys.unraisablehook = unraisable
