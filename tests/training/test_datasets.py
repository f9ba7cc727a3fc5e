import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid.errors import RecipeError
from pellucid.simulation.jpeg import Jpeg
from pellucid.simulation.sigma import local_sigma
from pellucid.simulation.specs import (
    GaussianNoise,
    JpegNoise,
    Mixture,
    SaltAndPepperNoise,
    SpeckleNoise,
    UniformNoise,
)
from pellucid.training.datamodule import load_images
from pellucid.training.datasets import HEADROOM, PairSampler, PatchSampler, Sampler, pair_sampler, patch_sampler
from pellucid.training.recipe import Recipe, parse_recipe
from tests.training.conftest import TINY

#: Of the samples below as they were when the shipped models were trained: a run resumed today has to see the same.
CHECKSUMS = {
    0.0: "6dbbd56fe20fefc0a0045ba6da879c1b8b63328e8869406372b623bf48781303",
    0.1: "78e8d0724675c11e85e886364b16b587e658381c344840fb037fd21b01f1efc3",
}


@pytest.fixture
def sampler(clean_folder: Path) -> PatchSampler:
    return PatchSampler(
        load_images(clean_folder, n_channels=3, min_px=32)[0], 32, GaussianNoise(sigma_max=51.0), seed=3
    )


@pytest.fixture
def pairs(photo: NDArray[np.uint8]) -> list[tuple[np.ndarray, np.ndarray]]:
    """A photograph and its negative, in two depths."""
    return [(photo, 255 - photo), (photo[:100], (255 - photo[:100]).astype(np.uint16) * 257)]


def recipe(**data: object) -> Recipe:
    return parse_recipe({**TINY, "data": {**TINY["data"], **data}}, "tiny")  # type: ignore[dict-item]


def ramps() -> list[np.ndarray]:
    rows, columns, channels = np.ogrid[:48, :61, :3]
    ramp = 977 * rows + 1511 * columns + 20011 * channels
    return [(ramp % 256).astype(np.uint8), (ramp % 65536).astype(np.uint16)]


@pytest.mark.parametrize("keep_noise_prob", sorted(CHECKSUMS))
def test_gaussian_samples_are_reproducible(keep_noise_prob: float) -> None:
    choice = recipe(keep_noise_prob=keep_noise_prob).model_copy(update={"seed": 5})
    patches, digest = patch_sampler(ramps(), choice), hashlib.sha256()
    for index in range(40):
        for part in patches.sample(index)[:3]:
            digest.update(np.ascontiguousarray(part).tobytes())
    batch = patches.batch(3, 4)
    for name in ("noisy", "clean", "cond_sigma"):
        digest.update(batch[name].numpy().tobytes())
    assert digest.hexdigest() == CHECKSUMS[keep_noise_prob]


def test_camera_noise_has_a_sigma_map(sampler: PatchSampler) -> None:
    table = {"kind": "photograph", "iso_min": 6400.0, "gaussian_share": 0.0, "clean_share": 0.0}

    def photographs(keep_noise_prob: float) -> PatchSampler:
        return patch_sampler(sampler.images, recipe(noise=[table], keep_noise_prob=keep_noise_prob))

    plain, keeping = photographs(0.0), photographs(1.0)
    shares = []
    for index in range(30):
        noisy, target, sigma, _ = plain.sample(index)
        assert np.array_equal(sigma, np.minimum(local_sigma(noisy, target), np.float32(60 / 255)))
        same, softer, less, present = keeping.sample(index)
        assert np.array_equal(same, noisy)
        share = float(np.vdot(softer - target, noisy - target) / np.vdot(noisy - target, noisy - target))
        np.testing.assert_allclose(softer, target + share * (noisy - target), atol=1e-6)
        np.testing.assert_allclose(less, (1 - share) * sigma, atol=1e-6)
        assert np.array_equal(present, sigma)
        shares.append(share)
    assert 0 <= min(shares) < 0.1
    assert 0.4 < max(shares) <= 0.5
    assert plain.batch(0, 2)["cond_sigma"].shape == (2, 1, *plain.batch(0, 2)["noisy"].shape[2:])


