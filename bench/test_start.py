"""How long until the first batch of a new process?"""

import subprocess
import sys

import pytest
from conftest import DEVICE

pytestmark = pytest.mark.skipif(DEVICE.type != "cpu", reason="a figure of the host")

CODE = {
    "import torch": "import torch",
    "import gpusampler": "import gpusampler",
    "first batch": "import gpusampler\n"
    "s = gpusampler.SamplerFactory().get([[0, 1, 2], [3]], 4, 2, 0.5, device='cpu')\n"
    "next(iter(s))",
}


@pytest.mark.parametrize("what", CODE)
def test_start(measure, benchmark, what):
    benchmark.group = "a new process, warm caches"
    rival = {"import gpusampler": "import torch", "first batch": "import gpusampler"}.get(what)
    info = {"rival": rival, "against": f"test_start[{rival}]"} if rival else {}
    asked = {"import gpusampler": "<= 1.15", "first batch": "1.5 s more"}.get(what, "")
    measure(what, lambda: subprocess.run([sys.executable, "-c", CODE[what]], check=True),
            rounds=7, target=asked, **info)  # fmt: skip
