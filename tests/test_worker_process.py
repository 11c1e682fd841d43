"""The worker as its owner meets it: a process, a phone, a folder; from BUY to each of the six exits, and through every death."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from datetime import time as time_of_day
from pathlib import Path

import pytest

from alerts import buy_id
from disk.ledger import FILE, DataFolder, Ledger
from events import Alert, AlertChanged, Outgoing, Position, PositionOpened, Quote, Remembered
from simulator.http import Answer
from simulator.push import Message
from tests.kit.books import whole
from tests.kit.worker import (
    CONTRACT,
    DAY,
    HOME,
    IN_NEXT_RISE,
    LATE_IN_RISE,
    STRIKE,
    Stage,
    alert_id,
    body,
    is_repeat,
    ledger_of,
    until,
)
from utils import to_mills

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]

STOCK = r"\$2[12]\d\.\d\d"
BUY = re.compile(
    rf"""IWM {STOCK} \| VWAP {STOCK} \([+-]0\.\d\d%\)
Momentum \+0\.\d\d\d%/s \| Vol Z\d+\.\d \| RelVol \d+\.\dx

📊 {CONTRACT} {DAY} {STRIKE}c
Δ0\.\d\d IV\d+\.\d%( \(computed\))? Skew [+-]\d+\.\d

💰 Entry ~\$1\.02 \(mid \$1\.005 \+\$0\.015\)
Spread 1\.0% \| Size 50×50

⏱ 10:0[56]:\d\d ET \| pay ≤ \$1\.07 \| void after (?P<void>10:0[67]:\d\d)
⚠️ Hard Giveback 30% \| Time Stop (\d\d:\d\d) ET
#20261120-1-BUY"""
)


def sell_text(reason: str, peak: str, now: str, result: str, lifetime: str, tally: str) -> re.Pattern[str]:
    words = [re.escape(text) for text in (reason, peak, now, CONTRACT, result, lifetime, tally)]
    reason, peak, now, contract, result, lifetime, tally = words
    return re.compile(
        rf"""Reason: {reason}

IWM {STOCK} \| VWAP {STOCK}
Peak {peak} → Now {now}

📊 {contract}
{result}

💰 LIFETIME: {lifetime}
📈 {tally}

✅ Close at market / best bid
#20261120-1-SELL"""
    )


def remembered(stage: Stage) -> Remembered:
    """What the ledger of an ended life holds."""
    until(lambda: not stage.worker.is_alive, 5.0, "the worker's end")
    return ledger_of(stage.data, stage.now())


def closed_at(stage: Stage, bid: float, ask: float) -> Message:
    stage.quote(bid, ask)
    sell = stage.wait_for("— SELL")
    stage.worker.wait_for_line("Alert sent: 🚪")
    return sell


# --- BUY and the six exits ---------------------------------------------------------------------------------------------


def after_peak(stage: Stage, bid: float, ask: float) -> None:
    """A rise to 1.61 that two quotes confirm, then this quote."""
    stage.quote(1.60, 1.62)
    stage.wait_for_polls(4)
    stage.quote(bid, ask)


def falls_to_the_stop(stage: Stage) -> None:
    stage.quote(0.80, 0.82)


def gives_back_a_third(stage: Stage) -> None:
    after_peak(stage, 1.10, 1.12)


def gives_back_a_fifth_below_vwap(stage: Stage) -> None:
    after_peak(stage, 1.25, 1.27)


def stays_below_vwap(stage: Stage) -> None:
    stage.go(12)


def reaches_the_time_stop(stage: Stage) -> None:
    stage.go(12)


def is_told_to_end(stage: Stage) -> None:
    stage.worker.signal()


STOPS = {"NO_ENTRY_AFTER": "10:06:50", "HARD_TIME_STOP": "10:07"}
FLAT = ("$1.005", "$1.005", "🔴 P&L: -2.0% (-$2.00)", "-$2.00", "0W-1L (0.0%)")


