"""Self-test: versions, devices, speed and whether denoising works on this machine."""

import platform
import time
from importlib.metadata import version
from typing import Any

import numpy as np

from pellucid.inference.denoiser import Denoiser
from pellucid.inference.engine import engine_info
from pellucid.inference.options import DenoiseOptions

SIDE_PX = 1024
SIGMA = 25 / 255
REPEATS = 3


def examine(options: DenoiseOptions) -> dict[str, Any]:
    """Denoise a synthetic image; report versions, devices, what is used, speed and the gain in PSNR."""
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
    return {
        "pellucid": version("pellucid"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "openvino": info.version,
        "system": f"{platform.system()} {platform.machine()}",
        "devices": info.devices,
        "device": denoiser.network.device,
        "precision": denoiser.network.precision,
        "threads": denoiser.network.n_threads,
        "model": denoiser.card.name,
        "seconds_to_load": max(0.0, first - each),
        "seconds_per_megapixel": each / (SIDE_PX**2 / 1e6),
        "noise_removed_db": float(gain),
    }


def test_image() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Draw rings that become finer to the right over a colour ramp: ``(SIDE_PX, SIDE_PX, 3)``, float32 in [0, 1]."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX].astype(np.float32) / SIDE_PX
    rings = 0.5 + 0.3 * np.sin(40 * (x + 0.5) * np.hypot(x - 0.5, y - 0.5) * 3)
    channels = [rings * (0.7 + 0.3 * x), rings * (0.7 + 0.3 * y), rings * (1 - 0.3 * x)]
    return np.stack(channels, axis=-1).astype(np.float32)
