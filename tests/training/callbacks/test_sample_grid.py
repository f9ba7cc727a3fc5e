import numpy as np
import pytest

from pellucid.training.callbacks.sample_grid import GAP_PX, GridRow, choose_rows, draw_grid


def row(sigma: float, side: int = 72, n_channels: int = 3) -> GridRow:
    rng = np.random.default_rng(0)
    clean = rng.random((side, side, n_channels), np.float32)
    noise = np.float32(sigma / 255) * rng.standard_normal(clean.shape, np.float32)
    return GridRow(clean + noise, clean + noise / 2, clean)


def pixels(*rows: GridRow, title: str = "") -> np.ndarray:
    return np.asarray(draw_grid(rows, title))


def tile(grid: np.ndarray, column: int, side: int, zoom: int) -> np.ndarray:
    """The last row's image in a column, one pixel of the drawing for each of the image's."""
    left = GAP_PX + column * (side * zoom + GAP_PX)
    return grid[-GAP_PX - side * zoom : -GAP_PX : zoom, left : left + side * zoom : zoom]


@pytest.mark.parametrize(("side", "zoom"), [(72, 3), (32, 6)])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_grid_columns(side: int, zoom: int, n_channels: int) -> None:
    one = row(25, side, n_channels)
    grid = pixels(row(15, side, n_channels), one)
    residual = 0.5 + 2 * (one.noisy - one.denoised)
    for column, image in enumerate((one.noisy, one.denoised, one.clean, residual)):
        expected = np.broadcast_to(np.rint(255 * image.clip(0, 1)), (side, side, 3))
        assert np.array_equal(tile(grid, column, side, zoom), expected)


def test_zero_residual_is_gray() -> None:
    one = row(50)
    still = GridRow(one.noisy, one.noisy, one.clean)
    assert set(np.unique(tile(pixels(still), 3, 72, 3))) == {128}


def test_gain_of_weak_noise() -> None:
    assert [row(sigma).gain for sigma in (0.0, 5, 15, 25, 50, 100)] == [10, 10, 3, 2, 1, 1]
    assert row(25).sigma == pytest.approx(25, rel=0.02)


def test_title_changes_with_step() -> None:
    first, second = (pixels(row(25), title=f"step {step} of 20") for step in (10, 11))
    assert not np.array_equal(first[:24], second[:24])
    assert np.array_equal(first[24:], second[24:])


def test_choose_rows() -> None:
    assert choose_rows(1) == [0]
    assert choose_rows(2) == [0, 1]
    assert choose_rows(3 * 16) == [0, 23, 47]
    assert len({index // 16 for index in choose_rows(48)}) == len({index % 16 for index in choose_rows(48)}) == 3
