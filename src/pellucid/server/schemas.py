"""What the API takes and gives, as its OpenAPI document says it.

Nothing enters; parameters, bodies and responses leave, with examples. It knows nothing of how they are answered.
"""

from typing import Annotated, Any

from fastapi import Query
from pydantic import AfterValidator, BaseModel, Field

from pellucid.inference.registry import list_models
from pellucid.server import errors, parts
from pellucid.server.uploads import BYTES, FORM

IMAGE_TYPES = ("image/jpeg", "image/png", "image/tiff", "image/webp", "image/avif")
_MODELS = {card.name: card for card in list_models()}
_BINARY = {"schema": {"type": "string", "format": "binary"}}


def _known(name: str) -> str:
    # Names only: a model's folder is a path, which no client has a say in.
    if name not in _MODELS:
        raise ValueError(f"there is no model {name[:40]!r}: choose one of {', '.join(_MODELS)}")
    return name


def _percent(description: str) -> Any:
    return Query(ge=0, le=100, allow_inf_nan=False, description=description, openapi_examples={"all": {"value": 100}})


Sigma = Annotated[
    float | None,
    Query(
        ge=0,
        le=max(card.sigma_max for card in _MODELS.values()),
        allow_inf_nan=False,
        description="Standard deviation of the noise on the 0..255 scale; by default estimated from the image.",
        openapi_examples={"a night photograph": {"value": 12.5}},
    ),
]
Strength = Annotated[
    float, _percent("How much of the noise is taken out, in percent; at 0 the file comes back as it is.")
]
Luma = Annotated[float, _percent("How much of that in brightness, in percent.")]
Chroma = Annotated[float, _percent("How much of that in colour, in percent; gray images have none.")]
Model = Annotated[
    str | None,
    AfterValidator(_known),
    Query(
        description="A model's name, as /v1/models lists them; by default the one for the image's channels.",
        json_schema_extra={"enum": list(_MODELS)},
        openapi_examples={"colour": {"value": "color"}},
    ),
]


class ModelEntry(BaseModel):
    """A model that can be asked for."""

    name: str = Field(examples=["color"])
    summary: str
    channels: int = Field(description="Of the images that it is for.")
    sigma_max: float = Field(description="Strongest noise that it knows, on the 0..255 scale.")


class ModelList(BaseModel):
    """The models of this service."""

    models: list[ModelEntry]


class NoiseLevel(BaseModel):
    """How strong the noise in an image is."""

    sigma: float = Field(description="Standard deviation on the 0..255 scale; the mean of the pages.", examples=[12.31])
    sigmas: list[float] = Field(description="Of each page.", examples=[[12.31]])
    width: int = Field(description="In pixels, turned upright.", examples=[6000])
    height: int = Field(examples=[4000])
    format: str = Field(examples=["jpeg"])


class State(BaseModel):
    """Whether the service is well."""

    status: str = Field(examples=["ok"])


class ProblemBody(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str = Field(description="What is wrong, and what to do about it.")


def models() -> ModelList:
    """List the models, as /v1/models does."""
    entries = [
        ModelEntry(name=card.name, summary=card.summary, channels=card.channels, sigma_max=card.sigma_max)
        for card in _MODELS.values()
    ]
    return ModelList(models=entries)


def upload_body() -> dict[str, Any]:
    """Describe a request that brings an image."""
    form = {"type": "object", "required": ["file"], "properties": {"file": _BINARY["schema"]}}
    content = {**dict.fromkeys((*IMAGE_TYPES, BYTES), _BINARY), FORM: {"schema": form}}
    return {"requestBody": {"required": True, "description": "The image file.", "content": content}}


def image_answer() -> dict[int | str, dict[str, Any]]:
    """Describe the answer of /v1/denoise."""
    number = {"schema": {"type": "number"}}
    headers = {
        "X-Pellucid-Sigma": {"description": "The noise level used, 0..255 scale.", "example": 12.31, **number},
        "X-Pellucid-Model": {"description": "The model used.", "example": "color", "schema": {"type": "string"}},
        "X-Pellucid-Seconds": {"description": "Reading, denoising and writing.", "example": 0.52, **number},
    }
    description = (
        "The denoised image, in the format that came. With 'Accept: multipart/mixed', as they come to be: JSON "
        'parts {"done", "total"}, a JSON part of sigma, is_estimated, model, width, height, format and seconds, the '
        "PNG parts named before and after (8 bits, upright, at most 4096 pixels long), and the image named result. "
        'What fails after the answer has begun is told by a last JSON part {"problem"}.'
    )
    content = {**dict.fromkeys(IMAGE_TYPES, _BINARY), parts.MEDIA_TYPE: _BINARY}
    return {200: {"description": description, "headers": headers, "content": content}}


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a route may answer with."""
    reference = {"$ref": "#/components/schemas/ProblemBody"}
    told = {
        401: ("The token is missing or wrong.", "Authorization: the token is missing or wrong; send it"),
        403: (
            "Another site's page asks.",
            "Origin 'https://example.org': another site's page may not use this service",
        ),
        408: ("The upload takes too long.", "upload: not complete within 120 s; send it faster"),
        413: ("Too many bytes or pixels.", "upload: more than 100000000 bytes; send a smaller file"),
        415: ("No image, or of a kind that is not handled.", "image data: a GIF file; convert it first"),
        421: ("Called by another name.", "Host 'example.org': is not this service"),
        422: ("A parameter out of its range, or a damaged image.", "image data: truncated or damaged JPEG"),
        429: ("Too many requests wait.", "32 requests are waiting already; send this one again in 8 s"),
        500: ("The service failed.", "the service failed on it; tell its owner"),
        503: ("The worker was lost, or none is up.", "the process that worked on the request ended by signal 9"),
        504: ("The work takes too long.", "image data: not done within 120 s; send a smaller image"),
    }
    return {
        status: {
            "description": told[status][0],
            "content": {
                errors.MEDIA_TYPE: {
                    "schema": reference,
                    "example": errors.ProblemError(status, told[status][1]).as_dict(),
                }
            },
        }
        for status in statuses
    }
