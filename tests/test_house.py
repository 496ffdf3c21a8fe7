"""The house: layers, light imports, and packages that hold what they should."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gpusampler"
LAYERS = [
    {"exact"},
    {
        "cache",
        "forks",
        "random_bits",
        "checks",
        "parallel",
        "describe",
        "fingerprint",
        "class_order",
        "order_guide",
        "frames",
        "graph_ops",
    },
    {
        "compiling",
        "index_checks",
        "distributed",
        "position",
        "segments",
        "multilabel",
        "class_numbers",
    },
    {"counting_sort", "class_lists"},
    {"class_index", "class_rows", "lightning"},
    {"trainers"},
    {"weights"},
    {"plan", "mixes"},
    {"keywords"},
    {"keyed_order"},
    {"even_tree"},
    {"plan_stratified", "plan_pk"},
    {"blocks"},
    {"plan_checks"},
    {"given"},
    {"cpu_bits"},
    {"cpu_permute"},
    {"cpu_lanes", "cpu_pk_lanes"},
    {"cpu_spans"},
    {"cpu_order", "cpu_unique"},
    {"cpu_members", "cpu_pk_runs"},
    {"cpu", "cpu_stratified_tree"},
    {"cpu_stratified", "cpu_pk"},
    {"ops"},
    {"history"},
    {"packing", "draws"},
    {"state", "batches", "draws_stratified"},
    {"stream"},
    {"sampler", "sampler_pk"},
    {"sampler_stratified"},
    {"factory"},
    {"warming"},
    {"__init__"},
    {"demo"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported(path: Path) -> set[str]:
    """Every module a file imports, wherever in it, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level
            found |= {f"{dots}{node.module or ''}.{alias.name}" for alias in node.names}
            found.add(f"{dots}{node.module or ''}")
        elif isinstance(node, ast.Constant) and re.fullmatch(
            r"gpusampler(\.\w+)+", str(node.value)
        ):
            found.add(node.value)  # imported by name, when first used
    return found


def upward(name: str, names: set[str]) -> set[str]:
    """Which of the imported names are of this layer or a higher one."""
    own = {x.split(".")[1] for x in names if x.startswith("gpusampler.") and x.count(".") >= 1}
    return {other for other in own if other in LEVEL and LEVEL[other] >= LEVEL[name]}


def test_a_module_imports_only_from_lower_layers():
    files = {path.stem: imported(path) for path in PACKAGE.glob("*.py")}
    assert set(files) == set(LEVEL), "name the layer of each module"
    assert {name: up for name, names in files.items() if (up := upward(name, names))} == {}


def test_the_layering_check_sees_a_planted_import():
    assert upward("weights", {"gpusampler.plan.FixedPlan"}) == {"plan"}


def test_only_ops_imports_the_kernels_and_they_import_nothing_of_gpusampler():
    users = {
        path.stem
        for path in PACKAGE.glob("*.py")
        if any(name.startswith("gpusampler.kernels") for name in imported(path))
    }
    assert users == {"ops"}
    for path in (ROOT / "kernels").glob("*.py"):
        roots = {name.split(".")[0] for name in imported(path) if not name.startswith(".")}
        assert roots - set(sys.stdlib_module_names) <= {"torch", "triton"}, path


def test_a_file_is_read_in_one_sitting():
    for path in [*PACKAGE.glob("*.py"), *(ROOT / "kernels").glob("*.py")]:
        assert len(path.read_text().splitlines()) <= 300, path


def test_import_does_not_load_triton_or_numba():
    code = "import gpusampler, sys; print(sorted({'triton', 'numba', 'rich'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_cpu_path_never_loads_triton():
    code = (
        "import gpusampler, sys\n"
        "s = gpusampler.SamplerFactory().get([[0, 1], [2]], 2, 2, 0.5, device='cpu')\n"
        "s.build(); print('triton' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools packs what an older build left
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", str(out), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    return next(out.glob("*.whl"))


def test_the_wheel_holds_both_packages_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    expected = {f"gpusampler/{path.name}" for path in PACKAGE.glob("*.py")}
    expected |= {f"gpusampler/kernels/{path.name}" for path in (ROOT / "kernels").glob("*.py")}
    assert names == expected


RUN = (
    "import gpusampler, gpusampler.kernels.launch as k\n"
    "s = gpusampler.SamplerFactory().get([[0, 1, 2], [3]], 4, 3, 0.5, device='cpu')\n"
    "print(gpusampler.__file__, k.__file__, s.build().shape)"
)


def test_the_wheel_runs_where_the_sources_are_not(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    first = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})"
    run = subprocess.run(
        [sys.executable, "-c", f"{first}\n{RUN}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.count(str(tmp_path)) == 2
    assert "torch.Size([3, 4])" in run.stdout


def test_the_editable_install_runs_from_the_sources(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.split()[:2] == [
        str(PACKAGE / "__init__.py"),
        str(ROOT / "kernels" / "launch.py"),
    ]
