"""No room but its own names one model family: a second family, or a second system, needs no edit elsewhere."""

import re

from tests.house.tree import ROOMS, modules, short

FAMILY = re.compile("blip", re.IGNORECASE)
OWN = ("trainables/families/blip/", "trainables/teachers/blip/")
# the rows of the two tables, and where the command that trains the embedded teacher stands
ROWS = re.compile(r"trainables\.(families|teachers)\.blip|teachers\.blip\.pretrain|^FIRST = ")


def test_no_room_but_its_own_names_a_family():
    found = [
        f"{short(path)}:{number}: {line.strip()}"
        for path in modules(*ROOMS)
        if not short(path).startswith(OWN)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if FAMILY.search(line) and not ROWS.search(line)
    ]
    assert not found, "\n".join(found)
