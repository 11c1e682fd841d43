"""One setting: how its text is read and bounded, how it is refused, and how its value is shown.

A setting is a pydantic field that carries its group, its words and what it takes (`setting`); what all of them are is in
`config`. No refusal holds the value of a secret, or one that looks like one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import time
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from utils import SharedClock

# --- reading one value -------------------------------------------------------------------------------------------------


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def host_of(url: str | None) -> str | None:
    """The host that a URL names; None where there is none."""
    return urlsplit(url or "").hostname


def cleaned(text: str) -> str:
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


def _path(text: str) -> Path:
    """A file or folder; `~` and `${HOME}` in front are this user's home. ValueError for what a shell alone could resolve."""
    path = Path(re.sub(r"^(\$HOME|\$\{HOME\})(?=/|$)", "~", _match(r"[^$]{1,1024}|\$(HOME|\{HOME\})(/[^$]{0,1024})?", text)))
    try:
        path = path.expanduser()
    except RuntimeError:
        raise ValueError("no such home") from None
    if path.parts[:1] and path.parts[0].startswith("~"):
        raise ValueError("no such home")
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


def names_of(*known: str) -> Callable[[str], tuple[str, ...]]:
    """A reader of names parted by commas or blanks: each is known, none is there twice, and there is one at least."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(text.lower().replace(",", " ").split())
        if not names or len(set(names)) < len(names) or not set(names) <= set(known):
            raise ValueError("no such names")
        return names

    return read


Whole = Annotated[int, BeforeValidator(_number(int, r"-?[0-9]{1,12}"))]
Exact = Annotated[Decimal, BeforeValidator(_number(Decimal, r"-?[0-9]{1,12}(\.[0-9]{1,9})?"))]
Seconds = Annotated[float, BeforeValidator(_number(float, r"[0-9]{1,6}(\.[0-9]{1,6})?"))]
Moment = Annotated[time, BeforeValidator(_time)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Lower = BeforeValidator(str.lower)
Upper = BeforeValidator(str.upper)
Symbols = Annotated[tuple[str, ...], BeforeValidator(_symbols)]
HttpBase = Annotated[str, BeforeValidator(_endpoint("http", "https"))]
PublicUrl = Annotated[HttpBase, BeforeValidator(lambda text: _match(r".{1,400}", text))]
Sound = Annotated[str, BeforeValidator(lambda text: _match(r"[A-Za-z0-9_-]{1,20}", text))]
SocketUrl = Annotated[str, BeforeValidator(_endpoint("ws", "wss"))]
HostName = Annotated[str, BeforeValidator(lambda text: _match(r"[A-Za-z0-9.:_-]{1,253}", text))]
FilePath = Annotated[Path, BeforeValidator(_path)]
ClockFile = Annotated[Path, BeforeValidator(lambda text: _clock_file(_path(text)))]
ApiKey = Annotated[SecretStr, BeforeValidator(_secret(lambda text: _match(r"[A-Za-z0-9_.~-]{8,128}", text)))]
PhoneKey = Annotated[SecretStr, BeforeValidator(_secret(lambda text: _match(r"[A-Za-z0-9]{30}", text)))]
PageToken = Annotated[SecretStr, BeforeValidator(_secret(lambda text: _match(r"[!-~]{16,256}", text)))]
SecretUrl = Annotated[SecretStr, BeforeValidator(_secret(lambda text: _split_url(text, ("http", "https"))))]
SecretUrls = Annotated[tuple[SecretStr, ...], BeforeValidator(_fallbacks)]

HTTP_WORDS = "https://host[:port], or http:// on this machine"
SOCKET_WORDS = "wss://host/path, or ws:// on this machine"
SWITCH_WORDS = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
SOUND_WORDS = "the name of one of Pushover's sounds, such as siren, or of your own"
TYPE_WORDS = {int: "a whole number", Decimal: "a number", float: "a number", bool: "on or off", time: "a time HH:MM"}


def setting(group: str, words: str, default: Any = None, low: Any = None, high: Any = None, /, *, allowed: str = "") -> Any:
    """A field with its place in `.env.example`; `low` and `high` are the inclusive bounds of a number or time."""
    if isinstance(default, Decimal):
        low, high = Decimal(str(low)), Decimal(str(high))
    return Field(default, description=words, ge=low, le=high, json_schema_extra={"group": group, "allowed": allowed})


# --- reading a section of them ------------------------------------------------------------------------------------------


def read_fields(fields: Mapping[str, FieldInfo], given: Mapping[str, str]) -> tuple[dict[str, Any], list[str], set[str]]:
    """What was given of these settings, by name; a line for each that is refused, and the names of those."""
    values: dict[str, Any] = {}
    faults: list[str] = []
    bad: set[str] = set()
    for name, field in fields.items():
        kind: Any = Annotated[(field.annotation, name, *field.metadata)]
        text = given.get(name, "")
        try:
            if text := cleaned(text):
                values[name] = TypeAdapter(kind).validate_python(text)
        except (ValidationError, ValueError, KeyError):
            faults.append(fault(name, field, text))
            bad.add(name)
    return values, faults, bad


# --- saying one value --------------------------------------------------------------------------------------------------


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def group_of(field: FieldInfo) -> str:
    """The heading under which `.env.example` has the setting."""
    return str(_extra(field)["group"])


def description_of(field: FieldInfo) -> str:
    """What the setting is for, in a few words."""
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


def is_hidden(field: FieldInfo) -> bool:
    """Whether a setting's value may be shown nowhere."""
    return "SecretStr" in str(field.annotation)


def quoted(text: str) -> str:
    """A refused value, fit for a message: printable, short, without anything that might be a key."""
    url = re.match(r"[a-zA-Z]+://", text)
    if url:
        text = re.sub(r"//[^/@]*@", "//…@", re.sub(r"[?#].*", "?…", text, flags=re.DOTALL))
    if re.search(r"[A-Za-z0-9_-]{20,}", text):
        return "(not shown: it may be a key)"
    text = text[:60] + ("…" if len(text) > 60 else "")
    return text if re.fullmatch(r"[\w.:/,%+-]+", text, re.ASCII) else ascii(text)


def fault(name: str, field: FieldInfo, text: str) -> str:
    """The refusal of a setting's text, in one line with what would be taken."""
    if is_hidden(field):
        secret_kind = "a key of another kind?" if name in ("PUSHOVER_TOKEN", "PUSHOVER_USER_KEY") and len(text) == 32 else ""
        told = f"is not right ({len(text)} characters{'; ' + secret_kind if secret_kind else ''})"
    else:
        told = f"is {quoted(text)}"
    return f"{name} {told}: allowed is {allowed(field)}"
