"""Block tables of a stratified plan: plan tables in, what the batches of each block share out.

    block_points  one lane per batch: its point on the line
    class_draws   one lane per class: how far it has come, and its extras in the block
    class_order   one lane per place on the line: the class there, and its length
    lay_line      one lane per place: where it ends, once the lengths are summed

in    rows [C, 8] i32, start [C] i64, cut_high [C+1] i64, cut_low [C+1] i32, scalars
out   draws [J, C, 4], ends [J, C], classes [J, C], guide [J, extra+1], points [J, 1024], all i32,
      every element written once; no atomics, so any grid agrees
keys  Philox4x32-10, purposes TREE and CLASS_ORDER with the segment above them
twin  gpusampler/cpu_stratified_blocks.py, equal bit for bit; it says what each table holds
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .draw import as_i32, load_u32
from .launch import WARPS, inverse, slot_sizes
from .permutation import permute
from .philox import words

BITS = tl.constexpr(10)  # of the number of a batch in its block
LAST = tl.constexpr(1023)  # batch of a block
TABLE_BLOCK = 128


@triton.jit(do_not_specialize=["seed", "tree", "first_block"])
def block_points(
    points_ptr, seed: "i64", tree: "i32", first_block: "i64", BLOCK: tl.constexpr,
):  # fmt: skip
    """points [J, 1024]: u(i), bit k of i, turned by a key bit, as bit k from the top."""
    block = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    z = i * 0 + (first_block + block + 1).to(tl.int32)
    u = i * 0
    for k in range(BITS):
        x = ((i >> (k + 1)) << 6) | k
        turn, _, _, _ = words(seed, x, z, z * 0 + tree)
        u |= (((i >> k) & 1) ^ (turn >> 31).to(tl.int32)) << (BITS - 1 - k)
    tl.store(points_ptr + (block << BITS) + i, u)


@triton.jit
def between_point(seed, tree, j):
    """u_0(j), 32 bits in an i64: one lane per bit."""
    k = tl.arange(0, 32).to(tl.int64)
    turn, _, _, _ = words(seed, ((j >> (k + 1)) << 6) | k, k * 0, k * 0 + tree)
    bit = ((j >> k) & 1) ^ (turn >> 31).to(tl.int64)
    return tl.sum(bit << (31 - k))


@triton.jit(do_not_specialize=["count", "seed", "tree", "first_block"])
def class_draws(
    draws_ptr, rows_ptr, start_ptr, high_ptr, low_ptr,
    count: "i32", seed: "i64", tree: "i32", first_block: "i64", BLOCK: tl.constexpr,
):  # fmt: skip
    """draws [J, C, 4]: position, extras in the block, cycle low, cycle high."""
    block = tl.program_id(1).to(tl.int64)
    c = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    mask = c < count
    j = first_block + block
    u = between_point(seed, tree, j)
    high = tl.load(high_ptr + c + 1, mask=mask, other=0) - tl.load(high_ptr + c, mask=mask, other=0)
    low = load_u32(low_ptr + c, mask, 0).to(tl.int64)
    next_low = load_u32(low_ptr + c + 1, mask, 0).to(tl.int64)

    passed = j * high  # differences of totals that may wrap
    for k in range(32):
        half = tl.full([], 1, tl.int64) << (31 - k)
        rest = (u ^ half) & (half + half - 1)
        further = ((next_low + rest) >> (32 - k)) - ((low + rest) >> (32 - k))
        passed += further * ((j >> k) & 1)
    extras = high + ((next_low + u) >> 32) - ((low + u) >> 32)

    n = tl.load(rows_ptr + c * 8, mask=mask, other=1).to(tl.int64)
    base = tl.load(rows_ptr + c * 8 + 5, mask=mask, other=0).to(tl.int64)
    ordinal = tl.load(start_ptr + c, mask=mask, other=0) + (j << BITS) * base + passed
    cycle = ordinal // n
    at_ptr = draws_ptr + (block * count + c) * 4
    tl.store(at_ptr, as_i32(ordinal - cycle * n), mask=mask)
    tl.store(at_ptr + 1, as_i32(extras), mask=mask)
    tl.store(at_ptr + 2, as_i32(cycle), mask=mask)
    tl.store(at_ptr + 3, as_i32(cycle >> 32), mask=mask)


@triton.jit(
    do_not_specialize=["count", "a", "b", "b_inverse", "seed", "order", "first_block"]
)  # fmt: skip
def class_order(
    classes_ptr, lengths_ptr, draws_ptr,
    count: "i32", a: "u32", b: "u32", b_inverse: "u32", seed: "i64", order: "i32",
    first_block: "i64", SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """classes [J, C] and lengths [J, C] i64, by place on the line."""
    block = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    mask = i < count
    zero = i * 0
    k0, k1, _, _ = words(seed, zero + (first_block + block), zero, zero + order)
    n, a, b = (zero + count).to(tl.uint32), a.to(tl.uint32), b.to(tl.uint32)
    c = permute(i.to(tl.uint32), n, a, b, b_inverse.to(tl.uint32), k0, k1, mask, SIZES)
    length = tl.load(draws_ptr + (block * count + c.to(tl.int64)) * 4 + 1, mask=mask, other=0)
    tl.store(classes_ptr + block * count + i, as_i32(c), mask=mask)
    tl.store(lengths_ptr + block * count + i, length.to(tl.int64), mask=mask)


@triton.jit(do_not_specialize=["count", "extra"])
def lay_line(
    ends_ptr, draws_ptr, guide_ptr, lengths_ptr, line_ptr, classes_ptr,
    count: "i32", extra: "i32", BLOCK: tl.constexpr,
):  # fmt: skip
    """ends [J, C], the spans in draws, and guide [J, extra+1]; line is the sum of lengths."""
    block = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    mask = i < count
    at = block * count + i
    end = tl.load(line_ptr + at, mask=mask, other=0)
    length = tl.load(lengths_ptr + at, mask=mask, other=0)
    c = tl.load(classes_ptr + at, mask=mask, other=0).to(tl.int64)
    low = end - length
    span = ((low & LAST) << (BITS + 1)) | length
    tl.store(ends_ptr + at, as_i32(end), mask=mask)
    tl.store(draws_ptr + (block * count + c) * 4 + 1, as_i32(span), mask=mask)
    k = (low + LAST) >> BITS  # a class has at most 1024, so it holds one k at most
    guides_ptr = guide_ptr + block * (extra + 1)
    tl.store(guides_ptr + k, as_i32(i), mask=mask & ((k << BITS) < end))
    tl.store(guides_ptr + i * 0 + extra, as_i32(i), mask=i == count - 1)


def stratified_blocks(
    tables: tuple[Tensor, Tensor, Tensor, Tensor, Tensor], rows: Tensor, start: Tensor,
    cut_high: Tensor, cut_low: Tensor, grid: tuple[int, int], seed: int, first_block: int,
    tree: int, order: int,
) -> None:  # fmt: skip
    """Fill tables (draws, ends, classes, guide, points) for the blocks from first_block on.

    rows, start, cut_high, cut_low  of StratifiedPlan;  grid: of the order of the classes
    seed         64 bits, as a signed integer
    tree, order  the purposes TREE and CLASS_ORDER, with the segment above them
    """
    draws, ends, classes, guide, points = tables
    blocks, count = ends.shape
    a, b = grid
    lengths = torch.empty((blocks, count), dtype=torch.int64, device=ends.device)
    grid_of_classes = (triton.cdiv(count, TABLE_BLOCK), blocks)
    block_points[((LAST.value + 1) // TABLE_BLOCK, blocks)](
        points, seed, tree, first_block, BLOCK=TABLE_BLOCK, num_warps=WARPS
    )
    class_draws[grid_of_classes](
        draws, rows, start, cut_high, cut_low, count, seed, tree, first_block,
        BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
    class_order[grid_of_classes](
        classes, lengths, draws, count, a, max(b, 1), inverse(max(b, 1)), seed, order, first_block,
        SIZES=slot_sizes(count, a, b), BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
    lay_line[grid_of_classes](
        ends, draws, guide, lengths, lengths.cumsum(1), classes, count, guide.shape[1] - 1,
        BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
