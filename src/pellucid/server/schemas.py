"""Parameters, bodies and answers of the API, as its OpenAPI document describes them."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, create_model

from pellucid.inference.options import PRESENTATIONS, default_in_user_units
from pellucid.inference.registry import list_models
from pellucid.server import errors
from pellucid.server.uploads import BYTES, FORM

MULTIPART = "multipart/mixed"
IMAGE_TYPES = ("image/jpeg", "image/png", "image/tiff", "image/webp", "image/avif")
_MODELS = {card.name: card for card in list_models()}
_BINARY = {"schema": {"type": "string", "format": "binary"}}


def _known(name: str) -> str:
    # Names only: clients may not choose paths.
    if name not in _MODELS:
        raise ValueError(f"there is no model {name[:40]!r}: choose one of {', '.join(_MODELS)}")
    return name


def _query_fields() -> dict[str, Any]:
    """Describe each option that changes the result as a query parameter, in users' units."""
    fields: dict[str, Any] = {}
    for name, shown in PRESENTATIONS.items():
        if shown.group != "result":
            continue
        if name == "model":
            description = "A model's name, see /v1/models. Default: by the image's channels."
            known = Field(None, description=description, json_schema_extra={"enum": list(_MODELS)}, examples=["color"])
            fields[name] = (Annotated[str | None, AfterValidator(_known)], known)
            continue
        default = default_in_user_units(name)
        high = max(card.sigma_max for card in _MODELS.values()) if shown.high is None else shown.high * shown.scale
        kind = Annotated[float, Field(ge=0, le=high, allow_inf_nan=False)]
        fields[name] = (kind | None if default is None else kind, Field(default, description=shown.help))
    return fields


if TYPE_CHECKING:
    DenoiseQuery = BaseModel
else:
    DenoiseQuery = create_model("DenoiseQuery", **_query_fields())


class ModelEntry(BaseModel):
    """A model that can be chosen."""

    name: str = Field(examples=["color"])
    summary: str
    channels: int = Field(description="Channels of the images that it is for.")
    sigma_max: float = Field(description="Largest sigma, on the 0..255 scale.")


class ModelList(BaseModel):
    """The models of this service."""

    models: list[ModelEntry]


class NoiseLevel(BaseModel):
    """The noise level of an image."""

    sigma: float = Field(description="Standard deviation on the 0..255 scale; the mean of the pages.", examples=[12.31])
    sigmas: list[float] = Field(description="Of each page.", examples=[[12.31]])
    width: int = Field(description="In pixels, after applying the orientation.", examples=[6000])
    height: int = Field(examples=[4000])
    format: str = Field(examples=["jpeg"])


class State(BaseModel):
    """State of the service."""

    status: str = Field(examples=["ok"])


class ProblemBody(BaseModel):
    """Problem details, RFC 9457."""

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str = Field(description="What is wrong, and the remedy.")


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
        "The denoised image, in the format of the upload. With 'Accept: multipart/mixed', one after another: JSON "
        'parts {"done", "total"}, a JSON part of sigma, is_estimated, model, width, height, format and seconds, the '
        "PNG parts named before and after (8 bits, upright, at most 4096 pixels long), and the image named result. "
        'An error after the answer has begun is reported in a last JSON part {"problem"}.'
    )
    content = {**dict.fromkeys(IMAGE_TYPES, _BINARY), MULTIPART: _BINARY}
    return {200: {"description": description, "headers": headers, "content": content}}


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a route may answer with."""
    reference = {"$ref": "#/components/schemas/ProblemBody"}
    described = {
        401: ("The token is missing or wrong.", "Authorization: the token is missing or wrong; send it"),
        403: (
            "Another site's page asks.",
            "Origin 'https://example.org': another site's page may not use this service",
        ),
        408: ("The upload takes too long.", "upload: not complete within 120 s; send it faster"),
        413: ("Too many bytes or pixels.", "upload: more than 100000000 bytes; send a smaller file"),
        415: ("No image, or of a kind that is not read.", "image data: a GIF file; convert it first"),
        421: ("Unknown host name.", "Host 'example.org': is not this service"),
        422: ("A parameter out of its range, or a damaged image.", "image data: truncated or damaged JPEG"),
        429: ("Too many waiting requests.", "32 requests are waiting already; send this one again in 8 s"),
        500: ("The service failed.", "internal error: see the server's log"),
        503: (
            "The worker process was lost, or none is running.",
            "the worker process ended by signal 9; send the request again",
        ),
        504: ("The work takes too long.", "image data: not done within 120 s; send a smaller image"),
    }
    return {
        status: {
            "description": described[status][0],
            "content": {
                errors.MEDIA_TYPE: {
                    "schema": reference,
                    "example": errors.ProblemError(status, described[status][1]).as_dict(),
                }
            },
        }
        for status in statuses
    }
