"""The whole life of a condor through the real ib_async over a real socket, and what the venue remembers of it."""

import asyncio
import math

import ib_async
import pytest
from tws_client import DAY, ENTRY, VIX, XSP, Client, StillClock, bag, book, con_id, connected, limit, option, statuses

from simulator.tws.contracts import Bar, Instrument, Quote
from simulator.tws.venue import Venue


@pytest.fixture
def tws():
    with Venue(book(), StillClock(), beat_s=0) as venue:
        yield venue


def test_connect_chain_greeks_what_if_package_partial_fill_restart_and_close(tws):
    async def life():
        async with connected(tws.port) as ib:
            assert ib.client.serverVersion() == 178
            assert ib.managedAccounts() == ["DU1234567"]
            (xsp,) = await ib.qualifyContractsAsync(ib_async.Index("XSP", "CBOE", "USD"))
            assert xsp.conId == XSP
            chain = await ib.reqSecDefOptParamsAsync("XSP", "", "IND", XSP)
            assert {row.exchange for row in chain} == {"SMART", "CBOE"}
            assert chain[0].expirations == ["20261120"]
            puts = await ib.reqContractDetailsAsync(
                ib_async.Option("XSP", "20261120", 0, "P", "SMART", "100", "USD", tradingClass="XSP")
            )
            assert [one.contract.strike for one in puts] == [float(k) for k in range(648, 673)]
            assert (puts[0].minTick, puts[0].realExpirationDate, puts[0].lastTradeTime) == (0.01, "20261120", "15:00:00")
            assert [(step.lowEdge, step.increment) for step in await ib.reqMarketRuleAsync(239)] == [(0.0, 0.01)]
            short = ib.reqMktData(option(655, "P"))
            vix = ib.reqMktData(ib_async.Contract(conId=VIX, secType="IND", symbol="VIX", exchange="CBOE"))
            await ib.until(lambda: short.modelGreeks and vix.last == 16.2)
            assert (short.bid, short.ask, short.bidSize, short.marketDataType) == (1.03, 1.07, 10, 1)
            assert short.modelGreeks.delta == pytest.approx(-0.25)
            margin = await ib.whatIfOrderAsync(bag(), limit(-0.76))
            assert (margin.initMarginChange, margin.commission) == ("200", pytest.approx(4 * 1.23))
            trade = ib.placeOrder(bag(), limit(-0.76, units=2))
            await ib.until(lambda: trade.orderStatus.status == "Submitted")
            tws.fill("IC-1-ENTRY-1", 1)
            await ib.until(lambda: len(ib.positions()) == 4)
            assert (trade.orderStatus.status, trade.filled(), trade.remaining()) == ("Submitted", 1, 1)
            tws.fill("IC-1-ENTRY-1")
            await ib.until(lambda: trade.isDone() and sum(f.commissionReport.commission for f in trade.fills) > 9)
            assert sum(f.commissionReport.commission for f in trade.fills) == pytest.approx(8 * 1.23)
        async with connected(tws.port) as ib:
            held = {p.contract.conId: p.position for p in ib.positions()}
            assert held == {con_id(k, r): 2.0 if action == "BUY" else -2.0 for k, r, action in ENTRY}
            assert {fill.execution.orderRef for fill in ib.fills()} == {"IC-1-ENTRY-1"}
            assert ib.openTrades() == []
            (done,) = await ib.reqCompletedOrdersAsync(False)
            assert (done.orderStatus.status, done.order.orderRef, done.order.lmtPrice) == ("Filled", "IC-1-ENTRY-1", -0.76)
            closing = ib.placeOrder(bag(turned=True), limit(0.84, units=2, ref="IC-1-EXIT-1"))
            await ib.until(lambda: not ib.positions())
            await ib.until(closing.isDone)
        assert tws.positions() == {}
        assert tws.record.misuses == []

    asyncio.run(life())


