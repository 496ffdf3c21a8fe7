"""The PTX emulator itself: known answers from hand-written PTX, and planted faults it must see."""

import itertools
import random

import numpy as np
import pytest

from emulator import ptx
from emulator.ptx import Buffer, PtxError

HEAD = """
.extern .shared .align 16 .b8 global_smem[];
.visible .entry test(
    .param .u64 .ptr .global .align 16 out, .param .u64 .ptr .global .align 16 in, .param .u32 n
) .reqntid {threads} {{
    .reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<19>; .reg .b64 %rd<19>;
    ld.param.b64 %rd10, [out]; ld.param.b64 %rd11, [in]; ld.param.b32 %r10, [n];
    mov.u32 %r11, %tid.x;
    mad.wide.u32 %rd12, %r11, 8, %rd10;  // &out[tid] of 8 bytes
    mad.wide.u32 %rd13, %r11, 8, %rd11;  // &in[tid]
"""


def parse(body: str, threads: int = 32) -> ptx.Program:
    return ptx.parse(HEAD.format(threads=threads) + body + "\nret; }")


def output(count: int = 32, dtype: type = np.uint64) -> Buffer:
    return Buffer(np.zeros(count, dtype), "out", writable=True)


def run(
    body: str, n: int = 0, threads: int = 32, out: Buffer | None = None, grid=(1,)
) -> list[int]:
    out = out or output(threads)
    source = Buffer(np.arange(100, 100 + threads, dtype=np.uint64), "in")
    parse(body, threads).launch(grid, [out, source, n], shared_bytes=1024)
    return out.array.tolist()


def evaluate(instruction: str, *columns: list[int]) -> list[int]:
    """Run one instruction in 32 threads on %rd1, %rd2, ... (and their low bits %r1, %rs1, ...).

    Its result is the register numbered 0, given back as an unsigned integer.
    """
    padded = [(column * 32)[:32] for column in columns]
    source = Buffer(np.array(padded, dtype=np.uint64).reshape(-1), "in")
    load = "".join(
        f"ld.global.b64 %rd{k}, [%rd13+{256 * (k - 1)}];"
        f"cvt.u32.u64 %r{k}, %rd{k}; cvt.u16.u64 %rs{k}, %rd{k};"
        for k in range(1, len(columns) + 1)
    )
    target = instruction.split()[1].strip(",")
    widen = {
        "%p0": "selp.b64 %rd0, 1, 0, %p0;",
        "%r0": "cvt.u64.u32 %rd0, %r0;",
        "%rs0": "cvt.u64.u16 %rd0, %rs0;",
        "%rd0": "",
    }[target]
    out = output()
    body = f"{load} {instruction}; {widen} st.global.b64 [%rd12], %rd0;"
    parse(body).launch((1,), [out, source, 0])
    return out.array[: len(columns[0])].tolist()


M32, M64 = 2**32 - 1, 2**64 - 1


