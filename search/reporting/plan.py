"""What a search is going to do, in words: the dry run, and the lines that every run begins with."""

import random
import time
from typing import Any

from search.candidates.cost_filter import CostFilter, shown
from search.candidates.inputs import Inputs
from search.candidates.plugins import rungs_of
from search.stopping.stop_rules import described
from spaces.candidate import Candidate
from spaces.errors import IllegalCandidate
from trainables.build import student_config
from trainables.costs.static import StaticCosts

SAMPLE = 40
SAMPLE_SECONDS = 20.0


def describe(inputs: Inputs) -> list[str]:
    """Return the facts that decide a run's results: teacher, data, fidelity, defaults."""
    space, facts = inputs.space, inputs.facts
    limits = [
        f"{name} {sign} {shown(name, bound)}"
        for name, (low, high) in space.limits(facts).items()
        for sign, bound in (("<=", high), (">=", low))
        if bound is not None
    ]
    training = space.training
    lines = [
        f"teacher {space.teacher}: {shown('params', facts.params)} params, {shown('flops', facts.flops)} FLOPs, "
        f"{facts.latency_ms:.2f} ms per pair (CPU time of one thread), fingerprint {inputs.teacher.files.fingerprint}",
        inputs.dataset.describe(),
        f"full fidelity {training.epochs} epochs of {training.pairs_per_epoch} pairs, rungs {list(rungs_of(space))}; "
        f"scheduler {space.search.scheduler.kind}, searcher {space.search.searcher.kind}",
        f"limits: {', '.join(limits) or 'none'}; teacher outputs {space.teacher_cache.kind} in {space.teacher_cache.precision}",
    ]
    rules = described(space.search.stop)
    if rules:
        lines.append(
            f"the search ends after {space.search.trials} trials, or before that after {', or '.join(rules)}"
        )
    if inputs.absent_losses:
        lines.append(
            f"the data asks no questions: {', '.join(sorted(inputs.absent_losses))} left out, VQA not evaluated"
        )
    return lines


def plan_lines(inputs: Inputs) -> list[str]:
    """Return the dry run: dimensions, roundings, admitted share and cost range of a sample, estimated time."""
    space = inputs.space
    lines = ["dimensions:"]
    lines += [f"  {path}: {domain.spec()}" for path, domain in space.domains().items()]
    roundings = space.roundings(inputs.facts)
    lines += ["roundings:", *(f"  {text}" for text in roundings)] if roundings else ["roundings: none"]
    admitted, reasons = _sample(inputs)
    total = len(admitted) + sum(reasons.values())
    lines.append(f"admitted: {len(admitted)} of {total} random candidates")
    lines += [
        f"  rejected {count}: {reason}"
        for reason, count in sorted(reasons.items(), key=lambda item: -item[1])
    ]
    for name in ("params", "flops", "size_mib"):
        values = sorted(float(getattr(costs, name)) for costs in admitted)
        if values:
            lines.append(f"{name}: {shown(name, values[0])} to {shown(name, values[-1])}")
    lines += _time_lines(inputs, admitted)
    return lines


def _sample(inputs: Inputs) -> tuple[list[StaticCosts], dict[str, int]]:
    space = inputs.space
    rng = random.Random(space.search.seed)
    limits = {name: bounds for name, bounds in space.limits(inputs.facts).items() if name != "latency_ms"}
    checker = CostFilter(inputs.teacher.config, inputs.tokenizer_bytes, limits, inputs.store)
    admitted: list[StaticCosts] = []
    reasons: dict[str, int] = {}
    started = time.monotonic()
    for _ in range(SAMPLE):
        if time.monotonic() - started > SAMPLE_SECONDS:
            break
        values = {path: domain.sample(rng) for path, domain in space.domains().items()}
        try:
            candidate: Candidate = space.build(values, inputs.facts, space.search.seed)
            rejected = checker.counted(candidate)
        except IllegalCandidate as error:
            reasons[str(error)] = reasons.get(str(error), 0) + 1
            continue
        if rejected is not None:
            limit = rejected.limit or rejected.reason
            reasons[limit] = reasons.get(limit, 0) + 1
        else:
            config = student_config(candidate.config, inputs.teacher.config)
            admitted.append(inputs.store.static(config, inputs.tokenizer_bytes))
    return admitted, reasons


TRAINING_FLOPS_PER_CPU_S = (
    4e10  # of this project's small students on one 2.3 GHz core: only for the estimate below
)


def _time_lines(inputs: Inputs, admitted: list[StaticCosts]) -> list[str]:
    """Return the expected epochs, and CPU time where trials run on CPUs."""
    space: Any = inputs.space
    epochs, trials = space.training.epochs, space.search.trials
    rungs = rungs_of(space)
    factor = space.search.scheduler.options.get("reduction_factor", 3)
    expected, left, before = 0.0, float(trials), 0
    for rung in (*rungs, epochs):
        expected += left * (rung - before)
        left, before = max(left / factor, 1.0), rung
    lines = [f"trials: {trials}, about {expected:.0f} epochs with early stopping (at most {trials * epochs})"]
    if admitted and isinstance(space.training.pairs_per_epoch, int):
        flops = sum(costs.flops for costs in admitted) / len(admitted)
        seconds = expected * 3 * flops * space.training.pairs_per_epoch / TRAINING_FLOPS_PER_CPU_S
        lines.append(f"estimated time: {seconds / 60:.0f} CPU-minutes of training for students of this size")
    return lines
