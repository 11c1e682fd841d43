"""No secret leaves the worker: canaries for keys, a full run with faults that repeat them, and a look into everything it said.

The scanner (tests.kit.canary) is itself under test first: what cannot find a planted secret proves nothing by finding none.
"""

from __future__ import annotations

import base64
import gzip
import json
import logging
import os
import re
import signal
import sqlite3
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote, quote_plus

import apprise
import msgspec
import pytest
import requests
import urllib3
import websocket
import zstandard

import logger
import simulator.feed
from config import Config, fields, is_secret
from disk import folder as data_folder
from disk import ledger, tape
from events import AlertFailed, ChainFailed, FeedDropped, FeedRefused, QuoteFailed
from simulator.http import Answer, HttpServer, Request
from tests.kit.canary import Finding, Scanner
from tests.kit.logs import put_back
from tests.kit.push import HandClock
from tests.kit.worker import CONTRACT, HOME, KEPT_ENVIRONMENT, Stage, WorkerProcess
from wire import connection, transport

pytestmark = pytest.mark.timeout(90)

KEY, TOKEN = "cnryPolygon.key~7f3a_QxZ-91ab22ee", "aCnryToken5Wd8Kq2Jr7Ls4Mv9Nx3B"
USER, DESK = "uCnryUser8Hf3Gt6Yk1Pz5Rb2Cx7Vd", 'cnry+Desk/token=42&so%7E"q\\z!end'
SETTINGS = {"POLYGON_API_KEY": KEY, "PUSHOVER_TOKEN": TOKEN, "PUSHOVER_USER_KEY": USER, "DASHBOARD_TOKEN": DESK}
IN_URLS = {
    "the fallback's user": "UserOfFallback.cnry", "the fallback's password": "pass@Fallback/cnry+word",
    "the fallback's topic": "TopicOfFallback-cnry", "the other fallback's topic": "OtherOfFallback-cnry",
    "the heartbeat's path": "5f2f7c1a-cnry-heartbeat", "the heartbeat's query": "QueryOfHeartbeat-cnry",
}  # fmt: skip
SCANNER = Scanner(SETTINGS | IN_URLS)


def secret_urls(alerts: str, beats: str) -> dict[str, str]:
    """The settings that are secret URLs: of two alert services at a host, and of a dead-man service."""
    user, password, topic, other, path, query = (quote(secret, safe="") for secret in IN_URLS.values())
    return {
        "FALLBACK_ALERT_URLS": f"json://{user}:{password}@{alerts}/{topic}, jsons://{alerts}/{other}",
        "HEARTBEAT_URL": f"{beats}/ping/{path}?who={query}",
    }


ECHO = (
    f"you are {KEY}, you asked https://api.massive.com/v3/x?limit=1&apiKey={quote(KEY, safe='')} with Basic "
    f"{base64.b64encode(f'me:{KEY}'.encode()).decode()}"
)
PHONE_ECHO = {"status": 0, "token": TOKEN, "errors": [f"token {TOKEN} of user {USER} is not valid"]}
PAGES = ("/", "/health", "/ready", "/metrics", "/chart", "/me", "/page.js", "/act", "/nothing-here")


# --- the scanner -------------------------------------------------------------------------------------------------------

SECRET = "cnry+plan/ted=7&so%7E é x"
RAW = SECRET.encode()


def small_hex(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), text)


