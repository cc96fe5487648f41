"""The resolver, on tables of standard-library classes; rows of installed packages; what the pure modules may not import."""

import collections
import subprocess
import sys
from pathlib import Path

import pytest

from spaces.errors import PluginError
from spaces.plugins import Table, near, resolve, resolve_config, unknown

ROWS = {
    "ordered": "collections:OrderedDict",
    "counter": "collections:Counter",
    "gone": "no_such_package.x:Y",
}
TABLE = Table("losses", ROWS)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that installs a package with entry points of the group student_search.losses."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def function(entries: str, *, name: str = "toy", module: str = "class Toy: ...\n") -> None:
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[student_search.losses]\n{entries}\n")
        (site / f"{name}_losses_q4.py").write_text(module)

    return function


def test_a_known_name_gives_the_class() -> None:
    assert resolve(TABLE, "counter") is collections.Counter
    assert resolve(dict(TABLE), "counter", "losses") is collections.Counter


def test_an_unknown_name_gives_the_near_miss_and_the_list() -> None:
    with pytest.raises(PluginError) as caught:
        resolve(TABLE, "conter")
    assert str(caught.value) == (
        "losses: no plug-in is called 'conter'. Did you mean 'counter'? Known: counter, gone, ordered."
    )


def test_a_name_that_resembles_nothing_gets_no_guess() -> None:
    assert unknown("losses", "zzz", ["itc", "lm"]) == "losses: no plug-in is called 'zzz'. Known: itc, lm."
    assert near("zzz", ["itc"]) is None
    assert near("ITC", ["itc"]) == "itc"


def test_a_broken_table_is_our_mistake_and_shows_itself() -> None:
    with pytest.raises(ModuleNotFoundError):
        resolve(TABLE, "gone")


def test_a_missing_package_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wants_more_x7.py").write_text("import package_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="needs the package 'package_nobody_has'"):
        resolve({"a": "wants_more_x7:A", "b": "collections:Counter"}, "a", "searchers")


def test_a_table_is_a_sorted_mapping() -> None:
    assert list(TABLE) == ["counter", "gone", "ordered"]
    assert (len(TABLE), "gone" in TABLE, "zzz" in TABLE) == (3, True, False)
    assert dict(TABLE)["counter"] == "collections:Counter"


def test_an_installed_package_adds_rows(install) -> None:
    install("toy = toy_losses_q4:Toy\nextra = toy_losses_q4:Toy [fast]")
    table = Table("losses", ROWS)
    assert list(table) == ["counter", "extra", "gone", "ordered", "toy"]
    assert table["extra"] == "toy_losses_q4:Toy"
    assert resolve(table, "toy").__module__ == "toy_losses_q4"
    assert (table.origin("toy"), table.origin("counter")) == ("toy 1.0", None)
    assert "toy" not in Table("tasks", {})
    with pytest.raises(PluginError, match="Did you mean 'toy'"):
        resolve(table, "toyy")


def test_a_built_in_name_needs_no_look_at_installed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: pytest.fail("looked"))
    assert resolve(Table("losses", ROWS), "counter") is collections.Counter


def test_a_built_in_name_is_never_overridden(install) -> None:
    install("counter = toy_losses_q4:Toy")
    table = Table("losses", ROWS)
    assert resolve(table, "counter") is collections.Counter
    with pytest.raises(PluginError) as caught:
        list(table)
    assert str(caught.value) == (
        "losses: the installed package toy 1.0 brings a plug-in 'counter', but that name is taken (built in); "
        "allowed: a name of its own. Uninstall the package, or have its entry point renamed."
    )


def test_two_packages_may_not_share_a_name(install) -> None:
    install("toy = toy_losses_q4:Toy")
    install("toy = other_losses_q4:Toy", name="other")
    with pytest.raises(PluginError, match=r"'toy', but that name is taken \((toy|other) 1\.0\)"):
        resolve(Table("losses", {}), "toy")


@pytest.mark.parametrize(
    ("entries", "module", "said"),
    [
        ("toy = toy_losses_q4", "", "toy 1.0 brings 'toy' as 'toy_losses_q4'; allowed: 'module:Class'"),
        ("toy = toy_losses_q4:Gone", "", "'toy' of the installed package toy 1.0 cannot be imported (Attr"),
        ("toy = gone_q4:Toy", "", "'toy' of the installed package toy 1.0 cannot be imported (ModuleNot"),
        ("toy = toy_losses_q4:Toy", "import gone_q4", "'toy' needs the package 'gone_q4', which is not"),
        (
            "toy = toy_losses_q4:Toy",
            "def (",
            "'toy' of the installed package toy 1.0 cannot be imported (SyntaxError: ",
        ),
        (
            "toy = toy_losses_q4:Toy",
            "\nx = gone",
            "(NameError: name 'gone' is not defined, {site}/toy_losses_q4.py:2). ",
        ),
    ],
)
def test_a_broken_package_is_named(
    install, monkeypatch, tmp_path: Path, entries: str, module: str, said: str
) -> None:
    said = said.replace("{site}", str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "toy_losses_q4", raising=False)
    install(entries, module=module)
    with pytest.raises(PluginError) as caught:
        resolve(Table("losses", {}), "toy")
    assert str(caught.value).startswith(
        f"losses: {'the installed package toy 1.0' if 'brings' in said else ''}"
    )
    assert said in str(caught.value)


@pytest.mark.parametrize("module", ["class Toy: ...", "class Toy:\n    class Config: ...", "def Toy(): ..."])
def test_a_plug_in_without_options_is_named(install, monkeypatch, module: str) -> None:
    monkeypatch.delitem(sys.modules, "toy_losses_q4", raising=False)
    install("toy = toy_losses_q4:Toy", module=module)
    with pytest.raises(
        PluginError, match=r"'toy' of the installed package toy 1\.0 is toy_losses_q4:Toy, which has no opt"
    ):
        resolve_config(Table("losses", {}), "toy", "losses")


def test_the_options_of_a_plug_in_are_its_dataclass(install, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "toy_losses_q4", raising=False)
    source = "import dataclasses\nclass Toy:\n    @dataclasses.dataclass\n    class Config:\n        weight: float = 1.0\n"
    install("toy = toy_losses_q4:Toy", module=source)
    assert resolve_config(Table("losses", {}), "toy", "losses")().weight == 1.0


def test_the_pure_modules_import_neither_pydantic_nor_yaml() -> None:
    code = (
        "import sys, spaces.errors, spaces.plugins, spaces.candidate, spaces.domains, spaces.sizes\n"
        "import spaces.conditions, spaces.objectives, spaces.values\n"
        "print(sorted({'pydantic', 'yaml', 'torch', 'ray', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
