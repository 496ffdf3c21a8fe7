"""Compiled code is of the sources that are, is kept where it can be, and is made once."""

import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import gpusampler
from gpusampler.cpu import cache, compiler, library

PACKAGE = Path(gpusampler.__file__).parent
HANG = 600  # seconds

# what the library gives for three labels, in a process whose torch is a name only
SCRIPT = """
import json, logging, os, signal, sys, time, types
import numpy as np
able = types.SimpleNamespace(get_cpu_capability=lambda: "DEFAULT")
sys.modules["torch"] = types.SimpleNamespace(backends=types.SimpleNamespace(cpu=able))
lines = []
class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())
log = logging.getLogger("gpusampler")
log.addHandler(Lines())
log.propagate = False
log.setLevel(logging.INFO)
from gpusampler.cpu import library
BEFORE
labels, counts, seen = np.array([1, 0, 9]), np.zeros(2, np.int64), np.zeros(4, np.int64)
count = library.opened().count_labels
count(labels.ctypes.data, -8, 0, 3, counts.ctypes.data, 2, seen.ctypes.data)
print(json.dumps({"out": [*counts.tolist(), *seen.tolist()], "lines": lines,
                  "kept": str(library.kept_in())}))
"""
# a compiler that notes each call, and does not take its time
CC = """#!/bin/sh
echo $PPID >> {calls}
{first}
exec cc "$@" -O0
"""


@pytest.fixture
def copy(tmp_path) -> Path:
    """A folder that holds a copy of the package, without what was compiled."""
    skipped = shutil.ignore_patterns("__pycache__", "built")
    shutil.copytree(PACKAGE, tmp_path / "site/gpusampler", ignore=skipped)
    (tmp_path / "site/gpusampler/__init__.py").write_text("")
    return tmp_path / "site"


def start(site: Path, before: str = "pass", first: str = "", **environment):
    """A process whose compiler does `first` before all else."""
    cc = site.parent / f"cc{time.monotonic_ns()}"
    cc.write_text(CC.format(calls=calls(site), first=first))
    cc.chmod(0o700)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GPUSAMPLER_")}
    home = {"HOME": str(site.parent / "home"), "XDG_CACHE_HOME": "", "PYTHONPATH": str(site)}
    home |= {"CC": str(cc), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.replace("BEFORE", before)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=site.parent,
        env=kept | home | {k: str(v) for k, v in environment.items()},
    )  # fmt: skip


def calls(site: Path) -> Path:
    return site.parent / "calls"


def compiled(site: Path) -> int:
    """How often that copy was compiled so far."""
    return len(calls(site).read_text().splitlines()) if calls(site).exists() else 0


def told(process):
    out, err = process.communicate(timeout=HANG)
    assert process.returncode == 0, err
    return json.loads(out)


def run(site, *args, **environment):
    return told(start(site, *args, **environment))


def edit(path: Path, old: str, new: str) -> None:
    """Change the text, and neither its length nor its date."""
    found, text = path.stat(), path.read_text()
    assert text.count(old) >= 1 and len(old) == len(new)
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


CODE = ("cpu/counting_sort.c", "seen[3] = wrong;")


def test_a_process_compiles_nothing_that_another_has_and_runs_no_code_of_other_sources(copy):
    file, old = copy / "gpusampler" / CODE[0], CODE[1]
    first = run(copy)
    assert first["out"][-1] == 1 and compiled(copy) == 1
    assert Path(first["kept"]).parent == copy / "gpusampler/__pycache__"
    assert run(copy) == first | {"lines": []} and compiled(copy) == 1
    edit(file, old, "seen[3] = 77777;")
    assert run(copy)["out"][-1] == 77777 and compiled(copy) == 2
    edit(file, "seen[3] = 77777;", old)
    assert run(copy)["out"] == first["out"] and compiled(copy) == 2
    edit(copy / "gpusampler/cpu/bits.h", "PHILOX_M0 0xD2511F53u", "PHILOX_M0 0xD2511F55u")
    run(copy)
    assert compiled(copy) == 3


def test_sources_that_change_under_a_running_process_do_not_pass_for_what_it_runs(copy):
    file = copy / "gpusampler" / CODE[0]
    change = (
        f"p = {str(file)!r}; t = open(p).read(); open(p, 'w').write(t.replace('= wrong', '= 7'))"
    )
    assert run(copy, change)["out"][-1] == 1
    assert run(copy)["out"][-1] == 7 and compiled(copy) == 2


