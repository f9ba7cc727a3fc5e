"""Peak memory of reading and writing, each in a process of its own."""

import subprocess
import sys

import numpy as np
import pytest

from pellucid.io import Picture, write

SIDE_PX = 4000
MIB = 1 << 20

MEASURE = r"""
import re, sys
from pathlib import Path
from pellucid.io import read, write
from pellucid.io.vips import vips

def peak_mib():
    # Not getrusage, which knows the peak of the process that started this one for its own.
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

vips()
before = peak_mib()
picture = read(Path(sys.argv[1]))
after_read = peak_mib()
write(picture, Path(sys.argv[2]))
print(after_read - before, peak_mib() - before)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """16 megapixels of noise that compresses like a photograph, as files."""
    folder = tmp_path_factory.mktemp("large")
    smooth = np.linspace(0, 200, SIDE_PX, dtype=np.float32)
    noise = np.random.default_rng(0).integers(0, 16, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    page = (smooth[:, None, None] + smooth[None, :, None]).astype(np.uint8) // 2 + noise
    alpha = page[..., 0].copy()
    write(Picture((page,), (None,), "png"), folder / "a.jpg")
    write(Picture((page,), (None,), "png"), folder / "a.png")
    write(Picture((page,), (None,), "png"), folder / "a.tif")
    write(Picture((page,), (alpha,), "png"), folder / "alpha.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "suffix"),
    [("a.jpg", ".jpg"), ("a.png", ".png"), ("a.tif", ".tif"), ("a.png", ".jpg"), ("alpha.png", ".png")],
)
def test_memory_is_that_of_the_samples_and_little_more(large, tmp_path, source, suffix):
    arguments = [sys.executable, "-c", MEASURE, large / source, tmp_path / f"out{suffix}"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    while_reading, in_all = map(float, result.stdout.split())
    samples = SIDE_PX**2 * (4 if source == "alpha.png" else 3) / MIB
    # libvips maps a file into memory, where its pages count although the system may take them back.
    mapped = (large / source).stat().st_size / MIB
    assert while_reading < samples + mapped + 40
    assert in_all < samples + mapped + 60
