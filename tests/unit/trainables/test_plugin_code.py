"""What is kept on disk of a plug-in of the user's is that of its code as it is, not as it was at its first measurement."""

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spaces.plugins import Table
from tests.house.tree import ROOT
from trainables import code_version
from trainables import families as rooms
from trainables.code_version import foreign_code, package_digest
from trainables.costs.blocks import TimedPass
from trainables.costs.static import measure_static
from trainables.costs.store import CostStore
from trainables.costs.subject import Subject
from trainables.families.base import Blueprint, Family
from trainables.families.blip.model import Blip
from trainables.signals import Serving

MODULE = "toy_convnet"
SIZES = {"family": "convnet", "width": 8, "depth": 2, "embedding": 16, "image_size": 16}
HEAD = "self.head = nn.Linear(widths[-1], architecture.embedding)"
LARGER = f"{HEAD}; self.more = nn.Linear(300, 300)"


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install the toy family; return what changes its source, as another process then finds it."""
    for path in (ROOT / "tests" / "toy").glob("toy_*.py"):
        shutil.copy(path, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(rooms, "FAMILIES", Table("families", {"convnet": f"{MODULE}:Convnet"}))
    monkeypatch.setattr(rooms, "TOWERS", Table("towers", {}))

    def begin_anew() -> None:
        sys.modules.pop(MODULE, None)
        importlib.invalidate_caches()
        package_digest.cache_clear()

    def change(old: str, new: str) -> None:
        source = tmp_path / f"{MODULE}.py"
        text = source.read_text()
        assert text.count(old) == 1
        source.write_text(text.replace(old, new))
        begin_anew()

    begin_anew()
    yield change
    begin_anew()


def subject() -> Subject:
    return Subject(blueprint=Blueprint.from_dict(SIZES), servings=[Serving(mode="image", tokens=0)])


def test_a_family_that_was_edited_is_counted_anew(tmp_path: Path, edit: Callable[[str, str], None]) -> None:
    before = CostStore(tmp_path / "costs").static(subject())
    edit(HEAD, LARGER)
    after = CostStore(tmp_path / "costs").static(subject())
    assert after.params == before.params + 300 * 300 + 300
    assert after == measure_static(subject())
    edit(LARGER, HEAD)
    assert CostStore(tmp_path / "costs").static(subject()) == before


def test_a_family_that_was_edited_is_timed_anew(edit: Callable[[str, str], None]) -> None:
    def digest() -> str:
        return TimedPass(blueprint=Blueprint.from_dict(SIZES), mode="image").digest

    before = digest()
    assert digest() == before
    edit(HEAD, LARGER)
    assert digest() != before


def test_all_files_of_a_package_count_and_none_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    inner = tmp_path / "package_q8" / "inner"
    inner.mkdir(parents=True)
    (inner.parent / "__init__.py").write_text("class Toy: ...\n")
    (inner / "parts.py").write_text("a = 1\n")
    (tmp_path / "other_q8.py").write_text("")
    importlib.invalidate_caches()
    toy = importlib.import_module("package_q8").Toy
    first = foreign_code(toy, Family, Blip, Path)
    assert set(first) == {"package_q8", "pathlib"}
    package_digest.cache_clear()
    (tmp_path / "other_q8.py").write_text("b = 2\n")
    assert foreign_code(toy)["package_q8"] == first["package_q8"]
    package_digest.cache_clear()
    (inner / "parts.py").write_text("a = 2\n")
    assert foreign_code(toy)["package_q8"] != first["package_q8"]


def test_what_has_no_source_has_a_name_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ValueError(f"{name}.__spec__ is None")

    package_digest.cache_clear()
    monkeypatch.setattr(code_version, "find_spec", refuse)
    assert package_digest("__main__") == "unknown"
    package_digest.cache_clear()
