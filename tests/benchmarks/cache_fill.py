"""How near filling the teacher cache comes to the bare teacher, and what a second process brings, in one run.

    python tests/benchmarks/cache_fill.py [--images 640] [--rounds 3]

`fill_over_bare`: the share of a filling's CPU time that is spent inside the teacher's forward passes (each picture once); the
rest is reading pictures, ordering, rounding, checksums and writing. Both are of one filling: what runs beside it does not enter.
`two_over_one`: rows a second of wall time with two processes over those with one, in turn, medians; `cores` tells what each got
of the machine (CPU seconds over wall seconds): where other work leaves less than 1 and 2, the ratio says as much of that work.
`two_over_one_on_free_cores`: CPU seconds of one process over those of the busier of two and of their parent, medians: what the
way in which the work is divided allows where each has a core to itself, less what they take from one another's memory.
`work_over_one`: CPU seconds with two processes over those with one: what sharing costs.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import teacher_wants
from spaces.load import load_space
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import Batch, Signals, Wants
from trainables.teachers.cache.fill import Filling, fill_cache
from trainables.teachers.cache.plan import Kept
from trainables.teachers.teacher import Teacher

SPACE = Path(__file__).parents[2] / "spaces" / "dlip.yaml"


class Timed(Teacher):
    """Counts the CPU seconds of its passes, and lets each process note what it has spent."""

    def __init__(self, owner: Teacher, notes: Path) -> None:
        super().__init__(
            owner.model, owner.tokenizer, owner.preprocess, owner.files, blueprint=owner.blueprint
        )
        self.inside, self.notes = 0.0, notes

    def signals(self, batch: Batch, wants: Wants, known: Signals | None = None) -> Signals:
        """Answer as the owner does."""
        began = time.thread_time()
        found = super().signals(batch, wants, known)
        self.inside += time.thread_time() - began
        with self.notes.open("a") as notes:  # a forked process counts from 0
            notes.write(f"{os.getpid()} {time.process_time()}\n")
        return found

    def busiest(self) -> float:
        """Return the most CPU seconds that a process of the last filling has taken, and that its parent has beside."""
        last = dict(line.split() for line in self.notes.read_text().splitlines())
        return max(float(spent) for spent in last.values())


def cpu_s() -> float:
    """Return the CPU seconds of this process and of those that it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def fill(owner: Teacher, split: EncodedSplit, wants: Wants, workers: int) -> dict[str, float]:
    """Fill a new cache; return wall and CPU seconds, those inside the teacher, and those that no free core would save."""
    with tempfile.TemporaryDirectory() as folder:
        teacher = Timed(owner, Path(folder, "notes"))
        wall, cpu, own = time.monotonic(), cpu_s(), time.process_time()
        how = Filling(say=lambda line: None, workers=workers)
        fill_cache(Path(folder, "cache"), teacher, split, wants, Kept(precision="float16"), how)
        spent, own = cpu_s() - cpu, time.process_time() - own
        alone = spent if workers == 1 else teacher.busiest() + own
        return {"wall": time.monotonic() - wall, "cpu": spent, "inside": teacher.inside, "path": alone}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    space = load_space(SPACE, [f"dataset.train_images={options.images}"])
    inputs = Inputs(space, say=lambda text: print(text, file=sys.stderr))
    name = space.teachers[0]
    split, wants = inputs.split("train", name), teacher_wants(inputs, name)
    found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for _ in range(options.rounds):
        for workers, times in found.items():
            times.append(fill(inputs.teachers[name], split, wants, workers))

    def ratio(what: str) -> float:
        one, two = (statistics.median(times[what] for times in found[workers]) for workers in (1, 2))
        return round(one / two, 3)

    result = {
        "rows": sum(split.num_rows(kind) for kind in ("picture", *split.tables)),
        "fill_over_bare": [round(times["inside"] / times["cpu"], 3) for times in found[1]],
        "two_over_one": ratio("wall"),
        "two_over_one_on_free_cores": ratio("path"),
        "work_over_one": round(1 / ratio("cpu"), 3),
        "cores": {
            workers: [round(one["cpu"] / one["wall"], 2) for one in times] for workers, times in found.items()
        },
        "seconds": {
            workers: [{what: round(value, 2) for what, value in one.items()} for one in times]
            for workers, times in found.items()
        },
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
