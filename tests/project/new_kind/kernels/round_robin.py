"""Round robin: the rows of a plan in, all batches of a window out; one lane a slot."""

from typing import Any

import triton
import triton.language as tl

from .columns import Columns
from .launch import NARROW_BLOCK, WARPS, Call, kernel
from .members import member_at

ROW = Columns("SIZE", "FIRST")


@kernel
def draw(
    out_ptr, members_ptr, rows_ptr, n_slots: "i64", size: "i64", classes: "i64", g0: "i64",
    stride: "i64", IDENTITY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    mask = lane < n_slots
    d = (g0 + lane // size * stride) * size + lane % size
    row_ptr = rows_ptr + d % classes * ROW.WIDTH
    n = tl.load(row_ptr + ROW.SIZE, mask=mask, other=1)
    index = tl.load(row_ptr + ROW.FIRST, mask=mask, other=0) + d // classes % n
    index = member_at(members_ptr, index, mask, IDENTITY)
    tl.store(out_ptr + lane, index, mask=mask)


def launch(*given: Any) -> None:
    """Fill a window with batches of a RoundRobinPlan. Takes what makes a Call."""
    call = Call(*given)
    (rows,), (n, size) = call.tables, call.out.shape
    draw[(triton.cdiv(n * size, NARROW_BLOCK),)](
        call.out, call.held, rows, n * size, size, len(rows), call.g0, call.stride,
        IDENTITY=call.members is None, BLOCK=NARROW_BLOCK, num_warps=WARPS,
    )  # fmt: skip
