import itertools
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid import io
from pellucid.errors import DataError
from pellucid.simulation.specs import GaussianNoise
from pellucid.training.datamodule import BatchStream, DenoisingDataModule, load_images, load_pairs, rescale
from pellucid.training.datasets import Batch, PatchSampler
from pellucid.training.recipe import Recipe, parse_recipe
from tests.training.conftest import TINY


def recipe(scales: list[float], **data: object) -> Recipe:
    table = {**TINY, "data": {**TINY["data"], "scales": scales, **data}}  # type: ignore[dict-item]
    return parse_recipe(table, "tiny")


def test_scales_apply_to_training_only(clean_folder: Path) -> None:
    plain, scaled = (DenoisingDataModule(recipe(scales), clean_folder) for scales in ([1], [1, 0.5]))
    assert isinstance(scaled.sampler, PatchSampler)
    shapes = [image.shape for image in scaled.sampler.images]
    assert shapes == [(80, 200, 3), (40, 100, 3)] * 4
    assert scaled.n_held_out == plain.n_held_out == 2
    assert scaled.summary() == plain.summary()
    for one, other in zip(plain.val_batches, scaled.val_batches, strict=True):
        assert np.array_equal(one["noisy"], other["noisy"])


def test_no_dead_leaves_in_validation(clean_folder: Path) -> None:
    plain, drawn = (DenoisingDataModule(recipe([1], dead_leaves_prob=share), clean_folder) for share in (0.0, 1.0))
    for one, other in zip(plain.val_batches, drawn.val_batches, strict=True):
        assert np.array_equal(one["clean"], other["clean"])


def test_scales_below_patch_size(clean_folder: Path) -> None:
    module = DenoisingDataModule(recipe([1, 0.3]), clean_folder)
    assert isinstance(module.sampler, PatchSampler)
    assert {image.shape for image in module.sampler.images} == {(80, 200, 3)}
    with pytest.raises(DataError, match=r"no image is as large as a patch of 32 pixels at any of data\.scales"):
        DenoisingDataModule(recipe([0.3]), clean_folder)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rescale_keeps_depth_and_brightness(photo: NDArray[np.uint8], dtype: type[np.unsignedinteger]) -> None:
    image = photo[:120, :80].astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    (small,) = rescale(image, [0.5], 1)
    assert small.dtype == dtype
    assert small.shape == (60, 40, 3)
    means = image.reshape(60, 2, 40, 2, 3).mean(axis=(1, 3))
    assert np.abs(small.mean(axis=(0, 1)) - means.mean(axis=(0, 1))).max() < 1e-3 * np.iinfo(dtype).max
    assert np.corrcoef(small.ravel(), means.ravel())[0, 1] > 0.98


@given(height=st.integers(2, 40), width=st.integers(2, 40), scale=st.floats(0.1, 1), value=st.integers(0, 255))
def test_rescale_of_a_flat_image(height: int, width: int, scale: float, value: int) -> None:
    for small in rescale(np.full((height, width, 1), value, np.uint8), [scale], 1):
        assert (small == value).all()


def test_rescale_does_not_alias() -> None:
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    (small,) = rescale(stripes, [0.4], 1)
    inner = small[4:-4, 4:-4].astype(float)
    assert inner.mean() == pytest.approx(127.5, abs=3)
    assert inner.std() < 12


