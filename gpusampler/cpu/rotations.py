"""CPU runs of kind pk: the rotations of many visits, of whatever sizes and keys, as vector loops.

Takes visits (of which row, how often before), the tables of a PKPlan, a seed.
Gives the items of each visit, where the caller wants them: classes, or members.
A visit is cut into runs of at most `deep` points; when they fill the lanes of pk_lanes, their
keys are made and they are permuted: first sigma, then rho. Knows nothing of batches or slots.
"""

from __future__ import annotations

import numpy as np
from numba import int64, uint16, uint32, uint64

from gpusampler.bits.random_bits import RANK_BELOW
from gpusampler.cpu.bits import compiled, inlined, philox_pairs
from gpusampler.cpu.permute import permute_ranked
from gpusampler.cpu.pk_lanes import LANES, make_scratch, permute_lanes, rank_lanes
from gpusampler.plans.pk import (
    CLASS,
    FIRST,
    LEAVE,
    PER_CYCLE,
    PERIOD,
    RHO_A,
    RHO_B,
    ROTATION,
    SIGMA_A,
    SIGMA_B,
    SIZE,
    TAKE,
)

DEEPEST = 8  # points of a run

# What is known of each run: columns of u32, of u16 and of u64.
START, LENGTH, KEPT, N, BASE, LAG, S0, S1, R0, R1 = range(10)
SA, SB, RA, RB = range(4)
TO, OF, SIGMA_AT, RHO_AT = range(4)


