"""What a search is going to do, in words: the dry run, and the lines that every run begins with."""

import random
import time
from typing import Any

from search.candidates.cost_filter import LATENCY, STATIC, CostFilter, shown
from search.inputs.capability import figures_line
from search.inputs.inputs import FLOPS_PER_CPU_S, Inputs
from search.inputs.plugins import rungs_of
from search.inputs.teacher_figures import notes_of
from search.proposal import Rejected
from search.reporting.recipe import recipe_lines
from search.reporting.scale import scale_lines
from search.stopping.stop_rules import described
from spaces.baselines import without_default
from spaces.candidate import Candidate
from spaces.commands import command_line
from spaces.conditions import Condition
from spaces.errors import IllegalCandidate
from spaces.objectives import HEAD_COSTS, READS_TEACHER
from spaces.schema import Space
from spaces.sections import KEEP_ALL, KEEP_FRONTS
from spaces.target import AUTO
from trainables.datasets.node_copies import node_copies

SAMPLE = 40
TIMED = 8  # of the sample, of which the cost of training is counted
SAMPLE_SECONDS = 20.0


def describe(inputs: Inputs, *, measure: bool = True) -> list[str]:
    """Return the facts that decide a run's results: teacher, data, fidelity, defaults.

    Args:
        inputs: of the run.
        measure: whether the teacher is measured now, where it was not before.
    """
    space = inputs.space
    limits = [
        f"{name} {sign} {shown(name, bound)}"
        for name, (low, high) in inputs.limits().items()
        for sign, bound in (("<=", high), (">=", low))
        if bound is not None
    ]
    training = space.training
    lines = [
        *(line for name in inputs.teachers for line in _teacher_lines(inputs, name, measure=measure)),
        *inputs.notes,
        *notes_of(inputs.teachers),
        inputs.dataset.describe(),
        *inputs.dataset.remarks(),
        *_caption_notes(inputs),
        *(f"task {name}: {said}" for name, task in inputs.students.made.items() if (said := task.remark())),
        f"full fidelity {training.epochs} epochs of {training.pairs_per_epoch} pairs, rungs {list(rungs_of(space))}; "
        f"scheduler {space.search.scheduler.kind}, searcher {space.search.searcher.kind}",
        *recipe_lines(space),
        f"latency of students and teachers on: {_target(inputs)}",
        f"limits: {', '.join(limits) or 'none'}; {_teacher_outputs(space)}",
    ]
    lines += _first_lines(inputs)
    lines.append(
        f"a candidate whose process or node is lost goes on from its checkpoint, up to {space.failures.retries} times "
        "(failures.retries); an error of its own is not tried again"
    )
    lines += _gpu_lines(space)
    rules = described(space.search.stop)
    if rules:
        lines.append(
            f"the search ends after {space.search.trials} trials, or before that after {', or '.join(rules)}"
        )
    if len(space.teachers) > 1:
        lines.append(
            f"limits refer to the teacher {space.teachers[0]}, of {', '.join(space.teachers)}; retention to the student's own"
        )
    return [*lines, *(f"WARNING: {sentence}" for sentence in (inputs.caveats() if measure else ()))]


def _gpu_lines(space: Space) -> list[str]:
    """Return what of a GPU a trial gets, where it may get one."""
    resources = space.resources
    if resources.packs and resources.workers_per_trial > 1:
        told = "a whole one for each worker where there are any (gpus_per_worker: auto lets trials of one worker alone share one)"
    elif resources.packs:
        told = (
            "where there are any, the share of one that the largest students need, measured before the first trial "
            "(gpus_per_worker: auto)"
        )
    elif resources.gpus is None:
        told = "a whole one for each worker where there are any (gpus_per_worker: auto lets small trials share one)"
    else:
        told = f"{resources.gpus:g} for each worker (gpus_per_worker)"
    lines = [f"GPUs of a trial: {told}"] if resources.gpus != 0 else []
    if resources.compiled:
        lines.append(
            "torch.compile makes kernels of the layers of students and live teachers (resources.compiled), for GPUs alone: "
            "without any the search is refused"
        )
    return lines


def _target(inputs: Inputs) -> str:
    """Return where latency is measured, and what `auto` has come to."""
    section, target = inputs.space.latency, inputs.latencies.target
    if target is None:  # a plan of a search on a cluster, which it does not join
        told = ", ".join(f"{name} {value}" for name, value in section.model_dump().items())
        return f"{told}; measured on the cluster, before the first trial"
    takes = "take a GPU" if target.device == "cuda" else "take no GPU"
    return target.describe() + (f" (device auto: trials {takes})" if section.device == AUTO else "")


