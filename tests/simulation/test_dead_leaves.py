import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid.simulation.dead_leaves import draw_dead_leaves

BLACK_AND_WHITE = np.array([[0.0], [1.0]], np.float32)


def over_gray(seed: int, side_px: int = 64) -> NDArray[np.float32]:
    gray = np.full((side_px, side_px, 1), 0.5, np.float32)
    return draw_dead_leaves(gray, BLACK_AND_WHITE, np.random.default_rng(seed))


@settings(deadline=None)
@given(
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    n_channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32),
)
def test_values_stay_between_photograph_and_colors(height: int, width: int, n_channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    photograph = rng.uniform(0.3, 0.6, (height, width, n_channels)).astype(np.float32)
    before, colors = photograph.copy(), rng.uniform(0.2, 0.7, (5, n_channels)).astype(np.float32)
    drawing = draw_dead_leaves(photograph, colors, rng)
    assert drawing.shape == photograph.shape
    assert drawing.dtype == np.float32
    assert drawing.min() >= min(colors.min(), photograph.min()) - 1e-6
    assert drawing.max() <= max(colors.max(), photograph.max()) + 1e-6
    assert np.array_equal(photograph, before)


def test_same_seed_same_shapes() -> None:
    assert np.array_equal(over_gray(7), over_gray(7))
    assert not np.array_equal(over_gray(7), over_gray(8))


def test_number_of_shapes_varies() -> None:
    seen = [float(np.mean(np.abs(over_gray(seed) - 0.5) < 1e-6)) for seed in range(60)]
    assert min(seen) < 0.3
    assert max(seen) > 0.9
    assert all(share < 1 for share in seen)


def test_edges_in_all_directions() -> None:
    angles = []
    for seed in range(60):
        rows, columns = np.gradient(over_gray(seed)[..., 0])
        hard = np.hypot(rows, columns) > 0.1
        angles.append(np.arctan2(rows[hard], columns[hard]) % np.pi)
    counts, _ = np.histogram(np.concatenate(angles), bins=12, range=(0, np.pi))
    assert counts.min() > 0.3 * counts.mean()
