"""Labels: one class for each sample, as people have them, as class numbers and class names.

Takes labels [N]: numbers, strings, categories, of NumPy, torch, pandas, Polars, Arrow or Hugging
Face. Gives class numbers, the names where there are any, and which samples are left.
Knows nothing of members or offsets. Imports none of those libraries: it looks at what it is given.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import checks

MISSING = ("raise", "drop")
OF_PANDAS = ("NAType", "NaTType")


@dataclass
class Labels:
    """The class number of each sample that is left.

    numbers  [n] int64 or what was given
    names    of each class; None: classes are numbers
    kept     [n] int64: which samples these are; None: all of them
    samples  N, how many there were
    """

    numbers: Any
    names: tuple[Any, ...] | None
    kept: np.ndarray | None
    samples: int


def read(labels: Any, ignore: Any = (), missing: str = "raise") -> Labels:
    """The class numbers of labels of any kind.

    ignore   a label, or several, whose samples are in no class
    missing  "raise" | "drop": samples without a label (None, NaN, NA)
    Raises   TypeError, ValueError: labels of several types, or without a value where that is
             refused, with the place of the first.
    """
    checks.choice("missing", missing, MISSING)
    checks.refuse_masked("labels", labels)
    if isinstance(labels, (str, bytes)):
        raise TypeError(
            f"labels must be one class for each sample, not a {type(labels).__name__}; pass a list"
        )
    ignored = _several(ignore)
    values, names, absent = _plain(labels)
    if names is None and (_is_named(values) or (isinstance(values, (list, tuple)) and values)):
        values, names, absent = _by_name(values)
    samples = len(values) if getattr(values, "ndim", 1) and hasattr(values, "__len__") else 0
    if absent is None and names is None:
        absent = _nan(values)
    if absent is not None and not absent.any():
        absent = None
    if absent is not None and missing == "raise":
        raise ValueError(
            f"labels must have a value everywhere, and {np.count_nonzero(absent)} have none, the "
            f"first at {int(absent.argmax())}; missing='drop' leaves such samples out"
        )
    if names is not None:
        return _of_names(np.asarray(values), names, absent, ignored, samples)
    return _of_numbers(values, absent, ignored, samples)


def _several(ignore: Any) -> list[Any]:
    single = isinstance(ignore, (str, bytes)) or not isinstance(ignore, Iterable)
    return [ignore] if single else list(ignore)


def _of_names(
    codes: np.ndarray, names: Sequence[Any], absent: np.ndarray | None, ignored: list[Any], n: int
) -> Labels:
    out = np.zeros(len(names) + 1, bool)  # the last is that of samples without a label, -1
    out[-1] = True
    for name in ignored:
        if name in names:
            out[names.index(name)] = True
    if not out[:-1].any() and absent is None:
        return Labels(codes, tuple(names), None, n)
    left = ~out[codes]
    number = np.cumsum(~out) - 1
    kept = np.flatnonzero(left)
    named = tuple(name for name, gone in zip(names, out, strict=False) if not gone)
    return Labels(number[codes[kept]], named, kept, n)


def _of_numbers(values: Any, absent: np.ndarray | None, ignored: list[Any], n: int) -> Labels:
    numbers = [each for each in ignored if not isinstance(each, (str, bytes))]
    if not numbers and absent is None:
        return Labels(values, None, None, n)
    array = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    left = np.ones(len(array), bool) if absent is None else ~absent
    for each in numbers:
        left &= array != each
    kept = np.flatnonzero(left)
    given = array[kept]
    if isinstance(values, Tensor):
        return Labels(torch.from_numpy(given).to(values.device), None, kept, n)
    return Labels(given, None, kept, n)


def _nan(values: Any) -> np.ndarray | None:
    """Which of some floats are none."""
    if isinstance(values, Tensor) and values.is_floating_point() and values.ndim == 1:
        found = torch.isnan(values)
        return found.cpu().numpy() if bool(found.any()) else None
    if isinstance(values, np.ndarray) and values.dtype.kind == "f" and values.ndim == 1:
        return np.isnan(values)
    return None


def _plain(labels: Any) -> tuple[Any, list[Any] | None, np.ndarray | None]:
    """Labels of another library as an array, tensor or list; the names of categories; and where
    there is none."""
    library = type(labels).__module__.partition(".")[0]
    if library == "datasets":  # a lazy column, which is quick as a whole only
        return _plain(labels[:])
    if library == "pandas":
        return _of_pandas(labels)
    if library == "pyarrow":
        return _of_arrow(labels)
    if library == "polars":
        return _of_polars(labels)
    if isinstance(labels, Tensor):
        return checks.plain_tensor("labels", labels), None, None
    if isinstance(labels, (list, tuple)):
        return _of_list(labels), None, None
    return labels, None, None


def _of_list(labels: Any) -> Any:
    """An array of numbers, a tensor of tensors of one; else as it is."""
    if not labels or _is_named(labels):
        return labels
    if all(isinstance(each, Tensor) and each.ndim == 0 for each in labels[:2]):
        return torch.stack(list(labels))
    try:
        found = np.asarray(labels)
    except ValueError:  # ragged
        return labels
    return found if found.dtype.kind in "iufb" else labels


def _of_pandas(labels: Any) -> tuple[Any, list[Any] | None, np.ndarray | None]:
    if hasattr(labels, "cat") or hasattr(labels, "categories"):
        of = labels.cat if hasattr(labels, "cat") else labels
        codes = np.asarray(of.codes)
        return codes, of.categories.tolist(), codes < 0
    absent = np.asarray(labels.isna())
    if getattr(labels.dtype, "kind", "O") in "iufb":
        wanted = getattr(labels.dtype, "numpy_dtype", None) or labels.dtype
        filled = labels.fillna(0) if absent.any() else labels
        return np.asarray(filled.to_numpy(dtype=wanted)), None, absent
    return labels.to_numpy(dtype=object), None, None


def _of_arrow(labels: Any) -> tuple[Any, list[Any] | None, np.ndarray | None]:
    whole = labels.combine_chunks() if hasattr(labels, "chunks") else labels
    absent = np.asarray(whole.is_null())
    kind = str(whole.type)
    if kind.startswith(("int", "uint", "float", "double", "half")):
        return whole.fill_null(0).to_numpy(zero_copy_only=False), None, absent
    if kind == "bool":
        return whole.fill_null(False).to_numpy(zero_copy_only=False), None, absent
    if kind.startswith("dictionary"):
        codes = np.asarray(whole.indices.fill_null(-1))
        return codes.astype(np.int64), whole.dictionary.to_pylist(), absent
    encoded = whole.dictionary_encode()
    codes = np.asarray(encoded.indices.fill_null(-1)).astype(np.int64)
    return _sorted(codes, encoded.dictionary.to_pylist(), absent)


def _of_polars(labels: Any) -> tuple[Any, list[Any] | None, np.ndarray | None]:
    absent = np.asarray(labels.is_null().to_numpy())
    if str(labels.dtype).startswith(("Categorical", "Enum")):
        codes = labels.to_physical().cast(int).fill_null(-1).to_numpy()
        return codes, labels.cat.get_categories().to_list(), absent
    if labels.dtype.is_numeric():
        return labels.fill_null(0).to_numpy(), None, absent
    return labels.to_list(), None, None


def _is_named(values: Any) -> bool:
    """Whether labels have to be looked up: strings, bytes, members of an Enum, and objects of
    which some may be none."""
    if isinstance(values, np.ndarray):
        return values.dtype.kind in "USO" and values.ndim == 1 and len(values) > 0
    if not isinstance(values, (list, tuple)) or not values:
        return False
    first = type(values[0])
    return issubclass(first, (str, bytes, Enum)) or first.__name__ in (*OF_PANDAS, "NoneType")


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in OF_PANDAS:
        return True
    return isinstance(value, (float, np.floating)) and value != value


def _by_name(values: Any) -> tuple[Any, list[Any] | None, np.ndarray | None]:
    """Codes, names in order, and which have none. Numbers among objects have no names."""
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    known: dict[Hashable, int] = {}
    try:
        found = (known.setdefault(value, len(known)) for value in listed)
        codes = np.fromiter(found, np.int64, len(listed))
    except TypeError:
        raise ValueError(
            "labels must be one-dimensional, and some are lists or the like; several classes a "
            "sample are read by ClassIndex.from_tags(labels)"
        ) from None
    names = list(known)
    gone = np.array([_is_missing(name) for name in names], bool)
    absent = gone[codes]
    kinds = {_kind(name) for name, none in zip(names, gone, strict=True) if not none}
    if len(kinds) > 1:
        raise TypeError(
            f"labels must be of one type, not of {' and '.join(sorted(kinds))}; turn them into "
            f"strings, as labels = [str(label) for label in labels]"
        )
    if kinds == {"numbers"} or not kinds:
        filled = [0 if none else name for name, none in zip(names, gone, strict=True)]
        return checks.of_ints(np.array(filled, object))[codes], None, absent
    if gone.any():
        number = np.where(gone, -1, np.cumsum(~gone) - 1)
        codes, names = number[codes], [x for x, none in zip(names, gone, strict=True) if not none]
    return _sorted(codes, names, absent)


def _kind(name: Any) -> str:
    of_numbers = isinstance(name, (int, float, np.number)) and not isinstance(name, Enum)
    return "numbers" if of_numbers else type(name).__name__


def _sorted(
    codes: np.ndarray, names: list[Any], absent: np.ndarray
) -> tuple[np.ndarray, list[Any], np.ndarray]:
    """The names in their order: an Enum's own, with all its members, or the alphabet's."""
    first = names[0] if names else None
    ordered: list[Any] = [*type(first)] if isinstance(first, Enum) else sorted(names)
    place = {name: i for i, name in enumerate(ordered)}
    number = np.array([place[name] for name in names] + [-1], np.int64)
    return number[codes], [x.name if isinstance(x, Enum) else x for x in ordered], absent


def tags(rows: Any) -> tuple[np.ndarray, np.ndarray, tuple[Any, ...], int]:
    """Of each tag of each sample the class and the sample, by class; the names, sorted; and N.

    Raises  TypeError: a sample's tags are no list, or no strings or integers.
    """
    rows = rows.tolist() if isinstance(rows, np.ndarray) else list(_plain(rows)[0])
    for at, row in enumerate(rows):
        if isinstance(row, (str, bytes)) or not isinstance(row, Iterable):
            raise TypeError(
                f"tags must be a list of tags for each sample, and that of sample {at} is "
                f"{row!r:.40}; one class a sample is read by ClassIndex.from_labels(labels)"
            )
    each = [list(dict.fromkeys(row)) for row in rows]
    flat = [tag for row in each for tag in row]
    if not all(isinstance(tag, (str, int, np.integer)) for tag in flat):
        wrong = next(tag for tag in flat if not isinstance(tag, (str, int, np.integer)))
        raise TypeError(
            f"tags must be strings or integers, not {wrong!s:.40}; turn them into those"
        )
    if len({isinstance(tag, str) for tag in flat}) > 1:
        raise TypeError("tags must be of one type, not strings and integers; turn all into strings")
    names = sorted(set(flat))
    place = {name: i for i, name in enumerate(names)}
    classes = np.fromiter((place[tag] for tag in flat), np.int64, len(flat))
    samples = np.repeat(np.arange(len(rows)), [len(row) for row in each])
    order = np.argsort(classes, kind="stable")
    return classes[order], samples[order], tuple(names), len(rows)
