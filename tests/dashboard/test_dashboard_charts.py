"""The charts, the state line and what tells the owner, in a real browser: what he would miss."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import links
from events import Remembered
from tests.dashboard.conftest import MONDAY, TOKEN, WITH_TOKEN, Lived, Site
from tests.dashboard.test_dashboard_browser import CHROMIUM, PHONE, Visitor, browser, traded, visit
from tests.kit.deskbench import Bench

__all__ = ["browser", "visit"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]

Open = Callable[..., Site]
Visit = Callable[..., Visitor]
SIZES = [360, 390, 768, 1024, 1440, 1920]


def held(site: Open) -> Site:
    """A position that is followed second by second, up, and down again; two trades before it."""
    place = site(bench=traded(**WITH_TOKEN))
    for bid in (560, 600, 580, 550, 540):
        second(place, bid)
    return place


def second(place: Site, bid: int) -> None:
    place.bench.tick(1.0)
    place.bench.bar(place.bench.price + 0.01)
    place.bench.quote(bid, bid + 10)
    look(place)


def look(place: Site) -> None:
    place.show()
    assert place.edge.page is not None
    place.edge.page.look()


def sold(place: Site) -> None:
    place.bench.quote(390, 410)
    place.bench.tick(1)
    look(place)


def legend(guest: Visitor, box: str, pane: int = 0) -> str:
    return guest.text(f"{box} >> nth=0 >> .legend >> nth={pane}") if box != "#option" else guest.text("#option-card .legend")


def hover(guest: Visitor, part: float) -> None:
    """The pointer over the session's chart, at a part of its width."""
    guest.page.locator("#session").scroll_into_view_if_needed()
    box = guest.page.locator("#session").bounding_box()
    assert box is not None
    guest.page.mouse.move(box["x"] + 3, box["y"] + 60)
    guest.page.mouse.move(box["x"] + part * box["width"], box["y"] + 80)


def time_under(guest: Visitor) -> str:
    found = re.match(r"\d\d:\d\d:\d\d", legend(guest, "#session"))
    assert found is not None
    return found[0]


# --- the state line ----------------------------------------------------------------------------------------------------


def test_the_state_the_price_and_the_pnl_stand_above_all_and_in_the_tabs_title(site: Open, visit: Visit) -> None:
    place = held(site)
    guest = visit(place.base).enter()
    guest.wait_for_text("#state-words", "Holding IWM 220C 20 Nov")
    assert guest.text("#state-worth") == "+$3.00"
    assert guest.page.title() == f"+$3.00 · IWM {place.bench.price:.2f}"
    assert guest.text("#price-now") == f"{place.bench.price:.2f}"
    assert guest.text("#today") == "-$24.00"
    assert re.match(r"Nearest exit: .* at \$0\.\d+, \$0\.\d+", guest.text("#state-nearest"))
    place.bench.tick(14)
    look(place)
    guest.wait_for_text("#state-words", "BLIND since")
    assert guest.page.title().startswith("BLIND · IWM")
    assert guest.text("#state-worth") == guest.text("#state-nearest") == ""
    assert "if sold now" not in guest.text("#p-facts")
    guest.wait_for_text("#quote-age", r"quote 0:1\d old")
    for old in ("#p-facts", "#exits", "#gates", "#price-now"):
        assert "old" in str(guest.page.get_attribute(old, "class")), old
    for _ in range(2):
        second(place, 540)
    guest.wait_for_text("#state-words", "Holding")
    assert guest.text("#quote-age") == ""
    assert guest.complaints == []


def test_each_day_has_its_pnl_beside_the_lifetimes(site: Open, visit: Visit) -> None:
    guest = visit(held(site).base).enter()
    guest.page.click(".trades summary")
    guest.wait_for_text("#days tbody", r"Fri 20 Nov 2026\s+0W-2L\s+-\$24\.00")
    record = guest.text("#record")
    for words in ("wins/losses", "max drawdown", "expectancy"):
        assert words in record