@pytest.mark.fault("A37", "A48", "A50")
@pytest.mark.parametrize(
    ("happens", "settings", "reason", "rest"),
    [
        (reaches_the_time_stop, STOPS, "Time stop 10:07 ET", FLAT),
        (
            falls_to_the_stop, {}, "Stop loss -20.6% (limit -15%)",
            ("$1.005", "$0.81", "🔴 P&L: -21.6% (-$22.00)", "-$22.00", "0W-1L (0.0%)"),
        ),
        (
            gives_back_a_third, {}, "Giveback 31.1% (Hard cap 30%)",
            ("$1.61", "$1.11", "🟢 P&L: +7.8% (+$8.00)", "+$8.00", "1W-0L (100.0%)"),
        ),
        (
            gives_back_a_fifth_below_vwap, {}, "Giveback 21.7% (VWAP cap 20%)",
            ("$1.61", "$1.26", "🟢 P&L: +22.5% (+$23.00)", "+$23.00", "1W-0L (100.0%)"),
        ),
        (stays_below_vwap, {}, "60s below VWAP (2 × 30s)", FLAT),
        (is_told_to_end, {}, "Shutdown", FLAT),
    ],
    ids=["time stop", "stop loss", "hard giveback", "VWAP giveback", "VWAP persistence", "shutdown"],
)  # fmt: skip
def test_from_the_bar_to_buy_and_out_by_each_of_the_six_exits(stage, happens, settings, reason, rest):
    stage.market.set_clock(at=LATE_IN_RISE)
    buy = stage.bought(**settings)
    told = BUY.fullmatch(buy.text)
    assert told is not None
    assert (buy.title, buy.priority) == (f"🔥 IWM 0DTE CALL — BUY {STRIKE}C ≤ $1.07 · void {told['void']}", 1)
    happens(stage)
    sell = stage.wait_for("— SELL", timeout_s=30)
    stage.worker.wait_for_line("Alert sent: 🚪")
    made = rest[2].rpartition("(")[2].removesuffix(")")
    assert (sell.title, sell.priority) == (f"🚪 IWM 0DTE CALL — SELL {STRIKE}C · {made}", 2)
    assert sell_text(reason, *rest).fullmatch(sell.text), sell.text
    stage.worker.signal()
    assert stage.worker.wait() == 0
    kept = remembered(stage)
    assert kept.position is None
    (trade,) = kept.trades
    assert f"({'+' if trade.pnl > 0 else '-'}${abs(trade.pnl) / 1000:.2f})" in sell.text
    assert trade.detail == reason
    assert [len(stage.messages(kind)) for kind in ("— BUY", "— SELL")] == [1, 1]


def test_a_sell_goes_over_a_connection_that_was_made_ready_while_the_position_was_open(stage):
    push = stage.market.push
    stage.bought()
    stage.stop()
    so_far = push._count
    until(lambda: push._count > so_far, 15.0, "a connection made ready")
    ready = push._count
    stage.go()
    closed_at(stage, 0.80, 0.82)
    assert [request.connection for request in push.requests if b"SELL" in request.body] == [ready]


# --- restarts ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("X01", "X18", "X21", "A28", "A29")
def test_a_killed_worker_goes_on_with_the_same_position_and_says_how_long_it_was_away(stage):
    stage.bought()
    stage.quote(1.30, 1.32)
    stage.wait_for_polls(4)
    stage.stop()
    stage.worker.kill()
    before = remembered(stage).position
    assert (before.entry, before.peak) == (1020, 1310)
    stage.market.set_clock(at=stage.now() + 252)
    stage.start(ready=("position resumed", "the clock is right", "Alert sent: 🟢"))
    started = stage.wait_for("worker started", 2)
    assert re.search(r"I was away 4 m (1[2-9]|2\d) s\. 1 unclean end of late\nPosition resumed:", started.text)
    assert f"📊 IWM {STRIKE}C 20 Nov ({CONTRACT})\nEntry $1.02, peak $1.31" in started.text
    stage.go()
    sell = closed_at(stage, 0.90, 0.92)
    assert sell_text(
        "Giveback 30.5% (Hard cap 30%)", "$1.31", "$0.91", "🔴 P&L: -11.8% (-$12.00)", "-$12.00", "0W-1L (0.0%)"
    ).fullmatch(sell.text)
    assert len(stage.messages("— BUY")) == 1


@pytest.mark.fault("X18", "A29")
def test_the_cooldown_of_an_exit_outlives_the_process(stage):
    stage.bought(SIGNAL_COOLDOWN_SECONDS="5")
    closed_at(stage, 0.80, 0.82)
    stage.stop()
    stage.worker.kill()
    stage.quote(1.00, 1.01)
    stage.market.set_clock(at=IN_NEXT_RISE)
    stage.start(SIGNAL_COOLDOWN_SECONDS="5")
    stage.go()
    stage.worker.wait_for_line("no entry: entry cooldown")
    assert len(stage.messages("— BUY")) == 1


