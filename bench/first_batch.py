"""What a first batch waits for: Triton's compilation, and that of the C code where no wheel has it.

Compiles ahead of time for sm_90, without a GPU, each kernel that a kind's first window launches.
Makes a sampler on the CPU and draws a batch, each in a new process, with empty caches and again.
Figures are CPU seconds, children's too. Writes a section of bench/RESULTS.md.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.pop("TRITON_INTERPRET", None)  # kernels are compiled in this process
sys.path.append(str(Path(__file__).parent.parent / "tests"))

from cases import Case, pk_case, specs_of
from conftest import write_section
from emulator import aot

PACKAGE = Path(__file__).parent.parent / "gpusampler"
CACHES = ("GPUSAMPLER_CACHE_DIR", "HOME", "XDG_CACHE_HOME")
TARGET = "cuda:90"
SIZES, MANY = [10_000] * 100, [1000] * 1000
CASES = {
    "fixed": Case("fixed", SIZES, 1024),
    "random": Case("random", SIZES, 1024),
    "stratified": Case("stratified", SIZES, 1024),
    "pk": pk_case(MANY, 64, 16, 0),
    "fixed, unique": Case("fixed", SIZES, 1024, unique=True),
    "stratified, unique": Case("stratified", SIZES, 1024, unique=True),
}
# Of each kernel how many variants can occur. Members are of 32 or 64 bits or none: 3; classes
# small, large or both: 3; slots few, on a grid that is full or not, or in order: 4.
DRAWS = 3 * 3 * 4
BLOCKS = 3 * 5 * 4  # few blocks or mixed, and few only where classes are small
ROUNDS = 3  # none, of few classes, of many
VARIANTS = {
    "fixed": {"window_tables": 1, "draw_fixed": DRAWS},
    "random": {"draw_random": 3 * 2},  # classes drawn already, or not
    "stratified": {
        "window_keys": 1, "class_extras": 1, "draw_base": DRAWS, "draw_extra": DRAWS * ROUNDS,
    },
    # sigma's points are at most rho's: 3 pairs of few and many, 6 with both; with copies or without
    "pk": {"pk_visits": 3, "draw_pk": 3 * 6 * 4 * 2},
    "fixed, unique": {"slot_keys": 1, "draw_fixed": BLOCKS},
    "stratified, unique": {
        "slot_keys": 1, "class_extras": 1, "draw_base": BLOCKS, "draw_extra": BLOCKS * ROUNDS,
    },
}  # fmt: skip

DRAW = """
import resource, sys
import gpusampler
def seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)
kind, _, unique = sys.argv[1].partition(", ")
more = {"classes_per_batch": 64, "members_per_class": 16} if kind == "pk" else {"alpha": 0.5}
if unique:
    more["unique"] = True
lists = [range(c * 1000, c * 1000 + 1000) for c in range(100)]
before = seconds()
s = gpusampler.SamplerFactory().get(lists, 1024, 10, kind=kind, device="cpu", **more)
s.batch(0)
print(seconds() - before)
"""


def seconds() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def compiled(kind: str) -> dict[str, float]:
    """Of each kernel the CPU seconds of its compilation."""
    found = {}
    for spec in specs_of(CASES[kind], TARGET).values():
        before = seconds()
        aot.compiled_by_triton(spec)
        found[spec["kernel"].partition(":")[2]] = seconds() - before
    return found


def drawn(kind: str, folder: str) -> float:
    """In a new process, of the sources in `folder`, where all caches are, too."""
    run = subprocess.run(
        [sys.executable, "-c", DRAW, kind], cwd=folder, check=True, capture_output=True, text=True,
        env=os.environ | dict.fromkeys(("PYTHONPATH", *CACHES), folder),
    )  # fmt: skip
    return float(run.stdout)


def row(kind: str) -> str:
    kernels = compiled(kind)
    assert kernels.keys() <= VARIANTS[kind].keys(), kernels
    with tempfile.TemporaryDirectory() as folder:
        compiled_here = shutil.ignore_patterns("__pycache__", "built")
        shutil.copytree(PACKAGE, Path(folder) / "gpusampler", ignore=compiled_here)
        cold, warm = drawn(kind, folder), drawn(kind, folder)
    each = ", ".join(
        f"{name} {took:.1f} s ({VARIANTS[kind][name]})" for name, took in kernels.items()
    )
    cells = kind, each, f"{sum(kernels.values()):.1f} s", f"{cold:.2f} s", f"{1000 * warm:.1f} ms"
    return f"| {' | '.join(cells)} |"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = folder
        aot.compiled_by_triton(next(iter(specs_of(CASES["random"], TARGET).values())))  # imports
        os.environ["TRITON_ALWAYS_COMPILE"] = "1"
        rows = [row(kind) for kind in CASES]
    lines = [
        "## First batch",
        "",
        "`python bench/first_batch.py`: CPU seconds. Of kernels those that a first window on a GPU",
        "compiles, here ahead of time for sm_90, and in brackets how many variants of each can",
        "occur. A sampler needs one of each, Triton keeps them on disk, and another seed, stride,",
        "window, address or number of classes compiles none again, as",
        "`tests/kernels/test_compiled_once.py` holds. Of the CPU a sampler of 100 classes and its",
        "first batch, where neither a wheel nor a cache has the C code, which is one library for",
        "all kinds; and in the next process.",
        "",
        "| kind | kernels | GPU, compiled in all | CPU, cold | CPU, warm |",
        "| --- | --- | --- | --- | --- |",
        *rows,
    ]
    write_section("\n".join(lines))


if __name__ == "__main__":
    main()
