"""Search small students of a large teacher, and draw their measured Pareto front.

python search/run.py --space spaces/dlip.yaml
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from search.arguments import DEFAULT_SPACE, add_settings, parse, path_of
from search.reporting.log_file import logged
from spaces.commands import command_line
from spaces.console import command, say
from spaces.errors import RunError, SpaceError, StorageError, StudentSearchError
from spaces.interruption import exit_code_of
from spaces.paths import kept_flag, path_flag

if TYPE_CHECKING:
    from search.reporting.json_lines import JsonLines
    from search.start import Request
    from spaces.load import Override

LISTS = ("families", "tasks", "losses", "teachers", "datasets", "searchers", "schedulers")
FIXED = ("space", "max_epochs", "seed", "out", "smoke")  # of a run that goes on


def parser() -> argparse.ArgumentParser:
    """Return the command line of this program."""
    made = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=command_line("search/run.py"),
        description="Search small students of a large teacher, and draw their measured Pareto front.",
        epilog="Ctrl-C keeps every result and draws the report; go on with --resume RUN.",
    )
    add_settings(made, metavar="PATH=VALUE", help="any field of the space, as in search.trials=60")
    made.add_argument(
        "--space", type=path_flag, metavar="FILE", help=f"what may be tried (default {DEFAULT_SPACE})"
    )
    made.add_argument(
        "--teacher",
        metavar="NAME",
        help="'embedded', a model folder, a hub id such as owner/model, or retrieval=NAME,captioning=NAME,vqa=NAME of several; "
        "all may end in ,temperature=0.05",
    )
    made.add_argument(
        "--dataset",
        metavar="KIND[:PLACE]",
        help="'scenes', jsonl:FILE for pairs of your own, or imagefolder, tiny_imagenet, coco, parquet, pictures or "
        "prepared:FOLDER; other options of the space's own data stay where it is of that kind",
    )
    made.add_argument(
        "--trials", type=int, metavar="N", help="candidates to try, over all sessions of the run"
    )
    made.add_argument(
        "--max-epochs", type=int, metavar="N", help="full fidelity; rungs at or above it are dropped"
    )
    made.add_argument("--seed", type=int, metavar="N", help="seed of the search")
    made.add_argument(
        "--wall-hours", type=float, metavar="H", help="end after so many hours, over all sessions of the run"
    )
    made.add_argument(
        "--device-hours",
        type=float,
        metavar="H",
        help="end after so many GPU-hours (CPU-hours without GPUs) of training",
    )
    _add_resources(made)
    _add_places(made)
    _add_output(made)
    made.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    made.add_argument(
        "--smoke", action="store_true", help="the whole path in under 90 seconds, on very little data"
    )
    made.add_argument(
        "--list",
        choices=LISTS,
        metavar="ROOM",
        help=f"print the plug-ins of a room and their options: {', '.join(LISTS)}",
    )
    return made


def number_or_auto(text: str) -> float | str:
    """Return what a flag says of GPUs: a number, or a word that the space knows or refuses."""
    try:
        return float(text)
    except ValueError:
        return text


def _add_resources(made: argparse.ArgumentParser) -> None:
    """Add the flags that say what trials take."""
    made.add_argument("--workers-per-trial", type=int, metavar="N", help="training processes per candidate")
    made.add_argument(
        "--gpus-per-worker",
        type=number_or_auto,
        metavar="X",
        help="GPUs of each worker, a share such as 0.25 too; auto: the share that the largest student needs, as measured "
        "(default 1 where there is a GPU)",
    )
    made.add_argument(
        "--max-concurrent",
        type=int,
        metavar="N",
        help="candidates in training at a time, at most (default: as many as there is room for)",
    )


def _add_output(made: argparse.ArgumentParser) -> None:
    """Add the flags that say where a search tells of itself."""
    made.add_argument(
        "--log", type=kept_flag, metavar="FILE", help="append what is said to this file too, with times"
    )
    made.add_argument(
        "--json",
        action="store_true",
        help="one JSON object a line on standard output: events run, progress, and at last end or error",
    )


def _add_places(made: argparse.ArgumentParser) -> None:
    """Add the flags that say where a run lies, which runs it goes on from, and where it trains."""
    made.add_argument(
        "--out", type=kept_flag, metavar="DIR", help="run folder (default runs/NAME, runs/NAME-2, ...)"
    )
    made.add_argument(
        "--resume",
        type=path_flag,
        metavar="RUN",
        help="go on with an interrupted run, or extend it with --trials",
    )
    made.add_argument(
        "--retry-failed",
        action="store_true",
        help="with --resume: train again, from their checkpoints, candidates that crashed or ran out of memory",
    )
    made.add_argument(
        "--warm-start",
        type=path_flag,
        nargs="+",
        default=[],
        metavar="RUN",
        help="learn from earlier runs of the same space, teacher and data, and begin with their fronts",
    )
    made.add_argument(
        "--address", metavar="ADDRESS", help="join a running Ray cluster ('auto', or host:port)"
    )
    made.add_argument(
        "--storage",
        type=kept_flag,
        metavar="DIR",
        help="folder of prepared data, teacher caches and measured costs, seen by every node (default with --address: "
        ".storage beside the run; else the cache folder of the user)",
    )
    made.add_argument(
        "--node-copies",
        type=path_flag,
        metavar="DIR",
        help="folder on a disk of each node for copies of caches and pictures that trials read (default: none)",
    )
    made.add_argument(
        "--train",
        choices=("auto", "always"),
        default="auto",
        help="'always' runs single workers through Ray Train too",
    )


def request_of(options: argparse.Namespace) -> "Request":
    """Return what a command line asks for.

    Raises:
        RunError: a flag that --resume does not allow.
    """
    from search.start import Request

    if options.resume:
        from search.run_folder.resume import check_changes

        fixed = {f"--{name.replace('_', '-')}": getattr(options, name) for name in FIXED}
        check_changes(
            options.resume,
            given=[flag for flag, value in fixed.items() if value is not None and value is not False],
            settings=options.set,
            warm_start=bool(options.warm_start),
        )
    changes, said = overrides(options)
    return Request(
        space=options.space or DEFAULT_SPACE,
        changes=tuple(changes),
        said=said,
        resume=options.resume,
        out=options.out,
        warm_start=tuple(options.warm_start),
        address=options.address,
        always_train=options.train == "always",
        dry_run=options.dry_run,
        storage=options.storage,
        node_copies=options.node_copies,
        retry_failed=options.retry_failed,
        events=events_of(options),
    )


def check_sense(options: argparse.Namespace) -> None:
    """Refuse flags that would be read and do nothing.

    Raises:
        RunError: names them.
    """
    if options.retry_failed and not options.resume:
        raise RunError(
            "--retry-failed: got it without --resume; allowed: with --resume RUN, whose failed candidates it trains again. Name "
            "the run, or leave the flag out."
        )
    idle = "--list" if options.list else "--dry-run" if options.dry_run else ""
    for flag, given in (("--retry-failed", options.retry_failed), ("--json", options.json)):
        if given and idle:
            raise RunError(
                f"{flag}: got it with {idle}, which runs no search; allowed: with a search. Leave one of them out."
            )


def events_of(options: argparse.Namespace) -> "JsonLines | None":
    """Return who tells events on standard output; None without --json."""
    if not options.json:
        return None
    from search.reporting.json_lines import JsonLines

    return JsonLines(sys.stdout)


def overrides(options: argparse.Namespace) -> tuple[list["str | Override"], list[str]]:
    """Return the fields of the space that flags set, later ones winning over the file, and what to say of them.

    Raises:
        RunError: a flag and a setting are for the same field, so that one of them would do nothing.
    """
    flagged = [*_dataset(options), *_flags(options)]
    told = {one.path: one.flag for one in flagged}
    if twice := [setting for setting in options.set if path_of(setting) in told]:
        flag = told[path_of(twice[0])]
        raise RunError(f"{flag}: got {twice[0]}, too; allowed: one of them. Leave the other out.")
    found: list[str | Override] = [*flagged, *options.set]
    if not options.smoke:
        return found, []
    from search.inputs.smoke import smoke_changes

    changes, said = smoke_changes(options.space or DEFAULT_SPACE, found)
    return [*found, *changes], [said]


def _dataset(options: argparse.Namespace) -> Iterator["Override"]:
    """Yield what --dataset sets: the place of data of the kind that the space has, whose other options stay; else all of it."""
    from spaces.load import Override, read_draft
    from trainables.datasets import place_option

    if not options.dataset:
        return
    flag = f"--dataset {options.dataset}"
    kind, _, place = options.dataset.partition(":")
    before: Any = {}
    if options.space and place:
        with suppress(SpaceError):  # whoever loads the file tells it
            before = (read_draft(options.space).value or {}).get("dataset")
    if isinstance(before, dict) and before.get("kind") == kind:
        yield Override(flag, f"dataset.{place_option(kind)}", place)
    else:
        yield Override(flag, "dataset", {"kind": kind, **({place_option(kind): place} if place else {})})


def _flags(options: argparse.Namespace) -> list["Override"]:
    """Return the fields that flags with one value set."""
    from spaces.load import Override

    flags = {
        "--teacher": ("teacher", options.teacher),
        "--trials": ("search.trials", options.trials),
        "--max-epochs": ("training.epochs", options.max_epochs),
        "--seed": ("search.seed", options.seed),
        "--wall-hours": ("search.stop.wall_hours", options.wall_hours),
        "--device-hours": ("search.stop.device_hours", options.device_hours),
        "--workers-per-trial": ("resources.workers_per_trial", options.workers_per_trial),
        "--gpus-per-worker": ("resources.gpus_per_worker", options.gpus_per_worker),
        "--max-concurrent": ("resources.max_concurrent", options.max_concurrent),
    }
    return [
        Override(f"{flag} {value}", path, value) for flag, (path, value) in flags.items() if value is not None
    ]


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 a candidate finished, 1 none did, 2 a mistake to mend.

    130, 143 and 129 after Ctrl-C, SIGTERM and SIGHUP.
    """
    options = parse(parser(), arguments, lists=["warm_start"])
    try:
        with logged(options.log, output=not options.json):
            return _run(options)
    except StorageError as error:  # of --log
        return _failed(options, str(error), 2)


