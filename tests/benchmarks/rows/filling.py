"""Row 5: filling the teacher cache beside what of it is the teacher itself; one filler and two."""

from search.inputs.teacher_cache import teacher_wants
from tests.benchmarks.cache_fill import fill
from tests.benchmarks.rows.row import STEADY, Asked, Row, again, row_of, spread
from tests.benchmarks.rows.students import FEW_PICTURES, prepared

LEAST, REPEATS = 3, 5


def filling(asked: Asked) -> list[Row]:
    """Return throughput of one filler over that of the teacher's passes in it, and of two fillers over one, in turn."""
    inputs = prepared(*FEW_PICTURES, *(["dataset.train_images=320"] if asked.quick else []))
    name = inputs.space.teachers[0]
    split, wants = inputs.split("train", name), teacher_wants(inputs, name)
    ones, twos = list[dict[str, float]](), list[dict[str, float]]()

    def over(what: str) -> list[float]:
        return [one[what] / two[what] for one, two in zip(ones, twos, strict=True)]

    for _ in range(asked.repeats(REPEATS)):
        ones.append(fill(inputs.teachers[name], split, wants, 1))
        twos.append(fill(inputs.teachers[name], split, wants, 2))
        if len(ones) >= LEAST and spread(over("path")) <= STEADY:
            break

    command = again(5, asked)
    bare = [one["inside"] / one["cpu"] for one in ones]
    return [
        row_of("throughput of one filler / bare teacher forward", bare, command),
        row_of("throughput of two fillers / of one, by the clock", over("wall"), command),
        row_of("  the same, had each a core of its own", over("path"), command),
        row_of("  CPU time of one filler / of two", over("cpu"), command),
    ]
