"""The stratified kernels as the compiler makes them: no spills, and the PTX itself, executed by the
emulator, gives the CPU twin's indices."""

import random

import aot
import pytest
import stratified_cases as cases
import stratified_emulated as emulated
from stratified_cases import first_batch, random_case


@pytest.mark.parametrize("target", ["cuda:80", "cuda:90", "cuda:100", "hip:gfx942"])
def test_no_kernel_spills_registers(target):
    variants = emulated.variants(target)
    if target != "cuda:90":
        plain = [name for name in variants if "few" not in name and "mixed" not in name]
        variants = {name: variants[name] for name in plain[::2]}
    made = aot.compile_kernels(list(variants.values()))
    assert {name: m["spills"] for name, m in zip(variants, made, strict=True) if m["spills"]} == {}


@pytest.mark.parametrize("target", ["cuda:80", "cuda:90"])
@pytest.mark.parametrize("number", range(5))
def test_executed_ptx_equals_cpu_twin(number, target):
    rnd = random.Random(number + 500)
    case = random_case(rnd)
    while len(case.sizes) * case.batch_size > 6000:  # the emulator is slow
        case = random_case(rnd)
    g0, n, stride = first_batch(rnd, case), rnd.choice([1, 2, 5]), rnd.choice([1, 1, 3])
    assert emulated.draw(case, g0, n, target, stride)[0] == cases.twin(case, g0, n, stride)
