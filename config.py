"""Environment (or `.env`) -> one frozen Config, or every fault of it in one message.

A setting is named here once: its type, default, bounds and description make the parser, the error messages and
`.env.example` (`python -m config`). The environment wins over the file. Percents are in percent, money in dollars, times in
New York time. Whatever is written in the file is understood or refused, never dropped.
No message holds the value of a secret, or a value that looks like one.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from datetime import time
from decimal import Decimal
from difflib import get_close_matches
from functools import cache, reduce
from importlib import import_module
from operator import le, lt
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from dotenv.parser import parse_stream
from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from setting import (
    HTTP_WORDS,
    SOCKET_WORDS,
    SOUND_WORDS,
    ApiKey,
    ClockFile,
    Exact,
    FilePath,
    HostName,
    HttpBase,
    Lower,
    Moment,
    PageToken,
    PhoneKey,
    PublicUrl,
    Seconds,
    SecretUrl,
    SecretUrls,
    SocketUrl,
    Sound,
    Switch,
    Symbols,
    Upper,
    Whole,
    allowed,
    cleaned,
    description_of,
    fault,
    group_of,
    is_hidden,
    is_loopback,
    names_of,
    quoted,
    setting,
    shown,
)

ALIASES = {"MASSIVE_API_KEY": "POLYGON_API_KEY", "PORT": "HEALTH_PORT"}
ENV_FILE, LEDGER = Path(".env"), "ledger.sqlite3"
FOREIGN_NAMES = {"HTTP_PROXY", "NO_PROXY", "LOG_DIR", "DATA_HOME", "MAX_JOBS", "NO_COLOR"}


class ConfigError(Exception):
    """The settings cannot be used; `lines` has one fault each."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        faults = "1 setting is missing or wrong" if len(lines) == 1 else f"{len(lines)} settings are missing or wrong"
        super().__init__("\n".join([f"{faults} (see .env.example):", *(f"  - {line}" for line in lines)]))


# --- the settings ------------------------------------------------------------------------------------------------------

KEYS, RUNNING, PLACES, PAGES, ENTRY = "Keys (required)", "Strategies", "Places", "Log, page and health", "Entry"
STRATEGIES = ("vwap", "scalper")
SECTIONS = {"scalper": "strategies.scalper.settings"}  # a strategy with settings of its own, and where they are
SECTION_PREFIXES = ("SCALPER_", "ALPACA_")  # what is off is imported only where its settings are given
CONTRACT, POSITION, PHONE, FEED = "Contract", "Position and exits", "Phone", "Feed and deadlines"


