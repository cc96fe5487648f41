"""`student-search run|report|control|finalise|...`: the commands under one name, wherever one stands."""

import importlib
import sys
from collections.abc import Sequence

from spaces.console import command

COMMANDS = {
    "run": "search.run",
    "report": "analysis.report",
    "control": "search.control",
    "finalise": "search.finalise",
    "export": "search.export",
    "simulate": "search.simulate",
    "grid": "analysis.grid",
    "ablation": "analysis.ablation",
}
USAGE = f"usage: student-search {{{','.join(COMMANDS)}}} ...\n       student-search COMMAND --help"


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if not given or given[0] not in COMMANDS:
        from spaces.plugins import near

        got = f"got {given[0]!r}" if given else "got no command"
        guess = near(given[0], COMMANDS) if given else None
        hint = f" Did you mean {guess}?" if guess else ""
        print(f"error: {got}; allowed: {', '.join(COMMANDS)}.{hint}\n{USAGE}", file=sys.stderr)
        return 2
    module = importlib.import_module(COMMANDS[given[0]])
    code: int = module.main(given[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