def _run(options: argparse.Namespace) -> int:
    """Do what is asked for; return the exit code."""
    told: list[str] = []

    def soon(problems: Sequence[str]) -> None:
        told.extend(problems)
        say("\n".join(["error: " + problems[0], *problems[1:]]))

    try:
        check_sense(options)
        if options.list:
            from search.reporting.catalogue import catalogue

            print(catalogue(options.list))
            return 0
        if options.address:
            from search.tune.cluster_token import offer_token

            offer_token()  # before anything imports ray
        from search.start import start

        return start(request_of(options), say=say, soon=soon)
    except StudentSearchError as error:
        rest = [one for one in getattr(error, "problems", [str(error)]) if one not in told]
        return _failed(options, str(error), 2, shown="\n".join(rest) if told else f"error: {error}")
    except KeyboardInterrupt as error:
        text = "; ".join(["interrupted", *getattr(error, "__notes__", [])])
        return _failed(options, text, exit_code_of(error), shown=text)


def _failed(options: argparse.Namespace, message: str, code: int, *, shown: str | None = None) -> int:
    """Tell what a search could not be begun or ended for; return the exit code.

    Args:
        options: the command line.
        message: all of it.
        code: the exit code.
        shown: what of it is still to be said; "" for nothing.
    """
    text = f"error: {message}" if shown is None else shown
    if text:
        say(text)
    if (events := events_of(options)) is not None:
        events.tell("error", {"message": message, "exit_code": code})
    return code


if __name__ == "__main__":
    sys.exit(main())
