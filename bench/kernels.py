"""What the compiled kernels need: registers, instructions, bytes; and what an H100 should do.

Compiles ahead of time for sm_90 and executes the PTX on the emulator of tests/, without a GPU.
Writes a section of bench/RESULTS.md. The rates are predictions, and say so.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"  # gpusampler.kernels is imported for its settings alone
sys.path.append(str(Path(__file__).parent.parent / "tests"))

from cases import Case, emulated, specs_of
from conftest import write_section
from emulator import aot
from emulator.launches import total

# An H100's datasheet: 132 multiprocessors, 128 lanes each, 1.755 GHz; bytes a second.
LANES, MEMORY = 132 * 128 * 1.755e9, 3.35e12
TARGET = "cuda:90"
SECTOR = 32  # the least that one random access moves
CLASSES = {
    "integer multiply": ("IMAD",),
    "add, min, compare": ("IADD", "VIADD", "VIMNMX", "VIADDMNMX", "IADD3", "ISETP", "LEA", "SEL"),
    "logic, shift": ("LOP3", "SHF", "PRMT"),
    "memory": ("LDG", "STG", "LDS", "STS"),
}


def by_class(sass: dict[str, int], per_thread: float) -> str:
    shares = Counter()
    for opcode, count in sass.items():
        name = next((n for n, known in CLASSES.items() if opcode in known), "other")
        shares[name] += count
    return ", ".join(f"{name} {count / per_thread:.0f}" for name, count in shares.most_common())


def row(name: str, kind: str) -> str:
    case = Case(kind, [10_000] * 100, 1024, seed=1)
    executed = total(emulated(case, 5, 64, TARGET)[1]) / (64 * 1024)
    launched = specs_of(case, TARGET).values()
    spec = next(spec for spec in launched if spec["kernel"].endswith(f"draw_{kind}"))
    made = aot.compile_kernel(spec)
    per_thread = spec["constexprs"]["BLOCK"] / (32 * spec["num_warps"])
    static = sum(made["sass"].values()) / per_thread
    far = MEMORY / (8 + SECTOR)
    cells = [
        name, made["registers"], made["spills"],
        f"{static:.0f}: {by_class(made['sass'], per_thread)}", f"{executed:.0f}",
        f"8 out, 4 in (a sector of {SECTOR} past L2)",
        f"{LANES / executed / 1e9:.0f} G/s", f"{min(LANES / executed, far) / 1e9:.0f} G/s",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    lines = [
        "## Compiled kernels, sm_90 (predicted, not measured)",
        "",
        "N=1e6, C=100, B=1024, windows of 64 batches with their tables. Instructions executed are",
        "PTX's, counted by `tests/emulator/ptx.py`; those in the code are SASS's, an index,",
        "with loops that seldom run. The rates are predictions: lanes a second over instructions,",
        "and past L2 (N=1e8) also memory's bytes a second over a sector read and 8 bytes written.",
        "",
        "| kernel | registers | spills | SASS in the code | PTX executed | bytes an index "
        "| in L2, predicted | past L2, predicted |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        row("draw_fixed", "fixed"),
        row("draw_random, counter", "random"),
    ]
    write_section("\n".join(lines))


if __name__ == "__main__":
    main()
