"""What a search of large models takes: device-hours by a stated formula, and disk for checkpoints and teacher caches."""

from collections.abc import Sequence

from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import teacher_wants
from spaces.candidate import Candidate
from spaces.planning import PlanSection
from spaces.sections import KEEP_ALL
from trainables.costs.subject import Subject
from trainables.datasets.planned import PlannedDataset
from trainables.signals import CAPTION, PICTURE, QUESTION, Offer, Serving, Want
from trainables.tasks.decoding import longest_text

BACKWARD = 3  # forward and backward in forwards: each of the two matrix products of a backward pass costs one
LAST_BYTES, BEST_BYTES = 12, 4  # of a parameter: weight and AdamW's two moments in float32; the weights alone
GIB = 2**30
PRECISIONS = {"float16": 2, "float32": 4}
ALL = 2**62  # rows, more than any data has
TIMED = 8  # candidates of a sample whose training is counted


def scale_lines(inputs: Inputs, admitted: Sequence[Candidate], expected: float) -> list[str]:
    """Return device-hours with their formula, and disk; [] of a space without a section `plan`.

    Args:
        inputs: of the search.
        admitted: random candidates that would be trained.
        expected: epochs of all trials together.
    """
    plan = inputs.space.plan
    pairs = inputs.space.training.pairs_per_epoch
    if plan is None or not admitted:
        return []
    if not isinstance(pairs, int):
        return ["device-hours: not told, since training.pairs_per_epoch is searched"]
    some = [inputs.students.trained(one) for one in admitted[:TIMED]]
    student = sum(inputs.store.static(one).flops for one in some) / len(some)
    heads = sum(inputs.store.static(one).params for one in some) / len(some)
    live = inputs.space.teacher_cache.kind == "live"
    teacher = _teacher_flops(inputs)
    said = expected * pairs if live else float(_examples(inputs, pairs))
    hours = _hours(inputs, plan, student=student, teacher=teacher, visits=(expected * pairs, said))
    return [*_data_line(inputs, plan), *hours, *_disk(inputs, heads)]


def _data_line(inputs: Inputs, plan: PlanSection) -> list[str]:
    """Return that sizes of data which the plan says are not read, where the data itself is here."""
    if not plan.data or isinstance(inputs.dataset, PlannedDataset):
        return []
    return [f"plan.data ({', '.join(plan.data)}) is not read: the data is here, and counts itself"]


def _examples(inputs: Inputs, pairs: int) -> int:
    """Return how many pairs a cache of the training data is filled for."""
    data = inputs.dataset
    if isinstance(data, PlannedDataset):
        return max(data.num_captions, data.num_images)
    counts = data.caption_counts("train", images=ALL, captions_per_image=ALL)
    return max(counts) if counts else data.num_images or pairs


def _teacher_flops(inputs: Inputs) -> float:
    """Return what a teacher does for a pair: each mode that a loss of some candidate looks at, once."""
    name = inputs.space.teachers[0]
    teacher = inputs.teachers[name]
    wants = frozenset(want for want in teacher_wants(inputs, name) if teacher.offers[want].rows)
    modes = sorted({want.mode for want in wants})
    servings = [Serving(mode=mode, tokens=longest_text(teacher.offers, mode)) for mode in modes]
    if not servings:
        return 0.0
    asked = teacher.blueprint.deployed(wants)  # of a teacher of several checkpoints those that are asked
    return float(inputs.store.static(Subject(blueprint=asked, servings=servings)).flops)


