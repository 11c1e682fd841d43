"""The condor's settings: the defaults of the rules, their bounds, and what cannot hold together."""

import re
from datetime import time
from decimal import Decimal
from pathlib import Path

import pytest

import setting
from strategies.condor.settings import SCALED, cautions, fields, floor, quotes_of, read, tick, width
from tests.kit.condors import settings

LIVE = {"CONDOR_BROKER": "ibkr-live", "CONDOR_LIVE": "U1234567", "IBKR_ACCOUNT": "u1234567", "IBKR_PORT": "7496"}


def faults(**given):
    found, told = read(given)
    assert found is None
    return told


def test_the_defaults_are_those_of_the_rules():
    found = settings()
    assert (found.condor_entry_from, found.condor_entry_until, found.condor_time_exit) == (
        time(9, 35),
        time(14),
        time(15, 45),
    )
    assert (found.condor_delta, found.condor_delta_tolerance, found.condor_min_credit) == (
        Decimal("0.10"), Decimal("0.03"), Decimal("0.20"),
    )  # fmt: skip
    assert (tick(found), width(found), floor(found), quotes_of(found)) == (10, 2000, 200, "massive")
    assert (found.ibkr_port, found.ibkr_client_id, found.condor_on_shutdown) == (7497, 21, "keep")


def test_every_setting_of_the_rules_is_there_with_its_default_and_bounds():
    page = Path(__file__).resolve().parents[4] / "shared" / "spec" / "condor.md"
    if not page.exists():
        pytest.skip("the rules are not beside this checkout")
    section = page.read_text().partition("## 12. Settings")[2].partition("Contradictions:")[0]
    assert set(re.findall(r"`((?:CONDOR|IBKR)_[A-Z_]+)`", section)) == set(fields())
    told = re.findall(r"`((?:CONDOR|IBKR)_[A-Z_]+)` (−?[\d.:]+)(?: = product's)? \[(−?[\d.:]+)–(−?[\d.:]+)[],]", section)
    assert len(told) >= 35
    for name, *numbers in told:
        default, low, high = (number.replace("−", "-") for number in numbers)
        assert read({name: default})[1] == [] or name == "CONDOR_TIME_EXIT"
        assert setting.shown(fields()[name].default) == default
        assert f"from {low} to {high}" in setting.allowed(fields()[name]), name


@pytest.mark.parametrize("name", [name for name, field in fields().items() if "number from" in setting.allowed(field)])
def test_a_number_is_taken_at_its_bounds_and_refused_beyond(name):
    words = setting.allowed(fields()[name])
    low, high = (Decimal(part) for part in words.rpartition("from ")[2].split(" to "))
    for beyond in (low - Decimal("0.001"), high + Decimal("0.001")) if "whole" not in words else (low - 1, high + 1):
        assert any(name in line and "allowed is" in line for line in faults(**{name: f"{beyond:f}"}))
    for bound in (low, high):
        assert not any("allowed is" in line for line in read({name: f"{bound:f}"})[1])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"CONDOR_ENTRY_FROM": "14:00"}, "CONDOR_ENTRY_FROM must be before"),
        ({"CONDOR_ENTRY_UNTIL": "15:00", "CONDOR_TIME_EXIT": "15:00"}, "CONDOR_ENTRY_UNTIL must be before"),
        ({"CONDOR_VIX_MIN": "26"}, "CONDOR_VIX_MIN must not be above"),
        ({"CONDOR_DELTA": "0.03"}, "CONDOR_DELTA must be above"),
        ({"CONDOR_MIN_CREDIT": "0.80"}, "must be below CONDOR_MAX_CREDIT_PERCENT"),
        ({"CONDOR_FEE_PER_CONTRACT": "5"}, "more than the fees of four legs"),
        ({"CONDOR_UNITS": "2"}, "no more than CONDOR_MAX_MARGIN"),
        ({"CONDOR_BROKER": "ibkr-paper", "CONDOR_QUOTES": "massive"}, "massive goes with CONDOR_BROKER paper only"),
        ({**LIVE, "CONDOR_LIVE": ""}, "needs CONDOR_LIVE and IBKR_ACCOUNT"),
        ({**LIVE, "CONDOR_LIVE": "U7654321"}, "needs CONDOR_LIVE and IBKR_ACCOUNT"),
        ({**LIVE, "IBKR_PORT": ""}, "needs IBKR_PORT to be given"),
        ({"CLOCK_FILE": "clock", "IBKR_HOST": "192.0.2.1"}, "IBKR_HOST must be on this machine"),
        ({"CONDOR_TIME_EXIT": "16:00"}, "CONDOR_TIME_EXIT is 16:00: allowed is a time from 10:00 to 15:59, or off"),
    ],
)
def test_what_cannot_hold_together_is_refused(given, said):
    assert any(said in line for line in faults(**given))


def test_what_is_right_in_earnest_is_taken():
    assert read(LIVE)[1] == []
    assert settings(condor_time_exit="Off").condor_time_exit is None
    assert settings(condor_quotes="ibkr").condor_quotes == "ibkr"


def test_spx_needs_every_amount_that_is_in_xsps_scale():
    told = faults(CONDOR_PRODUCT="SPX", CONDOR_WING_WIDTH="20", CONDOR_STOP_DOLLARS="1400")
    assert told[-1].startswith("CONDOR_PRODUCT SPX needs its own CONDOR_MIN_CREDIT, CONDOR_MAX_MARGIN, CONDOR_LET_EXPIRE")
    given = dict(zip(SCALED, ("20", "2", "3000", "1400", "0.5"), strict=True))
    assert tick(settings(condor_product="SPX", **{key.lower(): value for key, value in given.items()})) == 50


def test_an_account_is_never_shown():
    assert "U1234567" not in repr(read(LIVE)[0])
    assert not any("U12-34567" in line for line in faults(IBKR_ACCOUNT="U12-34567"))


def test_another_machine_is_a_caution():
    assert list(cautions(settings(ibkr_host="192.0.2.1"))) == [
        "IBKR_HOST is not this machine: what is said to TWS is not encrypted"
    ]
    assert not list(cautions(settings()))
