"""A fresh Python process, which finds the tests' own modules as this one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HANG = 600  # seconds: against a process that hangs, not a slow machine


def python(code: str, cwd: Path | None = None) -> str:
    """What the code prints."""
    path = os.pathsep.join(path or os.getcwd() for path in sys.path)
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=os.environ | {"PYTHONPATH": path},
        timeout=HANG, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, f"{ran.returncode}\n{ran.stdout[-2000:]}\n{ran.stderr[-5000:]}"
    return ran.stdout
