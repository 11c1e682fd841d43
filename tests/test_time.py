"""New York's hours through daylight saving and on any host; a guard that breaks or has nothing to go by lets nothing through."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest

import risk_manager
from events import AnyAction, AnyEvent, BarClosed, BarsFetched, FetchProfile, ProfileFailed
from tests.kit.deskbench import Bench, row
from tests.kit.worker import HOME
from utils import SessionCalendar, new_york

# the weeks in which New York changed and London had not, and those in which it was the other way round
ODD_WEEKS = [
    date(2026, 3, 6),
    date(2026, 3, 9),
    date(2026, 3, 27),
    date(2026, 3, 30),
    date(2026, 10, 26),
    date(2026, 10, 30),
    date(2026, 11, 2),
]


@pytest.mark.fault("A40", "X12")
@pytest.mark.parametrize("day", ODD_WEEKS)
def test_a_session_is_half_past_nine_to_four_in_new_york_through_every_change(day: date) -> None:
    session = SessionCalendar(day).on(day)
    assert session is not None
    assert [f"{new_york(at):%Y-%m-%d %H:%M}" for at in (session.open_at, session.close_at)] == [
        f"{day} 09:30",
        f"{day} 16:00",
    ]
    summer = date(2026, 3, 8) <= day < date(2026, 11, 1)
    assert datetime.fromtimestamp(session.open_at, UTC).hour == (13 if summer else 14)
    noon = SessionCalendar(day + timedelta(days=3)).on(day)
    assert noon == session


@pytest.mark.fault("X12", "A40")
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Europe/London", "Nowhere/Land"])
def test_no_hosts_zone_and_no_missing_zone_files_move_a_session(zone: str) -> None:
    program = (
        "from datetime import date; from utils import SessionCalendar, new_york; day = date(2026, 3, 9);"
        "s = SessionCalendar(day).on(day); print(s.open_at, s.close_at, new_york(s.open_at))"
    )
    environment = {**os.environ, "TZ": zone, "PYTHONTZPATH": ""}
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=HOME, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert told == "1773063000 1773086400 2026-03-09 09:30:00-04:00\n"


@pytest.mark.fault("A13")
@pytest.mark.parametrize("guard", ["desk_refusal", "way_out_refusal"])
def test_a_guard_that_breaks_lets_nothing_through(monkeypatch: pytest.MonkeyPatch, guard: str) -> None:
    def broken(*_: object) -> str | None:
        raise NameError("name 'ET' is not defined")

    bench = Bench().ready()
    monkeypatch.setattr(risk_manager, guard, broken)
    bench.chain(row(at=bench.now))
    faults: list[type] = []
    decide = bench.desk.decide

    def noted(events: list[AnyEvent]) -> list[AnyAction]:
        actions = decide(events)
        faults.extend(type(fault.raised) for fault in bench.desk.faults)
        return actions

    monkeypatch.setattr(bench.desk, "decide", noted)
    bench.surge()
    assert NameError in faults
    assert bench.phase == "Flat"
    assert not bench.said("BUY")


class Blindfolded(Bench):
    """A bench whose world has no volume profile, or no SPY."""

    def __init__(self, without: str) -> None:
        self.without = without
        super().__init__()

    def _answer(self, action: object) -> object:
        if isinstance(action, FetchProfile) and self.without == "profile":
            return ProfileFailed(at=self.now, symbol="IWM", date=action.date, reason="no answer")
        return super()._answer(action)  # type: ignore[arg-type]

    def put(self, *events: object) -> list:
        if self.without == "SPY":
            events = tuple(event for event in events if not self.is_of_spy(event))
        return super().put(*events) if events else []  # type: ignore[arg-type]

    @staticmethod
    def is_of_spy(event: object) -> bool:
        return (isinstance(event, BarClosed) and event.bar.symbol == "SPY") or (
            isinstance(event, BarsFetched) and event.symbol == "SPY"
        )


@pytest.mark.fault("A18")
@pytest.mark.parametrize("without", ["profile", "SPY"])
def test_a_gate_that_has_nothing_to_go_by_is_shut_and_no_stand_in_opens_it(without: str) -> None:
    assert Bench().bought().said("BUY")
    bench = Blindfolded(without).ready()
    bench.chain(row(at=bench.now))
    bench.surge()
    assert bench.phase == "Flat"
    assert not bench.said("BUY")
    gate = bench.iwm.reading().gate(6 if without == "profile" else 7)  # type: ignore[union-attr]
    assert (gate.ok, gate.value) == (False, None)
