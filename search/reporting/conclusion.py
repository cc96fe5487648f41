"""After the last trial: fronts, test figures and wall latency of their members, retention above the blind student."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from analysis.table import TEST_PREFIX
from search.candidates.inputs import Inputs, Say
from search.run_folder.recorder import Recorder
from spaces.errors import StudentSearchError
from spaces.objectives import FRONT_COSTS
from trainables.checkpoint import load_model
from trainables.costs.latency import measure_latency
from trainables.metrics.evaluation import evaluate
from trainables.metrics.retention import TASK_METRICS, retention, retention_above_blind
from trainables.models.blip import Blip


def conclude(inputs: Inputs, recorder: Recorder, *, folder: Path, say: Say) -> dict[str, Any]:
    """Fill in what is known only at the end; a student whose checkpoint cannot be read is told and left out.

    Args:
        inputs: space, teacher and data.
        recorder: the tables.
        folder: the run folder.
        say: takes a line of progress.

    Returns:
        For run.json: `blind` and `blind_test`, the blind student's figures on the two splits, where there are any.
    """
    objectives, quality = inputs.space.objectives, inputs.space.quality
    facts = _above_blind(inputs, recorder)
    recorder.mark_fronts(quality, maximise=objectives[quality] == "max")
    if "test" not in inputs.splits:
        say("the data has no test split: final figures are those of the validation split")
    rows = [row for row in recorder.rows if row["status"] == "finished"]
    members = [row for row in rows if any(row.get(f"on_front_{cost}") for cost in FRONT_COSTS)]
    blind = [row for row in rows if row["role"] == "blind"]
    teacher_wall = measure_latency(inputs.teacher.config).wall_ms
    for number, row in enumerate([*blind, *members], start=1):
        say(f"test set: student {number} of {len(blind) + len(members)}")
        candidate_id = row["candidate_id"]
        try:
            model = load_model(folder / "checkpoints" / candidate_id)
        except StudentSearchError as error:
            say(f"no test figures for {candidate_id}: {error}")
            continue
        metrics = _test_metrics(model, inputs, blind=row["role"] == "blind")
        if metrics and row["role"] == "blind":
            facts["blind_test"] = dict(metrics)
        cells = _test_cells(inputs, recorder, metrics, blind=facts.get("blind_test"))
        wall = measure_latency(model.config).wall_ms
        recorder.update(
            candidate_id,
            {
                **cells,
                "wall_latency_ms": wall,
                "speedup": teacher_wall / wall,
            },
        )
    recorder.write()
    return facts


def _test_metrics(model: Blip, inputs: Inputs, *, blind: bool) -> dict[str, float]:
    """Return what one student measures on the test split; {} where the data has none."""
    if "test" not in inputs.splits:
        return {}
    split, device = inputs.splits["test"], torch.device("cpu")
    return evaluate(model, split, device, size=inputs.evaluation, blind=blind)


def _test_cells(
    inputs: Inputs, recorder: Recorder, metrics: Mapping[str, float], *, blind: Mapping[str, float] | None
) -> dict[str, float]:
    """Return the `test_` columns of one student, {} without a test split."""
    if not metrics:
        return {}
    teacher = inputs.figures.test_metrics
    told = {**metrics, "retention": retention(metrics, teacher)}
    if blind:
        told["retention_above_blind"] = retention_above_blind(metrics, teacher, blind)
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
        measured = {name: row[name] for name in TASK_METRICS if _number(row.get(name))}
        if measured:
            value = retention_above_blind(measured, inputs.figures.metrics, floor)
            recorder.update(row["candidate_id"], {"retention_above_blind": value})
    return {"blind": floor}


def _number(value: Any) -> bool:
    return isinstance(value, float) and value == value


def finished_count(recorder: Recorder) -> int:
    """Return how many candidates of the search were trained to the last epoch."""
    return sum(row["status"] == "finished" and row["role"] == "search" for row in recorder.rows)
