"""Parallel: run one compiled task over ranges of rows on several threads.

Plain threads, started per call and joined before it returns: safe after a fork, safe from
several Python threads at once, and nothing lives on. The tasks release the GIL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count

import torch


def threads_for(work: int, least: int) -> int:
    """How many threads to use for so many items, giving each at least `least`.

    At most torch's (torch.set_num_threads).
    """
    return max(1, min(torch.get_num_threads(), work // least))


def run(task: Callable[[int, int], object], n_rows: int, rows_each: int, threads: int) -> None:
    """Call task(first_row, end_row) over [0, n_rows) in parts of rows_each.

    The first exception of any thread is raised here. However this ends, by Ctrl-C too, no task
    runs any more when it has.
    """
    parts = -(-n_rows // rows_each)
    if min(threads, parts) <= 1:
        for first in range(0, n_rows, rows_each):
            task(first, min(n_rows, first + rows_each))
        return
    numbers = count()
    errors: list[BaseException] = []
    stop: list[bool] = []

    def work(own: threading.Lock) -> None:
        while True:
            with own:  # whoever has had this lock after a stop knows that no part runs
                if errors or stop or (part := next(numbers)) >= parts:
                    return
                try:
                    task(part * rows_each, min(n_rows, (part + 1) * rows_each))
                except BaseException as error:
                    errors.append(error)

    locks = [threading.Lock() for _ in range(max(1, min(threads, parts)))]
    others = [threading.Thread(target=work, args=(lock,)) for lock in locks[1:]]
    try:
        for thread in others:
            thread.start()
        work(locks[0])
    finally:  # all parts have been handed out by now, or shall not be
        try:
            _end(stop, locks, others)
        finally:
            try:
                _end(stop, locks, others)  # where an interrupt came before it had begun
            finally:
                _end(stop, locks, others)
    if errors:
        raise errors[0]


def _end(stop: list[bool], locks: list[threading.Lock], threads: list[threading.Thread]) -> None:
    """Let no thread take another part, and wait for those that they have, however often that is
    interrupted; then raise the last interrupt."""
    interrupt = None
    while True:
        try:
            stop.append(True)
            for lock in locks:
                with lock:
                    pass
            for thread in threads:
                if thread.is_alive():  # not where its start was interrupted: it will do nothing
                    thread.join()
            break
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