class Config(BaseModel):
    """All settings; an attribute is a setting's name in lower case. Made by `Config.from_env`, in earnest by `load`."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")
    symbol: ClassVar[str] = "IWM"
    leader: ClassVar[str] = "SPY"

    polygon_api_key: ApiKey = setting(
        KEYS,
        "Key of polygon.io (now massive.com), real-time stocks and options; MASSIVE_API_KEY is the same",
        allowed="8 to 128 letters, digits and _ . ~ -",
    )
    pushover_token: PhoneKey = setting(KEYS, "Pushover application token", allowed="30 letters and digits")
    pushover_user_key: PhoneKey = setting(KEYS, "Pushover user or group key", allowed="30 letters and digits")

    strategies: Annotated[tuple[str, ...], BeforeValidator(names_of(*STRATEGIES))] = setting(
        RUNNING,
        "Which strategies run, side by side; what is off asks for nothing",
        ("vwap",),
        allowed="any of vwap, scalper",
    )

    polygon_ws_url: SocketUrl = setting(PLACES, "Stocks socket", "wss://socket.massive.com/stocks", allowed=SOCKET_WORDS)
    polygon_options_ws_url: SocketUrl = setting(
        PLACES, "Options socket", "wss://socket.massive.com/options", allowed=SOCKET_WORDS
    )
    polygon_rest_url: HttpBase = setting(PLACES, "REST base", "https://api.massive.com", allowed=HTTP_WORDS)
    pushover_url: HttpBase = setting(
        PLACES, "Pushover base, without /1/messages.json", "https://api.pushover.net", allowed=HTTP_WORDS
    )
    data_dir: FilePath = setting(
        PLACES, "Folder of ledger, tape, caches and log", Path("data"), allowed="a folder; ~ and ${HOME} are your home"
    )
    clock_file: ClockFile | None = setting(
        PLACES,
        "A simulated market's clock; only when every URL is on this machine",
        None,
        allowed="a file made by `simulator`",
    )

    log_file: FilePath = setting(PAGES, "Log file, in DATA_DIR unless absolute", Path("iwm_momentum.log"), allowed="a file")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], Upper] = setting(PAGES, "Least level logged", "INFO")
    log_format: Annotated[Literal["text", "json"], Lower] = setting(PAGES, "Log lines for people or machines", "text")
    http_host: HostName = setting(
        PAGES,
        "Address of health and dashboard; other than loopback needs DASHBOARD_TOKEN",
        "127.0.0.1",
        allowed="an address or host name",
    )
    health_port: Whole = setting(PAGES, "Port of health and dashboard, else $PORT; 0 = any free one", 8080, 0, 65535)
    dashboard: Switch = setting(PAGES, "The page; off leaves health and metrics", True)
    dashboard_token: PageToken | None = setting(
        PAGES, "Secret that opens page and actions", None, allowed="16 to 256 visible characters, no blanks"
    )
    public_url: PublicUrl | None = setting(
        PAGES,
        "Where the page is seen from outside, for links in alerts",
        None,
        allowed=f"{HTTP_WORDS}, at most 400 characters",
    )
    heartbeat_url: SecretUrl | None = setting(
        PAGES, "Secret URL of a dead-man service, fetched every minute while all is well", None, allowed=HTTP_WORDS
    )
    tape: Switch = setting(PAGES, "Record every event of the day for replay", True)
    tape_days: Whole = setting(PAGES, "Days of tape kept", 20, 1, 3650)
    tape_megabytes: Whole = setting(PAGES, "Most megabytes of tape a day", 40, 1, 10_000)

    no_entry_after: Moment = setting(
        ENTRY, "No BUY from here on (close - 30 min if earlier)", time(15, 30), time(9, 31), time(15, 59)
    )
    signal_max_age_seconds: Whole = setting(ENTRY, "Oldest bar a BUY may rest on", 10, 1, 60)
    warmup_seconds: Whole = setting(ENTRY, "Seconds of known bars before the first signal", 300, 0, 3600)
    vwap_trend_filter: Switch = setting(ENTRY, "Condition 2: above the 5-minute VWAP", True)
    relative_volume_filter: Switch = setting(ENTRY, "Condition 6: relative volume", True)
    leadership_filter: Switch = setting(ENTRY, "Condition 7: not lagging SPY", True)
    relative_volume_min: Exact = setting(ENTRY, "Least relative volume", Decimal("1.5"), 0, 100)
    spy_iwm_lag_threshold: Exact = setting(ENTRY, "Most percentage points behind SPY over 5 minutes", Decimal("0.20"), 0, 10)
    entry_cooldown_seconds: Whole = setting(ENTRY, "From an exit to the next BUY", 300, 0, 23_400)
    signal_cooldown_seconds: Whole = setting(ENTRY, "From a signal to the next one", 60, 0, 23_400)
    max_trades_per_day: Whole = setting(ENTRY, "Trades a day; 0 = no limit", 0, 0, 1000)
    daily_loss_halt: Exact = setting(
        ENTRY, "Dollars lost today that end the day's entries; 0 = off", Decimal(0), 0, 1_000_000
    )

    delta_min: Exact = setting(CONTRACT, "Lower end of the delta band", Decimal("0.30"), 0.01, 0.99)
    delta_max: Exact = setting(CONTRACT, "Upper end of the delta band", Decimal("0.45"), 0.01, 0.99)
    delta_widen: Exact = setting(CONTRACT, "Widens the band on both sides", Decimal(0), 0, 0.49)
    min_nbbo_size: Whole = setting(CONTRACT, "Least contracts on bid and on ask", 20, 0, 100_000)
    max_spread_percent: Exact = setting(CONTRACT, "Widest spread, of mid", Decimal(4), 0.1, 50)
    min_volume: Whole = setting(CONTRACT, "Least contracts traded today", 500, 0, 10_000_000)
    min_open_interest: Whole = setting(CONTRACT, "Least open interest", 1000, 0, 10_000_000)
    quote_max_age_seconds: Whole = setting(CONTRACT, "Oldest quote a BUY may rest on", 15, 1, 60)
    max_contracts_to_track: Whole = setting(CONTRACT, "Contracts followed between signals", 3, 1, 20)

    entry_slippage: Exact = setting(POSITION, "Assumed fill: at most this above mid, in dollars", Decimal("0.05"), 0, 1)
    fee_per_contract: Exact = setting(POSITION, "Dollars taken off each way", Decimal(0), 0, 10)
    stop_loss_percent: Exact = setting(POSITION, "Stop loss, of entry", Decimal(15), 1, 99)
    stop_confirm_quotes: Whole = setting(POSITION, "Usable quotes in a row that make the stop", 1, 1, 10)
    max_giveback_percent: Exact = setting(POSITION, "Hard giveback, of peak", Decimal(30), 1, 99)
    tighten_giveback_percent: Exact = setting(POSITION, "Giveback while below VWAP", Decimal(20), 1, 99)
    hard_time_stop: Moment = setting(
        POSITION, "Out at the latest (close - 5 min if earlier)", time(15, 55), time(9, 32), time(15, 59)
    )
    on_shutdown: Annotated[Literal["close", "keep"], Lower] = setting(POSITION, "A held position at SIGTERM", "close")
    critical_loss: Exact = setting(
        POSITION, "Lifetime dollars that raise an alarm, and each further step", Decimal(-500), -1_000_000, -1
    )

    buy_priority: Whole = setting(PHONE, "Pushover priority of a BUY; less than 1 would fall silent in quiet hours", 1, 1, 2)
    sell_priority: Whole = setting(PHONE, "Pushover priority of a SELL; 2 repeats until seen", 2, 1, 2)
    buy_sound: Sound | None = setting(PHONE, "Sound of a BUY; empty: the phone's own", None, allowed=SOUND_WORDS)
    sell_sound: Sound | None = setting(PHONE, "Sound of a SELL; empty: the phone's own", None, allowed=SOUND_WORDS)
    sell_expire_seconds: Whole = setting(PHONE, "How long an unseen SELL repeats", 600, 60, 10_800)
    buy_ttl_seconds: Whole = setting(PHONE, "How long a BUY may be tried", 20, 5, 120)
    buy_max_chase_percent: Exact = setting(PHONE, "'pay at most': above the assumed entry", Decimal(5), 0, 50)
    buy_void_seconds: Whole = setting(PHONE, "'void after': seconds from the BUY", 60, 5, 600)
    alert_timeout_seconds: Seconds = setting(PHONE, "Whole time of one request to the phone", 3.0, 0.1, 10)
    phone_quota_reserve: Whole = setting(PHONE, "No BUY with fewer messages left this month", 200, 0, 10_000)
    fallback_alert_urls: SecretUrls = setting(
        PHONE,
        "Second channel when Pushover fails: apprise URLs, parted by blanks or commas",
        (),
        allowed="apprise URLs such as ntfy://topic",
    )

    heartbeat_symbols: Symbols = setting(
        FEED,
        "Busy names whose silence with IWM's means a stall",
        ("SPY", "QQQ", "AAPL", "NVDA"),
        allowed="1 to 10 symbols, parted by commas",
    )
    options_stream: Annotated[Literal["auto", "on", "off"], Lower] = setting(
        FEED, "Quotes of the held contract by socket", "auto"
    )
    chain_poll_seconds: Seconds = setting(FEED, "From one chain to the next", 10.0, 1, 60)
    exit_poll_seconds: Seconds = setting(FEED, "From one quote of the held contract to the next", 1.0, 0.2, 3)
    http_timeout_seconds: Seconds = setting(FEED, "Whole time of one REST request", 2.0, 0.1, 10)

    warnings: tuple[str, ...] = ()
    sections: dict[str, Any] = {}

    @classmethod
    def from_env(cls, given: Mapping[str, str]) -> Config:
        """The settings in a mapping of names to texts. ConfigError with every fault at once."""
        raw = {name: value for name, value in given.items() if name in fields() or name in ALIASES}
        faults = _unify_aliases(raw)
        values: dict[str, Any] = {}
        bad: set[str] = set()
        for name, field in fields().items():
            text = raw.get(name, "")
            try:
                if text := cleaned(text):
                    values[name] = _adapter(name).validate_python(text)
            except (ValidationError, ValueError, KeyError):
                faults.append(fault(name, field, text))
                bad.add(name)
                continue
            if not text and group_of(field) == KEYS:
                faults.append(f"{name} is missing: {description_of(field)}{_hint(name, given)}")
                bad.add(name)
        faults += _contradictions(values, bad)
        sections = {}
        for strategy in values.get("STRATEGIES", fields()["STRATEGIES"].default):
            if strategy in SECTIONS:
                sections[strategy], wrong = section(strategy).read(given)
                faults += wrong
        if faults:
            said = "\n".join(faults)
            raise ConfigError([*faults, *(line for line in misspelt(given) if line.split()[0] not in said)])
        config = cls.model_construct(**{name.lower(): value for name, value in values.items()})
        warnings = (*misspelt(given), *_cautions(given, config))
        return config.model_copy(update={"warnings": warnings, "sections": sections})

    @property
    def log_path(self) -> Path:
        return self.data_dir / self.log_file

    @property
    def simulated(self) -> bool:
        """Whether time comes from a simulated market."""
        return self.clock_file is not None

    def secrets(self) -> tuple[str, ...]:
        """Every text that may appear nowhere, the longest first: keys, secret URLs and the telling parts of those."""
        own = (self.polygon_api_key, self.pushover_token, self.pushover_user_key, self.dashboard_token)
        theirs = (value for settings in self.sections.values() for _, value in settings if isinstance(value, SecretStr))
        keys = (*own, *theirs)
        found = {key.get_secret_value() for key in keys if key}
        for url in (*self.fallback_alert_urls, *([self.heartbeat_url] if self.heartbeat_url else [])):
            found |= set(_telling_parts(url.get_secret_value()))
        return tuple(sorted(found, key=lambda text: (-len(text), text)))

    def non_defaults(self) -> dict[str, str]:
        """The settings that differ from their defaults, as one would write them; of a secret only that it is set."""
        told = {}
        for name, field in fields().items():
            value = getattr(self, name.lower())
            if group_of(field) != KEYS and value != field.default:
                told[name] = "(set)" if is_secret(name) else shown(value)
        for strategy, settings in self.sections.items():
            for name, value in section(strategy).non_defaults(settings).items():
                told[name] = value
        return told


# --- what is wrong, and what is odd ------------------------------------------------------------------------------------


@cache
def fields() -> dict[str, FieldInfo]:
    """The settings by name, in the order of `.env.example`."""
    return {name.upper(): field for name, field in Config.model_fields.items() if name not in ("warnings", "sections")}


def section(strategy: str) -> Any:
    """The leaf that declares a strategy's settings: `fields`, `read`, `non_defaults`."""
    return import_module(SECTIONS[strategy])


