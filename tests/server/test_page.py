"""The page in a browser, against a real service."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Route, expect

from pellucid import io
from tests.conftest import Run, add_noise
from tests.server.conftest import Server
from tests.server.page_browser import WAIT_MS, Visit, chromium, visit

LUMA = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def desk(browser: Browser, server: Server) -> Iterator[Visit]:
    with visit(browser, server.url) as seen:
        yield seen


@pytest.fixture(scope="module")
def before(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return add_noise(photo[60:180, 150:310], 20)


@pytest.fixture(scope="module")
def source(before: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "at dusk.png"
    io.write(io.Image((before,), (None,), "png"), path)
    return path


@pytest.fixture(scope="module")
def after(source: Path, pellucid: Run) -> NDArray[np.uint8]:
    """What the command line makes of the source."""
    return io.read(by_command(pellucid, source)).pages[0]


def by_command(pellucid: Run, source: Path, *options: object) -> bytes:
    run = pellucid("denoise", source, "-o", "-", *options)
    assert run.returncode == 0, run.stderr
    return run.stdout


def show(desk: Visit, source: Path) -> None:
    desk.drop(source.name, source.read_bytes())
    desk.wait_done()


def test_a_dropped_file_is_shown_before_and_after(
    desk: Visit, source: Path, before: NDArray[np.uint8], after: NDArray[np.uint8]
) -> None:
    show(desk, source)
    shown = desk.image_at_full_size(before.shape)
    half = before.shape[1] // 2
    np.testing.assert_array_equal(shown[:, :half], before[:, :half])
    np.testing.assert_array_equal(shown[:, half:], after[:, half:])
    assert 15 < float(desk.page.locator("#sigma-value").inner_text()) < 25
    expect(desk.page.locator("#facts")).to_contain_text("160 × 120 · PNG")
    desk.screenshot("done-desktop")


def test_the_divider_follows_a_pointer(desk: Visit, source: Path, after: NDArray[np.uint8]) -> None:
    show(desk, source)
    divider = desk.page.locator("#divider")
    box = divider.bounding_box()
    assert box is not None
    desk.page.mouse.move(box["x"] + 22, box["y"] + box["height"] / 2)
    desk.page.mouse.down()
    desk.page.mouse.move(5, 450, steps=4)
    desk.page.mouse.up()
    expect(divider).to_have_attribute("aria-valuenow", "0")
    np.testing.assert_array_equal(desk.image_at_full_size(after.shape), after)


@pytest.mark.parametrize("percents", [(50, 100, 100), (80, 20, 100), (100, 100, 0), (0, 100, 100)])
def test_sliders_change_pixels_without_a_request(
    desk: Visit, source: Path, before: NDArray[np.uint8], after: NDArray[np.uint8], percents: tuple[int, int, int]
) -> None:
    show(desk, source)
    desk.page.get_by_role("radio", name="Clean").check()
    n_asked = len(desk.asked)
    for name, percent in zip(("strength", "luma", "chroma"), percents, strict=True):
        desk.slide(name, percent)
    shown = desk.image_at_full_size(before.shape)
    strength, luma, chroma = (percent / 100 for percent in percents)
    change = after.astype(float) - before
    brightness = (change @ LUMA)[..., None]
    expected = before + strength * (luma * brightness + chroma * (change - brightness))
    assert np.abs(shown - np.clip(expected, 0, 255)).max() <= 0.51
    assert len(desk.asked) == n_asked


def test_what_is_removed_is_shown_around_gray(
    desk: Visit, source: Path, before: NDArray[np.uint8], after: NDArray[np.uint8]
) -> None:
    show(desk, source)
    desk.page.get_by_role("radio", name="Removed").check()
    desk.slide("gain", 3)
    expected = np.clip(128 + 3 * (before.astype(float) - after), 0, 255)
    assert np.abs(desk.image_at_full_size(before.shape) - expected).max() <= 0.51
    desk.screenshot("removed-desktop")


def test_the_file_saved_is_the_command_lines(desk: Visit, pellucid: Run, source: Path) -> None:
    show(desk, source)
    n_asked = len(desk.asked)
    assert desk.save() == ("at dusk_denoised.png", by_command(pellucid, source))
    assert len([url for url in desk.asked[n_asked:] if "/v1/" in url]) == 0
    desk.slide("strength", 60)
    desk.slide("chroma", 30)
    expect(desk.page.locator("#save-note")).to_contain_text("the server makes")
    assert desk.save()[1] == by_command(pellucid, source, "--strength", 60, "--chroma", 30)


def test_detail_is_restored_on_the_page_and_in_the_file(
    desk: Visit, pellucid: Run, source: Path, before: NDArray[np.uint8], after: NDArray[np.uint8]
) -> None:
    show(desk, source)
    desk.page.get_by_role("radio", name="Clean").check()
    n_asked = len(desk.asked)
    desk.slide("detail", 100)
    shown = desk.image_at_full_size(before.shape).astype(float)
    assert len(desk.asked) == n_asked
    content = by_command(pellucid, source, "--detail", 100)
    expected = io.read(content).pages[0].astype(float)
    # The page knows one noise level for the whole photo, the command one for each pixel.
    assert np.abs(shown - expected).mean() < 0.3 * np.abs(after - expected).mean()
    assert desk.save()[1] == content
    desk.screenshot("detail-desktop")


def test_depth_and_suffix_are_kept(desk: Visit, pellucid: Run, tmp_path: Path, before: NDArray[np.uint8]) -> None:
    path = tmp_path / "scan.TIF"
    deep = before.astype(np.uint16) * 257
    io.write(io.Image((deep,), (None,), "tiff"), path)
    show(desk, path)
    name, content = desk.save()
    assert name == "scan_denoised.TIF"
    assert io.read(content).pages[0].dtype == np.uint16
    np.testing.assert_array_equal(io.read(content).pages[0], io.read(by_command(pellucid, path)).pages[0])


def test_two_files_in_a_row_and_a_broken_one(desk: Visit, source: Path) -> None:
    show(desk, source)
    desk.drop("broken.png", source.read_bytes()[:900])
    desk.drop("second.png", source.read_bytes())
    films = desk.page.locator("#films > li")
    expect(films).to_have_count(3)
    expect(films.nth(2)).to_have_attribute("data-state", "done", timeout=WAIT_MS)
    expect(films.nth(1)).to_contain_text("cannot be used")
    films.nth(1).locator(".film").click()
    expect(desk.page.locator("#trouble")).to_contain_text("Open it in another program")
    desk.screenshot("trouble-desktop")
    desk.page.get_by_role("button", name="Remove it").click()
    expect(films).to_have_count(2)
    desk.wait_done()
    expect(desk.page.locator("#name")).to_have_text("second.png")
    expect(desk.page.locator("#save-all")).to_be_visible()


def test_a_picture_is_pasted_and_a_link_is_not_fetched(desk: Visit, source: Path) -> None:
    script = """([content, link]) => {
      const transfer = new DataTransfer();
      if (link) transfer.setData('text/uri-list', link);
      else transfer.items.add(new File([Uint8Array.from(content)], 'image.png', { type: 'image/png' }));
      dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer }));
    }"""
    desk.page.evaluate(script, [[], "https://example.org/photo.jpg"])
    expect(desk.page.locator("#welcome")).to_be_visible()
    desk.page.evaluate(script, [list(source.read_bytes()), None])
    desk.wait_done()
    expect(desk.page.locator("#name")).to_have_text("image.png")


def test_another_level_runs_the_network_again(desk: Visit, source: Path) -> None:
    show(desk, source)
    weak = desk.image_at_full_size((120, 160))
    again = desk.page.get_by_role("button", name="Denoise again")
    expect(again).to_be_hidden()
    desk.page.get_by_role("radio", name="By hand").check()
    desk.page.locator("#sigma-number").fill("40")
    again.click()
    expect(desk.page.locator("#sigma-word")).to_contain_text("set by hand", timeout=WAIT_MS)
    assert any("sigma=40" in url for url in desk.asked)
    desk.wait_done()
    expect(again).to_be_hidden()
    desk.next_frame()
    strong = desk.image_at_full_size((120, 160))
    assert (
        np.abs(np.diff(strong[:, 90:].astype(int), axis=1)).mean()
        < np.abs(np.diff(weak[:, 90:].astype(int), axis=1)).mean()
    )


def test_zoom_by_wheel_and_keys(desk: Visit, source: Path) -> None:
    show(desk, source)
    value = desk.page.locator("#zoom-value")
    expect(value).to_have_text("400 %")
    desk.page.locator("#view").focus()
    desk.page.keyboard.press("+")
    expect(value).to_have_text("600 %")
    desk.page.keyboard.press("1")
    expect(value).to_have_text("100 %")
    desk.page.keyboard.press("0")
    expect(value).to_have_text("400 %")
    desk.page.mouse.move(500, 400)
    desk.page.mouse.wheel(0, -600)
    expect(value).not_to_have_text("400 %")
    zoomed = desk.pixels()
    desk.page.keyboard.press("ArrowRight")
    desk.next_frame()
    moved = desk.pixels()
    # Both sides move in step, by 60 pixels.
    middle = moved.shape[1] // 2
    np.testing.assert_array_equal(moved[:, : middle - 60], zoomed[:, 60:middle])
    np.testing.assert_array_equal(moved[:, middle:-60], zoomed[:, middle + 60 :])
    desk.screenshot("zoomed-desktop")


def test_by_keyboard_alone(desk: Visit, source: Path) -> None:
    def tab_to(identity: str) -> None:
        for _ in range(40):
            desk.page.keyboard.press("Tab")
            if desk.page.evaluate("() => document.activeElement.id") == identity:
                return
        raise AssertionError(f"#{identity} is not reached by the tabulator key")

    # Listened for from the start: the browser is told so only some time after the listener is there.
    desk.page.on("filechooser", lambda _: None)
    tab_to("choose")
    with desk.page.expect_file_chooser() as waited:
        desk.page.keyboard.press("Enter")
    waited.value.set_files(source)
    desk.wait_done()
    tab_to("divider")
    desk.page.keyboard.press("Shift+ArrowRight")
    expect(desk.page.locator("#divider")).to_have_attribute("aria-valuenow", "60")
    tab_to("strength")
    desk.page.keyboard.press("ArrowLeft")
    expect(desk.page.locator("#strength-value")).to_have_text("99 %")
    tab_to("save")
    with desk.page.expect_download() as saved:
        desk.page.keyboard.press("Enter")
    assert saved.value.suggested_filename == "at dusk_denoised.png"


def test_everything_has_a_name_and_states_are_told(desk: Visit, source: Path) -> None:
    show(desk, source)
    expect(desk.page.get_by_role("status")).to_have_text(re.compile(r"at dusk\.png: done\. Noise \d+"))
    nameless = desk.page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, [role=slider], a')].filter((element) =>
          !(element.ariaLabel || element.labels?.length || element.textContent.trim())).map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_a_phone(browser: Browser, server: Server, source: Path) -> None:
    options = {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
        "device_scale_factor": 2,
    }
    with visit(browser, server.url, **options) as phone:
        assert_no_sideways(phone.page)
        phone.page.locator("#picker").set_input_files(source)
        phone.wait_done()
        assert_no_sideways(phone.page)
        phone.page.touchscreen.tap(300, 250)
        expect(phone.page.locator("#divider")).to_have_attribute("aria-valuenow", re.compile("8[2-4]"))
        phone.page.locator("#chroma").scroll_into_view_if_needed()
        phone.slide("chroma", 40)
        expect(phone.page.locator("#save")).to_be_in_viewport()
        phone.screenshot("done-phone")


def assert_no_sideways(page: Page) -> None:
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_a_token_is_asked_for_and_kept_in_memory(desk: Visit, source: Path) -> None:
    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer right":
            route.fallback()
        else:
            route.fulfill(status=401, json={"title": "Unauthorized", "status": 401})

    desk.page.route("**/v1/denoise*", guard)
    desk.drop(source.name, source.read_bytes())
    field = desk.page.get_by_label("Token", exact=True)
    field.fill("wrong")
    field.press("Enter")
    expect(desk.page.locator("#token-wrong")).to_be_visible()
    field.fill("right")
    field.press("Enter")
    desk.wait_done()
    assert desk.page.evaluate("() => localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_a_busy_server_is_asked_again(desk: Visit, source: Path) -> None:
    refusals = [{"Retry-After": "1"}]

    def refuse_once(route: Route) -> None:
        if refusals:
            route.fulfill(status=429, headers=refusals.pop(), json={"title": "Too Many Requests", "status": 429})
        else:
            route.fallback()

    desk.page.route("**/v1/denoise*", refuse_once)
    desk.drop(source.name, source.read_bytes())
    expect(desk.page.locator("#working-text")).to_contain_text("busy")
    desk.wait_done()


@pytest.mark.parametrize("answer", ["none", "broken off", "problem inside"])
def test_a_failure_is_told_in_plain_words_and_tried_again(desk: Visit, source: Path, answer: str) -> None:
    problem = '{"problem": {"title": "Gateway Timeout", "status": 504, "detail": "image data: not done within 9 s"}}'
    head = f"--x\r\nContent-Type: application/json\r\nContent-Length: {len(problem)}\r\n\r\n"
    body = head + (f"{problem}\r\n--x--" if answer == "problem inside" else problem[:9])

    def fail(route: Route) -> None:
        if answer == "none":
            route.abort()
        else:
            route.fulfill(content_type="multipart/mixed; boundary=x", body=body)

    desk.page.route("**/v1/denoise*", fail)
    desk.drop(source.name, source.read_bytes())
    told = "took too long" if answer == "problem inside" else "does not answer"
    expect(desk.page.locator("#trouble-title")).to_contain_text(told)
    desk.page.unroute("**/v1/denoise*")
    desk.page.get_by_role("button", name="Try again").click()
    desk.wait_done()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size", [(1440, 900), (1280, 720), (390, 844), (844, 390)])
def test_sizes_and_schemes(browser: Browser, server: Server, source: Path, size: tuple[int, int], scheme: str) -> None:
    name = f"{size[0]}x{size[1]}-{scheme}"
    options = {"viewport": {"width": size[0], "height": size[1]}, "color_scheme": scheme, "reduced_motion": "reduce"}
    with visit(browser, server.url, **options) as seen:
        expect(seen.page.locator("#choose")).to_be_in_viewport()
        seen.screenshot(f"empty-{name}")
        show(seen, source)
        assert_no_sideways(seen.page)
        expect(seen.page.locator("#save")).to_be_in_viewport()
        seen.screenshot(f"done-{name}")
