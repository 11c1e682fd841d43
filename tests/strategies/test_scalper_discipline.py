"""Four trades, two losses, three rejects, one a symbol, two in all: from the rows alone."""

from __future__ import annotations

import pytest

from events.orders import BrokerTrade, Leg
from strategies.scalper.discipline import Day, day_of, of_today, refusal
from tests.strategies.test_scalper_conditions import SESSION, configured

SETTINGS = configured()
OPEN = SESSION.open_at
WON, LOST, EVEN = 12_000, -9_000, 0


def a_trade(number: int, state: str = "closed", pnl: int | None = WON, **parts: object) -> BrokerTrade:
    """Trade `number` of the day, begun a minute after the last and closed ten minutes later."""
    filled = state != "unfilled"
    began = OPEN + 60.0 * number
    given = {
        "id": f"SC-20261120-{number}",
        "strategy": "scalper",
        "mode": "paper",
        "underlying": f"S{number}",
        "expiration": "2026-11-20",
        "legs": (Leg(f"O:S{number}", "buy", True),),
        "units": 2,
        "created_at": began,
        "session_close_at": float(SESSION.close_at),
        "state": "closed" if state == "unfilled" else state,
        "opened_at": began + 1 if filled and state != "entering" else None,
        "closed_at": began + 600 if state in ("closed", "unfilled") else None,
        "pnl": pnl if state == "closed" else None,
    } | parts
    return BrokerTrade(**given)  # type: ignore[arg-type]


def day(*trades: BrokerTrade) -> Day:
    return day_of(SETTINGS, trades)


@pytest.mark.fault("B6")
def test_four_trades_end_the_day_whatever_became_of_them() -> None:
    three = [a_trade(number, pnl=pnl) for number, pnl in enumerate((WON, LOST, WON), 1)]
    assert day(*three).why == ""
    for state in ("open", "closing", "closed", "entering"):
        assert day(*three, a_trade(4, state)).why == "4 of 4 trades"


@pytest.mark.fault("B6")
def test_what_was_not_filled_or_rejected_counts_for_nothing() -> None:
    made = day(*[a_trade(number, "unfilled") for number in range(1, 9)])
    assert (made.trades, made.losses_in_row, made.why) == (0, 0, "")


@pytest.mark.fault("B6")
@pytest.mark.parametrize(
    ("results", "losses"),
    [((LOST, LOST), 2), ((LOST, EVEN), 2), ((LOST, WON), 0), ((LOST, WON, LOST), 1), ((WON, LOST, LOST), 2)],
)
def test_two_losses_in_a_row_by_closing_end_the_day(results: tuple[int, ...], losses: int) -> None:
    made = day(*[a_trade(number, pnl=pnl) for number, pnl in enumerate(results, 1)])
    assert made.losses_in_row == losses
    assert made.why == ("2 losses in a row" if losses == 2 else "")


@pytest.mark.fault("B6")
def test_losses_are_in_the_order_of_closing_and_an_open_position_is_none_yet() -> None:
    first_out_last = a_trade(1, pnl=WON, closed_at=OPEN + 9_000.0)
    assert day(first_out_last, a_trade(2, pnl=LOST), a_trade(3, pnl=LOST)).losses_in_row == 0
    assert day(a_trade(1, pnl=LOST), a_trade(2, "open")).losses_in_row == 1


@pytest.mark.fault("B6")
def test_an_unresolved_trade_is_lost() -> None:
    assert day(a_trade(1, pnl=LOST), a_trade(2, "unresolved")).why == "2 losses in a row"


@pytest.mark.fault("B6")
def test_three_rejected_entries_in_a_row_end_the_day() -> None:
    rejected = [a_trade(number, "unfilled", reason="rejected: insufficient buying power") for number in (1, 2, 3)]
    assert day(*rejected).why == "3 entries rejected in a row"
    assert day(*rejected[:2], a_trade(3, "unfilled", reason="not filled")).rejects_in_row == 0
    assert day(*rejected[:2], a_trade(3)).rejects_in_row == 0
    assert day(a_trade(4, "open", created_at=OPEN - 1.0), *rejected).why == "3 entries rejected in a row"


@pytest.mark.fault("B6", "B10")
def test_only_todays_trades_of_this_mode_and_strategy_count() -> None:
    others = [
        a_trade(1, created_at=OPEN - 86_400.0),
        a_trade(2, mode="alpaca-paper"),
        a_trade(3, strategy="condor"),
        a_trade(4),
    ]
    assert of_today(others, SESSION, "paper", "scalper") == [others[3]]


@pytest.mark.parametrize(
    ("trades", "symbol", "code"),
    [
        ([], "QQQ", None),
        ([a_trade(1, "open", underlying="QQQ")], "QQQ", "position_open"),
        ([a_trade(1, "closing", underlying="QQQ")], "QQQ", "position_open"),
        ([a_trade(1, "open")], "QQQ", None),
        ([a_trade(1, "open"), a_trade(2, "closing")], "QQQ", "too_many_positions"),
        ([a_trade(1, "entering")], "QQQ", "entry_in_flight"),
        ([a_trade(1, "closed", underlying="QQQ")], "QQQ", None),
    ],
)
def test_one_position_a_symbol_two_in_all_one_entry_on_its_way(
    trades: list[BrokerTrade], symbol: str, code: str | None
) -> None:
    made = refusal(SETTINGS, Day(), trades, symbol)
    assert (made and made.code) == code


def test_the_days_end_is_told_before_anything_else() -> None:
    made = refusal(SETTINGS, Day(why="2 losses in a row"), [a_trade(1, "open", underlying="QQQ")], "QQQ")
    assert made is not None
    assert (made.code, made.says) == ("discipline", "2 losses in a row")


def test_settings_can_only_tighten() -> None:
    assert day_of(configured(max_trades=1), [a_trade(1)]).why == "1 of 1 trades"
    assert day_of(configured(max_losses=1), [a_trade(1, pnl=LOST)]).why == "the last trade lost"
