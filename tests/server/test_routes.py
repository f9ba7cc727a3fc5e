"""The API of a running service, as a program uses it."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

import pellucid
from pellucid import __version__, io
from pellucid.inference.options import RESULT_OPTIONS, DenoiseOptions
from pellucid.inference.registry import list_models
from pellucid.server.routes import PAGE
from tests.conftest import Run
from tests.server.conftest import Encode

FORMATS = ("jpeg", "png", "tiff", "webp", "avif")


def parts_of(response: httpx.Response) -> Iterator[tuple[dict[str, str], bytes]]:
    """Take a multipart answer apart, by the boundary and by the lengths."""
    boundary = re.fullmatch(r"multipart/mixed; boundary=(\w+)", response.headers["content-type"])
    assert boundary
    rest = response.content
    while not rest.startswith(f"--{boundary[1]}--\r\n".encode()):
        head, _, rest = rest.removeprefix(f"--{boundary[1]}\r\n".encode()).partition(b"\r\n\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n"))
        length = int(headers["content-length"])
        yield headers, rest[:length]
        assert rest[length : length + 2] == b"\r\n"
        rest = rest[length + 2 :]


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_answer_is_what_the_command_line_gives(
    client: httpx.Client, noisy_file: Encode, pellucid: Run, tmp_path: Path, file_format: str
) -> None:
    sent = noisy_file(file_format)
    answer = client.post("/v1/denoise?sigma=20&strength=80", content=sent)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"image/{file_format}"
    assert answer.headers["x-pellucid-sigma"] == "20.0"
    assert answer.headers["x-pellucid-model"] == "photo"
    assert 0 < float(answer.headers["x-pellucid-seconds"]) < 60
    if file_format == "png":
        # Rounding may differ with the number of threads: the service's worker has one.
        done = pellucid("denoise", "-", "--sigma", 20, "--strength", 80, "--threads", 1, input=sent)
        assert answer.content == done.stdout
    after = io.read(answer.content)
    assert after.format == file_format
    assert after.pages[0].shape == (96, 96, 3)


def test_a_form_is_answered_like_a_body(client: httpx.Client, noisy_file: Encode) -> None:
    sent = noisy_file("png")
    files = {"file": ("../../../etc/passwd\x00.png", sent, "image/png")}
    assert client.post("/v1/denoise", files=files).content == client.post("/v1/denoise", content=sent).content


def test_depth_and_metadata_are_kept(client: httpx.Client, noisy: NDArray[np.uint8]) -> None:
    deep = io.Image((noisy[:40, :50].astype(np.uint16) * 257,), (None,), "png", io.image.Metadata(xmp=b"<x/>"))
    after = io.read(client.post("/v1/denoise?sigma=20", content=io.encode(deep, "png")).content)
    assert after.pages[0].dtype == np.uint16
    assert after.metadata.xmp == b"<x/>"


def test_strength_0_gives_the_file_back(client: httpx.Client, noisy_file: Encode) -> None:
    sent = noisy_file("jpeg")
    assert client.post("/v1/denoise?strength=0", content=sent).content == sent
    assert client.post("/v1/denoise?luma=0&chroma=0", content=sent).content == sent


def test_every_option_does_what_it_does_in_the_library(
    client: httpx.Client, noisy_file: Encode, noisy: NDArray[np.uint8]
) -> None:
    values = {"sigma": 20.0, "strength": 80.0, "luma": 90.0, "chroma": 70.0, "detail": 40.0, "model": "color"}
    assert values.keys() == set(RESULT_OPTIONS)
    answer = client.post("/v1/denoise", params=values, content=noisy_file("png"))
    options = DenoiseOptions.from_user_units(values)
    expected = pellucid.denoise(noisy, model="color", **options.result_options)
    np.testing.assert_array_equal(io.read(answer.content).pages[0], expected)


def test_parts_come_in_the_order_that_the_page_counts_on(
    client: httpx.Client, noisy_file: Encode, noisy: NDArray[np.uint8]
) -> None:
    sent = noisy_file("tiff")
    whole = client.post("/v1/denoise", content=sent)
    answer = client.post("/v1/denoise", content=sent, headers={"Accept": "multipart/mixed"})
    (_, progress), (_, result), *named = parts_of(answer)
    assert json.loads(progress) == {"done": 1, "total": 1}
    said = json.loads(result)
    assert said.pop("seconds") > 0
    assert said.pop("sigmas") == [said["sigma"]]
    assert said == {
        "sigma": float(whole.headers["x-pellucid-sigma"]),
        "is_estimated": True,
        "model": "photo",
        "width": 96,
        "height": 96,
        "format": "tiff",
    }
    assert [(h["content-disposition"], h["content-type"]) for h, _ in named] == [
        ('inline; name="before"', "image/png"),
        ('inline; name="after"', "image/png"),
        ('inline; name="result"', "image/tiff"),
    ]
    before, after, final = (content for _, content in named)
    assert final == whole.content
    np.testing.assert_array_equal(io.read(before).pages[0], noisy)
    np.testing.assert_array_equal(io.read(after).pages[0], io.read(final).pages[0])


def test_what_fails_before_the_first_part_has_its_status(client: httpx.Client) -> None:
    answer = client.post("/v1/denoise", content=b"\xff\xd8\xff no", headers={"Accept": "multipart/mixed"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_estimate(client: httpx.Client, noisy_file: Encode) -> None:
    found = client.post("/v1/estimate", content=noisy_file("png")).json()
    assert 15 < found["sigma"] < 25
    assert found == {"sigma": found["sigma"], "sigmas": [found["sigma"]], "width": 96, "height": 96, "format": "png"}


def test_models(client: httpx.Client) -> None:
    cards = list_models()
    assert client.get("/v1/models").json() == {
        "models": [
            {"name": c.name, "summary": c.summary, "channels": c.channels, "sigma_max": c.sigma_max} for c in cards
        ]
    }


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sigma=-1", "sigma: input should be greater than or equal to 0"),
        ("sigma=nan", "sigma: input should be a finite number"),
        ("sigma=300", "sigma: "),
        ("strength=101", "strength: "),
        ("luma=x", "luma: "),
        ("model=/etc", "model: there is no model '/etc': choose one of color"),
        ("model=../models/color", "model: there is no model"),
    ],
)
def test_parameters_out_of_their_range(client: httpx.Client, query: str, said: str) -> None:
    answer = client.post(f"/v1/denoise?{query}", content=b"x")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(said)


def test_a_model_that_does_not_fit(client: httpx.Client, noisy: NDArray[np.uint8]) -> None:
    gray = io.encode(io.Image((noisy[..., :1].copy(),), (None,), "png"), "png")
    answer = client.post("/v1/denoise?model=color", content=gray)
    assert (answer.status_code, answer.json()["title"]) == (422, "Unprocessable Content")
    assert "choose model 'gray'" in answer.json()["detail"]
    assert client.post("/v1/denoise?sigma=20", content=gray).headers["x-pellucid-model"] == "gray"


def test_health_and_metrics(client: httpx.Client, noisy_file: Encode) -> None:
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}

    def counted(line: str) -> float:
        found = re.search(rf"^{re.escape(line)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0

    asked, pixels = 'pellucid_requests_total{path="/v1/denoise",status="200"}', "pellucid_pixels_total"
    before = counted(asked), counted(pixels)
    client.post("/v1/denoise", content=noisy_file("png"))
    time.sleep(0.05)
    assert (counted(asked), counted(pixels)) == (before[0] + 1, before[1] + 96 * 96)
    assert counted("pellucid_workers_ready") == 1
    assert counted("pellucid_queue_length") == 0
    assert counted('pellucid_request_seconds_count{path="/v1/denoise"}') >= counted(asked)


def test_paths_made_up_by_clients_are_counted_as_one(client: httpx.Client) -> None:
    assert client.get("/wp-login.php").json()["detail"] == "'/wp-login.php': not found; see /openapi.json"
    assert client.get("/v1/denoise").status_code == 405
    assert "wp-login" not in client.get("/metrics").text
    assert 'path="other",status="404"' in client.get("/metrics").text


def test_the_document_tells_of_everything(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["info"]["version"] == __version__
    assert set(document["paths"]) == {"/v1/denoise", "/v1/estimate", "/v1/models", "/healthz", "/readyz", "/metrics"}
    denoise = document["paths"]["/v1/denoise"]["post"]
    assert {p["name"] for p in denoise["parameters"]} == set(RESULT_OPTIONS)
    assert all(p["description"] for p in denoise["parameters"])
    assert denoise["responses"]["429"]["content"]["application/problem+json"]["example"]["status"] == 429
    for path in ("/docs", "/redoc"):
        assert client.get(path).status_code == 404


def test_the_page_is_at_the_root(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.content == (PAGE / "index.html").read_bytes()


def test_every_file_has_its_type(client: httpx.Client) -> None:
    scripts = list(PAGE.rglob("*.js"))
    assert scripts
    for path in scripts:
        answer = client.get(f"/static/{path.relative_to(PAGE).as_posix()}")
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.content == path.read_bytes()


def test_unchanged_files_are_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/static/app.js")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/static/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = client.head("/static/app.js")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(first.content)))


@pytest.mark.parametrize(
    "path", ["../routes.py", "%2e%2e/routes.py", "..%2froutes.py", "/etc/passwd", "", "index.html%00", "."]
)
def test_nothing_else_is_served(client: httpx.Client, path: str) -> None:
    answer = client.send(httpx.Request("GET", client.base_url.copy_with(raw_path=b"/static/" + path.encode())))
    assert answer.status_code == 404
