"""The kernels of order="class" and unique=True as the compiler makes them: no spills, few
instructions, and the PTX itself, executed by the emulator, gives the CPU twin's indices."""

import random

import budget
import cases
import pytest
from cases import Case, stratified_cases
from cases.option_cases import Drawn, random_drawn
from cases.stratified_cases import StratifiedCase
from emulator import aot, emulated, ptx, shipped, stratified_emulated, unique_emulated

TARGETS = ["cuda:80", "cuda:90"]


@pytest.mark.parametrize("target", [*TARGETS, "cuda:100", "hip:gfx942"])
def test_no_kernel_spills_registers(target):
    variants = unique_emulated.variants(target, every=target == "cuda:90")
    made = aot.compile_kernels(list(variants.values()))
    assert {name: m["spills"] for name, m in zip(variants, made, strict=True) if m["spills"]} == {}
    assert max(m["registers"] for m in made) <= 64  # a full complement of warps on every SM


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("number", range(4))
def test_executed_ptx_equals_cpu_twin_for_fixed(number, target):
    rnd = random.Random(number + 20)
    drawn, g0 = random_drawn(rnd, "fixed", number == 3, True)
    n, stride = rnd.choice([1, 2, 5]), [1, 3, 700, 1][number]
    found, _ = unique_emulated.draw(drawn, g0, n, target, stride)
    assert found == drawn.twin(g0, n, stride)


@pytest.mark.parametrize("number", range(5))
def test_executed_ptx_equals_cpu_twin_for_stratified(number):
    rnd = random.Random(number + 40)
    drawn, g0 = random_drawn(rnd, "stratified", False, True, 60)
    n, stride = rnd.choice([1, 2, 3]), [1, 3, 700, 1, 2][number]
    target = TARGETS[number % 2]
    found, _ = unique_emulated.draw(drawn, g0, n, target, stride)
    assert found == drawn.twin(g0, n, stride)


def test_executed_ptx_of_rounds_equals_cpu_twin():
    drawn = Drawn("stratified", StratifiedCase([40] * 9, 6, 1.0, 9, segment=1), unique=True)
    g0 = 3 * drawn.plan.round_batches - 2
    assert unique_emulated.draw(drawn, g0, 4, "cuda:90")[0] == drawn.twin(g0, 4)


def test_a_planted_off_by_one_mask_is_caught(monkeypatch):
    compiled = aot.compile_kernel

    def changed(spec):
        made = dict(compiled(spec))
        if spec["kernel"].endswith("unique:draw_fixed"):
            assert "setp.lt.u32" in made["ptx"]
            made["ptx"] = made["ptx"].replace("setp.lt.u32", "setp.le.u32", 1)
        return made

    drawn = Drawn("fixed", Case([300, 40, 33], 100, 0.5, seed=6), unique=True)
    monkeypatch.setattr(aot, "compile_kernel", changed)
    for module in (emulated, stratified_emulated):
        monkeypatch.setattr(module.aot, "compile_kernel", changed)
    with pytest.raises(ptx.PtxError):
        unique_emulated.draw(drawn, 0, 2, "cuda:90")


def test_executed_ptx_of_slots_in_order_equals_cpu_twin():
    """Of fixed batches the whole of order="class"."""
    case = Case([300, 40, 33, 5], 100, 0.5, seed=6)
    drawn = Drawn("fixed", case, by_class=True)
    assert emulated.fixed(case, 5, 3, "cuda:90", slots="ordered")[0] == drawn.twin(5, 3)
    spec = shipped.fixed("cuda:90", "mixed", "ordered")
    assert aot.compile_kernel(spec)["spills"] == 0


def measured() -> dict[str, float]:
    """PTX instructions executed an index on sm_90, N = 1e6, C = 100, B = 1024, 16 batches."""
    found = {}
    for kind, case in (
        ("fixed", cases.Case([10_001] * 100, 1024, 0.5, seed=1)),
        ("stratified", stratified_cases.StratifiedCase([10_001] * 100, 1024, 0.5, seed=1)),
    ):
        drawn = Drawn(kind, case, unique=True)
        batches, counts = unique_emulated.draw(drawn, 5, 16, "cuda:90")
        assert batches == drawn.twin(5, 16)
        found[kind] = round(counts.total() / (16 * 1024), 1)
    return found


def test_instructions_per_index_grow_by_at_most_5_percent():
    budget.hold("unique_instructions.json", measured)
