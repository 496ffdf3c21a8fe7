"""The build: the C library of the CPU backend, made for every level of this kind of machine.

All else is in pyproject.toml. Where there is no compiler, ziglang is fetched for the build; a
build that fails leaves the library to the first use, which tells what would help.
"""

import importlib.util
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

CPU = Path(__file__).parent / "gpusampler" / "cpu"


def load(name):
    """A module of gpusampler/cpu by itself: the package wants torch."""
    spec = importlib.util.spec_from_file_location(f"_gpusampler_{name}", CPU / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


compiler, cache = load("compiler"), load("cache")


class BuildWithLibrary(build_py):
    """An installation in place compiles on first use: its sources may change."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for level in compiler.levels():
            folder = Path(self.build_lib, "gpusampler", "cpu", "built", compiler.name(level))
            try:
                data = compiler.build(level)
                folder.mkdir(parents=True, exist_ok=True)
                cache.write(folder, data, compiler.SUFFIX)
            except (compiler.NoCompilerError, OSError) as error:
                print(f"gpusampler: compiled on first use instead: {error}", file=sys.stderr)


class WheelOfMachine(bdist_wheel):
    """One wheel for all versions of Python, of one kind of machine."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class Compiled(Distribution):
    def has_ext_modules(self):
        return True


setup(
    distclass=Compiled,
    cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": WheelOfMachine},
    setup_requires=[] if any(compiler.compilers()) else ["ziglang"],
)
