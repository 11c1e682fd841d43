"""Option quotes of the past: fetched from the simulated market, and decided by in place of modelled ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from shutil import copytree, rmtree

import polars
import pytest

from contract_selector import band, call
from events import Quote, Trade
from replay import by_desk, fetch, history, options, paths, recorded, setting, store
from replay.__main__ import main as replay
from replay.history import parse_quotes, strikes_of
from replay.recorded import Recorded
from simulator.http import Answer
from simulator.servers import Simulator
from utils import SessionCalendar

pytestmark = pytest.mark.xdist_group("option history")  # one market for all

DAY = date(2026, 11, 19)
CALENDAR = SessionCalendar(DAY)
WIDE = ["--set", "MAX_SPREAD_PERCENT=8", "--set", "DELTA_WIDEN=0.1"]
NS = 10**9
REFUSAL = {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The morning after, and a worker's settings for it in the environment."""
    folder = tmp_path_factory.mktemp("market")
    with (
        pytest.MonkeyPatch.context() as patch,
        Simulator(folder / "clock", day=date(2026, 11, 20), start=time(10, 29), speed=0.0, half_strikes=False) as simulator,
    ):
        patch.setattr(history, "REQUESTS_PER_S", 1000.0)
        patch.setattr(fetch, "QUOTES_PIECE_S", 7200)
        patch.setattr(fetch, "PAUSE_MAX_S", 0.01)
        patch.chdir(folder)
        for name, value in simulator.environment(folder / "data").items():
            patch.setenv(name, value)
        yield simulator


