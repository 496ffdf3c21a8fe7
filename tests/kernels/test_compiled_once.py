"""A kernel is compiled for what changes its code, and not again for another number or address.
Counted by Triton's own keys, without a GPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from cases import KINDS, UNIQUE, Case, given_of, launch, on, pk_case, random_classes
from emulator.launches import Recorded

HOST = torch.device("cpu")
SIZE = 49  # odd, so that every other batch is at no multiple of 16 bytes


def case_of(way, classes=40, seed=1):
    kind, _, option = way.partition(", ")
    if kind == "pk":
        return pk_case([70 + c % 3 for c in range(classes)], 7, 7, seed)
    mix = [1.0] * classes if option == "rounds" else [1.0 + c % 7 for c in range(classes)]
    sizes = [1000 + c % 3 for c in range(classes)]
    return Case(kind, sizes, SIZE, mix, seed, unique=option == "unique")


def keys(case, n=16, g0=16, stride=16, out=None, at=0, classes=None):
    """Of the kernels that are launched; `at`: members lie that many elements behind a multiple."""
    out = torch.empty((n, SIZE), dtype=torch.int64) if out is None else out
    members = torch.zeros(len(case.members) + 16, dtype=torch.int32)[at:]
    with Recorded("cuda:90") as machine:
        launch(case, out, members, given_of(case, classes), g0, stride)
    assert machine.keys
    return machine.keys


WAYS = [*KINDS, *(f"{kind}, unique" for kind in UNIQUE), "stratified, rounds"]


@pytest.mark.parametrize("way", WAYS)
def test_no_kernel_is_compiled_again_for_another_number(way):
    case = case_of(way)
    found = keys(case)
    for n in (1, 2, 17, 32):
        assert keys(case, n=n) == found
    for g0 in (0, 1, 17, 1 << 33):
        assert keys(case, g0=g0) == found
    for stride in (1, 3, 64):
        assert keys(case, stride=stride) == found
    for seed in (0, 16, 1 << 63):
        assert keys(case_of(way, seed=seed)) == found
    for first, segment in ((1, 1), (16, 16)):
        assert keys(replace(case, first=first, segment=segment)) == found


@pytest.mark.parametrize("way", WAYS)
def test_no_kernel_is_compiled_again_for_another_number_of_classes(way):
    """Of 32 and more; below, classes are put in order by other code in pk and in rounds, alone.
    Where none has base draws, fewer kernels run."""
    found = keys(case_of(way, 60))
    few = () if way in ("pk", "stratified, rounds") else (3, 7, 16, 31)
    for classes in (*few, 64, 65, 80, 96):
        assert keys(case_of(way, classes)) <= found, classes


@pytest.mark.parametrize("way", WAYS)
def test_no_kernel_is_compiled_again_for_another_address(way):
    case, whole = case_of(way), torch.empty((17, SIZE), dtype=torch.int64)
    found = keys(case, out=whole[:16])
    assert whole[1:].data_ptr() % 16 == 8
    assert keys(case, out=whole[1:]) == found
    assert keys(case, at=1) == found


def test_nor_for_that_of_drawn_classes():
    case = case_of("random")
    drawn = on(HOST, random_classes(case, 17, 1))
    assert keys(case, classes=drawn[:16]) == keys(case, classes=drawn[1:])


@triton.jit
def plain(out_ptr, n: "i32", BLOCK: tl.constexpr):  # noqa: F821
    tl.store(out_ptr + tl.arange(0, BLOCK), n)


def test_the_keys_tell_what_triton_alone_compiles_again():
    out, found = torch.from_numpy(np.zeros(64, np.int64)), []
    for part, n in ((out, 3), (out, 5), (out, 16), (out, 1), (out[1:], 3)):
        with Recorded("cuda:90") as machine:
            plain[(1,)](part, n, BLOCK=32, num_warps=4)
        found.append(*machine.keys)
    assert found[0] == found[1] and len(set(found)) == 4
