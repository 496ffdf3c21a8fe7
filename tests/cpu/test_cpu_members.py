"""CPU members: spans and lanes give the same draws, whatever the strides, and divide exactly."""

import random

import numpy as np
import pytest
from cases import Case, cpu, slow
from cases.at_random import first_batch
from probe import CHUNK, FLOAT32_BELOW, WHOLE, call, draws

from gpusampler.bits.random_bits import grid
from gpusampler.plans.blocks import block_table
from gpusampler.plans.fixed import CLASS, COUNT, START

STRIDES = [1, 2, 3, 8, 64, 1000, 1 << 31]


def large_case(rnd: random.Random) -> Case:
    """Draws of several chunks, of classes with and without a grid, in and across their cycles."""
    sizes = [
        rnd.choice([1, 5, 31, 32, 33, 500, 4001, 90_000]) for _ in range(rnd.choice([1, 3, 9]))
    ]
    batch_size = rnd.choice([33, 256, 1000, 3 * CHUNK + 5])
    mix, seed = rnd.random(), rnd.randrange(1 << 64)
    return Case("fixed", sizes, batch_size, mix, seed, identity=rnd.random() < 0.3)


def drawn_by(few: bool, case: Case, g0: int, n: int, stride: int) -> list[list[int]]:
    """The draws of each class, all as lanes or all as spans."""
    runs, to = [], 0
    for c, row in enumerate(case.plan.rows):
        count = int(row[COUNT])
        ordinal = int(row[START]) + g0 * count
        runs.append((c, to, count * n, count, stride, row[CLASS], ordinal))
        to += count * n
    rows = case.plan.class_rows
    return draws(rows, None, case.members, case.seed, runs, to, few=few).tolist()


@pytest.mark.parametrize("stride", STRIDES)
def test_spans_and_lanes_are_the_same_draws(stride):
    rnd = random.Random(stride)
    for _ in range(25):
        case = large_case(rnd)
        g0, n = first_batch(rnd, case), rnd.choice([1, 2, 40])
        case.plan.rows[:, START] = [rnd.randrange(1 << 40) for _ in case.plan.rows]
        spans = drawn_by(False, case, g0, n, stride)
        assert spans == drawn_by(True, case, g0, n, stride)
        assert -1 not in spans


@pytest.mark.parametrize("unique", [False, True])
def test_listed_draws_are_those_of_runs(unique):
    """Ordinals in a list, with gaps, as spans and as lanes, against every draw of a run. Where a
    class has blocks, all are lanes."""
    for number in range(25):
        rnd = random.Random(number)
        case = Case("fixed", [rnd.choice([1, 5, 31, 32, 33, 500, 90_000])], 7, 0.5, seed=number)
        first, total = rnd.randrange(1 << 40), 6000
        wanted = sorted(rnd.sample(range(total), rnd.choice([1, 40, 5000])))
        sizes, draws_each, more = (np.array([x]) for x in (case.sizes[0], 3, True))
        blocks = block_table(sizes, draws_each, more) if unique else None
        given = case.plan.class_rows, blocks, case.members, case.seed
        found = []
        for listed in (None, [first + w for w in wanted]):
            todo = total if listed is None else len(wanted)
            run = (0, 0, todo, 1, 1, 0, first)
            found += [draws(*given, [run], todo, listed, few) for few in (unique, True)]
        assert (found[0] == found[1]).all() and (found[2] == found[3]).all()
        assert (found[0][wanted] == found[2]).all() and -1 not in found[0]


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("batch_size", [100, 1000, 2 * CHUNK + 7])
def test_batches_apart_equal_the_slow_reference(stride, batch_size):
    case = Case("fixed", [7000, 6000, 40, 31, 3], batch_size, 0.4, seed=stride + batch_size)
    g0, n = 123, 12_000 // batch_size
    rows = cpu(case, g0, n, stride)
    for t in {0, 1, n // 2, n - 1} & set(range(n)):
        assert rows[t : t + 1] == slow(case, g0 + t * stride), t


def test_the_tests_cut_spans_in_every_way():
    """A class with more draws in a batch than a chunk holds, and cycles that end within one."""
    rnd = random.Random(0)
    cases = [large_case(rnd) for _ in range(25)]
    counts = [case.plan.rows[:, COUNT].max() for case in cases]
    assert min(counts) < WHOLE and max(counts) > CHUNK


def divided(points: np.ndarray, n: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.empty((2, len(points)), np.uint16)
    call("probe_split", points.astype(np.uint32), len(points), n, b, left, right)
    return left, right


def around_multiples(b: int, n: int) -> np.ndarray:
    multiples = np.arange(0, n, b)
    if 3 * len(multiples) >= CHUNK:
        multiples = np.concatenate([multiples[:200], multiples[-480:]])
    points = np.concatenate([multiples - 1, multiples, multiples + 1, [n - 1]])
    return points[(points >= 0) & (points < n)]


@pytest.mark.parametrize("bits", [5, 8, 13, 17, 20, 21, 22, 25, 28, 31])
def test_split_is_exact_at_the_ends_of_rows(bits):
    rng = np.random.default_rng(bits)
    sizes = {max(32, (1 << bits) - 1 - int(x)) for x in rng.integers(0, 1 << bits - 1, 40)}
    for n in sizes | {(1 << bits) - 1, FLOAT32_BELOW - 1, FLOAT32_BELOW}:
        b = grid(n)[1]
        points = around_multiples(b, n)
        left, right = divided(points, n, b)
        assert (left == points // b).all() and (right == points % b).all(), n


def test_split_of_a_run_is_exact_for_every_side():
    left, right = np.empty((2, CHUNK), np.uint16)
    for b in [*range(4, 400), *range(400, 65536, 977), 65535]:
        for i0 in (0, b - 1, 5 * b - CHUNK // 2, b * (65535 - CHUNK // b) - 1):
            run = max(i0, 0) + np.arange(CHUNK)
            call("probe_split_run", run[0], CHUNK, b, left, right)
            assert (left == run // b).all() and (right == run % b).all(), (b, i0)


def test_a_span_is_placed_exactly_for_every_count():
    points = np.empty(CHUNK, np.uint32)
    for count in range(1, CHUNK + 1):
        for stride in (2, 65):
            j = count - 1 - count // 3
            call("probe_place", points, CHUNK, count, stride, j + 7, j)
            draw = j + np.arange(CHUNK)
            expected = 7 + draw // count * stride * count + draw % count
            assert (points == expected).all(), (count, stride)
    for count in (CHUNK + 1, 1 << 22, (1 << 24) + 1, (1 << 31) - 1):
        j = count - 300
        call("probe_place", points, 300, count, 64, 9, j)
        assert (points[:300] == 9 + np.arange(300)).all(), count
        assert call("probe_draws_left", (1 << 31) - 1, count, 64, 9, j) == 300
