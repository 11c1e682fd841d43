"""Could a position be opened and closed right now? One line a check, with what to do where the answer is no.

    python diagnose.py              everything; sends nothing, changes nothing
    python diagnose.py --send       and a test alert to the phone
    python diagnose.py --offline    only what needs no network

Exit code 0 only if a position could be opened and closed; 1 if something is wrong, 2 if only the exchange is closed today.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

import contract_selector
import outbox
from config import Config, ConfigError, load
from data_folder import DataFolder, DiskTrouble, FolderBusy
from events import AlertFailed, AnyEvent, ChainRow, Deliver, FeedConnected, FeedDropped, FeedRefused
from ledger import FILE, LedgerError, examine
from phone import Phone
from polygon_client import Rest
from stream import StocksSocket
from transport import Refused, TryAgain
from utils import Clock, Session, SessionCalendar, SharedClock, SystemClock, clock_text, new_york

MAX_SKEW_S = 2.0
LOGIN_PATIENCE_S = 12.0
NO_SESSION = "no session today"
REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)")


class Check(Struct, frozen=True):
    """One answer. `ok` None: it could not be asked, or does not matter now; `cure` is what to do."""

    ok: bool | None
    what: str
    cure: str = ""

    def __str__(self) -> str:
        mark = {True: "✓", False: "✗", None: "–"}[self.ok]
        return f"{mark} {self.what}" + (f"\n  → {self.cure}" if self.cure else "")


# --- without the network -----------------------------------------------------------------------------------------------


def python_and_packages() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check(
        sys.version_info >= (3, 11), f"Python {version}", "" if sys.version_info >= (3, 11) else "3.11 or newer is needed"
    )
    wrong = []
    for line in (Path(__file__).parent / "requirements.txt").read_text().splitlines():
        if (wanted := REQUIREMENT.match(line)) is None:
            continue
        try:
            found = importlib.metadata.version(wanted[1])
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found != wanted[2]:
            wrong.append(f"{wanted[1]} {found}, not {wanted[2]}")
    yield Check(
        not wrong,
        "packages" + (f": {'; '.join(wrong)}" if wrong else ""),
        "pip install -r requirements.lock" if wrong else "",
    )


def calendar(now: float) -> tuple[Session | None, list[Check]]:
    day = new_york(now).date()
    sessions = SessionCalendar(day)
    session = sessions.on(day)
    if session is None:
        following = sessions.next_after(day)
        after = "" if following is None else f", the next one is {following.date:%A %Y-%m-%d}"
        return None, [Check(None, f"{NO_SESSION}, {day:%A %Y-%m-%d}{after}")]
    early = "" if session.is_full else ", EARLY CLOSE"
    hours = f"{clock_text(session.open_at)}-{clock_text(session.close_at)} ET{early}"
    return session, [Check(True, f"session today, {day:%A %Y-%m-%d}: {hours}")]


def data_folder(config: Config, now: float) -> Iterator[Check]:
    folder = DataFolder(config.data_dir)
    try:
        with folder.lock():
            yield Check(True, f"data folder {config.data_dir} can be written")
    except FolderBusy as busy:
        yield Check(True, f"data folder is in use by a running worker ({busy})")
    except DiskTrouble as trouble:
        yield Check(False, f"data folder: {trouble}", "set DATA_DIR to a folder on a disk that stays")
        return
    for warning in folder.warnings(os.environ):
        yield Check(False, warning)
    yield ledger(config.data_dir)


def ledger(data_dir: Path) -> Check:
    if not (data_dir / FILE).exists():
        return Check(True, "ledger: none yet, the first start makes it")
    try:
        problems = examine(data_dir / FILE)
    except (LedgerError, OSError) as fault:
        problems = [str(fault)]
    return Check(
        not problems,
        "ledger can be read" if not problems else f"ledger: {'; '.join(problems)}",
        (problems and "python -m pnl_tracker verify") or "",
    )


# --- with the network --------------------------------------------------------------------------------------------------


def asked(question: Callable[[], Check], what: str) -> Check:
    """A check that asks the feed; what went wrong is its answer."""
    try:
        return question()
    except Refused as fault:
        return Check(
            False, f"{what}: {fault.reason}", "check POLYGON_API_KEY and its plan: real-time stocks and options are needed"
        )
    except TryAgain as fault:
        return Check(False, f"{what}: {fault.reason}", "check the network and POLYGON_REST_URL, then try again")


def clock_skew(rest: Rest, clock: Clock) -> Check:
    before = clock.now()
    market = rest.market_time()
    skew = (before + clock.now()) / 2 - market
    ok = abs(skew) <= MAX_SKEW_S
    return Check(ok, f"clock: {skew:+.1f} s against the market's", "" if ok else "set the host's clock (NTP)")


def expiry(rest: Rest, config: Config, session: Session | None, clock: Clock) -> Check:
    """Today's calls: whether they are there, in real time, and which would be tracked."""
    if session is None:
        return Check(None, "today's expiry: no session, nothing expires")
    rows = rest.chain("call", session.date.isoformat())
    if not rows:
        return Check(
            False,
            "today's expiry: the chain has no call that expires today",
            "no BUY today; this is the market's, not yours",
        )
    quoted = [row for row in rows if row.quote is not None]
    if not quoted:
        return Check(
            False,
            f"today's expiry: {len(rows)} calls without a quote",
            "the options plan has no quotes: a real-time plan is needed",
        )
    if all(row.quote is not None and row.quote.delayed for row in quoted):
        return Check(False, f"today's expiry: {len(rows)} calls, quotes DELAYED", "a real-time options plan is needed")
    selection = contract_selector.select(rows, clock.now(), config, session, spot_of(rows))
    tracked = ", ".join(row.contract for row in selection.tracked) or f"none tracked now: {selection.why()}"
    return Check(True, f"today's expiry: {len(rows)} calls in real time; {tracked}")