ENCODED: dict[str, bytes] = {
    "plain": RAW,
    "in capitals": SECRET.upper().encode(),
    "its first half": RAW[:13],
    "its second half": RAW[-13:],
    "quote": quote(SECRET, safe="").encode(),
    "quote, small hex": small_hex(quote(SECRET)).encode(),
    "quote_plus": quote_plus(SECRET).encode(),
    "JSON": json.dumps(SECRET + '"')[:-3].encode(),
    "JSON in JSON": json.dumps(json.dumps('"\\' + SECRET)).encode(),
    "hex": RAW.hex().encode(),
    "HEX": RAW.hex().upper().encode(),
    "hex after a digit": b"7" + RAW.hex().encode(),
    **{f"base64 after {n}": base64.b64encode(b"a:b"[:n] + RAW) for n in range(4)},
    **{f"urlsafe base64 after {n}": base64.urlsafe_b64encode(b"\xff\xfe?"[:n] + RAW + b"\xff\xbf") for n in range(4)},
    "base64 without its end": base64.b64encode(RAW).rstrip(b"=")[:-2],
    "base64 in a path": b"a/b/" + base64.b64encode(RAW),
    "base64, URL-encoded": quote(base64.b64encode(RAW + b"\xff\xfe"), safe="").encode(),
    "Basic": b"Authorization: Basic " + base64.b64encode(b"me:" + RAW + b"\n"),
}


def zstd_cut(data: bytes) -> bytes:
    """A tape as a killed worker leaves it: flushed, never ended."""
    press = zstandard.ZstdCompressor().compressobj()
    return press.compress(data) + press.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "gzip": gzip.compress,
    "gzip, two members": lambda data: gzip.compress(b"nothing") + gzip.compress(data),
    "gzip, cut": lambda data: gzip.compress(data + os.urandom(5000))[:-2000],
    "zstd": zstandard.compress,
    "zstd, two frames": lambda data: zstandard.compress(b"nothing") + zstandard.compress(data),
    "zstd, never ended": zstd_cut,
    "zstd, damaged behind": lambda data: zstd_cut(data) + b"\xff" * 50,
}


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("form", ENCODED)
def test_a_planted_secret_is_found_in_every_form_and_packing(tmp_path: Path, form: str, packed: str) -> None:
    scanner = Scanner({"KEY": SECRET, "ANOTHER": "not-in-there-at-all"})
    (tmp_path / "a" / "b").mkdir(parents=True)
    file = tmp_path / "a" / "b" / "file"
    file.write_bytes(PACKED[packed](b"\x00\xfe before: " + ENCODED[form] + b' behind"\n'))
    found = scanner.in_folder(tmp_path)
    assert {(each.secret, each.place) for each in found} == {("KEY", str(file))}


def test_it_is_found_in_a_ledger_in_names_of_files_and_in_lines(tmp_path: Path) -> None:
    scanner = Scanner({"KEY": KEY})
    with sqlite3.connect(tmp_path / "books") as books:
        books.execute("CREATE TABLE alerts (text)")
        books.execute("INSERT INTO alerts VALUES (?)", ("x" * 9000 + KEY + "x" * 9000,))
    (tmp_path / f"core.{KEY}").mkdir()
    assert {(each.form, each.place) for each in scanner.in_folder(tmp_path)} == {
        ("plain", str(tmp_path / "books")),
        ("plain", f"the name of {tmp_path / f'core.{KEY}'}"),
    }
    assert scanner.in_text(["fine", f"not fine: {KEY}"], "console") == [Finding("KEY", "plain", "console")]


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(200_000) + base64.b64encode(os.urandom(200_000)) + b"%zz\\u00zz+%")
    (tmp_path / "tape").write_bytes(zstandard.compress(os.urandom(50_000)))
    assert SCANNER.in_folder(tmp_path) == []
    with pytest.raises(ValueError, match="shorter"):
        Scanner({"KEY": "short"})


# --- the words of every client's errors --------------------------------------------------------------------------------


def kinds_of(base: type[BaseException]) -> Iterator[type[BaseException]]:
    yield base
    for kind in base.__subclasses__():
        yield from kinds_of(kind)


CLIENT_ERRORS = (
    requests.RequestException, urllib3.exceptions.HTTPError, websocket.WebSocketException, ssl.SSLError, OSError, ValueError,
    sqlite3.Error, msgspec.MsgspecError, apprise.exception.AppriseException, transport.TryAgain, transport.Refused,
    connection.Dropped, data_folder.FolderBusy, ledger.LedgerError,
)  # fmt: skip