def test_a_package_is_one_execution_and_one_of_each_leg_that_add_up_to_it(tws):
    async def life():
        async with connected(tws.port) as ib:
            trade = ib.placeOrder(bag(), limit(-0.68))  # natural: 1.03 + 1.03 - 0.69 - 0.69
            await ib.until(lambda: len(trade.fills) == 5 and trade.isDone())
            package, *legs = [fill.execution for fill in trade.fills]
            assert package.price == -0.68
            signed = [one.price if one.side == "BOT" else -one.price for one in legs]
            assert sum(signed) == pytest.approx(-0.68)
            assert [one.price for one in legs] == [1.03, 0.69, 1.03, 0.69]
            roots = {one.execId.rpartition(".")[0] for one in (package, *legs)}
            assert len(roots) == 5
            assert {one.execId.rpartition(".")[2] for one in legs} == {"01"}
            by_id = {p.contract.conId: p.avgCost for p in ib.positions()}
            assert by_id[con_id(653, "P")] == pytest.approx(69 + 1.23)
            assert by_id[con_id(655, "P")] == pytest.approx(103 - 1.23)

    asyncio.run(life())


def test_an_order_rests_until_the_market_comes_and_fills_no_more_than_is_shown(tws):
    async def life():
        async with connected(tws.port) as ib:
            trade = ib.placeOrder(bag(), limit(-0.72, units=12))
            await ib.until(lambda: trade.orderStatus.status == "Submitted")
            tws.nudge()
            assert tws.order("IC-1-ENTRY-1").filled == 0
            tws.set_quote(con_id(655, "P"), Quote(1070, 1090, 10, 10))
            tws.nudge()
            await ib.until(lambda: trade.filled() == 10)
            tws.nudge()
            await ib.until(trade.isDone)
            assert tws.order("IC-1-ENTRY-1").average == "-0.72"

    asyncio.run(life())


def test_makers_meet_each_order_at_a_price_of_its_own_between_mid_and_natural():
    filled = []
    for seed in range(8):
        with Venue(book(), StillClock(), beat_s=0, matching="makers", seed=seed) as tws:

            async def life(tws=tws):
                async with connected(tws.port) as ib:
                    trade = ib.placeOrder(bag(), limit(-0.72))
                    await ib.until(lambda: trade.isDone() or trade.orderStatus.status == "Submitted")
                    above_mid = ib.placeOrder(bag(), limit(-0.77, ref="greedy"))
                    await ib.until(lambda: above_mid.orderStatus.status == "Submitted")

            asyncio.run(life())
            filled.append(tws.order("IC-1-ENTRY-1").filled)
            assert tws.order("greedy").filled == 0
    assert 0 < sum(filled) < 8


def test_two_legs_a_single_leg_and_a_sale(tws):
    async def life():
        async with connected(tws.port) as ib:
            side = ib.placeOrder(bag(ENTRY[:2]), limit(-0.34, ref="side"))
            single = ib.placeOrder(option(655, "P"), limit(1.07, ref="single"))
            sale = ib.placeOrder(option(667, "C"), ib_async.LimitOrder("SELL", 1, 0.65, tif="DAY", orderRef="sale"))
            await ib.until(lambda: side.isDone() and single.isDone() and sale.isDone())
            assert [trade.fills[-1].execution.price for trade in (single, sale)] == [1.07, 0.65]
            assert {p.contract.conId: p.position for p in ib.positions()} == {con_id(653, "P"): 1, con_id(667, "C"): -1}

    asyncio.run(life())


def test_the_account_the_clock_and_the_days_bar(tws):
    tws.floor.market.bars[XSP] = []

    async def life():
        async with connected(tws.port) as ib:
            summary = {row.tag: row.value for row in await ib.accountSummaryAsync()}
            assert summary["NetLiquidation"] == "100000.00"
            assert (await ib.reqCurrentTimeAsync()).timestamp() == StillClock().now()
            index = ib_async.Contract(conId=XSP, secType="IND", symbol="XSP", exchange="CBOE")
            await ib.reqHistoricalDataAsync(index, "", "1 D", "1 day", "TRADES", True)
            assert 162 in ib.codes
            tws.floor.market.bars[XSP] = [Bar(DAY, 660_000, 662_000, 658_000, 661_250)]
            (bar,) = await ib.reqHistoricalDataAsync(index, "", "1 D", "1 day", "TRADES", True)
            assert (bar.date, bar.close) == (DAY, 661.25)

    asyncio.run(life())


