"""What every test here shares. Scripts for torchrun are run by it, not collected."""

import os

import pytest
from processes import launch

collect_ignore_glob = ["ranks_*.py"]
WARNINGS = [
    "'set_vital' is deprecated:UserWarning",
    ".*multi-threaded.*:DeprecationWarning",
    "This DataLoader will create:UserWarning",
]


def pytest_itemcollected(item):
    for warning in WARNINGS:
        item.add_marker(pytest.mark.filterwarnings(f"ignore:{warning}"))


@pytest.fixture(autouse=True)
def environment():
    """What a trainer sets for itself is undone."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


ALIKE = "error:each of 2 processes gets the same batches:UserWarning"


@pytest.fixture(scope="module")
def ranks(request, tmp_path_factory):
    """What each rank reports of the script beside a module: ranks_x.py of test_x.py; where it is
    warned of batches that all ranks get alike, an error."""
    script = request.module.__name__.replace("test_", "ranks_")
    return launch(f"{script}.py", tmp_path_factory.mktemp(script), PYTHONWARNINGS=ALIKE)
