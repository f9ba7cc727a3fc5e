"""Images and helpers that tests share."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

# Whoever starts the tests in the background has interrupts ignored, which every process below would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Torch's threads spin while they wait; on a machine that does other work too, small networks become ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """A real colour photograph, (512, 512, 3) uint8."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut())


@pytest.fixture(scope="session")
def gray_photo() -> NDArray[np.uint8]:
    """A real gray photograph, (512, 512) uint8."""
    from skimage import data

    return np.ascontiguousarray(data.camera())


@pytest.fixture(scope="session")
def pellucid() -> Run:
    """Run the installed command as its user would."""
    command = Path(sys.executable).with_name("pellucid")

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
        options.setdefault("timeout", 120)
        return subprocess.run([command, *map(str, arguments)], capture_output=True, check=False, **options)  # type: ignore[call-overload]

    return run


def add_noise(image: NDArray[np.uint8], sigma: float, seed: int = 0) -> NDArray[np.uint8]:
    """Add white Gaussian noise of `sigma` on the 0..255 scale, rounded and clipped to 8 bits."""
    noise = sigma * np.random.default_rng(seed).standard_normal(image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
