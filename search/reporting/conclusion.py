"""After the last trial: fronts, test figures and wall latency of their members, retention above the blind student."""

from pathlib import Path
from typing import Any

import torch

from analysis.table import METRICS, TEST_PREFIX
from search.candidates.inputs import Inputs, Say
from search.run_folder.recorder import Recorder
from spaces.errors import StudentSearchError
from spaces.objectives import FRONT_COSTS
from trainables.checkpoint import load_model
from trainables.costs.latency import measure_latency
from trainables.metrics.evaluation import evaluate
from trainables.metrics.retention import TASK_METRICS, retention, retention_above_blind
from trainables.models.blip import Blip


def conclude(
    inputs: Inputs, recorder: Recorder, facts: dict[str, Any], *, folder: Path, say: Say
) -> None:
    """Fill in what is known only at the end; a student whose checkpoint cannot be read is told and left out.

    Args:
        inputs: space, teacher and data.
        recorder: the tables.
        facts: `run.json`, to which the blind student's figures are added.
        folder: the run folder.
        say: takes a line of progress.
    """
    objectives, quality = inputs.space.objectives, inputs.space.quality
    _above_blind(inputs, recorder, facts)
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
        cells = _test_figures(model, inputs, facts, blind=row["role"] == "blind")
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


def _test_figures(model: Blip, inputs: Inputs, facts: dict[str, Any], *, blind: bool) -> dict[str, float]:
    """Return the `test_` columns of one student; {} where the data has no test split."""
    if "test" not in inputs.splits:
        return {}
    teacher = inputs.report.test_metrics
    metrics = evaluate(
        model, inputs.splits["test"], torch.device("cpu"), size=inputs.evaluation, blind=blind
    )
    if blind:
        facts["blind_test"] = dict(metrics)
    metrics["retention"] = retention(metrics, teacher)
    if facts.get("blind_test"):
        metrics["retention_above_blind"] = retention_above_blind(metrics, teacher, facts["blind_test"])
    return {f"{TEST_PREFIX}{name}": value for name, value in metrics.items() if name in METRICS}


def _above_blind(inputs: Inputs, recorder: Recorder, facts: dict[str, Any]) -> None:
    """Set `retention_above_blind` of every measured candidate, once the blind student is finished."""
    blind = next(
        (row for row in recorder.rows if row["role"] == "blind" and row["status"] == "finished"), None
    )
    if blind is None:
        return
    floor = {name: blind[name] for name in METRICS if _number(blind.get(name))}
    facts["blind"] = floor
    for row in recorder.rows:
        measured = {name: row[name] for name in TASK_METRICS if _number(row.get(name))}
        if measured:
            value = retention_above_blind(measured, inputs.report.metrics, floor)
            recorder.update(row["candidate_id"], {"retention_above_blind": value})


def _number(value: Any) -> bool:
    return isinstance(value, float) and value == value


def finished_count(recorder: Recorder) -> int:
    """Return how many candidates of the search were trained to the last epoch."""
    return sum(row["status"] == "finished" and row["role"] == "search" for row in recorder.rows)
