from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid.errors import ParameterError
from pellucid.inference.tiling import apply_tiled, plan_axis

STRIDE, HALO = 4, 8


def local(image: NDArray[Any], **_: object) -> NDArray[Any]:
    """A function that reaches HALO pixels and works on the stride grid, with zeros beyond the edge as a network has."""
    height, width, channels = image.shape
    cells = image.reshape(height // STRIDE, STRIDE, width // STRIDE, STRIDE, channels).mean(axis=(1, 3))
    padded = np.pad(cells, ((1, 1), (1, 1), (0, 0)))
    near = sum(
        padded[i : i + cells.shape[0], j : j + cells.shape[1]] * (1 + i + 3 * j) for i in range(3) for j in range(3)
    )
    return image + near.repeat(STRIDE, axis=0).repeat(STRIDE, axis=1)


@given(
    length=st.integers(1, 400),
    tile=st.integers(2 * HALO // STRIDE + 1, 40).map(lambda n: n * STRIDE),
)
def test_cores_cover_an_axis(length: int, tile: int) -> None:
    spans = plan_axis(length, tile_px=tile, halo_px=HALO, stride_px=STRIDE)
    padded = -(-length // STRIDE) * STRIDE
    assert spans[0].core_start == 0
    assert spans[-1].core_stop == length
    assert all(a.core_stop == b.core_start for a, b in pairwise(spans))
    assert len({span.stop - span.start for span in spans}) == 1
    for span in spans:
        assert 0 <= span.start < span.stop <= padded
        assert span.stop - span.start <= max(tile, STRIDE)
        assert span.start % STRIDE == span.stop % STRIDE == 0
        assert span.core_start < span.core_stop
        assert span.start == 0 or span.core_start - span.start >= HALO
        assert span.stop == padded or span.stop - span.core_stop >= HALO


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    tile=st.integers(2 * HALO // STRIDE + 1, 12).map(lambda n: n * STRIDE),
    seed=st.integers(0, 9),
)
@settings(max_examples=200, deadline=None)
def test_tiled_equals_whole(height: int, width: int, tile: int, seed: int) -> None:
    image = np.random.default_rng(seed).random((height, width, 2))
    padded = np.pad(image, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="symmetric")
    strips = apply_tiled(local, (image,), tile_px=tile, halo_px=HALO, stride_px=STRIDE)
    out = np.concatenate(list(strips))
    np.testing.assert_allclose(out, local(padded)[:height, :width], rtol=0, atol=1e-12)


@given(height=st.integers(1, 90), width=st.integers(1, 90), cell=st.sampled_from([2, 4]))
@settings(deadline=None)
def test_cells(height: int, width: int, cell: int) -> None:
    def thinned(window: NDArray[Any], **_: object) -> NDArray[Any]:
        return local(window)[::cell, ::cell]

    image = np.random.default_rng(height).random((height, width, 2))
    whole = np.concatenate(list(apply_tiled(local, (image,), tile_px=24, halo_px=HALO, stride_px=STRIDE)))
    strips = apply_tiled(thinned, (image,), tile_px=24, halo_px=HALO, stride_px=STRIDE, cell_px=cell)
    np.testing.assert_array_equal(np.concatenate(list(strips)), whole[::cell, ::cell])


def test_wide_images() -> None:
    image = np.random.default_rng(0).random((100, 500, 2))
    seen = set()

    def watched(window: NDArray[Any], **_: object) -> NDArray[Any]:
        seen.add(window.shape[:2])
        return local(window)

    out = np.concatenate(list(apply_tiled(watched, (image,), tile_px=48, halo_px=HALO, stride_px=STRIDE)))
    np.testing.assert_allclose(out, local(image), rtol=0, atol=1e-12)
    ((height, width),) = seen
    assert height <= 32
    assert 48 < width <= 72


def test_a_halo_too_small_would_be_seen() -> None:
    """The test above can fail: with half the halo that the function needs, tiles show."""
    image = np.random.default_rng(0).random((80, 80, 1))
    out = np.concatenate(list(apply_tiled(local, (image,), tile_px=24, halo_px=0, stride_px=STRIDE)))
    assert np.abs(out - local(image)).max() > 0.1


def test_several_inputs_and_progress() -> None:
    image = np.arange(60 * 50, dtype=float).reshape(60, 50, 1)
    told: list[tuple[int, int]] = []

    def difference(a: NDArray[Any], b: NDArray[Any], **_: object) -> NDArray[Any]:
        return a - b

    strips = apply_tiled(
        difference,
        (image, image),
        tile_px=24,
        halo_px=HALO,
        stride_px=STRIDE,
        progress=lambda n, total: told.append((n, total)),
    )
    assert not np.concatenate(list(strips)).any()
    n_tiles = told[0][1]
    assert told == [(i + 1, n_tiles) for i in range(n_tiles)]
    assert n_tiles > 4


@pytest.mark.parametrize("tile", [0, 2 * HALO, 2 * HALO + STRIDE + 1, -8])
def test_impossible_tiles_are_refused(tile: int) -> None:
    image = np.zeros((100, 100, 1))
    with pytest.raises(ParameterError, match="must be a multiple of 4 of at least 20"):
        next(apply_tiled(local, (image,), tile_px=tile, halo_px=HALO, stride_px=STRIDE))
