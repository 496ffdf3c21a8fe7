"""The ops: torch's own checks, and no call of what does not belong together reaches a loop."""

import gc
import itertools

import fresh
import numpy as np
import pytest
import torch
import torch._dynamo.testing
from cases import Case, pk_case

from gpusampler import SamplerFactory
from gpusampler.ops import given
from gpusampler.ops import windows as ops
from gpusampler.ops.kinds import Kind

HOST = torch.device("cpu")
SIZES = [40, 1, 20, 3, 50, 33]
STRANGER = -77  # beside members, and what stands around out


class Call:
    """A right call of one kind's op, whose arguments may be exchanged."""

    def __init__(self, name: str, n: int = 3, identity: bool = False):
        self.kind, _, how = name.partition("-")
        case = self._case(how)
        first, segment, self.plan, self.size = case.first, case.segment, case.plan, case.batch_size
        ordered = how == "ordered"
        tables, self.numbers = given.tables_on(HOST, self.kind, self.plan, first, segment, ordered)
        self.tables: list = [*tables]
        if how == "drawn":
            rows = np.arange(n * self.size).reshape(n, self.size) % len(tables[0])
            self.tables.append(torch.from_numpy(rows))
        self.around = np.full((n + 2, self.size), STRANGER)
        self.out = torch.from_numpy(self.around[1:-1])
        beside = np.full(len(case.members) + 64, STRANGER, case.members.dtype)
        beside[32:-32] = case.members
        self.members = None if identity else torch.from_numpy(beside[32:-32])
        self.possible = set(range(sum(SIZES))) if identity else set(case.members.tolist())
        self.seed, self.g0, self.stride = 2, first + 5, 2

    def _case(self, how):
        kind, _, option = self.kind.partition("_")
        if kind == "pk":
            return pk_case(SIZES, 4, 9, seed=2, first=7, segment=3)
        if kind != "stratified":
            return Case(kind, SIZES, 36, seed=2, unique=option == "unique")
        mix = [1.0] * 6 if how == "rounds" else [9.0, 1.0, 0.5, 3.0, 30.0, 2.0]
        return Case(
            kind, SIZES, 4 if how == "rounds" else 36, mix, 2, first=7, segment=3,
            unique=option == "unique",
        )  # fmt: skip

    def arguments(self):
        return (
            self.out, self.members, self.tables, self.numbers, self.seed, self.g0, self.stride
        )  # fmt: skip

    def __call__(self):
        """The batches. Fails where something beside them was written, or beside members read."""
        self.around[:] = STRANGER
        ops.draw(self.kind, *self.arguments())
        assert (self.around[[0, -1]] == STRANGER).all()
        drawn = self.out.numpy()
        assert set(drawn.ravel().tolist()) <= self.possible, "no members of the dataset"
        return drawn.tolist()


KINDS = ["fixed", "random", "random-drawn", "stratified", "stratified-rounds", "pk"]
KINDS += ["fixed_unique", "stratified_unique", "random-ordered", "pk-ordered"]


@pytest.mark.parametrize("identity", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_op_passes_torch_opcheck(name, identity):
    call = Call(name, identity=identity)
    op = getattr(torch.ops.gpusampler, f"draw_{call.kind}").default
    told = torch.library.opcheck(op, call.arguments())
    assert set(told.values()) == {"SUCCESS"} and len(told) == 4


@pytest.mark.parametrize("name", KINDS)
def test_one_compiled_graph_serves_all_batches_and_segments(name):
    call, frames = Call(name), torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, backend=frames, dynamic=True)
    def step(g0, first):
        out = torch.empty_like(call.out)
        numbers = [first, *call.numbers[1:]]
        ops.draw(call.kind, out, call.members, call.tables, numbers, 2, g0, 1)
        return out

    for g0 in range(100, 112):
        call.g0, call.stride = g0, 1
        assert step(g0, call.numbers[0]).tolist() == call()
    step(200, 100)
    assert frames.frame_count <= 2  # one for numbers that never changed so far


# ------------------------------------------------------------- what does not belong together
NUMBERS = [-(1 << 63), -(1 << 62), -(1 << 31), -2, -1, 0, 1, 2, 3, 31, 1 << 24, 1 << 31, 1 << 62]
NUMBERS += [(1 << 63) - 1]


def spoiled_tensors(tensor):
    """The tensor in other shapes, dtypes and places, each with what was done to it."""
    if tensor is None:
        yield "given", torch.zeros(3, dtype=torch.int64)
        return
    yield "none", None
    if len(tensor):
        yield "empty", tensor[:0].clone()
        yield "one less", tensor[:-1].clone()
    yield "one more", torch.cat([tensor, tensor[-1:]])
    yield "flat", tensor.reshape(-1, 1).clone()
    yield "deep", tensor[None].clone()
    if len(tensor) > 1:
        yield "apart", torch.stack([tensor, tensor], dim=-1)[..., 0]
    yield "float", tensor.to(torch.float64)
    yield "short", tensor.to(torch.int16)
    yield "other", tensor.to(torch.int32 if tensor.dtype == torch.int64 else torch.int64)
    yield "meta", tensor.to("meta")
    yield "backward", tensor.flip(0)


def spoiled_contents(table, rnd):
    """The table with one number another: every column at some rows, edges and neighbours."""
    for column in range(table.shape[1] if table.dim() == 2 else 1):
        for row in {0, len(table) - 1, rnd.randrange(len(table))} if len(table) else ():
            at = (row, column) if table.dim() == 2 else (row,)
            was, info = int(table[at]), torch.iinfo(table.dtype)
            for value in {*NUMBERS, was + 1, was - 1, was ^ 1 << rnd.randrange(30), 2 * was}:
                if value != was and info.min <= value <= info.max:
                    other = table.clone()
                    other[at] = value
                    yield f"[{at}] = {value}", other


