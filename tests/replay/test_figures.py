"""What the figures of a report must not draw: a line over a gap, a bar over gains and losses, a mark that was never seen."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

from events import Quote, Trade
from replay import made, paths, setting
from replay.figures import Limits, Mark, broken, distribution_figure, position_figure, session_figure
from replay.of_bars import readings
from replay.paths import Closed

(SESSION,) = made.sessions(1, made.calendar_for(1))


def closed(pnl: int) -> Closed:
    return Closed(1.0, 2.0, 240_000, 500, 500 + pnl // 100, 600, "stop loss", pnl)


def test_nothing_is_drawn_over_a_gap() -> None:
    assert broken([1.0, 2.0, 90.0], float, 60.0) == [(1.0, 1.0), (2.0, 2.0), (3.0, None), (90.0, 90.0)]
    assert broken([], float, 60.0) == []
    made_up = made.session_of(3, SESSION)
    own = made_up.own.between(SESSION.open_at, SESSION.open_at + 1200)
    hole = own.take((own.start < SESSION.open_at + 500) | (own.start >= SESSION.open_at + 800))
    told = list(readings(setting.config_of({}), paths.SessionBars(SESSION, hole, made_up.leader, made_up.profile)))
    figure = session_figure(told, (), [(SESSION.open_at + 500.0, SESSION.open_at + 800.0)])
    close = next(line for line in figure.axes[0].lines if line.get_label() == "close")
    assert np.isnan(close.get_ydata()).sum() == 1
    strip = figure.axes[2].collections[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(strip)).any(axis=-1).any()


@pytest.mark.parametrize("pnl", [[-8_000, 4_000, 113_000], [-5_000], [3_000, 3_000], [0, 0]])
def test_no_bar_of_the_distribution_holds_gains_and_losses_both(pnl: list[int]) -> None:
    bars = distribution_figure([closed(value) for value in pnl]).axes[0].patches
    edges = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
    assert all(left >= -1e-9 or right <= 1e-9 for left, right in edges)
    assert sum(bar.get_height() for bar in bars) == len(pnl)


def test_a_position_still_open_has_no_exit_and_a_blind_stretch_no_mark() -> None:
    marks = [Mark(at, 1.0, 1.1, 0.99, 1.01) for at in (0.0, 1.0, 2.0, 30.0)] + [Mark(31.0, 0.9, 1.1, nan, nan)]
    limits = Limits(0.15, 0.3, 0.2)
    still = position_figure(marks, 1.02, limits, None)
    (panel,) = still.axes
    names = [line.get_label() for line in panel.lines]
    assert not [name for name in names if name.startswith("exit")]
    mark = next(line for line in panel.lines if line.get_label() == "mark")
    assert np.isnan(mark.get_ydata()).sum() == 1
    trade = Trade(
        "1", "O:IWM261119C00240000", 240_000, "2026-11-19", 0.0, 31.0, 1020, 890, Quote(990, 1010, 1, 1), Quote(890, 910, 1, 1),
        1100, "stop loss", "", 0, -13_000,
    )  # fmt: skip
    done = position_figure(marks, 1.02, limits, trade).axes[0]
    assert [line.get_ydata()[0] for line in done.lines if line.get_label().startswith("exit")] == [0.89]
