"""Who may ask: requests from pages of other sites, under foreign names, without the token, or too large are refused.

A page of another site can let a browser send requests to a server on this machine. Two things tell them apart:

- `Host` is a name of this machine. A name of somebody else that leads here (DNS rebinding) is refused.
- `Origin` and `Sec-Fetch-Site`, which browsers send and pages cannot change, are those of our own pages.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "stemsplit_token"
FORM_BYTES = 64 << 10
"""What a request may be longer than its file."""
MOST_DIGITS = 18
"""Of a length: Python reads no numbers of thousands of digits."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OWN_SITE = ("same-origin", "none")  # "none": typed, or a bookmark
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
ASK_FOR_TOKEN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>stemsplit</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>
body { font: 17px/1.5 system-ui, sans-serif; max-width: 22em; margin: 18vh auto; padding: 0 1em }
input, button { font: inherit; padding: 0.5em 0.8em; border-radius: 0.5em; border: 1px solid GrayText; width: 100% }
button { margin-top: 0.8em; background: #2f46c7; color: #fff; border: 0; cursor: pointer }
</style>
<h1>stemsplit</h1><form><p><label>The token of this server
<input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button>Open</button></form>"""


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Rules:
    """What is let through.

    Attributes:
        token: what every request has to bring; None on a loopback address only.
        most_bytes: the longest body of a request.
        names: names of this machine, beside addresses; with a token only.
    """

    token: str | None
    most_bytes: int
    names: frozenset[str] = frozenset()

    @classmethod
    def made(cls, token: str | None, most_file_bytes: int) -> Rules:
        """Return the rules of a server that takes files of at most so many bytes."""
        own = socket.gethostname().lower()
        names = frozenset({own, own.partition(".")[0], f"{own.partition('.')[0]}.local"}) if token else frozenset[str]()
        return cls(token, most_file_bytes + FORM_BYTES, names)

    def knows(self, host: str) -> bool:
        """Return whether a `Host` is one of this machine. An address is no name, which others could let lead here."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if is_loopback(name):
            return True
        if self.token is None:
            return False
        try:
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return name in self.names

    def accepts(self, token: str | None) -> bool:
        """Return whether a token is the right one, in a time that does not tell how much of it is."""
        if self.token is None:
            return True
        return token is not None and hmac.compare_digest(token.encode(), self.token.encode())


class Guard:
    """Lets through what the rules allow, and refuses all else before it reaches the application."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            return  # no web sockets here
        request = Request(scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        response = self._refusal(request) or self._token_answer(request)
        if response is not None:
            await response(scope, receive, guarded)
            return
        await self._app(scope, self._bounded(receive), guarded)

    def _refusal(self, request: Request) -> Response | None:
        headers, method = request.headers, request.method
        if not self._rules.knows(headers.get("host", "")):
            return _refused(403, "this server is not called that: use the address that `stemsplit serve` printed")
        if not _is_own_page(headers, method):
            return _refused(403, "pages of other sites may not use this server")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > MOST_DIGITS or int(length) > self._rules.most_bytes:
            return _refused(413, self._too_large)
        return None

    @property
    def _too_large(self) -> str:
        return f"too large: at most {(self._rules.most_bytes - FORM_BYTES) / 1e6:g} MB"

    def _token_answer(self, request: Request) -> Response | None:
        """Return what is answered to who has no token, or brings it in an address for the first time."""
        if self._rules.token is None:
            return None
        given = request.query_params.get("token")
        if given is not None and request.method == "GET" and self._rules.accepts(given):
            rest = urlencode([(k, v) for k, v in parse_qsl(request.url.query) if k != "token"])
            path = "/" + request.url.path.lstrip("/")  # //name would be another server
            answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="lax", max_age=30 * 86400)
            return answer
        if any(self._rules.accepts(token) for token in _tokens(request.headers)):
            return None
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(
                ASK_FOR_TOKEN, 401, {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
            )
        return _refused(401, "a token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    def _bounded(self, receive: Receive) -> Receive:
        """Return `receive`, which refuses a body that does not say its length once it is too long."""
        came = 0

        async def bounded() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._rules.most_bytes:
                raise HTTPException(413, self._too_large)
            return message

        return bounded


def _is_own_page(headers: Headers, method: str) -> bool:
    """Return whether a request is of one of our own pages, or of no page at all."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        return False
    if headers.get("sec-fetch-site", "none") in OWN_SITE:
        return True
    return method in SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate"  # a link to us


def _tokens(headers: Headers) -> Iterable[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield token.strip()
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return
    if COOKIE in cookies:
        yield cookies[COOKIE].value


def _refused(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"detail": why}, status, headers)