def with_words(kind: type[BaseException], words: str) -> BaseException | None:
    """An exception of a kind that carries these words as if a library had put them there; None if the kind cannot be made."""
    try:
        made = kind.__new__(kind, words)
        made.args = (words, {"url": words})
        made.reason = made.url = made.msg = words  # type: ignore[attr-defined]
        str(made)
    except Exception:
        return None
    return made


@contextmanager
def logged(folder: Path, form: str) -> Iterator[logger.Log]:
    """The worker's log at DEBUG, in a folder; everything is put back afterwards."""
    urls = secret_urls("alerts.example.test", "https://beats.example.test")
    assert {name for name in fields() if is_secret(name)} == {*SETTINGS, *urls}
    config = Config.from_env(SETTINGS | urls | {"DATA_DIR": str(folder), "LOG_LEVEL": "DEBUG", "LOG_FORMAT": form})
    with put_back():
        log = logger.setup(config, HandClock(), console=None)
        yield log
        log.close(10)


@pytest.mark.fault("S01", "S03")
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_error_that_a_client_can_raise_tells_a_secret_to_the_log(tmp_path: Path, form: str) -> None:
    kinds = {kind for base in CLIENT_ERRORS for kind in kinds_of(base)}
    words = (
        f"{DESK} {ECHO} {TOKEN}{USER} {' '.join(IN_URLS.values())} {base64.b64encode(':'.join(IN_URLS.values()).encode())}"
    )
    raised = 0
    with logged(tmp_path, form) as log:
        for kind in kinds:
            if (error := with_words(kind, words)) is None:
                continue
            raised += 1
            try:
                try:
                    raise error
                except BaseException as inner:
                    inner.add_note(words)
                    raise RuntimeError(repr({"of": inner, "said": words})) from inner
            except RuntimeError as outer:
                logger.of("rest").exception(f"{kind.__name__} {raised}", reason=outer, deep={"of": [words]})
                logging.getLogger("library").debug("%s %r", raised, outer, exc_info=True, stack_info=True)
    assert raised > 100
    assert log.dropped == 0
    assert (tmp_path / "iwm_momentum.log").read_text().count("***") > 20 * raised
    assert SCANNER.in_folder(tmp_path) == []


# --- a worker with canaries --------------------------------------------------------------------------------------------


class Somebody(HttpServer):
    """Says yes to whatever comes: a service, or a trap for what should never come."""

    def answer(self, request: Request) -> Answer:
        return Answer(200, {"status": "OK"})


