"""Budget: instruction counts as they were recorded, which a change may raise by 5 percent.

Takes a file beside this one and what is measured now. Of another version of Triton nothing is held.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import triton

Figures = Mapping[str, Any]  # name -> count, or figures again


def hold(file: str, measure: Callable[[], Figures]) -> Figures:
    """Fail where a recorded figure has grown. Gives what was measured."""
    recorded = json.loads((Path(__file__).parent / file).read_text())
    if triton.__version__ != recorded["triton"]:
        pytest.skip(f"recorded with triton {recorded['triton']}, here is {triton.__version__}")
    now = measure()
    found = _flat(now)
    for name, before in _flat(recorded["sm_90"]).items():
        assert found[name] <= 1.05 * before, (
            f"{name}: {found[name]}, recorded {before}; if it is worth it, record {now}"
        )
    return now


def _flat(figures: Figures, above: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in figures.items():
        found |= _flat(value, f"{name} ") if isinstance(value, Mapping) else {above + name: value}
    return found
