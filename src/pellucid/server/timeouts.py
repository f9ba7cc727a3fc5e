"""Connection timeouts."""

import asyncio
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

#: How long the headers of a request may take.
HEAD_S = 10.0
#: How long a refused upload is drained, so that its client sees the answer before the connection closes.
LINGER_S = 5.0
_PIECE_BYTES = 1 << 18


class PunctualProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with a time limit for the headers of a request."""

    def __init__(self, *arguments: Any, head_limit_s: float = HEAD_S, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_limit_s = head_limit_s

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._late: asyncio.TimerHandle | None = None
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Start the clock with the first byte of the headers, stop it with the last."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        else:
            self._expect_nothing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self._head_limit_s, self.transport.close)

    def _expect_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class TimeLimits:
    """Sends answers in pieces, each of which a client must fetch within a time limit, and drains refused uploads."""

    def __init__(self, app: ASGIApp, time_limit_s: float, linger_s: float = LINGER_S) -> None:
        self._app = app
        self._limits_s = (time_limit_s, linger_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(Headers(scope=scope), receive, send, *self._limits_s)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except BaseException:
            # The connection was given up: the app's error is a consequence.
            if not exchange.is_given_up:
                raise


class _Exchange:
    """One request and its answer."""

    def __init__(self, headers: Headers, receive: Receive, send: Send, time_limit_s: float, linger_s: float) -> None:
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._receive, self._send = receive, send
        self._time_limit_s, self._linger_s = time_limit_s, linger_s
        self._is_unread = has_body
        # Such a client sends nothing before it is asked to.
        self._is_waiting = headers.get("expect", "").lower() == "100-continue"
        self._must_close = False
        self.is_given_up = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_waiting = False
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._is_unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._must_close = self._is_unread
            if self._must_close:
                MutableHeaders(scope=message)["Connection"] = "close"
            await self._pass(message)
            return
        body, is_last = memoryview(message.get("body", b"")), not message.get("more_body", False)
        for start in range(0, len(body), _PIECE_BYTES):
            await self._pass(_body(bytes(body[start : start + _PIECE_BYTES]), more=True))
        if is_last:
            if self._must_close:
                await self._linger()
            await self._pass(_body(b"", more=False))

    async def _pass(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._time_limit_s):
                await self._send(message)
        except TimeoutError:
            self.is_given_up = True
            raise

    async def _linger(self) -> None:
        """Drain the rest of the upload."""
        try:
            async with asyncio.timeout(self._linger_s):
                while self._is_unread and not self._is_waiting:
                    await self.receive()
        except TimeoutError:
            return


def _body(content: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}