class Scene:
    """A scripted market, a worker whose every secret is a canary, and all that ever leaves it.

    The market rises for ever and stands still but within `time`, so what happens does not depend on how fast this machine is.
    """

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder / "market", steady=True).fresh(folder)
        self.market = self.stage.market
        self.trap, self.service, self.heart = Somebody(), Somebody(), Somebody()
        self.heard: list[tuple[str, bytes]] = []
        self.proc: dict[str, bytes] = {}

    def close(self) -> None:
        self.stage.close()
        for server in (self.trap, self.service, self.heart):
            server.close()

    @property
    def data(self) -> Path:
        """Two folders deeper than there are any."""
        return self.stage.folder / "var" / "worker" / "data"

    @property
    def settings(self) -> dict[str, str]:
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
        return {
            **SETTINGS,
            "DATA_DIR": str(self.data),
            **dict.fromkeys(proxies, self.trap.url),
            **secret_urls(f"127.0.0.1:{self.service.port}", self.heart.url),
            "PUBLIC_URL": "https://desk.example.test",
            "LOG_LEVEL": "DEBUG",
            "CHAIN_POLL_SECONDS": "1",
            "SIGNAL_MAX_AGE_SECONDS": "60",
            "QUOTE_MAX_AGE_SECONDS": "60",
            "BUY_TTL_SECONDS": "60",
            "SIGNAL_COOLDOWN_SECONDS": "5",
            "HTTP_TIMEOUT_SECONDS": "10",
            "ALERT_TIMEOUT_SECONDS": "10",
        }

    @contextmanager
    def time(self, speed: float = 4.0) -> Iterator[None]:
        """The market's time passes within."""
        self.stage.go(speed)
        yield
        self.stage.stop()

    # --- the worker ----------------------------------------------------------------------------------------------------

    @property
    def worker(self) -> WorkerProcess:
        return self.stage.worker

    def upset(self, **settings: str) -> WorkerProcess:
        """A worker that fails at a signal: see tests/kit/upset.py."""
        environment = self.market.environment(self.data, **self.settings, DELTA_MIN="0.05", DELTA_MAX="0.95", **settings)
        self.stage.lives.append(WorkerProcess(environment, self.stage.folder, program=("tests/kit/upset.py",)))
        return self.worker

    def program(self, *arguments: str) -> str:
        """What a program of the owner's says, run in the worker's environment and with no umask at all."""
        kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        told = subprocess.run(
            [sys.executable, *arguments], cwd=self.stage.folder, capture_output=True, timeout=60, umask=0,
            env=kept | {"PYTHONPATH": str(HOME), "PYTHONUTF8": "1", **self.market.environment(self.data, **self.settings)},
        )  # fmt: skip
        self.heard.append((" ".join(arguments), told.stdout + told.stderr))
        return (told.stdout + told.stderr).decode()

    def wait_for_connection(self, number: int) -> None:
        """Until the newest connection to the stocks feed, at least the so many-th, is subscribed."""
        feed = self.market.stocks
        feed.wait_for(
            lambda: feed.connections >= number and any("A.IWM" in client.topics for client in feed.clients[-1:]), 20.0
        )

    def look_into_proc(self) -> None:
        """Its arguments, limits and environment as the kernel has them; arguments and environment of its children."""
        own = Path(f"/proc/{self.worker.process.pid}")
        self.proc = {name: (own / name).read_bytes() for name in ("cmdline", "limits", "environ", "comm", "maps")}
        for child in " ".join(file.read_text() for file in own.glob("task/*/children")).split():
            self.proc |= {
                f"{name} of {child}": Path(f"/proc/{child}/{name}").read_bytes() for name in ("cmdline", "environ")
            }

    def browse(self) -> None:
        """Every page, as its owner, as a stranger, and as one who puts the token where it does not belong."""
        base = self.worker.wait_for_line("served url=").rpartition("url=")[2].rstrip("/\"}'")
        bearer = {"Authorization": f"Bearer {DESK}"}
        for path in PAGES:
            for headers in (bearer, {"Authorization": f"Bearer {TOKEN}"}, {}):
                self.keep(f"GET {path}", requests.get(base + path, headers=headers, timeout=10))
            self.keep(f"GET {path}?token", requests.get(base + path, params={"token": DESK}, timeout=10))
        self.keep("POST /login", requests.post(f"{base}/login", json={"token": DESK}, timeout=10))
        self.keep("POST /login, wrong", requests.post(f"{base}/login", json={"token": KEY}, timeout=10))
        self.keep("POST /act", requests.post(f"{base}/act", json={"command": TOKEN}, headers=bearer, timeout=10))
        with requests.get(f"{base}/events", headers=bearer, stream=True, timeout=10) as stream:
            news = next(stream.iter_content(None))
            assert b"***" in news, "the log's last lines are shown on the page"
            self.heard.append(("GET /events", news))

    def keep(self, place: str, answer: requests.Response) -> None:
        self.heard.append((place, f"{answer.status_code} {answer.headers}\n".encode() + answer.content))

    # --- the search ----------------------------------------------------------------------------------------------------

    def leaks(self) -> list[Finding]:
        """Console, every file, what phone and fallback were told, what the feed was asked, pages, programs."""
        found = SCANNER.in_folder(self.stage.folder)
        for number, life in enumerate(self.stage.lives, 1):
            found += SCANNER.in_text(life.lines, f"console of life {number}")
        for request in list(self.market.push.requests):
            form = request.query | dict(parse_qsl(request.body.decode(), keep_blank_values=True))
            told = [f"{name}={value}" for name, value in form.items() if name not in ("token", "user")]
            found += SCANNER.in_text([request.path, *told], f"told to the phone: {request.path}")
        for request in list(self.service.requests):
            found += SCANNER.in_bytes(request.body, "told to the fallback")
        for request in list(self.market.rest.requests):
            asked = [f"{name}={value}" for name, value in request.query.items() if name != "apiKey"]
            found += SCANNER.in_text([request.path, *asked], f"asked of the feed: {request.path}")
        for place, told in self.heard:
            found += SCANNER.in_bytes(told, place)
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


