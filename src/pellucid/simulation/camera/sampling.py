"""Random cameras for training: any make, settings, lens, film and file quality."""

from dataclasses import replace

import numpy as np

from pellucid.simulation.camera.camera import Camera
from pellucid.simulation.camera.demosaic import DirectionalMosaic, FullColor, Mosaic
from pellucid.simulation.camera.film import Film
from pellucid.simulation.camera.isp import ISP
from pellucid.simulation.camera.postprocess import PostProcess
from pellucid.simulation.camera.sensor import NOISELESS, Sensor
from pellucid.simulation.jpeg import Jpeg

#: Bounds of a resized photograph's side relative to the sensor's.
_SCALE = (0.5, 1.75)
#: The most that an image is enlarged before it is photographed.
_SOFTNESS_MAX = 2.5
#: Rows and columns after which the blocks of a JPEG with subsampled chroma repeat.
_GRID_PX = 16


def sample_camera(
    rng: np.random.Generator,
    iso: tuple[float, float] = (100.0, 25600.0),
    quality: tuple[int, int] = (50, 100),
    *,
    raw_prob: float = 0.25,
    film_prob: float = 0.25,
    full_color_prob: float = 0.3,
) -> Camera:
    """Draw a camera and its settings.

    Half of the photographs are resized, half are soft, half have subsampled chroma; the JPEG grid starts anywhere, as
    in crops. Half of the films without color give monochrome photographs. Half of the grain is added to the image as
    it is, as by editing software or a scanner, which sharpens.

    Parameters
    ----------
    rng : Generator
    iso, quality : (low, high)
        Ranges of the ISO and of JPEG's quality.
    raw_prob : float
        Probability of development from a raw file: neither smoothed nor sharpened, stored at the highest quality.
    film_prob : float
        Probability of a scan from film.
    full_color_prob : float
        Probability of a sensor without a mosaic. Without these, sharp images compressed by JPEG would be rare, and
        their texture be taken for noise.
    """
    sensor = Sensor.draw(rng, *iso)
    mosaic: Mosaic | DirectionalMosaic | FullColor = _sample_mosaic(rng)
    if rng.random() < full_color_prob:
        mosaic = FullColor()
    isp = ISP.draw(rng)
    postprocess = PostProcess.draw(rng)
    scale = float(rng.uniform(*_SCALE)) if rng.random() < 0.5 else 1.0
    jpeg = Jpeg(int(rng.integers(quality[0], quality[1] + 1)), bool(rng.integers(2)), _sample_offset(rng, _GRID_PX))
    softness = float(rng.uniform(1, _SOFTNESS_MAX)) if rng.random() < 0.5 else 1.0
    if rng.random() < raw_prob:
        postprocess = PostProcess(saturation=postprocess.saturation)
        jpeg = Jpeg(quality[1], grid_px=jpeg.grid_px)
    if rng.random() >= film_prob:
        return Camera(sensor, mosaic, isp, postprocess, scale, jpeg, softness)
    film = Film.draw(rng)
    if not film.colored and rng.random() < 0.5:
        postprocess = replace(postprocess, saturation=0.0)
    return _scan_half(Camera(NOISELESS, mosaic, isp, postprocess, scale, jpeg, softness, film), rng)


def remove_noise(camera: Camera, rng: np.random.Generator) -> Camera:
    """Make a camera noiseless; half of them leave no artifacts but those of JPEG and sharpening."""
    return _scan_half(replace(camera, sensor=NOISELESS, film=None), rng)


def _scan_half(camera: Camera, rng: np.random.Generator) -> Camera:
    """Reduce half of the cameras to a scanner: the image as it is, sharpened and compressed."""
    if rng.random() < 0.5:
        return camera
    old = camera.postprocess
    postprocess = PostProcess(sharpening=old.sharpening, sharpening_px=old.sharpening_px, saturation=old.saturation)
    return replace(camera, mosaic=FullColor(), postprocess=postprocess, scale=1.0, softness=1.0)


def _sample_mosaic(rng: np.random.Generator) -> Mosaic | DirectionalMosaic:
    """Draw a demosaicing method: bilinear, gradient-corrected or directional."""
    method, red_px = rng.integers(3), _sample_offset(rng, 2)
    if method == 2:
        return DirectionalMosaic(red_px, int(rng.choice((1, 3, 5))))
    return Mosaic(("bilinear", "gradient")[method], red_px)


def _sample_offset(rng: np.random.Generator, n: int) -> tuple[int, int]:
    return int(rng.integers(n)), int(rng.integers(n))