@pytest.mark.parametrize("kind", ["patches", "pairs"])
def test_samples_are_pure_functions(
    sampler: PatchSampler, pairs: list[tuple[np.ndarray, np.ndarray]], kind: str
) -> None:
    chosen, other = (
        (sampler, PatchSampler(sampler.images, 32, sampler.noise, seed=4))
        if kind == "patches"
        else (PairSampler(pairs, 32, seed=3), PairSampler(pairs, 32, seed=4))
    )
    first = chosen.sample(7)
    chosen.sample(8)
    again = chosen.sample(7)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], chosen.sample(8)[1])
    assert not np.array_equal(first[0], other.sample(7)[0])


def test_noise_has_the_stated_deviation(sampler: PatchSampler) -> None:
    for index in range(20):
        noisy, clean, sigma, _ = sampler.sample(index)
        assert noisy.dtype == clean.dtype == np.float32
        assert clean.min() >= 0
        assert clean.max() <= 1
        assert np.std(noisy - clean) == pytest.approx(sigma, rel=0.1)
        assert 0 <= sigma <= sampler.sigma_max == 0.2


@pytest.mark.parametrize("keep_noise_prob", [0.0, 0.5])
def test_sigma_of_other_noise_is_its_rms(sampler: PatchSampler, keep_noise_prob: float) -> None:
    kinds = Mixture(
        (
            UniformNoise(width_max=127.5),
            SaltAndPepperNoise(amount_max=0.2),
            SpeckleNoise(sigma_max=0.4),
            JpegNoise(quality_min=10, quality_max=50),
        )
    )
    other = PatchSampler(sampler.images, 32, kinds, seed=0, keep_noise_prob=keep_noise_prob)
    for index in range(30):
        noisy, clean, sigma, _ = other.sample(index)
        assert sigma.dtype == noisy.dtype == clean.dtype == np.float32
        assert sigma == pytest.approx(np.sqrt(np.mean((noisy - clean) ** 2)), rel=1e-4)
        assert 0 < sigma < 1.1 * other.sigma_max


def test_the_level_is_at_most_one(sampler: PatchSampler) -> None:
    assert PatchSampler(sampler.images, 32, SpeckleNoise(sigma_max=3.0), seed=0).sigma_max == 1.0


def test_kept_noise_is_in_both_images(sampler: PatchSampler) -> None:
    plain = PatchSampler(sampler.images, 32, GaussianNoise(sigma_min=25.5, sigma_max=25.5), seed=3)
    keeping = PatchSampler(
        sampler.images, 32, GaussianNoise(sigma_min=25.5, sigma_max=25.5), seed=3, keep_noise_prob=0.5
    )
    kept = []
    for index in range(60):
        noisy, clean, sigma, present = keeping.sample(index)
        assert np.std(noisy - clean) == pytest.approx(sigma, rel=0.1)
        kept.append(float(np.std(clean - plain.sample(index)[1])))
        assert present == pytest.approx(np.hypot(sigma, kept[-1]), rel=0.1)
    assert 0.3 < np.mean(np.array(kept) > 0) < 0.7
    assert 0.035 < max(kept) < 0.055


def test_kinds_of_kept_noise() -> None:
    flat = [np.full((40, 40, 1), 128, np.uint8)]
    jpegs = [{"kind": "jpeg", "quality_min": 20, "quality_max": 20}]
    compressed = patch_sampler(flat, recipe(noise=jpegs, keep_noise_prob=1.0))
    assert isinstance(compressed.noise.draw(np.random.default_rng(0)), Jpeg)
    assert np.unique(compressed.sample(0)[1]).size == 1
    speckled = patch_sampler(flat, recipe(noise=[{"kind": "speckle"}], keep_noise_prob=1.0))
    assert np.std(speckled.sample(0)[1]) > 0.001