def _teacher_outputs(space: Space) -> str:
    """Return how trials get what the teachers say."""
    how = space.teacher_cache
    live_pixels = space.dataset.options.get("pixels") == "live"
    if how.kind == "live":
        unused = "; --node-copies has nothing to copy: pictures, too, are read where they lie (dataset.pixels: live)"
        return f"teacher outputs live{unused if node_copies() and live_pixels else ''}"
    few = f", of logits over a vocabulary the {how.top_k} largest (teacher_cache.top_k)" if how.top_k else ""
    where = node_copies() and f", read from copies in {node_copies()} on each node (--node-copies)"
    where = where or ", read where they lie (--node-copies DIR keeps copies on each node)"
    return f"teacher outputs cached in {how.precision}{few}{where}"


def _first_lines(inputs: Inputs) -> list[str]:
    """Return what is trained beside the trials, and what is not for want of defaults."""
    space = inputs.space
    if space.ablation is not None:
        return _ablation_lines(inputs)
    if space.baselines:
        named = ", ".join(f"{name} ({one.kind})" for name, one in space.baselines.items())
        return [
            f"baselines: {named}; trained as the default candidate is, within no limits, beside the {space.search.trials} trials"
        ]
    lacking = without_default(space)
    return (
        [f"no blind student and no default candidate come first: {', '.join(lacking)} has no default"]
        if lacking
        else []
    )


def _ablation_lines(inputs: Inputs) -> list[str]:
    """Return the arms and seeds of an ablation, and how far it goes."""
    found, trials = inputs.space.ablation, inputs.space.search.trials
    assert found is not None
    total, seeds = len(inputs.arms), ", ".join(map(str, found.seeds))
    short = f", of which the first {trials} (search.trials)" if trials < total else ""
    return [
        f"ablation: {len(found.arms)} arms ({', '.join(found.arms)}) with the seeds {seeds}: {total} candidates{short}; nothing "
        f"is proposed, no blind student is trained. Its verdicts: {command_line('analysis/ablation.py', 'RUN')}",
        *_stopped_arms(inputs.space),
    ]


def _stopped_arms(space: Space) -> list[str]:
    """Return a caution where the scheduler may stop arms, which then have no figure of the last epoch."""
    factor = space.search.scheduler.options.get("reduction_factor", 1)
    if factor == 1:
        return []
    return [
        f"WARNING: search.scheduler.reduction_factor is {factor}: arms may be stopped early, and are then compared with nothing; "
        "1 stops nobody"
    ]


def _teacher_lines(inputs: Inputs, name: str, *, measure: bool) -> list[str]:
    """Return what a teacher costs and scores."""
    costs, latency = inputs.measures[name].costs, inputs.measures[name].latency
    told = f"{latency.latency_ms:.2f} ms per example, " if latency else ""
    return [
        f"teacher {name}: {shown('params', costs['params'])} params, {shown('flops', costs['flops'])} FLOPs, "
        f"{told}fingerprint {inputs.teachers[name].files.fingerprint}",
        figures_line(name, inputs.metrics_of_teachers[name], inputs.chances_of_teachers[name])
        if measure
        else f"teacher {name}: not measured on this data yet, which takes long; a search does that first, and warns "
        "where it is not clearly better than guessing",
    ]


def _caption_notes(inputs: Inputs) -> list[str]:
    """Return what the tasks say of held-out splits whose captions are too few to tell the pictures apart."""
    size, found = inputs.evaluation, []
    for name in inputs.dataset.split_names:
        counts = inputs.dataset.caption_counts(
            name, images=size.images, captions_per_image=size.captions_per_image
        )
        if counts and name != "train":
            notes = [task.note(*counts) for task in inputs.students.made.values()]
            found += [f"{name} split: {note}" for note in notes if note]
    return found


def plan_lines(inputs: Inputs) -> list[str]:
    """Return the dry run: dimensions, roundings, admitted share and cost range of a sample, estimated time."""
    space = inputs.space
    lines = ["dimensions:"]
    lines += [f"  {path}: {domain.spec()}{_when(space, path)}" for path, domain in space.domains().items()]
    roundings = space.roundings(inputs.students)
    lines += ["roundings:", *(f"  {text}" for text in roundings)] if roundings else ["roundings: none"]
    admitted, reasons = _sample(inputs)
    total = len(admitted) + sum(reasons.values())
    lines.append(f"admitted: {len(admitted)} of {total} random candidates")
    lines += [
        f"  rejected {count}: {reason}"
        for reason, count in sorted(reasons.items(), key=lambda item: -item[1])
    ]
    reading = any(costs[READS_TEACHER] for _, costs in admitted)
    for name in (*STATIC, *(f"head_{name}" for name in STATIC if reading)):
        values = sorted(costs[name] for _, costs in admitted)
        if values:
            unit, told = HEAD_COSTS.get(name, name), " (the student alone)" if name in HEAD_COSTS else ""
            lines.append(f"{name}: {shown(unit, values[0])} to {shown(unit, values[-1])}{told}")
    lines += _volume_lines(inputs, [costs for _, costs in admitted])
    lines += _checkpoint_lines(space, [costs["head_params"] for _, costs in admitted])
    lines += _time_lines(inputs, [candidate for candidate, _ in admitted])
    return lines


