"""Random bits: Philox against published answers, keys that nothing shares, the permutation's grid.

Whatever computes a word is held to the same answers: gpusampler/bits/random_bits.py, its twin
gpusampler/cpu/bits.h and the slow reference.
"""

from __future__ import annotations

from itertools import product
from math import isqrt

import numpy as np
import probe
import pytest
from reference import slow_reference

from gpusampler.bits import random_bits
from gpusampler.bits.random_bits import (
    DRAW_BLOCK,
    MEMBER,
    PICK,
    RANK_BELOW,
    SLOT,
    U32,
    U64,
    grid,
    words,
)

PURPOSES = {"SLOT": SLOT, "MEMBER": MEMBER, "PICK": PICK, "DRAW_BLOCK": DRAW_BLOCK}
LARGEST = 2**31 - 1  # the most members of a class, and slots of a batch

# counter, key, answer of philox4x32-10: Random123's tests/kat_vectors
PUBLISHED = {
    "zeros": (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    "ones": (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    "pi": (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
}


IMPLEMENTATIONS = {
    "random_bits": random_bits.philox,
    "cpu": probe.philox,
    "slow_reference": slow_reference.philox,
}


def hexed(numbers) -> str:
    return " ".join(f"{int(word):08x}" for word in numbers)


def answer(philox, name: str) -> str:
    counter, key, _ = PUBLISHED[name]
    return hexed(philox(*(tuple(int(word, 16) for word in of.split()) for of in (counter, key))))


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_philox_gives_the_published_answers_of_random123(implementation, name):
    assert answer(IMPLEMENTATIONS[implementation], name) == PUBLISHED[name][2]


@pytest.mark.parametrize("constant", ["PHILOX_M0", "PHILOX_M1", "PHILOX_W0", "PHILOX_W1"])
def test_one_wrong_bit_in_a_constant_misses_every_published_answer(monkeypatch, constant):
    monkeypatch.setattr(random_bits, constant, getattr(random_bits, constant) ^ 1 << 7)
    assert all(answer(random_bits.philox, name) != PUBLISHED[name][2] for name in PUBLISHED)


def test_all_three_philox_agree_on_random_counters_and_keys():
    draws = np.random.default_rng(20).integers(0, 2**32, (2000, 6)).tolist()
    for *counter, k0, k1 in draws:
        answers = {hexed(philox(counter, (k0, k1))) for philox in IMPLEMENTATIONS.values()}
        assert len(answers) == 1, (counter, k0, k1)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_key_is_the_first_two_words_of_its_use_in_all_three(purpose):
    for seed, x, y in product([0, 42, 2**32, U64], [0, 1, 2**32 + 5, 2**63 - 1], [0, 7, U32]):
        key = words(seed, PURPOSES[purpose], x, y)[:2]
        assert key == tuple(probe.keys(1, seed, PURPOSES[purpose], x, y)[0].tolist()), (seed, x, y)
        assert key == slow_reference.key(seed, PURPOSES[purpose], x, y), (seed, x, y)


def test_purposes_are_distinct_and_leave_room_for_the_segment():
    assert len(set(PURPOSES.values())) == len(PURPOSES)
    assert all(0 < purpose < 1 << 8 for purpose in PURPOSES.values())


def test_the_slow_reference_has_the_same_purposes():
    assert {name: getattr(slow_reference, name) for name in PURPOSES} == PURPOSES


def test_seeds_that_differ_only_above_32_bits_give_different_words():
    for seed, purpose in product([0, 1, 42, U32], PURPOSES.values()):
        assert words(seed, purpose, 0) != words(seed + 2**32, purpose, 0)


def test_seed_and_batch_do_not_trade_places():
    for purpose in PURPOSES.values():
        assert words(42, purpose, 1) != words(43, purpose, 0)
        assert words(1, purpose, 0) != words(0, purpose, 1)


def test_no_two_uses_share_a_key():
    """Seed, purpose, batch or cycle, class or slot, and segment: each alone makes a difference."""
    seeds = [0, 1, 42, 43, 42 + 2**32, 2**32, 2**63]
    batches = [0, 1, 2, 2**32, 2**32 + 1, 2**63 - 1]
    uses = list(product(seeds, PURPOSES.values(), batches, [0, 1, 2, U32], [0, 1, 2, 255]))
    # 1 in 10**12 for random keys of 64 bits
    assert len({words(*use)[:2] for use in uses}) == len(uses) == 2688


def grid_sizes() -> list[int]:
    """All small n, n about squares and twice squares, a spread up to the largest."""
    roots = np.geomspace(50, isqrt(LARGEST), 40).astype(int).tolist()
    about = [square + d for r in roots for square in (r * r, r * (r + 1)) for d in (-1, 0, 1)]
    spread = np.random.default_rng(21).integers(2**16, LARGEST, 100).tolist()
    return [*range(32, 1001), *about, *spread, *range(LARGEST - 3, LARGEST + 1)]


def test_grid_equals_the_slow_reference():
    assert [grid(n) for n in grid_sizes()] == [slow_reference.grid(n) for n in grid_sizes()]


def test_grid_has_an_even_side_is_nearly_square_and_wastes_less_than_a_row():
    for n in grid_sizes():
        a, b = grid(n)
        assert a % 2 == 0, n
        assert 2 <= a <= 65535 and 2 <= b <= 65535, n
        assert a <= 2 * b and b <= 2 * a, n
        assert 0 <= a * b - n < a, n


@pytest.mark.parametrize(
    ("n", "sides"), [(32, (4, 8)), (33, (6, 6)), (37, (8, 5)), (1000, (40, 25)), (1024, (32, 32))]
)
def test_grid_of_a_size_worked_by_hand(n, sides):
    assert grid(n) == sides


@pytest.mark.parametrize("n", [1, 2, 5, 31, 32, 33, 100, 2049, 65537, 2**30 + 1, LARGEST])
def test_a_compiled_run_of_the_permutation_equals_the_slow_reference(n):
    m = min(n, 300)
    sides = grid(n) if n >= RANK_BELOW else (1, 1)
    for first, key in [(0, (1, 2)), ((n - m) // 2, words(42, MEMBER, 1)[:2]), (n - m, (U32, U32))]:
        out = probe.permute(first, m, n, sides, key)
        assert out.tolist() == [slow_reference.perm(first + e, n, key) for e in range(m)]
