"""The shipped kernels as ahead-of-time specs (aot.py), with the launches' own settings."""

from __future__ import annotations

from typing import Any

from gpusampler.kernels import launch, permutation

from gpusampler.bits import random_bits

SIZES = {
    "few": permutation.FEW.value,
    "grid": permutation.GRID.value,
    "mixed": permutation.MIXED.value,
    "full": permutation.FULL_GRID.value,
    "ordered": permutation.IN_ORDER.value,
}
PTR = {"out_ptr": "*i64", "members_ptr": "*i32", "rows_ptr": "*i64"}
SIGNATURES = {
    "window_tables": {
        "window_ptr": "*i32", "keys_ptr": "*i32", "rows_ptr": "*i64", "key_ends_ptr": "*i64",
        "n_rows": "i32", "n_keys": "i64", "n_batches": "i64", "steps": "i32", "seed": "i64",
        "g0": "i64", "stride": "i32",
    },
    "draw_fixed": {
        **PTR, "rank_row_ptr": "*i32", "window_ptr": "*i32", "keys_ptr": "*i32",
        "n_slots": "i32", "n_keys": "i32", "size": "u32", "size_inverse": "u32",
        "slot_a": "u32", "slot_b": "u32", "slot_inverse": "u32",
    },
    "draw_random": {
        **PTR, "cuts_ptr": "*i64", "guide_ptr": "*i32", "classes_ptr": "*i64",
        "n_slots": "i32", "size": "u32", "size_inverse": "u32", "steps": "i32",
        "guide_shift": "i32", "seed": "i64", "g0": "i64", "stride": "i32",
    },
}  # fmt: skip
BLOCKS = {
    "window_tables": launch.TABLE_BLOCK,
    "draw_fixed": launch.FIXED_BLOCK,
    "draw_random": launch.RANDOM_BLOCK,
}


def spec(kernel: str, target: str, members: str = "*i32", **constexprs: Any) -> dict[str, Any]:
    signature = dict(SIGNATURES[kernel])
    if "members_ptr" in signature:
        signature["members_ptr"] = members
    return {
        "kernel": f"gpusampler.kernels.draw:{kernel}",
        "target": target,
        "signature": signature,
        "constexprs": {**constexprs, "BLOCK": BLOCKS[kernel]},
        "num_warps": launch.WARPS,
    }


def tables(target: str) -> dict[str, Any]:
    purposes = {"MEMBER": random_bits.MEMBER, "SLOT": random_bits.SLOT}
    return spec("window_tables", target, **purposes)


def fixed(target: str, sizes: str, slots: str, **more: Any) -> dict[str, Any]:
    identity = more.pop("identity", False)
    chosen = {"IDENTITY": identity, "SIZES": SIZES[sizes], "SLOT_SIZES": SIZES[slots]}
    return spec("draw_fixed", target, **more, **chosen)


def random(target: str, drawn: bool = False, **more: Any) -> dict[str, Any]:
    identity = more.pop("identity", False)
    chosen = {"PICK": random_bits.PICK, "DRAWN": drawn, "IDENTITY": identity}
    return spec("draw_random", target, **more, **chosen)


def variants(target: str) -> dict[str, dict[str, Any]]:
    """Every variant whose code differs, by name."""
    found = {"tables": tables(target)}
    for sizes in ("few", "grid", "mixed"):
        for slots in ("few", "grid", "full"):
            found[f"fixed-{sizes}-{slots}"] = fixed(target, sizes, slots)
    found["fixed-grid-full-i64"] = fixed(target, "grid", "full", members="*i64")
    found["fixed-grid-full-identity"] = fixed(target, "grid", "full", identity=True)
    found["random-counter"] = random(target)
    found["random-drawn"] = random(target, drawn=True)
    found["random-counter-i64"] = random(target, members="*i64")
    found["random-counter-identity"] = random(target, identity=True)
    return found
