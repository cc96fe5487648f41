"""Commands with a value in them are made by `spaces.commands`, which quotes it."""

import re

from tests.house.tree import ROOT, short

WRITTEN_OUT = re.compile(r"python (?:search|analysis)/\w+\.py[^\"'\n]*\{|\" *\n *f\"--(?:resume|space) \{")


def test_no_command_with_a_value_is_written_out() -> None:
    rooms = ("spaces", "trainables", "search", "analysis")
    files = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))
    assert files
    assert [short(path) for path in files if WRITTEN_OUT.search(path.read_text(encoding="utf-8"))] == []
