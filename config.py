"""Environment (or `.env`) -> one frozen Config, or every fault of it in one message.

A setting is named here once: its type, default, bounds and description make the parser, the error messages and
`.env.example` (`python -m config`). The environment wins over the file. Percents are in percent, money in dollars, times in
New York time.
No message holds the value of a secret, or a value that looks like one.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import time
from decimal import Decimal
from difflib import get_close_matches
from functools import cache, reduce
from ipaddress import ip_address
from operator import le, lt
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from utils import SharedClock

ALIASES = {"MASSIVE_API_KEY": "POLYGON_API_KEY", "PORT": "HEALTH_PORT"}
FOREIGN_NAMES = {"HTTP_PROXY", "NO_PROXY", "LOG_DIR", "DATA_HOME", "MAX_JOBS", "NO_COLOR"}


class ConfigError(Exception):
    """The settings cannot be used; `lines` has one fault each."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        faults = "1 setting is missing or wrong" if len(lines) == 1 else f"{len(lines)} settings are missing or wrong"
        super().__init__("\n".join([f"{faults} (see .env.example):", *(f"  - {line}" for line in lines)]))


# --- reading one value -------------------------------------------------------------------------------------------------


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def _cleaned(text: str) -> str:
    """The value without byte-order mark, blanks and one pair of quotes around it. ValueError if a control is left inside."""
    text = text.strip().strip("\ufeff\u200b").strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    if not text.isprintable():
        raise ValueError("control characters")
    return text


