"""What a space can produce, as far as latency is concerned: measured ahead, while teacher and data are prepared."""

import random
import time
from collections.abc import Callable, Iterator

from search.inputs.inputs import Inputs
from spaces.candidate import Candidate
from spaces.errors import IllegalCandidate, ShapeError
from trainables.costs.subject import Subject

DRAWN = 24  # points; blocks are shared, so that these hold nearly all that a space of a few sizes can produce
SECONDS = 2.0  # for building them, which takes a fortieth of one each


def likely_subjects(
    inputs: Inputs, keeps_limits: Callable[[Candidate], bool], *, clock: Callable[[], float] = time.monotonic
) -> list[Subject]:
    """Return what the default student and random ones are measured on, of those within the limits and of unknown latency.

    The points are those of the seed, and none of the searcher's own draws.
    """
    started, found = clock(), []
    for candidate in _points(inputs):
        if clock() - started > SECONDS:
            break
        try:
            if keeps_limits(candidate):
                subject = inputs.students.subject(candidate.config)
                wanted = [subject] if subject.reads is None else [subject, subject.head]
                found += [one for one in wanted if inputs.latencies.known(one) is None]
        except (IllegalCandidate, ShapeError):
            continue
    return found


def _points(inputs: Inputs) -> Iterator[Candidate]:
    space = inputs.space
    rng, domains = random.Random(f"{space.search.seed}/ahead"), space.domains()
    points = [values for values in [space.default_values()] if values is not None]
    points += [{path: one.sample(rng) for path, one in domains.items()} for _ in range(DRAWN)]
    for values in points:
        try:
            yield space.build(values, inputs.students, space.search.seed)
        except IllegalCandidate:
            continue
