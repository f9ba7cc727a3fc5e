"""Dead leaves model: random shapes drawn over photographs.

Randomly occluding shapes whose sizes have an inverse cubic density share the edges and the scale invariance of natural
images (Lee, Mumford, Huang, "Occlusion Models for Natural Images", IJCV 2001); networks can be trained on them alone
(Achddou, Gousseau, Ladjal, "Synthetic images as a regularity prior for image restoration neural networks", SSVM 2021).
Here they take the colors of the photographs beneath and add straight, hard edges in all directions.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Patch = NDArray[np.float32]

#: Number of shapes, drawn log-uniformly.
_N_SHAPES = (2, 60)
#: Radius of the smallest shape; that of the largest is the patch's side.
_RADIUS_MIN_PX = 6.0
#: Width of edges, from hard ones to those of a soft lens.
_EDGE_PX = (1.0, 3.0)
#: Width of stripes: minimum in pixels, maximum as a share of the patch's side.
_STRIPE_MIN_PX, _STRIPE_MAX = 3.0, 0.2
#: Probabilities of stripes and of a gradient as the filling, and of a strip as the shape.
_STRIPED_PROB, _GRADIENT_PROB, _STRIP_PROB = 0.3, 0.3, 0.5


@dataclass(frozen=True)
class _Grid:
    """Coordinates of the pixels of a patch."""

    x: Patch
    y: Patch

    def along(self, angle: float, origin: tuple[float, float]) -> Patch:
        """Return the signed distance of each pixel from a point in a direction."""
        across: Patch = (self.x - np.float32(origin[0])) * np.float32(math.cos(angle))
        return across + (self.y - np.float32(origin[1])) * np.float32(math.sin(angle))


def draw_dead_leaves(photograph: Patch, colors: Patch, rng: np.random.Generator) -> Patch:
    """Draw random shapes over a copy of a photograph (H, W, C), filled with some of the colors (N, C)."""
    height, width = photograph.shape[:2]
    grid = _Grid(np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None])
    edge_px = rng.uniform(*_EDGE_PX)
    image = photograph
    for _ in range(round(_log_uniform(rng, *_N_SHAPES))):
        coverage = _shape(grid, (height, width), edge_px, rng)
        first, second = colors[rng.integers(len(colors), size=2)]
        image = image + coverage * (_fill(grid, first, second, edge_px, rng) - image)
    return image


def _shape(grid: _Grid, size: tuple[int, int], edge_px: float, rng: np.random.Generator) -> Patch:
    """Draw the coverage (H, W, 1) of a rectangular strip or another convex polygon, 1 inside."""
    radius = _radius(rng, _RADIUS_MIN_PX, float(max(size)))
    origin = (rng.uniform(0, size[1]), rng.uniform(0, size[0]))
    turn = rng.uniform(0, 2 * math.pi)
    if rng.random() < _STRIP_PROB:
        stretch = math.exp(rng.uniform(0, 2))
        sides = [(i * math.pi / 2, radius * (stretch if i % 2 else 1 / stretch)) for i in range(4)]
    else:
        n_sides = int(rng.integers(3, 13))
        sides = [
            (2 * math.pi * (i + rng.uniform(-0.3, 0.3)) / n_sides, radius * rng.uniform(0.7, 1)) for i in range(n_sides)
        ]
    beyond = np.full(size, -np.inf, np.float32)
    for angle, distance in sides:
        np.maximum(beyond, grid.along(turn + angle, origin) - np.float32(distance), out=beyond)
    return _soften(beyond, edge_px)[..., None]


def _fill(grid: _Grid, first: Patch, second: Patch, edge_px: float, rng: np.random.Generator) -> Patch:
    """Return the filling of a shape: a single color, a gradient or stripes; broadcasts to (H, W, C)."""
    kind, angle = rng.random(), rng.uniform(0, math.pi)
    side_px = float(max(grid.x.shape[1], grid.y.shape[0]))
    if kind < _STRIPED_PROB:
        period = 2 * _log_uniform(rng, _STRIPE_MIN_PX, max(_STRIPE_MIN_PX, _STRIPE_MAX * side_px))
        phase = grid.along(angle, (0, 0)) / np.float32(period) + np.float32(rng.random())
        from_edge = np.abs(phase % 1 - np.float32(0.5)) - np.float32(rng.uniform(0.1, 0.4))
        share = _soften(from_edge * np.float32(period), edge_px)
    elif kind < _STRIPED_PROB + _GRADIENT_PROB:
        share = np.clip(grid.along(angle, (0, 0)) / np.float32(rng.uniform(1, 4) * side_px), 0, 1)
    else:
        return first
    return first + share[..., None] * (second - first)


def _soften(distance: Patch, edge_px: float) -> Patch:
    """Convert the signed distance from an edge, negative inside, to the coverage of each pixel."""
    share: Patch = np.clip(np.float32(0.5) - distance / np.float32(edge_px), 0, 1)
    return share


def _radius(rng: np.random.Generator, least: float, greatest: float) -> float:
    """Draw from an inverse cubic density by its inverse distribution function."""
    share = rng.random()
    return float((share * greatest**-2 + (1 - share) * least**-2) ** -0.5)


def _log_uniform(rng: np.random.Generator, least: float, greatest: float) -> float:
    return float(math.exp(rng.uniform(math.log(least), math.log(greatest))))
