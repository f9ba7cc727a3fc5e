"""The lecture's long valley, and descents into it.

A shape, a start and an optimizer enter; the path leaves. It knows nothing of what is learned from paths. Everything is
in float64, so that a path can be told from its closed form by rounding alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Points = NDArray[np.float64]
#: Makes an optimizer of the point that is to move.
Build = Callable[[list[Tensor]], torch.optim.Optimizer]
#: A descent has arrived when it is at most this far from the minimum, in units of its start's distance, and stays.
ARRIVED = 1e-3
_FAR = 1e6


@dataclass(frozen=True)
class Valley:
    r"""The function :math:`f(x, y) = (\epsilon x^2 + y^2) / 2` of the lecture, turned and shifted.

    Attributes
    ----------
    eps : tuple of float
        One or several :math:`\epsilon`: as many valleys, each with a descent of its own.
    angle : float
        By which the valley is turned about the origin, in radians.
    centre : (float, float)
        Where its minimum lies after it was turned.
    """

    eps: tuple[float, ...]
    angle: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)

    def turned(self, points: Points) -> Points:
        """Carry points of the plain valley, shape (..., 2), to where they lie in this one."""
        turned: Points = points @ self._rotation.T + np.array(self.centre)
        return turned

    def turned_back(self, points: Points) -> Points:
        """Undo :meth:`turned`."""
        plain: Points = (points - np.array(self.centre)) @ self._rotation
        return plain

    def loss(self, points: Tensor) -> Tensor:
        """Give the sum of the function's values at points, shape (n, 2), each in its own valley."""
        plain = (points - torch.tensor(self.centre, dtype=torch.float64)) @ torch.from_numpy(self._rotation)
        return 0.5 * (torch.tensor(self.eps, dtype=torch.float64) * plain[:, 0].square() + plain[:, 1].square()).sum()

    @property
    def _rotation(self) -> Points:
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cosine, -sine], [sine, cosine]])


def descend(
    valley: Valley,
    start: Points,
    build: Build,
    n_steps: int,
    *,
    until_arrived: bool = False,
    noise: Points | None = None,
) -> Points:
    """Let an optimizer of torch go down, one point in each valley.

    Parameters
    ----------
    valley : Valley
    start : ndarray, shape (2,), float64
        In the plain valley's coordinates.
    build : callable
    n_steps : int
        At most; fewer if a point is lost in the distance.
    until_arrived : bool
        End as well when all points are far nearer than :data:`ARRIVED`.
    noise : ndarray, shape (n_steps, 2), float64, optional
        Added to the gradient of each step.

    Returns
    -------
    ndarray, shape (steps taken + 1, n, 2), float64
    """
    points = torch.from_numpy(np.tile(valley.turned(start), (len(valley.eps), 1))).requires_grad_()
    optimizer, reach = build([points]), float(np.linalg.norm(start))
    path = [points.detach().numpy().copy()]
    for step in range(n_steps):
        optimizer.zero_grad()
        valley.loss(points).backward()  # type: ignore[no-untyped-call]
        if noise is not None and points.grad is not None:
            points.grad += torch.from_numpy(noise[step])
        optimizer.step()
        path.append(points.detach().numpy().copy())
        furthest = float(np.abs(path[-1] - np.array(valley.centre)).max())
        moved = float(np.abs(path[-1] - path[-2]).max())
        if furthest > _FAR * reach or (until_arrived and max(furthest, moved) < ARRIVED / 100 * reach):
            break
    return np.stack(path)


def steps_to_arrive(path: Points, centre: tuple[float, float] = (0.0, 0.0)) -> list[int | None]:
    """Count the steps of each descent until it is within :data:`ARRIVED` and stays there; None if it is not at the end.

    Parameters
    ----------
    path : ndarray, shape (steps + 1, n, 2)
    centre : (float, float)
    """
    distance = np.linalg.norm(path - np.array(centre), axis=-1)
    outside = distance > ARRIVED * distance[0]
    last = len(path) - 1
    return [None if column[last] else int(np.flatnonzero(column)[-1]) + 1 for column in outside.T]


def sign_changes(values: Points) -> float:
    """Give the share of consecutive values, shape (n,), whose sign is not the same; zeros are left out."""
    signs = np.sign(values[values != 0])
    return float(np.mean(signs[1:] != signs[:-1])) if len(signs) > 1 else math.nan
