"""The README is true: its tree is the real one, its space loads, its commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from search import run
from spaces.load import load_space
from tests.house.tree import ROOT, entries

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [match.groups() for match in re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]
PROGRAMS = (
    "search/run.py",
    "search/control.py",
    "search/export.py",
    "search/simulate.py",
    "analysis/ablation.py",
    "analysis/report.py",
)


def drawn_tree() -> dict[str, str]:
    """Return the paths of the README's tree with their comments; folders end in a slash."""
    section = README.partition("## Where things are")[2]
    lines = section.partition("```\n")[2].partition("```")[0].splitlines()
    found, folder = {}, ""
    for line in lines:
        name, _, comment = line.strip().partition("  ")
        path = folder + name if line.startswith("  ") else name
        if not line.startswith("  "):
            folder = name
        assert path not in found, f"{path} is listed twice"
        found[path] = comment.strip()
    return found


def real_tree() -> set[str]:
    """Return the files and folders at the top, and the folders in those that hold modules or tests."""
    top = entries(ROOT)
    inner = [path for folder in top if folder.is_dir() for path in entries(folder) if path.is_dir()]
    return {path.relative_to(ROOT).as_posix() + "/" * path.is_dir() for path in [*top, *inner]}


def commands() -> list[list[str]]:
    """Return the command lines of the README that call one of our programs, split into words."""
    lines = [line for _, text in BLOCKS for line in text.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines if "python " in line and ".py" in line]
    found = [line[line.index("python") + 1 :] for line in words if "python" in line]
    return [line for line in found if line and line[0] in PROGRAMS]


def test_tree_of_the_readme_is_the_real_one():
    assert set(drawn_tree()) == real_tree()


def test_every_entry_of_the_tree_has_a_comment():
    assert not [path for path, comment in drawn_tree().items() if not comment]


def test_space_of_the_readme_loads(tmp_path: Path):
    (text,) = [text for language, text in BLOCKS if language == "yaml"]
    path = tmp_path / "space.yaml"
    path.write_text(text)
    assert load_space(path).domains()


def test_readme_shows_all_commands():
    assert {line[0] for line in commands()} == set(PROGRAMS)


@pytest.mark.parametrize("line", [line for line in commands() if line[0] == "search/run.py"], ids=" ".join)
def test_search_command_of_the_readme_is_understood(line: list[str]):
    assert run.parser().parse_args(line[1:])


@pytest.mark.parametrize("line", [line for line in commands() if line[0] != "search/run.py"], ids=" ".join)
def test_flags_of_the_other_commands_exist(line: list[str]):
    source = (ROOT / line[0]).read_text()
    assert not [word for word in line[1:] if word.startswith("--") and f'"{word}"' not in source]


def test_links_of_the_readme_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]
