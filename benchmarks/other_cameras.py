"""Cameras other than the simulated ones, and film grain: ``python benchmarks/other_cameras.py FOLDER --peers WEIGHTS``.

The clean images of FOLDER pass through cameras that share no code with the simulation of training: OpenCV's edge-aware
demosaicing, the sRGB curve, libjpeg by Pillow, and no smoothing or sharpening, as in raw development; some see only an
enlarged quarter of the image. Others get gray grain, or are black and white and stored in colour. Our models are blind;
FFDNet gets one sigma for all images of a camera, the best of several. Printed is the mean PSNR in dB of the 8-bit
output, against the same photograph without noise.
"""

import argparse
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from photographs import saved
from PIL import Image as PillowImage

from pellucid.evaluation.baselines import Setup, find_method
from pellucid.evaluation.datasets import list_images, load_clean
from pellucid.evaluation.environment import describe_environment
from pellucid.evaluation.metrics import psnr
from pellucid.inference.denoiser import Denoiser
from pellucid.inference.engine import default_threads
from pellucid.simulation.noise import Image

Pair = tuple[Image, Image]
Raw = NDArray[np.float32]

SIGMAS = (5, 10, 15, 25, 40, 55)
#: White balance of daylight for red, green and blue, and the brightness of white before it.
GAINS, EXPOSURE = np.array([2.0, 1.0, 1.6], np.float32), 0.9
#: Raw values from below black to above white, as 16 bits hold them.
BLACK, RANGE = 0.05, 1.35


@dataclass(frozen=True)
class Shot:
    """A camera: noise variance ``shot * light + read``, JPEG quality if any, and whether the image is enlarged."""

    shot: float
    read: float
    quality: int | None = None
    is_soft: bool = False


def take(clean: Image, rng: np.random.Generator, *, camera: Shot) -> Pair:
    """Simulate a photograph of a clean image, with noise and without."""
    light = light_of(frame(clean, camera))
    noisy, target = (store(show(raw), camera.quality) for raw in (expose(light, camera, rng), light))
    return noisy, target


def scan(clean: Image, rng: np.random.Generator, *, sigma: float, size_px: float, is_gray: bool = False) -> Pair:
    """Add grain, equal in all channels and correlated over `size_px`; optionally make it black and white."""
    target = np.repeat(clean.mean(axis=2, keepdims=True), 3, axis=2) if is_gray else clean
    grain = rng.standard_normal(clean.shape[:2], np.float32)
    if size_px:
        grain = cv2.GaussianBlur(grain, (0, 0), size_px)
    return saved(target + np.float32(sigma / grain.std()) * grain[..., None]), saved(target)


