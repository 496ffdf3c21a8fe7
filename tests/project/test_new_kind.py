"""A new kind is a file in each of plans, cpu, kernels and samplers, and an entry in ops."""

import shutil
from pathlib import Path

import fresh
from test_house import PACKAGE, ROOT, imported, outside_the_rules

ADDED = Path(__file__).parent / "new_kind"
ENTRY = """

from gpusampler.cpu import round_robin  # noqa: E402
from gpusampler.plans.round_robin import RoundRobinPlan  # noqa: E402

KINDS["round_robin"] = Kind(
    RoundRobinPlan, round_robin.draw, "gpusampler.kernels.round_robin.launch"
)
"""
RUN = """
import sys; sys.path.insert(0, SITE)
import torch, gpusampler
from gpusampler.bits import random_bits
from gpusampler.kernels import round_robin
from gpusampler.ops.given import Given
from gpusampler.samplers.round_robin import RoundRobinBatchSampler

assert gpusampler.__file__.startswith(SITE)
classes, n, B = [[7, 3, 5], [1], [9, 0]], 6, 4
slow = [
    [sorted(classes[d % 3])[d // 3 % len(classes[d % 3])] for d in range(g * B, g * B + B)]
    for g in range(3 * n)
]
sampler = RoundRobinBatchSampler(classes, B, n)
assert [list(sampler) for _ in range(2)] == [slow[:n], slow[n : 2 * n]]
assert sampler.batches(3, 9).tolist() == slow[3:12] and sampler.batch(8).tolist() == slow[8]
assert list(sampler.shard(1, 2)) == slow[2 * n + 1 :: 2]
other = RoundRobinBatchSampler(classes, B, n)
other.load_state_dict({**sampler.state_dict(), "epoch": 1, "batch": 2})
assert list(other) == slow[n + 2 : 2 * n]
segment = sampler.segment_of(sampler._first)
out = torch.full((5, B), -1)
launched = out, sampler.index.members, segment._tables, Given(segment._plan), random_bits, 0, 3, 2
round_robin.launch(*launched)  # under Triton's interpreter
assert out.tolist() == slow[3:12:2]
print(sampler.describe().splitlines()[-1].split()[0])
"""


def test_a_kind_is_added_by_a_file_in_each_folder_and_one_entry(tmp_path):
    site = tmp_path / "site"
    ignored = shutil.ignore_patterns("__pycache__", "built")
    shutil.copytree(PACKAGE, site / "gpusampler", ignore=ignored)
    shutil.copytree(ROOT / "kernels", site / "gpusampler" / "kernels", ignore=ignored)
    shutil.copytree(ADDED, site / "gpusampler", ignore=ignored, dirs_exist_ok=True)
    with (site / "gpusampler" / "ops" / "kinds.py").open("a") as kinds:
        kinds.write(ENTRY)
    assert fresh.python(f"SITE = {str(site)!r}\n{RUN}").strip() == "2"
    assert {
        path.name: outside_the_rules(path.parent.name, imported(path))
        for path in ADDED.glob("*/*.py")
        if path.parent.name != "kernels"
    } == {"round_robin.py": set()}
