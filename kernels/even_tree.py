"""The even tree on lanes: how many extras a class had before a batch, and whose an extra is.

in    shares [L] i64 and links [L, 3] i32 of gpusampler/plans/even_tree.py, its root and height,
      batch numbers r of the plan, a key for ties
Twin: gpusampler/cpu/even_tree.c, equal bit for bit.
"""

import triton
import triton.language as tl

from .columns import Columns
from .members import load_u32
from .permutation import hash_pair

# A row a node, i32, and what SPLIT holds (gpusampler/plans/even_tree.py).
LINK = Columns("SPLIT", "LEFT", "RIGHT")
CARRY, LEFT_SHIFT = tl.constexpr(1), tl.constexpr(4)


@triton.jit
def whole(high, low):
    """The 128 bits of a count in units of 2^-62."""
    return (high << 2) | (low >> 62)


@triton.jit
def ticks_of_left(share, v, ticks, k0, k1):
    """Of the first `ticks` ticks of node v, and of one more, how many are its left child's.

    share, ticks and both results u64, v u32; share is times 2^63.
    """
    pair = ticks >> 1
    low = pair * share + (1 << 61)
    high = tl.umulhi(pair, share) + (low < (1 << 61)).to(tl.uint64)
    after_low = low + share
    after_high = high + (after_low < share).to(tl.uint64)
    half = low + (share >> 1)
    near = whole(high + (half < low).to(tl.uint64), half)
    before, after = whole(high, low), whole(after_high, after_low)
    # an odd number of ticks: the nearest, and by a key bit within 16/256 of a half
    fraction = (half >> 54).to(tl.uint32) & 255
    bit = hash_pair(pair.to(tl.uint32), (pair >> 32).to(tl.uint32), v, k0, k1) >> 31
    middle = tl.where((fraction < 16) | (fraction >= 240), before + bit.to(tl.uint64), near)
    apart = after - before
    middle = tl.where(apart == 1, middle, before + (apart >> 1))
    odd = (ticks & 1) != 0
    return tl.where(odd, middle, before), tl.where(odd, after, middle)


@triton.jit
def extras_before(r, leaf, root, height, shares_ptr, links_ptr, k0, k1, mask):
    """Extras of a leaf's class before batch r of the plan: r and result u64; 0 where leaf is -1."""
    v, ones, inside = leaf * 0 + root, r * 0, mask & (leaf >= 0)
    for _ in range(height):
        go = inside & (v > 0)
        share = tl.load(shares_ptr + v, mask=go, other=0).to(tl.uint64, bitcast=True)
        link_ptr = links_ptr + v.to(tl.int64) * LINK.WIDTH
        carry = (load_u32(link_ptr + LINK.SPLIT, go, 0) & CARRY) != 0
        ticks = tl.where(carry, r - ones, ones)
        taken, _ = ticks_of_left(share, v.to(tl.uint32), ticks, k0, k1)
        right = leaf >= v
        taken = tl.where(right, ticks - taken, taken)
        ones = tl.where(go, tl.where(carry, r - taken, taken), ones)
        v = tl.load(link_ptr + LINK.LEFT + right.to(tl.int32), mask=go, other=-1)
    return ones


@triton.jit
def leaf_of(r, k, root, height, shares_ptr, links_ptr, k0, k1, mask):
    """The leaf of extra k of batch r of the plan, and the extras its class had before: i32, u64."""
    v, one, ones = k.to(tl.int32) * 0 + root, r * 0, r * 0
    for _ in range(height):
        go = mask & (v > 0)
        share = tl.load(shares_ptr + v, mask=go, other=0).to(tl.uint64, bitcast=True)
        link_ptr = links_ptr + v.to(tl.int64) * LINK.WIDTH
        split = load_u32(link_ptr + LINK.SPLIT, go, 0)
        carry = (split & CARRY).to(tl.uint64)
        ticks, tick = tl.where(carry != 0, r - ones, ones), one ^ carry
        taken, taken_then = ticks_of_left(share, v.to(tl.uint32), ticks, k0, k1)
        takes = (taken_then - taken) * tick
        left = (split >> LEFT_SHIFT) + (takes ^ carry).to(tl.uint32)
        right = k >= left
        taken = tl.where(right, ticks - taken, taken)
        ones = tl.where(go, tl.where(carry != 0, r - taken, taken), ones)
        one = tl.where(go, tl.where(right, tick - takes, takes) ^ carry, one)
        k = tl.where(go & right, k - left, k)
        # the sum and not a choice, which takes 8 registers more
        child = tl.load(link_ptr + LINK.LEFT + right.to(tl.int32), mask=go, other=0)
        v = child + tl.where(go, 0, v)
    return -1 - v, ones
