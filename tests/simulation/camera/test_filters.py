import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.simulation.camera.filters import box_kernel, convolve, gaussian_kernel, mix, resize


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def test_convolution_agrees_with_opencv():

    planes, kernel = noise(2, 20, 31), gaussian_kernel(1.3)
    for plane, ours in zip(planes, convolve(planes, kernel), strict=True):
        theirs = cv2.sepFilter2D(plane, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT)
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("sigma_px", [0.3, 1.0, 3.7])
def test_gaussian_kernel_sum_and_width(sigma_px):
    kernel = gaussian_kernel(sigma_px).astype(np.float64)
    places = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    if sigma_px >= 1:
        assert np.sqrt(kernel @ places**2) == pytest.approx(sigma_px, rel=0.06)


@settings(deadline=None, max_examples=50)
@given(sides=st.tuples(*(st.integers(1, 40),) * 4))
def test_resize_of_flat_image(sides):
    height, width, new_height, new_width = sides
    resized = resize(np.full((2, height, width), 0.7, np.float32), new_height, new_width)
    assert resized.shape == (2, new_height, new_width)
    assert resized.dtype == np.float32
    assert resized == pytest.approx(0.7, abs=1e-5)


def test_resize_of_slope():
    slope = np.broadcast_to(np.arange(40, dtype=np.float32), (1, 40, 40))
    for n_out in (20, 27, 64):
        expected = (np.arange(n_out) + 0.5) * 40 / n_out - 0.5
        inner = slice(n_out // 6, -n_out // 6)
        assert resize(slope, n_out, n_out)[0, 3, inner] == pytest.approx(expected[inner], abs=0.03)


def test_resize_to_same_size():
    planes = noise(1, 9, 12)
    assert resize(planes, 9, 12) == pytest.approx(planes, abs=1e-6)


def test_reducing_does_not_alias():
    stripes = np.broadcast_to((np.arange(64) % 2).astype(np.float32), (1, 64, 64))
    assert resize(stripes, 40, 40)[..., 4:-4].std() < 0.15 * stripes.std()


def test_mix_is_matrix_product():
    matrix, planes = noise(2, 3), noise(3, 2, 4, 5)
    assert mix(matrix, planes) == pytest.approx(np.tensordot(matrix, planes, axes=1), abs=1e-5)


def test_box_kernel():
    assert np.array_equal(box_kernel(5), np.full(5, 0.2, np.float32))
