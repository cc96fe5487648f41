"""Which code this is: a hash of the sources that decide what a candidate becomes, and one of what installed plug-ins bring."""

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRAINING = ("spaces", "trainables")  # what a worker runs; it travels in each job
SEARCHING = (*TRAINING, "search")  # and who decides which candidates are trained
OURS = (*SEARCHING, "analysis")


@cache
def code_digest(rooms: tuple[str, ...] = TRAINING) -> str:
    """Return a hash of all Python files of some rooms, as they were when this process first asked.

    Names and contents count, times and places do not: a checkout, an installed package and the copy that Ray takes to another
    node have one digest.
    """
    digest = hashlib.sha256()
    for room in rooms:
        _add(digest, ROOT, sorted((ROOT / room).rglob("*.py")))
    return digest.hexdigest()[:16]


def _add(digest: "hashlib._Hash", root: Path, paths: Iterable[Path]) -> None:
    """Add names, from a root, and contents of files to a hash."""
    for path in paths:
        name = path.relative_to(root).as_posix()
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())


def foreign_code(*made: type) -> dict[str, str]:
    """Return package -> hash of its Python files, of those classes that are not ours.

    What is kept of ours on disk has a version, which is raised when a change means something; nobody does so for a plug-in of the
    user's. Its package has no new version either while it is being written.
    """
    tops = {one.__module__.partition(".")[0] for one in made}
    return {top: package_digest(top) for top in sorted(tops.difference(OURS))}


@cache
def package_digest(top: str) -> str:
    """Return a hash of the files of a package, or of a single module, as they were when this process first asked."""
    try:
        found = find_spec(top)
    except ValueError:  # a script that runs itself
        found = None
    if found is None:
        return "unknown"
    digest = hashlib.sha256()
    for folder in map(Path, found.submodule_search_locations or ()):
        _add(digest, folder, sorted(folder.rglob("*.py")))
    if not found.submodule_search_locations and found.origin and Path(found.origin).is_file():
        _add(digest, Path(found.origin).parent, [Path(found.origin)])
    return digest.hexdigest()[:16]
