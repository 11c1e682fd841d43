"""Who may ask for what. Pure: the time and the secrets are given.

- A foreign Host is misdirected (a name that was rebound to this machine): ours are loopback, the address the server was told to
  listen on, literal addresses when it listens on all of them, and that of PUBLIC_URL. The port is looked at where we know it.
- Without DASHBOARD_TOKEN, which only a loopback address may be, the page may be read by whoever is on this machine, and nothing
  may be done. With it, it opens everything: as a bearer, or once, for a cookie that lives twelve hours.
- A link that was followed from another site (a mail, a messenger) may open a page, and asks for nothing else by that.
- What is done needs a POST of our own page (Origin, Sec-Fetch-Site) and more than a cookie: the bearer, a link's token, or the
  page's own word, in a header. And it needs a second press: `promise` and `kept`.
- No secret is ever in a URL that a server sees, and none is compared but in constant time.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from dashboard.server import Request
from setting import is_loopback

if TYPE_CHECKING:
    from config import Config

SESSION_S = 12 * 3600
PROMISE_S = 30
COOKIE = "desk"
PAGE_HEADER = "x-desk"
KEPT_MAX = 1_000

Who = Literal["page", "token", "link"]


class Guard:
    """One server's rules; `port` is the one it really listens on."""

    def __init__(self, config: Config, port: int) -> None:
        self._host = config.http_host
        self._port = port
        self._public = None if config.public_url is None else urlsplit(config.public_url)
        self._token = None if config.dashboard_token is None else config.dashboard_token.get_secret_value()
        self._kept: dict[str, float] = {}

    @property
    def is_open(self) -> bool:
        """Whether the page may be read without a token."""
        return self._token is None

    @property
    def is_encrypted(self) -> bool:
        return self._public is not None and self._public.scheme == "https"

    # --- where from ---

    def is_ours(self, host: str | None) -> bool:
        """Whether a Host header means this server."""
        try:
            split = urlsplit(f"//{host or ''}")
            name, port = split.hostname, split.port
        except ValueError:
            return False
        if not name or split.username is not None or split.path or split.query or split.fragment:
            return False
        if self._public is not None and name == self._public.hostname:
            return port == self._public.port or port in (80, 443)
        if port != self._port:
            return False
        return is_loopback(name) or name == self._host.lower() or (self._listens_everywhere and is_address(name))

    @property
    def _listens_everywhere(self) -> bool:
        return self._host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

    def is_same_site(self, request: Request, *, strictly: bool) -> bool:
        """Whether a request comes from our own page or from no page at all; `strictly`: it must say so itself."""
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if site not in (None, "same-origin", *(() if strictly else ("none",))):
            return False
        if origin is None:
            return not strictly or "authorization" in request.headers
        split = urlsplit(origin)
        scheme = "https" if self.is_encrypted and split.hostname == getattr(self._public, "hostname", None) else "http"
        return origin == f"{scheme}://{request.headers.get('host', '')}"

    @staticmethod
    def is_visit(request: Request) -> bool:
        """Whether somebody followed a link: a whole document, and no frame, script or fetch of another site."""
        said = tuple(request.headers.get(f"sec-fetch-{name}") for name in ("mode", "dest"))
        return request.method == "GET" and said == ("navigate", "document") and "origin" not in request.headers

    @staticmethod
    def is_from_elsewhere(request: Request) -> bool:
        """Whether another site sent the visitor: his browser holds our cookie back then, until he comes from ourselves."""
        return request.headers.get("sec-fetch-site") in ("cross-site", "same-site")

    # --- who ---

    def reader(self, request: Request, now: float) -> bool:
        return self.is_open or self.knows_token(request, now)

    def knows_token(self, request: Request, now: float) -> bool:
        return self._has_bearer(request) or self._has_session(request, now)

    def doer(self, request: Request, now: float) -> Who | None:
        """Who may act by this request, links aside."""
        if self._has_bearer(request):
            return "token"
        word = request.headers.get(PAGE_HEADER, "")
        if self._has_session(request, now) and same(word, self.page_word(request)):
            return "page"
        return None

    def _has_bearer(self, request: Request) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self.is_token(given.strip())

    def is_token(self, given: str) -> bool:
        return self._token is not None and same(given, self._token)

    def _has_session(self, request: Request, now: float) -> bool:
        until, _, signature = cookie_of(request).partition(".")
        if self._token is None or not until.isdigit() or len(until) > 12:
            return False
        return same(signature, self._sign("session", until)) and now < int(until)

    def page_word(self, request: Request) -> str:
        """What our own page has to say with everything it does, so that a cookie alone does nothing."""
        return self._sign("word", cookie_of(request))

    def session_cookie(self, now: float) -> str:
        until = str(int(now) + SESSION_S)
        secure = "; Secure" if self.is_encrypted else ""
        session = f"{until}.{self._sign('session', until)}"
        return f"{COOKIE}={session}; Path=/; Max-Age={SESSION_S}; HttpOnly; SameSite=Strict{secure}"

    # --- the second press ---

    def promise(self, what: str, now: float, nonce: str) -> str:
        """What the second press has to bring back, within half a minute, for exactly this."""
        until = str(int(now) + PROMISE_S)
        return f"{until}.{nonce}.{self._sign('promise', until, nonce, what)}"

    def kept(self, promise: str, what: str, now: float) -> bool:
        """Whether this is the second press; it is so only once."""
        until, _, rest = promise.partition(".")
        nonce, _, signature = rest.partition(".")
        if not until.isdigit() or len(until) > 12 or not same(signature, self._sign("promise", until, nonce, what)):
            return False
        self._kept = {old: end for old, end in self._kept.items() if end > now}
        if now >= int(until) or nonce in self._kept or len(self._kept) >= KEPT_MAX:
            return False
        self._kept[nonce] = float(until)
        return True

    def _sign(self, *parts: str) -> str:
        key = (self._token or "").encode()
        return urlsafe_b64encode(hmac.digest(key, "\0".join(parts).encode(), sha256)).rstrip(b"=").decode()


def same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def cookie_of(request: Request) -> str:
    try:
        morsel = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
