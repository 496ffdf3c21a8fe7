"""CPU twin of stratified batches, compiled by numba.

Takes the tables of a StratifiedPlan, members, a seed, and batches g0, g0 + stride, ...
Fills out [n, B] int64. Knows nothing of samplers, epochs or devices.

As in cpu.py a slab of batches stays in the cache and is drawn class by class; where each rank's
draw lies is noted, and then batch by batch the slots are permuted and the draws scattered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint64

from gpusampler.bits.random_bits import CLASS_ORDER, RANK_BELOW, SLOT, tree_key
from gpusampler.cpu import parallel
from gpusampler.cpu.bits import CHUNK, compiled, inlined, key
from gpusampler.cpu.even_tree import begin, next_leaf
from gpusampler.cpu.even_tree import make_room as make_tree_room
from gpusampler.cpu.fixed import LEAST_PER_THREAD, SLAB
from gpusampler.cpu.members import ENTRIES, FEW_DRAWS, LISTED, ask, draw_asked, finish, make_back
from gpusampler.cpu.permute import permute
from gpusampler.plans.columns import BASE, SIZE


@inlined
def _note(source, filled, c, first_rank, base, lists, had, begins, m, apart, at, step):
    """source[t, rank]: where the draws of a class lie in drawn, from `at` on; extras take the ranks
    from filled[t] on."""
    e, end, simple = begins, begins + m, base == 0 and not apart
    if simple:
        for e in range(begins, end):
            t = lists[e]
            source[t, filled[t]] = at
            filled[t] += 1
            at += step
    for t in range(0 if simple else len(filled)):
        mine = e < end and lists[e] == t
        if apart and not mine:
            continue
        for d in range(base):
            source[t, first_rank + d] = at
            at += step
        if mine and (not apart or had[e]):
            source[t, filled[t]] = at
            filled[t] += 1
            at += step
        e += int64(mine)


@compiled
def _list_ordinals(ordinals, lists, befores, had, begins, m, base, start, r0, stride):
    """The ordinals of a class's draws in batches that lie apart. Gives how many."""
    todo = 0
    for e in range(begins, begins + m):
        r = uint64(r0 + int64(lists[e]) * stride)
        for d in range(base + int64(had[e])):
            ordinals[todo + d] = uint64(start) + r * uint64(base) + befores[e] + uint64(d)
        todo += base + int64(had[e])
    return todo


@compiled
def _class_order(order, leaves, grid, seed, purpose, number):
    """order[i] = perm(i, leaves, key(purpose, number)) for the first len(order) leaves."""
    halves = np.empty(2 * CHUNK, np.uint16)
    hashes, (k0, k1) = np.empty(RANK_BELOW, np.uint64), key(seed, purpose, number, 0)
    for first in range(0, len(order), CHUNK):
        m = min(CHUNK, len(order) - first)
        part = order[first : first + m]
        permute(part, first, m, leaves, grid[0], grid[1], k0, k1, halves, hashes)


@compiled
def _leaf_order(leaves, draws, turn, seed):
    """The order of the leaves' classes in this round: all of it where there are about as many
    draws, and else none of it."""
    number, _, _, purpose, grid = turn
    order = np.empty(leaves if number >= 0 and 2 * draws >= leaves else 0, np.uint32)
    if len(order):
        _class_order(order, leaves, grid, seed, purpose, number)
    return order


@compiled
def _class_of(leaf, leaf_class, order, turn, seed):
    number, _, _, purpose, grid = turn
    if number < 0:
        return int64(leaf_class[leaf])
    if len(order):
        return int64(leaf_class[order[leaf]])
    at, hashes, (k0, k1) = (
        np.empty(1, np.uint32),
        np.empty(RANK_BELOW, np.uint64),
        key(seed, purpose, number, 0),
    )
    half = np.empty(1, np.uint16)
    permute(at, leaf, 1, len(leaf_class), grid[0], grid[1], k0, k1, half, hashes)
    return int64(leaf_class[at[0]])


@inlined
def _few_listed(ordinals, size):
    """Whether draws with one key are few, of all in this list."""
    cycles = (ordinals[-1] - ordinals[0]) // uint64(size) + uint64(1)
    return len(ordinals) < FEW_DRAWS * min(len(ordinals), int64(cycles))


