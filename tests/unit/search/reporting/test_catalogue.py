"""What `--list` says is what the plug-ins are, though none of them is imported for it."""

import dataclasses
import os
import subprocess
import sys
import typing
from collections.abc import Iterator

import pytest

from search.reporting.catalogue import ROOMS, catalogue
from spaces.plugins import resolve
from tests.house.tree import ROOT

HEAVY = ("hyperopt", "ray", "timm", "torch", "transformers")


def fields(config: type) -> Iterator[tuple[str, str]]:
    """Yield name and default of each field, those of nested dataclasses as `outer.inner`."""
    kinds = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(kinds[field.name]):
            yield from ((f"{field.name}.{name}", default) for name, default in fields(kinds[field.name]))
        else:
            yield field.name, "required" if field.default is dataclasses.MISSING else repr(field.default)


@pytest.mark.parametrize("room", ROOMS)
def test_every_plugin_stands_there_with_its_first_sentence_and_its_options(room: str) -> None:
    expected = []
    for name in sorted(ROOMS[room]):
        plugin = resolve(ROOMS[room], name, room)
        expected.append(f"{name}: {(plugin.__doc__ or '').strip().splitlines()[0]}")
        config = getattr(plugin, "Config", None)
        expected += [f"    {name} = {default}" for name, default in fields(config)] if config else []
    told = catalogue(room).splitlines()
    assert told[: len(expected)] == expected
    assert len(told) - len(expected) == (room == "teachers")


@pytest.mark.parametrize("room", ROOMS)
def test_no_plugin_is_imported(room: str) -> None:
    program = (
        "import sys\nfrom search.reporting.catalogue import catalogue\n"
        f"catalogue({room!r})\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr
