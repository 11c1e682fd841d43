"""The benchmarks as programs: they measure what they say, and say what was not met. No figure is judged here."""

from __future__ import annotations

import io
from math import isnan, nan

import msgspec
import pytest
from rich.console import Console

from benchmarks import __main__ as program
from benchmarks import desk, latency
from benchmarks.figures import Figure, percentile, table


def test_a_figure_is_met_by_its_target_and_what_could_not_be_measured_is_not() -> None:
    assert Figure("a", 15.0, "ms", at_most=15).met
    assert not Figure("a", 15.1, "ms", at_most=15).met
    assert Figure("a", 0.3, "", at_least=0.3).met
    assert not Figure("a", nan, "ms", at_most=15).met
    assert Figure("a", 1.0, "ms").met is None


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile(range(1, 101), 99) == 99
    assert percentile([5.0], 50) == 5.0
    assert isnan(percentile([], 50))


def test_the_table_shows_figure_target_and_verdict() -> None:
    shown = io.StringIO()
    Console(file=shown, width=120).print(table([Figure("bar → BUY, p50", 9.5, "ms", at_most=15, note="520 of them")]))
    assert "9.5 ms" in shown.getvalue()
    assert "≤ 15.0 ms" in shown.getvalue()
    assert "✓" in shown.getvalue()


def test_what_cannot_be_measured_does_not_stop_the_rest(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(program, "BENCHMARKS", {"lost": "benchmarks.nowhere:measure", "desk": "benchmarks.desk:measure"})
    monkeypatch.setattr(desk, "measure", lambda: [Figure("desk", 0.5, "", at_least=0.3)])
    assert program.main(["--json"]) == 1
    out, err = capfdbinary.readouterr()
    assert [(told["benchmark"], told["met"]) for told in msgspec.json.decode(out)] == [("desk", True)]
    assert b"lost could not be measured: ModuleNotFoundError" in err


@pytest.mark.process
def test_each_buy_of_the_scripted_market_is_sold_by_the_way_its_turn_says() -> None:
    """The whole worker; every trade is seen, by REST and by the stream in turn."""
    figures = {figure.name: figure for figure in latency.measure(buys=4, speed=2.0)}
    assert figures["bar → BUY, p50"].note.startswith("4 of them")
    assert figures["REST quote → SELL, p50"].note.startswith("2 of them")
    assert figures["stream quote → SELL, p50"].note.startswith("2 of them")
    assert all(figure.value > 0 for figure in figures.values())
