"""Train students of a run without distillation, to see what distillation gained.

python search/control.py runs/dlip --pick front --seeds 3
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.run_folder import CONTROL_FILE, Run, Trial, read_run
from analysis.table import atomic_path
from search.tune.cluster_token import offer_token
from spaces.errors import StudentSearchError

if TYPE_CHECKING:
    from search.candidates.undistilled import Order


def train_order(job_fields: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Train one order in `folder`, resuming what is there, and return its last row."""
    from trainables.training.control import PlainControl
    from trainables.training.job import Job
    from trainables.training.loop import train

    Path(folder).mkdir(parents=True, exist_ok=True)
    control = PlainControl(quiet=True)
    train(Job.from_dict({**job_fields, "folder": folder}), control)
    return control.rows[-1]


def run_control(
    run: Run, made: Sequence["Order"], *, address: str | None, gpus: float | None
) -> list[dict[str, Any]]:
    """Train all orders on Ray, side by side, and return the rows of `control.json`; each is kept as it comes."""
    from search.tune import cluster

    with cluster.joined(address):
        return _train_all(run, made, gpus=gpus)


def _train_all(run: Run, made: Sequence["Order"], *, gpus: float | None) -> list[dict[str, Any]]:
    import ray

    from search.tune import cluster

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


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python search/control.py",
        description="Train students of a run without distillation (same epochs, same initialisation), to see what it gained.",
        epilog="Ctrl-C keeps what is trained; the same command goes on.",
    )
    made.add_argument("run", type=Path, help="run folder, such as runs/dlip")
    made.add_argument("--pick", default="front", metavar="front|ID", help="which students (default front)")
    made.add_argument("--seeds", type=int, default=3, help="trainings of each (default 3)")
    made.add_argument(
        "--members",
        type=int,
        default=3,
        help="at most so many of the parameter front, small to large (default 3)",
    )
    made.add_argument("--address", metavar="ADDRESS", help="join a running Ray cluster")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.members < 1:
        parser.error("--seeds and --members: allowed are 1 or more")
    try:
        if options.address:
            offer_token()
        from search.candidates.undistilled import members, orders

        run = read_run(options.run)
        trials = members(run, options.pick, options.members)
        made = orders(run, trials, options.seeds)
        print(
            f"control of {', '.join(t.candidate_id for t in trials)}: {len(made)} trainings", file=sys.stderr
        )
        run_control(run, made, address=options.address, gpus=None)
        from analysis.gains import gains
        from analysis.report import draw_report

        for gain in gains(read_run(options.run), run.quality):
            if gain.gain == gain.gain:
                print(
                    f"{gain.candidate_id}, {gain.data} data: {run.quality} {gain.distilled:.1f} with distillation, "
                    f"{gain.plain:.1f} without: gain {gain.gain:+.1f} +- {gain.spread:.1f} "
                    f"over {gain.seeds} seeds, {gain.verdict}"
                )
            else:
                print(
                    f"{gain.candidate_id}, {gain.data} data: {run.quality} {gain.plain:.1f} without distillation"
                )
        print(f"report: {draw_report(options.run)}")
    except StudentSearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is trained is kept, the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
