"""The page's files: those, and no others."""

import httpx
import pytest

from pellucid.server.page import FOLDER


def test_the_page_is_at_the_root(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.content == (FOLDER / "index.html").read_bytes()


def test_every_file_has_its_type(client: httpx.Client) -> None:
    scripts = list(FOLDER.rglob("*.js"))
    assert scripts
    for path in scripts:
        answer = client.get(f"/static/{path.relative_to(FOLDER).as_posix()}")
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.content == path.read_bytes()


@pytest.mark.parametrize(
    "path", ["../page.py", "%2e%2e/page.py", "..%2fpage.py", "/etc/passwd", "", "index.html%00", "."]
)
def test_nothing_else_is_served(client: httpx.Client, path: str) -> None:
    answer = client.send(httpx.Request("GET", client.base_url.copy_with(raw_path=b"/static/" + path.encode())))
    assert answer.status_code == 404
