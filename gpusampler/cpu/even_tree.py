"""CPU tree of kind stratified: which classes have one more in which batches, compiled by numba.

Takes the tables of a StratifiedPlan and n batches r0, r0 + stride, ... of it.
Gives, leaf by leaf from left to right, the batches in which its class has an extra, and how many it
had before. Knows nothing of members, ordinals or slots.

A node is visited once for all batches. Of batches in a row its ticks are in a row as well, and
their shares a sum that goes on; a node with less than one extra a batch has a list of those in
which it has one, another a flag for each batch. Batches apart have a list at every node.
"""

from __future__ import annotations

import numpy as np
from numba import int64, uint8, uint32, uint64

from gpusampler.bits.random_bits import WEYL_0, WEYL_1
from gpusampler.cpu.bits import compiled, inlined, lowbias32, mix, mulhi64
from gpusampler.plans.even_tree import (
    CARRY,
    HALF,
    LEFT,
    LEFT_SHIFT,
    NEED_LEFT,
    NEED_RIGHT,
    PAIR_BITS,
    RIGHT,
    SPLIT,
    TIE,
    TIE_BITS,
)

LEAST_TIE, TIES = (1 << TIE_BITS) - TIE, 2 * TIE


@inlined
def _whole(high, low):
    return high << uint64(64 - PAIR_BITS) | low >> uint64(PAIR_BITS)


@inlined
def _middle(high, low, share, before, after, v, pair, k0, k1):
    """How many of the ticks up to the first of a pair are the left child's."""
    half = uint64(low + (share >> uint64(1)))
    apart = after - before
    near = _whole(uint64(high + uint64(half < low)), half)
    found = near if apart == uint64(1) else before + (apart >> uint64(1))
    fraction = (half >> uint64(PAIR_BITS - TIE_BITS)) - uint64(LEAST_TIE)
    if fraction & uint64((1 << TIE_BITS) - 1) < uint64(TIES) and apart == uint64(1):
        x = uint32(mix(uint32(uint32(pair) ^ k0)) ^ k1)
        x = uint32(x + uint32(uint32(v) * uint32(WEYL_0)))
        x = uint32(x + uint32(uint32(pair >> uint64(32)) * uint32(WEYL_1)))
        found = before + uint64(lowbias32(x) >> uint32(31))
    return found


@compiled
def _take(took, m, share, v, ticks, k0, k1):
    """took[i]: whether tick `ticks` + i of node v is its left child's, for i in [0, m); took has
    room for one more. Gives how many of the ticks before were."""
    pair, odd = ticks >> uint64(1), ticks & uint64(1)
    low = uint64(uint64(pair * share) + uint64(HALF))
    high = uint64(mulhi64(pair, share) + uint64(low < uint64(HALF)))
    before = _whole(high, low)
    earlier = before
    i = int64(0) - int64(odd)
    while i < m:
        after_low = uint64(low + share)
        after_high = uint64(high + uint64(after_low < share))
        after = _whole(after_high, after_low)
        middle = _middle(high, low, share, before, after, v, pair, k0, k1)
        if i < 0:
            earlier = middle
        else:
            took[i] = uint8(middle - before)
        took[i + 1] = uint8(after - middle)
        low, high, before = after_low, after_high, after
        pair += uint64(1)
        i += 2
    return earlier


@compiled
def make_room(height, n):
    """For the nodes on the way down to a leaf and right of it, side by side, [places * (n + 2)]:
    flags and lists of batches, extras before them; the lengths of lists; what was taken; and the
    nodes that wait. One-dimensional throughout: a slice of an array costs more than a visit."""
    places = 2 * height + 2
    size = places * (n + 2)
    return (
        np.zeros(size, np.uint8),
        np.empty(size, np.uint32),
        np.empty(size, np.uint64),
        np.zeros(places, np.int64),
        np.empty(n + 2, np.uint8),
        np.empty(6 * places, np.int64),
    )


@compiled
def begin(room, root, n, extra, stride):
    """At the root, which has one more in no batch. Gives how many nodes wait."""
    flags, lists, befores, counts, _, stack = room
    for t in range(n):
        flags[t], lists[t], befores[t] = 0, t, 0
    counts[0] = 0 if stride == 1 else n
    stack[0], stack[1], stack[2] = root, 0, extra
    return int64(root != 0)


@inlined
def _share_out(flags, lists, took, mine, left, right, n, carry, left_wide, right_wide):
    """From the flags of a node to its children's, or their lists. Gives the lengths of these."""
    tick, to_left, to_right = 0, left, right
    for t in range(n):
        ticks = flags[mine + t] ^ carry
        taken = took[tick] & ticks
        tick += int64(ticks)
        left_one, right_one = taken ^ carry, (ticks ^ taken) ^ carry
        if left_wide:
            flags[left + t] = left_one
        if right_wide:
            flags[right + t] = right_one
        lists[to_left] = t
        lists[to_right] = t
        to_left += int64(left_one)
        to_right += int64(right_one)
    return to_left - left, to_right - right