def test_on_a_phone_what_is_held_comes_first_and_the_head_is_one_line(site: Open, visit: Visit) -> None:
    place = held(site)
    guest = visit(place.base, size=PHONE).enter()
    guest.page.wait_for_selector("#close button")
    tops = guest.page.evaluate(
        """() => ['#state-worth', '#state-nearest', '#close button', '#why', '#p-facts', '#gates', '#session']
             .map((what) => document.querySelector(what).getBoundingClientRect().top)"""
    )
    assert tops == sorted(tops)
    assert tops[2] < PHONE["height"] / 2
    assert guest.page.evaluate("document.querySelector('header').getBoundingClientRect().height") < 64
    before = tops[3:]
    for bid in (700, 1200, 690):
        second(place, bid)
        guest.wait_for_text("#p-facts", rf"mark\s+\${(bid + 5) / 1000:.3f}")
    after = guest.page.evaluate(
        """() => ['#why', '#p-facts', '#gates', '#session'].map((what) => document.querySelector(what).getBoundingClientRect().top)"""
    )
    assert after[:2] == before[:2], "it jumps as digits change"
    assert guest.complaints == []


@pytest.mark.parametrize("state", ["held", "blind", "after"])
def test_no_width_scrolls_sideways(site: Open, visit: Visit, state: str) -> None:
    place = held(site)
    if state == "blind":
        place.bench.tick(14)
        look(place)
    if state == "after":
        sold(place)
    guest = visit(place.base).enter()
    guest.page.wait_for_selector("#option canvas")
    for width in SIZES:
        guest.page.set_viewport_size({"width": width, "height": 900})
        wide = guest.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{state} at {width}: {wide}"


# --- the session's chart -----------------------------------------------------------------------------------------------


def test_the_pointer_reads_all_panels_at_once(site: Open, visit: Visit) -> None:
    place = held(site)
    guest = visit(place.base).enter()
    guest.page.wait_for_function("() => document.querySelectorAll('#session .legend b')[1]?.textContent")
    columns = guest.page.evaluate("async () => (await fetch('/chart')).json()")
    hover(guest, 0.5)
    guest.page.wait_for_function(
        "newest => document.querySelector('#session .legend b').textContent !== newest", arg=place_time(columns["t"][-1])
    )
    under = time_under(guest)
    index = next(index for index, at in enumerate(columns["t"]) if place_time(at) == under)
    assert f"IWM {columns['close'][index]:.2f}" in legend(guest, "#session").replace("\n", " ")
    assert f"{columns['volume'][index]:.0f}" in legend(guest, "#session", 1)
    assert f"SPY {columns['leader'][index]:.2f}" in legend(guest, "#session", 2).replace("\n", " ")
    assert "--" not in guest.text("#session")
    assert guest.complaints == []


def place_time(at: float) -> str:
    from utils import clock_text

    return clock_text(at)


def move_by(guest: Visitor, how: str) -> None:
    box = guest.page.locator("#session").bounding_box()
    assert box is not None
    hover(guest, 0.5)
    if how == "wheel":
        guest.page.mouse.wheel(0, -240)
        return
    guest.page.mouse.down()
    guest.page.mouse.move(box["x"] + 0.5 * box["width"] + 120, box["y"] + 90, steps=6)
    guest.page.mouse.up()


@pytest.mark.parametrize("how", ["wheel", "drag"])
def test_what_was_moved_stays_until_live_is_pressed(site: Open, visit: Visit, how: str) -> None:
    place = held(site)
    guest = visit(place.base).enter()
    guest.page.wait_for_function("() => document.querySelectorAll('#session .legend b')[1]?.textContent")
    assert guest.page.get_attribute("#session-live", "aria-pressed") == "true"
    hover(guest, 0.3)
    untouched = time_under(guest)
    move_by(guest, how)
    guest.page.wait_for_selector("#session-live[aria-pressed=false]")
    hover(guest, 0.3)
    moved = time_under(guest)
    assert moved != untouched
    for bid in (550, 560, 570):
        second(place, bid)
        guest.wait_for_text("#p-facts", rf"mark\s+\$0\.{bid + 5}")
    place.bench.put(bar_corrected(place.bench))
    with guest.page.expect_response(lambda answer: "/chart/" in answer.url):
        look(place)
    second(place, 580)
    guest.wait_for_text("#p-facts", r"mark\s+\$0\.585")
    hover(guest, 0.3)
    assert time_under(guest) == moved
    guest.page.click("#session-live")
    hover(guest, 0.3)
    assert time_under(guest) != moved
    assert guest.complaints == []


def bar_corrected(bench: Bench) -> Any:
    from events import Bar, BarClosed

    at = int(bench.now) - 4
    return BarClosed(at=bench.now, bar=Bar("IWM", at, 221.4, 221.4, 221.4, 221.4, 900.0, 221.4))


