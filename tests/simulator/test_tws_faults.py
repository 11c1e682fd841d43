"""Every fault by its name does what its line says, to the real ib_async over a real socket."""

import asyncio
import math
import re
from pathlib import Path

import ib_async
import pytest
from tws_client import DAY, ENTRY, PATIENCE_S, VIX, XSP, Client, StillClock, bag, book, con_id, connected, limit, option

from simulator.tws.contracts import Bar
from simulator.tws.faults import CATALOGUE, catalogue_text
from simulator.tws.venue import Venue

SHORT_S = 0.1
REF = "IC-1-ENTRY-1"


@pytest.fixture
def tws():
    with Venue(book(), StillClock(), beat_s=0) as venue:
        yield venue


async def working(ib: Client, price: float = -0.90, ref: str = REF, **more) -> ib_async.Trade:
    trade = ib.placeOrder(bag(), limit(price, ref=ref, **more))
    await ib.until(lambda: trade.orderStatus.status == "Submitted")
    return trade


async def disconnected(ib: Client) -> None:
    gone = asyncio.Event()
    ib.disconnectedEvent += gone.set
    if ib.isConnected():
        await asyncio.wait_for(gone.wait(), PATIENCE_S)


async def silent(question) -> bool:
    try:
        await asyncio.wait_for(question, SHORT_S)
    except TimeoutError:
        return True
    return False


def life(tws: Venue, story) -> None:
    async def lived() -> None:
        async with connected(tws.port) as ib:
            await story(ib)

    asyncio.run(lived())


# --- orders ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "settings", "code"),
    [
        ("reject", {}, 201),
        ("reject", {"code": 201, "text": "Order rejected - reason:riskless combination"}, 201),
        ("read-only", {}, 321),
        ("duplicate-id", {}, 103),
        ("off-tick", {}, 110),
        ("pacing", {"request": "order"}, 100),
        ("pacing", {"request": "order", "code": 420}, 420),
    ],
)
def test_an_order_is_refused_once_and_the_next_one_works(tws, fault, settings, code):
    async def story(ib):
        tws.arm(fault, **settings)
        trade = ib.placeOrder(bag(), limit(-0.90))
        await ib.until(lambda: code in ib.codes)
        if settings.get("text"):
            assert settings["text"] in ib.errors[-1][2]
        assert not list(tws.floor.live_orders())
        assert not trade.fills
        await working(ib, ref="next")

    life(tws, story)
    assert tws.positions() == {}


def test_every_package_is_rejected_and_its_legs_are_not(tws):
    async def story(ib):
        tws.arm("reject", times=0, legs=4)
        for _ in range(3):
            ib.placeOrder(bag(), limit(-0.90))
        await ib.until(lambda: ib.codes.count(201) == 3)
        await ib.until(ib.placeOrder(option(655, "P"), limit(1.07, ref="leg")).isDone)
        assert tws.positions() == {con_id(655, "P"): 1}

    life(tws, story)
    assert [order.status for order in tws.record.of("ENTRY")] == ["Inactive"] * 3


def test_single_legs_are_rejected_and_packages_are_not(tws):
    async def story(ib):
        tws.arm("reject", times=0, legs=1)
        ib.placeOrder(option(655, "P"), limit(1.07, ref="leg"))
        await ib.until(lambda: 201 in ib.codes)
        await working(ib)

    life(tws, story)


def test_an_accepted_order_may_be_told_of_by_nobody_and_a_lost_one_is_nowhere(tws):
    async def story(ib):
        tws.arm("silent-order")
        tws.arm("lost-order", ref="lost")
        accepted = ib.placeOrder(bag(), limit(-0.90))
        lost = ib.placeOrder(bag(), limit(-0.90, ref="lost"))
        await ib.reqCurrentTimeAsync()
        assert {accepted.orderStatus.status, lost.orderStatus.status} == {"PendingSubmit"}
        assert [trade.order.orderRef for trade in await ib.reqAllOpenOrdersAsync()] == [REF]

    life(tws, story)


@pytest.mark.parametrize("code", [399, 2109, 2161, 10349])
def test_a_warning_leaves_the_new_order_live(tws, code):
    async def story(ib):
        tws.arm("warning", code=code)
        await working(ib)
        assert code in ib.codes
        assert tws.order(REF).live

    life(tws, story)