@cache
def known() -> dict[str, FieldInfo]:
    """Every setting by name, those of strategies that are off too."""
    return fields() | {name: field for strategy in SECTIONS for name, field in section(strategy).fields().items()}


def is_secret(name: str) -> bool:
    """Whether a setting's value may be shown nowhere."""
    return is_hidden(fields()[name])


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    field = fields()[name]
    kind: Any = Annotated[(field.annotation, name, *field.metadata)]
    return TypeAdapter(kind)


def _unify_aliases(raw: dict[str, str]) -> list[str]:
    """Move what came under another name to its own; a fault where two names disagree about a key."""
    faults = []
    for alias, name in ALIASES.items():
        other = raw.pop(alias, "")
        if name == "POLYGON_API_KEY" and other.strip() and raw.get(name, "").strip() and other.strip() != raw[name].strip():
            faults.append(f"{name} and {alias} are both given and differ: keep one")
        if not raw.get(name, "").strip():
            raw[name] = other
    return faults


def _hint(name: str, given: Mapping[str, str]) -> str:
    unknown = [other for other in given if other not in fields() and other not in ALIASES]
    near = get_close_matches(name, unknown, 1, 0.75)
    return f" ({near[0]} is given: is it meant?)" if near else ""


def _contradictions(values: Mapping[str, Any], bad: set[str]) -> Iterator[str]:
    """What cannot hold together, among the settings that are right by themselves."""
    for names, holds, sentence in RULES:
        told = {name: values.get(name, fields()[name].default) for name in names.split()}
        if bad.isdisjoint(told) and not holds(*told.values()):
            given = ", ".join(
                f"{name} {quoted(shown(value))}" for name, value in told.items() if value and not is_secret(name)
            )
            yield f"{sentence} ({given})" if given else sentence