def _volume_lines(inputs: Inputs, sample: list[dict[str, float]]) -> list[str]:
    """Return a caution where no student costs less than the teacher, as heads on all of it do not."""
    objectives, teacher = inputs.space.objectives, inputs.teacher_costs
    beyond = [
        name
        for name in STATIC
        if name in objectives and sample and all(costs[name] >= teacher[name] for costs in sample)
    ]
    if not beyond:
        return []
    return [
        f"hypervolume: 0 % throughout if all students are like these, none of which has less {', '.join(beyond)} than the "
        f"teacher {inputs.space.teachers[0]}: its worst corner is what that costs. A plateau is then never seen"
    ]


STATE_BYTES = 12  # of a parameter: its weight and AdamW's two moments, in float32


def _checkpoint_lines(space: Space, params: list[float]) -> list[str]:
    """Return whose weights are kept, and what checkpoints of every epoch take on disk, where they are."""
    whose = {
        KEEP_FRONTS: "of the students on a front, of the blind one and of baselines; others can be trained again",
        KEEP_ALL: "of all that were trained",
    }
    kept = [
        f"weights that are kept: {whose[space.checkpoints.keep]} (checkpoints.keep: {space.checkpoints.keep})"
    ]
    if not space.checkpoints.every_epoch or not params:
        return kept
    epochs, each = space.training.epochs * space.search.trials, sum(params) / len(params) * STATE_BYTES
    return [
        *kept,
        f"checkpoints of every epoch: about {each / 2**20:.1f} MiB each, up to {epochs * each / 2**30:.2f} GiB for "
        f"{space.search.trials} trials of {space.training.epochs} epochs",
    ]


def _when(space: Space, path: str) -> str:
    """Return on what a dimension depends, in words; "" where it always counts."""
    conditions = space.conditions().get(path, ())
    return "".join(f"  [only where {one.path} is {_spelled(one)}]" for one in conditions)


def _spelled(one: Condition) -> str:
    values = " or ".join(map(str, one.values))
    return f"not {values}" if one.negated else values


def _sample(inputs: Inputs) -> tuple[list[tuple[Candidate, dict[str, float]]], dict[str, int]]:
    """Return random candidates that are admitted, with their costs, and how many were rejected for what."""
    space = inputs.space
    rng = random.Random(space.search.seed)
    limits = {name: bounds for name, bounds in inputs.limits().items() if name != LATENCY}
    checker = CostFilter(inputs.students, lambda: limits, inputs.store, inputs.latencies)
    admitted: list[tuple[Candidate, dict[str, float]]] = []
    reasons: dict[str, int] = {}
    started = time.monotonic()
    for _ in range(SAMPLE):
        if time.monotonic() - started > SAMPLE_SECONDS:
            break
        values = {path: domain.sample(rng) for path, domain in space.domains().items()}
        try:
            candidate = inputs.feedable_part(space.build(values, inputs.students, space.search.seed))
            counted = checker.counted(candidate)
        except IllegalCandidate as error:
            reasons[str(error)] = reasons.get(str(error), 0) + 1
            continue
        if isinstance(counted, Rejected):
            limit = counted.limit or counted.reason
            reasons[limit] = reasons.get(limit, 0) + 1
        else:
            admitted.append((candidate, counted))
    return admitted, reasons


def _time_lines(inputs: Inputs, admitted: list[Candidate]) -> list[str]:
    """Return the expected epochs, and CPU time where trials run on CPUs; with a section `plan` what its device takes."""
    space: Any = inputs.space
    epochs, trials = space.training.epochs, space.search.trials
    rungs = rungs_of(space)
    factor = space.search.scheduler.options.get("reduction_factor", 3)
    expected, left, before = 0.0, float(trials), 0
    for rung in (*rungs, epochs):
        expected += left * (rung - before)
        left, before = max(left / factor, 1.0), rung
    stopping = f"about {expected:.0f} epochs with early stopping (at most {trials * epochs})"
    whole = f"{trials * epochs} epochs, nobody is stopped early"
    lines = [f"trials: {trials}, {stopping if rungs and factor > 1 else whole}"]
    if space.plan is not None:
        return [*lines, *scale_lines(inputs, admitted, expected)]
    if admitted and isinstance(space.training.pairs_per_epoch, int):
        some = [inputs.students.trained(candidate) for candidate in admitted[:TIMED]]
        flops = sum(inputs.store.static(subject).flops for subject in some) / len(some)
        seconds = expected * 3 * flops * space.training.pairs_per_epoch / FLOPS_PER_CPU_S
        lines.append(f"estimated time: {seconds / 60:.0f} CPU-minutes of training for students of this size")
    return lines
