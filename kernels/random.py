"""Random batches: the tables of a plan in, all batches of a window out.

    draw_random  one lane per slot: draw a class (or take it), pick a member, gather

in    rows [A, 3] i64, cuts [A + 1] i64 and guide i32 of RandomPlan, members [M] i32 | i64, seed
      and first batch g0 as scalars; where classes are drawn already, rows of them [n, B] i64
out   indices [n, B] i64, every element written once; no atomics, so any grid agrees
twin  gpusampler/cpu/random.c, equal bit for bit
"""

from typing import Any

import triton
import triton.language as tl

from .columns import Columns
from .launch import NARROW_BLOCK, WARPS, Call, inverse, kernel
from .members import member_at
from .permutation import divide
from .philox import words

# A row a class, i64 (gpusampler/plans/random.py).
ROW = Columns("CLASS", "SIZE", "FIRST")


@triton.jit
def picked(high, low, n):
    """(64 bits * n) >> 64 on u32 halves, n < 2^31: bias below n / 2^64."""
    carried = high.to(tl.uint64) * n.to(tl.uint64) + tl.umulhi(low, n).to(tl.uint64)
    return (carried >> 32).to(tl.int64)


@triton.jit
def drawn_row(cuts_ptr, guide_ptr, high, low, shift, steps, mask):
    """The last row whose cut is at most the 64 bits: the guide gives a span, bisection the row."""
    u = (high.to(tl.uint64) << 32) | low.to(tl.uint64)
    part_ptr = guide_ptr + (high >> shift.to(tl.uint32)).to(tl.int64)
    first = tl.load(part_ptr, mask=mask, other=0)
    last = tl.load(part_ptr + 1, mask=mask, other=0)
    for _ in range(steps):
        middle = (first + last + 1) >> 1
        cut = tl.load(cuts_ptr + middle, mask=mask, other=0).to(tl.uint64, bitcast=True)
        reached = cut <= u
        last = tl.where(reached, last, tl.maximum(first, middle - 1))
        first = tl.where(reached, middle, first)
    return first.to(tl.int64)


@kernel
def draw_random(
    out_ptr, members_ptr, rows_ptr, cuts_ptr, guide_ptr, classes_ptr,
    n_slots: "i32", size: "u32", size_inverse: "u32", steps: "i32", guide_shift: "i32",
    seed: "i64", g0: "i64", stride: "i32",
    PICK: tl.constexpr, DRAWN: tl.constexpr, IDENTITY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One lane per slot: the class from words 0 and 1 of (g, slot), the member from 2 and 3."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_slots.to(tl.uint32)
    batch, slot = divide(lane, size.to(tl.uint32), size_inverse.to(tl.uint32))
    w0, w1, w2, w3 = words(seed, g0 + batch.to(tl.int64) * stride, slot, slot * 0 + PICK)
    if DRAWN:
        row = tl.load(classes_ptr + lane.to(tl.int64), mask=mask, other=0)
    else:
        row = drawn_row(cuts_ptr, guide_ptr, w1, w0, guide_shift, steps, mask)
    row_ptr = rows_ptr + row * ROW.WIDTH
    n = tl.load(row_ptr + ROW.SIZE, mask=mask, other=1).to(tl.uint32)
    index = tl.load(row_ptr + ROW.FIRST, mask=mask, other=0) + picked(w3, w2, n)
    index = member_at(members_ptr, index, mask, IDENTITY)
    tl.store(out_ptr + lane.to(tl.int64), index, mask=mask)


def launch(*given: Any) -> None:
    """Fill a window with batches of a random plan. Takes what makes a Call; given.classes is
    [n, B] i64, the row of each slot where already drawn."""
    call = Call(*given)
    (n, size), (rows, cuts, guide, *_), classes = call.out.shape, call.tables, call.given.classes
    bits = (len(guide) - 1).bit_length() - 1
    draw_random[(triton.cdiv(n * size, NARROW_BLOCK),)](
        call.out, call.held, rows, cuts, guide, call.out if classes is None else classes,
        n * size, size, inverse(size), call.given.plan.steps, 32 - bits,
        call.seed, call.g0, call.stride,
        PICK=call.purposes.PICK, DRAWN=classes is not None, IDENTITY=call.members is None,
        BLOCK=NARROW_BLOCK, num_warps=WARPS,
    )  # fmt: skip
