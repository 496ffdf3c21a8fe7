"""CPU runs: the members that each class gives to a slab of batches, compiled by numba.

Takes the rows of a fixed plan, members, a seed, and batches g0, g0 + stride, ...
Fills drawn: class by class, each in batch order. Two ways, the same draws: spans of one class and
key (cpu_spans); and where classes have few draws with the same key, every draw is a lane.
Knows nothing of slots.
"""

from __future__ import annotations

from numba import uint64

from gpusampler.cpu_bits import compiled, gather
from gpusampler.cpu_lanes import make_lanes, member_keys, permute_each
from gpusampler.cpu_spans import draw_spans
from gpusampler.plan import CLASS, COUNT, FIRST, GRID_A, GRID_B, SIZE, START

LANES = 1024  # of different classes, in one vector loop
FEW_DRAWS = 12  # with one key, on average: below, lanes of different classes fill the vectors


@compiled
def draw_classes(drawn, n_rows, g0, stride, rows, members, identity, seed):
    """drawn [n_rows * B]: the draws of class row c from B's rank RANK on times n_rows."""
    keys = 0.0
    for c in range(len(rows)):
        count = float(rows[c, COUNT])
        # of one key: a batch's draws, or those of all batches that fall in one cycle
        together = max(count, min(float(rows[c, SIZE]) / stride, count * n_rows))
        keys += count * n_rows / together
    if len(drawn) < FEW_DRAWS * keys:
        _draw_lanes(drawn, g0, stride, n_rows, rows, members, identity, seed)
    else:
        draw_spans(drawn, g0, stride, n_rows, rows, members, identity, seed)


@compiled
def _fill_lanes(c, t, j, m, g0, stride, n_rows, rows, words, halves, wide):
    """The next m draws, from draw j of batch t of class row c on; gives where it stopped."""
    e = 0
    while e < m:
        n, count = uint64(rows[c, SIZE]), uint64(rows[c, COUNT])
        ordinal = uint64(rows[c, START]) + uint64(g0 + t * stride) * count + uint64(j)
        cycle = ordinal // n
        i, end = ordinal - cycle * n, min(m, e + (n_rows - t) * rows[c, COUNT] - j)
        cycles_on = on = uint64(0)  # from a batch's last draw to the next one's first
        if t + 1 < n_rows:
            on = uint64(stride - 1) * count + uint64(1)
            cycles_on = on // n
            on -= cycles_on * n
        label, first = rows[c, CLASS], rows[c, FIRST]
        a, b = max(rows[c, GRID_A], 1), max(rows[c, GRID_B], 1)
        while e < end:
            words[0, e], words[1, e], words[2, e] = i, n, label
            halves[0, e], halves[1, e] = a, b
            wide[0, e], wide[1, e] = cycle, first
            e += 1
            j += 1
            if j == rows[c, COUNT]:
                j = 0
                t += 1
                i += on
                cycle += cycles_on
            else:
                i += uint64(1)
            if i >= n:
                i -= n
                cycle += uint64(1)
        if t == n_rows:
            t = 0
            c += 1
    return c, t, j


@compiled
def _gather_lanes(out, members, identity, seed, words, halves, wide):
    m = len(out)
    i, n, labels = words[0][:m], words[1][:m], words[2][:m]
    key0, key1, places = words[3][:m], words[4][:m], wide[1][:m]
    member_keys(wide[0][:m], labels, key0, key1, seed)
    permute_each(i, n, halves[0][:m], halves[1][:m], key0, key1, words[5:], halves[2:])
    for e in range(m):
        places[e] += i[e]
    gather(out, places, members, identity)


@compiled
def _draw_lanes(drawn, g0, stride, n_rows, rows, members, identity, seed):
    """Every draw is a lane with a key of its own."""
    words, halves, wide = make_lanes(LANES)
    c, t, j = 0, 0, 0
    for done in range(0, len(drawn), LANES):
        part = drawn[done : done + LANES]
        c, t, j = _fill_lanes(c, t, j, len(part), g0, stride, n_rows, rows, words, halves, wide)
        _gather_lanes(part, members, identity, seed, words, halves, wide)