def test_dead_leaves_prob() -> None:
    images, silent = ramps(), [{"kind": "gaussian", "sigma_max": 1e-3}]
    plain, drawn, mixed = (
        patch_sampler(images, recipe(noise=silent, dead_leaves_prob=share)) for share in (0.0, 1.0, 0.4)
    )
    differs = [not np.array_equal(plain.sample(index)[1], mixed.sample(index)[1]) for index in range(200)]
    assert 0.3 < np.mean(differs) < 0.5
    for index in range(50):
        noisy, clean, sigma, present = drawn.sample(index)
        assert not np.array_equal(clean, plain.sample(index)[1])
        assert noisy == pytest.approx(clean, abs=1e-4)
        assert sigma == present


def test_dead_leaves_have_image_colors() -> None:
    two_colours = np.zeros((64, 64, 3), np.uint8)
    two_colours[:, 32:] = (40, 80, 160)
    drawn = patch_sampler([two_colours], recipe(dead_leaves_prob=1.0, noise=[{"kind": "gaussian", "sigma_max": 1e-3}]))
    for index in range(20):
        clean = drawn.sample(index)[1]
        assert clean[..., 1] == pytest.approx(2 * clean[..., 0], abs=1e-6)
        assert clean[..., 2] == pytest.approx(4 * clean[..., 0], abs=1e-6)


def test_sigma_inflation_of_camera_noise() -> None:
    cameras = [{"kind": "photograph", "gaussian_share": 0.0, "clean_share": 0.2}]
    images = ramps()
    truth, all_of_them, some = (
        patch_sampler(images, recipe(noise=cameras, sigma_inflation_prob=share)) for share in (0.0, 1.0, 0.4)
    )
    differs = []
    for index in range(60):
        for mine, theirs in zip(truth.sample(index)[:2], all_of_them.sample(index)[:2], strict=True):
            assert np.array_equal(mine, theirs)
        _, _, told, present = all_of_them.sample(index)
        true = truth.sample(index)[2]
        assert np.array_equal(present, truth.sample(index)[3])
        assert np.mean(np.square(told)) >= np.mean(np.square(true)) * (1 - 1e-5)
        differs.append(not np.array_equal(some.sample(index)[2], true))
    assert 0.15 < np.mean(differs) < 0.6


def test_no_sigma_inflation_of_white_or_kept_noise() -> None:
    white = [{"kind": "gaussian", "sigma_min": 1.0, "sigma_max": 40.0}]
    cameras = [{"kind": "photograph", "gaussian_share": 0.0, "clean_share": 0.0}]
    for keep_noise_prob, noise in ((0.0, white), (1.0, white), (1.0, cameras)):
        plain, overstated = (
            patch_sampler(ramps(), recipe(noise=noise, keep_noise_prob=keep_noise_prob, sigma_inflation_prob=share))
            for share in (0.0, 1.0)
        )
        for index in range(20):
            assert np.array_equal(plain.sample(index)[2], overstated.sample(index)[2])


@pytest.mark.parametrize("kind", ["patches", "pairs"])
def test_patches_are_augmented(kind: str) -> None:
    ramp = np.zeros((40, 60, 1), np.uint8)
    ramp[..., 0] = np.arange(60)
    turned: Sampler = (
        PatchSampler([ramp], 32, GaussianNoise(sigma_max=1e-9), seed=0)
        if kind == "patches"
        else PairSampler([(ramp, ramp)], 32, seed=0)
    )
    steps, corners = set(), set()
    for index in range(200):
        patch = turned.sample(index)[1][..., 0] * 255
        steps.add((round(float(patch[0, 1] - patch[0, 0])), round(float(patch[1, 0] - patch[0, 0]))))
        corners.add(round(float(patch.min())))
    assert steps == {(1, 0), (-1, 0), (0, 1), (0, -1)}
    assert corners == set(range(29))