# ------------------------------------------------------------------------------- arithmetic
@pytest.mark.parametrize(
    ("instruction", "columns", "expected"),
    [
        ("add.s32 %r0, %r1, -2", [[1, 5]], [M32, 3]),
        ("sub.s64 %rd0, %rd1, %rd2", [[1], [2]], [M64]),
        ("neg.s32 %r0, %r1", [[1, 0]], [M32, 0]),
        ("abs.s32 %r0, %r1", [[M32, 7]], [1, 7]),
        ("mul.lo.s32 %r0, %r1, %r2", [[M32], [3]], [M32 - 2]),
        ("mul.hi.u32 %r0, %r1, %r2", [[M32], [M32]], [M32 - 1]),
        ("mul.hi.s32 %r0, %r1, %r2", [[M32], [M32]], [0]),
        ("mul.hi.u64 %rd0, %rd1, %rd2", [[M64, 1 << 63], [M64, 6]], [M64 - 1, 3]),
        ("mul.hi.s64 %rd0, %rd1, %rd2", [[M64, 1 << 63], [1, 6]], [M64, M64 - 2]),
        ("mul.wide.u32 %rd0, %r1, %r2", [[M32], [M32]], [M32 * M32]),
        ("mul.wide.s32 %rd0, %r1, %r2", [[M32], [5]], [M64 - 4]),
        ("mad.lo.s32 %r0, %r1, %r2, 7", [[1 << 31], [3]], [(1 << 31) + 7]),
        ("mad.wide.u32 %rd0, %r1, 4, %rd2", [[M32], [M64]], [4 * M32 - 1]),
        ("div.s32 %r0, %r1, 2", [[M32 - 6, 7]], [M32 - 2, 3]),
        ("rem.s32 %r0, %r1, 2", [[M32 - 6, 7]], [M32, 1]),
        ("div.u32 %r0, %r1, 2", [[M32 - 6]], [(M32 - 6) // 2]),
        ("div.s64 %rd0, %rd1, %rd2", [[M64 - 6], [2]], [M64 - 2]),
        ("rem.u64 %rd0, %rd1, %rd2", [[M64], [10]], [5]),
        ("min.u32 %r0, %r1, %r2", [[M32], [3]], [3]),
        ("min.s32 %r0, %r1, %r2", [[M32], [3]], [M32]),
        ("max.s64 %rd0, %rd1, %rd2", [[M64], [3]], [3]),
        ("not.b32 %r0, %r1", [[0]], [M32]),
        ("xor.b32 %r0, %r1, 0xFF", [[0xF0]], [0x0F]),
        ("shl.b32 %r0, %r1, %r2", [[3, 3, 3], [31, 32, 99]], [1 << 31, 0, 0]),
        ("shl.b16 %rs0, %rs1, 15", [[3]], [1 << 15]),
        ("shf.l.wrap.b32 %r0, %r1, %r2, 4", [[0xA0000001], [0x12345678]], [0x2345678A]),
        ("shf.r.wrap.b32 %r0, %r1, %r2, 4", [[0xA0000001], [0x12345678]], [0x8A000000]),
        ("shf.l.wrap.b32 %r0, %r1, %r2, 33", [[1 << 31], [0]], [1]),
        ("shf.l.clamp.b32 %r0, %r1, %r2, 33", [[7], [9]], [7]),
        ("add.s16x2 %r0, %r1, %r2", [[0xFFFFFFFF], [0x00010002]], [0x00000001]),
        ("shf.r.clamp.b32 %r0, %r1, %r2, 33", [[7], [9]], [9]),
        ("shr.u32 %r0, %r1, %r2", [[1 << 31] * 3, [4, 31, 32]], [1 << 27, 1, 0]),
        ("shr.s32 %r0, %r1, %r2", [[1 << 31] * 2, [4, 99]], [0xF8000000, M32]),
        ("shr.u64 %rd0, %rd1, 63", [[M64]], [1]),
        ("bfe.u32 %r0, %r1, 4, 8", [[0x12345]], [0x34]),
        ("bfe.s32 %r0, %r1, 4, 8", [[0x12F45, 0x12345]], [M32 - 0xB, 0x34]),
        ("cvt.s64.s32 %rd0, %r1", [[1 << 31]], [M64 - (1 << 31) + 1]),
        ("cvt.u64.u32 %rd0, %r1", [[1 << 31]], [1 << 31]),
        ("cvt.u32.u64 %r0, %rd1", [[(7 << 32) + 5]], [5]),
        ("cvt.s32.s8 %r0, %r1", [[0x180]], [M32 - 127]),
        ("cvt.u32.u16 %r0, %rs1", [[0x18000]], [0x8000]),
        ("mov.b64 %rd0, {%r1, %r2}", [[1], [2]], [(2 << 32) + 1]),
        ("mov.b32 %r0, -1", [[0]], [M32]),
        ("setp.lt.s32 %p0, %r1, %r2", [[M32, 3, 2], [2, 2, 2]], [1, 0, 0]),
        ("setp.lt.u32 %p0, %r1, %r2", [[M32, 1], [2, 2]], [0, 1]),
        ("setp.ge.u64 %p0, %rd1, %rd2", [[M64, 1], [2, 2]], [1, 0]),
        ("setp.ne.b16 %p0, %rs1, 1", [[0x10001, 2]], [0, 1]),
    ],
)
def test_instruction_gives_the_known_answer(instruction, columns, expected):
    assert evaluate(instruction, *columns) == expected


@pytest.mark.parametrize(
    ("opcode", "bits", "signed", "python"),
    [
        ("mul.hi", 32, False, lambda a, b: a * b >> 32),
        ("mul.hi", 64, False, lambda a, b: a * b >> 64),
        ("mul.hi", 64, True, lambda a, b: a * b >> 64),
        ("mul.lo", 64, True, lambda a, b: a * b),
        ("div", 64, True, lambda a, b: abs(a) // abs(b) * (1 if a * b >= 0 else -1)),
        ("rem", 64, True, lambda a, b: abs(a) % abs(b) * (1 if a >= 0 else -1)),
        ("div", 32, False, lambda a, b: a // b),
        ("rem", 32, False, lambda a, b: a % b),
        ("min", 32, True, min),
        ("max", 64, False, max),
    ],
)
def test_arithmetic_equals_that_of_python_on_random_integers(opcode, bits, signed, python):
    rnd = random.Random(bits)
    pairs = [[rnd.getrandbits(rnd.randrange(1, bits + 1)) or 1 for _ in range(32)] for _ in "ab"]
    low = 1 << bits - 1 if signed else 0
    a, b = ([((x + low) % (1 << bits)) - low for x in column] for column in pairs)
    register = "%rd" if bits == 64 else "%r"
    instruction = f"{opcode}.{'us'[signed]}{bits} {register}0, {register}1, {register}2"
    assert evaluate(instruction, *pairs) == [
        python(x, y) % (1 << bits) for x, y in zip(a, b, strict=True)
    ]


def test_a_register_splits_into_halves_and_a_sink_takes_the_unwanted_one():
    body = "ld.global.b64 %rd1, [%rd13]; mov.b64 {%r1, _}, %rd1; mov.b64 {_, %r2}, %rd1;"
    body += "mov.b64 %rd2, {%r2, %r1}; st.global.b64 [%rd12], %rd2;"
    assert run(body) == [k << 32 for k in range(100, 132)]


def test_bytes_are_widened_by_the_sign_of_their_type():
    source = Buffer(np.full(32, 0x80, np.uint8), "in")
    for kind, expected in [("b8", 0x80), ("s8", M64 - 127)]:
        body = (
            f"ld.global.{kind} %rs1, [%rd11]; cvt.s64.s16 %rd1, %rs1; st.global.b64 [%rd12], %rd1;"
        )
        out = output()
        parse(body).launch((1,), [out, source, 0])
        assert out.array.tolist() == [expected] * 32


def test_a_register_that_was_never_written_is_not_zero():
    assert 0 not in run("st.global.b64 [%rd12], %rd1;")


# ---------------------------------------------------------------------------- threads, blocks
def test_every_block_of_the_grid_sees_its_own_numbers():
    body = """
        mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ctaid.y; mov.u32 %r3, %nctaid.x;
        mad.lo.s32 %r4, %r2, %r3, %r1;
        mad.wide.u32 %rd1, %r4, 256, %rd12;
        cvt.u64.u32 %rd2, %r4; st.global.b64 [%rd1], %rd2;"""
    # 6000 threads and more: in several portions
    for grid in [(3, 2), (1,), (40, 9)]:
        blocks = int(np.prod(grid))
        got = run(body, out=output(32 * blocks), grid=grid)
        assert got == [block for block in range(blocks) for _ in range(32)]


LOOP = """
    mov.b32 %r1, 0;
    $again: setp.ge.u32 %p1, %r1, %r11;
    @%p1 bra $done;
    add.s32 %r1, %r1, 1;
    bra.uni $again;
    $done: shfl.sync.bfly.b32 %r2, %r1, 1, 31, -1;
    cvt.u64.u32 %rd1, %r2; st.global.b64 [%rd12], %rd1;
"""


def test_threads_that_branch_apart_meet_again():
    assert run(LOOP) == [k ^ 1 for k in range(32)]


def test_instructions_are_counted_where_they_run_and_where_a_predicate_switches_them_off():
    counts = parse(LOOP).launch((2,), [output(), Buffer(np.zeros(32), "in"), 0])
    assert counts["add.s32"] == 2 * sum(range(32))
    assert counts["setp.ge.u32"] == 2 * sum(k + 1 for k in range(32))
    assert counts["bra"] == counts["setp.ge.u32"]
    assert counts["shfl.sync.bfly.b32"] == counts["ret"] == 64


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("shfl.sync.bfly.b32 %r2, %r11, 16, 31, -1", [k ^ 16 for k in range(32)]),
        ("shfl.sync.idx.b32 %r2, %r11, 5, 31, -1", [5] * 32),
        ("shfl.sync.up.b32 %r2, %r11, 3, 0, -1", [0, 1, 2, *range(29)]),
        ("shfl.sync.down.b32 %r2, %r11, 3, 31, -1", [*range(3, 32), 29, 30, 31]),
        ("redux.sync.max.s32 %r2, %r11, -1", [31] * 32),
        ("redux.sync.add.u32 %r2, %r11, -1", [sum(range(32))] * 32),
    ],
)
def test_a_warp_exchanges_what_its_threads_hold(form, expected):
    got = run(f"{form}; cvt.u64.u32 %rd1, %r2; st.global.b64 [%rd12], %rd1;", threads=64)
    second = [32 * 32 + e if "add" in form else 32 + e for e in expected]
    assert got == expected + second


def test_a_shuffle_without_all_threads_of_the_warp_is_refused():
    with pytest.raises(PtxError, match="not all threads of the warp"):
        run(
            "setp.eq.b32 %p1, %r11, 7; @%p1 bra $out; shfl.sync.idx.b32 %r1, %r11, 0, 31, -1; $out:"
        )
    with pytest.raises(PtxError, match="not all are in the mask"):
        run("shfl.sync.idx.b32 %r1, %r11, 0, 31, 0xFFFF;")


def test_a_launch_that_does_not_end_is_given_up(monkeypatch):
    monkeypatch.setattr(ptx, "MOST_TURNS", 100)
    with pytest.raises(PtxError, match="does not end"):
        run("$again: bra.uni $again;")


# --------------------------------------------------------------------------- shared, barriers
# thread 0 of each warp publishes the warp's number; then all read the other warp's, twice over
EXCHANGE = """
    shr.u32 %r1, %r11, 5; and.b32 %r2, %r11, 31; setp.eq.b32 %p1, %r2, 0;
    shl.b32 %r3, %r1, 2; mov.b32 %r4, global_smem; add.s32 %r5, %r4, %r3;
    xor.b32 %r6, %r5, 4;
    @%p1 st.shared.b32 [ %r5 + 0 ], %r1;
    bar.sync 0;
    ld.shared.b32 %r7, [%r6];
    bar.sync 0;
    @%p1 st.shared.b32 [%r5], %r7;
    bar.sync 0;
    ld.shared.b32 %r8, [%r5];
    cvt.u64.u32 %rd1, %r8; st.global.b64 [%rd12], %rd1;
"""


def test_warps_exchange_through_shared_memory():
    assert run(EXCHANGE, threads=64) == [1] * 32 + [0] * 32


def test_blocks_have_shared_memories_of_their_own():
    body = (
        "mov.u32 %r1, %ctaid.x; st.shared.b32 [global_smem], %r1; ld.shared.b32 %r2, [global_smem];"
    )
    body += "mad.wide.u32 %rd1, %r1, 256, %rd12; cvt.u64.u32 %rd2, %r2; st.global.b64 [%rd1], %rd2;"
    assert run(body, out=output(96), grid=(3,)) == [0] * 32 + [1] * 32 + [2] * 32


def without(body: str, instruction: str, which: int) -> str:
    """The body less one occurrence, counted from 0."""
    parts = body.split(instruction)
    return instruction.join(parts[: which + 1]) + instruction.join(parts[which + 1 :])


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_barrier_is_reported_as_a_race(which):
    with pytest.raises(PtxError, match="race"):
        run(without(EXCHANGE, "bar.sync 0;", which), threads=64)


def test_two_warps_that_write_one_byte_at_once_are_reported_as_a_race():
    with pytest.raises(PtxError, match="race"):
        run("st.shared.b32 [global_smem], 7;", threads=64)


def test_threads_of_a_block_at_different_barriers_are_reported():
    body = "setp.lt.u32 %p1, %r11, 32; @%p1 bra $low; bar.sync 0; bra.uni $out;"
    body += "$low: bar.sync 0; $out:"
    with pytest.raises(PtxError, match="different barriers"):
        run(body, threads=64)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("ld.shared.b32 %r1, [global_smem];", "unwritten"),
        ("st.shared.b32 [global_smem+1024], %r11;", "outside"),
        ("mov.b32 %r1, 0; st.shared.b32 [%r1], %r11;", "outside"),
        ("st.shared.b32 [global_smem+2], 1;", "misaligned"),
        ("st.shared.b32 [global_smem], %r11;", "different values"),
    ],
)
def test_a_wrong_use_of_shared_memory_is_reported(body, what):
    with pytest.raises(PtxError, match=what):
        run(body)


