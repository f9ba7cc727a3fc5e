import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid.errors import RecipeError
from pellucid.simulation.camera.camera import Camera
from pellucid.simulation.jpeg import Jpeg
from pellucid.simulation.noise import Gaussian, GaussianRange, PoissonGaussian, SaltAndPepper, Speckle, Uniform
from pellucid.simulation.samplers import JpegRange, Mixture, NoiseSource, PoissonGaussianRange, noise_source
from pellucid.training.recipe import DataRecipe, NoiseRecipe

KINDS: dict[str, type] = {
    "gaussian": Gaussian,
    "poisson_gaussian": PoissonGaussian,
    "uniform": Uniform,
    "salt_and_pepper": SaltAndPepper,
    "speckle": Speckle,
    "jpeg": Jpeg,
    "photograph": Camera,
}
#: All but those whose error depends on more than the brightness.
POINTWISE = sorted(KINDS.keys() - {"jpeg", "photograph"})


def source(*tables: dict[str, Any]) -> NoiseSource:
    return noise_source(DataRecipe.model_validate({"noise": list(tables)}).noise)


def pure(kind: str) -> dict[str, Any]:
    """Give a table of one kind of noise, with no other mixed in."""
    return {"kind": kind} | ({"gaussian_share": 0.0, "clean_share": 0.0} if kind == "photograph" else {})


def draws(noise: NoiseSource, n: int = 300) -> list[Any]:
    rng = np.random.default_rng(0)
    return [noise.draw(rng) for _ in range(n)]


def worst_deviation(noise: NoiseSource) -> float:
    """Find the largest root mean square of the noise over flat patches, for the strongest that is drawn."""
    rng, found = np.random.default_rng(1), 0.0
    for degradation in draws(noise, 60):
        for level in (0.0, 0.5, 1.0):
            flat = np.full((60, 60, 1), level, np.float32)
            found = max(found, float(np.sqrt(np.mean((degradation(flat, rng) - flat) ** 2))))
    return found


def test_a_recipe_can_name_all_kinds_and_no_other() -> None:
    tables = get_args(get_args(NoiseRecipe)[0])
    assert {get_args(table.model_fields["kind"].annotation)[0] for table in tables} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_gives_its_kind_with_parameters_that_differ(kind: str) -> None:
    drawn = draws(source(pure(kind)))
    assert {type(noise) for noise in drawn} == {KINDS[kind]}
    assert len(set(drawn)) > 50


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_is_the_only_source_of_randomness(kind: str) -> None:
    assert draws(source({"kind": kind})) == draws(source({"kind": kind}))


def test_parameters_fill_their_bounds() -> None:
    def spread(values: list[float]) -> list[float]:
        return [min(values), max(values)]

    gaussian = draws(source({"kind": "gaussian", "sigma_min": 10, "sigma_max": 20.0}))
    assert spread([noise.sigma * 255 for noise in gaussian]) == pytest.approx([10, 20], abs=0.2)
    poisson = draws(source({"kind": "poisson_gaussian", "gain_min": 1e-4, "gain_max": 1e-2, "read_sigma_max": 5.0}))
    gains = [math.log10(noise.gain) for noise in poisson]
    assert spread(gains) == pytest.approx([-4, -2], abs=0.05)
    assert np.mean(gains) == pytest.approx(-3, abs=0.1)
    assert spread([noise.read_sigma * 255 for noise in poisson]) == pytest.approx([0, 5], abs=0.1)
    uniform = draws(source({"kind": "uniform", "width_max": 100.0}))
    assert spread([noise.width * 255 for noise in uniform]) == pytest.approx([0, 100], abs=2)
    lost = draws(source({"kind": "salt_and_pepper", "amount_max": 0.1}))
    assert spread([noise.amount for noise in lost]) == pytest.approx([0, 0.1], abs=2e-3)
    speckle = draws(source({"kind": "speckle", "sigma_max": 0.3}))
    assert spread([noise.sigma for noise in speckle]) == pytest.approx([0, 0.3], abs=6e-3)
    jpeg = draws(source({"kind": "jpeg", "quality_min": 20, "quality_max": 30}))
    assert {noise.quality for noise in jpeg} == set(range(20, 31))
    assert {type(noise.quality) for noise in jpeg} == {int}


@settings(deadline=None, max_examples=30)
@given(low=st.floats(1e-6, 1), high=st.floats(1e-6, 1), read=st.floats(0, 0.2))
def test_halved_photon_noise_stays_within_sound_bounds(low: float, high: float, read: float) -> None:
    halved = PoissonGaussianRange(min(low, high), max(low, high), read).halved()
    assert 0 < halved.gain_low <= halved.gain_high
    assert halved.draw(np.random.default_rng(0)).gain <= max(low, high) / 4 * 1.001


@pytest.mark.parametrize("kind", POINTWISE)
def test_the_strongest_noise_is_as_stated(kind: str) -> None:
    noise = source({"kind": kind})
    assert worst_deviation(noise) == pytest.approx(noise.sigma_max, rel=0.12)


