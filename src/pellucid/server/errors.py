"""Problem details of failed requests (RFC 9457)."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pellucid.errors import (
    OutputError,
    ParameterError,
    PellucidError,
    TooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)

if TYPE_CHECKING:
    from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
#: For answers that differ every time, or hold a user's image.
NOT_STORED = {"Cache-Control": "no-store"}

_STATUSES: tuple[tuple[type[PellucidError], HTTPStatus], ...] = (
    (TooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (UnsupportedImageError, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (UnreadableImageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ParameterError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (OutputError, HTTPStatus.UNPROCESSABLE_ENTITY),
)
# RFC 9110 has renamed two of them since Python 3.11.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


class ProblemError(Exception):
    """A request that cannot be answered: an HTTP status, one line for the client, headers such as ``Retry-After``."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = int(status)
        self.detail = detail
        self.headers = dict(headers or {})

    def as_dict(self) -> dict[str, Any]:
        """Return the members of the JSON body. The type is ``about:blank``, so the title is that of the status."""
        title = _TITLES.get(self.status) or HTTPStatus(self.status).phrase
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}


def problem_of(error: PellucidError) -> ProblemError:
    """Convert an error to a problem; whatever is not the client's fault, such as a damaged model, has status 500."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return ProblemError(status, _for_clients(error))
    return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))


def _for_clients(error: PellucidError) -> str:
    """Replace a remedy that only the operator has, such as raising the limit."""
    message = str(error)
    if not isinstance(error, TooLargeError):
        return message
    return f"{message.rpartition(';')[0] or message}; send a smaller image"


def problem_response(problem: ProblemError) -> "Response":
    """Answer with a problem."""
    from starlette.responses import Response  # noqa: PLC0415 (workers do without the web framework)

    content = json.dumps(problem.as_dict()).encode()
    return Response(content, problem.status, {**NOT_STORED, **problem.headers}, MEDIA_TYPE)
