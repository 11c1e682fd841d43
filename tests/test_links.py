"""Links in alerts: only where the owner asked for them, good for one trade, and not for long."""

from __future__ import annotations

import pytest

import links
from config import Config
from tests.kit.deskbench import KEYS, Bench

SECRET = "s" * 20
PUBLIC = {"PUBLIC_URL": "https://desk.example.org", "DASHBOARD_TOKEN": SECRET}


def test_a_link_tells_its_trade_until_it_is_a_quarter_of_an_hour_old() -> None:
    url = links.link(Config.from_env({**KEYS, **PUBLIC}), "20261120-1", 1000.0)
    assert url is not None
    page, _, word = url.partition("#")
    assert page == "https://desk.example.org/act"
    assert links.trade_of(SECRET, word, 1000.0) == "20261120-1"
    assert links.trade_of(SECRET, word, 1000.0 + links.LIFE_S) is None
    assert SECRET not in url


@pytest.mark.parametrize(
    "spoil",
    [
        lambda word: word.replace("20261120-1", "20261120-2"),
        lambda word: word.replace(".1900.", ".9900."),
        lambda word: word[:-1] + ("A" if word[-1] != "A" else "B"),
        lambda word: "",
        lambda word: word + "\n",
        lambda word: "é" * 60,
    ],
)
def test_a_word_that_was_touched_is_nobodys(spoil: object) -> None:
    word = links.word(SECRET, "20261120-1", 1900)
    assert links.trade_of(SECRET, spoil(word), 1000.0) is None  # type: ignore[operator]


def test_another_secret_opens_nothing() -> None:
    assert links.trade_of("t" * 20, links.word(SECRET, "20261120-1", 1900), 1000.0) is None


def test_a_buy_and_its_sell_carry_one_only_with_a_public_url() -> None:
    with_link = Bench(**PUBLIC).bought()
    assert "👉 https://desk.example.org/act#20261120-1." in with_link.said("BUY")[0].text
    assert "👉" not in Bench().bought().said("BUY")[0].text
