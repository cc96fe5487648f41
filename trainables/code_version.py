"""Which code this is: a hash of the sources that decide what a candidate becomes."""

import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRAINING = ("spaces", "trainables")  # what a worker runs; it travels in each job
SEARCHING = (*TRAINING, "search")  # and who decides which candidates are trained


@cache
def code_digest(rooms: tuple[str, ...] = TRAINING) -> str:
    """Return a hash of all Python files of some rooms, as they were when this process first asked.

    Names and contents count, times and places do not: a checkout, an installed package and the copy that Ray takes to another
    node have one digest.
    """
    digest = hashlib.sha256()
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
