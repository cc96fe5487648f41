"""A student of a run as a model folder, with all that the run knows of it."""

import math
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.pareto import pick
from analysis.run_folder import Run, Trial, check_ids, read_run
from analysis.table import TRIALS_FILE
from search.run_folder.facts import CHECKPOINTS, check_format
from search.run_folder.kept_weights import why_gone
from spaces.errors import ExportError
from spaces.objectives import COSTS, HEAD_COSTS
from spaces.owner import owned
from spaces.plugins import resolve

if TYPE_CHECKING:
    from trainables.export import Deployed
    from trainables.teachers.teacher import Teacher
    from trainables.training.job import Job


def measured_figures(run: Run, trial: Trial) -> dict[str, Any]:
    """Return what the run knows of a student: costs, metrics, origin, and the hardware of every figure."""
    dataset = run.facts.get("dataset", {})
    return {
        "candidate_id": trial.candidate_id,
        "teacher": _teacher_figures(run, trial),
        "dataset": f"{dataset.get('description', '')} (fingerprint {dataset.get('fingerprint', '')})",
        "costs": {
            **_known({**trial.costs, **_latencies(trial)}),
            **{name: int(trial.costs[name]) for name in ("params", "flops")},
            **_head_costs(trial),
        },
        "metrics": {"validation": _known(trial.metrics), "test": _known(trial.test_metrics)},
        "config": dict(trial.config),
        "epochs": trial.epochs,
        "training": _known({"epoch_s": trial.epoch_s, "peak_mib": trial.peak_mib}),
        "hardware": dict(run.facts.get("hardware", {})),
        "target": dict(run.facts.get("target") or {}),
        "versions": dict(run.facts.get("versions", {})),
        "command": run.facts.get("command", ""),
    }


def _latencies(trial: Trial) -> dict[str, float]:
    """Return what is known of a student's latency beside `latency_ms`."""
    return {
        "latency_spread_ms": trial.latency_spread_ms,
        "wall_latency_ms": trial.wall_latency_ms,
        "wall_latency_spread_ms": trial.wall_latency_spread_ms,
        "speedup": trial.speedup,
    }


def _head_costs(trial: Trial) -> dict[str, float]:
    """Return what a student costs alone, as far as it was measured."""
    found = _known({name: trial.head_costs.get(cost, math.nan) for name, cost in HEAD_COSTS.items()})
    counts = {name: int(value) for name, value in found.items() if HEAD_COSTS[name] in ("params", "flops")}
    return {**found, **counts}


def _teacher_figures(run: Run, trial: Trial) -> dict[str, Any]:
    """Return what the run knows of a student's own teacher; of one that it did not measure, the name alone."""
    reference = run.facts.get("teacher", {})
    own = trial.config.get("teacher", reference.get("name"))
    facts = (run.facts.get("teachers") or {}).get(own) or (
        reference if own == reference.get("name") else None
    )
    if facts is None:
        return {"name": own}
    return {
        "name": own,
        # of several, the reference comes first in the fingerprint of all
        "fingerprint": facts.get("fingerprint", "").partition("+")[0],
        "metrics": {"validation": facts.get("metrics", {}), "test": facts.get("test_metrics", {})},
        "costs": {
            **{name: facts[name] for name in COSTS if name in facts},
            **_known(_whole((run.facts.get("whole_latency") or {}).get(own) or {})),
        },
    }


def _whole(latency: Mapping[str, Any]) -> dict[str, float]:
    """Return the latency of a teacher as a whole, under the names of a student's."""
    names = {"wall_latency_ms": "latency_ms", "wall_latency_spread_ms": "spread_ms"}
    return {name: float(latency.get(key) or math.nan) for name, key in names.items()}


