"""Cameras with noise reduction, judged by means of shots: ``python benchmarks/many_shots.py FOLDER --peers WEIGHTS``.

As for real photographs, the reference is the mean of many shots. The clean images of FOLDER pass through the cameras of
``other_cameras.py``, with noise reduction and sharpening that are not part of the simulation of training. The mean is
that of a camera that stands still, or of one that shakes by a fraction of a pixel between shots: such a mean is shifted
and softer than the shot, as those of PolyU are. Our models are blind; FFDNet gets one sigma for all images of a camera,
the best of several for each mean. Printed is the mean PSNR in dB of the 8-bit output against both means.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from other_cameras import Shot, expose, frame, light_of, show, store
from photographs import saved
from skimage.restoration import denoise_wavelet

from pellucid.evaluation.baselines import Setup, find_method
from pellucid.evaluation.datasets import list_images, load_clean
from pellucid.evaluation.environment import describe_environment
from pellucid.evaluation.metrics import psnr
from pellucid.inference.denoiser import Denoiser
from pellucid.inference.engine import default_threads
from pellucid.simulation.jpeg import TO_YCBCR
from pellucid.simulation.noise import Image

SIGMAS = (5, 7, 10, 15, 20, 25, 35, 50)
LEVELS = {"some noise": Shot(3e-3, 6e-5), "much noise, soft": Shot(1.2e-2, 6e-4, is_soft=True)}
#: Standard deviation of the position of a shaking camera in pixels, along each axis. Photographs of PolyU are shifted
#: by 0.33 pixels against their means (median of every second one, ``photographs.py --align``).
SHAKE_PX = 0.33 / np.sqrt(2 * np.log(2))

Plane = NDArray[np.float32]
#: A shot, the mean of many shots of a still camera, and the mean of many shots of a shaking one.
Series = tuple[Image, Image, Image]


def bilateral(luma: Plane, sigma: float) -> Plane:
    """Bilateral filter (Tomasi and Manduchi, ICCV 1998); sharpen."""
    return _sharpened(cv2.bilateralFilter(luma, 7, 2.2 * sigma, 1.8), 0.6, 1.0)


def non_local(luma: Plane, sigma: float) -> Plane:
    """Non-local means (Buades, Coll and Morel, CVPR 2005), blended with a fifth of the input; sharpen."""
    levels = np.rint(np.clip(luma, 0, 1) * 255).astype(np.uint8)
    smooth = cv2.fastNlMeansDenoising(levels, None, 0.75 * 255 * sigma, 5, 13).astype(np.float32) / 255
    return _sharpened(0.8 * smooth + 0.2 * luma, 0.5, 0.9)


def wavelets(luma: Plane, sigma: float) -> Plane:
    """Wavelet shrinkage (Donoho and Johnstone, Biometrika 1994), blended with three tenths of the input."""
    smooth: Plane = denoise_wavelet(luma, 0.8 * sigma, "sym4", "soft", 3, method="VisuShrink")
    return 0.7 * smooth + 0.3 * luma


def median(luma: Plane, sigma: float) -> Plane:  # noqa: ARG001 (common signature)
    """Median of 3x3 pixels, blended with three tenths of the input; sharpen."""
    return _sharpened(0.7 * cv2.medianBlur(luma, 3) + 0.3 * luma, 0.8, 1.2)


def guided(luma: Plane, sigma: float) -> Plane:
    """Guided filter with a window of 5x5 pixels (He, Sun and Tang, ECCV 2010)."""
    box = partial(cv2.boxFilter, ddepth=-1, ksize=(5, 5))
    mean = box(luma)
    variance = np.maximum(box(luma * luma) - mean * mean, 0)
    slope = variance / (variance + 2 * sigma * sigma)
    smooth: Plane = box(slope) * luma + box((1 - slope) * mean)
    return smooth


def _sharpened(luma: Plane, amount: float, sigma_px: float) -> Plane:
    """Apply an unsharp mask."""
    sharp: Plane = luma + amount * (luma - cv2.GaussianBlur(luma, (0, 0), sigma_px))
    return sharp


@dataclass(frozen=True)
class Finish:
    """A denoising camera: filter of the luma, blur of the chroma in pixels, and JPEG quality."""

    smooth: Callable[[Plane, float], Plane]
    chroma_px: float
    quality: int

    def __call__(self, shown: Image, sigma: float) -> Image:
        """Process and compress; sigma is the noise of the luma, which a camera has calibrated for each ISO."""
        planes = cv2.cvtColor(shown, cv2.COLOR_RGB2YCrCb)
        luma = self.smooth(np.ascontiguousarray(planes[..., 0]), sigma)
        planes = np.dstack([luma, cv2.GaussianBlur(planes[..., 1:], (0, 0), self.chroma_px)])
        return store(cv2.cvtColor(planes.astype(np.float32), cv2.COLOR_YCrCb2RGB), self.quality)


FINISHES = {
    "bilateral, JPEG 85": Finish(bilateral, 2.5, 85),
    "non-local means, JPEG 90": Finish(non_local, 2.5, 90),
    "wavelets, JPEG 80": Finish(wavelets, 3.0, 80),
    "median, JPEG 95": Finish(median, 2.0, 95),
    "guided filter, JPEG 75": Finish(guided, 4.0, 75),
}


def shoot(clean: Image, finish: Finish, shot: Shot, rng: np.random.Generator, n_shots: int) -> Series:
    """Simulate a series of shots of one scene."""
    seen = frame(clean, shot)
    light = light_of(seen)
    noise = show(expose(light, shot, rng)) - show(light)
    sigma = float(np.std(noise @ TO_YCBCR[0]))

    def take(*, y: float = 0.0, x: float = 0.0) -> Image:
        return finish(show(expose(light_of(_moved(seen, y, x)) if y or x else light, shot, rng)), sigma)

    first = take()
    still = np.mean([take() for _ in range(n_shots)], axis=0, dtype=np.float32)
    places = rng.normal(0, SHAKE_PX, (n_shots + 1, 2))
    shaken = np.mean([take(y=y, x=x) for y, x in places[1:] - places[0]], axis=0, dtype=np.float32)
    return first, still, shaken


def _moved(image: Image, y: float, x: float) -> Image:
    """Shift an image by a fraction of a pixel."""
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    size = image.shape[1::-1]
    moved: Image = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return moved


def measure(denoise: Callable[[Image], Image], series: Sequence[Series]) -> tuple[float, float]:
    """Compute the mean PSNR against still means, and against shaken ones."""
    results = [saved(denoise(first)) for first, _, _ in series]
    still, shaken = (
        float(np.mean([psnr(means[which], result) for (_, *means), result in zip(series, results, strict=True)]))
        for which in (0, 1)
    )
    return still, shaken


def describe(series: Sequence[Series], ours: Sequence[Denoiser], peer: Callable[[Image, float], Image]) -> str:
    """Format a row: noisy, our models and the peer with its best sigma, against still means and shaken ones."""
    rows = [measure(lambda noisy: noisy, series), *(measure(network.denoise, series) for network in ours)]
    by_sigma = {sigma: measure(lambda noisy, sigma=sigma: peer(noisy, sigma / 255), series) for sigma in SIGMAS}
    cells = []
    for which in (0, 1):
        best = max(SIGMAS, key=lambda sigma, which=which: by_sigma[sigma][which])
        cells += [f"{row[which]:.2f}" for row in rows] + [f"{by_sigma[best][which]:.2f}, {best}"]
    return "".join(f"{cell:>14}" for cell in cells)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--peers", type=Path, required=True, metavar="WEIGHTS", help="folder of published weights")
    parser.add_argument("--models", nargs="+", default=["photo"], metavar="NAME")
    parser.add_argument("--every", type=int, default=6, metavar="N", help="only every Nth image (default: 6)")
    parser.add_argument("--shots", type=int, default=24, metavar="N", help="shots per mean (default: 24)")
    options = parser.parse_args()
    print(describe_environment())
    images = [load_clean(path) for path in list_images([options.folder])[:: options.every]]
    names = ["noisy", *(Path(name).name for name in options.models), "FFDNet, sigma"]
    print(f"{f'{len(images)} images: still, then shaken':<42}" + "".join(f"{name:>14}" for name in names * 2))
    ours = [Denoiser(name) for name in options.models]
    with tempfile.TemporaryDirectory() as scratch:
        setup = Setup(n_channels=3, n_threads=default_threads(), scratch=Path(scratch), peers=options.peers)
        peer = find_method("ffdnet").prepare(setup)
        for (label, finish), (strength, shot) in product(FINISHES.items(), LEVELS.items()):
            series = [
                shoot(image, finish, shot, np.random.default_rng(seed), options.shots)
                for seed, image in enumerate(images)
            ]
            print(f"{f'{label}, {strength}':<42}{describe(series, ours, peer)}", flush=True)


if __name__ == "__main__":
    main()
