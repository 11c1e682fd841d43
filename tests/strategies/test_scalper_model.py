"""The model file: read, refused, judged, applied; and the features it is asked with."""

from __future__ import annotations

import json
from datetime import date
from itertools import pairwise
from math import exp, log, sqrt
from statistics import pstdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.walls import Flow, Walls
from strategies.scalper.features import features
from strategies.scalper.model import CORE, EXTRA, Model, confidence, load, never_reached, reached, rules_text, sealed
from tests.strategies.test_scalper_conditions import SESSION, configured, flat, lay, warmed
from tests.strategies.test_scalper_contract import a_row

SETTINGS = configured()
TODAY = date(2026, 11, 20)
TENTHS = [{"low": tenth / 10, "high": (tenth + 1) / 10, "n": 0, "mean": None, "rate": None} for tenth in range(10)]


def weights(count: int = len(CORE), **changed: Any) -> dict[str, Any]:
    return {"mean": [0.0] * count, "scale": [1.0] * count, "weights": [0.0] * count, "bias": 1.0, "isotonic": None} | changed


def a_file(**changed: Any) -> dict[str, Any]:
    judged = {
        "signals": 160, "sessions": 70, "wins": 110, "base_rate": 0.6875, "mean": 0.69, "brier": 0.2, "brier_base": 0.215,
        "skill": 0.07, "skill_low": 0.01, "highest": 0.78, "bins": TENTHS,
    } | changed.pop("judged", {})  # fmt: skip
    return {
        "format": 1, "made_at": "2026-11-01T20:00:00-05:00", "quotes": "recorded", "rules": rules_text(SETTINGS),
        "features": list(CORE), "core": weights(), "full": None, "judged": judged,
    } | changed  # fmt: skip


def loaded(**changed: Any) -> Model:
    return load(sealed(a_file(**changed)), SETTINGS, TODAY)


KNOWN: dict[str, float | None] = {**dict.fromkeys((*CORE, *EXTRA), 0.0)}


# --- read and judged ---------------------------------------------------------------------------------------------------


def test_a_whole_young_file_with_skill_is_calibrated() -> None:
    assert (loaded().verdict, loaded().why) == ("calibrated", "")


def test_without_a_file_there_is_no_number_and_the_reason() -> None:
    assert confidence(load(None, SETTINGS, TODAY), KNOWN) == (None, "not calibrated", "no model file")


@pytest.mark.parametrize(
    ("changed", "verdict", "words"),
    [
        ({"quotes": "modelled"}, "not calibrated", "modelled quotes"),
        ({"judged": {"signals": 99}}, "not calibrated", "99 of 100 judged signals"),
        ({"judged": {"sessions": 59}}, "not calibrated", "59 of 60 dates"),
        ({"judged": {"wins": 141}}, "not calibrated", "19 losses"),
        ({"judged": {"wins": 19}}, "not calibrated", "19 wins"),
        ({"judged": {"skill_low": 0.0}}, "no skill", "lower end"),
        ({"judged": {"mean": 0.74}}, "no skill", "predicts 0.740"),
        ({"made_at": "2026-07-22T20:00:00-04:00"}, "stale", "121 days"),
        ({"rules": rules_text(configured(rsi_rule="cross"))}, "not calibrated", "SCALPER_RSI_RULE"),
        ({"rules": {}}, "not calibrated", "made under other rules"),
    ],
    ids=str,
)
def test_what_its_own_figures_do_not_carry_gives_no_number(changed: dict[str, Any], verdict: str, words: str) -> None:
    model = loaded(**changed)
    assert model.verdict == verdict
    assert words in model.why
    assert confidence(model, KNOWN)[0] is None


def test_rules_are_compared_as_values() -> None:
    rules = rules_text(SETTINGS)
    rules |= {
        "SCALPER_VOLUME_RATIO": "2",
        "SCALPER_SYMBOLS": ",".join(reversed(SETTINGS.symbols)),
        "SCALPER_FORCE_CLOSE": "11:30:00",
    }
    assert loaded(rules=rules).verdict == "calibrated"


DAMAGE = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, sealed(a_file())[:-2], sealed(a_file()).replace(b"160", b"161"),
    json.dumps(a_file()).encode(), sealed(a_file() | {"more": 1}), sealed(a_file(format=2)),
    sealed(a_file(features=list(CORE[1:]))), sealed(a_file(core=weights(12))), sealed(a_file(core=weights(scale=[0.0] * 13))),
    sealed(a_file(full=weights(13))), sealed(a_file(judged={"highest": 1.2})), sealed(a_file(made_at="2026-11-01T20:00:00")),
    sealed(a_file(core=weights(isotonic={"x": [0.2, 0.1], "y": [0.2, 0.3]}))),
    sealed(a_file(core=weights(isotonic={"x": [], "y": []}))),
    sealed(a_file()).replace(b'"bias":1.0', b'"bias":NaN'),
]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGE, ids=range(len(DAMAGE)))
def test_a_damaged_file_is_no_model_and_says_so(text: bytes) -> None:
    model = load(text, SETTINGS, TODAY)
    assert model.file is None
    assert model.why.startswith("the model file is damaged")
    assert confidence(model, KNOWN)[0] is None


