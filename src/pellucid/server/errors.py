"""Why a request failed, in the words of RFC 9457 ("Problem Details for HTTP APIs").

An error of pellucid's enters, a ProblemError with the fitting status leaves. It knows nothing of the web framework,
since workers use it too.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pellucid.errors import (
    OutputError,
    ParameterError,
    PellucidError,
    TooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)

MEDIA_TYPE = "application/problem+json"

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
    """A request that cannot be answered as asked.

    Parameters
    ----------
    status : int
        HTTP status.
    detail : str
        One line: what is wrong, and what to do about it.
    headers : mapping of str to str, optional
        To send along, as ``Retry-After``.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = int(status)
        self.detail = detail
        self.headers = dict(headers or {})

    def as_dict(self) -> dict[str, Any]:
        """Give the members of the JSON body. The type is ``about:blank``, so the title is the status's own."""
        title = _TITLES.get(self.status) or HTTPStatus(self.status).phrase
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}


def problem_of(error: PellucidError) -> ProblemError:
    """Tell a client about an error, with the status that fits it.

    Whatever is not the client's doing, as a damaged model, has status 500.
    """
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return ProblemError(status, _for_clients(error))
    return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))


def _for_clients(error: PellucidError) -> str:
    """Replace a remedy that only the service's owner has, such as raising the limit, by the client's."""
    message = str(error)
    if not isinstance(error, TooLargeError):
        return message
    return f"{message.rpartition(';')[0] or message}; send a smaller image"
