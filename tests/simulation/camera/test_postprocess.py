import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import ParameterError
from pellucid.evaluation.metrics import psnr
from pellucid.simulation.camera.filters import gaussian_kernel
from pellucid.simulation.camera.postprocess import PostProcess, smooth_along_lines
from pellucid.simulation.jpeg import TO_YCBCR
from tests.simulation.camera.conftest import PHOTO, rng


def test_steps_reduce_or_amplify_noise():
    pair = np.stack([PHOTO + 0.05 * rng().standard_normal(PHOTO.shape, dtype=np.float32), PHOTO])
    pair = np.ascontiguousarray(pair.transpose(3, 0, 1, 2))
    assert PostProcess()(pair) == pytest.approx(pair, abs=1e-5)
    denoised = PostProcess(denoising=0.9, luma_px=1.0)(pair)
    residuals = [np.tensordot(TO_YCBCR[0], p[:, 0] - p[:, 1], axes=1) for p in (pair, denoised)]
    assert residuals[1].std() < 0.75 * residuals[0].std()
    assert psnr(denoised[:, 1], pair[:, 1]) > 30
    for softened in (PostProcess(blur_px=0.7)(pair), PostProcess(lines_px=0.9)(pair)):
        lumas = [np.tensordot(TO_YCBCR[0], softened[:, i], axes=1) for i in (0, 1)]
        assert (lumas[0] - lumas[1]).std() < 0.75 * residuals[0].std()
        # Textures lose their noise as well, not flat ground alone.
        busy = np.abs(np.gradient(lumas[1])[0]) > 0.05
        assert (lumas[0] - lumas[1])[busy].std() < 0.8 * residuals[0][busy].std()
    sharp = PostProcess(sharpening=1.0, sharpening_px=1.0)(pair)
    assert (sharp[:, 0] - sharp[:, 1]).std() > 1.2 * (pair[:, 0] - pair[:, 1]).std()
    assert sharp.mean() == pytest.approx(pair.mean(), abs=1e-3)


def test_denoising_keeps_edges():
    import cv2

    clean = np.full((96, 96), 0.3, np.float32)
    clean[:, 48:] = 0.7
    noisy = clean + 0.03 * rng().standard_normal(clean.shape, dtype=np.float32)
    pair = np.repeat(np.stack([noisy, clean])[None], 3, axis=0)
    finished = PostProcess(denoising=1.0, luma_px=1.0)(pair)[0]
    residual = finished[0] - finished[1]
    assert residual[:, 46:50].std() > 1.5 * residual[:, :40].std()
    blurred = [cv2.GaussianBlur(plane, (7, 7), 1.0, borderType=cv2.BORDER_REFLECT) for plane in (noisy, clean)]
    detail = noisy - blurred[0]
    variance = cv2.blur(detail**2, (5, 5), borderType=cv2.BORDER_REFLECT)
    noise_variance = np.square(detail - (clean - blurred[1])).mean()
    share = np.minimum(1, noise_variance / variance)
    for found, plane, smooth in zip(finished, (noisy, clean), blurred, strict=True):
        assert found == pytest.approx(smooth + (1 - share) * (plane - smooth), abs=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PostProcess(denoising=2), "denoising 2: give a number between 0 and 1"),
        (lambda: PostProcess(chroma_px=-1), "chroma_px -1: give a number at least 0"),
        (lambda: PostProcess(saturation=-1), "saturation -1: give a number at least 0"),
        (lambda: PostProcess(lines_px=-1), "lines_px -1: give a number at least 0"),
        (lambda: PostProcess(blur_px=-1), "blur_px -1: give a number at least 0"),
        (lambda: PostProcess(chroma_denoising=2), "chroma_denoising 2: give a number between 0 and 1"),
    ],
)
def test_impossible_parameters(make, message):
    with pytest.raises(ParameterError, match=f"^{message}"):
        make()


def diagonal_edge(side=64):
    rows, columns = np.mgrid[:side, :side]
    return np.where(rows > columns, 0.7, 0.3).astype(np.float32)


def test_line_smoothing_keeps_edges():
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


def test_line_smoothing_uses_best_of_four_directions():
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
def test_line_smoothing_of_flat_image(height, width, sigma_px):
    flat = np.full((2, height, width), 0.4, np.float32)
    smooth = smooth_along_lines(flat, sigma_px)
    assert smooth.dtype == np.float32
    assert smooth == pytest.approx(flat, abs=1e-6)
