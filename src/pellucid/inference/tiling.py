"""Apply a local function to an image tile by tile, with exactly the result of applying it to the whole image.

All windows have one shape and lie inside the image, on the function's stride grid, overlapping by twice its halo.
A window that reaches the image's edge ends exactly there, so that the function pads it as it would the whole image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from pellucid.errors import ParameterError
from pellucid.inference.row_buffer import Array, Rows

#: Called after each tile with the number of tiles done and their total.
Progress = Callable[[int, int], None]
#: In images wider than this many tiles, strips need more memory than windows do: windows of 2/3 of the height and 3/2
#: of the width need as much memory and 3% more time, with lower strips.
WIDE_TILES = 8


class Grid(TypedDict):
    """A function's receptive radius, and the stride of the grid on which its windows lie."""

    halo_px: int
    stride_px: int


@dataclass(frozen=True)
class Span:
    """One window along one axis, in pixels from the image's edge, and its core: the part whose result is kept.

    `stop` may be beyond the image's end by less than the stride.
    """

    start: int
    stop: int
    core_start: int
    core_stop: int

    @property
    def kept(self) -> slice:
        """The core relative to the window's start."""
        return slice(self.core_start - self.start, self.core_stop - self.start)


def plan_axis(length_px: int, *, tile_px: int, halo_px: int, stride_px: int) -> list[Span]:
    """Cover an axis with equal windows of at most `tile_px`, whose disjoint cores cover it in order.

    `halo_px`, the function's receptive radius, and `tile_px` are multiples of `stride_px`, as are the windows' ends.
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
    """Raise ParameterError for a tile off the stride grid or without a core between its halos."""
    least = 2 * halo_px + stride_px
    if tile_px < least or tile_px % stride_px:
        raise ParameterError(f"tile must be a multiple of {stride_px} of at least {least} pixels (got {tile_px})")


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
    """Yield ``function(*inputs)`` in strips (h, w, C) from the top to the bottom, computed window by window.

    Parameters
    ----------
    function : callable
        Takes one array ``(h, w, C_i)`` per input, h and w multiples of `stride_px`, and as ``kept`` the slices of rows
        and columns of its result that are used; returns ``(h / cell_px, w / cell_px, C)``.
    inputs : tuple of Rows, each (H, W, C_i)
        Read in order, a strip as high as a window at a time. Sizes that are not multiples of the stride are padded by
        symmetric mirroring at the lower and right edge.
    tile_px, halo_px, stride_px : int
        See :func:`plan_axis`. Memory depends on `tile_px` and W only.
    cell_px : int
        The function returns one value for each square of this side, which divides `stride_px`.
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
    """Cut a window from a strip, mirrored beyond the lower and right edge."""
    window = strip[:, column.start : column.stop]
    below, beside = row.stop - row.start - window.shape[0], column.stop - column.start - window.shape[1]
    if not below and not beside:
        return window
    return np.pad(window, ((0, below), (0, beside), (0, 0)), mode="symmetric")


def _in_cells(pixels: slice, cell_px: int) -> slice:
    """Convert a slice of pixels to one of cells."""
    return slice(pixels.start // cell_px, -(-pixels.stop // cell_px))


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
