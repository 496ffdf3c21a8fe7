"""Round robin: the rows of a plan in, all batches of a window out; one lane a slot."""

import triton
import triton.language as tl

SIZE, FIRST, COLUMNS = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
BLOCK = 128


@triton.jit(do_not_specialize=["n_slots", "size", "classes", "g0", "stride"])
def draw(
    out_ptr, members_ptr, rows_ptr, n_slots: "i64", size: "i64", classes: "i64", g0: "i64",
    stride: "i64", IDENTITY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    mask = lane < n_slots
    d = (g0 + lane // size * stride) * size + lane % size
    row_ptr = rows_ptr + d % classes * COLUMNS
    n = tl.load(row_ptr + SIZE, mask=mask, other=1)
    index = tl.load(row_ptr + FIRST, mask=mask, other=0) + d // classes % n
    if not IDENTITY:
        index = tl.load(members_ptr + index, mask=mask, other=0).to(tl.int64)
    tl.store(out_ptr + lane, index, mask=mask)


def launch(out, members, tables, given, purposes, seed, g0, stride):
    """Fill out [n, B] i64 with batches g0, g0 + stride, ... of a RoundRobinPlan."""
    (rows,), (n, size) = tables, out.shape
    held = out if members is None else members
    draw[(triton.cdiv(n * size, BLOCK),)](
        out, held, rows, n * size, size, len(rows), g0, stride,
        IDENTITY=members is None, BLOCK=BLOCK,
    )  # fmt: skip
