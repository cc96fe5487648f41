"""What a process of the cluster does: the trainings of one line, one after another, and what is measured of them.

Whatever is through is written down beside its weights, and not done again.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from search.finals.lines import DONE, LONGER, SEARCHED, Asked, Beat, Line, Stage, finished
from spaces.errors import CheckpointError
from spaces.files import make_folder, write_text
from trainables.datasets.cache_folder import storage
from trainables.training.control import Row
from trainables.training.measuring import measure_model
from trainables.trial import Launch

MEASURED = "measured.json"

Say = Callable[[str], None]


def carry_out(line: Line, launch: Mapping[str, Any], say: Say) -> list[dict[str, Any]]:
    """Train and measure a line, from where an earlier one was cut off; return a row for each that was asked.

    Args:
        line: what is to be done.
        launch: fields of a `Launch`, with which resources.
        say: takes beats, and lines for the user.

    Raises:
        CheckpointError: a training ended before its last epoch, by its own fault.
        StudentSearchError: teacher, data or disk.
    """
    how = Launch(**launch)
    places = {stage.name: Path(stage.job.folder) for stage in line.stages}
    last: dict[str, Row] = {}
    for stage in line.stages:
        known = finished(stage)
        last[stage.name] = known if known is not None else _train(stage, how, say)
        say(Beat(key=stage.key, epochs=stage.job.epochs).told())
    rows = []
    for asked in line.asked:
        row = {"stage": asked.of, "domain": asked.domain, "folder": str(places.get(asked.of, ""))}
        rows.append(
            {
                **row,
                "metrics": _measured(asked, places.get(asked.of), how, line.name, say),
                "epochs": sum(one.job.epochs for one in line.stages if one.name in _way(line, asked.of)),
                "wall_s": float(last.get(asked.of, {}).get("wall_s", 0.0)),
            }
        )
    return rows


def _way(line: Line, name: str) -> set[str]:
    """Return the trainings that have led to one, itself among them."""
    names = [stage.name for stage in line.stages]
    common = [one for one in names if one in (SEARCHED, LONGER)]
    return {*common, name} if name in names else set()


def _train(stage: Stage, launch: Launch, say: Say) -> Row:
    """Train one stage to its end, and write that down; return its last row."""
    rows: list[Row] = []

    def report(row: Row) -> None:
        rows.append(row)
        say(Beat(key=stage.key, epochs=int(row["epoch"])).told())

    threads = max(1, int(launch.cpus))
    device = "cuda" if launch.gpus else "cpu"
    job = replace(
        stage.job, device=device, threads=threads, storage=storage()
    )  # of this call, not of the search
    folder = make_folder(Path(job.folder))
    job.write(folder / "candidate.json")
    log = str(folder / "training.log")
    if launch.nested:
        from trainables.trial import run_nested

        run_nested(job, replace(launch, log=log), report)
    else:
        from trainables.training.loop import train

        train(job, Telling(report, say))
    if not rows or rows[-1]["status"] != "finished":
        why = f"{rows[-1]['status']}: {rows[-1].get('reason') or 'no reason'}" if rows else "told nothing"
        raise CheckpointError(f"its training {stage.name!r} in {folder} did not come to its end: {why}")
    write_text(folder / DONE, json.dumps({"key": stage.key, "row": rows[-1]}, indent=1) + "\n")
    return rows[-1]


class Telling:
    """One worker, whose rows go to a function."""

    rank = 0
    world = 1

    def __init__(self, report: Callable[[Row], None], say: Say) -> None:
        self.report, self.say = report, say


def _measured(asked: Asked, folder: Path | None, launch: Launch, name: str, say: Say) -> dict[str, float]:
    """Return the figures of a model, from the file beside its weights where they are known."""
    if folder is None:
        return measure_model(replace(asked.order, device="cuda" if launch.gpus else "cpu"))
    path = folder / MEASURED
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    known = known if isinstance(known, dict) else {}
    if not isinstance(known.get(asked.key), dict):
        began = time.monotonic()
        order = replace(asked.order, student=str(folder), device="cuda" if launch.gpus else "cpu")
        known[asked.key] = measure_model(order)
        write_text(path, json.dumps(known, indent=1) + "\n")
        what = f"{asked.of} on {asked.domain}" if asked.domain else asked.of
        say(f"{name}, {what}: measured in {time.monotonic() - began:.0f} s")
    return dict(known[asked.key])
