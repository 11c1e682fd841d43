"""What the trades add up to, in exact mills; and, as a program, the check, the repair and the export of the ledger.

Everything above `main` is pure. A win is a trade with P&L above zero; every other resolved trade is a loss, one of exactly
$0 included (`flats` says how many those are), so that wins + losses is what the win rate divides by. An unresolved trade has
no P&L: it is counted as such and nowhere else.

    python -m pnl_tracker verify|restore|export [--data-dir DIR] [--json]
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    import startup

    startup.begin(startup.WORKER, startup.OF_WORKER, code=2)

from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from events import BrokerTrade, ExitReason, Fill, Mills, Position, Quote, Remembered, Trade
from utils import SHARES, new_york, signed_dollars

if TYPE_CHECKING:
    from argparse import Namespace


class Record(Struct, frozen=True):
    """The fold of all trades. Money is mills; `win_rate` is a fraction (None before the first resolved trade).

    `streak` is the run that stands: +3 three wins, -2 two losses. `lowest` and `highest` are the extremes of the balance,
    which starts at 0; `max_drawdown` is its deepest fall from a high, as a positive sum.
    """

    balance: Mills = 0
    trades: int = 0
    wins: int = 0
    losses: int = 0
    flats: int = 0
    unresolved: int = 0
    win_rate: float | None = None
    best: Mills | None = None
    worst: Mills | None = None
    streak: int = 0
    longest_win_streak: int = 0
    longest_loss_streak: int = 0
    gross_profit: Mills = 0
    gross_loss: Mills = 0
    lowest: Mills = 0
    highest: Mills = 0
    max_drawdown: Mills = 0

    @property
    def resolved(self) -> int:
        return self.wins + self.losses


def fold(trades: Iterable[Trade]) -> Record:
    """The record of trades in the order in which they were closed."""
    record = Record()
    for trade in trades:
        record = booked(record, trade.pnl)
    return record


def booked(record: Record, pnl: Mills | None) -> Record:
    """`record` with one more trade; `pnl` None is an unresolved one."""
    if pnl is None:
        return replace(record, trades=record.trades + 1, unresolved=record.unresolved + 1)
    won = pnl > 0
    balance = record.balance + pnl
    wins, losses = record.wins + won, record.losses + (not won)
    streak = max(record.streak, 0) + 1 if won else min(record.streak, 0) - 1
    highest = max(record.highest, balance)
    return replace(
        record,
        balance=balance,
        trades=record.trades + 1,
        wins=wins,
        losses=losses,
        flats=record.flats + (pnl == 0),
        win_rate=wins / (wins + losses),
        best=pnl if record.best is None else max(record.best, pnl),
        worst=pnl if record.worst is None else min(record.worst, pnl),
        streak=streak,
        longest_win_streak=max(record.longest_win_streak, streak),
        longest_loss_streak=max(record.longest_loss_streak, -streak),
        gross_profit=record.gross_profit + max(pnl, 0),
        gross_loss=record.gross_loss + min(pnl, 0),
        lowest=min(record.lowest, balance),
        highest=highest,
        max_drawdown=max(record.max_drawdown, highest - balance),
    )


def profit(entry: Mills, exit: Mills, fees: Mills = 0) -> Mills:
    """P&L of one contract bought and sold: (exit - entry) x 100 shares - the fees of both ways. Every P&L is made here."""
    return (exit - entry) * SHARES - fees


def if_sold_now(side: Position, fee: Mills) -> Mills | None:
    """What the assumed trade would book at the last bid, `fee` off each way; None before a bid was seen."""
    return None if side.last_bid is None else profit(side.entry, side.last_bid, 2 * fee)


def own_if_sold_now(side: Position, fee: Mills) -> Mills | None:
    """What the owner has made of it, or would by selling at the last bid, `fee` off each way; None if he told nothing."""
    sold = side.last_bid if side.real_exit is None else side.real_exit
    if sold is None or side.real_entry is side.real_exit is None:
        return None
    return profit(side.entry if side.real_entry is None else side.real_entry, sold, 2 * fee)


def held(fills: Iterable[Fill]) -> dict[str, int]:
    """What executions leave in hand, by contract; negative is short, and a contract that is closed is left out."""
    quantities: dict[str, int] = {}
    for fill in fills:
        signed = fill.quantity if fill.side == "buy" else -fill.quantity
        quantities[fill.contract] = quantities.get(fill.contract, 0) + signed
    return {contract: quantity for contract, quantity in quantities.items() if quantity}


def made_of(fills: Iterable[Fill], fee: Mills) -> tuple[Mills, Mills]:
    """P&L and fees of executions: what was received less what was paid, x 100 shares, fees off.

    `fee` is per contract, for those of which no broker has told it.
    """
    received = fees = 0
    for fill in fills:
        worth = fill.price * fill.quantity * SHARES
        received += worth if fill.side == "sell" else -worth
        fees += fee * fill.quantity if fill.fee is None else fill.fee
    return received - fees, fees


def record_of(trades: Iterable[BrokerTrade], strategy: str, mode: str) -> Record:
    """The record of one strategy in one mode. What was never opened is no trade."""
    record = Record()
    for trade in trades:
        if trade.record == (strategy, mode) and trade.opened_at is not None:
            record = booked(record, trade.pnl)
    return record


def settle(
    position: Position,
    exit: Mills | None,
    *,
    at: float,
    reason: ExitReason,
    detail: str,
    fee: Mills = 0,
    quote: Quote | None = None,
    stale: bool = False,
) -> Trade:
    """The trade that closing `position` at `exit` makes; `exit` None leaves it unresolved. `fee` is per contract and way.

    `quote` is the one that was sold into. The real P&L runs on the prices that the owner told. ValueError for a negative exit
    or fee.
    """
    if fee < 0 or (exit is not None and exit < 0):
        raise ValueError("an exit price and a fee are not negative")
    trade = Trade(
        id=position.id,
        contract=position.contract,
        strike=position.strike,
        expiration=position.expiration,
        opened_at=position.opened_at,
        closed_at=at,
        entry=position.entry,
        exit=exit,
        entry_quote=position.entry_quote,
        exit_quote=quote,
        peak=position.peak,
        reason=reason,
        detail=detail,
        fees=2 * fee,
        pnl=None if exit is None else profit(position.entry, exit, 2 * fee),
        stale=stale,
        signal=position.signal,
    )
    return told(trade, real_entry=position.real_entry, real_exit=position.real_exit, skipped=position.skipped)


def resolved(trade: Trade, exit: Mills, detail: str) -> Trade:
    """An unresolved trade whose worth at the end became known after all."""
    known = replace(trade, exit=exit, detail=detail, pnl=profit(trade.entry, exit, trade.fees))
    return told(known, real_entry=trade.real_entry, real_exit=trade.real_exit, skipped=trade.skipped)


def told(trade: Trade, *, real_entry: Mills | None, real_exit: Mills | None, skipped: bool) -> Trade:
    """The trade with the owner's own side of it. Of a side that was not told, the assumed price stands in; of neither, no P&L."""
    bought = trade.entry if real_entry is None else real_entry
    sold = trade.exit if real_exit is None else real_exit
    silent = skipped or real_entry is real_exit is None
    own = None if silent or sold is None else profit(bought, sold, trade.fees)
    return replace(trade, real_entry=real_entry, real_exit=real_exit, skipped=skipped, real_pnl=own)


