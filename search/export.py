"""Write a student of a run as a model folder that loads elsewhere.

python search/export.py runs/dlip --pick knee --out student/
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from spaces.commands import command_line
from spaces.console import command
from spaces.errors import StudentSearchError
from spaces.objectives import FRONT_COSTS
from spaces.paths import kept_flag, path_flag

if TYPE_CHECKING:
    from analysis.run_folder import Trial


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=command_line("search/export.py"),
        description="Write a student of a run as a model folder that loads elsewhere.",
    )
    parser.add_argument("run", type=path_flag, help="run folder, such as runs/dlip")
    parser.add_argument(
        "--pick", required=True, metavar="ID|best|knee", help="a candidate id, or a point of a front"
    )
    parser.add_argument(
        "--axis", choices=FRONT_COSTS, default="params", help="the front of best and knee (default params)"
    )
    parser.add_argument("--out", type=kept_flag, required=True, metavar="DIR", help="new folder")
    options = parser.parse_args(arguments)
    try:
        from search.results.student_export import export

        trial = export(options.run, options.pick, axis=options.axis, out=options.out)
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"{options.out}: student {trial.candidate_id}, {_size(trial)}; "
        f"load it with trainables.export.load({str(options.out)!r})"
    )
    return 0


def _size(trial: "Trial") -> str:
    """Return how large a student is, and of one that reads its teacher, how large it is alone."""
    from analysis.wording import cost, on_terminal

    whole, alone = (on_terminal(cost("size_mib", one["size_mib"])) for one in (trial.costs, trial.head_costs))
    if not trial.reads_teacher:
        return f"{whole} from raw input to answer"
    return f"{whole} from raw input to answer ({alone} the student alone, the rest the part of its teacher that it reads)"


if __name__ == "__main__":
    sys.exit(main())