@pytest.fixture(scope="module")
def fetched(market: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder into which the day was fetched."""
    folder = tmp_path_factory.mktemp("fetched")
    for symbol in ("IWM", "SPY"):
        assert replay(["fetch", symbol, str(DAY), str(DAY), "--data-dir", str(folder), "--json"]) == 0
    return folder


@pytest.fixture
def bars_only(fetched: Path, tmp_path: Path) -> Path:
    """The same without option quotes."""
    folder = copytree(fetched, tmp_path / "data")
    rmtree(folder / "history" / "IWM" / "option")
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict:
    capsys.readouterr()
    assert replay([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def fetch_again(capsys: pytest.CaptureFixture[str], folder: Path, *more: str, code: int = 0) -> dict:
    return told(capsys, "fetch", "IWM", str(DAY), str(DAY), "--data-dir", str(folder), *more, code=code)


def day_folder(folder: Path) -> Path:
    found = store.options_of(folder / "history" / "IWM" / "second", DAY)
    assert found is not None
    return found


# --- fetched -----------------------------------------------------------------------------------------------------------


def test_the_quotes_that_are_kept_are_those_of_the_market_at_that_second(market: Simulator, fetched: Path) -> None:
    session, chain = CALENDAR.on(DAY), market.market.chain(DAY)
    assert session is not None
    assert chain is not None
    known = Recorded(day_folder(fetched), session, 1000)
    for at in (session.open_at + 700, session.open_at + 12_345, session.close_at - 60):
        rows = known.rows(float(at))
        assert len(rows) >= 4
        for row in rows:
            true = chain.quotes(at, market.market.spot(at), row.strike)
            assert row.quote is not None
            assert (row.quote.bid, row.quote.ask) == (true.bid, true.ask)
            assert (row.quote.bid_size, row.quote.ask_size) == (true.bid_size, true.ask_size)
            assert at - 10 < (row.quote.quoted_at or 0.0) <= at
            assert row.volume == pytest.approx(chain.day_volume(row.strike, at, False), abs=60)  # as of its last quote
            assert row.open_interest == 1000


def test_the_strikes_span_all_that_the_delta_band_can_reach() -> None:
    session, config = CALENDAR.on(DAY), setting.config_of({})
    assert session is not None
    strikes = strikes_of(config, session, 238.0, 241.0)
    least, most = band(config)
    for at, iv in ((0, 0.2), (0, 0.6), (12_000, 0.3), (23_000, 0.15)):
        years = (session.close_at - session.open_at - at) / (365 * 86_400)
        for spot in (238.0, 239.7, 241.0):
            deltas = {strike: call(iv, spot, strike / 1000, years)[1] for strike in range(230_000, 250_000, 500)}
            assert {strike for strike, delta in deltas.items() if least <= delta <= most} <= set(strikes)
    assert len(strikes) < 14
    assert strikes_of(setting.config_of({"DELTA_WIDEN": "0.2"}), session, 238.0, 241.0)[0] < strikes[0]


def test_what_is_there_is_not_asked_for_again_and_what_is_missing_is(
    fetched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copytree(fetched, tmp_path / "data")
    again = fetch_again(capsys, folder)
    assert (again["requests"], again["contracts_fetched"], again["fetched"]) == (0, 0, 0)
    lost = next(file for file in sorted(day_folder(folder).glob("*.parquet")) if len(polars.read_parquet(file)))
    lost.unlink()
    one = fetch_again(capsys, folder)
    assert (one["contracts_fetched"], one["contracts_there_already"]) == (1, again["contracts_there_already"] - 1)
    assert polars.read_parquet(lost).equals(polars.read_parquet(day_folder(fetched) / lost.name))


def test_a_fetch_that_broke_off_is_not_decided_by_and_goes_on_where_it_was(
    market: Simulator, bars_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = market.rest.answer
    asked = 0

    def failing(request):  # type: ignore[no-untyped-def]
        nonlocal asked
        asked += request.path.startswith("/v3/quotes")
        return Answer(500, {}) if asked > 6 else good(request)

    market.rest.answer = failing  # type: ignore[method-assign]
    try:
        broken = fetch_again(capsys, bars_only, code=2)
    finally:
        market.rest.answer = good  # type: ignore[method-assign]
    assert "goes on from here" in broken["error"]
    kept = list((bars_only / "history" / "IWM" / "option" / str(DAY)).glob("*.parquet"))
    assert kept
    half = told(capsys, "run", str(DAY), "--data-dir", str(bars_only))
    assert options.MODELLED in half["modelled"]
    whole = fetch_again(capsys, bars_only)
    assert whole["contracts_there_already"] == len(kept)
    assert recorded.BY_SECOND in told(capsys, "run", str(DAY), "--data-dir", str(bars_only))["modelled"]


def test_a_plan_without_quotes_is_a_plain_error_and_the_bars_are_kept(
    market: Simulator, bars_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    market.rest.plan = False
    try:
        refused = fetch_again(capsys, bars_only, code=2)["error"]
        assert "the plan does not include this (403)" in refused
        assert "--bars-only" in refused
        assert "POLYGON" not in refused
        bars = fetch_again(capsys, bars_only, "--bars-only")
    finally:
        market.rest.plan = True
    assert (bars["requests"], bars["there_already"]) == (0, 12)
    assert "contracts_fetched" not in bars


def test_a_hole_stays_a_hole(market: Simulator, bars_only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Quotes that the vendor has not are told of, and are none."""
    market.rest.script(r"/v3/quotes/.*", Answer(200, {"status": "OK", "results": []}), forever=True)
    try:
        answer = fetch_again(capsys, bars_only)
    finally:
        market.rest.unscript()
    assert len(answer["contracts_without_quotes"]) == answer["contracts_fetched"] > 3
    assert answer["contracts_that_did_not_trade"] > 2  # half dollars are not listed here
    told_ = told(capsys, "run", str(DAY), "--data-dir", str(bars_only), *WIDE)
    assert told_["signals"] > 0
    assert told_["trades"] == []
    assert all("chain" in item["why"] for item in told_["refused"])


# --- decided by --------------------------------------------------------------------------------------------------------


def test_run_and_backtest_decide_by_the_store_and_mark_every_trade(
    fetched: Path, bars_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data-dir", str(fetched), *WIDE]
    run = told(capsys, "run", str(DAY), "--delay", "2", *where)
    assert run["modelled"][:2] == [recorded.BY_SECOND, recorded.NO_INTEREST]
    assert {trade["quotes"] for trade in run["trades"]} == {"recorded"}
    backtest = told(capsys, "backtest", str(DAY), str(DAY), *where)
    assert (backtest["decided_by"], backtest["sessions_of_recorded_quotes"]) == ("desk", 1)
    assert recorded.BY_SECOND in backtest["modelled"]
    assert options.MODELLED not in backtest["modelled"]
    assert [(t["opened_at"], t["entry"], t["exit"], t["quotes"]) for t in backtest["trades"]] == [
        (t["opened_at"], t["entry"], t["exit"], "recorded") for t in run["trades"]
    ]
    fills = backtest["sensitivity"]["fill"]
    assert fills["mid"]["pnl"] > fills["as ruled"]["pnl"] > fills["one tick worse"]["pnl"]
    assert fills["mid"]["trades"] == len(run["trades"])
    modelled = told(capsys, "backtest", str(DAY), str(DAY), "--data-dir", str(bars_only), *WIDE)
    assert {trade["quotes"] for trade in modelled["trades"]} == {"modelled"}
    assert options.MODELLED in modelled["modelled"]


def test_the_bars_of_the_store_as_files_bring_their_quotes(fetched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = store.file_of(fetched, "IWM", "second", DAY)
    assert recorded.BY_SECOND in told(capsys, "run", str(file))["modelled"]
    near = told(capsys, "near-misses", str(DAY), "--data-dir", str(fetched))
    assert recorded.BY_SECOND in near["modelled"]


def test_sessions_with_and_without_recorded_quotes_are_told_apart(fetched: Path) -> None:
    source = store.Stored(fetched, "IWM", "SPY")
    session = CALENDAR.on(DAY)
    other = CALENDAR.on(date(2026, 11, 18))
    assert session is not None
    assert other is not None
    from replay.quotes import counted, recorded_of

    assert list(recorded_of(source, [other, session], None)) == [DAY]
    words = counted([[options.MODELLED], [recorded.BY_SECOND, recorded.NO_INTEREST]])
    assert words[0] == f"{options.MODELLED} (1 of 2 sessions)"


def test_a_file_of_minute_quotes_decides_a_backtest(
    fetched: Path, bars_only: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store's seconds, thinned to the last of each minute, in the columns of recorded minute NBBO."""
    parts = [polars.read_parquet(file) for file in sorted(day_folder(fetched).glob("*.parquet"))]
    minute = polars.col("timestamp_ns_utc") // (60 * NS) * (60 * NS)
    table = polars.concat(part for part in parts if len(part)).sort("timestamp_ns_utc")
    table = table.group_by("occ", minute.alias("minute"), maintain_order=True).last()
    before = polars.col("day_volume").shift(1).over("occ").fill_null(0)
    table = table.with_columns(
        timestamp_ns_utc=polars.col("minute"),
        trade_volume=polars.col("day_volume") - before,
        open_interest=polars.lit(5000),
    ).drop("minute", "day_volume", "quoted_ns_utc")
    file = tmp_path / "nbbo.csv"
    table.write_csv(file)
    where = [str(DAY), str(DAY), "--data-dir", str(bars_only), *WIDE]
    answer = told(capsys, "backtest", *where, "--options", str(file))
    assert recorded.BY_MINUTE in answer["modelled"]
    assert recorded.NO_INTEREST not in answer["modelled"]
    assert answer["trades"]
    assert {trade["quotes"] for trade in answer["trades"]} == {"recorded"}
    with_desk = told(capsys, "backtest", *where, "--options", str(file), "--desk")
    assert with_desk["trades"] == answer["trades"]
    none = told(capsys, "run", str(DAY), "--data-dir", str(bars_only), "--options", str(tmp_path / "none.csv"), code=2)
    assert "is not there" in none["error"]


def test_a_minute_counts_once_it_has_ended_and_a_stamped_quote_from_its_stamp_on(tmp_path: Path) -> None:
    session = CALENDAR.on(DAY)
    assert session is not None
    name, open_at = "O:IWM261119C00240000", session.open_at
    head = "timestamp_ns_utc,occ,expiration,right,strike,bid_close,bid_size,ask_close,ask_size,trade_volume,open_interest"
    rows = [f"{(open_at + 60 * k) * NS},{name},{DAY},C,240,0.{40 + k},50,0.{41 + k},60,100,2000" for k in range(3)]
    minute = tmp_path / "minute.csv"
    minute.write_text("\n".join([head, *rows]))
    known = Recorded(minute, session)
    assert known.quote(name, open_at + 59.9) is None
    assert known.quote(name, open_at + 60.0) == Quote(400, 410, 50, 60, open_at + 60.0)
    assert known.quote(name, open_at + 125.0) == Quote(410, 420, 50, 60, open_at + 125.0)
    assert [row.volume for row in known.rows(open_at + 180.0)] == [300]
    assert known.quote(name, open_at + 180.0 + recorded.KEPT_S + 1) is None

    stamped = tmp_path / "stamped.csv"
    stamps = [(open_at + 5) * NS + 300_000_000, (open_at + 9) * NS]
    rows = [f"{at // NS * NS},{name},{DAY},C,240,0.4{k},50,0.5{k},60,{k * 700},{at}" for k, at in enumerate(stamps)]
    stamped.write_text("\n".join([head.replace("trade_volume,open_interest", "day_volume,quoted_ns_utc"), *rows]))
    known = Recorded(stamped, session, 1000)
    assert known.quote(name, open_at + 5.2) is None
    assert known.quote(name, open_at + 8.0) == Quote(400, 500, 50, 60, open_at + 5.3)
    assert [(row.volume, row.open_interest) for row in known.rows(open_at + 9.0)] == [(700, 1000)]


def test_a_page_of_quotes_loses_what_is_malformed_and_no_more() -> None:
    good = {"sip_timestamp": 1_795_098_600 * NS, "bid_price": 1.02, "ask_price": 1.03, "bid_size": 17, "ask_size": 24}
    rows = [
        good,
        {**good, "bid_price": "x"},
        {**good, "sip_timestamp": 1_795_098_600},
        {"bid_price": 1},
        {**good, "ask_price": -1},
    ]
    page = {"status": "OK", "results": rows, "next_url": "https://api.massive.com/v3/quotes/O:X?cursor=a"}
    quotes, following, dropped = parse_quotes(json.dumps(page).encode())
    assert [quote.bid_price for quote in quotes] == [1.02]
    assert (following, dropped) == (page["next_url"], {"quote: malformed": 4})
    assert parse_quotes(b'{"status":"OK"}') == ([], None, {})
    for body in (b"[]", b"{", b'{"status":"ERROR","results":[]}'):
        with pytest.raises(ValueError, match="page of quotes"):
            parse_quotes(body)


def test_other_fills_change_prices_and_nothing_else() -> None:
    trade = Trade(
        "1", "O:IWM261119C00240000", 240_000, str(DAY), 1.0, 2.0, 420, 500, Quote(400, 410, 1, 1), Quote(500, 520, 1, 1), 510,
        "hard giveback", "", 1300, 6700,
    )  # fmt: skip
    result = paths.result_of(by_desk.Sat(trades=[trade]), "recorded")
    mid = by_desk.filled(result, [trade], "mid").trades[0]
    worse = by_desk.filled(result, [trade], "one tick worse").trades[0]
    assert (mid.entry, mid.exit, mid.pnl) == (405, 510, 105 * 100 - 1300)
    assert (worse.entry, worse.exit, worse.pnl) == (430, 490, 60 * 100 - 1300)
    assert by_desk.filled(result, [trade], "as ruled") == result
