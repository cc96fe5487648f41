"""Write a student of a run as a model folder that loads elsewhere.

    python search/export.py runs/dlip --pick knee --out student/
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.pareto import pick
from analysis.run_folder import Run, Trial, read_run
from analysis.table import COSTS
from spaces.errors import ExportError, StudentSearchError


def measured_figures(run: Run, trial: Trial) -> dict[str, Any]:
    """Return what the run knows of a student: costs, metrics, origin, and the hardware of every figure."""
    teacher = run.facts.get("teacher", {})
    return {
        "candidate_id": trial.candidate_id,
        "run": run.facts.get("name", ""),
        "teacher": {name: teacher.get(name) for name in ("name", "fingerprint", "params", "flops", "latency_ms", "metrics")},
        "dataset": dict(run.facts.get("dataset", {})),
        "costs": dict(trial.costs),
        "latency_spread_ms": trial.latency_spread_ms,
        "wall_latency_ms": trial.wall_latency_ms,
        "speedup": trial.speedup,
        "metrics": dict(trial.metrics),
        "test_metrics": dict(trial.test_metrics),
        "epochs": trial.epochs,
        "config": dict(trial.config),
        "hardware": dict(run.facts.get("hardware", {})),
        "versions": dict(run.facts.get("versions", {})),
    }


def export(folder: Path, which: str, *, axis: str, out: Path) -> Trial:
    """Write the picked student into `out` and return its row.

    Raises:
        StudentSearchError: no such run or trial, a missing checkpoint, or `out` holds something.
    """
    run = read_run(folder)
    trial = pick(run, which, axis)
    source = folder / (trial.checkpoint or f"checkpoints/{trial.candidate_id}")
    if not (source / "checkpoint.pt").is_file():
        raise ExportError(f"{source}: the checkpoint of trial {trial.candidate_id} is missing. Pick another trial, or train it again.")
    from trainables.checkpoint import load_model
    from trainables.export import export_student
    from trainables.job import Job
    from trainables.teachers.loading import load_teacher

    job = Job.read(source / "candidate.json", source)
    teacher = load_teacher(job.teacher or "embedded")
    export_student(
        student=load_model(source),
        tokenizer_folder=teacher.files.folder,
        preprocess=teacher.preprocess,
        measured=measured_figures(run, trial),
        out=out,
    )
    return trial


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python search/export.py", description="Write a student of a run as a model folder that loads elsewhere."
    )
    parser.add_argument("run", type=Path, help="run folder, such as runs/dlip")
    parser.add_argument("--pick", required=True, metavar="ID|best|knee", help="a candidate id, or a point of a front")
    parser.add_argument("--axis", choices=COSTS, default="params", help="the front of best and knee (default params)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    options = parser.parse_args(arguments)
    try:
        trial = export(options.run, options.pick, axis=options.axis, out=options.out)
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: student {trial.candidate_id}; load it with trainables.export.load({str(options.out)!r})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