@pytest.mark.parametrize("where", ["named", "package", "xdg", "home", "temporary"])
def test_the_first_folder_that_can_be_written_is_taken(copy, where):
    order = ["named", "package", "xdg", "home", "temporary"]
    folders = {
        "named": copy / "named", "package": copy / "gpusampler/__pycache__", "xdg": copy / "xdg",
        "home": copy.parent / "home", "temporary": copy / "tmp",
    }  # fmt: skip
    (copy / "tmp").mkdir()
    for name in order[: order.index(where)]:
        folders[name].write_text("a file, so no folder")
    xdg = {} if where == "home" else {"XDG_CACHE_HOME": folders["xdg"]}
    named = {"GPUSAMPLER_CACHE_DIR": folders["named"], "TMPDIR": folders["temporary"]}
    found = run(copy, **named, **xdg)
    assert folders[where] in Path(found["kept"]).parents
    if where == "temporary":
        private = Path(found["kept"]).parent
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert [line for line in found["lines"] if "GPUSAMPLER_CACHE_DIR" in line]
    assert run(copy, **named, **xdg)["out"] == found["out"] and compiled(copy) == 1


@pytest.mark.parametrize("fault", ["no folder", "open to others", "a link"])
def test_where_nothing_can_be_kept_batches_are_built_and_one_line_says_so(copy, fault):
    (copy / "gpusampler/__pycache__").write_text("")
    (copy.parent / "home").write_text("")
    shared = copy / "tmp"
    shared.mkdir()
    mine = shared / f"gpusampler-{os.getuid()}"
    if fault == "no folder":
        mine.write_text("")
    elif fault == "open to others":
        mine.mkdir()
        mine.chmod(0o777)
    else:
        (copy / "of others").mkdir(mode=0o700)
        mine.symlink_to(copy / "of others")
    for number in (1, 2):
        found = run(copy, TMPDIR=shared)
        assert (compiled(copy), found["kept"]) == (number, "None")
        lines = [line for line in found["lines"] if "GPUSAMPLER_CACHE_DIR" in line]
        assert len(lines) == 1 and str(mine) in lines[0]
    assert [path.name for path in shared.iterdir()] == [mine.name]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
@pytest.mark.parametrize("where", ["home", "named"])
def test_what_another_user_may_have_put_there_is_not_run(copy, where):
    (copy / "gpusampler/__pycache__").write_text("")
    base = copy.parent / "home/.cache/gpusampler" if where == "home" else copy / "named"
    given = {"GPUSAMPLER_CACHE_DIR": base} if where == "named" else {}
    temporary = {"TMPDIR": copy.parent}
    folder = Path(run(copy, **given, **temporary)["kept"])
    assert folder.parent == base and compiled(copy) == 1
    os.chown(folder, 12345, -1)
    assert Path(run(copy, **given, **temporary)["kept"]).parent != base and compiled(copy) == 2
    os.chown(folder, 0, -1)
    folder.chmod(0o777)
    assert Path(run(copy, **given, **temporary)["kept"]).parent != base
    folder.chmod(0o755)
    assert Path(run(copy, **given, **temporary)["kept"]) == folder
    os.chown(base, 12345, -1)  # a named one is trusted with its owner, as that was named
    os.chown(folder, 12345, -1)
    assert (Path(run(copy, **given, **temporary)["kept"]) == folder) == (where == "named")


def test_a_mask_that_opens_all_to_others_does_not_open_what_is_kept(copy):
    mask = "os.umask(0)"
    first = run(copy, mask, GPUSAMPLER_CACHE_DIR=copy / "named")
    assert run(copy, mask, GPUSAMPLER_CACHE_DIR=copy / "named")["kept"] == first["kept"]
    assert compiled(copy) == 1 and not Path(first["kept"]).stat().st_mode & 0o002


def test_what_came_compiled_is_run_where_nothing_at_all_can_be_written(copy):
    nowhere = """
import tempfile
def none():
    raise FileNotFoundError("no usable temporary directory")
tempfile.gettempdir = none
"""
    first = run(copy)
    found = run(copy, nowhere)
    assert found["out"] == first["out"] and compiled(copy) == 1
    shutil.rmtree(copy / "gpusampler/__pycache__")
    ends = start(copy, nowhere)
    _, err = ends.communicate(timeout=HANG)
    assert ends.returncode and "set TMPDIR to a folder that can be written" in err


def test_two_processes_at_once_compile_once_together(copy):
    both = [start(copy, first="sleep 3") for _ in range(2)]
    found = [told(process) for process in both]
    assert found[0]["out"] == found[1]["out"] and compiled(copy) == 1


@pytest.mark.parametrize("sent", ["SIGKILL", "SIGSTOP"])
def test_a_process_that_died_or_stopped_while_it_compiled_holds_nobody_up(copy, sent):
    other = start(copy, first=f"kill -{sent[3:]} $PPID; sleep 1")
    try:
        if sent == "SIGKILL":
            assert other.wait(HANG) == -signal.SIGKILL
        else:
            os.waitid(os.P_PID, other.pid, os.WSTOPPED)
        limit = "from gpusampler.cpu import cache; cache.LONGEST_WAIT = LIMIT"
        found = run(copy, limit.replace("LIMIT", "2" if sent == "SIGSTOP" else "1e9"))
        assert compiled(copy) == 2
        assert bool([x for x in found["lines"] if "not waiting on" in x]) == (sent == "SIGSTOP")
    finally:
        other.kill()
        other.communicate()