def _known(values: Mapping[str, float]) -> dict[str, float]:
    """Return what was measured."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def export(folder: Path, which: str, *, axis: str, out: Path) -> Trial:
    """Write the picked student into `out` and return its row.

    Raises:
        StudentSearchError: no such run or trial, a missing checkpoint, another teacher by now, or `out` holds something.
    """
    run = read_run(folder)
    check_ids(run)
    check_format(folder, run.facts, str(folder))
    trial = pick(run, which, axis)
    source = checkpoint_of(folder, trial)
    if not (source / "checkpoint.pt").is_file():
        raise ExportError(why_gone(folder, trial.candidate_id))
    from search.results.jobs import read_job

    write_student(run, trial, read_job(run, source), out, more={})
    return trial


def write_student(run: Run, trial: Trial, job: "Job", out: Path, *, more: Mapping[str, Any]) -> None:
    """Write the student that a job has trained into `out`.

    Args:
        run: that the candidate is of.
        trial: its row.
        job: that trained it; the checkpoint lies in its folder.
        out: the new folder.
        more: what is known of it beside the run's figures, or in the place of some; `job: None` where it alone is not all.

    Raises:
        StudentSearchError: its checkpoint cannot be read, its teacher is another one by now, or `out` holds something.
    """
    from search.results.jobs import teacher_of
    from trainables.costs.subject import source_of
    from trainables.datasets import DATASETS
    from trainables.export import Deployed, export_student, model_card
    from trainables.tasks.base import wants_of
    from trainables.tasks.evaluation import make_tasks
    from trainables.training.checkpoint import load_model

    source, teacher = Path(job.folder), teacher_of(run, job)
    trained = load_model(source)[1].offers
    able = {name: task for name, task in make_tasks(job.tasks).items() if task.model_lack(trained) is None}
    wants = wants_of(able.values()) & frozenset(trained)
    student, blueprint = load_model(source, wants)
    deployed = Deployed(
        blueprint=blueprint,
        source=source_of(blueprint, wants),
        classes=_classes(run, blueprint.offers),
        texts=resolve(DATASETS, str(job.dataset["kind"]), "datasets").text_form(job.dataset),
    )
    # of the job alone the teacher answers live: its cache may be gone by then
    alone = replace(job, cache="", evaluation_cache="", folder="", start="")
    measured = {
        **measured_figures(run, trial),
        "job": alone.to_dict(),
        **more,
        "tasks": list(able),
        "model": blueprint.to_dict(),
        **_reading(deployed, teacher),
    }
    with _alone(run.folder, out):
        card = model_card({**measured, "classes": deployed.classes})
        export_student(student, teacher, deployed=deployed, measured=measured, out=out, card=card)


def _classes(run: Run, offers: Mapping[Any, Any]) -> tuple[str, ...]:
    """Return the names of the classes that a student tells apart by logits, () where it has none."""
    named = (run.facts.get("dataset") or {}).get("classes") or ()
    return tuple(named) if any(want.mode == "image" and want.what == "logits" for want in offers) else ()


def _reading(deployed: "Deployed", teacher: "Teacher") -> dict[str, Any]:
    """Return what is told of the part of the teacher that lies with a student; {} where it stands alone."""
    if not deployed.source:
        return {}
    part = teacher.blueprint.deployed(deployed.source)
    signals = sorted(map(str, deployed.source))
    return {"reads": {"teacher": teacher.files.name, "signals": signals, "model": part.to_dict()}}


def checkpoint_of(folder: Path, trial: Trial) -> Path:
    """Return the folder of a trial's checkpoint, which the table names relative to the run folder.

    Links are followed: who lays the checkpoints of a run on another disk makes them himself. A table comes from anywhere.

    Raises:
        ExportError: the table names a place outside of the run folder.
    """
    named = Path(trial.checkpoint or f"{CHECKPOINTS}/{trial.candidate_id}")
    if named.is_absolute() or ".." in named.parts:
        raise ExportError(
            f"{folder / TRIALS_FILE}: trial {trial.candidate_id}: checkpoint: got {str(named)!r}, which lies outside of the run "
            f"folder; allowed: a path within it, such as {CHECKPOINTS}/{trial.candidate_id}. Put back a copy of the table, or "
            "pick another trial."
        )
    return folder / named


def _alone(folder: Path, out: Path) -> AbstractContextManager[Any]:
    """Own the run while something is written into its folder; an export to any other place goes on beside a living run."""
    inside = out.resolve().is_relative_to(folder.resolve())
    return owned(folder, say=lambda line: print(line, file=sys.stderr)) if inside else nullcontext()
