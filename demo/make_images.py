"""Make the image of the README and the photograph of ``make demo``: ``python demo/make_images.py``.

Left: a photograph with white Gaussian noise, sigma = 25. Right: part of a photograph of a launch at dusk, enlarged, as
a simulated camera takes it at a high ISO. The left half of each is the input, the right half what ``pellucid.denoise``
returns at its defaults. The whole of that photograph is ``demo/night.jpg``.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut

import pellucid
from pellucid import io
from pellucid.simulation.camera.camera import Camera
from pellucid.simulation.camera.demosaic import Mosaic
from pellucid.simulation.camera.isp import ISP
from pellucid.simulation.camera.postprocess import PostProcess
from pellucid.simulation.camera.sensor import Sensor
from pellucid.simulation.jpeg import Jpeg

HERE = Path(__file__).parent
SIDE_PX, ZOOM = 512, 3
#: Some 250 electrons in a full pixel, as at ISO 12,800; a camera that smooths and sharpens a little.
CAMERA = Camera(
    Sensor(0.004, 4e-5),
    Mosaic("gradient"),
    ISP(0.5, (2.0, 1.1, 1.6), ((0.8, 0.2, 0.0), (0.1, 0.8, 0.1), (0.0, 0.2, 0.8))),
    PostProcess(denoising=0.5, luma_px=0.8, chroma_px=1.5, sharpening=0.5, sharpening_px=0.8),
    scale=1.0,
    jpeg=Jpeg(92, is_subsampled=True),
)
#: A corner of the photograph of the launch, with the tower and the sky.
TOP, LEFT = 235, 250

Pixels = NDArray[np.uint8]


def split(before: Pixels, after: Pixels) -> Pixels:
    """Put the left half of one image beside the right half of the other, with a line between."""
    joined = after.copy()
    middle = before.shape[1] // 2
    joined[:, :middle] = before[:, :middle]
    joined[:, middle - 1 : middle + 1] = 255
    return joined


def simulated() -> Pixels:
    """Split the portrait of an astronaut (NASA, public domain)."""
    clean = astronaut()
    noise = 25 * np.random.default_rng(0).standard_normal(clean.shape)
    noisy = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)
    return split(noisy, pellucid.denoise(noisy))


def photographed() -> Pixels:
    """Photograph the launch of DSCOVR (SpaceX, CC0) with a simulated camera."""
    clean = io.read(HERE / "rocket.jpg").pages[0]
    noisy, _ = CAMERA.pair(clean.astype(np.float32) / 255, np.random.default_rng(0))
    return np.rint(255 * noisy).astype(np.uint8)


def enlarged(photograph: Pixels) -> Pixels:
    """Enlarge a part of the launch, before and after."""
    side = -(-SIDE_PX // ZOOM)
    place = (slice(TOP, TOP + side), slice(LEFT, LEFT + side))
    halves = split(photograph[place], pellucid.denoise(photograph)[place])
    return halves.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)[:SIDE_PX, :SIDE_PX]


def main() -> None:
    """Write ``docs/before-after.jpg`` and ``demo/night.jpg``."""
    night = photographed()
    gap = np.full((SIDE_PX, 16, 3), 255, np.uint8)
    page = np.ascontiguousarray(np.hstack([simulated(), gap, enlarged(night)]))
    target = HERE.parent / "docs" / "before-after.jpg"
    for image, path in ((page, target), (night, HERE / "night.jpg")):
        io.write(io.Image((image,), (None,), "jpeg"), path, overwrite=True)
        print(path)


if __name__ == "__main__":
    main()
