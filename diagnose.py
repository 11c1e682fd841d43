"""Could a position be opened and closed right now? One line a check, with what to do where the answer is no.

    python diagnose.py              everything; sends nothing
    python diagnose.py --send       and a test alert to the phone and the second channel, and one ping of HEARTBEAT_URL
    python diagnose.py --offline    only what needs no network

Exit code 0 only if a position could be opened and closed today (with --offline: as far as can be told); 1 if something is wrong, 2 if
nothing is but there is no session today, or its entries have ended.
"""

from __future__ import annotations

import startup

startup.begin(startup.WORKER, startup.OF_WORKER, code=1)

import argparse
import importlib.metadata
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

import contract_selector
from config import ENV_FILE, Config, ConfigError, load
from dashboard.edge import Heartbeat
from desk import outbox
from disk.folder import DataFolder, DiskTrouble, FolderBusy, temporary_place
from disk.ledger import FILE, LedgerError, examine
from edges.phone import Phone
from edges.stream import StocksSocket
from events import AlertFailed, AnyEvent, ChainRow, Deliver, FeedConnected, FeedDropped, FeedRefused
from polygon_client import Rest
from risk_manager import entry_cutoff
from signals import PROFILE_SESSIONS, ProfileError, profile_of
from utils import Clock, Session, SessionCalendar, SharedClock, SystemClock, clock_text, new_york
from wire.transport import Refused, TryAgain

MAX_SKEW_S = 2.0
LOGIN_PATIENCE_S = 12.0
REAL_TIME_OPTIONS = "a real-time options plan, with quotes, is needed"
REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)")


class Check(Struct, frozen=True):
    """One answer. `ok` None: not asked, or it does not matter now; `cure` is what to do; `bars_entry`: no fault, but no BUY today."""

    ok: bool | None
    what: str
    cure: str = ""
    bars_entry: bool = False

    def __str__(self) -> str:
        marks, arrow = (("✓", "✗", "–"), "→") if _shows("✓✗–→") else (("ok", "NO", "--"), "->")
        mark = marks[(True, False, None).index(self.ok)]
        return f"{mark} {self.what}" + (f"\n  {arrow} {self.cure}" if self.cure else "")


def _shows(marks: str) -> bool:
    """Whether the console has these characters."""
    try:
        marks.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


# --- without the network -----------------------------------------------------------------------------------------------


def python_and_packages() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check(
        sys.version_info >= (3, 11), f"Python {version}", "" if sys.version_info >= (3, 11) else "3.11 or newer is needed"
    )
    wrong = []
    file = Path(__file__).parent / "requirements.txt"
    for line in file.read_text().splitlines() if file.exists() else importlib.metadata.requires("iwm-5-vwap") or []:
        if (wanted := REQUIREMENT.match(line)) is None or "extra ==" in line:
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
        "make install, or pip install -r requirements.lock" if wrong else "",
    )


def calendar(config: Config, now: float) -> tuple[Session | None, SessionCalendar, list[Check]]:
    day = new_york(now).date()
    sessions = SessionCalendar(day)
    session = sessions.on(day)
    if session is None:
        following = sessions.next_after(day)
        after = "" if following is None else f", the next one is {following.date:%A %Y-%m-%d}"
        return None, sessions, [Check(None, f"no session today, {day:%A %Y-%m-%d}{after}", bars_entry=True)]
    early = "" if session.is_full else ", EARLY CLOSE"
    hours = f"{clock_text(session.open_at)}-{clock_text(session.close_at)} ET{early}"
    found = [Check(True, f"session today, {day:%A %Y-%m-%d}: {hours}")]
    cutoff_at = entry_cutoff(config, session)
    if now >= cutoff_at:
        found.append(Check(None, f"no entries any more today: they ended at {clock_text(cutoff_at)} ET", bars_entry=True))
    return session, sessions, found


