"""CPU twin: the same indices as the kernels, bit for bit, compiled by numba.

Takes the tables of a plan, members, a seed and the first batch number.
Fills out [n, B] int64. Knows nothing of samplers, epochs or devices.

How it is fast: a slab of batches stays in the cache. Class by class, a slab's draws are one
run of ordinals, so one key serves a whole run and the rounds are vectors of 16-bit lanes; they
land by rank in `ranked`. Then row by row the slots are permuted and `ranked` is scattered.
"""

from __future__ import annotations

import llvmlite.ir as ir
import numpy as np
from numba import njit, types, uint16, uint32, uint64
from numba.extending import intrinsic

from gpusampler import parallel
from gpusampler.random_bits import (
    HALF_ROUNDS,
    MEMBER,
    MIX_M0,
    MIX_M1,
    PHILOX_M0,
    PHILOX_M1,
    PHILOX_W0,
    PHILOX_W1,
    PICK,
    RANK_BELOW,
    ROUND_M0,
    ROUND_M1,
    SLOT,
    WEYL_0,
    WEYL_1,
)

CHUNK = 2048  # lanes of one vector loop; its scratch stays in the first-level cache
SLAB = 1 << 17  # ranked draws held at once
LEAST_PER_THREAD = 1 << 15
ROUNDS = HALF_ROUNDS // 2

compiled = njit(nogil=True, cache=True)
inlined = njit(nogil=True, inline="always")


@intrinsic
def _mulhi16(context, x, y):
    """The high half of a 16 x 16 bit product; numba would widen it to 64 bits."""

    def code(context, builder, signature, args):
        wide = ir.IntType(32)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 16)), ir.IntType(16))

    return types.uint16(types.uint16, types.uint16), code


@inlined
def _half_round(x, y, key_low, key_high, side):
    h = uint16(uint16(y ^ key_low) * uint16(ROUND_M0))
    h = uint16(h ^ uint16(h >> uint16(8)) ^ key_high)
    # x - (side - v) mod side, since x + v may pass 16 bits
    back = uint16(side - _mulhi16(uint16(h * uint16(ROUND_M1)), side))
    moved = uint16(x - back)
    return uint16(moved + side) if x < back else moved


@inlined
def _philox(c0, c1, c2, c3, k0, k1):
    for _ in range(10):
        p = uint64(uint32(c0)) * uint64(PHILOX_M0)
        q = uint64(uint32(c2)) * uint64(PHILOX_M1)
        c0 = uint32(uint32(q >> uint64(32)) ^ c1 ^ k0)
        c2 = uint32(uint32(p >> uint64(32)) ^ c3 ^ k1)
        c1 = uint32(q)
        c3 = uint32(p)
        k0 = uint32(k0 + uint32(PHILOX_W0))
        k1 = uint32(k1 + uint32(PHILOX_W1))
    return c0, c1, c2, c3


@compiled
def _key(seed, purpose, x, y):
    """Words 0 and 1 of Philox(seed; x, y, purpose)."""
    x, seed = uint64(x), uint64(seed)
    k0, k1, _, _ = _philox(
        uint32(x),
        uint32(x >> uint64(32)),
        uint32(y),
        uint32(purpose),
        uint32(seed),
        uint32(seed >> uint64(32)),
    )
    return k0, k1


@inlined
def _mix(x):
    x = uint32(uint32(x) * uint32(MIX_M0))
    x = uint32(x ^ uint32(x >> uint32(15)))
    return uint32(x * uint32(MIX_M1))


@inlined
def _lowbias32(x):
    x = _mix(uint32(x ^ uint32(x >> uint32(16))))
    return uint32(x ^ uint32(x >> uint32(16)))


@compiled
def _permute_ranked(out, i0, m, n, k0, k1, hashes):
    """out[e] = perm(i0 + e, n, (k0, k1)) for n < RANK_BELOW."""
    for j in range(n):
        # the index below the hash breaks ties and makes one comparison of two
        h = _lowbias32(uint32(_mix(uint32(uint32(j) ^ k0)) ^ k1))
        hashes[j] = uint64(h) << uint64(5) | uint64(j)
    for e in range(m):
        mine = hashes[i0 + e]
        rank = uint32(0)
        for j in range(n):
            rank += uint32(hashes[j] < mine)
        out[e] = rank


