"""Columns of tables have one name and one place, in plans/ and in kernels/, which import nothing of
each other; and compiled code is never that of other places."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import fresh
import pytest

from gpusampler.plans import blocks, columns, even_tree, fixed, pk, random, stratified

KERNELS = Path(__file__).parent.parent.parent / "kernels"
# kernels' columns: where plans/ has them, and the table that has as many
SHARED = {
    "columns.CLASS_ROW": (columns, stratified.StratifiedPlan.TABLES["rows"]),
    "fixed.ROW": (fixed, fixed.FixedPlan.TABLES["rows"]),
    "random.ROW": (random, random.RandomPlan.TABLES["rows"]),
    "stratified.BASE_ROW": (stratified, stratified.StratifiedPlan.TABLES["base_rows"]),
    "even_tree.LINK": (even_tree, stratified.StratifiedPlan.TABLES["links"]),
    "blocks.BLOCK_ROW": (blocks, ("int32", 8)),
    "pk.ROW": (pk, pk.PKPlan.TABLES["rows"]),
    "pk.TURN": (pk, pk.PKPlan.TABLES["rotations"]),
}
OWN = {"fixed.WINDOW", "stratified.WINDOW", "pk.VISIT"}  # tables that kernels make for kernels


def of_kernels(name):
    module, _, attribute = name.partition(".")
    return getattr(import_module(f"gpusampler.kernels.{module}"), attribute)


@pytest.mark.parametrize("name", SHARED)
def test_columns_of_kernels_are_those_of_the_plans(name):
    plan, (_, width) = SHARED[name]
    names = of_kernels(name).value
    assert {column: getattr(plan, column) for column in names} == {
        column: place for place, column in enumerate(names)
    }
    assert len(names) == width == of_kernels(name).WIDTH.value


def test_bits_of_links_are_those_of_the_plans():
    for name in ("CARRY", "LEFT_SHIFT"):
        assert of_kernels(f"even_tree.{name}").value == getattr(even_tree, name)


def test_no_columns_of_kernels_are_left_out_above():
    found = set()
    for path in KERNELS.glob("[a-z]*.py"):
        module = import_module(f"gpusampler.kernels.{path.stem}")
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and "Columns(" in ast.unparse(node.value):
                found |= {f"{path.stem}.{target.id}" for target in node.targets}
        assert inspect.ismodule(module)
    assert found == {*SHARED, *OWN}


def test_an_unknown_column_is_named():
    with pytest.raises(AttributeError, match="the columns are CLASS, RANK, and none is SIZE"):
        _ = of_kernels("stratified.BASE_ROW").SIZE


def test_kernels_import_names_and_no_modules():
    """What a kernel reads by way of a module is not in the key of its compiled code."""
    for path in KERNELS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level and not node.module), path


KEYS = """
import os; os.environ.pop("TRITON_INTERPRET", None)
from gpusampler.kernels import columns, fixed, members
moved = {moved}
if moved:
    members.CLASS_ROW = columns.Columns("GRID_A", "SIZE", *columns.CLASS_ROW.value[2:])
print(fixed.draw_fixed.cache_key)
"""


def test_a_column_that_moves_changes_the_key_of_compiled_code():
    before, again, after = (fresh.python(KEYS.format(moved=m)) for m in (False, False, True))
    assert before == again != after