def _swapped(token: SecretStr, user: SecretStr) -> bool:
    first, second = token.get_secret_value(), user.get_secret_value()
    return first[0] in "ug" and second[0] == "a"


def _stays_here(url: str | SecretStr | tuple[SecretStr, ...] | None) -> bool:
    match url:
        case tuple():
            return all(map(_stays_here, url))
        case SecretStr():
            return _stays_here(url.get_secret_value())
    return url is None or is_loopback(urlsplit(url).hostname)


RULES: tuple[tuple[str, Callable[..., bool], str], ...] = (
    ("DELTA_MIN DELTA_MAX", lt, "DELTA_MIN must be below DELTA_MAX"),
    (
        "DELTA_MIN DELTA_MAX DELTA_WIDEN",
        lambda low, high, more: low - more > 0 and high + more < 1,
        "DELTA_WIDEN must leave the band between 0 and 1",
    ),
    ("TIGHTEN_GIVEBACK_PERCENT MAX_GIVEBACK_PERCENT", le, "TIGHTEN_GIVEBACK_PERCENT must not be above MAX_GIVEBACK_PERCENT"),
    ("NO_ENTRY_AFTER HARD_TIME_STOP", lt, "NO_ENTRY_AFTER must be before HARD_TIME_STOP"),
    ("CHAIN_POLL_SECONDS QUOTE_MAX_AGE_SECONDS", le, "CHAIN_POLL_SECONDS must not be above QUOTE_MAX_AGE_SECONDS"),
    ("ALERT_TIMEOUT_SECONDS BUY_TTL_SECONDS", lt, "ALERT_TIMEOUT_SECONDS must be below BUY_TTL_SECONDS"),
    ("BUY_TTL_SECONDS BUY_VOID_SECONDS", le, "BUY_TTL_SECONDS must not be above BUY_VOID_SECONDS"),
    (
        "HTTP_HOST DASHBOARD_TOKEN",
        lambda host, token: is_loopback(host) or token is not None,
        "HTTP_HOST other than loopback needs DASHBOARD_TOKEN",
    ),
    ("PUBLIC_URL DASHBOARD_TOKEN", lambda url, token: url is None or token is not None, "PUBLIC_URL needs DASHBOARD_TOKEN"),
    (
        "PUSHOVER_TOKEN PUSHOVER_USER_KEY",
        lambda token, user: None in (token, user) or not _swapped(token, user),
        "PUSHOVER_TOKEN and PUSHOVER_USER_KEY look swapped or equal (a token begins with a, a user key with u or g)",
    ),
    (
        "CLOCK_FILE POLYGON_WS_URL POLYGON_OPTIONS_WS_URL POLYGON_REST_URL PUSHOVER_URL HEARTBEAT_URL FALLBACK_ALERT_URLS",
        lambda clock, *urls: clock is None or all(map(_stays_here, urls)),
        "CLOCK_FILE is for a simulated market: every URL must be on this machine",
    ),
)


