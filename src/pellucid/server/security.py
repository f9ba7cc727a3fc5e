"""Access control and security headers."""

import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

from fastapi.security import HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pellucid.server.errors import ProblemError, problem_response
from pellucid.server.settings import ServiceSettings

#: Describes the token in the OpenAPI document. `AccessControl` checks it, before a request is routed.
BEARER = HTTPBearer(scheme_name="token", auto_error=False)
#: Of every answer. Blobs are the page's own images.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class AccessControl:
    """Checks host, origin and token of each request, and adds security headers to each answer."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealing(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        try:
            self._check(scope["path"], Headers(scope=scope))
        except ProblemError as problem:
            await problem_response(problem)(scope, receive, sealing)
        else:
            await self._app(scope, receive, sealing)

    def _check(self, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        allowed = self._settings.hosts
        # A foreign name that resolves to this machine is how a web page reaches local services (DNS rebinding).
        # Starlette's TrustedHostMiddleware would answer 400 in plain text, and the origin has to be checked too.
        if allowed is not None and _name(host) not in allowed:
            raise ProblemError(421, f"Host {host[:80]!r}: is not this service; call it by {_listed(allowed)}")
        origin = headers.get("origin")
        if origin is not None and not _is_own(origin, host, allowed):
            raise ProblemError(403, f"Origin {origin[:80]!r}: pages of other sites may not use this service")
        if self._settings.token is not None and (path.startswith("/v1/") or path == "/metrics"):
            _check_token(headers.get("authorization", ""), self._settings.token)


def _check_token(authorization: str, token: str) -> None:
    scheme, _, given = authorization.partition(" ")
    # In constant time, so that timing does not reveal how much of a guess is right.
    is_right = hmac.compare_digest(given.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not is_right:
        detail = "Authorization: the token is missing or wrong; send 'Authorization: Bearer TOKEN'"
        raise ProblemError(401, detail, {"WWW-Authenticate": "Bearer"})


def _is_own(origin: str, host: str, allowed: frozenset[str] | None) -> bool:
    netloc = origin.partition("://")[2]
    return bool(netloc) and (netloc.lower() == host.lower() or (allowed is not None and _name(netloc) in allowed))


def _name(netloc: str) -> str:
    """Remove the port from a host."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
