"""Access control: hosts, origins and tokens."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from pellucid.server.app import create_app
from pellucid.server.security import SECURITY_HEADERS, AccessControl
from pellucid.server.service import Service
from pellucid.server.settings import LOOPBACK_NAMES, ServiceSettings

TOKEN = "correct horse battery"  # noqa: S105


def ask(
    path: str = "/v1/models", *, token: str | None = None, hosts: frozenset[str] | None = LOOPBACK_NAMES, **headers: str
) -> httpx.Response:
    settings = ServiceSettings(1, 1, 1, 1, 1, 1, 1, token=token, hosts=hosts)
    transport = httpx.ASGITransport(AccessControl(PlainTextResponse("passed"), settings))

    async def go() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(go())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080"])
def test_this_machines_names(host: str) -> None:
    assert ask(host=host).text == "passed"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.example:8080", "", "[", "127.0.0.1.evil.example"]
)
def test_other_names_are_refused(host: str) -> None:
    assert ask(host=host).status_code == 421
    assert ask(host=host, hosts=None).status_code == 200


def test_pages_of_others_may_not_ask() -> None:
    assert ask(origin="http://evil.example").status_code == 403
    assert ask(origin="null").status_code == 403
    assert ask(origin="http://localhost:8080").status_code == 200
    assert ask(origin="http://127.0.0.1:8080").status_code == 200
    assert ask(origin="https://photos.example", host="photos.example", hosts=None).status_code == 200
    assert ask(origin="https://evil.example", host="photos.example", hosts=None).status_code == 403


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, "Bearer é"],
)
def test_wrong_tokens(given: str) -> None:
    answer = ask(token=TOKEN, authorization=given.encode("latin-1"))  # type: ignore[arg-type]
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert TOKEN not in answer.text


def test_the_right_token_and_what_needs_none() -> None:
    assert ask(token=TOKEN, authorization=f"Bearer {TOKEN}").text == "passed"
    assert ask(token=TOKEN, authorization=f"bearer  {TOKEN}").text == "passed"
    assert ask("/metrics", token=TOKEN).status_code == 401
    for path in ("/", "/static/app.js", "/healthz", "/readyz", "/openapi.json"):
        assert ask(path, token=TOKEN).text == "passed"


def test_the_document_names_what_needs_the_token() -> None:
    app = create_app(Service(ServiceSettings(1, 1, 1, 1, 1, 1, 1, token=TOKEN)))

    async def go() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            document = (await client.get("/openapi.json")).json()
            assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
            for path, methods in document["paths"].items():
                for method, operation in methods.items():
                    is_refused = (await client.request(method, path)).status_code == 401
                    assert is_refused == (operation.get("security") == [{"token": []}]), path

    asyncio.run(go())


def test_every_answer_tells_browsers_to_be_strict() -> None:
    for answer in (ask(), ask(host="evil.example"), ask(token=TOKEN)):
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'self'; img-src 'self' blob: data:;" in policy
    assert "frame-ancestors 'none'" in policy
