"""The README: its first lines of code run, and nothing in it is left to fill in."""

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_first_code_of_the_readme_runs_in_eight_lines():
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 8
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch.Size([64]) torch.Size([100, 64])" in run.stdout


def test_no_figure_of_the_readme_is_left_to_fill_in():
    assert not re.search(r"^[A-Z]+_TABLE$", README, re.M)
