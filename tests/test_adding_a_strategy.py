"""The strategy that docs/adding-a-strategy.md shows is whole, short, and trades."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from events import Remembered
from strategies.registry import build
from tests.kit.deskbench import Bench, row

PAGE = Path(__file__).resolve().parents[1] / "docs" / "adding-a-strategy.md"


def shown() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(code)


def test_it_is_shorter_than_sixty_lines() -> None:
    assert len([line for line in shown().splitlines() if line.strip()]) < 60


def test_it_buys_at_ten_and_is_out_by_half_past_with_an_account_of_its_own() -> None:
    names: dict[str, Any] = {}
    exec(compile(shown(), str(PAGE), "exec"), names)
    bench = Bench(at="09:59:30")
    bench.desk = build(bench.config, bench.calendar, Remembered(), [names["TenOClock"]()])
    bench.ready()
    bench.tick(29)
    bench.chain(row(at=bench.now))
    assert not bench.said("BUY")
    bench.tick(2)
    (buy,) = bench.said("BUY")
    assert buy.title == "🔥 TEN — BUY"
    bench.quote(520, 530)
    assert bench.held.strategy == "ten"
    bench.quote(390, 400)
    bench.tick(1)
    (sell,) = bench.said("SELL")
    assert "Lost a fifth" in sell.text
    state = bench.desk.state
    assert [trade.id for trade in state.account("ten").trades] == ["TEN-20261120"]
    assert state.account("ten").record.losses == 1
    assert state.record.trades == 0
    bench.tick(60)
    assert len(bench.said("BUY")) == 1, "once a day"
