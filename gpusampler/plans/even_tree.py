r"""Even tree: how the classes of a stratified plan share out the extras that are left to a batch.

Takes the classes' rests, in ascending order, and the total that they are parts of. Gives a binary
tree over them as arrays, and how many of its ticks a node gives to its left child.
Knows nothing of class ids, batch sizes or seeds.

Say that one extra a batch is left to classes a, b and c, of which they are due 3/6, 2/6 and 1/6:

            node 1: an extra in every batch            batch    0 1 2 3 4 5
             /                       \                 node 2   x x x . x x
         c: 1/6             node 2: in 5/6 of them     a        x . x . . x
                             /            \            b        . x . . x .
                         b: 2/6          a: 3/6        c        . . . x . .

Node 1 has an extra for one of its children in every batch: these batches are its ticks. It gives
node 2 its share of them, 5/6, rounded to the nearest after each tick: 1, 2, 3, 3, 4, 5 (of the 2.5
after three a key decides). Node 2 has 5 ticks in 6 batches, and gives 2/5 of them to b in the same
way. So two multiplications tell who has the extra of batch 10^12, and how many each class had
before. In general a node's quota is the sum of its rests over the total; every batch has it rounded
down or up, and where that leaves open which child has one more, the batch is a tick.

Source  an even form of pivotal sampling: Deville and Tille, "Unequal probability sampling without
        replacement through a splitting method", 1998.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

import numpy as np

from gpusampler.bits.keyed_order import mix
from gpusampler.bits.random_bits import U32, WEYL_0, WEYL_1
from gpusampler.plans.table_checks import check_range, check_same, refuse

# Columns of the links of a tree. SPLIT is four bits, and above them the extras that the left child
# has in every batch. A link is a node, or -1 - a leaf.
SPLIT, LEFT, RIGHT = range(3)
CARRY, NEED_LEFT, NEED_RIGHT, EXACT, LEFT_SHIFT = 1, 2, 4, 8, 4

SHARE_BITS = 63
PAIR_BITS = SHARE_BITS - 1  # of a share of two ticks
HALF = 1 << PAIR_BITS - 1
TIE_BITS, TIE = 8, 16  # a key bit decides within 16/256 of a half

BOUND_BITS = 16
AT_A_NODE = (1 << BOUND_BITS - 1) + (TIE << BOUND_BITS - TIE_BITS)  # the most that a node adds
TINY, AT_TINY = 1 << 18, 1 << BOUND_BITS - 3  # of a share less than 1/8 of 2^42 ticks
MOST = 2 << BOUND_BITS  # of a complete tree; past it another may be better
MOST_LEAVES, MOST_SPLITS = 1 << 16, 64  # of that one, and of how many it looks at for a node


Tree = tuple[np.ndarray, np.ndarray, int, int]


def even_tree(rests: list[int], total: int, based: np.ndarray) -> Tree:
    """A tree over these leaves: a complete one, or where that keeps the counts closer one whose
    nodes share evenly.

    based    [L] bool: the leaf's class is drawn in every batch, too
    Returns  shares [L] int64, bits of uint64, by node: the left child's share of its ticks, times
             2^63. Nodes are 1 .. L - 1; a leaf below node v is to its right if it is at least v
             links [L, 3] int32, by node: SPLIT and the two children. Its bits: CARRY, ticks are the
             batches in which the node has not one more, and a child then goes without; NEED, a
             class with base draws is below; EXACT, the node's quota is a whole number
             root, its node, 0 where there are no leaves; height, the most nodes above a leaf

    >>> shares, links, root, height = even_tree([1, 1, 1, 3], 6, np.zeros(4, bool))
    >>> root, height, links[root].tolist(), float(shares[1].view(np.uint64) / 2**63)
    (2, 2, [9, 1, 3], 0.5)
    """
    ends = [0, *accumulate(rests)]
    tree = _laid_out(ends, total, based, _complete_split)
    if _most(tree) > MOST and len(rests) <= MOST_LEAVES:
        cuts = np.array([(end << 64) // total & (1 << 64) - 1 for end in ends], np.uint64)
        even = _laid_out(ends, total, based, lambda low, high: _even_split(cuts, low, high))
        tree = min(tree, even, key=_most)
    return tree


def _complete_split(low: int, high: int) -> int:
    """The split of leaves low .. high of a complete binary tree, the larger side to the right: most
    nodes then have the same number of leaves, of like rests, on both sides.

    >>> [_complete_split(0, n) for n in (2, 3, 4, 5, 6, 7, 8, 100)]
    [1, 1, 2, 2, 2, 3, 4, 36]
    """
    leaves = high - low
    half = 1 << leaves.bit_length() - 2
    return high - half - min(leaves - 2 * half, half)


def _even_split(cuts: np.ndarray, low: int, high: int) -> int:
    """The split of leaves low .. high whose sides have the most even shares of the ticks."""
    between = high - low - 1
    steps = np.arange(min(between, MOST_SPLITS))
    v = low + 1 + (steps if between <= MOST_SPLITS else steps * (between - 1) // (MOST_SPLITS - 1))
    left, right = cuts[v] - cuts[low : low + 1], cuts[high : high + 1] - cuts[v]  # mod 2^64
    rest = float((int(cuts[high]) - int(cuts[low])) % (1 << 64))
    gap = float((int(cuts[low]) - int(cuts[high])) % (1 << 64) or 1 << 64)
    ticks = np.where(left + right < left, gap, rest)
    apart = np.where(left > right, left - right, right - left).astype(np.float64)
    uneven = np.where(ticks > 0, apart / np.maximum(ticks, 1), 0)
    best = v[uneven == uneven.min()]
    return int(best[np.argmin(np.abs(2 * best - low - high))])


def _most(tree: Tree) -> int:
    shares, links, root, _ = tree
    return max((int(bound.max(initial=0)) for _, bound in bounds(root, links, shares)), default=0)


def _laid_out(
    ends: list[int], total: int, based: np.ndarray, split: Callable[[int, int], int]
) -> Tree:
    """A tree, in Python ints, as the total may have hundreds of bits."""
    leaves = len(ends) - 1
    shares, splits = [0] * leaves, [0] * leaves
    children = [0] * 2 * leaves
    based_before = [0, *np.cumsum(based).tolist()]
    root, height, waiting = 0, 0, [(0, leaves, -1, 0)] if leaves else []
    while waiting:  # lists, as numbers put into an array one by one take twice the time
        low, high, link, above = waiting.pop()
        if high - low == 1:
            children[link], height = -1 - low, max(height, above)
            continue
        v = split(low, high)
        if above:
            children[link] = v
        else:
            root = v
        whole_left, left = divmod(ends[v] - ends[low], total)
        right, rest = (ends[high] - ends[v]) % total, (ends[high] - ends[low]) % total
        carry = left + right >= total
        part, ticks = (total - left, total - rest) if carry else (left, rest)
        shares[v] = (part << SHARE_BITS) // ticks if ticks else 0
        need_left = based_before[v] > based_before[low]
        need_right = based_before[high] > based_before[v]
        splits[v] = (
            carry * CARRY | need_left * NEED_LEFT | need_right * NEED_RIGHT
            | (rest == 0) * EXACT | whole_left << LEFT_SHIFT
        )  # fmt: skip
        waiting += [(v, high, 2 * v + 1, above + 1), (low, v, 2 * v, above + 1)]
    links = np.zeros((leaves, 3), np.int32)
    links[:, SPLIT], links[:, LEFT:] = splits, np.array(children).reshape(leaves, 2)
    return np.array(shares, np.uint64).view(np.int64), links, root, height


def down(
    root: int,
    links: np.ndarray,
    share_out: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What leaves have when the root has 0 and share_out(v, has) says what nodes' children have:
    (leaves, has), those of one level at a time."""
    v, has = np.array([root] if root else [], np.int64), np.zeros(1 if root else 0, np.uint64)
    while len(v):
        below = np.concatenate([links[v, LEFT], links[v, RIGHT]]).astype(np.int64)
        has = np.concatenate(share_out(v, has))
        yield -1 - below[below < 0], has[below < 0]
        v, has = below[below >= 0], has[below >= 0]