# --- applied -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=13, max_size=13), st.floats(-2, 2))
def test_the_probability_is_that_of_the_formula(values: list[float], bias: float) -> None:
    core = weights(mean=[0.5] * 13, scale=[2.0] * 13, weights=[step / 10 for step in range(13)], bias=bias)
    chance, _, _ = confidence(loaded(core=core), dict(zip(CORE, values, strict=True)))
    total = bias + sum(step / 10 * (value - 0.5) / 2 for step, value in enumerate(values))
    assert chance == pytest.approx(min(max(1 / (1 + exp(-total)), 1 / 162), 161 / 162))


def test_an_isotonic_line_is_linear_between_its_knots_and_level_beyond() -> None:
    line = {"x": [0.3, 0.5, 0.7], "y": [0.4, 0.6, 0.9]}
    for bias, expected in ((log(0.6 / 0.4), 0.75), (log(0.2 / 0.8), 0.4), (log(0.9 / 0.1), 0.9), (0.0, 0.6)):
        chance, _, _ = confidence(loaded(core=weights(bias=bias, isotonic=line)), KNOWN)
        assert chance == pytest.approx(expected)


def test_no_number_is_surer_than_the_judged_signals_allow() -> None:
    assert confidence(loaded(core=weights(bias=1e300)), KNOWN)[0] == 161 / 162
    assert confidence(loaded(core=weights(bias=-1e300)), KNOWN)[0] == 1 / 162


def test_a_missing_feature_is_no_number_and_is_named() -> None:
    assert confidence(loaded(), {**KNOWN, "iv": None}) == (None, "not calibrated", "iv is unknown")
    assert confidence(loaded(), {**KNOWN, "wall": None})[0] is not None


def test_the_full_model_serves_where_the_file_has_one_and_needs_walls_and_flow() -> None:
    full = weights(16, bias=0.0)
    assert confidence(loaded(full=full), KNOWN)[0] == 0.5
    assert confidence(loaded(full=full), {**KNOWN, "wall": None})[2] == "wall is unknown"


def test_a_threshold_that_no_judged_signal_reached_is_said() -> None:
    assert never_reached(loaded(), SETTINGS.auto_min_confidence) == (
        "auto-trade asks for 0.80; of 160 judged signals none reached it (highest 0.78): it would never have traded"
    )
    bins = [*TENTHS[:8], {**TENTHS[8], "n": 7}, {**TENTHS[9], "n": 2}]
    model = loaded(judged={"highest": 0.93, "bins": bins})
    assert model.file is not None
    assert never_reached(model, SETTINGS.auto_min_confidence) == ""
    assert reached(model.file.judged, 0.80) == 9


# --- features ----------------------------------------------------------------------------------------------------------


def test_features_count_in_the_signals_direction_and_are_those_of_the_rules() -> None:
    world = warmed()
    closes = [100 + step % 5 / 10 for step in range(20)]
    for m, close in enumerate(closes):
        lay(world, "QQQ", m, flat("QQQ", m, close, 1_200.0 if m == 19 else 600.0))
        lay(world, "SPY", m, flat("SPY", m, 600.0 + m / 10))
        reading = world.read(m)
    own, row = world.windows["QQQ"], a_row(102, 0.44, 1_000, 1_040)
    walls = Walls(True, spot=100.4, call_wall=102_000, put_wall=99_000, zero_gamma=100.9)
    made = {
        direction: features(SETTINGS, own, reading, direction, row, SESSION.close_at, walls, Flow(True, balance=0.25))
        for direction in ("long", "short")
    }
    long, short = made["long"], made["short"]
    assert set(long) == {*CORE, *EXTRA}
    assert (long["minutes_open"], long["direction"], short["direction"]) == (20, 1, -1)
    assert (long["delta"], long["iv"], long["rsi_age"]) == (0.44, 0.2, 30)
    assert long["spread"] == pytest.approx(40 / 1_020)
    assert long["ln_volume_ratio"] == pytest.approx(log(2))
    returns = [after / before - 1 for before, after in pairwise(closes)]
    assert long["sigma"] == pytest.approx(10_000 * pstdev(returns[-15:]))
    for name in ("rs", "ema_gap", "vwap_gap", "spy_roc", "gamma_side", "flow"):
        assert long[name] == -short[name] != 0, name
    assert long["rsi"] == pytest.approx(100 - short["rsi"])
    years = (SESSION.close_at - reading.at) / (365 * 86_400)
    assert long["wall"] == pytest.approx(1.6 / (100.4 * 0.2 * sqrt(years)))
    assert short["wall"] == pytest.approx(1.4 / (100.4 * 0.2 * sqrt(years)))
    assert long["gamma_side"] == -1


@pytest.mark.fault("B13")
def test_walls_and_flow_that_are_unavailable_are_no_feature() -> None:
    world = warmed()
    lay(world, "QQQ", 0, flat("QQQ", 0, 100.0))
    made = features(SETTINGS, world.windows["QQQ"], world.read(0), "long", None, SESSION.close_at, Walls(False), Flow(False))
    for name in ("wall", "gamma_side", "flow", "delta", "spread", "iv", "sigma", "rs"):
        assert made[name] is None, name
