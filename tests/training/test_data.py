import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from pellucid.errors import DataError
from pellucid.evaluation.noise import GaussianRange
from pellucid.training.data import BatchStream, PatchSampler, load_images


@pytest.fixture
def sampler(clean_folder: Path) -> PatchSampler:
    return PatchSampler(load_images(clean_folder, n_channels=3, min_px=32).images, 32, GaussianRange(0.0, 0.2), seed=3)


def test_images_of_both_depths_are_loaded(clean_folder: Path) -> None:
    loaded = load_images(clean_folder, n_channels=3, min_px=32)
    assert [image.dtype for image in loaded.images] == [np.uint8] * 5 + [np.uint16]
    assert not loaded.skipped


def test_colour_becomes_luma_for_a_gray_network(clean_folder: Path) -> None:
    colour = load_images(clean_folder, n_channels=3, min_px=32).images[0]
    gray = load_images(clean_folder, n_channels=1, min_px=32).images[0]
    assert gray.shape == (*colour.shape[:2], 1)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray[..., 0] - luma).max() <= 0.5 + 1e-3


def test_bad_files_are_named_and_left_out(clean_folder: Path, tmp_path: Path) -> None:
    for path in clean_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.png").write_bytes((clean_folder / "0.png").read_bytes()[:500])
    (tmp_path / "text.jpg").write_text("no image")
    loaded = load_images(tmp_path, n_channels=3, min_px=32)
    assert len(loaded.images) == 6
    assert {Path(line.split(":")[0]).name for line in loaded.skipped} == {"broken.png", "text.jpg"}


def test_nothing_usable_is_an_error(clean_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image found"):
        load_images(tmp_path, n_channels=3, min_px=32)
    with pytest.raises(DataError, match="none of 6 images can be used"):
        load_images(clean_folder, n_channels=3, min_px=100)


def test_a_sample_is_a_function_of_its_number(sampler: PatchSampler) -> None:
    first = sampler.sample(7)
    sampler.sample(8)
    again = sampler.sample(7)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], sampler.sample(8)[1])
    other = PatchSampler(sampler.images, 32, GaussianRange(0.0, 0.2), seed=4)
    assert not np.array_equal(first[0], other.sample(7)[0])


def test_noise_has_the_stated_deviation(sampler: PatchSampler) -> None:
    for index in range(20):
        noisy, clean, sigma = sampler.sample(index)
        assert noisy.dtype == clean.dtype == np.float32
        assert clean.min() >= 0
        assert clean.max() <= 1
        assert np.std(noisy - clean) == pytest.approx(sigma, rel=0.1)
        assert 0 <= sigma <= 0.2


def test_noise_that_is_to_be_kept_is_in_both_images(sampler: PatchSampler) -> None:
    plain = PatchSampler(sampler.images, 32, GaussianRange(0.1, 0.1), seed=3)
    keeping = PatchSampler(sampler.images, 32, GaussianRange(0.1, 0.1), seed=3, kept_share=0.5)
    kept = []
    for index in range(60):
        noisy, clean, sigma = keeping.sample(index)
        assert np.std(noisy - clean) == pytest.approx(sigma, rel=0.1)
        kept.append(float(np.std(clean - plain.sample(index)[1])))
    assert 0.3 < np.mean(np.array(kept) > 0) < 0.7
    assert 0.035 < max(kept) < 0.055


def test_patches_are_turned_and_come_from_everywhere(sampler: PatchSampler) -> None:
    ramp = np.zeros((40, 60, 1), np.uint8)
    ramp[..., 0] = np.arange(60)
    turned = PatchSampler([ramp], 32, GaussianRange(0.0, 0.0), seed=0)
    steps = set()
    for index in range(60):
        patch = turned.sample(index)[1][..., 0] * 255
        steps.add((round(float(patch[0, 1] - patch[0, 0])), round(float(patch[1, 0] - patch[0, 0]))))
    assert steps == {(1, 0), (-1, 0), (0, 1), (0, -1)}


def test_a_stream_starts_where_it_is_told(sampler: PatchSampler) -> None:
    from_start = list(itertools.islice(BatchStream(sampler, 2), 5))
    later = list(itertools.islice(BatchStream(sampler, 2, first_step=3), 2))
    for whole, part in zip(from_start[3:], later, strict=True):
        assert all(torch.equal(whole[key], part[key]) for key in whole)


def test_ranks_share_the_batch_of_one_process(sampler: PatchSampler) -> None:
    whole = next(iter(BatchStream(sampler, 4, first_step=2)))
    parts = [next(iter(BatchStream(sampler, 2, first_step=2, rank=rank, n_ranks=2))) for rank in (0, 1)]
    for key in whole:
        assert torch.equal(whole[key], torch.cat([part[key] for part in parts]))


def test_batches_are_channels_last(sampler: PatchSampler) -> None:
    batch = sampler.batch(0, 3)
    assert batch["noisy"].shape == (3, 3, 32, 32)
    assert batch["sigma"].shape == (3, 1, 32, 32)
    assert batch["noisy"].is_contiguous(memory_format=torch.channels_last)


def test_an_error_in_the_making_reaches_the_reader_and_no_thread_stays(sampler: PatchSampler) -> None:
    broken = PatchSampler([], 32, GaussianRange(0.0, 0.2), seed=0)
    with pytest.raises(ValueError, match=r"high|low"):
        next(iter(BatchStream(broken, 2)))
    stream = iter(BatchStream(sampler, 2))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "batches"]
