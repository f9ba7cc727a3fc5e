"""Connection timeouts, on small servers in this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pellucid.server.timeouts import HEAD_S, LINGER_S, PunctualProtocol, TimeLimits

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def polite(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await PlainTextResponse("done")(scope, receive, send)


async def curt(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("no", 413)(scope, receive, send)


async def lavish(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(bytes(50_000_000))(scope, receive, send)


@asynccontextmanager
async def served(
    app: ASGIApp, *, time_limit_s: float = 5, head_limit_s: float = HEAD_S, linger_s: float = LINGER_S
) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    limited = TimeLimits(app, time_limit_s, linger_s)
    config = uvicorn.Config(limited, http=PunctualProtocol, lifespan="off", log_level="critical")
    config.load()
    state = uvicorn.server.ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: PunctualProtocol(config, state, {}, head_limit_s=head_limit_s), "127.0.0.1", 0
    )
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1]))
        return clients[-1]

    try:
        yield connect
    finally:
        for _, writer in clients:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        server.close()
        while state.connections or state.tasks:
            await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


@pytest.mark.parametrize("dribble", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
def test_slow_headers_are_cut_off(dribble: bytes) -> None:
    async def test() -> None:
        async with served(polite, head_limit_s=0.3) as connect:
            reader, writer = await connect()
            for piece in (dribble, *[b"x"] * 3):
                await asyncio.sleep(0.02)
                writer.write(piece if dribble else b"")
            assert await asyncio.wait_for(reader.read(), 10) == b""

    run(test)


def test_each_request_of_a_connection_has_the_full_limit() -> None:
    async def test() -> None:
        async with served(polite, head_limit_s=1.0) as connect:
            reader, writer = await connect()
            for _ in range(4):
                await asyncio.sleep(0.3)
                writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
                await asyncio.sleep(0.1)
                writer.write(b"x")
                assert (await answer(reader)).endswith(b"done")

    run(test)


def test_slow_body_does_not_count_as_headers() -> None:
    async def test() -> None:
        async with served(polite, head_limit_s=0.2) as connect:
            reader, writer = await connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
            await asyncio.sleep(0.5)
            writer.write(b"x")
            assert (await answer(reader)).endswith(b"done")

    run(test)


def test_refused_upload_is_drained() -> None:
    async def test() -> None:
        async with served(curt, linger_s=5.0) as connect:
            reader, writer = await connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
            for _ in range(100):
                writer.write(bytes(100_000))
                await writer.drain()
            told = await answer(reader)
            assert told.startswith(b"HTTP/1.1 413")
            assert b"connection: close" in told.lower()
            assert await reader.read() == b""

    run(test)


def test_endless_refused_upload_is_cut_off() -> None:
    async def test() -> None:
        async with served(curt, linger_s=0.2) as connect:
            reader, writer = await connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
            assert (await answer(reader)).startswith(b"HTTP/1.1 413")
            assert await asyncio.wait_for(reader.read(), 10) == b""

    run(test)


def test_unfetched_answer_is_cut_off() -> None:
    async def test() -> None:
        async with served(lavish, time_limit_s=0.2) as connect:
            reader, writer = await connect()
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(1.0)
            assert len(await reader.read()) < 50_000_000

    run(test)


def test_large_answer_arrives_whole() -> None:
    async def test() -> None:
        async with served(lavish) as connect:
            reader, writer = await connect()
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert len((await answer(reader)).partition(b"\r\n\r\n")[2]) == 50_000_000

    run(test)


def test_errors_are_raised_unless_the_answer_was_given_up() -> None:
    async def stuck(_: object) -> None:
        await asyncio.sleep(60)

    async def nothing() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    async def test() -> None:
        scope = {"type": "http", "method": "GET", "headers": []}
        await TimeLimits(lavish, 0.05)(scope, nothing, stuck)
        with pytest.raises(ZeroDivisionError):
            await TimeLimits(broken, 0.05)(scope, nothing, stuck)

    run(test)
