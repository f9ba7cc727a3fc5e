"""Debian's Chromium, opened on the page; any request to another host, and any error of the page, fails the test."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Request, Route, expect, sync_playwright

from pellucid import io
from tests.conftest import CHROMIUM

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
#: Generous, since a busy machine is no fault of the page.
WAIT_MS = 30_000

_DROP = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  for (const kind of ['dragenter', 'dragover', 'drop']) {
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser; without one, the test fails."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """The page as its user has it.

    Attributes
    ----------
    page : Page
    asked : list of str
        Addresses that the page has asked for.
    errors : list of str
        What the page threw, or was refused by its content security policy.
    """

    page: Page
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def drop(self, name: str, content: bytes) -> None:
        """Drop a file on the page."""
        self.page.evaluate(_DROP, [name, base64.b64encode(content).decode()])

    def wait_done(self) -> None:
        """Wait until the photo on the stage is done and its pixels are there."""
        expect(self.page.locator("#stage")).to_have_attribute("data-state", "done", timeout=WAIT_MS)
        expect(self.page.locator("#modes")).to_be_visible(timeout=WAIT_MS)

    def slide(self, name: str, value: int) -> None:
        """Move a slider, as a pointer would, and wait for the next frame."""
        self.page.locator(f"#{name}").fill(str(value))
        self.next_frame()

    def next_frame(self) -> None:
        """Wait until what was changed is drawn."""
        self.page.evaluate("() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")

    def pixels(self) -> NDArray[np.uint8]:
        """Read the canvas, (H, W, 3)."""
        url = self.page.evaluate("() => document.getElementById('canvas').toDataURL('image/png')")
        return io.read(base64.b64decode(url.partition(",")[2])).pages[0]

    def image_at_full_size(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Show one pixel of the image in one of the screen, and read these."""
        self.page.locator("#zoom-full").click()
        self.next_frame()
        canvas = self.pixels()
        top, left = (round((outer - inner) / 2) for outer, inner in zip(canvas.shape, shape[:2], strict=False))
        return canvas[top : top + shape[0], left : left + shape[1]]

    def save(self) -> tuple[str, bytes]:
        """Press the button; give the name and content of the file that is downloaded."""
        with self.page.expect_download(timeout=WAIT_MS) as waited:
            self.page.locator("#save").click()
        return waited.value.suggested_filename, Path(waited.value.path()).read_bytes()

    def screenshot(self, name: str) -> None:
        """Keep a picture of the page in an ignored folder."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


@contextmanager
def visit(browser: Browser, url: str, **options: object) -> Iterator[Visit]:
    """Open the page; at the end, see that it asked nobody else and complained of nothing."""
    options.setdefault("viewport", {"width": 1440, "height": 900})
    context = browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(WAIT_MS)
    seen = Visit(context.new_page())
    foreign = []

    def keep_home(route: Route, request: Request) -> None:
        seen.asked.append(request.url)
        if urlsplit(request.url).netloc == urlsplit(url).netloc:
            route.fallback()
        else:
            foreign.append(request.url)
            route.abort()

    context.route("**/*", keep_home)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on(
        "console", lambda said: seen.errors.append(said.text) if "Content Security Policy" in said.text else None
    )
    seen.page.goto(url)
    try:
        yield seen
    finally:
        context.close()
    assert not foreign, "the page asked another host"
    assert not seen.errors