# What can do nothing: a time behind the one that the close sets, a setting of what is switched off.
LATEST = {"NO_ENTRY_AFTER": time(15, 30), "HARD_TIME_STOP": time(15, 55)}
RULED_BY = {
    "RELATIVE_VOLUME_MIN": "RELATIVE_VOLUME_FILTER",
    "SPY_IWM_LAG_THRESHOLD": "LEADERSHIP_FILTER",
    "TAPE_DAYS": "TAPE",
    "TAPE_MEGABYTES": "TAPE",
}


def _telling_parts(url: str) -> Iterator[str]:
    """A secret URL and those of its parts that would betray it (all but the scheme, and the host of http), decoded ones too."""
    split, behind_scheme = urlsplit(url), url.partition("://")[2]
    yield from (whole for whole in (url, behind_scheme, behind_scheme.partition("/")[2]) if len(whole) >= 8)
    told = f"{split.path}?{split.query}#{split.fragment}"
    if split.scheme in ("http", "https"):
        told += f":{split.username or ''}:{split.password or ''}"
    else:
        told += f":{split.netloc}"
    parts = re.split(r"[/:@?&=#,;]+", told)
    yield from (part for part in (*parts, *map(unquote, parts)) if len(part) >= 8 and not is_loopback(part))


def misspelt(given: Mapping[str, str]) -> Iterator[str]:
    """Names that nobody reads but that look like ours."""
    ours = known() if any(name.upper().startswith(SECTION_PREFIXES) for name in given) else fields()
    prefixes = {name.split("_")[0] for name in [*ours, *ALIASES] if "_" in name}
    for name in sorted(given):
        if name in ours or name in ALIASES or name.upper() in FOREIGN_NAMES:
            continue
        near = get_close_matches(name.upper(), ours, 1, 0.6 if name.split("_")[0] in prefixes else 0.85)
        if near:
            yield f"{_shown_name(name)} is no setting: {near[0]} is the nearest"
        elif "_" in name and name.split("_")[0] in prefixes:
            yield f"{_shown_name(name)} is no setting"