def bounds(
    root: int, links: np.ndarray, shares: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """How far a leaf's count can be from its due, in units of 2^-BOUND_BITS: its share of how far
    its parent's can be (0 where that is EXACT), and what the parent adds. In integers, as it
    decides on a tree's shape."""

    def share_out(v: np.ndarray, bound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bound = np.where(links[v, SPLIT] & EXACT, np.uint64(0), bound)
        share = shares[v].view(np.uint64)
        lesser = np.minimum(share, np.uint64(1 << SHARE_BITS) - share)
        added = np.where(lesser < TINY, np.uint64(AT_TINY), np.uint64(AT_A_NODE))
        added = np.where(lesser == 0, np.uint64(0), added)
        left = share >> np.uint64(SHARE_BITS - 32)
        up, right = np.uint64((1 << 32) - 1), np.uint64(1 << 32) - left
        return (bound * left + up >> np.uint64(32)) + added, (
            bound * right + up >> np.uint64(32)
        ) + added

    return down(root, links, share_out)


def ticks_of_left(
    share: np.ndarray, v: np.ndarray, ticks: np.ndarray, key: tuple[int, int]
) -> np.ndarray:
    """How many of the first `ticks` ticks of each node v are its left child's, all uint64.

    After an even number of them the nearest to its share; after an odd one too, unless that is
    nearly as far as the other: then a key bit decides.
    """
    pairs, share = ticks >> 1, share.astype(np.uint64)
    high, low = _product(pairs, share)
    low = low + np.uint64(HALF)
    high = high + (low < HALF)
    before, after = _whole(high, low), _whole(high + (low + share < share), low + share)
    half = low + (share >> 1)
    near = _whole(high + (half < low), half)
    fraction = half >> PAIR_BITS - TIE_BITS & (1 << TIE_BITS) - 1
    tie = (fraction < TIE) | (fraction >= (1 << TIE_BITS) - TIE)
    middle = np.where(tie, before + _tie_bits(v.astype(np.uint64), pairs, key), near)
    middle = np.where(after - before == 1, middle, before + (after - before >> 1))
    return np.where(ticks & 1, middle, before)


def _product(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The high and low 64 bits of p * q."""
    p0, p1, q0, q1 = p & U32, p >> 32, q & U32, q >> 32
    middle = p1 * q0 + (p0 * q0 >> 32)
    other = p0 * q1 + (middle & U32)
    return p1 * q1 + (middle >> 32) + (other >> 32), p * q


def _whole(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return high << 64 - PAIR_BITS | low >> PAIR_BITS


def _tie_bits(v: np.ndarray, pairs: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    x = mix((pairs & U32) ^ key[0]) ^ key[1]
    x = x + v * WEYL_0 + (pairs >> 32) * WEYL_1 & U32
    x = mix(x ^ x >> 16)
    return (x ^ x >> 16) >> 31


def check_tree(
    based: np.ndarray, shares: np.ndarray, links: np.ndarray, root: int, height: int, extra: int
) -> None:
    """The nodes above leaves low .. high split them at v, each once; and of a node's extras in
    every batch as many go down as reach it, none of them to a leaf."""
    leaves = len(based)
    if len(shares) != leaves or len(links) != leaves or leaves == 1 or (leaves > 0) != (extra > 0):
        refuse(f"shares and links must be of the {leaves} leaves, for {extra} extras")
    check_range("shares", shares[shares != -(1 << SHARE_BITS)], 0, (1 << SHARE_BITS) - 1)
    before, levels = np.append(0, np.cumsum(based)), 0
    v, low, high, whole = (np.array([x] if leaves else []) for x in (root, 0, leaves, extra))
    while len(v):
        if ((v <= low) | (v >= high)).any() or levels > leaves:
            refuse("a node must split the leaves that are below it")
        split, levels = links[v, SPLIT].astype(np.int64), levels + 1
        left = split >> LEFT_SHIFT
        needs = (before[v] > before[low]) * NEED_LEFT | (before[high] > before[v]) * NEED_RIGHT
        check_same("links", split & (NEED_LEFT | NEED_RIGHT), needs)
        below = np.concatenate([links[v, LEFT], links[v, RIGHT]]).astype(np.int64)
        whole = np.concatenate([left, whole - left - (split & CARRY)])
        low, high = np.concatenate([low, v]), np.concatenate([v, high])
        leaf = high - low == 1
        check_same("links", -1 - below[leaf], low[leaf])
        if (whole < 0).any() or whole[leaf].any():
            refuse("the extras of a batch must come down to no leaf twice")
        v, low, high, whole = (x[~leaf] for x in (below, low, high, whole))
    if height != levels or (leaves == 0 and root != 0):
        refuse(f"root and height must be the tree's, of {levels} levels, not {root} and {height}")
