"""The REST side, held against feeds.md: envelopes, paging, errors, time."""

from datetime import date, time

import pytest
import requests

from simulator.http import Answer

CHAIN = "/v3/snapshot/options/IWM"
TODAY = "2026-11-20"


def test_the_default_chain_is_ten_rows_of_the_lowest_tickers_and_a_next_url_without_a_key(get):
    page = get(CHAIN).json()
    assert page["status"] == "OK"
    assert len(page["results"]) == 10
    tickers = [row["details"]["ticker"] for row in page["results"]]
    assert tickers == sorted(tickers)
    assert "cursor=" in page["next_url"]
    assert "apiKey" not in page["next_url"]


def test_following_next_url_gives_every_row_once_and_keeps_the_filters(get, sim):
    sim.rest.pages_of = 30
    whole, url, pages = [], CHAIN, 0
    params = {"expiration_date": TODAY, "contract_type": "call", "limit": 250}
    while url:
        page = get(url, **params).json()
        whole += [row["details"]["ticker"] for row in page["results"]]
        url, params, pages = page.get("next_url"), {}, pages + 1
    assert pages == 3
    assert len(whole) == len(set(whole)) == 81
    assert all("261120C" in ticker for ticker in whole)


def test_one_page_of_250_holds_todays_calls(get):
    page = get(CHAIN, expiration_date=TODAY, contract_type="call", limit=250).json()
    assert len(page["results"]) == 81
    assert "next_url" not in page


def test_strike_windows_sorting_and_order_are_obeyed(get):
    asked = {"expiration_date": TODAY, "contract_type": "put", "strike_price.gte": 244, "strike_price.lt": 248, "limit": 250}
    page = get(CHAIN, sort="strike_price", order="desc", **asked).json()
    strikes = [row["details"]["strike_price"] for row in page["results"]]
    assert strikes == sorted(strikes, reverse=True)
    assert strikes
    assert all(244 <= strike < 248 for strike in strikes)


def test_a_single_contract_is_an_object_of_the_same_shape(get):
    rows = get(CHAIN, expiration_date=TODAY, contract_type="call", limit=250).json()["results"]
    row = next(row for row in rows if row["greeks"])
    one = get(f"{CHAIN}/{row['details']['ticker']}").json()
    assert one["results"] == row


def test_an_unknown_contract_is_404_and_yesterdays_is_gone(get):
    for ticker in ("O:IWM261120C00999000", "O:IWM261119C00240000", "O:IWMgarbage"):
        answer = get(f"{CHAIN}/{ticker}")
        assert answer.status_code == 404
        assert answer.json()["status"] == "NOT_FOUND"


def test_a_day_without_expiry_lists_the_next_ones_only(get, sim):
    sim.market.without_expiry.add(date(2026, 11, 20))
    assert get(CHAIN, expiration_date=TODAY).json()["results"] == []
    assert get(CHAIN).json()["results"][0]["details"]["expiration_date"] == "2026-11-23"


def test_a_missing_key_is_401_and_a_plan_without_snapshots_403(get, sim):
    assert requests.get(sim.rest.url + CHAIN, timeout=5).status_code == 401
    assert requests.get(sim.rest.url + CHAIN, params={"apiKey": "k"}, timeout=5).status_code == 200
    sim.rest.keys = {"another"}
    body = get(CHAIN)
    assert (body.status_code, body.json()["status"], body.json()["error"]) == (401, "ERROR", "Unknown API Key")
    sim.rest.keys = set()
    sim.rest.plan = False
    body = get(CHAIN)
    assert body.status_code == 403
    assert body.json()["status"] == "NOT_AUTHORIZED"
    assert body.json()["message"].startswith("You are not entitled to this data.")


def test_the_sixth_request_of_a_minute_on_a_basic_plan_is_429(get, sim):
    sim.rest.per_minute = 5
    codes = [get("/v1/marketstatus/now").status_code for _ in range(6)]
    assert codes == [200] * 5 + [429]
    sim.set_clock(at=time(10, 30, 30))
    assert get("/v1/marketstatus/now").status_code == 200


