"""Columns: the names of a table's columns, for kernels; and those of a row that several kinds read.

Names and places are those of gpusampler/plans, which a test compares, as kernels import nothing.
Triton puts the values of a kernel's own globals in the key of its compiled code, and compares each
of them at every launch: so one global a table, and none by way of a module, which the key leaves
out.
"""

import triton.language as tl


class Names(tuple):
    """A name gives its place, WIDTH how many there are."""

    def __getattr__(self, name: str) -> tl.constexpr:
        if name == "WIDTH":
            return tl.constexpr(len(self))
        if name not in self:
            raise AttributeError(f"the columns are {', '.join(self)}, and none is {name}")
        return tl.constexpr(self.index(name))


class Columns(tl.constexpr):
    """The names of a table's columns, in their order: ROW.SIZE in a kernel is a number."""

    def __init__(self, *names: str):
        super().__init__(Names(names))

    def __getattr__(self, name: str) -> tl.constexpr:  # the compiler asks the value, others this
        return getattr(self.__dict__.get("value", Names()), name)


# A row a class, i32 (gpusampler/plans/columns.py).
CLASS_ROW = Columns(
    "SIZE", "GRID_A", "GRID_B", "GRID_INVERSE", "SIZE_INVERSE", "BASE", "FIRST_LOW", "FIRST_HIGH"
)
