from pathlib import Path

import pytest

from pellucid.errors import RecipeError
from pellucid.training.recipe import PREVIOUS_STAGE, load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
STAGES = """
init_from = "color"
[data]
patch_px = 64
[[data.noise]]
kind = "gaussian"
[[stage]]
[[stage]]
max_steps = 5
[[stage.data.noise]]
kind = "speckle"
[[stage.data.noise]]
kind = "jpeg"
[[stage]]
[stage.data]
patch_px = 128
[stage.network]
depths = [2, 3, 3]
"""
TEXT = 'name = "x"\nsummary = "y"\nmax_steps = 10\n'


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_released_recipes_are_valid(path: Path) -> None:
    stages = load_recipe(path)
    assert {stage.name for stage in stages} == {path.stem}
    assert {stage.init_from for stage in stages[1:]} == {PREVIOUS_STAGE}


def test_stages_override_shared_keys(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(TEXT + STAGES)
    first, second, third = load_recipe(path)
    assert (first.init_from, second.init_from, third.init_from) == ("color", PREVIOUS_STAGE, PREVIOUS_STAGE)
    assert (first.max_steps, second.max_steps, third.max_steps) == (10, 5, 10)
    assert (first.data.patch_px, second.data.patch_px, third.data.patch_px) == (64, 64, 128)
    assert [spec.kind for spec in first.data.noise] == ["gaussian"]
    assert [spec.kind for spec in second.data.noise] == ["speckle", "jpeg"]
    assert (first.network.depths, third.network.depths) == ((2, 2, 2), (2, 3, 3))


def test_changes_of_all_stages_or_of_one(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(TEXT + STAGES)
    changes = {"max_steps": 7, "stage.3.max_steps": 9, "stage.2.data.noise": [{"kind": "uniform"}], "init_from": "gray"}
    stages = load_recipe(path, changes)
    assert [stage.max_steps for stage in stages] == [7, 7, 9]
    assert [stage.data.noise[0].kind for stage in stages] == ["gaussian", "uniform", "gaussian"]
    assert stages[0].init_from == "gray"


@pytest.mark.parametrize(
    ("extra", "changes", "message"),
    [
        ("", {"stage.4.seed": 1}, r"'stage\.4\.seed': name one of 3 stages"),
        ("", {"stage.2": 1}, r"'stage\.2\.': name one of 3 stages"),
        ("", {"stage.2.init_from": "gray"}, r"'stage\.2\.init_from'"),
        ('[[stage]]\nname = "y"', {}, "'name' is set in a stage: move it above"),
        ("[[stage]]\nloss = 3", {}, r"r\.toml, stage 4: key 'loss'"),
        ("[[stage]]\nsed = 3", {}, "stage 4: unknown key 'sed': did you mean 'seed'"),
    ],
)
def test_wrong_stages_are_refused(tmp_path: Path, extra: str, changes: dict[str, object], message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(TEXT + STAGES + extra)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path, changes)
    assert "\n" not in str(caught.value)


def test_a_stage_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(TEXT + "stage = 2\n")
    with pytest.raises(RecipeError, match=r"write \[\[stage\]\]"):
        load_recipe(path)


def test_changes_by_dotted_key(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(TEXT)
    (recipe,) = load_recipe(
        path, {"optimizer.lr": 0.5, "max_steps": 7, "network.widths": [16, 32], "network.depths": [1, 1]}
    )
    assert (recipe.optimizer.lr, recipe.max_steps, recipe.network.widths) == (0.5, 7, (16, 32))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("batchsize = 3", "unknown key 'batchsize'"),
        ("[data]\nbatchsize = 3", "unknown key 'data.batchsize': did you mean 'batch_size'"),
        ("[optimizer]\nlearning = 3", "unknown key 'optimizer.learning'"),
        ("sed = 1", "did you mean 'seed'"),
        ('[optimizer]\nlr = "fast"', "key 'optimizer.lr'"),
        ("[optimizer]\nlr = -1.0", "key 'optimizer.lr'"),
        ("[data]\nbatch_size = 1.5", "key 'data.batch_size'"),
        ("[network]\nwidths = [8, 16]", "give one each a level"),
        ("[network]\nchannels = 4", "key 'network.channels'"),
        ("[network]\nwidths = [8]\ndepths = [1]\n[network.estimator]", "cells of 4 pixels: .* two levels or more"),
        ("[data]\npatch_px = 50", "multiple of 8"),
        ('loss = "l3"', "key 'loss'"),
        ("init_average = 0.5", "name the model to average with"),
        ('[[data.noise]]\nkind = "gausian"', "key 'data.noise.0': .*'gaussian'"),
        ('[[data.noise]]\nkind = "speckle"\nsigma = 1.0', "unknown key 'data.noise.0.speckle.sigma'.*'sigma_max'"),
        ("[data]\nnoise = []", "key 'data.noise'"),
        ("= 3", "not valid TOML"),
    ],
)
def test_wrong_keys(tmp_path: Path, extra: str, message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(TEXT + extra)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")


def test_a_change_below_a_number(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(TEXT)
    with pytest.raises(RecipeError, match="not a key"):
        load_recipe(path, {"max_steps.deeper": 1})
