import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pellucid.errors import TrainingError
from pellucid.training.callbacks.graceful_stop import GracefulStop

TRAINER: Any = SimpleNamespace(world_size=1, global_step=7)


@pytest.fixture
def watch() -> Iterator[GracefulStop]:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    watch = GracefulStop(lambda: "do this")
    watch.on_train_start()
    yield watch
    watch.on_train_end()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def step(watch: GracefulStop, loss: float) -> None:
    watch.on_train_batch_end(TRAINER, None, {"loss": torch.tensor(loss)}, None, 0)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_loss_aborts(watch: GracefulStop, loss: float) -> None:
    step(watch, 0.5)
    assert watch.loss == 0.5
    with pytest.raises(TrainingError, match=f"the loss became {loss} at step 7; do this"):
        step(watch, loss)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_interrupts(watch: GracefulStop, number: signal.Signals) -> None:
    step(watch, 0.5)
    assert not watch.is_requested
    signal.raise_signal(number)
    step(watch, 0.5)
    assert watch.is_requested
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_ignored_interrupts_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        watch = GracefulStop(lambda: "")
        watch.on_train_start()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        watch.on_exception()
    finally:
        signal.signal(signal.SIGINT, before)
