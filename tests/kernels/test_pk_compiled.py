"""The pk kernels as the compiler makes them: no spills, few instructions, and the PTX itself,
executed by the emulator, gives the CPU twin's indices."""

import random

import budget
import pytest
from cases import pk_cases as cases
from cases.pk_cases import PKCase, batches, random_case, twin
from emulator import aot, ptx


@pytest.mark.parametrize("target", ["cuda:80", "cuda:90", "cuda:100", "hip:gfx942"])
def test_no_kernel_spills_registers(target):
    variants = cases.variants(target)
    if target != "cuda:90":
        variants = dict(list(variants.items())[:2])
    made = aot.compile_kernels(list(variants.values()))
    assert {name: m["spills"] for name, m in zip(variants, made, strict=True) if m["spills"]} == {}


SHAPES = {
    "few members": PKCase([3, 7, 2, 5, 1], 2, 11, seed=1),
    "few classes of many": PKCase([50, 330, 32, 31, 2], 3, 4, seed=2, segment=1, first=5),
    "many classes": PKCase([40, 33, 64] * 20, 16, 4, seed=3),
    "a dataset in order, i64": PKCase([70] * 40, 8, 4, seed=4, identity=True),
}


@pytest.mark.parametrize(
    ("name", "target"), [*((name, "cuda:90") for name in SHAPES), ("many classes", "cuda:80")]
)
def test_executed_ptx_equals_cpu_twin(name, target):
    case = SHAPES[name]
    for g0, n, stride in ((case.first, 2, 1), (case.first + (1 << 33), 3, 5)):
        assert cases.executed(case, g0, n, target, stride)[0] == twin(case, g0, n, stride)


@pytest.mark.parametrize("number", range(3))
def test_executed_ptx_equals_cpu_twin_at_random(number):
    rnd = random.Random(number + 40)
    case = random_case(rnd)
    while case.batch_size > 300:  # the emulator is slow
        case = random_case(rnd)
    g0, n, stride = batches(rnd, case)
    n = min(n, 3)
    assert cases.executed(case, g0, n, "cuda:90", stride)[0] == twin(case, g0, n, stride)


@pytest.mark.parametrize("kernel", ["pk_visits", "draw_pk"])
def test_a_planted_off_by_one_mask_is_caught(monkeypatch, kernel):
    compiled = aot.compile_kernel

    def changed(spec):
        made = dict(compiled(spec))
        if spec["kernel"].endswith(kernel):
            masks = ("setp.lt.u32", "setp.lt.s64", "setp.lt.s32", "setp.gt.s64", "setp.gt.s32")
            mask = next(old for old in masks if old in made["ptx"])
            made["ptx"] = made["ptx"].replace(mask, mask.replace("t.", "e."))
        return made

    monkeypatch.setattr(aot, "compile_kernel", changed)
    case = SHAPES["many classes"]
    with pytest.raises((ptx.PtxError, AssertionError)):
        assert cases.executed(case, 0, 3, "cuda:90")[0] == twin(case, 0, 3)


def measured() -> dict[str, float]:
    """PTX instructions executed an index on sm_90: N = 1e6, C = 1000, P = 64, K = 16, windows of
    16 batches."""
    case = PKCase([1000] * 1000, 64, 16, seed=1)
    found, counts = cases.executed(case, 5, 16, "cuda:90")
    assert found == twin(case, 5, 16)
    return {"all": round(counts.total() / (16 * 1024), 1)}


def test_instructions_per_index_grow_by_at_most_5_percent():
    budget.hold("pk_instructions.json", measured)
