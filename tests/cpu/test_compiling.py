"""Compiled code is of the sources that are, is kept where it can be, and is made once."""

import json
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
from numba.core.dispatcher import Dispatcher

import gpusampler
from gpusampler import cache
from gpusampler.cpu import bits as cpu_bits
from gpusampler.cpu import compiling
from gpusampler.cpu import fixed as cpu
from gpusampler.cpu import permute as cpu_permute
from gpusampler.cpu import pk as cpu_pk
from gpusampler.cpu import stratified as cpu_stratified
from gpusampler.index import counting_sort

PACKAGE = Path(gpusampler.__file__).parent
HANG = 600  # seconds

# three functions of two files: one compiles the other, and that has a third's code in it
SCRIPT = """
import json, logging, os, signal, sys, time
import numpy as np
lines = []
class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())
log = logging.getLogger("gpusampler")
log.addHandler(Lines())
log.propagate = False
log.setLevel(logging.INFO)
import gpusampler
BEFORE
from numba.core import event
from gpusampler.cpu import permute as cpu_permute, compiling
compiled = []
class Counts(event.Listener):
    def on_start(self, e):
        compiled.append(e.data["dispatcher"].__name__)
        ON_COMPILE
    def on_end(self, e):
        pass
event.register("numba:compile", Counts())
out = np.zeros(5, np.uint32)
begun = time.monotonic()
cpu_permute.permute_ranked(out, 0, 5, 5, np.uint32(7), np.uint32(9), np.zeros(32, np.uint64))
print(json.dumps({"out": out.tolist(), "compiled": compiled, "lines": lines,
                  "seconds": time.monotonic() - begun, "kept": str(compiling.kept_in())}))
"""
BOTH = ["permute_ranked", "_hash_all"]


@pytest.fixture
def copy(tmp_path) -> Path:
    """A folder that holds a copy of the package, without what was compiled; its first module does
    without torch, which takes longer to import than these functions to compile."""
    shutil.copytree(PACKAGE, tmp_path / "site/gpusampler", ignore=lambda *_: ["__pycache__"])
    (tmp_path / "site/gpusampler/__init__.py").write_text("from gpusampler import cache\n")
    return tmp_path / "site"


def start(site: Path, before: str = "pass", on_compile: str = "pass", **environment):
    script = SCRIPT.replace("BEFORE", before).replace("ON_COMPILE", on_compile)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    home = {"HOME": str(site.parent / "home"), "XDG_CACHE_HOME": "", "PYTHONPATH": str(site)}
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=site.parent, env=kept | home | {k: str(v) for k, v in environment.items()},
    )  # fmt: skip


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


CALLED = ("cpu/bits.py", "x >> uint32(15)", "x >> uint32(14)")
CONSTANT = ("bits/random_bits.py", "MIX_M0, MIX_M1 = 0x7FEB352D", "MIX_M0, MIX_M1 = 0x7FEB3529")


def test_a_process_compiles_nothing_that_another_has_and_runs_no_code_of_other_sources(copy):
    first = run(copy)
    assert first["compiled"] == BOTH
    assert Path(first["kept"]).parent == copy / "gpusampler/__pycache__"
    assert run(copy) | {"seconds": 0} == first | {"seconds": 0, "compiled": [], "lines": []}
    outs = [first["out"]]
    for file, old, new in (CALLED, CONSTANT):
        edit(copy / "gpusampler" / file, old, new)
        changed = run(copy)
        assert changed["compiled"] == BOTH and changed["out"] not in outs
        outs.append(changed["out"])
    edit(copy / "gpusampler" / CONSTANT[0], CONSTANT[2], CONSTANT[1])
    edit(copy / "gpusampler" / CALLED[0], CALLED[2], CALLED[1])
    again = run(copy)
    assert (again["out"], again["compiled"]) == (outs[0], [])


def test_sources_that_change_under_a_running_process_do_not_pass_for_what_it_runs(copy):
    file = copy / "gpusampler" / CALLED[0]
    old = run(copy, NUMBA_CACHE_DIR=copy / "elsewhere")
    change = f"p = {str(file)!r}; t = open(p).read(); open(p, 'w').write(t.replace(*{CALLED[1:]}))"
    # the constants are imported by then, and the file is not
    run(copy, f"from gpusampler.cpu import bits; {change}")
    new = run(copy)
    assert new["compiled"] == BOTH and new["out"] != old["out"]


def test_the_package_looks_at_its_sources_before_it_imports_them():
    names = [name for name in sys.modules if name.startswith("gpusampler.")]
    assert names[0] == "gpusampler.cache"


