"""The control of a run: its students trained without distillation, to see what distillation gained."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.run_folder import CONTROL_FILE, Run, Trial, read_run
from search.results.orders import Order, members, orders
from search.run_folder.facts import check_format
from spaces.files import make_folder, write_text


def control(folder: Path, which: str, *, seeds: int, limit: int, address: str | None) -> Path:
    """Train the control of a run, print what distillation gained, and return the new report.

    Args:
        folder: the run.
        which: `front` or a candidate id.
        seeds: trainings of each.
        limit: at most so many of the parameter front, small to large.
        address: of a running Ray cluster; None starts Ray on this machine.

    Raises:
        StudentSearchError: no such run or trial, or no room to train.
    """
    run = read_run(folder)
    check_format(folder, run.facts, str(folder))
    trials = members(run, which, limit)
    made = orders(run, trials, seeds)
    print(f"control of {', '.join(t.candidate_id for t in trials)}: {len(made)} trainings", file=sys.stderr)
    run_control(run, made, address=address)
    from analysis.gains import gains
    from analysis.report import draw_report

    for gain in gains(read_run(folder), run.quality):
        head = f"{gain.candidate_id}, {gain.data} data: {run.quality}"
        if gain.gain == gain.gain:
            print(
                f"{head} {gain.distilled:.1f} with distillation, {gain.plain:.1f} without: gain {gain.gain:+.1f} +- "
                f"{gain.spread:.1f} over {gain.seeds} seeds, {gain.verdict}"
            )
        else:
            print(f"{head} {gain.plain:.1f} without distillation")
    return draw_report(folder)


def train_order(job_fields: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Train one order in `folder`, resuming what is there, and return its last row."""
    from trainables.training.control import PlainControl
    from trainables.training.job import Job
    from trainables.training.loop import train

    make_folder(Path(folder))
    control = PlainControl(quiet=True)
    train(Job.from_dict({**job_fields, "folder": folder}), control)
    return control.rows[-1]


def run_control(run: Run, made: Sequence[Order], *, address: str | None) -> None:
    """Train all orders on Ray, side by side; each row of `control.json` is kept as it comes."""
    from search.tune import cluster

    with cluster.joined(address):
        _train_all(run, made)


def _train_all(run: Run, made: Sequence[Order]) -> None:
    import ray

    from search.tune import cluster

    found = cluster.resources(workers=1, cpus=1, gpus=None)
    remote = ray.remote(num_cpus=1, num_gpus=found.gpus, max_calls=0)(train_order)
    rows = [
        _row(trial, 0, "noisy", True, {**trial.metrics})
        for trial in {order.trial.candidate_id: order.trial for order in made}.values()
    ]
    waiting = {}
    for order in made:
        folder = run.folder.absolute() / "control" / order.name
        job = replace(order.job, device="cuda" if found.gpus else "cpu")
        waiting[remote.remote(job.to_dict(), str(folder))] = order
    started, total = time.monotonic(), len(waiting)
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        order = waiting.pop(done)
        last = ray.get(done)
        if last["status"] != "finished":
            print(f"{order.name}: {last['status']}: {last.get('reason', '')}", file=sys.stderr)
        rows.append(_row(order.trial, order.seed, order.data, order.distilled, last))
        _write(run.folder, rows)
        left = (time.monotonic() - started) / (total - len(waiting)) * len(waiting)
        print(
            f"{total - len(waiting)}/{total} trained, {order.name}, about {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def _row(trial: Trial, seed: int, data: str, distilled: bool, values: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {
        name: values[name]
        for name in trial.metrics
        if values.get(name) is not None and values[name] == values[name]
    }
    return {"candidate_id": trial.candidate_id, "data": data, "seed": seed, "distilled": distilled, **metrics}


def _write(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace `control.json`, keeping the rows of other candidates from an earlier control."""
    path = folder / CONTROL_FILE
    fresh = {row["candidate_id"] for row in rows}
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    merged = [row for row in kept if row["candidate_id"] not in fresh] + list(rows)
    seeds = sorted({row["seed"] for row in merged})
    write_text(path, json.dumps({"seeds": seeds, "rows": merged}, indent=1) + "\n")
