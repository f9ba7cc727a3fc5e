"""What clients are told of errors."""

import pytest

from pellucid import errors
from pellucid.server.errors import ProblemError, problem_of


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("TooLargeError", 413),
        ("UnsupportedImageError", 415),
        ("UnreadableImageError", 422),
        ("ParameterError", 422),
        ("OutputError", 422),
        ("ModelError", 500),
    ],
)
def test_each_error_has_its_status(kind: str, status: int) -> None:
    assert problem_of(getattr(errors, kind)("x: wrong; mend it")).status == status


def test_a_client_is_not_told_to_set_the_owners_limit() -> None:
    error = errors.TooLargeError(
        "image data: 9 x 9 pixels count as 81, the limit is 5; raise it with PELLUCID_MAX_PIXELS"
    )
    expected = "image data: 9 x 9 pixels count as 81, the limit is 5; send a smaller image"
    assert problem_of(error).as_dict() == {
        "type": "about:blank",
        "title": "Content Too Large",
        "status": 413,
        "detail": expected,
    }


def test_titles_are_the_status_own() -> None:
    assert ProblemError(429, "x").as_dict()["title"] == "Too Many Requests"
    assert ProblemError(422, "x").as_dict()["title"] == "Unprocessable Content"
