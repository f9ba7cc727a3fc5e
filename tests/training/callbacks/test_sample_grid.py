import numpy as np
import pytest

from pellucid.training.callbacks.sample_grid import GAP_PX, Row, choose, draw_grid
from pellucid.training.lettering import draw_text


def row(sigma: float, side: int = 72, n_channels: int = 3) -> Row:
    rng = np.random.default_rng(0)
    clean = rng.random((side, side, n_channels), np.float32)
    noise = np.float32(sigma / 255) * rng.standard_normal(clean.shape, np.float32)
    return Row(clean + noise, clean + noise / 2, clean)


def tile(grid: np.ndarray, column: int, side: int, zoom: int) -> np.ndarray:
    """The last row's image in a column, one pixel of the drawing for each of the image's."""
    left = GAP_PX + column * (side * zoom + GAP_PX)
    return grid[-GAP_PX - side * zoom : -GAP_PX : zoom, left : left + side * zoom : zoom]


@pytest.mark.parametrize(("side", "zoom"), [(72, 3), (32, 6)])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_the_columns_are_noisy_denoised_clean_and_residual(side: int, zoom: int, n_channels: int) -> None:
    one = row(25, side, n_channels)
    grid = draw_grid([row(15, side, n_channels), one], "step 1")
    assert grid.dtype == np.uint8
    residual = 0.5 + 2 * (one.noisy - one.denoised)
    for column, image in enumerate((one.noisy, one.denoised, one.clean, residual)):
        expected = np.broadcast_to(np.rint(255 * image.clip(0, 1)), (side, side, 3))
        assert np.array_equal(tile(grid, column, side, zoom), expected)


def test_a_network_that_takes_nothing_out_leaves_gray() -> None:
    one = row(50)
    still = Row(one.noisy, one.noisy, one.clean)
    assert set(np.unique(tile(draw_grid([still], ""), 3, 72, 3))) == {128}


def test_weak_noise_is_drawn_stronger() -> None:
    assert [row(sigma).gain for sigma in (0.0, 5, 15, 25, 50, 100)] == [10, 10, 3, 2, 1, 1]
    assert row(25).sigma == pytest.approx(25, rel=0.02)


def test_labels_tell_how_far_the_run_is() -> None:
    first, second = (draw_grid([row(25)], f"step {step} of 20") for step in (10, 11))
    assert not np.array_equal(first[:24], second[:24])
    assert np.array_equal(first[24:], second[24:])


def test_the_crops_are_spread_over_levels_and_images() -> None:
    assert choose(1) == [0]
    assert choose(2) == [0, 1]
    assert choose(3 * 16) == [0, 23, 47]
    assert len({index // 16 for index in choose(48)}) == len({index % 16 for index in choose(48)}) == 3


def test_letters_are_drawn_and_differ() -> None:
    text = "0123456789.:-+/(),xabcdefghijklmnopqrstuvwyzPSNRB"
    drawn = {draw_text(letter, 1).tobytes() for letter in text}
    assert len(drawn) == len(text)
    assert draw_text("ab", 3).shape == (24, 36)
    assert not draw_text(" €", 2).any()
    # A 1 is a stem with a foot.
    rows = ["".join(".#"[int(dot)] for dot in line) for line in draw_text("1", 1)]
    assert rows == ["..#...", ".##...", "..#...", "..#...", "..#...", "..#...", ".###..", "......"]
