"""What `--dry-run` of the finals says: students, trainings, epochs and time, before anything is done."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from analysis.wording import duration, on_terminal, plural, share
from search.finals.lines import METHODS, finished
from search.finals.plan import Plan, plan_of
from search.finals.request import Request, workers_of
from search.run_folder.facts import read_space
from spaces.errors import StudentSearchError
from trainables.share import usable_cores


def plan_lines(request: Request) -> Iterator[str]:
    """Yield what would be done.

    Args:
        request: what is asked for.

    Raises:
        StudentSearchError: what is wrong with it.
    """
    plan = plan_of(request)
    lines = plan.lines()
    yield f"finals of {request.folder}: {plural(len(plan.finalists), 'student')}, measured on the {plan.split} split"
    for one in plan.finalists:
        trial = one.trial
        size = f"{share(plan.run.share(trial, 'params'))} parameters, {share(plan.run.share(trial, 'flops'))} FLOPs"
        yield f"  {trial.candidate_id}: {size}, losses {_weights(one.configs['student']['longer'])}"
    for note in plan.notes:
        yield f"  {note}"
    tuned = f", then {request.fine_tune} for each of {', '.join(plan.tasks)}" if request.fine_tune else ""
    yield f"  {plural(request.epochs, 'epoch')} longer{tuned}; metrics: {', '.join(plan.counts.values())}"
    named = {method: [line for line in lines if line.method == method] for method in METHODS}
    words = {
        "student": "students",
        "plain": "without distillation",
        "random": "with a teacher of random weights",
    }
    told = [f"{len(found)} {words[method]}" for method, found in named.items() if found]
    epochs = sum(line.epochs for line in lines)
    yield f"  {plural(len(lines), 'line')} of trainings ({', '.join(told)}), {epochs:,} epochs in all"
    through = sum(finished(stage) is not None for line in lines for stage in line.stages)
    if through:
        yield f"  {plural(through, 'training')} of them through already"
    yield from _time(plan)


def _time(plan: Plan) -> Iterator[str]:
    """Yield how long it is expected to take here."""
    lines = plan.lines()
    left = sum(stage.seconds for line in lines for stage in line.stages if finished(stage) is None)
    if not math.isfinite(left) or left == 0:
        yield "  how long that takes, no epoch of the search tells" if left else "  all trainings are through"
        return
    try:
        cpus = read_space(plan.run.folder, ()).resources.cpus_per_worker
    except StudentSearchError:
        cpus = 1
    each = workers_of(plan.request) * cpus
    slots = max(1, min(usable_cores() // each, len(lines)))
    yield (
        f"  about {on_terminal(duration(left / slots))} of training with {slots} at a time on this machine, as long as an epoch "
        f"took in the search ({on_terminal(duration(left))} of one); measuring comes on top"
    )


def _weights(config: Mapping[str, Any]) -> str:
    """Return the active losses with their weights."""
    active = {name: one["weight"] for name, one in config["losses"].items() if one.get("weight")}
    return ", ".join(f"{name} {weight:.3g}" for name, weight in sorted(active.items()))
