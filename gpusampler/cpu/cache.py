"""Cache: where the compiled library is kept between processes.

Takes the library's name, which holds what it was made of, and its bytes. Gives a path to load it
from: whole, and in a folder that is trusted. Never raises for what a disk or its rights do.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # where there is none, two processes may compile the same
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("gpusampler")

PACKAGE = Path(__file__).parent.parent
BUILT = PACKAGE / "cpu" / "built"  # what an installation has compiled
BYTECODE = PACKAGE / "__pycache__"  # trusted as the package is
KEPT = 4  # folders of other sources, compilers or machines
NAMES = re.compile(r"gpusampler-([a-z0-9]+-)?[0-9a-f]{16}")  # of such folders, and of no other
STILL_USED = 3600.0  # seconds after which a folder that nobody came to may go
LONGEST_WAIT = 120.0  # seconds for another process that compiles, or that was stopped while it did


def write(folder: Path, data: bytes, suffix: str) -> Path:
    """Keep a library there, whole or not at all, under the digest of its contents."""
    path = folder / f"library-{hashlib.sha256(data).hexdigest()[:32]}{suffix}"
    temporary = folder / f".{path.name}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


class Cache:
    """A library of these sources, for this machine.

    name   tells it from others
    given  a folder to keep it in, before all others
    """

    def __init__(self, name: str, given: str = ""):
        self.name = name
        self._named = Path(given).absolute() if given else None
        self._bases = list(_bases(self._named))

    def kept(self) -> Iterator[Path]:
        """Paths of what was kept, if it was and is whole."""
        for base in [BUILT, *self._bases]:
            if self._trusted(base) and self._trusted_in(base):
                yield from self.kept_in(base / self.name)

    def kept_in(self, folder: Path) -> Iterator[Path]:
        with suppress(OSError):
            for path in sorted(folder.glob("library-*")):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
                if path.stem == f"library-{digest}":
                    yield path

    def folders(self) -> Iterator[Path]:
        """Folders to write to, the best first, and one line on the log where that is the last of
        them, or none."""
        for base in self._bases:
            folder = self._opened(base)
            if folder is None:
                continue
            if base == self._bases[-1] and len(self._bases) > 1:
                self._warn(f"in {folder}", self._bases[:-1])
            yield folder
        self._warn("for this process only", self._bases)

    def _trusted(self, base: Path) -> bool:
        """Whether a base is what this user named, or nobody else can write to it: what is read
        there is run."""
        if base == _in_temporary():  # where another user may have been first
            return _safe(base, 0o077) and not base.is_symlink()
        return base in (self._named, BUILT, BYTECODE) or _safe(base, 0o002)

    def _trusted_in(self, base: Path) -> bool:
        """The same of its folder, which the owner of a base that was named may have made."""
        if base in (BUILT, BYTECODE):
            return True
        owners = {base.stat().st_uid} if base == self._named and base.exists() else set()
        return _safe(base / self.name, 0o002, owners)

    def _warn(self, where: str, bases: list[Path]) -> None:
        log.warning(
            "compiled code is kept %s, as neither %s can be used; set GPUSAMPLER_CACHE_DIR to a "
            "folder that can be written, and run from",
            where,
            " nor ".join(map(str, bases)),
        )

    def _opened(self, base: Path) -> Path | None:
        folder = base / self.name
        try:
            base.parent.mkdir(parents=True, exist_ok=True)
            base.mkdir(mode=0o700 if base == _in_temporary() else 0o775, exist_ok=True)
            if not self._trusted(base):
                return None
            folder.mkdir(mode=0o775, exist_ok=True)
            if not self._trusted_in(base):
                return None
            tempfile.TemporaryFile(dir=folder).close()
            os.utime(folder)
        except OSError:
            return None
        _tidy(base, self.name)
        return folder


def _bases(named: Path | None) -> Iterator[Path]:
    """Folders to keep compiled code in, the best first."""
    if named is not None:
        yield named
    yield BYTECODE
    own = os.environ.get("XDG_CACHE_HOME", "")
    own = own if os.path.isabs(own) else os.path.expanduser("~/.cache")
    if os.path.isabs(own):
        yield Path(own) / "gpusampler"
    temporary = _in_temporary()
    if temporary is not None:
        yield temporary


def _in_temporary() -> Path | None:
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    with suppress(OSError):  # there may be no folder that can be written
        return Path(tempfile.gettempdir()) / f"gpusampler{user}"
    return None


def _safe(folder: Path, others: int, owners: Iterable[int] = ()) -> bool:
    """Whether it is this user's, root's or one of these owners', and these bits of others are not
    set."""
    if not hasattr(os, "getuid"):
        return True
    with suppress(OSError):
        found = folder.stat()
        return found.st_uid in {os.getuid(), 0, *owners} and not found.st_mode & others
    return False


def _tidy(base: Path, current: str) -> None:
    """Remove what other sources left, all but the last few."""
    with suppress(OSError):
        dated = [
            (path.stat().st_mtime, path) for path in base.iterdir() if NAMES.fullmatch(path.name)
        ]
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
