import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.simulation.camera.filters import gaussian_kernel
from pellucid.simulation.camera.lines import smooth_along_lines


def rng():
    return np.random.default_rng(0)


def diagonal_edge(side=64):
    rows, columns = np.mgrid[:side, :side]
    return np.where(rows > columns, 0.7, 0.3).astype(np.float32)


def test_an_edge_stays_and_noise_on_it_goes():
    # Along a horizontal, a vertical and a diagonal edge.
    upright = np.full((64, 64), 0.3, np.float32)
    upright[:, 32:] = 0.7
    for clean in (upright, upright.T, diagonal_edge(), diagonal_edge()[::-1]):
        noisy = clean + 0.03 * rng().standard_normal(clean.shape, dtype=np.float32)
        smooth = smooth_along_lines(np.stack([noisy, clean]), 1.2)
        assert smooth[1, 6:-6, 6:-6] == pytest.approx(clean[6:-6, 6:-6], abs=0.01)
        assert np.std(smooth[0] - smooth[1]) < 0.8 * np.std(noisy - clean)
        blurred = cv2.GaussianBlur(clean, (9, 9), 1.2)
        assert np.abs(blurred - clean)[6:-6, 6:-6].max() > 0.1


def test_each_pixel_is_an_average_along_one_of_four_lines_as_the_first_says():
    planes = rng().standard_normal((2, 40, 40), dtype=np.float32)
    smooth = smooth_along_lines(planes, 1.0)
    straight, diagonal = gaussian_kernel(1.0), gaussian_kernel(1 / np.sqrt(2))
    lines = [straight[None], straight[:, None], np.diag(diagonal), np.diag(diagonal)[::-1]]
    along = np.stack(
        [[cv2.filter2D(plane, -1, line, borderType=cv2.BORDER_REFLECT) for plane in planes] for line in lines]
    )
    change = np.stack([cv2.blur((planes[0] - line[0]) ** 2, (3, 3), borderType=cv2.BORDER_REFLECT) for line in along])
    chosen = change.argmin(axis=0)
    assert {0, 1, 2, 3} == set(chosen.ravel())
    expected = np.take_along_axis(along, chosen[None, None], axis=0)[0]
    assert np.mean(np.abs(smooth - expected) < 1e-4) > 0.99


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 20), width=st.integers(1, 20), sigma_px=st.floats(0.25, 3.0))
def test_what_is_flat_stays_at_any_size(height, width, sigma_px):
    flat = np.full((2, height, width), 0.4, np.float32)
    smooth = smooth_along_lines(flat, sigma_px)
    assert smooth.dtype == np.float32
    assert smooth == pytest.approx(flat, abs=1e-6)
