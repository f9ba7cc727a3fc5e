"""A photograph of a clean image as a camera would have taken it, and what the mean of many such shots shows.

A clean image and a random generator enter, a pair leaves. It knows nothing of what cameras there are.
"""

import math
from dataclasses import dataclass

import numpy as np

from pellucid.errors import ParameterError
from pellucid.simulation.camera.demosaic import FullColor, Mosaic
from pellucid.simulation.camera.directed import DirectedMosaic
from pellucid.simulation.camera.film import Film
from pellucid.simulation.camera.filters import Planes, mix, resize
from pellucid.simulation.camera.isp import Development
from pellucid.simulation.camera.postprocess import Finish
from pellucid.simulation.camera.sensor import Sensor
from pellucid.simulation.jpeg import TO_YCBCR, Jpeg
from pellucid.simulation.noise import Image

Pair = tuple[Image, Image]

#: By how many rows and columns the noise of one shot is moved, to be that of another.
_OTHER_SHOT = (-19, 11)


@dataclass(frozen=True)
class Camera:
    r"""A camera with its settings: back to raw values, noise, mosaic, development, finish, resizing and JPEG.

    The order is that of a camera's own processing (Karaimer and Brown, "A Software Platform for Manipulating the Camera
    Imaging Pipeline", ECCV 2016, fig. 2).

    The target is what the mean of many shots shows, which is how real pairs get theirs (Xu et al., "Real-world Noisy
    Image Denoising: A New Benchmark", 2018). What the camera did to the picture stays: to undo the blur of a filter
    would be to invent detail, and a photograph that has no noise would not come back as it was. Two things are other
    in the mean of shots than in one without noise. The tone curve bends noise, so that dark places become brighter. And
    JPEG rounds each shot otherwise: the mean has no blocks, and of detail what noise lifts above half a step. Both are
    in the target, the second by two shots of opposite noise,

    .. math:: x + \tfrac12 \sum_{s = \pm 1} \bigl(J(x + s n') - (x + s n')\bigr)

    with x what the camera makes of the light without noise, J JPEG, and n' the noise moved aside, so that it tells
    nothing of the noise at a place.

    Parameters
    ----------
    sensor, mosaic, development, finish
        What becomes of the light.
    scale : float
        Side of the result relative to the sensor's image of it, in [0.25, 2]; above 1 noise becomes coarser, as by a
        digital zoom. The clean image is resized the other way first, so that the result has its size.
    jpeg : Jpeg
    softness : float
        In [1, 4]. So many times the clean image's upper left part is enlarged to fill its whole size: sensors have more
        pixels than lenses, focus and steady hands have detail for.
    film : Film or None
        What the photograph is scanned from: its grain is all the noise there is, and the sensor has to be silent.

    Raises
    ------
    ParameterError
        The scale or the softness is out of its bounds, or there is a film and the sensor is not silent.
    """

    sensor: Sensor
    mosaic: Mosaic | DirectedMosaic | FullColor
    development: Development
    finish: Finish
    scale: float
    jpeg: Jpeg
    softness: float = 1.0
    film: Film | None = None

    def __post_init__(self) -> None:
        if not 0.25 <= self.scale <= 2:
            raise ParameterError(f"scale {self.scale}: give a number between 0.25 and 2")
        if not 1 <= self.softness <= 4:
            raise ParameterError(f"softness {self.softness}: give a number between 1 and 4")
        if self.film is not None and not self.sensor.is_silent:
            raise ParameterError("film: its grain is all the noise there is: give a silent sensor")

    def pair(self, clean: Image, rng: np.random.Generator) -> Pair:
        """Photograph an image; a gray image gives the luma of both results.

        Returns
        -------
        noisy : ndarray, shape (H, W, C), float32, in [0, 1]
            Whole levels of 8 bits.
        target : ndarray, shape (H, W, C), float32, in [0, 1]
            Any levels; the noisy one's if there is no noise.

        Raises
        ------
        ParameterError
            The image has neither one channel nor three.
        """
        height, width, n_channels = clean.shape
        if n_channels not in {1, 3}:
            raise ParameterError(f"image of {n_channels} channels: a camera sees 1 or 3")
        seen = clean[: math.ceil(height / self.softness), : math.ceil(width / self.softness)]
        colors = np.ascontiguousarray(np.broadcast_to(seen, (*seen.shape[:2], 3)).transpose(2, 0, 1))
        if self.scale != 1 or self.softness > 1:
            colors = resize(colors, *(math.ceil(side / self.scale) for side in (height, width)))
        pair = self.finish(self._develop(self.development.to_raw(np.clip(colors, 0, 1)), rng))
        if self.scale != 1:
            pair = resize(pair, height, width)
        if n_channels == 1:
            pair = mix(TO_YCBCR[:1], pair)
        return self._stored(pair, rng)

    def _stored(self, pair: Planes, rng: np.random.Generator) -> Pair:
        """Give the noisy file, and what the mean of many such files shows."""
        noisy, clean = (np.ascontiguousarray(image) for image in pair.transpose(1, 2, 3, 0).clip(0, 1))
        file, noise = self.jpeg(noisy, rng), np.roll(noisy - clean, _OTHER_SHOT, axis=(0, 1))
        if not noise.any():
            return file, file
        lost = [self.jpeg(shot, rng) - shot.clip(0, 1) for shot in (clean + noise, clean - noise)]
        return file, np.clip(clean + np.mean(lost, axis=0), 0, 1)

    def _develop(self, raw: Planes, rng: np.random.Generator) -> Planes:
        """Make of raw colours (3, H, W) the tones of the noisy and of the clean image, (3, 2, H, W)."""
        clean_raw = self.mosaic.sample(raw)
        noisy_raw = clean_raw if self.sensor.is_silent else self.sensor(clean_raw, rng)
        gains = self.mosaic.sample(np.broadcast_to(self.development.balance(), raw.shape))
        linear = self.development.to_linear(self.mosaic.interpolate(np.stack([noisy_raw, clean_raw]) * gains))
        noisy, clean = linear[:, 0], linear[:, 1]
        if self.film is not None:
            tones = self.development.encode(clean)
            return np.stack([self.film(tones, rng), tones], axis=1)
        if self.sensor.is_silent:
            return self.development.encode(linear)
        variance = self.development.variance_of_linear(self.sensor.variance(raw), self.mosaic.covariances)
        mean = self.development.encode_mean(clean, variance)
        return np.stack([self.development.encode(noisy), mean], axis=1)