def _hours(
    inputs: Inputs, plan: PlanSection, *, student: float, teacher: float, visits: tuple[float, float]
) -> list[str]:
    """Return device-hours of trials and teacher.

    Args:
        inputs, plan: of the space.
        student, teacher: FLOPs of a forward pass over a pair.
        visits: pairs that students and the teacher see.
    """
    space, rate = inputs.space, plan.mfu * plan.peak * 3600  # FLOPs an hour
    pairs, epochs, trials = _pairs(inputs), space.training.epochs, space.search.trials
    live = space.teacher_cache.kind == "live"
    trained, said = BACKWARD * student * visits[0], teacher * visits[1]
    one = (BACKWARD * student + (teacher if live else 0)) * pairs * epochs / rate
    most = one * trials + (0 if live else said / rate)
    hours = (trained + said) / rate
    devices = max(1, round(space.resources.workers_per_trial * (space.resources.gpus or 1)))
    how = "at each visit (teacher_cache: live)" if live else "once, into the cache"
    return [
        "device-hours = (3 x student FLOPs x pairs of all trials + teacher FLOPs x pairs it sees) / (MFU x peak) / 3,600",
        f"  student: {student / 1e9:.1f} GFLOPs forward for a pair, in the mean of a sample; 3 x {student / 1e9:.1f}e9 x "
        f"{visits[0]:.3g} pairs ({visits[0] / pairs:.0f} epochs of {pairs:,}) = {trained:.3g} FLOPs",
        f"  teacher: {teacher / 1e9:.1f} GFLOPs forward for a pair, {how}: {teacher / 1e9:.1f}e9 x {visits[1]:.3g} pairs = "
        f"{said:.3g} FLOPs",
        f"  at {plan.mfu:g} (plan.mfu, assumed) of {plan.told_device}: {hours:,.0f} device-hours, {hours / devices:,.0f} hours "
        f"on the {devices} devices of a trial; {most:,.0f} device-hours where nobody is stopped early; one trial to the end "
        f"{one:,.0f}",
        "  not counted: evaluations, loading, hard negatives beyond one read of each pair, and the pass of a momentum twin",
    ]


def _pairs(inputs: Inputs) -> int:
    found = inputs.space.training.pairs_per_epoch
    assert isinstance(found, int)  # `scale_lines` looked
    return found


def _disk(inputs: Inputs, params: float) -> list[str]:
    """Return what checkpoints and teacher caches take."""
    space = inputs.space
    running = LAST_BYTES * params
    best = BEST_BYTES * params if space.checkpoints.keep_best else 0
    kept = 2 * BEST_BYTES * params  # of one that ended: its last and its best weights
    every = space.training.epochs * running if space.checkpoints.every_epoch else 0
    whose = (
        "of all trials"
        if space.checkpoints.keep == KEEP_ALL
        else "of those on a front, at most of all trials"
    )
    lines = [
        f"disk for checkpoints: {params / 1e6:.1f} M params in training; {(running + best + every) / GIB:.2f} GiB of a trial "
        f"that runs (12 bytes a param with AdamW's moments, 4 of the best weights), {kept / GIB:.2f} GiB of one that ended, "
        f"{whose} {space.search.trials * max(kept, every) / GIB:,.1f} GiB"
    ]
    if space.teacher_cache.kind == "live":
        return [*lines, "disk for teacher caches: none (teacher_cache: live)"]
    return [*lines, _cache_line(inputs)]


def _cache_line(inputs: Inputs) -> str:
    """Return the size of the cache of the training data, by sizes that offers tell."""
    name, how = inputs.space.teachers[0], inputs.space.teacher_cache
    teacher, data = inputs.teachers[name], inputs.dataset
    if not isinstance(data, PlannedDataset):
        return "disk for teacher caches: told, and looked for, when they are filled"
    rows = {PICTURE: data.num_images, CAPTION: data.num_captions}
    rows[QUESTION] = sum(one.questions for one in data.sources.values())
    total = 0
    for want in teacher_wants(inputs, name):
        offer = teacher.offers[want]
        total += rows.get(offer.rows, 0) * _row_bytes(want, offer, PRECISIONS[how.precision], how.top_k)
    return f"disk for teacher caches: {total / GIB:,.1f} GiB at {how.precision}, texts at full length" + (
        f", of logits the {how.top_k} largest"
        if how.top_k
        else ", all logits (teacher_cache.top_k keeps the largest)"
    )


def _row_bytes(want: Want, offer: Offer, number: int, top_k: int) -> int:
    """Return the bytes of a row: all its axes; of the largest logits the values and their places."""
    sizes = list(offer.sizes)
    whole = top_k and want.what == "logits" and offer.axes and offer.axes[-1] == "V" and top_k < sizes[-1]
    if whole:
        sizes[-1] = top_k
        number += 4
    product = number
    for size in sizes:
        product *= size
    return product
