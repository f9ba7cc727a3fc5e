"""Describe the machine: processor, versions, devices; and test speed and denoising on it."""

import importlib.metadata
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.inference.denoiser import Denoiser
from pellucid.inference.engine import engine_info
from pellucid.inference.options import DenoiseOptions

SIDE_PX = 1024
SIGMA = 25 / 255
REPEATS = 3
#: Packages on which measurements depend.
PACKAGES = ("pellucid", "numpy", "openvino", "bm3d", "opencv-python-headless", "scikit-image", "onnx", "h5py")


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
        "pellucid": importlib.metadata.version("pellucid"),
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


def describe_environment() -> dict[str, Any]:
    """Collect the command line, processor, system and package versions."""
    versions: dict[str, str] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "command": shlex.join(sys.argv),
        "processor": processor(),
        "system": platform.platform(),
        "versions": versions,
    }


def processor() -> str:
    """Get the model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
