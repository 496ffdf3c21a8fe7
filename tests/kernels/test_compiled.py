"""The kernels of every kind as the compiler makes them: no spills, few instructions, and the PTX
itself, executed by the emulator, gives the indices of the CPU."""

import json
import random
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import triton
from cases import KINDS, UNIQUE, Case, cpu, emulated, pk_case, random_classes, specs_of
from cases.at_random import first_batch, random_case
from emulator import aot, ptx
from emulator.launches import sass_of, total

TARGETS = ["cuda:80", "cuda:90"]

# ------------------------------------------------------------------------ registers

# Class sizes and batch sizes by what the kernels are compiled for; the first is the largest code.
SIZES = {"mixed": [5, 40, 500], "few": [5, 3, 31], "grid": [40, 33, 997]}
SLOTS = {"grid": 101, "few": 31, "full": 36}
DIAGONAL = [("mixed", "grid"), ("few", "few"), ("grid", "full")]


def of(kind, sizes, slots, mix=1.0, **more):
    return Case(kind, SIZES[sizes], SLOTS[slots], mix, **more)


ROUNDS = {"rounds of few": Case("stratified", [40] * 9, 6, 1.0),
          "rounds of many": Case("stratified", [40] * 71, 36, 1.0)}  # fmt: skip
CODE = {
    "fixed": [
        *(of("fixed", *shape) for shape in product(SIZES, SLOTS)),
        of("fixed", "grid", "full", dtype=np.int64),
        of("fixed", "grid", "full", identity=True),
        of("fixed", "mixed", "grid", by_class=True),
    ],
    "random": [
        of("random", "grid", "grid"),
        of("random", "grid", "grid", dtype=np.int64),
        of("random", "grid", "grid", identity=True),
    ],
    "stratified": [
        *(of("stratified", *shape, [5.0, 3.0, 1.5]) for shape in DIAGONAL),
        of("stratified", "grid", "full", [5.0, 3.0, 1.5], dtype=np.int64),
        of("stratified", "grid", "full", [5.0, 3.0, 1.5], identity=True),
        *ROUNDS.values(),
    ],
    "pk": [
        pk_case([40] * 39 + [5], 17, 7, 1),
        pk_case([40] * 33, 17, 7, 1),
        pk_case([3, 7, 2, 5, 1], 2, 18, 1),
        pk_case([40] * 60, 16, 4, 1),
    ],
    "fixed, unique": [
        *(of("fixed", *shape, unique=True) for shape in DIAGONAL),
        Case("fixed", [400, 330, 997], 99, 1.0, unique=True, by_class=True),
    ],
    "stratified, unique": [
        *(of("stratified", *shape, [5.0, 3.0, 1.5], unique=True) for shape in DIAGONAL),
        of("stratified", "grid", "full", [5.0, 3.0, 1.5], unique=True, by_class=True),
        replace(ROUNDS["rounds of many"], unique=True),
    ],
}
PARTED = {"fixed": 13, "random": 6, "stratified": 14, "pk": 7, "fixed, unique": 5,
          "stratified, unique": 11}  # fmt: skip


def specs(kind, target, most=None):
    found = {}
    for case in CODE[kind][:most]:
        for classes in (None, random_classes(case, 2, 1)) if kind == "random" else (None,):
            found |= specs_of(case, target, classes)
    return found


@pytest.mark.parametrize("target", [*TARGETS, "cuda:100", "hip:gfx942"])
@pytest.mark.parametrize("kind", CODE)
def test_no_kernel_spills_registers(kind, target):
    every = target == "cuda:90" or (target == "cuda:80" and kind in ("fixed", "random"))
    found = specs(kind, target, None if every else 1)
    made = aot.compile_kernels(list(found.values()))
    assert {name: m["spills"] for name, m in zip(found, made, strict=True) if m["spills"]} == {}
    # a full complement of warps on every multiprocessor
    assert kind == "pk" or max(m["registers"] for m in made) <= 64


@pytest.mark.parametrize("kind", CODE)
def test_the_cases_above_are_all_parts_of_the_code(kind):
    assert len(specs(kind, "cuda:90")) == PARTED[kind], list(specs(kind, "cuda:90"))


# ------------------------------------------------------------------------ executed

WAYS = {kind: {} for kind in KINDS} | {f"{kind}, unique": {"unique": True} for kind in UNIQUE}
RANDOM = [(way, number) for way in WAYS for number in range(8 if way == "fixed" else 4)]


