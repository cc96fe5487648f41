"""How much faster a training epoch is with cached teacher signals than with a live teacher, in one run.

    python tests/benchmarks/teacher_cache.py

Prints CPU seconds of the same epoch both ways, in turn, and the ratio of their medians. The student is the default
one of spaces/dlip.yaml with every teacher signal of that space wanted.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from search.candidates.admissions import StudentAdmissions
from search.candidates.first_candidates import default_candidate
from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import fill_teacher_caches, teacher_wants
from search.run_folder.recorder import Recorder
from spaces.load import load_space
from trainables.signals import Batch, Signals, Source, Wants
from trainables.teachers.cache.read import TeacherCache
from trainables.training.build import build_step
from trainables.training.trainer import Placement, Trainer, TrainingConfig

ROUNDS = 5
PAIRS = 640
SPACE = Path(__file__).parents[2] / "spaces" / "dlip.yaml"


class Fixed:
    """Answers one set of wants, whatever the step asks for."""

    def __init__(self, source: Source, wants: Wants) -> None:
        self.source, self.wants = source, wants

    def signals(self, batch: Batch, wants: Wants) -> Signals:
        """Return the signals for that set."""
        return self.source.signals(batch, self.wants)


def main() -> int:
    """Run the benchmark and print one JSON line."""
    torch.set_num_threads(1)
    inputs = Inputs(load_space(SPACE), say=lambda text: print(text, file=sys.stderr))
    teacher = inputs.space.teachers[0]
    cache = fill_teacher_caches(inputs)[teacher]
    wants = teacher_wants(inputs, teacher)
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder), metric_names=inputs.metrics, loss_names=sorted(inputs.space.losses))
        admissions = StudentAdmissions(inputs, recorder, folder=Path(folder), rungs=())
        proposal = default_candidate(inputs, admissions)
    assert proposal is not None
    config = TrainingConfig(epochs=1, pairs_per_epoch=PAIRS, warmup_steps=1)
    spent: dict[str, list[float]] = {"cached": [], "live": []}
    for _ in range(ROUNDS):
        for name, source in (
            ("cached", TeacherCache(Path(cache), inputs.teacher.offers)),
            ("live", inputs.teacher),
        ):
            step, _ = build_step(proposal.candidate.config, inputs.teacher, seed=0)
            trainer = Trainer(
                step,
                inputs.splits["train"],
                Fixed(source, wants),
                config,
                seed=0,
                placement=Placement(device=torch.device("cpu")),
            )
            start = time.process_time()
            trainer.run_epoch(0)
            spent[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in spent.items()}
    print(
        json.dumps({"cpu_s": spent, "live_over_cached": medians["live"] / medians["cached"], "pairs": PAIRS})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
