"""PTX emulator: what the compiler made of a kernel is executed, and its memory is checked.

In    PTX of one entry (integer work only), buffers and scalars, a grid
Out   what the buffers hold then, and how many instructions ran
The threads of many blocks are the lanes of NumPy arrays. Threads at the lowest program counter
run first, so those that branched apart meet again where their ways join. PtxError tells of
    global   an access outside every buffer, or misaligned; a read of an unwritten byte; a store
             to an input, or of another value where one was stored (thread order would decide)
    shared   the same, and a race: two warps use a byte, one of them writes, no bar.sync between
             (the lanes of one warp run in step here; only two values stored at once show there)
    warp     a shuffle or reduction at which not all threads of the warp are, or are asked for
    block    threads that wait at different barriers; a launch that does not end
    opcode   one that is not known, when it is parsed; a form that is not, when it is reached
PTX does not say what an unwritten register holds, nor x / 0: here a pattern, and all ones.
Knows nothing of Triton or of the kernels.
"""

from __future__ import annotations

import itertools
import operator as o
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Lanes = Any  # a mask [lanes], or True: all of them

LANES_AT_ONCE = 8192  # blocks are emulated side by side, up to so many threads
MOST_TURNS = 100_000  # of groups of threads, each from one branch or barrier to another
NEVER = 1 << 62  # a program counter that no instruction has
SLOT, MIDDLE = 1 << 40, 1 << 39  # each buffer begins in the middle of so many addresses
SHARED_SLOT, SHARED_BASE = 1, 1024  # shared addresses begin at 1024, so that 0 is outside
slots = itertools.count(SHARED_SLOT + 1)
NOBODY, MANY = -1, -2  # beside warp numbers: who used a shared byte
U32, BOOL = np.dtype(np.uint32), np.dtype(bool)


class PtxError(Exception):
    """What went wrong at which instruction; `where` has its block, thread, buffer, byte, ..."""

    def __init__(self, what: str, text: str = "", **where: Any) -> None:
        self.what, self.text, self.where = what, text, where
        at = ", ".join(f"{name} {value}" for name, value in where.items())
        super().__init__(what + (f" at '{text}'" if text else "") + (f" ({at})" if at else ""))


class Types(dict[str, Any]):
    """u32, s64, b16, pred, ... -> the NumPy type that computes it."""

    def __missing__(self, kind: str) -> Any:
        raise PtxError(f"type .{kind} is not emulated")


TYPES = Types(pred=BOOL)
for kind, size in itertools.product("usb", (1, 2, 4, 8)):
    TYPES[f"{kind}{8 * size}"] = np.dtype(f"{'i' if kind == 's' else 'u'}{size}")


