"""Where kernels run in this session: on a GPU if there is one, else under Triton's interpreter."""

import os

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("house", deadline=None)  # a loaded machine is no fault
hypothesis.settings.load_profile("house")

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined, so before any import


@pytest.fixture(scope="session")
def kernel_device() -> torch.device:
    return torch.device("cuda" if ON_GPU else "cpu")


def pytest_report_header() -> str:
    name = torch.cuda.get_device_name() if ON_GPU else "Triton's interpreter, no GPU"
    return f"kernels run on: {name}; torch {torch.__version__}"
