"""Train students of a run without distillation, to see what distillation gained.

python search/control.py runs/dlip --pick front --seeds 3
"""

import argparse
import sys
from collections.abc import Sequence

from spaces.commands import command_line
from spaces.console import command, say
from spaces.errors import StudentSearchError
from spaces.interruption import exit_code_of
from spaces.paths import kept_flag, path_flag


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=command_line("search/control.py"),
        description="Train students of a run without distillation (same epochs, same initialisation), to see what it gained.",
        epilog="Ctrl-C keeps what is trained; the same command goes on. Exit code 1: some trainings failed, the others are kept.",
    )
    made.add_argument("run", type=path_flag, help="run folder, such as runs/dlip")
    made.add_argument("--pick", default="front", metavar="front|ID", help="which students (default front)")
    made.add_argument("--seeds", type=int, default=3, help="trainings of each (default 3)")
    made.add_argument(
        "--members",
        type=int,
        default=3,
        help="at most so many of the parameter front, small to large (default 3)",
    )
    made.add_argument("--address", metavar="ADDRESS", help="join a running Ray cluster")
    made.add_argument(
        "--storage",
        type=kept_flag,
        metavar="DIR",
        help="folder of prepared data and teacher caches, seen by every node (default that of the run)",
    )
    return made


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.members < 1:
        parser.error("--seeds and --members: allowed are 1 or more")
    try:
        if options.address:
            from search.tune.cluster_token import offer_token

            offer_token()  # before anything imports ray
        from search.results.undistilled import control

        report, failed = control(
            options.run,
            options.pick,
            seeds=options.seeds,
            limit=options.members,
            address=options.address,
            storage=options.storage,
        )
        print(f"report: {report}")
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        say("interrupted; what is trained is kept, the same command goes on")
        return exit_code_of(error)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
