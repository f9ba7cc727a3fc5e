from types import SimpleNamespace

import pytest
import torch

from pellucid.training.callbacks.graceful_stop import GracefulStop
from pellucid.training.callbacks.progress_line import ProgressLine, say_data


def test_line_per_validation(capsys: pytest.CaptureFixture[str]) -> None:
    watch = GracefulStop(lambda: "")
    progress = ProgressLine(watch)
    trainer = SimpleNamespace(global_step=100, max_steps=400, callback_metrics={"loss": torch.tensor(0.2)})
    progress.on_train_start(trainer)
    trainer.global_step, watch.loss = 200, 0.12345
    trainer.callback_metrics |= {"psnr_50": torch.tensor(25.0), "psnr_15": torch.tensor(30.126)}
    progress.on_train_batch_end(trainer)
    progress.on_validation_end(trainer)
    progress.on_train_end(trainer)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("step 200/400  loss 0.1235  psnr_15 30.13  psnr_50 25.00  0:00:00  ")
    assert said.err.endswith(" steps/s\n")


def test_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    watch = GracefulStop(lambda: "")
    progress = ProgressLine(watch)
    trainer = SimpleNamespace(global_step=0, max_steps=400, callback_metrics={"psnr_25": torch.tensor(30.0)})
    progress.on_train_start(trainer)
    trainer.global_step, watch.loss = 200, 0.5
    progress.on_train_batch_end(trainer)
    assert progress.bar is not None
    assert progress.bar.is_shown
    assert progress.note(trainer).endswith("steps/s  loss 0.5000  psnr_25 30.00")
    progress.on_exception(trainer)
    assert progress.bar is None
    capsys.readouterr()


def test_skipped_files_are_truncated(capsys: pytest.CaptureFixture[str]) -> None:
    say_data(630, 16, [f"{index}.png: broken" for index in range(25)])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "data: 630 images, 16 of them held out, 25 files skipped"
    assert lines[1] == "  skipped 0.png: broken"
    assert len(lines) == 12
    assert lines[-1] == "  and 15 more, all in data.json"
