"""The fourteen ways in which ib_async 2.1.0 misleads a client that believes it, each happening at this venue as at the real one."""

import asyncio

import ib_async
import pytest
from ib_async import Contract
from tws_client import PATIENCE_S, Client, StillClock, bag, book, con_id, connected, limit, option, statuses

from simulator.tws.contracts import Leg, Quote, net_of
from simulator.tws.venue import Venue

SHORT_S = 0.15  # how long a question that never ends is waited for


@pytest.fixture
def tws():
    with Venue(book(), StillClock(), beat_s=0) as venue:
        yield venue


async def working(ib: Client, price: float = -0.90, units: int = 1, **more) -> ib_async.Trade:
    trade = ib.placeOrder(bag(), limit(price, units=units, **more))
    await ib.until(lambda: trade.orderStatus.status == "Submitted")
    return trade


async def hangs(question) -> bool:
    try:
        await asyncio.wait_for(question, SHORT_S)
    except TimeoutError:
        return True
    return False


def test_1_the_notice_10349_makes_a_live_order_cancelled(tws):
    async def trap():
        async with connected(tws.port) as ib:
            trade = ib.placeOrder(bag(), limit(-0.90, tif=""))
            await ib.until(lambda: trade.orderStatus.status == "Submitted")
            assert "Cancelled" in statuses(trade)
            assert tws.order("IC-1-ENTRY-1").live

    asyncio.run(trap())


def test_2_a_cancel_that_meets_the_fill_says_cancelled_before_filled(tws):
    async def trap():
        async with connected(tws.port) as ib:
            trade = await working(ib)
            tws.arm("fill-in-cancel")
            ib.cancelOrder(trade.order)
            await ib.until(lambda: trade.orderStatus.status == "Filled")
            seen = statuses(trade)
            assert seen.index("Cancelled") < seen.index("Filled") == len(seen) - 1
            assert trade.filled() == 1

    asyncio.run(trap())


def test_3_a_change_of_a_filled_order_says_cancelled(tws):
    async def trap():
        async with connected(tws.port) as ib:
            trade = await working(ib)
            tws.arm("quiet-fill")
            tws.fill("IC-1-ENTRY-1")
            trade.order.lmtPrice = -0.89
            ib.placeOrder(trade.contract, trade.order)
            await ib.until(lambda: 104 in ib.codes)
            assert trade.orderStatus.status == "Cancelled"
            assert tws.order("IC-1-ENTRY-1").status == "Filled"

    asyncio.run(trap())


@pytest.mark.parametrize("code", [399, 2109, 2161, 321, 404])
def test_4_a_warning_leaves_a_live_order_in_a_state_of_the_librarys_own(tws, code):
    async def trap():
        async with connected(tws.port) as ib:
            trade = await working(ib)
            tws.arm("notice", code=code, ref="IC-1-ENTRY-1")
            await ib.until(lambda: code in ib.codes)
            assert trade.orderStatus.status == "ValidationError"
            assert tws.order("IC-1-ENTRY-1").live

    asyncio.run(trap())


def test_4_after_110_the_library_has_the_price_that_was_refused(tws):
    async def trap():
        async with connected(tws.port) as ib:
            trade = await working(ib)
            trade.order.lmtPrice = -0.895
            ib.placeOrder(trade.contract, trade.order)
            await ib.until(lambda: 110 in ib.codes)
            assert (trade.orderStatus.status, trade.order.lmtPrice) == ("ValidationError", -0.895)
            assert tws.order("IC-1-ENTRY-1").limit == -900

    asyncio.run(trap())


def test_5_a_late_echo_overwrites_the_price_of_our_own_order(tws):
    async def trap():
        async with connected(tws.port) as ib:
            trade = await working(ib)
            tws.arm("late-echo", after_s=0)
            trade.order.lmtPrice = -0.89
            ib.placeOrder(trade.contract, trade.order)
            await ib.until(lambda: trade.order.lmtPrice == -0.90)
            assert tws.order("IC-1-ENTRY-1").limit == -890

    asyncio.run(trap())


@pytest.mark.parametrize("fault", ["what-if-unset", "what-if-empty", "what-if-silent"])
def test_6_a_what_if_without_margins_never_returns(tws, fault):
    async def trap():
        async with connected(tws.port) as ib:
            tws.arm(fault)
            assert await hangs(ib.whatIfOrderAsync(bag(), limit(-0.76)))
            assert (await ib.whatIfOrderAsync(bag(), limit(-0.76))).initMarginChange == "200"

    asyncio.run(trap())


