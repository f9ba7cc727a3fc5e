"""The routes for programs.

Requests enter; images, JSON and Prometheus' text leave. It knows nothing of images or processes: the service does.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from pellucid.server import metrics, parts, schemas
from pellucid.server.answers import NOT_STORED
from pellucid.server.errors import ProblemError
from pellucid.server.frames import Frame
from pellucid.server.parts import Parts
from pellucid.server.schemas import Chroma, Luma, Model, ModelList, NoiseLevel, Sigma, State, Strength
from pellucid.server.service import Service

router = APIRouter()
_GUARDED = (401, 403, 421)
_UPLOADING = (*_GUARDED, 408, 413, 415, 422, 429, 500, 503, 504)


@router.post(
    "/v1/denoise",
    summary="Take the noise out of an image",
    response_class=Response,
    responses={**schemas.image_answer(), **schemas.problem_answers(*_UPLOADING)},
    openapi_extra=schemas.upload_body(),
)
async def denoise(
    request: Request,
    sigma: Sigma = None,
    strength: Strength = 100.0,
    luma: Luma = 100.0,
    chroma: Chroma = 100.0,
    model: Model = None,
) -> Response:
    """Send an image file as the body, or as the one file of a form; it comes back denoised.

    Format, depth and metadata are kept. The content decides what format a file is in; no file name is used.
    """
    in_parts = parts.MEDIA_TYPE in request.headers.get("accept", "").lower()
    wanted: dict[str, Any] = {"sigma": sigma, "strength": strength, "luma": luma, "chroma": chroma, "model": model}
    wanted.update(task="denoise", previews=in_parts)
    service = _service(request)
    frames = _counted(service.answer(request, wanted), service)
    if not in_parts:
        return await _whole(frames)
    # What fails before the first frame has a status of its own.
    first = await anext(frames)
    writer = Parts()
    return StreamingResponse(_written(writer, first, frames), headers=NOT_STORED, media_type=writer.media_type)


@router.post(
    "/v1/estimate",
    summary="Estimate the noise in an image",
    response_model=NoiseLevel,
    responses=schemas.problem_answers(*_UPLOADING),
    openapi_extra=schemas.upload_body(),
)
async def estimate(request: Request, response: Response) -> Any:
    """Send an image as to /v1/denoise; the standard deviation of its noise comes back."""
    response.headers.update(NOT_STORED)
    async with aclosing(_service(request).answer(request, {"task": "estimate"})) as frames:
        return (await anext(frames)).fields["result"]


@router.get(
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
    summary="Is the process alive",
    response_model=State,
    responses=schemas.problem_answers(403, 421),
)
async def healthz() -> State:
    """Answer at once, whatever the workers do."""
    return State(status="ok")


@router.get(
    "/readyz",
    summary="Can requests be answered",
    response_model=State,
    responses=schemas.problem_answers(403, 421, 503),
)
async def readyz(request: Request) -> State:
    """Answer 200 when at least one worker is up."""
    if not _service(request).pool.n_ready:
        raise ProblemError(503, "no worker is up; ask again in a few seconds", {"Retry-After": "2"})
    return State(status="ok")


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **schemas.problem_answers(*_GUARDED)},
)
async def prometheus(request: Request) -> Response:
    """Give requests by status, seconds, queue length, workers and pixels."""
    return Response(_service(request).metrics.render(), headers=NOT_STORED, media_type=metrics.MEDIA_TYPE)


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
    """Wait for the end and answer with the image alone."""
    headers = dict(NOT_STORED)
    async with aclosing(frames):
        async for frame in frames:
            if frame.fields["kind"] == "result":
                result = frame.fields["result"]
                for name in ("sigma", "model", "seconds"):
                    headers[f"X-Pellucid-{name.capitalize()}"] = str(result[name])
            elif frame.fields["kind"] == "part":
                return Response(frame.content, headers=headers, media_type=frame.fields["type"])
    raise ProblemError(500, "the worker gave no image; tell the service's owner")


async def _written(writer: Parts, first: Frame, frames: AsyncGenerator[Frame, None]) -> AsyncGenerator[bytes, None]:
    """Write each frame as a part as soon as it is there."""
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
