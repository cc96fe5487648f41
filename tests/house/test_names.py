"""Names of files, and words that do not belong into them."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.house.tree import ROOMS, ROOT, entries, modules, short, syntax, walk

NAMES_THAT_SAY_NOTHING = {"common", "core", "helpers", "misc", "utils"}
COMMAND_ROOMS = ("search", "analysis")  # `python search/run.py` puts this folder first on the path
# put together here, or this file would be its own finding
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:" + "|".join(["work", "root", "tmp", "home/[a-z]"]) + r")/")
HOSTS = re.compile(
    "|".join([r"py" + r"pi\.org", r"python" + r"hosted\.org", r"download\." + r"pytorch\.org"])
)
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in walk():
        content = path.read_bytes()
        if b"\0" not in content:
            found.append((path, content.decode("utf-8")))
    return found


def hits(pattern: re.Pattern[str], texts: list[tuple[Path, str]]) -> list[str]:
    return [
        f"{short(path)}:{number}: {line.strip()[:100]}"
        for path, text in texts
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("room", COMMAND_ROOMS)
def test_no_file_beside_a_command_hides_a_package(room: str):
    dependencies = {name for name in packages_distributions() if name not in ROOMS}
    taken = dependencies | set(sys.stdlib_module_names)
    names = {path.stem: short(path) for path in entries(ROOT / room) if path.suffix in ("", ".py")}
    assert not [path for name, path in names.items() if name in taken]


def test_no_module_has_a_name_that_says_nothing():
    names = [short(path) for room in ROOMS for path in walk(ROOT / room)]
    assert not [
        name for name in names if NAMES_THAT_SAY_NOTHING & {Path(part).stem for part in name.split("/")}
    ]


def test_public_lists_are_sorted_and_true():
    wrong = []
    for path in modules(*ROOMS):
        body = syntax(path).body
        bound = {name for node in body for name in bindings(node)}
        for node in body:
            if isinstance(node, ast.Assign) and "__all__" in bindings(node):
                listed = ast.literal_eval(node.value)
                if list(listed) != sorted(listed, key=str) or not set(listed) <= bound:
                    wrong.append(f"{short(path)}:{node.lineno}: {listed}")
    assert not wrong, "\n".join(wrong)


def bindings(node: ast.stmt) -> set[str]:
    """Return the names that a statement at the top of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign)
        else []
    )
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_no_file_names_a_path_of_one_machine():
    found = hits(MACHINE_PATHS, texts())
    assert not found, "\n".join(found)


def test_no_file_names_a_registry():
    found = hits(HOSTS, texts())
    assert not found, "\n".join(found)


def test_nothing_is_left_for_later():
    found = hits(UNFINISHED, texts())
    assert not found, "\n".join(found)
