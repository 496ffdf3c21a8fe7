"""Scripts for torchrun are run by it, not collected; what a trainer sets for itself is undone."""

import os

import pytest

collect_ignore_glob = ["ranks_*.py"]


@pytest.fixture(autouse=True)
def environment():
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
