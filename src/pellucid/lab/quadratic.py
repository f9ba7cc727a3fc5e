"""The lecture's ill-conditioned quadratic: evaluate, rotate and shift it, minimise it, plot its contours.

Everything is float64, so that a path agrees with its closed form up to rounding.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from pellucid.lab.plots import BLUE, VERMILLION

Points = NDArray[np.float64]
#: Makes an optimizer for the points that are to move.
BuildOptimizer = Callable[[list[Tensor]], torch.optim.Optimizer]
#: A descent has converged once it stays within this distance of the minimum, relative to the start's distance.
TOLERANCE = 1e-3
#: Relative distance at which a descent is abandoned as diverged.
_DIVERGED = 1e6
_MARGIN, _N_GRID, _N_LEVELS = 0.1, 160, 9


@dataclass(frozen=True)
class Quadratic:
    r"""The function :math:`f(x, y) = (\epsilon x^2 + y^2) / 2`, rotated about the origin and shifted."""

    #: One or several epsilon: one function each, minimised independently.
    eps: tuple[float, ...]
    #: In radians.
    angle: float = 0.0
    #: Position of the minimum.
    centre: tuple[float, float] = (0.0, 0.0)

    def transform(self, points: Points) -> Points:
        """Map points (..., 2) from the coordinates of the plain function to those of this one."""
        transformed: Points = points @ self._rotation.T + np.array(self.centre)
        return transformed

    def inverse_transform(self, points: Points) -> Points:
        """Invert :meth:`transform`."""
        plain: Points = (points - np.array(self.centre)) @ self._rotation
        return plain

    def loss(self, points: Tensor) -> Tensor:
        """Sum the function values at points (n, 2), one point for each `eps`."""
        plain = (points - torch.tensor(self.centre, dtype=torch.float64)) @ torch.from_numpy(self._rotation)
        return 0.5 * (torch.tensor(self.eps, dtype=torch.float64) * plain[:, 0].square() + plain[:, 1].square()).sum()

    @property
    def _rotation(self) -> Points:
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cosine, -sine], [sine, cosine]])


def descend(
    function: Quadratic,
    start: Points,
    build_optimizer: BuildOptimizer,
    n_steps: int,
    *,
    stop_when_converged: bool = False,
    noise: Points | None = None,
) -> Points:
    """Minimise the function with an optimizer of torch, one point for each `eps`, until a point diverges.

    `start` is in the coordinates of the plain function; `noise`, shape (n_steps, 2), is added to the gradients. Returns
    the path, shape (steps + 1, n, 2).
    """
    points = torch.from_numpy(np.tile(function.transform(start), (len(function.eps), 1))).requires_grad_()
    optimizer, scale = build_optimizer([points]), float(np.linalg.norm(start))
    path = [points.detach().numpy().copy()]
    for step in range(n_steps):
        optimizer.zero_grad()
        function.loss(points).backward()  # type: ignore[no-untyped-call]
        if noise is not None and points.grad is not None:
            points.grad += torch.from_numpy(noise[step])
        optimizer.step()
        path.append(points.detach().numpy().copy())
        farthest = float(np.abs(path[-1] - np.array(function.centre)).max())
        moved = float(np.abs(path[-1] - path[-2]).max())
        if farthest > _DIVERGED * scale or (stop_when_converged and max(farthest, moved) < TOLERANCE / 100 * scale):
            break
    return np.stack(path)


def steps_to_converge(path: Points, centre: tuple[float, float] = (0.0, 0.0)) -> list[int | None]:
    """Count the steps after which each descent stays within :data:`TOLERANCE`; None if it does not converge."""
    distance = np.linalg.norm(path - np.array(centre), axis=-1)
    outside = distance > TOLERANCE * distance[0]
    last = len(path) - 1
    return [None if column[last] else int(np.flatnonzero(column)[-1]) + 1 for column in outside.T]


def sign_changes(values: Points) -> float:
    """Return the fraction of consecutive values (n,) of opposite sign, leaving out zeros."""
    signs = np.sign(values[values != 0])
    return float(np.mean(signs[1:] != signs[:-1])) if len(signs) > 1 else math.nan


def draw_descent(axes: Axes, function: Quadratic, path: Points, *, view: Points | None = None) -> None:
    """Draw contours, a path (n, 2) and the minimum (a star); points in `view`, or the path's, are visible."""
    visible = np.vstack([path if view is None else view, function.centre])
    low, high = visible.min(axis=0) - _MARGIN, visible.max(axis=0) + _MARGIN
    x, y = np.meshgrid(*np.linspace(low, high, _N_GRID).T)
    plain = function.inverse_transform(np.stack([x, y], axis=-1))
    height = 0.5 * (function.eps[0] * plain[..., 0] ** 2 + plain[..., 1] ** 2)
    levels = np.geomspace(height.max() / 3000, height.max(), _N_LEVELS)
    axes.contour(x, y, height, levels=levels, colors="#B8B8B8", linewidths=0.7)
    axes.plot(*path.T, color=BLUE, linewidth=1, marker="o", markersize=3)
    axes.plot(*function.centre, color=VERMILLION, marker="*", markersize=11, linestyle="none")
    axes.grid(visible=False)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set_aspect("equal")