# ------------------------------------------------------------------------------------ memory
class Region:
    """Bytes that know which of them were written, reached by aligned elements of 1 to 8 bytes.

    lead is where byte 0 lies in the store, stride how far the next block's own copy is from it.
    """

    def __init__(self, name: str, size: int, lead: int = 0, copies: int = 0) -> None:
        padded = -(-(lead + size) // 16) * 16
        self.name, self.size, self.writable = name, size, True
        self.lead, self.stride = lead, padded if copies else 0
        self.data = np.zeros(padded * max(copies, 1), np.uint8)
        self.known = np.zeros_like(self.data)  # 255 where written

    def read(self, at: Array, width: int) -> tuple[Array, Array]:
        """(the elements there, ones in the bits of them that were written)."""
        data, known = (part.view(f"u{width}") for part in (self.data, self.known))
        return data[at // width], known[at // width]

    def write(self, at: Array, values: Array) -> None:
        data, known = (part.view(values.dtype) for part in (self.data, self.known))
        data[at // values.itemsize], known[at // values.itemsize] = values, ~values.dtype.type(0)


class Buffer(Region):
    """An array in global memory: copied in, and `array` is what is there now.

    An input has its contents from the start and is read-only; a writable one counts as
    unwritten until a kernel writes it. Its address is a multiple of align and of no more.
    """

    def __init__(self, array: Array, name: str, writable: bool = False, align: int = 16) -> None:
        super().__init__(name, array.nbytes, lead=align)
        self.slot = next(slots)
        self.writable, self._dtype, self._shape = writable, array.dtype, array.shape
        self._own = slice(align, align + self.size)
        self.data[self._own] = np.frombuffer(array.tobytes(), np.uint8)
        self.known[self._own] = 0 if writable else 255

    @property
    def array(self) -> Array:
        return self.data[self._own].view(self._dtype).reshape(self._shape)

    @property
    def written(self) -> Array:
        """[size] bool, the bytes that hold a value."""
        return self.known[self._own] != 0

    def assert_fully_written(self) -> None:
        missing = np.flatnonzero(~self.written)
        if missing.size:
            raise PtxError(f"{missing.size} bytes never written", buffer=self.name, byte=missing[0])


class Shared(Region):
    """The shared memories of some blocks, and who used each byte.

    writer, reader: the one warp that did since its block's last barrier, or NOBODY or MANY.
    """

    def __init__(self, blocks: int, size: int) -> None:
        super().__init__("shared", size, copies=blocks)
        self.writer = np.full(self.data.shape, NOBODY, np.int16)
        self.reader = self.writer.copy()

    def barrier(self, blocks: Array) -> None:
        for users in (self.writer, self.reader):
            users.reshape(len(blocks), -1)[blocks] = NOBODY

    def races(self, at: Array, width: int, warp: Array, writes: bool) -> Array:
        """Note an access by each lane: which use what another warp wrote, or write what it read."""
        at, warp = at[:, None] + np.arange(width), warp[:, None]
        race = (self.writer[at] != NOBODY) & (self.writer[at] != warp)
        if writes:
            race |= (self.reader[at] != NOBODY) & (self.reader[at] != warp)
        users = self.writer if writes else self.reader
        users[at] = np.where((users[at] == NOBODY) | (users[at] == warp), warp, MANY)
        crowded = users[at] != warp  # another warp came here with this very instruction
        users[at[crowded]] = MANY
        return (race | (crowded & writes)).any(axis=1)


# -------------------------------------------------------------------------------- arithmetic
def shift_left(a: Array, n: Array) -> Array:
    """0 where n is the width or more."""
    last = 8 * a.itemsize - 1
    return np.where(n > last, a.dtype.type(0), a << np.minimum(n, last).astype(a.dtype))


def shift_right(a: Array, n: Array) -> Array:
    """Of unsigned logical, of signed arithmetic; 0 or the sign where n is the width or more."""
    last = 8 * a.itemsize - 1
    shifted = a >> np.minimum(n, last).astype(a.dtype)
    return shifted if a.dtype.kind == "i" else np.where(n > last, a.dtype.type(0), shifted)


def mul_wide(a: Array, b: Array) -> Array:
    wide = np.dtype(f"{a.dtype.kind}{2 * a.itemsize}")
    return a.astype(wide) * b.astype(wide)


def mul_hi(a: Array, b: Array) -> Array:
    if a.itemsize < 8:
        return (mul_wide(a, b) >> 8 * a.itemsize).astype(a.dtype)
    if a.dtype.kind == "i":
        high = mul_hi(a.view(np.uint64), b.view(np.uint64)).view(np.int64)
        return high - np.where(a < 0, b, 0) - np.where(b < 0, a, 0)
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    (a1, a0), (b1, b0) = ((x >> half, x & low) for x in (a, b))
    middle = a1 * b0 + (a0 * b0 >> half)
    return a1 * b1 + (middle >> half) + (a0 * b1 + (middle & low) >> half)


def divide(a: Array, b: Array) -> Array:
    """Towards 0; all ones where b is 0."""
    ones = ~a.dtype.type(0)
    if a.dtype.kind == "u":
        return np.where(b == 0, ones, a // np.where(b == 0, ones, b))
    size = divide(*(np.abs(x).view(f"u{x.itemsize}") for x in (a, b))).view(a.dtype)
    return np.where(b == 0, ones, np.where((a < 0) != (b < 0), -size, size))


def extract_bits(a: Array, start: Array, length: Array) -> Array:
    width, start, length = U32.type(8 * a.itemsize), start & U32.type(255), length & U32.type(255)
    above = width - np.minimum(start + length, width)
    found = shift_right(shift_left(a, above), above + start)
    return np.where(length == 0, a.dtype.type(0), found)


def funnel(left: bool, wrap: bool) -> Any:
    """(low, high, n) -> the high half of their 64 bits shifted left, or the low half shifted right,
    by n modulo 32, or by 32 at most."""

    def shift(low: Array, high: Array, n: Array) -> Array:
        both = high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64)
        n = (n & U32.type(31) if wrap else np.minimum(n, U32.type(32))).astype(np.uint64)
        return (both << n >> np.uint64(32) if left else both >> n).astype(U32)

    return shift


# Name without type -> (function, types of its sources): t as the instruction says, w twice as
# wide, u always u32, p a predicate.
OPERATIONS: dict[str, tuple[Any, str]] = {
    **{f"setp.{f.__name__}": (f, "tt") for f in (o.eq, o.ne, o.lt, o.le, o.gt, o.ge)},
    "add": (np.add, "tt"),
    "sub": (np.subtract, "tt"),
    "and": (np.bitwise_and, "tt"),
    "or": (np.bitwise_or, "tt"),
    "xor": (np.bitwise_xor, "tt"),
    "not": (np.invert, "t"),
    "min": (np.minimum, "tt"),
    "max": (np.maximum, "tt"),
    "neg": (np.negative, "t"),
    "abs": (np.abs, "t"),
    "mul.lo": (np.multiply, "tt"),
    "mul.hi": (mul_hi, "tt"),
    "mul.wide": (mul_wide, "tt"),
    "mad.lo": (lambda a, b, c: a * b + c, "ttt"),
    "mad.wide": (lambda a, b, c: mul_wide(a, b) + c, "ttw"),
    "div": (divide, "tt"),
    "rem": (lambda a, b: a - divide(a, b) * b, "tt"),
    "shl": (shift_left, "tu"),
    "shr": (shift_right, "tu"),
    "shf.l.wrap": (funnel(left=True, wrap=True), "ttu"),
    "shf.r.wrap": (funnel(left=False, wrap=True), "ttu"),
    "shf.l.clamp": (funnel(left=True, wrap=False), "ttu"),
    "shf.r.clamp": (funnel(left=False, wrap=False), "ttu"),
    "bfe": (extract_bits, "tuu"),
    "selp": (lambda a, b, choose: np.where(choose, a, b), "ttp"),
}
ARITHMETIC = {
    f"{name}.{kind}": (compute, [{"t": own, "w": wide, "u": U32, "p": BOOL}[x] for x in sources])
    for name, (compute, sources) in OPERATIONS.items()
    for kind, own in TYPES.items()
    for wide in [TYPES.get(f"{kind[0]}{16 * own.itemsize}")]
}


def add_halves(a: Array, b: Array) -> Array:
    """The two 16-bit halves added each for itself."""
    low = U32.type(0xFFFF)
    return (a & ~low) + (b & ~low) | (a + b & low)


for kind in ("s16x2", "u16x2"):
    ARITHMETIC[f"add.{kind}"] = add_halves, [U32, U32]


# ----------------------------------------------------------------------------------- program
ENTRY = re.compile(r"\.entry\s+[\w$]+\s*\(([^)]*)\)\s*\.reqntid\s+(\d+)[^{]*\{")
PARAMETER = re.compile(r"\.param\s+\.(\w+)\s([^,]*?)([\w$]+)\s*(?:,|$)")
STATEMENT = re.compile(
    r"\s*(?:(?P<brace>[{}])|(?P<label>[$%\w]+):(?!:)|\.(?:loc|file)\b[^\n]*"
    r"|(?P<text>[^;{}]*(?:\{[^{}]*\}[^;{}]*)*);)"
)
INSTRUCTION = re.compile(r"(?:@(!?)(\S+) )?([a-z][\w.:]*)(?: (.*))?")
OPERAND = re.compile(r"\s*(\{[^}]*\}|\[[^\]]*\]|[^,{\[]+)\s*(?:,|$)")
ACCESS = re.compile(r"(ld|st)\.(global|shared)(\.L[12]::[\w:]+|\.[a-z]+)*(\.v[248])?\.\w+")


@dataclass(frozen=True)
class Instruction:
    text: str
    opcode: str
    operands: list[str]
    guard: str = ""
    guard_is: bool = True

    @property
    def parts(self) -> list[str]:
        return self.opcode.split(".")


@dataclass
class Program:
    """One entry, parsed."""

    parameters: dict[str, tuple[Any, bool]]  # name -> (type, whether a pointer)
    threads: int  # of a block
    shared_name: str
    registers: dict[str, Any]  # name -> type
    labels: dict[str, int] = field(default_factory=dict)
    code: list[Instruction] = field(default_factory=list)

    def launch(
        self, grid: Sequence[int], params: Sequence[Buffer | int], shared_bytes: int = 0
    ) -> Counter[str]:
        """Run every block; opcode -> how many ran, summed over threads.

        Trailing pointers may be left out of params (Triton adds two) and are then null.
        A thread that a predicate switches off is counted, since it takes its issue slot; one
        that is elsewhere, waits or has left is not.
        """
        numbers = self._bind(params)
        regions: dict[int, Region] = {b.slot: b for b in params if isinstance(b, Buffer)}
        total, at_once = int(np.prod(grid)), max(1, LANES_AT_ONCE // self.threads)
        counts: Counter[str] = Counter()
        for first in range(0, total, at_once):
            blocks = np.arange(first, min(first + at_once, total))
            regions[SHARED_SLOT] = Shared(len(blocks), shared_bytes)
            Machine(self, grid, blocks, numbers, regions, counts).run()
        return counts

    def _bind(self, params: Sequence[Buffer | int]) -> dict[str, int]:
        """Parameter -> its bits."""
        pointers = [pointer for _, pointer in self.parameters.values()]
        if len(params) > len(pointers) or not all(pointers[len(params) :]):
            raise ValueError(f"{len(params)} params, but the entry has {len(pointers)}")
        numbers = dict.fromkeys(self.parameters, 0)
        for (name, (dtype, pointer)), given in zip(self.parameters.items(), params, strict=False):
            bits = 8 * dtype.itemsize
            if isinstance(given, Buffer) and pointer:
                numbers[name] = given.slot * SLOT + MIDDLE + given.lead
            elif isinstance(given, int) and -1 << bits - 1 <= given < 1 << bits:
                numbers[name] = given % (1 << bits)
            else:
                kind = f"an int of {bits} bits" + " or a Buffer" * pointer
                raise ValueError(f"{name} takes {kind}, not {given!r}")
        return numbers


def parse(text: str) -> Program:
    """The one entry of a PTX file. Raises PtxError for an opcode that is not emulated."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
    entries = list(ENTRY.finditer(text))
    if len(entries) != 1:
        raise PtxError(f"one .entry with .reqntid is emulated at a time, here are {len(entries)}")
    params, threads = entries[0].groups()
    shared = re.search(r"\.extern\s+\.shared[^;]*?([\w$]+)\[\]", text)
    found = PARAMETER.findall(params)
    parameters = {param: (TYPES[kind], ".ptr" in more) for kind, more, param in found}
    sink = {"_": TYPES["u64"]}  # where what is not wanted goes
    program = Program(parameters, int(threads), shared[1] if shared else "", sink)
    at, depth = entries[0].end(), 1
    while depth:
        match = STATEMENT.match(text, at)
        if not match:
            raise PtxError("unknown statement", text[at : at + 60].strip())
        at, statement = match.end(), " ".join((match["text"] or "").split())
        depth += {"{": 1, "}": -1, None: 0}[match["brace"]]
        if match["label"]:
            program.labels[match["label"]] = len(program.code)
        elif statement.startswith(".reg "):
            _declare(program.registers, statement)
        elif statement and not statement.startswith(".pragma"):
            program.code.append(_instruction(statement))
    program.code.append(Instruction("end of the entry", "ret", []))
    return program


def _declare(registers: dict[str, Any], statement: str) -> None:
    """.reg .b32 %r<9> or .reg .pred p, q; a name may come back in another {}, with its type."""
    _, kind, names = statement.replace(".", "").split(" ", 2)
    for stem, count in re.findall(r"([%$\w]+)(?:<(\d+)>)?", names):
        for name in [f"{stem}{k}" for k in range(int(count))] if count else [stem]:
            if registers.setdefault(name, TYPES[kind]) != TYPES[kind]:
                raise PtxError(f"{name} is declared with two types", statement)


def _instruction(statement: str) -> Instruction:
    match = INSTRUCTION.fullmatch(statement)
    negated, guard, opcode, operands = match.groups(default="") if match else [""] * 4
    if not hasattr(Machine, f"do_{opcode.split('.')[0]}") and opcode not in ARITHMETIC:
        raise PtxError("unknown opcode", statement)
    found = [operand.strip() for operand in OPERAND.findall(operands)]
    return Instruction(statement, opcode, found, guard, not negated)


def pieces(operand: str) -> list[str]:
    """{a, b} -> [a, b]; [a + 8] -> [a, 8]; a -> [a]"""
    return re.findall(r"[^\s,{}\[\]+]+", operand)


# --------------------------------------------------------------------------------- execution
@dataclass
class Machine:
    """Some blocks of a launch while they run; lane = block * threads + thread.

    do_x runs the opcodes that begin with x; it returns True where it has set the threads' pc.
    """

    program: Program
    grid: Sequence[int]
    blocks: Array
    numbers: dict[str, int]  # parameter -> its bits
    regions: dict[int, Any]  # slot -> what lies there
    counts: Counter[str]  # opcode -> how many threads ran it
    op: Instruction = field(init=False)  # the one that runs now,
    at: int = field(init=False)  # where it stands in the code,
    group: Array = field(init=False)  # [lanes] and which threads are there

    def __post_init__(self) -> None:
        self.threads = self.program.threads
        self.lane = np.arange(len(self.blocks) * self.threads)
        self.pc = np.zeros_like(self.lane)
        self.live, self.waiting = np.ones(len(self.lane), bool), np.zeros(len(self.lane), bool)
        thread, block = self.lane % self.threads, self.blocks[self.lane // self.threads]
        special = {"%tid.x": thread, "%ntid.x": self.threads, "%laneid": thread % 32}
        for axis, extent in zip("xyz", (*self.grid, 1, 1), strict=False):
            special |= {f"%ctaid.{axis}": block % extent, f"%nctaid.{axis}": extent}
            block = block // extent
        self.registers = {
            name: self.spread(np.asarray(value)).astype(U32) for name, value in special.items()
        }

    def run(self) -> None:
        for _ in range(MOST_TURNS):
            if not self.live.any():
                return
            ready = np.where(self.live & ~self.waiting, self.pc, NEVER)
            self.at = int(ready.min())
            self.group = ready == self.at
            self._run_group(int(ready[~self.group].min(initial=NEVER)))
        raise PtxError("the launch does not end", self.op.text)

    def _run_group(self, others: int) -> None:
        """Straight on until a branch, or the instruction where others are."""
        size = int(self.group.sum())
        everyone = True if size == len(self.group) else self.group
        while self.at < others:
            self.op = op = self.program.code[self.at]
            self.counts[op.opcode] += size
            active = everyone
            try:
                if op.guard:
                    active = self.group & (self.register(op.guard) == op.guard_is)
                if getattr(self, f"do_{op.parts[0]}", self.arithmetic)(active):
                    return
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise PtxError("this form is not emulated", op.text) from error
            self.at += 1
        self.pc[self.group] = self.at

    def spread(self, values: Array) -> Array:
        return np.broadcast_to(values, len(self.lane))

    def lanes(self, active: Lanes) -> Array:
        return self.lane if active is True else np.flatnonzero(active)

    def register(self, name: str) -> Array:
        """[lanes]; made when first touched, with a pattern that no kernel may count on."""
        if name not in self.registers:
            pattern = np.frombuffer(b"\xa5" * 8, np.uint64).astype(self.program.registers[name])
            self.registers[name] = np.repeat(pattern, len(self.lane))
        return self.registers[name]

    def read(self, operand: str, dtype: Any) -> Array:
        """A register, of a wider one the low bits; an integer; the address of shared memory."""
        if operand == self.program.shared_name:
            operand = str(SHARED_BASE)
        if operand[0] in "-0123456789":
            bits = int(operand, 0) % (1 << 8 * dtype.itemsize)
            return np.array([bits], f"u{dtype.itemsize}").astype(dtype)
        register = self.register(operand)
        if register.itemsize > dtype.itemsize:
            register = register.astype(f"u{dtype.itemsize}")
        return register.view(dtype)

    def put(self, name: str, values: Array, active: Lanes) -> None:
        """A value narrower than the register is widened, by its sign if it has one."""
        register = self.register(name)
        if values.itemsize > register.itemsize:
            raise ValueError(f"{name} is too narrow")
        if values.itemsize < register.itemsize:
            values = values.astype(register.dtype)
        np.copyto(register, values.view(register.dtype), where=active)

    def check(self, lanes: Array, bad: Any, what: str, **where: Any) -> None:
        if bad.any():
            k = int(bad.argmax())
            block, thread = divmod(int(lanes[k]), self.threads)
            where = {n: x[k] if isinstance(x, np.ndarray) else x for n, x in where.items()}
            raise PtxError(what, self.op.text, block=self.blocks[block], thread=thread, **where)

    # ---------------------------------------------------------------- arithmetic and control
    def arithmetic(self, active: Lanes) -> None:
        compute, types = ARITHMETIC[self.op.opcode]
        target, *sources = self.op.operands
        pairs = zip(sources, types, strict=True)
        self.put(target, compute(*(self.read(source, dtype) for source, dtype in pairs)), active)

    def do_cvt(self, active: Lanes) -> None:
        _, to, of = self.op.parts
        values = self.read(self.op.operands[1], TYPES[of]).astype(TYPES[to])
        self.put(self.op.operands[0], values, active)

    def do_mov(self, active: Lanes) -> None:
        """Also {a, b} -> c, which has a in its low half, and c -> {a, b}."""
        own = TYPES[self.op.parts[1]]
        targets, sources = map(pieces, self.op.operands)
        half = np.dtype(f"u{max(own.itemsize // 2, 1)}")
        of, to = (own if len(side) == 1 else half for side in (sources, targets))
        columns = [self.spread(self.read(source, of)) for source in sources]
        for target, values in zip(targets, np.stack(columns, axis=1).view(to).T, strict=True):
            self.put(target, values, active)

    def do_createpolicy(self, active: Lanes) -> None:
        """Caches are not emulated: any value will do."""
        self.put(self.op.operands[0], np.zeros(1, np.uint64), active)

    def do_bra(self, active: Lanes) -> bool:
        self.pc[self.group] = self.at + 1
        self.pc[self.lanes(active)] = self.program.labels[self.op.operands[0]]
        return True

    def do_ret(self, active: Lanes) -> bool:
        self.live[self.lanes(active)] = False
        return self._open_barriers()

    def do_bar(self, active: Lanes) -> bool:
        if self.op.opcode == "bar.warp.sync":
            self.whole_warps(active, self.op.operands[0])
            return False
        if self.op.opcode != "bar.sync" or self.op.operands != ["0"]:
            raise ValueError("only bar.sync 0 of the whole block is emulated")
        self.waiting[self.lanes(active)] = True
        return self._open_barriers()

    def _open_barriers(self) -> bool:
        """Of each block whose live threads all wait, and at the same place."""
        self.pc[self.group] = self.at + 1
        states = (self.waiting, self.live, self.pc)
        waiting, live, pc = (state.reshape(-1, self.threads) for state in states)
        done: Any = waiting.any(axis=1) & (waiting | ~live).all(axis=1)
        first = np.where(waiting, pc, NEVER).min(axis=1, keepdims=True)
        apart = waiting & (pc != first) & done[:, None]
        self.check(self.lane, apart.ravel(), "threads of a block wait at different barriers")
        waiting[done] = False
        self.regions[SHARED_SLOT].barrier(done)
        return True

    def whole_warps(self, active: Lanes, mask: str) -> None:
        """What warps do together is emulated, and checked, to be done by all 32 threads."""
        here = np.zeros(len(self.lane), bool)
        here[self.lanes(active)] = True
        apart = here & ~np.repeat(here.reshape(-1, 32).all(axis=1), 32)
        self.check(self.lane, apart, "not all threads of the warp are here")
        asked = self.spread(self.read(mask, U32))
        self.check(self.lane, here & (asked != 2**32 - 1), "not all are in the mask", mask=asked)

    def do_shfl(self, active: Lanes) -> None:
        target, source, amount, limit, mask = self.op.operands
        self.whole_warps(active, mask)
        mode, lane, by = self.op.parts[2], self.lane % 32, self.read(amount, U32).astype(int)
        if limit != ("0" if mode == "up" else "31"):
            raise ValueError("within a segment of the warp")
        moved = {"idx": by + 0 * lane, "up": lane - by, "down": lane + by, "bfly": lane ^ by}[mode]
        inside = (moved >= 0) & (moved < 32)
        values = self.spread(self.read(source, U32))
        self.put(target, values[self.lane - lane + np.where(inside, moved, lane)], active)

    def do_redux(self, active: Lanes) -> None:
        _, _, name, kind = self.op.parts
        target, source, mask = self.op.operands
        self.whole_warps(active, mask)
        rows = self.spread(self.read(source, TYPES[kind])).reshape(-1, 32)
        values = OPERATIONS[name][0].reduce(rows, axis=1, dtype=rows.dtype)
        self.put(target, np.repeat(values, 32), active)

    # -------------------------------------------------------------------------------- memory
    def do_ld(self, active: Lanes) -> None:
        targets, dtype = pieces(self.op.operands[0]), TYPES[self.op.parts[-1]]
        if "param" in self.op.parts:
            name, offset = [*pieces(self.op.operands[1]), "0"][:2]
            bits = np.array([self.numbers[name] >> 8 * int(offset)], np.uint64)
            self.put(targets[0], bits.astype(f"u{dtype.itemsize}").view(dtype), active)
            return
        columns = [np.zeros(len(self.lane), f"u{dtype.itemsize}") for _ in targets]
        for column, region, lanes, at, where in self.places(self.op.operands[1], columns, active):
            column[lanes], known = region.read(at, dtype.itemsize)
            self.check(lanes, ~known != 0, "reads unwritten bytes", **where)
        for target, column in zip(targets, columns, strict=True):
            self.put(target, column.view(dtype), active)

    def do_st(self, active: Lanes) -> None:
        place, sources = self.op.operands
        dtype = np.dtype(f"u{TYPES[self.op.parts[-1]].itemsize}")
        columns = [self.spread(self.read(source, dtype)) for source in pieces(sources)]
        for column, region, lanes, at, where in self.places(place, columns, active, writes=True):
            new = column[lanes]
            if isinstance(region, Buffer):
                old, known = region.read(at, dtype.itemsize)
                bad = (new ^ old) & known != 0  # of the bits that were written
                self.check(lanes, bad, "stores another value than was stored", **where)
            region.write(at, new)
            bad = region.read(at, dtype.itemsize)[0] != new
            self.check(lanes, bad, "two threads store different values", **where)

    def places(
        self, place: str, columns: Sequence[Array], active: Lanes, writes: bool = False
    ) -> Iterator[tuple[Array, Any, Array, Array, dict[str, Any]]]:
        """(column, region, the lanes that go there, where in its store, for an error: where).

        One column for each register of a vector. Alignment, bounds and races are checked here.
        """
        match, width = ACCESS.fullmatch(self.op.opcode), columns[0].itemsize
        if not match or (len(columns) > 1) != bool(match[4]):
            raise ValueError("unknown modifiers, or another number of registers")
        size = width * len(columns)
        (name, offset), lanes = [*pieces(place), "0"][:2], self.lanes(active)
        start = self.read(name, self.program.registers.get(name, U32))
        address = self.spread(start)[lanes].astype(np.int64) + int(offset, 0)
        self.check(lanes, address % size != 0, f"misaligned for {size} bytes", address=address)
        if match[2] == "shared":
            address = address + (SHARED_SLOT * SLOT + MIDDLE - SHARED_BASE)
        for slot in np.unique(address // SLOT):
            here, there = (x[address // SLOT == slot] for x in (lanes, address))
            if slot not in self.regions:
                self.check(here, here >= 0, "outside every buffer", address=there)
            region = self.regions[slot]
            byte = there % SLOT - MIDDLE - region.lead
            where = {"buffer": region.name, "byte": byte, "of": region.size}
            self.check(here, (byte < 0) | (byte > region.size - size), "outside a buffer", **where)
            if writes and not region.writable:
                self.check(here, here >= 0, "stores to an input", **where)
            at = byte + region.lead + here // self.threads * region.stride
            if isinstance(region, Shared):
                bad = region.races(at, size, here % self.threads // 32, writes)
                self.check(here, bad, "race: no barrier since another warp was here", **where)
            for k, column in enumerate(columns):
                yield column, region, here, at + k * width, where | {"byte": byte + k * width}
