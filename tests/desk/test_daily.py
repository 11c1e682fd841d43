"""GO or NO-GO in the morning, the summary in the evening, and a person's word in between."""

from __future__ import annotations

from datetime import date

import pytest

from desk.state import Held
from events import (
    BarClosed,
    ChainFailed,
    ClockChecked,
    Commit,
    FeedDropped,
    FeedRefused,
    Noted,
    OperatorSpoke,
    PositionClosed,
    PositionMarked,
    Quote,
    QuoteSeen,
    Remembered,
)
from tests.kit.deskbench import CONTRACT, Bench, row


def morning(bench: Bench) -> str:
    [said] = [action for action in bench.delivered if action.alert_id.endswith("-MORNING")]
    return f"{said.title}\n{said.text}"


def before_the_open(**settings: str) -> Bench:
    bench = Bench(at="09:24:00", **settings).start()
    bench.chain(row(at=bench.now))
    bench.put(BarClosed(at=bench.now, bar=bench._bar("IWM", int(bench.now) - 2, 220.0)))
    bench.put(ClockChecked(at=bench.now, skew_s=0.0, source="the market's time"))
    return bench


def test_the_morning_says_go_with_what_was_checked() -> None:
    bench = before_the_open()
    bench.tick(120)
    told = morning(bench)
    assert "IWM GO" in told
    assert "Open 09:30, close 16:00 ET" in told
    for name in (
        "feed: in real time",
        "chain: 1 calls expire today",
        "clock",
        "disk",
        "phone: 9,000 messages left",
        "volume profile",
    ):
        assert f"✅ {name}" in told


def test_it_is_said_once_a_day_across_restarts() -> None:
    bench = before_the_open()
    bench.tick(240)
    assert "GO" in morning(bench)
    again = Bench(Remembered(facts={"morning": "2026-11-20"}), at="09:26:00").start()
    again.tick(60)
    assert not [action for action in again.delivered if "MORNING" in action.alert_id]


def test_a_start_just_before_the_open_is_no_no_go_for_what_could_not_be_asked_yet() -> None:
    bench = Bench(at="09:29:50").start()
    bench.tick(20)
    assert not [action for action in bench.delivered if "MORNING" in action.alert_id]
    early = Bench(at="09:28:00").start()
    early.tick(29)
    assert not [action for action in early.delivered if "MORNING" in action.alert_id]
    early.tick(2)
    assert "NO-GO" in morning(early)


def test_a_day_without_calls_of_its_own_is_a_no_go() -> None:
    bench = Bench(at="09:24:00").start()
    bench.chain()
    bench.tick(120)
    assert "❌ expiry: no calls expire today" in morning(bench)


def test_an_early_close_is_part_of_the_morning() -> None:
    bench = Bench(day=date(2026, 11, 27), at="09:25:30").start()
    bench.tick(60)
    assert "close 13:00 ET — EARLY CLOSE" in morning(bench)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda bench: bench.put(FeedRefused(at=bench.now, feed="stocks", reason="unknown key")), "❌ feed: unknown key"),
        (
            lambda bench: bench.put(OperatorSpoke(at=bench.now, command="stop_entries", who="page")),
            "❌ entries: stopped (manual)",
        ),
        (
            lambda bench: bench.put(BarClosed(at=bench.now, bar=bench._bar("IWM", int(bench.now) - 901, 220.0))),
            "❌ feed: bars are 900 s late: a real-time plan is needed",
        ),
        (
            lambda bench: bench.chain(row(at=bench.now, quote=Quote(490, 500, 35, 40, bench.now, delayed=True))),
            "❌ chain: quotes are delayed: a real-time plan is needed",
        ),
    ],
)
def test_what_is_wrong_makes_it_a_no_go(spoil: object, said: str) -> None:
    bench = before_the_open()
    spoil(bench)  # type: ignore[operator]
    bench.tick(120)
    told = morning(bench)
    assert "IWM NO-GO" in told
    assert said in told


def test_the_evening_tells_signals_near_misses_and_the_quality_of_the_feed() -> None:
    bench = Bench(at="15:59:00").start()
    session = bench.session
    assert session is not None
    notes = tuple(
        Noted(session.open_at + 600.0 * count, "signal", {"refused": why})
        for count, why in enumerate((None, "entry cooldown, 277s left", "entry cooldown, 12s left", "position open"))
    )
    bench = Bench(Remembered(notes=notes), at="15:59:00").start()
    bench.put(
        FeedDropped(at=bench.now, feed="stocks", reason="reset"),
        ChainFailed(at=bench.now, underlying="IWM", right="call", reason="503"),
    )
    bench.tick(180)
    [summary] = [action for action in bench.delivered if action.alert_id.endswith("-SUMMARY")]
    assert "4 signals, 3 not taken" in summary.text
    assert "Why not: 2× entry cooldown, 1× position open" in summary.text
    assert "1 reconnect" in summary.text
    assert "1 chains missed" in summary.text
    assert "(seen since 15:59)" in summary.text


# --- a person's word ---------------------------------------------------------------------------------------------------


def held(bench: Bench) -> Held:
    return bench.held


def writes_of(bench: Bench, kind: type) -> list[object]:
    return [
        item for action in bench.actions if isinstance(action, Commit) for item in action.writes if isinstance(item, kind)
    ]


def told_at(bench: Bench, price: int) -> Bench:
    bench.put(OperatorSpoke(at=bench.now, command="took_it", who="page", price=price))
    return bench


def test_a_real_fill_is_kept_beside_the_assumed_one_and_its_pnl_is_booked_beside() -> None:
    bench = told_at(Bench().bought(), 530)
    entry = held(bench).position.entry
    assert held(bench).position.real_entry == 530
    [marked] = [item for item in writes_of(bench, PositionMarked) if item.position.real_entry == 530]  # type: ignore[attr-defined]
    assert marked.position.entry == entry  # type: ignore[attr-defined]
    bench.put(OperatorSpoke(at=bench.now, command="close_now", who="page"))
    [closed] = writes_of(bench, PositionClosed)
    trade = closed.trade  # type: ignore[attr-defined]
    assert trade.reason == "by hand"
    assert trade.pnl == (trade.exit - entry) * 100
    assert trade.real_pnl == (trade.exit - 530) * 100
    assert "👤 Your fills" in bench.said("SELL")[0].text


def test_the_stop_runs_on_the_dearer_of_the_two_fills() -> None:
    bench = Bench().bought()
    entry = held(bench).position.entry
    mark = entry * 88 // 100 // 10 * 10
    quote = QuoteSeen(at=bench.now, contract=CONTRACT, quote=Quote(mark - 10, mark + 10, 30, 30, bench.now), source="rest")
    bench.put(quote)
    assert bench.phase == "Holding"
    told_at(bench, entry * 11 // 10)
    bench.put(quote)
    assert bench.phase == "Flat"
    assert "of your fill" in bench.said("SELL")[0].text


def test_a_cheaper_fill_moves_no_stop_and_a_slip_of_the_finger_is_not_taken() -> None:
    bench = told_at(Bench().bought(), 480)
    entry = held(bench).position.entry
    told_at(bench, entry * 10)
    assert held(bench).position.real_entry == 480
    bench.put(OperatorSpoke(at=bench.now, command="skipped_it", who="page"))
    assert held(bench).position.real_entry is None
    assert [note.kind for note in bench.desk.state.noted][-3:] == ["took_it", "took_it", "skipped_it"]


def test_a_fill_without_a_position_is_noted_and_changes_nothing() -> None:
    bench = told_at(Bench().ready(), 500)
    assert bench.phase == "Flat"
    assert writes_of(bench, Noted)
