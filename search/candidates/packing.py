"""How many small trials share a GPU (`gpus_per_worker: auto`): by what the largest students of a space take of its memory."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, final

from search.candidates.admissions import StudentAdmissions
from search.inputs.inputs import Inputs
from spaces.candidate import Candidate
from spaces.domains import Domain, Scalar
from spaces.errors import IllegalCandidate, ShapeError
from trainables.training.step_memory import StepMemory, measure_step

MARGIN = 1.2  # of what was measured: other batches, blocks that lie badly, students that were not looked at
MOST = 8  # trials on a device: beyond, they wait for its cores more than they gain
RAY_COUNTS = 10_000  # Ray keeps shares of a device in ten-thousandths
LOOKED_AT = 200  # candidates, among which the largest are chosen
SECONDS = 5.0  # for that; each takes a fortieth of one
GIB = 2**30


@final
@dataclass(frozen=True, kw_only=True)
class Packing:
    """How trials share GPUs.

    Attributes:
        trials: on one device.
        gpus: of each, in Ray's own steps, so that `trials` of them fit; None leaves it to the cluster: 1, or 0 without GPUs.
        memory_share: of a device that PyTorch may take in each, so that none takes what is another's; 1 for all.
        reason: why so many.
        measured: what the largest students took.
    """

    trials: int
    reason: str
    gpus: float | None = None
    memory_share: float = 1.0
    measured: Sequence[StepMemory] = field(default=())

    def describe(self) -> str:
        """Return one line."""
        return f"trials on a GPU: {self.trials} (gpus_per_worker: auto; {self.reason})"

    def to_dict(self) -> dict[str, Any]:
        """Return what run.json keeps."""
        return asdict(self)


def packed(steps: Sequence[StepMemory]) -> Packing:
    """Return how many trials share a device, from what the largest students took of it.

    That is floor(memory of the device / (`MARGIN` x most that one took)), at least 1 and at most `MOST`.

    Args:
        steps: one or more measurements; where they are of different devices, the smallest one counts.
    """
    largest, total = max(steps, key=lambda one: one.needed), min(one.total for one in steps)
    of = f"of {total / GIB:.1f} GiB on {largest.device}"
    if any(one.micro_batches != 1 for one in steps):
        tight = next(one for one in steps if one.micro_batches != 1)
        how = f"only in {tight.micro_batches} parts" if tight.micro_batches else "not at all"
        why = f"a batch of {tight.candidate_id} fits {how} into the whole {of}"
        return Packing(trials=1, gpus=1.0, reason=why, measured=tuple(steps))
    fit = int(total / (MARGIN * largest.needed)) if largest.needed else MOST
    trials = min(max(fit, 1), MOST)
    why = f"{largest.candidate_id}, of the largest students, takes {largest.needed / GIB:.2f} {of}; {fit} would fit with a "
    why += f"margin of {MARGIN - 1:.0%}" + (f", {MOST} at most" if fit > MOST else "")
    if trials == 1:
        return Packing(trials=1, gpus=1.0, reason=why, measured=tuple(steps))
    return Packing(
        trials=trials,
        gpus=(RAY_COUNTS // trials) / RAY_COUNTS,
        memory_share=1 / trials - largest.outside / total,
        reason=why,
        measured=tuple(steps),
    )


def unmeasured(*, workers: int, gpus: float, kinds: Sequence[str]) -> str:
    """Return why nothing is measured and each trial has what it has by default, "" where it is.

    Args:
        workers: of a trial.
        gpus: that a piece of work has on this cluster.
        kinds: names of the kinds of GPUs there.
    """
    if not gpus:
        return "trials here have no GPU"
    if workers > 1:
        return f"{workers} workers of a trial speak by NCCL, which takes no two of them on one device"
    if len(kinds) > 1:
        return f"GPUs are of several kinds here ({', '.join(kinds)}), and a trial may land on any; give a share as a number"
    return ""


def choose_packing(inputs: Inputs, admissions: StudentAdmissions, *, kinds: Sequence[str]) -> Packing:
    """Return how trials share GPUs; measured on one of them, where there are any.

    Args:
        inputs: of the search, at work where its trials are to run.
        admissions: of its candidates; their caches are filled.
        kinds: names of the kinds of GPUs on the cluster.

    Raises:
        StudentSearchError: teacher or data cannot be used there.
    """
    elsewhere = inputs.elsewhere
    why = unmeasured(
        workers=inputs.space.resources.workers_per_trial,
        gpus=elsewhere.gpus if elsewhere is not None else 0.0,
        kinds=kinds,
    )
    if why or elsewhere is None:
        return Packing(trials=1, reason=why)
    candidates = largest_candidates(inputs, admissions.counted)
    if not candidates:
        return Packing(trials=1, reason="no candidate keeps the limits")
    inputs.say(f"memory of trials: measured on a GPU, {len(candidates)} of the largest students")
    jobs = [admissions.drafted_job(one, {}).to_dict() | {"device": "cuda"} for one in candidates]
    return packed([one.result() for one in elsewhere.run_all(measure_step, [(job,) for job in jobs])])


def largest_candidates(
    inputs: Inputs,
    counted: Callable[[Candidate], Mapping[str, float] | None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[Candidate]:
    """Return the candidates within the limits that are likely to take most memory: for weights, and for activations of a batch.

    Args:
        inputs: space, teachers and students.
        counted: gives the costs of a candidate, None where they break a limit.
        clock: seconds, monotonic.
    """
    started, found = clock(), list[tuple[Candidate, float, float]]()
    for candidate in _points(inputs):
        if found and clock() - started > SECONDS:
            break
        try:
            if (costs := counted(candidate)) is None:
                continue
            flops = inputs.store.static(inputs.students.trained(candidate)).flops
        except (IllegalCandidate, ShapeError):
            continue
        found.append((candidate, costs["head_params"], flops * candidate.config["training"]["batch_size"]))
    if not found:
        return []
    most = [max(found, key=lambda one: one[1])[0], max(found, key=lambda one: one[2])[0]]
    return list({one.candidate_id: one for one in most}.values())


def _points(inputs: Inputs) -> Iterator[Candidate]:
    """Yield the point of the highest values, that of the default, and random ones; none of the searcher's own draws."""
    space, domains = inputs.space, inputs.space.domains()
    rng = random.Random(f"{space.search.seed}/memory")
    points = [{path: highest(one) for path, one in domains.items()}]
    points += [values for values in [space.default_values()] if values is not None]
    points += [{path: one.sample(rng) for path, one in domains.items()} for _ in range(LOOKED_AT)]
    for values in points:
        try:
            yield inputs.feedable_part(space.build(values, inputs.students, space.search.seed))
        except IllegalCandidate:
            continue


def highest(domain: Domain) -> Scalar:
    """Return the greatest number of a domain; of texts the greatest share of the teacher's size, or the last one."""
    values = domain.corners()

    def size(value: Scalar) -> float:
        if isinstance(value, bool | int | float):
            return float(value)
        try:
            return float(str(value).removesuffix("x"))
        except ValueError:
            return -1.0

    return max(reversed(values), key=size)
