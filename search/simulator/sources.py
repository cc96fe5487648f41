"""Where tables come from: a run folder, NAS-Bench-201, or a file of the user's own."""

from pathlib import Path

from search.simulator.goals import Goals
from search.simulator.nasbench import DATA_SETS, PREFIX, load_nasbench
from search.simulator.recorded_run import load_run
from search.simulator.table import CurveTable
from search.simulator.user_table import Selection, load_user_table
from spaces.errors import TableError

ALLOWED = f"a run folder, a file .arrow or .csv, or {PREFIX}{'|'.join(DATA_SETS)}"


def load_table(spec: str, goals: Goals = (), *, selection: Selection | None = None) -> CurveTable:
    """Return the table that a user names.

    Args:
        spec: a run folder, an Arrow or CSV file, or `nasbench201:` with a data set.
        goals: the objectives; () for those that a run or NAS-Bench-201 brings along. Candidates that lack one at their
            last epoch are left out, with a note.
        selection: which columns of a user's own table are searched.

    Raises:
        TableError: no such table, or it cannot be used.
        RunError: a damaged run folder.
    """
    path = Path(spec)
    own = path.is_file()
    if selection is not None and not own and (selection.fields is not None or selection.ignore):
        raise TableError(
            f"--table {spec}: brings its own searched values, so --fields and --ignore are not for it; allowed: with a file "
            ".arrow or .csv. Drop them."
        )
    if spec.startswith(PREFIX):
        table = load_nasbench(spec.removeprefix(PREFIX))
    elif path.is_dir():
        table = load_run(path)
    elif own:
        if not goals:
            raise TableError(
                f"--table {spec}: needs --objectives; allowed: min:COLUMN or max:COLUMN, perhaps with [log]. "
                "Name one or more."
            )
        table = load_user_table(path, goals, selection or Selection())
    else:
        raise TableError(
            f"--table {spec}: there is no such file or folder; allowed: {ALLOWED}. Check the name."
        )
    return table.complete(goals or table.goals)
