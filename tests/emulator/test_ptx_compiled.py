"""A kernel that Triton compiled, on the emulator: right as it is; planted faults are noticed."""

import re

import numpy as np
import pytest
import triton
import triton.language as tl

from emulator import ptx
from emulator.aot import compile_kernels
from emulator.ptx import Buffer, PtxError
from emulator.test_ptx import without


@triton.jit
def shrink(out_ptr, start_ptr, n, limit, BLOCK: tl.constexpr):
    """x loses a quarter, and one, until it is below the limit; start >> 5 is then mixed in."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    start = tl.load(start_ptr + i, mask=mask, other=0).to(tl.uint32, bitcast=True)
    x = start
    large = mask & (x >= limit.to(tl.uint32))
    while tl.max(large.to(tl.int32)) > 0:
        x = tl.where(large, x - (x >> 2) - 1, x)
        large = large & (x >= limit.to(tl.uint32))
    tl.store(out_ptr + i, (x ^ (start >> 5)).to(tl.int64), mask=mask)


KERNEL = f"{__name__}:shrink"
TARGETS = [("cuda:80", 4), ("cuda:90", 4), ("cuda:90", 1)]
N, LIMIT = 1000, 1000


@pytest.fixture(scope="module")
def compiled():
    """(target, warps) -> what Triton made of shrink for it."""
    signature = {"out_ptr": "*i64", "start_ptr": "*i32", "n": "i32", "limit": "i32"}
    spec = {
        "kernel": KERNEL,
        "signature": signature,
        "constexprs": {"BLOCK": 256},
    }
    specs = [spec | {"target": target, "num_warps": warps} for target, warps in TARGETS]
    return dict(zip(TARGETS, compile_kernels(specs), strict=True))


def shrunk(kernel, text: str) -> tuple[bool, int]:
    """(whether the emulated result is right, instructions run); an unwritten byte raises."""
    start = np.random.default_rng(5).integers(0, 1 << 32, N, dtype=np.uint32)
    out = Buffer(np.zeros(N, np.int64), "out", writable=True)
    params = [out, Buffer(start.view(np.int32), "start"), N, LIMIT]
    counts = ptx.parse(text).launch((4,), params, shared_bytes=kernel["shared"])
    out.assert_fully_written()
    expected = start.tolist()
    while any(x >= LIMIT for x in expected):
        expected = [x - (x >> 2) - 1 if x >= LIMIT else x for x in expected]
    expected = [x ^ (first >> 5) for x, first in zip(expected, start.tolist(), strict=True)]
    return out.array.tolist() == expected, counts.total()


@pytest.mark.parametrize("target", TARGETS)
def test_a_compiled_kernel_runs_bit_equal_to_python(compiled, target):
    kernel = compiled[target]
    right, instructions = shrunk(kernel, kernel["ptx"])
    assert right
    assert 100 < instructions / N < 2000
    assert kernel["spills"] == 0
    assert kernel["sass"]["STG"] >= 1
    assert 8 <= kernel["registers"] <= 255


@pytest.mark.parametrize("target", TARGETS)
def test_a_signed_shift_planted_in_a_compiled_kernel_is_noticed(compiled, target):
    kernel = compiled[target]
    planted, count = re.subn(r"shr\.u32(\s+%r\d+, %r\d+, 5;)", r"shr.s32\1", kernel["ptx"])
    assert count
    right, _ = shrunk(kernel, planted)
    assert not right


@pytest.mark.parametrize("target", TARGETS)
def test_an_off_by_one_mask_planted_in_a_compiled_kernel_is_noticed(compiled, target):
    kernel = compiled[target]
    assert "setp.lt.s64" in kernel["ptx"]
    with pytest.raises(PtxError, match="outside a buffer"):
        shrunk(kernel, kernel["ptx"].replace("setp.lt.s64", "setp.le.s64"))


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("target", TARGETS[:2])
def test_each_barrier_missing_from_a_compiled_kernel_is_noticed(compiled, target, which):
    text = compiled[target]["ptx"]
    assert text.count("bar.sync \t0;") == 3
    with pytest.raises(PtxError, match="race"):
        shrunk(compiled[target], without(text, "bar.sync \t0;", which))


def test_a_failed_compilation_raises_with_the_compiler_s_last_words():
    spec = {
        "kernel": KERNEL,
        "target": "cuda:90",
        "signature": {"out_ptr": "*i64"},
    }
    with pytest.raises(RuntimeError, match="'start_ptr'"):
        compile_kernels([spec])
