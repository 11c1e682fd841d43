"""What a quant asks of a backtest and a report: one row is one backtest, money adds up, every option is obeyed or refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from replay import by_date, made, paths, setting
from replay.__main__ import main as replay
from replay.head import true_of
from replay.show import many, named
from utils import contract_name

WHEN = ["2026-01-05", "2026-01-07", "--made", "3"]
LOOSE = ["--set", "MAX_SPREAD_PERCENT=8"]


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict:
    assert replay([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_row_of_a_sweep_is_the_backtest_of_the_same_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    grid = tmp_path / "grid.json"
    grid.write_text('{"STOP_LOSS_PERCENT": [10, 20]}')
    asked = [*WHEN, *LOOSE, "--delay", "5", "--seed", "9"]
    swept = told(capsys, "sweep", *asked, "--grid", str(grid))
    assert {item["setting"]["delay_s"] for item in swept["settings"]} == {5.0}
    for item in swept["settings"]:
        given = item["setting"]["settings"]
        assert given["MAX_SPREAD_PERCENT"] == "8"
        alone = told(capsys, "backtest", *asked, "--set", f"STOP_LOSS_PERCENT={given['STOP_LOSS_PERCENT']}")
        assert alone["worth"] == item["worth"]
        assert alone["worth"]["trades"]
    assert swept["head"]["seeds"] == alone["head"]["seeds"] == {"made-up bars": 3, "modelled quotes": 9}
    other = told(capsys, "backtest", *WHEN, *LOOSE, "--delay", "5", "--seed", "10", "--set", "STOP_LOSS_PERCENT=10")
    assert other["trades"] != alone["trades"]  # `--made` obeys `--seed`


def test_signals_and_money_add_up_and_the_table_of_trades_is_theirs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "trades.csv"
    answer = told(capsys, "backtest", *WHEN, *LOOSE, "--set", "FEE_PER_CONTRACT=0.65", "--trades", str(file))
    found, funnel = answer["worth"], answer["funnel"]
    assert funnel["signals"] == found["signals"] == sum(funnel["refused"].values()) + found["trades"]
    assert any(name.startswith("no contract: ") for name in funnel["refused"])
    rows = list(csv.DictReader(file.open()))
    assert [float(row["pnl"]) for row in rows] == [trade["pnl"] for trade in answer["trades"]]
    assert [row["opened_et"] for row in rows] == [trade["opened_et"] for trade in answer["trades"]]
    assert rows[0]["contract"] == contract_name(rows[0]["ticker"])
    assert all(row["quotes"] == "modelled" and row["detail"] and float(row["volume_p95"]) for row in rows)
    assert {float(row["fees"]) for row in rows} == {1.3}
    dates = answer["by_date"]
    assert len(dates["days"]) == found["sessions"] == 3
    assert dates["days"][-1]["equity"] == pytest.approx(found["pnl"])
    assert sum(month["pnl"] for month in dates["months"]) == pytest.approx(found["pnl"])
    calendar = made.calendar_for(3)
    own = [made.session_of(3, session).own for session in made.sessions(3, calendar)]
    assert dates["days"][-1]["held"] == pytest.approx((own[-1].close[-1] - own[0].open[0]) * 100, abs=0.01)


def test_ratios_and_the_error_by_session_by_hand() -> None:
    assert by_date.sharpe([1.0, 2.0, 3.0]) == pytest.approx(2 * 252**0.5)
    assert by_date.sortino([-1.0, 2.0]) == pytest.approx(0.5 / 0.5**0.5 * 252**0.5)
    assert (by_date.sharpe([1.0, 1.0]), by_date.sortino([1.0, 2.0]), by_date.sharpe([1.0])) == (None, None, None)

    def trade(pnl: int) -> paths.Closed:
        return paths.Closed(0.0, 1.0, 1, 1, 1, 1, "stop loss", pnl)

    alike = [[trade(-10_000)] * 4, [trade(10_000)] * 4]  # eight trades, but two independent days
    assert by_date.error_by_session(alike) == pytest.approx(10.0)
    assert by_date.error_by_session(alike[:1]) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["backtest", *WHEN, "--set", "FOO=1"], "FOO is no setting"),
        (["backtest", *WHEN, "--set", "STOP_LOS_PERCENT=1"], "STOP_LOSS_PERCENT is the nearest"),
        (["backtest", *WHEN, "--set", "HEALTH_PORT=1"], "HEALTH_PORT changes nothing here"),
        (["backtest", *WHEN, "--set", "MIN_VOLUME=1", "--set", "MIN_VOLUME=2"], "given twice"),
        (["backtest", *WHEN, "--spy", "spy.csv"], "--spy changes nothing here"),
        (["backtest", *WHEN, "--options", "o.csv"], "--options changes nothing here"),
        (
            ["signals", "bars.csv", "--out", "x.csv", "--set", "STOP_LOSS_PERCENT=10"],
            "STOP_LOSS_PERCENT changes nothing here",
        ),
        (["why", "noon", "bars.csv"], "noon is neither a time"),
    ],
)
def test_what_a_command_does_not_obey_is_refused_in_json_too(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = told(capsys, *arguments, code=2)
    assert answer["ok"] is False
    assert words in answer["error"]


def test_an_option_that_cannot_be_read_is_refused_in_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        replay(["backtest", *WHEN, "--json", "--delay", "99"])
    assert ended.value.code == 2
    assert "--delay" in json.loads(capsys.readouterr().out)["error"]


def test_the_settings_of_a_sweep_are_those_that_the_rules_read() -> None:
    read: set[str] = set()

    class Recording:
        def __init__(self) -> None:
            self.config = setting.config_of({})

        def __getattr__(self, name: str) -> object:
            read.add(name.upper())
            return getattr(self.config, name)

    (session,) = made.sessions(1, made.calendar_for(1))
    setting.rules_of(Recording())  # type: ignore[arg-type]
    setting.hours_of(Recording(), session)  # type: ignore[arg-type]
    assert read == setting.RULED


def test_words_for_people() -> None:
    off = setting.config_of({"RELATIVE_VOLUME_FILTER": "off"})
    said = "no profile given: condition 6 cannot hold"
    assert true_of(off, said) == "no profile given: condition 6 is switched off and not asked"
    assert true_of(setting.config_of({}), said) == said
    assert contract_name("O:IWM261120C00226500") == "IWM 226.5C 20 Nov"
    assert contract_name("O:IWM261399C00226500") == "O:IWM261399C00226500"
    assert named("nearest O:IWM261120C00226000 Δ0.3") == "nearest IWM 226C 20 Nov Δ0.3"
    assert [many(count, "loss") for count in (0, 1, 2)] == ["0 losses", "1 loss", "2 losses"]


@pytest.mark.parametrize("last", ["2026-01-05", "2026-01-07"])
def test_no_width_cuts_a_report_and_it_asks_nobody(last: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = pytest.importorskip("playwright.sync_api")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("no Chromium")
    page = tmp_path / "report.html"
    told(capsys, "report", "2026-01-05", last, "--made", "3", *LOOSE, "--out", str(page))
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        for width in (390, 1440):
            tab = browser.new_page(viewport={"width": width, "height": 900})
            faults: list[str] = []
            asked: list[str] = []
            tab.on("pageerror", lambda fault, to=faults: to.append(str(fault)))
            tab.on("request", lambda request, to=asked: to.append(request.url))
            tab.goto(page.as_uri())
            tab.wait_for_selector("html[data-drawn]")
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            cut = "[...document.querySelectorAll('.card')].filter((one) => one.scrollWidth > one.clientWidth + 1).length"
            assert tab.evaluate(cut) == 0
            assert (faults, asked) == ([], [page.as_uri()])
            names = tab.evaluate(
                "[...document.querySelectorAll('.plot')].flatMap((one) => one.data.map((line) => line.name))"
            )
            assert ("exit" if last == "2026-01-05" else "100 IWM held") in names
            tab.close()
        browser.close()
