"""After the last trial: fronts, test figures and whole latency of their members, retention above the blind student."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from analysis.table import TEST_PREFIX
from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import evaluation_source
from search.inputs.teacher_figures import Say
from search.reporting.finalists import measure_finalists
from search.run_folder.facts import CHECKPOINTS
from search.run_folder.recorder import Recorder
from spaces.errors import CheckpointError
from spaces.objectives import FRONT_COSTS
from trainables.share import within_share
from trainables.tasks.evaluation import evaluate
from trainables.tasks.retention import (
    ABOVE_BLIND,
    ACCURACY,
    RETENTION,
    accuracy,
    retention,
    retention_above_blind,
)
from trainables.training.checkpoint import load_model
from trainables.training.measuring import Measuring, measure_model

Row = Mapping[str, Any]


def conclude(inputs: Inputs, recorder: Recorder, *, folder: Path, say: Say) -> dict[str, Any]:
    """Fill in what is known only at the end; a student whose checkpoint cannot be read is told and left out.

    Args:
        inputs: space, teacher and data.
        recorder: the tables.
        folder: the run folder.
        say: takes a line of progress.

    Returns:
        For run.json: `blind` and `blind_test`, the blind student's figures on the two splits, where there are any; `caveats`,
        what is doubtful about the teacher; `whole_latency`, see `finalists`.
    """
    objectives, quality = inputs.space.objectives, inputs.space.quality
    facts = _above_blind(inputs, recorder)
    facts["caveats"] = inputs.caveats(facts.get("blind"))
    for sentence in facts["caveats"]:
        say(f"WARNING: {sentence}")
    recorder.mark_fronts(quality, maximise=objectives[quality] == "max")
    if "test" not in inputs.splits:
        say("the data has no test split: final figures are those of the validation split")
    rows = [row for row in recorder.rows if row["status"] == "finished"]
    members = [row for row in rows if any(row.get(f"on_front_{cost}") for cost in FRONT_COSTS)]
    blind = [row for row in rows if row["role"] == "blind"]
    beside = [*blind, *(row for row in rows if row["role"] == "baseline")]
    finalists = [*beside, *members]
    if "test" in inputs.splits:
        facts |= _test(inputs, recorder, finalists, folder=folder, say=say)
    facts |= measure_finalists(inputs, recorder, finalists, say=say)
    recorder.write()
    return facts


def _test(
    inputs: Inputs, recorder: Recorder, rows: Sequence[Row], *, folder: Path, say: Say
) -> dict[str, Any]:
    """Fill in the `test_` columns of some students, each as soon as it is measured; return the figures of the blind one."""
    found: dict[str, Mapping[str, float]] = {}
    facts: dict[str, Any] = {}

    def note(row: Row) -> None:
        known = inputs.figures_of_teachers[inputs.students.teacher_name(json.loads(row["config"]))]
        cells = _test_cells(
            inputs,
            recorder,
            found[row["candidate_id"]],
            teacher=known.test_metrics,
            blind=facts.get("blind_test"),
        )
        recorder.update(row["candidate_id"], cells)

    for number, (row, result) in enumerate(_tested(inputs, rows, folder), start=1):
        say(f"test set: student {number} of {len(rows)}")
        try:
            found[row["candidate_id"]] = result()
        except CheckpointError as error:
            say(f"no test figures for {row['candidate_id']}: {error}")
            continue
        if row["role"] == "blind":
            facts["blind_test"] = dict(found[row["candidate_id"]])
        for one in (
            rows if row["role"] == "blind" else [row]
        ):  # those that came before it are relative to it, too
            if one["candidate_id"] in found:
                note(one)
    return facts


def _tested(
    inputs: Inputs, rows: Sequence[Row], folder: Path
) -> Iterator[tuple[Row, Callable[[], Mapping[str, float]]]]:
    """Yield each student with what returns its metrics on the test split: on a cluster all are measured at once."""
    if inputs.elsewhere is None:
        for row in rows:
            yield row, partial(_test_metrics, inputs, row, folder)
        return
    orders = [(_order(inputs, row, folder),) for row in rows]
    for done in inputs.elsewhere.run_all(measure_model, orders):
        yield rows[done.index], done.result


def _order(inputs: Inputs, row: Row, folder: Path) -> Measuring:
    """Return the order to measure a student on the test split."""
    teacher = inputs.students.teacher_name(json.loads(row["config"]))
    caches = evaluation_source(inputs, teacher, "test").caches
    return inputs.measuring(
        "test",
        teacher,
        student=str(folder / CHECKPOINTS / row["candidate_id"]),
        blind=row["role"] == "blind",
        caches={split: str(cache.folder) for split, cache in caches.items()},
    )


def _test_metrics(inputs: Inputs, row: Row, folder: Path) -> dict[str, float]:
    """Return what a student measures on the test split, measured in this process.

    Raises:
        CheckpointError: its checkpoint cannot be read.
    """
    model, _ = load_model(folder / CHECKPOINTS / row["candidate_id"])
    teacher = inputs.students.teacher_name(json.loads(row["config"]))
    with within_share():
        return evaluate(
            model,
            inputs.split("test", teacher),
            tasks=inputs.students.made.values(),
            size=inputs.evaluation,
            blind=row["role"] == "blind",
            source=evaluation_source(inputs, teacher, "test"),
            bank=inputs.split("train", teacher),
        )


def _test_cells(
    inputs: Inputs,
    recorder: Recorder,
    metrics: Mapping[str, float],
    *,
    teacher: Mapping[str, float],
    blind: Mapping[str, float] | None,
) -> dict[str, float]:
    """Return the `test_` columns of one student, {} without a test split; retention is of its own teacher's test figures."""
    if not metrics:
        return {}
    told = {**metrics, RETENTION: retention(metrics, teacher, inputs.counts)}
    told[ACCURACY] = accuracy(metrics, inputs.counts)
    if blind:
        told[ABOVE_BLIND] = retention_above_blind(metrics, teacher, blind, inputs.counts)
    return {f"{TEST_PREFIX}{name}": value for name, value in told.items() if name in recorder.metric_names}


def _above_blind(inputs: Inputs, recorder: Recorder) -> dict[str, Any]:
    """Set `retention_above_blind` of every measured candidate, once the blind student is finished; return its figures."""
    blind = next(
        (row for row in recorder.rows if row["role"] == "blind" and row["status"] == "finished"), None
    )
    if blind is None:
        return {}
    floor = {name: blind[name] for name in recorder.metric_names if _number(blind.get(name))}
    for row in recorder.rows:
        measured = {name: row[name] for name in inputs.counts if _number(row.get(name))}
        if measured:
            teacher = inputs.students.teacher_name(json.loads(row["config"]))
            known = inputs.figures_of_teachers[teacher].metrics
            value = retention_above_blind(measured, known, floor, inputs.counts)
            recorder.update(row["candidate_id"], {ABOVE_BLIND: value})
    return {"blind": floor}


def _number(value: Any) -> bool:
    return isinstance(value, float) and value == value


def finished_count(recorder: Recorder) -> int:
    """Return how many candidates of the search were trained to the last epoch."""
    return sum(row["status"] == "finished" and row["role"] == "search" for row in recorder.rows)