@compiled
def _split(i0, m, b, left, right):
    """left[e], right[e] = divmod(i0 + e, b), in runs of equal left."""
    quotient = i0 // b
    remainder = i0 - quotient * b
    e = 0
    while e < m:
        run = min(b - remainder, m - e)
        for d in range(run):
            left[e + d] = uint16(quotient)
            right[e + d] = uint16(remainder + d)
        e += run
        quotient += 1
        remainder = 0


@compiled
def _rounds(left, right, m, a, b, k0, k1):
    a, b = uint16(a), uint16(b)
    for t in range(ROUNDS):
        w0 = uint32(k0 + uint32(t) * uint32(WEYL_0))
        w1 = uint32(k1 + uint32(t) * uint32(WEYL_1))
        low0, high0 = uint16(w0), uint16(w0 >> uint32(16))
        low1, high1 = uint16(w1), uint16(w1 >> uint32(16))
        for e in range(m):
            x = _half_round(left[e], right[e], low0, high0, a)
            left[e] = x
            right[e] = _half_round(right[e], x, low1, high1, b)


@compiled
def _permute(out, i0, m, n, a, b, k0, k1, left, right, hashes):
    """out[e] = perm(i0 + e, n, (k0, k1)) for 0 <= e < m <= CHUNK."""
    if n < RANK_BELOW:
        _permute_ranked(out, i0, m, n, k0, k1, hashes)
        return
    _split(i0, m, b, left, right)
    _rounds(left, right, m, a, b, k0, k1)
    outside = 0
    for e in range(m):
        i = uint32(left[e]) * uint32(b) + uint32(right[e])
        out[e] = i
        outside += i >= n
    if outside:
        for e in range(m):
            while out[e] >= n:
                left[e] = out[e] // uint32(b)
                right[e] = out[e] % uint32(b)
                _rounds(left[e:], right[e:], 1, a, b, k0, k1)
                out[e] = uint32(left[e]) * uint32(b) + uint32(right[e])


@compiled
def _gather(ranked, row0, j0, rank, count, places, m, first, members, identity):
    """Member places[e] of the class goes to its row and rank: draw (row0, j0) and those after."""
    e, row, j = 0, row0, j0
    while e < m:
        run = min(count - j, m - e)
        for d in range(run):
            at = first + places[e + d]
            ranked[row, rank + j + d] = at if identity else members[at]
        e += run
        row += 1
        j = 0


@compiled
def _rank_class(ranked, n_rows, g0, row, members, identity, seed, scratch):
    """All draws of one class in a slab: one run of ordinals, cut where a cycle or a chunk ends."""
    places, left, right, hashes = scratch
    label, n, first, count, rank, a, b, start = row
    cycle = (start + g0 * count) // n
    i = (start + g0 * count) - cycle * n
    k0, k1 = _key(seed, MEMBER, cycle, label)
    done, total = 0, n_rows * count
    while done < total:
        m = min(total - done, n - i, CHUNK)
        _permute(places, i, m, n, a, b, k0, k1, left, right, hashes)
        at = done // count
        _gather(ranked, at, done - at * count, rank, count, places, m, first, members, identity)
        done += m
        i += m
        if i == n and done < total:
            i = 0
            cycle += 1
            k0, k1 = _key(seed, MEMBER, cycle, label)


@compiled
def _scatter_row(out_row, ranked_row, g, a, b, seed, scratch):
    """Rank r of batch g goes to slot perm(r, B, key(SLOT, g))."""
    places, left, right, hashes = scratch
    size = len(out_row)
    k0, k1 = _key(seed, SLOT, g, 0)
    for r in range(0, size, CHUNK):
        m = min(CHUNK, size - r)
        _permute(places, r, m, size, a, b, k0, k1, left, right, hashes)
        for e in range(m):
            out_row[places[e]] = ranked_row[r + e]