# ------------------------------------------------------------------------------ global memory
MASKED = "setp.{compare}.u32 %p1, %r11, %r10; @%p1 st.global.b64 [%rd12], %rd13;"


def test_an_off_by_one_mask_is_reported_with_its_place():
    out = output(20)
    run(MASKED.format(compare="lt"), n=20, out=out)
    out.assert_fully_written()
    with pytest.raises(PtxError, match="outside") as caught:
        run(MASKED.format(compare="le"), n=20, out=output(20))
    assert caught.value.text == "@%p1 st.global.b64 [%rd12], %rd13"
    where = {"block": 0, "thread": 20, "buffer": "out", "byte": 160, "of": 160}
    assert caught.value.where == where
    assert "thread 20, buffer out, byte 160" in str(caught.value)


def test_an_output_that_is_not_fully_written_is_reported():
    out = output(20)
    run(MASKED.format(compare="lt"), n=19, out=out)
    assert out.written.tolist() == [True] * 152 + [False] * 8
    with pytest.raises(PtxError, match=r"8 bytes never written \(buffer out, byte 152\)"):
        out.assert_fully_written()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("st.global.b64 [%rd12+4], %rd1;", "misaligned for 8 bytes"),
        ("ld.global.v2.b64 {%rd1, %rd2}, [%rd11+8];", "misaligned for 16 bytes"),
        ("ld.global.b32 %r1, [%rd10];", "unwritten"),
        ("st.global.b64 [%rd13], %rd1;", "to an input"),
        ("ld.global.b32 %r1, [%rd11+-4];", "outside a buffer"),
        ("mov.b64 %rd1, 0; ld.global.b32 %r1, [%rd1];", "outside every buffer"),
        ("st.global.b32 [%rd10], %r11;", "different values"),
        ("st.global.b32 [%rd12], 1; st.global.b32 [%rd12], 2;", "another value"),
    ],
)
def test_a_wrong_use_of_global_memory_is_reported(body, what):
    with pytest.raises(PtxError, match=what):
        run(body)


