"""Make the picture of the README: ``python docs/pictures.py``.

Left: a photograph with white Gaussian noise of level 25, as it is measured in tables. Right: a part of a
photograph of a launch at dusk, enlarged and brightened, with the noise that its camera made. The left half of each
is the input, the right half what ``pellucid.denoise`` makes of it by itself.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut

import pellucid
from pellucid import images

HERE = Path(__file__).parent
SIDE_PX, ZOOM, BRIGHTEN = 512, 3, 1.8
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


def real() -> Pixels:
    """Split a part of the launch of DSCOVR (SpaceX, CC0)."""
    photograph = images.read(HERE.parent / "demo" / "rocket.jpg").pages[0]
    side = -(-SIDE_PX // ZOOM)
    place = (slice(TOP, TOP + side), slice(LEFT, LEFT + side))
    halves = split(photograph[place], pellucid.denoise(photograph)[place])
    bright = np.clip(np.rint(halves * BRIGHTEN), 0, 255).astype(np.uint8)
    return bright.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)[:SIDE_PX, :SIDE_PX]


def main() -> None:
    """Write ``before-after.jpg`` beside this file."""
    gap = np.full((SIDE_PX, 16, 3), 255, np.uint8)
    page = np.ascontiguousarray(np.hstack([simulated(), gap, real()]))
    target = HERE / "before-after.jpg"
    images.write(images.Picture((page,), (None,), "jpeg"), target, overwrite=True)
    print(target)


if __name__ == "__main__":
    main()