def _shown_name(name: str) -> str:
    return re.sub(r"[^\w]", "?", name[:64])


def _cautions(given: Mapping[str, str], config: Config) -> Iterator[str]:
    if given.get("RENDER") and not config.data_dir.is_absolute():
        yield f"DATA_DIR {config.data_dir} is lost at each deploy on Render: put it on the disk, such as /var/data"
    elif given.get("RENDER") and config.data_dir.parts[1:2] in (("tmp",), ("opt",), ("home",)):
        yield f"DATA_DIR {config.data_dir} is not on a disk that Render keeps: use its mount path, such as /var/data"
    if config.pushover_token == config.pushover_user_key:
        yield "PUSHOVER_TOKEN and PUSHOVER_USER_KEY are the same: one of them is in the other's place"
    if config.sell_priority < 2:
        yield "SELL_PRIORITY below 2: a SELL rings once, and whether it was seen is not known"
    for name, latest in LATEST.items():
        if getattr(config, name.lower()) > latest:
            yield f"{name} after {shown(latest)} does nothing: {shown(latest)} it is, and earlier on a day that closes early"
    for name, switch in RULED_BY.items():
        if getattr(config, name.lower()) != fields()[name].default and not getattr(config, switch.lower()):
            yield f"{name} does nothing while {switch} is off"


# --- the real world ----------------------------------------------------------------------------------------------------


def load(environment: Mapping[str, str] | None = None, file: Path = ENV_FILE) -> Config:
    """The worker's settings: the environment over `file`. ConfigError also for a file or data folder that cannot be used."""
    config = Config.from_env(read(environment, file))
    told = [*config.warnings]
    for name in read_file(file):
        if name not in fields() and name not in ALIASES and not any(line.startswith(f"{name} is no") for line in told):
            told.append(f"{_shown_name(name)} in {file} is no setting: nobody reads it")
    if not config.data_dir.is_absolute():
        folder, as_given = config.data_dir.absolute(), f"DATA_DIR {shown(config.data_dir)}"
        if found := _ledger_elsewhere(folder):
            what = f"{as_given} would begin a new ledger in {folder}, and there is one in {found}"
            raise ConfigError([f"{what}: set DATA_DIR to the folder that is meant, in full"])
        told.append(
            f"{as_given} is {folder} here; started elsewhere it is another folder, and another ledger: set it in full"
        )
    if trouble := data_dir_fault(config.data_dir):
        raise ConfigError([reduce(lambda text, secret: text.replace(secret, "***"), config.secrets(), trouble)])
    if file.is_file() and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        told.append(f"{file} can be read by others on this machine and holds keys: chmod 600 {file}")
    return config.model_copy(update={"warnings": tuple(told)})


