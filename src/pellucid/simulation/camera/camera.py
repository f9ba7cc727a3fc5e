"""Simulated photographs: the noisy image of a camera, and the mean of many shots as its target."""

import math
from dataclasses import dataclass

import numpy as np

from pellucid.errors import ParameterError
from pellucid.simulation.camera.demosaic import DirectionalMosaic, FullColor, Mosaic
from pellucid.simulation.camera.film import Film
from pellucid.simulation.camera.filters import Planes, mix, resize
from pellucid.simulation.camera.isp import ISP
from pellucid.simulation.camera.postprocess import PostProcess
from pellucid.simulation.camera.sensor import Sensor
from pellucid.simulation.jpeg import TO_YCBCR, Jpeg
from pellucid.simulation.noise import Image, require

Pair = tuple[Image, Image]

#: Rows and columns by which the noise of one shot is shifted to serve as that of another.
_NOISE_SHIFT = (-19, 11)


@dataclass(frozen=True)
class Camera:
    r"""A camera with its settings: inverse ISP, sensor noise, mosaic, ISP, post-processing, resizing and JPEG.

    The order is that of Karaimer and Brown, "A Software Platform for Manipulating the Camera Imaging Pipeline", ECCV
    2016, fig. 2.

    The target is the mean of many shots, as in data sets of real pairs (Xu et al., "Real-world Noisy Image Denoising: A
    New Benchmark", 2018). It keeps the camera's blur: removing that would be inventing detail. The mean of shots
    differs from a shot without noise in two ways: the tone curve bends noise, so that dark areas become brighter; and
    JPEG rounds each shot differently, so that the mean has no blocks and keeps detail which noise lifts above half a
    quantization step. The second is estimated by two shots of opposite noise,

    .. math:: x + \tfrac12 \sum_{s = \pm 1} \bigl(J(x + s n') - (x + s n')\bigr)

    with x the processed image without noise, J JPEG, and n' the shifted noise, which is independent of the noise at a
    pixel.

    Parameters
    ----------
    sensor, mosaic, isp, postprocess
        Stages of the pipeline.
    scale : float
        Side of the result relative to the sensor's image, in [0.25, 2]; above 1 noise becomes coarser, as by a digital
        zoom. The clean image is resized inversely before, so that the result has its size.
    jpeg : Jpeg
    softness : float
        In [1, 4]. Enlarge the upper left part of the clean image by this factor: sensors resolve more than lenses,
        focus and steady hands.
    film : Film or None
        Scan a film, whose grain is the only noise: the sensor must be noiseless.

    Raises
    ------
    ParameterError
        The scale or the softness is out of its bounds, or there is a film and the sensor is not noiseless.
    """

    sensor: Sensor
    mosaic: Mosaic | DirectionalMosaic | FullColor
    isp: ISP
    postprocess: PostProcess
    scale: float
    jpeg: Jpeg
    softness: float = 1.0
    film: Film | None = None

    def __post_init__(self) -> None:
        require(0.25 <= self.scale <= 2, "scale", self.scale, "between 0.25 and 2")
        require(1 <= self.softness <= 4, "softness", self.softness, "between 1 and 4")
        if self.film is not None and not self.sensor.is_noiseless:
            raise ParameterError("film: its grain must be the only noise: give a noiseless sensor")

    def pair(self, clean: Image, rng: np.random.Generator) -> Pair:
        """Photograph a clean image, (H, W, C) float32 in [0, 1] of 1 or 3 channels: the noisy shot and its target.

        The shot is rounded to 8 bits, the target is not; without noise both are the same. Gray images give luma.

        Raises
        ------
        ParameterError
            The image has neither one channel nor three.
        """
        height, width, n_channels = clean.shape
        if n_channels not in {1, 3}:
            raise ParameterError(f"image of {n_channels} channels: give one of 1 or 3")
        seen = clean[: math.ceil(height / self.softness), : math.ceil(width / self.softness)]
        colors = np.ascontiguousarray(np.broadcast_to(seen, (*seen.shape[:2], 3)).transpose(2, 0, 1))
        if self.scale != 1 or self.softness > 1:
            colors = resize(colors, *(math.ceil(side / self.scale) for side in (height, width)))
        pair = self.postprocess(self._expose(self.isp.to_raw(np.clip(colors, 0, 1)), rng))
        if self.scale != 1:
            pair = resize(pair, height, width)
        if n_channels == 1:
            pair = mix(TO_YCBCR[:1], pair)
        return self._compress(pair, rng)

    def _expose(self, raw: Planes, rng: np.random.Generator) -> Planes:
        """Turn raw colors (3, H, W) into the tones of the noisy and of the clean image, (3, 2, H, W)."""
        clean_raw = self.mosaic.sample(raw)
        noisy_raw = clean_raw if self.sensor.is_noiseless else self.sensor(clean_raw, rng)
        gains = self.mosaic.sample(np.broadcast_to(self.isp.gain_planes, raw.shape))
        linear = self.isp.to_linear(self.mosaic.interpolate(np.stack([noisy_raw, clean_raw]) * gains))
        noisy, clean = linear[:, 0], linear[:, 1]
        if self.film is not None:
            tones = self.isp.encode(clean)
            return np.stack([self.film(tones, rng), tones], axis=1)
        if self.sensor.is_noiseless:
            return self.isp.encode(linear)
        variance = self.isp.variance_of_linear(self.sensor.variance(raw), self.mosaic.covariances)
        mean = self.isp.encode_mean(clean, variance)
        return np.stack([self.isp.encode(noisy), mean], axis=1)

    def _compress(self, pair: Planes, rng: np.random.Generator) -> Pair:
        """Return the noisy file and the mean of many such files."""
        noisy, clean = (np.ascontiguousarray(image) for image in pair.transpose(1, 2, 3, 0).clip(0, 1))
        file, noise = self.jpeg(noisy, rng), np.roll(noisy - clean, _NOISE_SHIFT, axis=(0, 1))
        if not noise.any():
            return file, file
        errors = [self.jpeg(shot, rng) - shot.clip(0, 1) for shot in (clean + noise, clean - noise)]
        return file, np.clip(clean + np.mean(errors, axis=0), 0, 1)