def test_110_as_a_warning_leaves_the_order_and_105_its_price(tws):
    async def story(ib):
        tws.arm("off-tick", **{"as": "warn"})
        trade = await working(ib)
        assert 110 in ib.codes
        tws.arm("modify-refused")
        trade.order.lmtPrice = -0.80
        ib.placeOrder(trade.contract, trade.order)
        await ib.until(lambda: 105 in ib.codes)
        assert (tws.order(REF).live, tws.order(REF).limit) == (True, -900)

    life(tws, story)


# --- fills -------------------------------------------------------------------------------------------------------------


def test_part_fills_and_the_rest_waits(tws):
    async def story(ib):
        tws.arm("partial", units=2)
        trade = ib.placeOrder(bag(), limit(-0.60, units=3))
        await ib.until(lambda: trade.filled() == 2)
        tws.nudge()
        assert tws.order(REF).remaining == 1
        tws.fill(REF, 1, -610)
        await ib.until(lambda: trade.orderStatus.status == "Filled" and trade.fills[-1].commissionReport.commission)
        assert tws.order(REF).paid == -680 * 2 - 610

    life(tws, story)


def test_no_fill_rests_whatever_the_market_does(tws):
    async def story(ib):
        tws.arm("no-fill")
        trade = await working(ib, price=-0.10)
        tws.nudge()
        assert not trade.fills

    life(tws, story)


def test_the_status_comes_first_and_the_executions_later(tws):
    async def story(ib):
        tws.arm("late-executions", after_s=0.05)
        trade, at_the_end = ib.placeOrder(bag(), limit(-0.68)), []
        trade.filledEvent += lambda trade: at_the_end.append(len(trade.fills))
        await ib.until(lambda: len(trade.fills) == 5)
        assert at_the_end == [0]

    life(tws, story)


def test_legs_are_held_back_from_reports_too_until_they_are_released(tws):
    async def story(ib):
        tws.arm("held-legs")
        trade = ib.placeOrder(bag(), limit(-0.68))
        await ib.until(trade.isDone)
        assert [fill.execution.price for fill in await ib.reqExecutionsAsync()] == [-0.68]
        tws.arm("release")
        await ib.until(lambda: len(trade.fills) == 5)

    life(tws, story)


def test_legs_at_zero_are_corrected_at_the_release(tws):
    async def story(ib):
        tws.arm("zero-legs")
        trade = ib.placeOrder(bag(), limit(-0.68))
        await ib.until(trade.isDone)
        assert [fill.execution.price for fill in trade.fills] == [-0.68, 0, 0, 0, 0]
        tws.arm("release")
        await ib.until(lambda: len(trade.fills) == 9)
        assert sum(p if a == "BUY" else -p for (_, _, a), p in zip(ENTRY, _prices(trade)[5:], strict=True)) == pytest.approx(
            -0.68
        )

    life(tws, story)


def _prices(trade: ib_async.Trade) -> list[float]:
    return [fill.execution.price for fill in trade.fills]


def test_three_of_four_legs_are_an_uncovered_short(tws):
    async def story(ib):
        tws.arm("unequal-legs", missing=1)
        trade = ib.placeOrder(bag(), limit(-0.68))
        await ib.until(lambda: trade.isDone() and len(ib.positions()) == 3)
        assert con_id(667, "C") not in tws.positions()

    life(tws, story)


def test_a_quiet_fill_is_told_to_who_asks(tws):
    async def story(ib):
        trade = await working(ib)
        tws.arm("quiet-fill")
        tws.fill(REF)
        await ib.reqCurrentTimeAsync()
        assert (trade.orderStatus.status, trade.fills) == ("Submitted", [])
        assert len(await ib.reqExecutionsAsync()) == 5
        assert len(await ib.reqPositionsAsync()) == 4

    life(tws, story)


def test_a_position_of_one_and_a_half(tws):
    async def story(ib):
        tws.arm("odd-units", times=0)
        trade = ib.placeOrder(bag(), limit(-0.68))
        await ib.until(lambda: trade.isDone() and ib.positions())
        assert {fill.execution.shares for fill in trade.fills[1:]} == {1.5}
        assert ib.positions()[0].position == 1.5

    life(tws, story)


def test_positions_follow_a_fill_late(tws):
    async def story(ib):
        tws.arm("late-positions", after_s=0.05)
        trade, at_the_end = ib.placeOrder(bag(), limit(-0.68)), []
        trade.filledEvent += lambda _: at_the_end.append(len(ib.positions()))
        await ib.until(lambda: len(ib.positions()) == 4)
        assert at_the_end == [0]

    life(tws, story)


