"""Parallel: run one compiled task over ranges of rows on several threads.

Plain threads, started per call and joined before it returns: safe after a fork, safe from
several Python threads at once, and nothing lives on. The tasks release the GIL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count

import numba
import torch


def threads_for(work: int, least: int) -> int:
    """How many threads to use for so many items, giving each at least `least`.

    At most torch's (torch.set_num_threads) and numba's (NUMBA_NUM_THREADS).
    """
    most = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    return max(1, min(most, work // least))


def run(task: Callable[[int, int], object], n_rows: int, rows_each: int, threads: int) -> None:
    """Call task(first_row, end_row) over [0, n_rows) in parts of rows_each.

    The first exception of any thread is raised here, once all have ended.
    """
    parts = -(-n_rows // rows_each)
    numbers = count()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while not errors and (part := next(numbers)) < parts:
                task(part * rows_each, min(n_rows, (part + 1) * rows_each))
        except BaseException as error:
            errors.append(error)

    others = [threading.Thread(target=work) for _ in range(min(threads, parts) - 1)]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]
