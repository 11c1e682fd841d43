"""Links in alerts: only where the owner asked for them, good for one trade, and until the next session opens."""

from __future__ import annotations

from datetime import date

import pytest
from msgspec.structs import replace

import links
from config import Config, ConfigError
from desk import outbox
from desk.outbox import sending
from events import Outgoing
from tests.kit.deskbench import KEYS, Bench
from tests.kit.push import AT, alert
from utils import SessionCalendar

SECRET = "s" * 20
PUBLIC = {"PUBLIC_URL": "https://desk.example.org", "DASHBOARD_TOKEN": SECRET}
LINKED = Config.from_env({**KEYS, **PUBLIC})
CALENDAR = SessionCalendar(date(2026, 11, 20))
FRIDAY = CALENDAR.on(date(2026, 11, 20))
assert FRIDAY is not None
MONDAY_OPEN = FRIDAY.open_at + 3 * 86_400


def test_a_link_tells_its_trade_until_its_moment() -> None:
    url = links.link(LINKED, "20261120-1", 1900)
    assert url is not None
    page, _, word = url.partition("#")
    assert page == "https://desk.example.org/act"
    assert links.trade_of(SECRET, word, 1899.9) == "20261120-1"
    assert links.trade_of(SECRET, word, 1900.0) is None
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


@pytest.mark.parametrize(
    ("day", "at", "until"),
    [
        (20, -3600, FRIDAY.open_at),
        (20, 0, MONDAY_OPEN),
        (20, 23_400 + 7200, MONDAY_OPEN),
        (25, 3600, FRIDAY.open_at + 7 * 86_400),  # Thanksgiving lies between
    ],
)
def test_a_link_is_good_until_the_next_session_opens(day: int, at: int, until: int) -> None:
    session = CALENDAR.on(date(2026, 11, day))
    assert session is not None
    assert links.good_until(session, session.open_at + at) == until


def test_on_a_day_without_a_session_a_link_outlives_the_closure_and_no_more() -> None:
    saturday = FRIDAY.open_at + 86_400.0
    assert MONDAY_OPEN <= links.good_until(None, saturday) == saturday + links.LONGEST_CLOSURE_S


def until_of(url: str | None) -> int:
    assert url is not None
    return int(url.split(".")[-2])


def test_a_buy_and_its_sell_carry_one_beside_their_text_only_with_a_public_url() -> None:
    bench = Bench(**PUBLIC).bought()
    bench.quote(390, 410)
    for kind, words in (("BUY", "Say what you did, or close it now"), ("SELL", "Say what you sold it at")):
        (said,) = bench.said(kind)
        assert said.url is not None
        assert said.url.startswith("https://desk.example.org/act#20261120-1.")
        assert until_of(said.url) == MONDAY_OPEN
        assert said.url_title == words
        assert "http" not in said.text
    (buy,) = Bench().bought().said("BUY")
    assert (buy.url, buy.url_title) == (None, None)


def test_the_link_of_a_repeat_is_made_as_it_leaves() -> None:
    """A SELL that is first heard on Monday, an hour into the session: its link is good until Tuesday's."""
    row, monday = sending(Outgoing(replace(alert(), created_at=float(FRIDAY.close_at))), AT), MONDAY_OPEN + 3600.0
    first = outbox.delivery(row, FRIDAY.close_at, LINKED, session=FRIDAY)
    again = outbox.delivery(row, monday, LINKED, session=CALENDAR.on(date(2026, 11, 23)))
    assert until_of(first.url) == MONDAY_OPEN < monday < until_of(again.url) == MONDAY_OPEN + 86_400


def test_the_other_channel_has_the_link_in_its_text_above_the_id() -> None:
    row = sending(Outgoing(alert(), maybe_seen=True), AT, "fallback")
    told = outbox.delivery(row, AT, LINKED, session=FRIDAY)
    assert (told.url, told.url_title) == (None, None)
    heading, body, empty, link, name = told.text.split("\n")
    assert (heading, body, empty, name) == ("REPEAT of #20251002-1-SELL", "the text", "", "#20251002-1-SELL")
    assert link.startswith("👉 https://desk.example.org/act#20251002-1.")


def test_however_long_a_text_is_the_other_channel_has_its_link_whole() -> None:
    row = sending(Outgoing(replace(alert(), text="x" * 2000 + "\n#20251002-1-SELL")), AT, "fallback")
    told = outbox.delivery(row, AT, LINKED, session=FRIDAY)
    assert len(told.text) == 1024
    word = told.text.split("/act#")[1].split("\n")[0]
    assert links.trade_of(SECRET, word, AT) == "20251002-1"


@pytest.mark.parametrize("kind", ["OPS", "CRITICAL"])
def test_what_is_about_no_open_trade_has_none(kind: str) -> None:
    row = sending(Outgoing(alert(kind)), AT)  # type: ignore[arg-type]
    assert outbox.delivery(row, AT, LINKED, session=FRIDAY).url is None


def test_the_longest_public_url_leaves_room_for_a_link_within_what_the_phone_takes() -> None:
    config = Config.from_env({**KEYS, **PUBLIC, "PUBLIC_URL": "https://desk.example.org/".ljust(400, "x")})
    url = links.link(config, "x" * 40, 9_999_999_999)
    assert url is not None
    assert 480 < len(url) <= 512
    with pytest.raises(ConfigError, match="PUBLIC_URL"):
        Config.from_env({**KEYS, **PUBLIC, "PUBLIC_URL": "https://desk.example.org/".ljust(401, "x")})
