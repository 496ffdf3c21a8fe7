"""After a warm-up nothing is left to compile, whatever is sampled; the command says what it did."""

import fresh
import pytest

from gpusampler import ClassIndex, cli, warmup

SCRIPT = """
import warnings
import numpy as np, gpusampler
from reference import golden
from gpusampler import warmup
assert warmup() is not None
from gpusampler.cpu import compiling
wanted, plain = [], compiling.Kept.load_overload
def load_overload(kept, sig, context):
    wanted.append((kept._function.__qualname__, str(sig)))
    return plain(kept, sig, context)
compiling.Kept.load_overload = load_overload
warnings.simplefilter("ignore")
small = [case for name, case in golden.cases() if not any(f", {n}" in name for n in (15, 1000))]
for case in small:
    case()
for dtype in [*(f"{sign}int{8 << k}" for sign in ("", "u") for k in range(4)), "f2", "f8", "?"]:
    gpusampler.ClassIndex.from_labels(np.array([1, 0, 1, 0] * 300_000, dtype))
for kind, more in golden.KINDS.items():
    for order in ("shuffle", "class"):
        for unique in (False, True)[: 2 if kind in ("fixed", "stratified") else 1]:
            for size in (1 << 31) + 99, 99:
                classes = [range(size - 99, size), range(0, 60, 2), [3, 1, 3]]
                options = more | {"order": order, "unique": unique}
                if kind == "pk":
                    options |= {"classes_per_batch": 2, "members_per_class": 7}
                gpusampler.SamplerFactory().get(
                    classes, 14, 90, device="cpu", **options
                ).build()
print(len(small), wanted)
"""


def test_after_warming_up_no_function_is_compiled_or_read_any_more():
    number, _, wanted = fresh.python(SCRIPT).partition(" ")
    assert int(number) > 100 and wanted.strip() == "[]"


def test_kinds_are_warmed_up_by_name(monkeypatch, capsys):
    made = []
    plain = ClassIndex.from_class_idxs
    monkeypatch.setattr(ClassIndex, "from_class_idxs", lambda *a, **k: made.append(a) or plain(*a))
    assert warmup("random") == warmup(["random"])
    assert cli.main(["warmup", "random"]) == 0
    assert str(warmup("random")) in capsys.readouterr().out


@pytest.mark.parametrize("kinds", ["fixd", ["fixed", "randm"], ""])
def test_a_kind_that_there_is_not_is_refused_before_anything_is_compiled(kinds, capsys):
    with pytest.raises(
        ValueError, match="kind must be 'fixed' or 'random' or 'stratified' or 'pk'"
    ):
        warmup(kinds)
    names = [kinds] if isinstance(kinds, str) else kinds
    assert cli.main(["warmup", *names]) == 2
    assert "kind must be" in capsys.readouterr().err


def test_a_warm_up_that_keeps_nothing_says_so(monkeypatch, capsys):
    from gpusampler.cpu import compiling

    monkeypatch.setattr(compiling, "kept_in", lambda: None)
    assert cli.main(["warmup", "random"]) == 1
    assert "nothing is kept" in capsys.readouterr().err
