"""Search over a table of known results on a virtual clock, to compare searchers and schedulers, or to plan a run.

python search/simulate.py --table runs/dlip --searcher random evolution --scheduler none moasha --seeds 10
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.arguments import add_settings, parse
from spaces.commands import command_line
from spaces.console import command, say
from spaces.errors import StudentSearchError
from spaces.interruption import exit_code_of
from spaces.paths import path_flag

if TYPE_CHECKING:
    from search.simulator.study import Study

LISTS = ("objectives", "fields", "ignore", "searcher", "scheduler", "rungs")


def parser() -> argparse.ArgumentParser:
    """Return the command line of this program."""
    made = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=command_line("search/simulate.py"),
        description="Search over a table of known results on a virtual clock. Nothing is trained, no cluster is needed.",
        epilog="Several searchers and schedulers are compared, each with each. Columns of a table of your own: "
        "candidate_id, epoch, metrics and costs, epoch_cost, searched fields; see search/simulator/README.md.",
    )
    made.add_argument(
        "--table",
        required=True,
        metavar="T",
        help="a run folder, a file .arrow or .csv, or nasbench201:cifar10|cifar100|imagenet16-120",
    )
    made.add_argument(
        "--objectives",
        nargs="+",
        default=[],
        metavar="GOAL",
        help="min:COLUMN or max:COLUMN, [log] behind it for the hypervolume in the logarithm (default: those of the table)",
    )
    made.add_argument(
        "--fields", nargs="+", metavar="COLUMN", help="the searched columns of a table of your own"
    )
    made.add_argument(
        "--ignore", nargs="+", default=[], metavar="COLUMN", help="columns that are not searched"
    )
    _add_search(made)
    add_settings(
        made,
        metavar="PLUGIN.OPTION=VALUE",
        help="searcher.population=30, scheduler.reduction_factor=2, evolution.population=30",
    )
    made.add_argument("--json", type=path_flag, metavar="OUT", help="write the result as JSON")
    made.add_argument(
        "--html",
        type=path_flag,
        metavar="OUT",
        help="where to draw it (default runs/simulation.html, -2, ...)",
    )
    return made


def _add_search(made: argparse.ArgumentParser) -> None:
    """Add the flags on who searches, and how far."""
    made.add_argument(
        "--searcher", nargs="+", default=["random"], metavar="NAME", help="who proposes (default random)"
    )
    made.add_argument(
        "--scheduler",
        nargs="+",
        metavar="NAME",
        help="who stops early; 'none' stops nobody (default moasha, none for a table of final values)",
    )
    made.add_argument(
        "--rungs",
        nargs="+",
        metavar="R",
        help="epochs (1 3) or fractions of a candidate's own length (1/9 1/3) at which it may be stopped "
        "(default: those of the run, else 1/9 1/3)",
    )
    made.add_argument(
        "--workers", type=int, default=8, metavar="N", help="candidates in training at a time (default 8)"
    )
    made.add_argument("--seeds", type=int, default=10, metavar="N", help="searches of each kind (default 10)")
    made.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the first of them, the others follow (default 0)",
    )
    made.add_argument(
        "--trials", type=int, metavar="N", help="candidates of each search (default: all of the table)"
    )
    made.add_argument(
        "--compute", type=float, metavar="X", help="what each search may spend, in the table's unit"
    )


def study_of(options: argparse.Namespace) -> "Study":
    """Return what a command line asks for."""
    from search.simulator.simulation import Setup
    from search.simulator.study import Study
    from search.simulator.user_table import Selection

    return Study(
        table=options.table,
        objectives=options.objectives,
        selection=Selection(fields=options.fields, ignore=tuple(options.ignore)),
        searchers=options.searcher,
        schedulers=options.scheduler,
        rungs=options.rungs or (),
        settings=options.set,
        seeds=range(options.seed, options.seed + options.seeds),
        setup=Setup(workers=options.workers, compute=options.compute, trials=options.trials),
        json=options.json,
        html=options.html,
    )


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 2 for a mistake to mend, 130 for Ctrl-C."""
    options = parse(parser(), arguments, lists=LISTS)
    try:
        from search.simulator.study import run_study

        run_study(study_of(options), sys.stdout, sys.stderr)
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        say("interrupted; nothing was written")
        return exit_code_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
