"""Compiler: the C sources of this folder, and a library made of them.

Takes a level of instructions, and the machine's C compiler or ziglang's. Gives the library's bytes.
Knows nothing of torch or of where it is kept: a build of the package uses this file by itself.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("gpusampler")

FLAGS = (
    "-std=c11", "-O3", "-funroll-loops", "-ffp-contract=off", "-fPIC", "-shared",
    "-fvisibility=hidden", "-Wno-psabi",
)  # fmt: skip
# malloc and memset are the process's own, of whatever C library; and ziglang would make one first
LINK = ("-nostdlib",) if sys.platform == "linux" else ()
WIDE = ("-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl")
LEVELS = {
    "avx512": (*WIDE, "-mprefer-vector-width=512"),
    "avx2": ("-mavx2", "-mfma"),
    "base": (),
}
ON_X86 = ("x86_64", "amd64")
SUFFIX = ".dll" if sys.platform == "win32" else ".so"
SLOW = 1.0  # seconds


def read_sources() -> dict[str, bytes]:
    """The sources by file name; none where they cannot be read."""
    with suppress(OSError):
        paths = [*Path(__file__).parent.glob("*.[ch]")]
        return {path.name: path.read_bytes() for path in sorted(paths)}
    return {}


# As they were when this was imported: a process never runs code of other sources than its own.
SOURCES = read_sources()


class NoCompilerError(RuntimeError):
    """There is no C compiler, or none that makes the library."""


def levels() -> tuple[str, ...]:
    """The levels that there are on this kind of machine."""
    return tuple(LEVELS) if platform.machine().lower() in ON_X86 else ("base",)


def name(level: str) -> str:
    """Of a library: by the contents of the sources, the flags and the kind of machine."""
    told = [sys.platform, platform.machine(), level, *FLAGS, *LEVELS[level], *LINK]
    parts = [word.encode() for word in told]
    for file, text in SOURCES.items():
        parts += [file.encode(), text]
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return f"gpusampler-{level}-{found.hexdigest()[:16]}"


def compilers() -> Iterator[list[str]]:
    """The commands that may compile C, the first choice first: batches take up to a tenth less time
    by LLVM's compilers."""
    named = os.environ.get("CC", "").strip()
    if named:
        try:
            yield shlex.split(named)
        except ValueError:  # a quotation without an end
            yield [named]
    if importlib.util.find_spec("ziglang") is not None and sys.executable:
        # by itself it takes all instructions of this machine, whatever the level
        yield [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"]
    for command in ("clang", "cc", "gcc"):
        if shutil.which(command):
            yield [command]


def build(level: str, slow: str = "") -> bytes:
    """The library of this process's sources.

    slow    what to tell on the log where it takes longer than a second
    Raises  NoCompilerError: what was tried, and what would help.
    """
    tried = []
    with _folder() as folder:
        for file, text in SOURCES.items():
            Path(folder, file).write_bytes(text)
        for command in compilers() if SOURCES else ():
            fault = _run(command, level, folder, slow)
            made = Path(folder, f"library{SUFFIX}")
            if fault is None and made.is_file():
                return made.read_bytes()
            fault = fault or "it made no library"
            tried.append(f"{shlex.join(command)}: {fault}")
    rule = "batches on a CPU are built by C code, which has to be compiled once"
    if not SOURCES:
        raise NoCompilerError(f"{rule}, and its sources are not beside {__file__}; reinstall")
    if tried:
        raise NoCompilerError(f"{rule}, and that failed; set CC to another compiler, or `pip "
                              f"install ziglang`. " + "; ".join(tried))  # fmt: skip
    raise NoCompilerError(
        f"{rule}, and there is no C compiler: neither CC, cc, gcc nor clang was found; "
        f"`pip install ziglang`, or install a compiler"
    )


def _folder() -> tempfile.TemporaryDirectory[str]:
    """One to compile in, that goes away."""
    try:
        return tempfile.TemporaryDirectory(prefix="gpusampler-", ignore_cleanup_errors=True)
    except OSError as error:
        raise NoCompilerError(
            f"batches on a CPU are built by C code, which has to be compiled once in a temporary "
            f"folder, and there is none: {error}; set TMPDIR to a folder that can be written"
        ) from error


def _environment(folder: str) -> dict[str, str]:
    """Zig keeps what it makes in the home folder, or fails where that cannot be written."""
    zig = dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(Path(folder, "zig")))
    return zig | dict(os.environ)


def _run(command: list[str], level: str, folder: str, slow: str) -> str | None:
    """None, or what went wrong."""
    files = sorted(file for file in SOURCES if file.endswith(".c"))
    full = [*command, *FLAGS, *LEVELS[level], *LINK, "-o", f"library{SUFFIX}", *files]
    try:
        process = subprocess.Popen(
            full, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", env=_environment(folder),
        )  # fmt: skip
    except OSError as error:
        return str(error)
    try:
        try:
            told, _ = process.communicate(timeout=SLOW)
        except subprocess.TimeoutExpired:
            if slow:
                log.warning(slow)
            told, _ = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    return None if process.returncode == 0 else told.strip()[-1000:] or "it failed"
