import pytest
import torch

from pellucid.training.callbacks.dead_channels import SilenceWatch, revive, watch_batch
from pellucid.training.datasets import Batch
from pellucid.training.nn.noise_estimator import NoiseEstimator
from pellucid.training.nn.unet import DenoisingAutoencoder


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    return {"noisy": torch.rand(2, 3, 32, 32, generator=generator), "sigma": torch.full((2, 1, 32, 32), 0.1)}


@pytest.fixture
def silenced() -> DenoisingAutoencoder:
    """Make a network with a block of which nothing fires, and one of which one channel does not."""
    torch.manual_seed(0)
    network = DenoisingAutoencoder(3, [8, 8], [2, 1], estimator=NoiseEstimator(3, 8, 1))
    with torch.no_grad():
        network.encoder[0][1].conv1.bias.fill_(-1e3)
        network.decoder[0][0].conv1.bias[3] = -1e3
    return network


def test_channels_that_fire_at_nothing_are_found(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    with torch.no_grad(), SilenceWatch(silenced) as watch:
        silenced(batch["noisy"], batch["sigma"])
    assert watch.silent["encoder.0.1"].all()
    assert watch.silent["decoder.0.0"].nonzero().flatten().tolist() == [3]
    assert not any(watch.silent[name].any() for name in ("encoder.0.0", "encoder.1.0", "decoder.0.1"))
    assert watch.share == pytest.approx(9 / 40)


def test_what_fires_once_is_not_silent(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    with torch.no_grad(), SilenceWatch(silenced) as watch:
        silenced(batch["noisy"], batch["sigma"])
        silenced(batch["noisy"] * 1e5, batch["sigma"])
        silenced(batch["noisy"], batch["sigma"])
    assert not watch.silent["encoder.0.1"].all()


def test_who_no_longer_watches_leaves_no_trace(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    with SilenceWatch(silenced) as watch:
        pass
    silenced(batch["noisy"], batch["sigma"])
    assert watch.silent == {}
    assert watch.share == 0


def test_revived_channels_change_nothing_at_first_and_learn(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    with torch.no_grad():
        before = silenced(batch["noisy"], batch["sigma"])
    weights = {name: value.clone() for name, value in silenced.state_dict().items()}
    silent = watch_batch(silenced, batch).silent
    revive(silenced.state_dict(), silent, seed=3)
    torch.testing.assert_close(silenced(batch["noisy"], batch["sigma"]), before)
    changed = {
        name.split(".conv")[0] for name, value in silenced.state_dict().items() if (value != weights[name]).any()
    }
    assert changed == {"encoder.0.1", "decoder.0.0"}

    silenced(batch["noisy"], batch["sigma"]).square().sum().backward()
    assert silenced.encoder[0][1].conv2.weight.grad.abs().amax(dim=(0, 2, 3)).count_nonzero() >= 6
    assert watch_batch(silenced, batch).n_silent <= 2, "a kernel drawn at random hardly ever fires at nothing"


def test_an_average_is_revived_as_the_weights_are(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    silent = watch_batch(silenced, batch).silent
    first, second = ({name: value.clone() for name, value in silenced.state_dict().items()} for _ in range(2))
    for weights in (first, second):
        revive(weights, silent, seed=5)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_noise_estimator_is_watched_too(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    with torch.no_grad():
        silenced.estimator.blocks[0].conv1.bias[:4] = -1e3  # type: ignore[union-attr, index]
    assert watch_batch(silenced, batch).silent["estimator.blocks.0"].sum() == 4


def test_batch_normalization_needs_no_watch(batch: Batch) -> None:
    network = DenoisingAutoencoder(3, [8, 8], [1, 1], normalization="batch")
    statistics = {name: value.clone() for name, value in network.state_dict().items()}
    assert watch_batch(network, batch).silent == {}
    assert all(torch.equal(value, statistics[name]) for name, value in network.state_dict().items())
    assert network.training
