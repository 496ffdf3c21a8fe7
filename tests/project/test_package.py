"""The package: what a wheel and an sdist hold, its version, and the versions that it promises."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import gpusampler
from gpusampler import cli

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project():
    tomllib = pytest.importorskip("tomllib", reason="of Python 3.11")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_wheel_is_typed_and_has_the_version(wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        (told,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(packed.read(told))
    assert "gpusampler/py.typed" in names
    assert metadata["Version"] == gpusampler.__version__
    assert "Typing :: Typed" in metadata.get_all("Classifier")


def test_the_sdist_is_typed_and_has_all_that_the_wheel_is_built_from(tmp_path):
    source = tmp_path / "source"
    for folder in ("gpusampler", "kernels"):
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path),
         str(source)],
        check=True, capture_output=True,
    )  # fmt: skip
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        names = {name.split("/", 1)[-1] for name in packed.getnames()}
    files = [path for ending in ("*.py", "*.c", "*.h") for path in source.rglob(ending)]
    expected = {str(path.relative_to(source)) for path in files}
    assert expected | {"gpusampler/py.typed", "pyproject.toml", "LICENSE"} <= names


def test_what_is_exported_is_there_and_every_sampler_is_a_stream_batch_sampler():
    exported = {name: getattr(gpusampler, name) for name in gpusampler.__all__}
    samplers = {name: value for name, value in exported.items() if name.endswith("BatchSampler")}
    assert len(samplers) == 5
    for sampler in samplers.values():
        assert issubclass(sampler, gpusampler.StreamBatchSampler)


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_python_m_gpusampler_is_the_command(words, capsys):
    ran = subprocess.run(
        [sys.executable, "-m", "gpusampler", *words], capture_output=True, text=True, check=True
    )
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 0
    assert ran.stdout.split() == capsys.readouterr().out.split()
    assert "gpusampler" in ran.stdout.split()


def test_the_version_is_told_with_what_it_runs_on(monkeypatch):
    told = cli.versions()
    assert f"gpusampler {gpusampler.__version__}, Python 3." in told
    assert re.search(r", torch \d+\.\d+\.\d+\S*, numpy \d", told)
    monkeypatch.setattr(cli, "BESIDE", ("no-such-package",))
    assert ", no no-such-package, " in cli.versions()


def test_the_lowest_versions_that_are_tested_are_those_that_are_promised(project):
    promised = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    bounds = dict(re.match(r"([\w-]+)>=([\d.]+)", line).groups() for line in promised)
    pins = (ROOT / "constraints-lowest.txt").read_text()
    tested = dict(re.findall(r"^([\w-]+)==([\d.]+)", pins, re.M))
    for name, bound in bounds.items():
        assert re.fullmatch(rf"{re.escape(bound)}(\.0)*", tested[name]), name


def test_a_versions_report_names_what_the_package_depends_on(project):
    names = [re.match(r"[\w-]+", line)[0] for line in project["dependencies"]]
    assert sorted(cli.BESIDE) == sorted(names)
