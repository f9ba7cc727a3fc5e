import csv
import json
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from pellucid.errors import MissingExtraError, OutputError
from pellucid.evaluation.report import (
    Evaluation,
    Failure,
    Measurement,
    Score,
    Skipped,
    format_table,
    plot_scores,
    save_plot,
)

ROWS = [
    Measurement("slow", "a.png", 25.0, 31.0, 0.90, 4.0, 2.0),
    Measurement("fast", "a.png", 25.0, 30.0, 0.80, 0.2, 2.0),
    Measurement("slow", "b.png", 25.0, 33.0, 0.92, 9.0, 1.0),
    Measurement("fast", "b.png", 25.0, 31.0, 0.84, 0.4, 1.0),
    Measurement("slow", "c.png", 25.0, 32.0, 0.94, 3.0, 1.0),
    Measurement("fast", "a.png", 15.0, float("inf"), 1.0, 0.1, 1.0),
]
EVALUATION = Evaluation(
    rows=ROWS,
    failures=[Failure("fast", "c.png", 25.0, "ValueError: no")],
    skipped=[Skipped("absent", "absent: needs x")],
    families={"fast": "pellucid", "slow": "classical"},
    protocol={"seed": 3},
)


def test_summary():
    summary = EVALUATION.summary()
    assert [(score.method, score.sigma) for score in summary] == [("fast", 15), ("fast", 25), ("slow", 25)]
    slow = summary[2]
    assert slow.n_images == 3
    assert slow.psnr == pytest.approx(32)
    assert slow.ssim == pytest.approx(0.92)
    assert slow.seconds_per_megapixel == pytest.approx(3)
    assert slow.family == "classical"


def test_table():
    lines = format_table(EVALUATION.summary()).splitlines()
    assert lines[0].split() == ["sigma", "15", "sigma", "25"]
    assert lines[1].split() == ["method", "PSNR", "SSIM", "PSNR", "SSIM", "s/Mpixel"]
    figures, mark = lines[2].split("   (")
    assert figures.split() == ["fast", "inf", "1.0000", "30.50", "0.8200", "0.175"]
    assert mark == "on 1 of 3 images)"
    assert lines[3].split() == ["slow", "-", "-", "32.00", "0.9200", "3.000"]
    assert len(figures) == len(lines[3]) == len(lines[1])