@pytest.mark.parametrize(
    ("contract", "order", "code"),
    [
        (bag(), limit(-0.765), 110),
        (bag(((655, "P", "SELL"), (100, "P", "BUY"))), limit(-0.5), 200),
        (bag(), ib_async.Order(action="BUY", totalQuantity=1, orderType="STP", auxPrice=1.0, tif="DAY"), 387),
        (bag(), limit(-0.76, account="DU0"), 321),
    ],
)
def test_what_tws_would_refuse_is_refused(tws, contract, order, code):
    async def life():
        async with connected(tws.port) as ib:
            ib.placeOrder(contract, order)
            await ib.until(lambda: code in ib.codes)
            assert list(tws.floor.live_orders()) == []
            assert tws.positions() == {}

    asyncio.run(life())


def test_a_line_is_told_only_what_changed_and_more_than_a_hundred_are_refused(tws):
    tws.floor.lines_allowed = 3

    async def life():
        async with connected(tws.port) as ib:
            tickers = [ib.reqMktData(option(k, "C")) for k in range(660, 664)]
            await ib.until(lambda: 101 in ib.codes)
            assert math.isnan(tickers[3].ask)
            tws.set_quote(con_id(660, "C"), Quote(1900, 1950, 5, 5))
            tws.nudge()
            await ib.until(lambda: tickers[0].ask == 1.95)
            for k in range(660, 663):
                ib.cancelMktData(option(k, "C"))
            await ib.reqCurrentTimeAsync()
            assert (tws.record.lines_open, tws.record.peak_lines) == (0, 3)
            assert any("line 4" in said for said in tws.record.misuses)

    asyncio.run(life())


def test_two_clients_each_have_their_own_orders(tws):
    async def life():
        async with connected(tws.port, 21) as ours, connected(tws.port, 5) as theirs:
            mine = ours.placeOrder(bag(), limit(-0.90, ref="mine"))
            yours = theirs.placeOrder(bag(), limit(-0.91, ref="yours"))
            await ours.until(lambda: mine.orderStatus.status == "Submitted")
            await theirs.until(lambda: yours.orderStatus.status == "Submitted")
            assert [trade.order.orderRef for trade in await ours.reqOpenOrdersAsync()] == ["mine"]
            assert sorted(trade.order.orderRef for trade in await ours.reqAllOpenOrdersAsync()) == ["mine", "yours"]
            tws.fill("yours")
            await theirs.until(yours.isDone)
            await ours.until(lambda: len(ours.positions()) == 4)  # the account is one
            assert await ours.reqExecutionsAsync() == []

    asyncio.run(life())


def test_an_id_that_was_used_before_is_a_duplicate_after_a_restart_too(tws):
    async def life():
        async with connected(tws.port) as ib:
            trade = ib.placeOrder(bag(), limit(-0.90))
            await ib.until(lambda: trade.orderStatus.status == "Submitted")
            used = trade.order.orderId
        async with connected(tws.port) as ib:
            assert ib.client.getReqId() > used
            ib.placeOrder(bag(), limit(-0.90, ref="again", orderId=used - 1))
            await ib.until(lambda: 103 in ib.codes)
            assert [order.ref for order in tws.floor.live_orders()] == ["IC-1-ENTRY-1"]

    asyncio.run(life())


def test_the_record_has_every_price_the_most_orders_at_once_and_the_rate(tws):
    async def life():
        async with connected(tws.port) as ib:
            first = ib.placeOrder(bag(), limit(-0.90))
            await ib.until(lambda: first.orderStatus.status == "Submitted")
            second = ib.placeOrder(bag(), limit(-0.88, ref="IC-1-ENTRY-2"))
            await ib.until(lambda: second.orderStatus.status == "Submitted")
            ib.cancelOrder(first.order)
            await ib.until(lambda: 202 in ib.codes)
            third = ib.placeOrder(bag(), limit(-0.86, ref="IC-1-ENTRY-3"))
            await ib.until(lambda: third.orderStatus.status == "Submitted")
            second.order.lmtPrice = -0.87
            ib.placeOrder(second.contract, second.order)
            await ib.until(
                lambda: "Modified" in [entry.message for entry in second.log] or statuses(second)[-1] == "Submitted"
            )
            await ib.reqCurrentTimeAsync()

    asyncio.run(life())
    record = tws.record
    assert record.limits("ENTRY") == [-900, -880, -860, -870]
    assert (record.peak_live("ENTRY"), record.peak_live("ENTRY-1")) == (2, 1)
    assert record.counts()["order"] == 4
    assert 4 <= record.peak_rate() <= len(record.messages)
    assert record.misuses == ["client 21 changed an order in place (IC-1-ENTRY-2)"]
    assert [event.kind for event in record.events if event.ref == "IC-1-ENTRY-1"] == ["order", "cancel", "cancelled"]


