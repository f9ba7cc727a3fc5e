"""Cameras at random, and mixtures of their photographs with other noise and with none.

A random generator enters, a way to make pairs leaves. It knows nothing of images.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from pellucid.errors import ParameterError
from pellucid.simulation.camera.camera import Camera, Plain
from pellucid.simulation.camera.demosaic import FullColor, Mosaic
from pellucid.simulation.camera.directed import DirectedMosaic
from pellucid.simulation.camera.film import Film
from pellucid.simulation.camera.isp import Development
from pellucid.simulation.camera.postprocess import Finish
from pellucid.simulation.camera.sensor import SILENT, SensorRange
from pellucid.simulation.jpeg import Jpeg
from pellucid.simulation.noise import Gaussian, GaussianRange

#: Rows and columns after which the blocks of a JPEG with subsampled colour repeat.
_GRID_PX = 16


@dataclass(frozen=True)
class CameraRange:
    """Cameras of any make with any settings.

    Half of the photographs are resized, half are soft, half store colour at half resolution. The blocks of JPEG start
    anywhere, as they do in crops. A share of them is developed from raw files: neither smoothed nor sharpened, and
    stored as finely as can be. Another has no mosaic: without such what is sharp and compressed by JPEG would be rare,
    and its texture taken for noise. Of some the noise is the grain of film, and where that has no colour, half of
    the photographs have none either; half of the grain lies on the image as it is, as programs leave it, or scanners,
    which sharpen.

    Parameters
    ----------
    sensors : SensorRange
    scale_low, scale_high : float
        Bounds of a resized photograph's side relative to the sensor's, in [0.25, 2].
    softness_high : float
        The most that an image is enlarged before it is taken, in [1, 4].
    quality_low, quality_high : int
        Bounds of JPEG's quality, both drawn as often as any other.
    unfinished_share : float
        The share that is developed from raw files, in [0, 1].
    film_share : float
        The share that is scanned from film, in [0, 1].
    full_color_share : float
        The share that has no mosaic, in [0, 1]; half of the films never have one.

    Raises
    ------
    ParameterError
        A bound is impossible.
    """

    sensors: SensorRange = field(default_factory=SensorRange)
    scale_low: float = 0.5
    scale_high: float = 1.75
    softness_high: float = 2.5
    quality_low: int = 50
    quality_high: int = 100
    unfinished_share: float = 0.25
    film_share: float = 0.25
    full_color_share: float = 0.3

    def __post_init__(self) -> None:
        if not 0.25 <= self.scale_low <= self.scale_high <= 2:
            raise ParameterError(
                f"scale_low {self.scale_low}: give a number from 0.25 to scale_high ({self.scale_high}), "
                "which is at most 2"
            )
        if not 1 <= self.softness_high <= 4:
            raise ParameterError(f"softness_high {self.softness_high}: give a number between 1 and 4")
        if not 1 <= self.quality_low <= self.quality_high <= 100:
            raise ParameterError(
                f"quality_low {self.quality_low}: give a whole number from 1 to quality_high ({self.quality_high}), "
                "which is at most 100"
            )
        for name in ("unfinished_share", "film_share", "full_color_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ParameterError(f"{name} {getattr(self, name)}: give a number between 0 and 1")

    def draw(self, rng: np.random.Generator) -> Camera:
        """Draw a camera; `rng` is the only source of randomness."""
        sensor = self.sensors.draw(rng)
        mosaic: Mosaic | DirectedMosaic | FullColor = _draw_mosaic(rng)
        if rng.random() < self.full_color_share:
            mosaic = FullColor()
        development = Development.draw(rng)
        finish = Finish.draw(rng)
        scale = float(rng.uniform(self.scale_low, self.scale_high)) if rng.random() < 0.5 else 1.0
        quality = int(rng.integers(self.quality_low, self.quality_high + 1))
        jpeg = Jpeg(quality, bool(rng.integers(2)), _draw_places(rng, _GRID_PX))
        softness = float(rng.uniform(1, self.softness_high)) if rng.random() < 0.5 else 1.0
        if rng.random() < self.unfinished_share:
            finish = Finish(saturation=finish.saturation)
            jpeg = Jpeg(self.quality_high, grid_px=jpeg.grid_px)
        film = None
        if rng.random() < self.film_share:
            sensor, film = SILENT, Film.draw(rng)
            if not film.colored and rng.random() < 0.5:
                finish = replace(finish, saturation=0.0)
        camera = Camera(sensor, mosaic, development, finish, scale, jpeg, softness, film)
        return camera if film is None else _half_on_the_image(camera, rng)


@dataclass(frozen=True)
class PhotographRange:
    """What a denoiser for photographs meets: noise of cameras, white Gaussian noise, and none.

    A share of images has no noise, so that clean ones are left alone: half of these as they are, half as photographs
    of a camera without noise, so that neither the blocks of JPEG nor the traces of a mosaic are taken for it. Half of
    these have no other trace than JPEG and sharpening: without them such files would have the grain of film more often
    than not.

    Parameters
    ----------
    cameras : CameraRange
    gaussian : GaussianRange
    gaussian_share, clean_share : float
        In [0, 1], together at most 1; the rest is noise of cameras.

    Raises
    ------
    ParameterError
        The shares are impossible.
    """

    cameras: CameraRange
    gaussian: GaussianRange
    gaussian_share: float = 0.25
    clean_share: float = 0.1

    def __post_init__(self) -> None:
        for name, share in (("gaussian_share", self.gaussian_share), ("clean_share", self.clean_share)):
            if not 0 <= share <= 1:
                raise ParameterError(f"{name} {share}: give a number between 0 and 1")
        if self.gaussian_share + self.clean_share > 1:
            raise ParameterError(f"gaussian_share {self.gaussian_share}: with clean_share it is above 1: lower one")

    def draw(self, rng: np.random.Generator) -> Camera | Plain:
        """Draw a way to make a pair; `rng` is the only source of randomness."""
        lot = rng.random()
        if lot < self.clean_share / 2:
            return Plain(Gaussian(0.0))
        if lot < self.clean_share:
            return _half_on_the_image(replace(self.cameras.draw(rng), sensor=SILENT, film=None), rng)
        if lot < self.clean_share + self.gaussian_share:
            return Plain(self.gaussian.draw(rng))
        return self.cameras.draw(rng)


def _half_on_the_image(camera: Camera, rng: np.random.Generator) -> Camera:
    """Let half of the cameras take the image as it is, and do no more to it than a scanner or a program does."""
    if rng.random() < 0.5:
        return camera
    finish = Finish(
        sharpening=camera.finish.sharpening,
        sharpening_px=camera.finish.sharpening_px,
        saturation=camera.finish.saturation,
    )
    return replace(camera, mosaic=FullColor(), finish=finish, scale=1.0, softness=1.0)


def _draw_mosaic(rng: np.random.Generator) -> Mosaic | DirectedMosaic:
    """Draw how a mosaic is interpolated: as cameras do it, along edges, as often as in either of the simple ways."""
    method, red_px = rng.integers(3), _draw_places(rng, 2)
    if method == 2:
        return DirectedMosaic(red_px, int(rng.choice((1, 3, 5))))
    return Mosaic(("bilinear", "gradient")[method], red_px)


def _draw_places(rng: np.random.Generator, n: int) -> tuple[int, int]:
    return int(rng.integers(n)), int(rng.integers(n))
