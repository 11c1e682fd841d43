"""Trades add up exactly; and the program that checks, restores and exports them says plainly what it found."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import pnl_tracker
from disk.ledger import DataFolder, Ledger
from events import Trade
from pnl_tracker import Record, booked, critical_levels, fold, profit, settle, table
from tests.kit.books import OPENED_AT, QUOTE, a_position, a_trade, closing, commits, opening, whole

ROOT = Path(pnl_tracker.__file__).parent
MONEY = st.none() | st.integers(-3_000_000, 3_000_000)


def of_pnl(pnl: int | None) -> Trade:
    return replace(a_trade(a_position()), pnl=pnl, exit=None if pnl is None else 1500)


def record_of(*pnls: int | None) -> Record:
    return fold(map(of_pnl, pnls))


# --- the arithmetic ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "exit", "fee", "pnl"),
    [(1430, 1440, 0, 1_000), (1430, 1440, 650, -300), (1430, 0, 0, -143_000), (1430, 1430, 0, 0), (1430, 1430, 5, -10)],
)
def test_a_trades_result_is_its_prices_times_100_shares_less_the_fee_each_way(entry: int, exit: int, fee: int, pnl: int):
    assert profit(entry, exit, 2 * fee) == pnl
    trade = settle(
        a_position(entry=entry), exit, at=OPENED_AT + 9, reason="stop loss", detail="-15.0%", fee=fee, quote=QUOTE
    )
    assert (trade.pnl, trade.fees, trade.closed_at, trade.exit_quote) == (pnl, 2 * fee, OPENED_AT + 9, QUOTE)


def test_a_trade_that_cannot_be_priced_is_unresolved_and_has_no_result():
    trade = settle(a_position(), None, at=OPENED_AT, reason="expired", detail="no settlement price")
    assert (trade.exit, trade.pnl, trade.real_pnl) == (None, None, None)


def test_the_owners_own_fill_runs_beside_the_assumed_one():
    position = replace(a_position(entry=1430), real_entry=1450)
    assumed_exit = settle(position, 1500, at=OPENED_AT, reason="by hand", detail="")
    assert (assumed_exit.pnl, assumed_exit.real_pnl) == (7_000, 5_000)
    sold = replace(position, real_exit=1490)
    told = settle(sold, 1500, at=OPENED_AT, reason="by hand", detail="", fee=10)
    assert (told.pnl, told.real_pnl, told.real_exit) == (6_980, 3_980, 1490)


@pytest.mark.parametrize("wrong", [{"exit": -1}, {"exit": 10, "fee": -1}])
def test_a_negative_price_or_fee_is_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match="not negative"):
        settle(a_position(), at=OPENED_AT, reason="expired", detail="", **wrong)


# --- the record --------------------------------------------------------------------------------------------------------


def test_a_record_counts_wins_losses_and_streaks_and_leaves_the_unresolved_outside():
    record = record_of(5_000, 1_000, None, 0, -2_000, -3_000, 9_000)
    assert (record.trades, record.wins, record.losses, record.flats, record.unresolved) == (7, 3, 3, 1, 1)
    assert record.win_rate == 0.5
    assert (record.balance, record.best, record.worst) == (10_000, 9_000, -3_000)
    assert (record.streak, record.longest_win_streak, record.longest_loss_streak) == (1, 2, 3)
    assert (record.gross_profit, record.gross_loss, record.max_drawdown) == (15_000, -5_000, 5_000)
    assert (record.lowest, record.highest) == (0, 10_000)


def test_before_the_first_resolved_trade_there_is_no_win_rate():
    assert record_of().win_rate is None
    assert record_of(None).win_rate is None
    assert record_of(None).best is None


@pytest.mark.fault("A36")
def test_a_result_of_exactly_zero_is_no_win_and_counts_in_the_win_rate():
    record = record_of(0)
    assert (record.wins, record.losses, record.flats, record.win_rate) == (0, 1, 1, 0.0)
    assert (record.best, record.worst) == (0, 0)


@given(st.lists(MONEY, max_size=40))
def test_the_fold_agrees_with_plain_sums_whatever_the_trades(pnls: list[int | None]):
    known = [pnl for pnl in pnls if pnl is not None]
    record = record_of(*pnls)
    balances = [sum(known[:count]) for count in range(len(known) + 1)]
    assert record.balance == sum(known)
    assert record.wins == sum(pnl > 0 for pnl in known)
    assert record.wins + record.losses == record.resolved == len(known)
    assert record.trades == len(pnls)
    assert (record.best, record.worst) == (max(known, default=None), min(known, default=None))
    assert (record.lowest, record.highest) == (min(balances), max(balances))
    assert record.max_drawdown == max(max(balances[: at + 1]) - balance for at, balance in enumerate(balances))
    assert record.gross_profit + record.gross_loss == record.balance


@given(st.lists(MONEY, max_size=20))
def test_one_more_trade_is_the_same_as_folding_them_all_again(pnls: list[int | None]):
    record = Record()
    for count, pnl in enumerate(pnls, start=1):
        record = booked(record, pnl)
        assert record == record_of(*pnls[:count])


# --- deep losses -------------------------------------------------------------------------------------------------------

LIMIT = -500_000


@pytest.mark.parametrize(
    ("pnls", "levels"),
    [
        ((-499_999,), ()),
        ((-500_000,), (-500_000,)),
        ((-300_000, -250_000), (-500_000,)),
        ((-1_600_000,), (-500_000, -1_000_000, -1_500_000)),
        ((-600_000, 400_000, -300_000), ()),
        ((-600_000, 400_000, -900_000), (-1_000_000,)),
        ((900_000, -1_300_000), ()),
        ((-600_000, None), ()),
    ],
)
def test_a_critical_level_is_told_when_the_balance_first_falls_to_it(pnls: tuple[int | None, ...], levels: tuple[int, ...]):
    assert critical_levels(record_of(*pnls[:-1]), record_of(*pnls), LIMIT) == levels


@given(st.lists(MONEY, max_size=30))
def test_each_critical_level_is_told_once_in_a_lifetime_and_none_is_skipped(pnls: list[int | None]):
    told = []
    record = Record()
    for pnl in pnls:
        after = booked(record, pnl)
        told += critical_levels(record, after, LIMIT)
        record = after
    assert told == [LIMIT * step for step in range(1, record.lowest // LIMIT + 1)]


def test_without_a_limit_nothing_is_critical():
    assert critical_levels(record_of(), record_of(-9_000_000), 0) == ()


# --- the program -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with DataFolder(tmp_path / "data").lock() as held:
        ledger = Ledger.open(held.path, OPENED_AT)
        for count, exit in enumerate((1550, 1300, None)):
            position = a_position(f"T{count}", OPENED_AT + 600 * count)
            ledger.commit(whole(opening(position)))
            ledger.commit(whole(closing(position, exit)))
        ledger.snapshot_if_due(OPENED_AT + 2000)
        ledger.close()
    return tmp_path / "data"


def asked(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = pnl_tracker.main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_verify_says_line_by_line_that_a_sound_ledger_is_sound(folder: Path, capsys: pytest.CaptureFixture[str]):
    before = {path: path.read_bytes() for path in folder.glob("ledger*")}
    code, said, _ = asked("verify", "--data-dir", str(folder), capsys=capsys)
    assert code == 0
    assert "ok   the hash chain" in said
    assert "ok   snapshot ledger-" in said
    assert "BAD" not in said
    assert "3 trades, 1W-1L (50.0%), 1 unresolved\nLifetime -$1.00" in said
    assert {path: path.read_bytes() for path in folder.glob("ledger*")} == before


def test_verify_names_the_damage_and_the_way_out(folder: Path, capsys: pytest.CaptureFixture[str]):
    damaged = (folder / "ledger.sqlite3").read_bytes().replace(b'"exit":1550', b'"exit":9550')
    (folder / "ledger.sqlite3").write_bytes(damaged)
    code, said, _ = asked("verify", "--data-dir", str(folder), capsys=capsys)
    assert code == 1
    assert "BAD  the hash chain\n       line " in said
    assert "python -m pnl_tracker restore" in said
    assert (folder / "ledger.sqlite3").read_bytes() == damaged
    answer = json.loads(asked("verify", "--json", "--data-dir", str(folder), capsys=capsys)[1])
    assert answer["ok"] is False
    assert next(check["check"] for check in answer["checks"] if check["problems"]) == "the hash chain"


def test_verify_can_look_while_a_worker_runs(folder: Path, capsys: pytest.CaptureFixture[str]):
    with DataFolder(folder).lock():
        ledger = Ledger.open(folder, OPENED_AT)
        ledger.commit(whole(opening(a_position("now", OPENED_AT + 3000))))
        code, said, _ = asked("verify", "--data-dir", str(folder), capsys=capsys)
        assert code == 0
        assert "Open: O:IWM251002C00215000, bought 2025-10-02 11:30:00 ET at 1.430" in said
        assert asked("restore", "--data-dir", str(folder), capsys=capsys)[0] == 2
        ledger.close()


def test_restore_brings_back_the_snapshot_and_says_what_it_kept(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "ledger.sqlite3").write_bytes(b"<html>")
    code, said, _ = asked("restore", "--data-dir", str(folder), capsys=capsys)
    assert code == 0
    kept = next(folder.glob("ledger.damaged-*"))
    assert f"kept, byte for byte, as {kept.name}" in said
    assert kept.read_bytes() == b"<html>"
    assert "1W-1L" in said
    assert asked("verify", "--data-dir", str(folder), capsys=capsys)[0] == 0


def test_restore_does_nothing_to_a_sound_ledger(folder: Path, capsys: pytest.CaptureFixture[str]):
    code, _, said = asked("restore", "--data-dir", str(folder), capsys=capsys)
    assert (code, said) == (2, "The ledger is sound: there is nothing to restore\n")


def test_a_lost_ledger_is_said_to_be_lost_and_can_be_restored(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "ledger.sqlite3").unlink()
    code, _, said = asked("verify", "--data-dir", str(folder), capsys=capsys)
    assert code == 2
    assert "but there was" in said
    assert asked("restore", "--data-dir", str(folder), capsys=capsys)[0] == 0


@pytest.mark.parametrize("command", ["verify", "restore", "export"])
def test_a_folder_without_a_ledger_is_left_without_one(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]):
    assert asked(command, "--data-dir", str(tmp_path / "none"), capsys=capsys)[0] == 2
    assert not (tmp_path / "none").exists()
    assert asked(command, "--data-dir", str(tmp_path), capsys=capsys)[0] == 2
    assert list(tmp_path.glob("ledger*")) == []


def test_export_writes_exact_dollars_and_new_york_times(folder: Path, capsys: pytest.CaptureFixture[str]):
    code, said, _ = asked("export", "--data-dir", str(folder), capsys=capsys)
    rows = list(csv.DictReader(io.StringIO(said)))
    assert code == 0
    assert [row["pnl"] for row in rows] == ["12.000", "-13.000", ""]
    assert [row["balance"] for row in rows] == ["12.000", "-1.000", "-1.000"]
    assert (rows[0]["entry"], rows[0]["exit"], rows[0]["entry_ask"]) == ("1.430", "1.550", "1.420")
    assert rows[0]["opened"] == "2025-10-02T10:40:00.000-04:00"
    answer = json.loads(asked("export", "--json", "--data-dir", str(folder), capsys=capsys)[1])
    assert [trade["pnl"] for trade in answer["trades"]] == [12_000, -13_000, None]
    assert answer["record"]["balance"] == -1_000


def test_nothing_is_exported_from_a_damaged_ledger(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "ledger.sqlite3").write_bytes(b"")
    code, said, error = asked("export", "--data-dir", str(folder), capsys=capsys)
    assert (code, said) == (2, "")
    assert "nothing was exported" in error


@pytest.mark.fault("S20")
@given(st.text(max_size=20), st.sampled_from(["", "=", "+", "-", "@", "\t", "\r"]))
def test_no_cell_of_an_export_is_run_by_a_spreadsheet(text: str, start: str):
    trade = replace(a_trade(a_position(start + text)), detail=start + text)
    (row,) = table([trade])
    for cell in (row["id"], row["detail"]):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell.endswith(text)


def test_it_runs_as_a_program_and_its_core_needs_no_database(folder: Path):
    done = subprocess.run(
        [sys.executable, "-m", "pnl_tracker", "verify", "--data-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "The ledger is sound." in done.stdout
    core = "import sys, pnl_tracker; sys.exit(any(name in sys.modules for name in ('sqlite3', 'disk.ledger', 'csv', 'argparse')))"
    assert subprocess.run([sys.executable, "-c", core], cwd=ROOT, timeout=60).returncode == 0


def test_a_long_history_verifies_quickly_and_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ledger = Ledger.open(tmp_path, OPENED_AT)
    for writes in commits(Random(11), 600):
        ledger.commit(whole(writes))
    expected = fold(ledger.remembered().trades)
    ledger.close()
    answer = json.loads(asked("verify", "--json", "--data-dir", str(tmp_path), capsys=capsys)[1])
    assert answer["ok"] is True
    assert answer["record"]["balance"] == expected.balance
    assert answer["record"]["trades"] == expected.trades > 60
