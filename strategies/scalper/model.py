"""The measured probability of a signal: a small file of coefficients is read, checked and applied. Nothing is trained here.

p = 1 / (1 + e^-(bias + Σ w (x - mean) / scale)), then linear between the knots of an isotonic line, kept away from 0 and 1 by as much
as the judged signals can tell. What is not calibrated, has no skill, is stale or lacks a feature gives no number, and says why.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from itertools import pairwise
from math import exp, isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from pydantic import TypeAdapter, ValidationError

from setting import cleaned, shown
from strategies.scalper.settings import ruled

if TYPE_CHECKING:
    from strategies.scalper.settings import Settings

CORE = (
    "minutes_open", "direction", "rs", "ln_volume_ratio", "rsi", "rsi_age", "ema_gap", "vwap_gap", "sigma", "spy_roc", "delta",
    "spread", "iv",
)  # fmt: skip
EXTRA = ("wall", "gamma_side", "flow")
OUTCOMES_MIN = 20
MEAN_OFF = 0.05
DAY_S = 86_400.0

Features = Mapping[str, float | None]
Verdict = Literal["calibrated", "not calibrated", "no skill", "stale"]
Part = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0)]


class Isotonic(Struct, frozen=True, forbid_unknown_fields=True):
    x: tuple[float, ...]
    y: tuple[Part, ...]


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """A logistic model on standardised features."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    isotonic: Isotonic | None


class Bin(Struct, frozen=True, forbid_unknown_fields=True):
    """One tenth of the reliability diagram: of `n` predictions in [low, high) their mean, and how often it came so."""

    low: Part
    high: Part
    n: Count
    mean: Part | None
    rate: Part | None


class Judged(Struct, frozen=True, forbid_unknown_fields=True):
    """How it did on signals that it had not seen. `skill` is 1 - Brier score / that of the base rate, `skill_low` its lower end."""

    signals: Count
    sessions: Count
    wins: Count
    base_rate: Part
    mean: Part
    brier: float
    brier_base: float
    skill: float
    skill_low: float
    highest: Part
    bins: tuple[Bin, ...]


class File(Struct, frozen=True, forbid_unknown_fields=True):
    """The file as it is written; `rules` are the settings it was made under, as texts."""

    format: Literal[1]
    made_at: datetime
    quotes: Literal["recorded", "modelled"]
    rules: dict[str, str]
    features: tuple[str, ...]
    core: Weights
    full: Weights | None
    judged: Judged
    sha256: str


class Model(Struct, frozen=True):
    """What there is to say of the file: calibrated or why not. `file` is None where there is none, or a damaged one."""

    verdict: Verdict = "not calibrated"
    why: str = "no model file"
    file: File | None = None


# --- reading -----------------------------------------------------------------------------------------------------------


def sealed(body: Mapping[str, Any]) -> bytes:
    """A file's bytes, closed by the hash of its compact JSON with sorted keys."""
    return _compact({**body, "sha256": sha256(_compact(body)).hexdigest()})