def test_every_function_that_is_compiled_is_kept_under_the_contents_of_its_module():
    assert {cpu, cpu_pk, cpu_stratified, counting_sort} <= set(sys.modules.values())
    modules = [m for name, m in sys.modules.items() if name.startswith("gpusampler.")]
    found = [x for m in modules for x in vars(m).values() if isinstance(x, Dispatcher)]
    known = cache.compiled_from()
    inlined = [x for x in found if x.targetoptions.get("inline") == "always"]
    assert len(found) > 60 and cpu_permute.permute in found and cpu_bits.philox in inlined
    for function in found:
        assert function.py_func.__module__ in known
        assert function in inlined or isinstance(function._cache, compiling.Kept)
    assert {
        "gpusampler.bits.random_bits",
        "gpusampler.plans.fixed",
        "gpusampler.plans.even_tree",
    } <= set(known)
    assert "gpusampler.stream.sampler" not in known


def test_code_of_a_module_that_is_not_looked_at_is_not_kept(caplog):
    kept = cache.Cache(["a compiler"])
    assert kept.holds("gpusampler.cpu.bits")
    assert not kept.holds("gpusampler.stream.sampler")
    assert not kept.holds(__name__)


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
    named = {"NUMBA_CACHE_DIR": folders["named"], "TMPDIR": folders["temporary"]}
    found = run(copy, **named, **xdg)
    assert found["compiled"] == BOTH
    assert folders[where] in Path(found["kept"]).parents
    if where == "temporary":
        private = Path(found["kept"]).parent
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert [line for line in found["lines"] if "kept in" in line and "NUMBA_CACHE_DIR" in line]
    assert run(copy, **named, **xdg)["compiled"] == []


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
    for _ in range(2):
        found = run(copy, TMPDIR=shared)
        assert (found["compiled"], found["kept"]) == (BOTH, "None")
        lines = [line for line in found["lines"] if "NUMBA_CACHE_DIR" in line]
        assert len(lines) == 1 and str(mine) in lines[0]


def test_two_processes_at_once_compile_once_together(copy):
    wait = f"open({str(copy)!r} + f'/{{os.getpid()}}', 'w').close()\n" + (
        f"while len([x for x in os.listdir({str(copy)!r}) if x.isdigit()]) < 2: time.sleep(0.01)"
    )
    both = [start(copy, wait, "time.sleep(1)") for _ in range(2)]
    found = [told(process) for process in both]
    assert sorted(found[0]["compiled"] + found[1]["compiled"]) == sorted(BOTH)
    assert found[0]["out"] == found[1]["out"]


@pytest.mark.parametrize("sent", ["SIGKILL", "SIGSTOP"])
def test_a_process_that_died_or_stopped_while_it_compiled_holds_nobody_up(copy, sent):
    other = start(copy, on_compile=f"os.kill(os.getpid(), signal.{sent})")
    try:
        if sent == "SIGKILL":
            assert other.wait(HANG) == -signal.SIGKILL
        else:
            os.waitid(os.P_PID, other.pid, os.WSTOPPED)
        limit = "from gpusampler import cache; cache.LONGEST_WAIT = LIMIT"
        found = run(copy, limit.replace("LIMIT", "2" if sent == "SIGSTOP" else "1e9"))
        assert found["compiled"] == BOTH
        assert bool([x for x in found["lines"] if "not waiting on" in x]) == (sent == "SIGSTOP")
    finally:
        other.kill()
        other.communicate()


@pytest.mark.parametrize("left", [40, -1])
def test_what_was_cut_short_is_compiled_anew(copy, left):
    first = run(copy)
    for path in Path(first["kept"]).iterdir():
        path.write_bytes(path.read_bytes()[:left])
    found = run(copy)
    assert (found["out"], found["compiled"]) == (first["out"], BOTH)
    assert run(copy)["compiled"] == []


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
    here = cache.Cache(["a compiler"], str(tmp_path)).folder()
    left = {path.name for path in tmp_path.iterdir()}
    assert here is not None and {here.name, "another's"} <= left
    assert {f"gpusampler-{number:016x}" for number in (0, 1, 2, 19)} <= left
    assert len(left) == 2 + 3 + cache.KEPT - 3


def test_another_compiler_or_machine_has_another_folder():
    names = [cache.Cache(words).name for words in (["a", "b"], ["ab"], ["a", "c"], ["a", "b"])]
    assert len(set(names)) == 3 and names[0] == names[3]


def test_slow_compiling_is_told_once_a_process(caplog, monkeypatch):
    monkeypatch.setattr(compiling, "SLOW", 0.0)
    monkeypatch.setattr(compiling, "_said_so", False)

    def one(x):
        return x + 1

    def two(x):
        return x + 2

    assert (compiling.compiled(one)(1), compiling.compiled(two)(1)) == (2, 3)
    lines = [line for line in caplog.messages if "gpusampler warmup" in line]
    assert len(lines) == 1


def test_compiling_that_is_interrupted_lets_others_compile(monkeypatch):
    def wrong(x):
        return x.no_such_attribute

    with pytest.raises(Exception, match="no_such_attribute"):
        compiling.compiled(wrong)(1)
    assert compiling._current is None