@pytest.mark.parametrize(("way", "number"), RANDOM)
def test_executed_ptx_equals_cpu(way, number):
    rnd, kind = random.Random(number + 20), way.partition(",")[0]
    case = random_case(rnd, kind, 60, **WAYS[way], by_class=number == 3)
    while case.batch_size > 300:  # the emulator is slow
        case = random_case(rnd, kind, 60)
    g0, n, stride = first_batch(rnd, case), rnd.choice([1, 2, 5]), [1, 3, 700, 1][number % 4]
    target = TARGETS[number % 2]
    assert emulated(case, g0, n, target, stride)[0] == cpu(case, g0, n, stride)


@pytest.mark.parametrize("number", range(4))
def test_executed_ptx_equals_cpu_for_classes_that_were_drawn(number):
    rnd = random.Random(number + 50)
    case = random_case(rnd, "random")
    g0, n = first_batch(rnd, case), rnd.choice([1, 2, 7])
    classes = random_classes(case, n, number)
    found = emulated(case, g0, n, TARGETS[number % 2], classes=classes)[0]
    assert found == cpu(case, g0, n, classes=classes)


SHAPES = {  # class sizes and batch sizes of the code that is compiled in any case
    "few-few": ([0, 1, 2, 5, 31], [2, 7, 31]),
    "grid-full": ([33, 64, 100, 997], [32, 36, 64, 100]),
    "mixed-grid": ([0, 1, 20, 32, 500], [33, 101, 257]),
}


@pytest.mark.parametrize(
    ("shape", "target"), [*((s, "cuda:90") for s in SHAPES), ("mixed-grid", "cuda:80")]
)
@pytest.mark.parametrize("number", range(3))
def test_executed_ptx_of_stratified_equals_cpu(shape, number, target):
    """Of all its shapes, which sizes at random seldom have."""
    rnd, classes = random.Random(number + 500), [40, 33, 200][number]
    kinds, batches = SHAPES[shape]
    sizes = [rnd.choice(kinds) for _ in range(classes)]
    sizes[:2] = kinds[-2:]
    case = Case(
        "stratified", sizes, rnd.choice(batches), rnd.choice([0.0, 0.3, 1.0]),
        rnd.randrange(1 << 64), first=rnd.choice([0, (1 << 33) + 1]), segment=rnd.choice([0, 3]),
        start=[rnd.randrange(1 << 40) for _ in sizes],
    )  # fmt: skip
    g0, n, stride = first_batch(rnd, case), rnd.choice([1, 2, 5]), [1, 3, 700][number]
    assert emulated(case, g0, n, target, stride)[0] == cpu(case, g0, n, stride)


EDGES = {
    "a huge class": Case("fixed", [(1 << 31) - 1, 40], 64, seed=1, identity=True),
    "a huge class of a grid's size": Case("fixed", [(1 << 30) + 1, 40], 64, seed=2, identity=True),
    "a huge class, random": Case("random", [(1 << 31) - 1, 40], 64, seed=1, identity=True),
    "a thousand classes": Case("fixed", [50 + c % 7 for c in range(1000)], 1000, seed=4),
    "a thousand classes, random": Case("random", [50 + c % 7 for c in range(1000)], 1000, seed=4),
    "slots in order": Case("fixed", [300, 40, 33, 5], 100, seed=6, by_class=True),
    "few members": pk_case([3, 7, 2, 5, 1], 2, 11, seed=1),
    "few classes of many": pk_case([50, 330, 32, 31, 2], 3, 4, seed=2, segment=1, first=5),
    "many classes": pk_case([40, 33, 64] * 20, 16, 4, seed=3),
    "a dataset in order": pk_case([70] * 40, 8, 4, seed=4, identity=True),
    "pk by class": pk_case([70] * 40, 8, 4, seed=4, by_class=True),
}


@pytest.mark.parametrize("name", EDGES)
def test_executed_ptx_equals_cpu_at_the_edges(name):
    case = EDGES[name]
    for g0, n, stride in ((case.first + 77, 2, 1), (case.first + (1 << 33), 3, 5)):
        assert emulated(case, g0, n, "cuda:90", stride)[0] == cpu(case, g0, n, stride)


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("classes", [9, 70])
def test_executed_ptx_of_rounds_equals_cpu(classes, unique):
    case = Case("stratified", [40] * classes, 6, 1.0, seed=classes, segment=1, unique=unique)
    g0 = 3 * case.plan.round_batches - 2
    assert emulated(case, g0, 4)[0] == cpu(case, g0, 4)