def data_dir(environment: Mapping[str, str] | None = None, file: Path = ENV_FILE) -> Path:
    """The worker's data folder in full, for programs that need no key; nothing is made. ConfigError as `load` has it."""
    given = read(environment, file)
    field = fields()["DATA_DIR"]
    text = given.get("DATA_DIR", "")
    try:
        folder: Path = _adapter("DATA_DIR").validate_python(cleaned(text)) if cleaned(text) else field.default
    except (ValidationError, ValueError):
        raise ConfigError([fault("DATA_DIR", field, text)]) from None
    return folder.absolute()


def read(environment: Mapping[str, str] | None, file: Path) -> dict[str, str]:
    """The names and texts of the environment (this process's without one) over those of `file`. A blank one yields to the file."""
    given = dict(os.environ if environment is None else environment)
    from_file = read_file(file)
    return from_file | {name: text for name, text in given.items() if text.strip() or name not in from_file}


def read_file(file: Path) -> dict[str, str]:
    """The names and texts of an `.env`; none if there is no such file. ConfigError names every line that is not understood."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError([f"{file} cannot be read: {error.strerror}"]) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ConfigError([f"{file} cannot be read: it is not UTF-8 text; save as UTF-8"])
    found: dict[str, str] = {}
    faults = []
    for line in parse_stream(io.StringIO(text)):
        if line.key is None and not line.error:
            continue  # a comment, or nothing
        blank = len(line.original.string) - len(line.original.string.lstrip())
        place = f"{file} line {line.original.line + line.original.string[:blank].count(chr(10))}"
        if line.error or line.value is None or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", line.key or ""):
            what = f"{place}{_named(line.original.string)} is not understood"
            faults.append(f"{what}: NAME=VALUE is, with quotes around the whole value or none")
        elif found.setdefault(str(line.key), line.value) != line.value:
            faults.append(f"{place} gives {_shown_name(str(line.key))} again, with another value: keep one")
    if faults:
        raise ConfigError(faults)
    return found


def _named(line: str) -> str:
    """Which setting a line that is not understood seems to mean; nothing else of it is shown, for it may hold a key."""
    name = next((word for word in re.findall(r"[A-Za-z0-9_]+", line) if word in known() or word in ALIASES), "")
    return f" ({name})" if name else ""


def _ledger_elsewhere(folder: Path) -> Path | None:
    """The folder beside the program of the same last name that holds a ledger, where `folder` holds none."""
    home = Path(__file__).resolve().parent / folder.name
    return home if home != folder.resolve() and not (folder / LEDGER).exists() and (home / LEDGER).exists() else None


def data_dir_fault(folder: Path) -> str | None:
    """Make the folder (for its owner only) and write in it; what is wrong with it, or None."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        try:
            with probe.open("wb") as file:
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return f"DATA_DIR {str(folder)!a} cannot be written: {error.strerror}"
    return None


def example() -> str:
    """The text of `.env.example`: every setting with its description, what it takes and its default."""
    lines = [
        "# Every setting of the worker. Copy to .env (chmod 600 .env) or set in the environment, which wins.",
        "# Percents are in percent, money in dollars, times in New York time; switches take on/off, true/false, 1/0.",
        "# Made by: python -m config > .env.example",
    ]
    group = ""
    for name, field in known().items():
        if group != group_of(field):
            group = group_of(field)
            lines += ["", f"# --- {group} ---"]
        lines.append(f"# {description_of(field)} ({allowed(field)})")
        lines.append(f"{'' if group == KEYS else '# '}{name}={shown(field.default)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(example(), end="")
