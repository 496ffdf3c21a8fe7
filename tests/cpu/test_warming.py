"""After a warm-up nothing is left to compile; the command says what it did."""

import pytest

from gpusampler import cli, warmup
from gpusampler.cpu import compiler, library


def test_a_warm_up_names_the_folder_that_it_keeps_the_library_in(capsys):
    folder = warmup()
    assert folder is not None and list(folder.glob("library-*"))
    assert warmup("random") == warmup(["random", "pk"]) == folder
    assert cli.main(["warmup", "random"]) == 0
    assert str(folder) in capsys.readouterr().out


def test_a_warm_up_compiles_what_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("GPUSAMPLER_CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(compiler.SOURCES, "another.c", b"typedef int nothing;")
    monkeypatch.setattr(library, "_opened", None)
    monkeypatch.setattr(library, "_path", None)
    assert warmup() == tmp_path / compiler.name(library.level())


@pytest.mark.parametrize("kinds", ["fixd", ["fixed", "randm"], ""])
def test_a_kind_that_there_is_not_is_refused_before_anything_is_compiled(kinds, capsys):
    with pytest.raises(
        ValueError, match="kind must be 'fixed' or 'random' or 'stratified' or 'pk'"
    ):
        warmup(kinds)
    names = [kinds] if isinstance(kinds, str) else kinds
    assert cli.main(["warmup", *names]) == 2
    assert "kind must be" in capsys.readouterr().err


def test_a_warm_up_that_keeps_nothing_says_so(monkeypatch, capsys):
    monkeypatch.setattr(library, "kept_in", lambda: None)
    assert cli.main(["warmup", "random"]) == 1
    assert "nothing is kept" in capsys.readouterr().err


def test_a_warm_up_without_a_compiler_says_so(monkeypatch, capsys):
    def fails():
        raise compiler.NoCompilerError("no C compiler")

    monkeypatch.setattr(library, "kept_in", fails)
    assert cli.main(["warmup"]) == 1
    assert "no C compiler" in capsys.readouterr().err
