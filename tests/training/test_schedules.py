from itertools import pairwise

import pytest

from pellucid.training.schedules import warmup_cosine


def test_rises_then_falls_to_the_final_factor() -> None:
    factors = [warmup_cosine(step, n_steps=1000, n_warmup=100, final=0.01) for step in range(1001)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[99] == 1.0
    assert factors[550] == pytest.approx(0.505, abs=1e-3)
    assert factors[1000] == pytest.approx(0.01)
    assert all(a < b for a, b in pairwise(factors[:100]))
    assert all(a >= b for a, b in pairwise(factors[99:]))


def test_stays_at_the_end_past_the_end() -> None:
    assert warmup_cosine(5000, n_steps=1000, n_warmup=100, final=0.1) == pytest.approx(0.1)
