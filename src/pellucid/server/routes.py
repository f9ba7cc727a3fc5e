"""Routes of the API and of the page."""

import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pellucid.server import metrics, schemas
from pellucid.server.errors import NOT_STORED, ProblemError
from pellucid.server.frames import Frame
from pellucid.server.schemas import DenoiseQuery, ModelList, NoiseLevel, State
from pellucid.server.service import Service

router = APIRouter()
#: Routes that need the token, where the service has one.
api = APIRouter()
PAGE = Path(__file__).parent / "static"
_REVALIDATED = {"Cache-Control": "no-cache"}
_GUARDED = (401, 403, 421)
_UPLOADING = (*_GUARDED, 408, 413, 415, 422, 429, 500, 503, 504)


class MultipartWriter:
    """Writes a multipart/mixed answer (RFC 2046, 5.1.3); each part has its length, so that no reader has to search.

    Attributes
    ----------
    media_type : str
        With the boundary.
    """

    def __init__(self) -> None:
        # Random, so that no image can hold it.
        self._boundary = secrets.token_hex(16)
        self.media_type = f"{schemas.MULTIPART}; boundary={self._boundary}"

    def frame(self, frame: Frame) -> bytes:
        """Write one frame of a worker's answer, as it is to reach the client."""
        kind = frame.fields["kind"]
        if kind == "progress":
            return self._json({"done": frame.fields["done"], "total": frame.fields["total"]})
        if kind == "result":
            return self._json(frame.fields["result"])
        disposition = f'Content-Disposition: inline; name="{frame.fields["name"]}"\r\n'
        return self._part(frame.fields["type"], disposition, frame.content)

    def problem(self, problem: ProblemError) -> bytes:
        """Write what went wrong after the answer had begun."""
        return self._json({"problem": problem.as_dict()})

    def end(self) -> bytes:
        """Write the end."""
        return f"--{self._boundary}--\r\n".encode()

    def _json(self, value: dict[str, Any]) -> bytes:
        return self._part("application/json", "", json.dumps(value).encode())

    def _part(self, media_type: str, disposition: str, content: bytes) -> bytes:
        head = (
            f"--{self._boundary}\r\nContent-Type: {media_type}\r\n{disposition}Content-Length: {len(content)}\r\n\r\n"
        )
        return b"".join((head.encode(), content, b"\r\n"))


@api.post(
    "/v1/denoise",
    summary="Denoise an image",
    response_class=Response,
    responses={**schemas.image_answer(), **schemas.problem_answers(*_UPLOADING)},
    openapi_extra=schemas.upload_body(),
)
async def denoise(request: Request, options: Annotated[DenoiseQuery, Query()]) -> Response:
    """Denoise an image file, sent as the body or as the only file of a form.

    Format, bit depth and metadata are kept. The format is detected from the content; file names are not used.
    """
    in_parts = schemas.MULTIPART in request.headers.get("accept", "").lower()
    wanted = {"task": "denoise", "previews": in_parts, "options": options.model_dump()}
    service = _service(request)
    frames = _counted(service.answer(request, wanted), service)
    if not in_parts:
        return await _whole(frames)
    # An error before the first frame has an HTTP status of its own.
    first = await anext(frames)
    writer = MultipartWriter()
    return StreamingResponse(_written(writer, first, frames), headers=NOT_STORED, media_type=writer.media_type)


@api.post(
    "/v1/estimate",
    summary="Estimate the noise level of an image",
    response_model=NoiseLevel,
    responses=schemas.problem_answers(*_UPLOADING),
    openapi_extra=schemas.upload_body(),
)
async def estimate(request: Request, response: Response) -> Any:
    """Estimate the standard deviation of the noise; the image is sent as to /v1/denoise."""
    response.headers.update(NOT_STORED)
    async with aclosing(_service(request).answer(request, {"task": "estimate"})) as frames:
        return (await anext(frames)).fields["result"]


@api.get(
    "/v1/models",
    summary="List the models",
    response_model=ModelList,
    responses=schemas.problem_answers(*_GUARDED),
)
async def models() -> ModelList:
    """List the models that /v1/denoise takes."""
    return schemas.models()


@router.get(
    "/healthz",
    summary="Liveness",
    response_model=State,
    responses=schemas.problem_answers(403, 421),
)
async def healthz() -> State:
    """Answer at once, whatever the workers do."""
    return State(status="ok")


@router.get(
    "/readyz",
    summary="Readiness",
    response_model=State,
    responses=schemas.problem_answers(403, 421, 503),
)
async def readyz(request: Request) -> State:
    """Answer 200 when at least one worker is running."""
    if not _service(request).pool.n_ready:
        raise ProblemError(503, "no worker is running; try again in a few seconds", {"Retry-After": "2"})
    return State(status="ok")


@api.get(
    "/metrics",
    summary="Counters for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **schemas.problem_answers(*_GUARDED)},
)
async def prometheus(request: Request) -> Response:
    """Requests by status, seconds, queue length, workers and pixels."""
    return Response(_service(request).metrics.render(), headers=NOT_STORED, media_type=metrics.MEDIA_TYPE)


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """Serve the page."""
    return FileResponse(PAGE / "index.html", headers=_REVALIDATED)


class PageFiles(StaticFiles):
    """The files of the page, which browsers are to revalidate by their ETag."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file, or a problem."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404:
                raise
            raise ProblemError(404, f"{path[:80]!r}: no such file; start at /") from None
        response.headers.update(_REVALIDATED)
        return response


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _counted(frames: AsyncGenerator[Frame, None], service: Service) -> AsyncGenerator[Frame, None]:
    async with aclosing(frames):
        async for frame in frames:
            if frame.fields["kind"] == "result":
                service.metrics.pixels.inc(frame.fields["result"]["width"] * frame.fields["result"]["height"])
            yield frame


async def _whole(frames: AsyncGenerator[Frame, None]) -> Response:
    """Wait for the last frame and answer with the image alone."""
    headers = dict(NOT_STORED)
    async with aclosing(frames):
        async for frame in frames:
            if frame.fields["kind"] == "result":
                result = frame.fields["result"]
                for name in ("sigma", "model", "seconds"):
                    headers[f"X-Pellucid-{name.capitalize()}"] = str(result[name])
            elif frame.fields["kind"] == "part":
                return Response(frame.content, headers=headers, media_type=frame.fields["type"])
    raise ProblemError(500, "internal error: see the server's log")


async def _written(
    writer: MultipartWriter, first: Frame, frames: AsyncGenerator[Frame, None]
) -> AsyncGenerator[bytes, None]:
    """Write each frame as a part as soon as it arrives."""
    async with aclosing(frames):
        yield writer.frame(first)
        try:
            async for frame in frames:
                yield writer.frame(frame)
        except ProblemError as problem:
            yield writer.problem(problem)
        except ClientDisconnect:
            return
    yield writer.end()
