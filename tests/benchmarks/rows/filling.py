"""Row 5: filling the teacher cache beside what of it is the teacher itself; one filler and two."""

from search.inputs.teacher_cache import teacher_wants
from tests.benchmarks.cache_fill import Timed, fill
from tests.benchmarks.rows.row import Asked, Row, again, row_of
from tests.benchmarks.rows.students import FEW_PICTURES, prepared

REPEATS = 5


def filling(asked: Asked) -> list[Row]:
    """Return throughput of one filler over that of the teacher's passes in it, and of two fillers over one, in turn."""
    inputs = prepared(*FEW_PICTURES, *(["dataset.train_images=320"] if asked.quick else []))
    name = inputs.space.teachers[0]
    split, wants = inputs.split("train", name), teacher_wants(inputs, name)
    shares, walls, works = list[float](), list[float](), list[float]()
    for _ in range(asked.repeats(REPEATS)):
        teacher = Timed(inputs.teachers[name])
        wall, cpu = fill(teacher, split, wants, 1)
        wall_of_two, cpu_of_two = fill(Timed(inputs.teachers[name]), split, wants, 2)
        shares.append(teacher.inside / cpu)
        walls.append(wall / wall_of_two)
        works.append(cpu_of_two / cpu)
    command = again(5, asked)
    return [
        row_of("throughput of one filler / bare teacher forward", shares, command),
        row_of("throughput of two fillers / of one, by the clock", walls, command),
        row_of("  CPU time of two fillers / of one", works, command),
    ]
