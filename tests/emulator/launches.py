"""The kernels' own launches, with the PTX emulator in place of a GPU.

    with Emulated("cuda:90") as machine:
        fixed.launch(out, members, tables, ...)

Within, `kernel[grid](...)` compiles the kernel ahead of time for what it is given and executes the
PTX; Recorded only notes what would be compiled, and the key by which Triton would find it. Types
are those of the kernel's annotations and of the tensors, so that nothing of a launch is said twice.
Outputs must be wholly written.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime import jit
from triton.runtime.jit import KernelInterface

from emulator import aot, ptx

POINTERS = {torch.int32: "*i32", torch.int64: "*i64"}
# What a kernel writes; of all others "out_ptr" alone, which several may fill together.
TABLES = {
    "window_tables": ("window_ptr", "keys_ptr"),
    "pk_visits": ("visits_ptr", "first_ptr", "keys_ptr"),
    "window_keys": ("window_ptr", "keys_ptr"),
    "class_extras": ("extras_ptr",),
    "slot_keys": ("keys_ptr",),
}


class Recorded:
    """Notes the specs of the kernels that are launched within, by name, and Triton's keys: two
    launches of one key run the same code."""

    def __init__(self, target: str):
        self.target, self.specs, self.keys = target, dict[str, aot.Spec](), set[str]()

    def __enter__(self) -> Any:
        self._plain = KernelInterface.__getitem__
        KernelInterface.__getitem__ = lambda kernel, grid: self._launch(kernel, grid)
        return self

    def __exit__(self, *_: object) -> None:
        KernelInterface.__getitem__ = self._plain

    def _launch(self, kernel: Any, grid: tuple[int, ...]) -> Callable[..., None]:
        def run(*args: Any, num_warps: int, **constexprs: Any) -> None:
            signature = inspect.signature(kernel.fn).parameters
            given = dict(zip(signature, args, strict=False))
            spec = self._spec(kernel, given, signature, constexprs, num_warps)
            self.keys.add(self._key(kernel, args, constexprs | {"num_warps": num_warps}))
            self.run(kernel.fn.__name__, grid, given, spec)

        return run

    def _spec(
        self, kernel: Any, given: dict[str, Any], signature: Any, constexprs: dict, num_warps: int
    ) -> aot.Spec:  # fmt: skip
        return {
            "kernel": f"{kernel.fn.__module__}:{kernel.fn.__name__}",
            "target": self.target,
            "signature": {
                name: POINTERS[value.dtype]
                if isinstance(value, torch.Tensor)
                else signature[name].annotation
                for name, value in given.items()
            },
            "constexprs": constexprs,
            "num_warps": num_warps,
        }

    def _key(self, kernel: Any, args: tuple[Any, ...], options: dict[str, Any]) -> str:
        compiled = kernel
        if not isinstance(kernel, jit.JITFunction):  # interpreted in this process
            compiled = jit.JITFunction(kernel.fn, **kernel.kwargs)
        backend = make_backend(GPUTarget("cuda", 90, 32))
        bind = jit.create_function_from_signature(compiled.signature, compiled.params, backend)
        _, specialization, rest = bind(*args, **options)
        return f"{kernel.fn.__name__} {jit.compute_cache_key({}, specialization, rest)}"

    def run(self, name: str, grid: tuple[int, ...], given: dict[str, Any], spec: aot.Spec) -> None:
        chosen = [f"{key}={value}" for key, value in spec["constexprs"].items()]
        pointers = [kind for kind in spec["signature"].values() if kind[0] == "*"]
        self.specs[" ".join([spec["kernel"], *chosen, *pointers])] = spec


class Emulated(Recorded):
    """Executes them. counts: of each kernel the instructions executed, by opcode."""

    def __init__(self, target: str):
        super().__init__(target)
        self.counts: dict[str, Counter[str]] = {}
        self._outs: dict[int, tuple[ptx.Buffer, torch.Tensor]] = {}

    def run(self, name: str, grid: tuple[int, ...], given: dict[str, Any], spec: aot.Spec) -> None:
        written = TABLES.get(name, ("out_ptr",))
        params = [
            self._buffer(key, value, key in written) if isinstance(value, torch.Tensor) else value
            for key, value in given.items()
        ]
        made = aot.compile_kernel(spec)
        counts = ptx.parse(made["ptx"]).launch(grid, params, made["shared"])
        self.counts[name] = self.counts.get(name, Counter()) + counts
        for buffer, key in zip(params, given, strict=True):
            if key in written:
                given[key].numpy()[...] = buffer.array
                if key != "out_ptr":
                    buffer.assert_fully_written()

    def _buffer(self, name: str, tensor: torch.Tensor, written: bool) -> ptx.Buffer:
        if name != "out_ptr":
            return ptx.Buffer(tensor.numpy(), name, writable=written)
        where = tensor.data_ptr()
        if where not in self._outs:  # the tensor is held, so that no other has its place
            self._outs[where] = ptx.Buffer(tensor.numpy(), name, writable=True), tensor
        return self._outs[where][0]

    def __exit__(self, error: Any, *_: object) -> None:
        super().__exit__()
        if error is None:
            for buffer, _tensor in self._outs.values():
                buffer.assert_fully_written()


def total(counts: dict[str, Counter[str]]) -> int:
    return sum(count.total() for count in counts.values())


def sass_of(spec: aot.Spec) -> float:
    """SASS instructions in the code, a lane."""
    per_thread = spec["constexprs"]["BLOCK"] / (32 * spec["num_warps"])
    return sum(aot.compile_kernel(spec)["sass"].values()) / per_thread
