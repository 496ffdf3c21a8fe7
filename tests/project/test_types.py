"""Types: what a user's type checker sees of the installed package, held to what is refused."""

import re
import subprocess
import sys
import typing
import zipfile
from inspect import Parameter, signature
from pathlib import Path

import pytest

from gpusampler import SamplerFactory, factory
from gpusampler.samplers import options

ROOT = Path(__file__).parents[2]
USER = """
import torch
from torch.utils.data import DataLoader
from gpusampler import ClassIndex, SamplerFactory, StreamBatchSampler

idxs = [[0, 1, 2], [3, 4]]
make = SamplerFactory()
kind: str = "fixed"

# Right calls.
fixed = make.get(idxs, 2, 4, alpha=0.5, seed=None, order="class", device="cpu")
reveal_type(fixed)  # is WeightedFixedBatchSampler
reveal_type(make.get(ClassIndex.from_class_idxs(idxs), 2, 4, kind="fixed", shares=[1, 2]))  \
# is WeightedFixedBatchSampler
reveal_type(make.get(idxs, 2, 4, 0.5, "random", class_draw="counter"))  \
# is WeightedRandomBatchSampler
reveal_type(make.get(idxs, 2, 4, kind="random", rates=[1, 2]))  # is WeightedRandomBatchSampler
reveal_type(make.get(idxs, 2, 4, lambda epoch: 1 / (1 + epoch), "stratified"))  \
# is StratifiedBatchSampler
reveal_type(make.get(idxs, 2, 4, kind="stratified", shares=[1, 2]))  # is StratifiedBatchSampler
pk = make.get(idxs, None, 4, kind="pk", classes_per_batch=2, members_per_class=1)
reveal_type(pk)  # is PKBatchSampler
reveal_type(make.get(idxs, 2, 4, 0.5, kind, seed=1))  # is StreamBatchSampler
reveal_type(make.fixed(idxs, 2, 4, 0.5))  # is WeightedFixedBatchSampler
reveal_type(make.random(idxs, 2, 4, 0.5, class_draw="counter"))  # is WeightedRandomBatchSampler
reveal_type(make.stratified(idxs, 2, 4, 0.5, unique=True))  # is StratifiedBatchSampler
reveal_type(make.random(idxs, 2, 4, 0.5, unique=False))  # is WeightedRandomBatchSampler
reveal_type(make.pk(idxs, 2, 1, 4, drop_empty=True, unique=True))  # is PKBatchSampler
for batch in pk:
    reveal_type(batch)  # is list[int]
for idx in pk.on_device():
    reveal_type(idx)  # is Tensor
base: StreamBatchSampler = pk.shard(0, 2)
base.load_state_dict(base.state_dict())
loader = DataLoader(torch.utils.data.TensorDataset(torch.arange(5)), batch_sampler=base)
fixed.set_alpha(1)

# Wrong ones.
make.get(idxs, 2, 4, weigths=[1, 2])  # error: call-overload
make.get(idxs, 2, 4, 0.5, "stratified", devcie="cpu")  # error: call-overload
make.get(idxs, 2, 4, 0.5, class_draw="counter")  # error: call-overload
make.get(idxs, 2, 4, 0.5, kind="fixed", class_draw="counter")  # error: call-overload
make.get(idxs, 2, 4, 0.5, "random", members_per_class=2)  # error: call-overload
make.get(idxs, 2, 4, kind="pk", classes_per_batch=1, members_per_class=2, shares=[1, 2])  \
# error: call-overload
make.get(idxs, 2, 4, 0.5, "random", unique=True)  # error: call-overload
make.get(idxs, 2, 4, kind="pk", classes_per_batch=1, members_per_class=2, unique=False)  \
# error: call-overload
make.random(idxs, 2, 4, 0.5, unique=True)  # error: arg-type
make.get(idxs, None, 4, kind="pk", classes_per_batch=1)  # error: call-overload
make.get(idxs, 2, 4, 0.5, order="classs")  # error: call-overload
make.get(idxs, 2, "4", 0.5)  # error: call-overload
make.fixed(idxs, 2, 4, 0.5, class_draw="counter")  # error: call-arg
make.stratified(idxs, 2, 4, 0.5, order="classs")  # error: arg-type
make.pk(idxs, 2, 1, 4, alpha=0.5)  # error: call-arg
fixed.set_alhpa(1)  # error: attr-defined
pk.set_alpha(1)  # error: attr-defined
make.stratfied(idxs, 2, 4, 0.5)  # error: attr-defined
""".replace("\\\n", "")  # one line each, however long


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """An interpreter that has the wheel installed, and what else this one has."""
    home = tmp_path_factory.mktemp("user") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    others = [path for path in sys.path if path.endswith("-packages")]
    (site / "others.pth").write_text("\n".join(others))
    return home / "bin" / "python"


