"""A neutral camera and helpers for the tests of its parts."""

import numpy as np
from skimage.data import astronaut

from pellucid.simulation.camera.camera import Camera
from pellucid.simulation.camera.demosaic import Mosaic
from pellucid.simulation.camera.isp import ISP
from pellucid.simulation.camera.postprocess import PostProcess
from pellucid.simulation.camera.sensor import Sensor
from pellucid.simulation.jpeg import Jpeg

PHOTO = np.ascontiguousarray((astronaut()[:96, 150:246] / 255).astype(np.float32))
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
NEUTRAL_CAMERA = Camera(
    Sensor(1e-3, 1e-5), Mosaic("bilinear"), ISP(0.0, (1.0, 1.0, 1.0), IDENTITY), PostProcess(), 1.0, Jpeg(100)
)


def rng(seed=0):
    return np.random.default_rng(seed)


def flat(level, side=96):
    return np.full((side, side, 3), level, np.float32)


def correlation(plane, distance=1):
    plane = plane - plane.mean()
    return (plane[distance:] * plane[:-distance]).mean() / np.square(plane).mean()
