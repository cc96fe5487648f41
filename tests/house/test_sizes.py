"""Hard limits of size: what is longer is two things. Medians are looked at by people."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import ROOMS, ROOT, modules, short, syntax, walk

MOST_LINES = 400
MOST_FUNCTION_LINES = 60
MOST_PARAMETERS = 6
MOST_FILES = 12  # of a folder, its README included and __init__.py not
SMALL_ROOMS = ("search", "analysis")
MOST_README_LINES = 250
MOST_ROOM_README_LINES = 80

Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(syntax(path)):
        if isinstance(node, Function):
            yield node


def num_parameters(function: Function) -> int:
    """Return how many parameters a caller meets: without self and cls, `*args` and `**options` one each."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    counted = [parameter for parameter in named if parameter.arg not in ("self", "cls")]
    return len(counted) + (given.vararg is not None) + (given.kwarg is not None)


def test_no_python_file_is_longer_than_400_lines():
    long = [
        f"{short(path)}: {lines(path)} lines" for path in modules(*ROOMS, "tests") if lines(path) > MOST_LINES
    ]
    assert not long, "\n".join(long)


def test_no_function_is_longer_than_60_lines():
    long = [
        f"{short(path)}:{function.lineno} {function.name}: {function.end_lineno - function.lineno + 1} lines"
        for path in modules(*ROOMS, "tests")
        for function in functions(path)
        if function.end_lineno is not None and function.end_lineno - function.lineno >= MOST_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_no_function_takes_more_than_six_parameters():
    wide = [
        f"{short(path)}:{function.lineno} {function.name}: {num_parameters(function)} parameters"
        for path in modules(*ROOMS)
        for function in functions(path)
        if num_parameters(function) > MOST_PARAMETERS
    ]
    assert not wide, "\n".join(wide)


def test_no_folder_holds_more_than_a_dozen_files():
    files = [path for room in SMALL_ROOMS for path in walk(ROOT / room) if path.suffix in (".py", ".md")]
    counted = Counter(short(path.parent) for path in files if path.name != "__init__.py")
    assert {folder: count for folder, count in counted.items() if count > MOST_FILES} == {}


def test_readme_is_at_most_250_lines():
    assert lines(ROOT / "README.md") <= MOST_README_LINES


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_opens_with_a_readme_of_at_most_a_page(room: str):
    readme = ROOT / room / "README.md"
    assert readme.is_file(), f"{short(readme)} is missing"
    assert lines(readme) <= MOST_ROOM_README_LINES
