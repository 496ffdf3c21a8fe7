"""The launches of the unique kernels on the PTX emulator, and their ahead-of-time specs.

Each gives the batches and the instructions executed. Outputs must be wholly written.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from cases.option_cases import Drawn
from gpusampler.kernels import launch, unique

from emulator.emulated import NAME, members_of
from emulator.shipped import SIZES
from emulator.stratified_emulated import SLOTS, TREE, buffer, run
from gpusampler.bits import random_bits

I32, I64, U32 = "*i32", "*i64", "u32"
SIGNATURES: dict[str, dict[str, str]] = {
    "draw_fixed": {
        "out_ptr": I64, "members_ptr": I32, "rows_ptr": I64, "rank_row_ptr": I32,
        "blocks_ptr": I32, "keys_ptr": I32, "n_slots": "i32", "size": U32, "size_inverse": U32,
        "slot_a": U32, "slot_b": U32, "slot_inverse": U32, "seed": "i64", "g0": "i64",
        "stride": "i64",
    },
    "base_ordinals": {
        "ordinals_ptr": I64, "rows_ptr": I32, "base_rows_ptr": I32, "start_ptr": I64,
        "class_leaf_ptr": I32, "shares_ptr": I64, "links_ptr": I32, "n_lanes": "i32",
        "n_rows": U32, "rows_inverse": U32, **TREE, "r0": "i64", "stride": "i64",
    },
    "draw_base": {
        "out_ptr": I64, "members_ptr": I32, "rows_ptr": I32, "base_rows_ptr": I32,
        "rank_row_ptr": I32, "ordinals_ptr": I64, "blocks_ptr": I32, "keys_ptr": I32,
        "n_lanes": "i32", "n_rows": U32, "ranks": U32, "ranks_inverse": U32, "seed": "i64", **SLOTS,
    },
    "draw_extra": {
        "out_ptr": I64, "members_ptr": I32, "rows_ptr": I32, "start_ptr": I64,
        "leaf_class_ptr": I32, "shares_ptr": I64, "links_ptr": I32, "blocks_ptr": I32,
        "keys_ptr": I32, "n_lanes": "i32", **TREE, "seed": "i64", "r0": "i64", "stride": "i64",
        "first_rank": U32, "ranks": U32, "ranks_inverse": U32, **SLOTS, "round_batches": "i64",
        "round_draws": "i64", "order": "i32", "leaves": U32, "order_a": U32, "order_b": U32,
        "order_inverse": U32,
    },
    "slot_keys": {"keys_ptr": I32, "n": "i32", "seed": "i64", "g0": "i64", "stride": "i64"},
}  # fmt: skip
DRAWS = ("draw_fixed", "draw_base", "draw_extra")


def spec(kernel: str, target: str, members: str = I32, **constexprs: Any) -> dict[str, Any]:
    signature, block = dict(SIGNATURES[kernel]), launch.TABLE_BLOCK
    if kernel in DRAWS:
        signature["members_ptr"], block = members, unique.DRAW_BLOCK
        own = {"MEMBER": random_bits.MEMBER, "SCATTER": random_bits.SCATTER, "IDENTITY": False}
        constexprs = {**own, **constexprs}
    if kernel == "draw_extra":
        constexprs = {"ROUNDS": False, "ORDER_SIZES": SIZES["few"], **constexprs}
    if kernel == "slot_keys":
        constexprs = {"SLOT": random_bits.SLOT}
    return {
        "kernel": f"gpusampler.kernels.unique:{kernel}",
        "target": target,
        "signature": signature,
        "constexprs": {**constexprs, "BLOCK": block},
        "num_warps": launch.WARPS,
    }


def draw_spec(
    kernel: str, target: str, sizes: str, blocks: str, slots: str, **more: Any
) -> dict[str, Any]:
    chosen = {"SIZES": SIZES[sizes], "BLOCK_SIZES": SIZES[blocks], "SLOT_SIZES": SIZES[slots]}
    return spec(kernel, target, **{**chosen, **more})


def variants(target: str, every: bool = False) -> dict[str, dict[str, Any]]:
    """By name, the largest of each kernel; every: those whose code differs most."""
    found = {name: spec(name, target) for name in ("base_ordinals", "slot_keys")}
    shapes = [("mixed", "mixed", "grid")]
    if every:
        shapes += [("few", "few", "few"), ("grid", "mixed", "full"), ("grid", "grid", "ordered")]
    for kernel in DRAWS:
        for shape in shapes:
            found[f"{kernel}-{'-'.join(shape)}"] = draw_spec(kernel, target, *shape)
    return found


def draw(
    drawn: Drawn, g0: int, n: int, target: str, stride: int = 1
) -> tuple[list[list[int]], Counter]:
    """Batches of a case with unique=True, and the instructions of all its kernels."""
    case, plan, size = drawn.case, drawn.plan, drawn.case.batch_size
    seed, counts = random_bits.signed(case.seed), Counter()
    keys = buffer("keys", np.zeros((n, 2), np.int32), writable=True)
    counts += run(spec("slot_keys", target), n, [keys, n, seed, g0, stride])
    keys.assert_fully_written()
    keys = buffer("keys", keys.array)
    members, variant = members_of(case)
    if variant.pop("identity", False):
        variant = {"IDENTITY": True}
    slots = launch.slot_sizes(size, *plan.grid, drawn.by_class)
    shape = (
        NAME[launch.row_sizes(plan.smallest, plan.largest)],
        NAME[launch.row_sizes(*plan.blocks.span)],
    )
    out = buffer("out", case.poisoned(n), writable=True)
    slot_numbers = (size, *launch.sides(*plan.grid))

    def spec_of(kernel: str, **more: Any) -> dict[str, Any]:
        return draw_spec(kernel, target, *shape, "grid", SLOT_SIZES=slots, **variant, **more)

    if drawn.kind == "fixed":
        rows, rank_row, blocks = (buffer(f"table {k}", t) for k, t in enumerate(plan.tables()))
        counts += run(
            spec_of("draw_fixed"), n * size,
            [out, members, rows, rank_row, blocks, keys, n * size, size, launch.inverse(size),
             *slot_numbers[1:], seed, g0, stride],
        )  # fmt: skip
        out.assert_fully_written()
        return out.array.tolist(), counts
    rows, base_rows, rank_row, start, leaf_class, class_leaf, shares, links, blocks = (
        buffer(f"table {k}", t) for k, t in enumerate(plan.tables())
    )
    n_rows, ranks, r0 = len(plan.base_rows), len(plan.rank_row), g0 - case.first
    tree = *plan.tree, *random_bits.tree_key(case.seed, case.segment)
    if ranks:
        ordinals = buffer("ordinals", np.zeros((n, n_rows), np.int64), writable=True)
        counts += run(
            spec("base_ordinals", target), n * n_rows,
            [ordinals, rows, base_rows, start, class_leaf, shares, links, n * n_rows, n_rows,
             launch.inverse(n_rows), *tree, r0, stride],
        )  # fmt: skip
        ordinals.assert_fully_written()
        counts += run(
            spec_of("draw_base"), n * ranks,
            [out, members, rows, base_rows, rank_row, buffer("ordinals", ordinals.array), blocks,
             keys, n * ranks, n_rows, ranks, launch.inverse(ranks), seed, *slot_numbers],
        )  # fmt: skip
    extra, leaves = size - ranks, len(plan.leaf_class)
    if extra:
        more = {}
        if plan.round_batches:
            more = {"ROUNDS": True, "ORDER_SIZES": launch.slot_sizes(leaves, *plan.order_grid)}
        counts += run(
            spec_of("draw_extra", **more), n * extra,
            [out, members, rows, start, leaf_class, shares, links, blocks, keys, n * extra, *tree,
             seed, r0, stride, ranks, extra, launch.inverse(extra), *slot_numbers,
             plan.round_batches, plan.round_draws,
             random_bits.CLASS_ORDER | case.segment << 8, leaves,
             *launch.sides(*plan.order_grid)],
        )  # fmt: skip
    out.assert_fully_written()
    return out.array.tolist(), counts
