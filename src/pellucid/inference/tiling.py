"""Apply a local function to an image of any size, piece by piece, so that no seam can be seen.

An image, a function of windows and the function's reach enter; the result, equal to the function applied to the whole
image, is written into an array. It knows nothing of noise or networks: pure numpy, any callable.

All windows have one shape and lie inside the image, on the function's stride grid, overlapping by twice its halo.
A window that reaches the image's edge therefore ends exactly there, and the function treats that edge as it would
the whole image's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pellucid.errors import ParameterError
from pellucid.inference.row_buffer import Array, Rows

#: Told after each tile how many tiles are done, and how many there are.
Progress = Callable[[int, int], None]
#: Of an image wider than so many tiles, the strips that are held weigh more than the windows. Windows of two thirds
#: of the height and one and a half times the width need as much memory, 3% more time, and lower strips.
WIDE_TILES = 8


@dataclass(frozen=True)
class Span:
    """One window along one axis, in pixels from the image's edge.

    Attributes
    ----------
    start, stop : int
        What the function sees. `stop` may pass the image's end by less than the stride.
    core_start, core_stop : int
        The part of the image for which this window's result is kept.
    """

    start: int
    stop: int
    core_start: int
    core_stop: int

    @property
    def kept(self) -> slice:
        """The core, counted from the window's start."""
        return slice(self.core_start - self.start, self.core_stop - self.start)


def plan_axis(length_px: int, *, tile_px: int, halo_px: int, stride_px: int) -> list[Span]:
    """Cover one axis of an image with equal windows.

    Parameters
    ----------
    length_px : int
        Pixels of the image along the axis.
    tile_px : int
        Longest window, a multiple of `stride_px` and more than twice `halo_px`.
    halo_px : int
        The function's reach, a multiple of `stride_px`.
    stride_px : int
        Windows start and stop on multiples of this.

    Returns
    -------
    list of Span
        In order; the cores are disjoint and cover the axis. Windows are only as long as their number needs.
    """
    padded = _round_up(length_px, stride_px)
    if padded <= tile_px:
        return [Span(0, padded, 0, length_px)]
    n_windows = -(-(padded - 2 * halo_px) // (tile_px - 2 * halo_px))
    window = _round_up(-(-(padded - 2 * halo_px) // n_windows), stride_px) + 2 * halo_px
    spans = []
    done = 0
    for index in range(n_windows):
        start = min(index * (window - 2 * halo_px), padded - window)
        stop = start + window
        core_stop = length_px if index == n_windows - 1 else stop - halo_px
        spans.append(Span(start, stop, done, core_stop))
        done = core_stop
    return spans


def check_tile(tile_px: int, *, halo_px: int, stride_px: int) -> None:
    """Refuse a tile that is off the stride grid or has no core left between its halos.

    Raises
    ------
    ParameterError
    """
    least = 2 * halo_px + stride_px
    if tile_px < least or tile_px % stride_px:
        raise ParameterError(f"tile {tile_px}: give a multiple of {stride_px} of at least {least} pixels")


def apply_tiled(
    function: Callable[..., Array],
    inputs: tuple[Rows, ...],
    *,
    tile_px: int,
    halo_px: int,
    stride_px: int,
    cell_px: int = 1,
    progress: Progress | None = None,
) -> Iterator[Array]:
    """Yield ``function(*inputs)`` from the top to the bottom, computed window by window.

    Parameters
    ----------
    function : callable
        Takes one array ``(h, w, C_i)`` for each input, h and w multiples of `stride_px`, and as ``kept`` the slices of
        rows and columns that its result is used of; returns an array ``(h / cell_px, w / cell_px, C)``, always of one
        dtype and one C.
    inputs : tuple of Rows, each (H, W, C_i)
        Rows are taken in order, a strip as high as a window at a time. Where a size is no multiple of the stride, the
        image is mirrored about its lower and right edge, edge pixel included, up to the next multiple.
    tile_px, halo_px, stride_px : int
        See :func:`plan_axis`; windows of very wide images are lower and wider. Memory depends on `tile_px` and W alone.
    cell_px : int
        The function gives one value for each square of so many pixels; divides `stride_px`.
    progress : callable, optional
        Called as ``progress(n_done, n_tiles)``.

    Yields
    ------
    ndarray, shape (h, w, C)
        Strips that together are (H / cell_px, W / cell_px, C), rounded up.

    Raises
    ------
    ParameterError
        `tile_px` leaves no core.
    """
    check_tile(tile_px, halo_px=halo_px, stride_px=stride_px)
    height, width = inputs[0].shape[:2]
    tile_height, tile_width = tile_px, tile_px
    if width > WIDE_TILES * tile_px:
        tile_height = max(tile_px * 2 // 3 // stride_px * stride_px, 2 * halo_px + stride_px)
        tile_width = tile_px * 3 // 2 // stride_px * stride_px
    rows = plan_axis(height, tile_px=tile_height, halo_px=halo_px, stride_px=stride_px)
    columns = plan_axis(width, tile_px=tile_width, halo_px=halo_px, stride_px=stride_px)
    n_tiles = len(rows) * len(columns)
    for n_rows_done, row in enumerate(rows):
        strips = [rows_of[row.start : row.stop] for rows_of in inputs]
        out: Array | None = None
        for n_done, column in enumerate(columns, start=n_rows_done * len(columns) + 1):
            kept = (row.kept, column.kept)
            result = function(*(_cut(strip, row, column) for strip in strips), kept=kept)
            taken = result[_in_cells(row.kept, cell_px), _in_cells(column.kept, cell_px)]
            if out is None:
                out = np.empty((len(taken), -(-width // cell_px), result.shape[2]), result.dtype)
            out[:, _in_cells(slice(column.core_start, column.core_stop), cell_px)] = taken
            if progress is not None:
                progress(n_done, n_tiles)
        if out is not None:
            yield out


def _cut(strip: Array, row: Span, column: Span) -> Array:
    """Take a window out of a strip; mirror what lies past the lower or right edge."""
    window = strip[:, column.start : column.stop]
    below, beside = row.stop - row.start - window.shape[0], column.stop - column.start - window.shape[1]
    if not below and not beside:
        return window
    return np.pad(window, ((0, below), (0, beside), (0, 0)), mode="symmetric")


def _in_cells(pixels: slice, cell_px: int) -> slice:
    """Turn a slice of pixels that starts with a cell into one of cells."""
    return slice(pixels.start // cell_px, -(-pixels.stop // cell_px))


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
