"""The launches of the unique kernels on the PTX emulator, and their ahead-of-time specs.

Each gives the batches and the instructions executed. Outputs must be wholly written.
"""

from __future__ import annotations

from typing import Any

from gpusampler.kernels import launch, unique
from shipped import SIZES
from stratified_emulated import SLOTS, TREE

from gpusampler import random_bits

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
    return spec(kernel, target, **chosen, **more)


def variants(target: str, every: bool = False) -> dict[str, dict[str, Any]]:
    """By name, the largest of each kernel; every: those whose code differs most."""
    found = {name: spec(name, target) for name in ("base_ordinals", "slot_keys")}
    shapes = [("mixed", "mixed", "grid")]
    if every:
        shapes += [("few", "few", "few"), ("grid", "mixed", "full"), ("grid", "grid", "grid")]
    for kernel in DRAWS:
        for shape in shapes:
            found[f"{kernel}-{'-'.join(shape)}"] = draw_spec(kernel, target, *shape)
    return found