def spot_of(rows: list[ChainRow]) -> float | None:
    return next((row.underlying for row in rows if row.underlying), None)


def stocks_login(config: Config, clock: Clock, *, in_hours: bool) -> Check:
    """Log in as the worker does, subscribe, and leave."""
    answered = threading.Event()
    heard: list[AnyEvent] = []

    def emit(event: AnyEvent) -> None:
        if isinstance(event, FeedConnected | FeedRefused | FeedDropped):
            heard.append(event)
            answered.set()

    socket = StocksSocket(emit, config, clock, lambda: in_hours)
    socket.start()
    answered.wait(LOGIN_PATIENCE_S)
    socket.stop()
    socket.join(2.0)
    match heard[:1]:
        case [FeedConnected()]:
            return Check(True, "stocks socket: logged in and subscribed")
        case [FeedRefused(reason=reason, busy=True)]:
            return Check(
                False, f"stocks socket: {reason}", "another process uses this key: stop it (a running worker is one)"
            )
        case [FeedRefused(reason=reason)]:
            return Check(
                False,
                f"stocks socket: {reason}",
                "check the key, the plan, and POLYGON_WS_URL (delayed plans use another host)",
            )
        case [FeedDropped(reason=reason)]:
            return Check(False, f"stocks socket: {reason}", "check the network and POLYGON_WS_URL")
    return Check(False, "stocks socket: no answer", "check the network and POLYGON_WS_URL")


def phone(config: Config, clock: Clock, *, send: bool) -> Iterator[Check]:
    pushover = Phone(config, clock)
    answer = pushover.check()
    line = outbox.line_checked(outbox.Line(), answer)
    doubt = outbox.doubt(line, clock.now(), config)
    left = "" if answer.quota_left is None else f", {answer.quota_left} messages left this month"
    yield Check(
        doubt is None,
        f"phone: {doubt or 'keys are valid'}{left}",
        "" if doubt is None else "check PUSHOVER_TOKEN and PUSHOVER_USER_KEY",
    )
    if not send:
        return
    now = clock.now()
    test = Deliver(
        f"test-{now:.0f}", 1, "OPS", f"{config.symbol} test", f"A test alert, {clock_text(now)} ET.", 0, created_at=now
    )
    result = pushover.deliver(test)
    failed = isinstance(result, AlertFailed)
    yield Check(
        not failed,
        f"test alert: {result.reason}" if isinstance(result, AlertFailed) else "test alert sent: look at the phone",
    )


# --- all of it ---------------------------------------------------------------------------------------------------------


def checks(config: Config, clock: Clock, *, offline: bool, send: bool) -> Iterator[Check]:
    for warning in config.warnings:
        yield Check(None, f"setting: {warning}")
    session, found = calendar(clock.now())
    yield from found
    yield from data_folder(config, clock.now())
    if offline:
        return
    rest = Rest(config, clock)
    yield asked(lambda: clock_skew(rest, clock), "clock")
    yield asked(lambda: expiry(rest, config, session, clock), "option chain")
    in_hours = session is not None and session.open_at <= clock.now() < session.close_at
    yield stocks_login(config, clock, in_hours=in_hours)
    yield from phone(config, clock, send=send)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="diagnose.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--send", action="store_true", help="send a test alert to the phone")
    parser.add_argument("--offline", action="store_true", help="skip what needs the network")
    given = parser.parse_args(arguments)
    found = list(python_and_packages())
    for check in found:
        print(check)
    try:
        config = load()
    except ConfigError as fault:
        print(Check(False, f"{fault}"))
        return 1
    settings = Check(True, "settings")
    print(settings)
    clock: Clock = SharedClock(config.clock_file) if config.clock_file else SystemClock()
    for check in checks(config, clock, offline=given.offline, send=given.send):
        print(check, flush=True)
        found.append(check)
    return verdict(found, offline=given.offline)


def verdict(found: list[Check], *, offline: bool) -> int:
    """The last line, and the exit code: 0 all is well, 1 something is not, 2 all is well but there is no session today."""
    failed = sum(check.ok is False for check in found)
    if failed:
        print(f"\n{failed} of {len(found)} checks failed: no position could be opened and closed.")
        return 1
    if any(check.what.startswith(NO_SESSION) for check in found):
        print("\nNothing is wrong, but there is no session today: no position could be opened.")
        return 2
    print("\nNothing is wrong here; the network was not asked." if offline else "\nA position could be opened and closed.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
