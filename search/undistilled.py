"""The control of a run: its students trained without distillation, to see what distillation gained."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.pareto import front, pick
from analysis.run_folder import CONTROL_FILE, Run, Trial, read_run
from analysis.table import atomic_path
from spaces.errors import RunError

TASKS = ("itc", "itm", "lm", "vqa")
# what the metrics measure; a student that never trains one would be no control
NEEDED_TASKS = ("itc", "lm", "vqa")


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
    trials = members(run, which, limit)
    made = orders(run, trials, seeds)
    print(f"control of {', '.join(t.candidate_id for t in trials)}: {len(made)} trainings", file=sys.stderr)
    run_control(run, made, address=address, gpus=None)
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


@dataclass(frozen=True, kw_only=True)
class Order:
    """One training of the control: a job, and what it stands for."""

    trial: Trial
    data: str
    seed: int
    distilled: bool
    job: Any

    @property
    def name(self) -> str:
        """Folder and log name."""
        return (
            f"{self.trial.candidate_id}-{self.data}-{'distilled' if self.distilled else 'plain'}-{self.seed}"
        )


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a candidate's config without anything of the teacher in its losses; sizes, initialisation and schedule stay.

    A task that the candidate gave weight 0, because the teacher taught it, gets weight 1.
    """
    losses = {
        name: dict(options)
        for name, options in config["losses"].items()
        if name in TASKS and options["weight"]
    }
    if config["student"]["fusion"]["layers"]:
        for name in NEEDED_TASKS:
            losses.setdefault(name, {"weight": 1.0})
    else:
        losses.setdefault("itc", {"weight": 1.0})
    if "itc" in losses:
        losses["itc"].pop("soft_targets", None)
    return {**config, "losses": losses, "training": {**config["training"], "itm_negatives": "student"}}


def members(run: Run, which: str, limit: int) -> list[Trial]:
    """Return the trials to control: one by id, or up to `limit` of the parameter front, spread from small to large.

    Raises:
        RunError: unknown or unfinished trial, or an empty front.
    """
    if which != "front":
        return [pick(run, which)]
    found = front(run, "params")
    if not found:
        raise RunError(f"{run.folder}: no candidate was trained to the end, so there is nothing to control.")
    if len(found) <= limit:
        return found
    places = [round(i * (len(found) - 1) / max(1, limit - 1)) for i in range(limit)]
    return [found[place] for place in dict.fromkeys(places)]


def orders(run: Run, trials: Sequence[Trial], seeds: int) -> list[Order]:
    """Return all trainings: plain on noisy and clean data, distilled on noisy data for the further seeds.

    Raises:
        RunError: a candidate.json is missing.
    """
    from trainables.job import Job

    made = []
    for trial in trials:
        source = run.folder / "checkpoints" / trial.candidate_id
        job = Job.read(source / "candidate.json", source)
        clean = {**job.dataset, "mismatched": 0.0}
        plain = replace(job, config=plain_config(job.config), evaluate_at=(), cache="")
        for seed in range(seeds):
            shifted = job.seed + seed
            made.append(
                Order(trial=trial, data="noisy", seed=seed, distilled=False, job=replace(plain, seed=shifted))
            )
            if job.dataset.get("mismatched"):
                cleaned = replace(plain, seed=shifted, dataset=clean)
                made.append(Order(trial=trial, data="clean", seed=seed, distilled=False, job=cleaned))
            if seed:
                again = replace(job, seed=shifted, evaluate_at=())
                made.append(Order(trial=trial, data="noisy", seed=seed, distilled=True, job=again))
    return made


def train_order(job_fields: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Train one order in `folder`, resuming what is there, and return its last row."""
    from trainables.control import PlainControl
    from trainables.job import Job
    from trainables.worker import train

    Path(folder).mkdir(parents=True, exist_ok=True)
    control = PlainControl(quiet=True)
    train(Job.from_dict({**job_fields, "folder": folder}), control)
    return control.rows[-1]


def run_control(
    run: Run, made: Sequence[Order], *, address: str | None, gpus: float | None
) -> list[dict[str, Any]]:
    """Train all orders on Ray, side by side, and return the rows of `control.json`; each is kept as it comes."""
    import ray

    from search.tune import cluster

    cluster.connect(address)
    found = cluster.resources(workers=1, cpus=1, gpus=gpus)
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
    return rows


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
    with atomic_path(path) as draft:
        draft.write_text(json.dumps({"seeds": seeds, "rows": merged}, indent=1) + "\n")
