"""The condor's arithmetic over recorded minutes of SPXW: real quotes, real jumps."""

import csv
import gzip
from collections import defaultdict
from datetime import date, time
from fractions import Fraction
from pathlib import Path

import pytest
from msgspec.structs import replace

from contract_selector import with_greeks
from events import ChainRow, Quote
from strategies.condor import exits, legs
from strategies.condor.exits import Condor, Picture, Watch
from strategies.condor.legs import Four, Index, Level
from strategies.condor.strikes import Market, conditions, shorts
from tests.kit.condors import settings
from utils import Session, to_mills, unix_time

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
QUOTES, MINUTES = DATA / "options" / "SPXW_20210104.csv.gz", DATA / "minutes" / "SPX_20210104.csv.gz"
pytestmark = pytest.mark.skipif(not QUOTES.exists(), reason="the recorded quotes are not beside this checkout")

DAY = date(2021, 1, 4)
SESSION = Session(DAY, int(unix_time(DAY, time(9, 30))), int(unix_time(DAY, time(16))))
SPX = settings(
    condor_product="SPX", condor_wing_width="100", condor_min_credit="2", condor_max_margin="10000",
    condor_stop_dollars="1400", condor_let_expire="0.5", condor_delta="0.2", condor_delta_tolerance="0.15",
)  # fmt: skip
LOW_PUT, HIGH_PUT, LOW_CALL, HIGH_CALL = (f"O:SPXW210104{right}0{strike}000" for right in "PC" for strike in (3700, 3800))
BOX = Four(LOW_PUT, HIGH_PUT, LOW_CALL, HIGH_CALL, (3_700_000, 3_800_000, 3_700_000, 3_800_000))


def mills(text):
    return to_mills(text) if text else None


@pytest.fixture(scope="module")
def minutes():
    """Each minute's end with its rows, and where the index stood then."""
    rows = defaultdict(dict)
    with gzip.open(QUOTES, "rt") as file:
        for one in csv.DictReader(file):
            at = int(one["timestamp_ns_utc"]) / 1e9 + 60
            sizes = (int(float(one["bid_size"] or 0)), int(float(one["ask_size"] or 0)))
            quote = Quote(mills(one["bid_close"]), mills(one["ask_close"]), *sizes, at)
            right = "put" if one["right"] == "P" else "call"
            rows[at][one["occ"]] = ChainRow(one["occ"], right, int(one["strike"]) * 1000, one["expiration"], 100, quote)
    with gzip.open(MINUTES, "rt") as file:
        spots = {int(one["timestamp_ns_utc"]) / 1e9 + 60: float(one["close"]) for one in csv.DictReader(file)}
    found = [(at, rows[at], spots[at]) for at in sorted(rows) if at in spots and at < SESSION.close_at]
    assert len(found) > 300
    return found


def four_quotes(rows):
    return tuple(rows[one].quote if one in rows else None for one in BOX.contracts)


def test_a_box_of_real_quotes_is_worth_its_width(minutes):
    """Both sides sold between the same strikes come to their distance: a hundred dollars, whatever the index does."""
    known = 0
    for at, rows, _ in minutes:
        found = legs.package(four_quotes(rows), at, 15)
        if found is not None:
            known += 1
            assert found.natural_credit <= 100_000 + 500
            assert found.natural_cost >= 100_000 - 500
            assert abs(found.mid - 100_000) < 2500
    assert known > 100


def test_deltas_computed_from_real_mids_find_the_strike_and_no_wing_is_made_up(minutes):
    strikes = set()
    for at, rows, spot in minutes:
        known = {row.contract: row for row in with_greeks(list(rows.values()), at, SESSION, spot)}
        market = Market(at, SESSION, known, Index(Level(spot, at)), Level(20.0, at))
        for right in ("put", "call"):
            for short in shorts(SPX, market, right):
                assert short.computed
                assert short.strike < spot * 1000 if right == "put" else short.strike > spot * 1000
                strikes.add(short.contract)
        found = conditions(SPX, market, desk=None, way_out=None)
        assert found.choice is None
        assert "no " in found.gates[5].reason
    assert {LOW_PUT} <= strikes <= set(BOX.contracts)


def test_a_side_sold_in_the_morning_is_stopped_on_its_way_down_and_not_by_one_minute(minutes):
    """The puts 3800/3700 went from a third of their width to nearly all of it; the far calls stay what they are."""
    far = (Quote(0, 50, 0, 10, 0.0), Quote(0, 50, 0, 10, 0.0))
    four = replace(BOX, call_short="C4000", call_long="C4100", strikes=(3_700_000, 3_800_000, 4_000_000, 4_100_000))
    first = minutes[0]
    credit = legs.package((*four_quotes(first[1])[:2], *(replace(one, quoted_at=first[0]) for one in far)), first[0], 15).mid
    held, watch, beyond, stopped_at = Condor(four, 1, credit, first[0]), Watch(first[0]), 0, None
    for at, rows, spot in minutes:
        quotes = (*four_quotes(rows)[:2], *(replace(one, quoted_at=at) for one in far))
        watch, left = exits.look(SPX, held, watch, Picture(at, SESSION, quotes, Index(Level(spot, at))))
        found = legs.mark(legs.package(quotes, at, 15), four.width)
        beyond = beyond + 1 if found is not None and found - credit >= exits.stop_loss(SPX, held) else 0
        if stopped_at is None and left is not None and left.name == "stop":
            stopped_at = at
            assert beyond == 3
        if beyond < 3:
            assert left is None or left.name != "stop"
        cost = legs.cost_to_close(quotes, at, 15)
        asked = exits.next_cost(SPX, exits.Exit("stop", True, ""), legs.Prices(cost, found), 99_950, None, at, SESSION)
        assert asked.cost is None or asked.cost <= 99_950
    assert stopped_at is not None
    assert Fraction(20_000) < credit < Fraction(50_000)
