"""`python -m simulator tws` as a process, its control door, and the simulated day behind it."""

import asyncio
import json
import queue
import signal
import subprocess
import sys
import threading
from datetime import date, time
from pathlib import Path

import ib_async
import pytest
import requests
from tws_client import connected

from simulator.index import SPX, VIX, XSP, IndexMarket
from simulator.tws.program import cues_of, main

HOME = Path(__file__).resolve().parents[2]
DAY = date(2026, 11, 20)


class Program:
    """The program, its first line read, its others in a queue."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "simulator", "tws", "--port", "0", *options]
        self.process = subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: [self.lines.put(line) for line in self.process.stdout], daemon=True).start()
        self.places = json.loads(self.lines.get(timeout=20))

    def until(self, words: str) -> str:
        while words not in (line := self.lines.get(timeout=10)):
            pass
        return line

    def say(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


@pytest.fixture
def start():
    programs = []

    def started(*options: str) -> Program:
        programs.append(Program(*options))
        return programs[-1]

    yield started
    for program in programs:
        program.process.kill()
        program.process.wait(5)
        program.process.stdout.close()
        program.process.stdin.close()


async def condor(ib) -> tuple[ib_async.Contract, float]:
    """The day's condor with shorts nearest a delta of 0.10, and its natural credit."""
    expiry = f"{DAY:%Y%m%d}"
    legs, natural = [], 0.0
    for right in "PC":
        details = await ib.reqContractDetailsAsync(
            ib_async.Option("XSP", expiry, 0, right, "SMART", "100", "USD", tradingClass="XSP")
        )
        middle = len(details) // 2
        near = details[middle - 14 : middle] if right == "P" else details[middle : middle + 14]
        lines = {one.contract.strike: ib.reqMktData(one.contract) for one in near}
        await ib.until(lambda lines=lines: all(line.ask > 0 for line in lines.values()))
        known = [line for line in lines.values() if line.modelGreeks]
        short = min(known, key=lambda line: abs(abs(line.modelGreeks.delta) - 0.10))
        wing = lines[short.contract.strike + (2 if right == "C" else -2)]
        natural += short.bid - wing.ask
        for line, action in ((short, "SELL"), (wing, "BUY")):
            legs.append(ib_async.ComboLeg(line.contract.conId, 1, action, "SMART"))
    package = ib_async.Contract(secType="BAG", symbol="XSP", currency="USD", exchange="SMART", comboLegs=legs)
    return package, round(natural, 2)


@pytest.mark.process
def test_a_bot_of_another_process_trades_is_faulted_and_told_of(start):
    program = start("--start", "10:30", "--speed", "0", "--fault", "reject times=1 text='no margin'")

    async def bot():
        async with connected(program.places["port"], 7) as ib:
            package, natural = await condor(ib)
            assert 0.15 <= natural <= 0.40
            order = ib_async.LimitOrder("BUY", 1, -natural, tif="DAY", orderRef="mine-1")
            ib.placeOrder(package, order)
            await ib.until(lambda: 201 in ib.codes)
            trade = ib.placeOrder(package, ib_async.LimitOrder("BUY", 1, -natural, tif="DAY", orderRef="mine-2"))
            await ib.until(lambda: trade.isDone() and len(ib.positions()) == 4)

    asyncio.run(bot())
    assert "refused, 201 no margin" in program.until("mine-1")
    assert "1 of 1 filled" in program.until("● ")
    program.say("positions")
    assert program.until("XSP   261120")
    control = program.places["control"]
    orders = requests.get(control + "/orders", timeout=5).json()
    assert [(order["ref"], order["status"]) for order in orders] == [("mine-1", "Inactive"), ("mine-2", "Filled")]
    assert len(requests.get(control + "/positions", timeout=5).json()) == 4
    summary = requests.get(control + "/summary", timeout=5).json()
    assert (summary["most_live_orders"], summary["most_lines"]) == (1, 28)
    assert requests.get(control + "/misuses", timeout=5).json() == []
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(10) == 0


@pytest.mark.process
def test_it_is_faulted_over_the_control_door_by_lines_and_by_a_script(start, tmp_path):
    script = tmp_path / "script"
    script.write_text("+0 cancel-ignored  # of the first order\n10:30:00 no-fill times=0\n")
    program = start("--start", "10:30", "--speed", "1", "--script", str(script), "--quiet")
    control = program.places["control"]
    for _ in range(2):
        program.until("armed")
    assert requests.post(control, data="reject times=2", timeout=5).json() == {"answer": "armed"}
    wrong = requests.post(control, data="rejekt", timeout=5)
    assert (wrong.status_code, wrong.json()["error"]) == (400, "no fault is called 'rejekt'")
    armed = requests.get(control + "/armed", timeout=5).json()
    assert [(one["name"], one["left"]) for one in armed] == [("cancel-ignored", 1), ("no-fill", 0), ("reject", 2)]
    program.say("rejekt")
    program.until("not understood: no fault is called 'rejekt'")
    program.say("clear")
    program.until("cleared")
    assert requests.get(control + "/armed", timeout=5).json() == []
    assert requests.get(control + "/nothing", timeout=5).status_code == 404


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "0", "--day", "2026-11-26"], "2026-11-26 is not a trading day"),
        (["--port", "0", "--fault", "rejct"], "no fault is called 'rejct'"),
        (["--port", "0", "--fault", "reject tims=2"], "reject has no setting 'tims'"),
    ],
)
def test_what_it_cannot_start_with_is_said(capsys, options, said):
    assert main(options) == 2
    assert said in capsys.readouterr().out