def test_two_fingers_zoom(site: Open, visit: Visit) -> None:
    place = held(site)
    guest = visit(place.base, size=PHONE).enter()
    guest.page.wait_for_function("() => document.querySelectorAll('#session .legend b')[1]?.textContent")
    guest.page.locator("#session").scroll_into_view_if_needed()
    box = guest.page.locator("#session").bounding_box()
    assert box is not None
    wire = guest.context.new_cdp_session(guest.page)
    middle, height = box["x"] + 150, box["y"] + 100

    def fingers(kind: str, apart: float) -> None:
        points = [{"x": middle - apart, "y": height, "id": 1}, {"x": middle + apart, "y": height, "id": 2}]
        wire.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else points})

    drawn = "document.querySelector('#session canvas').toDataURL()"
    before = guest.page.evaluate(drawn)
    fingers("touchStart", 30)
    for apart in (40, 60, 80, 100):
        fingers("touchMove", apart)
    fingers("touchEnd", 0)
    guest.page.wait_for_selector("#session-live[aria-pressed=false]")
    guest.page.wait_for_function(f"before => {drawn} !== before", arg=before)


# --- the option's chart ------------------------------------------------------------------------------------------------


def test_the_held_option_has_its_own_chart_and_after_the_exit_the_whole_trade(site: Open, visit: Visit) -> None:
    place = held(site)
    guest = visit(place.base).enter()
    guest.wait_for_text("#option-title", "IWM 220C 20 Nov")
    said = legend(guest, "#option").replace("\n", " ")
    for words in ("bid $0.540", "ask $0.550", "mark $0.545", "entry $0.510", "stop loss $0.433"):
        assert words in said, said
    peak = re.search(r"peak\s+\$([\d.]+)", guest.text("#p-facts"))
    assert peak is not None
    assert f"peak ${float(peak[1]):.3f}" in said
    levels = dict(re.findall(r"(hard giveback|VWAP giveback)[^$]*(\$0\.\d+)", guest.text("#exits")))
    for name, level in levels.items():
        assert f"{name} {level}" in said
    assert len(levels) == 2
    second(place, 620)
    guest.page.wait_for_function("() => document.querySelector('#option-card .legend').innerText.includes('0.625')")
    sold(place)
    guest.wait_for_text("#option-words", r"\$0\.51 → \$0\.39 · -\$12\.00 · Stop loss")
    assert "bid $0.390" in legend(guest, "#option").replace("\n", " ")
    assert guest.complaints == []


def test_one_click_on_a_trade_shows_it(site: Open, visit: Visit) -> None:
    bench = traded(**WITH_TOKEN)
    place = site(bench=bench)
    second(place, 560)
    sold(place)
    guest = visit(place.base).enter()
    guest.wait_for_text("#option-words", "Stop loss")
    guest.page.click("#option-close")
    guest.page.wait_for_selector("#option-card", state="hidden")
    guest.page.click("#trades tbody tr:first-child td:first-child")
    guest.wait_for_text("#option-words", r"\$0\.51 → \$0\.39")
    guest.page.wait_for_selector("#option canvas >> nth=0")
    guest.page.click("#trades tbody tr:last-child .link")
    guest.wait_for_text("#option-words", "has not seen the quotes of this trade")
    assert not guest.page.is_visible("#option")
    assert guest.complaints == []


def test_a_trade_of_an_earlier_day_is_shown_from_its_tape(site: Open, visit: Visit, data: Path, lived: Lived) -> None:
    remembered = Remembered(trades=lived.desk.state.trades)
    bench = Bench(remembered, day=MONDAY, at="08:00:00", HEALTH_PORT="0", DATA_DIR=str(data)).start()
    guest = visit(site(bench=bench).base)
    guest.page.goto(guest.base)
    guest.page.click("#trades tbody .link")
    guest.page.wait_for_selector("#option canvas", timeout=40_000)
    guest.wait_for_text("#option-words", r"\$0\.51 → .* · Stop loss")
    assert "bid $0.380" in legend(guest, "#option").replace("\n", " ")
    assert guest.complaints == []


# --- told by the browser -----------------------------------------------------------------------------------------------

COUNT_NOTES = """
    window.notes = 0;
    const start = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function (...given) { window.notes += 1; return start.apply(this, given); };
"""