def save(path: Path, page: NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write(io.Image((page,), (None,), io.SUFFIXES[path.suffix]), path, overwrite=True)
    return path


@pytest.fixture
def page(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(photo[:60, :70])


@pytest.fixture
def folders(tmp_path: Path, page: NDArray[np.uint8]) -> tuple[Path, Path]:
    """Two folders of two pairs each: one of 8 bits, one of 16 bits and JPEG in a folder below."""
    clean, noisy = tmp_path / "clean", tmp_path / "noisy"
    save(clean / "a.png", page)
    save(noisy / "a.tif", page // 2)
    save(clean / "below" / "a.png", page.astype(np.uint16) * 257)
    save(noisy / "below" / "a.jpg", page)
    return clean, noisy


def test_images_of_both_depths_are_loaded(clean_folder: Path) -> None:
    images, skipped = load_images(clean_folder, n_channels=3, min_px=32)
    assert [image.dtype for image in images] == [np.uint8] * 5 + [np.uint16]
    assert not skipped


def test_summary_counts_all_images(clean_folder: Path) -> None:
    summary = json.loads(json.dumps(DenoisingDataModule(recipe([1]), clean_folder).summary()))
    counts = {"n_held_out": 2, "n_images": 6, "n_pixels": 6 * 80 * 200, "n_files": 6}
    assert summary == {**counts, "skipped": [], "sigma_max": 55.0}


def test_memory_of_loaded_images(clean_folder: Path) -> None:
    for n_channels in (1, 3):
        for image in load_images(clean_folder, n_channels=n_channels, min_px=32)[0]:
            owner = image if image.base is None else image.base
            assert owner.nbytes == 80 * 200 * n_channels * image.dtype.itemsize


def test_color_to_luma(clean_folder: Path) -> None:
    colour = load_images(clean_folder, n_channels=3, min_px=32)[0][0]
    gray = load_images(clean_folder, n_channels=1, min_px=32)[0][0]
    assert gray.shape == (*colour.shape[:2], 1)
    assert gray.dtype == colour.dtype
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray[..., 0] - luma).max() <= 0.5 + 1e-3


def test_unusable_files_are_skipped(clean_folder: Path, tmp_path: Path, page: NDArray[np.uint8]) -> None:
    for path in clean_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.png").write_bytes((clean_folder / "0.png").read_bytes()[:500])
    (tmp_path / "text.jpg").write_text("no image")
    save(tmp_path / "below" / "small.png", page[:31])
    save(tmp_path / "gray.png", page[..., :1])
    save(tmp_path / "float.tif", page.astype(np.float32) / 255)
    images, skipped = load_images(tmp_path, n_channels=3, min_px=32)
    assert len(images) == 6
    reasons = {Path(line.split(":")[0]).name: line for line in skipped}
    assert set(reasons) == {"broken.png", "text.jpg", "small.png", "gray.png", "float.tif"}
    assert "70x31" in reasons["small.png"]
    assert "smaller than a patch of 32" in reasons["small.png"]
    assert "network of 3 channels" in reasons["gray.png"]
    assert "float" in reasons["float.tif"]


def test_nothing_usable_is_an_error(clean_folder: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="no image found"):
            load_images(folder, n_channels=3, min_px=32)
    with pytest.raises(DataError, match="none of 6 images can be used"):
        load_images(clean_folder, n_channels=3, min_px=100)


def test_pairs_are_matched_by_name(folders: tuple[Path, Path], page: NDArray[np.uint8]) -> None:
    ((clean, noisy), (deep, lossy)), skipped = load_pairs(*folders, n_channels=3, min_px=32)
    assert not skipped
    assert np.array_equal(clean, page)
    assert np.array_equal(noisy, page // 2)
    assert np.array_equal(deep, page.astype(np.uint16) * 257)
    assert lossy.dtype == np.uint8
    assert np.abs(lossy.astype(float) - page).mean() < 5


def test_gray_pairs(folders: tuple[Path, Path]) -> None:
    clean, noisy = load_pairs(*folders, n_channels=1, min_px=32)[0][0]
    assert clean.shape == noisy.shape == (60, 70, 1)
    assert np.abs(noisy - clean / 2).max() <= 1


def test_files_without_partner(folders: tuple[Path, Path], page: NDArray[np.uint8]) -> None:
    clean, noisy = folders
    lonely = save(clean / "lonely.png", page), save(noisy / "below" / "single.png", page)
    save(clean / "broken.png", page)
    (noisy / "broken.png").write_bytes((clean / "broken.png").read_bytes()[:300])
    for folder in folders:
        save(folder / "small.png", page[:20])
    pairs, skipped = load_pairs(clean, noisy, n_channels=3, min_px=32)
    assert len(pairs) == 2
    named = {Path(line.split(":")[0]) for line in skipped}
    assert named == {*lonely, noisy / "broken.png", clean / "small.png"}
    assert len(skipped) == 4


@pytest.mark.parametrize("change", [np.s_[:59], np.s_[..., :1]], ids=["size", "channels"])
def test_mismatched_pair(folders: tuple[Path, Path], page: NDArray[np.uint8], change: object) -> None:
    clean, noisy = folders
    save(noisy / "a.tif", np.ascontiguousarray(page[change]))  # type: ignore[call-overload]
    with pytest.raises(DataError) as caught:
        load_pairs(clean, noisy, n_channels=1, min_px=32)
    message = str(caught.value)
    assert str(clean / "a.png") in message
    assert str(noisy / "a.tif") in message
    assert "\n" not in message


def test_ambiguous_pairs(folders: tuple[Path, Path], page: NDArray[np.uint8]) -> None:
    clean, noisy = folders
    with pytest.raises(DataError, match="one folder for each"):
        load_pairs(clean, clean / "below" / "..", n_channels=3, min_px=32)
    save(noisy / "a.png", page)
    with pytest.raises(DataError, match="keep one of them"):
        load_pairs(clean, noisy, n_channels=3, min_px=32)


def test_no_usable_pair_is_an_error(folders: tuple[Path, Path], tmp_path: Path) -> None:
    clean, noisy = folders
    with pytest.raises(DataError, match=r"no pair can be used; the first: .*smaller than a patch"):
        load_pairs(clean, noisy, n_channels=3, min_px=65)
    with pytest.raises(DataError, match="nowhere: no image found: name a folder of noisy"):
        load_pairs(clean, tmp_path / "nowhere", n_channels=3, min_px=32)


@pytest.fixture
def sampler() -> PatchSampler:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return PatchSampler([image], 16, GaussianNoise(sigma_max=51.0), seed=3)


class Counter:
    """A sampler whose samples are their own numbers."""

    sigma_max = 0.0

    def sample(self, index: int) -> tuple[np.ndarray, np.ndarray, np.float32]:
        raise NotImplementedError

    def batch(self, first: int, size: int) -> Batch:
        return {"number": torch.arange(first, first + size)}


def test_stream_starts_at_first_step(sampler: PatchSampler) -> None:
    from_start = list(itertools.islice(BatchStream(sampler, 2), 5))
    later = list(itertools.islice(BatchStream(sampler, 2, first_step=3), 2))
    for whole, part in zip(from_start[3:], later, strict=True):
        assert all(torch.equal(whole[key], part[key]) for key in whole)


def test_ranks_share_a_batch(sampler: PatchSampler) -> None:
    whole = next(iter(BatchStream(sampler, 4, first_step=2)))
    parts = [next(iter(BatchStream(sampler, 2, first_step=2, rank=rank, n_ranks=2))) for rank in (0, 1)]
    for key in whole:
        assert torch.equal(whole[key], torch.cat([part[key] for part in parts]))


@settings(deadline=None, max_examples=20)
@given(share=st.integers(1, 5), n_ranks=st.integers(1, 4), first_step=st.integers(0, 1000))
def test_samples_do_not_depend_on_ranks(share: int, n_ranks: int, first_step: int) -> None:
    def numbers(rank: int, n_ranks: int, batch_size: int) -> list[torch.Tensor]:
        stream = BatchStream(Counter(), batch_size, first_step=first_step, rank=rank, n_ranks=n_ranks)
        return [batch["number"] for batch in itertools.islice(stream, 3)]

    whole = numbers(0, 1, share * n_ranks)
    parts = [numbers(rank, n_ranks, share) for rank in range(n_ranks)]
    for step in range(3):
        assert torch.equal(whole[step], torch.cat([part[step] for part in parts]))
    assert whole[0][0] == first_step * share * n_ranks


def test_errors_reach_the_reader(sampler: PatchSampler) -> None:
    before = set(threading.enumerate())
    broken = PatchSampler([], 32, GaussianNoise(sigma_max=51.0), seed=0)
    with pytest.raises(ValueError, match=r"high|low"):
        next(iter(BatchStream(broken, 2)))
    iteration = iter(BatchStream(sampler, 2))
    next(iteration)
    iteration.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= before


def test_close_ends_threads(sampler: PatchSampler) -> None:
    before = set(threading.enumerate())
    stream = BatchStream(sampler, 2)
    iteration = iter(stream)
    next(iteration)
    (thread,) = set(threading.enumerate()) - before
    stream.close()
    thread.join(timeout=5)
    assert not thread.is_alive()