def spoiled(name, rnd):
    """Calls of which one argument does not fit, or may not, and what that is."""
    right = Call(name)
    for field in ("out", "members"):
        for what, other in spoiled_tensors(getattr(right, field)):
            yield f"{field} {what}", {field: other}
    for at, table in enumerate(right.tables):
        others = [*spoiled_tensors(table), *spoiled_contents(table, rnd)]
        for what, other in others:
            yield (
                f"table {at} {what}",
                {"tables": [*right.tables[:at], other, *right.tables[at + 1 :]]},
            )
    for left, right_one in itertools.combinations(range(len(right.tables)), 2):
        if torch.equal(right.tables[left], right.tables[right_one]):
            continue
        swapped = list(right.tables)
        swapped[left], swapped[right_one] = swapped[right_one], swapped[left]
        yield f"tables {left} and {right_one} swapped", {"tables": swapped}
    yield "no tables", {"tables": []}
    yield "a table more", {"tables": [*right.tables, *right.tables[:2]]}
    for at, was in enumerate(right.numbers):
        for value in {*NUMBERS, was + 1, was - 1} - {was}:
            numbers = [*right.numbers[:at], value, *right.numbers[at + 1 :]]
            yield f"number {at} = {value}", {"numbers": numbers}
    yield "a number less", {"numbers": right.numbers[:-1]}
    yield "a number more", {"numbers": [*right.numbers, 0]}
    for field in ("g0", "stride", "seed"):
        for value in NUMBERS:
            yield f"{field} = {value}", {field: value}


MUST_RAISE = ("none", "float", "short", "apart", "flat", "deep", "meta", "swapped", "less", "empty")


def try_all(name, number):
    """Each spoiled call raises by name, or draws members; what stands around is as it was."""
    import random

    refused = drawn = 0
    for what, changed in spoiled(name, random.Random(number)):
        call = Call(name)
        vars(call).update(changed)
        if what.startswith("out"):
            call.around = np.full((3, 3), STRANGER)
        if call.members is None:
            call.possible = set(range(sum(SIZES)))
        try:
            call()
        except (ValueError, RuntimeError) as error:
            assert str(error), what
            refused += 1
        else:
            fits = what in ("members none", "out empty", "out one less", "table 3 none")
            fits |= name.startswith("random") and what == "out flat"  # batches of one
            assert fits or not what.endswith(MUST_RAISE), f"{what} was not refused"
            drawn += 1
    print(name, "refused", refused, "drawn", drawn, flush=True)
    assert refused > 100 and Call(name)() == Call(name)()


def test_what_does_not_belong_together_never_reaches_a_loop():
    """In a process of its own, which a loop that was reached may end."""
    told = fresh.python(f"import conftest, test_ops as t\nfor k in {KINDS}: t.try_all(k, 1)")
    assert [line.split()[0] for line in told.splitlines()] == KINDS


def test_the_refusal_names_what_does_not_fit():
    call = Call("fixed")
    for changed, told in [
        ({"out": call.out[:, :-1]}, "out must be"),
        ({"members": call.members[:-1]}, "members must be"),
        ({"g0": -1}, "batches must be in"),
        ({"stride": 0}, "stride must be"),
        ({"stride": 1 << 28}, "n \\* B \\* stride"),
        ({"tables": [call.tables[0], call.tables[1].flip(0)]}, "rank_row must follow"),
        ({"tables": call.tables[:1]}, "has the tables rows, rank_row"),
        ({"numbers": [0, 1 << 24, 0]}, "segment's number"),
        ({"numbers": [0, 0, 2]}, "by_class must be 0 or 1"),
        ({"numbers": [0, 0]}, "has the numbers first, segment, by_class"),
    ]:
        other = Call("fixed")
        vars(other).update(changed)
        with pytest.raises(ValueError, match=told):
            ops.draw("fixed", *other.arguments())


def test_classes_that_are_no_rows_are_refused():
    call = Call("random-drawn")
    call.tables[3][1, 2] = len(call.tables[0])
    with pytest.raises(ValueError, match="classes must be rows"):
        call()


# ------------------------------------------------------------------ contents are read once
@pytest.fixture
def reads(monkeypatch):
    found, real = [], Kind.plan_of
    monkeypatch.setattr(
        Kind, "plan_of", lambda kind, *given: found.append(kind) or real(kind, *given)
    )
    return found


@pytest.mark.parametrize("kind", ["fixed", "random", "stratified"])
def test_a_samplers_own_tables_are_never_read(reads, kind):
    sampler = SamplerFactory().get([[0, 1, 2], [3]], 4, 5, 0.5, kind, device="cpu")
    for g in range(5):
        sampler.batch(g)
    sampler.build()
    assert reads == []


@pytest.mark.parametrize("name", KINDS)
def test_strange_tables_are_read_once_and_again_when_they_change(reads, name):
    call = Call(name)
    expected = call()
    call.tables = [table.clone() for table in call.tables]
    assert [call(), call()] == [expected, expected] and len(reads) == 1
    call.tables[0].add_(0)  # an honest change of nothing
    assert call() == expected and len(reads) == 2
    call.tables[0].fill_(-1)
    with pytest.raises(ValueError):
        call()


def test_tables_that_are_gone_are_forgotten():
    gc.collect()
    before = len(given._known)
    for _ in range(20):
        Call("stratified")()
    gc.collect()
    assert len(given._known) == before
