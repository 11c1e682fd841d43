"""Files of second bars: what is read, what is refused, and what the tables and sentences say."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from replay import made, options
from replay.__main__ import main as replay
from replay.bars import NS, BarArrays, kept, write
from replay.files.bars import read
from replay.show import ReplayError
from utils import clock_text

CALENDAR = made.calendar_for(3)
(SESSION,) = made.sessions(1, CALENDAR)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A made-up session as files: bars, the leader's and a profile."""
    folder = tmp_path_factory.mktemp("bars")
    day = made.session_of(11, SESSION)
    write(folder / "iwm.parquet", day.own)
    write(folder / "spy.parquet", day.leader)
    (folder / "profile.json").write_text(json.dumps(day.profile))
    return {
        name: str(folder / file)
        for name, file in (("own", "iwm.parquet"), ("spy", "spy.parquet"), ("profile", "profile.json"))
    }


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict:
    assert replay([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def with_filters(files: dict[str, str]) -> list[str]:
    return [files["own"], "--spy", files["spy"], "--profile", files["profile"]]


def table(capsys: pytest.CaptureFixture[str], tmp_path: Path, *arguments: str) -> list[dict[str, str]]:
    out = tmp_path / "signals.csv"
    told(capsys, "signals", *arguments, "--out", str(out))
    with out.open() as file:
        return list(csv.DictReader(file))


def test_run_says_what_is_modelled_and_what_was_bought(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    answer = told(capsys, "run", *with_filters(files), "--set", "MAX_SPREAD_PERCENT=8", "--set", "DELTA_WIDEN=0.1")
    assert options.MODELLED in answer["modelled"]
    assert answer["bars"] == 23_400
    assert answer["settings"] == {"MAX_SPREAD_PERCENT": "8", "DELTA_WIDEN": "0.1"}
    assert answer["trades"]
    for trade in answer["trades"]:
        assert trade["pnl"] == pytest.approx((trade["exit"] - trade["entry"]) * 100)
    assert answer["wins"] + answer["losses"] == len(answer["trades"])


def test_a_filter_without_its_input_cannot_hold_and_is_said_to(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    answer = told(capsys, "run", files["own"])
    assert (answer["signals"], answer["trades"]) == (0, [])
    assert [words for words in answer["modelled"] if "no SPY" in words or "no profile" in words]


def test_the_table_of_readings_is_exact(files: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """VWAPs and relative volume against exact rationals at the session's very end, where a running sum would have drifted."""
    rows = table(capsys, tmp_path, *with_filters(files))
    bars = kept(Path(files["own"]))
    profile = json.loads(Path(files["profile"]).read_text())
    assert len(rows) == len(bars)
    for k in (400, 9_000, 23_399):
        row = rows[k]
        assert int(row["timestamp_ns_utc"]) == bars.start[k] * NS
        for name, window in (("vwap_60", 60), ("vwap_300", 300)):
            part = range(k - window + 1, k + 1)
            volume = sum(Fraction(bars.volume[i]) for i in part)
            exact = sum(Fraction(bars.volume[i]) * Fraction(bars.vwap[i]) for i in part) / volume
            assert abs(Fraction(float(row[name])) - exact) < Fraction(1, 10**10)
        minute, into = divmod(k, 60)
        usual = (Fraction(profile[minute]) * (into + 1) + Fraction(profile[minute - 1]) * (59 - into)) / 60
        exact = sum(Fraction(bars.volume[i]) for i in range(k - 59, k + 1)) / usual
        assert float(row["relative_volume"]) == pytest.approx(float(exact), rel=1e-12)
        sample = bars.volume[max(0, k - 1200) : k]
        assert float(row["volume_p95"]) == pytest.approx(np.percentile(sample, 95), rel=1e-12)
        assert float(row["volume_z"]) == pytest.approx((bars.volume[k] - sample.mean()) / sample.std(), rel=1e-9)
        slope = np.polyfit(np.arange(-29, 1), bars.close[k - 29 : k + 1], 1)[0]
        assert float(row["slope_pct_s"]) == pytest.approx(slope / bars.close[k] * 100, abs=1e-10)


def test_signal_is_all_seven_and_only_momentum_the_first_five(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = table(capsys, tmp_path, *with_filters(files))
    for row in rows[300:]:
        assert int(row["signal"]) == all(row[f"c{k}"] == "1" for k in range(1, 8))
    assert any(row["signal"] == "1" for row in rows)
    alone = table(capsys, tmp_path, files["own"], "--only-momentum")
    assert {row["c6"] + row["c7"] for row in alone} == {""}
    for row in alone[300:]:
        assert int(row["signal"]) == all(row[f"c{k}"] == "1" for k in range(1, 6))
    off = table(capsys, tmp_path, *with_filters(files), "--set", "VWAP_TREND_FILTER=off")
    assert {row["c2"] for row in off} == {""}


def test_why_names_each_gate_with_its_margin(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = table(capsys, tmp_path, *with_filters(files))
    signal = next(row for row in rows if row["signal"] == "1")
    second = clock_text(int(signal["timestamp_ns_utc"]) // NS)
    answer = told(capsys, "why", second, *with_filters(files))
    assert answer["second"] == second
    assert [gate["ok"] for gate in answer["gates"]] == [True] * 7
    assert answer["gates"][0]["value"] == float(signal["close"])
    assert answer["contracts_left_after_each_filter"]
    early = told(capsys, "why", "09:31", *with_filters(files))
    failing = [gate for gate in early["gates"] if not gate["ok"]]
    assert all(gate["reason"] or gate["margin"] < 1e-7 for gate in failing)
    assert early["sentence"].startswith("09:31:00: no BUY, for")


def test_near_misses_name_the_gate_or_the_contract_filter(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    answer = told(capsys, "near-misses", *with_filters(files))
    assert answer["counts"]["volume surge"] > 100
    refused = [miss["why"] for miss in answer["near_misses"] if miss["missing"] == "contract"]
    assert all("no contract: " in words for words in refused)
    run = told(capsys, "run", *with_filters(files))
    assert len(refused) == len([item for item in run["refused"] if "no contract" in item["why"]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "no column"),
        ("timestamp_ns_utc,open,high,low,close,volume,vwap\n", "no rows"),
        ("timestamp_ns_utc,open,high,low,close,volume,vwap\n1795185000000000000,1,1,1,x,1,1\n", "close"),
        ("timestamp_ns_utc,open,high,low,close,volume,vwap\n1795185000000000000,1,1,1,,1,1\n", "row 1"),
        ("timestamp_ns_utc,open,high,low,close,volume,vwap\n1795185000000000000,1,1,2,1,1,1\n", "row 1"),
        ("timestamp_ns_utc,open,high,low,close,volume,vwap\n1795185000500000000,1,1,1,1,1,1\n", "row 1"),
        ("timestamp_ns_utc,open,high,low,close,volume,vwap\n1795266000000000000,1,1,1,1,1,1\n", "regular hours"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_plain_error(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bars.csv"
    file.write_text(text)
    assert replay(["run", str(file)]) == 2
    assert words in capsys.readouterr().err


def test_bars_survive_the_way_through_a_file_and_may_come_unsorted(tmp_path: Path) -> None:
    bars = made.session_of(2, SESSION).own.between(SESSION.open_at, SESSION.open_at + 50)
    shuffled = np.random.default_rng(1).permutation(50)
    mixed = BarArrays(*(getattr(bars, name)[shuffled] for name in BarArrays.__slots__))
    write(tmp_path / "mixed.parquet", mixed)
    again, account = read(tmp_path / "mixed.parquet", "IWM")
    assert (account.rows, account.used) == (50, 50)
    assert all(np.array_equal(getattr(again, name), getattr(bars, name)) for name in BarArrays.__slots__)
    with pytest.raises(ReplayError, match="not there"):
        read(tmp_path / "none.csv", "IWM")


def test_recorded_quotes_decide_in_place_of_modelled_ones(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Minute NBBO of two calls: the one that fits the band is bought at the recorded ask plus a tick."""
    spot = float(kept(Path(files["own"])).close[0])
    strike = round(spot) + 1
    lines = ["timestamp_ns_utc,occ,expiration,right,strike,bid_close,bid_size,ask_close,ask_size,trade_volume,open_interest"]
    day = SESSION.date
    for minute in range(390):
        at = (SESSION.open_at + 60 * minute) * NS
        for k in range(-3, 4):
            price = max(0.4 - 0.05 * k, 0.05)
            name = f"O:IWM{day:%y%m%d}C{(strike + k) * 1000:08d}"
            lines.append(f"{at},{name},{day},C,{strike + k},{price:.2f},50,{price + 0.01:.2f},50,900,5000")
    quotes = tmp_path / "quotes.csv"
    quotes.write_text("\n".join(lines))
    answer = told(capsys, "run", *with_filters(files), "--options", str(quotes), "--set", "DELTA_WIDEN=0.2")
    assert options.MODELLED not in answer["modelled"]
    assert "recorded once a minute" in answer["modelled"][0]
    assert answer["trades"]
    recorded = {round(max(0.4 - 0.05 * k, 0.05) + 0.02, 2) for k in range(-3, 4)}
    assert {trade["entry"] for trade in answer["trades"]} <= recorded