def test_second_bars_of_the_last_half_hour_are_those_the_feed_has_told(get, sim):
    now = sim.clock.now()
    body = get(f"/v2/aggs/ticker/IWM/range/1/second/{int((now - 1800) * 1000)}/{int(now * 1000)}", limit=50000).json()
    assert body["resultsCount"] == len(body["results"]) > 1200
    assert set(body["results"][0]) == {"o", "h", "l", "c", "v", "t", "vw", "n"}
    known = sim.market.known("IWM", date(2026, 11, 20))
    assert [row["t"] // 1000 for row in body["results"]] == known.start[known.start >= now - 1800].tolist()
    assert body["results"][-1]["t"] / 1000 <= now - 3, "a second is published two seconds after its end"


def test_minute_bars_of_ten_full_sessions_can_be_had_by_dates(get):
    body = get("/v2/aggs/ticker/IWM/range/1/minute/2026-11-05/2026-11-19", limit=50000).json()
    assert body["resultsCount"] == 11 * 390
    assert [row["t"] for row in body["results"]] == sorted(row["t"] for row in body["results"])


def test_aggregates_are_paged_by_limit_in_both_directions(get):
    path = "/v2/aggs/ticker/SPY/range/1/minute/2026-11-18/2026-11-19"
    whole = [row["t"] for row in get(path, limit=50000).json()["results"]]
    for sort, expected in (("asc", whole), ("desc", whole[::-1])):
        found, url, params = [], path, {"limit": 300, "sort": sort}
        while url:
            page = get(url, **params).json()
            found += [row["t"] for row in page["results"]]
            url, params = page.get("next_url"), {}
        assert found == expected


def test_results_are_absent_where_nothing_matched(get):
    body = get("/v2/aggs/ticker/IWM/range/1/minute/2026-11-14/2026-11-15").json()
    assert "results" not in body
    assert body["resultsCount"] == 0
    assert "results" not in get("/v2/aggs/ticker/ZZZZ/range/1/day/2026-11-18/2026-11-19").json()


def test_the_day_bar_ends_at_the_last_second_of_the_session(get, sim):
    row = get("/v2/aggs/ticker/IWM/range/1/day/2026-11-19/2026-11-19").json()["results"][0]
    assert row["c"] == sim.market.known("IWM", date(2026, 11, 19)).close[-1]


@pytest.mark.parametrize(
    ("at", "word", "early", "after"),
    [
        (time(10, 29), "open", False, False),
        (time(8, 0), "extended-hours", True, False),
        (time(16, 0), "extended-hours", False, True),
        (time(21, 0), "closed", False, False),
    ],
)
def test_market_status_is_of_the_markets_clock(get, sim, at, word, early, after):
    sim.set_clock(at=at)
    status = get("/v1/marketstatus/now").json()
    assert (status["market"], status["earlyHours"], status["afterHours"]) == (word, early, after)
    assert status["exchanges"] == {"nasdaq": word, "nyse": word, "otc": word}
    assert status["serverTime"] == f"2026-11-20T{at:%H:%M:%S}-05:00"


def test_upcoming_closures_are_a_bare_array_with_utc_times_and_a_row_an_exchange(get):
    rows = get("/v1/marketstatus/upcoming").json()
    half = {
        "date": "2026-11-27",
        "status": "early-close",
        "open": "2026-11-27T14:30:00.000Z",
        "close": "2026-11-27T18:00:00.000Z",
    }
    found = [row for row in rows if row["date"] == "2026-11-27"]
    assert sorted(row["exchange"] for row in found) == ["NASDAQ", "NYSE", "OTC"]
    assert all(half.items() <= row.items() for row in found)
    assert [row["status"] for row in rows if row["date"] == "2026-11-26"] == ["closed"] * 3
    assert {row["date"] for row in rows} >= {"2026-11-26", "2026-11-27", "2026-12-24", "2026-12-25"}


def test_a_delayed_market_says_so(get, sim):
    sim.market.lag_s = 900.0
    body = get(CHAIN, expiration_date=TODAY, contract_type="call", limit=1).json()
    assert body["status"] == "DELAYED"
    quote = body["results"][0]["last_quote"]
    assert quote["timeframe"] == "DELAYED"
    assert quote["last_updated"] / 1e9 < sim.clock.now() - 899


def test_a_forced_quote_is_what_the_snapshot_says(get, sim):
    ticker = "O:IWM261120C00246000"
    sim.force_quote(ticker, 0.5, 0.52, bid_size=7, ask_size=9)
    quote = get(f"{CHAIN}/{ticker}").json()["results"]["last_quote"]
    assert (quote["bid"], quote["ask"], quote["bid_size"], quote["ask_size"]) == (0.5, 0.52, 7, 9)
    sim.market.free_quote(ticker)
    assert get(f"{CHAIN}/{ticker}").json()["results"]["last_quote"]["bid"] != 0.5


def test_gzip_is_used_where_it_is_asked_for(get, sim):
    url = sim.rest.url + CHAIN + "?limit=100"
    head = {"Authorization": "Bearer k"}
    assert requests.get(url, headers={**head, "Accept-Encoding": "gzip"}, timeout=5).headers["Content-Encoding"] == "gzip"
    plain = requests.get(url, headers={**head, "Accept-Encoding": "identity"}, timeout=5)
    assert "Content-Encoding" not in plain.headers


def test_scripted_answers_come_first_and_the_normal_ones_after(get, sim):
    sim.rest.script("/v1/marketstatus", Answer(503, {"status": "ERROR"}), Answer(429, b"", {"Retry-After": "3"}))
    codes = [get("/v1/marketstatus/now").status_code for _ in range(3)]
    assert codes == [503, 429, 200]
    assert [request.path for request in sim.rest.requests] == ["/v1/marketstatus/now"] * 3


def test_an_answer_can_be_cut_dripped_held_or_raw(get, sim):
    sim.rest.script("/v1", Answer(cut_after=20))
    with pytest.raises(requests.RequestException):
        get("/v1/marketstatus/now")
    sim.rest.script("/v1", Answer(byte_every_s=0.0001))
    assert get("/v1/marketstatus/now").status_code == 200
    sim.rest.script("/v1", Answer(raw=b"this is no HTTP\r\n\r\n"))
    with pytest.raises(requests.RequestException):
        get("/v1/marketstatus/now")
    sim.rest.script("/v1", Answer(hang=True))
    with pytest.raises(requests.Timeout):
        requests.get(sim.rest.url + "/v1/marketstatus/now", headers={"Authorization": "Bearer k"}, timeout=0.2)


def test_a_server_that_is_down_refuses_connections_and_comes_back_on_its_port(get, sim):
    sim.rest.down()
    with pytest.raises(requests.ConnectionError):
        requests.get(sim.rest.url, timeout=2)
    sim.rest.up()
    assert get("/v1/marketstatus/now").status_code == 200


def test_what_is_wrong_with_a_request_is_a_400(get):
    for bad in ({"limit": 251}, {"limit": 0}, {"sort": "delta"}, {"contract_type": "other"}, {"cursor": "%%%"}):
        assert get(CHAIN, **bad).status_code == 400
    assert get("/v2/aggs/ticker/IWM/range/1/fortnight/2026-11-18/2026-11-19").status_code == 400


def test_past_quotes_are_the_newest_first_and_page_without_a_key(get, sim):
    yesterday = next(ticker for ticker in sim.market.chain(date(2026, 11, 19)).tickers[0] if ticker.endswith("C00240000"))
    page = get(f"/v3/quotes/{yesterday}").json()
    stamps = [row["sip_timestamp"] for row in page["results"]]
    assert len(stamps) == 1000
    assert stamps == sorted(stamps, reverse=True)
    assert set(page["results"][0]) == {
        "ask_exchange", "ask_price", "ask_size", "bid_exchange", "bid_price", "bid_size", "sequence_number", "sip_timestamp",
    }  # fmt: skip
    assert "cursor=" in page["next_url"]
    assert "apiKey" not in page["next_url"]
    following = get(page["next_url"]).json()["results"]
    assert following[0]["sip_timestamp"] < stamps[-1]


def test_past_quotes_of_a_stretch_are_the_chain_of_that_time(get, sim):
    session = sim.market.calendar.on(date(2026, 11, 19))
    chain = sim.market.chain(session.date)
    at = session.open_at + 3600
    between = {"timestamp.gte": at * 10**9, "timestamp.lt": (at + 60) * 10**9, "order": "asc"}
    rows = get("/v3/quotes/O:IWM261119C00240000", **between).json()["results"]
    assert 10 < len(rows) <= 60
    for row in rows:
        second = row["sip_timestamp"] // 10**9
        assert at <= second < at + 60
        true = chain.quotes(second, sim.market.spot(second), 240_000)
        assert (row["bid_price"], row["ask_price"]) == (true.bid / 1000, true.ask / 1000)
        assert (row["bid_size"], row["ask_size"]) == (true.bid_size, true.ask_size)
    whole = get("/v3/quotes/O:IWM261119C00240000", timestamp="2026-11-19", limit=50_000).json()
    assert "next_url" not in whole
    assert whole["results"][-1]["sip_timestamp"] == session.open_at * 10**9


def test_past_quotes_need_the_plan_and_an_unknown_contract_has_none(get, sim):
    assert get("/v3/quotes/O:IWM261119C00999000").json()["results"] == []
    assert get("/v3/quotes/O:IWM261119C00240000", limit=50_001).status_code == 400
    sim.rest.plan = False
    refused = get("/v3/quotes/O:IWM261119C00240000")
    assert (refused.status_code, refused.json()["status"]) == (403, "NOT_AUTHORIZED")


def test_an_options_minutes_sum_to_what_it_traded_that_day(get, sim):
    session = sim.market.calendar.on(date(2026, 11, 19))
    chain = sim.market.chain(session.date)
    path = "/v2/aggs/ticker/O:IWM261119C00240000/range/1/minute/2026-11-19/2026-11-19"
    bars = get(path, limit=50_000).json()["results"]
    strike = chain.strikes[chain.strikes == 240_000]
    assert sum(bar["v"] for bar in bars) == chain.day_volume(strike, session.close_at, False)[0]
    assert all(session.open_at * 1000 <= bar["t"] < session.close_at * 1000 for bar in bars)
