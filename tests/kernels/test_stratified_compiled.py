"""The stratified kernels as the compiler makes them: no spills, few instructions, and the PTX
itself, executed by the emulator, gives the CPU twin's indices."""

import random

import budget
import pytest
from cases import stratified_cases as cases
from cases.stratified_cases import StratifiedCase, first_batch
from emulator import aot, ptx
from emulator import stratified_emulated as emulated

TARGETS = ["cuda:80", "cuda:90"]
SHAPES = {  # class sizes and batch sizes of the variants that are compiled in any case
    "few-few": ([0, 1, 2, 5, 31], [2, 7, 31]),
    "grid-full": ([33, 64, 100, 997], [32, 36, 64, 100]),
    "mixed-grid": ([0, 1, 20, 32, 500], [33, 101, 257]),
}


@pytest.mark.parametrize("target", [*TARGETS, "cuda:100", "hip:gfx942"])
def test_no_kernel_spills_registers(target):
    variants = emulated.variants(target, every=target == "cuda:90")
    if target not in TARGETS:
        names = ("class_extras", "draw_base-mixed-grid", "draw_extra-mixed-grid")
        variants = {name: variants[name] for name in names}
    made = aot.compile_kernels(list(variants.values()))
    assert {name: m["spills"] for name, m in zip(variants, made, strict=True) if m["spills"]} == {}
    assert max(m["registers"] for m in made) <= 64  # a full complement of warps on every SM


def shaped_case(shape: str, rnd: random.Random, classes: int) -> StratifiedCase:
    kinds, batches = SHAPES[shape]
    sizes = [rnd.choice(kinds) for _ in range(classes)]
    sizes[: min(2, classes)] = kinds[-2:][:classes]
    start = [rnd.randrange(1 << 40) for _ in sizes]
    return StratifiedCase(
        sizes, rnd.choice(batches), rnd.choice([0.0, 0.3, 1.0]), rnd.randrange(1 << 64),
        rnd.choice([0, (1 << 33) + 1]), rnd.choice([0, 3]), start,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "target"),
    [*((shape, "cuda:90") for shape in SHAPES), ("mixed-grid", "cuda:80")],
)
@pytest.mark.parametrize("number", range(3))
def test_executed_ptx_equals_cpu_twin(shape, number, target):
    rnd = random.Random(number + 500)
    case = shaped_case(shape, rnd, [40, 33, 200][number])
    g0, n, stride = first_batch(rnd, case), rnd.choice([1, 2, 5]), [1, 3, 700][number]
    assert emulated.draw(case, g0, n, target, stride)[0] == cases.twin(case, g0, n, stride)


@pytest.mark.parametrize("classes", [9, 70])
def test_executed_ptx_of_rounds_equals_cpu_twin(classes):
    case = StratifiedCase([40] * classes, 6, 1.0, seed=classes, segment=1)
    g0 = 3 * case.plan.round_batches - 2
    assert emulated.draw(case, g0, 4, "cuda:90")[0] == cases.twin(case, g0, 4)


CASE = StratifiedCase([300, 40, 33, 20], 101, 0.5, seed=6)


@pytest.mark.parametrize(
    ("kernel", "old", "new"),
    [
        ("draw_base", "setp.lt.u32", "setp.le.u32"),  # masks that are one lane too wide
        ("draw_extra", "setp.lt.u32", "setp.le.u32"),
        ("draw_base", "bar.sync \t0;", ""),  # missing barriers
    ],
)
def test_a_planted_fault_is_caught(monkeypatch, kernel, old, new):
    compiled = aot.compile_kernel

    def changed(spec):
        made = dict(compiled(spec))
        if spec["kernel"].endswith(kernel):
            assert old in made["ptx"]
            made["ptx"] = made["ptx"].replace(old, new, 2)
        return made

    monkeypatch.setattr(aot, "compile_kernel", changed)
    with pytest.raises(ptx.PtxError):
        emulated.draw(CASE, 0, 3, "cuda:90")


def measured() -> dict[str, float]:
    """PTX instructions executed on sm_90, N = 1e6, C = 100, B = 1024, windows of 16 batches.

    Per index where not said otherwise.
    """
    case = StratifiedCase([10_000] * 100, 1024, 0.5, seed=1)
    found, counts = emulated.draw(case, 5, 16, "cuda:90")
    assert found == cases.twin(case, 5, 16)
    total = sum(count.total() for count in counts.values())
    return {
        "all": round(total / (16 * 1024), 1),
        "per base draw": round(counts["draw_base"].total() / (16 * len(case.plan.rank_row)), 1),
        "per extra": round(counts["draw_extra"].total() / (16 * case.plan.extra), 1),
    }


def test_instructions_per_index_grow_by_at_most_5_percent():
    budget.hold("stratified_instructions.json", measured)
