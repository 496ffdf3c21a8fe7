"""Ahead-of-time compilation of Triton kernels, with no GPU, for tests to look at the result.

In    specs, dicts that JSON can hold:
        kernel      "module:function"
        target      "cuda:80", "cuda:90", ..., "hip:gfx942"
        signature   parameter -> type: {"out_ptr": "*i64", "n": "i32"}
        constexprs  parameter -> value, for all others
        num_warps   4 by default
Out   one dict each:
        name, target, num_warps, shared (bytes), registers, spills (0: none), ptx ("" on hip),
        and on cuda sass, opcode -> how many in the code: {"IMAD": 312, "LDG": 9, ...}
Triton is interpreted where TRITON_INTERPRET is set, as it is for most tests; so this file is
also a script, and compiles in a process of its own, one for a test session: specs from stdin,
a line each time, results to stdout.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

Spec = dict[str, Any]
ANSWER = "answer: "
_done: dict[str, dict[str, Any]] = {}  # for as long as the test session lasts


def compile_kernel(spec: Spec) -> dict[str, Any]:
    return compile_kernels([spec])[0]


def compile_kernels(specs: list[Spec]) -> list[dict[str, Any]]:
    """Compile in a process of its own; what this session has compiled is not compiled again.

    Raises   RuntimeError with the compiler's last words.
    """
    keys = [json.dumps(spec, sort_keys=True) for spec in specs]
    missing = [key for key in dict.fromkeys(keys) if key not in _done]
    if missing:
        made = json.loads(_answer(f"[{','.join(missing)}]"))
        if isinstance(made, str):
            raise RuntimeError(f"compiling {len(missing)} kernels failed:\n{made}")
        _done.update(zip(missing, made, strict=True))
    return [_done[key] for key in keys]


def _answer(line: str) -> str:
    compiler = _compiler()
    assert compiler.stdin and compiler.stdout
    compiler.stdin.write(line + "\n")
    compiler.stdin.flush()
    for told in compiler.stdout:  # importing a kernel's module may print
        if told.startswith(ANSWER):
            return told.removeprefix(ANSWER)
    raise RuntimeError(f"the compiler ended with {compiler.wait()}")


@cache
def _compiler() -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    env["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    started = subprocess.Popen(
        [sys.executable, __file__], env=env, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    atexit.register(started.communicate)  # it ends with its input
    return started


def compiled_by_triton(spec: Spec) -> Any:
    """What triton.compile() gives, in this process, which must not interpret kernels."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module, _, function = spec["kernel"].partition(":")
    kernel = getattr(importlib.import_module(module), function)
    types, values = spec["signature"], spec.get("constexprs", {})
    wrong = set(kernel.arg_names) ^ {*types, *values}
    if wrong:
        raise ValueError(f"{spec['kernel']}: {sorted(wrong)} not in both the kernel and the spec")
    backend, _, arch = spec["target"].partition(":")
    return triton.compile(
        ASTSource(
            fn=kernel,
            signature={name: types.get(name, "constexpr") for name in kernel.arg_names},
            constexprs=values,
        ),
        target=GPUTarget("hip", arch, 64) if backend == "hip" else GPUTarget("cuda", int(arch), 32),
        options={"num_warps": spec.get("num_warps", 4)},
    )


def _compile(spec: Spec) -> dict[str, Any]:
    compiled = compiled_by_triton(spec)
    on_hip = spec["target"].startswith("hip")
    measured = _measure_hip(compiled.asm) if on_hip else _measure_cuda(compiled.asm)
    return {
        "name": compiled.metadata.name,
        "target": spec["target"],
        "num_warps": compiled.metadata.num_warps,
        "shared": compiled.metadata.shared,
        "ptx": compiled.asm.get("ptx", ""),
        **measured,
    }


def _measure_hip(asm: dict[str, Any]) -> dict[str, Any]:
    found = dict(re.findall(r"\.(\w+):\s+(\d+)", asm["amdgcn"]))
    spills = int(found["vgpr_spill_count"]) + int(found["sgpr_spill_count"])
    return {"registers": int(found["vgpr_count"]), "spills": spills}


def _measure_cuda(asm: dict[str, Any]) -> dict[str, Any]:
    """Registers, instructions by opcode, and spills: the loads and stores of local memory."""
    import triton.backends.nvidia

    cuobjdump = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(asm["cubin"])
        command = [str(cuobjdump), "-res-usage", "--dump-sass", str(cubin)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    opcodes = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z]\w*)", text)
    counts = Counter(opcodes)
    del counts["NOP"]  # padding
    registers = re.search(r"REG:(\d+)", text)
    if not registers or not counts:
        raise RuntimeError(f"cuobjdump says nothing that is understood:\n{text[:2000]}")
    return {
        "registers": int(registers[1]),
        "spills": counts["LDL"] + counts["STL"],
        "sass": dict(counts.most_common()),
    }


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            answer: Any = [_compile(spec) for spec in json.loads(line)]
        except Exception:
            answer = traceback.format_exc()[-4000:]
        print(f"{ANSWER}{json.dumps(answer)}", flush=True)