def checked(python: Path, file: Path) -> tuple[dict[int, str], dict[int, str]]:
    """What mypy says of each line: the code of its error, and the type that it reveals."""
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python),
         "--config-file", "", "--cache-dir", str(ROOT / ".mypy_cache" / "user"), file.name],
        cwd=file.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert not ran.stderr, ran.stderr
    errors = re.findall(r"^user.py:(\d+): error: .*\[(.*)\]$", ran.stdout, re.M)
    types = re.findall(r'^user.py:(\d+): note: Revealed type is "(.*)"$', ran.stdout, re.M)
    assert errors or types, ran.stdout
    plain = {int(n): re.sub(r"\b(\w+\.)+", "", told) for n, told in types}
    return {int(n): code for n, code in errors}, plain


def said(pattern: str) -> dict[int, str]:
    lines = enumerate(USER.splitlines(), 1)
    return {n: found[1] for n, line in lines if (found := re.search(pattern, line))}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="mypy's stubs are of the newest Pythons")
def test_a_users_type_checker_finds_the_wrong_calls_and_no_others(python, tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(USER)
    errors, types = checked(python, tmp_path / "user.py")
    assert errors == said(r"# error: (.*)$")
    assert types == said(r"# is (.*)$")


def test_the_right_calls_run_and_the_wrong_ones_are_refused():
    """So what a type checker is told is what a run does."""
    names = {"reveal_type": lambda value: value}
    right, wrong = USER.split("# Wrong ones.")
    exec(right, names)
    for call in wrong.strip().splitlines():
        with pytest.raises((TypeError, ValueError, AttributeError)):
            exec(call, names)


def names_of(call: typing.Any) -> set[str]:
    """What this takes by keyword only, with the names of its options' type."""
    found = set()
    for parameter in signature(call).parameters.values():
        if parameter.kind is Parameter.VAR_KEYWORD:
            told = getattr(options, parameter.annotation.removeprefix("Unpack[").removesuffix("]"))
            found |= set(told.__annotations__)
        elif parameter.kind is Parameter.KEYWORD_ONLY:
            found.add(parameter.name)
    return found


def taken(kind: str) -> set[str]:
    return set(factory.OPTIONS[kind]) - set(factory.POSITIONAL)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="typing.get_overloads is of Python 3.11")
def test_the_overloads_of_get_have_the_names_that_each_kind_takes():
    seen = set()
    for overload in typing.get_overloads(SamplerFactory.get):
        told = signature(overload).parameters["kind"].annotation
        if told == "str":
            of_any_value = set.intersection(*map(taken, factory.KINDS)) - {"unique"}
            assert names_of(overload) == of_any_value
            continue
        kind = told.removeprefix("Literal['").removesuffix("']")
        assert names_of(overload) - {"kind"} == taken(kind), kind
        seen.add((kind, "kind" in names_of(overload)))
    by_place_and_name = {(kind, named) for kind in factory.KINDS for named in (False, True)}
    assert seen == by_place_and_name - {("fixed", True)}  # the default: one has both


@pytest.mark.parametrize("kind", factory.KINDS)
def test_the_method_of_each_kind_has_the_names_that_it_takes(kind):
    method = getattr(SamplerFactory, kind)
    places = {"classes_per_batch", "members_per_class"} if kind == "pk" else set()
    assert names_of(method) | places == taken(kind)
    assert method.__annotations__["return"] == factory.KINDS[kind].__name__
