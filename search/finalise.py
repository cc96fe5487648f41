"""Train students of a run longer and for each task, and measure what they keep of their teacher, beside two controls.

python search/finalise.py runs/dlip --pick front --epochs 40
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from search.arguments import add_settings, parse
from spaces.commands import command_line
from spaces.console import command, say
from spaces.errors import RunError, StudentSearchError
from spaces.interruption import exit_code_of
from spaces.paths import kept_flag, path_flag

if TYPE_CHECKING:
    from search.finals.request import Request


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=command_line("search/finalise.py"),
        description="Train students of a run longer and for each task; measure teacher, student and two controls alike: without "
        "distillation, and with a teacher of random weights. Figures go to finalised.json and the report.",
        epilog="Ctrl-C keeps every epoch; the same command goes on. Exit code 1: some trainings failed, the others are kept. "
        "Where captions and answers to train on are noisy, the teacher's are better: --recipe spaces/recipes/distilled.yaml.",
    )
    made.add_argument("run", type=path_flag, help="run folder, such as runs/dlip")
    made.add_argument(
        "--pick", default="front", metavar="front|best|knee|ID[,ID]", help="which students (default front)"
    )
    made.add_argument(
        "--members", type=int, default=3, help="at most so many of the parameter front (default 3)"
    )
    made.add_argument("--epochs", type=int, required=True, metavar="N", help="of the longer training")
    made.add_argument(
        "--fine-tune",
        type=int,
        metavar="N",
        help="epochs for each task after it (default a quarter; 0 for none)",
    )
    made.add_argument(
        "--tasks", metavar="A,B", help="retrieval, captioning, vqa, nlvr2, ... (default those of the run)"
    )
    made.add_argument("--seeds", type=int, default=3, help="trainings of each (default 3)")
    made.add_argument("--controls", default="plain,random", metavar="A,B|none", help="(default plain,random)")
    made.add_argument(
        "--domain",
        action="append",
        default=[],
        metavar="KIND[:PLACE]",
        help="other data to measure all on; repeatable",
    )
    add_settings(
        made,
        metavar="PATH=VALUE",
        help="of the longer training, such as losses.lm_logit.weight=6, training.lr=1e-3, tasks.retrieval.rerank=64",
    )
    made.add_argument(
        "--recipe",
        type=path_flag,
        metavar="FILE",
        help="such settings as a file; --set goes before it. spaces/recipes/distilled.yaml: learn of the teacher alone",
    )
    made.add_argument(
        "--compress",
        action="store_true",
        help="measure int8 and pruned forms of teacher and students, too (on a CPU)",
    )
    made.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and about how long it takes"
    )
    _add_places(made)
    return made


def _add_places(made: argparse.ArgumentParser) -> None:
    """Let it say where it runs, and where what it makes lies."""
    made.add_argument(
        "--workers-per-trial", type=int, metavar="N", help="of each training (default as in the run)"
    )
    made.add_argument(
        "--address", metavar="ADDRESS", help="join a running Ray cluster ('auto', or host:port)"
    )
    made.add_argument("--storage", type=kept_flag, metavar="DIR", help="folder of caches, as of the search")
    made.add_argument(
        "--export", type=kept_flag, metavar="DIR", help="write each student as a model folder DIR/ID"
    )


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse(_parser(), arguments)
    try:
        if options.address:
            from search.tune.cluster_token import offer_token

            offer_token()  # before anything imports ray
        return _done(options)
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        say("interrupted; every epoch that is through is kept, the same command goes on")
        return exit_code_of(error)


def _done(options: argparse.Namespace) -> int:
    """Do what is asked for; return the exit code.

    Raises:
        StudentSearchError: whatever the user has to mend.
    """
    request = _request(options)
    request.check()
    from search.finals.exporting import check_place, export_finals

    if options.export:
        check_place(request, options.export)
    if options.dry_run:
        from search.finals.expected import plan_lines

        for line in plan_lines(request):
            print(line)
        return 0
    from search.finals.plan import plan_of

    plan_of(request)  # what is wrong is told without Ray
    from search.finals.finalising import Surroundings, finalise

    typed = sys.argv[1:]
    where = Surroundings(
        address=options.address,
        storage=options.storage,
        command=command_line("search/finalise.py", *typed),
    )
    report, failed = finalise(request, where)
    if options.export:
        for folder in export_finals(request, options.export):
            print(f"exported: {folder}")
    print(f"report: {report}")
    return 1 if failed else 0


def _recipe(file: Path | None) -> Iterator[str]:
    """Yield what a recipe sets, as the flag --set would say it.

    Raises:
        SpaceError: the file is none.
        RunError: it sets what finals do not take.
    """
    if file is None:
        return
    from search.finals.request import check_settable
    from spaces.load import read_recipe

    for override in read_recipe(file):
        check_settable(override)
        yield f"{override.path}={json.dumps(override.value)}"


def _request(options: argparse.Namespace) -> "Request":
    """Return what the command line asks for.

    Raises:
        RunError: no task is left of those that are named.
    """
    from search.finals.request import Request

    tuned = options.fine_tune
    if tuned is None:
        tuned = max(1, options.epochs // 4)
    controls = () if options.controls == "none" else tuple(map(str.strip, options.controls.split(",")))
    tasks = tuple(one.strip() for one in (options.tasks or "").split(",") if one.strip())
    if options.tasks is not None and not tasks:
        raise RunError(
            f"--tasks: got {options.tasks!r}; allowed: names of tasks, or none of this flag for those of the run."
        )
    return Request(
        folder=options.run,
        pick=options.pick,
        epochs=options.epochs,
        fine_tune=tuned,
        tasks=tasks,
        seeds=options.seeds,
        members=options.members,
        settings=(*_recipe(options.recipe), *options.set),
        controls=controls,
        domains=tuple(options.domain),
        compress=options.compress,
        workers=options.workers_per_trial,
    )


if __name__ == "__main__":
    sys.exit(main())
