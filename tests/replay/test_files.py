"""Files as people have them: every row is accounted for, what is odd is read or refused in words, and nothing is a traceback."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars
import pytest

from replay import made, store
from replay.__main__ import main as replay
from replay.bars import NAMES, BarArrays, write
from replay.quotes import beyond
from replay.setting import config_of

CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases"
(SESSION, NEXT) = made.sessions(2, made.calendar_for(2))
HEAD = ("timestamp_ns_utc", *NAMES)
OPTIONS = "timestamp_ns_utc,occ,expiration,right,strike,bid_close,bid_size,ask_close,ask_size,trade_volume,open_interest"
OCC = f"IWM{SESSION.date:%y%m%d}C00240000"


def told(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict:
    capsys.readouterr()
    assert replay([*map(str, arguments), "--json"]) == code
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert "Traceback" not in err
    assert "unforeseen" not in err
    if code:
        assert answer["ok"] is False
        assert answer["error"]
    return answer


def rows(count: int = 40, start: int = SESSION.open_at, price: float = 240.0, step: int = 1) -> list[list[float]]:
    return [[(start + k * step) * 10**9, *[price + k / 100] * 4, 100 + k, price + k / 100] for k in range(count)]


def frame(given: list[list[float]], head: tuple[str, ...] = HEAD) -> polars.DataFrame:
    return polars.DataFrame(given, schema=list(head), orient="row")


def saved(path: Path, table: polars.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(table.write_csv().encode())
    return path


def account(capsys: pytest.CaptureFixture[str], path: Path) -> dict:
    (found,) = told(capsys, "run", path)["files"]
    parts = (found[name] for name in ("used", "outside_hours", "repeated", "quiet", "refused"))
    assert sum(parts) + sum(found["other_symbols"].values()) == found["rows"]
    return found


# --- every row -----------------------------------------------------------------------------------------------------------


def test_every_row_is_accounted_for_in_the_answer_and_in_the_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*rows(500), *rows(3, SESSION.open_at - 60), *rows(2, SESSION.close_at + 5), rows(1)[0]]
    given[10][5] = 0  # nothing was traded
    given[11][4] = 999.0  # closes above its high
    found = account(capsys, saved(tmp_path / "bars.csv", frame(given)))
    assert (found["rows"], found["used"], found["outside_hours"]) == (506, 498, 5)
    assert (found["repeated"], found["quiet"], found["refused"]) == (1, 1, 1)
    assert found["first_outside"].endswith("09:29:00")
    assert found["last_outside"].endswith("16:00:06")
    assert "row 12: close outside" in found["first_refused"]
    assert replay(["run", str(tmp_path / "bars.csv")]) == 0
    head = " ".join(capsys.readouterr().out.split())
    assert "506: 498 used, 5 outside regular hours" in head
    answer = told(capsys, "backtest", SESSION.date, SESSION.date, "--bars", tmp_path / "bars.csv")
    assert any("498 used" in words for words in answer["modelled"])


def test_of_a_second_that_is_there_twice_the_last_counts_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = rows(5)
    given.insert(2, [given[1][0], *[251.9] * 4, 1000, 251.9])
    assert account(capsys, saved(tmp_path / "twice.csv", frame(given)))["repeated"] == 1


def test_symbols_are_taken_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = frame(rows(9)), frame(rows(9, price=660.0))
    both = polars.concat([ours.with_columns(ticker=polars.lit("IWM")), theirs.with_columns(ticker=polars.lit("SPY"))])
    path = saved(tmp_path / "both.csv", both)
    answer = told(capsys, "run", path, "--spy", path)
    assert [(item["used"], item["other_symbols"]) for item in answer["files"]] == [(9, {"SPY": 9}), (9, {"IWM": 9})]
    assert not any("no SPY" in words for words in answer["modelled"])
    neither = saved(tmp_path / "neither.csv", both.with_columns(polars.col("ticker").replace("IWM", "QQQ")))
    assert "QQQ, SPY" in told(capsys, "run", neither, code=2)["error"]
    only = saved(tmp_path / "only.csv", theirs.with_columns(symbol=polars.lit("spy")))
    assert "of SPY, taken for IWM" in account(capsys, only)["notes"][0]


def test_bars_that_are_no_seconds_are_refused_with_their_spacing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    minutes = saved(tmp_path / "minutes.csv", frame(rows(8, step=60)))
    assert "60 s apart" in told(capsys, "run", minutes, code=2)["error"]
    sparse = frame([row for k, row in enumerate(rows(200)) if k % 7 == 0 or k % 11 == 0])
    assert account(capsys, saved(tmp_path / "sparse.csv", sparse))["used"] == len(sparse)


def test_new_yorks_clock_written_as_utc_earns_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """09:30:00Z on a winter's day is 04:30 in New York; the session's last hour and a half fall into regular hours."""
    given = rows(23_400, SESSION.open_at - 5 * 3600)
    found = account(capsys, saved(tmp_path / "shifted.csv", frame(given)))
    assert found["outside_hours"] == 5 * 3600
    assert "09:30 UTC sharp" in found["notes"][0]


# --- how files are saved ---------------------------------------------------------------------------------------------------


def zipped(files: dict[str, bytes]) -> bytes:
    made_ = io.BytesIO()
    with zipfile.ZipFile(made_, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return made_.getvalue()


def parquet(table: polars.DataFrame) -> bytes:
    made_ = io.BytesIO()
    table.write_parquet(made_)
    return made_.getvalue()


CSV = frame(rows()).write_csv().encode()
SHAPES: dict[str, bytes] = {
    "plain.csv": CSV,
    "mark.csv": b"\xef\xbb\xbf" + CSV,
    "utf16.csv": CSV.decode().encode("utf-16"),
    "windows.csv": CSV.replace(b"\n", b"\r\n"),
    "semicolons.csv": CSV.replace(b",", b";"),
    "commas.csv": CSV.replace(b",", b";").replace(b".", b","),
    "tabs.tsv": CSV.replace(b",", b"\t"),
    "packed.csv.gz": gzip.compress(CSV),
    "packed.CSV.GZ": gzip.compress(CSV),
    "bars.zip": zipped({"IWM.csv": CSV}),
    "parquet.zip": zipped({"IWM.parquet": parquet(frame(rows()))}),
    "LOUD.PARQUET": parquet(frame(rows())),
    "named.dat": CSV,
    "blank_lines.csv": CSV.replace(b"\n", b"\n\n"),
    "Capitals.csv": CSV.replace(b"close", b" Close").replace(b"timestamp_ns_utc", b"Timestamp_NS_UTC"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_file_is_read_however_it_was_saved(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(SHAPES[name])
    assert account(capsys, tmp_path / name)["used"] == 40


def test_a_folder_is_read_and_two_files_with_the_same_seconds_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "days" / "a.csv", frame(rows(30)))
    write(tmp_path / "days" / "b.PARQUET", seconds_of(rows(30, NEXT.open_at)))
    answer = told(capsys, "run", tmp_path / "days")
    assert answer["sessions"] == [str(SESSION.date), str(NEXT.date)]
    assert answer["bars"] == 60
    saved(tmp_path / "days" / "c.csv", frame(rows(30, price=660.0)))
    assert "same seconds" in told(capsys, "run", tmp_path / "days", code=2)["error"]
    (tmp_path / "empty").mkdir()
    assert "folder without" in told(capsys, "run", tmp_path / "empty", code=2)["error"]


def seconds_of(given: list[list[float]]) -> BarArrays:
    at, *columns = (np.array(column) for column in zip(*given, strict=True))
    return BarArrays(at // 10**9, *(column.astype(float) for column in columns))


UNITS: dict[str, Callable[[int], str]] = {
    "seconds": lambda ns: str(ns // 10**9),
    "seconds with a point": lambda ns: f"{ns // 10**9}.0",
    "milliseconds": lambda ns: str(ns // 10**6),
    "microseconds": lambda ns: str(ns // 10**3),
    "text with Z": lambda ns: f"{polars.from_epoch(polars.Series([ns // 10**9]))[0]}Z",
    "text with an offset": lambda ns: f"{polars.from_epoch(polars.Series([ns // 10**9 - 18_000]))[0]}-05:00",
}


@pytest.mark.parametrize("unit", UNITS)
def test_stamps_in_any_unit_are_the_same_bars(unit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = frame(rows()).with_columns(polars.col("timestamp_ns_utc").map_elements(UNITS[unit], return_dtype=polars.String))
    assert account(capsys, saved(tmp_path / "bars.csv", given))["used"] == 40


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-01-05 14:30:00", "without a zone"),
        ("1.79E+18", "spreadsheet"),
        ("1,79E+18", "spreadsheet"),
        ("20260105143000000", "is no Unix time"),
        ("14:30:00", "is no time"),
        ("", "empty"),
    ],
)
def test_stamps_that_cannot_be_read_are_refused_by_column(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = frame(rows()).with_columns(timestamp_ns_utc=polars.lit(text))
    path = tmp_path / "bars.csv"
    path.write_bytes(given.write_csv(separator=";").encode())
    error = told(capsys, "run", path, code=2)["error"]
    assert words in error
    assert "column timestamp_ns_utc" in error


def test_prices_that_are_no_dollars_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "bars.csv", frame(rows(price=2_400_000.0)))
    assert "divide by 10,000" in told(capsys, "run", path, code=2)["error"]


def test_the_feeds_own_columns_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rest = frame(rows()).rename(dict(zip(HEAD, ("t", "o", "h", "l", "c", "v", "vw"), strict=True)))
    rest = rest.with_columns(polars.col("t") // 10**6)
    assert account(capsys, saved(tmp_path / "rest.csv", rest))["used"] == 40
    (tmp_path / "rest.json").write_text(json.dumps({"ticker": "IWM", "results": rest.to_dicts(), "status": "OK"}))
    assert account(capsys, tmp_path / "rest.json")["used"] == 40
    flat = frame(rows()).rename({"timestamp_ns_utc": "window_start"}).drop("vwap").with_columns(ticker=polars.lit("IWM"))
    found = account(capsys, saved(tmp_path / "flat.csv", flat))
    assert found["used"] == 40
    assert "no vwap" in found["notes"][0]


ODD: dict[str, bytes] = {
    "nothing.csv": b"",
    "head.csv": CSV.split(b"\n")[0],
    "no_head.csv": CSV.split(b"\n", 1)[1],
    "noise.csv": bytes(range(256)) * 20,
    "latin.csv": CSV.replace(b"open", "öpen".encode("latin-1")),
    "cut.csv.gz": gzip.compress(CSV)[:50],
    "cut.zip": SHAPES["bars.zip"][:60],
    "cut.parquet": SHAPES["LOUD.PARQUET"][:200],
    "book.xlsx": zipped({"[Content_Types].xml": b"<x/>", "xl/sheet1.xml": b"<x/>"}),
    "no_table.zip": zipped({"readme.md": b"#"}),
    "text.csv": b"hello\nworld\n",
    "list.json": b"[1, 2, 3]",
    "half.json": b'{"results": [',
    "nested.json": b'[{"t": [1], "o": {}, "h": 1, "l": 1, "c": 1, "v": 1}]',
    "ragged.csv": CSV + b"1,2,3,4,5,6,7,8,9,10,11,12\n",
    "short.csv": CSV.split(b"\n")[0] + b"\n1795185000000000000,1\n",
    "true.parquet": parquet(frame(rows()).with_columns(close=polars.lit(True))),
    "dates.parquet": parquet(frame(rows()).with_columns(timestamp_ns_utc=polars.date(2026, 1, 5))),
    "naive.parquet": parquet(frame(rows()).with_columns(polars.from_epoch("timestamp_ns_utc", time_unit="ns"))),
    "still.csv": frame([[*row[:5], 0, row[6]] for row in rows()]).write_csv().encode(),
    "huge.csv": CSV.replace(b"240.0", b"1e400"),
}


@pytest.mark.parametrize("name", ODD)
def test_no_file_however_odd_is_a_traceback(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(ODD[name])
    fine = saved(tmp_path / "fine.csv", frame(rows()))
    for arguments in (
        ("run", tmp_path / name),
        ("run", fine, "--spy", tmp_path / name),
        ("run", fine, "--options", tmp_path / name),
        ("run", fine, "--profile", tmp_path / name),
        ("profile", tmp_path / name, "--out", tmp_path / "made.json"),
        ("backtest", SESSION.date, SESSION.date, "--bars", tmp_path / name),
    ):
        assert str(tmp_path / name) in told(capsys, *arguments, code=2)["error"]


def test_a_refusal_of_the_command_line_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        replay(["backtest", "yesterday", "today", "--json"])
    assert ended.value.code == 2
    assert "yesterday" in json.loads(capsys.readouterr().out)["error"]


def test_a_leader_that_covers_part_is_named_with_the_day_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = saved(tmp_path / "own.csv", frame([*rows(), *rows(40, NEXT.open_at)]))
    leader = saved(tmp_path / "leader.csv", frame(rows(price=660.0)))
    for arguments in (("run", own), ("backtest", SESSION.date, NEXT.date, "--bars", own)):
        words = " ".join(told(capsys, *arguments, "--spy", leader)["modelled"])
        assert f"leader.csv has no SPY of {NEXT.date}: condition 7 cannot hold there" in words
        assert "no SPY given" not in words
        assert "no SPY given" in " ".join(told(capsys, *arguments)["modelled"])
    words = told(capsys, "backtest", SESSION.date, SESSION.date, "--bars", own, "--spy", leader)["modelled"]
    assert not any("no SPY" in one for one in words)


# --- profiles ---------------------------------------------------------------------------------------------------------------


def test_a_profile_is_made_of_minutes_or_seconds_and_can_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = made.sessions(11, made.calendar_for(11))
    minutes = [row for session in sessions for row in rows(390, session.open_at, step=60)]
    bars = saved(tmp_path / "minutes.csv", frame([*minutes, *rows(5, sessions[3].open_at - 300, step=60)]))
    out = tmp_path / "profile.json"
    answer = told(capsys, "profile", bars, "--out", out)
    assert answer["sessions"] == [str(session.date) for session in sessions[1:]]
    assert json.loads(out.read_text())["minutes"] == [100.0 + k for k in range(390)]
    assert not any(
        "no profile" in words
        for words in told(capsys, "run", saved(tmp_path / "x.csv", frame(rows())), "--profile", out)["modelled"]
    )
    seconds = [row for session in sessions[:8] for row in rows(120, session.open_at)]
    told(capsys, "profile", saved(tmp_path / "seconds.csv", frame(seconds)), "--out", out)
    assert json.loads(out.read_text())["minutes"][:3] == [sum(range(100, 160)), sum(range(160, 220)), 0.0]
    few = saved(tmp_path / "few.csv", frame([row for row in minutes if row[0] < sessions[7].open_at * 10**9]))
    assert "7 full sessions found, 8 are needed" in told(capsys, "profile", few, code=2)["error"]


def test_run_says_how_to_make_a_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = told(capsys, "run", saved(tmp_path / "bars.csv", frame(rows())))["modelled"]
    assert any("python -m replay profile" in one for one in words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("minute,volume\n" + "".join(f"{k},{'' if k == 200 else 5}\n" for k in range(390)), "row 201"),
        ("minute,volume\n" + "".join(f"{k},{-1 if k == 7 else 5}\n" for k in range(390)), "row 8"),
        ("minute,volume\n" + "".join(f"{k + 570},5\n" for k in range(390)), "minute"),
        ("volume\n" + "5\n" * 389, "389 rows"),
        ("shares\n" + "5\n" * 390, "no column volume"),
        (json.dumps([5] * 389 + ["x"]), "row 390"),
        (json.dumps([5] * 389 + [True]), "row 390"),
        (json.dumps({"minutes": 5}), "no profile"),
        ("[5, 5", "no JSON"),
    ],
)
def test_a_profile_is_checked_row_by_row(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "profile.csv").write_text(text)
    bars = saved(tmp_path / "bars.csv", frame(rows()))
    assert words in told(capsys, "run", bars, "--profile", tmp_path / "profile.csv", code=2)["error"]


# --- option quotes ----------------------------------------------------------------------------------------------------------


def quotes(tmp_path: Path, **changes: str) -> Path:
    cells = {
        "at": str((SESSION.open_at + 60) * 10**9), "occ": f"O:{OCC}", "day": str(SESSION.date), "right": "C", "strike": "240.0",
        "bid": "0.41", "ask": "0.42", "size": "50",
    } | changes  # fmt: skip
    line = "{at},{occ},{day},{right},{strike},{bid},{size},{ask},50,100,5000"
    path = tmp_path / "quotes.csv"
    path.write_text("\n".join([OPTIONS, *[line.format(**cells)] * 3]))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"occ": OCC},
        {"occ": OCC.replace("IWM", "IWM   ")},
        {"occ": f"o:{OCC.lower()}"},
        {"right": "CALL"},
        {"right": "call"},
        {"at": str((SESSION.open_at + 60) * 1000)},
        {"day": f"{SESSION.date:%Y%m%d}"},
        {"bid": "NaN"},
        {"bid": ""},
    ],
    ids=str,
)
def test_a_quote_is_understood(changes: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = saved(tmp_path / "bars.csv", frame(rows()))
    answer = told(capsys, "run", bars, "--options", quotes(tmp_path, **changes))
    assert "recorded once a minute" in answer["modelled"][0]


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"at": "2026-01-05 14:31:00"}, "timestamp_ns_utc"),
        ({"occ": "IWM 240 C"}, "occ"),
        ({"right": "P"}, "right"),
        ({"right": ""}, "right"),
        ({"strike": "240000"}, "strike"),
        ({"strike": "24000"}, "strike"),
        ({"day": "2026-01-06"}, "expiration"),
        ({"day": "05/01/2026"}, "expiration"),
        ({"bid": "41", "ask": "42"}, "bid_close"),
        ({"bid": "-0.1"}, "bid_close"),
        ({"ask": "inf"}, "ask_close"),
        ({"ask": "much"}, "ask_close"),
        ({"size": "-1"}, "bid_size"),
    ],
    ids=str,
)
def test_a_quote_that_cannot_be_understood_is_refused_by_its_column(
    changes: dict[str, str], column: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = saved(tmp_path / "bars.csv", frame(rows()))
    assert column in told(capsys, "run", bars, "--options", quotes(tmp_path, **changes), code=2)["error"]


def test_quotes_of_another_day_are_no_empty_market(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = saved(tmp_path / "bars.csv", frame(rows(40, NEXT.open_at)))
    for command in (["run", bars], ["backtest", NEXT.date, NEXT.date, "--bars", bars]):
        error = told(capsys, *command, "--options", quotes(tmp_path), code=2)["error"]
        assert "no row of this file matched" in error
        assert str(SESSION.date) in error


def test_recorded_calls_say_which_deltas_they_cover(tmp_path: Path) -> None:
    folder = tmp_path / "history" / "IWM" / "option" / str(SESSION.date)
    folder.mkdir(parents=True)
    store.keep_calls(tmp_path, "IWM", SESSION.date, store.Calls([240_000], (0.30, 0.45)))
    assert beyond(folder, config_of({})) == []
    (words,) = beyond(folder, config_of({"DELTA_WIDEN": "0.1"}))
    assert "deltas 0.3 to 0.45" in words
    assert "0.2 to 0.55" in words
    store.keep_calls(tmp_path, "IWM", SESSION.date, store.Calls([239_000], (0.20, 0.40)))
    assert store.calls_in(folder) == store.Calls([239_000, 240_000], (0.20, 0.45))
    (folder / store.STRIKES).write_text("[240000]")  # as it was written before the band was kept with it
    assert store.calls_in(folder) == store.Calls([240_000], (0.30, 0.45))


# --- cases of others ---------------------------------------------------------------------------------------------------------

BASE = ["--set", "DELTA_MIN=0.10", "--set", "DELTA_MAX=0.60"]
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside the checkout")


@needs_cases
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["several_symbols.csv"], "3 of SPY"),
        (["one_second_twice.csv"], "1 of a second that is there again"),
        (["minute_bars.csv"], "60 s apart"),
        (["new_york_time_as_utc.csv"], "3 used, 10 outside regular hours"),
        (["new_york_time_as_utc.csv"], "09:30 UTC sharp"),
        (["two_days_IWM.csv", "--spy", "two_days_only_first_SPY.csv"], "has no SPY of 2026-11-20"),
        (["base_IWM.csv.gz", "--options", "options_iso_time.csv"], "column timestamp_ns_utc"),
        (["base_IWM.csv.gz", "--profile", "profile_blank_cell.csv"], "row 201"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_case_is_told(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [one if one.startswith("--") else str(CASES / one) for one in arguments]
    code = replay(["run", *paths, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert code in (0, 2)
    assert words in (answer["error"] if code else " ".join(answer["modelled"]))


@needs_cases
@pytest.mark.parametrize("name", ["good", "nan_bid", "padded_names", "names_without_prefix", "milliseconds"])
def test_quotes_of_a_case_make_the_one_trade(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = [CASES / "base_IWM.csv.gz", "--spy", CASES / "base_SPY.csv.gz", "--profile", CASES / "base_profile.json"]
    answer = told(capsys, "run", *files, *BASE, "--options", CASES / f"options_{name}.csv")
    assert [(trade["opened_et"], trade["pnl"]) for trade in answer["trades"]] == [("09:55:32", 9.0)]