@pytest.mark.fault("X21")
def test_a_price_comes_before_a_decision_when_a_position_is_taken_up(stage):
    stage.bought()
    stage.quote(0.80, 0.82)  # a stop, while nobody watches
    stage.worker.kill()
    stage.market.rest.script(rf"/{CONTRACT}$", *[Answer(503, {"status": "ERROR"})] * 3)
    stage.start(ready=("position resumed",))
    sell = stage.wait_for("— SELL")
    assert "Stop loss -20.6%" in sell.text
    assert "stale" not in sell.text


@pytest.mark.fault("X03")
def test_without_another_byte_of_memory_a_sell_is_said_by_this_life_or_the_next(stage):
    stage.bought()
    pid = stage.worker.process.pid
    resident_kb = int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])
    assert resident_kb < 250_000
    resource.prlimit(pid, resource.RLIMIT_AS, (1, 1))
    stage.market.stocks.send("[" + "x" * 900_000)
    stage.quote(0.80, 0.82)
    until(lambda: stage.messages("— SELL") or not stage.worker.is_alive, 20.0, "a SELL, or the worker's end")
    if not stage.worker.is_alive:
        stage.start(ready=("position resumed",))
    assert "P&L: -21.6%" in stage.wait_for("— SELL").text
    assert len([message for message in stage.messages("— BUY") if not is_repeat(message)]) == 1


@pytest.mark.fault("X12", "A40")
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "UTC", "Europe/London", "Nowhere/Land", ""])
def test_the_hosts_time_zone_and_time_zone_files_do_not_matter(stage, zone):
    buy = stage.bought(TZ=zone, PYTHONTZPATH="")
    assert BUY.fullmatch(buy.text)


# --- told to end -------------------------------------------------------------------------------------------------------


@pytest.mark.fault("X02", "A51")
def test_told_to_end_and_to_keep_the_position_it_says_so_and_the_next_life_takes_it_up(stage):
    stage.bought(ON_SHUTDOWN="keep")
    stage.worker.signal()
    assert stage.worker.wait() == 0
    told = stage.wait_for("going down while holding")
    assert f"📊 IWM {STRIKE}C 20 Nov ({CONTRACT})\nEntry $1.02" in told.text
    assert not stage.messages("— SELL")
    stage.start(ready=("position resumed",), ON_SHUTDOWN="keep")
    assert "SELL" in closed_at(stage, 0.80, 0.82).title
    assert len(stage.messages("— BUY")) == 1


@pytest.mark.fault("X02")
def test_told_to_end_again_and_again_it_ends_once_and_in_order(stage):
    stage.bought()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        stage.worker.signal(number)
    assert stage.worker.wait() == 0
    assert len(stage.messages("— SELL")) == 1
    assert len(stage.messages("worker ended")) == 1
    assert remembered(stage).facts["running_since"] is None


@pytest.mark.fault("X02")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_closed_terminal_and_its_quit_key_end_it_in_order(stage, number):
    stage.bought()
    stage.worker.signal(number)
    assert stage.worker.wait() == 0
    assert "Reason: Shutdown" in stage.wait_for("— SELL").text
    assert number.name in stage.wait_for("worker ended").text


@pytest.mark.fault("X02")
def test_under_nohup_a_closed_terminal_is_nothing_to_it(stage):
    stage.bought(within=("nohup",))
    stage.worker.signal(signal.SIGHUP)
    stage.wait_for_polls(2)
    assert stage.worker.is_alive
    assert not stage.messages("— SELL")
    stage.worker.signal()
    assert stage.worker.wait() == 0


@pytest.mark.fault("X02")
@pytest.mark.parametrize("place", ["main.start", "main.ledger-open"])
def test_told_to_end_while_it_starts_it_still_closes_what_it_holds(stage, place):
    stage.bought()
    stage.worker.kill()
    stage.launch(f"{place}:pause:1")
    stage.worker.wait_for_line(f"paused at {place}")
    stage.worker.signal()
    assert stage.worker.wait() == 0
    assert "Reason: Shutdown" in stage.wait_for("— SELL").text


