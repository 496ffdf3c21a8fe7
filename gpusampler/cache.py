"""Cache: where compiled code is kept between processes, and for which sources it holds.

Takes the words that tell one compiler and machine from another, and bytes under a name.
Gives those bytes back to a process whose sources, compiler and machine are the same; to another,
nothing. Never raises for what a disk or its rights do. Knows nothing of numba.
Imported before all else of the package, so that it sees sources change under a running process.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # where there is none, two processes may compile the same
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("gpusampler")

PACKAGE = Path(__file__).parent
DECORATED = re.compile(r"^ *@(?:compiled|inlined)", re.MULTILINE)
IMPORTS = re.compile(r"^ *(?:from|import) +([\w.]+)(?: +import +(\([^)]*\)|.*))?", re.MULTILINE)
WORD = re.compile(r"\w+")
KEPT = 4  # folders of other sources, compilers or machines
STILL_USED = 3600.0  # seconds after which a folder that nobody came to may go
LONGEST_WAIT = 120.0  # seconds for another process that compiles, or that was stopped while it did
CHECKED = hashlib.sha256().digest_size


def _stamps() -> dict[Path, tuple[int, int]]:
    """Of each source its date and size; none where the sources are not files."""
    with suppress(OSError):
        stats = {path: path.stat() for path in PACKAGE.rglob("*.py")}
        return {path: (found.st_mtime_ns, found.st_size) for path, found in stats.items()}
    return {}


STAMPS = _stamps()  # as they were imported


def compiled_from() -> dict[str, Path]:
    """The modules of the package that compiled code comes from or takes constants from: those
    that compile, and all that these import, by name."""
    paths = {}
    for path in STAMPS:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    texts = {name: path.read_text() for name, path in paths.items()}
    wanted = [name for name, text in texts.items() if DECORATED.search(text)]
    found = {}
    while wanted:
        name = wanted.pop()
        if name in paths and name not in found and name != PACKAGE.name:
            found[name] = paths[name]
            for source, names in IMPORTS.findall(texts[name]):
                wanted.append(source)
                wanted.extend(f"{source}.{word}" for word in WORD.findall(names))
    return found


class Cache:
    """Compiled code of these sources, this compiler and this machine.

    described  words that tell this compiler and machine from others
    given      a folder to keep it in, before all others
    """

    def __init__(self, described: Sequence[object], given: str = ""):
        try:
            self.modules = compiled_from()
            told = [str(word).encode() for word in described]
            for name, path in sorted(self.modules.items()):
                told += [name.encode(), path.read_bytes()]
        except OSError as error:
            log.warning("compiled code is not kept: the sources cannot be read (%s)", error)
            self.modules, told = {}, []
        found = hashlib.sha256()
        for part in told:
            found.update(len(part).to_bytes(8, "little") + part)
        self.name = f"gpusampler-{found.hexdigest()[:16]}"
        self._bases = list(_bases(given)) if self.modules else []
        self._to: Path | None = None
        self._looked = False

    def holds(self, module: str) -> bool:
        """Whether code of that module may be kept: it is known, and what its process imported is
        what the sources are now."""
        paths = self.modules.values()
        with suppress(OSError):
            stats = ((path, path.stat()) for path in paths)
            same = all(STAMPS[path] == (found.st_mtime_ns, found.st_size) for path, found in stats)
            return same and module in self.modules
        return False

    def read(self, name: str) -> bytes | None:
        """What was written under that name, if it was and is whole."""
        for base in filter(_trusted, self._bases):
            with suppress(OSError):
                data = (base / self.name / name).read_bytes()
                if hashlib.sha256(data[CHECKED:]).digest() == data[:CHECKED]:
                    return data[CHECKED:]
        return None

    def write(self, name: str, data: bytes) -> None:
        """Keep that, whole or not at all."""
        folder = self.folder()
        if folder is None:
            return
        temporary = folder / f".{name}.{os.getpid()}.{time.monotonic_ns()}"
        try:
            temporary.write_bytes(hashlib.sha256(data).digest() + data)
            os.replace(temporary, folder / name)
        except OSError as error:
            log.warning("compiled code is not kept: %s", error)
            self._to = None
        finally:
            temporary.unlink(missing_ok=True)

    def folder(self) -> Path | None:
        """Where to write: the first that can be; None, and one line on the log, if none can."""
        if not self._looked:
            self._looked = True
            self._to = next((path for path in map(self._opened, self._bases) if path), None)
            if self._bases and (self._to is None or self._to.parent == self._bases[-1]):
                log.warning(
                    "compiled code is kept %s, as neither %s can be written; set NUMBA_CACHE_DIR "
                    "to a folder that can",
                    f"in {self._to}" if self._to else "for this process only",
                    " nor ".join(str(base) for base in self._bases[: -1 if self._to else None]),
                )
        return self._to

    def _opened(self, base: Path) -> Path | None:
        folder = base / self.name
        try:
            if base == _in_temporary():
                base.mkdir(mode=0o700, exist_ok=True)
            if not _trusted(base):
                return None
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            os.utime(folder)
        except OSError:
            return None
        _tidy(base, self.name)
        return folder

    def turn(self) -> Turn:
        return Turn(self.folder())


def _bases(given: str) -> Iterator[Path]:
    """Folders to keep compiled code in, the best first."""
    if given:
        yield Path(given).absolute()
    yield PACKAGE / "__pycache__"
    own = os.environ.get("XDG_CACHE_HOME", "")
    own = own if os.path.isabs(own) else os.path.expanduser("~/.cache")
    if os.path.isabs(own):
        yield Path(own) / "gpusampler"
    yield _in_temporary()


def _in_temporary() -> Path:
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    return Path(tempfile.gettempdir()) / f"gpusampler{user}"


def _trusted(base: Path) -> bool:
    """Whether what is read there may be run: in a folder that all share, this user's alone."""
    if base != _in_temporary() or not hasattr(os, "getuid"):
        return True
    with suppress(OSError):
        found = base.lstat()
        private = found.st_uid == os.getuid() and not found.st_mode & 0o077
        return private and stat.S_ISDIR(found.st_mode)
    return False


def _tidy(base: Path, current: str) -> None:
    """Remove what other sources left, all but the last few."""
    with suppress(OSError):
        dated = [(path.stat().st_mtime, path) for path in base.glob("gpusampler-*")]
        others = sorted((date, path) for date, path in dated if path.name != current)
        for date, path in others[:-KEPT]:
            if path.is_dir() and time.time() - date > STILL_USED:
                shutil.rmtree(path, ignore_errors=True)


class Turn:
    """While it is held, no other process compiles into that folder.

    The system takes it from a process that ends, however that ends.
    """

    def __init__(self, folder: Path | None):
        self._file = None
        if folder is None or fcntl is None:
            return
        with suppress(OSError):
            self._file = open(folder / "lock", "ab")  # noqa: SIM115
            begin, told = time.monotonic(), False
            while not self._taken():
                waited = time.monotonic() - begin
                if waited > LONGEST_WAIT:
                    log.warning("another process has compiled for %d s; not waiting on", waited)
                    return
                if waited > 1 and not told:
                    told = True
                    log.info("waiting for another process that compiles")
                time.sleep(0.05)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[arg-type]
        except BlockingIOError:
            return False
        return True

    def end(self) -> None:
        if self._file is not None:
            self._file.close()
