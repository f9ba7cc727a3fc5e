"""The page's modules one by one, in a browser, on what the page as a whole seldom meets."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from pellucid.inference.blending import restore_detail, weight_luma_chroma
from tests.server.conftest import Server
from tests.server.page_browser import chromium, visit

#: Few, since each goes to the browser and back.
FEW = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BOUNDARY = "a-boundary"

_READ = """async ([pieces, boundary]) => {
  const { readParts } = await import('/static/multipart.js');
  const stream = new ReadableStream({ start(controller) {
    for (const piece of pieces) controller.enqueue(Uint8Array.from(piece));
    controller.close();
  } });
  const response = new Response(stream, { headers: { 'Content-Type': `multipart/mixed; boundary=${boundary}` } });
  const parts = [];
  try {
    for await (const { headers, name, bytes } of readParts(response)) {
      parts.push([headers.get('Content-Type'), name, [...bytes]]);
    }
  } catch (error) {
    return [parts, error.message];
  }
  return [parts, null];
}"""


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Page]:
    with chromium() as browser, visit(browser, server.url) as seen:
        yield seen.page


def written(parts: list[tuple[str | None, bytes]]) -> bytes:
    body = b""
    for name, content in parts:
        disposition = "" if name is None else f'Content-Disposition: inline; name="{name}"\r\n'
        head = f"--{BOUNDARY}\r\nContent-Type: image/png\r\n{disposition}Content-Length: {len(content)}\r\n\r\n"
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def read(page: Page, body: bytes, size: int) -> tuple[list[list[object]], str | None]:
    pieces = [list(body[at : at + size]) for at in range(0, len(body), size)]
    parts, error = page.evaluate(_READ, [pieces, BOUNDARY])
    return parts, error


# Much of what the delimiter is made of, so that it is nearly found again and again.
CONTENT = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n--", b"-", b"a-bound", b"\0", b"x" * 300])).map(b"".join)


@FEW
@given(
    st.lists(st.tuples(st.sampled_from([None, "before", "result"]), CONTENT), min_size=1, max_size=4),
    st.integers(1, 400),
)
def test_parts_come_whole_however_the_answer_is_cut(
    page: Page, parts: list[tuple[str | None, bytes]], size: int
) -> None:
    found, error = read(page, written(parts), size)
    assert error is None
    assert found == [["image/png", name, list(content)] for name, content in parts]


@pytest.mark.parametrize("n_missing", [5, 6, 20, 60, 100])
def test_an_answer_that_breaks_off_is_an_error(page: Page, n_missing: int) -> None:
    body = written([("before", b"first"), ("after", b"second")])
    assert read(page, body[:-n_missing], 7)[1] == "the answer is incomplete"


def test_a_part_of_another_length_than_it_says_is_an_error(page: Page) -> None:
    body = written([("before", b"first"), ("after", b"second")]).replace(b"Length: 5", b"Length: 4")
    assert read(page, body, 7) == ([], "the Content-Length of a part is wrong")


@FEW
@given(
    st.tuples(*3 * [st.integers(0, 100)]),
    st.integers(0, 9),
    st.floats(1, 16),
    st.integers(0, 2**32 - 1),
)
def test_blending_is_as_the_server_blends(
    page: Page, percents: tuple[int, int, int], start: int, gain: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    noisy, clean = (rng.integers(0, 256, (3, 8, 4), dtype=np.uint8) for _ in range(2))
    script = """async ([noisy, clean, strength, luma, chroma, from, gain]) => {
      const { blend, residual } = await import('/static/blend.js');
      const [before, after] = [noisy, clean].map((values) => Uint8ClampedArray.from(values));
      const [mixed, removed] = [new Uint8ClampedArray(before.length), new Uint8ClampedArray(before.length)];
      blend(before, after, mixed, 8, from, { strength, luma, chroma });
      residual(before, after, removed, { strength, luma, chroma }, gain);
      return [[...mixed], [...removed]];
    }"""
    sent = [noisy.ravel().tolist(), clean.ravel().tolist(), *percents, start, gain]
    mixed, removed = (np.reshape(values, noisy.shape) for values in page.evaluate(script, sent))
    strength, luma, chroma = (percent / 100 for percent in percents)
    change = (clean.astype(float) - noisy)[..., :3]
    brightness = (change @ [0.299, 0.587, 0.114])[..., None]
    change = strength * (luma * brightness + chroma * (change - brightness))
    np.testing.assert_array_equal(mixed[:, :start], noisy[:, :start])
    np.testing.assert_array_equal(mixed[..., 3], noisy[..., 3])
    expected = np.clip(noisy[:, start:, :3] + change[:, start:], 0, 255)
    assert np.abs(mixed[:, start:, :3] - expected).max(initial=0) < 0.5001
    assert np.abs(removed[..., :3] - np.clip(128 - gain * change, 0, 255)).max() < 0.5001


def test_detail_shares_are_the_servers(page: Page) -> None:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (9, 7, 4), dtype=np.uint8)
    noisy = np.clip(clean + rng.normal(0, 12, clean.shape), 0, 255).astype(np.uint8)
    script = """async ([noisy, clean, sigma]) => {
      const { blend, detailShares } = await import('/static/blend.js');
      const [before, after] = [noisy, clean].map((values) => Uint8ClampedArray.from(values));
      const out = new Uint8ClampedArray(before.length);
      const mix = { strength: 80, luma: 90, chroma: 50, detail: 60 };
      blend(before, after, out, 7, 0, mix, detailShares(after, 7, sigma));
      return [...out];
    }"""
    sent = [noisy.ravel().tolist(), clean.ravel().tolist(), 12]
    shown = np.reshape(page.evaluate(script, sent), noisy.shape)[..., :3]
    unit = (noisy[..., :3] / 255).astype(np.float32)
    removed = unit - (clean[..., :3] / 255).astype(np.float32)
    removed = restore_detail(removed, unit, np.full((9, 7, 1), 12 / 255, np.float32), 0.6)
    expected = 255 * (unit - weight_luma_chroma(removed, 0.8 * 0.9, 0.8 * 0.5))
    assert np.abs(shown - np.clip(expected, 0, 255)).max() < 0.51


def test_whole_and_nothing_are_exact(page: Page) -> None:
    script = """async () => {
      const { blend } = await import('/static/blend.js');
      const before = Uint8ClampedArray.from({ length: 1024 }, (_, at) => at * 7);
      const after = Uint8ClampedArray.from({ length: 1024 }, (_, at) => (at % 4 === 3 ? before[at] : (at * 11) % 256));
      return [100, 0].map((strength) => {
        const out = new Uint8ClampedArray(1024);
        blend(before, after, out, 16, 0, { strength, luma: 100, chroma: 100 });
        return out.every((value, at) => value === (strength ? after : before)[at]);
      });
    }"""
    assert page.evaluate(script) == [True, True]


SIDES = st.integers(1, 5000)
MOVES = st.one_of(
    st.tuples(st.just("zoomTo"), st.floats(0.01, 40), st.tuples(st.integers(0, 900), st.integers(0, 700))),
    st.tuples(st.just("panBy"), st.integers(-2000, 2000), st.integers(-2000, 2000)),
    st.tuples(st.just("step"), st.sampled_from([-1, 1])),
    st.tuples(st.just("fit")),
)


@FEW
@given(SIDES, SIDES, SIDES, SIDES, st.lists(MOVES, max_size=8))
def test_what_is_seen_lies_in_the_frame_and_in_the_image(
    page: Page, width: int, height: int, across: int, down: int, moves: list[tuple[object, ...]]
) -> None:
    script = """async ([width, height, across, down, moves]) => {
      const { Viewport } = await import('/static/viewport.js');
      const viewport = new Viewport();
      viewport.setFrame(across, down, { x: 0, y: 0 });
      viewport.setImage(width, height);
      for (const [name, first, second] of moves) {
        viewport[name](first, Array.isArray(second) ? { x: second[0], y: second[1] } : second);
      }
      return [viewport.visible(), viewport.zoom, viewport.rect()];
    }"""
    seen, zoom, rect = page.evaluate(script, [width, height, across, down, json.loads(json.dumps(moves))])
    assert 0 <= seen["x"] < seen["x"] + seen["width"] <= max(across, 1)
    assert 0 <= seen["y"] < seen["y"] + seen["height"] <= max(down, 1)
    # Edges are rounded to whole pixels of the frame, and a sliver is shown one pixel thin.
    slack = 1.01 / zoom
    assert seen["source"]["x"] >= -slack
    assert seen["source"]["x"] + seen["source"]["width"] <= width + slack
    assert seen["source"]["y"] >= -slack
    assert seen["source"]["y"] + seen["source"]["height"] <= height + slack
    if rect["width"] >= across:
        assert seen["width"] >= across - 1


@FEW
@given(SIDES, SIDES, st.integers(-300, 300))
def test_at_full_size_pixels_fall_on_pixels(page: Page, across: int, width: int, pan: int) -> None:
    script = """async ([across, width, pan]) => {
      const { Viewport } = await import('/static/viewport.js');
      const viewport = new Viewport();
      viewport.setFrame(across, across, { x: 0, y: 0 });
      viewport.setImage(width, width);
      viewport.zoomTo(1);
      viewport.panBy(pan, pan / 3);
      const { x, y, source } = viewport.visible();
      return [x, y, source.x, source.y, source.width, source.height];
    }"""
    assert all(float(value).is_integer() for value in page.evaluate(script, [across, width, pan]))


def test_zoom_keeps_the_point_under_the_pointer(page: Page) -> None:
    script = """async () => {
      const { Viewport } = await import('/static/viewport.js');
      const viewport = new Viewport();
      viewport.setFrame(800, 600, { x: 0, y: 0 });
      viewport.setImage(4000, 3000);
      const at = { x: 300, y: 200 };
      const point = () => {
        const { left, top } = viewport.rect();
        return [(at.x - left) / viewport.zoom, (at.y - top) / viewport.zoom];
      };
      const before = point();
      viewport.zoomTo(2, at);
      return [before, point()];
    }"""
    before, after = page.evaluate(script)
    np.testing.assert_allclose(after, before, atol=0.51)


@pytest.mark.parametrize(
    ("name", "file_format", "expected"),
    [
        ("night.JPG", "jpeg", "night_denoised.JPG"),
        ("a.b.tif", "tiff", "a.b_denoised.tif"),
        ("mislabelled.jpg", "png", "mislabelled_denoised.png"),
        ("plain", "webp", "plain_denoised.webp"),
        (".hidden", "avif", ".hidden_denoised.avif"),
    ],
)
def test_results_are_named_after_their_originals(page: Page, name: str, file_format: str, expected: str) -> None:
    script = "async ([name, format]) => (await import('/static/saving.js')).resultName(name, format)"
    assert page.evaluate(script, [name, file_format]) == expected


def test_each_status_has_words_that_say_what_to_do(page: Page) -> None:
    script = """async (statuses) => {
      const { explain } = await import('/static/problems.js');
      return statuses.map((status) => explain({ status, detail: 'said' }));
    }"""
    told = page.evaluate(script, [0, 401, 408, 413, 415, 422, 429, 500, 503, 504])
    assert all(words["title"] and words["text"].endswith(".") and words["detail"] == "said" for words in told)
    assert len({words["title"] for words in told}) == 9  # 408 and 500 share theirs
    assert [words["isFinal"] for words in told] == [
        status in {413, 415, 422} for status in (0, 401, 408, 413, 415, 422, 429, 500, 503, 504)
    ]


def test_nothing_on_the_page_names_another_host(page: Page, server: Server) -> None:
    script = """() => [...document.querySelectorAll('[src], [href]')].map((element) => element.src || element.href)
      .filter((address) => typeof address === 'string')"""
    addresses = page.evaluate(script)
    assert len(addresses) > 5
    assert all(address.startswith(server.url) for address in addresses)
