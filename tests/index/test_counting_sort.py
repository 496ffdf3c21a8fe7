"""Labels that change while they are grouped: an error or a partition, never a write elsewhere."""

import subprocess
import sys

import numpy as np
import pytest

from gpusampler.cpu import library, parallel
from gpusampler.index import counting_sort

DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
CLASSES = 7
GUARD = 50


def extremes(dtype):
    return [np.iinfo(dtype).min, np.iinfo(dtype).max, CLASSES, 0]


def guarded(values):
    """A view of these with other values before and behind, and those."""
    whole = np.full(len(values) + 2 * GUARD, -7, values.dtype)
    whole[GUARD:-GUARD] = values
    return whole[GUARD:-GUARD], np.concatenate([whole[:GUARD], whole[-GUARD:]]), whole


def untouched(whole, around):
    return np.array_equal(np.concatenate([whole[:GUARD], whole[-GUARD:]]), around)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wide", [np.int32, np.int64])
def test_neither_pass_writes_outside_its_tables_whatever_it_reads(dtype, wide):
    for label in extremes(dtype):
        labels = np.full(40, label, dtype)
        counts, around, whole = guarded(np.zeros(CLASSES, np.int64))
        seen = np.zeros(4, np.int64)
        kind = labels.itemsize if labels.dtype.kind == "u" else -labels.itemsize
        run_of = labels.ctypes.data, kind, 0, 40
        library.opened().count_labels(*run_of, counts.ctypes.data, CLASSES, seen.ctypes.data)
        assert untouched(whole, around)
        assert (counts.sum(), seen[3]) == ((40, 0) if label == 0 else (0, 40))
        heads, around, whole = guarded(np.full(CLASSES, 30))  # room for 5 of the 40
        places, beside, held = guarded(np.zeros(35, wide))
        library.opened().place_labels(
            *run_of, heads.ctypes.data, CLASSES, places.ctypes.data, len(places), places.itemsize
        )
        assert untouched(whole, around) and untouched(held, beside)
        assert heads[0] == (35 if label == 0 else 30)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("before", ["the first pass", "the second pass"])
def test_labels_that_change_between_passes_are_refused(monkeypatch, dtype, threads, before):
    plain, passes = parallel.run, []
    for label in [*extremes(dtype)[:3], 1]:
        labels = np.array([3, 0, 6, 1, 2, 0, 5, 3, 3, 0] * 20, dtype)

        def run(*args, labels=labels, label=label):
            passes.append(1)
            if len(passes) == (1 if before == "the first pass" else 2):
                labels[55:95] = label
            plain(*args)

        passes.clear()
        monkeypatch.setattr(parallel, "run", run)
        monkeypatch.setattr(parallel, "threads_for", lambda work, least: threads)
        if before == "the first pass" and 0 <= label < CLASSES:
            _, places = counting_sort.group(labels, CLASSES)
            assert np.array_equal(places, np.argsort(labels, kind="stable"))
        else:
            with pytest.raises(ValueError, match="they changed; wait for what writes them"):
                counting_sort.group(labels, CLASSES)


def test_labels_that_change_places_give_the_partition_that_was_read(monkeypatch):
    plain, labels = parallel.run, np.array([1, 0, 1, 0] * 10)

    def run(*args):
        labels[:] = labels[::-1].copy()
        plain(*args)

    monkeypatch.setattr(parallel, "run", run)
    sizes, places = counting_sort.group(labels, 2)
    assert sizes.tolist() == [20, 20] and sorted(places.tolist()) == list(range(40))


RACE = """
import threading, time
import numpy as np
from gpusampler import ClassIndex
from gpusampler.cpu import library, parallel
parallel.threads_for = lambda work, least: 4
ends, found = time.monotonic() + 4, {"refused": 0, "grouped": 0}
over = threading.Event()

def write(labels, high):
    while not over.is_set():
        labels[::3] = high
        labels[::5] = 1
        labels[:] = np.arange(len(labels)) % 7

for dtype in ("int8", "uint16", "int64") * 3:
    labels = (np.arange(300_000) % 7).astype(dtype)
    over.clear()
    other = threading.Thread(target=write, args=(labels, np.iinfo(dtype).max), daemon=True)
    other.start()
    for _ in range(15):
        try:
            index = ClassIndex.from_labels(labels, num_classes=8)
        except ValueError:
            found["refused"] += 1
            continue
        found["grouped"] += 1
        assert int(index.sizes.sum()) == len(labels)
        members = index.members
        assert members is None or np.array_equal(np.sort(members.numpy()), np.arange(len(labels)))
    over.set()
    other.join()
print(found["refused"])
"""


def test_labels_that_another_thread_writes_never_break_a_process():
    found = subprocess.run(
        [sys.executable, "-c", RACE], capture_output=True, text=True, timeout=600
    )
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) > 0