def test_more_than_fifty_messages_in_a_second_are_told_of(tws):
    async def life():
        async with connected(tws.port) as ib:
            ib.client.MaxRequests = 0
            for _ in range(45):
                ib.client.reqCurrentTime()
            await ib.reqCurrentTimeAsync()
            assert 100 not in ib.codes
            for _ in range(200):
                ib.client.reqCurrentTime()
            await ib.until(lambda: 100 in ib.codes)

    asyncio.run(life())
    assert tws.record.peak_rate() > 50


def test_an_unreadable_message_is_answered_and_the_session_goes_on(tws):
    async def life():
        async with connected(tws.port) as ib:
            ib.client.sendMsg("3\0" + "7\0" * 5)
            ib.client.sendMsg("9\0" + "8\0" + "x\0")
            ib.client.sendMsg("777\0")
            await ib.until(lambda: ib.codes.count(320) == 3)
            await ib.reqCurrentTimeAsync()

    asyncio.run(life())


def test_margin_is_the_worst_settlement_and_closing_gives_it_back(tws):
    async def life():
        async with connected(tws.port) as ib:
            naked = await ib.whatIfOrderAsync(bag(ENTRY[2:3]), limit(-1.0))
            assert float(naked.initMarginChange) > 100_000
            trade = ib.placeOrder(bag(), limit(-0.68))
            await ib.until(trade.isDone)
            closing = await ib.whatIfOrderAsync(bag(turned=True), limit(0.8))
            assert (closing.initMarginBefore, closing.initMarginChange) == ("200", "-200")

    asyncio.run(life())


def test_a_closed_market_takes_no_order(tws):
    tws.floor.market.closed = True

    async def life():
        async with connected(tws.port) as ib:
            trade = ib.placeOrder(bag(), limit(-0.68))
            await ib.until(lambda: 201 in ib.codes)
            assert not trade.fills

    asyncio.run(life())


def test_a_position_of_another_day_is_reported_by_name(tws):
    stranger = Instrument(77, "SPY", "OPT", "SMART", DAY, 600_000, "C", 100, "SPY", "SPY   261120C00600000")
    tws.floor.strange[77] = stranger
    tws.hold(77, 24)

    async def life():
        async with connected(tws.port) as ib:
            assert [(p.contract.localSymbol, p.position) for p in ib.positions()] == [("SPY   261120C00600000", 24.0)]

    asyncio.run(life())


def test_another_thread_waits_for_what_a_client_does_and_may_ask_the_venue_meanwhile(tws):
    async def story():
        async with connected(tws.port) as ib:
            waited = asyncio.get_running_loop().run_in_executor(
                None, lambda: tws.record.wait_for(lambda: len(tws.positions()) == 4 and tws.order("IC-1-ENTRY-1"), 3)
            )
            ib.placeOrder(bag(), limit(-0.68))
            assert (await waited).status == "Filled"
            with pytest.raises(TimeoutError, match="not seen within"):
                tws.record.wait_for(lambda: False, 0.01)

    asyncio.run(story())


def test_a_venue_that_is_closed_lets_its_clients_know(tws):
    async def life():
        ib = Client()
        await ib.connectAsync("127.0.0.1", tws.port, clientId=21, timeout=3)
        gone = asyncio.Event()
        ib.disconnectedEvent += gone.set
        tws.close()
        await asyncio.wait_for(gone.wait(), 3)

    asyncio.run(life())
