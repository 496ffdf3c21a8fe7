"""Where kernels run in this session: on a GPU if there is one, else under Triton's interpreter.

Numba's cache looks only at the file of a function, not at what it calls in other files; here its
folder carries a hash of all that is compiled and of what constants it has from where, so that no
test runs yesterday's code.
"""

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
import torch

package = Path(__file__).parent.parent / "gpusampler"
compiled = ("cpu*", "counting_sort", "random_bits", "plan*", "class_rows", "even_tree", "parallel")
sources = sorted(path for name in compiled for path in package.glob(f"{name}.py"))
digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
os.environ["NUMBA_CACHE_DIR"] = f"{tempfile.gettempdir()}/gpusampler-tests-{digest}"

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined, so before any import


@pytest.fixture(scope="session")
def kernel_device() -> torch.device:
    return torch.device("cuda" if ON_GPU else "cpu")


def pytest_report_header() -> str:
    name = torch.cuda.get_device_name() if ON_GPU else "Triton's interpreter, no GPU"
    return f"kernels run on: {name}; torch {torch.__version__}"
