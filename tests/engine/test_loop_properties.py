"""What a run must not depend on: how its rows are handed over, what else is on the tape, who compiled it."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config
from reference import run_small
from reference.random_market import setup_of
from reference.run_small import MODES, TINY, Outcome, Setup, linear, row, run

from twinloop.kernels import codes, rows
from twinloop.kernels.node import STANDARD

SIZE = TINY if config.DISABLE_JIT else STANDARD
DEPTH, TOUCH, PRINTS, BARS = MODES
SEEDS = st.integers(0, 2**32)
PAIRS = st.sampled_from([(DEPTH, DEPTH), (TOUCH, TOUCH), (PRINTS, TOUCH), (BARS, BARS), (DEPTH, BARS), (TOUCH, DEPTH)])


def shown(outcome: Outcome) -> tuple[Any, ...]:
    """Everything a run shows."""
    assert outcome.status == codes.RUN_DONE
    return outcome.hash, outcome.state_hash, outcome.fills, outcome.orders, outcome.log, outcome.results, outcome.equity


@given(seed=SEEDS, modes=PAIRS, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5))
@settings(max_examples=20)
def test_batches_of_any_size_give_the_same_run(seed: int, modes: tuple[int, int], sizes: list[int]) -> None:
    setup = setup_of(seed, modes)
    whole = shown(run(setup, SIZE))
    for batches in ([1], [7], [64], sizes):
        assert shown(run(setup, SIZE, batches)) == whole


@given(seed=SEEDS, modes=PAIRS, sizes=st.lists(st.integers(1, 30), min_size=2, max_size=5))
@settings(max_examples=20)
def test_tapes_in_chunks_give_the_same_run(seed: int, modes: tuple[int, int], sizes: list[int]) -> None:
    setup = setup_of(seed, modes)
    whole = shown(run(setup, SIZE))
    for chunks in ([1], sizes):
        assert shown(run(setup, SIZE, [5, 1], chunks=chunks)) == whole


@given(seed=SEEDS, modes=st.sampled_from([(TOUCH, TOUCH), (PRINTS, PRINTS), (TOUCH, PRINTS)]), chunks=st.booleans())
@settings(max_examples=30)
def test_jumping_over_rows_nobody_waits_for_changes_nothing(seed: int, modes: tuple[int, int], chunks: bool) -> None:
    setup = setup_of(seed, modes, only_quotes_and_prints=True)
    sizes = [3, 8, 1] if chunks else []
    assert shown(run(setup, SIZE, jump=True, chunks=sizes)) == shown(run(setup, SIZE, jump=False))


@given(seed=SEEDS, modes=PAIRS, other=st.sampled_from([DEPTH, TOUCH, PRINTS]))
@settings(max_examples=20)
def test_an_unrelated_instrument_changes_no_fill(seed: int, modes: tuple[int, int], other: int) -> None:
    setup = setup_of(seed, modes)
    alone = run(setup, SIZE)
    if DEPTH in modes and other == DEPTH:
        other = TOUCH  # Books are few in the small class.
    stranger = setup_of(seed + 1, (other, other)).facts
    facts = [*setup.facts, *({**fact, "instrument": 2} for fact in stranger)]
    facts.sort(key=lambda fact: fact["local_ns"])
    last = setup.facts[-1]["local_ns"]
    facts = [fact for fact in facts if fact["local_ns"] <= last]  # Time goes on no longer than before.
    both = Setup(
        [*setup.instruments, linear("Z")],
        [*setup.modes, other],
        facts,
        setup.script,
        setup.settings,
        setup.seed,
        bars=setup.bars,
        sees=[0, 1],
    )
    together = run(both, SIZE)

    def plain(outcome: Outcome) -> Any:
        numbered = {"sequence", "cause_id"}  # Numbers of rows, of which there are more.
        orders = [{name: value for name, value in each.items() if name not in numbered} for each in outcome.orders]
        fills = [{name: value for name, value in each.items() if name not in numbered} for each in outcome.fills]
        calls = [call[:-2] if call[0] == "on_fill" or len(call) > 9 else call for call in outcome.log]
        return fills, orders, calls, outcome.results, outcome.cash, outcome.positions[:2]

    assert plain(together) == plain(alone)


def test_orders_of_the_same_instant_keep_their_order() -> None:
    """Zero latency: a request sees every row with venue time up to its arrival, its answer comes after the market rows of that time."""
    facts = [
        row(rows.QUOTE, 10, 10, bid=99, bid_qty=5, ask=101, ask_qty=5),
        row(rows.QUOTE, 10, 10, bid=98, bid_qty=5, ask=100, ask_qty=5),
        row(rows.QUOTE, 11, 11, bid=97, bid_qty=5, ask=99, ask_qty=5),
    ]
    got = run(Setup([linear()], [TOUCH], facts, {0: [("order", {"side": 1, "qty": 1, "type": codes.MARKET})]}), SIZE)
    assert [call[0] for call in got.log] == ["on_quote", "on_quote", "on_fill", "on_order", "on_quote"]
    assert got.fills[0]["price_int"] == 100


PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from reference.random_market import setup_of
from reference.run_small import run
from twinloop.kernels.node import STANDARD
found = []
for seed, modes in json.loads(sys.argv[2]):
    got = run(setup_of(seed, modes), STANDARD)
    found.append([got.hash, got.state_hash, got.fills, got.orders, got.equity])
print(json.dumps(found))
"""
CASES = [(seed, (mode, (mode + 1) % 4)) for mode in MODES for seed in (1, 2)]


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the compiled suite compares with a process that has the JIT off")
@pytest.mark.parametrize("jit", ["off", "on"])
def test_another_process_with_and_without_the_jit_gives_the_same_run(jit: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_BOUNDSCHECK" or jit == "on"}
    environment |= {"NUMBA_DISABLE_JIT": "1"} if jit == "off" else {}
    command = [sys.executable, "-c", PROGRAM, str(Path(run_small.__file__).parents[1]), json.dumps(CASES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    here = []
    for seed, modes in CASES:
        got = run(setup_of(seed, modes), STANDARD)
        here.append([got.hash, got.state_hash, got.fills, got.orders, got.equity])
    assert json.loads(done.stdout) == json.loads(json.dumps(here))


def test_a_random_script_trades_enough_to_prove_something() -> None:
    draw = random.Random(5)
    fills = sum(len(run(setup_of(draw.randrange(2**32), (mode, mode)), SIZE).fills) for mode in MODES for _ in range(5))
    assert fills > 100
