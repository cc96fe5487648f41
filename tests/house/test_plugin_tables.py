"""Every table of plug-ins: sorted, every row leads to a documented class with a frozen Config."""

import ast
import dataclasses
import importlib
import inspect
import re

import pytest

from spaces.plugins import Table, resolve
from tests.house.tree import ROOMS, ROOT, dotted, modules, syntax

TABLES = {
    "losses": "trainables.losses:LOSSES",
    "families": "trainables.families:FAMILIES",
    "tasks": "trainables.tasks:TASKS",
    "teachers": "trainables.teachers:TEACHERS",
    "datasets": "trainables.datasets:DATASETS",
    "searchers": "search.searchers:SEARCHERS",
    "schedulers": "search.schedulers:SCHEDULERS",
}
WITHOUT_OPTIONS = ("teachers",)  # a teacher is its files
SHARED = ("losses",)  # one formula serves several modes
SOURCE = re.compile(r"\b(19|20)\d\d\b|arXiv|\bsection\b|\bequation\b", re.IGNORECASE)


def table(room: str) -> Table:
    module, _, name = TABLES[room].partition(":")
    found: Table = getattr(importlib.import_module(module), name)
    return found


ROWS = [(room, name) for room in TABLES for name in table(room) if table(room).origin(name) is None]


@pytest.mark.parametrize("room", TABLES)
def test_table_is_sorted_and_not_empty(room: str):
    names = list(table(room))
    assert names
    assert names == sorted(names)


@pytest.mark.parametrize("room", [room for room in TABLES if room not in SHARED])
def test_every_class_has_one_name(room: str):
    places = list(table(room).values())
    assert len(set(places)) == len(places)


@pytest.mark.parametrize(("room", "name"), ROWS)
def test_row_leads_to_a_documented_class_of_its_room(room: str, name: str):
    plugin = resolve(table(room), name, room)
    home = TABLES[room].partition(":")[0]
    assert plugin.__module__.startswith(f"{home}.")
    assert plugin.__dict__.get("__doc__"), f"{plugin} has no docstring"


@pytest.mark.parametrize(("room", "name"), [row for row in ROWS if row[0] not in WITHOUT_OPTIONS])
def test_options_of_a_plugin_are_a_frozen_typed_dataclass(room: str, name: str):
    config = resolve(table(room), name, room).Config  # type: ignore[attr-defined]
    assert dataclasses.is_dataclass(config)
    assert config.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(field.type for field in dataclasses.fields(config))


@pytest.mark.parametrize("name", table("losses"))
def test_loss_names_its_source(name: str):
    plugin = resolve(table("losses"), name, "losses")
    written = f"{inspect.getdoc(plugin)}\n{inspect.getmodule(plugin).__doc__}"  # type: ignore[union-attr]
    assert SOURCE.search(written), f"{plugin}: no paper, section or equation in its docstring"


def test_every_module_has_a_docstring():
    bare = [
        dotted(path)
        for path in modules(*ROOMS)
        if path.stat().st_size and not ast.get_docstring(syntax(path))
    ]
    assert not bare, bare


def test_the_door_of_spaces_stays_empty():
    assert (ROOT / "spaces/__init__.py").read_text() == ""