def test_a_vector_load_needs_the_alignment_that_the_buffer_has():
    body = "ld.global.v2.b64 {%rd1, %rd2}, [%rd11+16]; st.global.b64 [%rd12], %rd2;"
    for align, count in itertools.product((16, 8), (1, 2)):
        source, out = Buffer(np.arange(4, dtype=np.uint64) * count, "in", align=align), output()
        if align == 8:
            with pytest.raises(PtxError, match="misaligned for 16 bytes"):
                parse(body).launch((1,), [out, source, 0])
        else:
            parse(body).launch((1,), [out, source, 0])
            assert out.array.tolist() == [3 * count] * 32


def test_a_buffer_neither_changes_nor_follows_the_array_it_was_made_of():
    mine = np.zeros(32, np.uint64)
    out = Buffer(mine, "out", writable=True)
    assert run("st.global.b64 [%rd12], 5;", out=out) == [5] * 32
    assert not mine.any()


# --------------------------------------------------------------------- what is not understood
@pytest.mark.parametrize(
    "body", ["atom.global.add.u32 %r1, [%rd10], 1;", "add.f32 %r1, %r2, %r3;", "frob %r1;"]
)
def test_an_unknown_opcode_is_refused_when_it_is_parsed(body):
    with pytest.raises(PtxError, match=f"unknown opcode at '{body.split()[0]}"):
        parse(body)


