"""The demo: what it reads, how it splits, what it reports, and that it runs from end to end."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gpusampler import demo
from gpusampler.cli import main

SIZES = [42116, 20007, 15072, 13890, 8674, 901, 299, 9]

needs_extra = pytest.mark.skipif(
    any(find_spec(name) is None for name in demo.EXTRA),
    reason='needs pip install "gpusampler[demo]"',
)


@pytest.fixture(scope="module")
def records() -> demo.Records:
    return demo.read_fars()


@needs_extra
def test_fars_has_100968_rows_in_eight_classes_from_the_largest_down(records):
    assert len(records.labels) == 100_968
    assert torch.bincount(records.labels).tolist() == SIZES
    assert records.class_names[0] == "Fatal Injury"
    assert records.class_names[-1] == "Died Prior to Accident"


@needs_extra
def test_features_are_22_nominal_and_5_numeric_fields(records):
    """29 less the two that give the label away."""
    assert records.codes.shape == (100_968, 22)
    assert records.numbers.shape == (100_968, 5)
    assert records.codes.min() >= 0
    assert records.codes.max() < records.width
    columns_of_a_field = [set(codes.unique().tolist()) for codes in records.codes.T]
    assert len(set.union(*columns_of_a_field)) == sum(map(len, columns_of_a_field))


@needs_extra
def test_numbers_are_scaled_by_the_training_rows_alone(records):
    train, test = demo.split(records.labels, seed=0)
    scaled = demo.Rows(records, train, train).numbers.double()
    torch.testing.assert_close(scaled.mean(0), torch.zeros(5).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std(0), torch.ones(5).double(), atol=1e-4, rtol=0)
    held_out = demo.Rows(records, test, train).numbers.double()
    assert (held_out.mean(0).abs() > 1e-4).all()


def test_split_is_disjoint_and_covers_every_row():
    labels = torch.arange(1000) % 7
    train, test = demo.split(labels, seed=3)
    assert torch.equal(torch.cat([train, test]).sort().values, torch.arange(1000))


def test_split_holds_out_a_fifth_of_each_class():
    labels = torch.repeat_interleave(torch.arange(8), torch.tensor(SIZES))
    train, test = demo.split(labels, seed=0)
    assert torch.bincount(labels[test]).tolist() == [round(size / 5) for size in SIZES]
    assert torch.bincount(labels[train]).tolist() == [size - round(size / 5) for size in SIZES]


def test_split_holds_out_a_row_of_a_class_of_two():
    _, test = demo.split(torch.tensor([0, 0, 1, 1]), seed=0)
    assert len(test) == 2


def test_split_repeats_with_its_seed_and_changes_with_another():
    labels = torch.arange(1000) % 7
    _, test = demo.split(labels, seed=3)
    assert torch.equal(test, demo.split(labels, seed=3)[1])
    assert not torch.equal(test, demo.split(labels, seed=4)[1])


class Says(nn.Module):
    """A classifier that answers with the numbers it is given."""

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        return nn.functional.one_hot(numbers.long().squeeze(1))


def test_balanced_accuracy_is_the_mean_of_the_recalls():
    answers = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    labels = torch.tensor([0, 0, 0, 1])
    everything = torch.arange(4)
    records = demo.Records(torch.zeros(4, 1), 1, answers, labels, ["a", "b"])
    rows = demo.Rows(records, everything, everything)
    rows.numbers = answers
    result = demo.evaluate(Says(), rows)
    assert result.recalls.tolist() == pytest.approx([2 / 3, 1])
    assert result.balanced_accuracy == pytest.approx(5 / 6)
    assert result.accuracy == 0.75


def test_class_mix_goes_from_the_shares_of_the_data_to_equal_shares():
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor([600, 250, 100, 50]))
    mix = demo.class_mix(labels, demo.Settings(epochs=1, n_batches=50, batch_size=20, seed=0))
    assert mix.shape == (11, 4)
    assert mix[0].tolist() == [0.6, 0.25, 0.1, 0.05]
    assert mix[-1].tolist() == [0.25] * 4


@needs_extra
def test_demo_command_writes_a_png_and_prints_every_class(tmp_path, capsys):
    out = tmp_path / "new folder" / "demo.png"
    words = ["--epochs", "1", "--batches", "3", "--batch-size", "64", "--seed", "1"]
    assert main(["demo", "--out", str(out), *words]) == 0
    assert out.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert out.stat().st_size > 20_000
    printed = capsys.readouterr().out
    assert str(out.resolve()) in printed.replace("\n", "")
    for word in ("Fatal Injury", "Died Prior to Accident", "33,693", "balanced accuracy"):
        assert word in printed


def test_missing_extra_is_an_error_that_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, "EXTRA", ("no_such_package",))
    assert main(["demo", "--out", str(tmp_path / "demo.png")]) == 1
    assert capsys.readouterr().err == (
        'gpusampler demo: the demo needs no_such_package; pip install "gpusampler[demo]"\n'
    )


@pytest.mark.parametrize("option", ["--epochs", "--batches", "--batch-size"])
def test_zero_is_refused_before_anything_runs(option, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", option, "0"])
    assert stop.value.code == 2
    assert f"argument {option}: must be at least 1, got 0" in capsys.readouterr().err


def test_importing_the_cli_loads_no_torch_matplotlib_or_rich():
    """With an empty stand-in for the package, whose own imports are not the cli's doing."""
    folder = Path(demo.__file__).parent
    program = (
        "import sys, types\n"
        "package = sys.modules['gpusampler'] = types.ModuleType('gpusampler')\n"
        f"package.__path__ = [{str(folder)!r}]\n"
        "import gpusampler.cli\n"
        "print(sorted({'torch', 'numpy', 'matplotlib', 'rich'} & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