def _compact(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def load(text: bytes | None, settings: Settings, today: date) -> Model:
    """The model of a file's bytes, judged for this date and these settings; None: there is no file."""
    if text is None:
        return Model()
    try:
        body = json.loads(text)
        file = msgspec.convert(body, File)
        told = body.pop("sha256")
        if sha256(_compact(body)).hexdigest() != told:
            return Model(why="the model file is damaged: its hash does not agree")
        _check(file)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:  # msgspec's errors are ValueErrors
        return Model(why=f"the model file is damaged: {str(error)[:120] or type(error).__name__}")
    verdict, why = judge(file, settings, today)
    return Model(verdict, why, file)


def _check(file: File) -> None:
    """ValueError for numbers that no model has."""
    if file.features != CORE:
        raise ValueError("other features")
    if file.made_at.tzinfo is None:
        raise ValueError("made_at without an offset")
    for part, count in ((file.core, len(CORE)), (file.full, len(CORE) + len(EXTRA))):
        if part is None:
            continue
        if {len(part.mean), len(part.scale), len(part.weights)} != {count}:
            raise ValueError(f"{count} numbers of each kind are needed")
        if not all(map(isfinite, (*part.mean, *part.weights, *part.scale, part.bias))) or min(part.scale) <= 0:
            raise ValueError("a number is not finite, or a scale not above 0")
        line = part.isotonic
        if line is not None and (not line.x or len(line.x) != len(line.y) or not _rises(line.x) or not _rises(line.y)):
            raise ValueError("the isotonic line does not rise")


def _rises(values: tuple[float, ...]) -> bool:
    return all(isfinite(value) for value in values) and all(low <= high for low, high in pairwise(values))


def judge(file: File, settings: Settings, today: date) -> tuple[Verdict, str]:
    """Whether it may be relied on, by its own figures."""
    judged = file.judged
    losses = judged.signals - judged.wins
    if file.quotes != "recorded":
        return "not calibrated", "made on modelled quotes"
    if other := other_rules(file.rules, settings):
        return "not calibrated", f"made under other rules: {other}"
    if judged.signals < settings.model_min_signals:
        return "not calibrated", f"{judged.signals} of {settings.model_min_signals} judged signals"
    if judged.sessions < settings.model_min_sessions:
        return "not calibrated", f"{judged.sessions} of {settings.model_min_sessions} dates"
    if min(judged.wins, losses) < OUTCOMES_MIN:
        return "not calibrated", f"{judged.wins} wins and {losses} losses, {OUTCOMES_MIN} of each are needed"
    if judged.skill_low <= 0:
        return "no skill", f"skill {judged.skill:+.3f}, its lower end {judged.skill_low:+.3f}"
    if abs(judged.mean - judged.base_rate) > MEAN_OFF:
        return "no skill", f"it predicts {judged.mean:.3f} on average where {judged.base_rate:.3f} came"
    age = (today - file.made_at.date()).days
    if age > settings.model_max_age_days:
        return "stale", f"{age} days old, at most {settings.model_max_age_days}"
    return "calibrated", ""


def rules_text(settings: Settings) -> dict[str, str]:
    """The rules that a file made now would name."""
    attributes = {name: name.removeprefix("SCALPER_").lower() for name in ruled()}
    return {name: shown(getattr(settings, attribute)) for name, attribute in attributes.items()}


def other_rules(rules: Mapping[str, str], settings: Settings) -> str:
    """The first setting in which a file's rules differ, by value and not by text; empty where none does."""
    ours = rules_text(settings)
    if extra := sorted(set(rules) ^ set(ours)):
        return extra[0]
    for name, field in ruled().items():
        kind: Any = Annotated[(field.annotation, name, *field.metadata)]
        try:
            theirs = TypeAdapter(kind).validate_python(cleaned(rules[name]))
        except (ValidationError, ValueError, KeyError):
            return name
        mine = getattr(settings, name.removeprefix("SCALPER_").lower())
        if (set(theirs) != set(mine)) if isinstance(mine, tuple) else theirs != mine:
            return name
    return ""


# --- applying ----------------------------------------------------------------------------------------------------------


def confidence(model: Model, features: Features) -> tuple[float | None, Verdict, str]:
    """The probability that target 1 comes first, with the verdict; None, and why, where there is none."""
    if model.verdict != "calibrated" or model.file is None:
        return None, model.verdict, model.why
    file = model.file
    part, names = (file.core, CORE) if file.full is None else (file.full, (*CORE, *EXTRA))
    values: list[float] = []
    for name in names:
        value = features.get(name)
        if value is None or not isfinite(value):
            return None, "not calibrated", f"{name} is unknown"
        values.append(value)
    return apply(part, values, file.judged.signals), "calibrated", ""


def apply(part: Weights, values: list[float], judged: int) -> float:
    """The probability, kept in [1/(n + 2), (n + 1)/(n + 2)] for n judged signals."""
    steps = zip(part.weights, values, part.mean, part.scale, strict=True)
    total = part.bias + sum(weight * (value - mean) / scale for weight, value, mean, scale in steps)
    chance = 1 / (1 + exp(-max(min(total, 700.0), -700.0)))
    if part.isotonic is not None:
        chance = _between(part.isotonic, chance)
    return min(max(chance, 1 / (judged + 2)), (judged + 1) / (judged + 2))


def _between(line: Isotonic, x: float) -> float:
    """Linear between the knots, level beyond them."""
    at = bisect_right(line.x, x)
    if at == 0 or at == len(line.x):
        return line.y[min(at, len(line.x) - 1)]
    low, high = line.x[at - 1], line.x[at]
    return line.y[at - 1] + (line.y[at] - line.y[at - 1]) * (x - low) / (high - low)


# --- saying ------------------------------------------------------------------------------------------------------------


def reached(judged: Judged, threshold: float) -> int:
    """How many judged signals were predicted at the threshold or above, as far as the tenths tell."""
    if judged.highest < threshold:
        return 0
    return sum(each.n for each in judged.bins if each.low >= threshold - 1e-9)


def never_reached(model: Model, threshold: Decimal) -> str:
    """What page, morning and API say where auto-trade would never have traded; empty where it would have, or nothing is known."""
    if model.file is None or model.file.judged.highest >= float(threshold):
        return ""
    judged = model.file.judged
    return (
        f"auto-trade asks for {threshold:f}; of {judged.signals} judged signals none reached it "
        f"(highest {judged.highest:.2f}): it would never have traded"
    )