@compiled
def _depth(most):
    """Points of a run: at most DEEPEST, and the last run of a visit nearly as long as others."""
    runs = max(1, -(-most // DEEPEST))
    return max(1, -(-most // runs))


@compiled
def _make_runs(deep):
    """Room for what is known of the runs, for the keys that they ask for, and for their points."""
    capacity = LANES // deep
    return (
        np.empty((10, capacity), np.uint32),
        np.empty((4, capacity), np.uint16),
        np.empty((4, capacity), np.uint64),
        np.empty((3, 2 * capacity + 2), np.uint64),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint32),
    )


@compiled
def _make_keys(runs, count, asked, seed):
    """The keys of every cycle and turn that was asked for, handed to the runs."""
    wide, _, long, wanted, _, _ = runs
    k0, k1 = uint32(seed), uint32(uint64(seed) >> uint64(32))
    x, y, purpose = wanted[0], wanted[1], wanted[2]
    for j in range(asked):
        x[j], _ = philox_pairs(x[j], x[j] >> uint64(32), y[j], purpose[j], k0, k1)
    for v in range(count):
        sigma, rho = x[long[SIGMA_AT, v]], x[long[RHO_AT, v]]
        wide[S0, v], wide[S1, v] = uint32(sigma), uint32(sigma >> uint64(32))
        wide[R0, v], wide[R1, v] = uint32(rho), uint32(rho >> uint64(32))


@compiled
def _place(points, start, length, deep, count):
    """Point m of each run, for sigma; a run that has none repeats its last."""
    for m in range(deep):
        at = points[m * count :]
        for v in range(count):
            at[v] = start[v] + min(uint32(m), uint32(length[v] - uint32(1)))


@compiled
def _move(points, items, base, n, deep, count):
    """items = points = (points + base) mod n."""
    for m in range(deep):
        at, to = points[m * count :], items[m * count :]
        for v in range(count):
            u = uint32(at[v] + base[v])
            u = uint32(u - n[v]) if u >= n[v] else u
            at[v] = u
            to[v] = u


@compiled
def _patch_few(points, deep, count, wide):
    """sigma of those runs whose cycle goes through few, while n is not few."""
    kept, start, length = wide[KEPT], wide[START], wide[LENGTH]
    least = uint32(RANK_BELOW)
    for v in range(count):
        least = min(least, kept[v])
    if least == RANK_BELOW:
        return
    found, hashes = np.empty(DEEPEST, np.uint32), np.empty(RANK_BELOW, np.uint64)
    for v in range(count):
        if kept[v] < RANK_BELOW:
            k0, k1, last = wide[S0, v], wide[S1, v], int64(length[v]) - 1
            permute_ranked(found, int64(start[v]), last + 1, int64(kept[v]), k0, k1, hashes)
            for m in range(deep):
                points[m * count + v] = found[min(m, last)]


@compiled
def _permute_runs(runs, deep, count, ranked, scratch):
    """points: the places of all runs before rho; items: what is there."""
    wide, narrow, _, _, points, items = runs
    n, kept, s0, s1, r0, r1 = wide[N], wide[KEPT], wide[S0], wide[S1], wide[R0], wide[R1]
    _place(points, wide[START], wide[LENGTH], deep, count)
    if ranked:
        rank_lanes(points, deep, count, kept, s0, s1, scratch)
    else:
        permute_lanes(points, deep, count, kept, narrow[SA], narrow[SB], s0, s1, scratch)
        _patch_few(points, deep, count, wide)
    _move(points, items, wide[BASE], n, deep, count)
    if ranked:
        rank_lanes(items, deep, count, n, r0, r1, scratch)
    else:
        permute_lanes(items, deep, count, n, narrow[RA], narrow[RB], r0, r1, scratch)


@compiled
def _put_classes(row_of, visit_of, runs, deep, count):
    """Each row, and its visits before: the cycles, less those that left it out."""
    wide, _, long, _, points, items = runs
    for m in range(deep):
        for v in range(count):
            if uint32(m) < wide[LENGTH, v]:
                to = long[TO, v] + uint64(m)
                row_of[to] = items[m * count + v]
                visit_of[to] = long[OF, v] - uint64(points[m * count + v] < wide[LAG, v])


@compiled
def _put_members(drawn, members, identity, runs, deep, count):
    wide, _, long, _, _, items = runs
    for m in range(deep):
        for v in range(count):
            if uint32(m) < wide[LENGTH, v]:
                place = long[OF, v] + uint64(items[m * count + v])
                drawn[long[TO, v] + uint64(m)] = place if identity else members[place]


@compiled
def _flush(count, asked, ranked, runs, deep, target, seed, scratch):
    _make_keys(runs, count, asked, seed)
    _permute_runs(runs, deep, count, ranked, scratch)
    classes, row_of, visit_of, drawn, members, identity = target
    if classes:
        _put_classes(row_of, visit_of, runs, deep, count)
    else:
        _put_members(drawn, members, identity, runs, deep, count)


@inlined
def _ask(wanted, asked, x, y, purpose):
    """Ask for a key; gives where it will be, and how many are asked for then."""
    j = uint64(asked)
    wanted[0, j], wanted[1, j], wanted[2, j] = x, y, purpose
    return j, asked + 1


@inlined
def _stand(visit, per_cycle, leave, period, n):
    """Where a visit stands: its cycle and place there, its turn, and how far leaving out has come:
    each item was left out in `rounds` cycles, and those at places below lag in one more."""
    cycle = visit // per_cycle
    lost = cycle * leave
    rounds = lost // n
    return cycle, visit - cycle * per_cycle, cycle // period, rounds, lost - rounds * n


@compiled
def rotate(order, row_of, visit_of, rows, rotations, most, ranked, width, words, target, seed):
    """Make visits, in an order that is stream order for each row.

    Visit v is to row row_of[v], after visit_of[v] others, and fills places v * width .. + width,
    of them the last TAKE. Rows of few items are made (ranked), or those of many.
    most    the largest TAKE;  words: the purposes of rho and sigma
    target  (True, row and earlier visits of each place, ...): the items are rows of classes
            (False, ..., drawn, members, identity): the items are members
    """
    deep = _depth(most)
    runs, scratch = _make_runs(deep), make_scratch()
    wide, narrow, long, wanted, _, _ = runs
    count = asked = int64(0)  # numba compiles _flush for a literal 0 as well
    row, skip, last = uint32(0xFFFFFFFF), True, uint64(0)
    for e in range(len(order)):
        v, visit = uint64(order[e]), visit_of[order[e]]
        same = row_of[v] == row
        if not same:
            row = row_of[v]
            at = uint64(rows[row, ROTATION])
            n, take = uint64(rotations[at, SIZE]), int64(rotations[at, TAKE])
            skip = take == 0 or (n < RANK_BELOW) != ranked
        if skip:
            continue
        if not same:
            leave, period = uint64(rotations[at, LEAVE]), uint64(rotations[at, PERIOD])
            per_cycle = uint64(rotations[at, PER_CYCLE])
            a, b = uint16(rotations[at, RHO_A]), uint16(rotations[at, RHO_B])
            sigma_a = uint16(max(rotations[at, SIGMA_A], 1))
            sigma_b = uint16(max(rotations[at, SIGMA_B], 1))
            label, first = uint64(rows[row, CLASS]), uint64(rows[row, FIRST])
        new_cycle = new_turn = not same or visit != last + uint64(1)
        last = visit
        if new_cycle:
            cycle, i, turn, rounds, lag = _stand(visit, per_cycle, leave, period, n)
        else:
            i += uint64(1)
            if i == per_cycle:
                i, cycle, lag, new_cycle = uint64(0), cycle + uint64(1), lag + leave, True
                if lag >= n:
                    rounds, lag = rounds + uint64(1), lag - n
                if lag == 0:
                    turn, new_turn = turn + uint64(1), True
        base = lag + leave
        base = base - n if base >= n else base
        of = cycle - rounds if target[0] else first
        to = (v + uint64(1)) * uint64(width) - uint64(take)
        for done in range(0, take, deep):
            if new_cycle or count == 0:
                sigma_at, asked = _ask(wanted, asked, cycle, label, words[1])
            if new_turn or count == 0:
                rho_at, asked = _ask(wanted, asked, turn, label, words[0])
            new_cycle = new_turn = False
            r = uint64(count)
            wide[START, r] = i * uint64(take) + uint64(done)
            wide[LENGTH, r] = min(deep, take - done)
            wide[KEPT, r], wide[N, r] = n - leave, n
            wide[BASE, r], wide[LAG, r] = base, lag
            narrow[SA, r], narrow[SB, r], narrow[RA, r], narrow[RB, r] = sigma_a, sigma_b, a, b
            long[TO, r], long[OF, r] = to + uint64(done), of
            long[SIGMA_AT, r], long[RHO_AT, r] = sigma_at, rho_at
            count += 1
            if count == wide.shape[1]:
                _flush(count, asked, ranked, runs, deep, target, seed, scratch)
                count = asked = int64(0)
    if count:
        _flush(count, asked, ranked, runs, deep, target, seed, scratch)
