import pytest
import torch

from pellucid.training.callbacks.dead_channels import DeadChannelMonitor, find_dead_channels, reset_channels
from pellucid.training.datasets import Batch
from pellucid.training.nn.noise_estimator import NoiseEstimator
from pellucid.training.nn.unet import DenoisingAutoencoder


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    return {"noisy": torch.rand(2, 3, 32, 32, generator=generator), "cond_sigma": torch.full((2, 1, 32, 32), 0.1)}


@pytest.fixture
def silenced() -> DenoisingAutoencoder:
    """Make a network with a block of which nothing fires, and one of which one channel does not."""
    torch.manual_seed(0)
    network = DenoisingAutoencoder(3, [8, 8], [2, 1], estimator=NoiseEstimator(3, 8, 1))
    with torch.no_grad():
        network.encoder[0][1].conv1.bias.fill_(-1e3)
        network.decoder[0][0].conv1.bias[3] = -1e3
    return network


def test_find_dead_channels(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    with torch.no_grad(), DeadChannelMonitor(silenced) as watch:
        silenced(batch["noisy"], batch["cond_sigma"])
    assert watch.dead["encoder.0.1"].all()
    assert watch.dead["decoder.0.0"].nonzero().flatten().tolist() == [3]
    assert not any(watch.dead[name].any() for name in ("encoder.0.0", "encoder.1.0", "decoder.0.1"))
    assert watch.ratio == pytest.approx(9 / 40)


def test_channel_positive_once_is_not_dead(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    with torch.no_grad(), DeadChannelMonitor(silenced) as watch:
        silenced(batch["noisy"], batch["cond_sigma"])
        silenced(batch["noisy"] * 1e5, batch["cond_sigma"])
        silenced(batch["noisy"], batch["cond_sigma"])
    assert not watch.dead["encoder.0.1"].all()


def test_monitor_removes_its_hooks(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    with DeadChannelMonitor(silenced) as watch:
        pass
    silenced(batch["noisy"], batch["cond_sigma"])
    assert watch.dead == {}
    assert watch.ratio == 0


def test_reset_keeps_output_and_restores_gradient(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    with torch.no_grad():
        before = silenced(batch["noisy"], batch["cond_sigma"])
    weights = {name: value.clone() for name, value in silenced.state_dict().items()}
    silent = find_dead_channels(silenced, batch).dead
    reset_channels(silenced.state_dict(), silent, seed=3)
    torch.testing.assert_close(silenced(batch["noisy"], batch["cond_sigma"]), before)
    changed = {
        name.split(".conv")[0] for name, value in silenced.state_dict().items() if (value != weights[name]).any()
    }
    assert changed == {"encoder.0.1", "decoder.0.0"}

    silenced(batch["noisy"], batch["cond_sigma"]).square().sum().backward()
    assert silenced.encoder[0][1].conv2.weight.grad.abs().amax(dim=(0, 2, 3)).count_nonzero() >= 6
    assert find_dead_channels(silenced, batch).n_dead <= 2, "a kernel drawn at random hardly ever fires at nothing"


def test_averages_are_reset_like_weights(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    silent = find_dead_channels(silenced, batch).dead
    first, second = ({name: value.clone() for name, value in silenced.state_dict().items()} for _ in range(2))
    for weights in (first, second):
        reset_channels(weights, silent, seed=5)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_noise_estimator_is_monitored(silenced: DenoisingAutoencoder, batch: Batch) -> None:
    with torch.no_grad():
        silenced.estimator.blocks[0].conv1.bias[:4] = -1e3  # type: ignore[union-attr, index]
    assert find_dead_channels(silenced, batch).dead["estimator.blocks.0"].sum() == 4


def test_batch_normalization_is_not_monitored(batch: Batch) -> None:
    network = DenoisingAutoencoder(3, [8, 8], [1, 1], normalization="batch")
    statistics = {name: value.clone() for name, value in network.state_dict().items()}
    assert find_dead_channels(network, batch).dead == {}
    assert all(torch.equal(value, statistics[name]) for name, value in network.state_dict().items())
    assert network.training
