import itertools
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.simulation.specs import GaussianNoise
from pellucid.training.batch_stream import BatchStream
from pellucid.training.datasets import Batch, PatchSampler


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


@settings(deadline=None, max_examples=20)
@given(share=st.integers(1, 5), n_ranks=st.integers(1, 4), first_step=st.integers(0, 1000))
def test_however_many_ranks_the_samples_are_those_of_one_process(share: int, n_ranks: int, first_step: int) -> None:
    def numbers(rank: int, n_ranks: int, batch_size: int) -> list[torch.Tensor]:
        stream = BatchStream(Counter(), batch_size, first_step=first_step, rank=rank, n_ranks=n_ranks)
        return [batch["number"] for batch in itertools.islice(stream, 3)]

    whole = numbers(0, 1, share * n_ranks)
    parts = [numbers(rank, n_ranks, share) for rank in range(n_ranks)]
    for step in range(3):
        assert torch.equal(whole[step], torch.cat([part[step] for part in parts]))
    assert whole[0][0] == first_step * share * n_ranks


def test_an_error_in_the_making_reaches_the_reader_and_no_thread_stays(sampler: PatchSampler) -> None:
    before = set(threading.enumerate())
    broken = PatchSampler([], 32, GaussianNoise(sigma_max=51.0), seed=0)
    with pytest.raises(ValueError, match=r"high|low"):
        next(iter(BatchStream(broken, 2)))
    iteration = iter(BatchStream(sampler, 2))
    next(iteration)
    iteration.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= before


def test_a_closed_stream_ends_its_threads_though_they_are_still_iterated(sampler: PatchSampler) -> None:
    before = set(threading.enumerate())
    stream = BatchStream(sampler, 2)
    iteration = iter(stream)
    next(iteration)
    (thread,) = set(threading.enumerate()) - before
    stream.close()
    thread.join(timeout=5)
    assert not thread.is_alive()
