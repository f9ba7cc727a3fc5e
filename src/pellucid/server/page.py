"""The routes for browsers: the page and what it is made of.

Nothing enters but one of a fixed set of names; files of the package leave. It knows nothing of what the page does.
"""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import Response

from pellucid.server.errors import ProblemError

FOLDER = Path(__file__).parent / "static"
INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}


def page_routes() -> APIRouter:
    """Make the routes ``/`` and ``/static/...`` for the files that there are now."""
    router = APIRouter(include_in_schema=False)
    # A name that is not in this table is not there: no part of a request becomes a path.
    files = {path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*") if path.suffix in _TYPES}

    @router.get("/")
    async def index() -> Response:
        return _file(files, INDEX)

    @router.get("/static/{name:path}")
    async def static(name: str) -> Response:
        return _file(files, name)

    return router


def _file(files: dict[str, Path], name: str) -> Response:
    path = files.get(name)
    if path is None:
        raise ProblemError(404, f"{name[:80]!r}: no such file; begin at /")
    return Response(path.read_bytes(), headers={"Cache-Control": "no-cache"}, media_type=_TYPES[path.suffix])
