"""Who may ask, see and do what, over the wire: names, origins, tokens, cookies, second presses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

import links
from config import Config, ConfigError
from dashboard import routes
from dashboard.guard import PROMISE_S, SESSION_S, Guard
from events import OperatorSpoke
from tests.dashboard.conftest import TOKEN, WITH_TOKEN, Site
from tests.kit.deskbench import KEYS, Bench

Open = Callable[..., Site]
ROUTES = (
    "/",
    "/health",
    "/ready",
    "/metrics",
    "/events",
    "/chart",
    "/me",
    "/link",
    "/act",
    "/login",
    "/page.js",
    "/nowhere",
    "/page.css",
)
PUBLIC = {**WITH_TOKEN, "PUBLIC_URL": "https://desk.example.org", "HTTP_HOST": "127.0.0.1"}


def holding(**settings: str) -> Bench:
    return Bench(HEALTH_PORT="0", **settings).bought()


# --- names and origins -------------------------------------------------------------------------------------------------


@pytest.mark.fault("S06")
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "localhost", "localhost:1", "127.0.0.1.evil.example:{port}", "10.0.0.7:{port}",
     "localhost:{port}@evil", "user@localhost:{port}", "localhost:{port}/x", "[::1", "", "LOCALHOST.:{port}"],
)  # fmt: skip
def test_a_foreign_name_is_misdirected_on_every_route(site: Open, host: str) -> None:
    place = site()
    for path in ("/", "/metrics", "/events"):
        assert place.get(path, Host=host.format(port=place.port)).status_code in (400, 421), (path, host)


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LocalHost:{port}"])
def test_our_own_names_are_answered(site: Open, host: str) -> None:
    place = site()
    assert place.get("/page.css", Host=host.format(port=place.port)).status_code == 200


def test_the_public_name_is_ours_too_whatever_stands_before_it(site: Open) -> None:
    place = site(**PUBLIC)
    assert place.get("/page.css", Host="desk.example.org").status_code == 200
    assert place.get("/page.css", Host="desk.example.org.evil.example").status_code == 421


def test_listening_on_all_addresses_takes_addresses_and_no_names() -> None:
    guard = Guard(Config.from_env({**KEYS, **WITH_TOKEN, "HTTP_HOST": "0.0.0.0"}), 8080)
    assert guard.is_ours("192.168.1.7:8080")
    assert guard.is_ours("[fd00::7]:8080")
    assert not guard.is_ours("evil.example:8080")
    assert not guard.is_ours("192.168.1.7:80")


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_a_prober_may_call_us_what_it_likes_and_gets_no_number_without_a_token(site: Open, path: str) -> None:
    bench = holding()
    bench.tick(12)
    assert bench.desk.state.blind_since is not None
    place = site(bench=bench)
    foreign = place.get(path, Host="internal-check.example:8080")
    assert foreign.status_code == place.get(path).status_code
    assert "detail" not in foreign.json()
    assert "detail" in place.get(path).json()
    guarded = site(**WITH_TOKEN)
    assert "detail" not in guarded.get(path, Host="internal-check.example").json()
    assert "detail" in guarded.get(path, Host="internal-check.example", Authorization=f"Bearer {TOKEN}").json()


def test_a_refused_name_is_logged_once_with_the_setting_that_would_allow_it(
    site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(routes.log, "warning", lambda text, **fields: said.append((text, fields["host"])))
    place = site()
    for _ in range(3):
        assert place.get("/", Host="desk.example.org").status_code == 421
    assert place.get("/events", Host="x" * 300).status_code == 421
    assert [host for _, host in said] == ["desk.example.org", "x" * 100]
    assert "PUBLIC_URL" in said[0][0]
    for number in range(100):
        place.get("/", Host=f"{number}.example")
    assert len(said) <= 20


VISIT = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def visited(place: Site, path: str, **other: str) -> requests.Response:
    return requests.get(
        place.base + path, headers=VISIT | {name.replace("_", "-"): value for name, value in other.items()}, timeout=5
    )


@pytest.mark.fault("S15")
def test_a_link_that_was_followed_opens_a_public_page_and_nothing_else(site: Open) -> None:
    place = site(**WITH_TOKEN)
    assert "act.js" in visited(place, "/act").text
    again = visited(place, "/")
    assert (again.status_code, again.text, again.headers["Refresh"]) == (200, "", "0; url=/")
    for path in ("/events", "/chart", "/me", "/metrics", "/link", "/days", "/page.css"):
        assert visited(place, path).status_code == 403, path
    for other in (
        {"Sec_Fetch_Dest": "iframe"},
        {"Sec_Fetch_Mode": "cors"},
        {"Sec_Fetch_Dest": "script"},
        {"Origin": "https://evil.example"},
    ):
        assert visited(place, "/act", **other).status_code == 403, other
    posted = requests.post(place.base + "/act", data="{}", headers={**VISIT, "Content-Type": "application/json"}, timeout=5)
    assert posted.status_code == 403
    assert not place.heard


@pytest.mark.fault("S15")
@pytest.mark.parametrize("path", ["/events", "/chart", "/me", "/metrics"])
def test_another_sites_page_reads_nothing(site: Open, path: str) -> None:
    place = site()
    assert place.get(path, Origin="https://evil.example").status_code == 403
    assert place.get(path, Sec_Fetch_Site="cross-site").status_code == 403
    assert place.get(path, Sec_Fetch_Site="same-site").status_code == 403


@pytest.mark.fault("S07", "S21")
@pytest.mark.parametrize(
    "forged",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_a_forged_form_does_nothing_even_with_the_owners_cookie(site: Open, forged: dict[str, str]) -> None:
    place = site(**WITH_TOKEN)
    cookie = logged_in(place)
    own = {} if "Origin" in forged or not forged else {"Origin": place.base}
    answer = requests.post(
        place.base + "/act",
        data='{"command": "stop_entries"}',
        headers={"Content-Type": "application/json", "Cookie": cookie, **own, **forged},
        timeout=5,
    )
    assert answer.status_code in (401, 403, 415)
    assert not place.heard


@pytest.mark.fault("S07")
@pytest.mark.parametrize("path", ["/act", "/login"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_a_post_does_something(site: Open, path: str, method: str) -> None:
    place = site(**WITH_TOKEN)
    answer = requests.request(
        method,
        place.base + path,
        data='{"command": "stop_entries"}',
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=5,
    )
    assert answer.status_code in (200, 404, 405)
    assert not place.heard


# --- tokens ------------------------------------------------------------------------------------------------------------


def logged_in(place: Site) -> str:
    answer = place.post("/login", {"token": TOKEN}, Origin=place.base)
    assert answer.status_code == 204
    return answer.headers["Set-Cookie"].partition(";")[0]


@pytest.mark.fault("S11", "S21")
def test_without_the_token_a_stranger_learns_a_reason_and_no_number(site: Open) -> None:
    place = site(bench=holding(**WITH_TOKEN))
    for path in ("/metrics", "/events", "/chart", "/me", "/page.js", "/index.html"):
        assert place.get(path).status_code in (401, 404), path
    told = place.get("/health").json()
    assert set(told) == {"status", "reason"}
    assert not re.search(r"\d", told["reason"])
    assert "Token" in place.get("/").text
    assert place.get("/health", Authorization=f"Bearer {TOKEN}").json().keys() == {"status", "reason", "detail"}


@pytest.mark.fault("S11")
@pytest.mark.parametrize(("host", "token", "starts"), [
    ("127.0.0.1", "", True), ("localhost", "", True), ("0.0.0.0", "", False), ("192.168.1.7", "", False), ("0.0.0.0", TOKEN, True),
])  # fmt: skip
def test_listening_elsewhere_than_on_loopback_needs_the_token(host: str, token: str, starts: bool) -> None:
    settings = {**KEYS, "HTTP_HOST": host, "DASHBOARD_TOKEN": token}
    if starts:
        Config.from_env(settings)
    else:
        with pytest.raises(ConfigError, match="needs DASHBOARD_TOKEN"):
            Config.from_env(settings)


@pytest.mark.fault("S13")
def test_the_token_is_taken_from_a_header_and_never_from_the_address(site: Open) -> None:
    place = site(**WITH_TOKEN)
    assert place.get(f"/metrics?token={TOKEN}").status_code == 401
    assert place.get("/metrics", Authorization=f"Bearer {TOKEN}").status_code == 200
    assert place.get("/metrics", Authorization=f"Bearer {TOKEN}x").status_code == 401
    assert place.get("/metrics", Authorization="Bearer ").status_code == 401
    assert place.get("/metrics", Authorization="Bearer \xe9".encode("latin-1").decode("latin-1")).status_code == 401


def test_a_login_gives_a_cookie_that_scripts_and_other_sites_do_not_get(site: Open) -> None:
    place = site(**WITH_TOKEN)
    answer = place.post("/login", {"token": TOKEN}, Origin=place.base)
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert place.get("/me", Cookie=cookie.partition(";")[0]).status_code == 200
    assert place.post("/login", {"token": "x" * 24}, Origin=place.base).status_code == 401
    assert place.post("/login", ["x"], Origin=place.base).status_code == 400


def test_a_session_ends_after_twelve_hours_and_cannot_be_lengthened(site: Open) -> None:
    place = site(**WITH_TOKEN)
    cookie = logged_in(place)
    until = re.search(r"=(\d+)\.", cookie)
    assert until is not None
    longer = cookie.replace(until[1], str(int(until[1]) + 1))
    assert place.get("/me", Cookie=longer).status_code == 401
    place.bench.now += SESSION_S + 1
    assert place.get("/me", Cookie=cookie).status_code == 401


def test_behind_https_the_cookie_stays_there(site: Open) -> None:
    place = site(**PUBLIC)
    answer = place.post("/login", {"token": TOKEN}, Host="desk.example.org", Origin="https://desk.example.org")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert answer.headers["Strict-Transport-Security"]
    assert (
        place.post("/login", {"token": TOKEN}, Host="desk.example.org", Origin="http://desk.example.org").status_code == 403
    )


# --- what is sent ------------------------------------------------------------------------------------------------------


@pytest.mark.fault("S14")
@pytest.mark.parametrize("settings", [{}, WITH_TOKEN, {"DASHBOARD": "off"}], ids=["open", "with a token", "off"])
def test_every_answer_has_the_same_guarding_head(site: Open, settings: dict[str, str]) -> None:
    place = site(**settings)
    heads = []
    for path in ROUTES:
        with requests.get(place.base + path, stream=True, timeout=5) as answer:
            heads.append((path, answer.headers))
    heads.append(("a bad name", place.get("/", Host="evil.example").headers))
    raw = place.asked(b"NONSENSE\r\n\r\n").decode()
    heads.append(("nonsense", requests.structures.CaseInsensitiveDict(re.findall(r"([\w-]+): (.*)\r\n", raw))))
    for path, head in heads:
        policy = head["Content-Security-Policy"]
        for rule in (
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "object-src 'none'",
            "base-uri 'none'",
        ):
            assert rule in policy, path
        assert "unsafe" not in policy
        assert head["X-Content-Type-Options"] == "nosniff"
        assert head["Referrer-Policy"] == "no-referrer"
        assert head["Cache-Control"] == "no-store"
        assert "Server" not in head
        assert "Access-Control-Allow-Origin" not in head


@pytest.mark.fault("S08")
@pytest.mark.parametrize(
    "path",
    [b"/../config.py", b"/%2e%2e/config.py", b"/..%2fconfig.py", b"//etc/passwd", b"/static/../../config.py",
     b"/page.js%00.html", b"/....//page.py", b"/etc/passwd", b"/page.py", b"/server.py", b"\\..\\config.py",
     b"http://localhost/../config.py", b"/.env", b"/index.html/..", b"*"],
)  # fmt: skip
def test_no_address_leads_to_a_file_of_the_disk(site: Open, path: bytes) -> None:
    place = site()
    answer = place.asked(b"GET %b HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % (path, place.port))
    assert int(answer.split(b" ", 2)[1]) in (400, 404)
    assert b"import " not in answer


def test_with_the_dashboard_off_health_and_metrics_are_left(site: Open) -> None:
    place = site(DASHBOARD="off")
    assert place.get("/metrics").status_code == 200
    assert place.get("/health").status_code in (200, 503)
    for path in ("/", "/events", "/chart", "/act", "/page.js"):
        assert place.get(path).status_code == 404


@pytest.mark.fault("S04")
def test_no_answer_holds_a_secret(site: Open) -> None:
    place = site(bench=holding(**WITH_TOKEN, HEARTBEAT_URL="https://hc.example.org/ping/0123456789abcdef"))
    for path in ROUTES:
        with requests.get(place.base + path, headers={"Authorization": f"Bearer {TOKEN}"}, stream=True, timeout=5) as answer:
            body = answer.raw.read1(200_000).decode("utf-8", "replace")
        for secret in place.bench.config.secrets():
            assert secret not in body + str(answer.headers), path


# --- what may be done --------------------------------------------------------------------------------------------------


@pytest.mark.fault("S21")
def test_nothing_is_done_without_the_token_not_even_on_this_machine(site: Open) -> None:
    place = site(bench=holding())
    answer = place.post("/act", {"command": "close_now", "position": "20261120-1"}, Origin=place.base)
    assert answer.status_code == 401
    assert "DASHBOARD_TOKEN" in answer.json()["says"]
    assert not place.heard


@pytest.mark.fault("S21")
def test_an_action_needs_its_second_press_within_half_a_minute_for_exactly_that_and_once(site: Open) -> None:
    place = site(bench=holding(**WITH_TOKEN))
    first = place.act("took_it", position="20261120-1", price="0.52")
    assert first.status_code == 202
    assert "0.52" in first.json()["says"]
    assert not place.heard
    promise = first.json()["confirm"]
    for other in ({"price": "0.53"}, {"price": "0.52", "command": "skipped_it"}):
        asked: dict[str, Any] = {"command": "took_it", "position": "20261120-1", "confirm": promise} | other
        assert place.post("/act", asked, Authorization=f"Bearer {TOKEN}").status_code == 409
    assert place.act("took_it", position="20261120-1", price="0.52", confirm=promise).status_code == 200
    assert place.act("took_it", position="20261120-1", price="0.52", confirm=promise).status_code == 409
    assert place.words() == [("took_it", "token", 520)]
    assert [event.trade_id for event in place.heard if isinstance(event, OperatorSpoke)] == ["20261120-1"]
    late = place.act("skipped_it", position="20261120-1").json()["confirm"]
    place.bench.now += PROMISE_S + 1
    assert place.act("skipped_it", position="20261120-1", confirm=late).status_code == 409
    assert len(place.words()) == 1


def test_the_page_acts_with_its_cookie_and_its_own_word(site: Open) -> None:
    place = site(**WITH_TOKEN)
    cookie = logged_in(place)
    word = place.get("/me", Cookie=cookie).json()["word"]
    proof = {"Cookie": cookie, "Origin": place.base, "X_Desk": word}
    assert place.post("/act", {"command": "stop_entries"}, Cookie=cookie, Origin=place.base).status_code == 401
    assert (
        place.post("/act", {"command": "stop_entries"}, Cookie=cookie, Origin=place.base, X_Desk=word[:-1]).status_code
        == 401
    )
    promise = place.post("/act", {"command": "stop_entries"}, **proof).json()["confirm"]
    assert place.post("/act", {"command": "stop_entries", "confirm": promise}, **proof).status_code == 200
    assert place.words() == [("stop_entries", "page", None)]


@pytest.mark.parametrize("price", ["", "abc", "nan", "-1", "0", "1e9", "5.20", "Infinity", "1" * 400, "0,52"])
def test_a_price_that_cannot_be_right_is_asked_for_again(site: Open, price: str) -> None:
    place = site(bench=holding(**WITH_TOKEN))
    answer = place.act("took_it", position="20261120-1", price=price)
    assert answer.status_code == 409
    assert answer.json()["says"]


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"command": "buy"}', '{"command": "stop_entries", "more": 1}', "{" * 4000, '{"command": 5}', "\x00"],
)
def test_what_is_no_command_is_refused(site: Open, body: str) -> None:
    place = site(**WITH_TOKEN)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    assert requests.post(place.base + "/act", data=body.encode(), headers=headers, timeout=5).status_code == 400


def test_a_press_on_a_position_that_is_gone_says_so(site: Open) -> None:
    place = site(bench=holding(**WITH_TOKEN))
    assert "no longer" in place.act("close_now", position="20261120-9").json()["says"]
    empty = site(**WITH_TOKEN)
    assert empty.act("close_now", position="20261120-1").json()["says"] == "no position is open"


def test_a_link_from_an_alert_acts_on_its_trade_and_opens_nothing_else(site: Open) -> None:
    place = site(bench=holding(**PUBLIC))
    url = links.link(place.bench.config, "20261120-1", int(place.bench.now) + 900)
    assert url is not None
    word = url.partition("#")[2]
    proof = {"Authorization": f"Link {word}", "Origin": place.base, "Sec_Fetch_Site": "same-origin"}
    told = place.get("/link", **proof).json()
    assert told["position"]["contract"].startswith("O:IWM")
    asked = {"command": "close_now", "position": "20261120-1"}
    promise = place.post("/act", asked, **proof).json()["confirm"]
    assert place.post("/act", {**asked, "confirm": promise}, **proof).status_code == 200
    assert place.words() == [("close_now", "link", None)]
    for path in ("/events", "/chart", "/metrics", "/me"):
        assert place.get(path, **proof).status_code == 401
    other = links.word(TOKEN, "20261119-1", int(place.bench.now) + 60)
    assert place.post("/act", asked, **(proof | {"Authorization": f"Link {other}"})).status_code == 409
    place.bench.now += 901
    assert place.get("/link", **proof).status_code == 401
    assert place.post("/act", asked, **proof).status_code == 401