def test_7_the_details_of_a_package_are_asked_for_ever(tws):
    async def trap():
        async with connected(tws.port) as ib:
            assert await hangs(ib.reqContractDetailsAsync(bag()))
            assert 321 in ib.codes

    asyncio.run(trap())
    assert tws.record.misuses == ["client 21 asked for the details of a package"]


def test_8_of_two_questions_at_once_the_first_never_ends(tws):
    async def trap():
        async with connected(tws.port) as ib:
            first = asyncio.ensure_future(hangs(ib.reqOpenOrdersAsync()))
            await asyncio.sleep(0)  # the first is asked
            assert await asyncio.wait_for(ib.reqOpenOrdersAsync(), PATIENCE_S) == []
            assert await first

    asyncio.run(trap())


def test_9_cancelled_with_one_of_two_filled_is_a_position(tws):
    async def trap():
        async with connected(tws.port) as ib:
            trade = await working(ib, units=2)
            tws.arm("fill-in-cancel", units=1)
            ib.cancelOrder(trade.order)
            await ib.until(lambda: 202 in ib.codes)
            assert (trade.orderStatus.status, trade.filled()) == ("Cancelled", 1)
            assert len(ib.positions()) == 4

    asyncio.run(trap())


def test_10_filled_while_away_is_found_by_its_ref_and_the_old_trade_stays_submitted(tws):
    async def trap():
        async with connected(tws.port) as ib:
            trade = await working(ib)
            gone = asyncio.Event()
            ib.disconnectedEvent += gone.set
            tws.arm("fill-away")
            await asyncio.wait_for(gone.wait(), PATIENCE_S)
            assert ib.positions() == []
            await ib.connectAsync("127.0.0.1", tws.port, clientId=21, timeout=PATIENCE_S)
            assert (trade.orderStatus.status, ib.openTrades()) == ("Submitted", [])
            assert len([fill for fill in ib.fills() if fill.execution.orderRef == "IC-1-ENTRY-1"]) == 5

    asyncio.run(trap())


def test_11_no_bid_is_minus_one_and_so_is_a_package_of_that_price(tws):
    async def trap():
        async with connected(tws.port) as ib:
            tws.arm("no-bid", contract="653P")
            wing = ib.reqMktData(option(653, "P"))
            await ib.until(lambda: wing.ask == 0.69)
            assert (wing.bid, wing.bidSize, wing.hasBidAsk()) == (-1, 0, False)
            assert (wing.bid + wing.ask) / 2 < 0
            tws.set_quote(con_id(665, "C"), Quote(1350, 1370, 10, 10))
            tws.set_quote(con_id(667, "C"), Quote(670, 690, 10, 10))
            tws.set_quote(con_id(653, "P"), Quote(690, 710, 10, 10))
            tws.set_quote(con_id(655, "P"), Quote(980, 990, 10, 10))
            tws.clear()
            legs = [Leg(one.conId, 1, one.action) for one in bag().comboLegs]
            assert net_of(legs, tws.floor.quote).passive == -1000
            package = ib.reqMktData(bag())
            await ib.until(lambda: package.bidSize > 0)
            assert (package.bid, package.hasBidAsk()) == (-1.0, False)

    asyncio.run(trap())
    assert tws.record.misuses == ["client 21 asked for the data of a package"]


def test_12_any_two_packages_are_equal(tws):
    async def trap():
        async with connected(tws.port) as ib:
            tws.arm("foreign-order")
            mine = await working(ib)
            (theirs,) = [trade for trade in await ib.reqAllOpenOrdersAsync() if trade.order.orderRef == "foreign"]
            assert theirs.contract.comboLegs != mine.contract.comboLegs
            assert theirs.contract == Contract(secType="BAG", conId=28812380, symbol="SPX")

    asyncio.run(trap())


def test_13_a_corrected_execution_is_counted_twice(tws):
    async def trap():
        async with connected(tws.port) as ib:
            trade = await working(ib)
            tws.arm("corrected")
            tws.fill("IC-1-ENTRY-1")
            await ib.until(lambda: trade.isDone() and len(trade.fills) == 10)
            assert trade.filled() == 2
            ids = [fill.execution.execId for fill in trade.fills]
            assert len({one.rpartition(".")[0] for one in ids}) == 5
            assert {one.rpartition(".")[2] for one in ids} == {"01", "02"}

    asyncio.run(trap())


def test_14_an_id_in_use_is_a_time_out_and_nothing_more(tws):
    async def trap():
        async with connected(tws.port):
            second = Client()
            with pytest.raises(TimeoutError):
                await second.connectAsync("127.0.0.1", tws.port, clientId=21, timeout=0.6)
            assert 326 in second.codes

    asyncio.run(trap())
