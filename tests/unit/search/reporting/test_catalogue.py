"""What `--list` says is what the plug-ins are, though none of them is imported for it."""

import dataclasses
import os
import subprocess
import sys

import pytest

from search.reporting.catalogue import ROOMS, catalogue
from spaces.plugins import resolve
from tests.house.tree import ROOT

HEAVY = ("hyperopt", "ray", "timm", "torch", "transformers")


@pytest.mark.parametrize("room", ROOMS)
def test_every_plugin_stands_there_with_its_first_sentence_and_its_options(room: str) -> None:
    expected = []
    for name in sorted(ROOMS[room]):
        plugin = resolve(ROOMS[room], name, room)
        expected.append(f"{name}: {(plugin.__doc__ or '').strip().splitlines()[0]}")
        config = getattr(plugin, "Config", None)
        for field in dataclasses.fields(config) if config else ():
            missing = field.default is dataclasses.MISSING
            expected.append(f"    {field.name} = {'required' if missing else repr(field.default)}")
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
