import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pellucid.simulation.camera.camera import Camera
from pellucid.simulation.jpeg import Jpeg
from pellucid.simulation.noise import Gaussian, PoissonGaussian, SaltAndPepper, Speckle, Uniform
from pellucid.simulation.specs import (
    GaussianNoise,
    JpegNoise,
    Mixture,
    NoiseRecipe,
    NoiseSpec,
    PhotographNoise,
    PoissonGaussianNoise,
)

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
SPEC: TypeAdapter[NoiseSpec] = TypeAdapter(NoiseRecipe)


def spec(kind: str, **bounds: float) -> NoiseSpec:
    return SPEC.validate_python({"kind": kind, **bounds})


def pure(kind: str, **bounds: float) -> NoiseSpec:
    """One kind of noise, with no other mixed in."""
    return spec(kind, **({"gaussian_share": 0.0, "clean_share": 0.0} if kind == "photograph" else {}), **bounds)


def draws(noise: NoiseSpec | Mixture, n: int = 300) -> list[Any]:
    rng = np.random.default_rng(0)
    return [noise.draw(rng) for _ in range(n)]


def worst_deviation(noise: NoiseSpec) -> float:
    """Largest root mean square of the noise over flat patches, of many draws."""
    rng, found = np.random.default_rng(1), 0.0
    for degradation in draws(noise, 60):
        for level in (0.0, 0.5, 1.0):
            flat = np.full((60, 60, 1), level, np.float32)
            found = max(found, float(np.sqrt(np.mean((degradation(flat, rng) - flat) ** 2))))
    return found


def test_kinds_of_a_recipe() -> None:
    specs = get_args(get_args(NoiseRecipe)[0])
    assert {get_args(one.model_fields["kind"].annotation)[0] for one in specs} == set(KINDS)
    assert {one().kind for one in specs} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_of_a_kind_differ(kind: str) -> None:
    drawn = draws(pure(kind))
    assert {type(noise) for noise in drawn} == {KINDS[kind]}
    assert len(set(drawn)) > 50


@pytest.mark.parametrize("kind", KINDS)
def test_draw_depends_on_rng_only(kind: str) -> None:
    assert draws(spec(kind)) == draws(spec(kind))


def test_parameters_fill_their_bounds() -> None:
    def spread(values: list[float]) -> list[float]:
        return [min(values), max(values)]

    gaussian = draws(spec("gaussian", sigma_min=10, sigma_max=20.0))
    assert spread([noise.sigma * 255 for noise in gaussian]) == pytest.approx([10, 20], abs=0.2)
    poisson = draws(spec("poisson_gaussian", gain_min=1e-4, gain_max=1e-2, read_sigma_max=5.0))
    gains = [math.log10(noise.gain) for noise in poisson]
    assert spread(gains) == pytest.approx([-4, -2], abs=0.05)
    assert np.mean(gains) == pytest.approx(-3, abs=0.1)
    assert spread([noise.read_sigma * 255 for noise in poisson]) == pytest.approx([0, 5], abs=0.1)
    uniform = draws(spec("uniform", width_max=100.0))
    assert spread([noise.width * 255 for noise in uniform]) == pytest.approx([0, 100], abs=2)
    lost = draws(spec("salt_and_pepper", amount_max=0.1))
    assert spread([noise.amount for noise in lost]) == pytest.approx([0, 0.1], abs=2e-3)
    speckle = draws(spec("speckle", sigma_max=0.3))
    assert spread([noise.sigma for noise in speckle]) == pytest.approx([0, 0.3], abs=6e-3)
    jpeg = draws(spec("jpeg", quality_min=20, quality_max=30))
    assert {noise.quality for noise in jpeg} == set(range(20, 31))
    assert {type(noise.quality) for noise in jpeg} == {int}


@settings(deadline=None, max_examples=30)
@given(low=st.floats(1e-6, 1), high=st.floats(1e-6, 1), read=st.floats(0, 0.2))
def test_halved_poisson_gaussian_bounds(low: float, high: float, read: float) -> None:
    bounds = {"gain_min": min(low, high), "gain_max": max(low, high), "read_sigma_max": read * 255}
    halved = PoissonGaussianNoise(**bounds).halved()
    assert 0 < halved.gain_min <= halved.gain_max
    assert halved.draw(np.random.default_rng(0)).gain <= max(low, high) / 4 * 1.001


@pytest.mark.parametrize("kind", POINTWISE)
def test_max_sigma_is_that_of_the_strongest_noise(kind: str) -> None:
    noise = spec(kind)
    assert worst_deviation(noise) == pytest.approx(noise.max_sigma, rel=0.12)


@pytest.mark.parametrize("kind", POINTWISE)
def test_halved_noise_is_half_as_strong(kind: str) -> None:
    noise = spec(kind)
    assert noise.halved().max_sigma == pytest.approx(noise.max_sigma / 2)
    assert worst_deviation(noise.halved()) == pytest.approx(noise.max_sigma / 2, rel=0.12)