def frame(clean: Image, camera: Shot) -> Image:
    """Crop to even sides, or enlarge a quarter of the image to the same size."""
    height, width = (side // 2 * 2 for side in clean.shape[:2])
    if not camera.is_soft:
        return clean[:height, :width]
    soft: Image = cv2.resize(clean[: height // 2, : width // 2], (width, height), interpolation=cv2.INTER_CUBIC)
    return soft


def light_of(seen: Image) -> Raw:
    """Invert :func:`show`: the light on each pixel of the sensor."""
    return _mosaic(_linear(np.clip(seen, 0, 1)) * EXPOSURE / GAINS)


def expose(light: Raw, camera: Shot, rng: np.random.Generator) -> Raw:
    """Add the noise of the sensor."""
    exposed: Raw = light + rng.standard_normal(light.shape, np.float32) * np.sqrt(camera.shot * light + camera.read)
    return exposed


def show(raw: Raw) -> Image:
    """White balance, demosaicing, and the sRGB curve."""
    gains = _mosaic(np.broadcast_to(GAINS, (*raw.shape, 3)))
    levels = np.rint((np.clip(raw * gains + BLACK, 0, RANGE)) / RANGE * 65535).astype(np.uint16)
    # OpenCV names a mosaic by its second row; red is the first pixel of the first row.
    colors = cv2.cvtColor(levels, cv2.COLOR_BayerBG2RGB_EA).astype(np.float32) * RANGE / 65535 - BLACK
    linear = np.clip(colors / EXPOSURE, 0, 1)
    curved: Image = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return curved


def store(shown: Image, quality: int | None) -> Image:
    """Round to 8 bits, or compress as JPEG with chroma at half resolution."""
    if quality is None:
        return saved(shown)
    file = io.BytesIO()
    pixels = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    PillowImage.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
    return np.asarray(PillowImage.open(file)).astype(np.float32) / 255


def _linear(shown: Image) -> Image:
    """Invert the sRGB curve (IEC 61966-2-1)."""
    return np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)


def _mosaic(colors: Image) -> Raw:
    """Keep one colour per pixel, starting with red."""
    values = colors[..., 1].copy()
    values[::2, ::2], values[1::2, 1::2] = colors[::2, ::2, 0], colors[1::2, 1::2, 2]
    return values


WAYS: dict[str, Callable[[Image, np.random.Generator], Pair]] = {
    "little noise, PNG": partial(take, camera=Shot(5e-4, 2e-6)),
    "little noise, soft, JPEG 95": partial(take, camera=Shot(5e-4, 2e-6, 95, is_soft=True)),
    "some noise, PNG": partial(take, camera=Shot(3e-3, 6e-5)),
    "some noise, soft, JPEG 90": partial(take, camera=Shot(3e-3, 6e-5, 90, is_soft=True)),
    "much noise, PNG": partial(take, camera=Shot(1.2e-2, 6e-4)),
    "much noise, soft, PNG": partial(take, camera=Shot(1.2e-2, 6e-4, is_soft=True)),
    "much noise, JPEG 80": partial(take, camera=Shot(1.2e-2, 6e-4, 80)),
    "fine gray grain": partial(scan, sigma=12 / 255, size_px=0),
    "coarse gray grain": partial(scan, sigma=12 / 255, size_px=1.0),
    "black and white, fine grain": partial(scan, sigma=12 / 255, size_px=0, is_gray=True),
    "black and white, coarse": partial(scan, sigma=12 / 255, size_px=1.0, is_gray=True),
}


def measure(denoise: Callable[[Image], Image], pairs: list[Pair]) -> float:
    """Compute the mean PSNR over pairs."""
    return float(np.mean([psnr(clean, saved(denoise(noisy))) for noisy, clean in pairs]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--peers", type=Path, required=True, metavar="WEIGHTS", help="folder of published weights")
    parser.add_argument("--models", nargs="+", default=["photo"], metavar="NAME")
    parser.add_argument("--every", type=int, default=6, metavar="N", help="only every Nth image (default: 6)")
    options = parser.parse_args()
    print(describe_environment())
    images = [load_clean(path) for path in list_images([options.folder])[:: options.every]]
    ours = {name: Denoiser(name) for name in options.models}
    names = ("noisy", *(Path(name).name for name in ours), "FFDNet")
    print(f"{f'{len(images)} images':<28}" + "".join(f"{name:>10}" for name in names) + ", sigma")
    with tempfile.TemporaryDirectory() as scratch:
        setup = Setup(n_channels=3, n_threads=default_threads(), scratch=Path(scratch), peers=options.peers)
        peer = find_method("ffdnet").prepare(setup)
        for label, way in WAYS.items():
            pairs = [way(image, np.random.default_rng(number)) for number, image in enumerate(images)]
            means = [measure(lambda noisy: noisy, pairs), *(measure(net.denoise, pairs) for net in ours.values())]
            by_sigma = {sigma: measure(lambda noisy, s=sigma: peer(noisy, s / 255), pairs) for sigma in SIGMAS}
            best = max(by_sigma, key=by_sigma.__getitem__)
            cells = "".join(f"{value:>10.2f}" for value in (*means, by_sigma[best]))
            print(f"{label:<28}{cells}, {best}", flush=True)


if __name__ == "__main__":
    main()
