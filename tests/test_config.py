"""Settings: what is accepted, what is refused, and that no refusal ever shows a secret."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import config
import setting
from config import Config, ConfigError
from utils import SharedClock

ROOT = Path(__file__).resolve().parents[1]
CASES = ROOT.parent / "shared" / "cases"
KEYS = {"POLYGON_API_KEY": "pk_" + "1x" * 15, "PUSHOVER_TOKEN": "a1b2c3" * 5, "PUSHOVER_USER_KEY": "u9y8x7" * 5}
ALL_ON = {"STRATEGIES": ",".join(config.STRATEGIES)}
NAMES = sorted(set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", config.example(), re.MULTILINE)))
NUMBERS = [name for name in NAMES if "number from" in setting.allowed(config.known()[name])]


def faults_of(**settings: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Config.from_env(KEYS | ALL_ON | settings)
    return caught.value.lines


def test_the_defaults_are_those_of_the_rules() -> None:
    settings = Config.from_env(KEYS)
    assert (settings.delta_min, settings.delta_max) == (Decimal("0.30"), Decimal("0.45"))
    assert (settings.no_entry_after, settings.hard_time_stop) == (time(15, 30), time(15, 55))
    assert settings.heartbeat_symbols == ("SPY", "QQQ", "AAPL", "NVDA")
    assert (settings.symbol, settings.leader) == ("IWM", "SPY")
    assert settings.log_path == Path("data/iwm_momentum.log")
    assert settings.critical_loss == -500
    assert settings.relative_volume_filter is settings.leadership_filter is settings.vwap_trend_filter is True
    assert settings.http_timeout_seconds == 2
    assert settings.non_defaults() == {}
    assert settings.warnings == ()


def test_every_setting_can_be_given_its_own_default() -> None:
    written = dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", config.example(), re.MULTILINE))
    assert Config.from_env(written | KEYS) == Config.from_env(KEYS)


def test_the_example_file_is_what_the_settings_say() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == config.example()


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config.from_env(KEYS).delta_min = Decimal(1)  # type: ignore[misc]


@pytest.mark.fault("C01")
@pytest.mark.parametrize("missing", sorted(KEYS))
def test_a_missing_key_is_named_in_one_line(missing: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({name: key for name, key in KEYS.items() if name != missing})
    assert len(caught.value.lines) == 1
    assert caught.value.lines[0].startswith(f"{missing} is missing")


@pytest.mark.fault("C01")
def test_an_empty_key_is_a_missing_one_and_a_near_name_is_pointed_at() -> None:
    lines = faults_of(PUSHOVER_USER_KEY=" ", PUSHOVER_USER="u" * 30)
    assert lines == ["PUSHOVER_USER_KEY is missing: Pushover user or group key (PUSHOVER_USER is given: is it meant?)"]


@pytest.mark.fault("C02")
@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("garbage", ["abc", "nan", "inf", "-inf", "1e9", "0,5", "٣", "1_000", "0x10", "9" * 400, "4%"])
def test_a_number_that_is_none_is_refused_with_the_allowed_range(name: str, garbage: str) -> None:
    (line,) = faults_of(**{name: garbage})
    assert line.startswith(f"{name} is ")
    assert "number from" in line
    assert len(line) < 200


@pytest.mark.fault("C02")
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_out_of_its_bounds_is_refused(name: str) -> None:
    low, high = (Decimal(bound) for bound in re.findall(r"-?[\d.]+", setting.allowed(config.known()[name])))
    for outside in (low - 1, high + 1):
        assert f"{name} is" in faults_of(**{name: str(outside)})[0]


@pytest.mark.parametrize("value", ["15:30:61", "3pm", "1530", "15:3", "25:00", "09:00", "16:30"])
def test_a_time_that_is_none_is_refused(value: str) -> None:
    (line,) = faults_of(NO_ENTRY_AFTER=value)
    assert line == f"NO_ENTRY_AFTER is {value}: allowed is a time HH:MM from 09:31 to 15:59"


@pytest.mark.parametrize(("words", "means"), [("on TRUE 1", True), ("off False 0", False)])
def test_switches_take_on_off_true_false_1_0(words: str, means: bool) -> None:
    for word in words.split():
        assert Config.from_env(KEYS | {"LEADERSHIP_FILTER": word}).leadership_filter is means


@pytest.mark.parametrize("word", ["yes", "2", "onn", "None"])
def test_other_words_are_no_switch(word: str) -> None:
    assert faults_of(LEADERSHIP_FILTER=word) == [f"LEADERSHIP_FILTER is {word}: allowed is on or off"]


def test_every_fault_comes_in_one_message() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env(
            {"DELTA_MIN": "0,5", "MIN_VOLUME": "x", "LOG_LEVEL": "loud", "MAX_GIVEBACK_PERCENT": "10", "STOP_LOS": "3"}
        )
    told = str(caught.value)
    for name in [*KEYS, "DELTA_MIN", "MIN_VOLUME", "LOG_LEVEL", "TIGHTEN_GIVEBACK_PERCENT", "STOP_LOS is no setting"]:
        assert name in told
    assert told.startswith("8 settings are missing or wrong")


@pytest.mark.fault("C03")
@pytest.mark.parametrize("around", ['"{}"', "'{}'", "  {}\n", "\ufeff{}", "{}\r\n", '"{} "'])
def test_quotes_blanks_and_a_byte_order_mark_round_a_key_are_taken_off(around: str) -> None:
    given = {name: around.format(key) for name, key in KEYS.items()}
    assert Config.from_env(given).secrets() == Config.from_env(KEYS).secrets()


@pytest.mark.fault("C03")
@pytest.mark.parametrize("inside", ["\n", "\r\nX-Evil: 1", "\x00", "\u2028", " "])
def test_a_line_break_inside_a_key_is_refused_unseen(inside: str) -> None:
    key = "a" * 15 + inside + "b" * 15
    for name in KEYS:
        (line,) = faults_of(**{name: key})
        assert "is not right" in line
        assert "aaaa" not in line
        assert line.isprintable()


@pytest.mark.fault("C03")
@given(text=st.text(max_size=60))
def test_no_text_at_all_makes_a_key_that_could_break_a_header(text: str) -> None:
    try:
        told = Config.from_env(KEYS | {"POLYGON_API_KEY": text}).polygon_api_key.get_secret_value()
    except ConfigError as error:
        told = str(error).replace("\n", " ")
    assert re.fullmatch(r"[ -~]+", told)


@pytest.mark.fault("C04")
def test_a_misspelt_name_is_a_warning_with_the_nearest() -> None:
    settings = Config.from_env(KEYS | {"STOP_LOSS_PERCNT": "3", "DELTA_MINIMUM": "0.2", "PUHSOVER_URL": "x"})
    told = " ".join(settings.warnings)
    assert "STOP_LOSS_PERCNT is no setting: STOP_LOSS_PERCENT is the nearest" in told
    assert "DELTA_MINIMUM is no setting: DELTA_MIN is the nearest" in told
    assert "PUHSOVER_URL is no setting: PUSHOVER_URL is the nearest" in told


@pytest.mark.fault("C04")
def test_names_of_other_programs_are_left_alone() -> None:
    others = {"PATH": "/bin", "HOME": "/", "HTTP_PROXY": "x", "NO_PROXY": "y", "LANG": "C", "TZ": "UTC"}
    assert Config.from_env(KEYS | others).warnings == ()


@pytest.mark.fault("C05")
@pytest.mark.parametrize(
    "settings",
    [
        {"DELTA_MIN": "0.45"},
        {"DELTA_MIN": "0.5", "DELTA_MAX": "0.4"},
        {"DELTA_WIDEN": "0.3"},
        {"TIGHTEN_GIVEBACK_PERCENT": "31"},
        {"NO_ENTRY_AFTER": "15:55"},
        {"HARD_TIME_STOP": "15:30"},
        {"CHAIN_POLL_SECONDS": "20"},
        {"ALERT_TIMEOUT_SECONDS": "20"},
        {"BUY_VOID_SECONDS": "10"},
        {"HTTP_HOST": "0.0.0.0"},
        {"PUBLIC_URL": "https://desk.example.com"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, str]) -> None:
    (line,) = faults_of(**settings)
    assert all(name in line for name in settings)


@pytest.mark.fault("C05")
def test_a_contradiction_is_not_claimed_of_a_value_that_could_not_be_read() -> None:
    assert faults_of(DELTA_MIN="zero") == ["DELTA_MIN is zero: allowed is a number from 0.01 to 0.99"]


@pytest.mark.fault("C06")
def test_a_simulated_clock_is_taken_only_when_every_place_is_this_machine(tmp_path: Path) -> None:
    SharedClock.create(tmp_path / "clock", 1_700_000_000.0, 1.0)
    here = {
        "CLOCK_FILE": f"{tmp_path / 'clock'}",
        "POLYGON_WS_URL": "ws://127.0.0.1:9001/stocks",
        "POLYGON_OPTIONS_WS_URL": "ws://localhost:9001/options",
        "POLYGON_REST_URL": "http://127.0.0.1:9002",
        "PUSHOVER_URL": "http://[::1]:9003",
    }
    assert Config.from_env(KEYS | here).simulated
    for name, elsewhere in {
        "PUSHOVER_URL": "https://api.pushover.net",
        "POLYGON_REST_URL": "https://api.massive.com",
        "HEARTBEAT_URL": "https://hc-ping.com/abc",
        "FALLBACK_ALERT_URLS": "ntfy://topic",
    }.items():
        assert "CLOCK_FILE" in faults_of(**here | {name: elsewhere})[0]


@pytest.mark.fault("C02")
@pytest.mark.parametrize(
    "content",
    [b"", b"12:00", b"\xff" * 32, bytes(32), b"{" * 4096, None],
    ids=["empty", "short", "nan", "zeros", "text", "none"],
)
def test_a_clock_file_that_is_no_clock_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "clock"
    if content is not None:
        file.write_bytes(content)
    (line,) = faults_of(CLOCK_FILE=f"{file}")
    assert line.startswith("CLOCK_FILE is ")
    assert line.endswith("allowed is a file made by `simulator`")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("POLYGON_WS_URL", "ws://socket.massive.com/stocks"),
        ("POLYGON_WS_URL", "https://socket.massive.com/stocks"),
        ("POLYGON_REST_URL", "http://api.massive.com"),
        ("POLYGON_REST_URL", "https://"),
        ("POLYGON_REST_URL", "https://a.example:99999"),
        ("POLYGON_REST_URL", "http://127.0.0.1.evil.example"),
        ("PUSHOVER_URL", "https://api.pushover.net/1/messages.json"),
        ("PUSHOVER_URL", "ftp://api.pushover.net"),
        ("HEARTBEAT_URL", "http://hc-ping.com/abc"),
    ],
)
def test_a_key_travels_unencrypted_only_within_this_machine(name: str, url: str) -> None:
    (line,) = faults_of(**{name: url})
    assert line.startswith(f"{name} is ")


@pytest.mark.fault("C07")
def test_a_data_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"DATA_DIR .* cannot be written"):
        config.load(KEYS | {"DATA_DIR": str(tmp_path / "file" / "data")}, tmp_path / ".env")


@pytest.mark.fault("C07")
def test_a_data_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    settings = config.load(KEYS | {"DATA_DIR": str(tmp_path / "deep" / "data")}, tmp_path / ".env")
    assert settings.data_dir.stat().st_mode & 0o777 == 0o700
    assert list(settings.data_dir.iterdir()) == []


@pytest.mark.fault("C07")
@pytest.mark.parametrize("folder", ["data", "/tmp/data", "/opt/render/project/src/data"])
def test_a_data_folder_that_a_deploy_wipes_is_warned_of(folder: str) -> None:
    assert "Render" in Config.from_env(KEYS | {"RENDER": "true", "DATA_DIR": folder}).warnings[0]
    assert Config.from_env(KEYS | {"RENDER": "true", "DATA_DIR": "/var/data"}).warnings == ()


@pytest.mark.fault("C08")
@pytest.mark.parametrize(
    "swapped",
    [
        {"PUSHOVER_TOKEN": KEYS["PUSHOVER_USER_KEY"], "PUSHOVER_USER_KEY": KEYS["PUSHOVER_TOKEN"]},
        {"PUSHOVER_TOKEN": KEYS["POLYGON_API_KEY"], "POLYGON_API_KEY": KEYS["PUSHOVER_TOKEN"]},
        {"PUSHOVER_USER_KEY": KEYS["POLYGON_API_KEY"]},
    ],
)
def test_keys_in_each_others_place_are_noticed_and_never_shown(swapped: dict[str, str]) -> None:
    told = " ".join(faults_of(**swapped))
    assert "PUSHOVER_" in told
    assert not any(key in told for key in KEYS.values())


@pytest.mark.fault("C08")
def test_one_key_in_both_places_is_warned_of() -> None:
    warnings = config.Config.from_env({**KEYS, "PUSHOVER_USER_KEY": KEYS["PUSHOVER_TOKEN"]}).warnings
    assert any("are the same" in warning for warning in warnings)
    assert KEYS["PUSHOVER_TOKEN"] not in " ".join(warnings)


@pytest.mark.fault("C08")
@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o640, True), (0o600, False)])
def test_an_env_file_that_others_can_read_is_warned_of(tmp_path: Path, mode: int, warned: bool) -> None:
    file = tmp_path / ".env"
    file.write_text("\n".join(f"{name}={key}" for name, key in KEYS.items()) + f"\nDATA_DIR={tmp_path}/data\n")
    file.chmod(mode)
    assert any("chmod 600" in warning for warning in config.load({}, file).warnings) is warned


@pytest.mark.fault("C08", "S04")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in KEYS])
def test_a_key_put_into_any_other_setting_is_not_echoed(name: str) -> None:
    for key in KEYS.values():
        try:
            told = repr(Config.from_env(KEYS | {name: key}).warnings)
        except ConfigError as error:
            told = str(error)
        assert key not in told


@pytest.mark.fault("S03")
def test_no_repr_shows_a_secret() -> None:
    extra = {
        "DASHBOARD_TOKEN": "open-sesame-open-sesame",
        "HEARTBEAT_URL": "https://hc-ping.com/5f2f7c1a-canary",
        "FALLBACK_ALERT_URLS": "ntfy://canary-topic, mailto://user:canary-pass@example.com",
    }
    settings = Config.from_env(KEYS | extra)
    shown = repr(settings) + str(settings) + str(settings.non_defaults()) + str(settings.warnings)
    for secret in (*KEYS.values(), "open-sesame", "5f2f7c1a", "canary"):
        assert secret not in shown
    assert settings.non_defaults() == dict.fromkeys(extra, "(set)")
    assert {"canary-topic", "canary-pass", "5f2f7c1a-canary", *KEYS.values()} <= set(settings.secrets())
    assert len(settings.fallback_alert_urls) == 2


def test_the_name_of_this_machine_is_no_secret() -> None:
    settings = Config.from_env(KEYS | {"FALLBACK_ALERT_URLS": "json://127.0.0.1:8099/canary-hook"})
    assert "127.0.0.1" not in settings.secrets()
    assert "canary-hook" in settings.secrets()


def test_a_url_that_is_refused_does_not_tell_what_it_carries() -> None:
    (line,) = faults_of(POLYGON_REST_URL="https://me:hunter2@api.massive.com/?apiKey=hunter3")
    assert "hunter" not in line


def test_a_name_in_the_file_that_is_no_setting_is_told(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("TAKE_PROFIT=20\nSTOP_LOS_PERCENT=10\nMASSIVE_API_KEY=\n")
    file.chmod(0o600)
    first, second = config.load(KEYS | {"DATA_DIR": str(tmp_path / "data"), "SHELL": "/bin/sh"}, file).warnings
    assert first.startswith("STOP_LOS_PERCENT is no setting: STOP_LOSS_PERCENT")
    assert second == f"TAKE_PROFIT in {file} is no setting: nobody reads it"


@pytest.mark.skipif(not CASES.is_dir(), reason="the collected cases are not here")
@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("colon", "line 4 (STOP_LOSS_PERCENT)"),
        ("behind_the_quotes", "line 4 (DAILY_LOSS_HALT)"),
        ("no_equals", "line 4 (DAILY_LOSS_HALT)"),
        ("utf16", "save as UTF-8"),
    ],
)
def test_the_files_of_others_stop_the_start(tmp_path: Path, case: str, told: str) -> None:
    (tmp_path / ".env").write_bytes((CASES / f"{case}.env").read_bytes())
    home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for program, code in ((("main",), 78), (("pnl_tracker", "verify"), 2), (("replay", "verify", "2026-11-20"), 2)):
        command = [sys.executable, "-m", *program]
        done = subprocess.run(command, cwd=tmp_path, env=home, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        assert told in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env"]


@pytest.mark.skipif(not CASES.is_dir(), reason="the collected cases are not here")
def test_a_home_in_the_file_of_another_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = CASES / "home.env"
    assert config.load({}, file).data_dir == config.data_dir({}, file) == tmp_path / "home" / "iwm-data"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("\ufeffMIN_VOLUME=100\nMIN_OPEN_INTEREST=5\n", encoding="utf-8")
    settings = config.load(KEYS | {"MIN_VOLUME": "200", "MIN_OPEN_INTEREST": "", "DATA_DIR": str(tmp_path)}, file)
    assert (settings.min_volume, settings.min_open_interest) == (200, 5)
    assert settings.non_defaults() == {"DATA_DIR": str(tmp_path), "MIN_VOLUME": "200", "MIN_OPEN_INTEREST": "5"}


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00\x00",
        "DAILY_LOSS_HALT=100\r\n".encode("utf-16"),
        "DAILY_LOSS_HALT=100\r\n".encode("utf-16-le"),
        "DAILY_LOSS_HALT=100\r\n".encode("utf-32"),
        "# für später\nDAILY_LOSS_HALT=100\n".encode("latin-1"),
    ],
    ids=["no text", "UTF-16", "UTF-16 without a mark", "UTF-32", "Latin-1"],
)
def test_a_file_that_is_not_utf8_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)
    for read in (lambda: config.load(KEYS, file), lambda: config.data_dir({}, file)):
        with pytest.raises(ConfigError, match="cannot be read: it is not UTF-8 text; save as UTF-8"):
            read()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("STOP_LOSS_PERCENT: 10", "line 3 (STOP_LOSS_PERCENT)"),
        ("set DAILY_LOSS_HALT=100", "line 3 (DAILY_LOSS_HALT)"),
        ("MAX_TRADES_PER_DAY 2", "line 3 (MAX_TRADES_PER_DAY)"),
        ("MAX_TRADES_PER_DAY", "line 3 (MAX_TRADES_PER_DAY)"),
        ('DAILY_LOSS_HALT="100" dollars', "line 3 (DAILY_LOSS_HALT)"),
        ('DAILY_LOSS_HALT="100', "line 3 (DAILY_LOSS_HALT)"),
        ("DAILY_LOSS_HALT='100", "line 3 (DAILY_LOSS_HALT)"),
        ("DAILY-LOSS-HALT=100", "line 3"),
        ("DAILY_LOSS_HALT:=100", "line 3 (DAILY_LOSS_HALT)"),
        ("=100", "line 3"),
        ("[worker]", "line 3"),
    ],
)
def test_a_line_that_is_not_understood_is_refused_by_its_number(tmp_path: Path, line: str, named: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"# first\n\n{line}\nMIN_VOLUME=1\n")
    for read in (lambda: config.load(KEYS, file), lambda: config.data_dir({}, file)):
        with pytest.raises(ConfigError) as caught:
            read()
        (told,) = caught.value.lines
        assert f"{named} is not understood" in told


def test_every_such_line_is_named_and_none_shows_what_it_holds(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    key = KEYS["POLYGON_API_KEY"]
    file.write_text(f"POLYGON_API_KEY: {key}\nPUSHOVER_TOKEN\nMIN_VOLUME=5\nMIN_VOLUME=6\n")
    with pytest.raises(ConfigError) as caught:
        config.load(KEYS, file)
    assert [re.findall(r"line \d", line)[0] for line in caught.value.lines] == ["line 1", "line 2", "line 4"]
    assert "gives MIN_VOLUME again, with another value" in caught.value.lines[2]
    assert key not in str(caught.value)


def test_a_name_that_is_given_twice_alike_is_no_fault_and_what_dotenv_allows_is_read(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    lines = [
        "export MIN_VOLUME=5  # five",
        "MIN_VOLUME = '5'",
        'LOG_LEVEL="DEBUG" # loud',
        "FEE_PER_CONTRACT=",
        "SYSTEM_X=a#b",
    ]
    file.write_text("\r\n".join(lines))
    assert config.read_file(file) == {"MIN_VOLUME": "5", "LOG_LEVEL": "DEBUG", "FEE_PER_CONTRACT": "", "SYSTEM_X": "a#b"}
    assert config.read_file(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("${HOME}/iwm", "{home}/iwm"),
        ("$HOME/iwm", "{home}/iwm"),
        ("~/iwm", "{home}/iwm"),
        ("~", "{home}"),
        ('"/x"', "/x"),
        ("  /x ", "/x"),
        ("'~/x y' ", "{home}/x y"),
        ("", "{cwd}/data"),
        ("here", "{cwd}/here"),
    ],
)
def test_the_data_folder_is_one_for_worker_and_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, meant: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    folder = Path(meant.format(home=tmp_path / "home", cwd=tmp_path))
    assert Config.from_env(KEYS | {"DATA_DIR": given}).data_dir.absolute() == folder
    assert config.data_dir({"DATA_DIR": given}, tmp_path / ".env") == folder
    (tmp_path / ".env").write_text(f"DATA_DIR={given.strip()}\n")
    assert config.data_dir({}, tmp_path / ".env") == folder
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("given", ["${HOMES}/x", "$DATA/x", "/srv/$USER", "~nobody-of-that-name/x", "a${HOME}"])
def test_a_folder_that_only_a_shell_could_resolve_is_refused(tmp_path: Path, given: str) -> None:
    assert faults_of(DATA_DIR=given)[0].startswith("DATA_DIR is ")
    with pytest.raises(ConfigError, match="DATA_DIR is "):
        config.data_dir({"DATA_DIR": given}, tmp_path / ".env")


def test_a_relative_folder_is_said_with_what_it_becomes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (told,) = config.load(KEYS, tmp_path / ".env").warnings
    assert told.startswith(f"DATA_DIR data is {tmp_path / 'data'} here")
    assert config.load(KEYS | {"DATA_DIR": str(tmp_path / "data")}, tmp_path / ".env").warnings == ()


def test_a_start_from_elsewhere_begins_no_second_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, elsewhere = tmp_path / "program", tmp_path / "elsewhere"
    for folder in (program / "data", elsewhere):
        folder.mkdir(parents=True)
    (program / "data" / config.LEDGER).touch()
    monkeypatch.setattr(config, "__file__", str(program / "config.py"))
    monkeypatch.chdir(elsewhere)
    with pytest.raises(
        ConfigError, match=r"DATA_DIR data would begin a new ledger in .*/elsewhere/data, and there is one in"
    ):
        config.load(KEYS, elsewhere / ".env")
    assert not (elsewhere / "data").exists()
    monkeypatch.chdir(program)
    assert config.load(KEYS, program / ".env").data_dir == Path("data")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"NO_ENTRY_AFTER": "15:31"}, "NO_ENTRY_AFTER after 15:30 does nothing"),
        ({"HARD_TIME_STOP": "15:56"}, "HARD_TIME_STOP after 15:55 does nothing"),
        ({"RELATIVE_VOLUME_FILTER": "off", "RELATIVE_VOLUME_MIN": "2"}, "RELATIVE_VOLUME_MIN does nothing while"),
        ({"LEADERSHIP_FILTER": "off", "SPY_IWM_LAG_THRESHOLD": "1"}, "SPY_IWM_LAG_THRESHOLD does nothing while"),
        ({"TAPE": "off", "TAPE_DAYS": "3"}, "TAPE_DAYS does nothing while TAPE is off"),
    ],
)
def test_a_setting_that_can_do_nothing_earns_a_warning(given: dict[str, str], told: str) -> None:
    (warning,) = Config.from_env(KEYS | given).warnings
    assert warning.startswith(told)


def test_a_setting_that_does_something_earns_none() -> None:
    given = {
        "NO_ENTRY_AFTER": "15:30",
        "HARD_TIME_STOP": "15:55",
        "RELATIVE_VOLUME_MIN": "2",
        "RELATIVE_VOLUME_FILTER": "on",
    }
    assert Config.from_env(KEYS | given).warnings == ()


def test_no_deadline_is_as_long_as_what_counts_as_no_sign_of_life_and_no_quote_goes_stale_between_two_polls() -> None:
    from edges.edge import STUCK_S
    from risk_manager import FRESH_S

    longest = {name: float(re.findall(r"[\d.]+", setting.allowed(config.known()[name]))[-1]) for name in NUMBERS}
    assert longest["HTTP_TIMEOUT_SECONDS"] * 2 < STUCK_S  # a chain that is asked for anew is two questions
    assert longest["ALERT_TIMEOUT_SECONDS"] * 2 < STUCK_S
    assert longest["EXIT_POLL_SECONDS"] + Config.from_env(KEYS).http_timeout_seconds <= FRESH_S


def test_the_key_has_two_names_and_the_port_too() -> None:
    assert Config.from_env(KEYS | {"POLYGON_API_KEY": "", "MASSIVE_API_KEY": "massive-key"}).secrets()[-1] == "massive-key"
    assert "keep one" in faults_of(MASSIVE_API_KEY="massive-key")[0]
    assert Config.from_env(KEYS | {"PORT": "10000"}).health_port == 10_000
    assert Config.from_env(KEYS | {"PORT": "10000", "HEALTH_PORT": "0"}).health_port == 0


def test_the_example_prints_without_any_setting_given() -> None:
    env = {"PATH": os.environ["PATH"]}
    printed = subprocess.run([sys.executable, "-m", "config"], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert printed.stdout == config.example()


def test_what_is_off_is_not_imported() -> None:
    program = (
        "import sys\nfrom datetime import date\nfrom config import Config\nfrom events import Remembered\n"
        "import main\nfrom strategies.registry import build\nfrom utils import SessionCalendar\n"
        f"build(Config.from_env({KEYS!r}), SessionCalendar(date(2026, 11, 20)), Remembered())\n"
        "off = ('strategies.scalper', 'strategies.condor', 'brokers.alpaca', 'brokers.ibkr', 'brokers.paper', 'ib_async')\n"
        "print([name for name in sys.modules if name.startswith(off)])\n"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
