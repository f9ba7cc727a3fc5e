"""The one list of options."""

import inspect
from typing import Any

import pytest

import pellucid
from pellucid.errors import ParameterError
from pellucid.inference.options import (
    PRESENTATIONS,
    RESULT_OPTIONS,
    DenoiseOptions,
    ResultOptions,
    default_in_user_units,
)


def test_keyword_arguments_are_result_options() -> None:
    assert {*ResultOptions.__annotations__, "model"} == set(RESULT_OPTIONS)


@pytest.mark.parametrize("function", [pellucid.denoise, pellucid.Denoiser.denoise])
def test_signatures_show_defaults(function: Any) -> None:
    shown = inspect.signature(function).parameters
    defaults = {name: shown[name].default for name in ResultOptions.__annotations__}
    assert defaults == DenoiseOptions().result_options


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TypeError, match="strenght"):
        pellucid.denoise([[0.5]], strenght=0.5)  # type: ignore[call-arg]


def test_user_units() -> None:
    options = DenoiseOptions.from_user_units({"sigma": 25.5, "strength": 40, "detail": 10, "model": "color"})
    assert options == DenoiseOptions(sigma=0.1, strength=0.4, detail=0.1, model="color")
    assert default_in_user_units("strength") == 100
    assert default_in_user_units("sigma") is None


@pytest.mark.parametrize("name", ["strength", "luma", "chroma", "detail"])
@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_bounds(name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=rf"^{name} must be in \[0, 1\] \(got .*\)$"):
        DenoiseOptions(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=rf"^{name} must be in \[0, 100\] \(got .*\)$"):
        DenoiseOptions.from_user_units({name: 100 * value})


def test_negative_sigma() -> None:
    with pytest.raises(ParameterError, match=r"^sigma must be at least 0 \(got -5\)$"):
        DenoiseOptions.from_user_units({"sigma": -5})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device must be one of auto, cpu, gpu, npu"),
        ({"precision": "int1"}, "precision must be one of"),
        ({"n_threads": 0}, "threads must be at least 1"),
        ({"tile_px": -8}, "tile must be at least 1"),
        ({"max_pixels": 0}, "max-pixels must be at least 1"),
    ],
)
def test_words_and_counts_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        DenoiseOptions(**options)


def test_every_option_is_presented() -> None:
    assert all(shown.help.endswith(".") for shown in PRESENTATIONS.values())