@pytest.mark.fault("X02")
def test_told_to_end_before_it_has_loaded_its_parts_it_still_closes_what_it_holds(stage):
    stage.bought()
    stage.worker.kill()
    worker = stage.launch()
    status = Path(f"/proc/{worker.process.pid}/status")
    blocked = 1 << (signal.SIGTERM - 1)
    until(lambda: int(re.search(r"SigBlk:\s+(\w+)", status.read_text())[1], 16) & blocked, 10.0, "a worker that listens")
    worker.signal()
    assert worker.wait() == 0
    assert "Reason: Shutdown" in stage.wait_for("— SELL").text


@pytest.mark.fault("X02")
def test_told_to_end_in_the_middle_of_a_send_it_waits_for_the_answer(stage):
    stage.bought()
    stage.market.push.script(r"^/1/messages\.json$", Answer(delay_s=1.0))
    stage.quote(0.80, 0.82)
    stage.worker.wait_for_line("🚪 EXIT")
    stage.worker.signal()
    assert stage.worker.wait() == 0
    (sell,) = stage.messages("— SELL")
    assert not is_repeat(sell)
    (row,) = (row for row in remembered(stage).outbox if row.alert.kind == "SELL")
    assert (row.outcome, row.attempts) == ("delivered", 1)


# --- yesterday's position ----------------------------------------------------------------------------------------------


@pytest.mark.fault("X17", "A30")
@pytest.mark.parametrize(("strike", "worth"), [(200, True), (260, False)])
def test_yesterdays_position_is_settled_at_yesterdays_close_and_never_watched(stage, strike, worth):
    yesterday = date(2026, 11, 19)
    session = stage.market.market.calendar.on(yesterday)
    close = float(stage.market.market.symbol_day("IWM", yesterday).final.close[-1])
    contract = f"O:IWM{yesterday:%y%m%d}C{strike * 1000:08d}"
    position = Position(
        id="20261119-1", contract=contract, strike=strike * 1000, expiration=yesterday.isoformat(),
        opened_at=session.open_at + 3600.0, entry=1020, entry_quote=Quote(1000, 1010, 50, 50), peak=1310,
        session_close_at=float(session.close_at),
    )  # fmt: skip
    with DataFolder(stage.data).lock():
        ledger = Ledger.open(stage.data, session.open_at + 3600.0)
        buy = Alert(buy_id(position.id), "BUY", "BUY", "BUY", 1, position.opened_at, trade_id=position.id)
        sent = Outgoing(buy, outcome="delivered", attempts=1, settled_at=position.opened_at)
        ledger.commit(whole((PositionOpened(position), AlertChanged(sent))))
        ledger.close()
    stage.start()
    stage.go()
    expired = stage.wait_for("EXPIRED")
    price = max(0, to_mills(close) - strike * 1000)
    assert expired.text.startswith(f"Reason: Expired: IWM closed at ${close:,.2f}\n")
    assert ("becomes 100 shares" in expired.text) == worth
    stage.worker.signal()
    assert stage.worker.wait() == 0
    (trade,) = remembered(stage).trades
    assert (trade.exit, trade.pnl, trade.reason) == (price, (price - 1020) * 100, "expired")
    assert not [request for request in stage.market.rest.requests if contract in request.path]


# --- two workers -------------------------------------------------------------------------------------------------------


@pytest.mark.fault("X09", "A1")
def test_a_second_worker_on_the_folder_is_refused_says_nothing_and_takes_over_when_the_first_dies(stage):
    first = stage.start()
    said = len(stage.market.push.requests)
    second = stage.launch()
    assert second.wait() == 75
    assert f"Another worker holds {stage.data}" in second.lines[-1]
    assert f"process {first.process.pid}, since" in second.lines[-1]
    assert len(stage.market.push.requests) == said
    first.kill()
    stage.start()
    stage.go()
    assert BUY.fullmatch(stage.wait_for("— BUY").text)


@pytest.mark.fault("X09")
def test_the_refusal_takes_no_longer_than_loading_the_program(stage):
    stage.start()
    began = time.monotonic()
    subprocess.run([sys.executable, str(HOME / "main.py"), "--help"], cwd=stage.folder, capture_output=True, check=True)
    loading_s = time.monotonic() - began
    began = time.monotonic()
    assert stage.launch().wait() == 75
    assert time.monotonic() - began < 2 * loading_s + 1.0


