from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.training.recipe import OptimizerRecipe
from pellucid.training.schedules import SCHEDULES, warmup_constant, warmup_cosine, warmup_linear, warmup_steps

names = st.sampled_from(sorted(SCHEDULES))
finals = st.floats(0, 1)
lengths = st.integers(2, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1)))


def test_a_recipe_can_name_them_all_and_no_other() -> None:
    assert set(get_args(OptimizerRecipe.model_fields["schedule"].annotation)) == set(SCHEDULES)


@given(name=names, step=st.integers(0, 10**6), n_steps=st.integers(1, 10**6), warm=st.integers(1, 10**6), final=finals)
def test_factors_lie_in_the_unit_interval(name: str, step: int, n_steps: int, warm: int, final: float) -> None:
    assert 0.0 <= SCHEDULES[name](step, n_steps=n_steps, n_warmup=warm, final=final) <= 1.0


@given(name=names, n_steps=st.integers(1, 60), n_warmup=st.integers(1, 60), final=finals)
def test_all_rise_alike_in_equal_steps_to_one(name: str, n_steps: int, n_warmup: int, final: float) -> None:
    rise = [SCHEDULES[name](step, n_steps=n_steps, n_warmup=n_warmup, final=final) for step in range(n_warmup)]
    assert rise == pytest.approx([(step + 1) / n_warmup for step in range(n_warmup)])
    assert all(a < b for a, b in pairwise(rise))
    assert rise[-1] == 1.0


@given(name=names, length=lengths, final=finals)
def test_none_rises_again_after_the_warm_up(name: str, length: tuple[int, int], final: float) -> None:
    n_steps, n_warmup = length
    rates = [
        SCHEDULES[name](step, n_steps=n_steps, n_warmup=n_warmup, final=final)
        for step in range(n_warmup - 1, n_steps + 5)
    ]
    assert all(a >= b - 1e-15 for a, b in pairwise(rates))


@given(length=lengths, final=finals, past=st.integers(0, 1000))
def test_each_ends_where_it_says_and_stays_there(length: tuple[int, int], final: float, past: int) -> None:
    n_steps, n_warmup = length
    end = {
        name: schedule(n_steps + past, n_steps=n_steps, n_warmup=n_warmup, final=final)
        for name, schedule in SCHEDULES.items()
    }
    assert end == pytest.approx({"cosine": final, "linear": final, "steps": max(final, 0.01), "constant": 1.0})


def test_the_cosine_is_half_way_down_in_the_middle() -> None:
    factors = [warmup_cosine(step, n_steps=1000, n_warmup=100, final=0.01) for step in range(1001)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[100] == 1.0
    assert factors[325] == pytest.approx(0.505 + 0.495 * 0.5**0.5)  # a quarter of the way: cos(pi / 4)
    assert factors[550] == pytest.approx(0.505)


def test_the_line_falls_by_equal_steps() -> None:
    factors = [warmup_linear(step, n_steps=1000, n_warmup=100, final=0.1) for step in range(100, 1001)]
    assert [a - b for a, b in pairwise(factors)] == pytest.approx([0.001] * 900)


@pytest.mark.parametrize(
    ("final", "expected"), [(0.0, [1, 1, 0.1, 0.1, 0.01, 0.01]), (0.05, [1, 1, 0.1, 0.1, 0.05, 0.05])]
)
def test_the_steps_are_at_one_half_and_three_quarters_of_the_run(final: float, expected: list[float]) -> None:
    at = (100, 499, 500, 749, 750, 1000)
    assert [warmup_steps(step, n_steps=1000, n_warmup=100, final=final) for step in at] == pytest.approx(expected)


def test_the_constant_stays_at_one() -> None:
    assert {warmup_constant(step, n_steps=1000, n_warmup=100, final=0.1) for step in range(99, 1200)} == {1.0}