# --- cancels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["10148", "fill"])
def test_a_cancel_comes_too_late(tws, first):
    async def story(ib):
        trade = await working(ib)
        tws.arm("fill-in-cancel", first=first)
        ib.cancelOrder(trade.order)
        await ib.until(lambda: 10148 in ib.codes and len(ib.positions()) == 4)
        assert tws.order(REF).status == "Filled"

    life(tws, story)


def test_a_cancel_is_ignored_and_the_order_fills_later(tws):
    async def story(ib):
        trade = await working(ib)
        tws.arm("cancel-ignored")
        ib.cancelOrder(trade.order)
        await ib.reqCurrentTimeAsync()
        assert (trade.orderStatus.status, tws.order(REF).live) == ("PendingCancel", True)
        tws.fill(REF)
        await ib.until(lambda: trade.orderStatus.status == "Filled")

    life(tws, story)


def test_a_cancel_is_confirmed_late(tws):
    async def story(ib):
        trade = await working(ib)
        tws.arm("cancel-slow", after_s=0.03)
        ib.cancelOrder(trade.order)
        await ib.until(lambda: 202 in ib.codes)
        assert trade.orderStatus.status == "Cancelled"

    life(tws, story)


@pytest.mark.parametrize(("code", "live"), [(161, True), (10147, True), (10148, True), (202, False)])
def test_an_answer_to_a_cancel_is_no_end_by_itself(tws, code, live):
    async def story(ib):
        trade = await working(ib)
        tws.arm("cancel-answer", code=code)
        ib.cancelOrder(trade.order)
        await ib.until(lambda: code in ib.codes)
        assert trade.orderStatus.status == "Cancelled"
        assert tws.order(REF).live is live

    life(tws, story)


# --- what-if -----------------------------------------------------------------------------------------------------------


def test_a_margin_too_high_and_a_what_if_refused(tws):
    async def story(ib):
        ib.RaiseRequestErrors = True
        tws.arm("what-if-margin", margin=812.5)
        assert (await ib.whatIfOrderAsync(bag(), limit(-0.76))).initMarginChange == "812.5"
        tws.arm("what-if-rejected")
        with pytest.raises(ib_async.RequestError, match="201"):
            await ib.whatIfOrderAsync(bag(), limit(-0.76))

    life(tws, story)
    assert tws.record.orders == []


# --- the account's answers ---------------------------------------------------------------------------------------------


def test_positions_are_empty_once_swallowed_once_and_late_once(tws):
    async def story(ib):
        tws.hold(con_id(655, "P"), -1)
        tws.arm("empty-positions")
        assert await ib.reqPositionsAsync() == []
        tws.arm("swallow", request="positions")
        assert await silent(ib.reqPositionsAsync())
        tws.arm("late-answer", request="positions", after_s=0.02)
        assert len(await ib.reqPositionsAsync()) == 1

    life(tws, story)


def test_foreign_positions_orders_and_orphans_are_there_before_anybody_connects(tws):
    tws.arm("foreign-position", contract="672C", units=24)
    tws.arm("foreign-order", ref="hand")
    tws.arm("orphan", ref="IC-0-ENTRY-1", client=21)

    async def story(ib):
        assert [(p.contract.conId, p.position) for p in ib.positions()] == [(con_id(672, "C"), 24)]
        assert [trade.order.orderRef for trade in ib.openTrades()] == ["IC-0-ENTRY-1"]
        assert {trade.order.orderRef for trade in await ib.reqAllOpenOrdersAsync()} == {"IC-0-ENTRY-1", "hand"}
        ib.cancelOrder(ib.openTrades()[0].order)
        await ib.until(lambda: 202 in ib.codes)

    life(tws, story)
    assert [order.ref for order in tws.floor.live_orders()] == ["hand"]


def test_positions_closed_by_another_hand_net_to_zero_in_executions_without_a_ref(tws):
    async def story(ib):
        trade = ib.placeOrder(bag(), limit(-0.68))
        await ib.until(lambda: trade.isDone() and len(ib.positions()) == 4)
        tws.arm("closed-elsewhere")
        await ib.until(lambda: not ib.positions())
        others = [fill.execution for fill in await ib.reqExecutionsAsync() if not fill.execution.orderRef]
        assert {one.side for one in others} == {"BOT", "SLD"}
        assert sum(one.shares if one.side == "BOT" else -one.shares for one in others) == 0

    life(tws, story)


def test_expired_positions_stay_until_they_are_settled(tws):
    tws.hold(con_id(655, "P"), -1)
    tws.floor.market.closed = True

    async def story(ib):
        assert len(ib.positions()) == 1
        tws.arm("settle")
        await ib.until(lambda: not ib.positions())

    life(tws, story)


