"""Threads: whatever ends a run ends them all, and a fork finds no lock held."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from gpusampler.cpu import parallel

HANG = 600  # seconds

# real signals, one to three at a time, at any moment of a run on 8 threads
SIGNALS = """
import os, random, signal, sys, threading, time
import numpy as np, torch
import gpusampler as gs
from gpusampler.cpu import parallel
parallel.threads_for = lambda work, least: 8
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
random.seed(SEED)
interrupted = 0

def send(delays):
    for delay in delays:
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGINT)

WORK

for trial in range(TRIALS):
    delays = [random.random() * LASTS] + [random.random() * LASTS / 8] * random.randrange(3)
    sender = threading.Thread(target=send, args=(delays,))
    out = False
    while True:  # another signal may come at any line of this, so that each is tried again
        try:
            if not out:
                sender.start()
                work()
                out = True
            break
        except KeyboardInterrupt:
            out = True
            interrupted += 1
            check()
            break
    while sender.is_alive():
        try:
            sender.join()
        except KeyboardInterrupt:
            pass
    while True:
        try:
            time.sleep(0.001)
            break
        except KeyboardInterrupt:
            pass
while True:  # a signal that is late shall not end the process
    try:
        time.sleep(0.5)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        break
    except KeyboardInterrupt:
        pass
print(interrupted)
"""
# a task that is caught running after the exception was handled
PLAIN = """
running = set()
def task(begin, end):
    mine = threading.current_thread() is threading.main_thread()  # which is not elsewhere too
    if not mine:
        running.add(begin)
    time.sleep(0.003)
    if not mine:
        running.discard(begin)
def work():
    running.clear()
    parallel.run(task, 32, 1, 8)
def check():
    for _ in range(3):
        assert not running, running
        time.sleep(0.002)
"""
BUILD = """
index = gs.ClassIndex.from_class_idxs([range(1, 30000, 2), range(0, 30000, 2)])
sampler = gs.SamplerFactory().get(index, 64, 1 << 15, 0.5, "random", class_draw="counter",
                                  device="cpu")
buffer = sampler.build()
def work():
    sampler.build(out=buffer)
def check():
    buffer.fill_(-1)
    time.sleep(0.02)
    assert bool((buffer == -1).all())
"""


@pytest.mark.parametrize(("work", "trials", "lasts"), [(PLAIN, 250, 0.015), (BUILD, 60, 0.05)])
def test_no_thread_runs_on_after_an_interrupt(work, trials, lasts):
    values = {"WORK": work, "TRIALS": trials, "LASTS": lasts, "SEED": 1}
    script = SIGNALS
    for name, value in values.items():
        script = script.replace(name, str(value))
    # the check itself may be interrupted, which is no fault: the trial then counts for nothing
    script = script.replace("            check()\n", "            checked()\n").replace(
        "for trial in",
        "def checked():\n    try:\n        check()\n    except KeyboardInterrupt:\n        pass\n\n"
        "for trial in",
    )
    for _ in range(8):  # ended by a signal at a line outside any try, it has told nothing
        found = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG
        )
        if found.returncode != -signal.SIGINT:
            break
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) > trials // 4


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_every_row_is_done_once(threads):
    done = []
    parallel.run(lambda begin, end: done.extend(range(begin, end)), 103, 10, threads)
    assert sorted(done) == list(range(103))


@pytest.mark.parametrize("threads", [2, 8])
def test_an_exception_of_any_thread_stops_all_and_is_raised(threads):
    begun, before = [], threading.active_count()

    def task(begin, end):
        begun.append(begin)
        time.sleep(0.01)
        if begin == 3:
            raise MemoryError("row 3")

    with pytest.raises(MemoryError, match="row 3"):
        parallel.run(task, 1000, 1, threads)
    assert len(begun) < 1000
    assert threading.active_count() == before


def test_a_handler_that_raises_nothing_does_not_stop_a_run():
    done, came = [], []
    before = signal.signal(signal.SIGUSR1, lambda *_: came.append(1))
    try:

        def task(begin, end):
            os.kill(os.getpid(), signal.SIGUSR1)
            done.append(begin)

        parallel.run(task, 50, 1, 4)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sorted(done) == list(range(50)) and came


FORKS = """
import os, signal, sys, threading, time
import numpy as np, torch
import gpusampler as gs
sampler = gs.SamplerFactory().get([[0, 2], [1]], 8, 10, 0.5, "random", class_draw="counter",
                                  device="cpu")
expected = EXPECTED
def child():
    torch.set_num_threads(1)
    os._exit(0 if sampler.batch(3).tolist() == expected else 1)
def other():
    ACTION
ended = threading.Event()
thread = threading.Thread(target=other)
thread.start()
children = []
for trial in range(12):
    time.sleep(PAUSE)
    pid = os.fork()
    if pid == 0:
        child()
    children.append(pid)
ended.set()
deadline = time.monotonic() + 120
while children and time.monotonic() < deadline:
    pid, status = os.waitpid(children[0], os.WNOHANG)
    if pid:
        assert status == 0, status
        children.pop(0)
    time.sleep(0.01)
for pid in children:
    os.kill(pid, signal.SIGKILL)
thread.join()
print(len(children))
"""
COMPILES = """
    from gpusampler.cpu import library
    real = library._open
    library._open = lambda: time.sleep(0.3) or real()
    while not ended.is_set():
        library._opened = None
        library.opened()
        time.sleep(0.01)"""
FIRST_BATCH = """
    sampler.batch(0)"""


@pytest.mark.parametrize(("action", "pause"), [(COMPILES, 0.05), (FIRST_BATCH, 0.12)])
def test_a_child_that_is_forked_while_another_thread_compiles_builds_its_batch(action, pause):
    import gpusampler

    sampler = gpusampler.SamplerFactory().get(
        [[0, 2], [1]], 8, 10, 0.5, "random", class_draw="counter", device="cpu"
    )
    expected = sampler.batch(3).tolist()
    script = FORKS.replace("ACTION", action.strip()).replace("PAUSE", str(pause))
    found = subprocess.run(
        [sys.executable, "-c", script.replace("EXPECTED", str(expected))],
        capture_output=True, text=True, timeout=HANG,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "0"