@pytest.mark.parametrize("kind", POINTWISE)
def test_halved_noise_is_half_as_strong(kind: str) -> None:
    noise = source({"kind": kind})
    assert noise.halved().sigma_max == pytest.approx(noise.sigma_max / 2)
    assert worst_deviation(noise.halved()) == pytest.approx(noise.sigma_max / 2, rel=0.12)


@pytest.mark.parametrize("quality", [1, 5, 20, 35, 50, 75, 80, 95, 100])
def test_the_error_of_jpeg_is_near_that_of_the_worst_photograph(photo: NDArray[np.uint8], quality: int) -> None:
    clean = photo[:480, :480].astype(np.float32) / 255
    for image in (clean, clean[..., 1:2]):
        squares = (Jpeg(quality)(image, np.random.default_rng(0)) - image) ** 2
        worst = np.sqrt(squares.reshape(5, 96, 5, 96, -1).mean(axis=(1, 3, 4))).max()
        stated = JpegRange(quality, 100).sigma_max
        assert 0.3 * stated < worst <= stated


@given(low=st.integers(1, 100), length=st.integers(0, 99))
def test_halved_jpeg_has_half_the_steps(low: int, length: int) -> None:
    def step(quality: int) -> float:
        return 5000 / quality if quality < 50 else 200 - 2 * quality

    halved = JpegRange(low, min(100, low + length)).halved()
    assert 1 <= halved.low <= halved.high <= 100
    assert step(halved.low) <= step(low) / 2 + 1e-9
    assert step(halved.low - 1 or 1) >= step(low) / 2 - 1e-9
    assert 1 <= halved.draw(np.random.default_rng(0)).quality <= 100


def test_of_several_tables_each_patch_gets_one() -> None:
    mixture = source(*(pure(kind) for kind in KINDS))
    drawn = draws(mixture, 2000)
    shares = [np.mean([type(noise) is kind for noise in drawn]) for kind in KINDS.values()]
    assert min(shares) > 0.1
    assert max(shares) < 0.25
    assert mixture.sigma_max == max(source({"kind": kind}).sigma_max for kind in KINDS)
    assert isinstance(mixture, Mixture)
    halved = mixture.halved()
    assert halved.sources == tuple(part.halved() for part in mixture.sources)


def test_photographs_come_with_white_noise_and_with_none() -> None:
    noise = source(
        {"kind": "photograph", "gaussian_share": 0.3, "clean_share": 0.2, "sigma_max": 40.0, "gray_share": 0.2}
    )
    drawn = draws(noise, 1000)
    white = [one.sigma * 255 for one in drawn if isinstance(one, Gaussian)]
    cameras = [one for one in drawn if isinstance(one, Camera)]
    assert len(white) + len(cameras) == 1000
    assert np.mean(np.array(white) == 0) == pytest.approx(0.1 / 0.4, abs=0.06)
    assert len(white) / 1000 == pytest.approx(0.4, abs=0.05)
    assert max(white) == pytest.approx(40, abs=0.5)
    grays = [one.is_gray for one in drawn if isinstance(one, Gaussian) and one.sigma]
    assert np.mean(grays) == pytest.approx(0.2, abs=0.06)
    assert np.mean([one.sensor.is_silent and one.film is None for one in cameras]) == pytest.approx(0.1 / 0.6, abs=0.05)
    assert noise.sigma_max == 60 / 255
    assert noise.halved() == GaussianRange(0, 20 / 255, 0.2)


def test_cameras_are_as_the_table_says() -> None:
    table = {**pure("photograph"), "iso_min": 400.0, "iso_max": 800.0, "quality_min": 70, "quality_max": 72}
    cameras = draws(source(table))
    assert {camera.jpeg.quality for camera in cameras} == {70, 71, 72}
    shots = [camera.sensor.shot for camera in cameras if camera.film is None]
    assert 4 / 60_000 * 0.99 < min(shots) < max(shots) < 8 / 5_000 * 1.01


def test_one_table_alone_needs_no_choice() -> None:
    assert source({"kind": "gaussian", "sigma_max": 55.0}) == GaussianRange(0, 55 / 255)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "gaussian", "sigma_min": 60.0}, r"gaussian: sigma_min 60\.0 is above sigma_max 55\.0"),
        ({"kind": "poisson_gaussian", "gain_min": 0.5}, r"gain_min 0\.5 is above gain_max 0\.02"),
        ({"kind": "jpeg", "quality_min": 96}, "quality_min 96 is above quality_max 95"),
        ({"kind": "photograph", "iso_min": 3e4}, r"iso_min 30000\.0 is above iso_max 25600\.0"),
    ],
)
def test_bounds_in_the_wrong_order_are_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        source({"kind": "uniform"}, table)


def test_shares_above_one_are_named() -> None:
    with pytest.raises(ValueError, match=r"gaussian_share 0\.7 and clean_share 0\.4: above 1 together"):
        source({"kind": "photograph", "gaussian_share": 0.7, "clean_share": 0.4})
