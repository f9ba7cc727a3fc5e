import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid.inference.noise_map import (
    AVERAGED,
    CELL_PX,
    LIMITS,
    REACH_PX,
    SMOOTHED,
    STEP,
    deviation_bound,
    estimate_cells,
    smooth_noise_map,
    smooth_window,
)

#: Larger cells within reach in each direction.
REACH = REACH_PX // CELL_PX // AVERAGED


def whole_map(seen: NDArray[np.float32], n_channels: int) -> NDArray[np.float32]:
    """Settle all of a map."""
    return smooth_window(seen, limit=LIMITS[n_channels], kept=(slice(0, seen.shape[0]), slice(0, seen.shape[1])))


def settled(estimates: NDArray[np.float64], bound: float = 1.0, n_channels: int = 3) -> NDArray[np.float32]:
    """Settle a map of larger cells, of which all are asked for."""
    cells = estimates.repeat(AVERAGED, 0).repeat(AVERAGED, 1).astype(np.float32)
    seen = np.stack([cells, np.full_like(cells, bound)], axis=2)
    level = whole_map(seen, n_channels)
    np.testing.assert_array_equal(level, level[::AVERAGED, ::AVERAGED].repeat(AVERAGED, 0).repeat(AVERAGED, 1))
    return level[::AVERAGED, ::AVERAGED, 0]


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3]), st.integers(0, 99))
def test_deviation_bound(n_rows: int, n_columns: int, n_channels: int, seed: int) -> None:
    noisy = np.random.default_rng(seed).random((4 * n_rows, 4 * n_columns, n_channels), dtype=np.float32)
    bound = deviation_bound(noisy)
    assert bound.shape == (n_rows, n_columns)
    row, column = n_rows // 2, n_columns // 2
    about = tuple(slice(4 * max(place - 2, 0), 4 * (place + 3)) for place in (row, column))
    expected = np.sqrt(noisy[about].astype(float).var(axis=(0, 1)).mean())
    np.testing.assert_allclose(bound[row, column], expected, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 37.0])
def test_in_what_is_flat_there_is_none(value: float) -> None:
    image = np.full((40, 64, 3), value, np.float32)
    assert (deviation_bound(image) == 0).all()
    image[:, :20] = value + 0.5
    bound = deviation_bound(image)
    assert (bound[:, 7:] == 0).all()
    assert (bound[:, 3:7] > 0.1).all()


def test_bound_of_a_crop(photo: NDArray[np.uint8]) -> None:
    image = photo[:96, :96] / np.float32(255)
    whole, part = deviation_bound(image), deviation_bound(image[16:80, 24:])
    np.testing.assert_allclose(part[2:-2, 2:], whole[6:18, 8:], atol=1e-7)


@pytest.mark.parametrize("level", [0.0, 0.004, 0.2])
def test_what_is_alike_everywhere_stays(level: float) -> None:
    np.testing.assert_allclose(settled(np.full((30, 40), level)), level, rtol=1e-6)


def test_chance_differences() -> None:
    chance = 0.1 * (1 + 0.06 * np.random.default_rng(0).standard_normal((60, 60)))
    np.testing.assert_allclose(settled(chance), 0.1, rtol=0.04)


def test_widespread_noise_counts_high() -> None:
    seen = np.random.default_rng(0).choice([0.01, 0.02, 0.03], (60, 60))
    np.testing.assert_allclose(settled(seen), 0.03 - 0.15 * 0.02, rtol=0.2)
    assert np.median(settled(seen)) == pytest.approx(0.03 - 0.15 * 0.02)


def test_sparse_estimates_are_texture() -> None:
    grass = np.zeros((60, 60))
    grass[:, 45:] = 0.06
    assert (settled(grass)[:, : 45 - SMOOTHED] == 0).all()
    scattered = np.where(np.random.default_rng(0).random((60, 60)) < 0.25, 0.06, 0.0)
    assert np.median(settled(scattered)) == 0


