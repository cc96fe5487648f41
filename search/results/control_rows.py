"""The rows of a control as they come: what is through is kept whatever becomes of the rest, and is not trained again."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, final

from analysis.run_folder import CONTROL_FILE, Trial
from analysis.run_json import read_control
from search.inputs.places import PATH_OPTIONS
from search.results.orders import Order
from spaces.files import write_text
from trainables.training.job import Job

DONE_FILE = "done.json"  # beside the checkpoint of a training that is through: its job and its last row
SAME = (
    "config",
    "seed",
    "tasks",
    "evaluation",
    "teacher_fingerprint",
    "dataset_fingerprint",
)  # what decides a result
KEY = ("candidate_id", "data", "seed", "distilled")
WORKERS = "workers"  # in a row: of its training; left out where it was one

Row = dict[str, Any]


@final
class ControlRows:
    """`control.json`, written anew with every row; rows of earlier controls stay unless the same training comes again.

    Those that were trained with another number of workers go: hard negatives and batch norms look at the pairs of one worker.

    Attributes:
        failures: a line for each training that gave no row.
    """

    def __init__(self, folder: Path, trials: Iterable[Trial], *, workers: int = 1) -> None:
        """Begin with what is there, and the searched students themselves.

        Args:
            folder: of the run.
            trials: the students that are controlled.
            workers: of each training, and of each trial.
        """
        self._path, self._workers = folder / CONTROL_FILE, workers
        known = read_control(self._path)["rows"] if self._path.exists() else []
        alike = [row for row in known if (row.get(WORKERS) or 1) == workers]
        if gone := len(known) - len(alike):
            self._say(
                f"{gone} rows of {CONTROL_FILE} go: trained with another number of workers than {workers}"
            )
        self._rows: dict[tuple[Any, ...], Row] = {_key(row): row for row in alike}
        self.failures: list[str] = []
        for trial in trials:
            self._take(_row(trial, ("noisy", 0, True), trial.metrics))

    def add(self, order: Order, training: Callable[[], Mapping[str, Any]]) -> None:
        """Take what a training gives, and write it down; one that fails is told, and the others go on.

        Args:
            order: the training.
            training: returns its last row, or raises what ended it.
        """
        try:
            last = training()
            ending = (
                ""
                if last["status"] == "finished"
                else f"{last['status']}: {last.get('reason') or 'no reason'}"
            )
        except Exception as error:  # whatever it is, it is told, and costs this row alone
            last, ending = {}, told(error)
        key = dict(zip(KEY, (order.trial.candidate_id, order.data, order.seed, order.distilled), strict=True))
        self._rows.pop(_key(key), None)
        if ending:
            self.failures.append(f"{order.name}: {ending}")
            self._say(f"failed: {self.failures[-1]}")
        else:
            self._take(_row(order.trial, (order.data, order.seed, order.distilled), last))
        self._write()

    def _take(self, row: Row) -> None:
        self._rows[_key(row)] = row if self._workers == 1 else {**row, WORKERS: self._workers}

    @staticmethod
    def _say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def _write(self) -> None:
        rows = list(self._rows.values())
        seeds = sorted({row["seed"] for row in rows})
        write_text(self._path, json.dumps({"seeds": seeds, "rows": rows}, indent=1) + "\n")


def finished_before(order: Order, folder: Path) -> Row | None:
    """Return the last row of a training that an earlier control has brought to its end in `folder`, None if there is none."""
    try:
        found = json.loads((folder / DONE_FILE).read_text())
    except (OSError, ValueError):
        return None  # not there, or torn: it is trained, from its checkpoint on
    same = isinstance(found, dict) and found.get("job") == _decisive(order.job)
    return dict(found["row"]) if same else None


def note_finished(job: Job, folder: Path, row: Mapping[str, Any]) -> None:
    """Leave word that a training is through."""
    write_text(folder / DONE_FILE, json.dumps({"job": _decisive(job), "row": dict(row)}, indent=1) + "\n")


def _decisive(job: Job) -> dict[str, Any]:
    """Return what decides the result of a job, as JSON gives it back."""
    fields = job.to_dict()
    data = {name: value for name, value in fields["dataset"].items() if name not in PATH_OPTIONS}
    kept: dict[str, Any] = json.loads(json.dumps({**{name: fields[name] for name in SAME}, "dataset": data}))
    return kept


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _row(trial: Trial, which: tuple[str, int, bool], values: Mapping[str, Any]) -> Row:
    metrics = {
        name: values[name]
        for name in trial.metrics
        if values.get(name) is not None and values[name] == values[name]
    }
    return {**dict(zip(KEY, (trial.candidate_id, *which), strict=True)), **metrics}


def told(error: Exception) -> str:
    """Return an error in one line; what a Ray task raised is the cause of what `ray.get` raises."""
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[-1] if lines else 'no message'}"
