"""Commands with a value in them are made by `spaces.commands`, which quotes it; paths among flags are read by one function."""

import re

from tests.house.tree import ROOT, short

WRITTEN_OUT = re.compile(r"python (?:search|analysis)/\w+\.py[^\"'\n]*\{|\" *\n *f\"--(?:resume|space) \{")
OTHER_PATHS = re.compile(
    r"type=(?:user_path|settled|(?:pathlib\.)?Path)\b"
)  # of which some take "" for the folder one is in


def found(pattern: re.Pattern[str]) -> list[str]:
    """Return the files in which a pattern stands."""
    rooms = ("spaces", "trainables", "search", "analysis")
    files = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))
    assert files
    return [short(path) for path in files if pattern.search(path.read_text(encoding="utf-8"))]


def test_no_command_with_a_value_is_written_out() -> None:
    assert found(WRITTEN_OUT) == []


def test_no_command_takes_the_beginning_of_a_flag_for_it() -> None:
    """`--seed 1` would be `--seeds 1` of one command and mean something else in the next."""
    assert found(re.compile(r"ArgumentParser\((?!\s*allow_abbrev=False,)")) == []
    assert found(re.compile("add_subparsers")) == []


def test_every_flag_that_is_a_path_refuses_an_empty_one() -> None:
    assert found(OTHER_PATHS) == []
