import pytest
import torch

from pellucid.training.callbacks.ema import ema_update


def test_ema_warm_up() -> None:
    update = ema_update(0.9)
    average = [torch.tensor([100.0])]
    expected = 100.0
    for n in range(200):
        update(average, [torch.tensor([1.0])], n)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay)
        assert average[0].item() == pytest.approx(expected, rel=1e-4)
    assert average[0].item() == pytest.approx(1.0, abs=1e-3)


def test_integers_are_copied() -> None:
    count = [torch.tensor(3), torch.tensor(5)]
    ema_update(0.9)(count, [torch.tensor(4), torch.tensor(6)], 1)
    assert [int(value) for value in count] == [4, 6]