def test_whoever_asked_hears_a_sound_and_sees_a_notification_of_a_buy_and_of_a_sell(site: Open, visit: Visit) -> None:
    bench = Bench(HEALTH_PORT="0", **WITH_TOKEN).ready()
    bench.bar()
    place = site(bench=bench)
    guest = visit(place.base)
    guest.context.grant_permissions(["notifications"], origin=place.base)
    guest.page.add_init_script(COUNT_NOTES)
    guest.enter()
    titles = "async () => (await (await navigator.serviceWorker.ready).getNotifications()).map((one) => one.title)"
    guest.page.evaluate("async () => { await navigator.serviceWorker.ready; }")
    bench.surge()
    look(place)
    guest.wait_for_text("#alerts tbody", "BUY")
    assert guest.page.evaluate("window.notes") == 0, "nobody asked for a sound"
    guest.page.click("#signals")
    guest.page.wait_for_selector("#signals[aria-pressed=true]")
    tried = guest.page.evaluate("window.notes")
    assert tried > 0, "the press lets one hear what it sounds like"
    bench.quote(560, 570)
    bench.quote(390, 410)
    bench.tick(1)
    look(place)
    guest.wait_for_text("#alerts tbody", "SELL")
    guest.page.wait_for_function("tried => window.notes > tried", arg=tried)
    for _ in range(50):
        if shown := guest.page.evaluate(titles):
            break
        guest.page.wait_for_timeout(50)
    assert len(shown) == 1
    assert "SELL" in shown[0]
    assert guest.complaints == []


def test_it_can_be_installed_to_the_home_screen(site: Open, visit: Visit) -> None:
    place = site(**WITH_TOKEN)
    guest = visit(place.base).enter()
    wire = guest.context.new_cdp_session(guest.page)
    faults = wire.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [fault["errorId"] for fault in faults if fault["errorId"] != "in-incognito"] == []
    manifest = json.loads(place.get("/desk.webmanifest").text)
    for icon in manifest["icons"]:
        assert place.get(icon["src"]).headers["Content-Type"] == icon["type"]


# --- links -------------------------------------------------------------------------------------------------------------


class Elsewhere:
    """Another site with links to the page; `localhost` and `127.0.0.1` are two sites to a browser."""

    def __init__(self, target: str) -> None:
        body = (
            f"<a id=home href='{target}/'>home</a> <a id=act href='{target}/act#x.1.y'>act</a>"
            f"<iframe id=frame src='{target}/act'></iframe>"
        ).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.base = f"http://localhost:{self.server.server_port}/"


@pytest.fixture
def elsewhere() -> Iterator[Callable[[str], Elsewhere]]:
    opened: list[Elsewhere] = []

    def opener(target: str) -> Elsewhere:
        opened.append(Elsewhere(target))
        return opened[-1]

    yield opener
    for each in opened:
        each.server.shutdown()
        each.server.server_close()


def test_a_link_that_was_followed_from_another_site_opens_the_page_and_whoever_is_known_is_known(
    site: Open, visit: Visit, elsewhere: Callable[[str], Elsewhere]
) -> None:
    place = site(**WITH_TOKEN)
    other = elsewhere(place.base)
    guest = visit(place.base)
    guest.page.goto(other.base)
    guest.page.click("#home")
    guest.page.wait_for_selector("#token")
    guest.page.goto(other.base)
    guest.page.click("#act")
    guest.wait_for_text("#what", "too old, or not one of ours")
    guest.enter()
    guest.page.goto(other.base)
    guest.page.click("#home")
    guest.filled()


def test_a_link_survives_a_reload_and_stops_entries_but_does_not_resume_them(site: Open, visit: Visit) -> None:
    place = site(bench=traded(**WITH_TOKEN))
    word = links.word(TOKEN, "20261120-3", int(place.bench.now) + 600)
    guest = visit(place.base, size=PHONE, scheme="light")
    guest.page.goto(f"{place.base}/act#{word}")
    guest.wait_for_text("#what", "IWM 220C")
    guest.page.reload()
    guest.wait_for_text("#what", "IWM 220C")
    guest.press_twice("stop_entries")
    guest.wait_for_text("#said", "Entries are stopped")
    assert place.words() == [("stop_entries", "link", None)]
    place.bench.put(*place.heard)
    place.show()
    guest.wait_for_text("#hands", "resumed on the page")
    assert guest.page.locator("[data-command=resume_entries]").count() == 0
    answer = place.post("/act", {"command": "resume_entries"}, Authorization=f"Link {word}")
    assert answer.status_code == 409
    assert "does not resume" in answer.json()["says"]
    assert guest.complaints == []