def owner_holds(side: Position | Trade) -> bool:
    """Whether, as far as the owner told, there is something of his to sell."""
    return not side.skipped and side.real_exit is None


def real_balance(trades: Iterable[Trade]) -> tuple[Mills, int]:
    """What the trades made on the owner's own prices, and how many he told of."""
    own = [trade.real_pnl for trade in trades if trade.real_pnl is not None]
    return sum(own), len(own)


def critical_levels(before: Record, after: Record, limit: Mills) -> tuple[Mills, ...]:
    """The levels limit, 2 x limit, ... (limit < 0) to which the balance fell for the first time between two records.

    A level that was reached before, and left again, is not told twice. A limit of 0 tells nothing.
    """
    if limit >= 0:
        return ()
    return tuple(limit * step for step in range(before.lowest // limit + 1, after.lowest // limit + 1))


# --- the program -------------------------------------------------------------------------------------------------------

SOUND, DAMAGED, IMPOSSIBLE = 0, 1, 2
COLUMNS = (
    "id", "contract", "expiration", "strike", "opened", "closed", "entry", "entry_bid", "entry_ask", "exit", "exit_bid",
    "exit_ask", "peak", "fees", "pnl", "balance", "reason", "detail", "stale", "real_entry", "real_exit", "real_pnl",
    "skipped",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done and sound, 1 the ledger is damaged, 2 it could not be done."""
    from config import ConfigError, data_dir
    from disk.folder import DiskTrouble, FolderBusy, temporary_place
    from disk.ledger import LedgerDamaged, LedgerError
    from utils import SystemClock

    asked = _parsed(arguments)
    work = {"verify": _verify, "restore": _restore, "export": _export}[asked.command]
    try:
        asked.data_dir = asked.data_dir or data_dir()
        temporary_place(asked.data_dir)
        return work(asked, SystemClock().now())
    except (LedgerError, DiskTrouble, FolderBusy, ConfigError) as error:
        _print_json({"ok": False, "error": str(error)}) if asked.json else print(error, file=sys.stderr)
        return DAMAGED if isinstance(error, LedgerDamaged) else IMPOSSIBLE


def table(trades: Iterable[Trade]) -> Iterable[dict[str, str]]:
    """The trades as rows of COLUMNS: exact dollars, New York times; text that a spreadsheet would run is quoted."""
    balance = 0
    for trade in trades:
        balance += trade.pnl or 0
        quotes = {"entry": trade.entry_quote, "exit": trade.exit_quote}
        yield {
            "id": _harmless(trade.id),
            "contract": _harmless(trade.contract),
            "expiration": _harmless(trade.expiration),
            "opened": new_york(trade.opened_at).isoformat(timespec="milliseconds"),
            "closed": new_york(trade.closed_at).isoformat(timespec="milliseconds"),
            "reason": _harmless(trade.reason),
            "detail": _harmless(trade.detail),
            "stale": "yes" if trade.stale else "no",
            "skipped": "yes" if trade.skipped else "no",
            "balance": _plain(balance),
            **{f"{name}_bid": _plain(quote.bid if quote else None) for name, quote in quotes.items()},
            **{f"{name}_ask": _plain(quote.ask if quote else None) for name, quote in quotes.items()},
            **{name: _plain(getattr(trade, name)) for name in COLUMNS if name in MONEY},
        }


MONEY = ("strike", "entry", "exit", "peak", "fees", "pnl", "real_entry", "real_exit", "real_pnl")


def _plain(mills: Mills | None) -> str:
    return "" if mills is None else f"{Decimal(mills).scaleb(-3):.3f}"


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _verify(asked: Namespace, now: float) -> int:
    from disk.ledger import is_good, read, snapshots

    findings, remembered = read(asked.data_dir, now)
    copies = {path.name: is_good(path) for path in snapshots(asked.data_dir)}
    if asked.json:
        checks = [{"check": finding.check, "problems": finding.problems} for finding in findings]
        record = fold(remembered.trades) if remembered else None
        _print_json({"ok": remembered is not None, "checks": checks, "snapshots": copies, "record": record})
        return DAMAGED if remembered is None else SOUND
    for finding in findings:
        print(f"{'BAD ' if finding.problems else 'ok  '} {finding.check}")
        for problem in finding.problems:
            print(f"       {problem}")
    for name, good in copies.items():
        print(f"{'ok  ' if good else 'BAD '} snapshot {name}")
    if remembered is None:
        print("The ledger is damaged. Stop the worker, then: python -m pnl_tracker restore")
        return DAMAGED
    print("The ledger is sound.", *_summary(remembered), sep="\n")
    return SOUND


def _restore(asked: Namespace, now: float) -> int:
    from disk.folder import DataFolder
    from disk.ledger import LedgerError, read, restore

    if not asked.data_dir.is_dir():
        raise LedgerError(f"There is no folder {asked.data_dir}")
    with DataFolder(asked.data_dir).lock():
        snapshot, kept = restore(asked.data_dir, now)
    remembered = read(asked.data_dir, now)[1]
    if remembered is None:
        raise LedgerError("The restored ledger does not verify: see `python -m pnl_tracker verify`")
    if asked.json:
        _print_json({"ok": True, "snapshot": snapshot.name, "kept": kept and kept.name, "record": fold(remembered.trades)})
        return SOUND
    print(f"Restored from {snapshot.name}. What happened after it is not in the ledger.")
    print(f"The ledger that it replaces is kept, byte for byte, as {kept.name}." if kept else "There was no file to keep.")
    print(*_summary(remembered), sep="\n")
    return SOUND


def _export(asked: Namespace, now: float) -> int:
    import csv

    from disk.ledger import LedgerError, read

    findings, remembered = read(asked.data_dir, now)
    if remembered is None:
        first = next(problem for finding in findings for problem in finding.problems)
        raise LedgerError(f"The ledger is damaged ({first}): nothing was exported; see `python -m pnl_tracker verify`")
    if asked.json:
        _print_json({"ok": True, "unit": "mills", "record": fold(remembered.trades), "trades": remembered.trades})
    else:
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table(remembered.trades))
    return SOUND


def _summary(remembered: Remembered) -> list[str]:
    record, held = fold(remembered.trades), remembered.position
    rate = "" if record.win_rate is None else f" ({record.win_rate:.1%})"
    unresolved = f", {record.unresolved} unresolved" if record.unresolved else ""
    lines = [f"{record.trades} trades, {record.wins}W-{record.losses}L{rate}{unresolved}"]
    lines.append(f"Lifetime {signed_dollars(record.balance)}")
    own, count = real_balance(remembered.trades)
    if count:
        lines.append(f"Your fills: {signed_dollars(own)} in {count} of them")
    if held:
        lines.append(
            f"Open: {held.contract}, bought {new_york(held.opened_at):%Y-%m-%d %H:%M:%S} ET at {_plain(held.entry)}"
        )
    waiting = sum(outgoing.settled_at is None for outgoing in remembered.outbox)
    return [*lines, f"{waiting} alerts wait for the phone"] if waiting else lines


def _print_json(value: object) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def _parsed(arguments: Sequence[str] | None) -> Namespace:
    from argparse import ArgumentParser

    parser = ArgumentParser(prog="python -m pnl_tracker", description="Check, repair or export the ledger.")
    parser.add_argument("command", choices=("verify", "restore", "export"))
    parser.add_argument("--data-dir", type=Path, help="the worker's folder (default: DATA_DIR, as the worker reads it)")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
