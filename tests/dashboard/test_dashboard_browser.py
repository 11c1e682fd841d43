"""The page in a real browser, over the running worker on its scripted market, and over a desk on the bench.

Chromium is Debian's; nothing is downloaded. With SCREENSHOTS=folder pictures are taken.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from datetime import time as wall_time
from pathlib import Path

import pytest

from events import Bar, BarClosed, ClockChecked, FeedRefused, OperatorSpoke
from tests.dashboard.conftest import TOKEN, WITH_TOKEN, Lived, Site, on_monday
from tests.kit.deskbench import DAY, Bench
from tests.kit.worker import CONTRACT, Stage

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
PICTURES = os.environ.get("SCREENSHOTS")
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
Open = Callable[..., Site]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as engine:
        launched = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


class Visitor:
    """One visitor of the page. `complaints` is what the console said, `foreign` what was asked of anybody else."""

    def __init__(self, browser: object, base: str, size: dict[str, int] = DESKTOP, scheme: str = "dark") -> None:
        self.base = base
        self.context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[attr-defined]
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._watch)
        self.page.set_default_timeout(8000)

    def _hear(self, message: object) -> None:
        if message.type in ("error", "warning"):  # type: ignore[attr-defined]
            self.complaints.append(message.text)  # type: ignore[attr-defined]

    def _watch(self, request: object) -> None:
        if not request.url.startswith((self.base, "data:")):  # type: ignore[attr-defined]
            self.foreign.append(request.url)  # type: ignore[attr-defined]

    def enter(self) -> Visitor:
        self.page.goto(self.base)
        self.page.fill("#token", TOKEN)
        self.page.click("button[type=submit]")
        return self.filled()

    def look(self) -> Visitor:
        self.page.goto(self.base)
        return self.filled()

    def filled(self) -> Visitor:
        self.page.wait_for_selector("#gates tr.yes, #gates tr.no")
        return self

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def wait_for_text(self, selector: str, pattern: str, timeout_ms: int = 8000) -> None:
        self.page.wait_for_function(
            "([where, what]) => new RegExp(what).test(document.querySelector(where)?.innerText ?? '')",
            arg=[selector, pattern],
            timeout=timeout_ms,
        )

    def press_twice(self, command: str) -> None:
        button = self.page.locator(f"[data-command={command}]")
        button.click()
        self.wait_for_text(f"[data-command={command}]", "press again")
        button.click()

    def faults(self) -> list[str]:
        """What axe finds wrong: structure, names, contrast, keyboard."""
        found = self.page.evaluate(AXE + "; axe.run(document, {resultTypes: ['violations']})")
        return [f"{item['id']}: {node['html'][:120]}" for item in found["violations"] for node in item["nodes"]]

    def picture(self, name: str) -> None:
        if PICTURES:
            self.page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True)

    def leave(self) -> None:
        self.context.close()


@pytest.fixture
def visit(browser: object) -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def visitor(base: str, **options: object) -> Visitor:
        visitors.append(Visitor(browser, base, **options))  # type: ignore[arg-type]
        return visitors[-1]

    yield visitor
    for each in visitors:
        each.leave()


# --- over the running worker -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("stage"))
    yield made
    made.close()


def address(stage: Stage) -> str:
    """Where the worker says that its page is."""
    found = re.search(r"url=(http://\S+)/", stage.worker.wait_for_line("page are served url="))
    assert found is not None
    return found[1]


def free_port() -> int:
    with socket.socket() as any_one:
        any_one.bind(("127.0.0.1", 0))
        return int(any_one.getsockname()[1])


def test_a_trade_on_the_page_from_its_signal_to_its_sell_and_over_a_restart(
    stage: Stage, tmp_path: Path, visit: Callable[..., Visitor]
) -> None:
    stage.fresh(tmp_path, at=wall_time(10, 4, 50))
    settings = {**WITH_TOKEN, "HEALTH_PORT": str(free_port())}
    stage.start(**settings)
    owner = visit(address(stage)).enter()

    # the page fills
    owner.wait_for_text("#tracked tbody", r"IWM \d+C \d+ \w\w\w")
    assert owner.page.get_attribute("#tracked tbody td", "title") == CONTRACT
    owner.wait_for_text("#now", r"10:0\d:\d\d")
    owner.wait_for_text("#health", "all is well")
    assert owner.text("#mode") == "simulated"
    owner.page.wait_for_selector("#session canvas")
    assert owner.page.locator("#gates tbody tr").count() == 9
    assert owner.text("#why").startswith("No BUY: ")
    assert "is-hidden" not in owner.page.content()
    momentum_before = owner.page.locator("#gates tbody tr").nth(4).get_attribute("class")

    # the BUY appears within a second, the gates have changed
    stage.go(1.0)
    stage.wait_for("— BUY", timeout_s=60)
    bought = time.monotonic()
    owner.page.wait_for_selector("#position-card:not([hidden])", timeout=1000)
    assert time.monotonic() - bought < 1.0
    owner.wait_for_text("#why", "A position is open")
    owner.wait_for_text("#state-words", "Holding IWM")
    owner.page.wait_for_function("() => /^[+-]\\$\\d+\\.\\d\\d · IWM \\d+\\.\\d\\d$/.test(document.title)")
    owner.page.wait_for_selector("#option canvas")
    assert momentum_before == "no"
    assert owner.page.locator("#gates tbody tr").nth(4).get_attribute("class") == "yes"
    owner.wait_for_text("#alerts tbody", r"BUY \d+C [^\n]*delivered")
    owner.wait_for_text("#p-facts", r"mark\s+\$1\.005")
    owner.wait_for_text("#exits", r"stop loss\s+\$0\.8\d+\s+\$0\.1\d+ \(\d")
    owner.picture("page-holding-1440-dark")

    # the real fill, with two presses
    owner.page.fill("#fill", "1.04")
    owner.press_twice("took_it")
    owner.wait_for_text("#p-facts", r"your fill\s+\$1\.04")
    owner.wait_for_text("#exits", "of your fill")
    owner.wait_for_text("#notes tbody", "took it")

    # a slip of the finger is refused in words
    owner.page.fill("#fill", "104")
    owner.page.click("[data-command=took_it]")
    owner.wait_for_text("#said", "is not near")

    # sold by hand: the phone hears it, the page shows the trade and both results
    owner.press_twice("close_now")
    sell = stage.wait_for("— SELL")
    assert "Closed manually" in sell.text
    assert "👤 Your fills" in sell.text
    owner.page.wait_for_selector("#position-card", state="hidden")
    owner.wait_for_text("#trades tbody", r"IWM \d+C[\s\S]*Closed manually")
    owner.wait_for_text("#record", "lifetime")
    owner.wait_for_text("#option-words", r"→ .* by hand")
    owner.wait_for_text("#alerts tbody", r"SELL \d+C [^\n]*delivered[\s\S]*not yet")
    stage.stop()

    # seen on the phone
    stage.go(1.0)
    [receipt] = stage.market.push.receipts
    stage.market.push.acknowledge(receipt)
    owner.wait_for_text("#alerts tbody", r"10:\d\d:\d\d by ", timeout_ms=20_000)
    owner.wait_for_text("#latency", r"decision to seen\s+p50")

    # what it was really sold at: refused when a point is missing, then booked beside the assumed exit
    owner.page.fill("#sale", "110")
    owner.page.click("[data-command=sold_it]")
    owner.wait_for_text("#said", "is far from anything")
    owner.page.fill("#sale", "1.10")
    owner.press_twice("sold_it")
    owner.wait_for_text("#trades tbody", r"\+\$6\.00\s+\$1\.04 → \$1\.10")
    owner.wait_for_text("#record", r"your fills\s+\+\$6\.00 in 1")

    # the worker goes and comes back: the page says so, recovers by itself and knows what was
    stage.worker.signal()
    owner.page.wait_for_selector("#lost:not([hidden])")
    assert stage.worker.wait() == 0
    stage.start(**settings)
    owner.page.wait_for_selector("#lost", state="hidden", timeout=15_000)
    owner.wait_for_text("#trades tbody", r"Closed manually[\s\S]*\$1\.04 → \$1\.10")
    owner.wait_for_text("#notes tbody", "took it")

    assert not owner.foreign
    assert [line for line in owner.complaints if "409" not in line and "ERR_" not in line] == []


# --- over a desk on the bench ------------------------------------------------------------------------------------------


def traded(**settings: str) -> Bench:
    """Two trades behind it, and a position open."""
    bench = Bench(HEALTH_PORT="0", ENTRY_COOLDOWN_SECONDS="0", **settings).bought()
    for _ in range(2):
        bench.quote(600, 620)
        bench.tick(2)
        bench.quote(390, 410)
        bench.tick(1)
        bench.tick(60)
        bench.surge()
    assert bench.phase == "Holding"
    bench.quote(540, 550)
    return bench


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(("width", "size"), [(1440, DESKTOP), (390, PHONE)])
def test_it_can_be_read_at_either_width_in_either_light(
    site: Open, visit: Callable[..., Visitor], scheme: str, width: int, size: dict[str, int]
) -> None:
    place = site(bench=traded(**WITH_TOKEN))
    place.lines = [f"2026-11-20 10:3{number}:01.000 INFO    📊 Data feed active: IWM $220.50" for number in range(8)]
    guest = visit(place.base, size=size, scheme=scheme).enter()
    guest.page.wait_for_selector("#equity canvas")
    guest.page.click("summary")
    wide = guest.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "it has to be scrolled sideways"
    assert guest.faults() == []
    guest.picture(f"page-{width}-{scheme}")
    assert guest.complaints == []


@pytest.mark.parametrize("path", ["/", "/act"])
def test_the_small_pages_can_be_read_too(site: Open, visit: Callable[..., Visitor], path: str) -> None:
    guest = visit(site(**WITH_TOKEN).base, size=PHONE, scheme="light")
    guest.page.goto(guest.base + path)
    guest.page.wait_for_load_state("networkidle")
    assert guest.faults() == []


# --- a past day ---------------------------------------------------------------------------------------------------------


def at(guest: Visitor, second: int) -> None:
    """Move the slider, as a hand would."""
    guest.page.evaluate(
        """second => { const slider = document.getElementById('second'); slider.value = second;
             slider.dispatchEvent(new Event('input')); }""",
        second,
    )


def opened_past(guest: Visitor) -> Visitor:
    guest.page.wait_for_selector(f"#day-choice option[value='{DAY}']", state="attached")
    guest.page.select_option("#day-choice", str(DAY))
    guest.page.wait_for_selector("#past:not([hidden])", timeout=40_000)
    guest.wait_for_text("#why", "No BUY")
    return guest


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(("width", "size"), [(1440, DESKTOP), (390, PHONE)])
def test_a_past_day_can_be_read_second_by_second_and_is_never_taken_for_live(
    site: Open, visit: Callable[..., Visitor], data: Path, lived: Lived, scheme: str, width: int, size: dict[str, int]
) -> None:
    place = site(bench=on_monday(data, **WITH_TOKEN))
    guest = visit(place.base, size=size, scheme=scheme)
    guest.page.goto(place.base)
    guest.page.fill("#token", TOKEN)
    guest.page.click("button[type=submit]")
    guest.wait_for_text("#now", "08:00")
    opened_past(guest)
    assert guest.text("#past-banner") == "PAST, not live: Fri 20 Nov 2026"
    assert guest.page.title().startswith("PAST 2026-11-20")
    assert not guest.page.is_visible("#hands")
    assert not guest.page.is_visible("#mode")
    assert guest.text("#health").startswith("then: ")
    bought, sold = (int(trade_at) for trade in lived.desk.state.trades for trade_at in (trade.opened_at, trade.closed_at))
    at(guest, bought)
    guest.wait_for_text("#p-facts", r"entry\s+\$0\.51")
    guest.wait_for_text("#gates tbody", r"volume surge\s+2,\d50")
    guest.wait_for_text("#tracked tbody", "IWM 220C 20 Nov")
    guest.wait_for_text("#trades tbody", "none yet")
    guest.wait_for_text("#second-text", r"10:30:\d\d")
    guest.page.wait_for_selector("#session canvas")
    guest.page.wait_for_selector("#option canvas")
    guest.wait_for_text("#option-card .legend", r"bid\s+\$0\.490")
    wide = guest.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "it has to be scrolled sideways"
    assert guest.faults() == []
    at(guest, sold - 1)
    guest.wait_for_text("#option-card .legend", r"bid\s+\$0\.480")
    guest.picture(f"past-{width}-{scheme}")
    guest.page.click("#jumps button:nth-child(2)")
    guest.wait_for_text("#trades tbody", "Stop loss")
    guest.page.wait_for_selector("#position-card", state="hidden")
    assert int(guest.page.input_value("#second")) == sold
    guest.page.click("#back-live")
    guest.page.wait_for_selector("#past", state="hidden")
    guest.wait_for_text("#trades tbody", "none yet")
    guest.wait_for_text("#now", "08:00")
    assert guest.page.is_visible("#hands")
    assert guest.page.title().endswith("· IWM")
    assert guest.complaints == []
    assert not guest.foreign


def test_the_keyboard_moves_through_a_past_day_and_back_to_live(
    site: Open, visit: Callable[..., Visitor], data: Path, lived: Lived
) -> None:
    place = site(bench=on_monday(data))
    guest = visit(place.base)
    guest.page.goto(place.base)
    guest.page.wait_for_selector(f"#day-choice option[value='{DAY}']", state="attached")
    guest.page.focus("#day-choice")
    guest.page.keyboard.press("ArrowDown")
    guest.page.keyboard.press("Enter")
    guest.page.wait_for_selector("#past:not([hidden])", timeout=40_000)
    guest.page.wait_for_function("() => document.activeElement.id === 'second'")
    first = int(guest.page.input_value("#second"))
    for key, second in (("ArrowRight", first + 1), ("ArrowRight", first + 2), ("ArrowLeft", first + 1)):
        guest.page.keyboard.press(key)
        assert int(guest.page.input_value("#second")) == second
    guest.page.keyboard.press("End")
    guest.wait_for_text("#trades tbody", "Stop loss")
    assert guest.page.get_attribute("#second", "aria-valuetext") == f"{guest.text('#second-text')} New York"
    for _ in range(12):
        guest.page.keyboard.press("Shift+Tab")
        if guest.page.evaluate("document.activeElement.id") == "back-live":
            break
    guest.page.keyboard.press("Enter")
    guest.page.wait_for_selector("#past", state="hidden")
    assert guest.page.evaluate("document.activeElement.id") == "day-choice"
    assert guest.complaints == []


def test_what_happens_now_is_told_to_who_looks_at_another_day_and_nothing_of_it_is_mixed_in(
    site: Open, visit: Callable[..., Visitor], data: Path
) -> None:
    bench = on_monday(data)
    place = site(bench=bench)
    guest = visit(place.base)
    guest.page.goto(place.base)
    opened_past(guest)
    shown = guest.text("#now")
    place.show()
    guest.wait_for_text("#past-live", "Live now: unable to exit: the clock is in doubt.")
    bench.put(ClockChecked(at=bench.now, skew_s=0.0, source="the market's time"))
    place.show()
    guest.page.wait_for_function("() => document.getElementById('past-live').textContent === ''")
    bench.put(FeedRefused(at=bench.now, feed="stocks", reason="another process"))
    bench.now += 7200
    bench.tick(2)
    place.show()
    guest.wait_for_text("#past-live", "Live now: stale: the feed refuses us.")
    assert guest.text("#now") == shown
    place.close()
    guest.wait_for_text("#past-live", "the connection is lost", timeout_ms=15_000)
    assert not guest.page.is_visible("#lost")
    guest.page.click("#back-live")
    guest.page.wait_for_selector("#lost:not([hidden])")
    assert [line for line in guest.complaints if "ERR_" not in line] == []


def test_a_day_that_cannot_be_made_says_so_and_the_page_stays_live(
    site: Open, visit: Callable[..., Visitor], data: Path
) -> None:
    [file] = (data / "tape" / str(DAY)).iterdir()
    file.write_bytes(b"nothing")
    place = site(bench=on_monday(data))
    guest = visit(place.base)
    guest.page.goto(place.base)
    guest.page.wait_for_selector(f"#day-choice option[value='{DAY}']", state="attached")
    guest.page.select_option("#day-choice", str(DAY))
    guest.wait_for_text("#day-said", file.name, timeout_ms=40_000)
    assert guest.page.input_value("#day-choice") == ""
    assert not guest.page.is_visible("#past")


def test_nothing_moves_when_there_is_nothing_new(site: Open, visit: Callable[..., Visitor]) -> None:
    place = site(bench=traded())
    guest = visit(place.base).look()
    guest.page.wait_for_selector("#equity canvas")
    place.show()  # what is five seconds old says that the main loop hangs
    moved = guest.page.evaluate(
        """async () => {
             await new Promise((done) => setTimeout(done, 500));
             let count = 0;
             new MutationObserver((all) => (count += all.length)).observe(document.body,
               { subtree: true, childList: true, characterData: true, attributes: true });
             await new Promise((done) => setTimeout(done, 1500));
             return count;
           }"""
    )
    assert moved == 0


@pytest.mark.fault("W17")
def test_a_corrected_second_is_drawn_again_when_the_correction_comes(site: Open, visit: Callable[..., Visitor]) -> None:
    bench = traded()
    place = site(bench=bench)
    guest = visit(place.base).look()
    guest.page.wait_for_selector("#equity canvas")
    guest.page.wait_for_load_state("load")
    drawn = "document.querySelector('#session canvas').toDataURL()"
    guest.page.wait_for_function(f"() => {drawn}.length > 2000")
    before = guest.page.evaluate(drawn)
    second = int(bench.now) - 20
    with guest.page.expect_response(lambda answer: "/chart/" in answer.url) as asked:
        bench.put(BarClosed(at=bench.now, bar=Bar("IWM", second, 221.4, 221.4, 221.4, 221.4, 900.0, 221.4)))
        place.show()
    came = asked.value.json()
    assert asked.value.url == f"{place.base}/chart/{second}"
    assert (came["t"][0], came["close"][0], came["volume"][0]) == (second, 221.4, 900.0)
    guest.page.wait_for_function(f"before => {drawn} !== before", arg=before)
    assert guest.complaints == []


@pytest.mark.fault("S09")
def test_what_the_feed_says_is_shown_as_text_and_never_run(site: Open, visit: Callable[..., Visitor]) -> None:
    nasty = "<img src=x onerror='window.broken=1'><script>window.broken=1</script>"
    bench = traded()
    place = site(bench=bench)
    bench.put(FeedRefused(at=bench.now, feed="stocks", reason=nasty))
    bench.tick(1)
    place.lines = [nasty]
    place.show()
    guest = visit(place.base).look()
    guest.wait_for_text("#log", re.escape("<img src=x"))
    guest.wait_for_text("#health", re.escape("<img src=x"))
    assert guest.page.locator("img").count() == 0
    assert guest.page.evaluate("window.broken === undefined")
    assert guest.complaints == []


def test_the_keyboard_is_enough_to_stop_entries(site: Open, visit: Callable[..., Visitor]) -> None:
    place = site(**WITH_TOKEN)
    guest = visit(place.base)
    guest.page.goto(place.base)
    guest.page.keyboard.press("Tab")
    guest.page.keyboard.type(TOKEN)
    guest.page.keyboard.press("Enter")
    guest.filled()
    for _ in range(30):
        if guest.page.evaluate("document.activeElement?.dataset?.command") == "stop_entries":
            break
        guest.page.keyboard.press("Tab")
    guest.page.keyboard.press("Enter")
    guest.wait_for_text("[data-command=stop_entries]", "press again")
    guest.page.keyboard.press("Enter")
    guest.wait_for_text("#said", "Entries are stopped")
    assert place.words() == [("stop_entries", "page", None)]


@pytest.mark.fault("S21")
def test_without_a_token_the_page_reads_and_has_no_buttons(site: Open, visit: Callable[..., Visitor]) -> None:
    place = site(bench=traded())
    guest = visit(place.base).look()
    guest.wait_for_text("#hands-note", "DASHBOARD_TOKEN")
    assert guest.page.locator("[data-command]").count() == 0
    status = guest.page.evaluate(
        """async () => (await fetch('/act', { method: 'POST', headers: { 'Content-Type': 'application/json' },
             body: '{"command":"close_now","position":"20261120-3"}' })).status"""
    )
    assert status == 401
    assert not place.heard


def test_a_link_opens_on_the_phone_acts_and_leaves_no_word_in_the_address(site: Open, visit: Callable[..., Visitor]) -> None:
    import links

    place = site(bench=traded(**WITH_TOKEN))
    word = links.word(TOKEN, "20261120-3", int(place.bench.now) + 600)
    guest = visit(place.base, size=PHONE, scheme="light")
    guest.page.goto(f"{place.base}/act#{word}")
    guest.wait_for_text("#what", "IWM 220C 20 Nov")
    assert guest.page.url == f"{place.base}/act"
    assert guest.faults() == []
    guest.picture("link-390-light")
    guest.press_twice("skipped_it")
    guest.wait_for_text("#said", "Noted")
    assert place.words() == [("skipped_it", "link", None)]
    assert guest.complaints == []


def test_the_link_of_a_sell_takes_the_price_it_was_really_sold_at(site: Open, visit: Callable[..., Visitor]) -> None:
    import links

    place = site(bench=traded(**WITH_TOKEN))
    word = links.word(TOKEN, "20261120-2", int(place.bench.now) + 600)
    guest = visit(place.base, size=PHONE, scheme="light")
    guest.page.goto(f"{place.base}/act#{word}")
    guest.wait_for_text("#what", "is closed")
    assert guest.page.locator("[data-command=close_now]").count() == 0
    assert guest.faults() == []
    guest.page.fill("#sale", "0.42")
    guest.picture("link-sold-390-light")
    guest.press_twice("sold_it")
    guest.wait_for_text("#said", "you sold it at \\$0.42")
    assert place.words() == [("sold_it", "link", 420)]
    assert [event.trade_id for event in place.heard if isinstance(event, OperatorSpoke)] == ["20261120-2"]
    assert guest.complaints == []