@pytest.mark.parametrize(("n_channels", "seldom", "most"), [(3, 0.3, 2.5), (1, 0.3, 2.0), (1, 0.7, 2.0)])
def test_limit_factor(n_channels: int, seldom: float, most: float) -> None:
    seen = np.where(np.random.default_rng(0).random((60, 60)) < seldom, 0.1, 0.01)
    assert np.median(settled(seen, n_channels=n_channels)) == pytest.approx(most * 0.01)


def test_flat_areas_confirm_noise() -> None:
    estimates = np.where(np.random.default_rng(0).random((60, 60)) < 0.3, 0.02, 0.0)
    deviations = np.where(np.random.default_rng(1).random((60, 60)) < 0.3, 0.006, 0.2)
    seen = np.stack([estimates, deviations], axis=2).repeat(AVERAGED, 0).repeat(AVERAGED, 1).astype(np.float32)
    level = whole_map(seen, 3)[..., 0]
    assert np.median(level[seen[..., 1] == np.float32(0.2)]) == pytest.approx(3 * 0.006)
    assert level[seen[..., 1] == np.float32(0.006)].max() == np.float32(0.006)
    seen[..., 1] *= 2
    assert np.median(whole_map(seen, 3)) == 0


def test_the_bound_holds_for_each_cell() -> None:
    np.testing.assert_allclose(settled(np.full((30, 40), 0.05), bound=0.02), 0.02)


def test_each_half_keeps_its_level() -> None:
    halves = np.full((80, 30), 0.02)
    halves[40:] = 0.08
    level = settled(halves)
    np.testing.assert_allclose(level[: 40 - REACH], 0.02, rtol=1e-6)
    np.testing.assert_allclose(level[40 + REACH :], 0.08, rtol=1e-6)
    np.testing.assert_allclose(level[44 + SMOOTHED :], 0.08, rtol=1e-6)
    assert level[: 36 - SMOOTHED].max() <= np.float32(0.05)


def test_sampling_steps_do_not_show() -> None:
    columns = np.random.default_rng(0).choice([0.01, 0.03], STEP)[np.arange(90) % STEP]
    level = settled(np.tile(columns, (60, 1)))[:, REACH:-REACH]
    np.testing.assert_allclose(level, level[0, 0], rtol=1e-6)


@given(row=st.integers(0, 59), column=st.integers(0, 59))
def test_reach(row: int, column: int) -> None:
    level = np.random.default_rng(0).random((60, 60))
    changed = level.copy()
    changed[row, column] = 9
    rows, columns = np.nonzero(settled(level, bound=9) != settled(changed, bound=9))
    assert np.abs(rows - row).max(initial=0) < REACH
    assert np.abs(columns - column).max(initial=0) < REACH


def blurred(noisy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stand in for a network: something that is not alike in a cell."""
    return np.abs(noisy[..., :1] - 0.5)


@given(height=st.integers(1, 150), width=st.integers(1, 90), band=st.integers(1, 4))
def test_strips_equal_whole_map(height: int, width: int, band: int) -> None:
    side = AVERAGED * CELL_PX
    image = np.random.default_rng(height).random((height, width, 3), np.float32)
    padded = np.pad(image, ((0, -height % side), (0, -width % side), (0, 0)), mode="symmetric")
    cells = estimate_cells(padded, blurred)
    whole = whole_map(cells, 1)
    whole = whole.repeat(CELL_PX, 0).repeat(CELL_PX, 1)[:height, :width]
    seen = cells[: -(-height // CELL_PX), : -(-width // CELL_PX)]
    strips = (seen[top : top + band * AVERAGED] for top in range(0, len(seen), band * AVERAGED))
    maps = list(smooth_noise_map(strips, (height, width, 1), n_channels=1, tile_px=side))
    np.testing.assert_array_equal(np.concatenate(maps), whole)


def test_large_maps_by_strips() -> None:
    size = 3 * REACH_PX
    cells = estimate_cells(np.random.default_rng(0).random((size, size, 3), np.float32), blurred)
    whole = whole_map(cells, 1)
    strips = (cells[top : top + 10] for top in range(0, len(cells), 10))
    maps = list(smooth_noise_map(strips, (size, size, 1), n_channels=1, tile_px=8))
    assert len(maps) > 10
    np.testing.assert_array_equal(np.concatenate(maps)[::CELL_PX, ::CELL_PX], whole)