@pytest.mark.parametrize(
    "body",
    [
        "ld.b32 %r1, [%rd11];",
        "mul.wide.u32 %r1, %r2, %r3;",
        "add.s32 %r1, %r2, %nothing;",
        "add.s32 %r1, %r2;",
        "bar.sync 1;",
        "cvt.rn.u32.u64 %r1, %rd1;",
        "bra $nowhere;",
    ],
)
def test_an_unknown_form_is_refused_when_it_is_reached(body):
    with pytest.raises(PtxError, match="not emulated at"):
        run(body)


def test_inline_assembly_may_declare_registers_of_its_own():
    body = "{ .reg .b32 t; .reg .pred p, q; mov.b32 t, 3; setp.eq.b32 q, t, 3; @!q mov.b32 t, 4;"
    body += "cvt.u64.u32 %rd1, t; } { .reg .b32 t; mov.b32 t, 9; } st.global.b64 [%rd12], %rd1;"
    assert run(body) == [3] * 32


@pytest.mark.parametrize("params", [[], [0, 0], [0, 0, 1 << 32], [0, 0, 0, 0], [0, 0, output()]])
def test_params_that_do_not_fit_the_entry_are_refused(params):
    with pytest.raises(ValueError, match=r"\d params, but|takes an int"):
        parse("").launch((1,), params)
