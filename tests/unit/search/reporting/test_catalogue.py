"""What `--list` says is what the plug-ins are, though none of them is imported for it."""

import dataclasses
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from search.reporting import catalogue as module
from search.reporting.catalogue import ROOMS, catalogue
from spaces.plugins import Table, resolve
from tests.house.tree import python

HEAVY = ("hyperopt", "ray", "timm", "torch", "transformers")


def options(config: type) -> Iterator[tuple[str, str]]:
    """Yield the options of a Config and their defaults; those of its required parts under the part's name."""
    types = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        missing = field.default is dataclasses.MISSING
        if missing and dataclasses.is_dataclass(types[field.name]):
            yield from ((f"{field.name}.{option}", default) for option, default in options(types[field.name]))
        else:
            yield field.name, "required" if missing else repr(field.default)


@pytest.mark.parametrize("room", ROOMS)
def test_every_plugin_stands_there_with_its_first_sentence_and_its_options(room: str) -> None:
    expected = []
    for name in sorted(ROOMS[room]):
        plugin = resolve(ROOMS[room], name, room)
        expected.append(f"{name}: {(plugin.__doc__ or '').strip().splitlines()[0]}")
        config = getattr(plugin, "Config", None)
        expected += [f"    {option} = {default}" for option, default in options(config)] if config else []
    told = catalogue(room).splitlines()
    assert told[: len(expected)] == expected
    assert len(told) - len(expected) == (room == "teachers")


def test_the_options_of_a_part_stand_under_its_name() -> None:
    told = catalogue("families").splitlines()
    assert "    image.width = required" in told
    assert "    image.init = 'random'" in told
    assert "    fusion.placement = 'last'" in told
    assert "    embedding = '1x'" in told


@pytest.mark.parametrize("room", ROOMS)
def test_no_plugin_is_imported(room: str) -> None:
    program = (
        "import sys\nfrom search.reporting.catalogue import catalogue\n"
        f"catalogue({room!r})\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = python(program)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("source", ["def (\n", "a = '\xe9'\n"])
def test_a_plugin_whose_source_cannot_be_read_is_told_and_the_others_are_listed(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "toy_q6-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-q6\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[student_search.losses]\ntoy = toy_q6:Toy\n")
    (tmp_path / "toy_q6.py").write_text(source, encoding="latin-1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ROOMS, "losses", Table("losses", ROOMS["losses"]._own))
    for name in ("_syntax", "_source", "_plugin_packages"):
        monkeypatch.setattr(module, name, cache(getattr(module, name).__wrapped__))
    told = catalogue("losses").splitlines()
    assert "toy: no source of toy_q6:Toy is found that can be read [toy-q6 1.0]" in told
    assert any(line.startswith("vqa: ") for line in told)