# ------------------------------------------------------------------------ planted faults

FIXED = Case("fixed", [300, 40, 33], 100, seed=6)
STRATIFIED = Case("stratified", [300, 40, 33, 20], 101, seed=6)
PK = pk_case([40, 33, 64] * 20, 16, 4, seed=3)
MASK = "setp.lt.u32", "setp.le.u32"  # one lane too wide
BARRIER = "bar.sync \t0;", ""
FAULTS = {
    "fixed:draw_fixed, a mask": (FIXED, *MASK),
    "fixed:draw_fixed, a signed shift": (FIXED, "shr.u32", "shr.s32"),
    "fixed:draw_fixed, a barrier": (FIXED, *BARRIER),
    "random:draw_random, a mask": (replace(FIXED, kind="random"), *MASK),
    "stratified:draw_base, a mask": (STRATIFIED, *MASK),
    "stratified:draw_extra, a mask": (STRATIFIED, *MASK),
    "stratified:draw_base, a barrier": (STRATIFIED, *BARRIER),
    "pk:pk_visits, a mask": (PK, "setp.lt.s64", "setp.le.s64"),
    "pk:draw_pk, a mask": (PK, *MASK),
    "unique:draw_fixed, a mask": (replace(FIXED, unique=True), *MASK),
    "unique:draw_base, a mask": (replace(STRATIFIED, unique=True), *MASK),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(monkeypatch, fault):
    (kernel, _), (case, old, new) = fault.split(","), FAULTS[fault]
    compiled = aot.compile_kernel

    def changed(spec):
        made = dict(compiled(spec))
        if spec["kernel"].endswith(kernel):
            assert old in made["ptx"]
            made["ptx"] = made["ptx"].replace(old, new, -1 if "shr" in old else 2)
        return made

    assert emulated(case, 0, 2)[0] == cpu(case, 0, 2)
    monkeypatch.setattr(aot, "compile_kernel", changed)
    with pytest.raises((ptx.PtxError, AssertionError)):
        assert emulated(case, 0, 2)[0] == cpu(case, 0, 2)


# ------------------------------------------------------------------------ instructions

# As bench/ times them, N = 1e6; PTX instructions executed an index on sm_90, windows of 16 batches.
MEASURED = {
    "fixed": Case("fixed", [10_000] * 100, 1024, seed=1),
    "random": Case("random", [10_000] * 100, 1024, seed=1),
    "stratified": Case("stratified", [10_000] * 100, 1024, seed=1),
    "pk": pk_case([1000] * 1000, 64, 16, seed=1),
    "fixed, unique": Case("fixed", [10_001] * 100, 1024, seed=1, unique=True),
    "stratified, unique": Case("stratified", [10_001] * 100, 1024, seed=1, unique=True),
}
RECORDED = json.loads((Path(__file__).parent / "instructions.json").read_text())


def measured(kind):
    case = MEASURED[kind]
    found, counts = emulated(case, 5, 16)
    assert found == cpu(case, 5, 16)
    figures = {"ptx executed": total(counts) / (16 * 1024)}
    if kind in ("fixed", "random"):
        launches = specs_of(case, "cuda:90").values()
        drawing = next(spec for spec in launches if f"draw_{kind}" in spec["kernel"])
        figures["sass in the code"] = sass_of(drawing)
    if kind == "stratified":
        figures["per base draw"] = counts["draw_base"].total() / (16 * len(case.plan.rank_row))
        figures["per extra"] = counts["draw_extra"].total() / (16 * case.plan.extra)
    return {name: round(figure, 1) for name, figure in figures.items()}


@pytest.mark.parametrize("kind", MEASURED)
def test_instructions_per_index_grow_by_at_most_5_percent(kind):
    if triton.__version__ != RECORDED["triton"]:
        pytest.skip(f"recorded with triton {RECORDED['triton']}, here is {triton.__version__}")
    now = measured(kind)
    for name, before in RECORDED["sm_90"][kind].items():
        assert now[name] <= 1.05 * before, f"if {name} is worth it, record {now}"
    assert kind != "fixed" or now["ptx executed"] <= 450