def test_pairs_are_cropped_alike(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    both = PairSampler(pairs, 32, seed=0)
    for index in range(30):
        noisy, clean, sigma, _ = both.sample(index)
        assert noisy == pytest.approx(1 - clean, abs=1e-6)
        assert sigma == pytest.approx(np.sqrt(np.mean((noisy - clean) ** 2)), rel=1e-5)
        assert noisy.dtype == clean.dtype == sigma.dtype == np.float32


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    n_channels=st.sampled_from([1, 3]),
    dtypes=st.tuples(*[st.sampled_from([np.uint8, np.uint16])] * 2),
    index=st.integers(0, 2**40),
    data=st.data(),
)
def test_patches_are_crops(
    height: int, width: int, n_channels: int, dtypes: tuple[type, type], index: int, data: st.DataObject
) -> None:
    side = data.draw(st.integers(1, min(height, width)))
    rng = np.random.default_rng(height)
    image, other = (rng.integers(0, np.iinfo(dtype).max + 1, (height, width, n_channels), dtype) for dtype in dtypes)
    windows = np.lib.stride_tricks.sliding_window_view(image / np.iinfo(dtypes[0]).max, (side, side), axis=(0, 1))
    windows = np.moveaxis(windows, 2, -1).reshape(-1, side, side, n_channels)
    for sampler in (
        PatchSampler([image], side, GaussianNoise(sigma_max=1e-9), 1),
        PairSampler([(image, other)], side, 1),
    ):
        clean = sampler.sample(index)[1]
        assert clean.shape == (side, side, n_channels)
        turned = [np.rot90(flipped, k) for flipped in (clean, clean[:, ::-1]) for k in range(4)]
        assert min(np.abs(windows - patch).max(axis=(1, 2, 3)).min() for patch in turned) < 1e-6


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 700), levels=st.tuples(st.integers(0, 255), st.integers(0, 255)), deep=st.booleans())
def test_sigma_max_of_pairs(height: int, levels: tuple[int, int], deep: bool) -> None:
    shape = (height, 3, 1)
    scale, dtype = (257, np.uint16) if deep else (1, np.uint8)
    clean = np.zeros(shape, np.uint8)
    noisy = [np.full(shape, level * scale, dtype) for level in levels]
    pairs = PairSampler([(clean, image) for image in noisy], 1, seed=0)
    assert pairs.sigma_max == pytest.approx(min(1, HEADROOM * max(levels) / 255), rel=1e-6)


def test_keys_that_pairs_refuse(
    pairs: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    assert pair_sampler(pairs, recipe()) == PairSampler(pairs, 32, 0)
    with pytest.raises(RecipeError, match=r"data\.keep_noise_prob 0\.1: .*set it to 0"):
        pair_sampler(pairs, recipe(keep_noise_prob=0.1))
    with pytest.raises(RecipeError, match=r"data\.dead_leaves_prob 0\.1: .*set it to 0"):
        pair_sampler(pairs, recipe(dead_leaves_prob=0.1))
    with pytest.raises(RecipeError, match=r"data\.sigma_inflation_prob 0\.1: .*set it to 0"):
        pair_sampler(pairs, recipe(sigma_inflation_prob=0.1))


def test_pairs_refuse_scales(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    with pytest.raises(RecipeError, match=r"data\.scales \[1.0, 0.5\]: .*set it to \[1\]"):
        pair_sampler(pairs, recipe(scales=[1, 0.5]))


@pytest.mark.parametrize("kind", ["patches", "pairs"])
def test_batches_are_channels_last(
    sampler: PatchSampler, pairs: list[tuple[np.ndarray, np.ndarray]], kind: str
) -> None:
    chosen: Sampler = sampler if kind == "patches" else PairSampler(pairs, 32, seed=0)
    batch = chosen.batch(5, 3)
    assert batch["noisy"].shape == batch["clean"].shape == (3, 3, 32, 32)
    assert batch["cond_sigma"].shape == batch["true_sigma"].shape == (3, 1, 32, 32)
    assert {values.dtype for values in batch.values()} == {torch.float32}
    assert batch["noisy"].is_contiguous(memory_format=torch.channels_last)
    noisy, clean, sigma, _ = chosen.sample(6)
    assert np.array_equal(batch["noisy"][1].permute(1, 2, 0), noisy)
    assert np.array_equal(batch["clean"][1].permute(1, 2, 0), clean)
    assert (batch["cond_sigma"][1] == float(sigma)).all()
