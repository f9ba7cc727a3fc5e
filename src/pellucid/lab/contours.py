"""The long valley from above, with a path in it.

A valley and a path enter, marks on axes leave. It knows nothing of how the path was made.
"""

import numpy as np
from matplotlib.axes import Axes

from pellucid.lab.plotting import BLUE, VERMILLION
from pellucid.lab.valley import Points, Valley

_MARGIN, _N_GRID, _N_LEVELS = 0.1, 160, 9
_CONTOUR = "#B8B8B8"


def draw_valley(axes: Axes, valley: Valley, path: Points, *, view: Points | None = None) -> None:
    """Draw contours, a path and the minimum, as a star; both axes get one scale.

    Parameters
    ----------
    axes : Axes
    valley : Valley
        Of one shape.
    path : ndarray, shape (n, 2)
    view : ndarray, shape (m, 2), optional
        Points that are to lie in the picture; those of the path by default.
    """
    both = np.vstack([path if view is None else view, valley.centre])
    low, high = both.min(axis=0) - _MARGIN, both.max(axis=0) + _MARGIN
    x, y = np.meshgrid(*np.linspace(low, high, _N_GRID).T)
    plain = valley.turned_back(np.stack([x, y], axis=-1))
    height = 0.5 * (valley.eps[0] * plain[..., 0] ** 2 + plain[..., 1] ** 2)
    levels = np.geomspace(height.max() / 3000, height.max(), _N_LEVELS)
    axes.contour(x, y, height, levels=levels, colors=_CONTOUR, linewidths=0.7)
    axes.plot(*path.T, color=BLUE, linewidth=1, marker="o", markersize=3)
    axes.plot(*valley.centre, color=VERMILLION, marker="*", markersize=11, linestyle="none")
    axes.grid(visible=False)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set_aspect("equal")