@pytest.mark.parametrize("quality", [1, 5, 20, 35, 50, 75, 80, 95, 100])
def test_jpeg_max_sigma_is_near_the_worst_photograph(photo: NDArray[np.uint8], quality: int) -> None:
    clean = photo[:480, :480].astype(np.float32) / 255
    for image in (clean, clean[..., 1:2]):
        squares = (Jpeg(quality)(image, np.random.default_rng(0)) - image) ** 2
        worst = np.sqrt(squares.reshape(5, 96, 5, 96, -1).mean(axis=(1, 3, 4))).max()
        stated = JpegNoise(quality_min=quality, quality_max=100).max_sigma
        assert 0.3 * stated < worst <= stated


@given(low=st.integers(1, 100), length=st.integers(0, 99))
def test_halved_jpeg_has_half_the_steps(low: int, length: int) -> None:
    def step(quality: int) -> float:
        return 5000 / quality if quality < 50 else 200 - 2 * quality

    halved = JpegNoise(quality_min=low, quality_max=min(100, low + length)).halved()
    assert 1 <= halved.quality_min <= halved.quality_max <= 100
    assert step(halved.quality_min) <= step(low) / 2 + 1e-9
    assert step(halved.quality_min - 1 or 1) >= step(low) / 2 - 1e-9
    assert 1 <= halved.draw(np.random.default_rng(0)).quality <= 100


def test_mixture_draws_each_kind_equally() -> None:
    mixture = Mixture([pure(kind) for kind in KINDS])
    drawn = draws(mixture, 2000)
    shares = [np.mean([type(noise) is kind for noise in drawn]) for kind in KINDS.values()]
    assert min(shares) > 0.1
    assert max(shares) < 0.25
    assert mixture.max_sigma == max(spec(kind).max_sigma for kind in KINDS)
    assert mixture.halved().specs == tuple(part.halved() for part in mixture.specs)


def test_mixture_of_one_uses_no_random_number() -> None:
    noise = spec("gaussian", sigma_max=55.0)
    assert draws(Mixture([noise])) == draws(noise)


def test_halved_gaussian() -> None:
    noise = GaussianNoise(sigma_min=10.0, sigma_max=50.0, gray_share=0.3)
    assert noise.max_sigma == 50 / 255
    assert noise.halved() == GaussianNoise(sigma_min=0.0, sigma_max=25.0, gray_share=0.3)


def test_gray_share_of_gaussian_noise() -> None:
    grays = [noise.is_gray for noise in draws(GaussianNoise(gray_share=0.3), 1000)]
    assert np.mean(grays) == pytest.approx(0.3, abs=0.05)
    assert not any(noise.is_gray for noise in draws(GaussianNoise(), 50))


def test_shares_of_photograph() -> None:
    noise = PhotographNoise(gaussian_share=0.3, clean_share=0.2, sigma_max=40.0, gray_share=0.2)
    drawn = draws(noise, 3000)
    white = [one.sigma * 255 for one in drawn if isinstance(one, Gaussian)]
    cameras = [one for one in drawn if isinstance(one, Camera)]
    assert len(white) + len(cameras) == 3000
    assert np.mean(np.array(white) == 0) == pytest.approx(0.1 / 0.4, abs=0.06)
    assert len(white) / 3000 == pytest.approx(0.4, abs=0.05)
    assert max(white) == pytest.approx(40, abs=0.5)
    grays = [one.is_gray for one in drawn if isinstance(one, Gaussian) and one.sigma]
    assert np.mean(grays) == pytest.approx(0.2, abs=0.06)
    assert np.mean([one.sensor.is_noiseless and one.film is None for one in cameras]) == pytest.approx(
        0.1 / 0.6, abs=0.05
    )
    assert np.mean([one.film is not None for one in cameras]) == pytest.approx(0.25 * 0.5 / 0.6, abs=0.04)
    assert noise.max_sigma == 60 / 255
    assert noise.halved() == GaussianNoise(sigma_max=20.0, gray_share=0.2)


def test_cameras_of_photograph_fill_their_bounds() -> None:
    cameras = draws(pure("photograph", iso_min=400.0, iso_max=800.0, quality_min=70, quality_max=72))
    assert {camera.jpeg.quality for camera in cameras} == {70, 71, 72}
    shots = [camera.sensor.shot for camera in cameras if camera.film is None]
    assert 4 / 60_000 * 0.99 < min(shots) < max(shots) < 8 / 5_000 * 1.01


@pytest.mark.parametrize(
    ("kind", "bounds", "message"),
    [
        ("gaussian", {"sigma_min": 60.0}, r"sigma_min 60\.0 is above sigma_max 55\.0: lower it"),
        ("poisson_gaussian", {"gain_min": 0.5}, r"gain_min 0\.5 is above gain_max 0\.02: lower it"),
        ("jpeg", {"quality_min": 96}, "quality_min 96 is above quality_max 95: lower it"),
        ("photograph", {"iso_min": 3e4}, r"iso_min 30000\.0 is above iso_max 25600\.0: lower it"),
        (
            "photograph",
            {"gaussian_share": 0.7, "clean_share": 0.4},
            r"gaussian_share 0\.7 and clean_share 0\.4: above 1 together",
        ),
        ("gaussian", {"gray_share": 1.5}, "less than or equal to 1"),
    ],
)
def test_impossible_bounds_are_named(kind: str, bounds: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(kind, **bounds)
