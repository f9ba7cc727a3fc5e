import csv
import json
import sys

import pytest

from pellucid.errors import MissingExtraError, OutputError
from pellucid.evaluation.report import Evaluation, format_table
from pellucid.evaluation.results import Failure, Row, Skipped

ROWS = [
    Row("slow", "a.png", 25.0, 31.0, 0.90, 4.0, 2.0),
    Row("fast", "a.png", 25.0, 30.0, 0.80, 0.2, 2.0),
    Row("slow", "b.png", 25.0, 33.0, 0.92, 9.0, 1.0),
    Row("fast", "b.png", 25.0, 31.0, 0.84, 0.4, 1.0),
    Row("slow", "c.png", 25.0, 32.0, 0.94, 3.0, 1.0),
    Row("fast", "a.png", 15.0, float("inf"), 1.0, 0.1, 1.0),
]
EVALUATION = Evaluation(
    rows=ROWS,
    failures=[Failure("fast", "c.png", 25.0, "ValueError: no")],
    skipped=[Skipped("absent", "absent: needs x")],
    families={"fast": "pellucid", "slow": "classical"},
    protocol={"seed": 3},
)


def test_summary_has_means_of_quality_and_medians_of_time():
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


def test_csv_holds_every_row(tmp_path):
    EVALUATION.write(tmp_path / "out")
    with (tmp_path / "out/evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Row(r["method"], r["image"], *map(float, list(r.values())[2:])) for r in rows] == ROWS


def test_json_holds_everything(tmp_path):
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


def test_files_that_are_written(tmp_path):
    paths = EVALUATION.write(tmp_path / "new" / "folder")
    names = ["evaluation.csv", "evaluation.json", "quality_per_time.png", "quality_per_time.svg"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == names
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in paths[3].read_text()


def test_an_evaluation_is_not_overwritten(tmp_path):
    EVALUATION.write(tmp_path)
    before = (tmp_path / "evaluation.csv").read_bytes()
    with pytest.raises(OutputError, match="already holds an evaluation: name another folder"):
        Evaluation([], [], [], {}, {}).write(tmp_path)
    assert (tmp_path / "evaluation.csv").read_bytes() == before


def test_a_file_in_the_folder_s_place(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out: is not a folder"):
        EVALUATION.write(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"below: cannot be written .*: name another folder"):
        EVALUATION.write(tmp_path / "file" / "below")


def test_without_matplotlib_the_tables_are_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"^plot: needs matplotlib"):
        EVALUATION.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation.csv", "evaluation.json"]


def test_nothing_to_plot(tmp_path):
    empty = Evaluation([], [], [], {}, {}, interrupted=True)
    assert [path.name for path in empty.write(tmp_path)] == ["evaluation.csv", "evaluation.json"]
    assert json.loads((tmp_path / "evaluation.json").read_text())["interrupted"] is True
