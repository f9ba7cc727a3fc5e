"""Compare methods on the same noisy images, with the same threads, one after another.

Protocol: white Gaussian noise, not clipped, float32; the same noise for every method; the result clipped to [0, 1]
before PSNR and SSIM; wall-clock time of the call alone, after a warm-up.
"""

import hashlib
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.doctor import describe_environment
from pellucid.errors import DataError, MissingExtraError, ModelError, ParameterError, PellucidError, require_extra
from pellucid.evaluation.baselines import Denoise, Method, Setup, find_method
from pellucid.evaluation.datasets import load_clean
from pellucid.evaluation.metrics import psnr, ssim
from pellucid.evaluation.report import Evaluation, Failure, Measurement, Skipped
from pellucid.inference.engine import default_threads
from pellucid.simulation.noise import Gaussian

Image = NDArray[np.float32]
#: Called before each measurement and at the end with the number done, the total, and what comes next.
Progress = Callable[[int, int, str], None]


def evaluate(
    images: Sequence[Path],
    methods: Sequence[str | Method],
    sigmas: Sequence[float],
    *,
    gray: bool = False,
    crop_px: int | None = None,
    seed: int = 0,
    peers: Path | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure quality and time of methods on clean images at noise levels (standard deviations, 0..255 scale).

    Unusable images count as failures; methods whose package or weights are missing are skipped; both are
    reported, and so are the measurements made before a keyboard interrupt. The noise depends only on the seed, the file
    name and sigma. `peers` is the folder of published networks' weights.

    Raises
    ------
    ParameterError
        No such method; a sigma, crop, seed or number of threads out of range; nothing to measure.
    DataError
        None of the images can be used.
    MissingExtraError or ModelError
        scikit-image is not installed, or none of the methods can run: the first one's reason.
    """
    sigmas = sorted({float(sigma) for sigma in sigmas})
    found = [find_method(each) if isinstance(each, str) else each for each in dict.fromkeys(methods)]
    _check(images, found, sigmas, crop_px=crop_px, seed=seed)
    require_extra("evaluate", "evaluate", "skimage")
    n_threads = _count_threads(n_threads)
    with tempfile.TemporaryDirectory(prefix="pellucid-peers-") as scratch:
        prepared, skipped = _prepare(found, Setup(1 if gray else 3, n_threads, Path(scratch), peers))
        benchmark = _Benchmark(prepared, sigmas, seed, gray, crop_px)
        interrupted = False
        try:
            benchmark.measure(images, progress or (lambda *_: None))
        except KeyboardInterrupt:
            interrupted = True
    if not benchmark.rows and len(benchmark.unusable) == len(images):
        raise DataError(f"none of {len(images)} images can be used; the first: {benchmark.failures[0].message}")
    settings = {"seed": seed, "sigmas": sigmas, "gray": gray, "crop_px": crop_px, "n_threads": n_threads}
    return Evaluation(
        rows=benchmark.rows,
        failures=benchmark.failures,
        skipped=[*skipped, *_skipped_sigmas(prepared, sigmas)],
        families={method.name: method.family for method in prepared},
        protocol=settings | {"noise": "white Gaussian, not clipped"} | describe_environment(),
        interrupted=interrupted,
    )


def noise_rng(seed: int, image_name: str, sigma: float) -> np.random.Generator:
    """Make the random generator for an image's noise from seed, file name and sigma (0..255 scale)."""
    digest = hashlib.sha256(f"{seed}/{image_name}/{sigma:g}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


@dataclass
class _Benchmark:
    """The loop over images, noise levels and methods, whose results survive an interrupt."""

    prepared: dict[Method, Denoise]
    sigmas: Sequence[float]
    seed: int
    gray: bool
    crop_px: int | None
    rows: list[Measurement] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unusable: list[Path] = field(default_factory=list)
    warm: set[tuple[Any, ...]] = field(default_factory=set)

    def measure(self, images: Sequence[Path], progress: Progress) -> None:
        total = len(images) * sum(1 for sigma in self.sigmas for _ in self._methods_for(sigma))
        for index, path in enumerate(images):
            n_done = index * total // len(images)
            try:
                clean = load_clean(path, gray=self.gray, crop_px=self.crop_px)
            except PellucidError as error:
                self.unusable.append(path)
                self.failures.append(Failure("", str(path), None, str(error)))
                continue
            for sigma in self.sigmas:
                noisy = Gaussian(sigma / 255)(clean, noise_rng(self.seed, path.name, sigma))
                for method in self._methods_for(sigma):
                    progress(n_done, total, f"{method.name}, sigma {sigma:g}, {path.name}")
                    self._try(method, path, sigma, clean, noisy)
                    n_done += 1
        progress(total, total, "")

    def _methods_for(self, sigma: float) -> Iterator[Method]:
        return (method for method in self.prepared if method.only_sigma in {None, sigma})

    def _try(self, method: Method, path: Path, sigma: float, clean: Image, noisy: Image) -> None:
        try:
            denoised, seconds = self._timed(method, noisy, sigma / 255)
            quality = _quality(clean, denoised)
        except Exception as error:  # whatever one method raises, the others go on
            reason = str(error) if isinstance(error, PellucidError) else f"{type(error).__name__}: {error}"
            self.failures.append(Failure(method.name, str(path), sigma, reason.splitlines()[0]))
            return
        megapixels = clean.shape[0] * clean.shape[1] / 1e6
        self.rows.append(Measurement(method.name, str(path), sigma, *quality, seconds, megapixels))

    def _timed(self, method: Method, noisy: Image, sigma: float) -> tuple[Image, float]:
        """Denoise and measure the time, after a warm-up call where the first would be slower."""
        key = (method.name, noisy.shape) if method.compiles else (method.name,)
        if key not in self.warm:
            self.prepared[method](noisy.copy(), sigma)
            self.warm.add(key)
        copy = noisy.copy()  # a method may write into its input
        start = time.perf_counter()
        denoised = self.prepared[method](copy, sigma)
        return denoised, time.perf_counter() - start


def _quality(clean: Image, denoised: Image) -> tuple[float, float]:
    if not np.isfinite(denoised).all():
        raise ValueError("the result has values that are not finite")
    clipped = np.clip(denoised, 0, 1)
    return psnr(clean, clipped), ssim(clean, clipped)


def _prepare(methods: Sequence[Method], setup: Setup) -> tuple[dict[Method, Denoise], list[Skipped]]:
    prepared: dict[Method, Denoise] = {}
    skipped: list[Skipped] = []
    for method in methods:
        try:
            prepared[method] = method.prepare(setup)
        except (MissingExtraError, ModelError) as error:
            if len(methods) == 1:
                raise
            skipped.append(Skipped(method.name, str(error)))
    if not prepared:
        raise MissingExtraError(f"none of {len(methods)} methods can run; the first: {skipped[0].reason}")
    return prepared, skipped


def _skipped_sigmas(methods: Iterable[Method], sigmas: Sequence[float]) -> Iterator[Skipped]:
    for method in methods:
        others = [f"{sigma:g}" for sigma in sigmas if method.only_sigma not in {None, sigma}]
        if others:
            yield Skipped(
                method.name,
                f"{method.name}: trained for sigma {method.only_sigma:g} only: skipped at {', '.join(others)}",
            )


def _check(
    images: Sequence[Path],
    methods: Sequence[Method],
    sigmas: Sequence[float],
    *,
    crop_px: int | None,
    seed: int,
) -> None:
    """Check the arguments of :func:`evaluate`."""
    for what, values in (("images", images), ("methods", methods), ("sigmas", sigmas)):
        if not values:
            raise ParameterError(f"{what}: none given: give at least one")
    for sigma in sigmas:
        if not (math.isfinite(sigma) and 0 <= sigma <= 255):
            raise ParameterError(f"sigma {sigma:g}: must be from 0 to 255")
    if crop_px is not None and crop_px < 11:
        raise ParameterError(f"crop {crop_px}: SSIM needs at least 11 pixels")
    if seed < 0:
        raise ParameterError(f"seed {seed}: must be at least 0")


def _count_threads(n_threads: int | None) -> int:
    if n_threads is None:
        return default_threads()
    if n_threads < 1:
        raise ParameterError(f"threads {n_threads}: must be at least 1")
    return n_threads