def data_folder(config: Config) -> tuple[bool, list[Check]]:
    """Whether a running worker has the folder, and what is to be said of it."""
    folder, in_use = DataFolder(config.data_dir), False
    try:
        with folder.lock():
            found = [Check(True, f"data folder {config.data_dir} can be written")]
    except FolderBusy as busy:
        in_use, found = True, [Check(True, f"data folder is in use by a running worker ({busy})")]
    except DiskTrouble as trouble:
        return False, [Check(False, f"data folder: {trouble}", "set DATA_DIR to a folder on a disk that stays")]
    found += [Check(False, warning) for warning in folder.warnings(os.environ)]
    if warning := temporary_place(config.data_dir):
        found.append(Check(None, warning))
    return in_use, [*found, ledger(config.data_dir)]


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
    """Today's calls: whether they are there, in real time, by themselves too, and which would be tracked."""
    if session is None:
        return Check(None, "today's expiry: no session, nothing expires")
    rows = rest.chain(config.symbol, "call", session.date.isoformat())
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
            REAL_TIME_OPTIONS,
        )
    if all(row.quote is not None and row.quote.delayed for row in quoted):
        return Check(False, f"today's expiry: {len(rows)} calls, quotes DELAYED", REAL_TIME_OPTIONS)
    selection = contract_selector.select(rows, clock.now(), config, session, spot_of(rows))
    asked_alone = (*selection.tracked, quoted[len(quoted) // 2])[0].contract
    if rest.contract(asked_alone).quote is None:  # what every exit rests on
        return Check(False, f"today's expiry: {asked_alone} asked for alone has no quote", REAL_TIME_OPTIONS)
    tracked = ", ".join(row.contract for row in selection.tracked) or f"none tracked now: {selection.why()}"
    return Check(True, f"today's expiry: {len(rows)} calls in real time; {tracked}")


def spot_of(rows: list[ChainRow]) -> float | None:
    return next((row.underlying for row in rows if row.underlying), None)


def history(rest: Rest, config: Config, sessions: SessionCalendar, now: float) -> Check:
    """The second bars of a warm start may be asked for, and the minutes of the volume profile are there."""
    before = sessions.full_before(new_york(now).date(), PROFILE_SESSIONS)
    rest.second_bars(config.symbol, int(now) - 60, int(now))
    try:
        _, found = profile_of(rest.minute_bars(config.symbol, before[0].date, before[-1].date), before)
    except ProfileError as fault:
        needed = config.relative_volume_filter
        cure = "without it there is no BUY; the stocks plan must include minute aggregates" if needed else ""
        return Check(not needed, f"history: second bars, but no volume profile ({fault})", cure)
    return Check(True, f"history: second bars, and a volume profile of {len(found)} sessions")


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
    if answer.ok is None:
        cure = "check the network and PUSHOVER_URL, then try again: whether the keys are right is not known"
    elif answer.ok:
        cure = "wait for the month's messages to be counted anew, buy more, or lower PHONE_QUOTA_RESERVE"
    else:
        cure = "check PUSHOVER_TOKEN and PUSHOVER_USER_KEY"
    left = "" if answer.quota_left is None else f", {answer.quota_left} messages left this month"
    yield Check(
        doubt is None,
        f"phone: {doubt or 'keys are valid'}{left}",
        "" if doubt is None else cure,
    )
    if send:
        yield from tests(config, clock, pushover)


def tests(config: Config, clock: Clock, pushover: Phone) -> Iterator[Check]:
    """A test alert by every channel that is set, and one ping."""
    now = clock.now()
    test = Deliver(
        f"test-{now:.0f}", 1, "OPS", f"{config.symbol} test", f"A test alert, {clock_text(now)} ET.", 0, created_at=now
    )
    yield told(pushover.deliver(test), "test alert", "look at the phone")
    if config.fallback_alert_urls:
        yield told(pushover.deliver(replace(test, channel="fallback")), "test alert by FALLBACK_ALERT_URLS", "look there")
    else:
        yield Check(None, "second channel: FALLBACK_ALERT_URLS is not set, so a SELL has one way only")
    if config.heartbeat_url is not None:
        trouble = Heartbeat(lambda event: None, config, clock, lambda: None).ping()
        yield Check(not trouble, trouble or "HEARTBEAT_URL was pinged", "check HEARTBEAT_URL" if trouble else "")


def told(result: AnyEvent, what: str, where: str) -> Check:
    if isinstance(result, AlertFailed):
        return Check(False, f"{what}: {result.reason}", "the checks above say why; else try again")
    return Check(True, f"{what} sent: {where}")


# --- all of it ---------------------------------------------------------------------------------------------------------


def checks(config: Config, clock: Clock, *, offline: bool, send: bool) -> Iterator[Check]:
    for warning in config.warnings:
        yield Check(None, f"setting: {warning}")
    session, sessions, found = calendar(config, clock.now())
    yield from found
    in_use, found = data_folder(config)
    yield from found
    if offline:
        return
    rest = Rest(config, clock)
    yield asked(lambda: clock_skew(rest, clock), "clock")
    yield asked(lambda: expiry(rest, config, session, clock), "option chain")
    yield asked(lambda: history(rest, config, sessions, clock.now()), "history")
    if in_use:
        yield Check(None, "stocks socket: not tried, a second login would take it away from the running worker")
    else:
        in_hours = session is not None and session.open_at <= clock.now() < session.close_at
        yield stocks_login(config, clock, in_hours=in_hours)
    yield from phone(config, clock, send=send)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="diagnose.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--send", action="store_true", help="send a test alert by every channel that is set, and one ping")
    parser.add_argument("--offline", action="store_true", help="skip what needs the network")
    given = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    found = list(python_and_packages())
    for check in found:
        print(check)
    file = ENV_FILE.absolute()
    place = str(file) if file.exists() else f"{file}, which is not there"
    try:
        config = load()
    except ConfigError as fault:
        print(Check(False, f"{fault}", f"settings are read from the environment and from {place}"))
        return 1
    settings = Check(True, f"settings: the environment, and {place}")
    print(settings)
    clock: Clock = SharedClock(config.clock_file) if config.clock_file else SystemClock()
    for check in checks(config, clock, offline=given.offline, send=given.send):
        print(check, flush=True)
        found.append(check)
    return verdict(found, offline=given.offline)


def verdict(found: list[Check], *, offline: bool) -> int:
    """The last line, and the exit code: 0 all is well, 1 something is not, 2 all is well but there is no BUY any more today."""
    failed = sum(check.ok is False for check in found)
    if failed:
        print(f"\n{failed} of {len(found)} checks failed: no position could be opened and closed.")
        return 1
    if bars := next((check for check in found if check.bars_entry), None):
        print(f"\nNothing is wrong, but no position can be opened now: {bars.what}.")
        return 2
    print("\nNothing is wrong here; the network was not asked." if offline else "\nA position could be opened and closed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
