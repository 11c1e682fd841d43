"""What the phone is told: the rules' own words, numbers that are true, and texts any phone can show."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import alerts
from config import Config
from desk import outbox
from events import Alert, ChainRow, Position, Quote, Trade, WorkerStarted
from strategies.vwap import words
from utils import SessionCalendar, new_york

KEYS = {"POLYGON_API_KEY": "k" * 32, "PUSHOVER_TOKEN": "a" * 30, "PUSHOVER_USER_KEY": "u" * 30}
CONFIG = Config.from_env(KEYS)
AT = 1759416137.0  # 2025-10-02 10:42:17 in New York
TIME_STOP = 1759434900.0  # 15:55
CONTRACT = "O:IWM251002C00215000"
QUOTE = Quote(1390, 1420, 35, 40)
POSITION = Position("20251002-1", CONTRACT, 215_000, "2025-10-02", AT, 1430, QUOTE, 1405, 1759435200.0)
ROW = ChainRow(CONTRACT, "call", 215_000, "2025-10-02", 100, QUOTE, delta=0.42, iv=0.285)
TRADE = Trade(
    "20251002-1", CONTRACT, 215_000, "2025-10-02", AT, AT + 900, 1430, 1440, QUOTE, Quote(1440, 1450, 9, 9), 2100,
    "hard giveback", "Giveback 31.2% (Hard cap 30%)", 0, 1000,
)  # fmt: skip
RECORD = SimpleNamespace(balance=120_000, wins=12, losses=5)


def reading(**changes: Any) -> Any:
    known = {"close": 215.34, "vwap_60": 215.12, "slope_pct_s": 0.0451, "volume_z": 1.8, "relative_volume": 1.9, "gates": ()}
    return SimpleNamespace(**known | changes)


def buy(
    position: Position = POSITION, row: ChainRow = ROW, skew: float | None = 0.018, config: Config = CONFIG, **seen: Any
) -> Alert:
    return alerts.buy(config, position, row, reading(**seen), skew=skew, time_stop_at=TIME_STOP)


def sell(config: Config = CONFIG, **changes: Any) -> Alert:
    return alerts.sell(config, replace(TRADE, **changes), RECORD, mark=1445, spot=214.89, vwap=214.95)


# --- the two that matter -----------------------------------------------------------------------------------------------


def test_the_buy_is_worded_as_the_rules_have_it() -> None:
    alert = buy()
    assert alert.title == "🔥 IWM 0DTE CALL — BUY 215C ≤ $1.50 · void 10:43:17"
    assert alert.text == (
        "IWM $215.34 | VWAP $215.12 (+0.10%)\n"
        "Momentum +0.045%/s | Vol Z1.8 | RelVol 1.9x\n"
        "\n"
        "📊 O:IWM251002C00215000 2025-10-02 215c\n"
        "Δ0.42 IV28.5% Skew +1.8\n"
        "\n"
        "💰 Entry ~$1.43 (mid $1.405 +$0.025)\n"
        "Spread 2.1% | Size 35×40\n"
        "\n"
        "⏱ 10:42:17 ET | pay ≤ $1.50 | void after 10:43:17\n"
        "⚠️ Hard Giveback 30% | Time Stop 15:55 ET\n"
        "#20251002-1-BUY"
    )


def test_the_sell_is_worded_as_the_rules_have_it() -> None:
    alert = sell()
    assert alert.title == "🚪 IWM 0DTE CALL — SELL 215C · +$1.00"
    assert alert.text == (
        "Reason: Giveback 31.2% (Hard cap 30%)\n"
        "\n"
        "IWM $214.89 | VWAP $214.95\n"
        "Peak $2.10 → Now $1.445\n"
        "\n"
        "📊 O:IWM251002C00215000\n"
        "🟢 P&L: +0.7% (+$1.00)\n"
        "\n"
        "💰 LIFETIME: +$120.00\n"
        "📈 12W-5L (70.6%)\n"
        "\n"
        "✅ Close at market / best bid\n"
        "#20251002-1-SELL"
    )


@pytest.mark.fault("P18")
def test_quiet_hours_silence_neither() -> None:
    assert (buy().priority, buy().retry_s, buy().expire_s) == (1, None, None)
    assert (sell().priority, sell().retry_s, sell().expire_s) == (2, 30, 600)


def test_a_buy_lives_twenty_seconds_and_a_sell_for_ever() -> None:
    assert buy().expires_at == AT + 20
    assert sell().expires_at is None


def test_a_long_ringing_keeps_to_fifty_rings() -> None:
    alert = sell(Config.from_env(KEYS | {"SELL_EXPIRE_SECONDS": "10800"}))
    assert alert.expire_s == 10_800
    assert alert.retry_s is not None
    assert alert.expire_s / alert.retry_s <= 50


def test_a_buy_can_be_an_emergency_too() -> None:
    alert = buy(config=Config.from_env(KEYS | {"BUY_PRIORITY": "2"}))
    assert (alert.priority, alert.retry_s, alert.expire_s) == (2, 30, 60)


@pytest.mark.parametrize(
    ("row", "seen", "skew", "absent"),
    [
        (ROW, {"volume_z": None}, 0.01, "Vol Z"),
        (ROW, {"relative_volume": None}, 0.01, "RelVol"),
        (ROW, {"slope_pct_s": None}, 0.01, "Momentum"),
        (ROW, {"vwap_60": None}, 0.01, "| VWAP"),
        (ROW, {}, None, "Skew"),
        (replace(ROW, iv=None), {}, 0.01, "IV"),
        (replace(ROW, delta=None), {}, 0.01, "Δ"),
    ],
)
def test_what_is_not_known_is_left_out(row: ChainRow, seen: dict[str, None], skew: float | None, absent: str) -> None:
    text = buy(row=row, skew=skew, **seen).text
    assert absent not in text
    assert "None" not in text
    assert "nan" not in text
    assert "\n\n\n" not in text
    assert not any(line.startswith(("|", " ")) or line.endswith(("|", " ")) for line in text.split("\n"))


def test_greeks_of_our_own_are_marked() -> None:
    assert "Δ0.42 IV28.5% (computed) Skew" in buy(row=replace(ROW, computed=True)).text


@pytest.mark.parametrize(
    ("bid", "ask", "entry", "told"),
    [
        (1400, 1410, 1420, "Entry ~$1.42 (mid $1.405 +$0.015)"),
        (500, 500, 510, "Entry ~$0.51 (mid $0.50 +$0.01)"),
        (2500, 2600, 2600, "Entry ~$2.60 (mid $2.55 +$0.05)"),
    ],
)
def test_the_assumed_entry_is_told_with_its_distance_from_mid(bid: int, ask: int, entry: int, told: str) -> None:
    assert told in buy(replace(POSITION, entry=entry, entry_quote=Quote(bid, ask, 30, 30))).text


@pytest.mark.parametrize(
    ("entry", "most"), [(1430, "$1.50"), (500, "$0.52"), (1000, "$1.05"), (990, "$1.03"), (10, "$0.01")]
)
def test_pay_at_most_is_entry_times_105_rounded_down_to_a_cent(entry: int, most: str) -> None:
    assert f"pay ≤ {most} |" in buy(replace(POSITION, entry=entry)).text


@pytest.mark.parametrize(
    ("strike", "told"), [(215_000, "215c"), (215_500, "215.5c"), (100_000, "100c"), (212_125, "212.125c")]
)
def test_strikes_are_told_without_idle_zeros(strike: int, told: str) -> None:
    assert f"2025-10-02 {told}\n" in buy(replace(POSITION, strike=strike)).text


@pytest.mark.fault("A50")
@pytest.mark.parametrize(
    ("exit_at", "fees", "line"),
    [
        (1440, 0, "🟢 P&L: +0.7% (+$1.00)"),
        (1210, 0, "🔴 P&L: -15.4% (-$22.00)"),
        (1430, 0, "⚪ P&L: 0.0% ($0.00)"),
        (0, 0, "🔴 P&L: -100.0% (-$143.00)"),
        (1440, 1300, "🔴 P&L: +0.7% (-$0.30)"),
        (1430, 1300, "🔴 P&L: 0.0% (-$1.30)"),
        (1435, 0, "🟢 P&L: +0.3% (+$0.50)"),
    ],
)
def test_the_colour_is_the_sign_of_the_booked_sum(exit_at: int, fees: int, line: str) -> None:
    assert line in sell(exit=exit_at, fees=fees, pnl=(exit_at - 1430) * 100 - fees).text.split("\n")


@pytest.mark.parametrize(
    ("wins", "losses", "balance", "lines"),
    [
        (0, 0, 0, ["💰 LIFETIME: $0.00", "📈 0W-0L"]),
        (1, 0, 5_500, ["💰 LIFETIME: +$5.50", "📈 1W-0L (100.0%)"]),
        (0, 3, -1_234_500, ["💰 LIFETIME: -$1,234.50", "📈 0W-3L (0.0%)"]),
    ],
)
def test_the_record_is_told_exactly(wins: int, losses: int, balance: int, lines: list[str]) -> None:
    record = SimpleNamespace(balance=balance, wins=wins, losses=losses)
    text = alerts.sell(CONFIG, TRADE, record, mark=None, spot=None, vwap=None).text
    assert "\n".join(lines) in text


def test_a_sell_without_mark_shows_its_bid_as_such_and_an_unknown_spot_not_at_all() -> None:
    text = alerts.sell(CONFIG, TRADE, RECORD, mark=None, spot=None, vwap=214.95).text
    assert "Peak $2.10 → Now $1.44 (bid)\n" in text
    assert "\nVWAP $214.95\n" in text
    expired = alerts.sell(CONFIG, replace(TRADE, reason="expired"), RECORD, mark=None, spot=None, vwap=None).text
    assert "Now" not in expired


@pytest.mark.parametrize(
    ("pnl", "shown"), [(12_000, "+$12.00"), (-8_000, "-$8.00"), (0, "$0.00"), (-1_234_500, "-$1,234.50")]
)
def test_a_lock_screen_shows_what_to_sell_and_what_it_made(pnl: int, shown: str) -> None:
    assert sell(pnl=pnl).title == f"🚪 IWM 0DTE CALL — SELL 215C · {shown}"


def test_a_lock_screen_shows_what_to_buy_for_how_much_and_until_when() -> None:
    config = Config.from_env(KEYS | {"BUY_VOID_SECONDS": "22", "BUY_TTL_SECONDS": "20"})
    title = buy(replace(POSITION, strike=226_500, entry=390), config=config).title
    assert title == "🔥 IWM 0DTE CALL — BUY 226.5C ≤ $0.40 · void 10:42:39"


def test_a_stale_price_is_said_to_be_one() -> None:
    assert "Stale price" in sell(stale=True).text
    assert "Stale price" not in sell().text


def test_the_owners_own_fill_is_told_beside_the_assumed_one() -> None:
    assert "👤 Your fills: -$3.00" in sell(real_entry=1470, real_pnl=-3000).text


def test_an_expired_position_is_settled_in_words_that_warn_of_the_shares() -> None:
    in_the_money = sell(reason="expired", detail="Expired: IWM closed at $215.40", exit=400, pnl=-103_000)
    assert in_the_money.title == "⌛ IWM 0DTE CALL — EXPIRED 215C · -$103.00"
    assert "becomes 100 shares" in in_the_money.text
    assert "Close at market" not in in_the_money.text
    assert "nothing to close" in sell(reason="expired", exit=0, pnl=-143_000).text
    unresolved = sell(reason="expired", exit=None, pnl=None)
    assert unresolved.title == "⌛ IWM 0DTE CALL — EXPIRED 215C · unresolved"
    assert "⚪ P&L: unresolved, not in the record" in unresolved.text
    assert "becomes 100 shares" in unresolved.text


# --- identity ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("A43", "P19")
def test_an_id_is_the_decisions_not_the_texts() -> None:
    again = replace(POSITION, id="20251002-2")
    assert buy().id == "20251002-1-BUY" == alerts.buy_id("20251002-1")
    assert sell().id == "20251002-1-SELL" == alerts.sell_id("20251002-1")
    assert buy().id == buy(replace(POSITION, entry=9990), close=1.0).id
    assert buy(again).id != buy().id
    assert buy(again).text.removesuffix(buy(again).id) == buy().text.removesuffix(buy().id)


def everything() -> list[Alert]:
    session = SessionCalendar(new_york(AT).date()).at(AT)
    assert session is not None
    started = WorkerStarted(at=AT, version="1.0.0", mode="live", away_s=252.0, crashes=2)
    return [
        buy(),
        sell(),
        alerts.missed_buy(CONFIG, POSITION, "not delivered in time", at=AT + 21),
        alerts.blind(CONFIG, POSITION, "no fresh quote for 10s", at=AT),
        alerts.sight_restored(CONFIG, POSITION, 42.0, at=AT),
        alerts.going_down(CONFIG, POSITION, at=AT),
        alerts.cannot_decide(CONFIG, POSITION, at=AT),
        alerts.critical_loss(CONFIG, RECORD, -1_000_000, at=AT),
        alerts.critical_loss(CONFIG, RECORD, -500_000, at=AT),
        alerts.started(CONFIG, started, POSITION, RECORD, at=AT),
        alerts.ended(CONFIG, RECORD, "SIGTERM", at=AT),
        alerts.gave_up(CONFIG, "the scribe is stuck", at=AT),
        alerts.ledger_damaged(CONFIG, "not a database", at=AT),
        alerts.data_stall(CONFIG, 5.0, at=AT),
        alerts.data_restored(CONFIG, 125.0, at=AT),
        alerts.feed_refused(CONFIG, "stocks feed", "authentication failed", at=AT),
        alerts.feed_refused(CONFIG, "stocks feed", "max_connections", at=AT, busy=True),
        alerts.clock_off(CONFIG, -3.25, "market status", at=AT),
        alerts.thread_failed(CONFIG, "quotes", "KeyError", at=AT),
        alerts.no_profile(CONFIG, "6 sessions found, 8 needed", at=AT),
        alerts.phone_trouble(CONFIG, "150 messages left", at=AT),
        alerts.summary(CONFIG, session, [TRADE], RECORD, at=AT),
    ]


def test_every_alert_has_its_own_id_and_ends_in_it() -> None:
    told = everything()
    assert len({alert.id for alert in told}) == len(told)
    for alert in told:
        assert alert.text.endswith(f"\n#{alert.id}")
        assert 0 < len(alert.title) <= alerts.TITLE_LIMIT
        assert len(alert.text) <= alerts.TEXT_LIMIT
        assert "None" not in alert.text
        assert (alert.retry_s is None) == (alert.priority != 2)


def test_what_must_not_wait_is_no_ops_message() -> None:
    kinds = {alert.title: alert.kind for alert in everything()}
    assert {title for title, kind in kinds.items() if kind == "BLIND"} == {
        "🙈 IWM stops cannot fire — CHECK BY HAND",
        "👁 IWM stops work again",
        "⚠️ IWM going down while holding",
        "🆘 IWM worker broken — CHECK BY HAND",
    }
    assert kinds["🚨 IWM critical loss"] == "CRITICAL"


def test_the_start_tells_version_mode_settings_position_and_absence() -> None:
    config = Config.from_env(
        KEYS | {"STOP_LOSS_PERCENT": "20", "DASHBOARD_TOKEN": "secret-secret-secret", "DELTA_MINN": "1"}
    )
    event = WorkerStarted(at=AT, version="1.2.3", mode="live", away_s=252.4, crashes=0)
    text = alerts.started(config, event, POSITION, RECORD, at=AT).text
    for told in (
        "Version 1.2.3, live",
        "I was away 4 m 12 s.",
        "STOP_LOSS_PERCENT=20",
        "DASHBOARD_TOKEN=(set)",
        CONTRACT,
        "DELTA_MINN",
    ):
        assert told in text
    assert "secret-secret" not in text
    first = WorkerStarted(at=AT, version="1.2.3", mode="live")
    assert "Settings: all at their defaults" in alerts.started(CONFIG, first, None, RECORD, at=AT).text
    assert "away" not in alerts.started(CONFIG, first, None, RECORD, at=AT).text


def test_blind_says_that_the_stops_cannot_fire_and_what_is_held() -> None:
    text = alerts.blind(CONFIG, replace(POSITION, last_mark=1500, peak=1600), "no fresh quote for 10s", at=AT).text
    assert "No trusted price: no fresh quote for 10s" in text
    assert f"📊 IWM 215C 2 Oct ({CONTRACT})\nEntry $1.43, peak $1.60, last mark $1.50" in text


def test_the_summary_counts_the_day() -> None:
    session = SessionCalendar(new_york(AT).date()).at(AT)
    assert session is not None
    lost = replace(TRADE, id="20251002-2", pnl=-2_200, reason="stop loss")
    unresolved = replace(TRADE, id="20251002-3", pnl=None, exit=None, reason="expired")
    text = alerts.summary(CONFIG, session, [TRADE, lost, unresolved], RECORD, at=AT, notes=["Signals 4"]).text
    assert text.startswith(
        "3 trades, 1W-1L\nToday -$1.20\nClosed by: hard giveback, stop loss, expired\nUnresolved: 1\nSignals 4\n"
    )
    assert alerts.summary(CONFIG, session, [], RECORD, at=AT).text.startswith("0 trades\n💰 LIFETIME")
    manual = alerts.summary(CONFIG, session, [replace(TRADE, reason="by hand")], RECORD, at=AT)
    assert "Closed by: manual\n" in manual.text


def test_a_contract_is_named_as_people_do_with_its_ticker_behind() -> None:
    named = f"IWM 215C 2 Oct ({CONTRACT})"
    assert f"{named} at 10:42:17 ET" in alerts.missed_buy(CONFIG, POSITION, "no answer", at=AT).text
    assert f"The BUY of {named} at" in alerts.never_reached(CONFIG, TRADE, RECORD, at=AT).text
    assert f"📊 {named}\n" in alerts.resolved(CONFIG, TRADE, RECORD, at=AT).text
    assert alerts.named("SPX") == "SPX"


# --- lengths and characters --------------------------------------------------------------------------------------------


@pytest.mark.fault("P08")
@pytest.mark.parametrize("length", [0, 1, 900, 1023, 1024, 1025, 100_000])
@pytest.mark.parametrize("char", ["x", "🔥", "é"])
def test_a_text_of_any_length_fits_and_keeps_its_id(length: int, char: str) -> None:
    alert = sell(detail=char * length)
    assert 0 < len(alert.text) <= 1024
    assert alert.text.endswith("\n#20251002-1-SELL")
    assert alert.text.startswith(f"Reason: {(char * length)[:700] or 'Hard giveback'}")
    late = outbox.Outgoing(alert, maybe_seen=True, reissues=1)
    heading = outbox.heading(late, AT + 10_000, recorded=False)
    assert len(heading) == 4
    whole = alerts.with_heading(alert, heading)
    assert len(whole) <= 1024
    assert whole == "\n".join([*heading, alert.text])


@pytest.mark.fault("P08")
def test_a_title_of_any_length_fits_and_is_never_empty() -> None:
    assert len(alerts.thread_failed(CONFIG, "q" * 10_000, "", at=AT).title) == 250
    empty = alerts._alert("1", "OPS", "\x00\n", ["", "\x00"], at=AT)
    assert (empty.title, empty.text) == ("OPS", "OPS\n#1")


@pytest.mark.fault("P09", "P10", "A46")
@given(text=st.text(st.characters(codec=None), max_size=2000))
def test_any_text_at_all_becomes_one_that_can_be_sent(text: str) -> None:
    alert = sell(detail=text)
    for told in (alert.title, alert.text):
        assert told.encode("utf-8")
        assert "\x00" not in told
        assert not set(told) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\r\x1b\x07")
    assert len(alert.text) <= 1024


@pytest.mark.fault("P10", "A46")
@pytest.mark.parametrize("text", ["$327 < $700 & <b>bold</b>", "_*[markdown](x)", "a&amp;b", "🔥×≤→Δ", "e\u0301\u0323"])
def test_markup_is_sent_as_it_is(text: str) -> None:
    assert f"Reason: {text}\n" in sell(detail=text).text


def test_several_messages_of_the_worker_become_one() -> None:
    waiting = [alerts.data_stall(CONFIG, 5.0, at=AT), alerts.data_restored(CONFIG, 9.0, at=AT + 9)]
    together = alerts.together(waiting, at=AT + 60)
    assert together.kind == "OPS"
    assert together.text.startswith("10:42:17 ⏸ IWM data stall: No bars for 5 s.")
    assert "10:42:26 ▶️ IWM data is back: After 9 s." in together.text


# --- the log -----------------------------------------------------------------------------------------------------------


def gate(number: int, ok: bool, value: float | None = None, off: bool = False) -> Any:
    return SimpleNamespace(number=number, ok=ok, value=value, off=off)


def test_the_log_shows_feed_and_conditions_as_the_rules_word_them() -> None:
    gates = tuple(gate(n, n == 1, {6: 1.25, 7: -0.05}.get(n)) for n in range(1, 8))
    seen = reading(close=220.5, vwap_60=220.3, volume_z=1.2, slope_pct_s=0.0231, gates=gates)
    feed, conditions = words.progress_lines("IWM", seen, 1_250_000.0)
    assert feed == "📊 Data feed active: IWM $220.50, VWAP $220.30, Vol 1,250,000"
    assert conditions == (
        "📈 Signal conditions: Price>$220.30=True, VWAP↑=False, Vol surge=False (Z1.2), Momentum=+0.023, "
        "Price>VWAP5m=False, RelVol=False (1.2), Not lagging SPY=False (-0.05)"
    )


def test_the_log_says_what_it_does_not_know() -> None:
    gates = tuple(gate(n, False, off=n == 7) for n in range(1, 8))
    feed, conditions = words.progress_lines("IWM", reading(vwap_60=None, volume_z=None, slope_pct_s=None, gates=gates), 0.0)
    assert feed == "📊 Data feed active: IWM $215.34, Vol 0"
    assert "Price>VWAP=False" in conditions
    assert "Momentum=unknown" in conditions
    assert "Not lagging SPY=off" in conditions
    assert words.progress_lines("IWM", None, 0.0) == ("📊 Data feed: no bars of IWM yet",)


def test_a_signal_is_logged_as_the_founders_did() -> None:
    line = words.signal_line("IWM", reading(close=220.5, vwap_60=220.3, volume_z=2.8, slope_pct_s=0.087))
    assert line == "🚀 MOMENTUM SIGNAL: IWM $220.50 > VWAP $220.30 (+0.09%), Vol Z=2.8, Momentum=+0.087"
