"""Processes: a script of this folder run by torchrun, and what each rank reports.

The script takes a folder as its first argument; report() writes there, launch() reads it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

RANKS = 2
LIMIT = 600  # seconds, against a process that hangs


def launch(
    script: str, folder: Path, ranks: int = RANKS, **environment: str
) -> list[dict[str, Any]]:
    """Run it in two processes that meet on the loopback, or more; each rank's report, rank 0
    first."""
    code, told = torchrun(script, folder, ranks, **environment)
    assert code == 0, told
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks)]


def torchrun(script: str, folder: Path, ranks: int, **environment: str) -> tuple[int, str]:
    """The exit status of the launcher, and all that was printed."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", str(ranks), str(Path(__file__).parent / script), str(folder),
    ]  # fmt: skip
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    one_each = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.Popen(
        command, env=os.environ | loopback | one_each | environment, cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        told, _ = run.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        run.terminate()  # the launcher ends its processes
        told, _ = run.communicate()
        told += f"\nended after {LIMIT} s"
    return run.returncode, told


def said(use: Callable[[], Any]) -> str:
    """What is raised, to be reported."""
    try:
        return f"gave {use()}"
    except (RuntimeError, TypeError, ValueError) as error:
        return str(error)


def report(found: dict[str, Any]) -> None:
    (Path(sys.argv[1]) / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
