"""Search small students of a large teacher, and draw their measured Pareto front.

python search/run.py --space spaces/dlip.yaml
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.tune.cluster_token import offer_token
from spaces.errors import StudentSearchError

LISTS = ("losses", "models", "teachers", "datasets", "searchers", "schedulers")
DEFAULT_SPACE = Path("spaces/dlip.yaml")
SMOKE = {
    "training.epochs": 2,
    "training.pairs_per_epoch": 256,
    "training.warmup_steps": 2,
    "search.trials": 3,
    "search.scheduler.rungs": [1],
    "evaluation.images": 200,
}
SMOKE_SCENES = {"dataset.train_images": 256, "dataset.val_images": 200, "dataset.test_images": 200}


def parser() -> argparse.ArgumentParser:
    """Return the command line of this program."""
    made = argparse.ArgumentParser(
        prog="python search/run.py",
        description="Search small students of a large teacher, and draw their measured Pareto front.",
        epilog="Ctrl-C keeps every result and draws the report; go on with --resume RUN.",
    )
    made.add_argument(
        "--space", type=Path, metavar="FILE", help=f"what may be tried (default {DEFAULT_SPACE})"
    )
    made.add_argument(
        "--teacher", metavar="NAME", help="'embedded', a model folder, or a hub id such as owner/model"
    )
    made.add_argument(
        "--dataset", metavar="KIND[:FILE]", help="'scenes', or jsonl:FILE for pairs of your own"
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
    made.add_argument("--workers-per-trial", type=int, metavar="N", help="training processes per candidate")
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="any field of the space; may be repeated",
    )
    _add_places(made)
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


def _add_places(made: argparse.ArgumentParser) -> None:
    """Add the flags that say where a run lies, which runs it goes on from, and where it trains."""
    made.add_argument(
        "--out", type=Path, metavar="DIR", help="run folder (default runs/NAME, runs/NAME-2, ...)"
    )
    made.add_argument(
        "--resume", type=Path, metavar="RUN", help="go on with an interrupted run, or extend it with --trials"
    )
    made.add_argument(
        "--warm-start",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="learn from earlier runs of the same space, teacher and data, and begin with their fronts",
    )
    made.add_argument(
        "--address", metavar="ADDRESS", help="join a running Ray cluster ('auto', or host:port)"
    )
    made.add_argument(
        "--train",
        choices=("auto", "always"),
        default="auto",
        help="'always' runs single workers through Ray Train too",
    )


def overrides(options: argparse.Namespace) -> list[Any]:
    """Return the fields of the space that flags set, later ones winning over the file."""
    from spaces.load import Override

    found: list[Any] = []
    if options.smoke:
        fields = {**SMOKE, **(SMOKE_SCENES if (options.dataset or "scenes") == "scenes" else {})}
        found += [Override("--smoke", path, value) for path, value in fields.items()]
    if options.dataset:
        kind, _, file = options.dataset.partition(":")
        found.append(
            Override(
                f"--dataset {options.dataset}", "dataset", {"kind": kind, **({"file": file} if file else {})}
            )
        )
        if options.smoke and kind == "scenes":
            found += [Override("--smoke", path, value) for path, value in SMOKE_SCENES.items()]
    flags = {
        "--teacher": ("teacher", options.teacher),
        "--trials": ("search.trials", options.trials),
        "--max-epochs": ("training.epochs", options.max_epochs),
        "--seed": ("search.seed", options.seed),
        "--wall-hours": ("search.stop.wall_hours", options.wall_hours),
        "--device-hours": ("search.stop.device_hours", options.device_hours),
        "--workers-per-trial": ("resources.workers_per_trial", options.workers_per_trial),
    }
    found += [
        Override(f"{flag} {value}", path, value) for flag, (path, value) in flags.items() if value is not None
    ]
    return [*found, *options.set]


def chosen_space(options: argparse.Namespace, changes: list[Any]) -> Any:
    """Return the space of a file or of the run to resume, with the changes of the command line.

    Raises:
        StudentSearchError: all that is wrong with it, or a change that a resume does not allow.
    """
    if options.resume:
        from search.run_folder.resume import check_changes, resumed_space

        check_changes(options)
        return resumed_space(options.resume, changes)
    from spaces.load import load_space

    return load_space(options.space or DEFAULT_SPACE, changes)


def warm_start(folders: Sequence[Path], inputs: Any) -> Any:
    """Return what the runs of --warm-start have measured, None without the flag; say how much that is.

    Raises:
        RunError: no run, or one of another space, teacher or data.
    """
    if not folders:
        return None
    from search.candidates.warm_start import read_runs

    earlier = read_runs(folders, inputs)
    for source in earlier.sources:
        counts = (
            f"learns from {source['imported']} trained candidates, {source['finished']} of them finished; "
            f"{source['first']} on the fronts are trained first"
        )
        say(
            f"warm start from {source['run']} ({source['started']}): {counts if source['imported'] else 'holds no result'}"
        )
    return earlier


def search(options: argparse.Namespace) -> int:
    """Load, check and run; return the exit code.

    Raises:
        StudentSearchError: whatever the user has to mend.
    """
    started = time.monotonic()
    changes = overrides(options)
    space = chosen_space(options, changes)
    say(
        f"space {space.name}: {len(space.domains())} dimensions, {space.search.trials} trials, seed {space.search.seed}"
    )
    from search.tune.cluster import check_machine
    from search.session import Session, Options, check_fidelity
    from search.reporting.plan import describe, plan_lines
    from search.candidates.inputs import Inputs
    from search.run_folder.facts import discard_untrained, new_folder

    inputs = Inputs(space, say=say)
    check_fidelity(space)
    if options.address is None and not options.dry_run:
        asked = space.resources
        check_machine(workers=asked.workers_per_trial, cpus=asked.cpus_per_worker, gpus=asked.gpus_per_worker)
    if options.resume:
        from search.run_folder.resume import check_same_inputs

        check_same_inputs(options.resume, inputs)
    earlier = warm_start(options.warm_start, inputs)
    for line in describe(inputs):
        say(line)
    if options.dry_run:
        for line in plan_lines(inputs):
            print(line)
        return 0
    folder = options.resume or new_folder(space.name, options.out)
    say(f"run folder: {folder}")
    settings = Options(
        address=options.address,
        always_train=options.train == "always",
        resume=options.resume is not None,
        stream=sys.stderr,
        earlier=earlier,
        notes={"from the command line": [str(getattr(c, "flag", c)) for c in changes]} if changes else {},
    )
    try:
        outcome = Session(inputs, folder, settings, say=say).run()
    except StudentSearchError:
        if options.resume is None:
            discard_untrained(folder)
        raise
    say(f"{time.monotonic() - started:.0f} s in all")
    print(f"report: {outcome.report}")
    if outcome.code == 1 and outcome.ending.ended_by != "failures":  # that is told already, with its reason
        say("no candidate was trained to the end; the report says why")
    if outcome.code > 1:
        say(f"interrupted; go on with: python search/run.py --resume {folder}")
    if outcome.ending.more:
        say(f"go on with: python search/run.py --resume {folder} {outcome.ending.more}")
    return outcome.code


def say(text: str) -> None:
    """Print one line for the user."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 a candidate finished, 1 none did, 2 a mistake to mend, 130 Ctrl-C."""
    options = parser().parse_args(arguments)
    try:
        if options.list:
            from search.reporting.catalogue import catalogue

            print(catalogue(options.list))
            return 0
        if options.address:
            offer_token()  # before anything imports ray
        return search(options)
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept, --resume RUN goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