# --- the phone ---------------------------------------------------------------------------------------------------------


@pytest.mark.fault("P05", "A42")
@pytest.mark.parametrize("how", ["cut after", "500 after"])
def test_an_answer_that_never_came_makes_the_next_try_a_repeat_with_the_same_id(stage, how):
    stage.start()
    stage.market.push.fail_next(how)
    stage.go()
    first, again = stage.wait_for("— BUY"), stage.wait_for("— BUY", 2)
    assert BUY.fullmatch(first.text)
    assert again.text.startswith("REPEAT of #20261120-1-BUY, do not buy twice\n")
    assert (body(again), alert_id(again)) == (body(first), alert_id(first))
    stage.worker.wait_for_line("attempt=2")
    assert "SELL" in closed_at(stage, 0.80, 0.82).title


@pytest.mark.fault("P01", "A45")
def test_a_buy_that_pushover_refuses_is_no_position_and_is_asked_once(stage):
    stage.start(SIGNAL_COOLDOWN_SECONDS="5")
    stage.market.push.fail_next("400")
    stage.go()
    stage.worker.wait_for_line("position voided: ")
    missed = stage.wait_for("Missed IWM BUY")
    assert "It was never announced: no position, no P&L." in missed.text
    stage.worker.signal()
    assert stage.worker.wait() == 0
    kept = remembered(stage)
    assert (kept.position, kept.trades) == (None, ())
    asked = [request for request in stage.market.push.requests if b"0DTE+CALL" in request.body]
    assert len(asked) == 1
    assert not stage.messages("— SELL")
    stage.market.set_clock(at=time_of_day(10, 5, 45), speed=0.0)
    stage.start(SIGNAL_COOLDOWN_SECONDS="5")
    stage.go()
    assert alert_id(stage.wait_for("— BUY")) == "20261120-2-BUY"  # a number is never used again


@pytest.mark.fault("P01", "P07", "A47")
def test_a_buy_that_nobody_can_be_told_of_is_void_and_a_sell_waits_until_the_phone_is_back(stage):
    stage.bought()
    stage.market.push.down()
    stage.quote(0.80, 0.82)
    stage.worker.wait_for_line("alert not delivered")
    stage.market.push.up()
    sell = stage.wait_for("— SELL")
    assert not is_repeat(sell)  # no connection: it certainly was not there
    assert "P&L: -21.6%" in sell.text


# --- threads -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("X14", "W25", "A10")
@pytest.mark.parametrize("thread", ["chain", "quotes", "errands", "stocks", "phone"])
@pytest.mark.parametrize("how", ["raise", "exit"])
def test_a_thread_that_ends_is_replaced_and_said_and_the_trade_goes_on(stage, thread, how):
    place, count = ("phone.after-answer", 1) if thread == "phone" else (f"{thread}.loop", 3)
    stage.launch(f"{place}:{how}:{count}")
    stage.go(1)
    line = stage.worker.wait_for_line(f"thread {thread} replaced")
    assert ("failpoint" if how == "raise" else "SystemExit") in line
    assert stage.wait_for(f"{thread} was replaced").text.startswith("it ended: ")
    stage.worker.wait_until_ready()
    stage.go()
    stage.wait_for("— BUY")
    assert "SELL" in closed_at(stage, 0.80, 0.82).title
    stage.worker.signal()
    assert stage.worker.wait() == 0


@pytest.mark.fault("X14", "P16")
def test_the_lane_of_the_sell_that_dies_before_the_wire_is_replaced_and_the_sell_is_said(stage):
    stage.bought("phone sell.before-wire:raise:1")
    stage.quote(0.80, 0.82)
    stage.worker.wait_for_line("thread phone sell replaced")
    stage.go(12)
    sell = stage.wait_for("— SELL")
    assert is_repeat(sell)  # nobody knows how far the thread had come


@pytest.mark.fault("X14")
def test_a_scribe_that_ends_is_the_end_of_the_process_and_said(stage):
    stage.bought("scribe.before-commit:raise:12+")
    began = time.monotonic()
    stage.worker.wait_for_line("the worker ends: the scribe ended: RuntimeError")
    assert stage.worker.wait() == 70
    assert time.monotonic() - began < 10
    assert "scribe ended" in stage.wait_for("worker gave up").text
    stage.start(ready=("position resumed",))
    assert "SELL" in closed_at(stage, 0.80, 0.82).title


