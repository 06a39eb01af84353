"""The loop with its simulated venue against the plain twin, on random markets and scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config
from reference import run_small
from reference.checks import check
from reference.random_market import setup_of

from twinloop.kernels.node import STANDARD

SIZE = run_small.TINY if config.DISABLE_JIT else STANDARD
DEPTH, TOUCH, PRINTS, BARS = run_small.MODES


SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("mode", [DEPTH, TOUCH, PRINTS, BARS], ids=["depth", "touch", "prints", "bars"])
@given(seed=SEEDS)
def test_every_fact_equals_the_twin(mode: int, seed: int) -> None:
    check(setup_of(seed, [mode, mode]), SIZE)


@given(seed=SEEDS, modes=st.permutations([DEPTH, TOUCH, PRINTS, BARS]))
def test_markets_of_two_kinds_equal_the_twin(seed: int, modes: list[int]) -> None:
    check(setup_of(seed, modes[:2]), SIZE)
