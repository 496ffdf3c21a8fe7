"""The README: its code runs, and nothing in it is left to fill in."""

import os
import re
import subprocess
import sys
from pathlib import Path

import fresh
import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)
IMPORTS = "import torch\nfrom gpusampler import ClassIndex, SamplerFactory\n"  # of blocks before
BEFORE = """
import torch
labels = (torch.rand(10_000) ** 2 * 5).long()
features = torch.randn(10_000, 2)
"""


def block_with(words: str) -> str:
    (found,) = (block for block in BLOCKS if words in block)
    return found


NAMED = {
    "first": BLOCKS[0],
    "uses": BEFORE + block_with("sampler.batch(10**12)").replace('"cuda"', '"cpu"'),
    "corpora": IMPORTS + block_with("ConcatDataset(corpora)"),
}


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What each block prints, each with names of its own, in one fresh process."""
    code = f"for name, code in {NAMED}.items(): print('block', name); exec(code, {{}})"
    parts = fresh.python(code).split("block ")[1:]
    return dict(part.split("\n", 1) for part in parts)


def test_the_first_code_of_the_readme_runs_in_eight_lines(printed):
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 8
    assert "torch.Size([64]) torch.Size([100, 64])" in printed["first"]


def test_the_uses_of_a_sampler_run(printed):
    assert "1000 batches of 1024" in printed["uses"]


def test_corpora_are_mixed_at_their_temperature(printed):
    told = printed["corpora"]
    sizes = [50_000, 9_000, 700, 20]
    shares = [size**0.3 / sum(size**0.3 for size in sizes) for size in sizes]
    for line, size, share in zip(told.splitlines()[2:], sizes, shares, strict=True):
        assert line.split()[1] == str(size) and abs(float(line.split()[3]) - share) < 1e-4


def test_the_training_script_goes_on_with_another_number_of_processes(tmp_path):
    script = block_with("init_process_group")
    assert len(script.splitlines()) <= 36
    places = []
    for processes, epochs in ((1, 2), (2, 3)):
        (tmp_path / "train.py").write_text(script.replace("epoch < 5", f"epoch < {epochs}"))
        loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
        ran = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
             str(processes), "train.py"],
            cwd=tmp_path, capture_output=True, text=True, timeout=600,
            env=os.environ | loopback | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
        found = [line.split() for line in ran.stdout.splitlines()]
        places.append([(int(epoch), int(batch)) for epoch, batch, _ in found])
        assert places[-1], ran.stderr
    each = [
        [(epoch, 20 * w * i) for i in range(1, 240 // w // 20 + 1)]
        for w in (1, 2)
        for epoch in range(3)
    ]
    assert places[0] == each[0] + each[1]
    assert places[1] == each[5]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "bench/RESULTS.md"])
def test_each_path_that_a_page_names_is_there(page):
    """From the root, or from the folder that the page speaks of."""
    named = re.findall(r"`([\w./*]+/[\w.*]+\.\w+)`", (ROOT / page).read_text())
    bases = (ROOT, ROOT / "tests", ROOT / "gpusampler")
    assert named
    assert [path for path in named if not any(any(base.glob(path)) for base in bases)] == []


def test_no_figure_of_the_readme_is_left_to_fill_in():
    assert not re.search(r"\b[A-Z]{3,}_(TABLE|FIGURES?)\b", README)
