"""Recorder: the run's own tables while a search runs. They are the truth, whatever Ray remembers."""

import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import pyarrow as pa

from analysis import pareto
from analysis.table import (
    FAILED,
    TRIALS_FILE,
    other_columns,
    read_history,
    read_trials,
    trial_rows,
    trials_schema,
)
from analysis.table import metric_names as table_metrics
from analysis.tables.rows import generation_of
from search.proposal import Admitted, Past, Proposal, Rejected
from search.run_folder.history import Epochs, HistoryWriter, Total, is_measured, of_all_epochs
from search.run_folder.proposal_log import ProposalLog
from search.run_folder.trials_file import TrialsFile
from spaces.candidate import CANDIDATE_ID, ID_WORDS, Candidate
from spaces.domains import Scalar
from spaces.errors import RunError
from spaces.objectives import COSTS

WRITE_EVERY_S = 1.0
TRAINED = ("finished", "stopped", *FAILED)
_TIMES = ("wall_s", "cpu_s")

Row = dict[str, Any]


@final
class Recorder:
    """All candidate rows of a run, in memory and on disk.

    `history/` gets each epoch at once, on disk before `record_epoch` returns. A row of `trials.arrow` is on disk, in the
    table or among its changes, at once when a candidate starts or ends, else within a second, by the next call or `tick`.
    The epochs of candidates that ended are on disk only.
    """

    def __init__(
        self,
        folder: Path,
        *,
        metric_names: Sequence[str],
        loss_names: Sequence[str],
        table: pa.Table | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with no rows; `load` continues a run.

        Args:
            folder: the run folder; it exists.
            metric_names: validation metrics that candidates report.
            loss_names: losses of the space.
            table: that lies there; None for a new run.
            clock: seconds, monotonic.
        """
        self.folder = folder
        self.metric_names = tuple(metric_names)
        self.full_epochs: dict[str, int] = {}
        others = other_columns(table) if table is not None else ()
        self._columns = frozenset(trials_schema(self.metric_names, others).names)
        self._file = TrialsFile(
            folder,
            metric_names=self.metric_names,
            others=others,
            generation=generation_of(table) if table is not None else 0,
            clock=clock,
        )
        self._history = HistoryWriter(folder, metric_names=metric_names, loss_names=loss_names)
        self._log = ProposalLog(folder)
        self._rows: dict[str, Row] = {}
        self._epochs = Epochs(folder)
        self._last_told: dict[str, None] = {}  # candidates by their latest row: the order in which they ended
        self._clock = clock
        self._written_at = -math.inf
        self._untold: dict[str, None] = {}  # see `take_changed`
        self._dirty: dict[str, None] = {}  # rows that changed since they were written, in that order
        self._trained = Total()

    @classmethod
    def load(cls, folder: Path, *, metric_names: Sequence[str], loss_names: Sequence[str]) -> "Recorder":
        """Return a recorder that continues the run in `folder`; new history rows go into a new part.

        History is the truth where the two disagree: a driver killed between them leaves `trials.arrow` an
        epoch behind. The metrics and other columns of its table are kept, whatever is named here.

        Raises:
            RunError: `trials.arrow` is damaged; the message says what was saved.
        """
        path = folder / TRIALS_FILE
        table = read_trials(path) if path.exists() else None
        kept = table_metrics(table) if table is not None else ()
        names = tuple(dict.fromkeys((*kept, *metric_names)))
        recorder = cls(folder, metric_names=names, loss_names=loss_names, table=table)
        for row in trial_rows(path, table) if table is not None else []:
            if (
                not CANDIDATE_ID.fullmatch(row["candidate_id"])
                or row["seed"] is None
                or row["proposal"] is None
            ):
                raise RunError(
                    f"{path}: got candidate_id {row['candidate_id'][:80]!r}, seed {row['seed']}, proposal {row['proposal']}; "
                    f"allowed: {ID_WORDS}, and two numbers. Put back a copy of the file as the search wrote it."
                )
            config = row["config"]
            row["config"] = json.dumps(config) if config else ""
            recorder._put(row, config)
        for row in read_history(folder).table.to_pylist():
            recorder._enter(row)
        return recorder

    def take_changed(self) -> list[Mapping[str, Any]]:
        """Return the rows that were added or changed since this was asked last; not to be changed."""
        changed, self._untold = self._untold, {}
        return [self._rows[candidate_id] for candidate_id in changed]

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """All rows in the order in which they were added; not to be changed."""
        return list(self._rows.values())

    def row(self, candidate_id: str) -> Mapping[str, Any]:
        """Return one row; not to be changed.

        Raises:
            KeyError: no such candidate.
        """
        return self._rows[candidate_id]

    @property
    def trained_s(self) -> float:
        """Seconds that all candidates together have trained so far."""
        return float(self._trained)

    def add_rejected(self, proposal: Proposal, rejected: Rejected) -> None:
        """Add a candidate that will not be trained."""
        self._add(proposal, rejected.costs, status="rejected", reason=rejected.reason)
        self.tick()

    def add_running(self, proposal: Proposal, admitted: Admitted) -> None:
        """Add a candidate that is handed to Ray, or take up one of an earlier session again."""
        self._add(proposal, admitted.costs, status="running", reason="")
        self._save()

    def record_epoch(self, row: Mapping[str, Any]) -> bool:
        """Keep one epoch of one candidate; return False for an epoch that is known already.

        Args:
            row: as the worker tells it: candidate_id, epoch, status, loss, loss_<name>, lr, wall_s and cpu_s
                since the candidate's start, metrics where they were evaluated; other keys are left out. A row
                that tells a failure (`diverged`, ...) is no epoch and not kept: that is for `finish`.

        Raises:
            KeyError: the candidate was never added.
            StorageError: the row could not be put on disk; it is then not kept in memory either.
        """
        new = (
            int(row["epoch"]) not in self._epochs.of(row["candidate_id"]) and row.get("status") not in FAILED
        )
        for written in self._history.append([row] if new else []):
            self._enter(written)
        self.tick()
        return new

    def finish(self, candidate_id: str, status: str, reason: str = "") -> None:
        """Set the last status of a candidate; it is on disk when this returns.

        Args:
            candidate_id: of a row that exists.
            status: finished, stopped, diverged, collapsed, oom or crashed.
            reason: one clause for the user, "" where there is nothing to explain.
        """
        if status not in TRAINED:
            raise ValueError(f"status: got {status!r}; allowed: {', '.join(TRAINED)}")
        self._rows[candidate_id].update(status=status, reason=reason)
        self._note_change(candidate_id)
        self._save()
        self._epochs.let_go(candidate_id)

    def reopen(self, statuses: Collection[str]) -> list[str]:
        """Let candidates that ended so be unfinished again, to be trained on from their checkpoints; return their ids."""
        found = [name for name, row in self._rows.items() if row["status"] in statuses]
        for name in found:
            self._rows[name].update(status="running", reason="")
            self._note_change(name)
        return found

    def update(self, candidate_id: str, fields: Mapping[str, Any]) -> None:
        """Set columns of one row (checkpoint, speedup, test metrics, ...); the next `tick` writes them.

        Raises:
            KeyError: no such candidate or column.
        """
        unknown = sorted(set(fields) - self._columns)
        if unknown:
            raise KeyError(f"trials.arrow: no such columns: {', '.join(unknown)}")
        self._rows[candidate_id].update(fields)
        self._note_change(candidate_id)

    def mark_fronts(self, quality: str, *, maximise: bool) -> None:
        """Set the three `on_front_` columns of all rows and write the table."""
        for row in pareto.mark_fronts(self._rows.values(), quality, maximise=maximise):
            self._rows[row["candidate_id"]].update(row)
        self.write()

    def past(self) -> list[Past]:
        """Return all candidates that are through, for `SearchPlan.past`: refused ones, then in the order of their ends.

        The order is that of the last rows in the history; one that failed before its first epoch comes first.
        """
        self._epochs.take_back(self._epochs)
        order = {candidate_id: place for place, candidate_id in enumerate(self._last_told)}
        ended = [row for row in self._rows.values() if row["status"] != "running"]
        ended.sort(key=lambda row: (order.get(row["candidate_id"], -1), row["proposal"]))
        return [
            Past(
                proposal=self.proposal(row["candidate_id"]),
                status=row["status"],
                costs={name: row[name] for name in COSTS if is_measured(row.get(name))},
                rows=list(self._result_rows(row["candidate_id"])),
            )
            for row in ended
        ]

    def unfinished(self) -> list[tuple[Proposal, Admitted]]:
        """Return the candidates that were training when the session ended, in order of proposal."""
        running = [row for row in self._rows.values() if row["status"] == "running"]
        names = ("params", "flops", "latency_ms", "latency_spread_ms", "size_mib")
        return [
            (self.proposal(row["candidate_id"]), Admitted(costs={name: row[name] for name in names}))
            for row in sorted(running, key=lambda row: row["proposal"])
        ]

    def proposal(self, candidate_id: str) -> Proposal:
        """Return a candidate with the number and values of its proposal."""
        row = self._rows[candidate_id]
        config = json.loads(row["config"]) if row["config"] else {}
        candidate = Candidate(candidate_id, config, row["seed"])
        return Proposal(
            candidate=candidate, index=row["proposal"], values=self._log.values.get(candidate_id, {})
        )

    @property
    def next_index(self) -> int:
        """The number of the next proposal."""
        return max((*(row["proposal"] for row in self._rows.values()), *self._log.numbers().values(), -1)) + 1

    def note_waiting(self, proposal: Proposal) -> None:
        """Keep a proposal that is no row yet, since its latency has to be measured first; a resume goes on with it.

        Raises:
            StorageError: it cannot be written.
        """
        if proposal.values:
            self._log.append(proposal)

    def waited(self) -> list[tuple[Mapping[str, Scalar], int]]:
        """Return values and number of each proposal that still waited when the session ended, in order."""
        numbers, values = self._log.numbers(), self._log.values
        left = [
            (number, name) for name, number in numbers.items() if name not in self._rows and name in values
        ]
        return [(values[name], number) for number, name in sorted(left) if number >= 0]

    def result_rows(self) -> Iterator[Row]:
        """Yield the epochs of all ended candidates with costs and role, for `RungScheduler.refill`."""
        self._epochs.take_back(self._epochs)
        for candidate_id in self._epochs:
            # the worker of a running one tells its epochs again, and it is judged then
            if self._rows[candidate_id]["status"] != "running":
                yield from self._result_rows(candidate_id)

    def _result_rows(self, candidate_id: str) -> Iterator[Row]:
        """Yield the epochs of one candidate with its costs and role."""
        row, epochs = self._rows[candidate_id], self._epochs.of(candidate_id)
        costs = {name: row.get(name) for name in (*COSTS, "role")}
        for epoch in sorted(epochs):
            yield {**costs, **{name: value for name, value in epochs[epoch].items() if _told(value)}}

    def let_go(self) -> None:
        """Keep the epochs of all that ended on disk alone; what asks for them again reads them there."""
        for candidate_id, row in self._rows.items():
            if row["status"] != "running":
                self._epochs.let_go(candidate_id)
        self._log.let_go()

    def tick(self) -> None:
        """Write down what changed if a second has passed; call it in every idle moment."""
        if self._dirty and self._clock() - self._written_at >= WRITE_EVERY_S:
            self._save()

    def _save(self) -> None:
        """Put all rows that changed on disk: into the table if that is due, else among its changes."""
        if self._file.due:
            self.write()
            return
        self._file.add([self._rows[candidate_id] for candidate_id in self._dirty])
        self._written_at = self._clock()
        self._dirty.clear()

    def write(self) -> None:
        """Replace `trials.arrow` by the present rows.

        Raises:
            StorageError: it cannot be written; the old file is left as it was.
        """
        self._file.write(self._rows.values())
        self._written_at = self._clock()
        self._dirty.clear()

    def close(self) -> None:
        """Write the table and end the history part; the recorder can still be read."""
        try:
            self.write()
        finally:
            self._history.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return next to nothing: Ray pickles its callbacks to a file that is never read."""
        return {"folder": self.folder}

    def _add(self, proposal: Proposal, costs: Mapping[str, float], *, status: str, reason: str) -> None:
        """Put a new row, or the new state of a known one, into memory."""
        candidate = proposal.candidate
        known = candidate.candidate_id in self._rows
        if not known and proposal.values:
            self._log.append(proposal)
        row: Row = {
            "candidate_id": candidate.candidate_id,
            "seed": candidate.seed,
            "proposal": proposal.index,
            "role": candidate.role,
            "config": json.dumps(candidate.config) if candidate.config else "",  # losses begin in this order
            "epochs": 0,
            "checkpoint": "",
        }
        fresh = {**(self._rows[candidate.candidate_id] if known else row), "status": status, "reason": reason}
        numbers = {name: value for name, value in costs.items() if name in self._columns}
        self._put({**fresh, **numbers}, candidate.config)
        self._note_change(candidate.candidate_id)

    def _note_change(self, candidate_id: str) -> None:
        """Remember that a row differs from what is on disk, and from what was told."""
        self._dirty[candidate_id] = self._untold[candidate_id] = None
        self._trained.set(candidate_id, self._rows[candidate_id].get("wall_s"))

    def _put(self, row: Row, config: Mapping[str, Any]) -> None:
        """Set the row of a candidate; whole numbers that came as floats are made whole."""
        candidate_id = row["candidate_id"]
        for name in ("params", "flops", "head_params", "head_flops"):
            if row.get(name) is not None:
                row[name] = int(row[name])
        self._rows[candidate_id] = row
        self._untold[candidate_id] = None
        self._trained.set(candidate_id, row.get("wall_s"))
        self._epochs.add(candidate_id)
        self.full_epochs[candidate_id] = int(config.get("training", {}).get("epochs", 0))

    def _enter(self, row: Row) -> None:
        """Take a history row into the candidate's row: epochs, time so far, the latest measured metrics."""
        candidate_id = row["candidate_id"]
        if candidate_id not in self._rows:
            return  # its row was lost with an older trials.arrow; the history keeps it for whoever looks
        epochs = self._epochs.of(candidate_id)
        epochs[int(row["epoch"])] = row
        self._last_told.pop(candidate_id, None)
        self._last_told[candidate_id] = None
        target = self._rows[candidate_id]
        target["epochs"] = max(epochs)
        for epoch in sorted(epochs):
            measured = {name: epochs[epoch].get(name) for name in (*self.metric_names, *_TIMES)}
            target.update({name: value for name, value in measured.items() if is_measured(value)})
        target.update(of_all_epochs(epochs.values()))
        self._note_change(candidate_id)


def _told(value: Any) -> bool:
    """Return whether a reported row would hold this cell at all."""
    return isinstance(value, str) or is_measured(value)