@pytest.mark.fault("X14")
def test_a_thread_that_ends_again_and_again_is_the_end_of_the_process(stage):
    stage.launch("chain.loop:raise:1+")
    stage.go()
    assert stage.worker.wait() == 70
    assert "threads end again and again, chain last" in stage.wait_for("worker gave up").text


@pytest.mark.fault("X14")
def test_a_decision_that_fails_leaves_the_old_state_and_the_next_one_works(stage):
    stage.start("desk.before-decide:raise:25")
    stage.go()
    stage.worker.wait_for_line("the desk could not decide; its old state stands")
    stage.wait_for("— BUY")
    assert "SELL" in closed_at(stage, 0.80, 0.82).title


@pytest.mark.fault("X14")
def test_decisions_that_keep_failing_while_it_holds_are_said_and_end_the_process(stage):
    stage.bought()
    stage.worker.kill()
    stage.launch("desk.before-decide:raise:12+")
    stage.go()
    assert stage.worker.wait() == 70
    told = stage.wait_for("worker broken — CHECK BY HAND")
    assert CONTRACT in told.text


@pytest.mark.fault("X15")
@pytest.mark.skipif("CHAOS" not in os.environ, reason="takes 35 s: `make chaos`")
def test_a_main_loop_that_hangs_is_dumped_without_secrets_and_ended(stage):
    stage.start("main.loop:sleep:40", ready=())
    stage.go()
    began = time.monotonic()
    stage.worker.wait_for_line("the main loop hangs", timeout_s=45)
    assert stage.worker.wait() == 70
    assert time.monotonic() - began < 35
    dump = "\n".join(stage.worker.lines)
    assert "most recent call first" in dump
    assert "failpoints.py" in dump
    assert "simulated-market-key" not in dump


# --- the disk ----------------------------------------------------------------------------------------------------------


def small_disk() -> tuple[str, ...]:
    """A command that gives the worker a disk of one megabyte of its own; skips where that is not allowed."""
    within = ("unshare", "-Urm", "sh", "-c", 'mkdir -p data && mount -t tmpfs -o size=1m tmpfs data && exec "$@"', "sh")
    if shutil.which("unshare") is None or subprocess.run([*within, "true"], cwd="/tmp", capture_output=True).returncode:
        pytest.skip("this machine lets no user mount a disk")
    return within


@pytest.mark.fault("X04")
def test_a_full_disk_takes_no_sell_away_and_is_written_when_there_is_room_again(stage):
    stage.bought(within=small_disk())
    disk = Path(f"/proc/{stage.worker.process.pid}/root") / str(stage.data).lstrip("/")
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1024)):
                pass
        except OSError:
            pass
    stage.quote(0.80, 0.82)
    sell = stage.wait_for("— SELL")
    assert sell.text.startswith("NOT RECORDED: the ledger could not be written, note it down\n")
    assert "P&L: -21.6% (-$22.00)" in sell.text
    filler.unlink()
    stage.worker.wait_for_line("the ledger can be written again")
    until(lambda: ledger_of(disk, stage.now()).trades, 10.0, "the trade in the ledger")
    assert len(stage.messages("— SELL")) == 1


@pytest.mark.fault("X08", "A31")
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "a page of HTML", "gone"])
def test_a_damaged_ledger_stops_the_start_is_told_and_left_as_it_is(stage, damage):
    stage.bought()
    stage.worker.kill()
    file = stage.data / FILE
    content = file.read_bytes()
    damaged = {
        "flipped": content.replace(b'"entry":1020', b'"entry":1030'),
        "cut": content[: len(content) // 2],
        "emptied": b"",
        "a page of HTML": b"<html>502 Bad Gateway</html>",
    }.get(damage)
    (stage.data / f"{FILE}-journal").unlink(missing_ok=True)
    if damaged is None:
        file.unlink()
    else:
        file.write_bytes(damaged)
    stage.launch()
    assert stage.worker.wait() == 65
    told = stage.wait_for("ledger cannot be used")
    assert "Nothing was changed; it never starts again at $0" in told.text
    if damaged is None:
        assert not file.exists()
    else:
        assert file.read_bytes() == damaged
        assert any(copy.read_bytes() == damaged for copy in stage.data.glob("ledger.damaged-*"))
