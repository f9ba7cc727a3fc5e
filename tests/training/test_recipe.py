import re
from pathlib import Path

import pytest

from pellucid.errors import RecipeError
from pellucid.training.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
TEXT = 'name = "x"\nsummary = "y"\nn_steps = 10\n'


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_released_recipes_are_sound(path: Path) -> None:
    stage = re.search(r"-\d+$", path.stem)
    assert load_recipe(path).name == path.stem.removesuffix(stage.group() if stage else "")


def test_changes_by_dotted_key(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(TEXT)
    recipe = load_recipe(
        path, {"optimizer.lr": 0.5, "n_steps": 7, "network.widths": [16, 32], "network.depths": [1, 1]}
    )
    assert (recipe.optimizer.lr, recipe.n_steps, recipe.network.widths) == (0.5, 7, (16, 32))


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
        ("initial_share = 0.5", "name the model that has the share"),
        ('[[data.noise]]\nkind = "gausian"', "key 'data.noise.0': .*'gaussian'"),
        ('[[data.noise]]\nkind = "speckle"\nsigma = 1.0', "unknown key 'data.noise.0.speckle.sigma'.*'sigma_max'"),
        ("[data]\nnoise = []", "key 'data.noise'"),
        ("= 3", "not valid TOML"),
    ],
)
def test_wrong_keys_are_named_with_the_nearest_right_one(tmp_path: Path, extra: str, message: str) -> None:
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
        load_recipe(path, {"n_steps.deeper": 1})
