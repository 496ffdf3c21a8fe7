"""The kernels as the compiler makes them: no spills anywhere, few instructions, and the PTX
itself, executed by the emulator, gives the CPU twin's indices."""

import random

import budget
import numpy as np
import pytest
from cases import Case, first_batch, random_case, twin_fixed, twin_random
from emulator import aot, emulated, ptx, shipped

TARGETS = ["cuda:80", "cuda:90"]


@pytest.mark.parametrize("target", [*TARGETS, "cuda:100", "hip:gfx942"])
def test_no_kernel_spills_registers(target):
    variants = shipped.variants(target)
    if target not in TARGETS:  # those have run below in any case
        names = ("tables", "fixed-mixed-grid", "fixed-grid-full", "random-counter", "random-drawn")
        variants = {name: variants[name] for name in names}
    made = aot.compile_kernels(list(variants.values()))
    assert {name: m["spills"] for name, m in zip(variants, made, strict=True) if m["spills"]} == {}
    assert max(m["registers"] for m in made) <= 64  # a full complement of warps on every SM


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("number", range(7))
def test_executed_ptx_equals_cpu_twin_for_fixed(number, target):
    rnd = random.Random(number)
    case, g0, n = random_case(rnd), first_batch(rnd), rnd.choice([1, 2, 7])
    assert emulated.fixed(case, g0, n, target)[0] == twin_fixed(case, g0, n)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("number", range(4))
def test_executed_ptx_equals_cpu_twin_for_random(number, target):
    rnd = random.Random(number + 50)
    case, g0, n = random_case(rnd), first_batch(rnd), rnd.choice([1, 2, 7])
    assert emulated.random(case, g0, n, target)[0] == twin_random(case, g0, n)
    classes = np.random.default_rng(number).integers(0, len(case.random.rows), (n, case.batch_size))
    executed = emulated.random(case, g0, n, target, classes)[0]
    assert executed == twin_random(case, g0, n, classes)


@pytest.mark.parametrize("n", [(1 << 31) - 1, (1 << 30) + 1])
def test_executed_ptx_equals_cpu_twin_for_a_huge_class(n):
    case = Case([5, 40], 64, 0.5, seed=n, identity=True)
    from gpusampler.plans.fixed import grid_or_none

    case.fixed.rows[0, 1], case.random.rows[0, 1] = n, n
    case.fixed.rows[0, 5:7] = grid_or_none(n)
    assert emulated.fixed(case, 1 << 33, 2, "cuda:90")[0] == twin_fixed(case, 1 << 33, 2)
    assert emulated.random(case, 1 << 33, 2, "cuda:90")[0] == twin_random(case, 1 << 33, 2)


def test_executed_ptx_equals_cpu_twin_for_a_thousand_classes():
    case = Case([50 + c % 7 for c in range(1000)], 1000, 0.5, seed=4)
    assert emulated.fixed(case, 77, 2, "cuda:90")[0] == twin_fixed(case, 77, 2)
    assert emulated.random(case, 77, 2, "cuda:90")[0] == twin_random(case, 77, 2)


def planted(monkeypatch, old: str, new: str, times: int = -1) -> None:
    """Let the emulator run the PTX of draw_fixed with these places changed."""
    compiled = aot.compile_kernel

    def changed(spec):
        made = dict(compiled(spec))
        if spec["kernel"].endswith("draw_fixed"):
            assert old in made["ptx"]
            made["ptx"] = made["ptx"].replace(old, new, times)
        return made

    monkeypatch.setattr(aot, "compile_kernel", changed)


CASE = Case([300, 40, 33], 100, 0.5, seed=6)


def test_a_planted_off_by_one_mask_is_caught(monkeypatch):
    planted(monkeypatch, "setp.lt.u32", "setp.le.u32", times=1)
    with pytest.raises(ptx.PtxError):
        emulated.fixed(CASE, 0, 2, "cuda:90")


def test_a_planted_signed_shift_is_caught(monkeypatch):
    planted(monkeypatch, "shr.u32", "shr.s32")
    assert emulated.fixed(CASE, 0, 2, "cuda:90")[0] != twin_fixed(CASE, 0, 2)


def test_a_planted_missing_barrier_is_caught(monkeypatch):
    planted(monkeypatch, "bar.sync \t0;", "", times=1)
    with pytest.raises(ptx.PtxError, match="race"):
        emulated.fixed(CASE, 0, 2, "cuda:90")


def measured() -> dict[str, dict[str, float]]:
    """Per index on sm_90: SASS instructions in the code, PTX instructions executed.

    Fixed at N = 1e6, C = 100, B = 1024, as bench/ times it; windows of 16 batches.
    """
    case = Case([10_000] * 100, 1024, 0.5, seed=1)
    found = {}
    for name, (_, counts), spec in (
        ("fixed", emulated.fixed(case, 5, 16, "cuda:90"), shipped.fixed("cuda:90", "grid", "full")),
        ("random", emulated.random(case, 5, 16, "cuda:90"), shipped.random("cuda:90")),
    ):
        per_thread = spec["constexprs"]["BLOCK"] / (32 * spec["num_warps"])
        static = sum(aot.compile_kernel(spec)["sass"].values()) / per_thread
        found[name] = {
            "sass_in_code": round(static, 1),
            "ptx_executed": round(counts.total() / (16 * 1024), 1),
        }
    return found


def test_instructions_per_index_grow_by_at_most_5_percent():
    now = budget.hold("instructions.json", measured)
    assert now["fixed"]["ptx_executed"] <= 450
