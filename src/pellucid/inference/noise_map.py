"""Build the noise map: a network's estimates per cell, bounded by local variance and smoothed over neighbourhoods."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.inference.row_buffer import Array, RowBuffer
from pellucid.inference.tiling import apply_tiled

#: Side of the cells on which the map is constant.
CELL_PX = 4
#: Radius of the neighbourhood of :func:`deviation_bound`, in cells.
CELLS_AROUND = 2
#: Smaller deviations are rounding errors; on the [0, 1] scale.
ROUNDING = 1e-5
#: Side of the blocks in which estimates are averaged, in cells.
AVERAGED = 2
#: Step and radius, in steps, at which blocks of a neighbourhood are sampled.
STEP, N_STEPS = 6, 4
#: Radius of the box filter over blocks: one step, so that the sampling does not show.
SMOOTHED = STEP // 2
#: Radius of the whole neighbourhood.
REACH_PX = CELL_PX * AVERAGED * (STEP * N_STEPS + SMOOTHED + 1)
#: Quantiles of the estimates in a neighbourhood.
MIDDLE, UPPER = 0.45, 0.9
#: Relative difference of these quantiles for white noise, where estimates differ by chance alone.
BY_CHANCE = 0.15
#: Quantile and factor of the upper limit, by the network's channels; gray texture is harder to tell from noise.
LIMITS = {1: (0.2, 2.0), 3: (0.45, 2.5)}
#: A neighbourhood has flat areas if this quantile of its deviations is below FLAT on the [0, 1] scale. Noise that JPEG
#: has flattened there may be FLATTENED times as strong elsewhere.
FLAT_SHARE, FLAT, FLATTENED = 0.1, 2 / 255, 3.0

Level = NDArray[np.float32]


def estimate_cells(noisy: Level, estimate: Callable[[Level], Level]) -> Level:
    """Estimate the noise in each cell, averaged over blocks, and its upper bound :func:`deviation_bound`.

    `noisy` is (H, W, C), both sizes multiples of ``AVERAGED * CELL_PX``, `estimate` the network that maps it to
    (H, W, 1). Returns (H / CELL_PX, W / CELL_PX, 2).
    """
    side = AVERAGED * CELL_PX
    height, width, _ = noisy.shape
    means = estimate(noisy).reshape(height // side, side, width // side, side).mean(axis=(1, 3))
    return np.stack([_spread(means, AVERAGED), deviation_bound(noisy)], axis=2)


def deviation_bound(noisy: Level) -> Level:
    r"""Upper bound of the noise in each cell, (H / CELL_PX, W / CELL_PX): the standard deviation of its neighbourhood.

    .. math:: \sigma^2 \le \frac{1}{C} \sum_c \mathrm{var}(y_c) \text{ over the cells within `CELLS_AROUND`}

    since the variances of an image and of independent noise add up. Flat areas therefore have no noise, even in images
    unlike the network's training data. Exactly 0 below `ROUNDING`.
    """
    height, width, n_channels = noisy.shape
    cells = noisy.reshape(height // CELL_PX, CELL_PX, width // CELL_PX, CELL_PX, n_channels)
    # Relative to a pixel of the cell, so that squares do not lose the differences to rounding.
    corners = cells[:, 0, :, 0].astype(np.float64)
    steps = cells - cells[:, :1, :, :1]
    means = np.einsum("iajbc->ijc", steps, dtype=np.float32) / CELL_PX**2 + (corners - corners[0, 0])
    squares = np.einsum("iajbc,iajbc->ijc", steps, steps) / CELL_PX**2
    within = squares - np.square(means - (corners - corners[0, 0]))
    variance = (_mean_around(within + np.square(means)) - np.square(_mean_around(means))).mean(axis=2)
    return np.sqrt(np.where(variance > ROUNDING**2, variance, 0)).astype(np.float32)


def smooth_noise_map(
    cells: Iterator[Level], shape: tuple[int, int, int], *, n_channels: int, tile_px: int
) -> Iterator[Level]:
    """Smooth noise maps with neighbourhood quantiles, see :func:`smooth_window`; yield strips (h, W, n) of pixels.

    `cells` are strips (h, w, 2n) of :func:`estimate_cells` for n groups of channels, `shape` is H and W of the image
    and n, `n_channels` the network's. At least `tile_px` rows are processed at a time.
    """
    height, width, n_maps = shape
    in_cells = (-(-height // CELL_PX), -(-width // CELL_PX), 2 * n_maps)
    rows = RowBuffer(cells, in_cells, np.dtype(np.float32))
    halo = REACH_PX // CELL_PX
    tile = max(tile_px // CELL_PX // AVERAGED * AVERAGED, 2 * halo + AVERAGED)
    n_left = height
    smooth = partial(smooth_window, limit=LIMITS[n_channels])
    for strip in apply_tiled(smooth, (rows,), tile_px=tile, halo_px=halo, stride_px=AVERAGED):
        level = _spread(strip, CELL_PX)[:n_left, :width]
        n_left -= len(level)
        yield level


def smooth_window(cells: Level, *, limit: tuple[float, float], kept: tuple[slice, slice]) -> Level:
    r"""Smooth the noise map of a window with quantiles of the neighbourhood within `REACH_PX`.

    .. math:: \min(m + \max(u - (1 + \beta) m, 0), \max(\kappa l, \lambda f))

    with m and u the `MIDDLE` and `UPPER` quantiles of the estimates, :math:`\beta` = `BY_CHANCE`, l the quantile of
    `limit` and :math:`\kappa` its factor, :math:`\lambda` = `FLATTENED`, f the deviation of flat areas, 0 without any
    (`FLAT`, `FLAT_SHARE`); then averaged over `STEP` blocks in each direction and cut at :func:`deviation_bound`.

    Real noise changes slowly, and a network with a small receptive field errs by as much as textures differ. White
    noise is estimated alike everywhere: m. A camera's noise, correlated and quantised by JPEG, is underestimated in
    many places: u. High estimates in few places are texture, unless flat areas confirm them. Measured in
    ``dev/LOG.md``.

    Parameters
    ----------
    cells : ndarray, shape (h, w, 2n), float32
        See :func:`estimate_cells`; h and w multiples of `AVERAGED`. Mirrored beyond the edges.
    limit : (float, float)
        One of `LIMITS`.
    kept : (slice, slice)
        Rows and columns that are computed; the rest of the result (h, w, n) is 0.
    """
    smoothed = np.zeros((*cells.shape[:2], cells.shape[2] // 2), np.float32)
    larger = tuple(slice(axis.start // AVERAGED, -(-axis.stop // AVERAGED)) for axis in kept)
    asked = tuple(slice(axis.start * AVERAGED, axis.stop * AVERAGED) for axis in larger)
    for index in range(smoothed.shape[2]):
        estimates, bound = cells[..., 2 * index], cells[..., 2 * index + 1]
        level = _combined(estimates[::AVERAGED, ::AVERAGED], bound[::AVERAGED, ::AVERAGED], limit, larger)
        smoothed[asked][..., index] = np.minimum(_spread(level, AVERAGED), bound[asked])
    return smoothed


def _combined(estimates: Level, bound: Level, limit: tuple[float, float], asked: tuple[slice, ...]) -> Level:
    """Combine the quantiles around each block, see :func:`smooth_window`."""
    share, n_times = limit
    middle, upper, low = _quantiles(estimates, asked, (MIDDLE, UPPER, share))
    (flat,) = _quantiles(bound, asked, (FLAT_SHARE,))
    most = np.maximum(n_times * low, np.where(flat < FLAT, FLATTENED * flat, 0))
    return _box_filter(np.minimum(middle + np.maximum(upper - (1 + BY_CHANCE) * middle, 0), most))


def _box_filter(values: Level) -> Level:
    """Average over `STEP` blocks in each direction, the outermost weighted by half."""
    weights = np.full(2 * SMOOTHED + 1, 1 / STEP, np.float32)
    weights[[0, -1]] /= 2
    for _ in range(2):
        n_given = len(values) - 2 * SMOOTHED
        parts = [weight * values[place : place + n_given] for place, weight in enumerate(weights)]
        values = np.sum(parts, axis=0).T
    return values


def _quantiles(values: Level, asked: tuple[slice, ...], shares: tuple[float, ...]) -> list[Level]:
    """Quantiles of the neighbourhood of each block that is asked for, and of `SMOOTHED` more on each side."""
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
    """Mean over the cells within `CELLS_AROUND`, fewer at the edges: (h, w, C)."""
    for axis in (0, 1):
        n_cells = values.shape[axis]
        sums = np.insert(np.cumsum(values, axis=axis, dtype=np.float64), 0, 0, axis=axis)
        places = np.arange(n_cells)
        stop, start = np.minimum(places + CELLS_AROUND + 1, n_cells), np.maximum(places - CELLS_AROUND, 0)
        shape = [1, 1, 1]
        shape[axis] = n_cells
        values = (sums.take(stop, axis) - sums.take(start, axis)) / (stop - start).reshape(shape)
    return values
