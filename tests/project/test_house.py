"""The house: layers, light imports, and packages that hold what they should."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import fresh

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "gpusampler"
# What each folder may import of the package, besides itself and the files that know none of them.
# A file in a folder never imports one that imports it.
BASE = {"checks", "exact", "frames"}
RULES = {
    "bits": BASE,
    "plans": BASE | {"bits"},
    "cpu": BASE | {"bits", "plans"},
    "index": BASE | {"bits", "cpu"},
    "ops": BASE | {"bits", "plans", "cpu", "kernels"},
    "stream": BASE | {"bits", "plans", "index", "ops"},
    "samplers": BASE | {"bits", "plans", "index", "ops", "stream"},
    "feed": BASE | {"bits", "plans", "cpu", "index", "ops", "stream", "samplers"},
}


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


def outside_the_rules(folder: str, names: set[str]) -> set[str]:
    """Which of the imported names the rule of this folder does not allow."""
    own = {name.split(".")[1] for name in names if name.startswith("gpusampler.")}
    return {name for name in own if name in TOP and name not in RULES[folder] | {folder}}


def circles(imports: dict[str, set[str]]) -> set[str]:
    """The modules that are left when those that import no other are taken away, again and again."""
    left = dict(imports)
    while free := {name for name, names in left.items() if not names & (left.keys() - {name})}:
        left = {name: names for name, names in left.items() if name not in free}
    return set(left)


def modules() -> dict[str, set[str]]:
    """Of each module of the package, by dotted name, what it imports."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): imported(path)
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }


TOP = {path.stem for path in PACKAGE.iterdir()} - {"__pycache__"} | {"kernels"}


def test_imports_go_down_by_the_rules_of_the_folders():
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert folders <= set(RULES), "say what the new folder may import"
    broken = {
        name: outside
        for name, names in modules().items()
        if name.count(".") == 2 and (outside := outside_the_rules(name.split(".")[1], names))
    }
    assert broken == {}


def test_no_modules_import_each_other():
    assert circles(modules()) == set()


def test_the_checks_see_planted_imports():
    assert outside_the_rules("plans", {"gpusampler.ops.windows", "numpy"}) == {"ops"}
    assert outside_the_rules("stream", {"gpusampler.factory.SamplerFactory"}) == {"factory"}
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == set("abcd")


def test_only_ops_imports_the_kernels_and_they_import_nothing_of_gpusampler():
    users = {
        name
        for name, names in modules().items()
        if any(other.startswith("gpusampler.kernels") for other in names)
    }
    assert users == {"gpusampler.ops.kinds"}
    for path in (ROOT / "kernels").glob("*.py"):
        roots = {name.split(".")[0] for name in imported(path) if not name.startswith(".")}
        assert roots - set(sys.stdlib_module_names) <= {"torch", "triton"}, path


def parameters(text: str) -> dict[str, int]:
    """Of each function how many parameters it has without self and cls, those by keyword alone
    aside where it constructs something or gives an option each."""
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            by_place = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
            options = 0 if node.name in ("__init__", "mix") else len(node.args.kwonlyargs)
            found[node.name] = (
                len([name for name in by_place if name not in ("self", "cls")]) + options
            )
    return found


def test_no_function_of_the_host_has_over_eight_parameters():
    files = PACKAGE.rglob("*.py")
    most = {path.name: max(parameters(path.read_text()).values(), default=0) for path in files}
    assert max(most.values()) <= 8, most
    assert parameters("def f(self, a, b, /, c, *, d): ...") == {"f": 4}  # it counts


def test_a_file_is_read_in_one_sitting():
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "kernels").glob("*.py")]:
        assert len(path.read_text().splitlines()) <= 300, path


def test_neither_import_nor_the_cpu_path_loads_triton():
    code = (
        "import gpusampler, sys\n"
        "print(sorted({'triton', 'rich'} & set(sys.modules)))\n"
        "s = gpusampler.SamplerFactory().get([[0, 1], [2]], 2, 2, 0.5, device='cpu')\n"
        "s.build(); print('triton' in sys.modules)"
    )
    assert fresh.python(code).split() == ["[]", "False"]


def test_the_wheel_holds_both_packages_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    expected = {str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*.py")}
    expected |= {f"gpusampler/kernels/{path.name}" for path in (ROOT / "kernels").glob("*.py")}
    assert names == expected


def test_the_wheel_is_of_one_kind_of_machine_with_its_library_for_each_level(wheel):
    from gpusampler.cpu import compiler

    held = zipfile.ZipFile(wheel).namelist()
    for level in compiler.levels():
        folder = f"gpusampler/cpu/built/{compiler.name(level)}/library-"
        assert len([name for name in held if name.startswith(folder)]) == 1
    assert "gpusampler/cpu/fixed.c" in held and "gpusampler/cpu/call.h" in held
    assert wheel.name.split("-")[2:4] == ["py3", "none"] and not wheel.name.endswith("any.whl")


RUN = (
    "import gpusampler, gpusampler.kernels.launch as k\n"
    "s = gpusampler.SamplerFactory().get([[0, 1, 2], [3]], 4, 3, 0.5, device='cpu')\n"
    "print(gpusampler.__file__, k.__file__, s.build().shape)\n"
    "from gpusampler.cpu import library; print(library.kept_in())"
)


def test_the_wheel_runs_where_the_sources_are_not(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    first = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})"
    run = subprocess.run(
        [sys.executable, "-c", f"{first}\n{RUN}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.count(str(tmp_path)) == 3 and "/site/gpusampler/cpu/built/" in run.stdout
    assert "torch.Size([3, 4])" in run.stdout


def test_the_editable_install_runs_from_the_sources(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.split()[:2] == [
        str(PACKAGE / "__init__.py"),
        str(ROOT / "kernels" / "launch.py"),
    ]