def test_it_lists_its_faults(capsys):
    assert main(["--faults"]) == 0
    assert "fill-in-cancel" in capsys.readouterr().out


def test_a_script_is_in_order_of_time_and_a_wrong_line_is_named():
    cues = cues_of("+30 drop\n\n10:31 reject times=2 # twice\n", 1_795_188_600.0, DAY)
    assert [(cue.at - 1_795_188_600, cue.line) for cue in cues] == [(30, "drop"), (60, "reject times=2")]
    for text, said in (("soon drop", "line 1"), ("+1 drop\n+2 dorp", "line 2 of the script: no fault is called 'dorp'")):
        with pytest.raises(ValueError, match=said):
            cues_of(text, 0.0, DAY)


# --- the simulated day -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def market():
    return IndexMarket(1, DAY)


def test_the_same_seed_and_time_give_the_same_quotes_and_another_seed_does_not(market):
    at = market.session.at(time(11, 0))
    again, other = IndexMarket(1, DAY), IndexMarket(2, DAY)
    ids = list(market.instruments)[::7]
    assert [market.quote(one, at) for one in ids] == [again.quote(one, at) for one in ids]
    assert float(market.xsp(at)) != float(other.xsp(at))


def test_a_condor_of_a_tenth_delta_pays_what_the_morning_pays_and_its_quotes_are_sane(market):
    listed = {(one.trading_class, one.day, one.strike, one.right): one for one in market.instruments.values() if one.right}
    for moment in (time(9, 40), time(10, 30), time(12, 0), time(14, 0)):
        at = market.session.at(moment)
        credit = 0
        for right, way in (("P", -1), ("C", 1)):
            quotes = {strike: market.quote(one.con_id, at) for (name, day, strike, side), one in listed.items()
                      if (name, day, side) == ("XSP", "20261120", right)}  # fmt: skip
            assert all(quote.ask and (quote.bid or 0) < quote.ask for quote in quotes.values())
            known = {strike: quote for strike, quote in quotes.items() if quote.greeks}
            short = min(known, key=lambda strike: abs(abs(known[strike].greeks.delta) - 0.10))
            wing = known[short + way * 2000]
            assert 0.07 <= abs(known[short].greeks.delta) <= 0.13
            credit += sum(known[short][:2]) // 2 - ((wing.bid or 0) + wing.ask) // 2
        assert 180 <= credit <= 400


def test_vix_stands_for_15_seconds_and_rises_when_the_index_falls(market):
    start = market.session.open_at + 3600
    assert len({market.quote(VIX, start + second).last for second in range(15)}) == 1
    falling = IndexMarket(1, DAY, path=lambda at: 660 - 0.001 * (at - market.session.open_at))
    assert falling.quote(VIX, falling.session.close_at - 1).last > falling.quote(VIX, falling.session.open_at).last + 2500


def test_classes_holes_ticks_and_the_end_of_the_day(market):
    noon, closed = market.session.at(time(12, 0)), market.session.close_at
    options = [one for one in market.instruments.values() if one.right]
    assert {one.trading_class for one in options} == {"XSP", "SPXW", "SPX"}
    monthly = [one for one in options if one.trading_class == "SPX"]
    assert {one.day for one in monthly} == {"20261120"}
    assert not any(market.tradable(one.con_id, noon) for one in monthly)
    weekly = [one for one in options if one.trading_class == "SPXW" and one.day == "20261120"]
    assert all(quote.ask % 50 == 0 for one in weekly if (quote := market.quote(one.con_id, noon)))
    strikes = sorted({one.strike for one in options if one.trading_class == "XSP" and one.day == "20261120"})
    assert len(strikes) < (strikes[-1] - strikes[0]) // 1000 + 1
    assert market.tradable(weekly[0].con_id, noon)
    assert not market.tradable(weekly[0].con_id, closed)
    assert market.quote(weekly[0].con_id, closed).ask is None
    assert market.days(XSP, closed + 60) == []
    (bar,) = market.days(SPX, closed + 1000)
    assert bar.close == market.quote(SPX, closed + 5).last
    assert bar.low <= min(bar.open, bar.close) <= bar.high


@pytest.mark.process
def test_the_example_of_the_manual_runs_and_prints_what_the_manual_says():
    manual = (HOME / "docs" / "venues.md").read_text().partition("\n## TWS and IB Gateway\n")[2]
    example = manual.partition("```python\n")[2].partition("```")[0]
    done = subprocess.run([sys.executable, "-c", example], cwd=HOME, capture_output=True, text=True, timeout=90, check=False)
    first, second = done.stdout.splitlines() or [done.stderr, ""]
    assert f"prints `{first}` and `{second}`" in manual