@compiled
def _draw_classes(
    source, drawn, back, tables, blocks, tree, turn, members, identity, seed, k0, k1, r0, stride
):  # fmt: skip
    """turn: the round (-1: none), its first batch, draws of a leaf's class before it, and for the
    order of the classes in it the purpose and grid. blocks: None, or a table of them.

    Of a class the tree's room holds m batches from `begins` on: of batches in a row those with an
    extra, and the extras before r0; of batches apart all in which it is drawn, each with its own.
    """
    rows, base_rows, start, leaf_class, class_leaf, shares, links = tables
    root, height = tree
    _, first, earlier, _, _ = turn
    n, size = source.shape
    ranks = 0
    for row in range(len(base_rows)):
        ranks += rows[base_rows[row, 0], BASE]
    filled, apart, as_lanes = np.full(n, ranks), stride != 1, blocks is not None
    ordinals = np.empty(size * n if apart else 0, np.uint64)
    asked, entries, listed, kept = np.empty((ENTRIES, 6), np.uint64), 0, 0, LISTED if apart else 1
    front, rear = 0, size * n - 1  # where in drawn the next spans and lanes will lie
    tree_room = make_tree_room(height, n)
    flags, lists, befores, counts, took, stack = tree_room
    waiting, row = begin(tree_room, root, n, size - ranks, stride), 0
    order = _leaf_order(len(leaf_class), n * (size - ranks), turn, seed)
    while True:
        while row < len(base_rows) and class_leaf[base_rows[row, 0]] >= 0:
            row += 1
        if row < len(base_rows):  # of a whole quota: no extras before and none now, as the root
            c, rank, before = int64(base_rows[row, 0]), int64(base_rows[row, 1]), int64(0)
            begins, m = int64(0), int64(n if apart else 0)
            row += 1
        else:
            leaf, at, waiting = next_leaf(
                flags, lists, befores, counts, took, stack, waiting, shares, links, n, r0 - first,
                stride, k0, k1,
            )  # fmt: skip
            if leaf < 0:
                break
            c, rank, before = _class_of(leaf, leaf_class, order, turn, seed), int64(0), earlier
            begins, m = at * (n + 2), counts[at]
            if rows[c, BASE]:
                rank = int64(base_rows[np.searchsorted(base_rows[:, 0], c), 1])
        base, before = int64(rows[c, BASE]), start[c] + before
        if apart:
            todo = _list_ordinals(
                ordinals[listed:], lists, befores, flags, begins, m, base, before, r0, stride
            )
            if todo == 0:
                continue
            few = as_lanes or _few_listed(ordinals[listed : listed + todo], rows[c, SIZE])
            ordinal = uint64(listed)
            listed += todo
        else:
            todo = n * base + m
            few = as_lanes or min(int64(rows[c, SIZE]), todo) < FEW_DRAWS
            ordinal = uint64(before) + uint64(r0) * uint64(base) + befores[begins]
        ask(asked, entries, c, c, ordinal, todo, 1, few)
        if few:
            _note(source, filled, c, rank, base, lists, flags, begins, m, apart, rear, -1)
            rear -= todo
        else:
            _note(source, filled, c, rank, base, lists, flags, begins, m, apart, front, 1)
            front += todo
        entries += 1
        if entries == ENTRIES:
            draw_asked(
                drawn, back, asked, entries, ordinals, kept, rows, blocks, members, identity, seed
            )
            entries = 0
    draw_asked(drawn, back, asked, entries, ordinals, kept, rows, blocks, members, identity, seed)
    finish(drawn, back, rows, blocks, members, identity, seed)


@compiled
def _scatter(out, drawn, source, a, b, seed, g0, stride):
    """Rank r of batch g goes to slot perm(r, B, key(SLOT, g)), or r where a < 0."""
    n, size = out.shape
    slots, hashes = np.empty(CHUNK, np.uint32), np.empty(RANK_BELOW, np.uint64)
    halves = np.empty(2 * CHUNK, np.uint16)
    for t in range(n):
        k0, k1 = key(seed, SLOT, g0 + t * stride, 0)
        out_row = out[t]
        if a < 0:
            for r in range(size):
                out_row[r] = drawn[source[t, r]]
        for r in range(0, 0 if a < 0 else size, CHUNK):
            m = min(CHUNK, size - r)
            permute(slots, r, m, size, a, b, k0, k1, halves, hashes)
            froms = source[t, r : r + m]
            for e in range(m):
                out_row[slots[e]] = drawn[froms[e]]


@compiled
def _draw_slab(
    out, members, identity, tables, blocks, tree, turn, grid, seed, k0, k1, g0, r0, stride
):  # fmt: skip
    n, size = out.shape
    # rows of an odd number of cache lines: those of many batches then have room in the cache
    source = np.empty((n, size + 48 - size % 32), np.uint32)[:, :size]
    drawn, back = np.empty(out.size, members.dtype), make_back(out.size)
    _draw_classes(
        source, drawn, back, tables, blocks, tree, turn, members, identity, seed, k0, k1, r0, stride
    )
    _scatter(out, drawn, source, grid[0], grid[1], seed, g0, stride)


NO_MEMBERS = np.empty(0, np.int64)
MOST_PLACES = 1 << 21  # batches at once, times levels of the tree: what its room takes


def draw_stratified(
    out: np.ndarray,
    members: np.ndarray | None,
    given: Any,
    seed: int,
    g0: int,
    stride: int,
) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a stratified plan.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a StratifiedPlan
    """
    p, first, purpose = given.plan, given.first, CLASS_ORDER | given.segment << 8
    tables = (p.rows, p.base_rows, p.start, p.leaf_class, p.class_leaf, p.shares, p.links)
    tree, order_grid = (p.root, p.height), p.order_grid
    blocks = None if p.blocks is None else p.blocks.table
    batches, draws = p.round_batches, p.round_draws
    n, batch_size = out.shape
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    slabs = threads * -(-out.size // (threads * SLAB))
    most = max(1, min(SLAB // batch_size, MOST_PLACES // (tree[1] + 1)))
    rows_each = min(most, -(-n // slabs))
    held = NO_MEMBERS if members is None else members
    k0, k1 = (np.uint32(word) for word in tree_key(seed, given.segment))

    def task(begin: int, end: int) -> None:
        while begin < end:
            r, until, turn = g0 - first + begin * stride, end, (-1, 0, 0, purpose, order_grid)
            if batches:
                number = r // batches
                turn = (number, number * batches, number * draws, purpose, order_grid)
                until = min(end, begin - ((r - (number + 1) * batches) // stride))
            _draw_slab(
                out[begin:until], held, members is None, tables, blocks, tree, turn,
                given.slot_grid, np.uint64(seed), k0, k1, r + first, r, stride,
            )  # fmt: skip
            begin = until

    parallel.run(task, n, rows_each, threads)
