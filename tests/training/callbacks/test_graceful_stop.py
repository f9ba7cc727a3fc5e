import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pellucid.errors import TrainingError
from pellucid.training.callbacks.graceful_stop import StepWatch

TRAINER: Any = SimpleNamespace(world_size=1, global_step=7)


@pytest.fixture
def watch() -> Iterator[StepWatch]:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    watch = StepWatch(lambda: "do this")
    watch.on_train_start()
    yield watch
    watch.on_train_end()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def step(watch: StepWatch, loss: float) -> None:
    watch.on_train_batch_end(TRAINER, None, {"loss": torch.tensor(loss)}, None, 0)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_ends_the_run(watch: StepWatch, loss: float) -> None:
    step(watch, 0.5)
    assert watch.loss == 0.5
    with pytest.raises(TrainingError, match=f"the loss became {loss} at step 7; do this"):
        step(watch, loss)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(watch: StepWatch, number: signal.Signals) -> None:
    step(watch, 0.5)
    assert not watch.is_stopping
    signal.raise_signal(number)
    step(watch, 0.5)
    assert watch.is_stopping
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_ignored_interrupts_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        watch = StepWatch(lambda: "")
        watch.on_train_start()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        watch.on_exception()
    finally:
        signal.signal(signal.SIGINT, before)