@compiled
def _fixed_slab(out, rows, members, identity, a, b, seed, g0):
    n_rows = len(out)
    scratch = (
        np.empty(CHUNK, np.uint32),
        np.empty(CHUNK, np.uint16),
        np.empty(CHUNK, np.uint16),
        np.empty(RANK_BELOW, np.uint64),
    )
    ranked = np.empty((n_rows, out.shape[1]), members.dtype)
    for c in range(len(rows)):
        r = rows[c]
        row = (r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
        _rank_class(ranked, n_rows, g0, row, members, identity, seed, scratch)
    for t in range(n_rows):
        _scatter_row(out[t], ranked[t], g0 + t, a, b, seed, scratch)


@compiled
def _random_words(at, m, batch_size, seed, g0, words):
    """The four words of each flat slot at + e, counter (g, slot)."""
    row = at // batch_size
    slot = at - row * batch_size
    e = 0
    while e < m:
        run = min(batch_size - slot, m - e)
        g = uint64(g0 + row)
        for d in range(run):
            words[0, e + d] = uint32(g)
            words[1, e + d] = uint32(g >> uint64(32))
            words[2, e + d] = uint32(slot + d)
        e += run
        row += 1
        slot = 0
    k0, k1 = uint32(seed), uint32(uint64(seed) >> uint64(32))
    for e in range(m):
        w0, w1, w2, w3 = _philox(words[0, e], words[1, e], words[2, e], uint32(PICK), k0, k1)
        words[0, e] = w0
        words[1, e] = w1
        words[2, e] = w2
        words[3, e] = w3


@inlined
def _drawn_row(low, high, cuts, guide, shift):
    u = uint64(high) << uint64(32) | uint64(low)
    row = guide[u >> shift]
    while row + 1 < len(cuts) and cuts[row + 1] <= u:
        row += 1
    return row


@inlined
def _picked(low, high, n):
    """(64 bits * n) >> 64 for n < 2^31."""
    return (uint64(high) * uint64(n) + (uint64(low) * uint64(n) >> uint64(32))) >> uint64(32)


@compiled
def _random_slab(
    out, at, classes, drawn, rows, cuts, guide, shift, members, identity, seed, g0, size
):
    """Flat slots at.. of a window whose batch 0 is g0; classes[at..] where they were drawn."""
    words = np.empty((4, CHUNK), np.uint32)
    for begin in range(0, len(out), CHUNK):
        m = min(CHUNK, len(out) - begin)
        _random_words(at + begin, m, size, seed, g0, words)
        for e in range(m):
            if drawn:
                row = classes[begin + e]
            else:
                row = _drawn_row(words[0, e], words[1, e], cuts, guide, shift)
            place = rows[row, 2] + np.int64(_picked(words[2, e], words[3, e], rows[row, 1]))
            out[begin + e] = place if identity else members[place]


NO_MEMBERS = np.empty(0, np.int32)


def draw_fixed(
    out: np.ndarray,
    members: np.ndarray | None,
    rows: np.ndarray,
    grid: tuple[int, int],
    seed: int,
    g0: int,
) -> None:
    """Fill out [n, B] int64 with batches g0 .. g0 + n of a fixed plan.

    members  [M] int32 | int64, None where the dataset is sorted by class
    rows     [A, 8] int64: FixedPlan.rows
    grid     the permutation grid of [0, B)
    """
    n, batch_size = out.shape
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    slabs = threads * -(-out.size // (threads * SLAB))
    rows_each = min(max(1, SLAB // batch_size), -(-n // slabs))
    held = NO_MEMBERS if members is None else members

    def task(first: int, end: int) -> None:
        part = out[first:end]
        _fixed_slab(part, rows, held, members is None, *grid, np.uint64(seed), g0 + first)

    parallel.run(task, n, rows_each, threads)


def draw_random(
    out: np.ndarray,
    members: np.ndarray | None,
    rows: np.ndarray,
    cuts: np.ndarray,
    guide: np.ndarray,
    classes: np.ndarray | None,
    seed: int,
    g0: int,
) -> None:
    """Fill out [n, B] int64 with batches g0 .. g0 + n, each slot drawn with replacement.

    members  [M] int32 | int64, None where the dataset is sorted by class
    rows     [A, 3] int64, cuts [A] uint64, guide [2^k + 1] int32: of RandomPlan
    classes  [n, B] int64, the row of each slot where they are already drawn; None: by `cuts`
    """
    flat = out.reshape(-1)
    held = NO_MEMBERS if members is None else members
    drawn = flat[:0] if classes is None else classes.reshape(-1)
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    size = out.shape[1]
    shift = np.uint64(65 - (len(guide) - 1).bit_length())

    def task(first: int, end: int) -> None:
        _random_slab(
            flat[first:end], first, drawn[first:end], classes is not None, rows, cuts, guide,
            shift, held, members is None, np.uint64(seed), g0, size,
        )  # fmt: skip

    parallel.run(task, out.size, SLAB, threads)
