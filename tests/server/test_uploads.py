"""Uploads, as they come in from well-meaning and other clients."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from pellucid.server.errors import ProblemError
from pellucid.server.settings import ServiceSettings
from pellucid.server.uploads import N_LARGEST, UploadBudget

LIMIT = 1000


def intake() -> UploadBudget:
    return UploadBudget(ServiceSettings(1, 1, 1, max_bytes=LIMIT, max_pixels=1, time_limit_s=1, memory_limit_mb=1))


def read(
    chunks: Sequence[bytes | float], headers: dict[str, str] | None = None, *, into: UploadBudget | None = None
) -> bytes:
    """Read a body whose chunks are bytes, or seconds to wait; it ends by a disconnect where the last is infinite."""
    left = list(chunks)

    async def receive() -> dict[str, object]:
        while left and isinstance(left[0], float):
            if left[0] == float("inf"):
                return {"type": "http.disconnect"}
            await asyncio.sleep(left.pop(0))  # type: ignore[arg-type]
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    request = Request({"type": "http", "method": "POST", "headers": raw}, receive)

    async def go() -> bytes:
        with (into or intake()).upload() as shelf:
            return await shelf.read(request, 0.1)

    return asyncio.run(go())


def form(*parts: tuple[str, bytes], boundary: str = "b0undary") -> tuple[bytes, dict[str, str]]:
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {what}\r\n\r\n".encode() + content + b"\r\n"
        for what, content in parts
    )
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def status_of(chunks: Sequence[bytes | float], headers: dict[str, str] | None = None) -> int:
    with pytest.raises(ProblemError) as caught:
        read(chunks, headers)
    return caught.value.status


@pytest.mark.parametrize("kind", ["", "image/png", "IMAGE/JPEG", "image/png; x=y", "application/octet-stream"])
def test_a_plain_body(kind: str) -> None:
    assert read([b"ab", b"", b"c"], {"Content-Type": kind} if kind else None) == b"abc"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json", "application/x-www-form-urlencoded", "junk", "a/b/c"]
)
def test_types_that_are_no_image(kind: str) -> None:
    assert status_of([b"abc"], {"Content-Type": kind}) == 415


def test_too_large_by_its_own_word_is_refused_before_it_is_read() -> None:
    assert status_of([float("inf")], {"Content-Length": str(LIMIT + 1)}) == 413


def test_too_large_is_refused_when_it_shows() -> None:
    assert len(read([b"x" * LIMIT])) == LIMIT
    assert status_of([b"x" * LIMIT, b"y", float("inf")]) == 413


@pytest.mark.parametrize("length", ["-1", "many", "²", ""])
def test_lengths_that_are_no_number_are_not_believed(length: str) -> None:
    assert read([b"abc"], {"Content-Length": length}) == b"abc"


def test_slow_uploads_end() -> None:
    assert status_of([b"a", 0.06, b"b", 0.06, b"c", 0.06, b"d"]) == 408


def test_aborted_uploads() -> None:
    with pytest.raises(ClientDisconnect):
        read([b"a", float("inf")])


def test_uploads_share_their_memory_and_give_it_back() -> None:
    shared = intake()
    with shared.upload() as other:
        shared.take(N_LARGEST * LIMIT - 3)
        other.n_bytes = N_LARGEST * LIMIT - 3
        assert read([b"abc"], into=shared) == b"abc"
        with pytest.raises(ProblemError) as caught:
            read([b"abcd"], into=shared)
        assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "5"})
    assert len(read([b"x" * LIMIT], into=shared)) == LIMIT


@given(content=st.binary(max_size=300), cut=st.integers(1, 50))
def test_a_form_brings_its_file_whole_however_it_is_cut(content: bytes, cut: int) -> None:
    body, headers = form(('name="note"', b"hello"), ('name="file"; filename="../../etc/passwd"', content))
    chunks = [body[i : i + cut] for i in range(0, len(body), cut)]
    assert read(chunks, headers) == content


def test_forms_without_just_one_file() -> None:
    assert status_of(*_one(form(('name="file"', b"abc")))) == 422
    assert status_of(*_one(form(('name="a"; filename="a"', b"a"), ('name="b"; filename="b"', b"b")))) == 422
    body, headers = form(('name="file"; filename="a"', b"abc"))
    assert status_of([body[:-4]], headers) == 422
    assert status_of([body], {"Content-Type": "multipart/form-data"}) == 422
    assert status_of([b"--b0undary\r\n: :\0\r\n\r\n"], headers) == 422
    assert status_of([body], {"Content-Type": f"multipart/form-data; boundary={'x' * 400}"}) == 422


def _one(made: tuple[bytes, dict[str, str]]) -> tuple[list[bytes], dict[str, str]]:
    return [made[0]], made[1]
