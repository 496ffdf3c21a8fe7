"""The launches of the stratified kernels on the PTX emulator, and their ahead-of-time specs.

Each gives what it fills and the instructions executed. Outputs must be wholly written.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from cases.stratified_cases import StratifiedCase, tables_of, tree_of
from gpusampler.kernels import launch, stratified

from emulator import aot, ptx
from emulator.emulated import NAME, members_of
from emulator.shipped import SIZES
from gpusampler.bits import random_bits

I32, I64, U32 = "*i32", "*i64", "u32"
SLOTS = dict.fromkeys(("size", "slot_a", "slot_b", "slot_inverse"), U32)
TREE = {"root": "i32", "height": "i32", "key_0": U32, "key_1": U32}
SIGNATURES: dict[str, dict[str, str]] = {
    "window_keys": {
        "window_ptr": I32, "keys_ptr": I32, "rows_ptr": I32, "base_rows_ptr": I32,
        "start_ptr": I64, "class_leaf_ptr": I32, "shares_ptr": I64, "links_ptr": I32,
        "key_ends_ptr": I64, "n_rows": "i32", "root": "i32", "height": "i32", "n_keys": "i64",
        "n": "i64", "key_steps": "i32", "key_0": U32, "key_1": U32, "seed": "i64", "g0": "i64",
        "stride": "i64", "first": "i64",
    },
    "class_extras": {
        "extras_ptr": I32, "base_rows_ptr": I32, "class_leaf_ptr": I32, "shares_ptr": I64,
        "links_ptr": I32, "n_lanes": "i32", "n_rows": U32, "rows_inverse": U32, **TREE,
        "r0": "i64", "stride": "i64",
    },
    "draw_base": {
        "out_ptr": I64, "members_ptr": I32, "rows_ptr": I32, "rank_row_ptr": I32,
        "window_ptr": I32, "extras_ptr": I32, "keys_ptr": I32, "n_lanes": "i32", "n_rows": U32,
        "slot_keys": U32, "stride": U32, "ranks": U32, "ranks_inverse": U32, **SLOTS,
    },
    "draw_extra": {
        "out_ptr": I64, "members_ptr": I32, "rows_ptr": I32, "start_ptr": I64,
        "leaf_class_ptr": I32, "shares_ptr": I64, "links_ptr": I32, "keys_ptr": I32,
        "n_lanes": "i32", **TREE, "seed": "i64", "r0": "i64", "stride": "i64", "slot_keys": U32,
        "first_rank": U32, "ranks": U32, "ranks_inverse": U32, **SLOTS, "round_batches": "i64",
        "round_draws": "i64", "order": "i32", "leaves": U32, "order_a": U32, "order_b": U32,
        "order_inverse": U32,
    },
}  # fmt: skip
DRAWS = ("draw_base", "draw_extra")


def spec(kernel: str, target: str, members: str = I32, **constexprs: Any) -> dict[str, Any]:
    signature = dict(SIGNATURES[kernel])
    if kernel in DRAWS:
        signature["members_ptr"] = members
        constexprs = {"IDENTITY": False, **constexprs}
    if kernel == "draw_extra":
        more = {"ROUNDS": False, "ORDER_SIZES": SIZES["few"], "MEMBER": random_bits.MEMBER}
        constexprs = {**more, **constexprs}
    if kernel == "window_keys":
        constexprs = {"MEMBER": random_bits.MEMBER, "SLOT": random_bits.SLOT}
    return {
        "kernel": f"gpusampler.kernels.stratified:{kernel}",
        "target": target,
        "signature": signature,
        "constexprs": {
            **constexprs,
            "BLOCK": launch.FIXED_BLOCK if kernel in DRAWS else launch.TABLE_BLOCK,
        },
        "num_warps": launch.WARPS,
    }


def draw_spec(kernel: str, target: str, sizes: str, slots: str, **more: Any) -> dict[str, Any]:
    return spec(kernel, target, SIZES=SIZES[sizes], SLOT_SIZES=SIZES[slots], **more)


PAIRS = (("few", "few"), ("grid", "full"), ("mixed", "grid"))


def variants(target: str, every: bool = False) -> dict[str, dict[str, Any]]:
    """By name, the largest of each kernel; every: those whose code differs most."""
    found = {name: spec(name, target) for name in ("window_keys", "class_extras")}
    for sizes, slots in PAIRS if every else PAIRS[2:]:
        for kernel in DRAWS:
            found[f"{kernel}-{sizes}-{slots}"] = draw_spec(kernel, target, sizes, slots)
    if every:
        found["draw_base-i64"] = draw_spec("draw_base", target, "grid", "full", members=I64)
        more = {"identity": {"IDENTITY": True}}
        for order in ("few", "grid"):
            more[f"rounds-{order}"] = {"ROUNDS": True, "ORDER_SIZES": SIZES[order]}
        for name, constexprs in more.items():
            found[f"draw_extra-{name}"] = draw_spec(
                "draw_extra", target, "grid", "full", **constexprs
            )
    return found


def run(spec: dict[str, Any], lanes: int, params: list) -> Counter:
    made = aot.compile_kernel(spec)
    return ptx.parse(made["ptx"]).launch(
        (-(-lanes // spec["constexprs"]["BLOCK"]),), params, made["shared"]
    )


def buffer(name: str, array: np.ndarray, writable: bool = False) -> ptx.Buffer:
    return ptx.Buffer(array, name, writable=writable)


def draw(
    case: StratifiedCase, g0: int, n: int, target: str, stride: int = 1
) -> tuple[list[list[int]], dict[str, Counter]]:
    plan, size = case.plan, case.batch_size
    (root, height), (batches, draws, *order_grid) = tree_of(case)
    names = ("rows", "base_rows", "rank_row", "start", "leaf_class", "class_leaf", "shares")
    rows, base_rows, rank_row, start, leaf_class, class_leaf, shares, links = (
        buffer(*pair) for pair in zip((*names, "links"), tables_of(case), strict=True)
    )
    key_ends = plan.key_ends((n - 1) * stride + 1)
    n_keys, n_rows = int(key_ends[-1]) if len(key_ends) else 0, len(plan.base_rows)
    window = buffer("window", np.zeros((n_rows, stratified.ROW.value), np.int32), writable=True)
    keys = buffer("keys", np.zeros((n_keys + n, 2), np.int32), writable=True)
    seed, tree = random_bits.signed(case.seed), (root, height, *case.tie_key)
    counts = {"window_keys": run(
        spec("window_keys", target), n_keys + n,
        [window, keys, rows, base_rows, start, class_leaf, shares, links,
         buffer("key_ends", key_ends), n_rows, root, height, n_keys, n, n_rows.bit_length(),
         *case.tie_key, seed, g0, stride, case.first],
    )}  # fmt: skip
    window.assert_fully_written()
    keys.assert_fully_written()

    members, variant = members_of(case)
    variant = {"IDENTITY": True} if variant.get("identity") else variant
    sizes = NAME[launch.row_sizes(plan.smallest, plan.largest)]
    slots = NAME[launch.slot_sizes(size, *case.grid)]
    out = buffer("out", case.poisoned(n), writable=True)
    keys, ranks = buffer("keys", keys.array), len(plan.rank_row)
    held = members if case.members is not None else buffer("unused", out.array)
    slot_numbers = (size, *launch.sides(*case.grid))
    if ranks:
        extras = buffer("extras", np.zeros((n, n_rows), np.int32), writable=True)
        counts["class_extras"] = run(
            spec("class_extras", target), n * n_rows,
            [extras, base_rows, class_leaf, shares, links, n * n_rows, n_rows,
             launch.inverse(n_rows), *tree, g0 - case.first, stride],
        )  # fmt: skip
        extras.assert_fully_written()
        counts["draw_base"] = run(
            draw_spec("draw_base", target, sizes, slots, **variant), n * ranks,
            [out, held, rows, rank_row, buffer("window", window.array),
             buffer("extras", extras.array), keys, n * ranks, n_rows, n_keys, stride, ranks,
             launch.inverse(ranks), *slot_numbers],
        )  # fmt: skip
    extra, leaves = size - ranks, len(plan.leaf_class)
    if extra:
        if batches:
            order = launch.slot_sizes(leaves, *order_grid)
            variant = {**variant, "ROUNDS": True, "ORDER_SIZES": order}
        counts["draw_extra"] = run(
            draw_spec("draw_extra", target, sizes, slots, **variant), n * extra,
            [out, held, rows, start, leaf_class, shares, links, keys, n * extra, *tree, seed,
             g0 - case.first, stride, n_keys, ranks, extra, launch.inverse(extra), *slot_numbers,
             batches, draws, random_bits.CLASS_ORDER | case.segment << 8, leaves,
             *launch.sides(*order_grid)],
        )  # fmt: skip
    out.assert_fully_written()
    return out.array.tolist(), counts
