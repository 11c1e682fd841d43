"""Health and its reasons, metrics and the dead-man ping."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from dashboard.edge import Heartbeat
from dashboard.health import Health, health, readiness
from dashboard.view import View, look
from edges.inbox import Inbox
from events import ClockChecked, FeedRefused, HalfSecondPassed, PhoneChecked, StopRequested
from tests.dashboard.conftest import BenchClock, Site
from tests.kit.deskbench import Bench

Open = Callable[..., Site]


def seen(bench: Bench) -> View:
    return look(bench.desk, Inbox(), 0, bench.now)


def found(bench: Bench) -> Health:
    view = seen(bench)
    return health(view, bench.now, view.made_at)


def in_session() -> Bench:
    bench = Bench().ready()
    bench.bar()
    return bench


# --- health ------------------------------------------------------------------------------------------------------------


def test_all_is_well_in_mid_session_and_at_night() -> None:
    assert found(in_session()) == Health("ok")
    night = Bench(at="20:00:00").start()
    night.put(ClockChecked(at=night.now, skew_s=0.0, source="the market's time"))
    night.tick(600)
    assert found(night).status == "ok"


def test_before_the_desk_has_begun_it_is_starting() -> None:
    assert health(None, 0.0, 0.0).status == "starting"
    assert not readiness(seen(Bench()), 0.0, 0.0).is_well


def test_a_main_loop_that_does_not_turn_is_stuck() -> None:
    bench = in_session()
    view = seen(bench)
    assert health(view, bench.now, view.made_at + 6).status == "stuck"
    assert health(view, bench.now + 11, view.made_at).reason == "the desk cannot decide"


def test_silence_of_the_feed_is_stale_and_with_a_position_blind() -> None:
    bench = in_session()
    bench.tick(7)
    assert found(bench).status == "stale"
    held = Bench().bought()
    held.tick(20)
    assert found(held).status == "blind"
    assert not re.search(r"\d", found(held).reason)


def test_a_chain_that_does_not_come_is_stale() -> None:
    bench = in_session()
    for _ in range(62):
        bench.bar()
    assert found(bench) == Health("stale", "no chain of today's calls comes", found(bench).detail)


def test_a_feed_that_refuses_us_is_stale() -> None:
    bench = in_session()
    bench.put(FeedRefused(at=bench.now, feed="stocks", reason="unknown key"))
    assert found(bench).detail == "unknown key"


def test_a_disk_a_clock_or_a_phone_in_doubt_is_unable_to_exit() -> None:
    full = in_session()
    full.writes = False
    full.surge()
    assert (found(full).status, found(full).reason) == ("unable to exit", "the disk is in doubt")
    late = in_session()
    late.put(ClockChecked(at=late.now, skew_s=5.0, source="the market's time"))
    assert found(late).reason == "the clock is in doubt"
    mute = in_session()
    mute.put(PhoneChecked(at=mute.now, ok=False, reason="token refused"))
    assert found(mute).reason == "the phone is in doubt"


def test_a_sell_that_waits_for_the_phone_is_unable_to_exit() -> None:
    bench = Bench(at="10:30:00").bought()
    bench.phone = bench.fails()
    bench.quote(300, 310)
    assert bench.phase == "Flat"
    bench.tick(31)
    assert found(bench).reason == "a SELL waits for the phone"


def test_a_slow_disk_is_amber_and_still_well() -> None:
    bench = in_session()
    bench.writes = None
    bench.surge()
    bench.tick(3)
    slow = found(bench)
    assert (slow.status, slow.is_well) == ("amber", True)


def test_a_restart_is_asked_for_only_where_it_helps() -> None:
    """A platform that restarts by /ready must not do so because the feed is silent: that would close the position."""
    held = Bench().bought()
    held.tick(20)
    view = seen(held)
    assert not health(view, held.now, view.made_at).is_well
    assert readiness(view, held.now, view.made_at).is_well
    assert not readiness(view, held.now, view.made_at + 6).is_well
    held.put(StopRequested(at=held.now, reason="SIGTERM"))
    assert readiness(seen(held), held.now, seen(held).made_at).status == "stopping"


def test_health_over_the_wire_is_503_with_its_reason(site: Open) -> None:
    place = site(bench=Bench(HEALTH_PORT="0").ready())
    place.bench.tick(7)
    answer = place.show().get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "stale"
    assert answer.json()["detail"] == "for 8 s"
    assert place.get("/ready").status_code == 200


# --- metrics -----------------------------------------------------------------------------------------------------------


def test_the_metrics_say_what_the_desk_knows(site: Open) -> None:
    place = site(bench=Bench(HEALTH_PORT="0").bought())
    place.work.decided([HalfSecondPassed(at=1.0)] * 3, 0.002, 0.001, {"vwap": 0.001})
    families = {family.name: family for family in text_string_to_metric_families(place.get("/metrics").text)}
    one = {name: family.samples[0].value for name, family in families.items() if family.samples}
    assert one["desk_position_open"] == 1
    assert one["desk_position_entry_dollars"] == 0.51
    assert one["desk_healthy"] in (0.0, 1.0)
    assert {sample.labels["gate"] for sample in families["desk_gate_ok"].samples} == {*"1234567", "8+9"}
    assert families["desk_events"].samples[0].labels == {"kind": "HalfSecondPassed"}
    assert families["desk_events"].samples[0].value == 3
    assert "desk_alert_latency_seconds" in families


def test_every_series_of_the_grafana_dashboard_exists(site: Open) -> None:
    place = site(bench=Bench(HEALTH_PORT="0").bought())
    place.bench.quote(500, 510)
    place.work.decided([HalfSecondPassed(at=1.0)], 0.002, 0.001, {"vwap": 0.001})
    told = place.show().get("/metrics").text
    board = json.loads((Path(__file__).parents[2] / "dashboard" / "grafana.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            for name in re.findall(r"(?:desk|process)_\w+", target["expr"]):
                assert re.search(rf"^{name}[ {{]", told, re.MULTILINE), name


# --- the dead-man ping -------------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[tuple[str, list[float]]]:
    """Somebody who expects a ping."""
    heard: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(time.monotonic())
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/ping/secret-of-the-owner", heard
    server.shutdown()
    server.server_close()


def test_the_ping_goes_out_while_all_is_well_and_stops_when_progress_stops(listener: tuple[str, list[float]]) -> None:
    url, heard = listener
    bench = Bench(HEARTBEAT_URL=url).ready()
    bench.bar()
    views = [seen(bench)]
    pulse = Heartbeat(
        lambda event: None,
        bench.config,
        BenchClock(bench),
        lambda: replace(views[-1], made_at=time.monotonic()),
        every_s=0.05,
    )
    pulse.start()
    deadline = time.monotonic() + 5
    while len(heard) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(heard) >= 3
    bench.tick(7)
    views.append(seen(bench))
    time.sleep(0.2)
    before = len(heard)
    time.sleep(0.3)
    assert len(heard) == before
    pulse.stop()
    pulse.join(2)
    assert not pulse.is_alive
