"""The resolver, on tables of standard-library classes; and what may not be imported by the pure modules."""

import collections
import subprocess
import sys

import pytest

from spaces.errors import PluginError
from spaces.plugins import near, resolve, unknown

TABLE = {
    "counter": "collections:Counter",
    "ordered": "collections:OrderedDict",
    "gone": "no_such_package.x:Y",
}


def test_a_known_name_gives_the_class() -> None:
    assert resolve(TABLE, "counter", "losses") is collections.Counter


def test_an_unknown_name_gives_the_near_miss_and_the_list() -> None:
    with pytest.raises(PluginError) as caught:
        resolve(TABLE, "conter", "losses")
    assert str(caught.value) == (
        "losses: no plug-in is called 'conter'. Did you mean 'counter'? Known: counter, gone, ordered."
    )


def test_a_name_that_resembles_nothing_gets_no_guess() -> None:
    assert unknown("losses", "zzz", ["itc", "lm"]) == "losses: no plug-in is called 'zzz'. Known: itc, lm."
    assert near("zzz", ["itc"]) is None
    assert near("ITC", ["itc"]) == "itc"


def test_a_broken_table_is_our_mistake_and_shows_itself() -> None:
    with pytest.raises(ModuleNotFoundError):
        resolve(TABLE, "gone", "searchers")


def test_a_missing_package_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wants_more_x7.py").write_text("import package_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="needs the package 'package_nobody_has'"):
        resolve({"a": "wants_more_x7:A", "b": "collections:Counter"}, "a", "searchers")


def test_the_pure_modules_import_neither_pydantic_nor_yaml() -> None:
    code = (
        "import sys, spaces.errors, spaces.plugins, spaces.candidate, spaces.domains, spaces.sizes\n"
        "print(sorted({'pydantic', 'yaml', 'torch', 'ray', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
