"""Fill the teacher caches of a space ahead of a search: `python -m trainables.teachers.cache --space FILE` becomes this."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from search.arguments import add_settings, parse
from spaces.console import command, say
from spaces.errors import SpaceError, StudentSearchError
from spaces.interruption import exit_code_of
from spaces.paths import kept_flag, path_flag

STORAGE = Path("runs")  # beside which the storage of a cluster lies, where nobody names another


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m trainables.teachers.cache",
        description="Fill all teacher caches that a search of a space reads, ahead of it.",
        epilog="Ctrl-C keeps the parts that are done; the same command goes on. A search does all this itself, too.",
    )
    add_settings(made, metavar="PATH=VALUE", help="any field of the space, such as teacher=FOLDER")
    made.add_argument("--space", type=path_flag, required=True, metavar="FILE", help="what may be tried")
    made.add_argument(
        "--address", metavar="ADDRESS", help="fill on a running Ray cluster ('auto', or host:port)"
    )
    made.add_argument(
        "--storage", type=kept_flag, metavar="DIR", help="folder of the caches, as of the search"
    )
    return made


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse(_parser(), arguments)
    try:
        if options.address is not None:
            from search.tune.cluster_token import offer_token

            offer_token()  # before anything imports ray
        for teacher, folder in _filled(options).items():
            print(f"{teacher}: {folder}")
    except StudentSearchError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt as error:
        say("interrupted; the parts that are done are kept, the same command goes on")
        return exit_code_of(error)
    return 0


def _filled(options: argparse.Namespace) -> dict[str, str]:
    """Return what was filled, or was there: teacher and split -> folder.

    Raises:
        StudentSearchError: whatever the user has to mend.
    """
    from spaces.load import read_draft

    draft = read_draft(options.space, options.set)
    if draft.space is None or draft.problems:
        raise SpaceError(draft.problems)
    from search.inputs.inputs import Inputs
    from search.inputs.places import settled_space, stored
    from search.inputs.teacher_cache import fill_evaluation_caches, fill_teacher_caches

    if draft.space.teacher_cache.kind == "live":
        raise SpaceError(
            [f"{draft.space.place('teacher_cache.kind')}: got 'live'; such a space has no cache to fill."]
        )
    if options.address is not None:
        from search.tune.address import check_address

        check_address(options.address)  # before all that takes long
    runs = STORAGE if options.address is not None else None
    with stored(options.storage, kept="", runs=runs, say=say):
        inputs = Inputs(settled_space(draft.space), say=say)
        working: Any = nullcontext()
        if options.address is not None:
            from search.tune.shared import at_work

            working = at_work(inputs, options.address, say=say)
        with working:
            train = {f"{name}, train": folder for name, folder in fill_teacher_caches(inputs).items()}
            return train | {f"{name}, val": folder for name, folder in fill_evaluation_caches(inputs).items()}


if __name__ == "__main__":
    sys.exit(main())
