"""Train and evaluate one candidate on a machine that has neither ray nor pydantic.

python -m trainables.worker candidate.json --out DIR
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spaces.console import command, say
from spaces.errors import StorageError, StudentSearchError
from spaces.files import make_folder
from spaces.owner import OWNER_FILE, Place, owned, run_place
from spaces.paths import kept_flag, path_flag
from trainables.training.control import PlainControl
from trainables.training.job import Job
from trainables.training.loop import train

RUN_FILE = "run.json"  # what a run folder holds


def make_out(folder: Path) -> None:
    """Make the folder of `--out`.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        make_folder(folder)
    except StorageError as error:
        raise StorageError(f"--out {error} Give a folder that can be made.") from error


def out_place(folder: Path, *, kept: str = "") -> Place:
    """Return what to own while `--out` is written: the folder; or the run that it lies in, since a search writes there, too.

    Args:
        folder: it exists.
        kept: what becomes of the work of a process that is interrupted.
    """
    named, real = (
        folder.absolute(),
        folder.resolve(),
    )  # the checkpoints of a run may be a link to another disk
    for around in (named, *named.parents, real, *real.parents):
        if (around / RUN_FILE).is_file():
            return run_place(around)
    return Place(noun="--out", path=folder, mark=folder / OWNER_FILE, kept=kept)


def _epoch(text: str) -> int:
    """Return the number of an epoch.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not (text.isascii() and text.isdecimal() and int(text[:9]) >= 1) or len(text) > 9:
        raise argparse.ArgumentTypeError(
            f"got {text[:40]!r}; allowed: the number of an epoch, 1 or more. Give one."
        )
    return int(text)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m trainables.worker",
        description="Train, evaluate and measure one candidate without Ray.",
    )
    parser.add_argument(
        "candidate", type=path_flag, help="candidate.json, as a run writes it beside each checkpoint"
    )
    parser.add_argument(
        "--out", type=kept_flag, required=True, help="folder of checkpoint and rows; resumed if it has them"
    )
    parser.add_argument(
        "--from-epoch",
        type=_epoch,
        metavar="N",
        help="go on after epoch N, whose state --out keeps (`checkpoints: {every_epoch: true}`), not after the last one",
    )
    options = parser.parse_args(arguments)
    try:
        job = Job.read(options.candidate, options.out)
        if not Path(job.storage).is_dir():  # of a cluster, where this machine may be none of the nodes
            job = replace(job, storage="")
        make_out(options.out)
        control = PlainControl()
        with owned(out_place(options.out, kept=" (what it has is kept)"), say=say):
            train(job, control, from_epoch=options.from_epoch)
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if control.rows and control.rows[-1]["status"] == "finished" else 1


if __name__ == "__main__":
    sys.exit(main())
