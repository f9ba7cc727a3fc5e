"""The check of wording: what it refuses, what it leaves alone, what it prints."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "dev" / "check_words.py"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`photo`, told nothing", "told nothing"),
        ("the network is told sigma", "told"),
        ("Sigma that the denoiser is\ntold.", "told"),
        ("What training soils patches with", "soils"),
        ("the settled map", "settled"),
        ("As of :func:`denoise`.", "As of :func:"),
        ("Leave results that are there.", "results that are there"),
        ("Channels that fire at nothing", "fire at nothing"),
        ("An array enters, a clean one leaves.", "enters, a clean one leaves"),
        ("model 'photo' knows noise up to 60", "knows noise up to"),
    ],
)
def test_idiom_is_found(load_script, text, found):
    assert [entry[1] for entry in load_script("check_words").find_idioms(text)] == [found]


@pytest.mark.parametrize(
    "text",
    [
        "settings = Settings()",
        "Soil moisture.  # check-words: allow",
        "sigma is given",
        "the retold story",
        "Returns the residual.",
        "as of today",
        "The value enters the loss. Nothing leaves the machine",
    ],
)
def test_plain_text_passes(load_script, text):
    assert list(load_script("check_words").find_idioms(text)) == []


def test_line_numbers(load_script):
    found = list(load_script("check_words").find_idioms("one\ntwo told\n\nfour settled, told\n"))
    assert [(line, text) for line, text, _ in found] == [(2, "told"), (4, "settled"), (4, "told")]


def test_exit_code_and_report(tmp_path):
    (tmp_path / "good.md").write_text("sigma is given\n")
    (tmp_path / "data.bin").write_bytes(b"\xff told")
    clean = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert (clean.returncode, clean.stdout) == (0, "")
    bad = tmp_path / "bad.py"
    bad.write_text('"""Say what is told."""\n')
    refused = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stdout.startswith(f"{bad}:1: 'told': write 'given'")