def test_dates_that_disagree(tws):
    async def story(ib):
        tws.arm("dates-disagree")
        (details,) = await ib.reqContractDetailsAsync(option(655, "P"))
        assert (details.realExpirationDate, details.contract.localSymbol[6:12]) == ("20261119", "261120")

    life(tws, story)


# --- market data -------------------------------------------------------------------------------------------------------


def test_delayed_data_writes_into_the_same_fields_and_says_type_3(tws):
    async def story(ib):
        tws.arm("delayed")
        ticker = ib.reqMktData(ib_async.Contract(conId=VIX, secType="IND", symbol="VIX", exchange="CBOE"))
        await ib.until(lambda: ticker.last == 16.2)
        assert (ticker.marketDataType, 10167 in ib.codes) == (3, True)

    life(tws, story)


@pytest.mark.parametrize("code", [354, 10089, 10090, 10091, 10168, 10186])
def test_a_line_without_a_subscription_never_ticks(tws, code):
    async def story(ib):
        tws.arm("not-subscribed", code=code)
        ticker = ib.reqMktData(option(655, "P"))
        await ib.until(lambda: code in ib.codes)
        tws.nudge()
        await ib.reqCurrentTimeAsync()
        assert math.isnan(ticker.ask)

    life(tws, story)


def test_a_competing_session_takes_every_line(tws):
    async def story(ib):
        ticker = ib.reqMktData(option(655, "P"))
        await ib.until(lambda: ticker.ask == 1.07)
        tws.arm("competing-session")
        await ib.until(lambda: 10197 in ib.codes)
        tws.command("quote contract=655P bid=2 ask=2.10")
        tws.nudge()
        await ib.reqCurrentTimeAsync()
        assert (ticker.ask, tws.record.lines_open) == (1.07, 0)

    life(tws, story)


def test_a_phantom_quote_a_leg_without_a_quote_a_line_without_ticks_or_greeks_or_motion(tws):
    async def story(ib):
        tws.command("quote contract=653P bid=0.05 ask=1.00")
        tws.arm("no-quote", contract="667C")
        tws.arm("no-greeks")
        phantom, none = ib.reqMktData(option(653, "P")), ib.reqMktData(option(667, "C"))
        await ib.until(lambda: phantom.ask == 1.0 and none.ask == -1)
        assert (phantom.bid, phantom.modelGreeks, none.bidSize) == (0.05, None, 0)
        tws.arm("free-quote", contract="653P")
        tws.nudge()
        await ib.until(lambda: phantom.ask == 0.69)
        tws.arm("frozen")
        frozen = ib.reqMktData(option(660, "C"))
        await ib.until(lambda: frozen.ask > 0)
        assert frozen.marketDataType == 2
        tws.command("quote contract=660C bid=3 ask=3.10")
        tws.nudge()
        tws.arm("silent-line")
        dead = ib.reqMktData(option(661, "C"))
        await ib.reqCurrentTimeAsync()
        assert (math.isnan(dead.ask), frozen.ask) == (True, 2.02)

    life(tws, story)


def test_data_of_a_package_may_be_refused(tws):
    async def story(ib):
        tws.arm("bag-line-refused")
        ib.reqMktData(bag())
        await ib.until(lambda: 321 in ib.codes)

    life(tws, story)


# --- the link ----------------------------------------------------------------------------------------------------------


def test_1100_stops_ticks_and_orders_1102_brings_both_back_and_1101_not_the_lines(tws):
    async def story(ib):
        ticker = ib.reqMktData(option(655, "P"))
        await ib.until(lambda: ticker.ask == 1.07)
        tws.arm("link-lost")
        await ib.until(lambda: 1100 in ib.codes)
        unanswered = ib.placeOrder(bag(), limit(-0.90))
        tws.command("quote contract=655P bid=2 ask=2.10")
        tws.nudge()
        await ib.reqCurrentTimeAsync()
        assert (ticker.ask, unanswered.orderStatus.status) == (1.07, "PendingSubmit")
        tws.arm("link-back")
        tws.nudge()
        await ib.until(lambda: 1102 in ib.codes and ticker.ask == 2.1)
        tws.arm("link-lost")
        tws.arm("link-back-data-lost")
        await ib.until(lambda: 1101 in ib.codes)
        assert tws.record.lines_open == 0

    life(tws, story)


