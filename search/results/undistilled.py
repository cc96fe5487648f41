"""The control of a run: its students trained without distillation, to see what distillation gained."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.run_folder import Run, Trial, check_ids, read_run
from search.inputs.places import stored
from search.results.control_rows import ControlRows, finished_before, note_finished
from search.results.orders import Order, members, orders
from search.run_folder.facts import check_format, control_session
from search.run_folder.provenance import code_changes, session_now
from spaces.errors import ResourceError, RunError, StudentSearchError
from spaces.files import make_folder
from spaces.owner import owned

if TYPE_CHECKING:
    from search.tune.capacity import Resources


def control(
    folder: Path, which: str, *, seeds: int, limit: int, address: str | None, storage: Path | None = None
) -> tuple[Path, int]:
    """Train the control of a run, and print what distillation gained.

    Args:
        folder: the run.
        which: `front` or a candidate id.
        seeds: trainings of each.
        limit: at most so many of the parameter front, small to large.
        address: of a running Ray cluster; None starts Ray on this machine.
        storage: folder of all that is derived of teacher and data; None for that of the run.

    Returns:
        The new report, and how many trainings failed: they are told, and the others are kept.

    Raises:
        StudentSearchError: no such run or trial, another process works in it, other data, or no room to train.
    """
    run = read_run(folder)
    check_ids(run)
    check_format(folder, run.facts, str(folder))
    lies = folder.absolute().parent if address is not None else None
    with (
        owned(folder, say=_say),
        stored(storage, kept=str(run.facts.get("storage") or ""), runs=lies, say=_say),
    ):
        run = read_run(folder)  # again: a process that has just ended may have written to it
        now = session_now()
        for line in code_changes(run.facts, now):
            _say(line)
        trials = members(run, which, limit)
        made, failures = _orders(run, trials, seeds)
        _say(f"control of {', '.join(t.candidate_id for t in trials)}: {len(made)} trainings")
        with control_session(folder, now):
            failures += run_control(run, made, address=address)
        return _tell_gains(folder, run.quality, failures), len(failures)


def _tell_gains(folder: Path, quality: str, failures: Sequence[str]) -> Path:
    """Print what distillation gained, and which trainings failed; return the new report."""
    from analysis.gains import gains
    from analysis.report import draw_report

    for gain in gains(read_run(folder), quality):
        head = f"{gain.candidate_id}, {gain.data} data: {quality}"
        if gain.gain == gain.gain:
            spread = f" +- {gain.spread:.1f} over {gain.seeds} seeds" if gain.spread == gain.spread else ""
            print(
                f"{head} {gain.distilled:.1f} with distillation, {gain.plain:.1f} without: gain {gain.gain:+.1f}{spread}, "
                f"{gain.verdict}"
            )
        else:
            print(f"{head} {gain.plain:.1f} without distillation")
    if failures:
        _say(f"{len(failures)} failed, and are not in the figures above; the same command tries them again:")
    for line in failures:
        _say(f"  {line}")
    return draw_report(folder)


def _orders(run: Run, trials: Sequence[Trial], seeds: int) -> tuple[list[Order], list[str]]:
    """Return all trainings, and a line for each student that has none.

    Raises:
        RunError: no student has any.
    """
    made: list[Order] = []
    failures: list[str] = []
    for trial in trials:
        try:
            made += orders(run, [trial], seeds)
        except RunError as error:
            if len(trials) == 1:
                raise
            failures.append(f"{trial.candidate_id}: {error}")
    if not made:
        raise RunError("; ".join(failures))
    return made, failures


def train_order(job_fields: Mapping[str, Any], folder: str, launch: Mapping[str, Any]) -> dict[str, Any]:
    """Train one order in `folder`, resuming what is there, and return its last row.

    Args:
        job_fields: of its job, with the folder that its candidate had.
        folder: from the root.
        launch: fields of a `Launch`: with how many workers, of what.
    """
    from trainables.code_version import code_digest
    from trainables.datasets.cache_folder import storage
    from trainables.training.control import PlainControl
    from trainables.training.job import Job
    from trainables.trial import Launch, run_nested

    make_folder(Path(folder))
    how, control = Launch(**launch), PlainControl(quiet=True)
    ours = {"code": code_digest(), "storage": storage()}  # of this call, not of the search
    job = Job.from_dict({**job_fields, **ours, "folder": folder})
    if how.nested:
        run_nested(job, replace(how, log=f"{folder}/training.log"), control.report)
    else:
        from trainables.training.loop import train  # imports torch

        train(job, control)
    last = control.rows[-1]
    if last["status"] == "finished":
        note_finished(job, Path(folder), last)
    return last


def run_control(run: Run, made: Sequence[Order], *, address: str | None) -> list[str]:
    """Train all orders on Ray, side by side; each row of `control.json` is kept as it comes.

    Returns:
        A line for each training that failed.
    """
    from search.tune import cluster

    with cluster.joined(address):
        return _train_all(run, made)


def _train_all(run: Run, made: Sequence[Order]) -> list[str]:
    """Train what is not through yet; return a line for each training that failed."""
    from search.results.trainings import launched, run_trainings
    from search.tune.shared import check_copies, check_run
    from trainables.trial import launch_dict

    check_run(run.folder.absolute(), [order.job for order in made])
    check_copies()
    takes, place = _takes(run), run.folder.absolute()
    trials = {order.trial.candidate_id: order.trial for order in made}
    rows = ControlRows(run.folder, trials.values(), workers=takes.workers)
    waiting: list[tuple[Order, Path]] = []
    for order in made:
        folder = place / "control" / f"{order.name}{_apart(takes.workers)}"
        known = finished_before(order, folder)
        if known is None:
            waiting.append((order, folder))
        else:
            rows.add(order, partial(dict, known))
    started, total = time.monotonic(), len(waiting)
    if total < len(made):
        _say(f"{len(made) - total} of {len(made)} trainings are through already")
    device, threads = "cuda" if takes.gpus else "cpu", max(1, int(takes.cpus))
    jobs = [
        (replace(order.job, device=device, threads=threads).to_dict(), str(folder))
        for order, folder in waiting
    ]
    with launched(takes, place) as launch:
        calls = [(*job, launch_dict(launch)) for job in jobs]
        done = run_trainings(train_order, calls, found=takes, say=_say)
        for through, outcome in enumerate(done, start=1):
            order, _ = waiting[outcome.index]
            rows.add(order, outcome.result)
            left = (time.monotonic() - started) / through * (total - through)
            _say(f"{through}/{total} through, {order.name}, about {left:.0f} s left")
    return rows.failures


def _apart(workers: int) -> str:
    """Return what the folder of a training bears beside its name: one of another number of workers has another result."""
    return f"-{workers}-workers" if workers > 1 else ""


def _takes(run: Run) -> "Resources":
    """Return what each training takes: what the run's trials took, and a whole GPU where these shared one.

    With as many workers, since hard negatives and batch norms look at the pairs of one. How many share a GPU was measured where
    the run was, and trainings of a control are not held to a share of its memory.

    Raises:
        ResourceError: there is no room for so many workers.
    """
    from search.run_folder.facts import read_space
    from search.tune import cluster

    try:
        asked = read_space(run.folder, ()).resources
    except StudentSearchError as error:  # of an earlier version, perhaps; nothing else hangs on it
        _say(f"each training takes one CPU, and a GPU where there are any: {error}")
        return cluster.resources(workers=1, cpus=1, gpus=None)
    workers = asked.workers_per_trial
    try:
        found = cluster.resources(
            workers=workers, cpus=asked.cpus_per_worker, gpus=asked.gpus, most=asked.max_concurrent
        )
    except ResourceError as error:
        if workers == 1:
            raise
        raise ResourceError(
            f"{run.folder}: its trials had {workers} workers each, and what is compared with them has as many: {error} "
            "Name a cluster that holds them: --address ADDRESS."
        ) from error
    if workers > 1:
        _say(f"each training has {workers} workers, as the trials of the run had")
    if asked.packs and found.gpus:
        _say("each training takes a whole GPU: gpus_per_worker: auto is of trials of a search alone")
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
