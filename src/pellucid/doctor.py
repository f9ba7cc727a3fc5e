"""Self-test: versions, devices, speed and whether denoising works on this machine."""

import platform
import time
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from pellucid.inference.denoiser import Denoiser
from pellucid.inference.engine import engine_info
from pellucid.inference.options import DenoiseOptions

SIDE_PX = 1024
SIGMA = 25 / 255
REPEATS = 3


@dataclass(frozen=True)
class Report:
    """Result of the self-test: versions, devices by name, what is used, and how it performed."""

    pellucid: str
    python: str
    numpy: str
    openvino: str
    system: str
    devices: dict[str, str]
    device: str
    precision: str
    threads: int
    model: str
    #: Reading, checking and first compiling the model.
    seconds_to_load: float
    #: Median of several runs on one megapixel.
    seconds_per_megapixel: float
    #: Gain in PSNR on the test image.
    noise_removed_db: float


def examine(options: DenoiseOptions) -> Report:
    """Denoise a synthetic image with the engine options given."""
    info = engine_info()
    clean = test_image()
    noise = np.random.default_rng(0).standard_normal(clean.shape, dtype=np.float32)
    noisy = clean + np.float32(SIGMA) * noise
    start = time.perf_counter()
    denoiser = Denoiser(**options.engine_options)
    denoised = denoiser.denoise(noisy, sigma=SIGMA)
    first = time.perf_counter() - start
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        denoiser.denoise(noisy, sigma=SIGMA)
        times.append(time.perf_counter() - start)
    each = float(np.median(times))
    gain = 10 * np.log10(np.square(noisy - clean).mean() / np.square(denoised - clean).mean())
    return Report(
        pellucid=version("pellucid"),
        python=platform.python_version(),
        numpy=np.__version__,
        openvino=info.version,
        system=f"{platform.system()} {platform.machine()}",
        devices=info.devices,
        device=denoiser.network.device,
        precision=denoiser.network.precision,
        threads=denoiser.network.n_threads,
        model=denoiser.card.name,
        seconds_to_load=max(0.0, first - each),
        seconds_per_megapixel=each / (SIDE_PX**2 / 1e6),
        noise_removed_db=float(gain),
    )


def test_image() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Draw rings that become finer to the right over a colour ramp: ``(SIDE_PX, SIDE_PX, 3)``, float32 in [0, 1]."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX].astype(np.float32) / SIDE_PX
    rings = 0.5 + 0.3 * np.sin(40 * (x + 0.5) * np.hypot(x - 0.5, y - 0.5) * 3)
    channels = [rings * (0.7 + 0.3 * x), rings * (0.7 + 0.3 * y), rings * (1 - 0.3 * x)]
    return np.stack(channels, axis=-1).astype(np.float32)