def test_csv(tmp_path):
    EVALUATION.write(tmp_path / "out")
    with (tmp_path / "out/evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Measurement(r["method"], r["image"], *map(float, list(r.values())[2:])) for r in rows] == ROWS


def test_json(tmp_path):
    EVALUATION.write(tmp_path)
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert found["protocol"] == {"seed": 3}
    assert found["interrupted"] is False
    assert len(found["rows"]) == len(ROWS)
    assert found["rows"][0] == {
        "method": "slow",
        "image": "a.png",
        "sigma": 25.0,
        "psnr": 31.0,
        "ssim": 0.9,
        "seconds": 4.0,
        "megapixels": 2.0,
    }
    assert found["rows"][-1]["psnr"] is None  # JSON has no infinity
    assert found["failures"] == [{"method": "fast", "image": "c.png", "sigma": 25.0, "message": "ValueError: no"}]
    assert found["skipped"] == [{"method": "absent", "reason": "absent: needs x"}]
    assert {score["method"] for score in found["summary"]} == {"fast", "slow"}


def test_written_files(tmp_path):
    paths = EVALUATION.write(tmp_path / "new" / "folder")
    names = ["evaluation.csv", "evaluation.json", "quality_per_time.png", "quality_per_time.svg"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == names
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in paths[3].read_text()


def test_no_overwriting(tmp_path):
    EVALUATION.write(tmp_path)
    before = (tmp_path / "evaluation.csv").read_bytes()
    with pytest.raises(OutputError, match="already has an evaluation: name another folder"):
        Evaluation([], [], [], {}, {}).write(tmp_path)
    assert (tmp_path / "evaluation.csv").read_bytes() == before


def test_folder_is_a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out: is not a folder"):
        EVALUATION.write(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_folder_cannot_be_created(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"below: cannot be created .*: name another folder"):
        EVALUATION.write(tmp_path / "file" / "below")


def test_tables_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"^plot: needs matplotlib"):
        EVALUATION.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation.csv", "evaluation.json"]


def test_no_plot_without_rows(tmp_path):
    empty = Evaluation([], [], [], {}, {}, interrupted=True)
    assert [path.name for path in empty.write(tmp_path)] == ["evaluation.csv", "evaluation.json"]
    assert json.loads((tmp_path / "evaluation.json").read_text())["interrupted"] is True


#: Seconds per megapixel and PSNR as measured: some close together, one far away.
TYPICAL = {
    "pellucid": ("pellucid", 0.53, 31.3),
    "pellucid@fp32": ("pellucid", 1.06, 31.31),
    "folder/with/a-model": ("pellucid", 0.2, 31.0),
    "ffdnet": ("published network", 1.8, 31.2),
    "dncnn-25": ("published network", 4.2, 31.3),
    "dncnn-blind": ("published network", 4.2, 31.2),
    "bm3d": ("classical", 76, 30.5),
    "opencv-nlm": ("classical", 1.86, 26.4),
    "skimage-nlm": ("classical", 1.48, 28.85),
    "skimage-wavelet": ("classical", 0.09, 27.97),
    "skimage-tv": ("classical", 0.26, 27.67),
}


def score(method, family, seconds, psnr, sigma=25.0):
    return Score(method, family, sigma, 5, psnr, 0.9, seconds)


def labels(figure):
    return [text for axes in figure.axes for text in axes.texts if isinstance(text, Annotation)]


@pytest.mark.parametrize("sigmas", [(25,), (15, 25), (15, 25, 50), (5, 15, 25, 50)])
def test_labels_do_not_overlap(sigmas):
    figure = plot_scores([score(m, *rest, sigma) for m, rest in TYPICAL.items() for sigma in sigmas])
    figure.draw_without_rendering()
    for axes in figure.axes[: len(sigmas)]:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == len(TYPICAL)
        assert not any(Bbox.intersection(a, b) for a, b in combinations(boxes, 2))
        markers = axes.transData.transform([text.xy for text in axes.texts])
        assert not any(box.contains(*marker) for box in boxes for marker in markers)
        for box in boxes:
            inside = Bbox.intersection(box, axes.bbox)
            assert inside is not None
            assert inside.width * inside.height > 0.999 * box.width * box.height


def test_panels_and_titles():
    scores = [
        score("noisy", "baseline", 1e-5, 20.17),
        score("m", "classical", 1, 30),
        score("m", "classical", 1, 33, 15.0),
    ]
    titles = [axes.get_title() for axes in plot_scores(scores).axes]
    assert titles == ["sigma 15", "sigma 25   (noisy: 20.17 dB)"]


def test_label_of_a_folder():
    assert [label.get_text() for label in labels(plot_scores([score("runs/best", "pellucid", 1, 30)]))] == ["best"]


@pytest.mark.parametrize("psnr", [20.0, float("inf")])
def test_plot_of_a_baseline_only(psnr, tmp_path):
    figure = plot_scores([score("noisy", "baseline", 1e-5, psnr)])
    assert labels(figure) == []
    assert len(save_plot(figure, tmp_path)) == 2


def test_plot_is_reproducible(tmp_path):
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        paths = save_plot(plot_scores([score(m, *rest) for m, rest in TYPICAL.items()]), tmp_path / name)
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]


@settings(max_examples=15, deadline=None)
@given(points=st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(0, 60)), min_size=1, max_size=8))
def test_any_scores_can_be_plotted(points):
    figure = plot_scores([score(f"m{i}", "classical", *point) for i, point in enumerate(points)])
    assert len(labels(figure)) == len(points)
    assert np.isfinite([label.xyann for label in labels(figure)]).all()
