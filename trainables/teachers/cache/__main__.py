"""Fill the caches of teachers ahead of a search, or keep house among them.

python -m trainables.teachers.cache --space spaces/dlip.yaml
python -m trainables.teachers.cache --list
python -m trainables.teachers.cache --prune incomplete unreadable --yes
"""

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from spaces.console import command, say
from spaces.errors import StudentSearchError
from spaces.interruption import exit_code_of
from spaces.paths import kept_flag
from trainables.datasets.cache_folder import stored_in
from trainables.teachers.cache.keeping import MIB, WORDS, chosen, kept_caches, removable, remove

FILLING = "search.results.teacher_caches"  # knows spaces, which this room does not


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m trainables.teachers.cache",
        description="Fill the teacher caches of a space ahead of a search (more flags: --space FILE --help), or keep house.",
        epilog="Ctrl-C while filling keeps the parts that are done; the same command goes on.",
    )
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--space", metavar="FILE", help="fill all that a search of this space would")
    what.add_argument("--list", action="store_true", help="print size, age, state and teacher of each cache")
    what.add_argument(
        "--prune",
        nargs="+",
        metavar="WHAT",
        help=f"tell what would be removed: beginnings of keys, or {', '.join(WORDS)}; with --yes remove it",
    )
    made.add_argument("--yes", action="store_true", help="with --prune: remove what is told")
    made.add_argument("--storage", type=kept_flag, metavar="DIR", help="folder of the caches, as of a search")
    return made


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if any(word == "--space" or word.startswith("--space=") for word in given):
        return _fill(given)
    parser = _parser()
    options = parser.parse_args(given)
    if options.yes and not options.prune:
        parser.error("--yes: goes with --prune alone")
    try:
        with stored_in(str(options.storage)) if options.storage else nullcontext():
            return _prune(options.prune, yes=options.yes) if options.prune else _list()
    except StudentSearchError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt as error:
        say("interrupted")
        return exit_code_of(error)


def _fill(arguments: Sequence[str]) -> int:
    """Become the command that knows what a space needs."""
    if importlib.util.find_spec("search") is None:
        say(
            "error: --space: needs the package of the search, which is not installed here. Install all of student-search."
        )
        return 2
    os.execv(sys.executable, [sys.executable, "-m", FILLING, *arguments])


def _list() -> int:
    caches = kept_caches()
    for one in caches:
        print(one.line())
    folder = caches[0].folder.parent if caches else "no cache"
    print(
        f"{len(caches)} cache{'' if len(caches) == 1 else 's'}, {sum(one.size for one in caches) / MIB:,.1f} MiB in {folder}"
    )
    return 0


def _prune(words: Sequence[str], *, yes: bool) -> int:
    going = chosen(kept_caches(), words)
    gone = 0
    for one in going:
        size = removable(one, words)
        part = (
            "" if size == one.size else f" ({size / MIB:,.1f} MiB of it, which was begun and never finished)"
        )
        print(f"{'removing' if yes else 'would remove'} {one.line()}{part}")
        if yes and remove(one, words, say=say):
            gone += size
    if yes:
        print(f"{gone / MIB:,.1f} MiB removed")
    else:
        total = sum(removable(one, words) for one in going)
        print(
            f"{len(going)} caches, {total / MIB:,.1f} MiB; nothing was removed: add --yes. A search that reads one would end."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
