"""CPU twin of the block tables of a stratified plan, compiled by numba.

Takes the plan's tables, a seed and segment, and the number of the first block.
Fills, for each of J blocks, what its batches have in common:
    draws    [J, C, 4] int32, 32-bit words: POSITION and CYCLE (low, high) that each class has come
             to, POSITION < size; SPAN: how many extras it has, and << SPAN_BITS where they begin on
             the line, mod BLOCK
    ends     [J, C] int32, 32-bit words: where the class at each place of the line ends
    classes  [J, C] int32: which class that is
    guide    [J, extra + 1] int32: the place that holds k * BLOCK; the last: the last place
    points   [J, BLOCK] int32: u(b) of each batch of the block
Knows nothing of batches drawn, members or devices.
"""

from __future__ import annotations

import numpy as np
from numba import int32, int64, uint32, uint64

from gpusampler import parallel
from gpusampler.cpu_bits import CHUNK, compiled, key, permute
from gpusampler.plan_stratified import BASE, BETWEEN_BITS, BLOCK, BLOCK_BITS, SIZE
from gpusampler.random_bits import CLASS_ORDER, RANK_BELOW, TREE

POSITION, SPAN, CYCLE_LOW, CYCLE_HIGH = range(4)
SPAN_BITS = BLOCK_BITS + 1  # a class may have an extra in every batch
RANGE = 1 << 14  # classes of one task
LEAST_PER_THREAD = 1 << 13


@compiled
def _flip(seed, tree, z, k, above):
    """The key bit by which bit k of a number with these bits above it is turned."""
    return key(seed, tree, uint64(above) << uint64(6) | uint64(k), z)[0] >> uint32(31)


@compiled
def _between_point(seed, tree, j):
    """u_0(j)."""
    u = uint64(0)
    for k in range(BETWEEN_BITS):
        flip = uint64(_flip(seed, tree, 0, k, uint64(j) >> uint64(k + 1)))
        bit = uint64(j) >> uint64(k) & uint64(1)
        u |= (bit ^ flip) << uint64(BETWEEN_BITS - 1 - k)
    return u


@compiled
def _fill_points(points, seed, tree, z):
    """points[i] = u_z(i) for i in [0, BLOCK)."""
    for i in range(BLOCK):
        points[i] = 0
    for k in range(BLOCK_BITS):
        run = 1 << k
        for above in range(BLOCK >> k + 1):
            flip = int64(_flip(seed, tree, z, k, above))
            first = (2 * above + 1 - flip) << k  # of those whose bit, turned, is 1
            for i in range(first, first + run):
                points[i] += BLOCK >> k + 1


@compiled
def _passed(passed, step, first, m, j, u, cut_high, cut_low):
    """Whole units each of m cuts has passed before block j, and passes in it; u = u_0(j)."""
    for e in range(m):
        passed[e] = uint64(cut_high[first + e]) * uint64(j)
    for k in range(BETWEEN_BITS):
        if uint64(j) >> uint64(k) & uint64(1):
            shift = uint64(BETWEEN_BITS - k)
            half = uint64(1) << (shift - uint64(1))
            remainder = (u ^ half) & (half + half - uint64(1))
            for e in range(m):
                passed[e] += (uint64(uint32(cut_low[first + e])) + remainder) >> shift
    for e in range(m):
        carry = (uint64(uint32(cut_low[first + e])) + u) >> uint64(BETWEEN_BITS)
        step[e] = uint64(cut_high[first + e]) + carry


@compiled
def _fill_draws(draws, begin, end, j, seed, tree, rows, start, cut_high, cut_low):
    """Where classes begin .. end stand before block j, and in SPAN how many extras they have."""
    passed, step = np.empty(CHUNK + 1, np.uint64), np.empty(CHUNK + 1, np.uint64)
    u = _between_point(seed, tree, j)
    for first in range(begin, end, CHUNK):
        m = min(CHUNK, end - first)
        _passed(passed, step, first, m + 1, j, u, cut_high, cut_low)
        for e in range(m):
            c = first + e
            n = uint64(rows[c, SIZE])
            base = uint64(j) * uint64(BLOCK) * uint64(rows[c, BASE])
            q = uint64(start[c]) + base + passed[e + 1] - passed[e]
            cycle = q // n
            draws[c, POSITION] = int32(q - cycle * n)
            draws[c, SPAN] = int32(step[e + 1] - step[e])
            draws[c, CYCLE_LOW] = int32(uint32(cycle))
            draws[c, CYCLE_HIGH] = int32(cycle >> uint64(32))


@compiled
def _fill_classes(classes, begin, end, a, b, seed, order, j):
    """The classes at places begin .. end of the line of block j."""
    left, right = np.empty(CHUNK, np.uint16), np.empty(CHUNK, np.uint16)
    hashes, found = np.empty(RANK_BELOW, np.uint64), np.empty(CHUNK, np.uint32)
    k0, k1 = key(seed, order, j, 0)
    for first in range(begin, end, CHUNK):
        m = min(CHUNK, end - first)
        permute(found, first, m, len(classes), a, b, k0, k1, left, right, hashes)
        for e in range(m):
            classes[first + e] = found[e]


@compiled
def _fill_line(draws, ends, classes, guide):
    """Lay the classes on the line, one after another."""
    end = 0
    for i in range(len(classes)):
        c = classes[i]
        low = end
        extras = int64(draws[c, SPAN])
        end += extras
        ends[i] = int32(end)
        draws[c, SPAN] = int32((low & BLOCK - 1) << SPAN_BITS | extras)
        k = low + BLOCK - 1 >> BLOCK_BITS
        if k << BLOCK_BITS < end:  # a class has at most BLOCK extras, so it holds one k at most
            guide[k] = i
    guide[-1] = len(classes) - 1


def stratified_blocks(
    tables: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    rows: np.ndarray,
    start: np.ndarray,
    cut_high: np.ndarray,
    cut_low: np.ndarray,
    grid: tuple[int, int],
    seed: int,
    segment: int,
    first_block: int,
) -> None:
    """Fill tables (draws, ends, classes, guide, points) for the blocks from first_block on.

    rows, start, cut_high, cut_low  of StratifiedPlan;  grid: of the order of the classes
    """
    draws, ends, classes, guide, points = tables
    blocks, count = ends.shape
    tree, order = TREE | segment << 8, CLASS_ORDER | segment << 8
    parts = -(-count // RANGE)
    threads = parallel.threads_for(ends.size, LEAST_PER_THREAD)

    def fill_classes(first: int, end: int) -> None:
        for number in range(first, end):
            at, part = divmod(number, parts)
            j, bounds = first_block + at, (part * RANGE, min(count, (part + 1) * RANGE))
            _fill_draws(
                draws[at], *bounds, j, np.uint64(seed), tree, rows, start, cut_high, cut_low
            )
            _fill_classes(classes[at], *bounds, *grid, np.uint64(seed), order, j)

    def fill_lines(first: int, end: int) -> None:
        for at in range(first, end):
            _fill_line(draws[at], ends[at], classes[at], guide[at])
            _fill_points(points[at], np.uint64(seed), tree, first_block + at + 1)

    parallel.run(fill_classes, blocks * parts, max(1, RANGE // count), threads)
    parallel.run(fill_lines, blocks, max(1, RANGE // count), threads)
