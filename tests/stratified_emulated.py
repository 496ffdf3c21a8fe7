"""The launches of the stratified kernels on the PTX emulator, and their ahead-of-time specs.

Each gives what it fills and the instructions executed. Outputs must be wholly written.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import aot
import numpy as np
import ptx
from emulated import NAME, members_of
from gpusampler.kernels import launch, stratified
from shipped import SIZES
from stratified_cases import LAST, StratifiedCase, empty_tables

from gpusampler import random_bits
from gpusampler.cpu_stratified_blocks import POSITION

I32, I64, U32 = "*i32", "*i64", "u32"
SLOTS = dict.fromkeys(("size", "slot_a", "slot_b", "slot_inverse"), U32)
WINDOW = dict.fromkeys(("slot_keys", "b0", "stride"), U32)
SIGNATURES: dict[str, dict[str, str]] = {
    "block_points": {"points_ptr": I32, "seed": "i64", "tree": "i32", "first_block": "i64"},
    "class_draws": {
        "draws_ptr": I32, "rows_ptr": I32, "start_ptr": I64, "high_ptr": I64, "low_ptr": I32,
        "count": "i32", "seed": "i64", "tree": "i32", "first_block": "i64",
    },
    "class_order": {
        "classes_ptr": I32, "lengths_ptr": I64, "draws_ptr": I32, "count": "i32", "a": U32,
        "b": U32, "b_inverse": U32, "seed": "i64", "order": "i32", "first_block": "i64",
    },
    "lay_line": {
        "ends_ptr": I32, "draws_ptr": I32, "guide_ptr": I32, "lengths_ptr": I64, "line_ptr": I64,
        "classes_ptr": I32, "count": "i32", "extra": "i32",
    },
    "window_keys": {
        "window_ptr": I32, "keys_ptr": I32, "rows_ptr": I32, "base_rows_ptr": I32,
        "key_ends_ptr": I64, "draws_ptr": I32, "points_ptr": I32, "n_rows": "i32", "count": "i32",
        "n_keys": "i64", "n_slots": "i64", "n": "i64", "steps": "i32", "b0": "i64", "stride": "i64",
        "seed": "i64", "g0": "i64",
    },
    "draw_base": {
        "out_ptr": I64, "members_ptr": I32, "rows_ptr": I32, "rank_row_ptr": I32,
        "window_ptr": I32, "keys_ptr": I32, "points_ptr": I32, "n_lanes": "i32", "n_rows": U32,
        **WINDOW, "ranks": U32, "ranks_inverse": U32, **SLOTS,
    },
    "draw_extra": {
        "out_ptr": I64, "members_ptr": I32, "rows_ptr": I32, "draws_ptr": I32, "ends_ptr": I32,
        "classes_ptr": I32, "guide_ptr": I32, "keys_ptr": I32, "points_ptr": I32,
        "n_lanes": "i32", "count": "i32", "steps": "i32", "seed": "i64", **WINDOW,
        "first_rank": U32, "ranks": U32, "ranks_inverse": U32, **SLOTS,
    },
}  # fmt: skip
DRAWS = ("draw_base", "draw_extra")
TABLES = ("block_points", "class_draws", "class_order", "lay_line")


def spec(kernel: str, target: str, members: str = I32, **constexprs: Any) -> dict[str, Any]:
    signature = dict(SIGNATURES[kernel])
    if kernel in DRAWS:
        signature["members_ptr"] = members
        constexprs = {"IDENTITY": False, **constexprs}
    if kernel == "draw_extra":
        constexprs = {"WIDE": False, "MEMBER": random_bits.MEMBER, **constexprs}
    if kernel == "window_keys":
        constexprs = {"MEMBER": random_bits.MEMBER, "SLOT": random_bits.SLOT}
    module = "stratified_blocks" if kernel in TABLES else "stratified"
    return {
        "kernel": f"gpusampler.kernels.{module}:{kernel}",
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
    """By name, the tables and the largest of each kernel; every: those whose code differs most."""
    names = ("block_points", "class_draws", "lay_line", "window_keys")
    found = {name: spec(name, target) for name in names}
    for sizes in ("few", "grid") if every else ("grid",):
        found[f"class_order-{sizes}"] = spec("class_order", target, SIZES=SIZES[sizes])
    for sizes, slots in PAIRS if every else PAIRS[2:]:
        for kernel in DRAWS:
            found[f"{kernel}-{sizes}-{slots}"] = draw_spec(kernel, target, sizes, slots)
    if every:
        found["draw_base-i64"] = draw_spec("draw_base", target, "grid", "full", members=I64)
        found["draw_extra-identity"] = draw_spec(
            "draw_extra", target, "grid", "full", IDENTITY=True
        )
        found["draw_extra-wide"] = draw_spec("draw_extra", target, "grid", "full", WIDE=True)
    return found


def run(spec: dict[str, Any], lanes: int, params: list, blocks: int = 1) -> Counter:
    made = aot.compile_kernel(spec)
    grid = (-(-lanes // spec["constexprs"]["BLOCK"]), blocks)
    return ptx.parse(made["ptx"]).launch(grid, params, made["shared"])


def buffer(name: str, array: np.ndarray, writable: bool = False) -> ptx.Buffer:
    return ptx.Buffer(array, name, writable=writable)


def blocks(
    case: StratifiedCase, first: int, count: int, target: str
) -> tuple[tuple[np.ndarray, ...], Counter]:
    """Tables (draws, ends, classes, guide, points) of some blocks."""
    plan, seed = case.plan, random_bits.signed(case.seed)
    tree = random_bits.TREE | case.segment << 8
    order = random_bits.CLASS_ORDER | case.segment << 8
    named = zip(("draws", "ends", "classes", "guide", "points"), empty_tables(plan, count),
                strict=True)  # fmt: skip
    draws, ends, classes, guide, points = (buffer(*pair, writable=True) for pair in named)
    rows, classes_n = buffer("rows", plan.rows), len(plan.rows)
    counts = run(spec("block_points", target), LAST + 1, [points, seed, tree, first], count)
    cuts = [buffer("start", plan.start), buffer("high", plan.cut_high), buffer("low", plan.cut_low)]
    counts += run(
        spec("class_draws", target), classes_n,
        [draws, rows, *cuts, classes_n, seed, tree, first], count,
    )  # fmt: skip
    lengths = buffer("lengths", np.zeros((count, classes_n), np.int64), writable=True)
    a, b = plan.grid
    sizes = NAME[launch.slot_sizes(classes_n, a, b)]
    counts += run(
        spec("class_order", target, SIZES=SIZES[sizes]), classes_n,
        [classes, lengths, draws, classes_n, a, max(b, 1), launch.inverse(max(b, 1)), seed, order,
         first], count,
    )  # fmt: skip
    line = buffer("line", np.cumsum(lengths.array, axis=1))
    # the spans replace the extras that were counted: what is written twice is copied
    again = buffer("spans", draws.array, writable=True)
    counts += run(
        spec("lay_line", target), classes_n,
        [ends, again, guide, buffer("lengths", lengths.array), line,
         buffer("classes", classes.array), classes_n, plan.extra], count,
    )  # fmt: skip
    for table in (draws, ends, classes, guide, points, lengths):
        table.assert_fully_written()
    spans = draws.array.copy()
    spans[:, :, POSITION + 1] = again.array[:, :, POSITION + 1]
    return (spans, ends.array, classes.array, guide.array, points.array), counts


def draw(
    case: StratifiedCase, g0: int, n: int, target: str, stride: int = 1
) -> tuple[list[list[int]], dict[str, Counter]]:
    plan, size = case.plan, case.batch_size
    first, b0, count = case.blocks_of(g0, n, stride)
    tables, _ = blocks(case, first, count, target)
    names = ("draws", "ends", "classes", "guide", "points")
    draws, ends, classes, guide, points = map(buffer, names, tables)
    n_slots = min(n, LAST // stride + 1)
    key_ends = plan.key_ends(min(n * stride, LAST + 1))
    n_keys = int(key_ends[-1]) if len(key_ends) else 0
    rows, n_rows = buffer("rows", plan.rows), len(plan.base_rows)
    shape = (count, n_rows, stratified.ROW.value)
    window = buffer("window", np.zeros(shape, np.int32), writable=True)
    keys = buffer("keys", np.zeros((count * n_keys + n, 2), np.int32), writable=True)
    seed = random_bits.signed(case.seed)
    counts = {"window_keys": run(
        spec("window_keys", target), n_keys + n_slots,
        [window, keys, rows, buffer("base_rows", plan.base_rows), buffer("key_ends", key_ends),
         draws, points, n_rows, len(plan.rows), n_keys, n_slots, n, n_rows.bit_length(), b0, stride,
         seed, g0], count,
    )}  # fmt: skip
    window.assert_fully_written()
    keys.assert_fully_written()

    members, variant = members_of(case)
    variant = {"IDENTITY": True} if variant.get("identity") else variant
    sizes = NAME[launch.row_sizes(plan.smallest, plan.largest)]
    a, b = case.grid
    slots = NAME[launch.slot_sizes(size, a, b)]
    slot_params = [size, a, max(b, 1), launch.inverse(max(b, 1))]
    out = buffer("out", case.poisoned(n), writable=True)
    ranks, extra = len(plan.rank_row), plan.extra
    window, keys = buffer("window", window.array), buffer("keys", keys.array)
    window_params = [count * n_keys, b0, stride]
    if ranks:
        counts["draw_base"] = run(
            draw_spec("draw_base", target, sizes, slots, **variant), n * ranks,
            [out, members, rows, buffer("rank_row", plan.rank_row), window, keys, points,
             n * ranks, n_rows, *window_params, ranks, launch.inverse(ranks), *slot_params],
        )  # fmt: skip
    if extra:
        wide = size > stratified.NARROW_BATCH
        counts["draw_extra"] = run(
            draw_spec("draw_extra", target, sizes, slots, WIDE=wide, **variant), n * extra,
            [out, members, rows, draws, ends, classes, guide, keys, points, n * extra,
             len(plan.rows), (len(plan.rows) - 1).bit_length(), seed, *window_params, ranks, extra,
             launch.inverse(extra), *slot_params],
        )  # fmt: skip
    out.assert_fully_written()
    return out.array.tolist(), counts