def _match(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError("wrong form")
    return text


def _clock_file(path: Path) -> Path:
    try:
        SharedClock(path)
    except OSError:
        raise ValueError from None
    return path


def _number(convert: Callable[[str], object], pattern: str) -> Callable[[str], object]:
    return lambda text: convert(_match(pattern, text))


def _time(text: str) -> time:
    return time.fromisoformat(_match(r"[0-2][0-9]:[0-5][0-9](:[0-5][0-9])?", text))


def _switch(text: str) -> bool:
    return SWITCH_WORDS[text.lower()]


def _symbols(text: str) -> tuple[str, ...]:
    symbols = tuple(dict.fromkeys(re.split(r"[,\s]+", text.upper().strip(", "))))
    if not 1 <= len(symbols) <= 10 or not all(re.fullmatch(r"[A-Z]{1,5}(\.[A-Z])?", symbol) for symbol in symbols):
        raise ValueError("not symbols")
    return symbols


def _split_url(text: str, schemes: tuple[str, str]) -> SplitResult:
    url = urlsplit(text)
    plain, encrypted = schemes
    if url.scheme not in schemes or not url.hostname or url.username or url.password or " " in text or url.port == 0:
        raise ValueError("not such a URL")
    if url.scheme == plain and not is_loopback(url.hostname):
        raise ValueError(f"{plain} leaves this machine unencrypted; {encrypted} is needed")
    return url


def _endpoint(*schemes: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        url = _split_url(text, (schemes[0], schemes[1]))
        if url.query or url.fragment or url.path.endswith("messages.json"):
            raise ValueError("more than a place")
        return text.rstrip("/")

    return read


def _secret(read: Callable[[str], object]) -> Callable[[str], SecretStr]:
    def kept(text: str) -> SecretStr:
        read(text)
        return SecretStr(text)

    return kept


def _fallbacks(text: str) -> tuple[SecretStr, ...]:
    urls = [part for part in re.split(r"[\s,]+(?=[a-zA-Z][a-zA-Z0-9+.-]*://)", text.strip(" ,")) if part]
    if not urls or not all(re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s]+", url) for url in urls):
        raise ValueError("not apprise URLs")
    return tuple(SecretStr(url) for url in urls)


Whole = Annotated[int, BeforeValidator(_number(int, r"-?[0-9]{1,12}"))]
Exact = Annotated[Decimal, BeforeValidator(_number(Decimal, r"-?[0-9]{1,12}(\.[0-9]{1,9})?"))]
Seconds = Annotated[float, BeforeValidator(_number(float, r"[0-9]{1,6}(\.[0-9]{1,6})?"))]
Moment = Annotated[time, BeforeValidator(_time)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Lower = BeforeValidator(str.lower)
Upper = BeforeValidator(str.upper)
Symbols = Annotated[tuple[str, ...], BeforeValidator(_symbols)]
HttpBase = Annotated[str, BeforeValidator(_endpoint("http", "https"))]
SocketUrl = Annotated[str, BeforeValidator(_endpoint("ws", "wss"))]
HostName = Annotated[str, BeforeValidator(lambda text: _match(r"[A-Za-z0-9.:_-]{1,253}", text))]
FilePath = Annotated[Path, BeforeValidator(lambda text: Path(_match(r".{1,1024}", text)).expanduser())]
ClockFile = Annotated[Path, BeforeValidator(lambda text: _clock_file(Path(_match(r".{1,1024}", text)).expanduser()))]
ApiKey = Annotated[SecretStr, BeforeValidator(_secret(lambda text: _match(r"[A-Za-z0-9_.~-]{8,128}", text)))]
PhoneKey = Annotated[SecretStr, BeforeValidator(_secret(lambda text: _match(r"[A-Za-z0-9]{30}", text)))]
PageToken = Annotated[SecretStr, BeforeValidator(_secret(lambda text: _match(r"[!-~]{16,256}", text)))]
SecretUrl = Annotated[SecretStr, BeforeValidator(_secret(lambda text: _split_url(text, ("http", "https"))))]
SecretUrls = Annotated[tuple[SecretStr, ...], BeforeValidator(_fallbacks)]

HTTP_WORDS = "https://host[:port], or http:// on this machine"
SOCKET_WORDS = "wss://host/path, or ws:// on this machine"
SWITCH_WORDS = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
TYPE_WORDS = {int: "a whole number", Decimal: "a number", float: "a number", bool: "on or off", time: "a time HH:MM"}


def _setting(group: str, words: str, default: Any = None, low: Any = None, high: Any = None, /, *, allowed: str = "") -> Any:
    """A field with its place in `.env.example`; `low` and `high` are the inclusive bounds of a number or time."""
    if isinstance(default, Decimal):
        low, high = Decimal(str(low)), Decimal(str(high))
    return Field(default, description=words, ge=low, le=high, json_schema_extra={"group": group, "allowed": allowed})


# --- the settings ------------------------------------------------------------------------------------------------------

KEYS, PLACES, PAGES, ENTRY = "Keys (required)", "Places", "Log, page and health", "Entry"
CONTRACT, POSITION, PHONE, FEED = "Contract", "Position and exits", "Phone", "Feed and deadlines"


class Config(BaseModel):
    """All settings; an attribute is a setting's name in lower case. Made by `Config.from_env`, in earnest by `load`."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")
    symbol: ClassVar[str] = "IWM"
    leader: ClassVar[str] = "SPY"

    polygon_api_key: ApiKey = _setting(
        KEYS,
        "Key of polygon.io (now massive.com), real-time stocks and options; MASSIVE_API_KEY is the same",
        allowed="8 to 128 letters, digits and _ . ~ -",
    )
    pushover_token: PhoneKey = _setting(KEYS, "Pushover application token", allowed="30 letters and digits")
    pushover_user_key: PhoneKey = _setting(KEYS, "Pushover user or group key", allowed="30 letters and digits")

    polygon_ws_url: SocketUrl = _setting(PLACES, "Stocks socket", "wss://socket.massive.com/stocks", allowed=SOCKET_WORDS)
    polygon_options_ws_url: SocketUrl = _setting(
        PLACES, "Options socket", "wss://socket.massive.com/options", allowed=SOCKET_WORDS
    )
    polygon_rest_url: HttpBase = _setting(PLACES, "REST base", "https://api.massive.com", allowed=HTTP_WORDS)
    pushover_url: HttpBase = _setting(
        PLACES, "Pushover base, without /1/messages.json", "https://api.pushover.net", allowed=HTTP_WORDS
    )
    data_dir: FilePath = _setting(PLACES, "Folder of ledger, tape, caches and log", Path("data"), allowed="a folder")
    clock_file: ClockFile | None = _setting(
        PLACES,
        "A simulated market's clock; only when every URL is on this machine",
        None,
        allowed="a file made by `simulator`",
    )

    log_file: FilePath = _setting(PAGES, "Log file, in DATA_DIR unless absolute", Path("iwm_momentum.log"), allowed="a file")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], Upper] = _setting(PAGES, "Least level logged", "INFO")
    log_format: Annotated[Literal["text", "json"], Lower] = _setting(PAGES, "Log lines for people or machines", "text")
    http_host: HostName = _setting(
        PAGES,
        "Address of health and dashboard; other than loopback needs DASHBOARD_TOKEN",
        "127.0.0.1",
        allowed="an address or host name",
    )
    health_port: Whole = _setting(PAGES, "Port of health and dashboard, else $PORT; 0 = any free one", 8080, 0, 65535)
    dashboard: Switch = _setting(PAGES, "The page; off leaves health and metrics", True)
    dashboard_token: PageToken | None = _setting(
        PAGES, "Secret that opens page and actions", None, allowed="16 to 256 visible characters, no blanks"
    )
    public_url: HttpBase | None = _setting(
        PAGES, "Where the page is seen from outside, for links in alerts", None, allowed=HTTP_WORDS
    )
    heartbeat_url: SecretUrl | None = _setting(
        PAGES, "Secret URL of a dead-man service, fetched every minute while all is well", None, allowed=HTTP_WORDS
    )
    tape: Switch = _setting(PAGES, "Record every event of the day for replay", True)
    tape_days: Whole = _setting(PAGES, "Days of tape kept", 20, 1, 3650)
    tape_megabytes: Whole = _setting(PAGES, "Most megabytes of tape a day", 40, 1, 10_000)

    no_entry_after: Moment = _setting(
        ENTRY, "No BUY from here on (close - 30 min if earlier)", time(15, 30), time(9, 31), time(15, 59)
    )
    signal_max_age_seconds: Whole = _setting(ENTRY, "Oldest bar a BUY may rest on", 10, 1, 60)
    warmup_seconds: Whole = _setting(ENTRY, "Seconds of known bars before the first signal", 300, 0, 3600)
    vwap_trend_filter: Switch = _setting(ENTRY, "Condition 2: above the 5-minute VWAP", True)
    relative_volume_filter: Switch = _setting(ENTRY, "Condition 6: relative volume", True)
    leadership_filter: Switch = _setting(ENTRY, "Condition 7: not lagging SPY", True)
    relative_volume_min: Exact = _setting(ENTRY, "Least relative volume", Decimal("1.5"), 0, 100)
    spy_iwm_lag_threshold: Exact = _setting(
        ENTRY, "Most percentage points behind SPY over 5 minutes", Decimal("0.20"), 0, 10
    )
    entry_cooldown_seconds: Whole = _setting(ENTRY, "From an exit to the next BUY", 300, 0, 23_400)
    signal_cooldown_seconds: Whole = _setting(ENTRY, "From a signal to the next one", 60, 0, 23_400)
    max_trades_per_day: Whole = _setting(ENTRY, "Trades a day; 0 = no limit", 0, 0, 1000)
    daily_loss_halt: Exact = _setting(
        ENTRY, "Dollars lost today that end the day's entries; 0 = off", Decimal(0), 0, 1_000_000
    )

    delta_min: Exact = _setting(CONTRACT, "Lower end of the delta band", Decimal("0.30"), 0.01, 0.99)
    delta_max: Exact = _setting(CONTRACT, "Upper end of the delta band", Decimal("0.45"), 0.01, 0.99)
    delta_widen: Exact = _setting(CONTRACT, "Widens the band on both sides", Decimal(0), 0, 0.49)
    min_nbbo_size: Whole = _setting(CONTRACT, "Least contracts on bid and on ask", 20, 0, 100_000)
    max_spread_percent: Exact = _setting(CONTRACT, "Widest spread, of mid", Decimal(4), 0.1, 50)
    min_volume: Whole = _setting(CONTRACT, "Least contracts traded today", 500, 0, 10_000_000)
    min_open_interest: Whole = _setting(CONTRACT, "Least open interest", 1000, 0, 10_000_000)
    quote_max_age_seconds: Whole = _setting(CONTRACT, "Oldest quote a BUY may rest on", 15, 1, 60)
    max_contracts_to_track: Whole = _setting(CONTRACT, "Contracts followed between signals", 3, 1, 20)

    entry_slippage: Exact = _setting(POSITION, "Assumed fill: at most this above mid, in dollars", Decimal("0.05"), 0, 1)
    fee_per_contract: Exact = _setting(POSITION, "Dollars taken off each way", Decimal(0), 0, 10)
    stop_loss_percent: Exact = _setting(POSITION, "Stop loss, of entry", Decimal(15), 1, 99)
    stop_confirm_quotes: Whole = _setting(POSITION, "Usable quotes in a row that make the stop", 1, 1, 10)
    max_giveback_percent: Exact = _setting(POSITION, "Hard giveback, of peak", Decimal(30), 1, 99)
    tighten_giveback_percent: Exact = _setting(POSITION, "Giveback while below VWAP", Decimal(20), 1, 99)
    hard_time_stop: Moment = _setting(
        POSITION, "Out at the latest (close - 5 min if earlier)", time(15, 55), time(9, 32), time(15, 59)
    )
    on_shutdown: Annotated[Literal["close", "keep"], Lower] = _setting(POSITION, "A held position at SIGTERM", "close")
    critical_loss: Exact = _setting(
        POSITION, "Lifetime dollars that raise an alarm, and each further step", Decimal(-500), -1_000_000, -1
    )

    buy_priority: Whole = _setting(
        PHONE, "Pushover priority of a BUY; less than 1 would fall silent in quiet hours", 1, 1, 2
    )
    sell_priority: Whole = _setting(PHONE, "Pushover priority of a SELL; 2 repeats until seen", 2, 1, 2)
    sell_expire_seconds: Whole = _setting(PHONE, "How long an unseen SELL repeats", 600, 60, 10_800)
    buy_ttl_seconds: Whole = _setting(PHONE, "How long a BUY may be tried", 20, 5, 120)
    buy_max_chase_percent: Exact = _setting(PHONE, "'pay at most': above the assumed entry", Decimal(5), 0, 50)
    buy_void_seconds: Whole = _setting(PHONE, "'void after': seconds from the BUY", 60, 5, 600)
    alert_timeout_seconds: Seconds = _setting(PHONE, "Whole time of one request to the phone", 3.0, 0.1, 30)
    phone_quota_reserve: Whole = _setting(PHONE, "No BUY with fewer messages left this month", 200, 0, 10_000)
    fallback_alert_urls: SecretUrls = _setting(
        PHONE,
        "Second channel when Pushover fails: apprise URLs, parted by blanks or commas",
        (),
        allowed="apprise URLs such as ntfy://topic",
    )

    heartbeat_symbols: Symbols = _setting(
        FEED,
        "Busy names whose silence with IWM's means a stall",
        ("SPY", "QQQ", "AAPL", "NVDA"),
        allowed="1 to 10 symbols, parted by commas",
    )
    options_stream: Annotated[Literal["auto", "on", "off"], Lower] = _setting(
        FEED, "Quotes of the held contract by socket", "auto"
    )
    chain_poll_seconds: Seconds = _setting(FEED, "From one chain to the next", 10.0, 1, 60)
    exit_poll_seconds: Seconds = _setting(FEED, "From one quote of the held contract to the next", 1.0, 0.2, 5)
    http_timeout_seconds: Seconds = _setting(FEED, "Whole time of one REST request", 2.0, 0.1, 30)

    warnings: tuple[str, ...] = ()

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
                if text := _cleaned(text):
                    values[name] = _adapter(name).validate_python(text)
            except (ValidationError, ValueError, KeyError):
                faults.append(_fault(name, field, text))
                bad.add(name)
                continue
            if not text and group_of(field) == KEYS:
                faults.append(f"{name} is missing: {description_of(field)}{_hint(name, given)}")
                bad.add(name)
        faults += _contradictions(values, bad)
        if faults:
            said = "\n".join(faults)
            raise ConfigError([*faults, *(line for line in _misspelt(given) if line.split()[0] not in said)])
        config = cls.model_construct(**{name.lower(): value for name, value in values.items()})
        return config.model_copy(update={"warnings": (*_misspelt(given), *_cautions(given, config))})

    @property
    def log_path(self) -> Path:
        return self.data_dir / self.log_file

    @property
    def simulated(self) -> bool:
        """Whether time comes from a simulated market."""
        return self.clock_file is not None

    def secrets(self) -> tuple[str, ...]:
        """Every text that may appear nowhere, the longest first: keys, secret URLs and the telling parts of those."""
        keys = (self.polygon_api_key, self.pushover_token, self.pushover_user_key, self.dashboard_token)
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
        return told


# --- what is wrong, and what is odd ------------------------------------------------------------------------------------


@cache
def fields() -> dict[str, FieldInfo]:
    return {name.upper(): field for name, field in Config.model_fields.items() if name != "warnings"}


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    field = fields()[name]
    kind: Any = Annotated[(field.annotation, name, *field.metadata)]
    return TypeAdapter(kind)


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def group_of(field: FieldInfo) -> str:
    return str(_extra(field)["group"])


def description_of(field: FieldInfo) -> str:
    return field.description or ""


def allowed(field: FieldInfo) -> str:
    """What a setting takes, in words: `a whole number from 0 to 65535`."""
    if words := _extra(field)["allowed"]:
        return str(words)
    choices = getattr(field.annotation, "__args__", ())
    if choices:
        return "one of " + ", ".join(choices)
    words = TYPE_WORDS[field.annotation]  # type: ignore[index]
    bounds = {"ge": None, "le": None} | {
        key: getattr(item, key) for item in field.metadata for key in ("ge", "le") if hasattr(item, key)
    }
    return words if bounds["ge"] is None else f"{words} from {shown(bounds['ge'])} to {shown(bounds['le'])}"


def shown(value: object) -> str:
    """A value as one would write it in the environment."""
    match value:
        case None:
            return ""
        case bool():
            return "on" if value else "off"
        case time():
            return value.strftime("%H:%M:%S" if value.second else "%H:%M")
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(map(str, value))
    return str(value)


def is_secret(name: str) -> bool:
    """Whether a setting's value may be shown nowhere."""
    return "SecretStr" in str(fields()[name].annotation)


def _quoted(text: str) -> str:
    """A refused value, fit for a message: printable, short, without anything that might be a key."""
    url = re.match(r"[a-zA-Z]+://", text)
    if url:
        text = re.sub(r"//[^/@]*@", "//…@", re.sub(r"[?#].*", "?…", text, flags=re.DOTALL))
    if re.search(r"[A-Za-z0-9_-]{20,}", text):
        return "(not shown: it may be a key)"
    text = text[:60] + ("…" if len(text) > 60 else "")
    return text if re.fullmatch(r"[\w.:/,%+-]+", text, re.ASCII) else ascii(text)


def _fault(name: str, field: FieldInfo, text: str) -> str:
    if is_secret(name):
        secret_kind = "a key of another kind?" if name in ("PUSHOVER_TOKEN", "PUSHOVER_USER_KEY") and len(text) == 32 else ""
        told = f"is not right ({len(text)} characters{'; ' + secret_kind if secret_kind else ''})"
    else:
        told = f"is {_quoted(text)}"
    return f"{name} {told}: allowed is {allowed(field)}"


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
                f"{name} {_quoted(shown(value))}" for name, value in told.items() if value and not is_secret(name)
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


def _misspelt(given: Mapping[str, str]) -> Iterator[str]:
    """Names that nobody reads but that look like ours."""
    prefixes = {name.split("_")[0] for name in [*fields(), *ALIASES] if "_" in name}
    for name in sorted(given):
        if name in fields() or name in ALIASES or name.upper() in FOREIGN_NAMES:
            continue
        near = get_close_matches(name.upper(), fields(), 1, 0.6 if name.split("_")[0] in prefixes else 0.85)
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


# --- the real world ----------------------------------------------------------------------------------------------------


def load(environment: Mapping[str, str] | None = None, file: Path = Path(".env")) -> Config:
    """The worker's settings: the environment over `file`. ConfigError also for a file or data folder that cannot be used."""
    given = dict(os.environ if environment is None else environment)
    try:
        from_file = {key: value or "" for key, value in dotenv_values(file, interpolate=False, encoding="utf-8-sig").items()}
        readable_by_all = file.is_file() and bool(file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file} cannot be read: {type(error).__name__}"]) from None
    config = Config.from_env(
        from_file | {name: text for name, text in given.items() if text.strip() or name not in from_file}
    )
    if fault := data_dir_fault(config.data_dir):
        raise ConfigError([reduce(lambda text, secret: text.replace(secret, "***"), config.secrets(), fault)])
    if readable_by_all:
        told = f"{file} can be read by others on this machine and holds keys: chmod 600 {file}"
        config = config.model_copy(update={"warnings": (*config.warnings, told)})
    return config


def data_dir_fault(folder: Path) -> str | None:
    """Make the folder (for its owner only) and write in it; what is wrong with it, or None."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
            probe.write(b"x")
            probe.flush()
            os.fsync(probe.fileno())
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
    for name, field in fields().items():
        if group != group_of(field):
            group = group_of(field)
            lines += ["", f"# --- {group} ---"]
        lines.append(f"# {description_of(field)} ({allowed(field)})")
        lines.append(f"{'' if group == KEYS else '# '}{name}={shown(field.default)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(example(), end="")
