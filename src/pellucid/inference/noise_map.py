"""How strong the noise is at each place: what a network sees there, settled by what it sees around.

Images and what a network makes of them enter, maps of the noise's standard deviation leave, row by row if need be. It
knows nothing of how the network sees.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.inference.row_buffer import Array, RowBuffer
from pellucid.inference.tiling import apply_tiled

#: Side of the cells whose pixels are compared with those around; a map is alike within each.
CELL_PX = 4
#: Cells in each direction that :func:`deviation_bound` looks at.
CELLS_AROUND = 2
#: A deviation of less than this is none; on the [0, 1] scale.
ROUNDING = 1e-5
#: Side of the larger cells in which estimates are averaged before they are compared with others around, in cells.
AVERAGED = 2
#: Every so-many-th of the larger cells around is compared, and so many of these in each direction.
STEP, N_STEPS = 6, 4
#: What is settled is averaged over so many larger cells to each side: over one step, so that the steps do not show.
SMOOTHED = STEP // 2
#: How far away what counts may lie.
REACH_PX = CELL_PX * AVERAGED * (STEP * N_STEPS + SMOOTHED + 1)
#: Of the estimates around, those that so large a share is below.
MIDDLE, UPPER = 0.45, 0.9
#: By how much the upper one is above the middle one where estimates differ by chance alone, as they do for white noise.
BY_CHANCE = 0.15
#: By the channels that a network takes: what is settled is at most so many times the estimate that is the last of so
#: large a share of those around, in ascending order. In gray, texture is harder to tell from noise.
LIMITS = {1: (0.2, 2.0), 3: (0.45, 2.5)}
#: There is flat ground about a place if in so large a share of what is around pixels differ by less than this, on the
#: [0, 1] scale. Noise that JPEG has flattened there may be so many times as strong elsewhere.
FLAT_SHARE, FLAT, FLATTENED = 0.1, 2 / 255, 3.0

Level = NDArray[np.float32]


def estimate_cells(noisy: Level, estimate: Callable[[Level], Level]) -> Level:
    """Say what a network sees of the noise in each cell, and how strong it can be at most.

    Parameters
    ----------
    noisy : ndarray, shape (H, W, C), float32
        H and W multiples of ``AVERAGED * CELL_PX``.
    estimate : callable
        Gives the standard deviation of the noise in `noisy` about each pixel, (H, W, 1).

    Returns
    -------
    ndarray, shape (H / CELL_PX, W / CELL_PX, 2), float32
        The estimate, averaged over `AVERAGED` cells in each direction; and :func:`deviation_bound`.
    """
    side = AVERAGED * CELL_PX
    height, width, _ = noisy.shape
    means = estimate(noisy).reshape(height // side, side, width // side, side).mean(axis=(1, 3))
    return np.stack([_spread(means, AVERAGED), deviation_bound(noisy)], axis=2)


def deviation_bound(noisy: Level) -> Level:
    r"""Say how strong the noise in each cell can be at most: no stronger than pixels differ there.

    .. math:: \sigma^2 \le \frac{1}{C} \sum_c \mathrm{var}(y_c) \text{ over the pixels about the cell}

    since the variances of an image and of noise that is independent of it add up. In what is flat there is no noise,
    whatever a network thinks that never saw such a picture.

    Parameters
    ----------
    noisy : ndarray, shape (H, W, C), float32
        H and W multiples of `CELL_PX`.

    Returns
    -------
    ndarray, shape (H / CELL_PX, W / CELL_PX), float32
        The pixels about a cell are those of `CELLS_AROUND` cells in each direction and its own. Exactly 0 where it is
        less than rounding can tell.
    """
    height, width, n_channels = noisy.shape
    cells = noisy.reshape(height // CELL_PX, CELL_PX, width // CELL_PX, CELL_PX, n_channels)
    # All is taken relative to some pixel, so that squares do not drown what they differ by.
    corners = cells[:, 0, :, 0].astype(np.float64)
    steps = cells - cells[:, :1, :, :1]
    means = np.einsum("iajbc->ijc", steps, dtype=np.float32) / CELL_PX**2 + (corners - corners[0, 0])
    squares = np.einsum("iajbc,iajbc->ijc", steps, steps) / CELL_PX**2
    within = squares - np.square(means - (corners - corners[0, 0]))
    variance = (_mean_around(within + np.square(means)) - np.square(_mean_around(means))).mean(axis=2)
    return np.sqrt(np.where(variance > ROUNDING**2, variance, 0)).astype(np.float32)


def smooth_noise_map(
    seen: Iterator[Level], shape: tuple[int, int, int], *, n_channels: int, tile_px: int
) -> Iterator[Level]:
    """Settle what a network sees of the noise about each pixel by what it sees around.

    Parameters
    ----------
    seen : iterator of ndarray, each (h, w, 2n), float32
        Strips of what :func:`estimate_cells` gives for each of n groups of channels, from the top to the bottom.
    shape : (int, int, int)
        H and W of the image, and n.
    n_channels : int
        Channels that the network takes, 1 or 3.
    tile_px : int
        So many rows are looked at together, or as many as `REACH_PX` asks for.

    Yields
    ------
    ndarray, shape (h, W, n), float32
        Strips of the maps, as :func:`settle` gives them.
    """
    height, width, n_maps = shape
    in_cells = (-(-height // CELL_PX), -(-width // CELL_PX), 2 * n_maps)
    cells = RowBuffer(seen, in_cells, np.dtype(np.float32))
    halo = REACH_PX // CELL_PX
    tile = max(tile_px // CELL_PX // AVERAGED * AVERAGED, 2 * halo + AVERAGED)
    n_left = height
    settling = partial(settle, limit=LIMITS[n_channels])
    for strip in apply_tiled(settling, (cells,), tile_px=tile, halo_px=halo, stride_px=AVERAGED):
        level = _spread(strip, CELL_PX)[:n_left, :width]
        n_left -= len(level)
        yield level


def settle(seen: Level, *, limit: tuple[float, float], kept: tuple[slice, slice]) -> Level:
    r"""Settle the estimates of a window, one value for each cell, by those up to `REACH_PX` away.

    .. math:: \min(m + \max(u - (1 + \beta) m, 0), \max(\kappa l, \lambda f))

    with m the middle one of the estimates around, u the upper one (`MIDDLE`, `UPPER`), :math:`\beta` = `BY_CHANCE`,
    :math:`\kappa` and l of `limit`, :math:`\lambda` = `FLATTENED`, and f how little pixels differ on flat ground, 0
    where there is none (`FLAT`, `FLAT_SHARE`); averaged over `STEP` larger cells in each direction; then no more than
    what :func:`deviation_bound` allows.

    Real noise changes slowly, and a network that looks at few pixels errs by as much as textures differ. White noise is
    seen alike everywhere: it is the middle one. Of a camera's noise, which is smeared and cut by JPEG, much is not
    seen: it is the upper one. But what is seen in some places and hardly in others is texture, unless there is flat
    ground that bears it out. On photographs of real cameras and on clean ones, measured in ``docs/training-log.md``.

    Parameters
    ----------
    seen : ndarray, shape (h, w, 2n), float32
        h and w multiples of `AVERAGED`. Beyond the edges it is mirrored.
    limit : (float, float)
        The share that l is the last of, and :math:`\kappa`: one of `LIMITS`.
    kept : (slice, slice)
        The rows and columns that are asked for; h or w may end within a larger cell.

    Returns
    -------
    ndarray, shape (h, w, n), float32
        0 where it is not asked for.
    """
    settled = np.zeros((*seen.shape[:2], seen.shape[2] // 2), np.float32)
    larger = tuple(slice(axis.start // AVERAGED, -(-axis.stop // AVERAGED)) for axis in kept)
    asked = tuple(slice(axis.start * AVERAGED, axis.stop * AVERAGED) for axis in larger)
    for index in range(settled.shape[2]):
        estimates, bound = seen[..., 2 * index], seen[..., 2 * index + 1]
        agreed = _agreed(estimates[::AVERAGED, ::AVERAGED], bound[::AVERAGED, ::AVERAGED], limit, larger)
        settled[asked][..., index] = np.minimum(_spread(agreed, AVERAGED), bound[asked])
    return settled


def _agreed(estimates: Level, bound: Level, limit: tuple[float, float], asked: tuple[slice, ...]) -> Level:
    """Weigh what is around each larger cell that is asked for, as :func:`settle` says."""
    share, n_times = limit
    middle, upper, seen = _around(estimates, asked, (MIDDLE, UPPER, share))
    (flat,) = _around(bound, asked, (FLAT_SHARE,))
    most = np.maximum(n_times * seen, np.where(flat < FLAT, FLATTENED * flat, 0))
    return _smoothed(np.minimum(middle + np.maximum(upper - (1 + BY_CHANCE) * middle, 0), most))


def _smoothed(values: Level) -> Level:
    """Average over `STEP` larger cells in each direction, of which the outermost are cut in half."""
    weights = np.full(2 * SMOOTHED + 1, 1 / STEP, np.float32)
    weights[[0, -1]] /= 2
    for _ in range(2):
        n_given = len(values) - 2 * SMOOTHED
        parts = [weight * values[place : place + n_given] for place, weight in enumerate(weights)]
        values = np.sum(parts, axis=0).T
    return values


def _around(values: Level, asked: tuple[slice, ...], shares: tuple[float, ...]) -> list[Level]:
    """Put the values around each larger cell in order, and give the last of each share of them.

    For the larger cells that are asked for, and `SMOOTHED` more on each side.
    """
    reach = STEP * N_STEPS
    mirrored = np.pad(values, reach + SMOOTHED, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(mirrored, (2 * reach + 1, 2 * reach + 1))
    larger = tuple(slice(axis.start, axis.stop + 2 * SMOOTHED) for axis in asked)
    compared = windows[larger][..., ::STEP, ::STEP]
    compared = compared.reshape(*compared.shape[:2], -1)
    ranks = [round(share * (compared.shape[-1] - 1)) for share in shares]
    ordered = np.partition(compared, ranks, axis=-1)
    return [ordered[..., rank] for rank in ranks]


def _spread(values: Array, n_times: int) -> Array:
    """Repeat each value along rows and columns."""
    return values.repeat(n_times, axis=0).repeat(n_times, axis=1)


def _mean_around(values: NDArray[Any]) -> NDArray[np.float64]:
    """Give the mean over each cell and those around it, as many as there are at the edges: ``(h, w, C)``."""
    for axis in (0, 1):
        n_cells = values.shape[axis]
        sums = np.insert(np.cumsum(values, axis=axis, dtype=np.float64), 0, 0, axis=axis)
        places = np.arange(n_cells)
        stop, start = np.minimum(places + CELLS_AROUND + 1, n_cells), np.maximum(places - CELLS_AROUND, 0)
        shape = [1, 1, 1]
        shape[axis] = n_cells
        values = (sums.take(stop, axis) - sums.take(start, axis)) / (stop - start).reshape(shape)
    return values
