"""The progress bar, with and without a terminal."""

import sys

import pytest

from pellucid.progress import progress_bar


def test_no_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("images", total=3) as bar:
        assert not bar.is_shown
        bar.update(1, 3)
        bar.print("remark")
    assert capsys.readouterr().err == "remark\n"


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_bar("images") as bar:
        assert bar.is_shown
        bar.update(2, 3, "4.0 megapixels")
        bar.print("remark")
    printed = capsys.readouterr().err
    assert "images" in printed
    assert "2/3" in printed
    assert "4.0 megapixels" in printed
    assert "remark" in printed


def test_no_bar_when_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar(show=False) as bar:
        bar.update(1, 1)
    assert capsys.readouterr().err == ""