# --- everybody refuses -------------------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.fault("S01", "S02", "S03", "S04")
def test_a_worker_that_is_refused_everywhere_with_its_own_keys_and_then_crashes_repeats_none(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = scene.market
    market.stocks.keys = {"the key of another"}
    monkeypatch.setattr(simulator.feed, "BAD_KEY", f"authentication failed: {ECHO}")
    market.rest.script("^/v3/", Answer(401, {"status": "ERROR", "error": f"Unknown API Key: {ECHO}"}), forever=True)
    market.rest.script("^/v2/", Answer(403, {"status": "NOT_AUTHORIZED", "message": ECHO}), forever=True)
    market.rest.script("^/v1/", Answer(500, ECHO.encode()), forever=True)
    market.push.script("validate", Answer(400, PHONE_ECHO), forever=True)
    worker = scene.upset()
    echoed = "you are ***, you asked https://api.massive.com/v3/x?limit=1&apiKey=***"
    for words in (
        f"chain of calls could not be had: the key is not accepted (401): Unknown API Key: {echoed}",
        f"no volume profile: the plan does not include this (403): {echoed}",
        f"stocks feed refused: the key is not accepted: authentication failed: {echoed}",
        "phone in doubt: Pushover refuses the keys: HTTP 400: token *** of user *** is not valid",
        "the market's time cannot be asked",
        "served url=",
    ):
        worker.wait_for_line(words)
    with scene.time():
        assert echoed in scene.stage.wait_for("option chain refused").text
    scene.browse()
    worker.signal(signal.SIGUSR1)
    assert "Authorization: Bearer ***" in worker.wait_for_line("thread upset ends by an exception")
    assert "in the end: *** *** ***" in worker.wait_for_line("an exception was ignored")
    worker.signal(signal.SIGUSR2)
    assert worker.wait() == 70
    crash = worker.wait_for_line("the worker ends: a part of it could not be built")
    assert "RuntimeError: the main thread failed with {'POLYGON_API_KEY': '***'" in crash
    said = scene.program(str(HOME / "diagnose.py"))
    assert f"stocks socket: the key is not accepted: authentication failed: {echoed}" in said
    assert "token *** of user *** is not valid" in said
    assert scene.leaks() == []


@pytest.mark.process
@pytest.mark.fault("S03", "X15")
def test_a_worker_that_hangs_with_secrets_and_the_logs_lock_in_its_hands_dumps_where_it_stands_and_no_more(
    scene: Scene,
) -> None:
    worker = scene.upset(LOG_FORMAT="json")
    worker.wait_until_ready(("stocks socket subscribed", "phone checked: keys are valid", "served"))
    worker.signal(signal.SIGUSR1)
    crash = json.loads(worker.wait_for_line("thread upset ends by an exception"))
    assert "a thread failed with {'POLYGON_API_KEY': '***'" in crash["exception"]
    worker.wait_for_line("an exception was ignored")
    worker.signal(signal.SIGALRM)
    assert worker.wait() == 70
    assert any("upset.py" in line and line.endswith("in hang") for line in worker.lines)
    assert scene.leaks() == []


# --- a trade among faults ----------------------------------------------------------------------------------------------


def refuses_the_sell(request: Request) -> Answer:
    """A phone that accepts anything but the SELL."""
    return Answer(400, PHONE_ECHO) if b"SELL" in request.body else Answer()


def a_trade_among_faults(scene: Scene) -> None:
    """From the first start to the end by SIGTERM: BUY, every client's faults, SELL."""
    market, stage = scene.market, scene.stage
    market.options.keys = {"the key of another"}
    scene.heart.script("^/ping", Answer(500, ECHO.encode()))
    worker = stage.start(within=OPEN_HANDED, **scene.settings, OPTIONS_STREAM="on")
    worker.wait_for_line("the heartbeat was answered with 500")
    with scene.time():
        stage.wait_for("— BUY")
        worker.wait_for_line("Alert sent: 🔥")
    the_feed_fails(scene)
    with scene.time():
        rest_fails(scene)
    scene.browse()
    with scene.time():
        market.push.script("messages", refuses_the_sell, forever=True)
        stage.quote(0.80, 0.82)
        scene.service.wait_for(lambda: [request for request in scene.service.requests if b"SELL" in request.body], 30)
        worker.wait_for_line("HTTP 400: token *** of user *** is not valid")
    scene.look_into_proc()
    with scene.time():
        worker.signal()
        assert worker.wait() == 0


def the_feed_fails(scene: Scene) -> None:
    """It says the key, in words, as junk and in its goodbye; then it cuts the wire. The options socket refuses the login."""
    worker, stocks = scene.worker, scene.market.stocks
    with scene.time():
        scene.wait_for_connection(1)
    said = stocks.connections
    stocks.say("error", ECHO)
    stocks.send(f"{{junk {ECHO}")
    stocks.send(json.dumps([{"ev": "A", "sym": KEY, "s": 0}, {"ev": KEY}, {"ev": "status", "status": KEY, "message": KEY}]))
    stocks.close(1001, f"{KEY} goodbye")
    with scene.time():
        worker.wait_for_line("stocks socket lost: the server closed the connection (1001: *** goodbye) (error: you are ***,")
        worker.wait_for_line("malformed input dropped from stocks")
        worker.wait_for_line("options socket not available, quotes come by REST: the key is not accepted: you are ***,")
        assert "***" in scene.stage.wait_for("options feed").text
        scene.wait_for_connection(said + 1)
    cut = stocks.connections
    stocks.drop()
    with scene.time():
        worker.wait_for_line("stocks socket lost: the connection was cut")
        scene.wait_for_connection(cut + 1)


def rest_fails(scene: Scene) -> None:
    """Refusals with the key in their words, errors, a redirection, cuts, and next pages that carry the key or lead astray."""
    rest, trap = scene.market.rest, scene.trap
    astray = f"{trap.url}/v3/x?cursor=1&apiKey={KEY}"
    broken = Answer(500, ECHO.encode())
    quotes = (
        Answer(401, {"error": f"Unknown API Key: {ECHO}"}), Answer(403, {"message": ECHO}), broken,
        Answer(302, {}, {"Location": astray}), Answer(429, {"error": ECHO}), Answer(cut_after=0), Answer(cut_after=60),
        Answer(200, f"<html>{ECHO}</html>".encode()), Answer(200, {"status": KEY, "results": {"details": {"ticker": KEY}}}),
    )  # fmt: skip
    pages = (
        f"{rest.url}/v3/snapshot/options/IWM?cursor=1&apiKey={KEY}", astray, astray.replace("127.0.0.1", "localhost"),
        f"http://{KEY}@localhost:{trap.port}/", f"//localhost:{trap.port}/?apiKey={KEY}",
    )  # fmt: skip
    chains = [Answer(200, {"status": "OK", "results": [], "next_url": url}) for url in pages]
    asked = [threading.Event(), threading.Event()]
    for path, answers, done in ((f"/{CONTRACT}$", quotes, asked[0]), ("/options/IWM$", chains, asked[1])):
        behind = [broken] if answers is chains else []
        given = [each for answer in answers for each in (answer, *behind)]
        rest.script(path, *given, lambda request, done=done: done.set() or Answer())
    for done in asked:
        assert done.wait(30)


OPEN_HANDED = ("sh", "-c", 'umask 0; ulimit -c unlimited; exec "$@"', "sh")  # what a careless owner's shell may be like


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The scene after a full run, and after its owner looked at the ledger."""
    scene = Scene(tmp_path_factory.mktemp("evening"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulator.feed, "BAD_KEY", ECHO)
        a_trade_among_faults(scene)
    for command in ("verify", "export"):
        scene.program("-m", "pnl_tracker", command)
        scene.program("-m", "pnl_tracker", command, "--json")
    yield scene
    scene.close()


full_run = pytest.mark.xdist_group("secrets")


@full_run
@pytest.mark.process
@pytest.mark.fault("S01", "S02", "S04")
def test_a_full_run_with_faults_that_repeat_every_key_leaves_none_anywhere(evening: Scene) -> None:
    assert evening.leaks() == []


@full_run
@pytest.mark.process
@pytest.mark.fault("S04")
def test_what_was_searched_is_what_had_the_keys_in_it(evening: Scene) -> None:
    """Else the search above would be of nothing: wherever a key was taken out, stars are in its place."""
    reasons = {
        event.reason
        for file in (evening.data / "tape").rglob(f"*{tape.SUFFIX}")
        for record in tape.read(file)
        if isinstance(record, tape.Recorded)
        for event in record.events
        if isinstance(event, ChainFailed | QuoteFailed | FeedDropped | FeedRefused | AlertFailed)
    }
    echoed = ECHO.partition(KEY)[0] + "***, you asked"
    for words in (
        f"the key is not accepted (401): Unknown API Key: {echoed}", f"the plan does not include this (403): {echoed}",
        f"(1001: *** goodbye) (error: {echoed}", f"the key is not accepted: {echoed}", "HTTP 400: token *** of user ***",
        "redirected (302)", "429", "the server answers 500", "the connection was cut", "the answer is not a contract",
        "the next page is on another host",
    ):  # fmt: skip
        assert any(words in reason for reason in reasons), words
    assert f"error: {echoed}" in (evening.data / "iwm_momentum.log").read_text()
    assert list((evening.data / "snapshots").iterdir())
    books = sqlite3.connect(f"file:{evening.data / ledger.FILE}?mode=ro", uri=True)
    assert "***" in "\n".join(books.iterdump())
    books.close()
    assert {place.partition(" ")[0] for place, _ in evening.heard} >= {"GET", "POST", "-m"}
    assert all(told for _, told in evening.heard)
    assert any("20261120-1," in told.decode() for place, told in evening.heard if place.endswith("export"))


@full_run
@pytest.mark.process
@pytest.mark.fault("S16")
def test_no_proxy_and_no_page_of_another_host_was_ever_asked(evening: Scene) -> None:
    assert (evening.trap.peak_connections, list(evening.trap.requests)) == (0, [])
    assert len(evening.heart.requests) >= 1
    assert evening.service.requests


@full_run
@pytest.mark.process
@pytest.mark.fault("S05")
def test_no_argument_no_child_and_no_core_file_could_hold_a_secret(evening: Scene) -> None:
    assert evening.proc["environ"]
    assert SCANNER.in_bytes(evening.proc["environ"], "its own") != []
    assert b"main.py" in evening.proc["cmdline"]
    assert {name: SCANNER.in_bytes(said, name) for name, said in evening.proc.items() if name != "environ"} == {
        name: [] for name in evening.proc if name != "environ"
    }
    assert re.search(rb"^Max core file size +0 +0 ", evening.proc["limits"], re.M)


@full_run
@pytest.mark.process
@pytest.mark.fault("S19")
def test_no_other_user_can_read_a_file_or_enter_a_folder_whatever_the_umask(evening: Scene) -> None:
    made = evening.data.parent.parent
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (made, *made.rglob("*"))}
    assert len(modes) > 10
    assert {path for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == set()
    (evening.data / ledger.FILE).write_bytes(b"<html>")
    assert "Restored from" in evening.program("-m", "pnl_tracker", "restore")
    assert {path for path in made.rglob("*") if path.stat().st_mode & 0o077} == set()
