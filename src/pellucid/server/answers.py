"""Responses that several parts of the service give.

A ProblemError enters, a response leaves. It knows nothing of routes.
"""

import json

from starlette.responses import Response

from pellucid.server import errors
from pellucid.server.errors import ProblemError

#: For what is different every time, or is somebody's picture.
NOT_STORED = {"Cache-Control": "no-store"}


def problem_response(problem: ProblemError) -> Response:
    """Answer with a ProblemError (RFC 9457)."""
    content = json.dumps(problem.as_dict()).encode()
    return Response(content, problem.status, {**NOT_STORED, **problem.headers}, errors.MEDIA_TYPE)