@pytest.mark.parametrize("left", [40, -1])
def test_what_was_cut_short_is_compiled_anew(copy, left):
    first = run(copy)
    for path in Path(first["kept"]).glob("library*"):
        path.write_bytes(path.read_bytes()[:left])
    assert run(copy)["out"] == first["out"] and compiled(copy) == 2
    run(copy)
    assert compiled(copy) == 2


def test_what_cannot_be_loaded_is_made_anew_elsewhere(copy):
    first = run(copy)
    (path,) = Path(first["kept"]).glob("library*")
    path.unlink()
    cache.write(Path(first["kept"]), b"of another machine", compiler.SUFFIX)
    found = run(copy)
    assert found["out"] == first["out"] and "is not used" in found["lines"][0]


def test_a_compiler_for_another_machine_is_told(copy):
    first = 'while [ "$1" != -o ]; do shift; done; echo foreign > "$2"; exit 0'
    process = start(copy, first=first, TMPDIR=copy.parent)
    _, err = process.communicate(timeout=HANG)
    assert process.returncode and "cannot be loaded: " in err
    assert "CC to a compiler for this machine" in err


def test_folders_of_other_sources_are_few_and_one_in_use_stays(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    long_ago = time.time() - 10 * cache.STILL_USED
    for number in range(20):
        folder = tmp_path / f"gpusampler-{number:016x}"
        folder.mkdir()
        (folder / "code").write_text("")
        when = time.time() if number < 3 else long_ago + number
        os.utime(folder, (when, when))
    (tmp_path / "another's").mkdir()
    os.utime(tmp_path / "another's", (1, 1))
    here = next(cache.Cache("gpusampler-now", str(tmp_path)).folders())
    left = {path.name for path in tmp_path.iterdir()}
    assert {here.name, "another's"} <= left
    assert {f"gpusampler-{number:016x}" for number in (0, 1, 2, 19)} <= left
    assert len(left) == 2 + 3 + cache.KEPT - 3


def test_only_folders_of_the_cache_are_removed(tmp_path):
    kept = [tmp_path / name for name in ("gpusampler-main", "gpusampler-0.1.0", "gpusampler-src")]
    for path in kept + [tmp_path / f"gpusampler-fork-{number}" for number in range(9)]:
        path.mkdir()
        os.utime(path, (1, 1))
    before = set(tmp_path.iterdir())
    here = next(cache.Cache("gpusampler-now", str(tmp_path)).folders())
    assert set(tmp_path.iterdir()) == before | {here}


def test_other_sources_flags_and_levels_have_other_names(monkeypatch):
    names = {compiler.name(level) for level in compiler.LEVELS}
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-g"))
    names.add(compiler.name("base"))
    monkeypatch.setitem(compiler.SOURCES, "call.h", b"")
    names.add(compiler.name("base"))
    assert len(names) == len(compiler.LEVELS) + 2


def test_slow_compiling_is_told_while_it_goes_on(copy):
    found = run(copy, first="sleep 2")
    assert "gpusampler warmup" in found["lines"][0] and len(found["lines"]) == 2


# ------------------------------------------------------------------------------ compilers
@pytest.fixture
def none(monkeypatch):
    """A machine without a compiler."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)


def test_where_there_is_no_compiler_the_error_names_the_repair(none):
    with pytest.raises(RuntimeError, match=r"there is no C compiler.*pip install ziglang"):
        compiler.build("base")


def test_where_all_compilers_fail_the_error_says_what_each_said(none, monkeypatch):
    monkeypatch.setenv("CC", "/no/such/compiler --at all")
    with pytest.raises(RuntimeError, match=r"ziglang.*/no/such/compiler --at all: .*No such file"):
        compiler.build("base")
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "cc" else None)
    assert compiler.build("base")  # the next in line


@pytest.mark.parametrize(
    ("named", "said"),
    [("true", "true: it made no library"), ("'", "No such file"), (" ", "there is no C compiler")],
)
def test_a_compiler_that_is_none_is_told_and_not_raised_as_it_comes(none, monkeypatch, named, said):
    monkeypatch.setenv("CC", named)
    with pytest.raises(compiler.NoCompilerError, match=said):
        compiler.build("base")


def test_ziglang_needs_no_home(monkeypatch, tmp_path):
    if not compiler.importlib.util.find_spec("ziglang"):
        pytest.skip("ziglang is not installed")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert compiler.build("base")


def test_ziglang_is_taken_before_the_machines_own_and_for_all_machines_of_a_level(
    none, monkeypatch
):
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: name == "ziglang")
    monkeypatch.setattr(shutil, "which", lambda name: name)
    first, *others = compiler.compilers()
    assert first == [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"]
    assert others == [["clang"], ["cc"], ["gcc"]]


def test_sources_that_are_gone_are_told(monkeypatch):
    monkeypatch.setattr(compiler, "SOURCES", {})
    with pytest.raises(RuntimeError, match="reinstall"):
        compiler.build("base")


def test_compiling_that_is_interrupted_is_begun_again(copy):
    before = """
import subprocess
real = subprocess.Popen.communicate
def interrupted(process, *args, **kwargs):
    subprocess.Popen.communicate = real
    raise KeyboardInterrupt
subprocess.Popen.communicate = interrupted
try:
    library.opened()
except KeyboardInterrupt:
    lines.append("interrupted")
"""
    found = run(copy, before)
    assert found["out"][-1] == 1 and found["lines"][0] == "interrupted"


@pytest.mark.parametrize("level", compiler.levels())
def test_the_sources_compile_without_a_warning(level, monkeypatch):
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-Wall", "-Wextra", "-Werror"))
    assert compiler.build(level)


@pytest.mark.filterwarnings("ignore")
def test_levels_give_the_same_batches(monkeypatch):
    from reference import golden

    monkeypatch.setattr(library, "_opened", None)
    able = {"avx512": 2, "avx2": 1}.get(library.level(), 0)
    cases = dict(list(golden.cases())[::7])
    answers = []
    for level in ("base", "avx2", "avx512")[: able + 1]:
        monkeypatch.setattr(library, "level", lambda level=level: level)
        monkeypatch.setattr(library, "_opened", None)
        answers.append({name: case().tolist() for name, case in cases.items()})
        assert level in str(library.kept_in())
    assert all(answer == answers[0] for answer in answers)


SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
EDGES = """
import sys, warnings
import numpy as np, torch
import gpusampler
from gpusampler.cpu import library
library._opened = library._load(sys.argv[1])
assert library._opened is not None
warnings.simplefilter("ignore")
torch.set_num_threads(1)
MIXED, PAIRS = {"alpha": 0.3}, {"classes_per_batch": 2, "members_per_class": 3}
KINDS = [("fixed", MIXED), ("stratified", MIXED), ("pk", PAIRS),
         ("random", MIXED | {"class_draw": "counter"}), ("random", MIXED),
         ("fixed", MIXED | {"unique": True}), ("stratified", MIXED | {"unique": True})]
SIZES = [[1, 2], [31, 32, 33], [1, 40, 3000], [500] * 40, [5000, 3], [33] * 300]
number = 0
for sizes in SIZES:
    for where in ("stored", "wide", "sorted"):
        ends = np.cumsum([0, *sizes])
        ids = np.arange(ends[-1])[::1 if where == "sorted" else -1] + (where == "wide") * 2**31
        classes = [np.sort(ids[a:b]) for a, b in zip(ends, ends[1:])]
        index = gpusampler.ClassIndex.from_class_idxs(classes)
        for size in (1, 31, 33, 300, 5000):
            for kind, more in KINDS:
                for order in ("shuffle", "class"):
                    options = more | {"order": order, "kind": kind, "device": "cpu"}
                    if kind == "pk":
                        size = 6
                    try:
                        sampler = gpusampler.SamplerFactory().get(index, size, 9, **options)
                    except ValueError:
                        continue
                    sampler.build(), sampler.batches(2**33, 2)
                    list(sampler.shard(rank=1, world_size=3))
                    number += 1
labels = np.random.default_rng(0).integers(0, 90, 5000)
for dtype in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"):
    gpusampler.ClassIndex.from_labels(labels.astype(dtype))
print(number)
"""


def test_every_kind_at_its_edges_under_the_sanitizers(monkeypatch, tmp_path):
    """Reads and writes outside what was taken, shifts and conversions that C leaves undefined."""
    found = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True)
    if found.returncode or not os.path.isabs(found.stdout.strip()):
        pytest.skip("gcc's sanitizers are not installed")
    monkeypatch.setenv("CC", "gcc")
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, *SANITIZE))
    monkeypatch.setattr(compiler, "LINK", ())
    path = tmp_path / "library.so"
    path.write_bytes(compiler.build("base"))
    ran = subprocess.run(
        [sys.executable, "-c", EDGES, str(path)], capture_output=True, text=True, timeout=HANG,
        env=os.environ | {"LD_PRELOAD": found.stdout.strip(),
                          "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert int(ran.stdout) > 500


def test_a_log_without_a_handler_is_left_alone():
    assert not logging.getLogger("gpusampler").handlers