@pytest.mark.parametrize(("lost", "back"), [(2103, 2104), (2105, 2106), (2110, 2104)])
def test_a_lost_farm_stops_ticks_until_it_is_back(tws, lost, back):
    async def story(ib):
        ticker = ib.reqMktData(option(655, "P"))
        await ib.until(lambda: ticker.ask == 1.07)
        tws.arm("farm-lost", code=lost)
        tws.command("quote contract=655P bid=2 ask=2.10")
        tws.nudge()
        await ib.until(lambda: lost in ib.codes)
        assert ticker.ask == 1.07
        tws.arm("farm-back", code=back)
        tws.nudge()
        await ib.until(lambda: ticker.ask == 2.1)

    life(tws, story)


def test_a_cut_link_keeps_orders_and_a_port_that_is_down_comes_up_again(tws):
    async def story(ib):
        await working(ib)
        tws.arm("drop")
        await disconnected(ib)
        await ib.connectAsync("127.0.0.1", tws.port, clientId=21, timeout=PATIENCE_S)
        assert len(ib.openTrades()) == 1
        tws.arm("down")
        await disconnected(ib)
        with pytest.raises(ConnectionRefusedError):
            await ib.connectAsync("127.0.0.1", tws.port, clientId=21, timeout=PATIENCE_S)
        tws.arm("up")
        await ib.connectAsync("127.0.0.1", tws.port, clientId=21, timeout=PATIENCE_S)

    life(tws, story)


def test_a_client_id_that_is_taken_by_nobody_here(tws):
    tws.arm("client-id-taken")

    async def refused():
        ib = Client()
        with pytest.raises(TimeoutError):
            await ib.connectAsync("127.0.0.1", tws.port, clientId=21, timeout=0.6)
        assert 326 in ib.codes

    asyncio.run(refused())


def test_orders_are_cancelled_by_the_venue_and_told_again_at_another_price(tws):
    async def story(ib):
        trade = await working(ib)
        tws.arm("echo", ref=REF, limit=-0.95)
        await ib.until(lambda: trade.order.lmtPrice == -0.95)
        tws.arm("cancel-by-venue", ref=REF)
        await ib.until(lambda: trade.orderStatus.status == "Cancelled")
        assert tws.order(REF).limit == -900

    life(tws, story)


def test_the_days_bar_may_be_late(tws):
    tws.floor.market.bars[XSP] = [Bar(DAY, 660_000, 662_000, 658_000, 661_250)]

    async def story(ib):
        tws.arm("daily-bar-late")
        index = ib_async.Contract(conId=XSP, secType="IND", symbol="XSP", exchange="CBOE")
        assert not await ib.reqHistoricalDataAsync(index, "", "1 D", "1 day", "TRADES", True)
        assert 162 in ib.codes
        assert await ib.reqHistoricalDataAsync(index, "", "1 D", "1 day", "TRADES", True)

    life(tws, story)


# --- the language ------------------------------------------------------------------------------------------------------


def test_faults_are_narrowed_counted_listed_and_cleared(tws):
    tws.command('reject times=2 ref=EXIT text="no margin"')
    assert tws.command("armed") == "reject code=201 text=no margin left=2 taken=0"

    async def story(ib):
        await working(ib)
        ib.placeOrder(bag(turned=True), limit(0.5, ref="IC-1-EXIT-1"))
        await ib.until(lambda: 201 in ib.codes)

    life(tws, story)
    assert tws.command("armed").endswith("left=1 taken=1")
    assert (
        tws.command("orders").splitlines()[0] == f"{REF} client 21 Submitted 0/1 BUY 1 × XSP -655P +653P -665C +667C at -0.9"
    )
    assert tws.command("clear reject") == "cleared"
    assert tws.command("armed") == "none"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rejct", "no fault is called 'rejct'"),
        ("reject time=2", "reject has no setting 'time'; it has times, ref, legs, code, text"),
        ("reject times=two", "times='two' is no number"),
        ("reject twice", "'twice' is not of the form name=value"),
        ("quote contract=9999P", "no contract is called '9999P'"),
        ("fill ref=nobody", "no live order has the ref nobody"),
        ('reject text="open', "cannot be read"),
    ],
)
def test_what_cannot_be_understood_is_said_and_changes_nothing(tws, line, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        tws.command(line)
    assert tws.command("armed") == "none"


def test_every_fault_has_its_line_in_the_list_and_is_injected_by_a_test():
    listed = catalogue_text()
    tests = "".join((Path(__file__).parent / name).read_text() for name in ("test_tws_faults.py", "test_tws_traps.py"))
    for name, fault in CATALOGUE.items():
        assert f"  {name:20} {fault.line}" in listed
        assert f'"{name}"' in tests or f'command("{name}' in tests or f"command('{name}" in tests, name