@inlined
def _part(lists, took, mine, left, right, m):
    """From a list to the children's. Gives the length of the left one."""
    to_left, to_right = left, right
    for e in range(m):
        lists[to_left] = lists[mine + e]
        lists[to_right] = lists[mine + e]
        to_left += int64(took[e])
        to_right += int64(uint8(1) - took[e])
    return to_left - left


@inlined
def _visit(
    v, share, split, whole, at, below, flags, lists, befores, counts, took, n, r0, k0, k1
):  # fmt: skip
    """A node, of batches in a row: its first `before` is of r0."""
    mine, left, right = at * (n + 2), below * (n + 2), (below + 1) * (n + 2)
    carry, before, m = split & CARRY, befores[mine], counts[at]
    ticks, m_ticks = before, m
    if carry:
        ticks, m_ticks = uint64(r0) - before, n - m
    taken = _take(took, m_ticks, share, v, ticks, k0, k1)
    if whole:
        left_whole = split >> LEFT_SHIFT
        counts[below], counts[below + 1] = _share_out(
            flags, lists, took, mine, left, right, n, uint8(carry), left_whole > 0,
            whole > left_whole + carry,
        )  # fmt: skip
    else:
        counts[below] = _part(lists, took, mine, left, right, m)
        counts[below + 1] = m - counts[below]
    other = ticks - taken
    befores[left] = uint64(r0) - taken if carry else taken
    befores[right] = uint64(r0) - other if carry else other


@inlined
def _visit_apart(
    v, share, split, whole, at, below, flags, lists, befores, counts, took, n, r0, stride, k0, k1
):  # fmt: skip
    """A node, of batches that lie apart: each with the extras before it."""
    mine, to_left, to_right = at * (n + 2), below * (n + 2), (below + 1) * (n + 2)
    carry, left_whole = uint64(split & CARRY), split >> LEFT_SHIFT
    all_left = (left_whole > 0) | (split & NEED_LEFT != 0)
    all_right = (whole > left_whole + (split & CARRY)) | (split & NEED_RIGHT != 0)
    for e in range(mine, mine + counts[at]):
        t, before, one = lists[e], befores[e], uint64(flags[e])
        r = uint64(r0 + t * stride)
        ticks = r - before if carry else before
        tick = one ^ carry
        taken = _take(took, int64(tick), share, v, ticks, k0, k1)
        take = uint64(took[0]) & (uint64(0) - tick)
        left_one, right_one, other = take ^ carry, (tick - take) ^ carry, ticks - taken
        lists[to_left], flags[to_left] = t, left_one
        befores[to_left] = r - taken if carry else taken
        to_left += int64(all_left | (left_one != 0))
        lists[to_right], flags[to_right] = t, right_one
        befores[to_right] = r - other if carry else other
        to_right += int64(all_right | (right_one != 0))
    counts[below] = to_left - below * (n + 2)
    counts[below + 1] = to_right - (below + 1) * (n + 2)


@inlined
def next_leaf(
    flags, lists, befores, counts, took, stack, waiting, shares, links, n, r0, stride, k0, k1
):  # fmt: skip
    """Go on to the next leaf whose class is drawn in one of the batches.

    Gives the leaf (-1: there is none), its place in the room, and how many nodes wait then.
    Batches in a row: its list is of those in which it has an extra, its first `before` is what it
    had before r0. Batches apart: the list is of all in which it is drawn, each with its own.
    """
    while waiting:
        waiting -= 1
        v, place, whole = stack[3 * waiting], stack[3 * waiting + 1], stack[3 * waiting + 2]
        needed, at = place & 1, place >> 1
        if counts[at] == 0 and whole == 0 and not needed:
            continue
        if v < 0:
            return -1 - v, at, waiting
        below, share, split = (at | 1) + 1, uint64(shares[v]), int64(links[v, SPLIT])
        if stride == 1:
            _visit(
                v,
                share,
                split,
                whole,
                at,
                below,
                flags,
                lists,
                befores,
                counts,
                took,
                n,
                r0,
                k0,
                k1,
            )
        else:
            _visit_apart(
                v,
                share,
                split,
                whole,
                at,
                below,
                flags,
                lists,
                befores,
                counts,
                took,
                n,
                r0,
                stride,
                k0,
                k1,
            )
        left = split >> LEFT_SHIFT
        top = 3 * waiting
        stack[top], stack[top + 1] = links[v, RIGHT], below + 1 << 1 | (split & NEED_RIGHT != 0)
        stack[top + 2] = whole - left - (split & CARRY)
        stack[top + 3], stack[top + 4] = links[v, LEFT], below << 1 | (split & NEED_LEFT != 0)
        stack[top + 5] = left
        waiting += 2
    return -1, 0, waiting
