"""Shapes drawn over photographs: the dead leaves model.

A patch of a photograph enters, the patch with shapes over it leaves. It knows nothing of noise, networks or torch.

Shapes that fall on one another at random, of sizes whose density is the inverse cube, have the edges and the scale
invariance of natural images (Lee, Mumford, Huang, "Occlusion Models for Natural Images", IJCV 2001), and a network may
be trained on them alone (Achddou, Gousseau, Ladjal, "Synthetic images as a regularity prior for image restoration
neural networks", SSVM 2021). Here they lie on photographs, whose colours they have, and show straight, hard edges in
every direction, which photographs have few of.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Patch = NDArray[np.float32]

#: How many shapes a patch gets at least and at most; few are more likely than many.
N_SHAPES = (2, 60)
#: The smallest shape's radius; the largest has the patch's side.
RADIUS_MIN_PX = 6.0
#: Over how many pixels an edge goes from one shade to the other: from a hard one to that of a soft lens.
EDGE_PX = (1.0, 3.0)
#: From edge to edge of striped shapes; the upper bound is a part of the patch's side.
STRIPE_MIN_PX, STRIPE_MAX = 3.0, 0.2
_STRIPED, _SHADED, _STRIP = 0.3, 0.3, 0.5


@dataclass(frozen=True)
class _Grid:
    """Where the pixels of a patch are."""

    x: Patch
    y: Patch

    def along(self, angle: float, origin: tuple[float, float]) -> Patch:
        """Give how far each pixel is from a point, in a direction."""
        across: Patch = (self.x - np.float32(origin[0])) * np.float32(math.cos(angle))
        return across + (self.y - np.float32(origin[1])) * np.float32(math.sin(angle))


def draw_shapes(photograph: Patch, colours: Patch, rng: np.random.Generator) -> Patch:
    """Draw shapes over a photograph.

    Parameters
    ----------
    photograph : ndarray, shape (H, W, C), float32
        On the [0, 1] scale; left as it is.
    colours : ndarray, shape (N, C), float32
        What the shapes are filled with is chosen from them.
    rng : Generator

    Returns
    -------
    ndarray, shape (H, W, C), float32
        Nowhere beyond the values of the photograph and the colours.
    """
    height, width = photograph.shape[:2]
    grid = _Grid(np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None])
    edge_px = rng.uniform(*EDGE_PX)
    picture = photograph
    for _ in range(round(_log_uniform(rng, *N_SHAPES))):
        coverage = _shape(grid, (height, width), edge_px, rng)
        first, second = colours[rng.integers(len(colours), size=2)]
        picture = picture + coverage * (_fill(grid, first, second, edge_px, rng) - picture)
    return picture


def _shape(grid: _Grid, size: tuple[int, int], edge_px: float, rng: np.random.Generator) -> Patch:
    """Draw a strip or another convex polygon: what lies within a few straight lines; (H, W, 1), 1 inside."""
    radius = _radius(rng, RADIUS_MIN_PX, float(max(size)))
    origin = (rng.uniform(0, size[1]), rng.uniform(0, size[0]))
    turn = rng.uniform(0, 2 * math.pi)
    if rng.random() < _STRIP:
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
    """Give a shape its colours: one, one that turns into another, or stripes of two; broadcast to (H, W, C)."""
    kind, angle = rng.random(), rng.uniform(0, math.pi)
    side_px = float(max(grid.x.shape[1], grid.y.shape[0]))
    if kind < _STRIPED:
        period = 2 * _log_uniform(rng, STRIPE_MIN_PX, max(STRIPE_MIN_PX, STRIPE_MAX * side_px))
        phase = grid.along(angle, (0, 0)) / np.float32(period) + np.float32(rng.random())
        from_edge = np.abs(phase % 1 - np.float32(0.5)) - np.float32(rng.uniform(0.1, 0.4))
        share = _soften(from_edge * np.float32(period), edge_px)
    elif kind < _STRIPED + _SHADED:
        share = np.clip(grid.along(angle, (0, 0)) / np.float32(rng.uniform(1, 4) * side_px), 0, 1)
    else:
        return first
    return first + share[..., None] * (second - first)


def _soften(distance: Patch, edge_px: float) -> Patch:
    """Turn the distance from an edge, negative inside, into how much of a pixel is inside."""
    share: Patch = np.clip(np.float32(0.5) - distance / np.float32(edge_px), 0, 1)
    return share


def _radius(rng: np.random.Generator, least: float, greatest: float) -> float:
    """Draw from the density that is the inverse cube, by its inverse distribution."""
    share = rng.random()
    return float((share * greatest**-2 + (1 - share) * least**-2) ** -0.5)


def _log_uniform(rng: np.random.Generator, least: float, greatest: float) -> float:
    return float(math.exp(rng.uniform(math.log(least), math.log(greatest))))
